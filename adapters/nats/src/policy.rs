//! Who may link, and what each may read and write.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;

use driftless_node::RegionName;
use driftless_node::connection::{Access, DomainName, Grants};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The peer list: who may link, and which domains each may read, or read and write. Whoever is not in it is refused.
///
/// It is read from a file, or made in code.
///
/// # Example
/// ```
/// use driftless_node::connection::{Access, DomainName};
/// use driftless_nats::{Policy, RegionName};
///
/// let policy = Policy::parse(
///     r#"
///     [peers.us]
///     domains = { orders = "read-write", prices = "read" }
///     "#,
/// )?;
/// let us = policy.peer(&RegionName::new("us")?).ok_or("it is listed")?;
/// assert_eq!(us.grants.get(&DomainName::new("prices")?), Some(&Access::Read));
///
/// // What is misspelt is refused: it must not open what it was to close.
/// assert!(Policy::parse("[peers.us]\ndomain = { orders = \"read\" }").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    peers: BTreeMap<RegionName, Peer>,
}

/// A peer in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What it may do. A domain that is not named does not exist for it.
    pub grants: Grants,
}

/// Where the peer list comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicySource {
    /// A file, which is read again while the transport runs.
    File(PathBuf),
    /// The program; see [`Transport::set_policy`](crate::Transport::set_policy).
    Given(Policy),
}

/// Why a text or a file is no peer list. To blame: whoever wrote it.
///
/// A transport that is given such a list anew closes all links until it is given a right one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyError {
    /// The file cannot be read.
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        kind: io::ErrorKind,
    },
    /// It is not TOML, or not of the form of a peer list.
    Malformed {
        /// What is wrong, and in which line.
        what: String,
    },
    /// A name in it is none.
    BadName {
        /// What is wrong.
        what: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    #[serde(default)]
    peers: BTreeMap<String, PeerTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PeerTable {
    /// Of TCP, as is the next: one file may serve both.
    #[serde(default, rename = "addresses")]
    _addresses: Option<IgnoredAny>,
    #[serde(default, rename = "identity")]
    _identity: Option<IgnoredAny>,
    domains: BTreeMap<String, AccessWord>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum AccessWord {
    Read,
    ReadWrite,
}

impl Policy {
    /// A list of these peers.
    pub fn new(peers: impl IntoIterator<Item = (RegionName, Peer)>) -> Self {
        Self { peers: peers.into_iter().collect() }
    }

    /// Reads a list in TOML; its form is in `docs/nats.md`.
    ///
    /// # Errors
    /// What is wrong, and where. Nothing changed.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let file: PolicyFile = toml::from_str(text)
            .map_err(|error| PolicyError::Malformed { what: error.to_string().trim_end().to_owned() })?;
        let bad_name = |what: &dyn fmt::Display| PolicyError::BadName { what: what.to_string() };
        let mut peers = Vec::new();
        for (name, table) in file.peers {
            let region = RegionName::new(&name).map_err(|error| bad_name(&error))?;
            let mut peer = Peer { grants: Grants::new() };
            for (domain, access) in table.domains {
                let domain = DomainName::new(&domain).map_err(|error| bad_name(&error))?;
                let access = match access {
                    AccessWord::Read => Access::Read,
                    AccessWord::ReadWrite => Access::ReadWrite,
                };
                peer.grants.insert(domain, access);
            }
            peers.push((region, peer));
        }
        Ok(Self::new(peers))
    }

    /// A peer, if it is listed.
    pub fn peer(&self, region: &RegionName) -> Option<&Peer> {
        self.peers.get(region)
    }

    /// All peers, ordered by name.
    pub fn peers(&self) -> impl Iterator<Item = (&RegionName, &Peer)> {
        self.peers.iter()
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, kind } => {
                write!(f, "the peer list {} cannot be read: {kind}", path.display())?;
            }
            Self::Malformed { what } => write!(f, "the peer list is malformed: {what}")?,
            Self::BadName { what } => write!(f, "the peer list has a wrong name: {what}")?,
        }
        f.write_str("; nobody is let in by it: correct it")
    }
}

impl std::error::Error for PolicyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_refused() {
        let wrong = [
            "[peers.us]",
            "[peers.us]\ndomains = { orders = \"write\" }",
            "[peers.us]\ndomains = { orders = \"read\" }\nadress = []",
            "[peer.us]\ndomains = {}",
            "[peers.US]\ndomains = {}",
            "[peers.us]\ndomains = { \"../x\" = \"read\" }",
            "[peers.\"*\"]\ndomains = {}",
            "[peers.us]\ndomains = {}\n[peers.us]\ndomains = {}",
            "\0",
            "[peers.us]\ndomains = { orders = \"read\"",
        ];
        for text in wrong {
            let error = Policy::parse(text).expect_err(text);
            assert!(error.to_string().ends_with("nobody is let in by it: correct it"), "{error}");
        }
    }

    #[test]
    fn a_list_for_tcp_serves_too() {
        let list =
            "[peers.us]\naddresses = [\"us.example.com:7400\"]\nidentity = \"x.example.com\"\ndomains = {}";
        assert_eq!(Policy::parse(list), Policy::parse("[peers.us]\ndomains = {}"));
    }
}
