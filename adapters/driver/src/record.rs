//! The records that a node appends to a store: what they hold, byte by byte.
//!
//! A record is a version byte and parts. All numbers are big-endian.
//!
//! ```text
//! record    version 1 (u8), then parts up to the end
//! part      tag (u8), length (u64), so many bytes
//! tag 1     identity: whose store it is, and under which id it is written from here on; the last one read counts
//! tag 2     message: a delta as `Delta::encode` or `Delta::into_chunks` wrote it; chunks stand one after the other
//!
//! identity  cluster (16) · member (16) · id (16) · opened (u64) · feed floor (u64) · last place (u64)
//!           · length of the domain's name, and 128 more if values were held that the writer could not read (u8) · the name
//!           · for each run, up to the end of the part: tag (16) · after (u64)
//! ```
//!
//! A part with another tag, or a record of another version, is of a newer release: opening fails rather than leaving it out.

use std::fmt;

use driftless::ReplicaId;
use uuid::Uuid;

use crate::store::Place;

/// The version of records that this release writes, and the only one that it reads.
pub const VERSION: u8 = 1;

const IDENTITY: u8 = 1;
const MESSAGE: u8 = 2;

/// Beside the length of a name, which has at most 64 bytes: whether values were held that could not be read.
const UNREADABLE: u8 = 0x80;

/// What stands in a record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part<'a> {
    /// Whose store it is.
    Identity(Identity),
    /// A message of the engine: a delta, or a chunk of one.
    Message(&'a [u8]),
}

/// Whose store it is, and under which id it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster that it belongs to.
    pub cluster: Uuid,
    /// The domain that it keeps.
    pub domain: String,
    /// The member of the cluster that it is: made with the store, and the same through all restarts.
    pub member: ReplicaId,
    /// The id under which it is written from here on.
    pub id: ReplicaId,
    /// How many times it was opened.
    pub opened: u64,
    /// The feed can be read after places from here on; what came before is not complete.
    pub feed_floor: Place,
    /// Whether it held values that the release which wrote this could not read: another may read them.
    pub has_unreadable: bool,
    /// The last place that was taken when this was written.
    pub last: Place,
    /// Who wrote the feed from which place on, oldest first: by that a cursor of another copy of this store is told from ours.
    pub runs: Vec<Run>,
}

/// A stretch of the feed that was written by one run of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The id that the process had when it began; nobody else has it.
    pub tag: ReplicaId,
    /// The last place before it.
    pub after: Place,
}

/// Why bytes are no record. To blame: the bytes. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// They end too early, or something else stands where the format asks for this.
    Expected {
        /// What the format asks for.
        what: &'static str,
    },
    /// They were written by a newer release.
    Newer {
        /// What this release does not know.
        what: &'static str,
        /// Its number.
        found: u8,
    },
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expected { what } => write!(
                f,
                "the bytes are no record of a node, which has {what} there; nothing changed: restore a backup of the store"
            ),
            Self::Newer { what, found } => write!(
                f,
                "the bytes have {what} {found}, which this release does not know; \
                 nothing changed: open the store with the release that wrote it"
            ),
        }
    }
}

impl std::error::Error for RecordError {}

/// The parts of a record, in order.
///
/// # Errors
/// [`RecordError`]: what is wrong with the bytes.
///
/// # Example
/// ```
/// use driftless_node::record::{Part, RecordError, parts};
///
/// let record = [&[1, 2][..], &3_u64.to_be_bytes(), b"abc"].concat();
/// assert_eq!(parts(&record), Ok(vec![Part::Message(b"abc")]));
/// assert_eq!(parts(&[9]), Err(RecordError::Newer { what: "the version", found: 9 }));
/// ```
pub fn parts(record: &[u8]) -> Result<Vec<Part<'_>>, RecordError> {
    let (version, mut rest) = record.split_first().ok_or(RecordError::Expected { what: "a version" })?;
    if *version != VERSION {
        return Err(RecordError::Newer { what: "the version", found: *version });
    }
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let [tag] = take::<1>(&mut rest, "a tag")?;
        let length = number(&mut rest, "a length")?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let bytes =
            rest.split_off(..length).ok_or(RecordError::Expected { what: "as many bytes as it says" })?;
        parts.push(match tag {
            IDENTITY => Part::Identity(Identity::read(bytes)?),
            MESSAGE => Part::Message(bytes),
            found => return Err(RecordError::Newer { what: "a part with the tag", found }),
        });
    }
    Ok(parts)
}

/// A record that is being written.
#[derive(Debug)]
pub(crate) struct Writing(Vec<u8>);

impl Writing {
    pub(crate) fn new() -> Self {
        Self(vec![VERSION])
    }

    pub(crate) fn identity(mut self, identity: &Identity) -> Self {
        self.part(IDENTITY, &identity.bytes());
        self
    }

    pub(crate) fn message(mut self, message: &[u8]) -> Self {
        self.part(MESSAGE, message);
        self
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }

    fn part(&mut self, tag: u8, bytes: &[u8]) {
        self.0.reserve(9 + bytes.len());
        self.0.push(tag);
        self.0.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.0.extend_from_slice(bytes);
    }
}

impl Identity {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(73 + self.domain.len() + 24 * self.runs.len());
        bytes.extend_from_slice(self.cluster.as_bytes());
        bytes.extend_from_slice(self.member.uuid().as_bytes());
        bytes.extend_from_slice(self.id.uuid().as_bytes());
        bytes.extend_from_slice(&self.opened.to_be_bytes());
        bytes.extend_from_slice(&self.feed_floor.0.to_be_bytes());
        bytes.extend_from_slice(&self.last.0.to_be_bytes());
        // A name has at most 64 bytes.
        bytes.push(self.domain.len() as u8 | if self.has_unreadable { UNREADABLE } else { 0 });
        bytes.extend_from_slice(self.domain.as_bytes());
        for run in &self.runs {
            bytes.extend_from_slice(run.tag.uuid().as_bytes());
            bytes.extend_from_slice(&run.after.0.to_be_bytes());
        }
        bytes
    }

    fn read(mut rest: &[u8]) -> Result<Self, RecordError> {
        let rest = &mut rest;
        let cluster = Uuid::from_bytes(take(rest, "a cluster")?);
        let member = id(rest, "a member")?;
        let written_as = id(rest, "an id")?;
        let opened = number(rest, "how often it was opened")?;
        let feed_floor = Place(number(rest, "where the feed begins")?);
        let last = Place(number(rest, "the last place")?);
        let [length] = take::<1>(rest, "the length of a name")?;
        let wrong_name = RecordError::Expected { what: "a name" };
        let has_unreadable = length & UNREADABLE > 0;
        let name = rest.split_off(..usize::from(length & !UNREADABLE)).ok_or(wrong_name.clone())?;
        let domain = std::str::from_utf8(name).map_err(|_| wrong_name)?.to_owned();
        let mut runs = Vec::new();
        while !rest.is_empty() {
            let tag = id(rest, "the tag of a run")?;
            runs.push(Run { tag, after: Place(number(rest, "where a run begins")?) });
        }
        Ok(Self { cluster, domain, member, id: written_as, opened, feed_floor, has_unreadable, last, runs })
    }
}

fn take<const N: usize>(rest: &mut &[u8], what: &'static str) -> Result<[u8; N], RecordError> {
    let (bytes, after) = rest.split_first_chunk::<N>().ok_or(RecordError::Expected { what })?;
    *rest = after;
    Ok(*bytes)
}

fn number(rest: &mut &[u8], what: &'static str) -> Result<u64, RecordError> {
    take(rest, what).map(u64::from_be_bytes)
}

fn id(rest: &mut &[u8], what: &'static str) -> Result<ReplicaId, RecordError> {
    take(rest, what).map(|bytes| ReplicaId::new(Uuid::from_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            cluster: Uuid::from_u128(0xc1),
            domain: "users".to_owned(),
            member: ReplicaId::from_u128(0xe1),
            id: ReplicaId::from_u128(7),
            opened: 3,
            feed_floor: Place(5),
            has_unreadable: false,
            last: Place(9),
            runs: vec![
                Run { tag: ReplicaId::from_u128(6), after: Place(0) },
                Run { tag: ReplicaId::from_u128(7), after: Place(9) },
            ],
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_no_cut_or_changed_one_is() {
        let record = Writing::new().identity(&identity()).message(b"abc").message(b"").finish();
        let expected = vec![Part::Identity(identity()), Part::Message(b"abc"), Part::Message(b"")];
        assert_eq!(parts(&record), Ok(expected.clone()));
        for length in 0..record.len() {
            // Cut between two parts, or between two runs of an identity that says its length, it would be shorter.
            if let Ok(read) = parts(&record[..length]) {
                assert!(expected.starts_with(&read) && read.len() < expected.len(), "{length}");
            }
        }
        for place in 0..record.len() {
            let mut wrong = record.clone();
            wrong[place] ^= 0x80;
            assert_ne!(parts(&wrong), Ok(expected.clone()), "{place}");
        }
    }

    #[test]
    fn the_bytes_stay_what_they_are() {
        let record = Writing::new().identity(&identity()).message(b"abc").finish();
        let hex: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
        let id = |number: u64| format!("{number:032x}");
        let number = |number: u64| format!("{number:016x}");
        let identity =
            [id(0xc1), id(0xe1), id(7), number(3), number(5), number(9), "057573657273".to_owned()];
        let runs = [id(6), number(0), id(7), number(9)];
        let unread = Identity { has_unreadable: true, ..self::identity() };
        let record = Writing::new().identity(&unread).finish();
        assert_eq!(parts(&record), Ok(vec![Part::Identity(unread)]));
        let expected = ["01".to_owned(), "01".to_owned(), number(126), identity.concat(), runs.concat()];
        assert_eq!(hex, expected.concat() + "02" + &number(3) + "616263");
    }

    #[test]
    fn what_a_newer_release_wrote_is_not_left_out() {
        let mut record = Writing::new().finish();
        record.extend([9, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(parts(&record), Err(RecordError::Newer { what: "a part with the tag", found: 9 }));
        assert!(parts(&[]).is_err());
    }
}
