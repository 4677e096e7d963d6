//! Which rows were touched last: what makes a delta cost what changed, not what is stored.
//!
//! A log of row numbers in the order in which this replica wrote or merged them. Entries lie in chunks; a row has at most one
//! entry in a chunk, and one valid entry, the newest: a row keeps the number of the chunk that it is in. Chunks carry the
//! newest event of each origin among their rows; every so many chunks one carries the newest among all rows up to there. A
//! reader goes back from the end, past chunks in which nothing is news to it, until all before is known to it.
//!
//! # Invariants
//! 1. A chunk's `newest` covers each mark of each row whose valid entry lies in it.
//! 2. A chunk's `reach`, if it has one, covers `newest` of its own and of all chunks before it.

use triomphe::Arc;

use crate::causal::dot::{Dot, Marks};
use crate::causal::frontier::Frontier;
use crate::crdt::map::standing;

/// Entries in a chunk.
const CHUNK: usize = 64;
/// One closed chunk in so many has a reach, which takes room for every author there ever was.
const REACHES: usize = 16;
/// Invalid entries are dropped once there are more than this many entries a row.
const ENTRIES_PER_ROW: usize = 4;
/// A log that is shorter than this is left alone.
const SHORT: usize = 4 * CHUNK;
/// Chunks are numbered anew before there is one of this number.
const LAST: Place = standing::PLACE;

/// The place of an entry: the number of the chunk that it was made in, from 1. A row keeps that of its valid entry. Dropping
/// invalid entries changes no place, so that it touches no row.
pub(super) type Place = u32;

/// A run of entries.
#[derive(Clone, Debug)]
struct Chunk {
    number: Place,
    len: u32,
    /// The rows, `len` of them.
    rows: [u32; CHUNK],
    /// The places of the rows, if the chunk was put together from others; else all have its number.
    places: Option<Box<[Place; CHUNK]>>,
    newest: Marks,
    /// Boxed, as few chunks have one.
    reach: Option<Box<Marks>>,
}

impl Chunk {
    fn open(number: Place) -> Self {
        Self { number, len: 0, rows: [0; CHUNK], places: None, newest: Marks::default(), reach: None }
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.len as usize == CHUNK
    }

    fn rows(&self) -> &[u32] {
        &self.rows[..self.len as usize]
    }

    fn entries(&self) -> impl DoubleEndedIterator<Item = (Place, u32)> {
        let place = |at: usize| self.places.as_ref().map_or(self.number, |places| places[at]);
        self.rows().iter().enumerate().map(move |(at, row)| (place(at), *row))
    }

    /// Adds an entry. There is room.
    #[inline]
    fn push(&mut self, row: u32) {
        self.rows[self.len as usize] = row;
        self.len += 1;
    }

    /// Adds an entry that was made in another chunk.
    fn push_from(&mut self, place: Place, row: u32) {
        self.places.get_or_insert_with(|| Box::new([0; CHUNK]))[self.len as usize] = place;
        self.push(row);
    }

    fn take_out(&mut self, row: u32) {
        if let Some(at) = self.rows().iter().position(|other| *other == row) {
            self.rows.copy_within(at + 1..self.len as usize, at);
            self.len -= 1;
        }
    }
}

/// The log. `imbl` keeps the closed chunks: they are appended to at one end, read from there, and forked at constant cost.
#[derive(Clone, Debug)]
pub(super) struct Recency {
    closed: im::Vector<Arc<Chunk>>,
    open: Chunk,
    /// The newest event of each origin among all rows of closed chunks.
    reach: Marks,
    /// Whether `newest` of the open chunk is known to cover `reach`: then it covers the marks of all rows that were in the log
    /// before, and they need not be gathered.
    is_ahead: bool,
}

impl Default for Recency {
    fn default() -> Self {
        Self { closed: im::Vector::new(), open: Chunk::open(1), reach: Marks::default(), is_ahead: false }
    }
}

impl Recency {
    /// The number of entries, valid or not, at most.
    fn len(&self) -> usize {
        self.closed.len() * CHUNK + self.open.len as usize
    }

    /// Takes note that a row was touched by the events `fresh`. `place` is where its entry was, zero for none. `gather` collects
    /// all marks of the row. Returns where the entry is now, and whether it is the first of a chunk: then is the time to ask
    /// whether the log [is long](Self::is_long).
    #[inline]
    pub(super) fn touch(
        &mut self,
        row: u32,
        place: Place,
        fresh: &[Dot],
        gather: impl FnOnce(&mut Marks),
    ) -> (Place, bool) {
        let mut is_first = false;
        if place != self.open.number {
            if self.open.is_full() {
                self.close();
                is_first = true;
            }
            // A row that was not in the log before may have marks beyond its reach.
            if place == 0 || !self.is_ahead {
                gather(&mut self.open.newest);
            }
            self.open.push(row);
            self.open.newest.raise_dots(fresh);
            self.is_ahead = self.is_ahead || self.reach.within_marks(&self.open.newest);
        } else {
            self.open.newest.raise_dots(fresh);
        }
        (self.open.number, is_first)
    }

    /// Takes out the entry of a row that is no more: its number may be given to another row while the chunk is still open.
    pub(super) fn take_out(&mut self, row: u32, place: Place) {
        if place == self.open.number {
            self.open.take_out(row);
        }
    }

    fn close(&mut self) {
        self.reach.raise_all(&self.open.newest);
        self.is_ahead = false;
        let next = self.open.number + 1;
        let mut closed = std::mem::replace(&mut self.open, Chunk::open(next));
        closed.reach = self.closed.len().is_multiple_of(REACHES).then(|| Box::new(self.reach.clone()));
        self.closed.push_back(Arc::new(closed));
    }

    /// Raises `marks` to the newest event of each origin among all rows.
    pub(super) fn raise_marks(&self, marks: &mut Marks) {
        marks.raise_all(&self.reach);
        marks.raise_all(&self.open.newest);
    }

    /// All entries, oldest first.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Place, u32)> {
        self.closed.iter().map(|chunk| &**chunk).chain([&self.open]).flat_map(Chunk::entries)
    }

    /// The entries of chunks that may hold news to who has seen `since`, newest first. Marks beyond `ceiling`, what this
    /// replica has seen, are of transactions that were undone: they are news to nobody.
    pub(super) fn entries_beyond(
        &self,
        since: &Frontier,
        ceiling: &Frontier,
    ) -> impl Iterator<Item = (Place, u32)> {
        let is_known = |marks: &Marks| {
            marks.iter().all(|mark| since.time(mark.origin) >= mark.time.min(ceiling.time(mark.origin)))
        };
        let closed = (!is_known(&self.reach)).then(|| self.closed.iter().rev().map(|chunk| &**chunk));
        let closed = closed.into_iter().flatten();
        std::iter::once(&self.open)
            .chain(closed.take_while(move |chunk| !chunk.reach.as_deref().is_some_and(is_known)))
            .filter(move |chunk| !is_known(&chunk.newest))
            .flat_map(|chunk| chunk.entries().rev())
    }

    /// Whether it is time to [compact](Self::compact): there are many more entries than rows, or the numbers come to an end.
    #[inline]
    pub(super) fn is_long(&self, rows: usize) -> bool {
        self.len() > SHORT + ENTRIES_PER_ROW * rows || self.is_worn()
    }

    /// Whether there are hardly any numbers left for chunks.
    #[inline]
    pub(super) fn is_worn(&self) -> bool {
        self.open.number >= LAST - 1
    }

    /// Drops the entries that are not valid.
    pub(super) fn compact(&mut self, is_valid: impl Fn(Place, u32) -> bool) {
        let next = self.open.number + 1;
        let before = std::mem::take(self);
        for chunk in before.closed.iter().map(|chunk| &**chunk).chain([&before.open]) {
            let mut is_covered = false;
            for (place, row) in chunk.entries().filter(|(place, row)| is_valid(*place, *row)) {
                if self.open.is_full() {
                    self.close();
                    is_covered = false;
                }
                if !is_covered {
                    self.open.newest.raise_all(&chunk.newest);
                    is_covered = true;
                }
                self.open.push_from(place, row);
            }
        }
        self.close();
        self.open.number = next;
    }

    /// Gives all chunks numbers from 1 on; each valid entry has the number of its chunk then. `place` takes note of where the
    /// entry of a row is. For a log that has been compacted.
    pub(super) fn renumber(&mut self, mut place: impl FnMut(u32, Place)) {
        for (chunk, number) in self.closed.iter_mut().zip(1..) {
            let chunk = Arc::make_mut(chunk);
            chunk.number = number;
            chunk.places = None;
            chunk.rows().iter().for_each(|row| place(*row, number));
        }
        self.open.number = self.closed.len() as Place + 1;
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

    /// A log, and where the entries of its rows are.
    #[derive(Default)]
    struct Log {
        log: Recency,
        places: Vec<Place>,
    }

    impl Log {
        fn touch(&mut self, row: usize, dot: Dot, older: &[Dot]) {
            self.places.resize(self.places.len().max(row + 1), 0);
            let gather = |marks: &mut Marks| marks.raise_dots(older);
            (self.places[row], _) = self.log.touch(row as u32, self.places[row], &[dot], gather);
            if self.log.is_long(self.places.len()) && !self.log.is_worn() {
                self.compact();
            }
        }

        /// Compacting drops the entries that are not valid, and no other.
        fn compact(&mut self) {
            let places = &self.places;
            let is_valid = |place: Place, row: u32| places[row as usize] == place;
            let mut valid: Vec<_> = self.log.entries().collect();
            valid.retain(|(place, row)| is_valid(*place, *row));
            self.log.compact(is_valid);
            assert_eq!(self.log.entries().collect::<Vec<_>>(), valid);
            assert!(self.log.closed.iter().all(|chunk| chunk.rows().len() <= CHUNK));
        }

        /// The rows that are found for who has seen `since`, newest first.
        fn rows(&self, since: &[u64]) -> Vec<usize> {
            let since = seen(since);
            let ceiling = seen(&[u64::MAX, u64::MAX]);
            let entries = self.log.entries_beyond(&since, &ceiling);
            let valid = entries.filter(|(place, row)| self.places[*row as usize] == *place);
            valid.map(|(_, row)| row as usize).collect()
        }
    }

    /// Each row was written once, by origin 0, at the time of its number and one.
    fn written(rows: usize) -> Log {
        let mut log = Log::default();
        for row in 0..rows {
            log.touch(row, dot(0, row as u64 + 1), &[]);
        }
        log
    }

    #[test]
    fn who_has_seen_all_is_shown_nothing_and_who_lacks_the_end_only_the_end() {
        let count = 10 * CHUNK;
        let log = written(count);
        assert_eq!(log.rows(&[count as u64]), []);
        let end = log.rows(&[count as u64 - 1]);
        assert_eq!((end.len(), end[0]), (CHUNK, count - 1));
        assert_eq!(log.rows(&[]).len(), count);
    }

    #[test]
    fn chunks_that_are_no_news_are_passed_over() {
        let count = 10 * CHUNK;
        let mut log = Log::default();
        log.touch(0, dot(1, 5), &[]);
        (1..count).for_each(|row| log.touch(row, dot(0, row as u64), &[]));
        let old = log.rows(&[count as u64, 4]);
        assert_eq!((old.len(), old[CHUNK - 1]), (CHUNK, 0));
    }

    #[test]
    fn a_row_that_moves_to_the_end_takes_its_older_marks_along() {
        let count = 10 * CHUNK;
        let mut log = Log::default();
        log.touch(0, dot(1, 5), &[]);
        (1..count).for_each(|row| log.touch(row, dot(0, row as u64), &[]));
        log.touch(0, dot(0, 9_000), &[dot(1, 5)]);
        assert!(log.rows(&[9_000, 4]).contains(&0), "who lacks the older mark must find the row");
    }

    #[test]
    fn hot_rows_do_not_make_the_log_grow_and_all_keep_their_order() {
        let mut log = Log::default();
        let count = 500;
        for time in 0..100_000_usize {
            log.touch(time * 7 % count, dot(0, time as u64 + 1), &[]);
        }
        let entries = log.log.entries().count();
        assert!(entries <= SHORT + ENTRIES_PER_ROW * count + CHUNK, "{entries} entries");
        let newest_first: Vec<usize> = (0..count).map(|age| (99_999 - age) * 7 % count).collect();
        assert_eq!(log.rows(&[]), newest_first);
        assert_eq!(log.rows(&[100_000]), []);
        let end = log.rows(&[100_000 - 3]);
        assert_eq!(end[..3], newest_first[..3]);
        assert!(end.len() <= 2 * CHUNK);
    }

    #[test]
    fn a_row_that_was_taken_out_has_no_entry_in_the_open_chunk() {
        let count = CHUNK as u32 + 5;
        let mut log = written(CHUNK + 5);
        for gone in [CHUNK + 1, CHUNK + 3, 0] {
            log.log.take_out(gone as u32, log.places[gone]);
        }
        let rows: Vec<u32> = log.log.entries().map(|(_, row)| row).collect();
        let left: Vec<u32> = (0..count).filter(|row| ![count - 4, count - 2].contains(row)).collect();
        assert_eq!(rows, left);
    }

    #[test]
    fn chunks_are_numbered_anew_before_the_numbers_end() {
        let count = 3 * CHUNK;
        let mut log = written(count);
        assert!(!log.log.is_long(count));
        log.log.close();
        log.log.open.number = LAST - 1;
        for row in [5, CHUNK + 5] {
            log.touch(row, dot(0, (count + row) as u64), &[]);
        }
        assert!(log.log.is_long(count) && log.log.is_worn());
        let before = log.rows(&[]);
        log.compact();
        let places = &mut log.places;
        log.log.renumber(|row, place| places[row as usize] = place);
        assert_eq!(log.rows(&[]), before);
        assert!(!log.log.is_long(count) && log.places.iter().all(|place| *place < 6));
        log.touch(7, dot(0, 10_000), &[]);
        assert_eq!(log.rows(&[])[..3], [7, CHUNK + 5, 5]);
    }
}
