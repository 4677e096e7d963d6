//! Who exchanges data with whom, and who does not.

use driftless::{
    Admission, Config, Counter, Crdt, Datum, DecodeError, Endpoint, Flag, LinkId, LwwRegister, MergeError,
    MergeMap, Replica, SchemaConflict, SyncConfig, SyncError, SyncEvent, Timestamp, UnknownFields,
    VersionVector,
};
use uuid::Uuid;

use crate::net::{CLUSTER, DELTA, Fate, Net, START_MS, id, member};

type Counts = MergeMap<u8, Counter>;

fn endpoint<S: driftless::Crdt>(number: usize, cluster: Uuid) -> Endpoint<S> {
    Endpoint::new(Replica::new(id(number), Config::default()), SyncConfig::new(cluster, member(number), "eu"))
}

/// Lets two talk over one link until both are silent. Returns what each refused.
fn talk<A: Crdt, B: Crdt>(a: &mut Endpoint<A>, b: &mut Endpoint<B>) -> Vec<SyncError> {
    talk_at(START_MS, a, b)
}

fn talk_at<A: Crdt, B: Crdt>(now_ms: u64, a: &mut Endpoint<A>, b: &mut Endpoint<B>) -> Vec<SyncError> {
    let link = LinkId(1);
    let mut errors = Vec::new();
    loop {
        let (mut to_b, mut to_a) = (Vec::new(), Vec::new());
        if a.transmit(now_ms, &mut to_b).is_some() {
            errors.extend(b.receive(now_ms, link, &to_b).err());
        }
        if b.transmit(now_ms, &mut to_a).is_some() {
            errors.extend(a.receive(now_ms, link, &to_a).err());
        }
        if to_a.is_empty() && to_b.is_empty() {
            return errors;
        }
    }
}

fn refusals<S: driftless::Crdt>(end: &mut Endpoint<S>) -> Vec<SyncEvent> {
    std::iter::from_fn(|| end.next_event())
        .filter(|event| matches!(event, SyncEvent::Refused { .. }))
        .collect()
}

#[test]
fn another_cluster_is_refused_on_both_sides() {
    let mut ours: Endpoint<Counts> = endpoint(0, CLUSTER);
    let mut theirs: Endpoint<Counts> = endpoint(1, Uuid::from_u128(0xc2));
    ours.link_up(START_MS, LinkId(1), None, 1);
    theirs.link_up(START_MS, LinkId(1), None, 2);
    ours.write(START_MS, |counts| counts.update(&1, |count| count.add(1).is_ok())).expect("it is legal");
    // One of the two sees it, and tells the other.
    assert_eq!(talk(&mut ours, &mut theirs), [SyncError::OtherCluster]);
    assert!(theirs.replica().vector().is_empty());
    assert_eq!(refusals(&mut ours).len(), 1);
}

#[test]
fn another_schema_is_refused_and_the_place_is_named() {
    let mut ours: Endpoint<Counts> = endpoint(0, CLUSTER);
    let mut theirs: Endpoint<MergeMap<u8, Flag>> = endpoint(1, CLUSTER);
    ours.link_up(START_MS, LinkId(1), None, 1);
    theirs.link_up(START_MS, LinkId(1), None, 2);
    ours.write(START_MS, |counts| counts.update(&1, |count| count.add(1).is_ok())).expect("it is legal");
    assert_eq!(talk(&mut ours, &mut theirs), [SyncError::Schema, SyncError::Schema]);
    assert!(theirs.replica().vector().is_empty());
    for (refused, expected) in
        [(refusals(&mut ours), ["[] counter", "[] flag"]), (refusals(&mut theirs), ["[] flag", "[] counter"])]
    {
        let [SyncEvent::Refused { conflict: Some(conflict), .. }] = &refused[..] else {
            panic!("{refused:?}");
        };
        assert_eq!([conflict.ours.as_str(), conflict.theirs.as_str()], expected);
    }
}

#[derive(Crdt)]
struct Before {
    name: LwwRegister<String>,
    visits: Counter,
}

/// The same, after an upgrade.
#[derive(Crdt)]
struct After {
    name: LwwRegister<String>,
    visits: Counter,
    is_closed: Flag,
}

/// Lets an old and a new release talk for two minutes over a link that loses each frame of which `is_lost` says so. Returns
/// what was refused.
fn upgrade(
    old: &mut Endpoint<MergeMap<u8, Before>>,
    new: &mut Endpoint<MergeMap<u8, After>>,
    is_lost: impl Fn(usize) -> bool,
) -> Vec<SyncError> {
    let (link, mut number, mut errors) = (LinkId(1), 0, Vec::new());
    for now_ms in (START_MS..START_MS + 120_000).step_by(100) {
        old.tick(now_ms);
        new.tick(now_ms);
        loop {
            let (mut to_new, mut to_old) = (Vec::new(), Vec::new());
            if old.transmit(now_ms, &mut to_new).is_some() {
                number += 1;
                errors.extend((!is_lost(number)).then(|| new.receive(now_ms, link, &to_new).err()).flatten());
            }
            if new.transmit(now_ms, &mut to_old).is_some() {
                number += 1;
                errors.extend((!is_lost(number)).then(|| old.receive(now_ms, link, &to_old).err()).flatten());
            }
            if to_new.is_empty() && to_old.is_empty() {
                break;
            }
        }
    }
    assert!(number < 2_000, "{number} frames");
    errors
}

#[test]
fn releases_of_which_one_has_more_fields_exchange_data_until_one_of_those_is_written() {
    let pairs = (0..9_usize).flat_map(|one| (one..9).map(move |other| Some((one, other))));
    for lost in pairs.chain([None]) {
        let mut old: Endpoint<MergeMap<u8, Before>> = endpoint(0, CLUSTER);
        let mut new: Endpoint<MergeMap<u8, After>> = endpoint(1, CLUSTER);
        old.link_up(START_MS, LinkId(1), None, 1);
        new.link_up(START_MS, LinkId(1), None, 2);
        old.write(START_MS, |shops| shops.update(&1, |shop| shop.name().set("old".to_owned())))
            .expect("legal");
        new.write(START_MS, |shops| shops.update(&2, |shop| shop.visits().add(2).is_ok())).expect("legal");
        new.write(START_MS, |shops| shops.remove(&3)).expect("legal");
        // None, one or two of the first, or, at last, about every third.
        let is_lost = |number: usize| match lost {
            None => (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 & 0xff < 80,
            Some((one, other)) => number == one || number == other,
        };
        assert_eq!(upgrade(&mut old, &mut new, is_lost), [], "without {lost:?}");
        assert_eq!(old.replica().vector(), new.replica().vector(), "without {lost:?}");
        assert_eq!(old.replica().digest(), new.replica().digest(), "without {lost:?}");
        assert_eq!(old.replica().state().get(&2).map(|shop| shop.visits.value()), Some(2));
        assert_eq!(
            new.replica().state().get(&1).and_then(|shop| shop.name.latest().cloned()),
            Some("old".to_owned())
        );
        let is_bad = |event| matches!(event, SyncEvent::Refused { .. } | SyncEvent::Diverged { .. });
        assert!(!std::iter::from_fn(|| old.next_event()).any(is_bad), "without {lost:?}");
        assert!(!std::iter::from_fn(|| new.next_event()).any(is_bad), "without {lost:?}");
    }
}

#[test]
fn a_stray_hello_of_another_schema_holds_a_session_up_for_no_longer_than_a_heartbeat() {
    let mut old: Endpoint<MergeMap<u8, Before>> = endpoint(0, CLUSTER);
    let mut new: Endpoint<MergeMap<u8, After>> = endpoint(1, CLUSTER);
    let mut stray: Endpoint<MergeMap<u8, Flag>> = endpoint(2, CLUSTER);
    old.link_up(START_MS, LinkId(1), None, 1);
    new.link_up(START_MS, LinkId(1), None, 2);
    stray.link_up(START_MS, LinkId(1), None, 3);
    assert_eq!(talk(&mut old, &mut new), []);
    let mut hello = Vec::new();
    assert!(stray.transmit(START_MS, &mut hello).is_some());
    assert_eq!(new.receive(START_MS, LinkId(1), &hello), Ok(()));
    let is_taken = |event| matches!(event, SyncEvent::Established { id: who, .. } if who == id(2));
    assert!(!std::iter::from_fn(|| new.next_event()).any(is_taken));
    new.tick(START_MS);
    while new.transmit(START_MS, &mut Vec::new()).is_some() {}
    assert!(new.deadline().is_some_and(|due_ms| due_ms > START_MS), "there is nothing to do now");
    old.write(START_MS, |shops| shops.update(&1, |shop| shop.visits().add(1).is_ok())).expect("legal");
    assert_eq!(upgrade(&mut old, &mut new, |_| false), []);
    assert_eq!(new.replica().state().get(&1).map(|shop| shop.visits.value()), Some(1));
}

#[test]
fn releases_that_are_alike_find_that_out_at_once() {
    let mut old: Endpoint<MergeMap<u8, Before>> = endpoint(0, CLUSTER);
    let mut new: Endpoint<MergeMap<u8, After>> = endpoint(1, CLUSTER);
    old.link_up(START_MS, LinkId(1), None, 1);
    new.link_up(START_MS, LinkId(1), None, 2);
    new.write(START_MS, |shops| shops.update(&1, |shop| shop.visits().add(1).is_ok())).expect("legal");
    assert_eq!(talk(&mut old, &mut new), []);
    assert_eq!(old.replica().state().get(&1).map(|shop| shop.visits.value()), Some(1));
}

#[test]
fn who_comes_where_another_schema_was_refused_is_heard_if_its_own_is_alike() {
    let mut old: Endpoint<MergeMap<u8, Before>> = endpoint(0, CLUSTER);
    let mut other: Endpoint<MergeMap<u8, Flag>> = endpoint(1, CLUSTER);
    let mut new: Endpoint<MergeMap<u8, After>> = endpoint(1, CLUSTER);
    old.link_up(START_MS, LinkId(1), None, 1);
    other.link_up(START_MS, LinkId(1), None, 2);
    new.link_up(START_MS, LinkId(1), None, 3);
    assert_eq!(talk(&mut old, &mut other), [SyncError::Schema, SyncError::Schema]);
    new.write(START_MS, |shops| shops.update(&1, |shop| shop.visits().add(1).is_ok())).expect("legal");
    assert_eq!(talk(&mut old, &mut new), []);
    assert_eq!(old.replica().state().get(&1).map(|shop| shop.visits.value()), Some(1));
}

#[test]
fn a_field_that_the_peer_does_not_have_yet_is_refused_there_whole_once_it_is_written() {
    let mut old: Endpoint<MergeMap<u8, Before>> = endpoint(0, CLUSTER);
    let mut new: Endpoint<MergeMap<u8, After>> = endpoint(1, CLUSTER);
    old.link_up(START_MS, LinkId(1), None, 1);
    new.link_up(START_MS, LinkId(1), None, 2);
    assert_eq!(upgrade(&mut old, &mut new, |_| false), []);
    let before = old.replica().canonical_bytes();
    let now_ms = START_MS + 120_000;
    new.write(now_ms, |shops| shops.update(&2, |shop| shop.is_closed().enable())).expect("legal");
    let (mut frame, mut refused) = (Vec::new(), 0);
    while new.transmit(now_ms, &mut frame).is_some() {
        if let Err(error) = old.receive(now_ms, LinkId(1), &frame) {
            let is_named = matches!(
                error,
                SyncError::Merge(MergeError::Decode(DecodeError::UnknownField { field: 2, .. }))
            );
            assert!(is_named, "{error:?}");
            refused += 1;
        }
        frame.clear();
    }
    assert_eq!(refused, 1);
    assert_eq!(old.replica().canonical_bytes(), before);
    assert!(!old.replica().covers(&new.replica().vector()));
    // It is upgraded: what it held, in the new release, under the id of a new start.
    let stored = old.replica().delta_since(&VersionVector::new()).encode().expect("it is small");
    let mut upgraded: Replica<MergeMap<u8, After>> = Replica::new(id(7), Config::default());
    let stored = upgraded.decode(&stored).expect("it has all fields that are stored");
    upgraded.merge(now_ms, stored).expect("it holds nothing else");
    let mut upgraded = Endpoint::new(upgraded, SyncConfig::new(CLUSTER, member(0), "eu"));
    new.link_down(now_ms, LinkId(1));
    for (end, nonce) in [(&mut upgraded, 5), (&mut new, 6)] {
        end.link_up(now_ms, LinkId(1), None, nonce);
    }
    assert_eq!(talk_at(now_ms, &mut upgraded, &mut new), []);
    let is_closed = upgraded.replica().state().get(&2).map(|shop| shop.is_closed.is_enabled());
    assert_eq!(is_closed, Some(true));
}

/// What one sends now, and by which link.
fn frames<S: Crdt>(end: &mut Endpoint<S>, now_ms: u64) -> Vec<(LinkId, Vec<u8>)> {
    let next = |end: &mut Endpoint<S>| {
        let mut frame = Vec::new();
        end.transmit(now_ms, &mut frame).map(|link| (link, frame))
    };
    std::iter::from_fn(|| next(end)).collect()
}

/// A delta waits for what another peer sends, and cannot be taken then: that is no fault of the other.
#[test]
fn who_sent_what_had_to_wait_is_blamed_for_it_and_not_who_was_waited_for() {
    let now_ms = START_MS;
    let mut hub: Endpoint<MergeMap<u8, Before>> = endpoint(0, CLUSTER);
    let mut old: Endpoint<MergeMap<u8, Before>> = endpoint(1, CLUSTER);
    let mut new: Endpoint<MergeMap<u8, After>> = endpoint(2, CLUSTER);
    // A number for each pair, the same at both ends.
    let [to_old, to_new, aside] = [1, 2, 3].map(LinkId);
    hub.link_up(now_ms, to_old, None, 1);
    hub.link_up(now_ms, to_new, None, 2);
    old.link_up(now_ms, to_old, None, 3);
    new.link_up(now_ms, to_new, None, 4);
    for later_ms in [now_ms, now_ms + 1_000, now_ms + 2_000] {
        if later_ms == now_ms + 1_000 {
            // The hub has made both members by now, so neither has written anything itself.
            old.link_up(later_ms, aside, None, 5);
            new.link_up(later_ms, aside, None, 6);
        }
        hub.tick(later_ms);
        old.tick(later_ms);
        new.tick(later_ms);
        loop {
            let sent = [frames(&mut hub, later_ms), frames(&mut old, later_ms), frames(&mut new, later_ms)];
            if sent.iter().all(Vec::is_empty) {
                break;
            }
            for (from, link, frame) in sent
                .into_iter()
                .enumerate()
                .flat_map(|(from, sent)| sent.into_iter().map(move |(l, f)| (from, l, f)))
            {
                let received = match (from, link.0) {
                    (0, 1) | (2, 3) => old.receive(later_ms, link, &frame),
                    (0, 2) | (1, 3) => new.receive(later_ms, link, &frame),
                    _ => hub.receive(later_ms, link, &frame),
                };
                assert_eq!(received, Ok(()));
            }
        }
    }
    let now_ms = now_ms + 2_000;
    assert!(old.replica().vector().get(&id(1)) == Timestamp::ZERO && hub.members().len() == 3);
    while hub.next_event().is_some() {}
    // Of the old one's first write the new one hears before the hub does, and writes a field that the hub does not know.
    old.write(now_ms, |shops| shops.update(&1, |shop| shop.visits().add(1).is_ok())).expect("legal");
    let mut held_back = Vec::new();
    for (link, frame) in frames(&mut old, now_ms) {
        match link {
            link if link == aside => assert_eq!(new.receive(now_ms, link, &frame), Ok(())),
            _ => held_back.push(frame),
        }
    }
    assert_eq!(new.replica().state().get(&1).map(|shop| shop.visits.value()), Some(1));
    new.write(now_ms, |shops| shops.update(&1, |shop| shop.is_closed().enable())).expect("legal");
    for (link, frame) in frames(&mut new, now_ms) {
        if link == to_new {
            assert_eq!(hub.receive(now_ms, link, &frame), Ok(()), "it waits");
        }
    }
    assert!(
        hub.peers().iter().any(|peer| peer.link == to_new && peer.bytes_pending > 0),
        "{:?}",
        hub.peers()
    );
    for frame in held_back {
        assert_eq!(hub.receive(now_ms, to_old, &frame), Ok(()), "it is as it should be");
    }
    assert_eq!(hub.replica().state().get(&1).map(|shop| shop.visits.value()), Some(1));
    let blamed: Vec<_> = std::iter::from_fn(|| hub.next_event())
        .filter_map(|event| match event {
            SyncEvent::CannotTake { link, error } => Some((link, error)),
            _ => None,
        })
        .collect();
    let unknown = |error: &SyncError| {
        matches!(error, SyncError::Merge(MergeError::Decode(DecodeError::UnknownField { .. })))
    };
    assert!(matches!(&blamed[..], [(link, error)] if *link == to_new && unknown(error)), "{blamed:?}");
}

#[derive(Crdt)]
struct Priced<P: Datum> {
    price: LwwRegister<P>,
    sold: Counter,
}

#[test]
fn a_register_of_another_type_is_named_and_holds_up_nothing() {
    let mut old: Endpoint<MergeMap<u8, Priced<u32>>> = endpoint(0, CLUSTER);
    let mut new: Endpoint<MergeMap<u8, Priced<String>>> = endpoint(1, CLUSTER);
    let mut third: Endpoint<MergeMap<u8, Priced<String>>> = endpoint(2, CLUSTER);
    old.link_up(START_MS, LinkId(1), None, 1);
    new.link_up(START_MS, LinkId(1), None, 2);
    assert_eq!(talk(&mut old, &mut new), []);
    let write =
        |map: &mut <MergeMap<u8, Priced<u32>> as Crdt>::Mut<'_>| map.update(&1, |item| item.price().set(29));
    old.write(START_MS, write).expect("it is legal");
    let sell = |item: &mut PricedMut<'_, String>| {
        item.price().set("29 EUR");
        item.sold().add(3).is_ok()
    };
    new.write(START_MS, |map| map.update(&2, sell)).expect("it is legal");
    // Longer than it takes until they compare what they hold.
    for now_ms in (START_MS..START_MS + 200_000).step_by(500) {
        old.tick(now_ms);
        new.tick(now_ms);
        assert_eq!(talk_at(now_ms, &mut old, &mut new), []);
    }
    assert_eq!(old.replica().state().get(&2).map(|item| item.sold.value()), Some(3));
    assert_eq!(old.replica().digest(), new.replica().digest());
    let named = |event: SyncEvent| match event {
        SyncEvent::Unreadable { link: LinkId(1), found } => Some((found.values, found.places[0].to_string())),
        SyncEvent::Diverged { rows, .. } => panic!("{rows:?}"),
        _ => None,
    };
    let told: Vec<_> = std::iter::from_fn(|| old.next_event()).filter_map(named).collect();
    assert_eq!(told, [(1, "2.price".to_owned())]);
    let told: Vec<_> = std::iter::from_fn(|| new.next_event()).filter_map(named).collect();
    assert_eq!(told, [(1, "1.price".to_owned())]);

    // It is passed on by who cannot read it.
    let now_ms = START_MS + 200_000;
    old.link_up(now_ms, LinkId(2), None, 3);
    third.link_up(now_ms, LinkId(1), None, 4);
    let (mut to_old, mut to_third) = (Vec::new(), Vec::new());
    loop {
        let (from_third, from_old) =
            (third.transmit(now_ms, &mut to_old), old.transmit(now_ms, &mut to_third));
        if from_third.is_none() && from_old.is_none() {
            break;
        }
        if from_third.is_some() {
            old.receive(now_ms, LinkId(2), &std::mem::take(&mut to_old)).expect("it is sound");
        }
        if from_old == Some(LinkId(2)) {
            third.receive(now_ms, LinkId(1), &to_third).expect("it is sound");
        }
        to_third.clear();
    }
    let price = third.replica().state().get(&2).and_then(|item| item.price.latest());
    assert_eq!(price.map(String::as_str), Some("29 EUR"));
}

/// A release whose users have long keys, and one that has something else in the place of its users.
#[derive(Crdt)]
struct Shop {
    rest: UnknownFields,
    name: LwwRegister<String>,
    users: MergeMap<Uuid, LwwRegister<String>>,
}

#[derive(Crdt)]
struct Kiosk {
    name: LwwRegister<String>,
    users: Counter,
    rest: UnknownFields,
}

fn events<S: Crdt>(end: &mut Endpoint<S>) -> Vec<SyncEvent> {
    std::iter::from_fn(|| end.next_event()).collect()
}

#[test]
fn a_field_of_another_type_is_named_on_both_sides_and_holds_up_nothing() {
    let mut shop: Endpoint<Shop> = endpoint(0, CLUSTER);
    let mut kiosk: Endpoint<Kiosk> = endpoint(1, CLUSTER);
    let users: Vec<Uuid> = (0..20).map(|user| Uuid::from_u128(user << 64 | user)).collect();
    shop.write(START_MS, |shop| {
        users.iter().for_each(|user| shop.users().update(user, |name| name.set("Ada")))
    })
    .expect("it is legal");
    for (session, now_ms) in (0..3).map(|session| (session, START_MS + session * 200_000)) {
        shop.link_up(now_ms, LinkId(1), None, 2 * session + 1);
        kiosk.link_up(now_ms, LinkId(1), None, 2 * session + 2);
        // What was written while they were apart is of keys that the other has.
        shop.write(now_ms, |shop| shop.users().update(&users[3], |name| name.set("Grace")))
            .expect("it is legal");
        kiosk.write(now_ms, |kiosk| kiosk.users().add(1).is_ok()).expect("it is legal");
        // Longer than it takes until they compare what they hold.
        for now_ms in (now_ms..now_ms + 150_000).step_by(500) {
            shop.tick(now_ms);
            kiosk.tick(now_ms);
            assert_eq!(talk_at(now_ms, &mut shop, &mut kiosk), []);
        }
        assert_eq!(shop.replica().vector(), kiosk.replica().vector());
        assert_eq!(shop.replica().digest(), kiosk.replica().digest());
        shop.link_down(now_ms + 150_000, LinkId(1));
        kiosk.link_down(now_ms + 150_000, LinkId(1));
    }
    assert_eq!(kiosk.replica().state().users.value(), 3);
    let place =
        |ours: &str, theirs: &str| SchemaConflict { ours: ours.to_owned(), theirs: theirs.to_owned() };
    let told = events(&mut shop);
    let apart = |event: &SyncEvent| match event {
        SyncEvent::FieldsApart { link: LinkId(1), places } => Some(places.clone()),
        SyncEvent::Diverged { rows, .. } => panic!("{rows:?}"),
        _ => None,
    };
    // Once for each time that they meet.
    let told: Vec<_> = told.iter().filter_map(apart).collect();
    assert_eq!(told, vec![[place(".users[] register", ".users counter")]; 3]);
    let told: Vec<_> = events(&mut kiosk).iter().filter_map(apart).collect();
    assert_eq!(told, vec![[place(".users counter", ".users[] register")]; 3]);
    assert_eq!(kiosk.replica().unreadable().places[0].to_string(), "#1");
    // After an upgrade all is there.
    let stored = kiosk.replica().delta_since(&VersionVector::new()).encode().expect("it is small");
    let mut upgraded: Replica<Shop> = Replica::new(id(7), Config::default());
    upgraded.merge(START_MS + 900_000, upgraded.decode(&stored).expect("it is sound")).expect("it is new");
    let name = upgraded.state().users.get(&users[3]).and_then(|name| name.latest());
    assert_eq!((name.map(String::as_str), upgraded.state().users.len()), (Some("Grace"), 20));
}

#[test]
fn keys_that_a_peer_keeps_unread_are_named_in_full_to_it() {
    let mut shop: Endpoint<Shop> = endpoint(0, CLUSTER);
    let mut kiosk: Endpoint<Kiosk> = endpoint(1, CLUSTER);
    let users: Vec<Uuid> = (0..200).map(|user| Uuid::from_u128(user << 64 | user)).collect();
    let mut sent = Vec::new();
    for (session, now_ms) in (0..3).map(|session| (session, START_MS + session * 1_000)) {
        shop.write(now_ms, |shop| {
            users.iter().for_each(|user| shop.users().update(user, |name| name.set("Ada")))
        })
        .expect("it is legal");
        shop.link_up(now_ms, LinkId(1), None, 2 * session + 1);
        kiosk.link_up(now_ms, LinkId(1), None, 2 * session + 2);
        let mut deltas = 0;
        loop {
            let (mut to_kiosk, mut to_shop) = (Vec::new(), Vec::new());
            if shop.transmit(now_ms, &mut to_kiosk).is_some() {
                deltas += usize::from(to_kiosk[0] == DELTA);
                kiosk.receive(now_ms, LinkId(1), &to_kiosk).expect("it is sound");
            }
            if kiosk.transmit(now_ms, &mut to_shop).is_some() {
                shop.receive(now_ms, LinkId(1), &to_shop).expect("it is sound");
            }
            if to_kiosk.is_empty() && to_shop.is_empty() {
                break;
            }
        }
        sent.push(deltas);
        assert_eq!(shop.replica().digest(), kiosk.replica().digest());
        shop.link_down(now_ms, LinkId(1));
        kiosk.link_down(now_ms, LinkId(1));
    }
    assert_eq!(sent, [1, 1, 1], "each time one delta, which is taken");
}

#[test]
fn who_is_refused_stays_so_and_is_told_once() {
    let mut ours: Endpoint<Counts> = endpoint(0, CLUSTER);
    let mut theirs: Endpoint<MergeMap<u8, Flag>> = endpoint(1, CLUSTER);
    ours.link_up(START_MS, LinkId(1), None, 1);
    theirs.link_up(START_MS, LinkId(1), None, 2);
    let mut hello = Vec::new();
    assert!(theirs.transmit(START_MS, &mut hello).is_some());
    assert_eq!(ours.receive(START_MS, LinkId(1), &hello), Ok(()));
    assert_eq!(talk(&mut ours, &mut theirs), [SyncError::Schema, SyncError::Schema]);
    // The same hello once more.
    assert_eq!(ours.receive(START_MS, LinkId(1), &hello), Err(SyncError::Schema));
    assert_eq!(talk(&mut ours, &mut theirs), []);
    assert_eq!((refusals(&mut ours).len(), refusals(&mut theirs).len()), (1, 1));
}

#[test]
fn a_late_refusal_of_who_was_there_before_ends_no_session() {
    let mut ours: Endpoint<Counts> = endpoint(0, CLUSTER);
    let mut before: Endpoint<MergeMap<u8, Flag>> = endpoint(1, CLUSTER);
    let mut theirs: Endpoint<Counts> = endpoint(1, CLUSTER);
    ours.link_up(START_MS, LinkId(1), None, 1);
    before.link_up(START_MS, LinkId(1), None, 2);
    theirs.link_up(START_MS, LinkId(1), None, 3);
    let (mut hello, mut refusal) = (Vec::new(), Vec::new());
    assert!(ours.transmit(START_MS, &mut hello).is_some());
    assert_eq!(before.receive(START_MS, LinkId(1), &hello), Ok(()));
    assert!(before.transmit(START_MS, &mut refusal).is_some());
    assert_eq!(talk(&mut ours, &mut theirs), []);
    assert_eq!(ours.receive(START_MS, LinkId(1), &refusal), Ok(()));
    ours.write(START_MS, |counts| counts.update(&1, |count| count.add(1).is_ok())).expect("it is legal");
    assert_eq!(talk(&mut ours, &mut theirs), []);
    assert_eq!(theirs.replica().state().get(&1).map(Counter::value), Some(1));
    assert_eq!(refusals(&mut ours), []);
}

#[test]
fn b65_who_says_it_is_somebody_else_is_refused_by_what_the_transport_says() {
    let mut hub: Endpoint<Counts> = endpoint(0, CLUSTER);
    let mut honest: Endpoint<Counts> = endpoint(1, CLUSTER);
    let mut impostor: Endpoint<Counts> = endpoint(1, CLUSTER);
    hub.link_up(START_MS, LinkId(1), Some("us-east".to_owned()), 1);
    honest.link_up(START_MS, LinkId(1), None, 2);
    assert_eq!(talk(&mut hub, &mut honest), []);
    hub.link_up(START_MS, LinkId(2), Some("elsewhere".to_owned()), 3);
    impostor.link_up(START_MS, LinkId(7), None, 4);
    let mut hello = Vec::new();
    assert_eq!(impostor.transmit(START_MS, &mut hello), Some(LinkId(7)));
    assert_eq!(hub.receive(START_MS, LinkId(2), &hello), Err(SyncError::Impostor { id: id(1) }));
}

#[test]
fn b65_in_the_name_of_a_member_that_is_away_nobody_is_let_in_whom_the_transport_calls_otherwise() {
    let mut hub: Endpoint<Counts> = endpoint(0, CLUSTER);
    let config = SyncConfig { admission: Admission::Invited, ..hub.config().clone() };
    hub = Endpoint::new(Replica::new(id(0), Config::default()), config);
    hub.found(START_MS).expect("it is legal");
    hub.admit(START_MS, member(1)).expect("it is legal");
    let mut honest: Endpoint<Counts> = endpoint(1, CLUSTER);
    hub.link_up(START_MS, LinkId(1), Some("us-east".to_owned()), 1);
    honest.link_up(START_MS, LinkId(1), None, 2);
    assert_eq!(talk(&mut hub, &mut honest), []);
    assert_eq!(hub.members().len(), 2);
    hub.link_down(START_MS, LinkId(1));
    honest.link_down(START_MS, LinkId(1));
    // Comes as member 1, under an id of its own or under that of the other.
    let come = |hub: &mut Endpoint<Counts>, number: usize, principal: Option<&str>, nonce: u64| {
        let mut stranger: Endpoint<Counts> = Endpoint::new(
            Replica::new(id(number), Config::default()),
            SyncConfig::new(CLUSTER, member(1), "eu"),
        );
        hub.link_up(START_MS, LinkId(1), principal.map(str::to_owned), nonce);
        stranger.link_up(START_MS, LinkId(1), None, nonce + 1);
        let refused = talk(hub, &mut stranger);
        let asks = std::iter::from_fn(|| hub.next_event())
            .any(|event| matches!(event, SyncEvent::JoinRequest { member: who, .. } if who == member(1)));
        hub.link_down(START_MS, LinkId(1));
        (refused, asks, hub.members()[1].id)
    };
    let impostor = SyncError::Impostor { id: id(1) };
    assert_eq!(come(&mut hub, 1, Some("elsewhere"), 3), (vec![impostor], false, id(1)));
    assert_eq!(come(&mut hub, 8, Some("elsewhere"), 5), (vec![], true, id(1)));
    assert_eq!(come(&mut hub, 9, None, 7), (vec![], false, id(9)), "the transport does not say who it is");
    assert_eq!(come(&mut hub, 10, Some("us-east"), 9), (vec![], false, id(10)), "it was restarted");
    assert_eq!(come(&mut hub, 11, Some("elsewhere"), 11), (vec![], true, id(10)));
    hub.admit(START_MS, member(1)).expect("it is legal");
    assert_eq!(come(&mut hub, 12, Some("elsewhere"), 13), (vec![], false, id(12)), "it is called so now");
    assert_eq!(come(&mut hub, 13, Some("us-east"), 15), (vec![], true, id(12)));
}

#[test]
fn b29_t32_while_a_clock_is_wrong_both_sides_say_so_and_nothing_passes_between_the_two() {
    let mut net: Net<Counts> = Net::new(3, |_, _| {});
    net.skew_ms[0] = 60_500;
    net.mesh();
    net.run(3_000);
    for at in 0..3 {
        net.write(at, |counts| counts.update(&7, |count| count.add(1).is_ok()));
    }
    net.run(10_000);
    for (at, count) in [1, 2, 2].into_iter().enumerate() {
        assert_eq!(net.ends[at].replica().state().get(&7).map(Counter::value), Some(count), "of {at}");
    }
    for at in 0..3 {
        let apart: Vec<_> = net.events[at]
            .iter()
            .filter_map(|event| match event {
                SyncEvent::ClocksApart { ahead, by_ms, .. } => Some((*ahead, *by_ms / 1_000)),
                _ => None,
            })
            .collect();
        let expected = if at == 0 { vec![(id(0), 60); 2] } else { vec![(id(0), 60)] };
        assert_eq!(apart, expected, "of {at}");
    }
    net.skew_ms[0] = 0;
    net.run(70_000);
    assert!(net.is_converged());
    assert_eq!(net.ends[2].replica().state().get(&7).map(Counter::value), Some(3));
    assert!(net.events[1].iter().any(|event| matches!(event, SyncEvent::ClocksRight { .. })));
}

#[test]
fn who_is_not_invited_waits_until_it_is_admitted() {
    let mut net: Net<Counts> = Net::new(2, |at, config| {
        if at == 0 {
            config.admission = Admission::Invited;
        }
    });
    net.ends[0].found(START_MS).expect("it is legal");
    net.write(0, |counts| counts.update(&7, |count| count.add(1).is_ok()));
    net.write(1, |counts| counts.update(&8, |count| count.add(1).is_ok()));
    net.connect(0, 1);
    net.run(5_000);
    assert_eq!([0, 1].map(|at| net.ends[at].replica().vector().get(&id(1 - at))), [Timestamp::ZERO; 2]);
    assert!(net.logged(DELTA, 1, 0) > 0, "it offers what it has, in vain");
    assert!(
        net.events[0]
            .iter()
            .any(|event| matches!(event, SyncEvent::JoinRequest { member: who, .. } if *who == member(1)))
    );
    let clock = net.clock(0);
    net.ends[0].admit(clock, member(1)).expect("it is legal");
    net.pump(0);
    net.run(10_000);
    assert!(net.is_converged());
    assert_eq!(net.ends[1].members().len(), 2);
}

#[test]
fn bytes_that_are_no_frames_are_refused_and_change_nothing() {
    let mut net: Net<Counts> = Net::new(2, |_, _| {});
    net.connect(0, 1);
    net.write(0, |counts| counts.update(&7, |count| count.add(1).is_ok()));
    net.run(5_000);
    let frames: Vec<Vec<u8>> =
        net.log.iter().filter(|(_, to, _)| *to == 1).map(|(_, _, bytes)| bytes.clone()).collect();
    let digest = net.ends[1].replica().digest();
    let link = LinkId(2);
    let clock = net.clock(1);
    for frame in &frames {
        for length in 0..frame.len() {
            let _ = net.ends[1].receive(clock, link, &frame[..length]);
        }
        for place in 0..frame.len() {
            for bit in [1, 16, 128] {
                let mut flipped = frame.clone();
                flipped[place] ^= bit;
                let _ = net.ends[1].receive(clock, link, &flipped);
            }
        }
    }
    assert_eq!(net.ends[1].replica().digest(), digest);
}

#[test]
fn t31_clocks_that_are_set_back_delay_nothing() {
    let mut net: Net<Counts> = Net::new(2, |_, _| {});
    net.skew_ms = vec![50_000, 50_000];
    net.mesh();
    net.run(5_000);
    net.skew_ms = vec![0, 0];
    net.log.clear();
    net.write(0, |counts| counts.update(&7, |count| count.add(1).is_ok()));
    net.run(100);
    assert!(net.is_converged());
    net.write(1, |counts| counts.remove(&7));
    net.run(10_000);
    assert!(net.is_converged());
    assert!(net.log.iter().filter(|(_, _, bytes)| bytes[0] == 5).count() > 10, "heartbeats go on");
    assert_eq!(
        net.ends[0].replica().state().rows() + net.ends[1].replica().state().rows(),
        0,
        "all is forgotten"
    );
}

#[test]
fn what_is_lost_or_waits_when_clocks_are_set_back_is_not_waited_for_any_longer() {
    // With two the write is lost. With three what the other one wrote waits for it.
    for (count, within_ms) in [(2, 3_000), (3, 1_000)] {
        let mut net: Net<Counts> = Net::new(count, |_, _| {});
        net.skew_ms = vec![50_000; count];
        net.mesh();
        net.run(5_000);
        let last = count - 1;
        net.fate =
            Box::new(
                move |from, to, bytes| {
                    if (from, to, bytes[0]) == (0, last, DELTA) { Fate::Lost } else { Fate::Arrives }
                },
            );
        net.write(0, |counts| counts.update(&7, |count| count.add(1).is_ok()));
        net.run(50);
        net.write(1, |counts| counts.update(&8, |count| count.add(1).is_ok()));
        net.run(50);
        assert_eq!(net.ends[last].replica().state().get(&7).map(Counter::value), None);
        net.fate = Box::new(|_, _, _| Fate::Arrives);
        net.skew_ms = vec![0; count];
        (0..count).for_each(|at| net.pump(at));
        net.run(within_ms);
        assert!(net.is_converged(), "{count}");
    }
}
