//! Regions at a server, and what a test does with them.

use std::future::Future;
use std::io::Write;
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, SystemTime};

use driftless_nats::{
    Limits, NatsConfig, NatsPeer, Policy, PolicySource, Reason, RegionName, Security, Timing, Transport,
};
use driftless_node::connection::{Connection, DomainName, Frame};
use tokio::sync::mpsc;
use tracing::subscriber::DefaultGuard;
use uuid::Uuid;

use crate::server::Server;

/// Nothing here takes that long, on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const CLUSTER: Uuid = Uuid::from_u128(0xc1);

/// A region that runs.
pub(crate) struct Region {
    pub(crate) links: Transport,
    pub(crate) connections: mpsc::Receiver<Connection>,
}

pub(crate) fn region(name: &str) -> RegionName {
    RegionName::new(name).unwrap()
}

pub(crate) fn domain(name: &str) -> DomainName {
    DomainName::new(name).unwrap()
}

pub(crate) fn frame(domain_name: &str, bytes: &str) -> Frame {
    Frame { domain: domain(domain_name), bytes: bytes.to_owned().into() }
}

/// A test waits for something, but not for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("this did not happen: {what}"),
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    soon(what, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Quick enough for tests, and slow enough for a machine with other work.
pub(crate) fn quick() -> Timing {
    let ms = Duration::from_millis;
    Timing {
        connect: ms(5_000),
        answer: ms(2_000),
        keep_alive: ms(100),
        silence: ms(5_000),
        gap: ms(2_000),
        farewell: ms(2_000),
        backoff_least: ms(10),
        backoff_most: ms(100),
        settled: ms(1_000),
        reload: Duration::from_secs(3600),
        ..Timing::default()
    }
}

/// A peer list: of each peer its domains.
pub(crate) fn list(peers: &[(&str, &str)]) -> Policy {
    let tables = peers.iter().map(|(peer, domains)| format!("[peers.{peer}]\ndomains = {{ {domains} }}\n"));
    Policy::parse(&tables.collect::<String>()).unwrap()
}

pub(crate) const BOTH: &str = "orders = \"read-write\", prices = \"read\"";

/// A region with these peers, all of which may have both domains.
pub(crate) fn config(server: &Server, name: &str, peers: &[&str]) -> NatsConfig {
    let peers: Vec<(&str, &str)> = peers.iter().map(|peer| (*peer, BOTH)).collect();
    NatsConfig {
        is_name_believed: true,
        limits: Limits { queue_frames: 8, inbox_bytes: 64 << 20, ..Limits::default() },
        timing: quick(),
        seed: 7,
        ..NatsConfig::new(
            region(name),
            CLUSTER,
            ["orders", "prices"].map(domain).to_vec(),
            vec![server.url()],
            Security::PlainText,
            PolicySource::Given(list(&peers)),
        )
    }
}

/// Two regions, and the link at each.
pub(crate) async fn pair(server: &Server) -> (Region, Region, Connection, Connection) {
    let mut us = Region::start(config(server, "us", &["eu"])).await;
    let mut eu = Region::start(config(server, "eu", &["us"])).await;
    let (at_eu, at_us) = (eu.connection().await, us.connection().await);
    (eu, us, at_eu, at_us)
}

impl Region {
    pub(crate) async fn start(config: NatsConfig) -> Self {
        let (sink, connections) = mpsc::channel(16);
        let links = Transport::start(config, sink).await.unwrap();
        Self { links, connections }
    }

    /// The next link.
    pub(crate) async fn connection(&mut self) -> Connection {
        soon("a link", self.connections.recv()).await.unwrap()
    }

    pub(crate) fn peer(&self, name: &str) -> NatsPeer {
        let peers = self.links.status().peers;
        peers.into_iter().find(|peer| peer.region == region(name)).expect("the peer is listed")
    }

    /// Waits until a link to a peer ended, or was refused, for such a reason.
    pub(crate) async fn fails(&self, peer: &str, is_it: impl Fn(&Reason) -> bool) -> Reason {
        let mut found = None;
        until("opening fails for that reason", || {
            found = self.peer(peer).opening.and_then(|opening| opening.last).filter(&is_it);
            found.is_some()
        })
        .await;
        found.unwrap()
    }
}

/// What was sent at the one end comes out at the other.
pub(crate) async fn passes(from: &Connection, to: &mut Connection, bytes: &str) {
    soon("room", from.outgoing.send(frame("orders", bytes))).await.unwrap();
    assert_eq!(soon("a frame", to.incoming.recv()).await, Some(frame("orders", bytes)));
}

/// Nothing more comes: the link is gone.
pub(crate) async fn gone(connection: &mut Connection) {
    soon("the end of the link", async { while connection.incoming.recv().await.is_some() {} }).await;
}

/// What is logged on this thread while this lives.
pub(crate) struct Log {
    lines: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(crate) fn new() -> Self {
        // While there is one subscriber alone, a place that a thread without it passes first interests nobody, for all time.
        static ANYONE: Once = Once::new();
        ANYONE.call_once(|| {
            tracing::subscriber::set_global_default(tracing_subscriber::registry()).unwrap();
        });
        let lines = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&lines);
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || Lines(Arc::clone(&writer)))
            .finish();
        Self { lines, _guard: tracing::subscriber::set_default(subscriber) }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.lines.lock().unwrap().clone()).unwrap()
    }

    /// Waits until a line has all of these in it.
    pub(crate) async fn says(&self, parts: &[&str]) {
        let started = SystemTime::now();
        let is_said = || self.text().lines().any(|line| parts.iter().all(|part| line.contains(part)));
        while !is_said() {
            assert!(started.elapsed().unwrap() < PATIENCE, "nobody says {parts:?}:\n{}", self.text());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
