//! Merging is commutative, associative and idempotent: whatever the route, replicas end with the same.

use driftless::*;
use driftless_testkit::cluster::Cluster;
use driftless_testkit::history::{Theme, histories};
use driftless_testkit::subject::Subject;
use proptest::prelude::*;

use crate::{for_each_type, merge, merged, prove, same, same_in_full, whole};

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

/// With forgetting, which replicas do at different times, marks differ; what is live does not.
fn routes<S: Subject>() {
    let case = (histories(Theme::Eviction, 40), any::<prop::sample::Index>(), any::<u64>());
    prove(30, case, |(history, start, seed)| {
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

fn shuffle<T>(list: &mut [T], mut seed: u64) {
    for place in (1..list.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        list.swap(place, (seed >> 33) as usize % (place + 1));
    }
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
            fn all_routes_lead_to_the_same() {
                routes::<$type>();
            }
        }
    )+};
}

for_each_type!(laws);
