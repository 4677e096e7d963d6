//! The steps, and what they do that writes.

use std::panic::{self, AssertUnwindSafe};

use driftless::{Timestamp, TransactError, WriteError};

use crate::cluster::{Cluster, Held, Node, equal};
use crate::history::{Clock, Part, Rest, Route, Since, Step};
use crate::subject::{Fuse, PlannedPanic, Script, Stop, Subject};

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
            Step::Write { at, clock, ops, fuse } => self.write(self.place(*at), *clock, ops, *fuse),
            Step::Twins { at, and, ops } => self.twins(self.places(*at, *and), ops),
            Step::Pass { ms } => {
                self.wall_ms += u64::from(*ms);
                self.note(format!("{ms} ms pass"));
                Ok(())
            }
            Step::Sync { from, to, route } => self.sync(self.places(*from, *to), *route),
            Step::Send { from, to, route, since } => self.send(self.places(*from, *to), *route, *since),
            Step::Deliver { message, elsewhere, part, chunks } => {
                let elsewhere = elsewhere.map(|to| self.place(to));
                self.arrive(*message, elsewhere, *part, (*chunks).into())
            }
            Step::Lose { message } => {
                self.lose(self.number(*message));
                Ok(())
            }
            Step::Report { about, to, is_old } => self.report(self.places(*about, *to), *is_old),
            Step::Relay { from, to } => self.relay(self.places(*from, *to)),
            Step::Settle { from, to } => self.settle(self.places(*from, *to)),
            Step::Forget { at } => self.forget(self.place(*at)),
            Step::Evict { who, by } => {
                self.evict(*who, *by);
                Ok(())
            }
            Step::Readmit { who, by } => {
                self.readmit(*who, *by);
                Ok(())
            }
            Step::Absence { who, is_mutual } => self.absence(*who, *is_mutual),
            Step::Return { who, with, is_asking } => self.come_back(self.places(*who, *with), *is_asking),
            Step::Interrupted { from, to, bytes, ops, forgets, rest } => {
                let ends = self.places(*from, *to);
                self.interrupted(ends, *bytes, *rest, |cluster| {
                    cluster.write(ends.1, Clock::Right, ops, None)?;
                    if *forgets { cluster.forget(ends.1) } else { Ok(()) }
                })
            }
            Step::Join { known_by } => {
                self.join(*known_by);
                Ok(())
            }
            Step::Restart { who, known_by } => self.restart(self.place(*who), *known_by),
            Step::Close { at, who } => self.close(self.places(*at, *who)),
            Step::Snapshot { at } => self.hold(self.place(*at)),
        }
    }

    fn write(
        &mut self,
        at: usize,
        clock: Clock,
        ops: &[Vec<u8>],
        fuse: Option<(Fuse, u8)>,
    ) -> Result<(), String> {
        let now_ms = match clock {
            Clock::Right => self.wall_ms,
            Clock::Behind(ms) => self.wall_ms - u64::from(ms),
            Clock::YearsBehind => self.wall_ms - 100_000_000_000,
            Clock::AtZero => 0,
            Clock::TooFarAhead => self.wall_ms + 90_000,
        };
        self.transact(at, now_ms, ops, fuse)
    }

    /// Two transactions with the same stamp, later than all that either has seen.
    fn twins(&mut self, (at, and): (usize, usize), ops: &[Vec<u8>]) -> Result<(), String> {
        let seen = self.nodes[at].last.max(self.nodes[and].last);
        let now_ms = self.wall_ms.max(seen.millis() + 1);
        self.transact(at, now_ms, ops, None)?;
        let mut other = ops.to_vec();
        for choice in other.iter_mut().filter_map(|choices| choices.last_mut()) {
            *choice = choice.wrapping_add(1);
        }
        self.transact(and, now_ms, &other, None)
    }

    fn transact(
        &mut self,
        at: usize,
        now_ms: u64,
        ops: &[Vec<u8>],
        fuse: Option<(Fuse, u8)>,
    ) -> Result<(), String> {
        let fuse = fuse.map(|(fuse, writes)| (fuse, usize::from(writes)));
        let before = fuse.map(|_| self.all(at)).transpose()?;
        let Node { replica, vector, last, .. } = &mut self.nodes[at];
        let stamp = Timestamp::from_bits((now_ms << 16).max(last.bits() + 1));
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
        match ended {
            Ended::Committed(committed) => {
                self.log.push(log);
                let is_event = self.oracle.len() > events;
                equal("the stamp", &committed, &is_event.then_some(stamp))?;
                if is_event {
                    self.committed(at, now_ms, stamp);
                } else {
                    self.coverage.without_event += 1;
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
                if let Some((_, was_undone)) = &mut self.nodes[at].wrote {
                    *was_undone = true;
                }
                self.check_unchanged("after an undone transaction", at, before)?;
            }
        }
        self.touch(at, |transfer| transfer.is_interleaved = true);
        self.check(at)
    }

    /// Takes note of a transaction with events.
    fn committed(&mut self, at: usize, now_ms: u64, stamp: Timestamp) {
        let Node { replica, vector, last, wrote, is_joiner } = &mut self.nodes[at];
        let coverage = &mut self.coverage;
        coverage.committed += 1;
        coverage.wrote_on += usize::from(self.closed.contains(&replica.id()));
        if let Some((before_ms, was_undone)) = *wrote
            && now_ms < before_ms
        {
            coverage.stepped_back += 1;
            coverage.stepped_back_after_undone += usize::from(was_undone);
        }
        coverage.long_ago +=
            usize::from(now_ms > 0 && stamp.millis() == now_ms && now_ms < super::START_MS - 100_000);
        coverage.at_zero += usize::from(stamp.millis() == 0);
        coverage.joiner_wrote_first += usize::from(*is_joiner && vector.is_empty());
        *wrote = Some((now_ms, false));
        vector.raise(replica.id(), stamp);
        *last = stamp;
        let other = self.stamps.insert(stamp, replica.id());
        coverage.equal_stamps += usize::from(other.is_some());
    }

    /// A transfer is broken off after its first chunk, and something else happens before the others come, if they do.
    fn interrupted(
        &mut self,
        (from, to): (usize, usize),
        bytes: u16,
        rest: Rest,
        meanwhile: impl FnOnce(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        self.send((from, to), Route::Chunks(bytes), Since::Asked)?;
        let number = self.messages.len() - 1;
        self.deliver(number, to, Part::Next, 1)?;
        meanwhile(self)?;
        match rest {
            Rest::Resumes => self.deliver(number, to, Part::Next, usize::MAX),
            Rest::Restarts => self.deliver(number, to, Part::First, usize::MAX),
            Rest::ComesFrom(other) => {
                let (to, other) = self.places(to as u8, other);
                self.sync((other, to), Route::Chunks(bytes))?;
                self.deliver(number, to, Part::Next, usize::MAX)
            }
            Rest::IsMixed => {
                // If it holds nothing more it is the same transfer: then its chunk fits.
                self.write(from, Clock::Right, &[vec![0, 0, 0], vec![1, 1, 1]], None)?;
                self.send((from, to), Route::Chunks(bytes), Since::Asked)?;
                self.deliver(self.messages.len() - 1, to, Part::ButNext, 1)?;
                self.deliver(number, to, Part::Next, usize::MAX)
            }
            Rest::IsLost => {
                self.lose(Some(number));
                Ok(())
            }
        }
    }

    fn hold(&mut self, at: usize) -> Result<(), String> {
        let replica = &self.nodes[at].replica;
        let (snapshot, vector, digest) = (replica.snapshot(), replica.vector(), replica.digest());
        equal("the vector of a snapshot", &snapshot.vector(), &vector)?;
        let (shown, vector) = (vector, self.nodes[at].vector.clone());
        self.snapshots.push(Held { snapshot, vector, shown, digest });
        self.note(format!("a snapshot of {at} is taken"));
        Ok(())
    }
}
