//! Messages of every kind, changed in every small way: each is refused, or is a message.
//!
//! The samples of the golden files are sent to a reader, one after the other. Before each, the reader is sent what was made
//! of that message. Reading must not panic, take memory for lengths that no bytes follow, or change anything when it
//! refuses. What is read nevertheless is merged, and must leave a replica that works.

use std::sync::OnceLock;

use driftless::Crdt;
use driftless_testkit::samples::{Sample, Visitor, visit_all};

use crate::tree::{Form, Head, Node, heads};
use crate::victim::{Outcome, Victim};

/// The most memory that a changed sample may take while it is read and merged: they are small, and may hold large types.
const FIXED: u64 = 16 << 10;
const FACTOR: u64 = 64;

/// Of a message that is so many times longer than this only one change of as many and one is sent.
const LONG: usize = 400;

/// Makes messages of one: calls the function with each.
type Change = fn(&[u8], &mut dyn FnMut(Vec<u8>));

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
            let stride = 1 + message.len() / LONG;
            let mut count = 0;
            (self.change)(message, &mut |changed| {
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
    (refused, taken)
}

#[test]
fn no_message_that_is_cut_off_is_taken() {
    let (refused, taken) = send(|message, attack| {
        (0..message.len()).for_each(|len| attack(message[..len].to_vec()));
    });
    assert!(refused > 5_000 && taken == 0, "{refused} refused, {taken} taken");
}

#[test]
fn every_bit_turned() {
    let (refused, taken) = send(|message, attack| {
        for bit in 0..8 * message.len() {
            let mut changed = message.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            attack(changed);
        }
    });
    assert!(refused > 20_000 && taken > 15_000, "{refused} refused, {taken} taken");
}

/// A head of a form and width that says a number.
fn forge(form: Form, width: usize, number: u64) -> Vec<u8> {
    let first = match (form, width) {
        (Form::Array, 1) => return vec![0x90 | (number & 0x0F) as u8],
        (Form::Map, 1) => return vec![0x80 | (number & 0x0F) as u8],
        (Form::Text, 1) => return vec![0xA0 | (number & 0x1F) as u8],
        (Form::Array, 3) => 0xDC,
        (Form::Array, _) => 0xDD,
        (Form::Map, 3) => 0xDE,
        (Form::Map, _) => 0xDF,
        (Form::Text, 2) => 0xD9,
        (Form::Text, 3) => 0xDA,
        (Form::Text, _) => 0xDB,
        (Form::Bytes, 2) => 0xC4,
        (Form::Bytes, 3) => 0xC5,
        (Form::Bytes, _) => 0xC6,
        (Form::Extension, 2) => 0xC7,
        (Form::Extension, 3) => 0xC8,
        (Form::Extension, _) => 0xC9,
        (Form::Integer | Form::Other, _) => unreachable!("they have no length"),
    };
    let mut bytes = vec![first];
    bytes.extend(&number.to_be_bytes()[9 - width..]);
    bytes
}

fn replaced(message: &[u8], head: &Head, by: &[u8]) -> Vec<u8> {
    [&message[..head.at], by, &message[head.at + head.width..]].concat()
}

#[test]
fn every_length_at_its_extremes_in_every_form() {
    let (refused, taken) = send(|message, attack| {
        for head in heads(message) {
            let widths: &[usize] = match head.form {
                Form::Array | Form::Map => &[1, 3, 5],
                Form::Text => &[1, 2, 3, 5],
                Form::Bytes | Form::Extension => &[2, 3, 5],
                Form::Integer | Form::Other => continue,
            };
            let rest = (message.len() - head.at - head.width) as u64;
            let lengths = [rest, head.number].map(|len| [len.saturating_sub(1), len, len + 1]);
            let halves = [rest / 2, rest / 3];
            for width in widths {
                let most = u64::MAX >> (64 - 8 * (width - 1).max(1));
                let ends = [0, 1, 15, 16, most - 1, most];
                for number in ends.into_iter().chain(lengths.into_iter().flatten()).chain(halves) {
                    attack(replaced(message, &head, &forge(head.form, *width, number)));
                }
            }
            // The same length of something else.
            for form in [Form::Array, Form::Map, Form::Text, Form::Bytes, Form::Extension] {
                attack(replaced(message, &head, &forge(form, 3, head.number)));
            }
        }
    });
    assert!(refused > 25_000 && taken > 2_500, "{refused} refused, {taken} taken");
}

/// Numbers at the ends of their forms, and stamps in full.
fn extremes() -> Vec<Vec<u8>> {
    let mut extremes: Vec<Vec<u8>> =
        [0x00, 0x01, 0x02, 0x03, 0x7F, 0xFF, 0xE0, 0xC0, 0xC2].map(|byte| vec![byte]).into();
    for (first, width) in
        [(0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8), (0xD0, 1), (0xD1, 2), (0xD2, 4), (0xD3, 8)]
    {
        for (upper, lower) in
            [(0x00, 0x00), (0xFF, 0xFF), (0x7F, 0xFF), (0x80, 0x00), (0x7F, 0xFE), (0x80, 0x01)]
        {
            let mut bytes = vec![lower; width + 1];
            (bytes[0], bytes[1]) = (first, upper);
            extremes.push(bytes);
        }
    }
    for stamp in [0, 1, 0xFFFF, 1 << 16, 1_700_000_000_000 << 16, u64::MAX - 1, u64::MAX] {
        for place in [0_u16, 1, 0x7FFF, 0xFFFF] {
            extremes.push([&[0xC4, 10], &stamp.to_be_bytes()[..], &place.to_be_bytes()].concat());
        }
    }
    extremes.push([&[0xC4, 9], &[0xFF; 9][..]].concat());
    extremes.push([&[0xC4, 11], &[0; 11][..]].concat());
    extremes
}

#[test]
fn every_number_and_stamp_at_its_extremes() {
    let (refused, taken) = send(|message, attack| {
        let extremes = extremes();
        for head in heads(message) {
            let is_stamp = head.form == Form::Bytes && head.number == 10;
            let follow = if is_stamp { 10 } else { 0 };
            if head.form == Form::Integer || is_stamp {
                let head = Head { width: head.width + follow, ..head };
                extremes.iter().for_each(|extreme| attack(replaced(message, &head, extreme)));
            }
        }
    });
    assert!(refused > 50_000 && taken > 15_000, "{refused} refused, {taken} taken");
}

#[test]
fn every_part_left_out_repeated_moved_or_replaced() {
    type Edit = fn(&mut Vec<Node>, usize) -> bool;
    const NIL: fn() -> Node = || Node::Leaf { head: 1, bytes: vec![0xC0] };
    const EMPTY: fn() -> Node = || Node::Branch { is_map: false, children: Vec::new() };
    const EDITS: [Edit; 8] = [
        |children, place| drop_at(children, place, 1),
        |children, place| drop_at(children, place, 2),
        |children, place| drop_at(children, place, 3),
        |children, place| repeat_at(children, place, 1),
        |children, place| repeat_at(children, place, 2),
        |children, place| {
            let next = (place + 1) % children.len();
            children.swap(place, next);
            true
        },
        |children, place| {
            children[place] = NIL();
            true
        },
        |children, place| {
            children[place] = EMPTY();
            true
        },
    ];
    fn drop_at(children: &mut Vec<Node>, place: usize, count: usize) -> bool {
        let is_there = place + count <= children.len();
        if is_there {
            children.drain(place..place + count);
        }
        is_there
    }
    fn repeat_at(children: &mut Vec<Node>, place: usize, count: usize) -> bool {
        let Some(repeated) = children.get(place..place + count) else {
            return false;
        };
        let repeated = repeated.to_vec();
        children.splice(place..place, repeated);
        true
    }
    let (refused, taken) = send(|message, attack| {
        let tree = Node::read(message);
        for branch in 0..tree.count() {
            for edit in EDITS {
                let mut place = 0;
                // One part after the other, until there is none at the place.
                loop {
                    let mut changed = tree.clone();
                    let mut is_there = false;
                    changed.change(branch, &mut |children| {
                        is_there = place < children.len();
                        is_there && edit(children, place)
                    });
                    if !is_there {
                        break;
                    }
                    let mut bytes = Vec::new();
                    changed.write(&mut bytes);
                    attack(bytes);
                    place += 1;
                }
            }
        }
    });
    assert!(refused > 9_000 && taken > 900, "{refused} refused, {taken} taken");
}

/// All messages of all samples.
struct Gathering(Vec<Vec<u8>>);

impl Visitor for Gathering {
    fn visit<S: Crdt>(&mut self, sample: Sample<S>) {
        self.0.extend(sample.messages);
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
    let (refused, taken) = send(|message, attack| {
        static ALL: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
        let all = ALL.get_or_init(|| {
            let mut gathering = Gathering(Vec::new());
            visit_all(&mut gathering);
            gathering.0
        });
        let mut random =
            Random(message.iter().fold(7, |seed, byte| seed * 31 % 1_000_003 + u64::from(*byte)));
        for _ in 0..400 {
            let other = &all[random.below(all.len())];
            let [ours, theirs] = [message, other].map(|bytes| {
                let heads = heads(bytes);
                heads[random.below(heads.len())].at
            });
            attack([&message[..ours], &other[theirs..]].concat());
            attack([&other[..theirs], &message[ours..]].concat());
            // Bytes of the other one in the middle of this one.
            let (from, len) = (random.below(other.len()), random.below(40));
            let middle = &other[from..(from + len).min(other.len())];
            let at = random.below(message.len());
            attack([&message[..at], middle, &message[(at + middle.len()).min(message.len())..]].concat());
        }
    });
    assert!(refused > 50_000 && taken > 2_000, "{refused} refused, {taken} taken");
}
