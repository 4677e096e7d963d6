//! Forgetting, on its way through the state.

use crate::causal::dot::Marks;
use crate::causal::frontier::Frontier;
use crate::causal::origin::Origin;

/// What forgetting knows and has done.
#[doc(hidden)]
#[derive(Debug)]
pub struct Pruning<'a> {
    /// What every member has seen.
    pub(crate) cut: &'a Frontier,
    /// The marks of the rows around the current place that are not stable yet.
    pub(crate) floor: Marks,
    /// For each origin, what it is known to have seen when nothing of it was under way any more.
    pub(crate) counting: &'a [Option<Frontier>],
    /// The marks that were dropped, now or ever before: whoever has not seen them all needs a complete snapshot.
    pub(crate) dropped: Frontier,
    /// How many rows were removed altogether.
    pub(crate) rows: usize,
    /// How many cells and rows lost their marks.
    pub(crate) marks: usize,
}

impl Pruning<'_> {
    /// What `origin` has certainly seen.
    pub(crate) fn counting(&self, origin: Origin) -> Option<&Frontier> {
        self.counting.get(origin.index())?.as_ref()
    }
}
