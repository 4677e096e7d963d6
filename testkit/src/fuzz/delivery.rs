//! Bytes as messages that arrive.

use driftless::{Config, Delta, Limits, PendingDelta, Replica};
use xxhash_rust::xxh3::xxh3_64;

use crate::fuzz::bytes::Bytes;
use crate::subject::Subject;

/// What follows is in chunks, each with its length before it in two bytes.
pub(super) const IN_CHUNKS: u8 = 1;
/// Who receives has small limits.
pub(super) const SMALL_LIMITS: u8 = 2;
/// Who receives accepts stamps however far ahead.
pub(super) const ANY_STAMP: u8 = 4;
/// Who receives holds nothing.
pub(super) const RECEIVER_IS_EMPTY: u8 = 8;

/// What receivers hash keys with, so that keys in short form mean the same in each run.
const HASH_SEED: u64 = 7;

/// Stands in a chunk where the hash of the chunk before belongs: changing a byte must not break what follows.
pub(super) const HASH_BEFORE: [u8; 8] = *b"hash-of-";

/// How a replica is set up that receives.
pub(super) fn config(how: u8) -> Config {
    let small = Limits {
        message_bytes: 600,
        transfer_bytes: 900,
        memory_bytes: 4_000,
        depth: 6,
        elements: 60,
        siblings: 2,
        text_bytes: 12,
        replicas: 3,
    };
    Config {
        max_ahead_ms: if how & ANY_STAMP == 0 { 60_000 } else { u64::MAX },
        changes: true,
        limits: if how & SMALL_LIMITS == 0 { Limits::default() } else { small },
        hash_seed: Some(HASH_SEED),
    }
}

/// Reads a delta as `receiver` does; `None` if the bytes are none.
pub(super) fn receive<S: Subject>(receiver: &Replica<S>, how: u8, mut bytes: Bytes<'_>) -> Option<Delta<S>> {
    if how & IN_CHUNKS == 0 {
        return receiver.decode(bytes.rest()).ok().filter(|delta| !delta.is_chunk());
    }
    let mut pending = PendingDelta::new(&receiver.config().limits);
    let mut before = 0;
    while !bytes.is_empty() {
        let len = usize::from(bytes.u16());
        let mut chunk = bytes.take(len).to_vec();
        if let Some(at) = chunk.windows(HASH_BEFORE.len()).position(|window| window == HASH_BEFORE) {
            chunk[at..at + HASH_BEFORE.len()].copy_from_slice(&u64::to_be_bytes(before));
        }
        before = xxh3_64(&chunk);
        let Ok(decoded) = receiver.decode(&chunk) else {
            continue;
        };
        let gathered = pending.bytes();
        match pending.push(decoded) {
            Ok(Some(whole)) => return Some(whole),
            Ok(None) => assert!(pending.bytes() <= receiver.config().limits.transfer_bytes),
            Err(_) => assert_eq!(pending.bytes(), gathered, "a refused chunk changed what was gathered"),
        }
    }
    None
}
