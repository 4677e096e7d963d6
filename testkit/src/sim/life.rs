//! Processes come, die, come back, and write what they hold to their disks.

use driftless::VersionVector;

use crate::sim::Planted;
use crate::sim::machine::{Input, Machine};
use crate::sim::process::{MOST_RECORDS, Opening, Process, Stage, delta_record, id_record};
use crate::sim::random::Random;
use crate::sim::truth::View;
use crate::sim::world::{Happening, Stop, World};
use crate::subject::Subject;

impl<S: Subject> World<S> {
    /// A process opens its store and begins.
    pub(super) fn open(&mut self, slot: usize) -> Result<(), Stop> {
        let is_same = self.simulation.planted == Some(Planted::SameId) && self.processes[slot].opened > 0;
        let id = if is_same { self.processes[slot].id } else { self.fresh_id() };
        let (now_ms, local_ms) = (self.now_ms, self.local_ms(slot));
        let process = &mut self.processes[slot];
        process.opened += 1;
        process.opened_ms = now_ms;
        let read = process.disk.read();
        self.coverage.torn += u64::from(read.torn > 0);
        let config = process.config.clone();
        let opening = Opening::new(id, local_ms, config, process.has_changes, read.records);
        let (machine, former): (Machine<S>, _) =
            opening.open().map_err(|error| format!("{slot}: {error}"))?;
        process.stage = Stage::Running(Box::new(machine));
        (process.id, process.label) = (id, id);
        (process.vector, process.view) = (VersionVector::new(), View::default());
        (process.opening, process.must_replace) = (Some(opening), true);
        process.inputs.clear();
        process.former.clear();
        (process.wake_ms, process.is_in_doubt, process.dies_in_write) = (None, false, None);
        self.truth.begin(id, id);
        self.note(|| format!("{slot} opens as {id}, before {former:?}, {} torn", read.torn));
        self.observe(slot)?;
        let process = &self.processes[slot];
        if !process.stored.labels.is_within(&process.view.labels) {
            let (stored, found) = (&process.stored.labels, &process.view.labels);
            return Err(Stop::Fault(format!(
                "the disk of {slot} lost something: {stored:?} was there, now {found:?}"
            )));
        }
        // What a crash left of the last write is there, too.
        self.stored.entry(process.member).or_default().join(&process.view.labels);
        if let Some(former) = former {
            self.feed(slot, Input::Succeed(former))?;
        }
        Ok(())
    }

    /// Begins to write what is held to the disk, unless it is there.
    pub(super) fn store(&mut self, slot: usize) -> Result<(), Stop> {
        let process = &mut self.processes[slot];
        let is_news = process.must_replace || process.vector != process.stored_vector;
        if !process.config.is_durable || !process.is_running() || process.disk.is_busy() || !is_news {
            return Ok(());
        }
        if process.disk.is_full {
            self.coverage.refused_by_disk += 1;
            return Ok(());
        }
        self.feed_quietly(slot, Input::Snapshot)?;
        self.write_to_disk(slot)
    }

    /// Writes what the process wants written.
    pub(super) fn write_to_disk(&mut self, slot: usize) -> Result<(), Stop> {
        let process = &mut self.processes[slot];
        let Stage::Running(machine) = &process.stage else { return Ok(()) };
        let Some(snapshot) = machine.writing() else { return Ok(()) };
        let replaces = process.must_replace || process.disk.records >= MOST_RECORDS;
        let since = if replaces { VersionVector::new() } else { process.stored_vector.clone() };
        let message = snapshot.delta_since(&since).encode().map_err(|error| error.to_string())?;
        let delta = delta_record(&message);
        if replaces {
            process.disk.write([id_record(process.id).as_slice(), &delta], true);
        } else {
            process.disk.write([delta.as_slice()], false);
        }
        process.must_replace = false;
        let opened = process.opened;
        self.coverage.disk_writes += 1;
        self.coverage.disk_images += u64::from(replaces);
        let dies = self.processes[slot].dies_in_write.take().filter(|_| !self.is_anyone_silent());
        if let Some((written, for_ms)) = dies {
            return self.crash(slot, written, for_ms);
        }
        let mut random = Random::new(self.plan.seed, &[30, slot as u64, self.coverage.disk_writes]);
        let most_ms = if random.chance(20) { 1_000 } else { 15 };
        let takes_ms = 1 + random.of_any_size(most_ms);
        self.after(takes_ms, Happening::Synced { slot, opened });
        Ok(())
    }

    /// What was being written is on the disk.
    pub(super) fn synced(&mut self, slot: usize, opened: u64) -> Result<(), Stop> {
        let now_ms = self.now_ms;
        let process = &mut self.processes[slot];
        if process.opened != opened || !process.disk.is_busy() {
            return Ok(());
        }
        let Stage::Running(machine) = &process.stage else { return Ok(()) };
        let Some(snapshot) = machine.writing() else { return Ok(()) };
        let vector = snapshot.vector();
        process.stored = self.truth.view(&vector)?;
        process.stored_vector = vector;
        self.stored.entry(process.member).or_default().join(&process.stored.labels);
        process.disk.sync(now_ms);
        self.feed(slot, Input::Persisted).map(drop)
    }

    /// An input that nothing can come of.
    fn feed_quietly(&mut self, slot: usize, input: Input) -> Result<(), Stop> {
        let local_ms = self.local_ms(slot);
        let process = &mut self.processes[slot];
        if let Stage::Running(machine) = &mut process.stage {
            machine.feed(local_ms, &input, &mut self.truth.oracle)?;
            process.inputs.push((self.now_ms, local_ms, input));
        }
        Ok(())
    }

    /// A process dies, and comes back after a while. Of what was being written so much is on the disk, of a thousand bytes.
    pub(super) fn crash(&mut self, slot: usize, written: u64, for_ms: u64) -> Result<(), Stop> {
        self.note(|| format!("{slot} crashes"));
        self.cut_off(slot);
        let process = &mut self.processes[slot];
        process.stage = Stage::Down;
        let was_writing = process.disk.crash(written);
        if self.simulation.planted == Some(Planted::LyingDisk) {
            process.disk.restore(0);
        }
        process.inputs.clear();
        process.quarantine = None;
        if !process.config.is_durable {
            process.stored = View::default();
        }
        let opened = process.opened;
        self.coverage.crashes += 1;
        self.coverage.crashes_in_write += u64::from(was_writing);
        self.after(for_ms, Happening::Restart { slot, opened });
        self.coverage.restarts += 1;
        Ok(())
    }

    /// A process ends for good.
    pub(super) fn end_process(&mut self, slot: usize) {
        self.note(|| format!("{slot} ends"));
        self.cut_off(slot);
        let process = &mut self.processes[slot];
        process.stage = Stage::Gone;
        process.inputs.clear();
        process.quarantine = None;
    }

    /// Whether there is a copy that is not found out yet. Who is restarted meanwhile does not remember what it was told of its
    /// commits.
    pub(super) fn is_anyone_silent(&self) -> bool {
        self.processes.iter().any(|process| process.quarantine.is_some())
    }

    /// Whether a process must not die or be changed now: a copy of it is about to be found out.
    pub(super) fn is_protected(&self, slot: usize) -> bool {
        let is_other = |process: &Process<S>| {
            process.quarantine.as_ref().is_some_and(|quarantine| quarantine.other == Some(slot))
        };
        self.is_far_ahead(slot)
            || self.processes[slot].is_superfluous
            || self.processes[slot].quarantine.is_some()
            || self.processes[slot].is_in_doubt
            || self.processes.iter().any(is_other)
    }
}
