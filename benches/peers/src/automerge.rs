//! automerge: a root map of maps; keys are texts. One transaction a batch; new documents are made by `batch_create_object`.
//! Messages are the changes since some heads, a whole state is its saved document.

use std::any::Any;
use std::collections::{BTreeSet, HashMap};

use automerge::transaction::{Transactable, Transaction};
use automerge::{ActorId, Automerge as Doc, ChangeHash, ObjId, ObjType, ROOT, ReadDoc, ScalarValue, hydrate};

use crate::contestant::{Contestant, Documents, Elements, Tagged};
use crate::data::{
    Change, Contents, Document, Field, Fields, Key, NAMES, Record, TagChange, Value, id_of, weight_of_flag,
    weight_of_number, weight_of_text, wide,
};
use crate::rows::Row;

pub(crate) struct Automerge;

impl Contestant for Automerge {
    fn name(&self) -> &'static str {
        "automerge"
    }

    fn documents(&self, id: u64) -> Box<dyn Documents> {
        Box::new(Map::new(id))
    }

    fn tagged(&self, id: u64) -> Option<Box<dyn Tagged>> {
        Some(Box::new(Map::new(id)))
    }

    fn elements(&self, id: u64) -> Option<Box<dyn Elements>> {
        Some(Box::new(Set { doc: new_doc(id) }))
    }

    fn at_most(&self, row: Row) -> usize {
        match row {
            Row::Churn => 200_000,
            _ => usize::MAX,
        }
    }

    fn note(&self, row: Row) -> Option<&'static str> {
        match row {
            Row::Snapshot => Some("the heads, at which the document can still be read later"),
            Row::Full => Some("deflated by the engine"),
            Row::Set => Some("a map with the elements as texts for keys"),
            _ => None,
        }
    }
}

const WRITABLE: &str = "the object is a map";

fn new_doc(id: u64) -> Doc {
    Doc::new().with_actor(actor(id))
}

fn actor(id: u64) -> ActorId {
    // Ids have 16 bytes.
    ActorId::from([wide(id), wide(!id)].map(u64::to_be_bytes).as_flattened())
}

fn full(doc: &Doc) -> Vec<(&'static str, Vec<u8>)> {
    vec![("save", doc.save()), ("save_nocompress", doc.save_nocompress())]
}

fn object_at(doc: &impl ReadDoc, parent: &ObjId, key: &str) -> ObjId {
    match doc.get(parent, key) {
        Ok(Some((automerge::Value::Object(ObjType::Map), id))) => id,
        _ => panic!("it was inserted"),
    }
}

/// The map at `name` in the root, which the first write makes.
fn root_map(txn: &mut Transaction<'_>, name: &str) -> ObjId {
    match txn.get(ROOT, name) {
        Ok(Some((automerge::Value::Object(ObjType::Map), id))) => id,
        _ => txn.put_object(ROOT, name, ObjType::Map).expect(WRITABLE),
    }
}

fn scalar(value: &Value) -> ScalarValue {
    match value {
        Value::Name(text) | Value::Email(text) => ScalarValue::Str(text.as_str().into()),
        Value::Age(age) => ScalarValue::Int(*age),
        Value::Active(active) => ScalarValue::Boolean(*active),
    }
}

fn text(text: &str) -> hydrate::Value {
    hydrate::Value::Scalar(ScalarValue::Str(text.into()))
}

fn scalar_at(doc: &Doc, object: &ObjId, name: &str) -> ScalarValue {
    match doc.get(object, name) {
        Ok(Some((automerge::Value::Scalar(scalar), _))) => scalar.into_owned(),
        _ => panic!("all fields are written"),
    }
}

fn weight(scalar: &ScalarValue) -> u64 {
    match scalar {
        ScalarValue::Str(text) => weight_of_text(text),
        ScalarValue::Int(number) => weight_of_number(*number),
        ScalarValue::Boolean(flag) => weight_of_flag(*flag),
        other => panic!("no field holds {other:?}"),
    }
}

fn fields(map: &hydrate::Map) -> Fields {
    let mut fields = Fields::default();
    for field in Field::ALL {
        let Some(hydrate::Value::Scalar(scalar)) = map.get(field.name()) else {
            panic!("all fields are written")
        };
        fields.set(match (field, scalar) {
            (Field::Name, ScalarValue::Str(text)) => Value::Name(text.to_string()),
            (Field::Email, ScalarValue::Str(text)) => Value::Email(text.to_string()),
            (Field::Age, ScalarValue::Int(age)) => Value::Age(*age),
            (Field::Active, ScalarValue::Boolean(active)) => Value::Active(*active),
            (field, other) => panic!("{field:?} is not {other:?}"),
        });
    }
    fields
}

struct Map {
    id: u64,
    doc: Doc,
    mark: Vec<ChangeHash>,
}

impl Map {
    fn new(id: u64) -> Self {
        Self { id, doc: new_doc(id), mark: Vec::new() }
    }

    /// The map at `name` in the root as plain values.
    fn hydrated(&self, name: &str) -> Option<hydrate::Map> {
        let (_, object) = self.doc.get(ROOT, name).expect("the root is a map")?;
        match ReadDoc::hydrate(&self.doc, &object, None).expect("it is there") {
            hydrate::Value::Map(map) => Some(map),
            other => panic!("{other:?} is no map"),
        }
    }
}

impl Documents for Map {
    fn insert(&mut self, documents: &[Document<'_>]) {
        let mut txn = self.doc.transaction();
        let accounts = root_map(&mut txn, "documents");
        for Document { key, fields, tags } in documents {
            let account = hydrate::Value::from(HashMap::from([
                (NAMES[0], text(&fields.name)),
                (NAMES[1], text(&fields.email)),
                (NAMES[2], hydrate::Value::from(fields.age)),
                (NAMES[3], hydrate::Value::Scalar(ScalarValue::Boolean(fields.active))),
            ]));
            txn.batch_create_object(&accounts, key.text.as_str(), &account, false).expect(WRITABLE);
            if !tags.is_empty() {
                let all = root_map(&mut txn, "tags");
                let all = txn.put_object(&all, key.text.as_str(), ObjType::Map).expect(WRITABLE);
                for tag in *tags {
                    txn.put(&all, tag.to_string(), true).expect(WRITABLE);
                }
            }
        }
        txn.commit();
    }

    fn overwrite(&mut self, changes: &[Change<'_>]) {
        let mut txn = self.doc.transaction();
        let accounts = root_map(&mut txn, "documents");
        for change in changes {
            let account = object_at(&txn, &accounts, &change.key.text);
            txn.put(&account, change.value.field().name(), scalar(&change.value)).expect(WRITABLE);
        }
        txn.commit();
    }

    fn mark(&mut self) {
        self.mark = self.doc.get_heads();
    }

    fn delta(&mut self) -> Vec<u8> {
        self.doc.save_after(&self.mark)
    }

    fn apply(&mut self, message: &[u8]) {
        self.doc.load_incremental(message).expect("a message of a peer");
    }

    fn full(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        full(&self.doc)
    }

    fn load(&mut self, bytes: &[u8]) {
        self.doc = Doc::load(bytes).expect("what was saved").with_actor(actor(self.id));
    }

    fn read(&self, picks: &[(&Key, Field)]) -> u64 {
        let accounts = object_at(&self.doc, &ROOT, "documents");
        let pick = |(key, field): &(&Key, Field)| {
            let account = object_at(&self.doc, &accounts, &key.text);
            weight(&scalar_at(&self.doc, &account, field.name()))
        };
        picks.iter().map(pick).sum()
    }

    fn touch(&self) -> u64 {
        let accounts = self.hydrated("documents").expect("it was inserted");
        let all = accounts.iter().map(|(_, account)| match &account.value {
            hydrate::Value::Map(account) => account
                .iter()
                .map(|(_, value)| match &value.value {
                    hydrate::Value::Scalar(scalar) => weight(scalar),
                    other => panic!("no field holds {other:?}"),
                })
                .sum::<u64>(),
            other => panic!("{other:?} is no document"),
        });
        all.sum()
    }

    fn snapshot(&mut self) -> Option<Box<dyn Any>> {
        Some(Box::new(self.doc.get_heads()))
    }

    fn contents(&self) -> Contents {
        let mut contents = Contents::new();
        for (key, account) in self.hydrated("documents").iter().flat_map(hydrate::Map::iter) {
            let hydrate::Value::Map(account) = &account.value else { panic!("documents are maps") };
            contents.insert(id_of(key), Record { fields: fields(account), tags: BTreeSet::new() });
        }
        for (key, tags) in self.hydrated("tags").iter().flat_map(hydrate::Map::iter) {
            let hydrate::Value::Map(tags) = &tags.value else { panic!("tags are maps") };
            let tags = tags.iter().map(|(tag, _)| tag.parse().expect("tags are numbers")).collect();
            contents.entry(id_of(key)).or_default().tags = tags;
        }
        contents
    }
}

impl Tagged for Map {
    fn tag(&mut self, changes: &[TagChange<'_>]) {
        let mut txn = self.doc.transaction();
        let all = root_map(&mut txn, "tags");
        for change in changes {
            let tags = object_at(&txn, &all, &change.key.text);
            let done = if change.is_added {
                txn.put(&tags, change.tag.to_string(), true)
            } else {
                txn.delete(&tags, change.tag.to_string())
            };
            done.expect(WRITABLE);
        }
        txn.commit();
    }
}

struct Set {
    doc: Doc,
}

impl Elements for Set {
    fn add(&mut self, elements: &[u64]) {
        let mut txn = self.doc.transaction();
        for element in elements {
            txn.put(ROOT, element.to_string(), true).expect(WRITABLE);
        }
        txn.commit();
    }

    fn remove(&mut self, elements: &[u64]) {
        let mut txn = self.doc.transaction();
        for element in elements {
            txn.delete(ROOT, element.to_string()).expect(WRITABLE);
        }
        txn.commit();
    }

    fn full(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        full(&self.doc)
    }

    fn contents(&self) -> BTreeSet<u64> {
        self.doc.keys(ROOT).map(|element| element.parse().expect("elements are numbers")).collect()
    }
}
