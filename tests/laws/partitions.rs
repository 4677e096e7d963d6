//! Any partition of a state into deltas, in any order, with repeats, gives the full merge.

use driftless::*;
use driftless_testkit::cluster::Cluster;
use driftless_testkit::history::{Theme, histories};
use driftless_testkit::subject::Subject;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{LATE_MS, for_each_type, merged, prove, same, whole};

/// The deltas from each state of one replica to each later one: as they were cut then, in one message or in chunks.
fn deltas<S: Subject>(states: &[Snapshot<S>], chunk_bytes: usize) -> Vec<Vec<Vec<u8>>> {
    let mut vectors = vec![VersionVector::new()];
    let mut deltas = Vec::new();
    for state in states {
        for (place, vector) in vectors.iter().enumerate() {
            let delta = state.delta_since(vector);
            deltas.push(match place % 2 {
                0 => vec![delta.encode().unwrap()],
                _ => delta.into_chunks(chunk_bytes).collect::<Result<_, _>>().unwrap(),
            });
        }
        vectors.push(state.vector());
    }
    deltas
}

/// Merges a delta, unless it would leave a gap. Returns whether it was news.
fn take<S: Subject>(replica: &mut Replica<S>, messages: &[Vec<u8>]) -> Result<bool, String> {
    let mut pending = PendingDelta::new(&replica.config().limits);
    for message in messages {
        let part = match replica.decode(message) {
            Ok(part) => part,
            Err(MergeError::Gap { .. }) => return Ok(false),
            Err(error) => return Err(error.to_string()),
        };
        let Some(whole) = pending.push(part).map_err(|error| error.to_string())? else {
            continue;
        };
        return match replica.merge(LATE_MS, whole) {
            Ok(merged) => Ok(merged.is_news),
            Err(MergeError::Gap { .. }) => Ok(false),
            Err(error) => Err(error.to_string()),
        };
    }
    Err("the last chunk did not say so".to_owned())
}

fn any_partition<S: Subject>(theme: Theme) {
    let case = (histories(theme, 40), vec(any::<prop::sample::Index>(), 1..30), 1..200_usize);
    prove(30, case, |(history, order, chunk_bytes)| {
        // What one replica held after each of four parts of a history.
        let mut cluster = Cluster::<S>::new(history.replicas, history.keys);
        let mut states = Vec::new();
        for steps in history.steps.chunks(history.steps.len().div_ceil(4).max(1)) {
            steps.iter().try_for_each(|step| cluster.step(step))?;
            states.push(cluster.nodes[0].replica.snapshot());
        }
        let deltas = deltas(&states, chunk_bytes);
        let mut replica = merged::<S>([]);
        if !deltas.is_empty() {
            for place in order {
                take(&mut replica, &deltas[place.index(deltas.len())])?;
            }
        }
        while deltas
            .iter()
            .rev()
            .try_fold(false, |any, delta| Ok::<_, String>(take(&mut replica, delta)? | any))?
        {}
        same("the deltas and the full merge", &replica, &merged([&whole(&cluster.nodes[0].replica)]))?;
        same("the full merge and what was merged", &replica, &cluster.nodes[0].replica)
    });
}

macro_rules! laws {
    ($($name:ident $type:ty,)+) => {$(
        mod $name {
            use super::*;

            #[test]
            fn any_partition_into_deltas_in_any_order_gives_the_full_merge() {
                any_partition::<$type>(Theme::NoForgetting);
                any_partition::<$type>(Theme::Eviction);
            }
        }
    )+};
}

for_each_type!(laws);
