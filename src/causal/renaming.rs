//! Events that get another name: those of one replica after a fork point, as if another replica had issued them.

use crate::causal::dot::{Dot, Marks};
use crate::causal::origin::Origin;
use crate::clock::Timestamp;

/// Which events are renamed, and to what: those of `former` after `after` become events of `successor`.
///
/// What is renamed keeps its order. So a mark of `former` beyond `after` becomes two: all of `former` up to `after`, which
/// whoever renames holds, and the successor's event.
#[derive(Debug)]
pub(crate) struct Renaming {
    pub(crate) former: Origin,
    pub(crate) after: Timestamp,
    pub(crate) successor: Origin,
    /// The stamps that change, in order, each with what it becomes, in the same order. Others stay.
    pub(crate) stamps: Vec<(Timestamp, Timestamp)>,
}

impl Renaming {
    /// Whether an event gets another name.
    pub(crate) fn renames(&self, dot: Dot) -> bool {
        dot.origin == self.former && dot.time > self.after
    }

    /// What a stamp after the fork point becomes. One that no event in the state has becomes that of the next that one has:
    /// a counter remembers when it began although it was written since.
    pub(crate) fn stamp(&self, time: Timestamp) -> Timestamp {
        let place = self.stamps.partition_point(|(before, _)| *before < time);
        self.stamps.get(place).map_or(time, |(_, after)| *after)
    }

    /// The successor's event that an event of its former id becomes.
    pub(crate) fn successor(&self, time: Timestamp) -> Dot {
        Dot { origin: self.successor, time: self.stamp(time) }
    }

    pub(crate) fn dot(&self, dot: Dot) -> Dot {
        if self.renames(dot) { self.successor(dot.time) } else { dot }
    }

    /// Renames marks. Returns whether any changed.
    pub(crate) fn marks(&self, marks: &mut Marks) -> bool {
        let newest = marks.time(self.former);
        if newest <= self.after {
            return false;
        }
        self.lower(marks, self.after);
        marks.raise(self.successor(newest));
        true
    }

    /// Puts the mark of the former id at `time`.
    pub(crate) fn lower(&self, marks: &mut Marks, time: Timestamp) {
        marks.retain(|mark| mark.origin != self.former);
        if time > Timestamp::ZERO {
            marks.raise(Dot { origin: self.former, time });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(origin: usize, time: u64) -> Dot {
        Dot { origin: Origin::from_index(origin), time: Timestamp::from_bits(time) }
    }

    fn renaming(after: u64, stamps: &[(u64, u64)]) -> Renaming {
        let stamps = stamps.iter().map(|(a, b)| (Timestamp::from_bits(*a), Timestamp::from_bits(*b)));
        let (former, successor) = (Origin::from_index(0), Origin::from_index(2));
        Renaming { former, after: Timestamp::from_bits(after), successor, stamps: stamps.collect() }
    }

    #[test]
    fn a_mark_beyond_the_fork_point_becomes_two_and_others_stay() {
        let renaming = renaming(5, &[(7, 3), (9, 4)]);
        for (before, after) in [
            (vec![dot(0, 9), dot(1, 9)], vec![dot(0, 5), dot(1, 9), dot(2, 4)]),
            (vec![dot(0, 7)], vec![dot(0, 5), dot(2, 3)]),
            (vec![dot(0, 5), dot(1, 8)], vec![dot(0, 5), dot(1, 8)]),
            (vec![dot(1, 8)], vec![dot(1, 8)]),
        ] {
            let (mut marks, expected): (Marks, Marks) =
                (before.into_iter().collect(), after.into_iter().collect());
            let is_other = marks != expected;
            assert_eq!((renaming.marks(&mut marks), marks), (is_other, expected));
        }
    }

    #[test]
    fn there_is_no_mark_before_the_first_event() {
        let mut marks = Marks::of(dot(0, 7));
        assert!(renaming(0, &[]).marks(&mut marks));
        assert_eq!(marks, Marks::of(dot(2, 7)));
    }

    #[test]
    fn a_stamp_that_no_event_has_becomes_that_of_the_next() {
        let renaming = renaming(5, &[(7, 30), (9, 40)]);
        let stamps = [6, 7, 8, 9].map(|time| renaming.stamp(Timestamp::from_bits(time)).bits());
        assert_eq!(stamps, [30, 30, 40, 40]);
    }
}
