//! How an endpoint is set up.

use uuid::Uuid;

use crate::causal::id::ReplicaId;

/// Who is let into the membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Admission {
    /// Whoever can connect: the transport says who can.
    Anyone,
    /// Whom [`Endpoint::admit`](crate::Endpoint::admit) lets in. Others are told to wait, and an
    /// [event](crate::SyncEvent::JoinRequest) names them.
    Invited,
}

/// How an [`Endpoint`](crate::Endpoint) is set up.
///
/// It is made with [`new`](Self::new), and changed where need be. All times are in milliseconds.
///
/// # Example
/// ```
/// use driftless::{ReplicaId, SyncConfig};
/// use uuid::Uuid;
///
/// let cluster = Uuid::from_u128(0xc1);                    // one for all regions
/// let store = ReplicaId::from_u128(0xe0);                 // one for each store, whatever is restarted
/// let config = SyncConfig { heartbeat_ms: 500, ..SyncConfig::new(cluster, store, "eu-west") };
/// assert_eq!((config.region.as_str(), config.chunk_bytes), ("eu-west", 256 << 10));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncConfig {
    /// Which cluster this is. Endpoints of different clusters refuse each other.
    pub cluster: Uuid,
    /// Which member of the cluster this is: the id of its store, the same through all restarts.
    pub member: ReplicaId,
    /// The region it stands in.
    pub region: String,
    /// Whether there is a store: then nothing leaves, and nothing is told, before it is [persisted](crate::Endpoint::persisted).
    pub is_durable: bool,
    /// Who is let into the membership. [`Admission::Anyone`] unless set.
    pub admission: Admission,
    /// How often a peer is told that all is well. 1,000 unless set.
    pub heartbeat_ms: u64,
    /// How long a peer may take to confirm what was sent before it is sent again; twice as long each time. 2,000 unless set.
    pub patience_ms: u64,
    /// How long a delta may wait for one that should have come before it. 250 unless set.
    pub parking_ms: u64,
    /// How many bytes a chunk of a large delta has. 256 KiB unless set.
    pub chunk_bytes: usize,
    /// How many bytes may be under way to a peer, or wait for others to come before them. 1 MiB unless set.
    pub window_bytes: usize,
    /// How often what is held is compared with a peer that should hold the same. 60,000 unless set.
    pub audit_ms: u64,
}

impl SyncConfig {
    /// The settings of a member of a cluster, in a region, without a store.
    pub fn new(cluster: Uuid, member: ReplicaId, region: impl Into<String>) -> Self {
        Self {
            cluster,
            member,
            region: region.into(),
            is_durable: false,
            admission: Admission::Anyone,
            heartbeat_ms: 1_000,
            patience_ms: 2_000,
            parking_ms: 250,
            chunk_bytes: 256 << 10,
            window_bytes: 1 << 20,
            audit_ms: 60_000,
        }
    }
}
