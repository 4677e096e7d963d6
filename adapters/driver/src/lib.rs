//! Runs driftless in a service: a store, links to the other regions, and handles to read and write.

pub mod connection;
pub mod store;
