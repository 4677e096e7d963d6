//! How a transport is doing.

use std::net::SocketAddr;
use std::time::SystemTime;

use driftless_node::RegionName;

use crate::policy::PolicyError;
use crate::reason::Reason;
use crate::registry::Direction;

/// How a transport is doing.
#[derive(Clone, Debug)]
pub struct TcpStatus {
    /// Where it listens.
    pub listening: Option<SocketAddr>,
    /// Why nobody is let in, if the peer list cannot be loaded.
    pub policy_error: Option<PolicyError>,
    /// Until when this region's certificate is valid. None: plain text.
    pub certificate_until: Option<SystemTime>,
    /// The peers of the list, and those that are still connected, ordered by name.
    pub peers: Vec<TcpPeer>,
}

/// How it is doing with a peer.
#[derive(Clone, Debug)]
pub struct TcpPeer {
    /// Who.
    pub region: RegionName,
    /// The connections that there are: none, one, or two for a moment.
    pub connections: Vec<TcpConnection>,
    /// How dialing goes, while there is none and it is dialed.
    pub dialing: Option<Dialing>,
}

/// A connection that is there.
#[derive(Clone, Debug)]
pub struct TcpConnection {
    /// Which side dialed.
    pub direction: Direction,
    /// The peer's address.
    pub address: SocketAddr,
    /// Since when.
    pub since: SystemTime,
    /// Until when the peer's certificate is valid. None: plain text.
    pub certificate_until: Option<SystemTime>,
    /// Bytes of frames that came.
    pub received_bytes: u64,
    /// Frames that came.
    pub received_frames: u64,
    /// Bytes of frames that were sent.
    pub sent_bytes: u64,
    /// Frames that were sent.
    pub sent_frames: u64,
}

/// How dialing a peer goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialing {
    /// How often it failed in a row.
    pub failures: u32,
    /// Why the last time.
    pub last: Option<Reason>,
    /// When it is dialed again.
    pub next: SystemTime,
}
