//! How a transport is set up.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use driftless_node::RegionName;
use driftless_node::connection::DomainName;
use uuid::Uuid;

use crate::policy::{PolicySource, identity_of};

/// How a [`Transport`](crate::Transport) is set up.
///
/// # Example
/// ```
/// use driftless_node::connection::DomainName;
/// use driftless_tcp::{CertificateFiles, Limits, PolicySource, RegionName, Security, TcpConfig};
/// use uuid::Uuid;
///
/// let config = TcpConfig {
///     listen: Some("0.0.0.0:7400".parse()?),
///     limits: Limits { connections: 64, ..Limits::default() },
///     seed: 42,                                           // a fresh random number
///     ..TcpConfig::new(
///         RegionName::new("eu")?,
///         Uuid::from_u128(0xc1),
///         vec![DomainName::new("orders")?],
///         Security::Tls(CertificateFiles::in_folder("certificates", &RegionName::new("eu")?)),
///         PolicySource::File("peers.toml".into()),
///     )
/// };
/// assert_eq!(config.timing.silence.as_secs(), 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TcpConfig {
    /// The region that this is.
    pub region: RegionName,
    /// The domain name that its certificate bears. That of the region unless set.
    pub identity: String,
    /// Which cluster it is of. Regions of different clusters refuse each other.
    pub cluster: Uuid,
    /// The domains that the node has. At most 255.
    pub domains: Vec<DomainName>,
    /// Where it listens. None: it dials only, which is what it is unless set.
    pub listen: Option<SocketAddr>,
    /// How connections are secured.
    pub security: Security,
    /// Who may connect, and what each may do.
    pub policy: PolicySource,
    /// How much is borne.
    pub limits: Limits,
    /// How long is waited for what.
    pub timing: Timing,
    /// A fresh random number, for the jitter of waiting times.
    pub seed: u64,
}

/// How connections are secured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security {
    /// TLS 1.3 with a certificate on both sides, each signed by an authority that the other trusts.
    Tls(CertificateFiles),
    /// None: whoever reaches the port, or the network between, reads all and writes what it likes. The peer list is held
    /// against the name that the peer gives itself.
    PlainText {
        /// Whether the name that a peer gives itself counts as proved, and is handed on as the principal.
        is_name_believed: bool,
    },
}

/// The files of a region's certificate, in PEM. They are read again while the transport runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificates of the authorities that are trusted, one or more.
    pub authority: PathBuf,
    /// The certificate of this region, first, and those between it and the authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// How much is borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of a frame. 16 MiB and 64 KiB unless set.
    pub frame_bytes: u32,
    /// How many frames may wait between a connection and the node, in each direction. 64 unless set.
    pub queue_frames: usize,
    /// How many connections there may be. 256 unless set.
    pub connections: usize,
    /// How many of them with one peer. Two regions that dial each other at the same moment have two for a while. 4 unless set.
    pub connections_per_peer: usize,
    /// How many that came in may be at the handshake. 64 unless set.
    pub handshakes: usize,
    /// How many of them from one address, or from one IPv6 network (/64). 16 unless set.
    pub handshakes_per_address: usize,
}

/// How long is waited for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// For a connection to an address. 5 s unless set.
    pub connect: Duration,
    /// For the TLS handshake. 10 s unless set.
    pub handshake: Duration,
    /// For the peer's preface. 5 s unless set.
    pub preface: Duration,
    /// From the first byte of a frame to its last. 120 s unless set.
    pub frame: Duration,
    /// How often a sign of life is sent where there is nothing else to send. 5 s unless set; more often if the peer demands it.
    pub keep_alive: Duration,
    /// A connection over which nothing came for so long is closed. 20 s unless set, and at least 200 ms.
    pub silence: Duration,
    /// For a peer to take the last frames, when a connection is closed. 2 s unless set.
    pub farewell: Duration,
    /// The first waiting time before dialing again; each is twice the one before. 250 ms unless set.
    pub backoff_least: Duration,
    /// The longest waiting time before dialing again. 30 s unless set.
    pub backoff_most: Duration,
    /// A connection that lasted so long counts as good: the next waiting time is the least. 10 s unless set.
    pub settled: Duration,
    /// How often the files are looked at. 60 s unless set.
    pub reload: Duration,
}

impl TcpConfig {
    /// The settings of a region that dials only, with what goes without saying.
    pub fn new(
        region: RegionName,
        cluster: Uuid,
        domains: Vec<DomainName>,
        security: Security,
        policy: PolicySource,
    ) -> Self {
        Self {
            identity: identity_of(&region),
            region,
            cluster,
            domains,
            listen: None,
            security,
            policy,
            limits: Limits::default(),
            timing: Timing::default(),
            seed: 0,
        }
    }
}

impl CertificateFiles {
    /// The files of a region as `driftless-cert` makes them: `ca.pem`, `REGION.pem` and `REGION.key`.
    pub fn in_folder(folder: impl Into<PathBuf>, region: &RegionName) -> Self {
        let folder = folder.into();
        Self {
            authority: folder.join("ca.pem"),
            certificate: folder.join(format!("{region}.pem")),
            key: folder.join(format!("{region}.key")),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes: (16 << 20) + (64 << 10),
            queue_frames: 64,
            connections: 256,
            connections_per_peer: 4,
            handshakes: 64,
            handshakes_per_address: 16,
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connect: seconds(5),
            handshake: seconds(10),
            preface: seconds(5),
            frame: seconds(120),
            keep_alive: seconds(5),
            silence: seconds(20),
            farewell: seconds(2),
            backoff_least: Duration::from_millis(250),
            backoff_most: seconds(30),
            settled: seconds(10),
            reload: seconds(60),
        }
    }
}
