//! What a message does not say of itself: the type of the state. By a schema a message and canonical bytes can be read
//! without the type.

use driftless::Kind;
use serde_json::{Value as Json, json};

use crate::oracle::{Item, Live, Payload, Place};
use crate::subject::Canonical;
use crate::wire::{Parts, Reader};
use driftless::Timestamp;

/// A type of state, as far as it shows in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// `LwwRegister` or `MvRegister`, of whatever value.
    Register,
    /// `Flag`.
    Flag,
    /// `Counter`.
    Counter,
    /// `OrSet`, of whatever elements.
    Set,
    /// `MergeMap`, by whatever keys, of values of a type.
    Map(&'static Schema),
    /// A struct: its fields in the order of declaration.
    Struct(&'static [(&'static str, Schema)]),
    /// `Document`.
    Document,
}

/// The kinds of state that a name of a document can hold, by their numbers.
const KINDS: [(Kind, Schema); 6] = [
    (Kind::Register, Schema::Register),
    (Kind::Values, Schema::Register),
    (Kind::Set, Schema::Set),
    (Kind::Counter, Schema::Counter),
    (Kind::Flag, Schema::Flag),
    (Kind::Map, Schema::Document),
];

impl Schema {
    /// The schema as JSON.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Register => json!("register"),
            Self::Flag => json!("flag"),
            Self::Counter => json!("counter"),
            Self::Set => json!("set"),
            Self::Map(value) => json!({ "map": value.to_json() }),
            Self::Struct(fields) => {
                let fields = fields.iter().map(|(name, field)| json!([name, field.to_json()]));
                json!({ "struct": fields.collect::<Vec<_>>() })
            }
            Self::Document => json!("document"),
        }
    }

    /// Reads the state of a message.
    ///
    /// # Errors
    /// It is not as the format says.
    pub fn take_apart(
        &self,
        reader: &mut Reader<'_>,
        place: &mut Place,
        parts: &mut Parts,
    ) -> Result<(), String> {
        let part = match self {
            Self::Register => reader.cell(1, |reader, _| Ok((Payload::Value(reader.value()?), None)))?,
            Self::Flag => reader.cell(0, |_, _| Ok((Payload::On, None)))?,
            Self::Counter => reader.cell(2, |reader, stamp| {
                let (total, age) = (reader.int()?, reader.uint()?);
                Ok((Payload::Count(total), Some(Timestamp::from_bits(stamp.bits() - age))))
            })?,
            Self::Set => return Self::Map(&Self::Flag).take_apart(reader, place, parts),
            Self::Map(value) => {
                return take_rows_apart(reader, place, parts, |reader, place, parts| {
                    value.take_apart(reader, place, parts)
                });
            }
            Self::Document => return take_rows_apart(reader, place, parts, take_field_apart),
            Self::Struct(fields) => {
                reader.array()?;
                let present = reader.uint()?;
                for (number, (name, field)) in fields.iter().enumerate() {
                    if present >> number & 1 == 1 {
                        place.push(Item::Field(name));
                        field.take_apart(reader, place, parts)?;
                        place.pop();
                    }
                }
                return Ok(());
            }
        };
        parts.insert(place.clone(), part);
        Ok(())
    }

    /// Reads what is live off canonical bytes.
    ///
    /// # Errors
    /// They are not canonical.
    pub fn parse(
        &self,
        canonical: &mut Canonical<'_>,
        place: &mut Place,
        live: &mut Live,
    ) -> Result<(), String> {
        match self {
            Self::Register => {
                canonical.entries(place, live, |canonical| canonical.value().map(Payload::Value))
            }
            Self::Flag => canonical.entries(place, live, |_| Ok(Payload::On)),
            Self::Counter => {
                canonical.entries(place, live, |canonical| canonical.count().map(Payload::Count))
            }
            Self::Set => Self::Map(&Self::Flag).parse(canonical, place, live),
            Self::Map(value) => parse_keys(canonical, place, live, |canonical, place, live| {
                value.parse(canonical, place, live)
            }),
            Self::Document => parse_keys(canonical, place, live, parse_field),
            Self::Struct(fields) => fields.iter().try_for_each(|(name, field)| {
                place.push(Item::Field(name));
                field.parse(canonical, place, live)?;
                place.pop();
                Ok(())
            }),
        }
    }
}

fn of_kind(number: u64) -> Result<(Kind, Schema), String> {
    let kind = usize::try_from(number).ok().and_then(|number| KINDS.get(number));
    kind.copied().ok_or_else(|| format!("there is no kind {number}"))
}

fn take_rows_apart(
    reader: &mut Reader<'_>,
    place: &mut Place,
    parts: &mut Parts,
    value: impl Fn(&mut Reader<'_>, &mut Place, &mut Parts) -> Result<(), String>,
) -> Result<(), String> {
    reader.rows(|reader, key, floor| {
        place.push(Item::Key(key));
        if !reader.nil() {
            value(reader, place, parts)?;
        }
        if !floor.is_empty() {
            parts.entry(place.clone()).or_default().floor = floor;
        }
        place.pop();
        Ok(())
    })
}

fn take_field_apart(reader: &mut Reader<'_>, place: &mut Place, parts: &mut Parts) -> Result<(), String> {
    for _ in 0..reader.array()? / 2 {
        let (kind, schema) = of_kind(reader.uint()?)?;
        place.push(Item::Kind(kind));
        schema.take_apart(reader, place, parts)?;
        place.pop();
    }
    Ok(())
}

fn parse_keys(
    canonical: &mut Canonical<'_>,
    place: &mut Place,
    live: &mut Live,
    value: impl Fn(&mut Canonical<'_>, &mut Place, &mut Live) -> Result<(), String>,
) -> Result<(), String> {
    for _ in 0..canonical.uint()? {
        place.push(Item::Key(canonical.value()?));
        value(canonical, place, live)?;
        place.pop();
    }
    Ok(())
}

fn parse_field(canonical: &mut Canonical<'_>, place: &mut Place, live: &mut Live) -> Result<(), String> {
    for _ in 0..canonical.uint()? {
        let (kind, schema) = of_kind(canonical.uint()?)?;
        place.push(Item::Kind(kind));
        schema.parse(canonical, place, live)?;
        place.pop();
    }
    Ok(())
}
