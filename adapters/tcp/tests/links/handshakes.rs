//! Who is let in, and who is not.

use driftless_node::connection::{Access, Grants};
use driftless_tcp::{CertificateError, Reason, Security, StartError, TcpConfig, Transport};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::certificates::Authority;
use crate::raw::{Client, connect_with, preface, rest, take_preface};
use crate::regions::{DAY, Log, Place, Region, domain, frame, gone, region, soon, until};

#[tokio::test]
async fn two_regions_exchange_frames_of_the_domains_that_both_grant() {
    let place = Place::new();
    place.list("us", &[("eu", &[], "orders = \"read-write\"")]);
    let mut us = place.start("us").await;
    place.list("eu", &[("us", &[us.address()], "orders = \"read\", prices = \"read\", other = \"read\"")]);
    let mut eu = place.start("eu").await;
    let (mut at_eu, mut at_us) = (eu.connection().await, us.connection().await);
    assert_eq!((at_eu.principal.as_deref(), at_us.principal.as_deref()), (Some("us"), Some("eu")));
    assert_eq!(at_us.grants, Grants::from([(domain("orders"), Access::ReadWrite)]));
    assert_eq!(at_eu.grants.get(&domain("prices")), Some(&Access::Read));
    // What a peer may not read it does not hear of; a domain that is granted and is not there is not offered.
    assert_eq!(
        (&at_us.offered[..], &at_eu.offered[..]),
        (&["orders", "prices"].map(domain)[..], &[domain("orders")][..])
    );

    for number in 0..100 {
        let (there, back) =
            (frame("orders", &format!("there {number}")), frame("orders", &format!("back {number}")));
        soon("room", at_eu.outgoing.send(there.clone())).await.unwrap();
        soon("room", at_us.outgoing.send(back.clone())).await.unwrap();
        assert_eq!(soon("a frame", at_us.incoming.recv()).await, Some(there));
        assert_eq!(soon("a frame", at_eu.incoming.recv()).await, Some(back));
    }
    let connection = &eu.peer("us").connections[0];
    assert_eq!((connection.sent_frames, connection.received_frames), (100, 100));
    assert_eq!(connection.sent_bytes, us.peer("eu").connections[0].received_bytes);
    assert!(connection.certificate_until.is_some());
}

#[tokio::test]
async fn certificates_of_another_authority_are_refused_on_both_sides() {
    let (place, log) = (Place::new(), Log::new());
    let other = Authority::new("other");
    place.list("eu", &[("us", &[], "")]);
    let eu = place.start("eu").await;
    // The stranger trusts us, and we do not trust it; then the other way round.
    place.certify("us", &other, &["us.driftless.internal"], DAY);
    place.list("us", &[("eu", &[eu.address()], "")]);
    let us = place.start("us").await;
    us.fails("eu", |reason| matches!(reason, Reason::Tls { .. })).await;
    log.says(&["WARN", "connection refused", "reason=\"tls\"", "UnknownIssuer"]).await;
    drop(us);

    place.certify("us", &place.authority, &["us.driftless.internal"], DAY);
    place.write("ca.pem", &other.pem);
    let us = place.start("us").await;
    let reason = us.fails("eu", |reason| matches!(reason, Reason::Tls { .. })).await;
    assert!(reason.to_string().contains("UnknownIssuer"), "{reason}");
    assert!(eu.peer("us").connections.is_empty());
}

#[tokio::test]
async fn expired_certificates_are_refused_on_both_sides() {
    let (place, log) = (Place::new(), Log::new());
    place.list("eu", &[("us", &[], "")]);
    let eu = place.start("eu").await;
    place.certify("us", &place.authority, &["us.driftless.internal"], -1);
    place.list("us", &[("eu", &[eu.address()], "")]);
    let us = place.start("us").await;
    us.fails("eu", |reason| matches!(reason, Reason::Tls { .. })).await;
    log.says(&["connection refused", "reason=\"tls\"", "expired"]).await;
    log.says(&["ERROR", "this region's certificate has expired"]).await;

    place.list("ap", &[("us", &[us.address()], "")]);
    let ap = place.start("ap").await;
    let reason = ap.fails("us", |reason| matches!(reason, Reason::Tls { .. })).await;
    assert!(reason.to_string().contains("xpired"), "{reason}");
}

/// What a client gets that says these things of itself: the byte of the refusal.
async fn refusal(place: &Place, eu: &Region, client: &Client, said: &[u8]) -> Option<u8> {
    let mut stream = client.connect(place, eu.links.local_address().unwrap()).await.ok()?;
    stream.write_all(said).await.ok()?;
    let bytes = rest(&mut stream).await;
    if bytes.is_empty() {
        return None;
    }
    assert_eq!(bytes[..13], *b"DRIFTTCP\x02\x01\x01\x00\x01");
    assert_eq!(bytes.len(), 14);
    Some(bytes[13])
}

#[tokio::test]
async fn who_says_that_it_is_somebody_else_is_refused() {
    let (place, log) = (Place::new(), Log::new());
    place.list("eu", &[("us", &[], "orders = \"read\""), ("ap", &[], "prices = \"read\"")]);
    let mut eu = place.start("eu").await;
    let us = Client::default();
    assert_eq!(refusal(&place, &eu, &us, &preface(0xc1, "ap", &["prices"])).await, Some(6));
    log.says(&["connection refused", "reason=\"impostor\"", "peer=\"us\"", "it is ap"]).await;
    assert_eq!(refusal(&place, &eu, &us, &preface(0xc1, "eu", &[])).await, Some(6));
    assert_eq!(refusal(&place, &eu, &us, &preface(0xc2, "us", &[])).await, Some(4));
    log.says(&["reason=\"other_cluster\""]).await;
    let mut later = preface(0xc1, "us", &[]);
    (later[9], later[10]) = (2, 3);
    assert_eq!(refusal(&place, &eu, &us, &later).await, Some(5));
    log.says(&["reason=\"version\"", "versions 2 to 3"]).await;

    // By name it is nobody, or not one alone; a wildcard is nobody's name.
    for (names, code, label) in [
        (&["zz.driftless.internal"][..], 3, "not_listed"),
        (&["*.driftless.internal"], 3, "not_listed"),
        (&["us.driftless.internal.example.com"], 3, "not_listed"),
        (&["us.driftless.internal", "ap.driftless.internal"], 6, "ambiguous"),
        (&["eu.driftless.internal"], 6, "itself"),
    ] {
        place.certify("us", &place.authority, names, DAY);
        assert_eq!(refusal(&place, &eu, &us, &preface(0xc1, "us", &[])).await, Some(code), "{names:?}");
        log.says(&[&format!("reason=\"{label}\"")]).await;
    }
    assert!(eu.connections.try_recv().is_err());

    // And all is well if all is said right.
    place.certify("us", &place.authority, &["us.driftless.internal", "www.example.com"], DAY);
    let mut stream = us.connect(&place, eu.links.local_address().unwrap()).await.unwrap();
    stream.write_all(&preface(0xc1, "us", &["orders"])).await.unwrap();
    let answer = take_preface(&mut stream).await;
    assert!(answer.ends_with(b"\x01\x06orders"), "it is told of what it may read alone");
    assert_eq!(eu.connection().await.principal.as_deref(), Some("us"));
}

#[tokio::test]
async fn a_certificate_and_the_protocol_are_demanded() {
    let (place, log) = (Place::new(), Log::new());
    place.list("eu", &[("us", &[], "")]);
    let eu = place.start("eu").await;
    let without = Client { certificate: None, ..Client::default() };
    assert_eq!(refusal(&place, &eu, &without, &preface(0xc1, "us", &[])).await, None);
    log.says(&["reason=\"tls\"", "no certificates"]).await;
    let other = Client { protocols: vec![b"h2".to_vec()], ..Client::default() };
    assert_eq!(refusal(&place, &eu, &other, &preface(0xc1, "us", &[])).await, None);
    let none = Client { protocols: vec![], ..Client::default() };
    assert_eq!(refusal(&place, &eu, &none, &preface(0xc1, "us", &[])).await, None);
    log.says(&["reason=\"other_protocol\""]).await;
    assert!(eu.peer("us").connections.is_empty());
}

#[tokio::test]
async fn who_is_dialed_must_be_who_is_meant() {
    let (place, log) = (Place::new(), Log::new());
    place.list("us", &[("eu", &[], "")]);
    let us = place.start("us").await;
    // The address of `us` is said to be that of `ap`.
    place.list("eu", &[("ap", &[us.address()], ""), ("us", &[], "")]);
    let eu = place.start("eu").await;
    let reason = eu.fails("ap", |reason| matches!(reason, Reason::Tls { .. })).await;
    assert!(reason.to_string().contains("not valid for name"), "{reason}");
    log.says(&["WARN", "dialing failed", "peer=\"ap\""]).await;
    drop(eu);

    // A wildcard would satisfy TLS, but is nobody's name.
    place.certify("us", &place.authority, &["us.driftless.internal", "*.driftless.internal"], DAY);
    us.links.reload().await.unwrap();
    let eu = place.start("eu").await;
    eu.fails("ap", |reason| *reason == Reason::Impostor { claimed: region("us") }).await;

    // A peer list without us: we are told.
    place.list("us", &[]);
    us.links.reload().await.unwrap();
    place.list("eu", &[("us", &[us.address()], "")]);
    eu.links.reload().await.unwrap();
    let reason = eu.fails("us", |reason| matches!(reason, Reason::ByPeer(_))).await;
    assert_eq!(reason.to_string(), "the peer closed it: we are not in its peer list");
}

#[tokio::test]
async fn a_peer_may_bear_another_name() {
    let place = Place::new();
    place.certify("us", &place.authority, &["drift.us.example.com"], DAY);
    let wrong = Transport::start(place.config("us"), mpsc::channel(1).0).await.err();
    assert!(matches!(wrong, Some(StartError::Certificate(CertificateError::OtherName { .. }))), "{wrong:?}");
    place.list("us", &[("eu", &[], "")]);
    let mut us =
        Region::start(TcpConfig { identity: "drift.us.example.com".to_owned(), ..place.config("us") }).await;
    place.write(
        "eu.toml",
        &format!(
            "[peers.us]\naddresses = [\"{}\"]\nidentity = \"drift.us.example.com\"\ndomains = {{}}",
            us.address()
        ),
    );
    let mut eu = place.start("eu").await;
    assert_eq!(eu.connection().await.principal.as_deref(), Some("us"));
    assert_eq!(us.connection().await.principal.as_deref(), Some("eu"));
}

#[tokio::test]
async fn plain_text_is_spoken_with_plain_text_alone() {
    let (place, log) = (Place::new(), Log::new());
    let plain = |name, is_name_believed| TcpConfig {
        security: Security::PlainText { is_name_believed },
        ..place.config(name)
    };
    place.list("us", &[("eu", &[], "orders = \"read\"")]);
    let mut us = Region::start(plain("us", true)).await;
    log.says(&["WARN", "plain text"]).await;
    place.list("eu", &[("us", &[us.address()], "orders = \"read\"")]);
    let mut eu = Region::start(plain("eu", false)).await;
    let (mut at_eu, at_us) = (eu.connection().await, us.connection().await);
    assert_eq!((at_eu.principal.clone(), at_us.principal.as_deref()), (None, Some("eu")));
    soon("room", at_us.outgoing.send(frame("orders", "x"))).await.unwrap();
    assert_eq!(soon("a frame", at_eu.incoming.recv()).await, Some(frame("orders", "x")));
    drop(eu);

    let eu = place.start("eu").await;
    eu.fails("us", |reason| matches!(reason, Reason::Tls { .. } | Reason::Cut | Reason::Network { .. }))
        .await;
    log.says(&["connection refused", "reason=\"broken\""]).await;
    place.list("ap", &[("eu", &[eu.address()], "")]);
    let ap = Region::start(plain("ap", true)).await;
    ap.fails("eu", |reason| matches!(reason, Reason::Broken { .. } | Reason::Cut | Reason::Network { .. }))
        .await;
    assert!(eu.peer("us").connections.is_empty() && ap.peer("eu").connections.is_empty());

    // Who is in no list, or says that it is we, is refused without TLS, too.
    for (said, code) in [("zz", 3), ("us", 6)] {
        let mut stream = TcpStream::connect(us.address()).await.unwrap();
        stream.write_all(&preface(0xc1, said, &[])).await.unwrap();
        assert_eq!(rest(&mut stream).await.last(), Some(&code), "{said}");
    }
}

#[tokio::test]
async fn two_clusters_do_not_mix() {
    let place = Place::new();
    place.list("us", &[("eu", &[], "orders = \"read\"")]);
    let mut us = Region::start(TcpConfig { cluster: Uuid::from_u128(0xc2), ..place.config("us") }).await;
    place.list("eu", &[("us", &[us.address()], "orders = \"read\"")]);
    let eu = place.start("eu").await;
    let reason = eu.fails("us", |reason| matches!(reason, Reason::ByPeer(_))).await;
    assert_eq!(reason.to_string(), "the peer closed it: it is of another cluster");
    assert!(us.connections.try_recv().is_err());
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let place = Place::new();
    let start = async |config: TcpConfig| Transport::start(config, mpsc::channel(1).0).await.err();
    let error = |error: Option<StartError>| error.expect("it does not start").to_string();
    let twice = TcpConfig { domains: vec![domain("orders"), domain("orders")], ..place.config("eu") };
    assert!(error(start(twice).await).contains("`domains`"));
    let mut config = place.config("eu");
    config.timing.silence = std::time::Duration::from_millis(1);
    assert!(error(start(config).await).contains("`silence`"));
    let us = place.start("us").await;
    let taken = TcpConfig { listen: us.links.local_address(), ..place.config("eu") };
    assert!(error(start(taken).await).contains("cannot be listened at"));

    place.write("eu.toml", "[peers.us]");
    assert!(matches!(start(place.config("eu")).await, Some(StartError::Policy(_))));
    std::fs::remove_file(place.path("eu.toml")).unwrap();
    assert!(error(start(place.config("eu")).await).contains("eu.toml cannot be read"));
    place.list("eu", &[]);
    // The key of another.
    std::fs::copy(place.path("us.key"), place.path("eu.key")).unwrap();
    assert!(error(start(place.config("eu")).await).contains("of no use"));
    place.write("eu.key", "-----BEGIN PRIVATE");
    assert!(error(start(place.config("eu")).await).contains("eu.key does not hold a private key"));
    place.write("ca.pem", "");
    assert!(error(start(place.config("eu")).await).contains("ca.pem does not hold certificates"));
}

#[tokio::test]
async fn a_node_that_is_gone_leaves_no_connections() {
    let place = Place::new();
    let (eu, mut us, at_eu, mut at_us) = place.pair().await;
    drop((eu.connections, at_eu));
    gone(&mut at_us).await;
    until("the connection is gone", || eu.links.status().peers[0].connections.is_empty()).await;
    assert!(us.connections.try_recv().is_err());
}

#[tokio::test]
async fn no_session_is_resumed() {
    let place = Place::new();
    place.list("eu", &[("us", &[], "")]);
    let eu = place.start("eu").await;
    let config = Client::default().config(&place);
    for _ in 0..3 {
        let mut stream = connect_with(config.clone(), eu.links.local_address().unwrap()).await.unwrap();
        stream.write_all(&preface(0xc1, "us", &[])).await.unwrap();
        take_preface(&mut stream).await;
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
    }
}
