//! What a store does. The driver decides what is written; a store keeps it.

use std::fmt;

/// Where a domain is kept: a list of records, and the batches of its feed.
///
/// Opening a domain reads all records, in order; so what they mean is the driver's affair, and a store sees bytes. Two things
/// must hold, whatever moment the power fails at:
///
/// - What [`append`](Self::append) returned `Ok` for is there when the store is opened again, whole and unchanged. What it did
///   not return for is there whole or not at all, and nothing later is there without it.
/// - [`publish`](Self::publish) happens at once or not at all.
///
/// All calls block; the driver makes them on a thread that is for them alone, one at a time. A store that has failed may be
/// tried again: a failed call has changed nothing that the next one relies on.
pub trait Store: Send + 'static {
    /// Reads the records of the last published checkpoint in the order in which they were staged, then those that were appended
    /// after it, in order.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] names the first record that cannot be read; what came before it has been given to `take`.
    fn load(&mut self, take: &mut dyn FnMut(Record) -> Result<(), StoreError>) -> Result<(), StoreError>;

    /// Adds a record, and a batch to the feed if there is one, in one step, and waits until both are on disk. Returns the place
    /// of the record, which is greater than all before it.
    ///
    /// # Errors
    /// Nothing was added.
    fn append(&mut self, record: &[u8], feed: Option<&[u8]>) -> Result<Place, StoreError>;

    /// Adds a record to the checkpoint that is being made, without waiting for the disk. Records that are appended meanwhile
    /// are not part of it.
    ///
    /// # Errors
    /// The checkpoint is to be begun anew.
    fn stage(&mut self, record: &[u8]) -> Result<(), StoreError>;

    /// Makes what was staged stand for the former checkpoint and for all records up to and including `upto`, which are dropped,
    /// and waits until that is on disk. The feed is left as it is.
    ///
    /// # Errors
    /// What was published before stands, or, if the disk was gone before that could be known, what was staged; the checkpoint is
    /// to be begun anew.
    fn publish(&mut self, upto: Place) -> Result<(), StoreError>;

    /// Forgets what was staged and not published.
    ///
    /// # Errors
    /// It is forgotten when the store is opened again.
    fn abandon(&mut self) -> Result<(), StoreError>;

    /// The first and the last place of the batches that the feed still holds: those given with the records of these places.
    fn feed_range(&self) -> Result<Option<(Place, Place)>, StoreError>;

    /// The batches of the feed after `after`, in order, up to some `bytes` of them and at least one if there is one.
    ///
    /// # Errors
    /// A batch that cannot be read is named.
    fn feed_after(&self, after: Place, bytes: usize) -> Result<Vec<(Place, Vec<u8>)>, StoreError>;

    /// Drops the batches of the feed up to and including `upto`.
    ///
    /// # Errors
    /// Nothing was dropped.
    fn trim_feed(&mut self, upto: Place) -> Result<(), StoreError>;

    /// Makes what was removed be no more on disk, as far as the store can do that while it is in use.
    ///
    /// # Errors
    /// All that was in the store still is.
    fn compact(&mut self) -> Result<(), StoreError>;

    /// Writes a copy of what is in the store now, which can be opened like a store, to a new file or folder.
    ///
    /// # Errors
    /// There is no copy; the store is as it was.
    fn backup(&mut self, to: &std::path::Path) -> Result<(), StoreError>;

    /// How large it is.
    ///
    /// # Errors
    /// It could not be found out.
    fn size(&self) -> Result<StoreSize, StoreError>;
}

/// The place of an appended record: places only grow, and none is used twice in the life of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(pub u64);

/// A record as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it was appended; none if it is part of the checkpoint.
    pub place: Option<Place>,
    /// What was given.
    pub bytes: Vec<u8>,
}

/// How large a store is, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreSize {
    /// The records of the checkpoint.
    pub checkpoint_bytes: u64,
    /// The records that were appended after it.
    pub log_bytes: u64,
    /// The batches of the feed.
    pub feed_bytes: u64,
    /// All files of the store.
    pub disk_bytes: u64,
}

/// Why a store did not do what it was asked for.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk: it refused, is full, or failed. Nothing changed: make room or mend it, and try again.
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system says.
        error: std::io::Error,
    },
    /// Bytes: what is stored is not what was written.
    Damaged {
        /// What is damaged: a file, and what in it.
        what: String,
        /// What can be saved, and how.
        remedy: String,
    },
    /// Caller: the store was written by another release, in a format that this one does not read.
    Format {
        /// The version that is written there.
        found: u32,
        /// The oldest and the newest version that this release reads.
        readable: (u32, u32),
    },
    /// Caller: another process has the store open.
    Locked {
        /// Which.
        what: String,
    },
    /// Caller: what is asked for is not possible with this store.
    Unsupported {
        /// What.
        what: &'static str,
    },
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, error } => write!(
                f,
                "the disk failed while {doing}: {error}; nothing changed: make room or mend it, then try again"
            ),
            Self::Damaged { what, remedy } => {
                write!(f, "the bytes of {what} are not those that were written; nothing changed: {remedy}")
            }
            Self::Format { found, readable: (oldest, newest) } => write!(
                f,
                "the store has format {found}, and this release reads {oldest} to {newest}; \
                 nothing changed: open it with the release that wrote it"
            ),
            Self::Locked { what } => {
                write!(f, "{what} is open in another process; nothing changed: stop that one first")
            }
            Self::Unsupported { what } => write!(f, "this store cannot {what}; nothing changed"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}
