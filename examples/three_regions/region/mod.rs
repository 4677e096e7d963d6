//! A region: one replica in one thread, which writes by its schedule, ships what changed, and merges what comes.

mod exchange;
mod writing;

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use driftless::{Config, Digest, Forgotten, Replica, ReplicaId, Snapshot, Timestamp, VersionVector};

use crate::airports::Source;
use crate::board::Board;
use crate::clock::Clock;
use crate::mail::Mail;
use crate::measure::{Forgetting, Merge, Shipment, Transaction};
use crate::model::Airports;
use crate::regions::{COUNT, Index};
use crate::schedule::Planned;
use crate::session::Session;

/// How often what changed is sent.
const FLUSH_US: u64 = 10_000;
/// How often a region says what it holds, and what it knows others to hold, whether anything changed or not.
const HEARTBEAT_US: u64 = 100_000;
/// How often it forgets what all have seen: while it writes, and after.
const FORGET_US: u64 = 1_000_000;
const FORGET_AT_LAST_US: u64 = 100_000;

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

    /// Takes note of when the vector changed.
    fn touch(&mut self, at_us: u64) {
        self.changed_us = at_us;
        self.is_all_seen = false;
    }

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
