//! The peer list is changed, or broken, while links are up.

use std::time::Duration;

use driftless_node::connection::{Access, Grants};
use driftless_tcp::{Peer, Policy, PolicyError, Reason, TcpConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::raw::{Client, greeted, preface, rest};
use crate::regions::{DAY, Log, Place, Region, domain, frame, gone, region, soon, until};

#[tokio::test]
async fn a_list_that_cannot_be_loaded_closes_all_and_opens_nothing() {
    let (place, log) = (Place::new(), Log::new());
    let (mut eu, mut us, mut at_eu, mut at_us) = place.pair().await;
    let good = std::fs::read_to_string(place.path("us.toml")).unwrap();
    for broken in ["[peers.eu]\ndomains = { orders = \"read\"", "[peers.eu]\ndomians = {}", "", "gone"] {
        if broken == "gone" {
            std::fs::remove_file(place.path("us.toml")).unwrap();
        } else {
            place.write("us.toml", broken);
        }
        let reloaded = us.links.reload().await;
        gone(&mut at_us).await;
        gone(&mut at_eu).await;
        // An empty list is a list: it has nobody in it.
        assert_eq!(reloaded.is_ok(), broken.is_empty());
        assert_eq!(us.links.status().policy_error.is_some(), !broken.is_empty());
        if broken.is_empty() {
            eu.fails("us", |reason| reason.to_string().contains("we are not in its peer list")).await;
        } else {
            log.says(&["ERROR", "nobody is let in, and all links are closed"]).await;
            // Who knocks is not even listened to.
            let mut stream = TcpStream::connect(us.address()).await.unwrap();
            assert_eq!(rest(&mut stream).await, b"");
            assert!(us.links.reload().await.is_err(), "it stays wrong");
            eu.fails("us", |reason| matches!(reason, Reason::Network { .. } | Reason::Cut)).await;
        }
        assert!(us.connections.try_recv().is_err() && eu.connections.try_recv().is_err());
        place.write("us.toml", &good);
        us.links.reload().await.unwrap();
        (at_eu, at_us) = (eu.connection().await, us.connection().await);
        soon("room", at_eu.outgoing.send(frame("orders", "x"))).await.unwrap();
        assert_eq!(soon("a frame", at_us.incoming.recv()).await, Some(frame("orders", "x")));
    }
    log.says(&["connection closed", "reason=\"no_policy\""]).await;
    log.says(&["connection closed", "its peer list cannot be loaded"]).await;
}

#[tokio::test]
async fn the_dialing_side_stops_with_a_broken_list_too() {
    let place = Place::new();
    let (mut eu, mut us, mut at_eu, mut at_us) = place.pair().await;
    let good = std::fs::read_to_string(place.path("eu.toml")).unwrap();
    place.write("eu.toml", "[peers");
    let error = eu.links.reload().await.unwrap_err();
    assert!(matches!(error.policy, Some(PolicyError::Malformed { .. })), "{error}");
    gone(&mut at_eu).await;
    gone(&mut at_us).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(us.connections.try_recv().is_err(), "it does not dial");
    place.write("eu.toml", &good);
    eu.links.reload().await.unwrap();
    eu.connection().await;
    us.connection().await;
}

#[tokio::test]
async fn what_is_not_granted_any_more_is_not_there_any_more() {
    let (place, log) = (Place::new(), Log::new());
    let (mut eu, mut us, mut at_eu, mut at_us) = place.pair().await;
    assert_eq!(at_eu.offered, ["orders", "prices"].map(domain));
    place.list("us", &[("eu", &[], "orders = \"read\"")]);
    us.links.reload().await.unwrap();
    gone(&mut at_us).await;
    gone(&mut at_eu).await;
    log.says(&["connection closed", "reason=\"policy_changed\""]).await;
    (at_eu, at_us) = (eu.connection().await, us.connection().await);
    assert_eq!(at_us.grants, Grants::from([(domain("orders"), Access::Read)]));
    assert_eq!(at_eu.offered, [domain("orders")]);
    // What the node of `eu` does not know yet does not leave, whatever `us` grants now.
    soon("room", at_eu.outgoing.send(frame("prices", "x"))).await.unwrap();
    gone(&mut at_us).await;

    place.list("us", &[("ap", &[], "orders = \"read\"")]);
    us.links.reload().await.unwrap();
    eu.fails("us", |reason| reason.to_string().contains("we are not in its peer list")).await;
    until("it is gone", || us.links.status().peers.iter().all(|peer| peer.connections.is_empty())).await;
}

#[tokio::test]
async fn what_does_not_concern_a_peer_leaves_its_link_alone() {
    let place = Place::new();
    let (eu, us, at_eu, mut at_us) = place.pair().await;
    let list = std::fs::read_to_string(place.path("us.toml")).unwrap();
    place.write("us.toml", &format!("{list}[peers.ap]\naddresses = [\"127.0.0.1:1\"]\ndomains = {{}}\n"));
    us.links.reload().await.unwrap();
    place.write("us.toml", &list.replace("addresses = []", "addresses = [\"127.0.0.1:1\"]"));
    us.links.reload().await.unwrap();
    soon("room", at_eu.outgoing.send(frame("orders", "x"))).await.unwrap();
    assert_eq!(soon("a frame", at_us.incoming.recv()).await, Some(frame("orders", "x")));
    assert_eq!((eu.peer("us").connections.len(), us.peer("eu").connections.len()), (1, 1));
}

#[tokio::test]
async fn a_list_is_read_again_by_itself() {
    let place = Place::new();
    place.list("eu", &[]);
    let mut config = place.config("eu");
    config.timing.reload = Duration::from_millis(30);
    let mut eu = Region::start(config).await;
    let address = eu.links.local_address().unwrap();
    let mut stream = Client::default().connect(&place, address).await.unwrap();
    stream.write_all(&preface(0xc1, "us", &["orders"])).await.unwrap();
    assert_eq!(rest(&mut stream).await.last(), Some(&3));
    place.list("eu", &[("us", &[], "orders = \"read\"")]);
    until("the list is read", || !eu.links.status().peers.is_empty()).await;
    greeted(&place, address, &["orders"]).await;
    let mut connection = eu.connection().await;
    place.write("eu.toml", "broken");
    gone(&mut connection).await;
    until("it is seen", || eu.links.status().policy_error.is_some()).await;
}

#[tokio::test]
async fn a_program_sets_the_list_instead_of_the_file() {
    let place = Place::new();
    let (mut eu, us, mut at_eu, mut at_us) = place.pair().await;
    us.links.set_policy(Policy::default());
    gone(&mut at_us).await;
    gone(&mut at_eu).await;
    us.links.reload().await.unwrap();
    assert!(us.links.status().peers.is_empty(), "the file is not read any more");
    let grants = Grants::from([(domain("prices"), Access::ReadWrite)]);
    us.links.set_policy(Policy::new([(region("eu"), Peer::new(&region("eu"), grants))]).unwrap());
    assert_eq!(eu.connection().await.offered, [domain("prices")]);
}

#[tokio::test]
async fn one_list_may_serve_all_regions() {
    let place = Place::new();
    let us_config = place.config("us");
    let both = "orders = \"read-write\"";
    place.list("us", &[("eu", &[], both), ("us", &["127.0.0.1:1".to_owned()], both)]);
    let mut us = Region::start(TcpConfig { ..us_config }).await;
    place.list("eu", &[("eu", &["127.0.0.1:1".to_owned()], both), ("us", &[us.address()], both)]);
    let mut eu = place.start("eu").await;
    eu.connection().await;
    us.connection().await;
    assert_eq!(us.links.status().peers.len(), 1, "it is no peer of its own");
}

#[tokio::test]
async fn what_was_handed_over_is_not_sent_once_it_is_not_granted() {
    const BYTES: usize = 12 << 20;
    let place = Place::new();
    place.list("eu", &[("us", &[], "orders = \"read\"")]);
    let mut eu = place.start("eu").await;
    let limit = u32::try_from(BYTES).unwrap().to_be_bytes();
    let mut hello = preface(0xc1, "us", &["orders"]);
    // It takes large frames, and reads none of them for now.
    hello[36..40].copy_from_slice(&limit);
    let mut stream = Client::default().connect(&place, eu.links.local_address().unwrap()).await.unwrap();
    stream.write_all(&hello).await.unwrap();
    crate::raw::take_preface(&mut stream).await;
    let mut connection = eu.connection().await;
    for _ in 0..3 {
        let large =
            driftless_node::connection::Frame { domain: domain("orders"), bytes: vec![7; BYTES].into() };
        soon("room", connection.outgoing.send(large)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    place.list("eu", &[]);
    eu.links.reload().await.unwrap();
    gone(&mut connection).await;
    // What the kernel had taken arrives; the first frame is not sent to its end, nor are the others.
    let received = rest(&mut stream).await.len();
    assert!(received < BYTES, "{received}");
}

#[tokio::test]
async fn who_bears_a_name_that_is_another_peers_now_is_put_out() {
    let (place, log) = (Place::new(), Log::new());
    let names = ["eu.driftless.internal", "ap.driftless.internal"];
    place.certify("eu", &place.authority, &names, DAY);
    let (eu, mut us, _at_eu, mut at_us) = place.pair().await;
    // The name that the link bears is not its peer's alone any more.
    let domains = "orders = \"read-write\"";
    place.list("us", &[("eu", &[], domains), ("ap", &[], domains)]);
    us.links.reload().await.unwrap();
    gone(&mut at_us).await;
    log.says(&["connection closed", "peer=\"eu\"", "reason=\"policy_changed\""]).await;
    eu.fails("us", |reason| reason.to_string().contains("or of several")).await;

    // A key was stolen: the region gets another name, and who bears the old one is put out.
    place.certify("eu", &place.authority, &["eu.driftless.internal"], DAY);
    eu.links.reload().await.unwrap();
    let mut at_us = us.connection().await;
    place.write(
        "us.toml",
        "[peers.eu]\nidentity = \"eu2.driftless.internal\"\ndomains = { orders = \"read\" }",
    );
    us.links.reload().await.unwrap();
    gone(&mut at_us).await;
    eu.fails("us", |reason| reason.to_string().contains("we are not in its peer list")).await;
}
