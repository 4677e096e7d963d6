//! Transfers in chunks.

use driftless::{
    Counter, Delta, Document, Limits, MergeError, MergeMap, PendingDelta, PendingError, Replica,
    VersionVector,
};
use driftless_testkit::cluster::Cluster;
use driftless_testkit::history::{Theme, histories};
use driftless_testkit::subject::Subject;
use driftless_testkit::wire::Message;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{NOW_MS, Users, cluster, message, replica};

fn chunks(from: &Replica<Users>, vector: &VersionVector, bytes: usize) -> Vec<Vec<u8>> {
    from.delta_since(vector).into_chunks(bytes).collect::<Result<_, _>>().unwrap()
}

fn push(
    pending: &mut PendingDelta<Users>,
    to: &Replica<Users>,
    bytes: &[u8],
) -> Result<Option<driftless::Delta<Users>>, PendingError> {
    pending.push(to.decode(bytes).unwrap())
}

#[test]
fn chunks_of_any_size_are_worth_the_whole() {
    let [a, b, mut c] = cluster();
    let members = [a.id(), b.id(), c.id()];
    let stale = a.vector();
    // A replica that has forgotten sends all it holds.
    let mut forgetful: Replica<Users> = replica(0x0d04);
    forgetful.merge(NOW_MS, c.delta_since(&VersionVector::new())).unwrap();
    forgetful.set_members(members);
    for id in members {
        forgetful.report(NOW_MS, id, &forgetful.vector()).unwrap();
    }
    assert!(forgetful.forget().marks > 0);
    c.write(NOW_MS + 9, |users| users.clear()).unwrap();

    for (from, vector) in [(&c, &VersionVector::new()), (&c, &stale), (&forgetful, &stale)] {
        assert_eq!(from.delta_since(vector).is_complete(), from.id() == forgetful.id());
        let smallest = chunks(from, vector, 1);
        let largest_part = smallest.iter().map(Vec::len).max().unwrap();
        for bytes in 1..=400 {
            let chunks = chunks(from, vector, bytes);
            assert!(chunks.len() <= smallest.len());
            // The keys on the way to a value that is cut off its row come on top.
            assert!(chunks.iter().all(|chunk| chunk.len() <= bytes.max(largest_part) + 50), "{bytes}");
            let mut to: Replica<Users> = replica(0x0e05);
            to.merge(NOW_MS, a.delta_since(&VersionVector::new())).unwrap();
            let mut pending = PendingDelta::new(&Limits::default());
            let (last, others) = chunks.split_last().unwrap();
            for chunk in others {
                assert!(push(&mut pending, &to, chunk).unwrap().is_none());
            }
            assert_eq!(pending.bytes(), others.iter().map(Vec::len).sum::<usize>());
            let whole = push(&mut pending, &to, last).unwrap().unwrap();
            to.merge(NOW_MS, whole).unwrap();
            assert_eq!(to.canonical_bytes(), from.canonical_bytes(), "in chunks of {bytes} bytes");
        }
    }
}

/// Whatever replicas hold: chunks of any size, put together, hold what the whole message does.
fn add_up<S: Subject>() {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) };
    proptest!(config, |(history in histories(Theme::All, 30), sizes in vec(1..400_usize, 6))| {
        let cluster = Cluster::<S>::run(&history).map_err(TestCaseError::fail)?;
        let read = |delta: &Delta<S>| Message::read::<S>(&delta.encode().unwrap(), Cluster::<S>::every_id());
        for from in &cluster.nodes {
            for vector in [VersionVector::new(), cluster.nodes[0].replica.vector()] {
                let whole = read(&from.replica.delta_since(&vector)).map_err(TestCaseError::fail)?;
                for bytes in &sizes {
                    let mut pending = PendingDelta::new(&Limits::default());
                    let mut gathered = None;
                    for chunk in from.replica.delta_since(&vector).into_chunks(*bytes) {
                        let part = from.replica.decode(&chunk.unwrap()).unwrap();
                        prop_assert!(gathered.is_none());
                        gathered = pending.push(part).unwrap();
                    }
                    let gathered = read(&gathered.unwrap()).map_err(TestCaseError::fail)?;
                    prop_assert_eq!(&gathered, &whole, "in chunks of {} bytes", bytes);
                }
            }
        }
    });
}

#[test]
fn chunks_of_maps_in_maps_add_up_to_the_whole() {
    add_up::<MergeMap<u8, MergeMap<u8, MergeMap<u8, Counter>>>>();
}

#[test]
fn chunks_of_a_document_add_up_to_the_whole() {
    add_up::<Document>();
}

/// Each part is measured alone, and they are written together: in columns that is not longer than what was measured, nor is it
/// much shorter; names that stand in a dictionary make it half as long.
#[test]
fn chunks_are_about_as_large_as_was_asked_for() {
    let key =
        |number: u64| uuid::Uuid::from_u128(u128::from(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)) << 32);
    // A transaction for all, one each in steady time, one each at any time.
    for (writes, gap) in [(1, 0), (2_000, 10), (2_000, 7_919_333)] {
        let mut from: Replica<Users> = replica(0x0e05);
        for write in 0..writes {
            let now_ms = NOW_MS + write * write % 977 * gap;
            from.write(now_ms, |users| {
                for number in write..write + 2_000 / writes {
                    users.update(&key(number), |user| {
                        user.name().set(format!("name {number}"));
                        (0..number % 5).for_each(|tag| user.tags().add(&format!("tag {tag}")));
                        user.visits().add(number as i64).unwrap();
                    });
                }
            })
            .unwrap();
        }
        for asked in [1 << 10, 1 << 14] {
            let lens: Vec<usize> = chunks(&from, &VersionVector::new(), asked).iter().map(Vec::len).collect();
            let (_, others) = lens.split_last().unwrap();
            assert!(lens.iter().all(|len| *len <= asked), "{writes} writes in {asked}: {lens:?}");
            assert!(others.iter().all(|len| *len > asked / 3), "{writes} writes in {asked}: {lens:?}");
        }
    }
}

#[test]
fn a_delta_with_nothing_in_it_is_one_chunk() {
    let [a, ..] = cluster();
    let chunks = chunks(&a, &a.vector(), 1);
    assert_eq!(chunks.len(), 1);
    let mut pending = PendingDelta::new(&Limits::default());
    assert!(push(&mut pending, &a, &chunks[0]).unwrap().unwrap().is_empty());
}

#[test]
fn a_chunk_alone_is_not_merged() {
    let [_, _, c] = cluster();
    let mut to: Replica<Users> = replica(0x0e05);
    let chunk = to.decode(&chunks(&c, &to.vector(), 100)[0]).unwrap();
    assert!(chunk.is_chunk());
    assert_eq!(to.merge(NOW_MS, chunk).unwrap_err(), MergeError::Incomplete);
    assert!(to.vector().is_empty());
}

#[test]
fn chunks_out_of_order_or_of_another_transfer_are_refused_and_those_before_are_kept() {
    let [_, b, c] = cluster();
    let mut to: Replica<Users> = replica(0x0e05);
    let (ours, others) = (chunks(&c, &to.vector(), 100), chunks(&b, &to.vector(), 100));
    assert!(ours.len() > 3 && others.len() > 3);
    let mut pending = PendingDelta::new(&Limits::default());
    let out_of_order = |expected, found| Err(PendingError::OutOfOrder { expected, found });
    let mut refused = |chunk: &[u8]| push(&mut pending, &to, chunk).map(|whole| whole.is_some());
    assert_eq!(refused(&ours[2]), out_of_order(0, 2));
    assert_eq!(refused(&ours[0]), Ok(false));
    assert_eq!(refused(&ours[2]), out_of_order(1, 2));
    assert_eq!(refused(&ours[1]), Ok(false));
    assert_eq!(refused(&ours[1]), out_of_order(2, 1));
    assert_eq!(refused(&others[2]), Err(PendingError::OtherTransfer));
    // A message that is no chunk passes by.
    assert_eq!(refused(&message(&b, &replica(1))), Ok(true));
    for chunk in &ours[2..ours.len() - 1] {
        assert_eq!(refused(chunk), Ok(false));
    }
    let whole = push(&mut pending, &to, ours.last().unwrap()).unwrap().unwrap();
    to.merge(NOW_MS, whole).unwrap();
    assert_eq!(to.digest(), c.digest());
}

#[test]
fn a_first_chunk_begins_anew() {
    let [_, b, c] = cluster();
    let to: Replica<Users> = replica(0x0e05);
    let mut pending = PendingDelta::new(&Limits::default());
    for chunk in &chunks(&b, &to.vector(), 100)[..3] {
        assert!(push(&mut pending, &to, chunk).unwrap().is_none());
    }
    let ours = chunks(&c, &to.vector(), 100);
    let done: Vec<_> = ours.iter().map(|chunk| push(&mut pending, &to, chunk).unwrap().is_some()).collect();
    assert!(done.last() == Some(&true) && !done[..done.len() - 1].contains(&true));
    assert_eq!(pending.bytes(), 0);
}

#[test]
fn a_transfer_larger_than_allowed_is_refused() {
    let [_, _, c] = cluster();
    let to: Replica<Users> = replica(0x0e05);
    let chunks = chunks(&c, &to.vector(), 100);
    let total: usize = chunks.iter().map(Vec::len).sum();
    for (allowed, fits) in [(total, true), (total - 1, false), (chunks[0].len() - 1, false)] {
        let limits = Limits { transfer_bytes: allowed, ..Limits::default() };
        let mut pending = PendingDelta::new(&limits);
        let done: Result<Vec<_>, _> = chunks.iter().map(|chunk| push(&mut pending, &to, chunk)).collect();
        assert_eq!(done.map(drop), if fits { Ok(()) } else { Err(PendingError::TooLarge { allowed }) });
    }
}

#[test]
fn writes_during_a_transfer_and_the_transfer_do_not_see_each_other() {
    let [_, _, c] = cluster();
    let mut to: Replica<Users> = replica(0x0e05);
    let key = uuid::Uuid::from_u128(0);
    let mut pending = PendingDelta::new(&Limits::default());
    let chunks = chunks(&c, &to.vector(), 100);
    for (number, chunk) in chunks.iter().enumerate() {
        to.write(NOW_MS, |users| {
            assert_eq!(users.len(), usize::from(number > 0));
            users.update(&key, |user| user.tags().add(&format!("tag {number}")));
        })
        .unwrap();
        if let Some(whole) = push(&mut pending, &to, chunk).unwrap() {
            to.merge(NOW_MS, whole).unwrap();
        }
    }
    let tags = &to.state().get(&key).unwrap().tags;
    assert!((0..chunks.len()).all(|number| tags.contains(&format!("tag {number}"))));
    let mut c = c;
    crate::sync(&to, &mut c);
    assert_eq!(c.digest(), to.digest());
}
