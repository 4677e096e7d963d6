//! What is documented by name is what is there.

use driftless_node::telemetry as names;

#[test]
fn every_metric_is_in_the_guide() {
    let guide = include_str!("../../../../docs/node.md");
    let all = [
        names::WRITES,
        names::WRITES_REFUSED,
        names::DURABLE_SECONDS,
        names::MERGES,
        names::CONFLICTS,
        names::UNREADABLE,
        names::UNSTORED,
        names::APPENDS,
        names::APPENDED_BYTES,
        names::APPEND_SECONDS,
        names::STORE_ERRORS,
        names::STORE_FAILING,
        names::CHECKPOINTS,
        names::CHECKPOINT_BYTES,
        names::LINKS,
        names::FRAMES_RECEIVED,
        names::BYTES_RECEIVED,
        names::FRAMES_SENT,
        names::BYTES_SENT,
        names::FRAMES_DROPPED,
        names::FRAMES_REFUSED,
        names::LAG_MS,
    ];
    for name in all {
        assert_eq!(guide.matches(&format!("| `{name}` |")).count(), 1, "{name}");
    }
    assert_eq!(guide.matches("| `driftless_").count(), all.len() + 2, "and the spans, but nothing else");
    assert_eq!(include_str!("../../src/telemetry.rs").matches("pub const ").count(), all.len());
}
