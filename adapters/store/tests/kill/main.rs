//! A region's process is killed with SIGKILL, again and again, while it writes, merges, forgets, checkpoints and compacts.
//!
//! What was reported, the parent knows; so does its own node, which is the killed one's peer. After each kill it is opened again:
//! what was reported durable is there, so is what the peer had got, each write is there once and whole or not at all, and the
//! feed goes on where it was. In the end both hold the same.
//!
//! `DRIFTLESS_KILLS` sets how many kills there are, `DRIFTLESS_SEED` where they fall.

#![allow(clippy::unwrap_used)]

mod child;
mod ledger;
mod line;
mod marked;
mod parent;

/// The parent starts this test again for each process that it kills.
#[test]
fn what_was_reported_durable_survives_being_killed() {
    if std::env::var_os(child::STORE).is_some() { child::run() } else { parent::run() }
}
