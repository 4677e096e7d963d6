//! What programs rely on beside behaviour: what literals infer to, and which traits the public types have.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Debug;

use driftless::{
    Chunks, ClockError, Committed, Config, Counter, CounterOverflow, Crdt, Datum, DecodeError, Delta,
    Document, DocumentError, Elements, EncodeError, Entries, Flag, Forgotten, HybridClock, Kept, LwwRegister,
    MergeError, MergeMap, Merged, MvRegister, OrSet, PendingDelta, PendingError, Replica, ReplicaId,
    Snapshot, Timestamp, TransactError, Value, VersionVector, WriteError, Writer,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

fn replica<S: Crdt>() -> Replica<S> {
    Replica::new(ReplicaId::from_u128(1), Config::default())
}

#[test]
fn literals_become_what_their_register_holds() {
    #[derive(Crdt)]
    struct Sample {
        text: LwwRegister<String>,
        small: LwwRegister<u8>,
        unsigned: MvRegister<u32>,
        large: LwwRegister<u64>,
        signed: LwwRegister<i128>,
        real: LwwRegister<f32>,
        maybe: LwwRegister<Option<u32>>,
        pair: LwwRegister<(u16, bool)>,
        free: LwwRegister<Value>,
        list: LwwRegister<Vec<u8>>,
    }
    let mut eu: Replica<Sample> = replica();
    let owned = "Ada".to_owned();
    eu.write(1_000, |sample| {
        sample.text().set(&owned);
        sample.text().set(owned);
        sample.text().set("Grace");
        sample.small().set(7);
        sample.unsigned().set(7);
        sample.large().set(7_u8.into());
        sample.signed().set(-7);
        sample.real().set(0.5);
        sample.maybe().set(None);
        sample.maybe().set(Some(6));
        sample.maybe().set(7);
        sample.pair().set((7, true));
        sample.free().set("Ada");
        sample.free().set(7);
        sample.list().set(vec![7]);
    })
    .unwrap();
    let sample = eu.state();
    assert_eq!(sample.text.latest().map(String::as_str), Some("Grace"));
    assert_eq!((sample.small.latest(), sample.unsigned.max()), (Some(&7), Some(&7)));
    assert_eq!((sample.large.latest(), sample.signed.latest()), (Some(&7), Some(&-7)));
    assert_eq!((sample.real.latest(), sample.maybe.latest()), (Some(&0.5), Some(&Some(7))));
    assert_eq!((sample.pair.latest(), sample.free.latest()), (Some(&(7, true)), Some(&Value::Int(7))));
    assert_eq!(sample.list.latest(), Some(&vec![7]));
}

#[test]
fn what_is_held_can_be_read_on_any_thread() {
    fn check<T: Send + Sync>() {}
    type Users = MergeMap<String, LwwRegister<String>>;
    check::<Replica<Users>>();
    check::<Replica<Document>>();
    check::<Snapshot<Users>>();
    check::<Delta<Users>>();
    check::<Chunks<Users>>();
    check::<PendingDelta<Users>>();
    check::<Entries<'static, String, Flag>>();
    check::<Elements<'static, String>>();
    check::<Committed<()>>();
    check::<Merged>();
    check::<Forgotten>();
    check::<Kept>();
    check::<Config>();
    check::<HybridClock>();
    check::<VersionVector>();
    check::<(MvRegister<u8>, OrSet<u8>, Counter, Flag)>();
    // A handle may be handed on to threads that end within the transaction.
    check::<Writer<'static, Users>>();
}

#[test]
fn an_error_of_any_call_can_be_passed_on_as_one_that_crosses_threads() {
    fn check<E: Error + Clone + PartialEq + Send + Sync + 'static>() {}
    check::<ClockError>();
    check::<CounterOverflow>();
    check::<DocumentError>();
    check::<WriteError>();
    check::<TransactError<DocumentError>>();
    check::<TransactError<String>>();
    check::<MergeError>();
    check::<DecodeError>();
    check::<EncodeError>();
    check::<PendingError>();
}

#[test]
fn ids_and_vectors_can_be_written_down_and_read_back() {
    let id = ReplicaId::from_u128(0xe0);
    assert_eq!(id.to_string().parse::<ReplicaId>().unwrap(), id);
    assert_eq!(ReplicaId::from(Uuid::from(id)), id);
    assert!("eu".parse::<ReplicaId>().is_err());
    let stamp = Timestamp::new(1_000, 7).unwrap();
    let vector = VersionVector::from(vec![(id, stamp)]);
    let json = serde_json::to_string(&vector).unwrap();
    assert_eq!(json, format!("[[\"{id}\",{}]]", stamp.bits()));
    assert_eq!(serde_json::from_str::<VersionVector>(&json).unwrap(), vector);
    assert_eq!(Timestamp::from_bits(stamp.bits()), stamp);
}

#[test]
fn iterators_say_how_much_is_to_come_in_short_and_in_long_maps() {
    for keys in [3_u32, 300] {
        let mut eu: Replica<MergeMap<u32, OrSet<u32>>> = replica();
        eu.write(1_000, |map| (0..keys).for_each(|key| map.update(&key, |set| set.add(&key)))).unwrap();
        // What is removed is kept for a while, and not counted.
        eu.write(1_001, |map| {
            map.remove(&0);
            map.update(&1, |set| set.remove(&1));
        })
        .unwrap();
        let map = eu.state();
        assert_eq!((map.rows(), map.len()), (keys as usize, keys as usize - 2));
        let mut entries = map.into_iter();
        for left in (0..map.len()).rev() {
            let (key, set) = entries.next().unwrap();
            assert_eq!((set.iter().len(), set.into_iter().next()), (1, Some(key)));
            assert_eq!(entries.len(), left);
        }
        assert!(entries.next().is_none() && entries.next().is_none());
        assert_eq!((map.iter().count(), map.keys().len()), (map.len(), map.len()));
        // A copy to keep shares what it holds and is not written any more.
        let copy = map.clone();
        eu.write(1_002, |map| map.clear()).unwrap();
        assert_eq!((copy.len(), eu.state().len()), (keys as usize - 2, 0));
    }
}

#[test]
fn concurrent_values_are_counted_and_read_from_both_ends() {
    let mut eu: Replica<LwwRegister<u32>> = replica();
    let mut us: Replica<LwwRegister<u32>> = Replica::new(ReplicaId::from_u128(2), Config::default());
    eu.write(1_000, |register| register.set(1)).unwrap();
    us.write(1_001, |register| register.set(2)).unwrap();
    assert_eq!(eu.state().all().len(), 1);
    let delta = us.delta_since(&eu.vector());
    // One delta for two receivers.
    eu.merge(1_002, delta.clone()).unwrap();
    let mut ap: Replica<LwwRegister<u32>> = Replica::new(ReplicaId::from_u128(3), Config::default());
    ap.merge(1_002, delta).unwrap();
    assert_eq!(eu.state().all().len(), 2);
    assert_eq!(eu.state().all().rev().collect::<Vec<_>>(), [&2, &1]);
    assert_eq!(eu.state().stamped().map(|(stamp, _)| stamp.millis()).collect::<Vec<_>>(), [1_000, 1_001]);
    assert_eq!(ap.state().latest(), Some(&2));
}

#[test]
fn registers_conflict_and_what_always_adds_up_does_not() {
    #[derive(Crdt)]
    struct Everything {
        price: LwwRegister<u32>,
        table: MvRegister<u32>,
        stock: Counter,
        tags: OrSet<u32>,
        is_open: Flag,
    }
    let [mut eu, mut us] =
        [1, 2].map(|id| Replica::<Everything>::new(ReplicaId::from_u128(id), Config::default()));
    for (number, replica) in [&mut eu, &mut us].into_iter().enumerate() {
        replica
            .transact(1_000, |all| {
                all.price().set(number as u32);
                all.table().set(number as u32);
                all.tags().add(&7);
                all.is_open().enable();
                all.stock().add(1)
            })
            .unwrap();
    }
    assert_eq!(eu.merge(1_001, us.delta_since(&eu.vector())).unwrap().conflicts, 2);
    us.merge(1_001, eu.delta_since(&us.vector())).unwrap();
    us.transact(1_002, |all| all.stock().add(1)).unwrap();
    assert_eq!(eu.merge(1_003, us.delta_since(&eu.vector())).unwrap().conflicts, 0);
}

/// What a value is read as where it was shipped to.
fn shipped<A: Datum, B: Datum>(value: A) -> Result<Option<B>, MergeError> {
    let mut eu: Replica<LwwRegister<A>> = replica();
    eu.write(1_000, |register| register.set(value)).unwrap();
    let mut us: Replica<LwwRegister<B>> = Replica::new(ReplicaId::from_u128(2), Config::default());
    let bytes = eu.delta_since(&us.vector()).encode().unwrap();
    us.merge(1_001, us.decode(&bytes)?)?;
    Ok(us.state().latest().cloned())
}

fn arrives<T: Datum + PartialEq + Debug>(value: T) {
    assert_eq!(shipped::<T, T>(value.clone()).unwrap(), Some(value));
}

#[test]
fn plain_values_arrive_as_they_left_but_for_what_is_documented() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Empty,
        Circle(f32),
        Square { side: f64 },
    }
    for shape in [Shape::Empty, Shape::Circle(0.5), Shape::Square { side: -0.0 }] {
        arrives(shape);
    }
    arrives((i128::MIN, u128::MAX, u64::MAX, i64::MIN, 'x', [0_u8; 16]));
    arrives(BTreeMap::from([(1, vec!["a".to_owned()]), (2, Vec::new())]));
    arrives((Some(Uuid::from_u128(7)), None::<u8>, (), "text".to_owned().into_boxed_str()));

    // There is one nil.
    assert_eq!(shipped::<_, Option<Option<u8>>>(Some(None::<u8>)).unwrap(), Some(None));
    assert_eq!(shipped::<_, Option<()>>(Some(())).unwrap(), Some(None));

    // A struct grows at its end; who does not know the field reads nothing, and keeps what came.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Old {
        cents: u32,
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct New {
        cents: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        currency: Option<String>,
    }
    let currency = Some("EUR".to_owned());
    assert_eq!(shipped::<_, New>(Old { cents: 7 }).unwrap(), Some(New { cents: 7, currency: None }));
    assert_eq!(shipped::<_, Old>(New { cents: 7, currency: None }).unwrap(), Some(Old { cents: 7 }));
    assert_eq!(shipped::<_, Old>(New { cents: 7, currency }).unwrap(), None);
}
