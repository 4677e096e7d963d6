//! Bugs that other systems shipped, and small histories that break plausible designs. Each test bears the number under
//! which docs/testing.md says what it is about.

#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

mod attribution;
mod bytes;
mod composition;
mod counters;
mod delivery;
mod deltas;
mod every;
mod forged;
mod forgetting;
mod history;
mod ingress;
mod removal;
mod stamps;
mod subjects;

use driftless::{Config, Crdt, MergeError, Merged, Replica, ReplicaId, VersionVector};

/// When the histories happen.
const NOW_MS: u64 = 1_700_000_000_000;
/// When replicas merge: late enough for any stamp of a history.
const LATE_MS: u64 = NOW_MS + 10_000;

/// Replicas, ordered: of equal stamps that of the last is the greatest.
const A: ReplicaId = ReplicaId::from_u128(0x0a << 64);
const B: ReplicaId = ReplicaId::from_u128(0x0b << 64);
const C: ReplicaId = ReplicaId::from_u128(0x0c << 64);
const D: ReplicaId = ReplicaId::from_u128(0x0d << 64);

fn replica<S: Crdt>(id: ReplicaId) -> Replica<S> {
    Replica::new(id, Config::default())
}

/// A, B and C, empty.
fn three<S: Crdt>() -> [Replica<S>; 3] {
    [A, B, C].map(replica)
}

/// A full sync: `to` is sent, as bytes, all that it lacks of `from`.
fn sync<S: Crdt>(from: &Replica<S>, to: &mut Replica<S>) -> Merged {
    receive(to, &message(from, &to.vector())).unwrap()
}

/// What `from` holds beyond `vector`, as bytes.
fn message<S: Crdt>(from: &Replica<S>, vector: &VersionVector) -> Vec<u8> {
    from.delta_since(vector).encode().unwrap()
}

/// Merges a message; an error changes nothing.
#[track_caller]
fn receive<S: Crdt>(to: &mut Replica<S>, message: &[u8]) -> Result<Merged, MergeError> {
    let before = (to.vector(), to.canonical_bytes());
    let merged = to.decode(message).and_then(|delta| to.merge(LATE_MS, delta));
    assert!(merged.is_ok() || before == (to.vector(), to.canonical_bytes()));
    merged
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
