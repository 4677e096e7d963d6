//! What a node tells `metrics` and `tracing`: all names in one place. `docs/node.md` has them in a table.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::connection::DomainName;

/// Transactions that were made, with or without an event.
pub const WRITES: &str = "driftless_writes_total";
/// Transactions that were refused, aborted by their closure, or whose closure panicked.
pub const WRITES_REFUSED: &str = "driftless_writes_refused_total";
/// Seconds from when the engine applied a transaction until it was on disk.
pub const DURABLE_SECONDS: &str = "driftless_write_durable_seconds";
/// Deltas of peers that were merged.
pub const MERGES: &str = "driftless_merges_total";
/// Registers that came to hold concurrent values by merging.
pub const CONFLICTS: &str = "driftless_conflicts_total";
/// Values that came in and that this release cannot read.
pub const UNREADABLE: &str = "driftless_unreadable_total";
/// Writes and merges that are applied and not on disk.
pub const UNSTORED: &str = "driftless_unstored";
/// Appends to the store.
pub const APPENDS: &str = "driftless_store_appends_total";
/// Bytes appended to the store, the feed's among them.
pub const APPENDED_BYTES: &str = "driftless_store_appended_bytes_total";
/// Seconds that an append took, until it was on disk.
pub const APPEND_SECONDS: &str = "driftless_store_append_seconds";
/// Calls of the store that failed.
pub const STORE_ERRORS: &str = "driftless_store_errors_total";
/// Whether the store fails now: 1 or 0.
pub const STORE_FAILING: &str = "driftless_store_failing";
/// Checkpoints that were published.
pub const CHECKPOINTS: &str = "driftless_store_checkpoints_total";
/// Bytes written for checkpoints.
pub const CHECKPOINT_BYTES: &str = "driftless_store_checkpoint_bytes_total";
/// Links that are up.
pub const LINKS: &str = "driftless_links";
/// Frames that came in.
pub const FRAMES_RECEIVED: &str = "driftless_frames_received_total";
/// Bytes of them.
pub const BYTES_RECEIVED: &str = "driftless_received_bytes_total";
/// Frames that went out.
pub const FRAMES_SENT: &str = "driftless_frames_sent_total";
/// Bytes of them.
pub const BYTES_SENT: &str = "driftless_sent_bytes_total";
/// Frames that were dropped since the engine could not take them in time, or the store fails: they are sent again.
pub const FRAMES_DROPPED: &str = "driftless_frames_dropped_total";
/// Frames of domains that the peer may not use.
pub const FRAMES_REFUSED: &str = "driftless_frames_refused_total";
/// Milliseconds that the peer that lags most has not confirmed something for.
pub const LAG_MS: &str = "driftless_lag_milliseconds";

/// What is counted of a domain.
#[derive(Clone)]
pub(crate) struct Meters {
    pub(crate) writes: Counter,
    pub(crate) writes_refused: Counter,
    pub(crate) durable_seconds: Histogram,
    pub(crate) merges: Counter,
    pub(crate) conflicts: Counter,
    pub(crate) unreadable: Counter,
    pub(crate) unstored: Gauge,
    pub(crate) appends: Counter,
    pub(crate) appended_bytes: Counter,
    pub(crate) append_seconds: Histogram,
    pub(crate) store_errors: Counter,
    pub(crate) store_failing: Gauge,
    pub(crate) checkpoints: Counter,
    pub(crate) checkpoint_bytes: Counter,
    pub(crate) links: Gauge,
    pub(crate) frames_received: Counter,
    pub(crate) bytes_received: Counter,
    pub(crate) frames_sent: Counter,
    pub(crate) bytes_sent: Counter,
    pub(crate) frames_dropped: Counter,
    pub(crate) lag_ms: Gauge,
}

impl Meters {
    pub(crate) fn new(domain: &DomainName) -> Self {
        let label = || domain.as_str().to_owned();
        Self {
            writes: counter!(WRITES, "domain" => label()),
            writes_refused: counter!(WRITES_REFUSED, "domain" => label()),
            durable_seconds: histogram!(DURABLE_SECONDS, "domain" => label()),
            merges: counter!(MERGES, "domain" => label()),
            conflicts: counter!(CONFLICTS, "domain" => label()),
            unreadable: counter!(UNREADABLE, "domain" => label()),
            unstored: gauge!(UNSTORED, "domain" => label()),
            appends: counter!(APPENDS, "domain" => label()),
            appended_bytes: counter!(APPENDED_BYTES, "domain" => label()),
            append_seconds: histogram!(APPEND_SECONDS, "domain" => label()),
            store_errors: counter!(STORE_ERRORS, "domain" => label()),
            store_failing: gauge!(STORE_FAILING, "domain" => label()),
            checkpoints: counter!(CHECKPOINTS, "domain" => label()),
            checkpoint_bytes: counter!(CHECKPOINT_BYTES, "domain" => label()),
            links: gauge!(LINKS, "domain" => label()),
            frames_received: counter!(FRAMES_RECEIVED, "domain" => label()),
            bytes_received: counter!(BYTES_RECEIVED, "domain" => label()),
            frames_sent: counter!(FRAMES_SENT, "domain" => label()),
            bytes_sent: counter!(BYTES_SENT, "domain" => label()),
            frames_dropped: counter!(FRAMES_DROPPED, "domain" => label()),
            lag_ms: gauge!(LAG_MS, "domain" => label()),
        }
    }

    /// Frames of a domain that the peer may not use. The name is the peer's, so it is no label.
    pub(crate) fn frame_refused() {
        counter!(FRAMES_REFUSED).increment(1);
    }
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}
