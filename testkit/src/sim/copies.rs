//! Processes that are copied while they run, or go on from where they were a while ago.
//!
//! Two copies that both reach others before either is found out cannot be told apart by anybody: that is a documented limit.
//! So of two
//! copies one has no connections until another process has what the other one wrote, and meets that process first.

use driftless::{Reissued, ReplicaId, Timestamp, VersionVector};

use crate::sim::machine::{Input, Machine};
use crate::sim::plan::MOST;
use crate::sim::process::{Process, Quarantine, Stage};
use crate::sim::world::{Happening, Stop, World};
use crate::subject::Subject;

/// How long what a process sent may still be under way when it is gone.
const UNDER_WAY_MS: u64 = 8_000;
/// How soon who is in doubt tries again to take a new id.
const TRY_AGAIN_MS: u64 = 200;

impl<S: Subject> World<S> {
    /// A second endpoint that got the first inputs of a process: what it was then.
    fn replayed(&mut self, slot: usize, count: usize) -> Result<Machine<S>, Stop> {
        let process = &self.processes[slot];
        let opening = process.opening.clone().ok_or_else(|| format!("{slot} was never opened"))?;
        let (mut machine, _) = opening.open()?;
        let inputs: Vec<_> = process.inputs[..count].to_vec();
        for (_, local_ms, input) in inputs {
            let events = self.truth.oracle.len();
            machine.feed(local_ms, &input, &mut self.truth.oracle)?;
            // The oracle knows all of it.
            self.truth.oracle.take_back(events);
        }
        Ok(machine)
    }

    /// What runs in a slot from now on is another copy of what was there, or is there.
    fn take_over(
        &mut self,
        slot: usize,
        machine: Machine<S>,
        id: ReplicaId,
        other: Option<usize>,
    ) -> Result<(), Stop> {
        let label = self.fresh_id();
        let vector = machine.endpoint.replica().vector();
        let last = machine.endpoint.replica().clock().last();
        let view = self.truth.view(&vector)?;
        let from = self.processes[other.unwrap_or(slot)].label;
        self.truth.part(label, id, (from, view.ids.get(&id)));
        let (now_ms, local_ms) = (self.now_ms, self.local_ms(slot));
        let process = &mut self.processes[slot];
        let links: Vec<_> = process.links.keys().copied().collect();
        process.links.clear();
        // Its stamps must differ from those of the other copy.
        let behind_ms = (last.millis() + 2).saturating_sub(local_ms);
        process.clock.step(behind_ms as i64);
        process.clock.tell_apart(true);
        (process.id, process.label, process.vector, process.view) = (id, label, vector, view);
        (process.wake_ms, process.must_replace, process.is_in_doubt) = (None, true, false);
        process.quarantine = Some(Quarantine { id, other, since_ms: now_ms });
        process.stage = Stage::Running(Box::new(machine));
        // First of all: what is written next goes on from what is being written now.
        self.write_to_disk(slot)?;
        for link in links {
            self.feed(slot, Input::LinkDown(link))?;
        }
        self.feed(slot, Input::Tick).map(drop)
    }

    /// A copy of a process as it runs.
    pub(super) fn clone_process(&mut self, slot: usize, is_copy_heard: bool) -> Result<(), Stop> {
        let there = self.processes.iter().filter(|process| !process.is_gone()).count();
        if there >= MOST
            || !self.processes[slot].is_running()
            || self.is_protected(slot)
            || self.is_ahead(slot)
        {
            return Ok(());
        }
        let count = self.processes[slot].inputs.len();
        let machine = self.replayed(slot, count)?;
        let process = &mut self.processes[slot];
        let Stage::Running(original) = &process.stage else { return Ok(()) };
        let (one, other) = (original.endpoint.replica(), machine.endpoint.replica());
        let is_same = one.vector() == other.vector()
            && one.canonical_bytes() == other.canonical_bytes()
            && original.endpoint.deadline() == machine.endpoint.deadline();
        if !is_same {
            return Err(Stop::Fault(format!("{slot}, given the same inputs again, is not the same")));
        }
        let id = process.id;
        process.clock.tell_apart(false);
        let mut copy =
            Process::new(process.member, process.region, process.config.clone(), process.has_changes);
        copy.clock = process.clock.clone();
        copy.disk = process.disk.clone();
        copy.stored = process.stored.clone();
        copy.opened = process.opened;
        copy.opening = process.opening.clone();
        copy.inputs = process.inputs.clone();
        copy.former = process.former.clone();
        copy.links = process.links.clone();
        let number = self.processes.len();
        self.processes.push(copy);
        self.coverage.clones += 1;
        self.note(|| format!("{slot} is copied to {number}"));
        // Which of the two has no connections for now.
        let is_original_silent = is_copy_heard;
        self.take_over(number, machine, id, Some(slot))?;
        if is_original_silent {
            self.processes[number].quarantine = None;
            self.cut_off(slot);
            let links: Vec<_> = self.processes[slot].links.keys().copied().collect();
            for link in links {
                self.feed(slot, Input::LinkDown(link))?;
            }
            self.processes[slot].quarantine =
                Some(Quarantine { id, other: Some(number), since_ms: self.now_ms });
        }
        Ok(())
    }

    /// A process goes on from where it was a while ago.
    pub(super) fn roll_back(&mut self, slot: usize, by_ms: u64) -> Result<(), Stop> {
        if !self.processes[slot].is_running() || self.is_protected(slot) || self.is_ahead(slot) {
            return Ok(());
        }
        let then_ms = self.now_ms.saturating_sub(by_ms);
        let count = self.processes[slot].inputs.partition_point(|(at_ms, ..)| *at_ms <= then_ms);
        if count == 0 || count == self.processes[slot].inputs.len() {
            return Ok(());
        }
        // Who was restarted since does not remember what it was told of its commits; nor does who will be.
        let forgets =
            |process: &Process<S>| process.opened_ms > then_ms || matches!(process.stage, Stage::Down);
        if self.processes.iter().any(forgets) {
            return Ok(());
        }
        let machine = self.replayed(slot, count)?;
        let id = machine.endpoint.replica().id();
        if id != self.processes[slot].id {
            // It took another id since: what was issued again would be there twice.
            return Ok(());
        }
        self.coverage.rollbacks += 1;
        self.note(|| format!("{slot} goes on from where it was {by_ms} ms ago"));
        let up = links_up(&self.processes[slot].inputs[..count]);
        self.cut_off(slot);
        let process = &mut self.processes[slot];
        process.inputs.truncate(count);
        process.disk = process.disk.at(then_ms).unwrap_or_default();
        process.stored = Default::default();
        process.links = up.into_iter().map(|link| (link, slot)).collect();
        self.take_over(slot, machine, id, None)
    }

    /// Whether the clock of a process is so far ahead, or was, that others refuse its stamps.
    pub(super) fn is_ahead(&self, slot: usize) -> bool {
        let process = &self.processes[slot];
        let last =
            process.machine().map_or(Timestamp::ZERO, |machine| machine.endpoint.replica().clock().last());
        last.millis() > self.now_ms + 50_000 || process.clock.ahead_ms() > 50_000
    }

    /// Whether it is so far ahead that only issuing its stamps again helps, and it must live to do so: under a new id, after
    /// a restart, it
    /// cannot.
    pub(super) fn is_far_ahead(&self, slot: usize) -> bool {
        self.processes[slot].clock.ahead_ms() > 1_000_000
    }

    /// Whether a process holds what was written under the id of `slot` by another copy.
    pub(super) fn can_find_out(&self, slot: usize, other: usize) -> bool {
        let process = &self.processes[slot];
        let Some(Quarantine { id, .. }) = &process.quarantine else { return false };
        self.processes[other].is_running()
            && (self.holds_unknown(slot, *id, other) || self.was_told_more(slot, *id, other))
    }

    /// Whether a process knows that more was held under an id than `slot` holds, and holds all that was written under it by then.
    fn was_told_more(&self, slot: usize, id: ReplicaId, other: usize) -> bool {
        let Some(machine) = self.processes[other].machine() else { return false };
        let replica = machine.endpoint.replica();
        let counts = |(known, vector): &(ReplicaId, VersionVector)| *known == id && replica.covers(vector);
        let known = replica.known_vectors().into_iter().filter(counts);
        let mut entries = known.flat_map(|(_, vector)| vector.iter().collect::<Vec<_>>());
        entries.any(|(id, stamp)| stamp > self.processes[slot].view.ids.get(&id))
    }

    fn holds_unknown(&self, slot: usize, id: ReplicaId, other: usize) -> bool {
        let held = [&self.processes[other].view, &self.processes[other].stored];
        held.iter().any(|view| {
            let stamp = view.ids.get(&id);
            let label = self.truth.label(id, stamp).map(|(label, _)| label);
            label.is_some_and(|label| stamp > self.processes[slot].view.labels.get(&label))
        })
    }

    /// Lets those have all connections again that have been found out, or that nobody can find out any more.
    pub(super) fn look_at_quarantines(&mut self) -> Result<(), Stop> {
        for slot in 0..self.processes.len() {
            let process = &self.processes[slot];
            let Some(Quarantine { id, other, since_ms }) = process.quarantine.clone() else { continue };
            let is_found_out = process.id != id && !process.is_in_doubt;
            // Who was evicted meanwhile, and has nothing to issue again, has written nothing under its new id.
            let written = process.view.ids.get(&process.id);
            let is_stored = !process.config.is_durable || process.stored.ids.get(&process.id) >= written;
            let is_other_there = other.is_some_and(|other| {
                let other = &self.processes[other];
                !other.is_gone() && other.id == id
            });
            let is_late = self.now_ms > since_ms + UNDER_WAY_MS;
            let others = (0..self.processes.len()).filter(|other| *other != slot);
            let is_unknown = !is_other_there
                && is_late
                && !others
                    .clone()
                    .filter(|other| !self.processes[*other].is_gone())
                    .any(|other| self.holds_unknown(slot, id, other) || self.was_told_more(slot, id, other));
            if is_found_out && is_stored || is_unknown {
                self.note(|| format!("{slot} may meet everyone again, found out: {is_found_out}"));
                self.processes[slot].quarantine = None;
                if let Some(other) = other.filter(|_| is_found_out) {
                    // Who took the new id has taken the place of the member, too.
                    self.processes[other].is_superfluous = true;
                }
            }
        }
        Ok(())
    }

    /// Shuts down those of whom all is held elsewhere.
    pub(super) fn look_at_superfluous(&mut self) -> Result<(), Stop> {
        for slot in 0..self.processes.len() {
            let process = &self.processes[slot];
            if !process.is_superfluous || !process.is_running() {
                continue;
            }
            let member = process.member;
            let holds_all = |other: &Process<S>| {
                other.is_running()
                    && other.member != member
                    && process.view.labels.is_within(&other.view.labels)
            };
            if !self.processes.iter().any(holds_all) {
                continue;
            }
            self.end_process(slot);
            let is_left = self.processes.iter().any(|other| !other.is_gone() && other.member == member);
            let there = (0..self.processes.len()).find(|other| self.processes[*other].is_running());
            if let Some(by) = there.filter(|_| !is_left) {
                // A connection made meanwhile may have made it a member again.
                self.feed(by, Input::Evict(member))?;
            }
        }
        Ok(())
    }

    /// A process goes on under a new id: what it wrote that nobody has is issued again under it.
    pub(super) fn take_new_id(&mut self, slot: usize, input: Input, new: ReplicaId) -> Result<(), Stop> {
        let local_ms = self.local_ms(slot);
        let process = &mut self.processes[slot];
        let (former, before) = (process.id, process.view.clone());
        let is_anew = matches!(input, Input::ReissueAhead(_));
        let Stage::Running(machine) = &mut process.stage else { return Ok(()) };
        let points: Vec<_> = commit_points(machine);
        let done = machine.feed(local_ms, &input, &mut self.truth.oracle)?;
        process.inputs.push((self.now_ms, local_ms, input));
        let Some(reissued) = done.reissued.clone() else {
            let refused = done.refused.clone();
            self.note(|| format!("{slot} cannot take a new id: {refused:?}"));
            return self.digest(slot, done).map(drop);
        };
        let vector = machine.endpoint.replica().vector();
        self.truth.begin(new, new);
        let others = vector.iter().filter(|(id, _)| *id != new).collect();
        let mut view = self.truth.view(&others)?;
        // The vector leaves out the former id if it is closed under the new one already.
        let kept = points.len().saturating_sub(reissued.commits);
        if let Some(after) = kept.checked_sub(1).and_then(|last| points.get(last)) {
            view.join(&self.truth.view(&[(former, *after)].into_iter().collect())?);
        }
        let again: Vec<_> = points.into_iter().filter(|stamp| *stamp > view.ids.get(&former)).collect();
        let issued = issued(&again, &reissued, is_anew)?;
        for (old, stamp) in again.iter().zip(&issued) {
            self.truth.rename((former, *old), (new, *stamp), &view);
        }
        let last = again.len().checked_sub(1).map_or(Timestamp::ZERO, |last| issued[last]);
        if last > Timestamp::ZERO {
            view.join(&self.truth.view(&[(new, last)].into_iter().collect())?);
        }
        if !before.labels.is_within(&view.labels) {
            return Err(Stop::Fault(format!(
                "{slot} has lost events with its id: {:?}, now {:?}",
                before.labels, view.labels
            )));
        }
        self.coverage.reidentified += 1;
        self.coverage.reissued += again.len() as u64;
        self.note(|| format!("{slot} goes on as {new}, before {former} up to {}", view.ids.get(&former)));
        let process = &mut self.processes[slot];
        process.former.push(former);
        (process.id, process.label, process.is_in_doubt) = (new, new, false);
        process.vector = others_and(&vector, new, last);
        process.view = view;
        // The older images hold under the former id what goes by the new one now.
        process.must_replace = true;
        process.disk.forget_images();
        self.digest(slot, done).map(drop)
    }

    /// Who is in doubt takes a new id.
    pub(super) fn answer_doubt(&mut self, slot: usize) -> Result<(), Stop> {
        if !self.processes[slot].is_running() || !self.processes[slot].is_in_doubt {
            return Ok(());
        }
        let new = self.fresh_id();
        self.take_new_id(slot, Input::Reidentify(new), new)?;
        if self.processes[slot].is_in_doubt {
            self.after(TRY_AGAIN_MS, Happening::Doubt(slot));
        }
        Ok(())
    }
}

/// The own commits that a process remembers.
fn commit_points<S: Subject>(machine: &Machine<S>) -> Vec<Timestamp> {
    machine.endpoint.replica().commit_points(Timestamp::ZERO, Timestamp::MAX).collect()
}

/// Which stamps these commits have now: those that they had, or new ones that follow each other.
fn issued(again: &[Timestamp], reissued: &Reissued, is_anew: bool) -> Result<Vec<Timestamp>, String> {
    let first = reissued.stamps.map_or(Timestamp::ZERO, |(first, _)| first);
    let issued: Vec<_> = match is_anew {
        true => (first.bits()..).take(again.len()).map(Timestamp::from_bits).collect(),
        false => again.to_vec(),
    };
    let ends = issued.first().copied().zip(issued.last().copied());
    if reissued.commits == again.len() && reissued.stamps == ends {
        Ok(issued)
    } else {
        Err(format!("{again:?} became {reissued:?}, not {ends:?}"))
    }
}

/// A vector with another entry of one id.
fn others_and(vector: &VersionVector, id: ReplicaId, stamp: Timestamp) -> VersionVector {
    vector.iter().filter(|(other, _)| *other != id).chain([(id, stamp)]).collect()
}

/// The links that are up after these inputs.
fn links_up(inputs: &[(u64, u64, Input)]) -> Vec<driftless::LinkId> {
    let mut up = Vec::new();
    for (_, _, input) in inputs {
        match input {
            Input::LinkUp { link, .. } => up.push(*link),
            Input::LinkDown(link) => up.retain(|other| other != link),
            _ => {}
        }
    }
    up
}
