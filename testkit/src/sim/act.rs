//! What is done to the world.

use std::rc::Rc;

use driftless::{Held, Need};

use crate::sim::machine::{Input, Write};
use crate::sim::plan::{Action, Direction, Group};
use crate::sim::process::Stage;
use crate::sim::world::{Happening, Stop, World};
use crate::subject::Subject;

/// How long a write concern waits.
const CONCERN_MS: u64 = 5_000;

impl<S: Subject> World<S> {
    fn slot(&self, number: u8) -> usize {
        usize::from(number) % self.processes.len()
    }

    fn slots(&self, (one, other): (u8, u8)) -> (usize, usize) {
        let (one, other) = (self.slot(one), self.slot(other));
        (one, if one == other { (other + 1) % self.processes.len() } else { other })
    }

    pub(super) fn group(&self, group: Group) -> (Vec<usize>, Vec<usize>) {
        (0..self.processes.len()).partition(|slot| group >> (slot % 8) & 1 == 1)
    }

    /// Does what is planned.
    pub(super) fn act(&mut self, number: usize) -> Result<(), Stop> {
        let action = self.plan.actions[number].action.clone();
        if self.processes.is_empty() {
            return Ok(());
        }
        self.note(|| format!("action {number}: {action:?}"));
        match action {
            Action::Write { at, ops, confirm } => self.write(self.slot(at), ops, confirm).map(drop),
            Action::Break { between, for_ms, notice_ms } => {
                let (one, other) = self.slots(between);
                self.break_connection(one, other, for_ms, notice_ms);
                Ok(())
            }
            Action::Partition { group, direction, for_ms } => {
                self.partition(group, direction, for_ms);
                Ok(())
            }
            Action::Storm { weather, for_ms } => {
                self.coverage.storms += 1;
                self.network.weather = weather;
                self.after(for_ms, Happening::Calm);
                Ok(())
            }
            Action::Slow { between, bandwidth, for_ms } => {
                let (one, other) = self.slots(between);
                self.coverage.slow += 1;
                self.network.way(one, other).bandwidth = Some(bandwidth);
                self.after(for_ms, Happening::Fast(one, other));
                Ok(())
            }
            Action::Crash { at, written, for_ms, in_write } => {
                let slot = self.slot(at);
                if !self.processes[slot].is_running() || self.is_protected(slot) || self.is_anyone_silent() {
                    return Ok(());
                }
                if in_write && self.processes[slot].config.is_durable {
                    self.processes[slot].dies_in_write = Some((written, for_ms));
                    return Ok(());
                }
                self.crash(slot, written, for_ms)
            }
            Action::Restore { at, back, for_ms } => self.restore(self.slot(at), back.into(), for_ms),
            Action::Wipe { at, for_ms } => {
                let slot = self.slot(at);
                if !self.processes[slot].is_running() || self.is_protected(slot) || self.is_anyone_silent() {
                    return Ok(());
                }
                self.crash(slot, 0, for_ms)?;
                self.coverage.wipes += 1;
                self.processes[slot].disk.wipe();
                self.processes[slot].stored = Default::default();
                Ok(())
            }
            Action::Full { at, for_ms } => {
                let slot = self.slot(at);
                if self.processes[slot].config.is_durable {
                    self.coverage.full += 1;
                    self.processes[slot].disk.is_full = true;
                    self.after(for_ms, Happening::Emptied(slot));
                }
                Ok(())
            }
            Action::Step { at, by_ms } => {
                let slot = self.slot(at);
                let process = &mut self.processes[slot];
                // Within what others accept: by how much two clocks differ is at most twice that.
                if (process.clock.ahead_ms() + by_ms).abs() <= 25_000 {
                    process.clock.step(by_ms);
                    self.coverage.steps += 1;
                }
                Ok(())
            }
            Action::Stuck { at, for_ms } => {
                let (slot, now_ms) = (self.slot(at), self.now_ms);
                self.coverage.stuck += 1;
                self.processes[slot].clock.stick(now_ms);
                self.after(for_ms, Happening::Move(slot));
                Ok(())
            }
            Action::Ahead { at, by_ms, for_ms } => {
                let slot = self.slot(at);
                // Two of them would take each other's stamps, which nobody else takes before that time has come.
                let is_any_ahead = (0..self.processes.len()).any(|slot| self.is_ahead(slot));
                if !self.is_protected(slot) && !is_any_ahead {
                    self.coverage.ahead += 1;
                    self.processes[slot].clock.set(by_ms as i64);
                    self.after(for_ms, Happening::Mend(slot));
                }
                Ok(())
            }
            Action::Clone { at, is_copy_heard } => self.clone_process(self.slot(at), is_copy_heard),
            Action::Rollback { at, by_ms } => self.roll_back(self.slot(at), by_ms),
            Action::Join => self.join(),
            Action::Leave { at } => self.leave(self.slot(at)),
            Action::Evict { at, by, for_ms } => {
                let (slot, by) = self.slots((at, by));
                self.evict(slot, by, for_ms)
            }
            Action::Split { group, for_ms } => self.split(group, for_ms),
        }
    }

    /// A transaction. Returns whether it had events.
    pub(super) fn write(
        &mut self,
        slot: usize,
        ops: Vec<Vec<u8>>,
        confirm: Option<(u8, bool)>,
    ) -> Result<bool, Stop> {
        if !self.processes[slot].is_running() {
            return Ok(false);
        }
        let (process, keys) = (&self.processes[slot], self.plan.setting.keys);
        let write = Write { ops, keys, label: process.label, saw: process.view.labels.clone() };
        let done = self.feed(slot, Input::Write(Rc::new(write)))?;
        self.note(|| format!("{slot} writes at {:?}: {}", done.stamp, done.log.join(", ")));
        let count = match (done.stamp, &done.refused) {
            (Some(_), _) => &mut self.coverage.writes,
            (None, Some(_)) => &mut self.coverage.refused_writes,
            (None, None) => &mut self.coverage.empty_writes,
        };
        *count += 1;
        if let (Some(stamp), Some((members, is_durable))) = (done.stamp, confirm)
            && self.processes[slot].is_running()
        {
            let held = if is_durable { Held::Durable } else { Held::Applied };
            let need = Need::Members(1 + usize::from(members));
            let deadline_ms = self.local_ms(slot) + CONCERN_MS;
            self.feed(slot, Input::Confirm { stamp, need, held, deadline_ms })?;
        }
        Ok(done.stamp.is_some())
    }

    fn partition(&mut self, group: Group, direction: Direction, for_ms: u64) {
        let (inside, outside) = self.group(group);
        if inside.is_empty() || outside.is_empty() {
            return;
        }
        let pairs = inside.iter().flat_map(|one| outside.iter().map(move |other| (*one, *other)));
        let mut ways: Vec<(usize, usize)> = Vec::new();
        for (one, other) in pairs {
            match direction {
                Direction::Both => ways.extend([(one, other), (other, one)]),
                Direction::Out => ways.push((one, other)),
                Direction::In => ways.push((other, one)),
            }
        }
        match direction {
            Direction::Both => self.coverage.partitions += 1,
            Direction::Out | Direction::In => self.coverage.asymmetric += 1,
        }
        ways.iter().for_each(|(from, to)| self.network.block(*from, *to, true));
        self.after(for_ms, Happening::Unblock(ways));
    }

    fn restore(&mut self, slot: usize, back: usize, for_ms: u64) -> Result<(), Stop> {
        let process = &self.processes[slot];
        let is_possible = process.config.is_durable && process.is_running();
        if !is_possible || self.is_protected(slot) || self.is_anyone_silent() {
            return Ok(());
        }
        let mut older = process.disk.clone();
        if !older.restore(back) {
            return Ok(());
        }
        self.crash(slot, 0, for_ms)?;
        self.coverage.restores += 1;
        self.note(|| format!("{slot} will come back with an older image"));
        self.processes[slot].disk = older;
        self.processes[slot].stored = Default::default();
        Ok(())
    }

    /// A clock shows the true time again.
    pub(super) fn mend(&mut self, slot: usize) -> Result<(), Stop> {
        self.processes[slot].clock.mend();
        if matches!(self.processes[slot].stage, Stage::Running(_))
            && self.is_ahead(slot)
            && self.processes[slot].quarantine.is_none()
        {
            let new = self.fresh_id();
            self.take_new_id(slot, Input::ReissueAhead(new), new)?;
            self.coverage.futures_reissued += u64::from(self.processes[slot].id == new);
        }
        Ok(())
    }
}
