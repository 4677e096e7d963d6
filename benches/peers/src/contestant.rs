//! What a contestant can do. One that cannot do a row says so with a note, and the table shows a dash.
//!
//! All methods take batches, so that what calling through a trait object costs is lost in them. An error of an engine ends
//! the run: there is nothing to measure where the work was not done.

use std::any::Any;
use std::collections::BTreeSet;

use crate::data::{Change, Contents, Document, Field, Key, TagChange};
use crate::rows::Row;

/// A way to hold the data: an engine, or what one would write without one.
pub(crate) trait Contestant {
    /// One word, as it is given on the command line.
    fn name(&self) -> &'static str;

    /// Whether it is a package from the registry, whose version is shown.
    fn is_package(&self) -> bool {
        true
    }

    /// An empty replica. `id` is unlike any other's in the row, and greater than 0.
    fn documents(&self, id: u64) -> Box<dyn Documents>;

    /// An empty replica whose documents have tags.
    fn tagged(&self, id: u64) -> Option<Box<dyn Tagged>>;

    /// An empty set of whole numbers.
    fn elements(&self, id: u64) -> Option<Box<dyn Elements>>;

    /// The most documents, elements or operations with which a row is done in reasonable time.
    fn at_most(&self, _row: Row) -> usize {
        usize::MAX
    }

    /// What must be known to read the figure of a row, or why there is none.
    fn note(&self, _row: Row) -> Option<&'static str> {
        None
    }
}

/// A replica of documents.
pub(crate) trait Documents {
    /// Writes documents that are not there yet, in one transaction.
    fn insert(&mut self, documents: &[Document<'_>]);

    /// Writes one field of each of some documents, in one transaction.
    fn overwrite(&mut self, changes: &[Change<'_>]);

    /// Remembers that the peers hold all that is held now: [`delta`](Self::delta) goes on from here.
    fn mark(&mut self);

    /// What this replica asks of a peer, for contestants whose messages are for one receiver. It is not measured, as what the
    /// others tell each other of their state is not.
    fn request(&self) -> Vec<u8> {
        Vec::new()
    }

    /// [`mark`](Self::mark), and what the one peer asks for that the next messages are for.
    fn mark_for(&mut self, _request: &[u8]) {
        self.mark();
    }

    /// What was changed since the mark, for contestants that do not keep it themselves. It is not measured.
    fn told(&mut self, _changes: &[Change<'_>]) {}

    /// The message for a peer that holds what was held at the mark.
    fn delta(&mut self) -> Vec<u8>;

    /// Merges such a message.
    fn apply(&mut self, message: &[u8]);

    /// The same as [`delta`](Self::delta) for a single change, if there is a shorter form for it.
    fn edit(&mut self) -> Vec<u8> {
        self.delta()
    }

    /// Merges what [`edit`](Self::edit) made.
    fn apply_edit(&mut self, message: &[u8]) {
        self.apply(message);
    }

    /// All that is held, in each form that there is, by name. The first is the one that [`load`](Self::load) takes.
    fn full(&mut self) -> Vec<(&'static str, Vec<u8>)>;

    /// Becomes what [`full`](Self::full) wrote. The replica was empty.
    fn load(&mut self, bytes: &[u8]);

    /// Reads some fields, by key; the sum of their weights.
    fn read(&self, picks: &[(&Key, Field)]) -> u64;

    /// Reads all fields of all documents in the order that is best; the sum of their weights.
    fn touch(&self) -> u64;

    /// What is held now, for readers to whom it does not change.
    fn snapshot(&mut self) -> Option<Box<dyn Any>>;

    /// All that is held, for comparing.
    fn contents(&self) -> Contents;
}

/// A replica whose documents have tags, each a set of whole numbers to which is added and from which is removed.
pub(crate) trait Tagged: Documents {
    /// Adds and removes tags, in one transaction.
    fn tag(&mut self, changes: &[TagChange<'_>]);
}

/// A set of whole numbers.
pub(crate) trait Elements {
    /// Adds elements that are not there, in one transaction.
    fn add(&mut self, elements: &[u64]);

    /// Removes elements that are there, in one transaction.
    fn remove(&mut self, elements: &[u64]);

    /// Adds and removes all `elements` so many times, and forgets what can be forgotten.
    fn churn(&mut self, elements: &[u64], times: usize) {
        for _ in 0..times {
            self.add(elements);
            self.remove(elements);
        }
    }

    /// All that is held, in each form that there is.
    fn full(&mut self) -> Vec<(&'static str, Vec<u8>)>;

    /// All elements, for comparing.
    fn contents(&self) -> BTreeSet<u64>;
}
