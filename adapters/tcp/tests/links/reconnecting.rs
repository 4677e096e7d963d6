//! Connections that end, and come again.

use std::sync::atomic::Ordering;
use std::time::Duration;

use driftless_tcp::{Reason, TcpConfig, Timing};

use crate::proxy::{Faults, Proxy};
use crate::raw::greeted;
use crate::regions::{Log, Place, Region, frame, gone, quick, soon, until};

const BOTH: &str = "orders = \"read-write\"";

/// `eu` dials `us` through a proxy.
async fn through_proxy(place: &Place, timing: Timing) -> (Region, Region, Proxy) {
    place.list("us", &[("eu", &[], BOTH)]);
    let us = Region::start(TcpConfig { timing, ..place.config("us") }).await;
    let proxy = Proxy::start(us.links.local_address().unwrap(), 1, Faults::default()).await;
    place.list("eu", &[("us", &[proxy.address.to_string()], BOTH)]);
    let eu = Region::start(TcpConfig { timing, ..place.config("eu") }).await;
    (eu, us, proxy)
}

#[tokio::test]
async fn a_region_that_is_down_is_dialed_until_it_is_there() {
    let place = Place::new();
    let us = place.start("us").await;
    let address = us.links.local_address().unwrap();
    us.links.shutdown().await;
    place.list("eu", &[("us", &["nowhere.invalid:1".to_owned(), address.to_string()], BOTH)]);
    let mut eu = place.start("eu").await;
    until("it is dialed again", || eu.peer("us").dialing.is_some_and(|dialing| dialing.failures > 3)).await;
    let dialing = eu.peer("us").dialing.unwrap();
    assert!(matches!(dialing.last, Some(Reason::Network { .. })), "{dialing:?}");

    place.list("us", &[("eu", &[], BOTH)]);
    for _ in 0..3 {
        let mut us = Region::start(TcpConfig { listen: Some(address), ..place.config("us") }).await;
        let (mut at_eu, _) = (eu.connection().await, us.connection().await);
        assert_eq!(eu.peer("us").dialing, None);
        us.links.shutdown().await;
        gone(&mut at_eu).await;
    }
}

#[tokio::test]
async fn what_was_handed_over_before_the_shutdown_arrives() {
    let (place, log) = (Place::new(), Log::new());
    let (eu, _us, at_eu, mut at_us) = place.pair().await;
    for number in 0..8 {
        at_eu.outgoing.try_send(frame("orders", &number.to_string())).unwrap();
    }
    let shutdown = tokio::spawn(eu.links.shutdown());
    for number in 0..8 {
        assert_eq!(soon("a frame", at_us.incoming.recv()).await, Some(frame("orders", &number.to_string())));
    }
    assert_eq!(soon("the end", at_us.incoming.recv()).await, None);
    log.says(&["INFO", "connection closed", "reason=\"by_peer\"", "it is shutting down"]).await;
    soon("the end of the shutdown", shutdown).await.unwrap();
    assert!(at_eu.outgoing.is_closed());
}

#[tokio::test]
async fn what_a_node_handed_over_before_it_let_go_arrives() {
    let place = Place::new();
    let (mut eu, mut us, at_eu, mut at_us) = place.pair().await;
    for number in 0..8 {
        at_eu.outgoing.try_send(frame("orders", &number.to_string())).unwrap();
    }
    let driftless_node::connection::Connection { outgoing, incoming, .. } = at_eu;
    drop(outgoing);
    for number in 0..8 {
        assert_eq!(soon("a frame", at_us.incoming.recv()).await, Some(frame("orders", &number.to_string())));
    }
    assert_eq!(soon("the end", at_us.incoming.recv()).await, None);
    drop(incoming);
    // A node that lets go of a connection gets another one.
    (_, _) = (eu.connection().await, us.connection().await);
}

#[tokio::test]
async fn a_quiet_link_stays_and_a_dead_one_is_noticed_on_both_sides() {
    let (place, log) = (Place::new(), Log::new());
    let timing = Timing { silence: Duration::from_millis(1500), ..quick() };
    let (mut eu, mut us, proxy) = through_proxy(&place, timing).await;
    let (mut at_eu, mut at_us) = (eu.connection().await, us.connection().await);
    // No frame goes over it for longer than silence is borne: signs of life do.
    tokio::time::sleep(Duration::from_millis(4000)).await;
    soon("room", at_eu.outgoing.send(frame("orders", "x"))).await.unwrap();
    assert_eq!(soon("a frame", at_us.incoming.recv()).await, Some(frame("orders", "x")));
    assert_eq!(proxy.accepted.load(Ordering::Relaxed), 1);

    // The network swallows all, and says nothing.
    proxy.set(Faults { is_silent: true, ..Faults::default() });
    gone(&mut at_eu).await;
    gone(&mut at_us).await;
    log.says(&["connection closed", "reason=\"silent\"", "direction=\"dialed\""]).await;
    log.says(&["connection closed", "reason=\"silent\"", "direction=\"accepted\""]).await;
    eu.fails("us", |reason| matches!(reason, Reason::Late { .. })).await;
    proxy.set(Faults::default());
    let (at_eu, mut at_us) = (eu.connection().await, us.connection().await);
    soon("room", at_eu.outgoing.send(frame("orders", "y"))).await.unwrap();
    assert_eq!(soon("a frame", at_us.incoming.recv()).await, Some(frame("orders", "y")));
}

#[tokio::test]
async fn signs_of_life_come_as_often_as_the_peer_needs_them() {
    let place = Place::new();
    place.list("us", &[("eu", &[], BOTH)]);
    // By itself `eu` would send one each hour.
    let impatient = Timing { silence: Duration::from_millis(1500), ..quick() };
    let mut us = Region::start(TcpConfig { timing: impatient, ..place.config("us") }).await;
    place.list("eu", &[("us", &[us.address()], BOTH)]);
    let calm =
        Timing { silence: Duration::from_secs(3600), keep_alive: Duration::from_secs(3600), ..quick() };
    let mut eu = Region::start(TcpConfig { timing: calm, ..place.config("eu") }).await;
    let (at_eu, mut at_us) = (eu.connection().await, us.connection().await);
    tokio::time::sleep(Duration::from_millis(4000)).await;
    soon("room", at_eu.outgoing.send(frame("orders", "x"))).await.unwrap();
    assert_eq!(soon("a frame", at_us.incoming.recv()).await, Some(frame("orders", "x")));
}

#[tokio::test]
async fn a_restarted_peer_is_let_in_while_its_old_connection_is_not_known_to_be_dead() {
    let (place, log) = (Place::new(), Log::new());
    let (mut eu, mut us, proxy) = through_proxy(&place, quick()).await;
    let (_at_eu, mut at_us) = (eu.connection().await, us.connection().await);
    proxy.set(Faults { is_silent: true, ..Faults::default() });
    drop(eu);
    // It comes by another way.
    place.list("eu", &[("us", &[us.address()], BOTH)]);
    let mut eu = place.start("eu").await;
    let (at_eu, mut anew) = (eu.connection().await, us.connection().await);
    gone(&mut at_us).await;
    log.says(&["connection closed", "reason=\"duplicate\"", "direction=\"accepted\""]).await;
    soon("room", at_eu.outgoing.send(frame("orders", "x"))).await.unwrap();
    assert_eq!(soon("a frame", anew.incoming.recv()).await, Some(frame("orders", "x")));
}

#[tokio::test]
async fn two_regions_that_dial_each_other_end_with_one_connection() {
    let place = Place::new();
    for round in 0..5 {
        // Each knows the other's address from the start.
        let ports: Vec<std::net::TcpListener> =
            (0..2).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<_> = ports.iter().map(|port| port.local_addr().unwrap()).collect();
        drop(ports);
        place.list("eu", &[("us", &[addresses[1].to_string()], BOTH)]);
        place.list("us", &[("eu", &[addresses[0].to_string()], BOTH)]);
        let config = |name, address| TcpConfig { listen: Some(address), seed: round, ..place.config(name) };
        let (mut eu, mut us) = tokio::join!(
            Region::start(config("eu", addresses[0])),
            Region::start(config("us", addresses[1]))
        );
        let mut kept = (eu.connection().await, us.connection().await);
        until("one is left", || {
            // What comes later is what stays.
            while let Ok(connection) = eu.connections.try_recv() {
                kept.0 = connection;
            }
            while let Ok(connection) = us.connections.try_recv() {
                kept.1 = connection;
            }
            let [eu, us] = [eu.peer("us").connections, us.peer("eu").connections];
            eu.len() == 1 && us.len() == 1 && eu[0].direction != us[0].direction
        })
        .await;
        // And it stays: none of the two dials any more.
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert!(eu.connections.try_recv().is_err() && us.connections.try_recv().is_err(), "round {round}");
        let connections = [eu.peer("us").connections, us.peer("eu").connections];
        assert!(connections.iter().all(|connections| connections.len() == 1), "{connections:?}");
        assert_ne!(connections[0][0].direction, connections[1][0].direction);
    }
}

#[tokio::test]
async fn a_link_that_is_cut_again_and_again_comes_back_each_time() {
    let place = Place::new();
    let (mut eu, mut us, proxy) = through_proxy(&place, quick()).await;
    for round in 0..5 {
        let (mut at_eu, mut at_us) = (eu.connection().await, us.connection().await);
        soon("room", at_eu.outgoing.send(frame("orders", &round.to_string()))).await.unwrap();
        assert_eq!(soon("a frame", at_us.incoming.recv()).await, Some(frame("orders", &round.to_string())));
        proxy.set(Faults { resets: 1000, ..Faults::default() });
        gone(&mut at_eu).await;
        gone(&mut at_us).await;
        eu.fails("us", |reason| matches!(reason, Reason::Network { .. } | Reason::Cut | Reason::Tls { .. }))
            .await;
        proxy.set(Faults::default());
    }
}

#[tokio::test]
async fn a_frame_cut_off_in_the_middle_reaches_no_node() {
    let place = Place::new();
    place.list("eu", &[("us", &[], BOTH)]);
    let mut eu = place.start("eu").await;
    let mut stream = greeted(&place, eu.links.local_address().unwrap(), &["orders"]).await;
    let mut connection = eu.connection().await;
    let bytes = crate::raw::frame(0, b"half of it");
    tokio::io::AsyncWriteExt::write_all(&mut stream, &bytes[..9]).await.unwrap();
    drop(stream);
    assert_eq!(soon("the end", connection.incoming.recv()).await, None);
}
