//! Merging is commutative, associative and idempotent: whatever the route, replicas end with the same.

use driftless::*;
use driftless_testkit::cluster::Cluster;
use driftless_testkit::history::{Theme, histories};
use driftless_testkit::subject::Subject;
use proptest::prelude::*;

use crate::{for_each_type, full, merge, merged, prove, same, same_in_full, ship, shuffle, whole};

/// What each of some replicas holds that have written apart.
fn parts<S: Subject>(cluster: &Cluster<S>) -> Vec<Vec<u8>> {
    cluster.nodes.iter().map(|node| whole(&node.replica)).collect()
}

fn in_pairs<S: Subject>(theme: Theme, test: impl Fn(&[Vec<u8>], [&Vec<u8>; 3]) -> Result<(), String>) {
    prove(30, histories(theme, 30), |history| {
        let cluster = Cluster::<S>::run(&history)?;
        let parts = parts(&cluster);
        let of = |place: usize| &parts[place % parts.len()];
        (0..parts.len()).try_for_each(|place| test(&parts, [of(place), of(place + 1), of(place + 2)]))
    });
}

fn commutative<S: Subject>() {
    in_pairs::<S>(Theme::NoForgetting, |_, [a, b, _]| {
        same_in_full("a, b and b, a", &merged::<S>([a, b]), &merged([b, a]))
    });
}

fn associative<S: Subject>() {
    in_pairs::<S>(Theme::NoForgetting, |_, [a, b, c]| {
        let (ab, bc) = (whole(&merged::<S>([a, b])), whole(&merged::<S>([b, c])));
        same_in_full("(a, b), c and a, (b, c)", &merged::<S>([&ab, c]), &merged([a, &bc]))
    });
}

fn idempotent<S: Subject>() {
    in_pairs::<S>(Theme::NoForgetting, |_, [a, b, _]| {
        let once = merged::<S>([a, b]);
        same_in_full("a, b and a, b, a, b, a", &once, &merged([a, b, a, b, a]))?;
        same_in_full("a, b and all of it again", &once, &merged([a, b, &whole(&once)]))
    });
}

fn neutral<S: Subject>() {
    in_pairs::<S>(Theme::All, |_, [a, ..]| {
        let nothing = whole(&merged::<S>([]));
        let mut alone = merged::<S>([a]);
        let held = full(&alone);
        let is_news = merge(&mut alone, &nothing).map_err(|error| error.to_string())?;
        if is_news || full(&alone) != held {
            return Err(format!("nothing is news: {held:#?}, then {:#?}", full(&alone)));
        }
        same_in_full("nothing, a and a, nothing", &merged::<S>([&nothing, a]), &alone)
    });
}

/// With forgetting, which replicas do at different times, marks differ; what is live does not.
fn routes<S: Subject>() {
    let case = (histories(Theme::Eviction, 40), any::<prop::sample::Index>(), any::<u64>(), 1..200_usize);
    prove(30, case, |(history, start, seed, chunk_bytes)| {
        let cluster = Cluster::<S>::run(&history)?;
        let parts = parts(&cluster);
        let ordered = merged::<S>(&parts);
        same("in order and the other way round", &ordered, &merged(parts.iter().rev()))?;
        let start = start.index(parts.len());
        let rotated: Vec<_> = parts[start..].iter().chain(&parts[..start]).chain(&parts).collect();
        same("in order and with repeats", &ordered, &merged(rotated))?;
        let grouped: Vec<_> = parts.chunks(2).map(|pair| whole(&merged::<S>(pair))).collect();
        same("in order and pair by pair", &ordered, &merged(&grouped))?;
        let tree = grouped.chunks(2).map(|pair| whole(&merged::<S>(pair))).collect::<Vec<_>>();
        same("in order and pairs of pairs", &ordered, &merged(tree.iter().rev()))?;
        let mut chunked = merged::<S>([]);
        for (node, chunk_bytes) in cluster.nodes.iter().zip([chunk_bytes, 0, 1].into_iter().cycle()) {
            ship(&node.replica, &mut chunked, chunk_bytes);
        }
        same("in order and in chunks", &ordered, &chunked)?;
        gossip(&parts, &ordered, seed)?;
        // Stale copies of what the replicas held earlier change nothing, before, between or after.
        let mut shuffled: Vec<_> = cluster.sent().chain(&parts).chain(cluster.sent()).collect();
        shuffle(&mut shuffled, seed);
        let mut replica = merged::<S>([]);
        for message in shuffled {
            let _gaps_and_chunks_are_no_news = merge(&mut replica, message);
        }
        same("in order and among stale copies", &ordered, &replica)
    });
}

/// Replicas that hold a part each sync pair by pair, whoever meets, until all have met all.
fn gossip<S: Subject>(parts: &[Vec<u8>], ordered: &Replica<S>, seed: u64) -> Result<(), String> {
    let mut replicas: Vec<_> = parts.iter().map(|part| merged::<S>([part])).collect();
    let count = replicas.len();
    let mut meetings: Vec<_> = (0..count * count).map(|pair| (pair / count, pair % count)).collect();
    meetings.retain(|(from, to)| from != to);
    // Twice: then each has heard at least of one who has heard of all.
    for seed in [seed, !seed] {
        shuffle(&mut meetings, seed);
        for (from, to) in &meetings {
            let delta = replicas[*from].delta_since(&replicas[*to].vector());
            replicas[*to].merge(crate::LATE_MS, delta).map_err(|error| error.to_string())?;
        }
    }
    replicas.iter().try_for_each(|replica| same("in order and in pairs, whoever meets", ordered, replica))
}

macro_rules! laws {
    ($($name:ident $type:ty,)+) => {$(
        mod $name {
            use super::*;

            #[test]
            fn merging_is_commutative() {
                commutative::<$type>();
            }

            #[test]
            fn merging_is_associative() {
                associative::<$type>();
            }

            #[test]
            fn merging_is_idempotent() {
                idempotent::<$type>();
            }

            #[test]
            fn nothing_is_neutral() {
                neutral::<$type>();
            }

            #[test]
            fn all_routes_lead_to_the_same() {
                routes::<$type>();
            }
        }
    )+};
}

for_each_type!(laws);
