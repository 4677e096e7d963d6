//! What replicas that hold the same send each other.

use driftless::{Crdt, Replica, VersionVector};

use super::{Accounts, fill, key, name, now, replica};

/// Two replicas that hold the documents `0..documents`.
pub(crate) fn pair(documents: usize) -> [Replica<Accounts>; 2] {
    let (mut ours, mut theirs) = (replica(1), replica(2));
    fill(&mut ours, 0..documents, 100);
    theirs.merge(now(0), ours.delta_since(&VersionVector::new())).expect("complete");
    [ours, theirs]
}

/// Every tenth of the documents, beginning with `first`, with a new name.
pub(crate) fn tenth(first: usize, documents: usize) -> impl Iterator<Item = (uuid::Uuid, String)> {
    (first..documents).step_by(10).map(move |number| (key(number), name(documents + number)))
}

/// Each of two replicas overwrites the names of a tenth of the documents, other ones than its peer.
pub(crate) fn write_tenths(pair: &mut [Replica<Accounts>; 2], round: usize, documents: usize) {
    for (replica, first) in pair.iter_mut().zip([2 * round % 10, (2 * round + 1) % 10]) {
        let written = replica.write(now(round), |accounts| {
            for (key, name) in tenth(first, documents) {
                accounts.update(&key, |account| account.name().set(name));
            }
        });
        written.expect("the time is in range");
    }
}

/// Each replica sends all others what it wrote since all had seen `known`, in one message.
pub(crate) fn converge<S: Crdt>(replicas: &mut [Replica<S>], known: &VersionVector, now_ms: u64) {
    let encode = |replica: &Replica<S>| replica.delta_since(known).encode().expect("serializable");
    let messages: Vec<_> = replicas.iter().map(encode).collect();
    for (sender, message) in messages.iter().enumerate() {
        for (_, replica) in replicas.iter_mut().enumerate().filter(|(receiver, _)| *receiver != sender) {
            let delta = replica.decode(message).expect("a message");
            replica.merge(now_ms, delta).expect("no gap");
        }
    }
}
