//! Sets of numbers.

use driftless::{OrSet, Replica};

use super::{id, mix, now, replica};

pub(crate) type Numbers = OrSet<u64>;

/// Well-mixed elements.
pub(crate) fn elements(count: usize) -> Vec<u64> {
    (0..count as u64).map(mix).collect()
}

/// Adds elements, a thousand in a transaction.
pub(crate) fn add(replica: &mut Replica<Numbers>, elements: &[u64]) {
    for batch in elements.chunks(1_000) {
        let written = replica.write(now(0), |set| batch.iter().for_each(|element| set.add(element)));
        written.expect("the time is in range");
    }
}

/// A replica with a peer; each is a member to the other.
pub(crate) fn peers() -> [Replica<Numbers>; 2] {
    let mut peers = [replica(1), replica(2)];
    peers.iter_mut().for_each(|peer| peer.set_members([id(1), id(2)]));
    peers
}

/// The first of two peers adds elements and removes them, a transaction each; once the other has seen it both forget all.
pub(crate) fn churn([ours, theirs]: &mut [Replica<Numbers>; 2], round: usize, elements: &[u64]) {
    for element in elements {
        ours.write(now(round), |set| set.add(element)).expect("in range");
        ours.write(now(round), |set| set.remove(element)).expect("in range");
    }
    let message = ours.delta_since(&theirs.vector()).encode().expect("serializable");
    let delta = theirs.decode(&message).expect("a message");
    theirs.merge(now(round), delta).expect("no gap");
    ours.report(now(round), theirs.id(), &theirs.vector()).expect("true");
    theirs.report(now(round), ours.id(), &ours.vector()).expect("true");
    ours.forget();
    theirs.forget();
}
