//! Runs seeds of the simulator: `cargo xtask sim` starts it.

use std::io::{IsTerminal, Write};
use std::num::ParseIntError;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use driftless_testkit::sim::{Plan, Summary, read_ranges, run_seeds, shop};

const USAGE: &str = "usage: cargo xtask sim [--seeds N] [--jobs J] [--first-seed K]
       cargo xtask sim --trace SEED [--without LIST]

  --seeds N        how many seeds to run; 100 unless said
  --jobs J         on how many threads; as many as there are cores unless said
  --first-seed K   the first of them; 0 unless said
  --trace SEED     runs one, and prints all that happens
  --without LIST   leaves out actions, by number: what a failing seed prints";

/// From so many seeds on each thing that a run can meet must have happened.
const MANY: u64 = 1_000;
/// How many of the seeds that fail are made smaller and shown.
const SHOWN: usize = 3;

#[derive(Debug, Default)]
struct Options {
    seeds: Option<u64>,
    jobs: Option<u64>,
    first: u64,
    trace: Option<u64>,
    without: String,
}

impl Options {
    fn read(arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self::default();
        let mut arguments = arguments.peekable();
        while let Some(name) = arguments.next() {
            let value = arguments.next()?;
            let number = || -> Result<u64, ParseIntError> { value.parse() };
            match name.as_str() {
                "--seeds" => options.seeds = Some(number().ok()?),
                "--jobs" => options.jobs = Some(number().ok()?),
                "--first-seed" => options.first = number().ok()?,
                "--trace" => options.trace = Some(number().ok()?),
                "--without" => options.without = value,
                _ => return None,
            }
        }
        Some(options)
    }
}

fn main() -> ExitCode {
    let Some(options) = Options::read(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    // A panic is a fault of a seed, and is reported with it.
    std::panic::set_hook(Box::new(|_| {}));
    match options.trace {
        Some(seed) => trace(seed, &options.without),
        None => run(&options),
    }
}

/// Runs one seed and prints what happens.
fn trace(seed: u64, without: &str) -> ExitCode {
    let Ok(left_out) = read_ranges(without) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let plan = Plan::new(seed).without(&left_out);
    println!("{}", plan.show());
    let outcome = shop::run_plan(plan, true);
    let mut out = std::io::stdout().lock();
    for line in &outcome.trace {
        if writeln!(out, "{line}").is_err() {
            // Who reads it has seen enough.
            break;
        }
    }
    match outcome.fault {
        None => ExitCode::SUCCESS,
        Some(fault) => {
            eprintln!("seed {seed}: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> ExitCode {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let (count, jobs) = (options.seeds.unwrap_or(100), options.jobs.unwrap_or(cores));
    let (start, is_terminal) = (Instant::now(), std::io::stderr().is_terminal());
    let mut shown = Duration::ZERO;
    let seeds = options.first..options.first.saturating_add(count);
    let summary = run_seeds(
        seeds,
        jobs as usize,
        |plan| shop::run_plan(plan, false),
        |summary| {
            let wait = if is_terminal { Duration::from_millis(200) } else { Duration::from_secs(20) };
            if start.elapsed() >= shown + wait {
                shown = start.elapsed();
                let line = format!(
                    "{} of {count} seeds, {} failed, {:.0?}",
                    summary.seeds,
                    summary.failed.len(),
                    shown
                );
                eprint!(
                    "{}{line}{}",
                    if is_terminal { "\r" } else { "" },
                    if is_terminal { "" } else { "\n" }
                );
            }
        },
    );
    if is_terminal {
        eprintln!();
    }
    report(&summary, start.elapsed())
}

fn report(summary: &Summary, took: Duration) -> ExitCode {
    println!("{}", summary.table());
    for (seed, fault) in summary.failed.iter().take(SHOWN) {
        println!("\nseed {seed} fails: {fault}");
        let plan = Plan::new(*seed).shrunk(|plan| shop::run_plan(plan.clone(), false).fault.is_some());
        let fault = shop::run_plan(plan.clone(), false).fault.unwrap_or_default();
        println!("as small as can be:\n{}\n{fault}", plan.show());
        println!("see all that happens by: cargo xtask sim {}", plan.replay());
    }
    let others: Vec<_> = summary.failed.iter().skip(SHOWN).collect();
    for (seed, fault) in &others {
        println!(
            "seed {seed} fails: {}",
            fault.lines().next().unwrap_or_default().chars().take(200).collect::<String>()
        );
    }
    let missing = summary.coverage.missing();
    if summary.seeds >= MANY && !missing.is_empty() {
        println!("never met: {}", missing.join(", "));
    }
    let hours = summary.simulated_ms as f64 / 3_600_000.0;
    println!(
        "\n{} seeds, {} failed, {} without a verdict; {hours:.1} hours simulated in {took:.1?}",
        summary.seeds,
        summary.failed.len(),
        summary.void,
    );
    let is_passed = summary.failed.is_empty()
        && (summary.seeds < MANY || missing.is_empty())
        // A few cannot be told; many would mean that nothing is tested.
        && summary.void * 50 <= summary.seeds;
    if is_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
