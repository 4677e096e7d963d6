//! Peers that may read, and nothing else.

use driftless::{
    Access, Config, Held, LinkState, MergeMap, Need, OrSet, Replica, ReplicaId, SyncConfig, SyncError,
    SyncEvent, Timestamp, VersionVector,
};

use crate::forge::{HELLO, Seal};
use crate::net::{BEAT, CLUSTER, DELAY_MS, DELTA, Fate, Net, id, member};

type Tags = MergeMap<u8, OrSet<u8>>;
/// The fields of a heartbeat, as they are written.
type Beat =
    (u64, u64, Option<VersionVector>, Option<Vec<(ReplicaId, VersionVector)>>, Option<Vec<ReplicaId>>, bool);

const POINTS: u8 = 7;
/// The reader.
const READER: usize = 2;

fn tag(net: &mut Net<Tags>, at: usize, key: u8, tag: u8) {
    net.write(at, |tags| tags.update(&key, |tags| tags.add(&tag)));
}

/// Two members that are connected, and a reader at the first of them.
fn observed() -> Net<Tags> {
    let mut net: Net<Tags> = Net::new(3, |_, _| {});
    net.connect(0, 1);
    net.run(2_000);
    tag(&mut net, 0, 1, 1);
    attach(&mut net);
    net.run(2_000);
    net
}

fn attach(net: &mut Net<Tags>) {
    attach_to(net, 0, READER);
}

/// Connects a reader.
fn attach_to(net: &mut Net<Tags>, to: usize, who: usize) {
    net.connect(to, who);
    let (clock, link) = (net.clock(to), net.link(to, who).0);
    net.ends[to].grant(clock, link, Access::Read);
}

fn is_said(net: &Net<Tags>, at: usize) -> usize {
    net.events[at].iter().filter(|event| matches!(event, SyncEvent::MayNotWrite { .. })).count()
}

#[test]
fn a_reader_is_sent_all_and_is_waited_for_by_nobody() {
    let mut net = observed();
    for number in 0..20 {
        tag(&mut net, number % 2, number as u8 % 3, number as u8);
        net.run(300);
    }
    assert!(net.agree(&[0, 1, READER]));
    assert_eq!(net.ends[0].members().len(), 2);
    assert_eq!(net.ends[0].peers().iter().filter(|peer| peer.state == LinkState::Open).count(), 2);
    assert!(net.ends[0].peers().iter().all(|peer| (peer.behind, peer.bytes_under_way) == (0, 0)));
    assert!(net.events[0].iter().all(|event| !matches!(event, SyncEvent::JoinRequest { .. })));
    // While it is away all is removed and forgotten; it is sent what is left, whole.
    net.isolate(READER);
    for key in 0..3 {
        net.write(0, |tags| tags.remove(&key));
    }
    net.run(5_000);
    assert!(net.ends[0].blocking().is_empty());
    assert_eq!(net.ends[0].replica().state().iter().count(), 0);
    attach(&mut net);
    net.run(5_000);
    assert!(net.agree(&[0, 1, READER]));
    assert_eq!(net.ends[READER].replica().state().iter().count(), 0);
}

#[test]
fn what_a_reader_writes_is_not_taken_and_that_is_said_once() {
    let mut net = observed();
    for number in 0..5 {
        tag(&mut net, READER, 7, number);
        net.run(3_000);
    }
    tag(&mut net, 1, 8, 8);
    net.run(2_000);
    assert!(net.agree(&[0, 1]));
    for at in [0, 1] {
        let state = net.ends[at].replica().state();
        assert!(state.get(&7).is_none() && state.get(&8).is_some());
        assert_eq!(net.ends[at].replica().vector().get(&id(READER)), Timestamp::ZERO);
    }
    assert!(net.ends[READER].replica().state().get(&8).is_some(), "it still reads");
    assert_eq!(is_said(&net, 0), 1);
    // Once it may, all that it wrote is there.
    let (clock, link) = (net.clock(0), net.link(0, READER).0);
    net.ends[0].grant(clock, link, Access::ReadWrite);
    net.pump(0);
    net.run(8 * DELAY_MS);
    assert!(net.is_converged(), "they greet each other anew, at once");
    assert_eq!(net.ends[1].replica().state().get(&7).map(OrSet::len), Some(5));
}

#[test]
fn what_a_peer_may_do_is_granted_once_and_to_whom_it_was_refused_too() {
    let mut net = observed();
    let (link, hellos) = (net.link(0, READER).0, net.logged(HELLO, 0, READER));
    let grant = |net: &mut Net<Tags>, access| {
        let clock = net.clock(0);
        net.ends[0].grant(clock, link, access);
        net.pump(0);
        net.run(1_000);
    };
    grant(&mut net, Access::Read);
    assert_eq!(net.logged(HELLO, 0, READER), hellos, "it may read already");
    grant(&mut net, Access::ReadWrite);
    assert_eq!(net.ends[0].members().len(), 3);
    // As a member it may not be one that only reads.
    net.fate = Box::new(|from, _, _| if from == READER { Fate::Lost } else { Fate::Arrives });
    grant(&mut net, Access::Read);
    let hello = net.log.iter().rfind(|(from, _, bytes)| (*from, bytes[0]) == (READER, HELLO));
    let hello = hello.expect("it greets again").2.clone();
    assert_eq!(net.deliver(READER, 0, &hello), Err(SyncError::Impostor { id: id(READER) }));
    // It is told so, and is silent from then on.
    net.run(100);
    net.fate = Box::new(|_, _, _| Fate::Arrives);
    tag(&mut net, READER, 9, 9);
    net.run(5_000);
    let states = |net: &Net<Tags>| net.ends[0].peers().into_iter().map(|peer| peer.state).collect::<Vec<_>>();
    assert_eq!(states(&net), [LinkState::Open, LinkState::Refused]);
    grant(&mut net, Access::ReadWrite);
    assert_eq!(states(&net), [LinkState::Open, LinkState::Open]);
    assert!(net.is_converged());
}

#[test]
fn the_word_of_a_reader_is_worth_nothing() {
    let mut net = observed();
    net.isolate(1);
    net.write(0, |tags| tags.remove(&1));
    net.run(3_000);
    let (vector, blocking) = (net.ends[0].replica().vector(), net.ends[0].blocking());
    assert_eq!(blocking.len(), 1, "the other member has not seen it");
    // A heartbeat that says that the other member has seen all, that we wrote what we did not, and points and prints of that.
    let seal = Seal::of_link(net.link(0, READER).1);
    let far = Timestamp::from_bits(vector.get(&id(0)).bits() + 7);
    let lie: VersionVector = [(id(0), far), (id(READER), far)].into_iter().collect();
    let told = net.ends[READER].replica().vector();
    for news in [told.clone(), lie.clone()] {
        let table = vec![(id(1), VersionVector::new()), (id(0), lie.clone())];
        let clock = net.clock(0);
        let beat: Beat = (clock, hash(&news), Some(news), Some(table), None, true);
        let beat = seal.frame(BEAT, &rmp_serde::to_vec(&beat).expect("it can be written"));
        net.deliver(READER, 0, &beat).expect("it is well formed");
        let points = (id(0), vec![far], true);
        let points = seal.frame(POINTS, &rmp_serde::to_vec(&points).expect("it can be written"));
        net.deliver(READER, 0, &points).expect("it is well formed");
    }
    net.run(3_000);
    assert_eq!(net.ends[0].blocking(), blocking);
    assert!(net.events[0].iter().all(|event| !matches!(event, SyncEvent::IdInDoubt { .. })));
    net.write(0, |tags| tags.remove(&2));
    net.connect(0, 1);
    net.run(5_000);
    assert!(net.agree(&[0, 1]));
}

#[test]
fn a_reader_that_goes_by_the_name_of_a_member_is_refused() {
    for (number, own) in [(1, id(9)), (9, id(1)), (0, id(9)), (9, id(0))] {
        let mut net = observed();
        net.isolate(READER);
        net.isolate(1);
        let replica = Replica::new(own, Config::default());
        let config = SyncConfig::new(CLUSTER, member(number), "elsewhere");
        net.ends[READER] = driftless::Endpoint::new(replica, config);
        net.log.clear();
        net.fate = Box::new(|_, _, _| Fate::Lost);
        attach(&mut net);
        let hello = net.log.iter().find(|(from, _, _)| *from == READER).expect("it greets").2.clone();
        let refused = net.deliver(READER, 0, &hello).expect_err("it is somebody else");
        assert_eq!(refused, SyncError::Impostor { id: own }, "{number}");
    }
}

#[test]
fn a_reader_that_goes_by_the_name_of_one_that_is_no_member_is_refused() {
    // As the endpoint itself, which is none; as one that was, and as the replica that it wrote under.
    for (number, own, is_founded) in [(0, id(9), false), (9, id(0), false), (9, id(1), true)] {
        let mut net: Net<Tags> = Net::new(3, |_, _| {});
        if is_founded {
            net.connect(0, 1);
            tag(&mut net, 1, 1, 1);
            net.run(2_000);
            net.isolate(1);
            net.evict(&[0], 1);
            net.run(2_000);
        }
        let config = SyncConfig::new(CLUSTER, member(number), "elsewhere");
        net.ends[READER] = driftless::Endpoint::new(Replica::new(own, Config::default()), config);
        net.fate = Box::new(|_, _, _| Fate::Lost);
        attach(&mut net);
        let hello = net.log.iter().find(|(from, _, _)| *from == READER).expect("it greets").2.clone();
        let refused = net.deliver(READER, 0, &hello);
        assert_eq!(refused, Err(SyncError::Impostor { id: own }), "{number} {own}");
    }
}

#[test]
fn of_commits_of_which_a_reader_did_not_ask_whether_they_are_ours_it_is_told_nothing() {
    let mut net = observed();
    // It has not acknowledged something, and so it may be that it takes us for a copy.
    net.fate = Box::new(|from, to, _| if (from, to) == (1, 0) { Fate::Arrives } else { Fate::Lost });
    tag(&mut net, 0, 7, 7);
    let ours = net.ends[0].replica().clock().last();
    let far = Timestamp::from_bits(ours.bits() + 7);
    let seal = Seal::of_link(net.link(0, READER).1);
    let mut answers = |of: ReplicaId, points: &[Timestamp], is_all: bool| {
        net.log.clear();
        let told = rmp_serde::to_vec(&(of, points, is_all)).expect("it can be written");
        net.deliver(READER, 0, &seal.frame(POINTS, &told)).expect("it is well formed");
        net.logged(POINTS, 0, READER)
    };
    assert_eq!(answers(id(0), &[ours], true), 1);
    assert_eq!(answers(id(0), &[ours], false), 0, "others may be of another copy");
    assert_eq!(answers(id(0), &[ours, far], true), 0, "not all of them are ours");
    assert_eq!(answers(id(1), &[ours], true), 0, "they are of someone else");
    assert_eq!(answers(id(1), &[far], true), 0);
}

fn hash(vector: &VersionVector) -> u64 {
    let bytes: Vec<u8> = vector
        .iter()
        .flat_map(|(id, stamp)| [&id.uuid().as_bytes()[..], &stamp.bits().to_be_bytes()].concat())
        .collect();
    xxhash_rust::xxh3::xxh3_64(&bytes)
}

/// The third one heard of some commits of the first from the second, which was restarted in between and so knows of the last one
/// alone. Then the first one forgot something that the third has not seen, and so has to send it all.
fn gappy(is_reader: bool, is_restarted: bool) -> Net<Tags> {
    let mut net: Net<Tags> = Net::new(3, |_, _| {});
    let link =
        |net: &mut Net<Tags>, at: usize| if is_reader { attach_to(net, at, 2) } else { net.connect(at, 2) };
    net.connect(0, 1);
    net.run(3_000);
    link(&mut net, 0);
    link(&mut net, 1);
    net.run(3_000);
    tag(&mut net, 0, 1, 1);
    net.run(3_000);
    assert!(net.is_converged());
    net.isolate(2);
    for number in 2..6 {
        tag(&mut net, 0, number, number);
        net.run(50);
    }
    net.run(3_000);
    if is_restarted {
        let image = net.image(1);
        net.restart(1, &image);
    }
    net.cut(0, 1);
    link(&mut net, 1);
    net.run(5_000);
    assert!(net.agree(&[1, 2]));
    net.isolate(2);
    net.connect(0, 1);
    net.run(3_000);
    if !is_reader {
        net.evict(&[0], 2);
        net.run(3_000);
    }
    net.write(0, |tags| tags.remove(&1));
    net.run(5_000);
    tag(&mut net, 0, 9, 9);
    net.run(5_000);
    assert!(net.ends[0].blocking().is_empty());
    link(&mut net, 0);
    net.log.clear();
    net.run(300_000);
    net
}

#[test]
fn who_was_not_told_of_all_commits_is_not_kept_waiting_for_ever() {
    for (is_reader, is_restarted) in [(false, false), (false, true), (true, false), (true, true)] {
        let net = gappy(is_reader, is_restarted);
        assert!(net.agree(&[0, 2]), "{is_reader} {is_restarted}");
    }
}

#[test]
fn who_reads_under_an_id_that_a_member_takes_is_refused_and_counts_for_nothing() {
    // The reader has the id of one whom nobody knows yet, and who joins elsewhere.
    let mut net: Net<Tags> = Net::new(2, |_, _| {});
    for _ in 0..2 {
        let config = SyncConfig::new(CLUSTER, member(3), "late");
        net.add(driftless::Endpoint::new(Replica::new(id(3), Config::default()), config));
    }
    net.connect(0, 1);
    net.run(2_000);
    attach(&mut net);
    net.run(2_000);
    net.connect(1, 3);
    net.run(2_000);
    assert_eq!(net.ends[0].members().len(), 3);
    net.isolate(3);
    net.events[0].clear();
    let clock = net.clock(0);
    let written = net.ends[0].write(clock, |tags| tags.update(&1, |tags| tags.add(&1))).expect("it is legal");
    let stamp = written.stamp.expect("it is news");
    net.ends[0].confirm(clock, stamp, Need::Members(3), Held::Durable, clock + 10_000);
    net.pump(0);
    net.run(12_000);
    let is_confirmed = net.events[0].iter().any(|event| matches!(event, SyncEvent::Confirmed { .. }));
    assert!(!is_confirmed, "the member does not hold it");
    let refused = net.ends[0].peers().iter().filter(|peer| peer.state == LinkState::Refused).count();
    assert_eq!(refused, 1);
}

#[test]
fn nobody_relies_on_a_reader_to_send_what_it_wrote() {
    // It reads at the first, and is a member by the second.
    let mut net: Net<Tags> = Net::new(3, |_, _| {});
    net.connect(0, 1);
    net.run(2_000);
    attach(&mut net);
    net.run(2_000);
    net.connect(1, READER);
    net.run(5_000);
    for number in 0..3 {
        tag(&mut net, READER, 1, number);
        net.run(4 * DELAY_MS);
        assert!(net.agree(&[0, 1, READER]), "{number}: the second passes it on at once");
        net.run(5_000);
    }
}

#[test]
fn what_is_under_way_to_a_reader_is_not_kept_when_it_goes() {
    let mut net: Net<Tags> = Net::new(1, |_, config| config.chunk_bytes = 256);
    let clock = net.clock(0);
    net.ends[0].found(clock).expect("it is legal");
    for key in 0..100 {
        tag(&mut net, 0, key, 1);
    }
    for number in 0..30 {
        let config = SyncConfig::new(CLUSTER, member(100 + number), "far away");
        let at = net.add(driftless::Endpoint::new(Replica::new(id(100 + number), Config::default()), config));
        net.fate =
            Box::new(|from, _, bytes| if from != 0 && bytes[0] != 1 { Fate::Lost } else { Fate::Arrives });
        attach_to(&mut net, 0, at);
        net.run(100);
        assert!(net.logged(DELTA, 0, at) > 1);
        net.isolate(at);
    }
    assert_eq!(format!("{:?}", net.ends[0]).matches("Transfer {").count(), 0);
}
