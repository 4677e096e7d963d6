//! The disk refuses: what failed has changed nothing, what comes after it works, and a crash afterwards loses nothing.

#![allow(clippy::unwrap_used)]

mod disk;

use disk::{Disk, Faults, Script, Step, bytes, contents, empty};
use driftless_node::store::{Store, StoreError};

/// Takes all steps of a script; each that fails for the disk is tried again, on a disk that is whole by then. Says how many
/// failed.
fn run(script: &Script, disk: &Disk, stays: bool, what: &str) -> usize {
    let mut failures = 0;
    let mut tried = || {
        let mut opened = disk.open();
        if let Err(StoreError::Io { .. }) = opened {
            disk.fail(Faults::default());
            failures += 1;
            opened = disk.open();
        }
        opened.unwrap_or_else(|error| panic!("{what}: {error}"))
    };
    let mut store = tried();
    for number in 0..script.steps.len() {
        if let Err(error) = script.take(number, &mut store) {
            assert!(matches!(error, StoreError::Io { .. }), "{what}, step {number}: {error}");
            assert!(disk.failed() > 0, "{what}, step {number}: {error}, and nothing had failed");
            failures += 1;
            disk.fail(Faults::default());
            let held = contents(&mut store).unwrap_or_else(|error| panic!("{what}, step {number}: {error}"));
            // What cannot be undone and may be done twice may have happened, if nobody could look.
            let may_have_happened =
                matches!(script.steps[number], Step::Checkpoint { .. } | Step::TrimFeed { .. });
            let is_done = may_have_happened && stays && held == script.states[number + 1];
            assert!(
                is_done || held == script.states[number],
                "{what}: step {number} failed and left something behind"
            );
            script
                .take(number, &mut store)
                .unwrap_or_else(|error| panic!("{what}, step {number} again: {error}"));
        }
        let held = contents(&mut store);
        let held = held.or_else(|_| {
            failures += 1;
            disk.fail(Faults::default());
            contents(&mut store)
        });
        assert!(held.unwrap() == script.states[number + 1], "{what}: after step {number}");
    }
    // It is killed, and all that was not waited for is lost.
    let stable = disk.stable();
    std::mem::forget(store);
    let held =
        contents(&mut Disk::of(stable).open().unwrap_or_else(|error| panic!("{what}: {error}"))).unwrap();
    assert!(held == script.states[script.steps.len()], "{what}: after a crash at the end");
    failures
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let script = Script::of_all_kinds();
    let (mut room, mut failures) = (0, 0);
    loop {
        let before = failures;
        for stays in [false, true] {
            let disk = empty();
            disk.fail(Faults { room: Some(room), stays, ..Faults::default() });
            failures += run(&script, &disk, stays, &format!("room for {room} bytes, stays: {stays}"));
        }
        if failures == before {
            break;
        }
        room += 4096 * (1 + room / 100_000) + 512;
    }
    assert!(failures > 40, "{failures} are too few to mean anything");
}

#[test]
fn a_sync_that_fails_loses_nothing_that_was_acknowledged() {
    let script = Script::of_all_kinds();
    for syncs in 0.. {
        let mut failed = 0;
        for stays in [false, true] {
            let disk = empty();
            disk.fail(Faults { syncs: Some(syncs), stays, ..Faults::default() });
            run(&script, &disk, stays, &format!("sync {syncs} fails, stays: {stays}"));
            failed += disk.failed();
        }
        if failed == 0 {
            assert!(syncs > 20, "{syncs} are too few to mean anything");
            break;
        }
    }
}

#[test]
fn a_read_that_fails_is_an_error_of_the_disk_and_no_damage() {
    let script = Script::of_all_kinds();
    let mut reads = 0;
    for _ in 0..60 {
        for stays in [false, true] {
            let disk = empty();
            disk.fail(Faults { reads: Some(reads), stays, ..Faults::default() });
            run(&script, &disk, stays, &format!("read {reads} fails, stays: {stays}"));
        }
        reads += 1 + reads / 10;
    }
}

#[test]
fn what_is_left_of_a_checkpoint_that_could_not_be_abandoned_is_no_part_of_the_next() {
    let disk = empty();
    let mut store = disk.open().unwrap();
    let place = store.append(b"a record", None).unwrap();
    // More than is gathered before it is written, in records of many pieces each.
    for seed in 0..12 {
        store.stage(&bytes(1 << 20, seed)).unwrap();
    }
    disk.fail(Faults { syncs: Some(0), room: Some(0), stays: true, ..Faults::default() });
    assert!(store.stage(&bytes(5 << 20, 99)).is_err());
    assert!(store.abandon().is_err());
    disk.fail(Faults::default());
    // The next one has fewer records, of fewer pieces.
    store.stage(b"all there is").unwrap();
    store.publish(place).unwrap();
    let stable = disk.stable();
    std::mem::forget(store);
    let held = contents(&mut Disk::of(stable).open().unwrap()).unwrap();
    assert_eq!(held.checkpoint, [b"all there is".to_vec()]);
    assert!(held.log.is_empty());
}
