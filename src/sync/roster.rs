//! The membership: who is waited for before anything is forgotten, and who is asked to hold a write.

use crate::causal::id::ReplicaId;

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
