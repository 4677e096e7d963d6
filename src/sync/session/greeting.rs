//! Who is at the other end, and whether anything is exchanged with it.

use crate::causal::vector::VersionVector;
use crate::clock::Timestamp;
use crate::crdt::Crdt;
use crate::crdt::schema::{Comparison, compare, hash_of};
use crate::replica::error::MergeError;
use crate::replica::request::Request;
use crate::sync::error::SyncError;
use crate::sync::event::{SchemaConflict, SyncEvent};
use crate::sync::frame::{Frame, Hello, Refusal, Told, VERSIONS};
use crate::sync::inbound::Inbound;
use crate::sync::outbound::Outbound;
use crate::sync::session::{NEWEST_POINTS, Peer, Said, Session, State, Theirs};
use crate::sync::shared::Shared;

/// How far the first of two times is ahead of the second, in milliseconds.
pub(super) fn ahead(theirs_ms: u64, ours_ms: u64) -> i64 {
    let by_ms = i64::try_from(theirs_ms.abs_diff(ours_ms)).unwrap_or(i64::MAX);
    if theirs_ms >= ours_ms { by_ms } else { -by_ms }
}

impl<S: Crdt> Session<S> {
    /// A hello came: checks who is there, and begins.
    pub(super) fn greeted(
        &mut self,
        shared: &mut Shared<S>,
        now_ms: u64,
        hello: Hello,
        is_known_elsewhere: impl Fn(&Hello) -> bool,
    ) -> Result<(), SyncError> {
        if self.peer.as_ref().is_some_and(|peer| peer.nonce == hello.nonce) {
            // Once more. Perhaps ours was lost.
            self.is_hello_due |= hello.echo != self.nonce;
            if !self.is_reader() {
                self.look_at_lost(shared, hello.echo, &hello.lost);
            }
            if hello.echo == self.nonce && !self.is_known {
                self.is_known = true;
                return self.vector_came(shared, now_ms, hello.request.vector());
            }
            return Ok(());
        }
        let refuse = |this: &mut Self, error: SyncError| {
            this.state = State::Refused;
            this.peer = None;
            let (nonce, reason) = (hello.nonce, error.to_string());
            this.answers.push(Frame::Refuse(Refusal { nonce, own: this.nonce, reason, places: Vec::new() }));
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
            match self.schema {
                Some(Theirs { hash, is_alike: true }) if hash == hello.schema => {}
                // Refused it stays.
                Some(Theirs { hash, is_alike: false }) if hash == hello.schema => {
                    return refuse(self, SyncError::Schema);
                }
                // Who has only more fields, or fewer, comes again once both know that.
                _ => {
                    (self.state, self.peer, self.is_known) = (State::Greeting, None, false);
                    self.answers.push(self.shape(shared, hello.nonce, &SyncError::Schema.to_string()));
                    return Ok(());
                }
            }
        }
        // What it says to hold would be taken for the word of the other.
        if is_known_elsewhere(&hello) || !shared.may_be(&hello.id, self.principal.as_ref()) {
            return refuse(self, SyncError::Impostor { id: hello.id });
        }
        if self.is_reader() && shared.is_anyone(&hello.member, &hello.id) {
            return refuse(self, SyncError::Impostor { id: hello.id });
        }
        self.heard_ms = now_ms;
        let id = hello.id;
        let is_twin = id == shared.replica.id();
        if is_twin && hello.nonce == self.nonce {
            return refuse(self, SyncError::Itself { id });
        }
        // It waits to hear that we know it.
        self.is_hello_due = true;
        (self.vouched, self.reads, self.has_tried) = (Timestamp::ZERO, VersionVector::new(), false);
        self.told = Said::default();
        self.is_enrolled = false;
        self.is_known = hello.echo == self.nonce;
        let limits = shared.replica.config().limits;
        // What it says to hold counts once it was looked at.
        let unproven = self.naming(&hello.request).at(VersionVector::new());
        let mut outbound = Outbound::new(unproven, shared.config(), now_ms);
        let gathered = hello.pending.iter().find(|(from, _)| *from == shared.replica.id());
        if let (Some((_, transfer)), Some((_, gathered))) = (shared.suspended.remove(&id), gathered) {
            outbound.resume(transfer, *gathered);
        }
        self.inbound = Inbound::new(&limits);
        if let Some((_, pending)) = shared.gathered.remove(&id) {
            self.inbound.pending = pending;
        }
        self.outbound = Some(outbound);
        self.peer = Some(Peer {
            id,
            member: hello.member,
            region: hello.region.clone(),
            nonce: hello.nonce,
            epoch: hello.epoch,
            peers: hello.peers,
            ahead_ms: ahead(hello.now_ms, now_ms),
        });
        self.state = State::Open;
        if is_twin {
            let stamp = hello.request.vector().get(&id);
            shared.doubt_if(&MergeError::NotIssued { stamp, own: stamp }, true);
            return Ok(());
        }
        shared.events.push_back(SyncEvent::Established {
            link: self.link,
            id,
            member: hello.member,
            region: hello.region,
        });
        // Its vector may hide that it runs twice: where the last commits of both copies have one stamp.
        let last = shared.replica.seen(&id);
        let points = shared.ledger.of(&id);
        let newest = points.get(points.len().saturating_sub(NEWEST_POINTS)..).unwrap_or_default();
        if last > Timestamp::ZERO {
            let is_all = newest.len() == points.len();
            self.answers.push(Frame::Points(Told { id, points: [newest, &[last]].concat(), is_all }));
        }
        if hello.member == shared.config().member {
            shared.events.push_back(SyncEvent::SameMember { link: self.link, id });
        }
        self.look_at_clocks(shared, now_ms);
        if !self.is_reader() {
            self.look_at_lost(shared, hello.echo, &hello.lost);
        }
        self.vector_came(shared, now_ms, hello.request.vector())?;
        self.look_at_membership(shared, now_ms);
        shared.version += 1;
        Ok(())
    }

    /// A request as it can be answered: a peer of another schema may keep keys of a type that it does not know, and finds none of
    /// them by what they are hashed to here.
    pub(super) fn naming(&self, request: &Request) -> Request {
        match self.schema {
            None => request.clone(),
            Some(_) => Request::from(request.vector().clone()),
        }
    }

    /// Our schema, for a peer whose schema is another one. With a reason it refuses the hello of the nonce.
    fn shape(&self, shared: &Shared<S>, nonce: u64, reason: &str) -> Frame<'static> {
        let places = shared.schema.places().to_vec();
        Frame::Refuse(Refusal { nonce, own: self.nonce, reason: reason.to_owned(), places })
    }

    /// The peer does not want us, or its schema is another one.
    pub(super) fn refused(
        &mut self,
        shared: &mut Shared<S>,
        now_ms: u64,
        refusal: Refusal,
    ) -> Result<(), SyncError> {
        let Refusal { nonce, own, reason, places } = refusal;
        // What was said before the peer was there as it is now is of no interest any more.
        let is_late = self.peer.as_ref().is_some_and(|peer| peer.nonce != own);
        if nonce != self.nonce || self.state == State::Refused || is_late {
            return Ok(());
        }
        if places.is_empty() {
            self.state = State::Refused;
            shared.events.push_back(SyncEvent::Refused { link: self.link, reason, conflict: None });
            return Ok(());
        }
        let Comparison { conflict, apart } = compare(shared.schema.places(), &places);
        let theirs = Theirs { hash: hash_of(&places), is_alike: conflict.is_none() };
        let is_news = self.schema.replace(theirs) != Some(theirs);
        if let Some((ours, theirs)) = conflict {
            self.answers.push(self.shape(shared, own, &SyncError::Schema.to_string()));
            self.state = State::Refused;
            let conflict = Some(SchemaConflict { ours, theirs });
            shared.events.push_back(SyncEvent::Refused { link: self.link, reason, conflict });
            return Err(SyncError::Schema);
        }
        // The fields that one of the two lacks come after all others: until they are written nothing is said of them. What is
        // something else for each of the two stands apart.
        if is_news && !apart.is_empty() {
            let places = apart.into_iter().map(|(ours, theirs)| SchemaConflict { ours, theirs }).collect();
            shared.events.push_back(SyncEvent::FieldsApart { link: self.link, places });
        }
        self.is_hello_due |= is_news;
        let again_ms = self.shown_ms.map(|shown_ms| shown_ms.saturating_add(shared.config().heartbeat_ms));
        if !reason.is_empty() && (is_news || again_ms.is_none_or(|again_ms| now_ms >= again_ms)) {
            // The peer does not know that yet.
            self.shown_ms = Some(now_ms);
            self.answers.push(self.shape(shared, own, ""));
            self.is_hello_due = true;
        }
        Ok(())
    }

    /// Lets a peer in that is no member, or asks the operator to.
    pub(crate) fn look_at_membership(&mut self, shared: &mut Shared<S>, now_ms: u64) {
        let Some(peer) = self.peer.as_ref().filter(|_| !self.is_reader()) else {
            return;
        };
        // Who was let in and is evicted later is not let in again before it comes again, or is invited.
        let is_settled = self.is_enrolled && !shared.invited.contains(&peer.member);
        // Nor is anything written under an id that is in doubt.
        if is_settled || shared.doubt.is_some() || !matches!(self.state, State::Open | State::Waiting) {
            return;
        }
        if shared.lets_in(now_ms, peer, self.principal.as_ref()) {
            self.is_enrolled = shared.is_enrolled(peer);
            if self.is_enrolled && shared.is_member() {
                shared.note_principal(peer.id, self.principal.as_ref());
            }
            self.state = State::Open;
        } else if self.state == State::Open {
            self.state = State::Waiting;
            let (member, region, principal) = (peer.member, peer.region.clone(), self.principal.clone());
            let request = SyncEvent::JoinRequest { link: self.link, member, region, principal };
            shared.events.push_back(request);
        }
    }

    /// Whether the clocks of the two are close enough.
    pub(super) fn look_at_clocks(&mut self, shared: &mut Shared<S>, now_ms: u64) {
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
                let own = shared.told();
                if let Some(outbound) = &mut self.outbound {
                    outbound.restart(None, &own, shared.config(), now_ms);
                }
            }
            State::Greeting | State::Waiting | State::Open | State::Refused => {}
        }
    }
}
