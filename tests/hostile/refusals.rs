//! One fault at a time in small messages that are sound but for it: each is refused, with the reason that is its own, in little
//! memory and without a change. In all other tests here messages may be refused for whatever reason.

use allocation_counter::measure;
use driftless::{
    Config, Counter, Crdt, DecodeError, Document, Flag, Limits, LwwRegister, MergeError, MergeMap, OrSet,
    Replica, ReplicaId, Value, VersionVector,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::NOW_MS;
use crate::forge::{CHUNK, COMPLETE, Message, SHORT_KEYS, VERSION, ints, packed, same, varint, zigzag};

/// What reading a message that is refused may take: these are small.
const MEMORY: u64 = 16 << 10;

/// Why a message is refused: the kind of the error, and what it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Truncated,
    Version(u64),
    /// Something else stands where this should.
    Expected(&'static str),
    Limit(&'static str),
    Stamp,
    Repeated(&'static str),
    UnknownField(u64),
    Value,
    Trailing,
    Gap,
}

pub(crate) fn why(error: MergeError) -> Why {
    match error {
        MergeError::Gap { .. } => Why::Gap,
        MergeError::Decode(error) => match error {
            DecodeError::Truncated { .. } => Why::Truncated,
            DecodeError::Version { found } => Why::Version(found),
            DecodeError::Expected { what, .. } => Why::Expected(what),
            DecodeError::Limit { limit, .. } => Why::Limit(limit),
            DecodeError::Stamp { .. } => Why::Stamp,
            DecodeError::Repeated { what, .. } => Why::Repeated(what),
            DecodeError::UnknownField { field, .. } => Why::UnknownField(field),
            DecodeError::Value { .. } => Why::Value,
            DecodeError::Trailing { .. } => Why::Trailing,
            other => panic!("an error that no message leads to: {other:?}"),
        },
        other => panic!("an error that reading does not have: {other:?}"),
    }
}

fn reader<S: Crdt>() -> Replica<S> {
    Replica::new(ReplicaId::from_u128(99 << 64), Config::default())
}

/// That a message is sound: what is done to it is its only fault.
fn sound<S: Crdt>(what: &str, message: &Message) {
    let mut reader = reader::<S>();
    let delta = reader.decode(&message.bytes());
    let delta = delta.unwrap_or_else(|error| panic!("{what}: {error}: {message:02x?}"));
    if !delta.is_chunk() {
        reader.merge(NOW_MS, delta).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}

/// That each message is refused for its reason.
fn refused<S: Crdt>(faults: impl IntoIterator<Item = (&'static str, Message, Why)>) {
    let reader = reader::<S>();
    let mut wrong = Vec::new();
    for (what, message, expected) in faults {
        let bytes = message.bytes();
        let mut read = None;
        let peak = measure(|| read = Some(reader.decode(&bytes).map(drop))).bytes_max;
        let found = read.expect("it was read").map_err(why);
        if found != Err(expected.clone()) {
            wrong.push(format!("{what}: {found:?} and not {expected:?}: {bytes:02x?}"));
        }
        if peak > MEMORY {
            wrong.push(format!("{what}: {peak} bytes of memory for {} bytes", bytes.len()));
        }
    }
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(reader.vector(), VersionVector::new());
}

/// That each message has one value which is not of the reader's type, and is passed on as it came.
fn kept<S: Crdt>(messages: impl IntoIterator<Item = (&'static str, Message)>) {
    for (what, message) in messages {
        let (mut reader, mut behind) = (reader::<S>(), reader::<S>());
        let delta = reader.decode(&message.bytes()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(reader.merge(NOW_MS, delta).expect(what).unreadable.values, 1, "{what}");
        let passed_on = reader.delta_since(&VersionVector::new()).encode().expect(what);
        behind.merge(NOW_MS, behind.decode(&passed_on).expect(what)).expect(what);
        assert_eq!(behind.unreadable().values, 1, "{what}");
        assert_eq!(behind.canonical_bytes(), reader.canonical_bytes(), "{what}");
    }
}

type Set = OrSet<u8>;

/// Three elements, each added by one of three replicas.
fn set() -> Message {
    Message::of(3, &[3 << 2, 2, 0, 0b10_01_00, 0, 1, 2].map(|byte: u8| byte)).with_codes(&[0, 2, 4])
}

impl Message {
    /// A set of the elements 0, 1, .. of which the cells have these codes and nothing behind those.
    fn with_codes(self, codes: &[u64]) -> Self {
        self.with_cells(codes.len(), &ints(codes))
    }

    /// A set of so many elements, with these bytes for their cells.
    fn with_cells(self, count: usize, cells: &[u8]) -> Self {
        let keys: Vec<u8> = (0..count as u8).collect();
        Self { state: [&varint((count as u64) << 2), cells, &keys[..]].concat(), ..self }
    }
}

fn ends(milliseconds: &[u64]) -> Vec<u8> {
    let mut before = 0;
    let end = |number: &u64| {
        let code = if before == 0 { *number } else { zigzag(number.wrapping_sub(before).cast_signed()) };
        before = *number;
        varint(code << 2 | 1)
    };
    milliseconds.iter().flat_map(end).collect()
}

const EXPECTED_COLUMN: Why = Why::Expected("a column of numbers");
const EXPECTED_STAMP: Why = Why::Expected("a stamp");
/// A list of more events than there are replicas names one of them twice.
const TOO_LONG: Why = Why::Repeated("an event of one replica in a list");

#[test]
fn versions_flags_and_what_follows_the_end() {
    sound::<Set>("a set", &set());
    let version = |version| Message { version, ..set() };
    let mut faults: Vec<_> = [0, 1, 4, 15, 18, 19, 27, 31]
        .map(|number| ("another version", version(number << 3), Why::Version(number.into())))
        .into();
    let none = Why::Expected("keys in short form");
    faults.push(("keys in short form, and there are none", version(VERSION << 3 | SHORT_KEYS), none));
    faults.push(("bytes behind the end", Message { end: vec![0], ..set() }, Why::Trailing));
    let nothing = |end: &[u8]| Message { events: vec![0], state: Vec::new(), end: end.to_vec(), ..set() };
    sound::<Set>("nothing", &nothing(&[]));
    faults.push(("a state without events", Message { events: vec![0], ..set() }, Why::Trailing));
    faults.push(("bytes behind nothing", nothing(&[0]), Why::Trailing));
    refused::<Set>(faults);
}

#[test]
fn ids_and_how_many_there_are() {
    let counts = |counts: &[u8]| Message { table: [counts, &set().table[2..]].concat(), ..set() };
    sound::<Set>("a set", &counts(&[2, 3]));
    let many = |count| [&[2], &varint(count)[..]].concat();
    let no_count = Why::Expected("how many ids there are");
    let short = |ids: usize| {
        let shorts = vec![0; 2 * ids];
        Message { table: [&varint((ids as u64) << 2), &shorts[..]].concat(), ..set() }
    };
    let mut repeated = set();
    let first: Vec<u8> = repeated.table[2..18].to_vec();
    repeated.table[18..34].copy_from_slice(&first);
    refused::<Set>([
        ("no ids in full, and they are counted", counts(&[2, 0]), no_count.clone()),
        ("no ids without news, and they are counted", counts(&[3, 3, 0]), no_count),
        ("more ids than a message may have", counts(&many(4097)), Why::Limit("replicas")),
        ("very many ids", counts(&many(u64::MAX)), Why::Limit("replicas")),
        ("very many ids with news", counts(&varint(!3)), Why::Limit("replicas")),
        (
            "more ids than can be counted",
            counts(&[&varint(u64::MAX)[..], &varint(u64::MAX), &varint(u64::MAX)].concat()),
            Why::Limit("replicas"),
        ),
        ("more ids than bytes", counts(&many(4096)), Why::Truncated),
        ("an id twice", repeated, Why::Repeated("a replica id")),
        ("a short form that nobody has", short(1), Why::Gap),
        ("as many short forms as there may be", short(4096), Why::Gap),
    ]);
}

#[test]
fn ids_in_short_form_and_their_check() {
    let known = [1_u128, 2, 3].map(ReplicaId::from_u128);
    let reader = || {
        let mut reader = reader::<Set>();
        let delta = reader.decode(&set().bytes()).expect("it is sound");
        reader.merge(NOW_MS, delta).expect("it is sound");
        reader
    };
    // The first of them has written once more, the others have not. The check is of these.
    let checked = |places: [usize; 3]| {
        let ids: Vec<u8> = places.iter().flat_map(|place| known[*place].uuid().into_bytes()).collect();
        let shorts: Vec<u8> = places.iter().flat_map(|place| [0, *place as u8 + 1]).collect();
        let later = [varint(NOW_MS << 1), varint(1 << 1), varint(zigzag(-1) << 1), varint(0)].concat();
        Message {
            table: [&[1 << 2 | 1, 2][..], &shorts].concat(),
            vectors: later,
            end: xxh3_64(&ids).to_be_bytes()[..4].to_vec(),
            ..set().with_codes(&[0])
        }
    };
    let mut merged = reader();
    let delta = merged.decode(&checked([0, 1, 2]).bytes()).expect("it is sound");
    assert!(merged.merge(NOW_MS + 1, delta).expect("it is sound").is_news);
    let gap = |message: Message| {
        let reader = reader();
        let vector = reader.vector();
        assert_eq!(reader.decode(&message.bytes()).err(), Some(MergeError::Gap { vector }), "{message:02x?}");
    };
    for byte in 0..4 {
        let mut other = checked([0, 1, 2]);
        other.end[byte] ^= 1;
        gap(other);
    }
    let mut unknown = checked([0, 1, 2]);
    unknown.table[3] = 9;
    gap(unknown);
    let why = |message: Message| reader().decode(&message.bytes()).map(drop).map_err(why);
    assert_eq!(why(checked([0, 1, 1])), Err(Why::Repeated("a replica id")));
    // A message that ends before its check or within it, and one that goes on behind it.
    for (end, expected) in [(0, Why::Truncated), (3, Why::Truncated), (5, Why::Trailing)] {
        let mut message = checked([0, 1, 2]);
        message.end.resize(end, 0);
        assert_eq!(why(message), Err(expected), "{end} bytes at the end");
    }
}

#[test]
fn stamps_of_the_vectors() {
    const MOST_MS: u64 = (1 << 48) - 1;
    let vectors = |vectors: &[Vec<u8>]| Message {
        vectors: vectors.concat(),
        events: vec![0],
        state: Vec::new(),
        ..Message::of(1, &[])
    };
    let decode = |vectors: &[Vec<u8>]| {
        let bytes =
            Message { vectors: vectors.concat(), events: vec![0], state: Vec::new(), ..Message::of(1, &[]) };
        reader::<Set>().decode(&bytes.bytes()).map(|delta| delta.to()).map_err(why)
    };
    let newest = |vectors: &[Vec<u8>]| decode(vectors).map(|to| to.newest().bits());
    assert_eq!(newest(&[varint(MOST_MS << 2 | 3), varint(65_535)]), Ok(u64::MAX));
    assert_eq!(
        newest(&[varint(1), varint(1)]),
        Err(Why::Stamp),
        "a stamp of zero and a counter that is not announced"
    );
    assert_eq!(newest(&[varint(3), varint(1)]), Ok(1));
    assert_eq!(newest(&[varint(5 << 2), varint(7 << 1 | 1), varint(9)]), Ok(12 << 16 | 9));
    let two = |first: u64, second: u64| {
        let table = Message::of(2, &[]).table;
        let vectors = [varint(first), varint(second)].concat();
        Message { table, vectors, events: vec![0], state: Vec::new(), ..Message::of(2, &[]) }
    };
    sound::<Set>("a later one and an earlier one", &two(9 << 2 | 1, zigzag(-3) << 2 | 1));
    let least = zigzag(i64::MIN >> 2) << 2 | 1;
    refused::<Set>([
        ("a stamp of zero", vectors(&[varint(1)]), Why::Stamp),
        ("a counter of zero", vectors(&[varint(1 << 2 | 3), varint(0)]), EXPECTED_STAMP),
        ("a counter of 17 bits", vectors(&[varint(1 << 2 | 3), varint(1 << 16)]), EXPECTED_STAMP),
        ("a counter of 64 bits", vectors(&[varint(1 << 2 | 3), varint(u64::MAX)]), EXPECTED_STAMP),
        ("no counter", Message { events: Vec::new(), ..vectors(&[varint(1 << 2 | 3)]) }, Why::Truncated),
        ("more milliseconds than there are", vectors(&[varint((MOST_MS + 1) << 2 | 1)]), Why::Stamp),
        ("far more of them", vectors(&[varint(!2)]), Why::Stamp),
        ("an end that is zero", vectors(&[varint(0), varint(0)]), Why::Stamp),
        ("an end out of range", vectors(&[varint(MOST_MS << 2), varint(1 << 1)]), Why::Stamp),
        ("an end far out of range", vectors(&[varint(9 << 2), varint(!1)]), Why::Stamp),
        (
            "an end before its start",
            vectors(&[varint(9 << 2 | 2), varint(5), varint(1), varint(4)]),
            Why::Stamp,
        ),
        ("a stamp before the first", two(9 << 2 | 1, zigzag(-10) << 2 | 1), Why::Stamp),
        ("a stamp far before the first", two(9 << 2 | 1, least), Why::Stamp),
        ("a stamp far beyond the last", two(9 << 2 | 1, zigzag(i64::MAX >> 2) << 2 | 1), Why::Stamp),
        ("no second one", Message { events: Vec::new(), ..vectors(&[varint(4)]) }, Why::Truncated),
    ]);
}

#[test]
fn cuts_and_chunks() {
    let complete = |cut: &[Vec<u8>]| Message {
        version: VERSION << 3 | COMPLETE,
        vectors: varint((9 << 2) | 3).into_iter().chain(varint(7)).collect(),
        cut: cut.concat(),
        ..Message::of(1, &[]).with_codes(&[0])
    };
    let beside = |milliseconds: u64, is_counted: u64| varint(1 + (milliseconds << 1 | is_counted));
    for (what, cut) in [
        ("no cut", vec![varint(0)]),
        ("all that is held", vec![beside(0, 1), varint(7)]),
        ("a little less", vec![beside(0, 1), varint(6)]),
        ("the first millisecond", vec![beside(9, 1), varint(1)]),
    ] {
        sound::<Set>(what, &complete(&cut));
    }
    let from = Message { vectors: [varint(8 << 2), varint(1 << 1)].concat(), ..complete(&[varint(0)]) };
    refused::<Set>([
        ("a complete message that goes on from something", from, Why::Stamp),
        ("a cut beyond what is held", complete(&[beside(0, 1), varint(8)]), Why::Stamp),
        ("a cut before the first millisecond", complete(&[beside(10, 0)]), Why::Stamp),
        ("a cut far before it", complete(&[varint(u64::MAX)]), Why::Stamp),
        ("a cut of nothing", complete(&[beside(9, 0)]), Why::Stamp),
        ("a cut of a counter of 17 bits", complete(&[beside(1, 1), varint(1 << 16)]), EXPECTED_STAMP),
    ]);
    let chunk = |chunk: &[u8]| Message {
        version: VERSION << 3 | CHUNK,
        chunk: chunk.to_vec(),
        ..Message::of(1, &[]).with_codes(&[0])
    };
    sound::<Set>("the first chunk", &chunk(&[0]));
    sound::<Set>("a later chunk", &chunk(&[2, 1, 2, 3, 4, 5, 6, 7, 8]));
    let last = [&varint(u64::MAX)[..], &[0; 8]].concat();
    sound::<Set>("the last chunk that there can be", &chunk(&last));
    refused::<Set>([(
        "a chunk after none",
        Message { events: Vec::new(), state: Vec::new(), ..chunk(&[2]) },
        Why::Truncated,
    )]);
}

/// Three events: one of each of three replicas, the last two of one stamp.
struct Listed {
    behind: u64,
    steps: Vec<u8>,
    counters: Vec<u8>,
    places: Vec<u8>,
}

impl Listed {
    fn sound() -> Self {
        let (steps, counters) = (ints(&[1, 0]), ints(&[0, 5, 0]));
        Self { behind: 1, steps, counters, places: packed(&[0, 1, 2], 2) }
    }

    fn message(self) -> Message {
        let Self { behind, steps, counters, places } = self;
        Message { events: [&[4], &varint(behind)[..], &steps, &counters, &places].concat(), ..set() }
    }
}

#[test]
fn events() {
    let sound_one = Listed::sound().message();
    sound::<Set>("three events", &sound_one);
    let behind = |behind| Listed { behind, ..Listed::sound() }.message();
    let steps = |steps: &[u64]| Listed { steps: ints(steps), ..Listed::sound() }.message();
    let counters = |counters: &[u64]| Listed { counters: ints(counters), ..Listed::sound() }.message();
    let places = |places: &[u64]| Listed { places: packed(places, 2), ..Listed::sound() }.message();
    sound::<Set>(
        "the last at the end",
        &Listed { behind: 0, counters: ints(&[9, 0, 0]), ..Listed::sound() }.message(),
    );
    sound::<Set>("events of one author", &places(&[1, 1, 2]));
    let first = Listed { steps: ints(&[NOW_MS - 1, 0]), counters: ints(&[1, 5, 0]), ..Listed::sound() };
    sound::<Set>("the first millisecond", &first.message());
    let beyond = Message { vectors: ends(&[NOW_MS, NOW_MS - 2, NOW_MS]), ..sound_one.clone() };
    sound::<Set>(
        "an end at its event",
        &Message { vectors: ends(&[NOW_MS, NOW_MS, NOW_MS - 1 + 1]), ..sound_one },
    );
    let many = |count: u64| Message { events: varint(count), ..Message::of(1, &[0; 64]) };
    let mut bits_left = Listed::sound();
    bits_left.places[0] |= 1 << 6;
    let one =
        |behind| Message { events: [&[2], &varint(behind)[..], &[0, 0]].concat(), ..set().with_codes(&[0]) };
    sound::<Set>("one event", &one(1));
    refused::<Set>([
        ("an event twice", places(&[0, 1, 1]), Why::Stamp),
        ("events out of the order of their authors", places(&[0, 2, 1]), Why::Stamp),
        ("an author who is not in the table", places(&[0, 1, 3]), Why::Stamp),
        ("an event beyond the end of its author", beyond, Why::Stamp),
        ("an event beyond all ends", Listed { behind: 0, ..Listed::sound() }.message(), Why::Stamp),
        ("an event of zero", one(NOW_MS), Why::Stamp),
        ("an event before the first millisecond", behind(NOW_MS), Why::Stamp),
        ("a first event before the first millisecond", steps(&[NOW_MS, 0]), Why::Stamp),
        ("events far before it", behind(u64::MAX), Why::Stamp),
        ("steps that are more together than can be counted", steps(&[1 << 63, 1 << 63]), Why::Stamp),
        ("a counter of 17 bits", counters(&[0, 65_535, 1]), Why::Stamp),
        ("a counter of 64 bits", counters(&[0, u64::MAX, 0]), Why::Stamp),
        ("counters that are more together than can be counted", counters(&[0, 5, u64::MAX]), Why::Stamp),
        ("bits that are left over", bits_left.message(), Why::Stamp),
        ("more events than bits", many(64 * 8 + 2), Why::Truncated),
        ("very many events", many(1 << 60), Why::Truncated),
        ("as many events as can be said", many(u64::MAX), Why::Truncated),
        ("an event that is not there", set().with_codes(&[0, 2, 6]), Why::Stamp),
        ("an event far beyond those that are there", set().with_codes(&[0, 2, u64::MAX - 1]), Why::Stamp),
    ]);
}

#[test]
fn columns() {
    let cells = |cells: &[u8]| set().with_cells(3, cells);
    for (what, sound_one) in [
        ("a width", &[3, 0, 0b10_100_000, 0][..]),
        ("a base", &[2, 0, 0b10_00]),
        ("runs", &[65, 0, 0, 1, 2]),
        ("steps", &[66, 0, 4, 0]),
        ("steps back", &[66, 4, 3, 0]),
        (
            "steps that wrap",
            &[66, 0, 4, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        ),
        ("64 bits", &[64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        sound::<Set>(what, &cells(sound_one));
    }
    let most = &varint(u64::MAX)[..];
    let with = |parts: &[&[u8]]| cells(&parts.concat());
    let unknown = (67..=255).map(|mode| ("an unknown mode", with(&[&[mode], &[0; 64]]), EXPECTED_COLUMN));
    let widths = (65..=255).map(|width| {
        ("a width of more than 64 bits", with(&[&[66, 0, 0, width], &[0; 64]]), EXPECTED_COLUMN)
    });
    let faults = [
        ("a base and a number that wrap", with(&[&[1], most, &[0b010]]), EXPECTED_COLUMN),
        ("a base and a number of 64 bits that wrap", with(&[&[64, 2], &[0xFF; 24]]), EXPECTED_COLUMN),
        ("bits left over", with(&[&[1, 0, 0b1000]]), EXPECTED_COLUMN),
        ("bits left over behind steps", with(&[&[66, 0, 0, 1, 0b100]]), EXPECTED_COLUMN),
        ("a run that is too long", with(&[&[65, 3, 0]]), EXPECTED_COLUMN),
        ("a last run that is too long", with(&[&[65, 0, 0, 2, 2]]), EXPECTED_COLUMN),
        ("a run that is far too long", with(&[&[65], &varint(1 << 60), &[0]]), EXPECTED_COLUMN),
        ("as long a run as can be said", with(&[&[65], most, &[0]]), EXPECTED_COLUMN),
        ("a last run as long as can be said", with(&[&[65, 0, 0], most, &[0]]), EXPECTED_COLUMN),
        ("a base with a needless byte", with(&[&[0, 0x80, 0]]), EXPECTED_COLUMN),
        ("a base of eleven bytes", with(&[&[0], &[0x80; 10], &[0]]), EXPECTED_COLUMN),
        ("a base of 65 bits", with(&[&[0], &[0x80; 9], &[2]]), EXPECTED_COLUMN),
        ("a length with a needless byte", with(&[&[65, 0x82, 0, 0]]), EXPECTED_COLUMN),
        ("a number of a run with a needless byte", with(&[&[65, 2, 0x80, 0]]), EXPECTED_COLUMN),
        ("a first number with a needless byte", with(&[&[66, 0x80, 0, 0, 0]]), EXPECTED_COLUMN),
        ("a step with a needless byte", with(&[&[66, 0, 0x80, 0, 0]]), EXPECTED_COLUMN),
    ];
    refused::<Set>(unknown.chain(widths).chain(faults));
    // One number is a varint, without a mode.
    let one = |code: &[u8]| set().with_cells(1, code);
    sound::<Set>("one number", &one(&[4]));
    let eleven = [&[0x80; 10][..], &[0]].concat();
    refused::<Set>([
        ("a number with a needless byte", one(&[0x84, 0]), EXPECTED_COLUMN),
        ("a number of eleven bytes", one(&eleven), EXPECTED_COLUMN),
        ("a number of 65 bits", one(&[&[0xFF; 9][..], &[2]].concat()), EXPECTED_COLUMN),
    ]);
    let cut = |cells: &[u8]| Message { state: [&[3 << 2], cells].concat(), ..set() };
    refused::<Set>([
        ("no mode", cut(&[]), Why::Truncated),
        ("no base", cut(&[2]), Why::Truncated),
        ("numbers that end", cut(&[64, 0, 0, 0, 0]), Why::Truncated),
        ("no number of a run", cut(&[65, 1]), Why::Truncated),
        ("too few runs", cut(&[65, 1, 0]), Why::Truncated),
        ("no step", cut(&[66, 0]), Why::Truncated),
        ("no width", cut(&[66, 0, 0]), Why::Truncated),
        ("steps that end", cut(&[66, 0, 0, 64, 0, 0]), Why::Truncated),
        ("no keys", cut(&[2, 0, 0b10_01_00]), Why::Truncated),
    ]);
}

/// Columns of sets of no or few elements that claim very much.
#[test]
fn counts_of_what_takes_no_bytes() {
    let state = |state: &[&[u8]]| Message { state: state.concat(), ..set() };
    let many = 1 << 60;
    refused::<Set>([
        ("very many rows", state(&[&varint(many << 2), &[0, 0, 1]]), Why::Truncated),
        ("as many rows as can be said", state(&[&varint(!3), &[0, 0, 1]]), Why::Truncated),
        (
            "very many rows with floors",
            state(&[&varint(many << 2 | 1), &varint(many), &[0, 0, 0, 0]]),
            Why::Truncated,
        ),
        ("more rows than three times the bytes", state(&[&varint(1_000), &[0, 0, 1]]), Why::Truncated),
        ("very many marks of a floor", state(&[&[5, 1], &varint(many << 1), &[0, 0, 1]]), TOO_LONG),
        ("as many marks as can be said", state(&[&[5, 1], &varint(u64::MAX), &[0, 0, 1]]), TOO_LONG),
        ("very many siblings", state(&[&[4], &varint(many << 1 | 1), &[0, 0, 0, 1]]), Why::Limit("siblings")),
        (
            "as many siblings as can be said",
            state(&[&[4], &varint(u64::MAX), &[0, 0, 0, 1]]),
            Why::Limit("siblings"),
        ),
        ("very many marks", state(&[&[4, 1], &varint(many), &[0, 0, 1]]), TOO_LONG),
        ("as many marks as can be said", state(&[&[4, 1], &varint(u64::MAX), &[0, 0, 1]]), TOO_LONG),
        (
            "more marks of two cells than can be counted",
            state(&[&[8, 0, 1, 0], &varint(1 << 63), &[0, 0, 1, 2]]),
            TOO_LONG,
        ),
    ]);
    // No list is longer than there are replicas, and none of them names one twice: but of so few bytes they could not tell.
    let marks = [same(20, 1), same(20, 100), same(2_000, 0)].concat();
    let repeated = Message::of(100, &[]).with_cells(20, &marks);
    let floors = [&varint(20 << 2 | 1)[..], &[20], &same(20, 99 << 1), &same(2_000, 0), &[0; 20]].concat();
    refused::<Set>([
        ("more marks than so few bytes can tell apart", repeated, Why::Truncated),
        ("more marks of floors than so few bytes can tell apart", Message::of(100, &floors), Why::Truncated),
    ]);
    let each = |marks: u64| {
        let events: Vec<u64> = (0..20).flat_map(|_| 0..marks).collect();
        Message::of(100, &[]).with_cells(20, &[same(20, 1), same(20, marks), ints(&events)].concat())
    };
    sound::<Set>("as many marks in each cell as there are replicas", &each(100));
    sound::<Set>("one mark in each cell", &each(1));
    type Sets = MergeMap<u8, Set>;
    let sets = |codes: u64, rest: &[u8]| Message {
        state: [&[2 << 2, 0], &varint(codes)[..], rest, &[1, 2]].concat(),
        ..set()
    };
    sound::<Sets>("two sets of one element", &sets(4, &[0, 0, 0, 7, 7]));
    refused::<Sets>([
        ("very many rows of each", sets(many, &[0, 0]), Why::Truncated),
        ("more rows together than can be counted", sets(!3, &[0, 0]), Why::Truncated),
    ]);
    // What memory is allowed for is bounded, too, and elements.
    let limited = |limits: Limits, message: &Message| {
        let config = Config { limits, ..Config::default() };
        let read = Replica::<Set>::new(ReplicaId::from_u128(99), config).decode(&message.bytes());
        read.map(drop).map_err(why)
    };
    let all = Limits::default();
    assert_eq!(limited(Limits { elements: 9, ..all }, &set()), Ok(()), "two for each row, one for each cell");
    assert_eq!(limited(Limits { elements: 8, ..all }, &set()), Err(Why::Limit("elements")));
    let listed = Listed::sound().message();
    assert_eq!(limited(Limits { elements: 12, ..all }, &listed), Ok(()), "one for each event");
    assert_eq!(limited(Limits { elements: 11, ..all }, &listed), Err(Why::Limit("elements")));
    assert_eq!(limited(Limits { memory_bytes: 60, ..all }, &set()), Err(Why::Limit("memory_bytes")));
}

type Register = LwwRegister<u8>;

#[test]
fn cells() {
    let state = |state: &[u8]| Message::of(3, state);
    for (what, cell) in [
        ("a payload", &[0, 7][..]),
        ("a payload and a mark", &[3, 1, 0, 1, 2, 7]),
        ("two payloads", &[5, 0, 0, 0b10, 7, 8]),
        ("marks alone", &[1, 2, 1, 0, 0b10]),
    ] {
        // The columns of two numbers have a mode.
        let cell: Vec<u8> = match what {
            "a payload and a mark" => [&[3, 1][..], &ints(&[0, 1]), &[7]].concat(),
            "two payloads" => [&[5, 0][..], &ints(&[0, 1]), &[7, 8]].concat(),
            "marks alone" => [&[1, 2][..], &ints(&[0, 1])].concat(),
            _ => cell.to_vec(),
        };
        sound::<Register>(what, &state(&cell));
    }
    let general = |lives: u64, marks: u64, events: &[u64], payloads: &[u8]| {
        state(&[&varint(lives << 1 | 1), &varint(marks)[..], &ints(events), payloads].concat())
    };
    let (live, mark) = (Why::Repeated("a live entry of one replica"), Why::Repeated("a mark"));
    refused::<Register>([
        ("a cell of nothing", general(0, 0, &[], &[]), Why::Expected("a cell of which something is known")),
        ("an author of two payloads", general(2, 0, &[0, 0], &[7, 8]), live),
        ("an author of a payload and of a mark", general(1, 1, &[1, 1], &[7]), mark.clone()),
        ("an author of two marks", general(0, 2, &[2, 2], &[]), mark),
        ("a mark that is not there", general(1, 1, &[0, 3], &[7]), Why::Stamp),
        ("a payload of an event that is not there", general(1, 1, &[3, 0], &[7]), Why::Stamp),
        ("no payload", state(&[0]), Why::Truncated),
        ("no second payload", general(2, 0, &[0, 1], &[7]), Why::Truncated),
        ("one payload too many", general(1, 1, &[0, 1], &[7, 8]), Why::Trailing),
        ("a payload that is nothing", state(&[0, 0xC1]), Why::Expected("a value")),
        ("a payload of very many elements", state(&[0, 0xDD, 0xFF, 0xFF, 0xFF, 0xFF]), Why::Truncated),
        ("a payload of very many bytes", state(&[0, 0xC6, 0xFF, 0xFF, 0xFF, 0xFF]), Why::Limit("text_bytes")),
    ]);
    kept::<Register>([
        ("a payload that is no number", state(&[0, 0xC0])),
        ("a payload that is out of range", state(&[0, 0xCD, 1, 0])),
        ("a payload that is no UTF-8", state(&[0, 0xA1, 0xFF])),
        ("a payload beside one that is a number", general(2, 0, &[0, 1], &[7, 0xC0])),
    ]);
    let lives: Vec<u64> = (0..1_025).collect();
    let siblings = |count: usize| {
        let cell =
            [varint((count as u64) << 1 | 1), varint(0), ints(&lives[..count]), vec![7; count]].concat();
        Message::of(1_025, &cell)
    };
    sound::<Register>("as many siblings as there may be", &siblings(1_024));
    let read = reader::<Register>().decode(&siblings(1_025).bytes()).map(drop).map_err(why);
    assert_eq!(read, Err(Why::Limit("siblings")));
}

/// Two events of one author in a cell cannot be told from one that is known only in part: whichever stands first.
#[test]
fn an_author_stands_once_in_a_cell_whatever_the_stamps() {
    let events = |rest: &[u8]| Message { events: [&[3], rest].concat(), ..Message::of(2, &[]) };
    // Both of the first replica, a millisecond apart.
    let two = events(&[&[0][..], &ints(&[1]), &ints(&[0, 0]), &[0]].concat());
    let cell = |lives: u64, marks: u64, events: &[u64], payloads: &[u8]| Message {
        state: [&varint(lives << 1 | 1), &varint(marks)[..], &ints(events), payloads].concat(),
        ..two.clone()
    };
    sound::<Register>("the older", &Message { state: vec![0, 7], ..two.clone() });
    sound::<Register>("the newer", &Message { state: vec![2, 7], ..two.clone() });
    let (live, mark) = (Why::Repeated("a live entry of one replica"), Why::Repeated("a mark"));
    refused::<Register>([
        ("two payloads", cell(2, 0, &[0, 1], &[7, 8]), live),
        ("a payload and an older mark", cell(1, 1, &[1, 0], &[7]), mark.clone()),
        ("a payload and a newer mark", cell(1, 1, &[0, 1], &[7]), mark.clone()),
        ("two marks", cell(0, 2, &[0, 1], &[]), mark.clone()),
    ]);
    let floor = |events: &[u64]| Message {
        state: [&[5, 1][..], &varint((events.len() as u64 - 1) << 1), &ints(events), &[7]].concat(),
        ..two.clone()
    };
    sound::<Set>("a floor", &floor(&[1]));
    let mark = Why::Repeated("a mark");
    refused::<Set>([("a floor of two events of one author", floor(&[0, 1]), mark)]);
}

#[test]
fn counters() {
    let stamp = NOW_MS << 16;
    // A payload and a record of a removed count, of the first replica.
    let counter = |counts: &[u8], events: &[u64], payloads: &[u64], records: &[u64]| {
        let columns = payloads.chunks(1).map(ints).collect::<Vec<_>>().concat();
        Message::of(2, &[counts, &ints(events), &columns, &ints(records)].concat())
    };
    sound::<Counter>("one count", &Message::of(1, &[0, 4, 0]));
    sound::<Counter>("the longest run", &Message::of(1, &[&[0, 4][..], &varint(stamp - 1)].concat()));
    sound::<Counter>("a record", &counter(&[3, 0, 1], &[1, 0], &[4, 0], &[9]));
    let record = Why::Repeated("the record of a removed count");
    let two_records = [&[3, 0, 2][..], &ints(&[1, 0, 0]), &[4, 0], &ints(&[9, 9])].concat();
    refused::<Counter>([
        ("a run that begins at zero", Message::of(1, &[&[0, 4][..], &varint(stamp)].concat()), Why::Stamp),
        (
            "a run that begins before it",
            Message::of(1, &[&[0, 4][..], &varint(stamp + 1)].concat()),
            Why::Stamp,
        ),
        (
            "a run that begins far before it",
            Message::of(1, &[&[0, 4][..], &varint(u64::MAX)].concat()),
            Why::Stamp,
        ),
        ("no total", Message::of(1, &[0]), Why::Truncated),
        ("no run", Message::of(1, &[0, 4]), Why::Truncated),
        ("a record of no total", counter(&[3, 0, 1], &[1, 0], &[4, 0], &[]), Why::Truncated),
        ("two records of one author", Message::of(2, &two_records), record),
        ("a record of an event that is not there", counter(&[3, 0, 1], &[1, 2], &[4, 0], &[9]), Why::Stamp),
        (
            "very many records",
            Message::of(2, &[&[3, 0][..], &varint(1 << 60), &[0, 0, 0, 0]].concat()),
            TOO_LONG,
        ),
        (
            "very many counts",
            Message::of(2, &[&varint(1 << 60 | 1)[..], &[0, 0, 0, 0, 0]].concat()),
            TOO_LONG,
        ),
        (
            "a counter of nothing",
            counter(&[1, 0, 0], &[], &[], &[]),
            Why::Expected("a cell of which something is known"),
        ),
    ]);
}

#[derive(Crdt)]
struct Pair {
    name: LwwRegister<u8>,
    is_on: Flag,
}

#[test]
fn structs_and_fields_of_documents() {
    let of = |state: &[u8]| Message::of(1, state);
    sound::<Pair>("a struct", &of(&[3, 0, 7, 0]));
    refused::<Pair>([
        ("a field that is not known", of(&[7, 0, 7, 0, 0]), Why::UnknownField(2)),
        (
            "the last field that there could be",
            of(&[&varint(1 << 63 | 1)[..], &[0, 7]].concat()),
            Why::UnknownField(63),
        ),
        ("no field that it says to have", of(&[3, 0, 7]), Why::Truncated),
    ]);
    type Pairs = MergeMap<u8, Pair>;
    let known = Why::Expected("what is known of a key");
    sound::<Pairs>("two structs", &of(&[&[8][..], &ints(&[1, 2]), &[0, 7, 0, 1, 2]].concat()));
    sound::<Pairs>("a struct of nothing, of a key that was removed", &of(&[5, 1, 1, 0, 0, 7]));
    refused::<Pairs>([
        ("a struct of nothing", of(&[4, 0, 7]), known.clone()),
        (
            "one of two that is of nothing",
            of(&[&[8][..], &ints(&[2, 0]), &[0, 1, 2]].concat()),
            known.clone(),
        ),
        (
            "one of two that has a field more",
            of(&[&[8][..], &ints(&[2, 6]), &[0, 0, 0, 1, 2]].concat()),
            Why::UnknownField(2),
        ),
    ]);
    sound::<Document>("a flag", &of(&[4, 16, 0, 0xA0]));
    refused::<Document>([
        ("a kind that is not known", of(&[4, 64, 0, 0xA0]), Why::UnknownField(6)),
        (
            "the last kind that there could be",
            of(&[&[4][..], &varint(1 << 63), &[0, 0xA0]].concat()),
            Why::UnknownField(63),
        ),
        ("a field of no kind", of(&[4, 0, 0xA0]), known.clone()),
        ("a map of nothing", of(&[4, 32, 0, 0xA0]), known),
        ("a name that is no text", of(&[4, 16, 0, 1]), Why::Value),
        ("a name that is no UTF-8", of(&[4, 16, 0, 0xA1, 0xFF]), Why::Value),
    ]);
    kept::<Document>([("a register of an extension", of(&[4, 1, 0, 0xD4, 1, 1, 0xA0]))]);
    kept::<LwwRegister<Value>>([
        ("a map with a key that is no text", of(&[0, 0x81, 1, 1])),
        ("an extension that is no UUID", of(&[0, 0xD4, 1, 1])),
        ("a UUID of another number", of(&[&[0, 0xD8, 2][..], &[0; 16]].concat())),
    ]);
}

#[test]
fn rows() {
    let of = |state: &[&[u8]]| Message::of(3, &state.concat());
    sound::<Set>("a row with a floor and one without", &of(&[&[9, 1, 0, 0, 0, 7, 8]]));
    sound::<Set>("a row with a floor and a value", &of(&[&[5, 1, 1, 0, 0, 7]]));
    sound::<Set>("no rows", &of(&[&[0]]));
    let repeated = Why::Repeated("a key");
    let shape = Why::Expected("the numbers of rows of maps");
    let keys = |count: u8, last: u8| {
        let keys: Vec<u8> = (0..count - 1).chain([last]).collect();
        of(&[&varint(u64::from(count) << 2), &same(count.into(), 0), &keys])
    };
    sound::<Set>("many keys", &keys(100, 99));
    refused::<Set>([
        ("a key twice", of(&[&[8, 0, 0, 7, 7]]), repeated.clone()),
        ("the first of many keys twice", keys(100, 0), repeated.clone()),
        ("a key twice, with floors", of(&[&[9, 2, 0, 0, 0, 0, 7, 7]]), repeated.clone()),
        ("a key with a floor and without", of(&[&[9, 1, 0, 0, 0, 7, 7]]), repeated.clone()),
        ("floors, and none", of(&[&[5, 0, 0, 7]]), shape.clone()),
        ("more floors than rows", of(&[&[5, 2, 0, 0, 0, 0, 7, 8]]), shape.clone()),
        ("far more floors than rows", of(&[&[5], &varint(u64::MAX), &[0, 0, 7]]), shape.clone()),
        ("floors without rows", of(&[&[1, 1, 0, 0, 7]]), shape),
        ("a mark of a floor twice", of(&[&[5, 1, 2], &ints(&[1, 1]), &[7]]), Why::Repeated("a mark")),
        ("a mark of a floor that is not there", of(&[&[5, 1, 0, 3, 7]]), Why::Stamp),
        ("a floor of which the events end", of(&[&[5, 1, 2]]), Why::Truncated),
        ("no key", of(&[&[8, 0, 0, 7]]), Why::Truncated),
        ("a key too many", of(&[&[4, 0, 7, 8]]), Why::Trailing),
        ("a key of another type", of(&[&[4, 0, 0xC0]]), Why::Value),
        ("a key that is out of range", of(&[&[4, 0, 0xCD, 1, 0]]), Why::Value),
    ]);
    type Sets = MergeMap<u8, Set>;
    let known = Why::Expected("what is known of a key");
    sound::<Sets>("two sets that share a key", &of(&[&[8, 0, 4, 0, 0, 0, 7, 7, 1, 2]]));
    sound::<Sets>("a set of nothing, of a key that was removed", &of(&[&[5, 1, 1, 0, 0, 7]]));
    refused::<Sets>([
        ("a set of nothing", of(&[&[4, 0, 7]]), known.clone()),
        ("one of two that is of nothing", of(&[&[8], &ints(&[4, 0]), &[0, 7, 1, 2]]), known),
        (
            "a key twice in the first set",
            of(&[&[8], &ints(&[8, 4]), &[0, 0, 0, 7, 7, 7, 1, 2]]),
            repeated.clone(),
        ),
        ("a key twice in the second set", of(&[&[8], &ints(&[4, 8]), &[0, 0, 0, 7, 8, 8, 1, 2]]), repeated),
    ]);
}

#[test]
fn dictionaries_of_keys() {
    type Sets = MergeMap<u8, OrSet<String>>;
    // Two sets of the same two elements; `form` is how those are written.
    let sets = |form: &[&[u8]]| Message::of(3, &[&[8, 0, 8, 0, 0][..], &form.concat(), &[1, 2]].concat());
    let name = [0xA1, b'a', 0xA1, b'b'];
    sound::<Sets>("keys in full", &sets(&[&[0], &name, &name]));
    sound::<Sets>("keys of a dictionary", &sets(&[&[1, 1], &name, &ints(&[0, 1, 0, 1])]));
    sound::<Sets>("keys of a dictionary in another order", &sets(&[&[1, 1], &name, &ints(&[1, 0, 0, 1])]));
    let wrong = Why::Expected("keys of a dictionary");
    let few = Why::Expected("keys in full where so few bytes stand before them");
    let long = [&[0xDA, 1, 0][..], &[b'x'; 256], &name[2..]].concat();
    let repeated = Why::Repeated("a key");
    refused::<Sets>([
        (
            "a form of the future",
            sets(&[&[2, 1], &name, &name]),
            Why::Expected("keys or a dictionary of them"),
        ),
        ("a number beyond the dictionary", sets(&[&[1, 1], &name, &ints(&[0, 1, 0, 2])]), wrong.clone()),
        ("a number far beyond the dictionary", sets(&[&[1, 1], &name, &ints(&[0, 1, 0, u64::MAX])]), wrong),
        ("a dictionary of very many keys", sets(&[&[1], &varint(1 << 60), &name]), Why::Truncated),
        (
            "a dictionary of as many keys as can be said",
            sets(&[&[1], &varint(u64::MAX), &name]),
            Why::Truncated,
        ),
        ("a dictionary that ends", sets(&[&[1, 9], &name, &ints(&[0, 1, 0, 1])]), Why::Truncated),
        ("a key twice by its number", sets(&[&[1, 1], &name, &ints(&[0, 0, 0, 1])]), repeated.clone()),
        (
            "a key twice in the dictionary",
            sets(&[&[1, 1], &name[..2], &name[..2], &ints(&[0, 1, 0, 1])]),
            repeated,
        ),
        (
            "longer keys than so few bytes may stand for",
            sets(&[&[1, 1], &long, &ints(&[0, 1, 0, 1])]),
            few.clone(),
        ),
        ("a key of another type", sets(&[&[1, 1], &[7], &name, &ints(&[0, 1, 0, 1])]), Why::Value),
    ]);
    // Where a column is of one map, or of one key, there is no form.
    type One = MergeMap<u8, OrSet<u8>>;
    let one = |state: &[u8]| Message::of(1, state);
    sound::<One>(
        "two sets, one of which is empty and was removed",
        &one(&[&[9, 1, 1, 0][..], &ints(&[0, 4]), &[0, 7, 1, 2]].concat()),
    );
    // The number of rows that a dictionary may stand for.
    let many = |count: u64, before: usize| {
        let text = [&[0xD9, before as u8][..], &vec![b'x'; before]].concat();
        let bits: Vec<u64> = (0..count).map(|n| if n == 0 { 3 } else { 2 }).collect();
        let keys: Vec<u8> = (0..count as u8).collect();
        let dictionary = [&[1, 0, 0xA0][..], &same(count, 0)].concat();
        let sets = [same(count, 4), same(count, 0), dictionary].concat();
        Message::of(1, &[&varint(count << 2), &ints(&bits), &[0][..], &text, &sets, &keys].concat())
    };
    #[derive(Crdt)]
    struct Texts {
        text: LwwRegister<String>,
        set: OrSet<String>,
    }
    type Rows = MergeMap<u8, Texts>;
    // Each key counts for five: four, and its byte.
    let at = |count: u64, before: usize| {
        let message = many(count, before).bytes();
        let dictionary = [&[1, 0, 0xA0][..], &same(count, 0)].concat();
        message.windows(dictionary.len()).position(|window| window == dictionary).expect("it is in it") as u64
    };
    let before = (1..200).find(|before| 8 * at(100, *before) >= 500).expect("so many are enough");
    sound::<Rows>("as many keys as the bytes allow", &many(100, before));
    refused::<Rows>([("a byte less", many(100, before - 1), few)]);
}
