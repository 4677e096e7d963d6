//! Values, keys and times at the ends of their ranges: written, shipped whole and in chunks, and read back as they were.

#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

use driftless::{
    Config, Counter, CounterOverflow, Crdt, Document, Limits, LwwRegister, MergeError, MergeMap, MvRegister,
    OrSet, PendingDelta, Replica, ReplicaId, Timestamp, TransactError, Value, WriteError,
};

const NOW_MS: u64 = 1_700_000_000_000;

fn replica<S: Crdt>(id: u128) -> Replica<S> {
    Replica::new(ReplicaId::from_u128(id), Config::default())
}

/// Two new replicas that have merged what `from` holds: one from a single message, one from the smallest chunks.
fn copies<S: Crdt>(from: &Replica<S>, now_ms: u64) -> [Replica<S>; 2] {
    let (mut whole, mut chunked) = (replica::<S>(u128::MAX), replica::<S>(0));
    let delta = from.delta_since(&whole.vector());
    whole.merge(now_ms, whole.decode(&delta.encode().unwrap()).unwrap()).unwrap();
    let mut pending = PendingDelta::new(&Limits::default());
    for bytes in delta.into_chunks(1) {
        if let Some(delta) = pending.push(chunked.decode(&bytes.unwrap()).unwrap()).unwrap() {
            chunked.merge(now_ms, delta).unwrap();
        }
    }
    for copy in [&whole, &chunked] {
        assert_eq!((copy.vector(), copy.digest()), (from.vector(), from.digest()));
        assert_eq!(copy.canonical_bytes(), from.canonical_bytes());
    }
    [whole, chunked]
}

fn sync<S: Crdt>(a: &mut Replica<S>, b: &mut Replica<S>) {
    b.merge(NOW_MS, b.decode(&a.delta_since(&b.vector()).encode().unwrap()).unwrap()).unwrap();
    a.merge(NOW_MS, a.decode(&b.delta_since(&a.vector()).encode().unwrap()).unwrap()).unwrap();
    assert_eq!((a.vector(), a.digest()), (b.vector(), b.digest()));
}

#[test]
fn integers_at_the_ends_of_their_types_arrive_as_they_were() {
    let signed = [i64::MIN, i64::MIN + 1, -129, -128, -33, -32, -1, 0, 127, 128, 1 << 32, i64::MAX];
    let mut eu: Replica<MergeMap<i64, LwwRegister<i64>>> = replica(1);
    eu.write(NOW_MS, |map| signed.iter().for_each(|n| map.update(n, |register| register.set(*n)))).unwrap();
    for copy in copies(&eu, NOW_MS) {
        assert!(signed.iter().all(|n| copy.state().get(n).unwrap().latest() == Some(n)));
    }
    let unsigned = [0, 127, 128, 255, 256, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
    let mut eu: Replica<MergeMap<u64, LwwRegister<u128>>> = replica(1);
    eu.write(NOW_MS, |map| {
        for n in unsigned {
            map.update(&n, |register| register.set(u128::MAX - u128::from(n)));
        }
    })
    .unwrap();
    for copy in copies(&eu, NOW_MS) {
        assert!(
            unsigned
                .iter()
                .all(|n| *copy.state().get(n).unwrap().latest().unwrap() == u128::MAX - u128::from(*n))
        );
    }
}

#[test]
fn floats_keep_their_bits_and_a_document_tells_them_apart() {
    let floats = [
        f64::NAN,
        -f64::NAN,
        f64::from_bits(0x7FF0_0000_0000_0001),
        -0.0,
        0.0,
        f64::INFINITY,
        f64::MIN_POSITIVE,
    ];
    let mut eu: Replica<MergeMap<u8, LwwRegister<f64>>> = replica(1);
    eu.write(NOW_MS, |map| (0_u8..).zip(floats).for_each(|(n, float)| map.update(&n, |r| r.set(float))))
        .unwrap();
    for copy in copies(&eu, NOW_MS) {
        for (n, float) in (0_u8..).zip(floats) {
            assert_eq!(copy.state().get(&n).unwrap().latest().unwrap().to_bits(), float.to_bits());
        }
    }
    // As elements of a set each is its own element, so that both zeros and every NaN can be added and removed.
    let mut eu: Replica<Document> = replica(1);
    eu.write(NOW_MS, |doc| floats.iter().for_each(|float| doc.add(&["set"], Value::from(*float)).unwrap()))
        .unwrap();
    for mut copy in copies(&eu, NOW_MS) {
        assert_eq!(copy.state().set_at(&["set"]).unwrap().len(), floats.len());
        copy.write(NOW_MS, |doc| assert!(doc.remove(&["set"], Value::from(-0.0)).unwrap())).unwrap();
        let set = copy.state().set_at(&["set"]).unwrap();
        assert!(set.contains(&Value::from(0.0)) && !set.contains(&Value::from(-0.0)));
        assert!(set.contains(&Value::from(f64::NAN)));
    }
    // Equal stamps and a NaN: which is read does not hang on comparing values.
    let (mut a, mut b) = (replica::<LwwRegister<f64>>(1), replica::<LwwRegister<f64>>(2));
    a.write(NOW_MS, |register| register.set(f64::NAN)).unwrap();
    b.write(NOW_MS, |register| register.set(-0.0)).unwrap();
    sync(&mut a, &mut b);
    assert_eq!(a.state().latest().unwrap().to_bits(), (-0.0_f64).to_bits());
}

#[test]
fn empty_and_huge_keys_are_keys() {
    let huge = "k".repeat(1 << 20);
    let keys = ["", "\0", "\u{10FFFF}", "a", huge.as_str()];
    let mut eu: Replica<MergeMap<String, OrSet<String>>> = replica(1);
    eu.write(NOW_MS, |map| {
        for key in keys {
            map.update(key, |set| keys.iter().for_each(|element| set.add(*element)));
        }
    })
    .unwrap();
    for mut copy in copies(&eu, NOW_MS) {
        assert!(
            keys.iter().all(|key| keys.iter().all(|element| copy
                .state()
                .get(*key)
                .unwrap()
                .contains(*element)))
        );
        copy.write(NOW_MS, |map| {
            assert!(map.remove("") && map.remove(huge.as_str()) && !map.remove("b"));
        })
        .unwrap();
        eu.merge(NOW_MS, copy.delta_since(&eu.vector())).unwrap();
        assert_eq!(eu.digest(), copy.digest());
    }
    assert_eq!(eu.state().len(), 3);

    // A key without content, and one of bytes.
    let mut unit: Replica<MergeMap<(), LwwRegister<()>>> = replica(1);
    unit.write(NOW_MS, |map| map.update(&(), |register| register.set(()))).unwrap();
    assert!(copies(&unit, NOW_MS).iter().all(|copy| copy.state().get(&()).unwrap().latest() == Some(&())));
    let mut bytes: Replica<OrSet<Vec<u8>>> = replica(1);
    bytes
        .write(NOW_MS, |set| [vec![], vec![0], vec![0xFF; 70_000]].iter().for_each(|bytes| set.add(bytes)))
        .unwrap();
    assert!(copies(&bytes, NOW_MS).iter().all(|copy| copy.state().len() == 3));
}

#[test]
fn a_document_takes_empty_names_and_refuses_an_empty_path() {
    let mut eu: Replica<Document> = replica(1);
    eu.write(NOW_MS, |doc| {
        doc.set(&["", "", ""], i64::MIN).unwrap();
        doc.increment(&["", "n"], i64::MIN).unwrap();
        assert!(doc.set(&[""; 0], 1).is_err());
        assert!(doc.set(&[""; Document::MAX_DEPTH + 1], 1).is_err());
    })
    .unwrap();
    for copy in copies(&eu, NOW_MS) {
        assert_eq!(copy.state().get(&["", "", ""]), Some(&Value::from(i64::MIN)));
        assert_eq!(copy.state().counter(&["", "n"]).unwrap().value(), i64::MIN);
    }
}

#[test]
fn counters_at_the_ends_refuse_the_next_step_and_lose_nothing() {
    let (mut eu, mut us): (Replica<Counter>, Replica<Counter>) = (replica(1), replica(2));
    eu.transact(NOW_MS, |counter| counter.add(i64::MIN)).unwrap();
    for by in [-1, i64::MIN] {
        let refused = eu.transact(NOW_MS, |counter| counter.add(by)).unwrap_err();
        assert_eq!(refused, TransactError::Aborted(CounterOverflow { value: i64::MIN, by }));
    }
    us.transact(NOW_MS, |counter| counter.add(i64::MIN)).unwrap();
    sync(&mut eu, &mut us);
    assert_eq!((eu.state().value(), eu.state().exact()), (i64::MIN, 2 * i128::from(i64::MIN)));
    // Beyond the range it can be counted back towards it, and no further away.
    for by in [-1, 0] {
        us.transact(NOW_MS, |counter| counter.add(by)).unwrap_err();
    }
    us.transact(NOW_MS, |counter| counter.add(i64::MAX)).unwrap();
    assert_eq!(us.state().exact(), i128::from(i64::MIN) - 1);
    us.transact(NOW_MS, |counter| counter.add(1)).unwrap();
    assert_eq!(us.state().exact(), i128::from(i64::MIN));
    us.transact(NOW_MS, |counter| counter.add(-1)).unwrap_err();
    sync(&mut eu, &mut us);
    // A reset takes it all away, and counting goes on.
    us.write(NOW_MS, |counter| counter.reset()).unwrap();
    sync(&mut eu, &mut us);
    assert_eq!(eu.state().exact(), 0);
    for replica in [&mut eu, &mut us] {
        replica.transact(NOW_MS, |counter| counter.add(i64::MAX)).unwrap();
    }
    sync(&mut eu, &mut us);
    assert_eq!(eu.state().exact(), 2 * i128::from(i64::MAX));
    for copy in copies(&eu, NOW_MS) {
        assert_eq!((copy.state().value(), copy.state().exact()), (i64::MAX, 2 * i128::from(i64::MAX)));
    }
    // A sum in range does not help the replica whose own additions have reached the end.
    us.transact(NOW_MS, |counter| counter.add(i64::MIN)).unwrap();
    sync(&mut eu, &mut us);
    assert_eq!(eu.state().value(), i64::MAX - 1);
    assert!(eu.transact(NOW_MS, |counter| counter.add(1)).is_err());
    us.transact(NOW_MS, |counter| counter.add(1)).unwrap();
    assert_eq!(us.state().value(), i64::MAX);
}

#[test]
fn the_last_millisecond_and_the_last_stamp_can_be_used_and_no_more() {
    let mut eu: Replica<MvRegister<u8>> = replica(1);
    let last = Timestamp::MAX_MILLIS;
    // The first stamp of the last millisecond, then all that are left of it.
    for n in 0..=u32::from(u16::MAX) {
        eu.write(last, |register| register.set(n as u8)).unwrap();
    }
    assert_eq!(eu.vector().newest(), Timestamp::MAX);
    for copy in copies(&eu, last) {
        assert_eq!(copy.state().all().collect::<Vec<_>>(), [&255]);
    }
    let before = (eu.vector(), eu.digest());
    for now_ms in [0, last, last + 1, u64::MAX] {
        let refused = eu.write(now_ms, |register| register.set(0)).unwrap_err();
        assert!(matches!(refused, WriteError::Clock(_)), "{refused}");
    }
    assert_eq!((eu.vector(), eu.digest()), before);
    // The bound of what is ahead does not wrap at the end of time, nor does a caller without a clock let it in.
    let mut us: Replica<MvRegister<u8>> = replica(2);
    for now_ms in [0, NOW_MS, last - 60_001] {
        let refused = us.merge(now_ms, eu.delta_since(&us.vector())).unwrap_err();
        assert!(matches!(refused, MergeError::TooFarAhead { .. }), "{refused}");
        assert!(us.vector().is_empty());
    }
    assert!(us.merge(last - 60_000, eu.delta_since(&us.vector())).is_ok());
}

#[test]
fn more_transactions_than_a_millisecond_has_stamps_run_ahead_in_order() {
    const WRITES: u64 = 65_536 + 100;
    let mut eu: Replica<LwwRegister<u64>> = replica(1);
    let mut previous = Timestamp::ZERO;
    for n in 0..WRITES {
        let stamp = eu.write(NOW_MS, |register| register.set(n)).unwrap().stamp.unwrap();
        assert!(stamp > previous);
        previous = stamp;
    }
    assert_eq!(previous, Timestamp::new(NOW_MS + 1, 99).unwrap());
    let mut us: Replica<LwwRegister<u64>> = replica(2);
    us.merge(NOW_MS, eu.delta_since(&us.vector())).unwrap();
    assert_eq!(us.state().latest(), Some(&(WRITES - 1)));
    // Who merged them writes after them, in the same millisecond of its own clock.
    us.write(NOW_MS, |register| register.set(0_u64)).unwrap();
    sync(&mut eu, &mut us);
    assert_eq!(eu.state().latest(), Some(&0));
}
