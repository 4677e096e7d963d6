//! What programs rely on beside behaviour: what literals infer to, and which traits the public types have.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use driftless::{Config, Crdt, LwwRegister, MvRegister, Replica, ReplicaId, Value};

fn replica<S: Crdt>() -> Replica<S> {
    Replica::new(ReplicaId::from_u128(1), Config::default())
}

#[test]
fn literals_become_what_their_register_holds() {
    #[derive(Crdt)]
    struct Sample {
        text: LwwRegister<String>,
        small: LwwRegister<u8>,
        unsigned: MvRegister<u32>,
        large: LwwRegister<u64>,
        signed: LwwRegister<i128>,
        real: LwwRegister<f32>,
        maybe: LwwRegister<Option<u32>>,
        pair: LwwRegister<(u16, bool)>,
        free: LwwRegister<Value>,
        list: LwwRegister<Vec<u8>>,
    }
    let mut eu: Replica<Sample> = replica();
    let owned = "Ada".to_owned();
    eu.write(1_000, |sample| {
        sample.text().set(&owned);
        sample.text().set(owned);
        sample.text().set("Grace");
        sample.small().set(7);
        sample.unsigned().set(7);
        sample.large().set(7_u8.into());
        sample.signed().set(-7);
        sample.real().set(0.5);
        sample.maybe().set(None);
        sample.maybe().set(Some(6));
        sample.maybe().set(7);
        sample.pair().set((7, true));
        sample.free().set("Ada");
        sample.free().set(7);
        sample.list().set(vec![7]);
    })
    .unwrap();
    let sample = eu.state();
    assert_eq!(sample.text.latest().map(String::as_str), Some("Grace"));
    assert_eq!((sample.small.latest(), sample.unsigned.max()), (Some(&7), Some(&7)));
    assert_eq!((sample.large.latest(), sample.signed.latest()), (Some(&7), Some(&-7)));
    assert_eq!((sample.real.latest(), sample.maybe.latest()), (Some(&0.5), Some(&Some(7))));
    assert_eq!((sample.pair.latest(), sample.free.latest()), (Some(&(7, true)), Some(&Value::Int(7))));
    assert_eq!(sample.list.latest(), Some(&vec![7]));
}
