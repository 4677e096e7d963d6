//! State whose shape is not known at compile time: fields by name, nested maps, any of the types.

mod field;

use std::fmt;

use crate::causal::dot::Marks;
use crate::causal::frontier::Frontier;
use crate::crdt::Crdt;
use crate::crdt::change::Path;
use crate::crdt::counter::{Counter, CounterOverflow};
use crate::crdt::document::field::Field;
use crate::crdt::map::MergeMap;
use crate::crdt::merging::Merging;
use crate::crdt::prints::{Prints, Wanted};
use crate::crdt::pruning::Pruning;
use crate::crdt::register::{LwwRegister, MvRegister};
use crate::crdt::renaming::{Renamer, Step};
use crate::crdt::repairing::Repairing;
use crate::crdt::schema::Schema;
use crate::crdt::set::OrSet;
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

/// What a name in a [`Document`] can hold. More kinds may come in a later version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A last-writer-wins register of a [`Value`].
    Register,
    /// A register that keeps all concurrent values.
    Values,
    /// A set in which adding wins.
    Set,
    /// A counter.
    Counter,
    /// A flag in which enabling wins.
    Flag,
    /// Names again, each with something of its own.
    Map,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Register => "register",
            Self::Values => "multi-value register",
            Self::Set => "set",
            Self::Counter => "counter",
            Self::Flag => "flag",
            Self::Map => "map",
        })
    }
}

/// Why a document was not written. To blame: the caller. Nothing was written by the call; what the transaction wrote before
/// stands if the closure goes on and returns `Ok`.
///
/// # Example
/// ```
/// use driftless::{Config, Document, DocumentError, Kind, Replica, ReplicaId, TransactError};
///
/// let mut eu: Replica<Document> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// let refused = eu.transact(1_000, |doc| {
///     doc.set(&["visits"], 3)?;
///     doc.increment(&["visits"], 1)
/// });
/// let wrong_kind = DocumentError::WrongKind { asked: Kind::Counter, found: Kind::Register };
/// assert_eq!(refused.unwrap_err(), TransactError::Aborted(wrong_kind));
/// assert!(eu.state().names::<&str>(&[]).is_empty(), "the closure returned an error, so all was undone");
///
/// let refused = eu.transact(1_001, |doc| doc.set::<&str>(&[], 3));
/// assert_eq!(refused.unwrap_err(), TransactError::Aborted(DocumentError::EmptyPath));
/// let deep = vec!["a"; Document::MAX_DEPTH + 1];
/// assert!(eu.transact(1_002, |doc| doc.enable(&deep)).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DocumentError {
    /// A path names nothing: it must have at least one name.
    EmptyPath,
    /// The names of the path and the levels of the value are together more than [`Document::MAX_DEPTH`].
    TooDeep {
        /// How many levels there are.
        depth: usize,
    },
    /// Something of another kind, and nothing of this one, is live at the name. Delete it first, or write it as what it is.
    WrongKind {
        /// The kind that was asked for.
        asked: Kind,
        /// What is there.
        found: Kind,
    },
    /// A counter would leave the range of 64 bits.
    CounterOverflow(CounterOverflow),
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyPath => {
                f.write_str("the caller's path is empty; nothing changed: name at least one field")
            }
            Self::TooDeep { depth } => write!(
                f,
                "the caller's path and value have {depth} levels, more than the {} of a document; \
                 nothing changed: nest less",
                Document::MAX_DEPTH
            ),
            Self::WrongKind { asked, found } => write!(
                f,
                "the caller asked for a {asked} where there is a {found}; \
                 nothing changed: write it as a {found}, or delete it first"
            ),
            Self::CounterOverflow(overflow) => fmt::Display::fmt(overflow, f),
        }
    }
}

impl std::error::Error for DocumentError {}

impl From<CounterOverflow> for DocumentError {
    fn from(overflow: CounterOverflow) -> Self {
        Self::CounterOverflow(overflow)
    }
}

/// State whose shape is not known at compile time. A path of names leads to a register, a multi-value register, a set, a
/// counter, a flag or a map of further names; what is written first says which.
///
/// It merges path by path, each kind as its type does: see [`LwwRegister`], [`MvRegister`], [`OrSet`], [`Counter`],
/// [`Flag`](crate::Flag) and [`MergeMap`]. If replicas that have not seen each other write different kinds at one name, both
/// are kept, each readable as what it is, until the name is deleted; such a merge never fails.
///
/// Where the shape is known, a struct with `#[derive(Crdt)]` is smaller, faster and checked by the compiler.
///
/// # Cost
/// A look-up in a hash map for each name of the path. A field costs about what a row of a [`MergeMap`] does, and its name.
///
/// # Example
/// ```
/// use driftless::{Config, Document, Replica, ReplicaId, Value};
///
/// let mut eu: Replica<Document> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// eu.transact(1_000, |doc| {
///     doc.set(&["u1", "name"], "Ada")?;                  // a register: the last write is read
///     doc.assign(&["u1", "table"], 7)?;                  // a multi-value register
///     doc.add(&["u1", "tags"], "admin")?;                // a set
///     doc.add(&["u1", "tags"], "staff")?;
///     doc.increment(&["u1", "visits"], 3)?;              // a counter
///     doc.enable(&["u1", "active"])                      // a flag
/// })?;
/// let doc = eu.state();
/// assert_eq!(doc.get(&["u1", "name"]), Some(&Value::from("Ada")));
/// assert_eq!(doc.register(&["u1", "name"]).map(|name| name.is_conflicted()), Some(false));
/// assert_eq!(doc.values(&["u1", "table"]).map(|table| table.distinct()), Some(vec![&Value::from(7)]));
/// assert_eq!(doc.set_at(&["u1", "tags"]).map(|tags| tags.len()), Some(2));
/// assert_eq!(doc.counter(&["u1", "visits"]).map(|visits| visits.value()), Some(3));
/// assert!(doc.is_enabled(&["u1", "active"]) && !doc.is_enabled(&["u2", "active"]));
/// assert_eq!(doc.names(&["u1"]), ["active", "name", "table", "tags", "visits"]);
/// assert_eq!(doc.names::<&str>(&[]), ["u1"]);
///
/// let (was_on, was_in, was_there) = eu
///     .transact(1_001, |doc| {
///         let was_on = doc.disable(&["u1", "active"])?;
///         let was_in = doc.remove(&["u1", "tags"], "staff")?;
///         Ok::<_, driftless::DocumentError>((was_on, was_in, doc.delete(&["u1", "table"])?))
///     })?
///     .value;
/// assert!(was_on && was_in && was_there);
/// let shown = r#"{"u1":{"name":"Ada","tags":["admin"],"visits":3}}"#;
/// assert_eq!(eu.state().to_value().to_string(), shown);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
/// Different kinds at one name, written concurrently:
/// ```
/// use driftless::{Config, Document, Kind, Replica, ReplicaId, Value};
///
/// let mut eu: Replica<Document> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// let mut us: Replica<Document> = Replica::new(ReplicaId::from_u128(2), Config::default());
/// eu.transact(1_000, |doc| doc.set(&["stock"], "plenty"))?;
/// us.transact(1_000, |doc| doc.increment(&["stock"], 20))?;
/// eu.merge(1_001, us.delta_since(&eu.vector()))?;
///
/// assert_eq!(eu.state().kinds(&["stock"]), [Kind::Register, Kind::Counter]);
/// assert_eq!(eu.state().get(&["stock"]), Some(&Value::from("plenty")));
/// assert_eq!(eu.state().counter(&["stock"]).map(|stock| stock.value()), Some(20));
/// assert_eq!(eu.state().to_value().to_string(), r#"{"stock":"plenty"}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct Document {
    fields: MergeMap<String, Field>,
}

impl Clone for Document {
    /// Another copy to read; pages are shared until one side writes.
    fn clone(&self) -> Self {
        self.fork()
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_value(), f)
    }
}

impl Document {
    /// The most levels of a path and of the value written there, together. It is below the default depth that decoders
    /// accept, so what one replica writes all can receive.
    pub const MAX_DEPTH: usize = 48;

    fn field<P: AsRef<str>>(&self, path: &[P]) -> Option<&Field> {
        let (name, parents) = path.split_last()?;
        let mut map = &self.fields;
        for parent in parents {
            map = map.get(parent.as_ref())?.map()?;
        }
        map.get(name.as_ref())
    }

    /// The value of the register at a path, written last. `None` if there is no register, or the path is empty, or it holds
    /// [nothing that can be read](LwwRegister::unreadable).
    pub fn get<P: AsRef<str>>(&self, path: &[P]) -> Option<&Value> {
        self.register(path)?.latest()
    }

    /// The register at a path, with all that was written there concurrently.
    pub fn register<P: AsRef<str>>(&self, path: &[P]) -> Option<&LwwRegister<Value>> {
        self.field(path)?.register()
    }

    /// The multi-value register at a path.
    pub fn values<P: AsRef<str>>(&self, path: &[P]) -> Option<&MvRegister<Value>> {
        self.field(path)?.values()
    }

    /// The set at a path.
    pub fn set_at<P: AsRef<str>>(&self, path: &[P]) -> Option<&OrSet<Value>> {
        self.field(path)?.set()
    }

    /// The counter at a path.
    pub fn counter<P: AsRef<str>>(&self, path: &[P]) -> Option<&Counter> {
        self.field(path)?.counter()
    }

    /// Whether a flag is on at a path.
    pub fn is_enabled<P: AsRef<str>>(&self, path: &[P]) -> bool {
        self.field(path).and_then(Field::flag).is_some_and(|flag| flag.is_enabled())
    }

    /// The names below a path, ordered; those of the document itself for an empty path, `names::<&str>(&[])`.
    pub fn names<P: AsRef<str>>(&self, path: &[P]) -> Vec<&str> {
        let map = if path.is_empty() { Some(&self.fields) } else { self.field(path).and_then(Field::map) };
        let mut names: Vec<_> = map.into_iter().flat_map(MergeMap::keys).map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// What is live at a path. More than one kind, if replicas wrote different kinds without having seen each other.
    pub fn kinds<P: AsRef<str>>(&self, path: &[P]) -> Vec<Kind> {
        self.field(path).map(Field::kinds).unwrap_or_default()
    }

    /// All of the document as one value: a register as its latest value, a multi-value register and a set as ordered lists,
    /// a counter as its sum, a flag as `true`, a map as a map. Where several kinds are live at one name the first of them,
    /// in the order of [`Kind`], is shown.
    ///
    /// Cost: that of reading, copying and ordering all of it.
    pub fn to_value(&self) -> Value {
        field::map_to_value(&self.fields)
    }
}

impl Writer<'_, Document> {
    /// Writes the last-writer-wins register at a path, and the maps that lead there.
    ///
    /// # Errors
    /// [`DocumentError`]; nothing is written.
    pub fn set<P: AsRef<str>>(&mut self, path: &[P], value: impl Into<Value>) -> Result<(), DocumentError> {
        let value = value.into();
        self.write(path, value.depth(), |field| {
            field.register()?.set(value);
            Ok(())
        })
    }

    /// Writes the multi-value register at a path.
    ///
    /// # Errors
    /// [`DocumentError`]; nothing is written.
    pub fn assign<P: AsRef<str>>(
        &mut self,
        path: &[P],
        value: impl Into<Value>,
    ) -> Result<(), DocumentError> {
        let value = value.into();
        self.write(path, value.depth(), |field| {
            field.values()?.set(value);
            Ok(())
        })
    }

    /// Adds an element to the set at a path.
    ///
    /// # Errors
    /// [`DocumentError`]; nothing is written.
    pub fn add<P: AsRef<str>>(&mut self, path: &[P], element: impl Into<Value>) -> Result<(), DocumentError> {
        let element = element.into();
        self.write(path, element.depth(), |field| {
            field.set()?.add(&element);
            Ok(())
        })
    }

    /// Removes an element from the set at a path. Returns whether it was there.
    ///
    /// # Errors
    /// [`DocumentError`]; nothing is written.
    pub fn remove<P: AsRef<str>>(
        &mut self,
        path: &[P],
        element: impl Into<Value>,
    ) -> Result<bool, DocumentError> {
        let element = element.into();
        self.write(path, element.depth(), |field| Ok(field.set()?.remove(&element)))
    }

    /// Adds to the counter at a path.
    ///
    /// # Errors
    /// [`DocumentError`]; nothing is written.
    pub fn increment<P: AsRef<str>>(&mut self, path: &[P], by: i64) -> Result<(), DocumentError> {
        self.write(path, 0, |field| Ok(field.counter()?.add(by)?))
    }

    /// Turns on the flag at a path.
    ///
    /// # Errors
    /// [`DocumentError`]; nothing is written.
    pub fn enable<P: AsRef<str>>(&mut self, path: &[P]) -> Result<(), DocumentError> {
        self.write(path, 0, |field| {
            field.flag()?.enable();
            Ok(())
        })
    }

    /// Turns off the flag at a path. Returns whether it was on.
    ///
    /// # Errors
    /// [`DocumentError`]; nothing is written.
    pub fn disable<P: AsRef<str>>(&mut self, path: &[P]) -> Result<bool, DocumentError> {
        self.write(path, 0, |field| Ok(field.flag()?.disable()))
    }

    /// Removes all that this replica has seen at or below a path, of whatever kind: one event. What another replica writes
    /// there concurrently survives. Returns whether anything was there.
    ///
    /// # Errors
    /// [`DocumentError::EmptyPath`] or [`DocumentError::TooDeep`]; nothing is removed.
    pub fn delete<P: AsRef<str>>(&mut self, path: &[P]) -> Result<bool, DocumentError> {
        let depth = path.len();
        let (name, parents) = path.split_last().ok_or(DocumentError::EmptyPath)?;
        if depth > Document::MAX_DEPTH {
            return Err(DocumentError::TooDeep { depth });
        }
        if self.value.field(path).is_none() {
            return Ok(false);
        }
        field::within(&mut self.fields(), parents, |map| Ok(map.remove(name.as_ref())))
    }

    fn fields(&mut self) -> Writer<'_, MergeMap<String, Field>> {
        Writer { value: &mut self.value.fields, txn: self.txn, path: self.path.again() }
    }

    fn write<P: AsRef<str>, R>(
        &mut self,
        path: &[P],
        value_depth: usize,
        write: impl FnOnce(&mut Writer<'_, Field>) -> Result<R, DocumentError>,
    ) -> Result<R, DocumentError> {
        let (name, parents) = path.split_last().ok_or(DocumentError::EmptyPath)?;
        let depth = path.len() + value_depth;
        if depth > Document::MAX_DEPTH {
            return Err(DocumentError::TooDeep { depth });
        }
        field::within(&mut self.fields(), parents, |map| map.update(name.as_ref(), write))
    }
}

impl Crdt for Document {
    type Mut<'a> = Writer<'a, Self>;

    const SHAPE: Shape = Shape::DOCUMENT;

    fn describe(schema: &mut Schema) {
        schema.leaf("document");
    }

    fn row_count(&self) -> usize {
        self.fields.rows()
    }

    fn bottom() -> Self {
        Self::default()
    }

    fn fork(&self) -> Self {
        Self { fields: self.fields.fork() }
    }

    fn handle(writer: Writer<'_, Self>) -> Self::Mut<'_> {
        writer
    }

    fn is_live(&self) -> bool {
        self.fields.is_live()
    }

    fn is_bottom(&self) -> bool {
        self.fields.is_bottom()
    }

    fn join(&mut self, theirs: &mut Self, merging: &mut Merging<'_>, path: &Path<'_>) {
        self.fields.join(&mut theirs.fields, merging, path);
    }

    fn sink(&mut self, sinking: &mut Sinking<'_>, path: &Path<'_>) {
        self.fields.sink(sinking, path);
    }

    fn raise_marks(&self, marks: &mut Marks) {
        self.fields.raise_marks(marks);
    }

    fn since(&self, since: &Since) -> Option<Self> {
        let fields = self.fields.since(since)?;
        Some(Self { fields })
    }

    fn shows(&self, seen: &Frontier) -> bool {
        self.fields.shows(seen)
    }

    fn prune(&mut self, pruning: &mut Pruning<'_>) -> bool {
        self.fields.prune(pruning)
    }

    fn rename(&mut self, renamer: &mut Renamer<'_>, path: &Path<'_>) {
        self.fields.rename(renamer, path);
    }

    fn lay(&mut self, way: &[Step], seed: u64) {
        self.fields.lay(way, seed);
    }

    fn undo(&mut self, steps: &[u32], before: &mut Before) {
        self.fields.undo(steps, before);
    }

    fn note_events(&self, events: &mut Events) {
        self.fields.note_events(events);
    }

    fn encode(column: &[&Self], encoder: &mut Encoder) {
        let fields: Vec<_> = column.iter().map(|document| &document.fields).collect();
        MergeMap::encode(&fields, encoder);
    }

    fn decode(
        count: usize,
        held: Option<&Self>,
        decoder: &mut Decoder<'_>,
    ) -> Result<Vec<Self>, DecodeError> {
        let column = MergeMap::decode(count, held.map(|held| &held.fields), decoder)?;
        Ok(column.into_iter().map(|fields| Self { fields }).collect())
    }

    fn canonical(&self, canonical: &mut Canonical<'_>) {
        self.fields.canonical(canonical);
    }

    fn prints(&self, prints: &mut Prints<'_>, path: &Path<'_>) {
        self.fields.prints(prints, path);
    }

    fn wanted(&self, wanted: &mut Wanted<'_>, path: &Path<'_>) -> Option<Self> {
        let fields = self.fields.wanted(wanted, path)?;
        Some(Self { fields })
    }

    fn find_unreadable(&self, found: &mut Unreadable, path: &Path<'_>) {
        self.fields.find_unreadable(found, path);
    }

    fn repair(&mut self, theirs: &mut Self, repairing: &mut Repairing<'_>, path: &Path<'_>) {
        self.fields.repair(&mut theirs.fields, repairing, path);
    }

    fn split(&mut self, splitter: &mut Splitter) -> Self {
        Self { fields: self.fields.split(splitter) }
    }

    fn append(&mut self, next: Self) {
        self.fields.append(next.fields);
    }
}
