//! The rows of the table: which there are, and how contestants take turns in one.

mod documents;
mod exchange;
mod sets;

use std::time::{Duration, Instant};

use crate::contestant::Contestant;
use crate::measure::settle;
use crate::report::Report;

/// A piece of work that all contestants do. It gives one or more lines of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Row {
    FirstWrite,
    Overwrite,
    Full,
    Changes,
    Pair,
    Regions,
    Set,
    Load,
    Read,
    Snapshot,
    Churn,
}

impl Row {
    pub(crate) const ALL: [Self; 11] = [
        Self::FirstWrite,
        Self::Overwrite,
        Self::Full,
        Self::Changes,
        Self::Pair,
        Self::Regions,
        Self::Set,
        Self::Load,
        Self::Read,
        Self::Snapshot,
        Self::Churn,
    ];

    /// As it is given on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FirstWrite => "write",
            Self::Overwrite => "overwrite",
            Self::Full => "full",
            Self::Changes => "changes",
            Self::Pair => "pair",
            Self::Regions => "regions",
            Self::Set => "set",
            Self::Load => "load",
            Self::Read => "read",
            Self::Snapshot => "snapshot",
            Self::Churn => "churn",
        }
    }

    fn run(self, plan: &Plan, report: &mut Report) {
        match self {
            Self::FirstWrite => documents::first_write(plan, report),
            Self::Overwrite => documents::overwrite(plan, report),
            Self::Full => documents::full(plan, report),
            Self::Changes => exchange::changes(plan, report),
            Self::Pair => exchange::pair(plan, report),
            Self::Regions => exchange::regions(plan, report),
            Self::Set => sets::set(plan, report),
            Self::Load => documents::load(plan, report),
            Self::Read => documents::read(plan, report),
            Self::Snapshot => documents::snapshot(plan, report),
            Self::Churn => sets::churn(plan, report),
        }
    }
}

/// A line of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Line {
    FirstWrite,
    Memory,
    Overwrite,
    OverwriteSingly,
    Full,
    FullDeflated,
    ChangeWrite,
    ChangeProduce,
    ChangeBytes,
    ChangeApply,
    ChangeReplay,
    Nothing,
    EditBytes,
    Pair,
    Regions,
    SetAdd,
    SetMemory,
    SetFull,
    Load,
    Read,
    Snapshot,
    ChurnOperation,
    ChurnMemory,
    ChurnFull,
}

impl Line {
    pub(crate) const ALL: [Self; 24] = [
        Self::FirstWrite,
        Self::Memory,
        Self::Overwrite,
        Self::OverwriteSingly,
        Self::Full,
        Self::FullDeflated,
        Self::ChangeWrite,
        Self::ChangeProduce,
        Self::ChangeBytes,
        Self::ChangeApply,
        Self::ChangeReplay,
        Self::Nothing,
        Self::EditBytes,
        Self::Pair,
        Self::Regions,
        Self::SetAdd,
        Self::SetMemory,
        Self::SetFull,
        Self::Load,
        Self::Read,
        Self::Snapshot,
        Self::ChurnOperation,
        Self::ChurnMemory,
        Self::ChurnFull,
    ];

    pub(crate) fn row(self) -> Row {
        match self {
            Self::FirstWrite | Self::Memory => Row::FirstWrite,
            Self::Overwrite | Self::OverwriteSingly => Row::Overwrite,
            Self::Full | Self::FullDeflated => Row::Full,
            Self::ChangeWrite
            | Self::ChangeProduce
            | Self::ChangeBytes
            | Self::ChangeApply
            | Self::ChangeReplay
            | Self::Nothing
            | Self::EditBytes => Row::Changes,
            Self::Pair => Row::Pair,
            Self::Regions => Row::Regions,
            Self::SetAdd | Self::SetMemory | Self::SetFull => Row::Set,
            Self::Load => Row::Load,
            Self::Read => Row::Read,
            Self::Snapshot => Row::Snapshot,
            Self::ChurnOperation | Self::ChurnMemory | Self::ChurnFull => Row::Churn,
        }
    }

    /// What is measured, with its unit.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::FirstWrite => "first write, ns/field",
            Self::Memory => "memory, live B/document",
            Self::Overwrite => "overwrite 1,000 documents again, one transaction, ns/field",
            Self::OverwriteSingly => "the same, a transaction each, ns",
            Self::Full => "full state, B/document",
            Self::FullDeflated => "the same deflated, B/document",
            Self::ChangeWrite => "1 % changed, one field each: write, ns/field",
            Self::ChangeProduce => "produce the message, ns/field",
            Self::ChangeBytes => "the message, B/field",
            Self::ChangeApply => "apply, ns/field",
            Self::ChangeReplay => "apply again what is held, ns/field",
            Self::Nothing => "produce when nothing is new, ns",
            Self::EditBytes => "one change on its own, B",
            Self::Pair => "two replicas change 10 % each, converge, ns/field",
            Self::Regions => "8 replicas change 20 % each and tags, converge, ms",
            Self::SetAdd => "set of u64: add, ns",
            Self::SetMemory => "memory, B/element",
            Self::SetFull => "full state, B/element",
            Self::Load => "load and touch every field, ns/document",
            Self::Read => "read one field at random, ns",
            Self::Snapshot => "consistent snapshot, µs",
            Self::ChurnOperation => "adds and removes over 1,000 elements, ns",
            Self::ChurnMemory => "then empty: memory, B",
            Self::ChurnFull => "full state, B",
        }
    }

    /// Whether the line goes on from the one above it.
    pub(crate) fn is_continued(self) -> bool {
        let above = Self::ALL.iter().position(|line| *line == self).and_then(|place| place.checked_sub(1));
        above.is_some_and(|above| Self::ALL[above].row() == self.row())
    }
}

/// What to run.
pub(crate) struct Plan {
    pub(crate) documents: usize,
    pub(crate) contestants: Vec<&'static dyn Contestant>,
    pub(crate) rows: Vec<Row>,
}

/// Documents in a transaction of the first write, elements in one of a set.
const BATCH: usize = 1_000;

/// Rounds of a row, and the time after which a contestant takes no more turns in it.
const ROUNDS: usize = 7;
const PATIENCE: Duration = Duration::from_secs(12);

impl Plan {
    pub(crate) fn run(&self, report: &mut Report) {
        for row in &self.rows {
            row.run(self, report);
        }
    }

    /// A seat for each contestant that takes part.
    fn seats<S>(
        &self,
        row: Row,
        report: &mut Report,
        mut prepare: impl FnMut(&'static dyn Contestant) -> Option<S>,
    ) -> Vec<Seat<S>> {
        let mut seats = Vec::new();
        for contestant in &self.contestants {
            report.progress(row, *contestant, "prepare");
            if let Some(state) = prepare(*contestant) {
                seats.push(Seat { contestant: *contestant, state, spent: Duration::ZERO, turns: 0 });
            }
        }
        seats
    }
}

/// A contestant in a row, and what it holds there.
struct Seat<S> {
    contestant: &'static dyn Contestant,
    state: S,
    spent: Duration,
    turns: u32,
}

impl<S> Seat<S> {
    /// Takes a turn, unless the contestant is so slow that the others have waited long enough.
    fn turn(&mut self, row: Row, report: &mut Report, work: impl FnOnce(&mut S, &mut Turn<'_>)) {
        if self.turns > 0 && self.spent + self.spent / self.turns > PATIENCE {
            return;
        }
        report.progress(row, self.contestant, &format!("turn {}", self.turns + 1));
        let start = Instant::now();
        settle();
        work(&mut self.state, &mut Turn { row, contestant: self.contestant, report });
        self.spent += start.elapsed();
        self.turns += 1;
    }
}

/// Where a turn's figures go.
struct Turn<'a> {
    row: Row,
    contestant: &'static dyn Contestant,
    report: &'a mut Report,
}

impl Turn<'_> {
    fn sample(&mut self, line: Line, value: f64) {
        self.report.sample(line, self.contestant, value);
    }

    fn detail(&mut self, line: Line, detail: String) {
        self.report.detail(line, self.contestant, detail);
    }

    /// Says how much was done if it was less than `all`.
    fn limit(&mut self, line: Line, done: usize, all: usize) {
        if done < all {
            self.detail(line, format!("of {}", crate::report::number(done as f64)));
        }
    }

    fn check(&mut self, what: &str, is_so: bool) {
        self.report.check(self.row, self.contestant, what, is_so);
    }

    /// The sizes of all forms of a full state, per `count` of what is in it.
    fn sizes(&mut self, line: Line, forms: &[(&'static str, Vec<u8>)], count: usize) {
        let per = |bytes: &[u8]| bytes.len() as f64 / count as f64;
        if let Some(((_, first), others)) = forms.split_first() {
            self.sample(line, per(first));
            for (name, bytes) in others {
                self.detail(line, format!("{name} {}", crate::report::number(per(bytes))));
            }
        }
    }
}
