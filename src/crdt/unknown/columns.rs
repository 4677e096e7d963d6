//! Columns of open structs: each field says what it is, and may be several things at once.

use smallvec::SmallVec;

use crate::crdt::Crdt;
use crate::crdt::unknown::node::Node;
use crate::crdt::unknown::{Field, Fields, MOST_FIELDS, UnknownFields};
use crate::wire::canonical::Canonical;
use crate::wire::decode::Decoder;
use crate::wire::encode::Encoder;
use crate::wire::error::DecodeError;
use crate::wire::shape::Facet;

/// A field is nearly always one thing alone.
const FEW_FACETS: usize = 2;

/// What a field of a column is in the type that this release knows.
struct Known<'a> {
    facet: Facet,
    /// For each struct of the column, whether there is anything of it.
    is_there: &'a [bool],
    /// Writes those of which there is.
    encode: &'a dyn Fn(&mut Encoder),
}

/// What is live of a field in the type that this release knows, and what writes it.
type Live<'a> = (Facet, &'a dyn Fn(&mut Canonical<'_>));

/// The numbers from the first on of which the bits are set.
fn numbers(first: u32, bitmap: u64) -> impl Iterator<Item = u32> {
    (first..MOST_FIELDS).filter(move |number| bitmap >> number & 1 == 1)
}

impl UnknownFields {
    /// Writes a field that this release knows, of a column of structs, and what else others know it as.
    #[doc(hidden)]
    pub fn encode_field<T: Crdt>(
        (number, name): (u32, &str),
        known: &[&T],
        unknown: &[&Self],
        encoder: &mut Encoder,
    ) {
        let is_there: Vec<bool> = known.iter().map(|field| !field.is_bottom()).collect();
        let encode = |encoder: &mut Encoder| {
            let there = known.iter().zip(&is_there).filter(|(_, is_there)| **is_there);
            T::encode(&there.map(|(field, _)| *field).collect::<Vec<_>>(), encoder);
        };
        let known = Known { facet: Facet::new(T::SHAPE, name), is_there: &is_there, encode: &encode };
        Self::encode_facets(number, Some(known), unknown, encoder);
    }

    /// Writes all fields from a number on, none of which this release knows.
    #[doc(hidden)]
    pub fn encode_from(first: u32, unknown: &[&Self], encoder: &mut Encoder) {
        let all = unknown.iter().fold(0, |all, fields| all | fields.bitmap());
        numbers(first, all).for_each(|number| Self::encode_facets(number, None, unknown, encoder));
    }

    fn encode_facets(number: u32, known: Option<Known<'_>>, unknown: &[&Self], encoder: &mut Encoder) {
        let known = known.filter(|known| known.is_there.contains(&true));
        let held = unknown.iter().flat_map(|fields| fields.held(number));
        let mut facets: Vec<Facet> =
            held.map(|field| field.facet).chain(known.iter().map(|known| known.facet)).collect();
        facets.sort_unstable();
        facets.dedup();
        if facets.is_empty() {
            return;
        }
        Facet::write(&facets, encoder);
        let is_known = |place: usize, facet: Facet| {
            known
                .as_ref()
                .is_some_and(|known| known.facet == facet && known.is_there.get(place) == Some(&true))
        };
        if facets.len() > 1 {
            let there: Vec<usize> = (0..unknown.len())
                .filter(|place| {
                    facets.iter().any(|facet| is_known(*place, *facet))
                        || unknown[*place].held(number).next().is_some()
                })
                .collect();
            for facet in &facets {
                let has_it = there.iter().map(|place| {
                    u64::from(is_known(*place, *facet) || unknown[*place].held_as(number, *facet).is_some())
                });
                encoder.ints(&has_it.collect::<Vec<_>>());
            }
        }
        for facet in facets {
            match &known {
                Some(known) if known.facet == facet => (known.encode)(encoder),
                _ => {
                    let nodes = unknown.iter().filter_map(|fields| fields.held_as(number, facet));
                    Node::encode(&nodes.collect::<Vec<_>>(), encoder);
                }
            }
        }
    }

    /// What is held of a field.
    fn held(&self, number: u32) -> impl Iterator<Item = &Field> {
        let fields = self.fields();
        let first = fields.partition_point(|field| field.number < number);
        let of_number = fields.iter().skip(first).take_while(move |field| field.number == number);
        of_number.filter(|field| !field.node.is_bottom())
    }

    /// What is held of a field as one of the things that it is.
    fn held_as(&self, number: u32, facet: Facet) -> Option<&Node> {
        let place = self.fields().binary_search_by_key(&(number, facet), Field::place).ok()?;
        self.fields().get(place).map(|field| &field.node).filter(|node| !node.is_bottom())
    }

    /// Reads a field that this release knows, of a column of structs that have the fields of these bitmaps; what else it is goes
    /// to `unknown`, which stays empty if there is nothing. Of a field that is in none of them there is nothing.
    ///
    /// # Errors
    /// The bytes are none of it, or a limit is exceeded.
    #[doc(hidden)]
    pub fn decode_field<T: Crdt>(
        (number, name): (u32, &str),
        bitmaps: &[u64],
        held: Option<&T>,
        unknown: &mut Vec<Self>,
        decoder: &mut Decoder<'_>,
    ) -> Result<Vec<Option<T>>, DecodeError> {
        let mut known: Vec<Option<T>> = Vec::new();
        let read = |places: &[usize], decoder: &mut Decoder<'_>| {
            let at = decoder.at();
            let column = T::decode(places.len(), held, decoder)?;
            if column.iter().any(T::is_bottom) {
                return Err(DecodeError::Expected { what: "what a field is", at });
            }
            known.resize_with(bitmaps.len(), || None);
            places.iter().zip(column).for_each(|(place, field)| known[*place] = Some(field));
            Ok(())
        };
        let facet = Facet::new(T::SHAPE, name);
        Self::decode_facets(number, bitmaps, Some(facet), unknown, decoder, read)?;
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
        unknown: &mut Vec<Self>,
        decoder: &mut Decoder<'_>,
    ) -> Result<(), DecodeError> {
        let all = bitmaps.iter().fold(0, |all, bitmap| all | bitmap);
        for number in numbers(first, all) {
            Self::decode_facets(number, bitmaps, None, unknown, decoder, |_, _| Ok(()))?;
        }
        Ok(())
    }

    /// Reads all that a field is: what is known by `read`, which is told in which structs it is.
    fn decode_facets(
        number: u32,
        bitmaps: &[u64],
        known: Option<Facet>,
        unknown: &mut Vec<Self>,
        decoder: &mut Decoder<'_>,
        mut read: impl FnMut(&[usize], &mut Decoder<'_>) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let has_it = |(place, bitmap): (usize, &u64)| (bitmap >> number & 1 == 1).then_some(place);
        let there: Vec<usize> = bitmaps.iter().enumerate().filter_map(has_it).collect();
        if there.is_empty() {
            return Ok(());
        }
        let at = decoder.at();
        let refused = || DecodeError::Expected { what: "what a field is", at };
        let facets = Facet::read(decoder)?;
        // In which of the structs it is each thing.
        let mut of_facets: Vec<Vec<usize>> = Vec::with_capacity(facets.len());
        if facets.len() > 1 {
            let mut is_any = vec![false; there.len()];
            for _ in &facets {
                let has_it = decoder.ints(there.len())?;
                if has_it.iter().any(|has_it| *has_it > 1) || !has_it.contains(&1) {
                    return Err(refused());
                }
                is_any.iter_mut().zip(&has_it).for_each(|(is_any, has_it)| *is_any |= *has_it == 1);
                let with = there.iter().zip(&has_it).filter(|(_, has_it)| **has_it == 1);
                let with: Vec<usize> = with.map(|(place, _)| *place).collect();
                decoder.room::<usize>(with.len())?;
                of_facets.push(with);
            }
            if is_any.contains(&false) {
                return Err(refused());
            }
        } else {
            of_facets.push(there);
        }
        for (facet, places) in facets.into_iter().zip(of_facets) {
            if known == Some(facet) {
                read(&places, decoder)?;
                continue;
            }
            decoder.room::<([Field; 2], Fields)>(places.len())?;
            let nodes = Node::decode_shape(facet.shape(), places.len(), decoder)?;
            for (place, node) in places.into_iter().zip(nodes) {
                if node.is_bottom() {
                    return Err(refused());
                }
                if unknown.is_empty() {
                    unknown.resize_with(bitmaps.len(), Self::default);
                }
                let fields = &mut unknown[place].fields.get_or_insert_default().0;
                // One is nearly always all there will be.
                fields.reserve_exact(usize::from(fields.is_empty()));
                fields.push(Field { number, facet, node });
            }
        }
        Ok(())
    }

    /// What is live in a field that this release knows, and in what else others know it as.
    #[doc(hidden)]
    pub fn canonical_field<T: Crdt>(
        &self,
        (number, name): (u32, &str),
        known: &T,
        canonical: &mut Canonical<'_>,
    ) {
        let write = |canonical: &mut Canonical<'_>| known.canonical(canonical);
        let facet = Facet::new(T::SHAPE, name);
        self.canonical_facets(number, known.is_live().then_some((facet, &write)), canonical);
    }

    /// What is live in all fields from a number on, none of which this release knows.
    #[doc(hidden)]
    pub fn canonical_from(&self, first: u32, canonical: &mut Canonical<'_>) {
        numbers(first, self.live()).for_each(|number| self.canonical_facets(number, None, canonical));
    }

    fn canonical_facets(&self, number: u32, known: Option<Live<'_>>, canonical: &mut Canonical<'_>) {
        let live = self.held(number).filter(|field| field.node.is_live());
        let mut facets: SmallVec<[(Facet, Option<&Node>); FEW_FACETS]> =
            live.map(|field| (field.facet, Some(&field.node))).collect();
        facets.extend(known.map(|(facet, _)| (facet, None)));
        facets.sort_unstable_by_key(|(facet, _)| *facet);
        let last = facets.len().saturating_sub(1);
        for (place, (facet, node)) in facets.into_iter().enumerate() {
            canonical.uint(u64::from(facet.number()) << 1 | u64::from(place < last));
            match (node, known) {
                (Some(node), _) => node.canonical(canonical),
                (None, Some((_, write))) => write(canonical),
                (None, None) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::events::Events;
    use crate::wire::limits::Limits;
    use crate::wire::shape::Shape;

    /// Reads a field of two structs that is two things, which says of each in which of them it is, and then ends.
    fn read(has_it: [[u64; 2]; 2]) -> Result<(), DecodeError> {
        let mut facets = ["name", "seen"].map(|name| Facet::new(Shape::FLAG, name));
        facets.sort_unstable();
        let mut encoder = Encoder::new(Vec::new(), Events::default());
        Facet::write(&facets, &mut encoder);
        has_it.iter().for_each(|has_it| encoder.ints(has_it));
        let bytes = encoder.finish().map(|(bytes, _)| bytes).unwrap_or_default();
        let limits = Limits::default();
        let mut decoder = Decoder::new(&bytes, &limits)?;
        UnknownFields::decode_from(0, &[1, 1], &mut Vec::new(), &mut decoder)
    }

    #[test]
    fn each_struct_is_something_and_each_thing_is_somewhere() {
        let refused = Err(DecodeError::Expected { what: "what a field is", at: 0 });
        for has_it in
            [[[2, 1], [1, 1]], [[1, 1], [1, 2]], [[0, 0], [1, 1]], [[1, 1], [0, 0]], [[1, 0], [1, 0]]]
        {
            assert_eq!(read(has_it), refused, "{has_it:?}");
        }
        for has_it in [[[1, 0], [0, 1]], [[1, 1], [0, 1]]] {
            assert_ne!(read(has_it), refused, "{has_it:?}");
        }
    }
}
