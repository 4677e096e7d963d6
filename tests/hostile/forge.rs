//! Messages that no replica writes, byte by byte: what `docs/wire-format.md` calls a varint, a column of integers, a head.

use xxhash_rust::xxh3::xxh3_64;

use crate::NOW_MS;

/// A form of a column of integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Each number less a base, in so many bits.
    Width { base: u64, width: u8 },
    /// Runs, none longer than this.
    Runs { most: u64 },
    /// Each number less the one before it less a step, in so many bits.
    Steps { step: i64, width: u8 },
}

/// An unsigned integer, 7 bits a byte.
pub(crate) fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

pub(crate) fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

/// How many bits a number takes.
pub(crate) fn bits(number: u64) -> u8 {
    (64 - number.leading_zeros()) as u8
}

/// Numbers of `width` bits, one behind the other, the lowest bit first. What does not fit is cut off.
pub(crate) fn packed(numbers: &[u64], width: u8) -> Vec<u8> {
    let mut bytes = vec![0; (numbers.len() * usize::from(width)).div_ceil(8)];
    let places = numbers.iter().flat_map(|number| (0..width).map(move |bit| number >> bit & 1));
    for (place, bit) in places.enumerate() {
        bytes[place / 8] |= (bit as u8) << (place % 8);
    }
    bytes
}

/// A column of two integers or more, in a form. `None` if they do not fit in it.
pub(crate) fn ints_in(form: Form, numbers: &[u64]) -> Option<Vec<u8>> {
    let fits = |number: u64, width: u8| (bits(number) <= width).then_some(number);
    Some(match form {
        Form::Width { base, width } => {
            let above = numbers.iter().map(|number| number.checked_sub(base).and_then(|n| fits(n, width)));
            [&[width][..], &varint(base), &packed(&above.collect::<Option<Vec<_>>>()?, width)].concat()
        }
        Form::Runs { most } => {
            let mut bytes = vec![RUNS];
            let mut rest = numbers;
            while let Some(number) = rest.first() {
                let len = rest.iter().take_while(|next| *next == number).count().min(most as usize);
                bytes.extend(varint(len as u64 - 1));
                bytes.extend(varint(*number));
                rest = &rest[len..];
            }
            bytes
        }
        Form::Steps { step, width } => {
            let more = numbers
                .windows(2)
                .map(|pair| fits(pair[1].wrapping_sub(pair[0]).wrapping_sub(step.cast_unsigned()), width));
            let more = packed(&more.collect::<Option<Vec<_>>>()?, width);
            [&[STEPS][..], &varint(numbers[0]), &varint(zigzag(step)), &[width], &more].concat()
        }
    })
}

pub(crate) const RUNS: u8 = 65;
pub(crate) const STEPS: u8 = 66;

/// The forms that a writer chooses from: the narrowest of each kind.
pub(crate) fn narrowest(numbers: &[u64]) -> [Form; 3] {
    let least = *numbers.iter().min().expect("a column in a form has two numbers");
    let most = *numbers.iter().max().expect("a column in a form has two numbers");
    let steps = || numbers.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]).cast_signed());
    let step = steps().min().expect("a column in a form has two numbers");
    let widest = steps().max().expect("a column in a form has two numbers").wrapping_sub(step);
    [
        Form::Width { base: least, width: bits(most - least) },
        Form::Runs { most: u64::MAX },
        Form::Steps { step, width: bits(widest.cast_unsigned()) },
    ]
}

/// A column of integers as a writer writes it: in the shortest form.
pub(crate) fn ints(numbers: &[u64]) -> Vec<u8> {
    if numbers.len() < 2 {
        return numbers.iter().flat_map(|number| varint(*number)).collect();
    }
    let forms = narrowest(numbers).map(|form| ints_in(form, numbers).expect("the narrowest form fits"));
    forms.into_iter().min_by_key(Vec::len).expect("there are forms")
}

/// A column of `count` times one number: in two or three bytes, however many.
pub(crate) fn same(count: u64, number: u64) -> Vec<u8> {
    match count {
        0 => Vec::new(),
        1 => varint(number),
        _ => [&[0], &varint(number)[..]].concat(),
    }
}

pub(crate) const VERSION: u8 = 2;
pub(crate) const SYSTEM_VERSION: u8 = 3;
pub(crate) const COMPLETE: u8 = 1;
pub(crate) const CHUNK: u8 = 2;
pub(crate) const SHORT_KEYS: u8 = 4;

/// The parts of a message, as bytes.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) version: u8,
    /// How many ids there are, and they themselves.
    pub(crate) table: Vec<u8>,
    pub(crate) vectors: Vec<u8>,
    pub(crate) cut: Vec<u8>,
    pub(crate) chunk: Vec<u8>,
    pub(crate) events: Vec<u8>,
    pub(crate) state: Vec<u8>,
    /// The check, if there is one.
    pub(crate) end: Vec<u8>,
}

impl Message {
    /// By `ids` replicas that all wrote at the same moment, and of as many events: that of each, numbered by its place. All
    /// ids are in full, and it goes on from nothing.
    pub(crate) fn of(ids: u16, state: &[u8]) -> Self {
        let ends = (0..ids).flat_map(|id| varint(if id == 0 { NOW_MS << 2 | 1 } else { 1 }));
        Self {
            version: VERSION << 3,
            table: table(ids),
            vectors: ends.collect(),
            cut: Vec::new(),
            chunk: Vec::new(),
            events: vec![1],
            state: state.to_vec(),
            end: Vec::new(),
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let Self { version, table, vectors, cut, chunk, events, state, end } = self;
        [&[*version], &table[..], vectors, cut, chunk, events, state, end].concat()
    }
}

/// How many ids there are, all in full, and they themselves: the numbers from 1.
fn table(ids: u16) -> Vec<u8> {
    let mut bytes = if ids == 0 { vec![0] } else { [&[2], &varint(ids.into())[..]].concat() };
    bytes.extend((1..=ids).flat_map(|id| u128::from(id).to_be_bytes()));
    bytes
}

/// A transfer of one message for each of `states`.
pub(crate) fn transfer(ids: u16, states: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut chunks: Vec<Vec<u8>> = Vec::new();
    for (index, state) in states.iter().enumerate() {
        let mut chunk = varint((index as u64) << 1 | u64::from(index + 1 == states.len()));
        if let Some(before) = chunks.last() {
            chunk.extend(xxh3_64(before).to_be_bytes());
        }
        chunks.push(Message { version: VERSION << 3 | CHUNK, chunk, ..Message::of(ids, state) }.bytes());
    }
    chunks
}

/// Keys of about `len` bytes in all: the numbers from 0. Returns how many.
pub(crate) fn numbers(len: usize) -> (u64, Vec<u8>) {
    keys(len, uint)
}

/// As [`numbers`], of texts.
pub(crate) fn names(len: usize) -> (u64, Vec<u8>) {
    keys(len, |number| {
        let name = format!("{number:x}");
        [&[0xA0 | name.len() as u8], name.as_bytes()].concat()
    })
}

fn keys(len: usize, key: impl Fn(u64) -> Vec<u8>) -> (u64, Vec<u8>) {
    let (mut count, mut bytes) = (0, Vec::new());
    while bytes.len() < len {
        bytes.extend(key(count));
        count += 1;
    }
    (count, bytes)
}

/// A MessagePack array of `unit`, of about `len` bytes in all.
pub(crate) fn list(len: usize, unit: &[u8]) -> Vec<u8> {
    let count = len / unit.len();
    let head = match count {
        0..16 => vec![0x90 | count as u8],
        16..0x1_0000 => [&[0xDC], &(count as u16).to_be_bytes()[..]].concat(),
        _ => [&[0xDD], &(count as u32).to_be_bytes()[..]].concat(),
    };
    [head, unit.repeat(count)].concat()
}

/// An integer in MessagePack.
pub(crate) fn uint(number: u64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let (head, width): (&[u8], usize) = match number {
        0..0x80 => (&[], 1),
        0x80..0x100 => (&[0xCC], 1),
        0x100..0x1_0000 => (&[0xCD], 2),
        0x1_0000..0x1_0000_0000 => (&[0xCE], 4),
        _ => (&[0xCF], 8),
    };
    [head, &bytes[8 - width..]].concat()
}
