//! What a peer is sent: from where on, how much at a time, and when again.
//!
//! Sending is optimistic. What was sent is taken to arrive, without waiting to hear so; and what a third member sends to the
//! peer directly is taken to arrive from there, and is not sent twice. A delta names what it goes on from, so a wrong guess
//! does no harm: the peer keeps the delta until what is missing has come, and if it does not come soon, asks to start again
//! from what it holds. What the peer does not confirm in time is sent again without being asked for.
//!
//! Nothing is kept of what was sent but the chunks of a transfer that are under way, at most a window of them: all else the
//! state can give again.

use std::collections::{BTreeMap, VecDeque};

use xxhash_rust::xxh3::xxh3_64;

use crate::causal::id::ReplicaId;
use crate::causal::vector::VersionVector;
use crate::clock::Timestamp;
use crate::crdt::Crdt;
use crate::delta::message::Chunks;
use crate::replica::request::Request;
use crate::sync::config::SyncConfig;
use crate::sync::frame::{Gathered, Points, Progress};
use crate::sync::shared::Shared;
use crate::wire::error::EncodeError;

/// Room for so many deltas under way is kept while there are none.
const FEW_UNDER_WAY: usize = 8;

/// What goes out to one peer.
#[derive(Debug)]
pub(crate) struct Outbound<S> {
    /// What the peer is known to hold.
    confirmed: VersionVector,
    /// That, and what is on its way to it from here.
    shipped: VersionVector,
    /// Of whom the peer is not known to hold all that is held here.
    authors: BTreeMap<ReplicaId, Author>,
    /// How the peer names keys in short form; `None` once that has failed.
    naming: Option<Request>,
    /// The number of the last delta or chunk.
    seq: u64,
    under_way: VecDeque<Sent>,
    bytes_under_way: usize,
    transfer: Option<Transfer<S>>,
    /// When the peer last confirmed anything, or something was first under way.
    since_ms: u64,
    patience_ms: u64,
}

/// A delta or chunk that is under way.
#[derive(Debug)]
struct Sent {
    seq: u64,
    bytes: usize,
    what: What,
    /// The beginning of the transfer that it goes on from the end of, if that was under way.
    after: Option<u64>,
}

#[derive(Debug)]
enum What {
    /// A delta that leads there.
    Delta(VersionVector),
    /// The chunk of this index.
    Chunk(u64),
}

/// A replica whose events are held here.
#[derive(Debug)]
struct Author {
    /// What was held of it when we last looked: the peer should hold this soon.
    stamp: Timestamp,
    /// When that was, and how long it may take.
    since_ms: u64,
    patience_ms: u64,
    /// Whether its events may be left to itself to send.
    is_trusted: bool,
}

/// A large delta on its way, cut from one snapshot: its end is fixed.
#[derive(Debug)]
pub(crate) struct Transfer<S> {
    chunks: Chunks<S>,
    to: VersionVector,
    points: Points,
    /// The chunks under way, the first of them of index `first`.
    kept: VecDeque<Vec<u8>>,
    first: u64,
    /// The hash of the chunk before them.
    before: u64,
    /// The index of the chunk to send next.
    cursor: u64,
    /// The number of the last that was sent before it: an answer to that is not about this transfer.
    began: u64,
}

impl<S: Crdt> Transfer<S> {
    /// The chunk to send next, and its index. `None` if all are sent.
    fn next(&mut self) -> Option<Result<(u64, Vec<u8>), EncodeError>> {
        let place = self.cursor.saturating_sub(self.first) as usize;
        let index = self.cursor;
        let chunk = match self.kept.get(place) {
            Some(chunk) => chunk.clone(),
            None => match self.chunks.next()? {
                Ok(chunk) => {
                    self.kept.push_back(chunk.clone());
                    chunk
                }
                Err(error) => return Some(Err(error)),
            },
        };
        self.cursor = index.saturating_add(1);
        Some(Ok((index, chunk)))
    }

    /// The peer has gathered the chunk of this index.
    fn confirm(&mut self, index: u64) {
        while self.first <= index {
            let Some(chunk) = self.kept.pop_front() else {
                return;
            };
            self.before = xxh3_64(&chunk);
            self.first = self.first.saturating_add(1);
        }
    }

    /// Goes on where the peer is. Returns whether that is within this transfer.
    fn resume(&mut self, gathered: Gathered) -> bool {
        if gathered.next > self.first {
            let place = gathered.next.saturating_sub(self.first).saturating_sub(1) as usize;
            if self.kept.get(place).is_none_or(|chunk| xxh3_64(chunk) != gathered.last) {
                return false;
            }
            self.confirm(gathered.next.saturating_sub(1));
        }
        let is_here = gathered.next == self.first && (self.first == 0 || self.before == gathered.last);
        if is_here {
            self.cursor = self.first;
        }
        is_here
    }
}

/// What is to be sent now.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) seq: u64,
    pub(crate) points: Points,
    pub(crate) progress: Progress,
    pub(crate) message: Vec<u8>,
}

impl<S: Crdt> Outbound<S> {
    pub(crate) fn new(request: Request, config: &SyncConfig, now_ms: u64) -> Self {
        Self {
            confirmed: request.vector().clone(),
            shipped: request.vector().clone(),
            authors: BTreeMap::new(),
            naming: Some(request),
            seq: 0,
            under_way: VecDeque::new(),
            bytes_under_way: 0,
            transfer: None,
            since_ms: now_ms,
            patience_ms: config.patience_ms,
        }
    }

    /// What the peer is known to hold.
    pub(crate) fn confirmed(&self) -> &VersionVector {
        &self.confirmed
    }

    pub(crate) fn bytes_under_way(&self) -> usize {
        self.bytes_under_way
    }

    /// Takes the transfer that is under way, for the connection after this one to go on with.
    pub(crate) fn suspend(&mut self) -> Option<Transfer<S>> {
        self.transfer.take()
    }

    /// Goes on with a transfer of the connection before this one, if the peer has gathered a part of it.
    pub(crate) fn resume(&mut self, mut transfer: Transfer<S>, gathered: Gathered) {
        if transfer.resume(gathered) {
            transfer.began = self.seq;
            self.transfer = Some(transfer);
        }
    }

    /// The peer said what it holds.
    pub(crate) fn confirm(&mut self, vector: &VersionVector, config: &SyncConfig, now_ms: u64) {
        let is_news = !vector.is_within(&self.confirmed);
        take_up(&mut self.confirmed, vector);
        take_up(&mut self.shipped, vector);
        if is_news {
            self.since_ms = now_ms;
            self.patience_ms = config.patience_ms;
            // A later delta may be confirmed in the place of the last chunk.
            self.transfer.take_if(|transfer| transfer.to.is_within(&self.confirmed));
        }
    }

    /// The peer took a delta or chunk.
    pub(crate) fn acknowledge(&mut self, seq: u64, is_merged: bool, config: &SyncConfig, now_ms: u64) {
        let mut merged = None;
        while let Some(sent) = self.under_way.pop_front_if(|sent| sent.seq <= seq) {
            self.bytes_under_way = self.bytes_under_way.saturating_sub(sent.bytes);
            let is_it = sent.seq == seq;
            match sent.what {
                What::Delta(to) if is_it && is_merged => {
                    // Who has merged it holds the whole transfer before it, whether or not that was acknowledged by itself.
                    let done = self.transfer.take_if(|transfer| sent.after == Some(transfer.began));
                    done.into_iter().for_each(|transfer| self.confirm(&transfer.to, config, now_ms));
                    merged = Some(to);
                }
                What::Chunk(index) if is_it => {
                    self.since_ms = now_ms;
                    let transfer = self.transfer.as_mut().filter(|transfer| transfer.began < seq);
                    let is_any = transfer.map(|transfer| transfer.confirm(index)).is_some();
                    if is_merged && is_any {
                        merged = self.transfer.take().map(|transfer| transfer.to);
                    }
                }
                What::Delta(_) | What::Chunk(_) => {}
            }
        }
        if let Some(to) = merged {
            self.confirm(&to, config, now_ms);
        }
        if self.under_way.is_empty() {
            self.under_way.shrink_to(FEW_UNDER_WAY);
        }
    }

    /// The peer lacks what a delta goes on from: all is sent again that it does not hold, by whomever it came.
    pub(crate) fn restart(
        &mut self,
        pending: Option<Gathered>,
        own: &VersionVector,
        config: &SyncConfig,
        now_ms: u64,
    ) {
        self.naming = None;
        self.authors = own.iter().map(|(id, stamp)| (id, Author::lost(stamp, config, now_ms))).collect();
        let is_resumed = match (&mut self.transfer, pending) {
            (Some(transfer), Some(gathered)) => transfer.resume(gathered),
            _ => false,
        };
        if !is_resumed {
            self.transfer = None;
        }
        self.forget_under_way(now_ms);
    }

    fn forget_under_way(&mut self, now_ms: u64) {
        self.shipped = self.confirmed.clone();
        self.under_way.clear();
        self.bytes_under_way = 0;
        self.since_ms = now_ms;
    }

    /// The clock was set back.
    pub(crate) fn rewind(&mut self, now_ms: u64) {
        self.since_ms = self.since_ms.min(now_ms);
        for author in self.authors.values_mut() {
            author.since_ms = author.since_ms.min(now_ms);
        }
    }

    /// When to look again whether something has to be sent a second time.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let is_waiting = !self.under_way.is_empty() || self.transfer.is_some();
        let late = is_waiting.then(|| self.since_ms.saturating_add(self.patience_ms).saturating_add(1));
        let trusted = self.authors.iter().filter(|(id, author)| self.confirmed.get(id) < author.stamp);
        let trusted = trusted.map(|(_, author)| author.late_ms()).min();
        late.into_iter().chain(trusted).min()
    }

    /// What the peer is to be sent now. `can_send` says whether a replica is a third one that the peer is connected to.
    pub(crate) fn next(
        &mut self,
        shared: &Shared<S>,
        can_send: impl Fn(&ReplicaId) -> bool,
        now_ms: u64,
    ) -> Option<Result<Outgoing, EncodeError>> {
        let config = shared.config();
        if !self.under_way.is_empty() && now_ms > self.since_ms.saturating_add(self.patience_ms) {
            // What was sent is lost, or the peer is slow: it is not helped by more of the same.
            self.patience_ms = self.patience_ms.saturating_mul(2).min(config.patience_ms.saturating_mul(64));
            self.forget_under_way(now_ms);
            if let Some(transfer) = &mut self.transfer {
                transfer.cursor = transfer.first;
            }
        }
        if self.bytes_under_way.max(self.size_under_way()) >= config.window_bytes {
            return None;
        }
        if let Some(chunk) = self.next_chunk(now_ms) {
            return Some(chunk);
        }
        if let Some(to) = self.transfer.as_ref().map(|transfer| transfer.to.clone()) {
            // All of it is under way: what was committed since goes on from it, and does not wait for it to be confirmed.
            self.take_as_shipped(&to);
        }
        let own = shared.told();
        let base = self.base(&own, can_send, config, now_ms);
        if own.is_within(&base) {
            return None;
        }
        let request = self
            .naming
            .as_ref()
            .map_or_else(|| Request::from(base.clone()), |naming| naming.at(base.clone()));
        let delta = shared.answer(&request);
        let (from, to) = (delta.from(), delta.to());
        if delta.is_empty() {
            return None;
        }
        let points = shared.points_between(&from, &to);
        // To write a large one as a whole, only to see that it must be cut, would be work for nothing.
        if !delta.is_complete() && delta.rows_visited() <= config.chunk_bytes / 64 {
            match delta.encode() {
                Ok(message) if message.len() <= config.chunk_bytes => {
                    self.take_as_shipped(&to);
                    let progress = Progress::default();
                    return Some(Ok(self.ship(What::Delta(to), points, progress, message, now_ms)));
                }
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
        }
        if self.transfer.is_some() {
            // One transfer at a time.
            return None;
        }
        let chunks = delta.into_chunks(config.chunk_bytes);
        let (kept, first, before, cursor, began) = (VecDeque::new(), 0, 0, 0, self.seq);
        self.transfer = Some(Transfer { chunks, to, points, kept, first, before, cursor, began });
        self.next_chunk(now_ms)
    }

    /// The next chunk of the transfer that is under way. `None` if there is none, or all of it was sent.
    fn next_chunk(&mut self, now_ms: u64) -> Option<Result<Outgoing, EncodeError>> {
        let transfer = self.transfer.as_mut()?;
        let (index, message) = match transfer.next()? {
            Ok(next) => next,
            Err(error) => return Some(Err(error)),
        };
        let points = if index == 0 { transfer.points.clone() } else { Points::new() };
        let progress = Progress { chunk: index, rows: transfer.chunks.rows_left() as u64 };
        Some(Ok(self.ship(What::Chunk(index), points, progress, message, now_ms)))
    }

    /// All up to there is on its way from here, but what is left to others to send.
    fn take_as_shipped(&mut self, to: &VersionVector) {
        let trusted = self.authors.iter().filter(|(_, author)| author.is_trusted);
        let trusted: Vec<ReplicaId> = trusted.map(|(id, _)| *id).collect();
        for (id, stamp) in to.iter().filter(|(id, _)| !trusted.contains(id)) {
            self.shipped.raise(id, stamp);
        }
    }

    /// What is kept of the deltas under way, at most: where many replicas write, and little each time, a vector is more than
    /// what it is kept for.
    fn size_under_way(&self) -> usize {
        let of_vector = self.shipped.len().saturating_mul(size_of::<(ReplicaId, Timestamp)>());
        // Of the places in a queue half may be free.
        let of_one = of_vector.saturating_add(2 * size_of::<Sent>());
        self.under_way.len().saturating_mul(of_one)
    }

    fn ship(
        &mut self,
        what: What,
        points: Points,
        progress: Progress,
        message: Vec<u8>,
        now_ms: u64,
    ) -> Outgoing {
        if self.under_way.is_empty() {
            self.since_ms = now_ms;
        }
        self.seq = self.seq.saturating_add(1);
        self.bytes_under_way = self.bytes_under_way.saturating_add(message.len());
        let after = self.transfer.as_ref().map(|transfer| transfer.began);
        self.under_way.push_back(Sent { seq: self.seq, bytes: message.len(), what, after });
        Outgoing { seq: self.seq, points, progress, message }
    }

    /// From where on the peer is to be sent what is held here.
    fn base(
        &mut self,
        own: &VersionVector,
        can_send: impl Fn(&ReplicaId) -> bool,
        config: &SyncConfig,
        now_ms: u64,
    ) -> VersionVector {
        self.authors.retain(|id, _| own.get(id) > Timestamp::ZERO);
        let mut is_lost = false;
        for (id, stamp) in own.iter() {
            let can_send = can_send(&id);
            let fresh = || Author { is_trusted: can_send, ..Author::lost(stamp, config, now_ms) };
            let author = self.authors.entry(id).or_insert_with(fresh);
            if self.confirmed.get(&id) >= author.stamp {
                *author = fresh();
                if self.confirmed.get(&id) >= stamp {
                    // There is nothing to send of it, and nothing to wait for.
                    self.authors.remove(&id);
                }
            } else if now_ms >= author.late_ms() {
                author.since_ms = now_ms;
                author.patience_ms = author.patience_ms.saturating_mul(2);
                is_lost |= author.is_trusted;
                author.is_trusted = false;
            } else if author.is_trusted && !can_send {
                is_lost = true;
                author.is_trusted = false;
            }
        }
        if is_lost {
            // What went on from it may be waiting for it over there: that is sent again, too.
            self.shipped = self.confirmed.clone();
        }
        let mut base = self.shipped.clone();
        for (id, _) in self.authors.iter().filter(|(_, author)| author.is_trusted) {
            base.raise(*id, own.get(id));
        }
        base
    }
}

/// Joins a vector to one that is kept. If nothing else is in that it is kept as one with the other.
fn take_up(kept: &mut VersionVector, vector: &VersionVector) {
    if kept.is_within(vector) {
        *kept = vector.clone();
    } else {
        kept.join(vector);
    }
}

impl Author {
    /// One that nobody else is relied on for.
    fn lost(stamp: Timestamp, config: &SyncConfig, now_ms: u64) -> Self {
        Self { stamp, since_ms: now_ms, patience_ms: config.patience_ms, is_trusted: false }
    }

    fn late_ms(&self) -> u64 {
        self.since_ms.saturating_add(self.patience_ms)
    }
}
