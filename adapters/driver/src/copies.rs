//! Processes that are cloned while they run: two nodes under one id.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use driftless::{Counter, MergeMap, ReplicaId, Token};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::connection::DomainName;
use crate::{Access, Connection, Domain, DomainConfig, MemoryStore, Node, NodeConfig};

/// The ids that stores of some domains are opened under, as if they were one process, cloned.
static PLANNED: Mutex<BTreeMap<DomainName, ReplicaId>> = Mutex::new(BTreeMap::new());

pub(crate) fn fresh_id(domain: &DomainName) -> ReplicaId {
    let planned = PLANNED.lock().expect("nobody panics").get(domain).copied();
    planned.unwrap_or_else(|| ReplicaId::new(Uuid::new_v4()))
}

type Visits = MergeMap<String, Counter>;

async fn open(region: &str, name: &DomainName, store: &MemoryStore) -> (Node, Domain<Visits>) {
    let node = Node::new(NodeConfig::new(Uuid::from_u128(0xc1), region));
    let config = DomainConfig {
        feed_bytes: Some(1 << 20),
        heartbeat_ms: 20,
        patience_ms: 100,
        parking_ms: 20,
        ..DomainConfig::default()
    };
    let domain = node.open(name.clone(), store.clone(), config).await.expect("it opens");
    (node, domain)
}

fn connect(one: &Node, other: &Node, name: &DomainName) {
    let (to_other, from_one) = mpsc::channel(64);
    let (to_one, from_other) = mpsc::channel(64);
    for (node, outgoing, incoming) in [(one, to_other, from_other), (other, to_one, from_one)] {
        let grants = [(name.clone(), Access::ReadWrite)].into_iter().collect();
        let offered = vec![name.clone()];
        node.attach(Connection { principal: None, grants, offered, incoming, outgoing })
            .expect("it is attached");
    }
}

async fn add(visits: &Domain<Visits>, by: i64) -> Token {
    visits
        .transact(move |visits| visits.update("home", |count| count.add(by)))
        .await
        .expect("it is made")
        .token
}

fn value(visits: &Domain<Visits>) -> i64 {
    visits.read().get("home").map_or(0, Counter::value)
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..4_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it did not come: {what}");
}

#[tokio::test]
async fn a_clone_of_a_running_process_goes_on_under_another_id_with_all_it_wrote() {
    let name = DomainName::new("cloned").expect("a name");
    let disk = MemoryStore::new();
    let (node, visits) = open("eu", &name, &disk).await;
    add(&visits, 1).await;
    node.shutdown().await.expect("all is stored");

    // From here on there are two of it, with one id and a disk each.
    let clone_disk = disk.copy();
    PLANNED.lock().expect("nobody panics").insert(name.clone(), ReplicaId::from_u128(0xc10e));
    let (one_node, one) = open("eu", &name, &disk).await;
    let (two_node, two) = open("eu", &name, &clone_disk).await;
    PLANNED.lock().expect("nobody panics").remove(&name);
    let (us_node, us) = open("us", &name, &MemoryStore::new()).await;
    add(&one, 10).await;
    // Nobody can tell two commits of one id and one stamp apart.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let token = add(&two, 100).await;
    let published = clone_disk.publishes();
    connect(&one_node, &us_node, &name);
    eventually("the first reaches the other region", || value(&us) == 11).await;

    connect(&two_node, &us_node, &name);
    eventually("the second is found out, and all are alike", || [&one, &two, &us].map(value) == [111; 3])
        .await;
    let status = two.status().await.expect("it runs");
    assert_ne!(status.id, ReplicaId::from_u128(0xc10e));
    assert!(status.notices.iter().any(|notice| notice.text.contains("goes on as")), "{status}");
    assert_eq!(clone_disk.publishes(), published + 1, "what bore the old id is not on the disk any more");
    // Of which copy a token of the old name is cannot be told, so it asks for both to have come that far.
    add(&one, 5).await;
    us.wait_for(&token, Duration::from_secs(20)).await.expect("the token of the old name serves");

    // Nothing is doubled by what is stored, and the clone writes on.
    add(&two, 1_000).await;
    eventually("it holds all", || value(&two) == 1_116).await;
    for node in [&one_node, &two_node] {
        node.shutdown().await.expect("all is stored");
    }
    let (again_node, again) = open("eu", &name, &clone_disk).await;
    assert_eq!(value(&again), 1_116);
    connect(&again_node, &us_node, &name);
    eventually("it goes on", || value(&us) == 1_116).await;
}
