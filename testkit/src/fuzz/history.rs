//! Any bytes are a history of a cluster, in which every replica must hold what the oracle says.

use crate::cluster::Cluster;
use crate::fuzz::types::{COUNT, of_type};
use crate::history::History;
use crate::subject::Subject;

/// The first byte chooses the type of state, and whether the replicas converge at the end; the rest is the history.
#[inline]
pub fn run(bytes: &[u8]) {
    let (first, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let history = History::from_bytes(rest);
    let to_end = (first / COUNT).is_multiple_of(2);
    of_type!(*first, run_as(&history, to_end));
}

fn run_as<S: Subject>(history: &History, to_end: bool) {
    let done = if to_end { Cluster::<S>::run_to_end(history) } else { Cluster::<S>::run(history) };
    if let Err(fault) = done {
        panic!("{fault}");
    }
}
