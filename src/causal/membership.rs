//! What the members of a cluster are known to have seen, and the cut below which all of them have seen everything.

use std::collections::BTreeMap;

use crate::causal::id::ReplicaId;
use crate::causal::vector::VersionVector;

/// What one member is known to hold.
#[derive(Clone, Debug, Default)]
struct Known {
    /// The newest report that our own vector covered: nothing the member had issued by then is still on its way to us.
    counting: VersionVector,
    /// The oldest report that is still ahead of our own vector. It is kept until it counts, however many come after it:
    /// a member that is always a little ahead of us would never count otherwise.
    waiting: Option<VersionVector>,
    /// The join of all reports.
    latest: VersionVector,
}

/// The members whose sight forgetting waits for, and what each is known to have seen.
///
/// A report may come from anyone, in any order, with or without data. It **counts only once the own vector covers it**:
/// until then something that the member wrote before it may still be under way to us, and could be what is forgotten.
#[derive(Clone, Debug, Default)]
pub(crate) struct Membership {
    known: BTreeMap<ReplicaId, Known>,
    members: Vec<ReplicaId>,
}

impl Membership {
    pub(crate) fn set_members(&mut self, members: impl IntoIterator<Item = ReplicaId>) {
        self.members = members.into_iter().collect();
        self.members.sort_unstable();
        self.members.dedup();
    }

    pub(crate) fn members(&self) -> &[ReplicaId] {
        &self.members
    }

    /// Takes a report of what `id` holds.
    pub(crate) fn report(&mut self, id: ReplicaId, vector: &VersionVector, own: &VersionVector) {
        let known = self.known.entry(id).or_default();
        known.latest.join(vector);
        if vector.is_within(own) {
            known.counting.join(vector);
        } else if known.waiting.is_none() {
            known.waiting = Some(vector.clone());
        }
    }

    /// The newest that is known of each replica, to be passed on.
    pub(crate) fn table(&self) -> impl Iterator<Item = (ReplicaId, VersionVector)> + '_ {
        self.known.iter().map(|(id, known)| (*id, known.latest.clone()))
    }

    /// Whether there are reports that do not count yet.
    pub(crate) fn is_waiting(&self) -> bool {
        self.known.values().any(|known| known.waiting.is_some())
    }

    /// The number of replicas that were ever reported of, with `id`.
    pub(crate) fn reported_with(&self, id: &ReplicaId) -> usize {
        self.known.len().saturating_add(usize::from(!self.known.contains_key(id)))
    }

    /// Lets the reports count that `own` covers by now.
    pub(crate) fn settle(&mut self, own: &VersionVector) {
        for known in self.known.values_mut() {
            let Some(waiting) = known.waiting.take_if(|waiting| waiting.is_within(own)) else {
                continue;
            };
            known.counting.join(&waiting);
            if known.latest.is_within(own) {
                known.counting.join(&known.latest);
            } else {
                known.waiting = Some(known.latest.clone());
            }
        }
    }

    /// What `id` certainly holds, and nothing it wrote by then is under way. `None` if nothing is known of it.
    pub(crate) fn counting(&self, id: &ReplicaId) -> Option<&VersionVector> {
        self.known.get(id).map(|known| &known.counting)
    }

    /// What every member has seen. Nothing, if there are no members.
    pub(crate) fn stable_cut(&self, own_id: &ReplicaId, own: &VersionVector) -> VersionVector {
        let mut cut = if self.members.is_empty() { VersionVector::new() } else { own.clone() };
        for member in self.members.iter().filter(|member| *member != own_id) {
            match self.counting(member) {
                Some(vector) => cut.meet(vector),
                None => return VersionVector::new(),
            }
        }
        cut
    }

    /// The members that are not known to hold all of `own`: whoever stays in this list keeps all from forgetting.
    pub(crate) fn behind(&self, own_id: &ReplicaId, own: &VersionVector) -> Vec<ReplicaId> {
        let others = self.members.iter().filter(|member| *member != own_id);
        others
            .filter(|member| !self.counting(member).is_some_and(|vector| own.is_within(vector)))
            .copied()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    const A: ReplicaId = ReplicaId::from_u128(1);
    const B: ReplicaId = ReplicaId::from_u128(2);
    const C: ReplicaId = ReplicaId::from_u128(3);

    fn vector(entries: &[(ReplicaId, u64)]) -> VersionVector {
        let entries = entries.iter();
        entries.map(|(id, time)| (*id, Timestamp::from_bits(*time))).collect()
    }

    #[test]
    fn t24_a_report_ahead_of_our_own_vector_does_not_count_yet() {
        let mut membership = Membership::default();
        membership.set_members([A, B]);
        let own = vector(&[(A, 5)]);
        membership.report(B, &vector(&[(A, 5), (B, 7)]), &own);
        membership.settle(&own);
        assert_eq!(membership.stable_cut(&A, &own), VersionVector::new());
        let own = vector(&[(A, 5), (B, 7)]);
        membership.settle(&own);
        assert_eq!(membership.stable_cut(&A, &own), own);
    }

    #[test]
    fn a_silent_member_blocks_and_is_named() {
        let mut membership = Membership::default();
        membership.set_members([A, B, C]);
        let own = vector(&[(A, 5)]);
        membership.report(B, &own, &own);
        membership.settle(&own);
        assert_eq!(membership.stable_cut(&A, &own), VersionVector::new());
        assert_eq!(membership.behind(&A, &own), [C]);
        membership.set_members([A, B]);
        assert_eq!(membership.stable_cut(&A, &own), own);
    }

    #[test]
    fn a_member_that_is_always_a_little_ahead_counts_all_the_same() {
        let mut membership = Membership::default();
        membership.set_members([A, B]);
        for time in 1..10 {
            let own = vector(&[(B, time)]);
            membership.report(B, &vector(&[(B, time + 1)]), &own);
            membership.settle(&own);
        }
        assert_eq!(membership.stable_cut(&A, &vector(&[(B, 9)])), vector(&[(B, 9)]));
    }

    #[test]
    fn without_members_nothing_is_stable() {
        assert!(Membership::default().stable_cut(&A, &vector(&[(A, 5)])).is_empty());
    }
}
