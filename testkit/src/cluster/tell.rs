//! The steps in which replicas hear of each other, and forget.

use driftless::{MergeError, ReplicaId, VersionVector};

use crate::cluster::{Cluster, Node, equal};
use crate::subject::Subject;

impl<S: Subject> Cluster<S> {
    pub(super) fn report(&mut self, (about, to): (usize, usize), is_old: bool) -> Result<(), String> {
        let new = (self.nodes[about].replica.id(), self.nodes[about].replica.vector());
        let old = self.reports.get(about % self.reports.len().max(1)).filter(|_| is_old);
        let (id, vector) = old.unwrap_or(&new).clone();
        self.reports.push(new);
        self.note(format!("{to} hears of {id} at {vector:?}"));
        self.coverage.reports += 1;
        self.hear(to, id, &vector)
    }

    pub(super) fn relay(&mut self, (from, to): (usize, usize)) -> Result<(), String> {
        self.note(format!("{to} hears all that {from} has heard"));
        self.coverage.relays += 1;
        for (id, vector) in self.nodes[from].replica.known_vectors() {
            self.hear(to, id, &vector)?;
        }
        Ok(())
    }

    pub(super) fn settle(&mut self, (from, to): (usize, usize)) -> Result<(), String> {
        self.relay((from, to))?;
        self.relay((to, from))?;
        self.forget(from)?;
        self.forget(to)
    }

    pub(super) fn hear(&mut self, at: usize, id: ReplicaId, vector: &VersionVector) -> Result<(), String> {
        let is_too_far = self.is_too_far(at, vector);
        let node = &mut self.nodes[at];
        match node.replica.report(self.wall_ms, id, vector) {
            Ok(()) if !is_too_far => {}
            Err(MergeError::TooFarAhead { .. }) if is_too_far => {}
            other => return Err(format!("a report at {at}: {other:?}")),
        }
        let node = &self.nodes[at];
        self.means("the vector after a report", &node.replica.vector(), &node.vector)
    }

    /// Whether a vector holds a stamp that is news to a replica and further ahead than it accepts.
    pub(super) fn is_too_far(&self, at: usize, vector: &VersionVector) -> bool {
        let Node { replica, vector: own, .. } = &self.nodes[at];
        let bound = self.wall_ms + replica.config().max_ahead_ms;
        vector.iter().any(|(id, stamp)| stamp > own.get(&id) && stamp.millis() > bound)
    }

    pub(super) fn forget(&mut self, at: usize) -> Result<(), String> {
        let replica = &mut self.nodes[at].replica;
        let (digest, cut) = (replica.digest(), replica.stable_cut());
        let forgotten = replica.forget();
        equal("the digest after forgetting", &replica.digest(), &digest)?;
        let Node { replica, vector, .. } = &self.nodes[at];
        if !cut.is_within(vector) {
            return Err(format!("{at} takes for stable what it has not seen: {cut:?}"));
        }
        for node in &self.nodes {
            let id = node.replica.id();
            if id == replica.id() || !replica.members().contains(&id) {
                continue;
            }
            if !cut.is_within(&node.vector) {
                return Err(format!("{id} has not seen what is stable: {cut:?}"));
            }
            if !vector.is_within(&node.vector) && !forgotten.behind.contains(&id) {
                return Err(format!("{id} is behind and is not named: {:?}", forgotten.behind));
            }
        }
        self.coverage.forgotten_rows += forgotten.rows;
        self.coverage.forgotten_marks += forgotten.marks;
        let is_any = forgotten.rows + forgotten.marks > 0;
        self.note(format!("{at} forgets {} rows, {} marks", forgotten.rows, forgotten.marks));
        self.touch(at, |transfer| transfer.has_forgotten |= is_any);
        self.check(at)
    }
}
