//! A flag that is on or off.

use crate::causal::dot::Marks;
use crate::causal::frontier::Frontier;
use crate::cell::Cell;
use crate::cell::columns::Columns;
use crate::cell::payload::Payload;
use crate::crdt::Crdt;
use crate::crdt::change::{Path, Reading};
use crate::crdt::merging::Merging;
use crate::crdt::pruning::Pruning;
use crate::crdt::renaming::{Renamer, Step};
use crate::crdt::repairing::Repairing;
use crate::crdt::schema::Schema;
use crate::crdt::shipping::{Since, Splitter};
use crate::crdt::undo::Before;
use crate::crdt::unreadable::Unreadable;
use crate::crdt::value::Value;
use crate::crdt::write::{Sinking, Writer};
use crate::wire::canonical::Canonical;
use crate::wire::decode::Decoder;
use crate::wire::encode::Encoder;
use crate::wire::error::DecodeError;
use crate::wire::events::Events;
use crate::wire::shape::Shape;

/// A flag in which enabling wins over a concurrent disabling.
///
/// | | concurrent with enable | concurrent with disable |
/// |---|---|---|
/// | enable | enabled | enabled |
/// | disable | enabled | disabled |
///
/// Disabling a flag that is not enabled is no event; enabling one that is enabled is.
///
/// Cost: 16 bytes; each call is constant work, but for concurrent enablings.
///
/// Source: the enable-wins flag of Almeida, Shoker, Baquero, *Delta State Replicated Data Types* (2018), section 7.
///
/// # Example
/// ```
/// use driftless::{Config, Flag, Replica, ReplicaId};
///
/// let mut eu: Replica<Flag> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// let mut us: Replica<Flag> = Replica::new(ReplicaId::from_u128(2), Config::default());
/// eu.write(1_000, |active| active.enable())?;
/// us.merge(1_001, eu.delta_since(&us.vector()))?;
///
/// assert!(us.write(1_002, |active| active.disable())?.value);
/// eu.write(1_002, |active| active.enable())?;             // neither has seen the other
/// us.merge(1_003, eu.delta_since(&us.vector()))?;
/// assert!(us.state().is_enabled());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Flag {
    cell: Cell<()>,
}

fn read(cell: &Cell<()>) -> Option<Value> {
    cell.is_live().then_some(Value::Bool(true))
}

impl Flag {
    /// Whether the flag is on.
    pub fn is_enabled(&self) -> bool {
        self.cell.is_live()
    }
}

impl Writer<'_, Flag> {
    /// Turns the flag on, which wins over a concurrent [`disable`](Self::disable).
    pub fn enable(&mut self) {
        let was_enabled = self.is_enabled();
        let before = self.value.cell.write(self.txn.dot, ());
        self.txn.residue |= self.value.cell.has_residue();
        self.txn.event(&self.path, || before);
        if !was_enabled && self.txn.recorder.is_on() {
            self.txn.record(&self.path, Reading::Of(None), || Some(Value::Bool(true)));
        }
    }

    /// Turns the flag off, as far as this replica has seen it turned on. Returns whether it was on.
    pub fn disable(&mut self) -> bool {
        let Some(before) = self.value.cell.remove(self.txn.dot) else {
            return false;
        };
        self.txn.residue = true;
        self.txn.event(&self.path, || before);
        self.txn.record(&self.path, Reading::Of(Some(Value::Bool(true))), || None);
        true
    }
}

impl Crdt for Flag {
    type Mut<'a> = Writer<'a, Self>;

    const SHAPE: Shape = Shape::FLAG;

    fn describe(schema: &mut Schema) {
        schema.leaf("flag");
    }

    fn bottom() -> Self {
        Self::default()
    }

    fn fork(&self) -> Self {
        self.clone()
    }

    fn handle(writer: Writer<'_, Self>) -> Self::Mut<'_> {
        writer
    }

    fn is_live(&self) -> bool {
        self.cell.is_live()
    }

    fn is_bottom(&self) -> bool {
        self.cell.is_bottom()
    }

    fn join(&mut self, theirs: &mut Self, merging: &mut Merging<'_>, path: &Path<'_>) {
        merging.join_cell(&mut self.cell, &mut theirs.cell, path, read);
    }

    fn sink(&mut self, sinking: &mut Sinking<'_>, path: &Path<'_>) {
        let before = sinking.txn.recorder.reading(|| read(&self.cell));
        self.cell.sink(sinking.floor);
        sinking.txn.record(path, before, || read(&self.cell));
    }

    fn raise_marks(&self, marks: &mut Marks) {
        self.cell.raise_marks_of(marks);
    }

    fn since(&self, since: &Since) -> Option<Self> {
        self.cell.is_beyond(&since.frontier).then(|| self.clone())
    }

    fn shows(&self, seen: &Frontier) -> bool {
        self.cell.shows(seen)
    }

    fn prune(&mut self, pruning: &mut Pruning<'_>) -> bool {
        let had_residue = self.cell.has_residue();
        let has_residue = pruning.cell(&mut self.cell);
        pruning.marks += usize::from(had_residue && !has_residue);
        has_residue
    }

    fn rename(&mut self, renamer: &mut Renamer<'_>, _: &Path<'_>) {
        self.cell.rename(&renamer.events, renamer.origins);
    }

    fn lay(&mut self, _: &[Step], _: u64) {}

    fn undo(&mut self, _: &[u32], before: &mut Before) {
        self.cell = before.take();
    }

    fn note_events(&self, events: &mut Events) {
        self.cell.note_events(events);
    }

    fn encode(column: &[&Self], encoder: &mut Encoder) {
        let mut columns = Columns::with_capacity(column.len());
        column.iter().for_each(|flag| columns.push(&flag.cell, &[], encoder));
        columns.write(false, encoder);
    }

    fn decode(count: usize, _: Option<&Self>, decoder: &mut Decoder<'_>) -> Result<Vec<Self>, DecodeError> {
        let columns = Columns::read::<()>(count, false, decoder)?;
        let cells = columns.cells(decoder, |_, _| Ok(Payload::Typed(())), |_, _| Ok(()))?;
        Ok(cells.into_iter().map(|cell| Self { cell }).collect())
    }

    fn canonical(&self, canonical: &mut Canonical<'_>) {
        canonical.uint(self.cell.live().count() as u64);
        for (dot, ()) in self.cell.live() {
            canonical.dot(dot);
        }
    }

    fn repair(&mut self, theirs: &mut Self, repairing: &mut Repairing<'_>, path: &Path<'_>) {
        repairing.join_register(&mut self.cell, &mut theirs.cell, path, read);
    }

    fn find_unreadable(&self, _: &mut Unreadable, _: &Path<'_>) {}

    fn split(&mut self, splitter: &mut Splitter) -> Self {
        splitter.whole(self)
    }

    fn append(&mut self, next: Self) {
        if !next.is_bottom() {
            *self = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_flag_costs_sixteen_bytes() {
        assert_eq!(size_of::<Flag>(), 16);
    }
}
