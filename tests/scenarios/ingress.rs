//! Every way by which the stamps of others come in.

use driftless::{Config, Delta, Limits, MergeError, OrSet, PendingDelta, Replica, ReplicaId, VersionVector};

use crate::delivery::{chunks, observe};
use crate::{NOW_MS, replica, sync};

type Set = OrSet<u32>;

/// One that accepts any stamp, passes on what it was sent, and has forgotten something: it sends all it holds.
fn forgetful_relay(peer: &Replica<Set>) -> Replica<Set> {
    let anything = Config { max_ahead_ms: u64::MAX, ..Config::default() };
    let mut relay = Replica::<Set>::new(ReplicaId::from_u128(0xFE1A), anything);
    relay.write(NOW_MS, |set| (1_000..1_040).for_each(|element| set.add(&element))).unwrap();
    relay.write(NOW_MS, |set| set.remove(&1_000)).unwrap();
    relay.set_members([relay.id()]);
    assert_eq!(relay.forget().rows, 1);
    relay.merge(NOW_MS, peer.delta_since(&VersionVector::new())).unwrap();
    relay
}

/// Brings what `peer` holds to `us` in every way there is. All must be refused, with an error that is `expected`, and change
/// nothing that can be observed.
pub(crate) fn every_way_is_refused(
    us: &mut Replica<Set>,
    peer: &Replica<Set>,
    now_ms: u64,
    expected: impl Fn(&MergeError) -> bool,
) {
    let before = observe(us);
    let known = us.vector();
    let refused = |us: &Replica<Set>, way: &str, result: Result<(), MergeError>| {
        let error = result.expect_err(way);
        assert!(expected(&error), "{way}: {error}");
        assert_eq!(observe(us), before, "{way}");
    };
    let relay = forgetful_relay(peer);
    let snapshot = peer.snapshot();
    let ways: [(&str, &dyn Fn() -> Delta<Set>); 4] = [
        ("what is lacking", &|| peer.delta_since(&known)),
        ("all there is", &|| peer.delta_since(&VersionVector::new())),
        ("a snapshot", &|| snapshot.delta_since(&known)),
        ("a complete delta, through a relay", &|| relay.delta_since(&known)),
    ];
    for (way, delta) in ways {
        assert_eq!(delta().is_complete(), way.starts_with("a complete"));
        let merged = us.merge(now_ms, delta());
        refused(us, way, merged.map(drop));
        let message = us.decode(&delta().encode().unwrap()).unwrap();
        let merged = us.merge(now_ms, message);
        refused(us, way, merged.map(drop));
        for chunk_bytes in [1, 100, 1 << 20] {
            let mut pending = PendingDelta::new(&Limits::default());
            for bytes in chunks(delta(), chunk_bytes) {
                let whole = pending.push(us.decode(&bytes).unwrap()).unwrap();
                assert_eq!(observe(us), before, "{way}, in chunks");
                if let Some(delta) = whole {
                    let merged = us.merge(now_ms, delta);
                    refused(us, way, merged.map(drop));
                }
            }
        }
    }
    for id in [peer.id(), relay.id(), us.id()] {
        let reported = us.report(now_ms, id, &peer.vector());
        refused(us, "a report", reported);
    }
    // Nor does asking for what that vector lacks.
    let asked = us.delta_since(&peer.vector());
    assert!(asked.to() == known);
    assert!(us.forget().behind.iter().all(|id| us.members().contains(id)));
    assert_eq!(observe(us), before);
}

/// A replica with data of its own, and some of an honest member's.
pub(crate) fn with_honest_data(id: ReplicaId, honest: ReplicaId) -> Replica<Set> {
    let mut us = replica::<Set>(id);
    let mut other = replica::<Set>(honest);
    other.write(NOW_MS - 2, |set| (0..10).for_each(|element| set.add(&element))).unwrap();
    sync(&other, &mut us);
    us.write(NOW_MS - 1, |set| set.remove(&3)).unwrap();
    us.write(NOW_MS - 1, |set| set.add(&20)).unwrap();
    us.set_members([id, honest]);
    us.report(NOW_MS, honest, &other.vector()).unwrap();
    us
}
