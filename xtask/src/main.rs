//! What CI runs, runnable by hand: `cargo xtask ci`, or one check alone.

mod ci;
mod examples;
mod faults;
mod instructions;
mod layers;
mod report;
mod scenarios;
mod simulation;
mod sources;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask <task>

tasks:
  ci         all that CI runs, in its order, up to the first failure
  examples   each public function of src/ is called in an example of the documentation
  faults     plants each fault of tests/faults in a copy: the test that it names must fail; `faults NAME` plants some,
             `faults --check` looks only whether the patches still apply
  instructions
             counts what the work of benches/instructions takes, under valgrind, and compares: 2 % more than the baseline
             fails; `instructions NAME` counts some, `--twice` demands the same numbers twice, `--write` renews the baseline
  layers     modules of src/ import from lower layers only, by full path
  scenarios  each scenario in docs/testing.md has a test, or a reason why not
  sim        runs seeds of the simulator of testkit/: `sim --seeds N --jobs J --first-seed K`; `sim --trace SEED` shows all that
             happens in one, `--without LIST` leaves out some of its actions
  tidy       no tracked file holds what should not be committed, none is too long";

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["ci"] => ci::run(&root),
        ["examples"] => report::show("examples", examples::check(&root)),
        ["faults", "--check"] => report::show("faults", faults::check(&root)),
        ["faults"] => report::show("faults", faults::replay(&root, "")),
        ["faults", name] => report::show("faults", faults::replay(&root, name)),
        ["instructions", ref options @ ..] => match instructions::run(&root, options) {
            Some(report) => report::show("instructions", report),
            None => return usage(),
        },
        ["layers"] => report::show("layers", layers::check(&root)),
        ["scenarios"] => report::show("scenarios", scenarios::check(&root)),
        ["sim", ref arguments @ ..] => simulation::run(&root, arguments),
        ["tidy"] => report::show("tidy", tidy::check(&root)),
        _ => return usage(),
    };
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}
