//! How much memory bytes can claim: the worst messages that we know how to make, of each kind.

use std::fmt::Write;

use allocation_counter::measure;
use driftless::{
    Config, Counter, Crdt, Document, Flag, Limits, LwwRegister, MergeMap, MvRegister, OrSet, PendingDelta,
    Replica, ReplicaId, Value,
};
use uuid::Uuid;

use crate::NOW_MS;
use crate::forge::{Message, ints, list, names, numbers, same, transfer, uint, varint};

/// What a replica takes for a message of any size, even an empty one.
const FIXED: u64 = 4 << 10;
/// What a message takes at most of what the decoder counts it as, when it is read and merged.
const OF_COUNTED: u64 = 6;
/// What the table of ids and the vectors take, which are not counted: their size follows from that of the message.
const OF_HEAD: u64 = 12;
/// How large the messages are.
const SIZES: [usize; 2] = [1_000, 50_000];

#[derive(Crdt)]
struct Fourteen {
    a: LwwRegister<String>,
    b: LwwRegister<String>,
    c: LwwRegister<String>,
    d: LwwRegister<String>,
    e: LwwRegister<String>,
    f: LwwRegister<i64>,
    g: LwwRegister<i64>,
    h: MvRegister<String>,
    i: Counter,
    j: OrSet<String>,
    k: MergeMap<u8, Flag>,
    l: Flag,
    m: Flag,
    n: Document,
}

/// One way to write much in few bytes.
struct Attack {
    what: &'static str,
    /// By how many replicas.
    ids: u16,
    /// A state of about so many bytes.
    state: fn(usize) -> Vec<u8>,
    /// Whether it is read, however much memory is allowed.
    is_read: bool,
}

const fn attack(what: &'static str, state: fn(usize) -> Vec<u8>) -> Attack {
    attack_by(1, what, state)
}

const fn attack_by(ids: u16, what: &'static str, state: fn(usize) -> Vec<u8>) -> Attack {
    Attack { what, ids, state, is_read: true }
}

/// What is refused, if only when its end has been read.
const fn refused(what: &'static str, state: fn(usize) -> Vec<u8>) -> Attack {
    refused_by(1, what, state)
}

const fn refused_by(ids: u16, what: &'static str, state: fn(usize) -> Vec<u8>) -> Attack {
    Attack { what, ids, state, is_read: false }
}

/// As many as would take more than all memory, were it taken for them.
const VERY_MANY: u64 = 1 << 60;
/// A little less than the limit of elements.
const ELEMENTS: u64 = (16 << 20) - 1_000;

/// A map of `count` rows without floors: of their values, and of their keys.
fn plain(count: u64, values: &[u8], keys: &[u8]) -> Vec<u8> {
    [&varint(count << 2), values, keys].concat()
}

/// A map of `count` rows with a floor of one event each. `has_value` is 1 or 0.
fn removed(count: u64, has_value: u64, values: &[u8], keys: &[u8]) -> Vec<u8> {
    let floors = [varint(count << 2 | 1), varint(count), same(count, has_value), same(count, 0)].concat();
    [&floors, values, keys].concat()
}

/// The values of a map by numbers, and then the keys, of about `len` bytes.
fn by_numbers(len: usize, values: impl Fn(u64) -> Vec<u8>) -> Vec<u8> {
    let (count, keys) = numbers(len);
    plain(count, &values(count), &keys)
}

/// A column of `count` general cells: `lives` payloads, `marks` other marks, of the events from 0.
fn general(count: u64, lives: u64, marks: u64) -> Vec<u8> {
    let events: Vec<u64> = (0..count).flat_map(|_| 0..lives + marks).collect();
    [same(count, lives << 1 | 1), same(count, marks), ints(&events)].concat()
}

/// A column of `count` sets or maps of one row each, of which `values` follow.
fn singles(count: u64, values: &[u8]) -> Vec<u8> {
    [&same(count, 1 << 2), values].concat()
}

/// As many keys, all the same: written one by one.
fn same_keys(count: u64, key: u8) -> Vec<u8> {
    let mut keys = if count > 1 { vec![0] } else { Vec::new() };
    keys.resize(keys.len() + count as usize, key);
    keys
}

const SETS: [Attack; 13] = [
    attack("elements", |len| by_numbers(len, |count| same(count, 0))),
    refused("one element, repeated", |len| plain(len as u64, &same(len as u64, 0), &vec![1; len])),
    attack("removed elements", |len| {
        let (count, keys) = numbers(len);
        removed(count, 0, &[], &keys)
    }),
    refused("one removed element, repeated", |len| removed(len as u64, 0, &[], &vec![1; len])),
    attack("elements with marks alone", |len| {
        by_numbers(len, |count| [same(count, 1), same(count, 1), same(count, 0)].concat())
    }),
    attack_by(2, "elements with two marks", |len| by_numbers(len, |count| general(count, 1, 1))),
    attack_by(100, "elements by many", |len| {
        by_numbers(len, |count| ints(&(0..count).map(|n| (n % 100) << 1).collect::<Vec<_>>()))
    }),
    attack_by(4096, "elements by very many", |len| {
        by_numbers(len, |count| ints(&(0..count).map(|n| (n % 4096) << 1).collect::<Vec<_>>()))
    }),
    refused("very many elements of which nothing follows", |len| {
        plain(VERY_MANY, &same(2, 0), &vec![0; len])
    }),
    refused("as many elements as are allowed, of which nothing follows", |len| {
        plain(ELEMENTS / 3, &same(2, 0), &vec![0; len])
    }),
    refused("very many removed elements", |len| removed(VERY_MANY, 0, &[], &vec![0; len])),
    refused("a floor of very many events", |len| {
        let marks = varint((VERY_MANY - 1) << 1);
        [&varint(1 << 2 | 1)[..], &[1], &marks, &same(2, 0), &vec![0; len]].concat()
    }),
    refused("a floor of one event as often as is allowed", |len| {
        let marks = varint((ELEMENTS - 1) << 1);
        [&varint(1 << 2 | 1)[..], &[1], &marks, &same(2, 0), &vec![0; len]].concat()
    }),
];

/// A column of one cell with as many of something as are allowed, all of one event: what they are, in this order, is said in
/// the first numbers.
fn one_event_again_and_again(code: u64, counts: &[u64], len: usize) -> Vec<u8> {
    let counts: Vec<u8> = counts.iter().flat_map(|count| varint(*count)).collect();
    let cell = [&varint(code)[..], &counts, &same(2, 0), &vec![0; len]].concat();
    plain(1, &cell, &[])
}

const MAPS: [Attack; 11] = [
    attack("removed rows", |len| {
        let (count, keys) = numbers(len);
        removed(count, 0, &[], &keys)
    }),
    attack("empty texts", |len| by_numbers(len / 2, |count| [same(count, 0), texts(count)].concat())),
    attack_by(2, "empty texts with two marks", |len| {
        by_numbers(len / 2, |count| [general(count, 1, 1), texts(count)].concat())
    }),
    attack_by(100, "a hundred siblings each", |len| {
        by_numbers(len / 200, |count| [general(count, 100, 0), texts(100 * count)].concat())
    }),
    attack_by(4, "marks of four alone", |len| by_numbers(len, |count| general(count, 0, 4))),
    refused("very many siblings", |len| one_event_again_and_again(VERY_MANY << 1 | 1, &[0], len)),
    refused("one sibling as often as is allowed", |len| {
        one_event_again_and_again(ELEMENTS << 1 | 1, &[0], len)
    }),
    refused("very many marks", |len| one_event_again_and_again(1, &[VERY_MANY], len)),
    refused("one mark as often as is allowed", |len| one_event_again_and_again(1, &[ELEMENTS], len)),
    refused_by(100, "one mark of a hundred authors' in each cell", |len| {
        by_numbers(len, |count| [same(count, 1), same(count, 100), same(100 * count, 0)].concat())
    }),
    refused("marks that are more together than can be counted", |len| {
        by_numbers(len, |count| [same(count, 1), same(count, 1 << 63), same(2, 0)].concat())
    }),
];

/// Values that are no texts.
const UNREADABLE: [Attack; 3] = [
    attack("nothing in place of texts", |len| {
        by_numbers(len / 2, |count| [same(count, 0), nils(count)].concat())
    }),
    attack_by(2, "nothing in place of texts, with two marks", |len| {
        by_numbers(len / 2, |count| [general(count, 1, 1), nils(count)].concat())
    }),
    attack_by(100, "a hundred siblings that are nothing each", |len| {
        by_numbers(len / 200, |count| [general(count, 100, 0), nils(100 * count)].concat())
    }),
];

fn nils(count: u64) -> Vec<u8> {
    vec![0xC0; count as usize]
}

fn texts(count: u64) -> Vec<u8> {
    vec![0xA0; count as usize]
}

const COUNTERS: [Attack; 7] = [
    attack("one entry each", |len| {
        by_numbers(len, |count| [same(count, 0), same(count, 0), same(count, 0)].concat())
    }),
    attack("a mark and a removed count each", |len| {
        by_numbers(len, |count| {
            let counts = [same(count, 1), same(count, 1), same(count, 1)].concat();
            [counts, same(2 * count, 0), same(count, 0)].concat()
        })
    }),
    refused("one removed count, repeated", |len| one_event_again_and_again(1, &[0, len as u64], len)),
    refused("one removed count as often as is allowed", |len| {
        one_event_again_and_again(1, &[0, ELEMENTS], len)
    }),
    refused("very many removed counts", |len| one_event_again_and_again(1, &[0, VERY_MANY], len)),
    attack_by(100, "a hundred entries each", |len| {
        by_numbers(len / 100, |count| {
            let events: Vec<u64> = (0..count).flat_map(|_| 0..100).collect();
            let cells = [same(count, 201), same(count, 0), same(count, 0), ints(&events)].concat();
            [cells, same(100 * count, 0), same(100 * count, 0)].concat()
        })
    }),
    attack_by(2, "two entries and two removed counts each", |len| {
        by_numbers(len, |count| {
            let events: Vec<u64> = (0..count).flat_map(|_| [0, 1, 0, 1]).collect();
            let cells = [same(count, 5), same(count, 0), same(count, 2), ints(&events)].concat();
            [cells, same(2 * count, 0), same(2 * count, 0), same(2 * count, 0)].concat()
        })
    }),
];

const NESTED: [Attack; 8] = [
    attack("one element each", |len| {
        by_numbers(len / 2, |count| [singles(count, &same(count, 0)), same_keys(count, 0)].concat())
    }),
    attack("one removed element each", |len| {
        by_numbers(len / 2, |count| {
            let floors = [same(count, 1), same(count, 0), same(count, 0)].concat();
            [same(count, 1 << 2 | 1), floors, same_keys(count, 0)].concat()
        })
    }),
    attack("removed rows of empty maps", |len| {
        let (count, keys) = numbers(len);
        removed(count, 1, &same(count, 0), &keys)
    }),
    attack("as many elements as make a table", |len| {
        by_numbers(len / 17, |count| {
            let keys: Vec<u8> = (0..count).flat_map(|_| 0..17).collect();
            let form: &[u8] = if 17 * count > 1 && count > 1 { &[0] } else { &[] };
            [&same(count, 17 << 2), &same(17 * count, 0), form, &keys].concat()
        })
    }),
    refused("one element each, named by a number after few bytes", |len| {
        by_numbers(len, |count| {
            let keys = [&[1, 0, 0][..], &same(count, 0)].concat();
            [singles(count, &same(count, 0)), keys].concat()
        })
    }),
    refused("very many elements each", |len| {
        by_numbers(len, |count| [same(count, VERY_MANY), same(2, 0)].concat())
    }),
    refused("elements that are more together than can be counted", |len| {
        by_numbers(len, |count| [same(count, !3), same(2, 0)].concat())
    }),
    refused("more removed elements together than can be counted", |len| {
        by_numbers(len, |count| [same(count, 5), same(count, 1 << 63), same(2, 0)].concat())
    }),
];

const STRUCTS: [Attack; 7] = [
    attack("removed rows", |len| {
        let (count, keys) = numbers(len);
        removed(count, 0, &[], &keys)
    }),
    attack("removed rows of empty structs", |len| {
        let (count, keys) = numbers(len);
        removed(count, 1, &same(count, 0), &keys)
    }),
    attack("one flag each", |len| by_numbers(len, |count| [same(count, 1 << 11), same(count, 0)].concat())),
    attack("a counter, two flags and a text each", |len| {
        by_numbers(len / 2, |count| {
            let text = [same(count, 0), texts(count)].concat();
            [&same(count, 1 << 0 | 1 << 8 | 1 << 11 | 1 << 12), &text, &same(count, 0).repeat(5)[..]].concat()
        })
    }),
    attack("an element each, named by a number", |len| {
        // A long text stands before, so that there are bytes enough for as many keys.
        let (count, keys) = numbers(len);
        let bits: Vec<u64> = (0..count).map(|n| if n == 0 { 1 | 1 << 9 } else { 1 << 9 }).collect();
        let sets = [singles(count, &same(count, 0)), one_key_in_numbers(count)].concat();
        let values = [&ints(&bits), &long_text(len), &sets[..]].concat();
        plain(count, &values, &keys)
    }),
    refused("very many structs of which nothing follows", |len| plain(VERY_MANY, &same(2, 0), &vec![0; len])),
    refused("as many structs as are allowed, of which nothing follows", |len| {
        plain(ELEMENTS / 2, &same(2, 1 << 11), &vec![0; len])
    }),
];

/// A column of one register that holds a text.
fn long_text(len: usize) -> Vec<u8> {
    [&[0, 0xDA][..], &(len as u16).to_be_bytes(), &vec![b'a'; len]].concat()
}

/// A column of `count` keys that are all the empty text: a dictionary of one key, and numbers.
fn one_key_in_numbers(count: u64) -> Vec<u8> {
    [&[1, 0, 0xA0][..], &same(count, 0)].concat()
}

/// A column of fields that all hold one kind.
fn of_kind(kind: u32, count: u64, state: &[u8]) -> Vec<u8> {
    [&same(count, 1 << kind), state].concat()
}

/// The fields of a document by names, and then those, of about `len` bytes.
fn by_names(len: usize, fields: impl Fn(u64) -> Vec<u8>) -> Vec<u8> {
    let (count, keys) = names(len);
    plain(count, &fields(count), &keys)
}

/// A column of `count` maps of one flag each, in `depth` levels of maps.
fn maps_in_maps(depth: usize, count: u64, keys: &[u8]) -> Vec<u8> {
    let mut levels = of_kind(5, count, &same(count, 1 << 2)).repeat(depth);
    levels.extend(of_kind(4, count, &same(count, 0)));
    levels.extend(keys.repeat(depth));
    levels
}

const DOCUMENTS: [Attack; 10] = [
    attack("one flag a name", |len| by_names(len, |count| of_kind(4, count, &same(count, 0)))),
    refused("one name, repeated", |len| {
        let count = len as u64;
        plain(count, &of_kind(4, count, &same(count, 0)), &texts(count))
    }),
    attack("removed names", |len| {
        let (count, keys) = names(len);
        removed(count, 0, &[], &keys)
    }),
    attack("three kinds a name", |len| {
        by_names(len / 2, |count| {
            let registers = [same(count, 0), vec![0xC0; count as usize]].concat();
            [&same(count, 1 | 2 | 16), &registers, &registers, &same(count, 0)[..]].concat()
        })
    }),
    attack("all kinds a name, and nothing in them", |len| {
        let (count, keys) = names(len);
        // A register and a flag hold a mark.
        let mark = [same(count, 1), same(count, 1), same(count, 0)].concat();
        let counter = [same(count, 1), same(count, 1), same(count, 0), same(count, 0)].concat();
        let empty = same(count, 0);
        let fields = [&same(count, 63), &mark, &mark, &empty, &counter, &mark, &empty[..]].concat();
        plain(count, &fields, &keys)
    }),
    attack("a map of one flag a name", |len| {
        by_names(len / 2, |count| maps_in_maps(1, count, &same_keys(count, 0xA0)))
    }),
    attack("maps in maps", |len| {
        by_names(len / 20, |count| maps_in_maps(40, count, &same_keys(count, 0xA0)))
    }),
    attack("maps of as many names as make a table", |len| {
        by_names(len / 34, |count| {
            let names: Vec<u8> =
                (0..count).flat_map(|_| (b'a'..b'a' + 17).flat_map(|name| [0xA1, name])).collect();
            let form: &[u8] = if count > 1 { &[0] } else { &[] };
            let flags = of_kind(4, 17 * count, &same(17 * count, 0));
            of_kind(5, count, &[&same(count, 17 << 2), &flags, form, &names].concat())
        })
    }),
    attack("maps in maps, their names as numbers", |len| {
        let (count, mut keys) = names(len / 13);
        // The first name holds a long text.
        let bits: Vec<u64> = (0..=count).map(|n| if n == 0 { 1 } else { 1 << 5 }).collect();
        keys.splice(..0, [0xA0]);
        let maps = maps_in_maps(40, count, &one_key_in_numbers(count));
        // The maps themselves say again that they are maps.
        let maps = &maps[same(count, 1 << 5).len()..];
        plain(count + 1, &[&ints(&bits), &long_text(len), maps].concat(), &keys)
    }),
    refused("very many names in maps of very many names", |len| {
        by_names(len, |count| of_kind(5, count, &[same(count, VERY_MANY), same(2, 32)].concat()))
    }),
];

const VALUES: [Attack; 6] = [
    attack("a list of nil", |len| value(&list(len, &[0xC0]))),
    attack("lists of one nil", |len| value(&list(len, &[0x91, 0xC0]))),
    attack("empty lists", |len| value(&list(len, &[0x90]))),
    attack("short texts", |len| value(&list(len, &[0xA1, b'a']))),
    attack("maps of one nil", |len| value(&list(len, &[0x81, 0xA0, 0xC0]))),
    attack("maps in maps", |len| {
        let mut unit = [0x81, 0xA0].repeat(40);
        unit.push(0xC0);
        value(&list(len, &unit))
    }),
];

fn value(value: &[u8]) -> Vec<u8> {
    [&[0], value].concat()
}

fn reader<S: Crdt>(changes: bool, memory_bytes: usize) -> Replica<S> {
    let limits = Limits { memory_bytes, ..Limits::default() };
    Replica::new(ReplicaId::from_u128(99 << 64), Config { changes, limits, ..Config::default() })
}

/// The peak of memory while a message is read and merged.
fn peak<S: Crdt>(bytes: &[u8], changes: bool) -> u64 {
    let mut reader: Replica<S> = reader(changes, usize::MAX);
    let read_and_merge = || {
        if let Ok(delta) = reader.decode(bytes) {
            reader.merge(NOW_MS, delta).expect("what is read is merged");
        }
    };
    measure(read_and_merge).bytes_max
}

/// How much memory the decoder counts a message as: the least limit with which it is read. `None` if it never is.
fn counted<S: Crdt>(bytes: &[u8]) -> Option<u64> {
    let is_read = |memory_bytes| reader::<S>(false, memory_bytes).decode(bytes).is_ok();
    let (mut too_few, mut enough) = (0, 1 << 30);
    if !is_read(enough) {
        return None;
    }
    while enough - too_few > 1 {
        let middle = too_few + (enough - too_few) / 2;
        *(if is_read(middle) { &mut enough } else { &mut too_few }) = middle;
    }
    Some(enough as u64)
}

/// How many bytes of memory a byte of a message may take.
struct Bound {
    plain: u64,
    /// If the replica reports changes.
    with_changes: u64,
}

fn check<S: Crdt>(kind: &str, attacks: &[Attack], Bound { plain, with_changes }: Bound) {
    let mut report = String::new();
    let mut is_kept = true;
    for Attack { what, ids, state, is_read } in attacks {
        for len in SIZES {
            let bytes = Message::of(*ids, &state(len)).bytes();
            let len = bytes.len() as u64;
            let per = |peak: u64, of: u64| peak as f64 / of as f64;
            write!(report, "{kind}: {what}, {len} bytes: ").expect("a string takes all");
            for (changes, factor) in [(false, plain), (true, with_changes)] {
                let peak = peak::<S>(&bytes, changes);
                is_kept &= peak <= FIXED + factor * len;
                write!(report, "{:.0} ({factor}), ", per(peak, len)).expect("a string takes all");
            }
            let peak = peak::<S>(&bytes, false);
            let counted = counted::<S>(&bytes);
            assert_eq!(counted.is_some(), *is_read, "{kind}: {what}");
            if let Some(counted) = counted {
                is_kept &= peak <= FIXED + OF_COUNTED * counted + OF_HEAD * len;
                write!(report, "{:.1} of what was counted", per(peak, counted)).expect("a string takes all");
            }
            report.push('\n');
        }
    }
    println!("{report}");
    assert!(is_kept, "more memory than allowed:\n{report}");
}

#[test]
fn a_set_takes_a_small_multiple_of_its_bytes() {
    check::<OrSet<u32>>("set", &SETS, Bound { plain: 224, with_changes: 328 });
}

#[test]
fn a_map_of_registers_takes_a_small_multiple_of_its_bytes() {
    check::<MergeMap<u32, MvRegister<String>>>("map", &MAPS, Bound { plain: 168, with_changes: 408 });
}

#[test]
fn values_that_cannot_be_read_take_a_multiple_of_their_bytes() {
    check::<MergeMap<u32, MvRegister<String>>>("map", &UNREADABLE, Bound { plain: 168, with_changes: 408 });
}

#[test]
fn a_map_of_counters_takes_a_small_multiple_of_its_bytes() {
    check::<MergeMap<u32, Counter>>("counters", &COUNTERS, Bound { plain: 196, with_changes: 352 });
}

#[test]
fn a_map_of_sets_takes_a_small_multiple_of_its_bytes() {
    check::<MergeMap<u32, OrSet<u32>>>("map of sets", &NESTED, Bound { plain: 240, with_changes: 816 });
}

/// The size of the struct is in it: a row takes up to three times its size, and is written in two bytes.
#[test]
fn a_map_of_structs_takes_a_multiple_of_its_bytes_by_the_size_of_the_struct() {
    let row = size_of::<Fourteen>() as u64 + 40;
    let plain = 3 * row / 2;
    check::<MergeMap<u32, Fourteen>>("structs", &STRUCTS, Bound { plain, with_changes: plain + 480 });
}

#[test]
fn a_document_takes_a_small_multiple_of_its_bytes() {
    check::<Document>("document", &DOCUMENTS, Bound { plain: 400, with_changes: 528 });
}

/// A map in a value is a tree whose node has room for eleven entries, and is written in two bytes.
#[test]
fn values_take_a_multiple_of_their_bytes() {
    check::<LwwRegister<Value>>("values", &VALUES, Bound { plain: 360, with_changes: 720 });
    let empty_texts = [attack("empty texts", |len| value(&list(len, &[0xA0])))];
    check::<LwwRegister<Vec<String>>>("texts", &empty_texts, Bound { plain: 72, with_changes: 128 });
    let empty_lists = [attack("empty lists", |len| value(&list(len, &[0x90])))];
    check::<LwwRegister<Vec<Vec<Uuid>>>>("lists", &empty_lists, Bound { plain: 72, with_changes: 128 });
}

/// The peak of memory while the chunks of a transfer are gathered and merged, for each of their bytes.
fn gather<S: Crdt>(states: &[Vec<u8>]) -> u64 {
    let chunks = transfer(1, states);
    let bytes: usize = chunks.iter().map(Vec::len).sum();
    let mut reader: Replica<S> = reader(false, usize::MAX);
    let gather_and_merge = || {
        let mut pending = PendingDelta::new(&Limits::default());
        for chunk in &chunks {
            let chunk = reader.decode(chunk).expect("the chunks are read");
            if let Some(whole) = pending.push(chunk).expect("the chunks follow each other") {
                reader.merge(NOW_MS, whole).expect("the whole is merged");
            }
        }
    };
    let peak = measure(gather_and_merge).bytes_max;
    assert!(!reader.vector().is_empty());
    peak.saturating_sub(FIXED) / bytes as u64
}

#[test]
fn a_transfer_in_chunks_takes_no_more_than_a_message() {
    for (chunk_bytes, count) in [(10, 1_000), (100, 300), (10_000, 5)] {
        // Rows of their own in each chunk; and parts of one row in all of them.
        let elements = |index: u64| {
            let mut keys = Vec::new();
            let mut count = 0;
            while keys.len() < chunk_bytes {
                keys.extend(uint(100_000 + index * 10_000 + count));
                count += 1;
            }
            plain(count, &same(count, 0), &keys)
        };
        let states: Vec<_> = (0..count).map(elements).collect();
        let factor = gather::<OrSet<u32>>(&states);
        assert!(factor <= 32, "{factor} a byte for {count} chunks of {chunk_bytes}");
        let parts: Vec<_> = states.iter().map(|state| plain(1, state, &[7])).collect();
        let factor = gather::<MergeMap<u8, OrSet<u32>>>(&parts);
        assert!(factor <= 32, "{factor} a byte for one row in {count} chunks of {chunk_bytes}");
    }
}
