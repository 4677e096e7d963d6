//! Forgetting, on its way through the state.

use std::cell::OnceCell;

use serde::Serialize;

use crate::causal::dot::{Dot, Marks};
use crate::causal::frontier::Frontier;
use crate::causal::id::ReplicaId;
use crate::causal::link::Links;
use crate::causal::membership::Membership;
use crate::causal::origin::{Origin, Origins};
use crate::cell::Cell;

/// What forgetting knows and has done.
#[doc(hidden)]
#[derive(Debug)]
pub struct Pruning<'a> {
    /// What every member has seen.
    pub(crate) cut: &'a Frontier,
    /// The marks of the rows around the current place that are not stable yet.
    pub(crate) floor: Marks,
    pub(crate) counting: Counting<'a>,
    /// The marks that were dropped, now or ever before: whoever has not seen them all needs a complete snapshot.
    pub(crate) dropped: Frontier,
    /// How many rows were removed altogether.
    pub(crate) rows: usize,
    /// How many cells and rows lost their marks.
    pub(crate) marks: usize,
    /// What the marks and rows took, if that is asked for.
    pub(crate) weighed: Option<Weighed>,
}

impl Pruning<'_> {
    /// Forgets the marks of a cell, if they are stable. Returns whether marks are left that can be forgotten later.
    pub(crate) fn cell<T>(&mut self, cell: &mut Cell<T>) -> bool {
        let before = self.weighed.as_ref().map(|_| cell.marks().len());
        let has_residue = cell.prune(self.cut, &self.floor, &mut self.dropped);
        if let Some(before) = before {
            self.weigh_marks(before.saturating_sub(cell.marks().len()));
        }
        has_residue
    }

    /// Takes note of marks that are gone.
    pub(crate) fn weigh_marks(&mut self, count: usize) {
        if let Some(weighed) = &mut self.weighed {
            weighed.bytes = weighed.bytes.saturating_add(count.saturating_mul(size_of::<Dot>()));
        }
    }

    /// Takes note of a row that is gone, which took so many bytes beside what its key has elsewhere.
    pub(crate) fn weigh_row<K: Serialize>(&mut self, key: &K, bytes: usize) {
        if let Some(Weighed { bytes: all, key: written }) = &mut self.weighed {
            written.clear();
            // A key that cannot be written is told of when it is to be shipped.
            let _ = rmp_serde::encode::write(written, key);
            *all = all.saturating_add(bytes).saturating_add(written.len());
        }
    }
}

/// What was forgotten, in bytes.
#[derive(Debug, Default)]
pub(crate) struct Weighed {
    pub(crate) bytes: usize,
    /// The key that was written last.
    key: Vec<u8>,
}

/// For each origin, what it is known to have seen when nothing of it was under way any more. Few are ever asked for.
#[derive(Debug)]
pub(crate) struct Counting<'a> {
    membership: &'a Membership,
    origins: &'a Origins,
    own_id: &'a ReplicaId,
    own: &'a Frontier,
    links: &'a Links,
    frontiers: Vec<OnceCell<Option<Frontier>>>,
}

impl<'a> Counting<'a> {
    pub(crate) fn new(
        membership: &'a Membership,
        origins: &'a Origins,
        own_id: &'a ReplicaId,
        own: &'a Frontier,
        links: &'a Links,
    ) -> Self {
        Self { membership, origins, own_id, own, links, frontiers: vec![OnceCell::new(); origins.len()] }
    }

    /// What `origin` has certainly seen. `None` if nothing is known of it.
    pub(crate) fn of(&self, origin: Origin) -> Option<&Frontier> {
        let id = self.origins.id(origin);
        if id == self.own_id {
            return Some(self.own);
        }
        let frontier = || self.membership.counting(id, self.links);
        self.frontiers.get(origin.index())?.get_or_init(frontier).as_ref()
    }
}
