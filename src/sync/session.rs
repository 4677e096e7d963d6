//! A session: what passes between two endpoints while one link is up.

use crate::causal::id::ReplicaId;
use crate::causal::vector::VersionVector;
use crate::clock::Timestamp;
use crate::crdt::Crdt;
use crate::crdt::schema::difference;
use crate::delta::Delta;
use crate::replica::error::MergeError;
use crate::sync::audit::Auditing;
use crate::sync::error::{LinkId, SyncError};
use crate::sync::event::{SchemaConflict, SyncEvent};
use crate::sync::frame::{Beat, Frame, Gathered, Hello, Points, Progress, Refusal, Seal, Told, VERSIONS};
use crate::sync::inbound::{Inbound, Incoming, Parked};
use crate::sync::outbound::{Outbound, Outgoing};
use crate::sync::shared::{Shared, hash_of, hash_of_table};

/// How many of a peer's own commits it is told of to begin with, for it to see whether they are its own.
const NEWEST_POINTS: usize = 16;

/// One link, and what is known of who is at its other end.
#[derive(Debug)]
pub(crate) struct Session<S> {
    link: LinkId,
    /// Who it is, by what the transport says.
    principal: Option<String>,
    nonce: u64,
    state: State,
    peer: Option<Peer>,
    outbound: Option<Outbound<S>>,
    inbound: Inbound<S>,
    told: Said,
    audit: Auditing,
    /// When the next hello or heartbeat is due.
    beat_ms: u64,
    /// Answers that the peer waits for.
    answers: Vec<Frame<'static>>,
    /// Whether our own hello has to be sent again, since the peer does not seem to have it.
    is_hello_due: bool,
    /// When the peer was last asked what it was told of our commits.
    asked_ms: Option<u64>,
    /// What `Shared::version` was when there was nothing to send.
    idle_at: u64,
    /// How many rows a transfer that comes in has, as far as can be told.
    rows: u64,
    /// When the last frame of the peer came.
    heard_ms: u64,
    /// Whose stamps were refused, being of the future.
    ahead: Option<ReplicaId>,
}

/// How far the first of two times is ahead of the second, in milliseconds.
fn ahead(theirs_ms: u64, ours_ms: u64) -> i64 {
    let by_ms = i64::try_from(theirs_ms.abs_diff(ours_ms)).unwrap_or(i64::MAX);
    if theirs_ms >= ours_ms { by_ms } else { -by_ms }
}

/// A frame that is about to be written.
enum Owned {
    Frame(Frame<'static>),
    Delta(Outgoing),
}

impl Owned {
    fn write(&self, seal: Seal, out: &mut Vec<u8>) -> Result<(), SyncError> {
        match self {
            Self::Frame(frame) => frame.write(seal, out),
            Self::Delta(Outgoing { seq, points, progress, message }) => {
                Frame::Delta { seq: *seq, points: points.clone(), progress: *progress, message }
                    .write(seal, out)
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The peer's hello has not come.
    Greeting,
    /// The peer is no member, and nobody has let it in.
    Waiting,
    Open,
    /// Someone's clock is ahead: nothing is exchanged.
    Apart {
        ahead: ReplicaId,
        by_ms: u64,
    },
    /// One of the two does not want the other.
    Refused,
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) id: ReplicaId,
    pub(crate) member: ReplicaId,
    pub(crate) region: String,
    nonce: u64,
    peers: Vec<ReplicaId>,
    /// How far its clock is ahead of ours, in milliseconds.
    pub(crate) ahead_ms: i64,
}

/// What the peer has been told, so that it is not told again.
#[derive(Debug, Default)]
struct Said {
    vector: u64,
    table: u64,
    peers: Option<Vec<ReplicaId>>,
    /// Whether it has to be told all of it, whatever was told before.
    is_asked: bool,
    /// Whether we have to ask the peer for all of it.
    asks: bool,
}

/// What of the world around it a session looks at when it sends.
pub(crate) struct Around<'a> {
    /// To whom this endpoint is connected.
    pub(crate) connected: &'a [ReplicaId],
}

impl<S: Crdt> Session<S> {
    pub(crate) fn new(
        link: LinkId,
        principal: Option<String>,
        nonce: u64,
        shared: &Shared<S>,
        now_ms: u64,
    ) -> Self {
        Self {
            link,
            principal,
            nonce,
            state: State::Greeting,
            peer: None,
            outbound: None,
            inbound: Inbound::new(&shared.replica.config().limits),
            told: Said::default(),
            audit: Auditing::default(),
            beat_ms: now_ms,
            answers: Vec::new(),
            is_hello_due: true,
            asked_ms: None,
            idle_at: 0,
            rows: 0,
            heard_ms: now_ms,
            ahead: None,
        }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    pub(crate) fn principal(&self) -> Option<&String> {
        self.principal.as_ref()
    }

    pub(crate) fn outbound(&self) -> Option<&Outbound<S>> {
        self.outbound.as_ref()
    }

    pub(crate) fn outbound_mut(&mut self) -> Option<&mut Outbound<S>> {
        self.outbound.as_mut()
    }

    pub(crate) fn inbound_mut(&mut self) -> &mut Inbound<S> {
        &mut self.inbound
    }

    pub(crate) fn heard_ms(&self) -> u64 {
        self.heard_ms
    }

    /// Begins anew on the same link: who we are has changed.
    pub(crate) fn restart(&mut self, shared: &Shared<S>, now_ms: u64) {
        let salt = shared.replica.id().uuid().as_u128();
        let nonce = self.nonce.rotate_left(17) ^ (salt >> 64) as u64 ^ salt as u64;
        *self = Self::new(self.link, self.principal.take(), nonce, shared, now_ms);
    }

    /// The same for both ends, and another one for each pair of nonces.
    fn seal(&self) -> Seal {
        let peer = self.peer.as_ref().map_or(0, |peer| peer.nonce);
        Seal((self.nonce ^ peer).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// When there is something to do although nothing comes.
    pub(crate) fn deadline(&self, shared: &Shared<S>) -> Option<u64> {
        if self.state == State::Refused {
            return None;
        }
        let sending =
            self.outbound.as_ref().filter(|_| self.state == State::Open).and_then(Outbound::deadline);
        let parked = self.inbound.deadline(shared.config());
        [Some(self.beat_ms), sending, parked].into_iter().flatten().min()
    }

    /// Looks after what is due.
    pub(crate) fn tick(&mut self, shared: &mut Shared<S>, now_ms: u64) {
        if self.inbound.deadline(shared.config()).is_some_and(|due_ms| now_ms >= due_ms) {
            self.inbound.give_up();
        }
        self.idle_at = 0;
    }

    // ---- what comes in ----

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
        self.idle_at = 0;
        match frame {
            Frame::Hello(hello) => return self.greeted(shared, now_ms, *hello, is_known_elsewhere),
            Frame::Refuse(refusal) => {
                // Both refuse where the shapes differ: the places of the other side say where.
                let is_news = self.state != State::Refused || !refusal.places.is_empty();
                if refusal.nonce == self.nonce && is_news {
                    let conflict = Some(refusal.places).filter(|places| !places.is_empty());
                    let conflict = conflict.and_then(|theirs| difference(shared.schema.places(), &theirs));
                    let conflict = conflict.map(|(ours, theirs)| SchemaConflict { ours, theirs });
                    if conflict.is_some() && self.state != State::Refused {
                        // The peer does not know ours.
                        let (nonce, places) = (refusal.own, shared.schema.places().to_vec());
                        let reason = SyncError::Schema.to_string();
                        self.answers.push(Frame::Refuse(Refusal { nonce, own: self.nonce, reason, places }));
                    }
                    self.state = State::Refused;
                    let (link, reason) = (self.link, refusal.reason);
                    shared.events.push_back(SyncEvent::Refused { link, reason, conflict });
                }
                return Ok(());
            }
            _ => {}
        }
        if self.peer.is_none() || self.state == State::Refused {
            // Before the hello that it comes after.
            return Ok(());
        }
        self.heard_ms = now_ms;
        match frame {
            Frame::Delta { seq, points, progress, message } => {
                self.delta_came(shared, now_ms, seq, points, progress, message)
            }
            Frame::Ack { seq, is_merged } => {
                if let Some(outbound) = &mut self.outbound {
                    outbound.acknowledge(seq, is_merged, shared.config(), now_ms);
                }
                self.peer_holds(shared, now_ms)
            }
            Frame::Gap { request, pending } => {
                self.vector_came(shared, now_ms, request.vector())?;
                let own = shared.told();
                if let Some(outbound) = &mut self.outbound {
                    outbound.restart(&request, pending, &own, shared.config(), now_ms);
                }
                Ok(())
            }
            Frame::Beat(beat) => self.beat_came(shared, now_ms, *beat),
            Frame::AskPoints { id } => {
                let mut points = shared.ledger.of(&id).to_vec();
                points.push(shared.replica.vector().get(&id));
                self.answers.push(Frame::Points(Told { id, points }));
                Ok(())
            }
            Frame::Points(told) => {
                let is_ours = told.id == shared.replica.id();
                if is_ours && let Err(error) = shared.replica.check_commit_points(&told.points) {
                    shared.doubt_if(&error);
                }
                if let Some(doubt) = shared.doubt.as_mut().filter(|_| is_ours) {
                    doubt.known.extend(told.points);
                    let is_news = !std::mem::replace(&mut doubt.is_answered, true);
                    if is_news {
                        let (link, id, stamp) = (self.link, told.id, doubt.stamp);
                        shared.events.push_back(SyncEvent::IdInDoubt { link, id, stamp });
                    }
                }
                Ok(())
            }
            Frame::Audit(audit) => self.audit.receive(shared, now_ms, self.link, audit, &mut self.answers),
            Frame::Hello(_) | Frame::Refuse(_) => Ok(()),
        }
    }

    /// A hello came: checks who is there, and begins.
    fn greeted(
        &mut self,
        shared: &mut Shared<S>,
        now_ms: u64,
        hello: Hello,
        is_known_elsewhere: impl Fn(&Hello) -> bool,
    ) -> Result<(), SyncError> {
        if self.peer.as_ref().is_some_and(|peer| peer.nonce == hello.nonce) {
            // Once more. Perhaps ours was lost.
            self.is_hello_due |= hello.echo != self.nonce;
            return Ok(());
        }
        let refuse = |this: &mut Self, error: SyncError| {
            this.state = State::Refused;
            this.peer = None;
            let places = if error == SyncError::Schema { shared.schema.places() } else { &[] };
            let refusal = Refusal {
                nonce: hello.nonce,
                own: this.nonce,
                reason: error.to_string(),
                places: places.to_vec(),
            };
            this.answers.push(Frame::Refuse(refusal));
            Err(error)
        };
        let is_spoken = hello.versions.0 <= VERSIONS.1 && VERSIONS.0 <= hello.versions.1;
        if !is_spoken {
            return refuse(self, SyncError::Version { theirs: hello.versions });
        }
        if hello.cluster != shared.config().cluster {
            return refuse(self, SyncError::OtherCluster);
        }
        if hello.schema != shared.schema.hash() {
            return refuse(self, SyncError::Schema);
        }
        if is_known_elsewhere(&hello) {
            return refuse(self, SyncError::Impostor { id: hello.id });
        }
        self.heard_ms = now_ms;
        let id = hello.id;
        let is_twin = id == shared.replica.id();
        if is_twin && hello.nonce == self.nonce {
            return refuse(self, SyncError::Itself { id });
        }
        self.is_hello_due |= hello.echo != self.nonce || self.peer.is_some();
        self.told = Said::default();
        let limits = shared.replica.config().limits;
        let mut outbound = Outbound::new(hello.request.clone(), shared.config(), now_ms);
        let gathered = hello.pending.iter().find(|(from, _)| *from == shared.replica.id());
        if let (Some(transfer), Some((_, gathered))) = (shared.suspended.remove(&id), gathered) {
            outbound.resume(transfer, *gathered);
        }
        self.inbound = Inbound::new(&limits);
        if let Some(pending) = shared.gathered.remove(&id) {
            self.inbound.pending = pending;
        }
        self.outbound = Some(outbound);
        self.peer = Some(Peer {
            id,
            member: hello.member,
            region: hello.region.clone(),
            nonce: hello.nonce,
            peers: hello.peers,
            ahead_ms: ahead(hello.now_ms, now_ms),
        });
        self.state = State::Open;
        if is_twin {
            let stamp = hello.request.vector().get(&id);
            shared.doubt_if(&MergeError::NotIssued { stamp, own: stamp });
            return Ok(());
        }
        shared.events.push_back(SyncEvent::Established {
            link: self.link,
            id,
            member: hello.member,
            region: hello.region,
        });
        // Its vector may hide that it runs twice: where the last commits of both copies have one stamp.
        let points = shared.ledger.of(&id);
        if !points.is_empty() {
            let newest = points.get(points.len().saturating_sub(NEWEST_POINTS)..).unwrap_or_default();
            self.answers.push(Frame::Points(Told { id, points: newest.to_vec() }));
        }
        if hello.member == shared.config().member {
            shared.events.push_back(SyncEvent::SameMember { link: self.link, id });
        }
        self.look_at_clocks(shared, now_ms);
        self.vector_came(shared, now_ms, hello.request.vector())?;
        self.look_at_membership(shared, now_ms);
        shared.version += 1;
        Ok(())
    }

    /// Lets a peer in that is no member, or asks the operator to.
    pub(crate) fn look_at_membership(&mut self, shared: &mut Shared<S>, now_ms: u64) {
        let Some(peer) = &self.peer else {
            return;
        };
        if !matches!(self.state, State::Open | State::Waiting) {
            return;
        }
        if shared.lets_in(now_ms, peer) {
            self.state = State::Open;
        } else if self.state == State::Open {
            self.state = State::Waiting;
            let (member, region) = (peer.member, peer.region.clone());
            shared.events.push_back(SyncEvent::JoinRequest { link: self.link, member, region });
        }
    }

    /// Whether the clocks of the two are close enough.
    fn look_at_clocks(&mut self, shared: &mut Shared<S>, now_ms: u64) {
        let Some(peer) = &self.peer else {
            return;
        };
        let by_ms = peer.ahead_ms.unsigned_abs();
        let is_far = by_ms > shared.replica.config().max_ahead_ms;
        let ahead = if peer.ahead_ms > 0 { peer.id } else { shared.replica.id() };
        match &self.state {
            State::Open if is_far => {
                self.state = State::Apart { ahead, by_ms };
                shared.events.push_back(SyncEvent::ClocksApart { link: self.link, ahead, by_ms });
            }
            State::Apart { .. } if is_far => self.state = State::Apart { ahead, by_ms },
            State::Apart { .. } => {
                self.state = State::Open;
                shared.events.push_back(SyncEvent::ClocksRight { link: self.link });
                // What was not taken is lost.
                let request = crate::replica::request::Request::from(VersionVector::new());
                let own = shared.told();
                if let Some(outbound) = &mut self.outbound {
                    outbound.restart(&request, None, &own, shared.config(), now_ms);
                }
            }
            State::Greeting | State::Waiting | State::Open | State::Refused => {}
        }
    }

    /// The peer said what it holds.
    fn vector_came(
        &mut self,
        shared: &mut Shared<S>,
        now_ms: u64,
        vector: &VersionVector,
    ) -> Result<(), SyncError> {
        let Some(peer) = &self.peer else {
            return Ok(());
        };
        let id = peer.id;
        match shared.report(now_ms, id, vector) {
            Err(MergeError::NotIssued { .. }) => return Ok(()),
            Err(MergeError::TooFarAhead { id: ahead, stamp, .. }) => {
                self.came_from_ahead(shared, now_ms, ahead, stamp);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
            Ok(()) => {}
        }
        shared.told.entry(id).or_default().join(vector);
        if let Some(outbound) = &mut self.outbound {
            outbound.confirm(vector, shared.config(), now_ms);
        }
        Ok(())
    }

    /// What the peer confirmed is known of it from now on.
    fn peer_holds(&mut self, shared: &mut Shared<S>, now_ms: u64) -> Result<(), SyncError> {
        if let (Some(peer), Some(outbound)) = (&self.peer, &self.outbound) {
            let confirmed = outbound.confirmed().clone();
            let _ = shared.report(now_ms, peer.id, &confirmed);
            shared.version += 1;
        }
        Ok(())
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
        let Some(told) = shared.told.get(&id) else {
            self.told.asks = true;
            return Ok(());
        };
        if hash_of(told) != beat.vector {
            // What was said before was lost.
            self.told.asks = true;
        } else if let Some(table) = beat.table {
            let base = told.clone();
            for (id, differences) in table {
                let mut vector = VersionVector::new();
                for (id, stamp) in &base {
                    if !differences.iter().any(|(other, _)| other == id) {
                        vector.raise(id, stamp);
                    }
                }
                vector.extend(differences);
                // Who told it to the peer is not the peer, and may be told otherwise soon.
                if let Err(error @ MergeError::TooManyReplicas { .. }) = shared.report(now_ms, id, &vector) {
                    return Err(error.into());
                }
            }
            shared.version += 1;
        }
        let begins = shared.replica.id() < peer_id && self.state == State::Open;
        self.audit.beat(shared, begins, now_ms, beat.vector, &mut self.answers);
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
        let bytes = message.len();
        let parked = |what, points| Parked { since_ms: now_ms, seq, points, what, bytes };
        let delta = match shared.replica.decode(message) {
            // It names an id or a key in short form that what comes before it brings.
            Err(MergeError::Gap { .. }) => {
                let what = Incoming::Message(message.to_vec());
                self.inbound.park(parked(what, points), shared.config());
                return Ok(());
            }
            decoded => decoded?,
        };
        let is_chunk = delta.is_chunk();
        if is_chunk {
            // They come with the first chunk alone, and are true whether or not the others come.
            shared.note_points(&points, &shared.replica.vector(), &delta.to());
            if progress.chunk == 0 {
                self.rows = 0;
            }
            let rows = progress.rows;
            self.rows = self.rows.max(rows);
        }
        match self.inbound.pending.push(delta) {
            Ok(Some(whole)) => {
                let parked = parked(Incoming::Whole(whole), points);
                self.take(shared, now_ms, parked)
            }
            Ok(None) => {
                self.inbound.acknowledge(seq, false);
                if progress.rows > 0 {
                    let (rows, of) = (self.rows.saturating_sub(progress.rows), self.rows);
                    shared.events.push_back(SyncEvent::Progress { link: self.link, rows, of });
                }
                Ok(())
            }
            // A chunk was lost, repeated, or is of another transfer: the sender goes on from what is gathered.
            Err(_) => {
                self.inbound.is_gap = true;
                Ok(())
            }
        }
    }

    /// Merges what came, or keeps it if it goes on from what has not come yet.
    fn take(&mut self, shared: &mut Shared<S>, now_ms: u64, parked: Parked<S>) -> Result<(), SyncError> {
        let Parked { since_ms, seq, points, what, bytes } = parked;
        let delta = match what {
            Incoming::Whole(delta) => delta,
            Incoming::Message(message) => match shared.replica.decode(&message) {
                Err(MergeError::Gap { .. }) => {
                    let what = Incoming::Message(message);
                    self.inbound.park(Parked { since_ms, seq, points, what, bytes }, shared.config());
                    return Ok(());
                }
                decoded => decoded?,
            },
        };
        let own = shared.replica.vector();
        if !delta.is_complete() && !shared.replica.reaches(&delta.from()) {
            let what = Incoming::Whole(delta);
            self.inbound.park(Parked { since_ms, seq, points, what, bytes }, shared.config());
            return Ok(());
        }
        self.merge(shared, now_ms, seq, points, delta, &own)
    }

    fn merge(
        &mut self,
        shared: &mut Shared<S>,
        now_ms: u64,
        seq: u64,
        points: Points,
        delta: Delta<S>,
        own: &VersionVector,
    ) -> Result<(), SyncError> {
        let to = delta.to();
        let merged = match shared.replica.merge(now_ms, delta) {
            Ok(merged) => merged,
            Err(error @ MergeError::NotIssued { .. }) => {
                shared.doubt_if(&error);
                return Ok(());
            }
            Err(MergeError::TooFarAhead { id, stamp, .. }) => {
                self.came_from_ahead(shared, now_ms, id, stamp);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        self.ahead = None;
        self.inbound.acknowledge(seq, true);
        shared.note_points(&points, own, &to);
        for (id, stamp) in to.iter().filter(|(id, stamp)| *stamp > own.get(id)) {
            shared.ledger.note(id, [stamp]);
        }
        if let Some(outbound) = &mut self.outbound {
            outbound.confirm(&to, shared.config(), now_ms);
        }
        if merged.is_news {
            let (conflicts, changes) = (merged.conflicts, merged.changes);
            shared.events.push_back(SyncEvent::Merged { link: self.link, conflicts, changes });
            shared.merges += 1;
            shared.version += 1;
        }
        self.peer_holds(shared, now_ms)
    }

    /// Tries again what could not be merged when it came.
    pub(crate) fn take_parked(&mut self, shared: &mut Shared<S>, now_ms: u64) -> Result<(), SyncError> {
        for parked in self.inbound.take_parked() {
            self.take(shared, now_ms, parked)?;
        }
        Ok(())
    }

    pub(crate) fn is_any_parked(&self) -> bool {
        self.inbound.is_any_parked()
    }

    // ---- what goes out ----

    /// The next frame, appended to `out`. Returns whether there was one.
    pub(crate) fn transmit(
        &mut self,
        shared: &mut Shared<S>,
        around: &Around<'_>,
        now_ms: u64,
        out: &mut Vec<u8>,
    ) -> Result<bool, SyncError> {
        if self.idle_at == shared.version && now_ms < self.beat_ms {
            return Ok(false);
        }
        let Some(frame) = self.next_frame(shared, around, now_ms) else {
            self.idle_at = shared.version;
            return Ok(false);
        };
        frame.write(self.seal(), out)?;
        Ok(true)
    }

    fn next_frame(&mut self, shared: &mut Shared<S>, around: &Around<'_>, now_ms: u64) -> Option<Owned> {
        if let Some(answer) = self.answers.pop() {
            return Some(Owned::Frame(answer));
        }
        if self.state == State::Refused {
            return None;
        }
        let is_due = now_ms >= self.beat_ms;
        if self.is_hello_due || (is_due && self.state == State::Greeting) {
            self.is_hello_due = false;
            self.beat_ms = now_ms.saturating_add(shared.config().heartbeat_ms);
            return Some(Owned::Frame(Frame::Hello(Box::new(self.hello(shared, around, now_ms)))));
        }
        let peer_id = self.peer.as_ref()?.id;
        if let Some(doubt) = &shared.doubt {
            // What we are in doubt about is not spread.
            let again_ms =
                self.asked_ms.map(|asked_ms| asked_ms.saturating_add(shared.config().heartbeat_ms));
            if doubt.is_answered || again_ms.is_some_and(|again_ms| now_ms < again_ms) {
                return None;
            }
            self.asked_ms = Some(now_ms);
            self.beat_ms = now_ms.saturating_add(shared.config().heartbeat_ms);
            return Some(Owned::Frame(Frame::AskPoints { id: shared.replica.id() }));
        }
        if self.state == State::Open {
            if let Some((seq, is_merged)) = self.inbound.acknowledges.take() {
                return Some(Owned::Frame(Frame::Ack { seq, is_merged }));
            }
            if std::mem::take(&mut self.inbound.is_gap) {
                let (request, pending) = (shared.request(), self.inbound.gathered());
                return Some(Owned::Frame(Frame::Gap { request, pending }));
            }
        }
        if is_due {
            self.beat_ms = now_ms.saturating_add(shared.config().heartbeat_ms);
            return Some(Owned::Frame(Frame::Beat(Box::new(self.beat(shared, around, now_ms)))));
        }
        if self.state != State::Open {
            return None;
        }
        let peers = &self.peer.as_ref()?.peers;
        let own_id = shared.replica.id();
        let is_third = |id: &ReplicaId| *id != own_id && *id != peer_id && peers.contains(id);
        match self.outbound.as_mut()?.next(shared, is_third, now_ms)? {
            Ok(outgoing) => Some(Owned::Delta(outgoing)),
            Err(error) => {
                shared.events.push_back(SyncEvent::CannotEncode { link: self.link, error });
                None
            }
        }
    }

    fn hello(&self, shared: &Shared<S>, around: &Around<'_>, now_ms: u64) -> Hello {
        let config = shared.config();
        let echo = self.peer.as_ref().map_or(0, |peer| peer.nonce);
        let pending = shared.gathered.iter().filter_map(|(id, pending)| {
            let (next, last) = pending.gathered()?;
            Some((*id, Gathered { next, last }))
        });
        Hello {
            versions: VERSIONS,
            cluster: config.cluster,
            schema: shared.schema.hash(),
            member: config.member,
            region: config.region.clone(),
            id: shared.replica.id(),
            now_ms,
            nonce: self.nonce,
            echo,
            request: shared.hello_request(),
            pending: pending.collect(),
            peers: around.connected.to_vec(),
        }
    }

    fn beat(&mut self, shared: &Shared<S>, around: &Around<'_>, now_ms: u64) -> Beat {
        let is_asked = std::mem::take(&mut self.told.is_asked);
        let vector = shared.told();
        let hash = hash_of(&vector);
        let table = shared.table(&vector);
        let table_hash = hash_of_table(&table) ^ hash;
        let is_vector_news = is_asked || self.told.vector != hash;
        let is_table_news = is_asked || self.told.table != table_hash;
        let is_peers_news = is_asked || self.told.peers.as_deref() != Some(around.connected);
        (self.told.vector, self.told.table) = (hash, table_hash);
        let peers = is_peers_news.then(|| around.connected.to_vec());
        if peers.is_some() {
            self.told.peers = peers.clone();
        }
        Beat {
            now_ms,
            vector: hash,
            news: is_vector_news.then_some(vector),
            table: is_table_news.then_some(table),
            peers,
            asks: std::mem::take(&mut self.told.asks),
        }
    }
}
