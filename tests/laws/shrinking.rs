//! A counterexample is of use once it is small: whatever is left out of a history or made smaller, a legal history remains, and
//! what fails ends as a few steps.

use driftless::{Counter, MergeMap, OrSet};
use driftless_testkit::cluster::Cluster;
use driftless_testkit::history::{History, Step, Theme, histories};
use driftless_testkit::subject::Subject;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};

use crate::broken::{Broken, FORGETS_TOO_EARLY, REPLACES_INSTEAD_OF_JOINING, SENDS_NO_REMOVALS};
use crate::prove;

const THEMES: [Theme; 5] =
    [Theme::All, Theme::NoForgetting, Theme::Eviction, Theme::Transfers, Theme::Clocks];

type State = MergeMap<u8, MergeMap<u8, Counter>>;

#[test]
fn what_is_left_of_a_history_is_a_history() {
    let history = prop::sample::select(THEMES.to_vec()).prop_flat_map(|theme| histories(theme, 60));
    let case = (history, vec(any::<bool>(), 60), 0..8_u8);
    prove(150, case, |(history, left_out, replicas)| {
        let steps = history.steps.iter().zip(&left_out).filter(|(_, is_out)| !**is_out);
        let steps = steps.map(|(step, _)| step.clone()).collect();
        // With more or fewer replicas all numbers mean others.
        Cluster::<State>::run_to_end(&History { replicas, steps, ..history }).map(drop)
    });
}

/// Walks down from a history as shrinking does, now taking what is simpler and now going back, and runs all there is on the
/// way.
#[test]
fn what_shrinking_makes_of_a_history_is_a_history() {
    let mut runner = TestRunner::deterministic();
    for round in 0..60 {
        let mut tree = histories(THEMES[round % THEMES.len()], 60).new_tree(&mut runner).unwrap();
        let mut simpler = 0;
        for number in 0..40 {
            let is_simpler = number == 0 || (round + number) % 3 != 0;
            if !if is_simpler { tree.simplify() } else { tree.complicate() } {
                break;
            }
            simpler += 1;
            let ended = Cluster::<State>::run_to_end(&tree.current());
            drop(ended.unwrap_or_else(|error| panic!("{error}\nin {:?}", tree.current())));
        }
        assert!(simpler > 0 || tree.current().steps.is_empty());
    }
}

/// The smallest histories that shrinking finds in which something does not hold, for some seeds.
fn smallest(theme: Theme, holds: impl Fn(&History) -> bool) -> Vec<History> {
    let find = |seed: u8| {
        let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
        let found = TestRunner::new_with_rng(config, rng).run(&histories(theme, 60), |history| {
            if holds(&history) { Ok(()) } else { Err(TestCaseError::fail("it does not hold")) }
        });
        match found {
            Err(TestError::Fail(_, history)) => history.shrunk(|history| !holds(history)),
            other => panic!("nothing was found: {other:?}"),
        }
    };
    (0..5).map(find).collect()
}

/// So many steps at most, no more operations than steps, and replicas of which each does something.
fn are_small(histories: &[History], steps: usize) {
    for history in histories {
        let ops = history.steps.iter().map(|step| match step {
            Step::Write { ops, .. } | Step::Twins { ops, .. } | Step::Interrupted { ops, .. } => ops.len(),
            _ => 0,
        });
        let is_small = history.steps.len() <= steps && ops.sum::<usize>() <= steps && history.replicas <= 3;
        assert!(is_small, "{history:?}");
    }
}

#[test]
fn a_removal_beside_a_write_takes_three_operations() {
    let found = smallest(Theme::All, |history| {
        let cluster = Cluster::<OrSet<u8>>::run(history).unwrap();
        cluster.oracle.removals_beside_writes() == 0
    });
    are_small(&found, 3);
}

fn runs<S: Subject>(history: &History) -> bool {
    Cluster::<S>::run(history).is_ok()
}

/// Written, seen by another, removed, forgotten, and what the other is sent then.
#[test]
fn an_engine_that_forgets_too_early_is_found_out_by_a_few_steps() {
    are_small(&smallest(Theme::Eviction, runs::<Broken<FORGETS_TOO_EARLY>>), 5);
}

/// Written, seen by another, removed, and what the other is sent then.
#[test]
fn an_engine_that_sends_no_removals_is_found_out_by_a_few_steps() {
    are_small(&smallest(Theme::All, runs::<Broken<SENDS_NO_REMOVALS>>), 4);
}

/// Written by both, and merged.
#[test]
fn an_engine_that_replaces_instead_of_joining_is_found_out_by_a_few_steps() {
    are_small(&smallest(Theme::All, runs::<Broken<REPLACES_INSTEAD_OF_JOINING>>), 3);
}
