//! Any bytes are what two replicas do to a document: at any path, with any value. Each call does what the oracle says, or
//! says why not and changes nothing; the replicas hold what the oracle says, and agree.

use driftless::{
    Config, CounterOverflow, Document, DocumentError, Kind, Replica, Timestamp, TransactError, Value,
    VersionVector, Writer,
};

use crate::fuzz::bytes::Bytes;
use crate::fuzz::scene::{IDS, NOW_MS};
use crate::fuzz::values;
use crate::oracle::{Item, Live, Oracle, Payload, Place, Transaction};
use crate::subject::{Canonical, Readings, Subject, readings};
use crate::wire::Message;

/// More of them make what happens slow, not different.
const MOST_STEPS: usize = 40;
/// Sums of counts up to here stay within 64 bits.
const SMALL_COUNT: i64 = 1 << 40;
const KINDS: [Kind; 6] = [Kind::Register, Kind::Values, Kind::Set, Kind::Counter, Kind::Flag, Kind::Map];

/// What two replicas do, one step after the other.
#[inline]
pub fn run(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let mut desk = Desk::new();
    for _ in 0..MOST_STEPS {
        if bytes.is_empty() {
            break;
        }
        desk.step(&mut bytes);
    }
    for (from, to) in [(0, 1), (1, 0)] {
        desk.sync(from, to);
    }
    let [one, other] = &desk.replicas;
    assert_eq!(one.digest(), other.digest());
    assert_eq!(one.canonical_bytes(), other.canonical_bytes());
    for at in [0, 1] {
        desk.settle(at);
    }
}

/// What a call does.
#[derive(Clone, Debug)]
enum Call {
    Set(Value),
    Assign(Value),
    Add(Value),
    Remove(Value),
    Increment(i64),
    Enable,
    Disable,
    Delete,
}

impl Call {
    fn read(bytes: &mut Bytes<'_>) -> Self {
        match bytes.below(9) {
            0 => Self::Set(values::value(bytes, 3)),
            1 => Self::Assign(values::value(bytes, 3)),
            2 => Self::Add(values::value(bytes, 2)),
            3 => Self::Remove(values::value(bytes, 2)),
            4 => Self::Increment(i64::from(bytes.byte()) - 9),
            5 => Self::Increment([i64::MIN, i64::MAX, i64::MIN + 1, 1 << 62, SMALL_COUNT, 0][bytes.below(6)]),
            6 => Self::Enable,
            7 => Self::Disable,
            _ => Self::Delete,
        }
    }

    fn value(&self) -> Option<&Value> {
        match self {
            Self::Set(value) | Self::Assign(value) | Self::Add(value) | Self::Remove(value) => Some(value),
            Self::Increment(_) | Self::Enable | Self::Disable | Self::Delete => None,
        }
    }

    /// The kind that it asks for.
    fn kind(&self) -> Kind {
        match self {
            Self::Set(_) => Kind::Register,
            Self::Assign(_) => Kind::Values,
            Self::Add(_) | Self::Remove(_) => Kind::Set,
            Self::Increment(_) => Kind::Counter,
            Self::Enable | Self::Disable => Kind::Flag,
            Self::Delete => Kind::Map,
        }
    }

    /// Makes the call; for a removal, whether it found anything.
    fn make(
        &self,
        document: &mut Writer<'_, Document>,
        path: &[String],
    ) -> Result<Option<bool>, DocumentError> {
        match self.clone() {
            Self::Set(value) => document.set(path, value).map(|()| None),
            Self::Assign(value) => document.assign(path, value).map(|()| None),
            Self::Add(element) => document.add(path, element).map(|()| None),
            Self::Remove(element) => document.remove(path, element).map(Some),
            Self::Increment(by) => document.increment(path, by).map(|()| None),
            Self::Enable => document.enable(path).map(|()| None),
            Self::Disable => document.disable(path).map(Some),
            Self::Delete => document.delete(path).map(Some),
        }
    }

    /// What is written, if it writes.
    fn payload(&self) -> Option<Payload> {
        match self {
            Self::Set(value) | Self::Assign(value) => Some(Payload::Value(value.clone())),
            Self::Add(_) | Self::Enable => Some(Payload::On),
            Self::Increment(by) => Some(Payload::Count(if is_small(*by) { *by } else { 0 })),
            Self::Remove(_) | Self::Disable | Self::Delete => None,
        }
    }
}

fn is_small(by: i64) -> bool {
    (-SMALL_COUNT..=SMALL_COUNT).contains(&by)
}

/// Reads a path: a few names, or one name over and over.
fn path(bytes: &mut Bytes<'_>) -> Vec<String> {
    match bytes.byte() {
        0..200 => (0..bytes.below(5)).map(|_| values::text(bytes)).collect(),
        _ => {
            let mut name = values::text(bytes);
            name.retain(|char| char != 'l');
            vec![name; values::depth(bytes)]
        }
    }
}

/// Where the name is that a path leads to.
fn name(path: &[String]) -> Place {
    let names = path.iter().map(|name| Item::Key(Value::from(name.as_str())));
    let mut place: Place = names.flat_map(|name| [name, Item::Kind(Kind::Map)]).collect();
    place.pop();
    place
}

/// What the oracle says of a call, before it is made.
fn expected(oracle: &Transaction<'_>, path: &[String], call: &Call) -> Result<(), DocumentError> {
    let depth = path.len() + call.value().map_or(0, Value::depth);
    if path.is_empty() {
        return Err(DocumentError::EmptyPath);
    }
    if depth > Document::MAX_DEPTH {
        return Err(DocumentError::TooDeep { depth });
    }
    if matches!(call, Call::Delete) {
        return Ok(());
    }
    for len in 1..=path.len() {
        let asked = if len == path.len() { call.kind() } else { Kind::Map };
        let name = name(&path[..len]);
        if !oracle.is_live(&name) {
            break;
        }
        let is_live = |kind: &Kind| oracle.is_live(&[name.as_slice(), &[Item::Kind(*kind)]].concat());
        if let Some(found) = KINDS.into_iter().find(is_live)
            && !is_live(&asked)
        {
            return Err(DocumentError::WrongKind { asked, found });
        }
    }
    Ok(())
}

/// Two replicas, and what they must hold.
struct Desk {
    replicas: [Replica<Document>; 2],
    vectors: [VersionVector; 2],
    oracle: Oracle,
    now_ms: u64,
    /// Set once counts were large: the oracle does not know their sums.
    has_large_counts: bool,
}

impl Desk {
    fn new() -> Self {
        let config = |changes| Config { changes, ..Config::default() };
        Self {
            replicas: [Replica::new(IDS[0], config(false)), Replica::new(IDS[1], config(true))],
            vectors: Default::default(),
            oracle: Oracle::default(),
            now_ms: NOW_MS,
            has_large_counts: false,
        }
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let choice = bytes.byte();
        let at = usize::from(choice) % 2;
        match choice / 2 % 8 {
            0..=4 => self.write(at, bytes),
            5 => self.sync(at, 1 - at),
            6 => self.settle(at),
            _ => self.now_ms += u64::from(bytes.byte()),
        }
    }

    fn write(&mut self, at: usize, bytes: &mut Bytes<'_>) {
        let choice = bytes.byte();
        let calls: Vec<_> = (0..=choice % 4).map(|_| (path(bytes), Call::read(bytes))).collect();
        calls.iter().filter_map(|(_, call)| call.value()).for_each(values::assert_survives);
        let is_broken_off = choice / 4 % 8 == 7;
        let replica = &mut self.replicas[at];
        let before = full(replica);
        let stamp = replica.clock().peek(self.now_ms).expect("the clock is far from its end");
        let events = self.oracle.len();
        let mut oracle = self.oracle.transaction(replica.id(), stamp, self.vectors[at].clone());
        let has_large_counts = &mut self.has_large_counts;
        let done = replica.transact(self.now_ms, |document| {
            for (path, call) in &calls {
                let says = expected(&oracle, path, call);
                let large = matches!(call, Call::Increment(by) if !is_small(*by));
                *has_large_counts |= large && says.is_ok();
                match (call.make(document, path), says) {
                    (Ok(found), Ok(())) => note(&mut oracle, path, call, found),
                    (Err(DocumentError::CounterOverflow(overflow)), Ok(())) if *has_large_counts => {
                        let Call::Increment(by) = call else { panic!("{call:?} does not count") };
                        let value = document.counter(path).map_or(0, |counter| counter.value());
                        assert_eq!(overflow, CounterOverflow { value, by: *by });
                    }
                    (made, says) => assert_eq!(made.map(drop), says, "{call:?} at {path:?}"),
                }
            }
            if is_broken_off { Err(()) } else { Ok(()) }
        });
        match done {
            Ok(committed) => {
                let is_event = oracle.has_events();
                assert_eq!(committed.stamp, is_event.then_some(stamp));
                if is_event {
                    self.vectors[at].raise(IDS[at], stamp);
                } else {
                    assert_eq!(full(&self.replicas[at]), before, "calls without effect changed something");
                }
            }
            Err(error) => {
                assert_eq!(error, TransactError::Aborted(()));
                self.oracle.take_back(events);
                assert_eq!(full(&self.replicas[at]), before, "an undone transaction left something behind");
            }
        }
        self.check(at);
    }

    fn sync(&mut self, from: usize, to: usize) {
        let [one, other] = &mut self.replicas;
        let (from, to, at) = if from < to { (&*one, other, 1) } else { (&*other, one, 0) };
        let bytes = from.delta_since(&to.vector()).encode().expect("values can be written");
        let delta = to.decode(&bytes).expect("what one replica writes, all can receive");
        to.merge(self.now_ms, delta).expect("what it lacks fits");
        let sent = self.vectors[1 - at].clone();
        self.vectors[at].join(&sent);
        self.check(at);
    }

    /// A replica hears what the other one holds, and forgets.
    fn settle(&mut self, at: usize) {
        let vector = self.vectors[1 - at].clone();
        let replica = &mut self.replicas[at];
        replica.set_members([IDS[0], IDS[1]]);
        replica.report(self.now_ms, IDS[1 - at], &vector).expect("the vector is true");
        replica.forget();
        self.check(at);
    }

    /// Compares a replica with what the oracle says of its vector.
    fn check(&self, at: usize) {
        let replica = &self.replicas[at];
        assert_eq!(replica.vector(), self.vectors[at]);
        // Showing it must not fail.
        let shown = replica.state().to_value();
        assert!(shown.depth() <= 1 + Document::MAX_DEPTH);
        drop(shown.to_string());
        if self.has_large_counts {
            return;
        }
        let live = self.oracle.live(&self.vectors[at]);
        let found: Live =
            Canonical::live::<Document>(&replica.canonical_bytes()).expect("the bytes are canonical");
        assert_eq!(found, live);
        let mut read = Readings::new();
        replica.state().read(&mut Vec::new(), &mut read);
        assert_eq!(read, readings(&live));
    }
}

/// Takes note of a call that was made.
fn note(oracle: &mut Transaction<'_>, path: &[String], call: &Call, found: Option<bool>) {
    let mut place = name(path);
    if !matches!(call, Call::Delete) {
        place.push(Item::Kind(call.kind()));
    }
    if let Call::Add(element) | Call::Remove(element) = call {
        place.push(Item::Key(element.clone()));
    }
    match call.payload() {
        Some(payload) => oracle.write(&place, payload),
        None => assert_eq!(found, Some(oracle.remove(&place)), "{call:?} at {path:?}"),
    }
}

/// All that a replica holds, marks and all, and its clock.
fn full(replica: &Replica<Document>) -> (Message, Timestamp) {
    let bytes = replica.delta_since(&VersionVector::new()).encode().expect("values can be written");
    let message = Message::read::<Document>(&bytes, &IDS).expect("what is encoded is as the format says");
    (message, replica.clock().last())
}
