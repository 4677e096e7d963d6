//! All that CI runs.

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::report::{self, Report};
use crate::{examples, faults, layers, scenarios, tidy};

enum Step {
    Cargo(&'static str),
    Check(fn(&Path) -> io::Result<Report>),
}

const STEPS: [(&str, Step); 13] = [
    ("fmt", Step::Cargo("fmt --all --check")),
    ("clippy", Step::Cargo("clippy --workspace --all-targets -- -D warnings")),
    ("fuzz", Step::Cargo("check --manifest-path fuzz/Cargo.toml")),
    ("doc", Step::Cargo("doc --workspace --no-deps")),
    ("layers", Step::Check(layers::check)),
    ("tidy", Step::Check(tidy::check)),
    ("examples", Step::Check(examples::check)),
    ("scenarios", Step::Check(scenarios::check)),
    ("faults", Step::Check(faults::check)),
    ("test", Step::Cargo("test --workspace")),
    ("sim", Step::Cargo("run --release --package driftless-testkit --bin sim -- --seeds 2000")),
    ("example", Step::Cargo("run --release --example three_regions -- --records 2000 --seconds 3 --seed 7")),
    // The processes are of the test profile: what they are made of was built for the tests.
    (
        "processes",
        Step::Cargo("run --release --example three_regions -- --processes --seconds 4 --profile test"),
    ),
];

/// What a build that is made once and thrown away does without: it is smaller then, and done earlier.
const THROWN_AWAY: [(&str, &str); 3] =
    [("CARGO_INCREMENTAL", "0"), ("CARGO_PROFILE_TEST_DEBUG", "0"), ("CARGO_PROFILE_RELEASE_DEBUG", "0")];

/// Runs the steps in order up to the first that fails. Returns whether none did.
pub(crate) fn run(root: &Path) -> bool {
    let start = Instant::now();
    for (name, step) in STEPS {
        println!("\n== {name}");
        let step_start = Instant::now();
        let is_passed = match step {
            Step::Cargo(arguments) => cargo(root, arguments),
            Step::Check(check) => report::show(name, check(root)),
        };
        let seconds = step_start.elapsed().as_secs_f64();
        if !is_passed {
            eprintln!("== {name} failed after {seconds:.1} s");
            return false;
        }
        println!("== {name} passed in {seconds:.1} s");
    }
    println!("\n== all passed in {:.1} s", start.elapsed().as_secs_f64());
    true
}

fn cargo(root: &Path, arguments: &str) -> bool {
    println!("cargo {arguments}");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(arguments.split_whitespace())
        .envs(THROWN_AWAY)
        .envs(arguments.starts_with("doc ").then_some(("RUSTDOCFLAGS", "-D warnings")))
        .current_dir(root)
        .status();
    match status {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("cargo could not be run: {error}");
            false
        }
    }
}
