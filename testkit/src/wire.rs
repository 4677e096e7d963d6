//! Messages taken apart as `docs/wire-format.md` describes them, beside the engine's own decoder: to see what a message
//! holds, and to compare what replicas hold in full, marks included.

use std::collections::{BTreeMap, BTreeSet};

use driftless::{ReplicaId, Timestamp, Value, VersionVector};
use serde::de::IgnoredAny;

use crate::oracle::{Item, Payload, Place};
use crate::schema::Schema;
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
    /// How many of the ids are closed, if it says so.
    pub closed: Option<usize>,
    /// What the cluster says of itself.
    pub system: Parts,
    /// The state.
    pub parts: Parts,
}

/// What a cluster says of itself: members, the epoch, closed ids, and ids that were used twice.
pub const SYSTEM: Schema = Schema::Struct(&[
    ("members", Schema::Map(&Schema::Register)),
    ("epoch", Schema::Register),
    ("closed", Schema::Map(&Schema::Register)),
    ("forks", Schema::Map(&Schema::Map(&Schema::Register))),
]);

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
        Self::read_as(bytes, known, &S::SCHEMA)
    }

    /// As [`read`](Self::read), of a state of a schema.
    ///
    /// # Errors
    /// As of [`read`](Self::read).
    pub fn read_as(bytes: &[u8], known: &[ReplicaId], schema: &Schema) -> Result<Self, String> {
        let mut reader =
            Reader { bytes, at: 0, ids: Vec::new(), events: Vec::new(), looked_up: 0, has_short_keys: false };
        let version = reader.byte()?;
        let (is_complete, is_chunk) = (version & 1 == 1, version & 2 == 2);
        let has_parts = version >> 3 == 3;
        if version >> 3 != 2 && !has_parts {
            return Err(format!("the version is {version:b}"));
        }
        let counts = reader.varint()?;
        let new = if counts & 2 == 2 { reader.varint()? as usize } else { 0 };
        let unchanged = if counts & 1 == 1 { reader.varint()? as usize } else { 0 };
        let changed = (counts >> 2) as usize;
        let parts_code = if has_parts { reader.varint()? } else { 0 };
        let closed = (parts_code >> 2) as usize;
        expect(!has_parts || closed > 0 || parts_code & 2 == 2, "a part of the system, or closed ids")?;
        expect(closed <= new + changed + unchanged, "no more closed ids than ids")?;
        reader.read_ids(new, changed + unchanged, known)?;
        let ids = reader.ids.clone();
        let (mut from, mut to) = (VersionVector::new(), VersionVector::new());
        let mut before = None;
        for (place, id) in ids.iter().enumerate() {
            let code = reader.varint()?;
            let is_end = place < new && code & 1 == 1;
            let first = reader.stamp(if place < new { code >> 1 } else { code }, |code| match before {
                None => Ok(code),
                Some(before) => {
                    u64::checked_add_signed(before, unzigzag(code)).ok_or("before all time".to_owned())
                }
            })?;
            let (start, end) = if is_end {
                (Timestamp::ZERO, first)
            } else if place < new + changed {
                let code = reader.varint()?;
                (first, reader.stamp(code, |code| Ok(first.millis() + code))?)
            } else {
                (first, first)
            };
            before = Some(end.millis());
            to.raise(*id, end);
            from.raise(*id, start);
        }
        let cut = if is_complete { Some(reader.read_cut(&to)?) } else { None };
        let chunk = if is_chunk {
            let place = reader.varint()?;
            let follows = if place > 1 { u64::from_be_bytes(reader.array()?) } else { 0 };
            Some(Chunk { index: place >> 1, is_last: place & 1 == 1, follows })
        } else {
            None
        };
        let (mut parts, mut system) = (Parts::new(), Parts::new());
        let has_events = reader.read_events(new + changed, &to)?;
        let has_state = if has_parts { parts_code & 1 == 1 } else { has_events };
        expect(has_events == (has_state || parts_code & 2 == 2), "events if there are parts")?;
        if parts_code & 2 == 2 {
            SYSTEM.take_apart(&mut reader, vec![Vec::new()], &mut system)?;
            expect(!system.is_empty(), "a part of the system of which something is known")?;
        }
        if has_state {
            schema.take_apart(&mut reader, vec![Vec::new()], &mut parts)?;
        }
        expect(reader.has_short_keys == (version & 4 == 4), "keys in short form if the message says so")?;
        if changed + unchanged > 0 || reader.has_short_keys {
            reader.array::<4>()?;
        }
        expect(reader.at == bytes.len(), "the end of the message")?;
        Ok(Self { ids, named: new, from, to, cut, chunk, closed: has_parts.then_some(closed), system, parts })
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

fn unzigzag(code: u64) -> i64 {
    if code & 1 == 0 { (code >> 1) as i64 } else { -1 - (code >> 1) as i64 }
}

/// The bytes of a message on their way to be read.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    ids: Vec<ReplicaId>,
    events: Vec<Dot>,
    /// What the keys count for that were numbers in a dictionary.
    looked_up: usize,
    /// Whether there was a key in short form.
    has_short_keys: bool,
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let taken = self.bytes[self.at..].first_chunk::<N>().ok_or("the bytes are cut off")?;
        self.at += N;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut number = 0_u128;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            number |= u128::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                expect(byte > 0 || shift == 0, "a number without needless bytes")?;
                return u64::try_from(number).map_err(|error| error.to_string());
            }
        }
        Err("a number goes on and on".to_owned())
    }

    fn packed(&mut self, count: usize, width: usize) -> Result<Vec<u64>, String> {
        let bits = count * width;
        let bytes = self.bytes[self.at..].get(..bits.div_ceil(8)).ok_or("the bytes are cut off")?;
        self.at += bytes.len();
        let bit = |at: usize| u64::from(bytes[at / 8] >> (at % 8) & 1);
        expect((bits..bytes.len() * 8).all(|at| bit(at) == 0), "no bits that are left over")?;
        let number = |place: usize| (0..width).fold(0, |number, at| number | bit(place * width + at) << at);
        Ok((0..count).map(number).collect())
    }

    /// A column of numbers.
    ///
    /// # Errors
    /// Something else is next; so for all that follow.
    pub fn ints(&mut self, count: usize) -> Result<Vec<u64>, String> {
        if count < 2 {
            return (0..count).map(|_| self.varint()).collect();
        }
        match self.byte()? {
            width @ 0..=64 => {
                let base = self.varint()?;
                let above = self.packed(count, width.into())?;
                let sum = |above: u64| base.checked_add(above).ok_or("a number beyond 64 bits".to_owned());
                above.into_iter().map(sum).collect()
            }
            65 => {
                let mut numbers = Vec::new();
                while numbers.len() < count {
                    let (more, number) = (self.varint()? as usize, self.varint()?);
                    expect(numbers.len() + more < count, "runs of so many numbers")?;
                    numbers.extend(vec![number; more + 1]);
                }
                Ok(numbers)
            }
            66 => {
                let (first, step) = (self.varint()?, unzigzag(self.varint()?) as u64);
                let width = self.byte()?;
                expect(width <= 64, "a width of at most 64 bits")?;
                let mut numbers = vec![first];
                for beyond in self.packed(count - 1, width.into())? {
                    let before = numbers[numbers.len() - 1];
                    numbers.push(before.wrapping_add(step).wrapping_add(beyond));
                }
                Ok(numbers)
            }
            mode => Err(format!("there is no mode {mode}")),
        }
    }

    /// What a field is, in `count` structs that have it: each of its facets with whether it is there, struct by struct.
    ///
    /// # Errors
    /// As of [`ints`](Self::ints).
    pub fn facets(&mut self, count: usize) -> Result<Vec<(u32, Vec<bool>)>, String> {
        let mut facets: Vec<u32> = Vec::new();
        loop {
            let code = self.byte()?;
            let name = u16::from_be_bytes(self.array()?);
            let facet = u32::from(code >> 1) << 16 | u32::from(name);
            expect(code < 128, "a shape of six bits")?;
            expect(facets.last() < Some(&facet), "facets in ascending order")?;
            facets.push(facet);
            if code & 1 == 0 {
                break;
            }
        }
        if let [facet] = facets[..] {
            return Ok(vec![(facet, vec![true; count])]);
        }
        let mut found = Vec::new();
        let mut is_any = vec![false; count];
        for facet in facets {
            let is_there = self.ints(count)?;
            expect(is_there.iter().all(|is_there| *is_there < 2), "whether it is there")?;
            let is_there: Vec<bool> = is_there.into_iter().map(|is_there| is_there == 1).collect();
            expect(is_there.contains(&true), "each facet somewhere")?;
            is_any.iter_mut().zip(&is_there).for_each(|(is_any, is_there)| *is_any |= is_there);
            found.push((facet, is_there));
        }
        expect(!is_any.contains(&false), "something in each struct")?;
        Ok(found)
    }

    fn read_ids(&mut self, new: usize, shorts: usize, known: &[ReplicaId]) -> Result<(), String> {
        for _ in 0..new {
            let id = self.array()?;
            self.ids.push(ReplicaId::new(uuid::Uuid::from_bytes(id)));
        }
        for _ in 0..shorts {
            let form = self.array()?;
            let meant: Vec<_> = known.iter().filter(|id| short(id) == form).collect();
            expect(meant.len() == 1, "a short form of one id")?;
            self.ids.push(*meant[0]);
        }
        // The check at the end is the engine's to make; here each short form must mean one id.
        Ok(())
    }

    /// A stamp, of whose code `millis` makes milliseconds.
    fn stamp(
        &mut self,
        code: u64,
        millis: impl FnOnce(u64) -> Result<u64, String>,
    ) -> Result<Timestamp, String> {
        let counter = if code & 1 == 1 { self.varint()? } else { 0 };
        expect((counter > 0) == (code & 1 == 1), "a counter that is not zero")?;
        let counter = u16::try_from(counter).map_err(|error| error.to_string())?;
        Timestamp::new(millis(code >> 1)?, counter).map_err(|error| error.to_string())
    }

    fn read_cut(&mut self, to: &VersionVector) -> Result<VersionVector, String> {
        let mut cut = VersionVector::new();
        for id in self.ids.clone() {
            let code = self.varint()?;
            if code > 0 {
                let millis =
                    |back| u64::checked_sub(to.get(&id).millis(), back).ok_or("before all time".to_owned());
                let stamp = self.stamp(code - 1, millis)?;
                expect(stamp <= to.get(&id), "a cut within what was seen")?;
                cut.raise(id, stamp);
            }
        }
        Ok(cut)
    }

    /// Reads the table of events. Returns whether there is any state.
    fn read_events(&mut self, with_news: usize, to: &VersionVector) -> Result<bool, String> {
        let count = self.varint()? as usize;
        let place = |id: &ReplicaId, ids: &[ReplicaId]| ids.iter().position(|other| other == id);
        if count < 2 {
            let news = self.ids.iter().take(with_news).map(|id| (*id, to.get(id)));
            self.events = news.collect();
            self.events.sort_by_key(|(id, stamp)| (*stamp, place(id, &self.ids)));
            return Ok(count == 1);
        }
        let count = count - 1;
        let newest = self.ids.iter().map(|id| to.get(id).millis()).max().unwrap_or_default();
        let last = newest.checked_sub(self.varint()?).ok_or("before all time")?;
        let gaps = self.ints(count - 1)?;
        let counters = self.ints(count)?;
        let width = (usize::BITS - (self.ids.len() - 1).leading_zeros()).max(1);
        let places = self.packed(count, width as usize)?;
        let mut millis = last.checked_sub(gaps.iter().sum()).ok_or("before all time")?;
        let mut before = (Timestamp::ZERO, 0);
        for at in 0..count {
            let gap = if at == 0 { 0 } else { gaps[at - 1] };
            millis += gap;
            let counted = if at > 0 && gap == 0 { before.0.counter() } else { 0 };
            let counter = u16::try_from(counters[at]).ok().and_then(|more| more.checked_add(counted));
            let stamp = Timestamp::new(millis, counter.ok_or("a counter beyond 16 bits")?);
            let event = (stamp.map_err(|error| error.to_string())?, places[at]);
            expect(event > before && event.0 > Timestamp::ZERO, "events in order")?;
            let id = *self.ids.get(places[at] as usize).ok_or("the author is not in the table")?;
            expect(event.0 <= to.get(&id), "an event within what was seen")?;
            self.events.push((id, event.0));
            before = event;
        }
        Ok(true)
    }

    fn event(&self, number: u64) -> Result<Dot, String> {
        self.events.get(number as usize).copied().ok_or(format!("there is no event {number}"))
    }

    fn dots(&self, numbers: &mut impl Iterator<Item = u64>, count: u64) -> Result<Vec<Dot>, String> {
        let dots: Vec<Dot> =
            numbers.take(count as usize).map(|number| self.event(number)).collect::<Result<_, _>>()?;
        expect(dots.len() as u64 == count, "as many events as there are")?;
        Ok(dots)
    }

    fn value(&mut self) -> Result<Value, String> {
        let mut rest = &self.bytes[self.at..];
        let value = rmp_serde::from_read(&mut rest).map_err(|error| error.to_string());
        self.at = self.bytes.len() - rest.len();
        value
    }

    /// A value of a register, or a key: of any type, and so perhaps none that can be told. Then its bytes stand for it.
    fn plain(&mut self) -> Result<Value, String> {
        let start = self.at;
        self.value().or_else(|_| {
            let mut rest = &self.bytes[start..];
            rmp_serde::from_read::<_, IgnoredAny>(&mut rest).map_err(|error| error.to_string())?;
            self.at = self.bytes.len() - rest.len();
            Ok(Value::List(vec![Value::from("as it came"), Value::from(self.bytes[start..self.at].to_vec())]))
        })
    }

    /// A column of cells at places.
    ///
    /// # Errors
    /// As of [`ints`](Self::ints).
    pub fn cells(&mut self, places: Vec<Place>, kind: Cells, parts: &mut Parts) -> Result<(), String> {
        let codes = self.ints(places.len())?;
        let general = codes.iter().filter(|code| *code & 1 == 1).count();
        let marks = self.ints(general)?;
        let records = if kind == Cells::Counts { self.ints(general)? } else { vec![0; general] };
        let live = codes.iter().filter(|code| *code & 1 == 1).map(|code| code >> 1);
        let all: u64 = live.sum::<u64>() + marks.iter().chain(&records).sum::<u64>();
        let mut numbers = self.ints(all as usize)?.into_iter();
        let mut shapes = marks.into_iter().zip(records);
        let mut cells = Vec::new();
        for code in &codes {
            let (marks, records) = if code & 1 == 1 { shapes.next().unwrap_or_default() } else { (0, 0) };
            let live = if code & 1 == 1 {
                self.dots(&mut numbers, code >> 1)?
            } else {
                vec![self.event(code >> 1)?]
            };
            let marks = self.dots(&mut numbers, marks)?;
            let records = self.dots(&mut numbers, records)?;
            expect(
                !live.is_empty() || !marks.is_empty() || !records.is_empty(),
                "a cell of which something is known",
            )?;
            let authors: BTreeSet<_> = live.iter().chain(&marks).map(|(id, _)| *id).collect();
            expect(authors.len() == live.len() + marks.len(), "one event of each author")?;
            cells.push((live, marks, records));
        }
        let mut payloads = Vec::new();
        let lives = || cells.iter().flat_map(|(live, ..)| live);
        match kind {
            Cells::Values => {
                for _ in lives() {
                    payloads.push((Payload::Value(self.plain()?), None));
                }
            }
            Cells::Flags => payloads.resize(lives().count(), (Payload::On, None)),
            Cells::Counts => {
                let totals = self.ints(lives().count())?;
                let ages = self.ints(lives().count())?;
                for ((total, age), (_, stamp)) in totals.into_iter().zip(ages).zip(lives()) {
                    let run = stamp.bits().checked_sub(age).filter(|run| *run > 0);
                    let run = Timestamp::from_bits(run.ok_or("a run before all time")?);
                    payloads.push((Payload::Count(unzigzag(total)), Some(run)));
                }
            }
        }
        let mut payloads = payloads.into_iter();
        let mut removed = self.ints(cells.iter().map(|(.., records)| records.len()).sum())?.into_iter();
        for (place, (live, marks, records)) in places.into_iter().zip(cells) {
            let part = Part {
                floor: BTreeSet::new(),
                live: live.into_iter().zip(payloads.by_ref()).collect(),
                marks: marks.into_iter().collect(),
                removed: records.into_iter().zip(removed.by_ref().map(unzigzag)).collect(),
            };
            parts.insert(place, part);
        }
        Ok(())
    }

    /// A column of maps at places. The values are read by `values`, which is told at which places: as long as these are not
    /// known, at the numbers of their rows.
    ///
    /// # Errors
    /// As of [`ints`](Self::ints), or that of `values`; or a key stands twice.
    pub fn maps(
        &mut self,
        places: Vec<Place>,
        parts: &mut Parts,
        values: impl FnOnce(&mut Self, Vec<Place>, &mut Parts) -> Result<(), String>,
    ) -> Result<(), String> {
        if places.is_empty() {
            return Ok(());
        }
        let codes = self.ints(places.len())?;
        let mut counts = |kinds: &[u64]| {
            let counts = self.ints(codes.iter().filter(|code| kinds.contains(&(*code & 3))).count())?;
            let mut counts = counts.into_iter();
            let count =
                |code: &u64| if kinds.contains(&(code & 3)) { counts.next().unwrap_or_default() } else { 0 };
            Ok::<Vec<u64>, String>(codes.iter().map(count).collect())
        };
        let (with_floors, mut in_short) = (counts(&[1, 3])?, counts(&[3])?);
        for (map, code) in codes.iter().enumerate() {
            let (rows, floors, short) = (code >> 2, with_floors[map], &mut in_short[map]);
            let is_right = match code & 3 {
                1 => floors > 0,
                2 => rows > 0,
                3 => *short > 0 && *short < rows,
                _ => true,
            };
            expect(is_right, "rows of the kinds that a map says to have")?;
            *short = if code & 3 == 2 { rows } else { *short };
        }
        // For each row in the order of the message, its map: those with floors first, those in short form last.
        let (mut floored, mut plain, mut short) = (Vec::new(), Vec::new(), Vec::new());
        for (map, code) in codes.iter().enumerate() {
            let others =
                u64::checked_add(with_floors[map], in_short[map]).filter(|others| *others <= code >> 2);
            let others = others.ok_or("rows of a kind, and fewer in all")?;
            floored.extend((0..with_floors[map]).map(|_| map));
            plain.extend((others..code >> 2).map(|_| map));
            short.extend((0..in_short[map]).map(|_| map));
        }
        let short_keys = self.short_keys(short.len())?;
        let shapes = self.ints(floored.len())?;
        let all: u64 = shapes.iter().map(|shape| (shape >> 1) + 1).sum();
        let mut numbers = self.ints(all as usize)?.into_iter();
        let mut floors = Vec::new();
        for shape in &shapes {
            let floor = self.dots(&mut numbers, (shape >> 1) + 1)?;
            let authors: BTreeSet<_> = floor.iter().map(|(id, _)| *id).collect();
            expect(authors.len() == floor.len(), "one event of each author in a floor")?;
            floors.push((floor, shape & 1 == 1));
        }
        // Keys come last: until then the values stand at the numbers of their rows.
        let rows = floored.len() + plain.len() + short.len();
        let with_value = (0..rows).filter(|row| floors.get(*row).is_none_or(|(_, has_value)| *has_value));
        let mut below = Parts::new();
        values(self, with_value.map(|row| vec![Item::Key(Value::Int(row as i64))]).collect(), &mut below)?;
        let mut keys = self.keys(places.len(), floored.len())?;
        keys.extend(self.keys(places.len(), plain.len())?);
        keys.extend(short_keys);
        let mut seen = BTreeSet::new();
        let mut at = Vec::new();
        for (map, key) in floored.into_iter().chain(plain).chain(short).zip(keys) {
            let place = [&places[map][..], &[Item::Key(key)]].concat();
            expect(seen.insert(place.clone()), "each key once")?;
            at.push(place);
        }
        for (place, part) in below {
            let Some((Item::Key(Value::Int(row)), rest)) = place.split_first() else {
                return Err("a value is of no row".to_owned());
            };
            parts.insert([&at[*row as usize][..], rest].concat(), part);
        }
        for (place, (floor, _)) in at.into_iter().zip(floors) {
            parts.entry(place).or_default().floor = floor.into_iter().collect();
        }
        Ok(())
    }

    /// Keys in short form, which mean something to the receiver alone: here they are their five bytes.
    fn short_keys(&mut self, count: usize) -> Result<Vec<Value>, String> {
        let forms = match count {
            1 => {
                let [a, b, c, d, e] = self.array()?;
                vec![u64::from_be_bytes([0, 0, 0, a, b, c, d, e])]
            }
            _ => self.ints(count)?,
        };
        self.has_short_keys |= count > 0;
        expect(forms.iter().all(|form| form >> 40 == 0), "keys of 40 bits")?;
        Ok(forms.into_iter().map(|form| Value::Bytes(form.to_be_bytes()[3..].to_vec())).collect())
    }

    fn keys(&mut self, maps: usize, count: usize) -> Result<Vec<Value>, String> {
        let start = self.at;
        if maps < 2 || count < 2 || self.byte()? == 0 {
            return (0..count).map(|_| self.plain()).collect();
        }
        expect(self.bytes[start] == 1, "a dictionary of keys")?;
        let mut dictionary = Vec::new();
        for _ in 0..=self.varint()? {
            let before = self.at;
            let key = self.plain()?;
            dictionary.push((key, self.at - before));
        }
        let mut keys = Vec::new();
        for number in self.ints(count)? {
            let (key, bytes) = dictionary.get(number as usize).ok_or("a key is not in the dictionary")?;
            self.looked_up += bytes + 4;
            keys.push(key.clone());
        }
        expect(self.looked_up <= 8 * start, "no more keys than the bytes before allow")?;
        Ok(keys)
    }
}

/// What cells hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cells {
    /// Values of registers.
    Values,
    /// Nothing but that it is on.
    Flags,
    /// Counts, with the records of removed ones.
    Counts,
}
