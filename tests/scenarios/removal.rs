//! What a removal takes away: what it has seen, and nothing else.

use driftless::{OrSet, Replica};

use crate::{NOW_MS, every, exchange, sync, three};

/// A history of a set of names, in which A, B and C end apart.
fn set(history: impl Fn(&mut [Replica<OrSet<String>>; 3])) -> impl Fn() -> Vec<Replica<OrSet<String>>> {
    move || {
        let mut replicas = three();
        history(&mut replicas);
        replicas.into()
    }
}

/// Two additions; a copy has seen the one, its remover the other one too.
#[test]
fn b01_a_removal_that_has_seen_both_additions_removes_them_in_every_order() {
    let history = set(|[a, b, c]| {
        a.write(NOW_MS, |set| set.add("x")).unwrap();
        b.write(NOW_MS, |set| set.add("x")).unwrap();
        sync(a, c);
        a.write(NOW_MS, |set| set.remove("x")).unwrap();
        sync(b, a);
        b.write(NOW_MS, |set| set.remove("x")).unwrap();
    });
    let ends = history();
    assert!(every::merge_tree(&ends.iter().collect::<Vec<_>>()).state().is_empty());
    every::convergence(history, |replica| assert!(replica.state().is_empty()));
}

#[test]
fn t04_a_removal_on_both_sides_after_the_additions_crossed_leaves_nothing() {
    let history = set(|[a, b, _]| {
        a.write(NOW_MS, |set| set.add("x")).unwrap();
        b.write(NOW_MS, |set| set.add("x")).unwrap();
        exchange(a, b);
        a.write(NOW_MS, |set| set.remove("x")).unwrap();
        b.write(NOW_MS, |set| set.remove("x")).unwrap();
    });
    every::convergence(history, |replica| assert!(replica.state().is_empty()));
}
