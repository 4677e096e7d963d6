//! Runs driftless in a service: a store, links to the other regions, and handles to read and write.
//!
//! A [`Node`] is a region's process. It has one or more [`Domain`]s: some data each, with a store, a membership and a vector of
//! its own. A transport hands it [`Connection`]s to other regions, which all domains share.
//!
//! **Durable before visible**: no event leaves the process before it is on disk.
//!
//! The [guide] says how to run it, what is kept where, and what is counted.

pub mod connection;
pub mod record;
pub mod store;
pub mod telemetry;

mod backoff;
mod config;
mod domain;
mod engine;
mod feed;
mod health;
mod link;
mod memory;
mod node;
mod opening;
mod region;
mod status;
mod storing;
mod write;

#[cfg(test)]
mod copies;

pub use backoff::Backoff;
pub use config::{Clock, DomainConfig, NodeConfig};
pub use connection::{Access, BadName, Connection, DomainName, Frame, Grants};
pub use domain::{ConfirmError, Domain, ReissueError, WaitError};
pub use feed::{Cursor, CursorError, Feed, FeedBatch, FeedChange, FeedCommit, FeedError, FeedStep};
pub use health::StoreFailure;
pub use memory::MemoryStore;
pub use node::{AttachError, Node, ShutdownError, Unstored};
pub use opening::OpenError;
pub use region::{BadRegion, RegionName};
pub use status::{BlockingStatus, DomainStatus, LinkStatus, MemberStatus, NodeStatus, Notice, StoreStatus};
pub use store::{Place, Record, Store, StoreError, StoreSize};
pub use write::{Applied, NotDurable, Refused, TransactError, WriteError, Written};

#[cfg(any(doc, doctest))]
#[doc = include_str!("../../../docs/node.md")]
pub mod guide {}
