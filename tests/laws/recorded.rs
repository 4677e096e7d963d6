//! The oracle is put to the test as well: it must agree with the recorded histories, whose states another oracle made.

use std::fs;
use std::path::Path;

use driftless::{Kind, Timestamp, Value, VersionVector};
use driftless_testkit::json;
use driftless_testkit::oracle::{Item, Live, Oracle, Payload, Place, Transaction};
use driftless_testkit::trace::{Op, Step, Trace, What};
use serde_json::{Map, Value as Json};

/// A replica of the oracle: what it has seen, and its clock.
#[derive(Clone, Default)]
struct Seen {
    vector: VersionVector,
    last: Timestamp,
}

fn write(transaction: &mut Transaction<'_>, Op { path, what }: &Op) {
    let (kind, payload) = match what {
        What::Set(value) => (Kind::Register, Some(Payload::Value(value.clone()))),
        What::Assign(value) => (Kind::Values, Some(Payload::Value(value.clone()))),
        What::Add(_) => (Kind::Set, Some(Payload::On)),
        What::Remove(_) => (Kind::Set, None),
        What::Increment(by) => (Kind::Counter, Some(Payload::Count(*by))),
        What::Enable => (Kind::Flag, Some(Payload::On)),
        What::Disable => (Kind::Flag, None),
        What::Delete => (Kind::Map, None),
    };
    let mut place = Place::new();
    for name in path {
        place.extend([Item::Key(Value::from(name.as_str())), Item::Kind(Kind::Map)]);
    }
    place.pop();
    if !matches!(what, What::Delete) {
        place.push(Item::Kind(kind));
    }
    if let What::Add(element) | What::Remove(element) = what {
        place.push(Item::Key(element.clone()));
    }
    match payload {
        Some(payload) => transaction.write(&place, payload),
        None => drop(transaction.remove(&place)),
    }
}

/// What is live as the traces show it.
fn shown(live: &Live) -> Json {
    let mut root = Json::Object(Map::new());
    let mut sets: Vec<(Vec<String>, Vec<Value>)> = Vec::new();
    for (place, entries) in live {
        let names = place.iter().filter_map(|item| match item {
            Item::Key(Value::Text(name)) => Some(name.clone()),
            _ => None,
        });
        let is_element = matches!(&place[..], [.., Item::Kind(Kind::Set), Item::Key(_)]);
        let depth = place.iter().filter(|item| matches!(item, Item::Kind(_))).count();
        let path: Vec<String> = names.take(depth).collect();
        let mut values = entries.iter().filter_map(|entry| match &entry.payload {
            Payload::Value(value) => Some(value),
            Payload::On | Payload::Count(_) => None,
        });
        let sum = entries.iter().map(|entry| if let Payload::Count(sum) = entry.payload { sum } else { 0 });
        let state = match place.last() {
            Some(Item::Kind(Kind::Register)) => values.next_back().map_or(Json::Null, json::of_value),
            Some(Item::Kind(Kind::Values)) => json::of_values(values),
            Some(Item::Kind(Kind::Counter)) => Json::from(sum.sum::<i64>()),
            Some(Item::Key(element)) if is_element => {
                let place = sets.iter().position(|(other, _)| *other == path).unwrap_or(sets.len());
                sets.resize(sets.len().max(place + 1), (path.clone(), Vec::new()));
                sets[place].1.push(element.clone());
                json::of_values(&sets[place].1)
            }
            _ => Json::Bool(true),
        };
        let mut node = &mut root;
        for name in &path {
            node =
                node.as_object_mut().unwrap().entry(name.clone()).or_insert_with(|| Json::Object(Map::new()));
        }
        *node = state;
    }
    root
}

#[test]
fn the_oracle_agrees_with_the_recorded_states() {
    for number in 1..=40 {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/traces/trace-{number:02}.json"));
        let trace = Trace::parse(&fs::read_to_string(file).unwrap()).unwrap();
        let mut oracle = Oracle::default();
        let mut replicas = vec![Seen::default(); trace.replicas.len()];
        for step in &trace.steps {
            match step {
                Step::Write { at, now_ms, ops } => {
                    let (Seen { vector, last }, id) = (&mut replicas[*at], trace.replicas[*at].1);
                    let stamp = Timestamp::from_bits((now_ms << 16).max(last.bits() + 1));
                    let mut transaction = oracle.transaction(id, stamp, vector.clone());
                    ops.iter().for_each(|op| write(&mut transaction, op));
                    if transaction.has_events() {
                        vector.raise(id, stamp);
                        *last = stamp;
                    }
                }
                Step::Sync { from, to } => {
                    let vector = replicas[*from].vector.clone();
                    let receiver = &mut replicas[*to];
                    receiver.last = receiver.last.max(vector.newest());
                    receiver.vector.join(&vector);
                }
            }
        }
        let expected = trace.expected.unwrap();
        let mut all = VersionVector::new();
        for ((name, _), Seen { vector, .. }) in trace.replicas.iter().zip(&replicas) {
            assert_eq!(shown(&oracle.live(vector)), expected.diverged[name], "trace {number}, {name}");
            all.join(vector);
        }
        assert_eq!(shown(&oracle.live(&all)), expected.converged, "trace {number}");
    }
}
