//! From a key's hash to its row, in shards that are shared until one side writes.

use hashbrown::HashTable;
use triomphe::Arc;

/// Rows in a shard, on average, before the number of shards doubles.
const SHARD: usize = 256;

/// A hash index of row numbers. It holds no keys: the caller compares, and hashes again when the index grows.
///
/// Nothing that leaves a replica depends on the order within it.
#[derive(Clone, Debug)]
pub(super) struct Index {
    /// A power of two of them.
    shards: Arc<Vec<Arc<HashTable<u32>>>>,
    len: usize,
}

impl Default for Index {
    fn default() -> Self {
        Self { shards: Arc::new(vec![Arc::new(HashTable::new())]), len: 0 }
    }
}

/// The shard of a hash among a power of two of them. The table within uses the lowest and the highest bits.
fn shard_of(hash: u64, shards: usize) -> usize {
    (hash >> 24) as usize & (shards - 1)
}

impl Index {
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let shard = &self.shards[shard_of(hash, self.shards.len())];
        shard.find(hash, |row| is_it(*row)).copied()
    }

    /// Adds a row whose key is not in the index.
    pub(super) fn insert(&mut self, hash: u64, row: u32, hash_of: impl Fn(u32) -> u64) {
        if self.len >= SHARD * self.shards.len() {
            self.grow(&hash_of);
        }
        let count = self.shards.len();
        let shards = Arc::make_mut(&mut self.shards);
        let shard = Arc::make_mut(&mut shards[shard_of(hash, count)]);
        shard.insert_unique(hash, row, |row| hash_of(*row));
        self.len += 1;
    }

    pub(super) fn remove(&mut self, hash: u64, row: u32) {
        let count = self.shards.len();
        let shards = Arc::make_mut(&mut self.shards);
        let shard = Arc::make_mut(&mut shards[shard_of(hash, count)]);
        if let Ok(entry) = shard.find_entry(hash, |other| *other == row) {
            entry.remove();
            self.len -= 1;
        }
    }

    fn grow(&mut self, hash_of: &impl Fn(u32) -> u64) {
        let count = self.shards.len() * 2;
        let mut shards: Vec<HashTable<u32>> = Vec::new();
        shards.resize_with(count, || HashTable::with_capacity(SHARD));
        for row in self.shards.iter().flat_map(|shard| shard.iter().copied()) {
            let hash = hash_of(row);
            shards[shard_of(hash, count)].insert_unique(hash, row, |row| hash_of(*row));
        }
        self.shards = Arc::new(shards.into_iter().map(Arc::new).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(row: u32) -> u64 {
        u64::from(row).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    #[test]
    fn rows_are_found_through_growth_and_removal() {
        let mut index = Index::default();
        for row in 0..10_000 {
            index.insert(hash(row), row, hash);
        }
        let fork = index.clone();
        for row in (0..10_000).step_by(2) {
            index.remove(hash(row), row);
        }
        for row in 0..10_000 {
            assert_eq!(index.find(hash(row), |other| other == row).is_some(), row % 2 == 1);
            assert_eq!(fork.find(hash(row), |other| other == row), Some(row));
        }
        assert_eq!((index.len, fork.len), (5_000, 10_000));
    }
}
