//! What forgetting waits for, what it tells, and who learns what was forgotten.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use driftless::{Config, MergeError, OrSet, Replica, ReplicaId, VersionVector};

const NOW_MS: u64 = 1_700_000_000_000;

type Set = Replica<OrSet<String>>;

fn replica(id: u128) -> Set {
    Replica::new(ReplicaId::from_u128(id), Config::default())
}

fn add(at: &mut Set, element: &str) {
    at.write(NOW_MS, |set| set.add(element)).unwrap();
}

fn remove(at: &mut Set, element: &str) {
    assert!(at.write(NOW_MS, |set| set.remove(element)).unwrap().value);
}

fn send(from: &Set, to: &mut Set) {
    let bytes = from.delta_since(&to.vector()).encode().unwrap();
    to.merge(NOW_MS, to.decode(&bytes).unwrap()).unwrap();
}

fn report(of: &Set, to: &mut Set) {
    to.report(NOW_MS, of.id(), &of.vector()).unwrap();
}

/// Two members that hold an element, removed it, and forgot it; and one that held it and was evicted before.
fn forgotten_without_the_third() -> [Set; 3] {
    let [mut eu, mut us, mut lost] = [1, 2, 3].map(replica);
    add(&mut eu, "x");
    send(&eu, &mut us);
    send(&eu, &mut lost);
    eu.set_members([eu.id(), us.id()]);
    remove(&mut eu, "x");
    send(&eu, &mut us);
    report(&us, &mut eu);
    assert_eq!(eu.forget().rows, 1);
    assert_eq!(eu.state().rows(), 0);
    [eu, us, lost]
}

#[test]
fn a_report_that_was_ahead_counts_once_a_merge_has_caught_up_with_it() {
    let [mut eu, mut us] = [1, 2].map(replica);
    eu.set_members([eu.id(), us.id()]);
    add(&mut us, "x");
    report(&us, &mut eu);
    assert!(eu.stable_cut().is_empty(), "what the member had written by then may still be under way");
    send(&us, &mut eu);
    assert_eq!(eu.stable_cut(), us.vector());
}

#[test]
fn who_joined_by_a_snapshot_tells_others_what_was_forgotten_before_it() {
    let [eu, _, mut lost] = forgotten_without_the_third();
    let mut joined = replica(4);
    send(&eu, &mut joined);
    assert!(joined.delta_since(&lost.vector()).is_complete());
    send(&joined, &mut lost);
    assert!(lost.state().is_empty(), "the removal was forgotten before the sender joined");
    assert_eq!(lost.digest(), joined.digest());
}

#[test]
fn a_snapshot_of_the_future_is_refused_before_it_touches_anything() {
    let mut ahead = replica(1);
    let later_ms = NOW_MS + 10 * 60_000;
    ahead.write(later_ms, |set| (set.add("x"), set.add("y"))).unwrap();
    ahead.write(later_ms, |set| set.remove("x")).unwrap();
    ahead.set_members([ahead.id()]);
    assert_eq!(ahead.forget().rows, 1);

    let mut eu = replica(2);
    add(&mut eu, "z");
    let (vector, bytes) = (eu.vector(), eu.canonical_bytes());
    let snapshot = ahead.delta_since(&VersionVector::new());
    assert!(snapshot.is_complete());
    let refused = eu.merge(NOW_MS, snapshot).unwrap_err();
    assert!(matches!(refused, MergeError::TooFarAhead { id, .. } if id == ahead.id()));
    assert_eq!((eu.vector(), eu.canonical_bytes()), (vector, bytes));
    assert!(eu.clock().last().millis() < later_ms);
}
