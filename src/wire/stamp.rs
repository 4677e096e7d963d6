//! The code of a stamp and its author: nearly always one small integer, beside the stamp that was coded before it.
//!
//! Stamps of one message lie close together: of a bulk load they differ by one count, of steady writes by some
//! milliseconds and have no count. Both come out small, and with few authors below 128, which MessagePack writes in one
//! byte. A stamp that differs in both is a negative integer; one that is too far off for that stands in full.

use crate::clock::Timestamp;

/// The form of a near code, in its lowest bit: the same millisecond, the difference of the counters.
const SAME_MILLISECOND: u64 = 0;
/// The difference of the milliseconds; the counter is zero.
const COUNTER_ZERO: u64 = 1;

/// A coded stamp and the place of its author in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// `(zigzag(difference) * 2 + form) * ids + place`
    Near(u64),
    /// `-1 - ((zigzag(milliseconds) << 16 | counter) * ids + place)`
    Far(i64),
    /// 8 bytes of stamp and 2 of place, big-endian.
    Absolute([u8; 10]),
}

/// The code of `stamp` after `previous`, by the author at `place` in a table of `ids`, of which there are at most 4,096.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "stamps are our own: 48 bits of milliseconds, zigzagged, doubled and times 4,096 stay below 2^62"
)]
pub(crate) fn code(previous: Timestamp, stamp: Timestamp, ids: u64, place: u64) -> Code {
    let millis = zigzag(stamp.millis() as i64 - previous.millis() as i64);
    if stamp.millis() == previous.millis() {
        let counter = zigzag(i64::from(stamp.counter()) - i64::from(previous.counter()));
        return Code::Near((counter * 2 + SAME_MILLISECOND) * ids + place);
    }
    if stamp.counter() == 0 {
        return Code::Near((millis * 2 + COUNTER_ZERO) * ids + place);
    }
    let far = (u128::from(millis) << 16 | u128::from(stamp.counter())) * u128::from(ids) + u128::from(place);
    match i64::try_from(far) {
        Ok(far) => Code::Far(-1 - far),
        Err(_) => {
            let mut bytes = [0; 10];
            bytes[..8].copy_from_slice(&stamp.bits().to_be_bytes());
            bytes[8..].copy_from_slice(&(place as u16).to_be_bytes());
            Code::Absolute(bytes)
        }
    }
}

/// The stamp and the place that an integer codes after `previous`. `None` if it codes none.
pub(crate) fn of_code(previous: Timestamp, code: i128, ids: u64) -> Option<(Timestamp, u64)> {
    if code < 0 {
        let far = u64::try_from((-1_i128).checked_sub(code)?).ok()?;
        let (number, place) = (far.checked_div(ids)?, far.checked_rem(ids)?);
        let millis = (previous.millis() as i64).checked_add(unzigzag(number >> 16))?;
        let stamp = Timestamp::new(u64::try_from(millis).ok()?, (number & 0xFFFF) as u16).ok()?;
        return Some((stamp, place));
    }
    let near = u64::try_from(code).ok()?;
    let (number, place) = (near.checked_div(ids)?, near.checked_rem(ids)?);
    let difference = unzigzag(number >> 1);
    let stamp = if number & 1 == SAME_MILLISECOND {
        let counter = i64::from(previous.counter()).checked_add(difference)?;
        Timestamp::new(previous.millis(), u16::try_from(counter).ok()?)
    } else {
        let millis = (previous.millis() as i64).checked_add(difference)?;
        Timestamp::new(u64::try_from(millis).ok()?, 0)
    };
    Some((stamp.ok()?, place))
}

/// The stamp and the place that stand in full.
pub(crate) fn of_absolute(bytes: &[u8], ids: u64) -> Option<(Timestamp, u64)> {
    let (stamp, place) = bytes.split_first_chunk::<8>()?;
    let place = u64::from(u16::from_be_bytes(place.try_into().ok()?));
    (place < ids).then_some((Timestamp::from_bits(u64::from_be_bytes(*stamp)), place))
}

fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

fn unzigzag(n: u64) -> i64 {
    ((n >> 1) as i64) ^ ((n & 1) as i64).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round(previous: Timestamp, stamp: Timestamp, ids: u64, place: u64) -> Option<(Timestamp, u64)> {
        match code(previous, stamp, ids, place) {
            Code::Near(code) => of_code(previous, i128::from(code), ids),
            Code::Far(code) => of_code(previous, i128::from(code), ids),
            Code::Absolute(bytes) => of_absolute(&bytes, ids),
        }
    }

    proptest! {
        #[test]
        fn every_pair_of_stamps_round_trips(a in any::<u64>(), b in any::<u64>(), near in any::<bool>(),
                                            ids in 1_u64..=4096, place in any::<u64>()) {
            let b = if near { a.wrapping_add(b % (1 << 30)) } else { b };
            let (a, b, place) = (Timestamp::from_bits(a), Timestamp::from_bits(b), place % ids);
            prop_assert_eq!(round(a, b, ids, place), Some((b, place)));
        }

        #[test]
        fn no_code_panics(previous in any::<u64>(), code in any::<i128>(), small in any::<i64>(), ids in any::<u64>(),
                          bytes in any::<Vec<u8>>()) {
            of_code(Timestamp::from_bits(previous), code, ids);
            of_code(Timestamp::from_bits(previous), i128::from(small), ids);
            of_absolute(&bytes, ids);
        }
    }

    #[test]
    fn a_place_beyond_the_table_is_none() {
        let bytes = |place: u8| [0, 0, 0, 0, 0, 0, 0, 7, 0, place];
        assert_eq!(of_absolute(&bytes(2), 3), Some((Timestamp::from_bits(7), 2)));
        assert_eq!(of_absolute(&bytes(3), 3), None);
        assert_eq!(of_absolute(&bytes(2)[..9], 3), None);
    }

    #[test]
    fn the_ends_round_trip_and_neighbours_are_small() {
        for (a, b) in [(Timestamp::ZERO, Timestamp::MAX), (Timestamp::MAX, Timestamp::ZERO)] {
            assert_eq!(round(a, b, 4096, 4095), Some((b, 4095)));
        }
        let at = |ms, counter| Timestamp::new(ms, counter).unwrap();
        assert_eq!(code(at(5, 9), at(5, 10), 3, 1), Code::Near(13));
        assert_eq!(code(at(5, 9), at(6, 0), 3, 1), Code::Near(16));
        assert_eq!(code(at(5, 9), at(6, 1), 1, 0), Code::Far(-1 - (2 << 16 | 1)));
    }
}
