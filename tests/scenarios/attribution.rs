//! Who wrote what, whoever passed it on.

use driftless::{
    Config, Counter, CounterOverflow, Crdt, Flag, LwwRegister, MergeError, MergeMap, Replica, ReplicaId,
    Timestamp, VersionVector,
};
use uuid::Uuid;

use crate::subjects::{Scripted, for_each_type_of_names};
use crate::{A, B, C, NOW_MS, assert_same, every, exchange, message, receive, replica, sync, three};

/// A and B do the same to a row without having seen each other, with equal stamps, and then hear of each other. C is sent what
/// A knows of B and what B knows of A, each without the sender's own: neither may be taken to mean that all is known.
fn crossed<S: Scripted>(is_there: bool, deed: &str, expected: &str) {
    let history = || {
        let [mut a, mut b, mut c] = three::<S>();
        if is_there {
            a.write(NOW_MS, |state| S::act(state, &["add", "x"])).unwrap();
            sync(&a, &mut b);
            sync(&a, &mut c);
        }
        a.write(NOW_MS + 1, |state| S::act(state, &[deed, "x"])).unwrap();
        b.write(NOW_MS + 1, |state| S::act(state, &[deed, "x"])).unwrap();
        [a, b, c]
    };
    let [mut a, mut b, c] = history();
    let (has_a, has_b) = (a.vector(), b.vector());
    let by_a = message(&a, &c.vector());
    exchange(&mut a, &mut b);
    let (b_from_a, a_from_b) = (message(&a, &has_a), message(&b, &has_b));
    let third = || history().into_iter().next_back().unwrap();
    let check = |replica: &Replica<S>| {
        assert_eq!(replica.state().show(), expected, "{}", std::any::type_name::<S>());
        assert_eq!(replica.digest(), a.digest());
        assert_eq!(replica.vector(), a.vector());
    };

    // With the two pieces alone C holds nothing more, says so, and is sent all by whomever it asks.
    for peer in [&a, &b] {
        let mut c = third();
        for piece in [&b_from_a, &a_from_b, &b_from_a] {
            assert_eq!(receive(&mut c, piece).unwrap_err(), MergeError::Gap { vector: c.vector() });
        }
        assert!(sync(peer, &mut c).is_news);
        check(&c);
    }
    // With what A did at first, in any order, they are enough.
    let refused = every::delivery(&[by_a, b_from_a, a_from_b], third, check);
    assert!(refused > 0);
}

#[test]
fn t14_a_row_that_two_deleted_is_deleted_at_who_hears_of_each_from_the_other() {
    macro_rules! check {
        ($($type:ty),+) => {$(crossed::<$type>(true, "remove", "");)+};
    }
    for_each_type_of_names!(check);
}

/// The third holds something of its own in the row, which nobody saw.
#[test]
fn b34_what_a_third_wrote_survives_the_deletions_of_two() {
    fn check<S: Scripted>() {
        for order in every::order(3) {
            let mut all = three::<S>();
            all[0].write(NOW_MS, |state| S::act(state, &["add", "x"])).unwrap();
            let [a, b, c] = &mut all;
            sync(a, b);
            sync(a, c);
            a.write(NOW_MS, |state| S::act(state, &["remove", "x"])).unwrap();
            b.write(NOW_MS, |state| S::act(state, &["remove", "x"])).unwrap();
            if order[0] == 2 {
                c.write(NOW_MS, |state| S::act(state, &["add", "x"])).unwrap();
            }
            exchange(a, b);
            for pair in order.windows(2).chain(order.windows(2).rev()) {
                let [from, to] = all.get_disjoint_mut([pair[0], pair[1]]).unwrap();
                sync(from, to);
                sync(to, from);
            }
            let expected = if order[0] == 2 { "x" } else { "" };
            assert!(all.iter().all(|replica| replica.state().show() == expected));
        }
    }
    macro_rules! check {
        ($($type:ty),+) => {$(check::<$type>();)+};
    }
    for_each_type_of_names!(check);
}

#[test]
fn b33_a_row_that_two_wrote_alike_is_there_at_who_hears_of_each_from_the_other() {
    macro_rules! check {
        ($($type:ty),+) => {$(
            crossed::<$type>(false, "add", "x");
            crossed::<$type>(true, "add", "x");
        )+};
    }
    for_each_type_of_names!(check);
}

/// Whichever of three writes, passes on and receives: of equal stamps the greatest author wins, whoever brought it.
#[test]
fn b35_a_tie_is_settled_by_the_author_not_by_who_passed_it_on() {
    for roles in every::order(3) {
        let ids = [A, B, C];
        let [mut relay, mut author, mut receiver] = [roles[0], roles[1], roles[2]].map(|role| {
            let config = Config { changes: true, ..Config::default() };
            Replica::<LwwRegister<String>>::new(ids[role], config)
        });
        author.write(NOW_MS, |name| name.set("author")).unwrap();
        receiver.write(NOW_MS, |name| name.set("receiver")).unwrap();
        sync(&author, &mut relay);
        let merged = sync(&relay, &mut receiver);
        assert_eq!(merged.conflicts, 1);
        let author_wins = author.id() > receiver.id();
        let winner = if author_wins { "author" } else { "receiver" };
        // What reads differently is put down to who wrote it.
        let named: Vec<ReplicaId> = merged.changes.iter().map(|change| change.author).collect();
        assert_eq!(named, if author_wins { vec![author.id()] } else { Vec::new() });
        sync(&receiver, &mut relay);
        exchange(&mut author, &mut relay);
        for replica in [&relay, &author, &receiver] {
            assert_eq!(replica.state().latest().map(String::as_str), Some(winner), "{roles:?}");
            assert_eq!(replica.digest(), author.digest());
        }
    }
}

/// Ids at the limits of every width that other systems cut them to: 16, 32, 53 and 64 bits.
const IDS: [u128; 13] = [
    0,
    1,
    u16::MAX as u128,
    u16::MAX as u128 + 1,
    u32::MAX as u128,
    u32::MAX as u128 + 1,
    (1 << 53) - 1,
    1 << 53,
    (1 << 53) + 1,
    u64::MAX as u128,
    u64::MAX as u128 + 1,
    u128::MAX - 1,
    u128::MAX,
];

/// A row of its own for each replica, under a key as extreme, and one that all write with equal stamps.
#[derive(Crdt)]
struct Wide {
    by_id: MergeMap<Uuid, LwwRegister<u64>>,
    by_number: MergeMap<u64, Counter>,
    by_sign: MergeMap<i64, Flag>,
    last: LwwRegister<Uuid>,
}

fn wide(id: u128) -> Replica<Wide> {
    let mut replica = replica(ReplicaId::from_u128(id));
    let write = |wide: &mut WideMut<'_>| {
        let low = id as u64;
        wide.by_id().update(&Uuid::from_u128(id), |number| number.set(low));
        wide.by_number().update(&low, |counter| counter.add(1))?;
        wide.by_sign().update(&(low as i64), |flag| flag.enable());
        wide.last().set(Uuid::from_u128(id));
        Ok::<_, CounterOverflow>(())
    };
    replica.transact(NOW_MS, write).unwrap();
    replica
}

#[test]
fn t48_ids_at_the_limits_of_their_width_arrive_as_they_are() {
    let mut all = IDS.map(wide);
    for (from, to) in
        (1..all.len()).map(|to| (to - 1, to)).chain((1..all.len()).rev().map(|from| (from, from - 1)))
    {
        let [from, to] = all.get_disjoint_mut([from, to]).unwrap();
        every::ship(from, to, to.vector().len());
    }
    for replica in &all {
        assert_same(replica, &all[0]);
        let ids: Vec<u128> = replica.vector().iter().map(|(id, _)| id.uuid().as_u128()).collect();
        assert_eq!(ids, IDS);
        let state = replica.state();
        assert_eq!(state.by_id.len(), IDS.len());
        for id in IDS {
            let number = state.by_id.get(&Uuid::from_u128(id)).and_then(|number| number.latest());
            assert_eq!(number, Some(&(id as u64)));
            let same = IDS.iter().filter(|other| **other as u64 == id as u64).count() as i64;
            assert_eq!(state.by_number.get(&(id as u64)).map(Counter::value), Some(same));
            assert!(state.by_sign.get(&(id as u64 as i64)).is_some_and(Flag::is_enabled));
        }
        assert_eq!(state.last.all().count(), IDS.len());
        assert_eq!(state.last.latest(), Some(&Uuid::from_u128(u128::MAX)));
    }
    // A vector as a caller might keep it.
    let vector = all[0].vector();
    let json = serde_json::to_string(&vector).unwrap();
    assert_eq!(serde_json::from_str::<VersionVector>(&json).unwrap(), vector);
    let bytes = rmp_serde::to_vec(&vector).unwrap();
    assert_eq!(rmp_serde::from_slice::<VersionVector>(&bytes).unwrap(), vector);
}

/// The same of stamps: 48 bits of milliseconds, 16 of counter.
#[test]
fn t48_stamps_at_the_limits_of_their_width_arrive_as_they_are() {
    let last_ms = (1 << 48) - 1;
    for now_ms in [1, u64::from(u32::MAX), u64::from(u32::MAX) + 1, last_ms - 1, last_ms] {
        let [mut a, mut b, mut c] = three::<LwwRegister<i64>>();
        let stamps: Vec<Timestamp> =
            (0..=1 << 16).map_while(|value| a.write(now_ms, |n| n.set(value)).ok()?.stamp).collect();
        let is_last = now_ms == last_ms;
        assert_eq!(stamps.len(), if is_last { 1 << 16 } else { (1 << 16) + 1 });
        let last = stamps.last().copied().unwrap();
        assert_eq!(last.bits(), if is_last { u64::MAX } else { (now_ms + 1) << 16 });
        b.merge(now_ms, b.decode(&message(&a, &b.vector())).unwrap()).unwrap();
        c.merge(now_ms, c.decode(&message(&b, &c.vector())).unwrap()).unwrap();
        assert_eq!(c.vector().get(&A), last);
        assert_eq!(c.state().stamped().map(|(stamp, _)| stamp).collect::<Vec<_>>(), [last]);
        assert_same(&a, &c);
    }
}
