//! A short list of rows that is shared until one side writes.

use std::ops::Deref;

use triomphe::Arc;

use crate::crdt::map::row::Row;
use crate::crdt::{Crdt, Key};

/// A list of rows. A fork costs one reference count, so that maps within maps do not multiply the cost of a fork; an empty
/// list costs no memory.
#[derive(Debug)]
pub(super) struct List<K, V>(Option<Arc<Vec<Row<K, V>>>>);

impl<K, V> Default for List<K, V> {
    fn default() -> Self {
        Self(None)
    }
}

impl<K, V> Clone for List<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V> From<Vec<Row<K, V>>> for List<K, V> {
    fn from(rows: Vec<Row<K, V>>) -> Self {
        Self((!rows.is_empty()).then(|| Arc::new(rows)))
    }
}

impl<K, V> Deref for List<K, V> {
    type Target = [Row<K, V>];

    fn deref(&self) -> &[Row<K, V>] {
        self.0.as_ref().map(|rows| rows.as_slice()).unwrap_or_default()
    }
}

impl<K: Key, V: Crdt> List<K, V> {
    /// The rows, to be written: copied first if they are shared.
    pub(super) fn make_mut(&mut self) -> &mut Vec<Row<K, V>> {
        Arc::make_mut(self.0.get_or_insert_with(|| Arc::new(Vec::new())))
    }

    pub(super) fn into_vec(self) -> Vec<Row<K, V>> {
        let Some(rows) = self.0 else {
            return Vec::new();
        };
        Arc::try_unwrap(rows).unwrap_or_else(|shared| shared.to_vec())
    }
}
