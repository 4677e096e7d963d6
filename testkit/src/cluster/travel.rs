//! The steps in which a delta travels.

use driftless::{Delta, MergeError, PendingDelta, VersionVector};

use crate::cluster::step::full_state;
use crate::cluster::{Cluster, IDS, equal};
use crate::history::Route;
use crate::subject::{Subject, show};
use crate::wire;

/// So many of the last messages are still under way.
const RECENT: usize = 12;

/// A message under way.
#[derive(Debug)]
pub(super) struct Message<S> {
    body: Body<S>,
    from: VersionVector,
    to: VersionVector,
    is_complete: bool,
    is_stale: bool,
    /// Who sent it, and for whom it was made.
    ends: (usize, usize),
}

/// What travels.
#[derive(Debug)]
enum Body<S> {
    Bytes(Vec<u8>),
    Chunks(Vec<Vec<u8>>),
    /// Not a copy: it arrives once.
    Direct(Option<Delta<S>>),
}

/// A message in chunks that has arrived in part.
#[derive(Debug)]
pub(super) struct Transfer<S> {
    message: usize,
    at: usize,
    pending: PendingDelta<S>,
    next: usize,
    /// Whether the receiver did something else in between.
    is_interleaved: bool,
}

impl<S: Subject> Cluster<S> {
    /// What `to` lacks goes there at once.
    pub(super) fn sync(&mut self, from: usize, to: usize, route: Route) -> Result<(), String> {
        self.send(from, to, route, false)?;
        self.deliver(self.messages.len() - 1, to, usize::MAX)
    }

    pub(super) fn send(
        &mut self,
        from: usize,
        to: usize,
        route: Route,
        is_stale: bool,
    ) -> Result<(), String> {
        let receiver = self.nodes[to].vector.clone();
        let snapshot = self.snapshots.get(from % self.snapshots.len().max(1)).filter(|_| is_stale);
        let is_stale = snapshot.is_some();
        let (delta, sender) = match snapshot {
            Some(held) => (held.snapshot.delta_since(&receiver), &held.vector),
            None => (self.nodes[from].replica.delta_since(&receiver), &self.nodes[from].vector),
        };
        let (start, end, is_complete) = (delta.from(), delta.to(), delta.is_complete());
        equal("where a delta leads", &end, sender)?;
        if is_complete && !is_stale && self.coverage.evictions == 0 && self.coverage.joins == 0 {
            return Err(format!("a member at {receiver:?} is sent everything"));
        }
        let mut expected = receiver;
        expected.meet(sender);
        if !is_complete {
            equal("from where a delta goes on", &start, &expected)?;
        }
        if !is_complete && start == end {
            equal("whether there is nothing in a delta", &delta.is_empty(), &true)?;
        }
        let failed = |error: driftless::EncodeError| error.to_string();
        let body = match route {
            Route::Message => {
                let bytes = delta.encode().map_err(failed)?;
                self.check_message(&bytes, &start, &end, is_complete)?;
                Body::Bytes(bytes)
            }
            Route::Chunks(bytes) => {
                Body::Chunks(delta.into_chunks(bytes).collect::<Result<_, _>>().map_err(failed)?)
            }
            Route::Direct => Body::Direct(Some(delta)),
        };
        let what = if is_complete { "all" } else { "a delta" };
        self.note(format!("message {}: {what} of {from} for {to}, {route:?}", self.messages.len()));
        self.messages.push(Message { body, from: start, to: end, is_complete, is_stale, ends: (from, to) });
        Ok(())
    }

    /// A message holds all that it must, and nothing that is held where it goes on from.
    fn check_message(
        &self,
        bytes: &[u8],
        start: &VersionVector,
        end: &VersionVector,
        is_complete: bool,
    ) -> Result<(), String> {
        let message = wire::Message::read::<S>(bytes, &IDS)?;
        equal("where a message goes on from", &message.from, start)?;
        equal("where a message leads", &message.to, end)?;
        equal("whether a message is complete", &message.cut.is_some(), &is_complete)?;
        for (place, entries) in self.oracle.live(end) {
            let part = message.parts.get(&place);
            for entry in entries {
                let dot = (entry.author, entry.stamp);
                let is_there = part.is_some_and(|part| part.live.contains_key(&dot));
                if !is_there && (is_complete || entry.stamp > start.get(&entry.author)) {
                    return Err(format!("a message from {start:?} lacks {entry:?} at {}", show(&place)));
                }
            }
        }
        let is_news = |(id, stamp): &wire::Dot| *stamp > start.get(id);
        for (place, part) in message.parts.iter().filter(|_| !is_complete) {
            let is_below_news = (0..=place.len()).any(|len| {
                let above = message.parts.get(&place[..len]);
                above.is_some_and(|above| above.floor.iter().any(is_news))
            });
            if !is_below_news && !part.live.keys().chain(&part.marks).any(is_news) {
                return Err(format!("a message from {start:?} holds at {} no news: {part:?}", show(place)));
            }
        }
        Ok(())
    }

    pub(super) fn lose(&mut self, message: usize) {
        let count = self.messages.len();
        let Some(lost) = self.messages.get_mut(message % count.max(1)) else {
            return;
        };
        // It keeps its number, so that transfers of others keep theirs.
        lost.body = Body::Direct(None);
        self.coverage.lost += 1;
        self.note(format!("message {} is lost", message % count));
    }

    /// The messages that were ever made and not lost, but for those in chunks.
    pub fn sent(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.messages.iter().filter_map(|message| match &message.body {
            Body::Bytes(bytes) => Some(bytes),
            Body::Chunks(_) | Body::Direct(_) => None,
        })
    }

    /// One of the last messages arrives: at the one it was made for, or elsewhere.
    pub(super) fn arrive(
        &mut self,
        message: usize,
        elsewhere: Option<usize>,
        chunks: usize,
    ) -> Result<(), String> {
        let count = self.messages.len();
        let Some(number) = count.checked_sub(1 + message % count.clamp(1, RECENT)) else {
            return Ok(());
        };
        let to = elsewhere.unwrap_or(self.messages[number].ends.1);
        self.deliver(number, to, chunks)
    }

    fn deliver(&mut self, number: usize, to: usize, chunks: usize) -> Result<(), String> {
        let Some(message) = self.messages.get_mut(number) else {
            return Ok(());
        };
        let delta = match &mut message.body {
            Body::Bytes(bytes) => self.nodes[to].replica.decode(bytes).map(Some),
            Body::Chunks(_) => return self.deliver_chunks(number, to, chunks),
            Body::Direct(delta) => {
                self.coverage.direct += usize::from(delta.is_some());
                Ok(delta.take())
            }
        };
        match delta {
            Ok(None) => Ok(()),
            Ok(Some(delta)) => self.merge(number, to, Ok(delta)),
            Err(error) => self.merge(number, to, Err(error)),
        }
    }

    /// The next chunks arrive; what arrived before is kept beside the state.
    fn deliver_chunks(&mut self, number: usize, at: usize, chunks: usize) -> Result<(), String> {
        let place = self.transfers.iter().position(|other| other.message == number && other.at == at);
        let mut transfer = place.map(|place| self.transfers.swap_remove(place)).unwrap_or_else(|| {
            let pending = PendingDelta::new(&self.nodes[at].replica.config().limits);
            Transfer { message: number, at, pending, next: 0, is_interleaved: false }
        });
        let Some(Body::Chunks(parts)) = self.messages.get(number).map(|message| &message.body) else {
            return Ok(());
        };
        let count = parts.len();
        let range = transfer.next..transfer.next.saturating_add(chunks).min(count);
        let mut whole = None;
        for bytes in &parts[range.clone()] {
            let part = match self.nodes[at].replica.decode(bytes) {
                Ok(part) => part,
                Err(error) => return self.merge(number, at, Err(error)),
            };
            whole = transfer.pending.push(part).map_err(|error| format!("a chunk: {error:?}"))?;
        }
        if let Some(delta) = whole {
            self.coverage.chunked += usize::from(count > 1);
            self.coverage.interleaved += usize::from(transfer.is_interleaved);
            return self.merge(number, at, Ok(delta));
        }
        self.note(format!("chunks {range:?} of message {number} arrive at {at}"));
        self.transfers.push(Transfer { next: range.end, ..transfer });
        equal("the vector during a transfer", &self.nodes[at].replica.vector(), &self.nodes[at].vector)
    }

    /// Takes note that a replica did something, for the transfers that are under way to it.
    pub(super) fn touch(&mut self, at: usize) {
        for transfer in self.transfers.iter_mut().filter(|transfer| transfer.at == at) {
            transfer.is_interleaved = true;
        }
    }

    /// Merges what has arrived. The oracle says what must come of it.
    fn merge(&mut self, number: usize, at: usize, delta: Result<Delta<S>, MergeError>) -> Result<(), String> {
        let message = &self.messages[number];
        let (sent_by, made_for) = message.ends;
        let (end, is_complete) = (message.to.clone(), message.is_complete);
        let (is_stale, is_misdirected) = (message.is_stale, made_for != at);
        let own = self.nodes[at].vector.clone();
        let fits = is_complete || message.from.is_within(&own);
        let is_too_far = self.is_too_far(at, &end);
        let replica = &mut self.nodes[at].replica;
        let before = (replica.digest(), replica.vector(), full_state(replica)?);
        let merged = delta.and_then(|delta| replica.merge(self.wall_ms, delta));
        let outcome = merged.as_ref().map(|merged| merged.is_news).map_err(|error| format!("{error}"));
        self.note(format!("{at} merges message {number}: {outcome:?}"));
        let replica = &mut self.nodes[at].replica;
        match &merged {
            Ok(merged) if fits && !is_too_far => {
                equal("whether it is news", &merged.is_news, &!end.is_within(&own))?;
                self.coverage.conflicts += usize::from(merged.conflicts > 0);
            }
            Err(MergeError::Gap { vector }) if !fits => equal("what to ask for", vector, &own)?,
            Err(MergeError::TooFarAhead { .. }) if is_too_far => {}
            other => {
                return Err(format!("{at} was sent what fits: {fits}, too far: {is_too_far}: {other:?}"));
            }
        }
        match &merged {
            Ok(merged) if merged.is_news => {
                self.coverage.merged += 1;
                self.coverage.complete += usize::from(is_complete);
                self.coverage.complete_into_more += usize::from(is_complete && !own.is_within(&end));
                self.coverage.stale += usize::from(is_stale);
                self.coverage.misdirected += usize::from(is_misdirected);
                let wrote_alone = end.get(&self.nodes[sent_by].replica.id());
                let is_return =
                    self.is_evicted(sent_by, at) && wrote_alone > own.get(&self.nodes[sent_by].replica.id());
                self.coverage.returns += usize::from(is_return);
                let node = &mut self.nodes[at];
                node.vector.join(&end);
                node.last = node.last.max(end.newest());
                self.touch(at);
            }
            other => {
                let after = (replica.digest(), replica.vector(), full_state(replica)?);
                equal("what is held after what is no news, or refused", &after, &before)?;
                match other {
                    Ok(_) => self.coverage.repeats += 1,
                    Err(MergeError::Gap { .. }) => self.coverage.gaps += 1,
                    Err(_) => self.coverage.too_far_ahead += 1,
                }
            }
        }
        self.check(at)
    }
}
