//! Fields of structs that this release does not have, or has of another type: kept, merged and passed on.

mod columns;
mod node;
mod raw;

use std::fmt;

use crate::causal::dot::Marks;
use crate::causal::frontier::Frontier;
use crate::crdt::Crdt;
use crate::crdt::change::Path;
use crate::crdt::merging::Merging;
use crate::crdt::prints::{Prints, Wanted};
use crate::crdt::pruning::Pruning;
use crate::crdt::renaming::{Renamer, Step};
use crate::crdt::repairing::Repairing;
use crate::crdt::schema::Schema;
use crate::crdt::shipping::{Since, Splitter};
use crate::crdt::undo::Before;
use crate::crdt::unknown::node::Node;
use crate::crdt::unreadable::Unreadable;
use crate::crdt::write::{Sinking, Writer};
use crate::wire::canonical::Canonical;
use crate::wire::decode::Decoder;
use crate::wire::encode::Encoder;
use crate::wire::error::DecodeError;
use crate::wire::events::Events;
use crate::wire::shape::{Facet, Shape};

/// A struct has at most so many fields.
const MOST_FIELDS: u32 = u64::BITS;

/// How many bits the number of a facet takes.
const FACET_BITS: u32 = 22;

/// What fields without a name are called where they are shown.
const NAMES: [&str; MOST_FIELDS as usize] = [
    "#0", "#1", "#2", "#3", "#4", "#5", "#6", "#7", "#8", "#9", "#10", "#11", "#12", "#13", "#14", "#15",
    "#16", "#17", "#18", "#19", "#20", "#21", "#22", "#23", "#24", "#25", "#26", "#27", "#28", "#29", "#30",
    "#31", "#32", "#33", "#34", "#35", "#36", "#37", "#38", "#39", "#40", "#41", "#42", "#43", "#44", "#45",
    "#46", "#47", "#48", "#49", "#50", "#51", "#52", "#53", "#54", "#55", "#56", "#57", "#58", "#59", "#60",
    "#61", "#62", "#63",
];

/// The fields of a struct that this release does not know, or knows as something else: what other releases wrote there.
///
/// A struct that has a field of this type, of any name, is *open*: it merges, stores and passes on fields that other releases
/// have appended, and fields that are a [`Counter`](crate::Counter) there and a [`Flag`](crate::Flag) here, as if it knew them. A
/// removal of what is around such a field removes it, too. A release that knows the field reads it, whatever it came
/// through. What is held so is told by [`Replica::unreadable`](crate::Replica::unreadable) and by what a
/// [merge](crate::Merged::unreadable) found.
///
/// Without it a message with a field that is not known is refused whole, with all that its author wrote later, and a peer with
/// another type somewhere exchanges nothing: see [`SchemaConflict`](crate::SchemaConflict). **A struct that may ever grow should
/// have it from the start:** open structs are written otherwise, so all replicas must agree on it, and one that is opened later
/// does not read what it stored before.
///
/// In an open struct a field is what its number, its type and its name say (of the name 16 bits of a hash). Two releases that
/// were made apart may so append what they like under one number. And a field keeps its name for ever: under another it is
/// another field, and what was written before is kept, but not read. Keys and elements must still be of one type in all releases.
///
/// All structs below an open one are open as well, which is checked when the program is built:
/// ```compile_fail,E0080
/// use driftless::{Config, Counter, Crdt, LwwRegister, MergeMap, Replica, ReplicaId, UnknownFields};
///
/// #[derive(Crdt)]
/// struct Size {
///     stock: Counter,
/// }
///
/// #[derive(Crdt)]
/// struct Product {
///     sizes: MergeMap<String, Size>,
///     rest: UnknownFields,
/// }
///
/// let eu: Replica<Product> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// ```
/// The derive knows this type by its name alone:
/// ```compile_fail,E0080
/// use driftless::{Config, Counter, Crdt, Replica, ReplicaId, UnknownFields as Rest};
///
/// #[derive(Crdt)]
/// struct Product {
///     stock: Counter,
///     rest: Rest,
/// }
///
/// let eu: Replica<Product> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// ```
///
/// # Cost
/// 8 bytes for each instance of the struct, and memory of their own for each that holds fields that are not known. In each
/// message 3 bytes for each field of the struct that it holds anything of, however many instances.
///
/// # Example
/// Two releases of one application:
/// ```
/// use driftless::{Config, Counter, Crdt, Flag, LwwRegister, MergeMap, Replica, ReplicaId, UnknownFields};
///
/// mod old {
///     # use driftless::*;
///     #[derive(Crdt)]
///     pub struct Product {
///         pub name: LwwRegister<String>,
///         pub rest: UnknownFields,
///     }
/// }
///
/// mod new {
///     # use driftless::*;
///     #[derive(Crdt)]
///     pub struct Product {
///         pub name: LwwRegister<String>,
///         pub stock: Counter,
///         pub rest: UnknownFields,
///     }
/// }
///
/// let mut eu: Replica<MergeMap<u64, new::Product>> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// let mut us: Replica<MergeMap<u64, old::Product>> = Replica::new(ReplicaId::from_u128(2), Config::default());
/// eu.transact(1_000, |products| products.update(&7, |kettle| kettle.stock().add(5)))?;
/// let merged = us.merge(1_001, us.decode(&eu.delta_since(&us.vector()).encode()?)?)?;
/// assert_eq!(merged.unreadable.to_string(), "1 value that this release cannot read, at 7.#1");
/// us.write(1_002, |products| products.update(&7, |kettle| kettle.name().set("Kettle")))?;
///
/// // A third replica, of the new release, that hears of it all from the old one.
/// let mut ap: Replica<MergeMap<u64, new::Product>> = Replica::new(ReplicaId::from_u128(3), Config::default());
/// ap.merge(1_003, ap.decode(&us.delta_since(&ap.vector()).encode()?)?)?;
/// let kettle = ap.state().get(&7).expect("it is there");
/// assert_eq!((kettle.stock.value(), kettle.name.latest().map(String::as_str)), (5, Some("Kettle")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct UnknownFields {
    /// Ordered by number and facet. There are hardly ever any.
    fields: Option<Box<Fields>>,
}

#[derive(Debug, Default)]
struct Fields(Vec<Field>);

/// What one field holds as one of the things that it is.
#[derive(Debug)]
struct Field {
    number: u32,
    facet: Facet,
    node: Node,
}

impl fmt::Debug for UnknownFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|field| (field.number, field.facet))).finish()
    }
}

impl UnknownFields {
    /// Whether there are none that anything is in.
    pub fn is_empty(&self) -> bool {
        !self.is_live()
    }

    fn fields(&self) -> &[Field] {
        self.fields.as_deref().map(|fields| fields.0.as_slice()).unwrap_or_default()
    }

    fn iter(&self) -> std::slice::Iter<'_, Field> {
        self.fields().iter()
    }

    fn iter_mut(&mut self) -> std::slice::IterMut<'_, Field> {
        self.fields.as_deref_mut().map(|fields| fields.0.as_mut_slice()).unwrap_or_default().iter_mut()
    }

    /// Whether anything is held as just this.
    fn holds(&self, place: (u32, Facet)) -> bool {
        self.fields().binary_search_by_key(&place, Field::place).is_ok()
    }

    /// What a field holds as one of the things that it is.
    fn held_mut(&mut self, place: (u32, Facet)) -> Option<&mut Node> {
        let fields = &mut self.fields.as_deref_mut()?.0;
        let place = fields.binary_search_by_key(&place, Field::place).ok()?;
        fields.get_mut(place).map(|field| &mut field.node)
    }

    /// Adds fields that are not held yet, all at once.
    fn add(&mut self, mut new: Vec<Field>) {
        if new.is_empty() {
            return;
        }
        let fields = &mut self.fields.get_or_insert_default().0;
        fields.reserve_exact(new.len());
        fields.append(&mut new);
        fields.sort_unstable_by_key(Field::place);
    }

    /// Gives back what nothing is left of.
    fn drop_bottoms(&mut self) {
        if let Some(fields) = &mut self.fields {
            fields.0.retain(|field| !field.node.is_bottom());
            if fields.0.is_empty() {
                self.fields = None;
            }
        }
    }

    fn collect(fields: impl Iterator<Item = Field>) -> Self {
        let mut fields: Vec<_> = fields.collect();
        fields.shrink_to_fit();
        Self { fields: (!fields.is_empty()).then(|| Box::new(Fields(fields))) }
    }

    /// The bits of the fields of which anything is known.
    #[doc(hidden)]
    pub fn bitmap(&self) -> u64 {
        self.iter()
            .filter(|field| !field.node.is_bottom())
            .fold(0, |bitmap, field| bitmap | 1 << field.number)
    }

    /// The bits of the fields in which anything is live.
    #[doc(hidden)]
    pub fn live(&self) -> u64 {
        self.iter().filter(|field| field.node.is_live()).fold(0, |bitmap, field| bitmap | 1 << field.number)
    }
}

impl Field {
    fn place(&self) -> (u32, Facet) {
        (self.number, self.facet)
    }

    /// The same, with another node.
    fn with(&self, node: Node) -> Self {
        Self { node, ..*self }
    }

    /// The step from the struct to what is held here, beside those to the fields that are known.
    fn step(&self) -> u32 {
        MOST_FIELDS + (self.number << FACET_BITS | self.facet.number())
    }

    fn name(&self) -> &'static str {
        NAMES.get(self.number as usize).copied().unwrap_or("?")
    }

    /// Where a transaction finds it again.
    fn path<'a>(&self, path: &'a Path<'_>) -> Path<'a> {
        Path::field(path, self.step(), self.name())
    }

    /// Where it is for those who know it.
    fn known_path<'a>(&self, path: &'a Path<'_>) -> Path<'a> {
        Path::field(path, self.number, self.name())
    }
}

impl Crdt for UnknownFields {
    type Mut<'a> = Writer<'a, Self>;

    const SHAPE: Shape = Shape::UNKNOWN_FIELDS;

    fn describe(schema: &mut Schema) {
        schema.leaf("open");
    }

    fn row_count(&self) -> usize {
        self.iter().map(|field| field.node.row_count()).sum()
    }

    fn bottom() -> Self {
        Self::default()
    }

    fn fork(&self) -> Self {
        let fields = self.iter().filter(|field| !field.node.is_bottom());
        Self::collect(fields.map(|field| field.with(field.node.fork())))
    }

    fn handle(writer: Writer<'_, Self>) -> Self::Mut<'_> {
        writer
    }

    fn is_live(&self) -> bool {
        self.iter().any(|field| field.node.is_live())
    }

    fn is_bottom(&self) -> bool {
        self.iter().all(|field| field.node.is_bottom())
    }

    fn join(&mut self, theirs: &mut Self, merging: &mut Merging<'_>, path: &Path<'_>) {
        // Nobody reads it, so nothing reads differently.
        let recorder = std::mem::take(&mut merging.recorder);
        let unreadable = std::mem::take(&mut merging.unreadable);
        let (conflicts, is_within) = (merging.conflicts, std::mem::replace(&mut merging.is_unknown, true));
        // What is at bottom says no more than what is absent: that all of it within the floor or the vector is gone.
        theirs.drop_bottoms();
        let (mut came, mut new) = (Vec::new(), Vec::new());
        for field in theirs.iter_mut() {
            let (place, at) = (field.place(), field.path(path));
            let mut absent = Node::Nothing;
            let held = self.held_mut(place);
            let is_held = held.is_some();
            let node = held.unwrap_or(&mut absent);
            let fresh = std::mem::take(&mut merging.fresh);
            node.join(&mut field.node, merging, &at);
            if !is_within && node.is_live() && !merging.fresh.is_empty() {
                came.push(place);
            }
            merging.fresh.raise_all(&fresh);
            if !is_held && !absent.is_bottom() {
                new.push(field.with(absent));
            }
        }
        if merging.absence_speaks() {
            for field in self.iter_mut().filter(|field| !theirs.holds(field.place())) {
                let path = field.path(path);
                field.node.join(&mut Node::Nothing, merging, &path);
            }
        }
        self.add(new);
        (merging.recorder, merging.unreadable) = (recorder, unreadable);
        (merging.conflicts, merging.is_unknown) = (conflicts, is_within);
        for field in self.iter().filter(|field| came.binary_search(&field.place()).is_ok()) {
            merging.unreadable.note_place(1, &field.known_path(path));
        }
    }

    fn sink(&mut self, sinking: &mut Sinking<'_>, path: &Path<'_>) {
        let recorder = std::mem::take(&mut sinking.txn.recorder);
        for field in self.iter_mut() {
            let path = field.path(path);
            field.node.sink(sinking, &path);
        }
        sinking.txn.recorder = recorder;
    }

    fn raise_marks(&self, marks: &mut Marks) {
        self.iter().for_each(|field| field.node.raise_marks(marks));
    }

    fn since(&self, since: &Since) -> Option<Self> {
        // A receiver that knows the type of keys hashes them otherwise.
        let fields = since.below(|| {
            Self::collect(
                self.iter().filter_map(|field| field.node.since(since).map(|node| field.with(node))),
            )
        });
        fields.fields.is_some().then_some(fields)
    }

    fn shows(&self, seen: &Frontier) -> bool {
        self.iter().any(|field| field.node.shows(seen))
    }

    fn prune(&mut self, pruning: &mut Pruning<'_>) -> bool {
        let mut has_residue = false;
        self.iter_mut().for_each(|field| has_residue |= field.node.prune(pruning));
        self.drop_bottoms();
        has_residue
    }

    fn rename(&mut self, renamer: &mut Renamer<'_>, path: &Path<'_>) {
        for field in self.iter_mut() {
            let path = field.path(path);
            field.node.rename(renamer, &path);
        }
    }

    /// A replica writes no counter that it does not know, so there is none of its own that would have to be found again.
    fn lay(&mut self, _: &[Step], _: u64) {}

    fn undo(&mut self, steps: &[u32], before: &mut Before) {
        let (step, rest) = steps.split_first().expect("what is undone in a struct is in a field");
        let field = self.iter_mut().find(|field| field.step() == *step);
        field.expect("a field that was written is there").node.undo(rest, before);
    }

    fn note_events(&self, events: &mut Events) {
        self.iter().for_each(|field| field.node.note_events(events));
    }

    fn encode(column: &[&Self], encoder: &mut Encoder) {
        let bitmaps: Vec<u64> = column.iter().map(|fields| fields.bitmap()).collect();
        encoder.ints(&bitmaps);
        Self::encode_from(0, column, encoder);
    }

    fn decode(count: usize, _: Option<&Self>, decoder: &mut Decoder<'_>) -> Result<Vec<Self>, DecodeError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        decoder.nested(|decoder| {
            let bitmaps = decoder.ints(count)?;
            let mut column = Vec::new();
            Self::decode_from(0, &bitmaps, &mut column, decoder)?;
            column.resize_with(count, Self::default);
            Ok(column)
        })
    }

    fn canonical(&self, canonical: &mut Canonical<'_>) {
        canonical.uint(self.live());
        self.canonical_from(0, canonical);
    }

    fn prints(&self, prints: &mut Prints<'_>, path: &Path<'_>) {
        self.iter().for_each(|field| field.node.prints(prints, &field.known_path(path)));
    }

    fn wanted(&self, wanted: &mut Wanted<'_>, path: &Path<'_>) -> Option<Self> {
        let wanted = self.iter().filter_map(|field| {
            let node = field.node.wanted(wanted, &field.known_path(path))?;
            Some(field.with(node))
        });
        let wanted = Self::collect(wanted);
        wanted.fields.is_some().then_some(wanted)
    }

    fn repair(&mut self, theirs: &mut Self, repairing: &mut Repairing<'_>, path: &Path<'_>) {
        let recorder = std::mem::take(&mut repairing.recorder);
        theirs.drop_bottoms();
        if repairing.absence_speaks() {
            for field in self.iter_mut().filter(|field| !theirs.holds(field.place())) {
                let path = field.known_path(path);
                field.node.repair(&mut Node::Nothing, repairing, &path);
            }
        }
        let mut new = Vec::new();
        for field in theirs.iter_mut() {
            let (place, at) = (field.place(), field.known_path(path));
            let mut absent = Node::Nothing;
            let held = self.held_mut(place);
            let is_held = held.is_some();
            held.unwrap_or(&mut absent).repair(&mut field.node, repairing, &at);
            if !is_held && !absent.is_bottom() {
                new.push(field.with(absent));
            }
        }
        self.add(new);
        repairing.recorder = recorder;
    }

    fn find_unreadable(&self, found: &mut Unreadable, path: &Path<'_>) {
        let live = self.iter().filter(|field| field.node.is_live());
        live.for_each(|field| found.note_place(1, &field.known_path(path)));
    }

    fn split(&mut self, splitter: &mut Splitter) -> Self {
        let split = self.iter_mut().filter_map(|field| {
            if splitter.is_full() || field.node.is_bottom() {
                return None;
            }
            let node = field.node.split(splitter);
            Some(field.with(node))
        });
        Self::collect(split)
    }

    fn append(&mut self, next: Self) {
        let mut new = Vec::new();
        for field in next.fields.map(|fields| fields.0).unwrap_or_default() {
            match self.held_mut(field.place()) {
                Some(node) => node.append(field.node),
                None => new.push(field),
            }
        }
        self.add(new);
    }
}
