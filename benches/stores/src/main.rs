//! Measures embedded databases at what a store of driftless does: it appends records and waits for the disk, replaces all of
//! them by a checkpoint, and reads everything. It prints a table in Markdown.
//!
//! `cargo run --release -- [FOLDER]`: the folder decides which disk is measured.

mod engines;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use engines::{Bare, Fjall, Opened, Ours, Redb, Sqlite};

/// Bytes of a record, and how many are appended.
const APPENDS: [(usize, u64); 3] = [(2_000, 500), (20_000, 500), (200_000, 200)];
/// A checkpoint: so many parts of so many bytes.
const CHECKPOINT: (u64, usize) = (400, 256 * 1024);

type Open = fn(&std::path::Path) -> Opened;

const ENGINES: [(&str, Open); 7] = [
    ("a bare file", |path| Bare::open(path)),
    ("redb, one phase", |path| Redb::open(path, false, false)),
    ("redb, two phases", |path| Redb::open(path, true, false)),
    ("redb, two phases, shared", |path| Redb::open(path, true, true)),
    ("this store, on redb", |path| Ours::open(path)),
    ("fjall", |path| Fjall::open(path)),
    ("SQLite, WAL, FULL", |path| Sqlite::open(path)),
];

/// Each engine is measured so often, in turn, and of each figure the best counts: what disturbs only adds.
const ROUNDS: usize = 5;

fn main() {
    let folder = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let mut best = [const { Vec::new() }; ENGINES.len()];
    for _ in 0..ROUNDS {
        for ((_, open), best) in ENGINES.into_iter().zip(&mut best) {
            let figures = measured(&folder, open);
            best.resize(figures.len(), f64::INFINITY);
            best.iter_mut().zip(figures).for_each(|(best, figure)| *best = best.min(figure));
        }
    }
    println!(
        "| | append 2 kB: /s (p50, p99 ms; written) | 20 kB | 200 kB | checkpoint of 105 MB: s (written) | the next \
         | opening, s | reading, s | file, MB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for ((name, _), figures) in ENGINES.into_iter().zip(best) {
        let (appends, others) = figures.split_at(4 * APPENDS.len());
        let appends = appends
            .chunks(4)
            .map(|of| format!("{:.0} ({:.2}, {:.2}; {:.1}×)", 1e3 / of[0], of[1], of[2], of[3]));
        let appends: Vec<String> = appends.collect();
        let [first, first_written, next, next_written, opening, reading, file] = others else { continue };
        let checkpoints = format!("{first:.2} ({first_written:.1}×) | {next:.2} ({next_written:.1}×)");
        println!(
            "| {name} | {} | {checkpoints} | {opening:.3} | {reading:.3} | {file:.0} |",
            appends.join(" | ")
        );
    }
}

/// Of each kind of append the mean, the median and the 99th percentile in milliseconds, and how many bytes were written for one;
/// then seconds and bytes of two checkpoints, seconds of opening and reading, and the size of the file.
fn measured(folder: &std::path::Path, open: Open) -> Vec<f64> {
    let mut figures = Vec::new();
    let folder = tempfile::tempdir_in(folder).expect("a folder for what is measured");
    let mut engine = open(folder.path());
    let mut number = 0;
    for (size, count) in APPENDS {
        let record = noise(size);
        let (mut times, before) = (Vec::new(), written());
        for _ in 0..count {
            number += 1;
            let start = Instant::now();
            engine.append(number, &record);
            times.push(start.elapsed());
        }
        let mean = times.iter().sum::<Duration>().div_f64(count as f64);
        times.sort_unstable();
        let at = |share: f64| milliseconds(times[(times.len() as f64 * share) as usize]);
        let amplification = (written() - before) as f64 / (size as u64 * count) as f64;
        figures.extend([milliseconds(mean), at(0.5), at(0.99), amplification]);
    }
    let (parts, size) = CHECKPOINT;
    let part = noise(size);
    // The second one replaces the first.
    for _ in 0..2 {
        let (start, before) = (Instant::now(), written());
        engine.checkpoint(&part, parts);
        figures.push(start.elapsed().as_secs_f64());
        figures.push((written() - before) as f64 / (size as u64 * parts) as f64);
    }
    drop(engine);
    let start = Instant::now();
    let mut engine = open(folder.path());
    figures.push(start.elapsed().as_secs_f64());
    let start = Instant::now();
    let bytes = engine.load();
    assert_eq!(bytes, size as u64 * parts, "all is there");
    figures.push(start.elapsed().as_secs_f64());
    drop(engine);
    figures.push(size_of(folder.path()) as f64 / 1e6);
    figures
}

fn size_of(path: &std::path::Path) -> u64 {
    match std::fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| size_of(&entry.path())).sum(),
        Err(_) => path.metadata().map_or(0, |metadata| metadata.len()),
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Bytes that do not compress: splitmix64.
fn noise(length: usize) -> Vec<u8> {
    let mut state = length as u64;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// How many bytes this process has had written to disks, as Linux counts them; zero elsewhere.
fn written() -> u64 {
    let counted = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = counted.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}
