//! Sets, counters and dynamic documents.

use driftless::{Counter, Replica};

use crate::workload::sets::{add, churn, elements, peers};
use crate::workload::{notes, now, replica};
use crate::{Piece, count};

pub(crate) const PIECES: &[Piece] = &[
    Piece { name: "set-add", what: "add 10,000 numbers to a set", operations: ELEMENTS, run: set_add },
    Piece { name: "set-contains", what: "look up 10,000 of them", operations: ELEMENTS, run: set_contains },
    Piece {
        name: "set-churn",
        what: "add and remove 1,000 elements, a transaction each, sync, forget",
        operations: 2 * CHURNED,
        run: set_churn,
    },
    Piece {
        name: "counter-add",
        what: "increment a counter 10,000 times, a transaction each",
        operations: INCREMENTS,
        run: counter_add,
    },
    Piece {
        name: "document-set",
        what: "overwrite a field in each of 1,000 maps of a document, one transaction",
        operations: notes::MAPS,
        run: document_set,
    },
    Piece {
        name: "document-get",
        what: "read a field in each of them",
        operations: notes::MAPS,
        run: document_get,
    },
];

const ELEMENTS: usize = 10_000;
const CHURNED: usize = 1_000;
const INCREMENTS: usize = 10_000;

fn set_add() {
    let (mut replica, elements) = (replica(1), elements(ELEMENTS));
    count(|| add(&mut replica, &elements));
    assert_eq!(replica.state().len(), ELEMENTS);
}

fn set_contains() {
    let (mut replica, elements) = (replica(1), elements(ELEMENTS));
    add(&mut replica, &elements);
    let found = count(|| elements.iter().filter(|element| replica.state().contains(*element)).count());
    assert_eq!(found, ELEMENTS);
}

fn set_churn() {
    let (mut peers, elements) = (peers(), elements(CHURNED));
    // The first time memory is taken that is kept.
    churn(&mut peers, 0, &elements);
    count(|| churn(&mut peers, 1, &elements));
    assert!(peers.iter().all(|peer| peer.state().rows() == 0));
}

fn counter_add() {
    let mut replica: Replica<Counter> = replica(1);
    count(|| {
        for _ in 0..INCREMENTS {
            let added = replica.transact(now(0), |counter| counter.add(1));
            added.expect("it is far from its end");
        }
    });
    assert_eq!(replica.state().value(), INCREMENTS as i64);
}

fn document_set() {
    let names = notes::names();
    let mut replica = notes::filled(&names);
    count(|| notes::write(&mut replica, now(1), &names, -1));
    assert_eq!(replica.state().get(&[names[0].as_str(), "balance"]), Some(&(-1_i64).into()));
}

fn document_get() {
    let names = notes::names();
    let replica = notes::filled(&names);
    let found = count(|| notes::read(replica.state(), &names));
    assert_eq!(found, notes::MAPS);
}
