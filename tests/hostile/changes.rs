//! Messages of every kind, changed in every small way: each is refused, or is a message.
//!
//! The samples of the golden files are sent to a reader, one after the other. Before each, the reader is sent what was made
//! of that message. Reading must not panic, take memory for lengths that no bytes follow, or change anything when it
//! refuses. What is read nevertheless is merged, and must leave a replica that works.

use std::sync::OnceLock;

use driftless::Crdt;
use driftless_testkit::samples::{self, Inbox, Sample, Visitor};
use driftless_testkit::schema::Schema;

use crate::forge::{Form, RUNS, STEPS, bits, ints, ints_in, narrowest, varint};
use crate::pieces::{Head, Kind, Piece, heads, put_together, take_apart};
use crate::victim::{Outcome, Victim};

/// The most memory that a changed sample may take while it is read and merged: they are small, and may hold large types.
const FIXED: u64 = 16 << 10;
const FACTOR: u64 = 256;

/// Of a message that is so many times longer than this only one change in as many times [`STRIDE`] and one is sent.
const LONG: usize = 400;
/// Changes come in groups of the same kinds, of 8 or 17 or 51: one in such a number meets each kind.
const STRIDE: usize = 6;

/// Makes messages of one: calls the function with each.
type Change = fn(&[u8], &Schema, &mut dyn FnMut(Vec<u8>));

/// Visits the samples of the golden files, and those that are made for a reader's request.
fn visit_all(visitor: &mut impl Visitor) {
    samples::visit_all(visitor);
    samples::visit_answers(visitor);
}

struct Attacking {
    change: Change,
    refused: usize,
    taken: usize,
    faults: Vec<String>,
}

impl Visitor for Attacking {
    fn visit<S: Crdt>(&mut self, sample: Sample<S>) {
        for (number, message) in sample.messages.iter().enumerate() {
            let mut victim = Victim::new(&sample, number);
            let mut faults = Vec::new();
            // What is changed in a long message is much the same thing again and again.
            let stride = 1 + STRIDE * (message.len() / LONG);
            let mut count = 0;
            (self.change)(message, &sample.schema, &mut |changed| {
                count += 1;
                if changed == *message || count % stride != 0 {
                    return;
                }
                match victim.take(&changed) {
                    Ok(Outcome { peak, .. }) if peak > FIXED + FACTOR * changed.len() as u64 => {
                        faults.push(format!("{peak} bytes of memory for {changed:02x?}"));
                    }
                    Ok(Outcome { is_taken: true, .. }) => self.taken += 1,
                    Ok(_) => self.refused += 1,
                    Err(fault) => faults.push(format!("{fault}: {changed:02x?}")),
                }
            });
            faults.extend(victim.check_untouched().err());
            let name = sample.name;
            self.faults.extend(faults.into_iter().map(|fault| format!("{name}, message {number}: {fault}")));
        }
    }
}

/// Sends all changed messages. Returns how many were refused, and how many were taken for messages.
fn send(change: Change) -> (usize, usize) {
    let mut attacking = Attacking { change, refused: 0, taken: 0, faults: Vec::new() };
    visit_all(&mut attacking);
    let Attacking { refused, taken, faults, .. } = attacking;
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults[..faults.len().min(5)].join("\n"));
    println!("{refused} refused, {taken} taken");
    (refused, taken)
}

#[test]
fn no_message_that_is_cut_off_is_taken() {
    let (refused, taken) = send(|message, _, attack| {
        (0..message.len()).for_each(|len| attack(message[..len].to_vec()));
    });
    assert!(refused > 5_000 && taken == 0, "{refused} refused, {taken} taken");
}

#[test]
fn every_bit_turned() {
    let (refused, taken) = send(|message, _, attack| {
        for bit in 0..8 * message.len() {
            let mut changed = message.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            attack(changed);
        }
    });
    assert!(refused > 20_000 && taken > 15_000, "{refused} refused, {taken} taken");
}

#[test]
fn every_byte_left_out_repeated_moved_or_replaced() {
    let (refused, taken) = send(|message, _, attack| {
        for at in 0..message.len() {
            let (before, after) = (&message[..at], &message[at + 1..]);
            attack([before, after].concat());
            attack([before, &message[at..=at], &message[at..]].concat());
            for byte in [0, 1, 2, 64, RUNS, STEPS, 67, 0x7F, 0x80, 0x90, 0xA0, 0xC0, 0xFE, 0xFF] {
                attack([before, &[byte], after].concat());
            }
            if let [next, after @ ..] = after {
                attack([before, &[*next, message[at]], after].concat());
            }
        }
    });
    assert!(refused > 40_000 && taken > 25_000, "{refused} refused, {taken} taken");
}

/// The same message with one of its pieces written as other bytes.
fn replaced(pieces: &[Piece], place: usize, by: &[u8]) -> Vec<u8> {
    [&put_together(&pieces[..place]), by, &put_together(&pieces[place + 1..])].concat()
}

/// Numbers at the ends of all that numbers are used for: lengths, indexes, stamps, differences.
fn extremes(number: u64, message: &[u8]) -> impl Iterator<Item = u64> {
    let near =
        [1, 2, 4].into_iter().flat_map(move |step| [number.wrapping_sub(step), number.wrapping_add(step)]);
    let ends = [7, 14, 16, 17, 24, 28, 31, 32, 41, 48, 49, 50, 56, 60, 62, 63].map(|bits| 1_u64 << bits);
    let len = message.len() as u64;
    let near_ends = ends.into_iter().flat_map(|end| [end - 1, end]);
    let of_message =
        [len, 2 * len, 4 * len, 8 * len, number ^ 1, number.wrapping_mul(2), number.wrapping_neg()];
    near.chain(near_ends).chain([0, 1, 2, 3, u64::MAX - 1, u64::MAX]).chain(of_message)
}

#[test]
fn every_number_at_its_extremes() {
    let (refused, taken) = send(|message, schema, attack| {
        let pieces = take_apart(message, schema);
        for place in 0..pieces.len() {
            let mut piece = pieces[place].clone();
            for at in 0..piece.numbers().len() {
                let number = piece.numbers()[at];
                for extreme in extremes(number, message) {
                    piece.numbers()[at] = extreme;
                    attack(replaced(&pieces, place, &piece.bytes()));
                }
                piece.numbers()[at] = number;
            }
        }
    });
    assert!(refused > 50_000 && taken > 8_000, "{refused} refused, {taken} taken");
}

#[test]
fn every_number_of_a_column_left_out_repeated_moved_or_replaced() {
    let (refused, taken) = send(|message, schema, attack| {
        let pieces = take_apart(message, schema);
        for (place, piece) in pieces.iter().enumerate() {
            let Piece::Ints(numbers) = piece else {
                continue;
            };
            let mut send = |numbers: &[u64]| attack(replaced(&pieces, place, &ints(numbers)));
            for at in 0..numbers.len() {
                let (before, after) = (&numbers[..at], &numbers[at + 1..]);
                send(&[before, after].concat());
                send(&[before, &numbers[at..=at], &numbers[at..]].concat());
                send(&[before, &[numbers[(at + 1) % numbers.len()]], after].concat());
                if let [next, after @ ..] = after {
                    send(&[before, &[*next, numbers[at]], after].concat());
                }
            }
            send(&[]);
        }
    });
    assert!(refused > 900 && taken > 300, "{refused} refused, {taken} taken");
}

/// A varint with a needless byte, and one of so many bytes.
fn wrong_varints(number: u64) -> Vec<Vec<u8>> {
    let mut needless = varint(number);
    *needless.last_mut().expect("a varint has a byte") |= 0x80;
    let long = |len: usize, last: u8| {
        let mut bytes = needless.clone();
        bytes.resize(len - 1, 0x80);
        bytes.push(last);
        bytes
    };
    // The tenth byte holds one bit.
    vec![long(needless.len() + 1, 0), long(10, 2), long(10, 0x7F), long(10, 0x80), long(11, 0), long(11, 1)]
}

/// Columns that no numbers are written as.
fn wrong_columns(numbers: &[u64]) -> Vec<Vec<u8>> {
    let written = ints(numbers);
    let mut wrong: Vec<Vec<u8>> = (67..=255).map(|mode| [&[mode], &written[1..]].concat()).collect();
    let [base, ..] = narrowest(numbers);
    let Form::Width { base, width } = base else { unreachable!("the first form is of a width") };
    let above: Vec<u64> = numbers.iter().map(|number| number - base).collect();
    if width > 0 {
        // The greatest number overflows.
        wrong.push([&[width][..], &varint(u64::MAX - above.iter().max().unwrap_or(&0) + 1)].concat());
        let last = wrong.len() - 1;
        wrong[last].extend(crate::forge::packed(&above, width));
    }
    let first = varint(numbers[0]);
    for width in [65, 66, 128, 255] {
        wrong.push([&[STEPS][..], &first, &[0, width], &[0; 600]].concat());
    }
    for varint in wrong_varints(base) {
        wrong.push([&[0][..], &varint].concat());
        wrong.push([&[RUNS][..], &varint, &first].concat());
        wrong.push([&[RUNS, 0][..], &varint].concat());
        wrong.push([&[STEPS][..], &varint, &[0, 0]].concat());
        wrong.push([&[STEPS][..], &first, &varint, &[0]].concat());
    }
    // A run that goes on beyond the end of the column, by one and by as much as can be said.
    for more in [numbers.len() as u64, 1 << 60, u64::MAX - 1, u64::MAX] {
        wrong.push([&[RUNS][..], &varint(more), &first].concat());
        wrong.push([&[RUNS, 0][..], &first, &varint(more), &first].concat());
    }
    // Bits that are left over in the last byte of what is packed.
    let forms = narrowest(numbers).into_iter().filter_map(|form| {
        let (count, width) = match form {
            Form::Width { width, .. } => (numbers.len(), width),
            Form::Steps { width, .. } => (numbers.len() - 1, width),
            Form::Runs { .. } => return None,
        };
        let left = (8 - count * usize::from(width) % 8) % 8;
        Some((ints_in(form, numbers).expect("the narrowest form fits"), left))
    });
    for (bytes, left) in forms {
        for bit in 8 - left..8 {
            let mut bytes = bytes.clone();
            *bytes.last_mut().expect("a column has a mode") |= 1 << bit;
            wrong.push(bytes);
        }
    }
    wrong
}

#[test]
fn no_number_is_taken_in_a_form_that_is_not_allowed() {
    let (refused, taken) = send(|message, schema, attack| {
        let pieces = take_apart(message, schema);
        for (place, piece) in pieces.iter().enumerate() {
            let wrong = match piece {
                Piece::Varint(number) => wrong_varints(*number),
                Piece::Ints(numbers) => wrong_columns(numbers),
                Piece::Packed { width, numbers } => {
                    let left = (8 - numbers.len() * usize::from(*width) % 8) % 8;
                    let with_bit = |bit: usize| {
                        let mut bytes = piece.bytes();
                        *bytes.last_mut().expect("a column has a number") |= 1 << bit;
                        bytes
                    };
                    (8 - left..8).map(with_bit).collect()
                }
                Piece::Fixed(_) | Piece::Value(_) => continue,
            };
            wrong.iter().for_each(|bytes| attack(replaced(&pieces, place, bytes)));
        }
    });
    assert!(refused > 30_000 && taken == 0, "{refused} refused, {taken} taken");
}

/// Reads messages of which a column is written in another form.
struct Rewriting {
    count: usize,
    faults: Vec<String>,
}

impl Visitor for Rewriting {
    fn visit<S: Crdt>(&mut self, sample: Sample<S>) {
        let mut inbox = Inbox::new(sample.reader());
        for message in &sample.messages {
            let pieces = take_apart(message, &sample.schema);
            let expected = inbox.replica.decode(message).expect("a sample is read by its reader");
            for (place, piece) in pieces.iter().enumerate() {
                let Piece::Ints(numbers) = piece else {
                    continue;
                };
                for column in other_forms(numbers) {
                    let bytes = replaced(&pieces, place, &column);
                    let is_same = inbox.replica.decode(&bytes).is_ok_and(|delta| {
                        delta.is_chunk() || (delta.encode(), delta.to()) == (expected.encode(), expected.to())
                    });
                    if !is_same {
                        self.faults.push(format!("{}: {numbers:?} as {column:02x?}", sample.name));
                    }
                    self.count += 1;
                }
            }
            inbox.take(message).expect("a sample is read by its reader");
        }
    }
}

/// A column in forms that a writer might have chosen and did not.
fn other_forms(numbers: &[u64]) -> Vec<Vec<u8>> {
    let [least, .., steps] = narrowest(numbers);
    let (Form::Width { base, width }, Form::Steps { step, width: step_width }) = (least, steps) else {
        unreachable!("the first form is of a width and the last of steps");
    };
    let mut forms: Vec<Form> = (width..=64).map(|width| Form::Width { base, width }).collect();
    let most = numbers.iter().max().expect("a column has numbers");
    forms.extend((bits(*most)..=64).map(|width| Form::Width { base: 0, width }));
    forms.extend([1, 2, u64::MAX].map(|most| Form::Runs { most }));
    forms.extend((step_width..=64).map(|width| Form::Steps { step, width }));
    // Steps of any size, backwards too, as differences that wrap.
    forms.extend([0, 1, -1, i64::MIN, i64::MAX].map(|step| Form::Steps { step, width: 64 }));
    let forms = forms.into_iter().map(|form| ints_in(form, numbers).expect("a wide form fits"));
    forms.collect()
}

#[test]
fn a_column_says_the_same_in_every_form() {
    let mut rewriting = Rewriting { count: 0, faults: Vec::new() };
    visit_all(&mut rewriting);
    let Rewriting { count, faults } = rewriting;
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults[..faults.len().min(5)].join("\n"));
    assert!(count > 5_000, "{count} columns");
}

/// A MessagePack head of a kind and width that says a number.
fn forge(kind: Kind, width: usize, number: u64) -> Vec<u8> {
    let first = match (kind, width) {
        (Kind::Array, 1) => return vec![0x90 | (number & 0x0F) as u8],
        (Kind::Map, 1) => return vec![0x80 | (number & 0x0F) as u8],
        (Kind::Text, 1) => return vec![0xA0 | (number & 0x1F) as u8],
        (Kind::Array, 3) => 0xDC,
        (Kind::Array, _) => 0xDD,
        (Kind::Map, 3) => 0xDE,
        (Kind::Map, _) => 0xDF,
        (Kind::Text, 2) => 0xD9,
        (Kind::Text, 3) => 0xDA,
        (Kind::Text, _) => 0xDB,
        (Kind::Bytes, 2) => 0xC4,
        (Kind::Bytes, 3) => 0xC5,
        (Kind::Bytes, _) => 0xC6,
        (Kind::Extension, 2) => 0xC7,
        (Kind::Extension, 3) => 0xC8,
        (Kind::Extension, _) => 0xC9,
        (Kind::Integer | Kind::Other, _) => unreachable!("they have no length"),
    };
    let mut bytes = vec![first];
    bytes.extend(&number.to_be_bytes()[9 - width..]);
    bytes
}

#[test]
fn every_length_within_a_value_at_its_extremes_in_every_form() {
    let (refused, taken) = send(|message, schema, attack| {
        let pieces = take_apart(message, schema);
        for (place, piece) in pieces.iter().enumerate() {
            let Piece::Value(value) = piece else {
                continue;
            };
            let follow = put_together(&pieces[place + 1..]).len();
            for head in heads(value) {
                let with = |by: &[u8]| {
                    let value = [&value[..head.at], by, &value[head.at + head.width..]].concat();
                    replaced(&pieces, place, &value)
                };
                lengths(head, value.len() - head.at - head.width + follow)
                    .iter()
                    .for_each(|by| attack(with(by)));
            }
        }
    });
    assert!(refused > 8_000 && taken > 900, "{refused} refused, {taken} taken");
}

/// A head with other lengths, and the same length of something else. `rest` bytes of the message follow it.
fn lengths(head: Head, rest: usize) -> Vec<Vec<u8>> {
    let widths: &[usize] = match head.kind {
        Kind::Array | Kind::Map => &[1, 3, 5],
        Kind::Text => &[1, 2, 3, 5],
        Kind::Bytes | Kind::Extension => &[2, 3, 5],
        Kind::Integer | Kind::Other => return Vec::new(),
    };
    let rest = rest as u64;
    let mut heads = Vec::new();
    let lengths = [rest, head.number].map(|len| [len.saturating_sub(1), len, len + 1]);
    for width in widths {
        let most = u64::MAX >> (64 - 8 * (width - 1).max(1));
        let ends = [0, 1, 15, 16, most - 1, most, rest / 2, rest / 3];
        let numbers = ends.into_iter().chain(lengths.into_iter().flatten());
        heads.extend(numbers.map(|number| forge(head.kind, *width, number)));
    }
    let kinds = [Kind::Array, Kind::Map, Kind::Text, Kind::Bytes, Kind::Extension];
    heads.extend(kinds.map(|kind| forge(kind, 3, head.number)));
    heads
}

#[test]
fn every_value_replaced_by_others() {
    let (refused, taken) = send(|message, schema, attack| {
        const OTHERS: [&[u8]; 16] = [
            &[0xC0],
            &[0xC1],
            &[0xC2],
            &[0x00],
            &[0xFF],
            &[0xCF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
            &[0xD3, 0x80, 0, 0, 0, 0, 0, 0, 0],
            &[0xCB, 0x7F, 0xF8, 0, 0, 0, 0, 0, 1],
            &[0xA0],
            &[0xA1, 0xFF],
            &[0xC4, 0],
            &[0x90],
            &[0x80],
            &[0x82, 0xA0, 0xC0, 0xA0, 0xC0],
            &[0xD8, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[],
        ];
        let pieces = take_apart(message, schema);
        for (place, piece) in pieces.iter().enumerate() {
            if matches!(piece, Piece::Value(_)) {
                OTHERS.iter().for_each(|other| attack(replaced(&pieces, place, other)));
            }
        }
    });
    assert!(refused > 2_500 && taken > 450, "{refused} refused, {taken} taken");
}

#[test]
fn every_part_left_out_repeated_moved_or_replaced() {
    let (refused, taken) = send(|message, schema, attack| {
        let pieces = take_apart(message, schema);
        for place in 0..pieces.len() {
            for count in 1..=3.min(pieces.len() - place) {
                let (before, these, after) =
                    (&pieces[..place], &pieces[place..place + count], &pieces[place + count..]);
                attack(put_together(&[before, after].concat()));
                attack(put_together(&[before, these, these, after].concat()));
                for other in 1..=3.min(after.len()) {
                    attack(put_together(&[before, &after[..other], these, &after[other..]].concat()));
                    attack(put_together(&[before, &after[..other], after].concat()));
                }
            }
            // One thing in place of another.
            for other in pieces[place..].iter().chain(&pieces).take(8) {
                attack(replaced(&pieces, place, &other.bytes()));
            }
        }
    });
    assert!(refused > 40_000 && taken > 2_500, "{refused} refused, {taken} taken");
}

/// All messages of all samples.
struct Gathering(Vec<Vec<Piece>>);

impl Visitor for Gathering {
    fn visit<S: Crdt>(&mut self, sample: Sample<S>) {
        self.0.extend(sample.messages.iter().map(|message| take_apart(message, &sample.schema)));
    }
}

/// A fixed sequence of numbers that look random: SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((bits ^ (bits >> 31)) % end.max(1) as u64) as usize
    }
}

#[test]
fn splices_of_two_messages() {
    let (refused, taken) = send(|message, schema, attack| {
        static ALL: OnceLock<Vec<Vec<Piece>>> = OnceLock::new();
        let all = ALL.get_or_init(|| {
            let mut gathering = Gathering(Vec::new());
            visit_all(&mut gathering);
            gathering.0
        });
        let mut random =
            Random(message.iter().fold(7, |seed, byte| seed * 31 % 1_000_003 + u64::from(*byte)));
        let this = take_apart(message, schema);
        for _ in 0..400 {
            let other = &all[random.below(all.len())];
            let (ours, theirs) = (random.below(this.len()), random.below(other.len()));
            attack(put_together(&[&this[..ours], &other[theirs..]].concat()));
            attack(put_together(&[&other[..theirs], &this[ours..]].concat()));
            // Pieces of the other one in the middle of this one.
            let middle = &other[theirs..(theirs + random.below(8)).min(other.len())];
            attack(put_together(
                &[&this[..ours], middle, &this[(ours + middle.len()).min(this.len())..]].concat(),
            ));
            // And bytes, wherever they are cut.
            let other = put_together(other);
            let (from, len) = (random.below(other.len()), random.below(40));
            let middle = &other[from..(from + len).min(other.len())];
            let at = random.below(message.len());
            attack([&message[..at], middle, &message[(at + middle.len()).min(message.len())..]].concat());
        }
    });
    assert!(refused > 70_000 && taken > 2_500, "{refused} refused, {taken} taken");
}
