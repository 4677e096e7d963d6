//! What happened, whatever ids it happened under.
//!
//! A clone of a process writes under the id of the other copy, and events that are issued again go by a new id and, at
//! times, new stamps.
//! So the oracle knows events by *labels* of its own: each copy has one that no other has. This module tells which events a
//! version vector
//! of the engine speaks of, and by which names the engine knows them there.

use std::collections::HashMap;

use driftless::{ReplicaId, Timestamp, VersionVector};

use crate::oracle::{Live, Oracle};

/// An event as the oracle knows it: a label, and the stamp it was first written with.
pub(super) type Label = (ReplicaId, Timestamp);

/// What a vector of the engine speaks of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    /// By the ids of the engine. Closed ids, which its vectors leave out, are in it.
    pub(super) ids: VersionVector,
    /// The same by labels.
    pub(super) labels: VersionVector,
}

impl View {
    pub(super) fn join(&mut self, other: &View) {
        self.ids.join(&other.ids);
        self.labels.join(&other.labels);
    }
}

/// A commit under an id of the engine.
#[derive(Clone, Debug)]
struct Commit {
    /// What it is called by the oracle.
    label: Label,
    /// What its author held then, itself included.
    view: View,
}

/// Every commit there ever was.
#[derive(Debug, Default)]
pub(super) struct Truth {
    pub(super) oracle: Oracle,
    commits: HashMap<(ReplicaId, Timestamp), Commit>,
    /// The names of those that were issued again, the oldest first.
    names: HashMap<Label, Vec<(ReplicaId, Timestamp)>>,
    /// The id under which a label's events were first written.
    first_ids: HashMap<ReplicaId, ReplicaId>,
    /// From which copy another one parted, and after which of its commits.
    parted: HashMap<ReplicaId, Label>,
}

/// Why a commit is not taken note of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Collision;

impl Truth {
    /// From now on events of `label` are written under `id`.
    pub(super) fn begin(&mut self, label: ReplicaId, id: ReplicaId) {
        self.first_ids.insert(label, id);
    }

    /// From now on another copy of who writes as `from.0` goes on after its commit `from.1`, as `label`, under the same id.
    pub(super) fn part(&mut self, label: ReplicaId, id: ReplicaId, from: Label) {
        self.begin(label, id);
        self.parted.insert(label, from);
    }

    /// Whether several copies wrote, or could have written, under an id.
    pub(super) fn has_copies(&self, id: ReplicaId) -> bool {
        self.parted.keys().any(|label| self.first_ids.get(label) == Some(&id))
    }

    /// Whether a copy, when it made its commit `stamp`, had made the one that is called `label`: by itself, or before it parted.
    fn has_made(&self, mut copy: ReplicaId, mut stamp: Timestamp, label: &Label) -> bool {
        while copy != label.0 {
            let Some((from, after)) = self.parted.get(&copy) else { return false };
            (copy, stamp) = (*from, stamp.min(*after));
        }
        stamp >= label.1
    }

    /// A commit was made by who held `before`.
    ///
    /// # Errors
    /// Another copy issued the same stamp under the same id: no vector can tell them apart.
    pub(super) fn commit(
        &mut self,
        (id, stamp): (ReplicaId, Timestamp),
        label: ReplicaId,
        before: &View,
    ) -> Result<(), Collision> {
        let mut view = before.clone();
        view.ids.raise(id, stamp);
        view.labels.raise(label, stamp);
        let commit = Commit { label: (label, stamp), view };
        match self.commits.insert((id, stamp), commit) {
            Some(other) if other.label.0 != label => Err(Collision),
            _ => Ok(()),
        }
    }

    /// A commit is known under a new name as well, to who holds `view` by the new names.
    pub(super) fn rename(
        &mut self,
        former: (ReplicaId, Timestamp),
        new: (ReplicaId, Timestamp),
        view: &View,
    ) {
        let Some(Commit { label, view: was }) = self.commits.get(&former) else { return };
        let (label, labels) = (*label, was.labels.clone());
        let mut view = view.clone();
        view.labels.join(&labels);
        view.ids.raise(new.0, new.1);
        let first = (self.first_ids.get(&label.0).copied().unwrap_or(label.0), label.1);
        self.names.entry(label).or_insert_with(|| vec![first]).push(new);
        self.commits.insert(new, Commit { label, view });
    }

    /// What a vector speaks of. Whoever has seen a commit holds all that its author held then, so closed ids, which vectors
    /// leave out, follow
    /// from the entries that are there.
    ///
    /// # Errors
    /// It names what nobody ever committed.
    pub(super) fn view(&self, vector: &VersionVector) -> Result<View, String> {
        let mut view = View::default();
        for entry in vector.iter() {
            let commit = self.commits.get(&entry);
            view.join(
                &commit.ok_or_else(|| format!("nobody ever committed {} of {}", entry.1, entry.0))?.view,
            );
        }
        Ok(view)
    }

    /// What the oracle calls what was committed under an id with a stamp.
    pub(super) fn label(&self, id: ReplicaId, stamp: Timestamp) -> Option<Label> {
        self.commits.get(&(id, stamp)).map(|commit| commit.label)
    }

    /// What must be live for who holds a view, by the names of the engine.
    pub(super) fn live(&self, view: &View) -> Live {
        // Several copies write under the first id of an event. What was issued again goes by an id of its own.
        let is_known_by = |label: &Label, (id, stamp): &(ReplicaId, Timestamp)| {
            let held = view.ids.get(id);
            let is_first = self.first_ids.get(&label.0) == Some(id);
            let commit = || self.commits.get(&(*id, held));
            held >= *stamp
                && (!is_first || commit().is_some_and(|commit| self.has_made(commit.label.0, held, label)))
        };
        self.oracle.live_as(&view.labels, |author, stamp| {
            let label = (author, stamp);
            let names = self.names.get(&label);
            let name = names.and_then(|names| names.iter().find(|name| is_known_by(&label, name)));
            let first = || (self.first_ids.get(&author).copied().unwrap_or(author), stamp);
            name.copied().unwrap_or_else(first)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Item;
    use crate::oracle::{Entry, Payload};
    use driftless::Value;

    fn id(number: u128) -> ReplicaId {
        ReplicaId::from_u128(number)
    }

    fn at(stamp: u64) -> Timestamp {
        Timestamp::from_bits(stamp)
    }

    fn vector(entries: &[(u128, u64)]) -> VersionVector {
        entries.iter().map(|(number, stamp)| (id(*number), at(*stamp))).collect()
    }

    /// `label` counts one more, under `under`.
    fn count(truth: &mut Truth, label: u128, under: u128, stamp: u64, before: &View) -> View {
        let place = vec![Item::Key(Value::Int(1))];
        truth
            .oracle
            .transaction(id(label), at(stamp), before.labels.clone())
            .write(&place, Payload::Count(1));
        truth.commit((id(under), at(stamp)), id(label), before).expect("it is new");
        truth.view(&[(id(under), at(stamp))].into_iter().collect()).expect("it is there")
    }

    fn counts(truth: &Truth, view: &View) -> Vec<(ReplicaId, Timestamp, Payload)> {
        let live = truth.live(view);
        let entries = live.into_values().flatten();
        entries.map(|Entry { author, stamp, payload }| (author, stamp, payload)).collect()
    }

    #[test]
    fn two_copies_are_told_apart_and_what_is_issued_again_is_counted_once() {
        let mut truth = Truth::default();
        truth.begin(id(1), id(1));
        let common = count(&mut truth, 1, 1, 10, &View::default());
        let original = count(&mut truth, 1, 1, 20, &common);
        // A clone goes on from 10.
        truth.part(id(100), id(1), (id(1), at(10)));
        let clone = count(&mut truth, 100, 1, 15, &common);
        assert_eq!(counts(&truth, &original), [(id(1), at(20), Payload::Count(2))]);
        assert_eq!(counts(&truth, &clone), [(id(1), at(15), Payload::Count(2))]);
        assert_eq!(truth.label(id(1), at(15)), Some((id(100), at(15))));

        // It is found out: what it wrote goes by a new id, with another stamp.
        truth.rename((id(1), at(15)), (id(2), at(31)), &common);
        let clone = truth.view(&vector(&[(1, 10), (2, 31)])).expect("all is known");
        let expected = [(id(1), at(10), Payload::Count(1)), (id(2), at(31), Payload::Count(1))];
        assert_eq!(counts(&truth, &clone), expected);
        let both = truth.view(&vector(&[(1, 20), (2, 31)])).expect("all is known");
        let expected = [(id(1), at(20), Payload::Count(2)), (id(2), at(31), Payload::Count(1))];
        assert_eq!(counts(&truth, &both), expected);

        // A closed id is left out of a vector; it follows from what closed it.
        let mut closing = both.clone();
        truth.begin(id(3), id(3));
        closing = count(&mut truth, 3, 3, 40, &closing);
        assert_eq!(truth.view(&vector(&[(3, 40)])), Ok(closing));
        assert!(truth.view(&vector(&[(3, 41)])).is_err());
        assert_eq!(truth.commit((id(3), at(40)), id(7), &View::default()), Err(Collision));
    }
}
