//! The rows of a map: a list while they are few, a table once they are many.

use std::borrow::Borrow;
use std::hash::Hash;
use std::slice;

use crate::causal::dot::{Dot, Marks};
use crate::crdt::map::ahead::AHEAD;
use crate::crdt::map::index::Index;
use crate::crdt::map::list::List;
use crate::crdt::map::numbers::Numbers;
use crate::crdt::map::pages::{self, Pages};
use crate::crdt::map::recency::{Place, Recency};
use crate::crdt::map::row::Row;
use crate::crdt::shipping::Since;
use crate::crdt::{Crdt, Key};
use crate::wire::hash::{KeyHasher, Tag, short, tag_of_short};

/// More rows than this become a table.
const FEW: usize = 16;
/// A table of no more rows than this becomes a list.
const FEW_AGAIN: usize = 8;

/// The rows of a map.
///
/// In the state of a replica a list holds at most [`FEW`] rows, so that looking through all of them is constant work. In a
/// delta rows are never looked up, and the list holds any number.
#[derive(Debug)]
pub(super) enum Rows<K, V> {
    Few(List<K, V>),
    Many(Box<Table<K, V>>),
}

/// Rows with an index by key and a log of which were touched last.
///
/// All of it is shared with forks until one side writes.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    rows: Pages<Row<K, V>>,
    index: Index,
    hasher: KeyHasher,
    free: Numbers,
    books: Books,
}

/// What is kept about the rows beside them.
#[derive(Debug, Default)]
struct Books {
    recency: Recency,
    live: usize,
    /// The rows that have something to forget, or to be removed altogether.
    residue: Numbers,
}

impl Books {
    /// Takes note that a row was written or merged; `fresh` are the events that did it. Returns whether it is time to ask
    /// whether the log is long.
    #[inline]
    fn settle<K: Key, V: Crdt>(
        &mut self,
        number: u32,
        row: &mut Row<K, V>,
        fresh: &[Dot],
        has_residue: bool,
    ) -> bool {
        let is_live = row.body.is_live();
        if is_live != row.body.standing().is_live() {
            row.body.standing_mut().set_live(is_live);
            self.live = if is_live { self.live + 1 } else { self.live - 1 };
        }
        if has_residue && !row.body.standing().has_residue() {
            row.body.standing_mut().set_residue(true);
            self.residue.push(number);
        }
        !fresh.is_empty() && self.log(number, row, fresh)
    }

    #[inline]
    fn log<K: Key, V: Crdt>(&mut self, number: u32, row: &mut Row<K, V>, fresh: &[Dot]) -> bool {
        let before = row.body.standing().place();
        let (place, is_first) = self.recency.touch(number, before, fresh, |marks| row.raise_marks(marks));
        row.body.standing_mut().set_place(place);
        is_first
    }
}

impl<K: Key, V: Crdt> Table<K, V> {
    fn new(seed: u64) -> Self {
        Self {
            rows: Pages::default(),
            index: Index::default(),
            hasher: KeyHasher::new(seed),
            free: Numbers::default(),
            books: Books::default(),
        }
    }

    fn len(&self) -> usize {
        self.rows.end() - self.free.len()
    }

    fn row(&self, number: u32) -> Option<&Row<K, V>> {
        self.rows.get(number as usize)
    }

    #[inline]
    fn find<Q>(&self, key: &Q, tag: Tag) -> Option<(u32, &Row<K, V>)>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let is_it = |number| self.row(number).filter(|row| row.key.borrow() == key).map(|row| (number, row));
        self.index.find_map(tag, is_it)
    }

    fn remove(&mut self, number: u32) -> Option<Row<K, V>> {
        let row = self.rows.take(number as usize)?;
        self.index.remove(self.hasher.tag(&row.key), number);
        self.free.push(number);
        self.books.recency.take_out(number, row.body.standing().place());
        if row.body.standing().is_live() {
            self.books.live -= 1;
        }
        Some(row)
    }

    /// The rows, those touched last at the end.
    fn into_list(mut self) -> Vec<Row<K, V>> {
        let entries = self.books.recency.entries();
        let is_valid = |(place, number): &(Place, u32)| self.is_valid(*place, *number);
        let numbers: Vec<u32> = entries.filter(is_valid).map(|(_, number)| number).collect();
        let rows = numbers.into_iter().filter_map(|number| self.rows.take(number as usize));
        // Where the rows stood in this log says nothing of another.
        let moved = |mut row: Row<K, V>| {
            row.body.standing_mut().set_place(0);
            row
        };
        rows.map(moved).collect()
    }

    /// Whether an entry of the log is the newest of its row.
    fn is_valid(&self, place: Place, number: u32) -> bool {
        self.row(number).is_some_and(|row| row.body.standing().place() == place)
    }

    /// Drops invalid entries of the log once they are many.
    fn compact_log(&mut self) {
        if self.books.recency.is_long(self.len()) {
            let mut recency = std::mem::take(&mut self.books.recency);
            let is_worn = recency.is_worn();
            recency.compact(|place, number| self.is_valid(place, number));
            if is_worn {
                recency.renumber(|number, place| {
                    if let Some(row) = self.rows.get_mut(number as usize) {
                        row.body.standing_mut().set_place(place);
                    }
                });
            }
            self.books.recency = recency;
        }
    }

    fn of(list: Vec<Row<K, V>>, seed: u64) -> Self {
        let mut table = Self::new(seed);
        for mut row in list {
            let has_residue = std::mem::take(row.body.standing_mut()).has_residue();
            let tag = table.hasher.tag(&row.key);
            table.add_marked(row, tag, has_residue);
        }
        table
    }

    /// Adds a row whose key is not in the table, and takes note of all that it holds.
    fn add_marked(&mut self, mut row: Row<K, V>, tag: Tag, has_residue: bool) -> u32 {
        let free = self.free.last();
        let number = free.unwrap_or(self.rows.end() as u32);
        assert!(number < u32::MAX, "fewer than 2^32 rows fit into memory");
        // Nothing is noted of the row before there is a place for it: copying a shared page may panic.
        let place = self.rows.place(number as usize);
        // A row without marks (all it holds are a counter's records) has its entry too: the log lists all rows.
        let is_first = self.books.log(number, &mut row, &[]);
        self.books.settle(number, &mut row, &[], has_residue);
        *place = Some(row);
        if free.is_some() {
            self.free.pop();
        }
        self.index.insert(tag, number);
        if is_first {
            self.compact_log();
        }
        number
    }
}

/// The rows, live or not.
#[derive(Debug)]
pub(super) enum Iter<'a, K, V> {
    Few(slice::Iter<'a, Row<K, V>>),
    Many(pages::Iter<'a, Row<K, V>>),
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = &'a Row<K, V>;

    fn next(&mut self) -> Option<&'a Row<K, V>> {
        match self {
            Self::Few(rows) => rows.next(),
            Self::Many(rows) => rows.next(),
        }
    }
}

impl<K, V> Default for Rows<K, V> {
    fn default() -> Self {
        Self::Few(List::default())
    }
}

impl<K: Key, V: Crdt> Rows<K, V> {
    /// The number of rows, live or not.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(list) => list.len(),
            Self::Many(table) => table.len(),
        }
    }

    /// The number of rows that are live.
    pub(super) fn live(&self) -> usize {
        match self {
            Self::Few(list) => list.iter().filter(|row| row.body.standing().is_live()).count(),
            Self::Many(table) => table.books.live,
        }
    }

    pub(super) fn iter(&self) -> Iter<'_, K, V> {
        match self {
            Self::Few(list) => Iter::Few(list.iter()),
            Self::Many(table) => Iter::Many(table.rows.iter()),
        }
    }

    pub(super) fn into_list(self) -> Vec<Row<K, V>> {
        match self {
            Self::Few(list) => list.into_vec(),
            Self::Many(table) => table.into_list(),
        }
    }

    /// What the index finds a key by; a list has none, and needs none.
    #[inline]
    pub(super) fn tag<Q: Hash + ?Sized>(&self, key: &Q) -> Option<Tag> {
        match self {
            Self::Few(_) => None,
            Self::Many(table) => Some(table.hasher.tag(key)),
        }
    }

    #[inline]
    pub(super) fn find<Q>(&self, key: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.find_tagged(key, self.tag(key))
    }

    /// As [`find`](Self::find), with the key's [`tag`](Self::tag).
    #[inline]
    pub(super) fn find_tagged<Q>(&self, key: &Q, tag: Option<Tag>) -> Option<u32>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        match self {
            Self::Few(list) => list.iter().position(|row| row.key.borrow() == key).map(|place| place as u32),
            Self::Many(table) => {
                let tag = tag.unwrap_or_else(|| table.hasher.tag(key));
                table.find(key, tag).map(|(number, _)| number)
            }
        }
    }

    /// The row of a key.
    #[inline]
    pub(super) fn get<Q>(&self, key: &Q) -> Option<&Row<K, V>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        match self {
            Self::Few(list) => list.iter().find(|row| row.key.borrow() == key),
            Self::Many(table) => table.find(key, table.hasher.tag(key)).map(|(_, row)| row),
        }
    }

    /// Whether the row of a number is of a key.
    #[inline]
    pub(super) fn is_at(&self, number: u32, key: &K) -> bool {
        self.row(number).is_some_and(|row| row.key == *key)
    }

    /// For each of some short forms, the number of the one row whose key has it. `None` if one has none, or more than one.
    pub(super) fn find_short(&self, forms: &[u64], hasher: &KeyHasher) -> Option<Vec<u32>> {
        let has_it =
            |number: u32, form| self.row(number).is_some_and(|row| short(hasher.hash(&row.key)) == form);
        let only = |found: &mut dyn Iterator<Item = u32>, form| {
            let mut found = found.filter(|number| has_it(*number, form));
            found.next().filter(|_| found.next().is_none())
        };
        let table = match self {
            Self::Few(list) => {
                return forms.iter().map(|form| only(&mut (0..list.len() as u32), *form)).collect();
            }
            Self::Many(table) => table,
        };
        // First all places in the index, then some rows at a time: so memory comes from many places at once.
        let candidates = forms.iter().map(|form| {
            let mut rows = table.index.rows(tag_of_short(*form));
            (rows.next(), rows.next().is_some())
        });
        let candidates: Vec<(Option<u32>, bool)> = candidates.collect();
        let mut found = Vec::with_capacity(forms.len());
        for (candidates, forms) in candidates.chunks(AHEAD).zip(forms.chunks(AHEAD)) {
            candidates.iter().filter_map(|(first, _)| table.row((*first)?)).for_each(Row::fetch);
            for ((first, has_others), form) in candidates.iter().zip(forms) {
                found.push(match has_others {
                    false => first.filter(|number| has_it(*number, *form)),
                    true => only(&mut table.index.rows(tag_of_short(*form)), *form),
                }?);
            }
        }
        Some(found)
    }

    pub(super) fn row(&self, number: u32) -> Option<&Row<K, V>> {
        match self {
            Self::Few(list) => list.get(number as usize),
            Self::Many(table) => table.row(number),
        }
    }

    /// Writes a row with `write`, which returns the events that it added and whether they left residue, and takes note.
    pub(super) fn write<'a, R>(
        &mut self,
        number: u32,
        write: impl FnOnce(&mut Row<K, V>) -> (R, &'a [Dot], bool),
    ) -> Option<R> {
        match self {
            Self::Few(list) => {
                let row = list.make_mut().get_mut(number as usize)?;
                let (result, _, has_residue) = write(row);
                let is_live = row.body.is_live();
                let standing = row.body.standing_mut();
                standing.set_residue(standing.has_residue() || has_residue);
                standing.set_live(is_live);
                Some(result)
            }
            Self::Many(table) => {
                let row = table.rows.get_mut(number as usize)?;
                let (result, fresh, has_residue) = write(row);
                if table.books.settle(number, row, fresh, has_residue) {
                    table.compact_log();
                }
                Some(result)
            }
        }
    }

    /// Does `visit` to each row and takes note of what it left; for what changes rows without adding events.
    pub(super) fn sweep(&mut self, mut visit: impl FnMut(u32, &mut Row<K, V>)) {
        for number in 0..self.len_with_gaps() as u32 {
            self.write(number, |row| {
                visit(number, row);
                ((), &[], true)
            });
        }
    }

    /// The numbers of rows go up to this.
    pub(super) fn len_with_gaps(&self) -> usize {
        match self {
            Self::Few(list) => list.len(),
            Self::Many(table) => table.rows.end(),
        }
    }

    /// Adds a row whose key, of this [`tag`](Self::tag), is not among them. All that it holds is news.
    pub(super) fn add(&mut self, mut row: Row<K, V>, tag: Option<Tag>, has_residue: bool, seed: u64) -> u32 {
        if let Self::Few(list) = self {
            if list.len() < FEW {
                row.body.standing_mut().set_residue(has_residue);
                let is_live = row.body.is_live();
                row.body.standing_mut().set_live(is_live);
                list.make_mut().push(row);
                return list.len() as u32 - 1;
            }
            // Shared rows are copied while they still stand where they are: an application's `Clone` may panic.
            let rows = std::mem::take(list.make_mut());
            *self = Self::Many(Box::new(Table::of(rows, seed)));
        }
        match self {
            Self::Many(table) => {
                let tag = tag.unwrap_or_else(|| table.hasher.tag(&row.key));
                table.add_marked(row, tag, has_residue)
            }
            Self::Few(_) => unreachable!("a full list has just become a table"),
        }
    }

    /// Takes a row out, whatever it holds. Only the last one added may be taken out of a list: others keep their numbers.
    pub(super) fn take_out(&mut self, number: u32) {
        match self {
            Self::Few(list) => list.make_mut().truncate(number as usize),
            Self::Many(table) => {
                let Some(row) = table.remove(number) else {
                    return;
                };
                if row.body.standing().has_residue() {
                    table.books.residue.remove(number);
                }
            }
        }
    }

    /// A row, to be restored as it was; whether it is live is looked up again.
    pub(super) fn restore(&mut self, number: u32, restore: impl FnOnce(&mut Row<K, V>)) {
        self.write(number, |row| {
            restore(row);
            ((), &[], false)
        });
    }

    /// Another copy, at constant cost.
    pub(super) fn fork(&self) -> Self {
        match self {
            Self::Few(list) => Self::Few(list.clone()),
            Self::Many(table) => Self::Many(Box::new(Table {
                rows: table.rows.clone(),
                index: table.index.clone(),
                hasher: table.hasher.clone(),
                free: table.free.clone(),
                books: Books {
                    recency: table.books.recency.clone(),
                    live: table.books.live,
                    residue: table.books.residue.clone(),
                },
            })),
        }
    }

    /// Raises `marks` to what the rows hold, or held until lately.
    pub(super) fn raise_marks(&self, marks: &mut Marks) {
        match self {
            Self::Few(list) => list.iter().for_each(|row| row.raise_marks(marks)),
            Self::Many(table) => table.books.recency.raise_marks(marks),
        }
    }

    /// The rows that may hold something beyond `since`, those touched last at the end, and how many entries were looked at.
    pub(super) fn beyond(&self, since: &Since) -> (Vec<&Row<K, V>>, usize) {
        match self {
            Self::Few(list) => (list.iter().collect(), list.len()),
            Self::Many(table) => {
                let mut visited = 0;
                let entries = table
                    .books
                    .recency
                    .entries_beyond(&since.frontier, &since.ceiling)
                    .inspect(|_| visited += 1);
                let rows = entries.filter_map(|(place, number)| {
                    table.row(number).filter(|row| row.body.standing().place() == place)
                });
                let mut rows: Vec<_> = rows.collect();
                rows.reverse();
                (rows, visited)
            }
        }
    }

    /// Prunes each row that has something to forget with `prune`, which returns whether there is more to forget later.
    /// Removes the rows of which nothing is left. Returns whether there is more to forget, and the number of rows removed.
    pub(super) fn prune(&mut self, mut prune: impl FnMut(&mut Row<K, V>) -> bool) -> (bool, usize) {
        let before = self.len();
        match self {
            Self::Few(list) => {
                if list.iter().any(|row| row.body.standing().has_residue() || row.is_bottom()) {
                    list.make_mut().retain_mut(|row| {
                        let has_residue = prune(row);
                        row.body.standing_mut().set_residue(has_residue);
                        !row.is_bottom()
                    });
                }
            }
            Self::Many(table) => {
                for number in std::mem::take(&mut table.books.residue).iter() {
                    let Some(row) = table.rows.get_mut(number as usize) else {
                        continue;
                    };
                    let has_residue = prune(row);
                    row.body.standing_mut().set_residue(has_residue);
                    if row.is_bottom() {
                        table.remove(number);
                    } else if row.body.standing().has_residue() {
                        table.books.residue.push(number);
                    }
                }
                self.shrink();
            }
        }
        let has_residue = match self {
            Self::Few(list) => list.iter().any(|row| row.body.standing().has_residue()),
            Self::Many(table) => !table.books.residue.is_empty(),
        };
        (has_residue, before - self.len())
    }

    /// Gives back memory once most of the rows are gone.
    fn shrink(&mut self) {
        let Self::Many(table) = self else {
            return;
        };
        let len = table.len();
        if len > FEW_AGAIN && len * 4 > table.rows.end() {
            return;
        }
        let seed = table.hasher.seed();
        let Self::Many(table) = std::mem::take(self) else {
            return;
        };
        let list = table.into_list();
        *self = if list.len() <= FEW_AGAIN {
            Self::Few(list.into())
        } else {
            Self::Many(Box::new(Table::of(list, seed)))
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::origin::Origin;
    use crate::clock::Timestamp;
    use crate::crdt::flag::Flag;

    type Flags = Rows<usize, Flag>;

    /// A row that is kept for its floor alone.
    fn row(key: usize) -> Row<usize, Flag> {
        let dot = Dot { origin: Origin::from_index(0), time: Timestamp::from_bits(key as u64 + 1) };
        Row::new(key, Flag::default(), Some(Box::new(Marks::of(dot))))
    }

    fn rows(count: usize) -> Flags {
        let mut rows = Flags::default();
        for key in 0..count {
            assert_eq!(rows.add(row(key), None, true, 7), key as u32);
        }
        rows
    }

    /// Forgets all but the first `count` rows.
    fn forget_all_but(rows: &mut Flags, count: usize) {
        let before = rows.len();
        let (has_residue, removed) = rows.prune(|row| {
            if row.key >= count {
                row.body.take_floor();
            }
            row.body.floor().is_some()
        });
        assert_eq!((has_residue, removed, rows.len()), (count > 0, before - count, count));
        let mut keys: Vec<_> = rows.iter().map(|row| row.key).collect();
        keys.sort_unstable();
        assert!(keys.into_iter().eq(0..count));
    }

    #[test]
    fn few_rows_are_a_list_and_one_more_a_table() {
        assert!(matches!(rows(FEW), Rows::Few(_)));
        let mut more = rows(FEW + 1);
        assert!(matches!(more, Rows::Many(_)));
        forget_all_but(&mut more, FEW_AGAIN);
        assert!(matches!(more, Rows::Few(_)));
    }

    #[test]
    fn a_table_gives_room_back_once_a_quarter_of_it_is_left() {
        for (before, left, room, is_list) in [
            (100, 26, 100, false),
            (100, 25, 25, false),
            (20, FEW_AGAIN + 1, 20, false),
            (20, FEW_AGAIN, FEW_AGAIN, true),
            (100, 1, 1, true),
            (100, 0, 0, true),
        ] {
            let mut rows = rows(before);
            forget_all_but(&mut rows, left);
            assert_eq!(
                (rows.len_with_gaps(), matches!(rows, Rows::Few(_))),
                (room, is_list),
                "{left} of {before}"
            );
        }
    }

    #[test]
    fn a_row_is_listed_to_be_forgotten_once_and_only_if_it_has_something_to_forget() {
        let listed = |rows: &Flags| match rows {
            Rows::Few(_) => 0,
            Rows::Many(table) => table.books.residue.len(),
        };
        let mut rows = Flags::default();
        for key in 0..FEW + 3 {
            rows.add(row(key), None, key == 0, 7);
        }
        assert_eq!(listed(&rows), 1);
        for (number, has_residue) in [(0, true), (1, false), (2, true), (2, true)] {
            rows.write(number, |_| ((), &[], has_residue)).unwrap();
        }
        assert_eq!(listed(&rows), 2);
    }
}
