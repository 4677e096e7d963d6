//! dson: a store for each document, its `OrMap` of registers; a single store of all documents would be walked through at each
//! join. It is written by the map's own methods: a transaction copies the store first. Bytes are serde's, by rmp-serde.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;

use dson::crdts::mvreg::MvRegValue;
use dson::crdts::snapshot::ToValue;
use dson::{CausalDotStore, Identifier, MvReg, OrMap};
use hashbrown::HashMap;
use uuid::Uuid;

use crate::contestant::{Contestant, Documents, Elements, Tagged};
use crate::data::{
    Change, Contents, Document, Field, Fields, Key, NAMES, Record, TagChange, Value, weight_of_flag,
    weight_of_number, weight_of_text,
};
use crate::rows::Row;

pub(crate) struct Dson;

impl Contestant for Dson {
    fn name(&self) -> &'static str {
        "dson"
    }

    fn documents(&self, id: u64) -> Box<dyn Documents> {
        Box::new(Map::new(id))
    }

    fn tagged(&self, id: u64) -> Option<Box<dyn Tagged>> {
        Some(Box::new(Map::new(id)))
    }

    fn elements(&self, id: u64) -> Option<Box<dyn Elements>> {
        Some(Box::new(Set { id: identifier(id), store: CausalDotStore::default() }))
    }

    fn note(&self, row: Row) -> Option<&'static str> {
        match row {
            Row::Changes => Some("messages are the deltas of the writes, which the application keeps"),
            Row::Regions => Some("its registers keep all concurrent values; the greatest is read"),
            Row::Snapshot => Some("a copy of all"),
            Row::Set => Some("a map from elements to registers, walked through for each batch"),
            _ => None,
        }
    }
}

fn identifier(id: u64) -> Identifier {
    Identifier::new((id % 256) as u8, 0)
}

type Store<K> = CausalDotStore<OrMap<K>>;

/// Joins deltas with each other, by halves, since a join costs what both sides hold.
fn joined<K: Hash + Eq + Debug + Clone>(mut deltas: Vec<Store<K>>) -> Store<K> {
    while deltas.len() > 1 {
        let mut all = deltas.into_iter();
        let mut halved = Vec::new();
        while let Some(mut delta) = all.next() {
            if let Some(next) = all.next() {
                delta.join_or_replace_with(next.store, &next.context);
            }
            halved.push(delta);
        }
        deltas = halved;
    }
    deltas.pop().unwrap_or_default()
}

fn input(value: &Value) -> MvRegValue {
    match value {
        Value::Name(text) | Value::Email(text) => MvRegValue::String(text.clone()),
        Value::Age(age) => MvRegValue::I64(*age),
        Value::Active(active) => MvRegValue::Bool(*active),
    }
}

fn weight(value: &MvRegValue) -> u64 {
    match value {
        MvRegValue::String(text) => weight_of_text(text),
        MvRegValue::I64(number) => weight_of_number(*number),
        MvRegValue::Bool(flag) => weight_of_flag(*flag),
        other => panic!("no field holds {other:?}"),
    }
}

/// The value that is read of a register: the only one, or the greatest of those written concurrently.
fn value_at<'a>(map: &'a OrMap<String>, name: &str) -> &'a MvRegValue {
    let register = &map.get(name).expect("all fields are written").reg;
    let values = register.values().into_iter();
    values
        .max_by_key(|value| match value {
            MvRegValue::String(text) => (text.as_str(), 0),
            MvRegValue::I64(number) => ("", *number),
            MvRegValue::Bool(flag) => ("", i64::from(*flag)),
            other => panic!("no field holds {other:?}"),
        })
        .expect("it holds a value")
}

fn fields(map: &OrMap<String>) -> Fields {
    let text = |name| match value_at(map, name) {
        MvRegValue::String(text) => text.clone(),
        other => panic!("{other:?} is no text"),
    };
    let MvRegValue::I64(age) = value_at(map, NAMES[2]) else { panic!("the age is a number") };
    let MvRegValue::Bool(active) = value_at(map, NAMES[3]) else { panic!("it is a flag") };
    Fields { name: text(NAMES[0]), email: text(NAMES[1]), age: *age, active: *active }
}

/// The keys of tags are apart from the names of the fields by what they begin with.
const TAG: char = '#';

struct Map {
    id: Identifier,
    documents: HashMap<Uuid, Store<String>>,
    deltas: Vec<(Uuid, Store<String>)>,
}

impl Map {
    fn new(id: u64) -> Self {
        Self { id: identifier(id), documents: HashMap::new(), deltas: Vec::new() }
    }

    /// Sets a register of a document; the delta.
    fn write(&mut self, id: Uuid, name: &str, value: MvRegValue) -> Store<String> {
        let document = self.documents.entry(id).or_default();
        let write = |register: &MvReg, context: &_, id| register.write(value, context, id);
        let delta = document.store.apply_to_register(write, name.to_owned(), &document.context, self.id);
        document.join_or_replace_with(delta.store.clone(), &delta.context);
        delta
    }

    /// Removes a register of a document; the delta.
    fn remove(&mut self, id: Uuid, name: &str) -> Store<String> {
        let document = self.documents.entry(id).or_default();
        let delta = document.store.remove(name, &document.context, self.id);
        document.join_or_replace_with(delta.store.clone(), &delta.context);
        delta
    }

    fn map(&self, id: &Uuid) -> &OrMap<String> {
        &self.documents[id].store
    }
}

impl Documents for Map {
    fn insert(&mut self, documents: &[Document<'_>]) {
        for Document { key, fields, tags } in documents {
            // Who has nothing yet is sent the full state: these deltas are not kept.
            for field in Field::ALL {
                drop(self.write(key.id, field.name(), input(&fields.value(field))));
            }
            for tag in *tags {
                drop(self.write(key.id, &format!("{TAG}{tag}"), MvRegValue::Bool(true)));
            }
        }
    }

    fn overwrite(&mut self, changes: &[Change<'_>]) {
        for Change { key, value } in changes {
            let delta = self.write(key.id, value.field().name(), input(value));
            self.deltas.push((key.id, delta));
        }
    }

    fn mark(&mut self) {
        self.deltas.clear();
    }

    fn delta(&mut self) -> Vec<u8> {
        rmp_serde::to_vec(&self.deltas).expect("plain values")
    }

    fn apply(&mut self, message: &[u8]) {
        let deltas: Vec<(Uuid, Store<String>)> = rmp_serde::from_slice(message).expect("a message of a peer");
        for (id, delta) in deltas {
            self.documents.entry(id).or_default().join_or_replace_with(delta.store, &delta.context);
        }
    }

    fn full(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        vec![("rmp-serde", rmp_serde::to_vec(&self.documents).expect("plain values"))]
    }

    fn load(&mut self, bytes: &[u8]) {
        self.documents = rmp_serde::from_slice(bytes).expect("what was saved");
    }

    fn read(&self, picks: &[(&Key, Field)]) -> u64 {
        picks.iter().map(|(key, field)| weight(value_at(self.map(&key.id), field.name()))).sum()
    }

    fn touch(&self) -> u64 {
        let all = self.documents.values();
        all.map(|account| NAMES.iter().map(|name| weight(value_at(&account.store, name))).sum::<u64>()).sum()
    }

    fn snapshot(&mut self) -> Option<Box<dyn Any>> {
        Some(Box::new(self.documents.clone()))
    }

    fn contents(&self) -> Contents {
        let record = |account: &OrMap<String>| {
            let tags = account.inner().keys().filter_map(|name| name.strip_prefix(TAG));
            let tags = tags.map(|tag| tag.parse().expect("tags are numbers")).collect();
            Record { fields: fields(account), tags }
        };
        self.documents.iter().map(|(id, account)| (*id, record(&account.store))).collect()
    }
}

impl Tagged for Map {
    fn tag(&mut self, changes: &[TagChange<'_>]) {
        for TagChange { key, tag, is_added } in changes {
            let name = format!("{TAG}{tag}");
            let delta = match is_added {
                true => self.write(key.id, &name, MvRegValue::Bool(true)),
                false => self.remove(key.id, &name),
            };
            self.deltas.push((key.id, delta));
        }
    }
}

struct Set {
    id: Identifier,
    store: Store<u64>,
}

impl Elements for Set {
    fn add(&mut self, elements: &[u64]) {
        let mut context = self.store.context.clone();
        let mut deltas = Vec::new();
        for element in elements {
            let write =
                |register: &MvReg, context: &_, id| register.write(MvRegValue::Bool(true), context, id);
            let delta = self.store.store.apply_to_register(write, *element, &context, self.id);
            context.union(&delta.context);
            deltas.push(delta);
        }
        let delta = joined(deltas);
        self.store.join_or_replace_with(delta.store, &delta.context);
    }

    fn remove(&mut self, elements: &[u64]) {
        let remove = |element| self.store.store.remove(element, &self.store.context, self.id);
        let delta = joined(elements.iter().map(remove).collect());
        self.store.join_or_replace_with(delta.store, &delta.context);
    }

    fn full(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        vec![("rmp-serde", rmp_serde::to_vec(&self.store).expect("plain values"))]
    }

    fn contents(&self) -> BTreeSet<u64> {
        self.store.store.inner().keys().copied().collect()
    }
}
