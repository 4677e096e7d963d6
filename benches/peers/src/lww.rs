//! What one would write by hand: a map of structs whose fields each carry the stamp of their last write, a set whose elements
//! carry the stamp of their last addition or removal. The greater stamp wins. Nothing is ever forgotten, and which
//! writes a peer lacks is known only from a list of them. Bytes are serde's, by postcard.

use std::any::Any;
use std::collections::BTreeSet;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::contestant::{Contestant, Documents, Elements, Tagged};
use crate::data::{
    Change, Contents, Document, Field, Fields, Key, Record, START_MS, TagChange, Value, ValueRef,
    weight_of_flag, weight_of_number, weight_of_text,
};
use crate::rows::Row;

pub(crate) struct Lww;

impl Contestant for Lww {
    fn name(&self) -> &'static str {
        "lww"
    }

    fn is_package(&self) -> bool {
        false
    }

    fn documents(&self, id: u64) -> Box<dyn Documents> {
        Box::new(Map::new(id))
    }

    fn tagged(&self, id: u64) -> Option<Box<dyn Tagged>> {
        Some(Box::new(Map::new(id)))
    }

    fn elements(&self, id: u64) -> Option<Box<dyn Elements>> {
        Some(Box::new(Set { replica: id, time: START_MS, ..Set::default() }))
    }

    fn note(&self, row: Row) -> Option<&'static str> {
        match row {
            Row::Snapshot => Some("a copy of all"),
            Row::Churn => Some("a removed element leaves its stamp for ever"),
            _ => None,
        }
    }
}

/// A time and, where times are equal, a replica.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Stamp {
    time: u64,
    replica: u64,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Register<T> {
    value: T,
    stamp: Stamp,
}

impl<T> Register<T> {
    fn set(&mut self, value: T, stamp: Stamp) {
        if stamp > self.stamp {
            *self = Self { value, stamp };
        }
    }
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Account {
    name: Register<String>,
    email: Register<String>,
    age: Register<i64>,
    active: Register<bool>,
}

impl Account {
    fn set(&mut self, value: Value, stamp: Stamp) {
        match value {
            Value::Name(name) => self.name.set(name, stamp),
            Value::Email(email) => self.email.set(email, stamp),
            Value::Age(age) => self.age.set(age, stamp),
            Value::Active(active) => self.active.set(active, stamp),
        }
    }

    fn weight_of(&self, field: Field) -> u64 {
        match field {
            Field::Name => weight_of_text(&self.name.value),
            Field::Email => weight_of_text(&self.email.value),
            Field::Age => weight_of_number(self.age.value),
            Field::Active => weight_of_flag(self.active.value),
        }
    }

    fn fields(&self) -> Fields {
        Fields {
            name: self.name.value.clone(),
            email: self.email.value.clone(),
            age: self.age.value,
            active: self.active.value,
        }
    }
}

type Tags = HashMap<(Uuid, u64), Register<bool>>;

/// What was written, by the stamp of the batch.
type Stamped<T> = Vec<(Stamp, Vec<T>)>;

#[derive(Default)]
struct Map {
    replica: u64,
    time: u64,
    documents: HashMap<Uuid, Account>,
    tags: Tags,
    /// What was written since the mark.
    changed: Stamped<(Uuid, Field)>,
    changed_tags: Stamped<(Uuid, u64, bool)>,
}

/// Fields and tags. One stamp is shipped for all that a batch wrote.
type Message = (Stamped<(Uuid, Value)>, Stamped<(Uuid, u64, bool)>);

impl Map {
    fn new(replica: u64) -> Self {
        Self { replica, time: START_MS, ..Self::default() }
    }

    fn now(&self) -> Stamp {
        Stamp { time: self.time, replica: self.replica }
    }

    fn next(&mut self) -> Stamp {
        self.time += 1;
        self.now()
    }

    fn shipped(&self, id: Uuid, field: Field) -> (Uuid, ValueRef<'_>) {
        let account = &self.documents[&id];
        match field {
            Field::Name => (id, ValueRef::Name(&account.name.value)),
            Field::Email => (id, ValueRef::Email(&account.email.value)),
            Field::Age => (id, ValueRef::Age(account.age.value)),
            Field::Active => (id, ValueRef::Active(account.active.value)),
        }
    }
}

impl Documents for Map {
    fn insert(&mut self, documents: &[Document<'_>]) {
        let stamp = self.next();
        for document in documents {
            let Fields { name, email, age, active } = document.fields.clone();
            let account = Account {
                name: Register { value: name, stamp },
                email: Register { value: email, stamp },
                age: Register { value: age, stamp },
                active: Register { value: active, stamp },
            };
            self.documents.insert(document.key.id, account);
            for tag in document.tags {
                self.tags.insert((document.key.id, *tag), Register { value: true, stamp });
            }
        }
    }

    fn overwrite(&mut self, changes: &[Change<'_>]) {
        let stamp = self.next();
        for change in changes {
            let account = self.documents.get_mut(&change.key.id).expect("it was inserted");
            account.set(change.value.clone(), stamp);
        }
    }

    fn mark(&mut self) {
        self.changed.clear();
        self.changed_tags.clear();
    }

    fn told(&mut self, changes: &[Change<'_>]) {
        let fields = changes.iter().map(|change| (change.key.id, change.value.field()));
        self.changed.push((self.now(), fields.collect()));
    }

    fn delta(&mut self) -> Vec<u8> {
        let shipped = |fields: &[(Uuid, Field)]| -> Vec<_> {
            fields.iter().map(|(id, field)| self.shipped(*id, *field)).collect()
        };
        let fields: Vec<_> = self.changed.iter().map(|(stamp, fields)| (stamp, shipped(fields))).collect();
        postcard::to_stdvec(&(fields, &self.changed_tags)).expect("plain values")
    }

    fn apply(&mut self, message: &[u8]) {
        let (fields, tags): Message = postcard::from_bytes(message).expect("a message of a peer");
        for (stamp, fields) in fields {
            self.time = self.time.max(stamp.time);
            for (id, value) in fields {
                self.documents.entry(id).or_default().set(value, stamp);
            }
        }
        for (stamp, tags) in tags {
            self.time = self.time.max(stamp.time);
            for (id, tag, is_there) in tags {
                self.tags.entry((id, tag)).or_default().set(is_there, stamp);
            }
        }
    }

    fn full(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        let tags: Vec<_> = self.tags.iter().collect();
        vec![("postcard", postcard::to_stdvec(&(&self.documents, tags)).expect("plain values"))]
    }

    fn load(&mut self, bytes: &[u8]) {
        let (documents, tags): (_, Vec<_>) = postcard::from_bytes(bytes).expect("what was saved");
        self.documents = documents;
        self.tags = tags.into_iter().collect();
        let times = self.documents.values().flat_map(|account| {
            [account.name.stamp, account.email.stamp, account.age.stamp, account.active.stamp]
        });
        self.time = times.map(|stamp| stamp.time).max().unwrap_or_default();
    }

    fn read(&self, picks: &[(&Key, Field)]) -> u64 {
        picks.iter().map(|(key, field)| self.documents[&key.id].weight_of(*field)).sum()
    }

    fn touch(&self) -> u64 {
        let all = self.documents.values();
        all.map(|account| Field::ALL.iter().map(|field| account.weight_of(*field)).sum::<u64>()).sum()
    }

    fn snapshot(&mut self) -> Option<Box<dyn Any>> {
        Some(Box::new((self.documents.clone(), self.tags.clone())))
    }

    fn contents(&self) -> Contents {
        let record = |account: &Account| Record { fields: account.fields(), tags: BTreeSet::new() };
        let mut contents: Contents =
            self.documents.iter().map(|(id, account)| (*id, record(account))).collect();
        for ((id, tag), _) in self.tags.iter().filter(|(_, register)| register.value) {
            contents.entry(*id).or_default().tags.insert(*tag);
        }
        contents
    }
}

impl Tagged for Map {
    fn tag(&mut self, changes: &[TagChange<'_>]) {
        let stamp = self.next();
        let mut changed = Vec::new();
        for change in changes {
            self.tags.entry((change.key.id, change.tag)).or_default().set(change.is_added, stamp);
            changed.push((change.key.id, change.tag, change.is_added));
        }
        self.changed_tags.push((stamp, changed));
    }
}

#[derive(Default)]
struct Set {
    replica: u64,
    time: u64,
    elements: HashMap<u64, Register<bool>>,
}

impl Set {
    fn set(&mut self, elements: &[u64], is_there: bool) {
        self.time += 1;
        let stamp = Stamp { time: self.time, replica: self.replica };
        for element in elements {
            self.elements.entry(*element).or_default().set(is_there, stamp);
        }
    }
}

impl Elements for Set {
    fn add(&mut self, elements: &[u64]) {
        self.set(elements, true);
    }

    fn remove(&mut self, elements: &[u64]) {
        self.set(elements, false);
    }

    fn full(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        vec![("postcard", postcard::to_stdvec(&self.elements).expect("plain values"))]
    }

    fn contents(&self) -> BTreeSet<u64> {
        let there = self.elements.iter().filter(|(_, register)| register.value);
        there.map(|(element, _)| *element).collect()
    }
}
