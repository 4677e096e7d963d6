//! How every run ends: all that is wrong is mended, all processes agree, and what is removed is forgotten.

use crate::sim::machine::Input;
use crate::sim::process::{Process, Stage};
use crate::sim::world::{Stop, World};
use crate::subject::Subject;

/// How often it is looked whether all agree.
const STEP_MS: u64 = 500;
/// How long it may take once nothing is wrong any more.
const MOST_STEPS: u64 = 400;

impl<S: Subject> World<S> {
    /// Mends all, lets all processes agree, removes all there is and lets them forget it.
    pub(super) fn end(&mut self) -> Result<(), Stop> {
        self.heal()?;
        self.wait_for("they do not agree", |world| world.disagreement())?;
        self.note(|| "all agree".to_owned());
        let Some(slot) = self.running().next() else { return Ok(()) };
        let process = &self.processes[slot];
        let (label, saw) = (process.label, process.view.labels.clone());
        self.feed(slot, Input::Wipe { label, saw })?;
        self.note(|| format!("{slot} removes everything"));
        self.wait_for("they do not agree that nothing is left", |world| world.disagreement())?;
        self.wait_for("they do not forget", |world| world.remembered())?;
        self.coverage.forgotten += 1;
        Ok(())
    }

    fn running(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.processes.len()).filter(|slot| self.processes[*slot].is_running())
    }

    fn heal(&mut self) -> Result<(), Stop> {
        self.note(|| "all is mended".to_owned());
        self.is_healed = true;
        self.network.heal();
        for slot in 0..self.processes.len() {
            self.processes[slot].dies_in_write = None;
            self.processes[slot].disk.is_full = false;
            self.processes[slot].clock.move_on();
            if matches!(self.processes[slot].stage, Stage::Down) {
                self.processes[slot].clock.mend();
                self.open(slot)?;
            } else if self.processes[slot].is_running() {
                self.mend(slot)?;
                self.store(slot)?;
                self.feed(slot, Input::Tick)?;
            }
        }
        self.splits.clear();
        self.set_members_right()
    }

    /// What an operator does who knows who is there: nobody waits for who is gone, who is there is let in wherever it comes,
    /// and if all have lost all there was, one begins anew.
    fn set_members_right(&mut self) -> Result<(), Stop> {
        let running: Vec<_> = self.running().collect();
        for slot in 0..self.processes.len() {
            self.processes[slot].is_evicted = false;
            let process = &self.processes[slot];
            let (member, is_gone) = (process.member, process.is_gone());
            let is_there = |other: &Process<S>| other.member == member && !other.is_gone();
            if process.is_superfluous && !is_gone || is_gone && self.processes.iter().any(is_there) {
                continue;
            }
            for by in running.iter().filter(|by| **by != slot) {
                let input = if is_gone { Input::Evict(member) } else { Input::Admit(member) };
                self.feed(*by, input)?;
            }
        }
        let has_members = |slot: &usize| {
            self.processes[*slot].machine().is_some_and(|machine| !machine.endpoint.members().is_empty())
        };
        match running.first() {
            Some(first) if !running.iter().any(has_members) => self.feed(*first, Input::Found).map(drop),
            _ => Ok(()),
        }
    }

    /// Waits until nothing is wrong.
    fn wait_for(&mut self, what: &str, wrong: impl Fn(&Self) -> Option<String>) -> Result<(), Stop> {
        for step in 0..MOST_STEPS {
            self.run_until(self.now_ms + STEP_MS)?;
            if step % 4 == 0 {
                self.provoke()?;
            }
            if wrong(self).is_none() {
                return Ok(());
            }
        }
        let seconds = MOST_STEPS * STEP_MS / 1_000;
        let wrong = wrong(self).unwrap_or_default();
        Err(Stop::Fault(format!("{what}, {seconds} seconds after all was mended: {wrong}")))
    }

    /// A copy without connections is found out by what the other one writes: it must write something.
    fn provoke(&mut self) -> Result<(), Stop> {
        let others: Vec<_> =
            self.processes.iter().filter_map(|process| process.quarantine.as_ref()?.other).collect();
        for slot in others {
            let number = (self.now_ms >> 8) as u8;
            self.write(slot, vec![vec![0, number, 0, 0, number], vec![1, 0, 0, 0, number]], None)?;
        }
        self.replace_the_ended()
    }

    /// Where a member goes by the id of a copy that was ended, an operator says that it is another process now. Nobody waits for
    /// who has ended since, and was made a member by who had not heard that it left.
    fn replace_the_ended(&mut self) -> Result<(), Stop> {
        let is_sound = |process: &Process<S>| {
            process.is_running()
                && process.quarantine.is_none()
                && !process.is_superfluous
                && !process.is_in_doubt
        };
        let Some(first) = self.processes.iter().position(is_sound) else { return Ok(()) };
        let members =
            self.processes[first].machine().map_or(Vec::new(), |machine| machine.endpoint.members());
        for known in members {
            let is_of = |process: &&Process<S>| process.member == known.member;
            if self.processes.iter().filter(is_of).all(Process::is_gone) {
                self.feed(first, Input::Evict(known.member))?;
                continue;
            }
            let is_ended =
                !self.processes.iter().any(|process| process.is_running() && process.id == known.id);
            let is_it = |process: &Process<S>| is_sound(process) && process.member == known.member;
            let Some(slot) = self.processes.iter().position(is_it).filter(|_| is_ended) else { continue };
            let is_other = |(other, process): &(usize, &Process<S>)| *other != slot && is_sound(process);
            let Some((by, _)) = self.processes.iter().enumerate().find(is_other) else { continue };
            self.feed(by, Input::Evict(known.member))?;
            for other in (0..self.processes.len()).filter(|other| *other != slot) {
                self.feed(other, Input::Admit(known.member))?;
            }
        }
        Ok(())
    }

    /// Why not all hold the same yet.
    fn disagreement(&self) -> Option<String> {
        let waits = |process: &Process<S>| {
            !process.is_gone()
                && (!process.is_running()
                    || process.quarantine.is_some()
                    || process.is_in_doubt
                    || process.is_superfluous)
        };
        if let Some(slot) = self.processes.iter().position(waits) {
            let Process { quarantine, is_in_doubt, is_superfluous, .. } = &self.processes[slot];
            return Some(format!(
                "{slot}: quarantine {quarantine:?}, in doubt {is_in_doubt}, superfluous {is_superfluous}"
            ));
        }
        let first = self.running().next()?;
        let differs = |slot: &usize| self.processes[*slot].view.labels != self.processes[first].view.labels;
        let slot = self.running().find(differs)?;
        let of = |slot: usize| &self.processes[slot].view.ids;
        Some(format!("{first} holds {:?}, {slot} holds {:?}", of(first), of(slot)))
    }

    /// Who still remembers anything of what was removed.
    fn remembered(&self) -> Option<String> {
        let replica = |slot: usize| self.processes[slot].machine().map(|machine| machine.endpoint.replica());
        let mut full =
            self.running().filter(|slot| replica(*slot).is_some_and(|replica| !replica.state().is_bottom()));
        let slot = full.next()?;
        let replica = replica(slot)?;
        // What removals saw of the counts of ids that are gone stays beyond that: it waits for them to return.
        if replica.covers(&replica.stable_cut()) && replica.vector().is_within(&replica.stable_cut()) {
            return None;
        }
        let (members, cut) = (replica.members(), replica.stable_cut());
        Some(format!("{slot} does; it waits for {members:?}; stable is {cut:?} of {:?}", replica.vector()))
    }
}
