//! Nodes with a domain of their own, and links over NATS between them.

use std::time::Duration;

use driftless::{Counter, LwwRegister, MergeMap};
use driftless_nats::{NatsConfig, Transport};
use driftless_node::{Domain, DomainConfig, MemoryStore, Node, NodeConfig};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::regions::{CLUSTER, domain, until};

/// What is replicated.
#[derive(Debug, driftless::Crdt)]
pub(crate) struct Shop {
    pub(crate) stock: MergeMap<u64, Counter>,
    pub(crate) texts: MergeMap<u64, LwwRegister<String>>,
}

/// A region's node, and its links.
pub(crate) struct Site {
    pub(crate) node: Node,
    pub(crate) shop: Domain<Shop>,
    pub(crate) store: MemoryStore,
    pub(crate) links: Transport,
    attaching: JoinHandle<()>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.attaching.abort();
    }
}

impl Site {
    pub(crate) async fn open(config: NatsConfig, store: MemoryStore) -> Self {
        let node =
            Node::new(NodeConfig { stall_ms: 2_000, ..NodeConfig::new(CLUSTER, config.region.as_str()) });
        let settings =
            DomainConfig { heartbeat_ms: 50, patience_ms: 300, parking_ms: 50, ..DomainConfig::default() };
        let shop = node.open(domain("orders"), store.clone(), settings).await.unwrap();
        let (sink, mut connections) = mpsc::channel(16);
        let links = Transport::start(config, sink).await.unwrap();
        let attaching = tokio::spawn({
            let node = node.clone();
            async move {
                while let Some(connection) = connections.recv().await {
                    // A node that is shut down takes none.
                    let _ = node.attach(connection);
                }
            }
        });
        Self { node, shop, store, links, attaching }
    }

    /// Adds one to a counter, and waits until that is durable.
    pub(crate) async fn count(&self, key: u64) {
        let made = self.shop.transact(move |shop| shop.stock().update(&key, |count| count.add(1))).await;
        made.unwrap();
    }

    pub(crate) async fn set(&self, key: u64, text: String) {
        let made =
            self.shop.write(move |shop| shop.texts().update(&key, |register| register.set(text))).await;
        made.unwrap();
    }

    /// All that is counted.
    pub(crate) fn total(&self) -> i64 {
        self.shop.read().stock.iter().map(|(_, count)| count.value()).sum()
    }

    /// What SIGKILL leaves: what is on disk.
    pub(crate) fn kill(self) -> MemoryStore {
        let disk = self.store.copy();
        self.store.cut();
        disk
    }
}

/// Counts at all sites in turn, now and then a text too, with a pause after each.
pub(crate) async fn count_everywhere(sites: &[&Site], rounds: u64, pause: Duration) {
    for round in 0..rounds {
        for site in sites {
            site.count(round % 7).await;
        }
        if round % 5 == 0 {
            let bytes = usize::try_from(round * 997 % 9_000).unwrap();
            sites[0].set(round, "x".repeat(bytes)).await;
        }
        tokio::time::sleep(pause).await;
    }
}

/// Waits until all have counted so much, and hold the same.
pub(crate) async fn all_hold(sites: &[&Site], total: i64) {
    until("all hold the same, and all of it", || {
        let digest = sites[0].shop.read().digest();
        sites.iter().all(|site| site.total() == total && site.shop.read().digest() == digest)
    })
    .await;
}
