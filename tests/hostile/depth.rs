//! How deep bytes can nest: no deeper than the limit, so that no stack overflows.

use driftless::{
    Config, Crdt, DecodeError, Document, Flag, Limits, LwwRegister, MergeError, MergeMap, OrSet, Replica,
    ReplicaId, Value,
};

use crate::NOW_MS;
use crate::forge::Message;

/// Deep enough to overflow any stack.
const DEEP: usize = 200_000;

/// `begin`, as often as given, and then `end`.
fn nested(begin: &[u8], depth: usize, end: &[u8]) -> Vec<u8> {
    [&begin.repeat(depth), end].concat()
}

fn check<S: Crdt>(what: &str, state: impl Fn(usize) -> Vec<u8>, most: usize) {
    let reader: Replica<S> = Replica::new(ReplicaId::from_u128(99 << 64), Config::default());
    let refused = |depth| {
        let decoded = reader.decode(&Message::of(1, &state(depth)).bytes());
        matches!(decoded, Err(MergeError::Decode(DecodeError::Limit { limit: "depth", .. })))
    };
    assert!(refused(DEEP) && refused(most + 1), "{what} deeper than {most}");
    let mut reader = reader;
    let delta = reader.decode(&Message::of(1, &state(most)).bytes());
    let delta = delta.unwrap_or_else(|error| panic!("{what} {most} deep: {error}"));
    assert!(reader.merge(NOW_MS, delta).is_ok());
}

#[test]
fn nothing_nests_deeper_than_the_limit() {
    let most = Limits::default().depth;
    let value = |begin: &'static [u8]| move |depth| nested(&[0], 1, &nested(begin, depth, &[0xC0]));
    check::<LwwRegister<Value>>("lists", value(&[0x91]), most);
    check::<LwwRegister<Value>>("long lists", value(&[0xDD, 0, 0, 0, 1]), most);
    check::<LwwRegister<Value>>("maps", value(&[0x81, 0xA0]), most);
    check::<LwwRegister<Value>>("maps in lists", value(&[0x91, 0x81, 0xA0]), most / 2);
    // The names of the document itself are one level. The keys stand behind the values, from the innermost outwards.
    let maps = |depth: usize| {
        [nested(&[1 << 2, 1 << 5], depth - 1, &[1 << 2, 1 << 4, 0]), vec![0xA0; depth]].concat()
    };
    check::<Document>("maps of documents", maps, most);
    let value_below = |depth| [&[1 << 2, 1, 0][..], &nested(&[0x91], depth, &[0xC0]), &[0xA0]].concat();
    check::<Document>("values of documents", value_below, most - 1);
    let element = |depth| [&[1 << 2, 0][..], &nested(&[0x91], depth, &[0xC0])].concat();
    check::<OrSet<Value>>("elements", element, most - 1);
    let chain = |depth: usize| [nested(&[1 << 1, 1 << 2], depth, &[1, 0]), vec![7; depth]].concat();
    check::<Chain>("structs and maps", chain, (most - 1) / 2);
}

/// A type that holds itself.
#[derive(Crdt)]
struct Chain {
    flag: Flag,
    below: MergeMap<u8, Chain>,
}
