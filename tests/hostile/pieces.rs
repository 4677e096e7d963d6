//! Messages taken apart into the pieces that `docs/wire-format.md` names, to be changed and put together again.

use driftless_testkit::schema::Schema;
use driftless_testkit::wire;

use crate::forge::{self, CHUNK, COMPLETE, RUNS, SHORT_KEYS, STEPS, SYSTEM_VERSION};

/// What stands in a message between two places that mean something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Bytes of a fixed number: the first byte, ids, checks, hashes, forms of keys.
    Fixed(Vec<u8>),
    Varint(u64),
    /// A column of two integers or more.
    Ints(Vec<u64>),
    /// The authors of events.
    Packed {
        width: u8,
        numbers: Vec<u64>,
    },
    /// A key or a value in MessagePack.
    Value(Vec<u8>),
}

impl Piece {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Fixed(bytes) | Self::Value(bytes) => out.extend(bytes),
            Self::Varint(number) => out.extend(forge::varint(*number)),
            Self::Ints(numbers) => out.extend(forge::ints(numbers)),
            Self::Packed { width, numbers } => out.extend(forge::packed(numbers, *width)),
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes
    }

    /// The numbers in it.
    pub(crate) fn numbers(&mut self) -> &mut [u64] {
        match self {
            Self::Varint(number) => std::slice::from_mut(number),
            Self::Ints(numbers) | Self::Packed { numbers, .. } => numbers,
            Self::Fixed(_) | Self::Value(_) => &mut [],
        }
    }
}

pub(crate) fn put_together(pieces: &[Piece]) -> Vec<u8> {
    let mut bytes = Vec::new();
    pieces.iter().for_each(|piece| piece.write(&mut bytes));
    bytes
}

/// The pieces of a message that a replica has written.
pub(crate) fn take_apart(message: &[u8], schema: &Schema) -> Vec<Piece> {
    let mut parts = Parts { rest: message, pieces: Vec::new() };
    parts.message(schema);
    assert!(parts.rest.is_empty(), "a message ends with its late check");
    assert_eq!(put_together(&parts.pieces), message, "a writer takes the shortest forms");
    parts.pieces
}

struct Parts<'a> {
    rest: &'a [u8],
    pieces: Vec<Piece>,
}

impl Parts<'_> {
    fn take(&mut self, len: usize) -> Vec<u8> {
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken.to_vec()
    }

    fn fixed(&mut self, len: usize) -> Vec<u8> {
        let bytes = self.take(len);
        self.pieces.push(Piece::Fixed(bytes.clone()));
        bytes
    }

    fn bare_varint(&mut self) -> u64 {
        let len = self.rest.iter().take_while(|byte| **byte >= 0x80).count() + 1;
        self.take(len).iter().rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7F))
    }

    fn varint(&mut self) -> u64 {
        let number = self.bare_varint();
        self.pieces.push(Piece::Varint(number));
        number
    }

    fn bare_packed(&mut self, count: usize, width: u8) -> Vec<u64> {
        let width = usize::from(width);
        let bytes = self.take((count * width).div_ceil(8));
        let bit = |place: usize| u64::from(bytes[place / 8] >> (place % 8) & 1);
        let number = |n: usize| (0..width).fold(0, |number, place| number | bit(n * width + place) << place);
        (0..count).map(number).collect()
    }

    fn ints(&mut self, count: usize) -> Vec<u64> {
        if count < 2 {
            return (0..count).map(|_| self.varint()).collect();
        }
        let mut numbers = Vec::new();
        match self.take(1)[0] {
            RUNS => {
                while numbers.len() < count {
                    let (more, number) = (self.bare_varint(), self.bare_varint());
                    numbers.extend((0..=more).map(|_| number));
                }
            }
            STEPS => {
                numbers.push(self.bare_varint());
                let step = self.bare_varint();
                let step = step >> 1 ^ (step & 1).wrapping_neg();
                let width = self.take(1)[0];
                for more in self.bare_packed(count - 1, width) {
                    let before = numbers[numbers.len() - 1];
                    numbers.push(before.wrapping_add(step).wrapping_add(more));
                }
            }
            width => {
                let base = self.bare_varint();
                numbers.extend(self.bare_packed(count, width).iter().map(|more| base + more));
            }
        }
        self.pieces.push(Piece::Ints(numbers.clone()));
        numbers
    }

    fn value(&mut self) {
        let len = value_len(self.rest);
        let bytes = self.take(len);
        self.pieces.push(Piece::Value(bytes));
    }

    fn message(&mut self, schema: &Schema) {
        let version = self.fixed(1)[0];
        let counts = self.varint();
        let changed = counts >> 2;
        let new = if counts & 2 == 2 { self.varint() } else { 0 };
        let unchanged = if counts & 1 == 1 { self.varint() } else { 0 };
        let parts = if version >> 3 == SYSTEM_VERSION { Some(self.varint()) } else { None };
        (0..new).for_each(|_| drop(self.fixed(16)));
        (0..changed + unchanged).for_each(|_| drop(self.fixed(2)));
        let has_short = changed + unchanged > 0;
        let ids = new + changed + unchanged;
        for id in 0..ids {
            let is_new = id < new;
            let code = self.varint();
            let is_counted = if is_new { code >> 1 & 1 } else { code & 1 };
            self.counter(is_counted);
            let has_end = if is_new { code & 1 == 0 } else { id < new + changed };
            if has_end {
                let code = self.varint();
                self.counter(code & 1);
            }
        }
        if version & COMPLETE != 0 {
            for _ in 0..ids {
                let code = self.varint();
                self.counter(if code == 0 { 0 } else { (code - 1) & 1 });
            }
        }
        if version & CHUNK != 0 && self.varint() >> 1 > 0 {
            self.fixed(8);
        }
        let events = self.varint();
        if events > 1 {
            let count = events as usize - 1;
            self.varint();
            self.ints(count - 1);
            self.ints(count);
            let width = forge::bits(ids - 1).max(1);
            let numbers = self.bare_packed(count, width);
            self.pieces.push(Piece::Packed { width, numbers });
        }
        if parts.is_some_and(|parts| parts & 2 == 2) {
            self.column(&wire::SYSTEM, 1);
        }
        if parts.map_or(events > 0, |parts| parts & 1 == 1) {
            self.column(schema, 1);
        }
        if has_short || version & SHORT_KEYS != 0 {
            self.fixed(4);
        }
    }

    fn counter(&mut self, is_counted: u64) {
        if is_counted == 1 {
            self.varint();
        }
    }

    fn column(&mut self, schema: &Schema, count: usize) {
        const KINDS: [Schema; 6] = [
            Schema::Register,
            Schema::Register,
            Schema::Set,
            Schema::Counter,
            Schema::Flag,
            Schema::Document,
        ];
        if count == 0 {
            return;
        }
        match schema {
            Schema::Register | Schema::Values | Schema::Flag | Schema::Counter => self.cells(schema, count),
            Schema::Set => self.rows(count, |parts, count| parts.cells(&Schema::Flag, count)),
            Schema::Map(value) => self.rows(count, |parts, count| parts.column(value, count)),
            Schema::Open(_) => self.fields_of_facets(count),
            Schema::Struct(fields) => self.fields(count, fields.iter().map(|(_, field)| field)),
            Schema::Document => self.rows(count, |parts, count| {
                if count > 0 {
                    parts.fields(count, KINDS.iter());
                }
            }),
        }
    }

    fn fields<'a>(&mut self, count: usize, fields: impl Iterator<Item = &'a Schema>) {
        let present = self.ints(count);
        for (number, field) in fields.enumerate() {
            self.column(field, present.iter().filter(|bits| *bits >> number & 1 == 1).count());
        }
    }

    /// Fields that say what they are, so that no schema is needed.
    fn fields_of_facets(&mut self, count: usize) {
        let present = self.ints(count);
        for number in 0..64 {
            let count = present.iter().filter(|bits| *bits >> number & 1 == 1).count();
            if count == 0 {
                continue;
            }
            let mut shapes = vec![self.varint()];
            self.fixed(2);
            while shapes.last().is_some_and(|code| code & 1 == 1) {
                shapes.push(self.varint());
                self.fixed(2);
            }
            let is_there: Vec<usize> = match shapes.len() {
                1 => vec![count],
                several => (0..several)
                    .map(|_| self.ints(count).iter().filter(|there| **there == 1).count())
                    .collect(),
            };
            for (code, count) in shapes.iter().zip(is_there) {
                self.shape(code >> 1, count);
            }
        }
    }

    fn shape(&mut self, shape: u64, count: usize) {
        const LEAVES: [Schema; 7] = [
            Schema::Register,
            Schema::Values,
            Schema::Flag,
            Schema::Counter,
            Schema::Set,
            Schema::Document,
            Schema::Open(&[]),
        ];
        match shape.checked_sub(8) {
            Some(values) if count > 0 => self.rows(count, |parts, count| parts.shape(values, count)),
            Some(_) => {}
            None => self.column(&LEAVES[shape as usize], count),
        }
    }

    fn rows(&mut self, count: usize, values: impl FnOnce(&mut Self, usize)) {
        let codes = self.ints(count);
        let with = |kinds: [u64; 2]| codes.iter().filter(|code| kinds.contains(&(*code & 3))).count();
        let removed = sum(self.ints(with([1, 3])));
        let all_short = codes.iter().filter(|code| *code & 3 == 2).map(|code| code >> 2);
        let short = sum(self.ints(with([3, 3]))) + sum(all_short);
        let plain = sum(codes.iter().map(|code| code >> 2)) - removed - short;
        match short {
            1 => drop(self.fixed(5)),
            _ => drop(self.ints(short)),
        }
        let floors = self.ints(removed);
        self.ints(sum(floors.iter().map(|code| (code >> 1) + 1)));
        values(self, sum(floors.iter().map(|code| code & 1)) + plain + short);
        self.keys(removed, count);
        self.keys(plain, count);
    }

    fn keys(&mut self, count: usize, maps: usize) {
        if maps < 2 || count < 2 || self.fixed(1)[0] == 0 {
            return (0..count).for_each(|_| self.value());
        }
        (0..=self.varint()).for_each(|_| self.value());
        self.ints(count);
    }

    fn cells(&mut self, schema: &Schema, count: usize) {
        if count == 0 {
            return;
        }
        let codes = self.ints(count);
        let lives: Vec<u64> = codes.iter().filter(|code| *code & 1 == 1).map(|code| code >> 1).collect();
        let general = lives.len();
        let marks = sum(self.ints(general));
        let is_counter = matches!(schema, Schema::Counter);
        let records = if is_counter { sum(self.ints(general)) } else { 0 };
        let listed = sum(lives);
        self.ints(listed + marks + records);
        let payloads = listed + count - general;
        match schema {
            Schema::Register | Schema::Values => (0..payloads).for_each(|_| self.value()),
            Schema::Counter => {
                [payloads, payloads, records].into_iter().for_each(|count| drop(self.ints(count)))
            }
            _ => {}
        }
    }
}

fn sum(numbers: impl IntoIterator<Item = u64>) -> usize {
    numbers.into_iter().sum::<u64>() as usize
}

/// A head of a MessagePack value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// Where it begins.
    pub(crate) at: usize,
    /// How many bytes it takes.
    pub(crate) width: usize,
    pub(crate) kind: Kind,
    /// The length that it says, or the integer that it is.
    pub(crate) number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Array,
    Map,
    Text,
    Bytes,
    Extension,
    Integer,
    Other,
}

/// The head at a place of a value, and how many bytes of its own follow it.
fn head(value: &[u8], at: usize) -> (Head, usize) {
    let first = value[at];
    let number = |width: usize| {
        let bytes = &value[at + 1..at + 1 + width];
        bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let sized = |kind, width| (kind, 1 + width, number(width), number(width) as usize);
    let (kind, width, number, follow) = match first {
        0x00..0x80 => (Kind::Integer, 1, u64::from(first), 0),
        0x80..0x90 => (Kind::Map, 1, u64::from(first & 0x0F), 0),
        0x90..0xA0 => (Kind::Array, 1, u64::from(first & 0x0F), 0),
        0xA0..0xC0 => (Kind::Text, 1, u64::from(first & 0x1F), usize::from(first & 0x1F)),
        0xC0..0xC4 => (Kind::Other, 1, 0, 0),
        0xC4..0xC7 => sized(Kind::Bytes, 1 << (first - 0xC4)),
        0xC7..0xCA => {
            let (kind, width, number, follow) = sized(Kind::Extension, 1 << (first - 0xC7));
            (kind, width, number, follow + 1)
        }
        0xCA | 0xCB => (Kind::Other, 1, 0, 4 << (first - 0xCA)),
        0xCC..0xD0 => (Kind::Integer, 1 + (1 << (first - 0xCC)), number(1 << (first - 0xCC)), 0),
        0xD0..0xD4 => (Kind::Integer, 1 + (1 << (first - 0xD0)), number(1 << (first - 0xD0)), 0),
        0xD4..0xD9 => (Kind::Extension, 1, 1 << (first - 0xD4), 1 + (1 << (first - 0xD4))),
        0xD9..0xDC => sized(Kind::Text, 1 << (first - 0xD9)),
        0xDC | 0xDD => (Kind::Array, 1 + (2 << (first - 0xDC)), number(2 << (first - 0xDC)), 0),
        0xDE | 0xDF => (Kind::Map, 1 + (2 << (first - 0xDE)), number(2 << (first - 0xDE)), 0),
        0xE0.. => (Kind::Integer, 1, u64::from(first), 0),
    };
    (Head { at, width, kind, number }, follow)
}

/// How many bytes the MessagePack value takes that something begins with.
fn value_len(bytes: &[u8]) -> usize {
    let (mut at, mut open) = (0, 1);
    while open > 0 {
        let (head, follow) = head(bytes, at);
        at += head.width + follow;
        open = open - 1
            + match head.kind {
                Kind::Array => head.number,
                Kind::Map => 2 * head.number,
                _ => 0,
            };
    }
    at
}

/// All heads of a MessagePack value, in order.
pub(crate) fn heads(value: &[u8]) -> Vec<Head> {
    let (mut heads, mut at) = (Vec::new(), 0);
    while at < value.len() {
        let (head, follow) = head(value, at);
        at += head.width + follow;
        heads.push(head);
    }
    heads
}
