//! loro: a root map of maps; keys are texts. One commit a batch; messages are updates since a version vector, a whole state is
//! its snapshot.

use std::any::Any;
use std::collections::BTreeSet;

use loro::{Container, ExportMode, LoroDoc, LoroMap, LoroValue, ValueOrContainer, VersionVector};

use crate::contestant::{Contestant, Documents, Elements, Tagged};
use crate::data::{
    Change, Contents, Document, Field, Fields, Key, NAMES, Record, TagChange, Value, id_of, weight_of_flag,
    weight_of_number, weight_of_text, wide,
};
use crate::rows::Row;

pub(crate) struct Loro;

impl Contestant for Loro {
    fn name(&self) -> &'static str {
        "loro"
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
            Row::Snapshot => Some(
                "`fork`, a copy of all; checking out an older version needs none, but locks the document",
            ),
            Row::Set => Some("a map with the elements as texts for keys"),
            _ => None,
        }
    }
}

const ATTACHED: &str = "the map belongs to the document";

fn new_doc(id: u64) -> LoroDoc {
    let doc = LoroDoc::new();
    doc.set_peer_id(wide(id)).expect("nothing is written yet");
    doc
}

fn export(doc: &LoroDoc, mode: ExportMode<'_>) -> Vec<u8> {
    doc.export(mode).expect("all history is held")
}

fn import(doc: &LoroDoc, bytes: &[u8]) {
    let status = doc.import(bytes).expect("a message of a peer");
    assert!(status.pending.is_none(), "it goes on from what is held");
}

fn full(doc: &LoroDoc) -> Vec<(&'static str, Vec<u8>)> {
    let snapshot = export(doc, ExportMode::Snapshot);
    vec![("snapshot", snapshot), ("updates", export(doc, ExportMode::all_updates()))]
}

struct Map {
    doc: LoroDoc,
    documents: LoroMap,
    tags: LoroMap,
    mark: VersionVector,
}

fn insert(map: &LoroMap, value: &Value) {
    let name = value.field().name();
    let done = match value {
        Value::Name(text) | Value::Email(text) => map.insert(name, text.as_str()),
        Value::Age(age) => map.insert(name, *age),
        Value::Active(active) => map.insert(name, *active),
    };
    done.expect(ATTACHED);
}

fn as_map(value: Option<ValueOrContainer>) -> LoroMap {
    match value {
        Some(ValueOrContainer::Container(Container::Map(map))) => map,
        _ => panic!("it was inserted"),
    }
}

fn value_at(map: &LoroMap, name: &str) -> LoroValue {
    match map.get(name) {
        Some(ValueOrContainer::Value(value)) => value,
        _ => panic!("all fields are written"),
    }
}

fn weight(value: &LoroValue) -> u64 {
    match value {
        LoroValue::String(text) => weight_of_text(text),
        LoroValue::I64(number) => weight_of_number(*number),
        LoroValue::Bool(flag) => weight_of_flag(*flag),
        other => panic!("no field holds {other:?}"),
    }
}

fn fields(map: &LoroMap) -> Fields {
    let text = |name| match value_at(map, name) {
        LoroValue::String(text) => text.to_string(),
        other => panic!("{other:?} is no text"),
    };
    let LoroValue::I64(age) = value_at(map, NAMES[2]) else { panic!("the age is a number") };
    let LoroValue::Bool(active) = value_at(map, NAMES[3]) else { panic!("it is a flag") };
    Fields { name: text(NAMES[0]), email: text(NAMES[1]), age, active }
}

impl Map {
    fn new(id: u64) -> Self {
        let doc = new_doc(id);
        let (documents, tags) = (doc.get_map("documents"), doc.get_map("tags"));
        Self { doc, documents, tags, mark: VersionVector::default() }
    }
}

impl Documents for Map {
    fn insert(&mut self, documents: &[Document<'_>]) {
        for Document { key, fields, tags } in documents {
            let account = self.documents.insert_container(&key.text, LoroMap::new()).expect(ATTACHED);
            account.insert(NAMES[0], fields.name.as_str()).expect(ATTACHED);
            account.insert(NAMES[1], fields.email.as_str()).expect(ATTACHED);
            account.insert(NAMES[2], fields.age).expect(ATTACHED);
            account.insert(NAMES[3], fields.active).expect(ATTACHED);
            if !tags.is_empty() {
                let all = self.tags.insert_container(&key.text, LoroMap::new()).expect(ATTACHED);
                for tag in *tags {
                    all.insert(&tag.to_string(), true).expect(ATTACHED);
                }
            }
        }
        self.doc.commit();
    }

    fn overwrite(&mut self, changes: &[Change<'_>]) {
        for change in changes {
            insert(&as_map(self.documents.get(&change.key.text)), &change.value);
        }
        self.doc.commit();
    }

    fn mark(&mut self) {
        self.mark = self.doc.oplog_vv();
    }

    fn delta(&mut self) -> Vec<u8> {
        export(&self.doc, ExportMode::updates(&self.mark))
    }

    fn apply(&mut self, message: &[u8]) {
        import(&self.doc, message);
    }

    fn full(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        full(&self.doc)
    }

    fn load(&mut self, bytes: &[u8]) {
        import(&self.doc, bytes);
    }

    fn read(&self, picks: &[(&Key, Field)]) -> u64 {
        let pick = |(key, field): &(&Key, Field)| {
            weight(&value_at(&as_map(self.documents.get(&key.text)), field.name()))
        };
        picks.iter().map(pick).sum()
    }

    fn touch(&self) -> u64 {
        let LoroValue::Map(documents) = self.documents.get_deep_value() else { panic!("it is a map") };
        let all = documents.values().map(|account| match account {
            LoroValue::Map(account) => account.values().map(weight).sum::<u64>(),
            other => panic!("{other:?} is no document"),
        });
        all.sum()
    }

    fn snapshot(&mut self) -> Option<Box<dyn Any>> {
        Some(Box::new(self.doc.fork()))
    }

    fn contents(&self) -> Contents {
        let mut contents = Contents::new();
        self.documents.for_each(|key, account| {
            let record = Record { fields: fields(&as_map(Some(account))), tags: BTreeSet::new() };
            contents.insert(id_of(key), record);
        });
        self.tags.for_each(|key, tags| {
            let tags = as_map(Some(tags));
            let tags = tags.keys().map(|tag| tag.parse().expect("tags are numbers")).collect();
            contents.entry(id_of(key)).or_default().tags = tags;
        });
        contents
    }
}

impl Tagged for Map {
    fn tag(&mut self, changes: &[TagChange<'_>]) {
        for change in changes {
            let tags = as_map(self.tags.get(&change.key.text));
            let tag = change.tag.to_string();
            if change.is_added {
                tags.insert(&tag, true).expect(ATTACHED);
            } else {
                tags.delete(&tag).expect(ATTACHED);
            }
        }
        self.doc.commit();
    }
}

struct Set {
    doc: LoroDoc,
    elements: LoroMap,
}

impl Set {
    fn new(id: u64) -> Self {
        let doc = new_doc(id);
        let elements = doc.get_map("elements");
        Self { doc, elements }
    }
}

impl Elements for Set {
    fn add(&mut self, elements: &[u64]) {
        for element in elements {
            self.elements.insert(&element.to_string(), true).expect(ATTACHED);
        }
        self.doc.commit();
    }

    fn remove(&mut self, elements: &[u64]) {
        for element in elements {
            self.elements.delete(&element.to_string()).expect(ATTACHED);
        }
        self.doc.commit();
    }

    fn full(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        full(&self.doc)
    }

    fn contents(&self) -> BTreeSet<u64> {
        self.elements.keys().map(|element| element.parse().expect("elements are numbers")).collect()
    }
}
