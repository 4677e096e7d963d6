//! The peer list is changed, or broken, while links are up.

use std::future::IntoFuture;
use std::path::Path;

use driftless_nats::{NatsConfig, PolicyError, PolicySource, Reason};
use driftless_node::connection::{Access, Grants};

use crate::regions::{BOTH, Log, Region, config, domain, frame, gone, list, pair, passes, soon};
use crate::server::Server;

fn write(path: &Path, text: &str) {
    // As one does it: whole, or not at all.
    std::fs::write(path.with_extension("new"), text).unwrap();
    std::fs::rename(path.with_extension("new"), path).unwrap();
}

#[tokio::test]
async fn a_list_that_cannot_be_loaded_closes_all_and_opens_nothing() {
    let Some(server) = Server::start().await else { return };
    let log = Log::new();
    let path = server.folder.path().join("us.toml");
    let good = format!("[peers.eu]\ndomains = {{ {BOTH} }}\n");
    write(&path, &good);
    let policy = PolicySource::File(path.clone());
    let mut us = Region::start(NatsConfig { policy, ..config(&server, "us", &[]) }).await;
    let mut eu = Region::start(config(&server, "eu", &["us"])).await;
    let (mut at_eu, mut at_us) = (eu.connection().await, us.connection().await);
    for broken in ["[peers.eu]\ndomains = { orders = \"read\"", "[peers.eu]\ndomians = {}", "", "gone"] {
        if broken == "gone" {
            std::fs::remove_file(&path).unwrap();
        } else {
            write(&path, broken);
        }
        let reloaded = us.links.reload().await;
        gone(&mut at_us).await;
        gone(&mut at_eu).await;
        // An empty list is a list: it has nobody in it.
        assert_eq!(reloaded.is_ok(), broken.is_empty());
        assert_eq!(us.links.status().policy_error.is_some(), !broken.is_empty());
        if broken.is_empty() {
            eu.fails("us", |reason| reason.to_string().contains("not in its peer list")).await;
        } else {
            log.says(&["ERROR", "nobody is let in, and all links are closed"]).await;
            assert!(us.links.reload().await.is_err(), "it stays wrong");
            eu.fails("us", |reason| reason.to_string().contains("its peer list cannot be loaded")).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        assert!(us.connections.try_recv().is_err() && eu.connections.try_recv().is_err());
        write(&path, &good);
        us.links.reload().await.unwrap();
        (at_eu, at_us) = (eu.connection().await, us.connection().await);
        passes(&at_eu, &mut at_us, "x").await;
    }
    log.says(&["link closed", "reason=\"no_policy\""]).await;
    write(&path, "[peers");
    let error = us.links.reload().await.unwrap_err();
    assert!(matches!(error, PolicyError::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn what_is_not_granted_any_more_is_not_there_any_more() {
    let Some(server) = Server::start().await else { return };
    let log = Log::new();
    let (mut eu, mut us, mut at_eu, mut at_us) = pair(&server).await;
    us.links.set_policy(list(&[("eu", "orders = \"read\"")]));
    gone(&mut at_us).await;
    gone(&mut at_eu).await;
    log.says(&["link closed", "reason=\"policy_changed\""]).await;
    (at_eu, at_us) = (eu.connection().await, us.connection().await);
    assert_eq!(at_us.grants, Grants::from([(domain("orders"), Access::Read)]));
    assert_eq!(at_eu.offered, [domain("orders")]);
    passes(&at_us, &mut at_eu, "x").await;
    // What the node hands over for a peer that may not have it does not leave.
    at_us.outgoing.send(frame("prices", "x")).await.unwrap();
    gone(&mut at_us).await;
    log.says(&["ERROR", "reason=\"withheld\""]).await;
    gone(&mut at_eu).await;
    (at_eu, at_us) = (eu.connection().await, us.connection().await);

    us.links.set_policy(list(&[("ap", "orders = \"read\"")]));
    gone(&mut at_us).await;
    gone(&mut at_eu).await;
    eu.fails("us", |reason| reason.to_string().contains("we are not in its peer list")).await;
    assert_eq!(us.links.status().peers.len(), 1);
}

#[tokio::test]
async fn what_does_not_concern_a_peer_leaves_its_link_alone() {
    let Some(server) = Server::start().await else { return };
    let (eu, us, at_eu, mut at_us) = pair(&server).await;
    // The inbox is changed under way, for the new peer.
    us.links.set_policy(list(&[("eu", BOTH), ("ap", "")]));
    let mut ap = Region::start(config(&server, "ap", &["us", "ap"])).await;
    let _at_ap = ap.connection().await;
    passes(&at_eu, &mut at_us, "x").await;
    us.links.set_policy(list(&[("eu", BOTH)]));
    ap.fails("us", |reason| reason.to_string().contains("its peer list")).await;
    passes(&at_eu, &mut at_us, "y").await;
    assert!(eu.peer("us").link.is_some());
    assert_eq!(ap.links.status().peers.len(), 1, "it is no peer of its own");
}

#[tokio::test]
async fn who_is_not_listed_any_more_has_no_place_in_the_inbox() {
    let Some(server) = Server::start().await else { return };
    let (mut eu, mut peer) = crate::raw::eu_and_peer(&server).await;
    peer.links(&["orders"]).await;
    let mut connection = eu.connection().await;
    // The node takes nothing, so they stay there.
    for _ in 0..200 {
        peer.sends(b"x").await;
    }
    assert!(crate::raw::waiting(&peer.jetstream, "eu").await > 0);
    eu.links.set_policy(list(&[("ap", BOTH)]));
    crate::raw::empties(&peer.jetstream, "eu").await;
    gone(&mut connection).await;
    // And more of them is not taken.
    let sent =
        peer.jetstream.publish(format!("{}.eu.us.frames", crate::raw::PREFIX), "x".into()).await.unwrap();
    assert!(soon("an answer", sent.into_future()).await.is_err());
}

#[tokio::test]
async fn a_list_is_read_again_by_itself() {
    let Some(server) = Server::start().await else { return };
    let path = server.folder.path().join("us.toml");
    write(&path, "");
    let mut reading = NatsConfig { policy: PolicySource::File(path.clone()), ..config(&server, "us", &[]) };
    reading.timing.reload = std::time::Duration::from_millis(30);
    let mut us = Region::start(reading).await;
    let mut eu = Region::start(config(&server, "eu", &["us"])).await;
    eu.fails("us", |reason| reason.to_string().contains("not in its peer list")).await;
    write(&path, "[peers.eu]\ndomains = { orders = \"read\" }");
    let mut at_us = us.connection().await;
    assert_eq!(eu.connection().await.offered, [domain("orders")]);
    write(&path, "broken");
    gone(&mut at_us).await;
}

#[tokio::test]
async fn who_asks_for_more_than_it_may_read_gets_no_more() {
    let Some(server) = Server::start().await else { return };
    let (eu, mut peer) = crate::raw::eu_and_peer(&server).await;
    drop(eu);
    let policy = PolicySource::Given(list(&[("us", "orders = \"read\"")]));
    let mut eu = Region::start(NatsConfig { policy, ..config(&server, "eu", &[]) }).await;
    peer.links(&["prices", "orders"]).await;
    let connection = eu.connection().await;
    // It is not told that there is `prices`, though it says that it has that too.
    let said = loop {
        let said = peer.hears().await;
        if said[8] == 1 && said[27..43] == peer.session {
            break said;
        }
    };
    assert_eq!(said[63..], *b"\x01\x06orders");
    assert_eq!(connection.grants, Grants::from([(domain("orders"), Access::Read)]));
    connection.outgoing.send(frame("prices", "secret")).await.unwrap();
    let mut connection = connection;
    assert_eq!(soon("the end", connection.incoming.recv()).await, None);
    eu.fails("us", |reason| matches!(reason, Reason::Withheld { .. })).await;
}
