//! Forgetting, on its way through the state.

use std::cell::OnceCell;

use crate::causal::dot::Marks;
use crate::causal::frontier::Frontier;
use crate::causal::id::ReplicaId;
use crate::causal::link::Links;
use crate::causal::membership::Membership;
use crate::causal::origin::{Origin, Origins};

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
