//! Processes that die and start again with what is on their disks.

use driftless::{
    Config, Counter, Endpoint, LwwRegister, MergeError, MergeMap, OrSet, Replica, SyncConfig, SyncEvent,
    Timestamp,
};

use crate::net::{CLUSTER, DELAY_MS, DELTA, Fate, GAP, Net, id, member};

type Names = MergeMap<u16, LwwRegister<i64>>;
type Counts = MergeMap<u8, Counter>;

fn set(net: &mut Net<Names>, at: usize, key: u16, value: i64) {
    net.write(at, |names| names.update(&key, |name| name.set(value)));
}

fn read(net: &Net<Names>, at: usize, key: u16) -> Option<i64> {
    net.ends[at].replica().state().get(&key).and_then(LwwRegister::latest).copied()
}

#[test]
fn what_is_not_on_disk_is_not_forgotten_so_what_is_there_can_be_gone_on_from() {
    let config = SyncConfig { is_durable: true, ..SyncConfig::new(CLUSTER, member(0), "eu") };
    let replica: Replica<OrSet<u16>> = Replica::new(id(0), Config::default());
    let mut eu = Endpoint::new(replica, config);
    let forget = |eu: &mut Endpoint<OrSet<u16>>, now_ms| {
        eu.tick(now_ms);
        eu.replica().state().rows()
    };
    eu.found(1_000).expect("it is made");
    eu.write(1_000, |set| (0..100).for_each(|element| set.add(&element))).expect("it is made");
    let stored = eu.snapshot();
    eu.persisted(1_000, stored.clone());
    eu.write(2_000, |set| set.remove(&7)).expect("it is made");
    assert_eq!(forget(&mut eu, 10_000), 100, "that it is removed is not on disk");
    let news = eu.snapshot().delta_since(&stored.vector());
    assert!(!news.is_complete() && news.rows_visited() < 100);
    let stored = eu.snapshot();
    eu.persisted(11_000, stored);
    assert_eq!(forget(&mut eu, 20_000), 99);
}

#[test]
fn who_starts_again_is_in_its_place_before_it_meets_anyone() {
    let mut net: Net<Names> = Net::new(2, |_, _| {});
    net.connect(0, 1);
    net.run(3_000);
    let (epoch, former) = (net.ends[0].epoch(), net.ends[0].replica().id());
    let disk = net.image(0);
    net.restart(0, &disk);
    let roster: Vec<_> = net.ends[0].members().iter().map(|member| (member.member, member.id)).collect();
    let own = net.ends[0].replica().id();
    assert!(own != former && roster == [(member(0), own), (member(1), id(1))], "{roster:?}");
    assert_eq!(net.ends[0].epoch(), epoch, "the members are the same");
}

#[test]
fn an_id_that_was_succeeded_is_named_no_more_and_does_not_come_back_into_its_place() {
    let mut net: Net<Names> = Net::new(2, |_, _| {});
    // The process before, of which nobody knows that it still runs.
    let mut before: Replica<Names> = Replica::new(id(1), Config::default());
    before.write(net.now_ms, |names| names.update(&1, |name| name.set(1))).expect("it is legal");
    set(&mut net, 1, 1, 1);
    let before = net.add(Endpoint::new(before, SyncConfig::new(CLUSTER, member(1), "region-1")));
    net.connect(0, 1);
    net.run(3_000);
    let disk = net.image(1);
    net.restart(1, &disk);
    net.connect(0, 1);
    net.run(3_000);
    net.isolate(1);
    let id_of = |net: &Net<Names>| {
        let members = net.ends[0].members();
        members.iter().find(|one| one.member == member(1)).map(|one| one.id)
    };
    let now = net.ends[1].replica().id();
    net.connect(0, before);
    net.run(3_000);
    assert_eq!(id_of(&net), Some(now));
    // One begins anew with nothing, and does not say whom it succeeds: its peer does.
    net.isolate(before);
    net.connect(0, 1);
    set(&mut net, 1, 7, 7);
    net.run(3_000);
    net.wipe(1);
    net.run(10_000);
    let newest = net.ends[1].replica().id();
    assert!(newest != now && id_of(&net) == Some(newest));
    assert_eq!(net.ends[0].replica().vector().get(&now), Timestamp::ZERO);
}

#[test]
fn b18_after_a_crash_what_is_sent_begins_with_what_was_not_sent() {
    for is_saved in [false, true] {
        let mut net: Net<Names> = Net::new(2, |_, config| config.is_durable = true);
        net.connect(0, 1);
        for key in 0..1_000 {
            set(&mut net, 0, key, 1);
        }
        let mut before = Vec::new();
        for _ in 0..4 {
            // What they write of themselves when they meet goes on disk, too.
            before = net.save(0);
            net.save(1);
            net.run(1_500);
        }
        assert!(net.is_converged(), "what was sent is confirmed");
        // Written, put on disk or not, and dead before a frame leaves.
        set(&mut net, 0, 2_000, 1);
        let disk = if is_saved { net.image(0) } else { before };
        net.restart(0, &disk);
        assert_eq!(read(&net, 1, 2_000), None);
        net.log.clear();
        net.connect(0, 1);
        for _ in 0..3 {
            // Who meets one that started again writes down under which id, which goes on disk before it is told.
            net.save(0);
            net.save(1);
            net.run(1_500);
        }
        assert!(net.is_converged());
        assert_eq!([0, 1].map(|at| read(&net, at, 2_000)), [is_saved.then_some(1); 2]);
        let sent = net.log.iter().filter(|(from, _, bytes)| (*from, bytes[0]) == (0, DELTA));
        let bytes: usize = sent.map(|(.., bytes)| bytes.len()).sum();
        assert!(bytes < 2_000, "{bytes} bytes for one row");
        set(&mut net, 0, 2_001, 1);
        net.save(0);
        net.run(1_000);
        assert!(net.is_converged());
        assert_eq!(net.ends[1].replica().state().len(), 1_001 + usize::from(is_saved));
    }
}

#[test]
fn b45_a_count_is_the_same_whoever_merges_it_and_however_old_a_store_comes_back() {
    let mut net: Net<Counts> = Net::new(4, |_, _| {});
    let add = |net: &mut Net<Counts>, at: usize, by: i64| {
        net.write(at, |counts| counts.update(&7, |count| count.add(by)).expect("it is little"));
    };
    net.mesh();
    for at in 0..4 {
        add(&mut net, at, 10);
    }
    net.run(1_000);
    let old = net.image(3);
    let old_id = net.ends[3].replica().id();
    add(&mut net, 3, 5);
    net.run(1_000);
    // 2 has not forgotten what the others have.
    net.isolate(2);
    net.evict(&[0, 1, 3], 2);
    let disk = net.image(3);
    net.restart(3, &disk);
    net.connect(3, 0);
    net.connect(3, 1);
    net.run(10_000);
    add(&mut net, 3, 1);
    net.run(10_000);
    for _ in 0..3 {
        net.connect(2, 0);
        net.connect(2, 3);
        net.run(3_000);
        net.isolate(2);
    }
    let value = |net: &Net<Counts>, at: usize| net.ends[at].replica().state().get(&7).map(Counter::value);
    assert_eq!([0, 1, 2, 3].map(|at| value(&net, at)), [Some(46); 4]);
    // A store of long ago, under a new id.
    let mut replica = Replica::new(id(77), Config::default());
    let saved = replica.decode(&old).expect("it is whole");
    replica.merge(net.now_ms, saved.clone()).expect("nobody is it");
    let stale = net.add(Endpoint::new(replica, SyncConfig::new(CLUSTER, member(3), "region-3")));
    assert_eq!(value(&net, stale), Some(40));
    net.connect(stale, 0);
    net.connect(2, 0);
    net.run(10_000);
    assert_eq!([0, 1, 2, 3, 4].map(|at| value(&net, at)), [Some(46); 5]);
    assert!(net.is_converged());
    // Under its old id it does not even open ...
    let mut replica: Replica<Counts> = Replica::new(old_id, Config::default());
    assert!(matches!(replica.merge(net.now_ms, saved), Err(MergeError::NotIssued { .. })));
    // ... and empty, it is stopped before anything of it is taken.
    let fenced = net.add(Endpoint::new(replica, SyncConfig::new(CLUSTER, member(5), "region-5")));
    add(&mut net, fenced, 1_000);
    net.connect(fenced, 0);
    net.run(10_000);
    assert!(net.events[fenced].iter().any(|event| matches!(event, SyncEvent::IdInDoubt { .. })));
    assert_eq!([0, 1, 2, 3, 4].map(|at| value(&net, at)), [Some(46); 5]);
    assert!(net.agree(&[0, 1, 2, 3, 4]));
    // Under an id of its own it counts, once.
    let clock = net.clock(fenced);
    net.ends[fenced].reidentify(clock, id(78)).expect("it is fresh");
    net.pump(fenced);
    net.run(10_000);
    assert!(net.is_converged());
    assert_eq!(value(&net, 2), Some(1_046));
}

#[test]
fn b47_after_a_restart_with_a_clock_that_steps_back_stamps_go_on_from_where_they_were() {
    let mut net: Net<Names> = Net::new(2, |_, _| {});
    net.connect(0, 1);
    net.run(3_000);
    for value in 0..5 {
        set(&mut net, 0, 7, value);
    }
    // Nothing of this is left.
    set(&mut net, 0, 8, 8);
    net.write(0, |names| names.remove(&8));
    net.run(1_000);
    let (last, disk) = (net.ends[0].replica().clock().last(), net.image(0));
    net.skew_ms[0] = -40_000;
    net.restart(0, &disk);
    assert!(net.ends[0].replica().clock().last() >= last);
    set(&mut net, 0, 7, 99);
    assert!(net.ends[0].replica().clock().last() > last);
    net.log.clear();
    net.connect(0, 1);
    net.run(5_000);
    assert!(net.is_converged());
    assert_eq!(read(&net, 1, 7), Some(99), "the newer one is older than it replaces");
    assert_eq!(net.logged_by_all(GAP), 0);
    // All that is confirmed is known to be, what left nothing included.
    assert_eq!([0, 1].map(|at| net.ends[at].peers()[0].behind), [0, 0]);
}

/// The receiver of a large transfer and of writes dies at each moment, with a disk of a moment before.
#[test]
fn b48_whenever_the_receiver_dies_it_is_sent_all_that_is_not_on_its_disk() {
    for dies_at in (0..400).step_by(9) {
        for saved_before in [0, 5, 25, 120] {
            let mut net: Net<Names> = Net::new(3, |_, config| {
                config.chunk_bytes = 256;
                config.window_bytes = 1_024;
            });
            net.connect(0, 2);
            for key in 0..300 {
                set(&mut net, 0, key, 1);
            }
            net.connect(0, 1);
            let mut disk = net.image(1);
            for ms in 0..dies_at {
                if ms + saved_before == dies_at {
                    disk = net.image(1);
                }
                if ms % 40 == 7 {
                    set(&mut net, 0, 1_000 + ms as u16, 1);
                }
                net.run(1);
            }
            net.restart(1, &disk);
            // By another way than before.
            net.connect(1, 2);
            net.run(3_000);
            assert!(net.agree(&[0, 1]), "{dies_at} {saved_before}");
            let all = 300 + (0..dies_at).filter(|ms| ms % 40 == 7).count();
            assert_eq!(net.ends[1].replica().state().len(), all, "{dies_at} {saved_before}");
        }
    }
}

#[test]
fn b53_what_waits_for_something_else_when_the_process_dies_arrives_after_it_has_started_again() {
    let mut net: Net<Names> = Net::new(3, |_, _| {});
    net.mesh();
    net.run(3_000);
    net.fate = Box::new(
        |from, to, bytes| {
            if (from, to, bytes[0]) == (0, 2, DELTA) { Fate::Lost } else { Fate::Arrives }
        },
    );
    set(&mut net, 0, 1, 1);
    net.run(DELAY_MS);
    set(&mut net, 1, 2, 2);
    net.run(DELAY_MS);
    let disk = net.save(2);
    assert!(net.ends[2].replica().vector() != net.ends[1].replica().vector(), "what 1 wrote waits");
    assert_eq!(read(&net, 2, 2), None);
    net.restart(2, &disk);
    net.connect(1, 2);
    net.run(3_000);
    assert_eq!([read(&net, 2, 1), read(&net, 2, 2)], [Some(1), Some(2)]);
    assert!(net.is_converged());
}
