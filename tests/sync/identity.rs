//! One id that is used twice, and how both copies go on.

use driftless::{
    Config, Counter, Endpoint, LwwRegister, MergeMap, OrSet, Replica, ReplicaId, SyncConfig, SyncEvent,
    Timestamp,
};

use crate::net::{CLUSTER, Net, id, member};

#[derive(driftless::Crdt)]
struct Account {
    owner: LwwRegister<String>,
    visits: Counter,
    tags: OrSet<u8>,
}

type Accounts = MergeMap<u8, Account>;

const FRESH: ReplicaId = ReplicaId::from_u128(0xf5e5);

fn visit(net: &mut Net<Accounts>, at: usize, key: u8, owner: &str, tag: u8) {
    net.write(at, |accounts| {
        accounts.update(&key, |account| {
            account.owner().set(owner.to_owned());
            account.visits().add(1).expect("it is few");
            account.tags().add(&tag);
        });
    });
}

/// Answers what an endpoint asks for once its id is in doubt.
fn answer(net: &mut Net<Accounts>, at: usize, fresh: ReplicaId) -> bool {
    let is_asked = net.events[at].iter().any(|event| matches!(event, SyncEvent::IdInDoubt { .. }));
    if is_asked {
        let clock = net.clock(at);
        net.ends[at].reidentify(clock, fresh).expect("the id is fresh");
        net.events[at].clear();
        net.pump(at);
    }
    is_asked
}

/// Endpoint 0 and its clone, endpoint 2, made by the same writes; endpoint 1 is a peer. `before` of the writes before the clone
/// was made had reached the peer.
fn cloned(before: u8, unsent: u8) -> Net<Accounts> {
    let mut net: Net<Accounts> = Net::new(2, |_, _| {});
    let clone = Endpoint::new(
        Replica::new(id(0), Config::default()),
        SyncConfig::new(CLUSTER, member(0), "region-0"),
    );
    let clone = net.add(clone);
    // The copies write nothing of themselves: the peer is the first member, and lets them in.
    net.ends[1].found(net.now_ms).expect("it is legal");
    for number in 0..before {
        visit(&mut net, 0, number % 3, "before", number);
        visit(&mut net, clone, number % 3, "before", number);
    }
    net.connect(0, 1);
    net.run(3_000);
    net.cut(0, 1);
    for number in 0..unsent {
        visit(&mut net, 0, number % 3, "unsent", 100 + number);
        visit(&mut net, clone, number % 3, "unsent", 100 + number);
        net.run(1);
    }
    net
}

fn visits(net: &Net<Accounts>, at: usize) -> i64 {
    net.ends[at].replica().state().iter().map(|(_, account)| account.visits.value()).sum()
}

#[test]
fn t22_b38_a_clone_is_found_out_at_the_first_contact_of_either_and_nothing_is_lost_or_doubled() {
    for (before, unsent) in [(0, 0), (4, 0), (0, 3), (5, 4)] {
        for first in [0, 2] {
            let second = 2 - first;
            let mut net = cloned(before, unsent);
            let (before, unsent) = (i64::from(before), i64::from(unsent));
            // From here on the two go their own ways. Whoever writes later has the higher stamps.
            for number in 0..3 {
                visit(&mut net, 0, number, "original", 200 + number);
                net.run(3);
            }
            for number in 0..2 {
                visit(&mut net, 2, number, "copy", 210 + number);
                net.run(3);
            }
            net.connect(first, 1);
            net.run(3_000);
            assert!(!answer(&mut net, first, FRESH), "nothing shows it yet");
            net.connect(second, 1);
            net.run(3_000);
            assert!(answer(&mut net, second, FRESH), "{before} {unsent} {first}");
            net.run(5_000);
            // The other one may have heard of it meanwhile.
            answer(&mut net, first, ReplicaId::from_u128(0xf5e6));
            net.run(5_000);
            assert!(net.is_converged(), "{before} {unsent} {first}");
            assert_eq!(visits(&net, 1), before + unsent + 5, "{before} {unsent} {first}");
            let state = net.ends[1].replica().state();
            let tags: usize = state.iter().map(|(_, account)| account.tags.len()).sum();
            assert_eq!(tags as i64, before + unsent + 5);
            assert_eq!(
                state.get(&0).and_then(|account| account.owner.latest()).map(String::as_str),
                Some("copy")
            );
            assert_eq!(
                state.get(&2).and_then(|account| account.owner.latest()).map(String::as_str),
                Some("original")
            );
        }
    }
}

#[test]
fn two_copies_that_meet_find_each_other_out() {
    let mut net = cloned(3, 2);
    visit(&mut net, 0, 7, "original", 1);
    net.run(5);
    visit(&mut net, 2, 7, "copy", 2);
    net.connect(0, 2);
    net.run(3_000);
    // One of the two goes on as another; then the other one is alone with the id.
    assert!(answer(&mut net, 2, FRESH));
    net.connect(0, 1);
    net.connect(2, 1);
    net.run(3_000);
    if answer(&mut net, 0, ReplicaId::from_u128(0xf5e6)) {
        net.run(5_000);
    }
    net.run(5_000);
    assert!(net.is_converged());
    assert_eq!(visits(&net, 1), 7);
}

#[test]
fn while_its_id_is_in_doubt_nothing_is_written() {
    let mut net = cloned(2, 0);
    visit(&mut net, 0, 1, "original", 1);
    net.run(5);
    visit(&mut net, 2, 1, "copy", 1);
    net.connect(0, 1);
    net.run(2_000);
    net.connect(2, 1);
    net.run(2_000);
    let clock = net.clock(2);
    assert!(net.ends[2].write(clock, |accounts| accounts.remove(&1)).is_err());
    assert!(answer(&mut net, 2, FRESH));
    let clock = net.clock(2);
    assert!(net.ends[2].write(clock, |accounts| accounts.remove(&1)).is_ok());
}

#[test]
fn t32_a_region_whose_clock_ran_ahead_issues_its_writes_again_with_true_times() {
    let mut net: Net<Accounts> = Net::new(2, |_, _| {});
    net.mesh();
    net.run(2_000);
    visit(&mut net, 0, 1, "in time", 1);
    net.run(1_000);
    net.skew_ms[0] = 86_400_000;
    for tag in 0..4 {
        visit(&mut net, 0, 1, "ahead", 10 + tag);
        net.run(100);
    }
    net.run(3_000);
    assert_eq!(visits(&net, 1), 1);
    net.skew_ms[0] = 0;
    net.run(10_000);
    assert_eq!(visits(&net, 1), 1, "its stamps are of the future still");
    let clock = net.clock(0);
    let reissued = net.ends[0].reissue_ahead(clock, FRESH).expect("the id is fresh");
    assert_eq!(reissued.commits, 4);
    net.pump(0);
    net.run(5_000);
    assert!(net.is_converged());
    assert_eq!(visits(&net, 1), 5);
    let newest = net.ends[1].replica().vector().newest();
    assert!(newest < Timestamp::new(net.now_ms + 1_000, 0).expect("it is a time"));
    visit(&mut net, 1, 1, "later", 20);
    net.run(1_000);
    let state = net.ends[0].replica().state();
    assert_eq!(state.get(&1).and_then(|account| account.owner.latest()).map(String::as_str), Some("later"));
}

#[test]
fn a_token_of_a_write_that_was_issued_again_is_reached_where_the_write_is_and_nowhere_before() {
    let mut net = cloned(2, 0);
    let clock = net.clock(2);
    visit(&mut net, 0, 1, "original", 1);
    net.run(5);
    visit(&mut net, 2, 1, "copy", 1);
    let token = net.ends[2].token(net.ends[2].replica().clock().last());
    net.run(5);
    visit(&mut net, 0, 1, "original", 2);
    net.connect(0, 1);
    net.run(2_000);
    net.connect(2, 1);
    net.run(2_000);
    assert!(net.clock(2) > clock && answer(&mut net, 2, FRESH));
    answer(&mut net, 0, ReplicaId::from_u128(0xf5e6));
    net.cut(2, 1);
    // The peer holds later stamps of the id, those of the other copy.
    net.connect(2, 1);
    net.run(5_000);
    assert!(net.is_converged());
    assert_eq!(net.ends[1].reached(&token), Ok(()));
    assert!(token.vector().get(&id(0)) <= net.ends[1].replica().vector().get(&FRESH));
}
