//! Who is sent hostile bytes: a reader in the middle of a sample, and what must be true of it after each message.

use allocation_counter::measure;
use driftless::{Crdt, Digest, Replica, ReplicaId, Timestamp, VersionVector};
use driftless_testkit::samples::{Inbox, Refused, Sample};
use driftless_testkit::wire::Message;

/// All of a replica that shows.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    vector: VersionVector,
    digest: Digest,
    canonical: Vec<u8>,
    stable_cut: VersionVector,
    known_vectors: Vec<(ReplicaId, VersionVector)>,
    last: Timestamp,
    /// What its next stamp would be.
    next: Result<Timestamp, driftless::ClockError>,
}

impl Shown {
    fn of<S: Crdt>(replica: &Replica<S>) -> Self {
        Self {
            vector: replica.vector(),
            digest: replica.digest(),
            canonical: replica.canonical_bytes(),
            stable_cut: replica.stable_cut(),
            known_vectors: replica.known_vectors(),
            last: replica.clock().last(),
            next: replica.clock().peek(0),
        }
    }
}

/// A reader who has merged the messages before one of a sample and awaits that one.
pub(crate) struct Victim<'a, S> {
    sample: &'a Sample<S>,
    /// The number of the message.
    awaited: usize,
    /// The time by the reader's clock: no stamp of the sample is newer.
    now_ms: u64,
    inbox: Inbox<S>,
    before: Shown,
    /// What it holds of all, closed ids included.
    held: VersionVector,
}

/// What came of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Whether it was read and, if it was whole, merged; and what it left behind is in order. Else it was refused, and
    /// nothing changed.
    pub(crate) is_taken: bool,
    /// The peak of memory that it took.
    pub(crate) peak: u64,
}

impl<'a, S: Crdt> Victim<'a, S> {
    pub(crate) fn new(sample: &'a Sample<S>, awaited: usize) -> Self {
        let mut inbox = Inbox::new(sample.reader());
        for message in &sample.messages {
            inbox.take(message).expect("a sample is read by its reader");
        }
        let now_ms = inbox.replica.vector().newest().millis();
        Self::at(sample, awaited, now_ms)
    }

    fn at(sample: &'a Sample<S>, awaited: usize, now_ms: u64) -> Self {
        let mut inbox = Inbox::new(sample.reader());
        inbox.now_ms = now_ms;
        for message in &sample.messages[..awaited] {
            inbox.take(message).expect("a sample is read by its reader");
        }
        // All that was written so far is known to some who wrote it, who are all that is waited for.
        let vector = inbox.replica.vector();
        let members: Vec<_> = vector.iter().take(3).map(|(id, _)| id).collect();
        inbox.replica.set_members(members.iter().copied());
        for id in members {
            inbox.replica.report(now_ms, id, &vector).expect("the members' vectors are true");
        }
        let before = Shown::of(&inbox.replica);
        Self { sample, awaited, now_ms, inbox, before, held: vector }
    }

    /// Reads and merges a message, and checks what it did.
    pub(crate) fn take(&mut self, message: &[u8]) -> Result<Outcome, String> {
        let mut taken = Ok(false);
        let peak = measure(|| taken = self.inbox.take(message)).bytes_max;
        match taken {
            // Reading borrows the replica: it cannot have changed. It is looked at in the end.
            Err(Refused::Decode(_)) => Ok(Outcome { is_taken: false, peak }),
            Err(refused) => {
                if Shown::of(&self.inbox.replica) != self.before {
                    return Err(format!("something changed although it was refused: {refused:?}"));
                }
                // A chunk that begins another transfer ends the one that was gathered, whatever comes of it.
                if matches!(refused, Refused::Merge(_)) {
                    *self = Self::at(self.sample, self.awaited, self.now_ms);
                }
                Ok(Outcome { is_taken: false, peak })
            }
            Ok(_) => {
                let checked = self.check_read(message).and_then(|()| self.check_taken());
                *self = Self::at(self.sample, self.awaited, self.now_ms);
                checked.map(|()| Outcome { is_taken: true, peak })
            }
        }
    }

    /// That a reader which shares nothing with the engine reads what the engine has taken.
    fn check_read(&self, message: &[u8]) -> Result<(), String> {
        let known: Vec<_> = self.held.iter().map(|(id, _)| id).collect();
        let read = read(self.sample, message, &known);
        read.map(drop).map_err(|error| format!("it was taken, although {error}"))
    }

    /// That nothing changed while messages were refused, and that the reader still takes the one it awaits.
    pub(crate) fn check_untouched(mut self) -> Result<(), String> {
        if Shown::of(&self.inbox.replica) != self.before {
            return Err("something changed although all was refused".to_owned());
        }
        let taken = self.inbox.take(&self.sample.messages[self.awaited]);
        taken.map(drop).map_err(|refused| format!("the message itself is refused: {refused:?}"))
    }

    /// That a replica which has taken a message is in order: it holds no less, sends what it holds, takes what comes, and
    /// forgets.
    fn check_taken(&mut self) -> Result<(), String> {
        let replica = &mut self.inbox.replica;
        if !replica.covers(&self.held) || replica.clock().last() < self.before.last {
            return Err("the vector or the clock went back".to_owned());
        }
        round_trip(self.sample, replica)?;
        // The rest of the sample may be refused now, but must not harm.
        for message in &self.sample.messages[self.awaited..] {
            drop(self.inbox.take(message));
        }
        let replica = &mut self.inbox.replica;
        let canonical = replica.canonical_bytes();
        replica.forget();
        if replica.canonical_bytes() != canonical {
            return Err("forgetting changed what is live".to_owned());
        }
        round_trip(self.sample, replica)
    }
}

/// Sends all that a replica holds to another one, which must then hold the same.
fn round_trip<S: Crdt>(sample: &Sample<S>, from: &Replica<S>) -> Result<(), String> {
    let bytes = from.delta_since(&VersionVector::new()).encode().map_err(|error| error.to_string())?;
    let mut to = Inbox::new(Replica::<S>::new(ReplicaId::from_u128(1), sample.reader().config().clone()));
    check_dots(&bytes, sample)?;
    to.take(&bytes).map_err(|refused| format!("what it sends is refused: {refused:?}"))?;
    let covered = to.replica.covers(&from.vector()) && from.covers(&to.replica.vector());
    let is_same = covered && to.replica.canonical_bytes() == from.canonical_bytes();
    if is_same { Ok(()) } else { Err("what it sends does not lead to what it holds".to_owned()) }
}

/// That no dot in a message is beyond what it claims to hold: who holds such a one would take its author's later events for
/// known. Read by the testkit, which does not refuse it.
fn check_dots<S: Crdt>(bytes: &[u8], sample: &Sample<S>) -> Result<(), String> {
    let Some(message) = read(sample, bytes, &[])? else {
        return Ok(());
    };
    for (place, part) in message.parts.iter().chain(&message.system) {
        let mut dots = part.live.keys().chain(&part.marks).chain(&part.floor).chain(part.removed.keys());
        if let Some((id, stamp)) = dots.find(|(id, stamp)| *stamp > message.to.get(id)) {
            return Err(format!("{stamp} of {id} at {place:?} is beyond what is held"));
        }
    }
    Ok(())
}

/// A message as the testkit reads it, by the description of the format alone.
///
/// It tells values by what they say of themselves, so it knows fewer than registers of plain types: `None` if it can do
/// nothing with those.
fn read<S: Crdt>(sample: &Sample<S>, bytes: &[u8], known: &[ReplicaId]) -> Result<Option<Message>, String> {
    let message = Message::read_as(bytes, known, &sample.schema);
    match message {
        Err(_) if sample.name == "plain-values" => Ok(None),
        message => message.map(Some),
    }
}
