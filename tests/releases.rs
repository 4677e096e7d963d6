//! Replicas of different releases of one application, of which registers have different types: what one cannot read it keeps and
//! passes on, and all hold the same.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::num::NonZeroU16;

use driftless::{
    Config, Counter, Crdt, Datum, Document, LwwRegister, MergeMap, MvRegister, PendingDelta, Replica,
    ReplicaId, Stamps, Timestamp, Value, VersionVector,
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
fn ship<A: Crdt, B: Crdt>(from: &Replica<A>, to: &mut Replica<B>, now_ms: u64) -> driftless::Merged {
    let bytes = from.delta_since(&to.vector()).encode().unwrap();
    to.merge(now_ms, to.decode(&bytes).unwrap()).unwrap()
}

/// The whole of what a replica holds, read by another release, as after an upgrade or a step back.
fn reopened<A: Crdt, B: Crdt>(from: &Replica<A>, number: u128) -> Replica<B> {
    let mut again = replica(number);
    ship(from, &mut again, NOW_MS + 60_000);
    again
}

#[derive(Crdt)]
struct Item<P: Datum> {
    name: LwwRegister<String>,
    price: LwwRegister<P>,
    sold: Counter,
}

type Shop<P> = MergeMap<String, Item<P>>;

fn price<'a, P: Datum>(shop: &'a Replica<Shop<P>>, key: &str) -> &'a LwwRegister<P> {
    &shop.state().get(key).unwrap().price
}

#[test]
fn a_value_of_another_type_holds_up_nothing_else_and_is_named() {
    let (mut old, mut new): (Replica<Shop<u32>>, Replica<Shop<String>>) = (replica(1), replica(2));
    new.transact(NOW_MS, |shop| {
        shop.update("kettle", |kettle| {
            kettle.name().set("Kettle");
            kettle.price().set("29 EUR");
            kettle.sold().add(3)
        })
    })
    .unwrap();
    let merged = ship(&new, &mut old, NOW_MS + 1);
    assert_eq!(merged.unreadable.to_string(), "1 value that this release cannot read, at \"kettle\".price");
    assert_eq!(old.vector(), new.vector(), "what was delivered counts as delivered");
    let kettle = old.state().get("kettle").unwrap();
    assert_eq!((kettle.name.latest().unwrap().as_str(), kettle.sold.value()), ("Kettle", 3));
    assert_eq!((kettle.price.latest(), kettle.price.all().len()), (None, 0));
    assert_eq!((old.digest(), old.unreadable()), (new.digest(), merged.unreadable));
}

#[test]
fn what_a_release_cannot_read_it_passes_on_and_stores_as_it_came() {
    let (mut new, mut old): (Replica<Shop<String>>, Replica<Shop<u32>>) = (replica(1), replica(2));
    new.write(NOW_MS, |shop| shop.update("kettle", |kettle| kettle.price().set("29 EUR"))).unwrap();
    ship(&new, &mut old, NOW_MS + 1);
    let behind: Replica<Shop<String>> = reopened(&old, 3);
    assert_eq!(price(&behind, "kettle").latest().map(String::as_str), Some("29 EUR"));
    assert!(behind.unreadable().is_empty());
    let stepped_back: Replica<Shop<u32>> = reopened(&old, 4);
    assert_eq!(stepped_back.unreadable(), old.unreadable());
    assert_eq!(stepped_back.digest(), new.digest());
    let upgraded: Replica<Shop<String>> = reopened(&stepped_back, 5);
    assert_eq!(price(&upgraded, "kettle").latest().map(String::as_str), Some("29 EUR"));
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Amount {
    cents: u32,
}

/// The same, one field later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Money {
    cents: u32,
    #[serde(default)]
    currency: String,
}

#[test]
fn a_field_that_a_release_does_not_know_survives_it_and_one_that_it_adds_reaches_nobody() {
    let (mut old, mut new): (Replica<Shop<Amount>>, Replica<Shop<Money>>) = (replica(1), replica(2));
    let money = |cents, currency: &str| Money { cents, currency: currency.to_owned() };
    old.write(NOW_MS, |shop| shop.update("kettle", |kettle| kettle.price().set(Amount { cents: 2_900 })))
        .unwrap();
    new.write(NOW_MS, |shop| shop.update("pot", |pot| pot.price().set(money(3_500, "EUR")))).unwrap();
    ship(&old, &mut new, NOW_MS + 1);
    ship(&new, &mut old, NOW_MS + 1);
    // The new release reads what it lacks as nothing, and passes on what was written.
    assert_eq!(price(&new, "kettle").latest(), Some(&money(2_900, "")));
    assert!(new.unreadable().is_empty());
    assert_eq!(new.digest(), old.digest());
    let behind: Replica<Shop<Amount>> = reopened(&new, 3);
    assert_eq!(price(&behind, "kettle").latest(), Some(&Amount { cents: 2_900 }));
    let behind: Replica<Shop<Money>> = reopened(&old, 4);
    assert_eq!(price(&behind, "pot").latest(), Some(&money(3_500, "EUR")));
    // As does one that is told fields by their names, and so can read what it cannot keep.
    let (mut wide, mut narrow): (Replica<LwwRegister<Value>>, Replica<LwwRegister<ByName>>) =
        (replica(5), replica(6));
    let fields = [("cents".to_owned(), Value::from(7)), ("currency".to_owned(), Value::from("EUR"))];
    wide.write(NOW_MS, |register| register.set(Value::Map(fields.into()))).unwrap();
    ship(&wide, &mut narrow, NOW_MS + 1);
    assert_eq!(narrow.state().latest(), Some(&ByName { cents: 7 }));
    let behind: Replica<LwwRegister<Value>> = reopened(&narrow, 7);
    assert_eq!(behind.state().latest(), wide.state().latest());
    assert_eq!([narrow.digest(), behind.digest()], [wide.digest(); 2]);
}

/// Fields by their names, as other programs write them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct ByName {
    cents: u32,
}

impl Serialize for ByName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([("cents", self.cents)])
    }
}

#[test]
fn a_value_that_cannot_be_read_is_concurrent_with_others_until_it_is_overwritten() {
    let (mut old, mut new): (Replica<LwwRegister<u32>>, Replica<LwwRegister<String>>) =
        (replica(1), replica(2));
    old.write(NOW_MS, |price| price.set(29)).unwrap();
    new.write(NOW_MS + 1, |price| price.set("29 EUR")).unwrap();
    assert_eq!(ship(&new, &mut old, NOW_MS + 2).conflicts, 1);
    ship(&old, &mut new, NOW_MS + 2);
    assert_eq!(old.digest(), new.digest());
    // Each reads what it can, and knows of the other.
    for (is_conflicted, readable, unreadable) in [
        (old.state().is_conflicted(), old.state().all().len(), old.state().unreadable().count()),
        (new.state().is_conflicted(), new.state().all().len(), new.state().unreadable().count()),
    ] {
        assert_eq!((is_conflicted, readable, unreadable), (true, 1, 1));
    }
    assert_eq!(old.state().latest(), Some(&29), "the newest is another's");
    assert_eq!(new.state().stamped().next_back().unwrap().0.millis(), NOW_MS + 1);
    // Who has seen both settles it, for both.
    old.write(NOW_MS + 3, |price| price.set(30)).unwrap();
    assert_eq!(old.state().unreadable().count(), 0);
    let merged = ship(&old, &mut new, NOW_MS + 4);
    assert_eq!((merged.unreadable.values, new.state().latest(), new.state().all().len()), (1, None, 0));
    let cleared = new.write(NOW_MS + 5, |price| price.clear()).unwrap();
    assert!(cleared.value, "there was something");
    ship(&new, &mut old, NOW_MS + 6);
    assert_eq!((old.state().latest(), old.digest()), (None, new.digest()));
    assert!(new.unreadable().is_empty());
}

#[test]
fn changes_show_what_a_release_can_read() {
    let config = Config { changes: true, ..Config::default() };
    let mut old: Replica<MvRegister<u32>> = Replica::new(ReplicaId::from_u128(1), config);
    let mut new: Replica<MvRegister<String>> = replica(2);
    old.write(NOW_MS, |price| price.set(29)).unwrap();
    ship(&old, &mut new, NOW_MS + 1);
    new.write(NOW_MS + 2, |price| price.set("29 EUR")).unwrap();
    let changes = ship(&new, &mut old, NOW_MS + 3).changes;
    assert_eq!(changes.len(), 1);
    assert_eq!((&changes[0].before, &changes[0].after), (&Some(Value::List(vec![Value::from(29)])), &None));
}

#[test]
fn a_repair_joins_what_neither_side_can_read() {
    let mut new: Replica<Shop<String>> = replica(1);
    new.write(NOW_MS, |shop| shop.update("kettle", |kettle| kettle.price().set("29 EUR"))).unwrap();
    let mut bytes = new.delta_since(&VersionVector::new()).encode().unwrap();
    let (mut right, mut wrong): (Replica<Shop<u32>>, Replica<Shop<u32>>) = (replica(2), replica(3));
    ship(&new, &mut right, NOW_MS + 1);
    let two = bytes.windows(6).position(|text| text == b"29 EUR").unwrap();
    bytes[two] = b'9';
    wrong.merge(NOW_MS + 1, wrong.decode(&bytes).unwrap()).unwrap();
    assert_eq!(wrong.vector(), right.vector());
    assert_ne!(wrong.digest(), right.digest());
    let ids: Vec<u64> = right.rows_of(NonZeroU16::MIN, &[0]).iter().map(|row| row.id).collect();
    let (of_right, of_wrong) = (right.rows(&ids).encode().unwrap(), wrong.rows(&ids).encode().unwrap());
    assert_eq!(right.repair(NOW_MS + 2, right.decode(&of_wrong).unwrap()).unwrap().rows.len(), 1);
    assert_eq!(wrong.repair(NOW_MS + 2, wrong.decode(&of_right).unwrap()).unwrap().rows.len(), 0);
    assert_eq!(wrong.digest(), right.digest());
    // Whichever is right, both have the same, as has who can read it.
    let ids: Vec<u64> = new.rows_of(NonZeroU16::MIN, &[0]).iter().map(|row| row.id).collect();
    let rows = right.rows(&ids).encode().unwrap();
    assert_eq!(new.repair(NOW_MS + 3, new.decode(&rows).unwrap()).unwrap().rows.len(), 1);
    assert_eq!(price(&new, "kettle").latest().map(String::as_str), Some("99 EUR"));
}

#[test]
fn what_cannot_be_read_stays_beside_what_is_issued_again() {
    let (mut old, mut new): (Replica<LwwRegister<u32>>, Replica<LwwRegister<String>>) =
        (replica(1), replica(2));
    old.write(NOW_MS, |price| price.set(29)).unwrap();
    new.write(NOW_MS + 1, |price| price.set("31 EUR")).unwrap();
    ship(&old, &mut new, NOW_MS + 2);
    let reissued = new.reissue(NOW_MS + 3, id(9), Timestamp::ZERO, Stamps::Keep).unwrap();
    assert_eq!(reissued.commits, 1);
    ship(&new, &mut old, NOW_MS + 4);
    assert_eq!(old.digest(), new.digest());
    assert_eq!([old.state().unreadable().count(), new.state().unreadable().count()], [1, 1]);
    assert_eq!((old.state().latest(), new.state().latest().map(String::as_str)), (Some(&29), Some("31 EUR")));
}

#[test]
fn keys_and_what_a_document_cannot_hold_are_told_apart() {
    // A key that cannot be read stands for a row that cannot be found: the message is refused whole.
    let mut named: Replica<MergeMap<String, LwwRegister<u8>>> = replica(1);
    named.write(NOW_MS, |map| map.update("kettle", |price| price.set(29))).unwrap();
    let numbered: Replica<MergeMap<u8, LwwRegister<u8>>> = replica(2);
    let bytes = named.delta_since(&VersionVector::new()).encode().unwrap();
    assert!(numbered.decode(&bytes).is_err());

    // A document reads what a register of any type holds; what is beyond its values it keeps.
    let mut wide: Replica<MergeMap<String, LwwRegister<u64>>> = replica(3);
    wide.write(NOW_MS, |map| map.update("n", |n| n.set(u64::MAX))).unwrap();
    let mut values: Replica<MergeMap<String, LwwRegister<Value>>> = replica(4);
    assert_eq!(ship(&wide, &mut values, NOW_MS + 1).unreadable.places[0].to_string(), "\"n\"");
    assert_eq!(reopened::<_, MergeMap<String, LwwRegister<u64>>>(&values, 5).digest(), wide.digest());
    let mut document: Replica<Document> = replica(6);
    document.transact(NOW_MS, |document| document.set(&["n"], 7)).unwrap();
    assert!(document.unreadable().is_empty());
}

/// A replica of one release, whatever its type.
trait Site {
    fn write(&mut self, now_ms: u64, key: u8, number: u32);
    fn clear(&mut self, now_ms: u64, key: u8);
    fn remove(&mut self, now_ms: u64, key: u8);
    fn vector(&self) -> VersionVector;
    fn since(&self, vector: &VersionVector, chunk_bytes: Option<usize>) -> Vec<Vec<u8>>;
    fn take(&mut self, now_ms: u64, messages: &[Vec<u8>]);
    fn forget(&mut self, now_ms: u64, others: &[(ReplicaId, VersionVector)]);
    fn canonical(&self) -> Vec<u8>;
}

struct Typed<T: Datum> {
    replica: Replica<MergeMap<u8, LwwRegister<T>>>,
    value: fn(u32) -> T,
}

impl<T: Datum> Site for Typed<T> {
    fn write(&mut self, now_ms: u64, key: u8, number: u32) {
        let value = (self.value)(number);
        self.replica.write(now_ms, |map| map.update(&key, |register| register.set(value))).unwrap();
    }

    fn clear(&mut self, now_ms: u64, key: u8) {
        self.replica.write(now_ms, |map| map.update(&key, |register| register.clear())).unwrap();
    }

    fn remove(&mut self, now_ms: u64, key: u8) {
        self.replica.write(now_ms, |map| map.remove(&key)).unwrap();
    }

    fn vector(&self) -> VersionVector {
        self.replica.vector()
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
        self.replica.set_members((1..=SITES as u128).map(id));
        for (id, vector) in others {
            self.replica.report(now_ms, *id, vector).unwrap();
        }
        self.replica.forget();
    }

    fn canonical(&self) -> Vec<u8> {
        self.replica.canonical_bytes()
    }
}

fn site<T: Datum>(number: u128, value: fn(u32) -> T) -> Box<dyn Site> {
    // One of them tells what changed, which is another way through a merge.
    let config = Config { changes: number == 2, ..Config::default() };
    Box::new(Typed { replica: Replica::new(id(number), config), value })
}

const SITES: usize = 3;

/// One release at each site; and one that reads everything, writing the same, at all of them.
fn clusters() -> [[Box<dyn Site>; SITES]; 2] {
    let text = |number: u32| number.to_string();
    let money = |cents: u32| Money { cents, currency: "EUR".to_owned() };
    let of_money = |cents: u32| Value::List(vec![Value::from(cents), Value::from("EUR")]);
    [
        [site(1, |number| number), site(2, text), site(3, money)],
        [site(1, Value::from), site(2, |number| Value::from(number.to_string())), site(3, of_money)],
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Write { at: usize, key: u8 },
    Clear { at: usize, key: u8 },
    Remove { at: usize, key: u8 },
    Ship { from: usize, to: usize, chunk_bytes: Option<usize> },
    Forget { at: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (at, key) = (|| 0..SITES, || prop_oneof![4 => 0..3_u8, 1 => 0..60_u8]);
    let step = prop_oneof![
        6 => (at(), key()).prop_map(|(at, key)| Step::Write { at, key }),
        1 => (at(), key()).prop_map(|(at, key)| Step::Clear { at, key }),
        1 => (at(), key()).prop_map(|(at, key)| Step::Remove { at, key }),
        8 => (at(), at(), prop::option::of(40..120_usize))
            .prop_map(|(from, to, chunk_bytes)| Step::Ship { from, to, chunk_bytes }),
        2 => at().prop_map(|at| Step::Forget { at }),
    ];
    prop::collection::vec(step, 0..80)
}

fn run(cluster: &mut [Box<dyn Site>; SITES], step: &Step, now_ms: u64) {
    match *step {
        Step::Write { at, key } => cluster[at].write(now_ms, key, now_ms as u32),
        Step::Clear { at, key } => cluster[at].clear(now_ms, key),
        Step::Remove { at, key } => cluster[at].remove(now_ms, key),
        Step::Ship { from, to, chunk_bytes } => {
            let messages = cluster[from].since(&cluster[to].vector(), chunk_bytes);
            cluster[to].take(now_ms, &messages);
        }
        Step::Forget { at } => {
            let others = (0..SITES).filter(|other| *other != at);
            let vectors: Vec<_> =
                others.map(|other| (id(other as u128 + 1), cluster[other].vector())).collect();
            cluster[at].forget(now_ms, &vectors);
        }
    }
}

proptest! {
    /// Whatever a release can read, it holds, ships and forgets what one would that reads everything.
    #[test]
    fn releases_that_cannot_read_each_other_hold_the_same(steps in steps()) {
        let [mut mixed, mut one] = clusters();
        let last = (0..SITES).flat_map(|from| (0..SITES).map(move |to| Step::Ship { from, to, chunk_bytes: None }));
        let all = steps.iter().cloned().chain(last.clone()).chain(last);
        for (now_ms, step) in (NOW_MS..).zip(all) {
            run(&mut mixed, &step, now_ms);
            run(&mut one, &step, now_ms);
            for (mixed, one) in mixed.iter().zip(&one) {
                prop_assert_eq!(mixed.vector(), one.vector());
                prop_assert_eq!(mixed.canonical(), one.canonical(), "after {:?}", step);
                let all = |site: &dyn Site| site.since(&VersionVector::new(), None);
                prop_assert_eq!(all(&**mixed), all(&**one));
            }
        }
        prop_assert_eq!(mixed[0].canonical(), mixed[1].canonical());
        prop_assert_eq!(mixed[1].canonical(), mixed[2].canonical());
    }
}
