//! What each type of state needs to be tested against the oracle.

mod document;
mod types;

use std::collections::BTreeMap;
use std::panic;

use driftless::{Crdt, ReplicaId, Timestamp, Value, VersionVector};

use crate::oracle::{Entry, Item, Live, Oracle, Payload, Place, Transaction};
use crate::schema::Schema;

/// State that can be tested against the oracle.
pub trait Subject: Crdt {
    /// Does what the script says, to the engine through `handle` and to the oracle.
    ///
    /// # Errors
    /// What stopped it.
    fn act(handle: &mut Self::Mut<'_>, script: &mut Script<'_>) -> Result<(), Stop>;

    /// Removes all there is, in the engine.
    fn wipe(handle: &mut Self::Mut<'_>);

    /// Reads what is live off the canonical bytes.
    ///
    /// # Errors
    /// The bytes are not canonical.
    fn parse(canonical: &mut Canonical<'_>, place: &mut Place, live: &mut Live) -> Result<(), String>;

    /// What a message does not say of itself.
    const SCHEMA: Schema;

    /// Reads what is live as an application does.
    fn read(&self, place: &mut Place, readings: &mut Readings);
}

/// Why a script came to an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The script asked for an error.
    Planned,
    /// The engine did not do what the oracle says it must.
    Fault(String),
}

impl Stop {
    /// A fault, unless `holds`.
    ///
    /// # Errors
    /// The fault.
    pub fn unless(holds: bool, fault: impl FnOnce() -> String) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(Self::Fault(fault())) }
    }
}

/// How a transaction is broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fuse {
    /// By an error.
    Error,
    /// By a panic that passes through.
    Panic,
    /// By a panic that is caught within the transaction.
    CaughtPanic,
}

/// What a planned panic carries.
#[derive(Debug)]
pub struct PlannedPanic;

/// Makes a struct of subjects a subject: the fields with their types, in order of declaration.
///
/// ```
/// use driftless::{Counter, Crdt, LwwRegister};
///
/// #[derive(Crdt)]
/// struct User {
///     age: LwwRegister<i64>,
///     visits: Counter,
/// }
///
/// driftless_testkit::struct_subject! {
///     User { age: LwwRegister<i64>, visits: Counter }
/// }
/// ```
///
/// Of an open struct all fields but its `UnknownFields`, which nothing is written to here:
/// ```
/// use driftless::{Counter, Crdt, UnknownFields};
///
/// #[derive(Crdt)]
/// struct User {
///     visits: Counter,
///     rest: UnknownFields,
/// }
///
/// driftless_testkit::struct_subject! {
///     open User { visits: Counter }
/// }
/// ```
#[macro_export]
macro_rules! struct_subject {
    ($name:ident { $($field:ident: $type:ty),+ $(,)? }) => {
        $crate::struct_subject! { @ Struct $name { $($field: $type),+ } }
    };
    (open $name:ident { $($field:ident: $type:ty),+ $(,)? }) => {
        $crate::struct_subject! { @ Open $name { $($field: $type),+ } }
    };
    (@ $schema:ident $name:ident { $($field:ident: $type:ty),+ }) => {
        impl $crate::subject::Subject for $name {
            fn act(
                handle: &mut Self::Mut<'_>,
                script: &mut $crate::subject::Script<'_>,
            ) -> Result<(), $crate::subject::Stop> {
                let fields = [$(stringify!($field)),+];
                let chosen = fields[script.pick(fields.len())];
                $(if chosen == stringify!($field) {
                    let act = |script: &mut _| <$type as $crate::subject::Subject>::act(&mut handle.$field(), script);
                    return script.at($crate::oracle::Item::Field(stringify!($field)), act);
                })+
                Ok(())
            }

            fn wipe(handle: &mut Self::Mut<'_>) {
                $(<$type as $crate::subject::Subject>::wipe(&mut handle.$field());)+
            }

            fn parse(
                canonical: &mut $crate::subject::Canonical<'_>,
                place: &mut $crate::oracle::Place,
                live: &mut $crate::oracle::Live,
            ) -> Result<(), String> {
                let mut fields = canonical.uint()?;
                let is_open = matches!(Self::SCHEMA, $crate::schema::Schema::Open(_));
                $(if fields & 1 == 1 {
                    place.push($crate::oracle::Item::Field(stringify!($field)));
                    if is_open && canonical.facet()?.1 {
                        return Err(format!("{place:?} is several things"));
                    }
                    <$type as $crate::subject::Subject>::parse(canonical, place, live)?;
                    place.pop();
                }
                fields >>= 1;)+
                if fields == 0 { Ok(()) } else { Err("fields that are not there".to_owned()) }
            }

            const SCHEMA: $crate::schema::Schema = $crate::schema::Schema::$schema(&[
                $((stringify!($field), <$type as $crate::subject::Subject>::SCHEMA)),+
            ]);

            fn read(&self, place: &mut $crate::oracle::Place, readings: &mut $crate::subject::Readings) {
                $(place.push($crate::oracle::Item::Field(stringify!($field)));
                $crate::subject::Subject::read(&self.$field, place, readings);
                place.pop();)+
            }
        }
    };
}

/// What a transaction does: numbers to choose by, the oracle's view of it, and where in the state it is.
#[derive(Debug)]
pub struct Script<'a> {
    oracle: Transaction<'a>,
    place: Place,
    choices: std::slice::Iter<'a, u8>,
    /// How many keys a map may have.
    keys: u8,
    /// Whether some keys are chosen far more often than others.
    has_hot_keys: bool,
    /// How the transaction is broken off, and after how many writes.
    fuse: Option<(Fuse, usize)>,
    log: Vec<String>,
}

impl<'a> Script<'a> {
    /// A script of a transaction of `author`, who has seen `saw`.
    pub fn new(
        oracle: &'a mut Oracle,
        author: ReplicaId,
        stamp: Timestamp,
        saw: VersionVector,
        keys: u8,
        fuse: Option<(Fuse, usize)>,
    ) -> Self {
        let oracle = oracle.transaction(author, stamp, saw);
        Self {
            oracle,
            place: Vec::new(),
            choices: [].iter(),
            keys,
            has_hot_keys: false,
            fuse,
            log: Vec::new(),
        }
    }

    /// Chooses by these numbers from now on; by zeros when they are used up.
    pub fn choose_by(&mut self, choices: &'a [u8]) {
        self.choices = choices.iter();
    }

    /// A choice below `count`.
    pub fn pick(&mut self, count: usize) -> usize {
        self.choices.next().map_or(0, |choice| usize::from(*choice) % count.max(1))
    }

    /// From now on the lower its number, the more often a key is chosen: of sixteen, the first in a quarter of all cases.
    #[must_use]
    pub fn with_hot_keys(self) -> Self {
        Self { has_hot_keys: true, ..self }
    }

    /// A number of a key, few enough for replicas to meet.
    pub fn key(&mut self) -> u8 {
        let keys = usize::from(self.keys);
        if !self.has_hot_keys {
            return self.pick(keys) as u8;
        }
        let choice = self.pick(256);
        ((choice * choice * keys) >> 16) as u8
    }

    /// Goes one step down for as long as `act` runs.
    pub fn at<R>(&mut self, item: Item, act: impl FnOnce(&mut Self) -> R) -> R {
        self.place.push(item);
        let result = act(self);
        self.place.pop();
        result
    }

    /// What the oracle says of the transaction so far.
    pub fn oracle(&self) -> &Transaction<'a> {
        &self.oracle
    }

    /// Where the script is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Takes note of a write here, which the engine has just made.
    ///
    /// # Errors
    /// It is time to break off.
    pub fn wrote(&mut self, payload: Payload) -> Result<(), Stop> {
        self.log.push(format!("{} := {payload:?}", show(&self.place)));
        self.oracle.write(&self.place, payload);
        self.burn()
    }

    /// Takes note of a removal here, of which the engine has just said whether it found anything.
    ///
    /// # Errors
    /// The oracle says otherwise, or it is time to break off.
    pub fn removed(&mut self, found: bool) -> Result<(), Stop> {
        self.note_removal(found)?;
        self.burn()
    }

    /// Takes note of the removal of all keys here, of which the engine has just said how many it found.
    ///
    /// # Errors
    /// As of [`removed`](Self::removed).
    pub fn cleared(&mut self, mut keys: Vec<Value>, found: usize) -> Result<(), Stop> {
        Stop::unless(found == keys.len(), || format!("{found} of {keys:?} were cleared"))?;
        keys.sort_unstable();
        for key in keys {
            self.at(Item::Key(key), |script| script.note_removal(true))?;
        }
        self.burn()
    }

    fn note_removal(&mut self, found: bool) -> Result<(), Stop> {
        self.log.push(format!("{} removed", show(&self.place)));
        let expected = self.oracle.remove(&self.place);
        Stop::unless(found == expected, || {
            format!("a removal of {} found {found}, not {expected}", show(&self.place))
        })
    }

    fn burn(&mut self) -> Result<(), Stop> {
        match &mut self.fuse {
            None => Ok(()),
            Some((_, left @ 1..)) => {
                *left -= 1;
                Ok(())
            }
            Some((Fuse::Error, 0)) => Err(Stop::Planned),
            Some((Fuse::Panic | Fuse::CaughtPanic, 0)) => panic::resume_unwind(Box::new(PlannedPanic)),
        }
    }

    /// What was done, to be shown.
    pub fn into_log(self) -> Vec<String> {
        self.log
    }
}

/// Canonical bytes on their way to be read.
#[derive(Debug)]
pub struct Canonical<'a>(&'a [u8]);

impl<'a> Canonical<'a> {
    /// What is live in a state, off its canonical bytes.
    ///
    /// # Errors
    /// They are not canonical.
    pub fn live<S: Subject>(bytes: &'a [u8]) -> Result<Live, String> {
        Self::live_by(bytes, |canonical, place, live| S::parse(canonical, place, live))
    }

    /// As [`live`](Self::live), with a function that reads the state.
    ///
    /// # Errors
    /// As of [`live`](Self::live).
    pub fn live_by(
        bytes: &'a [u8],
        parse: impl FnOnce(&mut Self, &mut Place, &mut Live) -> Result<(), String>,
    ) -> Result<Live, String> {
        let mut canonical = Self(bytes);
        let mut live = Live::new();
        parse(&mut canonical, &mut Vec::new(), &mut live)?;
        if canonical.0.is_empty() { Ok(live) } else { Err("canonical bytes are left over".to_owned()) }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or("canonical bytes are cut off")?;
        self.0 = rest;
        Ok(*taken)
    }

    /// A number.
    ///
    /// # Errors
    /// The bytes end here; so for all that follow.
    pub fn uint(&mut self) -> Result<u64, String> {
        self.take().map(u64::from_be_bytes)
    }

    /// A count of a counter.
    ///
    /// # Errors
    /// The bytes end here, or the count is beyond 64 bits.
    pub fn count(&mut self) -> Result<i64, String> {
        let count = self.take().map(i128::from_be_bytes)?;
        i64::try_from(count).map_err(|_| format!("{count} is beyond 64 bits"))
    }

    /// A value.
    ///
    /// # Errors
    /// It is no value.
    pub fn value(&mut self) -> Result<Value, String> {
        rmp_serde::from_read(&mut self.0).map_err(|error| error.to_string())
    }

    /// What a field of an open struct is, and whether it is something else as well.
    ///
    /// # Errors
    /// There is none of it.
    pub fn facet(&mut self) -> Result<(u32, bool), String> {
        let code = self.uint()?;
        let facet = u32::try_from(code >> 1).map_err(|_| format!("no field is {code}"))?;
        Ok((facet, code & 1 == 1))
    }

    /// A map: its keys, and below each what `value` reads. Keys are ordered by their bytes, whatever their type.
    ///
    /// # Errors
    /// That of `value`; or a key is out of order, or nothing is live below it.
    pub fn keys(
        &mut self,
        place: &mut Place,
        live: &mut Live,
        value: impl Fn(&mut Self, &mut Place, &mut Live) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut last: Option<&[u8]> = None;
        for _ in 0..self.uint()? {
            let start = self.0;
            let key = self.value()?;
            let bytes = &start[..start.len() - self.0.len()];
            if last >= Some(bytes) {
                return Err(format!("the key {key} stands behind {last:02x?}"));
            }
            last = Some(bytes);
            place.push(Item::Key(key));
            let before = live.len();
            value(self, place, live)?;
            place.pop();
            if live.len() == before {
                return Err("a key stands there although nothing is live below it".to_owned());
            }
        }
        Ok(())
    }

    /// What was written, and its dot before it.
    ///
    /// # Errors
    /// That of `payload`, or the bytes end here.
    pub fn entry(
        &mut self,
        payload: impl FnOnce(&mut Self) -> Result<Payload, String>,
    ) -> Result<Entry, String> {
        let author = ReplicaId::new(uuid::Uuid::from_bytes(self.take()?));
        let stamp = Timestamp::from_bits(self.uint()?);
        Ok(Entry { stamp, author, payload: payload(self)? })
    }

    /// All that is live at a place that nothing lies below.
    ///
    /// # Errors
    /// That of `payload`, or the bytes end here.
    pub fn entries(
        &mut self,
        place: &Place,
        live: &mut Live,
        payload: impl Fn(&mut Self) -> Result<Payload, String>,
    ) -> Result<(), String> {
        let count = self.uint()?;
        let entries = (0..count).map(|_| self.entry(&payload)).collect::<Result<Vec<_>, _>>()?;
        if !entries.is_empty() {
            live.insert(place.clone(), entries);
        }
        Ok(())
    }
}

/// What an application reads at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The values of a register, with their stamps.
    Values(Vec<(Timestamp, Value)>),
    /// A flag is on, or an element is there.
    On,
    /// The sum of a counter.
    Sum(i128),
}

/// What an application reads, place by place.
pub type Readings = BTreeMap<Place, Reading>;

/// What an application must read of what is live.
pub fn readings(live: &Live) -> Readings {
    let readings = live.iter().map(|(place, entries)| {
        let values = entries.iter().filter_map(|entry| match &entry.payload {
            Payload::Value(value) => Some((entry.stamp, value.clone())),
            Payload::On | Payload::Count(_) => None,
        });
        let counts = entries.iter().filter_map(|entry| match entry.payload {
            Payload::Count(count) => Some(i128::from(count)),
            Payload::On | Payload::Value(_) => None,
        });
        let reading = match entries.first().map(|entry| &entry.payload) {
            Some(Payload::Value(_)) => Reading::Values(values.collect()),
            Some(Payload::Count(_)) => Reading::Sum(counts.sum()),
            Some(Payload::On) | None => Reading::On,
        };
        (place.clone(), reading)
    });
    readings.collect()
}

/// A place, to be shown.
pub fn show(place: &Place) -> String {
    let items = place.iter().map(|item| match item {
        Item::Field(name) => format!(".{name}"),
        Item::Key(key) => format!("/{key}"),
        Item::Kind(kind) => format!("<{kind}>"),
        Item::Unknown { field, facet } => format!(".#{field}<{facet:06x}>"),
    });
    items.collect()
}
