//! A counter that every replica adds to.

use std::cmp::Reverse;
use std::fmt;

use smallvec::SmallVec;

use crate::causal::dot::{Dot, Marks};
use crate::causal::frontier::Frontier;
use crate::causal::origin::Origin;
use crate::cell::Cell;
use crate::cell::columns::Columns;
use crate::cell::payload::Payload;
use crate::clock::Timestamp;
use crate::crdt::Crdt;
use crate::crdt::change::Path;
use crate::crdt::merging::Merging;
use crate::crdt::pruning::Pruning;
use crate::crdt::renaming::{Renamer, Step};
use crate::crdt::repairing::Repairing;
use crate::crdt::schema::Schema;
use crate::crdt::shipping::{Since, Splitter};
use crate::crdt::undo::Before;
use crate::crdt::unreadable::Unreadable;
use crate::crdt::value::Value;
use crate::crdt::write::{Sinking, Txn, Writer};
use crate::wire::canonical::Canonical;
use crate::wire::column::{unzigzag, zigzag};
use crate::wire::decode::Decoder;
use crate::wire::encode::Encoder;
use crate::wire::error::DecodeError;
use crate::wire::events::Events;
use crate::wire::shape::Shape;

/// What one replica has counted since it last counted from nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Total {
    total: i64,
    /// The stamp of the first count of the run. A replica whose count was removed begins a new run.
    run: Timestamp,
}

/// What a removal saw of one replica's count: its total at that stamp. A count of the same run that the removal had not
/// seen is worth what was added since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Removed {
    origin: Origin,
    stamp: Timestamp,
    total: i64,
}

impl Removed {
    /// The event up to which the count was seen.
    fn dot(&self) -> Dot {
        Dot { origin: self.origin, time: self.stamp }
    }
}

/// A 64-bit counter. Every increment counts exactly once, whatever is partitioned, repeated or reordered.
///
/// | | concurrent with add | concurrent with reset or removal |
/// |---|---|---|
/// | add | both count | counts: a removal takes away what it had seen, exactly |
/// | reset | the addition counts | what both had seen is gone once |
///
/// A replica's own additions must stay within `i64`, and so must the value it sees: `add` is refused
/// otherwise, before anything changes. Additions made concurrently can together exceed the range all the same; replicas
/// still agree, [`value`](Self::value) then reads the nearest bound and [`exact`](Self::exact) the sum itself.
///
/// # Cost
/// One entry for each replica that added, 32 bytes each; for each removal, one record for each replica it saw counting, until
/// that replica is known to have seen the removal. Reading and writing go through the entries.
///
/// Source: the resettable counter of Weidner, Almeida, *An Oblivious Observed-Reset Embeddable Replicated Counter* (2022),
/// with the totals that a reset saw recorded beside the entries.
///
/// # Example
/// ```
/// use driftless::{Config, Counter, Replica, ReplicaId};
///
/// let mut eu: Replica<Counter> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// let mut us: Replica<Counter> = Replica::new(ReplicaId::from_u128(2), Config::default());
/// eu.transact(1_000, |visits| visits.add(3))?;
/// us.merge(1_001, eu.delta_since(&us.vector()))?;
///
/// assert!(us.write(1_002, |visits| visits.reset())?.value);
/// eu.transact(1_002, |visits| visits.add(4))?;            // neither has seen the other
/// us.merge(1_003, eu.delta_since(&us.vector()))?;
/// eu.merge(1_003, us.delta_since(&eu.vector()))?;
/// assert_eq!((us.state().value(), eu.state().value()), (4, 4));
/// assert!(us.state().is_counting());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Counter {
    cell: Cell<Total>,
    /// At most one record for an origin, ordered by origin.
    removed: Option<Box<[Removed]>>,
}

/// An addition would leave the range of 64 signed bits. To blame: the caller. Nothing was added; the rest of the
/// transaction stands if the closure goes on and returns `Ok`.
/// # Example
/// ```
/// use driftless::{Config, Counter, CounterOverflow, Replica, ReplicaId, TransactError};
///
/// let mut eu: Replica<Counter> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// eu.transact(1_000, |visits| visits.add(i64::MAX))?;
/// let refused = eu.transact(1_001, |visits| visits.add(1));
/// assert_eq!(refused, Err(TransactError::Aborted(CounterOverflow { value: i64::MAX, by: 1 })));
/// assert_eq!(eu.state().exact(), i128::from(i64::MAX));
/// # Ok::<(), TransactError<CounterOverflow>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterOverflow {
    /// The value of the counter.
    pub value: i64,
    /// What was to be added.
    pub by: i64,
}

impl fmt::Display for CounterOverflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the caller adds {} to a counter of {}, which takes it, or what this replica has added, beyond 64 signed bits; \
             nothing changed: add less, or reset it first",
            self.by, self.value
        )
    }
}

impl std::error::Error for CounterOverflow {}

impl Counter {
    /// The sum of what all replicas counted; the nearest bound if concurrent additions took it beyond 64 bits.
    pub fn value(&self) -> i64 {
        let exact = self.exact();
        i64::try_from(exact).unwrap_or(if exact < 0 { i64::MIN } else { i64::MAX })
    }

    /// The sum of what all replicas counted, in full.
    pub fn exact(&self) -> i128 {
        self.cell.live().map(|(dot, total)| self.worth(dot.origin, total)).sum()
    }

    /// Whether any addition counts here that was not removed; also where the sum is 0.
    pub fn is_counting(&self) -> bool {
        self.cell.is_live()
    }

    /// What an entry counts for: its total, less what a removal has seen of the same run.
    fn worth(&self, origin: Origin, total: &Total) -> i128 {
        let removed = self.removed_of(origin).filter(|removed| removed.stamp >= total.run);
        i128::from(total.total) - removed.map_or(0, |removed| i128::from(removed.total))
    }

    fn removed(&self) -> &[Removed] {
        self.removed.as_deref().unwrap_or_default()
    }

    fn removed_of(&self, origin: Origin) -> Option<&Removed> {
        let place = self.removed().binary_search_by_key(&origin, |removed| removed.origin);
        place.ok().map(|place| &self.removed()[place])
    }

    /// Takes records of removals; of two of the same replica's count the later one stands. (Of two with one stamp, which are a
    /// fault, the greater one, on both sides.)
    fn note_removed(&mut self, new: Vec<Removed>) {
        if new.is_empty() {
            return;
        }
        let mut records = self.removed.take().unwrap_or_default().into_vec();
        records.extend(new);
        records.sort_by_key(|removed| (removed.origin, Reverse((removed.stamp, removed.total))));
        records.dedup_by_key(|removed| removed.origin);
        self.removed = Some(records.into());
    }

    /// Records what a removal at `own` has seen of the counts of others. Its own count needs no record: no entry of it from
    /// before the removal can live where the removal is known, and what it counts later is a new run.
    fn note_all_removed(&mut self, own: Origin) {
        let others = self.cell.live().filter(|(dot, _)| dot.origin != own);
        let records =
            others.map(|(dot, total)| Removed { origin: dot.origin, stamp: dot.time, total: total.total });
        self.note_removed(records.collect());
    }

    /// Writes down what this replica has counted before the transaction, once a transaction.
    #[inline]
    fn note_own(&self, txn: &mut Txn, path: &Path<'_>) {
        if let Some((own, total)) = self.cell.entry(txn.dot.origin)
            && own.time < txn.dot.time
        {
            txn.note_count(path, own.time, total.total);
        }
    }

    /// The same where its count is removed: the rows around it may be gone soon, by this transaction or another.
    fn note_own_removed(&self, txn: &mut Txn, path: &Path<'_>) {
        self.note_own(txn, path);
        if self.cell.entry(txn.dot.origin).is_some_and(|(_, own)| own.run < txn.dot.time) {
            txn.note_way(path);
        }
    }

    /// Renames the record that a removal made of what is renamed, if there is one: somebody has seen that then.
    fn rename_removed(&mut self, renamer: &mut Renamer<'_>, at_fork: Option<(Timestamp, i64)>) {
        let events = &renamer.events;
        let mut records = self.removed.take().unwrap_or_default().into_vec();
        let mut kept = None;
        for record in records.iter_mut().filter(|record| events.renames(record.dot())) {
            let (stamp, total) = at_fork.unwrap_or_default();
            let since = record.total.checked_sub(total);
            renamer.has_overflown |= since.is_none();
            let dot = events.successor(record.stamp);
            kept = at_fork.map(|_| Removed { stamp, total, ..*record });
            *record = Removed { origin: dot.origin, stamp: dot.time, total: since.unwrap_or_default() };
        }
        records.extend(kept);
        self.note_removed(records);
    }

    fn reading(&self) -> Option<Value> {
        self.is_counting().then(|| Value::Int(self.value()))
    }

    fn has_residue(&self) -> bool {
        self.removed.is_some() || self.cell.has_residue()
    }
}

impl Writer<'_, Counter> {
    /// Adds `by`, which may be negative. Adding 0 is an event: the counter is there from then on.
    ///
    /// # Errors
    /// [`CounterOverflow`] if the value, or what this replica has added in all, would leave the range of `i64`. A value that
    /// concurrent additions took beyond it can be counted back, not further away.
    pub fn add(&mut self, by: i64) -> Result<(), CounterOverflow> {
        let dot = self.txn.dot;
        let own = self.value.cell.entry(dot.origin).map(|(_, total)| *total);
        let own = own.unwrap_or(Total { total: 0, run: dot.time });
        let value = self.value.value();
        let exact = self.value.exact();
        let after = exact + i128::from(by);
        // Concurrent additions may have left the range: it can be counted back towards it.
        let in_range = i64::try_from(after).is_ok() || after.unsigned_abs() < exact.unsigned_abs();
        let total = own.total.checked_add(by).filter(|_| in_range).ok_or(CounterOverflow { value, by })?;
        let before_reading = self.txn.recorder.reading(|| self.value.reading());
        self.value.note_own(self.txn, &self.path);
        let cell = self.value.cell.write_own(dot, Total { total, ..own }, &self.txn.origins);
        let before = Counter { cell, removed: self.value.removed.clone() };
        self.txn.event(&self.path, || before);
        let counter = &*self.value;
        self.txn.record(&self.path, before_reading, || counter.reading());
        Ok(())
    }

    /// Takes away all that this replica has seen counted. What others add concurrently still counts. Returns whether there
    /// was anything.
    pub fn reset(&mut self) -> bool {
        if !self.value.is_counting() {
            return false;
        }
        let before = self.value.clone();
        let reading = self.txn.recorder.reading(|| before.reading());
        self.value.note_own_removed(self.txn, &self.path);
        self.value.note_all_removed(self.txn.dot.origin);
        self.value.cell.remove(self.txn.dot);
        self.txn.residue = true;
        self.txn.event(&self.path, || before);
        self.txn.record(&self.path, reading, || None);
        true
    }
}

impl Crdt for Counter {
    type Mut<'a> = Writer<'a, Self>;

    const SHAPE: Shape = Shape::COUNTER;

    fn describe(schema: &mut Schema) {
        schema.leaf("counter");
    }

    fn bottom() -> Self {
        Self::default()
    }

    fn fork(&self) -> Self {
        self.clone()
    }

    fn handle(writer: Writer<'_, Self>) -> Self::Mut<'_> {
        writer
    }

    fn is_live(&self) -> bool {
        self.cell.is_live()
    }

    fn is_bottom(&self) -> bool {
        self.cell.is_bottom() && self.removed.is_none()
    }

    fn join(&mut self, theirs: &mut Self, merging: &mut Merging<'_>, path: &Path<'_>) {
        let before = merging.recorder.reading(|| self.reading());
        let newest = merging.newest(&theirs.cell);
        let mut records = theirs.removed().to_vec();
        merging.join_unrecorded(&mut self.cell, std::mem::take(&mut theirs.cell));
        for record in &mut records {
            record.origin = merging.remap[record.origin.index()];
        }
        self.note_removed(records);
        merging.residue |= self.removed.is_some();
        merging.record(path, newest.or_else(|| self.cell.marks().newest(merging.origins)), before, || {
            self.reading()
        });
    }

    fn sink(&mut self, sinking: &mut Sinking<'_>, path: &Path<'_>) {
        let before = sinking.txn.recorder.reading(|| self.reading());
        self.note_own_removed(sinking.txn, path);
        self.note_all_removed(sinking.txn.dot.origin);
        self.cell.sink(sinking.floor);
        sinking.txn.record(path, before, || self.reading());
    }

    fn raise_marks(&self, marks: &mut Marks) {
        self.cell.raise_marks_of(marks);
    }

    fn since(&self, since: &Since) -> Option<Self> {
        self.cell.is_beyond(&since.frontier).then(|| self.clone())
    }

    fn shows(&self, seen: &Frontier) -> bool {
        self.cell.shows(seen)
    }

    fn prune(&mut self, pruning: &mut Pruning<'_>) -> bool {
        let had_residue = self.has_residue();
        pruning.cell(&mut self.cell);
        if let Some(records) = self.removed.take() {
            let mut records = records.into_vec();
            let marks = self.cell.marks();
            let mut runs: Vec<_> = self.cell.live().map(|(dot, total)| (dot.origin, total.run)).collect();
            runs.sort_unstable_by_key(|(origin, _)| *origin);
            // A record is needed while an entry of its run is live, and while such an entry may still arrive: until the
            // author is known to have seen every removal that there ever was of its count here.
            records.retain(|removed| {
                let entry = runs.binary_search_by_key(&removed.origin, |(origin, _)| *origin);
                let is_used = entry.is_ok_and(|place| removed.stamp >= runs[place].1);
                let has_seen_all = pruning.counting.of(removed.origin).is_some_and(|seen| {
                    pruning.dropped.within(seen) && marks.within(seen) && pruning.floor.within(seen)
                });
                is_used || !has_seen_all
            });
            self.removed = (!records.is_empty()).then(|| records.into());
        }
        pruning.marks += usize::from(had_residue && !self.has_residue());
        self.has_residue()
    }

    fn rename(&mut self, renamer: &mut Renamer<'_>, path: &Path<'_>) {
        let at_fork = renamer.count(path.place(renamer.hasher));
        self.rename_removed(renamer, at_fork);
        let Renamer { events, origins, has_overflown, .. } = renamer;
        let own = self.cell.entry(events.former).filter(|(dot, _)| events.renames(*dot));
        let own = own.map(|(dot, total)| (events.successor(dot.time), *total));
        self.cell.rename(events, origins);
        if let Some((dot, before)) = own
            && let Some(entry) = self.cell.entry_mut(events.successor)
        {
            // A run that began before the fork point is cut in two there.
            let kept = at_fork.filter(|_| before.run <= events.after);
            let since = before.total.checked_sub(kept.map_or(0, |(_, total)| total));
            *has_overflown |= since.is_none();
            let run = if before.run > events.after { events.stamp(before.run) } else { dot.time };
            *entry = Total { total: since.unwrap_or_default(), run };
            if let Some((stamp, total)) = kept {
                // Who removed the count up to there had seen that part, and all of it.
                let is_removed = self.removed_of(events.former).is_some_and(|removed| removed.stamp >= stamp);
                if !is_removed {
                    self.cell.put_former(stamp, Total { total, ..before }, events, origins);
                }
                return;
            }
        }
        if let Some((stamp, total)) = at_fork {
            // The removal that ended that run after the fork point is another replica's now.
            self.note_removed(vec![Removed { origin: events.former, stamp, total }]);
        }
    }

    fn lay(&mut self, _: &[Step], _: u64) {}

    fn undo(&mut self, _: &[u32], before: &mut Before) {
        *self = before.take();
    }

    fn note_events(&self, events: &mut Events) {
        self.cell.note_events(events);
        for removed in self.removed() {
            events.note(removed.dot());
        }
    }

    fn encode(column: &[&Self], encoder: &mut Encoder) {
        let mut columns = Columns::with_capacity(column.len());
        let (mut totals, mut runs, mut removed) = (Vec::with_capacity(column.len()), Vec::new(), Vec::new());
        for counter in column {
            let records = counter.removed().iter().map(|record| (encoder.number(record.dot()), record));
            let mut records: Vec<_> = records.collect();
            records.sort_unstable_by_key(|(number, _)| *number);
            let dots: Vec<Dot> = records.iter().map(|(_, record)| record.dot()).collect();
            columns.push(&counter.cell, &dots, encoder);
            removed.extend(records.iter().map(|(_, record)| zigzag(record.total)));
            for (dot, total) in counter.cell.live() {
                totals.push(zigzag(total.total));
                runs.push(dot.time.bits() - total.run.bits());
            }
        }
        columns.write(true, encoder);
        encoder.ints(&totals);
        encoder.ints(&runs);
        encoder.ints(&removed);
    }

    fn decode(count: usize, _: Option<&Self>, decoder: &mut Decoder<'_>) -> Result<Vec<Self>, DecodeError> {
        let columns = Columns::read::<Total>(count, true, decoder)?;
        let at = decoder.at();
        let totals = decoder.ints(columns.payloads())?;
        let runs = decoder.ints(columns.payloads())?;
        let records = decoder.room::<Removed>(columns.records())?;
        let removed = decoder.ints(records)?;
        let mut totals = totals.into_iter().zip(runs);
        let mut removed = removed.into_iter();
        let mut records: Vec<(usize, Removed)> = Vec::new();
        let payload = |_: &mut Decoder<'_>, dot: Dot| {
            let (total, since) = totals.next().unwrap_or_default();
            let run = dot.time.bits().checked_sub(since).filter(|run| *run > 0);
            let run = run.ok_or(DecodeError::Stamp { at })?;
            Ok(Payload::Typed(Total { total: unzigzag(total), run: Timestamp::from_bits(run) }))
        };
        let record = |place: usize, dot: Dot| {
            let total = unzigzag(removed.next().unwrap_or_default());
            records.push((place, Removed { origin: dot.origin, stamp: dot.time, total }));
            Ok(())
        };
        let cells = columns.cells(decoder, payload, record)?;
        let mut counters: Vec<_> = cells.into_iter().map(|cell| Self { cell, removed: None }).collect();
        for records in records.chunk_by(|(a, _), (b, _)| a == b) {
            let place = records.first().map_or(0, |(place, _)| *place);
            let mut records: Vec<Removed> = records.iter().map(|(_, record)| *record).collect();
            records.sort_unstable_by_key(|record| record.origin);
            if !records.is_sorted_by(|a, b| a.origin < b.origin) {
                return Err(DecodeError::Repeated { what: "the record of a removed count", at });
            }
            if let Some(counter) = counters.get_mut(place) {
                counter.removed = Some(records.into());
            }
        }
        Ok(counters)
    }

    fn canonical(&self, canonical: &mut Canonical<'_>) {
        let origins = canonical.origins();
        let mut live: SmallVec<[_; 4]> = self.cell.live().collect();
        live.sort_by(|(a, _), (b, _)| origins.cmp(a.origin, b.origin));
        canonical.uint(live.len() as u64);
        for (dot, total) in live {
            canonical.dot(dot);
            canonical.int(self.worth(dot.origin, total));
        }
    }

    fn repair(&mut self, theirs: &mut Self, repairing: &mut Repairing<'_>, path: &Path<'_>) {
        let (before, print) = (repairing.recorder.reading(|| self.reading()), repairing.print(self));
        let mut records = theirs.removed().to_vec();
        for record in &mut records {
            record.origin = repairing.remap(record.dot()).origin;
        }
        repairing.join_cell(&mut self.cell, &mut theirs.cell, |one, other| one.value() > other.value());
        self.note_removed(records);
        repairing.residue |= self.removed.is_some();
        if repairing.print(self) != print {
            repairing.note_place(path);
            let newest = self.cell.marks().newest(repairing.origins);
            repairing.record(path, newest, before, || self.reading());
        }
    }

    fn find_unreadable(&self, _: &mut Unreadable, _: &Path<'_>) {}

    fn split(&mut self, splitter: &mut Splitter) -> Self {
        splitter.whole(self)
    }

    fn append(&mut self, next: Self) {
        if !next.is_bottom() {
            *self = next;
        }
    }
}
