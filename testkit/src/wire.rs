//! Messages taken apart as `docs/wire-format.md` describes them, beside the engine's own decoder: to see what a message
//! holds, and to compare what replicas hold in full, marks included.

use std::collections::{BTreeMap, BTreeSet};

use driftless::{ReplicaId, Timestamp, Value, VersionVector};
use rmp::Marker;
use rmp::decode;

use crate::oracle::{Payload, Place};
use crate::subject::Subject;

/// Who, and when.
pub type Dot = (ReplicaId, Timestamp);

/// What a message holds of one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The marks of a removed row.
    pub floor: BTreeSet<Dot>,
    /// What is live; for a counter with the first stamp of the run.
    pub live: BTreeMap<Dot, (Payload, Option<Timestamp>)>,
    /// The marks that are no live payload's.
    pub marks: BTreeSet<Dot>,
    /// The records of removed counts.
    pub removed: BTreeMap<Dot, i64>,
}

/// What a message holds, place by place, in no order.
pub type Parts = BTreeMap<Place, Part>;

/// A message, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The table of ids.
    pub ids: Vec<ReplicaId>,
    /// How many of them are named in full: the first ones.
    pub named: usize,
    /// From where it goes on.
    pub from: VersionVector,
    /// Where it leads.
    pub to: VersionVector,
    /// What the sender has forgotten marks of, if it sent all it holds.
    pub cut: Option<VersionVector>,
    /// Which part of a transfer it is, if it is one.
    pub chunk: Option<Chunk>,
    /// The state.
    pub parts: Parts,
}

/// A part of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its index, from 0.
    pub index: u64,
    /// Whether it is the last.
    pub is_last: bool,
    /// The hash of the chunk before.
    pub follows: u64,
}

/// The short form of an id.
pub fn short(id: &ReplicaId) -> [u8; 2] {
    let bits = id.uuid().as_u128();
    (0..8).fold(0, |short, word| short ^ (bits >> (16 * word)) as u16).to_be_bytes()
}

impl Message {
    /// Takes a message apart. Short forms mean those of `known`.
    ///
    /// # Errors
    /// It is not as the format says.
    pub fn read<S: Subject>(bytes: &[u8], known: &[ReplicaId]) -> Result<Self, String> {
        Self::read_by(bytes, known, |reader, place, parts| S::take_apart(reader, place, parts))
    }

    /// As [`read`](Self::read), with a function that reads the state.
    ///
    /// # Errors
    /// As of [`read`](Self::read).
    pub fn read_by(
        bytes: &[u8],
        known: &[ReplicaId],
        take_apart: impl FnOnce(&mut Reader<'_>, &mut Place, &mut Parts) -> Result<(), String>,
    ) -> Result<Self, String> {
        let mut reader = Reader { bytes, ids: Vec::new(), previous: Timestamp::ZERO };
        let elements = reader.array()?;
        let (version, counts) = (reader.uint()?, reader.uint()?);
        let (is_complete, is_chunk) = (version & 1 == 1, version & 2 == 2);
        if version >> 2 != 2 {
            return Err(format!("the version is {version:b}"));
        }
        let (new, changed) = ((counts >> 13) as usize, (counts & 0x1FFF) as usize);
        reader.read_ids(new, known)?;
        let ids = reader.ids.clone();
        reader.previous = Timestamp::from_bits(reader.uint()?);
        let (mut from, mut to) = (VersionVector::new(), VersionVector::new());
        let mut stamps = 0;
        for (place, id) in ids.iter().enumerate() {
            let end = if place == 0 { reader.previous } else { reader.stamp()? };
            let start = match place {
                _ if place < new && reader.nil() => Timestamp::ZERO,
                _ if place < new + changed => reader.stamp()?,
                _ => end,
            };
            stamps += usize::from(place > 0) + usize::from(place < new + changed);
            to.raise(*id, end);
            from.raise(*id, start);
        }
        let cut = if is_complete {
            expect(reader.array()? == ids.len(), "a cut of one stamp for each id")?;
            let stamps = ids.iter().map(|id| Ok((*id, reader.stamp()?)));
            Some(stamps.collect::<Result<_, String>>()?)
        } else {
            None
        };
        let chunk = if is_chunk {
            let (place, follows) = (reader.uint()?, reader.uint()?);
            Some(Chunk { index: place >> 1, is_last: place & 1 == 1, follows })
        } else {
            None
        };
        let mut parts = Parts::new();
        if !reader.nil() {
            take_apart(&mut reader, &mut Vec::new(), &mut parts)?;
        }
        expect(reader.bytes.is_empty(), "the end of the message")?;
        let expected = 5 + stamps + usize::from(is_complete) + 2 * usize::from(is_chunk);
        expect(elements == expected, "as many elements as the head asks for")?;
        Ok(Self { ids, named: new, from, to, cut, chunk, parts })
    }
}

/// The parts without the marks that follow from those of a removed row around them: which of these are kept depends on the
/// route by which they came.
pub fn without_implied(parts: &Parts) -> Parts {
    let covers = |marks: &BTreeSet<Dot>, (id, stamp): &Dot| {
        marks.iter().any(|(other, newest)| other == id && newest >= stamp)
    };
    let lean = parts.iter().map(|(place, part)| {
        let above = |len| parts.get(&place[..len]).map(|above| &above.floor);
        let is_implied = |mark: &Dot| (0..place.len()).filter_map(above).any(|floor| covers(floor, mark));
        let mut lean = part.clone();
        lean.floor.retain(|mark| !is_implied(mark));
        lean.marks.retain(|mark| !is_implied(mark) && !covers(&part.floor, mark));
        (place.clone(), lean)
    });
    lean.filter(|(_, part)| *part != Part::default()).collect()
}

fn expect(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("expected {what}")) }
}

/// The bytes of a message on their way to be read.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    ids: Vec<ReplicaId>,
    previous: Timestamp,
}

impl Reader<'_> {
    fn read_ids(&mut self, new: usize, known: &[ReplicaId]) -> Result<(), String> {
        let table = self.bin()?;
        expect(table.len() >= new * 16, "a table of ids")?;
        let (full, shorts) = table.split_at(new * 16);
        // The check behind the short forms is the engine's to make; here each must mean one id.
        let shorts = shorts.split_last_chunk::<4>().map_or(shorts, |(shorts, _)| shorts);
        expect(shorts.len() % 2 == 0, "short forms of ids")?;
        for id in full.as_chunks::<16>().0 {
            self.ids.push(ReplicaId::new(uuid::Uuid::from_bytes(*id)));
        }
        for form in shorts.as_chunks::<2>().0 {
            let meant: Vec<_> = known.iter().filter(|id| short(id) == *form).collect();
            expect(meant.len() == 1, "a short form of one id")?;
            self.ids.push(*meant[0]);
        }
        Ok(())
    }

    fn marker(&self) -> Marker {
        self.bytes.first().map_or(Marker::Reserved, |byte| Marker::from_u8(*byte))
    }

    /// Whether nil is next; takes it.
    pub fn nil(&mut self) -> bool {
        let is_nil = self.marker() == Marker::Null;
        self.bytes = &self.bytes[usize::from(is_nil)..];
        is_nil
    }

    /// Whether an array is next.
    pub fn is_array(&self) -> bool {
        matches!(self.marker(), Marker::FixArray(_) | Marker::Array16 | Marker::Array32)
    }

    /// The length of an array.
    ///
    /// # Errors
    /// Something else is next; so for all that follow.
    pub fn array(&mut self) -> Result<usize, String> {
        decode::read_array_len(&mut self.bytes).map(|len| len as usize).map_err(|error| error.to_string())
    }

    fn integer(&mut self) -> Result<i128, String> {
        decode::read_int(&mut self.bytes).map_err(|error| error.to_string())
    }

    /// An integer that is not negative.
    ///
    /// # Errors
    /// As of [`array`](Self::array).
    pub fn uint(&mut self) -> Result<u64, String> {
        u64::try_from(self.integer()?).map_err(|error| error.to_string())
    }

    /// A signed integer.
    ///
    /// # Errors
    /// As of [`array`](Self::array).
    pub fn int(&mut self) -> Result<i64, String> {
        i64::try_from(self.integer()?).map_err(|error| error.to_string())
    }

    fn bin(&mut self) -> Result<Vec<u8>, String> {
        let len = decode::read_bin_len(&mut self.bytes).map_err(|error| error.to_string())?;
        let (taken, rest) = self.bytes.split_at_checked(len as usize).ok_or("the bytes are cut off")?;
        self.bytes = rest;
        Ok(taken.to_vec())
    }

    /// A value.
    ///
    /// # Errors
    /// As of [`array`](Self::array).
    pub fn value(&mut self) -> Result<Value, String> {
        rmp_serde::from_read(&mut self.bytes).map_err(|error| error.to_string())
    }

    /// A stamp, coded beside the one before it, and the place of its author in a table of `ids`.
    fn coded(&mut self, ids: u64) -> Result<(Timestamp, usize), String> {
        let unzigzag = |n: u64| if n.is_multiple_of(2) { (n / 2) as i128 } else { -1 - (n / 2) as i128 };
        let (millis, counter) = (i128::from(self.previous.millis()), i128::from(self.previous.counter()));
        let (millis, counter, place) = if self.marker() == Marker::Bin8 {
            let bytes = u128::from_str_radix(
                &self.bin()?.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
                16,
            );
            let bits = bytes.map_err(|error| error.to_string())?;
            ((bits >> 32) as i128, (bits >> 16 & 0xFFFF) as i128, (bits & 0xFFFF) as u64)
        } else {
            let code = self.integer()?;
            let number = if code < 0 { (-1 - code) as u64 } else { code as u64 };
            let (number, place) = (number / ids, number % ids);
            match code {
                ..0 => (millis + unzigzag(number >> 16), i128::from(number & 0xFFFF), place),
                _ if number % 2 == 0 => (millis, counter + unzigzag(number / 2), place),
                _ => (millis + unzigzag(number / 2), 0, place),
            }
        };
        let counter = u16::try_from(counter).map_err(|error| error.to_string())?;
        let stamp = Timestamp::new(millis as u64, counter).map_err(|error| error.to_string())?;
        self.previous = stamp;
        Ok((stamp, place as usize))
    }

    fn stamp(&mut self) -> Result<Timestamp, String> {
        self.coded(1).map(|(stamp, _)| stamp)
    }

    fn dot(&mut self) -> Result<Dot, String> {
        let (stamp, place) = self.coded(self.ids.len() as u64)?;
        let id = self.ids.get(place).ok_or("the author is not in the table")?;
        Ok((*id, stamp))
    }

    /// An array of dots.
    ///
    /// # Errors
    /// As of [`array`](Self::array).
    pub fn marks(&mut self) -> Result<BTreeSet<Dot>, String> {
        (0..self.array()?).map(|_| self.dot()).collect()
    }

    /// A cell, whose payload takes so many elements.
    ///
    /// # Errors
    /// As of [`array`](Self::array).
    pub fn cell(
        &mut self,
        items: usize,
        payload: impl Fn(&mut Self, Timestamp) -> Result<(Payload, Option<Timestamp>), String>,
    ) -> Result<Part, String> {
        let mut part = Part::default();
        if self.nil() {
            return Ok(part);
        }
        let len = self.array()?;
        if !self.is_array() {
            expect(len == 1 + items || len == 2 + items, "a dot and its payload")?;
            let dot = self.dot()?;
            part.live.insert(dot, payload(self, dot.1)?);
            if len == 2 + items {
                part.marks = self.marks()?;
            }
            return Ok(part);
        }
        for _ in 0..self.array()? / (1 + items) {
            let dot = self.dot()?;
            part.live.insert(dot, payload(self, dot.1)?);
        }
        part.marks = self.marks()?;
        if len == 3 {
            for _ in 0..self.array()? / 2 {
                let dot = self.dot()?;
                part.removed.insert(dot, self.int()?);
            }
        }
        Ok(part)
    }

    /// The rows of a map: for each the key, what its removals had seen, and the value, which `value` reads.
    ///
    /// # Errors
    /// As of [`array`](Self::array), or that of `value`; or a key stands twice.
    pub fn rows(
        &mut self,
        mut value: impl FnMut(&mut Self, Value, BTreeSet<Dot>) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut keys = BTreeSet::new();
        let len = self.array()?;
        if len % 2 == 1 {
            for _ in 0..self.array()? / 3 {
                let (key, floor) = (self.value()?, self.marks()?);
                expect(keys.insert(key.clone()), "each key once")?;
                value(self, key, floor)?;
            }
        }
        for _ in 0..len / 2 {
            let key = self.value()?;
            expect(keys.insert(key.clone()), "each key once")?;
            value(self, key, BTreeSet::new())?;
        }
        Ok(())
    }
}
