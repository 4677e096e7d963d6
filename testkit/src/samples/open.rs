//! Samples of open structs, of which releases have other fields.

use driftless::{
    Counter, Crdt, Document, Flag, LwwRegister, MergeMap, MvRegister, OrSet, Replica, UnknownFields,
};

use crate::samples::{AP, EU, Sending, US, Visitor, replica, ship, write};
use crate::schema::Schema;

pub(super) fn visit(visitor: &mut impl Visitor) {
    in_a_map(visitor);
    at_the_root(visitor);
}

/// What the first release had.
#[derive(Crdt)]
struct First {
    name: LwwRegister<String>,
    rest: UnknownFields,
}

/// A release that appended one field.
#[derive(Crdt)]
struct Counted {
    name: LwwRegister<String>,
    seen: Counter,
    rest: UnknownFields,
}

/// A release, made apart from that one, that gave the same number to a field of another type; then others were appended.
#[derive(Crdt)]
struct Latest {
    name: LwwRegister<String>,
    /// Between the others: it has no number.
    rest: UnknownFields,
    seen: Flag,
    size: Size,
    shelves: MergeMap<String, MergeMap<u8, Size>>,
    notes: MvRegister<Option<i64>>,
    tags: OrSet<String>,
    sheet: Document,
    likes: MergeMap<u16, MergeMap<u8, Counter>>,
}

#[derive(Crdt)]
struct Size {
    width: LwwRegister<f32>,
    label: Label,
    uses: Counter,
    rest: UnknownFields,
}

#[derive(Crdt)]
struct Label {
    text: MvRegister<String>,
    rest: UnknownFields,
}

const COUNTED: Schema = Schema::Open(&[("name", Schema::Register), ("seen", Schema::Counter)]);
const LATEST: Schema = Schema::Open(&[
    ("name", Schema::Register),
    ("seen", Schema::Flag),
    ("size", SIZE),
    ("shelves", Schema::Map(&Schema::Map(&SIZE))),
    ("notes", Schema::Values),
    ("tags", Schema::Set),
    ("sheet", Schema::Document),
    ("likes", Schema::Map(&Schema::Map(&Schema::Counter))),
]);
const SIZE: Schema = Schema::Open(&[
    ("width", Schema::Register),
    ("label", Schema::Open(&[("text", Schema::Values)])),
    ("uses", Schema::Counter),
]);

/// A replica of each release.
struct Releases<A, B, C> {
    counted: Replica<A>,
    latest: Replica<B>,
    first: Replica<C>,
}

impl<A: Crdt, B: Crdt, C: Crdt> Releases<A, B, C> {
    fn new() -> Self {
        Self { counted: replica(EU), latest: replica(US), first: replica(AP) }
    }
}

/// Writes what only the latest release has.
fn append(latest: &mut LatestMut<'_>, number: u8) {
    latest.size().width().set(f32::from(number) + 0.5);
    latest.size().label().text().set(format!("size {number}"));
    for shelf in ["left", "right"] {
        latest.shelves().update(shelf, |places| {
            places.update(&number, |size| size.uses().add(i64::from(number)).expect("the sum is small"));
        });
    }
    latest.notes().set((number > 1).then_some(-1));
    latest.tags().add("new");
    latest.sheet().set(&["pages", "first"], i64::from(number)).expect("the path is right");
    latest.likes().update(&300, |by_day| {
        by_day.update(&number, |likes| likes.add(2).expect("the sum is small"));
    });
}

fn count(counted: &mut CountedMut<'_>, by: i64) {
    counted.seen().add(by).expect("the sum is small");
}

fn in_a_map(visitor: &mut impl Visitor) {
    type Shop<Item> = MergeMap<u8, Item>;
    let mut of: Releases<Shop<Counted>, Shop<Latest>, Shop<First>> = Releases::new();
    let mut sending = Sending::<Shop<Counted>>::new();
    write(&mut of.counted, 0, |shop| {
        shop.update(&1, |item| item.name().set("kettle"));
        for number in [1, 2] {
            shop.update(&number, |item| count(item, 5));
        }
    });
    sending.pass_on(&of.counted);
    // A field in two shapes, and others that neither who passes them on nor who reads them has.
    write(&mut of.latest, 1, |shop| {
        for number in [1, 2, 3] {
            shop.update(&number, |item| append(item, number));
        }
        for number in [1, 3] {
            shop.update(&number, |item| item.seen().enable());
        }
    });
    write(&mut of.counted, 2, |shop| {
        for number in [1, 4] {
            shop.update(&number, |item| count(item, -1));
        }
    });
    ship(&of.counted, &mut of.first);
    ship(&of.latest, &mut of.first);
    write(&mut of.first, 3, |shop| shop.update(&2, |item| item.name().set("pot")));
    sending.pass_on(&of.first);
    // What is removed around them is removed there, too, but for what was written meanwhile.
    ship(&of.first, &mut of.latest);
    write(&mut of.first, 4, |shop| {
        for number in [1, 3] {
            shop.remove(&number);
        }
    });
    write(&mut of.latest, 4, |shop| {
        shop.update(&1, |item| {
            item.shelves().remove("left");
            item.size().uses().add(7).expect("the sum is small");
        });
        shop.update(&2, |item| item.seen().enable());
    });
    write(&mut of.latest, 5, |shop| shop.update(&2, |item| item.seen().disable()));
    sending.pass_on(&of.first);
    ship(&of.latest, &mut of.first);
    sending.pass_on_in_chunks(&of.first, 40);
    visitor.visit(sending.end(
        "open-structs",
        Schema::Map(&COUNTED),
        "A map of open structs, read by a release with two fields: its own; what releases with other fields wrote, one of \
         another type under the same number, passed on by one that has neither; rows removed, one of them written meanwhile, \
         in chunks.",
    ));
}

fn at_the_root(visitor: &mut impl Visitor) {
    let mut of: Releases<Counted, Latest, First> = Releases::new();
    let mut sending = Sending::<Latest>::new();
    write(&mut of.latest, 0, |item| {
        append(item, 1);
        item.seen().enable();
        item.name().set("kettle");
    });
    ship(&of.latest, &mut of.first);
    write(&mut of.first, 1, |item| item.name().set("pot"));
    sending.pass_on(&of.first);
    write(&mut of.counted, 2, |item| {
        count(item, 3);
        item.name().set("pan");
    });
    sending.pass_on(&of.counted);
    // Each writes further what the other does not know.
    ship(&of.counted, &mut of.latest);
    write(&mut of.latest, 3, |item| {
        item.seen().enable();
        item.notes().clear();
        item.tags().remove("new");
        append(item, 2);
    });
    write(&mut of.counted, 3, |item| item.seen().reset());
    write(&mut of.counted, 4, |item| count(item, 1));
    ship(&of.latest, &mut of.counted);
    sending.pass_on(&of.counted);
    visitor.visit(sending.end(
        "open-root",
        LATEST,
        "An open struct with a field of each type, passed on by a release that has one of them; written by one that has a \
         counter where it has a flag; both written again, in one message.",
    ));
}
