//! What passes through several replicas, in chunks or as a whole, is what a direct path would have brought.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use driftless::{
    Config, Counter, Crdt, Limits, LwwRegister, MergeMap, OrSet, PendingDelta, PendingError, Replica,
    ReplicaId, VersionVector,
};

const NOW_MS: u64 = 1_700_000_000_000;

fn replica<S: Crdt>(id: u128) -> Replica<S> {
    Replica::new(ReplicaId::from_u128(id), Config::default())
}

/// Ships all that `to` lacks in chunks of so many bytes.
fn ship<S: Crdt>(from: &Replica<S>, to: &mut Replica<S>, chunk_bytes: usize) {
    let mut pending = PendingDelta::new(&Limits::default());
    for bytes in from.delta_since(&to.vector()).into_chunks(chunk_bytes) {
        if let Some(delta) = pending.push(to.decode(&bytes.unwrap()).unwrap()).unwrap() {
            to.merge(NOW_MS + 100, delta).unwrap();
        }
    }
}

/// A row that is cut within, beside rows that were removed: complete, and merged by a replica that holds most of it.
#[test]
fn b12_a_row_that_is_cut_beside_removed_ones_arrives_whole_at_a_replica_that_returns() {
    type Sets = MergeMap<u8, OrSet<u32>>;
    for chunk_bytes in (60..1_500).step_by(37) {
        let (mut eu, mut us, mut ap) = (replica::<Sets>(1), replica::<Sets>(2), replica::<Sets>(3));
        eu.write(NOW_MS, |sets| {
            (0..3).for_each(|key| {
                sets.update(&key, |set| (0..300).for_each(|element| set.add(&element)));
            });
        })
        .unwrap();
        us.merge(NOW_MS, eu.delta_since(&us.vector())).unwrap();
        ap.merge(NOW_MS, eu.delta_since(&ap.vector())).unwrap();
        // Without ap: something is removed and forgotten, then more is removed and not forgotten.
        let (eu_id, us_id) = (eu.id(), us.id());
        eu.set_members([eu_id, us_id]);
        eu.write(NOW_MS + 1, |sets| sets.update(&1, |set| set.remove(&7))).unwrap();
        us.merge(NOW_MS + 1, eu.delta_since(&us.vector())).unwrap();
        eu.report(NOW_MS + 1, us_id, &us.vector()).unwrap();
        assert!(eu.forget().rows > 0);
        eu.write(NOW_MS + 2, |sets| {
            (10..14).for_each(|key| sets.update(&key, |set| set.add(&1)));
            (10..14).for_each(|key| assert!(sets.remove(&key)));
        })
        .unwrap();
        ap.write(NOW_MS + 2, |sets| sets.update(&2, |set| set.add(&9_999))).unwrap();
        assert!(eu.delta_since(&ap.vector()).is_complete());
        ship(&eu, &mut ap, chunk_bytes);
        ship(&ap, &mut eu, chunk_bytes);
        assert_eq!(ap.vector(), eu.vector());
        assert_eq!(ap.digest(), eu.digest(), "chunks of {chunk_bytes} bytes");
        assert_eq!(ap.state().get(&2).unwrap().len(), 301);
        assert_eq!(ap.state().get(&1).unwrap().len(), 299);
    }
}

/// Counters that were removed leave records alone, without a mark: they must pass through a relay with the rest.
#[test]
fn t45_what_a_removal_saw_of_many_counters_passes_through_a_relay() {
    type Counters = MergeMap<u8, MergeMap<u8, Counter>>;
    for chunk_bytes in [50, 300, 1 << 20] {
        let [mut a, mut b, mut c, mut d] = [1, 2, 3, 4].map(replica::<Counters>);
        let count = |replica: &mut Replica<Counters>, by: i64| {
            replica
                .transact(NOW_MS, |map| {
                    (0..40).try_for_each(|key| map.update(&1, |map| map.update(&key, |n| n.add(by))))
                })
                .unwrap();
        };
        count(&mut b, 5);
        a.merge(NOW_MS, b.delta_since(&a.vector())).unwrap();
        a.write(NOW_MS + 1, |map| map.remove(&1)).unwrap();
        count(&mut b, 3);
        ship(&a, &mut c, chunk_bytes);
        ship(&c, &mut d, chunk_bytes);
        for replica in [&mut c, &mut d] {
            ship(&b, replica, chunk_bytes);
            let counters = replica.state().get(&1).unwrap();
            assert_eq!(counters.len(), 40);
            assert!(counters.iter().all(|(_, counter)| counter.value() == 3));
        }
        assert_eq!(c.digest(), d.digest());
    }
}

#[test]
fn chunks_of_two_cuts_of_one_delta_do_not_mix() {
    let mut eu = replica::<MergeMap<u32, LwwRegister<u32>>>(1);
    eu.write(NOW_MS, |map| (0..500).for_each(|key| map.update(&key, |value| value.set(key)))).unwrap();
    let us = replica::<MergeMap<u32, LwwRegister<u32>>>(2);
    let cut = |bytes: usize| -> Vec<Vec<u8>> {
        eu.delta_since(&VersionVector::new()).into_chunks(bytes).map(Result::unwrap).collect()
    };
    let (small, large) = (cut(300), cut(700));
    let mut pending = PendingDelta::new(&Limits::default());
    pending.push(us.decode(&small[0]).unwrap()).unwrap();
    let refused = pending.push(us.decode(&large[1]).unwrap()).unwrap_err();
    assert_eq!(refused, PendingError::OtherTransfer);
    assert!(pending.push(us.decode(&small[1]).unwrap()).unwrap().is_none());
}

#[test]
fn a_counter_that_very_many_replicas_counted_in_is_still_shipped() {
    let mut eu = replica::<Counter>(1);
    for id in 2..1_500 {
        let mut other = replica::<Counter>(id << 64 | id);
        other.transact(NOW_MS, |counter| counter.add(1)).unwrap();
        eu.merge(NOW_MS, other.delta_since(&VersionVector::new())).unwrap();
    }
    let mut us = replica::<Counter>(1_500);
    us.merge(NOW_MS, us.decode(&eu.delta_since(&us.vector()).encode().unwrap()).unwrap()).unwrap();
    assert_eq!(us.state().value(), 1_498);
}

#[test]
fn an_undone_transaction_costs_later_deltas_nothing() {
    let (mut eu, mut us) = (replica::<OrSet<u32>>(1), replica::<OrSet<u32>>(2));
    eu.write(NOW_MS, |set| (0..10_000).for_each(|element| set.add(&element))).unwrap();
    us.merge(NOW_MS, eu.delta_since(&us.vector())).unwrap();
    eu.transact(NOW_MS + 1, |set| {
        (0..10_000).for_each(|element| set.add(&element));
        Err::<(), _>(())
    })
    .unwrap_err();
    assert_eq!(eu.delta_since(&us.vector()).rows_visited(), 0);
    eu.write(NOW_MS + 2, |set| set.add(&1)).unwrap();
    us.merge(NOW_MS + 2, eu.delta_since(&us.vector())).unwrap();
    eu.write(NOW_MS + 3, |set| set.add(&2)).unwrap();
    let visited = eu.delta_since(&us.vector()).rows_visited();
    assert!(visited <= 2 * 64, "{visited} rows visited for one change");
}

#[test]
fn a_removal_passes_through_a_relay_whatever_the_size_of_the_map() {
    for keys in [1, 16, 17, 500] {
        let [mut eu, mut us, mut ap] = [1, 2, 3].map(replica::<MergeMap<u32, LwwRegister<u32>>>);
        let fill = |map: &mut <MergeMap<u32, LwwRegister<u32>> as Crdt>::Mut<'_>| {
            (0..keys).for_each(|key| map.update(&key, |register| register.set(key)));
        };
        eu.write(NOW_MS, fill).unwrap();
        ship(&eu, &mut us, 1_000);
        ship(&us, &mut ap, 1_000);
        assert!(eu.write(NOW_MS + 1, |map| map.remove(&0)).unwrap().value);
        ship(&eu, &mut us, 1_000);
        ship(&us, &mut ap, 1_000);
        assert_eq!(ap.vector(), eu.vector());
        assert_eq!(ap.digest(), eu.digest(), "{keys} keys");
        assert!(!ap.state().contains_key(&0));
    }
}
