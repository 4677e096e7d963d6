//! Ids that are closed: they leave vectors and messages, and nothing is lost by it, nor brought back.

#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

use driftless::{
    Config, Counter, Crdt, LwwRegister, MergeMap, OrSet, PendingDelta, Replica, ReplicaId, Stamps, Timestamp,
    VersionVector, WriteError,
};

const NOW_MS: u64 = 1_700_000_000_000;

#[derive(Crdt)]
struct User {
    name: LwwRegister<String>,
    tags: OrSet<u32>,
    visits: Counter,
}

type Users = Replica<MergeMap<u32, User>>;

fn id(number: u128) -> ReplicaId {
    // The short forms of consecutive ids differ.
    ReplicaId::from_u128(number << 64 | 0x4000)
}

fn replica<S: Crdt>(number: u128) -> Replica<S> {
    Replica::new(id(number), Config::default())
}

/// What `to` lacks goes there, as bytes. Returns how many.
fn send<S: Crdt>(now_ms: u64, from: &Replica<S>, to: &mut Replica<S>) -> usize {
    let bytes = from.delta_since(&to.vector()).encode().unwrap();
    to.merge(now_ms, to.decode(&bytes).unwrap()).unwrap();
    bytes.len()
}

fn sync<S: Crdt>(now_ms: u64, a: &mut Replica<S>, b: &mut Replica<S>) {
    send(now_ms, a, b);
    send(now_ms, b, a);
}

/// Both hear what the other holds, and forget.
fn settle<S: Crdt>(now_ms: u64, a: &mut Replica<S>, b: &mut Replica<S>) {
    a.report(now_ms, b.id(), &b.vector()).unwrap();
    b.report(now_ms, a.id(), &a.vector()).unwrap();
    a.forget();
    b.forget();
}

fn assert_same<S: Crdt>(a: &Replica<S>, b: &Replica<S>) {
    assert_eq!(a.canonical_bytes(), b.canonical_bytes());
    assert!(a.covers(&b.vector()) && b.covers(&a.vector()));
}

/// A program starts again: it merges what was saved under a new id, and closes the former one.
fn restart<S: Crdt>(now_ms: u64, number: u128, former: &Replica<S>) -> Replica<S> {
    let saved: Result<Vec<_>, _> = former.delta_since(&VersionVector::new()).into_chunks(100_000).collect();
    let mut next: Replica<S> = replica(number);
    let mut pending = PendingDelta::new(&next.config().limits);
    for chunk in saved.unwrap() {
        if let Some(whole) = pending.push(next.decode(&chunk).unwrap()).unwrap() {
            next.merge(now_ms, whole).unwrap();
        }
    }
    for (id, vector) in former.known_vectors() {
        next.report(now_ms, id, &vector).unwrap();
    }
    let last = former.vector().get(&former.id());
    let closed = next.close(now_ms, former.id()).unwrap();
    assert_eq!(closed, (last > Timestamp::ZERO).then_some(last));
    next
}

/// Writes a few things, of which those of `round` are removed two rounds later.
fn edit(now_ms: u64, replica: &mut Users, round: u32) {
    let edit = replica.transact(now_ms, |users| {
        users.update(&(round % 50), |user| {
            user.name().set(format!("name {round}"));
            user.visits().add(1)
        })?;
        users.update(&1_000, |user| {
            user.tags().add(&round);
            user.tags().remove(&round.wrapping_sub(2));
        });
        users.update(&(2_000 + round), |user| user.tags().add(&round));
        users.remove(&(2_000_u32 + round).wrapping_sub(2));
        Ok::<_, driftless::CounterOverflow>(())
    });
    edit.unwrap();
}

#[test]
fn after_a_thousand_restarts_vectors_and_messages_are_as_short_as_if_there_had_been_none() {
    const RESTARTS: u32 = 1_000;
    let (mut eu, mut us): (Users, Users) = (replica(1), replica(2));
    let (mut still, mut quiet): (Users, Users) = (replica(3), replica(2));
    let mut now_ms = NOW_MS;
    for round in 0..RESTARTS {
        now_ms += 1_000;
        if round > 0 {
            eu = restart(now_ms, 100 + u128::from(round), &eu);
        }
        for (eu, us) in [(&mut eu, &mut us), (&mut still, &mut quiet)] {
            let members = [eu.id(), us.id()];
            eu.set_members(members);
            us.set_members(members);
            edit(now_ms, eu, round);
            edit(now_ms, us, round + 1);
            sync(now_ms, eu, us);
            settle(now_ms, eu, us);
        }
    }
    for (a, b) in [(&eu, &us), (&still, &quiet)] {
        assert_same(a, b);
        assert_eq!((a.vector().len(), b.vector().len()), (2, 2), "{:?}", a.vector());
    }
    let known = us.known_vectors();
    assert_eq!(known.iter().map(|(_, vector)| vector.len()).collect::<Vec<_>>(), [2, 2], "{known:?}");
    // Nothing is lost: both clusters hold the same. All that was removed is gone.
    let tags = |users: &Users| {
        let mut tags: Vec<u32> = users.state().get(&1_000).unwrap().tags.iter().copied().collect();
        tags.sort_unstable();
        tags
    };
    assert_eq!(tags(&eu), tags(&still));
    assert_eq!((eu.state().len(), eu.state().rows()), (still.state().len(), still.state().rows()));
    for (key, user) in still.state() {
        let other = eu.state().get(key).unwrap();
        assert_eq!(
            (other.name.latest(), other.visits.value()),
            (user.name.latest(), user.visits.value()),
            "{key}"
        );
    }
    // An edit of something new takes as many bytes in both, but for what its stamps take. One of what an earlier run wrote
    // names that run beside the new
    // one: an id in short form, a stamp, an event and a mark.
    for (keys, more) in [([3_001, 3_002], 2), ([7, 8], 24)] {
        now_ms += 1_000;
        let [short, shortest] = [(&mut eu, &mut us), (&mut still, &mut quiet)].map(|(a, b)| {
            a.write(now_ms, |users| users.update(&keys[0], |user| user.name().set("Ada"))).unwrap();
            b.write(now_ms, |users| users.update(&keys[1], |user| user.name().set("Grace"))).unwrap();
            [send(now_ms, a, b), send(now_ms, b, a)]
        });
        for (short, shortest) in short.into_iter().zip(shortest) {
            assert!(short <= shortest + more, "{short} instead of {shortest} bytes");
        }
    }
    // One who joins is told everything, closed ids included, and then needs no more than others.
    for (number, chunk_bytes) in [(9, usize::MAX), (10, 700)] {
        let mut late: Users = replica(number);
        late.set_members([eu.id(), us.id(), late.id()]);
        let chunks = eu.delta_since(&late.vector()).into_chunks(chunk_bytes).collect::<Result<Vec<_>, _>>();
        let mut pending = PendingDelta::new(&late.config().limits);
        for chunk in chunks.unwrap() {
            if let Some(whole) = pending.push(late.decode(&chunk).unwrap()).unwrap() {
                assert!(whole.is_complete());
                late.merge(now_ms, whole).unwrap();
            }
        }
        send(now_ms, &us, &mut late);
        late.report(now_ms, eu.id(), &eu.vector()).unwrap();
        late.report(now_ms, us.id(), &us.vector()).unwrap();
        sync(now_ms, &mut eu, &mut us);
        assert_same(&late, &eu);
        assert_eq!(late.vector().len(), if number == 9 { 2 } else { 3 }, "those who write, and no others");
        late.write(now_ms, |users| users.update(&9, |user| user.name().set("Joan"))).unwrap();
        assert!(send(now_ms, &late, &mut us) < 200);
    }
}

#[test]
fn what_was_removed_stays_so_for_an_evicted_replica_that_returns_after_the_closing() {
    for is_asking in [true, false] {
        let [mut eu, mut us, mut ap]: [Replica<OrSet<u32>>; 3] = [1, 2, 3].map(replica);
        let all = [eu.id(), us.id(), ap.id()];
        for replica in [&mut eu, &mut us, &mut ap] {
            replica.set_members(all);
        }
        eu.write(NOW_MS, |set| [1, 2, 3].iter().for_each(|element| set.add(element))).unwrap();
        sync(NOW_MS, &mut eu, &mut us);
        sync(NOW_MS, &mut eu, &mut ap);
        // Asia is evicted, and writes alone. Europe removes an element, starts again and closes its former id.
        ap.write(NOW_MS, |set| set.add(&4)).unwrap();
        eu.write(NOW_MS, |set| set.remove(&1)).unwrap();
        let former = eu.id();
        let mut eu = restart(NOW_MS + 1, 11, &eu);
        for _ in 0..2 {
            eu.set_members([eu.id(), us.id()]);
            us.set_members([eu.id(), us.id()]);
            sync(NOW_MS + 1, &mut eu, &mut us);
            settle(NOW_MS + 1, &mut eu, &mut us);
        }
        assert_eq!((eu.vector().get(&former), us.vector().get(&former)), (Timestamp::ZERO, Timestamp::ZERO));
        assert_eq!(eu.state().rows(), 2, "the removal is forgotten");
        // It returns: what it holds of the closed id does not come back.
        let all = [eu.id(), us.id(), ap.id()];
        for replica in [&mut eu, &mut us, &mut ap] {
            replica.set_members(all);
        }
        if is_asking {
            assert!(us.delta_since(&ap.vector()).is_complete());
            send(NOW_MS + 2, &us, &mut ap);
        }
        send(NOW_MS + 2, &ap, &mut us);
        send(NOW_MS + 2, &us, &mut ap);
        sync(NOW_MS + 2, &mut eu, &mut us);
        for replica in [&eu, &us, &ap] {
            let mut held: Vec<u32> = replica.state().iter().copied().collect();
            held.sort_unstable();
            assert_eq!(held, [2, 3, 4]);
            assert_same(replica, &eu);
        }
    }
}

#[test]
fn deltas_that_were_made_before_the_closing_arrive_after_it() {
    let [mut eu, mut us, ap]: [Replica<OrSet<u32>>; 3] = [1, 2, 3].map(replica);
    eu.write(NOW_MS, |set| set.add(&1)).unwrap();
    let first = eu.delta_since(&VersionVector::new());
    send(NOW_MS, &eu, &mut us);
    let since_first = eu.vector();
    eu.write(NOW_MS, |set| set.add(&2)).unwrap();
    let second = eu.delta_since(&since_first);
    us.set_members([us.id()]);
    // It is closed where its last event has not arrived.
    assert_eq!(us.close(NOW_MS + 1, eu.id()).unwrap(), Some(since_first.get(&eu.id())));
    us.write(NOW_MS + 1, |set| set.remove(&1)).unwrap();
    assert_eq!(us.vector().len(), 1);
    us.forget();
    // What is late fits, for what it goes on from is held.
    assert!(!us.merge(NOW_MS + 2, first).unwrap().is_news);
    assert!(us.merge(NOW_MS + 2, second).unwrap().is_news);
    assert_eq!(us.state().iter().collect::<Vec<_>>(), [&2]);
    assert_eq!(us.vector().get(&eu.id()), eu.vector().get(&eu.id()), "it is named again");
    // Closed where it is now, it is left out again.
    us.close(NOW_MS + 3, eu.id()).unwrap().unwrap();
    assert_eq!(us.vector().len(), 1);
    let mut ap = ap;
    sync(NOW_MS + 4, &mut us, &mut ap);
    send(NOW_MS + 4, &ap, &mut eu);
    assert_same(&ap, &us);
    assert_same(&eu, &us);
}

#[test]
fn an_id_that_is_closed_and_writes_on_is_heard() {
    let [mut eu, mut us, mut ap]: [Users; 3] = [1, 2, 3].map(replica);
    for replica in [&mut eu, &mut us, &mut ap] {
        replica.set_members([id(1), id(2), id(3)]);
    }
    edit(NOW_MS, &mut ap, 1);
    sync(NOW_MS, &mut ap, &mut eu);
    sync(NOW_MS, &mut eu, &mut us);
    // Two close it at once; one of them has seen more of it.
    edit(NOW_MS, &mut ap, 2);
    send(NOW_MS, &ap, &mut us);
    let closed = [eu.close(NOW_MS + 1, ap.id()).unwrap(), us.close(NOW_MS + 1, ap.id()).unwrap()];
    assert!(closed[0] < closed[1] && closed[0].is_some());
    for round in 3..6 {
        edit(NOW_MS + 2, &mut ap, round);
        sync(NOW_MS + 2, &mut ap, &mut us);
        sync(NOW_MS + 2, &mut us, &mut eu);
        sync(NOW_MS + 2, &mut eu, &mut ap);
        settle(NOW_MS + 2, &mut ap, &mut us);
        settle(NOW_MS + 2, &mut us, &mut eu);
        settle(NOW_MS + 2, &mut eu, &mut ap);
        assert_same(&eu, &us);
        assert_same(&eu, &ap);
        assert_eq!(eu.vector(), ap.vector());
        assert_eq!(eu.vector().get(&ap.id()), ap.clock().last().min(eu.vector().get(&ap.id())));
    }
    // It closes none but others.
    assert_eq!(ap.close(NOW_MS, ap.id()).unwrap_err(), WriteError::OwnId);
    assert_eq!(ap.close(NOW_MS, id(77)).unwrap(), None);
    let before = ap.vector();
    assert_eq!(eu.close(NOW_MS + 3, ap.id()).unwrap(), Some(before.get(&ap.id())));
    assert_eq!(eu.close(NOW_MS + 3, ap.id()).unwrap(), None);
}

#[test]
fn chains_are_followed_from_any_vector_of_the_past() {
    const RUNS: u128 = 40;
    let mut us: Replica<OrSet<u32>> = replica(2);
    let mut run: Replica<OrSet<u32>> = replica(1);
    // What others held at each time, and a replica that has not been heard of since.
    let mut past: Vec<Replica<OrSet<u32>>> = Vec::new();
    for round in 0..RUNS {
        let number = round as u32;
        run.write(NOW_MS + number as u64, |set| set.add(&number)).unwrap();
        let mut copy: Replica<OrSet<u32>> = replica(1_000 + round);
        copy.set_members([copy.id()]);
        copy.merge(NOW_MS + 100, run.delta_since(&copy.vector())).unwrap();
        past.push(copy);
        run = restart(NOW_MS + u64::from(number), 100 + round, &run);
        run.set_members([run.id(), us.id()]);
        us.set_members([run.id(), us.id()]);
        sync(NOW_MS + 100, &mut run, &mut us);
        settle(NOW_MS + 100, &mut run, &mut us);
    }
    // The last closing is an event of the last run.
    assert_eq!(us.vector().len(), 1);
    for copy in &mut past {
        copy.set_members([copy.id()]);
        let delta = us.delta_since(&copy.vector());
        // It is told what is news there, and nothing else.
        let before = copy.vector().newest().millis() - NOW_MS;
        assert!(delta.rows_visited() <= RUNS as usize * 2);
        let bytes = delta.encode().unwrap();
        copy.merge(NOW_MS + 200, copy.decode(&bytes).unwrap()).unwrap();
        assert_same(copy, &us);
        assert!(!us.merge(NOW_MS + 200, copy.delta_since(&us.vector())).unwrap().is_news, "{before}");
        // It is its only member, so it leaves out all that are closed.
        assert_eq!(copy.vector().len(), 1, "{:?}", copy.vector());
        assert!(us.delta_since(&copy.vector()).is_empty());
    }
}

#[test]
fn a_report_means_what_it_leaves_out_once_the_closing_is_known() {
    let [mut eu, mut us, mut hub]: [Replica<OrSet<u32>>; 3] = [1, 2, 3].map(replica);
    eu.write(NOW_MS, |set| set.add(&1)).unwrap();
    eu.write(NOW_MS, |set| set.remove(&1)).unwrap();
    sync(NOW_MS, &mut eu, &mut us);
    send(NOW_MS, &us, &mut hub);
    us.set_members([us.id()]);
    us.close(NOW_MS + 1, eu.id()).unwrap();
    assert_eq!(us.vector().len(), 1);
    // The hub hears of it before it knows that eu is closed.
    hub.set_members([hub.id(), us.id()]);
    hub.report(NOW_MS + 2, us.id(), &us.vector()).unwrap();
    assert!(hub.stable_cut().is_empty());
    assert_eq!(hub.forget().behind, [us.id()]);
    send(NOW_MS + 2, &us, &mut hub);
    assert!(hub.covers(&eu.vector()));
    assert_eq!(hub.forget().behind, []);
    assert_eq!((hub.state().rows(), hub.vector().len()), (0, 1));
}

#[test]
fn a_counter_goes_on_exactly_from_run_to_run() {
    let mut us: Replica<Counter> = replica(2);
    let mut run: Replica<Counter> = replica(1);
    let mut expected = 0;
    for round in 0..30 {
        run.transact(NOW_MS + round, |counter| counter.add(round as i64)).unwrap();
        expected += round as i64;
        if round % 7 == 3 {
            run.write(NOW_MS + round, |counter| counter.reset()).unwrap();
            expected = 0;
        }
        // What the reset had not seen still counts.
        us.transact(NOW_MS + round, |counter| counter.add(1)).unwrap();
        expected += 1;
        run = restart(NOW_MS + round, 100 + u128::from(round), &run);
        run.set_members([run.id(), us.id()]);
        us.set_members([run.id(), us.id()]);
        sync(NOW_MS + round, &mut run, &mut us);
        settle(NOW_MS + round, &mut run, &mut us);
        assert_eq!(run.state().value(), us.state().value());
        assert_eq!(us.state().value(), expected, "in round {round}");
        assert_eq!(us.vector().len(), 2);
    }
}

#[test]
fn who_goes_on_under_a_new_id_keeps_what_is_closed_and_what_is_known_of_others() {
    let [mut first, mut us, mut ap]: [Replica<OrSet<u32>>; 3] = [1, 2, 3].map(replica);
    first.write(NOW_MS, |set| set.add(&1)).unwrap();
    let mut eu = restart(NOW_MS, 11, &first);
    for replica in [&mut eu, &mut us, &mut ap] {
        replica.set_members([id(11), id(2), id(3)]);
    }
    us.write(NOW_MS, |set| set.add(&2)).unwrap();
    ap.write(NOW_MS, |set| set.add(&3)).unwrap();
    sync(NOW_MS, &mut eu, &mut us);
    sync(NOW_MS, &mut eu, &mut ap);
    for other in [&us, &ap] {
        eu.report(NOW_MS, other.id(), &other.vector()).unwrap();
    }
    assert_eq!(eu.vector().get(&first.id()), Timestamp::ZERO);
    let of_others = |replica: &Replica<OrSet<u32>>| {
        let mut known = replica.known_vectors();
        known.retain(|(id, _)| *id != replica.id());
        known
    };
    let known = of_others(&eu);
    assert_eq!(known.len(), 2);
    // Nobody has heard of the last two commits, of which one closes an id.
    let after = eu.vector().get(&eu.id());
    eu.write(NOW_MS + 1, |set| set.add(&4)).unwrap();
    eu.close(NOW_MS + 1, ap.id()).unwrap().unwrap();
    let reissued = eu.reissue(NOW_MS + 2, id(12), after, Stamps::Keep).unwrap();
    assert_eq!((reissued.former, reissued.commits), (id(11), 2));
    assert_eq!(of_others(&eu), known);
    eu.close(NOW_MS + 2, reissued.former).unwrap().unwrap();
    for replica in [&mut eu, &mut us] {
        replica.set_members([id(12), id(2)]);
    }
    sync(NOW_MS + 3, &mut eu, &mut us);
    settle(NOW_MS + 3, &mut eu, &mut us);
    assert_same(&eu, &us);
    for replica in [&eu, &us] {
        assert_eq!(replica.vector().iter().map(|(id, _)| id).collect::<Vec<_>>(), [id(2), id(12)]);
    }
}
