//! Reads never go back: at one replica, and for a client that moves from replica to replica with a token, which is the join of
//! the vectors of all that it read and wrote. It is served where the vector covers the token.

use std::collections::{BTreeMap, BTreeSet};

use driftless::*;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{LATE_MS, prove, ship};

const REPLICAS: usize = 4;
const CLIENTS: usize = 3;

/// Each element is added once and removed at most once, so that what was read can be told from what comes later.
type State = OrSet<u16>;

#[derive(Clone, Debug)]
enum Move {
    Add {
        client: usize,
        at: usize,
    },
    Remove {
        client: usize,
        at: usize,
        which: usize,
    },
    Read {
        client: usize,
        at: usize,
    },
    Sync {
        from: usize,
        to: usize,
        chunk_bytes: usize,
    },
    /// All that a replica was told of the others is passed on to it, and it forgets.
    Forget {
        at: usize,
    },
    /// The others no longer wait for a replica, and forget; it is a member again at once.
    Evict {
        who: usize,
    },
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let (client, at) = (|| 0..CLIENTS, || 0..REPLICAS);
    let step = prop_oneof![
        5 => (client(), at()).prop_map(|(client, at)| Move::Add { client, at }),
        3 => (client(), at(), 0..64_usize).prop_map(|(client, at, which)| Move::Remove { client, at, which }),
        6 => (client(), at()).prop_map(|(client, at)| Move::Read { client, at }),
        8 => (at(), at(), 0..60_usize).prop_map(|(from, to, chunk_bytes)| Move::Sync { from, to, chunk_bytes }),
        2 => at().prop_map(|at| Move::Forget { at }),
        1 => at().prop_map(|who| Move::Evict { who }),
    ];
    vec(step, 0..80)
}

/// Who reads and writes.
#[derive(Clone, Debug, Default)]
struct Client {
    token: VersionVector,
    /// The elements it saw or added.
    saw: BTreeSet<u16>,
    /// The elements it saw and later did not see any more, or removed.
    missed: BTreeSet<u16>,
}

impl Client {
    /// Takes note of what a replica shows.
    fn look(&mut self, replica: &Replica<State>) {
        self.token.join(&replica.vector());
        let shown: BTreeSet<_> = replica.state().iter().copied().collect();
        self.missed.extend(self.saw.difference(&shown));
        self.saw.extend(shown);
    }
}

/// Replicas, clients, and what is true of the elements.
struct World {
    replicas: Vec<Replica<State>>,
    clients: Vec<Client>,
    now_ms: u64,
    /// For each element, what its author had seen and missed when it was added.
    causes: BTreeMap<u16, Client>,
    /// The events that removed an element.
    removed: BTreeMap<u16, Vec<(ReplicaId, Timestamp)>>,
}

impl World {
    fn new() -> Self {
        let ids: Vec<_> = (1..=REPLICAS as u128).map(ReplicaId::from_u128).collect();
        let mut replicas: Vec<_> = ids.iter().map(|id| Replica::new(*id, Config::default())).collect();
        replicas.iter_mut().for_each(|replica| replica.set_members(ids.clone()));
        let clients = vec![Client::default(); CLIENTS];
        Self {
            replicas,
            clients,
            now_ms: 1_700_000_000_000,
            causes: BTreeMap::new(),
            removed: BTreeMap::new(),
        }
    }

    fn is_served(&self, client: usize, at: usize) -> bool {
        self.clients[client].token.is_within(&self.replicas[at].vector())
    }

    fn step(&mut self, step: &Move) -> Result<(), String> {
        match *step {
            Move::Add { client, at } if self.is_served(client, at) => {
                let element = self.causes.len() as u16;
                self.check_reading(client, at)?;
                self.causes.insert(element, self.clients[client].clone());
                self.replicas[at].write(self.now_ms, |set| set.add(&element)).map_err(|e| e.to_string())?;
                self.clients[client].look(&self.replicas[at]);
            }
            Move::Remove { client, at, which } if self.is_served(client, at) => {
                self.check_reading(client, at)?;
                let shown: Vec<_> = self.replicas[at].state().iter().copied().collect();
                if let Some(element) = shown.get(which % shown.len().max(1)) {
                    let removed = self.replicas[at].write(self.now_ms, |set| set.remove(element));
                    let stamp = removed.map_err(|error| error.to_string())?.stamp;
                    let event = (self.replicas[at].id(), stamp.expect("what is shown can be removed"));
                    self.removed.entry(*element).or_default().push(event);
                    self.clients[client].look(&self.replicas[at]);
                }
            }
            Move::Read { client, at } if self.is_served(client, at) => self.check_reading(client, at)?,
            // Elsewhere it would have to wait, or be sent on.
            Move::Add { .. } | Move::Remove { .. } | Move::Read { .. } => {}
            Move::Sync { from, to, .. } if from == to => self.now_ms += 1,
            Move::Sync { from, to, chunk_bytes } => self.sync(from, to, chunk_bytes)?,
            Move::Forget { at } => self.forget(at),
            Move::Evict { who } => {
                let ids: Vec<_> = self.replicas.iter().map(Replica::id).collect();
                for at in (0..REPLICAS).filter(|at| *at != who) {
                    let members = ids.iter().filter(|id| **id != ids[who]);
                    self.replicas[at].set_members(members.copied());
                    self.forget(at);
                    self.replicas[at].set_members(ids.clone());
                }
            }
        }
        self.replicas.iter().try_for_each(|replica| self.check_causes(replica))
    }

    fn forget(&mut self, at: usize) {
        for from in 0..REPLICAS {
            let (id, vector) = (self.replicas[from].id(), self.replicas[from].vector());
            self.replicas[at].report(LATE_MS, id, &vector).unwrap();
        }
        self.replicas[at].forget();
    }

    /// At one replica nothing goes back: not the vector, and nothing that was removed there returns.
    fn sync(&mut self, from: usize, to: usize, chunk_bytes: usize) -> Result<(), String> {
        let mut reader = Client::default();
        reader.look(&self.replicas[to]);
        let (sender, receiver) = if from < to {
            let (left, right) = self.replicas.split_at_mut(to);
            (&left[from], &mut right[0])
        } else {
            let (left, right) = self.replicas.split_at_mut(from);
            (&right[0], &mut left[to])
        };
        ship(sender, receiver, chunk_bytes);
        self.check_view(&reader, to)
    }

    /// Whether a replica has seen a removal of an element: only then may it be gone there.
    fn has_seen_removed(&self, replica: &Replica<State>, element: u16) -> bool {
        let vector = replica.vector();
        let mut removals = self.removed.get(&element).into_iter().flatten();
        removals.any(|(id, stamp)| *stamp <= vector.get(id))
    }

    /// A client that is served sees all that it saw, but for what was removed, and nothing that it had missed.
    fn check_reading(&mut self, client: usize, at: usize) -> Result<(), String> {
        self.check_view(&self.clients[client], at)?;
        self.clients[client].look(&self.replicas[at]);
        Ok(())
    }

    fn check_view(&self, reader: &Client, at: usize) -> Result<(), String> {
        let replica = &self.replicas[at];
        if !reader.token.is_within(&replica.vector()) {
            return Err(format!("{:?} went back to {:?}", reader.token, replica.vector()));
        }
        let set = replica.state();
        let lost = reader
            .saw
            .iter()
            .find(|element| !set.contains(*element) && !self.has_seen_removed(replica, **element));
        let risen = reader.missed.iter().find(|element| set.contains(*element));
        match lost.or(risen) {
            None => Ok(()),
            Some(element) => Err(format!("at {at} {element} is lost, or back: {lost:?}, {risen:?}")),
        }
    }

    /// Whoever sees what a client wrote sees all that it had seen before it wrote.
    fn check_causes(&self, replica: &Replica<State>) -> Result<(), String> {
        for (element, causes) in &self.causes {
            let set = replica.state();
            let has_seen = set.contains(element);
            let lacks = |cause: &&u16| !set.contains(*cause) && !self.has_seen_removed(replica, **cause);
            let lacking = causes.saw.iter().find(lacks);
            let risen = causes.missed.iter().find(|cause| set.contains(*cause));
            if has_seen && (lacking.is_some() || risen.is_some()) {
                return Err(format!("{element} is there, its causes are not: {lacking:?}, {risen:?}"));
            }
        }
        Ok(())
    }
}

#[test]
fn reads_and_writes_of_a_session_with_a_token_never_go_back() {
    prove(300, moves(), |moves| {
        let mut world = World::new();
        moves.iter().try_for_each(|step| world.step(step))
    });
}

/// What the token is for: where it is not covered, a session would go back.
#[test]
fn a_read_where_the_token_is_not_covered_goes_back() {
    let mut world = World::new();
    world.step(&Move::Add { client: 0, at: 0 }).unwrap();
    assert!(!world.is_served(0, 1));
    assert!(world.check_reading(0, 1).is_err());
    world.step(&Move::Sync { from: 0, to: 1, chunk_bytes: 0 }).unwrap();
    assert!(world.is_served(0, 1));
    world.check_reading(0, 1).unwrap();
}
