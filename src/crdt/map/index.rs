//! From a key's hash to its row, in shards that are shared until one side writes.
//!
//! Entries lie in buckets of a line of memory: eight times 32 bits of the hash, and the rows. A look-up compares all eight tags
//! of one bucket at once and goes to the one row that it is after. That it is found there is a branch that a processor foretells,
//! so look-ups that follow each other overlap; probing slot by slot, it would have to wait for memory to know where to stop.
//! `docs/adr/0009-layout.md` has the measurements.

use smallvec::{SmallVec, smallvec};
use triomphe::Arc;

use crate::wire::hash::Tag;

/// Rows in a shard, on average, before the number of shards doubles. A shard is what the first insertion after a fork copies.
const SHARD: usize = 384;
/// Entries in a bucket.
const BUCKET: usize = 8;
/// Buckets of a shard that is built without memory beside it.
const BUCKETS: usize = 64;
/// Entries in four buckets, on average, of the halves of a shard that became two.
const ROOMY: usize = 27;
/// Entries in four buckets, on average, at which a shard doubles.
const CROWDED: usize = 29;

/// A hash index of row numbers. It holds no keys: the caller compares.
///
/// Nothing that leaves a replica depends on the order within it.
#[derive(Clone, Debug)]
pub(super) struct Index {
    /// A power of two of them, chosen by the upper bits of a tag.
    shards: Arc<Vec<Shard>>,
    len: usize,
}

/// Buckets, the first choice of an entry among them by the other bits of its tag.
///
/// # Invariant
/// From the first choice of an entry up to where it stands all buckets are full, but for that where it stands. One bucket is not
/// full: there a search ends.
#[derive(Clone, Debug)]
struct Shard {
    buckets: Arc<[Bucket]>,
    len: usize,
}

/// Entries, those taken first.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Bucket {
    tags: [Tag; BUCKET],
    /// Of each entry the row's number and one; zero where none is.
    rows: [u32; BUCKET],
}

/// An entry: its tag, and the row's number and one.
type Entry = (Tag, u32);

/// A bit for each place where `wanted` stands: the second lowest for the first place. From the lowest on, the compiler would not
/// compare all at once.
#[inline]
fn places(all: &[u32; BUCKET], wanted: u32) -> u32 {
    all.iter().enumerate().fold(0, |places, (place, one)| places | u32::from(*one == wanted) << (place + 1))
}

/// The first of some places, or that behind the last if there are none.
#[inline]
fn first(places: u32) -> usize {
    (places | 2 << BUCKET).trailing_zeros() as usize - 1
}

impl Bucket {
    #[inline]
    fn is_full(&self) -> bool {
        self.rows[BUCKET - 1] != 0
    }

    #[inline]
    fn len(&self) -> usize {
        first(places(&self.rows, 0))
    }

    fn entries(&self) -> impl Iterator<Item = Entry> {
        self.tags.iter().copied().zip(self.rows.iter().copied()).take_while(|(_, row)| *row != 0)
    }

    /// Adds an entry. There is room.
    #[inline]
    fn push(&mut self, (tag, row): Entry) {
        let place = self.len();
        (self.tags[place], self.rows[place]) = (tag, row);
    }

    fn take(&mut self, place: usize) -> Entry {
        let last = self.len() - 1;
        self.tags.swap(place, last);
        self.rows.swap(place, last);
        (std::mem::take(&mut self.tags[last]), std::mem::take(&mut self.rows[last]))
    }
}

/// The shard of a tag among a power of two of them, and what is left to choose a bucket by.
#[inline]
fn split(tag: Tag, shards: usize) -> (usize, u32) {
    let product = u64::from(tag) * shards as u64;
    ((product >> 32) as usize, product as u32)
}

/// The first choice of a bucket.
#[inline]
fn home(rest: u32, buckets: usize) -> usize {
    ((u64::from(rest) * buckets as u64) >> 32) as usize
}

/// The bucket after one.
#[inline]
fn next(at: usize, buckets: usize) -> usize {
    if at + 1 == buckets { 0 } else { at + 1 }
}

/// Puts an entry into its first choice, or the next bucket that has room. One has.
#[inline]
fn put(buckets: &mut [Bucket], rest: u32, entry: Entry) {
    let mut at = home(rest, buckets.len());
    while buckets[at].is_full() {
        at = next(at, buckets.len());
    }
    buckets[at].push(entry);
}

impl Shard {
    /// One of a number of shards, with all its entries and so many buckets.
    fn of(entries: impl Iterator<Item = Entry>, buckets: usize, shards: usize) -> Self {
        let mut shard = Self { buckets: std::iter::repeat_n(Bucket::default(), buckets).collect(), len: 0 };
        let buckets = Arc::get_mut(&mut shard.buckets).expect("a new reference is unique");
        // How full each bucket is, at hand: looking for the end of one for each entry took longer than moving it.
        let mut filled: SmallVec<[u8; BUCKETS]> = smallvec![0; buckets.len()];
        for (tag, row) in entries {
            let mut at = home(split(tag, shards).1, buckets.len());
            while filled[at] as usize == BUCKET {
                at = next(at, buckets.len());
            }
            let place = filled[at] as usize;
            (buckets[at].tags[place], buckets[at].rows[place]) = (tag, row);
            filled[at] += 1;
            shard.len += 1;
        }
        shard
    }

    fn entries(&self) -> impl Iterator<Item = Entry> {
        self.buckets.iter().flat_map(Bucket::entries)
    }

    fn buckets_mut(&mut self) -> &mut [Bucket] {
        if !self.buckets.is_unique() {
            self.buckets = Arc::from(&*self.buckets);
        }
        Arc::get_mut(&mut self.buckets).expect("a reference that is not shared is unique")
    }

    #[inline]
    fn insert(&mut self, entry: Entry, rest: u32, shards: usize) {
        if (self.len + 1) * 4 > self.buckets.len() * CROWDED {
            self.grow(shards);
        }
        self.len += 1;
        put(self.buckets_mut(), rest, entry);
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, shards: usize) {
        *self = Self::of(self.entries(), 2 * self.buckets.len(), shards);
    }

    fn remove(&mut self, (tag, row): Entry, shards: usize) -> bool {
        let count = self.buckets.len();
        let mut gap = home(split(tag, shards).1, count);
        let place = loop {
            let bucket = &self.buckets[gap];
            if let Some(place) = bucket.entries().position(|entry| entry == (tag, row)) {
                break place;
            }
            if !bucket.is_full() {
                return false;
            }
            gap = next(gap, count);
        };
        self.len -= 1;
        let buckets = self.buckets_mut();
        let mut was_full = buckets[gap].is_full();
        buckets[gap].take(place);
        // What stands behind moves up, unless its first choice lies behind the gap too: a search ends at the first bucket that
        // is not full.
        let mut at = gap;
        while was_full {
            at = next(at, count);
            was_full = buckets[at].is_full();
            let way = |from: usize| (at + count - from) % count;
            let is_before = |(tag, _): Entry| way(home(split(tag, shards).1, count)) >= way(gap);
            let place = buckets[at].entries().position(is_before);
            if let Some(place) = place {
                let moved = buckets[at].take(place);
                buckets[gap].push(moved);
                gap = at;
            }
        }
        true
    }
}

/// The rows with a tag.
#[derive(Debug)]
pub(super) struct Found<'a> {
    buckets: &'a [Bucket],
    wanted: Tag,
    /// The bucket that is looked at, and the places of the tag there that are still to come.
    at: usize,
    places: u32,
}

impl Iterator for Found<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        loop {
            let bucket = &self.buckets[self.at];
            while self.places != 0 {
                let place = first(self.places) % BUCKET;
                self.places &= self.places - 1;
                // Where no entry is, tag and row are zero.
                if let Some(row) = bucket.rows[place].checked_sub(1) {
                    return Some(row);
                }
            }
            if !bucket.is_full() {
                return None;
            }
            self.at = next(self.at, self.buckets.len());
            self.places = places(&self.buckets[self.at].tags, self.wanted);
        }
    }
}

impl Default for Index {
    fn default() -> Self {
        Self { shards: Arc::new(vec![Shard::of(std::iter::empty(), 1, 1)]), len: 0 }
    }
}

impl Index {
    /// The first of the rows with a tag of which `of` makes something.
    #[inline]
    pub(super) fn find_map<R>(&self, tag: Tag, of: impl Fn(u32) -> Option<R>) -> Option<R> {
        let (shard, rest) = split(tag, self.shards.len());
        let buckets = &*self.shards[shard].buckets;
        let bucket = &buckets[home(rest, buckets.len())];
        let places = places(&bucket.tags, tag);
        // Nearly always it is there that the row is found, and the first one with its tag.
        let row = bucket.rows.get(first(places)).and_then(|row| row.checked_sub(1));
        if let Some(found) = row.and_then(&of) {
            return Some(found);
        }
        if places == 0 && !bucket.is_full() { None } else { self.rows(tag).find_map(of) }
    }

    /// The rows with a tag.
    pub(super) fn rows(&self, tag: Tag) -> Found<'_> {
        let (shard, rest) = split(tag, self.shards.len());
        let buckets = &*self.shards[shard].buckets;
        let at = home(rest, buckets.len());
        Found { buckets, at, wanted: tag, places: places(&buckets[at].tags, tag) }
    }

    /// Adds a row whose key is not in the index.
    pub(super) fn insert(&mut self, tag: Tag, row: u32) {
        if self.len >= SHARD * self.shards.len() {
            self.grow();
        }
        let count = self.shards.len();
        let (shard, rest) = split(tag, count);
        Arc::make_mut(&mut self.shards)[shard].insert((tag, row + 1), rest, count);
        self.len += 1;
    }

    pub(super) fn remove(&mut self, tag: Tag, row: u32) {
        let count = self.shards.len();
        let (shard, _) = split(tag, count);
        if Arc::make_mut(&mut self.shards)[shard].remove((tag, row + 1), count) {
            self.len -= 1;
        }
    }

    /// Doubles the number of shards: each becomes two.
    fn grow(&mut self) {
        let count = self.shards.len() * 2;
        let mut shards = Vec::with_capacity(count);
        let mut halves = [Vec::new(), Vec::new()];
        for shard in self.shards.iter() {
            for (tag, row) in shard.entries() {
                halves[split(tag, count).0 % 2].push((tag, row));
            }
            for half in &mut halves {
                let buckets = half.len() * 4 / ROOMY + 1;
                shards.push(Shard::of(half.drain(..), buckets, count));
            }
        }
        self.shards = Arc::new(shards);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag_of(row: u32) -> Tag {
        (u64::from(row).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as Tag
    }

    #[test]
    fn rows_are_found_through_growth_and_removal() {
        let mut index = Index::default();
        for row in 0..10_000 {
            index.insert(tag_of(row), row);
        }
        let fork = index.clone();
        for row in (0..10_000).step_by(2) {
            index.remove(tag_of(row), row);
        }
        for row in 0..10_000 {
            assert_eq!(index.rows(tag_of(row)).find(|other| *other == row).is_some(), row % 2 == 1);
            assert_eq!(fork.rows(tag_of(row)).find(|other| *other == row), Some(row));
            assert_eq!(
                index.find_map(tag_of(row), |other| (other == row).then_some(other)).is_some(),
                row % 2 == 1
            );
            assert_eq!(fork.find_map(tag_of(row), |other| (other == row).then_some(other)), Some(row));
        }
        assert_eq!((index.len, fork.len), (5_000, 10_000));
    }

    #[test]
    fn a_search_for_what_is_not_there_ends_however_many_rows_a_shard_has() {
        for rows in 0..200 {
            let mut index = Index::default();
            (0..rows).for_each(|row| index.insert(tag_of(row), row));
            assert!(
                index.shards.iter().all(|shard| !shard.buckets.iter().all(Bucket::is_full)),
                "{rows} rows"
            );
            assert_eq!(index.rows(tag_of(rows)).find(|row| *row == rows), None);
            assert_eq!(index.find_map(tag_of(rows), |row| (row == rows).then_some(row)), None);
            index.remove(tag_of(rows), rows);
            assert_eq!(index.len, rows as usize);
        }
    }

    #[test]
    fn a_shard_that_was_left_empty_when_shards_doubled_takes_rows() {
        // All have the upper bit, so that one half is empty at each doubling.
        let upper = |row: u32| tag_of(row) | 1 << (Tag::BITS - 1);
        let mut index = Index::default();
        (0..3 * SHARD as u32).for_each(|row| index.insert(upper(row), row));
        let lower = |row: u32| tag_of(row) & !(1 << (Tag::BITS - 1));
        for row in 3 * SHARD as u32..4 * SHARD as u32 {
            assert_eq!(index.rows(lower(row)).find(|other| *other == row), None);
            index.insert(lower(row), row);
            assert_eq!(index.rows(lower(row)).find(|other| *other == row), Some(row));
        }
    }

    #[test]
    fn rows_with_one_tag_or_neighbouring_ones_are_told_apart_through_removals() {
        // The tags meet in the last buckets and go on in the first ones.
        let tags = |row: u32| match row % 3 {
            0 => Tag::MAX,
            1 => Tag::MAX - 1,
            _ => 0,
        };
        let mut index = Index::default();
        (0..600).for_each(|row| index.insert(tags(row), row));
        for gone in (0..600).rev().step_by(7).chain((0..600).step_by(7)) {
            index.remove(tags(gone), gone);
            index.remove(tags(gone), gone);
        }
        let is_there = |row: u32| !row.is_multiple_of(7) && !(599 - row).is_multiple_of(7);
        for row in 0..600 {
            assert_eq!(index.rows(tags(row)).find(|other| *other == row).is_some(), is_there(row), "{row}");
            let found = index.find_map(tags(row), |other| (other == row).then_some(()));
            assert_eq!(found.is_some(), is_there(row), "{row}");
        }
        assert_eq!(index.len, (0..600).filter(|row| is_there(*row)).count());
    }
}
