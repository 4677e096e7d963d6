//! The bytes of wire version 2: files that were written when it was fixed, and what they say.
//!
//! Old files are read into the same state, the histories that made them still make them, and two readers that share nothing
//! with the engine find in them what is written beside them: one of the testkit, and `decode.py`, which was written from the
//! description of the format alone.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failure here is a failure of the test")]

mod dump;
mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

use driftless::{Config, Counter, Crdt, DecodeError, MergeError, Replica, ReplicaId};
use driftless_testkit::samples::{Inbox, Sample, Visitor, visit_all, visit_answers};
use driftless_testkit::schema::Schema;
use serde_json::{Map, Value as Json, json};

use crate::files::Golden;

/// What a test finds wrong with a sample and its golden files.
type Check = fn(&Found<'_>) -> Result<(), String>;

/// A sample as it is made today, and its golden files.
struct Found<'a> {
    golden: &'a Golden,
    schema: &'a Schema,
    /// The messages as they are made today.
    messages: &'a [Vec<u8>],
    /// What stands before them.
    head: String,
    /// The state that the golden messages lead to.
    state: Result<Json, String>,
}

struct Checking {
    check: Check,
    names: BTreeSet<String>,
    faults: Vec<String>,
}

impl Visitor for Checking {
    fn visit<S: Crdt>(&mut self, sample: Sample<S>) {
        self.names.insert(sample.name.to_owned());
        let checked = files::read(sample.name).and_then(|golden| {
            let state = read_all(&sample, &golden.messages);
            let head = files::head(sample.about, &sample.schema);
            let Sample { schema, messages, .. } = &sample;
            (self.check)(&Found { golden: &golden, schema, messages, head, state })
        });
        self.faults.extend(checked.err().map(|fault| format!("{}: {fault}", sample.name)));
    }
}

/// The state of a reader who was sent messages. What was read is written again as it was.
fn read_all<S: Crdt>(sample: &Sample<S>, messages: &[Vec<u8>]) -> Result<Json, String> {
    let mut inbox = Inbox::new(sample.reader());
    for (number, bytes) in messages.iter().enumerate() {
        let delta = inbox.replica.decode(bytes).map_err(|error| format!("message {number}: {error}"))?;
        if !delta.is_chunk() && delta.encode().as_ref() != Ok(bytes) {
            return Err(format!("message {number} is not written again as it was read"));
        }
        inbox.take(bytes).map_err(|refused| format!("message {number}: {refused:?}"))?;
    }
    dump::state(&inbox.replica, &sample.schema)
}

/// Writes the golden files anew, if that is asked for.
struct Blessing;

impl Visitor for Blessing {
    fn visit<S: Crdt>(&mut self, sample: Sample<S>) {
        let expected = json!({
            "messages": dump::messages(&sample.messages, &sample.schema).unwrap(),
            "state": read_all(&sample, &sample.messages).unwrap(),
        });
        let head = files::head(sample.about, &sample.schema);
        files::write(&files::folder(), sample.name, &Golden { head, messages: sample.messages, expected });
    }
}

fn bless() {
    static BLESSED: Once = Once::new();
    if files::is_blessing() {
        BLESSED.call_once(|| visit_all(&mut Blessing));
    }
}

/// Checks all samples. Returns their names.
fn check(check: Check) -> BTreeSet<String> {
    bless();
    let mut checking = Checking { check, names: BTreeSet::new(), faults: Vec::new() };
    visit_all(&mut checking);
    assert!(checking.faults.is_empty(), "{}\n{}", checking.faults.join("\n"), files::advice());
    checking.names
}

fn same(what: &str, found: &Json, expected: &Json) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what} is\n{found}\nand not\n{expected}")) }
}

#[test]
fn old_messages_are_merged_into_the_same_state() {
    check(|found| same("the state", found.state.as_ref()?, &found.golden.expected["state"]));
}

#[test]
fn messages_of_version_1_are_refused_by_their_version_and_change_nothing() {
    let golden = files::of_version_1().unwrap();
    let mut reader: Replica<Counter> = Replica::new(ReplicaId::from_u128(1), Config::default());
    reader.write(1_000, |counter| counter.add(1).unwrap()).unwrap();
    let before = (reader.vector(), reader.canonical_bytes());
    assert_eq!(golden.messages.len(), 5);
    for message in golden.messages {
        // The head of a MessagePack array, read as a version.
        let found = u64::from(message[0] >> 3);
        assert!(matches!(found, 18 | 19), "{found}");
        let refused = reader.decode(&message).unwrap_err();
        assert_eq!(refused, MergeError::Decode(DecodeError::Version { found }));
        assert!(refused.to_string().contains(&format!("version {found}")), "{refused}");
    }
    assert_eq!((reader.vector(), reader.canonical_bytes()), before);
}

#[test]
fn the_same_histories_give_the_same_bytes() {
    let names = check(|found| {
        if found.messages == found.golden.messages && found.head == found.golden.head {
            return Ok(());
        }
        let pairs = found.messages.iter().zip(&found.golden.messages);
        let place = pairs.take_while(|(new, old)| new == old).count();
        Err(format!("the bytes are not as they were, from message {place} on"))
    });
    let files = fs::read_dir(files::folder()).unwrap().map(|entry| entry.unwrap().path());
    let stems: BTreeSet<_> =
        files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(stems, names, "each golden file is of a sample");
}

#[test]
fn an_independent_reader_finds_what_is_written_beside_the_messages() {
    check(|found| {
        let messages = dump::messages(&found.golden.messages, found.schema)?;
        same("what the messages hold", &messages, &found.golden.expected["messages"])
    });
}

#[test]
fn a_decoder_in_python_that_knows_the_description_alone_finds_the_same() {
    let names = check(|_| Ok(()));
    let found = decode_in_python(&files::folder(), &names);
    for (name, found) in &found {
        let golden = files::read(name).unwrap();
        same("what decode.py finds", found, &golden.expected["messages"])
            .unwrap_or_else(|fault| panic!("{name}: {fault}"));
    }
}

/// What `decode.py` finds in the messages of files.
fn decode_in_python(folder: &Path, names: &BTreeSet<String>) -> Map<String, Json> {
    let mut python = Command::new("python3");
    python.arg("-B").arg(files::folder().join("../decode.py"));
    python.args(names.iter().map(|name| folder.join(format!("{name}.hex"))));
    let output = python.output().unwrap_or_else(|error| {
        panic!("python3 could not be run ({error}): install it, on Debian by `apt-get install python3`")
    });
    assert!(output.status.success(), "decode.py failed: {}", String::from_utf8_lossy(&output.stderr));
    let found: Map<String, Json> = serde_json::from_slice(&output.stdout).unwrap();
    assert!(found.keys().eq(names), "decode.py read {:?}", found.keys());
    found
}

/// Writes samples of answers to a folder, with what the testkit finds in them.
struct Writing(PathBuf, BTreeMap<String, Json>);

impl Visitor for Writing {
    fn visit<S: Crdt>(&mut self, sample: Sample<S>) {
        /// The bit of the first byte that says that there are keys in short form.
        const SHORT_KEYS: u8 = 4;
        let state = read_all(&sample, &sample.messages[..1]).unwrap();
        let expected = dump::messages(&sample.messages, &sample.schema).unwrap();
        let short = sample.messages.iter().filter(|message| message[0] & SHORT_KEYS != 0).count();
        assert!(short > 0, "{}: no message has keys in short form", sample.name);
        let head = files::head(sample.about, &sample.schema);
        self.1.insert(sample.name.to_owned(), expected.clone());
        let expected = json!({ "messages": expected, "state": state });
        files::write(&self.0, sample.name, &Golden { head, messages: sample.messages, expected });
    }
}

/// Their bytes depend on how the platform hashes keys, so they are in no golden files.
#[test]
fn the_decoder_in_python_finds_the_same_in_messages_with_keys_in_short_form() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("answers");
    let mut writing = Writing(folder, BTreeMap::new());
    visit_answers(&mut writing);
    let Writing(folder, expected) = writing;
    let found = decode_in_python(&folder, &expected.keys().cloned().collect());
    for (name, found) in &found {
        same("what decode.py finds", found, &expected[name])
            .unwrap_or_else(|fault| panic!("{name}: {fault}"));
    }
}
