//! What a delta takes from the state, and how a large one is cut.

use std::cell::Cell;

use crate::causal::frontier::Frontier;
use crate::crdt::Crdt;
use crate::wire::encode::Encoder;

/// What the receiver of a delta has seen.
#[doc(hidden)]
#[derive(Debug)]
pub struct Since {
    pub(crate) frontier: Frontier,
    /// What the sender has seen.
    pub(crate) ceiling: Frontier,
    /// The rows that were looked at.
    visited: Cell<usize>,
    /// Whether keys of the map at hand may be named in short form, as far as it is for the receiver to say.
    has_short: Cell<bool>,
}

impl Since {
    pub(crate) fn new(frontier: Frontier, ceiling: Frontier, has_short: bool) -> Self {
        Self { frontier, ceiling, visited: Cell::new(0), has_short: Cell::new(has_short) }
    }

    /// Whether keys of the map at hand may be named in short form.
    pub(crate) fn has_short(&self) -> bool {
        self.has_short.get()
    }

    /// Looks at what lies below rows, where all keys are named in full.
    pub(crate) fn below<T>(&self, look: impl FnOnce() -> T) -> T {
        let has_short = self.has_short.replace(false);
        let seen = look();
        self.has_short.set(has_short);
        seen
    }

    pub(crate) fn visit(&self, rows: usize) {
        self.visited.set(self.visited.get() + rows);
    }

    pub(crate) fn visited(&self) -> usize {
        self.visited.get()
    }
}

/// Measures what fits into a chunk, by writing it.
#[doc(hidden)]
#[derive(Debug)]
pub struct Splitter {
    encoder: Encoder,
    /// The bytes that are left in the chunk.
    room: usize,
    /// Whether the chunk holds anything yet. The first part of a chunk is taken even if it alone is too large.
    is_begun: bool,
}

impl Splitter {
    /// For a chunk of `room` bytes; `newest` is the greatest millisecond of its vectors.
    pub(crate) fn new(newest: u64, room: usize) -> Self {
        Self { encoder: Encoder::measuring(newest), room, is_begun: false }
    }

    /// Whether the chunk is full.
    pub fn is_full(&self) -> bool {
        self.room == 0
    }

    pub(crate) fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// Measures what `encode` writes; stops it once that is more than there is room for.
    pub(crate) fn fits(&mut self, encode: impl FnOnce(&mut Encoder)) -> Option<usize> {
        self.encoder.measured(self.room, encode)
    }

    /// Ends the chunk here.
    pub(crate) fn fill(&mut self) {
        self.room = 0;
    }

    /// Takes room for the part that was measured last.
    pub(crate) fn take(&mut self, bytes: usize) {
        self.encoder.take_measured();
        self.room = self.room.saturating_sub(bytes);
        self.is_begun = true;
    }

    /// Moves a cell or anything else that cannot be cut: all of it if it fits or is the first, else nothing. What is at
    /// bottom takes no room: a chunk that holds nothing else would never end.
    pub(crate) fn whole<T: Crdt>(&mut self, value: &mut T) -> T {
        if value.is_bottom() {
            return T::bottom();
        }
        match self.fits(|encoder| T::encode(&[&*value], encoder)) {
            Some(bytes) => self.take(bytes),
            None if !self.is_begun => self.take(self.room),
            None => {
                self.room = 0;
                return T::bottom();
            }
        }
        std::mem::replace(value, T::bottom())
    }
}
