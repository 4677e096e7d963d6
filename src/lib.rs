//! An embeddable engine that keeps an application's data writable in every region of the world, and the same in all of them.
//!
//! Each region holds a [`Replica`] of the data. It is written at memory speed, in transactions, without waiting for any
//! other region. Regions exchange [`Delta`]s, in any order, over any transport, as often as they like; those that have seen
//! the same events hold the same data, to the byte. Nothing that was written is lost, and what is removed is forgotten once
//! all have seen it removed.
//!
//! ```
//! use driftless::{Config, Counter, Crdt, LwwRegister, MergeMap, OrSet, Replica, ReplicaId};
//!
//! #[derive(Crdt)]
//! struct User {
//!     name: LwwRegister<String>,
//!     tags: OrSet<String>,
//!     visits: Counter,
//! }
//!
//! let mut eu: Replica<MergeMap<u64, User>> = Replica::new(ReplicaId::from_u128(1), Config::default());
//! let mut us: Replica<MergeMap<u64, User>> = Replica::new(ReplicaId::from_u128(2), Config::default());
//!
//! let now_ms = 1_700_000_000_000;
//! eu.transact(now_ms, |users| {
//!     users.update(&7, |user| {
//!         user.name().set("Ada");
//!         user.tags().add("admin");
//!         user.visits().add(1)
//!     })
//! })?;
//!
//! let bytes = eu.delta_since(&us.vector()).encode()?;    // ship these
//! us.merge(now_ms, us.decode(&bytes)?)?;
//! assert_eq!(us.digest(), eu.digest());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The [guide] says how to model data, what concurrent edits do to it, and how to run it.
//!
//! # The caller brings
//!
//! - **Time**, in Unix milliseconds, to each call that needs it. The engine reads no clock.
//! - **Identity**: a [`ReplicaId`] that no other copy of the data uses, and no earlier run whose state is lost.
//! - **Transport and storage**: the engine makes and takes bytes. It does no I/O and starts no threads.
//!
//! # The types
//!
//! | type | holds | concurrent writes | a removal concurrent with a write |
//! |---|---|---|---|
//! | [`LwwRegister`] | one value | the later one is read, all can be | the write survives |
//! | [`MvRegister`] | one value | all are read | the write survives |
//! | [`Flag`] | on or off | on | on |
//! | [`OrSet`] | distinct values | all are in it | the addition wins |
//! | [`Counter`] | a sum | all count | what it had not seen still counts |
//! | [`MergeMap`] | mergeable state by key | merge key by key | what it had not seen survives, at any depth |
//! | a struct with [`#[derive(Crdt)]`](macro@Crdt) | mergeable fields | merge field by field | |
//! | [`Document`] | any of it, by path | merge path by path | what it had not seen survives |
//!
//! # Errors
//!
//! Each error says whose fault it is (the bytes, the peer, the caller, us), and what to do next. **After an error nothing has
//! changed**, always. The library panics only on a bug of its own.

#![warn(clippy::missing_errors_doc)]

// The derive macro names this crate; so do this crate's own doc tests and unit tests.
extern crate self as driftless;

mod causal;
mod cell;
mod clock;
mod crdt;
mod delta;
mod replica;
mod sync;
mod wire;

/// Derives the trait [`Crdt`](trait@Crdt) for a struct whose fields are mergeable, and a handle to write it.
///
/// # Example
/// For a struct `Product` the handle is `ProductMut`, with a method for each field:
/// ```
/// use driftless::{Config, Counter, CounterOverflow, Crdt, LwwRegister, MergeMap, OrSet, Replica, ReplicaId};
///
/// #[derive(Debug, Crdt)]
/// pub struct Product {
///     /// In cents.
///     pub price: LwwRegister<u32>,
///     pub stock: Counter,
///     pub sizes: MergeMap<String, Size>,
/// }
///
/// #[derive(Debug, Crdt)]
/// pub struct Size {
///     pub colours: OrSet<String>,
/// }
///
/// fn restock(product: &mut ProductMut<'_>, size: &str, colour: &str) -> Result<(), CounterOverflow> {
///     product.sizes().update(size, |size| size.colours().add(colour));
///     product.stock().add(1)
/// }
///
/// let mut eu: Replica<Product> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// eu.transact(1_000, |product| {
///     product.price().set(2_900);
///     restock(product, "L", "red")?;
///     restock(product, "L", "blue")
/// })?;
/// assert_eq!(eu.state().stock.value(), 2);
/// assert_eq!(eu.state().sizes.get("L").map(|size| size.colours.len()), Some(2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What it does
pub use driftless_derive::Crdt;

pub use causal::id::ReplicaId;
pub use causal::vector::VersionVector;
pub use clock::{ClockError, HybridClock, Timestamp};
pub use crdt::change::{Change, ChangePath, PathItem};
pub use crdt::counter::{Counter, CounterOverflow};
pub use crdt::document::{Document, DocumentError, Kind};
pub use crdt::flag::Flag;
pub use crdt::map::MergeMap;
pub use crdt::map::entries::Entries;
pub use crdt::prints::RowPrint;
pub use crdt::register::{LwwRegister, MvRegister};
pub use crdt::set::{Elements, OrSet};
pub use crdt::unknown::UnknownFields;
pub use crdt::unreadable::Unreadable;
pub use crdt::value::{Float, Value};
pub use crdt::write::Writer;
pub use crdt::{Crdt, Datum, DatumFrom, Key};
pub use delta::Delta;
pub use delta::message::Chunks;
pub use delta::pending::{PendingDelta, PendingError};
pub use replica::Replica;
pub use replica::audit::{Fingerprints, Repaired};
pub use replica::committed::{Committed, Forgotten, Merged};
pub use replica::config::Config;
pub use replica::error::{MergeError, ReissueError, TransactError, WriteError};
pub use replica::held::{Digest, Snapshot};
pub use replica::kept::Kept;
pub use replica::reissue::{Reissued, Stamps};
pub use replica::request::Request;
pub use sync::access::Access;
pub use sync::concern::{ConcernId, Held, Holders, Need};
pub use sync::config::{Admission, SyncConfig};
pub use sync::endpoint::{Endpoint, Missing, RefusedTransaction};
pub use sync::error::{LinkId, RefusedWrite, SyncError};
pub use sync::event::{SchemaConflict, SyncEvent};
pub use sync::identity::RefusedId;
pub use sync::roster::{Epoch, Member};
pub use sync::status::{Blocking, LinkState, PeerStatus};
pub use sync::token::{Token, TokenError};
pub use wire::error::{DecodeError, EncodeError};
pub use wire::limits::Limits;

/// What the code that `#[derive(Crdt)]` writes needs. Not for use by hand: it may change in any release.
#[doc(hidden)]
pub mod derived {
    pub use crate::causal::dot::Marks;
    pub use crate::causal::frontier::Frontier;
    pub use crate::crdt::change::Path;
    pub use crate::crdt::merging::Merging;
    pub use crate::crdt::prints::{Prints, Wanted};
    pub use crate::crdt::pruning::Pruning;
    pub use crate::crdt::renaming::{Renamer, Step};
    pub use crate::crdt::repairing::Repairing;
    pub use crate::crdt::schema::Schema;
    pub use crate::crdt::shipping::{Since, Splitter};
    pub use crate::crdt::undo::Before;
    pub use crate::crdt::unreadable::Unreadable;
    pub use crate::crdt::write::Sinking;
    pub use crate::wire::canonical::Canonical;
    pub use crate::wire::decode::Decoder;
    pub use crate::wire::encode::Encoder;
    pub use crate::wire::error::DecodeError;
    pub use crate::wire::events::Events;
    pub use crate::wire::shape::Shape;
}

#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/guide.md")]
pub mod guide {}

/// The README's program runs as it stands there.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
