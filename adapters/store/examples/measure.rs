//! Measures what a store costs a domain of many documents: writing batches, beside redb holding the same rows bare; a
//! checkpoint of all; opening it again, and where that time goes.
//!
//! `cargo run --release -p driftless-store --example measure -- [DOCUMENTS] [FOLDER]`: the folder decides which disk is measured.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use driftless::{
    Config, Crdt, Limits, LwwRegister, MergeMap, PendingDelta, Replica, ReplicaId, VersionVector,
};
use driftless_node::store::{Place, Record, Store};
use driftless_store::FileStore;
use redb::{Database, TableDefinition};
use serde::Serialize;
use uuid::Uuid;

#[derive(Crdt)]
struct User {
    name: LwwRegister<String>,
    email: LwwRegister<String>,
    age: LwwRegister<u8>,
    active: LwwRegister<bool>,
}

type Users = MergeMap<Uuid, User>;

const BATCH: u64 = 1_000;
const CHUNK_BYTES: usize = 256 * 1024;
const ROWS: TableDefinition<'static, u128, &'static [u8]> = TableDefinition::new("rows");

#[derive(Serialize)]
struct Row(String, String, u8, bool);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let documents: u64 = arguments.next().map_or(Ok(1_000_000), |number| number.parse())?;
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(folder)?;
    let batches = documents / BATCH;

    let bare = write_bare(&folder.path().join("bare"), batches)?;
    bare.show("bare redb, a row for each document", batches);

    let path = folder.path().join("store");
    let mut store = FileStore::open(&path)?;
    let mut users: Replica<Users> = Replica::new(ReplicaId::from_u128(1), config());
    let ours = write(&mut store, &mut users, 0..batches)?;
    ours.show("this store, a record for each batch", batches);
    println!(
        "rate of batches, this store to bare redb: {:.2} (appending alone), {:.2} (with making the delta)",
        bare.time.as_secs_f64() / ours.time.as_secs_f64(),
        bare.time.as_secs_f64() / (ours.time + ours.making).as_secs_f64()
    );

    let log = folder.path().join("log");
    std::fs::copy(&path, &log)?;
    open("a log of all batches, not closed", &log, documents)?;

    let (start, before) = (Instant::now(), written());
    let mut staged = 0;
    let mut longest = Duration::ZERO;
    for chunk in users.snapshot().delta_since(&VersionVector::new()).into_chunks(CHUNK_BYTES) {
        let chunk = chunk?;
        let start = Instant::now();
        store.stage(&chunk)?;
        longest = longest.max(start.elapsed());
        staged += chunk.len();
    }
    let staging = start.elapsed();
    let start = Instant::now();
    store.publish(Place(batches))?;
    println!(
        "checkpoint: {:.1} MB, made and staged in {staging:.1?} (the longest wait {longest:.1?}), published in {:.1?}; \
         {:.2} × written",
        staged as f64 / 1e6,
        start.elapsed(),
        (written() - before) as f64 / staged as f64
    );
    let more = write(&mut store, &mut users, batches..batches + 20)?;
    more.show("after it", 20);
    let killed = folder.path().join("killed");
    std::fs::copy(&path, &killed)?;
    open("a checkpoint and 20 batches, not closed", &killed, documents + 20 * BATCH)?;
    println!("{:?}", store.size()?);
    let start = Instant::now();
    store.compact()?;
    println!("compacted in {:.1?} to {:.1} MB", start.elapsed(), store.size()?.disk_bytes as f64 / 1e6);
    drop(store);
    open("the same, compacted and closed", &path, documents + 20 * BATCH)
}

fn config() -> Config {
    let limits = Limits { elements: usize::MAX, memory_bytes: usize::MAX, ..Limits::default() };
    Config { limits, ..Config::default() }
}

/// What writing took.
#[derive(Default)]
struct Writing {
    /// Making the deltas, and the transactions before them.
    making: Duration,
    transacting: Duration,
    /// Putting them on disk.
    time: Duration,
    longest: Duration,
    bytes: u64,
    written: u64,
}

impl Writing {
    fn show(&self, what: &str, batches: u64) {
        let Self { making, transacting, time, longest, bytes, written } = self;
        println!(
            "{what}: {:.0} batches/s ({:.2} ms each, {longest:.1?} at most), {:.1} kB each, {:.2} × written; \
             making a delta {:.2} ms, the transaction {:.2} ms",
            batches as f64 / time.as_secs_f64(),
            time.as_secs_f64() * 1e3 / batches as f64,
            *bytes as f64 / batches as f64 / 1e3,
            *written as f64 / *bytes as f64,
            making.as_secs_f64() * 1e3 / batches as f64,
            transacting.as_secs_f64() * 1e3 / batches as f64
        );
    }
}

fn key(number: u64) -> Uuid {
    // Scattered, as random ids are.
    Uuid::from_u128(u128::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835) | 1)
}

fn name_of(number: u64) -> (String, String, u8, bool) {
    (
        format!("user {number}"),
        format!("user{number}@mail.example"),
        (number % 100) as u8,
        number.is_multiple_of(3),
    )
}

fn write_bare(path: &Path, batches: u64) -> Result<Writing, Box<dyn Error>> {
    let database = Database::create(path)?;
    let mut writing = Writing::default();
    let before = written();
    for batch in 0..batches {
        let rows: Result<Vec<_>, _> = (batch * BATCH..(batch + 1) * BATCH)
            .map(|number| {
                let (name, email, age, active) = name_of(number);
                rmp_serde::to_vec(&Row(name, email, age, active)).map(|row| (key(number).as_u128(), row))
            })
            .collect();
        let rows = rows?;
        let start = Instant::now();
        let mut transaction = database.begin_write()?;
        transaction.set_two_phase_commit(true);
        let mut table = transaction.open_table(ROWS)?;
        for (key, row) in &rows {
            table.insert(key, row.as_slice())?;
            writing.bytes += 16 + row.len() as u64;
        }
        drop(table);
        transaction.commit()?;
        writing.time += start.elapsed();
        writing.longest = writing.longest.max(start.elapsed());
    }
    writing.written = written() - before;
    Ok(writing)
}

fn write(
    store: &mut FileStore,
    users: &mut Replica<Users>,
    batches: std::ops::Range<u64>,
) -> Result<Writing, Box<dyn Error>> {
    let mut writing = Writing::default();
    let before = written();
    let mut stored = users.vector();
    for batch in batches {
        let start = Instant::now();
        users.write(1_700_000_000_000 + batch, |users| {
            for number in batch * BATCH..(batch + 1) * BATCH {
                let (name, email, age, active) = name_of(number);
                users.update(&key(number), |user| {
                    user.name().set(name);
                    user.email().set(email);
                    user.age().set(age);
                    user.active().set(active);
                });
            }
        })?;
        writing.transacting += start.elapsed();
        let start = Instant::now();
        let snapshot = users.snapshot();
        let record = snapshot.delta_since(&stored).encode()?;
        stored = snapshot.vector();
        writing.making += start.elapsed();
        let start = Instant::now();
        store.append(&record, None)?;
        writing.time += start.elapsed();
        writing.longest = writing.longest.max(start.elapsed());
        writing.bytes += record.len() as u64;
    }
    writing.written = written() - before;
    Ok(writing)
}

fn open(what: &str, path: &Path, documents: u64) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let mut store = FileStore::open(path)?;
    let checking = start.elapsed();
    let start = Instant::now();
    let mut records = Vec::new();
    store.load(&mut |Record { bytes, .. }| {
        records.push(bytes);
        Ok(())
    })?;
    let reading = start.elapsed();
    let mut users: Replica<Users> = Replica::new(ReplicaId::from_u128(2), config());
    let mut pending = PendingDelta::new(&config().limits);
    let (mut decoding, mut merging) = (Duration::ZERO, Duration::ZERO);
    for record in &records {
        let start = Instant::now();
        let delta = pending.push(users.decode(record)?)?;
        decoding += start.elapsed();
        let start = Instant::now();
        if let Some(delta) = delta {
            users.merge(1_800_000_000_000, delta)?;
        }
        merging += start.elapsed();
    }
    assert_eq!(users.state().len() as u64, documents, "all is there");
    println!(
        "opening {what}: {:.2?} = checking {checking:.2?} + reading {reading:.2?} + decoding {decoding:.2?} \
         + merging {merging:.2?}",
        checking + reading + decoding + merging
    );
    Ok(())
}

/// How many bytes this process has had written to disks, as Linux counts them; zero elsewhere.
fn written() -> u64 {
    let counted = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = counted.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}
