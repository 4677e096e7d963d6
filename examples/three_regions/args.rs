//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use crate::airports;

pub(crate) const HELP: &str = "\
Three regions write the same airports at once, over links as long as those between Frankfurt, Virginia
and Singapore. In the middle Singapore is cut off and goes on writing. In the end all must hold the same.

Usage: cargo run --release --example three_regions [-- OPTIONS]

  --records N   airports to load (default: all)
  --seconds S   how long the regions write (default: 8; the cut is from 1/3 to 2/3 of it)
  --rate R      writes per second in each region (default: 2000)
  --seed X      what the schedule of writes is made from (default: 7)
  --data FILE   the airports (default: data/airports.csv)
  --schedule-digest
                print the digest of the schedule and end
  --help        print this and end

Exit code: 0 all regions agree, 1 they do not, 2 bad arguments or data.";

/// What the user asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) records: Option<usize>,
    pub(crate) seconds: u64,
    pub(crate) rate: u64,
    pub(crate) seed: u64,
    pub(crate) data: PathBuf,
    pub(crate) task: Task,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Job,
    ScheduleDigest,
    Help,
}

impl Args {
    /// Reads the arguments; an error says what is wrong with them.
    pub(crate) fn parse(mut given: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut args = Self {
            records: None,
            seconds: 8,
            rate: 2000,
            seed: 7,
            data: airports::default_path(),
            task: Task::Job,
        };
        while let Some(given_name) = given.next() {
            // `--seed=7` says the same as `--seed 7`.
            let (name, mut value) = match given_name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (given_name.as_str(), None),
            };
            match name {
                "--help" | "-h" => args.task = Task::Help,
                "--schedule-digest" if args.task == Task::Job => args.task = Task::ScheduleDigest,
                "--schedule-digest" => {}
                "--records" | "--seconds" | "--rate" | "--seed" | "--data" => {
                    let value = value.take().or_else(|| given.next());
                    let value = value.ok_or_else(|| format!("{name} needs a value"))?;
                    match name {
                        "--records" => args.records = Some(number(name, &value, 1, 10_000_000)?),
                        "--seconds" => args.seconds = number(name, &value, 1, 3600)?,
                        "--rate" => args.rate = number(name, &value, 1, 20_000)?,
                        "--seed" => args.seed = number(name, &value, 0, u64::MAX)?,
                        _ => args.data = PathBuf::from(value),
                    }
                }
                _ => return Err(format!("unknown argument {given_name:?}")),
            }
            if let Some(value) = value {
                return Err(format!("{name} takes no value, but {value:?} was given"));
            }
        }
        Ok(args)
    }
}

fn number<N: FromStr + PartialOrd + std::fmt::Display>(
    name: &str,
    text: &str,
    least: N,
    most: N,
) -> Result<N, String> {
    match text.parse() {
        Ok(number) if number >= least && number <= most => Ok(number),
        _ => Err(format!("{name} needs a whole number between {least} and {most}, not {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(given: &str) -> Result<Args, String> {
        Args::parse(given.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments_are_read_in_both_forms() {
        let args = parse("--records 2000 --seconds=3 --seed 7").expect("they are good");
        assert_eq!((args.records, args.seconds, args.seed, args.task), (Some(2000), 3, 7, Task::Job));
        assert_eq!(parse("--help").map(|args| args.task), Ok(Task::Help));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (given, said) in [
            ("--records", "needs a value"),
            ("--records none", "whole number"),
            ("--records 0", "between 1 and"),
            ("--seconds -1", "between 1 and"),
            ("--help=no", "takes no value"),
            ("faster", "unknown argument"),
        ] {
            let error = parse(given).expect_err(given);
            assert!(error.contains(said), "{given}: {error}");
        }
    }
}
