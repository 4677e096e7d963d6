//! Which rows were touched last: what makes a delta cost what changed, not what is stored.
//!
//! A log of row numbers in the order in which this replica wrote or merged them. Each row has one valid entry, the newest.
//! Entries lie in chunks that carry the newest event of each origin among their rows, and among all rows up to there. A
//! reader goes back from the end, past chunks in which nothing is news to it, until all before is known to it.
//!
//! # Invariants
//! 1. A chunk's `newest` covers each mark of each row whose valid entry lies in it.
//! 2. A chunk's `reach` covers `newest` of its own and of all chunks before it.

use triomphe::Arc;

use crate::causal::dot::{Dot, Marks};
use crate::causal::frontier::Frontier;
use crate::crdt::map::pages::Pages;

/// Entries in a chunk.
const CHUNK: usize = 64;
/// Invalid entries are dropped once there are more than this many entries a row.
const ENTRIES_PER_ROW: usize = 4;
/// A log that is shorter than this is left alone.
const SHORT: usize = 4 * CHUNK;

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
    /// The chunk that is written; its `reach` is that of the chunks before it.
    open: Chunk,
    /// Where the valid entry of each row is.
    places: Pages<u32, 256>,
    /// Memory for gathering a row's marks.
    scratch: Marks,
}

impl Recency {
    /// The number of entries, valid or not.
    fn len(&self) -> usize {
        self.closed.len() * CHUNK + self.open.rows.len()
    }

    /// Takes note that a row was touched: by the events `fresh`, and holds the marks that `gather` collects. `rows` is the
    /// number of rows there are.
    pub(super) fn touch(&mut self, row: u32, fresh: &[Dot], rows: usize, gather: impl FnOnce(&mut Marks)) {
        let place = self.places.get(row as usize);
        if place.is_some_and(|place| *place as usize >= self.closed.len() * CHUNK) {
            self.open.newest.raise_dots(fresh);
            return;
        }
        let mut marks = std::mem::take(&mut self.scratch);
        marks.clear();
        gather(&mut marks);
        marks.raise_dots(fresh);
        self.push(row, &marks);
        self.scratch = marks;
        if self.len() > SHORT + ENTRIES_PER_ROW * rows {
            self.compact();
        }
    }

    /// Forgets a row that was removed.
    pub(super) fn remove(&mut self, row: u32) {
        self.places.take(row as usize);
    }

    /// Raises what all rows are known to reach.
    pub(super) fn raise_reach(&mut self, marks: &Marks) {
        self.open.reach.raise_all(marks);
    }

    fn push(&mut self, row: u32, marks: &Marks) {
        if self.open.rows.len() == CHUNK {
            self.close();
        }
        self.open.newest.raise_all(marks);
        self.places.put(row as usize, self.len() as u32);
        self.open.rows.push(row);
    }

    fn close(&mut self) {
        self.open.reach.raise_all(&self.open.newest);
        let reach = self.open.reach.clone();
        let next = Chunk { rows: Vec::with_capacity(CHUNK), newest: Marks::default(), reach };
        self.closed.push_back(Arc::new(std::mem::replace(&mut self.open, next)));
    }

    /// Raises `marks` to the newest event of each origin among all rows.
    pub(super) fn raise_marks(&self, marks: &mut Marks) {
        marks.raise_all(&self.open.reach);
        marks.raise_all(&self.open.newest);
    }

    /// The entries of chunks that may hold news to who has seen `since`, newest first: a row, if the entry is valid.
    pub(super) fn entries_beyond(&self, since: &Frontier) -> impl Iterator<Item = Option<u32>> {
        let closed = self.closed.iter().enumerate().rev();
        let closed = closed.map(|(place, chunk)| (place * CHUNK, &**chunk));
        std::iter::once((self.closed.len() * CHUNK, &self.open))
            .chain(closed)
            .take_while(|(_, chunk)| !(chunk.reach.within(since) && chunk.newest.within(since)))
            .filter(|(_, chunk)| !chunk.newest.within(since))
            .flat_map(move |(start, chunk)| {
                let entries = chunk.rows.iter().enumerate().rev();
                entries.map(move |(offset, row)| self.is_valid(*row, start + offset).then_some(*row))
            })
    }

    fn is_valid(&self, row: u32, place: usize) -> bool {
        self.places.get(row as usize).is_some_and(|valid| *valid as usize == place)
    }

    /// Drops the invalid entries.
    fn compact(&mut self) {
        let before = std::mem::take(self);
        let mut start = 0;
        for chunk in before.closed.iter().map(|chunk| &**chunk).chain([&before.open]) {
            for (offset, row) in chunk.rows.iter().enumerate() {
                if before.is_valid(*row, start + offset) {
                    self.push(*row, &chunk.newest);
                }
            }
            start += chunk.rows.len();
        }
        self.open.reach.raise_all(&before.open.reach);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::origin::Origin;
    use crate::clock::Timestamp;

    fn dot(origin: usize, time: u64) -> Dot {
        Dot { origin: Origin::from_index(origin), time: Timestamp::from_bits(time) }
    }

    fn seen(entries: &[u64]) -> Frontier {
        entries.iter().map(|time| Timestamp::from_bits(*time)).collect()
    }

    /// A log in which each row was written once, by origin 0, at the time of its number and one.
    fn written(rows: usize) -> Recency {
        let mut log = Recency::default();
        for row in 0..rows {
            log.touch(row as u32, &[dot(0, row as u64 + 1)], rows, |_| {});
        }
        log
    }

    fn rows(log: &Recency, since: &[u64]) -> Vec<u32> {
        log.entries_beyond(&seen(since)).flatten().collect()
    }

    #[test]
    fn who_has_seen_all_is_shown_nothing_and_who_lacks_the_end_only_the_end() {
        let count = 10 * CHUNK;
        let log = written(count);
        assert_eq!(rows(&log, &[count as u64]), []);
        let end = rows(&log, &[count as u64 - 1]);
        assert_eq!((end.len(), end[0]), (CHUNK, count as u32 - 1));
        assert_eq!(rows(&log, &[]).len(), count);
    }

    #[test]
    fn chunks_that_are_no_news_are_passed_over() {
        let count = 10 * CHUNK;
        let mut log = Recency::default();
        log.touch(0, &[dot(1, 5)], count, |_| {});
        for row in 1..count {
            log.touch(row as u32, &[dot(0, row as u64)], count, |_| {});
        }
        let old = rows(&log, &[count as u64, 4]);
        assert_eq!((old.len(), old[CHUNK - 1]), (CHUNK, 0));
    }

    #[test]
    fn a_row_that_moves_to_the_end_takes_its_older_marks_along() {
        let count = 10 * CHUNK;
        let mut log = Recency::default();
        log.touch(0, &[dot(1, 5)], count, |_| {});
        for row in 1..count {
            log.touch(row as u32, &[dot(0, row as u64)], count, |_| {});
        }
        log.touch(0, &[dot(0, 9_000)], count, |marks| marks.raise(dot(1, 5)));
        assert!(rows(&log, &[9_000, 4]).contains(&0), "who lacks the older mark must find the row");
    }

    #[test]
    fn hot_rows_do_not_make_the_log_grow_and_keep_their_order() {
        let mut log = Recency::default();
        let count = 500;
        for time in 0..100_000_u64 {
            let row = (time * 7 % count as u64) as u32;
            log.touch(row, &[dot(0, time + 1)], count, |_| {});
        }
        assert!(log.len() <= SHORT + ENTRIES_PER_ROW * count + CHUNK, "{} entries", log.len());
        let newest_first: Vec<u32> = (0..count as u64).map(|age| ((99_999 - age) * 7 % 500) as u32).collect();
        assert_eq!(rows(&log, &[]), newest_first);
        log.remove(newest_first[0]);
        assert_eq!(rows(&log, &[]), newest_first[1..]);
    }
}
