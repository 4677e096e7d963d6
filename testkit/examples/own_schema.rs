//! A schema of your own in the simulator: `cargo run --release -p driftless-testkit --example own_schema`.
//!
//! `docs/simulator.md` explains what it does.

use driftless::{Counter, Crdt, LwwRegister, MergeMap, OrSet};
use driftless_testkit::sim::Simulation;
use driftless_testkit::struct_subject;

/// A parcel on its way.
#[derive(Crdt, Debug)]
struct Parcel {
    status: LwwRegister<String>,
    scans: Counter,
    stations: OrSet<u8>,
}

// What the simulator writes, and what it expects to read, follows from the types of the fields.
struct_subject! { Parcel { status: LwwRegister<String>, scans: Counter, stations: OrSet<u8> } }

/// What must hold of every replica at any time, whatever the network, the disks and the clocks did.
fn no_parcel_is_empty(parcels: &MergeMap<String, Parcel>) -> Result<(), String> {
    let is_empty = |parcel: &Parcel| {
        parcel.status.latest().is_none() && !parcel.scans.is_counting() && parcel.stations.is_empty()
    };
    match parcels.iter().find(|(_, parcel)| is_empty(parcel)) {
        Some((key, _)) => Err(format!("parcel {key} holds nothing")),
        None => Ok(()),
    }
}

fn main() {
    let simulation = Simulation::<MergeMap<String, Parcel>>::new().with_invariant(no_parcel_is_empty);
    let coverage = simulation.assert_seeds(0..50);
    for (what, count) in coverage.counts() {
        println!("{count:>10} {what}");
    }
}
