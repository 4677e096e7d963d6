//! What a change costs on the wire.

use driftless::{Crdt, LwwRegister, MergeMap, Replica};
use uuid::Uuid;

use crate::{NOW_MS, Users, message, replica, sync};

/// Three replicas that all have written within the last seconds and seen each other; `write` is told by whom and when.
fn busy<S: Crdt>(write: impl Fn(&mut S::Mut<'_>, usize, u64)) -> [Replica<S>; 3] {
    let ids =
        [0x1234_5678_9abc_4def_8123_4567_89ab_cdef, 0x0fed_cba9_8765_4321_8fed_cba9_8765_4321, 7 << 100];
    let mut replicas = ids.map(replica);
    for round in 0..20 {
        for at in 0..3 {
            let now_ms = NOW_MS + round * 300 + at as u64 * 77;
            replicas[at].write(now_ms, |state| write(state, at, round)).unwrap();
            let [a, b, c] = &mut replicas;
            sync(a, b);
            sync(c, b);
            sync(b, a);
            sync(b, c);
        }
    }
    replicas
}

fn key(at: usize) -> Uuid {
    Uuid::from_u128(0x0123_4567_89ab_4def_8000_0000_0000_0000 + at as u128)
}

#[test]
fn one_changed_register_costs_little_beside_its_value() {
    type Registers = MergeMap<Uuid, LwwRegister<String>>;
    let [a, mut b, _] = busy::<Registers>(|map, at, round| {
        map.update(&key(at), |register| register.set(round.to_string()));
    });
    let value = "a value";
    b.write(NOW_MS + 6_100, |map| map.update(&key(1), |register| register.set(value))).unwrap();
    let bytes = message(&b, &a);
    assert!(bytes.len() <= 64 + value.len(), "{} bytes", bytes.len());
    // All three have written this one, and none has forgotten it yet.
    let [a, mut b, _] = busy::<Registers>(|map, _, round| {
        map.update(&key(0), |register| register.set(round.to_string()));
    });
    b.write(NOW_MS + 6_100, |map| map.update(&key(0), |register| register.set(value))).unwrap();
    let bytes = message(&b, &a);
    assert!(bytes.len() <= 72 + value.len(), "{} bytes", bytes.len());
}

#[test]
fn one_changed_field_of_a_struct_costs_little_beside_its_value() {
    let [a, mut b, _] = busy::<Users>(|users, at, round| {
        users.update(&key(at), |user| {
            user.name().set(format!("name {round}"));
            user.tags().add("a tag that is not sent again");
            user.visits().add(1).unwrap();
        });
    });
    let value = "Ada Lovelace";
    b.write(NOW_MS + 6_100, |users| users.update(&key(1), |user| user.name().set(value))).unwrap();
    let bytes = message(&b, &a);
    assert!(bytes.len() <= 64 + value.len(), "{} bytes", bytes.len());
}

#[test]
fn a_removed_user_costs_one_tombstone_however_much_was_below() {
    let [a, mut b, _] = busy::<Users>(|users, _, round| {
        for at in 0..5 {
            users.update(&key(at), |user| {
                user.name().set(format!("name {round}"));
                (0..40).for_each(|tag| user.tags().add(&format!("tag {tag}")));
            });
        }
    });
    b.write(NOW_MS + 6_100, |users| users.remove(&key(0))).unwrap();
    let bytes = message(&b, &a);
    assert!(bytes.len() <= 80, "{} bytes", bytes.len());
}

#[test]
fn nothing_new_costs_the_vectors_alone() {
    let [a, b, _] = busy::<LwwRegister<u64>>(|register, _, round| register.set(round));
    assert!(a.delta_since(&b.vector()).is_empty());
    let bytes = message(&a, &b);
    assert!(bytes.len() <= 40, "{} bytes", bytes.len());
}
