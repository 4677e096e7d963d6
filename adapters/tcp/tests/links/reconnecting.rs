//! Connections that end, and come again.

use std::sync::atomic::Ordering;
use std::time::Duration;

use driftless_node::connection::{Access, Connection, Frame, Grants};
use driftless_tcp::{Direction, Peer, Policy, Reason, TcpConfig, Timing};

use crate::proxy::{Faults, Proxy};
use crate::raw::greeted;
use crate::regions::{Log, Place, Region, domain, frame, gone, quick, region, soon, until};

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

/// More than the kernel takes at once, so that most of it waits in the queue.
const LARGE_BYTES: usize = 3 << 20;

fn large(number: u8) -> Frame {
    Frame { domain: domain("orders"), bytes: vec![number; LARGE_BYTES].into() }
}

/// All eight come, in their order, and then nothing.
async fn all_arrive(at_us: &mut Connection) {
    for number in 0..8 {
        let frame = soon("a frame", at_us.incoming.recv()).await.unwrap();
        assert_eq!((frame.bytes[0], frame.bytes.len()), (number, LARGE_BYTES));
    }
    assert_eq!(soon("the end", at_us.incoming.recv()).await, None);
}

#[tokio::test]
async fn what_was_handed_over_before_the_shutdown_arrives() {
    let (place, log) = (Place::new(), Log::new());
    let (eu, _us, at_eu, mut at_us) = place.pair().await;
    for number in 0..8 {
        at_eu.outgoing.try_send(large(number)).unwrap();
    }
    let shutdown = tokio::spawn(async move { eu.links.shutdown().await });
    all_arrive(&mut at_us).await;
    log.says(&["INFO", "connection closed", "reason=\"by_peer\"", "it is shutting down"]).await;
    soon("the end of the shutdown", shutdown).await.unwrap();
    assert!(at_eu.outgoing.is_closed());
}

#[tokio::test]
async fn what_a_node_handed_over_before_it_let_go_arrives() {
    let place = Place::new();
    let (mut eu, mut us, at_eu, mut at_us) = place.pair().await;
    for number in 0..8 {
        at_eu.outgoing.try_send(large(number)).unwrap();
    }
    drop(at_eu);
    all_arrive(&mut at_us).await;
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
    let grants = Grants::from([(domain("orders"), Access::ReadWrite)]);
    let (mut eu, mut us) = (place.start("eu").await, place.start("us").await);
    // Both dial at the same moment, and it takes a while to get there: each has let the other in before it hears of it.
    let slow = Faults { delay_ms: 60, ..Faults::default() };
    let to_eu = Proxy::start(eu.links.local_address().unwrap(), 1, slow).await;
    let to_us = Proxy::start(us.links.local_address().unwrap(), 2, slow).await;
    let dialing = |peer: &str, proxy: &Proxy| {
        let peer = region(peer);
        let listed = Peer { addresses: vec![proxy.address.to_string()], ..Peer::new(&peer, grants.clone()) };
        Policy::new([(peer, listed)]).unwrap()
    };
    for round in 0..5 {
        eu.links.set_policy(dialing("us", &to_us));
        us.links.set_policy(dialing("eu", &to_eu));
        let mut kept = Vec::new();
        until("one is left", || {
            // A node holds all that it is handed, until they end.
            kept.extend(eu.connections.try_recv());
            kept.extend(us.connections.try_recv());
            let ends = [eu.peer("us").connections, us.peer("eu").connections];
            ends.iter().all(|ends| ends.len() == 1) && ends[0][0].direction != ends[1][0].direction
        })
        .await;
        // And it stays: neither of the two dials any more.
        let dialed = || [&to_eu, &to_us].map(|proxy| proxy.accepted.load(Ordering::Relaxed));
        let before = dialed();
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(dialed(), before, "round {round}");
        let [at_eu, at_us] = [eu.peer("us").connections, us.peer("eu").connections];
        assert_eq!((at_eu.len(), at_us.len()), (1, 1), "round {round}");
        if kept.len() > 2 {
            assert_eq!([at_eu[0].direction, at_us[0].direction], [Direction::Dialed, Direction::Accepted]);
        }
        eu.links.set_policy(Policy::default());
        us.links.set_policy(Policy::default());
        let is_empty = |region: &Region| region.links.status().peers.is_empty();
        until("all are closed", || is_empty(&eu) && is_empty(&us)).await;
        while eu.connections.try_recv().is_ok() || us.connections.try_recv().is_ok() {}
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

#[tokio::test]
async fn who_takes_no_connections_any_more_keeps_those_that_are_there() {
    let place = Place::new();
    let (eu, us, at_eu, mut at_us) = place.pair().await;
    let address = us.links.local_address().unwrap();
    drop((eu.connections, us.connections));
    let is_closed = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("nothing is accepted any more", is_closed).await;
    soon("room", at_eu.outgoing.send(frame("orders", "x"))).await.unwrap();
    assert_eq!(soon("a frame", at_us.incoming.recv()).await, Some(frame("orders", "x")));
    drop(at_us);
    until("it is gone", || eu.links.status().peers[0].connections.is_empty()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(eu.links.status().peers[0].dialing, None, "nobody is dialed");
}
