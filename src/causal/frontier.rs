//! A version vector inside one table of origins: an array, indexed by origin.

use crate::causal::dot::Dot;
use crate::causal::id::ReplicaId;
use crate::causal::origin::{Origin, Origins};
use crate::causal::vector::VersionVector;
use crate::clock::Timestamp;

/// What has been seen of each origin. Origins beyond the array have not been seen at all.
#[doc(hidden)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier(Vec<Timestamp>);

impl Frontier {
    /// The frontier of a version vector. Ids that the table does not know are left out: nothing in it came from them.
    pub(crate) fn of(vector: &VersionVector, origins: &Origins) -> Self {
        let mut frontier = Self(vec![Timestamp::ZERO; origins.len()]);
        for (id, time) in vector.iter() {
            if let Some(origin) = origins.get(&id) {
                frontier.raise(Dot { origin, time });
            }
        }
        frontier
    }

    /// Forgets all entries, and keeps the room for them.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Lowers each entry to that of `other`.
    pub(crate) fn meet(&mut self, other: &Frontier) {
        for (index, time) in self.0.iter_mut().enumerate() {
            *time = other.time(Origin::from_index(index)).min(*time);
        }
    }

    #[inline]
    pub(crate) fn time(&self, origin: Origin) -> Timestamp {
        self.0.get(origin.index()).copied().unwrap_or_default()
    }

    #[inline]
    pub(crate) fn covers(&self, dot: Dot) -> bool {
        self.time(dot.origin) >= dot.time
    }

    #[inline]
    pub(crate) fn raise(&mut self, dot: Dot) {
        let index = dot.origin.index();
        if index >= self.0.len() {
            self.0.resize(index.saturating_add(1), Timestamp::ZERO);
        }
        if let Some(time) = self.0.get_mut(index) {
            *time = dot.time.max(*time);
        }
    }

    /// Puts an entry down to `time`, if it is above.
    pub(crate) fn lower(&mut self, origin: Origin, time: Timestamp) {
        if let Some(entry) = self.0.get_mut(origin.index()) {
            *entry = time.min(*entry);
        }
    }

    pub(crate) fn raise_all(&mut self, other: &Frontier) {
        for dot in other.iter() {
            self.raise(dot);
        }
    }

    /// The entries above zero.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Dot> + Clone + '_ {
        let dots = self
            .0
            .iter()
            .enumerate()
            .map(|(index, time)| Dot { origin: Origin::from_index(index), time: *time });
        dots.filter(|dot| dot.time > Timestamp::ZERO)
    }

    /// Whether each entry is within `other`.
    pub(crate) fn within(&self, other: &Frontier) -> bool {
        self.iter().all(|dot| other.covers(dot))
    }

    pub(crate) fn to_vector(&self, origins: &Origins) -> VersionVector {
        self.to_vector_without(&[], origins)
    }

    /// The vector without some ids: `implied`, in order.
    pub(crate) fn to_vector_without(&self, implied: &[Origin], origins: &Origins) -> VersionVector {
        let named = self.iter().filter(|dot| implied.binary_search(&dot.origin).is_err());
        // A vector is kept for long: it takes no more room than it needs.
        let mut entries: Vec<(ReplicaId, Timestamp)> = Vec::with_capacity(named.clone().count());
        entries.extend(named.map(|dot| (*origins.id(dot.origin), dot.time)));
        entries.into()
    }
}

impl FromIterator<Timestamp> for Frontier {
    fn from_iter<I: IntoIterator<Item = Timestamp>>(times: I) -> Self {
        Self(times.into_iter().collect())
    }
}
