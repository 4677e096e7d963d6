//! What the fuzz targets do with their seeds, and with every file that once crashed one: without a fuzzer, on any compiler.
//!
//! `SEEDS=write cargo test --test fuzzed` makes the seeds anew.

#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

use std::collections::BTreeMap;
use std::panic;
use std::path::{Path, PathBuf};

use driftless_testkit::fuzz::{Target, decode, seeds, targets};

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(kind).join(target)
}

/// The files of a folder by name, but those that say what is in it.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let listed = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = listed.map(|entry| entry.unwrap().path());
    let named = paths.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path));
    named
        .filter(|(name, _)| name != "README.md" && name != ".gitkeep")
        .map(|(name, path)| (name, std::fs::read(path).unwrap()))
        .collect()
}

#[test]
fn every_target_has_the_seeds_that_the_engine_makes_and_they_are_no_older_than_the_format() {
    for Target { name: target, .. } in targets() {
        let folder = folder("seeds", target);
        let made: BTreeMap<_, _> = seeds::of(target).into_iter().collect();
        assert!(!made.is_empty(), "{target} has no seeds");
        if std::env::var("SEEDS").is_ok_and(|asked| asked == "write") {
            drop(std::fs::remove_dir_all(&folder));
            std::fs::create_dir_all(&folder).unwrap();
            made.iter().for_each(|(name, bytes)| std::fs::write(folder.join(name), bytes).unwrap());
        }
        let mut stored = files(&folder);
        stored.retain(|name, _| seeds::MAKES_ANSWERS || !name.ends_with(seeds::ANSWER));
        let differs =
            made.iter().find(|(name, bytes)| stored.get(*name) != Some(*bytes)).map(|(name, _)| name);
        assert_eq!(
            (differs, stored.len()),
            (None, made.len()),
            "the seeds of {target} are others: make them anew"
        );
        if matches!(target, "decode" | "merge") {
            let old: Vec<_> = stored.iter().filter(|(_, bytes)| !decode::is_message(bytes)).collect();
            assert!(old.is_empty(), "seeds of {target} that are no messages, make them anew: {old:?}");
        }
        if target == "merge" {
            // They were messages once, which were merged wrongly: if they are read no more they say nothing.
            let crashes = files(&self::folder("crashes", target));
            let old: Vec<_> = crashes.iter().filter(|(_, bytes)| !decode::is_message(bytes)).collect();
            assert!(
                old.is_empty(),
                "files that crashed {target} and are no messages of this version: {old:?}"
            );
        }
    }
}

#[test]
fn every_seed_and_every_file_that_crashed_a_target_passes() {
    let mut failed = Vec::new();
    for Target { name: target, run } in targets() {
        for kind in ["seeds", "crashes"] {
            for (name, bytes) in files(&folder(kind, target)) {
                if panic::catch_unwind(|| run(&bytes)).is_err() {
                    failed.push(format!("{kind}/{target}/{name}"));
                }
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
