//! Write concern: how many members hold a write.

use crate::causal::id::ReplicaId;
use crate::clock::Timestamp;
use crate::sync::roster::{Epoch, Member};

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

/// Who holds a write, counted by member against the membership when the write was made.
///
/// A member counts once, whatever it is called and by how many links it is heard of, and only if it was one then. Who came
/// later does not count; who left since is still counted among those asked.
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
    pub(crate) epoch: Epoch,
    pub(crate) members: Vec<Member>,
}

impl Concern {
    /// Who holds the write. `holds` says it of a member, under whatever id it is known now.
    pub(crate) fn holders(&self, now: Epoch, holds: impl Fn(&Member) -> bool) -> Holders {
        let (hold, lack): (Vec<&Member>, Vec<&Member>) =
            self.members.iter().partition(|member| holds(member));
        let ids = |members: Vec<&Member>| members.into_iter().map(|member| member.member).collect();
        Holders {
            stamp: self.stamp,
            epoch: self.epoch,
            hold: ids(hold),
            lack: ids(lack),
            is_changed: now != self.epoch,
        }
    }

    /// Whether these are enough.
    pub(crate) fn is_met(&self, holders: &Holders) -> bool {
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
            epoch: Epoch::default(),
            members: (1..=5).map(member).collect(),
        }
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
