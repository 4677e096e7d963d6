//! Why a frame was not taken, or a write not made.

use std::fmt;

use crate::causal::id::ReplicaId;
use crate::replica::error::{MergeError, WriteError};

/// Why a frame was not taken. Nothing changed.
///
/// A session heals by itself what the network does to frames: loss, repetition, reordering are no errors. What is one is the
/// peer's doing: close the link, and connect again later.
///
/// # Example
/// ```
/// use driftless::{Config, Endpoint, Flag, LinkId, Replica, ReplicaId, SyncConfig, SyncError};
/// use uuid::Uuid;
///
/// let replica: Replica<Flag> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// let mut eu = Endpoint::new(replica, SyncConfig::new(Uuid::from_u128(7), ReplicaId::from_u128(0xe0), "eu"));
/// assert_eq!(eu.receive(1_000, LinkId(1), b"GET / HTTP/1.1"), Err(SyncError::UnknownLink { link: LinkId(1) }));
/// eu.link_up(1_000, LinkId(1), None, 42);
/// assert!(matches!(eu.receive(1_000, LinkId(1), b"GET / HTTP/1.1"), Err(SyncError::Broken { .. })));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncError {
    /// Bytes: they are no frame. Close the link.
    Broken {
        /// What should stand there.
        what: &'static str,
    },
    /// Caller: the link is not up.
    UnknownLink {
        /// The link.
        link: LinkId,
    },
    /// Peer: it is of another cluster.
    OtherCluster,
    /// Peer: no version of the protocol is spoken by both. Upgrade the older side.
    Version {
        /// The oldest and the newest version that the peer speaks.
        theirs: (u16, u16),
    },
    /// Peer, or operator: the state is of another shape over there, and not only by fields that were appended to structs or that
    /// structs with [`UnknownFields`](crate::UnknownFields) keep. The [event](crate::SyncEvent::Refused) names the place. Bring
    /// both sides to one schema.
    Schema,
    /// Peer: it says that it is whom another link is known to lead to, or led to since this endpoint was opened.
    Impostor {
        /// Who it says it is.
        id: ReplicaId,
    },
    /// Operator: the link leads to this endpoint itself.
    Itself {
        /// Which id it has.
        id: ReplicaId,
    },
    /// Peer: what it sent could not be merged.
    Merge(MergeError),
}

/// One connection to one peer, as the caller numbers them. A new connection has a new number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

impl fmt::Display for SyncError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken { what } => {
                write!(f, "the bytes are no frame, which has {what} there; nothing changed: close the link")
            }
            Self::UnknownLink { link } => {
                write!(f, "the caller names link {}, which is not up; nothing changed: say `link_up` first", link.0)
            }
            Self::OtherCluster => {
                f.write_str("the peer is of another cluster; nothing changed: connect to a member of this one")
            }
            Self::Version { theirs: (oldest, newest) } => write!(
                f,
                "the peer speaks the versions {oldest} to {newest} of the protocol; \
                 nothing changed: upgrade the older side"
            ),
            Self::Schema => f.write_str(
                "the peer's state is of another shape; nothing changed: bring both sides to one schema, then connect again",
            ),
            Self::Impostor { id } => write!(
                f,
                "the peer says that it is {id}, which the transport says is somebody else; \
                 nothing changed: close the link, and look who is there"
            ),
            Self::Itself { id } => {
                write!(f, "the operator's link leads back to {id} itself; nothing changed: connect to another member")
            }
            Self::Merge(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for SyncError {}

impl From<MergeError> for SyncError {
    fn from(error: MergeError) -> Self {
        Self::Merge(error)
    }
}

/// Why an endpoint did not make a write. To blame: the caller. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusedWrite {
    /// The replica refused it.
    Write(WriteError),
    /// The id is used twice, or was rolled back: [`Endpoint::reidentify`](crate::Endpoint::reidentify) first.
    IdInDoubt {
        /// The id.
        id: ReplicaId,
    },
}

impl fmt::Display for RefusedWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(error) => fmt::Display::fmt(error, f),
            Self::IdInDoubt { id } => write!(
                f,
                "the caller's id {id} is used twice, or was rolled back; \
                 nothing changed: answer the event with `reidentify`, then write again"
            ),
        }
    }
}

impl std::error::Error for RefusedWrite {}

impl From<WriteError> for RefusedWrite {
    fn from(error: WriteError) -> Self {
        Self::Write(error)
    }
}
