//! What forgetting waits for, what it tells, and who learns what was forgotten.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::sync::Arc;

use driftless::{
    Config, Counter, Crdt, Document, Flag, LwwRegister, MergeError, MergeMap, OrSet, Replica, ReplicaId,
    VersionVector,
};
use serde::{Deserialize, Serialize};

const NOW_MS: u64 = 1_700_000_000_000;

type Set = Replica<OrSet<String>>;

fn replica<S: Crdt>(id: u128) -> Replica<S> {
    Replica::new(ReplicaId::from_u128(id), Config::default())
}

fn add(at: &mut Set, element: &str) {
    at.write(NOW_MS, |set| set.add(element)).unwrap();
}

fn remove(at: &mut Set, element: &str) {
    assert!(at.write(NOW_MS, |set| set.remove(element)).unwrap().value);
}

fn send<S: Crdt>(from: &Replica<S>, to: &mut Replica<S>) {
    let bytes = from.delta_since(&to.vector()).encode().unwrap();
    to.merge(NOW_MS, to.decode(&bytes).unwrap()).unwrap();
}

fn report<S: Crdt>(of: &Replica<S>, to: &mut Replica<S>) {
    to.report(NOW_MS, of.id(), &of.vector()).unwrap();
}

/// Two members that hold an element, removed it, and forgot it; and one that held it and was evicted before.
fn forgotten_without_the_third() -> [Set; 3] {
    let [mut eu, mut us, mut lost]: [Set; 3] = [1, 2, 3].map(replica);
    add(&mut eu, "x");
    send(&eu, &mut us);
    send(&eu, &mut lost);
    eu.set_members([eu.id(), us.id()]);
    remove(&mut eu, "x");
    send(&eu, &mut us);
    report(&us, &mut eu);
    assert_eq!(eu.forget().rows, 1);
    assert_eq!(eu.state().rows(), 0);
    [eu, us, lost]
}

#[test]
fn a_report_that_was_ahead_counts_once_a_merge_has_caught_up_with_it() {
    let [mut eu, mut us]: [Set; 2] = [1, 2].map(replica);
    eu.set_members([eu.id(), us.id()]);
    add(&mut us, "x");
    report(&us, &mut eu);
    assert!(eu.stable_cut().is_empty(), "what the member had written by then may still be under way");
    send(&us, &mut eu);
    assert_eq!(eu.stable_cut(), us.vector());
}

/// A value that tells whether anything of it is still held.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Held {
    #[serde(skip)]
    token: Arc<()>,
}

#[test]
fn what_was_overwritten_removed_and_forgotten_is_held_nowhere() {
    let mut eu: Replica<MergeMap<u8, MergeMap<u32, LwwRegister<Held>>>> = replica(1);
    eu.set_members([eu.id()]);
    let held = Held::default();
    eu.write(NOW_MS, |map| {
        map.update(&1, |inner| (0..40).for_each(|key| inner.update(&key, |value| value.set(held.clone()))));
    })
    .unwrap();
    assert_eq!(Arc::strong_count(&held.token), 41);
    eu.write(NOW_MS, |map| map.update(&1, |inner| inner.update(&0, |value| value.set(Held::default()))))
        .unwrap();
    assert_eq!(Arc::strong_count(&held.token), 40, "the value that was overwritten last is kept");
    eu.write(NOW_MS, |map| map.remove(&1)).unwrap();
    assert_eq!(eu.forget().rows, 1);
    assert_eq!(Arc::strong_count(&held.token), 1);
}

/// What is forgotten comes along again with news from a replica that still holds it: nothing of it is taken back.
#[test]
fn marks_that_were_forgotten_do_not_come_back_with_a_message_that_still_holds_them() {
    type Names = Replica<MergeMap<u8, LwwRegister<u8>>>;
    let [mut eu, mut us, mut ap]: [Names; 3] = [1, 2, 3].map(replica);
    let set = |at: &mut Names, key, value| {
        at.write(NOW_MS, |names| names.update(&key, |name| name.set(value))).unwrap();
    };
    set(&mut eu, 1, 1);
    send(&eu, &mut us);
    send(&eu, &mut ap);
    eu.set_members([eu.id(), us.id()]);
    set(&mut us, 1, 2);
    send(&us, &mut eu);
    report(&us, &mut eu);
    assert_eq!(eu.forget().marks, 1, "the value that was overwritten");
    set(&mut ap, 2, 1);
    let stale = ap.delta_since(&VersionVector::new());
    assert!(stale.to().get(&eu.id()) > stale.from().get(&eu.id()));
    eu.merge(NOW_MS, stale).unwrap();
    assert_eq!(eu.state().len(), 2);
    report(&us, &mut eu);
    assert_eq!(eu.forget().marks, 0);
}

#[test]
fn who_joined_by_a_snapshot_tells_others_what_was_forgotten_before_it() {
    let [eu, _, mut lost] = forgotten_without_the_third();
    let mut joined: Set = replica(4);
    send(&eu, &mut joined);
    assert!(joined.delta_since(&lost.vector()).is_complete());
    send(&joined, &mut lost);
    assert!(lost.state().is_empty(), "the removal was forgotten before the sender joined");
    assert_eq!(lost.digest(), joined.digest());
}

#[test]
fn a_snapshot_of_the_future_is_refused_before_it_touches_anything() {
    let mut ahead: Set = replica(1);
    let later_ms = NOW_MS + 10 * 60_000;
    ahead.write(later_ms, |set| (set.add("x"), set.add("y"))).unwrap();
    ahead.write(later_ms, |set| set.remove("x")).unwrap();
    ahead.set_members([ahead.id()]);
    assert_eq!(ahead.forget().rows, 1);

    let mut eu: Set = replica(2);
    add(&mut eu, "z");
    let (vector, bytes) = (eu.vector(), eu.canonical_bytes());
    let snapshot = ahead.delta_since(&VersionVector::new());
    assert!(snapshot.is_complete());
    let refused = eu.merge(NOW_MS, snapshot).unwrap_err();
    assert!(matches!(refused, MergeError::TooFarAhead { id, .. } if id == ahead.id()));
    assert_eq!((eu.vector(), eu.canonical_bytes()), (vector, bytes));
    assert!(eu.clock().last().millis() < later_ms);
}

/// Two members.
fn members<S: Crdt>() -> [Replica<S>; 2] {
    let mut both = [1, 2].map(replica);
    let ids = [both[0].id(), both[1].id()];
    both.iter_mut().for_each(|member| member.set_members(ids));
    both
}

/// Both members hold all that either holds, and know it of each other.
fn settle<S: Crdt>([eu, us]: &mut [Replica<S>; 2]) {
    send(eu, us);
    send(us, eu);
    assert_eq!(eu.vector(), us.vector());
    report(us, eu);
    report(eu, us);
}

/// Rows and marks that are forgotten once both have seen all; then nothing is left to forget, and nothing reads differently.
fn forgotten<S: Crdt>(mut both: [Replica<S>; 2]) -> [(usize, usize); 2] {
    settle(&mut both);
    both.each_mut().map(|member| {
        let digest = member.digest();
        let forgotten = member.forget();
        assert!(forgotten.behind.is_empty());
        assert_eq!(member.digest(), digest);
        let again = member.forget();
        assert_eq!((again.rows, again.marks), (0, 0), "nothing is left to be forgotten");
        (forgotten.rows, forgotten.marks)
    })
}

/// Each in turn writes the same, the second having seen the first.
fn in_turn<S: Crdt>(write: impl Fn(&mut S::Mut<'_>)) -> [Replica<S>; 2] {
    let mut both = members();
    both[0].write(NOW_MS, &write).unwrap();
    let [eu, us] = &mut both;
    send(eu, us);
    us.write(NOW_MS + 1, &write).unwrap();
    both
}

#[test]
fn what_superseded_something_keeps_one_mark_more_until_both_have_seen_it() {
    type Registers = MergeMap<u8, LwwRegister<u8>>;
    type Flags = MergeMap<u8, Flag>;
    type Sets = MergeMap<u8, OrSet<u8>>;
    type Nested = MergeMap<u8, MergeMap<u8, LwwRegister<u8>>>;
    let one = [(0, 1); 2];
    assert_eq!(forgotten(in_turn::<Registers>(|map| map.update(&1, |register| register.set(1)))), one);
    assert_eq!(forgotten(in_turn::<Flags>(|map| map.update(&1, |flag| flag.enable()))), one);
    assert_eq!(forgotten(in_turn::<Sets>(|map| map.update(&1, |set| set.add(&1)))), one);
    assert_eq!(
        forgotten(in_turn::<Document>(|doc| doc.set(&["a", "b"], 1).unwrap())),
        one,
        "a name within a name"
    );
    // The second key is new each time: it has nothing to forget, and hides nothing of the first.
    let both = in_turn::<Nested>(|map| {
        map.update(&1, |inner| inner.update(&1, |register| register.set(1)));
        map.update(&1, |inner| inner.update(&2, |register| register.set(1)));
    });
    assert_eq!(forgotten(both), [(0, 2); 2]);
    // A counter's entries live beside each other: none supersedes another's.
    let both = in_turn::<MergeMap<u8, Counter>>(|map| map.update(&1, |count| count.add(1)).unwrap());
    assert_eq!(forgotten(both), [(0, 0); 2]);
}

#[test]
fn what_an_update_wrote_first_is_forgotten_whatever_it_wrote_then() {
    #[derive(Crdt)]
    struct Sample {
        flag: Flag,
        map: MergeMap<u8, Flag>,
    }
    let both = in_turn::<MergeMap<u8, Sample>>(|samples| {
        samples.update(&1, |sample| {
            sample.flag().enable();
            let key = sample.map().len() as u8;
            sample.map().update(&key, |flag| flag.enable());
        });
    });
    assert_eq!(both[1].state().get(&1).unwrap().map.len(), 2);
    assert_eq!(forgotten(both), [(0, 1); 2]);
}

#[test]
fn a_removed_key_leaves_no_row_and_one_written_again_no_mark() {
    type Registers = MergeMap<u8, LwwRegister<u8>>;
    let mut both = in_turn::<Registers>(|map| map.update(&1, |register| register.set(1)));
    both[1].write(NOW_MS + 2, |map| map.remove(&1)).unwrap();
    assert_eq!(forgotten(both).map(|(rows, _)| rows), [1; 2]);

    let mut both = in_turn::<Registers>(|map| map.update(&1, |register| register.set(1)));
    let again = |map: &mut <Registers as Crdt>::Mut<'_>| {
        map.remove(&1);
        map.update(&1, |register| register.set(2));
    };
    both[1].write(NOW_MS + 2, again).unwrap();
    assert_eq!(forgotten(both), [(0, 1); 2], "the marks of the removal");
}

#[test]
fn a_reset_counter_leaves_nothing_and_one_that_counts_again_no_record() {
    type Counters = MergeMap<u8, Counter>;
    let mut both = in_turn::<Counters>(|map| map.update(&1, |count| count.add(1)).unwrap());
    both[1].write(NOW_MS + 2, |map| map.update(&1, |count| count.reset())).unwrap();
    assert_eq!(forgotten(both), [(1, 1); 2]);

    let mut both = in_turn::<Counters>(|map| map.update(&1, |count| count.add(1)).unwrap());
    both[1].write(NOW_MS + 2, |map| map.update(&1, |count| count.reset())).unwrap();
    both[1].write(NOW_MS + 3, |map| map.update(&1, |count| count.add(5))).unwrap().value.unwrap();
    assert_eq!(forgotten(both), [(0, 1); 2]);
}

#[test]
fn what_a_removal_saw_of_a_lost_replicas_count_waits_for_its_return() {
    type Counters = MergeMap<u8, Counter>;
    let [mut eu, mut us, mut lost]: [Replica<Counters>; 3] = [1, 2, 3].map(replica);
    lost.write(NOW_MS, |map| map.update(&1, |count| count.add(5))).unwrap().value.unwrap();
    send(&lost, &mut eu);
    eu.write(NOW_MS, |map| map.update(&1, |count| count.reset())).unwrap();
    eu.set_members([eu.id(), us.id()]);
    send(&eu, &mut us);
    report(&us, &mut eu);
    eu.forget();
    assert_eq!(eu.state().rows(), 1, "the lost replica may still count on from 5");
    lost.write(NOW_MS, |map| map.update(&1, |count| count.add(2))).unwrap().value.unwrap();
    send(&lost, &mut eu);
    assert_eq!(eu.state().get(&1).map(Counter::value), Some(2));
    send(&eu, &mut lost);
    assert_eq!(lost.state().get(&1).map(Counter::value), Some(2));

    // It is known to have seen the removal, and its count is removed: there is nothing that the record could be for.
    lost.write(NOW_MS, |map| map.update(&1, |count| count.reset())).unwrap();
    send(&lost, &mut eu);
    send(&eu, &mut us);
    report(&us, &mut eu);
    report(&lost, &mut eu);
    assert_eq!(eu.forget().rows, 1);
    assert_eq!(eu.state().rows(), 0);
}

#[test]
fn a_record_that_waits_for_its_author_goes_when_the_author_reports() {
    type Counters = MergeMap<u8, Counter>;
    let [mut eu, mut us, mut lost]: [Replica<Counters>; 3] = [1, 2, 3].map(replica);
    lost.write(NOW_MS, |map| map.update(&1, |count| count.add(5))).unwrap().value.unwrap();
    send(&lost, &mut eu);
    eu.write(NOW_MS, |map| map.update(&1, |count| count.reset())).unwrap();
    eu.set_members([eu.id(), us.id()]);
    send(&eu, &mut us);
    report(&us, &mut eu);
    assert_eq!((eu.forget().rows, eu.state().rows()), (0, 1));
    send(&eu, &mut lost);
    report(&lost, &mut eu);
    assert_eq!((eu.forget().rows, eu.state().rows()), (1, 0));
}

#[test]
fn what_was_not_stable_at_first_is_forgotten_later_at_any_depth_and_size() {
    for elements in [3, 40] {
        let mut both = members::<MergeMap<u8, OrSet<u32>>>();
        both[0].write(NOW_MS, |sets| sets.update(&1, |set| (0..elements).for_each(|n| set.add(&n)))).unwrap();
        settle(&mut both);
        both[0].write(NOW_MS, |sets| sets.update(&1, |set| set.remove(&0))).unwrap();
        let early = both[0].forget();
        assert_eq!((early.rows, early.behind), (0, vec![both[1].id()]));
        assert_eq!(forgotten(both), [(1, 1); 2], "{elements} elements");
    }
    let mut both = in_turn::<Document>(|doc| doc.set(&["a", "b"], 1).unwrap());
    assert_eq!(both[1].forget().marks, 0);
    assert_eq!(forgotten(both), [(0, 1); 2]);
}

#[test]
fn members_are_named_and_what_is_known_of_them_is_passed_on() {
    let [mut hub, mut eu, mut us]: [Set; 3] = [1, 2, 3].map(replica);
    assert!(eu.members().is_empty());
    eu.set_members([us.id(), eu.id(), us.id()]);
    assert_eq!(eu.members(), [eu.id(), us.id()]);

    // eu and us never meet: each learns of the other through the hub.
    add(&mut eu, "x");
    send(&eu, &mut hub);
    send(&hub, &mut us);
    report(&us, &mut hub);
    report(&eu, &mut hub);
    let known = hub.known_vectors();
    let expected = [&eu, &us, &hub].map(|of| (of.id(), of.vector()));
    assert_eq!(known, expected);
    assert!(eu.stable_cut().is_empty());
    for (id, vector) in known {
        eu.report(NOW_MS, id, &vector).unwrap();
    }
    assert_eq!(eu.stable_cut(), eu.vector());
}

/// Who removes a key may have forgotten the mark of a write that another still marks: what ended it is in the floor alone there.
#[test]
fn the_mark_of_a_dead_write_is_kept_as_long_as_the_floor_that_says_so() {
    let [mut eu, mut us, mut lost]: [Set; 3] = [1, 2, 3].map(replica);
    add(&mut lost, "x");
    send(&lost, &mut eu);
    send(&lost, &mut us);
    report(&eu, &mut us);
    // From here on the third is away, and no member.
    eu.set_members([eu.id(), us.id()]);
    us.set_members([eu.id(), us.id()]);
    add(&mut eu, "x");
    send(&eu, &mut us);
    report(&us, &mut eu);
    assert_eq!(eu.forget().marks, 1);
    remove(&mut eu, "x");
    send(&eu, &mut us);
    us.forget();
    // It returns.
    send(&us, &mut lost);
    assert_eq!((lost.vector(), lost.digest()), (us.vector(), us.digest()));
    // All of it is forgotten in the end.
    report(&eu, &mut us);
    us.forget();
    assert_eq!(us.state().rows(), 0);
}
