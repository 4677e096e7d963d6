//! The steps in which a delta travels.

use driftless::{Delta, MergeError, ReplicaId, Timestamp, VersionVector};

use crate::cluster::{Cluster, Coverage, IDS, equal};
use crate::history::{Part, Route, Since};
use crate::oracle::Live;
use crate::subject::{Subject, show};
use crate::wire;

/// A message under way.
#[derive(Debug)]
pub(super) struct Message<S> {
    pub(super) body: Body<S>,
    from: VersionVector,
    to: VersionVector,
    is_complete: bool,
    since: Since,
    /// Who sent it, and for whom it was made.
    pub(super) ends: (usize, usize),
    /// Whether it arrived where it was to.
    has_arrived: bool,
}

/// What travels.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there are few, in tests")]
pub(super) enum Body<S> {
    Bytes(Vec<u8>),
    Chunks(Vec<Vec<u8>>),
    /// Not a copy: it arrives once.
    Direct(Option<Delta<S>>),
}

impl<S: Subject> Cluster<S> {
    /// All that a replica holds, marks and all.
    pub(super) fn all(&self, at: usize) -> Result<Vec<u8>, String> {
        let delta = self.nodes[at].replica.delta_since(&VersionVector::new());
        delta.encode().map_err(|error| error.to_string())
    }

    /// Compares all that a replica holds with what it held `before`: taken apart, for rows may stand in another order.
    pub(super) fn check_unchanged(
        &self,
        when: &str,
        at: usize,
        before: Option<Vec<u8>>,
    ) -> Result<(), String> {
        let (before, after) = (before.ok_or("what was held is not known")?, self.all(at)?);
        if before == after {
            return Ok(());
        }
        let read = |bytes: &[u8]| wire::Message::read::<S>(bytes, &IDS);
        equal(&format!("what is held {when}"), &read(&after)?, &read(&before)?)
    }

    /// What `to` lacks goes there at once.
    pub(super) fn sync(&mut self, (from, to): (usize, usize), route: Route) -> Result<(), String> {
        self.send((from, to), route, Since::Asked)?;
        self.deliver(self.messages.len() - 1, to, Part::First, usize::MAX)
    }

    pub(super) fn send(
        &mut self,
        (from, to): (usize, usize),
        route: Route,
        since: Since,
    ) -> Result<(), String> {
        let vector = match since {
            Since::Asked | Since::Stale => self.nodes[to].replica.vector(),
            Since::Believed => self.believed.get(&(from, to)).cloned().unwrap_or_default(),
            Since::Nothing => VersionVector::new(),
        };
        let snapshots = self.snapshots.len();
        let snapshot = self.snapshots.get(from % snapshots.max(1)).filter(|_| since == Since::Stale);
        let (delta, sender) = match snapshot {
            Some(held) => (held.snapshot.delta_since(&vector), &held.vector),
            None => (self.nodes[from].replica.delta_since(&vector), &self.nodes[from].vector),
        };
        let since = if snapshot.is_none() && since == Since::Stale { Since::Asked } else { since };
        let (start, end, is_complete) = (delta.from(), delta.to(), delta.is_complete());
        let sender = sender.clone();
        self.means("where a delta leads", &end, &sender)?;
        self.coverage.sent_without += usize::from(end.len() < sender.len());
        let Coverage { evictions, joins, restarts, closings, .. } = self.coverage;
        let is_closed = evictions + joins + restarts + closings == 0;
        if is_complete && since == Since::Asked && is_closed {
            return Err(format!("a member at {vector:?} is sent everything"));
        }
        let mut expected = vector;
        expected.meet(&sender);
        // Of closed ids the sender may know more than the vector says, or less than it means.
        let is_open = |(id, _): &(ReplicaId, Timestamp)| !self.closed.contains(id);
        let open = |vector: &VersionVector| vector.iter().filter(is_open).collect::<VersionVector>();
        if !is_complete {
            equal("from where a delta goes on", &open(&start), &open(&expected))?;
        }
        if is_complete {
            equal("what a complete delta names", &end, &sender)?;
        }
        if !is_complete && start == end {
            equal("whether there is nothing in a delta", &delta.is_empty(), &true)?;
        }
        let failed = |error: driftless::EncodeError| error.to_string();
        let body = match route {
            Route::Message => {
                let bytes = delta.encode().map_err(failed)?;
                self.check_message(&bytes, (&start, &end), &sender, is_complete)?;
                Body::Bytes(bytes)
            }
            Route::Chunks(bytes) => {
                let chunks = delta.into_chunks(bytes.into()).collect::<Result<_, _>>();
                Body::Chunks(chunks.map_err(failed)?)
            }
            Route::Direct => Body::Direct(Some(delta)),
        };
        let what = if is_complete { "all" } else { "a delta" };
        self.note(format!(
            "message {}: {what} of {from} for {to}, {route:?}, {since:?}",
            self.messages.len()
        ));
        self.believed.entry((from, to)).or_default().join(&end);
        let ends = (from, to);
        self.messages.push(Message {
            body,
            from: start,
            to: end,
            is_complete,
            since,
            ends,
            has_arrived: false,
        });
        Ok(())
    }

    /// A message holds all that it must, and nothing that is held where it goes on from.
    fn check_message(
        &mut self,
        bytes: &[u8],
        (start, end): (&VersionVector, &VersionVector),
        sender: &VersionVector,
        is_complete: bool,
    ) -> Result<(), String> {
        let message = wire::Message::read::<S>(bytes, &IDS)?;
        // Closed ids that the state names are in the table.
        self.means("where a message leads", &message.to, sender)?;
        let named: VersionVector =
            message.to.iter().filter(|(id, _)| end.get(id) > Timestamp::ZERO).collect();
        equal("where a message leads", &named, end)?;
        self.coverage.named_for_the_state += usize::from(message.to != *end);
        let start = &if is_complete { start.clone() } else { self.with_implied(start, end, sender) };
        let named: VersionVector =
            start.iter().filter(|(id, _)| message.to.get(id) > Timestamp::ZERO).collect();
        equal("where a message goes on from", &message.from, &named)?;
        let end = sender;
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

    /// Where a delta goes on from, with the closed ids that it leaves out because all of them is held there.
    fn with_implied(
        &self,
        start: &VersionVector,
        end: &VersionVector,
        sender: &VersionVector,
    ) -> VersionVector {
        let implied =
            sender.iter().filter(|(id, _)| self.closed.contains(id) && end.get(id) == Timestamp::ZERO);
        start.iter().chain(implied).collect()
    }

    /// The number of a message that is counted back from the last.
    pub(super) fn number(&self, back: u8) -> Option<usize> {
        let count = self.messages.len();
        count.checked_sub(1 + usize::from(back) % count.max(1))
    }

    pub(super) fn lose(&mut self, number: Option<usize>) {
        let Some((number, lost)) = number.and_then(|number| Some((number, self.messages.get_mut(number)?)))
        else {
            return;
        };
        // It keeps its number, so that others keep theirs.
        lost.body = Body::Direct(None);
        self.coverage.lost += 1;
        self.note(format!("message {number} is lost"));
    }

    /// The messages that were ever made and not lost, but for those in chunks.
    pub fn sent(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.messages.iter().filter_map(|message| match &message.body {
            Body::Bytes(bytes) => Some(bytes),
            Body::Chunks(_) | Body::Direct(_) => None,
        })
    }

    /// A message arrives: at the one it was made for, or elsewhere.
    pub(super) fn arrive(
        &mut self,
        back: u8,
        elsewhere: Option<usize>,
        part: Part,
        chunks: usize,
    ) -> Result<(), String> {
        let Some(number) = self.number(back) else {
            return Ok(());
        };
        let (from, to) = self.messages[number].ends;
        if elsewhere.is_none() {
            let is_between = |message: &Message<S>| message.ends == (from, to) && message.has_arrived;
            self.coverage.overtaken += usize::from(self.messages[number + 1..].iter().any(is_between));
        }
        self.deliver(number, elsewhere.unwrap_or(to), part, chunks)
    }

    pub(super) fn deliver(
        &mut self,
        number: usize,
        to: usize,
        part: Part,
        chunks: usize,
    ) -> Result<(), String> {
        let delta = match &mut self.messages[number].body {
            Body::Bytes(bytes) => self.nodes[to].replica.decode(bytes).map(Some),
            Body::Chunks(_) => return self.deliver_chunks(number, to, part, chunks),
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

    /// Merges what has arrived. The oracle says what must come of it.
    pub(super) fn merge(
        &mut self,
        number: usize,
        at: usize,
        delta: Result<Delta<S>, MergeError>,
    ) -> Result<(), String> {
        let message = &self.messages[number];
        let (end, is_complete) = (message.to.clone(), message.is_complete);
        let own = self.nodes[at].vector.clone();
        let fits = is_complete || message.from.is_within(&own);
        let is_too_far = self.is_too_far(at, &end);
        let is_news = !end.is_within(&own);
        let changes = fits && !is_too_far && is_news;
        let before = if changes { None } else { Some(self.all(at)?) };
        let replica = &mut self.nodes[at].replica;
        let merged = delta.and_then(|delta| replica.merge(self.wall_ms, delta));
        let outcome = merged.as_ref().map(|merged| merged.is_news).map_err(|error| format!("{error}"));
        self.note(format!("{at} merges message {number}: {outcome:?}"));
        match &merged {
            Ok(merged) if fits && !is_too_far => {
                equal("whether it is news", &merged.is_news, &is_news)?;
                self.coverage.conflicts += usize::from(merged.conflicts > 0);
            }
            Err(MergeError::Gap { vector }) if !fits => self.means("what to ask for", vector, &own)?,
            Err(MergeError::TooFarAhead { .. }) if is_too_far => {}
            other => {
                return Err(format!("{at} was sent what fits: {fits}, too far: {is_too_far}: {other:?}"));
            }
        }
        if changes {
            self.count_merge(number, at);
            let node = &mut self.nodes[at];
            node.vector.join(&end);
            node.last = node.last.max(end.newest());
            self.touch(at, |transfer| transfer.is_interleaved = true);
        } else {
            self.check_unchanged("after what is no news, or refused", at, before)?;
            self.count_refusal(number, at, merged.err());
        }
        let message = &mut self.messages[number];
        message.has_arrived |= message.ends.1 == at;
        self.check(at)
    }

    fn count_merge(&mut self, number: usize, at: usize) {
        let Message { ends: (from, to), since, is_complete, to: end, .. } = &self.messages[number];
        let node = &self.nodes[at];
        let id = |at: usize| self.nodes[at].replica.id();
        let own_dot = |stamp: VersionVector| stamp.get(&id(at));
        let has_more = !node.vector.is_within(end);
        let has_own = own_dot(node.vector.clone()) > own_dot(end.clone());
        let is_return = self.is_evicted(*from, at) && end.get(&id(*from)) > node.vector.get(&id(*from));
        let own_before = self.own_live(at, &node.vector, *is_complete);
        let mut vector = node.vector.clone();
        vector.join(end);
        let own_after = self.own_live(at, &vector, *is_complete);
        let complete = usize::from(*is_complete);
        let coverage = &mut self.coverage;
        coverage.merged += 1;
        coverage.complete += complete;
        coverage.complete_into_more += complete * usize::from(has_more);
        coverage.complete_beside_own += complete * usize::from(has_own);
        coverage.complete_without_own += usize::from(own_after < own_before);
        coverage.complete_for_joiner += complete * usize::from(node.is_joiner);
        coverage.stale += usize::from(*since == Since::Stale);
        coverage.believed += usize::from(*since == Since::Believed);
        coverage.misdirected += usize::from(*to != at);
        coverage.returns += usize::from(is_return);
    }

    /// How many places hold something live of a replica's own, for who has seen what is within `vector`.
    fn own_live(&self, at: usize, vector: &VersionVector, is_asked: bool) -> usize {
        let live = if is_asked { self.oracle.live(vector) } else { Live::new() };
        let id = self.nodes[at].replica.id();
        live.values().filter(|entries| entries.iter().any(|entry| entry.author == id)).count()
    }

    fn count_refusal(&mut self, number: usize, at: usize, error: Option<MergeError>) {
        let Message { ends: (from, to), since, .. } = self.messages[number];
        match error {
            None => self.coverage.repeats += 1,
            Some(MergeError::Gap { vector }) => {
                self.coverage.gaps += 1;
                self.coverage.believed_too_much += usize::from(since == Since::Believed && to == at);
                if to == at {
                    // The receiver said what it holds.
                    self.believed.insert((from, to), vector);
                }
            }
            Some(_) => self.coverage.too_far_ahead += 1,
        }
    }
}
