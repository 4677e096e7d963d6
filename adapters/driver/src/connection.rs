//! What a transport hands to a node: a connection to a peer, and what the peer may see of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
pub use driftless::Access;
use tokio::sync::mpsc;

/// The name of a replication domain: some data with a membership of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainName(Arc<str>);

/// What a peer may do, domain by domain. A domain that is not named here does not exist for it.
pub type Grants = BTreeMap<DomainName, Access>;

/// One frame of an endpoint, and the domain that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Which domain.
    pub domain: DomainName,
    /// What [`Endpoint::transmit`](driftless::Endpoint::transmit) gave.
    pub bytes: Bytes,
}

/// A connection to a peer, as a transport hands it to [`Node::attach`](crate::Node::attach): two queues of whole frames.
///
/// The transport takes frames from the far end of `outgoing` and writes them to the peer; what it reads it puts into the far
/// end of `incoming`, and stops reading while that is full. It drops both ends when the connection is gone; the node drops its
/// ends when it wants the connection closed.
#[derive(Debug)]
pub struct Connection {
    /// Who the peer is, as the transport has proved; none if it has not.
    pub principal: Option<String>,
    /// What the peer may do here.
    pub grants: Grants,
    /// The domains that the peer has. Frames of others are not sent to it.
    pub offered: Vec<DomainName>,
    /// Frames from the peer.
    pub incoming: mpsc::Receiver<Frame>,
    /// Frames to the peer. If it stays full for [`stall_ms`](crate::NodeConfig::stall_ms) the peer is too slow, and the
    /// connection is closed.
    pub outgoing: mpsc::Sender<Frame>,
}

impl DomainName {
    /// The most bytes of a name.
    pub const MOST_BYTES: usize = 64;

    /// A name: 1 to 64 bytes, of lower case letters, digits, `-` and `_`. It is part of file names and of subjects.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(name: &str) -> Result<Self, BadName> {
        let is_allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        match name.len() {
            1..=Self::MOST_BYTES if name.bytes().all(is_allowed) => Ok(Self(name.into())),
            _ => Err(BadName { name: name.chars().take(Self::MOST_BYTES).collect() }),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The caller, or a peer, gave a name that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadName {
    /// The name, or its beginning.
    pub name: String,
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no name of a domain; nothing changed: \
             use 1 to 64 lower case letters, digits, `-` and `_`",
            self.name
        )
    }
}

impl std::error::Error for BadName {}
