//! Every order and every grouping.

use driftless::{Crdt, Forgotten, Limits, MergeError, PendingDelta, Replica, ReplicaId, VersionVector};

use crate::{LATE_MS, assert_same, receive, replica, sync};

/// Every order of so many things: n! of them.
pub(crate) fn order(count: usize) -> Vec<Vec<usize>> {
    let mut orders = vec![Vec::new()];
    for next in 0..count {
        let extended = orders.iter().flat_map(|order| {
            (0..=next).map(move |place| {
                let mut order: Vec<usize> = order.clone();
                order.insert(place, next);
                order
            })
        });
        orders = extended.collect();
    }
    orders
}

/// What these replicas hold together, merged in every order and grouping: 12 merge trees of three, 120 of four. Each merge is
/// done by a replica of its own, in turns as a value, as a message and as chunks. All must lead to the same; it is returned.
#[track_caller]
pub(crate) fn merge_tree<S: Crdt>(replicas: &[&Replica<S>]) -> Replica<S> {
    let mut trees = Trees { replicas, made: 0 };
    let all = trees.of((1 << replicas.len()) - 1);
    for tree in &all {
        assert_same(tree, &all[0]);
    }
    all.into_iter().next().unwrap()
}

struct Trees<'a, S> {
    replicas: &'a [&'a Replica<S>],
    /// How many merges there were: the next one is done in the next way, under the next id.
    made: usize,
}

impl<S: Crdt> Trees<'_, S> {
    /// The results of all merge trees of the replicas in `subset`, a bit for each.
    fn of(&mut self, subset: usize) -> Vec<Replica<S>> {
        if subset.is_power_of_two() {
            return vec![self.join([self.replicas[subset.ilog2() as usize]])];
        }
        let mut results = Vec::new();
        let lefts = (1..subset).filter(|left| left & subset == *left);
        for left in lefts {
            let (lefts, rights) = (self.of(left), self.of(subset ^ left));
            for left in &lefts {
                results.extend(rights.iter().map(|right| self.join([left, right])));
            }
        }
        results
    }

    fn join<const N: usize>(&mut self, parts: [&Replica<S>; N]) -> Replica<S> {
        let mut joined = replica(ReplicaId::from_u128(u128::MAX - self.made as u128));
        self.made += 1;
        for part in parts {
            ship(part, &mut joined, self.made);
        }
        joined
    }
}

/// Ships all that `to` lacks, in one of three ways.
pub(crate) fn ship<S: Crdt>(from: &Replica<S>, to: &mut Replica<S>, way: usize) {
    let delta = from.delta_since(&to.vector());
    let whole = match way % 3 {
        0 => delta,
        1 => to.decode(&delta.encode().unwrap()).unwrap(),
        _ => {
            let mut pending = PendingDelta::new(&Limits::default());
            let mut parts = delta.into_chunks(24 + way % 64);
            parts.find_map(|part| pending.push(to.decode(&part.unwrap()).unwrap()).unwrap()).unwrap()
        }
    };
    to.merge(LATE_MS, whole).unwrap();
}

/// How replicas converge.
struct Way {
    /// Who is away while the others converge and forget.
    absent: Option<usize>,
    /// From whom to whom.
    syncs: Vec<(usize, usize)>,
}

/// Runs a history for each way in which its replicas can converge, lets them, and shows each of them to `check`:
///
/// - if it `is_exhaustive` and there are no more than three, all to all, in every order of the syncs,
/// - in a chain and back, in every order of the replicas,
/// - the same, after the others went on without one of them, and forgot what they could.
///
/// In the end all forget, and what a newcomer is sent must be the same again. All ways must lead to the same.
#[track_caller]
pub(crate) fn convergence<S: Crdt>(
    history: impl Fn() -> Vec<Replica<S>>,
    check: impl Fn(&Replica<S>),
    is_exhaustive: bool,
) {
    let count = history().len();
    let pairs: Vec<(usize, usize)> = (0..count)
        .flat_map(|from| (0..count).map(move |to| (from, to)))
        .filter(|(from, to)| from != to)
        .collect();
    let mut ways = Vec::new();
    if is_exhaustive && count <= 3 {
        for order in order(pairs.len()) {
            ways.push(Way { absent: None, syncs: order.into_iter().map(|place| pairs[place]).collect() });
        }
    }
    for order in order(count) {
        let absent = [order.first(), order.last()].map(Option::<&usize>::copied);
        for absent in absent.into_iter().filter(|_| count > 2).chain([None]) {
            ways.push(Way { absent, syncs: there_and_back(&order) });
        }
    }
    let mut converged = None;
    for (way, Way { absent, syncs }) in ways.into_iter().enumerate() {
        let mut replicas = history();
        if let Some(absent) = absent {
            go_on_without(&mut replicas, absent);
        }
        for (from, to) in syncs {
            let [from, to] = replicas.get_disjoint_mut([from, to]).unwrap();
            sync(from, to);
        }
        forget(&mut replicas);
        let mut newcomer = replica(ReplicaId::from_u128(u128::MAX));
        ship(&replicas[way % count], &mut newcomer, way);
        replicas.push(newcomer);
        for replica in &replicas {
            check(replica);
            let found = (replica.vector(), replica.digest());
            assert_eq!(found, *converged.get_or_insert_with(|| found.clone()));
        }
    }
}

fn there_and_back(order: &[usize]) -> Vec<(usize, usize)> {
    let there = order.windows(2).map(|pair| (pair[0], pair[1]));
    let back = order.windows(2).rev().map(|pair| (pair[1], pair[0]));
    there.chain(back).collect()
}

/// All but one converge, and forget without waiting for it.
fn go_on_without<S: Crdt>(replicas: &mut [Replica<S>], absent: usize) {
    let present: Vec<usize> = (0..replicas.len()).filter(|at| *at != absent).collect();
    for (from, to) in there_and_back(&present) {
        let [from, to] = replicas.get_disjoint_mut([from, to]).unwrap();
        sync(from, to);
    }
    let vectors: Vec<(ReplicaId, VersionVector)> =
        present.iter().map(|at| (replicas[*at].id(), replicas[*at].vector())).collect();
    present.iter().for_each(|at| drop(forget_with(&mut replicas[*at], &vectors)));
}

/// All hear what all hold, and forget what they can.
pub(crate) fn forget<S: Crdt>(replicas: &mut [Replica<S>]) {
    let vectors: Vec<_> = replicas.iter().map(|replica| (replica.id(), replica.vector())).collect();
    replicas.iter_mut().for_each(|replica| drop(forget_with(replica, &vectors)));
}

pub(crate) fn forget_with<S: Crdt>(
    replica: &mut Replica<S>,
    members: &[(ReplicaId, VersionVector)],
) -> Forgotten {
    replica.set_members(members.iter().map(|(id, _)| *id));
    members.iter().for_each(|(id, vector)| replica.report(LATE_MS, *id, vector).unwrap());
    replica.forget()
}

/// Brings messages to a replica in every order, and shows it to `check` when all have arrived. One that would leave a gap is
/// refused, and comes again behind the others. In the end all come once more. Returns how many were refused.
#[track_caller]
pub(crate) fn delivery<S: Crdt>(
    messages: &[Vec<u8>],
    receiver: impl Fn() -> Replica<S>,
    check: impl Fn(&Replica<S>),
) -> usize {
    let mut refused = 0;
    for order in order(messages.len()) {
        let mut to = receiver();
        let mut left = order.clone();
        while !left.is_empty() {
            let before = left.len();
            left.retain(|number| match receive(&mut to, &messages[*number]) {
                Ok(_) => false,
                Err(MergeError::Gap { vector }) => {
                    assert_eq!(vector, to.vector());
                    refused += 1;
                    true
                }
                Err(error) => panic!("{error}, in the order {order:?}"),
            });
            assert!(left.len() < before, "{left:?} are never taken, in the order {order:?}");
        }
        check(&to);
        for number in order {
            assert!(!receive(&mut to, &messages[number]).unwrap().is_news);
        }
        check(&to);
    }
    refused
}
