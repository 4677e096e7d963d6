//! Reading a message: total on any bytes, within limits, and never trusting a length.

use rmp::Marker;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::causal::dot::Dot;
use crate::causal::frontier::Frontier;
use crate::wire::column::{self, Flaw};
use crate::wire::encode;
use crate::wire::error::DecodeError;
use crate::wire::events::{self, Count};
use crate::wire::hash::{SHORT_BITS, SHORT_BYTES};
use crate::wire::limits::Limits;
use crate::wire::shape::Shape;

/// What an element of an application's list is taken to need in memory, whatever its type: as much as a dynamic value.
const ELEMENT_BYTES: usize = 32;

/// What a map within a value is taken to need, however few entries it has: a node of the standard library's ordered map.
const MAP_BYTES: usize = 640;

/// What stands where a value of a type should.
#[derive(Debug)]
pub(crate) enum ValueOrBytes<'a, T> {
    /// A value of the type.
    Value(T),
    /// What is to be kept as it came, and what can be read of it, if anything.
    Bytes(&'a [u8], Option<T>),
}

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
    /// The rows of all maps so far.
    rows: usize,
    /// What the keys that were numbers in a dictionary count for.
    looked_up: usize,
    /// The events that the message names, by number.
    events: Vec<Dot>,
    /// How many replicas they can be of.
    ids: usize,
    hash_seed: u64,
    /// Whether the message says that it names keys in short form.
    has_short: bool,
    /// The keys that it named so, in full.
    named: Vec<u8>,
    /// Whether a value that is not of its register's type is a reason to refuse the message.
    must_understand: bool,
    /// The shape of nodes that are to be read.
    nodes: Shape,
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
            rows: 0,
            looked_up: 0,
            events: Vec::new(),
            ids: 0,
            hash_seed: 0,
            has_short: false,
            named: Vec::new(),
            must_understand: false,
            nodes: Shape::CLOSED,
        })
    }

    /// Sets what keys are hashed with, to find those that stand twice.
    pub(crate) fn with_hash_seed(self, hash_seed: u64) -> Self {
        Self { hash_seed, ..self }
    }

    pub(crate) fn hash_seed(&self) -> u64 {
        self.hash_seed
    }

    /// From now on, or no longer: refuses what is not of its register's type.
    pub(crate) fn set_must_understand(&mut self, must_understand: bool) {
        self.must_understand = must_understand;
    }

    /// The shape of nodes that are to be read.
    pub(crate) fn nodes(&self) -> Shape {
        self.nodes
    }

    /// Says which shape nodes have. Returns what was said before.
    pub(crate) fn set_nodes(&mut self, nodes: Shape) -> Shape {
        std::mem::replace(&mut self.nodes, nodes)
    }

    /// Lets keys be named in short form.
    pub(crate) fn allow_short(&mut self) {
        self.has_short = true;
    }

    /// So many keys in short form, no two the same. If two are, the peer is to name them in full.
    pub(crate) fn short_keys(&mut self, count: usize) -> Result<Vec<u64>, DecodeError> {
        let at = self.at;
        if count > 0 && !self.has_short {
            return Err(DecodeError::Expected { what: "keys in full", at });
        }
        let forms = if count == 1 {
            let bytes: [u8; SHORT_BYTES] = self.array()?;
            vec![bytes.iter().fold(0, |form, byte| form << 8 | u64::from(*byte))]
        } else {
            self.ints(count)?
        };
        let mut sorted = forms.clone();
        sorted.sort_unstable();
        if sorted.last().is_some_and(|form| form >> SHORT_BITS > 0) {
            return Err(DecodeError::Expected { what: "keys in short form", at });
        }
        // Two keys may have the same: who names them cannot know which one is meant, and is asked for them in full. Before keys
        // are taken for them: many forms of one long key would take much memory.
        if !sorted.is_sorted_by(|a, b| a < b) {
            return Err(DecodeError::UnknownKey { at });
        }
        Ok(forms)
    }

    /// Takes note of a key that was named in short form.
    #[inline]
    pub(crate) fn note_short<K: Serialize>(&mut self, key: &K) -> Result<(), DecodeError> {
        let before = self.named.len();
        rmp_serde::encode::write(&mut self.named, key)
            .map_err(|error| DecodeError::Value { at: self.at, reason: error.to_string() })?;
        // It stands here and in its row, and takes a few bytes of the message however long it is.
        self.claim(self.named.len().saturating_sub(before).saturating_mul(2))
    }

    /// The keys that were named in short form, in full.
    pub(crate) fn named(&self) -> &[u8] {
        &self.named
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

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let taken = self.rest().get(..len).ok_or(DecodeError::Truncated { at: self.bytes.len() })?;
        self.advance(len);
        Ok(taken)
    }

    /// So many bytes as they are.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.first_chunk().copied().ok_or(DecodeError::Truncated { at: self.bytes.len() })
    }

    fn number<const N: usize>(&mut self) -> Result<u64, DecodeError> {
        let bytes = self.take(N)?;
        Ok(bytes.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    fn size(&self, number: u64) -> Result<usize, DecodeError> {
        usize::try_from(number).map_err(|_| DecodeError::Truncated { at: self.bytes.len() })
    }

    /// What stands next in a form that `read` reads; `what` it should be.
    pub(crate) fn read<T>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&mut &'a [u8]) -> Result<T, Flaw>,
    ) -> Result<T, DecodeError> {
        let mut rest = self.rest();
        let read = read(&mut rest).map_err(|flaw| self.error(flaw, what))?;
        self.at = self.bytes.len().saturating_sub(rest.len());
        Ok(read)
    }

    fn error(&self, flaw: Flaw, what: &'static str) -> DecodeError {
        match flaw {
            Flaw::Truncated => DecodeError::Truncated { at: self.bytes.len() },
            Flaw::Malformed => DecodeError::Expected { what, at: self.at },
        }
    }

    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        self.read("a number", column::read_varint)
    }

    /// A column of numbers. There are as many as were counted before, by whatever they belong to.
    ///
    /// # Errors
    /// Something else stands here, or a limit is exceeded.
    pub fn ints(&mut self, count: usize) -> Result<Vec<u64>, DecodeError> {
        // The column is let go of when what it tells has been read: its memory is checked, and not claimed.
        self.afford(count.saturating_mul(size_of::<u64>()))?;
        self.read("a column of numbers", |rest| column::read(rest, count))
    }

    /// The sum of numbers that say how much there is.
    pub(crate) fn sum(&self, numbers: impl IntoIterator<Item = u64>) -> Result<usize, DecodeError> {
        let sum = numbers.into_iter().fold(0, u64::saturating_add);
        self.size(sum)
    }

    /// The table of events. `ends` are those of the vectors; none may be beyond `to`. Returns whether any state follows.
    pub(crate) fn events(&mut self, ends: Vec<Dot>, ids: usize, to: &Frontier) -> Result<bool, DecodeError> {
        let at = self.at;
        self.ids = ids;
        self.events = match self.read("a table of events", Count::read)? {
            Count::None => return Ok(false),
            Count::Ends => ends,
            Count::Listed(count) => {
                self.elements(count)?;
                self.claim(count.saturating_mul(size_of::<Dot>()))?;
                self.afford(count.saturating_mul(size_of::<u64>()).saturating_mul(2))?;
                let newest = to.iter().map(|dot| dot.time.millis()).max().unwrap_or_default();
                let events = self.read("a table of events", |rest| events::read(rest, count, ids, newest));
                events.map_err(|error| match error {
                    DecodeError::Expected { .. } => DecodeError::Stamp { at },
                    error => error,
                })?
            }
        };
        if self.events.iter().any(|event| !to.covers(*event)) {
            return Err(DecodeError::Stamp { at });
        }
        Ok(true)
    }

    /// The event of a number that was read before.
    #[inline]
    pub(crate) fn event(&self, number: u64) -> Result<Dot, DecodeError> {
        let place = usize::try_from(number).ok();
        let event = place.and_then(|place| self.events.get(place)).copied();
        event.ok_or(DecodeError::Stamp { at: self.at })
    }

    /// Takes note of lists of events of these lengths, which follow as one column, and in none of which a replica may stand
    /// twice. Returns how many events that are.
    pub(crate) fn lists(&mut self, lengths: impl IntoIterator<Item = u64>) -> Result<usize, DecodeError> {
        let (mut lists, mut all, mut longest) = (0_usize, 0_u64, 0_u64);
        for length in lengths {
            lists = lists.saturating_add(1);
            all = all.saturating_add(length);
            longest = longest.max(length);
        }
        if longest > self.ids as u64 {
            return Err(DecodeError::Repeated { what: "an event of one replica in a list", at: self.at });
        }
        // Numbers that differ from those before them take a bit each at least, unless they count through the whole table; so
        // a column of few bytes cannot stand for many lists of more than one.
        let distinct = self.rest().len().saturating_mul(8).saturating_add(self.events.len());
        let all = self.size(all)?;
        if all > lists.saturating_add(distinct) {
            return Err(DecodeError::Truncated { at: self.bytes.len() });
        }
        self.elements(all)?;
        self.claim(all.saturating_mul(size_of::<Dot>()))?;
        Ok(all)
    }

    /// Counts elements, which may take no bytes at all.
    pub(crate) fn elements(&mut self, count: usize) -> Result<(), DecodeError> {
        self.elements = self.elements.saturating_add(count);
        if self.elements > self.limits.elements {
            return Err(DecodeError::Limit { limit: "elements", allowed: self.limits.elements });
        }
        Ok(())
    }

    /// Counts rows of maps, each of a key and a value. Their keys come later: one that is a number counts for five at least, of
    /// which there may be eight for each byte, and any other takes a byte; so there are fewer than three for each byte.
    pub(crate) fn add_rows(&mut self, rows: usize) -> Result<(), DecodeError> {
        self.rows = self.rows.saturating_add(rows);
        if self.rows / 3 > self.bytes.len() {
            return Err(DecodeError::Truncated { at: self.bytes.len() });
        }
        self.elements(rows.saturating_mul(2))
    }

    /// Whether keys may be numbers in a dictionary at `at`, where they would take `bytes` in full; counts them if so.
    pub(crate) fn look_up(&mut self, at: usize, keys: usize, bytes: usize) -> bool {
        encode::look_up(&mut self.looked_up, at, keys, bytes)
    }

    /// The memory that was claimed so far.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    /// Notes `count` elements, each at least a byte long.
    fn count(&mut self, count: u64) -> Result<usize, DecodeError> {
        let count = self.size(count)?;
        if count > self.rest().len() {
            return Err(DecodeError::Truncated { at: self.bytes.len() });
        }
        self.elements(count)?;
        Ok(count)
    }

    /// Whether `count` things, each at least a byte long, can follow. Returns `count`.
    pub(crate) fn follow(&self, count: usize) -> Result<usize, DecodeError> {
        if count > self.rest().len() {
            return Err(DecodeError::Truncated { at: self.bytes.len() });
        }
        Ok(count)
    }

    /// Takes note of memory for `count` items. Returns `count`.
    pub(crate) fn room<T>(&mut self, count: usize) -> Result<usize, DecodeError> {
        self.claim(count.saturating_mul(size_of::<T>()))?;
        Ok(count)
    }

    fn claim(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.afford(bytes)?;
        self.memory = self.memory.saturating_add(bytes);
        Ok(())
    }

    /// Whether there is so much memory left.
    fn afford(&self, bytes: usize) -> Result<(), DecodeError> {
        if self.memory.saturating_add(bytes) > self.limits.memory_bytes {
            return Err(DecodeError::Limit { limit: "memory_bytes", allowed: self.limits.memory_bytes });
        }
        Ok(())
    }

    /// The head of an array: its length, which no more than the bytes that follow could hold.
    fn list(&mut self) -> Result<usize, DecodeError> {
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

    /// A value of the application. Its shape is checked against the limits before serde sees a byte of it.
    pub(crate) fn value<T: DeserializeOwned>(&mut self) -> Result<T, DecodeError> {
        let at = self.at;
        let bytes = self.shape()?;
        self.typed(bytes).map_err(|error| DecodeError::Value { at, reason: error.to_string() })
    }

    /// A value of the application that may be of another type than the receiver's: its bytes, and the value if they are all
    /// that it is written as. What is not is to be kept as it came. If all values of the message must be understood, it is
    /// an error.
    #[inline]
    pub(crate) fn value_or_bytes<T: DeserializeOwned + Serialize>(
        &mut self,
    ) -> Result<ValueOrBytes<'a, T>, DecodeError> {
        let at = self.at;
        let bytes = self.shape()?;
        match self.typed(bytes) {
            Ok(value) if self.must_understand || encode::is_written_as(&value, bytes) => {
                Ok(ValueOrBytes::Value(value))
            }
            value => self.other_type(at, bytes, value),
        }
    }

    #[cold]
    fn other_type<T>(
        &mut self,
        at: usize,
        bytes: &'a [u8],
        value: Result<T, rmp_serde::decode::Error>,
    ) -> Result<ValueOrBytes<'a, T>, DecodeError> {
        let value = match value {
            Err(error) if self.must_understand => {
                return Err(DecodeError::Value { at, reason: error.to_string() });
            }
            value => value.ok(),
        };
        self.claim(bytes.len())?;
        Ok(ValueOrBytes::Bytes(bytes, value))
    }

    /// The bytes of a value, whose shape is within the limits.
    #[inline]
    fn shape(&mut self) -> Result<&'a [u8], DecodeError> {
        let at = self.at;
        self.skip()?;
        Ok(self.bytes.get(at..self.at).unwrap_or_default())
    }

    #[inline]
    fn typed<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, rmp_serde::decode::Error> {
        let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
        deserializer.set_max_depth(self.limits.depth.saturating_add(8));
        T::deserialize(&mut deserializer)
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
                let len = self.list()?;
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
    fn lists_of_every_length_are_read() {
        for len in [0, 1, 15, 16, 255, 256, 65_535, 65_536] {
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

    /// The column says in three bytes that there are so many numbers; what is to be told of them was counted before.
    #[test]
    fn a_column_is_not_read_beyond_the_memory_that_is_left() {
        let bytes = [0, 7];
        let ints = |count| read(&bytes, |decoder| decoder.ints(count)).map(|numbers| numbers.len());
        assert_eq!(ints(1 << 21), Ok(1 << 21));
        let refused = Err(DecodeError::Limit { limit: "memory_bytes", allowed: 1 << 24 });
        assert_eq!(ints((1 << 21) + 1), refused);
        assert_eq!(ints(usize::MAX), refused);
        // It is let go of, and the next may take as much.
        let twice = |decoder: &mut Decoder<'_>| Ok((decoder.ints(1 << 21)?.len(), decoder.ints(1)?.len()));
        assert_eq!(read(&[0, 7, 5], twice), Ok((1 << 21, 1)));
    }

    #[test]
    fn no_more_than_three_rows_a_byte_are_believed() {
        let rows = |rows| read(&[0, 0, 0], |decoder| decoder.add_rows(rows).and(decoder.take(3).map(drop)));
        assert_eq!(rows(11), Ok(()));
        assert_eq!(rows(12), Err(DecodeError::Truncated { at: 3 }));
        assert_eq!(rows(usize::MAX), Err(DecodeError::Truncated { at: 3 }));
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
            decoder.room::<[u8; 1 << 23]>(1)?;
            decoder.room::<[u8; 1 << 20]>(second)
        };
        assert_eq!(read(&[], |decoder| twice(decoder, 8)), Ok(8));
        let refused = DecodeError::Limit { limit: "memory_bytes", allowed: 1 << 24 };
        assert_eq!(read(&[], |decoder| twice(decoder, 9)), Err(refused.clone()));
        assert_eq!(read(&[], |decoder| twice(decoder, usize::MAX)), Err(refused));
    }
}
