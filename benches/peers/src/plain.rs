//! A plain `hashbrown::HashMap` of structs with its default hasher: it merges nothing. What it costs is what the work itself
//! costs. Its messages name what is overwritten, and its receiver believes them.

use std::any::Any;
use std::collections::BTreeSet;

use hashbrown::{HashMap, HashSet};
use uuid::Uuid;

use crate::contestant::{Contestant, Documents, Elements, Tagged};
use crate::data::{Change, Contents, Document, Field, Fields, Key, Record, Value, ValueRef};
use crate::rows::Row;

pub(crate) struct Plain;

impl Contestant for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn is_package(&self) -> bool {
        false
    }

    fn documents(&self, _id: u64) -> Box<dyn Documents> {
        Box::new(Map::default())
    }

    fn tagged(&self, _id: u64) -> Option<Box<dyn Tagged>> {
        None
    }

    fn elements(&self, _id: u64) -> Option<Box<dyn Elements>> {
        Some(Box::new(Set::default()))
    }

    fn note(&self, row: Row) -> Option<&'static str> {
        match row {
            Row::Regions => Some("concurrent writes of one field would leave the copies different"),
            Row::Snapshot => Some("a copy of all"),
            _ => None,
        }
    }
}

#[derive(Default)]
struct Map {
    documents: HashMap<Uuid, Fields>,
    changed: Vec<(Uuid, Field)>,
}

impl Documents for Map {
    fn insert(&mut self, documents: &[Document<'_>]) {
        for document in documents {
            self.documents.insert(document.key.id, document.fields.clone());
        }
    }

    fn overwrite(&mut self, changes: &[Change<'_>]) {
        for change in changes {
            let fields = self.documents.get_mut(&change.key.id).expect("it was inserted");
            fields.set(change.value.clone());
        }
    }

    fn mark(&mut self) {
        self.changed.clear();
    }

    fn told(&mut self, changes: &[Change<'_>]) {
        self.changed.extend(changes.iter().map(|change| (change.key.id, change.value.field())));
    }

    fn delta(&mut self) -> Vec<u8> {
        let shipped = |(id, field): &(Uuid, Field)| {
            let fields = &self.documents[id];
            let value = match field {
                Field::Name => ValueRef::Name(&fields.name),
                Field::Email => ValueRef::Email(&fields.email),
                Field::Age => ValueRef::Age(fields.age),
                Field::Active => ValueRef::Active(fields.active),
            };
            (*id, value)
        };
        postcard::to_stdvec(&self.changed.iter().map(shipped).collect::<Vec<_>>()).expect("plain values")
    }

    fn apply(&mut self, message: &[u8]) {
        let changes: Vec<(Uuid, Value)> = postcard::from_bytes(message).expect("a message of a peer");
        for (id, value) in changes {
            self.documents.entry(id).or_default().set(value);
        }
    }

    fn full(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        vec![("postcard", postcard::to_stdvec(&self.documents).expect("plain values"))]
    }

    fn load(&mut self, bytes: &[u8]) {
        self.documents = postcard::from_bytes(bytes).expect("what was saved");
    }

    fn read(&self, picks: &[(&Key, Field)]) -> u64 {
        picks.iter().map(|(key, field)| self.documents[&key.id].weight_of(*field)).sum()
    }

    fn touch(&self) -> u64 {
        self.documents.values().map(Fields::weight).sum()
    }

    fn snapshot(&mut self) -> Option<Box<dyn Any>> {
        Some(Box::new(self.documents.clone()))
    }

    fn contents(&self) -> Contents {
        let record = |fields: &Fields| Record { fields: fields.clone(), tags: BTreeSet::new() };
        self.documents.iter().map(|(id, fields)| (*id, record(fields))).collect()
    }
}

#[derive(Default)]
struct Set(HashSet<u64>);

impl Elements for Set {
    fn add(&mut self, elements: &[u64]) {
        self.0.extend(elements);
    }

    fn remove(&mut self, elements: &[u64]) {
        for element in elements {
            self.0.remove(element);
        }
    }

    fn full(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        vec![("postcard", postcard::to_stdvec(&self.0).expect("plain values"))]
    }

    fn contents(&self) -> BTreeSet<u64> {
        self.0.iter().copied().collect()
    }
}
