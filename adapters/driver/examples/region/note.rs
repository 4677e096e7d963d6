//! What a domain holds here: notes by key.

use driftless::{Counter, CounterOverflow, Crdt, LwwRegister, MergeMap, OrSet, UnknownFields, Writer};

pub(crate) type Notes = MergeMap<String, Note>;

/// A note. Each field merges by itself.
#[derive(Debug, Crdt)]
pub(crate) struct Note {
    /// The latest counts.
    pub(crate) text: LwwRegister<String>,
    pub(crate) tags: OrSet<String>,
    /// What was added to it, in all regions.
    pub(crate) count: Counter,
    /// What later releases will add: regions are upgraded one by one.
    pub(crate) rest: UnknownFields,
}

/// What is added to a note in one transaction: all of it, or nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Addition {
    pub(crate) tags: Vec<String>,
    pub(crate) count: i64,
}

impl Addition {
    /// Reads `tag=polite&count=2`, each as often as you like, as `curl -d` sends it.
    pub(crate) fn parse(form: &str) -> Option<Self> {
        let mut addition = Self::default();
        for part in form.split('&') {
            match part.split_once('=')? {
                ("tag", tag) if is_tag(tag) => addition.tags.push(tag.to_owned()),
                ("count", count) => {
                    addition.count = addition.count.checked_add(count.parse().ok()?)?;
                }
                _ => return None,
            }
        }
        Some(addition)
    }

    pub(crate) fn apply(self, notes: &mut Writer<'_, Notes>, key: &str) -> Result<(), CounterOverflow> {
        notes.update(key, |note| {
            self.tags.into_iter().for_each(|tag| note.tags().add(&tag));
            if self.count == 0 { Ok(()) } else { note.count().add(self.count) }
        })
    }
}

/// Nothing that a form has to encode.
fn is_tag(tag: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    !tag.is_empty() && tag.bytes().all(is_plain)
}
