//! The simulator of the testkit: some seeds of it, and that it finds what is wrong. `cargo xtask sim` runs many.

#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

use std::collections::BTreeSet;

use driftless::{Counter, Crdt, LwwRegister, MergeMap, OrSet};
use driftless_testkit::oracle::{Item, Live, Payload, Place};
use driftless_testkit::schema::Schema;
use driftless_testkit::sim::{Action, Coverage, Outcome, Plan, Planted, Simulation};
use driftless_testkit::struct_subject;
use driftless_testkit::subject::{Canonical, Readings, Script, Stop, Subject};

/// A little of everything that others change concurrently.
#[derive(Crdt, Debug)]
struct Note {
    text: LwwRegister<String>,
    tags: OrSet<u8>,
    views: Counter,
}

struct_subject! { Note { text: LwwRegister<String>, tags: OrSet<u8>, views: Counter } }

type Notes = MergeMap<String, Note>;

#[test]
fn twenty_seeds_hold_and_a_second_run_of_one_is_the_same() {
    let simulation = Simulation::<Notes>::new();
    let coverage = simulation.assert_seeds(0..20);
    assert!(coverage.checks > 2_000 && coverage.merges > 1_000, "{coverage:?}");
    assert!(coverage.crashes > 5 && coverage.restarts > 5 && coverage.breaks > 20, "{coverage:?}");

    let nothing = BTreeSet::new();
    let busy = (0..20).max_by_key(|seed| Plan::new(*seed).actions.len()).unwrap();
    let [one, other] = [(); 2].map(|()| simulation.trace(busy, &nothing));
    assert!(one.trace.len() > 500, "{}", one.trace.len());
    assert_eq!(one.trace, other.trace);
    assert_eq!((one.coverage, one.simulated_ms), (other.coverage, other.simulated_ms));
}

/// The first seed of a few that finds a fault.
fn found<S: Subject>(simulation: Simulation<S>) -> (u64, Outcome) {
    let outcomes = (0..60).map(|seed| (seed, simulation.run(seed)));
    outcomes.into_iter().find(|(_, outcome)| outcome.fault.is_some()).expect("a seed finds it")
}

#[test]
fn a_disk_that_loses_what_was_written_is_found_and_shown_in_few_actions() {
    let simulation = Simulation::<Notes>::new().with_planted(Planted::LyingDisk);
    let (seed, outcome) = found(simulation);
    let fault = outcome.fault.unwrap();
    assert!(fault.contains("lost something"), "{fault}");

    let fails = |plan: &Plan| simulation.run_plan(plan.clone(), false).fault.is_some();
    let plan = Plan::new(seed).shrunk(fails);
    assert!(plan.remaining().len() <= 4, "{}", plan.show());
    let is_crash = |number: &usize| matches!(plan.actions[*number].action, Action::Crash { .. });
    assert!(plan.remaining().iter().any(is_crash), "{}", plan.show());
    // What is printed replays it.
    assert!(simulation.trace(seed, &plan.left_out).fault.unwrap().contains("lost something"));
    assert!(plan.replay().starts_with(&format!("--trace {seed} --without ")));
}

#[test]
fn an_id_that_is_used_again_after_a_restart_is_found() {
    found(Simulation::<Notes>::new().with_planted(Planted::SameId));
}

/// A set that forgets to say what it did, now and then.
#[derive(Crdt, Debug)]
struct Forgetful {
    tags: OrSet<u8>,
}

impl Subject for Forgetful {
    fn act(handle: &mut Self::Mut<'_>, script: &mut Script<'_>) -> Result<(), Stop> {
        let element = script.key();
        handle.tags().add(&element);
        if script.pick(40) == 0 {
            return Ok(());
        }
        let place = [Item::Field("tags"), Item::Key(driftless::Value::of(&element))];
        let [field, key] = place;
        script.at(field, |script| script.at(key, |script| script.wrote(Payload::On)))
    }

    fn wipe(handle: &mut Self::Mut<'_>) {
        handle.tags().clear();
    }

    fn parse(canonical: &mut Canonical<'_>, place: &mut Place, live: &mut Live) -> Result<(), String> {
        if canonical.uint()? == 0 {
            return Ok(());
        }
        place.push(Item::Field("tags"));
        OrSet::<u8>::parse(canonical, place, live)?;
        place.pop();
        Ok(())
    }

    const SCHEMA: Schema = Schema::Struct(&[("tags", Schema::Set)]);

    fn read(&self, place: &mut Place, readings: &mut Readings) {
        place.push(Item::Field("tags"));
        self.tags.read(place, readings);
        place.pop();
    }
}

#[test]
fn a_state_that_is_not_what_the_oracle_says_is_found_at_the_write_that_made_it() {
    let (_, outcome) = found(Simulation::<Forgetful>::new());
    let fault = outcome.fault.unwrap();
    assert!(fault.contains("there is") || fault.contains("stamp"), "{fault}");
}

#[test]
fn an_invariant_of_the_application_is_checked_after_every_step() {
    let simulation = Simulation::<Notes>::new().with_invariant(|notes| match notes.len() {
        0..3 => Ok(()),
        count => Err(format!("there are {count} notes")),
    });
    let fault = found(simulation).1.fault.unwrap();
    // A merge may bring several at once.
    assert!(fault.contains("there are ") && fault.contains(" notes"), "{fault}");
}

#[test]
fn plans_hold_all_kinds_of_faults() {
    let mut coverage = Coverage::default();
    for seed in 0..200 {
        for planned in Plan::new(seed).actions {
            match planned.action {
                Action::Write { .. } => coverage.writes += 1,
                Action::Break { .. } => coverage.breaks += 1,
                Action::Partition { .. } => coverage.partitions += 1,
                Action::Storm { .. } => coverage.storms += 1,
                Action::Slow { .. } => coverage.slow += 1,
                Action::Step { .. } => coverage.steps += 1,
                Action::Stuck { .. } => coverage.stuck += 1,
                Action::Ahead { .. } => coverage.ahead += 1,
                Action::Crash { .. } => coverage.crashes += 1,
                Action::Restore { .. } => coverage.restores += 1,
                Action::Wipe { .. } => coverage.wipes += 1,
                Action::Full { .. } => coverage.full += 1,
                Action::Clone { .. } => coverage.clones += 1,
                Action::Rollback { .. } => coverage.rollbacks += 1,
                Action::Join => coverage.joins += 1,
                Action::Leave { .. } => coverage.leaves += 1,
                Action::Evict { .. } => coverage.evictions += 1,
                Action::Split { .. } => coverage.splits += 1,
            }
        }
    }
    let planned = coverage.counts().into_iter().filter(|(_, count)| *count > 0).count();
    assert_eq!(planned, 18, "{coverage:?}");
}
