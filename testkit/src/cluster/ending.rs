//! How every history ends: all that is open is closed, and the replicas must agree.

use driftless::{Replica, ReplicaId, VersionVector};

use crate::cluster::{Cluster, equal};
use crate::history::{Clock, Route, Step};
use crate::subject::Subject;

impl<S: Subject> Cluster<S> {
    /// Lets all replicas converge and forget, compares them, and removes all there is.
    ///
    /// # Errors
    /// What was not as the oracle says.
    pub fn end(&mut self) -> Result<(), String> {
        self.coverage.removals_beside_writes = self.oracle.removals_beside_writes();
        // Whatever clock ran ahead: its stamps are accepted by now.
        self.wall_ms += 1_000_000;
        self.converge()?;
        self.settle_all()?;
        self.check_snapshots()?;
        // Once more, of what is left after forgetting.
        for at in 0..self.nodes.len() {
            let ops = vec![vec![0, at as u8, 0, 0, 0], vec![0, 1, 7, at as u8, 0]];
            self.step(&Step::Write { at: at as u8, clock: Clock::Right, ops, fuse: None })?;
        }
        self.converge()?;
        self.join_late()?;
        self.wipe()
    }

    /// Few sync each with each; many in a ring, twice around.
    fn converge(&mut self) -> Result<(), String> {
        let count = self.nodes.len();
        let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
        let ring = (0..2 * count).map(|from| (from % count, (from + 1) % count));
        let ends: Vec<_> = if count <= 4 { pairs.collect() } else { ring.collect() };
        let routes = [Route::Message, Route::Chunks(60), Route::Direct];
        for ((from, to), route) in ends.into_iter().zip(routes.into_iter().cycle()) {
            if from != to {
                self.sync((from, to), route)?;
            }
        }
        let first = &self.nodes[0].replica;
        let (digest, bytes) = (first.digest(), first.canonical_bytes());
        for node in &self.nodes {
            equal("the digest of all", &node.replica.digest(), &digest)?;
            equal("the canonical bytes of all", &node.replica.canonical_bytes(), &bytes)?;
        }
        Ok(())
    }

    /// All are members, tell each other what they hold, and forget. Then there is nothing more to forget.
    fn settle_all(&mut self) -> Result<(), String> {
        let ids = self.ids();
        let vectors: Vec<_> = self.nodes.iter().map(|node| node.replica.vector()).collect();
        for at in 0..self.nodes.len() {
            self.nodes[at].replica.set_members(ids.clone());
            for (id, vector) in ids.iter().zip(&vectors) {
                self.hear(at, *id, vector)?;
            }
            // Who knows that a run has ended knows that nothing more comes of it.
            for former in self.former.clone() {
                let vector = self.nodes[at].replica.vector();
                self.hear(at, former, &vector)?;
            }
            self.means("the stable cut", &self.nodes[at].replica.stable_cut(), &self.nodes[at].vector)?;
        }
        for at in 0..self.nodes.len() {
            self.forget(at)?;
            let again = self.nodes[at].replica.forget();
            equal("what is left to forget", &(again.rows, again.marks, again.behind), &(0, 0, Vec::new()))?;
        }
        Ok(())
    }

    /// Snapshots show what they showed, and can still be shipped.
    fn check_snapshots(&mut self) -> Result<(), String> {
        let snapshots = std::mem::take(&mut self.snapshots);
        self.coverage.snapshots += snapshots.len();
        for held in &snapshots {
            equal("the digest of a snapshot", &held.snapshot.digest(), &held.digest)?;
            equal("the vector of a snapshot", &held.snapshot.vector(), &held.shown)?;
        }
        Ok(())
    }

    /// One who comes last is sent everything.
    fn join_late(&mut self) -> Result<(), String> {
        let first = &self.nodes[0].replica;
        let mut late = Replica::<S>::new(ReplicaId::from_u128(u128::MAX), first.config().clone());
        let bytes = first.delta_since(&VersionVector::new()).encode().map_err(|error| error.to_string())?;
        let delta = late.decode(&bytes).map_err(|error| format!("one who comes last: {error}"))?;
        late.merge(self.wall_ms, delta).map_err(|error| format!("one who comes last: {error}"))?;
        equal("the bytes of one who comes last", &late.canonical_bytes(), &first.canonical_bytes())
    }

    /// All is removed. Once all have seen it nothing is left of it.
    fn wipe(&mut self) -> Result<(), String> {
        let node = &mut self.nodes[0];
        let (id, vector) = (node.replica.id(), node.vector.clone());
        let stamp = driftless::Timestamp::from_bits((self.wall_ms << 16).max(node.last.bits() + 1));
        let wiped = node.replica.write(self.wall_ms, |handle| S::wipe(handle));
        wiped.map_err(|error| error.to_string())?;
        if self.oracle.transaction(id, stamp, vector).remove(&Vec::new()) {
            node.vector.raise(id, stamp);
            node.last = stamp;
        }
        self.note("0 removes everything".to_owned());
        self.check(0)?;
        self.converge()?;
        self.settle_all()?;
        for node in &self.nodes {
            if !node.replica.state().is_bottom() {
                return Err("something is left of what all have seen removed".to_owned());
            }
        }
        Ok(())
    }
}
