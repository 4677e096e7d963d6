//! The types of state that a first byte chooses from.

use driftless::{Counter, Crdt, Flag, LwwRegister, MergeMap, MvRegister, OrSet};

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

/// How many types there are.
pub(super) const COUNT: u8 = 12;

/// Calls a generic function for the type that a number means, modulo how many there are.
macro_rules! of_type {
    ($number:expr, $function:ident($($argument:expr),*)) => {{
        use driftless::{Counter, Document, Flag, LwwRegister, MergeMap, MvRegister, OrSet};
        use $crate::fuzz::types::{COUNT, Record};
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
            _ => $function::<MergeMap<uuid::Uuid, Document>>($($argument),*),
        }
    }};
}
pub(super) use of_type;
