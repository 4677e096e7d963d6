//! driftless: a map of structs of registers, as its guide models it.

use std::any::Any;
use std::collections::BTreeSet;

use driftless::{
    Config, Crdt, Limits, LwwRegister, MergeMap, OrSet, Replica, ReplicaId, Request, VersionVector,
};
use uuid::Uuid;

use crate::contestant::{Contestant, Documents, Elements, Tagged};
use crate::data::{
    Change, Contents, Document, Field, Fields, Key, Record, START_MS, TagChange, Value, weight_of_flag,
    weight_of_number, weight_of_text, wide,
};
use crate::rows::Row;

pub(crate) struct Driftless;

impl Contestant for Driftless {
    fn name(&self) -> &'static str {
        "driftless"
    }

    fn documents(&self, id: u64) -> Box<dyn Documents> {
        Box::new(Map::<Accounts>::new(id))
    }

    fn tagged(&self, id: u64) -> Option<Box<dyn Tagged>> {
        Some(Box::new(Map::<TaggedAccounts>::new(id)))
    }

    fn elements(&self, id: u64) -> Option<Box<dyn Elements>> {
        Some(Box::new(Set(Clocked::new(id))))
    }

    fn note(&self, row: Row) -> Option<&'static str> {
        match row {
            Row::Snapshot => Some("writes after it copy the pages that they touch"),
            Row::Churn => Some(
                "with a second replica that merges and reports after every 2,000 operations, all of it measured; once \
                 all have seen all",
            ),
            _ => None,
        }
    }
}

#[derive(Crdt)]
struct Account {
    name: LwwRegister<String>,
    email: LwwRegister<String>,
    age: LwwRegister<i64>,
    active: LwwRegister<bool>,
}

type Accounts = MergeMap<Uuid, Account>;

/// Tags stand beside the documents, so that documents without tags are the same in all rows.
#[derive(Crdt)]
struct TaggedAccounts {
    accounts: MergeMap<Uuid, Account>,
    tags: MergeMap<Uuid, OrSet<u64>>,
}

/// A state that holds documents.
trait State: Crdt {
    fn accounts(&self) -> &Accounts;

    fn tags(&self, id: &Uuid) -> BTreeSet<u64>;

    fn update(handle: &mut Self::Mut<'_>, id: &Uuid, write: impl FnOnce(&mut AccountMut<'_>));

    fn add_tag(handle: &mut Self::Mut<'_>, id: &Uuid, tag: u64);
}

impl State for Accounts {
    fn accounts(&self) -> &Accounts {
        self
    }

    fn tags(&self, _id: &Uuid) -> BTreeSet<u64> {
        BTreeSet::new()
    }

    fn update(handle: &mut Self::Mut<'_>, id: &Uuid, write: impl FnOnce(&mut AccountMut<'_>)) {
        handle.update(id, write);
    }

    fn add_tag(_handle: &mut Self::Mut<'_>, _id: &Uuid, _tag: u64) {
        unreachable!("documents of this kind are given no tags");
    }
}

impl State for TaggedAccounts {
    fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    fn tags(&self, id: &Uuid) -> BTreeSet<u64> {
        self.tags.get(id).map(|tags| tags.iter().copied().collect()).unwrap_or_default()
    }

    fn update(handle: &mut Self::Mut<'_>, id: &Uuid, write: impl FnOnce(&mut AccountMut<'_>)) {
        handle.accounts().update(id, write);
    }

    fn add_tag(handle: &mut Self::Mut<'_>, id: &Uuid, tag: u64) {
        handle.tags().update(id, |tags| tags.add(&tag));
    }
}

/// A replica, the time, and what its peers are known to hold.
struct Clocked<S> {
    replica: Replica<S>,
    now_ms: u64,
    mark: Request,
}

impl<S: Crdt> Clocked<S> {
    fn new(id: u64) -> Self {
        // A whole state is one message here; what it may take is for the row to say.
        let limits =
            Limits { message_bytes: 1 << 34, memory_bytes: 1 << 36, elements: 1 << 32, ..Limits::default() };
        let id = ReplicaId::from_u128(u128::from(wide(id)) << 64 | u128::from(wide(!id)));
        Self {
            replica: Replica::new(id, Config { limits, ..Config::default() }),
            now_ms: START_MS,
            mark: VersionVector::new().into(),
        }
    }

    fn write(&mut self, write: impl FnOnce(&mut S::Mut<'_>)) {
        self.now_ms += 1;
        self.replica.write(self.now_ms, write).expect("the time is in range");
    }

    fn message(&self, known: &Request) -> Vec<u8> {
        self.replica.answer(known).encode().expect("the values are serializable")
    }

    fn merge(&mut self, message: &[u8]) {
        self.now_ms += 1;
        let delta = self.replica.decode(message).expect("a message of a peer");
        self.replica.merge(self.now_ms, delta).expect("it goes on from what is held");
    }
}

struct Map<S>(Clocked<S>);

impl<S: Crdt> Map<S> {
    fn new(id: u64) -> Self {
        Self(Clocked::new(id))
    }
}

fn weight_of(account: &Account, field: Field) -> u64 {
    const WRITTEN: &str = "all fields are written";
    match field {
        Field::Name => weight_of_text(account.name.latest().expect(WRITTEN)),
        Field::Email => weight_of_text(account.email.latest().expect(WRITTEN)),
        Field::Age => weight_of_number(*account.age.latest().expect(WRITTEN)),
        Field::Active => weight_of_flag(*account.active.latest().expect(WRITTEN)),
    }
}

fn fields(account: &Account) -> Fields {
    Fields {
        name: account.name.latest().cloned().unwrap_or_default(),
        email: account.email.latest().cloned().unwrap_or_default(),
        age: account.age.latest().copied().unwrap_or_default(),
        active: account.active.latest().copied().unwrap_or_default(),
    }
}

impl<S: State> Documents for Map<S> {
    fn insert(&mut self, documents: &[Document<'_>]) {
        self.0.write(|handle| {
            for Document { key, fields, tags } in documents {
                S::update(handle, &key.id, |account| {
                    account.name().set(&fields.name);
                    account.email().set(&fields.email);
                    account.age().set(fields.age);
                    account.active().set(fields.active);
                });
                for tag in *tags {
                    S::add_tag(handle, &key.id, *tag);
                }
            }
        });
    }

    fn overwrite(&mut self, changes: &[Change<'_>]) {
        self.0.write(|handle| {
            for change in changes {
                S::update(handle, &change.key.id, |account| match &change.value {
                    Value::Name(name) => account.name().set(name),
                    Value::Email(email) => account.email().set(email),
                    Value::Age(age) => account.age().set(*age),
                    Value::Active(active) => account.active().set(*active),
                });
            }
        });
    }

    fn mark(&mut self) {
        self.0.mark = self.0.replica.vector().into();
    }

    fn request(&self) -> Vec<u8> {
        postcard::to_stdvec(&self.0.replica.request()).expect("a plain value")
    }

    fn mark_for(&mut self, request: &[u8]) {
        self.0.mark = postcard::from_bytes(request).expect("a request of a peer");
    }

    fn delta(&mut self) -> Vec<u8> {
        self.0.message(&self.0.mark)
    }

    fn apply(&mut self, message: &[u8]) {
        self.0.merge(message);
    }

    fn full(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        vec![("delta", self.0.message(&VersionVector::new().into()))]
    }

    fn load(&mut self, bytes: &[u8]) {
        self.0.merge(bytes);
    }

    fn read(&self, picks: &[(&Key, Field)]) -> u64 {
        let accounts = self.0.replica.state().accounts();
        let pick =
            |(key, field): &(&Key, Field)| weight_of(accounts.get(&key.id).expect("it was inserted"), *field);
        picks.iter().map(pick).sum()
    }

    fn touch(&self) -> u64 {
        let all = self.0.replica.state().accounts().iter();
        all.map(|(_, account)| Field::ALL.iter().map(|field| weight_of(account, *field)).sum::<u64>()).sum()
    }

    fn snapshot(&mut self) -> Option<Box<dyn Any>> {
        Some(Box::new(self.0.replica.snapshot()))
    }

    fn contents(&self) -> Contents {
        let state = self.0.replica.state();
        let record = |id, account| Record { fields: fields(account), tags: state.tags(id) };
        state.accounts().iter().map(|(id, account)| (*id, record(id, account))).collect()
    }
}

impl Tagged for Map<TaggedAccounts> {
    fn tag(&mut self, changes: &[TagChange<'_>]) {
        self.0.write(|handle| {
            for change in changes {
                handle.tags().update(&change.key.id, |tags| {
                    if change.is_added {
                        tags.add(&change.tag);
                    } else {
                        tags.remove(&change.tag);
                    }
                });
            }
        });
    }
}

struct Set(Clocked<OrSet<u64>>);

impl Elements for Set {
    fn add(&mut self, elements: &[u64]) {
        self.0.write(|set| elements.iter().for_each(|element| set.add(element)));
    }

    fn remove(&mut self, elements: &[u64]) {
        self.0.write(|set| {
            for element in elements {
                set.remove(element);
            }
        });
    }

    fn churn(&mut self, elements: &[u64], times: usize) {
        let mut peer: Clocked<OrSet<u64>> = Clocked::new(1 << 32);
        let members = [self.0.replica.id(), peer.replica.id()];
        self.0.replica.set_members(members);
        peer.replica.set_members(members);
        for _ in 0..times {
            self.add(elements);
            self.remove(elements);
            let message = self.0.message(&peer.replica.request());
            peer.merge(&message);
            self.0.replica.report(self.0.now_ms, members[1], &peer.replica.vector()).expect("it is so");
            peer.replica.report(peer.now_ms, members[0], &self.0.replica.vector()).expect("it is so");
            self.0.replica.forget();
            peer.replica.forget();
        }
    }

    fn full(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        vec![("delta", self.0.message(&VersionVector::new().into()))]
    }

    fn contents(&self) -> BTreeSet<u64> {
        self.0.replica.state().iter().copied().collect()
    }
}
