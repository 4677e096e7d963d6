//! Replays a recorded history with real replicas over the real wire, and prints the states that it leads to.
//!
//! `cargo run --example replay -- tests/traces/trace-01.json` prints `{"diverged": …, "converged": …}`: every replica's state
//! after the last step, and the one state after all have synced. Every sync is `delta_since`, encoded, decoded and merged,
//! with forgetting in between. The format of the file is described in `tests/traces/README.md`.
//!
//! Exit codes: 0, the states were printed; 2, the file cannot be read or is no trace.

use std::process::ExitCode;

use driftless_testkit::trace::{Course, Trace};

const USAGE: &str = "usage: replay FILE, a trace as tests/traces/README.md describes it";

fn run() -> Result<String, String> {
    let mut arguments = std::env::args().skip(1);
    let file = match (arguments.next(), arguments.next()) {
        (Some(file), None) if !file.starts_with('-') => file,
        _ => return Err(USAGE.to_owned()),
    };
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    let trace = Trace::parse(&text).map_err(|error| format!("{file}: {error}"))?;
    let course = Course { forgets: true, chunk_bytes: None };
    let outcome = trace.run_as(course).map_err(|error| format!("{file}: {error}"))?;
    let reached = &outcome.reached;
    let states = serde_json::json!({ "diverged": reached.diverged, "converged": reached.converged });
    serde_json::to_string_pretty(&states).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    match run() {
        Ok(states) => {
            println!("{states}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("replay: {error}");
            ExitCode::from(2)
        }
    }
}
