//! What was removed stays removed, whatever comes late, and what was forgotten costs nothing any more.

use driftless::{LwwRegister, MergeMap, OrSet};

use crate::net::{BEAT, DELAY_MS, DELTA, Fate, GAP, Net};

type Texts = MergeMap<u8, LwwRegister<i64>>;
type Boxes = MergeMap<u8, OrSet<u8>>;

fn set(net: &mut Net<Texts>, at: usize, key: u8, value: i64) {
    net.write(at, |texts| texts.update(&key, |text| text.set(value)));
}

fn remove(net: &mut Net<Texts>, at: usize, key: u8) {
    assert!(net.write(at, |texts| texts.remove(&key)), "it is there");
}

fn read(net: &Net<Texts>, at: usize, key: u8) -> Option<i64> {
    net.ends[at].replica().state().get(&key).and_then(LwwRegister::latest).copied()
}

fn rows(net: &Net<Texts>) -> Vec<usize> {
    net.ends.iter().map(|end| end.replica().state().rows()).collect()
}

#[test]
fn b03_a_removal_that_came_before_what_it_removes_holds_whatever_becomes_of_the_place_around_it() {
    for removes_around in [false, true] {
        let mut net: Net<Boxes> = Net::new(3, |_, _| {});
        net.mesh();
        net.run(3_000);
        net.write(2, |boxes| boxes.update(&7, |elements| elements.add(&9)));
        net.run(1_000);
        net.log.clear();
        // What 0 adds reaches 2 after the removal of it by 1.
        net.fate =
            Box::new(
                |from, to, bytes| {
                    if (from, to, bytes[0]) == (0, 2, DELTA) { Fate::Late(150) } else { Fate::Arrives }
                },
            );
        net.write(0, |boxes| boxes.update(&7, |elements| elements.add(&1)));
        net.run(DELAY_MS);
        assert!(net.write(1, |boxes| boxes.update(&7, |elements| elements.remove(&1))));
        net.run(DELAY_MS);
        let vectors = [0, 1, 2].map(|at| net.ends[at].replica().vector());
        assert!(vectors[0] == vectors[1] && vectors[2] != vectors[1], "the removal waits for the addition");
        if removes_around {
            net.write(2, |boxes| boxes.remove(&7));
        }
        net.run(150);
        assert_eq!(net.logged_by_all(GAP), 0, "what waited was taken, and not asked for again");
        assert!(net.is_converged());
        for at in 0..3 {
            let left =
                net.ends[at].replica().state().get(&7).map(|set| set.iter().copied().collect::<Vec<_>>());
            assert_eq!(left, (!removes_around).then(|| vec![9]), "at {at}");
        }
        net.run(5_000);
        assert!(net.is_converged());
    }
}

#[test]
fn b10_after_more_writes_than_anything_remembers_a_removal_still_arrives_and_old_frames_undo_nothing() {
    let mut net: Net<Texts> = Net::new(3, |_, _| {});
    net.mesh();
    net.run(2_000);
    set(&mut net, 0, 7, -1);
    net.run(1_000);
    net.isolate(1);
    net.log.clear();
    // The ledgers of commits remember 4,096 of one replica.
    for value in 0..5_000 {
        set(&mut net, 0, 7, value);
        net.run(u64::from(value % 50 == 0));
    }
    net.run(1_000);
    let old: Vec<Vec<u8>> = net
        .log
        .iter()
        .filter(|(from, to, _)| (*from, *to) == (0, 2))
        .map(|(.., bytes)| bytes.clone())
        .collect();
    remove(&mut net, 0, 7);
    // Of those that are there all have seen it; 1 has not.
    net.run(3_000);
    assert_eq!((read(&net, 1, 7), rows(&net)), (Some(-1), vec![1, 1, 1]));
    for bytes in old.iter().step_by(97) {
        net.deliver(0, 2, bytes).expect("it is an honest frame, only old");
    }
    net.run(1_000);
    assert_eq!(read(&net, 2, 7), None, "an old frame brought it back");
    // By way of one who did not write it, and with a context of long ago.
    net.connect(1, 2);
    net.run(3_000);
    assert_eq!(read(&net, 1, 7), None);
    assert!(net.is_converged());
    net.run(5_000);
    assert_eq!(rows(&net), [0, 0, 0], "it is forgotten");
    for bytes in old.iter().step_by(97) {
        net.deliver(0, 2, bytes).expect("it is an honest frame, only old");
    }
    net.run(5_000);
    assert!(net.is_converged());
    assert_eq!(rows(&net), [0, 0, 0]);
}

#[test]
fn b49_put_put_delete_beside_a_put_reads_the_same_at_both_ends() {
    for late in [false, true] {
        for first in [0, 1] {
            let mut net: Net<Texts> = Net::new(2, |_, _| {});
            if !late {
                set(&mut net, 1, 7, 100);
                net.run(10);
            }
            set(&mut net, 0, 7, 1);
            net.run(10);
            set(&mut net, 0, 7, 2);
            net.run(10);
            remove(&mut net, 0, 7);
            if late {
                net.run(10);
                set(&mut net, 1, 7, 100);
            }
            // Whoever's frames are slow.
            net.fate = Box::new(move |from, _, _| if from == first { Fate::Late(70) } else { Fate::Arrives });
            net.connect(0, 1);
            net.run(5_000);
            assert!(net.is_converged());
            assert_eq!([read(&net, 0, 7), read(&net, 1, 7)], [Some(100); 2], "{late} {first}");
        }
    }
}

#[test]
fn b55_equal_replicas_exchange_nothing_but_heartbeats_after_forgetting() {
    let mut net: Net<Texts> = Net::new(3, |_, _| {});
    net.mesh();
    for key in 0..50 {
        set(&mut net, usize::from(key % 3), key, 1);
    }
    net.run(2_000);
    for key in 0..40 {
        remove(&mut net, usize::from(key % 2), key);
    }
    net.run(6_000);
    assert_eq!(rows(&net), [10, 10, 10]);
    net.isolate(1);
    net.run(5_000);
    net.log.clear();
    net.connect(0, 1);
    net.connect(1, 2);
    net.run(10_000);
    assert!(net.is_converged());
    assert_eq!([DELTA, GAP].map(|kind| net.logged_by_all(kind)), [0, 0]);
    assert!(net.logged(BEAT, 1, 2) > 5 && net.logged(BEAT, 0, 1) > 5);
}

#[test]
fn b55_one_that_has_forgotten_and_one_that_has_not_are_equal_all_the_same() {
    let mut net: Net<Texts> = Net::new(2, |_, _| {});
    net.connect(0, 1);
    set(&mut net, 0, 7, 1);
    net.run(3_000);
    // 1 removes it, and does not hear that 0 has seen that: 0 alone may forget it.
    net.fate = Box::new(|from, _, _| if from == 0 { Fate::Lost } else { Fate::Arrives });
    remove(&mut net, 1, 7);
    net.run(3_000);
    assert_eq!(rows(&net), [0, 1]);
    net.cut(0, 1);
    net.fate = Box::new(|_, _, _| Fate::Arrives);
    net.log.clear();
    net.connect(0, 1);
    net.run(5_000);
    assert!(net.is_converged());
    assert_eq!([DELTA, GAP].map(|kind| net.logged_by_all(kind)), [0, 0]);
    assert_eq!(rows(&net), [0, 0]);
}

#[test]
fn t21_a_key_that_was_made_again_survives_one_who_returns_with_its_old_grave() {
    let mut net: Net<Texts> = Net::new(3, |_, _| {});
    net.mesh();
    set(&mut net, 0, 7, 1);
    net.run(3_000);
    remove(&mut net, 0, 7);
    net.run(DELAY_MS);
    // 2 has seen the removal, and does not know that others have.
    net.isolate(2);
    assert_eq!((read(&net, 2, 7), net.ends[2].replica().state().rows()), (None, 1));
    net.evict(&[0, 1], 2);
    net.run(5_000);
    assert_eq!(rows(&net), [0, 0, 1], "the two have forgotten it, and 2 has the grave");
    set(&mut net, 1, 7, 2);
    net.run(3_000);
    let clock = net.clock(0);
    net.ends[0].admit(clock, crate::net::member(2)).expect("it is legal");
    net.connect(0, 2);
    net.run(5_000);
    assert!(net.is_converged());
    assert_eq!([0, 1, 2].map(|at| read(&net, at, 7)), [Some(2); 3]);
    net.run(10_000);
    assert_eq!([0, 1, 2].map(|at| read(&net, at, 7)), [Some(2); 3]);
}
