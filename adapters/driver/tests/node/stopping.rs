//! Nodes that stop: nothing is lost, and everybody is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use driftless_node::{MemoryStore, NodeConfig, Refused, TransactError, WriteError};

use crate::regions::{attach, connect, eventually, node_config, open, open_with, quick};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_under_load_keeps_all_that_was_applied() {
    let disk = MemoryStore::new();
    let eu = open("eu", &disk).await;
    let us = open("us", &MemoryStore::new()).await;
    let wire = connect(&eu.node, &us.node);
    let applied = Arc::new(AtomicI64::new(0));
    let mut writers = Vec::new();
    for number in 0..8 {
        let (shop, applied) = (eu.shop.clone(), Arc::clone(&applied));
        writers.push(tokio::spawn(async move {
            loop {
                let add = |shop: &mut crate::regions::ShopMut<'_>| {
                    shop.stock().update("kettle", |count| count.add(1))
                };
                let made = match number % 2 {
                    0 => shop.transact(add).await.map(|_| ()),
                    _ => shop.apply(add).await.map(|_| ()),
                };
                match made {
                    Ok(()) => applied.fetch_add(1, Ordering::Relaxed),
                    Err(TransactError::Refused(Refused::Stopped)) => return,
                    Err(error) => panic!("{error}"),
                };
            }
        }));
    }
    eventually("there is load", || applied.load(Ordering::Relaxed) > 500).await;
    eu.node.shutdown().await.expect("all is stored");
    for writer in writers {
        writer.await.expect("no panic");
    }
    wire.ends().await;
    let applied = applied.load(Ordering::Relaxed);
    assert_eq!(eu.counted("kettle"), applied, "it can still be read");
    // The store is closed: it can be opened again at once.
    let again = open("eu", &disk).await;
    assert_eq!(again.counted("kettle"), applied);
    let _wire = connect(&again.node, &us.node);
    eventually("it goes on", || us.counted("kettle") == applied).await;
}

#[tokio::test]
async fn who_holds_handles_of_a_node_that_is_shut_down_is_told() {
    let eu = open("eu", &MemoryStore::new()).await;
    eu.count("kettle", 1).await;
    eu.node.shutdown().await.expect("all is stored");
    eu.node.shutdown().await.expect("once more does no harm");
    let refused = eu.shop.write(|shop| shop.tags().add(&1)).await;
    assert_eq!(refused.map(|_| ()), Err(WriteError::Refused(Refused::Stopped)));
    assert_eq!(eu.shop.status().await.map(|_| ()), Err(Refused::Stopped));
    assert_eq!(eu.shop.members().await, Err(Refused::Stopped));
    assert!(eu.shop.changed().await.is_err() && eu.shop.compact().await.is_err());
    assert_eq!(eu.counted("kettle"), 1);
}

#[tokio::test]
async fn when_the_last_handle_is_dropped_what_was_applied_is_stored() {
    let disk = MemoryStore::new();
    let eu = open("eu", &disk).await;
    disk.hold();
    for _ in 0..10 {
        drop(eu.shop.apply(|shop| shop.stock().update("kettle", |count| count.add(1))).await);
    }
    drop(eu.node);
    let last = eu.shop;
    drop(last.clone());
    let written = last.apply(|shop| shop.stock().update("kettle", |count| count.add(1))).await;
    let written = written.expect("a domain lives as long as a handle of it");
    drop(last);
    disk.release();
    written.durable().await.expect("it is stored");
    assert_eq!(open("eu", &disk.copy()).await.counted("kettle"), 11);
}

#[tokio::test]
async fn a_shutdown_with_a_store_that_fails_says_what_is_lost() {
    let disk = MemoryStore::new();
    let config = NodeConfig { shutdown_ms: 100, ..node_config("eu") };
    let eu = open_with(config, &disk, quick()).await.expect("it opens");
    eu.count("kettle", 1).await;
    disk.cut();
    let applied = eu.shop.apply(|shop| shop.stock().update("kettle", |count| count.add(1))).await;
    let applied = applied.expect("it is applied");
    let waiting = tokio::spawn({
        let shop = eu.shop.clone();
        async move { shop.transact(|shop| shop.stock().update("kettle", |count| count.add(1))).await }
    });
    eventually("both are applied", || eu.counted("kettle") == 3 || waiting.is_finished()).await;
    let lost = eu.node.shutdown().await.expect_err("it cannot be stored");
    assert!(lost.unstored[0].reason.contains("told to fail"), "{lost}");
    assert!(applied.durable().await.is_err_and(|error| error.token.is_some()));
    match waiting.await.expect("no panic") {
        Err(TransactError::NotDurable(error)) => assert!(error.token.is_some()),
        Err(TransactError::Refused(Refused::StoreFailing(_))) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(open("eu", &disk.copy()).await.counted("kettle"), 1);
}

#[tokio::test]
async fn a_connection_that_comes_as_the_node_stops_is_closed() {
    for _ in 0..20 {
        let eu = open("eu", &MemoryStore::new()).await;
        let far = attach(&eu.node, "us", &["shop"]);
        eu.node.shutdown().await.expect("all is stored");
        assert!(far.to_node.is_closed());
    }
}
