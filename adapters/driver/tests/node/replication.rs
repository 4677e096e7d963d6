//! Nodes that are connected come to hold the same.

use std::time::Duration;

use driftless::{Held, Need, ReplicaId, Timestamp, Token};
use driftless_node::{ConfirmError, MemoryStore, WaitError};

use crate::regions::{become_members, connect, converged, eventually, open};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn three_regions_write_at_once_and_come_to_hold_the_same() {
    let mut regions = Vec::new();
    for region in ["eu", "us", "ap"] {
        regions.push(open(region, &MemoryStore::new()).await);
    }
    let _wires =
        [(0, 1), (1, 2), (2, 0)].map(|(one, other)| connect(&regions[one].node, &regions[other].node));
    for round in 0..20 {
        for region in &regions {
            region.count("kettle", 1).await;
            let made = region.shop.write(move |shop| {
                shop.names().update(&(round % 3), |name| name.set(format!("name {round}")));
                if round % 2 == 0 {
                    shop.tags().add(&round)
                } else {
                    shop.tags().remove(&(round - 1));
                }
            });
            made.await.expect("it is made");
        }
    }
    let all: Vec<_> = regions.iter().collect();
    eventually("all is counted everywhere", || all.iter().all(|region| region.counted("kettle") == 60)).await;
    converged(&all).await;
    for region in &regions {
        become_members(region, 3).await;
        let status = region.node.status().await.expect("it runs");
        assert!(status.domains[0].links.iter().all(|link| link.state == "open"), "{status}");
        assert_eq!((status.domains[0].links.len(), status.domains[0].store.failure.as_ref()), (2, None));
    }
}

#[tokio::test]
async fn a_token_is_waited_for_and_a_write_is_confirmed() {
    let (eu, us) = (open("eu", &MemoryStore::new()).await, open("us", &MemoryStore::new()).await);
    let lonely = eu.count("kettle", 1).await;
    let missing = us.shop.reached(&lonely.token).await.expect_err("they are not connected");
    assert!(matches!(missing, WaitError::NotReached { missing } if missing[0].have == Timestamp::ZERO));
    let late = us.shop.wait_for(&lonely.token, Duration::from_millis(1)).await;
    assert!(matches!(late, Err(WaitError::NotReached { .. })));

    let waiting = tokio::spawn({
        let (shop, token) = (us.shop.clone(), lonely.token.clone());
        async move { shop.wait_for(&token, PATIENCE).await }
    });
    let wire = connect(&eu.node, &us.node);
    let snapshot = waiting.await.expect("no panic").expect("it comes");
    assert_eq!(snapshot.stock.get("kettle").map(|count| count.value()), Some(1));
    let read = Token::from(snapshot.vector());
    eu.shop.wait_for(&read, PATIENCE).await.expect("what is read there comes to be held here");
    eu.shop.reached(&read).await.expect("it is held here");

    become_members(&eu, 2).await;
    let stamp = eu.count("kettle", 1).await.stamp.expect("an event");
    let holders = eu.shop.confirm(stamp, Need::All, Held::Durable, PATIENCE).await.expect("both hold it");
    assert_eq!(holders.hold.len(), 2);

    drop(wire);
    let stamp = eu.count("kettle", 1).await.stamp.expect("an event");
    let alone = eu.shop.confirm(stamp, Need::All, Held::Durable, Duration::from_millis(50)).await;
    let Err(ConfirmError::Unconfirmed(holders)) = alone else { panic!("nobody else holds it: {alone:?}") };
    assert_eq!(
        (holders.hold.as_slice(), holders.lack.as_slice()),
        (&[eu.shop.member()][..], &[us.shop.member()][..])
    );

    let nobody = Token::of(ReplicaId::from_u128(7), stamp);
    assert!(us.shop.reached(&nobody).await.is_err());
}

#[tokio::test]
async fn who_writes_nothing_answers_for_what_it_saw() {
    let eu = open("eu", &MemoryStore::new()).await;
    eu.count("kettle", 1).await;
    let saw = eu.shop.transact(|shop| Ok::<_, ()>(shop.stock().len())).await.expect("it is made");
    assert_eq!((saw.value, saw.stamp), (1, None));
    assert_eq!(saw.token, Token::from(eu.shop.read().vector()));
}

#[tokio::test]
async fn a_member_that_is_gone_is_named_as_blocking_and_can_be_evicted() {
    let (eu, us) = (open("eu", &MemoryStore::new()).await, open("us", &MemoryStore::new()).await);
    let third = open("ap", &MemoryStore::new()).await;
    let wire = connect(&eu.node, &us.node);
    let _other = connect(&eu.node, &third.node);
    eu.shop.write(|shop| shop.tags().add(&7)).await.expect("it is made");
    eventually("all are members", || [&us, &third].iter().all(|region| region.shop.read().tags.len() == 1))
        .await;
    become_members(&eu, 3).await;
    drop(wire);
    eu.shop.write(|shop| shop.tags().remove(&7)).await.expect("it is made");
    let mut status = eu.shop.status().await.expect("it runs");
    for _ in 0..4_000 {
        status = eu.shop.status().await.expect("it runs");
        if status.blocking.iter().any(|blocking| blocking.member == us.shop.member() && blocking.rows == 1) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(status.blocking.iter().any(|blocking| blocking.member == us.shop.member()), "{status}");
    assert!(status.to_string().contains("waits for"), "{status}");
    assert!(serde_json::to_string(&status).expect("it is JSON").contains("\"blocking\":[{\"member\":"));
    eu.shop.evict(us.shop.member()).await.expect("it is made");
    assert_eq!(eu.shop.members().await.expect("it runs").len(), 2);
    assert!(
        eu.shop.status().await.expect("it runs").blocking.iter().all(|one| one.member != us.shop.member())
    );
}
