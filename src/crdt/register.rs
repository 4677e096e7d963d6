//! Registers: one value that is replaced as a whole.

use std::fmt;

use crate::causal::dot::Marks;
use crate::cell::Cell;
use crate::clock::Timestamp;
use crate::crdt::change::Path;
use crate::crdt::merging::Merging;
use crate::crdt::pruning::Pruning;
use crate::crdt::shipping::{Since, Splitter};
use crate::crdt::value::Value;
use crate::crdt::write::{Sinking, Writer};
use crate::crdt::{Before, Crdt, Datum, DatumFrom, restore};
use crate::wire::canonical::Canonical;
use crate::wire::decode::Decoder;
use crate::wire::encode::Encoder;
use crate::wire::error::DecodeError;

/// The values a payload is written as: the value alone.
const ITEMS: usize = 1;

macro_rules! register {
    ($name:ident, $read:expr) => {
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
            /// All concurrent values, the last-writer-wins winner last. One, unless replicas wrote without having seen
            /// each other; none, if the register was never written or was cleared.
            pub fn all(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
                self.cell.live().map(|(_, value)| value)
            }

            /// As [`all`](Self::all), each with the stamp of its write.
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
            #[doc = concat!("use driftless::", stringify!($name), ";")]
            #[doc = concat!("fn longest(name: &", stringify!($name), "<String>) -> Option<&String> {")]
            ///     name.resolve(|values| values.max_by_key(|name| name.len()))
            /// }
            /// ```
            pub fn resolve<'a, R>(
                &'a self,
                function: impl FnOnce(&mut dyn Iterator<Item = &'a T>) -> R,
            ) -> R {
                function(&mut self.all())
            }

            /// Whether more than one value is held, because replicas wrote without having seen each other.
            pub fn is_conflicted(&self) -> bool {
                self.all().nth(1).is_some()
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
            /// Writes a value. It supersedes all that this replica has seen here; what another replica writes
            /// concurrently stays beside it.
            ///
            /// Cost: constant, while one replica writes the register or all have seen its writes.
            pub fn set<V>(&mut self, value: V)
            where
                T: DatumFrom<V>,
            {
                let before_reading = self.txn.recorder.reading(|| $read(&self.value.cell));
                let before = self.value.cell.write(self.txn.dot, T::datum_from(value));
                self.txn.residue |= self.value.cell.has_residue();
                self.txn.event(&self.path, before);
                let cell = &self.value.cell;
                self.txn.record(&self.path, before_reading, || $read(cell));
            }

            /// Removes all values that this replica has seen here. A value that another replica writes concurrently
            /// survives. If there is none it is no event. Returns whether there was one.
            pub fn clear(&mut self) -> bool {
                let before_reading = self.txn.recorder.reading(|| $read(&self.value.cell));
                let Some(before) = self.value.cell.remove(self.txn.dot) else {
                    return false;
                };
                self.txn.residue = true;
                self.txn.event(&self.path, before);
                self.txn.record(&self.path, before_reading, || None);
                true
            }
        }

        impl<T: Datum> Crdt for $name<T> {
            type Mut<'a> = Writer<'a, Self>;

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

            fn join(&mut self, theirs: Self, merging: &mut Merging<'_>, path: &Path<'_>) {
                merging.join_cell(&mut self.cell, theirs.cell, path, $read);
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

            fn prune(&mut self, pruning: &mut Pruning<'_>) -> bool {
                let had_residue = self.cell.has_residue();
                let has_residue = self.cell.prune(pruning.cut, &mut pruning.dropped);
                pruning.marks += usize::from(had_residue && !has_residue);
                has_residue
            }

            fn undo(&mut self, _: &[u32], before: Before) {
                self.cell = restore(before);
            }

            fn encode(&self, encoder: &mut Encoder) {
                self.cell.encode(encoder, ITEMS, |encoder, _, value| encoder.value(value));
            }

            fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
                let cell = Cell::decode(decoder, ITEMS, |decoder, _| decoder.value())?;
                Ok(Self { cell })
            }

            fn canonical(&self, canonical: &mut Canonical<'_>) {
                canonical_entries(&self.cell, canonical);
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
    canonical.uint(cell.live().count() as u64);
    for (dot, value) in cell.live() {
        canonical.dot(dot);
        canonical.value(value);
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
/// Metadata: one stamp and the author's number, 16 bytes; a stamp more for each replica that wrote, until every member has
/// seen it.
///
/// # Example
/// ```
/// use driftless::{Config, LwwRegister, Replica, ReplicaId};
/// let mut eu: Replica<LwwRegister<String>> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// eu.write(1_000, |name| name.set("Ada"))?;
/// assert_eq!(eu.state().latest().map(String::as_str), Some("Ada"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LwwRegister<T> {
    cell: Cell<T>,
}

impl<T> LwwRegister<T> {
    /// The value written last: greatest stamp, then greatest replica id. `None` if it was never written or was cleared.
    pub fn latest(&self) -> Option<&T> {
        self.cell.latest()
    }
}

register!(LwwRegister, |cell: &Cell<T>| cell.latest().map(Value::of));

/// A register that reads all values written concurrently, for the application or a person to settle.
///
/// It merges as [`LwwRegister`] does and differs in what it shows: a change of it shows the distinct values, ordered.
///
/// # Example
/// ```
/// use driftless::{Config, MvRegister, Replica, ReplicaId};
/// let mut eu: Replica<MvRegister<i64>> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// eu.write(1_000, |note| note.set(7))?;
/// assert_eq!(eu.state().all().collect::<Vec<_>>(), [&7]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MvRegister<T> {
    cell: Cell<T>,
}

impl<T: Ord> MvRegister<T> {
    /// The distinct values, ordered.
    pub fn distinct(&self) -> Vec<&T> {
        let mut values: Vec<_> = self.all().collect();
        values.sort_unstable();
        values.dedup();
        values
    }
}

register!(MvRegister, |cell: &Cell<T>| {
    let mut values: Vec<_> = cell.live().map(|(_, value)| Value::of(value)).collect();
    values.sort_unstable();
    values.dedup();
    (!values.is_empty()).then_some(Value::List(values))
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_register_costs_sixteen_bytes_beside_its_value() {
        assert_eq!(size_of::<LwwRegister<String>>(), size_of::<String>() + 16);
        assert_eq!(size_of::<LwwRegister<i64>>(), size_of::<i64>() + 16);
        assert_eq!(size_of::<LwwRegister<bool>>(), 16);
        assert_eq!(size_of::<LwwRegister<[u8; 16]>>(), 32);
    }
}
