//! Processes: opened from a disk, killed, and brought back.

use std::collections::BTreeMap;
use std::rc::Rc;

use driftless::{Config, Endpoint, LinkId, Replica, ReplicaId, SyncConfig, VersionVector};

use crate::sim::clock::Clock;
use crate::sim::disk::Disk;
use crate::sim::machine::{Input, Machine};
use crate::sim::truth::View;
use crate::subject::Subject;

/// Of a record: it is the id that the store is written under from here on.
const ID: u8 = 0;
/// Of a record: it is a delta.
const DELTA: u8 = 1;

/// After so many records all is written anew.
pub(super) const MOST_RECORDS: usize = 10;

/// Whether a process is there.
#[derive(Debug)]
pub(super) enum Stage<S> {
    Running(Box<Machine<S>>),
    /// It comes back at this time, if no restart overtakes it.
    Down,
    /// It never comes back.
    Gone,
}

/// From what a process was opened.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    id: ReplicaId,
    local_ms: u64,
    config: SyncConfig,
    has_changes: bool,
    records: Rc<Vec<Vec<u8>>>,
}

impl Opening {
    /// Opens a process: a replica under a fresh id, with what was stored. Returns it with the id that the store was written
    /// under.
    ///
    /// # Errors
    /// What was stored cannot be read.
    pub(super) fn open<S: Subject>(&self) -> Result<(Machine<S>, Option<ReplicaId>), String> {
        let config = Config { changes: self.has_changes, ..Config::default() };
        let mut replica = Replica::new(self.id, config);
        let mut former = None;
        for record in self.records.iter() {
            match record.split_first() {
                Some((&ID, id)) => {
                    let id = id
                        .try_into()
                        .map(u128::from_be_bytes)
                        .map_err(|_| "a record of an id has 16 bytes")?;
                    former = Some(ReplicaId::from_u128(id));
                }
                Some((&DELTA, message)) => {
                    let delta = replica.decode(message).map_err(|error| format!("a record: {error}"))?;
                    // What the store holds is our own, however far ahead of the clock it is.
                    let now_ms = self.local_ms.max(delta.to().newest().millis());
                    replica.merge(now_ms, delta).map_err(|error| format!("a record: {error}"))?;
                }
                _ => return Err("a record is neither an id nor a delta".to_owned()),
            }
        }
        Ok((Machine::new(Endpoint::new(replica, self.config.clone())), former))
    }

    pub(super) fn new(
        id: ReplicaId,
        local_ms: u64,
        config: SyncConfig,
        has_changes: bool,
        records: Vec<Vec<u8>>,
    ) -> Self {
        Self { id, local_ms, config, has_changes, records: Rc::new(records) }
    }
}

/// A record that says under which id the store is written.
pub(super) fn id_record(id: ReplicaId) -> Vec<u8> {
    [&[ID][..], id.uuid().as_bytes()].concat()
}

/// A record of a delta.
pub(super) fn delta_record(message: &[u8]) -> Vec<u8> {
    [&[DELTA][..], message].concat()
}

/// Why a process has no connections but one.
#[derive(Clone, Debug)]
pub(super) struct Quarantine {
    /// The id that is used twice.
    pub(super) id: ReplicaId,
    /// The slot of the other copy, if there is one.
    pub(super) other: Option<usize>,
    pub(super) since_ms: u64,
}

/// A place for a process, and what is left of it while it is down.
#[derive(Debug)]
pub(super) struct Process<S> {
    pub(super) stage: Stage<S>,
    /// The member that it is, the same through all restarts.
    pub(super) member: ReplicaId,
    pub(super) region: &'static str,
    pub(super) config: SyncConfig,
    pub(super) has_changes: bool,
    pub(super) clock: Clock,
    pub(super) disk: Disk,
    /// How often it was opened.
    pub(super) opened: u64,
    /// When it was opened last.
    pub(super) opened_ms: u64,
    /// The id that it writes under, and what the oracle calls this copy.
    pub(super) id: ReplicaId,
    pub(super) label: ReplicaId,
    /// The ids that it had before, since it was opened.
    pub(super) former: Vec<ReplicaId>,
    /// What it holds.
    pub(super) vector: VersionVector,
    pub(super) view: View,
    /// What its disk holds, if that is known, and the vector of it.
    pub(super) stored: View,
    pub(super) stored_vector: VersionVector,
    /// Whether what is written next takes the place of all before.
    pub(super) must_replace: bool,
    pub(super) opening: Option<Opening>,
    /// All that was asked of it since it was opened: when, by the true time and by its own, and what.
    pub(super) inputs: Vec<(u64, u64, Input)>,
    pub(super) links: BTreeMap<LinkId, usize>,
    /// When it is to be looked at again.
    pub(super) wake_ms: Option<u64>,
    pub(super) quarantine: Option<Quarantine>,
    /// Whether its id is in doubt.
    pub(super) is_in_doubt: bool,
    /// Whether it died and waits for a write to the disk to die in.
    pub(super) dies_in_write: Option<(u64, u64)>,
    pub(super) is_evicted: bool,
    /// Whether it is to be shut down once others hold all that it holds: it is one copy too many.
    pub(super) is_superfluous: bool,
}

impl<S: Subject> Process<S> {
    pub(super) fn new(
        member: ReplicaId,
        region: &'static str,
        config: SyncConfig,
        has_changes: bool,
    ) -> Self {
        Self {
            stage: Stage::Down,
            member,
            region,
            config,
            has_changes,
            clock: Clock::default(),
            disk: Disk::default(),
            opened: 0,
            opened_ms: 0,
            id: member,
            label: member,
            former: Vec::new(),
            vector: VersionVector::new(),
            view: View::default(),
            stored: View::default(),
            stored_vector: VersionVector::new(),
            must_replace: true,
            opening: None,
            inputs: Vec::new(),
            links: BTreeMap::new(),
            wake_ms: None,
            quarantine: None,
            is_in_doubt: false,
            dies_in_write: None,
            is_evicted: false,
            is_superfluous: false,
        }
    }

    pub(super) fn machine(&self) -> Option<&Machine<S>> {
        match &self.stage {
            Stage::Running(machine) => Some(machine),
            Stage::Down | Stage::Gone => None,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running(_))
    }

    pub(super) fn is_gone(&self) -> bool {
        matches!(self.stage, Stage::Gone)
    }
}
