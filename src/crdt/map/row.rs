//! One key of a map: its value, and what a removal of it has seen.

use std::hint::black_box;

use crate::causal::dot::Marks;
use crate::causal::frontier::Frontier;
use crate::crdt::change::Path;
use crate::crdt::map::body::Body;
use crate::crdt::map::standing::Standing;
use crate::crdt::merging::Merging;
use crate::crdt::pruning::Pruning;
use crate::crdt::repairing::Repairing;
use crate::crdt::shipping::Since;
use crate::crdt::{Crdt, Key};
use crate::wire::events::Events;

/// A row of a map.
///
/// A removal of the key is one event for all that lies within: its marks, the `floor`, say what it has seen there. What
/// lies within the floor and is not live is dead, so no cell of the row needs a tombstone of its own. A live dot may be as
/// old as the floor (a transaction that removes the key and writes it again), never older.
#[derive(Debug)]
pub(super) struct Row<K, V> {
    pub(super) key: K,
    pub(super) body: Body<V>,
}

impl<K: Key, V: Crdt> Clone for Row<K, V> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), body: self.body.clone() }
    }
}

impl<K: Key, V: Crdt> Row<K, V> {
    pub(super) fn new(key: K, value: V, floor: Option<Box<Marks>>) -> Self {
        Self { key, body: Body::new(value, floor) }
    }

    /// A row that says nothing yet.
    #[inline]
    pub(super) fn bottom(key: K) -> Self {
        Self { key, body: Body::Plain(Standing::default(), V::bottom()) }
    }

    /// A copy that belongs to no table.
    pub(super) fn alone(&self) -> Self {
        let mut row = self.clone();
        *row.body.standing_mut() = Standing::default();
        row
    }

    /// Whether the row says nothing at all.
    pub(super) fn is_bottom(&self) -> bool {
        self.body.is_bottom()
    }

    /// Has the row's memory fetched. Where the rows of a large map lie is known to no cache: of rows that are fetched one behind
    /// the other, before anything else is done, all are on their way at once. What is done to one of them takes so many
    /// instructions that the processor does not come to the next before this one is there.
    #[inline]
    pub(super) fn fetch(&self) {
        if let Body::Plain(standing, value) = &self.body {
            black_box((*standing, value.is_live()));
        }
    }

    pub(super) fn raise_marks(&self, marks: &mut Marks) {
        if let Some(floor) = self.body.floor() {
            marks.raise_all(floor);
        }
        if let Some(value) = self.body.value() {
            value.raise_marks(marks);
        }
    }

    pub(super) fn note_events(&self, events: &mut Events) {
        if let Some(floor) = self.body.floor() {
            floor.iter().for_each(|mark| events.note(mark));
        }
        if let Some(value) = self.body.value() {
            value.note_events(events);
        }
    }

    /// Whether something of it is live whose event lies within `seen`.
    pub(super) fn shows(&self, seen: &Frontier) -> bool {
        self.body.value().is_some_and(|value| value.shows(seen))
    }

    /// What of the row is news: all of it if a removal is, else the cells that are.
    pub(super) fn since(&self, since: &Since) -> Option<Self> {
        if self.body.floor().is_some_and(|floor| !floor.within(&since.frontier)) {
            return Some(self.clone());
        }
        let value = self.body.value()?.since(since)?;
        Some(Self::new(self.key.clone(), value, None))
    }

    /// Joins what comes in for the key; bottom, if nothing does.
    ///
    /// On return `merging` holds the fresh events and the residue of this row alone.
    pub(super) fn join(
        &mut self,
        floor: Option<Box<Marks>>,
        value: &mut V,
        merging: &mut Merging<'_>,
        path: &Path<'_>,
        step: u32,
    ) {
        merging.fresh.clear();
        let floor = floor.map(|mut floor| {
            floor.remap(|dot| merging.remap(dot));
            floor
        });
        let news = floor.filter(|floor| !floor.within(merging.ours));
        let outer = news.as_ref().map(|floor| {
            for mark in floor.iter().filter(|mark| !merging.ours.covers(*mark)) {
                merging.fresh.raise(mark);
            }
            let mut inner = merging.floor.clone();
            inner.raise_all(floor);
            std::mem::replace(&mut merging.floor, inner)
        });
        merging.residue = false;
        self.body.value_mut().join(value, merging, &Path::key(path, step, &self.key));
        if let Some(outer) = outer {
            merging.floor = outer;
        }
        self.body.raise_floor(news);
        merging.residue |= self.body.floor().is_some() || self.body.is_void();
    }

    /// Joins what is held elsewhere for the key, where the two ought to be equal; bottom, if nothing is.
    ///
    /// On return `repairing` holds the residue of this row alone.
    pub(super) fn repair(
        &mut self,
        floor: Option<Box<Marks>>,
        value: &mut V,
        repairing: &mut Repairing<'_>,
        path: &Path<'_>,
        step: u32,
    ) {
        let outer = (repairing.ours.clone(), repairing.theirs.clone());
        if let Some(own) = self.body.floor() {
            repairing.ours.raise_all(own);
        }
        let floor = floor.map(|mut floor| {
            floor.remap(|dot| repairing.remap(dot));
            repairing.theirs.raise_all(&floor);
            floor
        });
        repairing.residue = false;
        self.body.value_mut().repair(value, repairing, &Path::key(path, step, &self.key));
        self.body.raise_floor(floor);
        repairing.residue |= self.body.floor().is_some() || self.body.is_void();
        (repairing.ours, repairing.theirs) = outer;
    }

    /// Forgets what is stable. Returns whether something is left to be forgotten later.
    pub(super) fn prune(&mut self, pruning: &mut Pruning<'_>) -> bool {
        let is_stable = self.body.floor().is_some_and(|floor| floor.within(pruning.cut));
        if let Some(floor) = is_stable.then(|| self.body.take_floor()).flatten() {
            for mark in floor.iter() {
                pruning.dropped.raise(mark);
            }
            pruning.marks += 1;
            pruning.weigh_marks(floor.len());
        }
        let outer = self.body.floor().map(|floor| {
            let outer = pruning.floor.clone();
            pruning.floor.raise_all(floor);
            outer
        });
        let has_residue = self.body.held_mut().is_some_and(|value| value.prune(pruning));
        self.body.shed();
        if let Some(outer) = outer {
            pruning.floor = outer;
        }
        has_residue || self.body.floor().is_some()
    }
}
