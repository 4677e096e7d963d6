//! One id that is used twice, and how both copies go on.

use driftless::{
    Access, Admission, Config, Counter, Crdt, Endpoint, Held, LwwRegister, MergeMap, Need, OrSet, Replica,
    ReplicaId, SyncConfig, SyncEvent, Timestamp, VersionVector,
};

use crate::net::{CLUSTER, DELTA, Fate, Net, id, member};

#[derive(driftless::Crdt)]
pub(crate) struct Account {
    owner: LwwRegister<String>,
    visits: Counter,
    tags: OrSet<u8>,
}

pub(crate) type Accounts = MergeMap<u8, Account>;

/// What a peer was told of commits.
pub(crate) const POINTS: u8 = 7;
pub(crate) const FRESH: ReplicaId = ReplicaId::from_u128(0xf5e5);

fn enter(accounts: &mut <Accounts as Crdt>::Mut<'_>, key: u8, owner: &str, tag: u8) {
    accounts.update(&key, |account| {
        account.owner().set(owner.to_owned());
        account.visits().add(1).expect("it is few");
        account.tags().add(&tag);
    });
}

pub(crate) fn visit(net: &mut Net<Accounts>, at: usize, key: u8, owner: &str, tag: u8) {
    net.write(at, |accounts| enter(accounts, key, owner, tag));
}

/// Answers what an endpoint asks for once its id is in doubt.
pub(crate) fn answer(net: &mut Net<Accounts>, at: usize, fresh: ReplicaId) -> bool {
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
/// was made had reached the peer, and what that wrote is in both.
pub(crate) fn cloned(before: u8, unsent: u8) -> Net<Accounts> {
    doubled(before, unsent, true)
}

/// The same, but what the peer wrote may be in the first one alone.
fn doubled(before: u8, unsent: u8, is_all_in_both: bool) -> Net<Accounts> {
    let mut net: Net<Accounts> = Net::new(2, |_, _| {});
    let mut replica: Replica<Accounts> = Replica::new(id(0), Config::default());
    // The copies write nothing of themselves: the peer is the first member, and lets them in.
    net.ends[1].found(net.now_ms).expect("it is legal");
    for number in 0..before {
        visit(&mut net, 0, number % 3, "before", number);
        replica
            .write(net.now_ms, |accounts| enter(accounts, number % 3, "before", number))
            .expect("it is legal");
    }
    net.connect(0, 1);
    net.run(3_000);
    net.cut(0, 1);
    if is_all_in_both {
        let news = net.ends[1].replica().delta_since(&replica.vector());
        replica.merge(net.now_ms, news).expect("it is of its own past, and of others");
    }
    let clone = net.add(Endpoint::new(replica, SyncConfig::new(CLUSTER, member(0), "region-0")));
    for number in 0..unsent {
        visit(&mut net, 0, number % 3, "unsent", 100 + number);
        visit(&mut net, clone, number % 3, "unsent", 100 + number);
        net.run(1);
    }
    net
}

pub(crate) fn visits(net: &Net<Accounts>, at: usize) -> i64 {
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
fn who_was_rolled_back_and_lost_only_what_others_wrote_is_told_so_at_the_first_contact() {
    for unsent in [0, 2] {
        // All that 0 wrote, the second has written, too; it has nothing of what 0 had from 1, and 1 knows that 0 had it.
        let mut net = doubled(4, unsent, false);
        assert_eq!(net.ends[2].replica().vector().len(), 1);
        net.connect(2, 1);
        net.run(3_000);
        let clock = net.clock(2);
        assert!(net.ends[2].write(clock, |accounts| accounts.remove(&1)).is_err());
        assert!(answer(&mut net, 2, FRESH), "{unsent}");
        net.run(5_000);
        assert!(net.agree(&[1, 2]), "{unsent}");
        assert_eq!([1, 2].map(|at| visits(&net, at)), [4 + i64::from(unsent); 2]);
    }
}

/// Both copies write apart from each other, three times and twice.
fn part(net: &mut Net<Accounts>) {
    for number in 0..3 {
        visit(net, 0, number, "original", 200 + number);
        net.run(3);
    }
    for number in 0..2 {
        visit(net, 2, number, "copy", 210 + number);
        net.run(3);
    }
}

#[test]
fn a_clone_of_a_process_that_was_evicted_is_found_out_before_anything_of_it_is_sent() {
    for (unsent, is_any_lost) in [(0, false), (3, false), (3, true)] {
        let mut net = cloned(4, unsent);
        part(&mut net);
        net.connect(0, 1);
        net.run(3_000);
        assert!(!answer(&mut net, 0, FRESH));
        net.isolate(0);
        net.evict(&[1], 0);
        // Nobody is connected, and nobody waited for: what is known of who is not used any more may go.
        for _ in 0..3 {
            net.now_ms += 1_000;
            let clock = net.clock(1);
            net.ends[1].tick(clock);
        }
        assert_eq!(net.ends[1].replica().vector().get(&id(0)), Timestamp::ZERO, "it is closed");
        net.log.clear();
        // What it is told of its commits beside the hello may be lost. The hello says enough.
        let mut is_next_lost = is_any_lost;
        net.fate = Box::new(move |from, _, bytes| {
            let is_lost = (from, bytes[0]) == (1, POINTS) && std::mem::take(&mut is_next_lost);
            if is_lost { Fate::Lost } else { Fate::Arrives }
        });
        net.connect(2, 1);
        net.run(3_000);
        assert_eq!(net.logged(DELTA, 2, 1), 0, "{unsent} {is_any_lost}");
        assert!(answer(&mut net, 2, FRESH), "{unsent}");
        net.run(5_000);
        assert!(net.agree(&[1, 2]));
        assert_eq!([1, 2].map(|at| visits(&net, at)), [4 + i64::from(unsent) + 5; 2], "{unsent}");
    }
}

#[test]
fn who_is_alone_in_its_cluster_does_not_take_its_commits_for_those_of_its_clone() {
    for first in [0, 2] {
        let second = 2 - first;
        let mut net: Net<Accounts> = Net::new(3, |_, _| {});
        let config = SyncConfig::new(CLUSTER, member(0), "region-0");
        net.ends[2] = Endpoint::new(Replica::new(id(0), Config::default()), config);
        for at in [0, 2] {
            net.ends[at].found(net.now_ms).expect("it is legal");
            visit(&mut net, at, 0, "before", 1);
        }
        net.run(3);
        part(&mut net);
        // There is nobody who has not seen all of it; but for the copy, of which nobody knows.
        for at in [0, 2] {
            net.now_ms += 1_000;
            let clock = net.clock(at);
            net.ends[at].tick(clock);
        }
        net.connect(first, 1);
        net.run(3_000);
        net.connect(second, 1);
        net.run(3_000);
        assert!(answer(&mut net, second, FRESH), "{first}");
        net.run(5_000);
        answer(&mut net, first, ReplicaId::from_u128(0xf5e6));
        net.run(5_000);
        assert!(net.is_converged(), "{first}");
        assert_eq!(visits(&net, 1), 6, "{first}");
    }
}

#[test]
fn what_a_copy_removed_and_forgot_while_it_was_alone_is_removed_everywhere_once_it_has_another_id() {
    // Whichever of the two writes later has the higher stamps.
    for is_removed_last in [false, true] {
        let mut net: Net<Accounts> = Net::new(3, |_, _| {});
        let config = SyncConfig::new(CLUSTER, member(0), "region-0");
        net.ends[2] = Endpoint::new(Replica::new(id(0), Config::default()), config);
        for at in [0, 2] {
            net.ends[at].found(net.now_ms).expect("it is legal");
            visit(&mut net, at, 8, "before", 1);
            // Nothing is counted in it: what was, a removal says again whatever was forgotten.
            net.write(at, |accounts| accounts.update(&7, |account| account.owner().set("before".to_owned())));
        }
        let remove = |net: &mut Net<Accounts>| {
            net.run(1_000);
            net.write(0, |accounts| accounts.remove(&7));
            // Nobody else is a member: nobody has to be told, as far as it knows.
            let clock = net.clock(0) + 1_000;
            net.ends[0].tick(clock);
            assert_eq!(net.ends[0].replica().state().rows(), 1);
        };
        let write = |net: &mut Net<Accounts>| {
            net.run(1_000);
            visit(net, 2, 9, "copy", 2);
        };
        if is_removed_last {
            write(&mut net);
            remove(&mut net);
        } else {
            remove(&mut net);
            write(&mut net);
        }
        net.connect(2, 1);
        net.run(3_000);
        net.connect(0, 1);
        net.run(3_300);
        assert!(answer(&mut net, 0, FRESH), "{is_removed_last}");
        // Sooner than it forgets anything else, and than any audit.
        net.run(200);
        assert!(net.is_converged(), "{is_removed_last}");
        for end in &net.ends {
            let accounts = end.replica().state();
            assert_eq!(
                (accounts.get(&7).is_some(), accounts.get(&9).is_some()),
                (false, true),
                "{is_removed_last}"
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
fn what_a_peer_with_a_fast_clock_took_and_has_not_reported_is_not_issued_again() {
    let mut net: Net<Accounts> = Net::new(2, |_, _| {});
    net.mesh();
    net.run(2_000);
    visit(&mut net, 0, 1, "in time", 1);
    net.run(1_000);
    // Both clocks are fast, one of them by more than anyone accepts whose clock is right. What 1 says is lost.
    net.fate = Box::new(|from, _, _| if from == 1 { Fate::Lost } else { Fate::Arrives });
    net.skew_ms = vec![100_000, 50_000];
    visit(&mut net, 0, 1, "ahead", 2);
    net.run(100);
    assert_eq!(visits(&net, 1), 2, "it is taken");
    net.skew_ms[0] = 200_000;
    visit(&mut net, 0, 1, "far ahead", 3);
    net.run(100);
    assert_eq!(visits(&net, 1), 2, "that is not");
    net.cut(0, 1);
    net.skew_ms = vec![0, 0];
    let clock = net.clock(0);
    let reissued = net.ends[0].reissue_ahead(clock, FRESH).expect("the id is fresh");
    assert_eq!(reissued.commits, 1, "the one that nobody can have taken");
    net.fate = Box::new(|_, _, _| Fate::Arrives);
    net.connect(0, 1);
    net.run(5_000);
    assert!([0, 1].iter().all(|at| visits(&net, *at) <= 3), "something is counted twice");
    // Once their time has come, all take the stamps that were kept.
    net.run(100_000);
    assert_eq!([0, 1].map(|at| visits(&net, at)), [3; 2]);
    let late = SyncConfig::new(CLUSTER, member(9), "region-9");
    let late = net.add(Endpoint::new(Replica::new(id(9), Config::default()), late));
    net.connect(late, 0);
    net.run(5_000);
    assert!(net.is_converged());
    assert_eq!(visits(&net, late), 3);
}

#[test]
fn two_copies_of_which_the_last_commits_have_one_stamp_are_told_apart_by_those_before() {
    let mut net = cloned(2, 0);
    visit(&mut net, 0, 1, "original", 1);
    net.run(5);
    visit(&mut net, 0, 2, "original", 2);
    visit(&mut net, 2, 2, "copy", 3);
    let last = [0, 2].map(|at| net.ends[at].replica().clock().last());
    assert_eq!(last[0], last[1]);
    net.connect(0, 1);
    net.run(3_000);
    net.connect(2, 1);
    net.run(3_000);
    assert!(answer(&mut net, 2, FRESH));
    net.run(5_000);
    assert!(net.is_converged());
    assert_eq!(visits(&net, 1), 2 + 2 + 1);
}

#[test]
fn a_token_of_a_write_that_was_issued_again_is_reached_where_the_write_is() {
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

#[test]
fn a_write_concern_is_of_the_same_write_after_the_id_was_changed() {
    let mut net = cloned(2, 0);
    visit(&mut net, 0, 1, "original", 1);
    net.connect(0, 1);
    net.run(2_000);
    // The last that both copies have, and the peer too; and one that nobody else has.
    let confirm = |net: &mut Net<Accounts>| {
        let (clock, stamp) = (net.clock(2), net.ends[2].replica().vector().get(&id(0)));
        let all = net.ends[2].members().len();
        net.ends[2].confirm(clock, stamp, Need::Members(all), Held::Applied, clock + 60_000)
    };
    let shared = confirm(&mut net);
    let last = |net: &Net<Accounts>| net.ends[2].replica().vector().get(&id(0));
    let stamp_of_shared = last(&net);
    visit(&mut net, 2, 1, "copy", 1);
    let own = confirm(&mut net);
    let stamps = [stamp_of_shared, last(&net)];
    net.connect(2, 1);
    net.fate =
        Box::new(|from, _, bytes| if (from, bytes[0]) == (2, DELTA) { Fate::Lost } else { Fate::Arrives });
    net.run(2_000);
    assert!(answer(&mut net, 2, FRESH));
    net.run(3_000);
    let confirmed = |net: &Net<Accounts>, concern| {
        let mut events = net.events[2].iter();
        events.any(|event| matches!(event, SyncEvent::Confirmed { concern: id, .. } if *id == concern))
    };
    assert_eq!([shared, own].map(|concern| confirmed(&net, concern)), [true, false]);
    net.fate = Box::new(|_, _, _| Fate::Arrives);
    net.run(10_000);
    assert!(confirmed(&net, own));
    // Asked for once more, by the stamps that the application was given before.
    let clock = net.clock(2);
    let again =
        stamps.map(|stamp| net.ends[2].confirm(clock, stamp, Need::Members(2), Held::Applied, clock + 1));
    net.pump(2);
    assert_eq!(again.map(|concern| confirmed(&net, concern)), [true; 2]);
}

#[test]
fn once_a_clock_is_right_again_writes_are_counted_against_the_members_there_are() {
    let mut net: Net<Accounts> = Net::new(2, |_, _| {});
    net.skew_ms[0] = 86_400_000;
    let clock = net.clock(0);
    net.ends[0].found(clock).expect("it is legal");
    net.skew_ms[0] = 0;
    net.connect(0, 1);
    net.run(3_000);
    let clock = net.clock(0);
    net.ends[0].reissue_ahead(clock, FRESH).expect("the id is fresh");
    net.pump(0);
    net.run(5_000);
    assert_eq!((net.ends[0].members().len(), net.is_converged()), (2, true));
    net.isolate(0);
    visit(&mut net, 0, 1, "alone", 1);
    let (clock, stamp) = (net.clock(0), net.ends[0].replica().clock().last());
    let all = net.ends[0].confirm(clock, stamp, Need::All, Held::Applied, clock + 1_000);
    net.run(2_000);
    let holders = net.events[0].iter().find_map(|event| match event {
        SyncEvent::Unconfirmed { concern, holders } if *concern == all => Some(holders.clone()),
        _ => None,
    });
    assert_eq!(holders.map(|holders| holders.lack), Some(vec![member(1)]));
}

#[test]
fn what_was_being_written_to_disk_when_the_id_was_changed_is_told_to_nobody() {
    let mut net: Net<Accounts> = Net::new(3, |_, _| {});
    let config = SyncConfig::new(CLUSTER, member(0), "region-0");
    let durable = SyncConfig { is_durable: true, ..config };
    net.ends[2] = Endpoint::new(Replica::new(id(0), Config::default()), durable);
    net.ends[1].found(net.now_ms).expect("it is legal");
    visit(&mut net, 0, 1, "original", 1);
    net.connect(0, 1);
    net.run(3_000);
    net.isolate(0);
    visit(&mut net, 2, 2, "copy", 2);
    let under_way = net.ends[2].snapshot();
    net.connect(2, 1);
    net.run(3_000);
    assert!(answer(&mut net, 2, FRESH));
    net.run(3_000);
    // Only now it is on disk.
    let clock = net.clock(2);
    net.ends[2].persisted(clock, under_way);
    net.pump(2);
    net.run(3_000);
    assert_eq!(net.logged(DELTA, 2, 1), 0, "by a name that was given up");
    assert_eq!(visits(&net, 1), 1);
    net.save(2);
    net.run(3_000);
    assert!(net.agree(&[1, 2]));
    assert_eq!([1, 2].map(|at| visits(&net, at)), [2; 2]);
}

/// Who is a member, and under which id.
fn roster(net: &Net<Accounts>, at: usize) -> Vec<(ReplicaId, ReplicaId)> {
    net.ends[at].members().iter().map(|member| (member.member, member.id)).collect()
}

/// Adds an endpoint of this number, which holds nothing.
pub(crate) fn newcomer(net: &mut Net<Accounts>, number: usize) -> usize {
    let config = SyncConfig::new(CLUSTER, member(number), format!("region-{number}"));
    net.add(Endpoint::new(Replica::new(id(number), Config::default()), config))
}

#[test]
fn who_comes_while_the_id_is_in_doubt_becomes_a_member_after_that() {
    let mut net = cloned(2, 0);
    part(&mut net);
    net.connect(0, 1);
    net.run(2_000);
    net.isolate(0);
    net.connect(2, 1);
    net.run(2_000);
    let (before, last) = (roster(&net, 2), net.ends[2].replica().clock().last());
    assert_eq!(before, [(member(0), id(0)), (member(1), id(1))]);
    let third = newcomer(&mut net, 3);
    net.connect(2, third);
    net.run(3_000);
    assert_eq!(roster(&net, 2), before, "it is written under an id that is in doubt");
    assert_eq!(net.ends[2].replica().vector().get(&id(0)), last);
    assert!(answer(&mut net, 2, FRESH));
    net.run(5_000);
    assert!(net.agree(&[1, 2, third]));
    for at in [1, 2, third] {
        assert_eq!(roster(&net, at), [(member(0), FRESH), (member(1), id(1)), (member(3), id(3))], "{at}");
    }
}

#[test]
fn a_place_among_the_members_that_was_given_to_the_other_copy_is_taken_again() {
    let mut net = cloned(2, 0);
    part(&mut net);
    net.connect(0, 1);
    let third = newcomer(&mut net, 3);
    net.connect(1, third);
    net.run(3_000);
    net.isolate(0);
    net.isolate(third);
    net.connect(2, 1);
    net.run(3_000);
    assert!(answer(&mut net, 2, FRESH));
    net.run(3_000);
    assert_eq!(roster(&net, 1)[0], (member(0), FRESH));
    // Who has not heard of that meets the other copy, and lets it in anew, later.
    net.evict(&[third], 0);
    net.run(1_000);
    net.connect(0, third);
    net.run(2_000);
    assert_eq!(roster(&net, third)[0], (member(0), id(0)));
    net.isolate(0);
    net.connect(1, third);
    // It is told so at once, and has its place again within a heartbeat.
    net.run(200);
    let is_given_away = roster(&net, 1)[0] == (member(0), id(0));
    net.run(1_200);
    assert!(is_given_away);
    for at in [1, 2, third] {
        assert_eq!(roster(&net, at)[0], (member(0), FRESH), "{at}");
    }
    net.run(5_000);
    assert!(net.agree(&[1, 2, third]));
}

#[test]
fn what_others_hold_of_a_copy_stays_its_own_if_of_the_other_one_they_have_only_its_word() {
    let mut net = cloned(4, 2);
    // Not all members hold what the peer holds.
    let third = newcomer(&mut net, 3);
    net.connect(1, third);
    net.run(3_000);
    net.isolate(third);
    // The second one writes first, and nobody takes it; the first one writes later, and that is taken.
    visit(&mut net, 2, 0, "copy", 210);
    net.run(3);
    net.connect(0, 1);
    net.run(3_000);
    visit(&mut net, 0, 1, "original", 200);
    net.run(100);
    assert_eq!(visits(&net, 1), 4 + 2 + 1);
    // The two meet. The first one hears of the second before that hears of anyone, and of nobody else's word.
    net.fate = Box::new(|from, to, _| if (from, to) == (0, 2) { Fate::Lost } else { Fate::Arrives });
    net.connect(0, 2);
    net.run(3_000);
    assert!(answer(&mut net, 0, FRESH), "it is told");
    net.run(3_000);
    net.fate = Box::new(|_, _, _| Fate::Arrives);
    net.run(5_000);
    answer(&mut net, 2, ReplicaId::from_u128(0xf5e6));
    net.run(5_000);
    net.connect(1, third);
    net.run(5_000);
    assert!(net.is_converged());
    assert_eq!([0, 1, 2, third].map(|at| visits(&net, at)), [4 + 2 + 2; 4]);
}

#[test]
fn what_one_copy_wrote_is_not_taken_for_what_the_other_did_where_both_are_connected_to_a_peer() {
    for (written, wait_ms) in [(1, 3), (2, 3), (1, 60), (2, 60)] {
        let mut net = cloned(4, 0);
        net.connect(0, 1);
        net.connect(2, 1);
        net.run(3_000);
        // The first one writes, and that takes its time; the second one writes later, and is there at the same time or before.
        net.fate = Box::new(
            |from, _, bytes| if (from, bytes[0]) == (0, DELTA) { Fate::Held } else { Fate::Arrives },
        );
        visit(&mut net, 0, 0, "original", 200);
        net.run(3);
        visit(&mut net, 2, 1, "copy", 210);
        net.run(3);
        if written == 2 {
            // What it writes after that is beyond what the second one wrote.
            visit(&mut net, 0, 2, "original", 201);
        }
        net.run(wait_ms);
        net.fate = Box::new(|_, _, _| Fate::Arrives);
        net.release();
        net.run(5_000);
        let is_found_out = [(0, FRESH), (2, ReplicaId::from_u128(0xf5e6))].map(|(at, fresh)| {
            let is_asked = answer(&mut net, at, fresh);
            net.run(5_000);
            is_asked
        });
        assert_ne!(is_found_out, [false; 2], "{written} {wait_ms}");
        assert!(net.is_converged(), "{written} {wait_ms}");
        assert_eq!([0, 1, 2].map(|at| visits(&net, at)), [4 + 1 + written; 3], "{written} {wait_ms}");
    }
}

#[test]
fn who_left_is_not_a_member_again_because_it_goes_on_under_another_id() {
    let mut net: Net<Accounts> = Net::new(2, |_, config| config.admission = Admission::Invited);
    let clock = net.clock(1);
    net.ends[1].found(clock).expect("it is legal");
    net.ends[1].admit(clock, member(0)).expect("it is legal");
    net.connect(0, 1);
    net.run(3_000);
    assert_eq!(roster(&net, 1).len(), 2);
    visit(&mut net, 0, 0, "before", 1);
    net.run(1_000);
    let clock = net.clock(0);
    net.ends[0].leave(clock).expect("it is legal");
    net.pump(0);
    net.run(1_000);
    let clock = net.clock(0);
    net.ends[0].reissue_ahead(clock, FRESH).expect("it is a fresh one");
    net.events[0].clear();
    net.pump(0);
    net.run(10_000);
    assert_eq!(roster(&net, 0), [(member(1), id(1))], "nobody has invited it again");
}

#[test]
fn one_commit_of_a_copy_is_not_taken_for_known_whatever_its_size_and_whatever_was_there_before() {
    // An audit would mend it in the end.
    let never = |_: usize, config: &mut SyncConfig| config.audit_ms = 1 << 50;
    for (before, is_small) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut net: Net<Accounts> = Net::new(2, never);
        let mut replica: Replica<Accounts> = Replica::new(id(0), Config::default());
        net.ends[1].found(net.now_ms).expect("it is legal");
        if before {
            visit(&mut net, 0, 100, "before", 100);
            let enter = |accounts: &mut <Accounts as Crdt>::Mut<'_>| enter(accounts, 100, "before", 100);
            replica.write(net.now_ms, enter).expect("it is legal");
        }
        net.connect(0, 1);
        net.run(3_000);
        net.cut(0, 1);
        let news = net.ends[1].replica().delta_since(&replica.vector());
        replica.merge(net.now_ms, news).expect("it is of others");
        let mut config = SyncConfig { chunk_bytes: 512, ..SyncConfig::new(CLUSTER, member(0), "region-0") };
        never(0, &mut config);
        let clone = net.add(Endpoint::new(replica, config));
        net.connect(0, 1);
        net.connect(clone, 1);
        net.run(3_000);
        // The second one makes one commit, of which the first chunk arrives if it is large; the first one writes later.
        let mut count = 0;
        net.fate = Box::new(move |from, _, bytes| {
            if (from, bytes[0]) != (2, DELTA) {
                return Fate::Arrives;
            }
            count += 1;
            if count > 1 || is_small { Fate::Held } else { Fate::Arrives }
        });
        let keys = if is_small { 1 } else { 60 };
        net.write(clone, |accounts| (0..keys).for_each(|key| enter(accounts, key, "copy", key)));
        net.run(30);
        visit(&mut net, 0, 200, "original", 200);
        net.run(25);
        net.fate = Box::new(|_, _, _| Fate::Arrives);
        net.release();
        net.run(5_000);
        for (at, fresh) in [(0, FRESH), (2, ReplicaId::from_u128(0xf5e6)), (0, ReplicaId::from_u128(0xf5e7))]
        {
            answer(&mut net, at, fresh);
            net.run(5_000);
        }
        let all = i64::from(keys) + 1 + i64::from(before);
        assert_eq!([0, 1, 2].map(|at| visits(&net, at)), [all; 3], "{before} {is_small}");
        assert!(net.is_converged(), "{before} {is_small}");
    }
}

/// Connects a newcomer that may only read.
fn reader(net: &mut Net<Accounts>, at: usize) -> usize {
    let reader = newcomer(net, 7);
    net.connect(at, reader);
    let (clock, link) = (net.clock(at), net.link(at, reader).0);
    net.ends[at].grant(clock, link, Access::Read);
    reader
}

#[test]
fn what_a_reader_alone_holds_is_issued_again_for_the_others() {
    for has_reader in [false, true] {
        let mut net = cloned(4, 0);
        if has_reader {
            reader(&mut net, 0);
            net.run(2_000);
        }
        visit(&mut net, 0, 0, "original", 200);
        net.run(2_000);
        visit(&mut net, 2, 1, "copy", 210);
        net.connect(2, 1);
        net.run(3_000);
        net.connect(0, 1);
        net.run(3_000);
        assert!(answer(&mut net, 0, FRESH));
        net.run(5_000);
        answer(&mut net, 2, ReplicaId::from_u128(0xf5e6));
        net.run(60_000);
        assert_eq!([0, 1, 2].map(|at| visits(&net, at)), [4 + 2; 3], "{has_reader}");
    }
}

#[test]
fn what_a_reader_claims_does_not_decide_what_is_issued_again() {
    type Beat = (u64, u64, Option<VersionVector>, Option<Vec<u8>>, Option<Vec<ReplicaId>>, bool);
    // Two members, one of which has not heard of what the first wrote.
    let mut net = cloned(0, 0);
    let third = newcomer(&mut net, 3);
    net.connect(1, third);
    net.run(3_000);
    net.isolate(third);
    let low = net.ends[1].replica().clock().last();
    net.connect(0, 1);
    net.run(3_000);
    for number in 0..4 {
        visit(&mut net, 0, 0, "original", number);
        net.run(10);
    }
    net.run(2_000);
    assert_eq!(visits(&net, 1), 4);
    let liar = reader(&mut net, 0);
    net.fate = Box::new(
        move |from, _, bytes| if from == liar && bytes[0] != 1 { Fate::Lost } else { Fate::Arrives },
    );
    net.run(500);
    let seal = crate::forge::Seal::of_link(net.link(0, liar).1);
    let news = [(id(0), Timestamp::from_bits(low.bits() + 1))].into_iter().collect();
    let beat: Beat = (net.clock(0), 0, Some(news), None, None, false);
    let beat = seal.frame(crate::net::BEAT, &rmp_serde::to_vec(&beat).expect("it can be written"));
    net.deliver(liar, 0, &beat).expect("it is well formed");
    // The other copy is met.
    visit(&mut net, 2, 1, "copy", 210);
    net.connect(0, 2);
    net.run(3_000);
    assert!(answer(&mut net, 0, FRESH));
    net.run(10_000);
    assert_eq!(visits(&net, 1), 4);
}
