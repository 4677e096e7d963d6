//! All that there is in a run: processes, what connects them, the time, and the oracle.

use std::collections::BTreeMap;
use std::rc::Rc;

use driftless::{
    ConcernId, Holders, LinkId, MergeError, PeerStatus, ReplicaId, SyncError, SyncEvent, Timestamp,
    VersionVector,
};

use crate::sim::Simulation;
use crate::sim::check::Checks;
use crate::sim::coverage::Coverage;
use crate::sim::machine::{Done, Input};
use crate::sim::network::Network;
use crate::sim::plan::Plan;
use crate::sim::process::{Process, Stage};
use crate::sim::random::Random;
use crate::sim::truth::Truth;
use crate::subject::Subject;

/// Where time begins.
pub(super) const START_MS: u64 = 1_700_000_000_000;
/// The most things that happen in a run. There are more only if processes never come to rest.
const MOST_HAPPENINGS: u64 = 200_000;
/// What a process may keep of frames for a peer beside its window and two chunks: frames have heads.
const MOST_SLACK: usize = 4 << 10;
/// What may be gathered of a transfer: no run holds as much.
const MOST_GATHERED: usize = 64 << 10;

/// Why a run came to an end before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Something is wrong.
    Fault(String),
    /// Two copies issued the same stamp under one id: the oracle cannot tell them apart, and nobody can.
    Void,
}

impl From<String> for Stop {
    fn from(fault: String) -> Self {
        Self::Fault(fault)
    }
}

/// Something that happens at a time.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    Action(usize),
    Frame {
        from: usize,
        to: usize,
        link: LinkId,
        frame: Rc<[u8]>,
    },
    /// A process looks what is due.
    Wake(usize),
    /// A write to the disk is done.
    Synced {
        slot: usize,
        opened: u64,
    },
    /// An end of a connection notices that it is gone.
    Noticed {
        slot: usize,
        link: LinkId,
    },
    /// A process comes back.
    Restart {
        slot: usize,
        opened: u64,
    },
    /// Connections are made where there are none.
    Dial,
    /// A partition is over.
    Unblock(Vec<(usize, usize)>),
    Calm,
    Fast(usize, usize),
    Move(usize),
    Mend(usize),
    Emptied(usize),
    Readmit {
        slot: usize,
    },
    /// Halves meet again.
    Rejoin(usize),
    /// Who is in doubt tries again to take a new id.
    Doubt(usize),
}

/// The world.
#[derive(Debug)]
pub(super) struct World<S> {
    pub(super) plan: Plan,
    pub(super) simulation: Simulation<S>,
    pub(super) now_ms: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    scheduled: u64,
    happened: u64,
    pub(super) processes: Vec<Process<S>>,
    pub(super) network: Network,
    pub(super) truth: Truth,
    checks: Checks,
    /// What each member ever held, by the oracle, and what its disk did.
    pub(super) held: BTreeMap<ReplicaId, VersionVector>,
    pub(super) stored: BTreeMap<ReplicaId, VersionVector>,
    pub(super) coverage: Coverage,
    /// For ids and nonces: whatever is drawn must not be drawn again.
    pub(super) fresh: Random,
    /// Halves that evicted each other, until they meet again.
    pub(super) splits: Vec<Option<(Vec<usize>, Vec<usize>)>>,
    /// Whether all is mended.
    pub(super) is_healed: bool,
    log: Option<Vec<String>>,
}

impl<S: Subject> World<S> {
    pub(super) fn new(plan: Plan, simulation: Simulation<S>, is_traced: bool) -> Self {
        let network = Network::new(plan.seed, plan.setting.is_ordered, plan.setting.most_delay_ms);
        let fresh = Random::new(plan.seed, &[20]);
        Self {
            plan,
            simulation,
            now_ms: START_MS,
            queue: BTreeMap::new(),
            scheduled: 0,
            happened: 0,
            processes: Vec::new(),
            network,
            truth: Truth::default(),
            checks: Checks::default(),
            held: BTreeMap::new(),
            stored: BTreeMap::new(),
            coverage: Coverage::default(),
            fresh,
            splits: Vec::new(),
            is_healed: false,
            log: is_traced.then(Vec::new),
        }
    }

    /// A line of the trace.
    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(format!("{:>9.3} {}", (self.now_ms - START_MS) as f64 / 1_000.0, line()));
        }
    }

    pub(super) fn into_log(self) -> Vec<String> {
        self.log.unwrap_or_default()
    }

    pub(super) fn at(&mut self, time_ms: u64, happening: Happening) {
        self.scheduled += 1;
        self.queue.insert((time_ms.max(self.now_ms), self.scheduled), happening);
    }

    pub(super) fn after(&mut self, wait_ms: u64, happening: Happening) {
        self.at(self.now_ms + wait_ms, happening);
    }

    /// Lets happen what happens up to a time.
    pub(super) fn run_until(&mut self, end_ms: u64) -> Result<(), Stop> {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end_ms {
                break;
            }
            let ((time_ms, _), happening) = entry.remove_entry();
            self.now_ms = time_ms;
            self.happened += 1;
            if self.happened > MOST_HAPPENINGS {
                return Err(Stop::Fault("it never comes to rest".to_owned()));
            }
            self.happen(happening)?;
        }
        self.now_ms = end_ms;
        Ok(())
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Stop> {
        match happening {
            Happening::Action(number) => self.act(number),
            Happening::Frame { from, to, link, frame } => self.arrive(from, to, link, frame),
            Happening::Wake(slot) => {
                if self.processes[slot].wake_ms != Some(self.now_ms) {
                    return Ok(());
                }
                self.processes[slot].wake_ms = None;
                self.feed(slot, Input::Tick).map(drop)
            }
            Happening::Synced { slot, opened } => self.synced(slot, opened),
            Happening::Noticed { slot, link } => {
                if self.processes[slot].links.remove(&link).is_some() {
                    self.feed(slot, Input::LinkDown(link))?;
                }
                Ok(())
            }
            Happening::Restart { slot, opened } => {
                let process = &self.processes[slot];
                if process.opened == opened && matches!(process.stage, Stage::Down) {
                    self.open(slot)
                } else {
                    Ok(())
                }
            }
            Happening::Dial => self.dial(),
            Happening::Unblock(ways) => {
                if !self.is_healed {
                    ways.into_iter().for_each(|(from, to)| self.network.block(from, to, false));
                }
                Ok(())
            }
            Happening::Calm => {
                self.network.weather = Default::default();
                Ok(())
            }
            Happening::Fast(one, other) => {
                self.network.way(one, other).bandwidth = None;
                Ok(())
            }
            Happening::Move(slot) => {
                self.processes[slot].clock.move_on();
                Ok(())
            }
            Happening::Mend(slot) => self.mend(slot),
            Happening::Emptied(slot) => {
                self.processes[slot].disk.is_full = false;
                self.store(slot)
            }
            Happening::Readmit { slot } => self.readmit(slot),
            Happening::Rejoin(number) => match self.splits.get_mut(number).and_then(Option::take) {
                Some((one, other)) => self.rejoin(&one, &other),
                None => Ok(()),
            },
            Happening::Doubt(slot) => self.answer_doubt(slot),
        }
    }

    pub(super) fn local_ms(&self, slot: usize) -> u64 {
        self.processes[slot].clock.now(self.now_ms)
    }

    /// Gives an input to a process that is running, and looks at what comes of it.
    pub(super) fn feed(&mut self, slot: usize, input: Input) -> Result<Done, Stop> {
        let local_ms = self.local_ms(slot);
        let process = &mut self.processes[slot];
        let Stage::Running(machine) = &mut process.stage else { return Ok(Done::default()) };
        let done = machine.feed(local_ms, &input, &mut self.truth.oracle);
        let done = done.map_err(|error| format!("{slot}: {error}"))?;
        process.inputs.push((self.now_ms, local_ms, input));
        self.digest(slot, done)
    }

    /// Looks at what came of an input.
    pub(super) fn digest(&mut self, slot: usize, mut done: Done) -> Result<Done, Stop> {
        self.observe(slot)?;
        self.look_at_reports(slot)?;
        for (link, frame) in std::mem::take(&mut done.frames) {
            self.send(slot, link, frame);
        }
        if let Some(error) = done.received.take() {
            self.refused(slot, error)?;
        }
        for event in std::mem::take(&mut done.events) {
            self.hear(slot, event)?;
        }
        self.store(slot)?;
        self.plan_wake(slot);
        Ok(done)
    }

    /// Looks what a process holds now, and compares it with the oracle if it is something else than before.
    pub(super) fn observe(&mut self, slot: usize) -> Result<(), Stop> {
        let process = &mut self.processes[slot];
        let Stage::Running(machine) = &process.stage else { return Ok(()) };
        let replica = machine.endpoint.replica();
        let vector = replica.vector();
        if vector == process.vector {
            return Ok(());
        }
        // Several, if the membership changed: others see only the last, but are told of all. A vector may leave out an id that
        // somebody else closed, even its own.
        let before_own = process.view.ids.get(&process.id);
        let stamps: Vec<_> = replica.commit_points(before_own, Timestamp::MAX).collect();
        let of_slot = |error: String| Stop::Fault(format!("{slot}: {error}"));
        if !stamps.is_empty() {
            let others = vector.iter().filter(|(id, _)| *id != process.id).collect();
            let mut before = self.truth.view(&others).map_err(of_slot)?;
            before.join(&process.view);
            for stamp in stamps {
                self.truth.commit((process.id, stamp), process.label, &before).map_err(|_| Stop::Void)?;
            }
        }
        let view = self.truth.view(&vector).map_err(of_slot)?;
        if !process.view.labels.is_within(&view.labels) {
            return Err(of_slot(format!(
                "it has lost events: it held {:?}, now {:?}",
                process.view.labels, view.labels
            )));
        }
        self.coverage.checks += 1;
        let is_new = self.checks.check(&self.truth, &view, replica);
        let is_new = is_new
            .map_err(|error| of_slot(format!("{error}\nits vector is {vector:?}\nits view is {view:?}")))?;
        self.coverage.states += u64::from(is_new);
        if let Some(invariant) = self.simulation.invariant {
            invariant(replica.state()).map_err(of_slot)?;
        }
        let line = (vector.clone(), view.ids.clone());
        self.held.entry(self.processes[slot].member).or_default().join(&view.labels);
        let process = &mut self.processes[slot];
        (process.vector, process.view) = (vector, view);
        self.note(|| format!("{slot} holds {:?}, that is {:?}", line.0, line.1));
        self.look_at_memory(slot)
    }

    /// What a process knows others to hold they must hold. Of an id that was ever used twice nobody can say that.
    fn look_at_reports(&self, slot: usize) -> Result<(), Stop> {
        let Stage::Running(machine) = &self.processes[slot].stage else { return Ok(()) };
        for (id, vector) in machine.endpoint.replica().known_vectors() {
            let is_it = |process: &&Process<S>| process.is_running() && process.id == id;
            let process = self.processes.iter().find(is_it);
            let Some(process) = process.filter(|_| !self.truth.has_copies(id)) else { continue };
            let is_more = |(author, stamp): &(_, _)| *stamp > process.view.ids.get(author);
            if let Some((author, stamp)) = vector.iter().find(is_more) {
                let held = process.view.ids.get(&author);
                let fault = format!("{slot} believes that {id} holds {author} up to {stamp}, not {held}");
                return Err(Stop::Fault(fault));
            }
        }
        Ok(())
    }

    /// Who is said to hold a write has held it, on disk if that was asked for, whatever became of it since.
    fn look_at_holders(&self, slot: usize, concern: ConcernId, holders: &Holders) -> Result<(), Stop> {
        let Holders { stamp, hold, .. } = holders;
        let process = &self.processes[slot];
        // What it committed before it took another id, and others had seen, bears the former one still.
        let mut ids = [process.id].into_iter().chain(process.former.iter().copied());
        let (label, first) = ids.find_map(|id| self.truth.label(id, *stamp)).ok_or_else(|| {
            Stop::Fault(format!("{slot} says that {hold:?} hold {stamp}, which it never committed"))
        })?;
        let is_durable = process.machine().is_some_and(|machine| machine.is_durable(concern));
        let has_store = |member: &ReplicaId| {
            self.processes.iter().any(|process| process.member == *member && process.config.is_durable)
        };
        let holds = |member: &&ReplicaId| {
            let held = if is_durable && has_store(member) { &self.stored } else { &self.held };
            held.get(member).is_some_and(|held| held.get(&label) >= first)
        };
        match hold.iter().find(|member| !holds(member)) {
            Some(member) => {
                Err(Stop::Fault(format!("{slot} says that {member} holds {stamp}, and it never did")))
            }
            None => Ok(()),
        }
    }

    /// What a process keeps for its peers is bounded, however many frames are lost or out of order.
    fn look_at_memory(&self, slot: usize) -> Result<(), Stop> {
        let process = &self.processes[slot];
        let Stage::Running(machine) = &process.stage else { return Ok(()) };
        // One more may go out, or come in, before the window is full.
        let most = process.config.window_bytes + 2 * process.config.chunk_bytes + MOST_SLACK;
        for PeerStatus { peer, bytes_under_way, bytes_pending, .. } in machine.endpoint.peers() {
            if bytes_under_way > most || bytes_pending > most + MOST_GATHERED {
                return Err(Stop::Fault(format!(
                    "{slot} keeps {bytes_under_way} bytes that are under way to {peer:?}, and {bytes_pending} that wait"
                )));
            }
        }
        Ok(())
    }

    fn plan_wake(&mut self, slot: usize) {
        let local_ms = self.local_ms(slot);
        let process = &mut self.processes[slot];
        let Stage::Running(machine) = &process.stage else { return };
        let Some(deadline_ms) = machine.endpoint.deadline() else { return };
        let due_ms = self.now_ms + deadline_ms.saturating_sub(local_ms).max(1);
        if process.wake_ms.is_none_or(|wake_ms| due_ms < wake_ms || wake_ms <= self.now_ms) {
            process.wake_ms = Some(due_ms);
            self.at(due_ms, Happening::Wake(slot));
        }
    }

    /// An endpoint did not take a frame.
    fn refused(&mut self, slot: usize, error: SyncError) -> Result<(), Stop> {
        match error {
            SyncError::UnknownLink { .. } => Ok(()),
            SyncError::Merge(MergeError::Gap { .. }) => Ok(()),
            error => Err(Stop::Fault(format!("{slot} did not take a frame: {error}"))),
        }
    }

    /// An endpoint says something.
    fn hear(&mut self, slot: usize, event: SyncEvent) -> Result<(), Stop> {
        self.note(|| format!("{slot} says {event:?}"));
        let coverage = &mut self.coverage;
        match event {
            SyncEvent::Merged { conflicts, .. } => {
                coverage.merges += 1;
                coverage.conflicts += u64::from(conflicts > 0);
            }
            SyncEvent::ClocksApart { .. } => coverage.clocks_apart += 1,
            SyncEvent::ClocksRight { .. } => coverage.clocks_right += 1,
            SyncEvent::Confirmed { concern, holders } => {
                coverage.confirmed += 1;
                self.look_at_holders(slot, concern, &holders)?;
            }
            SyncEvent::Unconfirmed { .. } => coverage.unconfirmed += 1,
            SyncEvent::IdInDoubt { .. } => {
                coverage.found_out += 1;
                self.processes[slot].is_in_doubt = true;
                // Not at once: whatever happens meanwhile must do no harm.
                self.after(5, Happening::Doubt(slot));
            }
            SyncEvent::JoinRequest { member, .. } => {
                coverage.admissions += 1;
                self.feed(slot, Input::Admit(member))?;
            }
            SyncEvent::CannotTake { error, .. } => self.refused(slot, error)?,
            SyncEvent::Refused { link, .. } | SyncEvent::SameMember { link, .. } => self.close(slot, link)?,
            SyncEvent::Diverged { .. } | SyncEvent::Repaired { .. } | SyncEvent::CannotEncode { .. } => {
                return Err(Stop::Fault(format!("{slot} says {event:?}")));
            }
            _ => {}
        }
        Ok(())
    }

    /// A fresh id.
    pub(super) fn fresh_id(&mut self) -> ReplicaId {
        ReplicaId::from_u128(self.fresh.id())
    }
}
