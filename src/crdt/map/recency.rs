//! Which rows were touched last: what makes a delta cost what changed, not what is stored.
//!
//! A log of row numbers in the order in which this replica wrote or merged them. Each row has one valid entry, the newest;
//! it knows where. Entries lie in chunks that carry the newest event of each origin among their rows, and among all rows up
//! to there. A reader goes back from the end, past chunks in which nothing is news to it, until all before is known to it.
//!
//! # Invariants
//! 1. A chunk's `newest` covers each mark of each row whose valid entry lies in it.
//! 2. A chunk's `reach` covers `newest` of its own and of all chunks before it.

use std::sync::Arc;

use crate::causal::dot::{Dot, Marks};
use crate::causal::frontier::Frontier;

/// Entries in a chunk.
const CHUNK: usize = 64;

/// A run of entries.
#[derive(Clone, Debug, Default)]
struct Chunk {
    rows: Vec<u32>,
    newest: Marks,
    reach: Marks,
}

/// The log. `imbl` keeps the closed chunks: they are appended to at one end, read from there, and forked at constant cost.
#[derive(Clone, Debug, Default)]
pub(super) struct Recency {
    closed: im::Vector<Arc<Chunk>>,
    open: Chunk,
}

/// The place of an entry in the log.
pub(super) type Place = u32;

impl Recency {
    /// The number of entries, valid or not.
    pub(super) fn len(&self) -> usize {
        self.closed.len() * CHUNK + self.open.rows.len()
    }

    /// Whether a place lies in the open chunk, so that touching its row again needs no new entry.
    pub(super) fn is_open(&self, place: Place) -> bool {
        place as usize >= self.closed.len() * CHUNK
    }

    /// Raises what the open chunk carries.
    pub(super) fn raise(&mut self, dots: &[Dot]) {
        for dot in dots {
            self.open.newest.raise(*dot);
            self.open.reach.raise(*dot);
        }
    }

    /// Appends an entry of a row that holds `marks`. Returns its place.
    pub(super) fn push(&mut self, row: u32, marks: &Marks) -> Place {
        if self.open.rows.len() == CHUNK {
            let next = Chunk { reach: self.open.reach.clone(), ..Chunk::default() };
            self.closed.push_back(Arc::new(std::mem::replace(&mut self.open, next)));
        }
        self.raise(marks.as_slice());
        let place = self.len() as Place;
        self.open.rows.push(row);
        place
    }

    /// The newest event of each origin among all rows.
    pub(super) fn reach(&self) -> &Marks {
        &self.open.reach
    }

    /// The entries that may be news to who has seen `since`, newest first.
    pub(super) fn entries_beyond(&self, since: &Frontier) -> impl Iterator<Item = (Place, u32)> {
        let closed = self.closed.iter().enumerate().rev();
        let closed = closed.map(|(place, chunk)| (place * CHUNK, &**chunk));
        std::iter::once((self.closed.len() * CHUNK, &self.open))
            .chain(closed)
            .take_while(|(_, chunk)| !chunk.reach.within(since))
            .filter(|(_, chunk)| !chunk.newest.within(since))
            .flat_map(|(start, chunk)| {
                let entries = chunk.rows.iter().enumerate().rev();
                entries.map(move |(offset, row)| ((start + offset) as Place, *row))
            })
    }

    /// The log without its invalid entries. `set_place` tells a row where its entry is now.
    pub(super) fn compact(
        &self,
        is_valid: impl Fn(Place, u32) -> bool,
        mut set_place: impl FnMut(u32, Place),
    ) -> Self {
        let mut compacted = Self::default();
        let mut start = 0;
        for chunk in self.closed.iter().map(|chunk| &**chunk).chain([&self.open]) {
            let places = (start..).map(|place| place as Place);
            for (place, row) in places.zip(chunk.rows.iter().copied()) {
                if is_valid(place, row) {
                    set_place(row, compacted.push(row, &chunk.newest));
                }
            }
            start += chunk.rows.len();
        }
        compacted.open.reach.raise_all(&self.open.reach);
        compacted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::origin::Origin;
    use crate::clock::Timestamp;

    fn marks(origin: usize, time: u64) -> Marks {
        Marks::of(Dot { origin: Origin::from_index(origin), time: Timestamp::from_bits(time) })
    }

    fn seen(entries: &[u64]) -> Frontier {
        entries.iter().map(|time| Timestamp::from_bits(*time)).collect()
    }

    #[test]
    fn who_has_seen_all_is_shown_nothing_and_who_lacks_the_end_only_the_end() {
        let mut log = Recency::default();
        for row in 0..10 * CHUNK {
            log.push(row as u32, &marks(0, row as u64 + 1));
        }
        let all = 10 * CHUNK as u64;
        assert_eq!(log.entries_beyond(&seen(&[all])).count(), 0);
        let rows: Vec<_> = log.entries_beyond(&seen(&[all - 1])).map(|(_, row)| row).collect();
        assert_eq!(rows.len(), CHUNK);
        assert_eq!(rows[0], all as u32 - 1);
        assert_eq!(log.entries_beyond(&seen(&[])).count(), 10 * CHUNK);
    }

    #[test]
    fn chunks_that_are_no_news_are_passed_over() {
        let mut log = Recency::default();
        log.push(0, &marks(1, 5));
        for row in 1..10 * CHUNK {
            log.push(row as u32, &marks(0, row as u64));
        }
        let rows: Vec<_> = log.entries_beyond(&seen(&[10 * CHUNK as u64, 4])).map(|(_, row)| row).collect();
        assert_eq!(rows.len(), CHUNK);
        assert_eq!(rows[CHUNK - 1], 0);
    }

    #[test]
    fn compaction_keeps_order_and_what_was_reached() {
        let mut log = Recency::default();
        for row in 0..200 {
            log.push(row, &marks(0, u64::from(row) + 1));
        }
        let mut places = std::collections::BTreeMap::new();
        let log = log.compact(|_, row| row % 2 == 0, |row, place| drop(places.insert(row, place)));
        assert_eq!(log.len(), 100);
        let entries: Vec<_> = log.entries_beyond(&seen(&[])).collect();
        assert!(entries.iter().all(|(place, row)| places[row] == *place));
        assert!(entries.is_sorted_by(|a, b| a.1 > b.1));
        assert_eq!(log.entries_beyond(&seen(&[200])).count(), 0);
    }
}
