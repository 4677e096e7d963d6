//! What comes from a peer: gathered until it is whole, and kept until what should come before it has come.

use std::collections::VecDeque;

use crate::crdt::Crdt;
use crate::delta::Delta;
use crate::delta::pending::PendingDelta;
use crate::sync::config::SyncConfig;
use crate::sync::frame::{Gathered, Points, Progress};
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
    /// When it was last told so, and where we were then.
    told_gap: Option<(u64, Place)>,
    /// Whether what came last was refused, and will be for a while: its stamps are too far ahead.
    pub(crate) is_refused: bool,
    /// The number of the last delta or chunk that completed something. Chunks up to it are of no use any more.
    done: u64,
}

/// How far what came has led: how often anything was merged here, and what is gathered of a transfer.
type Place = (u64, Option<Gathered>);

/// A delta that cannot be merged yet.
#[derive(Debug)]
pub(crate) struct Parked<S> {
    pub(crate) label: Label,
    pub(crate) what: Incoming<S>,
}

/// What came with a delta or chunk.
#[derive(Debug)]
pub(crate) struct Label {
    /// When it came.
    pub(crate) since_ms: u64,
    pub(crate) seq: u64,
    /// The commits that it leads over, if they came with it.
    pub(crate) points: Points,
    pub(crate) is_led_over: bool,
    pub(crate) progress: Progress,
    /// What it takes to keep it.
    pub(crate) bytes: usize,
}

/// A delta as it came, or put together from its chunks.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are whole, and few are kept")]
pub(crate) enum Incoming<S> {
    Message(Vec<u8>),
    /// A message that names by a short form what is not held here.
    Unread(Vec<u8>),
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
            told_gap: None,
            is_refused: false,
            done: 0,
        }
    }

    /// What is gathered of a transfer.
    pub(crate) fn gathered(&self) -> Option<Gathered> {
        self.pending.gathered().map(|(next, last)| Gathered { next, last })
    }

    /// The index of the chunk that comes next.
    pub(crate) fn next_chunk(&self) -> u64 {
        self.gathered().map_or(0, |gathered| gathered.next)
    }

    /// Whether a chunk is of a transfer that is complete.
    pub(crate) fn is_done(&self, seq: u64) -> bool {
        seq <= self.done
    }

    /// Something is missing. The peer is told so once for each place: all that it has under way comes in vain now, and if it
    /// started again for each of these, the same window would be sent again and again. While it is refused, whole, the places
    /// on the way to its end are no progress.
    pub(crate) fn miss(&mut self, now_ms: u64, merges: u64, config: &SyncConfig) {
        let place = (merges, self.gathered());
        let is_told = self.told_gap.is_some_and(|(told_ms, told)| {
            (told == place || self.is_refused)
                && (told_ms..told_ms.saturating_add(config.patience_ms)).contains(&now_ms)
        });
        if !is_told {
            self.told_gap = Some((now_ms, place));
            self.is_gap = true;
        }
    }

    pub(crate) fn acknowledge(&mut self, seq: u64, is_merged: bool) {
        // A chunk that is acknowledged after a merge must not take that back.
        if self.acknowledges.is_none_or(|(before, _)| seq >= before) {
            self.acknowledges = Some((seq, is_merged));
        }
        if is_merged {
            self.done = self.done.max(seq);
        }
    }

    /// Keeps a delta for a while; if there is no room, all that is kept is given up, and asked for again at once.
    pub(crate) fn park(&mut self, parked: Parked<S>, now_ms: u64, merges: u64, config: &SyncConfig) {
        self.parked_bytes = self.parked_bytes.saturating_add(parked.label.bytes);
        self.parked.push_back(parked);
        if self.parked_bytes > config.window_bytes {
            self.give_up(now_ms, merges, config);
        }
    }

    /// All that is kept, to be tried again.
    pub(crate) fn take_parked(&mut self) -> VecDeque<Parked<S>> {
        self.parked_bytes = 0;
        let mut parked = std::mem::take(&mut self.parked);
        // In the order in which they were sent one pass takes all that fit.
        parked.make_contiguous().sort_by_key(|parked| parked.label.seq);
        parked
    }

    /// What is kept until more has come.
    pub(crate) fn bytes(&self) -> usize {
        self.parked_bytes.saturating_add(self.pending.bytes())
    }

    pub(crate) fn is_any_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    /// The clock was set back.
    pub(crate) fn rewind(&mut self, now_ms: u64) {
        self.told_gap = None;
        for parked in &mut self.parked {
            parked.label.since_ms = parked.label.since_ms.min(now_ms);
        }
    }

    /// When to give up on what is kept.
    pub(crate) fn deadline(&self, config: &SyncConfig) -> Option<u64> {
        let since_ms = self.parked.iter().map(|parked| parked.label.since_ms).min()?;
        Some(since_ms.saturating_add(config.parking_ms))
    }

    /// Gives up on deltas that wait for what does not come: all that is missing is asked for.
    pub(crate) fn give_up(&mut self, now_ms: u64, merges: u64, config: &SyncConfig) {
        let next = self.next_chunk();
        let is_next = |parked: &Parked<S>| parked.label.progress.chunk == next;
        if self.parked.iter().any(|parked| matches!(parked.what, Incoming::Unread(_)) && is_next(parked)) {
            // Sent again it could not be read either: the transfer has to begin anew, and to name all in full.
            self.pending.clear();
        }
        self.parked.clear();
        self.parked_bytes = 0;
        self.miss(now_ms, merges, config);
    }
}
