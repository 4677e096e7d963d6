//! Deltas and what they claim to have seen: what has not arrived is never taken for removed, and nothing takes effect in part.

use std::collections::{BTreeMap, BTreeSet};

use driftless::{
    Config, Counter, Crdt, Limits, LwwRegister, MergeError, MergeMap, OrSet, PendingDelta, PendingError,
    Replica, ReplicaId, Snapshot, Timestamp, VersionVector,
};

use crate::delivery::{Ledger, Numbers, Records, assert_all_same, chunks, copy, fill, observe, transfer};
use crate::{A, B, C, D, LATE_MS, NOW_MS, assert_same, every, exchange, receive, replica, sync, three};

/// One commit.
type Commit = fn(&mut <Records as Crdt>::Mut<'_>);

/// One author's history: what it held at the beginning and after each commit.
fn history(commits: &[Commit]) -> Vec<Snapshot<Records>> {
    let mut author = replica::<Records>(A);
    let mut history = vec![author.snapshot()];
    for (at, commit) in commits.iter().enumerate() {
        assert!(author.write(NOW_MS + at as u64, *commit).unwrap().stamp.is_some());
        history.push(author.snapshot());
    }
    history
}

/// Asserts that a replica holds what the author held when it was at that vector.
fn assert_in<S: Crdt>(history: &[Snapshot<S>], reader: &Replica<S>) -> usize {
    let at = history.iter().position(|snapshot| snapshot.vector() == reader.vector());
    let at = at.unwrap_or_else(|| panic!("{:?} is not a vector that the author ever had", reader.vector()));
    assert_eq!(reader.canonical_bytes(), history[at].canonical_bytes(), "after {at} commits");
    at
}

/// Commits that a hole among them could hide, remove or count twice.
fn commits() -> [Commit; 4] {
    [
        |records| fill(records, 1, 1),
        |records| {
            fill(records, 2, 2);
            records.update(&1, |record| record.tags().remove(&1));
        },
        |records| {
            fill(records, 1, 3);
            records.remove(&2);
        },
        |records| fill(records, 2, 4),
    ]
}

#[test]
fn b07_a_dot_that_arrives_before_an_earlier_one_of_its_author_hides_nothing() {
    let history = history(&commits()[..3]);
    // Dots 1, 2 and 3 come in every order, those refused again until they are taken, as values and as bytes.
    for order in every::order(3) {
        for as_bytes in [false, true] {
            let mut reader = replica::<Records>(B);
            let mut waiting: Vec<usize> = order.clone();
            for _ in 0..3 {
                waiting.retain(|dot| {
                    let delta = history[dot + 1].delta_since(&history[*dot].vector());
                    let (before, held) = (observe(&reader), assert_in(&history, &reader));
                    let merged = if as_bytes {
                        receive(&mut reader, &delta.encode().unwrap())
                    } else {
                        reader.merge(LATE_MS, delta)
                    };
                    match merged {
                        Ok(merged) => assert!(merged.is_news && held == *dot, "dot {dot} after {held}"),
                        Err(error) => {
                            assert_eq!(error, MergeError::Gap { vector: reader.vector() });
                            assert!(held < *dot);
                            assert_eq!(observe(&reader), before);
                        }
                    }
                    assert_in(&history, &reader) <= *dot
                });
            }
            assert!(waiting.is_empty());
            assert_eq!(assert_in(&history, &reader), 3);
            assert_eq!(reader.digest(), history[3].digest());
        }
    }
}

#[test]
fn b07_deltas_that_overlap_come_in_every_order() {
    let history = history(&commits()[..3]);
    let spans: Vec<(usize, usize)> = (1..=3).flat_map(|to| (0..to).map(move |from| (from, to))).collect();
    for order in every::order(spans.len()) {
        let mut reader = replica::<Records>(B);
        for span in order {
            let (from, to) = spans[span];
            let held = assert_in(&history, &reader);
            let merged = reader.merge(LATE_MS, history[to].delta_since(&history[from].vector()));
            assert_eq!(merged.is_ok(), from <= held, "{from} to {to} after {held}");
            let expected = if from <= held { held.max(to) } else { held };
            assert_eq!(assert_in(&history, &reader), expected);
        }
        assert_eq!(assert_in(&history, &reader), 3);
    }
}

#[test]
fn t11_the_second_of_two_deltas_alone_takes_nothing_away() {
    let [add, add_and_remove, ..] = commits();
    second_alone([add, add_and_remove]);
}

/// The hole is before a removal of what the first brought, or between removals.
#[test]
fn b13_the_hole_before_a_delta_does_not_act_as_a_removal() {
    let all = commits();
    for pair in [[all[0], all[1]], [all[0], all[2]], [all[3], all[1]], [all[1], all[2]]] {
        second_alone(pair);
    }
}

/// One who has neither of two deltas is sent the second, full states are merged, and the second by who has the first: in every
/// order.
fn second_alone(pair: [Commit; 2]) {
    let history = history(&pair);
    for order in every::order(6) {
        let (mut b, mut c) = (replica::<Records>(B), replica::<Records>(C));
        // C has the first.
        c.merge(LATE_MS, history[1].delta_since(&c.vector())).unwrap();
        for step in order {
            match step {
                0 => {
                    let second = b.merge(LATE_MS, history[2].delta_since(&history[1].vector()));
                    assert_eq!(second.is_err(), b.vector().is_empty());
                }
                1 => drop(sync(&b, &mut c)),
                2 => drop(sync(&c, &mut b)),
                3 => drop(c.merge(LATE_MS, history[2].delta_since(&VersionVector::new())).unwrap()),
                4 => drop(b.merge(LATE_MS, b.delta_since(&VersionVector::new())).unwrap()),
                _ => drop(b.merge(LATE_MS, c.delta_since(&VersionVector::new())).unwrap()),
            }
            assert!(assert_in(&history, &c) >= 1, "what C has seen stays");
            assert_in(&history, &b);
        }
        b.merge(LATE_MS, history[2].delta_since(&b.vector())).unwrap();
        exchange(&mut b, &mut c);
        assert_eq!((assert_in(&history, &b), assert_in(&history, &c)), (2, 2));
        assert_same(&b, &c);
    }
}

/// Chunks that have arrived claim nothing: what the others would have brought is not taken for removed.
#[test]
fn b12_part_of_a_transfer_takes_nothing_away_and_brings_nothing() {
    let mut eu = replica::<OrSet<u32>>(A);
    let mut us = replica::<OrSet<u32>>(B);
    eu.write(NOW_MS, |set| (0..400).for_each(|element| set.add(&element))).unwrap();
    sync(&eu, &mut us);
    eu.write(NOW_MS + 1, |set| (400..800).for_each(|element| set.add(&element))).unwrap();
    eu.write(NOW_MS + 2, |set| assert!((0..10).all(|element| set.remove(&element)))).unwrap();
    us.write(NOW_MS + 3, |set| (900..950).for_each(|element| set.add(&element))).unwrap();
    let messages = chunks(eu.delta_since(&us.vector()), 150);
    assert!(messages.len() > 5);
    for arrived in 0..messages.len() {
        let before = observe(&us);
        let mut pending = PendingDelta::new(&Limits::default());
        for bytes in &messages[..arrived] {
            // One by one they are refused, and gathered they wait.
            let chunk = us.decode(bytes).unwrap();
            assert_eq!(us.merge(LATE_MS, chunk).unwrap_err(), MergeError::Incomplete);
            assert!(pending.push(us.decode(bytes).unwrap()).unwrap().is_none());
        }
        if arrived > 0 {
            // Those that are left out cannot be passed over.
            for (later, bytes) in messages.iter().enumerate().skip(arrived + 1) {
                let skipped = pending.push(us.decode(bytes).unwrap()).unwrap_err();
                assert_eq!(
                    skipped,
                    PendingError::OutOfOrder { expected: arrived as u64, found: later as u64 }
                );
            }
        }
        assert_eq!(observe(&us), before);
        // Nor does anyone to whom the half-informed replica passes on what it holds.
        let other = copy(&us, C);
        assert_same(&us, &other);
        assert_eq!(us.state().len(), 450);
    }
    transfer(&eu, &mut us, 150);
    let expected: BTreeSet<u32> = (10..800).chain(900..950).collect();
    assert_eq!(us.state().iter().copied().collect::<BTreeSet<_>>(), expected);
    sync(&us, &mut eu);
    assert_same(&eu, &us);
}

#[test]
fn t12_a_hundred_thousand_additions_in_chunks_delete_nothing_at_a_peer_with_data_of_its_own() {
    const CHUNK_BYTES: usize = 16 * 1024;
    let mut eu = replica::<OrSet<u32>>(A);
    let mut us = replica::<OrSet<u32>>(B);
    for thousand in 0..100 {
        eu.write(NOW_MS + thousand, |set| {
            (0..1_000).for_each(|element| set.add(&(thousand as u32 * 1_000 + element)));
        })
        .unwrap();
    }
    // Half of what us adds eu adds too.
    us.write(NOW_MS + 7, |set| (99_000..101_000).for_each(|element| set.add(&element))).unwrap();
    let own = us.state().len();
    let messages = chunks(eu.delta_since(&us.vector()), CHUNK_BYTES);
    assert!(messages.len() > 20 && messages.iter().all(|bytes| bytes.len() <= CHUNK_BYTES + 64));
    let mut pending = PendingDelta::new(&Limits::default());
    let mut whole = None;
    for bytes in &messages {
        assert!(whole.is_none() && us.state().len() == own);
        whole = pending.push(us.decode(bytes).unwrap()).unwrap();
    }
    us.merge(LATE_MS, whole.unwrap()).unwrap();
    assert_eq!(us.state().len(), 101_000);
    assert!((0..101_000).all(|element| us.state().contains(&element)));
    transfer(&us, &mut eu, CHUNK_BYTES);
    assert_same(&eu, &us);
}

/// What a set must hold, kept beside the engine: every event with the additions that it ended.
#[derive(Default)]
struct Model {
    events: BTreeMap<(Timestamp, ReplicaId), Event>,
}

struct Event {
    element: u32,
    is_addition: bool,
    ended: Vec<(Timestamp, ReplicaId)>,
}

/// What a replica must hold of it: for each element the additions that stand.
#[derive(Default)]
struct Seen {
    vector: VersionVector,
    standing: BTreeMap<u32, BTreeSet<(Timestamp, ReplicaId)>>,
}

impl Seen {
    /// Takes in the events between the vector and the new one. Stamps follow causality, so in their order nothing ends what
    /// has not come before.
    fn advance(&mut self, model: &Model, vector: &VersionVector) {
        let oldest = vector.iter().filter(|(id, stamp)| *stamp > self.vector.get(id));
        let oldest = oldest.map(|(id, _)| self.vector.get(&id)).min().unwrap_or(Timestamp::MAX);
        for (dot, event) in model.events.range((oldest, ReplicaId::from_u128(0))..) {
            let (stamp, author) = *dot;
            if stamp > vector.get(&author) || stamp <= self.vector.get(&author) {
                continue;
            }
            let standing = self.standing.entry(event.element).or_default();
            for ended in &event.ended {
                standing.remove(ended);
            }
            if event.is_addition {
                standing.insert(*dot);
            }
        }
        self.vector = vector.clone();
    }

    fn check(&self, replica: &Replica<OrSet<u32>>) {
        assert_eq!(replica.vector(), self.vector);
        let expected = self.standing.iter().filter(|(_, additions)| !additions.is_empty());
        let mut held: Vec<u32> = replica.state().iter().copied().collect();
        held.sort_unstable();
        assert!(expected.map(|(element, _)| *element).eq(held));
    }
}

#[test]
fn b14_after_any_number_of_deltas_and_losses_a_vector_covers_only_what_is_held_or_was_seen_removed() {
    const ELEMENTS: u64 = 48;
    const REPLICAS: usize = 4;
    const STEPS: usize = 40_000;
    let mut replicas = [A, B, C, D].map(replica::<OrSet<u32>>);
    let ids: Vec<_> = replicas.iter().map(Replica::id).collect();
    replicas.iter_mut().for_each(|replica| replica.set_members(ids.clone()));
    let mut seen: Vec<Seen> = (0..REPLICAS).map(|_| Seen::default()).collect();
    let (mut model, mut numbers) = (Model::default(), Numbers::new(7));
    // Messages under way, each for whoever gets it.
    let mut under_way: Vec<Vec<u8>> = Vec::new();
    let (mut taken, mut refused, mut lost, mut forgotten) = (0, 0, 0, 0);
    for step in 0..STEPS {
        let at = numbers.place(REPLICAS);
        match numbers.below(20) {
            0..8 => {
                let (element, is_addition) = (numbers.below(ELEMENTS) as u32, numbers.below(2) == 0);
                let committed = replicas[at].write(NOW_MS + step as u64 / 4, |set| {
                    if is_addition {
                        set.add(&element)
                    } else {
                        set.remove(&element);
                    }
                });
                if let Some(stamp) = committed.unwrap().stamp {
                    let standing = seen[at].standing.get(&element);
                    let ended = standing.into_iter().flatten().copied().collect();
                    model.events.insert((stamp, ids[at]), Event { element, is_addition, ended });
                }
            }
            8..14 => {
                // What the other lacks, or lacked a while ago: of half of these messages nothing is ever heard again.
                let to = numbers.place(REPLICAS);
                let vector = if numbers.below(3) == 0 { VersionVector::new() } else { replicas[to].vector() };
                let bytes = replicas[at].delta_since(&vector).encode().unwrap();
                under_way.push(bytes);
                if under_way.len() > 12 {
                    let which = numbers.place(under_way.len());
                    under_way.swap_remove(which);
                    lost += 1;
                }
            }
            14..18 if !under_way.is_empty() => {
                let which = numbers.place(under_way.len());
                match receive(&mut replicas[at], &under_way[which]) {
                    Ok(_) => taken += 1,
                    Err(MergeError::Gap { .. }) => refused += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            18 => {
                let about = numbers.place(REPLICAS);
                let vector = replicas[about].vector();
                replicas[at].report(LATE_MS, ids[about], &vector).unwrap();
            }
            _ => forgotten += replicas[at].forget().rows,
        }
        let vector = replicas[at].vector();
        seen[at].advance(&model, &vector);
        seen[at].check(&replicas[at]);
    }
    assert!(
        taken > 5_000 && refused > 200 && lost > 5_000 && forgotten > 100,
        "{taken} {refused} {lost} {forgotten}"
    );
    for _ in 0..2 {
        for (from, to) in [(0, 1), (1, 2), (2, 3), (3, 2), (2, 1), (1, 0)] {
            let bytes = replicas[from].delta_since(&replicas[to].vector()).encode().unwrap();
            receive(&mut replicas[to], &bytes).unwrap();
        }
    }
    assert_all_same(&replicas);
    let vector = replicas[0].vector();
    seen[0].advance(&model, &vector);
    seen[0].check(&replicas[0]);
}

type Pair = MergeMap<u8, LwwRegister<u32>>;

fn pair(reader: &Replica<Pair>) -> [u32; 2] {
    [1, 2].map(|key| reader.state().get(&key).and_then(|value| value.latest()).copied().unwrap_or(0))
}

#[test]
fn b20_when_the_update_of_y_comes_first_x_and_y_stay_readable_with_their_old_values() {
    let mut eu = replica::<Pair>(A);
    eu.write(NOW_MS, |map| [1, 2].map(|key| map.update(&key, |value| value.set(10_u32)))).unwrap();
    for as_bytes in [false, true] {
        let mut us = copy(&eu, B);
        let mut writer = copy(&eu, C);
        let before = writer.vector();
        writer.write(NOW_MS + 1, |map| map.update(&1, |x| x.set(20_u32))).unwrap();
        let (between, first) = (writer.vector(), writer.delta_since(&before));
        writer.write(NOW_MS + 2, |map| map.update(&2, |y| y.set(30_u32))).unwrap();
        let deliver = |us: &mut Replica<Pair>| {
            let second = writer.delta_since(&between);
            if as_bytes { receive(us, &second.encode().unwrap()) } else { us.merge(LATE_MS, second) }
        };
        let unmoved = observe(&us);
        assert_eq!(deliver(&mut us), Err(MergeError::Gap { vector: us.vector() }));
        assert_eq!((pair(&us), observe(&us)), ([10, 10], unmoved));
        us.merge(LATE_MS, first).unwrap();
        assert_eq!(pair(&us), [20, 10]);
        assert!(deliver(&mut us).unwrap().is_news);
        assert!(!deliver(&mut us).unwrap().is_news);
        assert_eq!(pair(&us), [20, 30]);
        assert_same(&us, &writer);
    }
}

/// Whatever reaches a reader on whatever way: of a commit of x and a later one of y it never shows y alone.
#[test]
fn b21_y_is_never_seen_without_the_x_that_was_written_before_it() {
    let mut eu = replica::<Pair>(A);
    let mut history = vec![eu.snapshot()];
    for round in 1..=3_u32 {
        for key in [1, 2] {
            eu.write(NOW_MS, |map| map.update(&key, |value| value.set(round))).unwrap();
            history.push(eu.snapshot());
        }
    }
    let spans: Vec<_> = (1..history.len()).flat_map(|to| (0..to).map(move |from| (from, to))).collect();
    let mut numbers = Numbers::new(3);
    for _ in 0..2_000 {
        let (mut relay, mut reader) = (replica::<Pair>(B), replica::<Pair>(C));
        for _ in 0..12 {
            let (from, to) = spans[numbers.place(spans.len())];
            let delta = history[to].delta_since(&history[from].vector());
            match numbers.below(4) {
                0 => drop(reader.merge(LATE_MS, delta)),
                1 => drop(relay.merge(LATE_MS, delta)),
                2 => drop(sync(&relay, &mut reader)),
                _ => {
                    // In chunks of which the last is lost now and then.
                    let mut pending = PendingDelta::new(&Limits::default());
                    let messages = chunks(relay.delta_since(&reader.vector()), 1);
                    let arrived = numbers.place(messages.len() + 1);
                    for bytes in &messages[..arrived] {
                        if let Some(delta) = pending.push(reader.decode(bytes).unwrap()).unwrap() {
                            reader.merge(LATE_MS, delta).unwrap();
                        }
                    }
                }
            }
            for replica in [&relay, &reader] {
                let [x, y] = pair(replica);
                assert!(x == y || x == y + 1, "x is {x} and y is {y}");
                assert_in(&history, replica);
            }
        }
    }
}

#[test]
fn b22_replicas_that_merge_concurrently_have_the_same_digest_at_once() {
    for removed in [false, true] {
        let mut replicas = three::<Records>();
        for (at, replica) in replicas.iter_mut().enumerate() {
            replica
                .write(NOW_MS, |records| (0..20).for_each(|key| fill(records, key, at as u32 + 1)))
                .unwrap();
            if removed {
                replica.write(NOW_MS, |records| records.remove(&(at as u32))).unwrap();
            }
        }
        // All messages are cut before any arrives, and arrive in every order.
        for order in every::order(2) {
            let mut copies = [0, 1, 2].map(|at| {
                let mut again = Replica::<Records>::new(replicas[at].id(), Config::default());
                again
                    .write(NOW_MS, |records| (0..20).for_each(|key| fill(records, key, at as u32 + 1)))
                    .unwrap();
                if removed {
                    again.write(NOW_MS, |records| records.remove(&(at as u32))).unwrap();
                }
                again
            });
            for (at, copy) in copies.iter_mut().enumerate() {
                for step in &order {
                    let from = &replicas[(at + 1 + step) % 3];
                    copy.merge(LATE_MS, from.delta_since(&VersionVector::new())).unwrap();
                }
            }
            assert_all_same(&copies);
            assert_eq!(copies[0].state().len(), 20);
        }
    }
}

#[test]
fn t17_merging_what_another_wrote_keeps_what_has_not_been_sent() {
    for chunk_bytes in [60, 1 << 20] {
        for is_complete in [false, true] {
            let (mut eu, mut us) = (replica::<Records>(A), replica::<Records>(B));
            eu.write(NOW_MS, |records| (0..4).for_each(|key| fill(records, key, 1))).unwrap();
            sync(&eu, &mut us);
            // Not sent: new and changed keys, an overwritten field, a removed key, an element out of a set.
            us.write(NOW_MS + 1, |records| {
                fill(records, 1, 20);
                fill(records, 7, 21);
                records.update(&2, |record| record.tags().remove(&0));
                records.remove(&3);
            })
            .unwrap();
            eu.write(NOW_MS + 1, |records| {
                (0..3).for_each(|key| fill(records, key, 2));
                fill(records, 8, 3);
                records.remove(&8);
            })
            .unwrap();
            if is_complete {
                // All that eu holds, with what it has forgotten: there absence speaks, and not of this.
                eu.set_members([eu.id()]);
                assert!(eu.forget().rows > 0);
            }
            assert_eq!(eu.delta_since(&us.vector()).is_complete(), is_complete);
            transfer(&eu, &mut us, chunk_bytes);
            transfer(&us, &mut eu, chunk_bytes);
            assert_same(&eu, &us);
            for replica in [&eu, &us] {
                let get = |key| replica.state().get(&key);
                assert_eq!(get(1).unwrap().notes.all().collect::<Vec<_>>(), [&2, &20]);
                assert_eq!(get(1).unwrap().visits.value(), 1 + 2 + 20);
                assert_eq!(get(7).unwrap().name.latest().unwrap(), "name 21");
                let tags: BTreeSet<u32> = get(2).unwrap().tags.iter().copied().collect();
                assert_eq!(
                    tags,
                    BTreeSet::from([0, 1, 2]),
                    "eu added 0 again without having seen it removed"
                );
                assert!(get(3).is_none() && get(8).is_none());
            }
        }
    }
}

#[test]
fn t26_a_transfer_whose_sender_died_leaves_those_who_are_left_in_agreement() {
    let build = || {
        let mut a = replica::<Records>(A);
        a.write(NOW_MS, |records| (0..30).for_each(|key| fill(records, key, 1))).unwrap();
        let b = copy(&a, B);
        let c = copy(&a, C);
        // What supersedes and removes some of it is held by A alone.
        a.write(NOW_MS + 1, |records| {
            (0..20).for_each(|key| fill(records, key, 2));
            (10..25).for_each(|key| assert!(records.remove(&key)));
        })
        .unwrap();
        (a, b, c)
    };
    let (a, _, c) = build();
    let sent = chunks(a.delta_since(&c.vector()), 150).len();
    assert!(sent > 4);
    for arrived in 1..sent {
        for b_first in [true, false] {
            let (a, mut b, mut c) = build();
            let mut pending = PendingDelta::new(&Limits::default());
            for bytes in &chunks(a.delta_since(&c.vector()), 150)[..arrived] {
                assert!(pending.push(c.decode(bytes).unwrap()).unwrap().is_none());
            }
            let (dead, held) = (a.vector(), c.vector());
            assert!(!dead.is_within(&held));
            drop(a);
            c.write(NOW_MS + 2, |records| fill(records, 5, 3)).unwrap();
            if b_first {
                sync(&b, &mut c)
            } else {
                sync(&c, &mut b)
            };
            exchange(&mut b, &mut c);
            assert_same(&b, &c);
            assert_eq!(c.vector().get(&A), held.get(&A));
            assert_eq!(c.state().len(), 30);
            // The next transfer begins anew where the old one was left.
            b.write(NOW_MS + 3, |records| (0..9).for_each(|key| fill(records, key, 4))).unwrap();
            let messages = chunks(b.delta_since(&c.vector()), 300);
            for (at, bytes) in messages.iter().enumerate() {
                let whole = pending.push(c.decode(bytes).unwrap()).unwrap();
                assert_eq!(whole.is_some(), at + 1 == messages.len());
                whole.map(|delta| c.merge(LATE_MS, delta).unwrap());
            }
            assert_same(&b, &c);
        }
    }
}

/// An item that is moved in one commit is in one place at every vector that anybody ever has.
#[test]
fn t36_what_is_moved_is_in_exactly_one_place_in_whatever_part_it_travels() {
    type Shelves = MergeMap<u8, OrSet<u32>>;
    let places = |replica: &Replica<Shelves>| -> Vec<u8> {
        let holds = |set: &OrSet<u32>| set.contains(&7);
        let mut places: Vec<u8> =
            replica.state().iter().filter(|(_, set)| holds(set)).map(|(key, _)| *key).collect();
        places.sort_unstable();
        places
    };
    let move_item = |shelves: &mut <Shelves as Crdt>::Mut<'_>, from: u8, to: u8| {
        assert!(shelves.update(&from, |set| set.remove(&7)));
        shelves.update(&to, |set| set.add(&7));
    };
    let mut eu = replica::<Shelves>(A);
    eu.write(NOW_MS, |shelves| shelves.update(&0, |set| set.add(&7))).unwrap();
    let mut history = vec![eu.snapshot()];
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        eu.write(NOW_MS, |shelves| {
            move_item(shelves, from, to);
            // Beside it enough that a transfer has several chunks.
            shelves.update(&to, |set| (100..130).for_each(|element| set.add(&element)));
        })
        .unwrap();
        history.push(eu.snapshot());
    }
    for order in every::order(history.len()) {
        let mut us = replica::<Shelves>(B);
        for at in order {
            let before = us.vector();
            let mut pending = PendingDelta::new(&Limits::default());
            for bytes in chunks(history[at].delta_since(&us.vector()), 60) {
                assert_eq!(us.vector(), before);
                if let Some(delta) = pending.push(us.decode(&bytes).unwrap()).unwrap() {
                    us.merge(LATE_MS, delta).unwrap();
                }
            }
            assert_eq!(places(&us).len(), 1);
            assert_in(&history, &us);
        }
        assert_eq!(places(&us), [0]);
    }
    // Two who move it apart both find it where either put it, and not where it was.
    let (mut us, mut ap) = (copy(&eu, B), copy(&eu, C));
    us.write(NOW_MS + 1, |shelves| move_item(shelves, 0, 1)).unwrap();
    ap.write(NOW_MS + 1, |shelves| move_item(shelves, 0, 2)).unwrap();
    assert_eq!(places(&every::merge_tree(&[&eu, &us, &ap])), [1, 2]);
}

/// In a chain and in a star, in every order of the links, with relays that hold now this and now that.
#[test]
fn t45_chains_and_stars_agree_whatever_order_their_links_are_used_in() {
    let chain = [(0, 1), (1, 2), (2, 3), (3, 2), (2, 1), (1, 0)];
    let star = [(1, 0), (2, 0), (3, 0), (0, 1), (0, 2), (0, 3)];
    for links in [chain, star] {
        for (number, order) in every::order(links.len()).into_iter().enumerate() {
            let mut ledger = Ledger::default();
            let mut replicas = [A, B, C, D].map(replica::<MergeMap<u32, Counter>>);
            for (at, replica) in replicas.iter_mut().enumerate() {
                let count = |map: &mut <MergeMap<u32, Counter> as Crdt>::Mut<'_>, key: u32| {
                    map.update(&key, |counter| counter.add(at as i64 + 1))
                };
                replica.transact(NOW_MS, |map| (0..3).try_for_each(|key| count(map, key))).unwrap();
            }
            let mut use_link = |replicas: &mut [Replica<MergeMap<u32, Counter>>; 4], link: usize| {
                let (from, to) = links[link];
                let bytes = replicas[from].delta_since(&replicas[to].vector()).encode().unwrap();
                receive(&mut replicas[to], &bytes).unwrap();
                ledger.check(&replicas[to]);
            };
            order[..4].iter().for_each(|link| use_link(&mut replicas, *link));
            // Half-way one removes what it has seen, and all count on, one of them what was removed too.
            let remover = number % 4;
            let seen = replicas[remover].state().get(&0).map_or(0, Counter::value);
            replicas[remover].write(NOW_MS + 1, |map| map.remove(&0)).unwrap();
            for (at, replica) in replicas.iter_mut().enumerate() {
                replica
                    .transact(NOW_MS + 2, |map| {
                        map.update(&1, |counter| counter.add(10))?;
                        if at == number / 4 % 4 { map.update(&0, |counter| counter.add(10)) } else { Ok(()) }
                    })
                    .unwrap();
            }
            order[4..].iter().for_each(|link| use_link(&mut replicas, *link));
            for _ in 0..3 {
                order.iter().for_each(|link| use_link(&mut replicas, *link));
            }
            assert_all_same(&replicas);
            let value = |key| replicas[0].state().get(&key).map_or(0, Counter::value);
            assert_eq!((value(1), value(2)), (50, 10));
            assert_eq!(value(0), 10 - seen + 10);
        }
    }
}

/// A delta that needs what a snapshot holds, or that can be merged while a snapshot is under way.
#[test]
fn b54_a_delta_on_top_of_a_snapshot_that_is_under_way_is_merged_or_refused_and_poisons_nothing() {
    let mut eu = replica::<Records>(A);
    eu.set_members([eu.id()]);
    eu.write(NOW_MS, |records| (0..12).for_each(|key| fill(records, key, 1))).unwrap();
    let early = eu.snapshot();
    eu.write(NOW_MS + 1, |records| (0..6).for_each(|key| assert!(records.remove(&key)))).unwrap();
    assert!(eu.forget().rows > 0, "what went before is folded into what is left");
    let folded = eu.snapshot();
    eu.write(NOW_MS + 2, |records| fill(records, 3, 2)).unwrap();
    let on_top = || eu.delta_since(&folded.vector());
    assert!(!on_top().is_complete());
    for holds_early in [false, true] {
        let start = || if holds_early { early_copy(&early) } else { replica::<Records>(B) };
        let messages = chunks(folded.delta_since(&start().vector()), 150);
        assert!(folded.delta_since(&start().vector()).is_complete() && messages.len() > 3);
        for at in 0..=messages.len() {
            let mut us = start();
            let mut pending = PendingDelta::new(&Limits::default());
            for (number, bytes) in messages.iter().enumerate() {
                if number == at {
                    // It comes while the snapshot is under way: through the same hands, and beside them.
                    let before = observe(&us);
                    let whole = pending.push(on_top()).unwrap().unwrap();
                    assert_eq!(
                        us.merge(LATE_MS, whole).unwrap_err(),
                        MergeError::Gap { vector: us.vector() }
                    );
                    assert_eq!(observe(&us), before);
                }
                if let Some(delta) = pending.push(us.decode(bytes).unwrap()).unwrap() {
                    us.merge(LATE_MS, delta).unwrap();
                }
            }
            assert_same(&us, &early_copy(&folded));
            us.merge(LATE_MS, on_top()).unwrap();
            assert_same(&us, &eu);
            // The snapshot again, and what came before it, change nothing.
            for stale in [folded.delta_since(&VersionVector::new()), early.delta_since(&VersionVector::new())]
            {
                assert!(!us.merge(LATE_MS, stale).unwrap().is_news);
            }
            assert_same(&us, &eu);
            us.write(LATE_MS, |records| fill(records, 1, 9)).unwrap();
        }
    }
    // It becomes applicable in the middle of the transfer, on another way.
    let mut us = replica::<Records>(B);
    let messages = chunks(folded.delta_since(&us.vector()), 150);
    let mut pending = PendingDelta::new(&Limits::default());
    for (number, bytes) in messages.iter().enumerate() {
        if number == 2 {
            us.merge(LATE_MS, us.decode(&folded.delta_since(&us.vector()).encode().unwrap()).unwrap())
                .unwrap();
            us.merge(LATE_MS, on_top()).unwrap();
            us.write(LATE_MS, |records| fill(records, 8, 5)).unwrap();
        }
        if let Some(delta) = pending.push(us.decode(bytes).unwrap()).unwrap() {
            assert!(!us.merge(LATE_MS, delta).unwrap().is_news);
        }
    }
    sync(&us, &mut eu);
    assert_same(&us, &eu);
}

/// A replica that holds what a snapshot does.
fn early_copy(snapshot: &Snapshot<Records>) -> Replica<Records> {
    let mut copy = replica(B);
    copy.merge(LATE_MS, snapshot.delta_since(&VersionVector::new())).unwrap();
    copy
}
