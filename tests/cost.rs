//! What things cost, counted rather than timed: rows visited for a delta, bytes of a message, memory.

#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::hash::{Hash, Hasher};

use allocation_counter::measure;
use driftless::{Config, Flag, LwwRegister, MergeMap, OrSet, Replica, ReplicaId, VersionVector};
use serde::{Deserialize, Serialize};

type Names = MergeMap<u32, LwwRegister<String>>;

const NOW_MS: u64 = 1_700_000_000_000;
const EU: ReplicaId = ReplicaId::from_u128(1);
const US: ReplicaId = ReplicaId::from_u128(2);
const AP: ReplicaId = ReplicaId::from_u128(3);

fn replica(id: ReplicaId) -> Replica<Names> {
    Replica::new(id, Config::default())
}

fn fill(replica: &mut Replica<Names>, keys: std::ops::Range<u32>) {
    for key in keys {
        replica.write(NOW_MS, |names| names.update(&key, |name| name.set("first"))).unwrap();
    }
}

/// A multiplier that scatters keys over all rows.
fn scattered(changes: u32, among: u32) -> impl Iterator<Item = u32> {
    (0..changes).map(move |change| change.wrapping_mul(7_919) % among)
}

#[test]
fn d_changes_among_n_documents_visit_rows_in_proportion_to_d_alone() {
    let visited = |documents: u32, changes: u32| {
        let (mut eu, mut us) = (replica(EU), replica(US));
        fill(&mut eu, 0..documents);
        us.merge(NOW_MS, eu.delta_since(&VersionVector::new())).unwrap();
        for key in scattered(changes, documents) {
            eu.write(NOW_MS + 1, |names| names.update(&key, |name| name.set("second"))).unwrap();
        }
        let delta = eu.delta_since(&us.vector());
        let visited = delta.rows_visited();
        us.merge(NOW_MS + 2, delta).unwrap();
        assert_eq!(us.digest(), eu.digest());
        visited
    };
    for changes in [0, 1, 10, 100, 500] {
        for documents in [1_000, 100_000] {
            let visited = visited(documents, changes);
            // The chunk in which the last that the peer has seen lies is looked through as a whole.
            let bound = if changes == 0 { 0 } else { changes as usize + 2 * 64 };
            assert!(visited <= bound, "{visited} rows visited for {changes} changes among {documents}");
            assert!(visited >= changes as usize, "{visited} rows visited for {changes} changes");
        }
    }
}

#[test]
fn a_peer_that_lacks_one_author_is_not_shown_the_rows_of_the_others() {
    let (mut eu, mut us, mut ap) = (replica(EU), replica(US), replica(AP));
    fill(&mut eu, 0..20_000);
    us.merge(NOW_MS, eu.delta_since(&us.vector())).unwrap();
    ap.merge(NOW_MS, eu.delta_since(&ap.vector())).unwrap();
    // What ap wrote reaches eu early; then eu writes much that us has seen, and us still lacks what ap wrote.
    for key in 0..10 {
        ap.write(NOW_MS + 1, |names| names.update(&key, |name| name.set("ap"))).unwrap();
    }
    let before = eu.vector();
    eu.merge(NOW_MS + 1, ap.delta_since(&eu.vector())).unwrap();
    for key in 10_000..15_000 {
        eu.write(NOW_MS + 2, |names| names.update(&key, |name| name.set("eu"))).unwrap();
    }
    let mut seen = eu.vector();
    seen = seen.iter().filter(|(id, _)| *id != AP).chain(before.iter()).collect();
    let delta = eu.delta_since(&seen);
    assert!(delta.rows_visited() <= 2 * 64, "{} rows visited", delta.rows_visited());
    assert_eq!(delta.to().get(&AP), ap.vector().get(&AP));
}

#[test]
fn nothing_new_visits_nothing_and_an_overwritten_value_is_not_shipped() {
    let (mut eu, mut us) = (replica(EU), replica(US));
    fill(&mut eu, 0..1_000);
    us.merge(NOW_MS, eu.delta_since(&us.vector())).unwrap();
    let nothing = eu.delta_since(&us.vector());
    assert!(nothing.is_empty());
    assert_eq!(nothing.rows_visited(), 0);
    for round in 0..1_000 {
        eu.write(NOW_MS + round, |names| names.update(&7, |name| name.set("again"))).unwrap();
    }
    let bytes = eu.delta_since(&us.vector()).encode().unwrap().len();
    assert!(bytes < 64, "{bytes} bytes for one row that was written a thousand times");
}

#[test]
fn large_sets_within_a_row_cost_what_changed_too() {
    type Tags = MergeMap<u8, OrSet<u32>>;
    let mut eu: Replica<Tags> = Replica::new(EU, Config::default());
    let mut us: Replica<Tags> = Replica::new(US, Config::default());
    eu.write(NOW_MS, |map| map.update(&1, |tags| (0..10_000).for_each(|tag| tags.add(&tag)))).unwrap();
    us.merge(NOW_MS, eu.delta_since(&us.vector())).unwrap();
    eu.write(NOW_MS + 1, |map| map.update(&1, |tags| tags.add(&77_777))).unwrap();
    let delta = eu.delta_since(&us.vector());
    assert!(delta.rows_visited() <= 3 * 64, "{} rows visited", delta.rows_visited());
    assert!(delta.encode().unwrap().len() < 64);
    us.merge(NOW_MS + 1, delta).unwrap();
    assert_eq!(us.digest(), eu.digest());
}

#[test]
fn a_million_adds_and_removes_over_a_thousand_elements_leave_nothing_once_stable() {
    let mut eu: Replica<OrSet<u32>> = Replica::new(EU, Config::default());
    let mut us: Replica<OrSet<u32>> = Replica::new(US, Config::default());
    for replica in [&mut eu, &mut us] {
        replica.set_members([EU, US]);
    }
    for round in 0..100 {
        for step in 0..10_000_u32 {
            let element = step.wrapping_mul(7_919) / 2 % 1_000;
            eu.write(NOW_MS + round, |set| {
                if step % 2 == 0 {
                    set.add(&element);
                } else {
                    set.remove(&element);
                }
            })
            .unwrap();
        }
        us.merge(NOW_MS + round, eu.delta_since(&us.vector())).unwrap();
    }
    eu.write(NOW_MS + 100, |set| set.clear()).unwrap();
    us.merge(NOW_MS + 101, eu.delta_since(&us.vector())).unwrap();
    assert!(eu.state().rows() > 0, "nothing may be forgotten before it is known to be stable");
    eu.report(NOW_MS + 101, US, &us.vector()).unwrap();
    us.report(NOW_MS + 101, EU, &eu.vector()).unwrap();
    assert!(eu.forget().behind.is_empty());
    us.forget();
    assert_eq!((eu.state().rows(), us.state().rows()), (0, 0));
    let empty = eu.delta_since(&VersionVector::new()).encode().unwrap();
    assert!(empty.len() < 64, "{} bytes are left", empty.len());
}

#[test]
fn an_update_that_writes_nothing_costs_later_deltas_nothing() {
    let mut eu = replica(EU);
    fill(&mut eu, 0..1_000);
    let before = eu.vector();
    eu.write(NOW_MS, |names| {
        (0..200).for_each(|key| names.update(&key, |_| ()));
        names.update(&999, |name| name.set("second"));
    })
    .unwrap();
    let visited = eu.delta_since(&before).rows_visited();
    assert!(visited <= 2 * 64, "{visited} rows visited for one that was written");
}

#[test]
fn rows_that_are_written_again_and_again_do_not_make_a_delta_of_all_cost_more() {
    let mut eu = replica(EU);
    for key in scattered(50_000, 100) {
        eu.write(NOW_MS, |names| names.update(&key, |name| name.set("again"))).unwrap();
    }
    let visited = eu.delta_since(&VersionVector::new()).rows_visited();
    assert!(visited <= 1_000, "{visited} rows visited of 100");
}

/// Neither does it go through all rows, nor does it take memory for each of them.
#[test]
fn a_merge_takes_memory_for_what_comes_in_not_for_what_is_there() {
    let (mut eu, mut us) = (replica(EU), replica(US));
    fill(&mut eu, 0..20_000);
    us.merge(NOW_MS, eu.delta_since(&us.vector())).unwrap();
    fill(&mut eu, 7..8);
    let mut merge = || {
        let delta = eu.delta_since(&us.vector());
        us.merge(NOW_MS, delta).unwrap();
    };
    let bytes = measure(&mut merge).bytes_total;
    assert!(bytes < 10_000, "{bytes} bytes for one row among 20,000");
}

#[test]
fn a_digest_is_made_in_blocks() {
    let mut eu = replica(EU);
    let value = "0123456789".repeat(100);
    for key in 0..1_000 {
        eu.write(NOW_MS, |names| names.update(&key, |name| name.set(&*value))).unwrap();
    }
    let bytes = measure(|| _ = eu.digest()).bytes_max;
    assert!(bytes < 300_000, "{bytes} bytes at most for a state of 1,000,000");
}

/// Such as a cache that asks for keys it does not have.
#[test]
fn updates_that_write_nothing_leave_nothing_to_undo() {
    let mut eu = replica(EU);
    fill(&mut eu, 0..100);
    let bytes = measure(|| {
        eu.write(NOW_MS, |names| (1_000..11_000).for_each(|key| names.update(&key, |_| ()))).unwrap();
    })
    .bytes_max;
    assert!(bytes < 10_000, "{bytes} bytes at most for 10,000 updates of nothing");
}

/// A key that counts how often it is compared.
#[derive(Clone, Debug, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Counted(u64, u64);

impl Hash for Counted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.0, self.1).hash(state);
    }
}

thread_local! {
    static COMPARED: Cell<usize> = const { Cell::new(0) };
}

impl PartialEq for Counted {
    fn eq(&self, other: &Self) -> bool {
        COMPARED.set(COMPARED.get() + 1);
        (self.0, self.1) == (other.0, other.1)
    }
}

/// Keys that were chosen by who knows the hash function, but not the seed, down to the constants that the function's crate
/// would take for all programs.
#[test]
fn keys_that_were_chosen_to_collide_do_not() {
    const KEYS: u64 = 2_000;
    for constant in [0, 0xc0ac_29b7_c97c_50dd, 0x3f84_d5b5_b547_0917] {
        let mut eu: Replica<MergeMap<Counted, Flag>> = Replica::new(EU, Config::default());
        let mut us: Replica<MergeMap<Counted, Flag>> = Replica::new(US, Config::default());
        eu.write(NOW_MS, |map| {
            (0..KEYS).for_each(|key| map.update(&Counted(key, constant), |flag| flag.enable()));
        })
        .unwrap();
        let bytes = eu.delta_since(&us.vector()).encode().unwrap();
        us.merge(NOW_MS, us.decode(&bytes).unwrap()).unwrap();
        let compared = COMPARED.take();
        assert!(compared < 4 * KEYS as usize, "{compared} comparisons for {KEYS} keys with {constant:x}");
    }
}

#[test]
fn chunks_are_not_mostly_heads_however_many_replicas_they_name() {
    let mut eu = replica(EU);
    for number in 0..300 {
        let mut us = replica(ReplicaId::from_u128(1_000 + u128::from(number)));
        fill(&mut us, number..number + 1);
        eu.merge(NOW_MS, us.delta_since(&VersionVector::new())).unwrap();
    }
    let delta = eu.delta_since(&VersionVector::new());
    let whole = delta.encode().unwrap().len();
    let chunks: usize = delta.into_chunks(1_000).map(|chunk| chunk.unwrap().len()).sum();
    assert!(chunks <= 3 * whole, "{chunks} bytes in chunks of what takes {whole}");
}

#[test]
fn a_chunk_of_many_events_is_measured_in_proportion_to_them() {
    let allocations = |events: u32| {
        let mut eu = replica(EU);
        fill(&mut eu, 0..events);
        let delta = eu.delta_since(&VersionVector::new());
        let mut chunks = 0;
        let measured = measure(|| chunks = delta.into_chunks(1 << 20).count());
        assert_eq!(chunks, 1);
        measured.count_total
    };
    let (few, many) = (allocations(1_000), allocations(8_000));
    assert!(many < 12 * few, "{few} allocations for 1,000 events, {many} for 8,000");
}

#[test]
fn forgetting_nothing_takes_no_more_than_a_few_vectors() {
    let mut eu = replica(EU);
    for number in 0..300 {
        let id = ReplicaId::from_u128(1_000 + u128::from(number));
        let mut us = replica(id);
        fill(&mut us, number..number + 1);
        eu.merge(NOW_MS, us.delta_since(&VersionVector::new())).unwrap();
        eu.report(NOW_MS, id, &us.vector()).unwrap();
    }
    eu.set_members(eu.vector().iter().map(|(id, _)| id));
    assert!(eu.forget().marks == 0);
    let bytes = measure(|| _ = eu.forget()).bytes_total;
    assert!(bytes < 100_000, "{bytes} bytes for forgetting nothing of 300 replicas");
}

#[test]
fn maps_within_maps_are_not_looked_through_when_nothing_is_new() {
    type Rooms = MergeMap<u8, MergeMap<u8, Flag>>;
    let mut eu: Replica<MergeMap<u8, Rooms>> = Replica::new(EU, Config::default());
    for [a, b, c] in (0..64_u8).map(|key| [key & 3, key >> 2 & 3, key >> 4]) {
        eu.write(NOW_MS, |map| {
            map.update(&a, |map| map.update(&b, |map| map.update(&c, |flag| flag.enable())))
        })
        .unwrap();
    }
    assert_eq!(eu.delta_since(&eu.vector()).rows_visited(), 0);
}
