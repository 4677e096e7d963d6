//! The join of cells of replicas that have seen the same and hold something else.

use crate::causal::dot::{Dot, Marks};
use crate::causal::origin::Origins;
use crate::cell::payload::View;
use crate::cell::{Cell, Live, Lives, Many, older};

/// What the two sides of a repair remember, beside what stands in the cells themselves.
pub(crate) struct Memory<'a> {
    /// The receiving replica's table of ids.
    pub(crate) origins: &'a Origins,
    /// The floors of the rows that hold the cell, on either side.
    pub(crate) ours: &'a Marks,
    pub(crate) theirs: &'a Marks,
}

impl<T> Cell<T> {
    /// The join of cells that ought to be equal and are not: by their marks and floors alone, whatever has been seen of
    /// everything. Where one event has two payloads, the one that `prefers` says stands. It is the same on both sides, whichever
    /// is joined first. Returns whether something else is live now.
    pub(crate) fn repair(
        &mut self,
        mut theirs: Self,
        remap: impl Fn(Dot) -> Dot,
        memory: &Memory<'_>,
        prefers: impl Fn(View<'_, T>, View<'_, T>) -> bool,
    ) -> bool {
        let (mut ours, mut theirs) = (self.take_many(), theirs.take_many());
        theirs.seen.remap(&remap);
        theirs.live.iter_mut().for_each(|live| live.dot = remap(live.dot));
        theirs.live.sort_by(|a, b| a.dot.order(b.dot, memory.origins));
        let is_known_here = |dot| ours.seen.cover(dot) || memory.ours.cover(dot);
        let is_known_there = |dot| theirs.seen.cover(dot) || memory.theirs.cover(dot);
        let (mut live, mut changed) = (Lives::new(), false);
        let come = |entry: Live<T>, live: &mut Lives<T>, changed: &mut bool| {
            if !is_known_here(entry.dot) {
                live.push(entry);
                *changed = true;
            }
        };
        let mut incoming = std::mem::take(&mut theirs.live).into_iter().peekable();
        for entry in std::mem::take(&mut ours.live) {
            while let Some(other) = incoming.next_if(|other| older(other.dot, entry.dot, memory.origins)) {
                come(other, &mut live, &mut changed);
            }
            match incoming.next_if(|other| other.dot == entry.dot) {
                Some(other) if prefers(other.payload.view(), entry.payload.view()) => {
                    live.push(other);
                    changed = true;
                }
                Some(_) => live.push(entry),
                None if is_known_there(entry.dot) => changed = true,
                None => live.push(entry),
            }
        }
        incoming.for_each(|other| come(other, &mut live, &mut changed));
        ours.seen.raise_all(&theirs.seen);
        self.put(Many { live, seen: ours.seen });
        changed
    }
}
