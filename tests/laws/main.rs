//! What the engine guarantees, each guarantee as a test that can fail, for every type alone and for types within types.
//!
//! Histories of a cluster are run on real replicas and, side by side, on an oracle that shares no algorithm with them
//! (`driftless_testkit::oracle`). `PROPTEST_CASES` raises the number of histories.

#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

mod audits;
mod broken;
mod coverage;
mod direct;
mod exchanges;
mod joins;
mod mutations;
mod partitions;
mod recorded;
mod sessions;
mod shrinking;
mod truth;

use std::fmt::Debug;
use std::panic::{self, AssertUnwindSafe};

use driftless::{
    Config, Counter, Crdt, Document, Flag, LwwRegister, MergeMap, MvRegister, OrSet, PendingDelta, Replica,
    ReplicaId, VersionVector,
};
use driftless_testkit::history::History;
use driftless_testkit::struct_subject;
use driftless_testkit::subject::{Subject, show};
use driftless_testkit::wire::{Message, without_implied};
use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};

/// Later than any stamp of a history.
const LATE_MS: u64 = 1_800_000_000_000;

/// Structs within maps within structs, with a field of every type.
#[derive(Crdt, Debug)]
struct Profile {
    name: LwwRegister<String>,
    notes: MvRegister<Option<i64>>,
    is_active: Flag,
    tags: OrSet<u8>,
    visits: Counter,
    address: Address,
    devices: MergeMap<u8, Device>,
    free: Document,
}

#[derive(Crdt, Debug)]
struct Address {
    city: LwwRegister<i64>,
    is_current: Flag,
}

#[derive(Crdt, Debug)]
struct Device {
    label: LwwRegister<i64>,
    uses: Counter,
    parts: MergeMap<u8, OrSet<u8>>,
}

struct_subject! {
    Profile {
        name: LwwRegister<String>, notes: MvRegister<Option<i64>>, is_active: Flag, tags: OrSet<u8>, visits: Counter,
        address: Address, devices: MergeMap<u8, Device>, free: Document,
    }
}
struct_subject! { Address { city: LwwRegister<i64>, is_current: Flag } }
struct_subject! { Device { label: LwwRegister<i64>, uses: Counter, parts: MergeMap<u8, OrSet<u8>> } }

/// Calls a macro for each type of state that the laws are proved for: a name and the type.
macro_rules! for_each_type {
    ($macro:ident) => {
        $macro! {
            lww_register LwwRegister<i64>,
            mv_register MvRegister<i64>,
            flag Flag,
            or_set OrSet<u8>,
            counter Counter,
            map_of_registers MergeMap<u8, LwwRegister<i64>>,
            map_of_maps_of_counters MergeMap<u8, MergeMap<u8, Counter>>,
            map_of_maps_of_maps MergeMap<u8, MergeMap<u8, MergeMap<u8, MvRegister<i64>>>>,
            profile crate::Profile,
            map_of_profiles MergeMap<uuid::Uuid, crate::Profile>,
            document Document,
        }
    };
}
pub(crate) use for_each_type;

/// Runs a test on so many cases, or as many as `PROPTEST_CASES` says. What fails is made as small as can be.
fn prove<T: Debug>(cases: u32, strategy: impl Strategy<Value = T>, test: impl Fn(T) -> Result<(), String>) {
    if let Some((reason, case)) = counterexample(cases, strategy, test) {
        panic!("{reason}\nin {case:?}");
    }
}

/// The same of histories alone, of which more can be left out than of other cases.
fn prove_histories(
    cases: u32,
    strategy: impl Strategy<Value = History>,
    test: impl Fn(&History) -> Result<(), String>,
) {
    let test = |history: &History| {
        let result = panic::catch_unwind(AssertUnwindSafe(|| test(history)));
        result.unwrap_or_else(|_| Err("it panics".to_owned()))
    };
    if let Some((_, history)) = counterexample(cases, strategy, |history| test(&history)) {
        let history = history.shrunk(|history| test(history).is_err());
        panic!("{}\nin {history:?}", test(&history).unwrap_err());
    }
}

fn counterexample<T: Debug>(
    cases: u32,
    strategy: impl Strategy<Value = T>,
    test: impl Fn(T) -> Result<(), String>,
) -> Option<(String, T)> {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let config = ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 10_000,
        ..ProptestConfig::with_cases(asked.unwrap_or(cases))
    };
    match TestRunner::new(config).run(&strategy, |case| test(case).map_err(TestCaseError::fail)) {
        Ok(()) => None,
        Err(TestError::Fail(reason, case)) => Some((reason.to_string(), case)),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

/// All that a replica holds, as one message.
fn whole<S: Crdt>(replica: &Replica<S>) -> Vec<u8> {
    replica.delta_since(&VersionVector::new()).encode().unwrap()
}

/// All that a replica holds, marks and all, whatever the order in which it came.
fn full<S: Subject>(replica: &Replica<S>) -> Message {
    Message::read::<S>(&whole(replica), &[]).unwrap()
}

/// A replica that has merged these messages, one after the other.
fn merged<'a, S: Crdt>(messages: impl IntoIterator<Item = &'a Vec<u8>>) -> Replica<S> {
    let mut replica = Replica::new(ReplicaId::from_u128(u128::MAX), Config::default());
    for message in messages {
        merge(&mut replica, message).unwrap();
    }
    replica
}

/// Another replica that holds the same.
fn copy<S: Crdt>(replica: &Replica<S>) -> Replica<S> {
    merged([&whole(replica)])
}

/// Sends a replica what it lacks, in chunks of so many bytes, or in one message if that is zero.
fn ship<S: Crdt>(from: &Replica<S>, to: &mut Replica<S>, chunk_bytes: usize) {
    let delta = from.delta_since(&to.vector());
    if chunk_bytes == 0 {
        merge(to, &delta.encode().unwrap()).unwrap();
        return;
    }
    let mut pending = PendingDelta::new(&to.config().limits);
    for bytes in delta.into_chunks(chunk_bytes) {
        if let Some(whole) = pending.push(to.decode(&bytes.unwrap()).unwrap()).unwrap() {
            to.merge(LATE_MS, whole).unwrap();
        }
    }
}

/// Puts a list into an order that only the seed decides.
fn shuffle<T>(list: &mut [T], mut seed: u64) {
    for place in (1..list.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        list.swap(place, (seed >> 33) as usize % (place + 1));
    }
}

/// Merges a message. Returns whether it was news.
fn merge<S: Crdt>(replica: &mut Replica<S>, message: &[u8]) -> Result<bool, driftless::MergeError> {
    let delta = replica.decode(message)?;
    replica.merge(LATE_MS, delta).map(|merged| merged.is_news)
}

/// An error, unless two replicas hold the same and read the same.
fn same<S: Subject>(what: &str, a: &Replica<S>, b: &Replica<S>) -> Result<(), String> {
    // One may leave out closed ids that the other one names.
    if !a.covers(&b.vector()) || !b.covers(&a.vector()) {
        return Err(format!("{what}: the vectors {:?} and {:?}", a.vector(), b.vector()));
    }
    if a.digest() != b.digest() || a.canonical_bytes() != b.canonical_bytes() {
        return Err(format!("{what}: {:#?} and {:#?}", full(a), full(b)));
    }
    Ok(())
}

/// An error, unless two replicas hold the same, down to the last mark that does not follow from others.
fn same_in_full<S: Subject>(what: &str, a: &Replica<S>, b: &Replica<S>) -> Result<(), String> {
    same(what, a, b)?;
    let (a, b) = (without_implied(&full(a).parts), without_implied(&full(b).parts));
    match a.keys().chain(b.keys()).find(|place| a.get(*place) != b.get(*place)) {
        None => Ok(()),
        Some(place) => Err(format!("{what}, at {}: {:?} and {:?}", show(place), a.get(place), b.get(place))),
    }
}
