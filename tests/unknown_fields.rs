//! Releases of one application of which structs have other fields: what one does not know it keeps, merges and passes on, and all
//! hold the same.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use driftless::{
    Config, Counter, Crdt, DecodeError, Digest, Document, Flag, Limits, LwwRegister, MergeError, MergeMap,
    Merged, MvRegister, OrSet, PendingDelta, Replica, ReplicaId, Stamps, Timestamp, UnknownFields,
    VersionVector, Writer,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

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

/// A struct that is not open itself, in one that is.
#[derive(Crdt)]
struct Review {
    text: LwwRegister<String>,
    stars: Counter,
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

/// What a struct cannot keep.
#[derive(Crdt)]
struct Closed {
    name: LwwRegister<String>,
}

#[test]
fn what_stands_where_nothing_is_kept_is_refused_as_it_always_was() {
    #[derive(Crdt)]
    struct Around<R: Crdt> {
        inner: R,
        rest: UnknownFields,
    }

    let mut wide: Replica<Around<Review>> = replica(1);
    let narrow: Replica<Around<Closed>> = replica(2);
    wide.write(NOW_MS, |around| around.inner().text().set("so so")).unwrap();
    let bytes =
        |replica: &Replica<Around<Review>>| replica.delta_since(&VersionVector::new()).encode().unwrap();
    assert!(narrow.decode(&bytes(&wide)).is_ok());
    wide.write(NOW_MS, |around| around.inner().stars().add(1).unwrap()).unwrap();
    let unknown = |refused| match refused {
        Err(MergeError::Decode(DecodeError::UnknownField { field, .. })) => Some(field),
        _ => None,
    };
    assert_eq!(unknown(narrow.decode(&bytes(&wide)).map(drop)), Some(1));
    // Of another type it is kept whole: that is a matter of the field, not of what is in it.
    let mut other: Replica<Around<Counter>> = replica(3);
    ship(&wide, &mut other, NOW_MS + 1);
    assert_eq!(other.unreadable().places[0].to_string(), "#0");
    assert_eq!(reopened::<_, Around<Review>>(&other, 4).digest(), wide.digest());
    // More maps around each other than anybody will ever need.
    type Four<V> = MergeMap<u8, MergeMap<u8, MergeMap<u8, MergeMap<u8, V>>>>;
    let mut deep: Replica<Around<Four<Four<Flag>>>> = replica(5);
    deep.write(NOW_MS, |around| {
        around.inner().update(&1, |maps| {
            maps.update(&1, |maps| {
                maps.update(&1, |maps| {
                    maps.update(&1, |maps| {
                        maps.update(&1, |maps| {
                            maps.update(&1, |maps| {
                                maps.update(&1, |maps| maps.update(&1, |flag| flag.enable()))
                            });
                        });
                    });
                });
            });
        });
    })
    .unwrap();
    let bytes = deep.delta_since(&VersionVector::new()).encode().unwrap();
    assert!(reopened::<_, Around<Four<Four<Flag>>>>(&deep, 6).digest() == deep.digest());
    assert_eq!(unknown(other.decode(&bytes).map(drop)), Some(0));
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
    let (mut counted, mut flagged): (Replica<MergeMap<u8, Counted>>, Replica<MergeMap<u8, Flagged>>) =
        (replica(1), replica(2));
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

/// Decodes as each release, and if it can be merged, merges it and goes on with it.
fn take_anything(bytes: &[u8]) {
    fn take<S: Crdt>(bytes: &[u8]) {
        let limits = Limits { memory_bytes: 1 << 22, ..Limits::default() };
        let mut taken: Replica<S> = Replica::new(id(0x7777), Config { limits, ..Config::default() });
        let Ok(delta) = taken.decode(bytes) else {
            return;
        };
        if taken.merge(NOW_MS + 60_000, delta).is_ok() {
            let again =
                taken.delta_since(&VersionVector::new()).encode().expect("what was read can be written");
            let mut other: Replica<S> = replica(0x8888);
            let delta = other.decode(&again).expect("what was written can be read");
            other.merge(NOW_MS + 60_000, delta).expect("and taken");
            assert_eq!(other.digest(), taken.digest());
        }
    }
    take::<Old>(bytes);
    take::<New>(bytes);
    take::<MergeMap<u8, Counted>>(bytes);
}

#[test]
fn no_byte_that_is_another_makes_a_release_panic() {
    let sample = sample();
    for at in 0..sample.len() {
        for bit in 0..8 {
            let mut broken = sample.clone();
            broken[at] ^= 1 << bit;
            take_anything(&broken);
        }
        take_anything(&sample[..at]);
    }
}

/// A replica of one release, whatever its type.
trait Site {
    fn name(&mut self, now_ms: u64, key: u8, name: &str);
    /// Writes what only this release knows.
    fn own(&mut self, now_ms: u64, key: u8, number: u8);
    fn remove(&mut self, now_ms: u64, key: u8);
    fn fail(&mut self, now_ms: u64, key: u8);
    fn vector(&self) -> VersionVector;
    fn id(&self) -> ReplicaId;
    fn since(&self, vector: &VersionVector, chunk_bytes: Option<usize>) -> Vec<Vec<u8>>;
    fn take(&mut self, now_ms: u64, messages: &[Vec<u8>]);
    fn forget(&mut self, now_ms: u64, others: &[(ReplicaId, VersionVector)]);
    fn reissue(&mut self, now_ms: u64, id: ReplicaId, after: Timestamp);
    /// What this release reads at each key, and how many rows it keeps.
    fn read(&self) -> (BTreeMap<u8, String>, usize);
    fn digest(&self) -> Digest;
}

struct Typed<S: Crdt> {
    replica: Replica<MergeMap<u8, S>>,
    name: for<'a> fn(&'a mut S::Mut<'_>) -> Writer<'a, LwwRegister<String>>,
    own: fn(&mut S::Mut<'_>, u8),
    read: fn(&S) -> String,
}

impl<S: Crdt> Site for Typed<S> {
    fn name(&mut self, now_ms: u64, key: u8, name: &str) {
        self.replica.write(now_ms, |map| map.update(&key, |item| (self.name)(item).set(name))).unwrap();
    }

    fn own(&mut self, now_ms: u64, key: u8, number: u8) {
        self.replica.write(now_ms, |map| map.update(&key, |item| (self.own)(item, number))).unwrap();
    }

    fn remove(&mut self, now_ms: u64, key: u8) {
        self.replica.write(now_ms, |map| map.remove(&key)).unwrap();
    }

    fn fail(&mut self, now_ms: u64, key: u8) {
        let undone = self.replica.transact(now_ms, |map| {
            map.remove(&key);
            map.update(&key, |item| (self.own)(item, 9));
            map.clear();
            Err::<(), _>("no")
        });
        assert!(undone.is_err());
    }

    fn vector(&self) -> VersionVector {
        self.replica.vector()
    }

    fn id(&self) -> ReplicaId {
        self.replica.id()
    }

    fn since(&self, vector: &VersionVector, chunk_bytes: Option<usize>) -> Vec<Vec<u8>> {
        let delta = self.replica.delta_since(vector);
        match chunk_bytes {
            Some(bytes) => delta.into_chunks(bytes).map(Result::unwrap).collect(),
            None => vec![delta.encode().unwrap()],
        }
    }

    fn take(&mut self, now_ms: u64, messages: &[Vec<u8>]) {
        let mut pending = PendingDelta::new(&self.replica.config().limits);
        for message in messages {
            if let Some(delta) = pending.push(self.replica.decode(message).unwrap()).unwrap() {
                self.replica.merge(now_ms, delta).unwrap();
            }
        }
    }

    fn forget(&mut self, now_ms: u64, others: &[(ReplicaId, VersionVector)]) {
        self.replica.set_members(others.iter().map(|(id, _)| *id).chain([self.replica.id()]));
        for (id, vector) in others {
            self.replica.report(now_ms, *id, vector).unwrap();
        }
        self.replica.forget();
    }

    fn reissue(&mut self, now_ms: u64, id: ReplicaId, after: Timestamp) {
        self.replica.reissue(now_ms, id, after, Stamps::Keep).unwrap();
    }

    fn read(&self) -> (BTreeMap<u8, String>, usize) {
        let state = self.replica.state();
        (state.iter().map(|(key, item)| (*key, (self.read)(item))).collect(), state.rows())
    }

    fn digest(&self) -> Digest {
        self.replica.digest()
    }
}

/// One number, three things.
#[derive(Crdt)]
struct Mapped {
    rest: UnknownFields,
    name: LwwRegister<String>,
    seen: MergeMap<u8, Review>,
    tags: OrSet<u8>,
}

/// All of them under numbers of their own: what the others do must read as it does here.
#[derive(Crdt)]
struct Apart {
    name: LwwRegister<String>,
    count: Counter,
    flag: Flag,
    map: MergeMap<u8, Review>,
    tags: OrSet<u8>,
}

fn named(name: &LwwRegister<String>) -> &str {
    name.latest().map(String::as_str).unwrap_or_default()
}

fn read_counted(name: &LwwRegister<String>, count: &Counter) -> String {
    format!("{} {}", named(name), count.value())
}

fn read_flagged(name: &LwwRegister<String>, flag: &Flag) -> String {
    format!("{} {}", named(name), flag.is_enabled())
}

fn read_mapped(name: &LwwRegister<String>, map: &MergeMap<u8, Review>, tags: &OrSet<u8>) -> String {
    let stars: BTreeMap<_, _> = map.iter().map(|(key, review)| (key, review.stars.value())).collect();
    let tags: std::collections::BTreeSet<_> = tags.iter().collect();
    format!("{} {stars:?} {} {tags:?}", named(name), map.rows())
}

fn write_flag(flag: &mut Writer<'_, Flag>, number: u8) {
    if number.is_multiple_of(3) {
        let _ = flag.disable();
    } else {
        flag.enable()
    }
}

fn write_map(map: &mut Writer<'_, MergeMap<u8, Review>>, number: u8) {
    match number % 4 {
        0 => drop(map.remove(&(number % 3))),
        _ => map.update(&(number % 3), |review| review.stars().add(1).unwrap()),
    }
}

fn write_tags(tags: &mut Writer<'_, OrSet<u8>>, number: u8) {
    if number.is_multiple_of(5) {
        let _ = tags.clear();
    } else {
        tags.add(&(number % 4))
    }
}

/// The first three know one field as something else each, the last knows none.
const RELEASES: usize = 4;

/// A site of a release, and one that writes and reads the same where nothing is in conflict.
fn site(release: usize, number: u128, changes: bool) -> [Box<dyn Site>; 2] {
    fn typed<S: Crdt>(
        number: u128,
        changes: bool,
        name: for<'a> fn(&'a mut S::Mut<'_>) -> Writer<'a, LwwRegister<String>>,
        own: fn(&mut S::Mut<'_>, u8),
        read: fn(&S) -> String,
    ) -> Box<dyn Site> {
        let config = Config { changes, ..Config::default() };
        Box::new(Typed { replica: Replica::new(id(number), config), name, own, read })
    }
    match release {
        0 => [
            typed::<Counted>(
                number,
                changes,
                |item| item.name(),
                |item, n| item.seen().add(i64::from(n)).unwrap(),
                |item| read_counted(&item.name, &item.seen),
            ),
            typed::<Apart>(
                number,
                changes,
                |item| item.name(),
                |item, n| item.count().add(i64::from(n)).unwrap(),
                |item| read_counted(&item.name, &item.count),
            ),
        ],
        1 => [
            typed::<Flagged>(
                number,
                changes,
                |item| item.name(),
                |item, n| write_flag(&mut item.seen(), n),
                |item| read_flagged(&item.name, &item.seen),
            ),
            typed::<Apart>(
                number,
                changes,
                |item| item.name(),
                |item, n| write_flag(&mut item.flag(), n),
                |item| read_flagged(&item.name, &item.flag),
            ),
        ],
        2 => {
            let own = |item: &mut MappedMut<'_>, n: u8| {
                write_map(&mut item.seen(), n);
                write_tags(&mut item.tags(), n);
            };
            let apart = |item: &mut ApartMut<'_>, n: u8| {
                write_map(&mut item.map(), n);
                write_tags(&mut item.tags(), n);
            };
            [
                typed::<Mapped>(
                    number,
                    changes,
                    |item| item.name(),
                    own,
                    |item| read_mapped(&item.name, &item.seen, &item.tags),
                ),
                typed::<Apart>(
                    number,
                    changes,
                    |item| item.name(),
                    apart,
                    |item| read_mapped(&item.name, &item.map, &item.tags),
                ),
            ]
        }
        _ => [
            typed::<First>(
                number,
                changes,
                |item| item.name(),
                |item, n| item.name().set(n.to_string()),
                |item| named(&item.name).to_owned(),
            ),
            typed::<Apart>(
                number,
                changes,
                |item| item.name(),
                |item, n| item.name().set(n.to_string()),
                |item| named(&item.name).to_owned(),
            ),
        ],
    }
}

#[derive(Clone, Debug)]
enum Step {
    Name { at: usize, key: u8 },
    Own { at: usize, key: u8, number: u8 },
    Remove { at: usize, key: u8 },
    Fail { at: usize, key: u8 },
    Ship { from: usize, to: usize, chunk_bytes: Option<usize> },
    Forget { at: usize },
    Reissue { at: usize },
    Reopen { at: usize, release: usize },
}

const SITES: usize = 4;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (at, key) = (|| 0..SITES, || prop_oneof![4 => 0..3_u8, 1 => 0..40_u8]);
    let step = prop_oneof![
        2 => (at(), key()).prop_map(|(at, key)| Step::Name { at, key }),
        6 => (at(), key(), 0..60_u8).prop_map(|(at, key, number)| Step::Own { at, key, number }),
        2 => (at(), key()).prop_map(|(at, key)| Step::Remove { at, key }),
        1 => (at(), key()).prop_map(|(at, key)| Step::Fail { at, key }),
        9 => (at(), at(), prop::option::of(40..160_usize))
            .prop_map(|(from, to, chunk_bytes)| Step::Ship { from, to, chunk_bytes }),
        2 => at().prop_map(|at| Step::Forget { at }),
        1 => at().prop_map(|at| Step::Reissue { at }),
        1 => (at(), 0..RELEASES).prop_map(|(at, release)| Step::Reopen { at, release }),
    ];
    prop::collection::vec(step, 0..90)
}

/// Four sites, each in two forms: as its release, and as one that knows all apart.
struct Cluster {
    sites: Vec<[Box<dyn Site>; 2]>,
    /// Up to where others know each site's own commits.
    told: Vec<Timestamp>,
    next_id: u128,
}

impl Cluster {
    fn new() -> Self {
        let sites = (0..SITES).map(|at| site(at, at as u128 + 1, at == 1)).collect();
        Self { sites, told: vec![Timestamp::ZERO; SITES], next_id: SITES as u128 + 1 }
    }

    fn run(&mut self, step: &Step, now_ms: u64) {
        match *step {
            Step::Name { at, key } => {
                self.sites[at].iter_mut().for_each(|site| site.name(now_ms, key, &now_ms.to_string()))
            }
            Step::Own { at, key, number } => {
                self.sites[at].iter_mut().for_each(|site| site.own(now_ms, key, number))
            }
            Step::Remove { at, key } => self.sites[at].iter_mut().for_each(|site| site.remove(now_ms, key)),
            Step::Fail { at, key } => self.sites[at].iter_mut().for_each(|site| site.fail(now_ms, key)),
            Step::Ship { from, to, chunk_bytes } => {
                self.told[from] = self.sites[from][0].vector().get(&self.sites[from][0].id());
                for form in 0..2 {
                    let messages = self.sites[from][form].since(&self.sites[to][form].vector(), chunk_bytes);
                    self.sites[to][form].take(now_ms, &messages);
                }
            }
            Step::Forget { at } => {
                for form in 0..2 {
                    let others =
                        (0..SITES).filter(|other| *other != at).map(|other| &self.sites[other][form]);
                    let others: Vec<_> = others.map(|site| (site.id(), site.vector())).collect();
                    self.sites[at][form].forget(now_ms, &others);
                }
            }
            Step::Reissue { at } => {
                let id = self.fresh();
                self.sites[at].iter_mut().for_each(|site| site.reissue(now_ms, id, self.told[at]));
                self.told[at] = Timestamp::ZERO;
            }
            Step::Reopen { at, release } => {
                self.next_id += 1;
                let mut again = site(release, self.next_id, self.next_id.is_multiple_of(2));
                for (again, before) in again.iter_mut().zip(&self.sites[at]) {
                    again.take(now_ms, &before.since(&VersionVector::new(), None));
                }
                (self.sites[at], self.told[at]) = (again, Timestamp::ZERO);
            }
        }
    }

    fn fresh(&mut self) -> ReplicaId {
        self.next_id += 1;
        id(self.next_id)
    }
}

proptest! {
    /// Whatever a release knows, it reads what one would that knows all fields under numbers of their own; and it keeps and
    /// forgets as many rows.
    #[test]
    fn releases_with_other_fields_hold_the_same(steps in steps()) {
        let mut cluster = Cluster::new();
        let last = (0..SITES).flat_map(|from| (0..SITES).map(move |to| Step::Ship { from, to, chunk_bytes: None }));
        for (now_ms, step) in (NOW_MS..).zip(steps.into_iter().chain(last.clone()).chain(last)) {
            cluster.run(&step, now_ms);
            for [release, apart] in &cluster.sites {
                prop_assert_eq!(release.vector(), apart.vector());
                prop_assert_eq!(release.read(), apart.read(), "after {:?}", step);
            }
        }
        for [release, _] in &cluster.sites {
            prop_assert_eq!(release.digest(), cluster.sites[0][0].digest());
        }
    }

    #[test]
    fn no_bytes_make_a_release_panic(at in 0_usize..4096, with in prop::collection::vec(any::<u8>(), 0..6), cut in 0_usize..6) {
        let mut bytes = sample();
        let at = at % bytes.len();
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, with);
        take_anything(&bytes);
    }
}
