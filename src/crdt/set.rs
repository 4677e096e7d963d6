//! A set of plain values.

use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::iter::FusedIterator;

use crate::causal::dot::Marks;
use crate::causal::frontier::Frontier;
use crate::crdt::change::Path;
use crate::crdt::flag::Flag;
use crate::crdt::map::MergeMap;
use crate::crdt::map::entries::Entries;
use crate::crdt::merging::Merging;
use crate::crdt::prints::{Prints, Wanted};
use crate::crdt::pruning::Pruning;
use crate::crdt::renaming::{Renamer, Step};
use crate::crdt::repairing::Repairing;
use crate::crdt::schema::Schema;
use crate::crdt::shipping::{Since, Splitter};
use crate::crdt::undo::Before;
use crate::crdt::unreadable::Unreadable;
use crate::crdt::write::{Sinking, Writer};
use crate::crdt::{Crdt, Key};
use crate::wire::canonical::Canonical;
use crate::wire::decode::Decoder;
use crate::wire::encode::Encoder;
use crate::wire::error::DecodeError;
use crate::wire::events::Events;
use crate::wire::shape::Shape;

/// A set in which adding wins over a concurrent removal: an observed-remove set.
///
/// | | concurrent with add of the same | concurrent with remove of the same |
/// |---|---|---|
/// | add | in the set | in the set |
/// | remove | in the set | gone |
///
/// A removal takes away the additions it has seen. Removing what is not there is no event; adding what is there is one. It
/// is a map from the element to a [`Flag`], at the cost of a [`MergeMap`].
///
/// Source: Bieniusa et al., *An Optimized Conflict-free Replicated Set* (2012).
///
/// # Example
/// ```
/// use driftless::{Config, OrSet, Replica, ReplicaId};
///
/// let mut eu: Replica<OrSet<String>> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// let mut us: Replica<OrSet<String>> = Replica::new(ReplicaId::from_u128(2), Config::default());
/// eu.write(1_000, |tags| {
///     tags.add("admin");
///     tags.add("staff");
/// })?;
/// us.merge(1_001, eu.delta_since(&us.vector()))?;
///
/// assert!(eu.write(1_002, |tags| tags.remove("admin") && tags.remove("staff"))?.value);
/// us.write(1_002, |tags| tags.add("admin"))?;             // neither has seen the other
/// us.merge(1_003, eu.delta_since(&us.vector()))?;
/// let tags = us.state();
/// assert!(tags.contains("admin") && !tags.contains("staff"));
/// assert_eq!((tags.len(), tags.is_empty()), (1, false));
/// assert_eq!(tags.rows(), 2, "that \"staff\" is removed is kept until all have seen it");
/// assert_eq!(tags.iter().collect::<Vec<_>>(), ["admin"]);
/// for tag in tags {
///     println!("{tag}");
/// }
///
/// assert_eq!(us.write(1_004, |tags| tags.clear())?.value, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct OrSet<T> {
    elements: MergeMap<T, Flag>,
}

impl<T> Default for OrSet<T> {
    fn default() -> Self {
        Self { elements: MergeMap::default() }
    }
}

impl<T: Key> Clone for OrSet<T> {
    /// Another copy to read; pages are shared until one side writes.
    fn clone(&self) -> Self {
        self.fork()
    }
}

impl<T: Key + fmt::Debug> fmt::Debug for OrSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl<T: Key> OrSet<T> {
    /// Whether an element is in the set.
    pub fn contains<Q>(&self, element: &Q) -> bool
    where
        T: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.elements.contains_key(element)
    }

    /// The number of elements, at hand.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// The elements, in no order that means anything: sort what is shown to people.
    pub fn iter(&self) -> Elements<'_, T> {
        Elements(self.elements.iter())
    }

    /// The number of rows that are kept, those of removed elements included: the memory that forgetting has yet to give
    /// back.
    pub fn rows(&self) -> usize {
        self.elements.rows()
    }
}

/// The elements of an [`OrSet`], in no order that means anything. Made by [`OrSet::iter`].
#[derive(Debug)]
pub struct Elements<'a, T>(Entries<'a, T, Flag>);

impl<'a, T: Key> Iterator for Elements<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        self.0.next().map(|(element, _)| element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<T: Key> ExactSizeIterator for Elements<'_, T> {}

impl<T: Key> FusedIterator for Elements<'_, T> {}

impl<'a, T: Key> IntoIterator for &'a OrSet<T> {
    type Item = &'a T;
    type IntoIter = Elements<'a, T>;

    fn into_iter(self) -> Elements<'a, T> {
        self.iter()
    }
}

impl<T: Key> Writer<'_, OrSet<T>> {
    fn elements(&mut self) -> Writer<'_, MergeMap<T, Flag>> {
        Writer { value: &mut self.value.elements, txn: self.txn, path: self.path.again() }
    }

    /// Adds an element. An element that is there already is added anew, so that it wins over a concurrent removal: that is
    /// an event, and is shipped.
    pub fn add<Q>(&mut self, element: &Q)
    where
        T: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = T> + ?Sized,
    {
        self.elements().update(element, |flag| flag.enable());
    }

    /// Removes an element, as far as this replica has seen it added. Returns whether it was there.
    pub fn remove<Q>(&mut self, element: &Q) -> bool
    where
        T: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.elements().remove(element)
    }

    /// Removes all elements that this replica has seen. Returns how many there were.
    pub fn clear(&mut self) -> usize {
        self.elements().clear()
    }
}

impl<T: Key> Crdt for OrSet<T> {
    type Mut<'a> = Writer<'a, Self>;

    const SHAPE: Shape = Shape::SET;

    fn describe(schema: &mut Schema) {
        schema.leaf("set");
    }

    fn row_count(&self) -> usize {
        self.rows()
    }

    fn bottom() -> Self {
        Self::default()
    }

    fn fork(&self) -> Self {
        Self { elements: self.elements.fork() }
    }

    fn handle(writer: Writer<'_, Self>) -> Self::Mut<'_> {
        writer
    }

    fn is_live(&self) -> bool {
        self.elements.is_live()
    }

    fn is_bottom(&self) -> bool {
        self.elements.is_bottom()
    }

    fn join(&mut self, theirs: &mut Self, merging: &mut Merging<'_>, path: &Path<'_>) {
        self.elements.join(&mut theirs.elements, merging, path);
    }

    fn sink(&mut self, sinking: &mut Sinking<'_>, path: &Path<'_>) {
        self.elements.sink(sinking, path);
    }

    fn raise_marks(&self, marks: &mut Marks) {
        self.elements.raise_marks(marks);
    }

    fn since(&self, since: &Since) -> Option<Self> {
        let elements = self.elements.since(since)?;
        Some(Self { elements })
    }

    fn shows(&self, seen: &Frontier) -> bool {
        self.elements.shows(seen)
    }

    fn prune(&mut self, pruning: &mut Pruning<'_>) -> bool {
        self.elements.prune(pruning)
    }

    fn rename(&mut self, renamer: &mut Renamer<'_>, path: &Path<'_>) {
        self.elements.rename(renamer, path);
    }

    fn lay(&mut self, way: &[Step], seed: u64) {
        self.elements.lay(way, seed);
    }

    fn undo(&mut self, steps: &[u32], before: &mut Before) {
        self.elements.undo(steps, before);
    }

    fn note_events(&self, events: &mut Events) {
        self.elements.note_events(events);
    }

    fn encode(column: &[&Self], encoder: &mut Encoder) {
        let elements: Vec<_> = column.iter().map(|set| &set.elements).collect();
        MergeMap::encode(&elements, encoder);
    }

    fn decode(
        count: usize,
        held: Option<&Self>,
        decoder: &mut Decoder<'_>,
    ) -> Result<Vec<Self>, DecodeError> {
        let column = MergeMap::decode(count, held.map(|held| &held.elements), decoder)?;
        Ok(column.into_iter().map(|elements| Self { elements }).collect())
    }

    fn canonical(&self, canonical: &mut Canonical<'_>) {
        self.elements.canonical(canonical);
    }

    fn prints(&self, prints: &mut Prints<'_>, path: &Path<'_>) {
        self.elements.prints(prints, path);
    }

    fn wanted(&self, wanted: &mut Wanted<'_>, path: &Path<'_>) -> Option<Self> {
        let elements = self.elements.wanted(wanted, path)?;
        Some(Self { elements })
    }

    fn repair(&mut self, theirs: &mut Self, repairing: &mut Repairing<'_>, path: &Path<'_>) {
        self.elements.repair(&mut theirs.elements, repairing, path);
    }

    fn find_unreadable(&self, _: &mut Unreadable, _: &Path<'_>) {}

    fn split(&mut self, splitter: &mut Splitter) -> Self {
        Self { elements: self.elements.split(splitter) }
    }

    fn append(&mut self, next: Self) {
        self.elements.append(next.elements);
    }
}
