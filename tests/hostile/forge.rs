//! Messages that no replica writes: as much as possible in as few bytes as possible.

use xxhash_rust::xxh3::xxh3_64;

use crate::NOW_MS;

/// A message by `ids` replicas that all wrote at the same moment, so that a dot is the place of its author alone. `state`
/// is what follows the head.
pub(crate) fn message(ids: u16, state: &[u8]) -> Vec<u8> {
    part(ids, None, state)
}

/// A transfer of one message for each of `states`.
pub(crate) fn transfer(ids: u16, states: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut chunks: Vec<Vec<u8>> = Vec::new();
    for (index, state) in states.iter().enumerate() {
        let follows = chunks.last().map_or(0, |chunk| xxh3_64(chunk));
        let place = (index as u64) << 1 | u64::from(index + 1 == states.len());
        chunks.push(part(ids, Some((place, follows)), state));
    }
    chunks
}

fn part(ids: u16, chunk: Option<(u64, u64)>, state: &[u8]) -> Vec<u8> {
    let n = usize::from(ids);
    let mut out = Vec::new();
    array(&mut out, 3 + 2 * n + if chunk.is_some() { 2 } else { 0 } + 1);
    out.push(1 << 3 | if chunk.is_some() { 2 } else { 0 });
    uint(&mut out, (n as u64) << 13);
    out.push(0xC6);
    out.extend((16 * u32::from(ids)).to_be_bytes());
    for id in 0..ids {
        out.extend([0; 14]);
        out.extend((id + 1).to_be_bytes());
    }
    uint(&mut out, NOW_MS << 16);
    out.push(0xC0);
    for _ in 1..n {
        out.extend([0, 0xC0]);
    }
    if let Some((place, follows)) = chunk {
        uint(&mut out, place);
        uint(&mut out, follows);
    }
    out.extend(state);
    out
}

/// Rows of at least `len` bytes in all, of which `row` writes number n after its key.
pub(crate) fn rows(len: usize, row: impl Fn(&mut Vec<u8>, u64)) -> Vec<u8> {
    let (mut count, mut body) = (0, Vec::new());
    while body.len() < len {
        row(&mut body, count);
        count += 1;
    }
    let mut state = Vec::new();
    array(&mut state, 2 * count as usize);
    state.extend(body);
    state
}

/// As [`rows`], of rows with a floor.
pub(crate) fn removed_rows(len: usize, row: impl Fn(&mut Vec<u8>, u64)) -> Vec<u8> {
    let (mut count, mut body) = (0, Vec::new());
    while body.len() < len {
        row(&mut body, count);
        count += 1;
    }
    let mut state = vec![0x91];
    array(&mut state, 3 * count as usize);
    state.extend(body);
    state
}

/// An array of `unit`, of about `len` bytes in all.
pub(crate) fn list(len: usize, unit: &[u8]) -> Vec<u8> {
    let mut list = Vec::new();
    let count = len / unit.len();
    array(&mut list, count);
    (0..count).for_each(|_| list.extend(unit));
    list
}

pub(crate) fn array(out: &mut Vec<u8>, len: usize) {
    match len {
        0..16 => out.push(0x90 | len as u8),
        16..0x1_0000 => {
            out.push(0xDC);
            out.extend((len as u16).to_be_bytes());
        }
        _ => {
            out.push(0xDD);
            out.extend((len as u32).to_be_bytes());
        }
    }
}

pub(crate) fn uint(out: &mut Vec<u8>, n: u64) {
    let bytes = n.to_be_bytes();
    match n {
        0..0x80 => out.push(n as u8),
        0x80..0x100 => out.extend([0xCC, n as u8]),
        0x100..0x1_0000 => {
            out.push(0xCD);
            out.extend(&bytes[6..]);
        }
        0x1_0000..0x1_0000_0000 => {
            out.push(0xCE);
            out.extend(&bytes[4..]);
        }
        _ => {
            out.push(0xCF);
            out.extend(bytes);
        }
    }
}

pub(crate) fn name(out: &mut Vec<u8>, n: u64) {
    let name = format!("{n:x}");
    out.push(0xA0 | name.len() as u8);
    out.extend(name.bytes());
}
