//! What was measured, as a table in Markdown.

use std::time::Duration;

use crate::arguments::Arguments;
use crate::histogram::Counts;
use crate::load::Until;
use crate::machine::Usage;

/// A second.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) writes: u64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) most_us: u64,
    pub(crate) usage: Usage,
    /// In seconds at the end of which it was asked for.
    pub(crate) standing: Option<Standing>,
}

/// How the node stands, as it says itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    /// How long the slowest peer has not confirmed something.
    pub(crate) lag_ms: u64,
    /// The most bytes that wait for a connection.
    pub(crate) waiting_bytes: u64,
    /// Writes and merges that are not on disk.
    pub(crate) unstored: u64,
    pub(crate) store_bytes: u64,
    /// How long it took to say so. For a part of it the engine does nothing else.
    pub(crate) took_us: u64,
}

/// Tasks that write in one way.
pub(crate) struct Phase {
    pub(crate) until: Until,
    pub(crate) samples: Vec<Sample>,
    pub(crate) of_all: Counts,
    /// From the last write until all peers held all.
    pub(crate) caught_up: Duration,
}

impl Phase {
    /// How memory grew over the last half, in bytes per second: the line nearest to all of its seconds.
    pub(crate) fn growth(&self) -> f64 {
        let last = &self.samples[self.samples.len() / 2..];
        slope(last.iter().map(|sample| sample.usage.rss_bytes as f64))
    }

    fn mean(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        self.samples.iter().map(of).sum::<f64>() / self.samples.len().max(1) as f64
    }

    fn most(&self, of: fn(&Standing) -> u64) -> u64 {
        self.standings().map(|standing| of(&standing)).max().unwrap_or(0)
    }

    fn standings(&self) -> impl Iterator<Item = Standing> {
        self.samples.iter().filter_map(|sample| sample.standing)
    }
}

/// The slope of the line with the least squares through values that are one apart.
fn slope(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let count = values.clone().count() as f64;
    let (middle, mean) = ((count - 1.0) / 2.0, values.clone().sum::<f64>() / count.max(1.0));
    let (mut along, mut all) = (0.0, 0.0);
    for (place, value) in values.enumerate() {
        along += (place as f64 - middle) * (value - mean);
        all += (place as f64 - middle).powi(2);
    }
    if all > 0.0 { along / all } else { 0.0 }
}

pub(crate) fn print(arguments: &Arguments, sync_us: u64, phases: &[Phase]) {
    let Arguments { seconds, tasks, peers, keys, seed, .. } = arguments;
    println!(
        "{tasks} tasks, {peers} peers, {keys} documents, {seconds} s each, seed {seed}; \
         the disk takes {:.2} ms for a sync of 4 KiB\n",
        sync_us as f64 / 1e3
    );
    println!("| | {} |", phases.iter().map(|phase| phase.until.name()).collect::<Vec<_>>().join(" | "));
    println!("|---|{}", "---:|".repeat(phases.len()));
    let row = |name: &str, cell: &dyn Fn(&Phase) -> String| {
        println!("| {name} | {} |", phases.iter().map(cell).collect::<Vec<_>>().join(" | "));
    };
    let mib = |bytes: f64| format!("{:.1}", bytes / f64::from(1 << 20));
    row("writes/s, mean", &|phase| format!("{:.0}", phase.mean(|sample| sample.writes as f64)));
    row("writes/s in the slowest second", &|phase| {
        phase.samples.iter().map(|sample| sample.writes).min().unwrap_or(0).to_string()
    });
    for hundredths in [50, 99, 100] {
        let name = if hundredths == 100 { "longest, ms".to_owned() } else { format!("p{hundredths}, ms") };
        row(&name, &|phase| format!("{:.2}", phase.of_all.percentile(hundredths) as f64 / 1e3));
    }
    row("memory at first, MiB", &|phase| mib(phase.samples.first().map_or(0, rss) as f64));
    row("memory at last, MiB", &|phase| mib(phase.samples.last().map_or(0, rss) as f64));
    row("memory at most, MiB", &|phase| mib(phase.samples.iter().map(rss).max().unwrap_or(0) as f64));
    row("growth of memory over the last half, MiB a minute", &|phase| mib(phase.growth() * 60.0));
    row("cores at work", &|phase| format!("{:.2}", phase.mean(|sample| sample.usage.cores)));
    row("lag of the slowest peer at most, ms", &|phase| phase.most(|standing| standing.lag_ms).to_string());
    row("waiting for a connection at most, kB", &|phase| {
        (phase.most(|standing| standing.waiting_bytes) / 1000).to_string()
    });
    row("not on disk at most, writes and merges", &|phase| {
        phase.most(|standing| standing.unstored).to_string()
    });
    row("store at most, MiB", &|phase| mib(phase.most(|standing| standing.store_bytes) as f64));
    row("peers held all after the last write, s", &|phase| format!("{:.2}", phase.caught_up.as_secs_f64()));
    row("asking for the status at most, ms", &|phase| {
        format!("{:.1}", phase.most(|standing| standing.took_us) as f64 / 1e3)
    });

    let heads = ["phase", "s", "writes", "p50 ms", "p99 ms", "longest ms", "memory MiB", "cores"];
    println!("\n| {} | lag ms | store MiB | status ms |\n|---|{}", heads.join(" | "), "---:|".repeat(10));
    for phase in phases {
        for (second, sample) in (1..).zip(&phase.samples) {
            let standing = sample.standing.map_or(" | | |".to_owned(), |standing| {
                let Standing { lag_ms, store_bytes, took_us, .. } = standing;
                format!(" {lag_ms} | {} | {:.1} |", mib(store_bytes as f64), took_us as f64 / 1e3)
            });
            println!(
                "| {} | {second} | {} | {:.2} | {:.2} | {:.1} | {} | {:.2} |{standing}",
                phase.until.name(),
                sample.writes,
                sample.p50_us as f64 / 1e3,
                sample.p99_us as f64 / 1e3,
                sample.most_us as f64 / 1e3,
                mib(rss(sample) as f64),
                sample.usage.cores,
            );
        }
    }
}

fn rss(sample: &Sample) -> u64 {
    sample.usage.rss_bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_is_that_of_a_line() {
        assert_eq!(slope([3.0, 5.0, 7.0, 9.0].into_iter()), 2.0);
        assert_eq!(slope([4.0, 4.0].into_iter()), 0.0);
        assert_eq!(slope([4.0].into_iter()), 0.0);
    }
}
