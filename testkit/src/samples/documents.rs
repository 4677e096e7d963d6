//! Samples of documents.

use driftless::{Crdt, Document, DocumentError, MergeMap, Replica, Value};
use uuid::Uuid;

use crate::samples::{NOW_MS, Sending, Visitor, regions, sync, values, write};
use crate::schema::Schema;

pub(super) fn visit(visitor: &mut impl Visitor) {
    values_of_documents(visitor);
    kinds(visitor);
    maps_of_documents(visitor);
}

fn edit(
    replica: &mut Replica<Document>,
    after_ms: u64,
    write: impl FnOnce(&mut <Document as Crdt>::Mut<'_>) -> Result<(), DocumentError>,
) {
    replica.transact(NOW_MS + after_ms, write).expect("the paths of a sample are right");
}

fn values_of_documents(visitor: &mut impl Visitor) {
    let [mut eu, ..] = regions::<Document>();
    let mut sending = Sending::new();
    edit(&mut eu, 0, |doc| {
        doc.set(&["list"], values())?;
        values().into_iter().try_for_each(|value| doc.add(&["set"], value))
    });
    sending.send(&eu);
    visitor.visit(sending.end(
        "values",
        Schema::Document,
        "A value of each kind and at each end of its range: in a list, and as elements of a set.",
    ));
}

fn kinds(visitor: &mut impl Visitor) {
    let [mut eu, mut us, _] = regions::<Document>();
    let mut sending = Sending::new();
    edit(&mut eu, 0, |doc| {
        doc.set(&["register"], 1)?;
        doc.assign(&["values"], "mine")?;
        doc.add(&["set"], 7)?;
        doc.increment(&["counter"], 3)?;
        doc.enable(&["flag"])?;
        doc.set(&["map", "deeper", "deepest"], Value::Null)?;
        doc.increment(&["map", "count"], -1)?;
        doc.set(&["clash"], "a register here")
    });
    edit(&mut us, 1, |doc| {
        doc.set(&["register"], 2.5)?;
        doc.assign(&["values"], "yours")?;
        doc.add(&["set"], "seven")?;
        doc.increment(&["counter"], 4)?;
        doc.enable(&["flag"])?;
        doc.set(&["map", "deeper", "other"], true)?;
        doc.enable(&["clash", "a map there"])
    });
    sending.send(&eu);
    sync(&us, &mut eu);
    sending.send(&eu);
    edit(&mut us, 2, |doc| doc.increment(&["map", "count"], 10));
    edit(&mut eu, 2, |doc| {
        doc.set(&["register"], 3)?;
        doc.remove(&["set"], 7)?;
        doc.disable(&["flag"])?;
        doc.delete(&["map"])?;
        doc.delete(&["clash"])?;
        doc.set(&["clash"], "a register again")
    });
    sending.send(&eu);
    sync(&us, &mut eu);
    sending.send(&eu);
    visitor.visit(sending.end(
        "kinds",
        Schema::Document,
        "A document with each kind; the same names written elsewhere, one of them as another kind; names deleted, one of them \
         written again in the same transaction, one of them written elsewhere meanwhile.",
    ));
}

fn maps_of_documents(visitor: &mut impl Visitor) {
    let [mut eu, mut us, _] = regions::<MergeMap<Uuid, Document>>();
    let mut sending = Sending::new();
    let key = |number: u128| Uuid::from_u128(0xd0c0_0000_0000_4000_8000_0000_0000_0000 | number);
    write(&mut eu, 0, |docs| {
        for number in 0..3 {
            let set =
                |doc: &mut <Document as Crdt>::Mut<'_>| doc.set(&["title"], format!("document {number}"));
            docs.update(&key(number), set).expect("the path is right");
        }
    });
    sync(&eu, &mut us);
    write(&mut us, 3, |docs| {
        docs.update(&key(1), |doc| doc.increment(&["reads"], 1)).expect("the path is right");
        docs.remove(&key(2));
    });
    sending.send(&eu);
    sending.send(&us);
    visitor.visit(sending.end(
        "maps-of-documents",
        Schema::Map(&Schema::Document),
        "A map of documents; then one of them is written elsewhere and one removed.",
    ));
}
