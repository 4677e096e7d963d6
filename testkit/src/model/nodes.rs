//! Replicas by what they hold, and the steps of one replica alone.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::rc::Rc;

use driftless::{Config, MergeError, Replica, ReplicaId, Timestamp, VersionVector};
use xxhash_rust::xxh3::xxh3_128;

use crate::model::writes::Modelled;
use crate::oracle::{Live, Oracle};
use crate::subject::{Canonical, Readings, readings};

/// How many replicas there are.
pub(super) const REPLICAS: usize = 3;
/// How many ids: one for each replica, and one for each restart.
pub(super) const MOST_IDS: usize = 5;
/// The ids. Their order has nothing to do with their numbers.
const IDS: [ReplicaId; MOST_IDS] = {
    const fn id(upper: u128, lower: u128) -> ReplicaId {
        ReplicaId::from_u128((upper << 64) | lower)
    }
    [id(3, 0), id(10, 1), id(6, 2), id(2, 3), id(9, 4)]
};
const START_MS: u64 = 1_700_000_000_000;
/// Later than all that is written.
const LATER_MS: u64 = START_MS + 1_000;

/// Of each id the number of its last transaction that is held. They are numbered as they are made, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Vector(pub(super) [u8; MOST_IDS]);

impl Vector {
    pub(super) fn is_within(self, other: Self) -> bool {
        self.0.iter().zip(other.0).all(|(one, other)| *one <= other)
    }

    pub(super) fn join(self, other: Self) -> Self {
        let mut joined = self;
        joined.0.iter_mut().zip(other.0).for_each(|(one, other)| *one = (*one).max(other));
        joined
    }

    pub(super) fn is_empty(self) -> bool {
        self == Self::default()
    }

    fn engine(self) -> VersionVector {
        let entries = IDS.iter().zip(self.0).filter(|(_, number)| *number > 0);
        entries.map(|(id, number)| (*id, stamp(number))).collect()
    }

    fn of(vector: &VersionVector) -> Result<Self, String> {
        let mut numbers = Self::default();
        for (id, stamp) in vector {
            let place = IDS.iter().position(|other| *other == id).ok_or("an id of nobody")?;
            numbers.0[place] = u8::try_from(stamp.millis() - START_MS).map_err(|error| error.to_string())?;
        }
        Ok(numbers)
    }
}

fn stamp(number: u8) -> Timestamp {
    Timestamp::from_bits((START_MS + u64::from(number)) << 16)
}

/// A transaction, and what its author had seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Event {
    number: u8,
    author: u8,
    key: u8,
    kind: u8,
    saw: Vector,
}

/// All that a replica has seen, in order of time.
type Truth = Rc<[Event]>;

/// The number of what a replica holds.
pub(super) type NodeId = u32;
/// The number of a message.
pub(super) type MessageId = u32;
/// The ids that are members, by number.
pub(super) type Members = [u8; REPLICAS];

/// What happens to one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Local {
    /// It makes the transaction of this number.
    Write { key: u8, kind: u8, number: u8 },
    /// A message arrives, with what its sender held.
    Take(MessageId),
    /// It hears what one holds.
    Hear(u8, Vector),
    /// It forgets what is stable.
    Forget,
    /// It hears who the members are.
    Learn(Members),
}

#[derive(Clone, Copy, Debug)]
enum Origin {
    /// It begins, with nothing or with what was saved.
    Root {
        id: u8,
        members: Members,
        saved: Option<MessageId>,
    },
    After(NodeId, Local),
}

/// What a replica holds, as far as others need to know.
#[derive(Clone, Debug)]
pub(super) struct Node {
    origin: Origin,
    /// Under which id it writes.
    pub(super) id: u8,
    pub(super) vector: Vector,
    /// What it held before its last transaction.
    pub(super) before: Vector,
    /// What it takes for stable.
    pub(super) cut: Vector,
    pub(super) members: Members,
    /// A hash of what is live.
    pub(super) live: u128,
    truth: Truth,
}

/// What is under way.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) sender: u8,
    pub(super) from: Vector,
    pub(super) to: Vector,
    pub(super) is_complete: bool,
    bytes: Rc<[u8]>,
    truth: Truth,
}

/// Everything that a replica ever held or sent, each once.
#[derive(Debug)]
pub(super) struct Nodes<S> {
    nodes: Vec<Node>,
    messages: Vec<Message>,
    by_key: HashMap<(u128, Truth), NodeId>,
    by_bytes: HashMap<(u8, Rc<[u8]>, Truth), MessageId>,
    after: HashMap<(NodeId, Local), Option<NodeId>>,
    sent: HashMap<(NodeId, Vector), Option<MessageId>>,
    state: PhantomData<S>,
}

/// A replica on its way: what the engine holds, and what it must.
struct Run<S> {
    replica: Replica<S>,
    node: Node,
}

impl<S: Modelled> Nodes<S> {
    pub(super) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            messages: Vec::new(),
            by_key: HashMap::new(),
            by_bytes: HashMap::new(),
            after: HashMap::new(),
            sent: HashMap::new(),
            state: PhantomData,
        }
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    pub(super) fn message(&self, id: MessageId) -> &Message {
        &self.messages[id as usize]
    }

    /// How many there are: of what is held, of messages, of steps that were made in the engine.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        (self.nodes.len(), self.messages.len(), self.after.len())
    }

    /// A replica that begins.
    pub(super) fn root(
        &mut self,
        id: u8,
        members: Members,
        saved: Option<MessageId>,
    ) -> Result<NodeId, String> {
        let run = self.begin(id, members, saved)?;
        self.number(&run)
    }

    fn begin(&self, id: u8, members: Members, saved: Option<MessageId>) -> Result<Run<S>, String> {
        let mut replica = Replica::new(IDS[usize::from(id)], Config::default());
        replica.set_members(members.map(|member| IDS[usize::from(member)]));
        let (mut vector, mut truth) = (Vector::default(), Truth::from([]));
        if let Some(message) = saved.map(|saved| self.message(saved)) {
            let delta = replica.decode(&message.bytes).map_err(|error| error.to_string())?;
            replica.merge(LATER_MS, delta).map_err(|error| format!("what was saved: {error}"))?;
            (vector, truth) = (message.to, Rc::clone(&message.truth));
        }
        let node = Node {
            origin: Origin::Root { id, members, saved },
            id,
            vector,
            before: vector,
            cut: Vector::default(),
            members,
            live: 0,
            truth,
        };
        Ok(Run { replica, node })
    }

    /// A replica that holds what a node stands for.
    fn run(&self, id: NodeId) -> Result<Run<S>, String> {
        let (mut way, mut at) = (Vec::new(), id);
        let mut run = loop {
            match self.node(at).origin {
                Origin::Root { id, members, saved } => break self.begin(id, members, saved)?,
                Origin::After(before, local) => {
                    way.push(local);
                    at = before;
                }
            }
        };
        for local in way.into_iter().rev() {
            self.make(&mut run.replica, local)?;
        }
        run.node = self.node(id).clone();
        Ok(run)
    }

    /// A step in the engine. Returns whether a transaction was made, or a message taken.
    fn make(&self, replica: &mut Replica<S>, local: Local) -> Result<bool, String> {
        match local {
            Local::Write { key, kind, number } => {
                let now_ms = START_MS + u64::from(number);
                let done = replica.write(now_ms, |handle| S::write(handle, key, kind, number));
                let committed = done.map_err(|error| error.to_string())?;
                match committed.stamp {
                    Some(at) if at != stamp(number) => Err(format!("{at} is not the stamp of {number}")),
                    at => Ok(at.is_some()),
                }
            }
            Local::Take(message) => {
                let message = self.message(message);
                let merged = replica.decode(&message.bytes).and_then(|delta| replica.merge(LATER_MS, delta));
                let is_taken = match merged {
                    Ok(_) => true,
                    Err(MergeError::Gap { .. }) => false,
                    Err(error) => return Err(format!("a message is refused: {error}")),
                };
                self.hear(replica, message.sender, message.to)?;
                Ok(is_taken)
            }
            Local::Hear(about, vector) => self.hear(replica, about, vector).map(|()| true),
            Local::Forget => {
                replica.forget();
                Ok(true)
            }
            Local::Learn(members) => {
                replica.set_members(members.map(|member| IDS[usize::from(member)]));
                Ok(true)
            }
        }
    }

    fn hear(&self, replica: &mut Replica<S>, about: u8, vector: Vector) -> Result<(), String> {
        let reported = replica.report(LATER_MS, IDS[usize::from(about)], &vector.engine());
        reported.map_err(|error| format!("a report is refused: {error}"))
    }

    /// What a replica holds after a step. `None` if the step is none: a transaction without events.
    pub(super) fn after(&mut self, id: NodeId, local: Local) -> Result<Option<NodeId>, String> {
        if let Some(after) = self.after.get(&(id, local)) {
            return Ok(*after);
        }
        let mut run = self.run(id)?;
        let done = self.make(&mut run.replica, local)?;
        let is_step = self.expect(&mut run.node, local, done)?;
        run.node.origin = Origin::After(id, local);
        let after = if is_step { Some(self.number(&run)?) } else { None };
        self.after.insert((id, local), after);
        Ok(after)
    }

    /// What must come of a step. Returns whether anything does.
    fn expect(&self, node: &mut Node, local: Local, done: bool) -> Result<bool, String> {
        match local {
            Local::Write { key, kind, number } => {
                let mut oracle = oracle::<S>(&node.truth);
                let author = IDS[usize::from(node.id)];
                let mut transaction = oracle.transaction(author, stamp(number), node.vector.engine());
                S::tell(&mut transaction, key, kind, number);
                if transaction.has_events() != done {
                    return Err(format!("whether {number} is an event: {done}"));
                }
                if done {
                    let event = Event { number, author: node.id, key, kind, saw: node.vector };
                    node.truth = node.truth.iter().copied().chain([event]).collect();
                    node.before = node.vector;
                    node.vector.0[usize::from(node.id)] = number;
                }
                Ok(done)
            }
            Local::Take(message) => {
                let message = self.message(message);
                let fits = message.is_complete || message.from.is_within(node.vector);
                if fits != done {
                    return Err(format!("whether {message:?} fits {:?}: {done}", node.vector));
                }
                if done && !message.to.is_within(node.vector) {
                    node.vector = node.vector.join(message.to);
                    let mut truth: Vec<Event> = node.truth.iter().chain(&*message.truth).copied().collect();
                    truth.sort_unstable_by_key(|event| event.number);
                    truth.dedup();
                    node.truth = truth.into();
                }
                Ok(true)
            }
            Local::Learn(members) => {
                node.members = members;
                Ok(true)
            }
            Local::Hear(..) | Local::Forget => Ok(true),
        }
    }

    /// The number of what a replica holds, which is compared with the oracle if it is new.
    fn number(&mut self, run: &Run<S>) -> Result<NodeId, String> {
        let Run { replica, node } = run;
        let held = replica.delta_since(&VersionVector::new()).encode().map_err(|error| error.to_string())?;
        let rest = format!("{:?} {:?} {replica:?}", node.before, node.members);
        let key = xxh3_128(&[&held, rest.as_bytes()].concat());
        let key = (key, Rc::clone(&node.truth));
        if let Some(known) = self.by_key.get(&key) {
            return Ok(*known);
        }
        let canonical = replica.canonical_bytes();
        let node =
            Node { cut: Vector::of(&replica.stable_cut())?, live: xxh3_128(&canonical), ..node.clone() };
        if replica.vector() != node.vector.engine() {
            return Err(format!("the vector is {:?} instead of {:?}", replica.vector(), node.vector));
        }
        let expected: Live = oracle::<S>(&node.truth).live(&node.vector.engine());
        let found = Canonical::live::<S>(&canonical)?;
        if found != expected {
            return Err(format!("there is {found:?} instead of {expected:?}"));
        }
        let mut read = Readings::new();
        replica.state().read(&mut Vec::new(), &mut read);
        if read != readings(&expected) {
            return Err(format!("what is read is {read:?} instead of {expected:?}"));
        }
        let id = self.nodes.len() as NodeId;
        self.nodes.push(node);
        self.by_key.insert(key, id);
        Ok(id)
    }

    /// What a replica sends to who holds `base`. `None` if there is nothing to send.
    pub(super) fn send(&mut self, id: NodeId, base: Vector) -> Result<Option<MessageId>, String> {
        if let Some(sent) = self.sent.get(&(id, base)) {
            return Ok(*sent);
        }
        let run = self.run(id)?;
        let node = self.node(id);
        let delta = run.replica.delta_since(&base.engine());
        let sent = if node.vector.is_within(base) {
            None
        } else {
            let (from, to) = (Vector::of(&delta.from())?, Vector::of(&delta.to())?);
            if to != node.vector {
                return Err(format!("a delta leads to {to:?} instead of {:?}", node.vector));
            }
            let is_complete = delta.is_complete();
            let bytes: Rc<[u8]> = delta.encode().map_err(|error| error.to_string())?.into();
            let message =
                Message { sender: node.id, from, to, is_complete, bytes, truth: Rc::clone(&node.truth) };
            let key = (message.sender, Rc::clone(&message.bytes), Rc::clone(&message.truth));
            let fresh = self.messages.len() as MessageId;
            let id = *self.by_bytes.entry(key).or_insert(fresh);
            if id == fresh {
                self.messages.push(message);
            }
            Some(id)
        };
        self.sent.insert((id, base), sent);
        Ok(sent)
    }

    /// All that was written, of which a replica knows, to be shown.
    pub(super) fn show(&self, id: NodeId) -> String {
        let node = self.node(id);
        let events = node.truth.iter().map(|event| {
            let kind = S::KINDS.get(usize::from(event.kind)).copied().unwrap_or_default();
            format!("{}: {} {kind} {}, having seen {:?}", event.number, event.author, event.key, event.saw.0)
        });
        events.collect::<Vec<_>>().join("; ")
    }
}

/// An oracle that knows of these events.
fn oracle<S: Modelled>(truth: &[Event]) -> Oracle {
    let mut oracle = Oracle::default();
    for event in truth {
        let author = IDS[usize::from(event.author)];
        let mut transaction = oracle.transaction(author, stamp(event.number), event.saw.engine());
        S::tell(&mut transaction, event.key, event.kind, event.number);
    }
    oracle
}
