//! What is refused, why, and that it changes nothing.

use driftless::{
    Config, Counter, Crdt, DecodeError, Document, LwwRegister, MergeError, MergeMap, OrSet, Replica,
    ReplicaId, Timestamp, VersionVector,
};

use crate::{NOW_MS, Users, cluster, merge, message, replica, sync};

fn refused<S: Crdt>(reader: &Replica<S>, bytes: &[u8]) -> DecodeError {
    match reader.decode(bytes) {
        Err(MergeError::Decode(error)) => error,
        other => panic!("{other:?}", other = other.map(|delta| delta.to())),
    }
}

#[test]
fn every_truncation_is_refused() {
    let [a, b, c] = cluster();
    let fresh: Replica<Users> = replica(0x0e05);
    for (from, to) in [(&c, &fresh), (&c, &a), (&b, &c), (&a, &a)] {
        let bytes = message(from, to);
        for len in 0..bytes.len() {
            assert!(to.decode(&bytes[..len]).is_err(), "{len} of {} bytes", bytes.len());
        }
        let chunk = from.delta_since(&to.vector()).into_chunks(120).next().unwrap().unwrap();
        for len in 0..chunk.len() {
            assert!(to.decode(&chunk[..len]).is_err(), "{len} of {} bytes", chunk.len());
        }
    }
}

#[test]
fn no_flipped_bit_makes_the_decoder_or_the_merge_panic() {
    let [a, _, c] = cluster();
    let bytes = message(&c, &a);
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let Ok(delta) = a.decode(&bytes) else {
            continue;
        };
        let mut to: Replica<Users> = replica(0x0e05);
        to.merge(NOW_MS, a.delta_since(&VersionVector::new())).unwrap();
        let before = (to.digest(), to.vector());
        match to.merge(NOW_MS, delta) {
            // It may still read as a delta, of other events.
            Ok(_) => assert!(before.1.is_within(&to.vector())),
            Err(_) => assert_eq!((to.digest(), to.vector()), before),
        }
    }
}

#[test]
fn another_version_and_unknown_flags_are_refused() {
    let [_, _, c] = cluster();
    let reader: Replica<Users> = replica(0x0e05);
    let mut bytes = message(&c, &reader);
    assert_eq!(bytes[0], 2 << 3);
    bytes[0] = 4 << 3;
    assert_eq!(refused(&reader, &bytes), DecodeError::Version { found: 4 });
    bytes[0] = (2 << 3) | 4;
    assert!(matches!(refused(&reader, &bytes), DecodeError::Expected { what: "keys in short form", .. }));
}

#[test]
fn trailing_bytes_are_refused() {
    let [_, _, c] = cluster();
    let reader: Replica<Users> = replica(0x0e05);
    let mut bytes = message(&c, &reader);
    let at = bytes.len();
    bytes.push(0xC0);
    assert_eq!(refused(&reader, &bytes), DecodeError::Trailing { at });
    assert!(matches!(refused(&reader, b""), DecodeError::Truncated { at: 0 }));
    assert_eq!(refused(&reader, &[0xC0]), DecodeError::Version { found: 0xC0 >> 3 });
}

/// A struct as an older release has it, and as a newer one does.
#[derive(Crdt, Debug)]
struct Old {
    name: LwwRegister<String>,
    visits: Counter,
}

#[derive(Crdt, Debug)]
struct New {
    name: LwwRegister<String>,
    visits: Counter,
    note: LwwRegister<String>,
    more: LwwRegister<i64>,
}

#[test]
fn a_field_that_is_not_known_is_refused_and_named() {
    let mut new: Replica<MergeMap<u8, New>> = replica(1);
    new.write(NOW_MS, |map| map.update(&1, |new| new.name().set("a"))).unwrap();
    let mut old: Replica<MergeMap<u8, Old>> = replica(2);
    let bytes = new.delta_since(&old.vector()).encode().unwrap();
    merge(&mut old, &bytes);
    assert_eq!(old.state().get(&1).unwrap().name.latest().unwrap(), "a");
    new.write(NOW_MS, |map| map.update(&1, |new| new.note().set("b"))).unwrap();
    let bytes = new.delta_since(&old.vector()).encode().unwrap();
    assert!(matches!(refused(&old, &bytes), DecodeError::UnknownField { field: 2, .. }));
}

#[derive(Crdt, Debug)]
struct Wide {
    first: LwwRegister<i64>,
    second: LwwRegister<i64>,
    third: LwwRegister<i64>,
    fourth: LwwRegister<i64>,
    fifth: LwwRegister<i64>,
    sixth: LwwRegister<i64>,
    seventh: LwwRegister<i64>,
}

#[test]
fn a_kind_that_is_not_known_is_refused_and_named() {
    // A struct of which only the seventh field is written is, in bytes, a field of a document of kind 6.
    let mut other: Replica<MergeMap<String, Wide>> = replica(1);
    other.write(NOW_MS, |map| map.update("a", |wide| wide.seventh().set(1))).unwrap();
    let bytes = other.delta_since(&VersionVector::new()).encode().unwrap();
    let document: Replica<Document> = replica(2);
    assert!(matches!(refused(&document, &bytes), DecodeError::UnknownField { field: 6, .. }));
}

#[test]
fn a_key_of_another_type_is_refused_and_a_value_is_kept() {
    let mut text: Replica<LwwRegister<String>> = replica(1);
    text.write(NOW_MS, |register| register.set("a")).unwrap();
    let bytes = text.delta_since(&VersionVector::new()).encode().unwrap();
    let mut number: Replica<LwwRegister<i64>> = replica(2);
    let delta = number.decode(&bytes).unwrap();
    assert_eq!(number.merge(NOW_MS, delta).unwrap().unreadable.values, 1);
    assert_eq!(number.delta_since(&VersionVector::new()).encode().unwrap(), bytes);
    // The number of the event reads as that of no rows.
    assert!(matches!(refused(&replica::<MergeMap<u8, Counter>>(2), &bytes), DecodeError::Trailing { .. }));
    let mut names: Replica<OrSet<String>> = replica(1);
    names.write(NOW_MS, |names| names.add("a")).unwrap();
    let bytes = names.delta_since(&VersionVector::new()).encode().unwrap();
    assert!(matches!(refused(&replica::<OrSet<u8>>(2), &bytes), DecodeError::Value { .. }));
}

#[test]
fn stamps_of_the_future_are_refused_at_every_entry_until_they_are_not() {
    let mut ahead: Replica<LwwRegister<i64>> = replica(1);
    let stamp = ahead.write(NOW_MS + 60_001, |register| register.set(1)).unwrap().stamp.unwrap();
    let mut reader: Replica<LwwRegister<i64>> = replica(2);
    reader.set_members([ahead.id()]);
    let too_far = |bound_ms| MergeError::TooFarAhead { id: ahead.id(), stamp, bound_ms };
    let bytes = message(&ahead, &reader);
    let merge = |reader: &mut Replica<LwwRegister<i64>>, now_ms| {
        let delta = reader.decode(&bytes).unwrap();
        reader.merge(now_ms, delta)
    };
    assert_eq!(merge(&mut reader, NOW_MS).unwrap_err(), too_far(NOW_MS + 60_000));
    assert_eq!(reader.report(NOW_MS, ahead.id(), &ahead.vector()), Err(too_far(NOW_MS + 60_000)));
    assert_eq!(
        reader.report(NOW_MS, ReplicaId::from_u128(3), &ahead.vector()),
        Err(too_far(NOW_MS + 60_000))
    );
    assert_eq!((reader.vector(), reader.clock().last()), (VersionVector::new(), Timestamp::ZERO));
    assert_eq!(reader.known_vectors(), [(reader.id(), VersionVector::new())]);
    assert!(merge(&mut reader, NOW_MS + 1).unwrap().is_news);
    // What is held already is no news, whatever the clock says.
    assert!(!merge(&mut reader, 0).unwrap().is_news);
    assert_eq!(reader.report(0, ahead.id(), &ahead.vector()), Ok(()));
    assert_eq!(
        merge(&mut Replica::new(reader.id(), Config { max_ahead_ms: 0, ..Config::default() }), 0).err(),
        Some(too_far(0))
    );
}

#[test]
fn events_under_the_own_id_that_were_never_issued_are_refused() {
    let mut first: Replica<LwwRegister<i64>> = replica(1);
    let mut clone: Replica<LwwRegister<i64>> = replica(1);
    let own = first.write(NOW_MS, |register| register.set(1)).unwrap().stamp.unwrap();
    let stamp = clone.write(NOW_MS + 1, |register| register.set(2)).unwrap().stamp.unwrap();
    let mut other: Replica<LwwRegister<i64>> = replica(2);
    sync(&clone, &mut other);
    let (digest, vector) = (first.digest(), first.vector());
    let delta = first.decode(&message(&other, &first)).unwrap();
    assert_eq!(first.merge(NOW_MS, delta).unwrap_err(), MergeError::NotIssued { stamp, own });
    assert_eq!(first.report(NOW_MS, other.id(), &other.vector()), Err(MergeError::NotIssued { stamp, own }));
    assert_eq!((first.digest(), first.vector()), (digest, vector));
}

#[test]
fn a_gap_says_from_where_to_ask() {
    let mut writer: Replica<LwwRegister<i64>> = replica(1);
    let mut known = Vec::new();
    for value in 0..3 {
        writer.write(NOW_MS, |register| register.set(value)).unwrap();
        known.push(writer.vector());
    }
    let mut reader: Replica<LwwRegister<i64>> = replica(2);
    // The writer is named in short form, which says nothing to one who has never heard of it.
    let late = writer.delta_since(&known[1]).encode().unwrap();
    let gap = |reader: &Replica<_>| MergeError::Gap { vector: reader.vector() };
    assert_eq!(reader.decode(&late).unwrap_err(), gap(&reader));
    assert_eq!(reader.merge(NOW_MS, writer.delta_since(&known[1])).unwrap_err(), gap(&reader));
    assert!(reader.vector().is_empty());
    let mut held: Replica<LwwRegister<i64>> = replica(3);
    let early = {
        let mut early: Replica<LwwRegister<i64>> = replica(1);
        early.write(NOW_MS, |register| register.set(0)).unwrap();
        early
    };
    sync(&early, &mut held);
    let delta = held.decode(&late).unwrap();
    let Err(MergeError::Gap { vector }) = held.merge(NOW_MS, delta) else {
        panic!("a gap was merged");
    };
    assert_eq!(vector, known[0]);
    held.merge(NOW_MS, writer.delta_since(&vector)).unwrap();
    assert_eq!(held.digest(), writer.digest());
    sync(&writer, &mut reader);
    assert_eq!(reader.digest(), writer.digest());
}

#[test]
fn a_delta_of_another_schema_is_refused_whole() {
    let [_, _, c] = cluster();
    let bytes = c.delta_since(&VersionVector::new()).encode().unwrap();
    refused(&replica::<Document>(1), &bytes);
    refused(&replica::<Counter>(1), &bytes);
    refused(&replica::<MergeMap<u8, LwwRegister<String>>>(1), &bytes);
}
