//! The types of state that a first byte chooses from.

use driftless::{Counter, Crdt, Flag, LwwRegister, MergeMap, MvRegister, OrSet, UnknownFields};

/// A struct with a field of every type.
#[derive(Crdt, Debug)]
pub(super) struct Record {
    name: LwwRegister<String>,
    notes: MvRegister<Option<i64>>,
    is_active: Flag,
    tags: OrSet<String>,
    visits: Counter,
    home: Home,
    devices: MergeMap<u8, MergeMap<String, Counter>>,
    rest: driftless::Document,
}

#[derive(Crdt, Debug)]
pub(super) struct Home {
    city: LwwRegister<i64>,
    is_current: Flag,
}

crate::struct_subject! {
    Record {
        name: LwwRegister<String>, notes: MvRegister<Option<i64>>, is_active: Flag, tags: OrSet<String>, visits: Counter,
        home: Home, devices: MergeMap<u8, MergeMap<String, Counter>>, rest: driftless::Document,
    }
}
crate::struct_subject! { Home { city: LwwRegister<i64>, is_current: Flag } }

/// An open struct.
#[derive(Crdt, Debug)]
pub(super) struct Opened {
    name: LwwRegister<String>,
    rest: UnknownFields,
    visits: Counter,
    home: Open,
    devices: MergeMap<u8, MergeMap<String, Open>>,
    notes: MvRegister<i64>,
}

/// One within it.
#[derive(Crdt, Debug)]
pub(super) struct Open {
    city: LwwRegister<i64>,
    is_current: Flag,
    rest: UnknownFields,
}

crate::struct_subject! { open Open { city: LwwRegister<i64>, is_current: Flag } }
crate::struct_subject! {
    open Opened {
        name: LwwRegister<String>, visits: Counter, home: Open, devices: MergeMap<u8, MergeMap<String, Open>>,
        notes: MvRegister<i64>,
    }
}

/// The same in another release: most fields are of other types, and there are more.
#[derive(Crdt, Debug)]
pub(super) struct Elsewhere {
    name: LwwRegister<String>,
    visits: Flag,
    home: Counter,
    devices: MergeMap<u8, MergeMap<String, Counter>>,
    notes: LwwRegister<i64>,
    tags: OrSet<String>,
    former: Open,
    people: MergeMap<String, Open>,
    document: driftless::Document,
    rest: UnknownFields,
}

crate::struct_subject! {
    open Elsewhere {
        name: LwwRegister<String>, visits: Flag, home: Counter, devices: MergeMap<u8, MergeMap<String, Counter>>,
        notes: LwwRegister<i64>, tags: OrSet<String>, former: Open, people: MergeMap<String, Open>,
        document: driftless::Document,
    }
}

/// How many types there are.
pub(super) const COUNT: u8 = 13;
/// The number of that with open structs.
pub(super) const OPEN: u8 = COUNT - 1;

/// Calls a generic function for the type that a number means, modulo how many there are.
macro_rules! of_type {
    ($number:expr, $function:ident($($argument:expr),*)) => {{
        use driftless::{Counter, Document, Flag, LwwRegister, MergeMap, MvRegister, OrSet};
        use $crate::fuzz::types::{COUNT, Opened, Record};
        match $number % COUNT {
            0 => $function::<LwwRegister<i64>>($($argument),*),
            1 => $function::<LwwRegister<String>>($($argument),*),
            2 => $function::<MvRegister<i64>>($($argument),*),
            3 => $function::<Flag>($($argument),*),
            4 => $function::<OrSet<u8>>($($argument),*),
            5 => $function::<OrSet<String>>($($argument),*),
            6 => $function::<Counter>($($argument),*),
            7 => $function::<MergeMap<u8, Counter>>($($argument),*),
            8 => $function::<MergeMap<String, MergeMap<u8, MvRegister<Option<i64>>>>>($($argument),*),
            9 => $function::<MergeMap<uuid::Uuid, Record>>($($argument),*),
            10 => $function::<Document>($($argument),*),
            11 => $function::<MergeMap<uuid::Uuid, Document>>($($argument),*),
            _ => $function::<MergeMap<String, Opened>>($($argument),*),
        }
    }};
}
pub(super) use of_type;
