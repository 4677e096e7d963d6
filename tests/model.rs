//! All that can happen in the smallest scope, state by state: `docs/testing.md` says what larger scopes were looked at by hand.

#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

use driftless::{Counter, LwwRegister, MergeMap, OrSet};
use driftless_testkit::model::{Explored, Modelled, Scope, explore};

/// Looks at all of a scope.
fn all_of<S: Modelled>(scope: Scope) -> Explored {
    let explored = explore::<S>(scope).unwrap_or_else(|fault| panic!("{fault}"));
    assert!(explored.is_all, "{explored}");
    explored
}

type Registers = MergeMap<u8, LwwRegister<i64>>;
type Counters = MergeMap<u8, Counter>;

#[test]
fn two_writes_to_a_set_and_two_messages_under_way() {
    let explored = all_of::<OrSet<u8>>(Scope { writes: 2, ..Scope::default() });
    assert!(explored.states > 50_000, "{explored}");
}

#[test]
fn two_writes_to_a_map_of_registers_or_of_counters_and_a_message_under_way() {
    let scope = Scope { writes: 2, messages: 1, ..Scope::default() };
    let registers = all_of::<Registers>(scope);
    let counters = all_of::<Counters>(scope);
    assert!(registers.states > 20_000 && counters.states > 20_000, "{registers}\n{counters}");
}

#[test]
fn a_crash_that_loses_what_was_not_saved() {
    let scope = Scope { writes: 1, crashes: 1, loses_tails: true, ..Scope::default() };
    let three = all_of::<OrSet<u8>>(scope);
    let two = all_of::<OrSet<u8>>(Scope { replicas: 2, writes: 3, messages: 1, ..scope });
    let late = all_of::<OrSet<u8>>(Scope { replicas: 2, writes: 2, messages: 1, learns_late: true, ..scope });
    assert!(three.states > 1_000 && two.states > 50_000 && late.states > 3_000, "{three}\n{two}\n{late}");
}

#[test]
fn four_writes_to_a_set_of_two() {
    let explored = all_of::<OrSet<u8>>(Scope { replicas: 2, writes: 4, ..Scope::default() });
    assert!(explored.states > 150_000, "{explored}");
}
