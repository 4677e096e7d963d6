//! A disk in memory that can be cut off, filled up and broken, and what a store on it is to hold.
#![allow(dead_code)] // Each test file uses its part.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use driftless_node::store::{Place, Record, Store, StoreError};
use driftless_store::FileStore;
use driftless_store::medium::Medium;
use redb::{BackendError, StorageBackend};

const PAGE: usize = 4096;
/// What a disk writes at once or not at all.
pub(crate) const SECTOR: usize = 512;

/// The bytes of a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    len: u64,
    pages: BTreeMap<u64, Arc<[u8; PAGE]>>,
}

impl Image {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset + out.len() as u64 > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (mut rest, mut at) = (out, offset);
        while !rest.is_empty() {
            let within = at as usize % PAGE;
            let (part, after) = rest.split_at_mut(rest.len().min(PAGE - within));
            match self.pages.get(&(at / PAGE as u64)) {
                Some(page) => part.copy_from_slice(&page[within..within + part.len()]),
                None => part.fill(0),
            }
            at += part.len() as u64;
            rest = after;
        }
        Ok(())
    }

    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) {
        let mut rest = data;
        let mut at = offset;
        while !rest.is_empty() {
            let within = at as usize % PAGE;
            let taken = rest.len().min(PAGE - within);
            let page = self.pages.entry(at / PAGE as u64).or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[within..within + taken].copy_from_slice(&rest[..taken]);
            rest = &rest[taken..];
            at += taken as u64;
        }
        self.len = self.len.max(at);
    }

    pub(crate) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.pages.retain(|page, _| *page * (PAGE as u64) < len);
            let within = len as usize % PAGE;
            if let Some(page) = self.pages.get_mut(&(len / PAGE as u64)) {
                Arc::make_mut(page)[within..].fill(0);
            }
        }
        self.len = len;
    }

    pub(crate) fn apply(&mut self, event: &Event) {
        match event {
            Event::Write(offset, data) => self.write(*offset, data),
            Event::SetLen(len) => self.set_len(*len),
            Event::Sync | Event::Acknowledged => {}
        }
    }

    pub(crate) fn flip(&mut self, offset: u64, bit: u8) {
        let mut byte = [0];
        self.read(offset, &mut byte).unwrap();
        self.write(offset, &[byte[0] ^ (1 << bit)]);
    }

    /// Where some bytes stand, if they stand in one page.
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<u64> {
        self.pages.iter().find_map(|(number, page)| {
            let at = page.windows(bytes.len()).position(|window| window == bytes)?;
            Some(number * PAGE as u64 + at as u64)
        })
    }

    /// The pages that are not all zero.
    pub(crate) fn written_pages(&self) -> Vec<u64> {
        let written = self.pages.iter().filter(|(_, page)| page.iter().any(|byte| *byte != 0));
        written.map(|(number, _)| *number).collect()
    }
}

/// What was done to a disk.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Write(u64, Arc<[u8]>),
    SetLen(u64),
    Sync,
    /// The store told its caller that a call had succeeded.
    Acknowledged,
}

/// Which calls fail.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// So many more bytes fit, and then the disk is full.
    pub(crate) room: Option<u64>,
    /// So many more syncs succeed, and one fails.
    pub(crate) syncs: Option<u64>,
    /// So many more reads succeed, and one fails.
    pub(crate) reads: Option<u64>,
    /// After the first that fails, all do.
    pub(crate) stays: bool,
}

#[derive(Debug, Default)]
struct Inner {
    /// What a process reads.
    seen: Image,
    /// What is there after a loss of power at the latest.
    stable: Image,
    unsynced: Vec<Event>,
    history: Option<Vec<Event>>,
    faults: Faults,
    /// So many calls failed.
    failed: u64,
}

/// A disk with one file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<Inner>>);

impl Disk {
    pub(crate) fn of(image: Image) -> Self {
        let inner = Inner { seen: image.clone(), stable: image, ..Inner::default() };
        Self(Arc::new(Mutex::new(inner)))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn record(&self) {
        self.inner().history = Some(Vec::new());
    }

    pub(crate) fn history(&self) -> Vec<Event> {
        self.inner().history.clone().unwrap_or_default()
    }

    pub(crate) fn acknowledged(&self) {
        self.inner().history.iter_mut().for_each(|history| history.push(Event::Acknowledged));
    }

    pub(crate) fn fail(&self, faults: Faults) {
        self.inner().faults = faults;
    }

    pub(crate) fn failed(&self) -> u64 {
        self.inner().failed
    }

    /// A bit rots where nobody writes.
    pub(crate) fn flip(&self, offset: u64, bit: u8) {
        let mut inner = self.inner();
        inner.seen.flip(offset, bit);
        inner.stable.flip(offset, bit);
    }

    /// What a process would read.
    pub(crate) fn seen(&self) -> Image {
        self.inner().seen.clone()
    }

    /// What is left if all that was not waited for is lost.
    pub(crate) fn stable(&self) -> Image {
        self.inner().stable.clone()
    }

    pub(crate) fn open(&self) -> Result<FileStore, StoreError> {
        FileStore::open_on(Box::new(self.clone()))
    }
}

impl Medium for Disk {
    fn open(&self) -> io::Result<Arc<dyn StorageBackend>> {
        Ok(Arc::new(self.clone()))
    }

    fn name(&self) -> String {
        "a disk in memory".to_owned()
    }
}

impl Inner {
    fn did(&mut self, event: Event) {
        self.seen.apply(&event);
        self.history.iter_mut().for_each(|history| history.push(event.clone()));
        self.unsynced.push(event);
    }
}

/// Counts down, and says whether this is the call that fails.
fn is_due(left: &mut Option<u64>) -> bool {
    let is_due = *left == Some(0);
    *left = left.and_then(|left| left.checked_sub(1));
    is_due
}

impl Inner {
    /// Whether nothing works any more.
    fn is_gone(&self) -> io::Result<()> {
        if self.faults.stays && self.failed > 0 { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.inner().seen.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut inner = self.inner();
        inner.is_gone()?;
        if is_due(&mut inner.faults.reads) {
            inner.failed += 1;
            return Err(io::Error::other("a read error"));
        }
        inner.seen.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut inner = self.inner();
        inner.is_gone()?;
        inner.did(Event::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.inner();
        inner.is_gone()?;
        let unsynced = std::mem::take(&mut inner.unsynced);
        if is_due(&mut inner.faults.syncs) {
            // As systems do: it goes on being read, and will never be written.
            inner.failed += 1;
            return Err(io::Error::other("a write error"));
        }
        unsynced.iter().for_each(|event| inner.stable.apply(event));
        inner.history.iter_mut().for_each(|history| history.push(Event::Sync));
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inner = self.inner();
        inner.is_gone()?;
        if let Some(room) = inner.faults.room {
            let Some(left) = room.checked_sub(data.len() as u64) else {
                inner.failed += 1;
                return Err(io::ErrorKind::StorageFull.into());
            };
            inner.faults.room = Some(left);
        }
        inner.did(Event::Write(offset, data.into()));
        Ok(())
    }

    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn try_lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn query_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(false)
    }
}

/// What a store holds, or is to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) checkpoint: Vec<Vec<u8>>,
    pub(crate) log: Vec<(u64, Vec<u8>)>,
    pub(crate) feed: Vec<(u64, Vec<u8>)>,
}

/// Reads all that a store holds.
pub(crate) fn contents(store: &mut FileStore) -> Result<Contents, StoreError> {
    let mut contents = Contents::default();
    store.load(&mut |Record { place, bytes }| {
        match place {
            None => contents.checkpoint.push(bytes),
            Some(place) => contents.log.push((place.0, bytes)),
        }
        Ok(())
    })?;
    let feed = store.feed_after(Place(0), usize::MAX)?;
    contents.feed = feed.into_iter().map(|(place, batch)| (place.0, batch)).collect();
    Ok(contents)
}

/// A call that changes what is stored.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Append { bytes: usize, feed: Option<usize> },
    Checkpoint { records: Vec<usize>, keeps: u64 },
    Abandon { bytes: usize },
    TrimFeed { keeps: u64 },
    Compact,
}

/// Bytes that nothing else holds.
pub(crate) fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand(seed);
    (0..length).map(|_| random() as u8).collect()
}

/// Numbers from a seed: splitmix64.
pub(crate) fn fastrand(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// Makes some steps, and says what is to be stored after each: first, what was stored before.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) steps: Vec<Step>,
    pub(crate) states: Vec<Contents>,
}

impl Script {
    /// A script with steps of all kinds.
    pub(crate) fn of_all_kinds() -> Self {
        let append = |bytes| Step::Append { bytes, feed: None };
        let fed = |bytes, feed| Step::Append { bytes, feed: Some(feed) };
        let checkpoint = |records: &[usize], keeps| Step::Checkpoint { records: records.to_vec(), keeps };
        Self::new(vec![
            append(40),
            fed(2_000, 300),
            fed(0, 0),
            append(70_000),
            checkpoint(&[70_000, 500], 1),
            fed(5_000, 66_000),
            append(131_000),
            Step::TrimFeed { keeps: 1 },
            Step::Abandon { bytes: 9_000 },
            checkpoint(&[40_000, 0, 66_000], 0),
            fed(300, 20),
            Step::Compact,
            append(10),
            Step::TrimFeed { keeps: 0 },
        ])
    }

    /// A script with checkpoints that are written piece by piece.
    pub(crate) fn of_large_checkpoints() -> Self {
        let part = 1_100_000;
        let checkpoint = |records: &[usize]| Step::Checkpoint { records: records.to_vec(), keeps: 1 };
        Self::new(vec![
            Step::Append { bytes: 40, feed: Some(7) },
            checkpoint(&[part; 9]),
            Step::Append { bytes: 70_000, feed: None },
            checkpoint(&[part, 300]),
            Step::Append { bytes: 40, feed: Some(7) },
        ])
    }

    pub(crate) fn new(steps: Vec<Step>) -> Self {
        let mut states = vec![Contents::default()];
        let (mut last, mut seed) = (0, 0);
        for step in &steps {
            let mut next = states[states.len() - 1].clone();
            seed += 100;
            match step {
                Step::Append { bytes: length, feed } => {
                    last += 1;
                    next.log.push((last, bytes(*length, seed)));
                    next.feed.extend(feed.map(|length| (last, bytes(length, seed + 1))));
                }
                Step::Checkpoint { records, keeps } => {
                    next.checkpoint =
                        (seed..).zip(records).map(|(seed, length)| bytes(*length, seed)).collect();
                    next.log.retain(|(place, _)| *place > last - keeps);
                }
                Step::TrimFeed { keeps } => next.feed.retain(|(place, _)| *place > last - keeps),
                Step::Abandon { .. } | Step::Compact => {}
            }
            states.push(next);
        }
        Self { steps, states }
    }

    /// Takes step `number`, counted from zero.
    pub(crate) fn take(&self, number: usize, store: &mut FileStore) -> Result<(), StoreError> {
        let next = &self.states[number + 1];
        let last = self.states[..=number + 1]
            .iter()
            .filter_map(|state| Some(state.log.last()?.0))
            .max()
            .unwrap_or(0);
        match &self.steps[number] {
            Step::Append { .. } => {
                let (place, record) = next.log.last().unwrap();
                let batch = next.feed.last().filter(|(fed, _)| fed == place);
                assert_eq!(store.append(record, batch.map(|(_, batch)| batch.as_slice()))?, Place(*place));
            }
            Step::Checkpoint { keeps, .. } => {
                next.checkpoint.iter().try_for_each(|record| store.stage(record))?;
                store.publish(Place(last - keeps))?;
            }
            Step::Abandon { bytes: length } => {
                store.stage(&bytes(*length, 7))?;
                store.abandon()?;
            }
            Step::TrimFeed { keeps } => store.trim_feed(Place(last - keeps))?,
            Step::Compact => store.compact()?,
        }
        Ok(())
    }
}

/// An empty store.
pub(crate) fn empty() -> Disk {
    let disk = Disk::default();
    FileStore::create_on(&disk).unwrap();
    disk
}

/// A seed from the environment, or the one given.
pub(crate) fn seed(otherwise: u64) -> u64 {
    std::env::var("STORE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(otherwise)
}
