//! Values that this release cannot read, found.

use std::fmt;

use crate::causal::frontier::Frontier;
use crate::cell::Cell;
use crate::crdt::change::{ChangePath, Path};

/// So many places are named.
const NAMED: usize = 16;

/// What another release wrote and this one cannot read: values of registers that are of another type here, and, in structs with
/// [`UnknownFields`](crate::UnknownFields), fields that are of another type here or not there. All of it is kept as it came and
/// passed on, and what is beside it is exchanged as ever. A release that has the type reads it.
///
/// # Example
/// A release that turned a number into text, and one from before:
/// ```
/// use driftless::{Config, LwwRegister, MergeMap, Replica, ReplicaId};
///
/// let mut new: Replica<MergeMap<u8, LwwRegister<String>>> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// let mut old: Replica<MergeMap<u8, LwwRegister<u32>>> = Replica::new(ReplicaId::from_u128(2), Config::default());
/// old.write(1_000, |prices| prices.update(&7, |price| price.set(29)))?;
/// new.write(1_001, |prices| prices.update(&8, |price| price.set("29 EUR")))?;
/// let bytes = new.delta_since(&old.vector()).encode()?;
///
/// let merged = old.merge(1_002, old.decode(&bytes)?)?;
/// assert_eq!((merged.unreadable.values, merged.unreadable.places[0].to_string()), (1, "8".to_owned()));
/// assert_eq!(old.unreadable(), merged.unreadable);
/// let price = |key: u8| old.state().get(&key).expect("it is there");
/// assert_eq!((price(7).latest(), price(8).latest()), (Some(&29), None));
/// let (stamp, bytes) = price(8).unreadable().next().expect("it is kept");
/// assert_eq!((stamp.millis(), rmp_serde::from_slice::<String>(bytes)?), (1_001, "29 EUR".to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unreadable {
    /// How many there are. A field counts as one, whatever it holds.
    pub values: usize,
    /// The registers and fields that hold the first of them, at most 16. A field is named by its number, as in `#3`.
    pub places: Vec<ChangePath>,
    /// Whether there are more.
    pub has_more: bool,
}

impl Unreadable {
    /// Whether all could be read.
    pub fn is_empty(&self) -> bool {
        self.values == 0
    }

    /// Takes note of what a register holds that who has seen `seen` has not.
    pub(crate) fn note<T>(&mut self, cell: &Cell<T>, seen: &Frontier, path: &Path<'_>) {
        let values = cell.unreadable().filter(|(dot, _)| !seen.covers(*dot)).count();
        if values > 0 {
            self.note_place(values, path);
        }
    }

    /// Takes note of a place with so many values, or a field, that this release cannot read.
    pub(crate) fn note_place(&mut self, values: usize, path: &Path<'_>) {
        self.values += values;
        if self.places.len() < NAMED {
            self.places.push(path.shown());
        } else {
            self.has_more = true;
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = if self.values == 1 { "value" } else { "values" };
        write!(f, "{} {values} that this release cannot read", self.values)?;
        for (place, path) in self.places.iter().enumerate() {
            f.write_str(if place == 0 { ", at " } else { ", " })?;
            fmt::Display::fmt(path, f)?;
        }
        if self.has_more { f.write_str(", ..") } else { Ok(()) }
    }
}
