//! Certificates are changed while links are up, and run out.

use std::time::Duration;

use driftless_tcp::{CertificateError, Reason};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::certificates::Authority;
use crate::raw::Client;
use crate::regions::{DAY, Log, Place, Region, frame, gone, soon, until};

/// What happens to files.
type Damage = fn(&Place);

/// The certificate that a region shows.
async fn shown(place: &Place, region: &Region) -> CertificateDer<'static> {
    let stream = Client::default().connect(place, region.links.local_address().unwrap()).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

fn stored(place: &Place, name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(&std::fs::read(place.path(&format!("{name}.pem"))).unwrap()).unwrap()
}

#[tokio::test]
async fn new_handshakes_use_new_certificates_and_links_stay() {
    let (place, log) = (Place::new(), Log::new());
    let (mut eu, mut us, at_eu, mut at_us) = place.pair().await;
    let old = stored(&place, "eu");
    assert_eq!(shown(&place, &eu).await, old);
    place.certify("eu", &place.authority, &["eu.driftless.internal"], 2 * DAY);
    assert_eq!(shown(&place, &eu).await, old, "it has not been told");
    let until_then = eu.links.status().certificate_until;
    eu.links.reload().await.unwrap();
    log.says(&["INFO", "the peer list or the certificates were changed"]).await;
    assert_eq!(shown(&place, &eu).await, stored(&place, "eu"));
    assert!(eu.links.status().certificate_until > until_then);
    soon("room", at_eu.outgoing.send(frame("orders", "x"))).await.unwrap();
    assert_eq!(soon("a frame", at_us.incoming.recv()).await, Some(frame("orders", "x")));

    // What dials uses it, too.
    let before = us.peer("eu").connections[0].certificate_until;
    drop(at_eu);
    gone(&mut at_us).await;
    (_, _) = (eu.connection().await, us.connection().await);
    assert!(us.peer("eu").connections[0].certificate_until > before);
}

#[tokio::test]
async fn an_authority_is_replaced_without_a_break_and_the_old_one_is_put_out() {
    let (place, log) = (Place::new(), Log::new());
    let (mut eu, mut us, mut at_eu, mut at_us) = place.pair().await;
    let new = Authority::new("new");
    // Both are trusted, then `us` gets a certificate of the new one.
    place.write("ca.pem", &format!("{}{}", place.authority.pem, new.pem));
    eu.links.reload().await.unwrap();
    us.links.reload().await.unwrap();
    soon("room", at_eu.outgoing.send(frame("orders", "still there"))).await.unwrap();
    assert!(soon("a frame", at_us.incoming.recv()).await.is_some());
    place.certify("us", &new, &["us.driftless.internal"], DAY);
    us.links.reload().await.unwrap();
    drop(at_us);
    gone(&mut at_eu).await;
    (at_eu, at_us) = (eu.connection().await, us.connection().await);

    // `us` stops trusting the old one before `eu` has a new certificate.
    place.write("ca.pem", &new.pem);
    us.links.reload().await.unwrap();
    gone(&mut at_us).await;
    gone(&mut at_eu).await;
    log.says(&["WARN", "connection closed", "reason=\"untrusted\"", "UnknownIssuer"]).await;
    eu.fails("us", |reason| matches!(reason, Reason::Tls { .. })).await;
    place.certify("eu", &new, &["eu.driftless.internal"], DAY);
    eu.links.reload().await.unwrap();
    (_, _) = (eu.connection().await, us.connection().await);
}

#[tokio::test]
async fn a_link_ends_with_the_certificate_of_its_peer() {
    let (place, log) = (Place::new(), Log::new());
    place.certify("eu", &place.authority, &["eu.driftless.internal"], 4);
    let (mut eu, mut us, at_eu, mut at_us) = place.pair().await;
    soon("room", at_eu.outgoing.send(frame("orders", "x"))).await.unwrap();
    assert!(soon("a frame", at_us.incoming.recv()).await.is_some());
    gone(&mut at_us).await;
    log.says(&["WARN", "connection closed", "reason=\"expired\""]).await;
    log.says(&["INFO", "connection closed", "reason=\"by_peer\"", "our certificate is not valid any more"])
        .await;
    eu.fails("us", |reason| matches!(reason, Reason::Tls { .. })).await;
    assert!(us.connections.try_recv().is_err());
    place.certify("eu", &place.authority, &["eu.driftless.internal"], DAY);
    eu.links.reload().await.unwrap();
    (_, _) = (eu.connection().await, us.connection().await);
}

#[tokio::test]
async fn a_dialed_peer_is_left_when_its_certificate_expires() {
    let (place, log) = (Place::new(), Log::new());
    place.certify("us", &place.authority, &["us.driftless.internal"], 4);
    let (eu, _us, mut at_eu, _at_us) = place.pair().await;
    gone(&mut at_eu).await;
    log.says(&["WARN", "connection closed", "direction=\"dialed\"", "reason=\"expired\""]).await;
    eu.fails("us", |reason| matches!(reason, Reason::Tls { .. })).await;
}

#[tokio::test]
async fn files_of_no_use_change_nothing() {
    let (place, log) = (Place::new(), Log::new());
    let (eu, _us, at_eu, mut at_us) = place.pair().await;
    let old = stored(&place, "eu");
    let keep = ["ca.pem", "eu.pem", "eu.key"].map(|file| (file, std::fs::read(place.path(file)).unwrap()));
    let restore = || keep.iter().for_each(|(file, bytes)| std::fs::write(place.path(file), bytes).unwrap());
    // A certificate without its key, of another region, cut, gone.

    let damage: [(&str, Damage); 4] = [
        ("of no use", |place| {
            place.write("eu.pem", &place.authority.certify(&["eu.driftless.internal"], DAY).0)
        }),
        ("not that of this region", |place| {
            let (certificate, key) = place.authority.certify(&["us.driftless.internal"], DAY);
            place.write("eu.pem", &certificate);
            place.write("eu.key", &key);
        }),
        ("does not hold", |place| place.write("eu.pem", "-----BEGIN CERTIFICATE-----\nMIIB")),
        ("cannot be read", |place| std::fs::remove_file(place.path("ca.pem")).unwrap()),
    ];
    for (what, damage) in damage {
        damage(&place);
        let error = eu.links.reload().await.unwrap_err();
        assert_eq!(error.policy, None);
        let error: CertificateError = error.certificate.unwrap();
        assert!(error.to_string().contains(what), "{error}");
        log.says(&["ERROR", "the certificates cannot be loaded", what]).await;
        restore();
        assert_eq!(shown(&place, &eu).await, old);
    }
    eu.links.reload().await.unwrap();
    soon("room", at_eu.outgoing.send(frame("orders", "x"))).await.unwrap();
    assert_eq!(soon("a frame", at_us.incoming.recv()).await, Some(frame("orders", "x")));
}

#[tokio::test]
async fn certificates_are_read_again_by_themselves() {
    let place = Place::new();
    let mut config = place.config("eu");
    config.timing.reload = Duration::from_millis(30);
    let eu = Region::start(config).await;
    let before = eu.links.status().certificate_until;
    place.certify("eu", &place.authority, &["eu.driftless.internal"], 2 * DAY);
    until("the certificate is read", || eu.links.status().certificate_until > before).await;
    assert_eq!(shown(&place, &eu).await, stored(&place, "eu"));
}

#[tokio::test]
async fn a_node_that_takes_no_connections_keeps_no_link_that_is_refused() {
    let place = Place::new();
    place.list("us", &[("eu", &[], "orders = \"read\"")]);
    let us = place.start("us").await;
    place.list("eu", &[("us", &[us.address()], "orders = \"read\"")]);
    // One connection has room to wait for the node; the next one waits at the door.
    let (sink, mut connections) = tokio::sync::mpsc::channel(1);
    let eu = driftless_tcp::Transport::start(place.config("eu"), sink).await.unwrap();
    for _ in 0..2 {
        until("connected", || us.peer("eu").connections.len() == 1).await;
        place.list("us", &[]);
        us.links.reload().await.unwrap();
        until("refused", || us.links.status().peers.is_empty()).await;
        place.list("us", &[("eu", &[], "orders = \"read\"")]);
        us.links.reload().await.unwrap();
    }
    until("connected", || eu.status().peers[0].connections.len() == 1).await;
    place.list("eu", &[]);
    eu.reload().await.unwrap();
    until("refused", || eu.status().peers.is_empty()).await;
    assert!(soon("a connection", connections.recv()).await.is_some());
}
