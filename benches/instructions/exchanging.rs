//! Deltas and full states: producing, encoding, decoding and merging them.

use driftless::{Crdt, Delta, Replica, VersionVector};

use crate::workload::exchange::{converge, pair, write_tenths};
use crate::workload::shop::regions;
use crate::workload::{Accounts, CHANGES, changed, now, replica};
use crate::writing::filled;
use crate::{DOCUMENTS, Piece, REPEATS, count, count_repeated};

pub(crate) const PIECES: &[Piece] = &[
    Piece {
        name: "delta",
        what: "delta of 1,000 changes among 10,000 documents",
        operations: CHANGES,
        run: delta,
    },
    Piece { name: "delta-encode", what: "… encode it", operations: CHANGES, run: delta_encode },
    Piece { name: "delta-decode", what: "… decode it", operations: CHANGES, run: delta_decode },
    Piece { name: "delta-merge", what: "… merge it", operations: CHANGES, run: delta_merge },
    Piece { name: "delta-replay", what: "… merge it again", operations: CHANGES, run: delta_replay },
    Piece { name: "delta-nothing", what: "delta with nothing new", operations: REPEATS, run: delta_nothing },
    Piece {
        name: "state-encode",
        what: "full state of 10,000 documents: produce and encode",
        operations: DOCUMENTS,
        run: state_encode,
    },
    Piece { name: "state-decode", what: "… decode it", operations: DOCUMENTS, run: state_decode },
    Piece {
        name: "state-merge",
        what: "… merge it into an empty replica",
        operations: DOCUMENTS,
        run: state_merge,
    },
    Piece {
        name: "converge-two",
        what: "two replicas write 10 % each of 10,000 documents, converge",
        operations: DOCUMENTS / 5,
        run: converge_two,
    },
    Piece {
        name: "converge-eight",
        what: "eight replicas write 20 % each of 1,000 documents and tags of 5 %, converge",
        operations: REGIONS_DOCUMENTS / 4 * 8,
        run: converge_eight,
    },
];

const REGIONS_DOCUMENTS: usize = 1_000;

fn encoded<S: Crdt>(delta: &Delta<S>) -> Vec<u8> {
    delta.encode().expect("serializable")
}

fn decoded(replica: &Replica<Accounts>, bytes: &[u8]) -> Delta<Accounts> {
    replica.decode(bytes).expect("a message")
}

fn merge(replica: &mut Replica<Accounts>, delta: Delta<Accounts>) {
    replica.merge(now(1), delta).expect("no gap");
}

/// Two replicas that held the same documents, and a message of what the first changed.
fn pair_and_message() -> ([Replica<Accounts>; 2], Vec<u8>) {
    let mut pair = pair(DOCUMENTS);
    let message = encoded(&changed(&mut pair[0], 1, DOCUMENTS));
    (pair, message)
}

fn assert_converged<S: Crdt>(replicas: &[Replica<S>]) {
    assert!(replicas.iter().all(|replica| replica.digest() == replicas[0].digest()));
}

fn delta() {
    let mut replica = filled();
    let known = replica.vector();
    drop(changed(&mut replica, 1, DOCUMENTS));
    let delta = count(|| replica.delta_since(&known));
    assert!(delta.rows_visited() >= CHANGES);
}

fn delta_encode() {
    let mut replica = filled();
    let delta = changed(&mut replica, 1, DOCUMENTS);
    let bytes = count(|| encoded(&delta));
    assert_eq!(encoded(&decoded(&replica, &bytes)), bytes);
}

fn delta_decode() {
    let ([_, theirs], message) = pair_and_message();
    let delta = count(|| decoded(&theirs, &message));
    assert_eq!(encoded(&delta), message);
}

fn delta_merge() {
    let (mut pair, message) = pair_and_message();
    let delta = decoded(&pair[1], &message);
    count(|| merge(&mut pair[1], delta));
    assert_converged(&pair);
}

fn delta_replay() {
    let (mut pair, message) = pair_and_message();
    let (delta, again) = (decoded(&pair[1], &message), decoded(&pair[1], &message));
    merge(&mut pair[1], delta);
    count(|| merge(&mut pair[1], again));
    assert_converged(&pair);
}

fn delta_nothing() {
    let replica = filled();
    let known = replica.vector();
    let delta = count_repeated(|| replica.delta_since(&known));
    assert!(delta.is_empty());
}

fn state_encode() {
    let replica = filled();
    let bytes = count(|| encoded(&replica.delta_since(&VersionVector::new())));
    assert_eq!(encoded(&decoded(&replica, &bytes)), bytes);
}

fn state_decode() {
    let (ours, theirs) = (filled(), replica(2));
    let bytes = encoded(&ours.delta_since(&VersionVector::new()));
    let delta = count(|| decoded(&theirs, &bytes));
    assert_eq!(encoded(&delta), bytes);
}

fn state_merge() {
    let (ours, mut theirs) = (filled(), replica(2));
    let bytes = encoded(&ours.delta_since(&VersionVector::new()));
    let delta = decoded(&theirs, &bytes);
    count(|| merge(&mut theirs, delta));
    assert_converged(&[ours, theirs]);
}

fn converge_two() {
    let mut pair = pair(DOCUMENTS);
    let known = pair[0].vector();
    write_tenths(&mut pair, 1, DOCUMENTS);
    count(|| converge(&mut pair, &known, now(1)));
    assert_converged(&pair);
}

fn converge_eight() {
    let (mut replicas, known) = regions(REGIONS_DOCUMENTS);
    count(|| converge(&mut replicas, &known, now(10)));
    assert_converged(&replicas);
}
