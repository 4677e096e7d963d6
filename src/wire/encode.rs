//! Writing a message.

use serde::Serialize;

use crate::causal::dot::{Dot, Marks};
use crate::causal::origin::Origin;
use crate::clock::Timestamp;
use crate::wire::error::EncodeError;
use crate::wire::stamp::{self, Code};

/// Writes the parts of a message to bytes.
///
/// The first value that cannot be serialized is kept as the error of the whole; what follows it is written in vain.
#[derive(Debug)]
pub struct Encoder {
    out: Vec<u8>,
    /// The place of each origin in the message's table of ids.
    places: Vec<u32>,
    /// The number of ids in that table.
    ids: u64,
    previous: Timestamp,
    /// Loops may end early once there are more bytes than this: the result is only measured.
    cap: usize,
    error: Option<EncodeError>,
}

impl Encoder {
    /// An encoder of stamps relative to `base`, for a table of `ids` ids in which the origins have `places`.
    pub(crate) fn new(places: Vec<u32>, ids: usize, base: Timestamp) -> Self {
        Self { out: Vec::new(), places, ids: ids as u64, previous: base, cap: usize::MAX, error: None }
    }

    /// The number of bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    pub(crate) fn finish(self) -> Result<Vec<u8>, EncodeError> {
        match self.error {
            None => Ok(self.out),
            Some(error) => Err(error),
        }
    }

    /// Lets loops end early once there are more than `bytes` bytes.
    pub(crate) fn cap(&mut self, bytes: usize) {
        self.cap = bytes;
    }

    /// Whether so many bytes more would be too many; if so, there are too many from now on.
    pub(crate) fn cannot_hold(&mut self, bytes: usize) -> bool {
        let is_over = self.cap < usize::MAX && self.out.len().saturating_add(bytes) > self.cap;
        if is_over {
            self.out.resize(self.cap.saturating_add(1), 0);
        }
        is_over
    }

    pub(crate) fn is_over(&self) -> bool {
        self.out.len() > self.cap
    }

    /// Forgets all bytes, to measure the next part.
    pub(crate) fn clear(&mut self) {
        self.out.clear();
    }

    /// The head of an array of `len` elements.
    pub fn array(&mut self, len: usize) {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        let written = rmp::encode::write_array_len(&mut self.out, len);
        self.note(written.map(drop).map_err(|error| error.to_string()));
    }

    /// An unsigned integer, in as few bytes as it needs.
    pub fn uint(&mut self, n: u64) {
        let written = rmp::encode::write_uint(&mut self.out, n);
        self.note(written.map(drop).map_err(|error| error.to_string()));
    }

    /// A signed integer, in as few bytes as it needs.
    pub(crate) fn int(&mut self, n: i64) {
        let written = rmp::encode::write_sint(&mut self.out, n);
        self.note(written.map(drop).map_err(|error| error.to_string()));
    }

    /// What stands for "nothing was ever written here".
    pub fn nil(&mut self) {
        self.out.push(rmp::Marker::Null.to_u8());
    }

    pub(crate) fn bin(&mut self, bytes: &[u8]) {
        let written = rmp::encode::write_bin(&mut self.out, bytes);
        self.note(written.map_err(|error| error.to_string()));
    }

    /// A value of the application.
    pub(crate) fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        let written = rmp_serde::encode::write(&mut self.out, value);
        self.note(written.map_err(|error| error.to_string()));
    }

    /// A stamp, beside the one before it.
    pub(crate) fn stamp(&mut self, time: Timestamp) {
        self.coded(time, 1, 0);
    }

    /// A dot, its stamp beside the one before it.
    pub(crate) fn dot(&mut self, dot: Dot) {
        let place = u64::from(self.place(dot.origin));
        self.coded(dot.time, self.ids, place);
    }

    pub(crate) fn marks(&mut self, marks: &Marks) {
        self.array(marks.len());
        let mut dots: Vec<Dot> = marks.iter().collect();
        // In the order of the table, so that what was read is written again as it was.
        dots.sort_unstable_by_key(|dot| self.place(dot.origin));
        dots.into_iter().for_each(|dot| self.dot(dot));
    }

    fn coded(&mut self, time: Timestamp, ids: u64, place: u64) {
        match stamp::code(self.previous, time, ids, place) {
            Code::Near(code) => self.uint(code),
            Code::Far(code) => self.int(code),
            Code::Absolute(bytes) => self.bin(&bytes),
        }
        self.previous = time;
    }

    #[expect(
        clippy::expect_used,
        reason = "a delta is made of cells of one replica, whose vector is its table"
    )]
    pub(crate) fn place(&self, origin: Origin) -> u32 {
        let place = self.places.get(origin.index()).copied();
        place.expect("a delta's table holds each origin that its cells name")
    }

    fn note(&mut self, written: Result<(), String>) {
        if let (Err(reason), None) = (written, &self.error) {
            self.error = Some(EncodeError::Value { reason });
        }
    }
}
