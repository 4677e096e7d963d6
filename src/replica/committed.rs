//! What transactions, merges and forgetting report.

use crate::causal::id::ReplicaId;
use crate::clock::Timestamp;
use crate::crdt::change::Change;
use crate::crdt::unreadable::Unreadable;

/// A transaction that was made. Returned by [`Replica::transact`](crate::Replica::transact) and
/// [`Replica::write`](crate::Replica::write).
///
/// # Example
/// ```
/// use driftless::{Config, OrSet, Replica, ReplicaId};
///
/// let mut eu: Replica<OrSet<u8>> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// let committed = eu.write(1_000, |set| {
///     set.add(&7);
///     set.len()
/// })?;
/// assert_eq!(committed.value, 1);
/// assert_eq!(committed.stamp, Some(eu.clock().last()));
/// assert!(committed.changes.is_empty(), "they are not asked for");
/// # Ok::<(), driftless::WriteError>(())
/// ```
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

/// A merge that was made. Returned by [`Replica::merge`](crate::Replica::merge).
///
/// # Example
/// ```
/// use driftless::{Config, LwwRegister, Replica, ReplicaId};
///
/// let mut eu: Replica<LwwRegister<u8>> = Replica::new(ReplicaId::from_u128(1), Config { changes: true, ..Config::default() });
/// let mut us: Replica<LwwRegister<u8>> = Replica::new(ReplicaId::from_u128(2), Config::default());
/// eu.write(1_000, |register| register.set(1))?;
/// us.write(1_001, |register| register.set(2))?;
/// let delta = us.delta_since(&eu.vector());
///
/// let merged = eu.merge(1_002, delta.clone())?;
/// assert_eq!((merged.is_news, merged.conflicts, merged.changes.len()), (true, 1, 1));
/// assert!(!eu.merge(1_003, delta)?.is_news);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Merged {
    /// Whether the delta held any event that was not held before.
    pub is_news: bool,
    /// How many registers came to hold values that were written concurrently, so that a reading chooses among them.
    pub conflicts: usize,
    /// Values that it brought and that are not of the types that registers have here.
    pub unreadable: Unreadable,
    /// What reads differently now; empty unless [`Config::changes`](crate::Config::changes) is set.
    pub changes: Vec<Change>,
    /// Whether it held anything of what the cluster says of itself.
    pub(crate) is_system_news: bool,
}

/// What was forgotten. Returned by [`Replica::forget`](crate::Replica::forget), which has an example.
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
