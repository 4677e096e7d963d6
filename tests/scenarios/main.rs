//! Bugs that other systems shipped, and small histories that break plausible designs. Each test bears the number under
//! which docs/testing.md says what it is about.

#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

mod bytes;
mod composition;
mod counters;
mod deltas;
mod every;
mod forgetting;
mod removal;
mod stamps;

use driftless::{Config, Crdt, Merged, Replica, ReplicaId};

/// When the histories happen.
const NOW_MS: u64 = 1_700_000_000_000;
/// When replicas merge: late enough for any stamp of a history.
const LATE_MS: u64 = NOW_MS + 10_000;

/// Three replicas, ordered: of equal stamps that of C is the greatest.
const A: ReplicaId = ReplicaId::from_u128(0x0a << 64);
const B: ReplicaId = ReplicaId::from_u128(0x0b << 64);
const C: ReplicaId = ReplicaId::from_u128(0x0c << 64);

fn replica<S: Crdt>(id: ReplicaId) -> Replica<S> {
    Replica::new(id, Config::default())
}

/// A, B and C, empty.
fn three<S: Crdt>() -> [Replica<S>; 3] {
    [A, B, C].map(replica)
}

/// A full sync: `to` is sent, as bytes, all that it lacks of `from`.
fn sync<S: Crdt>(from: &Replica<S>, to: &mut Replica<S>) -> Merged {
    let bytes = from.delta_since(&to.vector()).encode().unwrap();
    to.merge(LATE_MS, to.decode(&bytes).unwrap()).unwrap()
}

/// Two full syncs that cross: each is cut before the other arrives.
fn exchange<S: Crdt>(one: &mut Replica<S>, other: &mut Replica<S>) {
    let (to_other, to_one) = (one.delta_since(&other.vector()), other.delta_since(&one.vector()));
    one.merge(LATE_MS, to_one).unwrap();
    other.merge(LATE_MS, to_other).unwrap();
    assert_same(one, other);
}

/// Both hold the same: vectors, digests and canonical bytes.
#[track_caller]
fn assert_same<S: Crdt>(one: &Replica<S>, other: &Replica<S>) {
    assert_eq!(one.vector(), other.vector());
    assert_eq!(one.digest(), other.digest());
    assert_eq!(one.canonical_bytes(), other.canonical_bytes());
}
