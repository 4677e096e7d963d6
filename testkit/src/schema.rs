//! What a message does not say of itself: the type of the state. By a schema a message and canonical bytes can be read
//! without the type.

use driftless::Kind;
use serde_json::{Value as Json, json};

use crate::oracle::{Item, Live, Payload, Place};
use crate::subject::Canonical;
use crate::wire::{Cells, Parts, Reader};

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

    /// Reads a column of a message: states at places.
    ///
    /// # Errors
    /// It is not as the format says.
    pub fn take_apart(
        &self,
        reader: &mut Reader<'_>,
        places: Vec<Place>,
        parts: &mut Parts,
    ) -> Result<(), String> {
        match self {
            Self::Register => reader.cells(places, Cells::Values, parts),
            Self::Flag => reader.cells(places, Cells::Flags, parts),
            Self::Counter => reader.cells(places, Cells::Counts, parts),
            Self::Set => reader
                .maps(places, parts, |reader, places, parts| Self::Flag.take_apart(reader, places, parts)),
            Self::Map(value) => {
                reader.maps(places, parts, |reader, places, parts| value.take_apart(reader, places, parts))
            }
            Self::Document => reader.maps(places, parts, |reader, places, parts| {
                let kinds = KINDS.map(|(kind, schema)| (Item::Kind(kind), schema));
                take_kinds_apart(&kinds, reader, places, parts)
            }),
            Self::Struct(fields) => {
                let fields: Vec<_> = fields.iter().map(|(name, field)| (Item::Field(name), *field)).collect();
                take_kinds_apart(&fields, reader, places, parts)
            }
        }
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
            Self::Struct(fields) => {
                let is_live = canonical.uint()?;
                let live_fields = fields.iter().enumerate().filter(|(number, _)| is_live >> number & 1 == 1);
                if is_live.checked_shr(fields.len() as u32).is_some_and(|others| others != 0) {
                    return Err("fields that are not there".to_owned());
                }
                for (_, (name, field)) in live_fields {
                    place.push(Item::Field(name));
                    field.parse(canonical, place, live)?;
                    place.pop();
                }
                Ok(())
            }
        }
    }
}

fn of_kind(number: u64) -> Result<(Kind, Schema), String> {
    let kind = usize::try_from(number).ok().and_then(|number| KINDS.get(number));
    kind.copied().ok_or_else(|| format!("there is no kind {number}"))
}

/// Reads bitmaps, and the state of each kind at the places that have it.
fn take_kinds_apart(
    kinds: &[(Item, Schema)],
    reader: &mut Reader<'_>,
    places: Vec<Place>,
    parts: &mut Parts,
) -> Result<(), String> {
    let bitmaps = reader.ints(places.len())?;
    if let Some(bitmap) = bitmaps.iter().find(|bitmap| u128::from(**bitmap) >> kinds.len() > 0) {
        return Err(format!("there are not all of {bitmap:b}"));
    }
    for (number, (item, schema)) in kinds.iter().enumerate() {
        let with_it = places.iter().zip(&bitmaps).filter(|(_, bitmap)| **bitmap >> number & 1 == 1);
        let below: Vec<Place> =
            with_it.map(|(place, _)| [&place[..], std::slice::from_ref(item)].concat()).collect();
        if !below.is_empty() {
            schema.take_apart(reader, below, parts)?;
        }
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
