//! A simulator: one seed drives processes with replicas, their clocks, the network between them, their disks, crashes,
//! copies and the
//! membership. After every write and merge each replica is compared with what the oracle says of its version vector; at the
//! end all must
//! agree, and forget what is removed.
//!
//! `docs/simulator.md` says how to use it, with a schema of your own.

mod act;
mod batch;
mod check;
mod churn;
mod clock;
mod copies;
mod coverage;
mod disk;
mod ending;
mod frames;
mod life;
mod links;
mod machine;
mod network;
mod plan;
mod process;
mod random;
pub mod shop;
mod shrink;
mod truth;
mod world;

use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe};

pub use crate::sim::batch::{Summary, run_seeds};
pub use crate::sim::coverage::Coverage;
use crate::sim::machine::Input;
pub use crate::sim::network::Weather;
pub use crate::sim::plan::{Action, Direction, Group, Plan, Planned, Setting, Topology};
pub use crate::sim::shrink::read_ranges;
use crate::sim::world::{Happening, START_MS, Stop, World};
use crate::subject::Subject;

/// What must hold of a state, whatever happened.
pub type Invariant<S> = fn(&S) -> Result<(), String>;

/// A simulation of processes that hold an `S`.
#[derive(Debug)]
pub struct Simulation<S> {
    invariant: Option<Invariant<S>>,
    planted: Option<Planted>,
}

impl<S> Clone for Simulation<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Simulation<S> {}

/// A fault in what surrounds the endpoints, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A disk says that something is written, and loses it when the process dies.
    LyingDisk,
    /// A process comes back under the id that it had.
    SameId,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What went wrong.
    pub fault: Option<String>,
    /// Whether it was broken off, since two copies issued one stamp under one id: nobody can tell such apart.
    pub is_void: bool,
    /// How long it lasted, in simulated milliseconds.
    pub simulated_ms: u64,
    /// What it met.
    pub coverage: Coverage,
    /// What happened, line by line, if it was traced.
    pub trace: Vec<String>,
}

impl<S: Subject> Default for Simulation<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Subject> Simulation<S> {
    /// A simulation.
    pub const fn new() -> Self {
        Self { invariant: None, planted: None }
    }

    /// After every write and merge this must hold, too.
    #[must_use]
    pub const fn with_invariant(self, invariant: Invariant<S>) -> Self {
        Self { invariant: Some(invariant), ..self }
    }

    /// With a fault that must be found.
    #[must_use]
    pub const fn with_planted(self, planted: Planted) -> Self {
        Self { planted: Some(planted), ..self }
    }

    /// Runs seeds, up to the first that fails. Returns what they met.
    ///
    /// # Panics
    /// If one fails: with the fault, the actions that lead to it, and how to see all that happens.
    pub fn assert_seeds(&self, seeds: std::ops::Range<u64>) -> Coverage {
        let mut coverage = Coverage::default();
        for seed in seeds {
            let outcome = self.run(seed);
            coverage += &outcome.coverage;
            let Some(fault) = outcome.fault else { continue };
            let plan = Plan::new(seed).shrunk(|plan| self.run_plan(plan.clone(), false).fault.is_some());
            let smaller = self.run_plan(plan.clone(), false).fault.unwrap_or_default();
            panic!(
                "seed {seed} fails: {fault}\nas small as can be:\n{}\n{smaller}\nleft out: {:?}",
                plan.show(),
                plan.left_out
            );
        }
        coverage
    }

    /// Runs a seed.
    pub fn run(&self, seed: u64) -> Outcome {
        self.run_plan(Plan::new(seed), false)
    }

    /// Runs a seed without some of its actions, and writes down what happens.
    pub fn trace(&self, seed: u64, left_out: &BTreeSet<usize>) -> Outcome {
        self.run_plan(Plan::new(seed).without(left_out), true)
    }

    /// Runs a plan.
    pub fn run_plan(&self, plan: Plan, is_traced: bool) -> Outcome {
        let mut world = World::<S>::new(plan, *self, is_traced);
        let run = panic::catch_unwind(AssertUnwindSafe(|| live(&mut world)));
        let (fault, is_void) = match run {
            Ok(Ok(())) => (None, false),
            Ok(Err(Stop::Void)) => (None, true),
            Ok(Err(Stop::Fault(fault))) => (Some(fault), false),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                (Some(format!("it panics: {}", text.unwrap_or_default())), false)
            }
        };
        let coverage = world.coverage.clone();
        let simulated_ms = world.now_ms - START_MS;
        Outcome { fault, is_void, simulated_ms, coverage, trace: world.into_log() }
    }
}

/// A run from its beginning to its end.
fn live<S: Subject>(world: &mut World<S>) -> Result<(), Stop> {
    for _ in 0..world.plan.setting.processes {
        world.add_process();
    }
    for slot in 0..world.plan.setting.processes {
        world.open(slot)?;
        if slot == 0 {
            world.feed(slot, Input::Found)?;
        }
        world.feed(slot, Input::Tick)?;
    }
    for (number, planned) in world.plan.actions.clone().into_iter().enumerate() {
        if world.plan.left_out.contains(&number) {
            continue;
        }
        world.at(START_MS + planned.at_ms, Happening::Action(number));
    }
    world.at(START_MS, Happening::Dial);
    let horizon_ms = world.plan.setting.horizon_ms;
    world.run_until(START_MS + horizon_ms)?;
    world.end()
}
