//! Columns of integers: how many numbers of a kind become few bytes.
//!
//! Numbers that lie close together are written as what they have above the least of them, in as many bits as the greatest of
//! these takes; numbers that go up steadily as their steps; the same number again and again as runs. Whichever is shortest is
//! taken. Both sides know how many numbers there are.
//!
//! A column may take no bytes beside its head, however long it is: who reads one must have counted its numbers before.

/// Runs: a length and a number, again and again.
const RUNS: u8 = 65;
/// The first number and the differences between neighbours.
const STEPS: u8 = 66;

/// Why bytes are no column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// They end too early.
    Truncated,
    /// They are not in any form.
    Malformed,
}

pub(crate) fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

pub(crate) fn unzigzag(n: u64) -> i64 {
    ((n >> 1) as i64) ^ ((n & 1) as i64).wrapping_neg()
}

/// The number of bits that a number takes.
pub(crate) fn bits(n: u64) -> u32 {
    u64::BITS.saturating_sub(n.leading_zeros())
}

/// The number of bytes of a varint.
pub(crate) fn varint_len(n: u64) -> usize {
    bits(n | 1).div_ceil(7) as usize
}

/// The number of bytes of `count` packed numbers.
fn packed_len(count: usize, width: u32) -> usize {
    count.saturating_mul(width as usize).div_ceil(8)
}

#[inline]
pub(crate) fn write_varint(out: &mut Vec<u8>, mut n: u64) {
    while n > 0x7F {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

#[inline]
pub(crate) fn read_varint(rest: &mut &[u8]) -> Result<u64, Flaw> {
    let (mut n, mut shift) = (0_u64, 0_u32);
    loop {
        let (byte, behind) = rest.split_first().ok_or(Flaw::Truncated)?;
        *rest = behind;
        let low = u64::from(byte & 0x7F);
        // The tenth byte has room for one bit, and a last byte of zero says nothing.
        if (shift == 63 && *byte > 1) || (shift > 0 && *byte == 0) {
            return Err(Flaw::Malformed);
        }
        n |= low.wrapping_shl(shift);
        if *byte < 0x80 {
            return Ok(n);
        }
        shift = shift.saturating_add(7);
    }
}

/// Writes numbers of at most `width` bits each, one behind the other, from the lowest bit up.
#[expect(clippy::arithmetic_side_effects, reason = "fewer than 64 bits wait, and a number has at most 64")]
pub(crate) fn write_packed(out: &mut Vec<u8>, width: u32, numbers: impl Iterator<Item = u64>) {
    if width == 0 {
        return;
    }
    let (mut waiting, mut bits) = (0_u128, 0_u32);
    for number in numbers {
        waiting |= u128::from(number) << bits;
        bits += width;
        if bits >= u64::BITS {
            out.extend_from_slice(&(waiting as u64).to_le_bytes());
            waiting >>= u64::BITS;
            bits -= u64::BITS;
        }
    }
    let bytes = bits.div_ceil(8) as usize;
    out.extend_from_slice(waiting.to_le_bytes().get(..bytes).unwrap_or_default());
}

/// Reads `count` numbers of `width` bits each, `width` being at most 64, and hands each to `take`.
#[expect(clippy::arithmetic_side_effects, reason = "fewer than 64 bits wait when 64 more are taken")]
pub(crate) fn read_packed(
    rest: &mut &[u8],
    count: usize,
    width: u32,
    mut take: impl FnMut(u64),
) -> Result<(), Flaw> {
    if width == 0 {
        (0..count).for_each(|_| take(0));
        return Ok(());
    }
    let len = packed_len(count, width);
    let (packed, behind) = rest.split_at_checked(len).ok_or(Flaw::Truncated)?;
    *rest = behind;
    let (words, tail) = packed.as_chunks::<8>();
    let mut last = [0; 8];
    if let Some(slots) = last.get_mut(..tail.len()) {
        slots.copy_from_slice(tail);
    }
    let mut words = words.iter().chain([&last]).map(|word| u64::from_le_bytes(*word));
    let mask = u64::MAX >> (u64::BITS - width);
    let (mut waiting, mut bits) = (0_u128, 0_u32);
    for _ in 0..count {
        if bits < width {
            waiting |= u128::from(words.next().unwrap_or_default()) << bits;
            bits += u64::BITS;
        }
        take(waiting as u64 & mask);
        waiting >>= width;
        bits -= width;
    }
    // What is left over is less than a byte, and zero.
    if waiting == 0 && words.all(|word| word == 0) { Ok(()) } else { Err(Flaw::Malformed) }
}

/// What must be known of numbers to tell the shortest form.
struct Shape {
    least: u64,
    greatest: u64,
    first: u64,
    least_step: i64,
    greatest_step: i64,
    bytes_in_runs: usize,
}

impl Shape {
    fn of(numbers: &[u64]) -> Self {
        let first = numbers.first().copied().unwrap_or_default();
        let mut shape = Self {
            least: first,
            greatest: first,
            first,
            least_step: i64::MAX,
            greatest_step: i64::MIN,
            bytes_in_runs: 0,
        };
        let (mut before, mut run) = (first, 0_u64);
        for number in numbers.get(1..).unwrap_or_default() {
            let number = *number;
            shape.least = shape.least.min(number);
            shape.greatest = shape.greatest.max(number);
            let step = number.wrapping_sub(before) as i64;
            shape.least_step = shape.least_step.min(step);
            shape.greatest_step = shape.greatest_step.max(step);
            if step == 0 {
                run = run.saturating_add(1);
            } else {
                shape.end_run(run, before);
                run = 0;
            }
            before = number;
        }
        shape.end_run(run, before);
        shape
    }

    fn end_run(&mut self, length_less_one: u64, number: u64) {
        let bytes = varint_len(length_less_one).saturating_add(varint_len(number));
        self.bytes_in_runs = self.bytes_in_runs.saturating_add(bytes);
    }

    /// The width of the numbers less the least of them.
    fn width(&self) -> u32 {
        bits(self.greatest.wrapping_sub(self.least))
    }

    /// The width of the steps less the least of them.
    fn step_width(&self) -> u32 {
        bits(self.greatest_step.wrapping_sub(self.least_step) as u64)
    }
}

/// Writes a column.
pub(crate) fn write(out: &mut Vec<u8>, numbers: &[u64]) {
    match numbers {
        [] => return,
        [number] => return write_varint(out, *number),
        _ => {}
    }
    let shape = Shape::of(numbers);
    let (width, step_width) = (shape.width(), shape.step_width());
    let (first, step) = (shape.first, zigzag(shape.least_step));
    let steps = numbers.len().saturating_sub(1);
    let in_place = varint_len(shape.least).saturating_add(packed_len(numbers.len(), width));
    let in_steps = [varint_len(first), varint_len(step), 1, packed_len(steps, step_width)];
    let in_steps = in_steps.into_iter().fold(0, usize::saturating_add);
    if in_place <= shape.bytes_in_runs && in_place <= in_steps {
        out.push(width as u8);
        write_varint(out, shape.least);
        write_packed(out, width, numbers.iter().map(|number| number.wrapping_sub(shape.least)));
    } else if shape.bytes_in_runs <= in_steps {
        out.push(RUNS);
        for run in numbers.chunk_by(|a, b| a == b) {
            write_varint(out, run.len().saturating_sub(1) as u64);
            write_varint(out, run.first().copied().unwrap_or_default());
        }
    } else {
        out.push(STEPS);
        write_varint(out, first);
        write_varint(out, step);
        out.push(step_width as u8);
        let mut before = first;
        let beyond = numbers.iter().skip(1).map(|number| {
            let step = number.wrapping_sub(before);
            before = *number;
            step.wrapping_sub(shape.least_step as u64)
        });
        write_packed(out, step_width, beyond);
    }
}

/// Reads a column of `count` numbers, which must have been counted: nothing here bounds them.
pub(crate) fn read(rest: &mut &[u8], count: usize) -> Result<Vec<u64>, Flaw> {
    if count <= 1 {
        return if count == 0 { Ok(Vec::new()) } else { Ok(vec![read_varint(rest)?]) };
    }
    let mode = read_byte(rest)?;
    let mut numbers = Vec::with_capacity(count);
    match mode {
        0..=64 => {
            let base = read_varint(rest)?;
            let mut is_beyond = false;
            read_packed(rest, count, u32::from(mode), |above| {
                let (number, wraps) = base.overflowing_add(above);
                is_beyond |= wraps;
                numbers.push(number);
            })?;
            if is_beyond {
                return Err(Flaw::Malformed);
            }
        }
        RUNS => {
            while numbers.len() < count {
                let (more, number) = (read_varint(rest)?, read_varint(rest)?);
                let end = usize::try_from(more).ok().and_then(|more| numbers.len().checked_add(more));
                let end = end.filter(|end| *end < count).ok_or(Flaw::Malformed)?;
                numbers.resize(end.saturating_add(1), number);
            }
        }
        STEPS => {
            let (first, step) = (read_varint(rest)?, unzigzag(read_varint(rest)?) as u64);
            let width = u32::from(read_byte(rest)?);
            if width > u64::BITS {
                return Err(Flaw::Malformed);
            }
            let mut number = first;
            numbers.push(number);
            read_packed(rest, count.saturating_sub(1), width, |beyond| {
                number = number.wrapping_add(step).wrapping_add(beyond);
                numbers.push(number);
            })?;
        }
        _ => return Err(Flaw::Malformed),
    }
    Ok(numbers)
}

fn read_byte(rest: &mut &[u8]) -> Result<u8, Flaw> {
    let (byte, behind) = rest.split_first().ok_or(Flaw::Truncated)?;
    *rest = behind;
    Ok(*byte)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn written(numbers: &[u64]) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, numbers);
        out
    }

    fn round(numbers: &[u64]) -> usize {
        let bytes = written(numbers);
        let mut rest = &bytes[..];
        assert_eq!(read(&mut rest, numbers.len()), Ok(numbers.to_vec()));
        assert_eq!(rest, []);
        for end in 0..bytes.len() {
            assert!(read(&mut &bytes[..end], numbers.len()).is_err(), "{numbers:?} cut off at {end}");
        }
        bytes.len()
    }

    /// Columns of each kind that occurs: any, close together, steady, repeated.
    fn columns() -> impl Strategy<Value = Vec<u64>> {
        let any_width =
            (0_u32..=64, vec(any::<u64>(), 0..40), any::<u64>()).prop_map(|(width, numbers, base)| {
                let below = |number: u64| number.checked_shr(64 - width).unwrap_or(0);
                numbers.into_iter().map(|number| base.wrapping_add(below(number))).collect()
            });
        let steady = (any::<u64>(), any::<i32>(), vec(0_u64..4, 1..40)).prop_map(|(first, step, beyond)| {
            let next = |number: &mut u64, beyond: u64| {
                *number = number.wrapping_add(step as u64).wrapping_add(beyond);
                Some(*number)
            };
            beyond.into_iter().scan(first, next).collect()
        });
        let runs = vec((any::<u64>(), 1_usize..200), 1..6)
            .prop_map(|runs| runs.into_iter().flat_map(|(number, len)| vec![number; len]).collect());
        prop_oneof![any_width, steady, runs]
    }

    proptest! {
        #[test]
        fn every_column_round_trips_and_no_part_of_it_does(numbers in columns()) {
            round(&numbers);
        }

        #[test]
        fn varints_round_trip_and_have_one_form(n in any::<u64>(), shift in 0_u32..64) {
            let n = n >> shift;
            let mut out = Vec::new();
            write_varint(&mut out, n);
            prop_assert_eq!(out.len(), varint_len(n));
            prop_assert_eq!(read_varint(&mut &out[..]), Ok(n));
            // The same number in a byte more.
            *out.last_mut().unwrap() |= 0x80;
            out.push(0);
            prop_assert_eq!(read_varint(&mut &out[..]), Err(Flaw::Malformed));
        }

        /// Whatever the bytes, no panic; and what is read is as many numbers as were asked for, in no more room.
        #[test]
        fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..60), mode in 0_u8..70, count in 0_usize..5_000) {
            for bytes in [bytes.clone(), [&[mode][..], &bytes].concat()] {
                let mut rest = &bytes[..];
                if let Ok(numbers) = read(&mut rest, count) {
                    prop_assert_eq!(numbers.len(), count);
                    prop_assert!(numbers.capacity() <= count.max(4));
                    prop_assert!(bytes.ends_with(rest));
                    prop_assert_eq!(read(&mut &written(&numbers)[..], count), Ok(numbers));
                }
            }
        }

        #[test]
        fn packed_numbers_round_trip_and_leave_no_bits(numbers in vec(any::<u64>(), 0..30), width in 0_u32..=64) {
            let numbers: Vec<_> =
                numbers.into_iter().map(|number| number.checked_shr(64 - width).unwrap_or(0)).collect();
            let mut out = Vec::new();
            write_packed(&mut out, width, numbers.iter().copied());
            let mut read = Vec::new();
            prop_assert_eq!(read_packed(&mut &out[..], numbers.len(), width, |number| read.push(number)), Ok(()));
            prop_assert_eq!(&read, &numbers);
            let left = out.len() * 8 - numbers.len() * width as usize;
            for bit in 8 - left..8 {
                let mut marred = out.clone();
                *marred.last_mut().unwrap() |= 1 << bit;
                let flaw = read_packed(&mut &marred[..], numbers.len(), width, drop);
                prop_assert_eq!(flaw, Err(Flaw::Malformed));
            }
        }
    }

    #[test]
    fn the_ends_round_trip() {
        for numbers in [
            &[0, u64::MAX][..],
            &[u64::MAX, 0],
            &[1 << 63, 0, 1 << 63, u64::MAX],
            &[u64::MAX, u64::MAX, u64::MAX],
        ] {
            round(numbers);
        }
        assert_eq!([0, 127, 128, u64::MAX].map(varint_len), [1, 1, 2, 10]);
    }

    #[test]
    fn each_form_is_taken_where_it_is_shortest() {
        let equal = [7; 100_000];
        let steady: Vec<u64> = (0..100_000).map(|n| 1_000 + 2 * n).collect();
        let close: Vec<u64> = (0..1_000_u64).map(|n| 5_000 + n * n % 8).collect();
        let two: Vec<u64> = (0..1_000).map(|n| if n < 300 { 1 << 40 } else { 3 }).collect();
        assert_eq!([round(&equal), written(&equal)[0].into()], [2, 0]);
        assert_eq!([written(&steady).len(), written(&steady)[0].into()], [5, STEPS.into()]);
        assert_eq!([written(&close).len(), written(&close)[0].into()], [1 + 2 + 375, 3]);
        assert_eq!([written(&two).len(), written(&two)[0].into()], [1 + 2 + 6 + 2 + 1, RUNS.into()]);
        // Of equal lengths the lowest mode.
        assert_eq!(written(&[3, 3]), [0, 3]);
        assert_eq!(written(&[3, 4]), [1, 3, 2]);
    }

    #[test]
    fn what_is_no_column_is_refused() {
        let malformed: [(&[u8], usize); 7] = [
            (&[67, 0, 0], 2),
            (&[1, 0, 0b100], 2), // bits left over
            (&[1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0b11], 2), // beyond 64 bits
            (&[RUNS, 2, 9], 2),  // a run too long
            (&[RUNS, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0], 2),
            (&[STEPS, 0, 0, 65, 0, 0, 0, 0, 0, 0, 0, 0, 0], 2),
            (&[255, 255, 255, 255, 255, 255, 255, 255, 255, 2], 1),
        ];
        for (bytes, count) in malformed {
            assert_eq!(read(&mut &bytes[..], count), Err(Flaw::Malformed), "{bytes:?}");
        }
        assert_eq!(read(&mut &[][..], 0), Ok(Vec::new()));
        assert_eq!(read(&mut &[][..], 1), Err(Flaw::Truncated));
        assert_eq!(read(&mut &[64, 0][..], 1_000), Err(Flaw::Truncated));
    }
}
