//! What a cluster says of itself: who its members are, and which ids are closed.
//!
//! It is replicated with the data, under the same vector and in every delta, and it is no part of the application's state: not
//! in its digest, and not in its canonical bytes. So whoever covers an event of it has it.

use serde::{Deserialize, Serialize};

use crate::causal::dot::Dot;
use crate::causal::id::ReplicaId;
use crate::clock::Timestamp;
use crate::crdt::map::MergeMap;
use crate::crdt::register::LwwRegister;

/// What a cluster says of itself.
#[derive(Debug, driftless_derive::Crdt)]
pub(crate) struct System {
    /// The members, by an id that stays: that of a region's store.
    pub(crate) members: MergeMap<ReplicaId, LwwRegister<Incarnation>>,
    /// The epoch of the membership.
    pub(crate) epoch: LwwRegister<u64>,
    /// For each closed id, up to which stamp it was held by whoever closed it, when it did. Of several that closed it
    /// concurrently each is right.
    pub(crate) closed: MergeMap<ReplicaId, LwwRegister<Timestamp>>,
    /// For each id that was used twice, what was issued again under another one.
    pub(crate) forks: MergeMap<ReplicaId, MergeMap<ReplicaId, LwwRegister<Fork>>>,
}

/// What a copy of a replica committed after the two had parted, and issued again under an id of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fork {
    /// The last commit that both copies have.
    pub(crate) after: Timestamp,
    /// The last that was issued again, under its new name.
    pub(crate) last: Timestamp,
    /// Whether the stamps are those that they were.
    pub(crate) is_kept: bool,
}

/// Under which id a member writes now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Incarnation {
    pub(crate) id: ReplicaId,
    pub(crate) region: String,
}

impl System {
    /// The closed ids: each event that closed one, and the last stamp that its author held of it.
    pub(crate) fn closings(&self) -> impl Iterator<Item = (&ReplicaId, Dot, Timestamp)> {
        let closed = self.closed.all_rows();
        closed.flat_map(|(id, register)| register.dotted().map(move |(dot, last)| (id, dot, *last)))
    }
}
