//! What is logged and counted. `docs/nats.md` lists it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use driftless_node::RegionName;

use crate::reason::Reason;

/// How often a message of one kind is logged at most: whoever knocks must not fill the disk.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// What has been logged lately.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    lately: Mutex<BTreeMap<&'static str, Lately>>,
}

#[derive(Debug)]
struct Lately {
    at: Instant,
    left_out: u64,
}

/// Why a message of an inbox is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// It is none.
    Garbage,
    /// It is of another life of one of the two sides.
    Stale,
    /// It was here already.
    Seen,
    /// One before it is missing.
    Ahead,
}

impl Dropped {
    fn label(self) -> &'static str {
        match self {
            Self::Garbage => "garbage",
            Self::Stale => "stale",
            Self::Seen => "seen",
            Self::Ahead => "ahead",
        }
    }
}

impl Observer {
    /// Somebody who is no peer was refused. Says whether that was logged, which is so once a second at most.
    pub(crate) fn refused(&self, reason: &Reason, sender: &str) -> bool {
        metrics::counter!("driftless_nats_refused_total", "reason" => reason.label()).increment(1);
        let Some(left_out) = self.is_due(reason.label()) else {
            return false;
        };
        let sender: String = sender.chars().take(RegionName::MOST_BYTES).collect();
        tracing::warn!(reason = reason.label(), sender, left_out, "link refused: {reason}");
        true
    }

    /// A message of the inbox is passed over.
    pub(crate) fn dropped(&self, dropped: Dropped, peer: &RegionName) {
        let labels = [("peer", peer.to_string()), ("why", dropped.label().to_owned())];
        metrics::counter!("driftless_nats_dropped_messages_total", &labels).increment(1);
        if dropped == Dropped::Garbage
            && let Some(left_out) = self.is_due("garbage")
        {
            tracing::warn!(
                peer = peer.as_str(),
                left_out,
                "what came to the inbox in the peer's name is no message of this protocol; it is passed over"
            );
        }
    }

    /// The server says that something went wrong.
    pub(crate) fn server_says(&self, what: &str) {
        if let Some(left_out) = self.is_due("server") {
            tracing::warn!(left_out, "the server says: {what}");
        }
    }

    /// Of a kind of message: how many were left out since the last one, if it is time for the next.
    fn is_due(&self, label: &'static str) -> Option<u64> {
        let now = Instant::now();
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        match lately.get_mut(label) {
            Some(last) if now.duration_since(last.at) < LOG_EVERY => {
                last.left_out += 1;
                None
            }
            Some(last) => {
                last.at = now;
                Some(std::mem::take(&mut last.left_out))
            }
            None => {
                lately.insert(label, Lately { at: now, left_out: 0 });
                Some(0)
            }
        }
    }
}

/// A link could not be opened.
pub(crate) fn opening_failed(
    reason: &Reason,
    peer: &RegionName,
    attempts: u32,
    wait: Duration,
    is_news: bool,
) {
    metrics::counter!("driftless_nats_opening_failures_total", "peer" => peer.to_string()).increment(1);
    let (label, peer, wait_ms) = (reason.label(), peer.as_str(), wait.as_millis());
    if is_news {
        tracing::warn!(reason = label, peer, attempts, wait_ms, "opening a link failed: {reason}");
    } else {
        tracing::debug!(reason = label, peer, attempts, wait_ms, "opening a link failed: {reason}");
    }
}

/// A link is there.
pub(crate) fn linked(peer: &RegionName, domains: &[&str]) {
    metrics::counter!("driftless_nats_linked_total", "peer" => peer.to_string()).increment(1);
    metrics::gauge!("driftless_nats_links", "peer" => peer.to_string()).increment(1.0);
    tracing::info!(peer = peer.as_str(), ?domains, "linked");
}

/// It is gone.
pub(crate) fn closed(reason: &Reason, peer: &RegionName) {
    let labels = [("peer", peer.to_string()), ("reason", reason.label().to_owned())];
    metrics::counter!("driftless_nats_closed_total", &labels).increment(1);
    metrics::gauge!("driftless_nats_links", "peer" => peer.to_string()).decrement(1.0);
    let (label, peer) = (reason.label(), peer.as_str());
    if matches!(reason, Reason::Withheld { .. }) {
        tracing::error!(reason = label, peer, "link closed: {reason}");
    } else if reason.is_refusal() {
        tracing::warn!(reason = label, peer, "link closed: {reason}");
    } else {
        tracing::info!(reason = label, peer, "link closed: {reason}");
    }
}

/// Messages are sent once more, because one of them was not stored.
pub(crate) fn republished(peer: &RegionName, messages: usize) {
    metrics::counter!("driftless_nats_republished_messages_total", "peer" => peer.to_string())
        .increment(messages as u64);
}

/// Counters of one direction of the links with a peer.
pub(crate) struct Counted {
    frames: metrics::Counter,
    bytes: metrics::Counter,
}

impl Counted {
    pub(crate) fn new(prefix: &str, region: &RegionName) -> Self {
        let counter =
            |what| metrics::counter!(format!("{prefix}_{what}_total"), "peer" => region.to_string());
        Self { frames: counter("frames"), bytes: counter("bytes") }
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.frames.increment(1);
        self.bytes.increment(bytes as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_one_kind_are_logged_once_a_second_and_the_others_counted() {
        let observer = Observer::default();
        assert_eq!(observer.is_due("garbage"), Some(0));
        assert_eq!([observer.is_due("garbage"), observer.is_due("garbage")], [None, None]);
        assert_eq!(observer.is_due("broken"), Some(0));
        observer.lately.lock().unwrap().get_mut("garbage").unwrap().at -= LOG_EVERY;
        assert_eq!([observer.is_due("garbage"), observer.is_due("garbage")], [Some(2), None]);
    }
}
