//! Where the bytes of a store are. Public for the tests of this crate only, which fail and cut it in ways that no disk would on
//! request; it may change in any release.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use redb::{BackendError, StorageBackend};

use crate::header;

/// What a store's bytes can be opened on, again and again.
pub trait Medium: fmt::Debug + Send {
    /// Opens it.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self) -> io::Result<Arc<dyn StorageBackend>>;

    /// What it is called.
    fn name(&self) -> String;
}

/// A file.
#[derive(Clone, Debug)]
pub(crate) struct FileMedium {
    pub(crate) path: PathBuf,
    pub(crate) is_writable: bool,
}

impl Medium for FileMedium {
    fn open(&self) -> io::Result<Arc<dyn StorageBackend>> {
        let file = File::options().read(true).write(self.is_writable).open(&self.path)?;
        let backend = redb::backends::FileBackend::new(file).map_err(io::Error::other)?;
        Ok(Arc::new(backend))
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

type Locked = Result<bool, BackendError>;

/// Hands the locks on to another backend.
macro_rules! locks_of {
    ($inner:tt) => {
        fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked {
            self.$inner.try_lock_range(start, end)
        }

        fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked {
            self.$inner.try_lock_shared_range(start, end)
        }

        fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
            self.$inner.lock_range(start, end)
        }

        fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
            self.$inner.lock_shared_range(start, end)
        }

        fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
            self.$inner.unlock_range(start, end)
        }

        fn close(&self) -> io::Result<()> {
            self.$inner.close()
        }
    };
}

/// What lies behind the first block.
#[derive(Debug)]
pub(crate) struct Behind(pub(crate) Arc<dyn StorageBackend>);

impl Behind {
    fn inner(&self) -> &dyn StorageBackend {
        &*self.0
    }
}

impl StorageBackend for Behind {
    fn len(&self) -> io::Result<u64> {
        Ok(self.inner().len()?.saturating_sub(header::BYTES))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner().read(offset + header::BYTES, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner().set_len(len + header::BYTES)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner().sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.inner().write(offset + header::BYTES, data)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked {
        self.inner().query_lock_range(start, end)
    }

    locks_of!(0);
}

const PAGE: u64 = 4096;

/// Keeps what is written to itself, so that a file can be mended to be read and stays as it was.
#[derive(Debug)]
pub(crate) struct Overlay {
    below: Arc<dyn StorageBackend>,
    above: Mutex<Above>,
}

#[derive(Debug)]
struct Above {
    length: u64,
    /// From here on nothing of what is below is seen.
    cut: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    pub(crate) fn new(below: Arc<dyn StorageBackend>) -> io::Result<Self> {
        let length = below.len()?;
        Ok(Self { below, above: Mutex::new(Above { length, cut: length, pages: BTreeMap::new() }) })
    }

    fn page(&self, above: &Above, number: u64) -> io::Result<Vec<u8>> {
        if let Some(page) = above.pages.get(&number) {
            return Ok(page.clone());
        }
        let mut page = vec![0; PAGE as usize];
        let start = number * PAGE;
        let held = above.cut.saturating_sub(start).min(PAGE) as usize;
        if let Some(part) = page.get_mut(..held).filter(|part| !part.is_empty()) {
            self.below.read(start, part)?;
        }
        Ok(page)
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.above.lock().unwrap_or_else(PoisonError::into_inner).length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let above = self.above.lock().unwrap_or_else(PoisonError::into_inner);
        let end = offset + out.len() as u64;
        if end > above.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if end <= above.cut && above.pages.range(offset / PAGE..end.div_ceil(PAGE)).next().is_none() {
            return self.below.read(offset, out);
        }
        let mut filled = 0;
        while filled < out.len() {
            let at = offset + filled as u64;
            let page = self.page(&above, at / PAGE)?;
            let within = &page[(at % PAGE) as usize..];
            let taken = within.len().min(out.len() - filled);
            out[filled..filled + taken].copy_from_slice(&within[..taken]);
            filled += taken;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut above = self.above.lock().unwrap_or_else(PoisonError::into_inner);
        if len < above.length {
            let mut last = self.page(&above, len / PAGE)?;
            last[(len % PAGE) as usize..].fill(0);
            above.pages.retain(|number, _| *number < len / PAGE);
            above.pages.insert(len / PAGE, last);
            above.cut = above.cut.min(len);
        }
        above.length = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut above = self.above.lock().unwrap_or_else(PoisonError::into_inner);
        let mut written = 0;
        while written < data.len() {
            let at = offset + written as u64;
            let mut page = self.page(&above, at / PAGE)?;
            let within = &mut page[(at % PAGE) as usize..];
            let taken = within.len().min(data.len() - written);
            within[..taken].copy_from_slice(&data[written..written + taken]);
            above.pages.insert(at / PAGE, page);
            written += taken;
        }
        above.length = above.length.max(offset + data.len() as u64);
        Ok(())
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked {
        self.below.query_lock_range(start, end)
    }

    locks_of!(below);
}

/// Byte 9 of a database: which of two roots counts, and how it was left.
const MARKS_AT: u64 = 9;
/// It was not closed; what counts was not known to be on disk.
const LEFT_OPEN: u8 = 2 | 8;

/// Reads a database that was not closed as it is, without mending it: to a reader it looks as if it had been closed. All commits
/// of ours are on disk before they count, and all records carry checksums of their own.
#[derive(Debug)]
pub(crate) struct AsIs(pub(crate) Behind);

impl StorageBackend for AsIs {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)?;
        let marks = MARKS_AT.checked_sub(offset).and_then(|at| out.get_mut(usize::try_from(at).ok()?));
        if let Some(marks) = marks {
            *marks &= !LEFT_OPEN;
        }
        Ok(())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked {
        self.0.query_lock_range(start, end)
    }

    locks_of!(0);
}
