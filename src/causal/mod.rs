//! Who wrote what, and who has seen it: replica ids, dots, version vectors, and the stable cut of a membership.
//!
//! Inside a replica an id is interned to a small [`origin::Origin`], so that a dot costs 12 bytes and comparing what a
//! replica has seen is an array look-up. Origins never leave a replica: a message carries its own small table of ids.

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

pub(crate) mod dot;
pub(crate) mod frontier;
pub(crate) mod id;
pub(crate) mod link;
pub(crate) mod membership;
pub(crate) mod origin;
pub(crate) mod renaming;
pub(crate) mod vector;
