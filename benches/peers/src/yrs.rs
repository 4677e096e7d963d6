//! yrs: a root map of maps; keys are texts. Messages are updates since a state vector, in its second encoding, which is the
//! shorter one for many changes; a single change is sent in the first.

use std::any::Any as AnyBox;
use std::collections::BTreeSet;

use yrs::updates::decoder::Decode;
use yrs::{
    Any, Doc, In, Map as _, MapPrelim, MapRef, Out, ReadTxn, StateVector, Transact, TransactionMut, Update,
};

use crate::contestant::{Contestant, Documents, Elements, Tagged};
use crate::data::{
    Change, Contents, Document, Field, Fields, Key, NAMES, Record, TagChange, Value, id_of, weight_of_flag,
    weight_of_number, weight_of_text, wide,
};
use crate::rows::Row;

pub(crate) struct Yrs;

impl Contestant for Yrs {
    fn name(&self) -> &'static str {
        "yrs"
    }

    fn documents(&self, id: u64) -> Box<dyn Documents> {
        Box::new(Map::new(id))
    }

    fn tagged(&self, id: u64) -> Option<Box<dyn Tagged>> {
        Some(Box::new(Map::new(id)))
    }

    fn elements(&self, id: u64) -> Option<Box<dyn Elements>> {
        Some(Box::new(Set::new(id)))
    }

    fn at_most(&self, row: Row) -> usize {
        match row {
            Row::Churn => 200_000,
            _ => usize::MAX,
        }
    }

    fn note(&self, row: Row) -> Option<&'static str> {
        match row {
            Row::Changes => Some(
                "each message also names all that was ever overwritten, which is found by a walk through all that is held",
            ),
            Row::Snapshot => Some("a reader locks the document: writers wait for it"),
            Row::Set => Some("a map with the elements as texts for keys"),
            _ => None,
        }
    }
}

struct Map {
    doc: Doc,
    documents: MapRef,
    tags: MapRef,
    mark: StateVector,
}

fn input(value: &Value) -> Any {
    match value {
        Value::Name(text) | Value::Email(text) => Any::from(text.as_str()),
        Value::Age(age) => Any::from(*age),
        Value::Active(active) => Any::from(*active),
    }
}

fn map_at(map: &MapRef, txn: &impl ReadTxn, key: &str) -> MapRef {
    match map.get(txn, key) {
        Some(Out::YMap(inner)) => inner,
        _ => panic!("it was inserted"),
    }
}

fn weight(value: &Any) -> u64 {
    match value {
        Any::String(text) => weight_of_text(text),
        Any::Bool(flag) => weight_of_flag(*flag),
        other => weight_of_number(i64::try_from(other.clone()).expect("a whole number")),
    }
}

fn any_at(map: &MapRef, txn: &impl ReadTxn, name: &str) -> Any {
    match map.get(txn, name) {
        Some(Out::Any(any)) => any,
        _ => panic!("all fields are written"),
    }
}

fn fields(map: &MapRef, txn: &impl ReadTxn) -> Fields {
    Fields {
        name: String::try_from(any_at(map, txn, NAMES[0])).expect("a text"),
        email: String::try_from(any_at(map, txn, NAMES[1])).expect("a text"),
        age: i64::try_from(any_at(map, txn, NAMES[2])).expect("a whole number"),
        active: bool::try_from(any_at(map, txn, NAMES[3])).expect("a flag"),
    }
}

fn new_doc(id: u64) -> Doc {
    // Ids have 53 bits.
    Doc::with_client_id(wide(id) >> 11)
}

fn apply(txn: &mut TransactionMut<'_>, update: Result<Update, yrs::encoding::read::Error>) {
    let update = update.expect("a message of a peer");
    txn.apply_update(update).expect("it goes on from what is held");
}

impl Map {
    fn new(id: u64) -> Self {
        let doc = new_doc(id);
        let documents = doc.get_or_insert_map("documents");
        let tags = doc.get_or_insert_map("tags");
        Self { doc, documents, tags, mark: StateVector::default() }
    }
}

impl Documents for Map {
    fn insert(&mut self, documents: &[Document<'_>]) {
        let mut txn = self.doc.transact_mut();
        for Document { key, fields, tags } in documents {
            let account = MapPrelim::from([
                (NAMES[0], In::from(fields.name.as_str())),
                (NAMES[1], In::from(fields.email.as_str())),
                (NAMES[2], In::from(fields.age)),
                (NAMES[3], In::from(fields.active)),
            ]);
            self.documents.insert(&mut txn, key.text.as_str(), account);
            if !tags.is_empty() {
                let tags: MapPrelim = tags.iter().map(|tag| (tag.to_string(), In::from(true))).collect();
                self.tags.insert(&mut txn, key.text.as_str(), tags);
            }
        }
    }

    fn overwrite(&mut self, changes: &[Change<'_>]) {
        let mut txn = self.doc.transact_mut();
        for change in changes {
            let account = map_at(&self.documents, &txn, &change.key.text);
            account.insert(&mut txn, change.value.field().name(), input(&change.value));
        }
    }

    fn mark(&mut self) {
        self.mark = self.doc.transact().state_vector();
    }

    fn delta(&mut self) -> Vec<u8> {
        self.doc.transact().encode_state_as_update_v2(&self.mark)
    }

    fn apply(&mut self, message: &[u8]) {
        apply(&mut self.doc.transact_mut(), Update::decode_v2(message));
    }

    fn edit(&mut self) -> Vec<u8> {
        self.doc.transact().encode_state_as_update_v1(&self.mark)
    }

    fn apply_edit(&mut self, message: &[u8]) {
        apply(&mut self.doc.transact_mut(), Update::decode_v1(message));
    }

    fn full(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        let txn = self.doc.transact();
        let nothing = StateVector::default();
        let second = txn.encode_state_as_update_v2(&nothing);
        vec![("v2", second), ("v1", txn.encode_state_as_update_v1(&nothing))]
    }

    fn load(&mut self, bytes: &[u8]) {
        self.apply(bytes);
    }

    fn read(&self, picks: &[(&Key, Field)]) -> u64 {
        let txn = self.doc.transact();
        let pick = |(key, field): &(&Key, Field)| {
            weight(&any_at(&map_at(&self.documents, &txn, &key.text), &txn, field.name()))
        };
        picks.iter().map(pick).sum()
    }

    fn touch(&self) -> u64 {
        let txn = self.doc.transact();
        let mut sum = 0;
        for (_, account) in self.documents.iter(&txn) {
            let Out::YMap(account) = account else { panic!("documents are maps") };
            for name in NAMES {
                sum += weight(&any_at(&account, &txn, name));
            }
        }
        sum
    }

    fn snapshot(&mut self) -> Option<Box<dyn AnyBox>> {
        None
    }

    fn contents(&self) -> Contents {
        let txn = self.doc.transact();
        let mut contents = Contents::new();
        for (key, account) in self.documents.iter(&txn) {
            let Out::YMap(account) = account else { panic!("documents are maps") };
            let record = Record { fields: fields(&account, &txn), tags: BTreeSet::new() };
            contents.insert(id_of(key), record);
        }
        for (key, tags) in self.tags.iter(&txn) {
            let Out::YMap(tags) = tags else { panic!("tags are maps") };
            let tags = tags.keys(&txn).map(|tag| tag.parse().expect("tags are numbers")).collect();
            contents.entry(id_of(key)).or_default().tags = tags;
        }
        contents
    }
}

impl Tagged for Map {
    fn tag(&mut self, changes: &[TagChange<'_>]) {
        let mut txn = self.doc.transact_mut();
        for change in changes {
            let tags = map_at(&self.tags, &txn, &change.key.text);
            let tag = change.tag.to_string();
            if change.is_added {
                tags.insert(&mut txn, tag, true);
            } else {
                tags.remove(&mut txn, &tag);
            }
        }
    }
}

struct Set {
    doc: Doc,
    elements: MapRef,
}

impl Set {
    fn new(id: u64) -> Self {
        let doc = new_doc(id);
        let elements = doc.get_or_insert_map("elements");
        Self { doc, elements }
    }
}

impl Elements for Set {
    fn add(&mut self, elements: &[u64]) {
        let mut txn = self.doc.transact_mut();
        for element in elements {
            self.elements.insert(&mut txn, element.to_string(), true);
        }
    }

    fn remove(&mut self, elements: &[u64]) {
        let mut txn = self.doc.transact_mut();
        for element in elements {
            self.elements.remove(&mut txn, &element.to_string());
        }
    }

    fn full(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        let txn = self.doc.transact();
        let nothing = StateVector::default();
        let second = txn.encode_state_as_update_v2(&nothing);
        vec![("v2", second), ("v1", txn.encode_state_as_update_v1(&nothing))]
    }

    fn contents(&self) -> BTreeSet<u64> {
        let txn = self.doc.transact();
        self.elements.keys(&txn).map(|element| element.parse().expect("elements are numbers")).collect()
    }
}
