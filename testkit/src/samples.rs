//! Fixed histories and the messages that one reader is sent in them: of every type of state and of every form of a message.
//!
//! The golden files hold these messages as they were when the format was fixed; hostile bytes are made from them. A history
//! must never be changed: add another one.

mod answers;
mod documents;
mod messages;
mod open;
mod types;

use driftless::{Config, Crdt, Limits, MergeError, PendingDelta, Replica, ReplicaId, Value};

use crate::schema::Schema;

/// When most writes are made, in Unix milliseconds.
const NOW_MS: u64 = 1_700_000_000_000;
/// A time at which no stamp of any sample is too far ahead.
pub const LAST_MS: u64 = driftless::Timestamp::MAX_MILLIS;

/// Those who write. The short forms of their ids differ.
const EU: ReplicaId = ReplicaId::from_u128(0x0e0e_1f2d_3c4b_4a69_8877_96a5_b4c3_d2e1);
const US: ReplicaId = ReplicaId::from_u128(0x05a5_0b0c_0d0e_4f10_9122_3344_5566_7788);
const AP: ReplicaId = ReplicaId::from_u128(0x0a9a_cafe_f00d_4bad_a1b2_c3d4_e5f6_0718);
/// Who is sent the messages.
const READER: ReplicaId = ReplicaId::from_u128(0x0c1c_0000_0000_4000_8000_0000_0000_00ff);

/// Messages for one reader, to be read and merged one after the other. Those in chunks take effect with the last of them.
#[derive(Clone, Debug)]
pub struct Sample<S> {
    /// Its name: that of the golden files.
    pub name: &'static str,
    /// What it shows, in a sentence.
    pub about: &'static str,
    /// The type of the state.
    pub schema: Schema,
    /// The messages.
    pub messages: Vec<Vec<u8>>,
    config: Config,
    state: std::marker::PhantomData<fn() -> S>,
}

impl<S: Crdt> Sample<S> {
    /// The reader, before any message.
    pub fn reader(&self) -> Replica<S> {
        Replica::new(READER, self.config.clone())
    }
}

/// The reader's end: messages as they arrive, and the chunks of a transfer until it is whole.
#[derive(Debug)]
pub struct Inbox<S> {
    /// Who reads.
    pub replica: Replica<S>,
    /// The time by the reader's clock, in Unix milliseconds. As late as can be, unless set.
    pub now_ms: u64,
    pending: PendingDelta<S>,
}

impl<S: Crdt> Inbox<S> {
    /// Messages for a reader.
    pub fn new(replica: Replica<S>) -> Self {
        let pending = PendingDelta::new(&Limits::default());
        Self { replica, now_ms: LAST_MS, pending }
    }

    /// Reads a message and merges what is whole. Returns whether it was news.
    ///
    /// # Errors
    /// The message is refused.
    pub fn take(&mut self, bytes: &[u8]) -> Result<bool, Refused> {
        let delta = self.replica.decode(bytes).map_err(Refused::Decode)?;
        let Some(delta) = self.pending.push(delta).map_err(Refused::Pending)? else {
            return Ok(false);
        };
        let merged = self.replica.merge(self.now_ms, delta).map_err(Refused::Merge)?;
        Ok(merged.is_news)
    }
}

/// Where a message was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// When it was read.
    Decode(MergeError),
    /// When it was put to the chunks before it.
    Pending(driftless::PendingError),
    /// When it was merged.
    Merge(MergeError),
}

/// What is done with each sample.
pub trait Visitor {
    /// Does it.
    fn visit<S: Crdt>(&mut self, sample: Sample<S>);
}

/// Visits all samples.
pub fn visit_all(visitor: &mut impl Visitor) {
    types::visit(visitor);
    documents::visit(visitor);
    messages::visit(visitor);
    open::visit(visitor);
}

/// Visits samples of answers to requests. Their bytes depend on how the platform hashes keys, so they are in no golden files.
pub fn visit_answers(visitor: &mut impl Visitor) {
    answers::visit(visitor);
}

/// Messages on their way to the reader.
struct Sending<S> {
    inbox: Inbox<S>,
    messages: Vec<Vec<u8>>,
}

impl<S: Crdt> Sending<S> {
    fn new() -> Self {
        Self::to(Config::default())
    }

    fn to(config: Config) -> Self {
        Self { inbox: Inbox::new(Replica::new(READER, config)), messages: Vec::new() }
    }

    /// Sends the reader what it lacks of `from`, as one message.
    fn send(&mut self, from: &Replica<S>) {
        self.pass_on(from);
    }

    /// As [`send`](Self::send), of a replica of any release.
    fn pass_on<T: Crdt>(&mut self, from: &Replica<T>) {
        let delta = from.delta_since(&self.inbox.replica.vector());
        self.deliver(delta.encode().expect("samples can be serialized"));
    }

    /// As [`send`](Self::send), in chunks.
    fn send_in_chunks(&mut self, from: &Replica<S>, chunk_bytes: usize) {
        self.pass_on_in_chunks(from, chunk_bytes);
    }

    /// As [`pass_on`](Self::pass_on), in chunks.
    fn pass_on_in_chunks<T: Crdt>(&mut self, from: &Replica<T>, chunk_bytes: usize) {
        for chunk in from.delta_since(&self.inbox.replica.vector()).into_chunks(chunk_bytes) {
            self.deliver(chunk.expect("samples can be serialized"));
        }
    }

    /// As [`send`](Self::send), with keys in short form where the reader holds them.
    fn answer(&mut self, from: &Replica<S>) {
        let answer = from.answer(&self.inbox.replica.request());
        self.deliver(answer.encode().expect("samples can be serialized"));
    }

    /// As [`answer`](Self::answer), in chunks.
    fn answer_in_chunks(&mut self, from: &Replica<S>, chunk_bytes: usize) {
        for chunk in from.answer(&self.inbox.replica.request()).into_chunks(chunk_bytes) {
            self.deliver(chunk.expect("samples can be serialized"));
        }
    }

    fn deliver(&mut self, message: Vec<u8>) {
        self.inbox.take(&message).expect("a sample is read by its reader");
        self.messages.push(message);
    }

    fn end(self, name: &'static str, schema: Schema, about: &'static str) -> Sample<S> {
        let config = self.inbox.replica.config().clone();
        Sample { name, about, schema, messages: self.messages, config, state: std::marker::PhantomData }
    }
}

fn replica<S: Crdt>(id: ReplicaId) -> Replica<S> {
    Replica::new(id, Config::default())
}

/// Replicas of Europe, the United States and Asia-Pacific.
fn regions<S: Crdt>() -> [Replica<S>; 3] {
    [EU, US, AP].map(replica)
}

/// One transaction, some milliseconds after [`NOW_MS`].
fn write<S: Crdt, R>(replica: &mut Replica<S>, after_ms: u64, write: impl FnOnce(&mut S::Mut<'_>) -> R) {
    replica.write(NOW_MS + after_ms, write).expect("the time of a sample can be told");
}

/// Brings to `to` what it lacks of `from`.
fn sync<S: Crdt>(from: &Replica<S>, to: &mut Replica<S>) {
    to.merge(LAST_MS, from.delta_since(&to.vector())).expect("samples merge");
}

/// Brings to `to` what it lacks of `from`, which may be of another release: they understand each other's bytes alone.
fn ship<A: Crdt, B: Crdt>(from: &Replica<A>, to: &mut Replica<B>) {
    let message = from.delta_since(&to.vector()).encode().expect("samples can be serialized");
    let delta = to.decode(&message).expect("samples can be read");
    to.merge(LAST_MS, delta).expect("samples merge");
}

/// A value of each kind, and one at each end of each kind.
fn values() -> Vec<Value> {
    let floats = [0.0, -0.0, 0.1, -1.5e300, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    let ints = [0, 127, 128, 255, 256, 65_535, 65_536, 1 << 32, i64::MAX, -1, -32, -33, -128, -129, -32_769];
    let mut values = vec![Value::Null, Value::from(false), Value::from(true)];
    values.extend(ints.map(Value::from));
    values.extend([Value::from(-2_147_483_649_i64), Value::from(i64::MIN)]);
    values.extend(floats.map(Value::from));
    values.extend(["", "é中🦀", "a text of thirty-two characters.", "tab\t\"quoted\"\u{0}"].map(Value::from));
    values.extend([
        Value::Bytes(Vec::new()),
        Value::from(vec![0_u8, 1, 254, 255]),
        Value::from("x".repeat(300)),
    ]);
    values.push(Value::from(uuid::Uuid::from_u128(0x0123_4567_89ab_4def_8123_4567_89ab_cdef)));
    values.extend([Value::List(Vec::new()), Value::Map(Default::default())]);
    let long = (0..16).map(|number| (format!("name {number}"), Value::from(number)));
    values.push(Value::Map(long.collect()));
    let nested = [("a", Value::from(1)), ("b", Value::List(vec![Value::Null, Value::from("c")]))];
    values.push(Value::Map(nested.map(|(name, value)| (name.to_owned(), value)).into()));
    values
}
