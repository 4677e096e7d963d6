//! Samples of keys in short form: answers to what the reader asked.

use driftless::{Config, Crdt, Document, LwwRegister, MergeMap, OrSet};
use uuid::Uuid;

use crate::samples::{Sending, Visitor, regions, sync, write};
use crate::schema::Schema;

pub(super) fn visit(visitor: &mut impl Visitor) {
    map(visitor);
    maps_in_a_struct(visitor);
}

/// Requests of a reader that hashes keys in the same way each time.
fn sending<S: Crdt>() -> Sending<S> {
    Sending::to(Config { hash_seed: Some(7), ..Config::default() })
}

fn key(number: u128) -> Uuid {
    Uuid::from_u128(0x0123_4567_89ab_4def_8123_4567_0000_0000 + number)
}

fn map(visitor: &mut impl Visitor) {
    type Names = MergeMap<Uuid, MergeMap<u8, LwwRegister<String>>>;
    let [mut eu, mut us, _] = regions::<Names>();
    // The reader is known to hold a row for what stands in it beside the news.
    let set = |map: &mut <Names as Crdt>::Mut<'_>, number, place: u8, name: &str| {
        map.update(&key(number), |names| names.update(&place, |register| register.set(name)));
    };
    let mut sending = sending();
    write(&mut eu, 0, |map| (0..9).for_each(|number| set(map, number, 0, "first")));
    sync(&eu, &mut us);
    sending.send(&eu);
    write(&mut us, 1, |map| set(map, 3, 1, "of one row"));
    sending.answer(&us);
    write(&mut us, 2, |map| (6..9).for_each(|number| set(map, number, 1, "of three rows")));
    sending.answer(&us);
    write(&mut us, 3, |map| {
        (2..8).for_each(|number| set(map, number, 2, "of some"));
        map.remove(&key(1));
        map.remove(&key(4));
        set(map, 4, 1, "again");
        set(map, 100, 1, "new");
    });
    sending.answer(&us);
    write(&mut us, 4, |map| (5..9).for_each(|number| set(map, number, 2, &"x".repeat(40))));
    sending.answer_in_chunks(&us, 120);
    visitor.visit(sending.end(
        "answers",
        Schema::Map(&Schema::Map(&Schema::Register)),
        "Rows that the reader holds: one alone; three; some beside new ones and removed ones; and in chunks.",
    ));
}

#[derive(Crdt)]
struct Shelf {
    books: MergeMap<Uuid, Document>,
    lent: OrSet<Uuid>,
}

fn maps_in_a_struct(visitor: &mut impl Visitor) {
    const SCHEMA: Schema =
        Schema::Struct(&[("books", Schema::Map(&Schema::Document)), ("lent", Schema::Set)]);
    let [mut eu, ..] = regions::<Shelf>();
    let mut sending = sending();
    let set = |shelf: &mut <Shelf as Crdt>::Mut<'_>, number, name: &str, value: i64| {
        shelf
            .books()
            .update(&key(number), |book| book.set(&["data", name], value).expect("the path is short"));
    };
    write(&mut eu, 0, |shelf| {
        (0..4).for_each(|number| set(shelf, number, "pages", 100));
        (0..4).for_each(|number| shelf.lent().add(&key(number)));
    });
    sending.send(&eu);
    write(&mut eu, 1, |shelf| {
        set(shelf, 1, "pages", 200);
        set(shelf, 2, "year", 1999);
        set(shelf, 9, "year", 2000);
        shelf.lent().remove(&key(2));
        shelf.lent().add(&key(3));
    });
    sending.answer(&eu);
    visitor.visit(sending.end(
        "answers-of-a-struct",
        SCHEMA,
        "Rows that the reader holds, in two maps of a struct; the keys below them in full.",
    ));
}
