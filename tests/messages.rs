//! Messages: what is refused, and that nothing changes then; that every type arrives as it left; how small they are.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use driftless::{
    Config, Counter, Crdt, DecodeError, Document, DocumentError, Flag, Limits, LwwRegister, MergeError,
    MergeMap, MvRegister, OrSet, PendingDelta, PendingError, Replica, ReplicaId, Value, VersionVector,
    WriteError,
};
use uuid::Uuid;

const NOW_MS: u64 = 1_700_000_000_000;

#[derive(Crdt)]
struct Everything {
    name: LwwRegister<String>,
    notes: MvRegister<Option<i64>>,
    tags: OrSet<String>,
    visits: Counter,
    active: Flag,
    inner: MergeMap<u8, LwwRegister<(f64, bool)>>,
    free: Document,
}

type State = MergeMap<Uuid, Everything>;

fn id_of(number: u128) -> ReplicaId {
    ReplicaId::from_u128(number << 96 | 0xD1F7)
}

fn replica<S: Crdt>(id: u128) -> Replica<S> {
    Replica::new(id_of(id), Config::default())
}

fn write(replica: &mut Replica<State>, now_ms: u64, key: u128, number: i64) {
    replica
        .transact(now_ms, |map| {
            map.update(&Uuid::from_u128(key), |all| {
                all.name().set(format!("name {number}"));
                all.notes().set((number % 2 == 0).then_some(number));
                all.tags().add(&format!("tag {number}"));
                all.visits().add(number).unwrap();
                all.active().enable();
                all.inner().update(&(number as u8), |pair| pair.set((0.5, true)));
                all.free().set(&["a", "b"], number)?;
                all.free().assign(&["a", "c"], Value::from(Uuid::from_u128(7)))?;
                all.free().add(&["set"], vec![Value::Null, Value::from(-0.0)])?;
                all.free().increment(&["count"], number)?;
                all.free().enable(&["flag"])
            })
        })
        .unwrap();
}

/// Replicas with conflicts, tombstones, floors and removed counts in their state.
fn busy() -> Replica<State> {
    let (mut eu, mut us) = (replica::<State>(1), replica::<State>(2));
    for round in 0..3 {
        for key in 0..4 {
            write(&mut eu, NOW_MS + round, key, round as i64 + 1);
            write(&mut us, NOW_MS + round, key, round as i64 + 10);
        }
        let (from_eu, from_us) = (eu.delta_since(&us.vector()), us.delta_since(&eu.vector()));
        eu.merge(NOW_MS, from_us).unwrap();
        eu.write(NOW_MS + round, |map| map.remove(&Uuid::from_u128(round as u128))).unwrap();
        eu.write(NOW_MS + round, |map| {
            map.update(&Uuid::from_u128(3), |all| {
                all.visits().reset();
                all.tags().remove("tag 1");
                all.free().delete(&["a"]).unwrap();
            });
        })
        .unwrap();
        us.merge(NOW_MS, from_eu).unwrap();
    }
    write(&mut us, NOW_MS + 9, 1, 77);
    eu.merge(NOW_MS + 9, us.delta_since(&eu.vector())).unwrap();
    eu
}

fn everything_of(replica: &Replica<State>) -> Vec<u8> {
    replica.delta_since(&VersionVector::new()).encode().unwrap()
}

/// A complete delta: what was forgotten at the sender, the receiver never saw.
fn complete() -> Vec<u8> {
    let mut eu = busy();
    let us = id_of(2);
    eu.set_members([eu.id(), us]);
    let vector = eu.vector();
    eu.report(NOW_MS + 10, us, &vector).unwrap();
    assert!(eu.forget().marks > 0);
    let delta = eu.delta_since(&VersionVector::new());
    assert!(delta.is_complete());
    delta.encode().unwrap()
}

fn chunks() -> Vec<Vec<u8>> {
    busy().delta_since(&VersionVector::new()).into_chunks(300).map(Result::unwrap).collect()
}

fn samples() -> Vec<Vec<u8>> {
    let mut eu = busy();
    let before = eu.vector();
    write(&mut eu, NOW_MS + 20, 2, 5);
    let small = eu.delta_since(&before).encode().unwrap();
    let mut samples =
        vec![everything_of(&eu), complete(), small, eu.delta_since(&eu.vector()).encode().unwrap()];
    samples.extend(chunks());
    samples
}

#[test]
fn every_type_arrives_as_it_left_and_the_bytes_stay_put() {
    let eu = busy();
    let bytes = everything_of(&eu);
    assert_eq!(bytes, everything_of(&busy()), "the same history gives the same bytes");
    let mut us = replica::<State>(3);
    us.merge(NOW_MS + 10, us.decode(&bytes).unwrap()).unwrap();
    assert_eq!(us.canonical_bytes(), eu.canonical_bytes());
    assert_eq!(us.vector(), eu.vector());
    // What arrived is passed on as it came.
    let mut ap = replica::<State>(4);
    ap.merge(NOW_MS + 10, ap.decode(&everything_of(&us)).unwrap()).unwrap();
    assert_eq!(ap.digest(), eu.digest());
    let mut joiner = replica::<State>(5);
    joiner.merge(NOW_MS + 10, joiner.decode(&complete()).unwrap()).unwrap();
    assert_eq!(joiner.digest(), eu.digest());
}

#[test]
fn t47_every_truncation_is_an_error_and_no_changed_bit_panics_or_touches_the_state() {
    let mut us = busy();
    let digest = us.digest();
    for sample in samples() {
        for len in 0..sample.len() {
            assert!(us.decode(&sample[..len]).is_err(), "{len} of {} bytes", sample.len());
        }
        for bit in 0..sample.len() * 8 {
            let mut changed = sample.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            // What decodes all the same must merge without a panic, into a fork.
            if let Ok(delta) = us.decode(&changed)
                && !delta.is_chunk()
            {
                let mut fresh = replica::<State>(9);
                let _ = fresh.merge(NOW_MS + 30, delta);
            }
        }
    }
    assert_eq!(us.digest(), digest);
    write(&mut us, NOW_MS + 40, 1, 1);
}

#[test]
fn a_length_of_any_size_is_not_believed() {
    let us = replica::<State>(1);
    let lengths: [&[u8]; 8] = [
        &[0xdd, 0xff, 0xff, 0xff, 0xff],
        &[0xdf, 0xff, 0xff, 0xff, 0xff],
        &[0xc6, 0xff, 0xff, 0xff, 0xff],
        &[0xdb, 0xff, 0xff, 0xff, 0xff],
        &[0xc9, 0xff, 0xff, 0xff, 0xff],
        &[0xdc, 0xff, 0xff],
        &[0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0],
    ];
    for sample in samples() {
        for at in 0..sample.len() {
            for length in lengths {
                let bytes = [&sample[..at], length, &sample[at + 1..]].concat();
                if let Ok(delta) = us.decode(&bytes) {
                    assert!(!delta.to().is_empty() || delta.is_empty());
                }
            }
        }
    }
}

#[test]
fn bytes_after_the_end_and_other_versions_are_refused() {
    let us = replica::<State>(9);
    let mut bytes = everything_of(&busy());
    bytes.push(0);
    let trailing = DecodeError::Trailing { at: bytes.len() - 1 };
    assert_eq!(us.decode(&bytes).unwrap_err(), MergeError::Decode(trailing));
    bytes.pop();
    assert_eq!(bytes[0], 2 << 3);
    bytes[0] = 4 << 3;
    let version = DecodeError::Version { found: 4 };
    assert_eq!(us.decode(&bytes).unwrap_err(), MergeError::Decode(version));
}

#[test]
fn a_key_of_another_type_is_an_error_that_says_where() {
    let mut eu: Replica<OrSet<String>> = replica(1);
    eu.write(NOW_MS, |names| names.add("text")).unwrap();
    let bytes = eu.delta_since(&VersionVector::new()).encode().unwrap();
    let us: Replica<OrSet<u32>> = replica(2);
    let error = us.decode(&bytes).unwrap_err();
    assert!(
        matches!(&error, MergeError::Decode(DecodeError::Value { at, .. }) if *at == bytes.len() - 5),
        "{error}"
    );
}

/// The limit that refuses the state of `fill` when it is set to `limits`.
fn refused_by<S: Crdt>(limits: Limits, fill: impl FnOnce(&mut Replica<S>)) -> &'static str {
    let mut eu: Replica<S> = replica(1);
    fill(&mut eu);
    let bytes = eu.delta_since(&VersionVector::new()).encode().unwrap();
    let accepts: Replica<S> = replica(2);
    accepts.decode(&bytes).unwrap();
    let us: Replica<S> = Replica::new(ReplicaId::from_u128(2), Config { limits, ..Config::default() });
    match us.decode(&bytes).unwrap_err() {
        MergeError::Decode(DecodeError::Limit { limit, .. }) => limit,
        other => panic!("{other}"),
    }
}

#[test]
fn each_limit_refuses_what_exceeds_it() {
    let limits = Limits::default();
    let text =
        |eu: &mut Replica<LwwRegister<String>>| drop(eu.write(NOW_MS, |name| name.set("x".repeat(100))));
    assert_eq!(refused_by(Limits { text_bytes: 99, ..limits }, text), "text_bytes");
    assert_eq!(refused_by(Limits { message_bytes: 99, ..limits }, text), "message_bytes");
    let many = |eu: &mut Replica<OrSet<u8>>| {
        drop(eu.write(NOW_MS, |set| (0..50).for_each(|element| set.add(&element))));
    };
    assert_eq!(refused_by(Limits { elements: 100, ..limits }, many), "elements");
    let deep = |eu: &mut Replica<Document>| {
        eu.transact(NOW_MS, |doc| doc.set(&["a", "b", "c", "d", "e"], 1)).unwrap();
    };
    assert_eq!(refused_by(Limits { depth: 4, ..limits }, deep), "depth");
    let value = |eu: &mut Replica<LwwRegister<Value>>| {
        let nested = (0..5).fold(Value::Null, |value, _| Value::List(vec![value]));
        eu.write(NOW_MS, |register| register.set(nested)).unwrap();
    };
    assert_eq!(refused_by(Limits { depth: 4, ..limits }, value), "depth");
    let siblings = |eu: &mut Replica<MvRegister<u8>>| {
        for id in 10..15 {
            let mut other: Replica<MvRegister<u8>> = replica(id);
            other.write(NOW_MS, |register| register.set(1)).unwrap();
            eu.merge(NOW_MS, other.delta_since(&VersionVector::new())).unwrap();
        }
    };
    assert_eq!(refused_by(Limits { siblings: 4, ..limits }, siblings), "siblings");
    assert_eq!(refused_by(Limits { replicas: 4, ..limits }, siblings), "replicas");
}

#[test]
fn chunks_of_any_size_are_merged_as_one_and_never_in_part() {
    let eu = busy();
    for chunk_bytes in (1..400).step_by(7).chain([1_000, 1 << 20]) {
        let mut us = replica::<State>(3);
        let mut pending = PendingDelta::new(&Limits::default());
        let messages: Vec<_> =
            eu.delta_since(&us.vector()).into_chunks(chunk_bytes).map(Result::unwrap).collect();
        for (index, bytes) in messages.iter().enumerate() {
            assert!(us.vector().is_empty(), "nothing takes effect before the last chunk");
            let chunk = us.decode(bytes).unwrap();
            let whole = pending.push(chunk).unwrap();
            assert_eq!(whole.is_some(), index + 1 == messages.len());
            if let Some(delta) = whole {
                us.merge(NOW_MS + 10, delta).unwrap();
            }
        }
        assert_eq!((us.digest(), us.vector()), (eu.digest(), eu.vector()), "chunks of {chunk_bytes}");
    }
}

#[test]
fn a_chunk_alone_is_refused_and_so_is_one_out_of_order_too_many_or_of_another_transfer() {
    let mut us = replica::<State>(3);
    let messages = chunks();
    assert!(messages.len() > 3);
    let decoded = |us: &Replica<State>, index: usize| us.decode(&messages[index]).unwrap();
    let first = decoded(&us, 0);
    assert_eq!(us.merge(NOW_MS, first).unwrap_err(), MergeError::Incomplete);

    let mut pending = PendingDelta::new(&Limits::default());
    let refused = pending.push(decoded(&us, 1)).unwrap_err();
    assert_eq!(refused, PendingError::OutOfOrder { expected: 0, found: 1 });
    pending.push(decoded(&us, 0)).unwrap();
    let refused = pending.push(decoded(&us, 2)).unwrap_err();
    assert_eq!(refused, PendingError::OutOfOrder { expected: 1, found: 2 });
    let mut other = busy();
    write(&mut other, NOW_MS + 50, 1, 1);
    let other: Vec<_> =
        other.delta_since(&VersionVector::new()).into_chunks(300).map(Result::unwrap).collect();
    assert_eq!(pending.push(us.decode(&other[1]).unwrap()).unwrap_err(), PendingError::OtherTransfer);
    // What was gathered is kept: the transfer goes on.
    for index in 1..messages.len() {
        if let Some(delta) = pending.push(decoded(&us, index)).unwrap() {
            us.merge(NOW_MS + 10, delta).unwrap();
        }
    }
    assert_eq!(us.digest(), busy().digest());

    let limits = Limits { transfer_bytes: 350, ..Limits::default() };
    let mut pending = PendingDelta::new(&limits);
    pending.push(decoded(&us, 0)).unwrap();
    assert_eq!(pending.push(decoded(&us, 1)).unwrap_err(), PendingError::TooLarge { allowed: 350 });
    // A first chunk begins anew, and a message that is no chunk passes through.
    pending.push(decoded(&us, 0)).unwrap();
    let whole = us.decode(&everything_of(&busy())).unwrap();
    assert!(pending.push(whole).unwrap().is_some());
}

#[test]
fn one_changed_field_costs_at_most_sixty_four_bytes_beside_its_value() {
    type Names = MergeMap<Uuid, LwwRegister<String>>;
    let mut regions = [1_u128, 2, 3].map(replica::<Names>);
    for (number, region) in regions.iter_mut().enumerate() {
        let (key, now_ms) = (Uuid::from_u128(0xABCD << 64 | number as u128), NOW_MS + 700 * number as u64);
        region.write(now_ms, |names| names.update(&key, |name| name.set("first"))).unwrap();
    }
    let [eu, us, ap] = &mut regions;
    eu.merge(NOW_MS + 2_000, us.delta_since(&eu.vector())).unwrap();
    eu.merge(NOW_MS + 2_000, ap.delta_since(&eu.vector())).unwrap();
    let known = eu.vector();
    let value = "sixteen bytes ok";
    eu.write(NOW_MS + 2_100, |names| names.update(&Uuid::from_u128(0xABCD << 64), |name| name.set(value)))
        .unwrap();
    let bytes = eu.delta_since(&known).encode().unwrap().len();
    assert!(bytes - value.len() <= 64, "{} bytes beside the value", bytes - value.len());
}

#[test]
fn ids_that_look_alike_in_short_form_are_told_apart() {
    // The short form is the XOR of the words: these two share it.
    let (a, b) = (ReplicaId::from_u128(5 << 96), ReplicaId::from_u128(5 << 64));
    let mut first: Replica<OrSet<u8>> = Replica::new(a, Config::default());
    let mut second: Replica<OrSet<u8>> = Replica::new(b, Config::default());
    let mut third: Replica<OrSet<u8>> = replica(7);
    for round in 0..3 {
        first.write(NOW_MS, |set| set.add(&round)).unwrap();
        second.write(NOW_MS, |set| set.add(&(round + 10))).unwrap();
        for sender in [&first, &second] {
            // A sender that does not know the other id yet may use the short form, and is answered with a gap.
            let bytes = sender.delta_since(&third.vector()).encode().unwrap();
            third.merge(NOW_MS, third.decode(&bytes).unwrap()).unwrap();
        }
        let bytes = third.delta_since(&first.vector()).encode().unwrap();
        first.merge(NOW_MS, first.decode(&bytes).unwrap()).unwrap();
    }
    assert_eq!(first.digest(), third.digest());
    assert_eq!(third.state().len(), 6);
}

#[test]
fn a_receiver_that_never_wrote_is_not_taken_for_another_id() {
    let (a, b) = (ReplicaId::from_u128(5 << 96), ReplicaId::from_u128(5 << 64));
    let mut writer: Replica<OrSet<u8>> = Replica::new(a, Config::default());
    let mut reader: Replica<OrSet<u8>> = Replica::new(b, Config::default());
    for element in 0..3 {
        writer.write(NOW_MS, |set| set.add(&element)).unwrap();
        let bytes = writer.delta_since(&reader.vector()).encode().unwrap();
        reader.merge(NOW_MS, reader.decode(&bytes).unwrap()).unwrap();
    }
    assert_eq!(reader.digest(), writer.digest());
}

#[test]
fn a_kind_or_field_of_a_newer_schema_is_refused_not_skipped() {
    #[derive(Crdt)]
    struct Old {
        name: LwwRegister<String>,
    }
    #[derive(Crdt)]
    struct New {
        name: LwwRegister<String>,
        age: LwwRegister<u8>,
    }
    let mut new: Replica<New> = replica(1);
    let mut old: Replica<Old> = replica(2);
    new.write(NOW_MS, |user| user.name().set("Ada")).unwrap();
    let bytes = new.delta_since(&old.vector()).encode().unwrap();
    old.merge(NOW_MS, old.decode(&bytes).unwrap()).unwrap();
    assert_eq!(old.state().name.latest().map(String::as_str), Some("Ada"));
    new.write(NOW_MS, |user| user.age().set(36)).unwrap();
    let bytes = new.delta_since(&old.vector()).encode().unwrap();
    let error = old.decode(&bytes).unwrap_err();
    assert!(matches!(error, MergeError::Decode(DecodeError::UnknownField { field: 1, .. })), "{error}");
    // The other way round the old one goes on serving the new.
    old.write(NOW_MS, |user| user.name().set("Grace")).unwrap();
    new.merge(NOW_MS, new.decode(&old.delta_since(&new.vector()).encode().unwrap()).unwrap()).unwrap();
    assert_eq!(new.state().age.latest(), Some(&36));
}

#[test]
fn what_a_document_holds_arrives_bit_for_bit() {
    let mut eu: Replica<Document> = replica(1);
    let values = [
        Value::Null,
        Value::from(i64::MIN),
        Value::from(f64::NAN),
        Value::from(-0.0),
        Value::from(vec![0_u8; 300]),
        Value::from(Uuid::from_u128(1)),
        Value::List(vec![Value::from("é中"), Value::Map(Default::default())]),
    ];
    eu.transact(NOW_MS, |doc| {
        values
            .iter()
            .enumerate()
            .try_for_each(|(place, value)| doc.set(&[place.to_string()], value.clone()))?;
        values.iter().try_for_each(|value| doc.add(&["all"], value.clone()))?;
        Ok::<_, DocumentError>(())
    })
    .unwrap();
    let mut us: Replica<Document> = replica(2);
    us.merge(NOW_MS, us.decode(&eu.delta_since(&us.vector()).encode().unwrap()).unwrap()).unwrap();
    assert_eq!(us.state().to_value(), eu.state().to_value());
    for (place, value) in values.iter().enumerate() {
        assert_eq!(us.state().get(&[place.to_string()]), Some(value));
    }
}

#[test]
fn what_six_replicas_made_of_one_name_is_shipped_whole() {
    let mut hub: Replica<Document> = replica(0);
    for number in 1..=6 {
        let mut other: Replica<Document> = replica(number);
        let made = other.transact(NOW_MS, |doc| match number {
            1 => doc.set(&["x"], 1),
            2 => doc.assign(&["x"], 2),
            3 => doc.add(&["x"], 3),
            4 => doc.increment(&["x"], 4),
            5 => doc.enable(&["x"]),
            _ => doc.set(&["x", "below"], 6),
        });
        made.unwrap();
        hub.merge(NOW_MS, other.delta_since(&VersionVector::new())).unwrap();
    }
    assert_eq!(hub.state().kinds(&["x"]).len(), 6);
    let mut reader: Replica<Document> = replica(7);
    let bytes = hub.delta_since(&VersionVector::new()).encode().unwrap();
    reader.merge(NOW_MS, reader.decode(&bytes).unwrap()).unwrap();
    assert_eq!(reader.canonical_bytes(), hub.canonical_bytes());
}

#[test]
fn no_more_ids_are_taken_than_a_message_can_name() {
    let mut hub: Replica<OrSet<u32>> = replica(0);
    for group in 0..64 {
        let mut gathered: Replica<OrSet<u32>> = replica(1 << 20);
        for number in u32::from(group == 0)..Limits::MAX_REPLICAS as u32 / 64 {
            let mut leaf: Replica<OrSet<u32>> = replica(u128::from(group << 10 | number));
            leaf.write(NOW_MS, |set| set.add(&number)).unwrap();
            gathered.merge(NOW_MS, leaf.delta_since(&VersionVector::new())).unwrap();
        }
        hub.merge(NOW_MS, gathered.delta_since(&VersionVector::new())).unwrap();
    }
    // There is room for one more, which may go on writing.
    let mut last: Replica<OrSet<u32>> = replica(1 << 19);
    last.merge(NOW_MS, hub.delta_since(&VersionVector::new())).unwrap();
    for number in [1_000, 1_001] {
        last.write(NOW_MS, |set| set.add(&number)).unwrap();
    }
    assert_eq!(last.vector().len(), Limits::MAX_REPLICAS);
    hub.merge(NOW_MS, last.delta_since(&hub.vector())).unwrap();
    let (digest, count) = (hub.digest(), Limits::MAX_REPLICAS + 1);
    let mut late: Replica<OrSet<u32>> = replica(u128::from(u32::MAX));
    late.write(NOW_MS, |set| set.add(&0)).unwrap();
    let refused = hub.merge(NOW_MS, late.delta_since(&hub.vector())).unwrap_err();
    assert_eq!(refused, MergeError::TooManyReplicas { count });
    // Its own first write would be one too many as well: it could never be shipped.
    let refused = hub.write(NOW_MS, |set| set.add(&0)).unwrap_err();
    assert_eq!(refused, WriteError::TooManyReplicas { count });
    assert_eq!(hub.digest(), digest);
    // No report names more either, and all reports together are of no more.
    let all: Vec<_> = hub.vector().iter().chain(late.vector().iter()).collect();
    let refused = last.report(NOW_MS, hub.id(), &all.iter().copied().collect()).unwrap_err();
    assert_eq!(refused, MergeError::TooManyReplicas { count });
    for (id, _) in &all[..Limits::MAX_REPLICAS] {
        last.report(NOW_MS, *id, &VersionVector::new()).unwrap();
    }
    last.report(NOW_MS, hub.id(), &hub.vector()).unwrap();
    let refused = last.report(NOW_MS, late.id(), &late.vector()).unwrap_err();
    assert_eq!(refused, MergeError::TooManyReplicas { count });
    let bytes = hub.delta_since(&VersionVector::new()).encode().unwrap();
    let mut reader: Replica<OrSet<u32>> = replica(u128::from(u32::MAX - 1));
    reader.merge(NOW_MS, reader.decode(&bytes).unwrap()).unwrap();
    assert_eq!(reader.digest(), digest);
}
