//! Peers that say what is not so, in frames whose checks are right.

use driftless::{Config, Counter, Held, MergeMap, Need, SyncError, SyncEvent};

use crate::forge::{HEAD, HELLO, Seal, varint};
use crate::net::{BEAT, DELTA, Fate, GAP, Net, id};

type Counts = MergeMap<u8, Counter>;

const ACK: u8 = 3;
const AUDIT: u8 = 9;

fn add(net: &mut Net<Counts>, at: usize, key: u8) {
    net.write(at, |counts| counts.update(&key, |count| count.add(1)).expect("it is little"));
}

/// Two over the first link of the bench, with frames of many kinds in the log.
fn pair() -> (Net<Counts>, Seal) {
    let replicas = Config { hash_seed: Some(7), ..Config::default() };
    let mut net: Net<Counts> = Net::with(2, &replicas, |_, config| config.audit_ms = 500);
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

/// The newest frame of a kind from one to another.
fn newest(net: &Net<Counts>, kind: u8, from: usize, to: usize) -> Option<Vec<u8>> {
    let frames = net.log.iter().rev().filter(|frame| (frame.0, frame.1, frame.2[0]) == (from, to, kind));
    frames.map(|(.., bytes)| bytes.clone()).next()
}

/// Lets bytes arrive, at most so costly as their length allows, and looks whether an error is that of broken bytes or of a
/// message.
fn suffer(net: &mut Net<Counts>, frame: &[u8]) -> bool {
    let (mut received, clock, link) = (Ok(()), net.clock(1), net.ends[1].peers()[0].link);
    let spent = allocation_counter::measure(|| received = net.ends[1].receive(clock, link, frame));
    // Each byte of a message may stand for three rows of the state, which are held then.
    let multiple = if frame[0] == DELTA { 4_096 } else { 64 };
    let allowed = 32 * 1024 + multiple * frame.len() as u64;
    assert!(spent.bytes_max <= allowed, "{} bytes for {frame:?}: {received:?}", spent.bytes_max);
    net.pump(1);
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
fn b58_lengths_that_are_cut_oversized_or_overflow_are_refused_at_no_cost() {
    for kind in [HELLO, DELTA, ACK, GAP, BEAT, AUDIT] {
        let (mut net, seal) = pair();
        let frame = newest(&net, kind, 0, 1).expect("there is one of each kind");
        let body = &frame[HEAD..];
        assert_eq!(seal.frame(kind, body), frame, "the seal is right");
        let (mut taken, mut refused) = (0, 0);
        let mut arrives = |body: &[u8]| {
            let is_taken = suffer(&mut net, &seal.frame(kind, body));
            *if is_taken { &mut taken } else { &mut refused } += 1;
            is_taken
        };
        for place in 0..body.len() {
            // What is cut of a delta may be commit points, or a message that is not read yet.
            assert!(!arrives(&body[..place]) || kind == DELTA, "{kind} cut at {place} of {}", body.len());
        }
        // One byte as the head of each kind of length that MessagePack has, and as numbers at their extremes.
        for place in (0..body.len()).take(400) {
            for byte in [0, 0x7F, 0x80, 0x8F, 0x9F, 0xBF, 0xC0, 0xC6, 0xCF, 0xDB, 0xDD, 0xDF, 0xFF] {
                let mut changed = body.to_vec();
                changed[place] = byte;
                arrives(&changed);
            }
        }
        for place in (0..body.len()).take(200) {
            for length in [
                [0xDD, 0xFF, 0xFF, 0xFF, 0xFF],
                [0xC6, 0xFF, 0xFF, 0xFF, 0xFF],
                [0xDF, 0x7F, 0xFF, 0xFF, 0xFF],
                [0xFF; 5],
            ] {
                arrives(&[&body[..place], &length, &body[place..]].concat());
            }
        }
        assert!(refused > 2 * body.len() && taken > 0, "{kind}: {refused} {taken}");
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

/// Answers are longer than questions: who sends questions alone does not fill the memory.
#[test]
fn b58_who_asks_again_and_again_and_takes_no_answer_is_owed_few() {
    let (mut net, seal) = pair();
    let asks = seal.frame(6, &[&[0xC4, 16][..], id(0).uuid().as_bytes()].concat());
    let clock = net.clock(1);
    let link = net.ends[1].peers()[0].link;
    let mut ask = || net.ends[1].receive(clock, link, &asks).expect("an honest one may ask, too");
    ask();
    let spent = allocation_counter::measure(|| (0..10_000).for_each(|_| ask()));
    assert!(spent.bytes_max < 64 * 1024, "{} bytes", spent.bytes_max);
}

/// The body of a frame that says of every replica that all of its events are held, whenever it writes them. `None` if it does
/// not name both.
fn everything(frame: &[u8]) -> Option<Vec<u8>> {
    let mut body = frame[HEAD..].to_vec();
    // An entry of a vector: a pair, 16 bytes of an id, and a stamp of eight.
    let entries: Vec<usize> = (0..body.len().saturating_sub(28))
        .filter(|at| body[*at..].starts_with(&[0x92, 0xC4, 16]) && body[at + 19] == 0xCF)
        .collect();
    let are_both = entries.len() > 1;
    entries.into_iter().for_each(|at| body[at + 20..at + 28].fill(0xFF));
    are_both.then_some(body)
}

/// Who says that it holds what nobody has written is not counted among those that hold a write.
#[test]
fn b63_a_peer_that_claims_to_hold_everything_is_not_believed() {
    for (kind, victim) in [HELLO, GAP, BEAT].into_iter().flat_map(|kind| [(kind, 0), (kind, 1)]) {
        let liar = 1 - victim;
        let (mut net, seal) = pair();
        net.fate = Box::new(move |from, _, _| if from == victim { Fate::Lost } else { Fate::Arrives });
        if kind == HELLO {
            net.cut(0, 1);
            net.fate = Box::new(|_, _, _| Fate::Lost);
        }
        add(&mut net, victim, 7);
        let clock = net.clock(victim);
        let stamp = net.ends[victim].replica().clock().last();
        net.ends[victim].confirm(clock, stamp, Need::Members(2), Held::Applied, clock + 1_000_000);
        if kind == HELLO {
            net.connect(0, 1);
        }
        let frames =
            net.log.iter().rev().filter(|frame| (frame.0, frame.1, frame.2[0]) == (liar, victim, kind));
        let claims = frames.filter_map(|(.., bytes)| everything(bytes)).next().expect("there is one");
        net.events[victim].clear();
        net.deliver(liar, victim, &seal.frame(kind, &claims)).expect("it may be an honest one's");
        net.run(100);
        let confirmed = |net: &Net<Counts>| {
            net.events[victim].iter().any(|event| matches!(event, SyncEvent::Confirmed { .. }))
        };
        assert!(!confirmed(&net), "by a frame of kind {kind} to {victim}");
        // The victim takes it for a sign that its id is used twice. No write is lost by that.
        net.fate = Box::new(|_, _, _| Fate::Arrives);
        net.run(5_000);
        assert!(!confirmed(&net), "by a frame of kind {kind} to {victim}");
        let is_doubt = |event: &SyncEvent| matches!(event, SyncEvent::IdInDoubt { .. });
        assert!(net.events[victim].iter().any(is_doubt), "by a frame of kind {kind} to {victim}");
        let clock = net.clock(victim);
        net.ends[victim].reidentify(clock, id(70)).expect("it is fresh");
        net.pump(victim);
        net.run(10_000);
        assert!(confirmed(&net) && net.is_converged(), "after a frame of kind {kind} to {victim}");
    }
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
