//! The types of the engine as subjects.

use driftless::{Counter, Datum, Flag, Key, LwwRegister, MergeMap, MvRegister, OrSet, Value, Writer};

use crate::oracle::{Item, Live, Payload, Place};
use crate::schema::Schema;
use crate::subject::{Canonical, Reading, Readings, Script, Stop, Subject};

/// How many keys are written at once now and then: more than a map keeps in a list.
const MANY: u8 = 20;

/// A plain value that a script can choose.
pub trait Sample {
    /// A value.
    fn sample(script: &mut Script<'_>) -> Self;
}

impl Sample for i64 {
    fn sample(script: &mut Script<'_>) -> Self {
        script.pick(100) as i64
    }
}

impl Sample for String {
    fn sample(script: &mut Script<'_>) -> Self {
        ["", "a", "é中", "a text that is longer than others"][script.pick(4)].to_owned()
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample(script: &mut Script<'_>) -> Self {
        (script.pick(3) > 0).then(|| T::sample(script))
    }
}

macro_rules! register {
    ($name:ident, $schema:ident) => {
        impl<T: Datum + Sample> Subject for $name<T> {
            fn act(handle: &mut Self::Mut<'_>, script: &mut Script<'_>) -> Result<(), Stop> {
                if script.pick(4) == 3 {
                    return script.removed(handle.clear());
                }
                let value = T::sample(script);
                handle.set(value.clone());
                script.wrote(Payload::Value(Value::of(&value)))
            }

            fn wipe(handle: &mut Self::Mut<'_>) {
                handle.clear();
            }

            fn parse(
                canonical: &mut Canonical<'_>,
                place: &mut Place,
                live: &mut Live,
            ) -> Result<(), String> {
                canonical.entries(place, live, |canonical| canonical.value().map(Payload::Value))
            }

            const SCHEMA: Schema = Schema::$schema;

            fn read(&self, place: &mut Place, readings: &mut Readings) {
                let values: Vec<_> = self.stamped().map(|(stamp, value)| (stamp, Value::of(value))).collect();
                if !values.is_empty() {
                    readings.insert(place.clone(), Reading::Values(values));
                }
            }
        }
    };
}

register!(LwwRegister, Register);
register!(MvRegister, Values);

impl Subject for Flag {
    fn act(handle: &mut Self::Mut<'_>, script: &mut Script<'_>) -> Result<(), Stop> {
        if script.pick(5) > 2 {
            return script.removed(handle.disable());
        }
        handle.enable();
        script.wrote(Payload::On)
    }

    fn wipe(handle: &mut Self::Mut<'_>) {
        handle.disable();
    }

    fn parse(canonical: &mut Canonical<'_>, place: &mut Place, live: &mut Live) -> Result<(), String> {
        canonical.entries(place, live, |_| Ok(Payload::On))
    }

    const SCHEMA: Schema = Schema::Flag;

    fn read(&self, place: &mut Place, readings: &mut Readings) {
        if self.is_enabled() {
            readings.insert(place.clone(), Reading::On);
        }
    }
}

impl Subject for Counter {
    fn act(handle: &mut Self::Mut<'_>, script: &mut Script<'_>) -> Result<(), Stop> {
        if script.pick(4) == 3 {
            return script.removed(handle.reset());
        }
        let by = [1, 2, 5, 10, -1, -3, 0][script.pick(7)];
        handle.add(by).map_err(|error| Stop::Fault(error.to_string()))?;
        script.wrote(Payload::Count(by))
    }

    fn wipe(handle: &mut Self::Mut<'_>) {
        handle.reset();
    }

    fn parse(canonical: &mut Canonical<'_>, place: &mut Place, live: &mut Live) -> Result<(), String> {
        canonical.entries(place, live, |canonical| canonical.count().map(Payload::Count))
    }

    const SCHEMA: Schema = Schema::Counter;

    fn read(&self, place: &mut Place, readings: &mut Readings) {
        if self.is_counting() {
            readings.insert(place.clone(), Reading::Sum(self.exact()));
        }
    }
}

/// An element of a set, or a key of a map, by its number.
pub trait Numbered: Key {
    /// The key with a number.
    fn numbered(number: u8) -> Self;
}

impl Numbered for u8 {
    fn numbered(number: u8) -> Self {
        number
    }
}

impl Numbered for String {
    fn numbered(number: u8) -> Self {
        format!("key-{number}")
    }
}

impl Numbered for uuid::Uuid {
    fn numbered(number: u8) -> Self {
        Self::from_u128(u128::from(number) << 64 | 7)
    }
}

/// Some of the keys, one after the other without a gap.
fn many(script: &mut Script<'_>) -> std::ops::Range<u8> {
    let first = script.key();
    first..first.saturating_add(MANY)
}

impl<T: Numbered> Subject for OrSet<T> {
    fn act(handle: &mut Self::Mut<'_>, script: &mut Script<'_>) -> Result<(), Stop> {
        let add = |handle: &mut Self::Mut<'_>, script: &mut Script<'_>, number: u8| {
            let element = T::numbered(number);
            handle.add(&element);
            script.at(Item::Key(Value::of(&element)), |script| script.wrote(Payload::On))
        };
        match script.pick(20) {
            0..12 => {
                let number = script.key();
                add(handle, script, number)
            }
            12..18 => {
                let element = T::numbered(script.key());
                let found = handle.remove(&element);
                script.at(Item::Key(Value::of(&element)), |script| script.removed(found))
            }
            18 => many(script).try_for_each(|number| add(handle, script, number)),
            _ => {
                let keys = handle.iter().map(Value::of).collect();
                let found = handle.clear();
                script.cleared(keys, found)
            }
        }
    }

    fn wipe(handle: &mut Self::Mut<'_>) {
        handle.clear();
    }

    fn parse(canonical: &mut Canonical<'_>, place: &mut Place, live: &mut Live) -> Result<(), String> {
        canonical.keys(place, live, Flag::parse)
    }

    const SCHEMA: Schema = Schema::Set;

    fn read(&self, place: &mut Place, readings: &mut Readings) {
        for element in self.iter() {
            place.push(Item::Key(Value::of(element)));
            readings.insert(place.clone(), Reading::On);
            place.pop();
        }
        assert_eq!(self.len(), self.iter().count());
        assert_eq!(self.is_empty(), self.iter().next().is_none());
        assert!(self.iter().all(|element| self.contains(element)));
    }
}

impl<K: Numbered, V: Subject> Subject for MergeMap<K, V> {
    fn act(handle: &mut Self::Mut<'_>, script: &mut Script<'_>) -> Result<(), Stop> {
        match script.pick(20) {
            0..13 => {
                let number = script.key();
                update(handle, script, number)
            }
            13..18 => {
                let key = K::numbered(script.key());
                let found = handle.remove(&key);
                script.at(Item::Key(Value::of(&key)), |script| script.removed(found))
            }
            18 => many(script).try_for_each(|number| update(handle, script, number)),
            _ if script.pick(2) == 0 => {
                handle.update(&K::numbered(script.key()), |_| ());
                Ok(())
            }
            _ => {
                let keys = handle.keys().map(Value::of).collect();
                let found = handle.clear();
                script.cleared(keys, found)
            }
        }
    }

    fn wipe(handle: &mut Self::Mut<'_>) {
        handle.clear();
    }

    fn parse(canonical: &mut Canonical<'_>, place: &mut Place, live: &mut Live) -> Result<(), String> {
        canonical.keys(place, live, V::parse)
    }

    const SCHEMA: Schema = Schema::Map(&V::SCHEMA);

    fn read(&self, place: &mut Place, readings: &mut Readings) {
        for (key, value) in self.iter() {
            place.push(Item::Key(Value::of(key)));
            value.read(place, readings);
            place.pop();
        }
        assert_eq!(self.len(), self.iter().count());
        assert_eq!(self.is_empty(), self.keys().next().is_none());
        assert!(self.keys().all(|key| self.contains_key(key) && self.get(key).is_some()));
    }
}

fn update<K: Numbered, V: Subject>(
    handle: &mut Writer<'_, MergeMap<K, V>>,
    script: &mut Script<'_>,
    number: u8,
) -> Result<(), Stop> {
    let key = K::numbered(number);
    let times = 1 + script.pick(2);
    script.at(Item::Key(Value::of(&key)), |script| {
        handle.update(&key, |handle| (0..times).try_for_each(|_| V::act(handle, script)))
    })
}
