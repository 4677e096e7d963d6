//! Links over TCP, with all that goes wrong.
#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

mod certificates;
mod convergence;
mod counting;
mod handshakes;
mod hostile;
mod peers;
#[path = "../proxy/mod.rs"]
mod proxy;
mod raw;
mod reconnecting;
mod regions;
mod rotation;
