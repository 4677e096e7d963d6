//! What a message does not say of itself: the type of the state. By a schema a message and canonical bytes can be read
//! without the type.

use driftless::Kind;
use serde_json::{Value as Json, json};
use xxhash_rust::xxh3::xxh3_64;

use crate::oracle::{Item, Live, Payload, Place};
use crate::subject::Canonical;
use crate::wire::{Cells, Parts, Reader};

/// Names and types of fields, in the order of their numbers.
type Fields = &'static [(&'static str, Schema)];

/// A type of state, as far as it shows in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// `LwwRegister`, of whatever value. Also `MvRegister` where no struct around it is open: there they are written alike.
    Register,
    /// `MvRegister`, of whatever value.
    Values,
    /// `Flag`.
    Flag,
    /// `Counter`.
    Counter,
    /// `OrSet`, of whatever elements.
    Set,
    /// `MergeMap`, by whatever keys, of values of a type.
    Map(&'static Schema),
    /// A struct: its fields in the order of declaration.
    Struct(Fields),
    /// A struct with `UnknownFields`: its other fields in the order of declaration.
    Open(Fields),
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

/// What is in the innermost map of a shape, by the lowest bits of its number. Of a struct nothing is known but that each of its
/// fields says what it is.
const LEAVES: [Schema; 7] = [
    Schema::Register,
    Schema::Values,
    Schema::Flag,
    Schema::Counter,
    Schema::Set,
    Schema::Document,
    Schema::Open(&[]),
];
/// How many of the lowest bits of a shape are the number of what is in the innermost map; those above count the maps.
const LEAF_BITS: u8 = 3;
/// The bitmap of a struct has so many bits.
const MOST_FIELDS: usize = 64;

impl Schema {
    /// The number of the shape by which a field of an open struct says that it is of this type. `None` if it cannot be one.
    fn shape(&self) -> Option<u8> {
        let leaf = match self {
            Self::Map(value) => {
                return value.shape()?.checked_add(1 << LEAF_BITS).filter(|shape| *shape < 64);
            }
            Self::Open(_) => Self::Open(&[]),
            leaf => *leaf,
        };
        LEAVES.iter().position(|other| *other == leaf).map(|number| number as u8)
    }

    /// The schema as JSON.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Register => json!("register"),
            Self::Values => json!("values"),
            Self::Flag => json!("flag"),
            Self::Counter => json!("counter"),
            Self::Set => json!("set"),
            Self::Map(value) => json!({ "map": value.to_json() }),
            Self::Struct(fields) => json!({ "struct": fields_to_json(fields) }),
            Self::Open(fields) => json!({ "open": fields_to_json(fields) }),
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
            Self::Register | Self::Values => reader.cells(places, Cells::Values, parts),
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
            Self::Open(fields) => take_fields_apart(fields, reader, places, parts),
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
            Self::Register | Self::Values => {
                canonical.entries(place, live, |canonical| canonical.value().map(Payload::Value))
            }
            Self::Flag => canonical.entries(place, live, |_| Ok(Payload::On)),
            Self::Counter => {
                canonical.entries(place, live, |canonical| canonical.count().map(Payload::Count))
            }
            Self::Set => Self::Map(&Self::Flag).parse(canonical, place, live),
            Self::Map(value) => {
                canonical.keys(place, live, |canonical, place, live| value.parse(canonical, place, live))
            }
            Self::Document => {
                canonical.keys(place, live, |canonical, place, live| parse_field(canonical, place, live))
            }
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
            Self::Open(fields) => parse_fields(fields, canonical, place, live),
        }
    }
}

fn fields_to_json(fields: Fields) -> Json {
    fields.iter().map(|(name, field)| json!([name, field.to_json()])).collect()
}

/// The facet of a field: its shape, and 16 bits of a hash of its name.
fn facet_of(name: &str, field: &Schema) -> Option<u32> {
    Some(u32::from(field.shape()?) << 16 | (xxh3_64(name.as_bytes()) & 0xffff) as u32)
}

/// What stands in a field of an open struct as a facet: the step that leads there, and the type if it is the schema's own.
fn in_facet(fields: Fields, number: usize, facet: u32) -> (Item, Option<Schema>) {
    match fields.get(number) {
        Some((name, field)) if facet_of(name, field) == Some(facet) => (Item::Field(name), Some(*field)),
        _ => (Item::Unknown { field: number as u8, facet }, None),
    }
}

fn shape_of(facet: u32) -> u8 {
    (facet >> 16) as u8
}

fn leaf(shape: u8) -> Result<Schema, String> {
    let leaf = LEAVES.get(usize::from(shape & ((1 << LEAF_BITS) - 1)));
    leaf.copied().ok_or_else(|| format!("nobody can read the shape {shape}"))
}

/// Reads a struct of which each field says what it is.
fn take_fields_apart(
    fields: Fields,
    reader: &mut Reader<'_>,
    places: Vec<Place>,
    parts: &mut Parts,
) -> Result<(), String> {
    let bitmaps = reader.ints(places.len())?;
    for number in 0..MOST_FIELDS {
        let with_it = places.iter().zip(&bitmaps).filter(|(_, bitmap)| **bitmap >> number & 1 == 1);
        let with_it: Vec<&Place> = with_it.map(|(place, _)| place).collect();
        if with_it.is_empty() {
            continue;
        }
        for (facet, is_there) in reader.facets(with_it.len())? {
            let (item, own) = in_facet(fields, number, facet);
            let in_it = with_it.iter().zip(is_there).filter(|(_, is_there)| *is_there);
            let below = in_it.map(|(place, _)| [&place[..], std::slice::from_ref(&item)].concat()).collect();
            match own {
                Some(field) => field.take_apart(reader, below, parts)?,
                None => take_shape_apart(shape_of(facet), reader, below, parts)?,
            }
        }
    }
    Ok(())
}

/// Reads a column of which nothing is known but its shape.
fn take_shape_apart(
    shape: u8,
    reader: &mut Reader<'_>,
    places: Vec<Place>,
    parts: &mut Parts,
) -> Result<(), String> {
    let leaf = leaf(shape)?;
    match shape.checked_sub(1 << LEAF_BITS) {
        None => leaf.take_apart(reader, places, parts),
        Some(values) => reader
            .maps(places, parts, |reader, places, parts| take_shape_apart(values, reader, places, parts)),
    }
}

/// Reads what is live in an open struct.
fn parse_fields(
    fields: Fields,
    canonical: &mut Canonical<'_>,
    place: &mut Place,
    live: &mut Live,
) -> Result<(), String> {
    let is_live = canonical.uint()?;
    for number in (0..MOST_FIELDS).filter(|number| is_live >> number & 1 == 1) {
        let mut last = None;
        loop {
            let (facet, has_more) = canonical.facet()?;
            if last >= Some(facet) {
                return Err(format!("the facet {facet:06x} is not where it belongs"));
            }
            last = Some(facet);
            let (item, own) = in_facet(fields, number, facet);
            place.push(item);
            match own {
                Some(field) => field.parse(canonical, place, live)?,
                None => parse_shape(shape_of(facet), canonical, place, live)?,
            }
            place.pop();
            if !has_more {
                break;
            }
        }
    }
    Ok(())
}

/// Reads what is live of what nothing is known of but its shape.
fn parse_shape(
    shape: u8,
    canonical: &mut Canonical<'_>,
    place: &mut Place,
    live: &mut Live,
) -> Result<(), String> {
    let leaf = leaf(shape)?;
    match shape.checked_sub(1 << LEAF_BITS) {
        None => leaf.parse(canonical, place, live),
        Some(values) => {
            canonical.keys(place, live, |canonical, place, live| parse_shape(values, canonical, place, live))
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

fn parse_field(canonical: &mut Canonical<'_>, place: &mut Place, live: &mut Live) -> Result<(), String> {
    for _ in 0..canonical.uint()? {
        let (kind, schema) = of_kind(canonical.uint()?)?;
        place.push(Item::Kind(kind));
        schema.parse(canonical, place, live)?;
        place.pop();
    }
    Ok(())
}
