//! What a write or a merge changed, as an application sees it.

use std::fmt;

use crate::causal::id::ReplicaId;
use crate::clock::Timestamp;
use crate::crdt::Key;
use crate::crdt::value::Value;

/// One step of the way from the root to what changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathItem {
    /// A field of a struct.
    Field(&'static str),
    /// A key of a map, a name in a document, or an element of a set.
    Key(Value),
}

impl fmt::Display for PathItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => f.write_str(name),
            Self::Key(key) => fmt::Display::fmt(key, f),
        }
    }
}

/// One reading that is not what it was: made by a transaction, or by a merge. Nothing is reported for what reads the same.
///
/// Readings: a register its latest value, a multi-value register the list of its values, a counter its sum, a flag and an
/// element of a set `true`; `None` where nothing is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Where.
    pub path: Vec<PathItem>,
    /// What was read there before.
    pub before: Option<Value>,
    /// What is read there now.
    pub after: Option<Value>,
    /// The replica whose event led to it: the newest among those that the merge brought for this place.
    pub author: ReplicaId,
    /// The stamp of that event.
    pub stamp: Timestamp,
}

/// A key that can show itself.
trait Shown: Send + Sync {
    fn shown(&self) -> Value;
}

impl<K: Key> Shown for K {
    fn shown(&self) -> Value {
        Value::of(self)
    }
}

/// A place in the state, as a list linked from the leaf to the root, on the stack.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    /// The number by which the parent finds the child again.
    step: u32,
    name: Name<'a>,
}

#[derive(Clone, Copy)]
enum Name<'a> {
    Root,
    Field(&'static str),
    Key(&'a dyn Shown),
}

impl fmt::Debug for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.items()).finish()
    }
}

impl<'a> Path<'a> {
    pub(crate) const ROOT: Path<'static> = Path { parent: None, step: 0, name: Name::Root };

    /// A field of a struct: its number and its name.
    pub fn field(parent: &'a Path<'a>, step: u32, name: &'static str) -> Self {
        Self { parent: Some(parent), step, name: Name::Field(name) }
    }

    pub(crate) fn key<K: Key>(parent: &'a Path<'a>, step: u32, key: &'a K) -> Self {
        Self { parent: Some(parent), step, name: Name::Key(key) }
    }

    /// The same place, one step down without a name of its own.
    pub(crate) fn unnamed(parent: &'a Path<'a>, step: u32) -> Self {
        Self { parent: Some(parent), step, name: Name::Root }
    }

    fn up(&self) -> impl Iterator<Item = &Path<'a>> {
        let mut next = Some(self);
        std::iter::from_fn(move || {
            let path = next?;
            next = path.parent;
            Some(path)
        })
    }

    /// Appends the steps from the root.
    #[inline]
    pub(crate) fn push_steps(&self, steps: &mut Vec<u32>) {
        let start = steps.len();
        steps.extend(self.up().filter(|path| path.parent.is_some()).map(|path| path.step));
        steps[start..].reverse();
    }

    fn items(&self) -> Vec<PathItem> {
        let items = self.up().filter_map(|path| match path.name {
            Name::Root => None,
            Name::Field(name) => Some(PathItem::Field(name)),
            Name::Key(key) => Some(PathItem::Key(key.shown())),
        });
        let mut items: Vec<_> = items.collect();
        items.reverse();
        items
    }
}

/// Collects changes, if they are asked for.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    changes: Option<Vec<Change>>,
}

impl Recorder {
    pub(crate) fn new(is_on: bool) -> Self {
        Self { changes: is_on.then(Vec::new) }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.changes.is_some()
    }

    /// The reading, if it will be asked for.
    pub(crate) fn reading(&self, read: impl FnOnce() -> Option<Value>) -> Option<Value> {
        if self.is_on() { read() } else { None }
    }

    pub(crate) fn record(
        &mut self,
        path: &Path<'_>,
        before: Option<Value>,
        after: impl FnOnce() -> Option<Value>,
        (author, stamp): (ReplicaId, Timestamp),
    ) {
        let Some(changes) = &mut self.changes else {
            return;
        };
        let after = after();
        if before != after {
            changes.push(Change { path: path.items(), before, after, author, stamp });
        }
    }

    /// Ends the collection: one change for a place, none where all is as it was.
    pub(crate) fn finish(self) -> Vec<Change> {
        let Some(changes) = self.changes else {
            return Vec::new();
        };
        let mut places: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
        let mut merged: Vec<Change> = Vec::new();
        for change in changes {
            let place = format!("{:?}", change.path);
            match places.get(&place) {
                Some(index) => {
                    let earlier = &mut merged[*index];
                    earlier.after = change.after;
                    if change.stamp >= earlier.stamp {
                        (earlier.author, earlier.stamp) = (change.author, change.stamp);
                    }
                }
                None => {
                    places.insert(place, merged.len());
                    merged.push(change);
                }
            }
        }
        merged.retain(|change| change.before != change.after);
        merged
    }
}
