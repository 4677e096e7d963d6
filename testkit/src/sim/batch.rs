//! Many seeds, on several threads.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use crate::sim::{Coverage, Outcome, Plan};

/// What came of many seeds.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many were run.
    pub seeds: u64,
    /// Those that failed, and why.
    pub failed: BTreeMap<u64, String>,
    /// Those that were broken off, since two copies issued one stamp: see [`Outcome::is_void`].
    pub void: u64,
    /// How long all of them lasted, in simulated milliseconds.
    pub simulated_ms: u64,
    /// What they met.
    pub coverage: Coverage,
}

impl Summary {
    /// Takes up what came of a seed.
    pub fn add(&mut self, seed: u64, outcome: &Outcome) {
        self.seeds += 1;
        self.void += u64::from(outcome.is_void);
        self.simulated_ms += outcome.simulated_ms;
        self.coverage += &outcome.coverage;
        if let Some(fault) = &outcome.fault {
            self.failed.insert(seed, fault.clone());
        }
    }

    /// The counts as a table, two columns wide.
    pub fn table(&self) -> String {
        let counts = self.coverage.counts();
        let half = counts.len().div_ceil(2);
        let cell = |(name, count): &(&str, u64)| format!("{name:<30} {count:>12}");
        let (left, right) = counts.split_at(half);
        let lines = left.iter().enumerate().map(|(place, count)| {
            let other = right.get(place).map(cell).unwrap_or_default();
            format!("  {}    {other}", cell(count)).trim_end().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Runs seeds on so many threads. `progress` is called after each of them.
pub fn run_seeds(
    seeds: Range<u64>,
    jobs: usize,
    run: impl Fn(Plan) -> Outcome + Sync,
    mut progress: impl FnMut(&Summary),
) -> Summary {
    let mut summary = Summary::default();
    let next = AtomicU64::new(seeds.start);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (sender, next, run) = (sender.clone(), &next, &run);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || sender.send((seed, run(Plan::new(seed)))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (seed, outcome) in receiver {
            summary.add(seed, &outcome);
            progress(&summary);
        }
    });
    summary
}
