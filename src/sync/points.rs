//! The commits of other replicas that we were told of.
//!
//! Who runs twice under one id, or was rolled back, finds out by them where its two lives parted: see
//! [`Replica::fork_point`](crate::Replica::fork_point).

use std::collections::BTreeMap;

use crate::causal::id::ReplicaId;
use crate::causal::vector::VersionVector;
use crate::clock::Timestamp;
use crate::sync::frame::Points;
use crate::wire::limits::Limits;

/// How many commits of one replica are remembered.
const MOST: usize = 4096;
/// How many of those that all members have seen.
pub(crate) const MOST_STABLE: usize = 512;
/// Of how many replicas that nobody uses any more.
const MOST_UNUSED: usize = 64;
/// How many are passed on with one delta.
pub(crate) const MOST_AT_ONCE: usize = 1024;

/// For each replica the stamps of its newest commits that are not stable yet, ascending.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(BTreeMap<ReplicaId, Vec<Timestamp>>);

impl Ledger {
    pub(crate) fn note(&mut self, id: ReplicaId, points: impl IntoIterator<Item = Timestamp>) {
        let mut points = points.into_iter().peekable();
        // Of more replicas than can be held nobody speaks the truth.
        let is_one_too_many = self.0.len() >= Limits::MAX_REPLICAS && !self.0.contains_key(&id);
        if points.peek().is_none() || is_one_too_many {
            return;
        }
        let known = self.0.entry(id).or_default();
        for point in points {
            if let Err(place) = known.binary_search(&point) {
                known.insert(place, point);
            }
        }
        let surplus = known.len().saturating_sub(MOST);
        known.drain(..surplus);
    }

    /// Drops what is known of replicas that are not asked for any more, but for the newest of those that wrote last: a copy of
    /// a process may appear long after that was succeeded, or was evicted.
    pub(crate) fn retain(&mut self, is_used: impl Fn(&ReplicaId) -> bool) {
        let unused = self.0.iter_mut().filter(|(id, _)| !is_used(id));
        let mut last: Vec<Timestamp> = Vec::new();
        for (_, points) in unused {
            points.drain(..points.len().saturating_sub(MOST_STABLE));
            last.extend(points.last());
        }
        last.sort_unstable_by(|one, other| other.cmp(one));
        if let Some(oldest) = last.get(MOST_UNUSED).copied() {
            self.0.retain(|id, points| is_used(id) || points.last().is_some_and(|last| *last > oldest));
        }
    }

    /// The commits of a replica after `after` were those of another copy of it.
    pub(crate) fn replace(&mut self, id: ReplicaId, after: Timestamp, known: &[Timestamp]) {
        let points = self.0.entry(id).or_default();
        points.truncate(points.partition_point(|point| *point <= after));
        self.note(id, known.iter().copied().filter(|point| *point > after));
    }

    pub(crate) fn of(&self, id: &ReplicaId) -> &[Timestamp] {
        self.0.get(id).map_or(&[], Vec::as_slice)
    }

    /// The first after `after`.
    pub(crate) fn first_after(&self, id: &ReplicaId, after: Timestamp) -> Option<Timestamp> {
        let known = self.of(id);
        known.get(known.partition_point(|point| *point <= after)).copied()
    }

    /// The newest after `after` and before `before`.
    pub(crate) fn between(&self, id: &ReplicaId, after: Timestamp, before: Timestamp) -> &[Timestamp] {
        let known = self.of(id);
        let start = known.partition_point(|point| *point <= after);
        let end = known.partition_point(|point| *point < before);
        let start = start.max(end.saturating_sub(MOST_AT_ONCE));
        known.get(start..end).unwrap_or_default()
    }

    /// Forgets what all members have seen, but for the newest: a copy of a replica may have parted from it some time ago.
    pub(crate) fn forget(&mut self, stable: &VersionVector) {
        for (id, points) in &mut self.0 {
            let seen = points.partition_point(|point| *point < stable.get(id));
            points.drain(..seen.saturating_sub(MOST_STABLE));
        }
    }

    /// What goes with a delta: the commits in between that its vectors do not name.
    pub(crate) fn passed_on(&self, from: &VersionVector, to: &VersionVector) -> Points {
        let mut room = MOST_AT_ONCE;
        let news = to.iter().filter(|(id, stamp)| *stamp > from.get(id));
        let points = news.map(|(id, stamp)| {
            let points = self.between(&id, from.get(&id), stamp);
            let points = points.get(points.len().saturating_sub(room)..).unwrap_or_default();
            room = room.saturating_sub(points.len());
            (id, points.to_vec())
        });
        points.filter(|(_, points)| !points.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ReplicaId = ReplicaId::from_u128(1);

    fn stamps(stamps: &[u64]) -> Vec<Timestamp> {
        stamps.iter().map(|stamp| Timestamp::from_bits(*stamp)).collect()
    }

    #[test]
    fn what_lies_between_two_vectors_is_passed_on_and_what_is_stable_forgotten() {
        let mut ledger = Ledger::default();
        ledger.note(A, stamps(&[5, 3, 9, 7, 5]));
        assert_eq!(ledger.of(&A), stamps(&[3, 5, 7, 9]));
        let vector = |stamp| VersionVector::from(vec![(A, Timestamp::from_bits(stamp))]);
        assert_eq!(ledger.passed_on(&vector(3), &vector(9)), [(A, stamps(&[5, 7]))]);
        assert_eq!(ledger.passed_on(&vector(7), &vector(9)), []);
        assert_eq!(ledger.passed_on(&vector(9), &vector(9)), []);
        ledger.forget(&vector(7));
        assert_eq!(ledger.of(&A), stamps(&[3, 5, 7, 9]), "the newest stay");
        ledger.note(A, (10..2000).map(Timestamp::from_bits));
        ledger.forget(&vector(1000));
        assert_eq!(ledger.of(&A).first(), Some(&Timestamp::from_bits(1000 - MOST_STABLE as u64)));
        assert_eq!(ledger.of(&A).last(), Some(&Timestamp::from_bits(1999)));
    }

    #[test]
    fn of_nobody_and_of_one_too_many_nothing_is_kept() {
        let mut ledger = Ledger::default();
        ledger.note(A, stamps(&[]));
        assert!(ledger.0.is_empty());
        (1..=5_000).for_each(|id| ledger.note(ReplicaId::from_u128(id), stamps(&[7])));
        assert_eq!(ledger.0.len(), Limits::MAX_REPLICAS);
        ledger.note(A, stamps(&[8]));
        assert_eq!(ledger.of(&A), stamps(&[7, 8]), "it was there before");
    }

    #[test]
    fn of_those_that_nobody_uses_the_last_to_write_are_kept_each_with_its_newest() {
        let mut ledger = Ledger::default();
        let id = |number: u64| ReplicaId::from_u128(u128::from(number));
        let is_used = |of: &ReplicaId| *of == id(1);
        (1..=70).for_each(|number| ledger.note(id(number), stamps(&[number])));
        ledger.note(id(70), (100..1000).map(Timestamp::from_bits));
        ledger.retain(is_used);
        let kept: Vec<ReplicaId> = ledger.0.keys().copied().collect();
        let newest = 70 + 1 - MOST_UNUSED as u64..=70;
        assert_eq!(kept, [1].into_iter().chain(newest).map(id).collect::<Vec<_>>());
        assert_eq!((ledger.of(&id(70)).len(), ledger.of(&id(69))), (MOST_STABLE, &stamps(&[69])[..]));
        // There is room for all of them.
        ledger.retain(is_used);
        assert_eq!(ledger.0.len(), MOST_UNUSED + 1);
    }

    #[test]
    fn what_another_copy_committed_takes_the_place_of_what_was_committed_after_the_two_parted() {
        let mut ledger = Ledger::default();
        ledger.note(A, stamps(&[3, 5, 7, 9]));
        ledger.replace(A, Timestamp::from_bits(6), &stamps(&[4, 6, 8]));
        assert_eq!(ledger.of(&A), stamps(&[3, 5, 8]));
    }

    #[test]
    fn the_newest_are_kept() {
        let mut ledger = Ledger::default();
        ledger.note(A, (1..=5000).map(Timestamp::from_bits));
        assert_eq!((ledger.of(&A).len(), ledger.of(&A).first()), (MOST, Some(&Timestamp::from_bits(905))));
        let between = ledger.between(&A, Timestamp::ZERO, Timestamp::from_bits(5000));
        assert_eq!((between.len(), between.last()), (MOST_AT_ONCE, Some(&Timestamp::from_bits(4999))));
    }
}
