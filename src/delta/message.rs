//! A delta as bytes: one message, or chunks of a transfer.

use std::iter::FusedIterator;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::causal::dot::Dot;
use crate::causal::frontier::Frontier;
use crate::causal::id::ReplicaId;
use crate::causal::origin::{Origin, Origins};
use crate::causal::vector::VersionVector;
use crate::clock::Timestamp;
use crate::crdt::Crdt;
use crate::crdt::shipping::Splitter;
use crate::delta::system::System;
use crate::delta::{Chunk, Closed, Delta};
use crate::wire::column::{unzigzag, write_varint, zigzag};
use crate::wire::decode::Decoder;
use crate::wire::encode::Encoder;
use crate::wire::error::{DecodeError, EncodeError};
use crate::wire::events::Events;
use crate::wire::limits::Limits;
use crate::wire::stamp::Written;

/// The version of a message that holds the application's state alone.
const VERSION: u8 = 2;
/// The version of one that holds what the cluster says of itself, or names closed ids.
const SYSTEM_VERSION: u8 = 3;
/// The flags share a byte with the version.
const FLAG_BITS: u32 = 3;
const FLAGS: u8 = (1 << FLAG_BITS) - 1;
/// The message is all that the sender holds.
const COMPLETE: u8 = 1;
/// The message is a chunk of a transfer.
const CHUNK: u8 = 2;
/// The message names keys in short form.
const SHORT_KEYS: u8 = 4;
/// Beside the number of ids in short form that have news: whether there are ids in full.
const HAS_NEW: u64 = 2;
/// Whether there are ids without news.
const HAS_UNCHANGED: u64 = 1;
/// Beside the number of closed ids: whether there is a part of the system.
const HAS_SYSTEM: u64 = 2;
/// Whether there is any state of the application.
const HAS_STATE: u64 = 1;
/// The most closed ids in one message, beside those that count as replicas.
const MAX_CLOSED: usize = 1 << 16;

/// The short form of an id: for a replica that the receiver has seen events of, so that it can tell which one is meant.
fn short(id: &ReplicaId) -> [u8; 2] {
    let (words, _) = id.as_bytes().as_chunks::<2>();
    words.iter().fold([0; 2], |short, word| [short[0] ^ word[0], short[1] ^ word[1]])
}

/// The ids in full, one behind the other.
fn in_full(ids: impl Iterator<Item = ReplicaId>) -> Vec<u8> {
    ids.flat_map(|id| *id.as_bytes()).collect()
}

/// What tells, at the end of the message, that short forms were taken for the ids and keys that the sender meant: of a hash of
/// all ids of the table, and of the keys that are named so, in full.
fn check(mut ids: Vec<u8>, keys: &[u8]) -> [u8; 4] {
    ids.extend_from_slice(keys);
    let [a, b, c, d, ..] = xxh3_64(&ids).to_be_bytes();
    [a, b, c, d]
}

/// The head of a message: who is named, and in which order.
#[derive(Debug)]
struct Head {
    /// Those the receiver may not know, named in full.
    new: Vec<Origin>,
    /// Those it knows and lacks something of, in short form.
    changed: Vec<Origin>,
    /// Those it knows and lacks nothing of, in short form.
    unchanged: Vec<Origin>,
    /// How many of all these are closed.
    closed: usize,
}

impl Head {
    fn of<S: Crdt>(delta: &Delta<S>) -> Result<Self, EncodeError> {
        let mut named: Vec<Dot> = delta.to.iter().collect();
        if !delta.implied.is_empty() {
            // What the state names must be in the table, whether the vectors need it or not.
            let mut events = Events::new((0..delta.origins.len() as u32).collect());
            delta.system.note_events(&mut events);
            delta.state.note_events(&mut events);
            let mut noted = events.noted_places();
            for (id, ..) in delta.system.closings() {
                let place = delta.origins.get(id).map(Origin::index);
                place.and_then(|place| noted.get_mut(place)).into_iter().for_each(|noted| *noted = true);
            }
            named.retain(|dot| {
                delta.implied.binary_search(&dot.origin).is_err()
                    || noted.get(dot.origin.index()) == Some(&true)
            });
        }
        let closed = match &delta.closed {
            Closed::Counted(count) => *count,
            Closed::These(closed) => {
                let is_closed = |dot: &&Dot| closed.binary_search(&dot.origin).is_ok();
                if closed.is_empty() { 0 } else { named.iter().filter(is_closed).count() }
            }
        };
        let open = named.len().saturating_sub(closed);
        if open > Limits::MAX_REPLICAS || closed > MAX_CLOSED {
            return Err(EncodeError::Replicas { count: open.max(closed) });
        }
        named.sort_by(|a, b| delta.origins.cmp(a.origin, b.origin));
        let mut shorts: Vec<[u8; 2]> = delta.origins.ids().iter().map(short).collect();
        shorts.sort_unstable();
        // An id that shares its short form with another one that either side knows is named in full.
        let is_clear = |id: &ReplicaId| {
            let start = shorts.partition_point(|other| *other < short(id));
            shorts.get(start.saturating_add(1)) != Some(&short(id))
        };
        let mut head = Self { new: Vec::new(), changed: Vec::new(), unchanged: Vec::new(), closed };
        for Dot { origin, time } in named {
            let from = delta.from.time(origin);
            if from == Timestamp::ZERO || !is_clear(delta.origins.id(origin)) {
                head.new.push(origin);
            } else if from < time {
                head.changed.push(origin);
            } else {
                head.unchanged.push(origin);
            }
        }
        Ok(head)
    }

    /// Whether there are ids in short form.
    fn has_short(&self) -> bool {
        !self.changed.is_empty() || !self.unchanged.is_empty()
    }

    fn in_full<S: Crdt>(&self, delta: &Delta<S>) -> Vec<u8> {
        in_full(self.named().map(|origin| *delta.origins.id(origin)))
    }

    fn named(&self) -> impl Iterator<Item = Origin> + Clone {
        self.new.iter().chain(&self.changed).chain(&self.unchanged).copied()
    }

    /// Writes all that stands before the events, for a message that has a part of the system and of the state or not.
    fn write<S: Crdt>(&self, delta: &Delta<S>, chunk: Option<Chunk>, system: bool, state: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let flag = |flag: u8, is_set: bool| if is_set { flag } else { 0 };
        let flags = flag(COMPLETE, delta.cut.is_some()) | flag(CHUNK, chunk.is_some());
        let version = if system || self.closed > 0 { SYSTEM_VERSION } else { VERSION };
        out.push(version << FLAG_BITS | flags);
        let (new, changed, unchanged) = (self.new.len(), self.changed.len(), self.unchanged.len());
        let has_new = if new > 0 { HAS_NEW } else { 0 };
        let has_unchanged = if unchanged > 0 { HAS_UNCHANGED } else { 0 };
        write_varint(&mut out, (changed as u64) << 2 | has_new | has_unchanged);
        for count in [new, unchanged].into_iter().filter(|count| *count > 0) {
            write_varint(&mut out, count as u64);
        }
        if version == SYSTEM_VERSION {
            let has = if system { HAS_SYSTEM } else { 0 } | if state { HAS_STATE } else { 0 };
            write_varint(&mut out, (self.closed as u64) << 2 | has);
        }
        for origin in &self.new {
            out.extend_from_slice(delta.origins.id(*origin).as_bytes());
        }
        for origin in self.changed.iter().chain(&self.unchanged) {
            out.extend_from_slice(&short(delta.origins.id(*origin)));
        }
        self.write_vectors(delta, &mut out);
        if let Some(cut) = &delta.cut {
            for origin in self.named() {
                write_cut(cut.time(origin), delta.to.time(origin), &mut out);
            }
        }
        if let Some(chunk) = chunk {
            write_varint(&mut out, chunk.index << 1 | u64::from(chunk.is_last));
            if chunk.index > 0 {
                out.extend_from_slice(&chunk.follows.to_be_bytes());
            }
        }
        out
    }

    /// Writes `from` and `to`.
    fn write_vectors<S: Crdt>(&self, delta: &Delta<S>, out: &mut Vec<u8>) {
        let mut before = None;
        for (place, origin) in self.named().enumerate() {
            let (from, to) = (delta.from.time(origin), delta.to.time(origin));
            let is_new = place < self.new.len();
            if is_new && from == Timestamp::ZERO {
                let to = beside(to, &mut before);
                write_varint(out, to.code() << 1 | 1);
                to.write_counter(out);
                continue;
            }
            let from_beside = beside(from, &mut before);
            write_varint(out, if is_new { from_beside.code() << 1 } else { from_beside.code() });
            from_beside.write_counter(out);
            if place < self.new.len().saturating_add(self.changed.len()) {
                Written::after(to, from.millis()).write(out);
                before = Some(to.millis());
            }
        }
    }

    /// The whole message.
    fn encode<S: Crdt>(
        &self,
        delta: &Delta<S>,
        (system, state): (&System, &S),
        chunk: Option<Chunk>,
    ) -> Result<Vec<u8>, EncodeError> {
        let (has_system, has_state) = (!system.is_bottom(), !state.is_bottom());
        let mut out = self.write(delta, chunk, has_system, has_state);
        let mut named = Vec::new();
        if !has_system && !has_state {
            Events::write_none(&mut out);
        } else {
            let mut places = vec![u32::MAX; delta.origins.len()];
            for (place, origin) in self.named().enumerate() {
                if let Some(slot) = places.get_mut(origin.index()) {
                    *slot = place as u32;
                }
            }
            let mut events = Events::new(places);
            system.note_events(&mut events);
            state.note_events(&mut events);
            events.sort();
            let with_news = self.named().zip(0_u32..).take(self.new.len().saturating_add(self.changed.len()));
            let mut ends: Vec<_> = with_news.map(|(origin, place)| (delta.to.time(origin), place)).collect();
            ends.sort_unstable();
            events.write(&mut out, &ends, newest(&delta.to));
            let mut encoder = Encoder::new(out, events).with_short(delta.short.clone());
            if has_system {
                System::encode(&[system], &mut encoder);
            }
            if has_state {
                S::encode(&[state], &mut encoder);
            }
            (out, named) = encoder.finish()?;
        }
        if let Some(flags) = out.first_mut().filter(|_| !named.is_empty()) {
            *flags |= SHORT_KEYS;
        }
        if self.has_short() || !named.is_empty() {
            out.extend_from_slice(&check(self.in_full(delta), &named));
        }
        Ok(out)
    }
}

/// The greatest millisecond of a vector.
fn newest(vector: &Frontier) -> u64 {
    vector.iter().map(|dot| dot.time.millis()).max().unwrap_or_default()
}

/// A stamp beside the one that was written before it, which it becomes.
fn beside(stamp: Timestamp, before: &mut Option<u64>) -> Written {
    let millis = match before.replace(stamp.millis()) {
        None => stamp.millis(),
        Some(before) => zigzag(stamp.millis().wrapping_sub(before) as i64),
    };
    Written { millis, counter: stamp.counter() }
}

/// The stamp that [`beside`] was given.
fn of_beside(written: Written, before: &mut Option<u64>) -> Option<Timestamp> {
    let millis = match *before {
        None => written.millis,
        Some(before) => before.checked_add_signed(unzigzag(written.millis))?,
    };
    *before = Some(millis);
    Timestamp::new(millis, written.counter).ok()
}

/// Writes of one replica which marks the sender has dropped, beside what it has seen.
fn write_cut(cut: Timestamp, to: Timestamp, out: &mut Vec<u8>) {
    if cut == Timestamp::ZERO {
        write_varint(out, 0);
        return;
    }
    let written = Written { millis: to.millis().saturating_sub(cut.millis()), counter: cut.counter() };
    write_varint(out, written.code().saturating_add(1));
    written.write_counter(out);
}

impl<S: Crdt> Delta<S> {
    /// The delta as one message, however large: receivers accept [`Limits::message_bytes`](crate::Limits::message_bytes). The
    /// same delta gives the same bytes on every platform. To pass on what was received, pass on its bytes, or merge it and
    /// make a delta of the replica's: one that was decoded names ids in short form by what it holds alone, which a receiver
    /// that knows others alike refuses as a [gap](crate::MergeError::Gap).
    ///
    /// Cost: proportional to what it holds.
    ///
    /// # Errors
    /// [`EncodeError`]: a value of the application cannot be serialized, or there are too many replicas.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        Head::of(self)?.encode(self, (&self.system, &self.state), None)
    }

    /// The delta as messages of at most about `chunk_bytes` bytes each, to be staged at the receiver in a
    /// [`PendingDelta`](crate::PendingDelta), which has an example, and merged as one when the last has arrived. A single
    /// register, flag or counter larger than that makes a larger message, and any may be a few bytes larger: leave room below
    /// the receiver's [`Limits::message_bytes`](crate::Limits::message_bytes). Each message names the replicas in its head, in
    /// up to 25 bytes each, and has room for at least half as many bytes of state: where replicas are very many a message
    /// may be larger than asked for. There is always at least one message.
    ///
    /// Cost: each value is written twice, once to measure it. A chunk is made when it is asked for.
    pub fn into_chunks(self, chunk_bytes: usize) -> Chunks<S> {
        Chunks { delta: self, head: None, room: chunk_bytes, next: Some(0), previous: 0 }
    }

    /// Reads a message. Short forms mean ids in `known`, the receiver's vector, and keys in `held`, its state.
    pub(crate) fn decode(
        bytes: &[u8],
        limits: &Limits,
        hash_seed: u64,
        known: &VersionVector,
        held: &S,
    ) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes, limits)?.with_hash_seed(hash_seed);
        let [first] = decoder.array()?;
        let (version, flags) = (first >> FLAG_BITS, first & FLAGS);
        if !matches!(version, VERSION | SYSTEM_VERSION) {
            return Err(DecodeError::Version { found: u64::from(version) });
        }
        let (is_complete, is_chunk) = (flags & COMPLETE != 0, flags & CHUNK != 0);
        let has_short_keys = flags & SHORT_KEYS != 0;
        if has_short_keys {
            decoder.allow_short();
        }
        let table = Table::decode(&mut decoder, version, known)?;
        let at = decoder.at();
        let (from, to) = table.decode_vectors(&mut decoder)?;
        if is_complete && from.iter().next().is_some() {
            return Err(DecodeError::Stamp { at });
        }
        let cut = if is_complete { Some(table.decode_cut(&mut decoder, &to)?) } else { None };
        let chunk = if is_chunk {
            let place = decoder.varint()?;
            let follows = if place >> 1 > 0 { u64::from_be_bytes(decoder.array()?) } else { 0 };
            Some(Chunk { index: place >> 1, is_last: place & 1 == 1, follows, hash: xxh3_64(bytes) })
        } else {
            None
        };
        let has_events = decoder.events(table.ends(&to), table.ids, &to)?;
        let (has_system, has_state) = match (table.has_system, table.has_state) {
            parts if table.says_parts => parts,
            _ => (false, has_events),
        };
        if has_events != (has_system || has_state) {
            return Err(DecodeError::Expected { what: "events, and what they are of", at: decoder.at() });
        }
        let system =
            if has_system { read_system(&mut decoder, &table.origins, &to)? } else { System::bottom() };
        let state = if has_state {
            let column = S::decode(1, Some(held), &mut decoder)?;
            column.into_iter().next().unwrap_or_else(S::bottom)
        } else {
            S::bottom()
        };
        if decoder.named().is_empty() == has_short_keys {
            return Err(DecodeError::Expected { what: "keys in short form", at: decoder.at() });
        }
        if table.has_short() || has_short_keys {
            let expected = check(in_full(table.origins.ids().iter().copied()), decoder.named());
            if decoder.array()? != expected {
                return Err(match has_short_keys {
                    true => DecodeError::UnknownKey { at: table.at },
                    false => DecodeError::UnknownReplica { at: table.at },
                });
            }
        }
        decoder.finish()?;
        let closed = Closed::Counted(table.closed);
        Ok(Self {
            origins: Arc::new(table.origins),
            from,
            to,
            cut,
            state,
            system,
            implied: Vec::new(),
            closed,
            chunk,
            short: None,
            bytes: bytes.len(),
            rows_visited: 0,
        })
    }
}

/// Reads what the cluster says of itself. Who closed an id held it up to a stamp, and the event came later: so a message that
/// holds the event leads to that stamp at least, and says so.
fn read_system(decoder: &mut Decoder<'_>, origins: &Origins, to: &Frontier) -> Result<System, DecodeError> {
    let at = decoder.at();
    // Who counts as a member, and who is closed, is nothing to be understood in part.
    decoder.set_must_understand(true);
    let column = System::decode(1, None, decoder)?;
    decoder.set_must_understand(false);
    let system = column.into_iter().next().unwrap_or_else(System::bottom);
    if system.is_bottom() {
        return Err(DecodeError::Expected { what: "what the cluster says of itself", at });
    }
    let is_sound = |(id, by, last): (&ReplicaId, Dot, Timestamp)| {
        let sent = origins.get(id).map_or(Timestamp::ZERO, |origin| to.time(origin));
        last > Timestamp::ZERO && last < by.time && last <= sent && origins.id(by.origin) != id
    };
    if system.closings().all(is_sound) { Ok(system) } else { Err(DecodeError::Stamp { at }) }
}

/// The table of ids of a message.
struct Table {
    origins: Origins,
    ids: usize,
    new: usize,
    changed: usize,
    /// How many of the ids are closed.
    closed: usize,
    /// Whether the message says which parts it has, and whether these are there.
    says_parts: bool,
    has_system: bool,
    has_state: bool,
    /// Where the table begins.
    at: usize,
}

impl Table {
    fn decode(decoder: &mut Decoder<'_>, version: u8, known: &VersionVector) -> Result<Self, DecodeError> {
        let counts = decoder.varint()?;
        let at = decoder.at();
        let mut count_if = |is_there: bool| match if is_there { decoder.varint()? } else { 0 } {
            0 if is_there => Err(DecodeError::Expected { what: "how many ids there are", at }),
            count => Ok(count),
        };
        let (new, changed) = (count_if(counts & HAS_NEW > 0)?, counts >> 2);
        let unchanged = count_if(counts & HAS_UNCHANGED > 0)?;
        let says_parts = version == SYSTEM_VERSION;
        let parts = if says_parts { decoder.varint()? } else { 0 };
        let (has_system, has_state) = (parts & HAS_SYSTEM > 0, parts & HAS_STATE > 0);
        let limit = decoder.limits().replicas.min(Limits::MAX_REPLICAS);
        let ids = decoder.sum([new, changed, unchanged])?;
        let closed = decoder.sum([parts >> 2])?;
        if says_parts && (closed > ids || closed == 0 && !has_system) {
            return Err(DecodeError::Expected { what: "how many ids are closed", at });
        }
        if ids.saturating_sub(closed) > limit {
            return Err(DecodeError::Limit { limit: "replicas", allowed: limit });
        }
        if closed > MAX_CLOSED {
            return Err(DecodeError::Limit { limit: "replicas", allowed: MAX_CLOSED });
        }
        let (new, changed) = (new as usize, changed as usize);
        let at = decoder.at();
        let (full, _) = decoder.take(new.saturating_mul(16))?.as_chunks::<16>();
        let (shorts, _) = decoder.take(ids.saturating_sub(new).saturating_mul(2))?.as_chunks::<2>();
        let mut origins = Origins::default();
        for id in full {
            origins.intern(ReplicaId::from_bytes(*id));
        }
        if !shorts.is_empty() {
            let mut by_short: Vec<_> = known.iter().map(|(id, _)| (short(&id), id)).collect();
            by_short.sort_unstable();
            for form in shorts {
                let start = by_short.partition_point(|(other, _)| other < form);
                let mut meant = by_short.iter().skip(start).take_while(|(other, _)| other == form);
                match (meant.next(), meant.next()) {
                    (Some((_, id)), None) => drop(origins.intern(*id)),
                    _ => return Err(DecodeError::UnknownReplica { at }),
                }
            }
        }
        if origins.len() != ids {
            return Err(DecodeError::Repeated { what: "a replica id", at });
        }
        Ok(Self { origins, ids, new, changed, closed, says_parts, has_system, has_state, at })
    }

    /// Whether there are ids in short form.
    fn has_short(&self) -> bool {
        self.ids > self.new
    }

    /// The number of ids with news, or in full.
    fn starts(&self) -> usize {
        self.new.saturating_add(self.changed)
    }

    /// The last events of the ids in full and of those with news, in their order.
    fn ends(&self, to: &Frontier) -> Vec<Dot> {
        let ids = (0..self.starts()).map(Origin::from_index);
        let mut ends: Vec<Dot> = ids.map(|origin| Dot { origin, time: to.time(origin) }).collect();
        ends.sort_unstable_by_key(|dot| (dot.time, dot.origin));
        ends
    }

    /// Reads `from` and `to`.
    fn decode_vectors(&self, decoder: &mut Decoder<'_>) -> Result<(Frontier, Frontier), DecodeError> {
        let (mut from, mut to) = (Frontier::default(), Frontier::default());
        let mut before = None;
        for place in 0..self.ids {
            let origin = Origin::from_index(place);
            let at = decoder.at();
            let wrong = DecodeError::Stamp { at };
            let code = decoder.varint()?;
            let (code, is_end) = if place < self.new { (code >> 1, code & 1 == 1) } else { (code, false) };
            let written = decoder.read("a stamp", |rest| Written::of_code(code, rest))?;
            let first = of_beside(written, &mut before).ok_or(wrong.clone())?;
            let (start, end) = if is_end {
                (Timestamp::ZERO, first)
            } else if place < self.starts() {
                let written = decoder.read("a stamp", Written::read)?;
                let millis = first.millis().saturating_add(written.millis);
                before = Some(millis);
                let end = Timestamp::new(millis, written.counter);
                (first, end.map_err(|_| wrong.clone())?)
            } else {
                (first, first)
            };
            if end == Timestamp::ZERO || start > end {
                return Err(wrong);
            }
            to.raise(Dot { origin, time: end });
            from.raise(Dot { origin, time: start });
        }
        Ok((from, to))
    }

    /// Reads the marks that the sender has dropped; all of them it has seen.
    fn decode_cut(&self, decoder: &mut Decoder<'_>, to: &Frontier) -> Result<Frontier, DecodeError> {
        let mut cut = Frontier::default();
        for place in 0..self.ids {
            let origin = Origin::from_index(place);
            let wrong = DecodeError::Stamp { at: decoder.at() };
            let Some(code) = decoder.varint()?.checked_sub(1) else {
                continue;
            };
            let written = decoder.read("a stamp", |rest| Written::of_code(code, rest))?;
            let millis = to.time(origin).millis().checked_sub(written.millis).ok_or(wrong.clone())?;
            let time = Timestamp::new(millis, written.counter).map_err(|_| wrong.clone())?;
            let dot = Dot { origin, time };
            if time == Timestamp::ZERO || !to.covers(dot) {
                return Err(wrong);
            }
            cut.raise(dot);
        }
        Ok(cut)
    }
}

/// The chunks of a delta, one message after the other. Made by [`Delta::into_chunks`]. After an error there are no more.
#[must_use = "a chunk is made when it is asked for"]
#[derive(Debug)]
pub struct Chunks<S> {
    delta: Delta<S>,
    /// Who is named in all of them.
    head: Option<Head>,
    room: usize,
    /// The index of the next chunk; `None` after the last.
    next: Option<u64>,
    /// The hash of the chunk before.
    previous: u64,
}

impl<S: Crdt> Chunks<S> {
    /// How many rows are in the chunks to come.
    pub(crate) fn rows_left(&self) -> usize {
        self.delta.state.row_count()
    }
}

impl<S: Crdt> FusedIterator for Chunks<S> {}

impl<S: Crdt> Iterator for Chunks<S> {
    type Item = Result<Vec<u8>, EncodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.next.take()?;
        let head = match self.head.take().map_or_else(|| Head::of(&self.delta), Ok) {
            Ok(head) => head,
            Err(error) => return Some(Err(error)),
        };
        let chunk = Chunk { index, is_last: false, follows: self.previous, hash: 0 };
        let bytes = head.write(&self.delta, Some(chunk), !self.delta.system.is_bottom(), true).len();
        // A head of very many ids would leave room for one row: it may cost four times what it brings, and no more. What is
        // measured takes half of that at the least.
        let room = self.room.saturating_sub(bytes).max(bytes / 2).max(1);
        let mut splitter = Splitter::new(newest(&self.delta.to), room);
        let system = self.delta.system.split(&mut splitter);
        let is_whole = self.delta.system.is_bottom();
        let state = if is_whole { self.delta.state.split(&mut splitter) } else { S::bottom() };
        let is_last = is_whole && self.delta.state.is_bottom();
        let message = head.encode(&self.delta, (&system, &state), Some(Chunk { is_last, ..chunk }));
        if let Ok(bytes) = &message {
            self.head = Some(head);
            self.next = (!is_last).then_some(index.saturating_add(1));
            self.previous = xxh3_64(bytes);
        }
        Some(message)
    }
}
