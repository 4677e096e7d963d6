//! A merge on its way through the state.

use crate::causal::dot::{Dot, Marks};
use crate::causal::frontier::Frontier;
use crate::causal::origin::{Origin, Origins};
use crate::cell::{Cell, Joined, Sight};
use crate::crdt::change::{Path, Reading, Recorder};
use crate::crdt::unreadable::Unreadable;
use crate::crdt::value::Value;

/// What a merge knows and has done.
#[doc(hidden)]
#[derive(Debug)]
pub struct Merging<'a> {
    pub(crate) origins: &'a Origins,
    /// For each origin of the incoming message, the receiver's.
    pub(crate) remap: &'a [Origin],
    /// What the receiver had seen before.
    pub(crate) ours: &'a Frontier,
    /// What the sender had seen, if it sent all it holds.
    pub(crate) theirs: Option<&'a Frontier>,
    /// What the sender had seen of all that lies within the current row and those around it.
    pub(crate) floor: Marks,
    /// The events in the current row that the receiver had not seen.
    pub(crate) fresh: Marks,
    /// Whether the current row has marks that can be forgotten one day.
    pub(crate) residue: bool,
    /// How many registers came to hold concurrent values.
    pub(crate) conflicts: usize,
    /// What came in and cannot be read.
    pub(crate) unreadable: Unreadable,
    /// Whether the current place is in a field that is not known: all of that cannot be read, and is noted once.
    pub(crate) is_unknown: bool,
    pub(crate) recorder: Recorder,
    /// What keys are hashed with.
    pub(crate) seed: u64,
}

impl Merging<'_> {
    pub(crate) fn sight(&self) -> Sight<'_> {
        Sight {
            origins: self.origins,
            remap: self.remap,
            ours: self.ours,
            theirs: self.theirs,
            floor: &self.floor,
        }
    }

    pub(crate) fn remap(&self, dot: Dot) -> Dot {
        self.sight().remap(dot)
    }

    /// Whether what is held and does not come in may be dead.
    #[inline]
    pub fn absence_speaks(&self) -> bool {
        self.theirs.is_some() || !self.floor.is_empty()
    }

    /// Joins a cell; `read` is what its type reads from it. Returns whether it holds concurrent payloads now, some of them new.
    pub(crate) fn join_cell<T>(
        &mut self,
        ours: &mut Cell<T>,
        theirs: &mut Cell<T>,
        path: &Path<'_>,
        read: impl Fn(&Cell<T>) -> Option<Value>,
    ) -> bool {
        if theirs.is_bottom() && !self.absence_speaks() {
            return false;
        }
        if !self.recorder.is_on() {
            let Self { origins, remap, ours: seen, theirs: sent, floor, fresh, .. } = self;
            let sight = Sight { origins, remap, ours: seen, theirs: *sent, floor };
            let is_done = ours.give_way(theirs, &sight, fresh);
            return !is_done && self.join_unrecorded(ours, std::mem::take(theirs)).conflict;
        }
        let before = Reading::Of(read(ours));
        let newest = self.newest(theirs);
        let joined = self.join_unrecorded(ours, std::mem::take(theirs));
        if joined.changed {
            self.record(path, newest.or_else(|| ours.marks().newest(self.origins)), before, || read(ours));
        }
        joined.conflict
    }

    /// Joins a cell and leaves it to the caller to record what that changed.
    pub(crate) fn join_unrecorded<T>(&mut self, ours: &mut Cell<T>, theirs: Cell<T>) -> Joined {
        let Self { origins, remap, ours: seen, theirs: sent, floor, fresh, .. } = self;
        let sight = Sight { origins, remap, ours: seen, theirs: *sent, floor };
        let joined = ours.join(theirs, &sight, fresh);
        self.residue |= joined.residue;
        joined
    }

    /// The newest event that comes in for a cell and was not seen before, if changes are asked for; the newest of all that
    /// comes in, if there is none: a snapshot in which a payload is absent does not say who removed it.
    pub(crate) fn newest<T>(&self, theirs: &Cell<T>) -> Option<Dot> {
        if !self.recorder.is_on() {
            return None;
        }
        let marks: Marks = theirs.marks().iter().map(|dot| self.remap(dot)).collect();
        let newest_unseen = |marks: &Marks| {
            let mut unseen = marks.clone();
            unseen.retain(|mark| !self.ours.covers(mark));
            unseen.newest(self.origins)
        };
        newest_unseen(&marks)
            .or_else(|| newest_unseen(&self.floor))
            .or_else(|| marks.newest(self.origins))
            .or_else(|| self.floor.newest(self.origins))
    }

    pub(crate) fn record(
        &mut self,
        path: &Path<'_>,
        event: Option<Dot>,
        before: Reading,
        after: impl FnOnce() -> Option<Value>,
    ) {
        if let Some(dot) = event {
            let author = (*self.origins.id(dot.origin), dot.time);
            self.recorder.record(path, before, after, author);
        }
    }
}
