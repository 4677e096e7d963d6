//! How keys are hashed: to find their rows, and to name them in messages in short form.

use std::hash::{Hash, Hasher};

use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;

/// The bits of a key's short form, the upper ones of its hash: of a million rows hardly two have the same.
pub(crate) const SHORT_BITS: u32 = 40;
/// Its bytes.
pub(crate) const SHORT_BYTES: usize = SHORT_BITS as usize / 8;

/// The part of a key's hash that the index of a map keeps, its upper half: the beginning of the short form.
pub(crate) type Tag = u32;

/// The short form of a key with this hash.
#[inline]
pub(crate) fn short(hash: u64) -> u64 {
    hash >> (u64::BITS - SHORT_BITS)
}

/// The tag of the keys that have this short form.
#[inline]
pub(crate) fn tag_of_short(short: u64) -> Tag {
    (short >> (SHORT_BITS - Tag::BITS)) as Tag
}

/// Hashes keys with nothing that is the same in all programs: who does not know the seed cannot choose keys that collide.
///
/// foldhash's own `FixedState` would take its constants from the crate for all but one of its seeds: whoever knows them can
/// choose keys that collide under every seed.
#[derive(Clone, Debug)]
pub(crate) struct KeyHasher {
    seed: u64,
    shared: SharedSeed,
}

impl KeyHasher {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, shared: SharedSeed::from_u64(seed) }
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// What tells whether another hasher gives keys the same hashes: on another platform, or in another release of a library,
    /// it may not.
    pub(crate) fn probe(&self) -> u64 {
        self.hash(&(0x0123_4567_89AB_CDEF_u64, "driftless", [7_u8; 16], [9_usize; 2].as_slice()))
    }

    /// The part of a key's hash that an index keeps.
    #[inline]
    pub(crate) fn tag<Q: Hash + ?Sized>(&self, key: &Q) -> Tag {
        (self.hash(key) >> Tag::BITS) as Tag
    }

    #[inline]
    pub(crate) fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        key.hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_form_begins_with_the_tag() {
        let hasher = KeyHasher::new(7);
        for key in 0..100_u64 {
            let short = short(hasher.hash(&key));
            assert_eq!(tag_of_short(short), hasher.tag(&key));
            assert!(short < 1 << SHORT_BITS);
        }
        assert_ne!(hasher.probe(), KeyHasher::new(8).probe());
    }
}
