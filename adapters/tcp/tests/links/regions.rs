//! Regions with files of their own, and what a test does with them.

use std::future::Future;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, SystemTime};

use driftless_node::connection::{Connection, DomainName, Frame};
use driftless_tcp::{
    CertificateFiles, Limits, PolicySource, Reason, RegionName, Security, TcpConfig, TcpPeer, Timing,
    Transport,
};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tracing::subscriber::DefaultGuard;
use uuid::Uuid;

use crate::certificates::Authority;

/// Nothing here takes that long, on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const DAY: i64 = 24 * 3600;

/// A folder with the files of regions, and an authority for them.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    pub(crate) authority: Authority,
}

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
        handshake: ms(5_000),
        preface: ms(5_000),
        keep_alive: ms(100),
        silence: ms(5_000),
        farewell: ms(2_000),
        backoff_least: ms(10),
        backoff_most: ms(100),
        settled: ms(1_000),
        reload: Duration::from_secs(3600),
        ..Timing::default()
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap(), authority: Authority::new("all") };
        place.write("ca.pem", &place.authority.pem);
        for name in ["ap", "eu", "us"] {
            place.certify(name, &place.authority, &[&driftless_tcp::identity_of(&region(name))], DAY);
            place.write(&format!("{name}.toml"), "");
        }
        place
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        // As one does it: whole, or not at all.
        let partial = self.path(&format!("{file}.new"));
        std::fs::write(&partial, text).unwrap();
        std::fs::rename(partial, self.path(file)).unwrap();
    }

    pub(crate) fn certify(&self, name: &str, authority: &Authority, names: &[&str], seconds: i64) {
        let (certificate, key) = authority.certify(names, seconds);
        self.write(&format!("{name}.key"), &key);
        self.write(&format!("{name}.pem"), &certificate);
    }

    /// Writes the peer list of a region: of each peer its addresses and its domains.
    pub(crate) fn list(&self, name: &str, peers: &[(&str, &[String], &str)]) {
        let mut text = String::new();
        for (peer, addresses, domains) in peers {
            text += &format!("[peers.{peer}]\naddresses = {addresses:?}\ndomains = {{ {domains} }}\n");
        }
        self.write(&format!("{name}.toml"), &text);
    }

    pub(crate) fn config(&self, name: &str) -> TcpConfig {
        TcpConfig {
            listen: Some("127.0.0.1:0".parse().unwrap()),
            limits: Limits { queue_frames: 8, ..Limits::default() },
            timing: quick(),
            seed: 7,
            ..TcpConfig::new(
                region(name),
                Uuid::from_u128(0xc1),
                ["orders", "prices"].map(domain).to_vec(),
                Security::Tls(CertificateFiles::in_folder(self.folder.path(), &region(name))),
                PolicySource::File(self.path(&format!("{name}.toml"))),
            )
        }
    }

    pub(crate) async fn start(&self, name: &str) -> Region {
        Region::start(self.config(name)).await
    }

    /// Two regions, of which `eu` dials `us`, and the connection at each.
    pub(crate) async fn pair(&self) -> (Region, Region, Connection, Connection) {
        let both = "orders = \"read-write\", prices = \"read\"";
        self.list("us", &[("eu", &[], both)]);
        let mut us = self.start("us").await;
        self.list("eu", &[("us", &[us.address()], both)]);
        let mut eu = self.start("eu").await;
        let (at_eu, at_us) = (eu.connection().await, us.connection().await);
        (eu, us, at_eu, at_us)
    }
}

impl Region {
    pub(crate) async fn start(config: TcpConfig) -> Self {
        let (sink, connections) = mpsc::channel(16);
        let links = Transport::start(config, sink).await.unwrap();
        Self { links, connections }
    }

    pub(crate) fn address(&self) -> String {
        self.links.local_address().unwrap().to_string()
    }

    /// The next connection.
    pub(crate) async fn connection(&mut self) -> Connection {
        soon("a connection", self.connections.recv()).await.unwrap()
    }

    pub(crate) fn peer(&self, name: &str) -> TcpPeer {
        let peers = self.links.status().peers;
        peers.into_iter().find(|peer| peer.region == region(name)).expect("the peer is listed")
    }

    /// Waits until dialing a peer failed for such a reason.
    pub(crate) async fn fails(&self, peer: &str, is_it: impl Fn(&Reason) -> bool) -> Reason {
        let mut seen = None;
        until("dialing fails for that reason", || {
            let last = self.peer(peer).dialing.and_then(|dialing| dialing.last);
            let found = last.as_ref().is_some_and(&is_it);
            seen = last.or(seen.take());
            found
        })
        .await;
        seen.unwrap()
    }
}

/// Nothing more comes: the connection is gone.
pub(crate) async fn gone(connection: &mut Connection) {
    soon("the end of the connection", async { while connection.incoming.recv().await.is_some() {} }).await;
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
