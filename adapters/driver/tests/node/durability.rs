//! Durable before visible; many writes in one append; what waits for the disk is bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use driftless::CounterOverflow;
use driftless_node::{
    Domain, DomainConfig, MemoryStore, Node, Place, Record, Refused, Store, StoreError, StoreSize,
    TransactError,
};

use crate::regions::{Shop, ShopMut, connect, eventually, name, node_config, open, open_with, quick};

#[tokio::test]
async fn nothing_leaves_and_nothing_is_reported_before_it_is_on_disk() {
    let disk = MemoryStore::new();
    let (eu, us) = (open("eu", &disk).await, open("us", &MemoryStore::new()).await);
    let wire = connect(&eu.node, &us.node);
    eu.count("kettle", 1).await;
    eventually("they are connected", || us.counted("kettle") == 1).await;

    disk.hold();
    let shop = eu.shop.clone();
    let writing = tokio::spawn(async move {
        shop.transact(|shop| shop.stock().update("kettle", |count| count.add(1))).await
    });
    let applied = eu.shop.apply(|shop| shop.stock().update("kettle", |count| count.add(1))).await;
    let applied = applied.expect("it is applied");
    eventually("both are applied", || eu.counted("kettle") == 3).await;
    // Heartbeats go on.
    wire.frames_pass(10).await;
    assert_eq!(us.counted("kettle"), 1);
    assert_eq!(eu.shop.read_durable().stock.get("kettle").map(|count| count.value()), Some(1));
    assert!(!writing.is_finished());
    let saw = eu.shop.write(|shop| shop.stock().len());
    assert!(
        tokio::time::timeout(Duration::from_millis(50), saw).await.is_err(),
        "it saw what is not durable"
    );

    disk.release();
    let written = writing.await.expect("no panic").expect("it is made");
    applied.durable().await.expect("it is stored");
    us.shop.wait_for(&written.token, Duration::from_secs(30)).await.expect("it comes");
    eventually("all is there", || us.counted("kettle") == 3).await;
    assert_eq!(eu.shop.read_durable().stock.get("kettle").map(|count| count.value()), Some(3));
}

/// A write of one key.
fn count_of(key: u64) -> impl FnOnce(&mut ShopMut<'_>) -> Result<(), CounterOverflow> {
    move |shop| shop.stock().update(&key.to_string(), |count| count.add(1))
}

#[tokio::test]
async fn what_is_written_while_the_disk_works_goes_there_at_once() {
    let disk = MemoryStore::new();
    let eu = open("eu", &disk).await;
    disk.hold();
    let first = eu.shop.apply(count_of(0)).await.expect("it is applied");
    // The first append is under way, or will be with all the others.
    let appends = disk.appends();
    let mut others = Vec::new();
    for key in 1..500 {
        let made = eu.shop.apply(count_of(key)).await;
        others.push(made.expect("it is applied"));
    }
    disk.release();
    first.durable().await.expect("it is stored");
    for other in others {
        other.durable().await.expect("it is stored");
    }
    assert!(disk.appends() - appends <= 2, "{} appends", disk.appends() - appends);
    assert_eq!(open("eu", &disk.copy()).await.shop.read().stock.len(), 500);
}

#[tokio::test]
async fn so_much_is_applied_and_no_more_while_the_disk_stands_still() {
    let disk = MemoryStore::new();
    let config = DomainConfig { unstored: 4, queue: 2, ..quick() };
    let eu = open_with(node_config("eu"), &disk, config).await.expect("it opens");
    disk.hold();
    let applied = Arc::new(AtomicUsize::new(0));
    let mut writers = Vec::new();
    for key in 0..20_u64 {
        let (shop, applied) = (eu.shop.clone(), Arc::clone(&applied));
        writers.push(tokio::spawn(async move {
            let made = shop.apply(count_of(key)).await;
            applied.fetch_add(1, Ordering::Relaxed);
            made.expect("it is applied").durable().await.expect("it is stored")
        }));
    }
    eventually("it is full", || applied.load(Ordering::Relaxed) == 4).await;
    // Who asks how it stands is answered all the same.
    for _ in 0..5 {
        let status = eu.shop.status().await.expect("it runs");
        assert_eq!(status.store.unstored, 4, "{status}");
    }
    assert_eq!(applied.load(Ordering::Relaxed), 4);
    disk.release();
    for writer in writers {
        writer.await.expect("no panic");
    }
    assert_eq!(eu.shop.read_durable().stock.len(), 20);
}

#[tokio::test]
async fn memberships_and_what_saw_them_are_reported_once_they_are_on_disk() {
    let disk = MemoryStore::new();
    let eu = open("eu", &disk).await;
    disk.hold();
    let pause = Duration::from_millis(50);
    let founding = tokio::spawn({
        let shop = eu.shop.clone();
        async move { shop.found().await }
    });
    while eu.shop.members().await.expect("it runs").is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // It writes nothing, and it saw the membership.
    let looking = tokio::spawn({
        let shop = eu.shop.clone();
        async move { shop.write(|shop| shop.stock().len()).await }
    });
    tokio::time::sleep(pause).await;
    assert!(!founding.is_finished() && !looking.is_finished());
    assert!(open("eu", &disk.copy()).await.shop.members().await.expect("it runs").is_empty());

    disk.release();
    founding.await.expect("no panic").expect("it is stored");
    looking.await.expect("no panic").expect("it is stored");
    let again = open("eu", &disk.copy()).await;
    assert_eq!(again.shop.members().await.expect("it runs").len(), 1);
}

#[tokio::test]
async fn what_peers_send_is_bounded_by_its_bytes_while_the_disk_stands_still() {
    const NOTE_BYTES: usize = 10_000;
    let disk = MemoryStore::new();
    let config = DomainConfig { unstored_bytes: 60_000, queue_bytes: 30_000, ..quick() };
    let eu = open_with(node_config("eu"), &disk, config).await.expect("it opens");
    let us = open("us", &MemoryStore::new()).await;
    let wire = connect(&eu.node, &us.node);
    us.count("kettle", 1).await;
    eventually("they are connected", || eu.counted("kettle") == 1).await;
    disk.hold();
    for note in 0..40_u64 {
        let text = "x".repeat(NOTE_BYTES);
        us.shop
            .write(move |shop| shop.names().update(&note, |name| name.set(text)))
            .await
            .expect("it is made");
    }
    // Much is sent, again and again, and nothing comes of it.
    wire.frames_back_pass(60).await;
    let merged = eu.shop.read().names.len();
    assert!((1..=7).contains(&merged), "{merged} notes are merged");
    let written = eu.shop.apply(count_of(7));
    assert!(tokio::time::timeout(Duration::from_millis(50), written).await.is_err(), "it is full");

    disk.release();
    eventually("all comes", || eu.shop.read_durable().names.len() == 40).await;
    // One that is larger than all that there is room for comes, too.
    let text = "x".repeat(10 * NOTE_BYTES);
    let last =
        us.shop.write(|shop| shop.names().update(&99, |name| name.set(text))).await.expect("it is made");
    eu.shop.wait_for(&last.token, Duration::from_secs(30)).await.expect("it comes");
}

#[tokio::test]
async fn a_frame_that_is_larger_than_the_outbox_goes_all_the_same() {
    let config = driftless_node::NodeConfig { outbox_bytes: 4_096, ..node_config("eu") };
    let eu = open_with(config, &MemoryStore::new(), quick()).await.expect("it opens");
    let us = open("us", &MemoryStore::new()).await;
    let _wire = connect(&eu.node, &us.node);
    let text = "x".repeat(40_960);
    let written =
        eu.shop.write(|shop| shop.names().update(&1, |name| name.set(text))).await.expect("it is made");
    us.shop.wait_for(&written.token, Duration::from_secs(30)).await.expect("it comes");
}

#[tokio::test]
async fn a_closure_that_fails_or_panics_leaves_nothing_behind() {
    let eu = open("eu", &MemoryStore::new()).await;
    let before = eu.shop.read().digest();
    let aborted = eu.shop.transact(|shop| {
        shop.tags().add(&1);
        Err::<(), _>("sold out")
    });
    assert_eq!(aborted.await, Err(TransactError::Aborted("sold out")));
    let panicked = eu.shop.transact(|shop| {
        shop.tags().add(&2);
        if shop.tags().len() == 1 { panic!("on purpose: {}", 7) } else { Ok::<(), ()>(()) }
    });
    let expected = Refused::Panicked { message: "on purpose: 7".to_owned() };
    assert_eq!(panicked.await, Err(TransactError::Refused(expected)));
    assert_eq!(eu.shop.read().digest(), before);
    eu.count("kettle", 1).await;
    assert_eq!(eu.counted("kettle"), 1);
}

/// A disk that takes a while for each append.
struct Slow(MemoryStore);

impl Store for Slow {
    fn load(&mut self, take: &mut dyn FnMut(Record) -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.0.load(take)
    }
    fn append(&mut self, record: &[u8], feed: Option<&[u8]>) -> Result<Place, StoreError> {
        std::thread::sleep(Duration::from_millis(2));
        self.0.append(record, feed)
    }
    fn stage(&mut self, record: &[u8]) -> Result<(), StoreError> {
        self.0.stage(record)
    }
    fn publish(&mut self, upto: Place) -> Result<(), StoreError> {
        self.0.publish(upto)
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
        self.0.trim_feed(upto)
    }
    fn compact(&mut self) -> Result<(), StoreError> {
        self.0.compact()
    }
    fn backup(&mut self, to: &std::path::Path) -> Result<(), StoreError> {
        self.0.backup(to)
    }
    fn size(&self) -> Result<StoreSize, StoreError> {
        self.0.size()
    }
}

#[tokio::test]
async fn what_is_forgotten_meanwhile_does_not_make_it_write_all_anew() {
    let disk = MemoryStore::new();
    let node = Node::new(node_config("eu"));
    let config = DomainConfig { checkpoint_bytes: u64::MAX, ..quick() };
    let shop: Domain<Shop> = node.open(name("shop"), Slow(disk.clone()), config).await.expect("it opens");
    shop.found().await.expect("it is made");
    let many = shop.write(|shop| (0..5_000).for_each(|tag| shop.tags().add(&tag)));
    many.await.expect("it is made");
    let before = disk.size().expect("it has one").log_bytes;
    for round in 0..200_u64 {
        shop.apply(count_of(round % 7)).await.map(drop).expect("it is applied");
        let removed = shop.write(move |shop| shop.tags().remove(&round));
        removed.await.expect("it is made");
    }
    let grown = disk.size().expect("it has one").log_bytes - before;
    assert!(grown < 4 * before, "{grown} bytes after {before}");
}
