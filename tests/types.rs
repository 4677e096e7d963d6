//! What each type reads, and what a removal does to what is written concurrently: the tables of the documentation, row by row.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use driftless::{
    Config, Counter, Crdt, Document, DocumentError, Flag, Kind, LwwRegister, MergeMap, MvRegister, OrSet,
    Replica, ReplicaId, Value,
};

const NOW_MS: u64 = 1_700_000_000_000;

fn pair<S: Crdt>() -> [Replica<S>; 2] {
    [1, 2].map(|id| Replica::new(ReplicaId::from_u128(id), Config::default()))
}

/// Both merge what the other holds, and must agree.
fn exchange<S: Crdt>([eu, us]: &mut [Replica<S>; 2]) {
    let (from_eu, from_us) = (eu.delta_since(&us.vector()), us.delta_since(&eu.vector()));
    eu.merge(NOW_MS, from_us).unwrap();
    us.merge(NOW_MS, from_eu).unwrap();
    assert_eq!(eu.canonical_bytes(), us.canonical_bytes());
    assert_eq!(eu.vector(), us.vector());
}

#[test]
fn registers_read_latest_all_min_max_newest_non_null_and_what_a_function_makes_of_them() {
    let mut both = pair::<LwwRegister<i64>>();
    both[0].write(NOW_MS + 1, |register| register.set(9)).unwrap();
    both[1].write(NOW_MS + 2, |register| register.set(4)).unwrap();
    exchange(&mut both);
    let register = both[0].state();
    assert_eq!(register.latest(), Some(&4));
    assert_eq!(register.all().collect::<Vec<_>>(), [&9, &4]);
    assert_eq!((register.min(), register.max()), (Some(&4), Some(&9)));
    assert_eq!(register.resolve(|values| values.sum::<i64>()), 13);
    assert!(register.is_conflicted());
    let stamps: Vec<_> = register.stamped().map(|(stamp, _)| stamp.millis()).collect();
    assert_eq!(stamps, [NOW_MS + 1, NOW_MS + 2]);
    // A write that has seen both settles it.
    both[0].write(NOW_MS + 3, |register| register.set(5)).unwrap();
    exchange(&mut both);
    assert_eq!(both[1].state().all().collect::<Vec<_>>(), [&5]);
}

#[test]
fn nothing_as_a_value_does_not_hide_a_concurrent_value_from_who_asks_for_the_newest_non_null() {
    let mut both = pair::<LwwRegister<Option<String>>>();
    both[0].write(NOW_MS + 1, |name| name.set("Ada".to_owned())).unwrap();
    both[1].write(NOW_MS + 2, |name| name.set(None)).unwrap();
    exchange(&mut both);
    assert_eq!(both[0].state().latest(), Some(&None));
    assert_eq!(both[0].state().newest_non_null().map(String::as_str), Some("Ada"));

    let mut both = pair::<LwwRegister<Value>>();
    both[0].write(NOW_MS + 1, |name| name.set("Ada")).unwrap();
    both[1].write(NOW_MS + 2, |name| name.set(Value::Null)).unwrap();
    exchange(&mut both);
    assert_eq!(both[0].state().newest_non_null(), Some(&Value::from("Ada")));
}

#[test]
fn a_write_survives_a_concurrent_clear_and_a_clear_that_saw_it_removes_it() {
    let mut both = pair::<MvRegister<i64>>();
    both[0].write(NOW_MS, |register| register.set(1)).unwrap();
    exchange(&mut both);
    both[0].write(NOW_MS, |register| assert!(register.clear())).unwrap();
    both[1].write(NOW_MS, |register| register.set(2)).unwrap();
    exchange(&mut both);
    assert_eq!(both[0].state().distinct(), [&2]);
    both[1].write(NOW_MS, |register| assert!(register.clear() && !register.clear())).unwrap();
    exchange(&mut both);
    assert_eq!(both[0].state().all().count(), 0);
}

#[test]
fn t04_enable_wins_over_a_concurrent_disable_and_disabling_what_both_saw_disables() {
    let mut both = pair::<Flag>();
    both.iter_mut().for_each(|replica| drop(replica.write(NOW_MS, |flag| flag.enable()).unwrap()));
    exchange(&mut both);
    both[0].write(NOW_MS, |flag| assert!(flag.disable())).unwrap();
    both[1].write(NOW_MS, |flag| flag.enable()).unwrap();
    exchange(&mut both);
    assert!(both[0].state().is_enabled());
    both.iter_mut().for_each(|replica| drop(replica.write(NOW_MS, |flag| flag.disable()).unwrap()));
    exchange(&mut both);
    assert!(!both[0].state().is_enabled());
}

#[test]
fn add_wins_over_a_concurrent_remove_of_the_same_element_only() {
    let mut both = pair::<OrSet<String>>();
    both[0].write(NOW_MS, |set| ["a", "b"].map(|element| set.add(element))).unwrap();
    exchange(&mut both);
    both[0].write(NOW_MS, |set| assert_eq!(set.clear(), 2)).unwrap();
    both[1].write(NOW_MS, |set| set.add("a")).unwrap();
    exchange(&mut both);
    assert_eq!(both[0].state().iter().collect::<Vec<_>>(), ["a"]);
    assert!(both[1].state().contains("a") && both[1].state().len() == 1);
}

#[test]
fn t40_a_reset_takes_what_it_saw_of_a_counter_exactly() {
    let mut both = pair::<Counter>();
    both[0].transact(NOW_MS, |counter| counter.add(10)).unwrap();
    both[1].transact(NOW_MS, |counter| counter.add(5)).unwrap();
    exchange(&mut both);
    both[0].write(NOW_MS, |counter| assert!(counter.reset())).unwrap();
    both[1].transact(NOW_MS, |counter| counter.add(3)).unwrap();
    exchange(&mut both);
    assert_eq!(both[0].state().value(), 3);
    // Both reset, and one counts on in the transaction that resets.
    both[0]
        .transact(NOW_MS, |counter| {
            counter.add(100)?;
            counter.reset();
            counter.add(7)
        })
        .unwrap();
    both[1].write(NOW_MS, |counter| counter.reset()).unwrap();
    exchange(&mut both);
    assert_eq!(both[1].state().value(), 7);
}

#[test]
fn t06_what_was_written_below_a_removed_key_concurrently_survives_and_nothing_else() {
    type Map = MergeMap<u8, MergeMap<u8, OrSet<u8>>>;
    let mut both = pair::<Map>();
    let add = |replica: &mut Replica<Map>, element: u8| {
        replica.write(NOW_MS, |map| map.update(&1, |map| map.update(&1, |set| set.add(&element)))).unwrap();
    };
    add(&mut both[0], 0);
    exchange(&mut both);
    both[0].write(NOW_MS, |map| assert!(map.remove(&1) && !map.remove(&1))).unwrap();
    add(&mut both[1], 1);
    exchange(&mut both);
    add(&mut both[1], 2);
    exchange(&mut both);
    let elements = |replica: &Replica<Map>| {
        let set = replica.state().get(&1).and_then(|map| map.get(&1)).map(OrSet::iter);
        let mut elements: Vec<u8> = set.into_iter().flatten().copied().collect();
        elements.sort_unstable();
        elements
    };
    assert_eq!(elements(&both[0]), [1, 2]);
}

#[test]
fn a_removed_document_leaves_one_tombstone_and_none_once_stable() {
    #[derive(Crdt)]
    struct Wide {
        a: LwwRegister<i64>,
        b: LwwRegister<i64>,
        c: OrSet<u8>,
        d: Flag,
    }
    let mut both = pair::<MergeMap<u8, Wide>>();
    both[0]
        .write(NOW_MS, |map| {
            map.update(&1, |wide| {
                wide.a().set(1);
                wide.b().set(2);
                (0..100).for_each(|element| wide.c().add(&element));
                wide.d().enable();
            });
        })
        .unwrap();
    exchange(&mut both);
    both[0].write(NOW_MS, |map| map.remove(&1)).unwrap();
    let bytes = both[0].delta_since(&both[1].vector()).encode().unwrap();
    assert!(bytes.len() < 48, "{} bytes for one removal", bytes.len());
    exchange(&mut both);
    let ids = [both[0].id(), both[1].id()];
    let vector = both[0].vector();
    for replica in &mut both {
        assert_eq!((replica.state().len(), replica.state().rows()), (0, 1));
        replica.set_members(ids);
        ids.iter().for_each(|id| replica.report(NOW_MS, *id, &vector).unwrap());
        assert_eq!(replica.forget().rows, 1);
        assert_eq!(replica.state().rows(), 0);
    }
}

#[test]
fn b08_documents_keep_concurrent_kinds_apart_and_refuse_a_kind_that_is_not_there() {
    let mut both = pair::<Document>();
    both[0].transact(NOW_MS, |doc| doc.set(&["x"], 1)).unwrap();
    both[1].transact(NOW_MS, |doc| doc.add(&["x", "y"], "tag")).unwrap();
    exchange(&mut both);
    for replica in &both {
        assert_eq!(replica.state().kinds(&["x"]), [Kind::Register, Kind::Map]);
        assert_eq!(replica.state().get(&["x"]), Some(&Value::from(1)));
        assert!(replica.state().set_at(&["x", "y"]).unwrap().contains(&Value::from("tag")));
    }
    let refused = both[0].transact(NOW_MS, |doc| doc.increment(&["x"], 1)).unwrap_err();
    let expected = DocumentError::WrongKind { asked: Kind::Counter, found: Kind::Register };
    assert_eq!(refused, driftless::TransactError::Aborted(expected));
    both[0].transact(NOW_MS, |doc| doc.delete(&["x"])).unwrap();
    both[0].transact(NOW_MS, |doc| doc.increment(&["x"], 1)).unwrap();
    exchange(&mut both);
    assert_eq!(both[1].state().kinds(&["x"]), [Kind::Counter]);
    assert_eq!(both[1].state().to_value().to_string(), r#"{"x":1}"#);
}

#[test]
fn documents_refuse_paths_that_no_peer_would_take() {
    let [mut eu, _] = pair::<Document>();
    let empty: [&str; 0] = [];
    let refused = |error| driftless::TransactError::Aborted(error);
    let set = eu.transact(NOW_MS, |doc| doc.set(&empty, 1));
    assert_eq!(set.unwrap_err(), refused(DocumentError::EmptyPath));
    let delete = eu.transact(NOW_MS, |doc| doc.delete(&empty));
    assert_eq!(delete.unwrap_err(), refused(DocumentError::EmptyPath));
    let deep = vec!["x"; Document::MAX_DEPTH + 1];
    let set = eu.transact(NOW_MS, |doc| doc.set(&deep, 1));
    assert_eq!(set.unwrap_err(), refused(DocumentError::TooDeep { depth: Document::MAX_DEPTH + 1 }));
    let nested = (0..Document::MAX_DEPTH).fold(Value::from(1), |value, _| Value::List(vec![value]));
    let set = eu.transact(NOW_MS, |doc| doc.set(&["x"], nested.clone()));
    assert_eq!(set.unwrap_err(), refused(DocumentError::TooDeep { depth: Document::MAX_DEPTH + 1 }));
    assert!(eu.state().to_value() == Value::Map(Default::default()) && eu.vector().is_empty());

    // The deepest that is taken arrives.
    let path = vec!["x"; Document::MAX_DEPTH];
    eu.transact(NOW_MS, |doc| doc.set(&path, 1)).unwrap();
    let [_, mut us] = pair::<Document>();
    let bytes = eu.delta_since(&us.vector()).encode().unwrap();
    us.merge(NOW_MS, us.decode(&bytes).unwrap()).unwrap();
    assert_eq!(us.state().get(&path), Some(&Value::from(1)));
    assert_eq!(us.digest(), eu.digest());
}

#[test]
fn t39_removing_what_was_never_there_or_twice_is_no_event() {
    let [mut eu, _] = pair::<Document>();
    eu.transact(NOW_MS, |doc| {
        assert!(!doc.delete(&["a", "b"])?);
        assert!(!doc.remove(&["tags"], 1)?);
        assert!(!doc.disable(&["flag"])?);
        Ok::<_, DocumentError>(())
    })
    .unwrap();
    assert!(eu.vector().is_empty());
    assert!(eu.state().names::<&str>(&[]).is_empty());
}

#[test]
fn a_document_within_a_map_is_removed_with_its_key_but_for_what_was_written_concurrently() {
    let mut both = pair::<MergeMap<u8, Document>>();
    assert!(both[0].state().get(&1).is_none());
    both[0]
        .transact(NOW_MS, |map| {
            map.update(&1, |doc| {
                doc.set(&["name"], "Ada")?;
                doc.increment(&["visits"], 2)?;
                doc.enable(&["active"])
            })
        })
        .unwrap();
    exchange(&mut both);
    assert_eq!((both[1].state().len(), both[1].state().contains_key(&1)), (1, true));
    assert!(both[0].write(NOW_MS + 1, |map| map.remove(&1)).unwrap().value);
    assert!(both[0].state().get(&1).is_none() && both[0].state().is_empty());
    both[1].transact(NOW_MS + 1, |map| map.update(&1, |doc| doc.increment(&["visits"], 3))).unwrap();
    exchange(&mut both);
    for replica in &both {
        let doc = replica.state().get(&1).unwrap();
        assert_eq!(doc.to_value().to_string(), r#"{"visits":3}"#);
        assert!(!doc.is_enabled(&["active"]) && doc.get(&["name"]).is_none());
        let copy = doc.clone();
        assert_eq!(copy.to_value(), doc.to_value());
    }
}

#[test]
fn what_lies_as_deep_as_a_document_goes_can_be_deleted() {
    let [mut eu, _] = pair::<Document>();
    let path = vec!["x"; Document::MAX_DEPTH];
    eu.transact(NOW_MS, |doc| doc.set(&path, 1)).unwrap();
    assert!(eu.transact(NOW_MS, |doc| doc.delete(&path)).unwrap().value);
    assert_eq!(eu.state().get(&path), None);
    let deeper = vec!["x"; Document::MAX_DEPTH + 1];
    let refused = eu.transact(NOW_MS, |doc| doc.delete(&deeper)).unwrap_err();
    let too_deep = DocumentError::TooDeep { depth: Document::MAX_DEPTH + 1 };
    assert_eq!(refused, driftless::TransactError::Aborted(too_deep));
}

#[test]
fn of_two_removals_that_saw_one_count_the_later_sight_counts_whichever_comes_first() {
    for order in [[0, 1], [1, 0]] {
        let [mut eu, mut early, mut late, mut reader] =
            [1, 2, 3, 4].map(|id| Replica::<Counter>::new(ReplicaId::from_u128(id), Config::default()));
        let pass = |from: &Replica<Counter>, to: &mut Replica<Counter>| {
            to.merge(NOW_MS, from.delta_since(&to.vector())).unwrap();
        };
        eu.transact(NOW_MS, |count| count.add(5)).unwrap();
        pass(&eu, &mut early);
        eu.transact(NOW_MS, |count| count.add(3)).unwrap();
        pass(&eu, &mut late);
        eu.transact(NOW_MS, |count| count.add(2)).unwrap();
        assert!(early.write(NOW_MS, |count| count.reset()).unwrap().value);
        assert!(late.write(NOW_MS, |count| count.reset()).unwrap().value);
        pass(&eu, &mut reader);
        for remover in order {
            pass([&early, &late][remover], &mut reader);
        }
        assert_eq!(reader.state().value(), 2, "what neither removal had seen");
    }
}
