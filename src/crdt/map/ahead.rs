//! Looking up the keys of a merge some rows ahead.
//!
//! Where the rows of a large map lie is known to no cache. Found one after the other, each costs the time to fetch it; found some
//! at once, before any is written, they are fetched beside each other.

use crate::crdt::map::row::Row;
use crate::crdt::map::rows::Rows;
use crate::crdt::{Crdt, Key};
use crate::wire::hash::Tag;

/// Rows that are looked up, or fetched, at once.
pub(super) const AHEAD: usize = 32;

/// Where the next rows to come are held.
#[derive(Default)]
pub(super) struct Ahead {
    found: [(Option<u32>, Option<Tag>); AHEAD],
    next: usize,
    end: usize,
}

impl Ahead {
    /// The number under which the first row of `incoming` is held, if it is, and its key's tag. `None` if there are no more.
    ///
    /// A row that is not held is looked up again, as it may have been added since.
    #[inline]
    pub(super) fn next<K: Key, V: Crdt>(
        &mut self,
        rows: &Rows<K, V>,
        incoming: &[Row<K, V>],
    ) -> Option<(Option<u32>, Option<Tag>)> {
        if self.next == self.end {
            (self.next, self.end) = (0, incoming.len().min(AHEAD));
            for (found, row) in self.found.iter_mut().zip(incoming) {
                let tag = rows.tag(&row.key);
                let hinted = row.body.standing().hint().filter(|number| rows.is_at(*number, &row.key));
                *found = (hinted.or_else(|| rows.find_tagged(&row.key, tag)), tag);
                found.0.and_then(|number| rows.row(number)).inspect(|held| held.fetch());
            }
        }
        let (found, tag) = *self.found.get(self.next).filter(|_| self.next < self.end)?;
        self.next += 1;
        Some((found.or_else(|| rows.find_tagged(&incoming.first()?.key, tag)), tag))
    }
}
