//! What an endpoint tells the program around it.

use crate::causal::id::ReplicaId;
use crate::clock::Timestamp;
use crate::crdt::change::Change;
use crate::crdt::unreadable::Unreadable;
use crate::sync::concern::{ConcernId, Holders};
use crate::sync::error::{LinkId, SyncError};
use crate::sync::roster::Epoch;
use crate::wire::error::EncodeError;

/// A place at which the states of two replicas are of different types; fields that were appended to structs are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaConflict {
    /// The path and the type that it has here.
    pub ours: String,
    /// The path and the type that it has at the peer.
    pub theirs: String,
}

/// What happened, as far as the program around an endpoint may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncEvent {
    /// A peer is there, and data is exchanged with it.
    Established {
        /// The link.
        link: LinkId,
        /// The peer's id.
        id: ReplicaId,
        /// The member that it is.
        member: ReplicaId,
        /// The region it stands in.
        region: String,
    },
    /// The peer was set up as the same member as this endpoint: a clone that goes on under an id of its own by now. Data is
    /// exchanged; but what is forgotten waits for one of the two alone. Give it a member id of its own.
    SameMember {
        /// The link.
        link: LinkId,
        /// The peer's id.
        id: ReplicaId,
    },
    /// The peer refuses to exchange anything with us. Close the link.
    Refused {
        /// The link.
        link: LinkId,
        /// Why, in the peer's words.
        reason: String,
        /// Where the two schemas differ, if that is why.
        conflict: Option<SchemaConflict>,
    },
    /// Fields of structs with [`UnknownFields`](crate::UnknownFields) are something else at the peer than here. Each side reads
    /// its own, and keeps and passes on the other's; all else is exchanged. It is said once for each connection.
    FieldsApart {
        /// The link.
        link: LinkId,
        /// Which, as far as both describe their states: the first 4,096 places.
        places: Vec<SchemaConflict>,
    },
    /// The two clocks are too far apart, or stamps come in from too far ahead: nothing is exchanged on this link until they are
    /// set right, and then all is.
    ClocksApart {
        /// The link.
        link: LinkId,
        /// Who is ahead: this endpoint, the peer, or the author of the stamps.
        ahead: ReplicaId,
        /// By how many milliseconds.
        by_ms: u64,
    },
    /// The clocks agree again.
    ClocksRight {
        /// The link.
        link: LinkId,
    },
    /// Our id is used by another copy of this process, or our memory was rolled back. Nothing is written and nothing leaves until
    /// [`Endpoint::reidentify`](crate::Endpoint::reidentify) is called with a fresh id.
    IdInDoubt {
        /// The link over which it was found out.
        link: LinkId,
        /// The id.
        id: ReplicaId,
        /// What a peer holds under it that we never committed, or was told that we held, and we do not.
        stamp: Timestamp,
    },
    /// The peer wrote, or passed something on, and [may only read](crate::Access::Read). It is said once for each greeting.
    MayNotWrite {
        /// The link.
        link: LinkId,
    },
    /// A delta was merged.
    Merged {
        /// The link that it came by.
        link: LinkId,
        /// How many registers came to hold concurrent values.
        conflicts: usize,
        /// What reads differently now, if [`Config::changes`](crate::Config::changes) is set.
        changes: Vec<Change>,
    },
    /// A delta held what this release cannot read: another release wrote it. It is kept as it came and passed on; nothing else is
    /// held up.
    Unreadable {
        /// The link that it came by.
        link: LinkId,
        /// How many, and where.
        found: Unreadable,
    },
    /// What is held here cannot be written as bytes, so it cannot be sent: a value's `Serialize` fails.
    CannotEncode {
        /// The link.
        link: LinkId,
        /// Why.
        error: EncodeError,
    },
    /// What a peer sent earlier, and had to wait for what has come since, cannot be taken. Nothing of it changed anything: close
    /// the link, as if [`receive`](crate::Endpoint::receive) had returned the error.
    CannotTake {
        /// The link that it came by.
        link: LinkId,
        /// Why.
        error: SyncError,
    },
    /// A part of a large transfer came.
    Progress {
        /// The link.
        link: LinkId,
        /// How many rows have come.
        rows: u64,
        /// How many there are; of a transfer that is resumed on a new connection, from there on.
        of: u64,
    },
    /// The membership is another now.
    MembersChanged {
        /// Which it is.
        epoch: Epoch,
    },
    /// This endpoint is no member any more: others forget without waiting for it. All it holds is still exchanged.
    Evicted,
    /// A peer that is no member wants to become one, or one comes in the name of a member whom the transport called otherwise
    /// when it came here before: [`Endpoint::admit`](crate::Endpoint::admit) decides it.
    JoinRequest {
        /// The link.
        link: LinkId,
        /// The member that it would be.
        member: ReplicaId,
        /// The region it stands in.
        region: String,
        /// Who it is by what the transport says.
        principal: Option<String>,
    },
    /// As many hold a write as were asked for.
    Confirmed {
        /// Which write concern.
        concern: ConcernId,
        /// Who holds it.
        holders: Holders,
    },
    /// Not as many held a write by the deadline as were asked for; or nothing is known of the write, which is said at once. If it
    /// was made it stands, and is shipped on.
    Unconfirmed {
        /// Which write concern.
        concern: ConcernId,
        /// Who holds it, and who does not as far as is known here.
        holders: Holders,
    },
    /// A peer with an equal vector holds something else: a fault of memory, of a disk, or ours.
    Diverged {
        /// The link.
        link: LinkId,
        /// The rows that differ, as text.
        rows: Vec<String>,
    },
    /// What differed was joined, row by row.
    Repaired {
        /// The link.
        link: LinkId,
        /// How many rows changed here.
        rows: usize,
    },
}
