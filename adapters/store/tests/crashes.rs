//! The power fails, at any moment: what was acknowledged is there, what was not is there whole or not at all, and the feed is
//! in step.

#![allow(clippy::unwrap_used)]

mod disk;

use disk::{Contents, Disk, Event, Image, SECTOR, Script, contents, empty, fastrand, seed};

/// Takes all steps of a script and returns what was done to the disk meanwhile, the disk as it was before, and the store, which
/// is not closed.
fn recorded(script: &Script) -> (Image, Vec<Event>) {
    let disk = empty();
    let before = disk.stable();
    disk.record();
    let mut store = disk.open().unwrap();
    disk.acknowledged();
    for number in 0..script.steps.len() {
        script.take(number, &mut store).unwrap();
        disk.acknowledged();
    }
    let history = disk.history();
    drop(store);
    (before, history)
}

/// What a disk may have done of what was not waited for.
fn after_crash(stable: &Image, unsynced: &[&Event], random: &mut impl FnMut() -> u64) -> Image {
    let mut image = stable.clone();
    for event in unsynced {
        match (random() % 4, event) {
            (0, _) => {}
            (1, Event::Write(offset, data)) => {
                // Some of its sectors.
                for (sector, part) in data.chunks(SECTOR).enumerate() {
                    if random().is_multiple_of(2) {
                        image.write(offset + (sector * SECTOR) as u64, part);
                    }
                }
            }
            _ => image.apply(event),
        }
    }
    image
}

/// Each moment of a history: what is on disk for sure, what may be, and how many calls were acknowledged.
fn moments<'h>(before: &Image, history: &'h [Event]) -> Vec<(Image, Vec<&'h Event>, usize)> {
    let (mut stable, mut unsynced, mut acknowledged) = (before.clone(), Vec::new(), 0);
    let mut moments = vec![(stable.clone(), Vec::new(), 0)];
    for event in history {
        match event {
            Event::Sync => unsynced.drain(..).for_each(|event| stable.apply(event)),
            Event::Acknowledged => acknowledged += 1,
            event => unsynced.push(event),
        }
        moments.push((stable.clone(), unsynced.clone(), acknowledged));
    }
    moments
}

/// Opens what a crash left, and checks that it is the state after `acknowledged` steps, or after the next one.
fn check(image: Image, script: &Script, acknowledged: usize, what: &str) -> Contents {
    let found = Disk::of(image).open().and_then(|mut store| contents(&mut store));
    let found = found.unwrap_or_else(|error| panic!("{what}: {error}"));
    // The first acknowledgement is that of opening.
    let done = acknowledged.saturating_sub(1);
    let may_be = &script.states[done..script.states.len().min(done + 2)];
    assert!(may_be.contains(&found), "{what}: after {done} steps it holds {}", show(&found));
    found
}

fn show(contents: &Contents) -> String {
    let places = |rows: &[(u64, Vec<u8>)]| rows.iter().map(|row| row.0).collect::<Vec<_>>();
    format!("{} + {:?}, feed {:?}", contents.checkpoint.len(), places(&contents.log), places(&contents.feed))
}

#[test]
fn what_was_acknowledged_survives_a_crash_at_each_point() {
    let script = Script::of_all_kinds();
    let (before, history) = recorded(&script);
    let mut random = fastrand(seed(1));
    let mut images = 0;
    for (point, (stable, unsynced, acknowledged)) in moments(&before, &history).into_iter().enumerate() {
        let what = |how| format!("point {point} of {}, {how}", history.len());
        let mut all = stable.clone();
        unsynced.iter().for_each(|event| all.apply(event));
        // Nothing of what was not waited for, all of it, all but one, one alone, and any of it.
        check(stable.clone(), &script, acknowledged, &what("nothing"));
        check(all, &script, acknowledged, &what("all"));
        if let Some(left_out) = (random() as usize).checked_rem(unsynced.len()) {
            let (mut but_one, mut one) = (stable.clone(), stable.clone());
            let others = unsynced.iter().enumerate().filter(|(at, _)| *at != left_out);
            others.for_each(|(_, event)| but_one.apply(event));
            one.apply(unsynced[left_out]);
            check(but_one, &script, acknowledged, &what("all but one"));
            check(one, &script, acknowledged, &what("one"));
            for _ in 0..6 {
                let image = after_crash(&stable, &unsynced, &mut random);
                check(image, &script, acknowledged, &what("some"));
            }
        }
        images += 1;
    }
    assert!(images > 100, "{images} points are too few to mean anything");
}

#[test]
fn after_a_crash_it_goes_on_as_if_there_had_been_none() {
    let mut random = fastrand(seed(4));
    for script in [Script::of_all_kinds(), Script::of_large_checkpoints()] {
        let (before, history) = recorded(&script);
        let moments = moments(&before, &history);
        // About forty of them.
        let every = moments.len() / 40 + 1;
        for (point, (stable, unsynced, acknowledged)) in moments.into_iter().enumerate().step_by(every) {
            let disk = Disk::of(after_crash(&stable, &unsynced, &mut random));
            let mut store = disk.open().unwrap();
            let held = contents(&mut store).unwrap();
            let done = acknowledged.saturating_sub(1);
            let from = if held == script.states[done] { done } else { done + 1 };
            for number in from..script.steps.len() {
                let what = format!("point {point}, step {number}");
                script.take(number, &mut store).unwrap_or_else(|error| panic!("{what}: {error}"));
                let held = contents(&mut store).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert!(held == script.states[number + 1], "{what}: {}", show(&held));
            }
        }
    }
}

#[test]
fn a_crash_while_a_crash_is_mended_loses_nothing() {
    let script = Script::of_all_kinds();
    let (before, history) = recorded(&script);
    let mut random = fastrand(seed(2));
    let moments_of_all = moments(&before, &history);
    for round in 0..60 {
        let (stable, unsynced, acknowledged) = &moments_of_all[random() as usize % moments_of_all.len()];
        let image = after_crash(stable, unsynced, &mut random);
        let disk = Disk::of(image.clone());
        disk.record();
        let held = contents(&mut disk.open().unwrap()).unwrap();
        for (point, (stable, unsynced, _)) in moments(&image, &disk.history()).into_iter().enumerate() {
            for _ in 0..2 {
                let what = format!("round {round}, point {point} of mending");
                let image = after_crash(&stable, &unsynced, &mut random);
                let found = check(image, &script, *acknowledged, &what);
                assert_eq!(show(&found), show(&held), "{what}");
            }
        }
    }
}
