//! Renaming on its way through the state: the events of a replica after a fork point become those of a new id.
//!
//! For all types but one that is a matter of dots and marks. A counter holds one running total for a replica, and what was
//! counted up to the fork point keeps its name while what was counted later does not. So the total as of the fork point must be
//! known, and so must the totals that removals after it ended: a removal records what it has seen of others, and of what is now
//! an other. They are not in the state. A replica writes them down while it may still be forked before them: see [`Counted`].

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;

use crate::causal::origin::Origins;
use crate::causal::renaming::Renaming;
use crate::clock::Timestamp;
use crate::wire::hash::KeyHasher;

/// Where a counter stands: a hash of the way there.
pub(crate) type Place = u64;

/// What a replica's own count was before a transaction that wrote or removed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) place: Place,
    /// The stamp of the count before, and its total.
    pub(crate) before: Timestamp,
    pub(crate) total: i64,
}

/// One step of the way from the root to a place, by which the place can be made again once its rows are gone.
#[doc(hidden)]
pub enum Step {
    /// A field of a struct, or the kind of what stands at a name of a document.
    Number(u32),
    /// A key of a map.
    Key(Box<dyn Any + Send + Sync>),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Key(_) => f.write_str("key"),
        }
    }
}

impl Step {
    /// Whether it is the field of a struct with this number.
    pub fn is_field(&self, number: u32) -> bool {
        matches!(self, Self::Number(of) if *of == number)
    }

    /// The key, of a map of keys of this type.
    pub(crate) fn key<K: 'static>(&self) -> Option<&K> {
        match self {
            Self::Number(_) => None,
            Self::Key(key) => key.downcast_ref(),
        }
    }
}

/// What renaming knows and has found out.
#[doc(hidden)]
#[derive(Debug)]
pub struct Renamer<'a> {
    pub(crate) events: Renaming,
    pub(crate) origins: &'a Origins,
    /// What the own count was at the fork point, where it was written or removed since; `None` where it began since.
    pub(crate) counts: BTreeMap<Place, Option<(Timestamp, i64)>>,
    /// What places are hashed with.
    pub(crate) hasher: &'a KeyHasher,
    /// Whether what was counted since the fork point leaves the range of 64 bits somewhere.
    pub(crate) has_overflown: bool,
}

impl Renamer<'_> {
    /// The stamp and the total of the own count of a place as of the fork point, if it was written or removed since.
    pub(crate) fn count(&self, place: Place) -> Option<(Timestamp, i64)> {
        self.counts.get(&place).copied().flatten()
    }
}
