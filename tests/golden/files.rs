//! The golden files: their form, and how they are written anew.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use driftless_testkit::schema::Schema;
use serde_json::Value as Json;

/// The variable that has the golden files written anew.
const BLESS: &str = "DRIFTLESS_BLESS";
/// Bytes in a line.
const LINE: usize = 32;

/// What the two files of a sample hold.
#[derive(Debug)]
pub(crate) struct Golden {
    /// What stands before the messages.
    pub(crate) head: String,
    pub(crate) messages: Vec<Vec<u8>>,
    /// What the messages hold and the state that they lead to.
    pub(crate) expected: Json,
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v2")
}

/// The messages of version 1 that are kept.
pub(crate) fn of_version_1() -> Result<Golden, String> {
    read_in(&folder().with_file_name("v1"), "counter")
}

pub(crate) fn is_blessing() -> bool {
    env::var_os(BLESS).is_some_and(|value| value == "1")
}

/// What to do about bytes that are not as they were.
pub(crate) fn advice() -> String {
    format!(
        "The bytes of a version never change: replicas of an older release would not read them, and stored ones would be lost. \
         If they must, it is a new version (docs/wire-format.md, \"Versions\") with golden files of its own. A sample that was \
         added is written by `{BLESS}=1 cargo test --test golden`."
    )
}

/// What stands before the messages of a sample.
pub(crate) fn head(about: &str, schema: &Schema) -> String {
    format!("# {about}\nschema: {}", schema.to_json())
}

pub(crate) fn read(name: &str) -> Result<Golden, String> {
    read_in(&folder(), name)
}

fn read_in(folder: &Path, name: &str) -> Result<Golden, String> {
    let read = |end: &str| {
        let path = folder.join(format!("{name}.{end}"));
        fs::read_to_string(&path).map_err(|error| format!("{}: {error}. {}", path.display(), advice()))
    };
    let text = read("hex")?;
    let (head, messages) = text.split_once("\n\n").unwrap_or((&text, ""));
    let messages = messages.split("\n\n").map(from_hex).collect::<Option<_>>();
    let expected = serde_json::from_str(&read("json")?).map_err(|error| format!("{name}.json: {error}"))?;
    let messages = messages.ok_or_else(|| format!("{name}.hex holds what is not hexadecimal"))?;
    Ok(Golden { head: head.to_owned(), messages, expected })
}

pub(crate) fn write(folder: &Path, name: &str, golden: &Golden) {
    let Golden { head, messages, expected } = golden;
    let messages = messages.iter().map(|message| to_hex(message)).collect::<Vec<_>>();
    let file = |end: &str, text: String| {
        fs::create_dir_all(folder).expect("the folder of the golden files can be made");
        fs::write(folder.join(format!("{name}.{end}")), text).expect("the golden files can be written");
    };
    file("hex", format!("{head}\n\n{}", messages.join("\n")));
    file("json", layout(expected));
}

fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(LINE) {
        let bytes: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{}", bytes.join(" ")).expect("a string takes all");
    }
    text
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).ok()).collect()
}

/// JSON with a line for each id and each cell.
fn layout(json: &Json) -> String {
    let mut text = String::new();
    lay_out(json, 0, &mut text);
    text.push('\n');
    text
}

fn lay_out(json: &Json, level: usize, text: &mut String) {
    let entries: Vec<(String, &Json)> = match json {
        Json::Object(entries) => {
            entries.iter().map(|(name, json)| (format!("{}: ", Json::from(name.as_str())), json)).collect()
        }
        Json::Array(entries) => entries.iter().map(|json| (String::new(), json)).collect(),
        _ => Vec::new(),
    };
    let is_line =
        |json: &Json| matches!(json, Json::Object(map) if map.contains_key("path") || map.contains_key("id"));
    if entries.is_empty() || is_line(json) {
        return text.push_str(&json.to_string());
    }
    let (open, close) = if json.is_array() { ('[', ']') } else { ('{', '}') };
    text.push(open);
    for (place, (name, json)) in entries.iter().enumerate() {
        text.push_str(if place == 0 { "\n" } else { ",\n" });
        text.push_str(&"  ".repeat(level + 1));
        text.push_str(name);
        lay_out(json, level + 1, text);
    }
    text.push('\n');
    text.push_str(&"  ".repeat(level));
    text.push(close);
}
