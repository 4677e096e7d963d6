//! The program, as it is called from a shell.

#![allow(clippy::unwrap_used)]

mod disk;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use disk::{Script, contents};
use driftless_node::store::{Place, Store, StoreError};
use driftless_store::FileStore;

fn tool(arguments: &[&str], paths: &[&Path]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_driftless-store")).args(arguments).args(paths).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn store(folder: &Path) -> (PathBuf, FileStore, Script) {
    let path = folder.join("a.store");
    let mut store = FileStore::open(&path).unwrap();
    let script = Script::of_all_kinds();
    for number in 0..11 {
        script.take(number, &mut store).unwrap();
    }
    (path, store, script)
}

#[test]
fn a_store_in_use_is_shown_verified_copied_and_exported() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mut store, script) = store(folder.path());
    let (code, shown, error) = tool(&["inspect"], &[&path]);
    assert_eq!((code, error.as_str()), (0, ""));
    for line in [
        "format      1",
        "in use      yes",
        "checkpoint  3 records, 103.5 KiB",
        "feed        1 batches, 20 bytes, places 7 to 7",
    ] {
        assert!(shown.contains(line), "{line:?} is not in\n{shown}");
    }
    assert!(shown.contains("log         1 records, 300 bytes, places 7 to 7"), "{shown}");
    let (code, shown, _) = tool(&["verify"], &[&path]);
    assert!(code == 0 && shown.starts_with("whole: 4 records, 1 batches"), "{shown}");

    let [copy, lines, imported] =
        ["copy.store", "lines", "imported.store"].map(|name| folder.path().join(name));
    assert_eq!(tool(&["backup"], &[&path, &copy]).0, 0);
    let (code, _, error) = tool(&["export", "--output"], &[&lines, &path]);
    assert_eq!((code, error.as_str()), (0, ""));
    let (code, _, error) = tool(&["import", "--input"], &[&lines, &imported]);
    assert_eq!((code, error.as_str()), (0, ""));
    store.append(b"the store goes on", None).unwrap();
    for other in [copy, imported] {
        let mut other = FileStore::open(&other).unwrap();
        assert_eq!(contents(&mut other).unwrap(), script.states[11]);
        assert_eq!(other.append(b"one more", None).unwrap(), Place(8));
    }

    let (code, _, error) = tool(&["compact"], &[&path]);
    assert!(code == 3 && error.contains("is open in another process"), "{error}");
    drop(store);
    assert_eq!(tool(&["compact"], &[&path]).0, 0);
    assert!(tool(&["inspect"], &[&path]).1.contains("in use      no"));
}

#[test]
fn copies_of_a_store_that_is_being_written_are_each_of_one_moment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.store");
    let mut store = FileStore::open(&path).unwrap();
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (mut last, mut compacted) = (0, 0);
            while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                let record = last.to_string().repeat(1 + last % 9_000);
                last = store.append(record.as_bytes(), Some(record.as_bytes())).unwrap().0 as usize;
                if last.is_multiple_of(20) {
                    store.stage(last.to_string().as_bytes()).unwrap();
                    store.publish(Place(last as u64)).unwrap();
                    store.trim_feed(Place(last as u64 - 10)).unwrap();
                }
                if last.is_multiple_of(50) {
                    match store.compact() {
                        Ok(()) => compacted += 1,
                        Err(StoreError::Unsupported { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            (last, compacted)
        });
        let mut seen = Vec::new();
        for number in 0..15 {
            let copy = folder.path().join(format!("{number}.store"));
            let (code, _, error) = tool(&["backup"], &[&path, &copy]);
            assert_eq!(code, 0, "{error}");
            let held = contents(&mut FileStore::open(&copy).unwrap()).unwrap();
            // A record holds the place before its own; a checkpoint, the place up to which it goes.
            let first =
                held.checkpoint.first().map_or(0, |text| String::from_utf8_lossy(text).parse().unwrap());
            for (place, (found, record)) in (first + 1..).zip(&held.log) {
                assert_eq!(
                    (place, (place - 1).to_string().repeat(1 + (place as usize - 1) % 9_000)),
                    (*found, String::from_utf8_lossy(record).into_owned())
                );
            }
            let last = first + held.log.len() as u64;
            assert_eq!(held.feed.last().map_or(0, |row| row.0), last, "the feed is in step");
            seen.push(last);
        }
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
        let (last, compacted) = writer.join().unwrap();
        assert!(
            seen.is_sorted() && last as u64 >= seen[14] && seen[14] > seen[0],
            "{seen:?}, {last}, {compacted}"
        );
    });
}

#[test]
fn wrong_arguments_and_missing_files_have_codes_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(tool(&[], &[]).0, 2);
    assert_eq!(tool(&["mend", "a"], &[]).0, 2);
    assert_eq!(tool(&["--help"], &[]).0, 0);
    let (code, _, error) = tool(&["verify"], &[&folder.path().join("none")]);
    assert!(code == 3 && error.contains("the disk failed"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "looking makes no store");
}

#[test]
fn looking_at_a_store_that_was_not_closed_does_not_change_it() {
    let folder = tempfile::tempdir().unwrap();
    let (path, store, _) = store(folder.path());
    let killed = folder.path().join("killed.store");
    std::fs::copy(&path, &killed).unwrap();
    drop(store);
    let before = std::fs::read(&killed).unwrap();
    for command in ["inspect", "verify", "export"] {
        assert_eq!(tool(&[command], &[&killed]).0, 0, "{command}");
    }
    assert!(std::fs::read(&killed).unwrap() == before);
    assert!(FileStore::open(&killed).is_ok());
}

#[test]
fn of_a_damaged_store_what_came_before_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.store");
    let mut store = FileStore::open(&path).unwrap();
    store.stage(b"the checkpoint").unwrap();
    store.publish(Place(0)).unwrap();
    let marked = |number: u64| format!("record {number}: {}", "x".repeat(5_000));
    for number in 1..=5 {
        store.append(marked(number).as_bytes(), Some(format!("batch {number}").as_bytes())).unwrap();
    }
    drop(store);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(9).rposition(|window| window == b"record 4:").unwrap();
    bytes[at + 100] ^= 1;
    let damaged = folder.path().join("damaged.store");
    std::fs::write(&damaged, &bytes).unwrap();

    assert_eq!(tool(&["verify"], &[&damaged]).0, 1);
    let (code, _, error) = tool(&["export"], &[&damaged]);
    assert!(code == 1 && error.contains("--until-damage"), "{error}");
    let [lines, saved] = ["lines", "saved.store"].map(|name| folder.path().join(name));
    let (code, _, error) = tool(&["export", "--until-damage", "--output"], &[&lines, &damaged]);
    assert!(code == 1 && error.contains("place 4") && error.contains("as it was at place 3"), "{error}");
    assert!(std::fs::read(&damaged).unwrap() == bytes, "it is left as it is");
    assert_eq!(tool(&["import", "--input"], &[&lines, &saved]).0, 0);
    let held = contents(&mut FileStore::open(&saved).unwrap()).unwrap();
    assert_eq!(held.checkpoint, [b"the checkpoint"]);
    assert_eq!(held.log, [1, 2, 3].map(|number| (number, marked(number).into_bytes())));
    assert_eq!(held.feed, [1, 2, 3].map(|number| (number, format!("batch {number}").into_bytes())));
}

#[test]
fn what_is_no_whole_export_is_not_imported() {
    let folder = tempfile::tempdir().unwrap();
    let (path, store, _) = store(folder.path());
    drop(store);
    let (_, lines, _) = tool(&["export"], &[&path]);
    let rows: Vec<&str> = lines.lines().collect();
    let [input, made] = ["lines", "made.store"].map(|name| folder.path().join(name));
    let import = |lines: &[&str]| {
        std::fs::write(&input, lines.join("\n")).unwrap();
        let (code, _, error) = tool(&["import", "--input"], &[&input, &made]);
        (code, error)
    };
    for missing in 0..rows.len() {
        let mut fewer = rows.clone();
        fewer.remove(missing);
        assert_eq!(import(&fewer).0, 1, "without line {missing}");
    }
    for (wrong, at) in [("{", 1), ("{\"kind\":\"log\"}", 1), ("{\"kind\":\"song\"}", 2), ("[]", 0)] {
        let mut other = rows.clone();
        other[at] = wrong;
        let (code, error) = import(&other);
        assert!(code == 1 && error.contains(&format!("line {}", at + 1)), "{error}");
    }
    assert!(!made.exists());
    assert_eq!(import(&rows).0, 0);
    assert_eq!(import(&rows).0, 3, "there is a store now");
}
