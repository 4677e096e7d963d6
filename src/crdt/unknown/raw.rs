//! A plain value of which nobody here knows the type.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, SerializeMap, SerializeSeq, Serializer};
use serde::{Deserialize, Serialize};

use crate::crdt::value::{Blob, ByteBuf};

/// Any plain value: what it is written as, in MessagePack. It is equal to what is written alike.
///
/// It is read and written through serde as values of any type are, so that the code which holds, merges and ships values need not
/// know of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Raw(Box<[u8]>);

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Raw({:02x?})", self.0)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = rmp_serde::to_vec(&Passed::new(deserializer)).map_err(D::Error::custom)?;
        Ok(Self(bytes.into()))
    }
}

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut deserializer = rmp_serde::Deserializer::from_read_ref(&*self.0);
        deserializer.deserialize_any(Passing(serializer)).map_err(S::Error::custom)
    }
}

/// What a deserializer has to give, to be serialized once.
struct Passed<D>(Cell<Option<D>>);

impl<D> Passed<D> {
    fn new(deserializer: D) -> Self {
        Self(Cell::new(Some(deserializer)))
    }
}

impl<'de, D: Deserializer<'de>> Serialize for Passed<D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let deserializer = self.0.take().ok_or_else(|| S::Error::custom("a value can be passed on once"))?;
        deserializer.deserialize_any(Passing(serializer)).map_err(S::Error::custom)
    }
}

/// Hands what it visits to a serializer.
struct Passing<S>(S);

macro_rules! pass {
    ($($visit:ident $type:ty => $serialize:ident;)+) => {
        $(fn $visit<E: serde::de::Error>(self, value: $type) -> Result<S::Ok, E> {
            self.0.$serialize(value).map_err(E::custom)
        })+
    };
}

impl<'de, S: Serializer> Visitor<'de> for Passing<S> {
    type Value = S::Ok;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    pass! {
        visit_bool bool => serialize_bool;
        visit_i64 i64 => serialize_i64;
        visit_u64 u64 => serialize_u64;
        visit_f32 f32 => serialize_f32;
        visit_f64 f64 => serialize_f64;
        visit_str &str => serialize_str;
        visit_bytes &[u8] => serialize_bytes;
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<S::Ok, E> {
        self.0.serialize_unit().map_err(E::custom)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<S::Ok, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Ok, D::Error> {
        deserializer.deserialize_any(self)
    }

    /// An extension type.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Ok, D::Error> {
        let (of, bytes) = <(i8, ByteBuf)>::deserialize(deserializer)?;
        self.0
            .serialize_newtype_struct(rmp_serde::MSGPACK_EXT_STRUCT_NAME, &(of, Blob(&bytes.0)))
            .map_err(D::Error::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<S::Ok, A::Error> {
        let mut list = self.0.serialize_seq(access.size_hint()).map_err(A::Error::custom)?;
        while access.next_element_seed(Element(&mut list))?.is_some() {}
        list.end().map_err(A::Error::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<S::Ok, A::Error> {
        let mut map = self.0.serialize_map(access.size_hint()).map_err(A::Error::custom)?;
        while access.next_key_seed(Name(&mut map))?.is_some() {
            access.next_value_seed(Named(&mut map))?;
        }
        map.end().map_err(A::Error::custom)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<S::Ok, A::Error> {
        Err(A::Error::custom("an enum that does not say what it is written as"))
    }
}

macro_rules! seed {
    ($name:ident: $compound:ident $method:ident) => {
        struct $name<'a, C>(&'a mut C);

        impl<'de, C: $compound> DeserializeSeed<'de> for $name<'_, C> {
            type Value = ();

            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
                self.0.$method(&Passed::new(deserializer)).map_err(D::Error::custom)
            }
        }
    };
}

seed!(Element: SerializeSeq serialize_element);
seed!(Name: SerializeMap serialize_key);
seed!(Named: SerializeMap serialize_value);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::crdt::value::Value;

    fn bytes_of<T: Serialize>(value: &T) -> Vec<u8> {
        rmp_serde::to_vec(value).unwrap_or_default()
    }

    /// Read as nobody knows what, and written again.
    fn again(bytes: &[u8]) -> Vec<u8> {
        let raw: Raw = rmp_serde::from_slice(bytes).unwrap_or_else(|error| panic!("{bytes:02x?}: {error}"));
        bytes_of(&raw)
    }

    #[derive(Serialize)]
    enum Price {
        Free,
        Cents(u32),
        Between { least: f32, most: f64 },
    }

    #[test]
    fn what_is_written_in_any_type_is_written_again_as_it_was() {
        let prices = (Price::Free, Price::Cents(2_900), Price::Between { least: 0.1, most: 0.1 });
        let id = Value::Uuid(uuid::Uuid::from_u128(7));
        let map = BTreeMap::from([(3_u8, Some('c')), (200, None)]);
        for bytes in [
            bytes_of(&prices),
            bytes_of(&(u64::MAX, i64::MIN, -1_i8, 128_u8, ())),
            bytes_of(&("text".repeat(20), vec![1_u32; 70_000])),
            bytes_of(&[id.clone(), Value::Bytes(vec![0; 300]), Value::List(vec![id])]),
            bytes_of(&map),
            // Extension types of all lengths.
            vec![0xd4, 5, 1],
            [&[0xc7, 3, 0xff][..], &[1, 2, 3]].concat(),
            vec![0xc0],
        ] {
            assert_eq!(again(&bytes), bytes);
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,40}".prop_map(Value::from),
            any::<Vec<u8>>().prop_map(Value::Bytes),
            any::<u128>().prop_map(|id| Value::Uuid(uuid::Uuid::from_u128(id))),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(Value::List),
                prop::collection::btree_map(".{0,4}", inner, 0..20).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_value_is_written_again_as_it_was(value in value()) {
            prop_assert_eq!(again(&bytes_of(&value)), bytes_of(&value));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            if let Ok(raw) = rmp_serde::from_slice::<Raw>(&bytes) {
                prop_assert_eq!(again(&bytes_of(&raw)), bytes_of(&raw));
            }
        }
    }
}
