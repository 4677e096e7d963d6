//! What replicas that hold the same send each other.

use driftless::{Crdt, Endpoint, LinkId, Replica, ReplicaId, SyncConfig, VersionVector};
use uuid::Uuid;

use super::{Accounts, fill, key, name, now, replica};

/// Two replicas that hold the documents `0..documents`.
pub(crate) fn pair(documents: usize) -> [Replica<Accounts>; 2] {
    let (mut ours, mut theirs) = (replica(1), replica(2));
    fill(&mut ours, 0..documents, 100);
    theirs.merge(now(0), ours.delta_since(&VersionVector::new())).expect("complete");
    [ours, theirs]
}

/// The link between two endpoints.
pub(crate) const LINK: LinkId = LinkId(1);
/// The first byte of a delta's frame.
pub(crate) const DELTA: u8 = 2;

/// Two endpoints that are connected, hold the documents `0..documents`, and have nothing to say.
pub(crate) fn connected(documents: usize) -> [Endpoint<Accounts>; 2] {
    let mut number = 0;
    let mut ends = pair(documents).map(|replica| {
        number += 1;
        let config = SyncConfig::new(Uuid::from_u128(0xc1), ReplicaId::from_u128(number), "here");
        Endpoint::new(replica, config)
    });
    for (nonce, end) in (1..).zip(&mut ends) {
        end.link_up(now(0), LINK, None, nonce);
    }
    talk(&mut ends, now(0), |receive, _| receive());
    ends
}

/// Lets two endpoints hear each other until neither has anything to say. `around` is given what receives a frame, to be called,
/// and whether that is a delta of the first.
pub(crate) fn talk(
    ends: &mut [Endpoint<Accounts>; 2],
    now_ms: u64,
    mut around: impl FnMut(&mut dyn FnMut(), bool),
) {
    let mut frame = Vec::new();
    let mut is_quiet = false;
    while !is_quiet {
        is_quiet = true;
        for from in 0..2 {
            while ends[from].transmit(now_ms, &mut frame).is_some() {
                is_quiet = false;
                let is_delta = from == 0 && frame[0] == DELTA;
                let other = &mut ends[1 - from];
                around(&mut || other.receive(now_ms, LINK, &frame).expect("honest"), is_delta);
                frame.clear();
            }
            while ends[from].next_event().is_some() {}
        }
    }
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
