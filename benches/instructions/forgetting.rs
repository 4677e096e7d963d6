//! Forgetting, and the digest.

use crate::workload::{CHANGES, id, key, now, scattered};
use crate::writing::filled;
use crate::{DOCUMENTS, Piece, REPEATS, count, count_repeated};

pub(crate) const PIECES: &[Piece] = &[
    Piece {
        name: "forget",
        what: "forget 1,000 removed of 10,000 documents",
        operations: CHANGES,
        run: forget,
    },
    Piece {
        name: "forget-nothing",
        what: "forget with nothing to forget",
        operations: REPEATS,
        run: forget_nothing,
    },
    Piece { name: "digest", what: "digest of 10,000 documents", operations: DOCUMENTS, run: digest },
];

fn forget() {
    let mut replica = filled();
    replica.set_members([id(1)]);
    replica.forget();
    let removed = replica.write(now(1), |accounts| {
        scattered(1, DOCUMENTS).filter(|number| accounts.remove(&key(*number))).count()
    });
    assert_eq!(removed.expect("the time is in range").value, CHANGES);
    let forgotten = count(|| replica.forget());
    assert_eq!(forgotten.rows, CHANGES);
}

fn forget_nothing() {
    let mut replica = filled();
    replica.set_members([id(1)]);
    replica.forget();
    let forgotten = count_repeated(|| replica.forget());
    assert_eq!((forgotten.rows, forgotten.marks), (0, 0));
}

fn digest() {
    let (ours, mut theirs) = (filled(), crate::workload::replica(2));
    theirs.merge(now(0), ours.delta_since(&theirs.vector())).expect("complete");
    let digest = count(|| ours.digest());
    assert_eq!(digest, theirs.digest());
}
