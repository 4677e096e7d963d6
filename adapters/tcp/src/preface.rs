//! What both sides say of themselves before the first frame. `docs/tcp.md` has it byte by byte.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use driftless_node::RegionName;
use driftless_node::connection::DomainName;
use uuid::Uuid;

use crate::reason::{Farewell, Reason};

/// The bytes that each side begins with.
const MAGIC: [u8; 8] = *b"DRIFTTCP";

/// The oldest and the newest version that is spoken here.
pub(crate) const VERSIONS: (u8, u8) = (1, 1);

/// The bytes before the body.
pub(crate) const HEAD_BYTES: usize = 13;

/// The most bytes of a body.
const MOST_BODY_BYTES: usize = 20_000;

/// The most domains that a side has.
pub(crate) const MOST_DOMAINS: usize = 255;

const HELLO: u8 = 1;
const REFUSAL: u8 = 2;

/// What a side says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) cluster: Uuid,
    pub(crate) region: RegionName,
    /// After how many milliseconds without a byte it gives the peer up.
    pub(crate) silence_ms: u32,
    /// The most bytes of a frame that it takes.
    pub(crate) frame_bytes: u32,
    /// The domains that it has and that the peer may read. Frames name them by their place.
    pub(crate) domains: Vec<DomainName>,
}

/// The part of a preface that is the same in all versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    kind: u8,
    versions: (u8, u8),
    pub(crate) body_bytes: usize,
}

impl Hello {
    pub(crate) fn encode(&self) -> Bytes {
        let mut body = BytesMut::new();
        body.put_slice(self.cluster.as_bytes());
        put_name(&mut body, self.region.as_str());
        body.put_u32(self.silence_ms);
        body.put_u32(self.frame_bytes);
        body.put_u8(u8::try_from(self.domains.len()).expect("a transport has no more than 255 domains"));
        for domain in &self.domains {
            put_name(&mut body, domain.as_str());
        }
        framed(HELLO, &body)
    }

    fn decode(mut body: &[u8]) -> Option<Self> {
        let mut cluster = [0; 16];
        body.try_copy_to_slice(&mut cluster).ok()?;
        let region = RegionName::new(take_name(&mut body)?).ok()?;
        let silence_ms = body.try_get_u32().ok()?;
        let frame_bytes = body.try_get_u32().ok()?;
        let count = body.try_get_u8().ok()?;
        let mut domains: Vec<DomainName> = Vec::new();
        for _ in 0..count {
            let domain = DomainName::new(take_name(&mut body)?).ok()?;
            if domains.contains(&domain) {
                return None;
            }
            domains.push(domain);
        }
        // What follows is of a later release.
        Some(Self { cluster: Uuid::from_bytes(cluster), region, silence_ms, frame_bytes, domains })
    }
}

/// What is said instead of a preface to whom one does not want to talk.
pub(crate) fn refusal(farewell: Farewell) -> Bytes {
    framed(REFUSAL, &[farewell.0])
}

impl Head {
    /// The head, of [`HEAD_BYTES`] bytes.
    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Self, Reason> {
        let broken = |what| Reason::Broken { what };
        let mut magic = [0; 8];
        bytes.try_copy_to_slice(&mut magic).map_err(|_| broken("a preface"))?;
        if magic != MAGIC {
            return Err(broken("DRIFTTCP"));
        }
        let mut byte = || bytes.try_get_u8().map_err(|_| broken("a preface"));
        let (kind, oldest, newest) = (byte()?, byte()?, byte()?);
        let body_bytes = usize::from(bytes.try_get_u16().map_err(|_| broken("a preface"))?);
        if body_bytes > MOST_BODY_BYTES {
            return Err(broken("a preface of at most 20,000 bytes"));
        }
        Ok(Self { kind, versions: (oldest, newest), body_bytes })
    }

    /// What the peer says of itself, or why it refuses.
    pub(crate) fn hello(self, body: &[u8]) -> Result<Hello, Reason> {
        match self.kind {
            REFUSAL => {
                let farewell = Farewell(body.first().copied().unwrap_or_default());
                let version = Reason::Version { theirs: self.versions };
                Err(if farewell == version.farewell() { version } else { Reason::ByPeer(farewell) })
            }
            HELLO if self.versions.0.max(VERSIONS.0) > self.versions.1.min(VERSIONS.1) => {
                Err(Reason::Version { theirs: self.versions })
            }
            HELLO => Hello::decode(body).ok_or(Reason::Broken { what: "what a region says of itself" }),
            _ => Err(Reason::Broken { what: "a preface or a refusal" }),
        }
    }
}

fn framed(kind: u8, body: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEAD_BYTES + body.len());
    bytes.put_slice(&MAGIC);
    bytes.put_slice(&[kind, VERSIONS.0, VERSIONS.1]);
    bytes.put_u16(u16::try_from(body.len()).expect("255 names of 64 bytes are less than 65,536 bytes"));
    bytes.put_slice(body);
    bytes.freeze()
}

fn put_name(bytes: &mut BytesMut, name: &str) {
    bytes.put_u8(u8::try_from(name.len()).expect("a name has at most 64 bytes"));
    bytes.put_slice(name.as_bytes());
}

fn take_name<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    *bytes = rest;
    std::str::from_utf8(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello {
            cluster: Uuid::from_u128(0xc1),
            region: RegionName::new("eu").unwrap(),
            silence_ms: 20_000,
            frame_bytes: 1 << 24,
            domains: ["orders", "prices"].map(|name| DomainName::new(name).unwrap()).to_vec(),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Hello, Reason> {
        let head = Head::decode(&bytes[..bytes.len().min(HEAD_BYTES)])?;
        let body = &bytes[HEAD_BYTES..];
        assert_eq!(head.body_bytes, body.len());
        head.hello(body)
    }

    #[test]
    fn a_preface_has_the_bytes_that_are_written_down() {
        let bytes = hello().encode();
        let expected = [
            &b"DRIFTTCP\x01\x01\x01\x00\x2a"[..],
            &[0; 15],
            b"\xc1\x02eu\x00\x00\x4e\x20\x01\x00\x00\x00\x02\x06orders\x06prices",
        ]
        .concat();
        assert_eq!(bytes, expected);
        assert_eq!(decode(&bytes), Ok(hello()));
        assert_eq!(refusal(Farewell(3))[..], *b"DRIFTTCP\x02\x01\x01\x00\x01\x03");
    }

    #[test]
    fn what_later_releases_add_is_passed_over() {
        let mut bytes = hello().encode().to_vec();
        bytes.extend(b"later");
        bytes[12] += 5;
        bytes[10] = 9;
        assert_eq!(decode(&bytes), Ok(hello()));
    }

    #[test]
    fn versions_without_one_in_common_are_named() {
        let mut bytes = hello().encode().to_vec();
        (bytes[9], bytes[10]) = (2, 4);
        assert_eq!(decode(&bytes), Err(Reason::Version { theirs: (2, 4) }));
        let mut refused = refusal(Reason::Version { theirs: (0, 0) }.farewell()).to_vec();
        (refused[9], refused[10]) = (3, 3);
        assert_eq!(decode(&refused), Err(Reason::Version { theirs: (3, 3) }));
        assert_eq!(decode(&refusal(Farewell(8))), Err(Reason::ByPeer(Farewell(8))));
    }

    #[test]
    fn broken_prefaces_are_refused() {
        let bytes = hello().encode();
        for length in 0..bytes.len() {
            let mut cut = bytes[..length].to_vec();
            let body = cut.len().saturating_sub(HEAD_BYTES);
            if let Some(length) = cut.get_mut(12) {
                *length = u8::try_from(body).unwrap();
            }
            let head = Head::decode(&cut[..cut.len().min(HEAD_BYTES)]);
            let read = head.and_then(|head| head.hello(cut.get(HEAD_BYTES..).unwrap_or_default()));
            assert!(matches!(read, Err(Reason::Broken { .. })), "{length}");
        }
        let twice = Hello { domains: vec![DomainName::new("orders").unwrap(); 2], ..hello() };
        assert!(matches!(decode(&twice.encode()), Err(Reason::Broken { .. })));
        let mut long = bytes.to_vec();
        long[11] = 0x4f;
        assert!(matches!(Head::decode(&long), Err(Reason::Broken { .. })));
        for (place, byte) in [(8, 3), (0, b'd'), (30, b'E'), (30, 0xff), (29, 0), (29, 200)] {
            let mut wrong = bytes.to_vec();
            wrong[place] = byte;
            assert!(matches!(decode(&wrong), Err(Reason::Broken { .. })), "{place}");
        }
    }
}
