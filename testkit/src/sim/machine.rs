//! A process as a function of its inputs: the endpoint, and what was asked of it so far. From the inputs a copy can be made.

use std::collections::BTreeSet;
use std::rc::Rc;

use driftless::{
    ConcernId, Endpoint, Held, LinkId, Need, RefusedTransaction, RefusedWrite, Reissued, ReplicaId, Snapshot,
    SyncError, SyncEvent, Timestamp, VersionVector,
};

use crate::oracle::Oracle;
use crate::subject::{Script, Stop, Subject};

/// What is done to an endpoint.
#[derive(Clone, Debug)]
pub(super) enum Input {
    Found,
    Succeed(ReplicaId),
    LinkUp {
        link: LinkId,
        principal: Option<String>,
        nonce: u64,
    },
    LinkDown(LinkId),
    Receive(LinkId, Rc<[u8]>),
    Tick,
    Write(Rc<Write>),
    /// Everything is removed.
    Wipe {
        label: ReplicaId,
        saw: VersionVector,
    },
    /// What is held is to be written to the disk.
    Snapshot,
    /// It is there.
    Persisted,
    Reidentify(ReplicaId),
    ReissueAhead(ReplicaId),
    Admit(ReplicaId),
    Evict(ReplicaId),
    Leave,
    Confirm {
        stamp: Timestamp,
        need: Need,
        held: Held,
        deadline_ms: u64,
    },
}

/// A transaction.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) ops: Vec<Vec<u8>>,
    pub(super) keys: u8,
    /// Whose it is, by the oracle, and what they had seen.
    pub(super) label: ReplicaId,
    pub(super) saw: VersionVector,
}

/// What came of an input.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// What a transaction did.
    pub(super) log: Vec<String>,
    /// The stamp of a transaction with events.
    pub(super) stamp: Option<Timestamp>,
    pub(super) received: Option<SyncError>,
    /// Why an input was refused that may be.
    pub(super) refused: Option<String>,
    pub(super) frames: Vec<(LinkId, Rc<[u8]>)>,
    pub(super) events: Vec<SyncEvent>,
    pub(super) reissued: Option<Reissued>,
}

/// An endpoint, driven as its contract says.
#[derive(Debug)]
pub(super) struct Machine<S> {
    pub(super) endpoint: Endpoint<S>,
    writing: Option<Snapshot<S>>,
    /// The write concerns that ask for what is on disk.
    durable: BTreeSet<ConcernId>,
}

impl<S: Subject> Machine<S> {
    pub(super) fn new(endpoint: Endpoint<S>) -> Self {
        Self { endpoint, writing: None, durable: BTreeSet::new() }
    }

    /// Whether a write concern asks for what is on disk.
    pub(super) fn is_durable(&self, concern: ConcernId) -> bool {
        self.durable.contains(&concern)
    }

    /// What is being written to the disk.
    pub(super) fn writing(&self) -> Option<&Snapshot<S>> {
        self.writing.as_ref()
    }

    /// Gives one input, and takes frames and events until there are none.
    ///
    /// # Errors
    /// What no caller should see.
    pub(super) fn feed(&mut self, now_ms: u64, input: &Input, oracle: &mut Oracle) -> Result<Done, String> {
        let mut done = self.apply(now_ms, input, oracle)?;
        loop {
            let mut frame = Vec::new();
            match self.endpoint.transmit(now_ms, &mut frame) {
                Some(link) => done.frames.push((link, frame.into())),
                None => break,
            }
            if done.frames.len() > 10_000 {
                return Err("there is no end of frames".to_owned());
            }
        }
        done.events.extend(std::iter::from_fn(|| self.endpoint.next_event()));
        Ok(done)
    }

    fn apply(&mut self, now_ms: u64, input: &Input, oracle: &mut Oracle) -> Result<Done, String> {
        let mut done = Done::default();
        let endpoint = &mut self.endpoint;
        let show = |error: &dyn std::fmt::Display| format!("{input:?}: {error}");
        match input {
            Input::LinkUp { link, principal, nonce } => {
                endpoint.link_up(now_ms, *link, principal.clone(), *nonce)
            }
            Input::LinkDown(link) => endpoint.link_down(now_ms, *link),
            Input::Receive(link, frame) => done.received = endpoint.receive(now_ms, *link, frame).err(),
            Input::Tick => endpoint.tick(now_ms),
            Input::Write(write) => return self.write(now_ms, write, oracle),
            Input::Wipe { label, saw } => {
                let last = endpoint.replica().clock().last();
                let stamp = Timestamp::from_bits((now_ms << 16).max(last.bits() + 1));
                let is_event = oracle.transaction(*label, stamp, saw.clone()).remove(&Vec::new());
                let wiped = endpoint.write(now_ms, |handle| S::wipe(handle)).map_err(|error| show(&error))?;
                if wiped.stamp != is_event.then_some(stamp) {
                    return Err(format!("all is removed with the stamp {:?}, not {stamp}", wiped.stamp));
                }
            }
            Input::Snapshot => self.writing = Some(endpoint.snapshot()),
            Input::Persisted => {
                let snapshot = self.writing.take().ok_or("nothing was being written")?;
                endpoint.persisted(now_ms, snapshot);
            }
            Input::Confirm { stamp, need, held, deadline_ms } => {
                let concern = endpoint.confirm(now_ms, *stamp, *need, *held, *deadline_ms);
                self.durable.extend((*held == Held::Durable).then_some(concern));
            }
            Input::Found => done.refused = endpoint.found(now_ms).err().map(|error| show(&error)),
            Input::Succeed(former) => {
                done.refused = endpoint.succeed(now_ms, *former).err().map(|error| show(&error))
            }
            Input::Admit(member) => {
                done.refused = endpoint.admit(now_ms, *member).err().map(|error| show(&error))
            }
            Input::Evict(member) => {
                done.refused = endpoint.evict(now_ms, *member).err().map(|error| show(&error))
            }
            Input::Leave => done.refused = endpoint.leave(now_ms).err().map(|error| show(&error)),
            Input::Reidentify(new) => match endpoint.reidentify(now_ms, *new) {
                Ok(reissued) => done.reissued = Some(reissued),
                Err(error) => done.refused = Some(show(&error)),
            },
            Input::ReissueAhead(new) => match endpoint.reissue_ahead(now_ms, *new) {
                Ok(reissued) => done.reissued = Some(reissued),
                Err(error) => done.refused = Some(show(&error)),
            },
        }
        Ok(done)
    }

    fn write(&mut self, now_ms: u64, write: &Write, oracle: &mut Oracle) -> Result<Done, String> {
        let Write { ops, keys, label, saw } = write;
        let last = self.endpoint.replica().clock().last();
        let stamp = Timestamp::from_bits((now_ms << 16).max(last.bits() + 1));
        let events = oracle.len();
        let mut script = Script::new(oracle, *label, stamp, saw.clone(), *keys, None).with_hot_keys();
        let made = self.endpoint.transact(now_ms, |handle| {
            ops.iter().try_for_each(|choices| {
                script.choose_by(choices);
                S::act(handle, &mut script)
            })
        });
        let log = script.into_log();
        let mut done = Done { log, ..Done::default() };
        match made {
            Ok(committed) => {
                let expected = (oracle.len() > events).then_some(stamp);
                if committed.stamp != expected {
                    return Err(format!("a write has the stamp {:?}, not {expected:?}", committed.stamp));
                }
                done.stamp = expected;
            }
            Err(RefusedTransaction::Write(error @ RefusedWrite::IdInDoubt { .. })) => {
                done.refused = Some(error.to_string())
            }
            Err(RefusedTransaction::Aborted(Stop::Fault(fault))) => return Err(fault),
            Err(error) => return Err(format!("a write failed: {error:?}")),
        }
        Ok(done)
    }
}
