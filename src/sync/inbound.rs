//! What comes from a peer: gathered until it is whole, and kept until what should come before it has come.

use std::collections::VecDeque;

use crate::crdt::Crdt;
use crate::delta::Delta;
use crate::delta::pending::PendingDelta;
use crate::sync::config::SyncConfig;
use crate::sync::frame::{Gathered, Points};
use crate::wire::limits::Limits;

/// What comes in from one peer.
#[derive(Debug)]
pub(crate) struct Inbound<S> {
    pub(crate) pending: PendingDelta<S>,
    /// What goes on from what has not come yet.
    parked: VecDeque<Parked<S>>,
    parked_bytes: usize,
    /// What the peer waits to hear: the newest delta or chunk that was taken, and whether it was merged.
    pub(crate) acknowledges: Option<(u64, bool)>,
    /// Whether the peer has to be told that there is a gap.
    pub(crate) is_gap: bool,
}

/// A delta that cannot be merged yet.
#[derive(Debug)]
pub(crate) struct Parked<S> {
    pub(crate) since_ms: u64,
    pub(crate) seq: u64,
    pub(crate) points: Points,
    pub(crate) what: Incoming<S>,
    pub(crate) bytes: usize,
}

/// A delta as it came, or put together from its chunks.
#[derive(Debug)]
pub(crate) enum Incoming<S> {
    Message(Vec<u8>),
    Whole(Delta<S>),
}

impl<S: Crdt> Inbound<S> {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            pending: PendingDelta::new(limits),
            parked: VecDeque::new(),
            parked_bytes: 0,
            acknowledges: None,
            is_gap: false,
        }
    }

    /// What is gathered of a transfer.
    pub(crate) fn gathered(&self) -> Option<Gathered> {
        self.pending.gathered().map(|(next, last)| Gathered { next, last })
    }

    pub(crate) fn acknowledge(&mut self, seq: u64, is_merged: bool) {
        // A chunk that is acknowledged after a merge must not take that back.
        if self.acknowledges.is_none_or(|(before, _)| seq >= before) {
            self.acknowledges = Some((seq, is_merged));
        }
    }

    /// Keeps a delta for a while; what there is no room for is asked for again at once.
    pub(crate) fn park(&mut self, parked: Parked<S>, config: &SyncConfig) {
        self.parked_bytes = self.parked_bytes.saturating_add(parked.bytes);
        if self.parked_bytes > config.window_bytes {
            self.give_up();
        } else {
            self.parked.push_back(parked);
        }
    }

    /// All that is kept, to be tried again.
    pub(crate) fn take_parked(&mut self) -> VecDeque<Parked<S>> {
        self.parked_bytes = 0;
        std::mem::take(&mut self.parked)
    }

    pub(crate) fn is_any_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    /// When to give up on what is kept.
    pub(crate) fn deadline(&self, config: &SyncConfig) -> Option<u64> {
        self.parked.front().map(|parked| parked.since_ms.saturating_add(config.parking_ms))
    }

    /// Gives up on deltas that wait for what does not come: all that is missing is asked for.
    pub(crate) fn give_up(&mut self) {
        self.parked.clear();
        self.parked_bytes = 0;
        self.is_gap = true;
    }
}
