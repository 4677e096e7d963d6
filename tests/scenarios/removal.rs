//! What a removal takes away: what it has seen, and nothing else.

use driftless::{MergeError, Replica, VersionVector};

use crate::subjects::{self, Scripted, for_each_type_of_names};
use crate::{NOW_MS, exchange, message, receive, sync, three};

fn run(number: &str) {
    subjects::names(include_str!("removal.txt"), number);
}

#[test]
fn t01_what_all_who_added_it_removed_is_gone_though_copies_crossed() {
    run("T01");
}

#[test]
fn t02_what_each_removed_of_the_other_is_gone_though_both_show_it() {
    run("T02");
}

#[test]
fn t03_a_copy_that_has_seen_more_does_not_keep_what_was_removed() {
    run("T03");
}

#[test]
fn t04_removals_on_both_sides_of_crossed_additions_leave_nothing() {
    run("T04");
}

/// What a transaction does with a name.
const DEEDS: [&[&str]; 4] = [&[], &["remove"], &["add"], &["remove", "add"]];

#[test]
fn t07_names_of_one_stamp_are_removed_and_written_again_each_for_itself() {
    fn check<S: Scripted>() {
        for choice in 0..4 * 4 * 4 * 8 {
            let names = ["x", "y", "z"];
            let by_b = |name: usize| DEEDS[(choice >> (2 * name)) & 3];
            let is_removed_by_c = |name: usize| (choice >> (6 + name)) & 1 == 1;
            let [mut a, mut b, mut c] = three::<S>();
            a.write(NOW_MS, |state| names.iter().for_each(|name| S::act(state, &["add", name]))).unwrap();
            sync(&a, &mut b);
            sync(&a, &mut c);
            b.write(NOW_MS, |state| {
                for (place, name) in names.iter().enumerate() {
                    by_b(place).iter().for_each(|deed| S::act(state, &[deed, name]));
                }
            })
            .unwrap();
            c.write(NOW_MS, |state| {
                for (_, name) in names.iter().enumerate().filter(|(place, _)| is_removed_by_c(*place)) {
                    S::act(state, &["remove", name]);
                }
            })
            .unwrap();
            exchange(&mut b, &mut c);
            sync(&c, &mut a);
            let is_there = |place: &usize| match by_b(*place).last() {
                Some(deed) => *deed == "add",
                None => !is_removed_by_c(*place),
            };
            let expected: Vec<_> = (0..3).filter(is_there).map(|place| names[place]).collect();
            for replica in [&a, &b, &c] {
                assert_eq!(
                    replica.state().show(),
                    expected.join(" "),
                    "{choice:b} {}",
                    std::any::type_name::<S>()
                );
            }
        }
    }
    macro_rules! check {
        ($($type:ty),+) => {$(check::<$type>();)+};
    }
    for_each_type_of_names!(check);
}

/// The removal has seen an addition that its receiver has not got. It is refused, and nothing of it is remembered; asked
/// again the peer sends both, and the addition that comes late at last finds itself removed.
#[test]
fn t10_a_removal_that_is_ahead_of_its_receiver_is_refused_and_not_lost() {
    fn check<S: Scripted>(knows_author: bool) {
        let [mut a, mut b, mut c] = three::<S>();
        if knows_author {
            a.write(NOW_MS, |state| S::act(state, &["add", "y"])).unwrap();
            sync(&a, &mut c);
        }
        a.write(NOW_MS, |state| S::act(state, &["add", "x"])).unwrap();
        let addition = message(&a, &VersionVector::new());
        receive(&mut b, &addition).unwrap();
        let added = b.vector();
        b.write(NOW_MS, |state| S::act(state, &["remove", "x"])).unwrap();
        c.write(NOW_MS, |state| {
            S::act(state, &["add", "x"]);
            S::act(state, &["add", "y"]);
        })
        .unwrap();
        // Removed here as well, while the removal is on its way.
        c.write(NOW_MS, |state| S::act(state, &["remove", "x"])).unwrap();
        let removal = message(&b, &added);
        for _ in 0..2 {
            let refused = receive(&mut c, &removal).unwrap_err();
            assert_eq!(refused, MergeError::Gap { vector: c.vector() });
        }
        assert!(sync(&b, &mut c).is_news);
        assert_eq!(c.state().show(), "y");
        for late in [&addition, &removal] {
            assert!(!receive(&mut c, late).unwrap().is_news);
            assert_eq!(c.state().show(), "y");
        }
        exchange(&mut b, &mut c);
        sync(&c, &mut a);
        assert_eq!(a.state().show(), "y");
        // The other way round: who has got the addition takes the removal by itself.
        let [_, _, mut d] = three::<S>();
        receive(&mut d, &addition).unwrap();
        assert_eq!(d.state().show(), if knows_author { "x y" } else { "x" });
        receive(&mut d, &removal).unwrap();
        assert_eq!(d.state().show(), if knows_author { "y" } else { "" });
    }
    macro_rules! check {
        ($($type:ty),+) => {$(
            check::<$type>(false);
            check::<$type>(true);
        )+};
    }
    for_each_type_of_names!(check);
}

#[test]
fn t15_what_a_removal_had_not_seen_stays() {
    run("T15");
}

#[test]
fn t18_who_removes_one_without_having_seen_its_siblings_leaves_them() {
    run("T18");
}

#[test]
fn t19_the_order_within_a_transaction_is_kept() {
    run("T19");
}

/// Every sequence of at most three additions and removals, in one transaction each, on both sides.
#[test]
fn t19_every_short_transaction_does_what_its_last_line_says() {
    fn act<S: Scripted>(replica: &mut Replica<S>, deeds: &[&str]) {
        replica.write(NOW_MS, |state| deeds.iter().for_each(|deed| S::act(state, &[deed, "x"]))).unwrap();
    }
    fn check<S: Scripted>(is_there: bool, by_a: &[&str], by_b: &[&str]) {
        let [mut a, mut b, _] = three::<S>();
        if is_there {
            act(&mut a, &["add"]);
            sync(&a, &mut b);
        }
        act(&mut a, by_a);
        act(&mut b, by_b);
        exchange(&mut a, &mut b);
        let is_untouched = by_a.is_empty() && by_b.is_empty();
        let is_added = [by_a, by_b].iter().any(|deeds| deeds.last() == Some(&"add"));
        let expected = if is_added || (is_there && is_untouched) { "x" } else { "" };
        assert_eq!(a.state().show(), expected, "{is_there} {by_a:?} {by_b:?} {}", std::any::type_name::<S>());
    }
    let mut all: Vec<Vec<&str>> = vec![Vec::new()];
    for shorter in 0..7 {
        for deed in ["add", "remove"] {
            all.push(all[shorter].iter().copied().chain([deed]).collect());
        }
    }
    assert_eq!(all.last().unwrap(), &["remove"; 3]);
    for (by_a, by_b) in all.iter().flat_map(|a| all.iter().map(move |b| (a, b))) {
        for is_there in [true, false] {
            macro_rules! check {
                ($($type:ty),+) => {$(check::<$type>(is_there, by_a, by_b);)+};
            }
            for_each_type_of_names!(check);
        }
    }
}

#[test]
fn t39_removing_what_is_not_there_is_nothing() {
    run("T39");
}

#[test]
fn b01_a_removal_through_a_copy_is_not_undone() {
    run("B01");
}

#[test]
fn b02_a_removal_wins_over_the_copy_it_had_seen() {
    run("B02");
}

#[test]
fn b09_what_is_created_again_is_there() {
    run("B09");
}

#[test]
fn b33_what_both_added_arrives_at_a_third() {
    run("B33");
}

#[test]
fn b34_what_both_removed_is_removed_at_a_third() {
    run("B34");
}
