//! The peers: processes of this program, so that what they take of the memory is not counted as the node's.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use driftless_node::MemoryStore;
use driftless_tcp::RegionName;
use driftless_tcp::development::make;

use crate::Fault;
use crate::region::{Links, NODE, Region};

struct Peer {
    name: String,
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    address: SocketAddr,
}

/// All of them. They end with this.
pub(crate) struct Peers(Vec<Peer>);

impl Peers {
    /// Starts so many, and makes their certificates and the node's in a folder.
    pub(crate) fn start(folder: &Path, count: usize) -> Result<Self, Fault> {
        let names: Vec<String> = (1..=count).map(|number| format!("peer-{number}")).collect();
        let mut regions = vec![RegionName::new(NODE)?];
        for name in &names {
            regions.push(RegionName::new(name)?);
        }
        make(folder, &regions, 2)?;
        let mut peers = Self(Vec::new());
        for name in names {
            let mut child = Command::new(std::env::current_exe()?)
                .args(["--peer", &name, "--folder"])
                .arg(folder)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
                return Err("a peer has no input or output".into());
            };
            let address = SocketAddr::from(([127, 0, 0, 1], 0));
            let mut peer = Peer { name, child, stdin, stdout: BufReader::new(stdout), address };
            let said = peer.line();
            peers.0.push(peer);
            if let Some(peer) = peers.0.last_mut() {
                peer.address = said?.parse()?;
            }
        }
        Ok(peers)
    }

    pub(crate) fn addresses(&self) -> Vec<(String, Option<SocketAddr>)> {
        self.0.iter().map(|peer| (peer.name.clone(), Some(peer.address))).collect()
    }

    /// The digests of what they hold.
    pub(crate) fn digests(&mut self) -> Result<Vec<String>, Fault> {
        let mut digests = Vec::new();
        for peer in &mut self.0 {
            writeln!(peer.stdin, "digest")?;
            digests.push(peer.line()?);
        }
        Ok(digests)
    }
}

impl Peer {
    fn line(&mut self) -> Result<String, Fault> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        for peer in &mut self.0 {
            // It may have ended before.
            let _ = peer.child.kill();
            let _ = peer.child.wait();
        }
    }
}

/// Is a peer: says where it listens, then a digest for each line that it is sent, until there are no more.
pub(crate) async fn run(name: &str, folder: &Path) -> Result<(), Fault> {
    let links = Links { listen: true, peers: vec![(NODE.to_owned(), None)] };
    let region = Region::start(name, folder, MemoryStore::new(), links).await?;
    let address = region.links.local_address().ok_or("it does not listen")?;
    println!("{address}");
    let domain = region.domain.clone();
    let answering = tokio::task::spawn_blocking(move || {
        for line in std::io::stdin().lock().lines() {
            line?;
            println!("{}", domain.read().digest());
        }
        Ok::<_, std::io::Error>(())
    });
    answering.await??;
    region.stop().await
}
