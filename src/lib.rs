//! An embeddable engine that keeps an application's data writable in every region of the world, and the same in all of them.

// The derive macro names this crate; so do this crate's own doc tests and unit tests.
extern crate self as driftless;

mod causal;
mod cell;
mod clock;
mod crdt;
mod delta;
mod replica;
mod wire;

pub use driftless_derive::Crdt;

pub use causal::id::ReplicaId;
pub use causal::vector::VersionVector;
pub use clock::{ClockError, HybridClock, Timestamp};
pub use crdt::change::{Change, PathItem};
pub use crdt::counter::{Counter, CounterOverflow};
pub use crdt::document::{Document, DocumentError, Kind};
pub use crdt::flag::Flag;
pub use crdt::map::MergeMap;
pub use crdt::register::{LwwRegister, MvRegister};
pub use crdt::set::OrSet;
pub use crdt::value::{Float, Value};
pub use crdt::write::Writer;
pub use crdt::{Crdt, Datum, Key};
pub use delta::Delta;
pub use delta::message::Chunks;
pub use delta::pending::{PendingDelta, PendingError};
pub use replica::Replica;
pub use replica::committed::{Committed, Forgotten, Merged};
pub use replica::config::Config;
pub use replica::error::{MergeError, TransactError, WriteError};
pub use replica::held::{Digest, Snapshot};
pub use wire::error::{DecodeError, EncodeError};
pub use wire::limits::Limits;

/// What the code that `#[derive(Crdt)]` writes needs. Not for use by hand: it may change in any release.
#[doc(hidden)]
pub mod derived {
    pub use crate::causal::dot::Marks;
    pub use crate::crdt::Before;
    pub use crate::crdt::change::Path;
    pub use crate::crdt::merging::Merging;
    pub use crate::crdt::pruning::Pruning;
    pub use crate::crdt::shipping::{Since, Splitter};
    pub use crate::crdt::write::Sinking;
    pub use crate::wire::canonical::Canonical;
    pub use crate::wire::decode::Decoder;
    pub use crate::wire::encode::Encoder;
    pub use crate::wire::error::DecodeError;
}
