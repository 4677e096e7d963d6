//! Registers: one value that is replaced as a whole.

use std::fmt;

use crate::causal::dot::{Dot, Marks};
use crate::causal::frontier::Frontier;
use crate::cell::Cell;
use crate::cell::columns::Columns;
use crate::cell::payload::{Payload, View};
use crate::clock::Timestamp;
use crate::crdt::change::{Path, Reading};
use crate::crdt::merging::Merging;
use crate::crdt::pruning::Pruning;
use crate::crdt::renaming::{Renamer, Step};
use crate::crdt::repairing::Repairing;
use crate::crdt::schema::Schema;
use crate::crdt::shipping::{Since, Splitter};
use crate::crdt::undo::Before;
use crate::crdt::unreadable::Unreadable;
use crate::crdt::value::Value;
use crate::crdt::write::{Sinking, Writer};
use crate::crdt::{Crdt, Datum, DatumFrom};
use crate::wire::canonical::Canonical;
use crate::wire::decode::Decoder;
use crate::wire::encode::Encoder;
use crate::wire::error::DecodeError;
use crate::wire::events::Events;
use crate::wire::shape::Shape;

macro_rules! register {
    ($name:ident, $kind:literal, $shape:expr, $read:expr) => {
        impl<T> Default for $name<T> {
            fn default() -> Self {
                Self { cell: Cell::default() }
            }
        }

        impl<T: Clone> Clone for $name<T> {
            fn clone(&self) -> Self {
                Self { cell: self.cell.clone() }
            }
        }

        impl<T: fmt::Debug> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_list().entries(self.all()).finish()
            }
        }

        impl<T> $name<T> {
            /// All concurrent values, oldest first: the last-writer-wins winner is the last. One, unless replicas wrote
            /// without having seen each other, at most one a replica; none, if the register was never written or was
            /// cleared, or holds only what this release [cannot read](Self::unreadable).
            pub fn all(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
                self.cell.live().map(|(_, value)| value)
            }

            /// As [`all`](Self::all), each with the stamp of its write: when it was written, by its author's clock.
            pub fn stamped(&self) -> impl DoubleEndedIterator<Item = (Timestamp, &T)> + ExactSizeIterator {
                self.cell.live().map(|(dot, value)| (dot.time, value))
            }

            /// The least of the concurrent values.
            pub fn min(&self) -> Option<&T>
            where
                T: Ord,
            {
                self.all().min()
            }

            /// The greatest of the concurrent values.
            pub fn max(&self) -> Option<&T>
            where
                T: Ord,
            {
                self.all().max()
            }

            /// What a function of the application makes of the concurrent values, oldest first. It must be pure: the
            /// same values in the same order must give the same result in every replica.
            ///
            /// # Example
            /// ```
            #[doc = concat!("use driftless::{Config, ", stringify!($name), ", Replica, ReplicaId};")]
            ///
            #[doc = concat!("fn longest(name: &", stringify!($name), "<String>) -> Option<&String> {")]
            ///     name.resolve(|names| names.max_by_key(|name| (name.len(), name.as_str())))
            /// }
            ///
            #[doc = concat!("type Name = Replica<", stringify!($name), "<String>>;")]
            /// let mut eu = Name::new(ReplicaId::from_u128(1), Config::default());
            /// let mut us = Name::new(ReplicaId::from_u128(2), Config::default());
            /// eu.write(1_000, |name| name.set("Ada Lovelace"))?;
            /// us.write(1_001, |name| name.set("Ada"))?;
            /// eu.merge(1_002, us.delta_since(&eu.vector()))?;
            /// assert_eq!(longest(eu.state()).map(String::as_str), Some("Ada Lovelace"));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn resolve<'a, R>(
                &'a self,
                function: impl FnOnce(&mut dyn Iterator<Item = &'a T>) -> R,
            ) -> R {
                function(&mut self.all())
            }

            /// Whether more than one value is held, because replicas wrote without having seen each other. Writing settles
            /// it.
            pub fn is_conflicted(&self) -> bool {
                self.cell.payloads().nth(1).is_some()
            }

            /// The concurrent values that this release cannot read, because another release wrote them in another type, oldest
            /// first: each with the stamp of its write, in MessagePack. All else that is read here leaves them out. They are
            /// passed on as they came, until somebody who has seen them writes the register. See
            /// [`Unreadable`](crate::Unreadable).
            pub fn unreadable(&self) -> impl Iterator<Item = (Timestamp, &[u8])> {
                self.cell.unreadable().map(|(dot, bytes)| (dot.time, bytes))
            }
        }

        impl<T> $name<Option<T>> {
            /// The newest of the concurrent values that is not `None`: a write of "nothing" does not win over a
            /// concurrent write of something.
            pub fn newest_non_null(&self) -> Option<&T> {
                self.all().rev().find_map(Option::as_ref)
            }
        }

        impl $name<Value> {
            /// The newest of the concurrent values that is not null: a write of "nothing" does not win over a concurrent
            /// write of something.
            pub fn newest_non_null(&self) -> Option<&Value> {
                self.all().rev().find(|value| !value.is_null())
            }
        }

        impl<T: Datum> Writer<'_, $name<T>> {
            /// Writes a value: one of the register's type, or what [stands for one](DatumFrom). It supersedes all that
            /// this replica has seen here; what another replica writes concurrently stays beside it. A value that is
            /// there already is written anew, and is an event.
            ///
            /// Cost: constant, while one replica writes the register or all have seen its writes.
            pub fn set<V>(&mut self, value: V)
            where
                T: DatumFrom<V>,
            {
                if !self.txn.recorder.is_on() {
                    return self.put(T::datum_from(value));
                }
                let before = Reading::Of($read(&self.value.cell));
                self.put(T::datum_from(value));
                let cell = &self.value.cell;
                self.txn.record(&self.path, before, || $read(cell));
            }

            #[inline]
            fn put(&mut self, value: T) {
                let before = self.value.cell.write(self.txn.dot, value);
                self.txn.residue |= self.value.cell.has_residue();
                self.txn.event(&self.path, || before);
            }

            /// Removes all values that this replica has seen here. A value that another replica writes concurrently
            /// survives. If there is none it is no event. Returns whether there was one.
            ///
            /// # Example
            /// ```
            #[doc = concat!("use driftless::{Config, ", stringify!($name), ", Replica, ReplicaId};")]
            ///
            #[doc = concat!("type Price = Replica<", stringify!($name), "<i64>>;")]
            /// let mut eu = Price::new(ReplicaId::from_u128(1), Config::default());
            /// eu.write(1_000, |price| price.set(2_900))?;
            /// assert!(eu.write(1_001, |price| price.clear())?.value);
            /// assert_eq!(eu.state().all().count(), 0);
            /// assert_eq!(eu.write(1_002, |price| price.clear())?.stamp, None);
            /// # Ok::<(), driftless::WriteError>(())
            /// ```
            pub fn clear(&mut self) -> bool {
                let before_reading = self.txn.recorder.reading(|| $read(&self.value.cell));
                let Some(before) = self.value.cell.remove(self.txn.dot) else {
                    return false;
                };
                self.txn.residue = true;
                self.txn.event(&self.path, || before);
                self.txn.record(&self.path, before_reading, || None);
                true
            }
        }

        impl<T: Datum> Crdt for $name<T> {
            type Mut<'a> = Writer<'a, Self>;

            const SHAPE: Shape = $shape;

            fn describe(schema: &mut Schema) {
                schema.leaf($kind);
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
                self.cell.is_bottom()
            }

            fn join(&mut self, theirs: &mut Self, merging: &mut Merging<'_>, path: &Path<'_>) {
                let is_conflict = merging.join_cell(&mut self.cell, &mut theirs.cell, path, $read);
                merging.conflicts += usize::from(is_conflict);
                merging.unreadable.note(&self.cell, merging.ours, path);
            }

            fn sink(&mut self, sinking: &mut Sinking<'_>, path: &Path<'_>) {
                let before = sinking.txn.recorder.reading(|| $read(&self.cell));
                self.cell.sink(sinking.floor);
                sinking.txn.record(path, before, || $read(&self.cell));
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
                let had_residue = self.cell.has_residue();
                let has_residue = pruning.cell(&mut self.cell);
                pruning.marks += usize::from(had_residue && !has_residue);
                has_residue
            }

            fn rename(&mut self, renamer: &mut Renamer<'_>, _: &Path<'_>) {
                self.cell.rename(&renamer.events, renamer.origins);
            }

            fn lay(&mut self, _: &[Step], _: u64) {}

            fn undo(&mut self, _: &[u32], before: &mut Before) {
                self.cell = before.take();
            }

            fn note_events(&self, events: &mut Events) {
                self.cell.note_events(events);
            }

            fn encode(column: &[&Self], encoder: &mut Encoder) {
                let mut columns = Columns::with_capacity(column.len());
                column.iter().for_each(|register| columns.push(&register.cell, &[], encoder));
                columns.write(false, encoder);
                for register in column {
                    for (_, payload) in register.cell.payloads() {
                        match payload {
                            View::Typed(value) => encoder.value(value),
                            View::AsCame(came) => encoder.bytes(&came.bytes),
                        }
                    }
                    if encoder.is_over() {
                        return;
                    }
                }
            }

            fn decode(
                count: usize,
                _: Option<&Self>,
                decoder: &mut Decoder<'_>,
            ) -> Result<Vec<Self>, DecodeError> {
                let columns = Columns::read::<T>(count, false, decoder)?;
                // Each value takes a byte at least.
                decoder.follow(columns.payloads())?;
                let cells = columns.cells(decoder, |decoder, _| Payload::read(decoder), |_, _| Ok(()))?;
                Ok(cells.into_iter().map(|cell| Self { cell }).collect())
            }

            fn canonical(&self, canonical: &mut Canonical<'_>) {
                canonical_entries(&self.cell, canonical);
            }

            fn repair(&mut self, theirs: &mut Self, repairing: &mut Repairing<'_>, path: &Path<'_>) {
                repairing.join_register(&mut self.cell, &mut theirs.cell, path, $read);
            }

            fn find_unreadable(&self, found: &mut Unreadable, path: &Path<'_>) {
                found.note(&self.cell, &Frontier::default(), path);
            }

            fn split(&mut self, splitter: &mut Splitter) -> Self {
                splitter.whole(self)
            }

            fn append(&mut self, next: Self) {
                if !next.is_bottom() {
                    *self = next;
                }
            }
        }
    };
}

/// Writes the live entries of a register, each with its dot.
fn canonical_entries<T: Datum>(cell: &Cell<T>, canonical: &mut Canonical<'_>) {
    canonical.uint(cell.payloads().count() as u64);
    for (dot, payload) in cell.payloads() {
        canonical.dot(dot);
        match payload {
            View::Typed(value) => canonical.value(value),
            View::AsCame(came) => canonical.value_as_came(&came.bytes),
        }
    }
}

/// A register that reads the value written last.
///
/// | | concurrent with a write | concurrent with a removal |
/// |---|---|---|
/// | write | both are kept until somebody who saw both writes; the later is read | the write survives |
///
/// "Later" is the greater stamp, then the greater replica id: a total order, the same everywhere. Other readings of what was
/// written concurrently are at hand: [`all`](Self::all), [`newest_non_null`](LwwRegister::newest_non_null),
/// [`min`](Self::min), [`max`](Self::max), or a pure function of the application with [`resolve`](Self::resolve).
///
/// # Cost
/// Metadata: a stamp and the author's number, 16 bytes beside most values. Where several replicas wrote, also a box with 16
/// bytes for each, until every member has seen it and it is [forgotten](crate::Replica::forget). Reading the latest is
/// constant work.
///
/// Source: Johnson, Thomas, *The Maintenance of Duplicate Databases* (RFC 677, 1975), with a hybrid logical timestamp.
///
/// # Example
/// ```
/// use driftless::{Config, LwwRegister, Replica, ReplicaId};
///
/// let mut eu: Replica<LwwRegister<i64>> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// let mut us: Replica<LwwRegister<i64>> = Replica::new(ReplicaId::from_u128(2), Config::default());
/// eu.write(1_000, |price| price.set(2_900))?;
/// us.write(1_001, |price| price.set(2_500))?;             // neither has seen the other
/// eu.merge(1_002, us.delta_since(&eu.vector()))?;
///
/// let price = eu.state();
/// assert_eq!(price.latest(), Some(&2_500));
/// assert!(price.is_conflicted());
/// assert_eq!(price.all().collect::<Vec<_>>(), [&2_900, &2_500]);
/// assert_eq!((price.min(), price.max()), (Some(&2_500), Some(&2_900)));
/// let last = price.stamped().last().map(|(stamp, price)| (stamp.millis(), *price));
/// assert_eq!(last, Some((1_001, 2_500)));
///
/// eu.write(1_003, |price| price.set(2_700))?;             // eu has seen both
/// assert_eq!(eu.state().all().collect::<Vec<_>>(), [&2_700]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
/// A write of "nothing" need not win over a concurrent write of something:
/// ```
/// use driftless::{Config, LwwRegister, Replica, ReplicaId, Value};
///
/// let mut eu: Replica<LwwRegister<Option<u8>>> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// let mut us: Replica<LwwRegister<Option<u8>>> = Replica::new(ReplicaId::from_u128(2), Config::default());
/// eu.write(1_000, |age| age.set(36))?;
/// us.write(1_001, |age| age.set(None))?;
/// eu.merge(1_002, us.delta_since(&eu.vector()))?;
/// assert_eq!((eu.state().latest(), eu.state().newest_non_null()), (Some(&None), Some(&36)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LwwRegister<T> {
    cell: Cell<T>,
}

impl<T> LwwRegister<T> {
    /// The value written last: greatest stamp, then greatest replica id. `None` if it was never written or was cleared, or holds
    /// only what this release [cannot read](Self::unreadable): ask that before a default is written in its place.
    pub fn latest(&self) -> Option<&T> {
        self.cell.latest()
    }

    /// The concurrent values, each with the event that wrote it.
    pub(crate) fn dotted(&self) -> impl Iterator<Item = (Dot, &T)> {
        self.cell.live()
    }
}

register!(LwwRegister, "register", Shape::REGISTER, |cell: &Cell<T>| cell.latest().map(Value::of));

/// A register that reads all values written concurrently, for the application or a person to settle.
///
/// It merges as [`LwwRegister`] does, at the same cost, and differs in what it shows: there is no "latest", and a change of it
/// shows the distinct values, ordered.
///
/// Source: the multi-value register of Shapiro et al., *A Comprehensive Study of Convergent and Commutative Replicated Data
/// Types* (2011), section 3.2.2.
///
/// # Example
/// ```
/// use driftless::{Config, MvRegister, Replica, ReplicaId};
///
/// let mut eu: Replica<MvRegister<u32>> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// let mut us: Replica<MvRegister<u32>> = Replica::new(ReplicaId::from_u128(2), Config::default());
/// let mut ap: Replica<MvRegister<u32>> = Replica::new(ReplicaId::from_u128(3), Config::default());
/// for (replica, table) in [(&mut eu, 7), (&mut us, 4), (&mut ap, 7)] {
///     replica.write(1_000, |tables| tables.set(table))?;
/// }
/// eu.merge(1_001, us.delta_since(&eu.vector()))?;
/// eu.merge(1_001, ap.delta_since(&eu.vector()))?;
/// assert_eq!(eu.state().all().collect::<Vec<_>>(), [&7, &4, &7]);
/// assert_eq!(eu.state().distinct(), [&4, &7]);
///
/// eu.write(1_002, |table| table.set(4))?;                 // a person settled it
/// assert!(!eu.state().is_conflicted());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MvRegister<T> {
    cell: Cell<T>,
}

impl<T: Ord> MvRegister<T> {
    /// The distinct values, ordered: what two replicas both wrote stands once.
    pub fn distinct(&self) -> Vec<&T> {
        let mut values: Vec<_> = self.all().collect();
        values.sort_unstable();
        values.dedup();
        values
    }
}

register!(MvRegister, "values", Shape::VALUES, |cell: &Cell<T>| {
    let mut values: Vec<_> = cell.live().map(|(_, value)| Value::of(value)).collect();
    values.sort_unstable();
    values.dedup();
    (!values.is_empty()).then_some(Value::List(values))
});

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_register_costs_sixteen_bytes_beside_its_value() {
        assert_eq!(size_of::<LwwRegister<String>>(), size_of::<String>() + 16);
        assert_eq!(size_of::<LwwRegister<i64>>(), size_of::<i64>() + 16);
        assert_eq!(size_of::<LwwRegister<bool>>(), 16);
        assert_eq!(size_of::<LwwRegister<[u8; 16]>>(), 32);
    }
}
