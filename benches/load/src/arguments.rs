//! The command line.

use std::path::PathBuf;

const USAGE: &str = "\
    --seconds N     how long each phase is measured [60]
    --warm-up N     seconds before it [5]
    --tasks N       tasks that write [8]
    --peers N       peers [3]
    --keys N        documents [100000]
    --status N      seconds from one look at the status to the next, which the engine is held up by [10]
    --seed N        what the writes are made from [7]
    --folder PATH   where the store is: that decides which disk is measured [the folder for temporary files]
    --plot FILE     where the plot goes, an SVG";

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) seconds: u64,
    pub(crate) warm_up: u64,
    pub(crate) tasks: usize,
    pub(crate) peers: usize,
    pub(crate) keys: u64,
    pub(crate) status: u64,
    pub(crate) seed: u64,
    pub(crate) folder: PathBuf,
    pub(crate) plot: Option<PathBuf>,
    /// This is the process of a peer.
    pub(crate) peer: Option<String>,
}

impl Arguments {
    pub(crate) fn parse(mut given: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self {
            seconds: 60,
            warm_up: 5,
            tasks: 8,
            peers: 3,
            keys: 100_000,
            status: 10,
            seed: 7,
            folder: std::env::temp_dir(),
            plot: None,
            peer: None,
        };
        while let Some(name) = given.next() {
            let value = given.next().ok_or(USAGE)?;
            let number = || value.parse::<u64>().map_err(|_| format!("{name} needs a number\n{USAGE}"));
            match name.as_str() {
                "--seconds" => arguments.seconds = number()?.max(2),
                "--warm-up" => arguments.warm_up = number()?,
                "--tasks" => arguments.tasks = number()?.max(1) as usize,
                "--peers" => arguments.peers = number()? as usize,
                "--keys" => arguments.keys = number()?.max(1),
                "--status" => arguments.status = number()?.max(1),
                "--seed" => arguments.seed = number()?,
                "--folder" => arguments.folder = value.into(),
                "--plot" => arguments.plot = Some(value.into()),
                "--peer" => arguments.peer = Some(value),
                _ => return Err(USAGE.to_owned()),
            }
        }
        Ok(arguments)
    }
}
