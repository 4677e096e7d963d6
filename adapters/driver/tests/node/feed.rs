//! The feed: resumed without gaps or repeats, whatever happens.

use std::collections::BTreeMap;
use std::time::Duration;

use driftless::Value;
use driftless_node::{Cursor, DomainConfig, FeedBatch, FeedError, FeedStep, MemoryStore};

use crate::regions::{Draw, Region, connect, eventually, node_config, open, open_with, quick};

/// What a follower made of the changes: the counts by key.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model(BTreeMap<String, Value>);

impl Model {
    /// Each change must go on from what is known: what was left out or came twice does not.
    fn take(&mut self, batch: &FeedBatch) {
        for change in batch.commits.iter().flat_map(|commit| &commit.changes) {
            let [FeedStep::Field(field), FeedStep::Key(Value::Text(key))] = &change.path[..] else {
                panic!("a path of something else: {change:?}")
            };
            assert_eq!(field, "stock");
            assert_eq!(change.before.as_ref(), self.0.get(key), "of {key}, at {}", batch.cursor);
            match &change.after {
                Some(after) => drop(self.0.insert(key.clone(), after.clone())),
                None => drop(self.0.remove(key)),
            }
        }
    }

    fn of(region: &Region) -> Self {
        let snapshot = region.shop.read();
        let counts = snapshot.stock.iter().map(|(key, count)| (key.clone(), count.value().into()));
        Self(counts.collect())
    }
}

/// Follows until there is nothing for a while.
async fn follow(region: &Region, model: &mut Model, cursor: &mut Cursor, most: u64) {
    let mut feed = region.shop.feed(*cursor);
    for _ in 0..most {
        match tokio::time::timeout(Duration::from_millis(20), feed.next()).await {
            Ok(batch) => model.take(&batch.expect("it is there")),
            Err(_) => break,
        }
    }
    *cursor = feed.cursor();
}

#[tokio::test]
async fn a_follower_resumes_without_gap_or_repeat_wherever_the_process_is_killed() {
    for seed in 0..6 {
        killed_again_and_again(seed).await;
    }
}

async fn killed_again_and_again(seed: u64) {
    let mut draw = Draw::new(seed);
    let mut disk = MemoryStore::new();
    let config = DomainConfig { checkpoint_bytes: 1_000, chunk_bytes: 200, ..quick() };
    let us = open("us", &MemoryStore::new()).await;
    let (mut kept, mut kept_cursor) = (Model::default(), None);
    let (mut acknowledged, mut attempted) = (0, 0);
    for life in 0..12 {
        disk.fail_appends(0);
        let eu = open_with(node_config("eu"), &disk, config.clone()).await.expect("it opens");
        let cursor = match kept_cursor {
            Some(cursor) => cursor,
            None => eu.shop.feed_start().await.expect("it has a feed").1,
        };
        let wire = connect(&eu.node, &us.node);
        // The follower has a store of its own: what it saw since it was last kept is lost with the process.
        let (mut model, mut at) = (kept.clone(), cursor);
        for _ in 0..1 + draw.below(4) {
            for _ in 0..draw.below(12) {
                let key = format!("k{}", draw.below(3));
                attempted += 1;
                let made =
                    eu.shop.transact(move |shop| shop.stock().update(&key, |count| count.add(1))).await;
                acknowledged += i64::from(made.is_ok());
            }
            for _ in 0..draw.below(5) {
                us.count(&format!("k{}", draw.below(3)), 1_000).await;
            }
            if draw.below(8) == 0 {
                disk.fail_appends(1 + draw.below(3));
            }
            if draw.below(2) == 0 {
                follow(&eu, &mut model, &mut at, 1 + draw.below(20)).await;
            }
            if draw.below(2) == 0 {
                (kept, kept_cursor) = (model.clone(), Some(at));
            }
        }
        // Some writes are under way when it dies.
        for _ in 0..draw.below(6) {
            let made = eu.shop.apply(|shop| shop.stock().update("k0", |count| count.add(1))).await;
            attempted += i64::from(made.is_ok());
        }
        if life % 3 == 2 {
            eu.node.shutdown().await.expect("all is stored");
        } else {
            disk.cut();
            drop(wire);
            drop(eu);
            disk = disk.copy();
        }
        if kept_cursor.is_none() {
            kept_cursor = Some(cursor);
        }
    }
    let eu = open_with(node_config("eu"), &disk, config).await.expect("it opens");
    let _wire = connect(&eu.node, &us.node);
    eventually("all is there", || eu.shop.read().digest() == us.shop.read().digest()).await;
    let mut cursor = kept_cursor.expect("it was kept");
    for _ in 0..200 {
        follow(&eu, &mut kept, &mut cursor, 1_000).await;
        if kept == Model::of(&eu) {
            break;
        }
    }
    assert_eq!(kept, Model::of(&eu), "seed {seed}");
    let ours: i64 = ["k0", "k1", "k2"].iter().map(|key| eu.counted(key) % 1_000).sum();
    assert!(
        (acknowledged..=attempted).contains(&ours),
        "seed {seed}: {acknowledged} <= {ours} <= {attempted}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_and_merges_are_told_in_the_order_in_which_they_were_made() {
    let (eu, us) = (open("eu", &MemoryStore::new()).await, open("us", &MemoryStore::new()).await);
    let (_, cursor) = eu.shop.feed_start().await.expect("it has a feed");
    let _wire = connect(&eu.node, &us.node);
    let mut writers = Vec::new();
    for shop in [&eu.shop, &us.shop, &eu.shop, &us.shop].map(Clone::clone) {
        writers.push(tokio::spawn(async move {
            for _ in 0..300 {
                let made = shop.transact(|shop| shop.stock().update("kettle", |count| count.add(1))).await;
                made.expect("it is made");
            }
        }));
    }
    for writer in writers {
        writer.await.expect("no panic");
    }
    eventually("all is there", || eu.counted("kettle") == 1_200).await;
    let (mut model, mut cursor) = (Model::default(), cursor);
    while model != Model::of(&eu) {
        follow(&eu, &mut model, &mut cursor, 10_000).await;
    }
}

#[tokio::test]
async fn a_snapshot_and_its_cursor_are_of_one_moment() {
    let eu = open("eu", &MemoryStore::new()).await;
    let writer = tokio::spawn({
        let shop = eu.shop.clone();
        async move {
            for round in 0..400 {
                let key = format!("k{}", round % 5);
                let made = shop.transact(move |shop| shop.stock().update(&key, |count| count.add(1))).await;
                made.expect("it is made");
            }
        }
    });
    let mut followers = Vec::new();
    while !writer.is_finished() {
        let (snapshot, cursor) = eu.shop.feed_start().await.expect("it has a feed");
        let counts = snapshot.stock.iter().map(|(key, count)| (key.clone(), count.value().into()));
        followers.push((Model(counts.collect()), cursor));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    writer.await.expect("no panic");
    assert!(followers.len() > 2);
    for (mut model, mut cursor) in followers {
        follow(&eu, &mut model, &mut cursor, 1_000).await;
        assert_eq!(model, Model::of(&eu));
    }
}

#[tokio::test]
async fn a_cursor_that_cannot_be_gone_on_from_is_refused_and_says_why() {
    let disk = MemoryStore::new();
    let config = DomainConfig { feed_bytes: Some(2_000), ..quick() };
    let eu = open_with(node_config("eu"), &disk, config.clone()).await.expect("it opens");
    let (_, oldest) = eu.shop.feed_start().await.expect("it has a feed");
    eu.count("kettle", 1).await;
    let copy = disk.copy();
    let mut slow = eu.shop.feed(oldest);
    slow.next().await.expect("it is there");
    for _ in 0..200 {
        eu.count("kettle", 1).await;
    }
    assert!(eu.shop.status().await.expect("it runs").store.feed_bytes < 3_000);
    for cursor in [oldest, slow.cursor()] {
        assert_eq!(eu.shop.feed(cursor).next().await.err(), Some(FeedError::TooOld { cursor }));
    }
    let (_, newest) = eu.shop.feed_start().await.expect("it has a feed");
    eu.node.shutdown().await.expect("all is stored");
    assert_eq!(eu.shop.feed(newest).next().await.err(), Some(FeedError::Stopped));

    // The copy goes another way: places of the two are not the same.
    let other = open_with(node_config("eu"), &copy, config.clone()).await.expect("it opens");
    other.count("kettle", 1).await;
    assert_eq!(other.shop.feed(newest).next().await.err(), Some(FeedError::Elsewhere { cursor: newest }));
    other.shop.feed(slow.cursor()).next().await.expect("up to here they are one");

    // Opened without a feed, and with one again: what was written between is in none.
    let silent = DomainConfig { feed_bytes: None, ..config.clone() };
    let eu = open_with(node_config("eu"), &disk, silent).await.expect("it opens");
    assert!(matches!(eu.shop.feed_start().await, Err(FeedError::NotKept)));
    assert_eq!(eu.shop.feed(newest).next().await.err(), Some(FeedError::NotKept));
    eu.count("kettle", 1).await;
    eu.node.shutdown().await.expect("all is stored");
    let eu = open_with(node_config("eu"), &disk, config).await.expect("it opens");
    assert_eq!(eu.shop.feed(newest).next().await.err(), Some(FeedError::Elsewhere { cursor: newest }));
    let (_, cursor) = eu.shop.feed_start().await.expect("it has a feed");
    eu.count("kettle", 1).await;
    let batch = eu.shop.feed(cursor).next().await.expect("it is there");
    assert_eq!(batch.commits[0].changes[0].after, Some(203.into()));
}

#[tokio::test]
async fn followers_that_wait_are_told_and_slow_ones_hold_nothing_back() {
    let eu = open("eu", &MemoryStore::new()).await;
    let (_, cursor) = eu.shop.feed_start().await.expect("it has a feed");
    let mut live = eu.shop.feed(cursor);
    let mut slow = eu.shop.feed(cursor);
    let waiting = tokio::spawn(async move {
        let batch = live.next().await;
        (live, batch)
    });
    tokio::task::yield_now().await;
    eu.count("kettle", 1).await;
    let (mut live, batch) = waiting.await.expect("no panic");
    assert!(batch.expect("it is told").commits[0].is_local);
    for _ in 0..100 {
        eu.count("kettle", 1).await;
        // Its future is dropped again and again: nothing is lost by that.
        let _ = tokio::time::timeout(Duration::ZERO, live.next()).await;
    }
    let mut model = Model::default();
    while model != Model::of(&eu) {
        model.take(&slow.next().await.expect("it is there"));
    }
}
