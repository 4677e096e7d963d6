//! A file whose bytes have changed, or that was cut off: it opens with exactly what was written, or says what is damaged. It
//! never gives anything else, and never panics.

#![allow(clippy::unwrap_used)]

mod disk;

use disk::{Contents, Disk, Image, Script, contents, empty, fastrand, seed};
use driftless_node::store::{Place, Record, Store, StoreError};

/// A store that was closed, and one that was not.
fn images(script: &Script) -> [(&'static str, Image); 2] {
    let disk = empty();
    let mut store = disk.open().unwrap();
    for number in 0..script.steps.len() {
        script.take(number, &mut store).unwrap();
    }
    let killed = disk.seen();
    drop(store);
    [("killed", killed), ("closed", disk.seen())]
}

fn after_all(script: &Script) -> &Contents {
    &script.states[script.steps.len()]
}

#[derive(Debug, Default)]
struct Tally {
    whole: u64,
    refused: u64,
}

impl Tally {
    /// Opens a damaged image, and reads all of it.
    fn check(&mut self, image: Image, expected: &Contents, what: &str) {
        let read = std::panic::catch_unwind(|| {
            let mut store = Disk::of(image).open()?;
            contents(&mut store)
        });
        match read.unwrap_or_else(|_| panic!("{what}: it panicked")) {
            Ok(held) => {
                assert!(held == *expected, "{what}: it gives something else");
                self.whole += 1;
            }
            Err(StoreError::Damaged { what: named, remedy }) => {
                assert!(
                    named.starts_with("a disk in memory: ") && remedy.contains("backup"),
                    "{what}: {named}"
                );
                self.refused += 1;
            }
            Err(error) => panic!("{what}: {error} ({error:?})"),
        }
    }
}

fn script() -> Script {
    let mut script = Script::of_all_kinds();
    // Something of all is there in the end.
    script.steps.truncate(11);
    script
}

#[test]
fn a_flipped_bit_changes_nothing_or_is_named() {
    let script = script();
    let mut random = fastrand(seed(3));
    for (name, image) in images(&script) {
        let mut tally = Tally::default();
        for page in image.written_pages() {
            for _ in 0..4 {
                let (offset, bit) = (page * 4096 + random() % 4096, (random() % 8) as u8);
                let mut flipped = image.clone();
                flipped.flip(offset, bit);
                tally.check(flipped, after_all(&script), &format!("{name}: bit {bit} of byte {offset}"));
            }
        }
        // Where roots and marks are, each byte counts.
        for offset in (0..32).chain(512..528).chain(1024..1040).chain(4096..4096 + 320) {
            for bit in 0..8 {
                let mut flipped = image.clone();
                flipped.flip(offset, bit);
                tally.check(flipped, after_all(&script), &format!("{name}: bit {bit} of byte {offset}"));
            }
        }
        println!("{name}: {tally:?}");
        assert!(tally.whole > 0 && tally.refused > 50, "{name}: {tally:?}");
    }
}

#[test]
fn a_page_that_was_lost_or_belongs_elsewhere_changes_nothing_or_is_named() {
    let script = script();
    for (name, image) in images(&script) {
        let mut tally = Tally::default();
        let pages = image.written_pages();
        for (at, page) in pages.iter().enumerate() {
            let mut lost = image.clone();
            lost.write(page * 4096, &[0; 4096]);
            tally.check(lost, after_all(&script), &format!("{name}: page {page} is zero"));
            let other = pages[(at + 1) % pages.len()];
            let mut bytes = [0; 4096];
            image.read(other * 4096, &mut bytes).unwrap();
            let mut swapped = image.clone();
            swapped.write(page * 4096, &bytes);
            tally.check(swapped, after_all(&script), &format!("{name}: page {page} is page {other}"));
        }
        println!("{name}: {tally:?}");
        assert!(tally.refused > 10, "{name}: {tally:?}");
    }
}

#[test]
fn a_file_that_was_cut_off_changes_nothing_or_is_named() {
    let script = script();
    for (name, image) in images(&script) {
        let mut tally = Tally::default();
        let lengths = (0..image.len()).step_by(4096).flat_map(|length| [length, length + 1000]);
        for length in lengths.filter(|length| *length < image.len()) {
            let mut cut = image.clone();
            cut.set_len(length);
            tally.check(cut, after_all(&script), &format!("{name}: cut to {length} of {}", image.len()));
        }
        println!("{name}: {tally:?}");
        assert!(tally.refused > 50, "{name}: {tally:?}");
    }
}

#[test]
fn what_rots_while_it_is_open_is_named_when_it_is_read() {
    let disk = empty();
    let mut store = disk.open().unwrap();
    // Each has a page of its own, which is written once.
    let long = |name: String| [name.as_bytes(), &[7; 9_000]].concat();
    let record = |number| long(format!("record {number}"));
    for number in 1..=4 {
        store.append(&record(number), Some(&long(format!("batch {number}")))).unwrap();
    }
    drop(store);
    let mut store = disk.open().unwrap();
    disk.flip(disk.seen().find(b"record 3").unwrap(), 0);
    disk.flip(disk.seen().find(b"batch 2").unwrap(), 0);
    let mut taken = Vec::new();
    let loaded = store.load(&mut |Record { bytes, .. }| {
        taken.push(bytes);
        Ok(())
    });
    assert!(loaded.unwrap_err().to_string().contains("the record at place 3"));
    assert_eq!(taken, [record(1), record(2)], "what came before is given");
    let fed = store.feed_after(Place(0), usize::MAX).unwrap_err();
    assert!(fed.to_string().contains("the feed's batch at place 2"), "{fed}");
    assert_eq!(store.feed_after(Place(2), usize::MAX).unwrap().len(), 2, "what comes after it can be read");
    let copy = tempfile::tempdir().unwrap();
    let path = copy.path().join("copy.store");
    assert!(matches!(store.backup(&path), Err(StoreError::Damaged { .. })), "damage is not copied");
    assert!(!path.exists());
}

#[test]
fn an_older_root_that_counts_again_is_noticed() {
    let script = script();
    let [(_, killed), _] = images(&script);
    // The lowest bit of this byte says which of two roots counts.
    let mut set_back = killed;
    set_back.flip(4096 + 9, 0);
    let error = Disk::of(set_back).open().expect_err("the last commit is missing");
    assert!(error.to_string().contains("newest commits"), "{error}");
}

#[test]
fn a_newer_format_is_refused_by_its_number() {
    let mut block = [0; 24];
    let [_, (_, mut image)] = images(&script());
    image.read(0, &mut block).unwrap();
    block[19] = 9;
    image.write(0, &block);
    image.write(24, &xxhash_rust::xxh3::xxh3_64(&block).to_be_bytes());
    let error = Disk::of(image).open().expect_err("this release does not read it");
    assert!(matches!(error, StoreError::Format { found: 9, readable: (1, 1) }), "{error}");
}
