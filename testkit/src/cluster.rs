//! Runs a history on real replicas and on the oracle, side by side, and compares them after every step.

mod coverage;
mod ending;
mod step;
mod travel;

use std::collections::BTreeMap;

use driftless::{Config, Digest, Replica, ReplicaId, Snapshot, Timestamp, VersionVector};

pub use crate::cluster::coverage::Coverage;
use crate::cluster::travel::{Message, Transfer};
use crate::history::History;
use crate::oracle::{Live, Oracle};
use crate::subject::{Canonical, Readings, Subject, readings, show};

/// The most replicas there can be at once, those that came later included.
const MOST: usize = 6;
/// Their order has nothing to do with the order in which the replicas come.
const IDS: [ReplicaId; MOST] = {
    const fn id(upper: u128, lower: u128) -> ReplicaId {
        ReplicaId::from_u128((upper << 64) | lower)
    }
    [id(3, 0), id(10, 1), id(6, 2), id(2, 3), id(9, 4), id(5, 5)]
};
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
}

/// What a reader holds.
#[derive(Debug)]
struct Held<S> {
    snapshot: Snapshot<S>,
    vector: VersionVector,
    digest: Digest,
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
    reports: Vec<(ReplicaId, VersionVector)>,
    snapshots: Vec<Held<S>>,
    /// The canonical bytes of each vector that any replica ever had.
    canonical: BTreeMap<Vec<(ReplicaId, Timestamp)>, Vec<u8>>,
    stamps: BTreeMap<Timestamp, ReplicaId>,
    log: Vec<String>,
}

impl<S: Subject> Cluster<S> {
    /// Replicas that hold nothing, all of them members.
    pub fn new(replicas: usize, keys: u8) -> Self {
        let mut cluster = Self {
            nodes: Vec::new(),
            oracle: Oracle::default(),
            coverage: Coverage::default(),
            wall_ms: START_MS,
            keys,
            messages: Vec::new(),
            transfers: Vec::new(),
            reports: Vec::new(),
            snapshots: Vec::new(),
            canonical: BTreeMap::new(),
            stamps: BTreeMap::new(),
            log: Vec::new(),
        };
        for _ in 0..replicas {
            cluster.add_node();
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

    fn add_node(&mut self) {
        let number = self.nodes.len();
        let id = IDS[number];
        let config = Config { changes: number % 2 == 1, ..Config::default() };
        let node =
            Node { replica: Replica::new(id, config), vector: VersionVector::new(), last: Timestamp::ZERO };
        self.nodes.push(node);
        let ids = self.ids();
        for node in &mut self.nodes {
            node.replica.set_members(ids.clone());
        }
    }

    /// The ids of all replicas, in the order in which they came.
    pub fn ids(&self) -> Vec<ReplicaId> {
        self.nodes.iter().map(|node| node.replica.id()).collect()
    }

    fn place(&self, number: usize) -> usize {
        number % self.nodes.len()
    }

    /// Compares a replica with what the oracle says of its vector, and with all that ever had an equal vector.
    ///
    /// # Errors
    /// What differs.
    pub fn check(&mut self, at: usize) -> Result<(), String> {
        let Node { replica, vector, last } = &self.nodes[at];
        let held = replica.vector();
        equal("the vector", &held, vector)?;
        equal("the clock", &replica.clock().last(), last)?;
        let live = self.oracle.live(vector);
        let bytes = replica.canonical_bytes();
        compare(&Canonical::live::<S>(&bytes)?, &live)?;
        let mut read = Readings::new();
        replica.state().read(&mut Vec::new(), &mut read);
        equal("what is read", &read, &readings(&live))?;
        let known = self.canonical.entry(held.iter().collect()).or_insert_with(|| bytes.clone());
        equal("the canonical bytes of an equal vector", &bytes, known)
    }
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

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?} instead of {expected:?}")) }
}
