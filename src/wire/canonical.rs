//! The canonical bytes of a live state, and their digest.

use std::ops::Range;

use serde::Serialize;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::causal::dot::Dot;
use crate::causal::origin::{Origin, Origins};

/// How many bytes are gathered before they are hashed.
const BLOCK_BYTES: usize = 64 * 1024;

/// Writes what is live, in one order whatever the history: the same events give the same bytes in every replica.
///
/// Marks and tombstones are left out: replicas forget them at different times.
pub struct Canonical<'a> {
    origins: &'a Origins,
    out: Vec<u8>,
    /// Where full blocks go; `None` keeps all bytes.
    hasher: Option<Box<Xxh3>>,
    /// Whether blocks went there.
    is_begun: bool,
    /// The keys of the maps that are being written, one map within the other.
    keys: Vec<u8>,
}

impl std::fmt::Debug for Canonical<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Canonical").field("bytes", &self.out.len()).finish_non_exhaustive()
    }
}

impl<'a> Canonical<'a> {
    pub(crate) fn bytes(origins: &'a Origins) -> Self {
        Self { origins, out: Vec::new(), hasher: None, is_begun: false, keys: Vec::new() }
    }

    pub(crate) fn digest(origins: &'a Origins) -> Self {
        let hasher = Some(Box::new(Xxh3::new()));
        Self { origins, out: Vec::new(), hasher, is_begun: false, keys: Vec::new() }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    pub(crate) fn into_digest(mut self) -> u128 {
        let mut hasher = self.hasher.take().unwrap_or_default();
        hasher.update(&self.out);
        hasher.digest128()
    }

    /// Begins with the name of a row: the way to its map, by the numbers of fields, and its key. Returns the hash of the name.
    pub(crate) fn begin_row<K: Serialize + ?Sized>(&mut self, fields: &[u32], key: Option<&K>) -> u64 {
        self.clear();
        for field in fields {
            self.out.extend_from_slice(&field.to_be_bytes());
        }
        if let Some(key) = key {
            self.value_whole(key);
        }
        xxh3_64(&self.out)
    }

    /// The hash of all that was written, XXH3 with 64 bits, and an end to it: what comes next is another row.
    pub(crate) fn end_row(&mut self) -> u64 {
        let print = match self.hasher.as_mut().filter(|_| self.is_begun) {
            Some(hasher) => {
                hasher.update(&self.out);
                hasher.digest()
            }
            None => xxh3_64(&self.out),
        };
        self.clear();
        print
    }

    /// Forgets all that was written.
    fn clear(&mut self) {
        self.out.clear();
        if let Some(hasher) = self.hasher.as_mut().filter(|_| self.is_begun) {
            hasher.reset();
        }
        self.is_begun = false;
    }

    pub(crate) fn origins(&self) -> &'a Origins {
        self.origins
    }

    /// A number that says how much follows, or what.
    pub fn uint(&mut self, n: u64) {
        self.out.extend_from_slice(&n.to_be_bytes());
        self.flush();
    }

    pub(crate) fn int(&mut self, n: i128) {
        self.out.extend_from_slice(&n.to_be_bytes());
    }

    pub(crate) fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        self.value_whole(value);
        self.flush();
    }

    /// A value that is kept as it came.
    pub(crate) fn value_as_came(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.flush();
    }

    /// Notes a key of a map. Returns where its bytes are.
    pub(crate) fn note_key<K: Serialize>(&mut self, key: &K) -> Range<usize> {
        let start = self.keys.len();
        // A key that cannot be serialized cannot be shipped either; `Delta::encode` reports it.
        if rmp_serde::encode::write(&mut self.keys, key).is_err() {
            self.keys.truncate(start);
        }
        start..self.keys.len()
    }

    /// The bytes of a key that was noted.
    pub(crate) fn noted(&self, key: &Range<usize>) -> &[u8] {
        self.keys.get(key.clone()).unwrap_or_default()
    }

    /// Writes a key that was noted.
    pub(crate) fn key(&mut self, key: &Range<usize>) {
        self.out.extend_from_slice(self.keys.get(key.clone()).unwrap_or_default());
        self.flush();
    }

    /// Forgets the keys from this one on.
    pub(crate) fn forget_keys(&mut self, first: usize) {
        self.keys.truncate(first);
    }

    /// How many bytes of keys are noted.
    pub(crate) fn noted_keys(&self) -> usize {
        self.keys.len()
    }

    /// As [`value`](Self::value), without passing it on yet.
    fn value_whole<T: Serialize + ?Sized>(&mut self, value: &T) {
        // A value that cannot be serialized cannot be shipped either; `Delta::encode` reports it.
        let start = self.out.len();
        if rmp_serde::encode::write(&mut self.out, value).is_err() {
            self.out.truncate(start);
        }
    }

    pub(crate) fn dot(&mut self, dot: Dot) {
        self.origin(dot.origin);
        self.out.extend_from_slice(&dot.time.bits().to_be_bytes());
    }

    pub(crate) fn origin(&mut self, origin: Origin) {
        self.out.extend_from_slice(self.origins.id(origin).as_bytes());
    }

    fn flush(&mut self) {
        if let Some(hasher) = self.hasher.as_mut().filter(|_| self.out.len() >= BLOCK_BYTES) {
            hasher.update(&self.out);
            self.out.clear();
            self.is_begun = true;
        }
    }
}
