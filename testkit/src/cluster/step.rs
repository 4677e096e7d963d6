//! The steps that write, tell and forget.

use std::panic::{self, AssertUnwindSafe};

use driftless::{MergeError, Replica, ReplicaId, Timestamp, TransactError, VersionVector, WriteError};

use crate::cluster::{Cluster, Held, IDS, MOST, Node, equal};
use crate::history::{Route, Step};
use crate::subject::{Fuse, PlannedPanic, Script, Stop, Subject};
use crate::wire::Message;

/// How a transaction ended.
enum Ended {
    Committed(Option<Timestamp>),
    Undone(&'static str),
}

impl<S: Subject> Cluster<S> {
    /// Makes a step.
    ///
    /// # Errors
    /// What was not as the oracle says.
    pub fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Write { at, wrong_ms, ops, fuse } => self.write(self.place(*at), *wrong_ms, ops, *fuse),
            Step::Pass { ms } => {
                self.wall_ms += ms;
                self.note(format!("{ms} ms pass"));
                Ok(())
            }
            Step::Sync { from, to, route } => self.sync(self.place(*from), self.place(*to), *route),
            Step::Send { from, to, route, is_stale } => {
                self.send(self.place(*from), self.place(*to), *route, *is_stale)
            }
            Step::Deliver { message, elsewhere, chunks } => {
                self.arrive(*message, elsewhere.map(|to| self.place(to)), *chunks)
            }
            Step::Lose { message } => {
                self.lose(*message);
                Ok(())
            }
            Step::Report { about, to, is_old } => self.report(self.place(*about), self.place(*to), *is_old),
            Step::Relay { from, to } => self.relay(self.place(*from), self.place(*to)),
            Step::Settle { from, to } => self.settle(self.place(*from), self.place(*to)),
            Step::Forget { at } => self.forget(self.place(*at)),
            Step::Evict { who, by } => self.evict(self.place(*who), *by),
            Step::Readmit { who, by } => {
                self.readmit(self.place(*who), *by);
                Ok(())
            }
            Step::Absence { who } => self.absence(self.place(*who)),
            Step::Interrupted { from, to, bytes, ops } => {
                let (from, to) = (self.place(*from), self.place(*to));
                self.send(from, to, Route::Chunks(*bytes), false)?;
                self.arrive(0, None, 1)?;
                self.write(to, 0, ops, None)?;
                self.arrive(0, None, usize::MAX)
            }
            Step::Join => {
                if self.nodes.len() < MOST {
                    self.note(format!("replica {} joins", self.nodes.len()));
                    self.add_node();
                    self.coverage.joins += 1;
                }
                Ok(())
            }
            Step::Snapshot { at } => self.hold(self.place(*at)),
        }
    }

    fn write(
        &mut self,
        at: usize,
        wrong_ms: i64,
        ops: &[Vec<u8>],
        fuse: Option<(Fuse, usize)>,
    ) -> Result<(), String> {
        let now_ms = self.wall_ms.saturating_add_signed(wrong_ms);
        let Node { replica, vector, last } = &mut self.nodes[at];
        let stamp = Timestamp::from_bits((now_ms << 16).max(last.bits() + 1));
        let (digest, state) = (replica.digest(), full_state(replica)?);
        let events = self.oracle.len();
        let mut script = Script::new(&mut self.oracle, replica.id(), stamp, vector.clone(), self.keys, fuse);
        let catches = matches!(fuse, Some((Fuse::CaughtPanic, _)));
        let transaction = AssertUnwindSafe(|| {
            replica.transact(now_ms, |handle| {
                let act = AssertUnwindSafe(|| {
                    ops.iter().try_for_each(|choices| {
                        script.choose_by(choices);
                        S::act(handle, &mut script)
                    })
                });
                if !catches {
                    return { act }.0();
                }
                panic::catch_unwind(act).unwrap_or_else(|panic| {
                    assert!(panic.is::<PlannedPanic>());
                    Ok(())
                })
            })
        });
        let ended = match panic::catch_unwind(transaction) {
            Ok(Ok(committed)) => Ended::Committed(committed.stamp),
            Ok(Err(TransactError::Aborted(Stop::Planned))) => Ended::Undone("aborted"),
            Ok(Err(TransactError::Write(WriteError::Unwound))) if catches => Ended::Undone("unwound"),
            Err(panic) if panic.is::<PlannedPanic>() => Ended::Undone("panicked"),
            Err(panic) => panic::resume_unwind(panic),
            Ok(Err(TransactError::Aborted(Stop::Fault(fault)))) => return Err(fault),
            Ok(Err(error)) => return Err(format!("a transaction at {at}: {error:?}")),
        };
        let log = format!("{at} writes at {stamp}: {}", script.into_log().join(", "));
        let is_event = self.oracle.len() > events;
        match ended {
            Ended::Committed(committed) => {
                self.log.push(log);
                equal("the stamp", &committed, &is_event.then_some(stamp))?;
                self.coverage.stepped_back += usize::from(wrong_ms < 0 && is_event);
                *(if is_event { &mut self.coverage.committed } else { &mut self.coverage.without_event }) +=
                    1;
                if is_event {
                    let Node { replica, vector, last } = &mut self.nodes[at];
                    vector.raise(replica.id(), stamp);
                    *last = stamp;
                    let other = self.stamps.insert(stamp, replica.id());
                    self.coverage.equal_stamps += usize::from(other.is_some());
                }
            }
            Ended::Undone(how) => {
                self.log.push(format!("{log}, {how}"));
                self.oracle.take_back(events);
                let count = match how {
                    "aborted" => &mut self.coverage.aborted,
                    "panicked" => &mut self.coverage.panicked,
                    _ => &mut self.coverage.unwound,
                };
                *count += 1;
                let replica = &self.nodes[at].replica;
                equal("the digest after an undone transaction", &replica.digest(), &digest)?;
                equal("what is held after an undone transaction", &full_state(replica)?, &state)?;
            }
        }
        self.touch(at);
        self.check(at)
    }

    fn report(&mut self, about: usize, to: usize, is_old: bool) -> Result<(), String> {
        let new = (self.nodes[about].replica.id(), self.nodes[about].replica.vector());
        let old = self.reports.get(about % self.reports.len().max(1)).filter(|_| is_old);
        let (id, vector) = old.unwrap_or(&new).clone();
        self.reports.push(new);
        self.note(format!("{to} hears of {id} at {vector:?}"));
        self.coverage.reports += 1;
        self.hear(to, id, &vector)
    }

    fn relay(&mut self, from: usize, to: usize) -> Result<(), String> {
        self.note(format!("{to} hears all that {from} has heard"));
        self.coverage.relays += 1;
        for (id, vector) in self.nodes[from].replica.known_vectors() {
            self.hear(to, id, &vector)?;
        }
        Ok(())
    }

    fn settle(&mut self, from: usize, to: usize) -> Result<(), String> {
        self.relay(from, to)?;
        self.relay(to, from)?;
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
        equal("the vector after a report", &node.replica.vector(), &node.vector)
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
        let replica = &self.nodes[at].replica;
        for node in &self.nodes {
            let id = node.replica.id();
            if id == replica.id() || !replica.members().contains(&id) {
                continue;
            }
            if !cut.is_within(&node.vector) {
                return Err(format!("{id} has not seen what is stable: {cut:?}"));
            }
            if !replica.vector().is_within(&node.vector) && !forgotten.behind.contains(&id) {
                return Err(format!("{id} is behind and is not named: {:?}", forgotten.behind));
            }
        }
        self.coverage.forgotten_rows += forgotten.rows;
        self.coverage.forgotten_marks += forgotten.marks;
        self.note(format!("{at} forgets {} rows, {} marks", forgotten.rows, forgotten.marks));
        self.check(at)
    }

    /// The others no longer wait for one: some of them at once, some later or never.
    fn evict(&mut self, who: usize, by: u8) -> Result<(), String> {
        let id = self.nodes[who].replica.id();
        self.note(format!("{who} is evicted by {by:08b}"));
        self.coverage.evictions += 1;
        for (_, node) in others(&mut self.nodes, who, by) {
            let members = node.replica.members().iter().copied().filter(|member| *member != id);
            let members: Vec<_> = members.collect();
            node.replica.set_members(members);
        }
        Ok(())
    }

    fn absence(&mut self, who: usize) -> Result<(), String> {
        self.evict(who, u8::MAX)?;
        let others: Vec<_> = (0..self.nodes.len()).filter(|at| *at != who).collect();
        for round in 0..2 {
            for (from, to) in others.iter().zip(others.iter().cycle().skip(1)) {
                if from != to && round == 0 {
                    self.sync(*from, *to, Route::Message)?;
                    self.sync(*to, *from, Route::Message)?;
                }
                self.settle(*from, *to)?;
            }
        }
        Ok(())
    }

    fn readmit(&mut self, who: usize, by: u8) {
        let id = self.nodes[who].replica.id();
        self.note(format!("{who} is a member again for {by:08b}"));
        for (_, node) in others(&mut self.nodes, who, by) {
            let members: Vec<_> = node.replica.members().iter().copied().chain([id]).collect();
            node.replica.set_members(members);
        }
    }

    /// Whether another one does not wait for a replica.
    pub(super) fn is_evicted(&self, who: usize, at: usize) -> bool {
        !self.nodes[at].replica.members().contains(&self.nodes[who].replica.id())
    }

    fn hold(&mut self, at: usize) -> Result<(), String> {
        let replica = &self.nodes[at].replica;
        let (snapshot, vector, digest) = (replica.snapshot(), replica.vector(), replica.digest());
        equal("the vector of a snapshot", &snapshot.vector(), &vector)?;
        self.snapshots.push(Held { snapshot, vector, digest });
        self.note(format!("a snapshot of {at} is taken"));
        Ok(())
    }
}

/// The replicas but one, those whose bit is set.
fn others<S>(nodes: &mut [Node<S>], but: usize, by: u8) -> impl Iterator<Item = (usize, &mut Node<S>)> {
    nodes.iter_mut().enumerate().filter(move |(at, _)| *at != but && by >> at & 1 == 1)
}

/// All that a replica holds, marks and all. It is compared taken apart: rows may stand in another order than before.
pub(super) fn full_state<S: Subject>(replica: &Replica<S>) -> Result<Message, String> {
    let bytes = replica.delta_since(&VersionVector::new()).encode().map_err(|error| error.to_string())?;
    Message::read::<S>(&bytes, &IDS)
}
