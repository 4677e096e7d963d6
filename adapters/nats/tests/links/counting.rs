//! What is counted.

use std::collections::BTreeMap;
use std::time::Duration;

use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use crate::raw::{PREFIX, Peer, beat, empties};
use crate::regions::{Region, config, frame, gone, soon};
use crate::server::Server;

#[tokio::test]
async fn counters_have_the_names_that_are_written_down() {
    let Some(server) = Server::start().await else { return };
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let mut peer = Peer::new(&server).await;
    let mut patient = config(&server, "eu", &["us"]);
    patient.timing.gap = Duration::from_secs(60);
    let mut eu = Region::start(patient).await;
    peer.links(&["orders"]).await;
    let mut connection = eu.connection().await;
    soon("room", connection.outgoing.send(frame("orders", "twelve bytes"))).await.unwrap();
    // There is no inbox at `us`, so that it is sent again and again.
    tokio::time::sleep(Duration::from_millis(300)).await;
    peer.sends(b"seven b").await;
    soon("a frame", connection.incoming.recv()).await.unwrap();
    for sequence in [1, 9] {
        peer.stores(peer.message(sequence, 1, 0, b"x")).await;
    }
    peer.stores("garbage".into()).await;
    let theirs = std::mem::replace(&mut peer.theirs, [1; 16]);
    peer.stores(peer.message(1, 1, 0, b"x")).await;
    empties(&peer.jetstream, "eu").await;
    peer.client.publish(format!("{PREFIX}.eu.ap.beat"), "x".into()).await.unwrap();
    peer.says(beat([9; 16], theirs, 0, &[])).await;
    gone(&mut connection).await;
    eu.fails("us", |_| true).await;

    // A snapshot takes all back to nothing, so there is one, at the end.
    let mut counted = BTreeMap::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let labels: Vec<String> =
            key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let value = match value {
            DebugValue::Counter(number) => number as f64,
            DebugValue::Gauge(number) => number.0,
            DebugValue::Histogram(_) => continue,
        };
        counted.insert(format!("{}{{{}}}", key.key().name(), labels.join(",")), value);
    }
    for (name, value) in [
        ("driftless_nats_links{peer=us}", 0.0),
        ("driftless_nats_linked_total{peer=us}", 1.0),
        ("driftless_nats_closed_total{peer=us,reason=restarted}", 1.0),
        ("driftless_nats_refused_total{reason=not_listed}", 1.0),
        ("driftless_nats_sent_frames_total{peer=us}", 1.0),
        ("driftless_nats_sent_bytes_total{peer=us}", 12.0),
        ("driftless_nats_received_frames_total{peer=us}", 1.0),
        ("driftless_nats_received_bytes_total{peer=us}", 7.0),
        ("driftless_nats_dropped_messages_total{peer=us,why=seen}", 1.0),
        ("driftless_nats_dropped_messages_total{peer=us,why=ahead}", 1.0),
        ("driftless_nats_dropped_messages_total{peer=us,why=stale}", 1.0),
        ("driftless_nats_dropped_messages_total{peer=us,why=garbage}", 1.0),
        ("driftless_nats_policy_loaded{}", 1.0),
        ("driftless_nats_server_connected{}", 1.0),
    ] {
        assert_eq!(counted.get(name), Some(&value), "{name}: {counted:#?}");
    }
    assert!(counted["driftless_nats_republished_messages_total{peer=us}"] > 0.0);
}
