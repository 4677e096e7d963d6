//! Deltas: what one replica holds and another lacks, as a value and as bytes.
//!
//! A delta is made from the compacted state, never from a log of operations: what was overwritten is not shipped, and any
//! replica can serve any other. It says from where it goes on (`from`) and where it leads (`to`), and it holds each cell
//! that an event in between touched, whole.
//!
//! The bytes are described in `docs/wire-format.md`.

// What comes from outside passes through here: none of it may make us panic, or go wrong in silence.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub(crate) mod message;
pub(crate) mod pending;

use std::fmt;
use std::sync::Arc;

use crate::causal::frontier::Frontier;
use crate::causal::origin::Origins;
use crate::causal::vector::VersionVector;
use crate::crdt::Crdt;

/// What one replica holds and another lacks.
///
/// Made by [`Replica::delta_since`](crate::Replica::delta_since), or from bytes by
/// [`Replica::decode`](crate::Replica::decode); merged by [`Replica::merge`](crate::Replica::merge).
pub struct Delta<S> {
    /// The ids that the numbers in `state` and in the vectors mean.
    pub(crate) origins: Arc<Origins>,
    pub(crate) from: Frontier,
    pub(crate) to: Frontier,
    /// The marks that the sender has dropped, if this is all it holds.
    pub(crate) cut: Option<Frontier>,
    pub(crate) state: S,
    /// Which part this is of a transfer in chunks.
    pub(crate) chunk: Option<Chunk>,
    /// The bytes it came as; zero if it was not decoded.
    pub(crate) bytes: usize,
    pub(crate) rows_visited: usize,
}

impl<S: Crdt> Clone for Delta<S> {
    /// Another copy, for another receiver; what the two hold is shared.
    fn clone(&self) -> Self {
        Self {
            origins: Arc::clone(&self.origins),
            from: self.from.clone(),
            to: self.to.clone(),
            cut: self.cut.clone(),
            state: self.state.fork(),
            ..*self
        }
    }
}

impl<S> fmt::Debug for Delta<S> {
    /// Where it leads from and to; not what it holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delta")
            .field("from", &self.from.to_vector(&self.origins))
            .field("to", &self.to.to_vector(&self.origins))
            .field("is_complete", &self.cut.is_some())
            .field("chunk", &self.chunk)
            .finish_non_exhaustive()
    }
}

/// A place in a transfer in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) index: u64,
    pub(crate) is_last: bool,
    /// The hash of the message before; zero for the first. Chunks of two transfers of the same events do not mix.
    pub(crate) follows: u64,
    /// The hash of this message; zero before it is one.
    pub(crate) hash: u64,
}

impl<S: Crdt> Delta<S> {
    /// Who merges it must hold all of this: elsewhere it would leave a gap.
    pub fn from(&self) -> VersionVector {
        self.from.to_vector(&self.origins)
    }

    /// Who has merged it holds all of this.
    pub fn to(&self) -> VersionVector {
        self.to.to_vector(&self.origins)
    }

    /// Whether there is nothing in it for who holds [`from`](Self::from).
    pub fn is_empty(&self) -> bool {
        self.cut.is_none() && self.to.within(&self.from)
    }

    /// Whether it is all that the sender holds. Then what it does not contain, and the sender had seen, is gone.
    pub fn is_complete(&self) -> bool {
        self.cut.is_some()
    }

    /// Whether it is one chunk of several, to be gathered in a [`PendingDelta`](crate::PendingDelta) before it is merged.
    pub fn is_chunk(&self) -> bool {
        self.chunk.is_some()
    }

    /// How many rows of maps were looked at to make it: what it cost, beside what it holds.
    pub fn rows_visited(&self) -> usize {
        self.rows_visited
    }
}
