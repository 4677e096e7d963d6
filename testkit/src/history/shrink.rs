//! Smaller histories. Proptest leaves steps out once and then makes numbers smaller; here each success is followed by another
//! try of everything, until nothing can be left out or made simpler any more.

use std::cmp::Ordering;
use std::iter;

use crate::cluster::MOST;
use crate::history::{Clock, Group, History, Ops, Part, Rest, Route, Since, Step};

impl History {
    /// The smallest history that can be found from here by leaving out and simplifying and in which `fails` still holds.
    pub fn shrunk(mut self, fails: impl Fn(&Self) -> bool) -> Self {
        loop {
            let simpler = self.simpler().find(&fails);
            match simpler {
                Some(simpler) => self = simpler,
                None => return self,
            }
        }
    }

    /// Histories that are simpler by one thing, those that differ most first.
    fn simpler(&self) -> impl Iterator<Item = Self> {
        let count = self.steps.len();
        let runs = iter::successors(Some(count), |run| Some(run / 2)).take_while(|run| *run > 0);
        let shorter = runs.flat_map(move |run| {
            (0..count).step_by(run).map(move |start| {
                let mut steps = self.steps.clone();
                steps.drain(start..(start + run).min(count));
                Self { steps, ..*self }
            })
        });
        let joins = self.steps.iter().enumerate().filter(|(_, step)| matches!(step, Step::Join { .. }));
        let joins = joins.filter(|_| usize::from(self.replicas) < MOST).map(|(place, _)| {
            // Who joined was there from the beginning.
            let mut steps = self.steps.clone();
            steps.remove(place);
            Self { steps, replicas: self.replicas + 1, ..*self }
        });
        let fewer = (0..self.replicas).rev().filter(|_| self.replicas > 2).map(|left_out| {
            let steps = self.steps.iter().map(|step| step.without(left_out)).collect();
            Self { steps, replicas: self.replicas - 1, ..*self }
        });
        let keys = (self.keys > 2).then(|| Self { keys: 2, ..self.clone() });
        let steps = self.steps.iter().enumerate().flat_map(move |(place, step)| {
            step.simpler(self.replicas).into_iter().map(move |step| {
                let mut steps = self.steps.clone();
                steps[place] = step;
                Self { steps, ..*self }
            })
        });
        shorter.chain(joins).chain(fewer).chain(keys).chain(steps)
    }
}

/// A number of a replica: the same by its own number, then the first.
fn lower(number: u8, replicas: u8) -> impl Iterator<Item = u8> {
    let own = number % replicas.max(1);
    [0, own].into_iter().filter(move |other| *other < number)
}

/// A group without one of its members. All stays all, unless none will do.
fn fewer(group: Group) -> impl Iterator<Item = Group> {
    let bits = (0..Group::BITS).map(move |bit| group & !(1 << bit)).filter(move |other| *other != group);
    let bits = bits.filter(move |_| group != Group::MAX);
    bits.chain((group == Group::MAX).then_some(0))
}

fn ops(ops: &Ops) -> impl Iterator<Item = Ops> {
    let without = (0..ops.len()).filter(|_| ops.len() > 1).map(|place| {
        let mut ops = ops.clone();
        ops.remove(place);
        ops
    });
    let shorter = (0..ops.len()).filter(|place| ops[*place].len() > 1).map(|place| {
        let mut ops = ops.clone();
        ops[place].pop();
        ops
    });
    let choices = (0..ops.len()).flat_map(|op| (0..ops[op].len()).map(move |choice| (op, choice)));
    let lower = choices.filter(|(op, choice)| ops[*op][*choice] > 0).map(|(op, choice)| {
        let mut ops = ops.clone();
        ops[op][choice] = 0;
        ops
    });
    without.chain(shorter).chain(lower)
}

impl Step {
    /// Steps that are simpler by one thing.
    fn simpler(&self, replicas: u8) -> Vec<Self> {
        let mut simpler = self.plainer();
        if let Some(all) = self.clone().ops_mut() {
            simpler.extend(ops(all).map(|ops| self.with(|step| *step.ops_mut().expect("it has some") = ops)));
        }
        for (place, number) in self.clone().replicas_mut().iter().enumerate() {
            let lower = lower(**number, replicas);
            simpler.extend(lower.map(|number| self.with(|step| *step.replicas_mut()[place] = number)));
        }
        for (place, group) in self.clone().groups_mut().iter().enumerate() {
            simpler.extend(fewer(**group).map(|group| self.with(|step| *step.groups_mut()[place] = group)));
        }
        if let Self::Deliver { message, .. } | Self::Lose { message } = self {
            let later = [0, message / 2].into_iter().filter(|later| later < message);
            simpler.extend(later.map(|later| {
                self.with(|step| match step {
                    Self::Deliver { message, .. } | Self::Lose { message } => *message = later,
                    _ => {}
                })
            }));
        }
        simpler
    }

    /// The step without a replica: those behind it move up, and the first does what it did.
    fn without(&self, left_out: u8) -> Self {
        self.with(|step| {
            for number in step.replicas_mut() {
                *number = match (*number).cmp(&left_out) {
                    Ordering::Less => *number,
                    Ordering::Equal => 0,
                    Ordering::Greater => *number - 1,
                };
            }
            for group in step.groups_mut().into_iter().filter(|group| **group != Group::MAX) {
                let lower = (1 << left_out) - 1;
                *group = (*group & lower) | (*group >> 1 & !lower);
            }
        })
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut step = self.clone();
        change(&mut step);
        step
    }

    fn ops_mut(&mut self) -> Option<&mut Ops> {
        match self {
            Self::Write { ops, .. } | Self::Twins { ops, .. } | Self::Interrupted { ops, .. } => Some(ops),
            _ => None,
        }
    }

    /// The replicas it speaks of by number, but for those of which it does not matter who they are.
    fn replicas_mut(&mut self) -> Vec<&mut u8> {
        match self {
            Self::Write { at, .. } | Self::Forget { at } | Self::Snapshot { at } => vec![at],
            Self::Twins { at, and, .. } => vec![at, and],
            Self::Sync { from, to, .. }
            | Self::Send { from, to, .. }
            | Self::Relay { from, to }
            | Self::Settle { from, to }
            | Self::Interrupted { from, to, .. } => vec![from, to],
            Self::Report { about, to, .. } => vec![about, to],
            Self::Return { who, with, .. } => vec![who, with],
            Self::Close { at, who } => vec![at, who],
            Self::Restart { who, .. } => vec![who],
            _ => Vec::new(),
        }
    }

    fn groups_mut(&mut self) -> Vec<&mut Group> {
        match self {
            Self::Evict { who, by } | Self::Readmit { who, by } => vec![who, by],
            Self::Absence { who, .. } => vec![who],
            Self::Join { known_by } | Self::Restart { known_by, .. } => vec![known_by],
            _ => Vec::new(),
        }
    }

    /// Steps that do less, or the same in a plainer way.
    fn plainer(&self) -> Vec<Self> {
        let (route, clock) = (Route::Message, Clock::Right);
        let mut plainer = Vec::new();
        match self.clone() {
            Self::Write { at, clock: wrong, ops, fuse } => {
                if fuse.is_some() {
                    plainer.push(Self::Write { at, clock: wrong, ops: ops.clone(), fuse: None });
                }
                if wrong != clock {
                    plainer.push(Self::Write { at, clock, ops, fuse });
                }
            }
            Self::Twins { at, and, ops } => {
                plainer.extend([at, and].map(|at| Self::Write { at, clock, ops: ops.clone(), fuse: None }));
            }
            Self::Pass { ms } if ms > 1 => plainer.push(Self::Pass { ms: 1 }),
            Self::Sync { from, to, route: other } if other != route => {
                plainer.push(Self::Sync { from, to, route });
            }
            Self::Send { from, to, route: other, since } => {
                plainer.push(Self::Sync { from, to, route: other });
                if other != route {
                    plainer.push(Self::Send { from, to, route, since });
                }
                if since != Since::Asked {
                    plainer.push(Self::Send { from, to, route: other, since: Since::Asked });
                }
            }
            Self::Deliver { message, elsewhere, part, chunks } => {
                if part != Part::First || chunks != u8::MAX {
                    let (part, chunks) = (Part::First, u8::MAX);
                    plainer.push(Self::Deliver { message, elsewhere, part, chunks });
                }
                if elsewhere.is_some() {
                    plainer.push(Self::Deliver { message, elsewhere: None, part, chunks });
                }
            }
            Self::Report { about, to, is_old: true } => {
                plainer.push(Self::Report { about, to, is_old: false })
            }
            Self::Settle { from, to } => {
                plainer.extend([
                    Self::Forget { at: from },
                    Self::Forget { at: to },
                    Self::Relay { from, to },
                ]);
            }
            Self::Absence { who, is_mutual } => {
                plainer.push(Self::Evict { who, by: Group::MAX });
                if is_mutual {
                    plainer.push(Self::Absence { who, is_mutual: false });
                }
            }
            Self::Return { who, with, is_asking } => {
                let ends = if is_asking { (with, who) } else { (who, with) };
                plainer.push(Self::Sync { from: ends.0, to: ends.1, route });
            }
            Self::Interrupted { from, to, bytes, ops, forgets, rest } => {
                plainer.push(Self::Sync { from, to, route });
                plainer.push(Self::Write { at: to, clock, ops: ops.clone(), fuse: None });
                if rest != Rest::Resumes {
                    let (ops, rest) = (ops.clone(), Rest::Resumes);
                    plainer.push(Self::Interrupted { from, to, bytes, ops, forgets, rest });
                }
                if forgets {
                    plainer.push(Self::Interrupted { from, to, bytes, ops, forgets: false, rest });
                }
            }
            _ => {}
        }
        plainer
    }
}
