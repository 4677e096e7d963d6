//! A store in memory: for tests, and for nodes that keep nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::store::{Place, Record, Store, StoreError, StoreSize};

/// A store in memory. A clone is another handle to the same contents, as two programs have of one file; it can be opened by one
/// at a time.
///
/// Tests can stop it, let it fail, and copy what it holds at any moment, which is what a disk holds when the power fails.
///
/// # Example
/// ```
/// use driftless_node::MemoryStore;
/// use driftless_node::store::{Place, Store};
///
/// let disk = MemoryStore::new();
/// let mut store = disk.clone();
/// assert_eq!(store.append(b"record", Some(b"batch"))?, Place(1));
/// disk.fail_appends(1);
/// assert!(store.append(b"lost", None).is_err());
///
/// let mut copy = disk.copy();
/// let mut records = Vec::new();
/// copy.load(&mut |record| Ok(records.push(record.bytes)))?;
/// assert_eq!(records, [b"record"]);
/// assert_eq!(copy.feed_range()?, Some((Place(1), Place(1))));
/// # Ok::<(), driftless_node::store::StoreError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Contents>);

#[derive(Debug, Default)]
struct Contents {
    disk: Mutex<Disk>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Disk {
    kept: Kept,
    staged: Vec<Vec<u8>>,
    /// Whether appends wait.
    is_held: bool,
    /// So many appends fail that come next.
    failures: u64,
    /// All calls fail from here on.
    is_cut: bool,
    /// The appends that succeeded.
    appends: u64,
    publishes: u64,
}

/// What is there when it is opened again.
#[derive(Clone, Debug, Default)]
struct Kept {
    checkpoint: Vec<Vec<u8>>,
    log: BTreeMap<Place, Vec<u8>>,
    feed: BTreeMap<Place, Vec<u8>>,
    last: Place,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another store with what this one holds now, as a copy of its files would be. What is staged and not published is not in
    /// it.
    pub fn copy(&self) -> Self {
        let kept = self.disk().kept.clone();
        Self(Arc::new(Contents { disk: Mutex::new(Disk { kept, ..Disk::default() }), bell: Condvar::new() }))
    }

    /// From here on appends wait, until [`release`](Self::release): a disk that stands still.
    pub fn hold(&self) {
        self.disk().is_held = true;
    }

    /// Appends go on.
    pub fn release(&self) {
        self.disk().is_held = false;
        self.0.bell.notify_all();
    }

    /// So many appends fail that come next: a disk that is full for a while.
    pub fn fail_appends(&self, count: u64) {
        self.disk().failures = count;
    }

    /// All that is written from here on fails: a process that was killed now would not have written it either.
    pub fn cut(&self) {
        self.disk().is_cut = true;
        self.0.bell.notify_all();
    }

    /// How many appends were made.
    pub fn appends(&self) -> u64 {
        self.disk().appends
    }

    /// How many checkpoints were published.
    pub fn publishes(&self) -> u64 {
        self.disk().publishes
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk, once it works.
    fn working(&self, doing: &'static str) -> Result<MutexGuard<'_, Disk>, StoreError> {
        let mut disk = self.disk();
        while disk.is_held && !disk.is_cut {
            disk = self.0.bell.wait(disk).unwrap_or_else(PoisonError::into_inner);
        }
        if disk.is_cut {
            return Err(failure(doing));
        }
        Ok(disk)
    }
}

fn failure(doing: &'static str) -> StoreError {
    StoreError::Io { doing, error: io::Error::other("the store in memory was told to fail") }
}

fn bytes_of<'a>(records: impl IntoIterator<Item = &'a Vec<u8>>) -> u64 {
    records.into_iter().map(|bytes| bytes.len() as u64).sum()
}

impl Store for MemoryStore {
    fn load(&mut self, take: &mut dyn FnMut(Record) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let Kept { checkpoint, log, .. } = {
            let mut disk = self.disk();
            disk.staged.clear();
            disk.kept.clone()
        };
        let checkpoint = checkpoint.into_iter().map(|bytes| Record { place: None, bytes });
        let log = log.into_iter().map(|(place, bytes)| Record { place: Some(place), bytes });
        checkpoint.chain(log).try_for_each(take)
    }

    fn append(&mut self, record: &[u8], feed: Option<&[u8]>) -> Result<Place, StoreError> {
        let mut disk = self.working("appending a record")?;
        if let Some(left) = disk.failures.checked_sub(1) {
            disk.failures = left;
            return Err(failure("appending a record"));
        }
        disk.appends += 1;
        let place = Place(disk.kept.last.0 + 1);
        disk.kept.last = place;
        disk.kept.log.insert(place, record.to_vec());
        if let Some(batch) = feed {
            disk.kept.feed.insert(place, batch.to_vec());
        }
        Ok(place)
    }

    fn stage(&mut self, record: &[u8]) -> Result<(), StoreError> {
        self.working("staging a record")?.staged.push(record.to_vec());
        Ok(())
    }

    fn publish(&mut self, upto: Place) -> Result<(), StoreError> {
        let mut disk = self.working("publishing a checkpoint")?;
        disk.kept.checkpoint = std::mem::take(&mut disk.staged);
        disk.kept.log.retain(|place, _| *place > upto);
        disk.publishes += 1;
        Ok(())
    }

    fn abandon(&mut self) -> Result<(), StoreError> {
        self.disk().staged.clear();
        Ok(())
    }

    fn feed_range(&self) -> Result<Option<(Place, Place)>, StoreError> {
        let disk = self.disk();
        let first = disk.kept.feed.first_key_value().map(|(place, _)| *place);
        Ok(first.zip(disk.kept.feed.last_key_value().map(|(place, _)| *place)))
    }

    fn feed_after(&self, after: Place, bytes: usize) -> Result<Vec<(Place, Vec<u8>)>, StoreError> {
        let disk = self.disk();
        let mut batches: Vec<(Place, Vec<u8>)> = Vec::new();
        let mut room = bytes;
        for (place, batch) in disk.kept.feed.range(Place(after.0.saturating_add(1))..) {
            if !batches.is_empty() && batch.len() > room {
                break;
            }
            room = room.saturating_sub(batch.len());
            batches.push((*place, batch.clone()));
        }
        Ok(batches)
    }

    fn trim_feed(&mut self, upto: Place) -> Result<(), StoreError> {
        self.working("dropping batches of the feed")?.kept.feed.retain(|place, _| *place > upto);
        Ok(())
    }

    fn compact(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn backup(&mut self, _to: &Path) -> Result<(), StoreError> {
        Err(StoreError::Unsupported { what: "be backed up to a file, being in memory" })
    }

    fn size(&self) -> Result<StoreSize, StoreError> {
        let disk = self.disk();
        let Kept { checkpoint, log, feed, .. } = &disk.kept;
        Ok(StoreSize {
            checkpoint_bytes: bytes_of(checkpoint),
            log_bytes: bytes_of(log.values()),
            feed_bytes: bytes_of(feed.values()),
            disk_bytes: 0,
        })
    }
}
