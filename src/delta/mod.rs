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
pub(crate) mod system;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::causal::frontier::Frontier;
use crate::causal::id::ReplicaId;
use crate::causal::origin::{Origin, Origins};
use crate::causal::vector::VersionVector;
use crate::clock::Timestamp;
use crate::crdt::Crdt;
use crate::delta::system::System;
use crate::wire::hash::KeyHasher;

/// What one replica holds and another lacks.
///
/// Made by [`Replica::delta_since`](crate::Replica::delta_since), or from bytes by
/// [`Replica::decode`](crate::Replica::decode); merged by [`Replica::merge`](crate::Replica::merge). It holds the cells that
/// events between [`from`](Self::from) and [`to`](Self::to) touched, whole, as they are now: what was overwritten is not in it.
///
/// A clone shares what it holds. `docs/wire-format.md` describes the bytes.
///
/// Source: delta-states, and the condition under which they may be merged, from Almeida, Shoker, Baquero, *Delta State
/// Replicated Data Types* (2018), sections 4 and 5.
///
/// # Example
/// ```
/// use driftless::{Config, LwwRegister, Replica, ReplicaId, VersionVector};
///
/// let mut eu: Replica<LwwRegister<String>> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// eu.write(1_000, |name| name.set("Ada"))?;
/// let delta = eu.delta_since(&VersionVector::new());
/// assert_eq!((delta.from(), delta.to()), (VersionVector::new(), eu.vector()));
/// assert!(!delta.is_empty() && !delta.is_complete() && !delta.is_chunk());
///
/// let bytes = delta.encode()?;
/// let us: Replica<LwwRegister<String>> = Replica::new(ReplicaId::from_u128(2), Config::default());
/// assert_eq!(us.decode(&bytes)?.to(), eu.vector());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Delta<S> {
    /// The ids that the numbers in `state` and in the vectors mean.
    pub(crate) origins: Arc<Origins>,
    pub(crate) from: Frontier,
    pub(crate) to: Frontier,
    /// The marks that the sender has dropped, if this is all it holds.
    pub(crate) cut: Option<Frontier>,
    pub(crate) state: S,
    /// What the cluster says of itself.
    pub(crate) system: System,
    /// The ids in `to` that need not be named because they are closed: who holds `from` holds all that is held of them here.
    pub(crate) implied: Vec<Origin>,
    pub(crate) closed: Closed,
    /// Which part this is of a transfer in chunks.
    pub(crate) chunk: Option<Chunk>,
    /// What the receiver hashes keys with, if it asked to be told keys in short form.
    pub(crate) short: Option<KeyHasher>,
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
            system: self.system.fork(),
            implied: self.implied.clone(),
            closed: self.closed.clone(),
            short: self.short.clone(),
            ..*self
        }
    }
}

impl<S> fmt::Debug for Delta<S> {
    /// Where it leads from and to; not what it holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delta")
            .field("from", &self.from.to_vector_without(&self.implied, &self.origins))
            .field("to", &self.to.to_vector_without(&self.implied, &self.origins))
            .field("is_complete", &self.cut.is_some())
            .field("chunk", &self.chunk)
            .finish_non_exhaustive()
    }
}

/// Which ids are closed: they do not count against the limit of replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// These, in order.
    These(Vec<Origin>),
    /// So many of the table, as the sender says.
    Counted(usize),
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
    /// Who merges it must hold all of this: elsewhere it would leave a gap. [Closed](crate::Replica::close) ids are left out
    /// where the rest says as much.
    pub fn from(&self) -> VersionVector {
        self.from.to_vector_without(&self.implied, &self.origins)
    }

    /// Who has merged it holds all of this. [Closed](crate::Replica::close) ids are left out where they are in
    /// [`from`](Self::from).
    pub fn to(&self) -> VersionVector {
        self.to.to_vector_without(&self.implied, &self.origins)
    }

    /// Whether there is nothing in it for who holds [`from`](Self::from).
    pub fn is_empty(&self) -> bool {
        self.cut.is_none() && self.to.within(&self.from)
    }

    /// Whether it is all that the sender holds, because it has forgotten removals that the receiver had not seen. Then what it
    /// does not contain, and the sender had seen, is gone. It is never a gap.
    ///
    /// # Example
    /// ```
    /// use driftless::{Config, OrSet, Replica, ReplicaId};
    ///
    /// let mut eu: Replica<OrSet<u8>> = Replica::new(ReplicaId::from_u128(1), Config::default());
    /// let mut us: Replica<OrSet<u8>> = Replica::new(ReplicaId::from_u128(2), Config::default());
    /// eu.write(1_000, |set| set.add(&1))?;
    /// us.merge(1_001, eu.delta_since(&us.vector()))?;
    ///
    /// // While us is away it is evicted, and eu forgets the removal.
    /// us.write(1_002, |set| set.add(&2))?;
    /// eu.write(1_002, |set| set.remove(&1))?;
    /// eu.set_members([eu.id()]);
    /// eu.forget();
    ///
    /// let delta = eu.delta_since(&us.vector());
    /// assert!(delta.is_complete());
    /// us.merge(1_003, delta)?;
    /// eu.merge(1_003, us.delta_since(&eu.vector()))?;
    /// assert_eq!(us.state().iter().collect::<Vec<_>>(), [&2]);        // nothing resurrected, nothing lost
    /// assert_eq!(eu.digest(), us.digest());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_complete(&self) -> bool {
        self.cut.is_some()
    }

    /// Whether it is one chunk of several, to be gathered in a [`PendingDelta`](crate::PendingDelta) before it is merged.
    pub fn is_chunk(&self) -> bool {
        self.chunk.is_some()
    }

    /// How much of one replica it goes on from.
    pub(crate) fn start_of(&self, id: &ReplicaId) -> Timestamp {
        self.origins.get(id).map_or(Timestamp::ZERO, |origin| self.from.time(origin))
    }

    /// Whether it goes on from what is not held where `held` of each replica is.
    pub(crate) fn leaves_gap(&self, held: impl Fn(&ReplicaId) -> Timestamp) -> bool {
        !self.is_complete() && self.from.iter().any(|dot| dot.time > held(self.origins.id(dot.origin)))
    }

    /// The ids that it leads to exactly where they were closed, as it holds itself.
    pub(crate) fn closed_here(&self) -> BTreeSet<ReplicaId> {
        let ends = |id: &ReplicaId| self.origins.get(id).map(|origin| self.to.time(origin));
        let closings = self.system.closings().filter(|(id, _, last)| ends(id) == Some(*last));
        closings.map(|(id, ..)| *id).collect()
    }

    /// How many rows of maps were looked at to make it: what it cost, beside what it holds. A row that was written again and
    /// again since is looked at as often, up to four times the rows of its map. Zero for one that was decoded.
    pub fn rows_visited(&self) -> usize {
        self.rows_visited
    }
}
