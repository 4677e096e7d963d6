//! The membership: who is waited for before anything is forgotten, and who is asked to hold a write.

use crate::causal::id::ReplicaId;
use crate::crdt::Crdt;
use crate::replica::error::WriteError;
use crate::sync::config::Admission;
use crate::sync::session::Peer;
use crate::sync::shared::Shared;

/// A member of the cluster: a store, whatever id it writes under now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// The member: the same through all its restarts.
    pub member: ReplicaId,
    /// The id that it writes under now.
    pub id: ReplicaId,
    /// The region it stands in.
    pub region: String,
}

/// Which membership it is. It goes up with each change; of two that were made at once one is left in the end, with its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch {
    /// How many changes led to it, those made at once counted once.
    pub number: u64,
    /// A hash of the members, by which memberships of one number are told from each other.
    pub hash: u64,
}

impl<S: Crdt> Shared<S> {
    pub(crate) fn members(&self) -> Vec<Member> {
        self.roster.values().cloned().collect()
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch { number: self.epoch, hash: 0 }
    }

    /// This endpoint, as a member.
    fn itself(&self) -> Member {
        let config = self.config();
        Member { member: config.member, id: self.replica.id(), region: config.region.clone() }
    }

    /// Makes this endpoint a member.
    pub(crate) fn found(&mut self, now_ms: u64) -> Result<(), WriteError> {
        self.enrol(now_ms, self.itself())
    }

    /// Makes someone a member, under the id that it has now.
    pub(crate) fn enrol(&mut self, _now_ms: u64, member: Member) -> Result<(), WriteError> {
        if self.roster.get(&member.member) != Some(&member) {
            self.roster.insert(member.member, member);
            self.epoch += 1;
            self.replica.set_members(self.roster.values().map(|member| member.id));
        }
        Ok(())
    }

    /// Makes a member none.
    pub(crate) fn strike(&mut self, _now_ms: u64, member: ReplicaId) -> Result<(), WriteError> {
        if self.roster.remove(&member).is_some() {
            self.epoch += 1;
            self.replica.set_members(self.roster.values().map(|member| member.id));
        }
        Ok(())
    }

    /// Whether a peer is a member, or is made one now.
    pub(crate) fn lets_in(&mut self, now_ms: u64, peer: &Peer) -> bool {
        let member = Member { member: peer.member, id: peer.id, region: peer.region.clone() };
        if self.roster.get(&peer.member) == Some(&member) {
            return true;
        }
        let is_known = self.roster.contains_key(&peer.member) || self.invited.contains(&peer.member);
        if !is_known && self.config().admission == Admission::Invited {
            return false;
        }
        // It counts from here on, before anything is sent to it.
        self.found(now_ms).is_ok() && self.enrol(now_ms, member).is_ok()
    }
}
