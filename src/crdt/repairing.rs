//! A repair on its way through the state: of replicas with equal vectors that hold different data all the same.
//!
//! What a vector covers and what is not there is dead: that is how a merge knows it. Here it is just what can not be believed.
//! So cells are joined by their own marks and by the floors of the rows around them alone. What one side lost, and remembers no
//! end of, comes back.

use serde::Serialize;

use crate::causal::dot::{Dot, Marks};
use crate::causal::origin::{Origin, Origins};
use crate::cell::Cell;
use crate::cell::payload::View;
use crate::cell::repair::Memory;
use crate::crdt::Crdt;
use crate::crdt::change::{ChangePath, Path, Reading, Recorder};
use crate::crdt::value::Value;
use crate::wire::canonical::Canonical;

/// What a repair knows and has done.
#[doc(hidden)]
#[derive(Debug)]
pub struct Repairing<'a> {
    pub(crate) origins: &'a Origins,
    /// For each origin of the incoming message, the receiver's.
    pub(crate) remap: &'a [Origin],
    /// What each side remembers as removed by the current row and those around it.
    pub(crate) ours: Marks,
    pub(crate) theirs: Marks,
    /// Whether the current row has marks that can be forgotten one day.
    pub(crate) residue: bool,
    pub(crate) recorder: Recorder,
    /// What keys are hashed with.
    pub(crate) seed: u64,
    /// Whether the current place lies within a row: rows within rows are not told apart.
    pub(crate) is_within_row: bool,
    /// The rows in which something else is live now.
    pub(crate) rows: Vec<ChangePath>,
    prints: Canonical<'a>,
}

impl<'a> Repairing<'a> {
    pub(crate) fn new(origins: &'a Origins, remap: &'a [Origin], recorder: Recorder, seed: u64) -> Self {
        Self {
            origins,
            remap,
            ours: Marks::default(),
            theirs: Marks::default(),
            residue: false,
            recorder,
            seed,
            is_within_row: false,
            rows: Vec::new(),
            prints: Canonical::digest(origins),
        }
    }

    pub(crate) fn remap(&self, dot: Dot) -> Dot {
        Dot { origin: self.remap[dot.origin.index()], time: dot.time }
    }

    /// Whether what is held and does not come in may be dead.
    pub(crate) fn absence_speaks(&self) -> bool {
        !self.theirs.is_empty()
    }

    /// A hash of what is live.
    pub(crate) fn print<S: Crdt>(&mut self, state: &S) -> u64 {
        state.canonical(&mut self.prints);
        self.prints.end_row()
    }

    /// Joins a cell; `prefers` says whether the first of two payloads of one event is to stand. Returns whether something else is
    /// live now.
    pub(crate) fn join_cell<T>(
        &mut self,
        ours: &mut Cell<T>,
        theirs: &mut Cell<T>,
        prefers: impl Fn(View<'_, T>, View<'_, T>) -> bool,
    ) -> bool {
        let theirs = std::mem::take(theirs);
        let memory = Memory { origins: self.origins, ours: &self.ours, theirs: &self.theirs };
        let changed = ours.repair(theirs, |dot| self.remap(dot), &memory, prefers);
        self.residue |= ours.has_residue();
        changed
    }

    /// Joins the cell of a register or a flag, of which `read` is what the type reads.
    pub(crate) fn join_register<T: Serialize>(
        &mut self,
        ours: &mut Cell<T>,
        theirs: &mut Cell<T>,
        path: &Path<'_>,
        read: impl Fn(&Cell<T>) -> Option<Value>,
    ) {
        let before = self.recorder.reading(|| read(ours));
        if self.join_cell(ours, theirs, precedes) {
            self.note_place(path);
            let newest = ours.marks().newest(self.origins);
            self.record(path, newest, before, || read(ours));
        }
    }

    /// Takes note of a place that is a row by itself.
    pub(crate) fn note_place(&mut self, path: &Path<'_>) {
        if !self.is_within_row {
            self.rows.push(path.shown());
        }
    }

    pub(crate) fn record(
        &mut self,
        path: &Path<'_>,
        newest: Option<Dot>,
        before: Reading,
        after: impl FnOnce() -> Option<Value>,
    ) {
        if let Some(dot) = newest {
            let author = (*self.origins.id(dot.origin), dot.time);
            self.recorder.record(path, before, after, author);
        }
    }
}

/// Which of two payloads of one event stands: nobody can tell which one was written, so the one whose bytes are the greater, on
/// both sides.
fn precedes<T: Serialize>(one: View<'_, T>, other: View<'_, T>) -> bool {
    one.bytes() > other.bytes()
}
