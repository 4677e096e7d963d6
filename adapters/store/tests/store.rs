//! What a store does when nothing goes wrong, and what it refuses.

#![allow(clippy::unwrap_used)]

mod disk;

use std::io;

use disk::{Contents, Disk, Script, bytes, contents, empty};
use driftless_node::store::{Place, Store, StoreError};
use driftless_store::FileStore;

#[test]
fn each_step_is_read_as_it_was_made_and_after_each_opening() {
    let script = Script::of_all_kinds();
    let disk = empty();
    for number in 0..script.steps.len() {
        let mut store = disk.open().unwrap();
        assert_eq!(contents(&mut store).unwrap(), script.states[number]);
        script.take(number, &mut store).unwrap();
        let expected = &script.states[number + 1];
        assert_eq!(contents(&mut store).unwrap(), *expected);
        let sum = |rows: &[(u64, Vec<u8>)]| rows.iter().map(|row| row.1.len() as u64).sum::<u64>();
        let size = store.size().unwrap();
        assert_eq!(
            size.checkpoint_bytes,
            expected.checkpoint.iter().map(|record| record.len() as u64).sum::<u64>()
        );
        assert_eq!((size.log_bytes, size.feed_bytes), (sum(&expected.log), sum(&expected.feed)));
        let ends = expected.feed.first().zip(expected.feed.last());
        assert_eq!(store.feed_range().unwrap(), ends.map(|(first, last)| (Place(first.0), Place(last.0))));
    }
}

#[test]
fn records_of_all_sizes_come_back_whole() {
    let disk = empty();
    let mut store = disk.open().unwrap();
    let piece = 65_536 - 64;
    let sizes = [0, 1, 4_000, 4_096, piece - 1, piece, piece + 1, 2 * piece, 300_000, 5_000_000];
    for size in sizes {
        store.append(&bytes(size, size as u64), Some(&bytes(size / 2, 1))).unwrap();
        store.stage(&bytes(size, 2)).unwrap();
    }
    let held = contents(&mut store).unwrap();
    assert_eq!(held.checkpoint, Vec::<Vec<u8>>::new(), "what is staged is not seen");
    assert!(held.log.iter().zip(sizes).all(|((_, record), size)| *record == bytes(size, size as u64)));
    assert!(held.feed.iter().zip(sizes).all(|((_, batch), size)| *batch == bytes(size / 2, 1)));
    store.publish(Place(sizes.len() as u64)).unwrap();
    let held = contents(&mut store).unwrap();
    assert!(held.log.is_empty() && held.feed.len() == sizes.len());
    assert!(held.checkpoint.iter().zip(sizes).all(|(record, size)| *record == bytes(size, 2)));
}

#[test]
fn the_feed_is_given_from_a_place_on_and_so_much_of_it() {
    let disk = empty();
    let mut store = disk.open().unwrap();
    for number in 1..=6_u64 {
        let batch = bytes(100, number);
        store.append(b"record", (number.is_multiple_of(2)).then_some(batch.as_slice())).unwrap();
    }
    let places = |after, bytes| {
        let batches = store.feed_after(Place(after), bytes).unwrap();
        batches.into_iter().map(|(place, _)| place.0).collect::<Vec<_>>()
    };
    assert_eq!(places(0, usize::MAX), [2, 4, 6]);
    assert_eq!(places(2, usize::MAX), [4, 6]);
    assert_eq!(places(3, usize::MAX), [4, 6]);
    assert_eq!(places(0, 200), [2, 4]);
    assert_eq!(places(0, 250), [2, 4]);
    assert_eq!(places(0, 0), [2], "one at least");
    assert!(places(6, usize::MAX).is_empty());
    assert!(places(u64::MAX, usize::MAX).is_empty());
}

#[test]
fn a_checkpoint_of_nothing_is_refused_and_the_log_stays() {
    let disk = empty();
    let mut store = disk.open().unwrap();
    store.append(b"record", None).unwrap();
    assert!(matches!(store.publish(Place(1)), Err(StoreError::Unsupported { .. })));
    store.stage(b"half a checkpoint").unwrap();
    store.abandon().unwrap();
    assert!(matches!(store.publish(Place(1)), Err(StoreError::Unsupported { .. })));
    assert_eq!(contents(&mut store).unwrap().log, [(1, b"record".to_vec())]);
}

#[test]
fn a_reader_that_stops_is_told_its_own_error() {
    let disk = empty();
    let mut store = disk.open().unwrap();
    store.append(b"one", None).unwrap();
    store.append(b"two", None).unwrap();
    let mut read = 0;
    let stopped = store.load(&mut |_| {
        read += 1;
        Err(StoreError::Unsupported { what: "be read by this test" })
    });
    assert!(matches!(stopped, Err(StoreError::Unsupported { what: "be read by this test" })) && read == 1);
    let panic =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| store.load(&mut |_| panic!("mine"))));
    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"mine"), "a panic of the caller's is the caller's");
    assert_eq!(contents(&mut store).unwrap().log.len(), 2);
}

#[test]
fn a_store_is_open_once_and_is_made_where_nothing_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.store");
    assert!(matches!(FileStore::open_existing(&path), Err(StoreError::Io { .. })));
    let mut store = FileStore::open(&path).unwrap();
    store.append(b"record", None).unwrap();
    let second = FileStore::open(&path).expect_err("it is open");
    assert!(matches!(&second, StoreError::Locked { what } if what.ends_with("a.store")), "{second}");
    drop(store);
    assert_eq!(contents(&mut FileStore::open(&path).unwrap()).unwrap().log.len(), 1);

    let files: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["a.store"], "nothing else is left");
    for (name, held) in [("empty", &b""[..]), ("other", b"what somebody else wrote")] {
        let other = folder.path().join(name);
        std::fs::write(&other, held).unwrap();
        assert!(matches!(FileStore::open(&other), Err(StoreError::Damaged { .. })), "{name}");
        assert_eq!(std::fs::read(&other).unwrap(), held, "it is left as it is");
    }
}

#[test]
fn a_backup_is_a_store_as_it_was_and_takes_the_place_of_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let [path, copy] = ["a.store", "copy.store"].map(|name| folder.path().join(name));
    let mut store = FileStore::open(&path).unwrap();
    let script = Script::of_all_kinds();
    for number in 0..9 {
        script.take(number, &mut store).unwrap();
    }
    store.stage(b"half a checkpoint").unwrap();
    store.backup(&copy).unwrap();
    store.abandon().unwrap();
    for number in 9..script.steps.len() {
        script.take(number, &mut store).unwrap();
    }
    let mut copied = FileStore::open(&copy).unwrap();
    assert_eq!(contents(&mut copied).unwrap(), script.states[9]);
    assert!(copied.append(b"more", None).unwrap() > Place(6), "no place is used twice");
    assert_eq!(contents(&mut store).unwrap(), script.states[script.steps.len()]);

    let again = store.backup(&copy).expect_err("there is a file");
    assert!(
        matches!(&again, StoreError::Io { error, .. } if error.kind() == io::ErrorKind::AlreadyExists),
        "{again}"
    );
    let nowhere = store.backup(&folder.path().join("no/such/folder"));
    assert!(matches!(nowhere, Err(StoreError::Io { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no half of a copy is left");
}

#[test]
fn what_was_removed_leaves_the_file() {
    let disk = empty();
    let mut store = disk.open().unwrap();
    let secret = b"what nobody may read any more";
    let record = |seed| [&bytes(200_000, seed)[..], secret].concat();
    for seed in 0..10 {
        store.append(&record(seed), Some(secret)).unwrap();
    }
    let large = store.size().unwrap().disk_bytes;
    store.stage(b"all is gone").unwrap();
    store.publish(Place(10)).unwrap();
    store.trim_feed(Place(10)).unwrap();
    store.compact().unwrap();
    let small = store.size().unwrap().disk_bytes;
    assert!(small * 4 < large, "{large} bytes became {small}");
    assert_eq!(
        contents(&mut store).unwrap(),
        Contents { checkpoint: vec![b"all is gone".to_vec()], ..Contents::default() }
    );
}

#[test]
fn a_store_that_was_not_closed_opens_with_all_that_was_appended() {
    let disk = empty();
    let mut store = disk.open().unwrap();
    for number in 0..20 {
        store.append(&bytes(3_000, number), None).unwrap();
    }
    let left = Disk::of(disk.stable());
    assert_eq!(contents(&mut left.open().unwrap()).unwrap(), contents(&mut store).unwrap());
}

#[test]
fn what_is_left_of_a_checkpoint_that_was_never_published_gets_into_no_other() {
    let disk = empty();
    let mut store = disk.open().unwrap();
    store.append(b"record", None).unwrap();
    for number in 0..9 {
        store.stage(&bytes(1_100_000, number)).unwrap();
    }
    let left = Disk::of(disk.stable());
    assert!(left.seen().len() > 8_000_000, "some of it is on disk");
    let mut store = left.open().unwrap();
    store.stage(b"another checkpoint").unwrap();
    store.publish(Place(1)).unwrap();
    drop(store);
    let held = contents(&mut left.open().unwrap()).unwrap();
    assert_eq!(held, Contents { checkpoint: vec![b"another checkpoint".to_vec()], ..Contents::default() });
}
