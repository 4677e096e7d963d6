//! What errors say, and what the public types show of themselves, copy and tell.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::error::Error;

use driftless::{
    Config, Counter, CounterOverflow, DecodeError, Document, DocumentError, EncodeError, Kind, LinkId,
    LwwRegister, MergeError, MergeMap, OrSet, PathItem, PendingError, RefusedId, RefusedTransaction,
    RefusedWrite, Replica, ReplicaId, SyncError, Timestamp, TokenError, TransactError, Value, VersionVector,
    WriteError,
};
use serde::{Deserialize, Serialize, Serializer};

const EU: ReplicaId = ReplicaId::from_u128(1);

/// Guarantee 9: who is to blame, that nothing changed, and what to do next; with the figures that the error carries.
#[test]
fn each_error_says_that_nothing_changed_and_what_it_is_about() {
    let (stamp, own) = (Timestamp::new(7_777, 0).unwrap(), Timestamp::new(5_555, 0).unwrap());
    let vector: VersionVector = [(EU, stamp)].into_iter().collect();
    let overflow = CounterOverflow { value: 41, by: 42 };
    let reason = || "reason".to_owned();
    let errors: Vec<(Box<dyn Error>, Vec<String>)> = vec![
        (Box::new(overflow), vec!["41".into(), "42".into()]),
        (Box::new(DocumentError::EmptyPath), vec!["path".into()]),
        (Box::new(DocumentError::TooDeep { depth: 99 }), vec!["99".into()]),
        (
            Box::new(DocumentError::WrongKind { asked: Kind::Counter, found: Kind::Values }),
            vec!["counter".into(), "multi-value register".into()],
        ),
        (Box::new(DocumentError::CounterOverflow(overflow)), vec!["41".into()]),
        (Box::new(WriteError::Unwound), vec!["panic".into()]),
        (Box::new(WriteError::Poisoned), vec!["panicked".into()]),
        (Box::new(TransactError::<DocumentError>::Write(WriteError::Unwound)), vec!["panic".into()]),
        (Box::new(TransactError::Aborted(DocumentError::EmptyPath)), vec!["path".into()]),
        (Box::new(MergeError::Decode(DecodeError::Truncated { at: 31 })), vec!["31".into()]),
        (Box::new(MergeError::Gap { vector }), vec![EU.to_string()]),
        (Box::new(MergeError::Incomplete), vec!["PendingDelta".into()]),
        (
            Box::new(MergeError::TooFarAhead { id: EU, stamp, bound_ms: 6_666 }),
            vec![EU.to_string(), stamp.to_string(), "6666".into()],
        ),
        (Box::new(MergeError::NotIssued { stamp, own }), vec![stamp.to_string(), own.to_string()]),
        (Box::new(MergeError::TooManyReplicas { count: 5_000 }), vec!["5000".into()]),
        (Box::new(MergeError::Poisoned), vec!["panicked".into()]),
        (Box::new(DecodeError::Version { found: 9 }), vec!["9".into()]),
        (Box::new(DecodeError::Expected { what: "a shoe", at: 31 }), vec!["a shoe".into(), "31".into()]),
        (Box::new(DecodeError::Limit { limit: "depth", allowed: 64 }), vec!["depth".into(), "64".into()]),
        (Box::new(DecodeError::Stamp { at: 31 }), vec!["31".into()]),
        (Box::new(DecodeError::Repeated { what: "a shoe", at: 31 }), vec!["a shoe".into(), "31".into()]),
        (Box::new(DecodeError::UnknownReplica { at: 31 }), vec!["31".into()]),
        (Box::new(DecodeError::UnknownField { field: 12, at: 31 }), vec!["12".into(), "31".into()]),
        (Box::new(DecodeError::Value { at: 31, reason: reason() }), vec!["31".into(), reason()]),
        (Box::new(DecodeError::Trailing { at: 31 }), vec!["31".into()]),
        (Box::new(EncodeError::Value { reason: reason() }), vec![reason()]),
        (Box::new(EncodeError::Replicas { count: 5_000 }), vec!["5000".into()]),
        (Box::new(PendingError::OutOfOrder { expected: 3, found: 8 }), vec!["3".into(), "8".into()]),
        (Box::new(PendingError::OtherTransfer), vec!["transfer".into()]),
        (Box::new(PendingError::TooLarge { allowed: 1_234 }), vec!["1234".into()]),
        (Box::new(SyncError::Broken { what: "a shoe" }), vec!["a shoe".into()]),
        (Box::new(SyncError::UnknownLink { link: LinkId(31) }), vec!["31".into()]),
        (Box::new(SyncError::OtherCluster), vec!["cluster".into()]),
        (Box::new(SyncError::Version { theirs: (3, 8) }), vec!["3 to 8".into()]),
        (Box::new(SyncError::Schema), vec!["shape".into()]),
        (Box::new(SyncError::Impostor { id: EU }), vec![EU.to_string()]),
        (Box::new(SyncError::Itself { id: EU }), vec![EU.to_string()]),
        (Box::new(SyncError::Merge(MergeError::Poisoned)), vec!["panicked".into()]),
        (Box::new(RefusedWrite::IdInDoubt { id: EU }), vec![EU.to_string(), "reidentify".into()]),
        (Box::new(RefusedWrite::Write(WriteError::Unwound)), vec!["panic".into()]),
        (
            Box::new(RefusedTransaction::<DocumentError>::Write(RefusedWrite::IdInDoubt { id: EU })),
            vec![EU.to_string()],
        ),
        (Box::new(RefusedTransaction::Aborted(DocumentError::EmptyPath)), vec!["path".into()]),
        (Box::new(RefusedId::NotInDoubt), vec!["doubt".into()]),
        (Box::new(TokenError { length: 31 }), vec!["31".into()]),
    ];
    for (error, parts) in errors {
        let shown = error.to_string();
        assert!(shown.contains("nothing changed"), "{shown}");
        for part in parts {
            assert!(shown.contains(&part), "{part} in: {shown}");
        }
    }
}

#[test]
fn a_limit_that_is_exceeded_says_what_it_counts_and_what_the_peer_can_do() {
    for (limit, unit, remedy) in [
        ("message_bytes", "bytes", "chunks"),
        ("memory_bytes", "bytes", "chunks"),
        ("elements", "elements", "chunks"),
        ("depth", "levels", "overwrite or remove"),
        ("siblings", "concurrent values", "overwrite or remove"),
        ("text_bytes", "bytes", "overwrite or remove"),
        ("replicas", "replica ids", "fewer ids"),
    ] {
        let shown = DecodeError::Limit { limit, allowed: 321 }.to_string();
        assert!(shown.contains(&format!("`{limit}` of 321 {unit};")), "{shown}");
        assert!(shown.contains(remedy), "{remedy} in: {shown}");
    }
}

#[test]
fn ids_stamps_vectors_digests_and_state_show_what_they_are() {
    let id = "00000000-0000-0000-0000-000000000001";
    assert_eq!((EU.to_string(), format!("{EU:?}")), (id.to_owned(), id.to_owned()));
    let mut eu: Replica<Document> = Replica::new(EU, Config::default());
    eu.transact(1_000, |doc| doc.set(&["name"], "Ada")).unwrap();
    let vector = eu.vector();
    let stamp = Timestamp::new(1_000, 0).unwrap();
    assert_eq!(format!("{vector:?}"), format!("{{{id}: {stamp:?}}}"));
    assert_eq!(format!("{:?}", eu.state()), r#"{"name":"Ada"}"#);
    let digest = eu.digest();
    assert_eq!(
        (digest.to_string(), format!("{digest:?}")),
        (format!("{:032x}", digest.bits()), digest.to_string())
    );
    let delta = format!("{:?}", eu.delta_since(&VersionVector::new()));
    assert!(delta.contains(id) && delta.contains("is_complete: false"), "{delta}");

    let mut map: Replica<MergeMap<u8, OrSet<u8>>> = Replica::new(EU, Config::default());
    map.write(1_000, |map| map.update(&1, |set| set.add(&2))).unwrap();
    assert_eq!(format!("{:?}", map.state()), "{1: {2}}");
    assert!(format!("{:?}", map.state().iter()).contains("left: 1"));
    let copy = map.state().get(&1).unwrap().clone();
    assert_eq!((copy.len(), copy.contains(&2)), (1, true));
    map.write(1_001, |map| map.update(&1, |set| (set.remove(&2), set.add(&3), set.add(&4)))).unwrap();
    let set = map.state().get(&1).unwrap();
    assert_eq!((set.len(), set.iter().size_hint(), set.rows()), (2, (2, Some(2)), 3));
    let items = [PathItem::Field("tags"), PathItem::Key(Value::from("x"))].map(|item| item.to_string());
    assert_eq!(items, ["tags", r#""x""#]);
}

#[test]
fn a_snapshot_tells_what_the_replica_told() {
    let config = Config { max_ahead_ms: 5, ..Config::default() };
    let mut eu: Replica<Counter> = Replica::new(EU, config);
    assert_eq!(eu.config().max_ahead_ms, 5);
    eu.transact(1_000, |count| count.add(3)).unwrap();
    let snapshot = eu.snapshot();
    let told = (eu.vector(), eu.digest(), eu.canonical_bytes());
    eu.transact(1_001, |count| count.add(4)).unwrap();
    assert_eq!((snapshot.vector(), snapshot.digest(), snapshot.canonical_bytes()), told);
    assert!(!told.2.is_empty() && eu.canonical_bytes() != told.2);
    assert_eq!(snapshot.delta_since(&VersionVector::new()).to(), told.0);
}

#[test]
fn a_delta_is_empty_for_who_holds_all_and_only_then() {
    let mut eu: Replica<OrSet<u8>> = Replica::new(EU, Config::default());
    eu.write(1_000, |set| (set.add(&1), set.add(&2))).unwrap();
    assert!(eu.delta_since(&eu.vector()).is_empty());
    assert!(!eu.delta_since(&VersionVector::new()).is_empty());
    // What is complete says what is gone, too.
    eu.write(1_001, |set| set.remove(&1)).unwrap();
    eu.set_members([EU]);
    assert_eq!(eu.forget().rows, 1);
    let complete = eu.delta_since(&VersionVector::new());
    assert!(complete.is_complete() && !complete.is_empty());
    assert!(eu.delta_since(&eu.vector()).is_empty());
}

#[test]
fn a_register_reads_what_it_was_set_from() {
    let mut eu: Replica<MergeMap<u8, LwwRegister<String>>> = Replica::new(EU, Config::default());
    let owned = "Ada".to_owned();
    eu.write(1_000, |map| map.update(&1, |register| register.set(&owned))).unwrap();
    assert_eq!(eu.state().get(&1).and_then(LwwRegister::latest), Some(&owned));
    let mut eu: Replica<LwwRegister<Value>> = Replica::new(EU, Config::default());
    eu.write(1_000, |register| register.set(Some(7))).unwrap();
    assert_eq!(eu.state().latest(), Some(&Value::Int(7)));
}

/// A value that cannot be shipped.
#[derive(Clone, Deserialize)]
struct Unshippable;

impl Serialize for Unshippable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it stays here"))
    }
}

#[test]
fn what_cannot_be_serialized_is_an_error_of_each_message_that_would_hold_it() {
    let mut eu: Replica<MergeMap<u8, LwwRegister<Unshippable>>> = Replica::new(EU, Config::default());
    let empty = eu.delta_since(&VersionVector::new()).encode();
    assert!(empty.is_ok());
    eu.write(1_000, |map| map.update(&1, |register| register.set(Unshippable))).unwrap();
    let delta = eu.delta_since(&VersionVector::new());
    let refused = delta.encode().unwrap_err();
    assert!(matches!(&refused, EncodeError::Value { reason } if reason.contains("it stays here")));
    assert_eq!(delta.into_chunks(100).next().unwrap().unwrap_err(), refused);
}
