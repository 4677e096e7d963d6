//! The tasks that write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use driftless::{CounterOverflow, Writer};
use driftless_node::Domain;
use tokio::task::JoinSet;

use crate::Fault;
use crate::histogram::Histogram;
use crate::region::Docs;

/// Half of the writes are on so many documents.
const HOT: u64 = 100;
/// Documents that are made in one transaction, before anything is measured.
const FILLED_AT_ONCE: u64 = 1_000;
const TEXT: u64 = 32;

/// What a write is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    Durable,
    Applied,
}

impl Until {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Applied => "in memory",
        }
    }
}

/// A small generator: SplitMix64.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let n = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(n ^ (n >> 31)) * u128::from(bound)) >> 64) as u64
    }

    fn text(&mut self) -> String {
        (0..TEXT).map(|_| char::from(b'a' + self.below(26) as u8)).collect()
    }
}

/// One write: seven in ten replace a text, one in twenty removes a document, the others count.
enum Write {
    Text(u64, String),
    Count(u64),
    Remove(u64),
}

impl Write {
    fn next(random: &mut Random, keys: u64) -> Self {
        let key = match random.below(2) {
            0 => random.below(HOT.min(keys)),
            _ => random.below(keys),
        };
        match random.below(20) {
            0..14 => Self::Text(key, random.text()),
            14..19 => Self::Count(key),
            _ => Self::Remove(key),
        }
    }

    fn apply(self, docs: &mut Writer<'_, Docs>) -> Result<(), CounterOverflow> {
        match self {
            Self::Text(key, text) => docs.update(&key, |doc| doc.text().set(text)),
            Self::Count(key) => docs.update(&key, |doc| doc.visits().add(1))?,
            Self::Remove(key) => {
                docs.remove(&key);
            }
        }
        Ok(())
    }
}

pub(crate) struct Load {
    domain: Domain<Docs>,
    seed: u64,
    keys: u64,
    /// How long writes took, since it was last taken: each second.
    pub(crate) latencies: Histogram,
    /// The same: at the end of a phase.
    pub(crate) of_all: Histogram,
}

/// Tasks at work.
pub(crate) struct Running {
    tasks: JoinSet<Result<(), Fault>>,
    is_over: Arc<AtomicBool>,
}

impl Load {
    pub(crate) fn new(domain: Domain<Docs>, seed: u64, keys: u64) -> Self {
        Self { domain, seed, keys, latencies: Histogram::new(), of_all: Histogram::new() }
    }

    /// Writes each document once.
    pub(crate) async fn fill(&self) -> Result<(), Fault> {
        let mut random = Random(self.seed);
        for from in (0..self.keys).step_by(FILLED_AT_ONCE as usize) {
            let keys = from..(from + FILLED_AT_ONCE).min(self.keys);
            let texts: Vec<(u64, String)> = keys.map(|key| (key, random.text())).collect();
            let fill = move |docs: &mut Writer<'_, Docs>| {
                texts.into_iter().try_for_each(|(key, text)| {
                    docs.update(&key, |doc| {
                        doc.text().set(text);
                        doc.visits().add(1)
                    })
                })
            };
            self.domain.transact(fill).await?;
        }
        Ok(())
    }

    /// Has tasks write, each one write after the other.
    pub(crate) fn start(self: &Arc<Self>, tasks: usize, until: Until) -> Running {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut running = Running { tasks: JoinSet::new(), is_over: Arc::clone(&is_over) };
        for task in 0..tasks as u64 {
            let (load, is_over) = (Arc::clone(self), Arc::clone(&is_over));
            running.tasks.spawn(async move {
                let mut random = Random(load.seed ^ (task + 1) << 32 ^ (until as u64) << 48);
                while !is_over.load(Ordering::Relaxed) {
                    let write = Write::next(&mut random, load.keys);
                    let begin = Instant::now();
                    match until {
                        Until::Durable => drop(load.domain.transact(|docs| write.apply(docs)).await?),
                        Until::Applied => drop(load.domain.apply(|docs| write.apply(docs)).await?),
                    }
                    let micros = begin.elapsed().as_micros() as u64;
                    load.latencies.note(micros);
                    load.of_all.note(micros);
                }
                Ok(())
            });
        }
        running
    }
}

impl Running {
    pub(crate) async fn stop(mut self) -> Result<(), Fault> {
        self.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(())
    }
}
