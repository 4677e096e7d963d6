//! The types an application writes: registers, flags, sets, counters, maps, structs of them, and documents.
//!
//! Each is a few lines of meaning over [cells](crate::cell): what is written, what a removal does to what is written
//! concurrently, and how concurrent values are read.
//!
//! | type | a removal concurrent with a write |
//! |---|---|
//! | [`LwwRegister`](register::LwwRegister), [`MvRegister`](register::MvRegister) | the write survives |
//! | [`Flag`](flag::Flag) | enable wins |
//! | [`OrSet`](set::OrSet) | add wins |
//! | [`Counter`](counter::Counter) | increments that the removal had not seen survive, exactly |
//! | [`MergeMap`](map::MergeMap) | what was written concurrently survives, the rest is gone, at any depth |
//! | a struct with `#[derive(Crdt)]` | field by field |
//! | [`Document`](document::Document) | the same, path by path |

pub(crate) mod change;
pub(crate) mod counter;
pub(crate) mod document;
pub(crate) mod flag;
pub(crate) mod map;
pub(crate) mod merging;
pub(crate) mod prints;
pub(crate) mod pruning;
pub(crate) mod register;
pub(crate) mod renaming;
pub(crate) mod repairing;
pub(crate) mod schema;
pub(crate) mod set;
pub(crate) mod shipping;
pub(crate) mod undo;
pub(crate) mod unknown;
pub(crate) mod unreadable;
pub(crate) mod value;
pub(crate) mod write;

use std::hash::Hash;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::causal::dot::Marks;
use crate::causal::frontier::Frontier;
use crate::crdt::change::Path;
use crate::crdt::merging::Merging;
use crate::crdt::prints::{Prints, Wanted};
use crate::crdt::pruning::Pruning;
use crate::crdt::renaming::{Renamer, Step};
use crate::crdt::repairing::Repairing;
use crate::crdt::schema::Schema;
use crate::crdt::shipping::{Since, Splitter};
use crate::crdt::undo::Before;
use crate::crdt::unreadable::Unreadable;
use crate::crdt::write::{Sinking, Writer};
use crate::wire::canonical::Canonical;
use crate::wire::decode::Decoder;
use crate::wire::encode::Encoder;
use crate::wire::error::DecodeError;
use crate::wire::events::Events;
use crate::wire::shape::Shape;

/// A plain value that a register can hold: anything that serde can write and read back as it was.
///
/// It is shipped as MessagePack, structs as arrays. A value that cannot be serialized can be set but not shipped
/// ([`EncodeError`](crate::EncodeError)), and one larger or deeper than the receivers' [`Limits`](crate::Limits) is refused
/// there. What serde writes must be read back as it was, and depend on the value alone:
///
/// - No `HashMap` or `HashSet`: they are written in an order that differs from copy to copy, and so do digests then. Use
///   `BTreeMap` and `BTreeSet`.
/// - No `Option<Option<T>>`, `Option<()>` or `Option<Value>`: MessagePack has one nil, so `Some(None)` arrives as `None`.
/// - No `skip_serializing_if` but at the end of a struct and with `default`: fields are told by their position.
/// - A struct may get new fields at its end, with `#[serde(default)]`. Who does not know a field reads nothing of the value,
///   keeps it as it came, and says so: see [`Unreadable`]. (Where structs are written as maps, as with `#[serde(flatten)]`, it
///   reads the fields that it knows; to write what was read and changed loses the others.)
/// - What serde does not read back as it was written is kept as it came after a restart, and at all others.
///
/// It is implemented for all types that can be such values, and not by hand.
///
/// # Example
/// ```
/// use driftless::{Config, LwwRegister, Replica, ReplicaId};
///
/// #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
/// enum Price {
///     Free,
///     Cents(u32),
/// }
///
/// let mut eu: Replica<LwwRegister<Price>> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// let mut us: Replica<LwwRegister<Price>> = Replica::new(ReplicaId::from_u128(2), Config::default());
/// eu.write(1_000, |price| price.set(Price::Free))?;
/// eu.write(1_001, |price| price.set(Price::Cents(2_900)))?;
/// let bytes = eu.delta_since(&us.vector()).encode()?;
/// us.merge(1_002, us.decode(&bytes)?)?;
/// assert_eq!(us.state().latest(), Some(&Price::Cents(2_900)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Datum: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {}

impl<T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static> Datum for T {}

/// A plain value that a register can be set to by a `V`: by one of its own type, always; a `String` by a `&str`; an
/// `Option<T>` by a `T`; a [`Value`](crate::Value) by all that it can be made from.
///
/// It is narrower than `From<V>` on purpose. So many types convert into a number that a literal would not know which one it
/// is, and `set(3)` into a register of `u32` would not compile. Here it does. What takes another conversion is converted
/// first, as in `set(seconds.into())`.
///
/// # Example
/// ```
/// use driftless::{Config, Crdt, DatumFrom, LwwRegister, Replica, ReplicaId};
///
/// #[derive(Crdt)]
/// struct User {
///     name: LwwRegister<String>,
///     age: LwwRegister<u8>,
///     email: LwwRegister<Email>,
/// }
///
/// #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
/// struct Email(String);
///
/// // An application can say what else stands for its own types.
/// impl DatumFrom<&str> for Email {
///     fn datum_from(address: &str) -> Self {
///         Self(address.to_lowercase())
///     }
/// }
///
/// let mut eu: Replica<User> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// eu.write(1_000, |user| {
///     user.name().set("Ada");
///     user.age().set(36);
///     user.email().set("Ada@Example.org");
/// })?;
/// assert_eq!(eu.state().age.latest(), Some(&36));
/// assert_eq!(eu.state().email.latest(), Some(&Email("ada@example.org".to_owned())));
/// # Ok::<(), driftless::WriteError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "a register of `{Self}` cannot be set to a `{V}`",
    label = "this register holds a `{Self}`",
    note = "convert the value first, as in `set(value.into())`"
)]
pub trait DatumFrom<V>: Sized {
    /// The value that the register will hold.
    fn datum_from(value: V) -> Self;
}

impl<T> DatumFrom<T> for T {
    fn datum_from(value: T) -> Self {
        value
    }
}

impl<T> DatumFrom<T> for Option<T> {
    fn datum_from(value: T) -> Self {
        Some(value)
    }
}

impl DatumFrom<&str> for String {
    fn datum_from(value: &str) -> Self {
        value.to_owned()
    }
}

impl DatumFrom<&String> for String {
    fn datum_from(value: &String) -> Self {
        value.clone()
    }
}

/// A plain value that can be a map's key or a set's element.
///
/// Its `Eq`, `Ord` and `Hash` must agree with each other and must not panic; equal keys must serialize to equal
/// bytes, different keys to different bytes. A panic
/// in the middle of a merge leaves the replica unusable: [`MergeError::Poisoned`](crate::MergeError::Poisoned). Plain floats
/// are no keys, [`Float`](crate::Float) is.
///
/// # Example
/// ```
/// use driftless::{Config, MergeMap, OrSet, Replica, ReplicaId};
///
/// #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
/// struct Seat {
///     row: u16,
///     place: char,
/// }
///
/// let mut eu: Replica<MergeMap<Seat, OrSet<String>>> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// let seat = Seat { row: 12, place: 'C' };
/// eu.write(1_000, |seats| seats.update(&seat, |wishes| wishes.add("vegetarian")))?;
/// assert!(eu.state().contains_key(&seat));
/// # Ok::<(), driftless::WriteError>(())
/// ```
pub trait Key: Datum + Eq + Ord + Hash {}

impl<T: Datum + Eq + Ord + Hash> Key for T {}

/// State that merges: every replica may write it, and all end with the same.
///
/// Implemented by the types of this crate and by `#[derive(Crdt)]` for structs of them. It is not meant to be implemented
/// by hand: all but the associated type is hidden, and may change in any release.
///
/// # Example
/// A struct merges field by field. It may have parameters:
/// ```
/// use driftless::{Config, Crdt, Datum, LwwRegister, OrSet, Replica, ReplicaId};
///
/// #[derive(Crdt)]
/// struct Labelled<T: Datum> {
///     value: LwwRegister<T>,
///     labels: OrSet<String>,
/// }
///
/// let mut eu: Replica<Labelled<i64>> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// let mut us: Replica<Labelled<i64>> = Replica::new(ReplicaId::from_u128(2), Config::default());
/// eu.write(1_000, |labelled| labelled.value().set(7))?;
/// us.write(1_000, |labelled| labelled.labels().add("lucky"))?;
/// us.merge(1_050, eu.delta_since(&us.vector()))?;
/// assert_eq!(us.state().value.latest(), Some(&7));
/// assert!(us.state().labels.contains("lucky"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
/// A plain value does not merge, so it is no field by itself. It goes into a register:
/// ```compile_fail,E0277
/// use driftless::{Crdt, LwwRegister};
///
/// #[derive(Crdt)]
/// struct User {
///     name: LwwRegister<String>,
///     age: u32,
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no CRDT, so it cannot be merged",
    label = "this is not mergeable state",
    note = "wrap a plain value in `LwwRegister<..>` (or `MvRegister<..>`), or derive `Crdt` for a struct of CRDTs"
)]
pub trait Crdt: Sized + Send + Sync + 'static {
    /// The handle through which a transaction writes: it takes note of what was, so that an error or a panic undoes it. A
    /// [`Writer`] for the types of this crate, `UserMut<'_>` for a struct `User`.
    type Mut<'a>;

    /// What others must know of it to merge it.
    #[doc(hidden)]
    const SHAPE: Shape;

    /// The state that nothing has happened to.
    #[doc(hidden)]
    fn bottom() -> Self;

    /// Another copy to read; pages are shared until one side writes.
    #[doc(hidden)]
    fn fork(&self) -> Self;

    #[doc(hidden)]
    fn handle(writer: Writer<'_, Self>) -> Self::Mut<'_>;

    /// Whether anything is there to read.
    #[doc(hidden)]
    fn is_live(&self) -> bool;

    /// Whether nothing is remembered, not even a removal.
    #[doc(hidden)]
    fn is_bottom(&self) -> bool;

    /// Joins what comes in, and takes out of it what it needs.
    #[doc(hidden)]
    fn join(&mut self, theirs: &mut Self, merging: &mut Merging<'_>, path: &Path<'_>);

    /// Drops what a removal in this replica has seen; the row that holds this state remembers it.
    #[doc(hidden)]
    fn sink(&mut self, sinking: &mut Sinking<'_>, path: &Path<'_>);

    /// Raises `marks` to the marks within; to more than that at most for what is too large to look through.
    #[doc(hidden)]
    fn raise_marks(&self, marks: &mut Marks);

    /// The cells with a mark beyond what the peer has seen, whole; the rest at bottom.
    #[doc(hidden)]
    fn since(&self, since: &Since) -> Option<Self>;

    /// Whether something live is there that who has seen `seen` has seen.
    #[doc(hidden)]
    fn shows(&self, seen: &Frontier) -> bool;

    /// Forgets what is stable. Returns whether something is left to be forgotten later.
    #[doc(hidden)]
    fn prune(&mut self, pruning: &mut Pruning<'_>) -> bool;

    /// Renames the events of a replica after a fork point. What is left is to be merged, as what a message holds is.
    #[doc(hidden)]
    fn rename(&mut self, renamer: &mut Renamer<'_>, path: &Path<'_>);

    /// Makes sure that the rows on the way to a place are there.
    #[doc(hidden)]
    fn lay(&mut self, way: &[Step], seed: u64);

    #[doc(hidden)]
    fn undo(&mut self, steps: &[u32], before: &mut Before);

    /// Takes note of all events that [`encode`](Self::encode) names.
    #[doc(hidden)]
    fn note_events(&self, events: &mut Events);

    /// Writes a column of instances, none of them at bottom. Of none it writes nothing.
    #[doc(hidden)]
    fn encode(column: &[&Self], encoder: &mut Encoder);

    /// Reads a column of so many instances. `held` is what the receiver holds, of a column of it alone.
    #[doc(hidden)]
    fn decode(count: usize, held: Option<&Self>, decoder: &mut Decoder<'_>)
    -> Result<Vec<Self>, DecodeError>;

    #[doc(hidden)]
    fn canonical(&self, canonical: &mut Canonical<'_>);

    /// Hashes what is live, row by row. What is neither a map nor made of maps is one row.
    #[doc(hidden)]
    fn prints(&self, prints: &mut Prints<'_>, path: &Path<'_>) {
        prints.leaf(self, path);
    }

    /// The rows that are asked for, live or not, whole.
    #[doc(hidden)]
    fn wanted(&self, wanted: &mut Wanted<'_>, path: &Path<'_>) -> Option<Self> {
        wanted.leaf(self, path)
    }

    /// Joins what ought to be equal and is not, by what the two sides remember themselves, whatever their vectors say. It makes
    /// no difference which side is joined into which.
    #[doc(hidden)]
    fn repair(&mut self, theirs: &mut Self, repairing: &mut Repairing<'_>, path: &Path<'_>);

    /// Takes note of the values that this release cannot read.
    #[doc(hidden)]
    fn find_unreadable(&self, found: &mut Unreadable, path: &Path<'_>);

    /// Takes off what fits into the next chunk of a transfer.
    #[doc(hidden)]
    fn split(&mut self, splitter: &mut Splitter) -> Self;

    /// Puts the next chunk behind those before it.
    #[doc(hidden)]
    fn append(&mut self, next: Self);

    /// Says which mergeable type stands where.
    #[doc(hidden)]
    fn describe(schema: &mut Schema);

    /// The number of rows of its outermost maps.
    #[doc(hidden)]
    fn row_count(&self) -> usize {
        0
    }
}
