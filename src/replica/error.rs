//! Why a transaction or a merge was not made.

use std::fmt;

use crate::causal::id::ReplicaId;
use crate::causal::vector::VersionVector;
use crate::clock::{ClockError, Timestamp};
use crate::wire::error::DecodeError;

/// Why a transaction could not be made. To blame: the caller. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError {
    /// No stamp could be issued.
    Clock(ClockError),
    /// A panic was caught inside of the transaction, in the middle of an update. Let it pass through, or do not panic.
    Unwound,
    /// A panic of the application's own types ended a merge half-way. Drop the replica and fetch its state from a peer,
    /// under a new id.
    Poisoned,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clock(error) => fmt::Display::fmt(error, f),
            Self::Unwound => f.write_str("a panic was caught inside of the transaction, so it was undone"),
            Self::Poisoned => f.write_str(POISONED),
        }
    }
}

const POISONED: &str =
    "a panic ended a merge half-way: drop this replica and fetch its state from a peer, under a new id";

impl std::error::Error for WriteError {}

/// Why a transaction was not made. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransactError<E> {
    /// It could not be made.
    Write(WriteError),
    /// The closure returned this error.
    Aborted(E),
}

impl<E> From<WriteError> for TransactError<E> {
    fn from(error: WriteError) -> Self {
        Self::Write(error)
    }
}

impl<E: fmt::Display> fmt::Display for TransactError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(error) => fmt::Display::fmt(error, f),
            Self::Aborted(error) => write!(f, "the transaction was undone: {error}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for TransactError<E> {}

/// Why a delta was not merged. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MergeError {
    /// Bytes: they are no message.
    Decode(DecodeError),
    /// Peer, or a message lost on the way: the delta goes on from more than is held here. Ask for a delta since `vector`.
    Gap {
        /// What is held here.
        vector: VersionVector,
    },
    /// Caller: the delta is one chunk of several. Gather them in a [`PendingDelta`](crate::PendingDelta).
    Incomplete,
    /// Peer: a stamp is further ahead of the caller's clock than [`Config::max_ahead_ms`](crate::Config::max_ahead_ms)
    /// allows. One of the two clocks is wrong. Set it right, or ask again later.
    TooFarAhead {
        /// Who issued it.
        id: ReplicaId,
        /// The stamp.
        stamp: Timestamp,
        /// The latest that is accepted, in Unix milliseconds.
        bound_ms: u64,
    },
    /// Us, or a copy of us: the peer holds events under our id that we never issued. The id is used twice (a clone), or our
    /// state is older than what we once sent (a restored backup). Stop writing under the id, and go on under a new one.
    NotIssued {
        /// The stamp that the peer knows.
        stamp: Timestamp,
        /// The last that we issued.
        own: Timestamp,
    },
    /// Peer, or the operator: with this delta more replicas would have written than a message can name,
    /// [`Limits::MAX_REPLICAS`](crate::Limits::MAX_REPLICAS). Use fewer ids.
    TooManyReplicas {
        /// How many there would be.
        count: usize,
    },
    /// Us: a panic of the application's own types ended an earlier merge half-way. Drop the replica and fetch its state
    /// from a peer, under a new id.
    Poisoned,
}

impl fmt::Display for MergeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(error) => fmt::Display::fmt(error, f),
            Self::Gap { vector } => {
                write!(f, "the delta would leave a gap: ask for what is missing since {vector:?}")
            }
            Self::Incomplete => f.write_str("the delta is one chunk of several: gather them before merging"),
            Self::TooFarAhead { id, stamp, bound_ms } => write!(
                f,
                "the stamp {stamp} of {id} is beyond {bound_ms}, the latest that is accepted: one of the clocks is wrong"
            ),
            Self::NotIssued { stamp, own } => write!(
                f,
                "the peer holds {stamp} under our id, which we issued only up to {own}: go on under a new id"
            ),
            Self::TooManyReplicas { count } => {
                write!(f, "{count} replicas would have written, more than a message can name: use fewer ids")
            }
            Self::Poisoned => f.write_str(POISONED),
        }
    }
}

impl std::error::Error for MergeError {}
