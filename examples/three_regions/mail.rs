//! What a region's loop is told: by its links, and by the conductor.

use std::sync::mpsc::Sender;

use driftless::{Digest, LinkId};

use crate::link::Outlet;

/// A message to a region's loop.
#[derive(Debug)]
pub(crate) enum Mail {
    /// A link is connected.
    Up(LinkId, Outlet),
    /// A link is gone, and why.
    Down(LinkId, String),
    /// A frame arrived, its delay passed.
    Frame(LinkId, Vec<u8>),
    /// Load the airports of this region.
    Load,
    /// Writing begins at this time, in microseconds since the job began.
    Write(u64),
    /// Answer with the digest of what is held.
    Digest(Sender<Digest>),
    /// End the loop and hand over what is held and what was measured.
    Finish,
}
