//! Releases of one application of which structs have other fields: what one does not know it keeps, merges and passes on, and all
//! hold the same.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::num::NonZeroU16;

use driftless::{
    Config, Counter, Crdt, Document, Flag, Limits, LwwRegister, MergeMap, Merged, MvRegister, OrSet,
    PendingDelta, Replica, ReplicaId, UnknownFields, VersionVector,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

mod cluster;

const NOW_MS: u64 = 1_700_000_000_000;

fn id(number: u128) -> ReplicaId {
    ReplicaId::from_u128(number << 96 | 0xD1F7)
}

fn replica<S: Crdt>(number: u128) -> Replica<S> {
    Replica::new(id(number), Config::default())
}

/// What `to` lacks, as bytes: the only thing that two releases exchange.
fn ship<A: Crdt, B: Crdt>(from: &Replica<A>, to: &mut Replica<B>, now_ms: u64) -> Merged {
    let bytes = from.delta_since(&to.vector()).encode().unwrap();
    to.merge(now_ms, to.decode(&bytes).unwrap()).unwrap()
}

/// The whole of what a replica holds, read by another release, as after an upgrade or a step back.
fn reopened<A: Crdt, B: Crdt>(from: &Replica<A>, number: u128) -> Replica<B> {
    let mut again = replica(number);
    ship(from, &mut again, NOW_MS + 60_000);
    again
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Size {
    Small,
    Inches(u32, u32),
}

/// A struct within structs.
#[derive(Crdt)]
struct Review {
    text: LwwRegister<String>,
    stars: Counter,
    rest: UnknownFields,
}

/// The same, in another release.
#[derive(Crdt)]
struct Opinion {
    text: LwwRegister<String>,
    is_good: Flag,
    rest: UnknownFields,
}

/// What the first release knew.
#[derive(Crdt)]
struct First {
    name: LwwRegister<String>,
    rest: UnknownFields,
}

/// Each kind of state, appended.
#[derive(Crdt)]
struct Latest {
    name: LwwRegister<String>,
    /// Between the others: it has no number.
    rest: UnknownFields,
    price: LwwRegister<Option<f32>>,
    sizes: MvRegister<Size>,
    stock: Counter,
    is_hidden: Flag,
    tags: OrSet<Size>,
    reviews: MergeMap<(u8, String), MergeMap<Size, Review>>,
    best: Review,
    notes: Document,
    likes: MergeMap<u64, Counter>,
}

type Old = MergeMap<u8, First>;
type New = MergeMap<u8, Latest>;

fn key(number: u8) -> (u8, String) {
    (number, "€".repeat(usize::from(number)))
}

/// Writes something of each kind.
fn write_all(latest: &mut LatestMut<'_>, number: u8) {
    latest.price().set(Some(f32::from(number) + 0.1));
    latest.sizes().set(Size::Inches(u32::from(number), 300));
    latest.stock().add(i64::from(number)).unwrap();
    latest.is_hidden().enable();
    for size in [Size::Small, Size::Inches(u32::from(number), 70_000)] {
        latest.tags().add(&size);
        latest.reviews().update(&key(number), |by_size| {
            by_size.update(&size, |review| {
                review.text().set("so so".repeat(40));
                review.stars().add(2).unwrap();
            });
        });
    }
    latest.best().text().set("none");
    latest.notes().set(&["shelf"], i64::from(number)).unwrap();
    latest.likes().update(&(u64::from(number) << 40), |likes| likes.add(1).unwrap());
}

#[test]
fn fields_of_every_kind_survive_a_release_that_knows_none_of_them() {
    let (mut new, mut old): (Replica<New>, Replica<Old>) = (replica(1), replica(2));
    for number in 1..5 {
        new.write(NOW_MS, |shop| shop.update(&number, |item| write_all(item, number))).unwrap();
    }
    let found = ship(&new, &mut old, NOW_MS + 1).unreadable;
    assert_eq!((found.values, found.places.len(), found.has_more), (36, 16, true));
    assert_eq!(old.unreadable().values, 36);
    assert!(found.places.iter().any(|place| place.to_string() == "1.#9"), "{found}");
    assert_eq!((old.vector(), old.digest()), (new.vector(), new.digest()));
    assert!(old.state().get(&1).is_some_and(|item| item.name.latest().is_none() && !item.rest.is_empty()));
    // It is stored, and goes on to others by way of it.
    old.write(NOW_MS + 2, |shop| shop.update(&1, |item| item.name().set("kettle"))).unwrap();
    let old: Replica<Old> = reopened(&old, 3);
    let behind: Replica<New> = reopened(&old, 4);
    ship(&old, &mut new, NOW_MS + 3);
    assert!(behind.unreadable().is_empty());
    assert_eq!([behind.digest(), old.digest()], [new.digest(); 2]);
    let bytes = |replica: &Replica<New>| replica.delta_since(&VersionVector::new()).encode().unwrap();
    assert_eq!(bytes(&behind), bytes(&new));
    let item = behind.state().get(&1).unwrap();
    assert_eq!((item.name.latest().unwrap().as_str(), item.price.latest()), ("kettle", Some(&Some(1.1))));
    assert!(item.tags.contains(&Size::Small) && item.rest.is_empty());
    let review = item.reviews.get(&key(1)).and_then(|by_size| by_size.get(&Size::Small)).unwrap();
    assert_eq!((review.stars.value(), item.likes.get(&(1 << 40)).unwrap().value()), (2, 1));
    let buckets = NonZeroU16::new(16).unwrap();
    assert_eq!(old.fingerprints(buckets), new.fingerprints(buckets));
}

/// Two releases that were made apart gave one number to two fields.
#[derive(Crdt)]
struct Counted {
    name: LwwRegister<String>,
    seen: Counter,
    rest: UnknownFields,
}

#[derive(Crdt)]
struct Flagged {
    name: LwwRegister<String>,
    seen: Flag,
    rest: UnknownFields,
}

#[test]
fn a_field_that_is_two_things_is_both_and_each_reads_its_own() {
    let mut counted: Replica<MergeMap<u8, Counted>> = replica(1);
    let mut flagged: Replica<MergeMap<u8, Flagged>> = replica(2);
    let mut neither: Replica<Old> = replica(3);
    counted.write(NOW_MS, |shop| shop.update(&7, |item| item.seen().add(5).unwrap())).unwrap();
    counted.write(NOW_MS, |shop| shop.update(&8, |item| item.seen().add(1).unwrap())).unwrap();
    flagged.write(NOW_MS, |shop| shop.update(&7, |item| item.seen().enable())).unwrap();
    ship(&counted, &mut neither, NOW_MS + 1);
    ship(&flagged, &mut neither, NOW_MS + 1);
    assert_eq!(
        ship(&neither, &mut counted, NOW_MS + 2).unreadable.to_string(),
        "1 value that this release cannot read, at 7.#1"
    );
    ship(&neither, &mut flagged, NOW_MS + 2);
    assert_eq!([counted.digest(), flagged.digest()], [neither.digest(); 2]);
    let seen =
        |replica: &Replica<MergeMap<u8, Counted>>| replica.state().get(&7).map(|item| item.seen.value());
    let is_seen = |replica: &Replica<MergeMap<u8, Flagged>>| {
        replica.state().get(&7).is_some_and(|item| item.seen.is_enabled())
    };
    assert_eq!((seen(&counted), is_seen(&flagged)), (Some(5), true));
    // Each comes out of the other's release as it went in.
    assert_eq!(seen(&reopened(&flagged, 4)), Some(5));
    assert!(is_seen(&reopened(&counted, 5)));
    assert_eq!(reopened::<_, Old>(&counted, 6).unreadable().values, 3);
    // And is written further meanwhile.
    counted.write(NOW_MS + 3, |shop| shop.update(&7, |item| item.seen().add(2).unwrap())).unwrap();
    flagged.write(NOW_MS + 3, |shop| shop.update(&7, |item| item.seen().disable())).unwrap();
    ship(&counted, &mut flagged, NOW_MS + 4);
    ship(&flagged, &mut counted, NOW_MS + 4);
    assert_eq!((seen(&counted), is_seen(&flagged)), (Some(7), false));
    assert_eq!(counted.digest(), flagged.digest());
}

#[cfg(target_pointer_width = "64")]
#[test]
fn to_be_open_costs_a_struct_a_word() {
    assert_eq!(size_of::<UnknownFields>(), 8);
    assert_eq!(size_of::<First>(), size_of::<LwwRegister<String>>() + 8);
}

#[test]
fn a_removal_removes_what_it_has_seen_of_fields_that_it_does_not_know_and_no_more() {
    let (mut new, mut old): (Replica<MergeMap<u8, Counted>>, Replica<Old>) = (replica(1), replica(2));
    new.write(NOW_MS, |shop| shop.update(&7, |item| item.seen().add(5).unwrap())).unwrap();
    ship(&new, &mut old, NOW_MS + 1);
    old.write(NOW_MS + 2, |shop| shop.remove(&7)).unwrap();
    new.write(NOW_MS + 2, |shop| shop.update(&7, |item| item.seen().add(2).unwrap())).unwrap();
    ship(&old, &mut new, NOW_MS + 3);
    ship(&new, &mut old, NOW_MS + 3);
    assert_eq!(new.state().get(&7).map(|item| item.seen.value()), Some(2));
    assert_eq!(new.digest(), old.digest());
}

#[test]
fn a_removal_is_passed_on_by_a_delta_that_was_never_bytes() {
    let (mut new, mut other): (Replica<New>, Replica<New>) = (replica(1), replica(2));
    let (mut eu, mut us): (Replica<Old>, Replica<Old>) = (replica(3), replica(4));
    new.write(NOW_MS, |shop| shop.update(&7, |item| item.stock().add(5).unwrap())).unwrap();
    ship(&new, &mut eu, NOW_MS + 1);
    ship(&new, &mut us, NOW_MS + 1);
    // What is written beside it meanwhile stays.
    other.write(NOW_MS + 1, |shop| shop.update(&7, |item| item.is_hidden().enable())).unwrap();
    new.write(NOW_MS + 2, |shop| shop.remove(&7)).unwrap();
    ship(&other, &mut eu, NOW_MS + 3);
    ship(&new, &mut eu, NOW_MS + 3);
    us.merge(NOW_MS + 4, eu.delta_since(&us.vector())).unwrap();
    assert_eq!((us.vector(), us.digest()), (eu.vector(), eu.digest()));
    let behind: Replica<New> = reopened(&us, 5);
    let item = behind.state().get(&7).unwrap();
    assert_eq!((item.stock.value(), item.is_hidden.is_enabled()), (0, true));
    assert_eq!(us.unreadable().values, 1);
    // As to one that knows nothing but what was written beside it.
    let mut late: Replica<Old> = replica(6);
    ship(&other, &mut late, NOW_MS + 5);
    late.merge(NOW_MS + 6, eu.delta_since(&late.vector())).unwrap();
    assert_eq!(late.digest(), eu.digest());
}

#[test]
fn what_is_held_already_is_not_told_again() {
    let (mut new, mut old): (Replica<New>, Replica<Old>) = (replica(1), replica(2));
    new.write(NOW_MS, |shop| shop.update(&7, |item| write_all(item, 7))).unwrap();
    let whole = new.delta_since(&VersionVector::new()).encode().unwrap();
    assert_eq!(ship(&new, &mut old, NOW_MS + 1).unreadable.values, 9);
    new.write(NOW_MS + 2, |shop| shop.update(&7, |item| item.stock().add(1).unwrap())).unwrap();
    let merged = ship(&new, &mut old, NOW_MS + 3);
    assert_eq!(merged.unreadable.to_string(), "1 value that this release cannot read, at 7.#3");
    assert!(old.merge(NOW_MS + 4, old.decode(&whole).unwrap()).unwrap().unreadable.is_empty());
}

#[test]
fn a_transaction_that_is_undone_undoes_what_it_did_to_fields_that_it_does_not_know() {
    let (mut new, mut old): (Replica<New>, Replica<Old>) = (replica(1), replica(2));
    new.write(NOW_MS, |shop| shop.update(&7, |item| write_all(item, 7))).unwrap();
    ship(&new, &mut old, NOW_MS + 1);
    let before = old.delta_since(&VersionVector::new()).encode().unwrap();
    let undone = old.transact(NOW_MS + 2, |shop| {
        shop.remove(&7);
        shop.update(&7, |item| item.name().set("pot"));
        Err::<(), _>("no")
    });
    assert!(undone.is_err());
    assert_eq!(old.delta_since(&VersionVector::new()).encode().unwrap(), before);
    assert_eq!(old.digest(), new.digest());
}

#[test]
fn a_transaction_that_is_undone_tells_the_numbers_of_fields_apart_up_to_the_last_there_is() {
    macro_rules! wide {
        ($($field:ident)+) => {
            /// The field of [`Counted`] under another number, after as many as there may be before it.
            #[derive(Crdt)]
            struct Wide {
                $($field: Flag,)+
                seen: Counter,
                rest: UnknownFields,
            }
        };
    }
    wide! {
        f0 f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11 f12 f13 f14 f15 f16 f17 f18 f19 f20 f21 f22 f23 f24 f25 f26 f27 f28 f29 f30
        f31 f32 f33 f34 f35 f36 f37 f38 f39 f40 f41 f42 f43 f44 f45 f46 f47 f48 f49 f50 f51 f52 f53 f54 f55 f56 f57 f58
        f59 f60 f61 f62
    }
    let mut counted: Replica<MergeMap<u8, Counted>> = replica(1);
    let mut wide: Replica<MergeMap<u8, Wide>> = replica(2);
    let mut old: Replica<Old> = replica(3);
    counted.write(NOW_MS, |shop| shop.update(&7, |item| item.seen().add(5).unwrap())).unwrap();
    wide.write(NOW_MS, |shop| shop.update(&7, |item| item.seen().add(3).unwrap())).unwrap();
    ship(&counted, &mut old, NOW_MS + 1);
    assert_eq!(ship(&wide, &mut old, NOW_MS + 1).unreadable.places[0].to_string(), "7.#63");
    let before = old.delta_since(&VersionVector::new()).encode().unwrap();
    let undone = old.transact(NOW_MS + 2, |shop| {
        shop.remove(&7);
        Err::<(), _>("no")
    });
    assert!(undone.is_err());
    assert_eq!(old.delta_since(&VersionVector::new()).encode().unwrap(), before);
    assert_eq!(reopened::<_, MergeMap<u8, Wide>>(&old, 4).state().get(&7).unwrap().seen.value(), 3);
    assert_eq!(reopened::<_, MergeMap<u8, Counted>>(&old, 5).state().get(&7).unwrap().seen.value(), 5);
}

#[test]
fn what_changes_in_fields_that_are_not_known_is_no_change_to_be_read() {
    let mut new: Replica<New> = replica(1);
    let mut old: Replica<Old> = Replica::new(id(2), Config { changes: true, ..Config::default() });
    new.write(NOW_MS, |shop| shop.update(&7, |item| write_all(item, 7))).unwrap();
    new.write(NOW_MS, |shop| shop.update(&7, |item| item.name().set("kettle"))).unwrap();
    let merged = ship(&new, &mut old, NOW_MS + 1);
    let places: Vec<_> = merged.changes.iter().map(|change| change.path.to_string()).collect();
    assert_eq!((places, merged.conflicts), (vec!["7.name".to_owned()], 0));
    let removed = old.write(NOW_MS + 2, |shop| shop.remove(&7)).unwrap();
    let places: Vec<_> = removed.changes.iter().map(|change| change.path.to_string()).collect();
    assert_eq!(places, ["7.name"]);
}

#[test]
fn two_fields_that_were_appended_apart_under_one_number_are_two() {
    #[derive(Crdt)]
    struct Liked {
        name: LwwRegister<String>,
        likes: Counter,
        rest: UnknownFields,
    }

    #[derive(Crdt)]
    struct Disliked {
        name: LwwRegister<String>,
        dislikes: Counter,
        rest: UnknownFields,
    }

    let mut liked: Replica<MergeMap<u8, Liked>> = replica(1);
    let mut disliked: Replica<MergeMap<u8, Disliked>> = replica(2);
    let mut neither: Replica<Old> = replica(3);
    liked.write(NOW_MS, |shop| shop.update(&7, |item| item.likes().add(5).unwrap())).unwrap();
    disliked.write(NOW_MS, |shop| shop.update(&7, |item| item.dislikes().add(3).unwrap())).unwrap();
    ship(&liked, &mut neither, NOW_MS + 1);
    ship(&disliked, &mut neither, NOW_MS + 1);
    assert_eq!(neither.unreadable().values, 2);
    ship(&neither, &mut liked, NOW_MS + 2);
    ship(&neither, &mut disliked, NOW_MS + 2);
    assert_eq!(liked.state().get(&7).map(|item| item.likes.value()), Some(5));
    assert_eq!(disliked.state().get(&7).map(|item| item.dislikes.value()), Some(3));
    assert_eq!([liked.digest(), disliked.digest()], [neither.digest(); 2]);
}

#[test]
fn structs_within_are_open_as_well_so_a_relay_passes_on_what_each_can_take() {
    #[derive(Crdt)]
    struct Around<R: Crdt> {
        name: LwwRegister<String>,
        best: R,
        rest: UnknownFields,
    }

    let mut reviews: Replica<MergeMap<u8, Around<Review>>> = replica(1);
    let mut opinions: Replica<MergeMap<u8, Around<Opinion>>> = replica(2);
    let mut neither: Replica<Old> = replica(3);
    reviews.write(NOW_MS, |shop| shop.update(&7, |item| item.best().stars().add(5).unwrap())).unwrap();
    opinions
        .write(NOW_MS, |shop| {
            shop.update(&7, |item| {
                item.best().is_good().enable();
                item.best().text().set("good");
            });
        })
        .unwrap();
    ship(&reviews, &mut neither, NOW_MS + 1);
    ship(&opinions, &mut neither, NOW_MS + 1);
    // A field is named once, whatever is in it.
    assert_eq!(neither.unreadable().values, 1);
    assert_eq!(ship(&neither, &mut reviews, NOW_MS + 2).unreadable.places[0].to_string(), "7.best.#1");
    ship(&neither, &mut opinions, NOW_MS + 2);
    let best = &reviews.state().get(&7).unwrap().best;
    assert_eq!((best.stars.value(), best.text.latest().map(String::as_str)), (5, Some("good")));
    assert!(opinions.state().get(&7).unwrap().best.is_good.is_enabled());
    assert_eq!([reviews.digest(), opinions.digest()], [neither.digest(); 2]);
    // A type with a parameter is as open as any.
    let other: Replica<MergeMap<u8, Around<Counter>>> = reopened(&reviews, 4);
    assert_eq!(other.unreadable().places[0].to_string(), "7.#1");
    assert_eq!(reopened::<_, MergeMap<u8, Around<Review>>>(&other, 5).digest(), reviews.digest());
}

#[test]
fn values_that_no_release_reads_alike_are_kept_as_they_came_where_nobody_knows_them() {
    let (mut new, mut old): (Replica<New>, Replica<Old>) = (replica(1), replica(2));
    let mut other: Replica<New> = replica(3);
    new.write(NOW_MS, |shop| shop.update(&7, |item| item.price().set(Some(0.5)))).unwrap();
    other.write(NOW_MS + 1, |shop| shop.update(&7, |item| item.price().set(None))).unwrap();
    ship(&new, &mut old, NOW_MS + 2);
    assert_eq!(ship(&other, &mut old, NOW_MS + 2).conflicts, 0, "nobody here reads it");
    ship(&old, &mut new, NOW_MS + 3);
    let price = &new.state().get(&7).unwrap().price;
    assert_eq!((price.all().collect::<Vec<_>>(), price.latest()), (vec![&Some(0.5), &None], Some(&None)));
    assert_eq!(old.digest(), new.digest());
}

#[test]
fn an_audit_names_and_repairs_what_differs_in_a_field_that_is_not_known() {
    let (mut new, mut old): (Replica<New>, Replica<Old>) = (replica(1), replica(2));
    let mut lost: Replica<New> = replica(1);
    new.write(NOW_MS, |shop| shop.update(&7, |item| write_all(item, 7))).unwrap();
    lost.write(NOW_MS, |shop| shop.update(&7, |item| item.name().set("kettle"))).unwrap();
    ship(&lost, &mut old, NOW_MS + 1);
    assert_eq!(old.vector(), new.vector());
    let buckets = NonZeroU16::MIN;
    assert_ne!(old.fingerprints(buckets), new.fingerprints(buckets));
    let ids = |rows: Vec<driftless::RowPrint>| rows.iter().map(|row| row.id).collect::<Vec<u64>>();
    let wanted = ids(old.rows_of(buckets, &[0]));
    assert_eq!(wanted, ids(new.rows_of(buckets, &[0])));
    let rows = new.rows(&wanted).encode().unwrap();
    assert_eq!(old.repair(NOW_MS + 2, old.decode(&rows).unwrap()).unwrap().rows.len(), 1);
    let rows = old.rows(&wanted).encode().unwrap();
    assert_eq!(new.repair(NOW_MS + 2, new.decode(&rows).unwrap()).unwrap().rows.len(), 1);
    assert_eq!(old.digest(), new.digest());
    assert_eq!(new.state().get(&7).map(|item| item.stock.value()), Some(7));
}

#[test]
fn a_repair_removes_what_the_other_side_remembers_to_have_removed() {
    let (mut new, mut old): (Replica<New>, Replica<Old>) = (replica(1), replica(2));
    let mut lost: Replica<New> = replica(1);
    for new in [&mut new, &mut lost] {
        new.write(NOW_MS, |shop| shop.update(&7, |item| write_all(item, 7))).unwrap();
    }
    new.write(NOW_MS + 1, |shop| shop.remove(&7)).unwrap();
    new.write(NOW_MS + 2, |shop| shop.update(&7, |item| item.stock().add(1).unwrap())).unwrap();
    lost.write(NOW_MS + 2, |shop| shop.update(&8, |item| item.name().set("pot"))).unwrap();
    ship(&lost, &mut old, NOW_MS + 3);
    assert_eq!(old.vector(), new.vector());
    let ids: Vec<u64> = new.rows_of(NonZeroU16::MIN, &[0]).iter().map(|row| row.id).collect();
    let rows = new.rows(&ids).encode().unwrap();
    old.repair(NOW_MS + 4, old.decode(&rows).unwrap()).unwrap();
    let behind: Replica<New> = reopened(&old, 3);
    let item = behind.state().get(&7).unwrap();
    assert_eq!((item.stock.value(), item.price.latest(), item.tags.len(), item.likes.len()), (1, None, 0, 0));
}

#[test]
fn at_the_root_fields_that_are_not_known_are_rows_of_their_own_under_the_same_names() {
    let (mut new, mut old): (Replica<Latest>, Replica<First>) = (replica(1), replica(2));
    new.write(NOW_MS, |item| write_all(item, 7)).unwrap();
    ship(&new, &mut old, NOW_MS + 1);
    let buckets = NonZeroU16::new(64).unwrap();
    assert_eq!(old.fingerprints(buckets), new.fingerprints(buckets));
    let prints = |rows: Vec<driftless::RowPrint>| {
        rows.iter().map(|row| (row.id, row.print)).collect::<std::collections::BTreeSet<_>>()
    };
    let all: Vec<u16> = (0..64).collect();
    let rows = prints(old.rows_of(buckets, &all));
    assert_eq!(rows, prints(new.rows_of(buckets, &all)));
    assert!(!old.state().rest.is_empty());
    // And can be asked for by them.
    let ids: Vec<u64> = rows.iter().map(|(id, _)| *id).collect();
    let mut lost: Replica<Latest> = replica(1);
    lost.write(NOW_MS, |item| item.name().set("kettle")).unwrap();
    assert_eq!(lost.vector(), new.vector());
    lost.repair(NOW_MS + 2, lost.decode(&old.rows(&ids).encode().unwrap()).unwrap()).unwrap();
    assert_eq!(
        (lost.state().stock.value(), lost.state().likes.len(), lost.state().reviews.len()),
        (7, 1, 1),
        "what was asked for came"
    );
}

/// Bytes of an open struct, to be broken.
fn sample() -> Vec<u8> {
    let mut counted: Replica<MergeMap<u8, Counted>> = replica(1);
    let mut flagged: Replica<MergeMap<u8, Flagged>> = replica(2);
    let mut new: Replica<New> = replica(3);
    counted.write(NOW_MS, |shop| shop.update(&7, |item| item.seen().add(5).unwrap())).unwrap();
    flagged.write(NOW_MS, |shop| shop.update(&7, |item| item.seen().enable())).unwrap();
    new.write(NOW_MS, |shop| shop.update(&7, |item| write_all(item, 7))).unwrap();
    new.write(NOW_MS, |shop| shop.update(&9, |item| write_all(item, 9))).unwrap();
    new.write(NOW_MS, |shop| shop.remove(&9)).unwrap();
    ship(&flagged, &mut counted, NOW_MS + 1);
    ship(&new, &mut counted, NOW_MS + 1);
    counted.delta_since(&VersionVector::new()).encode().unwrap()
}

/// Decodes as each release, and if it can be merged, merges it, into nothing and into what is there, and goes on with it.
fn take_anything(bytes: &[u8]) {
    fn take<S: Crdt>(bytes: &[u8], sample: &[u8]) {
        let limits = Limits { memory_bytes: 1 << 22, ..Limits::default() };
        for is_filled in [false, true] {
            let mut taken: Replica<S> = Replica::new(id(0x7777), Config { limits, ..Config::default() });
            if is_filled {
                let filled = taken.decode(sample).expect("it is whole");
                taken.merge(NOW_MS + 60_000, filled).expect("it is whole");
            }
            let Ok(delta) = taken.decode(bytes) else {
                continue;
            };
            if taken.merge(NOW_MS + 60_000, delta).is_ok() {
                let chunks = taken.delta_since(&VersionVector::new()).into_chunks(60);
                let mut other: Replica<S> = replica(0x8888);
                let mut pending = PendingDelta::new(&limits);
                for chunk in chunks {
                    let chunk =
                        other.decode(&chunk.expect("what was read can be written")).expect("and read");
                    if let Some(delta) = pending.push(chunk).expect("it follows") {
                        other.merge(NOW_MS + 60_000, delta).expect("and taken");
                    }
                }
                assert_eq!(other.digest(), taken.digest());
            }
            let vector = taken.vector();
            if let Ok(rows) = taken.decode(bytes)
                && taken.repair(NOW_MS + 60_000, rows).is_ok()
            {
                assert_eq!(taken.vector(), vector);
                taken.delta_since(&VersionVector::new()).encode().expect("what was repaired can be written");
            }
        }
    }
    let sample = sample();
    take::<Old>(bytes, &sample);
    take::<New>(bytes, &sample);
    take::<MergeMap<u8, Counted>>(bytes, &sample);
}

#[test]
fn no_byte_that_is_another_makes_a_release_panic() {
    let sample = sample();
    for at in 0..sample.len() {
        for bit in [0, at % 8] {
            let mut broken = sample.clone();
            broken[at] ^= 1 << bit;
            take_anything(&broken);
        }
        take_anything(&sample[..at]);
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_release_panic(at in 0_usize..4096, with in prop::collection::vec(any::<u8>(), 0..6), cut in 0_usize..6) {
        let mut bytes = sample();
        let at = at % bytes.len();
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, with);
        take_anything(&bytes);
    }
}
