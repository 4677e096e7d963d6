//! Version vectors.

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::causal::id::ReplicaId;
use crate::clock::Timestamp;

/// For each replica, how far its events are held: "I hold the effect of every event of that replica up to here".
///
/// Two replicas with equal vectors hold equal data. A vector is what one replica tells another to be sent what it lacks:
/// with serde it is a list of pairs of id and stamp, and what is read back need be in no order.
///
/// There is no `PartialOrd`: [`is_within`](Self::is_within) is that order, and says which way round. It compares what is named:
/// where ids may have been [closed](crate::Replica::close), ask a replica whether it [covers](crate::Replica::covers) a vector.
///
/// # Cost
/// As many entries as there are replicas that ever wrote, 24 bytes each; look-up by binary search. A clone shares them until one
/// of the two is changed.
///
/// Source: Parker et al., *Detection of Mutual Inconsistency in Distributed Systems* (1983).
///
/// # Example
/// ```
/// use driftless::{ReplicaId, Timestamp, VersionVector};
///
/// let (eu, us) = (ReplicaId::from_u128(1), ReplicaId::from_u128(2));
/// let at = |millis| Timestamp::new(millis, 0);
/// let mut ours = VersionVector::new();
/// ours.raise(eu, at(5)?);
/// ours.raise(eu, at(3)?);                                 // lower: no change
/// let theirs: VersionVector = [(eu, at(4)?), (us, at(9)?)].into_iter().collect();
/// assert_eq!((ours.get(&eu), ours.get(&us)), (at(5)?, Timestamp::ZERO));
/// assert!(!ours.is_within(&theirs) && !theirs.is_within(&ours));      // each holds what the other lacks
///
/// let (mut either, mut both) = (ours.clone(), ours.clone());
/// either.join(&theirs);
/// both.meet(&theirs);
/// assert_eq!(either.iter().collect::<Vec<_>>(), [(eu, at(5)?), (us, at(9)?)]);
/// assert_eq!(both.iter().collect::<Vec<_>>(), [(eu, at(4)?)]);
/// assert!(both.is_within(&ours) && ours.is_within(&either));
/// assert_eq!((either.len(), either.newest(), both.is_empty()), (2, at(9)?, false));
/// # Ok::<(), driftless::ClockError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(ReplicaId, Timestamp)>", into = "Vec<(ReplicaId, Timestamp)>")]
pub struct VersionVector {
    /// Ordered by id, no id twice, no zero; nothing if there are none. Shared, since an endpoint keeps what each of its peers
    /// holds, and nearly always that is the same.
    entries: Option<Arc<Vec<(ReplicaId, Timestamp)>>>,
}

impl VersionVector {
    /// The vector of a replica that holds nothing.
    pub const fn new() -> Self {
        Self { entries: None }
    }

    fn entries(&self) -> &[(ReplicaId, Timestamp)] {
        self.entries.as_ref().map_or(&[], |entries| entries.as_slice())
    }

    fn entries_mut(&mut self) -> &mut Vec<(ReplicaId, Timestamp)> {
        Arc::make_mut(self.entries.get_or_insert_default())
    }

    /// How far the events of `id` are held; [`Timestamp::ZERO`] if not at all.
    pub fn get(&self, id: &ReplicaId) -> Timestamp {
        let place = self.entries().binary_search_by(|(other, _)| other.cmp(id));
        let entry = place.ok().and_then(|place| self.entries().get(place));
        entry.map_or(Timestamp::ZERO, |(_, stamp)| *stamp)
    }

    /// Raises the entry of `id` to `stamp`, if it is below it.
    pub fn raise(&mut self, id: ReplicaId, stamp: Timestamp) {
        match self.entries().binary_search_by(|(other, _)| other.cmp(&id)) {
            Ok(place) if self.entries().get(place).is_some_and(|(_, held)| *held < stamp) => {
                if let Some((_, held)) = self.entries_mut().get_mut(place) {
                    *held = stamp;
                }
            }
            Err(place) if stamp > Timestamp::ZERO => self.entries_mut().insert(place, (id, stamp)),
            Ok(_) | Err(_) => {}
        }
    }

    /// Raises each entry to that of `other`: the least vector that both are within.
    pub fn join(&mut self, other: &VersionVector) {
        for (id, stamp) in other.iter() {
            self.raise(id, stamp);
        }
    }

    /// Lowers each entry to that of `other`: the greatest vector that is within both.
    pub fn meet(&mut self, other: &VersionVector) {
        let lower: Self = self.iter().map(|(id, stamp)| (id, stamp.min(other.get(&id)))).collect();
        *self = lower;
    }

    /// Whether each entry is at most that of `other`: whoever is at `other` holds all that is held here.
    pub fn is_within(&self, other: &VersionVector) -> bool {
        self.iter().all(|(id, stamp)| stamp <= other.get(&id))
    }

    /// The entries above zero, ordered by id.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (ReplicaId, Timestamp)> + ExactSizeIterator {
        self.entries().iter().copied()
    }

    /// The number of replicas with an entry.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// The greatest of its stamps; [`Timestamp::ZERO`] if it is empty.
    pub fn newest(&self) -> Timestamp {
        self.entries().iter().map(|(_, stamp)| *stamp).max().unwrap_or_default()
    }
}

impl FromIterator<(ReplicaId, Timestamp)> for VersionVector {
    fn from_iter<I: IntoIterator<Item = (ReplicaId, Timestamp)>>(entries: I) -> Self {
        Self::from(entries.into_iter().collect::<Vec<_>>())
    }
}

impl Extend<(ReplicaId, Timestamp)> for VersionVector {
    /// Raises the vector to each of the entries.
    fn extend<I: IntoIterator<Item = (ReplicaId, Timestamp)>>(&mut self, entries: I) {
        let mut all = Vec::from(std::mem::take(self));
        all.extend(entries);
        *self = Self::from(all);
    }
}

impl IntoIterator for VersionVector {
    type Item = (ReplicaId, Timestamp);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        Vec::from(self).into_iter()
    }
}

impl<'a> IntoIterator for &'a VersionVector {
    type Item = (ReplicaId, Timestamp);
    type IntoIter = std::iter::Copied<std::slice::Iter<'a, Self::Item>>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries().iter().copied()
    }
}

impl From<Vec<(ReplicaId, Timestamp)>> for VersionVector {
    /// Of entries in any order, of which the highest of each id counts.
    fn from(mut entries: Vec<(ReplicaId, Timestamp)>) -> Self {
        entries.retain(|(_, stamp)| *stamp > Timestamp::ZERO);
        if !entries.is_sorted_by(|(a, _), (b, _)| a < b) {
            entries.sort_unstable_by_key(|(id, stamp)| (*id, Reverse(*stamp)));
            entries.dedup_by_key(|(id, _)| *id);
        }
        Self { entries: (!entries.is_empty()).then(|| Arc::new(entries)) }
    }
}

impl From<VersionVector> for Vec<(ReplicaId, Timestamp)> {
    fn from(vector: VersionVector) -> Self {
        vector.entries.map(Arc::unwrap_or_clone).unwrap_or_default()
    }
}

impl fmt::Debug for VersionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(entries: &[(u128, u64)]) -> VersionVector {
        let entries = entries.iter();
        entries.map(|(id, stamp)| (ReplicaId::from_u128(*id), Timestamp::from_bits(*stamp))).collect()
    }

    #[test]
    fn join_and_meet_bound_both() {
        let (a, b) = (vector(&[(1, 5), (2, 1)]), vector(&[(1, 3), (3, 4)]));
        let (mut upper, mut lower) = (a.clone(), a.clone());
        upper.join(&b);
        lower.meet(&b);
        assert_eq!(upper, vector(&[(3, 4), (2, 1), (1, 5)]));
        assert_eq!(lower, vector(&[(1, 3)]));
        assert!(a.is_within(&upper) && b.is_within(&upper) && lower.is_within(&a) && lower.is_within(&b));
        assert!(!a.is_within(&b) && !b.is_within(&a));
    }

    #[test]
    fn entries_are_counted_and_ordered_by_id_and_none_is_zero() {
        let (nothing, one, two) = (vector(&[(1, 0)]), vector(&[(1, 5)]), vector(&[(2, 1), (1, 5)]));
        assert_eq!([&nothing, &one, &two].map(VersionVector::len), [0, 1, 2]);
        assert_eq!([&nothing, &one].map(VersionVector::is_empty), [true, false]);
        let entries = [
            (ReplicaId::from_u128(1), Timestamp::from_bits(5)),
            (ReplicaId::from_u128(2), Timestamp::from_bits(1)),
        ];
        assert_eq!((&two).into_iter().collect::<Vec<_>>(), entries);
        assert_eq!(two.into_iter().collect::<Vec<_>>(), entries);
    }

    #[test]
    fn a_clone_shares_its_entries_until_one_is_raised_and_none_is_like_no_other() {
        let one = vector(&[(1, 5), (2, 1)]);
        let mut other = one.clone();
        other.raise(ReplicaId::from_u128(1), Timestamp::from_bits(4));
        other.join(&one);
        assert!(std::ptr::eq(one.entries(), other.entries()), "nothing was raised");
        other.raise(ReplicaId::from_u128(1), Timestamp::from_bits(6));
        assert_eq!((one, other), (vector(&[(1, 5), (2, 1)]), vector(&[(1, 6), (2, 1)])));
        let mut met = vector(&[(1, 5)]);
        met.meet(&vector(&[(2, 5)]));
        assert_eq!(met, VersionVector::new());
    }

    #[test]
    fn unordered_or_repeated_entries_of_a_peer_become_a_vector() {
        let bytes = rmp_serde::to_vec(&vec![
            (ReplicaId::from_u128(2), Timestamp::from_bits(1)),
            (ReplicaId::from_u128(1), Timestamp::from_bits(0)),
            (ReplicaId::from_u128(2), Timestamp::from_bits(7)),
        ])
        .unwrap();
        let decoded: VersionVector = rmp_serde::from_slice(&bytes).unwrap();
        assert_eq!(decoded, vector(&[(2, 7)]));
    }
}
