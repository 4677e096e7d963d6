//! What a region sends to its peers, and what it does with what they send.

use driftless::{Delta, MergeError, ReplicaId, VersionVector};

use crate::link::{Kind, Outlet};
use crate::measure::{Merge, Shipment};
use crate::model::Airports;
use crate::region::{Fault, Region};
use crate::regions::{COUNT, Index};
use crate::session::{Incoming, PARKED_US, Parked, Session};

/// Larger deltas are sent in chunks of this size.
const CHUNK_BYTES: usize = 256 << 10;

impl Region {
    /// Sends a frame. A connection that is broken is given up; its end will be heard of, or it is opened anew.
    fn send(&mut self, peer: Index, kind: Kind, body: &[u8]) -> u64 {
        let sent = self.sessions[peer].as_mut().map(|session| session.outlet.send(kind, body));
        match sent {
            Some(Ok(bytes)) => {
                self.log.bytes[peer] += bytes;
                bytes
            }
            _ => {
                self.sessions[peer] = None;
                0
            }
        }
    }

    pub(super) fn greet(&mut self, peer: Index, outlet: Outlet) -> Result<(), Fault> {
        let own = self.replica.vector();
        let limits = self.replica.config().limits;
        // Who has written before this connection may have written while there was none.
        self.sessions[peer] = Some(Session::new(outlet, &limits, self.begins_us.is_some()));
        self.send(peer, Kind::Hello, &rmp_serde::to_vec(&(self.replica.id(), own))?);
        Ok(())
    }

    /// Sends each peer what it lacks.
    pub(super) fn flush(&mut self, now_us: u64) -> Result<(), Fault> {
        let own = self.replica.vector();
        for peer in 0..COUNT {
            let (own_id, peer_id) = (self.replica.id(), self.id(peer));
            let connected = self.connected();
            let Some(session) = self.sessions[peer].as_mut().filter(|session| session.is_greeted) else {
                continue;
            };
            let is_third = |id: &ReplicaId| *id != own_id && *id != peer_id;
            let base = session.base(&own, now_us, |id| is_third(id) && connected.contains(id));
            if own.is_within(&base.vector) {
                continue;
            }
            let delta = self.replica.delta_since(&base.vector);
            if delta.is_empty() {
                continue;
            }
            let (from, to) = (delta.from(), delta.to());
            session.ship(&to, &base);
            let is_catch_up = std::mem::take(&mut session.catches_up[0]);
            let bytes = self.send_delta(peer, delta)?;
            let (from, to) = (self.stamps(&from), self.stamps(&to));
            self.log.shipments.push(Shipment { at_us: now_us, peer, from, to, bytes, is_catch_up });
        }
        Ok(())
    }

    fn send_delta(&mut self, peer: Index, delta: Delta<Airports>) -> Result<u64, Fault> {
        let message = delta.encode()?;
        if message.len() <= CHUNK_BYTES {
            return Ok(self.send(peer, Kind::Delta, &message));
        }
        let mut bytes = 0;
        for chunk in delta.into_chunks(CHUNK_BYTES) {
            bytes += self.send(peer, Kind::Delta, &chunk?);
        }
        Ok(bytes)
    }

    fn connected(&self) -> Vec<ReplicaId> {
        let sessions = self.sessions.iter().zip(self.setup.ids);
        sessions.filter(|(session, _)| session.is_some()).map(|(_, id)| id).collect()
    }

    pub(super) fn heartbeat(&mut self) -> Result<(), Fault> {
        let body = rmp_serde::to_vec(&(self.replica.vector(), self.replica.known_vectors()))?;
        for peer in 0..COUNT {
            if self.sessions[peer].as_ref().is_some_and(|session| session.is_greeted) {
                self.send(peer, Kind::Heartbeat, &body);
            }
        }
        Ok(())
    }

    /// Gives up on deltas that wait for what does not come, and asks for all that is missing.
    pub(super) fn ask_again(&mut self, now_us: u64) -> Result<(), Fault> {
        for peer in 0..COUNT {
            let Some(session) = &mut self.sessions[peer] else {
                continue;
            };
            if session.parked.front().is_some_and(|parked| now_us > parked.since_us + PARKED_US) {
                session.parked.clear();
                self.log.gaps += 1;
                self.send(peer, Kind::Gap, &rmp_serde::to_vec(&self.replica.vector())?);
            }
        }
        Ok(())
    }

    pub(super) fn frame(&mut self, peer: Index, kind: Kind, body: Vec<u8>) -> Result<(), Fault> {
        let (now_ms, now_us) = (self.unix_ms(), self.setup.clock.micros());
        match kind {
            Kind::Hello => {
                let (id, vector): (ReplicaId, VersionVector) = rmp_serde::from_slice(&body)?;
                if id != self.id(peer) {
                    return Err(format!("another replica than expected is at the other end: {id}").into());
                }
                self.replica.report(now_ms, id, &vector)?;
                let own = self.replica.vector();
                if let Some(session) = &mut self.sessions[peer] {
                    session.is_greeted = true;
                    session.restart(&vector, &own, now_us);
                }
            }
            Kind::Heartbeat => {
                let (vector, known): (VersionVector, Vec<(ReplicaId, VersionVector)>) =
                    rmp_serde::from_slice(&body)?;
                self.confirm(peer, &vector)?;
                for (id, vector) in known {
                    self.replica.report(now_ms, id, &vector)?;
                }
            }
            Kind::Gap => {
                let vector: VersionVector = rmp_serde::from_slice(&body)?;
                let own = self.replica.vector();
                if let Some(session) = &mut self.sessions[peer] {
                    session.restart(&vector, &own, now_us);
                }
            }
            Kind::Delta => {
                let is_merged =
                    self.take(peer, Parked { since_us: now_us, what: Incoming::Message(body) })?;
                self.log.parked += usize::from(!is_merged);
                // What came may be what others waited for.
                while is_merged && self.take_parked()? {}
            }
        }
        Ok(())
    }

    /// Takes note of what a peer holds.
    fn confirm(&mut self, peer: Index, vector: &VersionVector) -> Result<(), Fault> {
        self.replica.report(self.unix_ms(), self.id(peer), vector)?;
        if let Some(session) = &mut self.sessions[peer] {
            session.confirm(vector);
        }
        Ok(())
    }

    /// Merges what came, or keeps it if it goes on from what has not come yet. Returns whether it was not kept.
    fn take(&mut self, peer: Index, parked: Parked) -> Result<bool, Fault> {
        let Parked { since_us, what } = parked;
        let Some(session) = &mut self.sessions[peer] else {
            return Ok(true);
        };
        let park = |session: &mut Session, what| {
            session.parked.push_back(Parked { since_us, what });
            Ok(false)
        };
        let delta = match what {
            Incoming::Whole(delta) => delta,
            Incoming::Message(message) => match self.replica.decode(&message) {
                Err(MergeError::Gap { .. }) => return park(session, Incoming::Message(message)),
                decoded => match session.pending.push(decoded?)? {
                    Some(delta) => delta,
                    None => return Ok(true),
                },
            },
        };
        let (own, to) = (self.replica.vector(), delta.to());
        // `merge` would say so too, but it would not give the delta back.
        if !delta.is_complete() && !delta.from().is_within(&own) {
            return park(session, Incoming::Whole(delta));
        }
        let merged = self.replica.merge(self.setup.clock.unix_ms(), delta)?;
        if merged.is_news {
            let at_us = self.setup.clock.micros();
            let is_catch_up = std::mem::take(&mut session.catches_up[1]);
            self.touch(at_us);
            self.log.conflicts += merged.conflicts;
            let (before, to) = (self.stamps(&own), self.stamps(&to));
            self.log.merges.push(Merge { at_us, peer, before, to, is_catch_up });
        }
        self.confirm(peer, &to)?;
        Ok(true)
    }

    /// Tries again what could not be merged when it came. Returns whether any of it could.
    fn take_parked(&mut self) -> Result<bool, Fault> {
        let mut is_any_merged = false;
        for peer in 0..COUNT {
            let Some(session) = &mut self.sessions[peer] else {
                continue;
            };
            for parked in std::mem::take(&mut session.parked) {
                is_any_merged |= self.take(peer, parked)?;
            }
        }
        Ok(is_any_merged)
    }
}
