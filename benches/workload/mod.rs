//! The work that the benches do, on driftless and on a plain map of structs.

#![allow(dead_code, reason = "each bench uses a part of it")]

use driftless::{Config, Crdt, LwwRegister, MergeMap, Replica, ReplicaId};
use hashbrown::HashMap;
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
#[derive(Clone, Default)]
pub(crate) struct PlainAccount {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) balance: i64,
    pub(crate) active: bool,
}

pub(crate) type PlainAccounts = HashMap<Uuid, PlainAccount>;

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

/// An empty replica.
pub(crate) fn replica(id: u128) -> Replica<Accounts> {
    Replica::new(ReplicaId::from_u128(0x5eed << 64 | id), Config::default())
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

/// The documents `0..count` in a plain map.
pub(crate) fn plain(count: usize) -> PlainAccounts {
    let document = |number| PlainAccount {
        name: name(number),
        address: address(number),
        balance: number as i64,
        active: true,
    };
    (0..count).map(|number| (key(number), document(number))).collect()
}
