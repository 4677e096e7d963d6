//! What is logged and counted. `docs/tcp.md` lists it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use driftless_node::RegionName;

use crate::reason::Reason;
use crate::registry::Direction;

/// How often a refusal of one kind is logged at most: whoever knocks must not fill the disk.
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

impl Direction {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Dialed => "dialed",
            Self::Accepted => "accepted",
        }
    }
}

impl Observer {
    /// A connection that came in was refused.
    pub(crate) fn refused(&self, reason: &Reason, address: SocketAddr, peer: Option<&RegionName>) {
        metrics::counter!("driftless_tcp_refused_total", "reason" => reason.label()).increment(1);
        let Some(left_out) = self.is_due(reason.label()) else {
            return;
        };
        let peer = peer.map(RegionName::as_str);
        tracing::warn!(reason = reason.label(), %address, peer, left_out, "connection refused: {reason}");
    }

    /// Accepting failed: as a rule for want of file descriptors.
    pub(crate) fn accept_failed(&self, kind: std::io::ErrorKind) {
        if let Some(left_out) = self.is_due("accept") {
            tracing::error!(
                left_out,
                "no connection can be accepted: {kind}; are there too many open files?"
            );
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

/// A peer that was dialed could not be connected to.
pub(crate) fn dial_failed(reason: &Reason, peer: &RegionName, failures: u32, wait: Duration) {
    metrics::counter!("driftless_tcp_dial_failures_total", "peer" => peer.to_string()).increment(1);
    let (reason_label, peer, wait_ms) = (reason.label(), peer.as_str(), wait.as_millis());
    // The first of a row, and what does not pass by itself; a peer that is down for hours is not news each half minute.
    if failures == 1 || reason.is_refusal() || matches!(reason, Reason::ByPeer(_)) {
        tracing::warn!(reason = reason_label, peer, failures, wait_ms, "dialing failed: {reason}");
    } else {
        tracing::debug!(reason = reason_label, peer, failures, wait_ms, "dialing failed: {reason}");
    }
}

/// A connection is there.
pub(crate) fn connected(peer: &RegionName, direction: Direction, address: SocketAddr, domains: &[&str]) {
    let labels = [("peer", peer.to_string()), ("direction", direction.label().to_owned())];
    metrics::counter!("driftless_tcp_connected_total", &labels).increment(1);
    metrics::gauge!("driftless_tcp_connections", "peer" => peer.to_string()).increment(1.0);
    tracing::info!(peer = peer.as_str(), direction = direction.label(), %address, ?domains, "connected");
}

/// It is gone.
pub(crate) fn closed(reason: &Reason, peer: &RegionName, direction: Direction, address: SocketAddr) {
    let labels = [("peer", peer.to_string()), ("reason", reason.label().to_owned())];
    metrics::counter!("driftless_tcp_closed_total", &labels).increment(1);
    metrics::gauge!("driftless_tcp_connections", "peer" => peer.to_string()).decrement(1.0);
    let (label, peer, direction) = (reason.label(), peer.as_str(), direction.label());
    if matches!(reason, Reason::Withheld { .. }) {
        tracing::error!(reason = label, peer, direction, %address, "connection closed: {reason}");
    } else if reason.is_refusal() {
        tracing::warn!(reason = label, peer, direction, %address, "connection closed: {reason}");
    } else {
        tracing::info!(reason = label, peer, direction, %address, "connection closed: {reason}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_one_kind_are_logged_once_a_second_and_the_others_counted() {
        let observer = Observer::default();
        assert_eq!(observer.is_due("late"), Some(0));
        assert_eq!([observer.is_due("late"), observer.is_due("late")], [None, None]);
        assert_eq!(observer.is_due("broken"), Some(0));
        observer.lately.lock().unwrap().get_mut("late").unwrap().at -= LOG_EVERY;
        assert_eq!([observer.is_due("late"), observer.is_due("late")], [Some(2), None]);
    }
}
