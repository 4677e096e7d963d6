//! One region as a process: domains in files, links over TCP, a status page and metrics.
//!
//! ```text
//! cargo run -p driftless-tcp --bin driftless-cert -- --out adapters/driver/examples/region/certificates eu us ap
//! cargo run --release -p driftless-node --example region -- --config adapters/driver/examples/region/eu.toml
//! ```
//!
//! and the same with `us.toml` and `ap.toml` beside it. Then, with the addresses of `eu.toml`:
//!
//! ```text
//! curl -X PUT --data 'hello' http://127.0.0.1:7480/domains/notes/greeting      # answers with a token
//! curl 'http://127.0.0.1:7481/domains/notes/greeting?token=…'                  # in the other region, once it is there
//! curl -d tag=polite -d count=2 http://127.0.0.1:7480/domains/notes/greeting   # a tag and a count, in one transaction
//! curl http://127.0.0.1:7482/domains/notes/greeting/tags                       # or `/count`
//! curl http://127.0.0.1:7482/digests/notes                                     # the same in regions that hold the same
//! ```
//!
//! A write is answered once it is on disk. Once the region can be asked it says where, in a line on standard output. It stops
//! when it is told to by a signal, and with `--until-eof` also when its standard input ends: so does a region that another
//! program started, and that is gone.
//!
//! `config.rs` reads the file, `note.rs` is what a domain holds, `http.rs` answers, `page.rs` is the status page. The example
//! `three_regions` of the workspace, with `--processes`, runs three of these and kills one.

mod config;
mod http;
mod note;
mod page;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use driftless_node::{Domain, DomainConfig, DomainName, Node, NodeConfig};
use driftless_store::FileStore;
use driftless_tcp::{PolicySource, TcpConfig, Transport};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::config::RegionConfig;
use crate::note::Notes;

/// A region that runs.
pub(crate) struct Region {
    pub(crate) node: Node,
    pub(crate) links: Transport,
    pub(crate) domains: BTreeMap<DomainName, Domain<Notes>>,
    pub(crate) metrics: PrometheusHandle,
}

/// What the program is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Arguments {
    config: PathBuf,
    is_until_eof: bool,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let arguments = match arguments(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ran = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run(arguments)));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("region: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments(given: impl Iterator<Item = String>) -> Result<Arguments, &'static str> {
    const USAGE: &str = "usage: region --config FILE.toml [--until-eof]";
    let (mut config, mut is_until_eof) = (None, false);
    let mut given = given;
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--config" if config.is_none() => config = Some(given.next().ok_or(USAGE)?.into()),
            "--until-eof" => is_until_eof = true,
            _ => return Err(USAGE),
        }
    }
    Ok(Arguments { config: config.ok_or(USAGE)?, is_until_eof })
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let running = Running::start(RegionConfig::read(&arguments.config)?, metrics).await?;
    let (region, http) = (&running.region.node.config().region, running.http);
    tracing::info!("region {region} runs; its status is at http://{http}/");
    println!("region {region} runs at http://{http}/");
    tokio::select! {
        stopped = stopped() => stopped?,
        () = ended(), if arguments.is_until_eof => {}
    }
    tracing::info!("stopping");
    running.stop().await
}

/// A region and the tasks around it.
struct Running {
    region: Arc<Region>,
    /// Where it answers.
    http: SocketAddr,
    attaching: JoinHandle<()>,
    serving: JoinHandle<()>,
    upkeep: JoinHandle<()>,
}

impl Running {
    async fn start(config: RegionConfig, metrics: PrometheusHandle) -> Result<Self, Box<dyn Error>> {
        // All domains first: a connection carries those that are open when it comes.
        let node = Node::new(NodeConfig::new(config.cluster, config.region.as_str()));
        std::fs::create_dir_all(&config.data)?;
        let mut domains = BTreeMap::new();
        for (name, settings) in &config.domains {
            let store = FileStore::open(config.data.join(format!("{name}.driftless")))?;
            let settings = DomainConfig { feed_bytes: settings.feed_bytes, ..DomainConfig::default() };
            domains.insert(name.clone(), node.open(name.clone(), store, settings).await?);
        }

        // What the links bring goes to the node.
        let (sink, mut connections) = mpsc::channel(16);
        let links = TcpConfig {
            listen: config.listen,
            // For the jitter of waiting times.
            seed: Uuid::new_v4().as_u64_pair().0,
            ..TcpConfig::new(
                config.region,
                config.cluster,
                node.domains(),
                config.security,
                PolicySource::File(config.peers),
            )
        };
        let links = Transport::start(links, sink).await?;
        let attaching = tokio::spawn({
            let node = node.clone();
            async move {
                while let Some(connection) = connections.recv().await {
                    if let Err(error) = node.attach(connection) {
                        tracing::warn!("a connection is not taken: {error}");
                    }
                }
            }
        });

        let listener = TcpListener::bind(config.http).await?;
        let http = listener.local_addr()?;
        let region = Arc::new(Region { node, links, domains, metrics });
        let serving = tokio::spawn(http::serve(listener, Arc::clone(&region)));
        let upkeep = tokio::spawn(upkeep(region.metrics.clone()));
        Ok(Self { region, http, attaching, serving, upkeep })
    }

    /// Takes nothing more, then brings what was written to disk and to the peers that are there.
    async fn stop(self) -> Result<(), Box<dyn Error>> {
        self.serving.abort();
        self.upkeep.abort();
        // With its receiver gone the transport makes no more connections.
        self.attaching.abort();
        let stopped = self.region.node.shutdown().await;
        self.region.links.shutdown().await;
        Ok(stopped?)
    }
}

/// Keeps the histograms from growing while nobody reads them.
async fn upkeep(metrics: PrometheusHandle) {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        metrics.run_upkeep();
    }
}

/// Waits for the signal to stop.
async fn stopped() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            interrupted = tokio::signal::ctrl_c() => interrupted,
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

/// Waits for the end of standard input.
async fn ended() {
    let (sender, end) = oneshot::channel::<()>();
    // A thread of its own: it is waiting still when the program is stopped by a signal, and a runtime would wait for it.
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        drop(sender);
    });
    let _ = end.await;
}
