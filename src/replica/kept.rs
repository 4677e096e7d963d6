//! What is kept for the sake of members that have not seen it.

use crate::causal::frontier::Frontier;
use crate::causal::id::ReplicaId;
use crate::crdt::Crdt;
use crate::crdt::pruning::{Counting, Pruning};
use crate::replica::Replica;
use crate::replica::held::Held;

/// What a replica keeps of what was overwritten and removed, only to tell others. See [`Blocking`](crate::Blocking).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kept {
    /// Rows of maps and elements of sets of which nothing else is left.
    pub rows: usize,
    /// Cells and rows that would lose their marks.
    pub marks: usize,
    /// The memory that these take, at least: sixteen bytes a mark, and of a row its place and what its key takes in a message.
    pub bytes: usize,
}

impl Kept {
    /// What is in it that is not in a part of it.
    fn without(self, part: Self) -> Self {
        Self {
            rows: self.rows.saturating_sub(part.rows),
            marks: self.marks.saturating_sub(part.marks),
            bytes: self.bytes.saturating_sub(part.bytes),
        }
    }
}

/// What is kept for one member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeptFor {
    /// What it is not known to have seen, whoever else has not.
    pub(crate) unseen: Kept,
    /// What nobody else is waited for with.
    pub(crate) alone: Kept,
}

impl<S: Crdt> Replica<S> {
    /// What is kept for each of some members. It is found out as by [`forget`](Self::forget), on a copy that shares what is not
    /// touched: two passes over what there is to forget, and two more for each member.
    pub(crate) fn kept_for(&self, members: &[ReplicaId]) -> Vec<KeptFor> {
        let Held { vector, links, .. } = &self.held;
        let all = self.forgettable(vector);
        let stable = self.forgettable(&self.membership.stable_cut(&self.id, vector, links));
        let kept = |member: &ReplicaId| {
            let mut seen = vector.clone();
            seen.meet(&self.membership.counting(member, links).unwrap_or_default());
            let others = self.membership.stable_cut_without(member, &self.id, vector, links);
            KeptFor {
                unseen: all.without(self.forgettable(&seen)),
                alone: self.forgettable(&others).without(stable),
            }
        };
        members.iter().map(kept).collect()
    }

    /// What would be forgotten if all members had seen `cut`.
    fn forgettable(&self, cut: &Frontier) -> Kept {
        let Held { state, origins, dropped, vector, links, .. } = &self.held;
        let mut pruning = Pruning {
            cut,
            floor: Default::default(),
            counting: Counting::new(&self.membership, origins, &self.id, vector, links),
            dropped: dropped.clone(),
            rows: 0,
            marks: 0,
            weighed: Some(Default::default()),
        };
        state.fork().prune(&mut pruning);
        let bytes = pruning.weighed.map_or(0, |weighed| weighed.bytes);
        Kept { rows: pruning.rows, marks: pruning.marks, bytes }
    }
}
