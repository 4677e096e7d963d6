//! What the exchange of changed documents costs at the least: written by hand for one type of document, beside driftless, on
//! the same work in the same run. `cargo bench --bench floor_exchange`
//!
//! What is written by hand promises what driftless promises of this work: each register has the stamp and the author of its
//! write; what a peer lacks is found by what changed; keys that it holds are named by 40 bits of its own hash, and a check of
//! all of them in full; what comes in is read whole, and refused whole, before anything is touched; it is merged by stamps and
//! passed on. It has one type of document, no removals, no concurrent values, no limits, no snapshots, nothing to undo, and
//! neither a delta as a value nor a message that any other schema could use.

use std::hash::BuildHasher;
use std::hint::black_box;
use std::time::{Duration, Instant};

use driftless::{Config, Crdt, Limits, LwwRegister, MergeMap, Replica, ReplicaId};
use hashbrown::DefaultHashBuilder;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

const DOCUMENTS: usize = 100_000;
const ROUNDS: usize = 15;
/// Rows that are fetched at once.
const AHEAD: usize = 32;
const START_MS: u64 = 1_700_000_000_000;

#[derive(Crdt)]
struct Account {
    name: LwwRegister<String>,
    email: LwwRegister<String>,
    age: LwwRegister<i64>,
    active: LwwRegister<bool>,
}

type Accounts = Replica<MergeMap<Uuid, Account>>;

/// A field of a document.
#[derive(Clone)]
enum Value {
    Name(String),
    Email(String),
    Age(i64),
    Active(bool),
}

impl Value {
    /// The number of the field.
    fn field(&self) -> usize {
        match self {
            Self::Name(_) => 0,
            Self::Email(_) => 1,
            Self::Age(_) => 2,
            Self::Active(_) => 3,
        }
    }
}

struct Fields {
    name: String,
    email: String,
    age: i64,
    active: bool,
}

struct Row {
    key: [u8; 16],
    fields: Fields,
    /// When each field was written.
    stamps: [u64; 4],
    /// By whom.
    authors: [u32; 4],
    /// Where its newest entry in the log is.
    place: u32,
}

/// Two replicas are enough to measure: an author is 0 or 1.
struct ByHand {
    author: u32,
    rows: Vec<Row>,
    /// Slots of 32 bits of the hash and the row's number and one, with linear probing.
    index: Vec<u64>,
    hasher: DefaultHashBuilder,
    /// The rows in the order in which they were touched.
    log: Vec<u32>,
    seen: [u64; 2],
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(count)?;
    *rest = behind;
    Some(taken)
}

fn word(rest: &mut &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?))
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let len = *take(rest, 1)?.first()?;
    std::str::from_utf8(take(rest, len.into())?).ok()
}

/// A value on its way into a row.
#[derive(Clone, Copy)]
enum Coming<'a> {
    Text(&'a str),
    Age(i64),
    Active(bool),
}

impl ByHand {
    fn new(author: u32, hasher: DefaultHashBuilder) -> Self {
        let index = vec![0; (DOCUMENTS * 2).next_power_of_two()];
        Self { author, rows: Vec::new(), index, hasher, log: Vec::new(), seen: [0; 2] }
    }

    fn short(&self, key: &[u8; 16]) -> u64 {
        self.hasher.hash_one(key) >> 24
    }

    fn rows_of(&self, short: u64) -> impl Iterator<Item = u32> {
        let tag = short >> 8;
        let mut place = tag as usize & (self.index.len() - 1);
        let slots = std::iter::from_fn(move || {
            let slot = self.index[place];
            place = (place + 1) & (self.index.len() - 1);
            (slot != 0).then_some(slot)
        });
        slots.filter(move |slot| slot >> 32 == tag).map(|slot| slot as u32 - 1)
    }

    fn add(&mut self, key: [u8; 16], fields: Fields, stamp: u64) {
        let tag = self.short(&key) >> 8;
        let mut place = tag as usize & (self.index.len() - 1);
        while self.index[place] != 0 {
            place = (place + 1) & (self.index.len() - 1);
        }
        self.index[place] = tag << 32 | (self.rows.len() as u64 + 1);
        self.log.push(self.rows.len() as u32);
        self.rows.push(Row {
            key,
            fields,
            stamps: [stamp; 4],
            authors: [0; 4],
            place: self.log.len() as u32,
        });
        self.seen[0] = stamp;
    }

    /// Has rows fetched beside each other, before anything else is done with them: both ends of each, and a text.
    fn fetch(&self, numbers: impl Iterator<Item = u32>) {
        for row in numbers.map(|number| &self.rows[number as usize]) {
            black_box((row.place, row.key[0], row.stamps[0], row.fields.name.as_bytes().first()));
        }
    }

    fn touch(&mut self, number: u32) {
        self.log.push(number);
        self.rows[number as usize].place = self.log.len() as u32;
    }

    fn write(&mut self, stamp: u64, changes: &[([u8; 16], Value)]) {
        for (key, value) in changes {
            let is_it = |number: &u32| self.rows[*number as usize].key == *key;
            let number = self.rows_of(self.short(key)).find(is_it).expect("it was added");
            let row = &mut self.rows[number as usize];
            let field = value.field();
            match value.clone() {
                Value::Name(name) => row.fields.name = name,
                Value::Email(email) => row.fields.email = email,
                Value::Age(age) => row.fields.age = age,
                Value::Active(active) => row.fields.active = active,
            }
            (row.stamps[field], row.authors[field]) = (stamp, self.author);
            self.touch(number);
        }
        self.seen[self.author as usize] = stamp;
    }

    /// The message for who has seen `since`: head, short forms, which fields, what they hold by field, the check.
    fn message(&self, since: [u64; 2]) -> Vec<u8> {
        let is_news = |row: &Row, field: usize| row.stamps[field] > since[row.authors[field] as usize];
        let mut order = Vec::new();
        let mut end = self.log.len();
        'all: for numbers in self.log.rchunks(AHEAD) {
            self.fetch(numbers.iter().copied());
            let start = end - numbers.len();
            for (place, number) in (start..end).zip(numbers).rev() {
                let row = &self.rows[*number as usize];
                if row.place as usize != place + 1 {
                    continue;
                }
                let news = (0..4).fold(0, |news, field| news | u64::from(is_news(row, field)) << field);
                if news == 0 {
                    break 'all;
                }
                order.push(
                    u128::from(self.short(&row.key)) << 36 | u128::from(*number) << 4 | u128::from(news),
                );
            }
            end = start;
        }
        order.sort_unstable();
        let rows = || order.iter().map(|order| (&self.rows[(order >> 4) as u32 as usize], order & 15));
        let mut out = Vec::with_capacity(order.len() * 24);
        out.extend((order.len() as u64).to_le_bytes());
        order.iter().for_each(|order| out.extend_from_slice(&((order >> 36) as u64).to_le_bytes()[..5]));
        out.extend(order.iter().map(|order| *order as u8 & 15));
        let mut keys = Vec::with_capacity(order.len() * 16);
        // Here all of a message are of one event; else there is a table of events, and their numbers.
        out.extend(self.seen[self.author as usize].to_le_bytes());
        out.extend(u64::from(self.author).to_le_bytes());
        rows().for_each(|(row, _)| keys.extend_from_slice(&row.key));
        let text = |out: &mut Vec<u8>, text: &str| {
            out.push(text.len() as u8);
            out.extend_from_slice(text.as_bytes());
        };
        rows().filter(|(_, news)| news & 1 != 0).for_each(|(row, _)| text(&mut out, &row.fields.name));
        rows().filter(|(_, news)| news & 2 != 0).for_each(|(row, _)| text(&mut out, &row.fields.email));
        let ages = rows().filter(|(_, news)| news & 4 != 0);
        ages.for_each(|(row, _)| out.extend_from_slice(&row.fields.age.to_le_bytes()[..4]));
        out.extend(rows().filter(|(_, news)| news & 8 != 0).map(|(row, _)| u8::from(row.fields.active)));
        out.extend(xxh3_64(&keys).to_le_bytes());
        out
    }

    /// Merges a message. `None`, and nothing is touched, if it is wrong or names a key that is not told.
    fn merge(&mut self, message: &[u8]) -> Option<()> {
        let mut rest = message;
        let count = word(&mut rest)? as usize;
        let forms = take(&mut rest, count.checked_mul(5)?)?;
        let news = take(&mut rest, count)?;
        let (stamp, author) = (word(&mut rest)?, word(&mut rest)?);
        let forms = forms.as_chunks::<5>().0.iter();
        let forms = forms.map(|form| form.iter().rev().fold(0, |form, byte| form << 8 | u64::from(*byte)));
        let first = |form| {
            let mut found = self.rows_of(form);
            (form, found.next(), found.next())
        };
        let candidates: Vec<_> = forms.map(first).collect();
        let (mut numbers, mut keys) = (Vec::with_capacity(count), Vec::with_capacity(16 * count));
        for candidates in candidates.chunks(AHEAD) {
            self.fetch(candidates.iter().filter_map(|(_, first, _)| *first));
            for (form, first, other) in candidates {
                let is_meant = |number: &u32| self.short(&self.rows[*number as usize].key) == *form;
                let mut meant = [*first, *other].into_iter().flatten().filter(is_meant);
                let number = meant.next().filter(|_| meant.next().is_none())?;
                keys.extend_from_slice(&self.rows[number as usize].key);
                numbers.push(number);
            }
        }
        let mut coming = Vec::with_capacity(count);
        for field in 0..4_usize {
            for (number, _) in numbers.iter().zip(news).filter(|(_, news)| *news >> field & 1 != 0) {
                let value = match field {
                    0 | 1 => Coming::Text(text(&mut rest)?),
                    2 => Coming::Age(i32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?).into()),
                    _ => Coming::Active(*take(&mut rest, 1)?.first()? == 1),
                };
                coming.push((*number, field, value));
            }
        }
        if word(&mut rest)? != xxh3_64(&keys) || author > 1 || !rest.is_empty() {
            return None;
        }
        for (number, field, value) in coming {
            let row = &mut self.rows[number as usize];
            let held = (row.stamps[field], row.authors[field]);
            if (stamp, author as u32) <= held {
                continue;
            }
            match value {
                Coming::Text(text) if field == 0 => row.fields.name = text.to_owned(),
                Coming::Text(text) => row.fields.email = text.to_owned(),
                Coming::Age(age) => row.fields.age = age,
                Coming::Active(active) => row.fields.active = active,
            }
            (row.stamps[field], row.authors[field]) = (stamp, author as u32);
            self.touch(number);
        }
        self.seen[author as usize] = self.seen[author as usize].max(stamp);
        Some(())
    }
}

/// A generator of numbers, always the same.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^ mixed >> 31
    }

    fn text(&mut self, len: usize) -> String {
        (0..len).map(|_| char::from(b'a' + (self.next() >> 32) as u8 % 26)).collect()
    }
}

/// Another value of one field each of some documents, evenly scattered.
fn changes(keys: &[[u8; 16]], count: usize, first: usize, random: &mut Random) -> Vec<([u8; 16], Value)> {
    let key = |place: usize| keys[(first + place * (keys.len() / count)) % keys.len()];
    let value = |place: usize, random: &mut Random| match place % 4 {
        0 => Value::Name(random.text(16)),
        1 => Value::Email(random.text(24)),
        2 => Value::Age(random.next() as i64 % 30_000),
        _ => Value::Active(random.next().is_multiple_of(2)),
    };
    (0..count).map(|place| (key(place), value(place, random))).collect()
}

fn timed<R>(times: &mut Vec<Duration>, work: impl FnOnce() -> R) -> R {
    let start = Instant::now();
    let result = work();
    times.push(start.elapsed());
    result
}

fn write(replica: &mut Accounts, now_ms: u64, changes: &[([u8; 16], Value)]) {
    let written = replica.write(now_ms, |accounts| {
        for (key, value) in changes {
            accounts.update(&Uuid::from_bytes(*key), |account| match value.clone() {
                Value::Name(name) => account.name().set(name),
                Value::Email(email) => account.email().set(email),
                Value::Age(age) => account.age().set(age),
                Value::Active(active) => account.active().set(active),
            });
        }
    });
    written.expect("the time is in range");
}

fn main() {
    let mut random = Random(7);
    let keys: Vec<[u8; 16]> =
        (0..DOCUMENTS).map(|_| Uuid::from_u64_pair(random.next(), random.next()).into_bytes()).collect();
    let limits = Limits { message_bytes: 1 << 30, memory_bytes: 1 << 32, ..Limits::default() };
    let replica = |id| Accounts::new(ReplicaId::from_u128(id), Config { limits, ..Config::default() });
    let (mut ours, mut theirs) = (replica(1 << 99), replica(2 << 88));
    let hasher = DefaultHashBuilder::default();
    let (mut left, mut right) = (ByHand::new(0, hasher.clone()), ByHand::new(1, hasher));
    let mut now_ms = START_MS;
    for keys in keys.chunks(1_000) {
        now_ms += 1;
        let mut all = Vec::new();
        for key in keys {
            let (name, email) = (random.text(16), random.text(24));
            let fields = || Fields { name: name.clone(), email: email.clone(), age: 7, active: true };
            left.add(*key, fields(), now_ms);
            right.add(*key, fields(), now_ms);
            let values = [Value::Name(name), Value::Email(email), Value::Age(7), Value::Active(true)];
            all.extend(values.map(|value| (*key, value)));
        }
        write(&mut ours, now_ms, &all);
    }
    let full = ours.delta_since(&theirs.vector());
    theirs.merge(now_ms, full).expect("they hold nothing");

    println!("ns for a changed field                by hand  driftless");
    for (name, count) in [("1 % changed", DOCUMENTS / 100), ("10 % changed", DOCUMENTS / 10)] {
        let mut times: [Vec<Duration>; 4] = Default::default();
        for round in 0..ROUNDS {
            now_ms += 1;
            let first = random.next() as usize % DOCUMENTS;
            let changes = changes(&keys, count, first, &mut random);
            let [made, merged, made_ours, merged_ours] = &mut times;
            left.write(now_ms, &changes);
            let since = right.seen;
            let message = timed(made, || left.message(since));
            timed(merged, || right.merge(&message)).expect("the keys are held");

            write(&mut ours, now_ms, &changes);
            let request = theirs.request();
            let message = timed(made_ours, || ours.answer(&request).encode().expect("plain values"));
            timed(merged_ours, || {
                let delta = theirs.decode(&message).expect("a message of a peer");
                theirs.merge(now_ms, delta).expect("it goes on from what is held");
            });
            if round == 0 {
                let fields = left.rows.iter().zip(&right.rows);
                assert!(
                    fields.into_iter().all(|(a, b)| a.stamps == b.stamps && a.fields.email == b.fields.email)
                );
                assert_eq!(ours.digest(), theirs.digest());
            }
        }
        let [made, merged, made_ours, merged_ours] = times.map(|mut times| {
            times.sort_unstable();
            times[ROUNDS / 2].as_nanos() as f64 / count as f64
        });
        println!("{name:14} produce the message {made:10.1} {made_ours:10.1}");
        println!("{name:14} apply it            {merged:10.1} {merged_ours:10.1}");
    }
}
