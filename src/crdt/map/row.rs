//! One key of a map: its value, and what a removal of it has seen.

use std::hint::black_box;

use crate::causal::dot::Marks;
use crate::crdt::change::Path;
use crate::crdt::map::standing::Standing;
use crate::crdt::merging::Merging;
use crate::crdt::pruning::Pruning;
use crate::crdt::repairing::Repairing;
use crate::crdt::shipping::Since;
use crate::crdt::{Crdt, Key};

/// A row of a map.
///
/// A removal of the key is one event for all that lies within: its marks, the `floor`, say what it has seen there. What
/// lies within the floor and is not live is dead, so no cell of the row needs a tombstone of its own. A live dot may be as
/// old as the floor (a transaction that removes the key and writes it again), never older.
#[derive(Debug)]
pub(super) struct Row<K, V> {
    pub(super) key: K,
    pub(super) value: V,
    pub(super) floor: Option<Box<Marks>>,
    pub(super) standing: Standing,
}

impl<K: Key, V: Crdt> Clone for Row<K, V> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), value: self.value.fork(), floor: self.floor.clone(), ..*self }
    }
}

impl<K: Key, V: Crdt> Row<K, V> {
    pub(super) fn new(key: K, value: V, floor: Option<Box<Marks>>) -> Self {
        Self { key, value, floor, standing: Standing::default() }
    }

    /// Whether the row says nothing at all.
    pub(super) fn is_bottom(&self) -> bool {
        self.floor.is_none() && self.value.is_bottom()
    }

    /// Has the row's memory fetched. Where the rows of a large map lie is known to no cache: of rows that are fetched one behind
    /// the other, before anything else is done, all are on their way at once. What is done to one of them takes so many
    /// instructions that the processor does not come to the next before this one is there.
    #[inline]
    pub(super) fn fetch(&self) {
        black_box((self.standing, self.value.is_live()));
    }

    pub(super) fn raise_marks(&self, marks: &mut Marks) {
        if let Some(floor) = &self.floor {
            marks.raise_all(floor);
        }
        self.value.raise_marks(marks);
    }

    /// What of the row is news: all of it if a removal is, else the cells that are.
    pub(super) fn since(&self, since: &Since) -> Option<Self> {
        if self.floor.as_ref().is_some_and(|floor| !floor.within(&since.frontier)) {
            return Some(self.clone());
        }
        let value = self.value.since(since)?;
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
        let outer = news.map(|floor| {
            for mark in floor.iter().filter(|mark| !merging.ours.covers(*mark)) {
                merging.fresh.raise(mark);
            }
            let mut inner = merging.floor.clone();
            inner.raise_all(&floor);
            match &mut self.floor {
                Some(own) => own.raise_all(&floor),
                None => self.floor = Some(floor),
            }
            std::mem::replace(&mut merging.floor, inner)
        });
        merging.residue = false;
        self.value.join(value, merging, &Path::key(path, step, &self.key));
        merging.residue |= self.floor.is_some() || self.value.is_bottom();
        if let Some(outer) = outer {
            merging.floor = outer;
        }
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
        if let Some(own) = &self.floor {
            repairing.ours.raise_all(own);
        }
        if let Some(mut floor) = floor {
            floor.remap(|dot| repairing.remap(dot));
            repairing.theirs.raise_all(&floor);
            self.floor.get_or_insert_default().raise_all(&floor);
        }
        repairing.residue = false;
        self.value.repair(value, repairing, &Path::key(path, step, &self.key));
        repairing.residue |= self.floor.is_some() || self.value.is_bottom();
        (repairing.ours, repairing.theirs) = outer;
    }

    /// Forgets what is stable. Returns whether something is left to be forgotten later.
    pub(super) fn prune(&mut self, pruning: &mut Pruning<'_>) -> bool {
        if let Some(floor) = self.floor.take_if(|floor| floor.within(pruning.cut)) {
            for mark in floor.iter() {
                pruning.dropped.raise(mark);
            }
            pruning.marks += 1;
            pruning.weigh_marks(floor.len());
        }
        let outer = self.floor.as_ref().map(|floor| {
            let outer = pruning.floor.clone();
            pruning.floor.raise_all(floor);
            outer
        });
        let has_residue = self.value.prune(pruning);
        if let Some(outer) = outer {
            pruning.floor = outer;
        }
        has_residue || self.floor.is_some()
    }
}
