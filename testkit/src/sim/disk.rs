//! A disk: a log of records with checksums. What was not synced when the process crashed is lost, but for a beginning of it.

use std::rc::Rc;

use xxhash_rust::xxh3::xxh3_64;

/// The bytes before each record: its length and its checksum.
const HEAD: usize = 12;

/// The bytes of a disk at one moment.
pub(super) type Image = Rc<Vec<u8>>;

/// A store.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    bytes: Image,
    /// What is being written.
    pending: Option<Pending>,
    pub(super) is_full: bool,
    /// The records since the last image of everything.
    pub(super) records: usize,
    /// Older states of it, the latest last.
    images: Vec<(u64, Image)>,
}

#[derive(Clone, Debug)]
struct Pending {
    /// Framed.
    bytes: Vec<u8>,
    /// Whether it takes the place of all before it, once it is whole.
    replaces: bool,
}

/// What is read of a disk.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) records: Vec<Vec<u8>>,
    /// The bytes at the end that are no whole record: they are cut off.
    pub(super) torn: usize,
}

impl Disk {
    pub(super) fn is_busy(&self) -> bool {
        self.pending.is_some()
    }

    /// Begins to write records. They are there once [`sync`](Self::sync) says so.
    pub(super) fn write<'a>(&mut self, records: impl IntoIterator<Item = &'a [u8]>, replaces: bool) {
        let mut bytes = Vec::new();
        for record in records {
            bytes.extend_from_slice(&(record.len() as u32).to_be_bytes());
            bytes.extend_from_slice(&xxh3_64(record).to_be_bytes());
            bytes.extend_from_slice(record);
        }
        self.pending = Some(Pending { bytes, replaces });
    }

    /// What was begun is there.
    pub(super) fn sync(&mut self, true_ms: u64) {
        let Some(Pending { bytes, replaces }) = self.pending.take() else { return };
        self.records = if replaces { 0 } else { self.records + 1 };
        if replaces {
            self.bytes = Rc::new(bytes);
        } else {
            Rc::make_mut(&mut self.bytes).extend_from_slice(&bytes);
        }
        self.images.push((true_ms, Rc::clone(&self.bytes)));
    }

    /// The process dies. Of what was being written `permille` of the bytes are there. A write that is to take the place of
    /// all before it goes beside it, so it is there whole or not at all. Returns whether something was being written.
    pub(super) fn crash(&mut self, permille: u64) -> bool {
        let Some(Pending { bytes, replaces }) = self.pending.take() else { return false };
        let len = (bytes.len() as u64 * permille / 1_000) as usize;
        if !replaces {
            Rc::make_mut(&mut self.bytes).extend_from_slice(&bytes[..len]);
        } else if len == bytes.len() {
            self.bytes = Rc::new(bytes);
        }
        true
    }

    /// The disk of `back` writes ago, but not of before it was last [cut off](Self::forget_images) from what it was.
    pub(super) fn restore(&mut self, back: usize) -> bool {
        let Some(last) = self.images.len().checked_sub(2) else { return false };
        let at = last - back.min(last);
        self.bytes = Rc::clone(&self.images[at].1);
        self.pending = None;
        self.images.truncate(at + 1);
        true
    }

    /// The disk as it was at a time.
    pub(super) fn at(&self, true_ms: u64) -> Option<Self> {
        let count = self.images.iter().take_while(|(at, _)| *at <= true_ms).count();
        let bytes = Rc::clone(&self.images.get(count.checked_sub(1)?)?.1);
        Some(Self { bytes, images: self.images[..count].to_vec(), ..Self::default() })
    }

    /// Older states are not to be restored any more.
    pub(super) fn forget_images(&mut self) {
        self.images.clear();
    }

    pub(super) fn wipe(&mut self) {
        *self = Self::default();
    }

    /// Reads all records, and cuts off what is torn.
    pub(super) fn read(&mut self) -> Read {
        let mut read = Read::default();
        let mut at = 0;
        while let Some(record) = record(&self.bytes[at..]) {
            at += HEAD + record.len();
            read.records.push(record.to_vec());
        }
        read.torn = self.bytes.len() - at;
        if read.torn > 0 {
            Rc::make_mut(&mut self.bytes).truncate(at);
        }
        read
    }
}

/// The record at the start, if it is whole and right.
fn record(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<8>()?;
    let record = rest.get(..u32::from_be_bytes(*length) as usize)?;
    (xxh3_64(record) == u64::from_be_bytes(*checksum)).then_some(record)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn written(disk: &mut Disk, records: &[&[u8]]) {
        disk.write(records.iter().copied(), false);
        disk.sync(disk.images.len() as u64);
    }

    fn texts(disk: &mut Disk) -> (Vec<String>, usize) {
        let Read { records, torn } = disk.read();
        (records.into_iter().map(|record| String::from_utf8(record).expect("it is text")).collect(), torn)
    }

    #[test]
    fn a_crash_leaves_all_that_was_synced_and_cuts_off_what_is_torn() {
        // Where the records that are being written end.
        let ends = [0, HEAD + 5, HEAD + 5 + HEAD + 4];
        let mut lengths = BTreeSet::new();
        for permille in 0..=1_000 {
            let mut disk = Disk::default();
            written(&mut disk, &[b"one", b"two"]);
            disk.write([b"three".as_slice(), b"four"], false);
            assert!(disk.crash(permille));
            // 33 bytes are written, and the first 17 of them are a record.
            let whole = match permille {
                0..=515 => 0,
                516..=999 => 1,
                _ => 2,
            };
            let length = ends[2] * permille as usize / 1_000;
            lengths.insert(length);
            let (read, torn) = texts(&mut disk);
            assert_eq!(read, ["one", "two", "three", "four"][..2 + whole], "{permille}");
            assert_eq!(torn, length - ends[whole], "{permille}");
            // What is written next is read, whatever was torn before it.
            written(&mut disk, &[b"five"]);
            let (after, torn) = texts(&mut disk);
            assert_eq!((&after[..read.len()], &after[read.len()..]), (&read[..], &["five".to_owned()][..]));
            assert_eq!(torn, 0);
        }
        assert!(lengths.into_iter().eq(0..=ends[2]), "it is torn at each byte");
    }

    #[test]
    fn a_write_that_replaces_all_is_there_whole_or_not_at_all() {
        for (permille, expected) in [(0, "old"), (999, "old"), (1_000, "new")] {
            let mut disk = Disk::default();
            written(&mut disk, &[b"old"]);
            disk.write([b"new".as_slice()], true);
            disk.crash(permille);
            assert_eq!(texts(&mut disk), (vec![expected.to_owned()], 0));
        }
        assert!(!Disk::default().crash(500));
    }

    #[test]
    fn older_images_come_back() {
        let mut disk = Disk::default();
        assert!(!disk.restore(0));
        for record in ["a", "b", "c", "d"] {
            written(&mut disk, &[record.as_bytes()]);
        }
        assert_eq!(texts(&mut disk.at(1).expect("there is one")).0, ["a", "b"]);
        assert!(disk.restore(1));
        assert_eq!(texts(&mut disk).0, ["a", "b"]);
        assert!(disk.restore(9));
        assert_eq!(texts(&mut disk).0, ["a"]);
        disk.forget_images();
        assert!(!disk.restore(9) && disk.at(9).is_none());
    }
}
