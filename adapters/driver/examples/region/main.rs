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
//! ```
//!
//! `config.rs` reads the file, `http.rs` answers, `page.rs` is the status page.

mod config;
mod http;
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

use driftless::{LwwRegister, MergeMap};
use driftless_node::{Domain, DomainConfig, DomainName, Node, NodeConfig};
use driftless_store::FileStore;
use driftless_tcp::{PolicySource, TcpConfig, Transport};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::config::RegionConfig;

/// What a domain holds here: texts by key, of which the latest counts.
pub(crate) type Texts = MergeMap<String, LwwRegister<String>>;

/// A region that runs.
pub(crate) struct Region {
    pub(crate) node: Node,
    pub(crate) links: Transport,
    pub(crate) domains: BTreeMap<DomainName, Domain<Texts>>,
    pub(crate) metrics: PrometheusHandle,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let path = match arguments() {
        Ok(path) => path,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ran = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run(path)));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("region: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<PathBuf, &'static str> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (Some("--config"), Some(path), None) => Ok(path.into()),
        _ => Err("usage: region --config FILE.toml"),
    }
}

async fn run(path: PathBuf) -> Result<(), Box<dyn Error>> {
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let running = Running::start(RegionConfig::read(&path)?, metrics).await?;
    tracing::info!(
        "region {} runs; its status is at http://{}/",
        running.region.node.config().region,
        running.http
    );
    stopped().await?;
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
