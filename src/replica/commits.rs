//! What a replica keeps of its own commits, as long as not all members are known to hold them: by it a second copy of the
//! replica is found out, and told apart from this one.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Timestamp;
use crate::crdt::renaming::{Counted, Place, Step};

/// So many commit points are kept.
const MOST_POINTS: usize = 65_536;
/// So many totals are kept beside them, or twice as many as are left when the old half is thinned.
const MOST_TOTALS: usize = 4 * MOST_POINTS;

/// An own count before the commit `at`, which wrote or removed it.
#[derive(Clone, Copy, Debug)]
struct Total {
    at: Timestamp,
    count: Counted,
}

/// The stamps of a replica's own commits above the stable cut, its **commit points**, and what its counters held between them.
///
/// A vector moves as a whole, so an honest peer's entry for this replica is one of its commit points: any other, higher or
/// lower, was issued by another copy, or by this one before it lost it.
///
/// # Invariants
/// 1. Points and totals are in order.
/// 2. `oldest` is a point, or zero; no point is before it, and what was forgotten of this replica's own marks is within it,
///    unless there was no other member.
/// 3. From `complete_from` on no point is missing.
/// 4. Of each counter there is the total of its first write after each point, if it held a count by then.
#[derive(Debug)]
pub(crate) struct Commits {
    points: Vec<Timestamp>,
    /// The first that was ever made; zero before it is.
    first: Timestamp,
    oldest: Timestamp,
    complete_from: Timestamp,
    totals: Vec<Total>,
    /// For each counter whose rows may be gone, the last commit that removed it, and the way there.
    ways: BTreeMap<Place, (Timestamp, Vec<Step>)>,
    most_totals: usize,
}

impl Default for Commits {
    fn default() -> Self {
        Self::of(None)
    }
}

impl Commits {
    /// Of a replica that has made one commit, or none.
    pub(crate) fn of(only: Option<Timestamp>) -> Self {
        Self {
            points: Vec::from_iter(only),
            first: only.unwrap_or_default(),
            oldest: Timestamp::ZERO,
            complete_from: Timestamp::ZERO,
            totals: Vec::new(),
            ways: BTreeMap::new(),
            most_totals: MOST_TOTALS,
        }
    }

    /// Takes note of a commit, and takes what the transaction noted of its counts.
    #[inline]
    pub(crate) fn add(
        &mut self,
        at: Timestamp,
        counts: &mut Vec<Counted>,
        ways: &mut Vec<(Place, Vec<Step>)>,
    ) {
        if self.first == Timestamp::ZERO {
            self.first = at;
        }
        self.points.push(at);
        self.totals.extend(counts.drain(..).map(|count| Total { at, count }));
        self.ways.extend(ways.drain(..).map(|(place, way)| (place, (at, way))));
        if self.points.len() > MOST_POINTS || self.totals.len() > self.most_totals {
            self.thin();
        }
    }

    /// Whether a stamp of this replica is none that this copy issued. Of what is older than what is kept it cannot tell.
    pub(crate) fn is_foreign(&self, stamp: Timestamp) -> bool {
        stamp >= self.complete_from
            && stamp > self.oldest
            && self.points.last() != Some(&stamp)
            && self.points.binary_search(&stamp).is_err()
    }

    /// Whether a stamp is that of a commit of this replica. Of what is older than what is kept it cannot tell, but of what is
    /// older than its first.
    pub(crate) fn is_own(&self, stamp: Timestamp) -> bool {
        self.first > Timestamp::ZERO && stamp >= self.first && !self.is_foreign(stamp)
    }

    /// The points after one stamp and up to another.
    pub(crate) fn between(&self, after: Timestamp, up_to: Timestamp) -> &[Timestamp] {
        let start = self.points.partition_point(|point| *point <= after);
        let end = self.points.partition_point(|point| *point <= up_to);
        self.points.get(start..end).unwrap_or_default()
    }

    /// The last point at or before a stamp, but not before the oldest.
    fn last_at(&self, stamp: Timestamp) -> Timestamp {
        let end = self.points.partition_point(|point| *point <= stamp);
        let last = end.checked_sub(1).and_then(|place| self.points.get(place));
        last.copied().unwrap_or(self.oldest)
    }

    /// Whether what came after a stamp can be told from what came before.
    pub(crate) fn is_fork_point(&self, stamp: Timestamp) -> bool {
        stamp == self.oldest || self.points.binary_search(&stamp).is_ok()
    }

    /// Up to where another copy has the same commits: the newest point that is `known` and lies before all that is known and was
    /// not issued here. All members hold what lies within `stable`.
    pub(crate) fn fork_point(&self, known: &[Timestamp], stable: Timestamp) -> Timestamp {
        let foreign = known.iter().copied().filter(|stamp| self.is_foreign(*stamp)).min();
        let is_before = |stamp: &Timestamp| foreign.is_none_or(|foreign| *stamp < foreign);
        let ours = known.iter().filter(|stamp| is_before(stamp) && self.is_fork_point(**stamp)).max();
        // Where a later commit of both copies has one stamp, that of the other one passes for ours: it is not ours that all hold.
        let stable = stable.min(foreign.unwrap_or(Timestamp::MAX));
        ours.copied().unwrap_or_default().max(self.last_at(stable))
    }

    /// From where on no point is missing.
    pub(crate) fn complete_from(&self) -> Timestamp {
        self.complete_from
    }

    /// What each counter held at a point that was written or removed after it; `None` if it held no own count then.
    pub(crate) fn totals_at(&self, point: Timestamp) -> BTreeMap<Place, Option<(Timestamp, i64)>> {
        let mut totals = BTreeMap::new();
        for Total { count, .. } in self.totals.iter().filter(|total| total.at > point) {
            let held = (count.before <= point).then_some((count.before, count.total));
            totals.entry(count.place).or_insert(held);
        }
        totals
    }

    /// The ways to counters that were removed after a point.
    pub(crate) fn ways_after(&self, point: Timestamp) -> impl Iterator<Item = &[Step]> {
        let after = self.ways.values().filter(move |(at, _)| *at > point);
        after.map(|(_, way)| way.as_slice())
    }

    /// Drops what lies within the stable cut: all members hold it. The newest point there is kept.
    pub(crate) fn forget(&mut self, stable: Timestamp) {
        let oldest = self.last_at(stable);
        if oldest <= self.oldest {
            return;
        }
        self.points.drain(..self.points.partition_point(|point| *point < oldest));
        self.totals.drain(..self.totals.partition_point(|total| total.at <= oldest));
        self.ways.retain(|_, (at, _)| *at > oldest);
        self.oldest = oldest;
        self.complete_from = self.complete_from.max(oldest);
        if self.points.capacity() > 2 * self.points.len() + 64 {
            self.points.shrink_to(self.points.len());
            self.totals.shrink_to(self.totals.len());
        }
    }

    /// Makes room: of the older half of the points every other goes; all of those below the older half of the totals, if it is
    /// they that are too many. Between two points that are left one total of a counter is enough.
    fn thin(&mut self) {
        let mut points = std::mem::take(&mut self.points);
        let half = points.len() / 2;
        let mut from = points.get(half).copied().unwrap_or_default();
        let middle = self.totals.get(self.totals.len() / 2).map(|total| total.at);
        let are_points_few = points.len() <= MOST_POINTS;
        if let Some(middle) = middle.filter(|_| are_points_few) {
            from = middle;
            points.retain(|point| *point == self.oldest || *point >= from);
        } else {
            let mut place = 0;
            points.retain(|_| {
                place += 1;
                place > half || place % 2 == 1
            });
        }
        let mut seen = BTreeSet::new();
        self.totals.retain(|Total { at, count }| {
            *at >= from || seen.insert((points.partition_point(|point| point < at), count.place))
        });
        self.points = points;
        self.complete_from = self.complete_from.max(from);
        self.most_totals = MOST_TOTALS.max(2 * self.totals.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(bits: u64) -> Timestamp {
        Timestamp::from_bits(bits)
    }

    fn points(commits: &Commits) -> Vec<u64> {
        commits.points.iter().map(|point| point.bits()).collect()
    }

    /// Adds a commit that writes the counters of these places, each of which was last written by the commit before.
    fn add(commits: &mut Commits, at: u64, places: impl Iterator<Item = Place>) {
        let before = |place| Counted { place, before: stamp(at - 1), total: at as i64 - 1 };
        commits.add(stamp(at), &mut places.map(before).collect(), &mut Vec::new());
    }

    #[test]
    fn of_too_many_points_every_other_of_the_older_half_goes_and_counts_are_known_at_those_left() {
        let (most, half) = (MOST_POINTS as u64, MOST_POINTS as u64 / 2);
        let mut commits = Commits::default();
        (1..=most).for_each(|at| add(&mut commits, at, 7..8));
        assert_eq!(commits.points.len(), MOST_POINTS);
        add(&mut commits, most + 1, 7..8);
        let left: Vec<u64> = (1..=half).step_by(2).chain(half + 1..=most + 1).collect();
        assert!(points(&commits) == left, "{} of them, not {}", commits.points.len(), left.len());
        assert_eq!(commits.complete_from(), stamp(half + 1));
        assert!(!commits.is_foreign(stamp(2)) && !commits.is_foreign(stamp(half + 1)));
        assert!(commits.is_foreign(stamp(most + 2)));
        // Between two points that are left there is one total, that of the first count; and one before the first.
        assert_eq!(commits.totals.len(), left.len() + 1);
        for point in [1, 3, half - 1, half + 1, most] {
            let held = Some((stamp(point), point as i64));
            assert_eq!(commits.totals_at(stamp(point)), BTreeMap::from([(7, held)]));
        }
        assert_eq!(commits.totals_at(stamp(most + 1)), BTreeMap::new());
    }

    #[test]
    fn of_too_many_totals_the_older_half_goes_with_its_points_but_for_the_oldest() {
        let mut commits = Commits::default();
        add(&mut commits, 1, 0..0);
        commits.forget(stamp(1));
        const PLACES: u64 = MOST_TOTALS as u64 / 4;
        (2..6).for_each(|at| add(&mut commits, at, 0..PLACES));
        assert_eq!((points(&commits), commits.totals.len()), (vec![1, 2, 3, 4, 5], MOST_TOTALS));
        add(&mut commits, 6, 0..PLACES);
        assert_eq!((points(&commits), commits.complete_from()), (vec![1, 4, 5, 6], stamp(4)));
        // Of those before the first point that is left of the newer half, each counter's first is left.
        assert_eq!(commits.totals.len() as u64, 4 * PLACES);
        for (point, held) in [(1, 1), (4, 4), (5, 5)] {
            let totals = commits.totals_at(stamp(point));
            assert_eq!((totals.len() as u64, totals[&0]), (PLACES, Some((stamp(held), held as i64))));
        }
        // It is not thinned again until there are twice as many.
        assert_eq!(commits.most_totals as u64, 8 * PLACES);
    }

    #[test]
    fn what_all_hold_is_given_back_but_for_the_newest_point_and_what_came_after_it() {
        let mut commits = Commits::default();
        for at in 1..=1_000 {
            let before = Counted { place: at, before: stamp(0), total: 0 };
            commits.add(stamp(at), &mut vec![before], &mut vec![(at, Vec::new())]);
        }
        let ways = |commits: &Commits| commits.ways_after(stamp(0)).count();
        commits.forget(stamp(998));
        assert_eq!((points(&commits), commits.complete_from()), (vec![998, 999, 1_000], stamp(998)));
        assert_eq!((commits.totals.len(), ways(&commits)), (2, 2));
        assert_eq!(commits.totals_at(stamp(999)), BTreeMap::from([(1_000, Some((stamp(0), 0)))]));
        assert_eq!((commits.ways_after(stamp(998)).count(), commits.ways_after(stamp(999)).count()), (2, 1));
        assert!(commits.points.capacity() < 100 && commits.totals.capacity() < 100);
        // What is forgotten stays so.
        commits.forget(stamp(7));
        assert_eq!(points(&commits), [998, 999, 1_000]);
        assert!(!commits.is_foreign(stamp(998)) && !commits.is_foreign(stamp(7)));
    }
}
