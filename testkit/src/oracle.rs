//! What the state must be, by definition.
//!
//! The oracle keeps every event with all that its author had seen, and reads the state at a version vector off the events
//! within it: a write is live if no event there that supersedes or removes its place had seen it. It knows nothing of
//! cells, marks, floors, deltas and forgetting, and shares no algorithm with the engine.

use std::collections::BTreeMap;

use driftless::{Kind, ReplicaId, Timestamp, Value, VersionVector};

/// One step of the way from the root to a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// A field of a struct.
    Field(&'static str),
    /// A key of a map, an element of a set, or a name in a document.
    Key(Value),
    /// What of a name in a document: state of this kind.
    Kind(Kind),
    /// A field of an open struct that the schema lacks, or has as something else: the number of the field, and what it is.
    Unknown {
        /// The number of the field.
        field: u8,
        /// Its shape, and below it 16 bits of a hash of its name.
        facet: u32,
    },
}

/// Where something was written.
pub type Place = Vec<Item>;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A value of a register.
    Value(Value),
    /// A flag was turned on, or an element was added.
    On,
    /// A counter was added to.
    Count(i64),
}

/// What is live at a place, of one write or, for a counter, of one author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The stamp of the write; of the newest one for a counter.
    pub stamp: Timestamp,
    /// Who wrote it.
    pub author: ReplicaId,
    /// What was written; the sum for a counter.
    pub payload: Payload,
}

/// What is live, place by place. Values are ordered by stamp, then author; counts by author.
pub type Live = BTreeMap<Place, Vec<Entry>>;

/// What an event does at its place.
#[derive(Clone, Debug)]
enum What {
    Write(Payload),
    /// Removes all that its author had seen at the place or below it.
    Remove,
}

#[derive(Clone, Debug)]
struct Event {
    author: ReplicaId,
    stamp: Timestamp,
    place: Place,
    what: What,
    /// What the author had seen before the transaction.
    saw: VersionVector,
    /// Where the events of the same transaction begin, all of which up to this one its author had seen as well.
    transaction: usize,
}

impl Event {
    fn is_within(&self, vector: &VersionVector) -> bool {
        self.stamp <= vector.get(&self.author)
    }

    fn write(&self) -> Option<&Payload> {
        match &self.what {
            What::Write(payload) => Some(payload),
            What::Remove => None,
        }
    }

    /// Whether this ends what is written at `place`, had its author seen it.
    fn ends(&self, place: &Place) -> bool {
        match &self.what {
            What::Write(Payload::Count(_)) => false,
            What::Write(_) => self.place == *place,
            What::Remove => place.starts_with(&self.place),
        }
    }
}

/// Every event there ever was, and what follows from them.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    events: Vec<Event>,
    /// For each event, the events that ended it: those that had seen it and are of a kind to end it.
    ended_by: Vec<Vec<usize>>,
}

impl Oracle {
    /// Begins a transaction with a stamp, of an author who has seen `saw`. It is there for good unless it is
    /// [taken back](Self::take_back).
    pub fn transaction(
        &mut self,
        author: ReplicaId,
        stamp: Timestamp,
        saw: VersionVector,
    ) -> Transaction<'_> {
        let start = self.events.len();
        Transaction { oracle: self, author, stamp, saw, start }
    }

    /// The number of events.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether nothing ever happened.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// How many removals there were beside a write of what they removed: neither had seen the other.
    pub fn removals_beside_writes(&self) -> usize {
        let is_beside = |removal: &Event, write: &Event| {
            write.write().is_some()
                && write.place.starts_with(&removal.place)
                && write.author != removal.author
                && !write.is_within(&removal.saw)
                && !removal.is_within(&write.saw)
        };
        let removals = self.events.iter().filter(|event| event.write().is_none());
        removals.filter(|removal| self.events.iter().any(|write| is_beside(removal, write))).count()
    }

    /// Takes back all events but the first `len`: of a transaction that was not made.
    pub fn take_back(&mut self, len: usize) {
        self.events.truncate(len);
        self.ended_by.truncate(len);
        for ended_by in &mut self.ended_by {
            ended_by.retain(|event| *event < len);
        }
    }

    fn push(&mut self, event: Event) {
        let number = self.events.len();
        for (earlier, ended_by) in self.ended_by.iter_mut().enumerate() {
            let other = &self.events[earlier];
            let saw = earlier >= event.transaction || other.is_within(&event.saw);
            if saw && event.ends(&other.place) {
                ended_by.push(number);
            }
        }
        self.events.push(event);
        self.ended_by.push(Vec::new());
    }

    fn live_writes<'a>(
        &'a self,
        is_seen: impl Fn(usize) -> bool + 'a,
    ) -> impl Iterator<Item = (&'a Event, &'a Payload)> {
        self.events.iter().enumerate().filter_map(move |(number, event)| {
            let payload = event.write()?;
            let is_ended = self.ended_by[number].iter().any(|by| is_seen(*by));
            (is_seen(number) && !is_ended).then_some((event, payload))
        })
    }

    /// What is live for who has seen exactly the events within `vector`.
    pub fn live(&self, vector: &VersionVector) -> Live {
        self.live_as(vector, |author, stamp| (author, stamp))
    }

    /// As [`live`](Self::live), where the events go by other names: `name` is given the author and the stamp that the oracle
    /// knows an event
    /// by. What a counter holds of one author, by the new names, is one entry.
    pub fn live_as(
        &self,
        vector: &VersionVector,
        name: impl Fn(ReplicaId, Timestamp) -> (ReplicaId, Timestamp),
    ) -> Live {
        let mut live = Live::new();
        for (event, payload) in self.live_writes(|number| self.events[number].is_within(vector)) {
            let entries = live.entry(event.place.clone()).or_default();
            let (author, stamp) = name(event.author, event.stamp);
            let entry = Entry { stamp, author, payload: payload.clone() };
            let counted = entries.iter_mut().find(|other| other.author == author);
            match (counted, &entry.payload) {
                (Some(Entry { stamp: newest, payload: Payload::Count(sum), .. }), Payload::Count(by)) => {
                    *newest = stamp.max(*newest);
                    *sum += by;
                }
                _ => entries.push(entry),
            }
        }
        for entries in live.values_mut() {
            entries.sort_by_key(|entry| match entry.payload {
                Payload::Count(_) => (Timestamp::ZERO, entry.author),
                Payload::Value(_) | Payload::On => (entry.stamp, entry.author),
            });
        }
        live
    }
}

/// A transaction as the oracle sees it.
#[derive(Debug)]
pub struct Transaction<'a> {
    oracle: &'a mut Oracle,
    author: ReplicaId,
    stamp: Timestamp,
    saw: VersionVector,
    start: usize,
}

impl Transaction<'_> {
    /// Writes at a place.
    pub fn write(&mut self, place: &Place, payload: Payload) {
        self.push(place, What::Write(payload));
    }

    /// Removes what is live at or below a place. Returns whether anything was; if not, it is no event.
    pub fn remove(&mut self, place: &Place) -> bool {
        let is_event = self.is_live(place);
        if is_event {
            self.push(place, What::Remove);
        }
        is_event
    }

    /// Whether anything is live at or below a place, as the transaction sees it.
    pub fn is_live(&self, place: &Place) -> bool {
        let events = &self.oracle.events;
        let is_seen = |number: usize| number >= self.start || events[number].is_within(&self.saw);
        self.oracle.live_writes(is_seen).any(|(event, _)| event.place.starts_with(place))
    }

    /// Whether anything has happened.
    pub fn has_events(&self) -> bool {
        self.oracle.len() > self.start
    }

    fn push(&mut self, place: &Place, what: What) {
        let Self { author, stamp, start: transaction, .. } = *self;
        let saw = self.saw.clone();
        self.oracle.push(Event { author, stamp, place: place.clone(), what, saw, transaction });
    }
}
