//! What all parts of a transport share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use driftless_node::RegionName;
use driftless_node::connection::{Connection, DomainName, Grants};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::config::{Limits, Timing};
use crate::observe::Observer;
use crate::preface::Hello;
use crate::registry::{Handshakes, Registry};
use crate::settings::Settings;
use crate::status::Dialing;

/// What all parts of a transport share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) region: RegionName,
    pub(crate) identity: String,
    pub(crate) cluster: Uuid,
    pub(crate) domains: Vec<DomainName>,
    pub(crate) is_name_believed: bool,
    pub(crate) limits: Limits,
    pub(crate) timing: Timing,
    pub(crate) seed: u64,
    /// Where connections are handed over.
    pub(crate) sink: mpsc::Sender<Connection>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) handshakes: Arc<Handshakes>,
    /// What is in force.
    pub(crate) settings: watch::Sender<Arc<Settings>>,
    /// Whether all shall end.
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) observer: Observer,
    pub(crate) dialing: Mutex<BTreeMap<RegionName, Dialing>>,
}

impl Shared {
    /// What this side says of itself to a peer: of its domains those that the peer may read.
    pub(crate) fn hello(&self, grants: &Grants) -> Hello {
        Hello {
            cluster: self.cluster,
            region: self.region.clone(),
            silence_ms: u32::try_from(self.timing.silence.as_millis()).unwrap_or(u32::MAX),
            frame_bytes: self.limits.frame_bytes,
            domains: self.domains.iter().filter(|domain| grants.contains_key(domain)).cloned().collect(),
        }
    }

    pub(crate) fn set_dialing(&self, region: &RegionName, dialing: Option<Dialing>) {
        let mut all = self.dialing.lock().unwrap_or_else(PoisonError::into_inner);
        match dialing {
            Some(dialing) => all.insert(region.clone(), dialing),
            None => all.remove(region),
        };
    }
}
