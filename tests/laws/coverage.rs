//! What the histories contain: a law that is never put to the test is not proved.

use driftless::MergeMap;
use driftless_testkit::cluster::{Cluster, Coverage};
use driftless_testkit::history::{Theme, histories};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::Profile;

#[test]
fn every_kind_of_thing_happens_in_histories() {
    let mut runner = TestRunner::deterministic();
    let mut coverage = Coverage::default();
    for theme in [Theme::All, Theme::Eviction, Theme::Transfers, Theme::Clocks] {
        for _ in 0..40 {
            let history = histories(theme, 100).new_tree(&mut runner).unwrap().current();
            let cluster = Cluster::<MergeMap<uuid::Uuid, Profile>>::run_to_end(&history);
            coverage += cluster.unwrap_or_else(|error| panic!("{error}")).coverage;
        }
    }
    assert_eq!(coverage.missing(), [""; 0], "{coverage:?}");
}
