//! A store as lines of JSON, and back.
//!
//! The first line says what it is; then comes a line for each record, with its bytes in Base64; the last line says how many there
//! were, and up to which place. So what was cut off is told from what is whole.
//!
//! ```json
//! {"format":"driftless-store","version":1}
//! {"kind":"checkpoint","number":0,"bytes":"YQ=="}
//! {"kind":"log","place":4,"bytes":"Yg=="}
//! {"kind":"feed","place":4,"bytes":"Yw=="}
//! {"kind":"end","records":2,"batches":1,"upto":3,"last":4}
//! ```

use std::fmt;
use std::io::{self, BufRead, Write};
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use driftless_node::store::{Place, StoreError};
use serde_json::{Value, json};

use crate::contents::{Contents, Entry};
use crate::fault::Fault;
use crate::file::create;
use crate::rows::Kind;

const FORMAT: &str = "driftless-store";
const VERSION: u64 = 1;

/// What is exported of a damaged store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Damage {
    /// Nothing.
    #[default]
    Refuse,
    /// The store as it was before what is damaged was written.
    Until,
    /// As before, without the feed, which may be damaged as well: who reads it must begin anew.
    UntilWithoutFeed,
}

/// What was exported.
#[derive(Debug)]
#[non_exhaustive]
pub struct Exported {
    /// The place up to which records were exported.
    pub last: Place,
    /// How many records, and how many batches of the feed.
    pub entries: (u64, u64),
    /// What is damaged.
    pub damage: Option<StoreError>,
}

/// Why a store was not exported, or not imported.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExportError {
    /// The store: see there.
    Store(StoreError),
    /// The disk, or whatever the lines are read from or written to.
    Io(io::Error),
    /// Bytes: a line is not as an export writes it. Nothing was imported.
    Line {
        /// Which, counted from one.
        number: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => fmt::Display::fmt(error, f),
            Self::Io(error) => {
                write!(f, "the lines could not be read or written: {error}; no store was changed")
            }
            Self::Line { number, what } => {
                write!(
                    f,
                    "the bytes of line {number} are no export ({what}); nothing was imported: export anew"
                )
            }
        }
    }
}

impl std::error::Error for ExportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::Io(error) => Some(error),
            Self::Line { .. } => None,
        }
    }
}

impl From<StoreError> for ExportError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Writes the store at `path` as lines of JSON. It may be in use.
///
/// # Errors
/// [`ExportError`]. What was written until then has no last line, and is not imported.
pub fn export(path: &Path, damage: Damage, to: &mut dyn Write) -> Result<Exported, ExportError> {
    let with_feed = damage != Damage::UntilWithoutFeed;
    let (contents, last, found) = match damage {
        Damage::Refuse => {
            let contents = Contents::open(path)?;
            let last = contents.summary().last;
            (contents, last, None)
        }
        Damage::Until | Damage::UntilWithoutFeed => {
            let contents = Contents::open_damaged(path)?;
            let whole = contents.whole(with_feed)?;
            (contents, whole.last, whole.damage)
        }
    };
    let (mut records, mut batches) = (0_u64, 0_u64);
    let mut failure = None;
    let mut line = |line: &Value| writeln!(to, "{line}");
    line(&json!({ "format": FORMAT, "version": VERSION }))?;
    let mut take = |entry: Entry| {
        let row = match &entry {
            Entry::Checkpoint { number, bytes } => {
                json!({ "kind": "checkpoint", "number": number, "bytes": BASE64_STANDARD.encode(bytes) })
            }
            Entry::Log { place, bytes } => {
                json!({ "kind": "log", "place": place.0, "bytes": BASE64_STANDARD.encode(bytes) })
            }
            Entry::Feed { place, bytes } => {
                json!({ "kind": "feed", "place": place.0, "bytes": BASE64_STANDARD.encode(bytes) })
            }
        };
        *(if matches!(entry, Entry::Feed { .. }) { &mut batches } else { &mut records }) += 1;
        line(&row).map_err(|error| {
            failure = Some(error);
            StoreError::Unsupported { what: "be read on" }
        })
    };
    let read = match damage {
        Damage::Refuse => contents.read(&mut take),
        _ => contents.read_upto(last, with_feed, &mut take),
    };
    if let Some(error) = failure {
        return Err(error.into());
    }
    read?;
    let upto = contents.summary().upto.0;
    let end = json!({ "kind": "end", "records": records, "batches": batches, "upto": upto, "last": last.0 });
    writeln!(to, "{end}")?;
    to.flush()?;
    Ok(Exported { last, entries: (records, batches), damage: found })
}

/// Makes a store at `path` of what [`export`] wrote. There must be no file of that name.
///
/// # Errors
/// [`ExportError`]; nothing was imported.
pub fn import(from: &mut dyn BufRead, path: &Path) -> Result<(), ExportError> {
    let mut failure = None;
    let made = create(path, &mut |store| {
        let mut lines = Lines { from, number: 0, text: String::new() };
        let read = lines.fill(store);
        read.map_err(|error| match error {
            ExportError::Store(error) => Fault::Caller(error),
            error => {
                failure = Some(error);
                Fault::Caller(StoreError::Unsupported { what: "be made" })
            }
        })
    });
    match failure {
        Some(error) => Err(error),
        None => Ok(made?),
    }
}

/// The lines of an export.
struct Lines<'a> {
    from: &'a mut dyn BufRead,
    number: u64,
    text: String,
}

impl Lines<'_> {
    fn wrong(&self, what: &'static str) -> ExportError {
        ExportError::Line { number: self.number, what }
    }

    fn next(&mut self) -> Result<Value, ExportError> {
        self.number += 1;
        self.text.clear();
        if self.from.read_line(&mut self.text)? == 0 {
            return Err(self.wrong("the last line is missing: it was cut off"));
        }
        serde_json::from_str(&self.text).map_err(|_| self.wrong("it is not JSON"))
    }

    fn count(&self, line: &Value, name: &str) -> Result<u64, ExportError> {
        line[name].as_u64().ok_or(self.wrong("a number is missing"))
    }

    fn fill(&mut self, store: &mut crate::file::Filling) -> Result<(), ExportError> {
        let first = self.next()?;
        if (&first["format"], first["version"].as_u64()) != (&json!(FORMAT), Some(VERSION)) {
            return Err(self.wrong("it does not say that this is an export, of version 1"));
        }
        let io = |fault: Fault| ExportError::Store(fault.tell("importing records", "the new store"));
        store.state().generation = 1;
        loop {
            let line = self.next()?;
            let kind = match line["kind"].as_str() {
                Some("checkpoint") => Kind::Checkpoint,
                Some("log") => Kind::Log,
                Some("feed") => Kind::Feed,
                Some("end") => return self.finish(store, &line),
                _ => return Err(self.wrong("it is of no known kind")),
            };
            let number = self.count(&line, if kind == Kind::Checkpoint { "number" } else { "place" })?;
            let text = line["bytes"].as_str().ok_or(self.wrong("there are no bytes"))?;
            let bytes = BASE64_STANDARD.decode(text).map_err(|_| self.wrong("the bytes are not Base64"))?;
            let state = store.state();
            let length = bytes.len() as u64;
            match kind {
                Kind::Checkpoint => {
                    state.checkpoint_records += 1;
                    state.checkpoint_bytes += length;
                }
                Kind::Log => state.log_bytes += length,
                Kind::Feed => {
                    state.feed_batches += 1;
                    state.feed_bytes += length;
                }
            }
            store.add(kind, number, bytes).map_err(io)?;
        }
    }

    fn finish(&mut self, store: &mut crate::file::Filling, end: &Value) -> Result<(), ExportError> {
        let numbers = ["records", "batches", "upto", "last"].map(|name| self.count(end, name));
        let [records, batches, upto, last] = numbers;
        let (records, batches, upto, last) = (records?, batches?, upto?, last?);
        let state = store.state();
        (state.upto, state.last, state.commits) = (upto, last, 1);
        let logged = last.checked_sub(upto).ok_or(self.wrong("it ends before its checkpoint"))?;
        if (records, batches) != (state.checkpoint_records + logged, state.feed_batches) {
            return Err(self.wrong("there are not as many lines as it says"));
        }
        Ok(())
    }
}
