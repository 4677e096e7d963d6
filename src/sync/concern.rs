//! Write concern: how many members hold a write.

use std::collections::VecDeque;

use crate::causal::id::ReplicaId;
use crate::clock::Timestamp;
use crate::sync::roster::{Epoch, Member};

/// So many memberships are remembered.
const MOST_MEMBERSHIPS: usize = 8;

/// A write concern of an endpoint, as it numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConcernId(pub(crate) u64);

/// How many members shall hold a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// So many, this one among them.
    Members(usize),
    /// More than half.
    Majority,
    /// Members in so many regions, this one's among them.
    Regions(usize),
    /// All.
    All,
}

/// What it means that a member holds a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Held {
    /// It has merged it.
    Applied,
    /// It has it on disk, if it has a store; else it has merged it.
    Durable,
}

/// Who holds a write, counted by member against the membership in which the write was made.
///
/// A member counts once, whatever it is called and by how many links it is heard of, and only if it was one then. Who came
/// later does not count; who left since is still counted among those asked. A write that was made before there were any members,
/// more than eight memberships ago or before a clock that was ahead was set right is counted against those there are when it is
/// asked for.
///
/// What a member holds is known by its own word alone, over a link of this endpoint, now or earlier while it was a member: in a
/// star a leaf hears it of no other leaf. Of a write that is not known to be one of this endpoint's since it was opened, such as
/// one of before a restart, nobody is known to hold anything.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holders {
    /// The write.
    pub stamp: Timestamp,
    /// The membership that it is counted against.
    pub epoch: Epoch,
    /// The members that hold it.
    pub hold: Vec<ReplicaId>,
    /// The members of which that is not known here.
    pub lack: Vec<ReplicaId>,
    /// Whether the membership changed since: those who read by a quorum of the new one may not see it.
    pub is_changed: bool,
}

/// What a write waits for.
#[derive(Debug)]
pub(crate) struct Concern {
    pub(crate) id: ConcernId,
    pub(crate) author: ReplicaId,
    pub(crate) stamp: Timestamp,
    pub(crate) need: Need,
    pub(crate) held: Held,
    pub(crate) deadline_ms: u64,
    /// Whether it is a write of this endpoint, as far as is remembered.
    pub(crate) is_issued: bool,
    /// That in which it was made.
    pub(crate) epoch: Epoch,
    pub(crate) members: Vec<Member>,
}

/// The memberships that there were, oldest first: a write is counted against that in which it was made, however late it is
/// asked for.
#[derive(Debug, Default)]
pub(crate) struct Memberships(VecDeque<Membership>);

#[derive(Debug)]
struct Membership {
    /// Writes with a later stamp were made in it, or in one that came after it.
    after: Timestamp,
    epoch: Epoch,
    members: Vec<Member>,
}

impl Memberships {
    /// This is the membership from now on; `after` is the last stamp so far.
    pub(crate) fn begin(&mut self, after: Timestamp, epoch: Epoch, members: Vec<Member>) {
        if self.0.len() >= MOST_MEMBERSHIPS {
            self.0.pop_front();
        }
        self.0.push_back(Membership { after, epoch, members });
    }

    /// From here on stamps may be older than before: what was written is counted against the membership there is.
    pub(crate) fn restart(&mut self) {
        self.0.drain(..self.0.len().saturating_sub(1));
        self.0.iter_mut().for_each(|membership| membership.after = Timestamp::ZERO);
    }

    /// That in which a write was made; if nobody was a member then, the one there is.
    pub(crate) fn of(&self, stamp: Timestamp) -> (Epoch, Vec<Member>) {
        let begun = self.0.partition_point(|membership| membership.after < stamp);
        let made_in = begun.checked_sub(1).and_then(|place| self.0.get(place));
        let counted = made_in.filter(|membership| !membership.members.is_empty()).or(self.0.back());
        counted.map_or_else(Default::default, |Membership { epoch, members, .. }| (*epoch, members.clone()))
    }
}

impl Concern {
    /// Who holds the write. `holds` says it of a member, under whatever id it is known now.
    pub(crate) fn holders(&self, now: Epoch, holds: impl Fn(&Member) -> bool) -> Holders {
        let (hold, lack): (Vec<&Member>, Vec<&Member>) =
            self.members.iter().partition(|member| self.is_issued && holds(member));
        let ids = |members: Vec<&Member>| members.into_iter().map(|member| member.member).collect();
        Holders {
            stamp: self.stamp,
            epoch: self.epoch,
            hold: ids(hold),
            lack: ids(lack),
            is_changed: now != self.epoch,
        }
    }

    /// Whether these are enough. Nobody at all never is.
    pub(crate) fn is_met(&self, holders: &Holders) -> bool {
        if holders.hold.is_empty() {
            return false;
        }
        match self.need {
            Need::Members(count) => holders.hold.len() >= count,
            Need::Majority => holders.hold.len() > self.members.len() / 2,
            Need::All => holders.lack.is_empty(),
            Need::Regions(count) => {
                let held = self.members.iter().filter(|member| holders.hold.contains(&member.member));
                let mut regions: Vec<&str> = held.map(|member| member.region.as_str()).collect();
                regions.sort_unstable();
                regions.dedup();
                regions.len() >= count
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concern(need: Need) -> Concern {
        let member = |number: u128| Member {
            member: ReplicaId::from_u128(number),
            id: ReplicaId::from_u128(100 + number),
            region: ["eu", "us"][number as usize % 2].to_owned(),
        };
        Concern {
            id: ConcernId(1),
            author: ReplicaId::from_u128(101),
            stamp: Timestamp::from_bits(7),
            need,
            held: Held::Applied,
            deadline_ms: 0,
            is_issued: true,
            epoch: Epoch::default(),
            members: (1..=5).map(member).collect(),
        }
    }

    #[test]
    fn by_nobody_no_need_is_met() {
        for need in [Need::All, Need::Majority, Need::Members(0), Need::Regions(0)] {
            let nobody = Concern { members: Vec::new(), ..concern(need) };
            assert!(!nobody.is_met(&nobody.holders(Epoch::default(), |_| true)), "{need:?}");
            let of_before = Concern { is_issued: false, ..concern(need) };
            let holders = of_before.holders(Epoch::default(), |_| true);
            assert!(!of_before.is_met(&holders) && holders.lack.len() == 5, "{need:?}");
        }
    }

    #[test]
    fn a_write_is_counted_against_the_membership_in_which_it_was_made() {
        let at = Timestamp::from_bits;
        let epoch = |number| Epoch { number, hash: number };
        let members = |count: usize| concern(Need::All).members.into_iter().take(count).collect::<Vec<_>>();
        let mut memberships = Memberships::default();
        let of = |memberships: &Memberships, stamp| {
            let (epoch, members) = memberships.of(at(stamp));
            (epoch.number, members.len())
        };
        assert_eq!(of(&memberships, 7), (0, 0));
        for (after, number, count) in [(10, 1, 0), (20, 2, 3), (30, 3, 0), (30, 4, 4), (40, 5, 5)] {
            memberships.begin(at(after), epoch(number), members(count));
        }
        for (stamp, counted) in
            [(5, 5), (15, 5), (20, 5), (21, 2), (30, 2), (31, 4), (40, 4), (41, 5), (99, 5)]
        {
            assert_eq!(of(&memberships, stamp).0, counted, "{stamp}");
        }
        for number in 6..100 {
            memberships.begin(at(10 * number), epoch(number), members(1));
        }
        assert_eq!(memberships.0.len(), MOST_MEMBERSHIPS);
        assert_eq!([of(&memberships, 21), of(&memberships, 985)], [(99, 1), (98, 1)]);
        // A clock that was ahead is right again.
        memberships.restart();
        memberships.begin(at(500), epoch(100), members(2));
        assert_eq!([of(&memberships, 499), of(&memberships, 501)], [(99, 1), (100, 2)]);
    }

    #[test]
    fn needs_are_met_by_members_and_regions() {
        let met = |need, holding: &[u128]| {
            let concern = concern(need);
            let holders =
                concern.holders(Epoch::default(), |member| holding.contains(&member.member.uuid().as_u128()));
            assert_eq!(holders.hold.len() + holders.lack.len(), 5);
            concern.is_met(&holders)
        };
        assert!(!met(Need::Majority, &[1, 2]) && met(Need::Majority, &[1, 2, 3]));
        assert!(!met(Need::Members(2), &[1]) && met(Need::Members(2), &[1, 5]));
        assert!(!met(Need::Regions(2), &[1, 3, 5]) && met(Need::Regions(2), &[1, 2]));
        assert!(!met(Need::All, &[1, 2, 3, 4]) && met(Need::All, &[1, 2, 3, 4, 5]));
        assert!(!met(Need::Regions(3), &[1, 2, 3, 4, 5]));
    }
}
