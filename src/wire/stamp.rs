//! Stamps of the vectors: milliseconds, nearly always as a difference, and the counter where it is not zero.

use crate::clock::Timestamp;
use crate::wire::column::{Flaw, read_varint, write_varint};

/// A stamp as it is written: its milliseconds, or their difference to others, and its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) millis: u64,
    pub(crate) counter: u16,
}

impl Written {
    /// The stamp, its milliseconds less those of `before`, which are not later.
    pub(crate) fn after(stamp: Timestamp, before: u64) -> Self {
        Self { millis: stamp.millis().saturating_sub(before), counter: stamp.counter() }
    }

    /// The number of a stamp without its counter: at most 50 bits.
    pub(crate) fn code(self) -> u64 {
        self.millis << 1 | u64::from(self.counter > 0)
    }

    /// Writes the counter where there is one, behind the code.
    pub(crate) fn write_counter(self, out: &mut Vec<u8>) {
        if self.counter > 0 {
            write_varint(out, u64::from(self.counter));
        }
    }

    pub(crate) fn write(self, out: &mut Vec<u8>) {
        write_varint(out, self.code());
        self.write_counter(out);
    }

    /// What has this code, with the counter behind it.
    pub(crate) fn of_code(code: u64, rest: &mut &[u8]) -> Result<Self, Flaw> {
        let counter = if code & 1 == 1 { read_varint(rest)? } else { 0 };
        let is_right = (counter > 0) == (code & 1 == 1);
        let counter = u16::try_from(counter).ok().filter(|_| is_right).ok_or(Flaw::Malformed)?;
        Ok(Self { millis: code >> 1, counter })
    }

    pub(crate) fn read(rest: &mut &[u8]) -> Result<Self, Flaw> {
        let code = read_varint(rest)?;
        Self::of_code(code, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn stamps_round_trip(bits in any::<u64>(), before in any::<u64>()) {
            let stamp = Timestamp::from_bits(bits);
            let before = before % (stamp.millis() + 1);
            let written = Written::after(stamp, before);
            let mut out = Vec::new();
            written.write(&mut out);
            let mut rest = &out[..];
            let read = Written::read(&mut rest);
            prop_assert_eq!((read, rest.len()), (Ok(written), 0));
            prop_assert_eq!(Timestamp::new(before + written.millis, written.counter), Ok(stamp));
        }
    }

    #[test]
    fn a_counter_that_is_announced_is_not_zero_and_fits() {
        assert_eq!(Written::read(&mut &[0b101, 0][..]), Err(Flaw::Malformed));
        assert_eq!(Written::read(&mut &[0b101, 0x80, 0x80, 4][..]), Err(Flaw::Malformed));
        assert_eq!(Written::read(&mut &[0b101][..]), Err(Flaw::Truncated));
        assert_eq!(Written::read(&mut &[0b101, 7][..]), Ok(Written { millis: 2, counter: 7 }));
    }
}
