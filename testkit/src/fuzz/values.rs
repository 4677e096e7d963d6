//! Any bytes are a value, and every value survives serde.

use std::collections::BTreeMap;

use driftless::{Float, Value};
use uuid::Uuid;

use crate::fuzz::bytes::Bytes;

/// Reads a value.
pub(super) fn value(bytes: &mut Bytes<'_>, levels: usize) -> Value {
    match bytes.below(if levels == 0 { 8 } else { 12 }) {
        0 => Value::Null,
        1 => Value::Bool(bytes.below(2) == 1),
        2 => Value::Int([i64::MIN, i64::MAX, 0, -1, 1, 1 << 53, i64::from(i32::MIN), 255][bytes.below(8)]),
        3 => Value::Int(bits(bytes) as i64),
        4 => Value::Float(Float(special(bytes.below(8)))),
        5 => Value::Float(Float(f64::from_bits(bits(bytes)))),
        6 => Value::Text(text(bytes)),
        7 => match bytes.below(3) {
            0 => Value::Uuid(Uuid::from_u128(u128::from(bits(bytes)) << 64)),
            _ => {
                let len = bytes.below(40);
                Value::Bytes(bytes.take(len).to_vec())
            }
        },
        8 => Value::List((0..bytes.below(4)).map(|_| value(bytes, levels - 1)).collect()),
        9 => {
            let entries = (0..bytes.below(4)).map(|_| (text(bytes), value(bytes, levels - 1)));
            Value::Map(entries.collect())
        }
        10 => (0..depth(bytes)).fold(Value::Null, |value, _| Value::List(vec![value])),
        _ => {
            let name = text(bytes);
            let within = |value, _| Value::Map(BTreeMap::from([(name.clone(), value)]));
            (0..depth(bytes)).fold(Value::Null, within)
        }
    }
}

fn bits(bytes: &mut Bytes<'_>) -> u64 {
    bytes.take(8).iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

fn special(number: usize) -> f64 {
    let signalling = f64::from_bits(0x7FF0_0000_0000_0001);
    [f64::NAN, -f64::NAN, signalling, -0.0, f64::INFINITY, f64::NEG_INFINITY, 5e-324, 1e300][number]
}

/// Mostly few levels, at times as many as there may be, or too many.
pub(super) fn depth(bytes: &mut Bytes<'_>) -> usize {
    match bytes.byte() {
        few @ 0..128 => usize::from(few % 4),
        many => usize::from(many % 32) + 30,
    }
}

/// Reads a text: one of a few, so that names meet, or any.
pub(super) fn text(bytes: &mut Bytes<'_>) -> String {
    match bytes.byte() {
        few @ 0..160 => ["a", "b", "", "é中\u{10FFFF}", "\0\"\\\u{7f}\n"][usize::from(few % 5)].to_owned(),
        long @ 160..165 => "l".repeat([31, 32, 255, 256, 70_000][usize::from(long - 160)]),
        any => String::from_utf8_lossy(bytes.take(usize::from(any % 16))).into_owned(),
    }
}

/// Writes a value in every way there is, and reads it back.
pub(super) fn assert_survives(value: &Value) {
    let packed = rmp_serde::to_vec(value).expect("every value can be written");
    let read: Value = rmp_serde::from_slice(&packed).expect("every value can be read");
    assert_eq!(read, *value, "as MessagePack");
    assert_eq!(Value::of(value), *value);
    let text = serde_json::to_string(value).expect("every value can be written as JSON");
    let read: Value = serde_json::from_str(&text).expect("JSON of a value can be read");
    assert_eq!(
        read,
        as_json(value, &|bytes| Value::List(bytes.iter().map(|byte| Value::from(*byte)).collect()))
    );
    if is_finite(value) {
        let read: Value = serde_json::from_str(&value.to_string()).expect("a value is shown as JSON");
        let hex = |bytes: &[u8]| Value::Text(bytes.iter().map(|byte| format!("{byte:02x}")).collect());
        assert_eq!(read, as_json(value, &hex), "as shown");
    }
}

/// What is left of a value in JSON, which knows no bytes, no UUIDs and no infinite numbers.
fn as_json(value: &Value, blob: &impl Fn(&[u8]) -> Value) -> Value {
    match value {
        Value::Float(Float(number)) if !number.is_finite() => Value::Null,
        Value::Bytes(bytes) => blob(bytes),
        Value::Uuid(uuid) => Value::Text(uuid.to_string()),
        Value::List(values) => Value::List(values.iter().map(|value| as_json(value, blob)).collect()),
        Value::Map(entries) => {
            let entries = entries.iter().map(|(name, value)| (name.clone(), as_json(value, blob)));
            Value::Map(entries.collect())
        }
        plain => plain.clone(),
    }
}

fn is_finite(value: &Value) -> bool {
    match value {
        Value::Float(Float(number)) => number.is_finite(),
        Value::List(values) => values.iter().all(is_finite),
        Value::Map(entries) => entries.values().all(is_finite),
        _ => true,
    }
}
