//! Answers to requests: keys that the receiver is known to hold are named in short form, and never taken for others.

use std::hash::{Hash, Hasher};

use driftless::{
    Config, Crdt, DecodeError, Limits, LwwRegister, MergeError, MergeMap, OrSet, PendingDelta, Replica,
    ReplicaId, Request, VersionVector,
};
use uuid::Uuid;

use crate::{NOW_MS, cluster, merge, replica, sync};

#[derive(Crdt)]
struct Account {
    name: LwwRegister<String>,
    age: LwwRegister<i64>,
}

type Accounts = MergeMap<Uuid, Account>;

fn key(number: u64) -> Uuid {
    Uuid::from_u64_pair(number.wrapping_mul(0x9E37_79B9_7F4A_7C15), number)
}

fn write(accounts: &mut Replica<Accounts>, numbers: impl Iterator<Item = u64>, round: u64) {
    let written = accounts.write(NOW_MS + round, |accounts| {
        for number in numbers {
            accounts.update(&key(number), |account| account.name().set(format!("name {number:06}")));
        }
    });
    written.unwrap();
}

/// Two replicas that hold the same accounts, each with an age.
fn two(count: u64) -> [Replica<Accounts>; 2] {
    let mut eu: Replica<Accounts> = Replica::new(ReplicaId::from_u128(0xE0E0 << 64 | 7), Config::default());
    let mut us = Replica::new(ReplicaId::from_u128(0xB0B0 << 64 | 9), Config::default());
    let ages = |accounts: &mut <Accounts as Crdt>::Mut<'_>| {
        for number in 0..count {
            accounts.update(&key(number), |account| account.age().set(number as i64));
        }
    };
    eu.write(NOW_MS, ages).unwrap();
    sync(&eu, &mut us);
    [eu, us]
}

fn refused<S: Crdt>(reader: &Replica<S>, bytes: &[u8]) -> MergeError {
    match reader.decode(bytes) {
        Ok(_) => panic!("it was read"),
        Err(error) => error,
    }
}

#[test]
fn an_answer_leads_where_a_delta_since_does_in_fewer_bytes() {
    for count in [1, 2, 16, 17, 1_000] {
        let [mut eu, mut us] = two(count + 10);
        // Accounts that are known, and one that is new.
        write(&mut eu, (0..count).chain([count + 10]), 1);
        let request = us.request();
        let (short, full) =
            (eu.answer(&request).encode().unwrap(), eu.delta_since(request.vector()).encode().unwrap());
        assert!(short.len() + 12 * count as usize <= full.len() + 4, "{} and {}", short.len(), full.len());
        let mut other: Replica<Accounts> = replica(0xF);
        sync(&us, &mut other);
        merge(&mut us, &short);
        merge(&mut other, &full);
        assert_eq!((us.digest(), us.vector()), (eu.digest(), eu.vector()));
        assert_eq!(us.canonical_bytes(), other.canonical_bytes());
    }
}

#[test]
fn a_bulk_of_changes_and_a_single_one_cost_little_beside_their_values() {
    let [mut eu, mut us] = two(10_000);
    write(&mut eu, (0..10_000).step_by(10), 1);
    let bytes = eu.answer(&us.request()).encode().unwrap();
    // A name of 11 bytes takes 12.
    assert!(bytes.len() <= 17 * 1_000, "{} bytes", bytes.len());
    merge(&mut us, &bytes);
    write(&mut eu, 7..8, 2);
    let bytes = eu.answer(&us.request()).encode().unwrap();
    assert!(bytes.len() <= 36, "{} bytes", bytes.len());
}

#[test]
fn types_of_all_kinds_and_depths_answer_each_other() {
    let mut replicas = cluster();
    for round in 0..2 {
        for (from, to) in [(0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)] {
            let bytes = replicas[from].answer(&replicas[to].request()).encode().unwrap();
            merge(&mut replicas[to], &bytes);
            let written = replicas[to].write(NOW_MS + 50 + round, |users| {
                let keys: Vec<Uuid> = users.keys().copied().collect();
                for key in keys {
                    users.update(&key, |user| user.tags().add(&format!("{round} {from} {to}")));
                }
            });
            written.unwrap();
        }
    }
    for (from, to) in [(0, 1), (1, 2), (2, 0), (0, 1)] {
        let bytes = replicas[from].answer(&replicas[to].request()).encode().unwrap();
        merge(&mut replicas[to], &bytes);
    }
    assert_eq!((replicas[0].digest(), replicas[1].digest()), (replicas[2].digest(), replicas[2].digest()));
}

#[test]
fn chunks_of_an_answer_are_worth_the_whole() {
    let [mut eu, mut us] = two(2_000);
    write(&mut eu, 0..2_500, 1);
    let mut pending = PendingDelta::new(&us.config().limits);
    let request = us.request();
    for bytes in eu.answer(&request).into_chunks(4_096) {
        if let Some(delta) = pending.push(us.decode(&bytes.unwrap()).unwrap()).unwrap() {
            us.merge(NOW_MS, delta).unwrap();
        }
    }
    assert_eq!((us.digest(), us.vector()), (eu.digest(), eu.vector()));
}

#[test]
fn an_answer_to_another_is_a_gap_and_changes_nothing() {
    let [mut eu, us] = two(20);
    let mut other: Replica<Accounts> = replica(0xF);
    sync(&us, &mut other);
    write(&mut eu, 0..20, 1);
    let before = (other.digest(), other.vector());
    let answer = eu.answer(&us.request()).encode().unwrap();
    let MergeError::Gap { vector } = refused(&other, &answer) else {
        panic!("it is a gap");
    };
    assert_eq!((other.digest(), other.vector()), before);
    merge(&mut other, &eu.answer(&Request::from(vector)).encode().unwrap());
    assert_eq!(other.digest(), eu.digest());
}

#[test]
fn a_key_that_was_forgotten_since_is_a_gap_and_nothing_is_lost() {
    let [mut eu, mut us] = two(20);
    // While eu is away it is evicted, and us forgets a key.
    us.write(NOW_MS + 1, |accounts| assert!(accounts.remove(&key(3)))).unwrap();
    us.set_members([us.id()]);
    assert_eq!(us.forget().rows, 1);
    write(&mut eu, 3..4, 2);
    let answer = eu.answer(&us.request()).encode().unwrap();
    assert_eq!(refused(&us, &answer), MergeError::Gap { vector: us.vector() });
    sync(&eu, &mut us);
    sync(&us, &mut eu);
    assert_eq!(us.digest(), eu.digest());
    let name = us.state().get(&key(3)).and_then(|account| account.name.latest());
    assert_eq!(name.map(String::as_str), Some("name 000003"));
}

/// A key of which only a part is hashed: many have one hash, which is legal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
struct Named {
    group: u64,
    name: String,
}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.group.hash(state);
    }
}

fn named(group: u64, name: &str) -> Named {
    Named { group, name: name.to_owned() }
}

type Groups = MergeMap<Named, OrSet<u8>>;

fn add(replica: &mut Replica<Groups>, key: &Named, element: u8) {
    replica.write(NOW_MS, |groups| groups.update(key, |set| set.add(&element))).unwrap();
}

#[test]
fn two_keys_of_one_short_form_in_one_answer_are_a_gap() {
    let [mut eu, mut us]: [Replica<Groups>; 2] = [replica(1), replica(2)];
    let write = |eu: &mut Replica<Groups>, element: u8| {
        let both = |groups: &mut <Groups as Crdt>::Mut<'_>| {
            ["a", "b"].iter().for_each(|name| groups.update(&named(1, name), |set| set.add(&element)));
        };
        eu.write(NOW_MS, both).unwrap();
    };
    write(&mut eu, 1);
    sync(&eu, &mut us);
    write(&mut eu, 2);
    let answer = eu.answer(&us.request()).encode().unwrap();
    let MergeError::Gap { vector } = refused(&us, &answer) else {
        panic!("nobody is to blame: it is asked for again");
    };
    merge(&mut us, &eu.answer(&Request::from(vector)).encode().unwrap());
    assert_eq!(us.digest(), eu.digest());
}

/// A name of few bytes leads to keys of very many, which are held once and were not counted.
#[test]
fn keys_that_are_named_in_short_form_are_counted_as_memory() {
    let limits = Limits { memory_bytes: 100_000, ..Limits::default() };
    let config = Config { limits, ..Config::default() };
    let mut eu: Replica<Groups> = replica(1);
    let mut us: Replica<Groups> = Replica::new(ReplicaId::from_u128(2), config);
    let keys: Vec<Named> = (0..20).map(|group| named(group, &"x".repeat(10_000))).collect();
    for key in &keys {
        add(&mut eu, key, 1);
        sync(&eu, &mut us);
    }
    keys.iter().for_each(|key| add(&mut eu, key, 2));
    let answer = eu.answer(&us.request()).encode().unwrap();
    assert!(answer.len() < 1_000);
    let limit = DecodeError::Limit { limit: "memory_bytes", allowed: 100_000 };
    assert_eq!(refused(&us, &answer), MergeError::Decode(limit));
}

#[test]
fn keys_of_one_short_form_are_never_taken_for_each_other() {
    let [mut eu, mut us]: [Replica<Groups>; 2] = [replica(1), replica(2)];
    add(&mut eu, &named(1, "a"), 1);
    add(&mut eu, &named(1, "b"), 2);
    sync(&eu, &mut us);
    // Two that are held have the form.
    add(&mut eu, &named(1, "a"), 3);
    let answer = eu.answer(&us.request()).encode().unwrap();
    assert_eq!(refused(&us, &answer), MergeError::Gap { vector: us.vector() });
    sync(&eu, &mut us);
    assert_eq!(us.digest(), eu.digest());
    // The one that is meant is held no more, and another has the form.
    us.write(NOW_MS + 1, |groups| assert!(groups.remove(&named(1, "a")))).unwrap();
    us.set_members([us.id()]);
    us.forget();
    add(&mut eu, &named(1, "a"), 4);
    let answer = eu.answer(&us.request()).encode().unwrap();
    let before = (us.digest(), us.canonical_bytes());
    assert_eq!(refused(&us, &answer), MergeError::Gap { vector: us.vector() });
    assert_eq!((us.digest(), us.canonical_bytes()), before);
    sync(&eu, &mut us);
    sync(&us, &mut eu);
    assert_eq!(us.digest(), eu.digest());
    assert!(us.state().get(&named(1, "b")).is_some_and(|set| !set.contains(&4)));
}

#[test]
fn a_flipped_bit_never_leads_to_another_key() {
    let [mut eu, us] = two(300);
    write(&mut eu, (0..300).step_by(9), 1);
    let answer = eu.answer(&us.request()).encode().unwrap();
    let expected: Vec<Uuid> = (0..300).step_by(9).map(key).collect();
    for at in 0..answer.len() {
        for bit in 0..8 {
            let mut bytes = answer.clone();
            bytes[at] ^= 1 << bit;
            let Ok(delta) = us.decode(&bytes) else {
                continue;
            };
            let mut copy: Replica<Accounts> = replica(0xC);
            sync(&us, &mut copy);
            let Ok(_) = copy.merge(NOW_MS, delta) else {
                continue;
            };
            let written = copy.state().iter().filter(|(_, account)| account.name.latest().is_some());
            assert!(written.map(|(key, _)| key).all(|key| expected.contains(key)), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn a_request_is_a_value_that_can_be_sent() {
    let [mut eu, mut us] = two(20);
    write(&mut eu, 0..20, 1);
    let sent = rmp_serde::to_vec(&us.request()).unwrap();
    let request: Request = rmp_serde::from_slice(&sent).unwrap();
    assert_eq!(request, us.request());
    let snapshot = eu.snapshot();
    let bytes = snapshot.answer(&request).encode().unwrap();
    assert_eq!(bytes, eu.answer(&request).encode().unwrap());
    merge(&mut us, &bytes);
    assert_eq!(us.digest(), eu.digest());
    // Who holds nothing is told all keys in full.
    let new: Replica<Accounts> = replica(0xD);
    assert_eq!(
        eu.answer(&new.request()).encode().unwrap(),
        eu.delta_since(&VersionVector::new()).encode().unwrap()
    );
}
