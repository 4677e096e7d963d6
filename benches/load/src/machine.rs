//! What this process takes of the machine, by `/proc`. Elsewhere it is all zero.

use std::fs::{File, read_to_string};
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

/// Blocks that are written to see how long the disk takes for one.
const SYNCS: usize = 200;

/// The ticks that processor time is told in, on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// How long the disk of a folder takes for 4 KiB at the end of a file, in microseconds: as most do.
pub(crate) fn sync_us(folder: &Path) -> io::Result<u64> {
    let mut file = File::create(folder.join("sync"))?;
    let mut took = Vec::new();
    for _ in 0..SYNCS {
        let begin = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        took.push(begin.elapsed().as_micros() as u64);
    }
    took.sort_unstable();
    Ok(took[SYNCS / 2])
}

/// What is taken.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Bytes in memory.
    pub(crate) rss_bytes: u64,
    /// Cores at work since the last look.
    pub(crate) cores: f64,
}

/// Looks at it.
#[derive(Debug)]
pub(crate) struct Machine {
    at: Instant,
    ticks: f64,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self { at: Instant::now(), ticks: ticks().unwrap_or(0.0) }
    }

    pub(crate) fn look(&mut self) -> Usage {
        let (at, ticks) = (Instant::now(), ticks().unwrap_or(0.0));
        let cores = (ticks - self.ticks) / TICKS_PER_SECOND / (at - self.at).as_secs_f64().max(1e-3);
        (self.at, self.ticks) = (at, ticks);
        Usage { rss_bytes: rss_bytes().unwrap_or(0), cores }
    }
}

fn rss_bytes() -> Option<u64> {
    let status = read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// Processor time, of the program and of the system for it.
fn ticks() -> Option<f64> {
    let stat = read_to_string("/proc/self/stat").ok()?;
    // The name may have spaces; it is in parentheses.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
}
