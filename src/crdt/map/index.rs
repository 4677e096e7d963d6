//! From a key's hash to its row, in shards that are shared until one side writes.
//!
//! An entry is eight bytes: 32 bits of the hash, and the row. So a look-up reads one line of memory and goes to the one row that
//! it is after, where an index of row numbers alone compares by looking at rows, and needs a second line for its tags.
//! Collisions are resolved by linear probing. `docs/adr/0009-layout.md` has the measurements.

use triomphe::Arc;

use crate::wire::hash::Tag;

/// Rows in a shard, on average, before the number of shards doubles. A shard is what the first insertion after a fork copies.
const SHARD: usize = 384;
/// Slots of the smallest shard.
const FEWEST: usize = 8;
/// The part of a shard's slots that may be taken, in eighths.
const FULL: usize = 7;

/// A tag above a row's number and one; zero if nothing stands here.
type Slot = u64;

/// A hash index of row numbers. It holds no keys: the caller compares.
///
/// Nothing that leaves a replica depends on the order within it.
#[derive(Clone, Debug)]
pub(super) struct Index {
    /// A power of two of them, chosen by the upper bits of a tag.
    shards: Arc<Vec<Shard>>,
    len: usize,
}

/// Slots, a power of two of them, found by the lower bits of a tag.
#[derive(Clone, Debug)]
struct Shard {
    slots: Arc<[Slot]>,
    len: usize,
}

impl Default for Index {
    fn default() -> Self {
        Self { shards: Arc::new(vec![Shard::with_slots(FEWEST)]), len: 0 }
    }
}

fn slot(tag: Tag, row: u32) -> Slot {
    Slot::from(tag) << 32 | Slot::from(row + 1)
}

fn tag(slot: Slot) -> Tag {
    (slot >> 32) as Tag
}

fn row(slot: Slot) -> u32 {
    slot as u32 - 1
}

/// Puts a slot where its tag wants it, or behind what stands there. There is room.
#[inline]
fn put(slots: &mut [Slot], slot: Slot) {
    let mask = slots.len() - 1;
    let mut place = tag(slot) as usize & mask;
    while slots[place] != 0 {
        place = (place + 1) & mask;
    }
    slots[place] = slot;
}

impl Shard {
    fn with_slots(count: usize) -> Self {
        Self { slots: std::iter::repeat_n(0, count).collect(), len: 0 }
    }

    /// A shard with what is taken out of a list.
    fn of(list: &mut Vec<Slot>) -> Self {
        let len = list.len();
        let mut slots = vec![0; (len * 8).div_ceil(FULL).next_power_of_two().max(FEWEST)];
        list.drain(..).for_each(|slot| put(&mut slots, slot));
        Self { slots: Arc::from(slots), len }
    }

    /// The rows with a tag.
    #[inline]
    fn rows(&self, wanted: Tag) -> impl Iterator<Item = u32> {
        let mask = self.slots.len() - 1;
        let mut place = wanted as usize & mask;
        let slots = std::iter::from_fn(move || {
            let slot = self.slots[place];
            place = (place + 1) & mask;
            (slot != 0).then_some(slot)
        });
        slots.filter(move |slot| tag(*slot) == wanted).map(row)
    }

    fn slots_mut(&mut self) -> &mut [Slot] {
        if !self.slots.is_unique() {
            self.slots = Arc::from(&*self.slots);
        }
        Arc::get_mut(&mut self.slots).expect("a reference that is not shared is unique")
    }

    #[inline]
    fn insert(&mut self, slot: Slot) {
        if self.len * 8 >= self.slots.len() * FULL {
            self.grow();
        }
        self.len += 1;
        put(self.slots_mut(), slot);
    }

    #[cold]
    fn grow(&mut self) {
        let mut slots = vec![0; self.slots.len() * 2];
        self.slots.iter().filter(|slot| **slot != 0).for_each(|slot| put(&mut slots, *slot));
        self.slots = Arc::from(slots);
    }

    fn remove(&mut self, wanted: Slot) -> bool {
        let mask = self.slots.len() - 1;
        let mut gap = tag(wanted) as usize & mask;
        while self.slots[gap] != wanted {
            if self.slots[gap] == 0 {
                return false;
            }
            gap = (gap + 1) & mask;
        }
        self.len -= 1;
        let slots = self.slots_mut();
        // What stands behind moves up, unless it stands where its tag wants it: a search ends at the first empty slot.
        let mut place = gap;
        loop {
            place = (place + 1) & mask;
            let slot = slots[place];
            if slot == 0 {
                break;
            }
            let way = place.wrapping_sub(tag(slot) as usize) & mask;
            if way >= place.wrapping_sub(gap) & mask {
                slots[gap] = slot;
                gap = place;
            }
        }
        slots[gap] = 0;
        true
    }
}

/// The shard of a tag among a power of two of them.
#[inline]
fn shard_of(tag: Tag, shards: usize) -> usize {
    ((u64::from(tag) * shards as u64) >> 32) as usize
}

impl Index {
    #[inline]
    pub(super) fn find(&self, tag: Tag, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.rows(tag).find(|row| is_it(*row))
    }

    /// The rows with a tag.
    #[inline]
    pub(super) fn rows(&self, tag: Tag) -> impl Iterator<Item = u32> {
        self.shards[shard_of(tag, self.shards.len())].rows(tag)
    }

    /// Adds a row whose key is not in the index.
    pub(super) fn insert(&mut self, tag: Tag, row: u32) {
        if self.len >= SHARD * self.shards.len() {
            self.grow();
        }
        let count = self.shards.len();
        Arc::make_mut(&mut self.shards)[shard_of(tag, count)].insert(slot(tag, row));
        self.len += 1;
    }

    pub(super) fn remove(&mut self, tag: Tag, row: u32) {
        let count = self.shards.len();
        if Arc::make_mut(&mut self.shards)[shard_of(tag, count)].remove(slot(tag, row)) {
            self.len -= 1;
        }
    }

    /// Doubles the number of shards: each becomes two.
    fn grow(&mut self) {
        let mut shards = Vec::with_capacity(self.shards.len() * 2);
        let mut halves = [Vec::new(), Vec::new()];
        for shard in self.shards.iter() {
            for slot in shard.slots.iter().copied().filter(|slot| *slot != 0) {
                halves[shard_of(tag(slot), self.shards.len() * 2) % 2].push(slot);
            }
            shards.extend(halves.iter_mut().map(Shard::of));
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
            assert_eq!(index.find(tag_of(row), |other| other == row).is_some(), row % 2 == 1);
            assert_eq!(fork.find(tag_of(row), |other| other == row), Some(row));
        }
        assert_eq!((index.len, fork.len), (5_000, 10_000));
    }

    #[test]
    fn rows_with_one_tag_or_neighbouring_ones_are_told_apart_through_removals() {
        // The tags meet at the end of the slots and go on at their beginning.
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
            assert_eq!(index.find(tags(row), |other| other == row).is_some(), is_there(row), "{row}");
        }
        assert_eq!(index.len, (0..600).filter(|row| is_there(*row)).count());
    }
}
