//! Closed ids: what lets a vector leave one out.
//!
//! Whoever closes an id says, as an event of its own, up to which stamp it held that id then. Merges move whole vectors, so
//! whoever has seen that event holds the closed id up to there as well: a fact about causes, which stays true whatever the
//! closed id does. So a vector that covers the event need not name the id.

use std::cmp::Reverse;

use crate::causal::dot::Dot;
use crate::causal::frontier::Frontier;
use crate::causal::origin::Origin;
use crate::clock::Timestamp;

/// Who covers the event holds the closed id up to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) closed: Origin,
    pub(crate) last: Timestamp,
    /// The event that closed it, of another id.
    pub(crate) by: Dot,
    /// Whether every member is known to have seen that event: then nobody needs to be told of the closed id.
    pub(crate) is_stable: bool,
}

/// The links that are known, the newest event first.
///
/// An event is later than all that its author held, so a link can only lead to ids whose own links are older: one pass follows
/// all chains.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links(Vec<Link>);

impl Links {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Link> {
        self.0.iter()
    }

    /// Takes note of links in any order. What was known to be stable stays so.
    pub(crate) fn replace(&mut self, links: impl IntoIterator<Item = Link>) {
        let mut links: Vec<Link> = links.into_iter().collect();
        let order = |link: &Link| Reverse((link.by.time, link.by.origin, link.closed));
        links.sort_unstable_by_key(order);
        let mut old = self.0.iter().peekable();
        for link in &mut links {
            while old.next_if(|old| order(old) < order(link)).is_some() {}
            link.is_stable = old.next_if(|old| order(old) == order(link)).is_some_and(|old| old.is_stable);
        }
        self.0 = links;
    }

    /// Asks of each link anew whether every member has seen it; of those that were stable only if `again`.
    pub(crate) fn judge(&mut self, again: bool, is_stable: impl Fn(Dot) -> bool) {
        for link in self.0.iter_mut().filter(|link| again || !link.is_stable) {
            link.is_stable = is_stable(link.by);
        }
    }

    /// Whether it is not known of all links that every member has seen them.
    pub(crate) fn are_open(&self) -> bool {
        self.0.iter().any(|link| !link.is_stable)
    }

    /// Raises a frontier that leaves out closed ids to what it means.
    pub(crate) fn resolve(&self, frontier: &mut Frontier) {
        for link in &self.0 {
            if frontier.covers(link.by) {
                frontier.raise(Dot { origin: link.closed, time: link.last });
            }
        }
    }

    /// The closed ids that a frontier stands exactly at the end of, by links for which `may` holds: those that need not be named.
    pub(crate) fn implied(&self, frontier: &Frontier, may: impl Fn(&Link) -> bool) -> Vec<Origin> {
        let ends = |link: &&Link| frontier.time(link.closed) == link.last && may(link);
        let mut implied: Vec<Origin> = self.0.iter().filter(ends).map(|link| link.closed).collect();
        implied.sort_unstable();
        implied.dedup();
        implied
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(origin: usize, time: u64) -> Dot {
        Dot { origin: Origin::from_index(origin), time: Timestamp::from_bits(time) }
    }

    fn link(closed: usize, last: u64, by: Dot) -> Link {
        Link { closed: Origin::from_index(closed), last: Timestamp::from_bits(last), by, is_stable: false }
    }

    fn frontier(times: &[u64]) -> Frontier {
        times.iter().map(|time| Timestamp::from_bits(*time)).collect()
    }

    #[test]
    fn chains_are_followed_whatever_the_order_in_which_links_came() {
        // 0 was closed by 1, 1 by 2, 2 by 3.
        let links = [link(1, 20, dot(2, 21)), link(0, 10, dot(1, 11)), link(2, 30, dot(3, 31))];
        for turn in 0..3 {
            let mut known = Links::default();
            known.replace(links.iter().cycle().skip(turn).take(3).copied());
            let mut seen = frontier(&[0, 0, 0, 31]);
            known.resolve(&mut seen);
            assert_eq!(seen, frontier(&[10, 20, 30, 31]));
            // The event that closed 2 has not been seen.
            let mut seen = frontier(&[0, 0, 21, 30]);
            known.resolve(&mut seen);
            assert_eq!(seen, frontier(&[10, 20, 21, 30]));
        }
    }

    #[test]
    fn an_id_that_writes_on_is_implied_no_more() {
        let mut known = Links::default();
        known.replace([link(0, 10, dot(1, 11)), link(0, 12, dot(2, 20))]);
        let implied = |times: &[u64]| known.implied(&frontier(times), |_| true);
        assert_eq!(implied(&[10, 11, 0]), [Origin::from_index(0)]);
        assert_eq!(implied(&[11, 11, 0]), []);
        assert_eq!(implied(&[12, 11, 20]), [Origin::from_index(0)]);
        assert_eq!(implied(&[13, 11, 20]), []);
        let mut ahead = frontier(&[13, 11, 0]);
        known.resolve(&mut ahead);
        assert_eq!(ahead, frontier(&[13, 11, 0]), "nothing is lowered");
    }

    #[test]
    fn what_was_stable_stays_so_until_it_is_asked_again() {
        let mut known = Links::default();
        known.replace([link(0, 10, dot(1, 11))]);
        known.judge(false, |_| true);
        known.replace([link(0, 10, dot(1, 11)), link(1, 12, dot(2, 20))]);
        assert_eq!(known.iter().map(|link| link.is_stable).collect::<Vec<_>>(), [false, true]);
        known.judge(false, |_| false);
        assert!(known.are_open());
        known.judge(true, |_| true);
        assert!(!known.are_open());
        known.judge(true, |_| false);
        assert!(known.iter().all(|link| !link.is_stable));
    }
}
