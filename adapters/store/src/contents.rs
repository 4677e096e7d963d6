//! A store that is looked at: nothing of it is changed, whatever state it is in.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use driftless_node::store::{Place, StoreError};
use redb::{Database, ReadOnlyDatabase, ReadableDatabase, StorageBackend};

use crate::fault::{Fault, guarded};
use crate::file::{builder, create};
use crate::header;
use crate::medium::{AsIs, Behind, FileMedium, Medium, Overlay};
use crate::rows::{Kind, Reading, State};

/// A store, as it was when it was opened to be looked at. The file is not changed, not even mended after a crash.
///
/// # Example
/// ```
/// use driftless_node::store::Store;
/// use driftless_store::{Contents, Entry, FileStore};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("orders.store");
/// let mut store = FileStore::open(&path)?;
/// store.append(b"a record", None)?;
///
/// let contents = Contents::open(&path)?;           // while the store is in use
/// store.append(b"another", None)?;
/// assert!(contents.summary().is_in_use);
/// let mut places = Vec::new();
/// contents.read(&mut |entry| {
///     if let Entry::Log { place, .. } = entry {
///         places.push(place.0);
///     }
///     Ok(())
/// })?;
/// assert_eq!(places, [1]);
///
/// let copy = folder.path().join("copy.store");
/// contents.copy_to(&copy)?;
/// assert_eq!(Contents::open(&copy)?.summary().last, contents.summary().last);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Contents {
    reading: Reading,
    summary: Summary,
    name: String,
    /// Keeps the file open, and what is read in place.
    _source: Source,
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents")
            .field("name", &self.name)
            .field("summary", &self.summary)
            .finish_non_exhaustive()
    }
}

enum Source {
    /// Checked, and mended in memory.
    Mended(#[expect(dead_code, reason = "is kept open")] Database),
    /// As it is, or as a process goes on writing it.
    Shared(#[expect(dead_code, reason = "is kept open")] ReadOnlyDatabase),
}

/// What a store holds, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// The version of the format.
    pub format: u32,
    /// Whether a process had it open.
    pub is_in_use: bool,
    /// The records of the checkpoint, and their bytes.
    pub checkpoint: (u64, u64),
    /// The records that were appended after it, and their bytes.
    pub log: (u64, u64),
    /// The batches of the feed, and their bytes.
    pub feed: (u64, u64),
    /// The place of the newest record. Those up to [`upto`](Self::upto) are in the checkpoint.
    pub last: Place,
    /// The place up to which records are in the checkpoint.
    pub upto: Place,
    /// The first and the last place of the feed.
    pub feed_range: Option<(Place, Place)>,
    /// How many checkpoints were published.
    pub generation: u64,
    /// How many times it was changed.
    pub commits: u64,
    /// The size of the file.
    pub disk_bytes: u64,
}

/// A record, or a batch of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A record of the checkpoint.
    Checkpoint {
        /// Which, counted from zero.
        number: u64,
        /// What was given.
        bytes: Vec<u8>,
    },
    /// A record that was appended after it.
    Log {
        /// Where.
        place: Place,
        /// What was given.
        bytes: Vec<u8>,
    },
    /// A batch of the feed.
    Feed {
        /// The place of the record that it was given with.
        place: Place,
        /// What was given.
        bytes: Vec<u8>,
    },
}

impl Entry {
    fn of(kind: Kind, number: u64, bytes: Vec<u8>) -> Self {
        let place = Place(number);
        match kind {
            Kind::Checkpoint => Self::Checkpoint { number, bytes },
            Kind::Log => Self::Log { place, bytes },
            Kind::Feed => Self::Feed { place, bytes },
        }
    }
}

/// What is whole of a damaged store.
#[derive(Debug)]
pub(crate) struct Saved {
    /// All records up to this place are whole.
    pub(crate) last: Place,
    /// The damage, if there is any.
    pub(crate) damage: Option<StoreError>,
}

impl Contents {
    /// Opens the store at `path`. If no process has it open, all of it is read and its checksums are compared; else it is read
    /// as it is now, while that process goes on.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        let name = path.display().to_string();
        Self::open_whole(&path).map_err(|fault| fault.tell("opening the store", &name))
    }

    fn open_whole(path: &Path) -> Result<Self, Fault> {
        let writable = FileMedium { path: path.to_owned(), is_writable: true };
        let file = match writable.open() {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                return Self::open_shared(path, false).or_else(|fault| match fault {
                    Fault::NotClosed => Self::open_as_is(path),
                    fault => Err(fault),
                });
            }
            opened => opened.map_err(Fault::Io)?,
        };
        let finished = header::read(&*file)?;
        let mended = guarded(|| {
            let overlay = Overlay::new(Arc::clone(&file)).map_err(Fault::Io)?;
            let database =
                builder().set_check_integrity_on_open(true).create_with_backend(Behind(Arc::new(overlay)))?;
            let reading = Reading::of(&database.begin_read()?)?;
            Ok((reading, Source::Mended(database)))
        });
        match mended {
            Ok((reading, source)) => Self::of(reading, source, &*file, finished, path, false),
            Err(Fault::Locked) => Self::open_shared(path, true),
            Err(fault) => Err(fault),
        }
    }

    /// Opens a store beside the process that writes it, if there is one.
    fn open_shared(path: &Path, is_in_use: bool) -> Result<Self, Fault> {
        Self::open_read_only(path, is_in_use, Behind)
    }

    /// Opens a store that may be damaged: what is whole can be read.
    pub(crate) fn open_damaged(path: &Path) -> Result<Self, StoreError> {
        let opened = Self::open_whole(path).or_else(|fault| match fault {
            Fault::Damaged(_) => Self::open_as_is(path),
            fault => Err(fault),
        });
        opened.map_err(|fault| fault.tell("opening the store", &path.display().to_string()))
    }

    fn open_as_is(path: &Path) -> Result<Self, Fault> {
        Self::open_read_only(path, false, |file| AsIs(Behind(file)))
    }

    fn open_read_only<B: StorageBackend>(
        path: &Path,
        is_in_use: bool,
        behind: impl Fn(Arc<dyn StorageBackend>) -> B,
    ) -> Result<Self, Fault> {
        let file = FileMedium { path: path.to_owned(), is_writable: false }.open().map_err(Fault::Io)?;
        let finished = header::read(&*file)?;
        let (reading, source) = guarded(|| {
            let database = builder().open_read_only_with_backend(behind(Arc::clone(&file)))?;
            let reading = Reading::of(&database.begin_read()?)?;
            Ok((reading, Source::Shared(database)))
        })?;
        Self::of(reading, source, &*file, if is_in_use { 0 } else { finished }, path, is_in_use)
    }

    fn of(
        reading: Reading,
        source: Source,
        file: &dyn StorageBackend,
        finished: u64,
        path: &Path,
        is_in_use: bool,
    ) -> Result<Self, Fault> {
        reading.state.check(finished)?;
        let State { last, upto, generation, commits, .. } = reading.state;
        let state = &reading.state;
        let summary = Summary {
            format: header::VERSION,
            is_in_use,
            checkpoint: (state.checkpoint_records, state.checkpoint_bytes),
            log: (last - upto, state.log_bytes),
            feed: (state.feed_batches, state.feed_bytes),
            last: Place(last),
            upto: Place(upto),
            feed_range: guarded(|| reading.feed_range())?.map(|(first, last)| (Place(first), Place(last))),
            generation,
            commits,
            disk_bytes: file.len().map_err(Fault::Io)?,
        };
        Ok(Self { reading, summary, name: path.display().to_string(), _source: source })
    }

    /// What the store holds, in numbers.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Gives all to `take`: the checkpoint, the log, the feed, each in order. What is missing is damage.
    ///
    /// # Errors
    /// See [`StoreError`]; and what `take` gives.
    pub fn read(&self, take: &mut dyn FnMut(Entry) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let read = guarded(|| {
            self.reading
                .all(&mut |kind, number, bytes| take(Entry::of(kind, number, bytes)).map_err(Fault::Caller))
        });
        self.told("reading the store", read)
    }

    /// Writes a copy of the store to a new file.
    ///
    /// # Errors
    /// There is no copy.
    pub fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        create(path, &mut |copy| copy.copy(&self.reading))
    }

    /// Finds out what can be saved of a damaged store: it, as it was at some earlier moment. The feed is left out of this
    /// unless `with_feed`: then that moment is one at which its readers had missed nothing, either.
    ///
    /// # Errors
    /// Nothing can be saved.
    pub(crate) fn whole(&self, with_feed: bool) -> Result<Saved, StoreError> {
        let State { upto, last, checkpoint_records, .. } = self.reading.state;
        let mut saved = (checkpoint_records == 0).then_some(upto);
        let records = guarded(|| {
            self.reading.records(&mut |kind, number, _| {
                match kind {
                    Kind::Log => saved = Some(number),
                    _ if number + 1 == checkpoint_records => saved = Some(upto),
                    _ => {}
                }
                Ok(true)
            })
        });
        let mut damage = self.told("reading the store", records).err();
        let mut saved = if damage.is_none() { Some(last) } else { saved };
        if with_feed {
            let mut fed = 0;
            let batches = guarded(|| {
                self.reading.feed(0, &mut |number, _| {
                    fed = number;
                    Ok(true)
                })
            });
            if let Err(error) = self.told("reading the feed", batches) {
                saved = saved.filter(|_| fed >= upto).map(|place| place.min(fed));
                damage = damage.or(Some(error));
            }
        }
        match (saved, damage) {
            (Some(place), damage) => Ok(Saved { last: Place(place), damage }),
            (None, Some(error)) => Err(error),
            (None, None) => Err(StoreError::Unsupported { what: "be read" }),
        }
    }

    /// Gives what is whole up to `last` to `take`.
    pub(crate) fn read_upto(
        &self,
        last: Place,
        with_feed: bool,
        take: &mut dyn FnMut(Entry) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let State { upto, checkpoint_records, .. } = self.reading.state;
        // What comes after the last record that is wanted is not even looked at.
        let is_last = |kind, number| match kind {
            Kind::Checkpoint => last.0 <= upto && number + 1 == checkpoint_records,
            Kind::Log | Kind::Feed => number >= last.0,
        };
        let mut give = |kind, number, bytes| {
            take(Entry::of(kind, number, bytes)).map_err(Fault::Caller)?;
            Ok(!is_last(kind, number))
        };
        let read = guarded(|| {
            if last.0 > upto || checkpoint_records > 0 {
                self.reading.records(&mut give)?;
            }
            match self.reading.feed_range()? {
                Some((first, _)) if with_feed && first <= last.0 => {
                    self.reading.feed(0, &mut |number, batch| {
                        if number > last.0 { Ok(false) } else { give(Kind::Feed, number, batch) }
                    })
                }
                _ => Ok(()),
            }
        });
        self.told("reading the store", read)
    }

    fn told<R>(&self, doing: &'static str, result: Result<R, Fault>) -> Result<R, StoreError> {
        result.map_err(|fault| fault.tell(doing, &self.name))
    }
}
