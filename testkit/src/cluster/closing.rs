//! The steps in which ids are closed.

use driftless::{MergeError, Replica, ReplicaId, Timestamp, VersionVector};

use crate::cluster::{Cluster, IDS, MOST, Node, RESTARTS, equal};
use crate::history::Group;
use crate::subject::Subject;

impl<S: Subject> Cluster<S> {
    /// A new replica takes the place of one, with what that held and under another id, and closes the former id.
    pub(super) fn restart(&mut self, at: usize, known_by: Group) -> Result<(), String> {
        let number = self.former.len();
        if number == RESTARTS {
            return Ok(());
        }
        let before = &self.nodes[at].replica;
        let mut replica = Replica::<S>::new(IDS[MOST + number], before.config().clone());
        match replica.merge(self.wall_ms, before.delta_since(&VersionVector::new())) {
            Ok(_) => {}
            // Its own clock ran ahead: it cannot read what it saved until then.
            Err(MergeError::TooFarAhead { .. }) => return Ok(()),
            Err(error) => return Err(format!("a restart of {at}: {error}")),
        }
        let (former, id) = (before.id(), replica.id());
        let renamed = |members: &[ReplicaId]| -> Vec<ReplicaId> {
            members.iter().map(|member| if *member == former { id } else { *member }).collect()
        };
        replica.set_members(renamed(before.members()));
        for (id, vector) in before.known_vectors() {
            match replica.report(self.wall_ms, id, &vector) {
                Ok(()) | Err(MergeError::TooFarAhead { .. }) => {}
                Err(error) => return Err(format!("a report after a restart of {at}: {error}")),
            }
        }
        for (place, node) in self.nodes.iter_mut().enumerate() {
            if place != at && known_by >> place & 1 == 1 {
                let members = renamed(node.replica.members());
                node.replica.set_members(members);
            }
        }
        self.note(format!("{at} starts again as {id}, known by {known_by:08b}"));
        self.coverage.restarts += 1;
        self.former.push(former);
        let node = &mut self.nodes[at];
        node.replica = replica;
        node.wrote = None;
        // Its clock has seen what it holds, and forgets what its former run only heard of.
        node.last = node.vector.newest();
        self.transfers.retain(|transfer| transfer.receiver() != at);
        self.cursors.retain(|(_, to), _| *to != at);
        self.check(at)?;
        self.close_id(at, former)
    }

    /// A replica closes the id of another one, which may write on.
    pub(super) fn close(&mut self, (at, who): (usize, usize)) -> Result<(), String> {
        let id = self.nodes[who].replica.id();
        self.close_id(at, id)
    }

    fn close_id(&mut self, at: usize, id: ReplicaId) -> Result<(), String> {
        let Node { replica, vector, last, .. } = &mut self.nodes[at];
        let stamp = Timestamp::from_bits((self.wall_ms << 16).max(last.bits() + 1));
        let held = vector.get(&id);
        let before = replica.digest();
        let closed = replica.close(self.wall_ms, id).map_err(|error| error.to_string())?;
        equal("the digest after closing", &replica.digest(), &before)?;
        if let Some(closed) = closed {
            equal("up to where an id is closed", &closed, &held)?;
            vector.raise(replica.id(), stamp);
            *last = stamp;
            self.closed.insert(id);
            self.coverage.closings += 1;
        }
        self.note(format!("{at} closes {id} at {closed:?}"));
        self.touch(at, |transfer| transfer.is_interleaved = true);
        self.check(at)
    }
}
