//! crdts: its `Map` of documents, each a struct of its `LWWReg`s; tags and sets are its `Orswot`. Replicas exchange
//! operations, which the crate returns from each write and which the application keeps. Bytes are serde's, by postcard.

use std::any::Any;
use std::collections::BTreeSet;
use std::convert::Infallible;

use crdts::{CmRDT, LWWReg, Map as CrdtMap, Orswot, ResetRemove, VClock};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::contestant::{Contestant, Documents, Elements, Tagged};
use crate::data::{
    Change, Contents, Document, Field, Fields, Key, Record, START_MS, TagChange, Value, weight_of_flag,
    weight_of_number, weight_of_text,
};
use crate::rows::Row;

pub(crate) struct Crdts;

impl Contestant for Crdts {
    fn name(&self) -> &'static str {
        "crdts"
    }

    fn documents(&self, id: u64) -> Box<dyn Documents> {
        Box::new(Map::new(id))
    }

    fn tagged(&self, id: u64) -> Option<Box<dyn Tagged>> {
        Some(Box::new(Map::new(id)))
    }

    fn elements(&self, id: u64) -> Option<Box<dyn Elements>> {
        Some(Box::new(Set { actor: id, set: Orswot::new() }))
    }

    fn note(&self, row: Row) -> Option<&'static str> {
        match row {
            Row::FirstWrite => Some("the four fields of a document in one operation"),
            Row::Changes => Some("messages are the operations, which the application keeps"),
            Row::Snapshot => Some("a copy of all"),
            Row::Churn => Some("two operations a batch: `add_all`, `rm_all`"),
            _ => None,
        }
    }
}

/// Who wrote.
type Actor = u64;

/// The time of a write and, where times are equal, its author.
type Marker = (u64, Actor);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Account {
    name: LWWReg<String, Marker>,
    email: LWWReg<String, Marker>,
    age: LWWReg<i64, Marker>,
    active: LWWReg<bool, Marker>,
}

/// The fields that are written.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Write {
    marker: Marker,
    values: Values,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Values {
    One(Value),
    All(Fields),
}

impl Account {
    fn set(&mut self, value: Value, marker: Marker) {
        match value {
            Value::Name(name) => self.name.update(name, marker),
            Value::Email(email) => self.email.update(email, marker),
            Value::Age(age) => self.age.update(age, marker),
            Value::Active(active) => self.active.update(active, marker),
        }
    }

    fn weight_of(&self, field: Field) -> u64 {
        match field {
            Field::Name => weight_of_text(&self.name.val),
            Field::Email => weight_of_text(&self.email.val),
            Field::Age => weight_of_number(self.age.val),
            Field::Active => weight_of_flag(self.active.val),
        }
    }

    fn fields(&self) -> Fields {
        Fields {
            name: self.name.val.clone(),
            email: self.email.val.clone(),
            age: self.age.val,
            active: self.active.val,
        }
    }
}

impl CmRDT for Account {
    type Op = Write;
    type Validation = Infallible;

    fn validate_op(&self, _write: &Write) -> Result<(), Infallible> {
        Ok(())
    }

    fn apply(&mut self, Write { marker, values }: Write) {
        match values {
            Values::One(value) => self.set(value, marker),
            Values::All(fields) => {
                self.name.update(fields.name, marker);
                self.email.update(fields.email, marker);
                self.age.update(fields.age, marker);
                self.active.update(fields.active, marker);
            }
        }
    }
}

/// The map drops a document when a removal has seen all writes of it. One that has not leaves it whole.
impl ResetRemove<Actor> for Account {
    fn reset_remove(&mut self, _clock: &VClock<Actor>) {}
}

type Accounts = CrdtMap<Uuid, Account, Actor>;
type Tags = CrdtMap<Uuid, Orswot<u64, Actor>, Actor>;

/// An operation as it is shipped.
#[derive(Clone, Serialize, Deserialize)]
enum Operation {
    Account(crdts::map::Op<Uuid, Account, Actor>),
    Tag(crdts::map::Op<Uuid, Orswot<u64, Actor>, Actor>),
}

struct Map {
    actor: Actor,
    time: u64,
    accounts: Accounts,
    tags: Tags,
    /// What the peers lack.
    operations: Vec<Operation>,
}

impl Map {
    fn new(actor: Actor) -> Self {
        Self { actor, time: START_MS, accounts: Accounts::new(), tags: Tags::new(), operations: Vec::new() }
    }

    fn write(&mut self, id: Uuid, values: Values) -> crdts::map::Op<Uuid, Account, Actor> {
        let marker = (self.time, self.actor);
        let context = self.accounts.read_ctx().derive_add_ctx(self.actor);
        self.accounts.update(id, context, |_, _| Write { marker, values })
    }

    fn change_tag(
        &mut self,
        id: Uuid,
        tag: u64,
        is_added: bool,
    ) -> crdts::map::Op<Uuid, Orswot<u64, Actor>, Actor> {
        let context = self.tags.read_ctx().derive_add_ctx(self.actor);
        self.tags.update(id, context, |tags, context| {
            if is_added { tags.add(tag, context) } else { tags.rm(tag, tags.contains(&tag).derive_rm_ctx()) }
        })
    }
}

impl Documents for Map {
    fn insert(&mut self, documents: &[Document<'_>]) {
        self.time += 1;
        for document in documents {
            let operation = self.write(document.key.id, Values::All(document.fields.clone()));
            self.accounts.apply(operation);
            for tag in document.tags {
                let operation = self.change_tag(document.key.id, *tag, true);
                self.tags.apply(operation);
            }
        }
    }

    fn overwrite(&mut self, changes: &[Change<'_>]) {
        self.time += 1;
        for change in changes {
            let operation = self.write(change.key.id, Values::One(change.value.clone()));
            self.accounts.apply(operation.clone());
            self.operations.push(Operation::Account(operation));
        }
    }

    fn mark(&mut self) {
        self.operations.clear();
    }

    fn delta(&mut self) -> Vec<u8> {
        postcard::to_stdvec(&self.operations).expect("plain values")
    }

    fn apply(&mut self, message: &[u8]) {
        let operations: Vec<Operation> = postcard::from_bytes(message).expect("a message of a peer");
        for operation in operations {
            match operation {
                Operation::Account(operation) => {
                    if let crdts::map::Op::Up { op, .. } = &operation {
                        self.time = self.time.max(op.marker.0);
                    }
                    self.accounts.apply(operation);
                }
                Operation::Tag(operation) => self.tags.apply(operation),
            }
        }
    }

    fn full(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        let bytes = postcard::to_stdvec(&(self.time, &self.accounts, &self.tags));
        vec![("postcard", bytes.expect("plain values"))]
    }

    fn load(&mut self, bytes: &[u8]) {
        (self.time, self.accounts, self.tags) = postcard::from_bytes(bytes).expect("what was saved");
    }

    fn read(&self, picks: &[(&Key, Field)]) -> u64 {
        let pick = |(key, field): &(&Key, Field)| {
            self.accounts.get(&key.id).val.expect("it was inserted").weight_of(*field)
        };
        picks.iter().map(pick).sum()
    }

    fn touch(&self) -> u64 {
        let weight =
            |account: &Account| Field::ALL.iter().map(|field| account.weight_of(*field)).sum::<u64>();
        self.accounts.iter().map(|read| weight(read.val.1)).sum()
    }

    fn snapshot(&mut self) -> Option<Box<dyn Any>> {
        Some(Box::new((self.accounts.clone(), self.tags.clone())))
    }

    fn contents(&self) -> Contents {
        let tags = |id: &Uuid| {
            self.tags.get(id).val.map(|tags| tags.read().val.into_iter().collect()).unwrap_or_default()
        };
        let record = |id: &Uuid, account: &Account| Record { fields: account.fields(), tags: tags(id) };
        self.accounts.iter().map(|read| (*read.val.0, record(read.val.0, read.val.1))).collect()
    }
}

impl Tagged for Map {
    fn tag(&mut self, changes: &[TagChange<'_>]) {
        for change in changes {
            let operation = self.change_tag(change.key.id, change.tag, change.is_added);
            self.tags.apply(operation.clone());
            self.operations.push(Operation::Tag(operation));
        }
    }
}

struct Set {
    actor: Actor,
    set: Orswot<u64, Actor>,
}

impl Elements for Set {
    fn add(&mut self, elements: &[u64]) {
        let context = self.set.read_ctx().derive_add_ctx(self.actor);
        self.set.apply(self.set.add_all(elements.iter().copied(), context));
    }

    fn remove(&mut self, elements: &[u64]) {
        let context = self.set.read_ctx().derive_rm_ctx();
        self.set.apply(self.set.rm_all(elements.iter().copied(), context));
    }

    fn full(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        vec![("postcard", postcard::to_stdvec(&self.set).expect("plain values"))]
    }

    fn contents(&self) -> BTreeSet<u64> {
        self.set.read().val.into_iter().collect()
    }
}
