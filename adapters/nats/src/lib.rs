//! Links between driftless nodes over NATS JetStream.
//!
//! For regions that share a NATS backbone already: a cluster, a supercluster of gateways, or leaf nodes. A [`Transport`] keeps a
//! link to each peer of its [peer list](Policy), and hands each one that is ready to the node. It does not look into frames, and
//! knows nothing of replicas. What regions say to each other is the same as over TCP; NATS carries it.
//!
//! - Each region has a stream, its **inbox**, at the server that it is connected to, which takes what its peers send.
//! - Regions find each other, and see each other alive, by **beats** over core NATS.
//! - Who a peer is, is said by the **subject**, and made true by the server's permissions.
//! - The **peer list** says who may link, and which domains each may read, or read and write. Whoever and whatever is not in it
//!   is refused and logged. A list that cannot be loaded closes all links.
//! - What is lost, doubled or out of order is noticed: a frame comes whole and in its order, or the link ends and comes again.
//!
//! `docs/nats.md` has the bytes, the server's configuration, what is logged and counted, and the limits.

mod beat;
mod config;
mod inbox;
mod link;
mod message;
mod observe;
mod opening;
mod policy;
mod reason;
mod receiver;
mod sender;
mod server;
mod settings;
mod shared;
mod status;
mod subjects;
mod transport;

pub use config::{Credentials, Limits, NatsConfig, Security, Timing, TlsFiles};
pub use driftless_node::{BadRegion, RegionName};
pub use policy::{Peer, Policy, PolicyError, PolicySource};
pub use reason::{Farewell, Reason};
pub use server::ServerError;
pub use settings::StartError;
pub use status::{NatsLink, NatsPeer, NatsStatus, Opening};
pub use transport::Transport;
