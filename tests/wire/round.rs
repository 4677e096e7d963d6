//! Round trips.

use driftless::{Counter, Document, Flag, LwwRegister, MergeMap, MvRegister, OrSet, Replica, ReplicaId};
use driftless_testkit::cluster::Cluster;
use driftless_testkit::history::{Theme, histories};
use driftless_testkit::subject::Subject;
use driftless_testkit::wire::Message;
use proptest::prelude::*;

use crate::{cluster, merge, message, replica};

/// Whatever replicas hold, what each lacks of each other is read as it was written.
fn round_trips<S: Subject>() {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) };
    proptest!(config, |(history in histories(Theme::All, 40))| {
        let cluster = Cluster::<S>::run(&history).map_err(TestCaseError::fail)?;
        let ids = Cluster::<S>::every_id();
        for from in &cluster.nodes {
            for to in &cluster.nodes {
                let bytes = message(&from.replica, &to.replica);
                let delta = to.replica.decode(&bytes).unwrap();
                prop_assert!(from.replica.covers(&delta.to()));
                prop_assert_eq!(delta.encode().unwrap(), bytes.clone(), "read and written again");
                // A reader by the description of the format alone finds the same.
                let read = Message::read::<S>(&bytes, ids).map_err(TestCaseError::fail)?;
                prop_assert_eq!((read.from, read.to), (delta.from(), delta.to()));
                prop_assert_eq!(read.cut.is_some(), delta.is_complete());
            }
            let mut copy: Replica<S> = replica(u128::MAX);
            let bytes = message(&from.replica, &copy);
            let delta = copy.decode(&bytes).unwrap();
            copy.merge(u64::MAX >> 20, delta).unwrap();
            prop_assert_eq!(copy.canonical_bytes(), from.replica.canonical_bytes());
            prop_assert_eq!(copy.digest(), from.replica.digest());
            prop_assert!(copy.covers(&from.replica.vector()) && from.replica.covers(&copy.vector()));
        }
    });
}

macro_rules! round_trips {
    ($($name:ident $type:ty,)+) => {$(
        #[test]
        fn $name() {
            round_trips::<$type>();
        }
    )+};
}

round_trips! {
    an_lww_register_round_trips LwwRegister<i64>,
    an_mv_register_round_trips MvRegister<Option<String>>,
    a_flag_round_trips Flag,
    a_set_round_trips OrSet<String>,
    a_counter_round_trips Counter,
    a_map_round_trips MergeMap<uuid::Uuid, LwwRegister<String>>,
    maps_in_maps_round_trip MergeMap<u8, MergeMap<String, MergeMap<u8, Counter>>>,
    a_document_round_trips Document,
}

#[test]
fn the_same_history_gives_the_same_bytes_whatever_keys_are_hashed_with() {
    let (ours, theirs) = (cluster(), cluster());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(message(ours, &replica(1)), message(theirs, &replica(1)));
    }
    let seeded = |hash_seed| {
        let config = driftless::Config { hash_seed, ..driftless::Config::default() };
        let mut seeded: Replica<OrSet<u16>> = Replica::new(ReplicaId::from_u128(1), config);
        seeded.write(5, |set| (0..1000).for_each(|n| set.add(&n))).unwrap();
        seeded.write(6, |set| (0..500).filter(|n| set.remove(&(n * 2))).count()).unwrap();
        message(&seeded, &replica(2))
    };
    assert_eq!(seeded(Some(1)), seeded(Some(2)));
}

/// Ids that share their short form are told apart, also by one who has not written yet.
#[test]
fn ids_of_one_short_form_are_not_mixed_up() {
    let id = |upper: u128, lower: u128| (upper << 64) | lower;
    let (a, twin) = (id(3, 5), id(5, 3));
    let mut writer: Replica<OrSet<u8>> = replica(a);
    writer.write(1, |set| set.add(&1)).unwrap();
    let mut reader: Replica<OrSet<u8>> = replica(twin);
    let bytes = message(&writer, &reader);
    merge(&mut reader, &bytes);
    writer.write(2, |set| set.add(&2)).unwrap();
    let bytes = message(&writer, &reader);
    merge(&mut reader, &bytes);
    assert_eq!(reader.digest(), writer.digest());
    reader.write(3, |set| set.add(&3)).unwrap();
    let bytes = message(&reader, &writer);
    merge(&mut writer, &bytes);
    writer.write(4, |set| set.add(&4)).unwrap();
    let bytes = message(&writer, &reader);
    merge(&mut reader, &bytes);
    assert_eq!((reader.digest(), reader.vector()), (writer.digest(), writer.vector()));
}

/// A message that names a replica in short form arrives at one who knows another of that form: it is a gap, not theirs.
#[test]
fn a_misdirected_message_is_not_taken_for_the_events_of_another_replica() {
    let id = |upper: u128, lower: u128| (upper << 64) | lower;
    let mut writer: Replica<LwwRegister<i64>> = replica(id(3, 5));
    writer.write(1, |register| register.set(1)).unwrap();
    let mut reader: Replica<LwwRegister<i64>> = replica(1);
    let bytes = message(&writer, &reader);
    merge(&mut reader, &bytes);
    writer.write(3, |register| register.set(3)).unwrap();
    let for_reader = message(&writer, &reader);

    let mut twin: Replica<LwwRegister<i64>> = replica(id(5, 3));
    twin.write(2, |register| register.set(2)).unwrap();
    let mut other: Replica<LwwRegister<i64>> = replica(2);
    let bytes = message(&twin, &other);
    merge(&mut other, &bytes);
    let (digest, vector) = (other.digest(), other.vector());
    let merged = other.decode(&for_reader).and_then(|delta| other.merge(10, delta));
    assert!(matches!(merged, Err(driftless::MergeError::Gap { .. })), "{merged:?}");
    assert_eq!((other.digest(), other.vector()), (digest, vector));
}

/// Where maps are alike their keys are numbers, which take no bytes if all are the same: there may be more rows than bytes.
#[test]
fn more_than_two_rows_in_each_byte_are_read() {
    const DOCUMENTS: u8 = 200;
    let mut writer: Replica<MergeMap<u8, Document>> = replica(1);
    let path = [""; Document::MAX_DEPTH];
    let enable = |map: &mut <MergeMap<u8, Document> as driftless::Crdt>::Mut<'_>| {
        (0..DOCUMENTS).for_each(|key| map.update(&key, |document| document.enable(&path).unwrap()));
    };
    writer.write(crate::NOW_MS, enable).unwrap();
    let mut reader: Replica<MergeMap<u8, Document>> = replica(2);
    let bytes = message(&writer, &reader);
    let rows = usize::from(DOCUMENTS) * (1 + path.len());
    assert!(2 * bytes.len() < rows, "{} bytes for {rows} rows", bytes.len());
    merge(&mut reader, &bytes);
    assert_eq!(reader.digest(), writer.digest());
}
