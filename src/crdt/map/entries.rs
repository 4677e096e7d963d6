//! Going through what is live in a map.

use std::fmt;
use std::iter::FusedIterator;

use crate::crdt::map::MergeMap;
use crate::crdt::map::rows;
use crate::crdt::{Crdt, Key};

/// The keys of a [`MergeMap`] and their values, in no order that means anything. Made by [`MergeMap::iter`], and by a loop over
/// the map; it knows how many are to come.
pub struct Entries<'a, K, V> {
    rows: rows::Iter<'a, K, V>,
    /// How many are still to come.
    left: usize,
}

impl<'a, K: Key, V: Crdt> Entries<'a, K, V> {
    pub(super) fn new(rows: rows::Iter<'a, K, V>, live: usize) -> Self {
        Self { rows, left: live }
    }
}

impl<K, V> fmt::Debug for Entries<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").field("left", &self.left).finish_non_exhaustive()
    }
}

impl<'a, K: Key, V: Crdt> Iterator for Entries<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.rows.find_map(|row| Some((&row.key, row.body.readable()?)))?;
        self.left = self.left.saturating_sub(1);
        Some(entry)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<K: Key, V: Crdt> ExactSizeIterator for Entries<'_, K, V> {}

impl<K: Key, V: Crdt> FusedIterator for Entries<'_, K, V> {}

impl<'a, K: Key, V: Crdt> IntoIterator for &'a MergeMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Entries<'a, K, V>;

    fn into_iter(self) -> Entries<'a, K, V> {
        self.iter()
    }
}
