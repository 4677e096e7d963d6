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
use crate::delta::{Chunk, Delta};
use crate::wire::decode::Decoder;
use crate::wire::encode::Encoder;
use crate::wire::error::{DecodeError, EncodeError};
use crate::wire::limits::Limits;

/// The version of the format that this release writes and reads.
const VERSION: u64 = 1;
/// The flags share an integer with the version.
const FLAG_BITS: u32 = 3;
const FLAGS: u64 = (1 << FLAG_BITS) - 1;
/// Two counts of ids share an integer; each is at most [`Limits::MAX_REPLICAS`].
const COUNT_BITS: u32 = 13;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
/// The message is all that the sender holds.
const COMPLETE: u64 = 1;
/// The message is a chunk of a transfer.
const CHUNK: u64 = 2;

/// The short form of an id: for a replica that the receiver has seen events of, so that it can tell which one is meant.
fn short(id: &ReplicaId) -> [u8; 2] {
    let (words, _) = id.as_bytes().as_chunks::<2>();
    words.iter().fold([0; 2], |short, word| [short[0] ^ word[0], short[1] ^ word[1]])
}

/// What tells that short forms were taken for the ids that the sender meant: a hash of all ids of the table, in full.
fn check(ids: impl Iterator<Item = ReplicaId>) -> [u8; 4] {
    let bytes: Vec<u8> = ids.flat_map(|id| *id.as_bytes()).collect();
    let [a, b, c, d, ..] = xxh3_64(&bytes).to_be_bytes();
    [a, b, c, d]
}

/// The number of parts of a message: version and flags, counts, ids; a stamp for each id where the delta ends, the base
/// even if there are none, and one for each of the first `starts` where it begins; a cut; two parts of a chunk; the state.
fn parts(ids: usize, starts: usize, is_complete: bool, is_chunk: bool) -> usize {
    let counts = [3, ids.max(1), starts, usize::from(is_complete), if is_chunk { 2 } else { 0 }, 1];
    counts.into_iter().fold(0, usize::saturating_add)
}

/// The head of a message: who is named, and in which order.
struct Head {
    /// Those the receiver may not know, named in full.
    new: Vec<Origin>,
    /// Those it knows and lacks something of, in short form.
    changed: Vec<Origin>,
    /// Those it knows and lacks nothing of, in short form.
    unchanged: Vec<Origin>,
}

impl Head {
    fn of<S: Crdt>(delta: &Delta<S>) -> Result<Self, EncodeError> {
        let mut named: Vec<Dot> = delta.to.iter().collect();
        if named.len() > Limits::MAX_REPLICAS {
            return Err(EncodeError::Replicas { count: named.len() });
        }
        named.sort_by(|a, b| delta.origins.cmp(a.origin, b.origin));
        let mut shorts: Vec<[u8; 2]> = delta.origins.ids().iter().map(short).collect();
        shorts.sort_unstable();
        // An id that shares its short form with another one that either side knows is named in full.
        let is_clear = |id: &ReplicaId| {
            let start = shorts.partition_point(|other| *other < short(id));
            shorts.get(start.saturating_add(1)) != Some(&short(id))
        };
        let mut head = Self { new: Vec::new(), changed: Vec::new(), unchanged: Vec::new() };
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

    fn named(&self) -> impl Iterator<Item = Origin> + Clone {
        self.new.iter().chain(&self.changed).chain(&self.unchanged).copied()
    }

    fn encode<S: Crdt>(&self, delta: &Delta<S>, chunk: Option<Chunk>) -> Encoder {
        let count = self.named().count();
        let mut places = vec![u32::MAX; delta.origins.len()];
        for (place, origin) in self.named().enumerate() {
            if let Some(slot) = places.get_mut(origin.index()) {
                *slot = place as u32;
            }
        }
        let mut ids = Vec::new();
        for origin in &self.new {
            ids.extend_from_slice(delta.origins.id(*origin).as_bytes());
        }
        for origin in self.changed.iter().chain(&self.unchanged) {
            ids.extend_from_slice(&short(delta.origins.id(*origin)));
        }
        if count > self.new.len() {
            ids.extend_from_slice(&check(self.named().map(|origin| *delta.origins.id(origin))));
        }
        let base = self.named().next().map_or(Timestamp::ZERO, |origin| delta.to.time(origin));
        let mut encoder = Encoder::new(places, count, base);
        let starts = self.new.len().saturating_add(self.changed.len());
        encoder.array(parts(count, starts, delta.cut.is_some(), chunk.is_some()));
        let flag = |flag: u64, is_set: bool| if is_set { flag } else { 0 };
        let flags = flag(COMPLETE, delta.cut.is_some()) | flag(CHUNK, chunk.is_some());
        encoder.uint(VERSION << FLAG_BITS | flags);
        encoder.uint((self.new.len() << COUNT_BITS | self.changed.len()) as u64);
        encoder.bin(&ids);
        encoder.uint(base.bits());
        for (place, origin) in self.named().enumerate() {
            if place > 0 {
                encoder.stamp(delta.to.time(origin));
            }
            let from = delta.from.time(origin);
            if from == Timestamp::ZERO {
                encoder.nil();
            } else if place < starts {
                encoder.stamp(from);
            }
        }
        if let Some(cut) = &delta.cut {
            encoder.array(count);
            for origin in self.named() {
                encoder.stamp(cut.time(origin));
            }
        }
        if let Some(chunk) = chunk {
            encoder.uint(chunk.index << 1 | u64::from(chunk.is_last));
            encoder.uint(chunk.follows);
        }
        encoder
    }
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
        let head = Head::of(self)?;
        let mut encoder = head.encode(self, None);
        encode_state(&self.state, &mut encoder);
        encoder.finish()
    }

    /// The delta as messages of at most about `chunk_bytes` bytes each, to be staged at the receiver in a
    /// [`PendingDelta`](crate::PendingDelta), which has an example, and merged as one when the last has arrived. A single
    /// register, flag or counter larger than that makes a larger message, and any may be a few bytes larger: leave room below
    /// the receiver's [`Limits::message_bytes`](crate::Limits::message_bytes). Each message names the replicas in its head, in
    /// up to 25 bytes each, and has room for at least a quarter as many bytes of state: where replicas are very many a message
    /// may be larger than asked for. There is always at least one message.
    ///
    /// Cost: each value is written twice, once to measure it. A chunk is made when it is asked for.
    pub fn into_chunks(self, chunk_bytes: usize) -> Chunks<S> {
        Chunks { delta: self, room: chunk_bytes, next: Some(0), previous: 0 }
    }

    /// Reads a message. Short forms mean ids in `known`, the receiver's vector.
    pub(crate) fn decode(
        bytes: &[u8],
        limits: &Limits,
        hash_seed: u64,
        known: &VersionVector,
    ) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes, limits)?.with_hash_seed(hash_seed);
        let len = decoder.array()?;
        let at = decoder.at();
        let version = decoder.uint()?;
        let flags = version & FLAGS;
        if version >> FLAG_BITS != VERSION {
            return Err(DecodeError::Version { found: version >> FLAG_BITS });
        }
        if flags > COMPLETE | CHUNK {
            return Err(DecodeError::Expected { what: "the flags of version 1", at });
        }
        let (is_complete, is_chunk) = (flags & COMPLETE != 0, flags & CHUNK != 0);
        let table = Table::decode(&mut decoder, known)?;
        if len != parts(table.ids, table.starts(), is_complete, is_chunk) {
            return Err(DecodeError::Expected {
                what: "a message of as many parts as its head asks for",
                at: 0,
            });
        }
        let at = decoder.at();
        let (from, to) = table.decode_vectors(&mut decoder)?;
        if is_complete && from.iter().next().is_some() {
            return Err(DecodeError::Stamp { at });
        }
        let last = decoder.previous();
        decoder.set_table(table.ids, to.clone(), last);
        let cut = if is_complete { Some(table.decode_cut(&mut decoder, &to)?) } else { None };
        let chunk = if is_chunk {
            let (place, follows) = (decoder.uint()?, decoder.uint()?);
            Some(Chunk { index: place >> 1, is_last: place & 1 == 1, follows, hash: xxh3_64(bytes) })
        } else {
            None
        };
        let state = if decoder.nil()? { S::bottom() } else { S::decode(&mut decoder)? };
        decoder.finish()?;
        let origins = Arc::new(table.origins);
        Ok(Self { origins, from, to, cut, state, chunk, bytes: bytes.len(), rows_visited: 0 })
    }
}

fn encode_state<S: Crdt>(state: &S, encoder: &mut Encoder) {
    if state.is_bottom() {
        encoder.nil();
    } else {
        state.encode(encoder);
    }
}

/// The table of ids of a message.
struct Table {
    origins: Origins,
    ids: usize,
    new: usize,
    changed: usize,
}

impl Table {
    fn decode(decoder: &mut Decoder<'_>, known: &VersionVector) -> Result<Self, DecodeError> {
        let limit = decoder.limits().replicas.min(Limits::MAX_REPLICAS);
        let too_many = DecodeError::Limit { limit: "replicas", allowed: limit };
        let counts = decoder.uint()?;
        let (new, changed) = (counts >> COUNT_BITS, counts & COUNT);
        let at = decoder.at();
        let bytes = decoder.bin()?;
        let new = usize::try_from(new).ok().filter(|new| *new <= limit).ok_or(too_many.clone())?;
        let expected = DecodeError::Expected { what: "a table of ids", at };
        let (full, shorts) = bytes.split_at_checked(new.saturating_mul(16)).ok_or(expected.clone())?;
        let (shorts, expected_check) = match shorts.split_last_chunk::<4>() {
            Some((shorts, check)) => (shorts, Some(check)),
            None => (shorts, None),
        };
        let ((full, _), (shorts, rest)) = (full.as_chunks::<16>(), shorts.as_chunks::<2>());
        if shorts.is_empty() != expected_check.is_none() {
            return Err(expected);
        }
        let changed = usize::try_from(changed).ok().filter(|changed| *changed <= shorts.len());
        let changed = changed.filter(|_| rest.is_empty()).ok_or(expected)?;
        let ids = new.saturating_add(shorts.len());
        if ids > limit {
            return Err(too_many);
        }
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
        if expected_check.is_some_and(|expected| check(origins.ids().iter().copied()) != *expected) {
            return Err(DecodeError::UnknownReplica { at });
        }
        Ok(Self { origins, ids, new, changed })
    }

    /// The number of ids for which the delta says where it begins, unless at the start of time.
    fn starts(&self) -> usize {
        self.new.saturating_add(self.changed)
    }

    /// Reads `from` and `to`.
    fn decode_vectors(&self, decoder: &mut Decoder<'_>) -> Result<(Frontier, Frontier), DecodeError> {
        let base = Timestamp::from_bits(decoder.uint()?);
        decoder.set_table(0, Frontier::default(), base);
        let (mut from, mut to) = (Frontier::default(), Frontier::default());
        for place in 0..self.ids {
            let origin = Origin::from_index(place);
            let at = decoder.at();
            let end = if place == 0 { base } else { decoder.stamp()? };
            let start = if place < self.new && decoder.nil()? {
                Timestamp::ZERO
            } else if place < self.starts() {
                decoder.stamp()?
            } else {
                end
            };
            if end == Timestamp::ZERO || start > end {
                return Err(DecodeError::Stamp { at });
            }
            to.raise(Dot { origin, time: end });
            from.raise(Dot { origin, time: start });
        }
        Ok((from, to))
    }

    /// Reads the marks that the sender has dropped; all of them it has seen.
    fn decode_cut(&self, decoder: &mut Decoder<'_>, to: &Frontier) -> Result<Frontier, DecodeError> {
        let at = decoder.at();
        if decoder.array()? != self.ids {
            return Err(DecodeError::Expected { what: "a stamp for each id", at });
        }
        let mut cut = Frontier::default();
        for place in 0..self.ids {
            let at = decoder.at();
            let dot = Dot { origin: Origin::from_index(place), time: decoder.stamp()? };
            if !to.covers(dot) {
                return Err(DecodeError::Stamp { at });
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
    room: usize,
    /// The index of the next chunk; `None` after the last.
    next: Option<u64>,
    /// The hash of the chunk before.
    previous: u64,
}

impl<S: Crdt> FusedIterator for Chunks<S> {}

impl<S: Crdt> Iterator for Chunks<S> {
    type Item = Result<Vec<u8>, EncodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.next.take()?;
        let head = match Head::of(&self.delta) {
            Ok(head) => head,
            Err(error) => return Some(Err(error)),
        };
        let chunk = Chunk { index, is_last: false, follows: self.previous, hash: 0 };
        let encoder = head.encode(&self.delta, Some(chunk));
        // A head of very many ids would leave room for one row: it may cost four times what it brings, and no more.
        let room = self.room.saturating_sub(encoder.len()).max(encoder.len() / 4).max(1);
        let mut splitter = Splitter::new(encoder, room);
        let part = self.delta.state.split(&mut splitter);
        let is_last = self.delta.state.is_bottom();
        let mut encoder = head.encode(&self.delta, Some(Chunk { is_last, ..chunk }));
        encode_state(&part, &mut encoder);
        let message = encoder.finish();
        if let Ok(bytes) = &message {
            self.next = (!is_last).then_some(index.saturating_add(1));
            self.previous = xxh3_64(bytes);
        }
        Some(message)
    }
}
