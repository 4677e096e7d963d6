//! Some are cut off from others, in whole or in part, and some of the network says nothing of it.

use driftless::{Committed, Held, LwwRegister, MergeMap, Need, OrSet, SyncEvent, Token};

use crate::dice::Dice;
use crate::net::{DELAY_MS, DELTA, Fate, GAP, Net};

type Names = MergeMap<u8, LwwRegister<i64>>;

fn set(net: &mut Net<Names>, at: usize, key: u8, value: i64) {
    net.write(at, |names| names.update(&key, |name| name.set(value)));
}

#[test]
fn b50_what_one_has_of_a_lost_author_another_gets_from_it() {
    for is_told in [false, true] {
        let mut net: Net<Names> = Net::new(3, |_, _| {});
        net.mesh();
        net.run(3_000);
        for key in 0..10 {
            set(&mut net, 0, key, 1);
        }
        net.run(1_000);
        net.fate = Box::new(|from, to, _| if (from, to) == (0, 2) { Fate::Lost } else { Fate::Arrives });
        for key in 10..20 {
            set(&mut net, 0, key, 1);
        }
        net.run(DELAY_MS);
        assert_eq!([1, 2].map(|at| net.ends[at].replica().state().len()), [20, 10]);
        // Now 0 is gone for good, and perhaps nobody is told: its connections just fall silent.
        net.fate = Box::new(|from, to, _| if from == 0 || to == 0 { Fate::Lost } else { Fate::Arrives });
        if is_told {
            net.isolate(0);
        }
        net.run(if is_told { 2_000 } else { 5_000 });
        assert_eq!(net.ends[2].replica().state().len(), 20, "{is_told}");
        assert!(net.agree(&[1, 2]));
        // The two go on meanwhile.
        set(&mut net, 1, 99, 1);
        set(&mut net, 2, 98, 1);
        net.run(5_000);
        assert!(net.agree(&[1, 2]));
    }
}

#[test]
fn b50_two_that_go_on_from_each_other_do_not_wait_for_each_other_for_ever_at_a_third() {
    let mut net: Net<Names> = Net::new(3, |_, _| {});
    net.mesh();
    net.run(3_000);
    net.log.clear();
    net.fate = Box::new(|_, to, bytes| if to == 2 && bytes[0] == DELTA { Fate::Lost } else { Fate::Arrives });
    set(&mut net, 0, 1, 1);
    set(&mut net, 1, 2, 1);
    net.run(DELAY_MS);
    net.fate = Box::new(|_, _, _| Fate::Arrives);
    // Each of these goes on from what the other one wrote before.
    set(&mut net, 0, 3, 1);
    set(&mut net, 1, 4, 1);
    net.run(DELAY_MS);
    assert_eq!(net.ends[2].replica().state().len(), 0, "both wait");
    net.run(500);
    assert!(net.logged(GAP, 2, 0) + net.logged(GAP, 2, 1) > 0);
    assert_eq!(net.ends[2].replica().state().len(), 4);
    assert!(net.is_converged());
}

/// Elements that were confirmed to be on two disks, through partitions, crashes that lose what is not on disk, and loss.
#[test]
fn b50_no_confirmed_addition_is_lost_by_partitions_and_crashes() {
    let (mut confirmed, mut lost, mut restarts) = (0, 0, 0);
    for seed in 0..12 {
        let mut dice = Dice::new(seed);
        let mut net: Net<OrSet<u32>> = Net::new(4, |_, config| config.is_durable = true);
        let mut disks: Vec<Vec<u8>> = (0..4).map(|at| net.save(at)).collect();
        net.mesh();
        net.run(2_000);
        let mut waiting = vec![Vec::new(); 4];
        let (mut safe, mut all) = (Vec::new(), 0_u32);
        let mut losses = Dice::new(seed + 1_000);
        net.fate = Box::new(move |_, _, _| if losses.roll(10) == 0 { Fate::Lost } else { Fate::Arrives });
        for _ in 0..150 {
            let at = dice.roll(4);
            match dice.roll(10) {
                0..=4 => {
                    let (clock, element) = (net.clock(at), all);
                    all += 1;
                    let Committed { stamp, .. } =
                        net.ends[at].write(clock, |set| set.add(&element)).expect("it is legal");
                    let stamp = stamp.expect("it is an event");
                    let need = Need::Members(2);
                    let concern = net.ends[at].confirm(clock, stamp, need, Held::Durable, clock + 600_000);
                    waiting[at].push((concern, element));
                    net.pump(at);
                }
                5..=6 => disks[at] = net.save(at),
                7 => {
                    let (a, b) = dice.pair(4);
                    net.cut(a, b);
                }
                8 => {
                    let (a, b) = dice.pair(4);
                    net.cut(a, b);
                    net.connect(a, b);
                }
                _ => {
                    restarts += 1;
                    let disk = disks[at].clone();
                    net.restart(at, &disk);
                    // What it waited for to be confirmed it does not know any more, nor do we.
                    waiting[at].clear();
                }
            }
            net.run(dice.roll(300) as u64);
            for at in 0..4 {
                for event in std::mem::take(&mut net.events[at]) {
                    if let SyncEvent::Confirmed { concern, .. } = event {
                        let mut of = waiting[at].iter();
                        safe.extend(of.find(|(waiting, _)| *waiting == concern).map(|(_, element)| *element));
                    }
                }
            }
        }
        // All who still run hold what they had not on disk; of that nobody was promised anything.
        #[expect(clippy::needless_range_loop, reason = "it is the number of an endpoint")]
        for at in 0..4 {
            let disk = disks[at].clone();
            net.restart(at, &disk);
            net.save(at);
        }
        net.fate = Box::new(|_, _, _| Fate::Arrives);
        net.mesh();
        for _ in 0..6 {
            net.run(4_000);
            for at in 0..4 {
                net.save(at);
            }
        }
        net.run(20_000);
        assert!(net.is_converged(), "{seed}");
        let left = net.ends[0].replica().state();
        let gone: Vec<u32> = safe.iter().copied().filter(|element| !left.contains(element)).collect();
        assert_eq!(gone, [], "of seed {seed}");
        confirmed += safe.len();
        lost += all as usize - left.len();
    }
    assert!(confirmed > 100 && lost > 20 && restarts > 50, "{confirmed} {lost} {restarts}");
}

/// Users who move between regions, while connections break and come back all the time.
#[test]
fn b70_through_reconnections_no_read_with_a_token_goes_back_and_no_write_of_ones_own_vanishes() {
    let (mut reads, mut refused) = (0, 0);
    for seed in 0..6 {
        let mut dice = Dice::new(seed);
        let mut net: Net<OrSet<u32>> = Net::new(3, |_, _| {});
        net.mesh();
        net.run(1_000);
        let mut users: Vec<(Token, Vec<u32>)> = vec![Default::default(); 4];
        for step in 0..200_u32 {
            let (a, b) = dice.pair(3);
            match dice.roll(4) {
                0 => net.cut(a, b),
                1 => {
                    net.cut(a, b);
                    net.connect(a, b);
                }
                _ => {}
            }
            let (token, seen) = &mut users[dice.roll(4)];
            let at = dice.roll(3);
            if net.ends[at].reached(token).is_ok() {
                reads += 1;
                let state = net.ends[at].replica().state();
                assert!(
                    seen.iter().all(|element| state.contains(element)),
                    "what was seen is gone, with seed {seed}"
                );
                *seen = state.iter().copied().collect();
                token.join(&Token::from(net.ends[at].snapshot().vector()));
            } else {
                refused += 1;
            }
            if dice.roll(2) == 0 {
                let clock = net.clock(at);
                let committed = net.ends[at].write(clock, |set| set.add(&step)).expect("it is legal");
                token.join(&net.ends[at].token(committed.stamp.expect("it is an event")));
                seen.push(step);
                net.pump(at);
            }
            net.run(dice.roll(60) as u64);
        }
        net.mesh();
        net.run(20_000);
        assert!(net.is_converged());
        for (token, seen) in users {
            assert_eq!(net.ends[2].reached(&token), Ok(()));
            assert!(seen.iter().all(|element| net.ends[2].replica().state().contains(element)));
        }
    }
    assert!(reads > 300 && refused > 100, "{reads} {refused}");
}
