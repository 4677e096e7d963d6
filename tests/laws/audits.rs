//! Fingerprints tell what canonical bytes tell, and which rows differ; replicas with equal vectors that hold different data hold
//! the same once each has repaired itself by the other.
//!
//! The faults come about as they would: a bit of a message is another one, the message can be read all the same, and a fresh
//! replica merges it. So there are other values, stamps, authors and keys, marks, floors and rows that are missing or too many.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use driftless::*;
use driftless_testkit::cluster::Cluster;
use driftless_testkit::history::{Theme, histories};
use driftless_testkit::schema::Schema;
use driftless_testkit::subject::Subject;
use proptest::prelude::*;

use crate::{LATE_MS, copy, for_each_type, merged, prove, same, same_in_full, whole};

const BUCKETS: NonZeroU16 = NonZeroU16::new(64).unwrap();

/// So many bits of a message are tried, one after the other.
const BITS: usize = 400;

/// For each row its bucket, its name and its print.
type Rows = BTreeMap<u64, (u16, String, u64)>;

fn rows<S: Crdt>(replica: &Replica<S>) -> Rows {
    let rows = replica.rows_of(BUCKETS, &Vec::from_iter(0..BUCKETS.get())).into_iter();
    let bucket = |id: u64| ((u128::from(id) * u128::from(BUCKETS.get())) >> 64) as u16;
    rows.map(|row| (row.id, (bucket(row.id), row.path.to_string(), row.print))).collect()
}

/// The rows that are not the same in both.
fn differing(one: &Rows, other: &Rows) -> Vec<u64> {
    let ids: BTreeSet<u64> = one.keys().chain(other.keys()).copied().collect();
    ids.into_iter().filter(|id| one.get(id) != other.get(id)).collect()
}

fn unless(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

/// Two replicas have equal fingerprints just if they have equal canonical bytes, and their rows differ where their fingerprints
/// do.
fn are_told_apart<S: Crdt>(one: &Replica<S>, other: &Replica<S>) -> Result<(), String> {
    let is_same = one.canonical_bytes() == other.canonical_bytes();
    for buckets in [1, 7, BUCKETS.get()].map(|count| NonZeroU16::new(count).unwrap()) {
        let (one, other) = (one.fingerprints(buckets), other.fingerprints(buckets));
        unless((one == other) == is_same, "fingerprints tell what canonical bytes tell")?;
        unless(one.sums().len() == usize::from(buckets.get()), "there is one for each bucket")?;
    }
    let (a, b) = (rows(one), rows(other));
    let buckets: BTreeSet<u16> = one.fingerprints(BUCKETS).differing(&other.fingerprints(BUCKETS)).collect();
    let of_row = |id: &u64| a.get(id).or(b.get(id)).unwrap().0;
    let of_rows: BTreeSet<u16> = differing(&a, &b).iter().map(of_row).collect();
    unless(buckets == of_rows, "the buckets that differ are those of the rows that do")
}

/// A replica repairs itself by rows of another. What it says has changed must be what has.
fn repair<S: Crdt>(replica: &mut Replica<S>, message: &[u8]) -> Result<(), String> {
    let (before, vector) = (rows(replica), replica.vector());
    let delta = replica.decode(message).map_err(|error| format!("rows cannot be read: {error}"))?;
    let repaired = replica.repair(LATE_MS, delta).map_err(|error| error.to_string())?;
    let after = rows(replica);
    let changed = differing(&before, &after);
    let name = |id: &u64| before.get(id).or(after.get(id)).unwrap().1.clone();
    let mut expected: Vec<String> = changed.iter().map(name).collect();
    let mut named: Vec<String> = repaired.rows.iter().map(ToString::to_string).collect();
    expected.sort();
    named.sort();
    unless(named == expected, &format!("{named:?} are named instead of {expected:?}"))?;
    unless(replica.vector() == vector, "a repair is no event")
}

/// Finds out where two differ, and repairs both.
fn audit<S: Subject>(one: &mut Replica<S>, other: &mut Replica<S>) -> Result<(), String> {
    are_told_apart(one, other)?;
    let ids = differing(&rows(one), &rows(other));
    let message = |replica: &Replica<S>| replica.rows(&ids).encode().unwrap();
    let (of_one, of_other) = (message(one), message(other));
    let mut one_first = copy(one);
    repair(&mut one_first, &of_other)?;
    // At once, and one after the other.
    repair(other, &of_one)?;
    same("who were repaired at once", &one_first, other)?;
    repair(one, &message(other))?;
    same("who were repaired one after the other", one, other)?;
    unless(one.fingerprints(BUCKETS) == other.fingerprints(BUCKETS), "what was repaired is equal")?;
    // Who has it from them has the same: what came back can be found.
    same("who comes later", &copy(one), other)?;
    same("who comes later", one, &copy(other))
}

fn histories_are_told_apart<S: Subject>() {
    prove(20, histories(Theme::All, 40), |history| {
        let mut cluster = Cluster::<S>::run(&history)?;
        for one in 0..cluster.nodes.len() {
            for other in 0..one {
                let [one, other] = [one, other].map(|at| &cluster.nodes[at].replica);
                are_told_apart(one, other)?;
                if one.vector() == other.vector() {
                    unless(one.fingerprints(BUCKETS) == other.fingerprints(BUCKETS), "equal vectors")?;
                }
            }
        }
        for node in &cluster.nodes {
            sums_are_of_rows(&node.replica)?;
        }
        // What is equal stays so: an audit where nothing is wrong changes nothing, marks and all.
        let (first, rest) = cluster.nodes.split_first_mut().unwrap();
        let mut one = copy(&first.replica);
        merged_into(&mut one, rest.iter().map(|node| whole(&node.replica)))?;
        let mut other = copy(&one);
        let ids: Vec<u64> = rows(&one).into_keys().collect();
        repair(&mut other, &one.rows(&ids).encode().unwrap())?;
        same_in_full("a repair by what is equal", &other, &one)?;
        repair(&mut one, &other.rows(&ids).encode().unwrap())?;
        same_in_full("a repair by what is equal", &one, &copy(&other))
    });
}

/// The fingerprint of each bucket is the sum of the prints of its rows, for any number of buckets.
fn sums_are_of_rows<S: Crdt>(replica: &Replica<S>) -> Result<(), String> {
    let all = rows(replica);
    for buckets in [3, 1_000, u16::MAX].map(|count| NonZeroU16::new(count).unwrap()) {
        let prints = replica.fingerprints(buckets);
        let mut found = 0;
        for (bucket, sum) in prints.sums().iter().enumerate().filter(|(_, sum)| **sum != 0) {
            let rows = replica.rows_of(buckets, &[bucket as u16]);
            let expected = rows.iter().fold(0_u64, |sum, row| sum.wrapping_add(row.print));
            unless(*sum == expected, "a fingerprint is the sum of its rows")?;
            unless(rows.iter().all(|row| all.contains_key(&row.id)), "a row is the same among any buckets")?;
            found += rows.len();
        }
        unless(found == all.len(), "each row is in a bucket")?;
    }
    Ok(())
}

fn merged_into<S: Crdt>(
    replica: &mut Replica<S>,
    messages: impl Iterator<Item = Vec<u8>>,
) -> Result<(), String> {
    for message in messages {
        crate::merge(replica, &message).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn faults_are_repaired<S: Subject>() {
    let repaired = Cell::new(0);
    let cases = (histories(Theme::All, 30), any::<u64>());
    // A message of one cell has few bits to go wrong.
    let count = match S::SCHEMA {
        Schema::Register | Schema::Values | Schema::Flag | Schema::Counter => 20,
        _ => 6,
    };
    prove(count, cases, |(history, seed)| {
        let cluster = Cluster::<S>::run(&history)?;
        let longest = cluster.nodes.iter().map(|node| whole(&node.replica)).max_by_key(Vec::len);
        let message = longest.unwrap_or_default();
        let right = merged::<S>([&message]);
        let mut last = copy(&right);
        // Each bit of a short message, some of a long one.
        let step = (message.len() * 8).div_ceil(BITS) | 1;
        for bit in (seed as usize % step..message.len() * 8).step_by(step) {
            let place = bit / 8;
            let mut wrong = message.clone();
            wrong[place] ^= 1 << (bit % 8);
            let mut replica: Replica<S> = Replica::new(ReplicaId::from_u128(777), Config::default());
            let Ok(delta) = replica.decode(&wrong) else {
                continue;
            };
            if replica.merge(LATE_MS, delta).is_err() || replica.vector() != right.vector() {
                continue;
            }
            let is_wrong = replica.canonical_bytes() != right.canonical_bytes();
            repaired.set(repaired.get() + usize::from(is_wrong));
            let fault = |error| format!("{error}\nbyte {place} is {} in {message:?}", wrong[place]);
            // With one fault, and with two that have nothing to do with each other.
            audit(&mut last, &mut copy(&replica)).map_err(fault)?;
            if is_wrong {
                last = copy(&replica);
            }
            audit(&mut copy(&right), &mut replica).map_err(fault)?;
        }
        Ok(())
    });
    // A flag is but its stamp and its author.
    let is_flag = matches!(S::SCHEMA, Schema::Flag);
    assert!(is_flag || repaired.get() > 10, "a message is read with a fault in it now and then");
}

macro_rules! laws {
    ($($name:ident $type:ty,)+) => {$(
        mod $name {
            use super::*;

            #[test]
            fn fingerprints_tell_what_canonical_bytes_tell_and_where() {
                histories_are_told_apart::<$type>();
            }

            #[test]
            fn t52_what_went_wrong_in_a_byte_is_found_named_and_repaired() {
                faults_are_repaired::<$type>();
            }
        }
    )+};
}

for_each_type!(laws);
