//! Messages and states as JSON, as `README.md` beside this file defines it.

use std::collections::BTreeMap;

use driftless::{Crdt, Float, Kind, Replica, ReplicaId, Timestamp, Value, VersionVector};
use driftless_testkit::oracle::{Item, Payload, Place};
use driftless_testkit::schema::Schema;
use driftless_testkit::subject::Canonical;
use driftless_testkit::wire::{Dot, Message, Part};
use serde_json::{Map, Value as Json, json};

/// What messages hold that one reader is sent, one after the other.
pub(crate) fn messages(messages: &[Vec<u8>], schema: &Schema) -> Result<Json, String> {
    let mut known: Vec<ReplicaId> = Vec::new();
    let mut shown = Vec::new();
    for bytes in messages {
        let message = Message::read_as(bytes, &known, schema)?;
        known.extend(&message.ids);
        known.sort_unstable();
        known.dedup();
        shown.push(of_message(&message));
    }
    Ok(Json::Array(shown))
}

fn of_message(message: &Message) -> Json {
    let chunk = message.chunk.map(|chunk| {
        json!({ "index": chunk.index, "last": chunk.is_last, "follows": format!("{:016x}", chunk.follows) })
    });
    let ids = message.ids.iter().enumerate().map(|(place, id)| {
        let form = if place < message.named { "full" } else { "short" };
        let stamp = |vector: &VersionVector| vector.get(id).to_string();
        let mut shown = json!({ "id": id.to_string(), "form": form });
        shown["from"] = json!(stamp(&message.from));
        shown["to"] = json!(stamp(&message.to));
        if let Some(cut) = &message.cut {
            shown["cut"] = json!(stamp(cut));
        }
        shown
    });
    let cells = |parts| in_order(parts, |part| of_part(part, &message.ids));
    let mut shown = json!({
        "version": if message.closed.is_some() { 3 } else { 2 },
        "complete": message.cut.is_some(),
        "chunk": chunk,
        "ids": ids.collect::<Vec<_>>(),
        "cells": cells(&message.parts),
    });
    if let Some(closed) = message.closed {
        shown["closed"] = json!(closed);
        shown["system"] = cells(&message.system);
    }
    shown
}

/// What stands at each path, ordered by the compact JSON of the path.
fn in_order<T>(places: &BTreeMap<Place, T>, show: impl Fn(&T) -> Map<String, Json>) -> Json {
    let shown = places.iter().map(|(place, what)| {
        let path: Json = place.iter().map(of_item).collect();
        let mut cell = Map::from_iter([("path".to_owned(), path.clone())]);
        cell.append(&mut show(what));
        (path.to_string(), Json::Object(cell))
    });
    shown.collect::<BTreeMap<_, _>>().into_values().collect()
}

fn of_item(item: &Item) -> Json {
    match item {
        Item::Field(name) => json!({ "field": name }),
        Item::Unknown { field, facet } => json!({ "field": field, "facet": facet }),
        Item::Key(key) => json!({ "key": of_value(key) }),
        Item::Kind(kind) => json!({
            "kind": match kind {
                Kind::Register => "register",
                Kind::Values => "values",
                Kind::Set => "set",
                Kind::Counter => "counter",
                Kind::Flag => "flag",
                _ => "map",
            }
        }),
    }
}

/// A value, with all that JSON cannot tell apart.
fn of_value(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::Float(Float(value)) => json!({ "float": format!("{:016x}", value.to_bits()) }),
        Value::Text(text) => json!(text),
        Value::Bytes(bytes) => {
            json!({ "bytes": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() })
        }
        Value::Uuid(uuid) => json!({ "uuid": uuid.to_string() }),
        Value::List(values) => values.iter().map(of_value).collect(),
        Value::Map(entries) => {
            let entries = entries.iter().map(|(name, value)| json!([name, of_value(value)]));
            json!({ "map": entries.collect::<Vec<_>>() })
        }
    }
}

fn of_part(part: &Part, ids: &[ReplicaId]) -> Map<String, Json> {
    let place =
        |id: &ReplicaId| ids.iter().position(|other| other == id).expect("each author is in the table");
    let dot = |(id, stamp): &Dot| json!(format!("{stamp}@{}", place(id)));
    let dots = |dots: Vec<&Dot>, show: &dyn Fn(&Dot) -> Json| {
        let mut dots = dots;
        dots.sort_unstable_by_key(|(id, stamp)| (place(id), *stamp));
        dots.into_iter().map(show).collect::<Vec<_>>()
    };
    let live = |key: &Dot| {
        let (payload, run) = &part.live[key];
        let mut entry = json!({ "dot": dot(key) });
        match payload {
            Payload::Value(value) => entry["value"] = of_value(value),
            Payload::Count(total) => entry["total"] = json!(total),
            Payload::On => {}
        }
        if let Some(run) = run {
            entry["run"] = json!(run.to_string());
        }
        entry
    };
    let removed = |key: &Dot| json!({ "dot": dot(key), "total": part.removed[key] });
    let lists = [
        ("floor", dots(part.floor.iter().collect(), &dot)),
        ("live", dots(part.live.keys().collect(), &live)),
        ("marks", dots(part.marks.iter().collect(), &dot)),
        ("removed", dots(part.removed.keys().collect(), &removed)),
    ];
    let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
    lists.map(|(name, list)| (name.to_owned(), Json::Array(list))).collect()
}

/// What a replica holds: its vector, the digest, and what is live.
pub(crate) fn state<S: Crdt>(replica: &Replica<S>, schema: &Schema) -> Result<Json, String> {
    let bytes = replica.canonical_bytes();
    let live = Canonical::live_by(&bytes, |canonical, place, live| schema.parse(canonical, place, live))?;
    let by_and_at =
        |id: &ReplicaId, stamp: &Timestamp| json!({ "by": id.to_string(), "at": stamp.to_string() });
    let vector: Map<_, _> =
        replica.vector().iter().map(|(id, stamp)| (id.to_string(), json!(stamp.to_string()))).collect();
    let live = in_order(&live, |entries| {
        let entries = entries.iter().map(|entry| {
            let mut shown = by_and_at(&entry.author, &entry.stamp);
            match &entry.payload {
                Payload::Value(value) => shown["value"] = of_value(value),
                Payload::Count(count) => shown["count"] = json!(count),
                Payload::On => {}
            }
            shown
        });
        Map::from_iter([("live".to_owned(), entries.collect())])
    });
    Ok(json!({ "vector": vector, "digest": replica.digest().to_string(), "live": live }))
}
