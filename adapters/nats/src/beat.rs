//! Beats: how two regions find each other, and see each other alive. `docs/nats.md` has them byte by byte.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use driftless_node::connection::DomainName;
use uuid::Uuid;

use crate::reason::{Farewell, Reason};

/// The bytes that each one begins with.
const MAGIC: [u8; 8] = *b"DRIFTNAT";

/// The oldest and the newest version that is spoken here.
pub(crate) const VERSIONS: (u8, u8) = (1, 1);

/// The most domains that a side has.
pub(crate) const MOST_DOMAINS: usize = 255;

const BEAT: u8 = 1;
const FAREWELL: u8 = 2;

/// What is said over core NATS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// A side is there.
    Beat(Beat),
    /// It refuses, or has ended a session.
    Farewell {
        /// The session that the one to whom it is said had named, and none if that named none.
        yours: Uuid,
        farewell: Farewell,
    },
}

/// What a side says of itself, again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Beat {
    /// The session that it is in, or would begin.
    pub(crate) ours: Uuid,
    /// That of the other side, as far as it has heard: else none.
    pub(crate) yours: Uuid,
    /// The last message of this session that is stored in the other side's inbox.
    pub(crate) stored: u64,
    /// After how many milliseconds without a beat it gives the other side up.
    pub(crate) silence_ms: u32,
    /// The most bytes of a frame that it takes.
    pub(crate) frame_bytes: u32,
    /// The most bytes of a message that its inbox takes.
    pub(crate) message_bytes: u32,
    /// The domains that it has and that the other side may read. Frames name them by their place.
    pub(crate) domains: Vec<DomainName>,
}

impl Beat {
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = head(BEAT);
        bytes.put_slice(self.ours.as_bytes());
        bytes.put_slice(self.yours.as_bytes());
        bytes.put_u64(self.stored);
        bytes.put_u32(self.silence_ms);
        bytes.put_u32(self.frame_bytes);
        bytes.put_u32(self.message_bytes);
        bytes.put_u8(u8::try_from(self.domains.len()).expect("a transport has no more than 255 domains"));
        for domain in &self.domains {
            let name = domain.as_str();
            bytes.put_u8(u8::try_from(name.len()).expect("a name has at most 64 bytes"));
            bytes.put_slice(name.as_bytes());
        }
        bytes.freeze()
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let (ours, yours) = (take_session(&mut bytes)?, take_session(&mut bytes)?);
        let stored = bytes.try_get_u64().ok()?;
        let silence_ms = bytes.try_get_u32().ok()?;
        let frame_bytes = bytes.try_get_u32().ok()?;
        let message_bytes = bytes.try_get_u32().ok()?;
        let count = bytes.try_get_u8().ok()?;
        let mut domains: Vec<DomainName> = Vec::new();
        for _ in 0..count {
            let (length, rest) = bytes.split_first()?;
            let (name, rest) = rest.split_at_checked(usize::from(*length))?;
            bytes = rest;
            let domain = DomainName::new(std::str::from_utf8(name).ok()?).ok()?;
            if domains.contains(&domain) {
                return None;
            }
            domains.push(domain);
        }
        // What follows is of a later release. A side that is there has a session.
        let beat = Self { ours, yours, stored, silence_ms, frame_bytes, message_bytes, domains };
        (!ours.is_nil()).then_some(beat)
    }
}

/// A farewell to whom named this session.
pub(crate) fn farewell(yours: Uuid, farewell: Farewell) -> Bytes {
    let mut bytes = head(FAREWELL);
    bytes.put_slice(yours.as_bytes());
    bytes.put_u8(farewell.code());
    bytes.freeze()
}

fn head(kind: u8) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put_slice(&MAGIC);
    bytes.put_slice(&[kind, VERSIONS.0, VERSIONS.1]);
    bytes
}

impl Said {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Reason> {
        let broken = Reason::Broken { what: "a beat" };
        let (magic, mut bytes) = bytes.split_at_checked(MAGIC.len()).ok_or(broken.clone())?;
        if magic != MAGIC {
            return Err(broken);
        }
        let mut byte = || bytes.try_get_u8().map_err(|_| broken.clone());
        let (kind, oldest, newest) = (byte()?, byte()?, byte()?);
        match kind {
            FAREWELL => {
                let yours = take_session(&mut bytes).ok_or(broken.clone())?;
                let farewell = Farewell(bytes.try_get_u8().map_err(|_| broken)?);
                Ok(Self::Farewell { yours, farewell })
            }
            BEAT if oldest.max(VERSIONS.0) > newest.min(VERSIONS.1) => {
                Err(Reason::Version { theirs: (oldest, newest) })
            }
            BEAT => Beat::decode(bytes).map(Self::Beat).ok_or(broken),
            _ => Err(broken),
        }
    }
}

pub(crate) fn take_session(bytes: &mut &[u8]) -> Option<Uuid> {
    let mut session = [0; 16];
    bytes.try_copy_to_slice(&mut session).ok()?;
    Some(Uuid::from_bytes(session))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat() -> Beat {
        Beat {
            ours: Uuid::from_u128(1),
            yours: Uuid::nil(),
            stored: 7,
            silence_ms: 20_000,
            frame_bytes: 1 << 24,
            message_bytes: 1 << 20,
            domains: ["orders", "prices"].map(|name| DomainName::new(name).unwrap()).to_vec(),
        }
    }

    #[test]
    fn what_is_said_is_heard_and_nothing_else() {
        let whole = beat().encode();
        assert_eq!(Said::decode(&whole), Ok(Said::Beat(beat())));
        for length in 0..whole.len() {
            let cut = Said::decode(&whole[..length]);
            assert!(matches!(cut, Err(Reason::Broken { .. })), "{length}: {cut:?}");
        }
        // A later release may say more.
        assert_eq!(Said::decode(&[&whole[..], b"more"].concat()), Ok(Said::Beat(beat())));
        let goodbye = farewell(Uuid::from_u128(2), Farewell(3));
        let expected = Said::Farewell { yours: Uuid::from_u128(2), farewell: Farewell(3) };
        assert_eq!(Said::decode(&goodbye), Ok(expected));
        for (place, byte) in [(0, b'd'), (8, 9), (26, 0), (64, 200)] {
            let mut wrong = whole.to_vec();
            wrong[place] = byte;
            assert!(matches!(Said::decode(&wrong), Err(Reason::Broken { .. })), "{place}");
        }
        let mut twice = beat();
        twice.domains[1] = twice.domains[0].clone();
        assert!(Said::decode(&twice.encode()).is_err());
    }

    #[test]
    fn another_version_is_told_apart() {
        let mut later = beat().encode().to_vec();
        later[9..11].copy_from_slice(&[2, 3]);
        later.truncate(11);
        assert_eq!(Said::decode(&later), Err(Reason::Version { theirs: (2, 3) }));
        later[9..11].copy_from_slice(&[1, 3]);
        assert!(matches!(Said::decode(&later), Err(Reason::Broken { .. })));
    }
}
