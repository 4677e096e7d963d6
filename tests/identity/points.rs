//! Which stamps a replica knows for its own, for how long, and what it says of those it does not.

use driftless::*;

const NOW_MS: u64 = 1_700_000_000_000;
const A: ReplicaId = ReplicaId::from_u128(1);
const B: ReplicaId = ReplicaId::from_u128(2);
const NEW: ReplicaId = ReplicaId::from_u128(3);

type Counts = MergeMap<u32, Counter>;

fn replica<S: Crdt>(id: ReplicaId) -> Replica<S> {
    Replica::new(id, Config::default())
}

fn count(replica: &mut Replica<Counts>, now_ms: u64, key: u32, by: i64) -> Timestamp {
    replica.transact(now_ms, |counts| counts.update(&key, |count| count.add(by))).unwrap().stamp.unwrap()
}

fn sum(replica: &Replica<Counts>, key: u32) -> i64 {
    replica.state().get(&key).map_or(0, Counter::value)
}

fn vector(stamp: Timestamp) -> VersionVector {
    [(A, stamp)].into_iter().collect()
}

fn stamp(bits: u64) -> Timestamp {
    Timestamp::from_bits(bits)
}

/// The only refusal there is of our own stamps.
fn is_refused<T>(result: Result<T, MergeError>, claimed: Timestamp) -> bool {
    match result {
        Ok(_) => false,
        Err(MergeError::NotIssued { stamp, .. }) if stamp == claimed => true,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_vector_that_ends_between_two_commits_is_refused_wherever_it_comes_in() {
    let mut eu: Replica<Counts> = replica(A);
    let commits: Vec<_> = [1, 5, 9].map(|ms| count(&mut eu, NOW_MS + ms, 1, 1)).into();
    for ms in 0..12 {
        let claimed = Timestamp::new(NOW_MS + ms, 0).unwrap();
        let expected = !commits.contains(&claimed);
        let before = (eu.vector(), eu.canonical_bytes());
        assert_eq!(is_refused(eu.report(NOW_MS + 20, B, &vector(claimed)), claimed), expected, "{ms}");
        assert_eq!(is_refused(eu.check_commit_points(&[commits[0], claimed]), claimed), expected);
        // A delta that leads there, and one that only goes on from there.
        let mut clone: Replica<Counts> = replica(A);
        count(&mut clone, NOW_MS + ms, 1, 1);
        assert_eq!(
            is_refused(eu.merge(NOW_MS + 20, clone.delta_since(&VersionVector::new())), claimed),
            expected
        );
        let mut us: Replica<Counts> = replica(B);
        us.merge(NOW_MS + 20, clone.delta_since(&VersionVector::new())).unwrap();
        count(&mut us, NOW_MS + 20, 2, 1);
        assert_eq!(is_refused(eu.merge(NOW_MS + 20, us.delta_since(&vector(claimed))), claimed), expected);
        if expected {
            assert_eq!((eu.vector(), eu.canonical_bytes()), before);
        } else {
            // What was merged of it is what the copies have in common, by their stamps.
            eu = replica(A);
            for ms in [1, 5, 9] {
                count(&mut eu, NOW_MS + ms, 1, 1);
            }
        }
    }
}

#[test]
fn commit_points_are_told_between_two_stamps() {
    let mut eu: Replica<Counts> = replica(A);
    let commits: Vec<_> = (0..5).map(|ms| count(&mut eu, NOW_MS + ms, 1, 1)).collect();
    // What changes nothing, and what is undone, is no commit.
    eu.write(NOW_MS + 9, |counts| counts.remove(&7)).unwrap();
    eu.transact(NOW_MS + 9, |counts| {
        counts.update(&1, |count| count.add(1)).and(Err::<(), _>(CounterOverflow { value: 0, by: 0 }))
    })
    .unwrap_err();
    let between = |after, up_to| eu.commit_points(after, up_to).collect::<Vec<_>>();
    assert_eq!(between(Timestamp::ZERO, Timestamp::MAX), commits);
    assert_eq!(between(commits[1], commits[3]), commits[2..=3]);
    assert_eq!(between(commits[3], commits[1]), []);
    assert_eq!(between(commits[4], Timestamp::MAX), []);
}

#[test]
fn what_all_members_hold_is_forgotten_but_for_the_newest_commit() {
    let (mut eu, mut us): (Replica<Counts>, Replica<Counts>) = (replica(A), replica(B));
    let members = [A, B];
    eu.set_members(members);
    let commits: Vec<_> = (0..5).map(|ms| count(&mut eu, NOW_MS + 2 * ms, 1, 1)).collect();
    eu.forget();
    assert_eq!(eu.commit_points(Timestamp::ZERO, Timestamp::MAX).len(), 5);
    us.merge(NOW_MS + 20, eu.delta_since(&us.vector())).unwrap();
    count(&mut eu, NOW_MS + 20, 1, 1);
    eu.report(NOW_MS + 20, B, &us.vector()).unwrap();
    eu.forget();
    let left: Vec<_> = eu.commit_points(Timestamp::ZERO, Timestamp::MAX).collect();
    assert_eq!(left, [commits[4], eu.vector().get(&A)]);
    // Of what is older it cannot tell.
    let older = stamp(commits[4].bits() - 1);
    assert!(!is_refused(eu.report(NOW_MS + 20, B, &vector(older)), older));
    let newer = stamp(commits[4].bits() + 1);
    assert!(is_refused(eu.report(NOW_MS + 20, B, &vector(newer)), newer));
    // Nor goes the fork point below it, or what is written again.
    assert_eq!(eu.fork_point(&[]), commits[4]);
    assert_eq!(eu.fork_point(&[newer]), commits[4]);
    for after in [Timestamp::ZERO, commits[3], newer] {
        let refused = eu.reissue(NOW_MS + 20, NEW, after, Stamps::Keep);
        assert_eq!(refused, Err(ReissueError::NotACommit { after }));
    }
    let reissued = eu.reissue(NOW_MS + 20, NEW, commits[4], Stamps::Keep).unwrap();
    assert_eq!((reissued.former, reissued.commits, reissued.uncertain), (A, 1, vec![]));
    assert_eq!(eu.vector().get(&A), commits[4]);
}

#[test]
fn the_fork_point_lies_before_all_that_was_not_issued_here() {
    let mut eu: Replica<Counts> = replica(A);
    let commits: Vec<_> = (0..5).map(|ms| count(&mut eu, NOW_MS + 2 * ms, 1, 1)).collect();
    let other = stamp(commits[2].bits() + 1);
    for (known, expected) in [
        (vec![], Timestamp::ZERO),
        (vec![commits[1]], commits[1]),
        (vec![commits[3], commits[0]], commits[3]),
        (vec![other], Timestamp::ZERO),
        (vec![commits[0], commits[2], other], commits[2]),
        // The other copy made a commit with the stamp of one of ours.
        (vec![commits[4], commits[1], other], commits[1]),
        (vec![stamp(1), commits[1]], Timestamp::ZERO),
    ] {
        assert_eq!(eu.fork_point(&known), expected, "{known:?}");
    }
}

#[test]
fn of_very_many_commits_that_nobody_confirms_the_older_are_thinned_and_said_to_be_uncertain() {
    let mut eu: Replica<Counts> = replica(A);
    let commits: Vec<_> = (0..66_000_u32).map(|key| count(&mut eu, NOW_MS, key % 7, 1)).collect();
    let left: Vec<_> = eu.commit_points(Timestamp::ZERO, Timestamp::MAX).collect();
    assert!(left.len() < 65_536, "{}", left.len());
    assert!(left.ends_with(&commits[33_000..]), "the newer half is complete");
    // Of what may have been forgotten it does not say that it was not issued.
    let forgotten: Vec<_> = commits.iter().filter(|commit| !left.contains(commit)).take(3).copied().collect();
    for commit in &forgotten {
        assert!(!is_refused(eu.report(NOW_MS, B, &vector(*commit)), *commit));
    }
    let after = left[10];
    let before = (0..7).map(|key| sum(&eu, key)).collect::<Vec<_>>();
    let reissued = eu.reissue(NOW_MS, NEW, after, Stamps::Keep).unwrap();
    assert!(reissued.uncertain.len() > 10_000, "{}", reissued.uncertain.len());
    assert!(reissued.uncertain.iter().all(|stamp| *stamp > after && *stamp < commits[32_768]));
    assert_eq!((0..7).map(|key| sum(&eu, key)).collect::<Vec<_>>(), before);
    // Each counter is cut in two where it was: another that stopped there makes up the same sum.
    let mut us: Replica<Counts> = replica(A);
    for key in 0..=commits.binary_search(&after).unwrap() as u32 {
        count(&mut us, NOW_MS, key % 7, 1);
    }
    assert_eq!(us.vector().get(&A), after);
    let mut ap: Replica<Counts> = replica(B);
    ap.merge(NOW_MS, us.delta_since(&ap.vector())).unwrap();
    ap.merge(NOW_MS, eu.delta_since(&ap.vector())).unwrap();
    assert_eq!(ap.digest(), eu.digest());
}

#[test]
fn what_counters_held_is_thinned_too_and_then_older_points_are_no_fork_points() {
    let mut eu: Replica<Counts> = replica(A);
    const KEYS: u32 = 70_000;
    let mut commits = Vec::new();
    for round in 0..5 {
        let all = eu.transact(NOW_MS + round, |counts| {
            (0..KEYS).try_for_each(|key| counts.update(&key, |count| count.add(1)))
        });
        commits.push(all.unwrap().stamp.unwrap());
    }
    let left: Vec<_> = eu.commit_points(Timestamp::ZERO, Timestamp::MAX).collect();
    assert!(left.len() < commits.len() && left.ends_with(&commits[3..]), "{left:?}");
    let refused = eu.reissue(NOW_MS + 9, NEW, commits[1], Stamps::Keep);
    assert_eq!(refused, Err(ReissueError::NotACommit { after: commits[1] }));
    eu.reissue(NOW_MS + 9, NEW, commits[3], Stamps::Keep).unwrap();
    let mut us: Replica<Counts> = replica(B);
    us.merge(NOW_MS + 9, eu.delta_since(&us.vector())).unwrap();
    assert!((0..KEYS).all(|key| sum(&us, key) == 5));
}

#[test]
fn what_cannot_be_issued_again_says_why_and_leaves_all_as_it_was() {
    let mut eu: Replica<Counts> = replica(A);
    let mut us: Replica<Counts> = replica(B);
    count(&mut us, NOW_MS, 1, 1);
    let after = count(&mut eu, NOW_MS, 1, i64::MIN);
    eu.merge(NOW_MS, us.delta_since(&eu.vector())).unwrap();
    for _ in 0..2 {
        count(&mut eu, NOW_MS, 1, i64::MAX);
    }
    let before = (eu.id(), eu.vector(), eu.canonical_bytes(), eu.clock().clone());
    for (id, after, now_ms, expected) in [
        (A, after, NOW_MS, ReissueError::IdInUse { id: A }),
        (B, after, NOW_MS, ReissueError::IdInUse { id: B }),
        (NEW, stamp(9), NOW_MS, ReissueError::NotACommit { after: stamp(9) }),
        (NEW, after, 1 << 48, ReissueError::Clock(ClockError::NowTooLarge { now_ms: 1 << 48 })),
        (NEW, after, NOW_MS, ReissueError::CounterOverflow),
    ] {
        assert_eq!(eu.reissue(now_ms, id, after, Stamps::Anew), Err(expected));
        assert_eq!((eu.id(), eu.vector(), eu.canonical_bytes(), eu.clock().clone()), before);
    }
    // As the error says.
    eu.write(NOW_MS, |counts| counts.update(&1, |count| count.reset())).unwrap();
    eu.reissue(NOW_MS, NEW, after, Stamps::Anew).unwrap();
    assert_eq!(sum(&eu, 1), 0);
}

#[test]
fn the_set_up_the_members_and_what_is_known_of_others_stay() {
    let config = Config { changes: true, max_ahead_ms: 7, ..Config::default() };
    let mut eu: Replica<Counts> = Replica::new(A, config.clone());
    let mut us: Replica<Counts> = replica(B);
    eu.set_members([A, B]);
    count(&mut us, NOW_MS, 1, 1);
    eu.merge(NOW_MS, us.delta_since(&eu.vector())).unwrap();
    eu.report(NOW_MS, B, &us.vector()).unwrap();
    count(&mut eu, NOW_MS + 5, 1, 1);
    let (snapshot, before) = (eu.snapshot(), eu.canonical_bytes());
    let reissued = eu.reissue(NOW_MS + 1, NEW, Timestamp::ZERO, Stamps::Anew).unwrap();
    assert_eq!((eu.id(), eu.config(), eu.members()), (NEW, &config, &[A, B][..]));
    assert!(eu.known_vectors().contains(&(B, us.vector())));
    assert_eq!(snapshot.canonical_bytes(), before);
    let first = Timestamp::new(NOW_MS + 1, 0).unwrap();
    assert_eq!(reissued.stamps, Some((first, first)));
    assert_eq!(
        (eu.clock().last(), eu.vector().get(&NEW), eu.vector().get(&A)),
        (first, first, Timestamp::ZERO)
    );
    // It goes on as any other.
    let committed = eu.transact(NOW_MS + 1, |counts| counts.update(&1, |count| count.add(1))).unwrap();
    assert_eq!((committed.stamp, committed.changes.len()), (Some(stamp(first.bits() + 1)), 1));
    us.merge(NOW_MS + 1, eu.delta_since(&us.vector())).unwrap();
    assert_eq!((us.digest(), sum(&us, 1)), (eu.digest(), 3));
}

#[test]
fn a_new_id_is_not_taken_where_it_would_be_one_more_than_a_message_can_name() {
    let mut eu: Replica<Counts> = replica(A);
    let after = count(&mut eu, NOW_MS, 1, 1);
    count(&mut eu, NOW_MS, 1, 1);
    // With the former id and the new one they are as many as there may be.
    let others = Limits::MAX_REPLICAS as u128 - 2;
    for first in (0..others).step_by(64) {
        let mut gathered: Replica<Counts> = replica(B);
        for number in first..others.min(first + 64) {
            let mut other: Replica<Counts> = replica(ReplicaId::from_u128(number + 1_000));
            count(&mut other, NOW_MS, 1, 1);
            gathered.merge(NOW_MS, other.delta_since(&VersionVector::new())).unwrap();
        }
        eu.merge(NOW_MS, gathered.delta_since(&VersionVector::new())).unwrap();
    }
    let last = eu.reissue(NOW_MS, NEW, after, Stamps::Keep).unwrap().stamps.unwrap().1;
    assert_eq!(eu.vector().len(), Limits::MAX_REPLICAS);
    let refused = eu.reissue(NOW_MS, ReplicaId::from_u128(4), last, Stamps::Keep);
    assert_eq!(refused, Err(ReissueError::TooManyReplicas { count: Limits::MAX_REPLICAS + 1 }));
    assert_eq!((eu.id(), eu.vector().len()), (NEW, Limits::MAX_REPLICAS));
}
