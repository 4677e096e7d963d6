//! Peers that may read, and nothing else.

use driftless::{
    Access, Config, LinkState, MergeMap, OrSet, Replica, ReplicaId, SyncConfig, SyncError, SyncEvent,
    Timestamp, VersionVector,
};

use crate::forge::Seal;
use crate::net::{BEAT, CLUSTER, Fate, Net, id, member};

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
    net.connect(0, READER);
    let clock = net.clock(0);
    let link = net.link(0, READER).0;
    net.ends[0].grant(clock, link, Access::Read);
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
    net.run(200_000);
    assert!(net.is_converged());
    assert_eq!(net.ends[1].replica().state().get(&7).map(OrSet::len), Some(5));
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

fn hash(vector: &VersionVector) -> u64 {
    let bytes: Vec<u8> = vector
        .iter()
        .flat_map(|(id, stamp)| [&id.uuid().as_bytes()[..], &stamp.bits().to_be_bytes()].concat())
        .collect();
    xxhash_rust::xxh3::xxh3_64(&bytes)
}
