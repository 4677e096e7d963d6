//! Hashes of rows, by which replicas find out where they differ.
//!
//! A row is a key of a map that no other map is around, with all below it, or a place of the state that is no map. Its *id* is a
//! hash of where it stands and of its key, its *print* a hash of that and of all that is live in it.

use std::num::NonZeroU16;

use crate::causal::origin::Origins;
use crate::crdt::change::{ChangePath, Path};
use crate::crdt::{Crdt, Key};
use crate::wire::canonical::Canonical;

/// One row of the state, as an audit compares it. Made by [`Replica::rows_of`](crate::Replica::rows_of).
///
/// A row is a key of a map that no other map is around, with all below it; so is an element of a set and a name of a document. A
/// register, a flag or a counter in no map is a row of its own.
///
/// # Example
/// ```
/// use std::num::NonZeroU16;
/// use driftless::{Config, LwwRegister, MergeMap, Replica, ReplicaId};
///
/// let mut eu: Replica<MergeMap<String, LwwRegister<u8>>> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// eu.write(1_000, |map| map.update("kettle", |price| price.set(29)))?;
/// let before = eu.rows_of(NonZeroU16::MIN, &[0]);
/// assert_eq!(before[0].path.to_string(), "\"kettle\"");
///
/// eu.write(1_001, |map| map.update("kettle", |price| price.set(32)))?;
/// let after = eu.rows_of(NonZeroU16::MIN, &[0]);
/// assert_eq!(after[0].id, before[0].id, "the same row");
/// assert_ne!(after[0].print, before[0].print, "with something else in it");
/// # Ok::<(), driftless::WriteError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RowPrint {
    /// Where it is, to be shown.
    pub path: ChangePath,
    /// A hash of where it is: what replicas call it among themselves. Rows of a field that is several things at once, for
    /// different releases, may have one: their prints are added up, wrapping, to compare them.
    pub id: u64,
    /// A hash of that and of what is live in it.
    pub print: u64,
}

/// Hashes rows, on its way through the state.
#[doc(hidden)]
#[derive(Debug)]
pub struct Prints<'a> {
    canonical: Canonical<'a>,
    buckets: NonZeroU16,
    into: Into,
}

/// What becomes of the hashes.
#[derive(Debug)]
enum Into {
    /// For each bucket their sum, which their order makes no difference to.
    Sums(Vec<u64>),
    /// Those of the buckets that are asked for are listed.
    Rows { is_asked: Vec<bool>, rows: Vec<RowPrint> },
}

impl<'a> Prints<'a> {
    /// The sums of all buckets.
    pub(crate) fn sums<S: Crdt>(state: &S, origins: &'a Origins, buckets: NonZeroU16) -> Vec<u64> {
        let mut prints = Self::new(origins, buckets, Into::Sums(vec![0; usize::from(buckets.get())]));
        state.prints(&mut prints, &Path::root());
        match prints.into {
            Into::Sums(sums) => sums,
            Into::Rows { .. } => unreachable!("sums were asked for"),
        }
    }

    /// The rows of some buckets.
    pub(crate) fn rows<S: Crdt>(
        state: &S,
        origins: &'a Origins,
        buckets: NonZeroU16,
        asked: &[u16],
    ) -> Vec<RowPrint> {
        let mut is_asked = vec![false; usize::from(buckets.get())];
        for bucket in asked {
            if let Some(is_asked) = is_asked.get_mut(usize::from(*bucket)) {
                *is_asked = true;
            }
        }
        let mut prints = Self::new(origins, buckets, Into::Rows { is_asked, rows: Vec::new() });
        state.prints(&mut prints, &Path::root());
        match prints.into {
            Into::Rows { rows, .. } => rows,
            Into::Sums(_) => unreachable!("rows were asked for"),
        }
    }

    fn new(origins: &'a Origins, buckets: NonZeroU16, into: Into) -> Self {
        Self { canonical: Canonical::digest(origins), buckets, into }
    }

    /// Hashes what is no map.
    pub(crate) fn leaf<S: Crdt>(&mut self, state: &S, path: &Path<'_>) {
        if state.is_live() {
            self.row::<(), S>(&path.steps(), None, state, || path.shown());
        }
    }

    /// Hashes the rows of a map that are live.
    pub(crate) fn map<'r, K: Key, V: Crdt>(
        &mut self,
        rows: impl Iterator<Item = (&'r K, &'r V)>,
        path: &Path<'_>,
    ) {
        let fields = path.steps();
        for (key, value) in rows {
            self.row(&fields, Some(key), value, || Path::key(path, 0, key).shown());
        }
    }

    fn row<K: Key, V: Crdt>(
        &mut self,
        fields: &[u32],
        key: Option<&K>,
        value: &V,
        shown: impl FnOnce() -> ChangePath,
    ) {
        let id = self.canonical.begin_row(fields, key);
        let bucket = bucket_of(id, self.buckets);
        match &mut self.into {
            Into::Sums(sums) => {
                value.canonical(&mut self.canonical);
                sums[bucket] = sums[bucket].wrapping_add(self.canonical.end_row());
            }
            Into::Rows { is_asked, rows } if is_asked[bucket] => {
                value.canonical(&mut self.canonical);
                rows.push(RowPrint { path: shown(), id, print: self.canonical.end_row() });
            }
            Into::Rows { .. } => {}
        }
    }
}

/// The bucket of a row: a number below that of the buckets. Rows stay together when buckets are split.
fn bucket_of(id: u64, buckets: NonZeroU16) -> usize {
    ((u128::from(id) * u128::from(buckets.get())) >> u64::BITS) as usize
}

/// Takes rows out of the state that are asked for by their ids.
#[doc(hidden)]
#[derive(Debug)]
pub struct Wanted<'a> {
    canonical: Canonical<'a>,
    /// In order.
    ids: Vec<u64>,
    visited: usize,
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(origins: &'a Origins, ids: &[u64]) -> Self {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        Self { canonical: Canonical::bytes(origins), ids, visited: 0 }
    }

    /// How many rows were looked at.
    pub(crate) fn visited(&self) -> usize {
        self.visited
    }

    /// Whether a row is asked for.
    pub(crate) fn wants<K: Key>(&mut self, fields: &[u32], key: Option<&K>) -> bool {
        self.visited += 1;
        let id = self.canonical.begin_row(fields, key);
        self.ids.binary_search(&id).is_ok()
    }

    pub(crate) fn leaf<S: Crdt>(&mut self, state: &S, path: &Path<'_>) -> Option<S> {
        let is_wanted = !state.is_bottom() && self.wants::<()>(&path.steps(), None);
        is_wanted.then(|| state.fork())
    }
}
