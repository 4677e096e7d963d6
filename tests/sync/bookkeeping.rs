//! What an endpoint remembers of what was sent, taken and confirmed.

use driftless::{Admission, Committed, LwwRegister, MergeMap};

use crate::net::{DELAY_MS, DELTA, Fate, GAP, Net, id};

type Names = MergeMap<u8, LwwRegister<i64>>;

fn set(net: &mut Net<Names>, at: usize, key: u8, value: i64) {
    net.write(at, |names| names.update(&key, |name| name.set(value)));
}

fn read(net: &Net<Names>, at: usize, key: u8) -> Option<i64> {
    net.ends[at].replica().state().get(&key).and_then(LwwRegister::latest).copied()
}

/// Writes without sending anything yet.
fn write_quietly<R>(
    net: &mut Net<Names>,
    at: usize,
    write: impl FnOnce(&mut <Names as driftless::Crdt>::Mut<'_>) -> R,
) -> Committed<R> {
    let clock = net.clock(at);
    net.ends[at].write(clock, write).expect("it is legal")
}

#[test]
fn b16_writes_with_nothing_between_them_go_out_as_one_and_stop_nothing_after_them() {
    let mut net: Net<Names> = Net::new(2, |_, _| {});
    net.connect(0, 1);
    net.run(3_000);
    net.log.clear();
    write_quietly(&mut net, 0, |names| names.update(&1, |name| name.set(1)));
    let nothing = write_quietly(&mut net, 0, |names| names.remove(&99));
    write_quietly(&mut net, 0, |names| names.update(&2, |name| name.set(2)));
    let neither = write_quietly(&mut net, 0, |names| names.update(&1, |_| ()));
    write_quietly(&mut net, 0, |names| names.update(&1, |name| name.set(3)));
    assert_eq!((nothing.stamp, neither.stamp), (None, None));
    net.pump(0);
    net.run(DELAY_MS);
    assert!(net.is_converged());
    assert_eq!((read(&net, 1, 1), read(&net, 1, 2)), (Some(3), Some(2)));
    assert_eq!(net.logged(DELTA, 0, 1), 1, "all of it in one");
    // Nothing alone is nothing to send, and stops nothing.
    write_quietly(&mut net, 0, |names| names.remove(&99));
    net.pump(0);
    net.run(DELAY_MS);
    assert_eq!(net.logged(DELTA, 0, 1), 1);
    set(&mut net, 0, 3, 1);
    net.run(DELAY_MS);
    assert!(net.is_converged());
}

#[test]
fn b17_what_was_written_while_nobody_was_there_waits_for_whoever_comes() {
    for wait_ms in [11_000, 11 * 86_400_000] {
        for was_connected in [false, true] {
            let mut net: Net<Names> = Net::new(2, |_, _| {});
            if was_connected {
                net.connect(0, 1);
                set(&mut net, 1, 1, 1);
                net.run(3_000);
                net.cut(0, 1);
            }
            set(&mut net, 0, 7, 7);
            net.run(wait_ms);
            net.connect(0, 1);
            net.run(1_000);
            assert!(net.is_converged(), "{wait_ms} {was_connected}");
            assert_eq!(read(&net, 1, 7), Some(7));
        }
    }
}

#[test]
fn b17_what_nobody_confirms_is_kept_for_as_long_as_it_takes() {
    for wait_ms in [11_000, 3_600_000] {
        let mut net: Net<Names> = Net::new(2, |_, _| {});
        net.connect(0, 1);
        net.run(3_000);
        net.fate = Box::new(|_, _, _| Fate::Lost);
        set(&mut net, 0, 7, 7);
        net.run(wait_ms);
        assert_eq!(read(&net, 1, 7), None);
        net.fate = Box::new(|_, _, _| Fate::Arrives);
        // It tries ever more seldom, but never gives up.
        net.run(200_000);
        assert!(net.is_converged());
        assert_eq!(read(&net, 1, 7), Some(7), "{wait_ms}");
    }
}

#[test]
fn b46_events_of_which_nothing_is_left_do_not_end_what_is_sent() {
    let mut net: Net<Names> = Net::new(3, |_, _| {});
    net.connect(0, 1);
    for round in 0..100 {
        set(&mut net, 0, 1, round);
        set(&mut net, 0, 2, round);
        net.write(0, |names| names.remove(&2));
        if round == 50 {
            set(&mut net, 0, 3, 3);
        }
        net.run(7);
    }
    set(&mut net, 0, 4, 4);
    net.run(5_000);
    // Of the events before the last ones most are overwritten, and their removals forgotten.
    assert_eq!(net.ends[1].replica().state().rows(), 3);
    net.connect(1, 2);
    net.run(3_000);
    assert!(net.is_converged());
    let all = [1, 2, 3, 4].map(|key| read(&net, 2, key));
    assert_eq!(all, [Some(99), None, Some(3), Some(4)]);
    // The last events of all leave nothing.
    net.cut(1, 2);
    set(&mut net, 0, 5, 5);
    set(&mut net, 0, 2, 1);
    net.write(0, |names| names.remove(&2));
    net.run(1_000);
    net.connect(1, 2);
    net.run(3_000);
    assert!(net.is_converged());
    assert_eq!(read(&net, 2, 5), Some(5));
}

#[test]
fn b47_what_waited_and_was_taken_is_known_to_be_held() {
    let mut net: Net<Names> = Net::new(3, |_, _| {});
    net.mesh();
    net.run(3_000);
    net.log.clear();
    // Written and removed before anyone hears of it, then the same for others to wait for.
    write_quietly(&mut net, 0, |names| names.update(&1, |name| name.set(1)));
    write_quietly(&mut net, 0, |names| names.remove(&1));
    net.fate = Box::new(
        |from, to, bytes| {
            if (from, to, bytes[0]) == (0, 2, DELTA) { Fate::Late(120) } else { Fate::Arrives }
        },
    );
    net.pump(0);
    net.run(DELAY_MS);
    set(&mut net, 1, 2, 2);
    net.run(DELAY_MS);
    assert_eq!(read(&net, 2, 2), None, "it waits for what 0 wrote");
    net.run(120);
    assert_eq!(read(&net, 2, 2), Some(2));
    assert!(net.is_converged());
    // Nothing is asked for again, sent again, or missing ever after.
    net.run(30_000);
    assert_eq!(net.logged_by_all(GAP), 0);
    assert_eq!([(0, 1), (0, 2), (1, 0), (1, 2)].map(|(from, to)| net.logged(DELTA, from, to)), [1, 1, 1, 1]);
    assert_eq!(net.logged(DELTA, 2, 0) + net.logged(DELTA, 2, 1), 0);
    assert!(net.is_converged());
}

/// Two that write at once are seen by a third in the order of their arrival, not of their stamps.
#[test]
fn t28_an_earlier_stamp_that_is_seen_after_a_later_one_is_passed_on_all_the_same() {
    for leaves_between in [false, true] {
        for skew_ms in [0, -30_000] {
            let mut net: Net<Names> = Net::new(4, |_, _| {});
            net.skew_ms[0] = skew_ms;
            // 0 and 1 write, 2 relays, 3 reads.
            net.connect(0, 2);
            net.connect(1, 2);
            net.connect(2, 3);
            net.run(3_000);
            net.fate = Box::new(
                |from, _, bytes| {
                    if (from, bytes[0]) == (0, DELTA) { Fate::Late(500) } else { Fate::Arrives }
                },
            );
            set(&mut net, 0, 1, 1);
            net.run(1);
            set(&mut net, 1, 2, 2);
            let stamps = [0, 1].map(|at| net.ends[at].replica().clock().last());
            assert!(stamps[0] < stamps[1]);
            net.run(200);
            assert_eq!(
                (read(&net, 3, 1), read(&net, 3, 2)),
                (None, Some(2)),
                "the later one is there, fully in step"
            );
            if leaves_between {
                net.cut(2, 3);
            }
            net.run(400);
            if leaves_between {
                net.connect(2, 3);
            }
            net.run(100);
            assert_eq!(read(&net, 3, 1), Some(1), "{leaves_between} {skew_ms}");
            assert!(net.is_converged());
        }
    }
}

#[test]
fn what_a_peer_held_when_it_sent_a_delta_is_known_by_the_next_heartbeat_or_once_its_link_is_down() {
    for goes_down in [false, true] {
        let mut net: Net<Names> = Net::new(2, |_, _| {});
        net.connect(0, 1);
        net.run(3_000);
        // Deltas arrive, and no heartbeat does.
        net.fate = Box::new(|_, _, bytes| if bytes[0] == DELTA { Fate::Arrives } else { Fate::Lost });
        set(&mut net, 1, 1, 7);
        net.run(DELAY_MS);
        assert_eq!(read(&net, 0, 1), Some(7));
        let sent = net.ends[1].replica().vector();
        if goes_down {
            net.cut(0, 1);
        } else {
            net.run(1_000);
        }
        let known = net.ends[0].replica().known_vectors();
        let known = known.iter().find(|(known, _)| *known == id(1)).map(|(_, vector)| vector);
        assert_eq!(known, Some(&sent), "{goes_down}");
    }
}

#[test]
fn what_a_stranger_said_to_hold_is_remembered_for_as_long_as_it_is_connected() {
    // Neither is a member, and neither becomes one.
    let mut net: Net<Names> = Net::new(2, |_, config| config.admission = Admission::Invited);
    set(&mut net, 1, 1, 1);
    net.connect(0, 1);
    net.run(3_000);
    assert!(net.is_converged() && net.ends[0].members().is_empty());
    let is_any_known = |net: &Net<Names>| !format!("{:?}", net.ends[0]).contains(" told: {}");
    assert!(is_any_known(&net));
    net.cut(0, 1);
    let clock = net.clock(0) + 1_000;
    net.ends[0].tick(clock);
    assert!(!is_any_known(&net), "there may be any number of strangers");
}
