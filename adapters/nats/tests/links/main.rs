//! Links over NATS, at servers that the tests start, with all that goes wrong.
#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

mod convergence;
mod counting;
mod hostile;
mod peers;
mod raw;
mod regions;
mod server;
mod servers;
mod shops;
mod trouble;
mod wire;
