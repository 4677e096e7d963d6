//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use crate::airports;

/// Writes per second in each region, unless the user says otherwise: in threads, and as processes.
const RATE: u64 = 2000;
const RATE_OF_PROCESSES: u64 = 300;

pub(crate) const HELP: &str = "\
Three regions write the same airports at once, over links as long as those between Frankfurt, Virginia
and Singapore. In the middle Singapore is cut off and goes on writing. In the end all must hold the same.

With --processes each region is a process with a store on disk, and they are joined by TLS, without delays.
In the middle Singapore is killed, and started again. What any of them reported durable must be in all, once.

Usage: cargo run --release --example three_regions [-- OPTIONS]

  --processes   run them as processes; --seconds, --rate (default: 300), --seed and --profile apply
  --profile P   the cargo profile that the processes are built with (default: that of this program)
  --records N   airports to load (default: all)
  --seconds S   how long the regions write (default: 8; the cut is from 1/3 to 2/3 of it, a process is down
                from 1/3 to 1/2)
  --rate R      writes per second in each region (default: 2000)
  --seed X      what the schedule of writes is made from (default: 7)
  --data FILE   the airports (default: data/airports.csv)
  --schedule-digest
                print the digest of the schedule and end
  --help        print this and end

Exit code: 0 all is as it must be, 1 it is not, 2 bad arguments or data.";

/// What the user asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) records: Option<usize>,
    pub(crate) seconds: u64,
    pub(crate) rate: u64,
    pub(crate) seed: u64,
    pub(crate) data: PathBuf,
    pub(crate) profile: Option<String>,
    pub(crate) task: Task,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Job,
    Processes,
    ScheduleDigest,
    Help,
}

impl Args {
    /// Reads the arguments; an error says what is wrong with them.
    pub(crate) fn parse(mut given: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut args = Self {
            records: None,
            seconds: 8,
            rate: RATE,
            seed: 7,
            data: airports::default_path(),
            profile: None,
            task: Task::Job,
        };
        let (mut rate, mut of_job_alone) = (None, None);
        while let Some(given_name) = given.next() {
            // `--seed=7` says the same as `--seed 7`.
            let (name, mut value) = match given_name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (given_name.as_str(), None),
            };
            match name {
                "--help" | "-h" => args.task = Task::Help,
                "--processes" if args.task == Task::Job => args.task = Task::Processes,
                "--processes" if args.task != Task::ScheduleDigest => {}
                "--schedule-digest" if args.task == Task::Job => args.task = Task::ScheduleDigest,
                "--schedule-digest" if args.task != Task::Processes => {}
                "--processes" | "--schedule-digest" => {
                    return Err("--schedule-digest does not apply to --processes".to_owned());
                }
                "--records" | "--seconds" | "--rate" | "--seed" | "--data" | "--profile" => {
                    let value = value.take().or_else(|| given.next());
                    let value = value.ok_or_else(|| format!("{name} needs a value"))?;
                    if matches!(name, "--records" | "--data") {
                        of_job_alone = Some(name.to_owned());
                    }
                    match name {
                        "--records" => args.records = Some(number(name, &value, 1, 10_000_000)?),
                        "--seconds" => args.seconds = number(name, &value, 1, 3600)?,
                        "--rate" => rate = Some(number(name, &value, 1, 20_000)?),
                        "--seed" => args.seed = number(name, &value, 0, u64::MAX)?,
                        "--profile" => args.profile = Some(value),
                        _ => args.data = PathBuf::from(value),
                    }
                }
                _ => return Err(format!("unknown argument {given_name:?}")),
            }
            if let Some(value) = value {
                return Err(format!("{name} takes no value, but {value:?} was given"));
            }
        }
        if args.profile.is_some() && args.task != Task::Processes {
            return Err("--profile applies to --processes".to_owned());
        }
        match (args.task, of_job_alone) {
            (Task::Processes, Some(name)) => return Err(format!("{name} does not apply to --processes")),
            (Task::Processes, None) => args.rate = rate.unwrap_or(RATE_OF_PROCESSES),
            _ => args.rate = rate.unwrap_or(RATE),
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
        let args = parse("--processes --seconds 4").expect("they are good");
        assert_eq!((args.seconds, args.rate, args.task), (4, RATE_OF_PROCESSES, Task::Processes));
        let profile = parse("--processes --profile test").map(|args| args.profile);
        assert_eq!(profile, Ok(Some("test".to_owned())));
        assert_eq!(parse("--rate 50 --processes").map(|args| args.rate), Ok(50));
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
            ("--profile test", "applies to --processes"),
            ("--processes=3", "takes no value"),
            ("--records 5 --processes", "--records does not apply"),
            ("--processes --data x", "--data does not apply"),
            ("--processes --schedule-digest", "does not apply"),
            ("--schedule-digest --processes", "does not apply"),
            ("faster", "unknown argument"),
        ] {
            let error = parse(given).expect_err(given);
            assert!(error.contains(said), "{given}: {error}");
        }
    }
}
