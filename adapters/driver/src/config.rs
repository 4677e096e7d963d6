//! How a node and its domains are set up.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use driftless::{Admission, Config, Limits, ReplicaId, SyncConfig};
use uuid::Uuid;

/// How a [`Node`](crate::Node) is set up. It is made with [`new`](Self::new), and changed where need be.
///
/// # Example
/// ```
/// use driftless_node::NodeConfig;
/// use uuid::Uuid;
///
/// let config = NodeConfig { stall_ms: 5_000, ..NodeConfig::new(Uuid::from_u128(0xc1), "eu-west") };
/// assert_eq!((config.region.as_str(), config.shutdown_ms), ("eu-west", 10_000));
/// ```
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Which cluster it is part of: the same in all regions.
    pub cluster: Uuid,
    /// The region it stands in.
    pub region: String,
    /// How long a connection may take no frame, in milliseconds, before it is closed. 10,000 unless set.
    pub stall_ms: u64,
    /// How many bytes may wait for a connection, besides those of the largest frame, before it is closed. 16 MiB unless set.
    pub outbox_bytes: usize,
    /// How long a shutdown tries to write what is not on disk yet, in milliseconds, while the store fails. 10,000 unless set.
    pub shutdown_ms: u64,
    /// What the time is.
    pub clock: Clock,
}

impl NodeConfig {
    /// The settings of a node of a cluster, in a region.
    pub fn new(cluster: Uuid, region: impl Into<String>) -> Self {
        Self {
            cluster,
            region: region.into(),
            stall_ms: 10_000,
            outbox_bytes: 16 << 20,
            shutdown_ms: 10_000,
            clock: Clock::system(),
        }
    }
}

/// Where a node takes the time from.
///
/// # Example
/// ```
/// use driftless_node::Clock;
///
/// assert!(Clock::system().now_ms() > 1_700_000_000_000);
/// assert_eq!(Clock::from_fn(|| 7).now_ms(), 7);               // of a test, say
/// ```
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// That of the system.
    pub fn system() -> Self {
        Self::from_fn(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
    }

    /// One of your own, which gives Unix milliseconds. It may stand still and step back.
    pub fn from_fn(now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now_ms))
    }

    /// The time now, in Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.0()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now_ms()).finish()
    }
}

/// How a [`Domain`](crate::Domain) is set up. It is made with `..DomainConfig::default()`.
///
/// # Example
/// ```
/// use driftless_node::DomainConfig;
///
/// let config = DomainConfig { feed_bytes: Some(1 << 30), ..DomainConfig::default() };
/// assert_eq!((config.queue, config.heartbeat_ms), (1_024, 1_000));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct DomainConfig {
    /// How many bytes of the feed of changes are kept; none if there is to be no feed. None unless set: a feed costs reading
    /// each place twice, and writing each change once more.
    pub feed_bytes: Option<u64>,
    /// How many writes may wait for the engine, and how many frames. Who has more to bring waits. 1,024 unless set.
    pub queue: usize,
    /// How many bytes the frames may have that wait for the engine. A larger one waits alone. 16 MiB unless set.
    pub queue_bytes: usize,
    /// How many writes and merges may be applied and not yet on disk. While it is so many nothing more is applied. 16,384
    /// unless set.
    pub unstored: usize,
    /// ... and how many bytes the frames had that were merged. 64 MiB unless set.
    pub unstored_bytes: u64,
    /// A checkpoint is written when the log since the last one is so many times as large. 1.0 unless set.
    pub checkpoint_factor: f64,
    /// ... and has at least so many bytes. 16 MiB unless set.
    pub checkpoint_bytes: u64,
    /// Who is let into the membership; see [`SyncConfig`].
    pub admission: Admission,
    /// How often a peer is told that all is well, in milliseconds. 1,000 unless set.
    pub heartbeat_ms: u64,
    /// How long a peer may take to confirm what was sent before it is sent again. 2,000 ms unless set.
    pub patience_ms: u64,
    /// How long a delta may wait for one that should have come before it. 250 ms unless set.
    pub parking_ms: u64,
    /// How many bytes a chunk of a large delta has, for peers and in checkpoints. 256 KiB unless set.
    pub chunk_bytes: usize,
    /// How many bytes may be under way to a peer. 1 MiB unless set.
    pub window_bytes: usize,
    /// How often what is held is compared with a peer that should hold the same. 60,000 ms unless set.
    pub audit_ms: u64,
    /// How far ahead of the clock a stamp may be that comes in; see [`Config`]. 60,000 ms unless set.
    pub max_ahead_ms: u64,
    /// What is accepted of peers. What the store holds is read back whatever they are.
    pub limits: Limits,
    /// What keys are hashed with; see [`Config`].
    pub hash_seed: Option<u64>,
}

impl Default for DomainConfig {
    fn default() -> Self {
        let sync = SyncConfig::new(Uuid::nil(), ReplicaId::from_u128(0), "");
        let replica = Config::default();
        Self {
            feed_bytes: None,
            queue: 1_024,
            queue_bytes: 16 << 20,
            unstored: 16_384,
            unstored_bytes: 64 << 20,
            checkpoint_factor: 1.0,
            checkpoint_bytes: 16 << 20,
            admission: sync.admission,
            heartbeat_ms: sync.heartbeat_ms,
            patience_ms: sync.patience_ms,
            parking_ms: sync.parking_ms,
            chunk_bytes: sync.chunk_bytes,
            window_bytes: sync.window_bytes,
            audit_ms: sync.audit_ms,
            max_ahead_ms: replica.max_ahead_ms,
            limits: replica.limits,
            hash_seed: replica.hash_seed,
        }
    }
}

impl DomainConfig {
    pub(crate) fn replica(&self) -> Config {
        Config {
            max_ahead_ms: self.max_ahead_ms,
            changes: self.feed_bytes.is_some(),
            limits: self.limits,
            hash_seed: self.hash_seed,
        }
    }

    pub(crate) fn sync(&self, node: &NodeConfig, member: ReplicaId) -> SyncConfig {
        SyncConfig {
            is_durable: true,
            admission: self.admission,
            heartbeat_ms: self.heartbeat_ms,
            patience_ms: self.patience_ms,
            parking_ms: self.parking_ms,
            chunk_bytes: self.chunk_bytes,
            window_bytes: self.window_bytes,
            audit_ms: self.audit_ms,
            ..SyncConfig::new(node.cluster, member, node.region.clone())
        }
    }
}
