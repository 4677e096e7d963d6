//! Whether two that should hold the same do.
//!
//! While their vectors are equal, one of two peers sends a hash of what is live in each of 256 buckets of rows. Where they differ
//! the rows are compared, those that differ are named, and each side sends them whole, for the other to be repaired by. As soon
//! as a vector changes meanwhile the audit ends without a result: it never mistakes a write under way for a fault.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use crate::causal::vector::VersionVector;
use crate::crdt::Crdt;
use crate::crdt::prints::RowPrint;
use crate::replica::audit::Fingerprints;
use crate::sync::error::{LinkId, SyncError};
use crate::sync::event::SyncEvent;
use crate::sync::frame::Frame;
use crate::sync::shared::{Shared, hash_of};

const BUCKETS: NonZeroU16 = match NonZeroU16::new(256) {
    Some(buckets) => buckets,
    None => NonZeroU16::MIN,
};
/// How many buckets are looked into at once, and how many rows are repaired.
const MOST_BUCKETS: usize = 8;
const MOST_ROWS: usize = 256;

/// A step of an audit. Each names the vector that it is of, by its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Audit {
    /// The hash of each bucket.
    Prints { vector: u64, sums: Vec<u64> },
    /// The rows of the buckets that differ: their ids and hashes.
    Rows { vector: u64, buckets: Vec<u16>, rows: Vec<(u64, u64)> },
    /// Rows that differ, as a message of them.
    Repair { vector: u64, ids: Vec<u64>, message: Vec<u8>, is_answer: bool },
}

/// When the peer was last compared with.
#[derive(Debug, Default)]
pub(crate) struct Auditing {
    next_ms: Option<u64>,
}

impl Auditing {
    /// A heartbeat of the peer came, by which it holds `told`.
    pub(crate) fn beat<S: Crdt>(
        &mut self,
        shared: &Shared<S>,
        begins: bool,
        now_ms: u64,
        told: &VersionVector,
        answers: &mut Vec<Frame<'static>>,
    ) {
        let next_ms = *self.next_ms.get_or_insert(now_ms.saturating_add(shared.config().audit_ms));
        if !begins || now_ms < next_ms || told.is_empty() || !shared.replica.is_at(told) {
            return;
        }
        self.next_ms = Some(now_ms.saturating_add(shared.config().audit_ms));
        let vector = hash_of(&shared.replica.vector());
        let sums = shared.replica.fingerprints(BUCKETS).sums().to_vec();
        answers.push(Frame::Audit(Audit::Prints { vector, sums }));
    }

    pub(crate) fn receive<S: Crdt>(
        &mut self,
        shared: &mut Shared<S>,
        now_ms: u64,
        link: LinkId,
        told: &VersionVector,
        audit: Audit,
        answers: &mut Vec<Frame<'static>>,
    ) -> Result<(), SyncError> {
        // The vectors of the two may leave out different closed ids, so each names its own.
        let (own, theirs) = (hash_of(&shared.replica.vector()), hash_of(told));
        if !shared.replica.is_at(told) {
            return Ok(());
        }
        match &audit {
            // To look for many is work, of which a few bytes must not make much.
            Audit::Rows { buckets, .. } if buckets.len() > MOST_BUCKETS => {
                return Err(SyncError::Broken { what: "at most 8 buckets" });
            }
            Audit::Repair { ids, .. } if ids.len() > MOST_ROWS => {
                return Err(SyncError::Broken { what: "at most 256 rows" });
            }
            Audit::Prints { .. } | Audit::Rows { .. } | Audit::Repair { .. } => {}
        }
        match audit {
            Audit::Prints { vector, sums } if vector == theirs => {
                let prints = shared.replica.fingerprints(BUCKETS);
                let theirs = Fingerprints::from(sums);
                let buckets: Vec<u16> = prints.differing(&theirs).take(MOST_BUCKETS).collect();
                if !buckets.is_empty() {
                    let rows = shared.replica.rows_of(BUCKETS, &buckets);
                    let rows = rows.into_iter().map(|row| (row.id, row.print)).collect();
                    answers.push(Frame::Audit(Audit::Rows { vector: own, buckets, rows }));
                }
            }
            Audit::Rows { vector, buckets, rows } if vector == theirs => {
                let ours = shared.replica.rows_of(BUCKETS, &buckets);
                let ids = differing(&ours, &rows);
                if !ids.is_empty() {
                    send(shared, own, ids, false, answers);
                }
            }
            Audit::Repair { vector, ids, message, is_answer } if vector == theirs => {
                let rows = shared.replica.decode(&message)?;
                if !is_answer {
                    // Ours as they are now, before they are repaired.
                    send(shared, own, ids.clone(), true, answers);
                }
                let shown = shown(shared, &ids);
                let repaired = shared.replica.repair(now_ms, rows)?;
                let rows = if shown.is_empty() {
                    repaired.rows.iter().map(ToString::to_string).collect()
                } else {
                    shown
                };
                shared.events.push_back(SyncEvent::Diverged { link, rows });
                shared.events.push_back(SyncEvent::Repaired { link, rows: repaired.rows.len() });
                shared.version += 1;
                // There may be more.
                self.next_ms = Some(now_ms);
            }
            Audit::Prints { .. } | Audit::Rows { .. } | Audit::Repair { .. } => {}
        }
        Ok(())
    }
}

/// The rows that are on one side alone, or not the same on both.
fn differing(ours: &[RowPrint], theirs: &[(u64, u64)]) -> Vec<u64> {
    let ours = by_id(ours.iter().map(|row| (row.id, row.print)));
    let theirs = by_id(theirs.iter().copied());
    let differs = |id: &&u64| ours.get(*id) != theirs.get(*id);
    let only_there = theirs.keys().filter(|id| !ours.contains_key(id));
    ours.keys().filter(differs).chain(only_there).copied().take(MOST_ROWS).collect()
}

/// The prints of rows by their ids. Where a field is several things at once its rows share theirs, in any order.
fn by_id(rows: impl Iterator<Item = (u64, u64)>) -> BTreeMap<u64, u64> {
    let mut by_id: BTreeMap<u64, u64> = BTreeMap::new();
    for (id, print) in rows {
        let sum = by_id.entry(id).or_default();
        *sum = sum.wrapping_add(print);
    }
    by_id
}

/// What the rows are called that are held here.
fn shown<S: Crdt>(shared: &Shared<S>, ids: &[u64]) -> Vec<String> {
    let all: Vec<u16> = (0..BUCKETS.get()).collect();
    let rows = shared.replica.rows_of(BUCKETS, &all);
    rows.iter().filter(|row| ids.contains(&row.id)).map(|row| row.path.to_string()).collect()
}

fn send<S: Crdt>(
    shared: &mut Shared<S>,
    vector: u64,
    ids: Vec<u64>,
    is_answer: bool,
    answers: &mut Vec<Frame<'static>>,
) {
    // What cannot be written is told when it is to be shipped.
    if let Ok(message) = shared.replica.rows(&ids).encode() {
        answers.push(Frame::Audit(Audit::Repair { vector, ids, message, is_answer }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crdt::change::ChangePath;

    #[test]
    fn rows_that_share_an_id_are_compared_together() {
        let row = |id, print| RowPrint { path: ChangePath::default(), id, print };
        let ours = [row(1, 5), row(2, 6), row(1, 7), row(3, 1), row(4, u64::MAX), row(4, 2)];
        assert_eq!(differing(&ours, &[(1, 7), (4, 1), (1, 5), (3, 1), (2, 6)]), []);
        assert_eq!(differing(&ours, &[(1, 7), (1, 6), (2, 6), (4, 1), (5, 1)]), [1, 3, 5]);
    }
}
