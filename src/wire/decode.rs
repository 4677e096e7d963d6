//! Reading a message: total on any bytes, within limits, and never trusting a length.

use rmp::Marker;
use serde::de::DeserializeOwned;

use crate::causal::dot::{Dot, Marks};
use crate::causal::frontier::Frontier;
use crate::causal::origin::Origin;
use crate::clock::Timestamp;
use crate::wire::error::DecodeError;
use crate::wire::limits::Limits;
use crate::wire::stamp;

/// What an element of an application's list is taken to need in memory, whatever its type: as much as a dynamic value.
const ELEMENT_BYTES: usize = 32;

/// What a map within a value is taken to need, however few entries it has: a node of the standard library's ordered map.
const MAP_BYTES: usize = 640;

/// Reads the parts of a message from bytes.
#[derive(Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    limits: &'a Limits,
    depth: usize,
    elements: usize,
    /// The memory taken for rows, entries, marks and elements of values.
    memory: usize,
    /// The number of ids in the message's table; zero until it has been read.
    ids: usize,
    /// What the message claims to hold: no dot may be beyond it.
    to: Frontier,
    previous: Timestamp,
    hash_seed: u64,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8], limits: &'a Limits) -> Result<Self, DecodeError> {
        if bytes.len() > limits.message_bytes {
            return Err(DecodeError::Limit { limit: "message_bytes", allowed: limits.message_bytes });
        }
        Ok(Self {
            bytes,
            at: 0,
            limits,
            depth: 0,
            elements: 0,
            memory: 0,
            ids: 0,
            to: Frontier::default(),
            previous: Timestamp::ZERO,
            hash_seed: 0,
        })
    }

    /// Sets what keys are hashed with, to find those that stand twice.
    pub(crate) fn with_hash_seed(self, hash_seed: u64) -> Self {
        Self { hash_seed, ..self }
    }

    pub(crate) fn hash_seed(&self) -> u64 {
        self.hash_seed
    }

    /// Sets what dots are read against, once the head of the message has been read.
    pub(crate) fn set_table(&mut self, ids: usize, to: Frontier, base: Timestamp) {
        self.ids = ids;
        self.to = to;
        self.previous = base;
    }

    /// The stamp that was read last.
    pub(crate) fn previous(&self) -> Timestamp {
        self.previous
    }

    pub(crate) fn limits(&self) -> &Limits {
        self.limits
    }

    /// Where the next byte is.
    pub fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.at < self.bytes.len() {
            return Err(DecodeError::Trailing { at: self.at });
        }
        Ok(())
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Result<Marker, DecodeError> {
        let byte = self.bytes.get(self.at);
        byte.map(|byte| Marker::from_u8(*byte)).ok_or(DecodeError::Truncated { at: self.at })
    }

    fn advance(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let taken = self.rest().get(..len).ok_or(DecodeError::Truncated { at: self.bytes.len() })?;
        self.advance(len);
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<u64, DecodeError> {
        let bytes = self.take(N)?;
        Ok(bytes.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    fn size(&mut self, number: u64) -> Result<usize, DecodeError> {
        usize::try_from(number).map_err(|_| DecodeError::Truncated { at: self.bytes.len() })
    }

    /// Notes `count` elements, each at least a byte long.
    fn count(&mut self, count: u64) -> Result<usize, DecodeError> {
        let count = self.size(count)?;
        if count > self.rest().len() {
            return Err(DecodeError::Truncated { at: self.bytes.len() });
        }
        self.elements = self.elements.saturating_add(count);
        if self.elements > self.limits.elements {
            return Err(DecodeError::Limit { limit: "elements", allowed: self.limits.elements });
        }
        Ok(count)
    }

    /// Takes note of memory for `count` items that take at least `bytes` bytes each: never for more than the bytes that
    /// follow could hold. Returns `count`.
    pub(crate) fn room<T>(&mut self, count: usize, bytes: usize) -> Result<usize, DecodeError> {
        if count > self.rest().len().checked_div(bytes).unwrap_or_default() {
            return Err(DecodeError::Truncated { at: self.bytes.len() });
        }
        self.claim(count.saturating_mul(size_of::<T>()))?;
        Ok(count)
    }

    fn claim(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.memory = self.memory.saturating_add(bytes);
        if self.memory > self.limits.memory_bytes {
            return Err(DecodeError::Limit { limit: "memory_bytes", allowed: self.limits.memory_bytes });
        }
        Ok(())
    }

    /// The head of an array: its length, which no more than the bytes that follow could hold.
    ///
    /// # Errors
    /// Something else stands here, or a limit is exceeded.
    pub fn array(&mut self) -> Result<usize, DecodeError> {
        let at = self.at;
        let len = match self.peek()? {
            Marker::FixArray(len) => {
                self.advance(1);
                u64::from(len)
            }
            Marker::Array16 => {
                self.advance(1);
                self.number::<2>()?
            }
            Marker::Array32 => {
                self.advance(1);
                self.number::<4>()?
            }
            _ => return Err(DecodeError::Expected { what: "an array", at }),
        };
        self.count(len)
    }

    /// An unsigned integer.
    ///
    /// # Errors
    /// Something else stands here.
    pub fn uint(&mut self) -> Result<u64, DecodeError> {
        let at = self.at;
        let expected = DecodeError::Expected { what: "an unsigned integer", at };
        u64::try_from(self.integer()?).map_err(|_| expected)
    }

    pub(crate) fn int(&mut self) -> Result<i64, DecodeError> {
        let at = self.at;
        let expected = DecodeError::Expected { what: "a 64-bit integer", at };
        i64::try_from(self.integer()?).map_err(|_| expected)
    }

    fn integer(&mut self) -> Result<i128, DecodeError> {
        let at = self.at;
        let marker = self.peek()?;
        self.advance(1);
        Ok(match marker {
            Marker::FixPos(n) => i128::from(n),
            Marker::FixNeg(n) => i128::from(n),
            Marker::U8 => i128::from(self.number::<1>()?),
            Marker::U16 => i128::from(self.number::<2>()?),
            Marker::U32 => i128::from(self.number::<4>()?),
            Marker::U64 => i128::from(self.number::<8>()?),
            Marker::I8 => i128::from(self.number::<1>()? as i8),
            Marker::I16 => i128::from(self.number::<2>()? as i16),
            Marker::I32 => i128::from(self.number::<4>()? as i32),
            Marker::I64 => i128::from(self.number::<8>()? as i64),
            _ => {
                self.at = at;
                return Err(DecodeError::Expected { what: "an integer", at });
            }
        })
    }

    /// Whether nothing was ever written here; takes the byte if so.
    ///
    /// # Errors
    /// The bytes end here.
    pub fn nil(&mut self) -> Result<bool, DecodeError> {
        let is_nil = self.peek()? == Marker::Null;
        if is_nil {
            self.advance(1);
        }
        Ok(is_nil)
    }

    /// Whether the next thing is an array.
    pub(crate) fn is_array(&self) -> Result<bool, DecodeError> {
        Ok(is_array(self.peek()?))
    }

    /// Whether the next thing is an array of `len` whose first element is an array.
    pub(crate) fn is_array_of_arrays(&self, len: u8) -> bool {
        let mut markers = self.rest().iter().map(|byte| Marker::from_u8(*byte));
        markers.next() == Some(Marker::FixArray(len))
            && matches!(markers.next(), Some(first) if is_array(first))
    }

    pub(crate) fn bin(&mut self) -> Result<&'a [u8], DecodeError> {
        let at = self.at;
        let len = match self.peek()? {
            Marker::Bin8 => {
                self.advance(1);
                self.number::<1>()?
            }
            Marker::Bin16 => {
                self.advance(1);
                self.number::<2>()?
            }
            Marker::Bin32 => {
                self.advance(1);
                self.number::<4>()?
            }
            _ => return Err(DecodeError::Expected { what: "a byte string", at }),
        };
        let len = self.size(len)?;
        self.take(len)
    }

    /// A stamp, beside the one before it.
    pub(crate) fn stamp(&mut self) -> Result<Timestamp, DecodeError> {
        Ok(self.coded(1)?.0)
    }

    /// A dot, which the message must claim to hold.
    pub(crate) fn dot(&mut self) -> Result<Dot, DecodeError> {
        let at = self.at;
        let (time, place) = self.coded(self.ids as u64)?;
        let dot = Dot { origin: Origin::from_index(place), time };
        if time == Timestamp::ZERO || !self.to.covers(dot) {
            return Err(DecodeError::Stamp { at });
        }
        Ok(dot)
    }

    pub(crate) fn marks(&mut self) -> Result<Marks, DecodeError> {
        let at = self.at;
        let len = self.array()?;
        if len > self.ids {
            return Err(DecodeError::Repeated { what: "a mark", at });
        }
        let mut dots = Vec::with_capacity(self.room::<Dot>(len, 1)?);
        for _ in 0..len {
            dots.push(self.dot()?);
        }
        Marks::of_distinct(dots).ok_or(DecodeError::Repeated { what: "a mark", at })
    }

    fn coded(&mut self, ids: u64) -> Result<(Timestamp, usize), DecodeError> {
        let at = self.at;
        let coded = if self.peek()? == Marker::Bin8 {
            stamp::of_absolute(self.bin()?, ids)
        } else {
            let code = self.integer()?;
            stamp::of_code(self.previous, code, ids)
        };
        let (time, place) = coded.ok_or(DecodeError::Stamp { at })?;
        self.previous = time;
        Ok((time, usize::try_from(place).map_err(|_| DecodeError::Stamp { at })?))
    }

    /// A value of the application. Its shape is checked against the limits before serde sees a byte of it.
    pub(crate) fn value<T: DeserializeOwned>(&mut self) -> Result<T, DecodeError> {
        let at = self.at;
        self.skip()?;
        let bytes = self.bytes.get(at..self.at).unwrap_or_default();
        let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
        deserializer.set_max_depth(self.limits.depth.saturating_add(8));
        T::deserialize(&mut deserializer)
            .map_err(|error| DecodeError::Value { at, reason: error.to_string() })
    }

    /// Goes one level down, within the limit of depth, for as long as `read` runs.
    ///
    /// # Errors
    /// That of `read`, or the limit is exceeded.
    pub fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        if self.depth >= self.limits.depth {
            return Err(DecodeError::Limit { limit: "depth", allowed: self.limits.depth });
        }
        self.depth = self.depth.saturating_add(1);
        let value = read(self);
        self.depth = self.depth.saturating_sub(1);
        value
    }

    /// Passes over one MessagePack value of any shape.
    fn skip(&mut self) -> Result<(), DecodeError> {
        let at = self.at;
        let marker = self.peek()?;
        self.advance(1);
        let bytes = match marker {
            Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::True | Marker::False => 0,
            Marker::U8 | Marker::I8 => 1,
            Marker::U16 | Marker::I16 => 2,
            Marker::U32 | Marker::I32 | Marker::F32 => 4,
            Marker::U64 | Marker::I64 | Marker::F64 => 8,
            Marker::FixStr(len) => self.text(u64::from(len))?,
            Marker::Str8 | Marker::Bin8 => {
                let len = self.number::<1>()?;
                self.text(len)?
            }
            Marker::Str16 | Marker::Bin16 => {
                let len = self.number::<2>()?;
                self.text(len)?
            }
            Marker::Str32 | Marker::Bin32 => {
                let len = self.number::<4>()?;
                self.text(len)?
            }
            // An extension has a byte for its type before its bytes.
            Marker::FixExt1 => 2,
            Marker::FixExt2 => 3,
            Marker::FixExt4 => 5,
            Marker::FixExt8 => 9,
            Marker::FixExt16 => 17,
            Marker::Ext8 => {
                let len = self.number::<1>()?;
                self.text(len)?.saturating_add(1)
            }
            Marker::Ext16 => {
                let len = self.number::<2>()?;
                self.text(len)?.saturating_add(1)
            }
            Marker::Ext32 => {
                let len = self.number::<4>()?;
                self.text(len)?.saturating_add(1)
            }
            Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => {
                self.at = at;
                let len = self.array()?;
                return self.skip_all(len);
            }
            Marker::FixMap(len) => return self.skip_map(u64::from(len)),
            Marker::Map16 => {
                let len = self.number::<2>()?;
                return self.skip_map(len);
            }
            Marker::Map32 => {
                let len = self.number::<4>()?;
                return self.skip_map(len);
            }
            Marker::Reserved => return Err(DecodeError::Expected { what: "a value", at }),
        };
        self.take(bytes).map(drop)
    }

    fn skip_map(&mut self, len: u64) -> Result<(), DecodeError> {
        self.claim(if len > 0 { MAP_BYTES } else { 0 })?;
        let len = self.count(len.saturating_mul(2))?;
        self.skip_all(len)
    }

    fn skip_all(&mut self, len: usize) -> Result<(), DecodeError> {
        self.claim(len.saturating_mul(ELEMENT_BYTES))?;
        self.nested(|decoder| {
            for _ in 0..len {
                decoder.skip()?;
            }
            Ok(())
        })
    }

    fn text(&mut self, len: u64) -> Result<usize, DecodeError> {
        let len = self.size(len)?;
        if len > self.limits.text_bytes {
            return Err(DecodeError::Limit { limit: "text_bytes", allowed: self.limits.text_bytes });
        }
        Ok(len)
    }
}

fn is_array(marker: Marker) -> bool {
    matches!(marker, Marker::FixArray(_) | Marker::Array16 | Marker::Array32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(
        bytes: &[u8],
        read: impl FnOnce(&mut Decoder<'_>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let limits = Limits { memory_bytes: 1 << 24, ..Limits::default() };
        let mut decoder = Decoder::new(bytes, &limits)?;
        let read = read(&mut decoder)?;
        decoder.finish()?;
        Ok(read)
    }

    #[test]
    fn numbers_and_lengths_of_every_width_are_read() {
        let ends = [8, 16, 32, 64].map(|bits| i64::MAX >> (64 - bits));
        let numbers = ends
            .into_iter()
            .flat_map(|end| [end, end.wrapping_add(1), -end, -end - 1, (-end).wrapping_sub(2)]);
        for number in numbers.chain([0, 1, -1, -32, -33, 255, 256, 65_535, 65_536]) {
            let mut bytes = Vec::new();
            rmp::encode::write_sint(&mut bytes, number).unwrap();
            assert_eq!(read(&bytes, |decoder| decoder.int()), Ok(number));
            assert_eq!(read(&bytes, |decoder| decoder.uint()).ok(), u64::try_from(number).ok());
        }
        for len in [0, 1, 15, 16, 255, 256, 65_535, 65_536] {
            let content = vec![7_u8; len];
            let mut bytes = Vec::new();
            rmp::encode::write_bin(&mut bytes, &content).unwrap();
            assert_eq!(read(&bytes, |decoder| decoder.bin().map(<[u8]>::to_vec)), Ok(content));
            // An array of as many elements as bytes follow is the longest that there can be.
            let mut bytes = Vec::new();
            rmp::encode::write_array_len(&mut bytes, len as u32).unwrap();
            bytes.resize(bytes.len() + len, 0);
            assert_eq!(read(&bytes, |decoder| decoder.value::<Vec<u8>>()).map(|list| list.len()), Ok(len));
            if len > 0 {
                bytes.pop();
                let short = Err(DecodeError::Truncated { at: bytes.len() });
                assert_eq!(read(&bytes, |decoder| decoder.value::<Vec<u8>>()), short);
            }
        }
    }

    #[test]
    fn keys_are_hashed_with_the_seed_that_was_set() {
        let limits = Limits::default();
        let decoder = Decoder::new(&[], &limits).unwrap();
        assert_eq!(decoder.with_hash_seed(7).hash_seed(), 7);
    }

    #[test]
    fn as_many_elements_are_read_as_are_allowed() {
        let skip = |elements| {
            let limits = Limits { elements, ..Limits::default() };
            Decoder::new(&[0x93, 1, 2, 3], &limits)?.skip()
        };
        assert_eq!(skip(3), Ok(()));
        assert_eq!(skip(2), Err(DecodeError::Limit { limit: "elements", allowed: 2 }));
    }

    #[test]
    fn a_map_of_a_value_is_counted_unless_it_is_empty() {
        let skip = |bytes: &[u8], memory_bytes| {
            let limits = Limits { memory_bytes, ..Limits::default() };
            Decoder::new(bytes, &limits)?.skip()
        };
        assert_eq!(skip(&[0x80], 0), Ok(()));
        let enough = MAP_BYTES + 2 * ELEMENT_BYTES;
        assert_eq!(skip(&[0x81, 1, 2], enough), Ok(()));
        let refused = DecodeError::Limit { limit: "memory_bytes", allowed: enough - 1 };
        assert_eq!(skip(&[0x81, 1, 2], enough - 1), Err(refused));
    }

    #[test]
    fn memory_up_to_the_limit_is_given_and_no_more() {
        let twice = |decoder: &mut Decoder<'_>, second: usize| {
            decoder.room::<[u8; 1 << 23]>(1, 1)?;
            decoder.room::<[u8; 1 << 20]>(second, 1)?;
            decoder.take(8).map(drop)
        };
        assert_eq!(read(&[0; 8], |decoder| twice(decoder, 8)), Ok(()));
        let refused = DecodeError::Truncated { at: 8 };
        assert_eq!(read(&[0; 8], |decoder| twice(decoder, 9)), Err(refused));
        let refused = DecodeError::Limit { limit: "memory_bytes", allowed: 1 << 24 };
        assert_eq!(read(&[0; 9], |decoder| twice(decoder, 9)), Err(refused));
    }
}
