//! What the members of a cluster are known to have seen, and the cut below which all of them have seen everything.

use crate::causal::dot::Dot;
use crate::causal::frontier::Frontier;
use crate::causal::id::ReplicaId;
use crate::causal::link::{Link, Links};
use crate::causal::origin::Origin;
use crate::clock::Timestamp;

/// The bits of a word.
const WORD: usize = u64::BITS as usize;

/// A vector inside one table of origins, for the origins that it names: eight bytes and a bit each. There may be as many as pairs
/// of members, and the table holds closed ids for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// A bit for each origin that has an entry.
    named: Box<[u64]>,
    /// The entries, by origin.
    times: Box<[Timestamp]>,
}

impl Seen {
    /// Of dots ordered by origin, no two of one.
    fn of(dots: impl Iterator<Item = Dot>) -> Self {
        let (mut named, mut times) = (Vec::new(), Vec::new());
        for dot in dots.filter(|dot| dot.time > Timestamp::ZERO) {
            let index = dot.origin.index();
            named.resize(named.len().max((index / WORD).saturating_add(1)), 0);
            if let Some(word) = named.last_mut() {
                *word |= 1 << (index % WORD);
            }
            times.push(dot.time);
        }
        Self { named: named.into(), times: times.into() }
    }

    fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = Dot> + '_ {
        let words = self.named.iter().enumerate();
        let origins = words.flat_map(|(place, word)| {
            let bits = (0..WORD).filter(move |bit| word >> bit & 1 == 1);
            bits.map(move |bit| Origin::from_index(place.saturating_mul(WORD).saturating_add(bit)))
        });
        origins.zip(self.times.iter()).map(|(origin, time)| Dot { origin, time: *time })
    }

    fn join(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        let mut joined = self.to_frontier();
        other.iter().for_each(|dot| joined.raise(dot));
        *self = Self::of(joined.iter());
    }

    /// The entries that `others` do not cover.
    fn beyond(&self, others: &[&Self]) -> Self {
        let mut held = Frontier::default();
        others.iter().for_each(|other| other.iter().for_each(|dot| held.raise(dot)));
        Self::of(self.iter().filter(|dot| !held.covers(*dot)))
    }

    fn to_frontier(&self) -> Frontier {
        let mut frontier = Frontier::default();
        self.iter().for_each(|dot| frontier.raise(dot));
        frontier
    }

    fn is_within(&self, own: &Frontier) -> bool {
        self.iter().all(|dot| own.covers(dot))
    }

    /// What it says, with the closed ids that it leaves out.
    fn resolved(&self, links: &Links) -> Frontier {
        let mut frontier = Frontier::default();
        self.resolve_into(&mut frontier, links);
        frontier
    }

    /// Makes `frontier` what it says, with the closed ids that it leaves out.
    fn resolve_into(&self, frontier: &mut Frontier, links: &Links) {
        frontier.clear();
        self.iter().for_each(|dot| frontier.raise(dot));
        links.resolve(frontier);
    }

    /// Leaves out the closed ids that follow from the rest.
    fn shorten(&mut self, links: &Links) {
        let (named, resolved) = (self.to_frontier(), self.resolved(links));
        let follows = |link: &&Link| {
            let time = named.time(link.closed);
            time > Timestamp::ZERO && time <= link.last && resolved.covers(link.by)
        };
        let mut implied: Vec<Origin> = links.iter().filter(follows).map(|link| link.closed).collect();
        if implied.is_empty() {
            return;
        }
        implied.sort_unstable();
        *self = Self::of(self.iter().filter(|dot| implied.binary_search(&dot.origin).is_err()));
    }
}

/// What one member is known to hold.
#[derive(Clone, Debug, Default)]
struct Known {
    /// The newest report that our own vector covered: nothing the member had issued by then is still on its way to us.
    counting: Seen,
    /// What is beyond that of the oldest report that is still ahead of our own vector. It is kept until it counts, however many
    /// come after it: a member that is always a little ahead of us would never count otherwise.
    waiting: Seen,
    /// What is beyond both of all other reports.
    latest: Seen,
}

/// The members whose sight forgetting waits for, and what each is known to have seen.
///
/// A report may come from anyone, in any order, with or without data. It **counts only once the own vector covers it**:
/// until then something that the member wrote before it may still be under way to us, and could be what is forgotten.
///
/// Reports may leave out closed ids. Whoever holds what they name holds these as well, so a comparison needs no more; what they
/// mean is found by the links when it is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Membership {
    /// Ordered by id.
    known: Vec<(ReplicaId, Known)>,
    members: Vec<ReplicaId>,
}

impl Membership {
    pub(crate) fn set_members(&mut self, members: impl IntoIterator<Item = ReplicaId>) {
        self.members = members.into_iter().collect();
        self.members.sort_unstable();
        self.members.dedup();
    }

    pub(crate) fn members(&self) -> &[ReplicaId] {
        &self.members
    }

    /// Where what is known of `id` is, or where it would be.
    fn place(&self, id: &ReplicaId) -> Result<usize, usize> {
        self.known.binary_search_by_key(id, |(id, _)| *id)
    }

    /// Takes a report of what `id` holds.
    pub(crate) fn report(&mut self, id: ReplicaId, vector: impl Iterator<Item = Dot>, own: &Frontier) {
        let place = self.place(&id).unwrap_or_else(|place| {
            self.known.reserve_exact(1);
            self.known.insert(place, (id, Known::default()));
            place
        });
        let Some((_, Known { counting, waiting, latest })) = self.known.get_mut(place) else {
            return;
        };
        let mut news = Frontier::default();
        vector.for_each(|dot| news.raise(dot));
        let news = Seen::of(news.iter()).beyond(&[counting]);
        if news.is_within(own) {
            counting.join(&news);
        } else if waiting.is_empty() {
            *waiting = news;
        } else {
            latest.join(&news.beyond(&[waiting]));
        }
    }

    /// The newest that is known of each replica, to be passed on.
    pub(crate) fn table(&self) -> impl Iterator<Item = (ReplicaId, impl Iterator<Item = Dot> + '_)> + '_ {
        self.known.iter().map(|(id, Known { counting, waiting, latest })| {
            (*id, counting.iter().chain(waiting.iter()).chain(latest.iter()))
        })
    }

    /// Of what `id` certainly holds, what its reports named.
    pub(crate) fn counts_for(&self, id: &ReplicaId) -> impl Iterator<Item = Dot> + '_ {
        let known = self.place(id).ok().and_then(|place| self.known.get(place));
        known.into_iter().flat_map(|(_, known)| known.counting.iter())
    }

    /// Whether there are reports that do not count yet.
    pub(crate) fn is_waiting(&self) -> bool {
        self.known.iter().any(|(_, known)| !known.waiting.is_empty())
    }

    /// The number of replicas that were ever reported of, with `id`.
    pub(crate) fn reported_with(&self, id: &ReplicaId) -> usize {
        self.known.len().saturating_add(usize::from(self.place(id).is_err()))
    }

    /// Lets the reports count that `own` covers by now. Returns whether there were any.
    pub(crate) fn settle(&mut self, own: &Frontier) -> bool {
        let mut is_any = false;
        for (_, Known { counting, waiting, latest }) in &mut self.known {
            if waiting.is_empty() || !waiting.is_within(own) {
                continue;
            }
            is_any = true;
            counting.join(&std::mem::take(waiting));
            let latest = std::mem::take(latest).beyond(&[counting]);
            if latest.is_within(own) {
                counting.join(&latest);
            } else {
                *waiting = latest;
            }
        }
        is_any
    }

    /// What `id` certainly holds, and nothing it wrote by then is under way. `None` if nothing is known of it.
    pub(crate) fn counting(&self, id: &ReplicaId, links: &Links) -> Option<Frontier> {
        let known = self.place(id).ok().and_then(|place| self.known.get(place));
        known.map(|(_, known)| known.counting.resolved(links))
    }

    /// What the members but some certainly hold, as they said it; `None` for one of whom nothing is known.
    fn others(&self, but: &[&ReplicaId]) -> impl Iterator<Item = (ReplicaId, Option<&Seen>)> {
        let others = self.members.iter().filter(|member| !but.contains(member));
        others.map(|member| {
            let known = self.place(member).ok().and_then(|place| self.known.get(place));
            (*member, known.map(|(_, known)| &known.counting))
        })
    }

    /// What every member has seen. Nothing, if there are no members.
    pub(crate) fn stable_cut(&self, own_id: &ReplicaId, own: &Frontier, links: &Links) -> Frontier {
        self.cut_of(&[own_id], own, links)
    }

    /// What every member but one has seen.
    pub(crate) fn stable_cut_without(
        &self,
        member: &ReplicaId,
        own_id: &ReplicaId,
        own: &Frontier,
        links: &Links,
    ) -> Frontier {
        self.cut_of(&[own_id, member], own, links)
    }

    fn cut_of(&self, but: &[&ReplicaId], own: &Frontier, links: &Links) -> Frontier {
        let mut cut = if self.members.is_empty() { Frontier::default() } else { own.clone() };
        // One for all members: there may be hundreds, and this is asked at each heartbeat.
        let mut held = Frontier::default();
        for (_, seen) in self.others(but) {
            let Some(seen) = seen else {
                return Frontier::default();
            };
            seen.resolve_into(&mut held, links);
            cut.meet(&held);
        }
        cut
    }

    /// The members that are not known to hold all of `own`: whoever stays in this list keeps all from forgetting.
    pub(crate) fn behind(&self, own_id: &ReplicaId, own: &Frontier, links: &Links) -> Vec<ReplicaId> {
        let mut held = Frontier::default();
        let is_behind = |(_, seen): &(ReplicaId, Option<&Seen>)| {
            seen.is_none_or(|seen| {
                seen.resolve_into(&mut held, links);
                !own.within(&held)
            })
        };
        self.others(&[own_id]).filter(is_behind).map(|(id, _)| id).collect()
    }

    /// Gives each origin the number that its id has in another table.
    pub(crate) fn renumber(&mut self, number: impl Fn(Origin) -> Option<Origin>) {
        for (_, Known { counting, waiting, latest }) in &mut self.known {
            for seen in [counting, waiting, latest] {
                let mut renumbered = Frontier::default();
                for Dot { origin, time } in seen.iter() {
                    number(origin).into_iter().for_each(|origin| renumbered.raise(Dot { origin, time }));
                }
                *seen = Seen::of(renumbered.iter());
            }
        }
    }

    /// Lets go of what need not be known any more: of closed ids in what others hold, and of replicas that are closed for all.
    pub(crate) fn shorten(&mut self, links: &Links, is_gone: impl Fn(&ReplicaId) -> bool) {
        let Self { known, members } = self;
        known.retain(|(id, _)| members.binary_search(id).is_ok() || !is_gone(id));
        for (_, Known { counting, waiting, latest }) in known {
            counting.shorten(links);
            *waiting = std::mem::take(waiting).beyond(&[counting]);
            *latest = std::mem::take(latest).beyond(&[counting, waiting]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ReplicaId = ReplicaId::from_u128(1);
    const B: ReplicaId = ReplicaId::from_u128(2);
    const C: ReplicaId = ReplicaId::from_u128(3);

    /// What is held of A, B and C.
    fn frontier(times: &[u64]) -> Frontier {
        times.iter().map(|time| Timestamp::from_bits(*time)).collect()
    }

    fn report(membership: &mut Membership, id: ReplicaId, times: &[u64], own: &Frontier) {
        membership.report(id, frontier(times).iter(), own);
    }

    fn cut(membership: &Membership, own: &Frontier) -> Frontier {
        membership.stable_cut(&A, own, &Links::default())
    }

    fn is_nothing(frontier: &Frontier) -> bool {
        frontier.iter().next().is_none()
    }

    #[test]
    fn t24_a_report_ahead_of_our_own_vector_does_not_count_yet() {
        let mut membership = Membership::default();
        membership.set_members([A, B]);
        let own = frontier(&[5]);
        report(&mut membership, B, &[5, 7], &own);
        membership.settle(&own);
        assert!(is_nothing(&cut(&membership, &own)));
        let own = frontier(&[5, 7]);
        membership.settle(&own);
        assert_eq!(cut(&membership, &own), own);
    }

    #[test]
    fn a_silent_member_blocks_and_is_named() {
        let mut membership = Membership::default();
        membership.set_members([A, B, C]);
        let own = frontier(&[5]);
        report(&mut membership, B, &[5], &own);
        membership.settle(&own);
        assert!(is_nothing(&cut(&membership, &own)));
        assert_eq!(membership.behind(&A, &own, &Links::default()), [C]);
        membership.set_members([A, B]);
        assert_eq!(cut(&membership, &own), own);
    }

    #[test]
    fn a_member_that_is_always_a_little_ahead_counts_all_the_same() {
        let mut membership = Membership::default();
        membership.set_members([A, B]);
        for time in 1..10 {
            let own = frontier(&[0, time]);
            report(&mut membership, B, &[0, time + 1], &own);
            membership.settle(&own);
        }
        assert_eq!(cut(&membership, &frontier(&[0, 9])), frontier(&[0, 9]));
        let (id, latest) = membership.table().next().unwrap();
        assert_eq!((id, latest.map(|dot| dot.time.bits()).max()), (B, Some(10)));
    }

    #[test]
    fn without_members_nothing_is_stable() {
        assert!(is_nothing(&cut(&Membership::default(), &frontier(&[5]))));
    }

    #[test]
    fn what_is_passed_on_is_all_that_was_heard_of_one() {
        let mut membership = Membership::default();
        let own = frontier(&[5, 5, 0]);
        for times in [[5, 4, 0], [4, 6, 2], [1, 9, 1], [2, 7, 3]] {
            report(&mut membership, B, &times, &own);
        }
        let known = |membership: &Membership| {
            let mut known = Frontier::default();
            membership.table().for_each(|(_, dots)| dots.for_each(|dot| known.raise(dot)));
            known
        };
        assert_eq!(known(&membership), frontier(&[5, 9, 3]));
        let counting = |membership: &Membership| membership.counting(&B, &Links::default()).unwrap();
        assert_eq!(counting(&membership), frontier(&[5, 4]));
        // The first that was ahead counts as soon as it can, whatever came after it.
        membership.settle(&frontier(&[5, 6, 2]));
        assert_eq!(counting(&membership), frontier(&[5, 6, 2]));
        assert_eq!(known(&membership), frontier(&[5, 9, 3]));
        membership.settle(&frontier(&[5, 9, 3]));
        assert_eq!(counting(&membership), frontier(&[5, 9, 3]));
        assert!(!membership.is_waiting());
    }

    #[test]
    fn closed_ids_are_kept_for_none_who_hold_what_closed_them() {
        let mut links = Links::default();
        let [a, b] = [0, 1].map(Origin::from_index);
        let by = Dot { origin: b, time: Timestamp::from_bits(6) };
        links.replace([Link { closed: a, last: Timestamp::from_bits(5), by, is_stable: false }]);
        let mut membership = Membership::default();
        membership.set_members([B, C]);
        let own = frontier(&[5, 6]);
        for (id, times) in [(A, [5, 0]), (B, [5, 6]), (C, [5, 5])] {
            report(&mut membership, id, &times, &own);
        }
        membership.shorten(&links, |id| *id == A);
        let held = |id: &ReplicaId| {
            let place = membership.place(id).ok()?;
            Some(membership.known[place].1.counting.times.len())
        };
        assert_eq!([A, B, C].map(|id| held(&id)), [None, Some(1), Some(2)]);
        assert_eq!(membership.counting(&B, &links), Some(own));
        assert_eq!(membership.counting(&C, &links), Some(frontier(&[5, 5])));
    }

    #[test]
    fn what_fifty_members_hold_of_fifty_takes_fifty_kilobytes_at_most() {
        const MEMBERS: usize = 50;
        let ids: Vec<ReplicaId> = (1..=MEMBERS as u128).map(ReplicaId::from_u128).collect();
        let mut membership = Membership::default();
        membership.set_members(ids.clone());
        // All write all the time, so that each is ahead of us in what it wrote itself, and in what it heard of a few others.
        for round in 1..=20 {
            let own = frontier(&[1_000 * round; MEMBERS]);
            for (place, id) in ids.iter().enumerate() {
                let mut times = [1_000 * round; MEMBERS];
                (0..4).for_each(|more| times[(place + more) % MEMBERS] += 500);
                report(&mut membership, *id, &times, &own);
                (0..4).for_each(|more| times[(place + more) % MEMBERS] += 700);
                report(&mut membership, *id, &times, &own);
            }
            membership.settle(&own);
        }
        assert!(membership.is_waiting());
        let Membership { known, members } = &membership;
        let places =
            known.capacity() * size_of::<(ReplicaId, Known)>() + members.capacity() * size_of::<ReplicaId>();
        let seen = |(_, Known { counting, waiting, latest }): &(ReplicaId, Known)| {
            let bytes = |seen: &Seen| size_of_val(&*seen.named) + size_of_val(&*seen.times);
            [counting, waiting, latest].map(bytes).iter().sum::<usize>()
        };
        let entries: usize = known.iter().map(seen).sum();
        assert!(places + entries <= 50_000, "{places} + {entries}");
        let counts = known.iter().map(|(_, known)| (known.counting.times.len(), known.waiting.times.len()));
        assert!(counts.into_iter().all(|counts| counts == (MEMBERS, MEMBERS)));
    }
}
