//! Transactions: one stamp, all or nothing, seen whole; and what they and merges report to have changed.

#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use driftless::{
    Change, ClockError, Config, Counter, CounterOverflow, Crdt, Digest, Document, Flag, LwwRegister,
    MergeError, MergeMap, MvRegister, OrSet, PathItem, Replica, ReplicaId, Timestamp, TransactError, Value,
    VersionVector, WriteError,
};
use serde::{Deserialize, Serialize};

const NOW_MS: u64 = 1_700_000_000_000;

#[derive(Crdt)]
struct User {
    name: LwwRegister<String>,
    notes: MvRegister<String>,
    tags: OrSet<String>,
    visits: Counter,
    active: Flag,
    logins: MergeMap<u8, LwwRegister<i64>>,
}

type Users = MergeMap<u32, User>;

fn replica(id: u128) -> Replica<Users> {
    Replica::new(ReplicaId::from_u128(id), Config { changes: true, ..Config::default() })
}

/// Some users, with removed ones and concurrent writes among them.
fn busy() -> Replica<Users> {
    let (mut eu, mut us) = (replica(1), replica(2));
    for key in 0..40 {
        eu.write(NOW_MS, |users| users.update(&key, |user| user.name().set("eu"))).unwrap();
        us.write(NOW_MS, |users| {
            users.update(&key, |user| {
                user.name().set("us");
                user.tags().add("tag");
                user.logins().update(&1, |at| at.set(5));
            });
        })
        .unwrap();
    }
    eu.merge(NOW_MS, us.delta_since(&eu.vector())).unwrap();
    eu.write(NOW_MS + 1, |users| users.remove(&3)).unwrap();
    eu
}

/// All that can be observed of a replica.
fn observed(replica: &Replica<Users>) -> (Digest, VersionVector, String, usize, Timestamp) {
    let bytes = replica.delta_since(&VersionVector::new()).encode().unwrap();
    let all = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    (replica.digest(), replica.vector(), all, replica.state().len(), replica.clock().last())
}

/// One of everything, to be undone.
fn write_everything(users: &mut <Users as Crdt>::Mut<'_>) -> Result<(), CounterOverflow> {
    for key in [0, 3, 39, 100, 101] {
        users.update(&key, |user| {
            user.name().set("new");
            user.name().clear();
            user.name().set("newer");
            user.notes().set("note");
            user.tags().add("new");
            user.tags().remove("tag");
            user.active().enable();
            user.active().disable();
            user.visits().add(3)?;
            user.visits().reset();
            user.visits().add(1)?;
            for login in 0..30 {
                user.logins().update(&login, |at| at.set(7));
            }
            user.logins().remove(&1);
            Ok(())
        })?;
    }
    users.remove(&0);
    users.remove(&100);
    users.update(&0, |user| user.name().set("again"));
    users.clear();
    users.update(&7, |user| user.tags().add("after"));
    (200..240).for_each(|key| users.update(&key, |user| user.active().enable()));
    Ok(())
}

/// What is shared between threads can be.
const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Replica<Users>>();
    is_shared::<driftless::Snapshot<Users>>();
    is_shared::<driftless::Delta<Users>>();
    is_shared::<driftless::PendingDelta<Users>>();
};

#[test]
fn an_error_leaves_nothing_behind() {
    let mut eu = busy();
    let before = observed(&eu);
    let result = eu.transact(NOW_MS + 5, |users| {
        write_everything(users).unwrap();
        Err::<(), _>("no")
    });
    assert_eq!(result.unwrap_err(), TransactError::Aborted("no"));
    assert_eq!(observed(&eu), before);
    assert_eq!(eu.state().rows(), 40);
    // It goes on as if nothing had been.
    eu.transact(NOW_MS + 5, write_everything).unwrap();
    let mut us = replica(2);
    us = {
        let mut fresh = replica(9);
        fresh.merge(NOW_MS + 6, eu.delta_since(&us.vector())).unwrap();
        fresh
    };
    assert_eq!(us.digest(), eu.digest());
}

#[test]
fn a_removal_after_an_undone_transaction_does_not_claim_its_stamp() {
    let mut eu = replica(1);
    eu.write(NOW_MS, |users| {
        users.update(&1, |user| (0..20).for_each(|login| user.logins().update(&login, |at| at.set(1))));
    })
    .unwrap();
    eu.transact(NOW_MS + 1_000, |users| {
        users.update(&1, |user| user.logins().update(&1, |at| at.set(2)));
        Err::<(), _>(())
    })
    .unwrap_err();
    eu.write(NOW_MS + 1, |users| users.remove(&1)).unwrap();
    eu.write(NOW_MS + 2, |users| users.update(&1, |user| user.logins().update(&1, |at| at.set(3)))).unwrap();
    let mut us = replica(2);
    us.merge(NOW_MS, us.decode(&eu.delta_since(&us.vector()).encode().unwrap()).unwrap()).unwrap();
    assert_eq!(us.digest(), eu.digest());
}

#[test]
fn a_panic_leaves_nothing_behind_at_any_depth() {
    let mut eu = busy();
    let before = observed(&eu);
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        eu.write(NOW_MS + 5, |users| {
            write_everything(users).unwrap();
            users.update(&55, |user| {
                user.name().set("half");
                user.logins().update(&3, |_| panic!("in the middle"))
            })
        })
    }));
    assert!(unwound.is_err());
    assert_eq!(observed(&eu), before);
}

#[test]
fn a_panic_that_is_caught_inside_undoes_the_transaction() {
    let mut eu = busy();
    let before = observed(&eu);
    let result = eu.write(NOW_MS + 5, |users| {
        let inner = AssertUnwindSafe(|| {
            users.update(&9, |user| {
                user.name().set("half");
                panic!("in the middle")
            })
        });
        assert!(catch_unwind(inner).is_err());
    });
    assert_eq!(result.unwrap_err(), WriteError::Unwound);
    assert_eq!(observed(&eu), before);
}

#[test]
fn what_is_written_after_a_panic_in_a_new_row_was_caught_is_undone_too() {
    type Rooms = MergeMap<u8, MergeMap<u8, LwwRegister<u32>>>;
    let mut eu: Replica<Rooms> = Replica::new(ReplicaId::from_u128(1), Config::default());
    eu.write(NOW_MS, |rooms| {
        (0..3).for_each(|key| rooms.update(&key, |room| room.update(&key, |at| at.set(1))))
    })
    .unwrap();
    let before = (eu.canonical_bytes(), eu.vector(), eu.state().rows());
    let result = eu.write(NOW_MS + 5, |rooms| {
        assert!(catch_unwind(AssertUnwindSafe(|| rooms.update(&9, |_| panic!("in a new row")))).is_err());
        rooms.update(&0, |room| {
            let inner = AssertUnwindSafe(|| room.update(&9, |_| panic!("in a new row of a row")));
            assert!(catch_unwind(inner).is_err());
            room.update(&0, |at| at.set(2));
            room.update(&8, |at| at.set(2));
        });
        rooms.update(&1, |room| room.update(&1, |at| at.set(2)));
        rooms.update(&8, |room| room.update(&1, |at| at.set(2)));
        rooms.remove(&2);
    });
    assert_eq!(result.unwrap_err(), WriteError::Unwound);
    assert_eq!((eu.canonical_bytes(), eu.vector(), eu.state().rows()), before);
}

thread_local! {
    /// After how many more copies the next one panics.
    static FUSE: Cell<Option<u32>> = const { Cell::new(None) };
}

/// A value whose copies may fail, such as for want of memory.
#[derive(Debug, Serialize, Deserialize)]
struct Frail(u32);

impl Clone for Frail {
    fn clone(&self) -> Self {
        let fuse = FUSE.get();
        FUSE.set(fuse.and_then(|left| left.checked_sub(1)));
        assert_ne!(fuse, Some(0), "no more copies");
        Self(self.0)
    }
}

/// Runs with a copy that fails after some others. Returns whether it failed.
fn with_fuse(copies: u32, run: impl FnOnce()) -> bool {
    FUSE.set(Some(copies));
    let is_failed = catch_unwind(AssertUnwindSafe(run)).is_err();
    let is_blown = FUSE.take().is_none();
    assert!(is_blown, "the fuse was longer than that");
    is_failed
}

#[test]
fn a_copy_that_panics_as_a_short_list_grows_loses_nothing() {
    let mut eu: Replica<MergeMap<u32, LwwRegister<Frail>>> =
        Replica::new(ReplicaId::from_u128(1), Config::default());
    eu.write(NOW_MS, |map| (0..16).for_each(|key| map.update(&key, |frail| frail.set(Frail(key))))).unwrap();
    // As long as a reader holds them, the rows are copied before they are written.
    let reader = eu.snapshot();
    let before = (eu.digest(), eu.vector());
    for copies in [0, 5, 15] {
        let write =
            || drop(eu.write(NOW_MS + 1, |map| map.update(&99, |frail| frail.set(Frail(99)))).unwrap());
        assert!(with_fuse(copies, write));
        assert_eq!((eu.digest(), eu.vector()), before);
    }
    eu.write(NOW_MS + 2, |map| map.update(&99, |frail| frail.set(Frail(99)))).unwrap();
    assert_eq!((eu.state().len(), reader.len()), (17, 16));
}

/// The row was written, and copying those that it is to stand beside fails.
#[test]
fn a_copy_that_panics_as_a_row_is_added_undoes_the_transaction_if_it_is_caught() {
    type Frails = MergeMap<u32, LwwRegister<Frail>>;
    for count in [5, 16, 40] {
        let mut eu: Replica<Frails> = Replica::new(ReplicaId::from_u128(1), Config::default());
        let set =
            |map: &mut <Frails as Crdt>::Mut<'_>, key: u32| map.update(&key, |frail| frail.set(Frail(key)));
        eu.write(NOW_MS, |map| (0..count).for_each(|key| set(map, key))).unwrap();
        // A row that is forgotten leaves its number free.
        eu.write(NOW_MS + 1, |map| map.remove(&0)).unwrap();
        eu.set_members([eu.id()]);
        eu.forget();
        let reader = eu.snapshot();
        let before = (eu.digest(), eu.vector(), eu.state().rows());
        let mut written = None;
        with_fuse(2, || {
            let add = |map: &mut <Frails as Crdt>::Mut<'_>| {
                drop(catch_unwind(AssertUnwindSafe(|| set(map, 99))));
            };
            written = Some(eu.write(NOW_MS + 2, add));
        });
        assert_eq!(written.unwrap().unwrap_err(), WriteError::Unwound);
        assert_eq!((eu.digest(), eu.vector(), eu.state().rows()), before);
        drop(reader);
        eu.write(NOW_MS + 3, |map| {
            for key in 0..count {
                map.remove(&key);
            }
        })
        .unwrap();
        eu.forget();
        assert_eq!(eu.state().rows(), 0, "of {count}");
    }
}

#[test]
fn a_panic_that_is_caught_around_a_removal_undoes_the_transaction() {
    let mut eu: Replica<MergeMap<u8, MergeMap<u32, LwwRegister<Frail>>>> =
        Replica::new(ReplicaId::from_u128(1), Config::default());
    eu.write(NOW_MS, |map| {
        map.update(&1, |inner| (0..100).for_each(|key| inner.update(&key, |frail| frail.set(Frail(key)))));
    })
    .unwrap();
    let before = (eu.digest(), eu.vector());
    for copies in [0, 3, 40] {
        let mut written = None;
        with_fuse(copies, || {
            written =
                Some(eu.write(NOW_MS + 1, |map| drop(catch_unwind(AssertUnwindSafe(|| map.remove(&1))))));
        });
        assert_eq!(written.unwrap().unwrap_err(), WriteError::Unwound);
        assert_eq!((eu.digest(), eu.vector()), before);
    }
}

#[test]
fn a_transaction_takes_one_stamp_and_one_without_events_none() {
    let mut eu = busy();
    let before = observed(&eu);
    let nothing = eu.write(NOW_MS + 9, |users| {
        users.remove(&77_777);
        users.update(&88_888, |user| {
            user.tags().remove("absent");
            user.active().disable();
            user.visits().reset();
        });
    });
    assert_eq!(nothing.unwrap().stamp, None);
    assert_eq!(observed(&eu), before);
    let some = eu.transact(NOW_MS + 9, write_everything).unwrap();
    assert_eq!(some.stamp, Some(Timestamp::new(NOW_MS + 9, 0).unwrap()));
    assert_eq!(eu.vector().get(&eu.id()), some.stamp.unwrap());
}

#[test]
fn t33_a_clock_that_is_stuck_or_steps_back_still_orders_writes() {
    let (mut eu, mut us) = (replica(1), replica(2));
    for (now, name) in [(NOW_MS, "a"), (NOW_MS, "b"), (NOW_MS - 3_600_000, "c")] {
        eu.write(now, |users| users.update(&1, |user| user.name().set(name))).unwrap();
    }
    us.merge(NOW_MS, eu.delta_since(&us.vector())).unwrap();
    assert_eq!(us.state().get(&1).unwrap().name.latest().unwrap(), "c");
    // B31: what is written after a merge orders after what was merged.
    us.write(NOW_MS - 3_600_000, |users| users.update(&1, |user| user.name().set("d"))).unwrap();
    eu.merge(NOW_MS, us.delta_since(&eu.vector())).unwrap();
    assert_eq!(eu.state().get(&1).unwrap().name.latest().unwrap(), "d");
}

#[test]
fn a_time_out_of_range_is_refused_and_changes_nothing() {
    let mut eu = busy();
    let before = observed(&eu);
    let refused = eu.write(1 << 48, |users| users.update(&1, |user| user.name().set("x")));
    assert_eq!(refused.unwrap_err(), WriteError::Clock(ClockError::NowTooLarge { now_ms: 1 << 48 }));
    assert_eq!(observed(&eu), before);
}

#[test]
fn t34_equal_stamps_are_ordered_whole() {
    let (mut eu, mut us) = (replica(1), replica(2));
    for (replica, value) in [(&mut eu, "eu"), (&mut us, "us")] {
        replica
            .write(NOW_MS, |users| {
                (0..50).for_each(|key| users.update(&key, |user| user.name().set(value)));
            })
            .unwrap();
    }
    let (from_eu, from_us) = (eu.delta_since(&us.vector()), us.delta_since(&eu.vector()));
    eu.merge(NOW_MS, from_us).unwrap();
    us.merge(NOW_MS, from_eu).unwrap();
    for replica in [&eu, &us] {
        let names: Vec<_> = replica.state().iter().map(|(_, user)| user.name.latest().unwrap()).collect();
        assert_eq!(names, ["us"; 50], "the greater id wins in all of them");
    }
}

#[test]
fn counters_refuse_to_overflow_and_replicas_agree_when_their_sum_does() {
    let mut eu: Replica<Counter> = Replica::new(ReplicaId::from_u128(1), Config::default());
    let mut us: Replica<Counter> = Replica::new(ReplicaId::from_u128(2), Config::default());
    eu.transact(NOW_MS, |counter| counter.add(i64::MAX)).unwrap();
    let refused = eu.transact(NOW_MS, |counter| counter.add(1)).unwrap_err();
    assert_eq!(refused, TransactError::Aborted(CounterOverflow { value: i64::MAX, by: 1 }));
    us.transact(NOW_MS, |counter| counter.add(7)).unwrap();
    eu.merge(NOW_MS, us.delta_since(&eu.vector())).unwrap();
    us.merge(NOW_MS, eu.delta_since(&us.vector())).unwrap();
    for replica in [&eu, &us] {
        assert_eq!(replica.state().value(), i64::MAX);
        assert_eq!(replica.state().exact(), i128::from(i64::MAX) + 7);
    }
    assert_eq!(eu.digest(), us.digest());
    us.transact(NOW_MS, |counter| counter.add(i64::MIN)).unwrap();
    assert_eq!(us.state().value(), 6);
}

fn text(value: &str) -> Option<Value> {
    Some(Value::from(value))
}

fn paths(changes: &[Change]) -> Vec<String> {
    let path = |change: &Change| format!("{} {:?} -> {:?}", change.path, change.before, change.after);
    let mut paths: Vec<_> = changes.iter().map(path).collect();
    paths.sort();
    paths
}

#[test]
fn writes_and_merges_report_what_reads_differently() {
    let (mut eu, mut us) = (replica(1), replica(2));
    let written = eu
        .transact(NOW_MS, |users| {
            users.update(&1, |user| {
                user.name().set("x");
                user.name().set("Ada");
                user.tags().add("admin");
                user.tags().add("gone");
                user.tags().remove("gone");
                user.visits().add(2)
            })
        })
        .unwrap();
    let merged = us.merge(NOW_MS, eu.delta_since(&us.vector())).unwrap();
    assert_eq!(paths(&written.changes), paths(&merged.changes));
    assert_eq!(written.changes.len(), 3);
    let name =
        merged.changes.iter().find(|change| change.path.last() == Some(&PathItem::Field("name"))).unwrap();
    assert_eq!((&name.before, &name.after), (&None, &text("Ada")));
    assert_eq!((name.author, Some(name.stamp)), (eu.id(), written.stamp));
    assert!(name.path.iter().eq(&[PathItem::Key(Value::from(1)), PathItem::Field("name")]));

    // The same value again, and a merge of what is held already, change nothing that is read.
    let again = eu.write(NOW_MS + 1, |users| users.update(&1, |user| user.name().set("Ada"))).unwrap();
    assert!(again.stamp.is_some() && again.changes.is_empty());
    assert!(us.merge(NOW_MS + 1, eu.delta_since(&us.vector())).unwrap().changes.is_empty());
    assert!(!us.merge(NOW_MS + 1, eu.delta_since(&VersionVector::new())).unwrap().is_news);

    // A removal is reported for all that was readable below, by the remover.
    let removed = us.write(NOW_MS + 2, |users| users.remove(&1)).unwrap();
    let merged = eu.merge(NOW_MS + 2, us.delta_since(&eu.vector())).unwrap();
    assert_eq!(paths(&removed.changes), paths(&merged.changes));
    assert_eq!(removed.changes.len(), 3);
    assert!(merged.changes.iter().all(|change| change.after.is_none() && change.author == us.id()));
}

#[test]
fn a_merge_counts_the_registers_that_came_to_hold_concurrent_values_and_no_others() {
    let [mut eu, mut us]: [Replica<LwwRegister<u8>>; 2] =
        [1, 2].map(|id| Replica::new(ReplicaId::from_u128(id), Config::default()));
    let set =
        |at: &mut Replica<LwwRegister<u8>>, value| drop(at.write(NOW_MS, |register| register.set(value)));
    let conflicts = |from: &Replica<LwwRegister<u8>>, to: &mut Replica<LwwRegister<u8>>| {
        to.merge(NOW_MS, from.delta_since(&to.vector())).unwrap().conflicts
    };
    set(&mut eu, 1);
    assert_eq!(conflicts(&eu, &mut us), 0, "the first value");
    set(&mut us, 2);
    assert_eq!(conflicts(&us, &mut eu), 0, "one that had seen it");
    set(&mut eu, 3);
    set(&mut us, 4);
    assert_eq!(
        (conflicts(&us, &mut eu), conflicts(&eu, &mut us)),
        (1, 1),
        "two that had not seen each other"
    );
    set(&mut eu, 5);
    assert_eq!(conflicts(&eu, &mut us), 0, "one that had seen both");
}

/// Of what a merge brought, not of what was held before and stands in the same place.
#[test]
fn the_author_of_a_change_is_one_whose_event_the_merge_brought() {
    let config = Config { changes: true, ..Config::default() };
    let [mut eu, mut us, mut ap]: [Replica<MvRegister<u8>>; 3] =
        [1, 2, 3].map(|id| Replica::new(ReplicaId::from_u128(id), config.clone()));
    eu.write(NOW_MS + 9, |register| register.set(1)).unwrap();
    us.write(NOW_MS + 5, |register| register.set(2)).unwrap();
    for reader in [&mut ap, &mut us] {
        reader.merge(NOW_MS + 9, eu.delta_since(&reader.vector())).unwrap();
    }
    let merged = ap.merge(NOW_MS + 9, us.delta_since(&ap.vector())).unwrap();
    assert_eq!((merged.changes.len(), merged.changes[0].author), (1, us.id()), "eu's event was seen before");
}

/// A name of a document reads for each kind apart: one that goes and one that comes do not make each other disappear.
#[test]
fn two_kinds_at_one_name_make_two_changes() {
    let config = Config { changes: true, ..Config::default() };
    let set =
        |at: &mut Replica<Document>, now_ms| at.transact(now_ms, |doc| doc.set(&["x"], "a")).unwrap().changes;
    let count = |at: &mut Replica<Document>, now_ms| {
        at.transact(now_ms, |doc| doc.increment(&["x"], 5)).unwrap().changes
    };
    let expected = |from: Option<Value>, to: Option<Value>| {
        let mut changes = [(from, None), (None, to)];
        changes.sort();
        changes
    };
    let found = |changes: Vec<Change>| {
        assert!(changes.iter().all(|change| change.path.to_string() == "\"x\""));
        let mut found: Vec<_> = changes.into_iter().map(|change| (change.before, change.after)).collect();
        found.sort();
        found
    };
    for is_counted_first in [false, true] {
        let [mut eu, mut us]: [Replica<Document>; 2] =
            [1, 2].map(|id| Replica::new(ReplicaId::from_u128(id), config.clone()));
        let both = [text("a"), Some(Value::Int(5))];
        let [before, after] = if is_counted_first { [both[1].clone(), both[0].clone()] } else { both };
        if is_counted_first {
            count(&mut eu, NOW_MS)
        } else {
            set(&mut eu, NOW_MS)
        };
        us.merge(NOW_MS, eu.delta_since(&us.vector())).unwrap();
        let written = eu
            .transact(NOW_MS + 1, |doc| {
                doc.delete(&["x"])?;
                if is_counted_first { doc.set(&["x"], "a") } else { doc.increment(&["x"], 5) }
            })
            .unwrap();
        assert_eq!(found(written.changes), expected(before.clone(), after.clone()));
        let merged = us.merge(NOW_MS + 2, eu.delta_since(&us.vector())).unwrap();
        assert_eq!(found(merged.changes), expected(before, after));
    }
}

/// As who wins: by stamp, then by the full id, not by the order in which a table happens to name them.
#[test]
fn of_events_with_equal_stamps_the_greater_id_is_the_author_by_every_route() {
    let config = Config { changes: true, ..Config::default() };
    let [mut low, mut high, mut hub]: [Replica<Counter>; 3] =
        [2, 3, 4].map(|id| Replica::new(ReplicaId::from_u128(id), config.clone()));
    for counting in [&mut low, &mut high] {
        counting.transact(NOW_MS, |count| count.add(1)).unwrap();
    }
    // The hub gets to know the greater id first.
    for counting in [&high, &low] {
        hub.merge(NOW_MS, counting.delta_since(&hub.vector())).unwrap();
    }
    let reader = || Replica::<Counter>::new(ReplicaId::from_u128(5), config.clone());
    let direct = reader().merge(NOW_MS, hub.delta_since(&VersionVector::new())).unwrap();
    let bytes = hub.delta_since(&VersionVector::new()).encode().unwrap();
    let mut known = reader();
    let read = known.merge(NOW_MS, known.decode(&bytes).unwrap()).unwrap();
    assert_eq!((direct.changes.len(), direct.changes[0].author), (1, high.id()));
    assert_eq!(direct, read);
}

#[test]
fn an_undone_transaction_reports_nothing_to_the_next() {
    let mut eu = replica(1);
    eu.transact(NOW_MS, |users| {
        users.update(&1, |user| user.name().set("x"));
        Err::<(), _>(())
    })
    .unwrap_err();
    assert!(eu.write(NOW_MS, |_| ()).unwrap().changes.is_empty());
}

#[test]
fn snapshots_do_not_change_and_can_be_read_on_other_threads() {
    let mut eu = busy();
    let snapshot = eu.snapshot();
    let (digest, vector, len) = (eu.digest(), eu.vector(), eu.state().len());
    let reader = std::thread::spawn({
        let snapshot = snapshot.clone();
        move || (snapshot.digest(), snapshot.vector(), snapshot.len())
    });
    eu.transact(NOW_MS + 5, write_everything).unwrap();
    assert_eq!(reader.join().unwrap(), (digest, vector.clone(), len));
    assert_eq!((snapshot.digest(), snapshot.len()), (digest, len));
    assert_ne!(eu.digest(), digest);
    // A delta cut from a snapshot holds what the snapshot held.
    let mut us = replica(2);
    us = {
        drop(us);
        replica(7)
    };
    us.merge(NOW_MS + 5, snapshot.delta_since(&VersionVector::new())).unwrap();
    assert_eq!((us.digest(), us.vector()), (digest, vector));
}

#[test]
fn stamps_of_the_future_and_our_own_that_we_never_issued_are_refused_at_every_entry() {
    let (mut eu, mut us) = (replica(1), replica(2));
    eu.write(NOW_MS + 60_001, |users| users.update(&1, |user| user.name().set("ahead"))).unwrap();
    let before = observed(&us);
    let delta = || eu.delta_since(&VersionVector::new());
    let refused = us.merge(NOW_MS, delta()).unwrap_err();
    assert!(matches!(refused, MergeError::TooFarAhead { bound_ms, .. } if bound_ms == NOW_MS + 60_000));
    let refused = us.report(NOW_MS, eu.id(), &eu.vector()).unwrap_err();
    assert!(matches!(refused, MergeError::TooFarAhead { .. }));
    assert_eq!(observed(&us), before);
    us.merge(NOW_MS + 1, delta()).unwrap();

    // A copy that lost its state and kept its id.
    let mut copy = replica(1);
    let refused = copy.merge(NOW_MS, us.delta_since(&copy.vector())).unwrap_err();
    assert!(matches!(refused, MergeError::NotIssued { own: Timestamp::ZERO, .. }));
    let refused = copy.report(NOW_MS + 60_000, us.id(), &us.vector()).unwrap_err();
    assert!(matches!(refused, MergeError::NotIssued { .. }));
}

#[test]
fn a_gap_is_refused_with_what_to_ask_for() {
    let (mut eu, mut us) = (replica(1), replica(2));
    eu.write(NOW_MS, |users| users.update(&1, |user| user.name().set("first"))).unwrap();
    let first = eu.vector();
    eu.write(NOW_MS, |users| users.update(&2, |user| user.name().set("second"))).unwrap();
    let before = observed(&us);
    let refused = us.merge(NOW_MS, eu.delta_since(&first)).unwrap_err();
    assert_eq!(refused, MergeError::Gap { vector: VersionVector::new() });
    let bytes = eu.delta_since(&first).encode().unwrap();
    assert_eq!(us.decode(&bytes).unwrap_err(), MergeError::Gap { vector: VersionVector::new() });
    assert_eq!(observed(&us), before);
    us.merge(NOW_MS, eu.delta_since(&us.vector())).unwrap();
    assert_eq!(us.digest(), eu.digest());
}

#[test]
fn keys_that_an_undone_transaction_added_are_not_counted() {
    for keys in [3, 16, 17, 40] {
        let mut eu: Replica<MergeMap<u32, LwwRegister<u32>>> =
            Replica::new(ReplicaId::from_u128(1), Config::default());
        let add = |map: &mut <MergeMap<u32, LwwRegister<u32>> as Crdt>::Mut<'_>,
                   keys: std::ops::Range<u32>| {
            keys.for_each(|key| map.update(&key, |register| register.set(key)));
        };
        eu.write(NOW_MS, |map| add(map, 0..keys)).unwrap();
        let undone = eu.transact(NOW_MS, |map| {
            add(map, keys..keys + 5);
            assert_eq!(map.len(), keys as usize + 5);
            Err::<(), _>("no")
        });
        assert!(undone.is_err());
        assert_eq!((eu.state().len(), eu.state().rows()), (keys as usize, keys as usize));
        assert_eq!(eu.state().iter().count(), keys as usize);
    }
}
