//! The bytes of a message: how stamps, ids and values are written, how they are read back, and the limits of what is read.
//!
//! The state is written in columns; keys and values in them are MessagePack. What the bytes mean, one by one, is in
//! `docs/wire-format.md`.
//!
//! # Invariants
//! 1. The decoder is total: any bytes give a value or an error, never a panic.
//! 2. No length is believed before as many bytes have been seen to follow it, or, where none need follow, before the limits of
//!    elements and of memory allow for it.
//! 3. Every dot that is read lies within the vector that the message claims.

// What comes from outside passes through here: none of it may make us panic, or go wrong in silence.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub(crate) mod canonical;
pub(crate) mod column;
pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod error;
pub(crate) mod events;
pub(crate) mod hash;
pub(crate) mod limits;
pub(crate) mod shape;
pub(crate) mod stamp;
