//! Stamps, ties and wrong clocks.

use driftless::{
    ClockError, Config, Counter, Crdt, Document, Flag, Limits, LwwRegister, MergeError, MergeMap, MvRegister,
    OrSet, PendingDelta, Replica, ReplicaId, Timestamp, Value, VersionVector, WriteError,
};

use crate::delivery::{Ledger, chunks, copy, observe};
use crate::ingress::{every_way_is_refused, with_honest_data};
use crate::{A, B, C, LATE_MS, NOW_MS, assert_same, every, exchange, replica, sync, three};

type Register = LwwRegister<String>;
type Registers = MergeMap<u32, LwwRegister<u32>>;

fn latest(replica: &Replica<Register>) -> &str {
    replica.state().latest().map_or("", String::as_str)
}

fn stamp(ms: u64, counter: u16) -> Timestamp {
    Timestamp::new(ms, counter).unwrap()
}

/// The value that last-writer-wins read, of which only a part of the replicas knows, is removed: what lost to it is read.
#[test]
fn t09_a_loser_is_read_again_once_the_winner_is_removed_in_all_twelve_trees() {
    let history = || {
        let [mut a, mut b, mut c] = three::<Register>();
        b.write(NOW_MS + 3, |name| name.set("e")).unwrap();
        a.write(NOW_MS + 4, |name| name.set("f")).unwrap();
        sync(&a, &mut c);
        assert!(c.write(NOW_MS + 5, |name| name.clear()).unwrap().value);
        [a, b, c]
    };
    let [a, b, c] = history();
    assert_eq!(latest(&every::merge_tree(&[&a, &b])), "f");
    assert_eq!(latest(&every::merge_tree(&[&a, &c])), "");
    assert_eq!(latest(&every::merge_tree(&[&b, &c])), "e");
    let all = every::merge_tree(&[&a, &b, &c]);
    assert_eq!(all.state().stamped().collect::<Vec<_>>(), [(stamp(NOW_MS + 3, 0), &"e".to_owned())]);
    every::convergence(|| history().into(), |replica| assert_eq!(latest(replica), "e"), true);
}

#[test]
fn t16_of_equal_stamps_the_greater_id_wins_whatever_the_values_and_the_number_of_writes() {
    for order in every::order(3) {
        for writes in [1, 3] {
            let values = ["a", "m", "z"];
            let mut replicas = three::<Register>();
            for (at, replica) in replicas.iter_mut().enumerate() {
                // The same number of writes, all in one millisecond: stamp for stamp the same.
                for _ in 0..writes {
                    replica.write(NOW_MS, |name| name.set(values[order[at]])).unwrap();
                }
                assert_eq!(replica.clock().last(), stamp(NOW_MS, writes - 1));
            }
            let all = every::merge_tree(&replicas.each_ref());
            assert_eq!(latest(&all), values[order[2]]);
            assert_eq!(
                all.state().all().collect::<Vec<_>>(),
                order.iter().map(|at| values[*at]).collect::<Vec<_>>()
            );
        }
    }
    // Equal counts of equal stamps are two counts.
    let mut counters = three::<Counter>();
    counters.iter_mut().for_each(|counter| drop(counter.transact(NOW_MS, |n| n.add(45)).unwrap()));
    assert_eq!(every::merge_tree(&counters.each_ref()).state().value(), 135);
}

#[test]
fn t29_commits_of_one_millisecond_on_both_sides_of_the_sync_head_all_arrive() {
    // Two authors take turns in every pattern, all within one millisecond; a reader is synced in between, or not.
    for pattern in 0..1_u32 << 8 {
        let [mut a, mut b, mut reader] = three::<Registers>();
        for step in 0..4 {
            let author = if pattern >> (2 * step) & 1 == 0 { &mut a } else { &mut b };
            let before = author.vector();
            author.write(NOW_MS, |map| map.update(&step, |value| value.set(step))).unwrap();
            let one = author.delta_since(&before);
            assert_eq!(one.to().get(&author.id()), author.clock().last());
            if pattern >> (2 * step + 1) & 1 == 1 {
                sync(author, &mut reader);
                // The head of the sync is the last commit: nothing is sent twice.
                assert!(author.delta_since(&reader.vector()).is_empty());
            }
        }
        sync(&a, &mut reader);
        sync(&b, &mut reader);
        let mut held: Vec<_> =
            reader.state().iter().map(|(key, value)| (*key, *value.latest().unwrap())).collect();
        held.sort_unstable();
        assert_eq!(held, [(0, 0), (1, 1), (2, 2), (3, 3)]);
        exchange(&mut a, &mut b);
        assert_same(&a, &reader);
    }
}

#[test]
fn t30_more_commits_in_one_millisecond_than_a_stamp_can_count_stay_in_order() {
    const COMMITS: u32 = (1 << 18) + 1;
    const KEYS: u32 = 64;
    let mut eu = replica::<Registers>(A);
    // Readers that hold the first commits up to both sides of each carry.
    let mut readers = Vec::new();
    let mut last = Timestamp::ZERO;
    for commit in 0..COMMITS {
        let write =
            |map: &mut <Registers as Crdt>::Mut<'_>| map.update(&(commit % KEYS), |value| value.set(commit));
        let issued = eu.write(NOW_MS, write).unwrap().stamp.unwrap();
        assert!(issued > last, "{issued} after {last}");
        last = issued;
        if commit % (1 << 16) >= (1 << 16) - 2 || commit % (1 << 16) == 1 {
            readers.push(copy(&eu, B));
        }
    }
    assert_eq!(last, stamp(NOW_MS + 4, 0), "the counter has carried four times");
    for mut reader in readers {
        sync(&eu, &mut reader);
        assert_same(&eu, &reader);
        for key in 0..KEYS {
            let newest = (COMMITS - 1) - (COMMITS - 1 - key) % KEYS;
            assert_eq!(reader.state().get(&key).unwrap().latest(), Some(&newest));
        }
    }
    // Who accepts no more than is ahead by now says so; a little later all is taken.
    let mut strict = Replica::<Registers>::new(B, Config { max_ahead_ms: 3, ..Config::default() });
    let refused = strict.merge(NOW_MS, eu.delta_since(&strict.vector())).unwrap_err();
    assert_eq!(refused, MergeError::TooFarAhead { id: A, stamp: last, bound_ms: NOW_MS + 3 });
    strict.merge(NOW_MS + 1, eu.delta_since(&strict.vector())).unwrap();
    // Once time has caught up, it leads again.
    let next = eu.write(NOW_MS + 4, |map| map.update(&0, |value| value.set(7_u32))).unwrap();
    assert_eq!(next.stamp, Some(stamp(NOW_MS + 4, 1)));
    let next = eu.write(NOW_MS + 5, |map| map.update(&0, |value| value.set(8_u32))).unwrap();
    assert_eq!(next.stamp, Some(stamp(NOW_MS + 5, 0)));
}

const HOUR_MS: u64 = 3_600_000;

#[test]
fn t31_what_is_written_after_the_clock_stepped_back_wins_here_and_elsewhere() {
    type State = MergeMap<u8, MergeMap<u8, Register>>;
    let read = |replica: &Replica<State>, key: u8| -> Option<String> {
        let name = replica.state().get(&1)?.get(&key)?.latest();
        name.cloned()
    };
    let set = |replica: &mut Replica<State>, now_ms: u64, key: u8, value: &str| {
        let committed =
            replica.write(now_ms, |map| map.update(&1, |map| map.update(&key, |name| name.set(value))));
        committed.unwrap().stamp.unwrap()
    };
    for others_step_too in [false, true] {
        let [mut a, mut b, c] = three::<State>();
        let first = [1, 2, 3].map(|key| set(&mut a, NOW_MS, key, "before")).into_iter().max();
        sync(&a, &mut b);
        // Writes over its own, removes its own, removes and writes again.
        let over = set(&mut a, NOW_MS - HOUR_MS, 1, "after");
        assert!(Some(over) > first);
        a.write(NOW_MS - HOUR_MS, |map| map.update(&1, |map| map.remove(&2))).unwrap();
        a.write(NOW_MS - HOUR_MS, |map| map.update(&1, |map| map.remove(&3))).unwrap();
        set(&mut a, NOW_MS - HOUR_MS, 3, "again");
        let reads = |replica: &Replica<State>| [1, 2, 3].map(|key| read(replica, key));
        let expected = [Some("after".to_owned()), None, Some("again".to_owned())];
        assert_eq!(reads(&a), expected);
        sync(&a, &mut b);
        assert_eq!(reads(&b), expected);
        assert_same(&a, &b);
        // What another one writes over it, with its own clock right or an hour behind, wins as well.
        let now_ms = if others_step_too { NOW_MS - HOUR_MS } else { NOW_MS };
        assert!(set(&mut b, now_ms, 1, "of b") > over);
        assert_eq!(reads(&every::merge_tree(&[&a, &b, &c]))[0].as_deref(), Some("of b"));
    }
}

#[test]
fn t33_with_a_clock_that_is_stuck_every_write_still_comes_after_those_it_has_seen() {
    let [mut a, mut b, _] = three::<Register>();
    for clock_ms in [0, 1, NOW_MS] {
        let mut newest = Timestamp::ZERO;
        for round in 0..300 {
            let value = format!("{clock_ms} {round}");
            let issued = a.write(clock_ms, |name| name.set(value.as_str())).unwrap().stamp.unwrap();
            assert!(issued > newest);
            newest = issued;
            if round % 3 > 0 {
                sync(&a, &mut b);
                assert_eq!(latest(&b), value);
                assert_same(&a, &b);
                std::mem::swap(&mut a, &mut b);
            }
        }
    }
}

/// What several batches of one stamp wrote: each over a range of keys.
fn batches(ranges: [std::ops::Range<u32>; 3]) -> [Replica<Registers>; 3] {
    let mut replicas = three::<Registers>();
    for (at, (replica, range)) in replicas.iter_mut().zip(ranges).enumerate() {
        let expected = (!range.is_empty()).then_some(stamp(NOW_MS, 0));
        let batch = |map: &mut <Registers as Crdt>::Mut<'_>| {
            range.for_each(|key| map.update(&key, |value| value.set(at as u32)));
        };
        assert_eq!(replica.write(NOW_MS, batch).unwrap().stamp, expected);
    }
    replicas
}

/// Who wrote what is read at each key of a range: those of whom there is any.
fn writers(replica: &Replica<Registers>, mut keys: std::ops::Range<u32>) -> Vec<u32> {
    let read = |key: u32| replica.state().get(&key)?.latest().copied();
    let mut writers: Vec<u32> = keys.by_ref().filter_map(read).collect();
    writers.sort_unstable();
    writers.dedup();
    writers
}

#[test]
fn t34_of_two_commits_of_one_stamp_the_result_is_wholly_one() {
    let [a, b, c] = batches([0..50, 0..50, 0..0]);
    assert!(c.vector().is_empty(), "a commit without events takes no stamp");
    assert_eq!(writers(&every::merge_tree(&[&a, &b, &c]), 0..50), [1]);
    for (first, second) in [(&a, &b), (&b, &a)] {
        let mut reader = copy(first, C);
        let only = if std::ptr::eq(first, &a) { 0 } else { 1 };
        assert_eq!(writers(&reader, 0..50), [only]);
        // Part of the second takes no effect; all of it does at once.
        let mut pending = PendingDelta::new(&Limits::default());
        for bytes in chunks(second.delta_since(&reader.vector()), 80) {
            assert_eq!(writers(&reader, 0..50), [only]);
            if let Some(delta) = pending.push(reader.decode(&bytes).unwrap()).unwrap() {
                reader.merge(LATE_MS, delta).unwrap();
            }
        }
        assert_eq!(writers(&reader, 0..50), [1]);
    }
}

#[test]
fn b26_batches_of_one_stamp_over_the_same_keys_do_not_interleave() {
    let ranges = [0..60, 40..100, 50..90];
    // Wherever ranges overlap, all keys of the overlap read one batch: that of the greatest id that is there.
    for order in every::order(3) {
        let replicas = batches(ranges.clone());
        let mut reader = replica::<Registers>(ReplicaId::from_u128(1));
        let mut there = Vec::new();
        for at in order {
            sync(&replicas[at], &mut reader);
            there.push(at as u32);
            for start in (0..100).step_by(10) {
                let covers = |at: &u32| ranges[*at as usize].contains(&start);
                let expected = there.iter().copied().filter(covers).max();
                assert_eq!(writers(&reader, start..start + 10), Vec::from_iter(expected));
            }
        }
    }
    let expected = every::merge_tree(&batches(ranges).each_ref());
    let history = || batches([0..60, 40..100, 50..90]).into();
    every::convergence(history, |replica| assert_same(replica, &expected), false);
}

/// Something is written and removed with equal stamps by two replicas that had both seen it.
fn write_against_removal<S: Crdt>(
    first: impl Fn(&mut S::Mut<'_>),
    write: impl Fn(&mut S::Mut<'_>),
    remove: impl Fn(&mut S::Mut<'_>),
    is_there: impl Fn(&S) -> bool,
) {
    // The writer's id is the greater one, then the smaller one.
    for (writer, remover) in [(C, B), (B, C)] {
        let mut base = replica::<S>(A);
        base.write(NOW_MS - 1, &first).unwrap();
        let (mut writer, mut remover) = (copy(&base, writer), copy(&base, remover));
        assert_eq!(writer.write(NOW_MS, &write).unwrap().stamp, Some(stamp(NOW_MS, 0)));
        assert_eq!(remover.write(NOW_MS, &remove).unwrap().stamp, Some(stamp(NOW_MS, 0)));
        assert!(is_there(writer.state()) && !is_there(remover.state()));
        // Two readers see them in opposite orders; what was removed survives, as it was written concurrently.
        let (mut one, mut other) =
            (copy(&base, ReplicaId::from_u128(1)), copy(&base, ReplicaId::from_u128(2)));
        sync(&writer, &mut one);
        sync(&remover, &mut one);
        sync(&remover, &mut other);
        assert!(!is_there(other.state()));
        sync(&writer, &mut other);
        assert!(is_there(one.state()) && is_there(other.state()));
        assert_same(&one, &other);
        assert_same(&one, &every::merge_tree(&[&base, &writer, &remover]));
    }
}

#[test]
fn b23_a_write_and_a_removal_of_one_stamp_give_the_same_in_both_orders() {
    write_against_removal::<Register>(
        |name| name.set("old"),
        |name| name.set("new"),
        |name| assert!(name.clear()),
        |name| name.latest().is_some(),
    );
    write_against_removal::<OrSet<u8>>(
        |set| set.add(&1),
        |set| set.add(&1),
        |set| assert!(set.remove(&1)),
        |set| set.contains(&1),
    );
    write_against_removal::<Registers>(
        |map| map.update(&1, |value| value.set(1_u32)),
        |map| map.update(&1, |value| value.set(2_u32)),
        |map| assert!(map.remove(&1)),
        |map| map.contains_key(&1),
    );
    write_against_removal::<Flag>(
        |flag| flag.enable(),
        |flag| flag.enable(),
        |flag| assert!(flag.disable()),
        Flag::is_enabled,
    );
    write_against_removal::<Counter>(
        |counter| counter.add(1).unwrap(),
        |counter| counter.add(1).unwrap(),
        |counter| assert!(counter.reset()),
        |counter| counter.value() == 1 || counter.value() == 2,
    );
    write_against_removal::<Document>(
        |doc| doc.set(&["a", "b"], 1).unwrap(),
        |doc| doc.set(&["a", "b"], 2).unwrap(),
        |doc| assert!(doc.delete(&["a"]).unwrap()),
        |doc| doc.get(&["a", "b"]).is_some(),
    );
}

#[test]
fn b24_writers_of_one_stamp_and_different_values_agree_whoever_merges_whom() {
    let values = [
        Value::Null,
        Value::from(false),
        Value::from(0),
        Value::from(i64::MIN),
        Value::from(f64::NAN),
        Value::from(-0.0),
        Value::from(""),
        Value::from("a"),
        Value::List(vec![]),
    ];
    for one in &values {
        for other in &values {
            let write = |id: ReplicaId, value: &Value| {
                let mut replica = replica::<LwwRegister<Value>>(id);
                replica.write(NOW_MS, |register| register.set(value.clone())).unwrap();
                replica
            };
            let (mut a, mut b) = (write(A, one), write(B, other));
            // Readers to whom the ids became known in either order.
            let (mut a_first, mut b_first) = (copy(&a, C), copy(&b, C));
            exchange(&mut a, &mut b);
            sync(&b, &mut a_first);
            sync(&a, &mut b_first);
            for replica in [&a, &b, &a_first, &b_first] {
                assert_same(replica, &a);
                assert_eq!(replica.state().latest(), Some(other), "the greater id wins");
                assert_eq!(replica.state().all().collect::<Vec<_>>(), [one, other]);
            }
        }
    }
}

/// What becomes of a value of one stamp, in one replica.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Left,
    Live,
    Emptied,
    Deleted,
    DeletedAndLive,
}

#[test]
fn b25_live_empty_and_deleted_values_of_one_stamp_have_one_order_in_all_merges() {
    use Fate::{Deleted, DeletedAndLive, Emptied, Left, Live};
    const FATES: [Fate; 5] = [Left, Live, Emptied, Deleted, DeletedAndLive];
    type State = MergeMap<u8, MvRegister<Option<u32>>>;
    for number in 0..FATES.len().pow(3) {
        let fates = [0, 1, 2].map(|at| FATES[number / FATES.len().pow(at) % FATES.len()]);
        let mut base = replica::<State>(ReplicaId::from_u128(1));
        base.write(NOW_MS - 1, |map| map.update(&1, |value| value.set(Some(99)))).unwrap();
        let mut replicas = [A, B, C].map(|id| copy(&base, id));
        for (at, (replica, fate)) in replicas.iter_mut().zip(fates).enumerate() {
            let committed = replica.write(NOW_MS, |map| match fate {
                Left => {}
                Live => map.update(&1, |value| value.set(Some(at as u32))),
                Emptied => map.update(&1, |value| value.set(None)),
                Deleted => assert!(map.remove(&1)),
                DeletedAndLive => {
                    assert!(map.remove(&1));
                    map.update(&1, |value| value.set(Some(at as u32)));
                }
            });
            assert_eq!(committed.unwrap().stamp, (fate != Left).then_some(stamp(NOW_MS, 0)));
        }
        // One order: what was written survives what was deleted at the same time; of what was written the greater id
        // comes last.
        let written = |at: usize| match fates[at] {
            Live | DeletedAndLive => Some(Some(at as u32)),
            Emptied => Some(None),
            Left | Deleted => None,
        };
        let mut expected: Vec<Option<u32>> = (0..3).filter_map(written).collect();
        if fates == [Left; 3] {
            expected = vec![Some(99)];
        }
        let all = every::merge_tree(&replicas.each_ref());
        let held = all.state().get(&1).map(|value| value.all().copied().collect::<Vec<_>>());
        assert_eq!(held.unwrap_or_default(), expected, "{fates:?}");
    }
}

#[test]
fn b27_clocks_of_unrelated_origins_are_refused_or_ordered_by_what_was_seen() {
    // Milliseconds since each was started, not Unix time: one a moment ago, the other long before.
    const YOUNG_MS: u64 = 5_000;
    const OLD_MS: u64 = 9_000_000_000;
    for bound_ms in [Config::default().max_ahead_ms, u64::MAX] {
        let config = Config { max_ahead_ms: bound_ms, ..Config::default() };
        let mut young = Replica::<Register>::new(A, config.clone());
        let mut old = Replica::<Register>::new(B, config);
        let ahead = old.write(OLD_MS, |name| name.set("first")).unwrap().stamp.unwrap();
        let merged = young.merge(YOUNG_MS, old.delta_since(&young.vector()));
        if bound_ms < u64::MAX {
            // It does not go unseen.
            let bound_ms = YOUNG_MS + bound_ms;
            assert_eq!(merged.unwrap_err(), MergeError::TooFarAhead { id: B, stamp: ahead, bound_ms });
            continue;
        }
        // Where any is accepted, the later write wins, both ways, round after round.
        for round in 0..5 {
            let value = format!("young {round}");
            let later = young.write(YOUNG_MS + round, |name| name.set(value.as_str())).unwrap();
            assert!(later.stamp.unwrap() > ahead);
            old.merge(OLD_MS + round, young.delta_since(&old.vector())).unwrap();
            assert_eq!(latest(&old), value);
            let value = format!("old {round}");
            old.write(OLD_MS + round, |name| name.set(value.as_str())).unwrap();
            young.merge(YOUNG_MS + round, old.delta_since(&young.vector())).unwrap();
            assert_eq!(latest(&young), value);
            assert_same(&young, &old);
        }
    }
}

/// A peer that holds a stamp, under its own id.
fn peer_at(last: Timestamp) -> Replica<OrSet<u32>> {
    let mut peer = replica::<OrSet<u32>>(C);
    peer.write(NOW_MS, |set| set.add(&500)).unwrap();
    let mut next = 501;
    while peer.clock().last() < last {
        peer.write(last.millis(), |set| set.add(&(next % 600))).unwrap();
        next += 1;
    }
    assert_eq!(peer.vector().get(&C), last);
    peer
}

#[test]
fn b28_a_stamp_at_the_end_of_time_is_refused_on_every_way_in_and_does_not_move_the_clock() {
    let bound_ms = NOW_MS + Config::default().max_ahead_ms;
    for last in [Timestamp::MAX, stamp(Timestamp::MAX_MILLIS, 0), stamp(bound_ms + 1, 0)] {
        let peer = peer_at(last);
        let mut us = with_honest_data(A, B);
        let expected = MergeError::TooFarAhead { id: C, stamp: last, bound_ms };
        every_way_is_refused(&mut us, &peer, NOW_MS, |error| *error == expected);
        // It goes on as if nothing had been: with the honest, and with the time.
        assert_eq!(us.write(NOW_MS, |set| set.add(&21)).unwrap().stamp, Some(stamp(NOW_MS, 0)));
        let mut honest = copy(&us, ReplicaId::from_u128(9));
        honest.write(NOW_MS, |set| set.add(&22)).unwrap();
        us.merge(NOW_MS, honest.delta_since(&us.vector())).unwrap();
        assert_same(&us, &honest);
    }
    // The last stamp within the bound is accepted.
    let mut us = with_honest_data(A, B);
    us.merge(NOW_MS, peer_at(stamp(bound_ms, 9)).delta_since(&us.vector())).unwrap();
    assert_eq!(us.clock().last(), stamp(bound_ms, 9));
    // Who issued the last of all stamps can only be read.
    let exhausted = peer_at(Timestamp::MAX).write(NOW_MS, |set| set.add(&1)).unwrap_err();
    assert_eq!(exhausted, WriteError::Clock(ClockError::Exhausted));
}

/// Micro- or nanoseconds instead of milliseconds would let any stamp in.
#[test]
fn b28_a_time_of_the_caller_that_is_no_time_is_refused_on_every_way_in() {
    let peer = peer_at(Timestamp::MAX);
    for now_ms in [Timestamp::MAX_MILLIS + 1, NOW_MS * 1_000_000, u64::MAX] {
        let expected = MergeError::Clock(ClockError::NowTooLarge { now_ms });
        every_way_is_refused(&mut with_honest_data(A, B), &peer, now_ms, |error| *error == expected);
    }
}

#[test]
fn b29_a_clock_one_millisecond_beyond_the_bound_is_seen_on_both_sides_and_heals() {
    let bound_ms = Config::default().max_ahead_ms;
    for beyond_ms in [0, 1] {
        let [mut fast, mut us, mut other] = three::<Register>();
        let now_ms = NOW_MS + bound_ms + beyond_ms;
        let ahead = fast.write(now_ms, |name| name.set("ahead")).unwrap().stamp.unwrap();
        let refused = MergeError::TooFarAhead { id: A, stamp: ahead, bound_ms: NOW_MS + bound_ms };
        for reader in [&mut us, &mut other] {
            let before = observe(reader);
            let merged = reader.merge(NOW_MS, fast.delta_since(&reader.vector()));
            let reported = reader.report(NOW_MS, A, &fast.vector());
            if beyond_ms == 0 {
                assert!(merged.unwrap().is_news && reported.is_ok());
                continue;
            }
            // Whoever refuses it says whose clock it is, and by how much.
            assert_eq!(merged.unwrap_err(), refused);
            assert_eq!(reported.unwrap_err(), refused);
            assert_eq!(observe(reader), before);
        }
        // The replica whose clock it is can tell, once its clock is right: what it issued last is beyond the bound.
        assert_eq!(fast.clock().last().millis() > NOW_MS + bound_ms, beyond_ms == 1);
        // It sees what others write, and what it writes now comes after what it wrote then.
        us.write(NOW_MS + 1, |name| name.set("of us")).unwrap();
        fast.merge(NOW_MS + 1, us.delta_since(&fast.vector())).unwrap();
        let next = fast.write(NOW_MS + 1, |name| name.set("after")).unwrap().stamp.unwrap();
        assert!(next > ahead);
        // As soon as time has come within the bound, all converge; nothing was lost.
        for reader in [&mut us, &mut other] {
            reader.merge(NOW_MS + beyond_ms, fast.delta_since(&reader.vector())).unwrap();
        }
        assert_same(&us, &fast);
        assert_same(&us, &other);
        assert_eq!(latest(&us), "after");
        // And its later writes carry the true time again.
        let healed = fast.write(now_ms + 1, |name| name.set("healed")).unwrap().stamp.unwrap();
        assert_eq!(healed, stamp(now_ms + 1, 0));
    }
}

#[test]
fn b30_simultaneous_writes_do_not_end_swapped_however_they_cross() {
    let mut ledger = Ledger::default();
    let [mut eu, mut us, _] = three::<Registers>();
    for round in 0..200_u32 {
        let now_ms = NOW_MS + u64::from(round / 7);
        eu.write(now_ms, |map| (0..3).for_each(|key| map.update(&key, |value| value.set(round)))).unwrap();
        us.write(now_ms, |map| (0..3).for_each(|key| map.update(&key, |value| value.set(1_000 + round))))
            .unwrap();
        let later = us.clock().last().max(eu.clock().last());
        let expected = if us.clock().last() == later { 1_000 + round } else { round };
        // Each is under way while the other arrives; now and then one arrives twice, or late and again.
        let (to_eu, to_us) = (us.delta_since(&eu.vector()), eu.delta_since(&us.vector()));
        let late = us.snapshot();
        eu.merge(LATE_MS, to_eu).unwrap();
        us.merge(LATE_MS, to_us).unwrap();
        if round % 3 == 0 {
            assert!(!eu.merge(LATE_MS, late.delta_since(&VersionVector::new())).unwrap().is_news);
        }
        for replica in [&eu, &us] {
            ledger.check(replica);
            assert_eq!(writers(replica, 0..3), [expected], "in round {round}");
        }
        assert_same(&eu, &us);
    }
}

#[test]
fn b31_what_is_written_after_a_merge_comes_after_what_was_merged_on_whatever_way_it_came() {
    const AHEAD_MS: u64 = 50_000;
    for way in 0..4 {
        let [mut eu, mut us, other] = three::<Registers>();
        eu.write(NOW_MS, |map| (0..40).for_each(|key| map.update(&key, |value| value.set(0_u32)))).unwrap();
        us.merge(NOW_MS, eu.delta_since(&us.vector())).unwrap();
        let winner = eu.write(NOW_MS + AHEAD_MS, |map| {
            (0..40).for_each(|key| map.update(&key, |value| value.set(1_u32)));
            map.remove(&39);
        });
        let winner = winner.unwrap().stamp.unwrap();
        let delta = match way {
            0 => eu.delta_since(&us.vector()),
            1 => us.decode(&eu.delta_since(&us.vector()).encode().unwrap()).unwrap(),
            2 => {
                let mut pending = PendingDelta::new(&Limits::default());
                let messages = chunks(eu.delta_since(&us.vector()), 100);
                assert!(messages.len() > 2);
                messages.iter().find_map(|bytes| pending.push(us.decode(bytes).unwrap()).unwrap()).unwrap()
            }
            _ => {
                eu.set_members([A]);
                assert_eq!(eu.forget().rows, 1);
                eu.delta_since(&us.vector())
            }
        };
        assert_eq!(delta.is_complete(), way == 3);
        us.merge(NOW_MS, delta).unwrap();
        assert_eq!(us.clock().last(), winner);
        // With a clock that is almost a minute behind.
        let written =
            us.write(NOW_MS, |map| map.update(&7, |value| value.set(2_u32))).unwrap().stamp.unwrap();
        assert!(written > winner);
        let all = every::merge_tree(&[&eu, &us, &other]);
        assert_eq!(all.state().get(&7).unwrap().all().collect::<Vec<_>>(), [&2]);
        sync(&us, &mut eu);
        assert_same(&eu, &us);
    }
}
