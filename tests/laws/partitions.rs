//! Any partition of a state into deltas, in any order, with repeats, gives the full merge.

use driftless::*;
use driftless_testkit::cluster::Cluster;
use driftless_testkit::history::{Theme, histories};
use driftless_testkit::subject::Subject;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{LATE_MS, copy, for_each_type, full, merged, prove, same, same_in_full, ship, shuffle};

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
    let case = (histories(theme, 40), vec(any::<prop::sample::Index>(), 1..30), 1..200_usize, 0..3_usize);
    prove(30, case, |(history, order, chunk_bytes, senders)| {
        // What replicas held after each of four parts of a history: not always the same one.
        let mut cluster = Cluster::<S>::new(history.replicas, history.keys);
        let mut states = Vec::new();
        for steps in history.steps.chunks(history.steps.len().div_ceil(4).max(1)) {
            steps.iter().try_for_each(|step| cluster.step(step))?;
            states.push(cluster.nodes[states.len() * senders % cluster.nodes.len()].replica.snapshot());
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
        let wholes = states.iter().map(|state| state.delta_since(&VersionVector::new()).encode().unwrap());
        same("the deltas and the full merge", &replica, &merged(&wholes.collect::<Vec<_>>()))?;
        match cluster.nodes.first().filter(|_| senders == 0 && !states.is_empty()) {
            Some(node) => same("the full merge and what was merged", &replica, &node.replica),
            None => Ok(()),
        }
    });
}

/// Chunks of any size are worth the delta they were cut from. They come in one order; what comes in another is refused, so
/// that whoever offers them again and again is heard in the end.
fn any_cut<S: Subject>(theme: Theme) {
    prove(30, (histories(theme, 30), 1..150_usize, any::<u64>()), |(history, chunk_bytes, seed)| {
        let cluster = Cluster::<S>::run(&history)?;
        for (from, to) in cluster.nodes.iter().zip(cluster.nodes.iter().skip(1)) {
            let (from, mut whole, mut cut) = (&from.replica, copy(&to.replica), copy(&to.replica));
            ship(from, &mut whole, 0);
            let before = full(&cut);
            let chunks = from.delta_since(&cut.vector()).into_chunks(chunk_bytes);
            let mut chunks = chunks.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
            let mut pending = PendingDelta::new(&cut.config().limits);
            // Only the first is taken at any time: it begins anew.
            let (first, others) = chunks.split_first_mut().ok_or("a transfer without a chunk")?;
            let mut gathered = push(&mut pending, &cut, first)?;
            shuffle(others, seed);
            for _ in 0..others.len() {
                for chunk in &*others {
                    gathered = gathered.or(push(&mut pending, &cut, chunk)?);
                }
            }
            if full(&cut) != before {
                return Err("a transfer that was not merged changed something".to_owned());
            }
            let delta = gathered.ok_or("the chunks are never whole")?;
            cut.merge(LATE_MS, delta).map_err(|error| error.to_string())?;
            match theme {
                Theme::NoForgetting => same_in_full("in chunks and as a whole", &cut, &whole)?,
                _ => same("in chunks and as a whole", &cut, &whole)?,
            }
        }
        Ok(())
    });
}

/// Takes a chunk, if it is its turn.
fn push<S: Subject>(
    pending: &mut PendingDelta<S>,
    to: &Replica<S>,
    chunk: &[u8],
) -> Result<Option<Delta<S>>, String> {
    match pending.push(to.decode(chunk).map_err(|error| error.to_string())?) {
        Err(PendingError::OutOfOrder { .. }) => Ok(None),
        taken => taken.map_err(|error| error.to_string()),
    }
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

            #[test]
            fn chunks_of_any_size_are_worth_the_delta_and_only_in_their_order() {
                any_cut::<$type>(Theme::NoForgetting);
                any_cut::<$type>(Theme::Eviction);
            }
        }
    )+};
}

for_each_type!(laws);
