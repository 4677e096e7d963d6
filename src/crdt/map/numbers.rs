//! A list of row numbers that is shared until one side writes.

use triomphe::Arc;

/// Numbers in a run.
const RUN: usize = 64;

/// Row numbers, in the order in which they were put in. Of the last, fewer than two runs, a fork makes a copy; it shares the
/// rest. `imbl::Vector` alone costs several times as much a number.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    full: im::Vector<Arc<[u32; RUN]>>,
    last: Vec<u32>,
}

impl Numbers {
    pub(super) fn len(&self) -> usize {
        self.full.len() * RUN + self.last.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.last.is_empty() && self.full.is_empty()
    }

    pub(super) fn push(&mut self, number: u32) {
        // A list that is pushed to and popped from by turns does not make a run of its end each time.
        if self.last.len() == 2 * RUN - 1
            && let Some((run, _)) = self.last.split_first_chunk::<RUN>()
        {
            self.full.push_back(Arc::new(*run));
            self.last.drain(..RUN);
        }
        self.last.push(number);
    }

    /// The number that [`pop`](Self::pop) would take.
    pub(super) fn last(&self) -> Option<u32> {
        match self.last.last() {
            None if !self.full.is_empty() => self.full.last()?.last().copied(),
            last => last.copied(),
        }
    }

    pub(super) fn pop(&mut self) -> Option<u32> {
        self.unpack();
        self.last.pop()
    }

    /// Takes the last run apart if nothing stands behind it.
    fn unpack(&mut self) {
        if self.last.is_empty()
            && let Some(run) = self.full.pop_back()
        {
            self.last.extend_from_slice(&*run);
        }
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = u32> {
        self.full.iter().flat_map(|run| run.iter()).chain(&self.last).copied()
    }

    /// Takes out one number, which nearly always is among the last. Walks through all if it is not.
    pub(super) fn remove(&mut self, number: u32) {
        // What is taken out from the end on, as undoing does, never walks.
        self.unpack();
        if let Some(place) = self.last.iter().rposition(|other| *other == number) {
            self.last.remove(place);
        } else if self.full.iter().any(|run| run.contains(&number)) {
            let mut rest = Self::default();
            self.iter().filter(|other| *other != number).for_each(|other| rest.push(other));
            *self = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_stack_that_forks() {
        let mut numbers = Numbers::default();
        (0..500).for_each(|number| numbers.push(number));
        let fork = numbers.clone();
        assert!(numbers.iter().eq(0..500) && numbers.len() == 500);
        for number in (100..500).rev() {
            assert_eq!((numbers.last(), numbers.pop()), (Some(number), Some(number)));
        }
        numbers.push(7);
        assert!(numbers.iter().eq((0..100).chain([7])));
        assert!(fork.iter().eq(0..500));
        while numbers.pop().is_some() {}
        assert!(numbers.is_empty() && !fork.is_empty());
        assert_eq!((numbers.last(), fork.last()), (None, Some(499)));
    }

    #[test]
    fn a_number_is_taken_out_wherever_it_is() {
        let mut numbers = Numbers::default();
        (0..300).for_each(|number| numbers.push(number));
        for gone in [299, 0, 150, 1_000] {
            numbers.remove(gone);
        }
        assert!(numbers.iter().eq((1..299).filter(|number| *number != 150)));
    }

    #[test]
    fn taking_out_from_the_end_leaves_the_runs_before_alone() {
        let mut numbers = Numbers::default();
        (0..1_000).for_each(|number| numbers.push(number));
        let fork = numbers.clone();
        (500..1_000).rev().for_each(|gone| numbers.remove(gone));
        assert!(numbers.iter().eq(0..500));
        assert!(numbers.full.iter().zip(&fork.full).all(|(run, other)| Arc::ptr_eq(run, other)));
    }
}
