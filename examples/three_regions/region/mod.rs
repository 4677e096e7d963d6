//! A region: an endpoint in a thread of its own, which writes by a schedule while the endpoint keeps it in step with others.

mod exchange;
mod writing;

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use driftless::{
    Config, Digest, Endpoint, Epoch, Forgotten, LinkId, LinkState, Member, Replica, ReplicaId, Snapshot,
    SyncConfig, Timestamp, VersionVector,
};

use crate::airports::Source;
use crate::board::Board;
use crate::clock::Clock;
use crate::mail::Mail;
use crate::measure::{Arrival, Kept, Transaction};
use crate::model::{Airports, removed_rows};
use crate::random::Random;
use crate::region::exchange::Connection;
use crate::regions::{COUNT, Cluster, Index, REGIONS};
use crate::schedule::Planned;

/// How often what changed is sent.
const FLUSH_US: u64 = 10_000;
/// How often peers are told that all is well, and what all have seen is forgotten.
const HEARTBEAT_MS: u64 = 100;
/// How often a region counts what it keeps for others: while it writes, and after.
const COUNT_US: u64 = 1_000_000;
const COUNT_AT_LAST_US: u64 = 2 * HEARTBEAT_MS * 1_000;

/// What ends a region before its time.
pub(crate) type Fault = Box<dyn Error + Send + Sync>;

/// What a region is set up with.
pub(crate) struct Setup {
    pub(crate) index: Index,
    pub(crate) cluster: Cluster,
    pub(crate) clock: Clock,
    /// For what has to be another number at each connection. A program in service takes the system's.
    pub(crate) random: Random,
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
    pub(crate) members: Vec<Member>,
    pub(crate) epoch: Epoch,
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
    pub(crate) arrivals: Vec<Arrival>,
    pub(crate) conflicts: usize,
    pub(crate) kept: Vec<Kept>,
    /// Why connections ended.
    pub(crate) downs: Vec<String>,
}

/// A region at work.
pub(crate) struct Region {
    setup: Setup,
    endpoint: Endpoint<Airports>,
    connections: BTreeMap<LinkId, Connection>,
    log: Log,
    /// When writing begins.
    begins_us: Option<u64>,
    /// Operations that are done.
    done: usize,
    /// Records that are loaded.
    loaded: usize,
    is_loading: bool,
    /// When it next counts what it keeps.
    count_us: u64,
    /// When the vector last changed.
    changed_us: u64,
    /// How often in a row all that is held was known to be seen by all.
    all_seen: usize,
}

impl Region {
    pub(crate) fn new(setup: Setup) -> Result<Self, Fault> {
        let Cluster { id, ids, members } = &setup.cluster;
        let index = setup.index;
        let config = SyncConfig {
            heartbeat_ms: HEARTBEAT_MS,
            ..SyncConfig::new(*id, members[index], REGIONS[index].name)
        };
        let mut endpoint = Endpoint::new(Replica::new(ids[index], Config::default()), config);
        if index == 0 {
            // The others become members by connecting.
            endpoint.found(setup.clock.unix_ms())?;
        }
        Ok(Self {
            setup,
            endpoint,
            connections: BTreeMap::new(),
            log: Log::default(),
            begins_us: None,
            done: 0,
            loaded: 0,
            is_loading: false,
            count_us: 0,
            changed_us: 0,
            all_seen: 0,
        })
    }

    /// Works until it is told to finish.
    pub(crate) fn run(mut self, mail: &Receiver<Mail>) -> Result<Outcome, Fault> {
        let mut flush_us = 0;
        loop {
            self.load()?;
            self.write()?;
            let now_us = self.setup.clock.micros();
            if now_us >= flush_us {
                self.flush()?;
                self.publish();
                flush_us = now_us + FLUSH_US;
            }
            if now_us >= self.count_us {
                self.count(now_us);
                let pause_us = if self.is_writing() { COUNT_US } else { COUNT_AT_LAST_US };
                self.count_us = (self.count_us + pause_us).max(now_us);
            }
            let next_us = flush_us.min(self.count_us).min(self.next_write_us());
            let wait = next_us.saturating_sub(self.setup.clock.micros());
            let is_busy = self.is_loading && self.loaded < self.setup.own_sources.len();
            let wait = Duration::from_micros(if is_busy { 0 } else { wait });
            match mail.recv_timeout(wait) {
                Ok(Mail::Up(link, outlet)) => self.up(link, outlet),
                Ok(Mail::Down(link, reason)) => {
                    self.down(link);
                    self.log.downs.push(reason);
                }
                Ok(Mail::Frame(link, frame)) => self.receive(link, &frame)?,
                Ok(Mail::Load) => self.is_loading = true,
                Ok(Mail::Write(begins_us)) => {
                    self.begins_us = Some(begins_us);
                    self.count_us = begins_us + COUNT_US;
                }
                Ok(Mail::Digest(reply)) => drop(reply.send(self.endpoint.replica().digest())),
                Ok(Mail::Finish) => return self.finish(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err("nobody is there to finish the job".into()),
            }
        }
    }

    fn unix_ms(&self) -> u64 {
        self.setup.clock.unix_ms()
    }

    /// Takes note of when the vector changed.
    fn touch(&mut self, at_us: u64) {
        self.changed_us = at_us;
        self.all_seen = 0;
    }

    /// Counts what is kept for those that have not seen it, and looks who they are.
    fn count(&mut self, now_us: u64) {
        let replica = self.endpoint.replica();
        let own = replica.vector();
        let known: BTreeMap<ReplicaId, VersionVector> = replica.known_vectors().into_iter().collect();
        let behind_by_ms = |region: Index| {
            let known = known.get(&self.setup.cluster.ids[region]);
            let behind = own.iter().map(|(author, stamp)| {
                let seen = known.map_or(Timestamp::ZERO, |vector| vector.get(&author));
                stamp.millis().saturating_sub(seen.millis())
            });
            behind.max().unwrap_or(0)
        };
        let furthest = (0..COUNT).map(|region| (region, behind_by_ms(region)));
        let furthest = furthest.filter(|(_, ms)| *ms > 0).max_by_key(|(_, ms)| *ms);
        self.all_seen = if replica.stable_cut() == own { self.all_seen + 1 } else { 0 };
        let rows = removed_rows(replica.state());
        self.log.kept.push(Kept { at_us: now_us, rows, furthest });
    }

    fn publish(&self) {
        let replica = self.endpoint.replica();
        self.setup.board.update(self.setup.index, |status| {
            status.vector = replica.vector();
            status.changed_us = self.changed_us;
            status.records = replica.state().len();
            let peers = self.endpoint.peers();
            status.open = peers.iter().filter(|peer| peer.state == LinkState::Open).count();
            status.members = self.endpoint.members().len();
            status.is_written = self.begins_us.is_some() && !self.is_writing();
            // Between two counts the endpoint has forgotten what there was to forget.
            status.is_all_forgotten = self.all_seen >= 2;
        });
    }

    fn stamps(&self, vector: &VersionVector) -> [Timestamp; COUNT] {
        self.setup.cluster.ids.map(|id| vector.get(&id))
    }

    fn finish(self) -> Result<Outcome, Fault> {
        let (copy_digest, left) = self.copy()?;
        let replica = self.endpoint.replica();
        Ok(Outcome {
            snapshot: replica.snapshot(),
            digest: replica.digest(),
            canonical_bytes: replica.canonical_bytes(),
            copy_digest,
            left,
            members: self.endpoint.members(),
            epoch: self.endpoint.epoch(),
            log: self.log,
        })
    }

    /// Copies all that is held into a new replica, as one that joins would be sent it, and counts what could be forgotten
    /// there: as nobody else needs it, that is whatever this one has not forgotten.
    fn copy(&self) -> Result<(Digest, Forgotten), Fault> {
        let (id, now_ms) = (ReplicaId::from_u128(0), self.unix_ms());
        let mut copy: Replica<Airports> = Replica::new(id, Config::default());
        let all = self.endpoint.replica().delta_since(&copy.vector());
        copy.merge(now_ms, copy.decode(&all.encode()?)?)?;
        copy.set_members([id]);
        Ok((copy.digest(), copy.forget()))
    }
}
