//! What is known of commits, and what of it decides which of two copies of a process made them.

use driftless::{ReplicaId, SyncEvent, Timestamp};

use crate::forge::{HEAD, Seal};
use crate::identity::{Accounts, FRESH, POINTS, answer, cloned, newcomer, visit, visits};
use crate::net::{BEAT, DELAY_MS, DELTA, Fate, Net, id, member};

/// What the second copy to be found out goes on as.
const OTHER: ReplicaId = ReplicaId::from_u128(0xf5e6);

/// What a frame says of commits: whose they are, which, and whether those are all that are known.
type Told = (ReplicaId, Vec<Timestamp>, bool);

/// Both copies go on, whichever was found out. Returns which were.
fn settle(net: &mut Net<Accounts>) -> [bool; 2] {
    [(0, FRESH), (2, OTHER)].map(|(at, fresh)| {
        let is_asked = answer(net, at, fresh);
        net.run(5_000);
        is_asked
    })
}

/// Lets time pass until something is so.
fn run_until(net: &mut Net<Accounts>, is_so: impl Fn(&Net<Accounts>) -> bool) {
    let end_ms = net.now_ms + 5_000;
    while !is_so(net) {
        assert!(net.now_ms < end_ms, "it is not so");
        net.run(1);
    }
}

#[test]
fn a_copy_does_not_go_on_as_another_before_it_has_heard_of_more_than_the_newest_commits() {
    let mut net = cloned(4, 0);
    // So many that none of those which both copies made is among the newest.
    for number in 0..20 {
        visit(&mut net, 0, number % 3, "original", 200 + number);
        net.run(3);
    }
    visit(&mut net, 2, 1, "copy", 100);
    net.connect(0, 1);
    net.run(3_000);
    net.connect(2, 1);
    // The program around it does not hesitate.
    let is_asked = |event: &SyncEvent| matches!(event, SyncEvent::IdInDoubt { .. });
    run_until(&mut net, |net| net.events[2].iter().any(is_asked));
    assert!(answer(&mut net, 2, OTHER));
    net.run(5_000);
    settle(&mut net);
    assert!(net.is_converged());
    assert_eq!(visits(&net, 1), 4 + 20 + 1, "what both made is issued again");
}

#[test]
fn a_copy_that_is_in_doubt_does_not_vouch_for_the_commits_that_put_it_there() {
    let mut net = cloned(4, 0);
    net.connect(0, 1);
    net.connect(2, 1);
    net.run(3_000);
    // What the second one wrote is under way still when that is told what the first one wrote.
    net.fate =
        Box::new(|from, _, bytes| if (from, bytes[0]) == (2, DELTA) { Fate::Held } else { Fate::Arrives });
    visit(&mut net, 0, 0, "original", 200);
    net.run(3);
    visit(&mut net, 2, 1, "copy", 210);
    net.run(3_000);
    let clock = net.clock(2);
    assert!(net.ends[2].write(clock, |accounts| accounts.remove(&1)).is_err());
    net.fate = Box::new(|_, _, _| Fate::Arrives);
    net.release();
    net.run(3_000);
    assert_eq!(visits(&net, 1), 4 + 1, "it is taken for what the first one wrote");
    assert!(settle(&mut net)[1]);
    assert!(net.is_converged());
    assert_eq!(visits(&net, 1), 4 + 2);
}

#[test]
fn what_is_said_of_commits_of_others_does_not_vouch_for_those_of_who_says_it() {
    for whose in [id(1), id(9)] {
        let mut net = cloned(4, 0);
        net.connect(0, 1);
        net.connect(2, 1);
        net.run(3_000);
        visit(&mut net, 0, 0, "original", 200);
        net.run(3);
        visit(&mut net, 2, 1, "copy", 210);
        net.run(DELAY_MS - 2);
        assert_eq!(visits(&net, 1), 4 + 1, "what the second one wrote is about to arrive");
        // Those are later than all that is known of the two.
        visit(&mut net, 1, 2, "peer", 220);
        let told: Told = (whose, vec![net.ends[1].replica().clock().last()], false);
        let seal = Seal::of_link(net.link(2, 1).1);
        let frame = seal.frame(POINTS, &rmp_serde::to_vec(&told).expect("it can be written"));
        net.deliver(2, 1, &frame).expect("it is well formed");
        net.run(5_000);
        assert_ne!(settle(&mut net), [false; 2], "{whose}");
        assert!(net.is_converged(), "{whose}");
        assert_eq!([0, 1, 2].map(|at| visits(&net, at)), [4 + 3; 3], "{whose}");
    }
}

#[test]
fn who_does_not_hold_what_was_forgotten_for_it_is_told_so_during_a_session_too() {
    let mut net = cloned(4, 0);
    let third = newcomer(&mut net, 3);
    net.connect(0, 1);
    net.connect(2, 1);
    net.connect(1, third);
    net.run(3_000);
    net.isolate(0);
    net.connect(0, third);
    net.run(3_000);
    assert!(net.is_converged());
    // Neither of the two writes, so no vector shows that there are two; and one of them is late.
    net.fate = Box::new(
        |from, to, bytes| {
            if (from, to, bytes[0]) == (1, 2, DELTA) { Fate::Lost } else { Fate::Arrives }
        },
    );
    visit(&mut net, third, 7, "third", 1);
    net.run(5_000);
    assert_eq!([0, 1, 2, third].map(|at| visits(&net, at)), [5, 5, 4, 5]);
    let clock = net.clock(2);
    assert!(net.ends[2].write(clock, |accounts| accounts.remove(&1)).is_err(), "that it holds it is known");
    assert!(answer(&mut net, 2, FRESH));
    net.fate = Box::new(|_, _, _| Fate::Arrives);
    net.run(5_000);
    assert!(net.is_converged());
    assert_eq!(visits(&net, 2), 5);
}

#[test]
fn a_copy_that_made_only_later_commits_is_found_out_by_those_that_it_lacks() {
    for before in [0, 4] {
        let mut net = cloned(before, 0);
        net.connect(0, 1);
        net.connect(2, 1);
        net.run(3_000);
        // Both are under way at once, in the order of their stamps.
        visit(&mut net, 0, 0, "original", 200);
        net.run(3);
        visit(&mut net, 2, 1, "copy", 210);
        net.run(5_000);
        assert_ne!(settle(&mut net), [false; 2], "{before}");
        assert!(net.is_converged(), "{before}");
        assert_eq!([0, 1, 2].map(|at| visits(&net, at)), [i64::from(before) + 2; 3], "{before}");
    }
}

#[test]
fn what_a_peer_holds_of_a_copy_stays_its_own_if_of_the_other_one_the_peer_has_only_heard() {
    let mut net = cloned(4, 0);
    net.connect(0, 1);
    net.connect(2, 1);
    net.run(3_000);
    // The first one writes, and says so: that is heard, and passed on. What it wrote does not arrive.
    net.fate =
        Box::new(|from, _, bytes| if (from, bytes[0]) == (0, DELTA) { Fate::Held } else { Fate::Arrives });
    visit(&mut net, 0, 0, "original", 200);
    let written = net.ends[0].replica().vector();
    let is_said =
        |net: &Net<Accounts>| net.ends[1].replica().known_vectors().contains(&(id(0), written.clone()));
    run_until(&mut net, is_said);
    let beats = net.logged(BEAT, 1, 2);
    run_until(&mut net, |net| net.logged(BEAT, 1, 2) > beats);
    // That is under way when the second one writes.
    visit(&mut net, 2, 1, "copy", 210);
    net.run(100);
    assert_eq!(visits(&net, 1), 4 + 1, "what the second one wrote is taken");
    net.run(3_000);
    assert!(answer(&mut net, 2, FRESH), "it is told of what the first one said");
    net.run(5_000);
    assert_eq!(visits(&net, 1), 4 + 1, "what was taken is issued again");
    net.fate = Box::new(|_, _, _| Fate::Arrives);
    assert!(answer(&mut net, 0, OTHER));
    net.run(5_000);
    assert!(net.is_converged());
    assert_eq!(visits(&net, 1), 4 + 2);
}

/// Of all frames from one to another the most commits that one of them told of.
fn most_told(net: &Net<Accounts>, from: usize, to: usize) -> usize {
    let frames = net.log.iter().filter(|(a, b, bytes)| (*a, *b, bytes[0]) == (from, to, POINTS));
    let told =
        frames.map(|(_, _, bytes)| rmp_serde::from_slice::<Told>(&bytes[HEAD..]).expect("three fields"));
    told.map(|(_, points, _)| points.len()).max().unwrap_or_default()
}

#[test]
fn commits_of_who_left_are_all_remembered_and_of_an_id_that_is_closed_the_newest() {
    const MANY: u16 = 600;
    for is_closed in [false, true] {
        let mut net = cloned(4, 0);
        // A member that holds nothing: not all are known to hold any of it.
        let third = newcomer(&mut net, 3);
        net.fate = Box::new(
            move |_, to, bytes| if (to, bytes[0]) == (third, DELTA) { Fate::Lost } else { Fate::Arrives },
        );
        net.connect(1, third);
        net.run(1_000);
        net.isolate(third);
        for number in 0..MANY {
            visit(&mut net, 0, number as u8 % 3, "original", number as u8);
        }
        net.connect(0, 1);
        net.run(3_000);
        assert_eq!(visits(&net, 1), 4 + i64::from(MANY));
        if is_closed {
            // With it goes whoever has not heard of that.
            net.isolate(0);
            net.evict(&[1], 0);
            net.evict(&[1], 3);
        } else {
            let clock = net.clock(0);
            net.ends[0].leave(clock).expect("it is legal");
            net.pump(0);
            net.run(1_000);
            net.isolate(0);
        }
        assert!(net.ends[1].members().iter().all(|one| one.member != member(0)));
        assert_eq!(net.ends[1].replica().vector().get(&id(0)) == Timestamp::ZERO, is_closed);
        net.run(3_000);
        visit(&mut net, 2, 1, "copy", 210);
        net.log.clear();
        net.connect(2, 1);
        net.run(3_000);
        assert!(answer(&mut net, 2, FRESH));
        net.run(5_000);
        assert!(net.agree(&[1, 2]));
        if is_closed {
            // Ids are closed with each restart, and what is kept of them must not grow with that.
            assert_eq!(most_told(&net, 1, 2), 512 + 1);
        } else {
            assert!(most_told(&net, 1, 2) > usize::from(MANY));
            // Up to where the two are one, nothing is issued again.
            assert_eq!(visits(&net, 1), 4 + i64::from(MANY) + 1);
        }
    }
}
