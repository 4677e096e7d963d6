//! The membership: who is waited for before anything is forgotten, and who is asked to hold a write.

use xxhash_rust::xxh3::xxh3_64;

use crate::causal::id::ReplicaId;
use crate::clock::Timestamp;
use crate::crdt::Crdt;
use crate::crdt::register::LwwRegister;
use crate::delta::system::Incarnation;
use crate::replica::error::WriteError;
use crate::sync::config::Admission;
use crate::sync::event::SyncEvent;
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
        let member = |(member, register): (&ReplicaId, &LwwRegister<Incarnation>)| {
            let Incarnation { id, region } = register.latest()?.clone();
            Some(Member { member: *member, id, region })
        };
        let mut members: Vec<Member> = self.replica.system().members.iter().filter_map(member).collect();
        members.sort_unstable_by_key(|member| member.member);
        members
    }

    pub(crate) fn epoch(&self) -> Epoch {
        let mut bytes = Vec::new();
        for member in self.members() {
            bytes.extend_from_slice(member.member.as_bytes());
        }
        let number = self.replica.system().epoch.latest().copied().unwrap_or_default();
        Epoch { number, hash: if bytes.is_empty() { 0 } else { xxh3_64(&bytes) } }
    }

    /// Under which id a member writes, if it is one.
    fn id_of(&self, member: &ReplicaId) -> Option<ReplicaId> {
        let register = self.replica.system().members.get(member)?;
        register.latest().map(|incarnation| incarnation.id)
    }

    /// Whoever comes as this member may be anybody again.
    pub(crate) fn invite(&mut self, member: ReplicaId) {
        if let Some(id) = self.id_of(&member) {
            self.principals.remove(&id);
        }
        self.invited.insert(member);
    }

    /// Whether a name is that of this endpoint, of a member, or of someone who wrote.
    pub(crate) fn is_anyone(&self, member: &ReplicaId, id: &ReplicaId) -> bool {
        let is_own = *member == self.config().member || *id == self.replica.id();
        let is_member = self.replica.members().binary_search(id).is_ok() || self.id_of(member).is_some();
        is_own || is_member || self.replica.seen(id) > Timestamp::ZERO
    }

    /// Whether a peer is a member, under the id that it has now.
    pub(crate) fn is_enrolled(&self, peer: &Peer) -> bool {
        self.id_of(&peer.member) == Some(peer.id)
    }

    /// Whether this endpoint is a member, under the id that it has now.
    pub(crate) fn is_member(&self) -> bool {
        self.id_of(&self.config().member) == Some(self.replica.id())
    }

    /// Whether this endpoint is a member, under whichever id.
    pub(crate) fn is_enlisted(&self) -> bool {
        self.id_of(&self.config().member).is_some()
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

    /// Takes the place of this endpoint again, if it goes by an id that it had before: whoever met another copy under that one
    /// put it there.
    pub(crate) fn keep_place(&mut self, now_ms: u64) {
        let known = self.id_of(&self.config().member);
        if self.doubt.is_none() && known.is_some_and(|id| self.former.contains(&id)) {
            // If it cannot be written now, it can be later.
            let _ = self.found(now_ms);
        }
    }

    /// This endpoint takes the place of the one before it, whose id it closes. Who was evicted meanwhile stays so.
    pub(crate) fn succeed(&mut self, now_ms: u64, former: ReplicaId) -> Result<(), WriteError> {
        self.close(now_ms, former)?;
        if self.is_enlisted() {
            self.enrol(now_ms, self.itself())?;
        }
        Ok(())
    }

    /// Closes an id that nobody writes under any more.
    fn close(&mut self, now_ms: u64, former: ReplicaId) -> Result<(), WriteError> {
        let closed = self.replica.close(now_ms, former)?;
        // What we committed is the closing, not what it closes.
        self.committed(closed.map(|_| self.replica.clock().last()));
        Ok(())
    }

    /// Makes someone a member, under the id that it has now.
    pub(crate) fn enrol(&mut self, now_ms: u64, member: Member) -> Result<(), WriteError> {
        let Member { member, id, region } = member;
        let before = self.id_of(&member);
        if before == Some(id) {
            return Ok(());
        }
        let epoch = self.epoch().number.saturating_add(u64::from(before.is_none()));
        let committed = self.replica.administer(now_ms, |system| {
            system.members().update(&member, |register| register.set(Incarnation { id, region }));
            if before.is_none() {
                system.epoch().set(epoch);
            }
        })?;
        self.committed(committed.stamp);
        if let Some(former) = before.filter(|former| *former != self.replica.id()) {
            // Nobody writes under it any more. If somebody does all the same, no harm is done.
            self.close(now_ms, former)?;
        }
        self.look_at_roster();
        Ok(())
    }

    /// Makes a member none.
    pub(crate) fn strike(&mut self, now_ms: u64, member: ReplicaId) -> Result<(), WriteError> {
        let epoch = self.epoch().number.saturating_add(1);
        let former = self.id_of(&member).filter(|id| *id != self.replica.id());
        let committed = self.replica.administer(now_ms, |system| {
            if system.members().remove(&member) {
                system.epoch().set(epoch);
            }
        })?;
        self.committed(committed.stamp);
        if let Some(former) = former {
            // Vectors need not name it while it is away. Whatever it wrote alone is named again when it returns.
            self.close(now_ms, former)?;
        }
        self.look_at_roster();
        Ok(())
    }

    /// Whether data is exchanged with a peer, of which the transport says who it is. If it is no member, it is made one now, or
    /// has to wait.
    pub(crate) fn lets_in(&mut self, now_ms: u64, peer: &Peer, principal: Option<&String>) -> bool {
        // A member counts for what it says to hold, under whatever id it comes: to who is somebody else it is as if the name were
        // not known.
        let known = self.id_of(&peer.member).filter(|id| self.may_be(id, principal));
        let is_closed = self.replica.system().closed.contains_key(&peer.id);
        if known == Some(peer.id) || (known.is_some() && is_closed) {
            self.invited.remove(&peer.member);
            return true;
        }
        let is_invited = self.invited.contains(&peer.member);
        let is_nobody = self.members().is_empty();
        let is_first = match self.config().admission {
            // One of the two begins, so that there are not two clusters.
            Admission::Anyone => {
                is_nobody && self.epoch().number >= peer.epoch && self.config().member < peer.member
            }
            // Halves evicted each other, and nobody is left who could let anyone in.
            Admission::Invited => is_nobody && self.epoch() != Epoch::default() && is_invited,
        };
        if !self.is_member() && !is_first {
            // It is for the members to say who becomes one.
            return true;
        }
        let is_known = known.is_some() || is_invited;
        if !is_known && self.config().admission == Admission::Invited {
            return false;
        }
        // It counts from here on, before anything is sent to it.
        let member = Member { member: peer.member, id: peer.id, region: peer.region.clone() };
        let is_in = self.found(now_ms).is_ok() && self.enrol(now_ms, member).is_ok();
        if is_in {
            self.invited.remove(&peer.member);
        }
        is_in
    }

    /// The membership may be another now.
    pub(crate) fn look_at_roster(&mut self) {
        let members = self.members();
        self.replica.set_members(members.iter().map(|member| member.id));
        let (epoch, is_member) = (self.epoch(), self.is_member());
        let was_member = std::mem::replace(&mut self.was_member, is_member);
        if std::mem::replace(&mut self.last_epoch, epoch) != epoch {
            self.memberships.begin(self.replica.clock().last(), epoch, members.clone());
            self.events.push_back(SyncEvent::MembersChanged { epoch });
            let is_out = !members.iter().any(|member| member.member == self.config().member);
            if was_member && is_out {
                self.events.push_back(SyncEvent::Evicted);
            }
        }
        self.version += 1;
    }
}
