//! Regions of one cluster in one process, and wires between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use driftless::{Counter, Crdt, LwwRegister, MergeMap, OrSet};
use driftless_node::{
    Access, Connection, Domain, DomainConfig, DomainName, Frame, MemoryStore, Node, NodeConfig, OpenError,
    Written,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// What the regions keep.
#[derive(Debug, Crdt)]
pub(crate) struct Shop {
    pub(crate) stock: MergeMap<String, Counter>,
    pub(crate) names: MergeMap<u64, LwwRegister<String>>,
    pub(crate) tags: OrSet<u64>,
}

/// A region with one domain.
#[derive(Debug)]
pub(crate) struct Region {
    pub(crate) node: Node,
    pub(crate) shop: Domain<Shop>,
}

pub(crate) fn name(text: &str) -> DomainName {
    DomainName::new(text).expect("a name")
}

pub(crate) fn node_config(region: &str) -> NodeConfig {
    NodeConfig::new(Uuid::from_u128(0xc1), region)
}

/// Short times, and a feed.
pub(crate) fn quick() -> DomainConfig {
    DomainConfig {
        feed_bytes: Some(64 << 20),
        heartbeat_ms: 20,
        patience_ms: 100,
        parking_ms: 20,
        ..DomainConfig::default()
    }
}

pub(crate) async fn open(region: &str, store: &MemoryStore) -> Region {
    open_with(node_config(region), store, quick()).await.expect("it opens")
}

pub(crate) async fn open_with(
    node: NodeConfig,
    store: &MemoryStore,
    config: DomainConfig,
) -> Result<Region, OpenError> {
    let node = Node::new(node);
    let shop = node.open(name("shop"), store.clone(), config).await?;
    Ok(Region { node, shop })
}

impl Region {
    /// Counts, and waits until that is durable.
    pub(crate) async fn count(&self, key: &str, by: i64) -> Written<()> {
        let key = key.to_owned();
        let made = self.shop.transact(move |shop| shop.stock().update(&key, |count| count.add(by))).await;
        made.expect("it is made")
    }

    pub(crate) fn counted(&self, key: &str) -> i64 {
        self.shop.read().stock.get(key).map_or(0, Counter::value)
    }
}

/// A connection between two nodes. It breaks when this is dropped.
#[derive(Debug)]
pub(crate) struct Wire {
    carriers: [JoinHandle<()>; 2],
    /// How many frames went from the one to the other, and back.
    frames: [Arc<AtomicU64>; 2],
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.carriers.iter().for_each(JoinHandle::abort);
    }
}

impl Wire {
    /// Waits until so many more frames have gone from the one to the other.
    pub(crate) async fn frames_pass(&self, count: u64) {
        let before = self.frames[0].load(Ordering::Relaxed);
        eventually("frames pass", || self.frames[0].load(Ordering::Relaxed) >= before + count).await;
    }

    /// As [`frames_pass`](Self::frames_pass), the other way.
    pub(crate) async fn frames_back_pass(&self, count: u64) {
        let before = self.frames[1].load(Ordering::Relaxed);
        eventually("frames pass", || self.frames[1].load(Ordering::Relaxed) >= before + count).await;
    }

    /// Waits until both ends have closed it.
    pub(crate) async fn ends(&self) {
        eventually("the connection is closed", || self.carriers.iter().any(JoinHandle::is_finished)).await;
    }
}

/// What a transport holds of a connection.
#[derive(Debug)]
pub(crate) struct FarEnd {
    pub(crate) to_node: mpsc::Sender<Frame>,
    pub(crate) from_node: mpsc::Receiver<Frame>,
}

/// Attaches a connection whose far end the test holds.
pub(crate) fn attach(node: &Node, principal: &str, domains: &[&str]) -> FarEnd {
    attach_as(node, principal, domains, Access::ReadWrite)
}

fn attach_as(node: &Node, principal: &str, domains: &[&str], access: Access) -> FarEnd {
    let (to_node, incoming) = mpsc::channel(64);
    let (outgoing, from_node) = mpsc::channel(64);
    let offered: Vec<DomainName> = domains.iter().map(|domain| name(domain)).collect();
    let grants = offered.iter().map(|domain| (domain.clone(), access)).collect();
    let principal = Some(principal.to_owned());
    let connection = Connection { principal, grants, offered, incoming, outgoing };
    node.attach(connection).expect("it is attached");
    FarEnd { to_node, from_node }
}

pub(crate) fn connect(one: &Node, other: &Node) -> Wire {
    connect_domains(one, other, &["shop"])
}

pub(crate) fn connect_domains(one: &Node, other: &Node, domains: &[&str]) -> Wire {
    let at_one = attach(one, &other.config().region, domains);
    let at_other = attach(other, &one.config().region, domains);
    wire(at_one, at_other)
}

/// A connection over which the other may do so much.
pub(crate) fn connect_as(one: &Node, other: &Node, access: Access) -> Wire {
    let at_one = attach_as(one, &other.config().region, &["shop"], access);
    let at_other = attach(other, &one.config().region, &["shop"]);
    wire(at_one, at_other)
}

fn wire(at_one: FarEnd, at_other: FarEnd) -> Wire {
    let frames = [Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default()];
    let carriers = [
        carry(at_one.from_node, at_other.to_node, Arc::clone(&frames[0])),
        carry(at_other.from_node, at_one.to_node, Arc::clone(&frames[1])),
    ];
    Wire { carriers, frames }
}

fn carry(mut from: mpsc::Receiver<Frame>, to: mpsc::Sender<Frame>, count: Arc<AtomicU64>) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(frame) = from.recv().await {
            count.fetch_add(1, Ordering::Relaxed);
            if to.send(frame).await.is_err() {
                return;
            }
        }
    })
}

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it did not come: {what}");
}

/// Waits until so many are members, as this region knows them.
pub(crate) async fn become_members(region: &Region, count: usize) {
    for _ in 0..6_000 {
        if region.shop.members().await.expect("it runs").len() == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("they are no members: {}", region.shop.status().await.expect("it runs"));
}

/// Waits until all hold the same.
pub(crate) async fn converged(regions: &[&Region]) {
    eventually("all hold the same", || {
        let mut digests = regions.iter().map(|region| region.shop.read().digest());
        let first = digests.next();
        digests.all(|digest| Some(digest) == first)
    })
    .await;
}

/// Numbers that look random, the same for each seed.
#[derive(Debug)]
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Less than `bound`. Steele, Lea, Flood, *Fast Splittable Pseudorandom Number Generators* (2014).
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}
