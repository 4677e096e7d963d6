//! Traces: histories of documents as JSON, with the states they must lead to.
//!
//! The format is that of `tests/traces/README.md`. A trace is replayed by real replicas over the real wire.

mod parse;

use std::collections::BTreeMap;
use std::fmt;

use driftless::{
    Config, Document, DocumentError, PendingDelta, Replica, ReplicaId, Value, VersionVector, Writer,
};
use serde_json::Value as Json;

use crate::json;

/// A history of documents.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Name and id of each replica.
    pub replicas: Vec<(String, ReplicaId)>,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// The states it must lead to, if the trace says.
    pub expected: Option<States>,
}

/// One step of a trace. Replicas are numbered by their place in [`Trace::replicas`].
#[derive(Clone, Debug)]
pub enum Step {
    /// A replica writes, in one transaction.
    Write {
        /// Who writes.
        at: usize,
        /// Its wall clock, in Unix milliseconds.
        now_ms: u64,
        /// What it writes.
        ops: Vec<Op>,
    },
    /// A replica merges all that another one has.
    Sync {
        /// Who has it.
        from: usize,
        /// Who merges it.
        to: usize,
    },
}

/// One operation on a document.
#[derive(Clone, Debug)]
pub struct Op {
    /// Where.
    pub path: Vec<String>,
    /// What.
    pub what: What,
}

/// What an operation does.
#[derive(Clone, Debug)]
pub enum What {
    /// Writes a last-writer-wins register.
    Set(Value),
    /// Writes a multi-value register.
    Assign(Value),
    /// Adds an element to a set.
    Add(Value),
    /// Removes an element from a set.
    Remove(Value),
    /// Adds to a counter.
    Increment(i64),
    /// Turns a flag on.
    Enable,
    /// Turns a flag off.
    Disable,
    /// Removes all at or below the path.
    Delete,
}

/// The states that a trace leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct States {
    /// Each replica's state after the last step, by name.
    pub diverged: BTreeMap<String, Json>,
    /// The state of all after every pair has then synced both ways, twice.
    pub converged: Json,
}

/// How a trace is replayed, beside what it says.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    /// Whether replicas tell each other what they hold, and forget what all have seen, after each sync.
    pub forgets: bool,
    /// Whether a sync is shipped in chunks of so many bytes.
    pub chunk_bytes: Option<usize>,
}

impl Default for Course {
    fn default() -> Self {
        Self { forgets: true, chunk_bytes: None }
    }
}

/// What a trace led to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The states that were reached.
    pub reached: States,
    /// The states that the trace asks for, if it does.
    pub expected: Option<States>,
}

impl Outcome {
    /// Compares what was reached with what was expected.
    ///
    /// # Errors
    /// The first state that is not as expected.
    pub fn check(&self) -> Result<(), String> {
        let Some(expected) = &self.expected else {
            return Ok(());
        };
        let differ = |what: &dyn fmt::Display, reached: Option<&Json>, expected: &Json| match reached {
            Some(reached) if reached == expected => Ok(()),
            reached => {
                let reached = reached.map_or("nothing".to_owned(), Json::to_string);
                Err(format!("{what}: expected {expected}, reached {reached}"))
            }
        };
        for (name, state) in &expected.diverged {
            let what = format_args!("the state of {name} after the last step");
            differ(&what, self.reached.diverged.get(name), state)?;
        }
        differ(&"the converged state", Some(&self.reached.converged), &expected.converged)
    }
}

impl Trace {
    /// Reads a trace.
    ///
    /// # Errors
    /// What is wrong with it, and in which step, counted from 1.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse::trace(text)
    }

    /// Replays the trace with real replicas, as by [`Course::default`].
    ///
    /// # Errors
    /// What failed, and in which step, counted from 1.
    pub fn run(&self) -> Result<Outcome, String> {
        self.run_as(Course::default())
    }

    /// Replays the trace in a given way. The outcome must not depend on it.
    ///
    /// # Errors
    /// What failed, and in which step, counted from 1.
    pub fn run_as(&self, course: Course) -> Result<Outcome, String> {
        let mut cluster = Cluster::new(self, course);
        for (number, step) in (1..).zip(&self.steps) {
            let done = match step {
                Step::Write { at, now_ms, ops } => cluster.write(*at, *now_ms, ops),
                Step::Sync { from, to } => cluster.sync(*from, *to),
            };
            done.map_err(|error| format!("step {number}: {error}"))?;
        }
        let states = cluster.replicas.iter().map(|replica| json::of_document(replica.state()));
        let names = self.replicas.iter().map(|(name, _)| name.clone());
        let diverged = names.zip(states).collect();
        let converged = cluster.converge().map_err(|error| format!("after the last step: {error}"))?;
        Ok(Outcome { reached: States { diverged, converged }, expected: self.expected.clone() })
    }
}

struct Cluster {
    replicas: Vec<Replica<Document>>,
    course: Course,
}

impl Cluster {
    fn new(trace: &Trace, course: Course) -> Self {
        // The wall clocks of a trace may be far apart.
        let config = Config { max_ahead_ms: u64::MAX, ..Config::default() };
        let ids = trace.replicas.iter().map(|(_, id)| *id);
        let mut replicas: Vec<_> = ids.clone().map(|id| Replica::new(id, config.clone())).collect();
        if course.forgets {
            replicas.iter_mut().for_each(|replica| replica.set_members(ids.clone()));
        }
        Self { replicas, course }
    }

    fn write(&mut self, at: usize, now_ms: u64, ops: &[Op]) -> Result<(), String> {
        let done = self.replicas[at].transact(now_ms, |doc| ops.iter().try_for_each(|op| op.apply(doc)));
        done.map(drop).map_err(|error| error.to_string())
    }

    fn sync(&mut self, from: usize, to: usize) -> Result<(), String> {
        let delta = self.replicas[from].delta_since(&self.replicas[to].vector());
        let messages = match self.course.chunk_bytes {
            Some(chunk_bytes) => delta.into_chunks(chunk_bytes).collect::<Result<_, _>>(),
            None => delta.encode().map(|message| vec![message]),
        };
        let receiver = &mut self.replicas[to];
        let mut pending = PendingDelta::new(&receiver.config().limits);
        for message in messages.map_err(|error| error.to_string())? {
            let part = receiver.decode(&message).map_err(|error| error.to_string())?;
            if let Some(whole) = pending.push(part).map_err(|error| error.to_string())? {
                receiver.merge(0, whole).map_err(|error| error.to_string())?;
            }
        }
        if self.course.forgets { self.forget(from, to) } else { Ok(()) }
    }

    /// Both tell each other all they have heard of anyone, and forget what they can.
    fn forget(&mut self, from: usize, to: usize) -> Result<(), String> {
        let known: Vec<(ReplicaId, VersionVector)> =
            [from, to].iter().flat_map(|at| self.replicas[*at].known_vectors()).collect();
        for at in [from, to] {
            for (id, vector) in &known {
                self.replicas[at].report(0, *id, vector).map_err(|error| error.to_string())?;
            }
            self.replicas[at].forget();
        }
        Ok(())
    }

    fn converge(&mut self) -> Result<Json, String> {
        let count = self.replicas.len();
        for _ in 0..2 {
            for (from, to) in (0..count).flat_map(|from| (0..count).map(move |to| (from, to))) {
                self.sync(from, to)?;
            }
        }
        let Some(first) = self.replicas.first() else {
            return Ok(Json::Object(serde_json::Map::new()));
        };
        match self.replicas.iter().find(|replica| replica.digest() != first.digest()) {
            Some(other) => Err(format!("{} and {} did not converge", first.id(), other.id())),
            None => Ok(json::of_document(first.state())),
        }
    }
}

impl Op {
    fn apply(&self, doc: &mut Writer<'_, Document>) -> Result<(), DocumentError> {
        let path = &self.path;
        match &self.what {
            What::Set(value) => doc.set(path, value.clone()),
            What::Assign(value) => doc.assign(path, value.clone()),
            What::Add(element) => doc.add(path, element.clone()),
            What::Remove(element) => doc.remove(path, element.clone()).map(drop),
            What::Increment(by) => doc.increment(path, *by),
            What::Enable => doc.enable(path),
            What::Disable => doc.disable(path).map(drop),
            What::Delete => doc.delete(path).map(drop),
        }
    }
}
