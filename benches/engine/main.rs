//! Each operation of the engine beside the same work on plain collections. `cargo bench --bench engine`.

#![allow(missing_docs, reason = "criterion's macros make functions without any")]

mod exchanging;
mod forgetting;
mod receiving;
mod types;
mod wire;
#[path = "../workload/mod.rs"]
mod workload;
mod writing;

use criterion::{criterion_group, criterion_main};

const DOCUMENTS: usize = 100_000;

criterion_group!(
    benches,
    writing::write,
    writing::overwrite,
    writing::read,
    writing::snapshot,
    exchanging::delta_since,
    exchanging::merge,
    exchanging::merge_again,
    exchanging::converge,
    receiving::receive,
    wire::delta,
    wire::full_state,
    types::set,
    types::counter,
    types::document,
    forgetting::forget,
    forgetting::digest,
    forgetting::fingerprints,
);
criterion_main!(benches);
