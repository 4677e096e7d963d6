//! Who joins, leaves, is evicted, returns, or just falls silent, and what the others forget meanwhile.

use driftless::{
    Admission, Config, Crdt, Endpoint, Held, Holders, Kept, LinkState, LwwRegister, MergeMap, Need, Replica,
    SyncConfig, SyncEvent, Timestamp,
};

use crate::net::{CLUSTER, DELAY_MS, DELTA, Fate, Net, START_MS, id, member};

type Texts = MergeMap<u16, LwwRegister<i64>>;

fn set(net: &mut Net<Texts>, at: usize, key: u16, value: i64) -> Timestamp {
    net.write(at, |texts| texts.update(&key, |text| text.set(value)));
    net.ends[at].replica().clock().last()
}

fn remove(net: &mut Net<Texts>, at: usize, key: u16) {
    assert!(net.write(at, |texts| texts.remove(&key)), "it is there");
}

fn read(net: &Net<Texts>, at: usize, key: u16) -> Option<i64> {
    net.ends[at].replica().state().get(&key).and_then(LwwRegister::latest).copied()
}

fn rows(net: &Net<Texts>, at: usize) -> usize {
    net.ends[at].replica().state().rows()
}

fn admit<S: Crdt>(net: &mut Net<S>, at: usize, who: usize) {
    let clock = net.clock(at);
    net.ends[at].admit(clock, member(who)).expect("it is legal");
    net.pump(at);
}

#[test]
fn t25_who_was_evicted_returns_with_what_it_and_others_wrote_and_with_nothing_that_was_removed() {
    for (returns_to, admission) in
        [(0, Admission::Anyone), (1, Admission::Anyone), (0, Admission::Invited), (1, Admission::Invited)]
    {
        let mut net: Net<Texts> = Net::new(4, |_, config| config.admission = admission);
        net.ends[0].found(START_MS).expect("it is legal");
        (1..4).for_each(|other| admit(&mut net, 0, other));
        net.mesh();
        for key in 0..20 {
            set(&mut net, 2, key, 1);
        }
        net.run(5_000);
        // 2 is cut off together with 3, whose writes reach nobody but 2. Then 3 is gone for good.
        for here in [0, 1] {
            net.cut(here, 2);
            net.cut(here, 3);
        }
        set(&mut net, 3, 100, 3);
        net.run(1_000);
        net.isolate(3);
        set(&mut net, 2, 101, 2);
        // One that the others remove, and that it writes anew without knowing; and one that it removes.
        set(&mut net, 2, 1, 22);
        remove(&mut net, 2, 15);
        for key in 0..10 {
            remove(&mut net, 0, key);
        }
        net.evict(&[0, 1], 2);
        net.evict(&[0, 1], 3);
        net.run(10_000);
        assert_eq!([0, 1].map(|at| rows(&net, at)), [10, 10], "the removals are forgotten");
        let old: Vec<Vec<u8>> = net
            .log
            .iter()
            .filter(|(from, to, _)| (*from, *to) == (2, returns_to))
            .map(|(.., bytes)| bytes.clone())
            .collect();
        if admission == Admission::Invited {
            net.connect(returns_to, 2);
            net.run(3_000);
            assert_eq!(net.ends[returns_to].members().len(), 2, "it waits to be let in");
            assert_eq!([1, 101].map(|key| read(&net, returns_to, key)), [None; 2]);
            net.cut(returns_to, 2);
            net.run(1_000);
        }
        admit(&mut net, returns_to, 2);
        net.connect(returns_to, 2);
        // Frames of the connection before come in on the new one.
        let vector = net.ends[returns_to].replica().vector();
        for bytes in old.iter().filter(|bytes| bytes[0] > 1) {
            net.deliver(2, returns_to, bytes).expect("it is as if they had been lost");
        }
        assert_eq!(net.ends[returns_to].replica().vector(), vector, "they changed something");
        net.run(10_000);
        assert!(net.agree(&[0, 1, 2]));
        for at in 0..3 {
            assert_eq!(
                [0, 1, 2, 9, 15].map(|key| read(&net, at, key)),
                [None, Some(22), None, None, None],
                "at {at}"
            );
            assert_eq!([100, 101].map(|key| read(&net, at, key)), [Some(3), Some(2)], "at {at}");
            assert_eq!(net.ends[at].replica().state().len(), 12);
        }
        net.run(10_000);
        assert_eq!([0, 1, 2].map(|at| rows(&net, at)), [12; 3]);
    }
}

#[test]
fn t44_what_a_removed_member_had_sent_arrives_late_and_is_the_same_for_all() {
    for is_new_link in [false, true] {
        let mut net: Net<Texts> = Net::new(3, |_, _| {});
        net.mesh();
        net.run(3_000);
        // 0 hears of the first write of 2, and of nothing more; 1 hears of nothing.
        net.fate = Box::new(
            |from, to, bytes| if (from, to, bytes[0]) == (2, 1, DELTA) { Fate::Held } else { Fate::Arrives },
        );
        set(&mut net, 2, 7, 1);
        net.run(DELAY_MS);
        net.fate = Box::new(
            |from, _, bytes| if (from, bytes[0]) == (2, DELTA) { Fate::Held } else { Fate::Arrives },
        );
        set(&mut net, 2, 8, 1);
        set(&mut net, 2, 7, 2);
        net.run(DELAY_MS);
        net.fate = Box::new(|from, to, _| if from == 2 || to == 2 { Fate::Held } else { Fate::Arrives });
        assert_eq!([0, 1].map(|at| read(&net, at, 7)), [Some(1), None]);
        remove(&mut net, 0, 7);
        net.evict(&[0, 1], 2);
        net.run(10_000);
        assert!(net.agree(&[0, 1]));
        assert_eq!([0, 1].map(|at| rows(&net, at)), [0, 0], "it is removed, and forgotten");
        if is_new_link {
            net.isolate(2);
            net.connect(0, 2);
            net.connect(1, 2);
        }
        net.fate = Box::new(|_, to, _| if to == 2 { Fate::Lost } else { Fate::Arrives });
        net.release();
        net.run(5_000);
        assert!(net.agree(&[0, 1]));
        // What was removed is what had been seen; what had not been seen is there.
        if !is_new_link {
            assert_eq!([0, 1].map(|at| (read(&net, at, 7), read(&net, at, 8))), [(Some(2), Some(1)); 2]);
        }
        net.fate = Box::new(|_, _, _| Fate::Arrives);
        net.run(200_000);
        assert!(net.is_converged(), "{is_new_link}");
        assert_eq!((read(&net, 2, 7), read(&net, 2, 8)), (Some(2), Some(1)));
    }
}

#[test]
fn t44_a_late_put_of_a_removed_member_is_not_taken_for_news() {
    let mut net: Net<Texts> = Net::new(3, |_, _| {});
    net.mesh();
    net.run(3_000);
    net.fate = Box::new(
        |from, to, bytes| if (from, to, bytes[0]) == (2, 1, DELTA) { Fate::Held } else { Fate::Arrives },
    );
    set(&mut net, 2, 7, 1);
    net.run(DELAY_MS);
    net.fate = Box::new(|from, to, _| if from == 2 || to == 2 { Fate::Lost } else { Fate::Arrives });
    remove(&mut net, 0, 7);
    net.evict(&[0, 1], 2);
    net.run(10_000);
    assert_eq!([0, 1].map(|at| (read(&net, at, 7), rows(&net, at))), [(None, 0); 2]);
    net.release();
    net.run(5_000);
    assert_eq!([0, 1].map(|at| (read(&net, at, 7), rows(&net, at))), [(None, 0); 2], "it came back");
    assert!(net.agree(&[0, 1]));
}

#[test]
fn t50_one_of_fifty_is_silent_for_thirty_days_is_named_and_costs_no_more_than_keys() {
    const HOUR_MS: u64 = 3_600_000;
    let mut net: Net<Texts> = Net::new(50, |_, config| {
        config.heartbeat_ms = 6 * HOUR_MS;
        config.audit_ms = 1_000 * HOUR_MS;
    });
    for leaf in 1..50 {
        net.connect(0, leaf);
    }
    set(&mut net, 0, 9_999, 1);
    net.run(24 * HOUR_MS);
    assert!(net.is_converged());
    assert!(net.ends[0].blocking().is_empty());
    net.isolate(49);
    let silent_ms = net.now_ms;
    for day in 0..30_u16 {
        // The same hundred keys are written and removed, day by day, and one of each day stays.
        for at in [3, 17, 31, 48] {
            net.write(at, |texts| {
                (0..25).for_each(|key| {
                    texts.update(&(at as u16 / 16 * 25 + key), |text| text.set(i64::from(day)))
                });
            });
        }
        for at in [3, 17, 31, 48] {
            net.write(at, |texts| {
                (0..25).for_each(|key| assert!(texts.remove(&(at as u16 / 16 * 25 + key))));
            });
        }
        set(&mut net, 1, 1_000 + day, 1);
        net.run(24 * HOUR_MS);
    }
    let others: Vec<usize> = (0..49).collect();
    assert!(net.agree(&others));
    // What cannot be forgotten grows with the keys, not with the writes; and who is to blame for it is named, alone.
    let kept = rows(&net, 0);
    assert!((31..=131).contains(&kept) && kept > 100, "{kept}");
    for at in [0, 1, 20] {
        let blocking = net.ends[at].blocking();
        assert!(blocking.iter().any(|blocking| blocking.member == member(49)), "{blocking:?}");
        let longest: Vec<_> =
            blocking.iter().filter(|blocking| blocking.since_ms < silent_ms + 48 * HOUR_MS).collect();
        assert!(
            longest.len() == 1 && longest[0].member == member(49) && longest[0].behind > 0,
            "{longest:?}"
        );
    }
    net.evict(&[20], 49);
    net.run(48 * HOUR_MS);
    assert_eq!([0, 1, 20].map(|at| rows(&net, at)), [31; 3], "all that was removed is forgotten");
    assert!([0, 1, 20].iter().all(|at| net.ends[*at].blocking().is_empty()));
    // It returns, and has missed nothing.
    admit(&mut net, 0, 49);
    net.connect(0, 49);
    net.run(48 * HOUR_MS);
    assert!(net.is_converged());
    assert_eq!((rows(&net, 49), read(&net, 49, 1_029)), (31, Some(1)));
}

/// What one keeps for another, by the id of its member: what that has not seen, and what nobody else is waited for with.
fn kept(net: &Net<Texts>, at: usize, who: usize) -> Option<(Kept, Kept)> {
    let blocking = net.ends[at].blocking();
    let blocking = blocking.iter().find(|blocking| blocking.member == member(who))?;
    Some((blocking.unseen, blocking.alone))
}

fn counts(kept: Kept) -> (usize, usize) {
    (kept.rows, kept.marks)
}

#[test]
fn what_a_silent_member_costs_is_what_is_forgotten_once_it_is_evicted() {
    let mut net: Net<Texts> = Net::new(4, |_, config| config.audit_ms = 1_000_000);
    net.mesh();
    for key in 0..1_000 {
        set(&mut net, 0, key, 1);
    }
    net.run(5_000);
    assert!(net.ends[0].blocking().is_empty());
    // 3 misses it when 30 of 1,000 are removed, and 20 are written by another replica; then 2 falls silent, too, and misses 5
    // more.
    net.isolate(3);
    (0..30).for_each(|key| remove(&mut net, 0, key));
    for key in 100..120 {
        set(&mut net, 1, key, 2);
    }
    net.run(5_000);
    let (unseen, alone) = kept(&net, 0, 3).expect("it is waited for");
    // A removed row has the mark of its removal, which is later than that of what was in it and by the same replica. A text that
    // was written over has one of each writer.
    assert_eq!((counts(unseen), counts(alone)), ((30, 50), (30, 50)));
    assert_eq!(unseen, alone);
    let marks = 16 * (30 + 20);
    assert!((marks + 30 * 32..marks + 30 * 128).contains(&alone.bytes), "{} bytes", alone.bytes);
    assert!(kept(&net, 0, 1).is_none() && kept(&net, 0, 2).is_none());
    net.isolate(2);
    (200..205).for_each(|key| remove(&mut net, 0, key));
    net.run(5_000);
    // What neither of them has seen is kept for both, and for neither alone.
    let [two, three] = [2, 3].map(|who| kept(&net, 0, who).expect("it is waited for"));
    assert_eq!([two.0, three.0].map(counts), [(5, 5), (35, 55)]);
    assert_eq!([two.1, three.1].map(counts), [(0, 0), (30, 50)]);
    assert_eq!(three.1, alone);
    assert_eq!((two.1.bytes, two.0.bytes), (0, three.0.bytes - three.1.bytes));
    // As is said, so it is.
    assert_eq!(rows(&net, 0), 1_000);
    net.evict(&[0], 3);
    net.run(5_000);
    assert_eq!(rows(&net, 0), 970);
    let last = kept(&net, 0, 2).expect("it is waited for");
    assert_eq!((counts(last.0), last.0), ((5, 5), last.1));
    net.evict(&[0], 2);
    net.run(5_000);
    assert_eq!(rows(&net, 0), 965);
    assert!(net.ends[0].blocking().is_empty());
    // Looking is not forgetting: 1 was not asked, and forgot the same.
    assert!(net.agree(&[0, 1]) && rows(&net, 1) == 965);
}

#[test]
fn what_long_keys_cost_is_told_in_bytes() {
    let mut net: Net<MergeMap<String, LwwRegister<i64>>> = Net::new(3, |_, _| {});
    net.mesh();
    net.run(3_000);
    net.isolate(1);
    let keys: Vec<String> = (0..100).map(|key| format!("{key:01000}")).collect();
    net.write(0, |texts| keys.iter().for_each(|key| texts.update(key, |text| text.set(1))));
    net.write(0, |texts| keys.iter().for_each(|key| assert!(texts.remove(key))));
    net.run(3_000);
    let [blocking] = &net.ends[0].blocking()[..] else { panic!("it is one") };
    assert_eq!((blocking.alone.rows, blocking.alone.marks), (100, 100));
    assert!((100_000..130_000).contains(&blocking.alone.bytes), "{} bytes", blocking.alone.bytes);
}

#[test]
fn who_holds_nothing_of_a_replica_is_not_taken_by_others_to_hold_all_of_it() {
    let mut net: Net<Texts> = Net::new(3, |_, _| {});
    net.connect(0, 1);
    net.connect(0, 2);
    set(&mut net, 0, 7, 1);
    set(&mut net, 0, 8, 1);
    net.run(5_000);
    // 1 has never written, when 2 falls silent. It hears of 2 by 0 alone.
    assert_eq!(net.ends[2].replica().vector().get(&id(1)), Timestamp::ZERO);
    net.isolate(2);
    remove(&mut net, 1, 7);
    net.run(10_000);
    for at in 0..2 {
        assert_eq!((rows(&net, at), read(&net, at, 7)), (2, None), "{at} forgot what 2 has not seen");
        let blocking = net.ends[at].blocking();
        assert!(blocking.len() == 1 && blocking[0].member == member(2), "{at}: {blocking:?}");
    }
    net.connect(1, 2);
    net.run(10_000);
    assert!(net.is_converged());
    assert_eq!([0, 1, 2].map(|at| (rows(&net, at), read(&net, at, 7))), [(1, None); 3]);
}

/// All that are connected, whose operators let each other in if need be.
fn founded(count: usize, admission: Admission) -> Net<Texts> {
    let mut net: Net<Texts> = Net::new(count, |_, config| config.admission = admission);
    if admission == Admission::Invited {
        net.ends[0].found(net.now_ms).expect("it is legal");
        (1..count).for_each(|who| admit(&mut net, 0, who));
    }
    net.mesh();
    net.run(5_000);
    assert!(net.ends.iter().all(|end| end.members().len() == count));
    net
}

#[test]
fn halves_that_evict_each_other_at_once_are_one_cluster_again_once_they_are_to_be() {
    for admission in [Admission::Anyone, Admission::Invited] {
        let mut net = founded(4, admission);
        set(&mut net, 3, 7, 1);
        net.run(1_000);
        for (at, others) in [(0, [2, 3]), (2, [0, 1])] {
            others.iter().for_each(|who| net.evict(&[at], *who));
        }
        net.run(5_000);
        assert!(net.is_converged());
        for (end, events) in net.ends.iter().zip(&net.events) {
            assert!(end.members().is_empty() && events.contains(&SyncEvent::Evicted), "{events:?}");
        }
        // Nobody is left who could let anyone in. Who comes again begins anew, where whoever comes is let in; else it takes
        // someone who invites the others.
        match admission {
            Admission::Invited => [0, 2, 3].iter().for_each(|who| admit(&mut net, 1, *who)),
            _ => {
                (0..4).for_each(|at| net.isolate(at));
                net.mesh();
            }
        }
        net.run(5_000);
        assert!(net.is_converged(), "{admission:?}");
        let all: Vec<_> = (0..4).map(|at| owners(&net, at)).collect();
        assert!(all.iter().all(|one| *one == all[0]), "{admission:?}: {all:?}");
        let members: Vec<_> = all[0].0.iter().map(|(member, _)| *member).collect();
        assert_eq!(members, [0, 1, 2, 3].map(member), "{admission:?}");
        remove(&mut net, 2, 7);
        net.run(5_000);
        assert!(net.is_converged());
        assert_eq!([0, 1, 2, 3].map(|at| rows(&net, at)), [0; 4], "{admission:?}");
    }
}

#[test]
fn who_is_invited_again_while_it_is_connected_is_a_member_at_once() {
    for admission in [Admission::Anyone, Admission::Invited] {
        let mut net = founded(3, admission);
        net.evict(&[0], 2);
        net.run(5_000);
        assert!(net.ends.iter().all(|end| end.members().len() == 2), "{admission:?}");
        let epoch = net.ends[0].epoch();
        admit(&mut net, 0, 2);
        assert_eq!(net.ends[0].members().len(), 3, "{admission:?}");
        net.run(1_000);
        assert!(net.ends.iter().all(|end| end.members().len() == 3 && end.epoch() > epoch), "{admission:?}");
        assert!(net.is_converged());
    }
}

#[test]
fn who_is_evicted_is_told_so_once_and_nobody_else_is() {
    let mut net = founded(3, Admission::Anyone);
    let evicted = |net: &Net<Texts>| {
        let is_it = |event: &&SyncEvent| **event == SyncEvent::Evicted;
        [0, 1, 2].map(|at| net.events[at].iter().filter(is_it).count())
    };
    for (who, told) in [(2, [0, 0, 1]), (1, [0, 1, 1])] {
        net.evict(&[0], who);
        net.run(3_000);
        assert_eq!(evicted(&net), told);
    }
}

#[test]
fn who_is_no_member_lets_nobody_in() {
    let mut net = founded(3, Admission::Invited);
    let roster = |net: &Net<Texts>, at: usize| -> Vec<_> {
        net.ends[at].members().iter().map(|member| member.member).collect()
    };
    net.isolate(2);
    net.evict(&[0], 2);
    net.evict(&[0], 1);
    net.run(3_000);
    assert_eq!([0, 1].map(|at| roster(&net, at)), [[member(0)], [member(0)]]);
    // It knows who the members are, and is none.
    admit(&mut net, 1, 2);
    net.connect(1, 2);
    net.run(3_000);
    assert_eq!(roster(&net, 1), [member(0)]);
    // Nor does who knows of no cluster begin one because it was told to let someone in.
    let mut net: Net<Texts> = Net::new(2, |_, config| config.admission = Admission::Invited);
    admit(&mut net, 0, 1);
    admit(&mut net, 1, 0);
    net.connect(0, 1);
    net.run(3_000);
    assert_eq!([0, 1].map(|at| net.ends[at].members().len()), [0, 0]);
}

#[test]
fn each_change_of_the_membership_tells_which_it_is_now() {
    let mut net: Net<Texts> = Net::new(1, |_, _| {});
    let (clock, end) = (net.clock(0), &mut net.ends[0]);
    let founded = end.found(clock).expect("it is legal");
    assert_eq!((founded, founded.number), (end.epoch(), 1));
    assert_eq!(end.admit(clock, member(1)), Ok(founded), "it has not come");
    let left = end.leave(clock).expect("it is legal");
    assert_eq!((left, left.number, left.hash), (end.epoch(), 2, 0));
}

/// Two that have forgotten much; and one that joins, whose clock is slow, with what it wrote before it knew of them.
#[test]
fn t51_a_joiner_with_a_slow_clock_brings_what_it_wrote_before_and_misses_nothing() {
    for slow_ms in [0, 45_000] {
        let mut net: Net<Texts> = Net::new(3, |_, _| {});
        net.skew_ms[2] = -slow_ms;
        let old = set(&mut net, 2, 500, 1);
        net.connect(0, 1);
        for key in 0..50 {
            set(&mut net, usize::from(key % 2), key, 1);
        }
        net.run(3_000);
        for key in 0..40 {
            remove(&mut net, usize::from(key % 2), key);
        }
        set(&mut net, 2, 3, 33);
        net.run(5_000);
        assert_eq!([0, 1].map(|at| rows(&net, at)), [10, 10]);
        // The others have long agreed on stamps that are later than these.
        assert!(old < net.ends[0].replica().vector().newest());
        net.connect(1, 2);
        let young = set(&mut net, 2, 501, 1);
        assert!(slow_ms == 0 || young < net.ends[0].replica().vector().newest());
        set(&mut net, 0, 41, 2);
        remove(&mut net, 0, 42);
        net.run(5_000);
        assert!(net.is_converged(), "{slow_ms}");
        for at in 0..3 {
            let all = [500, 501, 3, 4, 41, 42].map(|key| read(&net, at, key));
            assert_eq!(all, [Some(1), Some(1), Some(33), None, Some(2), None], "{slow_ms} at {at}");
            assert_eq!((net.ends[at].replica().state().len(), rows(&net, at)), (12, 12));
        }
        // What it removes is removed, however old its stamps are.
        remove(&mut net, 2, 43);
        set(&mut net, 2, 44, 44);
        net.run(5_000);
        assert_eq!([0, 1].map(|at| (read(&net, at, 43), read(&net, at, 44))), [(None, Some(44)); 2]);
        assert!(net.is_converged());
    }
}

#[test]
fn t51_a_joiner_whose_clock_is_an_hour_slow_is_told_so_and_joins_when_it_is_right() {
    let mut net: Net<Texts> = Net::new(2, |_, _| {});
    net.skew_ms[1] = -3_600_000;
    set(&mut net, 0, 1, 1);
    set(&mut net, 1, 2, 2);
    net.connect(0, 1);
    net.run(5_000);
    for at in 0..2 {
        let status = &net.ends[at].peers()[0];
        assert!(matches!(status.state, LinkState::ClocksApart { ahead, .. } if ahead == id(0)), "{status:?}");
        assert_eq!(net.ends[at].replica().vector().len(), 1);
    }
    net.skew_ms[1] = 0;
    net.run(5_000);
    assert!(net.is_converged());
    assert_eq!(net.ends[1].replica().state().len(), 2);
}

/// A transfer that was cut from an older state goes on after what it holds was removed and forgotten.
#[test]
fn b19_a_transfer_of_what_was_removed_meanwhile_brings_nothing_back() {
    for breaks_at in [DELAY_MS, 45, 61, 90] {
        let mut net: Net<Texts> = Net::new(3, |_, config| {
            config.chunk_bytes = 512;
            config.window_bytes = 1_024;
        });
        // 1 writes much, and goes for good. 0 has it all, and 2 is about to get it from 0.
        for key in 0..500 {
            set(&mut net, 1, key, 1);
        }
        net.connect(0, 1);
        net.run(5_000);
        net.isolate(1);
        net.connect(0, 2);
        net.run(breaks_at);
        net.cut(0, 2);
        assert_eq!(net.ends[2].replica().state().len(), 0);
        for key in 0..500 {
            remove(&mut net, 0, key);
        }
        set(&mut net, 0, 1_000, 1);
        net.evict(&[0], 1);
        net.evict(&[0], 2);
        // Somebody must be there for it to look after what it can forget.
        let other = net.add(Endpoint::new(
            Replica::new(id(9), Config::default()),
            SyncConfig::new(CLUSTER, member(9), "region-9"),
        ));
        net.connect(0, other);
        net.run(5_000);
        assert_eq!(rows(&net, 0), 1, "{breaks_at}");
        admit(&mut net, 0, 2);
        net.connect(0, 2);
        net.run(10_000);
        assert!(net.agree(&[0, 2, other]), "{breaks_at}");
        assert_eq!(net.ends[2].replica().state().len(), 1);
        // What 2 says of itself it may say: it passes on to others what it holds, and no more.
        let late = net.add(Endpoint::new(
            Replica::new(id(10), Config::default()),
            SyncConfig::new(CLUSTER, member(10), "region-10"),
        ));
        net.connect(2, late);
        net.run(5_000);
        assert!(net.agree(&[0, 2, other, late]));
    }
}

fn confirmed(net: &Net<Texts>, at: usize) -> Vec<(bool, Holders)> {
    let events = net.events[at].iter();
    events
        .filter_map(|event| match event {
            SyncEvent::Confirmed { holders, .. } => Some((true, holders.clone())),
            SyncEvent::Unconfirmed { holders, .. } => Some((false, holders.clone())),
            _ => None,
        })
        .collect()
}

#[test]
fn b66_a_majority_of_more_members_sees_the_write_or_that_the_membership_changed() {
    let mut net: Net<Texts> = Net::new(5, |_, _| {});
    net.mesh();
    net.run(5_000);
    for (a, b) in [(0, 3), (0, 4), (1, 3), (1, 4), (2, 3), (2, 4)] {
        net.cut(a, b);
    }
    let stamp = set(&mut net, 0, 7, 1);
    let clock = net.clock(0);
    net.ends[0].confirm(clock, stamp, Need::Majority, Held::Applied, clock + 10_000);
    net.ends[0].confirm(clock, stamp, Need::All, Held::Applied, clock + 4_000);
    net.pump(0);
    net.run(1_000);
    let majority = confirmed(&net, 0);
    let [(true, majority)] = &majority[..] else { panic!("{majority:?}") };
    assert_eq!(majority.hold.len(), 3);
    // Two more join on the other side: a majority of seven that has not seen it.
    for number in [5, 6] {
        let config = SyncConfig::new(CLUSTER, member(number), format!("region-{number}"));
        let joiner = net.add(Endpoint::new(Replica::new(id(number), Config::default()), config));
        for other in 3..joiner {
            net.connect(other, joiner);
        }
    }
    net.run(1_000);
    let token = net.ends[0].token(stamp);
    for reader in 3..7 {
        assert_eq!(read(&net, reader, 7), None);
        assert!(net.ends[reader].reached(&token).is_err());
        assert_ne!(
            net.ends[reader].epoch(),
            majority.epoch,
            "the membership is another one than it was counted by"
        );
    }
    // Whoever is still waiting when it learns of that is told.
    net.connect(2, 3);
    net.run(4_000);
    let all = confirmed(&net, 0);
    let (_, last) = all.last().expect("both have ended");
    assert_eq!(all.len(), 2);
    assert!(last.is_changed || last.epoch == net.ends[0].epoch(), "{last:?}");
    net.run(3_000);
    assert!(net.is_converged());
    assert_eq!(net.ends[6].reached(&token), Ok(()));
}

type Owners = Vec<(driftless::ReplicaId, driftless::ReplicaId)>;

/// Who is a member, by which id, and which membership that is.
fn owners(net: &Net<Texts>, at: usize) -> (Owners, driftless::Epoch) {
    let members = net.ends[at].members().into_iter();
    (members.map(|member| (member.member, member.id)).collect(), net.ends[at].epoch())
}

/// Four, of which one dies; the others are parted into one and two.
fn without_one() -> (Net<Texts>, Vec<u8>) {
    let mut net: Net<Texts> = Net::new(4, |_, _| {});
    net.mesh();
    net.run(3_000);
    set(&mut net, 1, 7, 7);
    net.run(1_000);
    let disk = net.image(1);
    net.isolate(1);
    net.cut(0, 2);
    net.cut(0, 3);
    (net, disk)
}

fn meet(net: &mut Net<Texts>) {
    net.connect(0, 2);
    net.connect(0, 3);
    net.run(20_000);
}

#[test]
fn b42_one_store_that_is_opened_on_both_sides_has_one_owner_in_the_end() {
    let (mut net, disk) = without_one();
    net.restart(1, &disk);
    net.connect(0, 1);
    let mut replica = Replica::new(id(0x77), Config::default());
    let saved = replica.decode(&disk).expect("it is whole");
    replica.merge(net.now_ms, saved).expect("nobody is it");
    let mut end = Endpoint::new(replica, SyncConfig::new(CLUSTER, member(1), "region-1"));
    end.succeed(net.now_ms, id(1)).expect("it is legal");
    let second = net.add(end);
    net.connect(2, second);
    net.connect(3, second);
    net.run(2_000);
    set(&mut net, 1, 1, 1);
    set(&mut net, second, 2, 2);
    net.run(2_000);
    assert_ne!(owners(&net, 0).0, owners(&net, 2).0);
    meet(&mut net);
    assert!(net.is_converged());
    let all: Vec<_> = (0..5).map(|at| owners(&net, at)).collect();
    assert!(all.iter().all(|one| *one == all[0]) && all[0].0.len() == 4, "{all:?}");
    assert_eq!(
        [1, 2, 7].map(|key| read(&net, 0, key)),
        [Some(1), Some(2), Some(7)],
        "neither side lost anything"
    );
}

#[test]
fn b42_two_operators_who_replace_one_dead_member_at_once_leave_one_membership() {
    let (mut net, _) = without_one();
    for (side, number) in [(0, 8), (2, 9)] {
        net.evict(&[side], 1);
        let config = SyncConfig::new(CLUSTER, member(number), format!("region-{number}"));
        let joiner = net.add(Endpoint::new(Replica::new(id(number), Config::default()), config));
        net.connect(side, joiner);
        net.run(2_000);
    }
    let [left, right] = [0, 2].map(|at| owners(&net, at));
    assert!(left.0 != right.0 && left.1 != right.1, "what differs has one name: {left:?} {right:?}");
    assert_eq!(left.1.number, right.1.number);
    meet(&mut net);
    assert!(net.agree(&[0, 2, 3, 4, 5]));
    let all: Vec<_> = [0, 2, 3, 4, 5].map(|at| owners(&net, at)).to_vec();
    assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
    let members: Vec<_> = all[0].0.iter().map(|(member, _)| *member).collect();
    assert_eq!(members, [0, 2, 3, 8, 9].map(member));
}

#[test]
fn who_is_cut_off_says_since_when_it_waits_for_whom() {
    let mut net: Net<Texts> = Net::new(2, |_, _| {});
    net.connect(0, 1);
    net.run(3_000);
    net.isolate(0);
    net.run(60_000);
    let alone_ms = net.now_ms;
    set(&mut net, 0, 1, 1);
    // Its program does nothing but what the deadlines ask for.
    net.run(5_000);
    let blocking = net.ends[0].blocking();
    assert_eq!(blocking.iter().map(|blocking| blocking.member).collect::<Vec<_>>(), [member(1)]);
    assert!((alone_ms..=alone_ms + 2_000).contains(&blocking[0].since_ms), "{blocking:?}");
}
