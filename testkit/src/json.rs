//! Documents and values as JSON, and back.

use driftless::{Document, Float, Kind, Value};
use serde_json::Value as Json;

/// The value that JSON shows.
///
/// # Errors
/// A number is an integer beyond 64 signed bits.
pub fn to_value(json: &Json) -> Result<Value, String> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(int), _) => Value::Int(int),
            (None, Some(float)) if !number.is_u64() => Value::Float(Float(float)),
            _ => return Err(format!("the number {number} is beyond 64 signed bits")),
        },
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(values) => Value::List(values.iter().map(to_value).collect::<Result<_, _>>()?),
        Json::Object(entries) => {
            let entries = entries.iter().map(|(name, value)| Ok((name.clone(), to_value(value)?)));
            Value::Map(entries.collect::<Result<_, String>>()?)
        }
    })
}

/// How a value is shown in JSON: bytes in hexadecimal, a UUID as text, a float that is no number as null.
pub fn of_value(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::from(*value),
        Value::Int(value) => Json::from(*value),
        Value::Float(Float(value)) => Json::from(*value),
        Value::Text(text) => Json::from(text.as_str()),
        Value::Bytes(bytes) => Json::from(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        Value::Uuid(uuid) => Json::from(uuid.to_string()),
        Value::List(values) => values.iter().map(of_value).collect(),
        Value::Map(entries) => entries.iter().map(|(name, value)| (name.clone(), of_value(value))).collect(),
    }
}

/// A document as JSON: a register as its latest value; a multi-value register as its distinct values and a set as its
/// elements, both ordered by their compact JSON; a counter as its sum; a flag as `true`; a map as an object.
pub fn of_document(document: &Document) -> Json {
    let mut path = Vec::new();
    of_map(document, &mut path)
}

/// Values as a list without repeats, ordered by their compact JSON.
pub fn of_values<'a>(values: impl IntoIterator<Item = &'a Value>) -> Json {
    let mut values: Vec<_> = values.into_iter().map(of_value).map(|json| (json.to_string(), json)).collect();
    values.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    values.dedup_by(|(a, _), (b, _)| a == b);
    values.into_iter().map(|(_, json)| json).collect()
}

fn of_map(document: &Document, path: &mut Vec<String>) -> Json {
    let names: Vec<String> = document.names(path).into_iter().map(str::to_owned).collect();
    let entries = names.into_iter().filter_map(|name| {
        path.push(name.clone());
        let state = of_field(document, path);
        path.pop();
        Some((name, state?))
    });
    entries.collect()
}

/// The first kind that is live at a path.
fn of_field(document: &Document, path: &mut Vec<String>) -> Option<Json> {
    Some(match document.kinds(path).first()? {
        Kind::Register => of_value(document.get(path)?),
        Kind::Values => of_values(document.values(path)?.all()),
        Kind::Set => of_values(document.set_at(path)?.iter()),
        Kind::Counter => Json::from(document.counter(path)?.value()),
        Kind::Flag => Json::from(document.is_enabled(path)),
        Kind::Map => of_map(document, path),
        _ => return None,
    })
}
