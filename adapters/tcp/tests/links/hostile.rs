//! Peers that send what they should not, or nothing, or too slowly.

use std::time::Duration;

use driftless_node::connection::{Access, Grants};
use driftless_tcp::{Limits, Peer, Policy, PolicySource, Reason, TcpConfig, Timing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::proxy::Dice;
use crate::raw::{Client, Server, frame as raw_frame, greeted, preface, rest, take_preface};
use crate::regions::{Log, Place, Region, domain, frame, gone, quick, region, soon, until};

/// A region that `us` may connect to, for `orders` alone, and that has `prices`, too.
async fn listening(place: &Place, change: impl FnOnce(&mut TcpConfig)) -> Region {
    place.list("eu", &[("us", &[], "orders = \"read-write\""), ("ap", &[], "orders = \"read\"")]);
    let mut config = place.config("eu");
    change(&mut config);
    Region::start(config).await
}

#[tokio::test]
async fn garbage_before_tls_is_refused() {
    let (place, log) = (Place::new(), Log::new());
    let mut eu = listening(&place, |_| {}).await;
    let mut dice = Dice(3);
    for length in [0, 1, 5, 100, 10_000] {
        let garbage: Vec<u8> = (0..length).map(|_| dice.next().to_le_bytes()[0]).collect();
        let mut stream = TcpStream::connect(eu.address()).await.unwrap();
        stream.write_all(&garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        rest(&mut stream).await;
    }
    log.says(&["WARN", "connection refused", "reason=\"tls\""]).await;
    let mut http = TcpStream::connect(eu.address()).await.unwrap();
    http.write_all(b"GET / HTTP/1.1\r\nHost: eu\r\n\r\n").await.unwrap();
    rest(&mut http).await;
    greeted(&place, eu.links.local_address().unwrap(), &["orders"]).await;
    eu.connection().await;
}

#[tokio::test]
async fn garbage_instead_of_a_preface_is_refused_without_an_answer() {
    let (place, log) = (Place::new(), Log::new());
    let mut eu = listening(&place, |_| {}).await;
    let good = preface(0xc1, "us", &["orders"]);
    let mut dice = Dice(5);
    for round in 0..40 {
        let mut bytes = good.clone();
        match round % 4 {
            0 => bytes.iter_mut().for_each(|byte| *byte = dice.next().to_le_bytes()[0]),
            1 => bytes.truncate(dice.below(good.len() as u64) as usize),
            2 => bytes[8] = 7,
            _ => bytes[11] = 0xff,
        }
        let mut stream = Client::default().connect(&place, eu.links.local_address().unwrap()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(rest(&mut stream).await, b"", "round {round}");
    }
    log.says(&["connection refused", "reason=\"broken\"", "peer=\"us\""]).await;
    log.says(&["connection refused", "reason=\"cut\""]).await;
    assert!(eu.connections.try_recv().is_err());
}

#[tokio::test]
async fn what_is_no_frame_ends_the_connection_and_reaches_no_node() {
    let (place, log) = (Place::new(), Log::new());
    let mut eu = listening(&place, |config| config.limits.frame_bytes = 1000).await;
    let address = eu.links.local_address().unwrap();
    for (bytes, farewell, label) in [
        (raw_frame(0, &[1; 1001]), 12, "too_large"),
        (vec![0xff; 5], 12, "too_large"),
        (raw_frame(2, b"x"), 10, "unknown_domain"),
        (raw_frame(255, b"x"), 10, "unknown_domain"),
        // A domain that is there, that the peer has, and that it may not read.
        (raw_frame(1, b"x"), 10, "not_granted"),
    ] {
        let mut stream = greeted(&place, address, &["orders", "prices"]).await;
        let mut connection = eu.connection().await;
        assert_eq!(connection.grants, Grants::from([(domain("orders"), Access::ReadWrite)]));
        let good = [raw_frame(0, b"good"), vec![0; 5]].concat();
        stream.write_all(&good).await.unwrap();
        assert_eq!(soon("a frame", connection.incoming.recv()).await, Some(frame("orders", "good")));
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(soon("the end", connection.incoming.recv()).await, None, "{label}");
        let last = rest(&mut stream).await;
        assert_eq!(last.last_chunk::<5>(), Some(&[0, 0, 0, 0, farewell]), "{label}");
        log.says(&["WARN", "connection closed", "peer=\"us\"", &format!("reason=\"{label}\"")]).await;
    }
    log.says(&["prices, which it may not read"]).await;
}

#[tokio::test]
async fn what_a_peer_may_not_read_is_never_sent_even_if_the_node_hands_it_over() {
    let (place, log) = (Place::new(), Log::new());
    let mut eu = listening(&place, |_| {}).await;
    let mut stream = greeted(&place, eu.links.local_address().unwrap(), &["orders", "prices"]).await;
    let mut connection = eu.connection().await;
    soon("room", connection.outgoing.send(frame("orders", "open"))).await.unwrap();
    soon("room", connection.outgoing.send(frame("prices", "secret"))).await.unwrap();
    gone(&mut connection).await;
    let sent = rest(&mut stream).await;
    assert!(sent.windows(4).any(|window| window == b"open"));
    assert!(!sent.windows(6).any(|window| window == b"secret"));
    log.says(&["ERROR", "reason=\"withheld\"", "prices"]).await;
}

#[tokio::test]
async fn who_is_slow_at_the_handshake_is_put_out_and_keeps_nobody_out() {
    let (place, log) = (Place::new(), Log::new());
    let short = Duration::from_millis(700);
    let mut eu = listening(&place, |config| {
        config.timing = Timing { handshake: short, preface: short, ..quick() };
        config.limits = Limits { handshakes: 8, handshakes_per_address: 4, ..Limits::default() };
    })
    .await;
    let address = eu.links.local_address().unwrap();

    // Before TLS: one byte now and then.
    let mut slow = Vec::new();
    for _ in 0..4 {
        slow.push(tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            for byte in [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3].into_iter().cycle() {
                if stream.write_all(&[byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }));
    }
    log.says(&["reason=\"late\"", "TLS handshake"]).await;
    for slow in slow {
        soon("the slow one is put out", slow).await.unwrap();
    }
    // From one address there are no more than some.
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(TcpStream::connect(address).await.unwrap());
    }
    let mut fifth = TcpStream::connect(address).await.unwrap();
    log.says(&["reason=\"too_many\"", "handshakes from one address"]).await;
    assert_eq!(rest(&mut fifth).await, b"");
    drop(held);

    // After TLS: a preface that never ends.
    soon("the others are put out", async {
        loop {
            if let Ok(mut stream) = Client::default().connect(&place, address).await {
                stream.write_all(&preface(0xc1, "us", &["orders"])[..20]).await.unwrap();
                let refusal = rest(&mut stream).await;
                assert_eq!(refusal, b"DRIFTTCP\x02\x01\x01\x00\x01\x0f");
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    greeted(&place, address, &["orders"]).await;
    eu.connection().await;
}

#[tokio::test]
async fn there_are_no_more_connections_than_are_borne() {
    let (place, log) = (Place::new(), Log::new());
    let mut eu = listening(&place, |config| config.limits.connections_per_peer = 1).await;
    let address = eu.links.local_address().unwrap();
    let first = greeted(&place, address, &["orders"]).await;
    eu.connection().await;
    until("the node let go of it", || eu.peer("us").connections.is_empty()).await;
    drop(first);
    let mut first = greeted(&place, address, &["orders"]).await;
    let held = eu.connection().await;
    let mut second = Client::default().connect(&place, address).await.unwrap();
    second.write_all(&preface(0xc1, "us", &["orders"])).await.unwrap();
    assert_eq!(rest(&mut second).await, b"DRIFTTCP\x02\x01\x01\x00\x01\x0d");
    log.says(&["connection refused", "reason=\"too_many\"", "peer=\"us\""]).await;
    first.write_all(&raw_frame(0, b"x")).await.unwrap();
    let mut held = held;
    assert!(soon("a frame", held.incoming.recv()).await.is_some(), "the first is as it was");
}

#[tokio::test]
async fn a_node_that_does_not_read_holds_its_peer_back_and_loses_nothing() {
    let place = Place::new();
    let (eu, us, at_eu, mut at_us) = place.pair().await;
    let (_eu, _us) = (eu, us);
    let bytes = vec![7; 100_000];
    let large = |number: u8| {
        let mut bytes = bytes.clone();
        bytes[0] = number;
        driftless_node::connection::Frame { domain: domain("orders"), bytes: bytes.into() }
    };
    // Nobody takes frames at `us`: at some time there is no room left. What lies in between is bounded by the queues, of eight
    // frames each, and by what the kernel holds.
    let mut sent = 0_u8;
    while let Ok(done) = tokio::time::timeout(Duration::from_secs(3), at_eu.outgoing.send(large(sent))).await
    {
        done.unwrap();
        sent += 1;
        assert!(sent < 250, "nothing holds it back");
    }
    assert!(sent > 16);
    // The one that did not fit was given up by the timeout; the others all come, in their order.
    for number in 0..sent {
        let frame = soon("a frame", at_us.incoming.recv()).await.unwrap();
        assert_eq!((frame.bytes[0], frame.bytes.len()), (number, 100_000));
    }
    soon("room", at_eu.outgoing.send(frame("orders", "more"))).await.unwrap();
    assert_eq!(soon("a frame", at_us.incoming.recv()).await, Some(frame("orders", "more")));
}

#[tokio::test]
async fn a_frame_that_is_too_large_for_the_peer_is_not_sent() {
    let (place, log) = (Place::new(), Log::new());
    let grants = Grants::from([(domain("orders"), Access::ReadWrite)]);
    let list = |peer: &str, addresses| {
        let peer = region(peer);
        let listed = Peer { addresses, ..Peer::new(&peer, grants.clone()) };
        PolicySource::Given(Policy::new([(peer, listed)]).unwrap())
    };
    let mut small = TcpConfig { policy: list("eu", vec![]), ..place.config("us") };
    small.limits.frame_bytes = 1000;
    let mut us = Region::start(small).await;
    let mut eu =
        Region::start(TcpConfig { policy: list("us", vec![us.address()]), ..place.config("eu") }).await;
    let (mut at_eu, mut at_us) = (eu.connection().await, us.connection().await);
    let sized = |bytes: usize| frame("orders", &"x".repeat(bytes));
    soon("room", at_eu.outgoing.send(sized(1000))).await.unwrap();
    assert_eq!(soon("a frame", at_us.incoming.recv()).await, Some(sized(1000)));
    soon("room", at_eu.outgoing.send(sized(1001))).await.unwrap();
    gone(&mut at_eu).await;
    gone(&mut at_us).await;
    log.says(&["WARN", "reason=\"too_large\"", "1001 bytes, and 1000 are taken"]).await;
}

#[tokio::test]
async fn a_preface_and_frames_in_one_piece_are_taken_apart() {
    let place = Place::new();
    let mut eu = listening(&place, |_| {}).await;
    let mut stream = Client::default().connect(&place, eu.links.local_address().unwrap()).await.unwrap();
    let bytes =
        [preface(0xc1, "us", &["prices", "orders"]), raw_frame(1, b"one"), raw_frame(1, b"two")].concat();
    stream.write_all(&bytes).await.unwrap();
    take_preface(&mut stream).await;
    let mut connection = eu.connection().await;
    for expected in ["one", "two"] {
        assert_eq!(soon("a frame", connection.incoming.recv()).await, Some(frame("orders", expected)));
    }
    // A sign of life comes by itself.
    let mut byte = [1; 5];
    soon("a sign of life", stream.read_exact(&mut byte)).await.unwrap();
    assert_eq!(byte, [0; 5]);
}

#[tokio::test]
async fn who_is_dialed_and_answers_wrongly_is_left() {
    let place = Place::new();
    let us = Server::start(&place).await;
    place.list("eu", &[("us", &[us.address()], "orders = \"read\"")]);
    let mut config = place.config("eu");
    config.timing.preface = Duration::from_millis(500);
    let mut eu = Region::start(config).await;
    type Check = fn(&Reason) -> bool;
    let answers: [(Vec<u8>, Check); 6] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), |reason| matches!(reason, Reason::Broken { .. })),
        (preface(0xc1, "ap", &[]), |reason| matches!(reason, Reason::Impostor { .. })),
        (preface(0xc1, "eu", &[]), |reason| matches!(reason, Reason::Impostor { .. })),
        (preface(0xc2, "us", &[]), |reason| *reason == Reason::OtherCluster),
        (b"DRIFTTCP\x02\x07\x09\x00\x01\x05".to_vec(), |reason| {
            *reason == Reason::Version { theirs: (7, 9) }
        }),
        (b"DRIFTTCP".to_vec(), |reason| matches!(reason, Reason::Late { .. })),
    ];
    for (answer, is_right) in answers {
        let (mut stream, said) = us.accept().await;
        assert_eq!(said, {
            let mut expected = preface(0xc1, "eu", &["orders"]);
            // Its own silence, and its own limit.
            expected[32..40].copy_from_slice(&said[32..40]);
            expected
        });
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
        stream.write_all(&answer).await.unwrap();
        eu.fails("us", is_right).await;
        rest(&mut stream).await;
    }
    assert!(eu.connections.try_recv().is_err());
    let (mut stream, _) = us.accept().await;
    stream.write_all(&[preface(0xc1, "us", &["orders"]), raw_frame(0, b"well")].concat()).await.unwrap();
    assert_eq!(soon("a frame", eu.connection().await.incoming.recv()).await, Some(frame("orders", "well")));
}
