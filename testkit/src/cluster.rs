//! Runs a history on real replicas and on the oracle, side by side, and compares them after every step.

mod chunks;
mod closing;
mod coverage;
mod ending;
mod members;
mod step;
mod tell;
mod travel;

use std::collections::{BTreeMap, BTreeSet};

use driftless::{Config, Digest, Replica, ReplicaId, Snapshot, Timestamp, VersionVector};

use crate::cluster::chunks::Transfer;
pub use crate::cluster::coverage::Coverage;
use crate::cluster::travel::Message;
use crate::history::History;
use crate::oracle::{Entry, Live, Oracle};
use crate::subject::{Canonical, Readings, Subject, readings, show};

/// The most replicas there can be at once, those that came later included.
pub const MOST: usize = 8;
/// Their order has nothing to do with the order in which the replicas come.
const IDS: [ReplicaId; MOST + RESTARTS] = {
    const fn id(upper: u128, lower: u128) -> ReplicaId {
        ReplicaId::from_u128((upper << 64) | lower)
    }
    let first = [id(3, 0), id(10, 1), id(6, 2), id(2, 3), id(9, 4), id(5, 5), id(12, 6), id(1, 7)];
    let mut ids = [first[0]; MOST + RESTARTS];
    let mut place = 0;
    while place < ids.len() {
        // Those that come by a restart are as out of order as the others, and no two short forms are the same.
        let later = 20 + (place as u128 * 7) % 16;
        ids[place] = if place < MOST { first[place] } else { id(later, later ^ (0x100 + place as u128)) };
        place += 1;
    }
    ids
};
/// The most restarts in a history.
const RESTARTS: usize = 16;
/// Where time begins.
const START_MS: u64 = 1_700_000_000_000;

/// A replica, and what the oracle knows of it.
#[derive(Debug)]
pub struct Node<S> {
    /// The replica.
    pub replica: Replica<S>,
    /// What it must hold.
    vector: VersionVector,
    /// What its clock must say.
    last: Timestamp,
    /// What the time was when it last wrote, and whether a transaction was undone since.
    wrote: Option<(u64, bool)>,
    /// Whether it came when others had been there for a while.
    is_joiner: bool,
}

/// What a reader holds.
#[derive(Debug)]
struct Held<S> {
    snapshot: Snapshot<S>,
    /// What it holds.
    vector: VersionVector,
    /// What it says it holds.
    shown: VersionVector,
    digest: Digest,
}

/// What is right for who has seen the events within one vector.
#[derive(Debug)]
struct Right {
    canonical: Vec<u8>,
    readings: Readings,
}

/// Replicas, the oracle, and what is under way between them.
#[derive(Debug)]
pub struct Cluster<S> {
    /// The replicas.
    pub nodes: Vec<Node<S>>,
    /// What must be.
    pub oracle: Oracle,
    /// What happened, counted.
    pub coverage: Coverage,
    wall_ms: u64,
    keys: u8,
    messages: Vec<Message<S>>,
    transfers: Vec<Transfer<S>>,
    /// For each message in chunks and each receiver, which chunk comes next.
    cursors: BTreeMap<(usize, usize), usize>,
    /// What a sender believes a receiver to hold.
    believed: BTreeMap<(usize, usize), VersionVector>,
    reports: Vec<(ReplicaId, VersionVector)>,
    snapshots: Vec<Held<S>>,
    /// The replicas that others do not wait for, in the order in which they were evicted.
    evicted: Vec<usize>,
    /// The ids that were ever closed, and those of runs that have ended.
    closed: BTreeSet<ReplicaId>,
    former: Vec<ReplicaId>,
    /// For each vector that any replica ever had.
    right: BTreeMap<Vec<(ReplicaId, Timestamp)>, Right>,
    stamps: BTreeMap<Timestamp, ReplicaId>,
    log: Vec<String>,
}

impl<S: Subject> Cluster<S> {
    /// Replicas that hold nothing, all of them members.
    pub fn new(replicas: u8, keys: u8) -> Self {
        let mut cluster = Self {
            nodes: Vec::new(),
            oracle: Oracle::default(),
            coverage: Coverage::default(),
            wall_ms: START_MS,
            keys: keys.max(1),
            messages: Vec::new(),
            transfers: Vec::new(),
            cursors: BTreeMap::new(),
            believed: BTreeMap::new(),
            reports: Vec::new(),
            snapshots: Vec::new(),
            evicted: Vec::new(),
            closed: BTreeSet::new(),
            former: Vec::new(),
            right: BTreeMap::new(),
            stamps: BTreeMap::new(),
            log: Vec::new(),
        };
        for _ in 0..usize::from(replicas).clamp(2, MOST) {
            cluster.add_node();
        }
        let ids = cluster.ids();
        for node in &mut cluster.nodes {
            node.replica.set_members(ids.clone());
        }
        cluster
    }

    /// Runs a history up to its last step.
    ///
    /// # Errors
    /// What was not as the oracle says, and all that happened before.
    pub fn run(history: &History) -> Result<Self, String> {
        let mut cluster = Self::new(history.replicas, history.keys);
        for step in &history.steps {
            let done = cluster.step(step);
            done.map_err(|error| cluster.fault(&error))?;
        }
        Ok(cluster)
    }

    /// Runs a history and lets the replicas converge.
    ///
    /// # Errors
    /// What was not as the oracle says, and all that happened before.
    pub fn run_to_end(history: &History) -> Result<Self, String> {
        let mut cluster = Self::run(history)?;
        let ended = cluster.end();
        ended.map_err(|error| cluster.fault(&error))?;
        Ok(cluster)
    }

    /// An error with the history that led to it.
    pub fn fault(&self, error: &str) -> String {
        format!("{error}\nafter\n  {}", self.log.join("\n  "))
    }

    fn note(&mut self, what: String) {
        self.log.push(what);
    }

    fn add_node(&mut self) -> &mut Node<S> {
        let number = self.nodes.len();
        let config = Config { changes: number % 2 == 1, ..Config::default() };
        self.nodes.push(Node {
            replica: Replica::new(IDS[number], config),
            vector: VersionVector::new(),
            last: Timestamp::ZERO,
            wrote: None,
            is_joiner: false,
        });
        &mut self.nodes[number]
    }

    /// The ids of all replicas, in the order in which they came.
    pub fn ids(&self) -> Vec<ReplicaId> {
        self.nodes.iter().map(|node| node.replica.id()).collect()
    }

    /// Every id that there may be, those of runs that have ended included: what short forms mean to one who knows all.
    pub fn every_id() -> &'static [ReplicaId] {
        &IDS
    }

    fn place(&self, number: u8) -> usize {
        usize::from(number) % self.nodes.len()
    }

    /// Two replicas, never the same one twice.
    fn places(&self, first: u8, second: u8) -> (usize, usize) {
        let (first, second) = (self.place(first), self.place(second));
        (first, if first == second { (second + 1) % self.nodes.len() } else { second })
    }

    /// Compares a replica with what the oracle says of its vector, and with all that ever had an equal vector.
    ///
    /// # Errors
    /// What differs.
    pub fn check(&mut self, at: usize) -> Result<(), String> {
        let Node { replica, vector, last, .. } = &self.nodes[at];
        let held = replica.vector();
        self.means("the vector", &held, vector)?;
        if !replica.covers(vector) {
            return Err(format!("{at} does not cover what it holds: {vector:?}"));
        }
        equal("the clock", &replica.clock().last(), last)?;
        self.coverage.of_all += usize::from(vector.len() >= MOST);
        self.coverage.left_out += usize::from(held.len() < vector.len());
        let canonical = replica.canonical_bytes();
        let mut read = Readings::new();
        replica.state().read(&mut Vec::new(), &mut read);
        let key: Vec<_> = vector.iter().collect();
        let Some(right) = self.right.get(&key) else {
            let live = self.oracle.live(vector);
            compare(&Canonical::live::<S>(&canonical)?, &live)?;
            equal("what is read", &read, &readings(&live))?;
            self.coverage.ties += live.values().filter(|entries| is_tie(entries)).count();
            self.right.insert(key, Right { canonical, readings: read });
            return Ok(());
        };
        equal("what is read at an equal vector", &read, &right.readings)?;
        equal("the canonical bytes of an equal vector", &canonical, &right.canonical)
    }
}

impl<S> Cluster<S> {
    /// A vector that is shown is one that is meant, but for closed ids that it leaves out.
    fn means(&self, what: &str, shown: &VersionVector, meant: &VersionVector) -> Result<(), String> {
        let is_open =
            |(id, _): &(ReplicaId, Timestamp)| !self.closed.contains(id) || shown.get(id) > Timestamp::ZERO;
        let named: VersionVector = meant.iter().filter(is_open).collect();
        equal(what, shown, &named)
    }
}

/// Whether what is live at a place was written by two with the same stamp.
fn is_tie(entries: &[Entry]) -> bool {
    let stamps = || entries.iter().map(|entry| entry.stamp);
    stamps().enumerate().any(|(number, stamp)| stamps().skip(number + 1).any(|other| other == stamp))
}

/// Compares what is live with what should be.
fn compare(found: &Live, expected: &Live) -> Result<(), String> {
    let places = found.keys().chain(expected.keys());
    let differs = |place: &&_| found.get(*place) != expected.get(*place);
    match places.into_iter().find(differs) {
        None => Ok(()),
        Some(place) => Err(format!(
            "at {} there is {:?} instead of {:?}",
            show(place),
            found.get(place),
            expected.get(place)
        )),
    }
}

fn equal<T: PartialEq + std::fmt::Debug + ?Sized>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?} instead of {expected:?}")) }
}
