//! What an endpoint says of its links, and of who keeps it from forgetting.

use driftless::{Held, LwwRegister, MergeMap, Need, PeerStatus, SyncEvent};

use crate::net::{BEAT, DELAY_MS, Fate, Net, id, member};

type Names = MergeMap<u8, LwwRegister<i64>>;

fn set(net: &mut Net<Names>, at: usize, key: u8, value: i64) {
    net.write(at, |names| names.update(&key, |name| name.set(value)));
}

/// How the first one stands with its only peer.
fn status(net: &Net<Names>) -> PeerStatus {
    net.ends[0].peers()[0].clone()
}

#[test]
fn a_link_says_when_its_peer_was_heard_and_since_which_commit_it_lags() {
    let mut net: Net<Names> = Net::new(2, |_, _| {});
    net.connect(0, 1);
    set(&mut net, 0, 1, 1);
    net.run(3_000);
    let before = status(&net);
    assert!((net.now_ms - 1_000..=net.now_ms).contains(&before.heard_ms), "{}", before.heard_ms);
    assert_eq!((before.behind, before.oldest, before.bytes_under_way), (0, None, 0));
    net.fate = Box::new(|_, _, _| Fate::Lost);
    set(&mut net, 0, 2, 2);
    let first = net.ends[0].replica().clock().last();
    net.run(5);
    set(&mut net, 0, 3, 3);
    net.run(1_000);
    let during = status(&net);
    assert_eq!((during.heard_ms, during.behind, during.oldest), (before.heard_ms, 1, Some(first)));
    assert!(during.bytes_under_way > 20, "{}", during.bytes_under_way);
    net.fate = Box::new(|_, _, _| Fate::Arrives);
    net.run(5_000);
    let after = status(&net);
    assert!(after.heard_ms > during.heard_ms);
    assert_eq!((after.behind, after.oldest, after.bytes_under_way), (0, None, 0));
}

#[test]
fn who_keeps_an_endpoint_from_forgetting_is_told_by_what_it_lacks_itself() {
    let mut net: Net<Names> = Net::new(3, |_, _| {});
    net.mesh();
    for at in 0..3 {
        set(&mut net, at, at as u8, 1);
    }
    net.run(5_000);
    assert_eq!(net.ends[0].blocking(), []);
    net.isolate(1);
    set(&mut net, 0, 7, 7);
    net.run(5_000);
    let blocking = net.ends[0].blocking();
    let told: Vec<_> = blocking.iter().map(|one| (one.member, one.id, one.behind)).collect();
    assert_eq!(told, [(member(1), id(1), 1)], "of 0 it lacks something, and of nobody else");
}

#[test]
fn who_is_there_as_the_same_member_is_named_and_nobody_else() {
    let mut net: Net<Names> = Net::new(3, |at, config| config.member = member(if at == 2 { 1 } else { at }));
    net.mesh();
    net.run(1_000);
    let same = |at: usize| -> Vec<_> {
        let events = net.events[at].iter();
        events
            .filter_map(|event| match event {
                SyncEvent::SameMember { id, .. } => Some(*id),
                _ => None,
            })
            .collect()
    };
    assert_eq!([0, 1, 2].map(same), [vec![], vec![id(2)], vec![id(1)]]);
}

#[test]
fn that_a_link_is_down_is_told_to_the_others_at_once() {
    let mut net: Net<Names> = Net::new(3, |_, _| {});
    net.mesh();
    net.run(3_500);
    net.log.clear();
    // What the two write the third must not rely on them to send each other.
    net.cut(0, 1);
    assert_eq!([0, 1].map(|at| net.logged(BEAT, at, 2)), [1, 1]);
    set(&mut net, 0, 7, 7);
    net.run(2 * DELAY_MS);
    assert!(net.is_converged());
}

#[test]
fn what_a_heartbeat_that_was_lost_said_is_asked_for() {
    let mut net: Net<Names> = Net::new(2, |_, _| {});
    net.connect(0, 1);
    net.run(3_000);
    net.fate =
        Box::new(|from, _, bytes| if (from, bytes[0]) == (1, BEAT) { Fate::Lost } else { Fate::Arrives });
    set(&mut net, 0, 7, 7);
    let (clock, stamp) = (net.clock(0), net.ends[0].replica().clock().last());
    net.ends[0].confirm(clock, stamp, Need::Members(2), Held::Durable, clock + 60_000);
    let is_confirmed =
        |net: &Net<Names>| net.events[0].iter().any(|event| matches!(event, SyncEvent::Confirmed { .. }));
    net.run(3_000);
    assert!(net.is_converged() && !is_confirmed(&net), "it has not said that it holds it");
    net.fate = Box::new(|_, _, _| Fate::Arrives);
    net.run(5_000);
    assert!(is_confirmed(&net));
}
