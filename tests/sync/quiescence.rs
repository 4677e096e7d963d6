//! An exchange ends, and once it has, both hold the same.

use driftless::{Admission, LwwRegister, MergeMap, OrSet};

use crate::dice::Dice;
use crate::net::{BEAT, DELAY_MS, DELTA, Fate, GAP, Net, member};

type Names = MergeMap<u8, LwwRegister<i64>>;
type Sets = MergeMap<u8, OrSet<u8>>;

fn set(net: &mut Net<Names>, at: usize, key: u8, value: i64) {
    net.write(at, |names| names.update(&key, |name| name.set(value)));
}

/// Two that each hold something of their own meet, and write on.
fn meeting(lost: Option<usize>) -> Net<Names> {
    let mut net: Net<Names> = Net::new(2, |_, config| config.chunk_bytes = 256);
    for key in 0..40 {
        set(&mut net, 0, key, 1);
        set(&mut net, 1, 100 + key, 1);
    }
    net.write(1, |names| names.remove(&107));
    let mut number = 0;
    net.fate = Box::new(move |_, _, _| {
        number += 1;
        if lost == Some(number - 1) { Fate::Lost } else { Fate::Arrives }
    });
    net.connect(0, 1);
    for round in 0..6 {
        net.run(30);
        set(&mut net, round % 2, 200 + round as u8, 1);
    }
    net.run(800);
    net
}

#[test]
fn b51_whichever_frame_is_lost_the_exchange_ends_and_both_hold_the_same() {
    let whole = meeting(None);
    assert!(whole.is_converged());
    let frames = whole.log.len();
    assert!(frames > 20, "{frames}");
    for lost in 0..frames {
        let mut net = meeting(Some(lost));
        net.run(20_000);
        assert!(net.is_converged(), "without frame {lost} of {frames}");
        net.log.clear();
        net.run(20_000);
        assert!(net.log.iter().all(|(_, _, bytes)| bytes[0] == BEAT), "it goes on for ever without {lost}");
    }
}

#[test]
fn b51_one_is_wiped_and_the_other_goes_on_with_its_session() {
    for after_ms in [0, 10, 25, 45, 65, 100, 200, 1_000, 30_000] {
        for wiped in [0, 1] {
            let mut net: Net<Names> = Net::new(2, |_, config| {
                config.chunk_bytes = 256;
                config.window_bytes = 1_024;
                config.audit_ms = 1_000_000;
            });
            for key in 0..100 {
                set(&mut net, 0, key, 1);
                set(&mut net, 1, 100 + key, 1);
            }
            net.connect(0, 1);
            net.run(after_ms);
            let held = net.ends[1 - wiped].replica().state().len();
            net.wipe(wiped);
            set(&mut net, wiped, 250, 1);
            net.run(30_000);
            assert!(net.is_converged(), "{after_ms} {wiped}");
            // What it had sent before it was wiped comes back, what was under way included; the rest is lost with it.
            let left = net.ends[wiped].replica().state().len();
            assert!([101, 201].contains(&left) && left > held, "{left} of {held}: {after_ms} {wiped}");
            net.log.clear();
            net.run(20_000);
            assert!(net.log.iter().all(|(_, _, bytes)| bytes[0] == BEAT), "{after_ms} {wiped}");
        }
    }
}

/// The longest heartbeat of a while in which nothing is written.
fn longest_beat(net: &mut Net<Names>) -> usize {
    net.log.clear();
    net.run(10_000);
    assert!(net.log.iter().all(|(_, _, bytes)| bytes[0] == BEAT), "there is more to say");
    net.log.iter().map(|(.., bytes)| bytes.len()).max().expect("there are some")
}

#[test]
fn who_waits_to_be_let_in_is_not_asked_again_and_again_what_it_holds() {
    let mut net: Net<Names> = Net::new(2, |_, config| {
        config.admission = Admission::Invited;
        config.audit_ms = 1_000_000;
    });
    net.ends[0].found(net.now_ms).expect("it is legal");
    (0..2).for_each(|at| set(&mut net, at, at as u8, 1));
    net.connect(0, 1);
    net.run(5_000);
    // What it wrote is not taken, and is sent again now and then.
    net.log.clear();
    net.run(10_000);
    let beats = net.log.iter().map(|(.., bytes)| bytes).filter(|bytes| bytes[0] == BEAT);
    let waiting = beats.map(Vec::len).max().expect("there are some");
    let clock = net.clock(0);
    net.ends[0].admit(clock, member(1)).expect("it is legal");
    net.pump(0);
    net.run(10_000);
    assert!(net.is_converged());
    let after = longest_beat(&mut net);
    assert!(waiting <= after, "{waiting} bytes instead of {after}");
}

#[test]
fn in_a_star_in_which_one_starts_again_heartbeats_are_as_short_as_before_and_what_is_removed_is_forgotten() {
    for restarted in [0, 2] {
        let mut net: Net<Names> = Net::new(4, |_, config| config.audit_ms = 1_000_000);
        (1..4).for_each(|leaf| net.connect(0, leaf));
        (0..4).for_each(|at| set(&mut net, at, at as u8, 1));
        net.run(5_000);
        let before = longest_beat(&mut net);
        let disk = net.image(restarted);
        net.restart(restarted, &disk);
        (1..4).filter(|leaf| restarted == 0 || restarted == *leaf).for_each(|leaf| net.connect(0, leaf));
        net.run(10_000);
        assert!(net.is_converged());
        // The id that it had is closed, and nobody names it any more.
        for end in &net.ends {
            assert!(end.replica().vector().len() <= 4, "{:?}", end.replica().vector());
        }
        let after = longest_beat(&mut net);
        assert!(after <= before, "{after} bytes instead of {before}, with {restarted}");
        net.write(3, |names| names.remove(&1));
        net.run(10_000);
        assert!(net.is_converged());
        for end in &net.ends {
            assert_eq!((end.replica().state().rows(), end.blocking()), (3, Vec::new()), "with {restarted}");
        }
    }
}

/// Whoever has equal vectors holds the same.
fn check(net: &Net<Sets>) {
    for a in 0..net.ends.len() {
        for b in 0..a {
            let (a, b) = (net.ends[a].replica(), net.ends[b].replica());
            assert!(a.vector() != b.vector() || a.digest() == b.digest());
        }
    }
}

#[test]
fn b52_who_has_nothing_more_to_say_holds_the_same() {
    for seed in 0..40 {
        let mut dice = Dice::new(seed);
        let count = 2 + seed as usize % 3;
        let mut net: Net<Sets> = Net::new(count, |at, config| {
            config.chunk_bytes = [128, 1_024, 256 << 10][at % 3];
            config.window_bytes = [512, 4_096, 1 << 20][at % 3];
        });
        let mut fates = Dice::new(seed + 500);
        net.fate = Box::new(move |_, _, _| match fates.roll(12) {
            0 | 1 => Fate::Lost,
            2 => Fate::Twice,
            3 => Fate::Late(90),
            4 => Fate::Late(700),
            _ => Fate::Arrives,
        });
        net.mesh();
        for _ in 0..80 {
            let (at, key) = (dice.roll(count), dice.roll(5) as u8);
            let element = dice.roll(40) as u8;
            match dice.roll(8) {
                0..=3 => net.write(at, |sets| sets.update(&key, |set| set.add(&element))),
                4 => drop(net.write(at, |sets| sets.update(&key, |set| set.remove(&element)))),
                5 => drop(net.write(at, |sets| sets.remove(&key))),
                _ => {
                    let (a, b) = dice.pair(count);
                    net.cut(a, b);
                    if dice.roll(2) == 0 {
                        net.connect(a, b);
                    }
                }
            }
            net.run(dice.roll(120) as u64);
            check(&net);
        }
        net.fate = Box::new(|_, _, _| Fate::Arrives);
        for at in 1..count {
            net.connect(0, at);
        }
        // As soon as all but heartbeats has ended.
        let mut silent = 0;
        for _ in 0..300 {
            net.log.clear();
            net.run(1_000);
            silent =
                if [DELTA, GAP].iter().all(|kind| net.logged_by_all(*kind) == 0) { silent + 1 } else { 0 };
            if silent == 3 {
                break;
            }
        }
        assert_eq!(silent, 3, "it does not end, with seed {seed}");
        assert!(net.is_converged(), "all are silent, and not the same, with seed {seed}");
    }
}

#[test]
fn b52_two_that_say_the_same_in_their_heartbeats_are_the_same() {
    let mut net: Net<Names> = Net::new(2, |_, _| {});
    net.connect(0, 1);
    net.run(3_000);
    net.fate = Box::new(|_, _, bytes| if bytes[0] == DELTA { Fate::Lost } else { Fate::Arrives });
    set(&mut net, 0, 7, 1);
    net.run(DELAY_MS * 3);
    let peers = net.ends[0].peers();
    assert_eq!(peers[0].behind, 1, "it is sent, and not held: {peers:?}");
    net.fate = Box::new(|_, _, _| Fate::Arrives);
    net.run(10_000);
    assert_eq!([0, 1].map(|at| net.ends[at].peers()[0].behind), [0, 0]);
    assert!(net.is_converged());
}
