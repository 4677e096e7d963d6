//! Writing and reading documents, and snapshots of them.

use crate::workload::{
    Accounts, CHANGES, PlainAccount, fill, key, mix, name, names, now, plain_document, replica, scattered,
    write_names,
};
use crate::{DOCUMENTS, Piece, REPEATS, count, count_repeated};
use driftless::Replica;

pub(crate) const PIECES: &[Piece] = &[
    Piece {
        name: "write-documents",
        what: "first write of 1,000 documents, one transaction",
        operations: CHANGES,
        run: write_documents,
    },
    Piece {
        name: "write-each",
        what: "first write of 1,000 documents, a transaction each",
        operations: CHANGES,
        run: write_each,
    },
    Piece {
        name: "overwrite",
        what: "overwrite 1,000 of 10,000 names, one transaction",
        operations: CHANGES,
        run: overwrite,
    },
    Piece {
        name: "overwrite-each",
        what: "overwrite 1,000 of 10,000 names, a transaction each",
        operations: CHANGES,
        run: overwrite_each,
    },
    Piece { name: "read", what: "read 10,000 fields by key", operations: DOCUMENTS, run: read },
    Piece { name: "snapshot", what: "snapshot of 10,000 documents", operations: REPEATS, run: snapshot },
    Piece {
        name: "write-after-snapshot",
        what: "first write to a page after a snapshot",
        operations: REPEATS,
        run: write_after_snapshot,
    },
];

/// A replica that holds documents.
pub(crate) fn filled() -> Replica<Accounts> {
    let mut replica = replica(1);
    fill(&mut replica, 0..DOCUMENTS, 100);
    replica
}

fn new_documents() -> Vec<(uuid::Uuid, PlainAccount)> {
    (0..CHANGES).map(|number| (key(number), plain_document(number))).collect()
}

fn write(replica: &mut Replica<Accounts>, documents: impl IntoIterator<Item = (uuid::Uuid, PlainAccount)>) {
    let written = replica.write(now(0), |accounts| {
        for (key, PlainAccount { name, address, balance, active }) in documents {
            accounts.update(&key, |account| {
                account.name().set(name);
                account.address().set(address);
                account.balance().set(balance);
                account.active().set(active);
            });
        }
    });
    written.expect("the time is in range");
}

fn write_documents() {
    let (mut replica, documents) = (replica(1), new_documents());
    count(|| write(&mut replica, documents));
    assert_eq!(replica.state().len(), CHANGES);
}

fn write_each() {
    let (mut replica, documents) = (replica(1), new_documents());
    count(|| documents.into_iter().for_each(|document| write(&mut replica, [document])));
    assert_eq!(replica.state().len(), CHANGES);
}

fn assert_overwritten(replica: &Replica<Accounts>) {
    for number in scattered(1, DOCUMENTS) {
        let account = replica.state().get(&key(number)).expect("it is there");
        assert_eq!(account.name.latest(), Some(&name(1)));
    }
}

fn overwrite() {
    let (mut replica, names) = (filled(), names(1, DOCUMENTS));
    count(|| {
        let written = replica.write(now(1), |accounts| {
            for (key, name) in names {
                accounts.update(&key, |account| account.name().set(name));
            }
        });
        written.expect("the time is in range");
    });
    assert_overwritten(&replica);
}

fn overwrite_each() {
    let (mut replica, names) = (filled(), names(1, DOCUMENTS));
    count(|| write_names(&mut replica, 1, names));
    assert_overwritten(&replica);
}

fn read() {
    let replica = filled();
    let numbers = || (0..DOCUMENTS as u64).map(|number| mix(number) as usize % DOCUMENTS);
    let keys: Vec<_> = numbers().map(key).collect();
    let balance = |key| replica.state().get(key).and_then(|account| account.balance.latest().copied());
    let sum = count(|| keys.iter().filter_map(balance).sum::<i64>());
    assert_eq!(sum, numbers().sum::<usize>() as i64);
}

fn snapshot() {
    let replica = filled();
    let snapshot = count_repeated(|| replica.snapshot());
    assert_eq!(snapshot.len(), DOCUMENTS);
}

fn write_after_snapshot() {
    let mut replica = filled();
    for round in 1..=REPEATS {
        let key = key(mix(round as u64) as usize % DOCUMENTS);
        let (before, new) = (replica.snapshot(), -(round as i64));
        count(|| {
            let written = replica
                .write(now(round), |accounts| accounts.update(&key, |account| account.balance().set(new)));
            written.expect("the time is in range");
        });
        let balance =
            |state: &Accounts| state.get(&key).and_then(|account| account.balance.latest().copied());
        assert_ne!(balance(&before), Some(new));
        assert_eq!(balance(replica.state()), Some(new));
    }
}
