//! What a replica keeps of its own commits, as long as not all members are known to hold them: by it a second copy of the
//! replica is found out, and told apart from this one.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Timestamp;
use crate::crdt::renaming::{Counted, Place, Step};

/// So many commit points are kept.
const MOST_POINTS: usize = 65_536;
/// So many totals are kept beside them, or twice as many as are left when the old half is thinned.
const MOST_TOTALS: usize = 4 * MOST_POINTS;

/// An own count before the commit `at`, which wrote or removed it.
#[derive(Clone, Copy, Debug)]
struct Total {
    at: Timestamp,
    count: Counted,
}

/// The stamps of a replica's own commits above the stable cut, its **commit points**, and what its counters held between them.
///
/// A vector moves as a whole, so an honest peer's entry for this replica is one of its commit points: any other, higher or
/// lower, was issued by another copy, or by this one before it lost it.
///
/// # Invariants
/// 1. Points and totals are in order.
/// 2. `oldest` is a point, or zero; no point is before it, and what was forgotten of this replica's own marks is within it,
///    unless there was no other member.
/// 3. From `complete_from` on no point is missing.
/// 4. Of each counter there is the total of its first write after each point, if it held a count by then.
#[derive(Debug)]
pub(crate) struct Commits {
    points: Vec<Timestamp>,
    /// The first that was ever made; zero before it is.
    first: Timestamp,
    oldest: Timestamp,
    complete_from: Timestamp,
    totals: Vec<Total>,
    /// For each counter whose rows may be gone, the last commit that removed it, and the way there.
    ways: BTreeMap<Place, (Timestamp, Vec<Step>)>,
    most_totals: usize,
}

impl Default for Commits {
    fn default() -> Self {
        Self::of(None)
    }
}

impl Commits {
    /// Of a replica that has made one commit, or none.
    pub(crate) fn of(only: Option<Timestamp>) -> Self {
        Self {
            points: Vec::from_iter(only),
            first: only.unwrap_or_default(),
            oldest: Timestamp::ZERO,
            complete_from: Timestamp::ZERO,
            totals: Vec::new(),
            ways: BTreeMap::new(),
            most_totals: MOST_TOTALS,
        }
    }

    /// Takes note of a commit, and takes what the transaction noted of its counts.
    #[inline]
    pub(crate) fn add(
        &mut self,
        at: Timestamp,
        counts: &mut Vec<Counted>,
        ways: &mut Vec<(Place, Vec<Step>)>,
    ) {
        if self.first == Timestamp::ZERO {
            self.first = at;
        }
        self.points.push(at);
        self.totals.extend(counts.drain(..).map(|count| Total { at, count }));
        self.ways.extend(ways.drain(..).map(|(place, way)| (place, (at, way))));
        if self.points.len() > MOST_POINTS || self.totals.len() > self.most_totals {
            self.thin();
        }
    }

    /// Whether a stamp of this replica is none that this copy issued. Of what is older than what is kept it cannot tell.
    pub(crate) fn is_foreign(&self, stamp: Timestamp) -> bool {
        stamp >= self.complete_from
            && stamp > self.oldest
            && self.points.last() != Some(&stamp)
            && self.points.binary_search(&stamp).is_err()
    }

    /// Whether a stamp is that of a commit of this replica. Of what is older than what is kept it cannot tell, but of what is
    /// older than its first.
    pub(crate) fn is_own(&self, stamp: Timestamp) -> bool {
        self.first > Timestamp::ZERO && stamp >= self.first && !self.is_foreign(stamp)
    }

    /// The points after one stamp and up to another.
    pub(crate) fn between(&self, after: Timestamp, up_to: Timestamp) -> &[Timestamp] {
        let start = self.points.partition_point(|point| *point <= after);
        let end = self.points.partition_point(|point| *point <= up_to);
        self.points.get(start..end).unwrap_or_default()
    }

    /// The last point at or before a stamp, but not before the oldest.
    fn last_at(&self, stamp: Timestamp) -> Timestamp {
        let end = self.points.partition_point(|point| *point <= stamp);
        let last = end.checked_sub(1).and_then(|place| self.points.get(place));
        last.copied().unwrap_or(self.oldest)
    }

    /// Whether what came after a stamp can be told from what came before.
    pub(crate) fn is_fork_point(&self, stamp: Timestamp) -> bool {
        stamp == self.oldest || self.points.binary_search(&stamp).is_ok()
    }

    /// Up to where another copy has the same commits: the newest point that is `known` and lies before all that is known and was
    /// not issued here. All members hold what lies within `stable`.
    pub(crate) fn fork_point(&self, known: &[Timestamp], stable: Timestamp) -> Timestamp {
        let foreign = known.iter().copied().filter(|stamp| self.is_foreign(*stamp)).min();
        let is_before = |stamp: &Timestamp| foreign.is_none_or(|foreign| *stamp < foreign);
        let ours = known.iter().filter(|stamp| is_before(stamp) && self.is_fork_point(**stamp)).max();
        // Where a later commit of both copies has one stamp, that of the other one passes for ours: it is not ours that all hold.
        let stable = stable.min(foreign.unwrap_or(Timestamp::MAX));
        ours.copied().unwrap_or_default().max(self.last_at(stable))
    }

    /// From where on no point is missing.
    pub(crate) fn complete_from(&self) -> Timestamp {
        self.complete_from
    }

    /// What each counter held at a point that was written or removed after it; `None` if it held no own count then.
    pub(crate) fn totals_at(&self, point: Timestamp) -> BTreeMap<Place, Option<(Timestamp, i64)>> {
        let mut totals = BTreeMap::new();
        for Total { count, .. } in self.totals.iter().filter(|total| total.at > point) {
            let held = (count.before <= point).then_some((count.before, count.total));
            totals.entry(count.place).or_insert(held);
        }
        totals
    }

    /// The ways to counters that were removed after a point.
    pub(crate) fn ways_after(&self, point: Timestamp) -> impl Iterator<Item = &[Step]> {
        let after = self.ways.values().filter(move |(at, _)| *at > point);
        after.map(|(_, way)| way.as_slice())
    }

    /// Drops what lies within the stable cut: all members hold it. The newest point there is kept.
    pub(crate) fn forget(&mut self, stable: Timestamp) {
        let oldest = self.last_at(stable);
        if oldest <= self.oldest {
            return;
        }
        self.points.drain(..self.points.partition_point(|point| *point < oldest));
        self.totals.drain(..self.totals.partition_point(|total| total.at <= oldest));
        self.ways.retain(|_, (at, _)| *at > oldest);
        self.oldest = oldest;
        self.complete_from = self.complete_from.max(oldest);
        if self.points.capacity() > 2 * self.points.len() + 64 {
            self.points.shrink_to(self.points.len());
            self.totals.shrink_to(self.totals.len());
        }
    }

    /// Makes room: of the older half of the points every other goes; all of those below the older half of the totals, if it is
    /// they that are too many. Between two points that are left one total of a counter is enough.
    fn thin(&mut self) {
        let mut points = std::mem::take(&mut self.points);
        let half = points.len() / 2;
        let mut from = points.get(half).copied().unwrap_or_default();
        let middle = self.totals.get(self.totals.len() / 2).map(|total| total.at);
        let are_points_few = points.len() <= MOST_POINTS;
        if let Some(middle) = middle.filter(|_| are_points_few) {
            from = middle;
            points.retain(|point| *point == self.oldest || *point >= from);
        } else {
            let mut place = 0;
            points.retain(|_| {
                place += 1;
                place > half || place % 2 == 1
            });
        }
        let mut seen = BTreeSet::new();
        self.totals.retain(|Total { at, count }| {
            *at >= from || seen.insert((points.partition_point(|point| point < at), count.place))
        });
        self.points = points;
        self.complete_from = self.complete_from.max(from);
        self.most_totals = MOST_TOTALS.max(2 * self.totals.len());
    }
}
