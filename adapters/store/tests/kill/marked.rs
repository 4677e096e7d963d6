//! A store that says what it is about to do, so that it can be killed in the middle of that.

use std::path::Path;

use driftless_node::{Place, Record, Store, StoreError, StoreSize};
use driftless_store::FileStore;

use crate::child::say;

pub(crate) struct Marked(pub(crate) FileStore);

fn marked<T>(what: &str, act: impl FnOnce() -> T) -> T {
    say(&format!("in {what}"));
    let done = act();
    say("out");
    done
}

impl Store for Marked {
    fn load(&mut self, take: &mut dyn FnMut(Record) -> Result<(), StoreError>) -> Result<(), StoreError> {
        marked("load", || self.0.load(take))
    }

    fn append(&mut self, record: &[u8], feed: Option<&[u8]>) -> Result<Place, StoreError> {
        marked("append", || self.0.append(record, feed))
    }

    fn stage(&mut self, record: &[u8]) -> Result<(), StoreError> {
        marked("stage", || self.0.stage(record))
    }

    fn publish(&mut self, upto: Place) -> Result<(), StoreError> {
        marked("publish", || self.0.publish(upto))
    }

    fn abandon(&mut self) -> Result<(), StoreError> {
        self.0.abandon()
    }

    fn feed_range(&self) -> Result<Option<(Place, Place)>, StoreError> {
        self.0.feed_range()
    }

    fn feed_after(&self, after: Place, bytes: usize) -> Result<Vec<(Place, Vec<u8>)>, StoreError> {
        self.0.feed_after(after, bytes)
    }

    fn trim_feed(&mut self, upto: Place) -> Result<(), StoreError> {
        marked("trim", || self.0.trim_feed(upto))
    }

    fn compact(&mut self) -> Result<(), StoreError> {
        marked("compact", || self.0.compact())
    }

    fn backup(&mut self, to: &Path) -> Result<(), StoreError> {
        self.0.backup(to)
    }

    fn size(&self) -> Result<StoreSize, StoreError> {
        self.0.size()
    }
}
