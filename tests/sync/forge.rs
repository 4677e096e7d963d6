//! Frames that no honest endpoint sends, with checks that are right, as `docs/wire-format.md` describes them.

use xxhash_rust::xxh3::xxh3_64_with_seed;

pub(crate) const HELLO: u8 = 1;
const REFUSE: u8 = 8;
/// The bytes before the body: the kind and the check.
pub(crate) const HEAD: usize = 5;

/// What seals the frames of one link of the bench: its two nonces.
#[derive(Clone, Copy)]
pub(crate) struct Seal(u64);

impl Seal {
    /// Of the link that the bench made as its so manieth, counted from 0.
    pub(crate) fn of_link(number: u64) -> Self {
        let nonces = [2 * number + 1, 2 * number + 2].map(|link| 7919 * link);
        Self((nonces[0] ^ nonces[1]).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A frame of any kind and body.
    pub(crate) fn frame(self, kind: u8, body: &[u8]) -> Vec<u8> {
        let seal = if matches!(kind, HELLO | REFUSE) { 0 } else { self.0 };
        let [a, b, c, d, ..] = xxh3_64_with_seed(body, seal ^ u64::from(kind)).to_be_bytes();
        [&[kind, a, b, c, d], body].concat()
    }
}

/// A number as frames hold it.
pub(crate) fn varint(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = (number & 0x7F) as u8;
        number >>= 7;
        if number == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}
