//! Counters that are written apart, reset and removed.

use driftless::{Counter, Document, MergeMap, Replica, TransactError, VersionVector};

use crate::{D, NOW_MS, every, message, receive, replica, subjects, sync, three};

fn run(number: &str) {
    subjects::documents(include_str!("counters.txt"), number);
}

#[test]
fn t40_resets_and_removals_take_what_they_saw_exactly() {
    run("T40");
}

#[test]
fn b05_what_a_removal_saw_is_subtracted_once() {
    run("B05");
}

#[test]
fn b43_concurrent_additions_all_count() {
    run("B43");
}

/// Every message twice, in every order, the whole of a replica that has merged it among them.
#[test]
fn b43_additions_that_arrive_more_than_once_count_once() {
    let [mut a, mut b, mut c] = three::<MergeMap<u8, Counter>>();
    for replica in [&mut a, &mut b] {
        replica.transact(NOW_MS, |map| map.update(&1, |counter| counter.add(45))).unwrap();
    }
    let nothing = VersionVector::new();
    let mut messages = vec![message(&a, &nothing), message(&b, &nothing)];
    sync(&a, &mut c);
    messages.push(message(&c, &nothing));
    sync(&b, &mut c);
    messages.push(message(&c, &nothing));
    let check = |replica: &Replica<MergeMap<u8, Counter>>| {
        assert_eq!(replica.state().get(&1).map(Counter::value), Some(90));
    };
    for order in every::order(messages.len()) {
        let mut to = replica(D);
        for number in order.iter().chain(&order) {
            receive(&mut to, &messages[*number]).unwrap();
        }
        check(&to);
    }
}

/// What three replicas add apart, and the sum, which may lie beyond what 64 bits and what a float can hold.
const SUMS: [([i64; 3], i128); 7] = [
    ([i64::MAX, i64::MAX, 0], 2 * i64::MAX as i128),
    ([i64::MAX, 1, 0], i64::MAX as i128 + 1),
    ([i64::MAX, i64::MAX, i64::MAX], 3 * i64::MAX as i128),
    ([i64::MIN, i64::MIN, -1], 2 * i64::MIN as i128 - 1),
    ([i64::MIN, i64::MAX, i64::MAX], i64::MAX as i128 - 1),
    ([1 << 53, 1, 1], (1 << 53) + 2),
    ([i64::MAX, -1, 1], i64::MAX as i128),
];

#[test]
fn b44_sums_beyond_the_range_are_the_same_in_every_order_and_additions_to_them_are_refused() {
    for (parts, sum) in SUMS {
        let value = i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX });
        let history = || -> Vec<Replica<Document>> {
            let mut replicas = three::<Document>();
            for (replica, by) in replicas.iter_mut().zip(parts) {
                replica.transact(NOW_MS, |document| document.increment(&["n"], by)).unwrap();
            }
            replicas.into()
        };
        let check = |replica: &Replica<Document>| {
            let counter = replica.state().counter(&["n"]).unwrap();
            assert_eq!((counter.exact(), counter.value()), (sum, value));
        };
        check(&every::merge_tree(&history().iter().collect::<Vec<_>>()));
        every::convergence(history, check, true);

        // What lies outside does not go further outside, and what was refused leaves nothing behind.
        let mut replicas = history();
        for from in [0, 1, 2, 1, 0] {
            for to in 0..3 {
                if let Ok([from, to]) = replicas.get_disjoint_mut([from, to]) {
                    sync(from, to);
                }
            }
        }
        let outward = if sum < 0 { -1 } else { 1 };
        if sum != i128::from(value) {
            for replica in &mut replicas {
                let before = replica.digest();
                let refused = replica.transact(NOW_MS + 1, |document| document.increment(&["n"], outward));
                assert!(matches!(refused, Err(TransactError::Aborted(_))));
                assert_eq!(replica.digest(), before);
            }
        }
        // A reset on one side while another one counts: exact as ever.
        replicas[0].transact(NOW_MS + 2, |document| document.delete(&["n"])).unwrap();
        replicas[1].transact(NOW_MS + 2, |document| document.increment(&["n"], -outward)).unwrap();
        let merged = every::merge_tree(&replicas.iter().collect::<Vec<_>>());
        assert_eq!(merged.state().counter(&["n"]).unwrap().exact(), i128::from(-outward));
    }
}
