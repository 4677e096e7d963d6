//! Keeping replicas in step: sessions, membership, identity, tokens, write concern. State machines, without I/O.
//!
//! An [`endpoint::Endpoint`] owns the replica and has a [session](session) for each link. What peers send each other are
//! [frames](frame). The contract with the program around it is stated at the endpoint.

pub(crate) mod access;
pub(crate) mod audit;
pub(crate) mod concern;
pub(crate) mod config;
pub(crate) mod endpoint;
pub(crate) mod error;
pub(crate) mod event;
mod frame;
pub(crate) mod identity;
mod inbound;
mod outbound;
mod points;
pub(crate) mod roster;
mod session;
mod shared;
pub(crate) mod status;
pub(crate) mod token;
