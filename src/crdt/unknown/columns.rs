//! Columns of open structs: each field says what it is, and may be several things at once.

use crate::crdt::Crdt;
use crate::crdt::unknown::node::Node;
use crate::crdt::unknown::{Field, MOST_FIELDS, UnknownFields};
use crate::wire::canonical::Canonical;
use crate::wire::decode::Decoder;
use crate::wire::encode::Encoder;
use crate::wire::error::DecodeError;
use crate::wire::shape::Shape;

/// What a field of a column is in the type that this release knows.
struct Known<'a> {
    shape: Shape,
    /// For each struct of the column, whether there is anything of it.
    is_there: &'a [bool],
    /// Writes those of which there is.
    encode: &'a dyn Fn(&mut Encoder),
}

/// The numbers from the first on of which the bits are set.
fn numbers(first: u32, bitmap: u64) -> impl Iterator<Item = u32> {
    (first..MOST_FIELDS).filter(move |number| bitmap >> number & 1 == 1)
}

/// What is live of a field in the type that this release knows: its shape, and what writes it.
type Live<'a> = (Shape, &'a dyn Fn(&mut Canonical<'_>));

impl UnknownFields {
    /// Writes a field that this release knows, of a column of structs, and what others know it as.
    #[doc(hidden)]
    pub fn encode_field<T: Crdt>(number: u32, known: &[&T], unknown: &[&Self], encoder: &mut Encoder) {
        let is_there: Vec<bool> = known.iter().map(|field| !field.is_bottom()).collect();
        let encode = |encoder: &mut Encoder| {
            let there = known.iter().zip(&is_there).filter(|(_, is_there)| **is_there);
            T::encode(&there.map(|(field, _)| *field).collect::<Vec<_>>(), encoder);
        };
        let known = Known { shape: T::SHAPE, is_there: &is_there, encode: &encode };
        Self::encode_shapes(number, Some(known), unknown, encoder);
    }

    /// Writes all fields from a number on, none of which this release knows.
    #[doc(hidden)]
    pub fn encode_from(first: u32, unknown: &[&Self], encoder: &mut Encoder) {
        let all = unknown.iter().fold(0, |all, fields| all | fields.bitmap());
        numbers(first, all).for_each(|number| Self::encode_shapes(number, None, unknown, encoder));
    }

    fn encode_shapes(number: u32, known: Option<Known<'_>>, unknown: &[&Self], encoder: &mut Encoder) {
        let known = known.filter(|known| known.is_there.contains(&true));
        let held = unknown.iter().flat_map(|fields| fields.held(number));
        let mut shapes: Vec<Shape> =
            held.map(|field| field.shape).chain(known.iter().map(|known| known.shape)).collect();
        shapes.sort_unstable();
        shapes.dedup();
        if shapes.is_empty() {
            return;
        }
        Shape::write(&shapes, encoder);
        if shapes.len() > 1 {
            let bit =
                |shape: Shape| shapes.iter().position(|of| *of == shape).map_or(0, |place| 1_u64 << place);
            let masks = unknown.iter().enumerate().map(|(place, fields)| {
                let known = known.iter().filter(|known| known.is_there.get(place) == Some(&true));
                known
                    .map(|known| bit(known.shape))
                    .chain(fields.held(number).map(|field| bit(field.shape)))
                    .sum()
            });
            encoder.ints(&masks.filter(|mask| *mask > 0).collect::<Vec<u64>>());
        }
        for shape in shapes {
            match &known {
                Some(known) if known.shape == shape => (known.encode)(encoder),
                _ => {
                    let fields = unknown.iter().flat_map(|fields| fields.held(number));
                    let nodes = fields.filter(|field| field.shape == shape).map(|field| &field.node);
                    Node::encode(&nodes.collect::<Vec<_>>(), encoder);
                }
            }
        }
    }

    /// What is held of a field, shape by shape.
    fn held(&self, number: u32) -> impl Iterator<Item = &Field> {
        self.iter().filter(move |field| field.number == number && !field.node.is_bottom())
    }

    /// Reads a field that this release knows, of a column of structs that have the fields of these bitmaps; what it is for others
    /// goes to `unknown`.
    ///
    /// # Errors
    /// The bytes are none of it, or a limit is exceeded.
    #[doc(hidden)]
    pub fn decode_field<T: Crdt>(
        number: u32,
        bitmaps: &[u64],
        held: Option<&T>,
        unknown: &mut [Self],
        decoder: &mut Decoder<'_>,
    ) -> Result<Vec<Option<T>>, DecodeError> {
        let mut known: Vec<Option<T>> = bitmaps.iter().map(|_| None).collect();
        let read = |places: &[usize], decoder: &mut Decoder<'_>| {
            let column = T::decode(places.len(), held, decoder)?;
            places.iter().zip(column).for_each(|(place, field)| known[*place] = Some(field));
            Ok(())
        };
        Self::decode_shapes(number, bitmaps, Some(T::SHAPE), unknown, decoder, read)?;
        Ok(known)
    }

    /// Reads all fields from a number on, none of which this release knows.
    ///
    /// # Errors
    /// The bytes are none of it, or a limit is exceeded.
    #[doc(hidden)]
    pub fn decode_from(
        first: u32,
        bitmaps: &[u64],
        unknown: &mut [Self],
        decoder: &mut Decoder<'_>,
    ) -> Result<(), DecodeError> {
        let all = bitmaps.iter().fold(0, |all, bitmap| all | bitmap);
        for number in numbers(first, all) {
            Self::decode_shapes(number, bitmaps, None, unknown, decoder, |_, _| Ok(()))?;
        }
        Ok(())
    }

    /// Reads a field shape by shape: that which is known by `read`, which is told in which structs it is.
    fn decode_shapes(
        number: u32,
        bitmaps: &[u64],
        known: Option<Shape>,
        unknown: &mut [Self],
        decoder: &mut Decoder<'_>,
        mut read: impl FnMut(&[usize], &mut Decoder<'_>) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let has_it = |(place, bitmap): (usize, &u64)| (bitmap >> number & 1 == 1).then_some(place);
        let there: Vec<usize> = bitmaps.iter().enumerate().filter_map(has_it).collect();
        if there.is_empty() {
            return Ok(());
        }
        let at = decoder.at();
        let shapes = Shape::read(decoder)?;
        let masks = if shapes.len() > 1 { decoder.ints(there.len())? } else { vec![1; there.len()] };
        let all = masks.iter().fold(0, |all, mask| all | mask);
        if masks.contains(&0)
            || u64::BITS - all.leading_zeros() > shapes.len() as u32
            || all.count_ones() < shapes.len() as u32
        {
            return Err(DecodeError::Expected { what: "which shapes a field has", at });
        }
        for (bit, shape) in shapes.into_iter().enumerate() {
            let of_shape = there.iter().zip(&masks).filter(|(_, mask)| *mask >> bit & 1 == 1);
            let places: Vec<usize> = of_shape.map(|(place, _)| *place).collect();
            if known == Some(shape) {
                read(&places, decoder)?;
                continue;
            }
            if shape.leaf().is_none() {
                return Err(DecodeError::UnknownField { field: u64::from(number), at });
            }
            decoder.room::<Field>(places.len())?;
            let nodes = Node::decode_shape(shape, places.len(), decoder)?;
            for (place, node) in places.into_iter().zip(nodes) {
                unknown[place].fields.get_or_insert_default().0.push(Field { number, shape, node });
            }
        }
        Ok(())
    }

    /// What is live in a field that this release knows, and in what others know it as.
    #[doc(hidden)]
    pub fn canonical_field<T: Crdt>(&self, number: u32, known: &T, canonical: &mut Canonical<'_>) {
        let write = |canonical: &mut Canonical<'_>| known.canonical(canonical);
        self.canonical_shapes(number, known.is_live().then_some((T::SHAPE, &write)), canonical);
    }

    /// What is live in all fields from a number on, none of which this release knows.
    #[doc(hidden)]
    pub fn canonical_from(&self, first: u32, canonical: &mut Canonical<'_>) {
        numbers(first, self.live()).for_each(|number| self.canonical_shapes(number, None, canonical));
    }

    fn canonical_shapes(&self, number: u32, known: Option<Live<'_>>, canonical: &mut Canonical<'_>) {
        let live = self.iter().filter(|field| field.number == number && field.node.is_live());
        let mut shapes: Vec<(Shape, Option<&Node>)> =
            live.map(|field| (field.shape, Some(&field.node))).collect();
        shapes.extend(known.map(|(shape, _)| (shape, None)));
        shapes.sort_unstable_by_key(|(shape, _)| *shape);
        let are_several = shapes.len() > 1;
        for (shape, node) in shapes {
            // What is one thing alone reads as where nobody knows it as another.
            if are_several {
                canonical.uint(u64::from(shape.number()));
            }
            match (node, known) {
                (Some(node), _) => node.canonical(canonical),
                (None, Some((_, write))) => write(canonical),
                (None, None) => {}
            }
        }
    }
}
