//! The folder of a run: what the regions are set up with, their certificates, stores, and what they say.

use std::fmt::Write;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use crate::random::Random;
use crate::region::Fault;
use crate::regions::{COUNT, Index, REGIONS};

/// The domain that all regions write.
pub(crate) const DOMAIN: &str = "notes";
/// Where ports are looked for: below those that a system hands out by itself, so that none is taken while its region is down.
const PORTS: std::ops::Range<u16> = 20_000..30_000;
/// How many ports are tried.
const TRIES: usize = 1_000;
/// How much is shown of what a region said.
const TAIL: usize = 12;

/// A folder that is removed in the end, unless it is to be looked at.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    is_kept: bool,
}

impl Folder {
    /// Makes one, with a file for each region and a list of its peers.
    pub(crate) fn new(cluster: &uuid::Uuid) -> Result<Self, Fault> {
        let name = format!("driftless-three-regions-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let folder = Self { path, is_kept: false };
        let ports = free_ports()?;
        for (index, region) in REGIONS.iter().enumerate() {
            let name = region.name;
            fs::write(folder.file(name, "toml"), config(name, cluster, ports[index]))?;
            fs::write(folder.file(name, "peers.toml"), peers(index, &ports))?;
        }
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A file of a region.
    pub(crate) fn file(&self, region: &str, kind: &str) -> PathBuf {
        self.path.join(format!("{region}.{kind}"))
    }

    /// The last that a region said.
    pub(crate) fn tail(&self, region: &str) -> String {
        let log = fs::read_to_string(self.file(region, "log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].iter().flat_map(|line| ["  ", line, "\n"]).collect()
    }

    /// It stays.
    pub(crate) fn keep(&mut self) {
        self.is_kept = true;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept {
            // What is left of it is in a folder for what may be removed.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn config(region: &str, cluster: &uuid::Uuid, port: u16) -> String {
    format!(
        "region = \"{region}\"\ncluster = \"{cluster}\"\ndata = \"data/{region}\"\nhttp = \"127.0.0.1:0\"\n\
         [domains.{DOMAIN}]\n\
         [links]\nlisten = \"127.0.0.1:{port}\"\npeers = \"{region}.peers.toml\"\ncertificates = \"certificates\"\n"
    )
}

fn peers(region: Index, ports: &[u16; COUNT]) -> String {
    let mut text = String::new();
    for (peer, port) in REGIONS.iter().zip(ports) {
        if peer.name != REGIONS[region].name {
            let _ = write!(
                text,
                "[peers.{}]\naddresses = [\"127.0.0.1:{port}\"]\ndomains = {{ {DOMAIN} = \"read-write\" }}\n",
                peer.name
            );
        }
    }
    text
}

/// Ports on which nobody listens.
fn free_ports() -> Result<[u16; COUNT], Fault> {
    let mut random = Random::new(u64::from(std::process::id()), 0x9027);
    let mut held = Vec::new();
    for _ in 0..TRIES {
        let port = PORTS.start + random.below(PORTS.len() as u64) as u16;
        held.extend(TcpListener::bind(("127.0.0.1", port)).ok().map(|listener| (port, listener)));
        // All are held until the last is found, so they differ.
        if let [(eu, _), (us, _), (ap, _)] = &held[..] {
            return Ok([*eu, *us, *ap]);
        }
    }
    Err("there are no free ports on the loopback interface".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_what_the_regions_need_and_is_removed() {
        let folder = Folder::new(&uuid::Uuid::from_u128(7)).expect("a folder");
        let path = folder.path().to_owned();
        let read = |kind| fs::read_to_string(folder.file("us", kind)).expect("a file");
        assert!(read("toml").contains("region = \"us\""));
        let peers = read("peers.toml");
        assert!(
            peers.contains("[peers.eu]") && peers.contains("[peers.ap]") && !peers.contains("[peers.us]")
        );
        fs::write(folder.file("us", "log"), "one\ntwo\n").expect("a file");
        assert_eq!(folder.tail("us"), "  one\n  two\n");
        assert_eq!(folder.tail("eu"), "");
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn ports_differ_and_are_free() {
        let ports = free_ports().expect("ports");
        let held = ports.map(|port| TcpListener::bind(("127.0.0.1", port)));
        assert!(held.iter().all(Result::is_ok), "{held:?}");
    }
}
