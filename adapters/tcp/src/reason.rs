//! Why a connection was refused, or came to an end.

use std::fmt;
use std::io;

use driftless_node::RegionName;
use driftless_node::connection::DomainName;

/// Why a connection was refused, or came to an end. Nothing of the data changed by it; a peer that is dialed is dialed again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Network: reading, writing or connecting failed.
    Network {
        /// How.
        kind: io::ErrorKind,
    },
    /// Network: the peer closed without a word, or a proxy between did.
    Cut,
    /// Network, or peer: nothing came for so long that the peer is taken for gone.
    Silent,
    /// Peer: it took too long.
    Late {
        /// For what.
        what: &'static str,
    },
    /// Peer, or operator: the TLS handshake failed. The certificates of one side do not convince the other.
    Tls {
        /// Why, as the TLS library says it.
        what: String,
    },
    /// Peer: it does not say within TLS that it speaks this protocol.
    OtherProtocol,
    /// Bytes: they are not of this protocol.
    Broken {
        /// What should stand there.
        what: &'static str,
    },
    /// Peer: no version of the protocol is spoken by both. Upgrade the older side.
    Version {
        /// The oldest and the newest version that the peer speaks.
        theirs: (u8, u8),
    },
    /// Operator: the peer is of another cluster.
    OtherCluster,
    /// Peer: it is in no peer list.
    NotListed {
        /// The names of its certificate, or the one that it gives itself.
        names: Vec<String>,
    },
    /// Operator: its certificate bears the names of several peers.
    Ambiguous {
        /// Which peers.
        peers: Vec<RegionName>,
    },
    /// Peer: it says that it is another region than its certificate says.
    Impostor {
        /// Who it says it is.
        claimed: RegionName,
    },
    /// Operator: the connection leads to this region itself.
    Itself,
    /// Operator: the peer's certificate is not valid any more.
    Expired,
    /// Operator: the authorities that are trusted were changed, and none of them vouches for the peer any more.
    Untrusted {
        /// Why, as the TLS library says it.
        what: String,
    },
    /// Operator: the peer list cannot be loaded, so nobody is let in.
    NoPolicy,
    /// Operator: the peer list says something else of the peer now.
    PolicyChanged,
    /// Peer: it sent a frame of a domain that it may not read.
    NotGranted {
        /// Which domain.
        domain: DomainName,
    },
    /// Us: the node handed over a frame of a domain that the peer may not read. It was not sent.
    Withheld {
        /// Which domain.
        domain: DomainName,
    },
    /// Peer: it sent a frame of a domain that it did not offer.
    UnknownDomain {
        /// By which number.
        index: u8,
    },
    /// Peer, or us: a frame is larger than the side that it is meant for takes.
    TooLarge {
        /// How many bytes it has.
        bytes: u64,
        /// How many are taken.
        most: u32,
    },
    /// Peer: there are too many connections.
    TooMany {
        /// Of what.
        what: &'static str,
    },
    /// Nobody: there is another connection to the same peer.
    Duplicate,
    /// Operator: this side is shutting down.
    ShuttingDown,
    /// Us: the node wants it closed.
    ByNode,
    /// Peer: it refused or closed the connection, and says why.
    ByPeer(Farewell),
}

/// What a side says when it refuses or closes a connection: one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Farewell(pub(crate) u8);

/// The words, by their byte.
const WORDS: [&str; 16] = [
    "no reason is given",
    "it is shutting down",
    "its node closed the connection",
    "we are not in its peer list",
    "it is of another cluster",
    "it speaks other versions of the protocol",
    "our certificate is not that of the region that we say we are, or of several",
    "our certificate is not valid any more",
    "its peer list cannot be loaded",
    "its peer list was changed",
    "we sent a frame of a domain that we may not read, or did not offer",
    "we sent what is not of the protocol",
    "we sent a frame that is too large for it",
    "it has too many connections",
    "there is another connection between us",
    "it has lost patience with us",
];

impl Farewell {
    pub(crate) const BY_NODE: Self = Self(2);

    /// Its byte.
    pub fn code(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Farewell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WORDS.get(usize::from(self.0)).unwrap_or(&"its reason is not known to this release"))
    }
}

impl Reason {
    /// What the peer is told.
    pub(crate) fn farewell(&self) -> Farewell {
        Farewell(match self {
            Self::Network { .. } | Self::Cut | Self::Tls { .. } => 0,
            Self::OtherProtocol | Self::Withheld { .. } => 0,
            Self::ShuttingDown => 1,
            Self::ByNode | Self::ByPeer(_) => 2,
            Self::NotListed { .. } => 3,
            Self::OtherCluster => 4,
            Self::Version { .. } => 5,
            Self::Impostor { .. } | Self::Ambiguous { .. } | Self::Itself => 6,
            Self::Expired | Self::Untrusted { .. } => 7,
            Self::NoPolicy => 8,
            Self::PolicyChanged => 9,
            Self::NotGranted { .. } | Self::UnknownDomain { .. } => 10,
            Self::Broken { .. } => 11,
            Self::TooLarge { .. } => 12,
            Self::TooMany { .. } => 13,
            Self::Duplicate => 14,
            Self::Silent | Self::Late { .. } => 15,
        })
    }

    /// Whether what was handed over before may still be sent. It may not if the peer may not have it any more.
    pub(crate) fn is_orderly(&self) -> bool {
        matches!(self, Self::ShuttingDown | Self::ByNode | Self::Duplicate)
    }

    /// Whether somebody should look at it: the peer or the operator did what does not pass by itself.
    pub(crate) fn is_refusal(&self) -> bool {
        !matches!(
            self,
            Self::Network { .. }
                | Self::Cut
                | Self::Silent
                | Self::Duplicate
                | Self::ShuttingDown
                | Self::ByNode
                | Self::ByPeer(_)
        )
    }

    /// One word, as it stands in logs and counters.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Network { .. } => "network",
            Self::Cut => "cut",
            Self::Silent => "silent",
            Self::Late { .. } => "late",
            Self::Tls { .. } => "tls",
            Self::OtherProtocol => "other_protocol",
            Self::Broken { .. } => "broken",
            Self::Version { .. } => "version",
            Self::OtherCluster => "other_cluster",
            Self::NotListed { .. } => "not_listed",
            Self::Ambiguous { .. } => "ambiguous",
            Self::Impostor { .. } => "impostor",
            Self::Itself => "itself",
            Self::Expired => "expired",
            Self::Untrusted { .. } => "untrusted",
            Self::NoPolicy => "no_policy",
            Self::PolicyChanged => "policy_changed",
            Self::NotGranted { .. } => "not_granted",
            Self::Withheld { .. } => "withheld",
            Self::UnknownDomain { .. } => "unknown_domain",
            Self::TooLarge { .. } => "too_large",
            Self::TooMany { .. } => "too_many",
            Self::Duplicate => "duplicate",
            Self::ShuttingDown => "shutting_down",
            Self::ByNode => "by_node",
            Self::ByPeer(_) => "by_peer",
        }
    }
}

impl From<io::Error> for Reason {
    fn from(error: io::Error) -> Self {
        // What the peer thinks of our certificate comes with the first bytes that are read after the handshake.
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match (tls, error.kind()) {
            (Some(tls), _) => Self::Tls { what: tls.to_string() },
            (None, io::ErrorKind::UnexpectedEof) => Self::Cut,
            (None, kind) => Self::Network { kind },
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network { kind } => write!(f, "the network failed: {kind}"),
            Self::Cut => f.write_str("the connection was cut without a word"),
            Self::Silent => f.write_str("nothing came for too long, so the peer is taken for gone"),
            Self::Late { what } => write!(f, "{what} took the peer too long"),
            Self::Tls { what } => {
                write!(f, "the TLS handshake failed ({what}); look at the certificates of both sides")
            }
            Self::OtherProtocol => {
                f.write_str("the peer does not say within TLS that it speaks this protocol")
            }
            Self::Broken { what } => {
                write!(f, "the peer's bytes are not of this protocol, which has {what} there")
            }
            Self::Version { theirs: (oldest, newest) } => {
                write!(
                    f,
                    "the peer speaks the versions {oldest} to {newest} of the protocol; upgrade the older side"
                )
            }
            Self::OtherCluster => {
                f.write_str("the peer is of another cluster; set the same one on both sides")
            }
            Self::NotListed { names } => {
                write!(f, "the peer is not in the peer list; it bears the names {names:?}")
            }
            Self::Ambiguous { peers } => {
                let peers: Vec<&str> = peers.iter().map(RegionName::as_str).collect();
                write!(
                    f,
                    "the peer's certificate bears the names of {}; give each its own",
                    peers.join(" and ")
                )
            }
            Self::Impostor { claimed } => {
                write!(f, "the peer says that it is {claimed}, which its certificate does not say")
            }
            Self::Itself => f.write_str("the connection leads to this region itself; correct the addresses"),
            Self::Expired => f.write_str("the peer's certificate is not valid any more; it needs a new one"),
            Self::Untrusted { what } => write!(f, "the peer's certificate is not trusted any more ({what})"),
            Self::NoPolicy => f.write_str("the peer list cannot be loaded, so nobody is let in; correct it"),
            Self::PolicyChanged => f.write_str("the peer list says something else of the peer now"),
            Self::NotGranted { domain } => {
                write!(f, "the peer sent a frame of {domain}, which it may not read; it was not taken")
            }
            Self::Withheld { domain } => {
                write!(f, "the node has a frame of {domain} for a peer that may not read it; it was not sent")
            }
            Self::UnknownDomain { index } => {
                write!(
                    f,
                    "the peer sent a frame of its domain {index}, which it did not offer; it was not taken"
                )
            }
            Self::TooLarge { bytes, most } => write!(f, "a frame has {bytes} bytes, and {most} are taken"),
            Self::TooMany { what } => write!(f, "there are too many {what}"),
            Self::Duplicate => f.write_str("there is another connection to the same peer"),
            Self::ShuttingDown => f.write_str("this side is shutting down"),
            Self::ByNode => f.write_str("the node closed it"),
            Self::ByPeer(farewell) => write!(f, "the peer closed it: {farewell}"),
        }
    }
}

impl std::error::Error for Reason {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_farewell_has_words_and_strange_ones_too() {
        let reasons =
            [Reason::ShuttingDown, Reason::NoPolicy, Reason::Duplicate, Reason::Silent, Reason::Cut];
        let words: Vec<String> = reasons.iter().map(|reason| reason.farewell().to_string()).collect();
        assert_eq!(words[0], "it is shutting down");
        assert_eq!(words[1], "its peer list cannot be loaded");
        assert_eq!(words[2], "there is another connection between us");
        assert_eq!(words[3], "it has lost patience with us");
        assert_eq!(words[4], "no reason is given");
        assert_eq!(Farewell(200).to_string(), "its reason is not known to this release");
    }
}
