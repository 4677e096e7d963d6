//! Peers that say what is not so, in frames whose checks are right.

use driftless::{Counter, MergeMap, SyncError};

use crate::forge::{HEAD, HELLO, Seal, varint};
use crate::net::{DELTA, Fate, GAP, Net, id};

type Counts = MergeMap<u8, Counter>;

const ACK: u8 = 3;
const AUDIT: u8 = 9;

fn add(net: &mut Net<Counts>, at: usize, key: u8) {
    net.write(at, |counts| counts.update(&key, |count| count.add(1)).expect("it is little"));
}

/// Two over the first link of the bench, with frames of many kinds in the log.
fn pair() -> (Net<Counts>, Seal) {
    let mut net: Net<Counts> = Net::new(2, |_, config| config.audit_ms = 500);
    let mut numbers = [0; 2];
    net.fate = Box::new(move |from, _, bytes| {
        numbers[from] += u32::from(bytes[0] == DELTA);
        // So that there is a gap on either side.
        if bytes[0] == DELTA && numbers[from] == 3 { Fate::Lost } else { Fate::Arrives }
    });
    for key in 0..5 {
        add(&mut net, 0, key);
        add(&mut net, 1, key);
    }
    net.connect(0, 1);
    for key in 0..10 {
        net.run(100);
        add(&mut net, usize::from(key % 2), key);
    }
    net.run(5_000);
    assert!(net.is_converged());
    (net, Seal::of_link(0))
}

/// Lets bytes arrive, at most so costly as their length allows, and looks whether an error is that of broken bytes or of a
/// message.
fn suffer(net: &mut Net<Counts>, frame: &[u8]) -> bool {
    let mut received = Ok(());
    let spent = allocation_counter::measure(|| received = net.deliver(0, 1, frame));
    let allowed = 64 * 1024 + 512 * frame.len() as u64;
    assert!(spent.bytes_max <= allowed, "{} bytes for {} of {:?}", spent.bytes_max, frame.len(), &frame[..5]);
    match received {
        Ok(()) => true,
        Err(SyncError::Broken { .. } | SyncError::Merge(_)) => false,
        Err(
            SyncError::OtherCluster
            | SyncError::Schema
            | SyncError::Version { .. }
            | SyncError::Itself { .. },
        ) => {
            assert_eq!(frame[0], HELLO);
            false
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn b57_a_few_bytes_cannot_stand_for_very_many_commits_and_may_stand_for_a_thousand() {
    let (mut net, seal) = pair();
    // Commit points of one replica: as many as it says, in a run.
    for count in [1_025, 1 << 20, 1 << 50, u64::MAX] {
        for column in [vec![0; 8], vec![1, 0, 1, 0], vec![0xFF; 12]] {
            let parts = [
                varint(1),
                varint(0),
                varint(0),
                varint(1),
                id(0).uuid().as_bytes().to_vec(),
                varint(count),
                column,
            ];
            assert!(!suffer(&mut net, &seal.frame(DELTA, &parts.concat())), "{count}");
        }
    }
    // Of very many replicas.
    let parts = [varint(1), varint(0), varint(0), varint(1 << 50)];
    assert!(!suffer(&mut net, &seal.frame(DELTA, &parts.concat())));
    // An honest peer's thousand commits in a row take few bytes.
    net.log.clear();
    let clock = net.clock(0);
    for key in 0..1_000_u16 {
        let write = net.ends[0].write(clock, |counts| {
            counts.update(&((key % 3) as u8), |count| count.add(1)).expect("it is little")
        });
        write.expect("it is legal");
    }
    net.pump(0);
    net.run(1_000);
    let sizes: Vec<usize> = net
        .log
        .iter()
        .filter(|(from, _, bytes)| (*from, bytes[0]) == (0, DELTA))
        .map(|(.., bytes)| bytes.len())
        .collect();
    assert!(net.is_converged());
    assert!(sizes.len() == 1 && sizes[0] < 400, "{sizes:?}");
}

#[test]
fn b60_numbers_at_their_extremes_and_ranges_that_are_reversed_wrap_nothing() {
    let (mut net, seal) = pair();
    let delta = net
        .log
        .iter()
        .rev()
        .find(|(_, to, bytes)| (*to, bytes[0]) == (1, DELTA))
        .expect("there is one")
        .2
        .clone();
    // The head of a delta: its number, chunk and rows, which are single bytes here, and no commit points.
    let head = delta[HEAD..].windows(2).position(|bytes| bytes == b"\x00\x00").expect("no chunk, no rows");
    let message = delta[HEAD + head + 3..].to_vec();
    for number in [0, 1, u64::from(u32::MAX), 1 << 63, u64::MAX] {
        for is_merged in [0, 1] {
            suffer(&mut net, &seal.frame(ACK, &[varint(number), vec![is_merged]].concat()));
        }
        for chunk in [0, u64::MAX] {
            for rows in [0, u64::MAX] {
                let head = [varint(number), varint(chunk), varint(rows), varint(0)].concat();
                suffer(&mut net, &seal.frame(DELTA, &[head, message.clone()].concat()));
            }
        }
    }
    // What is gathered of a transfer, at its extremes: the frame ends with that, which is nothing in an honest one here.
    let gap = net.log.iter().find(|(_, _, bytes)| bytes[0] == GAP).expect("one delta was lost").2.clone();
    let (body, last) = gap[HEAD..].split_at(gap.len() - HEAD - 1);
    assert_eq!(last, [0xC0]);
    for next in [0, 1, u64::MAX] {
        for hash in [0, u64::MAX] {
            let gathered = [&[0x92, 0xCF][..], &next.to_be_bytes(), &[0xCF], &hash.to_be_bytes()].concat();
            suffer(&mut net, &seal.frame(GAP, &[body, &gathered].concat()));
        }
    }
    // Both go on.
    add(&mut net, 0, 100);
    add(&mut net, 1, 101);
    net.run(200_000);
    assert!(net.is_converged());
}

/// A comparison by no fingerprints at all does not end well.
#[test]
fn b63_no_fingerprints_are_not_equal_fingerprints() {
    let (mut net, seal) = pair();
    let prints = net
        .log
        .iter()
        .rev()
        .find(|(_, to, bytes)| (*to, bytes[0]) == (1, AUDIT))
        .expect("there was an audit")
        .2
        .clone();
    let body = &prints[HEAD..];
    let sums = body.windows(3).position(|bytes| bytes == b"\xDC\x01\x00").expect("256 of them");
    let audits = net.logged(AUDIT, 1, 0);
    suffer(&mut net, &seal.frame(AUDIT, &[&body[..sums], &[0x90]].concat()));
    assert_eq!(net.logged(AUDIT, 1, 0), audits + 1, "what differs is looked into");
}
