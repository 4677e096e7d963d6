//! What is forgotten does not come back, and nothing is lost by forgetting.

use driftless::{
    Document, DocumentError, Kind, Limits, MergeError, MergeMap, OrSet, PendingDelta, Replica, ReplicaId,
    Snapshot, Value, VersionVector,
};

use crate::delivery::{Ledger, Numbers, Records, assert_all_same, chunks, copy, fill, observe, transfer};
use crate::{A, B, C, D, LATE_MS, NOW_MS, assert_same, every, receive, replica, sync, three};

/// A replica hears what others hold, and forgets.
fn hear_and_forget(replica: &mut Replica<Records>, others: &[&Replica<Records>]) -> usize {
    others.iter().for_each(|other| replica.report(LATE_MS, other.id(), &other.vector()).unwrap());
    let forgotten = replica.forget();
    forgotten.rows + forgotten.marks
}

#[test]
fn t23_a_put_that_comes_after_its_removal_was_forgotten_is_passed_over() {
    // What comes late: as a message, as chunks, and with all that its sender holds.
    for is_complete in [false, true] {
        for is_removed in [true, false] {
            let [mut a, mut b, mut c] = three::<Records>();
            if is_complete {
                b.set_members([B]);
                b.write(NOW_MS, |records| fill(records, 9, 1)).unwrap();
                b.write(NOW_MS, |records| records.remove(&9)).unwrap();
                assert!(b.forget().rows > 0);
            }
            for replica in [&mut a, &mut b, &mut c] {
                replica.set_members([A, B, C]);
            }
            a.write(NOW_MS + 1, |records| fill(records, 1, 1)).unwrap();
            sync(&a, &mut b);
            let late = b.delta_since(&c.vector());
            assert_eq!(late.is_complete(), is_complete);
            let late_chunks = chunks(b.delta_since(&c.vector()), 60);
            let late = late.encode().unwrap();
            a.write(
                NOW_MS + 2,
                |records| {
                    if is_removed { assert!(records.remove(&1)) } else { fill(records, 1, 2) }
                },
            )
            .unwrap();
            sync(&a, &mut b);
            sync(&b, &mut c);
            sync(&c, &mut a);
            for replica in [&a, &b, &c] {
                assert_eq!(replica.state().contains_key(&1), !is_removed);
            }
            assert!(hear_and_forget(&mut c, &[&a, &b]) > 0 || !is_removed);
            assert_eq!(c.state().rows(), usize::from(!is_removed), "C has swept");
            let before = observe(&c);
            assert!(!receive(&mut c, &late).unwrap().is_news);
            let mut pending = PendingDelta::new(&Limits::default());
            for bytes in &late_chunks {
                if let Some(delta) = pending.push(c.decode(bytes).unwrap()).unwrap() {
                    assert!(!c.merge(LATE_MS, delta).unwrap().is_news);
                }
            }
            assert_eq!(observe(&c), before);
            // Nor does it come back once all have swept, and it is passed on to who comes anew.
            hear_and_forget(&mut a, &[&b, &c]);
            hear_and_forget(&mut b, &[&a, &c]);
            for replica in [&mut a, &mut b] {
                assert!(!receive(replica, &late).unwrap().is_news);
            }
            let mut newcomer = copy(&c, ReplicaId::from_u128(1));
            assert!(!receive(&mut newcomer, &late).unwrap().is_news);
            assert_all_same(&[a, b, c, newcomer]);
        }
    }
}

/// C hears what B holds before it has what B wrote: in all orders in which messages and reports can reach C.
#[test]
fn t24_a_report_that_overtakes_the_data_it_speaks_of_lets_nothing_be_forgotten() {
    let mut waited = 0;
    for order in every::order(6) {
        let [mut a, mut b, mut c] = three::<Records>();
        a.write(NOW_MS, |records| (0..3).for_each(|key| fill(records, key, 1))).unwrap();
        sync(&a, &mut b);
        b.write(NOW_MS + 1, |records| fill(records, 0, 1)).unwrap();
        sync(&b, &mut a);
        sync(&a, &mut c);
        // B writes below what A removes, and has seen the removal by the time it reports.
        b.write(NOW_MS + 2, |records| (0..2).for_each(|key| fill(records, key, 2))).unwrap();
        let old_of_b = b.snapshot();
        a.write(NOW_MS + 2, |records| (0..3).for_each(|key| assert!(records.remove(&key)))).unwrap();
        sync(&a, &mut b);
        c.set_members([A, B, C]);
        let mut ledger = Ledger::default();
        for step in order {
            match step {
                0 => drop(sync(&a, &mut c)),
                1 => c.report(LATE_MS, A, &a.vector()).unwrap(),
                2 => c.report(LATE_MS, B, &b.vector()).unwrap(),
                3 => drop(c.merge(LATE_MS, old_of_b.delta_since(&c.vector())).unwrap()),
                4 => drop(c.merge(LATE_MS, old_of_b.delta_since(&VersionVector::new())).unwrap()),
                _ => drop(sync(&b, &mut c)),
            }
            let covers_b = b.vector().is_within(&c.vector());
            let everything = |c: &Replica<Records>| c.delta_since(&VersionVector::new()).encode().unwrap();
            let before = (c.digest(), everything(&c));
            let forgotten = c.forget();
            assert_eq!(c.digest(), before.0);
            if !covers_b {
                // The report does not count yet, whenever it came: what C would send is the same, marks and all.
                assert_eq!((forgotten.marks, everything(&c)), (0, before.1));
                assert!(forgotten.behind.contains(&B) && c.stable_cut() != c.vector());
                waited += 1;
            }
            ledger.check(&c);
        }
        // All steps together bring all that A and B hold.
        sync(&b, &mut a);
        for (key, visits) in [(0, 2), (1, 2)] {
            let record = c.state().get(&key).unwrap();
            assert_eq!((record.visits.value(), record.name.latest().unwrap().as_str()), (visits, "name 2"));
        }
        assert!(c.state().get(&2).is_none());
        hear_and_forget(&mut c, &[&a, &b]);
        assert_eq!(c.state().rows(), 2, "now it can be forgotten");
        assert_all_same(&[a, b, c]);
    }
    assert!(waited > 1_000);
}

/// The life of two members that remove and forget, step by step.
fn live(step: usize, a: &mut Replica<Records>, b: &mut Replica<Records>) {
    let now_ms = NOW_MS + 10 * step as u64;
    match step {
        0 => drop(a.write(now_ms, |records| (0..6).for_each(|key| fill(records, key, 1))).unwrap()),
        1 => drop(
            b.write(now_ms, |records| {
                assert!(records.remove(&0));
                fill(records, 1, 2);
            })
            .unwrap(),
        ),
        2 => drop(
            a.write(now_ms, |records| {
                assert!(records.remove(&2));
                fill(records, 7, 3);
            })
            .unwrap(),
        ),
        3 => drop(
            b.write(now_ms, |records| {
                fill(records, 0, 4);
                assert!(records.remove(&7));
                assert!(records.update(&3, |record| record.tags().remove(&1)));
            })
            .unwrap(),
        ),
        _ => drop(
            a.write(now_ms, |records| {
                assert!(records.update(&4, |record| record.visits().reset()));
                assert!(records.remove(&5));
            })
            .unwrap(),
        ),
    }
    sync(a, b);
    sync(b, a);
    hear_and_forget(a, &[b]);
    hear_and_forget(b, &[a]);
}

const STEPS: usize = 5;

#[test]
fn t42_who_joins_while_members_forget_misses_nothing_and_brings_nothing_back() {
    let mut complete = 0;
    // When it is sent what it lacks, from whom, when the last of that arrives; whether it is a member from then on; and
    // whether it has written before.
    for number in 0..STEPS * STEPS * 16 {
        let (first, last) = (number % STEPS, number / STEPS % STEPS);
        let [from_b, then_from_b, is_member, has_written] =
            [0, 1, 2, 3].map(|bit| (number / (STEPS * STEPS)) >> bit & 1 == 1);
        if last < first {
            continue;
        }
        let [mut a, mut b, _] = three::<Records>();
        a.set_members([A, B]);
        b.set_members([A, B]);
        let mut joiner = replica::<Records>(D);
        if has_written {
            joiner.write(NOW_MS, |records| [1, 2, 100].map(|key| fill(records, key, 50))).unwrap();
        }
        let mut ledger = Ledger::default();
        let mut under_way = Vec::new();
        for step in 0..STEPS {
            live(step, &mut a, &mut b);
            ledger.check(&a);
            if step == first {
                let source = if from_b { &b } else { &a };
                let delta = source.delta_since(&joiner.vector());
                complete += usize::from(delta.is_complete());
                under_way = chunks(delta, 200);
                if is_member {
                    a.set_members([A, B, D]);
                    b.set_members([A, B, D]);
                }
            }
            if step == last {
                // The transfer has begun at the first step, and its source has gone on since.
                let mut pending = PendingDelta::new(&Limits::default());
                for bytes in &under_way {
                    if let Some(delta) = pending.push(joiner.decode(bytes).unwrap()).unwrap() {
                        joiner.merge(LATE_MS, delta).unwrap();
                    }
                }
                ledger.check(&joiner);
            }
            if step > last {
                sync(if then_from_b { &b } else { &a }, &mut joiner);
                ledger.check(&joiner);
                if step == STEPS - 1 {
                    sync(&joiner, &mut a);
                    hear_and_forget(&mut a, &[&b, &joiner]);
                    hear_and_forget(&mut joiner, &[&a, &b]);
                }
            }
        }
        sync(&a, &mut joiner);
        transfer(&joiner, &mut b, 150);
        transfer(&b, &mut a, 150);
        let mut keys: Vec<u32> = joiner.state().keys().copied().collect();
        keys.sort_unstable();
        // What it has written itself survives, as nobody who removed it had seen it; nothing else that was removed does.
        let expected: &[u32] = if has_written { &[0, 1, 2, 3, 4, 100] } else { &[0, 1, 3, 4] };
        assert_eq!(keys, expected);
        if has_written {
            let own = joiner.state().get(&2).unwrap();
            assert_eq!((own.visits.value(), own.name.all().count()), (50, 1));
            assert_eq!(joiner.state().get(&1).unwrap().visits.value(), 1 + 2 + 50);
        }
        assert_eq!(joiner.state().get(&0).unwrap().visits.value(), 4);
        assert_eq!(joiner.state().get(&4).unwrap().visits.value(), 0);
        assert_all_same(&[a, b, joiner]);
    }
    assert!(complete > 100);
}

/// When who fetches a snapshot and then a delta crashes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Crash {
    Never,
    AmidTheSnapshot,
    BeforeTheDelta,
    AfterTheDelta,
}

#[test]
fn t43_a_crash_between_a_snapshot_and_the_delta_on_top_of_it_loses_nothing() {
    use Crash::{AfterTheDelta, AmidTheSnapshot, BeforeTheDelta, Never};
    for crash in [Never, AmidTheSnapshot, BeforeTheDelta, AfterTheDelta] {
        // What it has merged is lost with its id, or it has kept it.
        for is_durable in [false, true] {
            let [mut eu, mut us, _] = three::<Records>();
            eu.set_members([A]);
            (0..STEPS).for_each(|step| live_alone(step, &mut eu));
            let snapshot = eu.snapshot();
            let at_snapshot = snapshot.vector();
            eu.write(NOW_MS + 90, |records| {
                fill(records, 1, 9);
                assert!(records.remove(&3));
            })
            .unwrap();
            let delta = eu.delta_since(&at_snapshot).encode().unwrap();
            // Who has the delta alone has nothing.
            assert!(matches!(receive(&mut us, &delta), Err(MergeError::Gap { .. })));
            let restart = |us: Replica<Records>| {
                if is_durable { us } else { replica(ReplicaId::from_u128(1 << 70)) }
            };
            let mut pending = PendingDelta::new(&Limits::default());
            let messages = chunks(snapshot.delta_since(&us.vector()), 150);
            assert!(messages.len() > 2);
            for (number, bytes) in messages.iter().enumerate() {
                if crash == AmidTheSnapshot && number == 2 {
                    us = restart(us);
                    pending = PendingDelta::new(&Limits::default());
                }
                // After a crash within it, what comes of it is refused.
                match pending.push(us.decode(bytes).unwrap()) {
                    Ok(Some(whole)) => drop(us.merge(LATE_MS, whole).unwrap()),
                    Ok(None) => {}
                    Err(_) => assert!(crash == AmidTheSnapshot && number >= 2),
                }
            }
            if crash == BeforeTheDelta {
                us = restart(us);
            }
            let holds_snapshot = crash != AmidTheSnapshot && (crash != BeforeTheDelta || is_durable);
            if holds_snapshot {
                assert_eq!((us.vector(), us.digest()), (at_snapshot.clone(), snapshot.digest()));
            } else {
                assert!(us.vector().is_empty());
            }
            let merged = receive(&mut us, &delta);
            match merged {
                Ok(merged) => assert!(holds_snapshot && merged.is_news),
                Err(error) => {
                    assert!(!holds_snapshot && matches!(error, MergeError::Gap { .. }), "{error}");
                }
            }
            if crash == AfterTheDelta {
                us = restart(us);
            }
            // From wherever it is, one exchange brings the rest, and the old snapshot does not bring back what it held.
            us.write(NOW_MS + 95, |records| fill(records, 50, 5)).unwrap();
            transfer(&eu, &mut us, 150);
            assert!(!us.merge(LATE_MS, snapshot.delta_since(&VersionVector::new())).unwrap().is_news);
            assert!(us.state().get(&3).is_none() && us.state().get(&50).is_some());
            sync(&us, &mut eu);
            assert_same(&us, &eu);
        }
    }
}

/// As [`live`], by one member alone.
fn live_alone(step: usize, eu: &mut Replica<Records>) {
    eu.write(NOW_MS + step as u64, |records| {
        (0..6).for_each(|key| fill(records, key, step as u32 + 1));
        records.remove(&(step as u32));
    })
    .unwrap();
    assert!(eu.forget().rows > 0);
}

#[test]
fn b56_forgetting_lowers_no_vector_and_no_stamp_that_was_ever_seen() {
    let mut numbers = Numbers::new(56);
    let mut replicas = three::<Records>();
    let ids = [A, B, C];
    let mut greatest: [Vec<(ReplicaId, VersionVector)>; 3] = Default::default();
    let mut stable: [VersionVector; 3] = Default::default();
    let mut old: Vec<Snapshot<Records>> = Vec::new();
    let mut ledger = Ledger::default();
    let (mut forgotten, mut complete) = (0, 0);
    replicas.iter_mut().for_each(|replica| replica.set_members(ids));
    for step in 0..3_000_u64 {
        let (at, other) = (numbers.place(3), numbers.place(3));
        let number = numbers.below(12) as u32;
        match numbers.below(8) {
            0 => drop(replicas[at].write(NOW_MS + step, |records| fill(records, number, number)).unwrap()),
            1 => drop(replicas[at].write(NOW_MS + step, |records| records.remove(&number)).unwrap()),
            2 => {
                let delta = replicas[other].delta_since(&replicas[at].vector());
                complete += usize::from(delta.is_complete());
                replicas[at].merge(LATE_MS, delta).unwrap();
            }
            3 if !old.is_empty() => {
                // All that one held a while ago, forgotten marks and all.
                let stale = old[numbers.place(old.len())].delta_since(&VersionVector::new());
                replicas[at].merge(LATE_MS, stale).unwrap();
            }
            4 => {
                let vector = replicas[other].vector();
                replicas[at].report(LATE_MS, ids[other], &vector).unwrap();
            }
            5 => old.push(replicas[at].snapshot()),
            _ => {
                let stamps = |replica: &Replica<Records>| -> Vec<_> {
                    let mut stamps: Vec<_> = replica
                        .state()
                        .iter()
                        .map(|(key, record)| {
                            (*key, record.name.stamped().map(|(stamp, _)| stamp).collect::<Vec<_>>())
                        })
                        .collect();
                    stamps.sort_unstable();
                    stamps
                };
                let replica = &mut replicas[at];
                let before = (replica.vector(), replica.clock().last(), replica.canonical_bytes());
                let stamps_before = stamps(replica);
                // Now and then without waiting for the others, who are sent all there is when they return.
                if number == 0 {
                    replica.set_members([ids[at]]);
                }
                forgotten += replica.forget().rows;
                replica.set_members(ids);
                assert_eq!((replica.vector(), replica.clock().last(), replica.canonical_bytes()), before);
                assert_eq!(stamps(replica), stamps_before);
            }
        }
        let replica = &replicas[at];
        ledger.check(replica);
        for (id, vector) in std::mem::take(&mut greatest[at]) {
            let known = replica.known_vectors();
            let now = known.iter().find(|(other, _)| *other == id);
            assert!(now.is_some_and(|(_, now)| vector.is_within(now)), "{vector:?} of {id} in {known:?}");
        }
        greatest[at] = replica.known_vectors();
        let now = replica.stable_cut();
        assert!(stable[at].is_within(&now), "{:?} is lowered to {now:?}", stable[at]);
        stable[at] = now;
    }
    assert!(forgotten > 30 && complete > 30, "{forgotten} {complete}");
}

#[test]
fn b72_what_was_deleted_during_a_partition_and_forgotten_stays_deleted_when_it_heals() {
    for order in every::order(4) {
        let [mut a, mut b, mut c] = three::<Records>();
        a.write(NOW_MS, |records| (0..5).for_each(|key| fill(records, key, 1))).unwrap();
        sync(&a, &mut b);
        sync(&a, &mut c);
        // Of before the partition, and under way ever since.
        let out_of_order = c.delta_since(&VersionVector::new()).encode().unwrap();
        a.write(NOW_MS + 1, |records| (0..3).for_each(|key| assert!(records.remove(&key)))).unwrap();
        c.write(NOW_MS + 1, |records| {
            fill(records, 1, 2);
            fill(records, 8, 2);
            assert!(records.remove(&4));
        })
        .unwrap();
        sync(&a, &mut b);
        for (replica, other) in [(&mut a, B), (&mut b, A)] {
            replica.set_members([A, B]);
            replica.report(LATE_MS, other, &replica.vector()).unwrap();
            assert!(replica.forget().rows > 0, "forgotten without C");
        }
        b.write(NOW_MS + 2, |records| fill(records, 2, 3)).unwrap();
        for replica in [&mut a, &mut b, &mut c] {
            replica.set_members([A, B, C]);
        }
        let mut ledger = Ledger::default();
        for step in order {
            match step {
                0 => drop(sync(&a, &mut c)),
                1 => drop(sync(&c, &mut b)),
                2 => {
                    for replica in [&mut a, &mut b] {
                        assert!(!receive(replica, &out_of_order).unwrap().is_news);
                    }
                }
                _ => drop(sync(&b, &mut a)),
            }
            [&a, &b, &c].into_iter().for_each(|replica| ledger.check(replica));
            assert!(a.state().get(&0).is_none() && b.state().get(&0).is_none());
        }
        for _ in 0..2 {
            sync(&a, &mut c);
            sync(&c, &mut b);
            sync(&b, &mut a);
        }
        let mut keys: Vec<u32> = a.state().keys().copied().collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [1, 2, 3, 8],
            "0 and 4 are gone for good, 1 was written in the partition, 2 after it"
        );
        let visits = |key: u32| a.state().get(&key).unwrap().visits.value();
        assert_eq!((visits(1), visits(2), visits(3), visits(8)), (2, 3, 1, 2));
        assert_all_same(&[a, b, c]);
    }
}

/// A field is dropped, added again as another kind, and one returns who has the old schema, and wrote under it.
#[test]
fn b72_a_field_that_was_dropped_and_added_again_neither_returns_nor_is_lost_by_an_old_schema() {
    for wrote_meanwhile in [false, true] {
        let [mut a, mut b, mut old] = three::<Document>();
        a.transact(NOW_MS, |doc| {
            doc.set(&["user", "age"], 36)?;
            doc.set(&["user", "name"], "Ada")
        })
        .unwrap();
        sync(&a, &mut b);
        sync(&a, &mut old);
        a.transact(NOW_MS + 1, |doc| doc.delete(&["user", "age"])).unwrap();
        sync(&a, &mut b);
        for (replica, other) in [(&mut a, B), (&mut b, A)] {
            replica.set_members([A, B]);
            replica.report(LATE_MS, other, &replica.vector()).unwrap();
            assert!(replica.forget().rows > 0);
        }
        b.transact(NOW_MS + 2, |doc| doc.increment(&["user", "age"], 5)).unwrap();
        sync(&b, &mut a);
        if wrote_meanwhile {
            old.transact(NOW_MS + 2, |doc| doc.set(&["user", "age"], 37)).unwrap();
        }
        for _ in 0..2 {
            sync(&a, &mut old);
            sync(&old, &mut b);
            sync(&b, &mut a);
        }
        for replica in [&a, &b, &old] {
            let state = replica.state();
            assert_eq!(state.counter(&["user", "age"]).unwrap().value(), 5);
            assert_eq!(state.get(&["user", "name"]), Some(&Value::from("Ada")));
            let register = state.register(&["user", "age"]).and_then(|age| age.latest());
            assert_eq!(register, wrote_meanwhile.then_some(&Value::from(37)), "36 has not come back");
        }
        assert_all_same(&[a, b, old]);
    }
    // To write a dropped field as what it was is an error that says what it is now.
    let mut doc = replica::<Document>(A);
    doc.transact(NOW_MS, |doc| doc.increment(&["age"], 1)).unwrap();
    let refused = doc.transact(NOW_MS, |doc| doc.set(&["age"], 1)).unwrap_err();
    let expected = DocumentError::WrongKind { asked: Kind::Register, found: Kind::Counter };
    assert_eq!(refused, driftless::TransactError::Aborted(expected));
}

/// A set below a key, removed and forgotten, and an old addition to it: to the set, and to the map.
#[test]
fn b72_an_old_addition_to_what_was_removed_around_it_stays_out() {
    type Sets = MergeMap<u8, OrSet<u32>>;
    let [mut a, mut b, mut c] = three::<Sets>();
    a.write(NOW_MS, |sets| sets.update(&1, |set| (0..40).for_each(|element| set.add(&element)))).unwrap();
    let mut old = vec![a.delta_since(&VersionVector::new()).encode().unwrap()];
    let first = a.vector();
    a.write(NOW_MS + 1, |sets| sets.update(&1, |set| set.add(&77))).unwrap();
    old.push(a.delta_since(&first).encode().unwrap());
    sync(&a, &mut b);
    sync(&a, &mut c);
    c.write(NOW_MS + 2, |sets| sets.update(&1, |set| set.add(&88))).unwrap();
    b.write(NOW_MS + 2, |sets| sets.remove(&1)).unwrap();
    sync(&b, &mut a);
    for replica in [&mut a, &mut b] {
        replica.set_members([A, B]);
        let vector = replica.vector();
        replica.report(LATE_MS, if replica.id() == A { B } else { A }, &vector).unwrap();
        assert_eq!((replica.forget().rows, replica.state().rows()), (1, 0));
        for bytes in &old {
            assert!(!receive(replica, bytes).unwrap().is_news);
        }
    }
    // C, who was left out, still holds all of it.
    sync(&c, &mut a);
    sync(&a, &mut b);
    sync(&b, &mut c);
    assert!(a.state().get(&1).unwrap().iter().eq([&88]));
    assert_all_same(&[a, b, c]);
}
