//! Engines with a fault in them, to see the laws fail: a flag in which one step of the engine does something else.

use driftless::derived::{
    Before, Canonical, DecodeError, Decoder, Encoder, Events, Frontier, Marks, Merging, Path, Pruning,
    Renamer, Repairing, Schema as Described, Shape, Since, Sinking, Splitter, Step, Unreadable,
};
use driftless::{Crdt, Flag, Writer};
use driftless_testkit::oracle::{Live, Place};
use driftless_testkit::schema::Schema;
use driftless_testkit::subject::{self, Readings, Script, Stop, Subject};

/// Drops the marks of what was removed before all have seen it.
pub(crate) const FORGETS_TOO_EARLY: u8 = 0;
/// Sends nothing of what was removed.
pub(crate) const SENDS_NO_REMOVALS: u8 = 1;
/// Takes what comes in for all there is.
pub(crate) const REPLACES_INSTEAD_OF_JOINING: u8 = 2;

/// A flag with a fault.
#[derive(Debug)]
pub(crate) struct Broken<const FAULT: u8>(Flag);

impl<const FAULT: u8> Crdt for Broken<FAULT> {
    type Mut<'a> = Writer<'a, Self>;

    const SHAPE: Shape = Flag::SHAPE;

    fn bottom() -> Self {
        Self(Flag::bottom())
    }

    fn fork(&self) -> Self {
        Self(self.0.fork())
    }

    fn handle(writer: Writer<'_, Self>) -> Self::Mut<'_> {
        writer
    }

    fn is_live(&self) -> bool {
        self.0.is_live()
    }

    fn is_bottom(&self) -> bool {
        self.0.is_bottom()
    }

    fn join(&mut self, theirs: &mut Self, merging: &mut Merging<'_>, path: &Path<'_>) {
        if FAULT == REPLACES_INSTEAD_OF_JOINING && !theirs.0.is_bottom() {
            self.0 = Flag::bottom();
        }
        self.0.join(&mut theirs.0, merging, path);
    }

    fn sink(&mut self, sinking: &mut Sinking<'_>, path: &Path<'_>) {
        self.0.sink(sinking, path);
    }

    fn describe(schema: &mut Described) {
        Flag::describe(schema);
    }

    fn rename(&mut self, renamer: &mut Renamer<'_>, path: &Path<'_>) {
        self.0.rename(renamer, path);
    }

    fn lay(&mut self, way: &[Step], seed: u64) {
        self.0.lay(way, seed);
    }

    fn raise_marks(&self, marks: &mut Marks) {
        self.0.raise_marks(marks);
    }

    fn since(&self, since: &Since) -> Option<Self> {
        let cell = self.0.since(since)?;
        (FAULT != SENDS_NO_REMOVALS || cell.is_live()).then_some(Self(cell))
    }

    fn shows(&self, seen: &Frontier) -> bool {
        self.0.shows(seen)
    }

    fn prune(&mut self, pruning: &mut Pruning<'_>) -> bool {
        if FAULT == FORGETS_TOO_EARLY && !self.0.is_live() {
            self.0 = Flag::bottom();
        }
        self.0.prune(pruning)
    }

    fn undo(&mut self, steps: &[u32], before: &mut Before) {
        self.0.undo(&steps[1..], before);
    }

    fn note_events(&self, events: &mut Events) {
        self.0.note_events(events);
    }

    fn encode(column: &[&Self], encoder: &mut Encoder) {
        let flags: Vec<_> = column.iter().map(|broken| &broken.0).collect();
        Flag::encode(&flags, encoder);
    }

    fn decode(
        count: usize,
        held: Option<&Self>,
        decoder: &mut Decoder<'_>,
    ) -> Result<Vec<Self>, DecodeError> {
        Ok(Flag::decode(count, held.map(|held| &held.0), decoder)?.into_iter().map(Self).collect())
    }

    fn canonical(&self, canonical: &mut Canonical<'_>) {
        self.0.canonical(canonical);
    }

    fn repair(&mut self, theirs: &mut Self, repairing: &mut Repairing<'_>, path: &Path<'_>) {
        self.0.repair(&mut theirs.0, repairing, path);
    }

    fn find_unreadable(&self, _: &mut Unreadable, _: &Path<'_>) {}

    fn split(&mut self, splitter: &mut Splitter) -> Self {
        Self(self.0.split(splitter))
    }

    fn append(&mut self, next: Self) {
        self.0.append(next.0);
    }
}

impl<const FAULT: u8> Subject for Broken<FAULT> {
    fn act(handle: &mut Self::Mut<'_>, script: &mut Script<'_>) -> Result<(), Stop> {
        Flag::act(&mut handle.field(0, "flag", |broken| &mut broken.0), script)
    }

    fn wipe(handle: &mut Self::Mut<'_>) {
        Flag::wipe(&mut handle.field(0, "flag", |broken| &mut broken.0));
    }

    fn parse(
        canonical: &mut subject::Canonical<'_>,
        place: &mut Place,
        live: &mut Live,
    ) -> Result<(), String> {
        Flag::parse(canonical, place, live)
    }

    const SCHEMA: Schema = Schema::Flag;

    fn read(&self, place: &mut Place, readings: &mut Readings) {
        self.0.read(place, readings);
    }
}
