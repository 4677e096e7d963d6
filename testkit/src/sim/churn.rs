//! Members come and go.

use driftless::{Admission, ReplicaId, SyncConfig};
use uuid::Uuid;

use crate::sim::machine::Input;
use crate::sim::plan::{Group, MOST};
use crate::sim::process::Process;
use crate::sim::random::Random;
use crate::sim::world::{Happening, Stop, World};
use crate::subject::Subject;

const REGIONS: [&str; 3] = ["eu", "us", "asia"];
const CLUSTER: Uuid = Uuid::from_u128(0xc1);

impl<S: Subject> World<S> {
    /// A slot for a process that was never there.
    pub(super) fn add_process(&mut self) -> usize {
        let slot = self.processes.len();
        let mut random = Random::new(self.plan.seed, &[40, slot as u64]);
        let (member, region) = (ReplicaId::from_u128(random.id()), random.pick(&REGIONS));
        let setting = &self.plan.setting;
        let config = SyncConfig {
            is_durable: random.chance(setting.durable),
            admission: if setting.is_closed { Admission::Invited } else { Admission::Anyone },
            heartbeat_ms: random.pick(&[500, 1_000, 1_000, 2_000]),
            chunk_bytes: random.pick(&[100, 400, 2_000, 256 << 10]),
            window_bytes: random.pick(&[4_000, 64_000, 1 << 20]),
            audit_ms: random.pick(&[3_000, 10_000, 60_000]),
            ..SyncConfig::new(CLUSTER, member, region)
        };
        let mut process = Process::new(member, region, config, random.chance(500));
        process.clock.set(random.of_any_size(500) as i64 - random.of_any_size(500) as i64);
        self.processes.push(process);
        slot
    }

    /// A process joins.
    pub(super) fn join(&mut self) -> Result<(), Stop> {
        if self.processes.iter().filter(|process| !process.is_gone()).count() >= MOST {
            return Ok(());
        }
        self.coverage.joins += 1;
        let slot = self.add_process();
        self.open(slot)?;
        self.feed(slot, Input::Tick).map(drop)
    }

    /// How many members would be left without one.
    fn left_without(&self, slot: usize) -> usize {
        let there =
            |process: &&Process<S>| !process.is_gone() && !process.is_evicted && !process.is_superfluous;
        self.processes
            .iter()
            .filter(there)
            .filter(|process| process.member != self.processes[slot].member)
            .count()
    }

    /// A member leaves for good: it says so, and is shut down when others hold all that it held.
    pub(super) fn leave(&mut self, slot: usize) -> Result<(), Stop> {
        let process = &self.processes[slot];
        if !process.is_running()
            || self.is_protected(slot)
            || self.is_anyone_silent()
            || self.left_without(slot) < 2
            || process.is_evicted
        {
            return Ok(());
        }
        self.coverage.leaves += 1;
        self.processes[slot].is_superfluous = true;
        self.feed(slot, Input::Leave).map(drop)
    }

    /// A member is evicted, and admitted again later.
    pub(super) fn evict(&mut self, slot: usize, by: usize, for_ms: u64) -> Result<(), Stop> {
        let is_possible = self.processes[by].is_running() && !self.processes[slot].is_gone();
        let is_evicted = self.processes[slot].is_evicted || self.processes[by].is_evicted;
        let is_left = self.left_without(slot) < 2 || self.processes[slot].is_superfluous;
        if !is_possible || is_evicted || is_left || self.is_protected(slot) {
            return Ok(());
        }
        self.coverage.evictions += 1;
        self.processes[slot].is_evicted = true;
        let member = self.processes[slot].member;
        self.feed(by, Input::Evict(member))?;
        self.after(for_ms, Happening::Readmit { slot });
        Ok(())
    }

    /// Somebody admits a member again.
    pub(super) fn readmit(&mut self, slot: usize) -> Result<(), Stop> {
        let member = self.processes[slot].member;
        if self.processes[slot].is_gone() || !self.processes[slot].is_evicted {
            return Ok(());
        }
        let by = (0..self.processes.len())
            .find(|by| *by != slot && self.processes[*by].is_running() && !self.processes[*by].is_evicted);
        let Some(by) = by else {
            self.after(500, Happening::Readmit { slot });
            return Ok(());
        };
        self.coverage.returns += 1;
        self.processes[slot].is_evicted = false;
        self.feed(by, Input::Admit(member)).map(drop)
    }

    /// Two halves are cut off from each other, and each evicts the other.
    pub(super) fn split(&mut self, group: Group, for_ms: u64) -> Result<(), Stop> {
        let (one, other) = self.group(group);
        let is_fit = |slots: &[usize]| {
            slots.iter().any(|slot| self.processes[*slot].is_running())
                && slots.iter().all(|slot| !self.processes[*slot].is_evicted && !self.is_protected(*slot))
        };
        if !is_fit(&one) || !is_fit(&other) {
            return Ok(());
        }
        self.coverage.splits += 1;
        let ways = one.iter().flat_map(|one| other.iter().flat_map(|other| [(*one, *other), (*other, *one)]));
        let ways: Vec<_> = ways.collect();
        ways.iter().for_each(|(from, to)| self.network.block(*from, *to, true));
        self.after(for_ms, Happening::Unblock(ways));
        self.splits.push(Some((one.clone(), other.clone())));
        self.after(for_ms, Happening::Rejoin(self.splits.len() - 1));
        self.evict_all(&one, &other)?;
        self.evict_all(&other, &one)
    }

    fn first_running(&self, slots: &[usize]) -> Option<usize> {
        slots.iter().copied().find(|slot| self.processes[*slot].is_running())
    }

    fn evict_all(&mut self, by: &[usize], slots: &[usize]) -> Result<(), Stop> {
        for slot in slots {
            let Some(by) = self.first_running(by) else { return Ok(()) };
            if !self.processes[*slot].is_gone() {
                let member = self.processes[*slot].member;
                self.feed(by, Input::Evict(member))?;
            }
        }
        Ok(())
    }

    /// Both halves admit each other again.
    pub(super) fn rejoin(&mut self, one: &[usize], other: &[usize]) -> Result<(), Stop> {
        for (by, slots) in [(one, other), (other, one)] {
            for slot in slots {
                let Some(by) = self.first_running(by) else { continue };
                let process = &self.processes[*slot];
                if !process.is_gone() && !process.is_evicted && !process.is_superfluous {
                    let member = process.member;
                    self.feed(by, Input::Admit(member))?;
                }
            }
        }
        Ok(())
    }
}
