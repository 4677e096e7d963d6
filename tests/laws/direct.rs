//! Guarantees that need no oracle to be seen: two registers that are always written together, and a number that only grows.

use driftless::*;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{LATE_MS, prove};

const REPLICAS: usize = 4;

/// Two registers that every transaction writes alike, of which one is far from the other.
#[derive(Crdt, Debug)]
struct Pair {
    left: LwwRegister<i64>,
    below: MergeMap<u8, MergeMap<u8, MvRegister<i64>>>,
}

type State = MergeMap<u8, Pair>;

#[derive(Clone, Debug)]
enum Move {
    Write {
        at: usize,
        key: u8,
        ends: End,
    },
    Remove {
        at: usize,
        key: u8,
    },
    /// The others no longer wait for one, sync with each other, and forget. It is a member again at once, but what it is sent
    /// next is all they hold.
    Away {
        who: usize,
    },
    /// With so many bytes in a chunk; the receiver forgets what it can afterwards, and so does the sender.
    Sync {
        from: usize,
        to: usize,
        chunk_bytes: usize,
        forget: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Commit,
    Error,
    Panic,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let at = || 0..REPLICAS;
    let ends = prop_oneof![6 => Just(End::Commit), 1 => Just(End::Error), 1 => Just(End::Panic)];
    let step = prop_oneof![
        4 => (at(), 0..4_u8, ends).prop_map(|(at, key, ends)| Move::Write { at, key, ends }),
        1 => (at(), 0..4_u8).prop_map(|(at, key)| Move::Remove { at, key }),
        1 => at().prop_map(|who| Move::Away { who }),
        4 => (at(), at(), 1..150_usize, any::<bool>())
            .prop_map(|(from, to, chunk_bytes, forget)| Move::Sync { from, to, chunk_bytes, forget }),
    ];
    vec(step, 0..60)
}

fn replicas<S: Crdt>() -> Vec<Replica<S>> {
    let ids: Vec<_> = (1..=REPLICAS as u128).map(ReplicaId::from_u128).collect();
    let replica = |id: &ReplicaId| {
        let mut replica = Replica::new(*id, Config::default());
        replica.set_members(ids.iter().copied());
        replica
    };
    ids.iter().map(replica).collect()
}

fn is_whole(state: &State) -> Result<(), String> {
    for (key, pair) in state.iter() {
        let right = pair.below.get(&1).and_then(|below| below.get(&2));
        let right: Vec<_> = right.into_iter().flat_map(MvRegister::stamped).collect();
        let left: Vec<_> = pair.left.stamped().collect();
        if left != right {
            return Err(format!("at {key}: {left:?} and {right:?}"));
        }
    }
    Ok(())
}

/// Syncs in chunks; `seen` is shown the receiver before each chunk and after the last.
fn sync<S: Crdt>(
    replicas: &mut [Replica<S>],
    (from, to): (usize, usize),
    chunk_bytes: usize,
    seen: impl Fn(&S) -> Result<(), String>,
) -> Result<(), String> {
    let delta = replicas[from].delta_since(&replicas[to].vector());
    let mut pending = PendingDelta::new(&Limits::default());
    for message in delta.into_chunks(chunk_bytes) {
        seen(replicas[to].state())?;
        let part = replicas[to].decode(&message.unwrap()).unwrap();
        if let Some(whole) = pending.push(part).unwrap() {
            replicas[to].merge(LATE_MS, whole).unwrap();
        }
    }
    seen(replicas[to].state())
}

fn forget<S: Crdt>(replicas: &mut [Replica<S>], from: usize, to: usize) {
    let known: Vec<_> = [from, to].iter().flat_map(|at| replicas[*at].known_vectors()).collect();
    for at in [from, to] {
        for (id, vector) in &known {
            replicas[at].report(LATE_MS, *id, vector).unwrap();
        }
        replicas[at].forget();
    }
}

fn away<S: Crdt>(
    replicas: &mut [Replica<S>],
    who: usize,
    seen: impl Fn(&S) -> Result<(), String>,
) -> Result<(), String> {
    let ids: Vec<_> = replicas.iter().map(Replica::id).collect();
    let others: Vec<_> = (0..replicas.len()).filter(|at| *at != who).collect();
    for at in &others {
        replicas[*at].set_members(others.iter().map(|at| ids[*at]));
    }
    let pairs = others.iter().flat_map(|from| others.iter().map(|to| (*from, *to)));
    for ends in pairs.filter(|(from, to)| from != to) {
        sync(replicas, ends, 100, &seen)?;
    }
    for (from, to) in others.iter().zip(&others[1..]).chain([(&others[0], &others[others.len() - 1])]) {
        forget(replicas, *from, *to);
        seen(replicas[*from].state())?;
    }
    replicas.iter_mut().for_each(|replica| replica.set_members(ids.clone()));
    Ok(())
}

fn write_pair(replica: &mut Replica<State>, now_ms: u64, key: u8, value: i64, ends: End) {
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        replica.transact(now_ms, |state| {
            state.update(&key, |pair| {
                pair.left().set(value);
                match ends {
                    End::Commit => {}
                    End::Error => return Err(()),
                    End::Panic => std::panic::resume_unwind(Box::new(())),
                }
                pair.below().update(&1, |below| below.update(&2, |right| right.set(value)));
                Ok(())
            })
        })
    }));
    assert_eq!(done.is_err(), ends == End::Panic);
}

#[test]
fn a_transaction_is_seen_whole_or_not_at_all() {
    prove(300, moves(), |moves| {
        let mut replicas = replicas::<State>();
        let mut snapshots = Vec::new();
        for (value, step) in (0..).zip(&moves) {
            let now_ms = 1_700_000_000_000 + value as u64 / 3;
            match *step {
                Move::Write { at, key, ends } => write_pair(&mut replicas[at], now_ms, key, value, ends),
                Move::Remove { at, key } => {
                    replicas[at].write(now_ms, |state| state.remove(&key)).unwrap();
                }
                Move::Away { who } => away(&mut replicas, who, is_whole)?,
                Move::Sync { from, to, chunk_bytes, forget: forgets } => {
                    sync(&mut replicas, (from, to), chunk_bytes, is_whole)?;
                    if forgets {
                        forget(&mut replicas, from, to);
                    }
                }
            }
            snapshots.push(replicas[value as usize % REPLICAS].snapshot());
            replicas.iter().try_for_each(|replica| is_whole(replica.state()))?;
        }
        snapshots.iter().try_for_each(|snapshot| is_whole(snapshot))
    });
}

#[test]
fn a_stamp_within_the_vector_means_its_effect_is_here() {
    prove(300, moves(), |moves| {
        // Each replica counts its transactions at a key of its own.
        let mut replicas = replicas::<MergeMap<u8, LwwRegister<i64>>>();
        let mut stamps: Vec<Vec<Timestamp>> = vec![Vec::new(); REPLICAS];
        for (number, step) in (0..).zip(&moves) {
            let now_ms = 1_700_000_000_000 + number / 3;
            match *step {
                Move::Write { at, .. } | Move::Remove { at, .. } => {
                    let count = stamps[at].len() as i64 + 1;
                    let done =
                        replicas[at].write(now_ms, |map| map.update(&(at as u8), |own| own.set(count)));
                    stamps[at].extend(done.unwrap().stamp);
                }
                Move::Away { who } => away(&mut replicas, who, |_| Ok(()))?,
                Move::Sync { from, to, chunk_bytes, forget: forgets } => {
                    sync(&mut replicas, (from, to), chunk_bytes, |_| Ok(()))?;
                    if forgets {
                        forget(&mut replicas, from, to);
                    }
                }
            }
            for replica in &replicas {
                for (author, stamps) in stamps.iter().enumerate() {
                    let seen = replica.vector().get(&ReplicaId::from_u128(author as u128 + 1));
                    let expected = stamps.iter().filter(|stamp| **stamp <= seen).count() as i64;
                    let found = replica.state().get(&(author as u8)).and_then(|own| own.latest());
                    if found.copied().unwrap_or(0) != expected {
                        return Err(format!("{found:?} of {author} is here, not {expected}, at {seen}"));
                    }
                }
            }
        }
        Ok(())
    });
}

/// What a removal saw of a count is remembered until the one who counted has seen the removal *and* nothing it counted
/// before that is still under way.
#[test]
fn a_report_that_overtakes_the_data_does_not_make_a_removal_forget_what_it_saw() {
    let [mut a, mut b, mut c, _] = <[Replica<Counter>; REPLICAS]>::try_from(replicas()).unwrap();
    let give = |from: &Replica<Counter>, to: &mut Replica<Counter>| {
        to.merge(LATE_MS, from.delta_since(&to.vector())).unwrap();
    };
    c.write(1, |counter| counter.add(5)).unwrap().value.unwrap();
    give(&c, &mut a);
    give(&c, &mut b);
    a.write(2, |counter| counter.reset()).unwrap();
    // Not seen by the removal, and on its way by another route.
    c.write(3, |counter| counter.add(1)).unwrap().value.unwrap();
    give(&c, &mut b);
    give(&a, &mut c);
    assert_eq!((c.state().value(), b.state().value()), (1, 6));
    a.report(LATE_MS, c.id(), &c.vector()).unwrap();
    a.forget();
    give(&b, &mut a);
    assert_eq!(a.state().value(), 1);
    assert_eq!(a.digest(), c.digest());
}
