//! Which mergeable type stands somewhere, as far as others must know it to merge what stands there.

use std::fmt;

use crate::wire::decode::Decoder;
use crate::wire::encode::Encoder;
use crate::wire::error::DecodeError;

/// How many bits say what stands in the innermost map; those above say how many maps there are around it.
const LEAF_BITS: u8 = 3;

/// So many maps around each other have a shape of their own.
const MOST_MAPS: u8 = 7;

/// The shape of what stands in a field: so many maps around each other, and what their values are. A struct is a struct, whatever
/// its fields: each of them says what it is.
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
    /// A struct.
    pub const STRUCT: Self = Self::of(Leaf::Struct);
    /// What cannot be merged by who does not know its type.
    pub(crate) const OTHER: Self = Self(u8::MAX >> 2);

    const fn of(leaf: Leaf) -> Self {
        Self(leaf as u8)
    }

    /// A map of what has this shape.
    pub(crate) const fn map(self) -> Self {
        if self.0 >> LEAF_BITS == MOST_MAPS {
            Self::OTHER
        } else {
            Self(self.0.saturating_add(1 << LEAF_BITS))
        }
    }

    /// What the values of a map of this shape have. `None` if it is no map.
    pub(crate) fn values(self) -> Option<Self> {
        self.0.checked_sub(1 << LEAF_BITS).map(Self)
    }

    /// What stands in the innermost map. `None` if nobody can tell.
    pub(crate) fn leaf(self) -> Option<Leaf> {
        Leaf::ALL.get(usize::from(self.0 & ((1 << LEAF_BITS) - 1))).copied()
    }

    /// The number of the shape, below 64.
    pub(crate) fn number(self) -> u8 {
        self.0
    }

    /// Writes that what follows has one of these shapes, in ascending order.
    pub(crate) fn write(shapes: &[Self], encoder: &mut Encoder) {
        let last = shapes.len().saturating_sub(1);
        for (place, shape) in shapes.iter().enumerate() {
            encoder.bytes(&[shape.0 << 1 | u8::from(place < last)]);
        }
    }

    /// Reads which shapes what follows has.
    pub(crate) fn read(decoder: &mut Decoder<'_>) -> Result<Vec<Self>, DecodeError> {
        let at = decoder.at();
        let mut shapes: Vec<Self> = Vec::new();
        loop {
            let [code] = decoder.array()?;
            let shape = Self(code >> 1);
            if shape > Self::OTHER || shapes.last().is_some_and(|last| *last >= shape) {
                return Err(DecodeError::Expected { what: "shapes in ascending order", at });
            }
            shapes.push(shape);
            if code & 1 == 0 {
                return Ok(shapes);
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::events::Events;
    use crate::wire::limits::Limits;

    #[test]
    fn as_many_maps_as_there_are_bits_for_are_told_apart() {
        let mut shape = Shape::COUNTER;
        for maps in 1..=7 {
            let values = shape;
            shape = values.map();
            assert_eq!((shape.values(), shape.leaf()), (Some(values), Some(Leaf::Counter)));
            assert_eq!(format!("{shape:?}"), "[]".repeat(maps) + "Counter");
        }
        assert_eq!((shape.map(), Shape::COUNTER.values()), (Shape::OTHER, None));
        assert_eq!((Shape::OTHER.map(), Shape::OTHER.leaf()), (Shape::OTHER, None));
    }

    fn read(bytes: &[u8]) -> Result<Vec<Shape>, DecodeError> {
        Shape::read(&mut Decoder::new(bytes, &Limits::default())?)
    }

    #[test]
    fn shapes_are_read_as_they_were_written_and_in_no_other_order() {
        let shapes = [Shape::FLAG, Shape::COUNTER.map(), Shape::OTHER];
        let mut encoder = Encoder::new(Vec::new(), Events::default());
        Shape::write(&shapes, &mut encoder);
        let bytes = encoder.finish().map(|(bytes, _)| bytes).unwrap_or_default();
        assert_eq!((bytes.len(), read(&bytes)), (3, Ok(shapes.to_vec())));
        let refused = Err(DecodeError::Expected { what: "shapes in ascending order", at: 0 });
        assert_eq!(read(&[bytes[0], bytes[0]]), refused);
        assert_eq!(read(&[bytes[1], bytes[0] & !1]), refused);
        assert_eq!(read(&[128]), refused);
        assert_eq!(read(&bytes[..2]), Err(DecodeError::Truncated { at: 2 }));
    }
}
