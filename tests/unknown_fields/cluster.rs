//! Releases that know one field as many things, beside one that knows all of them under numbers of their own.

use std::collections::{BTreeMap, BTreeSet};

use driftless::{
    Config, Counter, Crdt, Digest, Document, Flag, LwwRegister, MergeMap, OrSet, PendingDelta, Replica,
    ReplicaId, Stamps, Timestamp, UnknownFields, VersionVector, Writer,
};
use proptest::prelude::*;

use crate::{Counted, First, Flagged, NOW_MS, Opinion, Review, id};

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

/// One number, many things.
#[derive(Crdt)]
struct Mapped {
    rest: UnknownFields,
    name: LwwRegister<String>,
    seen: MergeMap<u8, Review>,
    tags: OrSet<u8>,
}

/// Nearly the same, but for what is deeper within, and the names of fields.
#[derive(Crdt)]
struct Judged {
    name: LwwRegister<String>,
    seen: MergeMap<u8, Opinion>,
    notes: Document,
    prices: LwwRegister<u8>,
    rest: UnknownFields,
}

/// All of them under numbers of their own: what the others do must read as it does here.
#[derive(Crdt)]
struct Apart {
    name: LwwRegister<String>,
    count: Counter,
    flag: Flag,
    map: MergeMap<u8, Both>,
    tags: OrSet<u8>,
    notes: Document,
    prices: LwwRegister<u8>,
}

#[derive(Crdt)]
struct Both {
    text: LwwRegister<String>,
    stars: Counter,
    is_good: Flag,
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

fn read_mapped<R: Crdt>(
    name: &LwwRegister<String>,
    map: &MergeMap<u8, R>,
    stars: fn(&R) -> &Counter,
    tags: &OrSet<u8>,
) -> String {
    let stars: BTreeMap<_, _> = map.iter().map(|(key, review)| (key, stars(review).value())).collect();
    let tags: BTreeSet<_> = tags.iter().collect();
    format!("{} {stars:?} {} {tags:?}", named(name), map.rows())
}

fn write_flag(flag: &mut Writer<'_, Flag>, number: u8) {
    if number.is_multiple_of(3) {
        let _ = flag.disable();
    } else {
        flag.enable()
    }
}

fn read_judged<R: Crdt>(
    name: &LwwRegister<String>,
    map: &MergeMap<u8, R>,
    is_good: fn(&R) -> &Flag,
    notes: &Document,
    prices: &LwwRegister<u8>,
) -> String {
    let good: BTreeMap<_, _> =
        map.iter().map(|(key, opinion)| (key, is_good(opinion).is_enabled())).collect();
    let prices: Vec<_> = prices.all().collect();
    format!("{} {good:?} {} {} {prices:?}", named(name), map.rows(), notes.to_value())
}

fn write_map<R: Crdt>(
    map: &mut Writer<'_, MergeMap<u8, R>>,
    number: u8,
    write: impl FnOnce(&mut R::Mut<'_>),
) {
    match number % 4 {
        0 => drop(map.remove(&(number % 3))),
        _ => map.update(&(number % 3), write),
    }
}

fn write_notes(notes: &mut Writer<'_, Document>, number: u8) {
    match number % 3 {
        0 => drop(notes.delete(&["shelf"])),
        _ => drop(notes.set(&["shelf", "place"], i64::from(number))),
    }
}

fn write_tags(tags: &mut Writer<'_, OrSet<u8>>, number: u8) {
    if number.is_multiple_of(5) {
        let _ = tags.clear();
    } else {
        tags.add(&(number % 4))
    }
}

/// The first four know one field as something else each, the last knows none.
const RELEASES: usize = 5;

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
                write_map(&mut item.seen(), n, |review| review.stars().add(1).unwrap());
                write_tags(&mut item.tags(), n);
            };
            let apart = |item: &mut ApartMut<'_>, n: u8| {
                write_map(&mut item.map(), n, |review| review.stars().add(1).unwrap());
                write_tags(&mut item.tags(), n);
            };
            [
                typed::<Mapped>(
                    number,
                    changes,
                    |item| item.name(),
                    own,
                    |item| read_mapped(&item.name, &item.seen, |review| &review.stars, &item.tags),
                ),
                typed::<Apart>(
                    number,
                    changes,
                    |item| item.name(),
                    apart,
                    |item| read_mapped(&item.name, &item.map, |review| &review.stars, &item.tags),
                ),
            ]
        }
        3 => {
            let own = |item: &mut JudgedMut<'_>, n: u8| {
                write_map(&mut item.seen(), n, |opinion| opinion.is_good().enable());
                write_notes(&mut item.notes(), n);
                item.prices().set(n);
            };
            let apart = |item: &mut ApartMut<'_>, n: u8| {
                write_map(&mut item.map(), n, |opinion| opinion.is_good().enable());
                write_notes(&mut item.notes(), n);
                item.prices().set(n);
            };
            [
                typed::<Judged>(
                    number,
                    changes,
                    |item| item.name(),
                    own,
                    |item| {
                        read_judged(
                            &item.name,
                            &item.seen,
                            |opinion| &opinion.is_good,
                            &item.notes,
                            &item.prices,
                        )
                    },
                ),
                typed::<Apart>(
                    number,
                    changes,
                    |item| item.name(),
                    apart,
                    |item| {
                        read_judged(
                            &item.name,
                            &item.map,
                            |opinion| &opinion.is_good,
                            &item.notes,
                            &item.prices,
                        )
                    },
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

const SITES: usize = 5;

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

/// A site of each release, each in two forms: as its release, and as one that knows all apart.
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
}
