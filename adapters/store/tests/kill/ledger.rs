//! What is written, and what must hold of it in every state that anybody reads.

use std::time::Duration;

use driftless::{Counter, CounterOverflow, Crdt, LwwRegister, MergeMap, OrSet};
use driftless_node::{Access, Connection, Domain, DomainConfig, DomainName, Frame, Node, NodeConfig};
use tokio::sync::mpsc;
use uuid::Uuid;

/// The tasks of the process that is killed, and those of its peer. Each counts its own writes.
pub(crate) const OURS: [&str; 4] = ["ours-0", "ours-1", "ours-2", "ours-3"];
pub(crate) const PEERS: [&str; 2] = ["peers-0", "peers-1"];

/// How many of its latest numbers a task keeps; the one before is removed.
const KEPT: i64 = 16;

/// What the tasks write.
#[derive(Debug, Crdt)]
pub(crate) struct Ledger {
    /// How many writes were made, by all tasks.
    pub(crate) total: Counter,
    pub(crate) logs: MergeMap<String, Log>,
    /// Both sides add to these and remove them; what they are worth in the end is for both to agree on.
    pub(crate) contested: MergeMap<i64, Counter>,
}

/// What one task writes: each write has the next number, and touches all of it.
#[derive(Debug, Crdt)]
pub(crate) struct Log {
    pub(crate) sum: Counter,
    pub(crate) last: LwwRegister<i64>,
    pub(crate) recent: OrSet<i64>,
}

/// What a write adds to the sum: one that is lost does not make up for another that is doubled.
fn amount(number: i64) -> i64 {
    number * number % 1_009 + 1
}

/// The write of a number, in one transaction.
pub(crate) fn write(
    task: &'static str,
    number: i64,
) -> impl FnOnce(&mut LedgerMut<'_>) -> Result<(), CounterOverflow> + Send + 'static {
    move |ledger| {
        ledger.total().add(1)?;
        ledger.logs().update(task, |log| {
            log.last().set(number);
            log.recent().add(&number);
            log.recent().remove(&(number - KEPT));
            log.sum().add(amount(number))
        })?;
        if number % 5 == 0 {
            ledger.contested().remove(&((number + 3) % 8));
        }
        ledger.contested().update(&(number % 8), |count| count.add(1))
    }
}

/// The number of the last write of a task that is in it.
pub(crate) fn last(ledger: &Ledger, task: &str) -> i64 {
    ledger.logs.get(task).and_then(|log| log.last.latest()).copied().unwrap_or(0)
}

/// Whether each write up to the last one of its task is in it once, and whole.
pub(crate) fn check(ledger: &Ledger) -> Result<(), String> {
    let mut total = 0;
    for task in OURS.iter().chain(&PEERS) {
        let last = last(ledger, task);
        total += last;
        let Some(log) = ledger.logs.get(*task) else { continue };
        let sum: i64 = (1..=last).map(amount).sum();
        if log.sum.value() != sum {
            return Err(format!("the {last} writes of {task} add up to {sum}, not {}", log.sum.value()));
        }
        let mut recent: Vec<i64> = log.recent.iter().copied().collect();
        recent.sort_unstable();
        let due: Vec<i64> = ((last - KEPT + 1).max(1)..=last).collect();
        if recent != due {
            return Err(format!("the last write of {task} is {last}, and its latest are {recent:?}"));
        }
    }
    if ledger.total.value() != total {
        return Err(format!("{total} writes are there, and {} were counted", ledger.total.value()));
    }
    Ok(())
}

pub(crate) fn node(region: &str) -> Node {
    Node::new(NodeConfig::new(Uuid::from_u128(0xc1), region))
}

pub(crate) fn name() -> DomainName {
    DomainName::new("ledger").unwrap()
}

/// Checkpoints are small and frequent, and in more than one chunk.
pub(crate) fn config() -> DomainConfig {
    DomainConfig {
        feed_bytes: Some(4 << 20),
        checkpoint_bytes: 8 << 10,
        chunk_bytes: 1 << 10,
        heartbeat_ms: 5,
        patience_ms: 100,
        parking_ms: 20,
        ..DomainConfig::default()
    }
}

/// Attaches a connection, and returns the transport's ends of it: for frames from the peer, and to it.
pub(crate) fn attach(node: &Node) -> (mpsc::Sender<Frame>, mpsc::Receiver<Frame>) {
    let (from_peer, incoming) = mpsc::channel(64);
    let (outgoing, to_peer) = mpsc::channel(64);
    let grants = [(name(), Access::ReadWrite)].into_iter().collect();
    node.attach(Connection { principal: None, grants, offered: vec![name()], incoming, outgoing }).unwrap();
    (from_peer, to_peer)
}

/// Writes numbers, each once the one before it is durable and after a pause, until `is_over`. `made` hears of each.
pub(crate) async fn keep_writing(
    ledger: Domain<Ledger>,
    task: &'static str,
    pause: Duration,
    is_over: impl Fn() -> bool,
    made: impl Fn(i64, driftless::Token),
) {
    let mut number = last(&ledger.read(), task);
    while !is_over() {
        number += 1;
        let written = ledger.transact(write(task, number)).await.unwrap();
        made(number, written.token);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
}
