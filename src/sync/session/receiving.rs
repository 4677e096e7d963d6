//! What comes in.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::causal::id::ReplicaId;
use crate::causal::vector::VersionVector;
use crate::clock::Timestamp;
use crate::crdt::Crdt;
use crate::delta::Delta;
use crate::delta::pending::PendingError;
use crate::replica::error::MergeError;
use crate::sync::error::SyncError;
use crate::sync::event::SyncEvent;
use crate::sync::frame::{Beat, Frame, Hello, Points, Progress, Refusal, Told};
use crate::sync::inbound::{Incoming, Label, Parked};
use crate::sync::points::MOST_STABLE;
use crate::sync::session::greeting::ahead;
use crate::sync::session::{MOST_ANSWERS, Session, State};
use crate::sync::shared::{Shared, hash_of, hear};

impl<S: Crdt> Session<S> {
    pub(crate) fn receive(
        &mut self,
        shared: &mut Shared<S>,
        now_ms: u64,
        bytes: &[u8],
        is_known_elsewhere: impl Fn(&Hello) -> bool,
    ) -> Result<(), SyncError> {
        let Some(frame) = Frame::read(bytes, self.seal())? else {
            return Ok(());
        };
        // Who asks again and again, and takes no answer, is owed the latest.
        let surplus = self.answers.len().saturating_sub(MOST_ANSWERS);
        self.answers.drain(..surplus);
        self.idle_at = 0;
        match frame {
            Frame::Hello(hello) => {
                // It may be of another peer than the one before.
                self.report_held(shared, now_ms);
                return self.greeted(shared, now_ms, *hello, is_known_elsewhere);
            }
            Frame::Refuse(refusal) => return self.refused(shared, now_ms, refusal),
            _ => {}
        }
        if self.peer.is_none() || self.state == State::Refused {
            // Before the hello that it comes after.
            return Ok(());
        }
        self.heard_ms = now_ms;
        if self.is_reader() {
            self.look_at_reader(shared);
            match &frame {
                Frame::Delta { .. } if !std::mem::replace(&mut self.has_tried, true) => {
                    shared.events.push_back(SyncEvent::MayNotWrite { link: self.link });
                }
                // It holds commits of ours, and asks whether all of them are.
                Frame::Points(told)
                    if told.is_all
                        && told.id == shared.replica.id()
                        && shared.replica.check_commit_points(&told.points).is_ok() =>
                {
                    self.vouch(shared, &told.points);
                }
                _ => {}
            }
            if self.state == State::Refused
                || matches!(frame, Frame::Delta { .. } | Frame::Points(_) | Frame::Audit(_))
            {
                return Ok(());
            }
        }
        match frame {
            Frame::Delta { seq, points, progress, message } => {
                self.delta_came(shared, now_ms, seq, points, progress, message)
            }
            Frame::Ack { seq, is_merged } => {
                // What it holds is known by that, but not what it had written by then: so that does not count for forgetting.
                if let Some(outbound) = &mut self.outbound {
                    outbound.acknowledge(seq, is_merged, shared.config(), now_ms);
                }
                shared.version += 1;
                Ok(())
            }
            Frame::Gap { request, pending } => {
                self.vector_came(shared, now_ms, request.vector())?;
                let own = shared.told();
                if let Some(outbound) = &mut self.outbound {
                    outbound.restart(pending, &own, shared.config(), now_ms);
                }
                Ok(())
            }
            Frame::Beat(beat) => self.beat_came(shared, now_ms, *beat),
            Frame::AskPoints { id } => {
                // Of a transfer that has not come to its end some commits are known, and not held.
                let seen = shared.replica.seen(&id);
                let known = shared.ledger.of(&id).iter().copied();
                let mut points: Vec<Timestamp> = known.filter(|point| *point <= seen).collect();
                if id == shared.replica.id() {
                    // What was committed before there was an endpoint, too.
                    let own = shared.replica.commit_points(Timestamp::ZERO, Timestamp::MAX);
                    let before = own.len().saturating_sub(MOST_STABLE);
                    points.extend(own.skip(before));
                }
                points.push(shared.replica.seen(&id));
                self.answers.push(Frame::Points(Told { id, points, is_all: true }));
                Ok(())
            }
            Frame::Points(told) => {
                let is_ours = told.id == shared.replica.id();
                let is_claim = self.peer.as_ref().is_some_and(|peer| peer.id == told.id);
                if is_ours && let Err(error) = shared.replica.check_commit_points(&told.points) {
                    shared.doubt_if(&error, is_claim);
                }
                if shared.doubt.is_none() && is_ours && told.is_all {
                    self.vouch(shared, &told.points);
                } else if is_claim && !is_ours && !told.is_all {
                    self.vouched = told.points.iter().copied().max().unwrap_or_default();
                }
                if let Some(doubt) = shared.doubt.as_mut().filter(|_| is_ours) {
                    doubt.learn(told.points, is_claim);
                    // The newest alone may all be of the other copy.
                    let is_news = told.is_all && !std::mem::replace(&mut doubt.is_answered, true);
                    if is_news {
                        let (link, id, stamp) = (self.link, told.id, doubt.stamp);
                        shared.events.push_back(SyncEvent::IdInDoubt { link, id, stamp });
                    }
                }
                Ok(())
            }
            // Who waits to be let in is shown no rows, and says nothing of ours.
            Frame::Audit(_) if self.state != State::Open => Ok(()),
            Frame::Audit(audit) => {
                let peer = self.peer.as_ref().and_then(|peer| shared.told.get(&peer.id));
                let told = peer.cloned().unwrap_or_default();
                self.audit.receive(shared, now_ms, self.link, &told, audit, &mut self.answers)
            }
            Frame::Hello(_) | Frame::Refuse(_) => Ok(()),
        }
    }

    /// The peer said what it holds. What cannot be true of it confirms nothing.
    pub(super) fn vector_came(
        &mut self,
        shared: &mut Shared<S>,
        now_ms: u64,
        vector: &VersionVector,
    ) -> Result<(), SyncError> {
        let Some(peer) = &self.peer else {
            return Ok(());
        };
        let id = peer.id;
        if self.is_reader() {
            // What a reader says to hold is for what is sent to it, and for nothing else.
            hear(&mut self.reads, vector);
            if let Some(outbound) = &mut self.outbound {
                outbound.confirm(vector, shared.config(), now_ms);
            }
            return Ok(());
        }
        match shared.report(now_ms, id, vector) {
            Err(MergeError::NotIssued { .. }) => return Ok(()),
            Err(MergeError::TooFarAhead { id: ahead, stamp, bound_ms }) => {
                self.came_from_ahead(shared, now_ms, ahead, stamp);
                // Of the others it may hold what it says.
                let own = shared.replica.id();
                let is_credible = |(id, stamp): &(ReplicaId, Timestamp)| {
                    *id == own || stamp.millis() <= bound_ms || *stamp <= shared.replica.seen(id)
                };
                let credible = vector.iter().filter(is_credible).collect();
                return self.vector_came(shared, now_ms, &credible);
            }
            Err(error) => return Err(error.into()),
            Ok(()) => {}
        }
        let vector = shared.kept_once(vector);
        shared.hear(id, &vector);
        if let Some(outbound) = &mut self.outbound {
            outbound.confirm(&vector, shared.config(), now_ms);
        }
        Ok(())
    }

    /// The peer says what it was told that we held, and may have forgotten for us. If we do not, we are not who said so, or were
    /// rolled back since.
    pub(super) fn look_at_lost(&self, shared: &mut Shared<S>, echo: u64, lost: &VersionVector) {
        // If it is not said to us as we are now, it is of who we were.
        if echo == self.nonce && !shared.replica.covers(lost) {
            shared.doubt_as(lost.newest());
        }
    }

    /// A stamp came in that is too far ahead.
    fn came_from_ahead(&mut self, shared: &mut Shared<S>, now_ms: u64, ahead: ReplicaId, stamp: Timestamp) {
        let by_ms = stamp.millis().saturating_sub(now_ms);
        if self.state == State::Open && self.ahead != Some(ahead) {
            self.ahead = Some(ahead);
            shared.events.push_back(SyncEvent::ClocksApart { link: self.link, ahead, by_ms });
        }
    }

    fn beat_came(&mut self, shared: &mut Shared<S>, now_ms: u64, beat: Beat) -> Result<(), SyncError> {
        let Some(peer) = &mut self.peer else {
            return Ok(());
        };
        peer.ahead_ms = ahead(beat.now_ms, now_ms);
        if let Some(peers) = beat.peers {
            peer.peers = peers;
        }
        let id = peer.id;
        let peer_id = id;
        self.told.is_asked |= beat.asks;
        self.look_at_clocks(shared, now_ms);
        if let Some(vector) = &beat.news {
            self.vector_came(shared, now_ms, vector)?;
            shared.version += 1;
        }
        let told = if self.is_reader() { Some(&self.reads) } else { shared.told.get(&id) };
        let Some(told) = told else {
            self.told.asks = true;
            return Ok(());
        };
        if hash_of(told) != beat.vector {
            // What was said before was lost.
            self.told.asks = true;
            return Ok(());
        }
        if self.is_reader() {
            return Ok(());
        }
        if let Some(table) = beat.table {
            let base = told.clone();
            for (id, differences) in table {
                let differing: BTreeSet<ReplicaId> = differences.iter().map(|(id, _)| *id).collect();
                let alike = base.iter().filter(|(id, _)| !differing.contains(id));
                let vector: VersionVector = alike.chain(differences).collect();
                // Who told it to the peer is not the peer, and may be told otherwise soon.
                if let Err(error @ MergeError::TooManyReplicas { .. }) = shared.report(now_ms, id, &vector) {
                    return Err(error.into());
                }
            }
            shared.version += 1;
        }
        let begins = shared.replica.id() < peer_id && self.state == State::Open;
        let told = shared.told.get(&id).cloned().unwrap_or_default();
        // More was forgotten for it than it says to hold: if it does not, it has to be told before it writes more.
        self.is_hello_due |= !self.lost(shared).is_empty();
        self.audit.beat(shared, begins, now_ms, &told, &mut self.answers);
        Ok(())
    }

    fn delta_came(
        &mut self,
        shared: &mut Shared<S>,
        now_ms: u64,
        seq: u64,
        points: Points,
        progress: Progress,
        message: &[u8],
    ) -> Result<(), SyncError> {
        if self.state != State::Open || shared.doubt.is_some() {
            return Ok(());
        }
        let bytes = message.len().saturating_add(size_of_points(&points));
        let next = self.inbound.next_chunk();
        self.take(
            shared,
            now_ms,
            Label { since_ms: now_ms, seq, points, is_led_over: progress.chunk == 0, progress, bytes },
            message.into(),
        )?;
        if self.inbound.next_chunk() != next && self.inbound.is_any_parked() {
            // Chunks that overtook this one.
            self.take_parked(shared, now_ms);
        }
        Ok(())
    }

    /// Takes up a message, or keeps it if it cannot be read yet.
    fn take(
        &mut self,
        shared: &mut Shared<S>,
        now_ms: u64,
        label: Label,
        message: Cow<'_, [u8]>,
    ) -> Result<(), SyncError> {
        if label.progress.chunk > self.inbound.next_chunk() {
            // It overtook the one before it, or that is lost.
            if !self.inbound.is_done(label.seq) {
                let what = Incoming::Message(message.into_owned());
                self.inbound.park(Parked { label, what }, now_ms, shared.merges, shared.config());
            }
            return Ok(());
        }
        match shared.replica.decode(&message) {
            // It names an id or a key in short form that what comes before it brings.
            Err(MergeError::Gap { .. }) => {
                let what = Incoming::Unread(message.into_owned());
                self.inbound.park(Parked { label, what }, now_ms, shared.merges, shared.config());
                Ok(())
            }
            decoded => self.gather(shared, now_ms, label, decoded?),
        }
    }

    /// Gathers a chunk; takes a delta that is whole.
    fn gather(
        &mut self,
        shared: &mut Shared<S>,
        now_ms: u64,
        label: Label,
        delta: Delta<S>,
    ) -> Result<(), SyncError> {
        if !delta.is_chunk() {
            return self.take_whole(shared, now_ms, label, delta);
        }
        let Label { seq, progress, .. } = label;
        if progress.chunk == 0 {
            let to = delta.to();
            if self.is_of_a_copy(shared, &delta, &to, Some(&label.points)) {
                return Ok(());
            }
            // They come with the first chunk alone, and are true whether or not the others come.
            let news = shared.news_in(&to);
            shared.note_points(&label.points, &news);
            (self.rows, self.points) = (0, Some(label.points.clone()));
        }
        self.rows = self.rows.max(progress.rows.saturating_add(delta.state.row_count() as u64));
        match self.inbound.pending.push(delta) {
            Ok(Some(whole)) => {
                let points = self.points.take();
                let is_led_over = points.is_some();
                let label = Label { points: points.unwrap_or_default(), is_led_over, ..label };
                self.take_whole(shared, now_ms, label, whole)
            }
            Ok(None) => {
                self.inbound.acknowledge(seq, false);
                if progress.rows > 0 {
                    let (rows, of) = (self.rows.saturating_sub(progress.rows), self.rows);
                    shared.events.push_back(SyncEvent::Progress { link: self.link, rows, of });
                }
                Ok(())
            }
            // Once more: it is gathered.
            Err(PendingError::OutOfOrder { expected, found }) if found < expected => {
                self.inbound.acknowledge(seq, false);
                Ok(())
            }
            // It is of another transfer: the sender goes on from what is gathered.
            Err(_) => {
                self.inbound.miss(now_ms, shared.merges, shared.config());
                Ok(())
            }
        }
    }

    /// Merges a delta, or keeps it if it goes on from what has not come yet.
    fn take_whole(
        &mut self,
        shared: &mut Shared<S>,
        now_ms: u64,
        label: Label,
        delta: Delta<S>,
    ) -> Result<(), SyncError> {
        if delta.leaves_gap(|id| shared.replica.seen(id)) {
            let what = Incoming::Whole(delta);
            self.inbound.park(Parked { label, what }, now_ms, shared.merges, shared.config());
            return Ok(());
        }
        let Label { seq, points, is_led_over, .. } = label;
        let to = delta.to();
        if self.is_of_a_copy(shared, &delta, &to, is_led_over.then_some(&points)) {
            return Ok(());
        }
        let news = shared.news_in(&to);
        let merged = match shared.replica.merge(now_ms, delta) {
            Ok(merged) => merged,
            Err(error @ MergeError::NotIssued { .. }) => {
                shared.doubt_if(&error, false);
                return Ok(());
            }
            Err(MergeError::TooFarAhead { id, stamp, .. }) => {
                self.inbound.is_refused = true;
                self.came_from_ahead(shared, now_ms, id, stamp);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        self.ahead = None;
        self.inbound.is_refused = false;
        self.inbound.acknowledge(seq, true);
        shared.note_points(&points, &news);
        shared.note_last(&news);
        if let Some(outbound) = &mut self.outbound {
            outbound.confirm(&to, shared.config(), now_ms);
        }
        if merged.is_system_news {
            shared.look_at_roster();
        }
        if merged.is_news {
            let (conflicts, changes) = (merged.conflicts, merged.changes);
            shared.events.push_back(SyncEvent::Merged { link: self.link, conflicts, changes });
            if !merged.unreadable.is_empty() {
                shared.events.push_back(SyncEvent::Unreadable { link: self.link, found: merged.unreadable });
            }
            shared.merges += 1;
        }
        // It held all of that when it sent it.
        if !to.is_within(&self.held) {
            self.held = to;
        }
        shared.version += 1;
        Ok(())
    }

    /// Whether the peer made other commits under its id than who we know under that id, as far as both reach: then there are two
    /// of them, and what the one wrote would be taken for what the other did. It is told which commits are known here, and
    /// nothing is taken of it under that id before it has [vouched](Self::vouch) for them. `points` are those that the delta
    /// leads over, if they are known.
    fn is_of_a_copy(
        &mut self,
        shared: &Shared<S>,
        delta: &Delta<S>,
        to: &VersionVector,
        points: Option<&Points>,
    ) -> bool {
        let Some(peer) = &self.peer else {
            return false;
        };
        let (id, last) = (peer.id, to.get(&peer.id));
        let (from, seen) = (delta.start_of(&id).max(self.vouched), shared.replica.seen(&id));
        if from >= seen {
            return false;
        }
        let claimed = points.and_then(|points| points.iter().find(|(of, _)| *of == id));
        let claimed = claimed.map_or(&[][..], |(_, points)| points);
        let known = shared.ledger.of(&id);
        let is_known = |point: &Timestamp| known.binary_search(point).is_ok();
        let is_claimed = |point: &Timestamp| *point == last || claimed.binary_search(point).is_ok();
        // More do not fit in.
        let all = points.map(|points| points.iter().map(|(_, points)| points.len()).sum::<usize>());
        let is_all = all.is_some_and(|all| all < MOST_STABLE);
        let mut theirs = claimed.iter().chain([&last]).filter(|point| **point > from && **point < seen);
        let mut ours = known.iter().filter(|point| is_all && **point > from && **point < last);
        let is_copy = theirs.any(|point| !is_known(point)) || ours.any(|point| !is_claimed(point));
        if is_copy {
            let points = [known, &[seen]].concat();
            self.answers.push(Frame::Points(Told { id, points, is_all: true }));
        }
        is_copy
    }

    /// The peer knows these of our commits, and all are ours: it is told so. It may not know all, and take us for a copy.
    fn vouch(&mut self, shared: &Shared<S>, known: &[Timestamp]) {
        let is_waiting = self.outbound.as_ref().is_some_and(|outbound| outbound.bytes_under_way() > 0);
        if let Some(last) = known.iter().max().filter(|_| is_waiting) {
            let (id, points) = (shared.replica.id(), vec![*last]);
            self.answers.push(Frame::Points(Told { id, points, is_all: false }));
        }
    }

    /// Who may only read must be nobody whom others wait for, or rely on; it may have become one since it came.
    fn look_at_reader(&mut self, shared: &mut Shared<S>) {
        let Some(peer) = self.peer.as_ref().filter(|peer| shared.is_anyone(&peer.member, &peer.id)) else {
            return;
        };
        let (id, nonce) = (peer.id, peer.nonce);
        self.state = State::Refused;
        let reason = SyncError::Impostor { id }.to_string();
        let refusal = Refusal { nonce, own: self.nonce, reason, places: Vec::new() };
        self.answers.push(Frame::Refuse(refusal));
    }

    /// Takes note of what the peer held when it sent the last delta. Nothing waits for that before something is forgotten, so it
    /// is not done with each delta: it would take half as long as a small one.
    pub(crate) fn report_held(&mut self, shared: &mut Shared<S>, now_ms: u64) {
        let held = std::mem::take(&mut self.held);
        if let Some(peer) = self.peer.as_ref().filter(|_| !held.is_empty()) {
            let _ = shared.report(now_ms, peer.id, &held);
        }
    }

    /// Tries again what could not be merged when it came. What cannot be taken even now is told by an event: the frame that is
    /// at hand may be of another peer, and was taken.
    pub(crate) fn take_parked(&mut self, shared: &mut Shared<S>, now_ms: u64) {
        for Parked { label, what } in self.inbound.take_parked() {
            let taken = match what {
                Incoming::Message(message) | Incoming::Unread(message) => {
                    self.take(shared, now_ms, label, message.into())
                }
                Incoming::Whole(delta) => self.take_whole(shared, now_ms, label, delta),
            };
            if let Err(error) = taken {
                shared.events.push_back(SyncEvent::CannotTake { link: self.link, error });
                return;
            }
        }
    }

    pub(crate) fn is_any_parked(&self) -> bool {
        self.inbound.is_any_parked()
    }
}

/// What commit points take in memory: they are kept with the delta that they came with.
fn size_of_points(points: &Points) -> usize {
    let of_one = |(_, points): &(ReplicaId, Vec<Timestamp>)| {
        size_of::<(ReplicaId, Vec<Timestamp>)>().saturating_add(size_of_val(points.as_slice()))
    };
    points.iter().map(of_one).sum()
}
