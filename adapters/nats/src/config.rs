//! How a transport is set up.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use driftless_node::RegionName;
use driftless_node::connection::DomainName;
use uuid::Uuid;

use crate::policy::PolicySource;

/// How a [`Transport`](crate::Transport) is set up.
///
/// # Example
/// ```
/// use driftless_node::connection::DomainName;
/// use driftless_nats::{Credentials, Limits, NatsConfig, PolicySource, RegionName, Security, TlsFiles};
/// use uuid::Uuid;
///
/// let config = NatsConfig {
///     credentials: Credentials::File("eu.creds".into()),
///     is_name_believed: true,                             // the server's permissions say who may send as whom
///     limits: Limits { inbox_bytes: 1 << 30, ..Limits::default() },
///     seed: 42,                                           // a fresh random number
///     ..NatsConfig::new(
///         RegionName::new("eu")?,
///         Uuid::from_u128(0xc1),
///         vec![DomainName::new("orders")?],
///         vec!["nats://nats.eu.example.com:4222".to_owned()],
///         Security::Tls(TlsFiles { authority: Some("ca.pem".into()), ..TlsFiles::default() }),
///         PolicySource::File("peers.toml".into()),
///     )
/// };
/// assert_eq!(config.timing.silence.as_secs(), 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct NatsConfig {
    /// The region that this is. One process is it at a time.
    pub region: RegionName,
    /// Which cluster of driftless it is of. It is part of all subjects.
    pub cluster: Uuid,
    /// The domains that the node has. At most 255.
    pub domains: Vec<DomainName>,
    /// The servers of this region, each as `nats://host:port`. The first that answers is used.
    pub servers: Vec<String>,
    /// What all subjects and streams begin with: letters, digits, `-` and `_`. `driftless` unless set.
    pub prefix: String,
    /// The JetStream domain that the inbox is in. None: that of the server.
    pub jetstream_domain: Option<String>,
    /// On how many servers the inbox is kept. 1 unless set; up to 5 where the server is a cluster.
    pub replicas: usize,
    /// How the connection to the server is secured.
    pub security: Security,
    /// As whom the region logs in.
    pub credentials: Credentials,
    /// Whether the server's permissions make sure that nobody sends as another region. Then a peer's name counts as proved, and
    /// is handed on as the principal. Not so unless set.
    pub is_name_believed: bool,
    /// Who may link, and what each may do.
    pub policy: PolicySource,
    /// How much is borne.
    pub limits: Limits,
    /// How long is waited for what.
    pub timing: Timing,
    /// A fresh random number, for the jitter of waiting times.
    pub seed: u64,
}

/// How the connection to the server is secured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security {
    /// TLS, whatever the server asks for.
    Tls(TlsFiles),
    /// None, unless the server asks for TLS: whoever sits between reads all and writes what it likes.
    PlainText,
}

/// The files for TLS, in PEM. They are read at each connecting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates of the authorities that vouch for the server. None: those of the system.
    pub authority: Option<PathBuf>,
    /// The certificate of this region and its key, where the server asks for one.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Whether TLS comes before the server says anything. The server must be set up for it.
    pub is_first: bool,
}

/// As whom a region logs in.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// As nobody.
    None,
    /// A user and a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// The seed of an nkey.
    Seed(String),
    /// A file with a JWT and a seed, as `nsc` makes them.
    File(PathBuf),
}

impl fmt::Debug for Credentials {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Password { user, .. } => write!(f, "Password({user:?})"),
            Self::Seed(_) => f.write_str("Seed"),
            Self::File(path) => write!(f, "File({path:?})"),
        }
    }
}

/// How much is borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of a frame. 16 MiB and 64 KiB unless set.
    pub frame_bytes: u32,
    /// How many frames may wait between a link and the node, in each direction. 64 unless set.
    pub queue_frames: usize,
    /// The most bytes that the messages of one peer may take in the inbox; the server sets so many aside for each. 64 MiB unless
    /// set, and at least 16 KiB.
    pub inbox_bytes: u64,
    /// How many messages of one peer may wait in it. 256 unless set. So a message has at most 256 KiB: a larger frame goes in
    /// parts.
    pub inbox_messages: u32,
    /// How many messages are taken from it at once, for each peer. 32 unless set.
    pub fetch_messages: u16,
    /// How many messages to a peer may be under way to its inbox. 64 unless set.
    pub window_messages: usize,
    /// How many bytes may, and one message more. 4 MiB unless set.
    pub window_bytes: usize,
}

/// How long is waited for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// For a connection to a server. 5 s unless set.
    pub connect: Duration,
    /// For an answer of JetStream: a message is stored, an inbox is made. 5 s unless set.
    pub answer: Duration,
    /// How often a beat is sent over a link. 5 s unless set; more often if the peer demands it.
    pub keep_alive: Duration,
    /// A link over which no beat came for so long is closed. So is one to whose inbox nothing can be sent for so long, unless
    /// that is full. 20 s unless set, and at least 200 ms.
    pub silence: Duration,
    /// For a message that must have come and has not. 10 s unless set; at least two times `answer` is sensible.
    pub gap: Duration,
    /// For the last frames to be sent, when a link is closed. 2 s unless set.
    pub farewell: Duration,
    /// The first waiting time before trying again; each is twice the one before. 250 ms unless set.
    pub backoff_least: Duration,
    /// The longest waiting time before trying again. 30 s unless set.
    pub backoff_most: Duration,
    /// A link that lasted so long counts as good: the next waiting time is the least. 10 s unless set.
    pub settled: Duration,
    /// After how long a message that was taken from the inbox, and whose acknowledgement did not come, is handed out again. 30 s
    /// unless set.
    pub redelivery: Duration,
    /// How long a message may wait in an inbox. One hour unless set.
    pub inbox_age: Duration,
    /// How often the peer list is looked at. 60 s unless set.
    pub reload: Duration,
}

impl NatsConfig {
    /// The settings of a region, with what goes without saying.
    pub fn new(
        region: RegionName,
        cluster: Uuid,
        domains: Vec<DomainName>,
        servers: Vec<String>,
        security: Security,
        policy: PolicySource,
    ) -> Self {
        Self {
            region,
            cluster,
            domains,
            servers,
            prefix: "driftless".to_owned(),
            jetstream_domain: None,
            replicas: 1,
            security,
            credentials: Credentials::None,
            is_name_believed: false,
            policy,
            limits: Limits::default(),
            timing: Timing::default(),
            seed: 0,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes: (16 << 20) + (64 << 10),
            queue_frames: 64,
            inbox_bytes: 64 << 20,
            inbox_messages: 256,
            fetch_messages: 32,
            window_messages: 64,
            window_bytes: 4 << 20,
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connect: seconds(5),
            answer: seconds(5),
            keep_alive: seconds(5),
            silence: seconds(20),
            gap: seconds(10),
            farewell: seconds(2),
            backoff_least: Duration::from_millis(250),
            backoff_most: seconds(30),
            settled: seconds(10),
            redelivery: seconds(30),
            inbox_age: seconds(3600),
            reload: seconds(60),
        }
    }
}
