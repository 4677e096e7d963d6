//! Writing a message.

use std::collections::BTreeSet;
use std::hash::Hash;
use std::io;

use serde::Serialize;

use crate::causal::dot::Dot;
use crate::causal::origin::Origin;
use crate::clock::Timestamp;
use crate::wire::column::{self, varint_len};
use crate::wire::error::EncodeError;
use crate::wire::events::Events;
use crate::wire::hash::{self, KeyHasher, SHORT_BYTES};

/// How many bytes of keys may stand for a byte before them where keys are numbers in a dictionary: a few bytes must not stand
/// for very many keys.
const LOOKED_UP_OF_A_BYTE: usize = 8;

/// What a key counts beside its bytes.
const LOOKED_UP_KEY: usize = 4;

/// Counts keys that are written as numbers in a dictionary at `at`, and would take `bytes` in full. Returns whether they may be.
pub(super) fn look_up(looked_up: &mut usize, at: usize, keys: usize, bytes: usize) -> bool {
    let counted = keys.saturating_mul(LOOKED_UP_KEY).saturating_add(bytes);
    let sum = looked_up.saturating_add(counted);
    let may = sum <= at.saturating_mul(LOOKED_UP_OF_A_BYTE);
    if may {
        *looked_up = sum;
    }
    may
}

/// Whether a value is written as just these bytes.
#[inline]
pub(super) fn is_written_as<T: Serialize>(value: &T, bytes: &[u8]) -> bool {
    let mut left = Expected(Some(bytes));
    rmp_serde::encode::write(&mut left, value).is_ok() && left.0.is_some_and(<[u8]>::is_empty)
}

/// The bytes that are still to be written. None once something else was written: that is an error, and stays one.
struct Expected<'a>(Option<&'a [u8]>);

impl Expected<'_> {
    #[inline]
    fn pass(&mut self, bytes: &[u8]) -> bool {
        // Most that is written is one byte: a marker, or a small number.
        self.0 = match (bytes, self.0) {
            ([byte], Some([first, left @ ..])) => (byte == first).then_some(left),
            (bytes, left) => left.and_then(|left| left.strip_prefix(bytes)),
        };
        self.0.is_some()
    }
}

impl io::Write for Expected<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.pass(bytes) { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the number of an event takes in a column beside one byte, nearly always.
const NUMBER_BYTES: usize = 1;

/// Writes the state of a message to bytes, column by column.
///
/// The first value that cannot be serialized is kept as the error of the whole; what follows it is written in vain.
#[derive(Debug)]
pub struct Encoder {
    out: Vec<u8>,
    events: Events,
    /// What the keys that were written as numbers count for.
    looked_up: usize,
    /// What the receiver hashes keys with, if it can be told keys in short form.
    short: Option<KeyHasher>,
    /// The keys that were named in short form, in full.
    named: Vec<u8>,
    /// If the state is not written but measured, part by part.
    measure: Option<Measure>,
    error: Option<EncodeError>,
}

/// What parts of a state take at most as parts of a chunk.
///
/// A column of all is no longer than runs of one number each: the numbers of the parts as varints, and a byte for each.
#[derive(Debug)]
struct Measure {
    /// What columns take, which are not written.
    columns: usize,
    /// The measured part may end early once it takes more.
    cap: usize,
    /// The greatest millisecond of the vectors.
    newest: u64,
    /// The events of the parts that were taken: naming them again is cheap.
    taken: BTreeSet<(Timestamp, Origin)>,
    /// The other events of the measured part.
    fresh: BTreeSet<(Timestamp, Origin)>,
}

impl Encoder {
    /// An encoder that goes on behind `out`, for a state that names `events`.
    pub(crate) fn new(out: Vec<u8>, events: Events) -> Self {
        Self { out, events, looked_up: 0, short: None, named: Vec::new(), measure: None, error: None }
    }

    /// Lets keys be named in the receiver's short form.
    pub(crate) fn with_short(self, short: Option<KeyHasher>) -> Self {
        Self { short, ..self }
    }

    /// The short form of a key, if keys may be named so.
    #[inline]
    pub(crate) fn short_form<K: Hash>(&self, key: &K) -> Option<u64> {
        self.short.as_ref().map(|hasher| hash::short(hasher.hash(key)))
    }

    /// Keys, in [short form](Self::short_form).
    pub(crate) fn short_keys<'k, K: Serialize + 'k>(
        &mut self,
        keys: impl ExactSizeIterator<Item = (u64, &'k K)>,
    ) {
        let mut named = std::mem::take(&mut self.named);
        let mut forms = Vec::with_capacity(keys.len());
        for (form, key) in keys {
            forms.push(form);
            self.value_to(&mut named, key);
        }
        self.named = named;
        match forms.as_slice() {
            [form] => {
                let bytes = form.to_be_bytes();
                self.out.extend(bytes.iter().skip(bytes.len().saturating_sub(SHORT_BYTES)));
            }
            forms => self.ints(forms),
        }
    }

    /// An encoder that measures parts. `newest` is the greatest millisecond of the vectors.
    pub(crate) fn measuring(newest: u64) -> Self {
        let (taken, fresh) = (BTreeSet::new(), BTreeSet::new());
        let measure = Measure { columns: 0, cap: usize::MAX, newest, taken, fresh };
        Self { measure: Some(measure), ..Self::new(Vec::new(), Events::default()) }
    }

    /// The bytes of what `encode` writes, if that is at most `room`.
    pub(crate) fn measured(&mut self, room: usize, encode: impl FnOnce(&mut Self)) -> Option<usize> {
        self.out.clear();
        if let Some(measure) = &mut self.measure {
            (measure.columns, measure.cap) = (0, room);
            measure.fresh.clear();
        }
        encode(self);
        let bytes = self.len();
        (bytes <= room).then_some(bytes)
    }

    /// Takes note that the part measured last is in the chunk.
    pub(crate) fn take_measured(&mut self) {
        if let Some(measure) = &mut self.measure {
            // `BTreeSet::append` would build all of `taken` anew for each part.
            while let Some(event) = measure.fresh.pop_first() {
                measure.taken.insert(event);
            }
        }
    }

    /// The number of bytes so far.
    pub(crate) fn len(&self) -> usize {
        let columns = self.measure.as_ref().map_or(0, |measure| measure.columns);
        self.out.len().saturating_add(columns)
    }

    /// The bytes, and the keys that they name in short form, in full.
    pub(crate) fn finish(self) -> Result<(Vec<u8>, Vec<u8>), EncodeError> {
        match self.error {
            None => Ok((self.out, self.named)),
            Some(error) => Err(error),
        }
    }

    /// Whether the bytes are not wanted, only their number.
    pub(crate) fn is_measuring(&self) -> bool {
        self.measure.is_some()
    }

    /// Whether there are more bytes than there is room for: what is left need not be written.
    pub fn is_over(&self) -> bool {
        self.measure.as_ref().is_some_and(|measure| self.len() > measure.cap)
    }

    /// Whether so many bytes more would be too many; if so, there are too many from now on.
    pub(crate) fn cannot_hold(&mut self, bytes: usize) -> bool {
        let len = self.len();
        let Some(measure) = &mut self.measure else {
            return false;
        };
        let is_over = len.saturating_add(bytes) > measure.cap;
        if is_over {
            measure.columns = measure.cap.saturating_add(1);
        }
        is_over
    }

    /// A column of numbers. Who reads it knows how many there are.
    pub fn ints(&mut self, numbers: &[u64]) {
        match &mut self.measure {
            None => column::write(&mut self.out, numbers),
            Some(measure) => {
                let bytes = numbers.iter().map(|number| varint_len(*number).saturating_add(1));
                measure.columns = bytes.fold(measure.columns, usize::saturating_add);
            }
        }
    }

    /// The number of an event, to be written in a column.
    #[inline]
    pub(crate) fn number(&mut self, dot: Dot) -> u64 {
        match &mut self.measure {
            None => self.events.number(dot),
            Some(measure) => {
                measure.name(dot);
                0
            }
        }
    }

    /// The number of the last of the events that `note` notes, to order by it.
    #[inline]
    pub(crate) fn newest(&mut self, note: impl FnOnce(&mut Events)) -> u64 {
        if self.is_measuring() { 0 } else { self.events.newest(note) }
    }

    /// Whether keys may be written as numbers in a dictionary at `at`, where they would take `bytes` in full; counts them if so.
    pub(crate) fn look_up(&mut self, at: usize, keys: usize, bytes: usize) -> bool {
        look_up(&mut self.looked_up, at, keys, bytes)
    }

    /// Takes back what was written from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.out.truncate(len);
    }

    pub(crate) fn varint(&mut self, number: u64) {
        column::write_varint(&mut self.out, number);
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// A value of the application.
    #[inline]
    pub(crate) fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        if let Err(error) = rmp_serde::encode::write(&mut self.out, value) {
            self.note_error(&error);
        }
    }

    /// A value of the application, written elsewhere first.
    #[inline]
    pub(crate) fn value_to<T: Serialize + ?Sized>(&mut self, out: &mut Vec<u8>, value: &T) {
        if let Err(error) = rmp_serde::encode::write(out, value) {
            self.note_error(&error);
        }
    }

    #[cold]
    fn note_error(&mut self, error: &rmp_serde::encode::Error) {
        if self.error.is_none() {
            self.error = Some(EncodeError::Value { reason: error.to_string() });
        }
    }
}

impl Measure {
    fn name(&mut self, dot: Dot) {
        let event = (dot.time, dot.origin);
        self.columns = self.columns.saturating_add(NUMBER_BYTES);
        if !self.taken.contains(&event) && self.fresh.insert(event) {
            // Its milliseconds, its counter and its author's place in the table of events.
            let gap = varint_len(self.newest.saturating_sub(dot.time.millis()));
            let counter = if dot.time.counter() > 0 { 3 } else { 0 };
            let bytes = [gap, 1, counter, 2];
            self.columns = bytes.into_iter().fold(self.columns, usize::saturating_add);
        }
    }
}
