//! Types within types: rows, fields and kinds that are written and removed apart.

use std::collections::BTreeMap;

use driftless::{
    Change, Config, Counter, Document, DocumentError, Kind, Replica, ReplicaId, Snapshot, TransactError,
    Value,
};

use crate::delivery::Numbers;
use crate::subjects::{self, Item, Scripted};
use crate::{A, B, C, LATE_MS, NOW_MS, assert_same, every, exchange, message, replica, sync, three};

fn run(number: &str) {
    subjects::documents(include_str!("composition.txt"), number);
}

#[test]
fn t05_a_removed_key_and_a_removed_element_merge_in_every_grouping() {
    run("T05");
}

#[test]
fn t06_nothing_that_was_below_a_removed_key_resurfaces() {
    run("T06");
}

#[test]
fn t08_a_removal_takes_what_it_saw_at_any_depth() {
    run("T08");
}

#[test]
fn t09_the_loser_of_a_tie_lives_on_when_the_winner_is_removed() {
    run("T09");
}

/// Writes one transaction, its lines as in a history.
fn write<S: Scripted>(replica: &mut Replica<S>, now_ms: u64, lines: &str) {
    let lines = lines.split(';').map(|line| line.split_whitespace().collect::<Vec<_>>());
    replica.write(now_ms, |state| lines.for_each(|line| S::act(state, &line))).unwrap();
}

/// A row is deleted and inserted again; its two columns come in two batches, in both orders, between them a write of the old
/// row. All orders give the same row.
#[test]
fn t13_a_row_that_was_inserted_again_column_by_column_is_the_same_in_every_order() {
    fn check<S: Scripted>(old_write_ms: u64, column: i64) {
        let history = || {
            let [mut a, mut b, mut c] = three::<S>();
            write(&mut a, NOW_MS, "set r.a.title 1; set r.b.title 1; inc r.count 1");
            sync(&a, &mut b);
            sync(&a, &mut c);
            [a, b, c]
        };
        let [mut a, mut b, _] = history();
        let mut batches = Vec::new();
        for lines in ["delete r; set r.a.title 2", "set r.b.title 2"] {
            let before = a.vector();
            write(&mut a, NOW_MS + 5, lines);
            batches.push(message(&a, &before));
        }
        let before = b.vector();
        write(&mut b, NOW_MS + old_write_ms, "set r.b.title 9");
        batches.push(message(&b, &before));
        let expected = format!(r#"{{"r":{{"a":{{"title":2}},"b":{{"title":{column}}}}}}}"#);
        let whole = every::merge_tree(&[&a, &b]);
        assert_eq!(whole.state().show(), expected);
        let is_same = |replica: &Replica<S>| assert_same(replica, &whole);
        assert!(every::delivery(&batches, || history().into_iter().next_back().unwrap(), is_same) > 0);
        // In one message the columns do not part; cut into chunks within the row they take effect together.
        for way in 0..64 {
            let [_, mut b, mut c] = history();
            every::ship(&a, &mut c, way);
            every::ship(&a, &mut b, way + 1);
            write(&mut b, NOW_MS + 6, "set r.a.title 3");
            exchange(&mut b, &mut c);
            assert_eq!(c.state().show(), r#"{"r":{"a":{"title":3},"b":{"title":2}}}"#);
        }
    }
    // The old write is a loser, or a winner by its stamp: it had not been seen by the deletion.
    for (old_write_ms, column) in [(1, 2), (9, 9)] {
        check::<Document>(old_write_ms, column);
        check::<Item>(old_write_ms, column);
    }
}

#[test]
fn t15_a_put_survives_a_deletion_that_had_not_seen_it() {
    run("T15");
}

#[test]
fn b04_what_was_added_to_a_removed_field_concurrently_stays() {
    run("B04");
}

#[test]
fn b08_the_old_value_of_a_key_written_anew_does_not_return() {
    run("B08");
}

#[test]
fn b11_a_container_emptied_on_one_side_and_deleted_on_the_other_is_gone() {
    run("B11");
}

/// Of what three replicas wrote below one key, D and E have each removed some, hold some, and have not seen some: all 729
/// cases. What is left is what neither removed, whatever the other one's copy shows.
#[test]
fn b06_each_dot_of_two_overlapping_copies_survives_or_dies_for_itself() {
    fn check<S: Scripted>() {
        #[derive(Clone, Copy, PartialEq)]
        enum Fate {
            Unseen,
            Live,
            Removed,
        }
        use Fate::{Live, Removed, Unseen};
        let mut writers = three::<S>();
        for (number, writer) in writers.iter_mut().enumerate() {
            let count = 10_i64.pow(number as u32);
            let lines = format!("set k.{number}.title 1; inc k.count {count}; add k.tags {number}");
            write(writer, NOW_MS, &lines);
        }
        let observer = |id: u128, fates: [Fate; 3]| {
            let mut observer = replica::<S>(ReplicaId::from_u128(id));
            let take = |observer: &mut Replica<S>, fate: Fate| {
                let wanted = writers.iter().zip(fates).filter(|(_, given)| *given == fate);
                wanted.for_each(|(writer, _)| drop(sync(writer, observer)));
            };
            take(&mut observer, Removed);
            write(&mut observer, NOW_MS + 1, "delete k");
            take(&mut observer, Live);
            observer
        };
        let fates = |number: usize| {
            [number / 9, number / 3 % 3, number % 3].map(|fate| [Unseen, Live, Removed][fate])
        };
        let observers =
            [14, 15].map(|id| (0..27).map(|number| observer(id, fates(number))).collect::<Vec<_>>());
        for number in 0..27 * 27 {
            let (one, other) = (number / 27, number % 27);
            let (ones, others) = (fates(one), fates(other));
            let is_live = |dot: &usize| {
                let both = [ones[*dot], others[*dot]];
                both.contains(&Live) && !both.contains(&Removed)
            };
            let live: Vec<usize> = (0..3).filter(is_live).collect();
            let count: i64 = live.iter().map(|dot| 10_i64.pow(*dot as u32)).sum();
            let tags: Vec<String> = live.iter().map(usize::to_string).collect();
            let titles: Vec<String> = live.iter().map(|dot| format!(r#""{dot}":{{"title":1}}"#)).collect();
            let (tags, titles) = (tags.join(","), titles.join(","));
            let expected = format!(r#"{{"k":{{{titles},"count":{count},"tags":[{tags}]}}}}"#);
            let merged = every::merge_tree(&[&observers[0][one], &observers[1][other]]);
            assert_eq!(merged.state().show(), if live.is_empty() { "{}" } else { &expected });
        }
    }
    check::<Document>();
    check::<Item>();
}

/// The kind of a name changes: who saw neither the removal nor the new kind keeps no old value, and nothing ever fails to
/// merge. To write a name as what it is not is an error of the caller.
#[test]
fn b08_a_name_that_became_another_kind_merges_and_is_written_as_what_it_is() {
    let history = || {
        let [mut a, mut b, mut c] = three::<Document>();
        write(&mut a, NOW_MS, "set k 1");
        sync(&a, &mut b);
        sync(&a, &mut c);
        write(&mut a, NOW_MS + 1, "delete k");
        write(&mut a, NOW_MS + 2, "inc k 5");
        sync(&a, &mut b);
        vec![a, b, c]
    };
    let check = |replica: &Replica<Document>| {
        assert_eq!(replica.state().kinds(&["k"]), [Kind::Counter]);
        assert_eq!(replica.state().show(), r#"{"k":5}"#);
    };
    check(&every::merge_tree(&history().iter().collect::<Vec<_>>()));
    every::convergence(history, check, true);

    let [mut a, mut b, mut c] = <[Replica<Document>; 3]>::try_from(history()).unwrap();
    let refused = |replica: &mut Replica<Document>, asked, found| {
        let before = replica.digest();
        let error = replica.transact(NOW_MS + 3, |document| match asked {
            Kind::Counter => document.increment(&["k"], 1),
            _ => document.set(&["k"], 2),
        });
        assert_eq!(error.unwrap_err(), TransactError::Aborted(DocumentError::WrongKind { asked, found }));
        assert_eq!(replica.digest(), before);
    };
    refused(&mut a, Kind::Register, Kind::Counter);
    refused(&mut c, Kind::Counter, Kind::Register);
    // Written as the old kind beside the change: both are there, under one name, and either can be written on.
    write(&mut c, NOW_MS + 4, "set k 2");
    exchange(&mut a, &mut c);
    sync(&c, &mut b);
    assert_eq!(b.state().kinds(&["k"]), [Kind::Register, Kind::Counter]);
    write(&mut b, NOW_MS + 5, "set k 3; inc k 1");
    sync(&b, &mut a);
    assert_eq!(a.state().get(&["k"]), Some(&Value::from(3)));
    assert_eq!(a.state().counter(&["k"]).map(Counter::value), Some(6));
}

/// Put, remove and put of one key on two sides; a delta for each, delivered in all 720 orders.
#[test]
fn b15_all_orders_of_the_deltas_of_put_remove_put_give_the_full_merge() {
    fn check<S: Scripted>([put_1, put_2, put_3, put_4]: [&str; 4], expected: &str) {
        let history = || {
            let [mut a, mut b, mut c] = three::<S>();
            write(&mut a, NOW_MS, put_1);
            sync(&a, &mut b);
            sync(&a, &mut c);
            [a, b, c]
        };
        let [mut a, mut b, _] = history();
        let mut deltas = Vec::new();
        for (replica, puts) in [(&mut a, [put_1, put_2]), (&mut b, [put_3, put_4])] {
            for lines in [puts[0], "delete k", puts[1]] {
                let before = replica.vector();
                write(replica, NOW_MS + 1, lines);
                deltas.push(message(replica, &before));
            }
        }
        let whole = every::merge_tree(&[&a, &b]);
        assert_eq!(whole.state().show(), expected);
        let receiver = || history().into_iter().next_back().unwrap();
        let refused = every::delivery(&deltas, receiver, |replica| assert_same(replica, &whole));
        assert!(refused > 0);
    }
    let sets = ["add k.tags 1", "add k.tags 2", "add k.tags 3", "add k.tags 4"];
    let values = ["assign k.notes 1", "assign k.notes 2", "assign k.notes 3", "assign k.notes 4"];
    let counts = ["inc k.count 1", "inc k.count 10", "inc k.count 100", "inc k.count 1000"];
    for (puts, expected) in [
        (sets, r#"{"k":{"tags":[2,4]}}"#),
        (values, r#"{"k":{"notes":[2,4]}}"#),
        (counts, r#"{"k":{"count":1010}}"#),
    ] {
        check::<Document>(puts, expected);
        check::<Item>(puts, expected);
    }
}

/// Numbers that look random and are the same in every run.
struct Dice(Numbers);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0.place(count)
    }

    /// A line that writes somewhere in an item.
    fn line(&mut self) -> String {
        let at = ["", "p.", "p.q.", "r."][self.below(4)];
        let n = self.below(4);
        match self.below(11) {
            0 | 1 => format!("set {at}title {n}"),
            2 => format!("assign {at}notes {n}"),
            3 => format!("add {at}tags {n}"),
            4 => format!("remove {at}tags {n}"),
            5 | 6 => format!("inc {at}count {n}"),
            7 => format!("enable {at}on"),
            8 => format!("disable {at}on"),
            9 => format!("delete {at}{}", ["title", "notes", "tags", "count"][n]),
            _ => format!("delete {}", ["p", "p.q", "r", "p"][n]),
        }
    }
}

/// What is read in all places, as changes name them.
type Readings = BTreeMap<String, Value>;

fn read(item: &Item, at: &str, readings: &mut Readings) {
    let list = |values: Vec<&Value>| Value::List(values.into_iter().cloned().collect());
    let notes = item.notes.distinct();
    let fields = [
        ("title", item.title.latest().cloned()),
        ("notes", (!notes.is_empty()).then(|| list(notes))),
        ("count", item.count.is_counting().then(|| Value::Int(item.count.value()))),
        ("on", item.on.is_enabled().then_some(Value::Bool(true))),
    ];
    let fields = fields.into_iter().filter_map(|(name, value)| Some((format!("{at}{name}"), value?)));
    let tags = item.tags.iter().map(|tag| (format!("{at}tags.{tag}"), Value::Bool(true)));
    readings.extend(fields.chain(tags));
    for (name, item) in item.below.iter() {
        read(item, &format!("{at}below.{}.", Value::from(name.as_str())), readings);
    }
}

fn readings(item: &Item) -> Readings {
    let mut readings = Readings::new();
    read(item, "", &mut readings);
    readings
}

/// Makes of what was read what is read now, by the changes alone.
fn apply(changes: &[Change], readings: &mut Readings) {
    for change in changes {
        let place = change.path.to_string();
        assert_eq!(readings.get(&place), change.before.as_ref(), "before, at {place}");
        match &change.after {
            Some(value) => readings.insert(place, value.clone()),
            None => readings.remove(&place),
        };
    }
}

fn recording(id: ReplicaId) -> Replica<Item> {
    Replica::new(id, Config { changes: true, ..Config::default() })
}

/// Edits and merges in turns. At each step the changes that are reported lead from what was read to what is read; in the end
/// so do those of the difference to any earlier state of any replica.
#[test]
fn b64_after_edits_and_merges_in_turns_every_difference_is_what_changed() {
    for seed in 0..16 {
        let mut dice = Dice(Numbers::new(seed));
        let mut replicas = [A, B, C].map(recording);
        let mut known = [const { Readings::new() }; 3];
        let mut past: Vec<Snapshot<Item>> = Vec::new();
        for step in 0..50 {
            let (at, from) = (dice.below(3), dice.below(3));
            let changes = if from == at || dice.below(2) == 0 {
                let lines: Vec<String> = (0..=dice.below(3)).map(|_| dice.line()).collect();
                let done = replicas[at].transact(NOW_MS + step / 4, |item| {
                    for line in &lines {
                        Item::act(item, &line.split(' ').collect::<Vec<_>>());
                    }
                    if dice.below(8) == 0 { Err(()) } else { Ok(()) }
                });
                done.map(|committed| committed.changes).unwrap_or_default()
            } else {
                let [from, to] = replicas.get_disjoint_mut([from, at]).unwrap();
                sync(from, to).changes
            };
            apply(&changes, &mut known[at]);
            assert_eq!(known[at], readings(replicas[at].state()), "step {step} of {seed}");
            past.push(replicas[at].snapshot());
        }
        for (earlier, now) in past.iter().flat_map(|earlier| replicas.iter().map(move |now| (earlier, now))) {
            let mut copy = recording(ReplicaId::from_u128(1));
            copy.merge(LATE_MS, earlier.delta_since(&copy.vector())).unwrap();
            let mut known = readings(earlier);
            assert_eq!(readings(copy.state()), known);
            apply(&sync(now, &mut copy).changes, &mut known);
            assert_eq!(readings(copy.state()), known);
            if earlier.vector().is_within(&now.vector()) {
                assert_same(&copy, now);
                assert_eq!(known, readings(now.state()));
            }
            // A difference to what nobody ever was is made all the same.
            let (mut both, mut neither) = (earlier.vector(), earlier.vector());
            both.join(&now.vector());
            neither.meet(&now.vector());
            assert!(now.delta_since(&both).is_empty());
            assert!(message(now, &neither).len() >= message(now, &both).len());
        }
    }
}
