//! The feed of a domain: what reads differently after each write and merge, in order, from any place on.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use driftless::{Change, PathItem, ReplicaId, Timestamp, Value};
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use crate::store::Place;

/// The version of batches that this release writes, and the only one that it reads.
const VERSION: u8 = 1;

/// How many bytes of batches a follower takes at once.
const READ_BYTES: usize = 1 << 20;

/// A place in the feed of one store: all up to it has been seen. It is text (`Display`, `FromStr`), to be kept with what was
/// made of the changes, best in one transaction with it.
///
/// It means something to the store that gave it, and to copies of that store as far as they go back to one past. Every other
/// refuses it.
///
/// # Example
/// ```
/// use driftless_node::Cursor;
///
/// let text = "0000000000000000000000000000000700000000000000ff";
/// let cursor: Cursor = text.parse()?;
/// assert_eq!(cursor.to_string(), text);
/// assert!("no cursor".parse::<Cursor>().is_err());
/// # Ok::<(), driftless_node::CursorError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Which run of which process wrote the place, or began after it.
    pub(crate) tag: ReplicaId,
    pub(crate) place: Place,
}

const TAG_DIGITS: usize = 32;
const PLACE_DIGITS: usize = 16;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:016x}", self.tag.uuid().simple(), self.place.0)
    }
}

/// Why a text is no cursor. To blame: the caller. Nothing changed: take a [snapshot](crate::Domain::feed_start) and go on from
/// there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CursorError {
    /// How many bytes the text has.
    pub length: usize,
}

impl fmt::Display for CursorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the caller's text of {} bytes is no cursor, which has 48 digits of lower-case hexadecimal; \
             nothing changed: take a snapshot with its cursor, and go on from there",
            self.length
        )
    }
}

impl std::error::Error for CursorError {}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let error = CursorError { length: text.len() };
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != TAG_DIGITS + PLACE_DIGITS || !text.bytes().all(is_digit) {
            return Err(error);
        }
        let (tag, place) = text.split_at(TAG_DIGITS);
        let tag = Uuid::try_parse(tag).map_err(|_| error)?;
        let place = u64::from_str_radix(place, 16).map_err(|_| error)?;
        Ok(Self { tag: tag.into(), place: Place(place) })
    }
}

impl Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What reached the disk in one step, and the cursor after it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FeedBatch {
    /// Where to go on once all of it has been seen.
    pub cursor: Cursor,
    /// The writes and merges, in the order in which they were made here.
    pub commits: Vec<FeedCommit>,
}

/// One write, or one merge of what a peer sent. All of it became visible at once.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FeedCommit {
    /// Whether it was written here; else it came from a peer.
    pub is_local: bool,
    /// What reads differently.
    pub changes: Vec<FeedChange>,
}

/// One reading that is not what it was: a [`Change`] that has been to disk.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FeedChange {
    /// Where, from the root on.
    pub path: Vec<FeedStep>,
    /// What was read there before.
    pub before: Option<Value>,
    /// What is read there now.
    pub after: Option<Value>,
    /// The replica whose event led to it.
    pub author: ReplicaId,
    /// The stamp of that event.
    pub stamp: Timestamp,
}

/// One step of the way from the root to what changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum FeedStep {
    /// A field of a struct.
    Field(String),
    /// A key of a map, a name in a document, or an element of a set.
    Key(Value),
}

impl fmt::Display for FeedStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => f.write_str(name),
            Self::Key(key) => fmt::Display::fmt(key, f),
        }
    }
}

/// A write or a merge whose changes are not in the feed yet.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) is_local: bool,
    pub(crate) changes: Vec<Change>,
}

/// What a batch is written as: lists, with a list of none or one where there may be none. In MessagePack, null is a value.
#[derive(Serialize, Deserialize)]
struct Written(u8, Vec<(bool, Vec<WrittenChange>)>);

#[derive(Serialize, Deserialize)]
struct WrittenChange(Vec<(bool, Value)>, Vec<Value>, Vec<Value>, ReplicaId, Timestamp);

/// The bytes of a batch.
///
/// # Errors
/// What serde says: none is known.
pub(crate) fn encode(commits: &[Commit]) -> Result<Vec<u8>, String> {
    let step = |item: &PathItem| match item {
        PathItem::Field(name) => (false, Value::from(*name)),
        PathItem::Key(key) => (true, key.clone()),
        // A kind of step that this release does not know by name.
        other => (true, Value::from(other.to_string())),
    };
    let change = |change: &Change| {
        let Change { path, before, after, author, stamp, .. } = change;
        let list = |value: &Option<Value>| value.iter().cloned().collect();
        WrittenChange(path.iter().map(step).collect(), list(before), list(after), *author, *stamp)
    };
    let commits = commits.iter().map(|commit| (commit.is_local, commit.changes.iter().map(change).collect()));
    rmp_serde::to_vec(&Written(VERSION, commits.collect())).map_err(|error| error.to_string())
}

/// A batch of the feed, as it was read.
///
/// # Errors
/// What is wrong with the bytes.
fn decode(cursor: Cursor, bytes: &[u8]) -> Result<FeedBatch, String> {
    let Written(version, commits) = rmp_serde::from_slice(bytes).map_err(|error| error.to_string())?;
    if version != VERSION {
        return Err(format!("it has version {version}, and this release reads {VERSION}"));
    }
    let step = |(is_key, value): (bool, Value)| match value {
        Value::Text(name) if !is_key => FeedStep::Field(name),
        key => FeedStep::Key(key),
    };
    let change = |WrittenChange(path, before, after, author, stamp)| FeedChange {
        path: path.into_iter().map(step).collect(),
        before: before.into_iter().next(),
        after: after.into_iter().next(),
        author,
        stamp,
    };
    let commits = commits.into_iter().map(|(is_local, changes)| FeedCommit {
        is_local,
        changes: changes.into_iter().map(change).collect(),
    });
    Ok(FeedBatch { cursor, commits: commits.collect() })
}

/// Why nothing more can be read of a feed. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FeedError {
    /// Caller: the domain keeps no feed. Set [`DomainConfig::feed_bytes`](crate::DomainConfig::feed_bytes).
    NotKept,
    /// Caller: what came after the cursor is not kept any more, or could not be told change by change. Take a
    /// [snapshot](crate::Domain::feed_start), and go on from its cursor.
    TooOld {
        /// The cursor.
        cursor: Cursor,
    },
    /// Caller: the cursor is of another store, or of a copy of this one that has gone another way; or of before the feed was
    /// turned off for a while, or commits were issued again with other times. Take a
    /// [snapshot](crate::Domain::feed_start), and go on from its cursor.
    Elsewhere {
        /// The cursor.
        cursor: Cursor,
    },
    /// Bytes, or disk: the store could not read it. What is after it can be read from a later cursor.
    Unreadable {
        /// What the store says.
        reason: String,
    },
    /// Us: the node is shut down. Go on from the last cursor once it is there again.
    Stopped,
}

impl fmt::Display for FeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotKept => f.write_str(
                "the caller's domain keeps no feed; nothing changed: set `feed_bytes`, and take a snapshot with its cursor",
            ),
            Self::TooOld { cursor } => write!(
                f,
                "the caller's cursor {cursor} is older than what the feed has kept without a gap; \
                 nothing changed: take a snapshot with its cursor, and go on from there"
            ),
            Self::Elsewhere { cursor } => write!(
                f,
                "the caller's cursor {cursor} is of another store, or of a copy that went another way; \
                 nothing changed: take a snapshot with its cursor, and go on from there"
            ),
            Self::Unreadable { reason } => write!(
                f,
                "the bytes of the feed cannot be read: {reason}; \
                 nothing changed: take a snapshot with its cursor, and go on from there"
            ),
            Self::Stopped => f.write_str(
                "this node is shut down; nothing changed: go on from the last cursor once it is there again",
            ),
        }
    }
}

impl std::error::Error for FeedError {}

/// A batch as it is stored, and the cursor after it.
pub(crate) type Batch = (Cursor, Vec<u8>);

/// What is asked of the storing thread for a follower.
#[derive(Debug)]
pub(crate) struct FeedRead {
    pub(crate) after: Cursor,
    pub(crate) bytes: usize,
    pub(crate) reply: oneshot::Sender<Result<Vec<Batch>, FeedError>>,
}

/// Where reads of the feed are asked for.
pub(crate) trait Desk: Send + Sync {
    /// Whether it was taken; else nobody is there any more.
    fn ask(&self, read: FeedRead) -> bool;
}

/// Follows the feed of a domain. Made by [`Domain::feed`](crate::Domain::feed).
///
/// What it gives is on disk. It reads from the store, so one that is slow holds nothing back; if it is slower than what is
/// [kept](crate::DomainConfig::feed_bytes) it is told so.
pub struct Feed {
    cursor: Cursor,
    read: VecDeque<Batch>,
    desk: Arc<dyn Desk>,
    /// Changes with each batch.
    head: watch::Receiver<Place>,
    /// Whether there was nothing more when it was last looked.
    is_idle: bool,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

impl Feed {
    pub(crate) fn new(cursor: Cursor, desk: Arc<dyn Desk>, head: watch::Receiver<Place>) -> Self {
        Self { cursor, read: VecDeque::new(), desk, head, is_idle: false }
    }

    /// Where it is: after the last batch that it gave.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The next batch; waits for one if there is none yet. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// [`FeedError`]: what to do is said there.
    pub async fn next(&mut self) -> Result<FeedBatch, FeedError> {
        loop {
            if let Some((cursor, bytes)) = self.read.front() {
                let batch = decode(*cursor, bytes).map_err(|reason| FeedError::Unreadable { reason })?;
                self.read.pop_front();
                self.cursor = batch.cursor;
                return Ok(batch);
            }
            if self.is_idle {
                self.head.changed().await.map_err(|_| FeedError::Stopped)?;
                // Before it waits again: whoever drops the future then looks once more.
                self.is_idle = false;
            }
            self.head.borrow_and_update();
            let (reply, answer) = oneshot::channel();
            if !self.desk.ask(FeedRead { after: self.cursor, bytes: READ_BYTES, reply }) {
                return Err(FeedError::Stopped);
            }
            let read = answer.await.map_err(|_| FeedError::Stopped)??;
            self.is_idle = read.is_empty();
            self.read.extend(read);
        }
    }
}

#[cfg(test)]
mod tests {
    use driftless::{Config, Counter, LwwRegister, MergeMap, Replica};

    use super::*;

    #[test]
    fn changes_are_read_as_they_were_written() {
        let config = Config { changes: true, ..Config::default() };
        let mut eu: Replica<MergeMap<Uuid, LwwRegister<Value>>> =
            Replica::new(ReplicaId::from_u128(1), config);
        let key = Uuid::from_u128(9);
        let values = [Value::Null, Value::from(vec![Value::Null, key.into()]), Value::from(vec![1_u8, 2])];
        let mut commits = Vec::new();
        for value in values.clone() {
            let made =
                eu.write(1_000, |map| map.update(&key, |register| register.set(value))).expect("it is made");
            commits.push(Commit { is_local: true, changes: made.changes });
        }
        let removed = eu.write(1_000, |map| map.remove(&key)).expect("it is made");
        commits.push(Commit { is_local: false, changes: removed.changes });
        let cursor = Cursor { tag: eu.id(), place: Place(3) };
        let bytes = encode(&commits).expect("it can be written");
        let batch = decode(cursor, &bytes).expect("it is read");
        assert_eq!(batch.commits.len(), 4);
        let mut before = None;
        for (commit, value) in batch.commits.iter().zip(values.map(Some).into_iter().chain([None])) {
            let [change] = &commit.changes[..] else { panic!("one change: {commit:?}") };
            assert_eq!(change.path, [FeedStep::Key(Value::of(&key))]);
            assert_eq!((&change.before, &change.after), (&before, &value));
            assert_eq!((change.author, commit.is_local), (eu.id(), value.is_some()));
            before = value;
        }
        assert!(decode(cursor, &bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn each_cursor_has_one_text() {
        let cursor = Cursor { tag: ReplicaId::from_u128(0xab), place: Place(u64::MAX) };
        let text = cursor.to_string();
        assert_eq!(text.parse(), Ok(cursor));
        for wrong in [&text[1..], &text.to_uppercase(), &text.replace('a', "g"), &text.replace('a', "é")] {
            assert_eq!(wrong.parse::<Cursor>(), Err(CursorError { length: wrong.len() }));
        }
    }

    #[test]
    fn fields_stay_fields() {
        #[derive(driftless::Crdt)]
        struct Shop {
            stock: Counter,
        }
        let config = Config { changes: true, ..Config::default() };
        let mut eu: Replica<Shop> = Replica::new(ReplicaId::from_u128(1), config);
        let made = eu.transact(1_000, |shop| shop.stock().add(2)).expect("it is made");
        let bytes = encode(&[Commit { is_local: true, changes: made.changes }]).expect("it can be written");
        let batch = decode(Cursor { tag: eu.id(), place: Place(1) }, &bytes).expect("it is read");
        assert_eq!(batch.commits[0].changes[0].path, [FeedStep::Field("stock".to_owned())]);
        assert_eq!(batch.commits[0].changes[0].after, Some(Value::from(2)));
    }
}
