//! What the fuzz targets do with the bytes they are given: a target is one call of a function here, so that `cargo test` can run
//! the same on files.
//!
//! Every function takes any bytes. It panics if the engine does what it must not. Those that many types are compiled for are
//! `#[inline]`, so that this takes its time where they are called, and not in all that uses the testkit.

mod bytes;
pub mod decode;
mod delivery;
pub mod document;
pub mod history;
pub mod merge;
mod scene;
pub mod seeds;
pub mod session;
mod types;
mod values;

/// A target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which its files are stored under.
    pub name: &'static str,
    /// What it does with bytes.
    pub run: fn(&[u8]),
}

/// All targets.
#[inline]
pub fn targets() -> [Target; 5] {
    [
        Target { name: "decode", run: decode::run },
        Target { name: "merge", run: merge::run },
        Target { name: "history", run: history::run },
        Target { name: "document", run: document::run },
        Target { name: "session", run: session::run },
    ]
}
