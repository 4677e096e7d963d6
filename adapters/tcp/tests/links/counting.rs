//! What is counted.

use std::collections::BTreeMap;

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::raw::rest;
use crate::regions::{Place, frame, gone, soon};

#[tokio::test]
async fn counters_have_the_names_that_are_written_down() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let place = Place::new();
    let (eu, us, mut at_eu, mut at_us) = place.pair().await;
    soon("room", at_eu.outgoing.send(frame("orders", "twelve bytes"))).await.unwrap();
    soon("a frame", at_us.incoming.recv()).await.unwrap();
    let mut stranger = TcpStream::connect(us.address()).await.unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    rest(&mut stranger).await;
    place.write("us.toml", "broken");
    us.links.reload().await.unwrap_err();
    gone(&mut at_us).await;
    gone(&mut at_eu).await;
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
        ("driftless_tcp_connections{peer=us}", 0.0),
        ("driftless_tcp_connected_total{peer=us,direction=dialed}", 1.0),
        ("driftless_tcp_connected_total{peer=eu,direction=accepted}", 1.0),
        ("driftless_tcp_sent_frames_total{peer=us}", 1.0),
        ("driftless_tcp_sent_bytes_total{peer=us}", 12.0),
        ("driftless_tcp_received_frames_total{peer=eu}", 1.0),
        ("driftless_tcp_received_bytes_total{peer=eu}", 12.0),
        ("driftless_tcp_refused_total{reason=tls}", 1.0),
        ("driftless_tcp_closed_total{peer=eu,reason=no_policy}", 1.0),
        ("driftless_tcp_closed_total{peer=us,reason=by_peer}", 1.0),
        ("driftless_tcp_policy_loaded{}", 0.0),
    ] {
        assert_eq!(counted.get(name), Some(&value), "{name}: {counted:#?}");
    }
    assert!(counted["driftless_tcp_dial_failures_total{peer=us}"] > 0.0);
    assert!(counted["driftless_tcp_certificate_until_seconds{}"] > 1.7e9);
}
