//! NATS servers that tests start on free ports, and that end with them.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How to get a server, for those who have none.
const HOW: &str = "get it with `adapters/nats/get-nats-server.sh`, or name one in DRIFTLESS_NATS_SERVER";

/// A server, its folder and its ports. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) folder: TempDir,
    program: PathBuf,
    pub(crate) port: u16,
    child: Option<Child>,
}

/// The program, if there is one. Otherwise the test is skipped, unless it must not be.
fn program() -> Option<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/nats-server");
    let in_path = std::env::var_os("PATH").into_iter().flat_map(|path| {
        std::env::split_paths(&path).map(|folder| folder.join("nats-server")).collect::<Vec<_>>()
    });
    let named = std::env::var_os("DRIFTLESS_NATS_SERVER").map(PathBuf::from);
    let found = match named {
        Some(named) => Some(named),
        None => in_path.chain([tools]).find(|candidate| candidate.is_file()),
    };
    if found.is_none() {
        assert!(std::env::var_os("DRIFTLESS_REQUIRE_NATS").is_none(), "there is no nats-server: {HOW}");
        eprintln!("SKIPPED, for want of a nats-server: {HOW}");
    }
    found
}

/// A port that is free now, and that no other test is given. It is below those that systems hand out by themselves: nobody takes
/// it while its server is down.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + std::process::id() % 100 * 100;
    loop {
        let port = u16::try_from(first).unwrap() + NEXT.fetch_add(1, Ordering::Relaxed) % 10_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Server {
    /// A server with JetStream. None: there is no program, and the test is skipped.
    pub(crate) async fn start() -> Option<Self> {
        Self::with("jetstream: enabled").await
    }

    /// A server with more in its file. `FOLDER` stands for its folder.
    pub(crate) async fn with(more: &str) -> Option<Self> {
        let program = program()?;
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self { folder, program, port: free_port(), child: None };
        server.configure(more);
        server.run().await;
        Some(server)
    }

    /// Writes its file anew. It is read when it is run, and at `reload`.
    pub(crate) fn configure(&self, more: &str) {
        let folder = self.folder.path().display().to_string();
        let mut text = format!("host: 127.0.0.1\nport: {}\n", self.port);
        let more = more.replace("jetstream: enabled", "jetstream { store_dir: \"FOLDER\" }");
        writeln!(text, "{}", more.replace("FOLDER", &folder)).unwrap();
        std::fs::write(self.folder.path().join("server.conf"), text).unwrap();
    }

    /// Runs it, and waits until it is there.
    pub(crate) async fn run(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("server.log"))
            .unwrap();
        let child = Command::new(&self.program)
            .arg("-c")
            .arg(self.folder.path().join("server.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap());
        let started = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            let child = self.child.as_mut().unwrap();
            let is_there = child.try_wait().unwrap().is_none() && started.elapsed() < Duration::from_secs(30);
            assert!(is_there, "the server does not start:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // It is this one that listens there.
        let child = self.child.as_mut().unwrap();
        assert!(child.try_wait().unwrap().is_none(), "the server has ended:\n{}", self.log());
    }

    /// As the power does it: SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// As an operator does it.
    pub(crate) async fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        signal(&child, "TERM");
        while child.try_wait().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }
}

fn signal(child: &Child, signal: &str) {
    let done = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status();
    assert!(done.unwrap().success());
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
