//! Why a link was refused, or came to an end.

use std::fmt;

use driftless_node::connection::DomainName;

use crate::server::ServerError;

/// Why a link was refused, or came to an end. Nothing of the data changed by it; the peer is called again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Network, or server: the connection to the server broke.
    Disconnected,
    /// Operator, or server: this region cannot use its server.
    Unfit(ServerError),
    /// Network, or peer: no beat came for so long that the peer is taken for gone.
    Silent,
    /// Peer: it has begun anew.
    Restarted,
    /// Server, or network: messages that the server had taken did not come.
    Gap {
        /// The sequence number of the first of them.
        missing: u64,
    },
    /// Server, or network: nothing can be sent to the peer's inbox.
    Unsent {
        /// Why.
        what: String,
    },
    /// Server: the own inbox cannot be read.
    Unread {
        /// Why.
        what: String,
    },
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
    /// Peer: it is in no peer list.
    NotListed,
    /// Somebody sends as this region to this region.
    Itself,
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
        /// How many bytes it has, as far as is known.
        bytes: u64,
        /// How many are taken.
        most: u32,
    },
    /// Operator: this side is shutting down.
    ShuttingDown,
    /// Us: the node wants it closed.
    ByNode,
    /// Peer: it refused or closed the link, and says why.
    ByPeer(Farewell),
}

/// What a side says when it refuses or closes a link: one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Farewell(pub(crate) u8);

impl Farewell {
    pub(crate) const BY_NODE: Self = Self(2);

    /// Its byte.
    pub fn code(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Farewell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "no reason is given",
            1 => "it is shutting down",
            2 => "its node closed the link",
            3 => "we are not in its peer list",
            5 => "it speaks other versions of the protocol",
            8 => "its peer list cannot be loaded",
            9 => "its peer list was changed",
            10 => "we sent a frame of a domain that we may not read, or did not offer",
            11 => "we sent what is not of the protocol",
            12 => "we sent a frame that is too large for it",
            15 => "it has lost patience with us",
            16 => "something that we sent did not come",
            17 => "its server does not serve it",
            _ => "its reason is not known to this release",
        })
    }
}

impl Reason {
    /// What the peer is told. The numbers are those of TCP, as far as they go.
    pub(crate) fn farewell(&self) -> Farewell {
        Farewell(match self {
            Self::Withheld { .. } | Self::Restarted | Self::Itself => 0,
            Self::ShuttingDown => 1,
            Self::ByNode | Self::ByPeer(_) => 2,
            Self::NotListed => 3,
            Self::Version { .. } => 5,
            Self::NoPolicy => 8,
            Self::PolicyChanged => 9,
            Self::NotGranted { .. } | Self::UnknownDomain { .. } => 10,
            Self::Broken { .. } => 11,
            Self::TooLarge { .. } => 12,
            Self::Silent => 15,
            Self::Gap { .. } => 16,
            Self::Disconnected | Self::Unfit(_) | Self::Unsent { .. } | Self::Unread { .. } => 17,
        })
    }

    /// Whether what was handed over before may still be sent. It may not if the peer may not have it any more.
    pub(crate) fn is_orderly(&self) -> bool {
        matches!(self, Self::ShuttingDown | Self::ByNode)
    }

    /// Whether somebody should look at it: the peer or the operator did what does not pass by itself.
    pub(crate) fn is_refusal(&self) -> bool {
        !matches!(
            self,
            Self::Disconnected
                | Self::Silent
                | Self::Restarted
                | Self::ShuttingDown
                | Self::ByNode
                | Self::ByPeer(_)
        )
    }

    /// One word, as it stands in logs and counters.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Unfit(_) => "unfit",
            Self::Silent => "silent",
            Self::Restarted => "restarted",
            Self::Gap { .. } => "gap",
            Self::Unsent { .. } => "unsent",
            Self::Unread { .. } => "unread",
            Self::Broken { .. } => "broken",
            Self::Version { .. } => "version",
            Self::NotListed => "not_listed",
            Self::Itself => "itself",
            Self::NoPolicy => "no_policy",
            Self::PolicyChanged => "policy_changed",
            Self::NotGranted { .. } => "not_granted",
            Self::Withheld { .. } => "withheld",
            Self::UnknownDomain { .. } => "unknown_domain",
            Self::TooLarge { .. } => "too_large",
            Self::ShuttingDown => "shutting_down",
            Self::ByNode => "by_node",
            Self::ByPeer(_) => "by_peer",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected => f.write_str("the connection to the server broke"),
            Self::Unfit(error) => error.fmt(f),
            Self::Silent => f.write_str("no beat came for too long, so the peer is taken for gone"),
            Self::Restarted => f.write_str("the peer has begun anew"),
            Self::Gap { missing } => {
                write!(f, "message {missing} did not come, so the link begins anew and repairs it")
            }
            Self::Unsent { what } => write!(f, "nothing can be sent to the peer's inbox: {what}"),
            Self::Unread { what } => write!(f, "this region's inbox cannot be read: {what}"),
            Self::Broken { what } => {
                write!(f, "the peer's bytes are not of this protocol, which has {what} there")
            }
            Self::Version { theirs: (oldest, newest) } => {
                write!(
                    f,
                    "the peer speaks the versions {oldest} to {newest} of the protocol; upgrade the older side"
                )
            }
            Self::NotListed => f.write_str("the sender is not in the peer list"),
            Self::Itself => f.write_str(
                "somebody sends to this region in its own name; one process is a region, at one place",
            ),
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
        let gap = Reason::Gap { missing: 7 };
        let reasons = [Reason::ShuttingDown, Reason::NoPolicy, gap, Reason::Disconnected, Reason::Restarted];
        let words: Vec<String> = reasons.iter().map(|reason| reason.farewell().to_string()).collect();
        assert_eq!(words[0], "it is shutting down");
        assert_eq!(words[1], "its peer list cannot be loaded");
        assert_eq!(words[2], "something that we sent did not come");
        assert_eq!(words[3], "its server does not serve it");
        assert_eq!(words[4], "no reason is given");
        assert_eq!(Farewell(200).to_string(), "its reason is not known to this release");
    }
}
