//! Audits: fingerprints of replicas with equal vectors, the rows in which they differ, and their repair.
//!
//! `tests/laws/audits.rs` has the same for random histories and random faults.

#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

use std::num::NonZeroU16;
use std::ops::Range;

use driftless::*;
use xxhash_rust::xxh3::xxh3_64;

const BUCKETS: NonZeroU16 = NonZeroU16::new(256).unwrap();
const LATE_MS: u64 = 9_000;

#[derive(Crdt, Debug)]
struct Shop {
    name: LwwRegister<String>,
    open: Flag,
    prices: MergeMap<String, LwwRegister<i64>>,
    place: Location,
    tags: OrSet<String>,
    visits: Counter,
    free: Document,
}

#[derive(Crdt, Debug)]
struct Location {
    city: LwwRegister<String>,
}

fn replica<S: Crdt>(id: u128) -> Replica<S> {
    Replica::new(ReplicaId::from_u128(id), Config::default())
}

fn send<S: Crdt>(from: &Replica<S>, to: &mut Replica<S>) {
    let bytes = from.delta_since(&to.vector()).encode().unwrap();
    to.merge(LATE_MS, to.decode(&bytes).unwrap()).unwrap();
}

fn copy<S: Crdt>(of: &Replica<S>, id: u128) -> Replica<S> {
    let mut copy = replica(id);
    send(of, &mut copy);
    copy
}

/// What two replicas do who find that they have the same vector and different fingerprints. Returns the names of the rows that
/// differ, and how many rows they looked at to find them.
fn audit<S: Crdt>(one: &mut Replica<S>, other: &mut Replica<S>) -> (Vec<String>, usize) {
    assert_eq!(one.vector(), other.vector());
    let (a, b) = (one.fingerprints(BUCKETS), other.fingerprints(BUCKETS));
    let buckets: Vec<u16> = a.differing(&b).collect();
    let (a, b) = (one.rows_of(BUCKETS, &buckets), other.rows_of(BUCKETS, &buckets));
    let only_in = |rows: &[RowPrint], others: &[RowPrint]| {
        rows.iter().filter(|row| !others.contains(row)).cloned().collect::<Vec<_>>()
    };
    let mut differing = [only_in(&a, &b), only_in(&b, &a)].concat();
    differing.sort_by_key(|row| row.id);
    differing.dedup_by_key(|row| row.id);
    let ids: Vec<u64> = differing.iter().map(|row| row.id).collect();
    let (of_one, of_other) = (one.rows(&ids).encode().unwrap(), other.rows(&ids).encode().unwrap());
    one.repair(LATE_MS, one.decode(&of_other).unwrap()).unwrap();
    other.repair(LATE_MS, other.decode(&of_one).unwrap()).unwrap();
    assert_eq!(one.fingerprints(BUCKETS), other.fingerprints(BUCKETS));
    assert_eq!(one.canonical_bytes(), other.canonical_bytes());
    let mut names: Vec<String> = differing.iter().map(|row| row.path.to_string()).collect();
    names.sort();
    (names, a.len().max(b.len()))
}

/// Two replicas of one vector that hold what two copies of one replica wrote with equal stamps: which must not be.
fn forked<S: Crdt>(
    before: impl Fn(&mut S::Mut<'_>),
    one: impl FnOnce(&mut S::Mut<'_>),
    other: impl FnOnce(&mut S::Mut<'_>),
) -> [Replica<S>; 2] {
    let mut clones = [1, 1].map(replica::<S>);
    for clone in &mut clones {
        clone.write(1_000, &before).unwrap();
    }
    let [a, b] = &mut clones;
    a.write(1_001, one).unwrap();
    b.write(1_001, other).unwrap();
    assert_eq!(a.vector(), b.vector());
    [copy(a, 2), copy(b, 3)]
}

fn write_shop(shop: &mut ShopMut<'_>, number: i64) {
    shop.name().set("Ada's");
    shop.open().enable();
    shop.visits().add(number).unwrap();
    shop.place().city().set("Paris");
    for price in 0..number {
        shop.prices().update(&price.to_string(), |cents| cents.set(price));
        shop.tags().add(&price.to_string());
        shop.free().set(&["by name", &price.to_string()], price).unwrap();
    }
}

#[test]
fn what_was_forgotten_makes_no_difference() {
    let mut eu: Replica<Shop> = replica(1);
    let mut us: Replica<Shop> = replica(2);
    eu.write(1_000, |shop| write_shop(shop, 40)).unwrap();
    send(&eu, &mut us);
    us.write(1_001, |shop| {
        shop.open().disable();
        shop.visits().reset();
        shop.name().set("Grace's");
        for price in 0..20 {
            shop.prices().remove(&price.to_string());
            shop.tags().remove(&price.to_string());
            assert!(shop.free().delete(&["by name", &price.to_string()]).unwrap());
        }
    })
    .unwrap();
    send(&us, &mut eu);
    let before = eu.fingerprints(BUCKETS);
    assert_eq!(us.fingerprints(BUCKETS), before);
    let (id, vector) = (us.id(), us.vector());
    eu.set_members([eu.id(), id]);
    eu.report(LATE_MS, id, &vector).unwrap();
    assert!(eu.forget().rows >= 40 && eu.state().prices.rows() < us.state().prices.rows());
    assert_eq!(eu.fingerprints(BUCKETS), before);
    // Nor does how it was merged, nor where it is read.
    let joiner = copy(&eu, 3);
    assert_eq!(joiner.fingerprints(BUCKETS), before);
    let (snapshot, all) = (joiner.snapshot(), Vec::from_iter(0..BUCKETS.get()));
    assert_eq!(snapshot.fingerprints(BUCKETS), before);
    let mut rows = [snapshot.rows_of(BUCKETS, &all), us.rows_of(BUCKETS, &all)];
    rows.iter_mut().for_each(|rows| rows.sort_by_key(|row| row.id));
    assert_eq!(rows[0], rows[1]);
    assert!(replica::<Shop>(4).fingerprints(BUCKETS).sums().iter().all(|sum| *sum == 0));
}

#[test]
fn b22_concurrent_merges_of_the_same_have_equal_fingerprints_at_once() {
    let mut writers = [1, 2].map(replica::<Shop>);
    for (writer, number) in writers.iter_mut().zip([30, 50]) {
        writer.write(1_000, |shop| write_shop(shop, number)).unwrap();
    }
    // Two that merge the same in another order, while the writers merge each other.
    let mut readers = [3, 4].map(replica::<Shop>);
    let [a, b] = &mut writers;
    for (reader, order) in readers.iter_mut().zip([[&*a, &*b], [&*b, &*a]]) {
        order.iter().for_each(|writer| send(writer, reader));
    }
    let (of_a, of_b) = (a.delta_since(&b.vector()), b.delta_since(&a.vector()));
    a.merge(LATE_MS, of_b).unwrap();
    b.merge(LATE_MS, of_a).unwrap();
    let all: Vec<Fingerprints> = [&*a, b, &readers[0], &readers[1]].map(|r| r.fingerprints(BUCKETS)).into();
    assert!(all.iter().all(|prints| *prints == all[0]));
    assert_eq!(all[0].differing(&all[1]).count(), 0);
}

#[test]
fn t52_a_flipped_byte_among_very_many_rows_is_found_in_one_bucket_named_and_repaired() {
    let mut eu: Replica<MergeMap<u32, LwwRegister<String>>> = replica(1);
    eu.write(1_000, |map| {
        (0..10_000).for_each(|key| map.update(&key, |value| value.set(format!("value {key}!"))));
    })
    .unwrap();
    let mut bytes = eu.delta_since(&VersionVector::new()).encode().unwrap();
    let place = bytes.windows(11).position(|text| text == b"value 7777!").unwrap();
    bytes[place] = b'w';
    let mut us = replica(2);
    us.merge(LATE_MS, us.decode(&bytes).unwrap()).unwrap();
    assert_ne!(us.digest(), eu.digest());
    let differing: Vec<u16> = us.fingerprints(BUCKETS).differing(&eu.fingerprints(BUCKETS)).collect();
    assert_eq!(differing.len(), 1);
    let (names, looked_at) = audit(&mut eu, &mut us);
    assert_eq!(names, ["7777"]);
    assert!(looked_at < 100, "{looked_at} rows in one of 256 buckets of 10,000");
    // Nobody can tell which is right: it is the greater one, on both sides.
    assert_eq!(eu.state().get(&7777).unwrap().latest().unwrap(), "walue 7777!");
}

#[test]
fn a_row_that_one_lacks_and_one_that_it_has_too_many_are_in_both_after_a_repair() {
    let [mut eu, mut us] = forked::<Shop>(
        |shop| write_shop(shop, 20),
        |shop| {
            shop.prices().update("kettle", |price| price.set(29));
            shop.tags().add("new");
        },
        |shop| {
            shop.prices().update("pot", |price| price.set(15));
            shop.free().increment(&["stock"], 3).unwrap();
        },
    );
    let (names, _) = audit(&mut eu, &mut us);
    assert_eq!(names, ["free.\"stock\"", "prices.\"kettle\"", "prices.\"pot\"", "tags.\"new\""]);
    for shop in [eu.state(), us.state()] {
        assert_eq!(shop.prices.get("kettle").unwrap().latest(), Some(&29));
        assert_eq!(shop.prices.get("pot").unwrap().latest(), Some(&15));
        assert!(shop.tags.contains("new"));
        assert_eq!(shop.free.counter(&["stock"]).unwrap().value(), 3);
    }
}

#[test]
fn a_row_that_was_removed_and_came_back_is_removed_where_the_removal_is_remembered() {
    let fork = || {
        forked::<Shop>(
            |shop| write_shop(shop, 20),
            |shop| {
                assert!(shop.prices().remove("7") && shop.tags().remove("7") && shop.visits().reset());
                assert!(
                    shop.free().delete(&["by name"]).unwrap() && shop.open().disable() && shop.name().clear()
                );
            },
            |shop| shop.place().city().set("Lyon"),
        )
    };
    let gone = ["free.\"by name\"", "name", "open", "place.city", "prices.\"7\"", "tags.\"7\"", "visits"];
    let [mut eu, mut us] = fork();
    assert_eq!(audit(&mut eu, &mut us).0, gone);
    assert!(!us.state().prices.contains_key("7") && !us.state().tags.contains("7"));
    assert!(us.state().free.names(&["by name"]).is_empty() && !us.state().open.is_enabled());
    assert_eq!((us.state().visits.value(), us.state().name.latest()), (0, None));
    assert_eq!(us.state().place.city.latest().unwrap(), "Lyon");

    // Where it has been forgotten too, nobody can tell that it is not the other one that lost it: nothing is lost.
    let [mut eu, mut us] = fork();
    eu.set_members([eu.id()]);
    eu.forget();
    assert_eq!(audit(&mut eu, &mut us).0, gone);
    assert!(eu.state().prices.contains_key("7") && eu.state().tags.contains("7"));
    assert_eq!((eu.state().visits.value(), eu.state().open.is_enabled()), (20, true));
}

#[test]
fn a_value_that_one_remembers_to_be_superseded_is_so_in_both() {
    let mut ap: Replica<MergeMap<u8, MvRegister<i64>>> = replica(4);
    ap.write(900, |map| map.update(&1, |value| value.set(1))).unwrap();
    // One of the two copies had seen it when it wrote, and the other had not.
    let mut clones = [1, 1].map(replica::<MergeMap<u8, MvRegister<i64>>>);
    let [a, b] = &mut clones;
    send(&ap, a);
    for clone in [&mut *a, &mut *b] {
        clone.write(1_000, |map| map.update(&1, |value| value.set(2))).unwrap();
    }
    send(&ap, b);
    let [mut eu, mut us] = [copy(a, 2), copy(b, 3)];
    let all = |replica: &Replica<MergeMap<u8, MvRegister<i64>>>| {
        replica.state().get(&1).unwrap().all().copied().collect::<Vec<_>>()
    };
    assert_eq!((all(&eu), all(&us)), (vec![2], vec![1, 2]));
    assert_eq!(audit(&mut eu, &mut us).0, ["1"]);
    assert_eq!((all(&eu), all(&us)), (vec![2], vec![2]));
}

#[test]
fn what_came_back_is_found_by_who_lacks_just_that() {
    type Map = MergeMap<u32, LwwRegister<i64>>;
    let set = |map: &mut <Map as Crdt>::Mut<'_>, keys: Range<u32>| {
        keys.for_each(|key| map.update(&key, |value| value.set(1)));
    };
    let [mut eu, mut us] = forked::<Map>(
        |map| set(map, 0..500),
        |map| map.update(&9_999, |value| value.set(7)),
        |map| map.update(&3, |value| value.set(7)),
    );
    // Much is written after it elsewhere, so that what comes back is older than most of what is held.
    let mut author: Replica<Map> = replica(4);
    author.write(2_000, |map| set(map, 1_000..3_000)).unwrap();
    let mut behind: Replica<Map> = replica(1);
    behind.write(1_000, |map| set(map, 0..500)).unwrap();
    let mut behind = copy(&behind, 5);
    for replica in [&mut eu, &mut us, &mut behind] {
        send(&author, replica);
    }
    assert_eq!(audit(&mut eu, &mut us).0, ["3", "9999"]);
    for replica in [&eu, &us] {
        let delta = replica.delta_since(&behind.vector());
        assert!(delta.rows_visited() < 300, "{} rows of 2,501", delta.rows_visited());
        let mut behind = copy(&behind, 6);
        send(replica, &mut behind);
        assert_eq!(behind.canonical_bytes(), eu.canonical_bytes());
        let value = |key| behind.state().get(&key).and_then(|value| value.latest().copied());
        assert_eq!((value(3), value(9_999)), (Some(7), Some(7)));
    }
}

#[test]
fn a_repair_says_what_reads_differently() {
    let [eu, us] = forked::<Shop>(
        |shop| write_shop(shop, 2),
        |shop| shop.prices().update("1", |price| price.set(5)),
        |shop| shop.visits().add(3).unwrap(),
    );
    let config = Config { changes: true, ..Config::default() };
    let mut ap: Replica<Shop> = Replica::new(ReplicaId::from_u128(4), config);
    send(&eu, &mut ap);
    let all = Vec::from_iter(0..BUCKETS.get());
    let ids: Vec<u64> = us.rows_of(BUCKETS, &all).iter().map(|row| row.id).collect();
    let repaired = ap.repair(LATE_MS, us.rows(&ids)).unwrap();
    // The price here is newer than there; the visits there are what is lacking here.
    assert_eq!(repaired.rows.iter().map(ToString::to_string).collect::<Vec<_>>(), ["visits"]);
    let [change] = &repaired.changes[..] else { panic!("{:?}", repaired.changes) };
    assert_eq!(change.path.to_string(), "visits");
    assert_eq!((&change.before, &change.after), (&Some(Value::Int(2)), &Some(Value::Int(5))));
    assert_eq!(change.author, ReplicaId::from_u128(1));
    assert_eq!(ap.state().prices.get("1").unwrap().latest(), Some(&5));
}

#[test]
fn rows_of_another_vector_and_what_are_no_rows_are_refused_and_change_nothing() {
    let mut eu: Replica<Shop> = replica(1);
    eu.write(1_000, |shop| write_shop(shop, 30)).unwrap();
    let mut us = copy(&eu, 2);
    let all = Vec::from_iter(0..BUCKETS.get());
    let ids: Vec<u64> = eu.rows_of(BUCKETS, &all).iter().map(|row| row.id).collect();
    let old = eu.rows(&ids);
    eu.write(1_001, |shop| shop.name().set("Grace's")).unwrap();
    let unequal = |replica: &Replica<Shop>| MergeError::Unequal { vector: replica.vector() };
    let before = (us.vector(), us.canonical_bytes());
    for delta in [eu.rows(&ids), eu.delta_since(&us.vector()), eu.delta_since(&VersionVector::new())] {
        assert_eq!(us.repair(LATE_MS, delta).unwrap_err(), unequal(&us));
    }
    assert_eq!(eu.repair(LATE_MS, old.clone()).unwrap_err(), unequal(&eu));
    let refused = us.repair(u64::MAX, old.clone()).unwrap_err();
    assert!(matches!(refused, MergeError::Clock(_)), "{refused:?}");
    assert_eq!((us.vector(), us.canonical_bytes()), before);
    // Merged they are held already, and do nothing.
    assert!(!us.merge(LATE_MS, old.clone()).unwrap().is_news);
    // In chunks they are gathered as any delta.
    let chunks: Vec<_> = old.into_chunks(200).map(Result::unwrap).collect();
    assert!(chunks.len() > 3);
    let first = us.decode(&chunks[0]).unwrap();
    assert_eq!(us.repair(LATE_MS, first).unwrap_err(), MergeError::Incomplete);
    let mut pending = PendingDelta::new(&us.config().limits);
    let mut whole = None;
    for chunk in &chunks {
        whole = pending.push(us.decode(chunk).unwrap()).unwrap();
    }
    assert!(us.repair(LATE_MS, whole.unwrap()).unwrap().rows.is_empty());
    assert_eq!((us.vector(), us.canonical_bytes()), before);
}

#[test]
fn hostile_rows_are_refused_or_joined_and_neither_panic_nor_move_the_vector() {
    let [eu, us] = forked::<Shop>(
        |shop| write_shop(shop, 3),
        |shop| {
            shop.prices().remove("1");
            shop.visits().reset();
        },
        |shop| shop.prices().update("2", |price| price.set(9)),
    );
    let all = Vec::from_iter(0..BUCKETS.get());
    let ids: Vec<u64> = eu.rows_of(BUCKETS, &all).iter().map(|row| row.id).collect();
    let message = eu.rows(&ids).encode().unwrap();
    let mut joined = 0;
    for number in 0..message.len() * 8 {
        let mut wrong = message.clone();
        wrong[number / 8] ^= 1 << (number % 8);
        let mut replica = copy(&us, 4);
        let before = (replica.vector(), replica.canonical_bytes());
        let Ok(delta) = replica.decode(&wrong) else {
            continue;
        };
        match replica.repair(LATE_MS, delta) {
            Ok(_) => joined += 1,
            Err(_) => assert_eq!(replica.canonical_bytes(), before.1),
        }
        assert_eq!(replica.vector(), before.0);
        // It works on, and can be asked for what it holds.
        replica.write(LATE_MS, |shop| write_shop(shop, 2)).unwrap();
        assert_eq!(copy(&replica, 5).canonical_bytes(), replica.canonical_bytes());
    }
    assert!(joined > 20, "{joined} were joined");
}

/// What `docs/wire-format.md` says of fingerprints, told by nothing but canonical bytes.
#[test]
fn a_fingerprint_is_what_the_format_says_on_every_platform() {
    let mut eu: Replica<Shop> = replica(1);
    eu.write(1_000, |shop| {
        shop.place().city().set("Paris");
        shop.prices().update("kettle", |price| price.set(2_900));
    })
    .unwrap();
    let entry = |value: &[u8]| {
        let (id, stamp) = (1_u128.to_be_bytes(), (1_000_u64 << 16).to_be_bytes());
        [&1_u64.to_be_bytes()[..], &id, &stamp, value].concat()
    };
    let number = |field: u32| field.to_be_bytes();
    let names = [[&number(3)[..], &number(0)].concat(), [&number(2)[..], b"\xa6kettle"].concat()];
    let values = [entry(b"\xa5Paris"), entry(b"\xcd\x0b\x54")];
    let mut expected = vec![0_u64; usize::from(BUCKETS.get())];
    let mut ids = Vec::new();
    for (name, value) in names.iter().zip(&values) {
        let (id, print) = (xxh3_64(name), xxh3_64(&[&name[..], value].concat()));
        let bucket = (u128::from(id) * u128::from(BUCKETS.get())) >> 64;
        expected[bucket as usize] = expected[bucket as usize].wrapping_add(print);
        ids.push((id, print));
    }
    assert_eq!(eu.fingerprints(BUCKETS), Fingerprints::from(expected));
    let rows = eu.rows_of(NonZeroU16::MIN, &[0]);
    let of = |path: &str| rows.iter().find(|row| row.path.to_string() == path).unwrap();
    let (city, kettle) = (of("place.city"), of("prices.\"kettle\""));
    assert_eq!([(city.id, city.print), (kettle.id, kettle.print)], ids[..]);
    assert_eq!(rows.len(), 2);
}

#[test]
fn a_row_of_very_many_bytes_has_the_print_of_all_of_them() {
    let mut eu: Replica<Document> = replica(1);
    let text = "x".repeat(300_000);
    eu.write(1_000, |doc| (0..3).for_each(|n| doc.set(&["long", &n.to_string()], text.as_str()).unwrap()))
        .unwrap();
    let [row] = &eu.rows_of(NonZeroU16::MIN, &[0])[..] else { panic!("there is one name") };
    let bytes = [b"\xa4long", &eu.canonical_bytes()[8 + 5..]].concat();
    assert_eq!(row.print, xxh3_64(&bytes));
    assert_eq!(eu.fingerprints(NonZeroU16::MIN).sums(), [row.print]);
    // A short row after it is not mixed up with it.
    eu.write(1_001, |doc| doc.set(&["a"], 1).unwrap()).unwrap();
    eu.write(1_002, |doc| doc.set(&["z"], 2).unwrap()).unwrap();
    let rows = eu.rows_of(NonZeroU16::MIN, &[0]);
    let sum = rows.iter().fold(0_u64, |sum, row| sum.wrapping_add(row.print));
    assert!(rows.len() == 3 && rows.contains(row));
    assert_eq!(eu.fingerprints(NonZeroU16::MIN).sums(), [sum]);
}
