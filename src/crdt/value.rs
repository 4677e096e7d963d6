//! Values whose shape is not known at compile time.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::crdt::DatumFrom;

/// The MessagePack extension type of a UUID.
const UUID_EXTENSION: i8 = 1;

/// A floating-point number with a total order: −NaN < −∞ < … < −0.0 < 0.0 < … < ∞ < NaN. Two are equal if their bits are,
/// so that each can be a key or an element of a set, and no replica reads another's number differently.
///
/// Source: IEEE 754-2008, section 5.10, `totalOrder`.
///
/// # Example
/// ```
/// use driftless::Float;
///
/// assert!(Float(-0.0) < Float(0.0) && Float(1e300) < Float(f64::NAN));
/// assert_eq!(Float(f64::NAN), Float::from(f64::NAN));
/// assert_eq!(f64::from(Float(0.5)), 0.5);
/// ```
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Float(pub f64);

impl PartialEq for Float {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Float {}

impl PartialOrd for Float {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Float {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Hash for Float {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl From<f64> for Float {
    fn from(number: f64) -> Self {
        Self(number)
    }
}

impl From<Float> for f64 {
    fn from(number: Float) -> Self {
        number.0
    }
}

impl fmt::Display for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A value of any shape: what a [`Document`](crate::Document) holds, and how changes are shown.
///
/// Values order by kind, in the order below, then within the kind. Integers and floats are never equal. It is made from
/// plain values with `From`, shown as JSON, and read and written by serde in any self-describing format; where that has no
/// UUIDs or bytes (JSON), they come back as text or a list.
///
/// The kinds are all there are in this version of the [wire format](crate::Delta): one more would be a new version.
///
/// # Example
/// ```
/// use driftless::Value;
///
/// let value = Value::from(vec![Value::from(1), Value::from("a"), Value::from(0.5), Value::Null]);
/// assert_eq!(value.to_string(), r#"[1,"a",0.5,null]"#);
/// assert!(Value::from(None::<i64>).is_null());
/// assert_eq!((value.depth(), Value::from(1).depth()), (1, 0));
/// match value {
///     Value::List(values) => assert!(values[0] < values[1], "integers come before texts"),
///     other => println!("no list: {other}"),
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Nothing, as a value: a register that holds it was written.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A signed 64-bit integer.
    Int(i64),
    /// A 64-bit float, ordered totally.
    Float(Float),
    /// UTF-8 text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A UUID.
    Uuid(Uuid),
    /// Values in order. Merged as one: concurrent writes of a list do not mix.
    List(Vec<Value>),
    /// Values by name. Merged as one; for a map that merges name by name use a nested map of the document.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// How a plain value shows itself: as it is shipped, so a struct as the list of its fields. What no `Value` can show (an
    /// integer beyond 64 signed bits, a map whose keys are no text) is shown as the bytes of its MessagePack; what cannot be
    /// serialized, as the text of that error. [Changes](crate::Change) show keys and values in this way.
    ///
    /// # Example
    /// ```
    /// use driftless::Value;
    ///
    /// assert_eq!(Value::of(&("Ada", 36_u8)), Value::from(vec![Value::from("Ada"), Value::from(36)]));
    /// assert!(matches!(Value::of(&u64::MAX), Value::Bytes(_)));
    /// ```
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Self {
        match rmp_serde::to_vec(value) {
            Ok(bytes) => rmp_serde::from_slice(&bytes).unwrap_or(Self::Bytes(bytes)),
            Err(error) => Self::Text(error.to_string()),
        }
    }

    /// The levels of lists and maps within; 0 for what is neither.
    pub fn depth(&self) -> usize {
        match self {
            Self::List(values) => 1 + values.iter().map(Self::depth).max().unwrap_or(0),
            Self::Map(entries) => 1 + entries.values().map(Self::depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// Whether it is [`Value::Null`].
    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }
}

impl fmt::Display for Value {
    /// Compact JSON, with bytes in hexadecimal and UUIDs as text; `NaN` and `inf`, for which JSON has nothing, as Rust shows
    /// them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(Float(value)) => write!(f, "{value:?}"),
            Self::Text(text) => write_text(f, text),
            Self::Bytes(bytes) => {
                f.write_str("\"")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str("\"")
            }
            Self::Uuid(uuid) => write!(f, "\"{uuid}\""),
            Self::List(values) => {
                f.write_str("[")?;
                for (place, value) in values.iter().enumerate() {
                    f.write_str(if place == 0 { "" } else { "," })?;
                    fmt::Display::fmt(value, f)?;
                }
                f.write_str("]")
            }
            Self::Map(entries) => {
                f.write_str("{")?;
                for (place, (name, value)) in entries.iter().enumerate() {
                    f.write_str(if place == 0 { "" } else { "," })?;
                    write_text(f, name)?;
                    write!(f, ":{value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for char in text.chars() {
        match char {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            control if control < ' ' => write!(f, "\\u{:04x}", control as u32)?,
            other => write!(f, "{other}")?,
        }
    }
    f.write_str("\"")
}

macro_rules! from {
    ($($kind:ident: $($type:ty),+;)+) => {$($(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$kind(value.into())
            }
        }

        impl DatumFrom<$type> for Value {
            fn datum_from(value: $type) -> Self {
                value.into()
            }
        }
    )+)+};
}

from! {
    Bool: bool;
    Int: i64, i32, i16, i8, u32, u16, u8;
    Float: f64;
    Text: String, &str;
    Bytes: Vec<u8>, &[u8];
    Uuid: Uuid;
    List: Vec<Value>;
    Map: BTreeMap<String, Value>;
}

impl<T: Into<Value>> DatumFrom<Option<T>> for Value {
    fn datum_from(value: Option<T>) -> Self {
        value.into()
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Bytes that serde writes as bytes, not as a list of numbers.
pub(crate) struct Blob<'a>(pub(crate) &'a [u8]);

impl Serialize for Blob<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Float(Float(value)) => serializer.serialize_f64(*value),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::Uuid(uuid) if serializer.is_human_readable() => serializer.collect_str(uuid),
            Self::Uuid(uuid) => serializer.serialize_newtype_struct(
                rmp_serde::MSGPACK_EXT_STRUCT_NAME,
                &(UUID_EXTENSION, Blob(uuid.as_bytes())),
            ),
            Self::List(values) => serializer.collect_seq(values),
            Self::Map(entries) => serializer.collect_map(entries),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, a bool, a 64-bit number, text, bytes, a UUID, a list or a map with names as keys")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        let value = i64::try_from(value).map_err(|_| E::custom("an integer beyond 64 signed bits"))?;
        Ok(Value::Int(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(Float(value)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(bytes.to_vec()))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(bytes))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let (extension, bytes) = <(i8, ByteBuf)>::deserialize(deserializer)?;
        if extension != UUID_EXTENSION {
            return Err(D::Error::custom("an extension type that is no UUID"));
        }
        let uuid = Uuid::from_slice(&bytes.0).map_err(D::Error::custom)?;
        Ok(Value::Uuid(uuid))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        // A length is believed as far as it costs little; lists of that length are not copied as they grow.
        let mut values = Vec::with_capacity(access.size_hint().unwrap_or_default().min(BELIEVED));
        while let Some(value) = access.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some((name, value)) = access.next_entry::<String, Value>()? {
            if entries.insert(name, value).is_some() {
                return Err(A::Error::custom("a name that stands twice"));
            }
        }
        Ok(Value::Map(entries))
    }
}

/// The greatest length of a list that memory is taken for in advance.
const BELIEVED: usize = 1024;

/// Bytes, however serde brings them.
pub(crate) struct ByteBuf(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for ByteBuf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = ByteBuf;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<ByteBuf, E> {
                Ok(ByteBuf(bytes.to_vec()))
            }
        }

        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer;

    use super::*;

    fn round(value: &Value) -> Value {
        rmp_serde::from_slice(&rmp_serde::to_vec(value).unwrap()).unwrap()
    }

    #[test]
    fn every_kind_round_trips_bit_for_bit() {
        let values = vec![
            Value::Null,
            Value::from(true),
            Value::from(i64::MIN),
            Value::from(i64::MAX),
            Value::from(-0.0),
            Value::from(f64::from_bits(0x7FF8_0000_0000_0001)),
            Value::from("é中"),
            Value::from(vec![0_u8, 255]),
            Value::from(Uuid::from_u128(7)),
            Value::from(BTreeMap::from([("a".to_owned(), Value::List(vec![Value::Null]))])),
        ];
        for value in &values {
            assert_eq!(round(value), *value);
        }
        assert_eq!(round(&Value::List(values.clone())), Value::List(values));
    }

    /// As formats show values that are not the wire's: in another way, or owned.
    #[test]
    fn any_format_that_describes_itself_can_be_read() {
        type Read = Result<Value, serde::de::value::Error>;
        let text = Value::from("x");
        let of_string: Read = Value::deserialize("x".to_owned().into_deserializer());
        assert_eq!(of_string, Ok(text.clone()));
        let of_some: Read = AnyValue.visit_some("x".into_deserializer());
        assert_eq!(of_some, Ok(text));
        let of_bytes: Read = AnyValue.visit_byte_buf(vec![1, 2]);
        assert_eq!(of_bytes, Ok(Value::Bytes(vec![1, 2])));
        let refused: Read = Value::deserialize(7_i128.into_deserializer());
        assert!(refused.unwrap_err().to_string().contains("expected null, a bool, a 64-bit number"));
        let (uuid, mut shown) = (Uuid::from_u128(7), Vec::new());
        let mut readable = rmp_serde::Serializer::new(&mut shown).with_human_readable();
        Value::from(uuid).serialize(&mut readable).unwrap();
        assert_eq!(rmp_serde::from_slice::<String>(&shown).unwrap(), uuid.to_string());
    }

    #[test]
    fn depth_counts_lists_and_maps_and_json_separates_and_escapes() {
        let map = |entries: &[(&str, Value)]| {
            Value::Map(entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
        };
        let list = Value::List(vec![Value::Null, map(&[("a", Value::from(1)), ("b", Value::List(vec![]))])]);
        assert_eq!(
            [&Value::Null, &list, &map(&[]), &map(&[("x", list.clone())])].map(Value::depth),
            [0, 3, 1, 4]
        );
        assert_eq!(list.to_string(), r#"[null,{"a":1,"b":[]}]"#);
        assert_eq!(Value::from("\u{1f} \"\\\n").to_string(), r#""\u001f \"\\\n""#);
    }

    #[test]
    fn equal_floats_hash_equally_and_others_do_not() {
        use std::hash::BuildHasher;
        let hash = |float: f64| foldhash::fast::FixedState::default().hash_one(Float(float));
        assert_eq!(hash(0.5), hash(0.5));
        assert_ne!(hash(0.5), hash(0.25));
        assert_ne!(hash(0.0), hash(-0.0));
        assert_eq!((f64::from(Float(0.5)), Float(0.5).to_string()), (0.5, "0.5".to_owned()));
        assert_eq!([Value::from(Some(1)), Value::from(None::<i64>)], [Value::Int(1), Value::Null]);
    }

    #[test]
    fn floats_have_a_total_order_in_which_both_zeros_and_all_nans_have_a_place() {
        let mut floats = [f64::NAN, 0.0, -0.0, f64::NEG_INFINITY, 1.0, -f64::NAN].map(Float);
        floats.sort();
        let bits = floats.map(|float| float.0.to_bits());
        let expected = [-f64::NAN, f64::NEG_INFINITY, -0.0, 0.0, 1.0, f64::NAN].map(f64::to_bits);
        assert_eq!(bits, expected);
        assert_ne!(Value::from(0.0), Value::from(-0.0));
        assert_eq!(Value::from(f64::NAN), Value::from(f64::NAN));
    }

    #[test]
    fn what_no_value_can_show_is_shown_as_bytes() {
        assert_eq!(Value::of(&7_u8), Value::Int(7));
        assert!(matches!(Value::of(&u64::MAX), Value::Bytes(_)));
    }
}
