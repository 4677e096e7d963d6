//! What a session adds to what a replica does with a delta that comes in.

use driftless::{Endpoint, Replica};

use crate::workload::exchange::{DELTA, LINK, connected, pair};
use crate::workload::{Accounts, CHANGES, key, name, names, now};
use crate::{DOCUMENTS, Piece, REPEATS, count, count_repeated};

pub(crate) const PIECES: &[Piece] = &[
    Piece {
        name: "session-bare",
        what: "decode and merge 1,000 changes of one transaction, as a session sends them",
        operations: CHANGES,
        run: bare,
    },
    Piece { name: "session-receive", what: "… by `Endpoint::receive`", operations: CHANGES, run: receive },
    Piece {
        name: "session-bare-one",
        what: "decode and merge one change, as a session sends it",
        operations: REPEATS,
        run: bare_one,
    },
    Piece {
        name: "session-receive-one",
        what: "… by `Endpoint::receive`",
        operations: REPEATS,
        run: receive_one,
    },
];

/// The frame of a delta that is to be sent now.
fn delta(end: &mut Endpoint<Accounts>, now_ms: u64) -> Vec<u8> {
    let mut frame = Vec::new();
    while end.transmit(now_ms, &mut frame).is_some() {
        if frame[0] == DELTA {
            return frame;
        }
        frame.clear();
    }
    panic!("there is a delta to be sent");
}

/// Gives 1,000 documents new names in one transaction.
fn write_all(end: &mut Endpoint<Accounts>) {
    let written = end.write(now(1), |accounts| {
        for (key, name) in names(1, DOCUMENTS) {
            accounts.update(&key, |account| account.name().set(name));
        }
    });
    written.expect("the time is in range");
}

/// Gives one document a new name.
fn write_one(end: &mut Endpoint<Accounts>, round: usize) {
    let key = key(round * (DOCUMENTS / REPEATS) % DOCUMENTS);
    let written =
        end.write(now(round), |accounts| accounts.update(&key, |account| account.name().set(name(round))));
    written.expect("the time is in range");
}

fn assert_converged(ends: &[Endpoint<Accounts>; 2]) {
    assert_eq!(ends[0].replica().digest(), ends[1].replica().digest());
}

fn receive() {
    let mut ends = connected(DOCUMENTS);
    write_all(&mut ends[0]);
    let frame = delta(&mut ends[0], now(1));
    count(|| ends[1].receive(now(1), LINK, &frame)).expect("honest");
    assert_converged(&ends);
}

fn receive_one() {
    let mut ends = connected(DOCUMENTS);
    let frames: Vec<Vec<u8>> = (1..=REPEATS)
        .map(|round| {
            write_one(&mut ends[0], round);
            delta(&mut ends[0], now(round))
        })
        .collect();
    let mut frames = frames.iter();
    let end = &mut ends[1];
    count_repeated(|| end.receive(now(REPEATS), LINK, frames.next().expect("one each"))).expect("honest");
    assert_converged(&ends);
}

/// A replica that holds what the second of two does that are connected, and the messages of what the first writes then.
fn messages(rounds: usize, write: fn(&mut Endpoint<Accounts>, usize)) -> (Replica<Accounts>, Vec<Vec<u8>>) {
    let mut ends = connected(DOCUMENTS);
    let [other, mut same] = [(); 2].map(|()| {
        let [_, mut replica] = pair(DOCUMENTS);
        let delta = ends[0].replica().answer(&replica.request());
        replica.merge(now(0), delta).expect("no gap");
        replica
    });
    let messages = (1..=rounds).map(|round| {
        write(&mut ends[0], round);
        let message = ends[0].replica().answer(&same.request()).encode().expect("serializable");
        take(&mut same, &message);
        message
    });
    let messages = messages.collect();
    (other, messages)
}

fn take(replica: &mut Replica<Accounts>, message: &[u8]) {
    let delta = replica.decode(message).expect("a message");
    replica.merge(now(REPEATS), delta).expect("no gap");
}

fn bare() {
    let (mut replica, messages) = messages(1, |end, _| write_all(end));
    count(|| take(&mut replica, &messages[0]));
}

fn bare_one() {
    let (mut replica, messages) = messages(REPEATS, write_one);
    let mut messages = messages.iter();
    count_repeated(|| take(&mut replica, messages.next().expect("one each")));
}
