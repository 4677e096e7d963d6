//! The laws.

#![allow(clippy::unwrap_used)]

use driftless::*;
use driftless_testkit::cluster::{Cluster, Coverage};
use driftless_testkit::history::{Theme, histories};
use driftless_testkit::subject::Subject;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config as Cases, TestRunner};

fn explore<S: Subject + std::fmt::Debug>(cases: u32) {
    let mut runner = TestRunner::new(Cases { failure_persistence: None, ..Cases::with_cases(cases) });
    runner
        .run(&histories(Theme::All, 60), |history| {
            Cluster::<S>::run_to_end(&history).map_err(TestCaseError::fail)?;
            Ok(())
        })
        .unwrap_or_else(|e| match e {
            proptest::test_runner::TestError::Fail(r, v) => panic!("{r}\n{} steps", v.steps.len()),
            e => panic!("{e}"),
        });
}

#[test]
fn lww() {
    explore::<LwwRegister<i64>>(300)
}
#[test]
fn mv() {
    explore::<MvRegister<i64>>(300)
}
#[test]
fn flag() {
    explore::<Flag>(300)
}
#[test]
fn set() {
    explore::<OrSet<u8>>(300)
}
#[test]
fn counter() {
    explore::<Counter>(300)
}
#[test]
fn map() {
    explore::<MergeMap<u8, LwwRegister<i64>>>(300)
}
#[test]
fn nested() {
    explore::<MergeMap<u8, MergeMap<u8, MergeMap<u8, MvRegister<i64>>>>>(300)
}
#[test]
fn counters() {
    explore::<MergeMap<u8, MergeMap<u8, Counter>>>(300)
}
#[test]
fn doc() {
    explore::<Document>(300)
}
#[test]
fn cov() {
    let mut runner = TestRunner::deterministic();
    let mut c = Coverage::default();
    for _ in 0..200 {
        let h = histories(Theme::All, 60).new_tree(&mut runner).unwrap().current();
        if let Ok(x) = Cluster::<MergeMap<u8, OrSet<u8>>>::run_to_end(&h) {
            c += x.coverage;
        }
    }
    println!("{c:?} {:?}", c.missing());
}
