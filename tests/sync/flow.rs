//! What is sent, when, and how much of it.

use driftless::{LwwRegister, MergeMap};

use crate::net::{DELAY_MS, DELTA, Fate, Net};

type Names = MergeMap<u8, LwwRegister<i64>>;

fn set(net: &mut Net<Names>, at: usize, key: u8, value: i64) {
    net.write(at, |names| names.update(&key, |name| name.set(value)));
}

#[test]
fn a_commit_is_pushed_at_once_and_relayed() {
    let mut net: Net<Names> = Net::new(3, |_, _| {});
    net.connect(0, 1);
    net.connect(1, 2);
    net.run(500);
    set(&mut net, 0, 7, 1);
    net.run(2 * DELAY_MS);
    assert!(net.is_converged(), "two hops, two delays");
}

#[test]
fn in_a_mesh_each_hears_of_a_write_once() {
    let mut net: Net<Names> = Net::new(3, |_, _| {});
    net.mesh();
    net.run(3_000);
    net.log.clear();
    set(&mut net, 0, 7, 1);
    net.run(DELAY_MS * 3);
    assert!(net.is_converged());
    let mut deltas: Vec<_> =
        net.log.iter().filter(|(_, _, bytes)| bytes[0] == DELTA).map(|(from, to, _)| (*from, *to)).collect();
    deltas.sort_unstable();
    assert_eq!(deltas, [(0, 1), (0, 2)]);
}

#[test]
fn what_a_returning_third_sends_to_both_is_not_passed_on_between_them() {
    let mut net: Net<Names> = Net::new(3, |_, _| {});
    net.mesh();
    net.run(3_000);
    net.cut(0, 2);
    net.cut(1, 2);
    set(&mut net, 2, 7, 1);
    net.run(3_000);
    net.log.clear();
    net.connect(0, 2);
    net.run(DELAY_MS / 2);
    net.connect(1, 2);
    net.run(500);
    assert!(net.is_converged());
    let is_passed_on = |(from, to, bytes): &(usize, usize, Vec<u8>)| (*from, *to, bytes[0]) == (1, 0, 2);
    assert!(!net.log.iter().any(is_passed_on), "0 was connected to 2 before 1 had anything to pass on");
}

#[test]
fn what_several_lack_goes_out_to_them_in_turns() {
    let mut net: Net<Names> = Net::new(4, |_, config| config.chunk_bytes = 200);
    (1..4).for_each(|other| net.connect(0, other));
    net.run(3_000);
    net.log.clear();
    net.write(0, |names| (0..100).for_each(|key| names.update(&key, |name| name.set(i64::from(key)))));
    let sent: Vec<usize> =
        net.log.iter().filter(|(_, _, bytes)| bytes[0] == DELTA).map(|(_, to, _)| *to).collect();
    assert!(sent.len() >= 9, "{sent:?}");
    let next = |to: usize| to % 3 + 1;
    assert!(sent.windows(2).all(|pair| pair[1] == next(pair[0])), "{sent:?}");
}

#[test]
fn two_quiet_replicas_exchange_one_small_message_a_heartbeat() {
    let mut net: Net<Names> = Net::new(2, |_, _| {});
    net.connect(0, 1);
    for key in 0..100 {
        set(&mut net, usize::from(key % 2), key, 1);
    }
    net.run(5_000);
    net.log.clear();
    net.take_sent();
    net.run(10_000);
    let (frames, bytes) = net.take_sent();
    assert_eq!(frames, 20, "one a heartbeat and direction");
    assert!(net.log.iter().all(|(_, _, bytes)| bytes.len() <= 64), "{bytes} bytes in all");
}

#[test]
fn what_is_lost_late_or_repeated_arrives_all_the_same() {
    for pattern in 0..6_usize {
        let mut net: Net<Names> = Net::new(3, |_, _| {});
        let mut count = 0;
        net.fate = Box::new(move |_, _, _| {
            count += 1;
            match (pattern, count % 5) {
                (0, 0 | 1) | (1, 0 | 2 | 3) => Fate::Lost,
                (2, 0 | 1) => Fate::Twice,
                (3, 0 | 3) => Fate::Late(130),
                (4, 1) => Fate::Late(700),
                (5, 0) => Fate::Lost,
                (5, 2) => Fate::Late(300),
                (5, 3) => Fate::Twice,
                _ => Fate::Arrives,
            }
        });
        net.mesh();
        for round in 0..40 {
            set(&mut net, round % 3, (round % 7) as u8, round as i64);
            net.run(37);
        }
        net.run(60_000);
        assert!(net.is_converged(), "{pattern}");
    }
}
