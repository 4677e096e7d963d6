//! Stores that fail for a while.

use std::time::Duration;

use driftless::LwwRegister;
use driftless_node::{Domain, MemoryStore, Node, NodeConfig, Refused, WriteError};
use serde::{Deserialize, Serialize, Serializer};

use crate::regions::{connect, eventually, name, node_config, open, quick};

#[tokio::test]
async fn while_the_store_fails_writes_are_refused_and_what_was_applied_waits() {
    let disk = MemoryStore::new();
    let (eu, us) = (open("eu", &disk).await, open("us", &MemoryStore::new()).await);
    let _wire = connect(&eu.node, &us.node);
    eu.count("kettle", 1).await;
    eventually("they are connected", || us.counted("kettle") == 1).await;

    disk.fail_appends(u64::MAX);
    let applied = eu.shop.apply(|shop| shop.stock().update("kettle", |count| count.add(1))).await;
    let applied = applied.expect("it is applied");
    let mut status = eu.shop.status().await.expect("it runs");
    while status.store.failure.is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
        status = eu.shop.status().await.expect("it runs");
    }
    assert!(status.to_string().contains("the store fails since"), "{status}");
    let refused = eu.shop.write(|shop| shop.stock().len()).await.map(|_| ());
    let Err(WriteError::Refused(Refused::StoreFailing(failure))) = refused else { panic!("{refused:?}") };
    assert!(failure.error.contains("told to fail") && failure.since_ms > 0, "{failure:?}");

    // Reads go on, and peers are merged, but told of nothing that is not on disk.
    us.count("kettle", 10).await;
    eventually("what a peer writes is read", || eu.counted("kettle") == 12).await;
    assert_eq!(us.counted("kettle"), 11);

    disk.fail_appends(0);
    applied.durable().await.expect("it is tried again");
    eventually("it works again", || us.counted("kettle") == 12).await;
    eu.count("kettle", 1).await;
    let status = eu.shop.status().await.expect("it runs");
    assert!(status.store.failure.is_none() && status.store.last_error.is_some(), "{status}");
    assert_eq!(open("eu", &disk.copy()).await.counted("kettle"), 13);
}

#[tokio::test]
async fn a_store_that_fails_now_and_then_loses_and_doubles_nothing() {
    let disk = MemoryStore::new();
    let eu = open("eu", &disk).await;
    let (_, cursor) = eu.shop.feed_start().await.expect("it has a feed");
    let mut feed = eu.shop.feed(cursor);
    let mut counted = 0;
    for round in 0..30 {
        if round % 3 == 0 {
            disk.fail_appends(1 + round % 4);
        }
        let made = eu.shop.transact(|shop| shop.stock().update("kettle", |count| count.add(1))).await;
        counted += i64::from(made.is_ok());
    }
    eventually("all is stored", || {
        let durable = eu.shop.read_durable();
        durable.stock.get("kettle").map(|count| count.value()) == Some(eu.counted("kettle"))
    })
    .await;
    assert!(counted > 0 && eu.counted("kettle") == counted, "what is refused is not made");
    let mut after = 0;
    while after < counted {
        let batch = feed.next().await.expect("it is there");
        for change in batch.commits.iter().flat_map(|commit| &commit.changes) {
            let before = Some(driftless::Value::from(after)).filter(|_| after > 0);
            after += 1;
            assert_eq!((&change.before, &change.after), (&before, &Some(after.into())));
        }
    }
    assert_eq!(open("eu", &disk.copy()).await.counted("kettle"), counted);
}

/// A value that cannot be written as bytes if it is odd.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Even(u64);

impl Serialize for Even {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(2) {
            serializer.serialize_u64(self.0)
        } else {
            Err(serde::ser::Error::custom("it is odd"))
        }
    }
}

#[tokio::test]
async fn a_value_that_cannot_be_written_is_named_and_costs_nothing_that_was_reported() {
    let disk = MemoryStore::new();
    let config = NodeConfig { shutdown_ms: 50, ..node_config("eu") };
    let node = Node::new(config.clone());
    let domain: Domain<LwwRegister<Even>> =
        node.open(name("even"), disk.clone(), quick()).await.expect("it opens");
    domain.write(|value| value.set(Even(2))).await.expect("it is made");
    let odd = domain
        .apply(|value| {
            value.set(Even(3));
            Ok::<_, ()>(())
        })
        .await
        .expect("it is applied");
    let lost = node.shutdown().await.expect_err("it cannot be stored");
    assert!(lost.unstored[0].reason.contains("it is odd"), "{lost}");
    assert!(odd.durable().await.is_err());
    let domain: Domain<LwwRegister<Even>> =
        Node::new(config).open(name("even"), disk, quick()).await.expect("it opens");
    assert_eq!(domain.read().latest(), Some(&Even(2)));
}
