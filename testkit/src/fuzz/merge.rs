//! Whatever decodes merges or is refused, whole; what was merged can be shipped on, written, removed and forgotten like anything
//! that was written here.
//!
//! The messages are not always ones that any replica would send. So nothing is said here of what must be read afterwards; but all
//! routes must lead to the same, and replicas that have seen the same must agree.

use driftless::{
    DecodeError, Delta, MergeError, Merged, PendingDelta, Replica, ReplicaId, Timestamp, VersionVector,
};

use crate::fuzz::bytes::Bytes;
use crate::fuzz::delivery::{self, IN_CHUNKS, RECEIVER_IS_EMPTY, SMALL_LIMITS};
use crate::fuzz::scene::{self, NOW_MS};
use crate::fuzz::types::of_type;
use crate::subject::Subject;
use crate::wire::{self, Message, without_implied};

/// Whatever was accepted can go on to others at this time, and so can what is written on top of it.
const LATER_MS: u64 = NOW_MS + 120_000;

/// The first byte chooses the type of state, the second who receives and how; the rest is what arrives.
#[inline]
pub fn run(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    of_type!(bytes.byte(), run_as(bytes));
}

fn run_as<S: Subject>(mut bytes: Bytes<'_>) {
    // What may be shipped on is not limited.
    let how = bytes.byte() & !SMALL_LIMITS;
    for how in [how | RECEIVER_IS_EMPTY, how & !RECEIVER_IS_EMPTY] {
        let before = scene::shared_receiver::<S>(how);
        if let Some(delta) = delivery::receive(&before, how, bytes) {
            let after = arrive(&before, how, bytes, delta);
            live_on(after);
        }
    }
}

/// Merges the delta along every route. Returns who received it.
fn arrive<S: Subject>(before: &Replica<S>, how: u8, bytes: Bytes<'_>, delta: Delta<S>) -> Replica<S> {
    let mut expected = before.vector();
    expected.join(&delta.to());
    let encoded = delta.encode().expect("what was decoded can be encoded");
    let (delta_from, delta_to) = (delta.from(), delta.to());
    let mut receiver = scene::receiver::<S>(how);
    let done = ordered(receiver.merge(NOW_MS, delta));
    // Chunks of a sender that does not keep to the format can hold a key twice, which no message may.
    let repeated = |error| matches!(error, MergeError::Decode(DecodeError::Repeated { .. }));
    let is_odd = how & IN_CHUNKS != 0 && before.decode(&encoded).is_err_and(repeated);
    let is_mistaken = can_be_mistaken(&delta_from, &delta_to, &before.vector());
    let routes = [by_message::<S>, by_chunks::<S>];
    for route in routes.into_iter().filter(|_| !is_odd) {
        let mut other = scene::receiver::<S>(how);
        match route(&mut other, how, bytes, &encoded) {
            // Whom this side does not know can be named in full, not in short: that is a gap either way.
            Err(MergeError::Gap { .. }) if done.is_err() => {}
            // Named in full at first, and in short by the delta, which knows of no other.
            Err(MergeError::Gap { .. }) if is_mistaken => {
                assert_same(&other, before);
                continue;
            }
            again => assert_eq!(ordered(again), done, "by another route"),
        }
        assert_same(&other, &receiver);
    }
    match done {
        Err(_) => assert_same(&receiver, before),
        Ok(_) => {
            assert_eq!(receiver.vector(), expected);
            // Once more: it may read as a gap, if the message brought ids that read like others in short.
            let again = delivery::receive(&receiver, how, bytes);
            let held = full(&receiver);
            if let Some(again) = again {
                assert_eq!(receiver.merge(NOW_MS, again), Ok(Merged::default()), "it is held already");
            }
            assert_eq!(full(&receiver), held);
        }
    }
    receiver
}

/// Whether the receiver knows an id that a delta, on its own, would name in the same short form as one of its own ids.
fn can_be_mistaken(from: &VersionVector, to: &VersionVector, known: &VersionVector) -> bool {
    let others = || known.iter().filter(|(other, _)| to.get(other) == Timestamp::ZERO);
    from.iter().any(|(id, _)| others().any(|(other, _)| wire::short(&other) == wire::short(&id)))
}

/// Rows are merged in the order in which they come, which is not always the same.
fn ordered(mut done: Result<Merged, MergeError>) -> Result<Merged, MergeError> {
    if let Ok(merged) = &mut done {
        merged.changes.sort_by_cached_key(|change| format!("{:?}", change.path));
        // Of which the first are named.
        merged.unreadable.places.clear();
    }
    done
}

fn by_message<S: Subject>(
    receiver: &mut Replica<S>,
    _: u8,
    _: Bytes<'_>,
    encoded: &[u8],
) -> Result<Merged, MergeError> {
    let delta = receiver.decode(encoded)?;
    receiver.merge(NOW_MS, delta)
}

fn by_chunks<S: Subject>(
    receiver: &mut Replica<S>,
    how: u8,
    bytes: Bytes<'_>,
    _: &[u8],
) -> Result<Merged, MergeError> {
    let delta = delivery::receive(receiver, how, bytes).expect("it did a moment ago");
    let mut pending = PendingDelta::new(&receiver.config().limits);
    let mut whole = None;
    for chunk in delta.into_chunks(30) {
        assert!(whole.is_none(), "there is no chunk after the last");
        let chunk = receiver.decode(&chunk.expect("what was decoded can be encoded"))?;
        whole = pending.push(chunk).expect("the chunks follow each other");
    }
    receiver.merge(NOW_MS, whole.expect("there is a last chunk"))
}

/// What a replica holds, marks and all.
fn full<S: Subject>(replica: &Replica<S>) -> Message {
    let bytes = replica.delta_since(&VersionVector::new()).encode().expect("what is held can be encoded");
    Message::read::<S>(&bytes, &[]).expect("what is encoded is as the format says")
}

fn assert_same<S: Subject>(one: &Replica<S>, other: &Replica<S>) {
    assert_eq!(one.vector(), other.vector());
    assert_eq!(one.canonical_bytes(), other.canonical_bytes());
    assert_eq!(full(one), full(other));
}

/// Sends `to` what it lacks.
fn bring<S: Subject>(from: &Replica<S>, to: &mut Replica<S>) {
    let bytes = from.delta_since(&to.vector()).encode().expect("what is held can be encoded");
    let delta = to.decode(&bytes).expect("what is encoded can be decoded");
    to.merge(LATER_MS, delta).expect("what it lacks fits");
    assert!(from.vector().is_within(&to.vector()));
    if to.vector() == from.vector() {
        assert_eq!(to.canonical_bytes(), from.canonical_bytes());
        assert_eq!(to.digest(), from.digest());
    }
}

/// Ships what is held to a new replica; then both write, remove everything, and forget.
fn live_on<S: Subject>(mut one: Replica<S>) {
    let mut config = delivery::config(delivery::ANY_STAMP);
    config.changes = false;
    let mut other =
        Replica::<S>::new(ReplicaId::from_u128(0x7fb5_d329_728e_a185_c3a5_c85c_97cb_3127), config);
    bring(&one, &mut other);
    let (held, shipped) = (full(&one), full(&other));
    assert_eq!(without_implied(&held.parts), without_implied(&shipped.parts));
    for number in 0..3 {
        write(&mut one, number);
        write(&mut other, number + 10);
        bring(&one, &mut other);
        bring(&other, &mut one);
        assert_eq!(one.vector(), other.vector());
    }
    // Not if no stamps are left.
    if one.write(NOW_MS, |handle| S::wipe(handle)).is_ok() {
        assert!(!one.state().is_live(), "something is left of what was removed");
    }
    bring(&one, &mut other);
    let vector = one.vector();
    let members: Vec<ReplicaId> = vector.iter().map(|(id, _)| id).collect();
    for replica in [&mut one, &mut other] {
        replica.set_members(members.clone());
        for id in &members {
            replica.report(LATER_MS, *id, &vector).expect("it is held here");
        }
        let digest = replica.digest();
        replica.forget();
        assert_eq!(replica.digest(), digest);
    }
    bring(&one, &mut other);
}

/// A transaction that may come to nothing: the script does not know what is held.
fn write<S: Subject>(replica: &mut Replica<S>, number: u8) {
    let before = full(replica);
    let stamp = replica.clock().peek(NOW_MS).unwrap_or(Timestamp::ZERO);
    let mut oracle = crate::oracle::Oracle::default();
    let mut script = scene::script(&mut oracle, replica, stamp);
    let choices = scene::choices(number);
    let done = replica.transact(NOW_MS, |handle| {
        script.choose_by(&choices);
        S::act(handle, &mut script)
    });
    if done.is_err() {
        assert_eq!(full(replica), before, "a transaction that failed left something behind");
    }
}
