//! A region: one replica in one thread, which writes by its schedule, ships what changed, and merges what comes.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use driftless::{
    Config, Delta, Digest, Forgotten, MergeError, Replica, ReplicaId, Snapshot, Timestamp, VersionVector,
};

use crate::airports::Source;
use crate::board::Board;
use crate::clock::Clock;
use crate::link::{Kind, Outlet};
use crate::mail::Mail;
use crate::measure::{Forgetting, Merge, Shipment, Transaction};
use crate::model::{Airports, Write, Written};
use crate::regions::{COUNT, Index};
use crate::schedule::{Op, Planned};
use crate::session::{Incoming, PARKED_US, Parked, Session};

/// How often what changed is sent.
const FLUSH_US: u64 = 10_000;
/// How often a region says what it holds, and what it knows others to hold, whether anything changed or not.
const HEARTBEAT_US: u64 = 100_000;
/// How often it forgets what all have seen: while it writes, and after.
const FORGET_US: u64 = 1_000_000;
const FORGET_AT_LAST_US: u64 = 100_000;
/// Airports that are loaded in one transaction.
const BATCH: usize = 100;
/// Larger deltas are sent in chunks of this size.
const CHUNK_BYTES: usize = 256 << 10;
/// Writes that are made before mail is looked at again, should the region be late.
const WRITES_IN_A_ROW: usize = 32;

/// What ends a region before its time.
pub(crate) type Fault = Box<dyn Error + Send + Sync>;

/// What a region is set up with.
pub(crate) struct Setup {
    pub(crate) index: Index,
    pub(crate) ids: [ReplicaId; COUNT],
    pub(crate) clock: Clock,
    pub(crate) sources: Arc<Vec<Source>>,
    /// The records that it loads.
    pub(crate) own_sources: Vec<usize>,
    pub(crate) plan: Vec<Planned>,
    pub(crate) board: Arc<Board>,
}

/// What a region hands over at the end.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) snapshot: Snapshot<Airports>,
    pub(crate) digest: Digest,
    pub(crate) canonical_bytes: Vec<u8>,
    /// The digest of a replica to which all was copied.
    pub(crate) copy_digest: Digest,
    /// What of it is there to tell others alone, and could not be forgotten.
    pub(crate) left: Forgotten,
    pub(crate) log: Log,
}

/// What a region measured.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Every transaction, in order: those of the load first.
    pub(crate) transactions: Vec<Transaction>,
    /// How many of them were the load.
    pub(crate) loaded: usize,
    /// How long each write of the schedule took, in nanoseconds.
    pub(crate) write_ns: Vec<u64>,
    /// How long after its time each one began, in microseconds.
    pub(crate) late_us: Vec<u64>,
    pub(crate) deleted: usize,
    pub(crate) created_again: usize,
    /// Writes of the schedule that changed nothing: a removal of what another region had removed.
    pub(crate) without_effect: usize,
    pub(crate) shipments: Vec<Shipment>,
    pub(crate) merges: Vec<Merge>,
    pub(crate) conflicts: usize,
    pub(crate) parked: usize,
    pub(crate) gaps: usize,
    /// Bytes of all frames sent to each region.
    pub(crate) bytes: [u64; COUNT],
    pub(crate) forgetting: Vec<Forgetting>,
    /// Why connections ended.
    pub(crate) downs: Vec<String>,
}

/// A region at work.
pub(crate) struct Region {
    setup: Setup,
    replica: Replica<Airports>,
    sessions: [Option<Session>; COUNT],
    log: Log,
    /// When writing begins.
    begins_us: Option<u64>,
    /// Operations that are done.
    done: usize,
    /// Records that are loaded.
    loaded: usize,
    is_loading: bool,
    /// When it next forgets what all have seen.
    forget_us: u64,
    /// When the vector last changed.
    changed_us: u64,
    /// Whether the last forgetting left nothing that a member has not seen.
    is_all_seen: bool,
}

impl Region {
    pub(crate) fn new(setup: Setup) -> Self {
        let mut replica = Replica::new(setup.ids[setup.index], Config::default());
        replica.set_members(setup.ids);
        Self {
            setup,
            replica,
            sessions: [const { None }; COUNT],
            log: Log::default(),
            begins_us: None,
            done: 0,
            loaded: 0,
            is_loading: false,
            forget_us: 0,
            changed_us: 0,
            is_all_seen: false,
        }
    }

    /// Works until it is told to finish.
    pub(crate) fn run(mut self, mail: &Receiver<Mail>) -> Result<Outcome, Fault> {
        let (mut flush_us, mut heartbeat_us) = (0, 0);
        loop {
            self.load()?;
            self.write()?;
            let now_us = self.setup.clock.micros();
            if now_us >= flush_us {
                self.flush(now_us)?;
                self.ask_again(now_us)?;
                self.publish();
                flush_us = now_us + FLUSH_US;
            }
            if now_us >= heartbeat_us {
                self.heartbeat()?;
                heartbeat_us = now_us + HEARTBEAT_US;
            }
            if now_us >= self.forget_us {
                self.forget(now_us);
                let pause_us = if self.is_writing() { FORGET_US } else { FORGET_AT_LAST_US };
                self.forget_us = (self.forget_us + pause_us).max(now_us);
            }
            let next_us = flush_us.min(heartbeat_us).min(self.forget_us).min(self.next_write_us());
            let wait = next_us.saturating_sub(self.setup.clock.micros());
            let is_busy = self.is_loading && self.loaded < self.setup.own_sources.len();
            let wait = Duration::from_micros(if is_busy { 0 } else { wait });
            match mail.recv_timeout(wait) {
                Ok(Mail::Finish) => return self.finish(),
                Ok(mail) => self.receive(mail)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err("nobody is there to finish the job".into()),
            }
        }
    }

    fn receive(&mut self, mail: Mail) -> Result<(), Fault> {
        match mail {
            Mail::Up(peer, outlet) => self.greet(peer, outlet)?,
            Mail::Down(peer, reason) => {
                self.sessions[peer] = None;
                self.log.downs.push(reason);
            }
            Mail::Frame(peer, kind, body) if self.sessions[peer].is_some() => self.frame(peer, kind, body)?,
            // It was on its way when the link was cut.
            Mail::Frame(..) => {}
            Mail::Load => self.is_loading = true,
            Mail::Write(begins_us) => {
                self.begins_us = Some(begins_us);
                self.forget_us = begins_us + FORGET_US;
            }
            Mail::Digest(reply) => drop(reply.send(self.replica.digest())),
            Mail::Finish => {}
        }
        Ok(())
    }

    fn id(&self, region: Index) -> ReplicaId {
        self.setup.ids[region]
    }

    fn unix_ms(&self) -> u64 {
        self.setup.clock.unix_ms()
    }

    // Writing.

    /// Loads the next batch of airports.
    fn load(&mut self) -> Result<(), Fault> {
        let rest = self.setup.own_sources.get(self.loaded..).unwrap_or_default();
        if !self.is_loading || rest.is_empty() {
            return Ok(());
        }
        let sources = Arc::clone(&self.setup.sources);
        let batch: Vec<&Source> = rest.iter().take(BATCH).map(|record| &sources[*record]).collect();
        let mut written = Written::default();
        for source in &batch {
            written += Write::Create(source).written(&source.icao);
        }
        let at_us = self.setup.clock.micros();
        let done = self.replica.transact(self.unix_ms(), |airports| {
            batch.iter().try_for_each(|source| Write::Create(source).apply(airports, &source.icao))
        })?;
        self.loaded += batch.len();
        self.log.loaded += 1;
        self.note(at_us, done.stamp, written);
        Ok(())
    }

    fn is_writing(&self) -> bool {
        self.begins_us.is_some() && self.done < self.setup.plan.len()
    }

    fn next_write_us(&self) -> u64 {
        match (self.begins_us, self.setup.plan.get(self.done)) {
            (Some(begins_us), Some(planned)) => begins_us + planned.at_us,
            _ => u64::MAX,
        }
    }

    /// Does the operations that are due.
    fn write(&mut self) -> Result<(), Fault> {
        for _ in 0..WRITES_IN_A_ROW {
            let (now_us, due_us) = (self.setup.clock.micros(), self.next_write_us());
            if due_us > now_us {
                break;
            }
            let planned = self.setup.plan[self.done];
            self.done += 1;
            self.log.late_us.push(now_us - due_us);
            self.write_one(&planned)?;
        }
        Ok(())
    }

    fn write_one(&mut self, planned: &Planned) -> Result<(), Fault> {
        let sources = Arc::clone(&self.setup.sources);
        let source = &sources[planned.record];
        let key = source.icao.as_str();
        let is_there = self.replica.state().contains_key(key);
        // What is gone is created again by whoever writes to it, as an application would do it.
        let create = (!is_there && planned.op != Op::Delete).then_some(Write::Create(source));
        let write = (planned.op != Op::Restore).then(|| Write::of(planned.op, source));
        let is_created = create.is_some();
        let mut written = Written::default();
        [&create, &write].into_iter().flatten().for_each(|write| written += write.written(key));
        let at_us = self.setup.clock.micros();
        let unix_ms = self.unix_ms();
        let begun = Instant::now();
        let done = self.replica.transact(unix_ms, |airports| {
            let mut writes = [create, write].into_iter().flatten();
            writes.try_for_each(|write| write.apply(airports, key))
        })?;
        self.log.write_ns.push(begun.elapsed().as_nanos() as u64);
        if done.stamp.is_none() {
            self.log.without_effect += 1;
            return Ok(());
        }
        self.log.created_again += usize::from(is_created);
        self.log.deleted += usize::from(planned.op == Op::Delete);
        self.note(at_us, done.stamp, written);
        Ok(())
    }

    fn note(&mut self, at_us: u64, stamp: Option<Timestamp>, written: Written) {
        if let Some(stamp) = stamp {
            self.log.transactions.push(Transaction { at_us, stamp, written });
            self.touch(at_us);
        }
    }

    /// Takes note of when the vector changed.
    fn touch(&mut self, at_us: u64) {
        self.changed_us = at_us;
        self.is_all_seen = false;
    }

    // Sending.

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

    fn greet(&mut self, peer: Index, outlet: Outlet) -> Result<(), Fault> {
        let own = self.replica.vector();
        let limits = self.replica.config().limits;
        // Who has written before this connection may have written while there was none.
        self.sessions[peer] = Some(Session::new(outlet, &limits, self.begins_us.is_some()));
        self.send(peer, Kind::Hello, &rmp_serde::to_vec(&(self.replica.id(), own))?);
        Ok(())
    }

    /// Sends each peer what it lacks.
    fn flush(&mut self, now_us: u64) -> Result<(), Fault> {
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

    fn heartbeat(&mut self) -> Result<(), Fault> {
        let body = rmp_serde::to_vec(&(self.replica.vector(), self.replica.known_vectors()))?;
        for peer in 0..COUNT {
            if self.sessions[peer].as_ref().is_some_and(|session| session.is_greeted) {
                self.send(peer, Kind::Heartbeat, &body);
            }
        }
        Ok(())
    }

    /// Gives up on deltas that wait for what does not come, and asks for all that is missing.
    fn ask_again(&mut self, now_us: u64) -> Result<(), Fault> {
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

    // Receiving.

    fn frame(&mut self, peer: Index, kind: Kind, body: Vec<u8>) -> Result<(), Fault> {
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

    // Forgetting, and telling.

    /// Drops the marks of what all regions have seen.
    fn forget(&mut self, now_us: u64) {
        let own = self.replica.vector();
        let known: BTreeMap<ReplicaId, VersionVector> = self.replica.known_vectors().into_iter().collect();
        let forgotten = self.replica.forget();
        self.is_all_seen = forgotten.behind.is_empty();
        let behind_by_ms = |id: &ReplicaId| {
            let known = known.get(id);
            let behind = own.iter().map(|(author, stamp)| {
                let seen = known.map_or(Timestamp::ZERO, |vector| vector.get(&author));
                stamp.millis().saturating_sub(seen.millis())
            });
            behind.max().unwrap_or(0)
        };
        let behind = (0..COUNT).filter(|region| forgotten.behind.contains(&self.id(*region)));
        let behind = behind.map(|region| (region, behind_by_ms(&self.id(region)))).collect();
        let (rows, marks) = (forgotten.rows, forgotten.marks);
        self.log.forgetting.push(Forgetting { at_us: now_us, rows, marks, behind });
    }

    fn publish(&self) {
        self.setup.board.update(self.setup.index, |status| {
            status.vector = self.replica.vector();
            status.changed_us = self.changed_us;
            status.records = self.replica.state().len();
            status.greeted = self.sessions.iter().flatten().filter(|session| session.is_greeted).count();
            status.is_written = self.begins_us.is_some() && !self.is_writing();
            status.is_all_seen = self.is_all_seen;
        });
    }

    fn stamps(&self, vector: &VersionVector) -> [Timestamp; COUNT] {
        self.setup.ids.map(|id| vector.get(&id))
    }

    fn finish(self) -> Result<Outcome, Fault> {
        let (copy_digest, left) = self.copy()?;
        Ok(Outcome {
            snapshot: self.replica.snapshot(),
            digest: self.replica.digest(),
            canonical_bytes: self.replica.canonical_bytes(),
            copy_digest,
            left,
            log: self.log,
        })
    }

    /// Copies all that is held into a new replica, as one that joins would be sent it, and counts what could be forgotten
    /// there: as nobody else needs it, that is whatever this one has not forgotten.
    fn copy(&self) -> Result<(Digest, Forgotten), Fault> {
        let (id, now_ms) = (ReplicaId::from_u128(0), self.unix_ms());
        let mut copy: Replica<Airports> = Replica::new(id, Config::default());
        copy.merge(now_ms, copy.decode(&self.replica.delta_since(&copy.vector()).encode()?)?)?;
        copy.set_members([id]);
        Ok((copy.digest(), copy.forget()))
    }
}
