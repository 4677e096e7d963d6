//! What is live in a store, for who has the type of its state.

use std::fmt;
use std::io::{self, Write};

use driftless::{
    Change, Config, Crdt, Limits, MergeError, PathItem, PendingDelta, Replica, ReplicaId, Unreadable,
    VersionVector,
};
use driftless_node::record::{Part, RecordError, parts};
use driftless_node::store::StoreError;
use serde_json::{Value, json};

use crate::contents::{Contents, Entry};

/// What a store may hold, whatever is accepted of peers.
const ANY: Limits = Limits {
    message_bytes: usize::MAX,
    transfer_bytes: usize::MAX,
    memory_bytes: usize::MAX,
    depth: 1_000,
    elements: usize::MAX,
    siblings: usize::MAX,
    text_bytes: usize::MAX,
    replicas: Limits::MAX_REPLICAS,
};

/// Why what is live in a store could not be read. The store is as it was.
#[derive(Debug)]
#[non_exhaustive]
pub enum LiveError {
    /// The store: see there.
    Store(StoreError),
    /// Bytes: a record is none of a node's.
    Record {
        /// Which, counted from zero: those of the checkpoint, then those of the log.
        index: u64,
        /// What is wrong with it.
        error: RecordError,
    },
    /// Caller, or bytes: a record cannot be merged. Is this the type of the state?
    Merge {
        /// Which, counted from zero: those of the checkpoint, then those of the log.
        index: u64,
        /// Why.
        error: MergeError,
    },
    /// Caller: values are of other types than this type of the state has, and would be left out. Read the store with the type
    /// that wrote them.
    Unreadable(Unreadable),
    /// Bytes: a checkpoint has no end.
    Incomplete,
    /// What the lines are written to.
    Io(io::Error),
}

impl fmt::Display for LiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => fmt::Display::fmt(error, f),
            Self::Record { index, error } => write!(f, "of record {index} of the store: {error}"),
            Self::Merge { index, error } => write!(
                f,
                "record {index} of the store cannot be merged ({error}); \
                 nothing changed: read it with the type of state that wrote it"
            ),
            Self::Unreadable(found) => write!(
                f,
                "the store holds {found}; nothing changed: read it with the type of state that wrote it"
            ),
            Self::Incomplete => f.write_str(
                "the bytes of the store hold a part of a checkpoint and not its end; \
                 nothing changed: restore a backup",
            ),
            Self::Io(error) => write!(f, "the lines could not be written: {error}; no store was changed"),
        }
    }
}

impl std::error::Error for LiveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::Record { error, .. } => Some(error),
            Self::Merge { error, .. } => Some(error),
            Self::Incomplete | Self::Unreadable(_) => None,
            Self::Io(error) => Some(error),
        }
    }
}

impl From<StoreError> for LiveError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for LiveError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Contents {
    /// Reads all that is live, of a store whose state is of the type `S`: each value with the way to it, and who wrote it last.
    ///
    /// # Errors
    /// [`LiveError`].
    ///
    /// # Cost
    /// Of opening the domain, and as much memory again as it takes.
    ///
    /// # Example
    /// ```no_run
    /// use driftless::{LwwRegister, MergeMap};
    /// use driftless_store::Contents;
    ///
    /// type Prices = MergeMap<String, LwwRegister<u32>>;
    /// for value in Contents::open("prices.store")?.live::<Prices>()? {
    ///     println!("{}: {:?}", value.path, value.after);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn live<S: Crdt>(&self) -> Result<Vec<Change>, LiveError> {
        // Two replicas that nobody hears of: their ids issue nothing.
        let mut stored: Replica<S> = Replica::new(ReplicaId::from_u128(1), Config::default());
        let mut pending = PendingDelta::new(&ANY);
        let mut failure = None;
        let mut index = 0;
        let read = self.read(&mut |entry| {
            let (Entry::Checkpoint { bytes, .. } | Entry::Log { bytes, .. }) = entry else { return Ok(()) };
            let taken = take(&mut stored, &mut pending, index, &bytes);
            index += 1;
            taken.map_err(|error| {
                failure = Some(error);
                StoreError::Unsupported { what: "be read on" }
            })
        });
        if let Some(error) = failure {
            return Err(error);
        }
        read?;
        if pending.bytes() > 0 {
            return Err(LiveError::Incomplete);
        }
        // To who holds nothing, all that is live is a change.
        let mut shown: Replica<S> =
            Replica::new(ReplicaId::from_u128(2), Config { changes: true, ..Config::default() });
        let all = stored.delta_since(&VersionVector::new());
        let now_ms = all.to().newest().millis();
        let merged = shown.merge(now_ms, all).map_err(|error| LiveError::Merge { index, error })?;
        if merged.unreadable.is_empty() {
            Ok(merged.changes)
        } else {
            Err(LiveError::Unreadable(merged.unreadable))
        }
    }

    /// Writes all that is live as lines of JSON, of a store whose state is of the type `S`. Returns how many lines there are.
    ///
    /// ```json
    /// {"path":["kettle","price"],"value":2900,"author":"6f1b…","ms":1700000000000}
    /// ```
    ///
    /// # Errors
    /// [`LiveError`].
    pub fn write_live<S: Crdt>(&self, to: &mut dyn Write) -> Result<u64, LiveError> {
        let mut lines = 0;
        for Change { path, after, author, stamp, .. } in self.live::<S>()? {
            let Some(value) = after else { continue };
            let path: Vec<Value> = path.iter().map(item).collect();
            let author = author.uuid().to_string();
            writeln!(
                to,
                "{}",
                json!({ "path": path, "value": value, "author": author, "ms": stamp.millis() })
            )?;
            lines += 1;
        }
        to.flush()?;
        Ok(lines)
    }
}

fn item(item: &PathItem) -> Value {
    match item {
        PathItem::Field(name) => json!(name),
        PathItem::Key(key) => json!(key),
        // There are no others, and the core may come to have some.
        other => json!(other.to_string()),
    }
}

fn take<S: Crdt>(
    stored: &mut Replica<S>,
    pending: &mut PendingDelta<S>,
    index: u64,
    record: &[u8],
) -> Result<(), LiveError> {
    for part in parts(record).map_err(|error| LiveError::Record { index, error })? {
        let Part::Message(message) = part else { continue };
        let failed = |error| LiveError::Merge { index, error };
        let delta = stored.decode_within(message, &ANY).map_err(failed)?;
        if let Some(delta) = pending.push(delta).map_err(|_| LiveError::Incomplete)? {
            stored.merge(delta.to().newest().millis(), delta).map_err(failed)?;
        }
    }
    Ok(())
}
