//! The types that histories are run for.

use driftless::{Counter, Crdt, Document, Flag, LwwRegister, MergeMap, MvRegister, OrSet, Value, Writer};
use driftless_testkit::json::to_value;

use crate::history::History;

/// State that a line of a history can write and show.
pub(crate) trait Scripted: Crdt {
    fn act(handle: &mut Self::Mut<'_>, op: &[&str]);

    fn show(&self) -> String;
}

/// Runs the histories of a number for all types in which names can be there or not: `add x`, `remove x`; shown are the names
/// that are there.
pub(crate) fn names(text: &'static str, number: &str) {
    for history in History::all(text, number) {
        history.check::<OrSet<String>>(true);
        macro_rules! check {
            ($($type:ty),+) => {$(history.check::<$type>(false);)+};
        }
        for_each_type_of_names!(check);
    }
}

/// Calls a macro with all types in which names can be there or not.
macro_rules! for_each_type_of_names {
    ($macro:ident) => {
        $macro! {
            driftless::OrSet<String>,
            driftless::MergeMap<String, driftless::LwwRegister<i64>>,
            driftless::MergeMap<String, driftless::Counter>,
            driftless::MergeMap<String, driftless::MergeMap<u8, driftless::MvRegister<i64>>>,
            $crate::subjects::Switches,
            $crate::subjects::Cells,
            $crate::subjects::Shelf,
            $crate::subjects::ElementsOfDocument,
            $crate::subjects::NamesOfDocument
        }
    };
}
pub(crate) use for_each_type_of_names;

/// Runs the histories of a number for a document, and for a struct that is made like it:
///
/// | the last name of a path | what is there | how it is written |
/// |---|---|---|
/// | `title` | a register | `set path json` |
/// | `notes` | a multi-value register | `assign path json` |
/// | `tags` | a set | `add path json`, `remove path json` |
/// | `count` | a counter | `inc path n` |
/// | `on` | a flag | `enable path`, `disable path` |
/// | any other | names again | |
///
/// `delete path` removes what is there. Shown is the whole as compact JSON.
pub(crate) fn documents(text: &'static str, number: &str) {
    for history in History::all(text, number) {
        history.check::<Document>(true);
        history.check::<Item>(false);
    }
}

/// State below a key that is there once it was written.
trait Written: Crdt {
    fn write(handle: &mut Self::Mut<'_>);
}

impl Written for LwwRegister<i64> {
    fn write(handle: &mut Self::Mut<'_>) {
        handle.set(1);
    }
}

impl Written for Counter {
    fn write(handle: &mut Self::Mut<'_>) {
        handle.add(1).unwrap();
    }
}

impl Written for MergeMap<u8, MvRegister<i64>> {
    fn write(handle: &mut Self::Mut<'_>) {
        handle.update(&1, |register| register.set(1));
    }
}

fn sorted<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let mut names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    names.sort_unstable();
    names.join(" ")
}

fn no_such(op: &[&str]) -> ! {
    panic!("`{}` cannot be done to this type", op.join(" "))
}

impl Scripted for OrSet<String> {
    fn act(set: &mut Self::Mut<'_>, op: &[&str]) {
        match *op {
            ["add", name] => set.add(name),
            ["remove", name] => drop(set.remove(name)),
            _ => no_such(op),
        }
    }

    fn show(&self) -> String {
        sorted(self.iter())
    }
}

impl<V: Written> Scripted for MergeMap<String, V> {
    fn act(map: &mut Self::Mut<'_>, op: &[&str]) {
        match *op {
            ["add", name] => map.update(name, V::write),
            ["remove", name] => drop(map.remove(name)),
            _ => no_such(op),
        }
    }

    fn show(&self) -> String {
        sorted(self.keys())
    }
}

/// Each name is a flag in a cell of its own, and there is no row around it.
#[derive(Crdt)]
pub(crate) struct Switches {
    x: Flag,
    y: Flag,
    z: Flag,
}

impl Scripted for Switches {
    fn act(switches: &mut Self::Mut<'_>, op: &[&str]) {
        let mut switch = match op[1] {
            "x" => switches.x(),
            "y" => switches.y(),
            "z" => switches.z(),
            _ => no_such(op),
        };
        match op[0] {
            "add" => switch.enable(),
            "remove" => drop(switch.disable()),
            _ => no_such(op),
        }
    }

    fn show(&self) -> String {
        let all = [("x", &self.x), ("y", &self.y), ("z", &self.z)];
        let on: Vec<_> = all.iter().filter(|(_, flag)| flag.is_enabled()).map(|(name, _)| *name).collect();
        on.join(" ")
    }
}

/// Each name is a cell of another type, and there is no row around it.
#[derive(Crdt)]
pub(crate) struct Cells {
    x: Counter,
    y: LwwRegister<i64>,
    z: MvRegister<i64>,
}

impl Scripted for Cells {
    fn act(cells: &mut Self::Mut<'_>, op: &[&str]) {
        match *op {
            ["add", "x"] => cells.x().add(1).unwrap(),
            ["add", "y"] => cells.y().set(1),
            ["add", "z"] => cells.z().set(1),
            ["remove", "x"] => drop(cells.x().reset()),
            ["remove", "y"] => drop(cells.y().clear()),
            ["remove", "z"] => drop(cells.z().clear()),
            _ => no_such(op),
        }
    }

    fn show(&self) -> String {
        let live = [self.x.is_counting(), self.y.latest().is_some(), self.z.all().next().is_some()];
        let live: Vec<_> = ["x", "y", "z"].into_iter().zip(live).filter(|(_, live)| *live).collect();
        live.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
    }
}

/// Names are elements of a set in a struct in a map.
#[derive(Crdt)]
pub(crate) struct Shelf {
    books: MergeMap<u8, Book>,
}

#[derive(Crdt)]
struct Book {
    title: LwwRegister<String>,
    tags: OrSet<String>,
}

impl Scripted for Shelf {
    fn act(shelf: &mut Self::Mut<'_>, op: &[&str]) {
        shelf.books().update(&7, |book| OrSet::act(&mut book.tags(), op));
    }

    fn show(&self) -> String {
        self.books.get(&7).map(|book| book.tags.show()).unwrap_or_default()
    }
}

/// Names are elements of a set in a document.
#[derive(Crdt)]
pub(crate) struct ElementsOfDocument {
    body: Document,
}

impl Scripted for ElementsOfDocument {
    fn act(handle: &mut Self::Mut<'_>, op: &[&str]) {
        match *op {
            ["add", name] => handle.body().add(&["tags"], name).unwrap(),
            ["remove", name] => drop(handle.body().remove(&["tags"], name).unwrap()),
            _ => no_such(op),
        }
    }

    fn show(&self) -> String {
        let names = self.body.set_at(&["tags"]).into_iter().flat_map(OrSet::iter);
        let mut names: Vec<String> =
            names.map(|name| name.to_string().trim_matches('"').to_owned()).collect();
        names.sort_unstable();
        names.join(" ")
    }
}

/// Names are those of a document, two levels down; what is there is of a kind that depends on the name.
#[derive(Crdt)]
pub(crate) struct NamesOfDocument {
    body: Document,
}

impl Scripted for NamesOfDocument {
    fn act(handle: &mut Self::Mut<'_>, op: &[&str]) {
        let path = ["names", op[1]];
        let mut body = handle.body();
        let done = match *op {
            ["add", "x"] => body.set(&path, 1),
            ["add", "y"] => body.increment(&path, 1),
            ["add", _] => body.enable(&path),
            ["remove", _] => body.delete(&path).map(drop),
            _ => no_such(op),
        };
        done.unwrap();
    }

    fn show(&self) -> String {
        self.body.names(&["names"]).join(" ")
    }
}

fn json(text: &str) -> Value {
    to_value(&serde_json::from_str(text).unwrap()).unwrap()
}

fn path(text: &str) -> Vec<&str> {
    text.split('.').collect()
}

impl Scripted for Document {
    fn act(document: &mut Writer<'_, Self>, op: &[&str]) {
        let at = path(op[1]);
        let done = match *op {
            ["set", _, value] => document.set(&at, json(value)),
            ["assign", _, value] => document.assign(&at, json(value)),
            ["add", _, value] => document.add(&at, json(value)),
            ["remove", _, value] => document.remove(&at, json(value)).map(drop),
            ["inc", _, by] => document.increment(&at, by.parse().unwrap()),
            ["enable", _] => document.enable(&at),
            ["disable", _] => document.disable(&at).map(drop),
            ["delete", _] => document.delete(&at).map(drop),
            _ => no_such(op),
        };
        done.unwrap();
    }

    fn show(&self) -> String {
        self.to_value().to_string()
    }
}

/// What a document of the names above would be, as a type.
#[derive(Crdt)]
pub(crate) struct Item {
    pub(crate) title: LwwRegister<Value>,
    pub(crate) notes: MvRegister<Value>,
    pub(crate) tags: OrSet<Value>,
    pub(crate) count: Counter,
    pub(crate) on: Flag,
    pub(crate) below: MergeMap<String, Self>,
}

impl Item {
    fn act_at(item: &mut ItemMut<'_>, at: &[&str], op: &[&str]) {
        if let [name, below @ ..] = at
            && !below.is_empty()
        {
            item.below().update(*name, |item| Self::act_at(item, below, op));
            return;
        }
        match (at[0], op) {
            ("title", ["set", _, value]) => item.title().set(json(value)),
            ("title", ["delete", _]) => drop(item.title().clear()),
            ("notes", ["assign", _, value]) => item.notes().set(json(value)),
            ("notes", ["delete", _]) => drop(item.notes().clear()),
            ("tags", ["add", _, value]) => item.tags().add(&json(value)),
            ("tags", ["remove", _, value]) => drop(item.tags().remove(&json(value))),
            ("tags", ["delete", _]) => drop(item.tags().clear()),
            ("count", ["inc", _, by]) => item.count().add(by.parse().unwrap()).unwrap(),
            ("count", ["delete", _]) => drop(item.count().reset()),
            ("on", ["enable", _]) => item.on().enable(),
            ("on", ["disable" | "delete", _]) => drop(item.on().disable()),
            (name, ["delete", _]) => drop(item.below().remove(name)),
            _ => no_such(op),
        }
    }

    fn to_value(&self) -> Value {
        let list = |mut values: Vec<&Value>| {
            values.sort_unstable();
            (!values.is_empty()).then(|| Value::List(values.into_iter().cloned().collect()))
        };
        let fields = [
            ("title", self.title.latest().cloned()),
            ("notes", list(self.notes.distinct())),
            ("tags", list(self.tags.iter().collect())),
            ("count", self.count.is_counting().then(|| Value::Int(self.count.value()))),
            ("on", self.on.is_enabled().then_some(Value::Bool(true))),
        ];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let below = self.below.iter().map(|(name, item)| (name.clone(), item.to_value()));
        Value::Map(fields.chain(below).collect())
    }
}

impl Scripted for Item {
    fn act(item: &mut Self::Mut<'_>, op: &[&str]) {
        Self::act_at(item, &path(op[1]), op);
    }

    fn show(&self) -> String {
        self.to_value().to_string()
    }
}
