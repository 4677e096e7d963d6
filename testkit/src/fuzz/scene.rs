//! Replicas that hold something, always the same: what messages from bytes meet.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use driftless::{Config, Replica, ReplicaId, Timestamp, VersionVector};

use crate::fuzz::delivery::{self, RECEIVER_IS_EMPTY};
use crate::oracle::Oracle;
use crate::subject::{Script, Subject};

/// When everything happens, in Unix milliseconds.
pub(super) const NOW_MS: u64 = 1_700_000_000_000;

/// The ids of the replicas of a scene. Only one has a short form that no other has.
pub(super) const IDS: [ReplicaId; 3] = {
    const fn id(upper: u128, lower: u128) -> ReplicaId {
        ReplicaId::from_u128((upper << 64) | lower)
    }
    [id(3, 1), id(1, 3), id(2, 2)]
};

/// Three replicas. The last is who receives; the others write more than it has seen.
#[derive(Debug)]
pub(super) struct Scene<S> {
    pub(super) replicas: [Replica<S>; 3],
    oracle: Oracle,
    now_ms: u64,
}

impl<S: Subject> Scene<S> {
    /// Replicas of which each has written, and seen some of what the others wrote.
    pub(super) fn new(config: &Config) -> Self {
        let mut scene = Self {
            replicas: IDS.map(|id| Replica::new(id, config.clone())),
            oracle: Oracle::default(),
            now_ms: NOW_MS,
        };
        [1, 8, 9, 10].into_iter().for_each(|number| scene.write(0, number));
        scene.sync(0, 1);
        scene.write(1, 2);
        scene.sync(1, 2);
        scene.write(0, 3);
        scene.write(2, 4);
        scene
    }

    /// One transaction, of what `number` says.
    pub(super) fn write(&mut self, at: usize, number: u8) {
        self.now_ms += 7;
        let replica = &mut self.replicas[at];
        let stamp = replica.clock().peek(self.now_ms).unwrap_or(Timestamp::ZERO);
        let mut script = script(&mut self.oracle, replica, stamp);
        let choices: Vec<[u8; 6]> = (0..3).map(|op| choices(number * 3 + op)).collect();
        let done = replica.transact(self.now_ms, |handle| {
            choices.iter().try_for_each(|choices| {
                script.choose_by(choices);
                S::act(handle, &mut script)
            })
        });
        done.expect("the engine does what the oracle says");
    }

    /// Brings `to` all that `from` holds.
    pub(super) fn sync(&mut self, from: usize, to: usize) {
        let delta = self.replicas[from].delta_since(&self.replicas[to].vector());
        self.replicas[to].merge(self.now_ms, delta).expect("what it lacks fits");
    }

    /// All hear what the others hold, and forget.
    pub(super) fn settle(&mut self) {
        let vectors: Vec<(ReplicaId, VersionVector)> =
            self.replicas.iter().map(|replica| (replica.id(), replica.vector())).collect();
        for replica in &mut self.replicas {
            replica.set_members(IDS);
            for (id, vector) in &vectors {
                replica.report(self.now_ms, *id, vector).expect("the vector is true");
            }
            replica.forget();
        }
    }
}

/// A script of a transaction of `replica`.
pub(super) fn script<'a, S: Subject>(
    oracle: &'a mut Oracle,
    replica: &Replica<S>,
    stamp: Timestamp,
) -> Script<'a> {
    Script::new(oracle, replica.id(), stamp, replica.vector(), 3, None)
}

/// Who receives.
pub(super) fn receiver<S: Subject>(how: u8) -> Replica<S> {
    let config = delivery::config(how);
    if how & RECEIVER_IS_EMPTY != 0 {
        return Replica::new(IDS[2], config);
    }
    let [_, _, receiver] = Scene::new(&config).replicas;
    receiver
}

/// Who receives, to be looked at only: made once, since making it takes longer than decoding a message.
pub(super) fn shared_receiver<S: Subject>(how: u8) -> Rc<Replica<S>> {
    thread_local! {
        static RECEIVERS: RefCell<BTreeMap<(TypeId, u8), Rc<dyn Any>>> = RefCell::default();
    }
    let shared = RECEIVERS.with_borrow_mut(|receivers| {
        let made = receivers.entry((TypeId::of::<S>(), how)).or_insert_with(|| Rc::new(receiver::<S>(how)));
        Rc::clone(made)
    });
    shared.downcast().expect("it was stored under its type")
}

/// What an operation chooses by: looks arbitrary, and is always the same.
pub(super) fn choices(number: u8) -> [u8; 6] {
    let mut state = u32::from(number).wrapping_mul(0x9E37_79B9) ^ 0x5BD1_E995;
    [(); 6].map(|()| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
}
