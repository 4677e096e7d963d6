//! Strangers, garbage, and peers that break the rules.

use async_nats::HeaderMap;
use driftless_nats::{NatsConfig, PolicySource, Reason};
use futures_util::StreamExt;

use crate::raw::{PREFIX, beat, empties, eu_and_peer, inbox};
use crate::regions::{Log, Region, config, frame, gone, list, soon, until};
use crate::server::Server;

#[tokio::test]
async fn garbage_in_the_inbox_is_thrown_away_once_and_harms_nobody() {
    let Some(server) = Server::start().await else { return };
    let log = Log::new();
    let (mut eu, mut peer) = eu_and_peer(&server).await;
    peer.links(&["orders"]).await;
    let mut connection = eu.connection().await;
    let good = peer.message(1, 1, 0, b"good");
    let mut garbage: Vec<Vec<u8>> = vec![vec![], vec![0], vec![255; 43], b"GET / HTTP/1.1\r\n\r\n".to_vec()];
    garbage.extend((1..43).map(|length| good[..length].to_vec()));
    // Another version, another kind, the number 0.
    garbage.extend([(0, 2), (1, 9), (41, 0)].map(|(place, byte)| {
        let mut message = good.to_vec();
        message[place] = byte;
        message
    }));
    let count = garbage.len() as u64;
    for message in garbage {
        peer.stores(message.into()).await;
    }
    let mut headers = HeaderMap::new();
    headers.insert("Status", "503");
    let subject = format!("{PREFIX}.eu.us.frames");
    peer.jetstream.publish_with_headers(subject, headers, "x".into()).await.unwrap().await.unwrap();
    peer.sends(b"good").await;
    assert_eq!(soon("a frame", connection.incoming.recv()).await, Some(frame("orders", "good")));
    empties(&peer.jetstream, "eu").await;
    log.says(&["WARN", "peer=\"us\"", "is no message of this protocol"]).await;
    // None of them was handed out twice.
    let stream = peer.jetstream.get_stream(inbox("eu")).await.unwrap();
    assert_eq!(stream.consumer_info("us").await.unwrap().delivered.consumer_sequence, count + 2);

    // Nor do beats that are none.
    for beat in [&b""[..], b"DRIFTNAT", b"DRIFTNAT\x01\x01\x01", &[255; 3000]] {
        peer.says(beat.to_vec().into()).await;
    }
    peer.sends(b"still good").await;
    assert_eq!(soon("a frame", connection.incoming.recv()).await, Some(frame("orders", "still good")));
}

#[tokio::test]
async fn who_breaks_the_rules_is_put_out() {
    let Some(server) = Server::start().await else { return };
    let (eu, mut peer) = eu_and_peer(&server).await;
    drop(eu);
    let policy = PolicySource::Given(list(&[("us", "orders = \"read\"")]));
    let mut small = NatsConfig { policy, ..config(&server, "eu", &[]) };
    small.limits.frame_bytes = 1000;
    let mut eu = Region::start(small).await;
    // What it sends, as (kind, tag, bytes), and what is said of it.
    type Sent = (u8, u8, Vec<u8>);
    type Check = fn(&Reason) -> bool;
    let part = vec![7; 600];
    let cases: [(Vec<Sent>, Check); 4] = [
        (
            vec![(1, 1, b"x".to_vec())],
            |reason| matches!(reason, Reason::NotGranted { domain } if domain.as_str() == "prices"),
        ),
        (vec![(1, 9, b"x".to_vec())], |reason| *reason == Reason::UnknownDomain { index: 9 }),
        (vec![(1, 0, vec![7; 1001])], |reason| *reason == Reason::TooLarge { bytes: 1001, most: 1000 }),
        (vec![(0, 0, part.clone()), (0, 0, part)], |reason| {
            *reason == Reason::TooLarge { bytes: 1200, most: 1000 }
        }),
    ];
    for (messages, is_right) in cases {
        peer.links(&["orders", "prices"]).await;
        let mut connection = eu.connection().await;
        for (kind, tag, bytes) in messages {
            peer.stores(peer.message(peer.next, kind, tag, &bytes)).await;
            peer.next += 1;
        }
        assert_eq!(soon("the end", connection.incoming.recv()).await, None);
        eu.fails("us", is_right).await;
        // It is told so.
        loop {
            let heard = peer.hears().await;
            if heard[8] == 2 {
                assert_eq!(heard[11..27], peer.session);
                assert!(matches!(heard[27], 10..=12), "{}", heard[27]);
                break;
            }
        }
    }
}

#[tokio::test]
async fn strangers_are_refused_and_nothing_of_theirs_is_stored() {
    let Some(server) = Server::start().await else { return };
    let log = Log::new();
    let (eu, peer) = eu_and_peer(&server).await;
    let mut to_ap = peer.client.subscribe(format!("{PREFIX}.ap.eu.beat")).await.unwrap();
    let say = |name: &str| {
        peer.client.publish(format!("{PREFIX}.eu.{name}.beat"), beat([7; 16], [0; 16], 0, &["orders"]))
    };
    say("ap").await.unwrap();
    let refusal = soon("a refusal", to_ap.next()).await.unwrap().payload;
    assert_eq!((&refusal[..9], &refusal[11..27], refusal[27]), (&b"DRIFTNAT\x02"[..], &[7; 16][..], 3));
    log.says(&["WARN", "link refused", "reason=\"not_listed\"", "sender=\"ap\""]).await;
    // Its own messages, or those of somebody who says so.
    say("eu").await.unwrap();
    log.says(&["WARN", "link refused", "reason=\"itself\""]).await;
    say("A_P").await.unwrap();
    until("the inbox is there", || eu.peer("us").opening.is_some_and(|opening| opening.attempts > 1)).await;
    for stranger in ["ap", "eu"] {
        let sent =
            peer.jetstream.publish(format!("{PREFIX}.eu.{stranger}.frames"), "x".into()).await.unwrap();
        sent.await.expect_err("there is no place for it");
    }
    assert!(eu.connections.is_empty());
}

#[tokio::test]
async fn another_version_and_another_cluster_are_no_peers() {
    let Some(server) = Server::start().await else { return };
    let (mut eu, mut peer) = eu_and_peer(&server).await;
    let mut later = beat(peer.session, [0; 16], 0, &["orders"]).to_vec();
    later[9..11].copy_from_slice(&[2, 3]);
    let later = bytes::Bytes::from(later);
    until("the peer is waited for", || eu.peer("us").opening.is_some_and(|opening| opening.attempts > 0))
        .await;
    peer.says(later).await;
    eu.fails("us", |reason| *reason == Reason::Version { theirs: (2, 3) }).await;
    loop {
        let heard = peer.hears().await;
        if heard[8] == 2 {
            assert_eq!(heard[27], 5);
            break;
        }
    }
    // What `eu` is told stands in its status.
    let mut refusal = b"DRIFTNAT\x02\x01\x01".to_vec();
    refusal.extend([0; 16]);
    refusal.push(3);
    peer.says(refusal.into()).await;
    eu.fails("us", |reason| reason.to_string().contains("we are not in its peer list")).await;

    let other = NatsConfig { cluster: uuid::Uuid::from_u128(0xc2), ..config(&server, "us", &["eu"]) };
    let mut other = Region::start(other).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert!(other.connections.try_recv().is_err() && eu.connections.try_recv().is_err());
    peer.links(&["orders"]).await;
    let mut connection = eu.connection().await;
    drop(eu.links);
    gone(&mut connection).await;
}
