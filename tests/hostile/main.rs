//! Hostile bytes: whatever arrives is refused with a reason, or is a message. It never makes a replica panic, claims more memory
//! than a small multiple of its own size, or changes anything before it is known to be valid.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failure here is a failure of the test")]

mod changes;
mod closed;
mod depth;
mod forge;
mod memory;
mod pieces;
mod refusals;
mod short;
mod victim;

const NOW_MS: u64 = 1_700_000_000_000;
