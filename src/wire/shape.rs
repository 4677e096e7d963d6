//! What a field of an open struct is, as far as others must know it to merge what is in it.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64;

use crate::wire::decode::Decoder;
use crate::wire::encode::Encoder;
use crate::wire::error::DecodeError;

/// How many bits say what stands in the innermost map; those above say how many maps there are around it.
const LEAF_BITS: u8 = 3;

/// So many maps around each other have a shape of their own.
const MOST_MAPS: u8 = 7;

/// Which mergeable type stands somewhere: so many maps around each other, and what their values are. An open struct is an open
/// struct, whatever its fields: each of them says what it is.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape(u8);

/// What stands in the innermost map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaf {
    Register,
    Values,
    Flag,
    Counter,
    Set,
    Document,
    Struct,
}

impl Leaf {
    const ALL: [Self; 7] =
        [Self::Register, Self::Values, Self::Flag, Self::Counter, Self::Set, Self::Document, Self::Struct];
}

impl Shape {
    pub(crate) const REGISTER: Self = Self::of(Leaf::Register);
    pub(crate) const VALUES: Self = Self::of(Leaf::Values);
    pub(crate) const FLAG: Self = Self::of(Leaf::Flag);
    pub(crate) const COUNTER: Self = Self::of(Leaf::Counter);
    pub(crate) const SET: Self = Self::of(Leaf::Set);
    pub(crate) const DOCUMENT: Self = Self::of(Leaf::Document);
    /// An open struct.
    pub const OPEN: Self = Self::of(Leaf::Struct);
    /// A struct that is not open, or anything else that nobody can merge who does not know it.
    pub const CLOSED: Self = Self(Leaf::ALL.len() as u8);
    /// What keeps the fields of an open struct that are not known. It is no field itself.
    pub(crate) const UNKNOWN_FIELDS: Self = Self(u8::MAX);

    const fn of(leaf: Leaf) -> Self {
        Self(leaf as u8)
    }

    /// A map of what has this shape.
    pub(crate) const fn map(self) -> Self {
        if self.0 >> LEAF_BITS >= MOST_MAPS {
            Self::CLOSED
        } else {
            Self(self.0.saturating_add(1 << LEAF_BITS))
        }
    }

    /// What the values of a map of this shape have. `None` if it is no map.
    pub(crate) fn within(self) -> Option<Self> {
        self.0.checked_sub(1 << LEAF_BITS).map(Self)
    }

    /// What stands in the innermost map. `None` if nobody can tell.
    pub(crate) fn leaf(self) -> Option<Leaf> {
        Leaf::ALL.get(usize::from(self.0 & ((1 << LEAF_BITS) - 1))).copied()
    }

    /// Whether it can be a field of an open struct: who does not know it can merge it.
    pub const fn is_open(self) -> bool {
        (self.0 & ((1 << LEAF_BITS) - 1)) < Leaf::ALL.len() as u8
    }

    /// Whether it can be a field at all.
    pub const fn is_field(self) -> bool {
        self.0 != Self::UNKNOWN_FIELDS.0
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let maps = usize::from(self.0 >> LEAF_BITS);
        f.write_str(&"[]".repeat(maps))?;
        match self.leaf() {
            Some(leaf) => fmt::Debug::fmt(&leaf, f),
            None => f.write_str("?"),
        }
    }
}

/// What a field of an open struct is: its shape, and a hash of its name, since the name says what is meant. Where releases were
/// made apart, a field may be several things at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Facet {
    shape: Shape,
    name: u16,
}

impl Facet {
    /// That of a field of this name.
    pub(crate) fn new(shape: Shape, name: &str) -> Self {
        Self { shape, name: (xxh3_64(name.as_bytes()) & u64::from(u16::MAX)) as u16 }
    }

    pub(crate) fn shape(self) -> Shape {
        self.shape
    }

    /// All of it in one number, of 22 bits.
    pub(crate) fn number(self) -> u32 {
        u32::from(self.shape.0) << u16::BITS | u32::from(self.name)
    }

    /// Writes what a field is, in ascending order.
    pub(crate) fn write(facets: &[Self], encoder: &mut Encoder) {
        let last = facets.len().saturating_sub(1);
        for (place, facet) in facets.iter().enumerate() {
            encoder.bytes(&[facet.shape.0 << 1 | u8::from(place < last)]);
            encoder.bytes(&facet.name.to_be_bytes());
        }
    }

    /// Reads what a field is.
    pub(crate) fn read(decoder: &mut Decoder<'_>) -> Result<Vec<Self>, DecodeError> {
        let at = decoder.at();
        let mut facets: Vec<Self> = Vec::new();
        loop {
            let [code] = decoder.array()?;
            let facet = Self { shape: Shape(code >> 1), name: u16::from_be_bytes(decoder.array()?) };
            let is_one = facet.shape.is_open() && facet.shape.0 >> LEAF_BITS <= MOST_MAPS;
            if !is_one || facets.last().is_some_and(|last| *last >= facet) {
                return Err(DecodeError::Expected { what: "what a field is", at });
            }
            facets.push(facet);
            if code & 1 == 0 {
                return Ok(facets);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::events::Events;
    use crate::wire::limits::Limits;

    #[test]
    fn as_many_maps_as_there_are_bits_for_are_told_apart() {
        let mut shape = Shape::COUNTER;
        for maps in 1..=7 {
            let within = shape;
            shape = within.map();
            assert_eq!((shape.within(), shape.leaf()), (Some(within), Some(Leaf::Counter)));
            assert_eq!(format!("{shape:?}"), "[]".repeat(maps) + "Counter");
            assert!(shape.is_open() && shape.is_field());
        }
        assert_eq!((shape.map(), Shape::COUNTER.within()), (Shape::CLOSED, None));
        let closed = [Shape::CLOSED, Shape::CLOSED.map(), Shape::UNKNOWN_FIELDS, Shape::UNKNOWN_FIELDS.map()];
        assert!(closed.iter().all(|shape| !shape.is_open() && shape.leaf().is_none()));
        assert_eq!(closed.map(Shape::is_field), [true, true, false, true]);
    }

    fn read(bytes: &[u8]) -> Result<Vec<Facet>, DecodeError> {
        Facet::read(&mut Decoder::new(bytes, &Limits::default())?)
    }

    #[test]
    fn what_a_field_is_is_read_as_it_was_written_and_in_no_other_order() {
        let names = ["name", "seen"];
        let [one, other] = names.map(|name| Facet::new(Shape::FLAG, name));
        let mut facets = [one, other, Facet::new(Shape::COUNTER.map(), "seen")];
        facets.sort_unstable();
        let mut encoder = Encoder::new(Vec::new(), Events::default());
        Facet::write(&facets, &mut encoder);
        let bytes = encoder.finish().map(|(bytes, _)| bytes).unwrap_or_default();
        assert_eq!((bytes.len(), read(&bytes)), (9, Ok(facets.to_vec())));
        let refused = Err(DecodeError::Expected { what: "what a field is", at: 0 });
        let [first, second] = [&bytes[..3], &bytes[3..6]];
        assert_eq!(read(&[first, first].concat()), refused);
        assert_eq!(read(&[second, first].concat()), refused);
        for shape in [Shape::CLOSED, Shape::CLOSED.map(), Shape(64)] {
            assert_eq!(read(&[shape.0 << 1, 0, 0]), refused, "{shape:?}");
        }
        assert_eq!(read(&bytes[..4]), Err(DecodeError::Truncated { at: 4 }));
        assert_eq!(read(&bytes[..6]), Err(DecodeError::Truncated { at: 6 }));
    }
}
