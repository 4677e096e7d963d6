//! How a replica is set up.

use crate::wire::limits::Limits;

/// How a replica is set up. Nothing in it changes what is stored or shipped: replicas with different settings agree.
///
/// # Example
/// ```
/// use driftless::Config;
/// let config = Config { changes: true, ..Config::default() };
/// assert_eq!(config.max_ahead_ms, 60_000);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How far a stamp that comes in may be ahead of the caller's clock, in milliseconds. 60,000 unless set.
    ///
    /// A wider bound lets a region whose clock runs ahead win over others for as long; a narrower one refuses it sooner.
    pub max_ahead_ms: u64,
    /// Whether transactions and merges report what they changed. Off unless set: it costs reading each place twice.
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
