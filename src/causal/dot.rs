//! Dots, and the marks that a cell keeps of the events that touched it.

use std::cmp::{Ordering, Reverse};

use smallvec::{SmallVec, smallvec};

use crate::causal::frontier::Frontier;
use crate::causal::origin::{Origin, Origins};
use crate::clock::Timestamp;

/// An event's identity inside one table of origins: who, and when by their own stamps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Dot {
    pub(crate) origin: Origin,
    pub(crate) time: Timestamp,
}

impl Dot {
    /// Last-writer-wins order: by stamp, then by full id, the same in every replica.
    pub(crate) fn order(self, other: Self, origins: &Origins) -> Ordering {
        self.time.cmp(&other.time).then_with(|| origins.cmp(self.origin, other.origin))
    }
}

/// So many marks take no memory of their own.
const INLINE: usize = 2;
/// Up to so many marks are looked through one by one.
const FEW: usize = 8;

/// Where the mark of an origin is, or where it would be.
#[inline]
fn place(marks: &[Dot], origin: Origin) -> Result<usize, usize> {
    // Where all replicas have written, each mark stands in the place of its origin's number, and never behind it.
    let guess = origin.index().min(marks.len().saturating_sub(1));
    match marks.get(guess) {
        Some(mark) if mark.origin == origin => Ok(guess),
        None => Err(0),
        Some(_) if marks.len() <= FEW => match marks.iter().position(|mark| mark.origin >= origin) {
            Some(place) if marks.get(place).is_some_and(|mark| mark.origin == origin) => Ok(place),
            Some(place) => Err(place),
            None => Err(marks.len()),
        },
        Some(_) => marks.binary_search_by_key(&origin, |mark| mark.origin),
    }
}

/// The newest event of each replica that touched something; at most one mark for an origin, ordered by origin.
///
/// # Invariants
/// 1. No two marks have one origin.
/// 2. No mark is [`Timestamp::ZERO`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Marks(SmallVec<[Dot; INLINE]>);

impl Marks {
    pub(crate) fn of(dot: Dot) -> Self {
        Self(smallvec![dot])
    }

    /// The marks in any order; `None` if two have one origin.
    pub(crate) fn of_distinct(mut dots: Vec<Dot>) -> Option<Self> {
        dots.sort_unstable_by_key(|dot| dot.origin);
        let is_distinct = dots.is_sorted_by(|a, b| a.origin < b.origin);
        is_distinct.then(|| Self(dots.into()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn as_slice(&self) -> &[Dot] {
        &self.0
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = Dot> + '_ {
        self.0.iter().copied()
    }

    /// The newest event of `origin` that is marked, or zero.
    #[inline]
    pub(crate) fn time(&self, origin: Origin) -> Timestamp {
        let marks = self.0.as_slice();
        let mark = place(marks, origin).ok().and_then(|place| marks.get(place));
        mark.map_or(Timestamp::ZERO, |mark| mark.time)
    }

    /// Whether the event `dot` is marked, or a later one of its origin.
    pub(crate) fn cover(&self, dot: Dot) -> bool {
        self.time(dot.origin) >= dot.time
    }

    /// Raises the mark of the dot's origin to its time.
    #[inline]
    pub(crate) fn raise(&mut self, dot: Dot) {
        let marks = self.0.as_mut_slice();
        match place(marks, dot.origin) {
            Ok(place) => {
                if let Some(mark) = marks.get_mut(place) {
                    mark.time = mark.time.max(dot.time);
                }
            }
            Err(place) => self.0.insert(place, dot),
        }
    }

    #[inline]
    pub(crate) fn raise_all(&mut self, other: &Marks) {
        self.raise_dots(&other.0);
    }

    /// Raises the marks to dots, which are ordered by origin and distinct.
    #[inline]
    pub(crate) fn raise_dots(&mut self, dots: &[Dot]) {
        match dots {
            // Of what a transaction wrote, and of nearly every row.
            [dot] => self.raise(*dot),
            _ => self.raise_many(dots),
        }
    }

    fn raise_many(&mut self, dots: &[Dot]) {
        let marks = self.0.as_mut_slice();
        let mut are_all_here = true;
        for dot in dots {
            match place(marks, dot.origin).ok().and_then(|place| marks.get_mut(place)) {
                Some(mark) => mark.time = mark.time.max(dot.time),
                None => are_all_here = false,
            }
        }
        if !are_all_here {
            self.add_missing(dots);
        }
    }

    /// Adds those of the dots whose origins have no mark. Goes through both once.
    fn add_missing(&mut self, dots: &[Dot]) {
        if self.0.is_empty() {
            self.0.extend_from_slice(dots);
            return;
        }
        let mut marks = self.0.iter().peekable();
        let mut missing: SmallVec<[Dot; INLINE]> = SmallVec::new();
        for dot in dots {
            while marks.next_if(|mark| mark.origin < dot.origin).is_some() {}
            if marks.peek().is_none_or(|mark| mark.origin != dot.origin) {
                missing.push(*dot);
            }
        }
        self.0.append(&mut missing);
        self.0.sort_unstable_by_key(|mark| mark.origin);
    }

    /// Gives each mark another origin: no two the same.
    pub(crate) fn remap(&mut self, remap: impl Fn(Dot) -> Dot) {
        self.0.iter_mut().for_each(|mark| *mark = remap(*mark));
        if !self.0.is_sorted_by(|a, b| a.origin < b.origin) {
            self.0.sort_unstable_by_key(|mark| mark.origin);
        }
    }

    /// Drops the marks for which `keep` is false.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(Dot) -> bool) {
        self.0.retain(|mark| keep(*mark));
    }

    /// Whether each mark lies within `frontier`.
    pub(crate) fn within(&self, frontier: &Frontier) -> bool {
        self.0.iter().all(|mark| frontier.covers(*mark))
    }

    /// Whether each mark lies within `others`.
    pub(crate) fn within_marks(&self, others: &Marks) -> bool {
        self.0.len() <= others.0.len() && self.0.iter().all(|mark| others.cover(*mark))
    }

    /// The last of the marks in last-writer-wins order.
    pub(crate) fn newest(&self, origins: &Origins) -> Option<Dot> {
        self.iter().max_by(|a, b| a.order(*b, origins))
    }
}

impl FromIterator<Dot> for Marks {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut marks: SmallVec<[Dot; INLINE]> = dots.into_iter().collect();
        if !marks.is_sorted_by(|a, b| a.origin < b.origin) {
            marks.sort_unstable_by_key(|mark| (mark.origin, Reverse(mark.time)));
            marks.dedup_by_key(|mark| mark.origin);
        }
        Self(marks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::id::ReplicaId;

    fn dot(origin: usize, time: u64) -> Dot {
        Dot { origin: Origin::from_index(origin), time: Timestamp::from_bits(time) }
    }

    #[test]
    fn raising_keeps_one_mark_an_origin_the_newest() {
        let mut marks: Marks = [dot(2, 5), dot(0, 1), dot(2, 3), dot(1, 9)].into_iter().collect();
        assert_eq!(marks.iter().collect::<Vec<_>>(), [dot(0, 1), dot(1, 9), dot(2, 5)]);
        assert!(marks.cover(dot(2, 5)) && marks.cover(dot(2, 4)));
        assert!(!marks.cover(dot(2, 6)) && !marks.cover(dot(7, 1)));
        let mut origins = Origins::default();
        for id in [7, 6, 8] {
            origins.intern(ReplicaId::from_u128(id));
        }
        assert_eq!(marks.newest(&origins), Some(dot(1, 9)));
        marks.raise(dot(0, 9));
        assert_eq!(marks.newest(&origins), Some(dot(0, 9)), "the greater id, not the greater number");
    }

    #[test]
    fn marks_are_gathered_from_dots_in_any_order() {
        let expected = [dot(0, 5), dot(1, 2)];
        for dots in [
            [dot(0, 1), dot(0, 5), dot(1, 2)],
            [dot(1, 2), dot(0, 5), dot(0, 1)],
            [dot(1, 2), dot(1, 1), dot(0, 5)],
            [dot(0, 5), dot(1, 1), dot(1, 2)],
        ] {
            assert_eq!(dots.into_iter().collect::<Marks>().as_slice(), expected, "{dots:?}");
        }
        let one: Marks = [dot(3, 4), dot(3, 6), dot(3, 5)].into_iter().collect();
        assert_eq!(one.as_slice(), [dot(3, 6)]);
    }

    #[test]
    fn marks_of_one_origin_are_not_distinct() {
        assert_eq!(Marks::of_distinct(vec![dot(2, 5), dot(0, 1), dot(2, 3)]), None);
        assert_eq!(
            Marks::of_distinct(vec![dot(2, 5), dot(0, 1)]),
            Some([dot(0, 1), dot(2, 5)].into_iter().collect())
        );
    }
}
