//! What a write or a merge changed, as an application sees it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use crate::causal::id::ReplicaId;
use crate::clock::Timestamp;
use crate::crdt::Key;
use crate::crdt::renaming::{self, Place};
use crate::crdt::value::Value;
use crate::wire::hash::KeyHasher;

/// One step of the way from the root to what changed. See [`Change`] for an example.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// The way from the root to what changed.
///
/// Paths share their beginnings: a long key above many changes is held once. A clone costs a reference count.
///
/// # Example
/// ```
/// use driftless::{Config, Flag, MergeMap, Replica, ReplicaId};
/// let config = Config { changes: true, ..Config::default() };
/// let mut eu: Replica<MergeMap<String, MergeMap<u8, Flag>>> = Replica::new(ReplicaId::from_u128(1), config);
/// let committed = eu.write(1_000, |rooms| rooms.update("kitchen", |lamps| lamps.update(&7, |lamp| lamp.enable())))?;
/// let path = &committed.changes[0].path;
/// assert_eq!(path.to_string(), "\"kitchen\".7");
/// assert_eq!(path.iter().map(ToString::to_string).collect::<Vec<_>>(), ["\"kitchen\"", "7"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct ChangePath(Option<Arc<Step>>);

/// The last item of a path, and the path above it.
struct Step {
    above: ChangePath,
    item: PathItem,
}

impl ChangePath {
    /// The items, from the root on. None if the state has no fields and no keys.
    ///
    /// Cost: that of a vector of as many references.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &PathItem> + ExactSizeIterator {
        self.into_iter()
    }

    /// The item nearest to what changed.
    pub fn last(&self) -> Option<&PathItem> {
        self.0.as_ref().map(|step| &step.item)
    }

    fn up(&self) -> impl Iterator<Item = &Step> {
        std::iter::successors(self.0.as_deref(), |step| step.above.0.as_deref())
    }

    /// What tells whether two paths were made for one and the same place.
    fn address(&self) -> Option<*const Step> {
        self.0.as_ref().map(Arc::as_ptr)
    }
}

impl<'a> IntoIterator for &'a ChangePath {
    type Item = &'a PathItem;
    type IntoIter = std::vec::IntoIter<&'a PathItem>;

    fn into_iter(self) -> Self::IntoIter {
        let mut items: Vec<_> = self.up().map(|step| &step.item).collect();
        items.reverse();
        items.into_iter()
    }
}

impl Hash for ChangePath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.up().for_each(|step| step.item.hash(state));
    }
}

impl PartialEq for ChangePath {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for ChangePath {}

impl PartialOrd for ChangePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ChangePath {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.address() == other.address() { Ordering::Equal } else { self.iter().cmp(other.iter()) }
    }
}

impl fmt::Display for ChangePath {
    /// The items with a full stop between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().enumerate().try_for_each(|(place, item)| {
            let stop = if place > 0 { "." } else { "" };
            write!(f, "{stop}{item}")
        })
    }
}

impl fmt::Debug for ChangePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// One reading that is not what it was: made by a transaction, or by a merge. Nothing is reported for what reads the same.
/// They are collected if [`Config::changes`](crate::Config::changes) is set.
///
/// Readings: a register its latest value, a multi-value register the list of its values, a counter its sum, a flag and an
/// element of a set `true`; `None` where nothing is. A name of a [`Document`](crate::Document) reads for each kind apart: what
/// was a counter and is text now makes two changes.
///
/// # Example
/// ```
/// use driftless::{Config, LwwRegister, MergeMap, PathItem, Replica, ReplicaId, Value};
///
/// let config = Config { changes: true, ..Config::default() };
/// let mut eu: Replica<MergeMap<String, LwwRegister<i64>>> = Replica::new(ReplicaId::from_u128(1), config);
/// eu.write(1_000, |prices| prices.update("kettle", |price| price.set(2_900)))?;
/// let committed = eu.write(1_001, |prices| prices.update("kettle", |price| price.set(3_200)))?;
///
/// let change = &committed.changes[0];
/// assert_eq!(change.path.last(), Some(&PathItem::Key(Value::from("kettle"))));
/// assert_eq!((&change.before, &change.after), (&Some(Value::from(2_900)), &Some(Value::from(3_200))));
/// assert_eq!((change.author, Some(change.stamp)), (eu.id(), committed.stamp));
/// # Ok::<(), driftless::WriteError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Where.
    pub path: ChangePath,
    /// What was read there before.
    pub before: Option<Value>,
    /// What is read there now.
    pub after: Option<Value>,
    /// The replica whose event led to it: of the newest event among those that the merge brought for this place; of
    /// events with equal stamps, the greatest id.
    pub author: ReplicaId,
    /// The stamp of that event.
    pub stamp: Timestamp,
}

/// A key that can show itself.
trait Shown: Send + Sync {
    fn shown(&self) -> Value;
    fn hash(&self, hasher: &KeyHasher) -> u64;
    fn step(&self) -> renaming::Step;
}

impl<K: Key> Shown for K {
    fn shown(&self) -> Value {
        Value::of(self)
    }

    fn hash(&self, hasher: &KeyHasher) -> u64 {
        hasher.hash(self)
    }

    fn step(&self) -> renaming::Step {
        renaming::Step::Key(Box::new(self.clone()))
    }
}

/// A place in the state, as a list linked from the leaf to the root, on the stack.
#[doc(hidden)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    /// The number by which the parent finds the child again.
    step: u32,
    name: Name<'a>,
    /// Whether the place lies in a row that the transaction has yet to add: what undoes that undoes all below it.
    is_undone: bool,
    /// The path as changes show it, once one below it has been recorded.
    shown: OnceLock<ChangePath>,
}

#[derive(Clone, Copy)]
enum Name<'a> {
    Root,
    Field(&'static str),
    Key(&'a dyn Shown),
}

impl fmt::Debug for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.shown(), f)
    }
}

impl<'a> Path<'a> {
    /// The same place, for another handle of it.
    pub(crate) fn again(&self) -> Self {
        Self { shown: OnceLock::new(), ..*self }
    }

    pub(crate) fn root() -> Self {
        Self { parent: None, step: 0, name: Name::Root, is_undone: false, shown: OnceLock::new() }
    }

    fn below(parent: &'a Path<'a>, step: u32, name: Name<'a>) -> Self {
        Self { parent: Some(parent), step, name, is_undone: parent.is_undone, shown: OnceLock::new() }
    }

    /// A field of a struct: its number and its name.
    pub fn field(parent: &'a Path<'a>, step: u32, name: &'static str) -> Self {
        Self::below(parent, step, Name::Field(name))
    }

    pub(crate) fn key<K: Key>(parent: &'a Path<'a>, step: u32, key: &'a K) -> Self {
        Self::below(parent, step, Name::Key(key))
    }

    /// A key whose row does not stand in its map yet, and may never.
    pub(crate) fn new_key<K: Key>(parent: &'a Path<'a>, key: &'a K) -> Self {
        Self { is_undone: true, ..Self::key(parent, u32::MAX, key) }
    }

    /// Whether what undoes something above undoes what is written here.
    pub(crate) fn is_undone(&self) -> bool {
        self.is_undone
    }

    /// The same place, one step down without a name of its own.
    pub(crate) fn unnamed(parent: &'a Path<'a>, step: u32) -> Self {
        Self::below(parent, step, Name::Root)
    }

    fn is_unnamed(&self) -> bool {
        matches!(self.name, Name::Root) && self.parent.is_some()
    }

    fn up(&self) -> impl Iterator<Item = &Path<'a>> {
        let mut next = Some(self);
        std::iter::from_fn(move || {
            let path = next?;
            next = path.parent;
            Some(path)
        })
    }

    /// The steps from the root.
    pub(crate) fn steps(&self) -> Vec<u32> {
        let mut steps = Vec::new();
        self.push_steps(&mut steps);
        steps
    }

    /// Appends the steps from the root.
    #[inline]
    pub(crate) fn push_steps(&self, steps: &mut Vec<u32>) {
        if let Some(parent) = self.parent {
            parent.push_steps_above(steps);
            steps.push(self.step);
        }
    }

    fn push_steps_above(&self, steps: &mut Vec<u32>) {
        if let Some(parent) = self.parent {
            parent.push_steps_above(steps);
            steps.push(self.step);
        }
    }

    /// What tells the place from others, whatever the numbers of rows are or become.
    pub(crate) fn place(&self, hasher: &KeyHasher) -> Place {
        self.up().fold(0, |below, path| match path.name {
            Name::Key(key) => hasher.hash(&(below, key.hash(hasher))),
            Name::Field(_) | Name::Root => hasher.hash(&(below, path.step)),
        })
    }

    /// The steps from the root.
    pub(crate) fn way(&self) -> Vec<renaming::Step> {
        let below_root = self.up().filter(|path| path.parent.is_some());
        let mut steps: Vec<_> = below_root
            .map(|path| match path.name {
                Name::Key(key) => key.step(),
                Name::Field(_) | Name::Root => renaming::Step::Number(path.step),
            })
            .collect();
        steps.reverse();
        steps
    }

    /// How many keys lead to the place.
    pub(crate) fn keys(&self) -> usize {
        self.up().filter(|path| matches!(path.name, Name::Key(_))).count()
    }

    pub(crate) fn shown(&self) -> ChangePath {
        let shown = self.shown.get_or_init(|| {
            let above = self.parent.map(Path::shown).unwrap_or_default();
            let item = match self.name {
                Name::Root => return above,
                Name::Field(name) => PathItem::Field(name),
                Name::Key(key) => PathItem::Key(key.shown()),
            };
            ChangePath(Some(Arc::new(Step { above, item })))
        });
        shown.clone()
    }
}

/// Collects changes, if they are asked for.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    changes: Option<Vec<Recorded>>,
}

/// What was read somewhere before.
#[derive(Debug)]
pub(crate) enum Reading {
    NotAsked,
    Of(Option<Value>),
}

/// A change, and of which kinds of state it is where a document can hold several at one name: each reads for itself.
type Recorded = (Vec<u32>, Change);

impl Recorder {
    pub(crate) fn new(is_on: bool) -> Self {
        Self { changes: is_on.then(Vec::new) }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.changes.is_some()
    }

    /// The reading, if it will be asked for: then there is one, of nothing perhaps.
    #[inline]
    pub(crate) fn reading(&self, read: impl FnOnce() -> Option<Value>) -> Reading {
        if self.is_on() { Reading::Of(read()) } else { Reading::NotAsked }
    }

    pub(crate) fn record(
        &mut self,
        path: &Path<'_>,
        before: Reading,
        after: impl FnOnce() -> Option<Value>,
        (author, stamp): (ReplicaId, Timestamp),
    ) {
        let (Some(changes), Reading::Of(before)) = (&mut self.changes, before) else {
            return;
        };
        let after = after();
        if before != after {
            let kinds = path.up().filter(|path| path.is_unnamed()).map(|path| path.step).collect();
            changes.push((kinds, Change { path: path.shown(), before, after, author, stamp }));
        }
    }

    /// Ends the collection of a transaction: one change for a place, none where all is as it was.
    pub(crate) fn finish(self) -> Vec<Change> {
        self.finish_by(ChangePath::clone)
    }

    /// Ends the collection of a merge, which comes to each place once and makes one path for it. Paths are told apart by that:
    /// comparing them item by item would let a message of one long key make a merge take long.
    pub(crate) fn finish_merge(self) -> Vec<Change> {
        self.finish_by(ChangePath::address)
    }

    fn finish_by<P: Ord>(self, place: impl Fn(&ChangePath) -> P) -> Vec<Change> {
        let mut places: BTreeMap<(P, Vec<u32>), usize> = BTreeMap::new();
        let mut merged: Vec<Change> = Vec::new();
        for (kinds, change) in self.changes.unwrap_or_default() {
            let index = *places.entry((place(&change.path), kinds)).or_insert(merged.len());
            let Some(earlier) = merged.get_mut(index) else {
                merged.push(change);
                continue;
            };
            earlier.after = change.after;
            if (change.stamp, change.author) >= (earlier.stamp, earlier.author) {
                (earlier.author, earlier.stamp) = (change.author, change.stamp);
            }
        }
        merged.retain(|change| change.before != change.after);
        merged
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

    use super::*;

    /// A path of its own, whatever other paths there are.
    fn path(keys: &[&str]) -> ChangePath {
        keys.iter().fold(ChangePath::default(), |above, key| {
            ChangePath(Some(Arc::new(Step { above, item: PathItem::Key(Value::from(*key)) })))
        })
    }

    #[test]
    fn paths_made_apart_are_told_apart_by_their_items() {
        let (xy, again) = (path(&["x", "y"]), path(&["x", "y"]));
        assert_eq!(xy, again);
        assert_eq!(xy.partial_cmp(&again), Some(Ordering::Equal));
        assert!(HashSet::from([xy.clone()]).contains(&again));
        let hash = |path: &ChangePath| BuildHasherDefault::<DefaultHasher>::default().hash_one(path);
        for other in [path(&[]), path(&["x"]), path(&["x", "z"]), path(&["y", "x"]), path(&["x", "y", "z"])] {
            assert_ne!(xy, other);
            assert_ne!(hash(&xy), hash(&other), "{other}");
            assert_eq!(xy.partial_cmp(&other), Some(xy.iter().cmp(other.iter())), "{other}");
        }
    }

    #[test]
    fn of_the_changes_of_one_place_the_newest_says_who_and_when_and_the_last_what() {
        let at = |id: u128, time| (ReplicaId::from_u128(id), Timestamp::from_bits(time));
        let key = 7_u8;
        let (root, mut recorder) = (Path::root(), Recorder::new(true));
        let place = Path::key(&root, 0, &key);
        let int = |value: i64| Some(Value::Int(value));
        let was = |value| Reading::Of(int(value));
        recorder.record(&place, Reading::Of(None), || int(1), at(1, 5));
        recorder.record(&place, was(1), || int(2), at(2, 4));
        let merged = Change {
            path: place.shown(),
            before: None,
            after: int(2),
            author: at(1, 5).0,
            stamp: at(1, 5).1,
        };
        let copy = Recorder { changes: recorder.changes.clone() };
        assert_eq!(copy.finish_merge(), std::slice::from_ref(&merged));
        // Of equal stamps the greater id's.
        recorder.record(&place, was(2), || int(3), at(3, 5));
        recorder.record(&place, was(3), || int(3), at(2, 5));
        let (author, stamp) = at(3, 5);
        assert_eq!(recorder.finish(), [Change { after: int(3), author, stamp, ..merged }]);
    }
}
