//! A map from keys to state that merges.

mod ahead;
mod body;
pub(crate) mod entries;
mod index;
mod keys;
mod list;
mod numbers;
mod pages;
mod recency;
mod row;
mod rows;
mod standing;

use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;

use smallvec::SmallVec;

use crate::causal::dot::Marks;
use crate::causal::frontier::Frontier;
use crate::crdt::change::Path;
use crate::crdt::map::ahead::{AHEAD, Ahead};
use crate::crdt::map::body::Body;
use crate::crdt::map::entries::Entries;
use crate::crdt::map::row::Row;
use crate::crdt::map::rows::Rows;
use crate::crdt::map::standing::Standing;
use crate::crdt::merging::Merging;
use crate::crdt::prints::{Prints, Wanted};
use crate::crdt::pruning::Pruning;
use crate::crdt::renaming::{Renamer, Step};
use crate::crdt::repairing::Repairing;
use crate::crdt::schema::Schema;
use crate::crdt::shipping::{Since, Splitter};
use crate::crdt::undo::Before;
use crate::crdt::unreadable::Unreadable;
use crate::crdt::write::{Sinking, Txn, Writer};
use crate::crdt::{Crdt, Key};
use crate::wire::canonical::Canonical;
use crate::wire::decode::Decoder;
use crate::wire::encode::Encoder;
use crate::wire::error::DecodeError;
use crate::wire::events::Events;
use crate::wire::hash::Tag;
use crate::wire::shape::Shape;

/// Keys of types smaller than this are named in full: their short form would be no shorter.
const LARGE_KEY: usize = 16;
/// Keys are named in short form if the pairs of one that is named and one that is held are at most two to the power of this: in
/// one message of 64, at most, two that are held have the same form then, and it is asked for again.
const SHORT_PAIRS: u32 = 34;
/// So many keys are ordered without taking memory.
const FEW_KEYS: usize = 8;
/// So many rows are looked at to find out whether a map shows what has been seen.
const LOOKED_AT: usize = 16;

/// Of the code of a map in a message: its rows are plain.
const PLAIN: u64 = 0;
/// Some have floors, the rest are plain.
const FLOORED: u64 = 1;
/// The keys of all are named in short form.
const SHORT: u64 = 2;
/// The keys of some are, and there are others.
const MIXED: u64 = 3;

/// A map whose values merge, key by key. Its values are registers, sets, counters, structs of them, or maps again.
///
/// | | concurrent with an update of the key | concurrent with a removal of the key |
/// |---|---|---|
/// | update | the values merge | what the removal had not seen survives, the rest is gone, at any depth |
/// | removal | as above | gone |
///
/// A key is there while anything below it is. A removed key needs one tombstone, however much was below it, until every member
/// has seen the removal.
///
/// # Cost
/// A look-up is that of a hash map, and so is an update; a copy for readers is constant, and the first write to a page of 32
/// rows after it copies that page; a delta looks at the rows that changed. Memory beside key and value: about 30 bytes.
///
/// Source: the observed-remove map of Almeida, Shoker, Baquero, *Delta State Replicated Data Types* (2018), section 7, with
/// one tombstone for all below a key.
///
/// # Example
/// ```
/// use driftless::{Config, Crdt, LwwRegister, MergeMap, Replica, ReplicaId};
///
/// #[derive(Crdt)]
/// struct User {
///     name: LwwRegister<String>,
///     email: LwwRegister<String>,
/// }
///
/// let mut eu: Replica<MergeMap<String, User>> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// let mut us: Replica<MergeMap<String, User>> = Replica::new(ReplicaId::from_u128(2), Config::default());
/// eu.write(1_000, |users| {
///     users.update("u1", |user| {
///         user.name().set("Ada");
///         user.email().set("ada@example.org");
///     });
///     users.update("u2", |user| user.name().set("Grace"));
/// })?;
/// us.merge(1_001, eu.delta_since(&us.vector()))?;
///
/// assert!(eu.write(1_002, |users| users.remove("u1"))?.value);
/// us.write(1_002, |users| users.update("u1", |user| user.name().set("Ada L.")))?;     // concurrently
/// eu.merge(1_003, us.delta_since(&eu.vector()))?;
/// let ada = eu.state().get("u1").expect("what was written concurrently survives");
/// assert_eq!(ada.name.latest().map(String::as_str), Some("Ada L."));
/// assert_eq!(ada.email.latest(), None, "what the removal had seen is gone");
///
/// let mut keys: Vec<&String> = eu.state().keys().collect();
/// keys.sort();
/// assert_eq!(keys, ["u1", "u2"]);
/// for (key, user) in eu.state() {
///     println!("{key}: {:?}", user.name.latest());
/// }
/// assert!(eu.state().iter().all(|(key, _)| eu.state().contains_key(key)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MergeMap<K, V> {
    rows: Rows<K, V>,
}

impl<K, V> Default for MergeMap<K, V> {
    fn default() -> Self {
        Self { rows: Rows::default() }
    }
}

impl<K: Key, V: Crdt> Clone for MergeMap<K, V> {
    /// Another copy to read; pages are shared until one side writes.
    fn clone(&self) -> Self {
        self.fork()
    }
}

impl<K: Key + fmt::Debug, V: Crdt + fmt::Debug> fmt::Debug for MergeMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Key, V: Crdt> MergeMap<K, V> {
    /// The value of a key; `None` if nothing is there, or nothing any more.
    #[inline]
    pub fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.rows.get(key)?.body.readable()
    }

    /// Whether anything is there for a key.
    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.get(key).is_some()
    }

    /// The number of keys with a value, at hand.
    pub fn len(&self) -> usize {
        self.rows.live()
    }

    /// Whether no key has a value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys and their values, in no order that means anything: sort what is shown to people.
    pub fn iter(&self) -> Entries<'_, K, V> {
        Entries::new(self.rows.iter(), self.len())
    }

    /// All rows, those of a delta too, in which what is live is not counted.
    pub(crate) fn all_rows(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows.iter().filter_map(|row| Some((&row.key, row.body.value()?)))
    }

    /// The keys, in the order of [`iter`](Self::iter).
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// The number of rows that are kept, those of removed keys included: the memory that forgetting has yet to give back. See
    /// [`Replica::forget`](crate::Replica::forget) for an example.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }
}

/// What undoes a change of the map itself; a change below a key is undone by the type of the value.
enum RowUndo<V> {
    /// The row was added.
    Added(u32),
    /// The row was another.
    Was(u32, Body<V>),
}

impl<K: Key, V: Crdt> Writer<'_, MergeMap<K, V>> {
    /// Writes below a key, through the handle that `write` is given, and returns what it returns. An update that writes
    /// nothing creates nothing.
    ///
    /// Cost: that of an update of a hash map; the key is cloned only if it is new.
    ///
    /// # Example
    /// ```
    /// use driftless::{Config, Counter, MergeMap, Replica, ReplicaId};
    ///
    /// let mut eu: Replica<MergeMap<u32, Counter>> = Replica::new(ReplicaId::from_u128(1), Config::default());
    /// eu.transact(1_000, |stock| stock.update(&17, |kettles| kettles.add(20)))?;
    /// let sold = eu.transact(1_001, |stock| {
    ///     stock.update(&17, |kettles| {
    ///         kettles.add(-1)?;
    ///         Ok::<_, driftless::CounterOverflow>(kettles.value())    // reads what was just written
    ///     })
    /// })?;
    /// assert_eq!(sold.value, 19);
    ///
    /// eu.write(1_002, |stock| stock.update(&99, |_| ()))?;
    /// assert_eq!((eu.state().len(), eu.state().rows()), (1, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn update<Q, R>(&mut self, key: &Q, write: impl FnOnce(&mut V::Mut<'_>) -> R) -> R
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        let Self { value: map, txn, path } = self;
        let tag = map.rows.tag(key);
        let found = map.rows.find_tagged(key, tag);
        let outer = txn.enter();
        let dot = [txn.dot];
        let write = |row: &mut Row<K, V>, number: Option<u32>, txn: &mut Txn| {
            let path = match number {
                Some(number) => Path::key(path, number, &row.key),
                None => Path::new_key(path, &row.key),
            };
            let mut handle = V::handle(Writer { value: row.body.value_mut(), txn, path });
            write(&mut handle)
        };
        let Some(number) = found else {
            // It is written before it stands in the map: an update that writes nothing, or panics, leaves nothing there.
            let mut row = Row::bottom(key.to_owned());
            let result = write(&mut row, None, txn);
            let (is_written, residue) = txn.leave(outer);
            if is_written {
                // Copying shared rows may panic. Who catches that must not commit without what was written.
                txn.entered += 1;
                let number = map.rows.add(row, tag, residue, txn.seed);
                txn.entered -= 1;
                txn.undoable(path, RowUndo::<V>::Added(number));
            }
            return result;
        };
        let result = map.rows.write(number, |row| {
            let result = write(row, Some(number), txn);
            let (is_written, residue) = txn.leave(outer);
            (result, if is_written { &dot[..] } else { &[] }, residue)
        });
        result.expect("the row was found")
    }

    /// Removes all that this replica has seen below a key: one event. What another replica writes there concurrently
    /// survives. If nothing is there it is no event. Returns whether anything was.
    ///
    /// Cost: that of going through what lies below the key.
    pub fn remove<Q>(&mut self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let number = self.value.rows.find(key);
        number.is_some_and(|number| self.remove_row(number))
    }

    /// Removes all keys, as [`remove`](Self::remove) does one. Returns how many there were.
    ///
    /// Cost: an event and a tombstone a key.
    ///
    /// # Example
    /// ```
    /// use driftless::{Config, Flag, MergeMap, Replica, ReplicaId};
    ///
    /// let mut eu: Replica<MergeMap<u8, Flag>> = Replica::new(ReplicaId::from_u128(1), Config::default());
    /// eu.write(1_000, |lamps| (0..3).for_each(|lamp| lamps.update(&lamp, |lamp| lamp.enable())))?;
    /// assert_eq!(eu.write(1_001, |lamps| lamps.clear())?.value, 3);
    /// assert!(eu.state().is_empty());
    /// # Ok::<(), driftless::WriteError>(())
    /// ```
    pub fn clear(&mut self) -> usize {
        let keys: Vec<K> = self.value.keys().cloned().collect();
        keys.iter().filter(|key| self.remove(*key)).count()
    }

    fn remove_row(&mut self, number: u32) -> bool {
        let Self { value: map, txn, path } = self;
        let dot = [txn.dot];
        let removed = map.rows.write(number, |row| {
            let standing = row.body.standing();
            if !standing.is_live() {
                return (false, &[][..], standing.has_residue());
            }
            txn.event(path, || RowUndo::Was(number, row.body.clone()));
            let mut floor = row.body.take_floor().unwrap_or_default();
            let value = row.body.value_mut();
            value.raise_marks(&mut floor);
            // What a large map was marked with includes stamps of transactions that were undone. Of our own events the
            // removal itself is the newest; those of others were never undone.
            floor.retain(|mark| mark.origin != dot[0].origin);
            floor.raise(dot[0]);
            let path = Path::key(path, number, &row.key);
            txn.entered += 1;
            value.sink(&mut Sinking { floor: &floor, txn }, &path);
            txn.entered -= 1;
            row.body.set_floor(Some(floor));
            txn.residue = true;
            (true, &dot[..], true)
        });
        removed.unwrap_or(false)
    }
}

impl<K: Key, V: Crdt> Crdt for MergeMap<K, V> {
    type Mut<'a> = Writer<'a, Self>;

    const SHAPE: Shape = V::SHAPE.map();

    fn describe(schema: &mut Schema) {
        schema.values(V::describe);
    }

    fn row_count(&self) -> usize {
        self.rows()
    }

    fn bottom() -> Self {
        Self::default()
    }

    fn fork(&self) -> Self {
        Self { rows: self.rows.fork() }
    }

    fn handle(writer: Writer<'_, Self>) -> Self::Mut<'_> {
        writer
    }

    fn is_live(&self) -> bool {
        match &self.rows {
            Rows::Few(list) => list.iter().any(|row| row.body.standing().is_live()),
            Rows::Many(_) => self.rows.live() > 0,
        }
    }

    fn is_bottom(&self) -> bool {
        match &self.rows {
            Rows::Few(list) => list.iter().all(Row::is_bottom),
            // Rows at bottom are taken out, at once or when they are forgotten: looking for others would cost the table.
            Rows::Many(_) => self.rows.len() == 0,
        }
    }

    fn join(&mut self, theirs: &mut Self, merging: &mut Merging<'_>, path: &Path<'_>) {
        let absence_speaks = merging.absence_speaks();
        if theirs.is_bottom() && (!absence_speaks || self.is_bottom()) {
            return;
        }
        // The row below takes the fresh events and the residue for itself; those of the rows around it are kept here.
        let mut fresh = std::mem::take(&mut merging.fresh);
        let mut residue = std::mem::take(&mut merging.residue);
        let mut is_named = vec![false; if absence_speaks { self.rows.len_with_gaps() } else { 0 }];
        let mut rows = std::mem::take(&mut theirs.rows).into_list().into_iter();
        let mut ahead = Ahead::default();
        while let Some((found, tag)) = ahead.next(&self.rows, rows.as_slice()) {
            let Some(mut incoming) = rows.next() else {
                break;
            };
            let number = match found {
                Some(number) => {
                    let floor = incoming.body.take_floor();
                    self.join_row(number, floor, incoming.body.value_mut(), merging, path);
                    Some(number)
                }
                None => self.join_new_row(incoming, tag, merging, path),
            };
            if let Some(is_named) = number.and_then(|number| is_named.get_mut(number as usize)) {
                *is_named = true;
            }
            fresh.raise_all(&merging.fresh);
            residue |= merging.residue;
        }
        for (number, _) in is_named.iter().enumerate().filter(|(_, is_named)| !**is_named) {
            self.join_row(number as u32, None, &mut V::bottom(), merging, path);
            fresh.raise_all(&merging.fresh);
            residue |= merging.residue;
        }
        (merging.fresh, merging.residue) = (fresh, residue);
        if absence_speaks {
            self.drop_if_bottom();
        }
    }

    fn sink(&mut self, sinking: &mut Sinking<'_>, path: &Path<'_>) {
        self.rows.sweep(|number, row| {
            let path = Path::key(path, number, &row.key);
            if let Some(value) = row.body.held_mut() {
                value.sink(sinking, &path);
            }
            if row.body.floor().is_some_and(|floor| floor.iter().all(|mark| sinking.floor.cover(mark))) {
                row.body.take_floor();
            }
        });
        self.drop_if_bottom();
    }

    fn raise_marks(&self, marks: &mut Marks) {
        self.rows.raise_marks(marks);
    }

    fn since(&self, since: &Since) -> Option<Self> {
        let (rows, visited) = self.rows.beyond(since);
        since.visit(visited);
        let mut list = Vec::with_capacity(rows.len());
        let may_be_short = since.has_short() && self.may_be_short(rows.len());
        since.below(|| {
            for rows in rows.chunks(AHEAD) {
                rows.iter().for_each(|row| row.fetch());
                for row in rows {
                    let Some(mut news) = row.since(since) else {
                        continue;
                    };
                    let is_known = may_be_short && news.body.floor().is_none() && row.shows(&since.frontier);
                    news.body.standing_mut().set_known(is_known);
                    list.push(news);
                }
            }
        });
        (!list.is_empty()).then(|| Self { rows: Rows::Few(list.into()) })
    }

    fn shows(&self, seen: &Frontier) -> bool {
        // Not for ever, where much is there that has not been seen.
        self.rows.iter().take(LOOKED_AT).any(|row| row.shows(seen))
    }

    fn prune(&mut self, pruning: &mut Pruning<'_>) -> bool {
        let (has_residue, removed) = self.rows.prune(|row| {
            let has_residue = row.prune(pruning);
            if row.is_bottom() {
                pruning.weigh_row(&row.key, size_of::<Row<K, V>>());
            }
            has_residue
        });
        pruning.rows += removed;
        has_residue
    }

    fn rename(&mut self, renamer: &mut Renamer<'_>, path: &Path<'_>) {
        let mut list = std::mem::take(&mut self.rows).into_list();
        for (number, row) in list.iter_mut().enumerate() {
            if let Some(floor) = row.body.floor_mut() {
                renamer.events.marks(floor);
            }
            // Of a value of which nothing is left, too: what was removed of a count may be all there is to say of it.
            row.body.value_mut().rename(renamer, &Path::key(path, number as u32, &row.key));
            row.body.shed();
            *row.body.standing_mut() = Standing::default();
        }
        self.rows = Rows::Few(list.into());
    }

    fn lay(&mut self, way: &[Step], seed: u64) {
        let Some((key, rest)) = way.split_first().and_then(|(step, rest)| Some((step.key::<K>()?, rest)))
        else {
            return;
        };
        let number = self.rows.find(key).unwrap_or_else(|| {
            let row = Row::bottom(key.clone());
            self.rows.add(row, None, true, seed)
        });
        self.rows.write(number, |row| {
            row.body.value_mut().lay(rest, seed);
            ((), &[], true)
        });
    }

    fn undo(&mut self, steps: &[u32], before: &mut Before) {
        if let Some((number, rest)) = steps.split_first() {
            self.rows.restore(*number, |row| row.body.value_mut().undo(rest, before));
            return;
        }
        match before.take() {
            RowUndo::Added(number) => self.rows.take_out(number),
            RowUndo::Was(number, mut body) => self.rows.restore(number, |row| {
                // Where the row stands in the log is not undone.
                *body.standing_mut() = row.body.standing();
                row.body = body;
            }),
        }
    }

    fn note_events(&self, events: &mut Events) {
        self.rows.iter().for_each(|row| row.note_events(events));
    }

    fn encode(column: &[&Self], encoder: &mut Encoder) {
        let all = column.iter().map(|map| map.rows.len()).sum();
        if column.is_empty() || encoder.cannot_hold(2 * all) {
            return;
        }
        let mut codes = Vec::with_capacity(column.len());
        let (mut counts, mut floored, mut plain) = (Vec::new(), Vec::new(), Vec::with_capacity(all));
        let (mut short_counts, mut short) = (Vec::new(), Vec::<((u64, u64), &Row<K, V>)>::new());
        let mut in_full = Vec::new();
        for map in column {
            let before = (floored.len(), plain.len());
            let short_before = short.len();
            for row in map.rows.iter().filter(|row| !row.is_bottom()) {
                let newest = encoder.newest(|events| row.note_events(events));
                let form = if row.body.standing().is_known() { encoder.short_form(&row.key) } else { None };
                match form {
                    Some(form) => short.push(((newest, form), row)),
                    None => in_full.push((newest, row)),
                }
            }
            // By event, so that a receiver takes up what is old before what is new; then by key, or its short form: equal
            // content, equal bytes.
            short[short_before..].sort_unstable_by_key(|(order, _)| *order);
            in_full.sort_unstable_by(|(a, row), (b, other)| a.cmp(b).then_with(|| row.key.cmp(&other.key)));
            for (_, row) in in_full.drain(..) {
                match row.body.floor() {
                    Some(floor) => floored.push((row, floor)),
                    None => plain.push(row),
                }
            }
            let (with_floors, in_short) = (floored.len() - before.0, short.len() - short_before);
            let rows = with_floors + in_short + plain.len() - before.1;
            let kind = match (with_floors, in_short) {
                (0, 0) => PLAIN,
                (_, 0) => FLOORED,
                _ if in_short == rows => SHORT,
                _ => MIXED,
            };
            codes.push((rows as u64) << 2 | kind);
            counts.extend(matches!(kind, FLOORED | MIXED).then_some(with_floors as u64));
            short_counts.extend((kind == MIXED).then_some(in_short as u64));
        }
        encoder.ints(&codes);
        encoder.ints(&counts);
        encoder.ints(&short_counts);
        encoder.short_keys(short.iter().map(|((_, form), row)| (*form, &row.key)));
        encode_floors(&floored, encoder);
        let with_value =
            floored.iter().filter_map(|(row, _)| row.body.value()).filter(|value| !value.is_bottom());
        let without = plain.iter().copied().chain(short.iter().map(|(_, row)| *row));
        let values: Vec<&V> = with_value.chain(without.filter_map(|row| row.body.value())).collect();
        if !values.is_empty() && !encoder.is_over() {
            V::encode(&values, encoder);
        }
        keys::encode(column.len(), floored.iter().map(|(row, _)| &row.key), encoder);
        keys::encode(column.len(), plain.iter().map(|row| &row.key), encoder);
    }

    fn decode(
        count: usize,
        held: Option<&Self>,
        decoder: &mut Decoder<'_>,
    ) -> Result<Vec<Self>, DecodeError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        decoder.nested(|decoder| {
            let at = decoder.at();
            let row_counts = decode_counts(count, decoder)?;
            let floored = row_counts.iter().map(|map| map.floored).sum();
            let plain: usize = row_counts.iter().map(|map| map.plain).sum();
            let short: usize = row_counts.iter().map(|map| map.short).sum();
            decoder.room::<Row<K, V>>(floored + plain + short)?;
            let short = Self::decode_short(short, held, decoder)?;
            let floors = decode_floors(floored, decoder)?;
            let with_value = floors.iter().filter(|(_, has_value)| *has_value).count();
            // Values beside floors take memory of their own.
            decoder.room::<V>(with_value)?;
            let mut values = V::decode(with_value + plain + short.len(), None, decoder)?.into_iter();
            let floored = keys::decode::<K>(count, floored, decoder)?.into_iter().zip(floors);
            let floored: Vec<_> = floored
                .map(|(key, (floor, has_value))| {
                    let value = if has_value { values.next() } else { None };
                    Row::new(key, value.unwrap_or_else(V::bottom), Some(floor))
                })
                .collect();
            let plain =
                keys::decode::<K>(count, plain, decoder)?.into_iter().map(|key| (key, Standing::default()));
            let mut rest = plain
                .chain(short)
                .zip(values)
                .map(|((key, standing), value)| Row { key, body: Body::Plain(standing, value) });
            let mut floored = floored.into_iter();
            let mut column = Vec::with_capacity(count);
            for RowCounts { floored: with_floor, plain, short } in row_counts {
                let mut list = Vec::with_capacity(with_floor + plain + short);
                list.extend(floored.by_ref().take(with_floor));
                list.extend(rest.by_ref().take(plain + short));
                if list.iter().any(Row::is_bottom) {
                    return Err(DecodeError::Expected { what: "what is known of a key", at });
                }
                // Forms that differ, as they all do, are of rows that do.
                if with_floor + plain > 0 && keys::has_repeated(&list, decoder.hash_seed()) {
                    return Err(DecodeError::Repeated { what: "a key", at });
                }
                column.push(Self { rows: Rows::Few(list.into()) });
            }
            Ok(column)
        })
    }

    fn canonical(&self, canonical: &mut Canonical<'_>) {
        let first = canonical.noted_keys();
        let noted = self.iter().map(|(key, value)| (canonical.note_key(key), value));
        let mut live: SmallVec<[_; FEW_KEYS]> = noted.collect();
        // By their bytes, which needs nobody to know their type.
        live.sort_unstable_by(|(one, _), (other, _)| canonical.noted(one).cmp(canonical.noted(other)));
        canonical.uint(live.len() as u64);
        for (key, value) in live {
            canonical.key(&key);
            V::canonical(value, canonical);
        }
        canonical.forget_keys(first);
    }

    fn prints(&self, prints: &mut Prints<'_>, path: &Path<'_>) {
        prints.map(self.iter(), path);
    }

    fn wanted(&self, wanted: &mut Wanted<'_>, path: &Path<'_>) -> Option<Self> {
        let fields = path.steps();
        let rows = self.rows.iter().filter(|row| wanted.wants(&fields, Some(&row.key)));
        let list: Vec<_> = rows.map(Row::alone).collect();
        (!list.is_empty()).then(|| Self { rows: Rows::Few(list.into()) })
    }

    fn find_unreadable(&self, found: &mut Unreadable, path: &Path<'_>) {
        self.iter().for_each(|(key, value)| value.find_unreadable(found, &Path::key(path, 0, key)));
    }

    fn repair(&mut self, theirs: &mut Self, repairing: &mut Repairing<'_>, path: &Path<'_>) {
        let absence_speaks = repairing.absence_speaks();
        let is_within_row = std::mem::replace(&mut repairing.is_within_row, true);
        let mut residue = std::mem::take(&mut repairing.residue);
        let mut is_named = vec![false; if absence_speaks { self.rows.len_with_gaps() } else { 0 }];
        for incoming in std::mem::take(&mut theirs.rows).into_list() {
            let found = self.rows.find(&incoming.key);
            if let Some(is_named) = found.and_then(|number| is_named.get_mut(number as usize)) {
                *is_named = true;
            }
            let before = self.print_of(found, is_within_row, repairing);
            let number = self.repair_row(found, incoming, repairing, path);
            residue |= repairing.residue;
            if self.print_of(number, is_within_row, repairing) != before
                && let Some(row) = number.and_then(|number| self.rows.row(number))
            {
                repairing.rows.push(Path::key(path, 0, &row.key).shown());
            }
        }
        for (number, _) in is_named.iter().enumerate().filter(|(_, is_named)| !**is_named) {
            let number = number as u32;
            self.rows.write(number, |row| {
                row.repair(None, &mut V::bottom(), repairing, path, number);
                ((), &[], repairing.residue)
            });
            residue |= repairing.residue;
        }
        (repairing.residue, repairing.is_within_row) = (residue, is_within_row);
    }

    /// Takes rows off the end: as many as fit. A row that alone is larger than a chunk is split itself.
    fn split(&mut self, splitter: &mut Splitter) -> Self {
        let mut rest = std::mem::take(&mut self.rows).into_list();
        let mut taken = Vec::new();
        while let Some(mut row) = rest.pop_if(|_| !splitter.is_full()) {
            if row.is_bottom() {
                continue;
            }
            if let Some(bytes) = splitter.fits(|encoder| row.measure(encoder)) {
                splitter.take(bytes);
                taken.push(row);
            } else if splitter.is_begun() {
                splitter.fill();
                rest.push(row);
            } else {
                let floor = row.body.take_floor();
                let value = row.body.value_mut().split(splitter);
                splitter.fill();
                taken.push(Row::new(row.key.clone(), value, floor));
                if !row.is_bottom() {
                    rest.push(row);
                }
            }
        }
        self.rows = Rows::Few(rest.into());
        Self { rows: Rows::Few(taken.into()) }
    }

    fn append(&mut self, next: Self) {
        let mut list = std::mem::take(&mut self.rows).into_list();
        let mut next = next.rows.into_list();
        // A row that was split is alone in its chunk and goes on in the next one, where rows with floors stand before it.
        if let Some(last) = list.last_mut()
            && let Some(place) = next.iter().position(|row| row.key == last.key)
        {
            let mut row = next.remove(place);
            let floor = last.body.take_floor().or(row.body.take_floor());
            last.body.value_mut().append(std::mem::replace(row.body.value_mut(), V::bottom()));
            last.body.set_floor(floor);
        }
        list.append(&mut next);
        self.rows = Rows::Few(list.into());
    }
}

impl<K: Key, V: Crdt> Row<K, V> {
    /// Writes the row alone, to measure it.
    fn measure(&self, encoder: &mut Encoder) {
        encoder.value(&self.key);
        if let Some(floor) = self.body.floor() {
            encode_floors(&[(self, floor)], encoder);
        }
        if let Some(value) = self.body.value().filter(|value| !encoder.is_over() && !value.is_bottom()) {
            V::encode(&[value], encoder);
        }
    }
}

/// Writes what the removals of rows had seen, and whether the rows have values.
fn encode_floors<K: Key, V: Crdt>(rows: &[(&Row<K, V>, &Marks)], encoder: &mut Encoder) {
    let (mut codes, mut numbers) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for (row, floor) in rows {
        codes.push((floor.len() as u64 - 1) << 1 | u64::from(!row.body.is_void()));
        let start = numbers.len();
        numbers.extend(floor.iter().map(|mark| encoder.number(mark)));
        numbers[start..].sort_unstable();
    }
    encoder.ints(&codes);
    encoder.ints(&numbers);
}

/// Reads what [`encode_floors`] wrote of so many rows, which were counted.
fn decode_floors(count: usize, decoder: &mut Decoder<'_>) -> Result<Vec<(Box<Marks>, bool)>, DecodeError> {
    let at = decoder.at();
    let codes = decoder.ints(count)?;
    let all = decoder.lists(codes.iter().map(|code| (code >> 1) + 1))?;
    decoder.room::<Marks>(count)?;
    let mut numbers = decoder.ints(all)?.into_iter();
    let floor = |code: &u64| {
        let marks = numbers.by_ref().take((code >> 1) as usize + 1).map(|number| decoder.event(number));
        let marks = Marks::of_distinct(marks.collect::<Result<_, _>>()?);
        let marks = marks.ok_or(DecodeError::Repeated { what: "a mark", at })?;
        Ok((Box::new(marks), code & 1 == 1))
    };
    codes.iter().map(floor).collect()
}

/// How many rows a map has of each kind: with a floor, and without one named in full or in short form.
struct RowCounts {
    floored: usize,
    plain: usize,
    short: usize,
}

/// Reads how many rows of each kind each of so many maps has. They are counted, all together.
fn decode_counts(count: usize, decoder: &mut Decoder<'_>) -> Result<Vec<RowCounts>, DecodeError> {
    let at = decoder.at();
    let codes = decoder.ints(count)?;
    let all = decoder.sum(codes.iter().map(|code| code >> 2))?;
    decoder.add_rows(all)?;
    let mut counts = |of: fn(u64) -> bool| {
        let counts = decoder.ints(codes.iter().filter(|code| of(*code & 3)).count())?;
        Ok::<_, DecodeError>(counts.into_iter())
    };
    let mut floored = counts(|kind| matches!(kind, FLOORED | MIXED))?;
    let mut short = counts(|kind| kind == MIXED)?;
    let of_map = |code: &u64| {
        let rows = code >> 2;
        let (floored, short) = match code & 3 {
            PLAIN => (0, 0),
            FLOORED => (floored.next().filter(|floored| *floored > 0)?, 0),
            SHORT => (0, Some(rows).filter(|short| *short > 0)?),
            _ => (floored.next()?, short.next().filter(|short| (1..rows).contains(short))?),
        };
        let plain = rows.checked_sub(floored)?.checked_sub(short)?;
        Some(RowCounts { floored: floored as usize, plain: plain as usize, short: short as usize })
    };
    let row_counts: Option<Vec<_>> = codes.iter().map(of_map).collect();
    row_counts.ok_or(DecodeError::Expected { what: "the numbers of rows of maps", at })
}

impl<K: Key, V: Crdt> MergeMap<K, V> {
    /// Whether so many keys of the map may be named in short form: where that is worth while, and it is hardly ever the form of
    /// two keys.
    fn may_be_short(&self, count: usize) -> bool {
        size_of::<K>() >= LARGE_KEY && count.saturating_mul(self.rows.len()) <= 1 << SHORT_PAIRS
    }

    /// Gives back the rows at once if nothing is left of any: the row around this map remembers its removal.
    fn drop_if_bottom(&mut self) {
        if self.rows.iter().all(Row::is_bottom) {
            self.rows = Rows::default();
        }
    }

    /// A hash of what is live in a row, if there is any; for rows that lie within no other.
    fn print_of(
        &self,
        number: Option<u32>,
        is_within_row: bool,
        repairing: &mut Repairing<'_>,
    ) -> Option<u64> {
        let row = self.rows.row(number.filter(|_| !is_within_row)?)?;
        row.body.readable().map(|value| repairing.print(value))
    }

    /// Repairs a row by what is held of it elsewhere. Returns its number, unless there is nothing of it here either.
    fn repair_row(
        &mut self,
        found: Option<u32>,
        mut incoming: Row<K, V>,
        repairing: &mut Repairing<'_>,
        path: &Path<'_>,
    ) -> Option<u32> {
        // The log must find the row for whoever lacks any event of what comes in, old as it may be.
        let mut marks = Marks::default();
        incoming.raise_marks(&mut marks);
        marks.remap(|dot| repairing.remap(dot));
        let floor = incoming.body.take_floor();
        if let Some(number) = found {
            self.rows.write(number, |row| {
                row.repair(floor, incoming.body.value_mut(), repairing, path, number);
                ((), marks.as_slice(), repairing.residue)
            });
            return found;
        }
        let mut row = Row::bottom(incoming.key);
        row.repair(floor, incoming.body.value_mut(), repairing, path, u32::MAX);
        (!row.is_bottom()).then(|| self.rows.add(row, None, repairing.residue, repairing.seed))
    }

    fn join_row(
        &mut self,
        number: u32,
        floor: Option<Box<Marks>>,
        value: &mut V,
        merging: &mut Merging<'_>,
        path: &Path<'_>,
    ) {
        self.rows.write(number, |row| {
            row.join(floor, value, merging, path, number);
            ((), merging.fresh.as_slice(), merging.residue)
        });
    }

    /// Joins a row whose key is not held. Returns its number, unless nothing of it is news.
    fn join_new_row(
        &mut self,
        mut incoming: Row<K, V>,
        tag: Option<Tag>,
        merging: &mut Merging<'_>,
        path: &Path<'_>,
    ) -> Option<u32> {
        let floor = incoming.body.take_floor();
        let mut row = Row::bottom(incoming.key);
        row.join(floor, incoming.body.value_mut(), merging, path, u32::MAX);
        if row.is_bottom() {
            merging.residue = false;
            return None;
        }
        Some(self.rows.add(row, tag, merging.residue, merging.seed))
    }
}
