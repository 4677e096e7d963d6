//! How much memory bytes can claim: the worst messages that we know how to make, of each kind.

use std::fmt::Write;

use allocation_counter::measure;
use driftless::{
    Config, Counter, Crdt, Document, Flag, Limits, LwwRegister, MergeMap, MvRegister, OrSet, PendingDelta,
    Replica, ReplicaId, Value,
};
use uuid::Uuid;

use crate::NOW_MS;
use crate::forge::{array, list, message, name, removed_rows, rows, transfer, uint};

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

/// What is refused when its end has been read, not before.
const fn refused(what: &'static str, state: fn(usize) -> Vec<u8>) -> Attack {
    Attack { what, ids: 1, state, is_read: false }
}

/// A cell of one dot and nothing else: a flag.
const FLAG: [u8; 2] = [0x91, 0];

const SETS: [Attack; 8] = [
    attack("elements", |len| {
        rows(len, |out, n| {
            uint(out, n);
            out.extend(FLAG)
        })
    }),
    refused("one element, repeated", |len| {
        rows(len, |out, _| {
            out.push(1);
            out.extend(FLAG)
        })
    }),
    attack("removed elements", |len| {
        removed_rows(len, |out, n| {
            uint(out, n);
            out.extend([0x91, 0, 0xC0])
        })
    }),
    refused("one removed element, repeated", |len| {
        removed_rows(len, |out, _| out.extend([1, 0x91, 0, 0xC0]))
    }),
    attack("elements with marks alone", |len| {
        rows(len, |out, n| {
            uint(out, n);
            out.extend([0x92, 0x90, 0x91, 0])
        })
    }),
    attack_by(2, "elements with two marks", |len| {
        rows(len, |out, n| {
            uint(out, n);
            out.extend([0x92, 0, 0x91, 1])
        })
    }),
    attack_by(100, "elements by many", |len| {
        rows(len, |out, n| {
            uint(out, n);
            out.extend([0x91, n as u8 % 100])
        })
    }),
    attack_by(4096, "elements by very many", |len| {
        rows(len, |out, n| {
            uint(out, n);
            out.push(0x91);
            uint(out, n % 4096)
        })
    }),
];

const MAPS: [Attack; 4] = [
    attack("removed rows", |len| {
        removed_rows(len, |out, n| {
            uint(out, n);
            out.extend([0x91, 0, 0xC0])
        })
    }),
    attack("empty texts", |len| {
        rows(len, |out, n| {
            uint(out, n);
            out.extend([0x92, 0, 0xA0])
        })
    }),
    attack_by(2, "empty texts with two marks", |len| {
        rows(len, |out, n| {
            uint(out, n);
            out.extend([0x93, 0, 0xA0, 0x91, 1])
        })
    }),
    attack_by(100, "a hundred siblings each", |len| {
        rows(len, |out, n| {
            uint(out, n);
            out.push(0x92);
            array(out, 200);
            (0..100).for_each(|author| out.extend([author, 0xA0]));
            out.push(0x90);
        })
    }),
];

const COUNTERS: [Attack; 4] = [
    attack("one entry each", |len| {
        rows(len, |out, n| {
            uint(out, n);
            out.extend([0x93, 0, 0, 0])
        })
    }),
    attack("a removed count each", |len| {
        rows(len, |out, n| {
            uint(out, n);
            out.extend([0x93, 0x90, 0x91, 0, 0x92, 0, 0])
        })
    }),
    refused("one removed count, repeated", |len| {
        let mut state = vec![0x92, 0, 0x93, 0x90, 0x90];
        state.extend(list(len, &[0, 0]));
        state
    }),
    attack_by(100, "a hundred entries each", |len| {
        rows(len, |out, n| {
            uint(out, n);
            out.push(0x92);
            array(out, 300);
            (0..100).for_each(|author| out.extend([author, 0, 0]));
            out.push(0x90);
        })
    }),
];

const NESTED: [Attack; 4] = [
    attack("one element each", |len| {
        rows(len, |out, n| {
            uint(out, n);
            out.extend([0x92, 0]);
            out.extend(FLAG)
        })
    }),
    attack("one removed element each", |len| {
        rows(len, |out, n| {
            uint(out, n);
            out.extend([0x91, 0x93, 0, 0x91, 0, 0xC0])
        })
    }),
    attack("removed rows of empty maps", |len| {
        removed_rows(len, |out, n| {
            uint(out, n);
            out.extend([0x91, 0, 0x90])
        })
    }),
    attack("as many elements as make a table", |len| {
        rows(len, |out, n| {
            uint(out, n);
            array(out, 34);
            (0..17).for_each(|key| out.extend([key, 0x91, 0]));
        })
    }),
];

const STRUCTS: [Attack; 3] = [
    attack("removed rows", |len| {
        removed_rows(len, |out, n| {
            uint(out, n);
            out.extend([0x91, 0, 0xC0])
        })
    }),
    attack("removed rows of empty structs", |len| {
        removed_rows(len, |out, n| {
            uint(out, n);
            out.extend([0x91, 0, 0x91, 0])
        })
    }),
    attack("one flag each", |len| {
        rows(len, |out, n| {
            uint(out, n);
            out.extend([0x92, 0xCD, 8, 0]);
            out.extend(FLAG)
        })
    }),
];

const DOCUMENTS: [Attack; 7] = [
    attack("one flag a name", |len| {
        rows(len, |out, n| {
            name(out, n);
            out.extend([0x92, 4]);
            out.extend(FLAG)
        })
    }),
    refused("one name, repeated", |len| rows(len, |out, _| out.extend([0xA0, 0x92, 0, 0x92, 0, 0xC0]))),
    attack("removed names", |len| {
        removed_rows(len, |out, n| {
            name(out, n);
            out.extend([0x91, 0, 0xC0])
        })
    }),
    attack("three kinds a name", |len| {
        rows(len, |out, n| {
            name(out, n);
            out.extend([0x96, 0, 0x92, 0, 0xC0, 1, 0x92, 0, 0xC0, 4]);
            out.extend(FLAG);
        })
    }),
    attack("a map of one flag a name", |len| {
        rows(len, |out, n| {
            name(out, n);
            out.extend([0x92, 5, 0x92, 0xA0, 0x92, 4]);
            out.extend(FLAG)
        })
    }),
    attack("maps in maps", |len| {
        rows(len, |out, n| {
            name(out, n);
            (0..40).for_each(|_| out.extend([0x92, 5, 0x92, 0xA0]));
            out.extend([0x92, 4]);
            out.extend(FLAG);
        })
    }),
    attack("maps of as many names as make a table", |len| {
        rows(len, |out, n| {
            name(out, n);
            out.extend([0x92, 5]);
            array(out, 34);
            (b'a'..b'a' + 17).for_each(|name| out.extend([0xA1, name, 0x92, 4, 0x91, 0]));
        })
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
    [&[0x92, 0], value].concat()
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
            let bytes = message(*ids, &state(len));
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
    check::<OrSet<u32>>("set", &SETS, Bound { plain: 64, with_changes: 192 });
}

#[test]
fn a_map_of_registers_takes_a_small_multiple_of_its_bytes() {
    check::<MergeMap<u32, MvRegister<String>>>("map", &MAPS, Bound { plain: 80, with_changes: 176 });
}

#[test]
fn a_map_of_counters_takes_a_small_multiple_of_its_bytes() {
    check::<MergeMap<u32, Counter>>("counters", &COUNTERS, Bound { plain: 48, with_changes: 112 });
}

#[test]
fn a_map_of_sets_takes_a_small_multiple_of_its_bytes() {
    check::<MergeMap<u32, OrSet<u32>>>("map of sets", &NESTED, Bound { plain: 80, with_changes: 240 });
}

/// The size of the struct is in it: a row takes twice its size, and is written in four bytes.
#[test]
fn a_map_of_structs_takes_a_multiple_of_its_bytes_by_the_size_of_the_struct() {
    let row = size_of::<Fourteen>() as u64 + 40;
    let plain = 2 * row / 4 + 32;
    check::<MergeMap<u32, Fourteen>>("structs", &STRUCTS, Bound { plain, with_changes: plain });
}

#[test]
fn a_document_takes_a_small_multiple_of_its_bytes() {
    check::<Document>("document", &DOCUMENTS, Bound { plain: 112, with_changes: 144 });
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
            rows(chunk_bytes, |out, n| {
                uint(out, 100_000 + index * 10_000 + n);
                out.extend(FLAG);
            })
        };
        let states: Vec<_> = (0..count).map(elements).collect();
        let factor = gather::<OrSet<u32>>(&states);
        assert!(factor <= 32, "{factor} a byte for {count} chunks of {chunk_bytes}");
        let parts: Vec<_> = states.iter().map(|state| [&[0x92, 7], &state[..]].concat()).collect();
        let factor = gather::<MergeMap<u8, OrSet<u32>>>(&parts);
        assert!(factor <= 32, "{factor} a byte for one row in {count} chunks of {chunk_bytes}");
    }
}
