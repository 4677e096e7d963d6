//! What transactions, merges and forgetting report.

use crate::causal::id::ReplicaId;
use crate::clock::Timestamp;
use crate::crdt::change::Change;

/// A transaction that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed<R> {
    /// What the closure returned.
    pub value: R,
    /// The one stamp of all its events; `None` if there were none.
    pub stamp: Option<Timestamp>,
    /// What reads differently now; empty unless [`Config::changes`](crate::Config::changes) is set.
    pub changes: Vec<Change>,
}

/// A merge that was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Merged {
    /// Whether the delta held any event that was not held before.
    pub is_news: bool,
    /// How many cells came to hold values that were written concurrently.
    pub conflicts: usize,
    /// What reads differently now; empty unless [`Config::changes`](crate::Config::changes) is set.
    pub changes: Vec<Change>,
}

/// What was forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forgotten {
    /// Rows of maps and elements of sets that were removed altogether.
    pub rows: usize,
    /// Cells and rows that lost their marks.
    pub marks: usize,
    /// The members that are not known to hold all that is held here. Whoever stays in this list keeps everything that it has
    /// not seen from being forgotten: hear of it, or evict it.
    pub behind: Vec<ReplicaId>,
}
