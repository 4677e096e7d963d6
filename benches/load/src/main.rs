//! Measures a node under load: one region with a store on disk and TLS links to three peers, each a process of its own, in which
//! eight tasks write; first waiting until each write is on disk, then until it is applied.
//!
//! ```text
//! cargo run --release --manifest-path benches/load/Cargo.toml -- --plot docs/plots/load.svg
//! cargo run --release --manifest-path benches/load/Cargo.toml -- --seconds 600 --folder /mnt/disk
//! ```
//!
//! It prints a table in Markdown, and draws a plot. The peers keep what they hold in memory and are linked to the node alone.
//! The exit code is 0 if in the end all hold the same.

mod arguments;
mod histogram;
mod load;
mod machine;
mod peers;
mod plot;
mod region;
mod report;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::load::{Load, Until};
use crate::machine::Machine;
use crate::peers::Peers;
use crate::region::{Docs, Links, NODE, Region};
use crate::report::{Phase, Sample, Standing};
use driftless_node::{Domain, LinkStatus};
use driftless_store::FileStore;

type Fault = Box<dyn Error + Send + Sync>;

/// How long the peers may take to hold all, when nothing is written.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let ran = Arguments::parse(std::env::args().skip(1)).map_err(Fault::from).and_then(|arguments| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            match &arguments.peer {
                Some(name) => peers::run(name, &arguments.folder).await,
                None => measure(&arguments).await,
            }
        })
    });
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments) -> Result<(), Fault> {
    let folder = tempfile::tempdir_in(&arguments.folder)?;
    let folder = folder.path();
    let mut peers = Peers::start(folder, arguments.peers)?;
    let sync_us = machine::sync_us(folder)?;
    let store = FileStore::open(folder.join("store"))?;
    let links = Links { listen: false, peers: peers.addresses() };
    let region = Region::start(NODE, folder, store, links).await?;
    let load = Arc::new(Load::new(region.domain.clone(), arguments.seed, arguments.keys));

    eprintln!("{} documents are written, and sent to {} peers", arguments.keys, arguments.peers);
    load.fill().await?;
    caught_up(&region.domain, arguments.peers).await?;
    let mut phases = Vec::new();
    for until in [Until::Durable, Until::Applied] {
        let mut machine = Machine::new();
        let running = load.start(arguments.tasks, until);
        eprintln!("{}: {} s of warm-up, {} s measured", until.name(), arguments.warm_up, arguments.seconds);
        let mut samples = Vec::new();
        let begin = Instant::now();
        for second in 1..=arguments.warm_up + arguments.seconds {
            tokio::time::sleep_until((begin + Duration::from_secs(second)).into()).await;
            let mut sample = sample(&load, &mut machine);
            if second % arguments.status == 0 {
                sample.standing = Some(standing(&region.domain).await?);
            }
            if second > arguments.warm_up {
                samples.push(sample);
            } else {
                load.latencies.take();
            }
        }
        let of_all = load.of_all.take();
        running.stop().await?;
        let end = Instant::now();
        caught_up(&region.domain, arguments.peers).await?;
        phases.push(Phase { until, samples, of_all, caught_up: end.elapsed() });
    }
    let digest = region.domain.read().digest().to_string();
    let is_same = peers.digests()?.iter().all(|other| *other == digest);
    report::print(arguments, sync_us, &phases);
    if let Some(path) = &arguments.plot {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, plot::svg(&phases))?;
    }
    region.stop().await?;
    if is_same { Ok(()) } else { Err("the peers do not hold what the node holds".into()) }
}

/// What one second was like.
fn sample(load: &Load, machine: &mut Machine) -> Sample {
    let latencies = load.latencies.take();
    Sample {
        writes: latencies.count(),
        p50_us: latencies.percentile(50),
        p99_us: latencies.percentile(99),
        most_us: latencies.percentile(100),
        usage: machine.look(),
        standing: None,
    }
}

/// How the node stands.
async fn standing(domain: &Domain<Docs>) -> Result<Standing, Fault> {
    let asked = Instant::now();
    let status = domain.status().await?;
    let took_us = asked.elapsed().as_micros() as u64;
    let most = |of: fn(&LinkStatus) -> u64| status.links.iter().map(of).max().unwrap_or(0);
    Ok(Standing {
        lag_ms: most(|link| link.lag_ms.unwrap_or(0)),
        waiting_bytes: most(|link| link.bytes_waiting as u64),
        unstored: status.store.unstored,
        store_bytes: status.store.disk_bytes,
        took_us,
    })
}

/// Waits until the peers are there and hold all.
async fn caught_up(domain: &Domain<Docs>, peers: usize) -> Result<(), Fault> {
    let until = Instant::now() + PATIENCE;
    loop {
        let status = domain.status().await?;
        let holding = status.links.iter().filter(|link| link.state == "open" && link.lag_ms.is_none());
        if holding.count() == peers && status.store.unstored == 0 {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!("the peers do not hold all in time:\n{status}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
