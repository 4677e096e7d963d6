//! Who may connect, and what each may read and write.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;

use driftless_node::RegionName;
use driftless_node::connection::{Access, DomainName, Grants};
use rustls_pki_types::DnsName;
use serde::Deserialize;

/// The peer list: who may connect, and which domains each may read, or read and write. Whoever is not in it is refused.
///
/// It is read from a file, or made in code.
///
/// # Example
/// ```
/// use driftless_node::connection::{Access, DomainName};
/// use driftless_tcp::{Policy, RegionName};
///
/// let policy = Policy::parse(
///     r#"
///     [peers.us]
///     addresses = ["us.example.com:7400"]
///     domains = { orders = "read-write", prices = "read" }
///     "#,
/// )?;
/// let us = policy.peer(&RegionName::new("us")?).ok_or("it is listed")?;
/// assert_eq!(us.grants.get(&DomainName::new("prices")?), Some(&Access::Read));
/// assert_eq!(us.identity, "us.driftless.internal");
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
    /// Where it is dialed, each as `host:port`; they are tried one after the other. None: it is waited for.
    pub addresses: Vec<String>,
    /// The domain name (a DNS subject alternative name) that its certificate bears.
    pub identity: String,
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
/// A transport that is given such a list anew closes all connections until it is given a right one.
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
    /// Two peers would be told apart by nothing.
    SharedIdentity {
        /// What both certificates would bear.
        identity: String,
        /// The two peers.
        peers: [RegionName; 2],
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
    #[serde(default)]
    addresses: Vec<String>,
    identity: Option<String>,
    domains: BTreeMap<String, AccessWord>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum AccessWord {
    Read,
    ReadWrite,
}

/// The domain name that stands in a region's certificate unless another is set: `NAME.driftless.internal`.
pub fn identity_of(region: &RegionName) -> String {
    format!("{region}.driftless.internal")
}

impl Peer {
    /// A peer that is waited for, with the identity that goes with its name.
    pub fn new(region: &RegionName, grants: Grants) -> Self {
        Self { addresses: Vec::new(), identity: identity_of(region), grants }
    }
}

impl Policy {
    /// A list of these peers.
    ///
    /// # Errors
    /// An identity is no domain name, or is that of two peers. Nothing changed.
    pub fn new(peers: impl IntoIterator<Item = (RegionName, Peer)>) -> Result<Self, PolicyError> {
        let mut list: BTreeMap<RegionName, Peer> = BTreeMap::new();
        let mut named: BTreeMap<String, RegionName> = BTreeMap::new();
        for (region, mut peer) in peers {
            peer.identity.make_ascii_lowercase();
            if DnsName::try_from(peer.identity.as_str()).is_err() {
                let what = format!("the identity {:?} of {region} is no domain name", peer.identity);
                return Err(PolicyError::BadName { what });
            }
            if let Some(other) = named.insert(peer.identity.clone(), region.clone()) {
                return Err(PolicyError::SharedIdentity { identity: peer.identity, peers: [other, region] });
            }
            list.insert(region, peer);
        }
        Ok(Self { peers: list })
    }

    /// Reads a list in TOML; its form is in `docs/tcp.md`.
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
            let mut peer = Peer::new(&region, Grants::new());
            peer.addresses = table.addresses;
            if let Some(identity) = table.identity {
                peer.identity = identity;
            }
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
        Self::new(peers)
    }

    /// A peer, if it is listed.
    pub fn peer(&self, region: &RegionName) -> Option<&Peer> {
        self.peers.get(region)
    }

    /// All peers, ordered by name.
    pub fn peers(&self) -> impl Iterator<Item = (&RegionName, &Peer)> {
        self.peers.iter()
    }

    /// Which of the peers bear one of these names of a certificate.
    pub(crate) fn named(&self, names: &[String]) -> Vec<&RegionName> {
        let bears = |peer: &Peer| names.iter().any(|name| name.eq_ignore_ascii_case(&peer.identity));
        self.peers.iter().filter(|(_, peer)| bears(peer)).map(|(region, _)| region).collect()
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
            Self::SharedIdentity { identity, peers: [one, other] } => {
                write!(f, "the peer list has one identity, {identity:?}, for {one} and {other}")?;
            }
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
            "[peers.us]\nidentity = \"*.example.com\"\ndomains = {}",
            "[peers.us]\nidentity = \"\"\ndomains = {}",
            "[peers.us]\ndomains = {}\n[peers.us]\ndomains = {}",
            "[peers.us]\nidentity = \"a.b\"\ndomains = {}\n[peers.eu]\nidentity = \"A.b\"\ndomains = {}",
            "[peers.us]\nidentity = \"eu.driftless.internal\"\ndomains = {}\n[peers.eu]\ndomains = {}",
            "\0",
            "[peers.us]\ndomains = { orders = \"read\"",
        ];
        for text in wrong {
            let error = Policy::parse(text).expect_err(text);
            assert!(error.to_string().ends_with("nobody is let in by it: correct it"), "{error}");
        }
    }

    #[test]
    fn a_certificate_names_the_peers_whose_identity_it_bears_and_no_wildcard_does() {
        let text = "[peers.us]\ndomains = {}\n[peers.ap]\nidentity = \"AP.example.com\"\ndomains = {}";
        let policy = Policy::parse(text).unwrap();
        let named = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            policy.named(&names).into_iter().map(RegionName::as_str).collect::<Vec<_>>()
        };
        assert_eq!(named(&["us.driftless.internal"]), ["us"]);
        assert_eq!(named(&["other", "ap.EXAMPLE.com"]), ["ap"]);
        assert_eq!(named(&["us.driftless.internal", "ap.example.com"]), ["ap", "us"]);
        assert!(named(&["*.driftless.internal", "us", "ap.driftless.internal", ""]).is_empty());
    }
}
