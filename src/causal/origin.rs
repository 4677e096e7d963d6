//! Replica ids interned to small numbers.

use std::cmp::Ordering;
use std::num::NonZeroU32;

use crate::causal::id::ReplicaId;

/// A replica's number in one table of ids. It means nothing beside another table.
///
/// It is never zero: that value is left to the layout of a cell, which hides its rare form behind it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Origin(NonZeroU32);

impl Origin {
    /// The origin at a place of a table.
    ///
    /// # Panics
    /// With 2^32 - 1 replicas or more, which no table of 16-byte ids reaches.
    #[expect(clippy::expect_used, reason = "a table of so many ids needs 64 GiB")]
    pub(crate) fn from_index(index: usize) -> Self {
        let number = u32::try_from(index).ok().and_then(|index| index.checked_add(1));
        Self(number.and_then(NonZeroU32::new).expect("fewer than 2^32 - 1 replicas"))
    }

    #[inline]
    pub(crate) fn index(self) -> usize {
        (self.0.get() as usize).wrapping_sub(1)
    }
}

/// A table of replica ids: of a replica, or of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origins {
    ids: Vec<ReplicaId>,
    /// The places of `ids`, ordered by id.
    by_id: Vec<Origin>,
}

impl Origins {
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn get(&self, id: &ReplicaId) -> Option<Origin> {
        let place = self.by_id.binary_search_by(|origin| self.id(*origin).cmp(id));
        place.ok().and_then(|place| self.by_id.get(place).copied())
    }

    pub(crate) fn intern(&mut self, id: ReplicaId) -> Origin {
        let found = self.by_id.binary_search_by(|origin| self.id(*origin).cmp(&id));
        let place = match found.map(|place| self.by_id.get(place)) {
            Ok(Some(origin)) => return *origin,
            Ok(None) => self.by_id.len(),
            Err(place) => place,
        };
        let origin = Origin::from_index(self.ids.len());
        self.ids.push(id);
        self.by_id.insert(place, origin);
        origin
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "an origin is used with the table that gave it out, which only grows"
    )]
    pub(crate) fn id(&self, origin: Origin) -> &ReplicaId {
        &self.ids[origin.index()]
    }

    pub(crate) fn ids(&self) -> &[ReplicaId] {
        &self.ids
    }

    /// The order of two origins by their full ids: the same in every replica, whatever the numbers.
    pub(crate) fn cmp(&self, a: Origin, b: Origin) -> Ordering {
        self.id(a).cmp(self.id(b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interning_is_stable_and_ordered_by_id_not_by_number() {
        let mut origins = Origins::default();
        let high = origins.intern(ReplicaId::from_u128(9));
        let low = origins.intern(ReplicaId::from_u128(3));
        assert_eq!(origins.intern(ReplicaId::from_u128(9)), high);
        assert!(high < low);
        assert_eq!(origins.cmp(high, low), Ordering::Greater);
        assert_eq!(origins.get(&ReplicaId::from_u128(3)), Some(low));
        assert_eq!(origins.get(&ReplicaId::from_u128(4)), None);
        assert_eq!(origins.len(), 2);
    }
}
