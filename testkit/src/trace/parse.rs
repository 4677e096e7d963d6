//! Reading a trace from JSON.

use std::collections::BTreeMap;

use driftless::{ReplicaId, Value};
use serde_json::Value as Json;

use crate::json;
use crate::trace::{Op, States, Step, Trace, What};

pub(super) fn trace(text: &str) -> Result<Trace, String> {
    let json: Json = serde_json::from_str(text).map_err(|error| format!("the trace is no JSON: {error}"))?;
    let replicas = list(&json, "replicas")?.iter().map(replica).collect::<Result<Vec<_>, _>>()?;
    for (place, (name, id)) in replicas.iter().enumerate() {
        if replicas[..place].iter().any(|(other_name, other_id)| other_name == name || other_id == id) {
            return Err(format!("the replica {name:?}, or its id {id}, stands twice"));
        }
    }
    let mut steps = Vec::new();
    for (number, json) in (1..).zip(list(&json, "steps")?) {
        steps.push(step(json, &replicas).map_err(|error| format!("step {number}: {error}"))?);
    }
    let expected = json.get("expect").map(|json| states(json, &replicas));
    let expected = expected.transpose().map_err(|error| format!("expect: {error}"))?;
    Ok(Trace { replicas, steps, expected })
}

fn replica(json: &Json) -> Result<(String, ReplicaId), String> {
    let (name, id) = (text(json, "name")?, text(json, "id")?);
    let uuid = id.parse::<uuid::Uuid>().map_err(|error| format!("the id {id:?} is no UUID: {error}"))?;
    Ok((name.to_owned(), ReplicaId::new(uuid)))
}

fn step(json: &Json, replicas: &[(String, ReplicaId)]) -> Result<Step, String> {
    let place = |key| place_of(text(json, key)?, replicas);
    if text(json, "do")? == "sync" {
        return Ok(Step::Sync { from: place("from")?, to: place("to")? });
    }
    let ops = match text(json, "do")? {
        "txn" => list(json, "ops")?.iter().map(op).collect::<Result<_, _>>()?,
        _ => vec![op(json)?],
    };
    let now = field(json, "now")?;
    let now_ms = now.as_u64().ok_or_else(|| wrong(json, "now", "a number of milliseconds"))?;
    Ok(Step::Write { at: place("at")?, now_ms, ops })
}

fn op(json: &Json) -> Result<Op, String> {
    let what = match text(json, "do")? {
        "set" => What::Set(value(json)?),
        "assign" => What::Assign(value(json)?),
        "add" => What::Add(value(json)?),
        "remove" => What::Remove(value(json)?),
        "inc" => {
            let by = field(json, "by")?.as_i64();
            What::Increment(by.ok_or_else(|| wrong(json, "by", "a 64-bit integer"))?)
        }
        "enable" => What::Enable,
        "disable" => What::Disable,
        "delete" => What::Delete,
        other => return Err(format!("there is no operation {other:?}")),
    };
    let names = list(json, "path")?.iter().map(|name| name.as_str().map(str::to_owned));
    let path = names.collect::<Option<_>>().ok_or_else(|| wrong(json, "path", "a list of names"))?;
    Ok(Op { path, what })
}

fn states(json: &Json, replicas: &[(String, ReplicaId)]) -> Result<States, String> {
    let diverged = field(json, "diverged")?.as_object();
    let diverged = diverged.ok_or_else(|| wrong(json, "diverged", "an object"))?;
    for name in diverged.keys() {
        place_of(name, replicas)?;
    }
    let diverged: BTreeMap<_, _> =
        diverged.iter().map(|(name, state)| (name.clone(), state.clone())).collect();
    Ok(States { diverged, converged: field(json, "converged")?.clone() })
}

fn place_of(name: &str, replicas: &[(String, ReplicaId)]) -> Result<usize, String> {
    let place = replicas.iter().position(|(other, _)| other == name);
    place.ok_or_else(|| format!("there is no replica {name:?}"))
}

fn value(json: &Json) -> Result<Value, String> {
    json::to_value(field(json, "value")?)
}

fn text<'a>(json: &'a Json, key: &str) -> Result<&'a str, String> {
    field(json, key)?.as_str().ok_or_else(|| wrong(json, key, "text"))
}

fn list<'a>(json: &'a Json, key: &str) -> Result<&'a Vec<Json>, String> {
    field(json, key)?.as_array().ok_or_else(|| wrong(json, key, "a list"))
}

fn field<'a>(json: &'a Json, key: &str) -> Result<&'a Json, String> {
    json.get(key).ok_or_else(|| format!("the field {key:?} is missing"))
}

fn wrong(json: &Json, key: &str, expected: &str) -> String {
    format!("the field {key:?} must be {expected}, not {}", json.get(key).unwrap_or(&Json::Null))
}
