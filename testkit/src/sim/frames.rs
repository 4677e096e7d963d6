//! What kind of frame it is: as much as is needed to count snapshots, chunks and gaps.

const DELTA: u8 = 2;
const GAP: u8 = 4;

/// What a frame is, as far as it is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    /// A delta that holds all.
    pub(super) is_snapshot: bool,
    /// A chunk of a delta.
    pub(super) is_chunk: bool,
    /// It asks for what it lacks.
    pub(super) is_gap: bool,
}

impl Frame {
    pub(super) fn read(bytes: &[u8]) -> Self {
        match bytes.first() {
            Some(&DELTA) => {
                let flags = delta_flags(&bytes[1..]).unwrap_or_default();
                Self { is_snapshot: flags & 1 == 1, is_chunk: flags & 2 == 2, is_gap: false }
            }
            kind => Self { is_gap: kind == Some(&GAP), ..Self::default() },
        }
    }
}

/// The first byte of the message in a frame of a delta: behind a check, three numbers, and commit points.
fn delta_flags(bytes: &[u8]) -> Option<u8> {
    let mut rest = bytes.get(4..)?;
    for _ in 0..3 {
        varint(&mut rest)?;
    }
    for _ in 0..varint(&mut rest)? {
        rest = rest.get(16..)?;
        let count = varint(&mut rest)?;
        skip_ints(&mut rest, count)?;
    }
    rest.first().copied()
}

/// Skips a column of numbers, as `docs/wire-format.md` describes it.
fn skip_ints(rest: &mut &[u8], count: u64) -> Option<()> {
    match count {
        0 => return Some(()),
        1 => return varint(rest).map(drop),
        _ => {}
    }
    let (&mode, after) = rest.split_first()?;
    *rest = after;
    let skip_packed = |rest: &mut &[u8], count: u64, width: u8| {
        *rest = rest.get((count * u64::from(width)).div_ceil(8) as usize..)?;
        Some(())
    };
    match mode {
        0..=64 => {
            varint(rest)?;
            skip_packed(rest, count, mode)
        }
        65 => {
            let mut left = count;
            while left > 0 {
                left = left.checked_sub(varint(rest)? + 1)?;
                varint(rest)?;
            }
            Some(())
        }
        _ => {
            varint(rest)?;
            varint(rest)?;
            let (&width, after) = rest.split_first()?;
            *rest = after;
            skip_packed(rest, count - 1, width)
        }
    }
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
