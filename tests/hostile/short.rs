//! Keys in short form: what a reader does not hold, or holds otherwise than the sender says, is refused as a gap; and what it
//! holds is taken into account before it takes memory.

use allocation_counter::measure;
use driftless::{Config, Crdt, Limits, LwwRegister, MergeError, MergeMap, OrSet, Replica, ReplicaId};
use driftless_testkit::schema::Schema;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::NOW_MS;
use crate::forge::{Form, Message, SHORT_KEYS, VERSION, ints, ints_in, same, varint};
use crate::pieces::{Piece, take_apart};
use crate::refusals::{Why, why};

/// A reader is known to hold a row for the field of it that it has seen, while the other is news.
#[derive(Crdt)]
struct Pair {
    news: LwwRegister<u8>,
    kept: LwwRegister<u8>,
}

type Pairs = MergeMap<Uuid, Pair>;

const SCHEMA: Schema =
    Schema::Map(&Schema::Struct(&[("news", Schema::Register), ("kept", Schema::Register)]));

const ROWS: u64 = 20;
/// The writer of the messages here.
const WRITER: ReplicaId = ReplicaId::from_u128(1);

fn key(number: u64) -> Uuid {
    Uuid::from_u128(u128::from(number) << 64 | 0x4DEF_8123)
}

fn config() -> Config {
    Config { hash_seed: Some(7), ..Config::default() }
}

/// Who has written all rows, and who has read them.
fn replicas() -> [Replica<Pairs>; 2] {
    let mut writer: Replica<Pairs> = Replica::new(WRITER, Config::default());
    writer
        .write(NOW_MS - 1, |map| {
            (0..ROWS).for_each(|number| map.update(&key(number), |pair| pair.kept().set(0)))
        })
        .expect("the time is in order");
    let mut reader = Replica::new(ReplicaId::from_u128(99 << 64), config());
    reader.merge(NOW_MS, writer.delta_since(&reader.vector())).expect("it lacks nothing");
    [writer, reader]
}

/// The short forms of the reader's keys: those that answers to it hold.
fn forms() -> Vec<u64> {
    let form = |number| {
        let [mut writer, reader] = replicas();
        writer
            .write(NOW_MS, |map| map.update(&key(number), |pair| pair.news().set(1)))
            .expect("the time is in order");
        let bytes = writer.answer(&reader.request()).encode().expect("it is plain");
        let pieces = take_apart(&bytes, &SCHEMA);
        let short = pieces.iter().find_map(|piece| match piece {
            Piece::Fixed(bytes) if bytes.len() == 5 => Some(bytes),
            _ => None,
        });
        short.expect("the reader holds the row").iter().fold(0, |form, byte| form << 8 | u64::from(*byte))
    };
    (0..ROWS).map(form).collect()
}

/// Rows in short form, each of which the writer has written anew; `check` is of the keys that they are said to be.
fn message(forms: &[u64], check: &[u64]) -> Message {
    let rows = forms.len() as u64;
    let short = match forms {
        [form] => form.to_be_bytes()[3..].to_vec(),
        _ => ints(forms),
    };
    let payloads = vec![7; forms.len()];
    let state = [varint(rows << 2 | 2), short, same(rows, 1), same(rows, 0), payloads].concat();
    Message { version: VERSION << 3 | SHORT_KEYS, end: check_of(check), ..Message::of(1, &state) }
}

fn check_of(keys: &[u64]) -> Vec<u8> {
    let mut bytes = 1_u128.to_be_bytes().to_vec();
    for number in keys {
        bytes.extend([0xC4, 16]);
        bytes.extend(key(*number).into_bytes());
    }
    xxh3_64(&bytes).to_be_bytes()[..4].to_vec()
}

#[test]
fn rows_that_are_held_are_found_and_all_else_is_a_gap() {
    let forms = forms();
    let all: Vec<u64> = (0..ROWS).collect();
    for numbers in [&all[3..4], &all[2..9], &all] {
        let [_, mut reader] = replicas();
        let named: Vec<u64> = numbers.iter().map(|number| forms[*number as usize]).collect();
        let delta = reader.decode(&message(&named, numbers).bytes()).expect("it is sound");
        reader.merge(NOW_MS, delta).expect("it is sound");
        for number in numbers {
            let name = reader.state().get(&key(*number)).and_then(|pair| pair.news.latest().copied());
            assert_eq!(name, Some(7), "{number}");
        }
    }
    let unknown = (0..).find(|form| !forms.contains(form)).expect("there are more forms than rows");
    let [one, two] = [forms[0], forms[1]];
    for (what, message) in [
        ("a key that is not held", message(&[unknown], &[0])),
        ("one of two that is not held", message(&[one, unknown], &[0, 1])),
        ("another key than it was", message(&[one], &[1])),
        ("keys in another order", message(&[one, two], &[1, 0])),
        ("a key less", message(&[one, two], &[0])),
        ("a key more", message(&[one], &[0, 1])),
    ] {
        let [_, reader] = replicas();
        let gap = MergeError::Gap { vector: reader.vector() };
        assert_eq!(reader.decode(&message.bytes()).err(), Some(gap), "{what}");
    }
}

#[test]
fn what_is_wrong_with_keys_in_short_form_is_said() {
    let forms = forms();
    let [one, two] = [forms[0], forms[1]];
    let sound = message(&[one, two], &[0, 1]);
    // The first row in short form and one in full.
    let beside = |number| {
        let form = &one.to_be_bytes()[3..];
        let value = [&[2 << 2 | 3, 0, 1][..], form, &same(2, 1), &same(2, 0), &[7, 7, 0xC4, 16]].concat();
        let state = [&value[..], &key(number).into_bytes()].concat();
        Message { state, ..message(&[one], &[0]) }
    };
    let state = |state: &[&[u8]]| Message { state: state.concat(), ..sound.clone() };
    let rest = [ints(&[one, two]), same(2, 1), same(2, 0), vec![7, 7]].concat();
    let shape = Why::Expected("the numbers of rows of maps");
    let none = Why::Expected("keys in short form");
    // As many forms as there may be rows, in a few bytes.
    let row_count = 300;
    let steps =
        ints_in(Form::Steps { step: 1, width: 0 }, &(0..row_count).collect::<Vec<_>>()).expect("it fits");
    let padding = vec![0; 200];
    let [_, reader] = replicas();
    for sound in [&sound, &beside(5)] {
        assert_eq!(reader.decode(&sound.bytes()).map(drop), Ok(()));
    }
    for (what, message, expected) in [
        ("a form twice", message(&[one, one], &[0, 0]), Why::Gap),
        ("a key in short form and in full", beside(0), Why::Repeated("a key")),
        ("a form of 41 bits", message(&[one, 1 << 40], &[0, 1]), none.clone()),
        ("a form of 64 bits", message(&[one, u64::MAX], &[0, 1]), none.clone()),
        (
            "forms, and the message has none",
            Message { version: VERSION << 3, ..sound.clone() },
            Why::Expected("keys in full"),
        ),
        (
            "no forms, and the message has some",
            Message { state: vec![4, 1, 0, 7, 7], ..sound.clone() },
            Why::Value,
        ),
        ("no check", Message { end: Vec::new(), ..sound.clone() }, Why::Truncated),
        ("bytes behind the check", Message { end: vec![0; 5], ..sound.clone() }, Why::Gap),
        ("no rows, all in short form", state(&[&[2], &rest]), shape.clone()),
        ("some rows in short form, and none", state(&[&[2 << 2 | 3, 0, 0], &rest]), shape.clone()),
        ("some rows in short form, and all", state(&[&[2 << 2 | 3, 0, 2], &rest]), shape.clone()),
        ("more of them than rows", state(&[&[2 << 2 | 3, 0, 3], &rest]), shape.clone()),
        ("far more of them than rows", state(&[&[2 << 2 | 3, 0], &varint(u64::MAX), &rest]), shape.clone()),
        ("more of them and of removed ones than rows", state(&[&[2 << 2 | 3, 1, 2], &rest]), shape.clone()),
        ("far more of both", state(&[&[2 << 2 | 3], &varint(1 << 63), &varint(1 << 63), &rest]), shape),
        ("very many rows", state(&[&varint(1 << 60 | 2), &rest]), Why::Truncated),
        (
            "as many as there may be, none of which is held",
            state(&[&varint(row_count << 2 | 2), &steps, &padding]),
            Why::Gap,
        ),
    ] {
        let bytes = message.bytes();
        let mut read = None;
        let peak = measure(|| read = Some(reader.decode(&bytes).map(drop))).bytes_max;
        let found = read.expect("it was read").map_err(why);
        assert_eq!(found, Err(expected), "{what}");
        assert!(peak < 32 << 10, "{what}: {peak} bytes of memory");
    }
}

/// No sender names a key so in a map of maps: a receiver would have to tell which of them is meant.
#[test]
fn a_key_below_another_is_never_in_short_form() {
    type Nested = MergeMap<Uuid, OrSet<Uuid>>;
    let mut writer: Replica<Nested> = Replica::new(WRITER, Config::default());
    writer
        .write(NOW_MS - 1, |map| map.update(&key(0), |set| set.add(&key(0))))
        .expect("the time is in order");
    let mut reader: Replica<Nested> = Replica::new(ReplicaId::from_u128(99 << 64), config());
    reader.merge(NOW_MS, writer.delta_since(&reader.vector())).expect("it lacks nothing");
    let form = forms()[0].to_be_bytes()[3..].to_vec();
    let inner = [&[1 << 2 | 2][..], &form, &[0]].concat();
    let full = [&[0xC4, 16][..], &key(0).into_bytes()].concat();
    let state = [&[1 << 2][..], &inner, &full].concat();
    let message = Message { state, ..message(&[0], &[0]) };
    assert_eq!(reader.decode(&message.bytes()).err(), Some(MergeError::Gap { vector: reader.vector() }));
}

#[test]
fn long_keys_that_few_bytes_name_count_as_memory() {
    type Texts = MergeMap<String, Pair>;
    const LEN: usize = 100_000;
    let mut writer: Replica<Texts> = Replica::new(WRITER, Config::default());
    let key = |number: u64| format!("{number}").repeat(LEN);
    let mut write = |ms, is_first| {
        let set = |pair: &mut <Pair as Crdt>::Mut<'_>| {
            if is_first { pair.kept().set(0) } else { pair.news().set(1) }
        };
        let write = writer.write(ms, |map| (0..9).for_each(|number| map.update(&key(number), set)));
        write.expect("the time is in order");
        writer.delta_since(&Default::default())
    };
    let first = write(NOW_MS - 1, true);
    let reader = |memory_bytes| {
        let limits = Limits { memory_bytes, ..Limits::default() };
        let mut reader: Replica<Texts> =
            Replica::new(ReplicaId::from_u128(99 << 64), Config { limits, ..config() });
        reader.merge(NOW_MS, first.clone()).expect("it lacks nothing");
        reader
    };
    drop(write(NOW_MS, false));
    let enough = reader(20 * LEN);
    let answer = writer.answer(&enough.request()).encode().expect("it is plain");
    assert!(answer.len() < 200, "{} bytes", answer.len());
    assert_eq!(enough.decode(&answer).map(drop), Ok(()));
    let little = reader(5 * LEN);
    let mut read = None;
    let peak = measure(|| read = Some(little.decode(&answer).map(drop))).bytes_max;
    assert_eq!(read.expect("it was read").map_err(why), Err(Why::Limit("memory_bytes")));
    assert!(peak < 10 * LEN as u64, "{peak} bytes of memory");
}
