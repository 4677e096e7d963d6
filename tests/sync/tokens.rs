//! Session guarantees across regions, and how many members hold a write.

use driftless::{ConcernId, Counter, Held, Holders, MergeMap, Need, SyncEvent, Timestamp, Token};

use crate::net::{DELAY_MS, Net, id, member};

type Counts = MergeMap<u8, Counter>;

fn add(net: &mut Net<Counts>, at: usize) -> Timestamp {
    let clock = net.clock(at);
    let committed = net.ends[at].write(clock, |counts| counts.update(&7, |count| count.add(1).is_ok()));
    let stamp = committed.expect("the write is legal").stamp.expect("it is an event");
    net.pump(at);
    stamp
}

#[test]
fn b70_a_user_who_moves_reads_what_it_wrote_or_is_told_what_is_missing() {
    let mut net: Net<Counts> = Net::new(3, |_, _| {});
    net.mesh();
    net.run(1_000);
    let stamp = add(&mut net, 0);
    let token: Token = net.ends[0].token(stamp).to_string().parse().expect("it is a token");
    assert_eq!(net.ends[0].reached(&token), Ok(()));
    let missing = net.ends[1].reached(&token).expect_err("it is under way");
    assert_eq!((missing.len(), missing[0].id, missing[0].want), (1, id(0), stamp));
    assert!(missing[0].have < stamp);
    net.run(DELAY_MS);
    assert_eq!(net.ends[1].reached(&token), Ok(()));
    // What it reads there it reads elsewhere, too.
    let mut session = token;
    add(&mut net, 1);
    session.join(&Token::from(net.ends[1].snapshot().vector()));
    assert!(net.ends[2].reached(&session).is_err());
    net.run(DELAY_MS);
    assert_eq!(net.ends[2].reached(&session), Ok(()));
    assert_eq!(net.ends[2].replica().state().get(&7).map(Counter::value), Some(2));
}

fn outcome(net: &Net<Counts>, at: usize, concern: ConcernId) -> Option<(bool, Holders)> {
    net.events[at].iter().find_map(|event| match event {
        SyncEvent::Confirmed { concern: id, holders } if *id == concern => Some((true, holders.clone())),
        SyncEvent::Unconfirmed { concern: id, holders } if *id == concern => Some((false, holders.clone())),
        _ => None,
    })
}

#[test]
fn a_write_is_confirmed_once_as_many_hold_it_as_were_asked_for() {
    let mut net: Net<Counts> = Net::new(5, |_, _| {});
    net.mesh();
    net.run(5_000);
    assert_eq!(net.ends[0].members().len(), 5);
    net.cut(0, 4);
    net.cut(1, 4);
    net.cut(2, 4);
    net.cut(3, 4);
    let stamp = add(&mut net, 0);
    let clock = net.clock(0);
    let mut confirm = |need| net.ends[0].confirm(clock, stamp, need, Held::Applied, clock + 3_000);
    let [alone, majority, all] = [Need::Members(1), Need::Majority, Need::All].map(&mut confirm);
    net.pump(0);
    assert!(outcome(&net, 0, alone).is_some_and(|(is_met, holders)| is_met && holders.hold == [member(0)]));
    assert_eq!(outcome(&net, 0, majority), None);
    net.run(2 * DELAY_MS + 1);
    let (is_met, holders) = outcome(&net, 0, majority).expect("the deadline is not needed");
    assert!(is_met && holders.hold.len() >= 3 && !holders.is_changed, "{holders:?}");
    assert_eq!(outcome(&net, 0, all), None);
    net.run(3_000);
    let (is_met, holders) = outcome(&net, 0, all).expect("the deadline has passed");
    assert!(!is_met && holders.lack == [member(4)], "{holders:?}");
}

#[test]
fn b65_one_member_counts_once_by_however_many_links_and_who_came_later_does_not() {
    let mut net: Net<Counts> = Net::new(3, |_, _| {});
    net.connect(0, 1);
    net.connect(0, 1);
    net.run(3_000);
    let stamp = add(&mut net, 0);
    let clock = net.clock(0);
    let [two, three] = [2, 3]
        .map(|count| net.ends[0].confirm(clock, stamp, Need::Members(count), Held::Applied, clock + 10_000));
    net.run(1_000);
    assert!(
        outcome(&net, 0, two)
            .is_some_and(|(is_met, holders)| is_met && holders.hold == [member(0), member(1)])
    );
    net.connect(0, 2);
    net.connect(1, 2);
    net.run(20_000);
    assert_eq!(net.ends[2].reached(&net.ends[0].token(stamp)), Ok(()));
    let (is_met, holders) = outcome(&net, 0, three).expect("the deadline has passed");
    assert!(!is_met && holders.hold.len() == 2 && holders.is_changed, "{holders:?}");
}

#[test]
fn a_write_is_counted_against_those_who_were_members_when_it_was_made() {
    let mut net: Net<Counts> = Net::new(3, |_, _| {});
    net.mesh();
    net.run(3_000);
    net.isolate(2);
    let epoch = net.ends[0].epoch();
    let before = add(&mut net, 0);
    net.evict(&[0], 2);
    let after = add(&mut net, 0);
    // It is asked for after the membership has changed.
    let clock = net.clock(0);
    let [of_three, of_two] = [before, after]
        .map(|stamp| net.ends[0].confirm(clock, stamp, Need::All, Held::Applied, clock + 5_000));
    net.run(6_000);
    let (is_met, holders) = outcome(&net, 0, of_three).expect("the deadline has passed");
    assert!(!is_met && holders.is_changed && holders.epoch == epoch, "{holders:?}");
    assert_eq!((holders.hold, holders.lack), (vec![member(0), member(1)], vec![member(2)]));
    let (is_met, holders) = outcome(&net, 0, of_two).expect("it is held");
    assert!(is_met && !holders.is_changed && holders.hold == [member(0), member(1)], "{holders:?}");
}

#[test]
fn a_write_that_was_lost_in_a_crash_is_held_by_nobody_whatever_was_written_since() {
    let mut net: Net<Counts> = Net::new(2, |_, _| {});
    net.connect(0, 1);
    net.run(3_000);
    let image = net.image(0);
    net.isolate(0);
    let lost = add(&mut net, 0);
    net.run(100);
    net.restart(0, &image);
    net.connect(0, 1);
    net.run(3_000);
    let later = add(&mut net, 0);
    assert!(later > lost);
    net.run(3_000);
    let clock = net.clock(0);
    let [of_lost, of_later] = [lost, later]
        .map(|stamp| net.ends[0].confirm(clock, stamp, Need::Members(2), Held::Applied, clock + 5_000));
    net.pump(0);
    let (is_met, holders) = outcome(&net, 0, of_lost).expect("it is said at once");
    assert!(!is_met && holders.hold.is_empty() && holders.lack.len() == 2, "{holders:?}");
    assert!(outcome(&net, 0, of_later).is_some_and(|(is_met, _)| is_met));
}

#[test]
fn a_write_that_was_made_before_there_were_members_is_counted_against_those_there_are() {
    let mut net: Net<Counts> = Net::new(2, |_, _| {});
    let stamp = add(&mut net, 1);
    let clock = net.clock(1);
    let nobody = net.ends[1].confirm(clock, stamp, Need::All, Held::Applied, clock + 100);
    net.run(200);
    let (is_met, holders) = outcome(&net, 1, nobody).expect("the deadline has passed");
    assert!(!is_met && holders.hold.is_empty() && holders.lack.is_empty(), "{holders:?}");
    let other = add(&mut net, 0);
    net.connect(0, 1);
    net.run(3_000);
    // Whichever of the two began: both count both.
    for (at, stamp) in [(0, other), (1, stamp)] {
        let clock = net.clock(at);
        let all = net.ends[at].confirm(clock, stamp, Need::All, Held::Applied, clock + 5_000);
        net.pump(at);
        let (is_met, holders) = outcome(&net, at, all).expect("it is held");
        assert!(is_met && holders.hold == [member(0), member(1)], "{holders:?}");
    }
}

#[test]
fn what_a_member_said_to_hold_counts_while_it_is_away() {
    let mut net: Net<Counts> = Net::new(2, |_, _| {});
    net.connect(0, 1);
    net.run(3_000);
    let stamp = add(&mut net, 0);
    net.run(3_000);
    net.cut(0, 1);
    net.run(5_000);
    let clock = net.clock(0);
    let durable = net.ends[0].confirm(clock, stamp, Need::Members(2), Held::Durable, clock + 1_000);
    net.pump(0);
    assert!(outcome(&net, 0, durable).is_some_and(|(is_met, _)| is_met));
}

#[test]
fn what_is_not_on_disk_is_neither_sent_nor_durable() {
    let mut net: Net<Counts> = Net::new(2, |_, config| config.is_durable = true);
    net.connect(0, 1);
    let persist = |net: &mut Net<Counts>, at: usize| {
        let (clock, snapshot) = (net.clock(at), net.ends[at].snapshot());
        net.ends[at].persisted(clock, snapshot);
        net.pump(at);
    };
    net.run(1_000);
    persist(&mut net, 0);
    persist(&mut net, 1);
    net.run(3_000);
    let stamp = add(&mut net, 0);
    let clock = net.clock(0);
    let applied = net.ends[0].confirm(clock, stamp, Need::Members(2), Held::Applied, clock + 60_000);
    let durable = net.ends[0].confirm(clock, stamp, Need::Members(2), Held::Durable, clock + 60_000);
    net.run(5_000);
    assert_eq!(net.ends[1].replica().vector().get(&id(0)).max(stamp), stamp);
    assert!(net.ends[1].replica().vector().get(&id(0)) < stamp, "a dot left before it was on disk");
    persist(&mut net, 0);
    net.run(DELAY_MS);
    assert_eq!(net.ends[1].replica().vector().get(&id(0)), stamp, "it leaves at once");
    net.run(5_000);
    assert!(outcome(&net, 0, applied).is_some_and(|(is_met, _)| is_met));
    assert_eq!(outcome(&net, 0, durable), None);
    persist(&mut net, 1);
    net.run(2_000);
    assert!(outcome(&net, 0, durable).is_some_and(|(is_met, _)| is_met));
}
