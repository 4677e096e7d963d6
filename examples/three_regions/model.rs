//! What the regions share: airports, each field of which merges by itself.

use std::collections::BTreeMap;

use driftless::{Counter, CounterOverflow, Crdt, LwwRegister, MergeMap, OrSet, Snapshot, Writer};
use serde::{Deserialize, Serialize};

use crate::airports::Source;
use crate::regions::COUNT;
use crate::schedule::{Op, TAGS};

/// What each region holds: airports by their ICAO code.
pub(crate) type Airports = MergeMap<String, Airport>;

/// An airport. Regions that write different fields of it at the same time do not get into each other's way.
#[derive(Debug, Crdt)]
pub(crate) struct Airport {
    pub(crate) name: LwwRegister<String>,
    pub(crate) city: LwwRegister<String>,
    pub(crate) subdivision: LwwRegister<String>,
    pub(crate) country: LwwRegister<String>,
    pub(crate) iata: LwwRegister<String>,
    pub(crate) local_id: LwwRegister<String>,
    pub(crate) tz: LwwRegister<String>,
    pub(crate) elevation_ft: LwwRegister<i64>,
    pub(crate) position: LwwRegister<Position>,
    pub(crate) tags: OrSet<String>,
    pub(crate) movements: Counter,
}

/// Latitude and longitude are one value: half of one region's position and half of another's would be a third place.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) lat: f64,
    pub(crate) lon: f64,
}

/// What was written, to be held against what it took to ship it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    /// Fields, tags and counters written, and removals.
    pub(crate) changes: u64,
    /// The bytes of keys and values alone, as MessagePack.
    pub(crate) value_bytes: u64,
}

impl Written {
    fn note(&mut self, value: &impl Serialize) {
        self.changes += 1;
        self.value_bytes += packed(value);
    }
}

impl std::ops::AddAssign for Written {
    fn add_assign(&mut self, other: Self) {
        self.changes += other.changes;
        self.value_bytes += other.value_bytes;
    }
}

fn packed(value: &impl Serialize) -> u64 {
    rmp_serde::to_vec(value).map_or(0, |bytes| bytes.len() as u64)
}

/// An operation with its values made, so that making them is not part of what is measured.
#[derive(Debug)]
pub(crate) enum Write<'a> {
    Create(&'a Source),
    Name(String),
    City(String),
    Elevation(i64),
    Position(Position),
    TimeZone(String),
    AddTag(&'static str),
    RemoveTag(&'static str),
    Count(i64),
    Delete,
}

impl<'a> Write<'a> {
    /// What an operation of the schedule means for an airport.
    pub(crate) fn of(op: Op, source: &'a Source) -> Self {
        match op {
            Op::Rename(n) => Self::Name(format!("{} ({n})", source.name)),
            Op::City(n) => Self::City(format!("{} {n}", source.city)),
            Op::Survey(n) => Self::Elevation(source.elevation_ft + i64::from(n)),
            Op::Move(n) => {
                let shift = f64::from(n) * 1e-6;
                Self::Position(Position { lat: source.lat - shift, lon: source.lon + shift })
            }
            Op::TimeZone(n) => Self::TimeZone(format!("Etc/GMT+{}", n % 13)),
            Op::AddTag(tag) => Self::AddTag(TAGS[usize::from(tag) % TAGS.len()]),
            Op::RemoveTag(tag) => Self::RemoveTag(TAGS[usize::from(tag) % TAGS.len()]),
            Op::Count(n) => Self::Count(i64::from(n)),
            Op::Delete => Self::Delete,
            Op::Restore => Self::Create(source),
        }
    }

    /// Does it, in a transaction.
    pub(crate) fn apply(self, airports: &mut Writer<'_, Airports>, key: &str) -> Result<(), CounterOverflow> {
        match self {
            Self::Create(source) => airports.update(key, |airport| create(airport, source)),
            Self::Name(name) => airports.update(key, |airport| airport.name().set(name)),
            Self::City(city) => airports.update(key, |airport| airport.city().set(city)),
            Self::Elevation(feet) => airports.update(key, |airport| airport.elevation_ft().set(feet)),
            Self::Position(position) => airports.update(key, |airport| airport.position().set(position)),
            Self::TimeZone(tz) => airports.update(key, |airport| airport.tz().set(tz)),
            Self::AddTag(tag) => airports.update(key, |airport| airport.tags().add(tag)),
            Self::RemoveTag(tag) => {
                airports.update(key, |airport| airport.tags().remove(tag));
            }
            Self::Count(by) => airports.update(key, |airport| airport.movements().add(by))?,
            Self::Delete => {
                airports.remove(key);
            }
        }
        Ok(())
    }

    /// What it writes: how many changes, of how many bytes.
    pub(crate) fn written(&self, key: &str) -> Written {
        let mut written = Written { changes: 0, value_bytes: packed(&key) };
        match self {
            Self::Create(source) => {
                texts(source).iter().filter(|text| !text.is_empty()).for_each(|text| written.note(text));
                written.note(&source.elevation_ft);
                written.note(&Position { lat: source.lat, lon: source.lon });
                initial_tag(source).iter().for_each(|tag| written.note(tag));
            }
            Self::Name(text) | Self::City(text) | Self::TimeZone(text) => written.note(text),
            Self::Elevation(number) | Self::Count(number) => written.note(number),
            Self::Position(position) => written.note(position),
            Self::AddTag(tag) | Self::RemoveTag(tag) => written.note(tag),
            Self::Delete => written.changes = 1,
        }
        written
    }
}

fn texts(source: &Source) -> [&String; 7] {
    let Source { name, city, subdivision, country, iata, local_id, tz, .. } = source;
    [name, city, subdivision, country, iata, local_id, tz]
}

fn initial_tag(source: &Source) -> Option<&'static str> {
    ["Heliport", "Seaplane"].into_iter().find(|kind| source.name.contains(*kind))
}

/// Writes an airport as the file has it. What the file leaves empty is left unwritten.
fn create(airport: &mut AirportMut<'_>, source: &Source) {
    fn set(mut register: Writer<'_, LwwRegister<String>>, text: &str) {
        if !text.is_empty() {
            register.set(text);
        }
    }
    set(airport.name(), &source.name);
    set(airport.city(), &source.city);
    set(airport.subdivision(), &source.subdivision);
    set(airport.country(), &source.country);
    set(airport.iata(), &source.iata);
    set(airport.local_id(), &source.local_id);
    set(airport.tz(), &source.tz);
    airport.elevation_ft().set(source.elevation_ft);
    airport.position().set(Position { lat: source.lat, lon: source.lon });
    if let Some(tag) = initial_tag(source) {
        airport.tags().add(tag);
    }
}

/// Airports and tags that are removed and not forgotten: rows that are kept to tell others alone.
pub(crate) fn removed_rows(airports: &Airports) -> usize {
    let tags = airports.iter().map(|(_, airport)| airport.tags.rows() - airport.tags.len());
    airports.rows() - airports.len() + tags.sum::<usize>()
}

/// A field that the regions read differently.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) key: String,
    pub(crate) field: &'static str,
    pub(crate) readings: [String; COUNT],
}

/// How many fields the regions hold differently, and the first of them by key.
pub(crate) fn differences(snapshots: &[Snapshot<Airports>; COUNT], most: usize) -> (usize, Vec<Difference>) {
    let mut keys: BTreeMap<&String, ()> = BTreeMap::new();
    for snapshot in snapshots {
        keys.extend(snapshot.keys().map(|key| (key, ())));
    }
    let (mut count, mut found) = (0, Vec::new());
    for key in keys.into_keys() {
        let sides = snapshots.each_ref().map(|snapshot| snapshot.get(key).map(fields));
        let Some(names) =
            sides.iter().flatten().next().map(|fields| fields.each_ref().map(|(name, _)| *name))
        else {
            continue;
        };
        for (place, field) in names.into_iter().enumerate() {
            let readings = sides.each_ref().map(|side| match side {
                Some(fields) => fields[place].1.clone(),
                None => "(no such airport)".to_owned(),
            });
            if readings.windows(2).all(|two| two[0] == two[1]) {
                continue;
            }
            count += 1;
            if found.len() < most {
                found.push(Difference { key: key.clone(), field, readings });
            }
        }
    }
    (count, found)
}

/// The fields of an airport as text: all concurrent values of a register, each with the stamp of its write.
fn fields(airport: &Airport) -> [(&'static str, String); 11] {
    fn register<T: std::fmt::Debug>(register: &LwwRegister<T>) -> String {
        let values = register.stamped().map(|(stamp, value)| format!("{value:?} of {stamp}"));
        values.collect::<Vec<_>>().join(" beside ")
    }
    let mut tags: Vec<&str> = airport.tags.iter().map(String::as_str).collect();
    tags.sort_unstable();
    [
        ("name", register(&airport.name)),
        ("city", register(&airport.city)),
        ("subdivision", register(&airport.subdivision)),
        ("country", register(&airport.country)),
        ("iata", register(&airport.iata)),
        ("local_id", register(&airport.local_id)),
        ("tz", register(&airport.tz)),
        ("elevation_ft", register(&airport.elevation_ft)),
        ("position", register(&airport.position)),
        ("tags", tags.join(", ")),
        ("movements", airport.movements.exact().to_string()),
    ]
}
