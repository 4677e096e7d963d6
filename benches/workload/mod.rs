//! The work that the benches do, on driftless and on a plain map of structs.

#![allow(dead_code, reason = "each bench uses a part of it")]

pub(crate) mod exchange;
pub(crate) mod notes;
pub(crate) mod sets;
pub(crate) mod shop;

use driftless::{Config, Crdt, Delta, LwwRegister, MergeMap, Replica, ReplicaId};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A document of four registers.
#[derive(Crdt)]
pub(crate) struct Account {
    pub(crate) name: LwwRegister<String>,
    pub(crate) address: LwwRegister<String>,
    pub(crate) balance: LwwRegister<i64>,
    pub(crate) active: LwwRegister<bool>,
}

pub(crate) type Accounts = MergeMap<Uuid, Account>;

/// The same document without merging.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct PlainAccount {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) balance: i64,
    pub(crate) active: bool,
}

pub(crate) type PlainAccounts = HashMap<Uuid, PlainAccount>;

/// Changes in a batch.
pub(crate) const CHANGES: usize = 1_000;

/// Any time will do: the engine reads no clock.
pub(crate) const START_MS: u64 = 1_700_000_000_000;

/// A well-mixed key for a number: the finalizer of SplitMix64, twice.
pub(crate) fn key(number: usize) -> Uuid {
    Uuid::from_u64_pair(mix(number as u64), mix(!(number as u64)))
}

/// A well-mixed number.
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A text of 16 bytes.
pub(crate) fn name(number: usize) -> String {
    format!("name-{number:011}")
}

/// A text of 24 bytes.
pub(crate) fn address(number: usize) -> String {
    format!("address-{number:016}")
}

/// The id of a replica.
pub(crate) fn id(number: u64) -> ReplicaId {
    ReplicaId::from_u128(0x5eed << 64 | u128::from(number))
}

/// An empty replica. It hashes with a seed that is always the same, and another than that of other replicas.
pub(crate) fn replica<S: Crdt>(number: u64) -> Replica<S> {
    let config = Config { hash_seed: Some(mix(number)), ..Config::default() };
    Replica::new(id(number), config)
}

/// Writes the documents `numbers`, `batch` of them in a transaction.
pub(crate) fn fill(replica: &mut Replica<Accounts>, numbers: std::ops::Range<usize>, batch: usize) {
    let end = numbers.end;
    for start in numbers.step_by(batch) {
        let written = replica.write(START_MS, |accounts| {
            for number in start..end.min(start + batch) {
                accounts.update(&key(number), |account| {
                    account.name().set(name(number));
                    account.address().set(address(number));
                    account.balance().set(number as i64);
                    account.active().set(true);
                });
            }
        });
        written.expect("the time is in range");
    }
}

/// A plain document.
pub(crate) fn plain_document(number: usize) -> PlainAccount {
    PlainAccount { name: name(number), address: address(number), balance: number as i64, active: true }
}

/// The documents `0..count` in a plain map.
pub(crate) fn plain(count: usize) -> PlainAccounts {
    (0..count).map(|number| (key(number), plain_document(number))).collect()
}

/// A time of a round.
pub(crate) fn now(round: usize) -> u64 {
    START_MS + 1 + round as u64
}

/// The numbers of the documents that a round changes: scattered, none twice.
pub(crate) fn scattered(round: usize, documents: usize) -> impl Iterator<Item = usize> + Clone {
    let offset = mix(round as u64) as usize % documents;
    (0..CHANGES).map(move |change| (offset + change * (documents / CHANGES)) % documents)
}

/// The keys of the documents that a round changes, each with its new name.
pub(crate) fn names(round: usize, documents: usize) -> Vec<(Uuid, String)> {
    scattered(round, documents).map(|number| (key(number), name(round))).collect()
}

/// Overwrites names, a transaction each.
pub(crate) fn write_names(replica: &mut Replica<Accounts>, round: usize, names: Vec<(Uuid, String)>) {
    for (key, name) in names {
        let written = replica.write(now(round), |accounts| {
            accounts.update(&key, |account| account.name().set(name));
        });
        written.expect("the time is in range");
    }
}

/// A delta of the names that a round changes.
pub(crate) fn changed(replica: &mut Replica<Accounts>, round: usize, documents: usize) -> Delta<Accounts> {
    let before = replica.vector();
    write_names(replica, round, names(round, documents));
    replica.delta_since(&before)
}
