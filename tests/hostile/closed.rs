//! What the cluster says of itself, by a peer that lies: of whom, until when, and how many.

use driftless::{Config, Flag, Limits, MergeError, Replica, ReplicaId};

use crate::NOW_MS;
use crate::forge::{Message, SYSTEM_VERSION, uint, varint, zigzag};
use crate::refusals::{Why, why};

/// Which parts a message has.
const SYSTEM: u64 = 2;
const STATE: u64 = 1;

/// A message of `ids` replicas, the first of which wrote ten milliseconds before the others, with so many of them closed.
fn message(ids: u16, closed: u64, parts: u64, events: &[u8], state: &[u8]) -> Message {
    let mut table = [varint(2), varint(ids.into()), varint(closed << 2 | parts)].concat();
    table.extend((1..=ids).flat_map(|id| u128::from(id).to_be_bytes()));
    let ends = (0..ids).flat_map(|id| match id {
        0 => varint((NOW_MS - 10) << 2 | 1),
        1 => varint(zigzag(10) << 2 | 1),
        _ => varint(1),
    });
    let (vectors, events) = (ends.collect(), events.to_vec());
    Message { version: SYSTEM_VERSION << 3, table, vectors, events, ..Message::of(0, state) }
}

/// A part that says of ids where they were closed, each by the event of the author at a place: in the order of its stamp.
fn closings(of: &[(u128, u64, u64)]) -> Vec<u8> {
    let mut state = vec![4, (of.len() as u8) << 2];
    match of {
        [(_, _, event)] => state.extend(varint(event << 1)),
        _ => {
            // Runs of one number each.
            state.push(65);
            of.iter().for_each(|(_, _, event)| state.extend([vec![0], varint(event << 1)].concat()));
        }
    }
    of.iter().for_each(|(_, last, _)| state.extend(uint(*last)));
    of.iter().for_each(|(id, ..)| state.extend([&[0xC4, 16], &id.to_be_bytes()[..]].concat()));
    state
}

fn reader(id: u128, limits: Limits) -> Replica<Flag> {
    Replica::new(ReplicaId::from_u128(id), Config { limits, ..Config::default() })
}

fn closed(of: &[(u128, u64, u64)]) -> Message {
    message(2, 1, SYSTEM, &[1], &closings(of))
}

const EARLIER: u64 = (NOW_MS - 10) << 16;

#[test]
fn closings_that_cannot_be_true_are_refused() {
    let reader = reader(99, Limits::default());
    let read = |message: &Message| reader.decode(&message.bytes()).map(drop).map_err(why);
    assert_eq!(read(&closed(&[(1, EARLIER, 1)])), Ok(()));
    assert_eq!(read(&closed(&[(1, EARLIER - 1, 1)])), Ok(()), "it wrote on");
    for (what, message, expected) in [
        ("at zero", closed(&[(1, 0, 1)]), Why::Stamp),
        ("later than it is known to have written", closed(&[(1, EARLIER + 1, 1)]), Why::Stamp),
        ("at the event that closes it", closed(&[(2, EARLIER, 0)]), Why::Stamp),
        ("in the future", closed(&[(1, u64::MAX, 1)]), Why::Stamp),
        ("by itself", closed(&[(2, EARLIER, 1)]), Why::Stamp),
        ("of nobody", closed(&[(3, EARLIER, 1)]), Why::Stamp),
        ("twice", closed(&[(1, EARLIER, 1), (1, EARLIER - 1, 1)]), Why::Repeated("a key")),
        ("by an event that is not there", closed(&[(1, EARLIER, 2)]), Why::Stamp),
        ("nothing", message(2, 1, SYSTEM, &[1], &[0]), Why::Expected("what the cluster says of itself")),
        ("a field that there is not", message(2, 1, SYSTEM, &[1], &[16]), Why::UnknownField(4)),
    ] {
        assert_eq!(read(&message), Err(expected), "{what}");
    }
}

#[test]
fn what_the_cluster_says_of_itself_is_understood_whole_or_not_at_all() {
    let reader = reader(99, Limits::default());
    let id = [&[0xC4, 16][..], &1_u128.to_be_bytes()].concat();
    let row = |bitmap: u8, value: u8| [&[bitmap, 1 << 2, 1 << 1, value][..], &id].concat();
    let row_in_row = [&[8, 1 << 2, 1 << 2, 1 << 1, 0xC0][..], &id, &id].concat();
    // Nothing, in place of a number, a stamp, or who a member is.
    for (what, state) in [
        ("members", row(1, 0xC0)),
        ("the epoch", vec![2, 1 << 1, 0xC0]),
        ("closed ids", row(4, 0xC0)),
        ("forks", row_in_row),
    ] {
        let message = message(2, 1, SYSTEM, &[1], &state);
        assert_eq!(reader.decode(&message.bytes()).map(drop).map_err(why), Err(Why::Value), "{what}");
    }
}

#[test]
fn the_head_must_say_what_follows_and_why_it_is_there() {
    let reader = reader(99, Limits::default());
    let read = |message: &Message| reader.decode(&message.bytes()).map(drop).map_err(why);
    let part = closings(&[(1, EARLIER, 1)]);
    let (closed, events) =
        (Why::Expected("how many ids are closed"), Why::Expected("events, and what they are of"));
    // A flag that is on, by the second event.
    let state = [2];
    assert_eq!(read(&message(2, 0, SYSTEM, &[1], &part)), Ok(()));
    assert_eq!(read(&message(2, 0, SYSTEM | STATE, &[1], &[&part[..], &state].concat())), Ok(()));
    assert_eq!(read(&message(2, 2, STATE, &[1], &state)), Ok(()));
    assert_eq!(read(&message(2, 2, 0, &[0], &[])), Ok(()));
    for (message, expected) in [
        (message(2, 0, STATE, &[1], &state), closed.clone()),
        (message(2, 0, 0, &[0], &[]), closed.clone()),
        (message(2, 3, SYSTEM, &[1], &part), closed.clone()),
        (message(2, u64::MAX >> 2, SYSTEM, &[1], &part), closed),
        (message(2, 1, SYSTEM, &[0], &[]), events.clone()),
        (message(2, 1, STATE, &[0], &[]), events.clone()),
        (message(2, 1, 0, &[1], &part), events),
        (message(2, 1, SYSTEM, &[1], &[&part[..], &state].concat()), Why::Trailing),
        (message(2, 1, STATE, &[1], &[&state, &part[..]].concat()), Why::Trailing),
        (message(2, 1, SYSTEM | STATE, &[1], &part), Why::Truncated),
    ] {
        assert_eq!(read(&message), Err(expected), "{message:02x?}");
    }
}

#[test]
fn what_is_said_of_ourselves_and_of_the_future_is_refused_when_it_is_merged() {
    let message = closed(&[(1, EARLIER, 1)]).bytes();
    let mut us = reader(1, Limits::default());
    let refused = us.merge(NOW_MS, us.decode(&message).unwrap()).unwrap_err();
    assert!(matches!(refused, MergeError::NotIssued { .. }), "{refused}");
    let mut early = reader(99, Limits::default());
    let refused = early.merge(NOW_MS - 100_000, early.decode(&message).unwrap()).unwrap_err();
    assert!(matches!(refused, MergeError::TooFarAhead { .. }), "{refused}");
    for replica in [&us, &early] {
        assert!(replica.vector().is_empty());
    }
    // Of what we did issue it is a closing as any other; we can write on.
    let mut us = reader(1, Limits::default());
    us.write(NOW_MS - 10, |flag| flag.enable()).unwrap();
    us.merge(NOW_MS, us.decode(&message).unwrap()).unwrap();
    us.set_members([us.id()]);
    assert_eq!(us.vector().len(), 1);
    us.write(NOW_MS, |flag| flag.disable()).unwrap();
    assert_eq!(us.vector().len(), 2);
}

#[test]
fn ids_that_are_said_to_be_closed_and_are_not_count_as_replicas() {
    // The limit of who reads is one of ids that are not closed.
    let limited = reader(99, Limits { replicas: 1, ..Limits::default() });
    let part = closings(&[(1, EARLIER, 1)]);
    assert!(limited.decode(&message(2, 1, SYSTEM, &[1], &part).bytes()).is_ok());
    let refused = limited.decode(&message(2, 0, SYSTEM, &[1], &part).bytes()).map_err(why);
    assert_eq!(refused.err(), Some(Why::Limit("replicas")));
    // More than can be named again are not taken in on a peer's word.
    let most = Limits::MAX_REPLICAS as u16;
    let mut us = reader(1 << 64, Limits::default());
    let crowd = us.decode(&message(most + 1, 1, 0, &[0], &[]).bytes()).unwrap();
    let count = Limits::MAX_REPLICAS + 1;
    assert_eq!(us.merge(NOW_MS, crowd).unwrap_err(), MergeError::TooManyReplicas { count });
    let crowd = us.decode(&message(most + 1, 1, SYSTEM, &[1], &part).bytes()).unwrap();
    us.merge(NOW_MS, crowd).unwrap();
    assert_eq!(us.vector().len(), count);
    // All of it can be shipped.
    let mut other = reader(2 << 64, Limits::default());
    let bytes = us.delta_since(&other.vector()).encode().unwrap();
    other.merge(NOW_MS, other.decode(&bytes).unwrap()).unwrap();
    assert_eq!(other.vector(), us.vector());
}
