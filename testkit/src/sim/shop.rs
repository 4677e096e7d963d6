//! The schemas that `cargo xtask sim` runs: one with every type, and others that are all of one kind.

use driftless::{Counter, Crdt, Document, Flag, LwwRegister, MergeMap, MvRegister, OrSet};

use crate::sim::{Outcome, Plan, Simulation};
use crate::struct_subject;

/// What an application may hold by key: a field of every type.
#[derive(Crdt, Debug)]
pub struct Product {
    /// The later one is read.
    pub name: LwwRegister<String>,
    /// All that were written concurrently are read.
    pub notes: MvRegister<Option<i64>>,
    /// On or off.
    pub is_sold: Flag,
    /// Elements.
    pub tags: OrSet<u8>,
    /// Adds up.
    pub stock: Counter,
    /// A map within.
    pub sizes: MergeMap<u8, Counter>,
    /// Anything.
    pub free: Document,
}

struct_subject! {
    Product {
        name: LwwRegister<String>, notes: MvRegister<Option<i64>>, is_sold: Flag, tags: OrSet<u8>, stock: Counter,
        sizes: MergeMap<u8, Counter>, free: Document,
    }
}

/// Runs a plan with the schema that belongs to its seed.
pub fn run_plan(plan: Plan, is_traced: bool) -> Outcome {
    match plan.seed % 4 {
        0 => Simulation::<MergeMap<u8, Counter>>::new().run_plan(plan, is_traced),
        _ => Simulation::<MergeMap<String, Product>>::new().run_plan(plan, is_traced),
    }
}
