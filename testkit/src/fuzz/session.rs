//! Endpoints over a network that does to frames what it likes, and, in every second run, over one that forges them.
//!
//! If nobody forges, no write is lost and none is made up: once the network is honest all endpoints hold what the oracle says of
//! all that left its author. Frames that are forged, seals and all, may say anything; all that is asked then is that nobody
//! panics, that every error has a type, and that nobody sends without end.

mod bench;

use crate::fuzz::bytes::Bytes;
use crate::fuzz::session::bench::{Bench, MOST};
use crate::fuzz::types::Record;
use crate::subject::Subject;

/// The first byte chooses the type of state, how many endpoints there are, which of them have a store, and whether frames are
/// forged; the rest is what happens.
#[inline]
pub fn run(bytes: &[u8]) {
    use driftless::{Counter, MergeMap, OrSet};
    let mut bytes = Bytes::new(bytes);
    let first = bytes.byte();
    match first % 3 {
        0 => run_as::<MergeMap<u8, Counter>>(first / 3, bytes),
        1 => run_as::<MergeMap<uuid::Uuid, Record>>(first / 3, bytes),
        _ => run_as::<MergeMap<String, MergeMap<u8, OrSet<u8>>>>(first / 3, bytes),
    }
}

fn run_as<S: Subject>(how: u8, mut bytes: Bytes<'_>) {
    let is_honest = how & 1 == 0;
    let mut bench = Bench::<S>::new(2 + usize::from(how >> 1 & 1), how >> 2, is_honest);
    while !bytes.is_empty() {
        act(&mut bench, &mut bytes);
    }
    bench.end();
}

fn act<S: Subject>(bench: &mut Bench<S>, bytes: &mut Bytes<'_>) {
    let action = bytes.byte();
    let at = usize::from(action >> 5) % bench.len();
    let other = (at + 1 + bytes.below(MOST)) % bench.len();
    match action % 20 {
        0..=2 => {
            let choices = bytes.take(6).to_vec();
            bench.write(at, &choices);
        }
        3..=5 => {
            let frame = bytes.byte();
            bench.arrive(frame, false);
        }
        6 => {
            let frame = bytes.byte();
            bench.arrive(frame, true);
        }
        7 => {
            let frame = bytes.byte();
            bench.lose(frame);
        }
        8 => {
            let (frame, len) = (bytes.byte(), bytes.u16());
            bench.edit(frame, |bytes| bytes.truncate(usize::from(len) % (bytes.len() + 1)));
        }
        9 => {
            let (frame, place, mask) = (bytes.byte(), bytes.u16(), bytes.byte());
            bench.edit(frame, |bytes| {
                let place = usize::from(place) % bytes.len().max(1);
                bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= mask);
            });
        }
        10 => bench.cut(at, other),
        11 => bench.connect(at, other),
        12 | 13 => {
            let ms = u64::from(bytes.byte()) * 17;
            bench.pass(ms);
        }
        14 => bench.tick(at),
        15 => bench.save(at),
        16 => bench.crash(at),
        17 => {
            let by = i64::from(bytes.byte() as i8) * 200;
            bench.set_clock(at, by);
        }
        18 => {
            let len = bytes.byte();
            let frame = bytes.take(len.into()).to_vec();
            bench.inject(at, other, frame);
        }
        _ => {
            let (kind, frame) = (bytes.byte(), bytes.byte());
            let (place, cut, len) = (bytes.u16(), bytes.byte(), bytes.byte() % 64);
            let put = bytes.take(len.into()).to_vec();
            bench.forge(at, other, kind, frame, |body| {
                let start = usize::from(place) % (body.len() + 1);
                let end = (start + usize::from(cut)).min(body.len());
                body.splice(start..end, put.iter().copied());
            });
        }
    }
}
