//! Types of an application that misbehave: what cannot be serialized, and a hash that panics.

#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use driftless::{
    Config, EncodeError, LwwRegister, MergeError, MergeMap, OrSet, Replica, ReplicaId, TransactError, Value,
    WriteError,
};
use serde::{Deserialize, Serialize, Serializer};

const NOW_MS: u64 = 1_700_000_000_000;

/// A number that can be written as bytes up to nine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
struct Digit(u8);

impl Serialize for Digit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 < 10 {
            serializer.serialize_newtype_struct("Digit", &self.0)
        } else {
            Err(serde::ser::Error::custom("two digits"))
        }
    }
}

#[test]
fn a_value_that_cannot_be_serialized_is_named_and_can_be_replaced() {
    let mut eu: Replica<MergeMap<u8, LwwRegister<Digit>>> =
        Replica::new(ReplicaId::from_u128(1), Config::default());
    let mut us: Replica<MergeMap<u8, LwwRegister<Digit>>> =
        Replica::new(ReplicaId::from_u128(2), Config::default());
    eu.write(NOW_MS, |map| map.update(&1, |digit| digit.set(Digit(7)))).unwrap();
    eu.write(NOW_MS, |map| map.update(&2, |digit| digit.set(Digit(12)))).unwrap();
    let is_named =
        |error: &EncodeError| matches!(error, EncodeError::Value { reason } if reason.contains("two digits"));
    assert!(is_named(&eu.delta_since(&us.vector()).encode().unwrap_err()));
    let mut chunks = eu.delta_since(&us.vector()).into_chunks(1);
    assert!(chunks.any(|chunk| chunk.is_err_and(|error| is_named(&error))));
    // It says the same of equal states all the same, and writing something better is all it takes.
    assert_eq!(eu.digest(), eu.digest());
    eu.write(NOW_MS, |map| map.update(&2, |digit| digit.set(Digit(2)))).unwrap();
    us.merge(NOW_MS, us.decode(&eu.delta_since(&us.vector()).encode().unwrap()).unwrap()).unwrap();
    assert_eq!(us.state().get(&2).unwrap().latest(), Some(&Digit(2)));
    assert_eq!(us.digest(), eu.digest());
}

thread_local! {
    /// The number of hashes until one panics; none if zero.
    static FUSE: Cell<u32> = const { Cell::new(0) };
}

/// A key whose hash panics when the fuse has burnt down.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Moody(u16);

impl Hash for Moody {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let left = FUSE.get();
        FUSE.set(left.saturating_sub(1));
        if left == 1 {
            resume_unwind(Box::new("moody"));
        }
        self.0.hash(hasher);
    }
}

fn moody(id: u128, keys: std::ops::Range<u16>) -> Replica<OrSet<Moody>> {
    let mut replica: Replica<OrSet<Moody>> = Replica::new(ReplicaId::from_u128(id), Config::default());
    replica.write(NOW_MS, |set| keys.for_each(|key| set.add(&Moody(key)))).unwrap();
    replica
}

#[test]
fn a_panic_of_a_key_within_a_transaction_undoes_it() {
    let mut eu = moody(1, 0..100);
    let before = (eu.vector(), eu.canonical_bytes());
    for fuse in 1..60 {
        FUSE.set(fuse);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            eu.write(NOW_MS, |set| {
                (50..120).for_each(|key| set.add(&Moody(key)));
                set.clear()
            })
        }));
        FUSE.set(0);
        assert!(panicked.is_err());
        assert_eq!((eu.vector(), eu.canonical_bytes()), before);
    }
    eu.write(NOW_MS, |set| set.add(&Moody(500))).unwrap();
    assert_eq!(eu.state().len(), 101);
}

#[test]
fn a_panic_of_a_key_within_a_merge_leaves_a_replica_that_refuses_and_whose_snapshot_is_whole() {
    let us = moody(2, 50..150);
    for fuse in [1, 30, 100] {
        let mut eu = moody(1, 0..100);
        let snapshot = eu.snapshot();
        let before = (snapshot.vector(), snapshot.digest());
        let delta = us.delta_since(&eu.vector());
        FUSE.set(fuse);
        let panicked = catch_unwind(AssertUnwindSafe(|| eu.merge(NOW_MS, delta)));
        FUSE.set(0);
        assert!(panicked.is_err());
        assert_eq!(eu.merge(NOW_MS, us.delta_since(&eu.vector())).unwrap_err(), MergeError::Poisoned);
        assert_eq!(eu.write(NOW_MS, |set| set.clear()).unwrap_err(), WriteError::Poisoned);
        let refused = eu.transact(NOW_MS, |_| Ok::<_, ()>(())).unwrap_err();
        assert_eq!(refused, TransactError::Write(WriteError::Poisoned));
        // What was there before the merge can be saved, and goes on under a new id.
        assert_eq!((snapshot.vector(), snapshot.digest()), before);
        let mut saved: Replica<OrSet<Moody>> = Replica::new(ReplicaId::from_u128(3), Config::default());
        saved.merge(NOW_MS, snapshot.delta_since(&saved.vector())).unwrap();
        saved.merge(NOW_MS, us.delta_since(&saved.vector())).unwrap();
        assert_eq!(saved.state().len(), 150);
    }
}

#[test]
fn a_value_shows_itself_as_json_and_takes_no_name_twice() {
    let json = r#"{"a":[null,true,-1,1.5,"é\"\\\n\t\u0001"],"b":{"":[]}}"#;
    let value: Value = serde_json::from_str(json).unwrap();
    let shown: Value = serde_json::from_str(&value.to_string()).unwrap();
    assert_eq!(shown, value);
    assert_eq!(
        serde_json::to_value(&value).unwrap(),
        serde_json::from_str::<serde_json::Value>(json).unwrap()
    );
    assert_eq!(Value::from(None::<i64>), Value::Null);
    assert!(serde_json::from_str::<Value>(r#"{"a":1,"a":2}"#).is_err());
    // The same as MessagePack: a map of one name twice.
    assert!(rmp_serde::from_slice::<Value>(&[0x82, 0xA1, b'a', 1, 0xA1, b'a', 2]).is_err());
}
