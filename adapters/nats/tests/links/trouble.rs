//! Messages that are lost, doubled, out of order, or too many.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream;
use driftless_nats::{Limits, NatsConfig, Reason};
use driftless_node::connection::Frame;

use crate::raw::{PREFIX, Peer, beat, empties, eu_and_peer, inbox, waiting};
use crate::regions::{Region, config, domain, frame, gone, pair, passes, soon, until};
use crate::server::Server;

#[tokio::test]
async fn frames_come_in_their_order_and_both_ways() {
    let Some(server) = Server::start().await else { return };
    let (eu, _us, mut at_eu, mut at_us) = pair(&server).await;
    assert_eq!((at_eu.principal.as_deref(), at_us.principal.as_deref()), (Some("us"), Some("eu")));
    assert_eq!(at_eu.offered, ["orders", "prices"].map(domain));
    let sending = async {
        for number in 0..500 {
            soon("room", at_eu.outgoing.send(frame("orders", &number.to_string()))).await.unwrap();
        }
    };
    let taking = async {
        for number in 0..500 {
            let taken = soon("a frame", at_us.incoming.recv()).await;
            assert_eq!(taken, Some(frame("orders", &number.to_string())));
        }
    };
    tokio::join!(sending, taking);
    passes(&at_us, &mut at_eu, "and back").await;
    let link = eu.peer("us").link.unwrap();
    assert_eq!((link.sent_frames, link.received_frames, link.received_bytes), (500, 1, 8));
}

#[tokio::test]
async fn what_comes_again_is_taken_once() {
    let Some(server) = Server::start().await else { return };
    let (mut eu, mut peer) = eu_and_peer(&server).await;
    peer.links(&["orders"]).await;
    let mut connection = eu.connection().await;
    peer.sends(b"one").await;
    peer.sends(b"two").await;
    // The same messages, with and without the id by which the server knows them again.
    for id in [None, Some("x"), Some("x"), Some("y")] {
        for (sequence, bytes) in [(1, b"one"), (2, b"two")] {
            let mut headers = HeaderMap::new();
            if let Some(id) = id {
                headers.insert("Nats-Msg-Id", format!("{id}{sequence}"));
            }
            let message = peer.message(sequence, 1, 0, bytes);
            let subject = format!("{PREFIX}.eu.us.frames");
            let sent = peer.jetstream.publish_with_headers(subject, headers, message).await.unwrap();
            sent.await.unwrap();
        }
    }
    peer.sends(b"three").await;
    for expected in ["one", "two", "three"] {
        assert_eq!(soon("a frame", connection.incoming.recv()).await, Some(frame("orders", expected)));
    }
    empties(&peer.jetstream, "eu").await;
    assert!(connection.incoming.try_recv().is_err());
}

#[tokio::test]
async fn acknowledgements_that_are_lost_do_no_harm() {
    // The server does not let `eu` acknowledge anything.
    let users = "jetstream: enabled\nauthorization { users: [\n\
                 { user: eu, password: e, permissions: { publish: { deny: [\"$JS.ACK.>\"] } } },\n\
                 { user: us, password: u } ] }";
    let Some(server) = Server::with(users).await else { return };
    let as_user = |name: &str, peer: &str| {
        let user = name.to_owned();
        let credentials = driftless_nats::Credentials::Password { user, password: name[..1].to_owned() };
        let mut config = NatsConfig { credentials, ..config(&server, name, &[peer]) };
        config.timing.redelivery = Duration::from_millis(300);
        config
    };
    let mut us = Region::start(as_user("us", "eu")).await;
    let mut eu = Region::start(as_user("eu", "us")).await;
    let (mut at_eu, at_us) = (eu.connection().await, us.connection().await);
    passes(&at_us, &mut at_eu, "one").await;
    passes(&at_us, &mut at_eu, "two").await;
    let options = async_nats::ConnectOptions::with_user_and_password("us".into(), "u".into());
    let context = jetstream::new(options.connect(server.url()).await.unwrap());
    let stream = context.get_stream(inbox("eu")).await.unwrap();
    soon("they are handed out again", async {
        loop {
            let consumer = stream.consumer_info("us").await.unwrap();
            if consumer.delivered.consumer_sequence >= 8 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    passes(&at_us, &mut at_eu, "three").await;
    assert!(at_eu.incoming.try_recv().is_err(), "each is taken once");
}

#[tokio::test]
async fn a_gap_ends_the_link_and_nothing_is_delivered_over_it() {
    let Some(server) = Server::start().await else { return };
    let (mut eu, mut peer) = eu_and_peer(&server).await;
    peer.links(&["orders"]).await;
    let mut connection = eu.connection().await;
    peer.sends(b"one").await;
    peer.next += 1;
    peer.sends(b"three").await;
    assert_eq!(soon("a frame", connection.incoming.recv()).await, Some(frame("orders", "one")));
    assert_eq!(soon("the end", connection.incoming.recv()).await, None);
    eu.fails("us", |reason| *reason == Reason::Gap { missing: 2 }).await;

    // One that comes late, but in time, is no gap.
    peer.links(&["orders"]).await;
    let mut connection = eu.connection().await;
    for sequence in [3, 2, 1, 2, 3] {
        peer.stores(peer.message(sequence, 1, 0, sequence.to_string().as_bytes())).await;
    }
    for expected in ["1", "2", "3"] {
        assert_eq!(soon("a frame", connection.incoming.recv()).await, Some(frame("orders", expected)));
    }

    // The last one is missing, as the sender's beat says.
    peer.says(beat(peer.session, peer.theirs, 4, &["orders"])).await;
    gone(&mut connection).await;
    eu.fails("us", |reason| *reason == Reason::Gap { missing: 4 }).await;
}

#[tokio::test]
async fn what_is_of_another_session_is_passed_over() {
    let Some(server) = Server::start().await else { return };
    let (mut eu, mut peer) = eu_and_peer(&server).await;
    peer.links(&["orders"]).await;
    let mut connection = eu.connection().await;
    let (session, theirs) = (peer.session, peer.theirs);
    peer.session = [8; 16];
    peer.stores(peer.message(1, 1, 0, b"of another life of the sender")).await;
    (peer.session, peer.theirs) = (session, [9; 16]);
    peer.stores(peer.message(1, 1, 0, b"to another life of the receiver")).await;
    peer.theirs = theirs;
    peer.sends(b"one").await;
    assert_eq!(soon("a frame", connection.incoming.recv()).await, Some(frame("orders", "one")));
    empties(&peer.jetstream, "eu").await;

    // What was left over from before is thrown away when a session begins.
    drop((eu, connection));
    for _ in 0..10 {
        peer.sends(b"left over").await;
    }
    let mut eu = Region::start(config(&server, "eu", &["us"])).await;
    peer.links(&["orders"]).await;
    let mut connection = eu.connection().await;
    assert_eq!(waiting(&peer.jetstream, "eu").await, 0);
    peer.sends(b"anew").await;
    assert_eq!(soon("a frame", connection.incoming.recv()).await, Some(frame("orders", "anew")));
}

#[tokio::test]
async fn a_full_inbox_holds_the_sender_back() {
    let Some(server) = Server::start().await else { return };
    let limits = Limits {
        inbox_bytes: 1 << 20,
        inbox_messages: 8,
        fetch_messages: 1,
        queue_frames: 2,
        window_messages: 4,
        ..Limits::default()
    };
    let small = |name, peer| NatsConfig { limits, ..config(&server, name, &[peer]) };
    let mut us = Region::start(small("us", "eu")).await;
    let mut eu = Region::start(small("eu", "us")).await;
    let (at_eu, mut at_us) = (eu.connection().await, us.connection().await);
    let large = |number: u8| {
        let mut bytes = vec![7; 100_000];
        bytes[0] = number;
        Frame { domain: domain("orders"), bytes: bytes.into() }
    };
    // Nobody takes frames at `us`. What lies in between is bounded: two queues of two, eight in the inbox, two that were taken
    // from it, four under way.
    let mut sent = 0_u8;
    while let Ok(done) = tokio::time::timeout(Duration::from_secs(2), at_eu.outgoing.send(large(sent))).await
    {
        done.unwrap();
        sent += 1;
        assert!(sent < 30, "nothing holds it back");
    }
    assert!(sent >= 8, "{sent}");
    // It stays so for longer than a silence that would end the link.
    tokio::time::sleep(Duration::from_secs(6)).await;
    for number in 0..sent {
        let frame = soon("a frame", at_us.incoming.recv()).await.unwrap();
        assert_eq!((frame.bytes[0], frame.bytes.len()), (number, 100_000));
    }
    passes(&at_eu, &mut at_us, "more").await;
    assert!(eu.peer("us").link.is_some() && us.peer("eu").link.is_some());
}

#[tokio::test]
async fn a_message_stays_in_the_inbox_until_its_frame_has_its_place() {
    let Some(server) = Server::start().await else { return };
    let (eu, mut peer) = eu_and_peer(&server).await;
    drop(eu);
    let mut narrow = config(&server, "eu", &["us"]);
    narrow.limits.queue_frames = 2;
    let mut eu = Region::start(narrow).await;
    peer.links(&["orders"]).await;
    let mut connection = eu.connection().await;
    for _ in 0..10 {
        peer.sends(b"x").await;
    }
    let remain = async |count: u64| {
        soon("so many remain", async {
            while waiting(&peer.jetstream, "eu").await > count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(waiting(&peer.jetstream, "eu").await, count);
    };
    remain(8).await;
    for left in (0..8).rev() {
        assert_eq!(soon("a frame", connection.incoming.recv()).await, Some(frame("orders", "x")));
        remain(left).await;
    }
}

#[tokio::test]
async fn a_frame_that_is_larger_than_a_message_goes_in_parts() {
    let Some(server) = Server::with("jetstream: enabled\nmax_payload: 5000").await else { return };
    let (_eu, us, at_eu, mut at_us) = pair(&server).await;
    for bytes in [4_957, 4_958, 1, 100_000] {
        let large = Frame { domain: domain("prices"), bytes: vec![3; bytes].into() };
        soon("room", at_eu.outgoing.send(large.clone())).await.unwrap();
        assert_eq!(soon("a frame", at_us.incoming.recv()).await, Some(large));
    }
    assert_eq!(us.peer("eu").link.unwrap().received_frames, 4);
}

#[tokio::test]
async fn a_frame_may_have_more_parts_than_may_be_under_way() {
    let Some(server) = Server::with("jetstream: enabled\nmax_payload: 2500").await else { return };
    let (_eu, _us, at_eu, mut at_us) = pair(&server).await;
    // Over 5,000, which is what the client library bears.
    let large = Frame { domain: domain("orders"), bytes: vec![3; 14_000_000].into() };
    soon("room", at_eu.outgoing.send(large.clone())).await.unwrap();
    assert!(soon("a frame", at_us.incoming.recv()).await == Some(large));
    passes(&at_eu, &mut at_us, "more").await;
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_given_up_and_one_that_begins_anew_is_linked_anew() {
    let Some(server) = Server::start().await else { return };
    let (eu, mut peer) = eu_and_peer(&server).await;
    drop(eu);
    let mut short = config(&server, "eu", &["us"]);
    short.timing.silence = Duration::from_millis(500);
    let mut eu = Region::start(short).await;
    peer.links(&["orders"]).await;
    let mut connection = eu.connection().await;
    gone(&mut connection).await;
    eu.fails("us", |reason| *reason == Reason::Silent).await;

    peer.links(&["orders"]).await;
    let mut connection = eu.connection().await;
    peer.says(beat([8; 16], [0; 16], 0, &["orders"])).await;
    gone(&mut connection).await;
    eu.fails("us", |reason| *reason == Reason::Restarted).await;

    peer.session = [8; 16];
    peer.links(&["orders"]).await;
    let mut connection = eu.connection().await;
    // Its farewell comes after its last frame.
    peer.sends(b"last").await;
    peer.stores(peer.message(2, 2, 1, &[])).await;
    assert_eq!(soon("a frame", connection.incoming.recv()).await, Some(frame("orders", "last")));
    gone(&mut connection).await;
    eu.fails("us", |reason| reason.to_string().contains("it is shutting down")).await;
}

#[tokio::test]
async fn links_that_do_not_last_are_opened_ever_less_often() {
    let Some(server) = Server::start().await else { return };
    let mut peer = Peer::new(&server).await;
    let mut config = config(&server, "eu", &["us"]);
    let least = Duration::from_millis(40);
    let minute = Duration::from_secs(60);
    let timing = &mut config.timing;
    (timing.backoff_least, timing.backoff_most, timing.settled) = (least, minute, minute);
    timing.silence = minute;
    let mut eu = Region::start(config).await;
    for round in 0..5 {
        peer.links(&["orders"]).await;
        let mut connection = eu.connection().await;
        let ended = std::time::Instant::now();
        // A domain that it has not offered.
        peer.stores(peer.message(1, 1, 9, b"x")).await;
        gone(&mut connection).await;
        // It is not called, so all of the waiting time passes: half of it is fixed.
        loop {
            let heard = peer.hears().await;
            if heard[8] == 1 && heard[11..27] != peer.theirs {
                break;
            }
        }
        assert!(ended.elapsed() >= least / 2 * 2_u32.pow(round), "{round}: {:?}", ended.elapsed());
    }
}

#[tokio::test]
async fn at_the_end_what_was_handed_over_is_sent_first() {
    let Some(server) = Server::start().await else { return };
    let (eu, us, at_eu, mut at_us) = pair(&server).await;
    for number in 0..8 {
        at_eu.outgoing.send(frame("orders", &number.to_string())).await.unwrap();
    }
    let shutdown = tokio::spawn(async move { eu.links.shutdown().await });
    for number in 0..8 {
        assert_eq!(soon("a frame", at_us.incoming.recv()).await, Some(frame("orders", &number.to_string())));
    }
    gone(&mut at_us).await;
    soon("the shutdown", shutdown).await.unwrap();
    us.fails("eu", |reason| reason.to_string().contains("it is shutting down")).await;
}

#[tokio::test]
async fn a_node_that_lets_go_is_linked_again() {
    let Some(server) = Server::start().await else { return };
    let (mut eu, mut us, at_eu, mut at_us) = pair(&server).await;
    at_eu.outgoing.send(frame("orders", "last")).await.unwrap();
    drop(at_eu);
    assert_eq!(soon("a frame", at_us.incoming.recv()).await, Some(frame("orders", "last")));
    gone(&mut at_us).await;
    let (at_eu, mut at_us) = (eu.connection().await, us.connection().await);
    passes(&at_eu, &mut at_us, "again").await;
    // When nobody takes links any more, those that are there stay.
    drop(eu.connections);
    passes(&at_eu, &mut at_us, "still").await;
    drop(at_us);
    until("it is gone", || eu.links.status().peers[0].link.is_none()).await;
}
