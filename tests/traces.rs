//! Replays recorded histories with real replicas over the real wire, and compares each state with the recorded one.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use driftless_testkit::trace::{Course, Trace};
use serde_json::json;

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    files.sort();
    files
}

fn replay(course: Course) {
    let files = files();
    assert_eq!(files.len(), 40);
    for file in files {
        let trace = Trace::parse(&fs::read_to_string(&file).unwrap());
        let outcome = trace.and_then(|trace| trace.run_as(course));
        let checked = outcome.and_then(|outcome| {
            assert_eq!(outcome.expected.as_ref().unwrap().diverged.len(), outcome.reached.diverged.len());
            outcome.check()
        });
        checked.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

#[test]
fn every_trace_leads_to_its_states() {
    replay(Course { forgets: false, chunk_bytes: None });
}

#[test]
fn every_trace_leads_to_its_states_while_replicas_forget() {
    replay(Course { forgets: true, chunk_bytes: None });
}

#[test]
fn every_trace_leads_to_its_states_in_chunks() {
    for chunk_bytes in [1, 100, 1000] {
        replay(Course { forgets: true, chunk_bytes: Some(chunk_bytes) });
    }
}

fn error_of(change: impl FnOnce(&mut serde_json::Value)) -> String {
    let mut trace = json!({
        "replicas": [{ "name": "eu", "id": "00000000-0000-0000-0000-000000000001" }],
        "steps": [
            { "do": "set", "at": "eu", "now": 5, "path": ["a"], "value": 1 },
            { "do": "txn", "at": "eu", "now": 6, "ops": [{ "do": "inc", "path": ["b"], "by": 2 }] },
            { "do": "sync", "from": "eu", "to": "eu" },
        ],
        "expect": { "diverged": { "eu": { "a": 1, "b": 2 } }, "converged": { "a": 1, "b": 2 } },
    });
    change(&mut trace);
    let outcome = Trace::parse(&trace.to_string()).and_then(|trace| trace.run()?.check());
    outcome.err().unwrap_or_else(|| "none".to_owned())
}

#[test]
fn a_bad_trace_is_an_error_that_names_the_step() {
    assert_eq!(error_of(|_| {}), "none");
    assert_eq!(error_of(|trace| trace["steps"][0]["at"] = json!("us")), "step 1: there is no replica \"us\"");
    assert_eq!(error_of(|trace| trace["steps"][2]["to"] = json!("us")), "step 3: there is no replica \"us\"");
    assert_eq!(
        error_of(|trace| drop(trace["steps"][0].as_object_mut().unwrap().remove("value"))),
        "step 1: the field \"value\" is missing"
    );
    assert_eq!(
        error_of(|trace| trace["steps"][1]["ops"][0]["by"] = json!("2")),
        "step 2: the field \"by\" must be a 64-bit integer, not \"2\""
    );
    assert_eq!(
        error_of(|trace| trace["steps"][1]["now"] = json!(-1)),
        "step 2: the field \"now\" must be a number of milliseconds, not -1"
    );
    assert_eq!(
        error_of(|trace| trace["steps"][0]["path"] = json!(["a", 1])),
        "step 1: the field \"path\" must be a list of names, not [\"a\",1]"
    );
    assert_eq!(
        error_of(|trace| trace["steps"][0]["do"] = json!("sett")),
        "step 1: there is no operation \"sett\""
    );
    assert_eq!(
        error_of(|trace| trace["steps"][0]["value"] = json!([u64::MAX])),
        "step 1: the number 18446744073709551615 is beyond 64 signed bits"
    );
    assert_eq!(error_of(|trace| trace["steps"] = json!({})), "the field \"steps\" must be a list, not {}");
    assert!(error_of(|trace| trace["replicas"][0]["id"] = json!("1")).contains("is no UUID"));
    assert!(error_of(|trace| *trace = json!(null)).contains("\"replicas\" is missing"));
    assert!(Trace::parse("{").unwrap_err().contains("no JSON"));
}

#[test]
fn what_a_replica_refuses_is_an_error_that_names_the_step() {
    let kind = error_of(|trace| trace["steps"][1]["ops"][0]["path"] = json!(["a"]));
    assert!(kind.starts_with("step 2: ") && kind.contains("register"), "{kind}");
    let now = error_of(|trace| trace["steps"][0]["now"] = json!(1_u64 << 50));
    assert!(now.starts_with("step 1: "), "{now}");
}

#[test]
fn a_state_that_is_not_as_expected_is_named() {
    let diverged = error_of(|trace| trace["expect"]["diverged"]["eu"]["b"] = json!(3));
    assert!(diverged.starts_with("the state of eu after the last step: expected "), "{diverged}");
    let converged = error_of(|trace| trace["expect"]["converged"] = json!({}));
    assert!(converged.starts_with("the converged state: expected {}"), "{converged}");
}
