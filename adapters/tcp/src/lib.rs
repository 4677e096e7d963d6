//! Links between driftless nodes over TCP with mutual TLS.
//!
//! A [`Transport`] listens, dials the peers of its [peer list](Policy), and hands each connection that is ready to the node, with
//! who the peer is and what it may do. It does not look into frames, and knows nothing of replicas.
//!
//! - A region's **identity** is a domain name in its certificate, `REGION.driftless.internal` unless set. Both sides prove it.
//! - The **peer list** says who may connect, and which domains each may read, or read and write. Whoever and whatever is not in
//!   it is refused and logged. A list that cannot be loaded closes all links.
//! - **Connections** come again by themselves after random waiting times that grow; what is silent for too long is closed.
//! - **Certificates** are read again while it runs, and a link ends with the certificate of its peer.
//! - Plain TCP is there for those who ask for it: [`Security::PlainText`].
//!
//! `docs/tcp.md` has the bytes, the form of the peer list, what is logged and counted, and the limits.
//! With the feature `development` (on unless switched off) there are an authority and certificates for trying things out:
//! [`development::make`], and the program `driftless-cert`.

mod certificate;
mod config;
#[cfg(feature = "development")]
pub mod development;
mod dialer;
mod frame;
mod handshake;
mod link;
mod observe;
mod policy;
mod preface;
mod reason;
mod registry;
mod settings;
mod shared;
mod status;
mod tls;
mod transport;

pub use config::{CertificateFiles, Limits, Security, TcpConfig, Timing};
pub use driftless_node::{BadRegion, RegionName};
pub use policy::{Peer, Policy, PolicyError, PolicySource, identity_of};
pub use reason::{Farewell, Reason};
pub use registry::Direction;
pub use settings::{ReloadError, StartError};
pub use status::{Dialing, TcpConnection, TcpPeer, TcpStatus};
pub use tls::CertificateError;
pub use transport::Transport;
