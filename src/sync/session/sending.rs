//! What goes out.

use crate::causal::id::ReplicaId;
use crate::causal::vector::VersionVector;
use crate::crdt::Crdt;
use crate::sync::error::SyncError;
use crate::sync::event::SyncEvent;
use crate::sync::frame::{Beat, Frame, Gathered, Hello, Seal, VERSIONS};
use crate::sync::outbound::Outgoing;
use crate::sync::session::{Around, Session, State};
use crate::sync::shared::{Shared, hash_of, hash_of_table};

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

impl<S: Crdt> Session<S> {
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
        if self.is_hello_due || (is_due && !self.is_known) {
            // To who does not answer we are a stranger: so it must.
            let knows_it = std::mem::take(&mut self.is_hello_due);
            if !self.is_known {
                self.beat_ms = now_ms.saturating_add(shared.config().heartbeat_ms);
            }
            return Some(Owned::Frame(Frame::Hello(Box::new(self.hello(shared, around, now_ms, knows_it)))));
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
        // To whom we are connected is told at once: what they send us need not come from the peer.
        let is_news = self.state == State::Open && self.told.peers != Some(around.hash);
        if is_due || is_news {
            self.beat_ms = now_ms.saturating_add(shared.config().heartbeat_ms);
            return Some(Owned::Frame(Frame::Beat(Box::new(self.beat(shared, around, now_ms)))));
        }
        if self.state != State::Open || !self.is_known {
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

    fn hello(&self, shared: &Shared<S>, around: &Around<'_>, now_ms: u64, knows_it: bool) -> Hello {
        let config = shared.config();
        let echo = self.peer.as_ref().filter(|_| knows_it).map_or(0, |peer| peer.nonce);
        let pending = shared.gathered.iter().filter_map(|(id, (_, pending))| {
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
            request: shared.hello_request(self.peer.as_ref().map(|peer| &peer.id)),
            epoch: shared.epoch().number,
            pending: pending.collect(),
            peers: around.connected.to_vec(),
            lost: self.lost(shared),
        }
    }

    /// What was forgotten for the peer, and is more than it is known to hold.
    pub(super) fn lost(&self, shared: &Shared<S>) -> VersionVector {
        let peer = self.peer.as_ref().zip(self.outbound.as_ref());
        peer.map(|(peer, outbound)| shared.replica.counts_beyond(&peer.id, outbound.confirmed()))
            .unwrap_or_default()
    }

    fn beat(&mut self, shared: &Shared<S>, around: &Around<'_>, now_ms: u64) -> Beat {
        let is_asked = std::mem::take(&mut self.told.is_asked);
        let vector = shared.told();
        let hash = hash_of(&vector);
        let table = shared.table(&vector);
        let table_hash = hash_of_table(&table) ^ hash;
        let is_vector_news = is_asked || self.told.vector != hash;
        let is_table_news = is_asked || self.told.table != table_hash;
        let is_peers_news = is_asked || self.told.peers != Some(around.hash);
        (self.told.vector, self.told.table) = (hash, table_hash);
        self.told.peers = Some(around.hash);
        let peers = is_peers_news.then(|| around.connected.to_vec());
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
