//! Looks at all states of a scope, larger than the ordinary tests do: `cargo run --release -p driftless-testkit --bin model --
//! registers writes=4 crashes=1`.

use std::process::ExitCode;
use std::time::Instant;

use driftless::{Counter, LwwRegister, MergeMap, OrSet};
use driftless_testkit::model::{Explored, Fault, Scope, explore};

const USAGE: &str = "\
usage: model set|registers|counters [name=number ..]
names: replicas keys writes kinds messages crashes loses_tails learns_late reports converges most_states";

/// Looks at all states of a scope of one type of state.
type Explore = fn(Scope) -> Result<Explored, Box<Fault>>;

fn scope(settings: impl Iterator<Item = String>) -> Option<Scope> {
    let mut scope = Scope::default();
    for setting in settings {
        let (name, number) = setting.split_once('=')?;
        let number: usize = number.parse().ok()?;
        let small = u8::try_from(number);
        match name {
            "replicas" => scope.replicas = small.ok().filter(|count| (2..=3).contains(count))?,
            "keys" => scope.keys = small.ok()?,
            "writes" => scope.writes = small.ok()?,
            "kinds" => scope.kinds = small.ok()?,
            "messages" => scope.messages = small.ok().filter(|count| *count <= 2)?,
            "crashes" => scope.crashes = small.ok().filter(|count| *count <= 2)?,
            "loses_tails" => scope.loses_tails = number > 0,
            "learns_late" => scope.learns_late = number > 0,
            "reports" => scope.reports = number > 0,
            "converges" => scope.converges = number > 0,
            "most_states" => scope.most_states = number,
            _ => return None,
        }
    }
    Some(scope)
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let run: Option<Explore> = match words.next().as_deref() {
        Some("set") => Some(explore::<OrSet<u8>>),
        Some("registers") => Some(explore::<MergeMap<u8, LwwRegister<i64>>>),
        Some("counters") => Some(explore::<MergeMap<u8, Counter>>),
        _ => None,
    };
    let Some((run, scope)) = run.zip(scope(words)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let start = Instant::now();
    match run(scope) {
        Ok(explored) => {
            println!("{scope:?}\n{explored}\n{:.1} s", start.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(fault) => {
            println!("{scope:?}\n{fault}\n{:.1} s", start.elapsed().as_secs_f64());
            ExitCode::FAILURE
        }
    }
}
