//! All that can happen to three replicas in the smallest scope, state by state: a model checker over the engine itself.
//!
//! A few transactions, at most two messages under way, each of which may arrive at anyone, at any time, as often as it likes or
//! never; reports of what others hold, with messages and without; forgetting at any moment; crashes, after which a replica goes
//! on under a new id with what it had saved. [`explore`] goes through every state that can be reached, breadth first, so that the
//! trace to a fault is as short as there is one.
//!
//! # What makes it fast
//! The state of a replica follows from what happened to it alone. So replicas are numbered by what they hold, a step
//! of one is made in the engine once, and a state of the cluster is a few numbers. A step is made on a replica that is made anew
//! and led there, since replicas cannot be copied.
//!
//! # What it does not do
//! The network never holds more than two messages; the clocks are right; two transactions never have equal stamps.

mod explore;
mod nodes;
mod writes;

pub use explore::{Explored, Fault, Scope, explore};
pub use writes::Modelled;
