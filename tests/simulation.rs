//! What the simulator of the testkit plans to do. `cargo xtask sim` runs it; docs/simulator.md says what it shows now.

use driftless_testkit::sim::{Action, Coverage, Plan};

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
