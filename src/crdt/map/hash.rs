//! How keys are hashed.

use std::hash::{Hash, Hasher};

use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;

use crate::crdt::map::index::Tag;

/// Hashes keys with nothing that is the same in all programs: who does not know the seed cannot choose keys that collide.
///
/// foldhash's own `FixedState` would take its constants from the crate for all but one of its seeds: whoever knows them can
/// choose keys that collide under every seed.
#[derive(Clone, Debug)]
pub(super) struct KeyHasher {
    seed: u64,
    shared: SharedSeed,
}

impl KeyHasher {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, shared: SharedSeed::from_u64(seed) }
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// The part of a key's hash that an [`Index`](super::index::Index) keeps: the upper half, which foldhash mixes best.
    #[inline]
    pub(super) fn tag<Q: Hash + ?Sized>(&self, key: &Q) -> Tag {
        (self.hash(key) >> 32) as Tag
    }

    #[inline]
    pub(super) fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        key.hash(&mut hasher);
        hasher.finish()
    }
}
