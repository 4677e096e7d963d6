//! How a replica is set up.

use crate::wire::limits::Limits;

/// How a replica is set up. Nothing in it changes what is stored or shipped: replicas with different settings agree.
///
/// It is made with `..Config::default()`: a later version may have more fields.
///
/// # Example
/// ```
/// use driftless::{Config, Counter, Limits, Replica, ReplicaId};
///
/// let limits = Limits { message_bytes: 1 << 20, ..Limits::default() };
/// let config = Config { changes: true, limits, ..Config::default() };
/// assert_eq!((config.max_ahead_ms, config.hash_seed), (60_000, None));
///
/// let eu: Replica<Counter> = Replica::new(ReplicaId::from_u128(1), config);
/// assert!(eu.config().changes);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How far a stamp that comes in may be ahead of the caller's clock, in milliseconds. 60,000 unless set.
    ///
    /// A wider bound lets a region whose clock runs ahead win over others for as long; a narrower one refuses it sooner. It is
    /// checked on merging and on [reports](crate::Replica::report); a replica's own clock may run ahead further, see
    /// [`HybridClock`](crate::HybridClock).
    pub max_ahead_ms: u64,
    /// Whether transactions and merges report what they changed, as [`Change`](crate::Change)s. Off unless set: it costs
    /// reading each place twice.
    pub changes: bool,
    /// What is accepted of a message.
    pub limits: Limits,
    /// What keys are hashed with. Made from the replica's id unless set; set it at random where people choose the keys and
    /// the id is public, so that nobody can choose keys that collide.
    pub hash_seed: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_ahead_ms: 60_000, changes: false, limits: Limits::default(), hash_seed: None }
    }
}
