//! Histories as text: short enough to be read at a glance, and each is run for all types that it fits.
//!
//! A history begins with its number and what it is about, at the beginning of a line; a number may have several. Then, a line
//! each, what happens, and what must be:
//!
//! ```text
//! A add x                    A writes; `A remove x; add x` is one transaction, `A @5 add x` one at that millisecond
//! A -> B                     a full sync
//! A <-> B                    two that cross
//! forget A B                 these are the members, know what each of them holds, and forget
//! A = x y                    what A holds
//! A+B = x                    what A and B hold together, merged in every order and grouping
//! ```
//!
//! The last line must be of all replicas. It is also what they must come to when they converge in every way there is. What
//! can be written and how it is shown is a matter of the type: see [`subjects`](crate::subjects).

use std::any::type_name;

use driftless::Replica;

use crate::subjects::Scripted;
use crate::{A, B, C, D, NOW_MS, every, exchange, replica, sync};

/// A history, as it stands in a text.
pub(crate) struct History {
    /// Its number and what it is about.
    head: &'static str,
    steps: Vec<Step>,
    replicas: usize,
}

enum Step {
    Write { at: usize, at_ms: Option<u64>, ops: Vec<Vec<&'static str>> },
    Sync { from: usize, to: usize },
    Cross { one: usize, other: usize },
    Forget { members: Vec<usize> },
    Expect { of: Vec<usize>, shown: &'static str },
}

/// How the clocks go.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Clock {
    /// Each step is a millisecond after the one before, everywhere.
    Ticking,
    /// Everything happens within one millisecond.
    Stuck,
}

impl History {
    /// The histories of a number.
    pub(crate) fn all(text: &'static str, number: &str) -> Vec<Self> {
        let mut histories: Vec<Self> = Vec::new();
        for line in text.lines().map(str::trim_end) {
            if is_head(line) {
                histories.push(Self { head: line, steps: Vec::new(), replicas: 2 });
            } else if !line.is_empty() && !line.starts_with('#') {
                histories.last_mut().unwrap_or_else(|| panic!("{line}: of what history?")).read(line);
            }
        }
        histories.retain(|history| history.head.split(' ').next() == Some(number));
        assert!(!histories.is_empty(), "there is no history {number}");
        histories
    }

    fn read(&mut self, line: &'static str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let step = match words[..] {
            ["forget", ref members @ ..] => {
                Step::Forget { members: members.iter().map(|name| place(name)).collect() }
            }
            [from, "->", to] => Step::Sync { from: place(from), to: place(to) },
            [one, "<->", other] => Step::Cross { one: place(one), other: place(other) },
            [of, "=", ..] => {
                let shown = line.split_once('=').unwrap_or_default().1.trim();
                Step::Expect { of: of.split('+').map(place).collect(), shown }
            }
            [at, ..] => {
                let ops = line[1..].trim_start();
                let (time, ops) = match ops.strip_prefix('@').and_then(|timed| timed.split_once(' ')) {
                    Some((time, ops)) => (Some(time.parse().unwrap()), ops),
                    None => (None, ops),
                };
                let ops = ops.split(';').map(|op| op.split_whitespace().collect()).collect();
                Step::Write { at: place(at), at_ms: time, ops }
            }
            [] => panic!("nothing happens in {}", self.head),
        };
        let named = match &step {
            Step::Write { at, .. } => *at,
            Step::Sync { from, to } => *from.max(to),
            Step::Cross { one, other } => *one.max(other),
            Step::Forget { members: of } | Step::Expect { of, .. } => of.iter().copied().max().unwrap(),
        };
        self.replicas = self.replicas.max(named + 1);
        self.steps.push(step);
    }

    /// Runs the history up to a step.
    fn play<S: Scripted>(&self, steps: usize, clock: Clock) -> Vec<Replica<S>> {
        let mut replicas: Vec<Replica<S>> =
            [A, B, C, D].into_iter().take(self.replicas).map(replica).collect();
        for (number, step) in (1..).zip(&self.steps[..steps]) {
            match step {
                Step::Write { at, at_ms, ops } => {
                    let ticks = if clock == Clock::Ticking { number } else { 0 };
                    let done = replicas[*at].write(NOW_MS + at_ms.unwrap_or(ticks), |handle| {
                        ops.iter().for_each(|op| S::act(handle, op));
                    });
                    done.unwrap();
                }
                Step::Sync { from, to } => {
                    let [from, to] = replicas.get_disjoint_mut([*from, *to]).unwrap();
                    sync(from, to);
                }
                Step::Cross { one, other } => {
                    let [one, other] = replicas.get_disjoint_mut([*one, *other]).unwrap();
                    exchange(one, other);
                }
                Step::Forget { members } => {
                    let vectors: Vec<_> =
                        members.iter().map(|at| (replicas[*at].id(), replicas[*at].vector())).collect();
                    for at in members {
                        let forgotten = every::forget_with(&mut replicas[*at], &vectors);
                        assert!(forgotten.rows + forgotten.marks > 0, "nothing to forget in {}", self.head);
                    }
                }
                Step::Expect { .. } => {}
            }
        }
        replicas
    }

    /// Runs the history for one type; in all orders of all syncs, or in fewer.
    pub(crate) fn check<S: Scripted>(&self, is_exhaustive: bool) {
        let clocks = if self.is_timed() { &[Clock::Ticking][..] } else { &[Clock::Ticking, Clock::Stuck] };
        for clock in clocks {
            let what = format!("{}, {} with a {clock:?} clock", self.head, type_name::<S>());
            for (step, of, shown) in self.expectations() {
                let replicas = self.play::<S>(step, *clock);
                let found = match of[..] {
                    [one] => replicas[one].state().show(),
                    _ => every::merge_tree(&of.iter().map(|at| &replicas[*at]).collect::<Vec<_>>())
                        .state()
                        .show(),
                };
                assert_eq!(found, shown, "{of:?} after {step} steps of {what}");
            }
            let (_, of, shown) = self.expectations().last().unwrap();
            assert_eq!(of.len(), self.replicas, "the last line of {what} is not of all replicas");
            every::convergence(
                || self.play::<S>(self.steps.len(), *clock),
                |replica| assert_eq!(replica.state().show(), shown, "{} in {what}", replica.id()),
                is_exhaustive && *clock == Clock::Ticking,
            );
        }
    }

    fn expectations(&self) -> impl Iterator<Item = (usize, &[usize], &'static str)> {
        self.steps.iter().enumerate().filter_map(|(step, what)| match what {
            Step::Expect { of, shown } => Some((step, &of[..], *shown)),
            _ => None,
        })
    }

    /// Whether what is read depends on the time.
    fn is_timed(&self) -> bool {
        self.steps.iter().any(|step| match step {
            Step::Write { at_ms, ops, .. } => at_ms.is_some() || ops.iter().any(|op| op[0] == "set"),
            _ => false,
        })
    }
}

/// Whether a line begins a history: with a number such as T07.
fn is_head(line: &str) -> bool {
    line.starts_with(['T', 'B']) && line.as_bytes().get(1).is_some_and(u8::is_ascii_digit)
}

fn place(name: &str) -> usize {
    ["A", "B", "C", "D"].iter().position(|known| *known == name).unwrap_or_else(|| panic!("who is {name}?"))
}

/// Every history of a text is run by a test.
#[test]
fn no_history_is_left_out() {
    for (text, tests) in [
        (include_str!("removal.txt"), include_str!("removal.rs")),
        (include_str!("counters.txt"), include_str!("counters.rs")),
        (include_str!("composition.txt"), include_str!("composition.rs")),
    ] {
        for head in text.lines().filter(|line| is_head(line)) {
            let number = head.split(' ').next().unwrap();
            assert!(tests.contains(&format!("run(\"{number}\")")), "{head}");
        }
    }
}
