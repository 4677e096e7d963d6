//! What was written, as those know it who wrote it: outside of the processes, one of which is killed.
//!
//! Each write is one transaction, of one of two kinds. One adds a tag that nobody else adds to a note, and a number to its
//! count: what is there twice or by half shows in the count. The other replaces the writer's own text by a later one.

use std::collections::BTreeMap;

/// How many notes the writers of all regions share.
pub(crate) const NOTES: usize = 40;
/// One write in so many replaces the writer's text.
const TEXT_SHARE: u64 = 5;

use crate::random::Random;

/// What one write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Adds a tag to a note, and this to its count.
    Add { note: usize, count: i64 },
    /// Replaces the writer's text.
    Text,
}

impl Change {
    pub(crate) fn next(random: &mut Random) -> Self {
        match random.below(TEXT_SHARE) {
            0 => Self::Text,
            _ => Self::Add { note: random.below(NOTES as u64) as usize, count: 1 + random.below(9) as i64 },
        }
    }
}

/// A write that was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write {
    pub(crate) change: Change,
    /// Whether it was reported durable. If not there was no answer, and it may be there or not.
    pub(crate) is_acknowledged: bool,
}

/// What one writer sent, in order; it sent one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) writer: String,
    pub(crate) writes: Vec<Write>,
}

impl Ledger {
    pub(crate) fn tag(writer: &str, number: usize) -> String {
        format!("{writer}-{number}")
    }

    pub(crate) fn note(note: usize) -> String {
        format!("note-{note}")
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.writes.iter().filter(|write| write.is_acknowledged).count()
    }
}

/// What a region holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Of each note the tags and the count.
    pub(crate) notes: Vec<(Vec<String>, i64)>,
    /// Of each writer its text.
    pub(crate) texts: BTreeMap<String, String>,
}

/// What came of holding one against the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Writes without an answer, and how many of them are there.
    pub(crate) unanswered: usize,
    pub(crate) unanswered_there: usize,
    /// What is not as it has to be.
    pub(crate) wrong: Vec<String>,
}

/// Holds what a region has against what was written.
pub(crate) fn check(ledgers: &[Ledger], held: &Held) -> Findings {
    let mut findings = Findings::default();
    let Findings { unanswered, unanswered_there, wrong } = &mut findings;
    let mut left: Vec<BTreeMap<&str, usize>> = Vec::new();
    for (tags, _) in &held.notes {
        let mut times = BTreeMap::new();
        tags.iter().for_each(|tag| *times.entry(tag.as_str()).or_default() += 1);
        left.push(times);
    }
    let mut counts = vec![0; held.notes.len()];
    for Ledger { writer, writes } in ledgers {
        let text = held.texts.get(writer).map(|text| text.parse::<usize>());
        let last = |is_acknowledged: bool| {
            let is_last =
                |write: &Write| write.change == Change::Text && (write.is_acknowledged || !is_acknowledged);
            writes.iter().rposition(is_last)
        };
        match &text {
            None if last(true).is_some() => wrong.push(format!("the text of {writer} is lost")),
            None => {}
            Some(Ok(number)) if Some(*number) >= last(true) && Some(*number) <= last(false) => {}
            Some(number) => wrong.push(format!(
                "the text of {writer} is {number:?}, and not the one of {:?}, nor a later one up to {:?}",
                last(true),
                last(false)
            )),
        }
        for (number, write) in writes.iter().enumerate() {
            *unanswered += usize::from(!write.is_acknowledged);
            let Change::Add { note, count } = write.change else {
                let is_there = matches!(text, Some(Ok(there)) if there >= number);
                *unanswered_there += usize::from(!write.is_acknowledged && is_there);
                continue;
            };
            let tag = Ledger::tag(writer, number);
            let times = left.get_mut(note).and_then(|tags| tags.remove(tag.as_str())).unwrap_or(0);
            if times > 0 {
                counts[note] += count;
                *unanswered_there += usize::from(!write.is_acknowledged);
            }
            match times {
                0 if write.is_acknowledged => wrong.push(format!("{tag} was reported durable and is lost")),
                0 | 1 => {}
                _ => wrong.push(format!("{tag} is there {times} times")),
            }
        }
    }
    for tag in left.iter().flat_map(BTreeMap::keys) {
        wrong.push(format!("{tag} is there, and nobody wrote it in that place"));
    }
    for (note, ((_, count), told)) in held.notes.iter().zip(&counts).enumerate() {
        if count != told {
            wrong.push(format!(
                "the count of note {note} is {count}; what its tags were added with makes {told}"
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(writer: &str, writes: &[(Change, bool)]) -> Ledger {
        let writes = writes
            .iter()
            .map(|(change, is_acknowledged)| Write { change: *change, is_acknowledged: *is_acknowledged });
        Ledger { writer: writer.to_owned(), writes: writes.collect() }
    }

    fn add(note: usize, count: i64) -> Change {
        Change::Add { note, count }
    }

    fn held(notes: &[(&str, i64)], texts: &[(&str, &str)]) -> Held {
        let tags = |tags: &str| tags.split_whitespace().map(str::to_owned).collect();
        Held {
            notes: notes.iter().map(|(of, count)| (tags(of), *count)).collect(),
            texts: texts.iter().map(|(writer, text)| ((*writer).to_owned(), (*text).to_owned())).collect(),
        }
    }

    #[test]
    fn what_is_lost_doubled_or_halved_is_found() {
        let ledgers = [
            ledger("a", &[(add(0, 3), true), (Change::Text, true), (add(1, 4), true), (Change::Text, false)]),
            ledger("b", &[(add(0, 5), true), (add(1, 6), false)]),
        ];
        let wrong =
            |notes: &[(&str, i64)], texts: &[(&str, &str)]| check(&ledgers, &held(notes, texts)).wrong;
        let nothing: Vec<String> = Vec::new();
        // What was not answered may be there, and may not be.
        assert_eq!(wrong(&[("a-0 b-0", 8), ("a-2", 4)], &[("a", "1")]), nothing);
        assert_eq!(wrong(&[("a-0 b-0", 8), ("a-2 b-1", 10)], &[("a", "3")]), nothing);
        for (notes, texts, said) in [
            ([("b-0", 5), ("a-2", 4)], [("a", "1")], "a-0 was reported durable and is lost"),
            ([("a-0 b-0", 11), ("a-2", 4)], [("a", "1")], "the count of note 0 is 11"),
            ([("a-0 b-0", 8), ("a-2", 10)], [("a", "1")], "the count of note 1 is 10"),
            ([("a-0 b-0", 8), ("a-2 b-1", 4)], [("a", "1")], "the count of note 1 is 4"),
            ([("a-0 a-0 b-0", 8), ("a-2", 4)], [("a", "1")], "a-0 is there 2 times"),
            ([("a-0 b-0 c-0", 8), ("a-2", 4)], [("a", "1")], "c-0 is there, and nobody wrote it"),
            ([("a-0 b-0", 8), ("a-2", 4)], [("a", "0")], "the text of a is Ok(0)"),
            ([("a-0 b-0", 8), ("a-2", 4)], [("a", "4")], "the text of a is Ok(4)"),
            ([("a-0 b-0", 8), ("a-2", 4)], [("b", "0")], "the text of a is lost"),
        ] {
            let wrong = wrong(&notes, &texts);
            assert!(wrong.iter().any(|wrong| wrong.contains(said)), "{said}: {wrong:?}");
        }
        let findings = check(&ledgers, &held(&[("a-0 b-0", 8), ("a-2 b-1", 10)], &[("a", "1")]));
        assert_eq!((findings.unanswered, findings.unanswered_there), (2, 1));
    }
}
