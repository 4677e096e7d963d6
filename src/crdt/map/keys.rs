//! The keys of rows in a message: one behind the other, or as numbers in a dictionary where maps have the same keys.

use std::collections::BTreeMap;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::crdt::map::MergeMap;
use crate::crdt::map::row::Row;
use crate::crdt::map::standing::Standing;
use crate::crdt::{Crdt, Key};
use crate::wire::decode::Decoder;
use crate::wire::encode::Encoder;
use crate::wire::error::DecodeError;
use crate::wire::hash::KeyHasher;

/// Keys one behind the other.
const IN_FULL: u8 = 0;
/// A dictionary, and the number of each key in it.
const LOOKED_UP: u8 = 1;

/// So many different keys may come before it is asked whether there are fewer than half as many as rows.
const WORTH_WHILE: usize = 1024;

/// Up to so many rows are compared with each other to find a key that stands twice.
const FEW: usize = 8;

/// Writes the keys of rows of so many maps.
pub(super) fn encode<'a, K: Key>(
    maps: usize,
    keys: impl ExactSizeIterator<Item = &'a K>,
    encoder: &mut Encoder,
) {
    if maps > 1 && keys.len() > 1 && !encoder.is_measuring() {
        encode_of_many(keys, encoder);
        return;
    }
    for key in keys {
        encoder.value(key);
        if encoder.is_over() {
            return;
        }
    }
}

fn encode_of_many<'a, K: Key>(keys: impl ExactSizeIterator<Item = &'a K>, encoder: &mut Encoder) {
    let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(keys.len()));
    for key in keys {
        encoder.value_to(&mut bytes, key);
        ends.push(bytes.len());
    }
    let mut start = 0;
    let in_full = ends.iter().map(|end| &bytes[std::mem::replace(&mut start, *end)..*end]);
    let is_written = Dictionary::of(in_full).is_some_and(|dictionary| dictionary.write(encoder));
    if !is_written {
        encoder.bytes(&[IN_FULL]);
        encoder.bytes(&bytes);
    }
}

/// The keys of rows, each once, in order, and the number of each row's.
struct Dictionary<'a> {
    keys: Vec<&'a [u8]>,
    numbers: Vec<u64>,
    /// What the keys of all rows take in full.
    in_full: usize,
}

impl<'a> Dictionary<'a> {
    /// `None` if there are too many different keys for it to be worth while.
    fn of(keys: impl ExactSizeIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut known: BTreeMap<&'a [u8], usize> = BTreeMap::new();
        let mut found: Vec<&'a [u8]> = Vec::new();
        // What came behind each key when it was seen last: maps that are alike have their keys in the same order.
        let mut behind: Vec<usize> = Vec::new();
        let mut numbers: Vec<u64> = Vec::with_capacity(keys.len());
        let (mut last, mut in_full) = (0, 0);
        for (seen, key) in keys.enumerate() {
            let guess = behind.get(last).copied().unwrap_or_default();
            let number = match found.get(guess) {
                Some(guessed) if *guessed == key => guess,
                _ => *known.entry(key).or_insert_with(|| {
                    found.push(key);
                    behind.push(0);
                    found.len() - 1
                }),
            };
            if found.len() > WORTH_WHILE + seen / 2 {
                return None;
            }
            if let Some(slot) = behind.get_mut(last) {
                *slot = number;
            }
            in_full += key.len();
            numbers.push(number as u64);
            last = number;
        }
        let mut ranks = vec![0; found.len()];
        for (rank, number) in known.values().enumerate() {
            ranks[*number] = rank as u64;
        }
        numbers.iter_mut().for_each(|number| *number = ranks[*number as usize]);
        Some(Self { keys: known.into_keys().collect(), numbers, in_full })
    }

    /// Writes the keys in this form, if it is allowed here and shorter than the other. Returns whether it did.
    fn write(&self, encoder: &mut Encoder) -> bool {
        let start = encoder.len();
        encoder.bytes(&[LOOKED_UP]);
        encoder.varint(self.keys.len() as u64 - 1);
        self.keys.iter().for_each(|key| encoder.bytes(key));
        encoder.ints(&self.numbers);
        let is_shorter = encoder.len() - start <= self.in_full;
        let is_kept = is_shorter && encoder.look_up(start, self.numbers.len(), self.in_full);
        if !is_kept {
            encoder.truncate(start);
        }
        is_kept
    }
}

/// Reads the keys of so many rows of so many maps, for which memory was claimed.
pub(super) fn decode<K: Key>(
    maps: usize,
    count: usize,
    decoder: &mut Decoder<'_>,
) -> Result<Vec<K>, DecodeError> {
    let at = decoder.at();
    if maps > 1 && count > 1 {
        match decoder.take(1)? {
            [IN_FULL] => {}
            [LOOKED_UP] => return look_up(at, count, decoder),
            _ => return Err(DecodeError::Expected { what: "keys or a dictionary of them", at }),
        }
    }
    // Each takes a byte at least.
    decoder.follow(count)?;
    let mut keys = Vec::with_capacity(count);
    for _ in 0..count {
        keys.push(decoder.value()?);
    }
    Ok(keys)
}

fn look_up<K: Key>(start: usize, count: usize, decoder: &mut Decoder<'_>) -> Result<Vec<K>, DecodeError> {
    let at = decoder.at();
    let different = decoder.varint()?;
    let different = decoder.sum([different, 1])?;
    decoder.follow(different)?;
    decoder.room::<(K, usize, usize)>(different)?;
    let mut dictionary: Vec<(K, usize, usize)> = Vec::with_capacity(different);
    for _ in 0..different {
        let (at, memory) = (decoder.at(), decoder.memory());
        let key = decoder.value()?;
        dictionary.push((key, decoder.at() - at, decoder.memory() - memory));
    }
    let numbers = decoder.ints(count)?;
    let (mut keys, mut in_full, mut memory) = (Vec::with_capacity(count), 0_usize, 0_usize);
    let entry = |number: u64| usize::try_from(number).ok().and_then(|number| dictionary.get(number));
    for number in &numbers {
        let (_, bytes, claimed) =
            entry(*number).ok_or(DecodeError::Expected { what: "keys of a dictionary", at })?;
        in_full = in_full.saturating_add(*bytes);
        memory = memory.saturating_add(*bytes).saturating_add(*claimed);
    }
    if !decoder.look_up(start, count, in_full) {
        return Err(DecodeError::Expected { what: "keys in full where so few bytes stand before them", at });
    }
    decoder.room::<u8>(memory)?;
    keys.extend(numbers.iter().filter_map(|number| entry(*number)).map(|(key, ..)| key.clone()));
    Ok(keys)
}

/// Whether a key stands twice among the rows of a map in a message: the second would be taken to say that the first is gone.
pub(super) fn has_repeated<K: Key, V>(list: &[Row<K, V>], seed: u64) -> bool {
    if list.len() <= FEW {
        let is_repeated =
            |(place, row): (usize, &Row<K, V>)| list[..place].iter().any(|other| other.key == row.key);
        return list.iter().enumerate().any(is_repeated);
    }
    let hasher = KeyHasher::new(seed);
    let mut seen: HashTable<(u64, &K)> = HashTable::with_capacity(list.len());
    list.iter().any(|Row { key, .. }| {
        let hash = hasher.hash(key);
        match seen.entry(hash, |other| *other == (hash, key), |(hash, _)| *hash) {
            Entry::Occupied(_) => true,
            Entry::Vacant(entry) => {
                entry.insert((hash, key));
                false
            }
        }
    })
}

impl<K: Key, V: Crdt> MergeMap<K, V> {
    /// Reads keys in short form: what they are is looked up in the map that is held.
    pub(super) fn decode_short(
        count: usize,
        held: Option<&Self>,
        decoder: &mut Decoder<'_>,
    ) -> Result<Vec<(K, Standing)>, DecodeError> {
        let at = decoder.at();
        let forms = decoder.short_keys(count)?;
        let unknown = DecodeError::UnknownKey { at };
        let hasher = KeyHasher::new(decoder.hash_seed());
        let mut keys = Vec::with_capacity(forms.len());
        if forms.is_empty() {
            return Ok(keys);
        }
        let numbers = held.and_then(|map| map.rows.find_short(&forms, &hasher)).ok_or(unknown.clone())?;
        for number in numbers {
            let row = held.and_then(|map| map.rows.row(number)).ok_or(unknown.clone())?;
            decoder.note_short(&row.key)?;
            let mut standing = Standing::default();
            standing.set_hint(number);
            keys.push((row.key.clone(), standing));
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::events::Events;
    use crate::wire::limits::Limits;

    /// The keys of rows of several maps, behind so many other bytes.
    fn written(before: usize, keys: &[String]) -> Vec<u8> {
        let mut encoder = Encoder::new(vec![0; before], Events::default());
        encode(2, keys.iter(), &mut encoder);
        encoder.finish().unwrap().0
    }

    fn read(before: usize, bytes: &[u8], count: usize) -> Result<Vec<String>, DecodeError> {
        let limits = Limits::default();
        let mut decoder = Decoder::new(bytes, &limits).unwrap();
        decoder.take(before)?;
        let keys = super::decode(2, count, &mut decoder)?;
        decoder.finish()?;
        Ok(keys)
    }

    fn names(count: usize, of: usize) -> Vec<String> {
        (0..count).map(|number| format!("name {}", number * 7 % of)).collect()
    }

    #[test]
    fn keys_round_trip_in_either_form_whichever_is_shorter() {
        for (before, count, of, form) in [
            (10_000, 1_000, 10, LOOKED_UP),
            (10_000, 1_000, 1, LOOKED_UP),
            (10_000, 1_000, 400, LOOKED_UP),
            (10_000, 1_000, 1_000, IN_FULL),
            (10_000, 3, 3, IN_FULL),
            // A name of seven bytes counts for eleven.
            (1_375, 1_000, 10, LOOKED_UP),
            (1_374, 1_000, 10, IN_FULL),
            (0, 1_000, 10, IN_FULL),
        ] {
            let keys = names(count, of);
            let bytes = written(before, &keys);
            assert_eq!(bytes[before], form, "{count} of {of} behind {before}");
            let in_full: usize = keys.iter().map(|key| key.len() + 1).sum();
            assert!(bytes.len() - before <= 1 + in_full);
            assert_eq!(read(before, &bytes, count), Ok(keys));
            for end in before..bytes.len() {
                assert!(read(before, &bytes[..end], count).is_err());
            }
        }
        let keys = names(1_000, 4);
        assert_eq!(written(10_000, &keys).len() - 10_000, 2 + 4 * 7 + 2 + 250);
    }

    #[test]
    fn a_few_bytes_do_not_stand_for_very_many_keys() {
        let written = written(1_375, &names(1_000, 10));
        assert!(read(1_374, &written[1..], 1_000).is_err());
        // All that come before in the message count.
        let limits = Limits::default();
        let mut decoder = Decoder::new(&written, &limits).unwrap();
        decoder.take(1_375).unwrap();
        assert!(decoder.look_up(1_375, 1, 0));
        assert!(super::decode::<String>(2, 1_000, &mut decoder).is_err());
    }

    /// A key stands there once and is held a thousand times.
    #[test]
    fn the_memory_of_keys_is_counted_as_often_as_they_stand() {
        let keys = vec!["x".repeat(100); 1_000];
        let bytes = written(20_000, &keys);
        let reads = |memory_bytes| {
            let limits = Limits { memory_bytes, ..Limits::default() };
            let mut decoder = Decoder::new(&bytes, &limits).unwrap();
            decoder.take(20_000).unwrap();
            super::decode::<String>(2, 1_000, &mut decoder).is_ok()
        };
        assert!(reads(110_000));
        assert!(!reads(100_000));
    }
}
