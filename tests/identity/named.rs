//! Histories that once went wrong elsewhere, by their numbers in `docs/testing.md`.

use driftless::*;

const NOW_MS: u64 = 1_700_000_000_000;
const A: ReplicaId = ReplicaId::from_u128(7);
const B: ReplicaId = ReplicaId::from_u128(4);
const NEW: ReplicaId = ReplicaId::from_u128(9);

#[derive(Crdt, Debug)]
struct Shop {
    title: LwwRegister<String>,
    is_open: Flag,
    tags: OrSet<String>,
    visits: Counter,
    stock: MergeMap<String, Counter>,
    free: Document,
}

type Shops = Replica<Shop>;

fn shop(id: ReplicaId) -> Shops {
    Replica::new(id, Config::default())
}

fn visit(shop: &mut Shops, ms: u64, by: i64) -> Timestamp {
    shop.transact(NOW_MS + ms, |shop| shop.visits().add(by)).unwrap().stamp.unwrap()
}

fn tag(shop: &mut Shops, ms: u64, tag: &str) {
    shop.write(NOW_MS + ms, |shop| shop.tags().add(tag)).unwrap();
}

fn tags(shop: &Shops) -> Vec<&str> {
    let mut tags: Vec<_> = shop.state().tags.iter().map(String::as_str).collect();
    tags.sort_unstable();
    tags
}

fn send(from: &Shops, to: &mut Shops, ms: u64) -> Result<Merged, MergeError> {
    let bytes = from.delta_since(&to.vector()).encode().unwrap();
    let delta = to.decode(&bytes)?;
    to.merge(NOW_MS + ms, delta)
}

fn exchange(one: &mut Shops, other: &mut Shops, ms: u64) {
    for _ in 0..2 {
        send(one, other, ms).unwrap();
        send(other, one, ms).unwrap();
    }
    assert_eq!((one.vector(), one.canonical_bytes()), (other.vector(), other.canonical_bytes()));
}

fn told(shop: &Shops) -> Vec<Timestamp> {
    shop.commit_points(Timestamp::ZERO, Timestamp::MAX).collect()
}

fn is_refused(result: Result<Merged, MergeError>) -> bool {
    matches!(result, Err(MergeError::NotIssued { .. }))
}

/// Goes on under the new id by what is known of the former one.
fn go_on(shop: &mut Shops, known: &[Timestamp], ms: u64, stamps: Stamps) -> Reissued {
    let after = shop.fork_point(known);
    shop.reissue(NOW_MS + ms, NEW, after, stamps).unwrap()
}

#[test]
fn t20_b36_who_lost_its_state_and_kept_its_id_is_found_out_and_nothing_is_taken_for_its_own_past() {
    // Written before the loss: more than after it, and less.
    for before in [1, 3] {
        let (mut eu, mut us) = (shop(A), shop(B));
        (0..before).for_each(|ms| tag(&mut eu, ms, &format!("lost {ms}")));
        visit(&mut eu, 5, 10);
        send(&eu, &mut us, 6).unwrap();
        let known = told(&eu);

        let mut eu = shop(A);
        assert!(is_refused(send(&us, &mut eu, 7)), "at once, before it writes");
        (0..2).for_each(|ms| tag(&mut eu, ms + 10, &format!("new {ms}")));
        visit(&mut eu, 12, 1);
        // Its new events are not taken for known because its old ones are: they have other names.
        assert!(is_refused(send(&us, &mut eu, 13)));
        assert!(eu.report(NOW_MS + 13, B, &us.vector()).is_err());
        let reissued = go_on(&mut eu, &known, 13, Stamps::Keep);
        assert_eq!((reissued.former, reissued.commits), (A, 3));
        exchange(&mut eu, &mut us, 14);
        assert_eq!(tags(&us).len(), before as usize + 2);
        assert_eq!(us.state().visits.value(), 11);
    }
}

#[test]
fn b36_a_key_that_is_removed_forgotten_and_made_again_after_the_loss_is_there_although_another_holds_the_tombstone()
 {
    let [mut eu, mut us, mut ap] = [A, B, ReplicaId::from_u128(5)].map(shop);
    tag(&mut eu, 0, "key");
    eu.write(NOW_MS + 1, |shop| shop.tags().remove("key")).unwrap();
    for other in [&mut us, &mut ap] {
        send(&eu, other, 2).unwrap();
    }
    // All but one forget the removal.
    us.set_members([us.id()]);
    us.forget();
    assert_eq!((us.state().tags.rows(), ap.state().tags.rows()), (0, 1));
    let known = told(&eu);
    let mut eu = shop(A);
    tag(&mut eu, 3, "key");
    assert!(is_refused(send(&ap, &mut eu, 3)) && is_refused(send(&us, &mut eu, 3)));
    go_on(&mut eu, &known, 3, Stamps::Keep);
    exchange(&mut eu, &mut ap, 4);
    exchange(&mut us, &mut ap, 5);
    exchange(&mut us, &mut eu, 6);
    assert_eq!((tags(&eu), tags(&us), tags(&ap)), (vec!["key"], vec!["key"], vec!["key"]));
}

#[test]
fn b37_what_was_counted_and_sent_before_a_crash_and_what_is_counted_after_it_count_both() {
    // Saved after the first count; the next two were sent, and lost here.
    let saved = || {
        let mut eu = shop(A);
        visit(&mut eu, 0, 1);
        eu
    };
    let (mut eu, mut us) = (saved(), shop(B));
    visit(&mut eu, 1, 10);
    visit(&mut eu, 2, 100);
    send(&eu, &mut us, 3).unwrap();
    let known = told(&eu);
    for (counts, stamps) in [(0, Stamps::Keep), (1, Stamps::Keep), (3, Stamps::Keep), (3, Stamps::Anew)] {
        let mut eu = saved();
        let by = 1_000 * counts as i64;
        for count in 0..counts {
            visit(&mut eu, 10 + count, 1_000);
        }
        assert!(is_refused(send(&us, &mut eu, 20)));
        let reissued = go_on(&mut eu, &known, 20, stamps);
        assert_eq!((reissued.commits as u64, eu.state().visits.value()), (counts, 1 + by));
        let mut us = {
            let mut copy = shop(ReplicaId::from_u128(6));
            send(&us, &mut copy, 20).unwrap();
            copy
        };
        exchange(&mut eu, &mut us, 21);
        assert_eq!(us.state().visits.value(), 111 + by);
    }
}

/// Two copies that parted after two commits, of which nobody has heard. Each wrote everything there is since: some of it at the
/// same stamps, and not the same.
fn copies() -> (Shops, Shops) {
    let one = || {
        let mut eu = shop(A);
        eu.transact(NOW_MS, |shop| {
            shop.title().set("common");
            shop.is_open().enable();
            ["both", "one's", "other's"].iter().for_each(|tag| shop.tags().add(*tag));
            shop.stock().update("tea", |tea| tea.add(5))?;
            shop.stock().update("milk", |milk| milk.add(6))?;
            shop.visits().add(1)
        })
        .unwrap();
        visit(&mut eu, 1, 2);
        eu
    };
    let (mut first, mut second) = (one(), one());
    first.write(NOW_MS + 2, |shop| shop.is_open().disable()).unwrap();
    second.write(NOW_MS + 3, |shop| shop.is_open().enable()).unwrap();
    for (copy, name, by) in [(&mut first, "one's", 10), (&mut second, "other's", 100)] {
        copy.transact(NOW_MS + 4, |shop| {
            shop.title().set(name);
            shop.tags().remove(name);
            shop.tags().add(&format!("new of {name}"));
            shop.free().increment(&["a", "b"], by).unwrap();
            shop.visits().add(by)
        })
        .unwrap();
    }
    // Equal stamps again; a removal of what the other counted on, which takes what was common, and that alone.
    first.transact(NOW_MS + 5, |shop| shop.stock().update("tea", |tea| tea.add(10))).unwrap();
    second.write(NOW_MS + 5, |shop| shop.stock().remove("tea")).unwrap();
    second.transact(NOW_MS + 6, |shop| shop.stock().update("milk", |milk| milk.add(1))).unwrap();
    first.write(NOW_MS + 7, |shop| shop.stock().update("milk", |milk| milk.reset())).unwrap();
    (first, second)
}

/// What both copies wrote, each once.
fn assert_all_is_there_once(shop: &Shops) {
    let state = shop.state();
    assert_eq!(state.visits.value(), 1 + 2 + 10 + 100);
    assert_eq!(state.title.all().count(), 2);
    assert!(state.is_open.is_enabled(), "turned off by one who had not seen it turned on anew");
    assert_eq!(tags(shop), ["both", "new of one's", "new of other's"]);
    assert_eq!(state.free.counter(&["a", "b"]).map(Counter::value), Some(110));
    let stock = |key: &str| state.stock.get(key).map(Counter::value);
    assert_eq!((stock("tea"), stock("milk")), (Some(10), Some(1)));
}

#[test]
fn t22_b38_two_copies_that_write_are_found_out_at_the_first_contact_whichever_is_first_and_lose_nothing() {
    for first_is_first in [true, false] {
        for stamps in [Stamps::Keep, Stamps::Anew] {
            let (one, other) = copies();
            let (mut first, mut second) = if first_is_first { (one, other) } else { (other, one) };
            let mut us = shop(B);
            tag(&mut us, 0, "both");
            send(&first, &mut us, 10).unwrap();
            let before = (second.vector(), second.canonical_bytes());
            assert!(is_refused(send(&us, &mut second, 11)));
            assert!(second.report(NOW_MS + 11, B, &us.vector()).is_err());
            assert_eq!((second.vector(), second.canonical_bytes()), before);
            let value = second.state().visits.value();
            let reissued = go_on(&mut second, &told(&first), 11, stamps);
            assert_eq!((reissued.commits, second.state().visits.value()), (4, value));
            exchange(&mut second, &mut us, 12);
            exchange(&mut first, &mut us, 13);
            exchange(&mut second, &mut us, 14);
            assert_all_is_there_once(&us);
            // The first copy never learns that it was not alone, and both go on.
            visit(&mut first, 15, 1_000);
            visit(&mut second, 15, 1_000);
            exchange(&mut first, &mut second, 16);
            assert_eq!(first.state().visits.value(), 2_113);
        }
    }
}

#[test]
fn b39_a_copy_that_is_sent_what_the_other_wrote_refuses_it_whole() {
    let (first, mut second) = copies();
    let before = (second.vector(), second.canonical_bytes());
    assert!(is_refused(send(&first, &mut second, 10)));
    assert_eq!((second.vector(), second.canonical_bytes()), before);
    let mut first = first;
    assert!(is_refused(send(&second, &mut first, 10)), "either way");
    go_on(&mut second, &told(&first), 10, Stamps::Keep);
    exchange(&mut first, &mut second, 11);
    assert_all_is_there_once(&first);
}

#[test]
fn b38_a_copy_whose_last_stamp_is_one_of_the_other_copy_is_given_away_by_what_was_told_of_it() {
    let one = |by| {
        let mut eu = shop(A);
        visit(&mut eu, 0, 1);
        if by == 10 {
            visit(&mut eu, 1, by);
        }
        visit(&mut eu, 2, by);
        eu
    };
    let (mut first, mut second, mut us) = (one(10), one(100), shop(B));
    send(&first, &mut us, 3).unwrap();
    // By the vectors alone the two are one.
    assert_eq!(us.vector(), second.vector());
    let refused = second.check_commit_points(&told(&first)).unwrap_err();
    let own = second.vector().get(&A);
    assert!(matches!(refused, MergeError::NotIssued { stamp, own: last } if last == own && stamp < own));
    go_on(&mut second, &told(&first), 4, Stamps::Keep);
    exchange(&mut second, &mut us, 5);
    exchange(&mut second, &mut first, 5);
    assert_eq!(us.state().visits.value(), 121);
}

#[test]
fn a_region_whose_clock_ran_an_hour_ahead_writes_anew_what_nobody_took() {
    const HOUR_MS: u64 = 3_600_000;
    let (mut eu, mut us) = (shop(A), shop(B));
    visit(&mut eu, 0, 1);
    send(&eu, &mut us, 1).unwrap();
    visit(&mut eu, HOUR_MS, 10);
    tag(&mut eu, HOUR_MS + 1, "of the future");
    eu.write(NOW_MS + HOUR_MS + 2, |shop| shop.title().set("of the future")).unwrap();
    // It still takes what others write, and writes on top of it.
    us.write(NOW_MS + 5, |shop| shop.title().set("of now")).unwrap();
    send(&us, &mut eu, 6).unwrap();
    visit(&mut eu, 7, 100);
    assert!(eu.clock().last().millis() >= NOW_MS + HOUR_MS);
    assert!(matches!(send(&eu, &mut us, 8), Err(MergeError::TooFarAhead { .. })));

    let known = us.vector().get(&A);
    let reissued = go_on(&mut eu, &[known], 9, Stamps::Anew);
    let first = Timestamp::new(NOW_MS + 9, 0).unwrap();
    let last = Timestamp::new(NOW_MS + 9, 3).unwrap();
    assert_eq!((reissued.commits, reissued.stamps), (4, Some((first, last))));
    assert_eq!((eu.clock().last(), eu.vector().get(&A)), (last, known));
    exchange(&mut eu, &mut us, 9);
    assert_eq!((us.state().visits.value(), tags(&us)), (111, vec!["of the future"]));
    // Neither had seen the other. The later one is read, by the clock that was set right: written anew it is that.
    assert_eq!(us.state().title.all().collect::<Vec<_>>(), ["of now", "of the future"]);
    us.write(NOW_MS + 10, |shop| shop.title().set("settled")).unwrap();
    exchange(&mut eu, &mut us, 11);
    assert_eq!(eu.state().title.latest().unwrap(), "settled");
}
