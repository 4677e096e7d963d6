//! The store on disk, as the driver uses it.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use driftless_node::store::{Place, Record, Store, StoreError, StoreSize};
use redb::{ConcurrencyMode, Database, ReadableDatabase, StorageBackend};

use crate::fault::{Fault, guarded};
use crate::header;
use crate::medium::{Behind, FileMedium, Medium};
use crate::rows::{Kind, Reading, State, Writing};

/// What redb may keep in memory. Records are read once, when the store is opened, so more than the pages of the trees' upper
/// levels only makes the process larger.
pub(crate) const CACHE_BYTES: usize = 4 << 20;

/// As much is gathered before it is written, where many records go in one after another.
pub(crate) const GATHERED_BYTES: usize = 4 << 20;

/// A store in one file.
///
/// # Example
/// ```
/// use driftless_node::store::{Place, Store};
/// use driftless_store::FileStore;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("orders.store");
/// let mut store = FileStore::open(&path)?;
/// assert_eq!(store.append(b"a record", Some(b"its changes"))?, Place(1));
/// drop(store);
///
/// let mut records = Vec::new();
/// FileStore::open(&path)?.load(&mut |record| Ok(records.push(record.bytes)))?;
/// assert_eq!(records, [b"a record"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FileStore {
    medium: Box<dyn Medium>,
    name: String,
    /// None after a fault, until the next call.
    open: Option<Open>,
    /// What is known to be stored.
    state: State,
    staging: Option<Staging>,
}

/// The database, and the file below it.
struct Open {
    database: Database,
    file: Arc<dyn StorageBackend>,
}

/// The checkpoint that is being made.
#[derive(Default)]
struct Staging {
    records: u64,
    bytes: u64,
    /// What is not written yet.
    gathered: Vec<Vec<u8>>,
    gathered_bytes: usize,
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore")
            .field("name", &self.name)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl FileStore {
    /// Opens the store at `path`, or makes an empty one. All of it is read, and its checksums compared.
    ///
    /// # Errors
    /// See [`StoreError`]. A file that is there is never replaced.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        let is_there =
            path.try_exists().map_err(|error| StoreError::Io { doing: "looking for the store", error })?;
        if !is_there {
            create(&path, &mut |_| Ok(()))?;
        }
        Self::open_existing(path)
    }

    /// Opens the store at `path`, which must be there.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open_existing(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::open_on(Box::new(FileMedium { path: path.into(), is_writable: true }))
    }

    /// Opens a store wherever it is.
    #[doc(hidden)]
    pub fn open_on(medium: Box<dyn Medium>) -> Result<Self, StoreError> {
        let name = medium.name();
        let mut store = Self { medium, name, open: None, state: State::default(), staging: None };
        let opened = store.reopen().and_then(|(open, state)| {
            store.state = state;
            store.open = Some(open);
            store.drop_strays()
        });
        opened.map_err(|fault| fault.tell("opening the store", &store.name))?;
        Ok(store)
    }

    /// Makes an empty store wherever it is to be.
    #[doc(hidden)]
    pub fn create_on(medium: &dyn Medium) -> Result<(), StoreError> {
        initialize(medium).map(drop).map_err(|fault| fault.tell("making the store", &medium.name()))
    }

    /// Opens the file and reads where it stands.
    fn reopen(&self) -> Result<(Open, State), Fault> {
        let file = self.medium.open().map_err(Fault::Io)?;
        let finished = header::read(&*file)?;
        let open = guarded(|| {
            let database =
                builder().set_check_integrity_on_open(true).create_with_backend(Behind(Arc::clone(&file)))?;
            Ok(Open { database, file })
        })?;
        let state = guarded(|| Ok(Reading::of(&open.database.begin_read()?)?.state))?;
        state.check(finished)?;
        Ok((open, state))
    }

    /// Removes what a process left behind that was stopped while it made a checkpoint.
    fn drop_strays(&mut self) -> Result<(), Fault> {
        let generation = self.state.generation;
        let open = self.open.as_ref().ok_or_else(closed)?;
        guarded(|| {
            let transaction = begin(&open.database)?;
            let found = Writing(&transaction).remove_other_generations(generation)?;
            if found {
                transaction.commit()?;
            } else {
                transaction.abort()?;
            }
            Ok(())
        })
    }

    /// Opens the file anew after a fault. What a call did that had told its caller of nothing is undone.
    fn mend(&mut self) -> Result<(), Fault> {
        if self.open.is_some() {
            return Ok(());
        }
        let (open, stored) = self.reopen()?;
        let known = self.state.last;
        if stored.last > known {
            let mut undone = stored;
            undone.commits += 1;
            guarded(|| {
                let transaction = begin(&open.database)?;
                let writing = Writing(&transaction);
                let number = undone.last;
                let (_, bytes) = writing.remove_one(Kind::Log, number)?;
                let (batches, feed_bytes) = writing.remove_one(Kind::Feed, number)?;
                undone.last = known;
                undone.log_bytes -= bytes;
                undone.feed_batches -= batches;
                undone.feed_bytes -= feed_bytes;
                writing.state(&undone)?;
                Ok(transaction.commit()?)
            })?;
            self.state = undone;
        } else {
            self.state = stored;
        }
        self.open = Some(open);
        Ok(())
    }

    /// Changes the store in one step, and waits for the disk. After a fault nothing was changed.
    fn change(
        &mut self,
        change: impl FnOnce(&Writing<'_>, &mut State) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.mend()?;
        let mut next = self.state.clone();
        next.commits += 1;
        let open = self.open.as_ref().ok_or_else(closed)?;
        let made = guarded(|| {
            let transaction = begin(&open.database)?;
            let writing = Writing(&transaction);
            change(&writing, &mut next)?;
            writing.state(&next)?;
            Ok(transaction.commit()?)
        });
        if let Err(fault) = made {
            // Whether it is on disk cannot be told from the error: look.
            self.open = None;
            let (open, stored) = match self.reopen() {
                Ok(found) => found,
                Err(_) => return Err(fault),
            };
            self.open = Some(open);
            if stored != next {
                self.state = stored;
                return Err(fault);
            }
        }
        self.state = next;
        if let Some(open) = &self.open {
            // It helps to find damage, and no more: that it fails harms nothing.
            let _ = header::witness(&*open.file, self.state.commits);
        }
        Ok(())
    }

    /// Writes what was gathered of the checkpoint that is being made.
    fn flush_staged(&mut self) -> Result<(), Fault> {
        self.mend()?;
        let generation = self.state.generation + 1;
        let (Some(staging), Some(open)) = (&mut self.staging, &self.open) else { return Ok(()) };
        let first = staging.records - staging.gathered.len() as u64;
        let made = guarded(|| {
            let transaction = begin(&open.database)?;
            if first == 0 {
                // Of one that failed something may be left, if the disk did not let it be removed.
                Writing(&transaction).remove(Kind::Checkpoint, generation, u64::MAX)?;
            }
            let records = (first..).zip(staging.gathered.iter().map(Vec::as_slice));
            Writing(&transaction).add(Kind::Checkpoint, generation, records)?;
            Ok(transaction.commit()?)
        });
        staging.gathered.clear();
        staging.gathered_bytes = 0;
        if made.is_err() {
            self.open = None;
            self.mend()?;
        }
        made
    }

    fn drop_staged(&mut self) -> Result<(), Fault> {
        self.staging = None;
        self.mend()?;
        let dropped = self.drop_strays();
        if dropped.is_err() {
            self.open = None;
        }
        dropped
    }

    fn reading<R>(&self, read: impl FnOnce(&Reading) -> Result<R, Fault>) -> Result<R, Fault> {
        let open = self.open.as_ref().ok_or_else(closed)?;
        guarded(|| read(&Reading::of(&open.database.begin_read()?)?))
    }

    fn told<R>(&self, doing: &'static str, result: Result<R, Fault>) -> Result<R, StoreError> {
        result.map_err(|fault| fault.tell(doing, &self.name))
    }
}

impl Store for FileStore {
    fn load(&mut self, take: &mut dyn FnMut(Record) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let mut panic = None;
        let loaded = self.mend().and_then(|()| {
            self.reading(|reading| {
                reading.records(&mut |kind, number, bytes| {
                    let place = (kind == Kind::Log).then_some(Place(number));
                    // A panic of the caller is no damage, and is the caller's.
                    let taken = catch_unwind(AssertUnwindSafe(|| take(Record { place, bytes })));
                    taken
                        .map_err(|payload| panic = Some(payload))
                        .map_or(Err(closed()), |taken| taken.map(|()| true).map_err(Fault::Caller))
                })
            })
        });
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
        self.told("reading the records", loaded)
    }

    fn append(&mut self, record: &[u8], feed: Option<&[u8]>) -> Result<Place, StoreError> {
        let appended = self.change(|writing, state| {
            state.last += 1;
            state.log_bytes += record.len() as u64;
            writing.add(Kind::Log, 0, [(state.last, record)])?;
            if let Some(batch) = feed {
                state.feed_batches += 1;
                state.feed_bytes += batch.len() as u64;
                writing.add(Kind::Feed, 0, [(state.last, batch)])?;
            }
            Ok(())
        });
        self.told("appending a record", appended)?;
        Ok(Place(self.state.last))
    }

    fn stage(&mut self, record: &[u8]) -> Result<(), StoreError> {
        let staging = self.staging.get_or_insert_default();
        staging.records += 1;
        staging.bytes += record.len() as u64;
        staging.gathered_bytes += record.len();
        staging.gathered.push(record.to_vec());
        if staging.gathered_bytes < GATHERED_BYTES {
            return Ok(());
        }
        let flushed = self.flush_staged();
        if flushed.is_err() {
            let _ = self.drop_staged();
        }
        self.told("writing a checkpoint", flushed)
    }

    fn publish(&mut self, upto: Place) -> Result<(), StoreError> {
        let published = self.publish_staged(upto.0);
        if published.is_err() {
            let _ = self.drop_staged();
        }
        self.told("publishing a checkpoint", published)
    }

    fn abandon(&mut self) -> Result<(), StoreError> {
        let dropped = self.drop_staged();
        self.told("abandoning a checkpoint", dropped)
    }

    fn feed_range(&self) -> Result<Option<(Place, Place)>, StoreError> {
        let range = self.told("looking at the feed", self.reading(Reading::feed_range))?;
        Ok(range.map(|(first, last)| (Place(first), Place(last))))
    }

    fn feed_after(&self, after: Place, bytes: usize) -> Result<Vec<(Place, Vec<u8>)>, StoreError> {
        let (mut batches, mut sum) = (Vec::new(), 0);
        let read = self.reading(|reading| {
            reading.feed(after.0, &mut |number, batch| {
                sum += batch.len();
                let has_room = batches.is_empty() || sum <= bytes;
                if has_room {
                    batches.push((Place(number), batch));
                }
                Ok(has_room && sum < bytes)
            })
        });
        self.told("reading the feed", read)?;
        Ok(batches)
    }

    fn trim_feed(&mut self, upto: Place) -> Result<(), StoreError> {
        let trimmed = self.change(|writing, state| {
            let (batches, bytes) = writing.remove(Kind::Feed, 0, upto.0)?;
            state.feed_batches -= batches;
            state.feed_bytes -= bytes;
            Ok(())
        });
        self.told("trimming the feed", trimmed)
    }

    fn compact(&mut self) -> Result<(), StoreError> {
        let compacted = self.mend().and_then(|()| {
            let open = self.open.as_mut().ok_or_else(closed)?;
            guarded(|| Ok(open.database.compact().map(drop)?))
        });
        if compacted.as_ref().is_err_and(|fault| !matches!(fault, Fault::IsRead)) {
            self.open = None;
        }
        self.told("compacting the store", compacted)
    }

    fn backup(&mut self, to: &Path) -> Result<(), StoreError> {
        let mended = self.mend();
        self.told("reading the store", mended)?;
        create(to, &mut |copy| self.reading(|reading| copy.copy(reading)))
    }

    fn size(&self) -> Result<StoreSize, StoreError> {
        let length = match &self.open {
            Some(open) => open.file.len(),
            None => self.medium.open().and_then(|file| file.len()),
        };
        let State { checkpoint_bytes, log_bytes, feed_bytes, .. } = self.state;
        let mut size = StoreSize::default();
        size.checkpoint_bytes = checkpoint_bytes;
        size.log_bytes = log_bytes;
        size.feed_bytes = feed_bytes;
        size.disk_bytes = self.told("looking at the size of the store", length.map_err(Fault::Io))?;
        Ok(size)
    }
}

impl FileStore {
    fn publish_staged(&mut self, upto: u64) -> Result<(), Fault> {
        let unstaged = StoreError::Unsupported { what: "publish a checkpoint of which nothing was staged" };
        self.flush_staged()?;
        let Some(&Staging { records, bytes, .. }) = self.staging.as_ref() else {
            return Err(Fault::Caller(unstaged));
        };
        self.change(|writing, state| {
            writing.remove(Kind::Checkpoint, state.generation, u64::MAX)?;
            let upto = upto.clamp(state.upto, state.last);
            let (_, dropped) = writing.remove(Kind::Log, 0, upto)?;
            state.upto = upto;
            state.log_bytes -= dropped;
            state.generation += 1;
            state.checkpoint_records = records;
            state.checkpoint_bytes = bytes;
            Ok(())
        })?;
        self.staging = None;
        Ok(())
    }
}

/// A store that is being made from records that are there already.
pub(crate) struct Filling {
    open: Open,
    state: State,
    gathered: Vec<(Kind, u64, Vec<u8>)>,
    gathered_bytes: usize,
}

impl Filling {
    /// Takes over all that is in another store, records and numbers.
    pub(crate) fn copy(&mut self, reading: &Reading) -> Result<(), Fault> {
        self.state = reading.state.clone();
        reading.all(&mut |kind, number, record| self.add(kind, number, record))
    }

    /// Adds a record. What the numbers say of it is up to the caller.
    pub(crate) fn add(&mut self, kind: Kind, number: u64, record: Vec<u8>) -> Result<(), Fault> {
        self.gathered_bytes += record.len();
        self.gathered.push((kind, number, record));
        if self.gathered_bytes < GATHERED_BYTES { Ok(()) } else { self.flush() }
    }

    /// What the store is to say of itself.
    pub(crate) fn state(&mut self) -> &mut State {
        &mut self.state
    }

    fn flush(&mut self) -> Result<(), Fault> {
        let transaction = begin(&self.open.database)?;
        let writing = Writing(&transaction);
        for (kind, number, record) in self.gathered.drain(..) {
            let group = if kind == Kind::Checkpoint { self.state.generation } else { 0 };
            writing.add(kind, group, [(number, record.as_slice())])?;
        }
        self.gathered_bytes = 0;
        writing.state(&self.state)?;
        Ok(transaction.commit()?)
    }

    /// Makes sure that all is there and on disk.
    fn finish(mut self) -> Result<(), Fault> {
        self.flush()?;
        Reading::of(&self.open.database.begin_read()?)?.all(&mut |_, _, _| Ok(()))?;
        header::witness(&*self.open.file, self.state.commits).map_err(Fault::Io)?;
        self.open.database.compact()?;
        Ok(self.open.database.close()?)
    }
}

/// Makes a store at `path` and fills it. It is there under its name when it is whole and on disk, or not at all, and it takes
/// the place of nothing.
pub(crate) fn create(
    path: &Path,
    fill: &mut dyn FnMut(&mut Filling) -> Result<(), Fault>,
) -> Result<(), StoreError> {
    let doing = "making a store";
    let io = |error| StoreError::Io { doing, error };
    if path.try_exists().map_err(io)? {
        return Err(io(io::ErrorKind::AlreadyExists.into()));
    }
    let draft = draft_of(path).map_err(io)?;
    let medium = FileMedium { path: draft.clone(), is_writable: true };
    let made = guarded(|| {
        let mut filling = initialize(&medium)?;
        fill(&mut filling)?;
        filling.finish()
    });
    let named = made.and_then(|()| name(&draft, path).map_err(Fault::Io));
    // It has another name now, or is of no use.
    let _ = std::fs::remove_file(&draft);
    named.map_err(|fault| fault.tell(doing, &path.display().to_string()))
}

/// Writes an empty store.
fn initialize(medium: &dyn Medium) -> Result<Filling, Fault> {
    let file = medium.open().map_err(Fault::Io)?;
    file.write(0, &header::first()).map_err(Fault::Io)?;
    let database = builder().create_with_backend(Behind(Arc::clone(&file)))?;
    let transaction = begin(&database)?;
    Writing(&transaction).create()?;
    transaction.commit()?;
    Ok(Filling {
        open: Open { database, file },
        state: State::default(),
        gathered: Vec::new(),
        gathered_bytes: 0,
    })
}

/// A new file beside `path`.
fn draft_of(path: &Path) -> io::Result<PathBuf> {
    static DRAFTS: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    loop {
        let mut draft = name.to_owned();
        draft.push(format!(".making-{}-{}", std::process::id(), DRAFTS.fetch_add(1, Ordering::Relaxed)));
        let draft = path.with_file_name(draft);
        match std::fs::File::create_new(&draft) {
            Ok(_) => return Ok(draft),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Gives a finished draft its name, and waits until that is on disk.
fn name(draft: &Path, path: &Path) -> io::Result<()> {
    std::fs::File::open(draft)?.sync_all()?;
    // Unlike a renaming, a link takes the place of nothing.
    std::fs::hard_link(draft, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if cfg!(unix) {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

pub(crate) fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    // Beside the node that writes, the tool reads.
    builder.set_concurrency_mode(ConcurrencyMode::SingleWriter);
    builder
}

/// A transaction whose commit counts only once all of it is on disk: what was acknowledged is never in question. Where files are
/// shared with readers redb commits in no other way.
fn begin(database: &Database) -> Result<redb::WriteTransaction, Fault> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

fn closed() -> Fault {
    Fault::Io(io::Error::other("an earlier call failed, and the store could not be opened anew"))
}
