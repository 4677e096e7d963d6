//! How quick local work could be with the guarantees of this crate, and nothing more: what `docs/benchmarks.md` calls the floor.
//!
//! A crude map beside the real one and a plain `hashbrown::HashMap`, by turns, in nanoseconds. It knows one type of document
//! and one replica that writes, gives no changes and takes what a peer says as it is; but each field has a stamp, rows are shared
//! with snapshots until they are written, a log says which rows were touched last, and a transaction can be undone.
//!
//! `cargo bench --bench floor`

#![allow(
    dead_code,
    reason = "what is noted to undo a transaction, and who wrote a field, is read by nobody here"
)]

mod workload;

use std::hash::{Hash, Hasher};
use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Instant;

use driftless::{OrSet, Replica};
use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;
use hashbrown::{HashMap, HashSet};
use triomphe::Arc;
use uuid::Uuid;
use workload::{Accounts, PlainAccounts, address, fill, key, mix, name, now, plain, replica, scattered};

const DOCUMENTS: usize = 100_000;
const CHANGES: usize = workload::CHANGES;
const ROUNDS: usize = 41;

/// Rows in a page, pages in a node, rows in a shard of the index, entries in a chunk of the log.
const PAGE: usize = 32;
const NODE: usize = 64;
const SHARD: usize = 256;
const CHUNK: usize = 64;

/// A register: who wrote it, when, and what.
#[derive(Clone)]
struct Cell<T> {
    time: u64,
    origin: NonZeroU32,
    value: T,
}

impl<T> Cell<T> {
    fn new(time: u64, value: T) -> Self {
        Self { time, origin: NonZeroU32::MIN, value }
    }

    fn write(&mut self, time: u64, value: T) -> Self {
        std::mem::replace(self, Self::new(time, value))
    }
}

#[derive(Clone)]
struct Account {
    name: Cell<String>,
    address: Cell<String>,
    balance: Cell<i64>,
    active: Cell<bool>,
}

/// What stood in a field before a transaction wrote it.
enum Before {
    Added,
    Name(Cell<String>),
    Address(Cell<String>),
    Balance(Cell<i64>),
    Active(Cell<bool>),
}

#[derive(Clone)]
struct Row<K, V> {
    key: K,
    value: V,
    /// The chunk of the log that the row is in.
    chunk: u32,
}

type Page<K, V> = Arc<[Option<Row<K, V>>; PAGE]>;
type Node<K, V> = Arc<[Option<Page<K, V>>; NODE]>;

struct Table<K, V> {
    rows: Arc<Vec<Node<K, V>>>,
    len: usize,
    /// Slots of a tag above a row's number and one.
    index: Arc<Vec<Arc<[u64]>>>,
    seed: SharedSeed,
    /// Closed chunks: the newest stamp, and the rows.
    closed: Vec<Arc<(u64, Vec<u32>)>>,
    open: Vec<u32>,
    undo: Vec<(u32, Before)>,
    time: u64,
}

fn unshared<T: Clone>(shared: &mut Arc<T>) -> &mut T {
    if !shared.is_unique() {
        *shared = Arc::new(T::clone(shared));
    }
    Arc::get_mut(shared).expect("it is not shared")
}

impl<K: Hash + Eq + Clone, V: Clone> Table<K, V> {
    /// The index has its size from the beginning.
    fn new(most: usize) -> Self {
        let shards = (most / SHARD).next_power_of_two();
        Self {
            rows: Arc::default(),
            len: 0,
            index: Arc::new((0..shards).map(|_| Arc::from(vec![0; 2 * SHARD])).collect()),
            seed: SharedSeed::from_u64(7),
            closed: Vec::new(),
            open: Vec::with_capacity(CHUNK),
            undo: Vec::new(),
            time: 0,
        }
    }

    fn tag(&self, key: &K) -> u64 {
        let mut hasher = FoldHasher::with_seed(7, &self.seed);
        key.hash(&mut hasher);
        hasher.finish() >> 32
    }

    fn shard(&self, tag: u64) -> usize {
        (tag as usize * self.index.len()) >> 32
    }

    fn row(&self, number: u32) -> Option<&Row<K, V>> {
        let number = number as usize;
        self.rows.get(number / (PAGE * NODE))?[number / PAGE % NODE].as_ref()?[number % PAGE].as_ref()
    }

    fn find(&self, key: &K, tag: u64) -> Option<(u32, &Row<K, V>)> {
        let slots = &self.index[self.shard(tag)];
        let mask = slots.len() - 1;
        let mut place = tag as usize & mask;
        while slots[place] != 0 {
            let number = slots[place] as u32 - 1;
            if slots[place] >> 32 == tag
                && let Some(row) = self.row(number).filter(|row| row.key == *key)
            {
                return Some((number, row));
            }
            place = (place + 1) & mask;
        }
        None
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.find(key, self.tag(key)).map(|(_, row)| &row.value)
    }

    fn log(open: &mut Vec<u32>, closed: &mut Vec<Arc<(u64, Vec<u32>)>>, time: u64, number: u32) -> u32 {
        if open.len() == CHUNK {
            let rows = std::mem::replace(open, Vec::with_capacity(CHUNK));
            closed.push(Arc::new((time, rows)));
        }
        open.push(number);
        closed.len() as u32
    }

    fn slot(&mut self, number: u32) -> &mut Option<Row<K, V>> {
        let number = number as usize;
        let rows = unshared(&mut self.rows);
        while rows.len() <= number / (PAGE * NODE) {
            rows.push(Arc::new([const { None }; NODE]));
        }
        let page = &mut unshared(&mut rows[number / (PAGE * NODE)])[number / PAGE % NODE];
        &mut unshared(page.get_or_insert_with(|| Arc::new([const { None }; PAGE])))[number % PAGE]
    }

    /// Writes below a key, which is added if it is new.
    fn update(&mut self, key: &K, new: impl FnOnce(u64) -> V, write: impl FnOnce(&mut V, u64) -> Before) {
        let tag = self.tag(key);
        let time = self.time;
        let open_chunk = self.closed.len() as u32;
        if let Some((number, _)) = self.find(key, tag) {
            let row = self.slot(number).as_mut().expect("it was found");
            let before = write(&mut row.value, time);
            if row.chunk != open_chunk || self.open.is_empty() {
                let Self { open, closed, .. } = self;
                let chunk = Self::log(open, closed, time, number);
                self.slot(number).as_mut().expect("it was found").chunk = chunk;
            }
            self.undo.push((number, before));
            return;
        }
        let number = self.len as u32;
        self.len += 1;
        let Self { open, closed, .. } = self;
        let chunk = Self::log(open, closed, time, number);
        *self.slot(number) = Some(Row { key: key.clone(), value: new(time), chunk });
        let shard = self.shard(tag);
        let slots = &mut unshared(&mut self.index)[shard];
        let mask = slots.len() - 1;
        let slots = Arc::get_mut(slots).expect("it is not shared");
        let mut place = tag as usize & mask;
        while slots[place] != 0 {
            place = (place + 1) & mask;
        }
        slots[place] = tag << 32 | u64::from(number + 1);
        self.undo.push((number, Before::Added));
    }

    fn transact(&mut self, write: impl FnOnce(&mut Self)) {
        self.time += 1;
        write(self);
        self.undo.clear();
    }
}

fn timed(count: usize, work: impl FnOnce() -> u64) -> f64 {
    let start = Instant::now();
    black_box(work());
    start.elapsed().as_nanos() as f64 / count as f64
}

/// The median of each side's times.
fn report(what: &str, mut times: [Vec<f64>; 3]) {
    let [plain, floor, ours] = times.each_mut().map(|times| {
        times.sort_unstable_by(f64::total_cmp);
        times[times.len() / 2]
    });
    println!("{what:<36} {plain:>9.1} {floor:>9.1} {ours:>9.1} {:>8.2} {:>8.2}", floor / plain, ours / plain);
}

fn account(number: usize, time: u64) -> Account {
    Account {
        name: Cell::new(time, name(number)),
        address: Cell::new(time, address(number)),
        balance: Cell::new(time, number as i64),
        active: Cell::new(time, number.is_multiple_of(2)),
    }
}

/// One of the four fields of a document, by turns.
fn field(number: usize, round: usize) -> usize {
    (number / 7 + round) % 4
}

/// A pass that is not measured, so that the documents are near, and some that are.
fn passes(mut pass: impl FnMut(usize)) -> f64 {
    const PASSES: usize = 3;
    pass(0);
    timed(PASSES * CHANGES, || {
        (1..=PASSES).for_each(pass);
        0
    })
}

fn overwrite(plain: &mut PlainAccounts, floor: &mut Table<Uuid, Account>, ours: &mut Replica<Accounts>) {
    let mut times: [Vec<f64>; 3] = Default::default();
    let keys: Vec<(Uuid, usize)> = scattered(0, DOCUMENTS).map(|number| (key(number), number)).collect();
    for round in 0..ROUNDS {
        let texts: Vec<String> = keys.iter().map(|(_, number)| name(number + round)).collect();
        let changes = || keys.iter().zip(&texts).map(|((key, number), text)| (key, *number, text));
        times[0].push(passes(|pass| {
            for (key, number, text) in changes() {
                let account = plain.get_mut(key).expect("it is there");
                match field(number, pass) {
                    0 => account.name = text.clone(),
                    1 => account.address = text.clone(),
                    2 => account.balance = round as i64,
                    _ => account.active = round % 2 == 0,
                }
            }
        }));
        times[1].push(passes(|pass| {
            floor.transact(|floor| {
                for (key, number, text) in changes() {
                    let write = |account: &mut Account, time| match field(number, pass) {
                        0 => Before::Name(account.name.write(time, text.clone())),
                        1 => Before::Address(account.address.write(time, text.clone())),
                        2 => Before::Balance(account.balance.write(time, round as i64)),
                        _ => Before::Active(account.active.write(time, round % 2 == 0)),
                    };
                    floor.update(key, |time| account(number, time), write);
                }
            });
        }));
        times[2].push(passes(|pass| {
            let write = ours.write(now(round), |accounts| {
                for (key, number, text) in changes() {
                    accounts.update(key, |account| match field(number, pass) {
                        0 => account.name().set(text),
                        1 => account.address().set(text),
                        2 => account.balance().set(round as i64),
                        _ => account.active().set(round % 2 == 0),
                    });
                }
            });
            write.expect("in range");
        }));
    }
    report("overwrite a field", times);
}

fn read(plain: &PlainAccounts, floor: &Table<Uuid, Account>, ours: &Replica<Accounts>) {
    const READS: usize = 10_000;
    let mut times: [Vec<f64>; 3] = Default::default();
    let text = |text: &str| text.len() as u64 + u64::from(text.as_bytes()[0]);
    for round in 0..ROUNDS {
        let pick = |at: usize| mix((round * READS + at) as u64);
        let picks: Vec<(Uuid, u64)> =
            (0..READS).map(|at| (key(pick(at) as usize % DOCUMENTS), pick(at) >> 62)).collect();
        times[0].push(timed(READS, || {
            let read = |(key, field): &(Uuid, u64)| {
                let account = &plain[key];
                match field {
                    0 => text(&account.name),
                    1 => text(&account.address),
                    2 => account.balance as u64,
                    _ => u64::from(account.active),
                }
            };
            picks.iter().map(read).fold(0, u64::wrapping_add)
        }));
        times[1].push(timed(READS, || {
            let read = |(key, field): &(Uuid, u64)| {
                let account = floor.get(key).expect("it is there");
                match field {
                    0 => text(&account.name.value),
                    1 => text(&account.address.value),
                    2 => account.balance.value as u64,
                    _ => u64::from(account.active.value),
                }
            };
            picks.iter().map(read).fold(0, u64::wrapping_add)
        }));
        times[2].push(timed(READS, || {
            let read = |(key, field): &(Uuid, u64)| {
                let account = ours.state().get(key).expect("it is there");
                match field {
                    0 => text(account.name.latest().expect("it is there")),
                    1 => text(account.address.latest().expect("it is there")),
                    2 => *account.balance.latest().expect("it is there") as u64,
                    _ => u64::from(*account.active.latest().expect("it is there")),
                }
            };
            picks.iter().map(read).fold(0, u64::wrapping_add)
        }));
    }
    report("read a field at random", times);
}

fn set_add() {
    let elements: Vec<u64> = (0..DOCUMENTS as u64).map(mix).collect();
    let mut times: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS / 4 {
        times[0].push(timed(DOCUMENTS, || {
            let mut set: HashSet<u64> = HashSet::new();
            set.extend(&elements);
            set.len() as u64
        }));
        times[1].push(timed(DOCUMENTS, || {
            let mut set: Table<u64, Cell<()>> = Table::new(DOCUMENTS);
            for batch in elements.chunks(CHANGES) {
                set.transact(|set| {
                    for element in batch {
                        set.update(element, |time| Cell::new(time, ()), |_, _| Before::Added);
                    }
                });
            }
            set.len as u64
        }));
        let mut set =
            Replica::<OrSet<u64>>::new(driftless::ReplicaId::from_u128(1), driftless::Config::default());
        times[2].push(timed(DOCUMENTS, || {
            for (at, batch) in elements.chunks(CHANGES).enumerate() {
                set.write(now(at), |set| batch.iter().for_each(|element| set.add(element)))
                    .expect("in range");
            }
            set.state().len() as u64
        }));
    }
    report("add to a set of u64", times);
}

/// All that was touched since the last exchange, as bytes.
fn message(table: &Table<u64, Cell<bool>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let closed = table.closed.iter().flat_map(|chunk| chunk.1.iter());
    for number in closed.chain(&table.open) {
        let Row { key, value, .. } = table.row(*number).expect("it was touched");
        bytes.extend(key.to_le_bytes());
        bytes.extend(value.time.to_le_bytes());
        bytes.push(u8::from(value.value));
    }
    bytes
}

fn apply(table: &mut Table<u64, Cell<bool>>, bytes: &[u8]) {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    for element in bytes.chunks_exact(17) {
        let (time, is_there) = (number(&element[8..16]), element[16] == 1);
        let write = |cell: &mut Cell<bool>, _| {
            if cell.time < time {
                *cell = Cell::new(time, is_there);
            }
            Before::Added
        };
        table.update(&number(&element[..8]), |_| Cell::new(time, is_there), write);
    }
    table.undo.clear();
}

/// Forgets all removed elements, which here are all.
fn forget(table: &mut Table<u64, Cell<bool>>, cut: u64) {
    let stays =
        |row: Option<&Row<u64, Cell<bool>>>| row.is_some_and(|row| row.value.value || row.value.time > cut);
    assert!(!(0..table.len as u32).any(|number| stays(table.row(number))));
    *table = Table { time: table.time, ..Table::new(table.len) };
}

fn churn() {
    let elements: Vec<u64> = (0..CHANGES as u64).collect();
    let mut times: [Vec<f64>; 3] = Default::default();
    let mut plain: HashSet<u64> = HashSet::new();
    let [mut left, mut right] = [Table::new(CHANGES), Table::new(CHANGES)];
    let ids = [1, 2].map(driftless::ReplicaId::from_u128);
    let [mut ours, mut peer] = ids.map(|id| Replica::<OrSet<u64>>::new(id, driftless::Config::default()));
    ours.set_members(ids);
    peer.set_members(ids);
    for round in 0..ROUNDS {
        times[0].push(timed(2 * CHANGES, || {
            plain.extend(&elements);
            elements.iter().filter(|element| plain.remove(*element)).count() as u64
        }));
        times[1].push(timed(2 * CHANGES, || {
            for is_there in [true, false] {
                left.transact(|left| {
                    for element in &elements {
                        let write = |cell: &mut Cell<bool>, time| {
                            *cell = Cell::new(time, is_there);
                            Before::Active(cell.clone())
                        };
                        left.update(element, |time| Cell::new(time, is_there), write);
                    }
                });
            }
            apply(&mut right, &message(&left));
            let time = left.time;
            [&mut left, &mut right].into_iter().for_each(|table| forget(table, time));
            0
        }));
        times[2].push(timed(2 * CHANGES, || {
            let now = now(round);
            ours.write(now, |set| elements.iter().for_each(|element| set.add(element))).expect("in range");
            let removed =
                ours.write(now, |set| elements.iter().filter(|element| set.remove(*element)).count());
            let message = ours.answer(&peer.request()).encode().expect("numbers can be written");
            let delta = peer.decode(&message).expect("it was written so");
            peer.merge(now, delta).expect("nothing is missing");
            ours.report(now, ids[1], &peer.vector()).expect("it is so");
            peer.report(now, ids[0], &ours.vector()).expect("it is so");
            (ours.forget().rows + peer.forget().rows + removed.expect("in range").value) as u64
        }));
    }
    report("add, remove, exchange, forget", times);
}

fn main() {
    let mut plain: HashMap<_, _> = plain(DOCUMENTS);
    let mut floor = Table::new(DOCUMENTS);
    for number in 0..DOCUMENTS {
        let write = |floor: &mut Table<Uuid, Account>| {
            floor.update(&key(number), |time| account(number, time), |_, _| Before::Added);
        };
        floor.transact(write);
    }
    let mut ours = replica(1);
    fill(&mut ours, 0..DOCUMENTS, 100);
    println!("{:<36} {:>9} {:>9} {:>9} {:>8} {:>8}", "ns", "plain", "floor", "ours", "/ plain", "/ plain");
    overwrite(&mut plain, &mut floor, &mut ours);
    read(&plain, &floor, &ours);
    set_add();
    churn();
}
