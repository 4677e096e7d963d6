//! Chunks of a transfer, gathered until they are whole.

use std::fmt;

use crate::crdt::Crdt;
use crate::delta::{Chunk, Delta};
use crate::wire::limits::Limits;

/// Gathers the chunks of a transfer beside the state. They take effect together, with the vector, when the last has arrived
/// and the whole is merged: a transfer that breaks off costs a repeat, never a hole.
///
/// One for each peer. It holds at most [`Limits::transfer_bytes`] of messages; as values they may take more memory than as bytes.
///
/// # Example
/// ```
/// use driftless::{Config, OrSet, PendingDelta, Replica, ReplicaId};
///
/// let mut eu: Replica<OrSet<u32>> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// let mut us: Replica<OrSet<u32>> = Replica::new(ReplicaId::from_u128(2), Config::default());
/// eu.write(1_000, |set| (0..1000).for_each(|n| set.add(&n)))?;
///
/// let mut pending = PendingDelta::new(&us.config().limits);
/// for bytes in eu.delta_since(&us.vector()).into_chunks(1024) {
///     match pending.push(us.decode(&bytes?)?)? {
///         Some(delta) => drop(us.merge(1_001, delta)?),
///         None => assert!(pending.bytes() > 0 && us.state().is_empty()),      // nothing is to be seen yet
///     }
/// }
/// assert_eq!(us.state().len(), 1000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PendingDelta<S> {
    gathered: Option<Delta<S>>,
    next: u64,
    /// The hash of the last chunk.
    last: u64,
    bytes: usize,
    allowed: usize,
}

/// Why a chunk was not taken. To blame: the peer, or a connection that reorders. What was gathered before is kept.
///
/// Ask the peer to send again from the own vector; its first chunk begins anew.
///
/// # Example
/// ```
/// use driftless::{Config, OrSet, PendingDelta, PendingError, Replica, ReplicaId};
///
/// let mut eu: Replica<OrSet<u32>> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// let mut us: Replica<OrSet<u32>> = Replica::new(ReplicaId::from_u128(2), Config::default());
/// eu.write(1_000, |set| (0..1000).for_each(|n| set.add(&n)))?;
/// let chunks: Result<Vec<_>, _> = eu.delta_since(&us.vector()).into_chunks(1024).collect();
/// let chunks = chunks?;
///
/// let mut pending = PendingDelta::new(&us.config().limits);
/// pending.push(us.decode(&chunks[0])?)?;
/// let refused = pending.push(us.decode(&chunks[2])?).err();
/// assert_eq!(refused, Some(PendingError::OutOfOrder { expected: 1, found: 2 }));
/// pending.push(us.decode(&chunks[1])?)?;                  // the transfer goes on
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PendingError {
    /// A chunk is missing, or came twice.
    OutOfOrder {
        /// The index of the chunk that should come next.
        expected: u64,
        /// The index of the one that came.
        found: u64,
    },
    /// The chunk belongs to another transfer than those before it.
    OtherTransfer,
    /// The transfer exceeds [`Limits::transfer_bytes`]. Raise it if the peer is honest.
    TooLarge {
        /// The limit, in bytes.
        allowed: usize,
    },
}

impl fmt::Display for PendingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfOrder { expected, found } => {
                write!(
                    f,
                    "the peer's chunk {expected} should come next, but chunk {found} came; \
                     nothing changed: go on with chunk {expected}, or ask the peer to begin again"
                )
            }
            Self::OtherTransfer => f.write_str(
                "the peer's chunk is of another transfer than those before it; \
                 nothing changed: go on with the transfer before, or ask the peer to begin again",
            ),
            Self::TooLarge { allowed } => write!(
                f,
                "the peer's transfer exceeds the limit `transfer_bytes` of {allowed} bytes; \
                 nothing changed: raise the limit on this side if the peer is honest, and have it begin again"
            ),
        }
    }
}

impl std::error::Error for PendingError {}

impl<S: Crdt> PendingDelta<S> {
    /// Nothing gathered yet. The limits are those of the replica that is to merge it.
    pub fn new(limits: &Limits) -> Self {
        Self { gathered: None, next: 0, last: 0, bytes: 0, allowed: limits.transfer_bytes }
    }

    /// The bytes of the messages gathered so far; 0 between two transfers.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The index of the chunk that comes next, and the hash of the one before it, if any is gathered.
    pub(crate) fn gathered(&self) -> Option<(u64, u64)> {
        self.gathered.is_some().then_some((self.next, self.last))
    }

    /// Lets go of what is gathered.
    pub(crate) fn clear(&mut self) {
        (self.gathered, self.bytes) = (None, 0);
    }

    /// Takes a message. Returns the whole delta once it is there; for a message that is no chunk, at once, and what was
    /// gathered is kept. A first chunk begins anew.
    ///
    /// # Errors
    /// [`PendingError`]; what was gathered before is kept.
    pub fn push(&mut self, delta: Delta<S>) -> Result<Option<Delta<S>>, PendingError> {
        let Some(Chunk { index, is_last, follows, hash }) = delta.chunk else {
            return Ok(Some(delta));
        };
        let gathered = if index == 0 { None } else { self.gathered.as_ref() };
        let expected = gathered.map_or(0, |_| self.next);
        if index != expected {
            return Err(PendingError::OutOfOrder { expected, found: index });
        }
        let before = if gathered.is_some() { self.bytes } else { 0 };
        let bytes = before.saturating_add(delta.bytes);
        if bytes > self.allowed {
            return Err(PendingError::TooLarge { allowed: self.allowed });
        }
        let last = if gathered.is_some() { self.last } else { 0 };
        if follows != last || gathered.is_some_and(|gathered| !is_same_transfer(gathered, &delta)) {
            return Err(PendingError::OtherTransfer);
        }
        (self.next, self.last, self.bytes) = (index.saturating_add(1), hash, bytes);
        match self.gathered.as_mut().filter(|_| index > 0) {
            Some(gathered) => {
                gathered.state.append(delta.state);
                gathered.system.append(delta.system);
            }
            None => self.gathered = Some(delta),
        }
        if !is_last {
            return Ok(None);
        }
        self.bytes = 0;
        Ok(self.gathered.take().map(|whole| Delta { chunk: None, ..whole }))
    }
}

fn is_same_transfer<S>(a: &Delta<S>, b: &Delta<S>) -> bool {
    a.origins == b.origins && a.from == b.from && a.to == b.to && a.cut == b.cut && a.closed == b.closed
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::causal::dot::Dot;
    use crate::causal::frontier::Frontier;
    use crate::causal::id::ReplicaId;
    use crate::causal::origin::{Origin, Origins};
    use crate::clock::Timestamp;
    use crate::crdt::flag::Flag;
    use crate::delta::Closed;
    use crate::delta::system::System;

    fn frontier(time: u64) -> Frontier {
        let mut frontier = Frontier::default();
        frontier.raise(Dot { origin: Origin::from_index(0), time: Timestamp::from_bits(time) });
        frontier
    }

    fn chunk(index: u64, is_last: bool) -> Delta<Flag> {
        let mut origins = Origins::default();
        origins.intern(ReplicaId::from_u128(1));
        Delta {
            origins: Arc::new(origins),
            from: frontier(1),
            to: frontier(2),
            cut: None,
            state: Flag::default(),
            system: System::bottom(),
            implied: Vec::new(),
            closed: Closed::Counted(0),
            chunk: Some(Chunk { index, is_last, follows: index, hash: index + 1 }),
            short: None,
            bytes: 100,
            rows_visited: 0,
        }
    }

    #[test]
    fn a_chunk_that_names_the_one_before_but_not_the_same_transfer_is_refused() {
        let mut pending = PendingDelta::new(&Limits::default());
        assert!(pending.push(chunk(0, false)).unwrap().is_none());
        let mut others = [(); 4].map(|()| chunk(1, true));
        Arc::make_mut(&mut others[0].origins).intern(ReplicaId::from_u128(2));
        others[1].from = frontier(2);
        others[2].to = frontier(3);
        others[3].cut = Some(frontier(1));
        for other in others {
            assert_eq!(pending.push(other).unwrap_err(), PendingError::OtherTransfer);
        }
        assert_eq!(pending.bytes(), 100);
        assert!(pending.push(chunk(1, true)).unwrap().is_some_and(|whole| !whole.is_chunk()));
        assert_eq!(pending.bytes(), 0);
    }
}
