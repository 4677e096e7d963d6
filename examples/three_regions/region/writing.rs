//! What a region writes: its airports at first, then its schedule.

use std::sync::Arc;
use std::time::Instant;

use driftless::Timestamp;

use crate::airports::Source;
use crate::measure::Transaction;
use crate::model::{Write, Written};
use crate::region::{Fault, Region};
use crate::schedule::{Op, Planned};

/// Airports that are loaded in one transaction.
const BATCH: usize = 100;
/// Writes that are made before mail is looked at again, should the region be late.
const WRITES_IN_A_ROW: usize = 32;

impl Region {
    /// Loads the next batch of airports.
    pub(super) fn load(&mut self) -> Result<(), Fault> {
        let rest = self.setup.own_sources.get(self.loaded..).unwrap_or_default();
        if !self.is_loading || rest.is_empty() {
            return Ok(());
        }
        let sources = Arc::clone(&self.setup.sources);
        let batch: Vec<&Source> = rest.iter().take(BATCH).map(|record| &sources[*record]).collect();
        let mut written = Written::default();
        for source in &batch {
            written += Write::Create(source).written(&source.icao);
        }
        let at_us = self.setup.clock.micros();
        let done = self.endpoint.transact(self.unix_ms(), |airports| {
            batch.iter().try_for_each(|source| Write::Create(source).apply(airports, &source.icao))
        })?;
        self.loaded += batch.len();
        self.log.loaded += 1;
        self.note(at_us, done.stamp, written);
        Ok(())
    }

    pub(super) fn is_writing(&self) -> bool {
        self.begins_us.is_some() && self.done < self.setup.plan.len()
    }

    pub(super) fn next_write_us(&self) -> u64 {
        match (self.begins_us, self.setup.plan.get(self.done)) {
            (Some(begins_us), Some(planned)) => begins_us + planned.at_us,
            _ => u64::MAX,
        }
    }

    /// Does the operations that are due.
    pub(super) fn write(&mut self) -> Result<(), Fault> {
        for _ in 0..WRITES_IN_A_ROW {
            let (now_us, due_us) = (self.setup.clock.micros(), self.next_write_us());
            if due_us > now_us {
                break;
            }
            let planned = self.setup.plan[self.done];
            self.done += 1;
            self.log.late_us.push(now_us - due_us);
            self.write_one(&planned)?;
        }
        Ok(())
    }

    fn write_one(&mut self, planned: &Planned) -> Result<(), Fault> {
        let sources = Arc::clone(&self.setup.sources);
        let source = &sources[planned.record];
        let key = source.icao.as_str();
        let is_there = self.endpoint.replica().state().contains_key(key);
        // What is gone is created again by whoever writes to it, as an application would do it.
        let create = (!is_there && planned.op != Op::Delete).then_some(Write::Create(source));
        let write = (planned.op != Op::Restore).then(|| Write::of(planned.op, source));
        let is_created = create.is_some();
        let mut written = Written::default();
        [&create, &write].into_iter().flatten().for_each(|write| written += write.written(key));
        let at_us = self.setup.clock.micros();
        let unix_ms = self.unix_ms();
        let begun = Instant::now();
        let done = self.endpoint.transact(unix_ms, |airports| {
            let mut writes = [create, write].into_iter().flatten();
            writes.try_for_each(|write| write.apply(airports, key))
        })?;
        self.log.write_ns.push(begun.elapsed().as_nanos() as u64);
        if done.stamp.is_none() {
            self.log.without_effect += 1;
            return Ok(());
        }
        self.log.created_again += usize::from(is_created);
        self.log.deleted += usize::from(planned.op == Op::Delete);
        self.note(at_us, done.stamp, written);
        Ok(())
    }

    fn note(&mut self, at_us: u64, stamp: Option<Timestamp>, written: Written) {
        if let Some(stamp) = stamp {
            self.log.transactions.push(Transaction { at_us, stamp, written });
            self.touch(at_us);
        }
    }
}
