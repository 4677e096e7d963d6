//! How a transport is doing.

use std::time::SystemTime;

use driftless_node::RegionName;

use crate::policy::PolicyError;
use crate::reason::Reason;

/// How a transport is doing.
#[derive(Clone, Debug)]
pub struct NatsStatus {
    /// The version of the server, while there is a connection to it.
    pub server: Option<String>,
    /// Why nobody is let in, if the peer list cannot be loaded.
    pub policy_error: Option<PolicyError>,
    /// The peers of the list, and those that are still linked, ordered by name.
    pub peers: Vec<NatsPeer>,
}

/// How it is doing with a peer.
#[derive(Clone, Debug)]
pub struct NatsPeer {
    /// Who.
    pub region: RegionName,
    /// The link, if there is one.
    pub link: Option<NatsLink>,
    /// How opening one goes, while there is none.
    pub opening: Option<Opening>,
}

/// A link that is there.
#[derive(Clone, Debug)]
pub struct NatsLink {
    /// Since when.
    pub since: SystemTime,
    /// Bytes of frames that came.
    pub received_bytes: u64,
    /// Frames that came.
    pub received_frames: u64,
    /// Bytes of frames that were sent.
    pub sent_bytes: u64,
    /// Frames that were sent.
    pub sent_frames: u64,
}

/// How opening a link to a peer goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// How often it was tried in a row: the peer was called, or the inbox could not be made ready.
    pub attempts: u32,
    /// What stood in the way the last time, if that is known. A peer that does not answer is not there, or has other settings.
    pub last: Option<Reason>,
}
