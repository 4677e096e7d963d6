//! What all parts of a transport share.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_nats::Client;
use bytes::Bytes;
use driftless_node::RegionName;
use driftless_node::connection::{Connection, DomainName, Grants};
use tokio::sync::{mpsc, watch};

use crate::config::NatsConfig;
use crate::observe::Observer;
use crate::policy::Policy;
use crate::reason::Reason;
use crate::server::Line;
use crate::settings::InForce;
use crate::status::Opening;
use crate::subjects::Subjects;

/// What all parts of a transport share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: NatsConfig,
    pub(crate) subjects: Subjects,
    pub(crate) client: Client,
    pub(crate) line: watch::Sender<Line>,
    /// Where links are handed over.
    pub(crate) sink: mpsc::Sender<Connection>,
    /// The peer list.
    pub(crate) in_force: watch::Sender<InForce>,
    /// Whether all shall end.
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) observer: Arc<Observer>,
    /// Held by the one who looks after the stream.
    pub(crate) inbox: tokio::sync::Mutex<()>,
    pub(crate) peers: Mutex<BTreeMap<RegionName, PeerState>>,
}

/// What is known of a peer that is or was listed.
#[derive(Debug)]
pub(crate) struct PeerState {
    /// Where its beats go.
    pub(crate) mailbox: mpsc::Sender<Bytes>,
    pub(crate) link: Option<LinkState>,
    pub(crate) opening: Opening,
}

/// What is known of a link.
#[derive(Clone, Debug)]
pub(crate) struct LinkState {
    pub(crate) since: SystemTime,
    pub(crate) traffic: Arc<Traffic>,
}

/// What went over a link.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) received_bytes: AtomicU64,
    pub(crate) received_frames: AtomicU64,
    pub(crate) sent_bytes: AtomicU64,
    pub(crate) sent_frames: AtomicU64,
}

impl Shared {
    /// Of this side's domains those that a peer may read.
    pub(crate) fn offered(&self, grants: &Grants) -> Vec<DomainName> {
        self.config.domains.iter().filter(|domain| grants.contains_key(domain)).cloned().collect()
    }

    /// The peers that are or were listed.
    pub(crate) fn known(&self) -> Vec<RegionName> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// What the list says of a peer.
    pub(crate) fn listed(&self, policy: &InForce, region: &RegionName) -> Result<Grants, Reason> {
        let policy: &Policy = policy.as_ref().map_err(|_| Reason::NoPolicy)?;
        let peer = policy.peer(region).filter(|_| *region != self.config.region);
        peer.map(|peer| peer.grants.clone()).ok_or(Reason::NotListed)
    }

    /// Says something to a region. Whether it arrives is not known.
    pub(crate) async fn say(&self, region: &RegionName, bytes: Bytes) {
        // It fails only when the client has ended, or the subject is none, which it is not.
        let _ = self.client.publish(self.subjects.beats_to(region), bytes).await;
    }

    pub(crate) fn with_peer<R>(
        &self,
        region: &RegionName,
        change: impl FnOnce(&mut PeerState) -> R,
    ) -> Option<R> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).get_mut(region).map(change)
    }
}
