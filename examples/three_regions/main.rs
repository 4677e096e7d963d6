//! Three regions write the same airports at once, are cut off from each other, and end with the same.
//!
//! ```text
//! cargo run --release --example three_regions
//! cargo run --release --example three_regions -- --records 2000 --seconds 3 --seed 7
//! cargo run --release --example three_regions -- --processes
//! ```
//!
//! Each region is an endpoint in a thread of its own; they speak over TCP on the loopback interface, slowed down to the
//! distances between Frankfurt, Virginia and Singapore. The whole 28,298 airports are loaded, each in the region nearest to
//! it. Then all regions write at once, and in the middle Singapore is cut off. The report says what it cost and whether all
//! agree; so does the exit code.
//!
//! With `--processes` the regions are processes, with stores and TLS, and one is killed: see `processes`.

mod airports;
mod args;
mod board;
mod clock;
mod csv;
mod job;
mod link;
mod mail;
mod measure;
mod model;
mod processes;
mod progress;
mod random;
mod region;
mod regions;
mod report;
mod schedule;
mod table;

use std::process::ExitCode;

use crate::args::{Args, HELP, Task};
use crate::schedule::Plan;

const DISAGREEMENT: u8 = 1;
const BAD_INPUT: u8 = 2;

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(error) => {
            eprintln!("error: {error}\n\n{HELP}");
            return ExitCode::from(BAD_INPUT);
        }
    };
    if args.task == Task::Help {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let Args { seconds, rate, seed, profile, .. } = args;
    if args.task == Task::Processes {
        return exit_code(processes::run(&processes::Plan { seed, seconds, rate, profile }));
    }
    let sources = match airports::load(&args.data, args.records) {
        Ok(sources) => sources,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(BAD_INPUT);
        }
    };
    let plan = Plan { seed, records: sources.len(), seconds, rate };
    if args.task == Task::ScheduleDigest {
        println!("{:016x}", plan.digest());
        return ExitCode::SUCCESS;
    }
    exit_code(job::run(&plan, sources).map(|done| report::print(&plan, &done)))
}

/// What is told to who started this: whether all is as it must be.
fn exit_code(is_good: Result<bool, region::Fault>) -> ExitCode {
    match is_good {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(DISAGREEMENT),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(DISAGREEMENT)
        }
    }
}
