//! The first block of a store's file: what it is, and how far it had come.
//!
//! | bytes | what |
//! |---|---|
//! | 0..16 | `driftless store` and a line feed |
//! | 16..20 | version of the format |
//! | 20..24 | zero |
//! | 24..32 | XXH3 of bytes 0..24 |
//! | 512..528, 1024..1040 | witnesses, written in turn: commits so far, and XXH3 of them |
//! | 4096.. | the database |
//!
//! Numbers are big-endian. A witness is written after its commit is on disk and goes to disk with the next one: it never names
//! a commit that was not finished. So a database that is behind it was set back by damage, which nothing inside it can tell.

use redb::StorageBackend;
use xxhash_rust::xxh3::xxh3_64;

use crate::fault::Fault;

/// Where the database begins.
pub(crate) const BYTES: u64 = 4096;
/// The version that this release writes.
pub(crate) const VERSION: u32 = 1;
/// The oldest and the newest version that this release reads.
const READABLE: (u32, u32) = (1, VERSION);

const MAGIC: &[u8; 16] = b"driftless store\n";
const CHECKED: usize = 24;
const WITNESSES: [usize; 2] = [512, 1024];

/// The first block of a new store.
pub(crate) fn first() -> Vec<u8> {
    let mut block = [&MAGIC[..], &VERSION.to_be_bytes(), &[0; 4]].concat();
    block.extend(xxh3_64(&block).to_be_bytes());
    block.resize(BYTES as usize, 0);
    block
}

/// Reads what the file is, and the newest commit that is known to have been finished.
pub(crate) fn read(medium: &dyn StorageBackend) -> Result<u64, Fault> {
    let length = medium.len().map_err(Fault::io)?;
    if length == 0 {
        return Err(Fault::Damaged("an empty file: a store has a first block of 4,096 bytes".to_owned()));
    }
    let mut block = vec![0; length.min(BYTES) as usize];
    medium.read(0, &mut block).map_err(Fault::io)?;
    if !block.starts_with(MAGIC) {
        return Err(Fault::Damaged("the first 16 bytes: they are not those of a store".to_owned()));
    }
    let number = |at: usize| number(&block, at);
    if number(CHECKED) != Some(xxh3_64(block.get(..CHECKED).unwrap_or_default())) {
        return Err(Fault::Damaged("the first block: its checksum is wrong".to_owned()));
    }
    let version = number(MAGIC.len()).map_or(0, |both| (both >> 32) as u32);
    if !(READABLE.0..=READABLE.1).contains(&version) {
        return Err(Fault::Format { found: version, readable: READABLE });
    }
    if length <= BYTES {
        return Err(Fault::Damaged(format!("the file ends after {length} bytes, where its database begins")));
    }
    let witnesses = WITNESSES.iter().filter_map(|&at| {
        let commits = number(at)?;
        (number(at + 8)? == xxh3_64(&commits.to_be_bytes())).then_some(commits)
    });
    Ok(witnesses.max().unwrap_or(0))
}

/// Notes that a commit is on disk. It is not waited for.
pub(crate) fn witness(medium: &dyn StorageBackend, commits: u64) -> std::io::Result<()> {
    let at = WITNESSES[(commits % 2) as usize] as u64;
    let bytes = commits.to_be_bytes();
    medium.write(at, &[bytes, xxh3_64(&bytes).to_be_bytes()].concat())
}

fn number(block: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(block.get(at..at + 8)?.try_into().ok()?))
}
