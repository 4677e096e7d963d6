//! How deltas reach other replicas in the scenarios, and what must hold wherever they have arrived.

use std::collections::BTreeMap;

use driftless::{
    Counter, Crdt, Delta, Digest, Document, Flag, Limits, LwwRegister, MergeMap, MvRegister, OrSet,
    PendingDelta, Replica, ReplicaId, Timestamp, VersionVector,
};

use crate::{LATE_MS, assert_same, replica, sync};

/// Something of every type.
#[derive(Crdt)]
pub(crate) struct Record {
    pub(crate) name: LwwRegister<String>,
    pub(crate) notes: MvRegister<i64>,
    pub(crate) tags: OrSet<u32>,
    pub(crate) visits: Counter,
    pub(crate) active: Flag,
    pub(crate) logins: MergeMap<u8, LwwRegister<i64>>,
    pub(crate) free: Document,
}

/// Records by key.
pub(crate) type Records = MergeMap<u32, Record>;

/// Writes something of every type at a key, other values for another `number`.
pub(crate) fn fill(records: &mut <Records as Crdt>::Mut<'_>, key: u32, number: u32) {
    records.update(&key, |record| {
        record.name().set(format!("name {number}"));
        record.notes().set(i64::from(number));
        record.tags().add(&number);
        record.tags().add(&0);
        record.visits().add(i64::from(number)).unwrap();
        record.active().enable();
        record.logins().update(&(number as u8), |at| at.set(i64::from(number)));
        record.free().set(&["a", "b"], i64::from(number)).unwrap();
        record.free().increment(&["count"], i64::from(number)).unwrap();
        record.free().add(&["set"], f64::from(number) / 4.0).unwrap();
    });
}

/// The messages of a transfer in chunks.
pub(crate) fn chunks<S: Crdt>(delta: Delta<S>, chunk_bytes: usize) -> Vec<Vec<u8>> {
    delta.into_chunks(chunk_bytes).map(Result::unwrap).collect()
}

/// Ships all that `to` lacks of `from` in chunks.
pub(crate) fn transfer<S: Crdt>(from: &Replica<S>, to: &mut Replica<S>, chunk_bytes: usize) {
    let mut pending = PendingDelta::new(&Limits::default());
    for bytes in chunks(from.delta_since(&to.vector()), chunk_bytes) {
        if let Some(delta) = pending.push(to.decode(&bytes).unwrap()).unwrap() {
            to.merge(LATE_MS, delta).unwrap();
        }
    }
}

/// A new replica that has merged all that another one holds.
pub(crate) fn copy<S: Crdt>(of: &Replica<S>, id: ReplicaId) -> Replica<S> {
    let mut copy = replica(id);
    sync(of, &mut copy);
    copy
}

/// All that can be observed of a replica, the bytes that it would ship included.
#[derive(Debug, PartialEq)]
pub(crate) struct Observed {
    digest: Digest,
    vector: VersionVector,
    clock: Timestamp,
    stable: VersionVector,
    known: Vec<(ReplicaId, VersionVector)>,
    shipped: Vec<u8>,
}

/// All that can be observed of a replica.
pub(crate) fn observe<S: Crdt>(replica: &Replica<S>) -> Observed {
    Observed {
        digest: replica.digest(),
        vector: replica.vector(),
        clock: replica.clock().last(),
        stable: replica.stable_cut(),
        known: replica.known_vectors(),
        shipped: replica.delta_since(&VersionVector::new()).encode().unwrap(),
    }
}

/// Asserts that all replicas hold the same, to the byte.
#[track_caller]
pub(crate) fn assert_all_same<S: Crdt>(replicas: &[Replica<S>]) {
    replicas.iter().for_each(|replica| assert_same(replica, &replicas[0]));
}

/// The canonical bytes of every vector that any replica of a scenario ever had: one state for each.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    states: BTreeMap<Vec<(ReplicaId, Timestamp)>, Vec<u8>>,
}

impl Ledger {
    /// Asserts that a replica holds what every other one of the same vector held.
    pub(crate) fn check<S: Crdt>(&mut self, replica: &Replica<S>) {
        let state = self.states.entry(replica.vector().iter().collect());
        let held = replica.canonical_bytes();
        assert_eq!(*state.or_insert_with(|| held.clone()), held, "at {:?}", replica.vector());
    }
}

/// A sequence of numbers that is the same on every platform.
#[derive(Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, below a bound.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// The place of one of so many.
    pub(crate) fn place(&mut self, count: usize) -> usize {
        self.below(count as u64) as usize
    }
}
