//! The states of the cluster, breadth first.

use std::collections::HashMap;
use std::fmt;

use crate::model::nodes::{Local, MOST_IDS, Members, MessageId, NodeId, Nodes, REPLICAS, Vector};
use crate::model::writes::Modelled;

/// How much may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// How many replicas there are, two or three.
    pub replicas: u8,
    /// How many keys are written.
    pub keys: u8,
    /// How many transactions there are.
    pub writes: u8,
    /// How many kinds of writes, of those that the state has.
    pub kinds: u8,
    /// How many messages may be under way, at most two.
    pub messages: u8,
    /// How many crashes there are, at most two.
    pub crashes: u8,
    /// Whether a crash may lose what was done since anything left the replica.
    pub loses_tails: bool,
    /// Whether replicas hear of a crash, and of the new id, at any later moment; else at once.
    pub learns_late: bool,
    /// Whether replicas report what they hold without a message.
    pub reports: bool,
    /// Whether, in each state, all is delivered and compared.
    pub converges: bool,
    /// So many states are looked at, no more.
    pub most_states: usize,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            replicas: 3,
            keys: 1,
            writes: 3,
            kinds: u8::MAX,
            messages: 2,
            crashes: 0,
            loses_tails: false,
            learns_late: false,
            reports: true,
            converges: true,
            most_states: usize::MAX,
        }
    }
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explored {
    /// States of the cluster.
    pub states: usize,
    /// Steps from one to another, those to states that were known among them.
    pub transitions: usize,
    /// The most steps that a state is away from the beginning.
    pub depth: usize,
    /// What one replica can hold.
    pub nodes: usize,
    /// Messages that can be sent.
    pub messages: usize,
    /// Steps made in the engine.
    pub steps: usize,
    /// Whether these are all states of the scope.
    pub is_all: bool,
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, transitions, depth, nodes, messages, steps, is_all } = self;
        let all = if *is_all { "all" } else { "not all" };
        write!(
            f,
            "{all} of the scope: {states} states, {transitions} transitions, depth {depth}; \
             {nodes} states of a replica, {messages} messages, {steps} steps of one replica"
        )
    }
}

/// What is not as it must be, and the shortest way there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub what: String,
    /// What happened before, and what led to it.
    pub trace: Vec<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nafter {} steps\n  {}", self.what, self.trace.len(), self.trace.join("\n  "))
    }
}

impl std::error::Error for Fault {}

/// No message.
const NONE: MessageId = MessageId::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    nodes: [NodeId; REPLICAS],
    /// What each was when anything last left it: what is saved at the least.
    saved: [NodeId; REPLICAS],
    /// What is under way, in order.
    flying: [MessageId; 2],
    members: Members,
    writes: u8,
    crashes: u8,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Begin,
    Write {
        at: u8,
        key: u8,
        kind: u8,
    },
    /// To who holds this; it takes the place of a message that is lost, if there is no other.
    Send {
        from: u8,
        base: Vector,
        message: MessageId,
        over: u8,
    },
    Deliver {
        message: MessageId,
        to: u8,
    },
    Report {
        about: u8,
        to: u8,
    },
    Forget {
        at: u8,
    },
    Crash {
        at: u8,
        loses: bool,
    },
    Learn {
        at: u8,
    },
}

struct Explorer<S> {
    scope: Scope,
    nodes: Nodes<S>,
    fresh: [NodeId; REPLICAS],
    states: Vec<(State, u32, Action)>,
    known: HashMap<State, u32>,
    transitions: usize,
}

/// Looks at all states of a scope.
///
/// # Errors
/// What is not as it must be.
pub fn explore<S: Modelled>(scope: Scope) -> Result<Explored, Box<Fault>> {
    let mut explorer =
        Explorer::<S>::new(scope).map_err(|what| Box::new(Fault { what, trace: Vec::new() }))?;
    let (mut at, mut depth, mut end_of_depth) = (0, 0, 1);
    while at < explorer.states.len() && explorer.states.len() < scope.most_states {
        if at == end_of_depth {
            depth += 1;
            end_of_depth = explorer.states.len();
        }
        explorer.go_on(at)?;
        at += 1;
    }
    let (nodes, messages, steps) = explorer.nodes.counts();
    Ok(Explored {
        states: explorer.states.len(),
        transitions: explorer.transitions,
        depth,
        nodes,
        messages,
        steps,
        is_all: at == explorer.states.len(),
    })
}

impl<S: Modelled> Explorer<S> {
    fn new(scope: Scope) -> Result<Self, String> {
        let mut nodes = Nodes::new();
        // Of two, one is named twice.
        let members = [0, 1, scope.replicas.clamp(2, 3) - 1];
        let mut fresh = [0; REPLICAS];
        for (node, id) in fresh.iter_mut().zip(0..) {
            *node = nodes.root(id, members, None)?;
        }
        let state = State { nodes: fresh, saved: fresh, flying: [NONE; 2], members, writes: 0, crashes: 0 };
        let states = vec![(state, 0, Action::Begin)];
        let known = HashMap::from([(state, 0)]);
        Ok(Self { scope, nodes, fresh, states, known, transitions: 0 })
    }

    /// Makes every step that there is from a state.
    fn go_on(&mut self, from: usize) -> Result<(), Box<Fault>> {
        let state = self.states[from].0;
        for action in self.actions(&state).map_err(|what| self.fault(from, None, what))? {
            let made = self.make(state, action).and_then(|state| {
                if let Some(state) = &state {
                    self.check(state)?;
                }
                Ok(state)
            });
            let Some(next) = made.map_err(|what| self.fault(from, Some(action), what))? else {
                continue;
            };
            self.transitions += 1;
            let number = self.states.len() as u32;
            if *self.known.entry(next).or_insert(number) == number {
                self.states.push((next, from as u32, action));
                if self.scope.converges {
                    self.converge(&next).map_err(|what| self.fault(from, Some(action), what))?;
                }
            }
        }
        Ok(())
    }

    /// The steps from a state. Of those that differ in the names of replicas and keys alone there is one.
    fn actions(&mut self, state: &State) -> Result<Vec<Action>, String> {
        let scope = self.scope;
        let mut actions = Vec::new();
        let kinds = scope.kinds.min(S::KINDS.len() as u8);
        if state.writes == 0 {
            return Ok((0..kinds).map(|kind| Action::Write { at: 0, key: 0, kind }).collect());
        }
        // As long as nothing has happened to either, the second is the first to whom anything does.
        let others_are_fresh = state.nodes[1..] == self.fresh[1..];
        let touched = if others_are_fresh { 0..2 } else { 0..scope.replicas };
        for at in touched.clone() {
            let held = self.nodes.node(state.nodes[usize::from(at)]).vector;
            if state.writes < scope.writes {
                let all = (0..scope.keys).flat_map(|key| (0..kinds).map(move |kind| (key, kind)));
                actions.extend(all.map(|(key, kind)| Action::Write { at, key, kind }));
            }
            actions.push(Action::Forget { at });
            if scope.learns_late {
                actions.push(Action::Learn { at });
            }
            for message in state.flying.into_iter().filter(|message| *message != NONE) {
                actions.push(Action::Deliver { message, to: at });
            }
            let about = (0..scope.replicas).filter(|about| scope.reports && *about != at);
            actions.extend(about.map(|about| Action::Report { about, to: at }));
            if state.crashes < scope.crashes && !held.is_empty() {
                actions.push(Action::Crash { at, loses: false });
                let loses = scope.loses_tails && state.saved[usize::from(at)] != state.nodes[usize::from(at)];
                actions.extend(loses.then_some(Action::Crash { at, loses }));
            }
        }
        // Where there is no room, one of those that are under way is lost.
        let under_way = &state.flying[..usize::from(scope.messages)];
        let places = match under_way.iter().position(|message| *message == NONE) {
            Some(free) => free as u8..free as u8 + 1,
            None => 0..scope.messages,
        };
        for from in touched {
            let sender = state.nodes[usize::from(from)];
            let receivers = (0..usize::from(scope.replicas)).filter(|to| *to != usize::from(from));
            let asked = receivers.map(|to| self.nodes.node(state.nodes[to]).vector);
            let mut bases: Vec<Vector> = asked.chain([self.nodes.node(sender).before]).collect();
            bases.dedup();
            for base in bases {
                if let Some(message) = self.nodes.send(sender, base)? {
                    actions.extend(places.clone().map(|over| Action::Send { from, base, message, over }));
                }
            }
        }
        Ok(actions)
    }

    /// Makes a step. `None` if nothing comes of it.
    fn make(&mut self, mut state: State, action: Action) -> Result<Option<State>, String> {
        let before = state;
        match action {
            Action::Begin => {}
            Action::Write { at, key, kind } => {
                let number = state.writes + 1;
                if !self.step(&mut state, at, Local::Write { key, kind, number })? {
                    return Ok(None);
                }
                state.writes = number;
            }
            Action::Send { from, message, over, .. } => {
                if state.flying.contains(&message) {
                    return Ok(None);
                }
                state.flying[usize::from(over)] = message;
                state.saved[usize::from(from)] = state.nodes[usize::from(from)];
            }
            Action::Deliver { message, to } => {
                let is_own =
                    self.nodes.message(message).sender == self.nodes.node(state.nodes[usize::from(to)]).id;
                if is_own {
                    return Ok(None);
                }
                self.step(&mut state, to, Local::Take(message))?;
            }
            Action::Report { about, to } => {
                let (id, vector) = {
                    let node = self.nodes.node(state.nodes[usize::from(about)]);
                    (node.id, node.vector)
                };
                if vector.is_empty() {
                    return Ok(None);
                }
                self.step(&mut state, to, Local::Hear(id, vector))?;
                state.saved[usize::from(about)] = state.nodes[usize::from(about)];
            }
            Action::Forget { at } => {
                self.step(&mut state, at, Local::Forget)?;
            }
            Action::Learn { at } => {
                let members = state.members;
                self.step(&mut state, at, Local::Learn(members))?;
            }
            Action::Crash { at, loses } => {
                let place = usize::from(at);
                let saved = if loses { state.saved[place] } else { state.nodes[place] };
                let message = self.nodes.send(saved, Vector::default())?;
                let id = REPLICAS as u8 + state.crashes;
                debug_assert!(usize::from(id) < MOST_IDS);
                state.members[place] = id;
                if self.scope.replicas < 3 {
                    state.members[2] = state.members[1];
                }
                state.crashes += 1;
                state.nodes[place] = self.nodes.root(id, state.members, message)?;
                state.saved[place] = state.nodes[place];
                let members = state.members;
                let learn = if self.scope.learns_late { 0 } else { self.scope.replicas };
                for other in (0..learn).filter(|other| *other != at) {
                    self.step(&mut state, other, Local::Learn(members))?;
                }
            }
        }
        self.normalize(&mut state);
        Ok((state != before).then_some(state))
    }

    /// A step of one replica. Returns whether there is one.
    fn step(&mut self, state: &mut State, at: u8, local: Local) -> Result<bool, String> {
        let node = &mut state.nodes[usize::from(at)];
        let after = self.nodes.after(*node, local)?;
        *node = after.unwrap_or(*node);
        Ok(after.is_some())
    }

    /// Makes one state of those that cannot be told apart from here on.
    fn normalize(&self, state: &mut State) {
        if state.crashes >= self.scope.crashes {
            state.saved = [0; REPLICAS];
            // What all hold does nothing any more, but for what it tells of its sender.
            for message in &mut state.flying {
                let is_held = |to: Vector| {
                    let told = |node: &NodeId| to.is_within(self.nodes.node(*node).vector);
                    state.nodes.iter().take(self.scope.replicas.into()).all(told)
                };
                if *message != NONE && is_held(self.nodes.message(*message).to) && self.scope.reports {
                    *message = NONE;
                }
            }
        } else if !self.scope.loses_tails {
            state.saved = [0; REPLICAS];
        }
        state.flying.sort_unstable();
    }

    /// Nobody takes for stable what a member has not seen.
    fn check(&self, state: &State) -> Result<(), String> {
        let count = usize::from(self.scope.replicas);
        for (at, node) in state.nodes.iter().enumerate().take(count) {
            let node = self.nodes.node(*node);
            for (other, held) in state.nodes.iter().enumerate().take(count) {
                let held = self.nodes.node(*held);
                if node.members[other] == held.id && !node.cut.is_within(held.vector) {
                    return Err(format!("{at} takes for stable what {other} has not seen: {:?}", node.cut));
                }
            }
        }
        Ok(())
    }

    /// All is delivered: all agree.
    fn converge(&mut self, state: &State) -> Result<(), String> {
        let mut nodes = state.nodes;
        let ways = [(0, 1), (1, 2), (2, 0), (0, 1)];
        let is_there = |(from, to): &(usize, usize)| from.max(to) < &usize::from(self.scope.replicas);
        let ways: Vec<_> = ways.into_iter().chain([(1, 0)]).filter(is_there).collect();
        for (from, to) in ways {
            let base = self.nodes.node(nodes[to]).vector;
            if let Some(message) = self.nodes.send(nodes[from], base)? {
                let after = self.nodes.after(nodes[to], Local::Take(message))?;
                nodes[to] = after.unwrap_or(nodes[to]);
            }
        }
        let mut all = nodes.iter().take(self.scope.replicas.into()).map(|node| self.nodes.node(*node));
        let first = all.next().ok_or("there is a replica")?;
        if all.any(|other| (other.vector, other.live) != (first.vector, first.live)) {
            return Err("not all agree in the end".to_owned());
        }
        Ok(())
    }

    fn fault(&self, from: usize, action: Option<Action>, what: String) -> Box<Fault> {
        let (mut trace, mut at) = (Vec::new(), from);
        trace.extend(action.map(|action| self.show(&action)));
        while at > 0 {
            let (_, before, action) = self.states[at];
            trace.push(self.show(&action));
            at = before as usize;
        }
        trace.reverse();
        let state = self.states[from].0;
        let held =
            (0..REPLICAS).map(|at| format!("before it, {at} had seen: {}", self.nodes.show(state.nodes[at])));
        let what = [what].into_iter().chain(held).collect::<Vec<_>>().join("\n");
        Box::new(Fault { what, trace })
    }

    fn show(&self, action: &Action) -> String {
        match action {
            Action::Begin => "begin".to_owned(),
            Action::Write { at, key, kind } => {
                let kind = S::KINDS.get(usize::from(*kind)).copied().unwrap_or_default();
                format!("{at} {kind} {key}")
            }
            Action::Send { from, base, message, .. } => {
                let all = if self.nodes.message(*message).is_complete { "all" } else { "a delta" };
                format!("{} sends {all} since {:?}, message {message}", from, base.0)
            }
            Action::Deliver { message, to } => format!("message {message} arrives at {to}"),
            Action::Report { about, to } => format!("{to} hears what {about} holds"),
            Action::Forget { at } => format!("{at} forgets"),
            Action::Crash { at, loses } => {
                let what = if *loses { "what it had when anything last left it" } else { "all" };
                format!("{at} crashes, and goes on under a new id with {what}")
            }
            Action::Learn { at } => format!("{at} hears who the members are"),
        }
    }
}
