//! What can be written in the smallest scope.

use driftless::{Counter, LwwRegister, MergeMap, OrSet, Value};

use crate::oracle::{Item, Payload, Transaction};
use crate::subject::Subject;

/// State that the model writes: some keys, and a few kinds of writes to each.
pub trait Modelled: Subject + std::fmt::Debug {
    /// What a kind of write is called.
    const KINDS: &'static [&'static str];

    /// Makes a write of a kind to a key. `number` is another one for each transaction.
    fn write(handle: &mut Self::Mut<'_>, key: u8, kind: u8, number: u8);

    /// Tells the oracle of it.
    fn tell(oracle: &mut Transaction<'_>, key: u8, kind: u8, number: u8);
}

fn place(key: u8) -> Vec<Item> {
    vec![Item::Key(Value::of(&key))]
}

impl Modelled for OrSet<u8> {
    const KINDS: &'static [&'static str] = &["adds", "removes"];

    fn write(handle: &mut Self::Mut<'_>, key: u8, kind: u8, _: u8) {
        if kind == 0 {
            handle.add(&key);
        } else {
            handle.remove(&key);
        }
    }

    fn tell(oracle: &mut Transaction<'_>, key: u8, kind: u8, _: u8) {
        if kind == 0 {
            oracle.write(&place(key), Payload::On);
        } else {
            oracle.remove(&place(key));
        }
    }
}

impl Modelled for MergeMap<u8, LwwRegister<i64>> {
    const KINDS: &'static [&'static str] = &["sets", "removes", "removes and sets", "clears"];

    fn write(handle: &mut Self::Mut<'_>, key: u8, kind: u8, number: u8) {
        if kind == 1 || kind == 2 {
            handle.remove(&key);
        }
        if kind == 0 || kind == 2 {
            handle.update(&key, |register| register.set(number.into()));
        }
        if kind == 3 {
            handle.update(&key, |register| register.clear());
        }
    }

    fn tell(oracle: &mut Transaction<'_>, key: u8, kind: u8, number: u8) {
        if kind == 1 || kind == 2 || kind == 3 {
            oracle.remove(&place(key));
        }
        if kind == 0 || kind == 2 {
            oracle.write(&place(key), Payload::Value(Value::of(&i64::from(number))));
        }
    }
}

impl Modelled for MergeMap<u8, Counter> {
    const KINDS: &'static [&'static str] = &["counts", "removes", "resets"];

    fn write(handle: &mut Self::Mut<'_>, key: u8, kind: u8, number: u8) {
        if kind == 1 {
            handle.remove(&key);
        } else if kind == 2 {
            handle.update(&key, |counter| counter.reset());
        } else {
            let _ = handle.update(&key, |counter| counter.add(1 << number));
        }
    }

    fn tell(oracle: &mut Transaction<'_>, key: u8, kind: u8, number: u8) {
        if kind == 0 {
            oracle.write(&place(key), Payload::Count(1 << number));
        } else {
            oracle.remove(&place(key));
        }
    }
}
