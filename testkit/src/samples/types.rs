//! A sample of each type.

use driftless::{Counter, Crdt, Flag, LwwRegister, MergeMap, MvRegister, OrSet};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::samples::{Sending, Visitor, regions, sync, write};
use crate::schema::Schema;

pub(super) fn visit(visitor: &mut impl Visitor) {
    lww_register(visitor);
    mv_register(visitor);
    plain_values(visitor);
    flag(visitor);
    set(visitor);
    counter(visitor);
    nested_maps(visitor);
    structs(visitor);
}

fn lww_register(visitor: &mut impl Visitor) {
    let [mut eu, mut us, _] = regions::<LwwRegister<String>>();
    let mut sending = Sending::new();
    write(&mut eu, 0, |name| name.set("Ada"));
    sending.send(&eu);
    write(&mut us, 5, |name| name.set("Grace"));
    sync(&eu, &mut us);
    sending.send(&us);
    sync(&us, &mut eu);
    write(&mut eu, 9, |name| name.set("é中🦀"));
    sending.send(&eu);
    write(&mut eu, 12, |name| name.clear());
    sending.send(&eu);
    visitor.visit(sending.end(
        "lww-register",
        Schema::Register,
        "A text: written; written elsewhere without having seen it; superseded; removed.",
    ));
}

fn mv_register(visitor: &mut impl Visitor) {
    let [mut eu, mut us, mut ap] = regions::<MvRegister<Option<i64>>>();
    let mut sending = Sending::new();
    write(&mut eu, 0, |note| note.set(-1));
    write(&mut us, 0, |note| note.set(None));
    write(&mut ap, 70_000, |note| note.set(i64::MAX));
    sync(&us, &mut eu);
    sync(&ap, &mut eu);
    sending.send(&eu);
    write(&mut us, 70_001, |note| note.set(7));
    sync(&us, &mut eu);
    sending.send(&eu);
    visitor.visit(sending.end(
        "mv-register",
        Schema::Register,
        "Three replicas write a number or nothing without having seen each other; then one of them writes again.",
    ));
}

#[derive(Clone, Serialize, Deserialize)]
struct Address {
    street: String,
    number: u16,
}

#[derive(Clone, Serialize, Deserialize)]
enum Contact {
    None,
    Mail(String),
    Post(Address),
    Both { mail: String, phone: Option<u64> },
}

#[derive(Crdt)]
struct Plain {
    truth: LwwRegister<bool>,
    int: LwwRegister<i64>,
    large: LwwRegister<u64>,
    float: LwwRegister<f64>,
    single: LwwRegister<f32>,
    char: LwwRegister<char>,
    bytes: LwwRegister<Vec<u8>>,
    id: LwwRegister<Uuid>,
    pair: LwwRegister<(f64, String)>,
    unit: LwwRegister<()>,
    address: LwwRegister<Address>,
    contacts: LwwRegister<Vec<Contact>>,
}

fn plain_values(visitor: &mut impl Visitor) {
    const SCHEMA: Schema = Schema::Struct(&[
        ("truth", Schema::Register),
        ("int", Schema::Register),
        ("large", Schema::Register),
        ("float", Schema::Register),
        ("single", Schema::Register),
        ("char", Schema::Register),
        ("bytes", Schema::Register),
        ("id", Schema::Register),
        ("pair", Schema::Register),
        ("unit", Schema::Register),
        ("address", Schema::Register),
        ("contacts", Schema::Register),
    ]);
    let [mut eu, ..] = regions::<Plain>();
    let mut sending = Sending::new();
    let address = || Address { street: "Rue de l'Été".to_owned(), number: 300 };
    write(&mut eu, 0, |plain| {
        plain.truth().set(true);
        plain.int().set(i64::MIN);
        plain.large().set(i64::MAX as u64);
        plain.float().set(-0.0);
        plain.single().set(0.1);
        plain.char().set('中');
        plain.bytes().set(vec![0, 127, 128, 255]);
        plain.id().set(Uuid::from_u128(0x0123_4567_89ab_4def_8123_4567_89ab_cdef));
        plain.pair().set((f64::NAN, "half".to_owned()));
        plain.unit().set(());
        plain.address().set(address());
        plain.contacts().set(vec![
            Contact::None,
            Contact::Mail("ada@example.org".to_owned()),
            Contact::Post(address()),
            Contact::Both { mail: String::new(), phone: None },
            Contact::Both { mail: String::new(), phone: Some(1) },
        ]);
    });
    sending.send(&eu);
    visitor.visit(sending.end(
        "plain-values",
        SCHEMA,
        "A struct of registers of plain values, as serde writes them.",
    ));
}

fn flag(visitor: &mut impl Visitor) {
    let [mut eu, mut us, mut ap] = regions::<Flag>();
    let mut sending = Sending::new();
    write(&mut eu, 0, |flag| flag.enable());
    sending.send(&eu);
    sync(&eu, &mut us);
    write(&mut us, 1, |flag| flag.disable());
    sending.send(&us);
    write(&mut ap, 1, |flag| flag.enable());
    sync(&ap, &mut us);
    write(&mut eu, 3, |flag| flag.enable());
    sync(&eu, &mut us);
    sending.send(&us);
    sync(&us, &mut ap);
    write(&mut ap, 4, |flag| flag.enable());
    sending.send(&ap);
    visitor.visit(sending.end(
        "flag",
        Schema::Flag,
        "A flag: on; off; on again by two who had not seen each other; on by one who had seen both.",
    ));
}

fn set(visitor: &mut impl Visitor) {
    let [mut eu, mut us, _] = regions::<OrSet<String>>();
    let mut sending = Sending::new();
    write(&mut eu, 0, |tags| ["red", "green", "blue", ""].map(|tag| tags.add(tag)));
    sync(&eu, &mut us);
    sending.send(&eu);
    write(&mut eu, 2, |tags| tags.remove("red"));
    write(&mut us, 2, |tags| tags.add("red"));
    write(&mut us, 3, |tags| tags.remove("green"));
    sync(&us, &mut eu);
    sending.send(&eu);
    write(&mut eu, 4, |tags| {
        tags.remove("blue");
        tags.add("blue");
    });
    write(&mut eu, 4, |tags| (0..20).for_each(|number| tags.add(&format!("tag {number}"))));
    sending.send(&eu);
    visitor.visit(sending.end(
        "set",
        Schema::Set,
        "Elements added; one removed while it was added elsewhere, one removed; one removed and added in one transaction, \
         and more than fit a short array.",
    ));
}

fn counter(visitor: &mut impl Visitor) {
    let [mut eu, mut us, mut ap] = regions::<Counter>();
    let mut sending = Sending::new();
    let add = |by| move |visits: &mut <Counter as Crdt>::Mut<'_>| visits.add(by).expect("the sum is small");
    write(&mut eu, 0, add(5));
    sending.send(&eu);
    write(&mut us, 1, add(-200));
    sync(&eu, &mut us);
    write(&mut us, 3, add(1));
    sending.send(&us);
    // What is removed here is counted on elsewhere: the run goes on, and the removal has recorded how far it had come.
    sync(&us, &mut eu);
    sync(&us, &mut ap);
    write(&mut eu, 4, |visits| visits.reset());
    write(&mut us, 5, add(70_000));
    write(&mut ap, 5, add(1 << 40));
    sending.send(&eu);
    sync(&us, &mut eu);
    sync(&ap, &mut eu);
    sending.send(&eu);
    // Who counts after having seen the removal begins a new run.
    write(&mut eu, 6, add(2));
    write(&mut eu, 8, add(2));
    sending.send(&eu);
    visitor.visit(sending.end(
        "counter",
        Schema::Counter,
        "Two count; one resets while the other and a third count on; the one who reset begins a new run.",
    ));
}

fn nested_maps(visitor: &mut impl Visitor) {
    type Stock = MergeMap<Uuid, MergeMap<u16, Counter>>;
    const SCHEMA: Schema = Schema::Map(&Schema::Map(&Schema::Counter));
    let [mut eu, mut us, _] = regions::<Stock>();
    let mut sending = Sending::new();
    let shop = |number: u128| Uuid::from_u128(0x5407_0000_0000_4000_8000_0000_0000_0000 | number);
    let add = |stock: &mut <Stock as Crdt>::Mut<'_>, number, article: u16, by| {
        stock.update(&shop(number), |shop| {
            shop.update(&article, |count| count.add(by).expect("the sum is small"));
        });
    };
    write(&mut eu, 0, |stock| {
        (1..=3).for_each(|number| add(stock, number, 7, 10));
        add(stock, 1, 300, 20);
    });
    sync(&eu, &mut us);
    sending.send(&eu);
    write(&mut eu, 2, |stock| {
        stock.remove(&shop(1));
        stock.update(&shop(2), |shop| shop.remove(&7));
        stock.remove(&shop(3));
        add(stock, 3, 8, 1);
    });
    write(&mut us, 2, |stock| {
        add(stock, 1, 7, -3);
        add(stock, 1, 8, 4);
        add(stock, 2, 7, -5);
    });
    sending.send(&eu);
    sync(&us, &mut eu);
    sending.send(&eu);
    write(&mut eu, 3, |stock| {
        add(stock, 1, 7, 1);
        add(stock, 3, 8, 1);
    });
    sending.send(&eu);
    visitor.visit(sending.end(
        "nested-maps",
        SCHEMA,
        "Maps in a map: rows removed at both levels, one removed and written again in one transaction; what was counted there \
         elsewhere comes back; rows written after their removal.",
    ));
}

#[derive(Crdt)]
struct User {
    name: LwwRegister<String>,
    notes: MvRegister<String>,
    is_active: Flag,
    tags: OrSet<String>,
    visits: Counter,
    devices: MergeMap<u8, Device>,
}

#[derive(Crdt)]
struct Device {
    label: LwwRegister<Option<String>>,
    uses: Counter,
}

fn structs(visitor: &mut impl Visitor) {
    const DEVICE: Schema = Schema::Struct(&[("label", Schema::Register), ("uses", Schema::Counter)]);
    const USER: Schema = Schema::Struct(&[
        ("name", Schema::Register),
        ("notes", Schema::Register),
        ("is_active", Schema::Flag),
        ("tags", Schema::Set),
        ("visits", Schema::Counter),
        ("devices", Schema::Map(&DEVICE)),
    ]);
    let [mut eu, mut us, _] = regions::<MergeMap<Uuid, User>>();
    let mut sending = Sending::new();
    let key = Uuid::from_u128(0x0123_4567_89ab_4def_8123_4567_89ab_cdef);
    let write_all = |users: &mut <MergeMap<Uuid, User> as Crdt>::Mut<'_>, name: &str| {
        users.update(&key, |user| {
            user.name().set(name);
            user.notes().set(format!("{name} wrote this"));
            user.is_active().enable();
            user.tags().add(name);
            user.visits().add(1).expect("the sum is small");
            user.devices().update(&1, |device| {
                device.label().set((name == "Ada").then(|| "phone".to_owned()));
                device.uses().add(3).expect("the sum is small");
            });
        });
    };
    write(&mut eu, 0, |users| write_all(users, "Ada"));
    write(&mut us, 1, |users| write_all(users, "Grace"));
    sending.send(&eu);
    sync(&us, &mut eu);
    sending.send(&eu);
    write(&mut eu, 40, |users| users.update(&key, |user| user.name().set("Ada Lovelace")));
    sending.send(&eu);
    write(&mut eu, 80, |users| users.remove(&key));
    sending.send(&eu);
    visitor.visit(sending.end(
        "structs",
        Schema::Map(&USER),
        "A map of structs: all fields written; written elsewhere without having seen them; one field; the row removed.",
    ));
}
