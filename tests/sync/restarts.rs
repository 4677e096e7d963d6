//! Processes that die and start again with what is on their disks.

use driftless::{LwwRegister, MergeMap};

use crate::net::{DELAY_MS, DELTA, Fate, GAP, Net};

type Names = MergeMap<u16, LwwRegister<i64>>;

fn set(net: &mut Net<Names>, at: usize, key: u16, value: i64) {
    net.write(at, |names| names.update(&key, |name| name.set(value)));
}

fn read(net: &Net<Names>, at: usize, key: u16) -> Option<i64> {
    net.ends[at].replica().state().get(&key).and_then(LwwRegister::latest).copied()
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
