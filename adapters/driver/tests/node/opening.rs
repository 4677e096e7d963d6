//! Stores that are opened again, copied, and opened by others.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use driftless::{Counter, Crdt, Limits, LwwRegister, MergeMap, OrSet};
use driftless_node::{
    Clock, Cursor, Domain, DomainConfig, DomainStatus, FeedError, MemoryStore, Node, NodeConfig, OpenError,
    Store,
};
use uuid::Uuid;

use crate::regions::{
    Draw, become_members, connect, converged, eventually, name, node_config, open, open_with, quick,
};

#[tokio::test]
async fn a_store_that_is_opened_again_holds_all_and_is_one_member() {
    let (disk, other) = (MemoryStore::new(), MemoryStore::new());
    let us = open("us", &other).await;
    let mut ids = BTreeSet::new();
    let mut member = None;
    for life in 1..=5 {
        let eu = open("eu", &disk).await;
        let _wire = connect(&eu.node, &us.node);
        eu.count("kettle", 1).await;
        us.count("kettle", 10).await;
        eventually("both are counted", || {
            [&eu, &us].iter().all(|region| region.counted("kettle") == 11 * life)
        })
        .await;
        let status = eu.shop.status().await.expect("it runs");
        assert!(ids.insert(status.id), "a new id at each opening");
        assert_eq!(*member.get_or_insert(status.member), status.member);
        become_members(&us, 2).await;
        let mut members = Vec::new();
        for _ in 0..4_000 {
            members = us.shop.members().await.expect("it runs");
            if members.iter().any(|one| one.id == status.id) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(members.len(), 2, "{members:?}");
        assert!(members.iter().any(|one| (one.member, one.id) == (status.member, status.id)));
        eu.node.shutdown().await.expect("all is stored");
    }
}

/// The shop of a release in which names were numbers.
#[derive(Crdt)]
struct NumberedShop {
    stock: MergeMap<String, Counter>,
    names: MergeMap<u64, LwwRegister<u64>>,
    tags: OrSet<u64>,
}

/// Why a cursor is not gone on from. One that is waits for what comes next.
async fn refused<S: Crdt>(domain: &Domain<S>, cursor: Cursor) -> FeedError {
    let mut feed = domain.feed(cursor);
    let next = tokio::time::timeout(Duration::from_secs(10), feed.next()).await;
    next.expect("the cursor is refused").expect_err("the cursor is refused")
}

#[tokio::test]
async fn a_store_of_another_release_opens_and_what_cannot_be_read_is_named_and_kept() {
    let disk = MemoryStore::new();
    let eu = open("eu", &disk).await;
    eu.count("kettle", 3).await;
    let named = eu.shop.write(|shop| shop.names().update(&7, |name| name.set("Kettle"))).await;
    named.expect("it is made");
    let (_, of_new) = eu.shop.feed_start().await.expect("it has a feed");

    // A peer of the other release is told, and holds all else.
    let (other, other_disk) = (Node::new(node_config("us")), MemoryStore::new());
    let shop = other.open::<NumberedShop>(name("shop"), other_disk.clone(), quick()).await.expect("it opens");
    let wire = connect(&eu.node, &other);
    let counted = |shop: &NumberedShop| shop.stock.get("kettle").map_or(0, Counter::value);
    eventually("the rest is there", || counted(&shop.read()) == 3 && shop.read().names.contains_key(&7))
        .await;
    let is_named =
        |status: &DomainStatus| status.notices.iter().any(|notice| notice.text.contains("names.7"));
    assert!(is_named(&shop.status().await.expect("it runs")));
    let (_, of_other) = shop.feed_start().await.expect("it has a feed");
    drop(wire);
    other.shutdown().await.expect("all is stored");
    eu.node.shutdown().await.expect("all is stored");

    // The step back of a release, and the next one forward.
    let before = Node::new(node_config("eu"));
    let shop = before.open::<NumberedShop>(name("shop"), disk.clone(), quick()).await.expect("it opens");
    assert!(is_named(&shop.status().await.expect("it runs")));
    assert_eq!((counted(&shop.read()), shop.read().unreadable().values), (3, 1));
    // What a value reads as is another thing now, and no change in the feed says so: it begins anew.
    assert_eq!(refused(&shop, of_new).await, FeedError::Elsewhere { cursor: of_new });
    let (_, of_old) = shop.feed_start().await.expect("it has a feed");
    before.shutdown().await.expect("all is stored");
    let eu = open("eu", &disk).await;
    let name = eu.shop.read().names.get(&7).and_then(|name| name.latest().cloned());
    assert_eq!(name.as_deref(), Some("Kettle"));
    assert_eq!(refused(&eu.shop, of_old).await, FeedError::Elsewhere { cursor: of_old });
    // So it does where it came by a merge, and nothing but that was said of it.
    let us = open("us", &other_disk).await;
    assert_eq!(refused(&us.shop, of_other).await, FeedError::Elsewhere { cursor: of_other });
    // From then on it goes on.
    let (_, cursor) = us.shop.feed_start().await.expect("it has a feed");
    us.node.shutdown().await.expect("all is stored");
    let us = open("us", &other_disk).await;
    us.count("kettle", 1).await;
    let mut feed = us.shop.feed(cursor);
    assert!(!feed.next().await.expect("it goes on").commits.is_empty());
}

#[tokio::test]
async fn the_log_is_replaced_by_checkpoints_and_nothing_is_lost() {
    let disk = MemoryStore::new();
    let config =
        DomainConfig { checkpoint_bytes: 2_000, checkpoint_factor: 0.5, chunk_bytes: 256, ..quick() };
    let eu = open_with(node_config("eu"), &disk, config.clone()).await.expect("it opens");
    for tag in 0..300 {
        eu.shop.write(move |shop| shop.tags().add(&tag)).await.expect("it is made");
        eu.count("kettle", 1).await;
    }
    eventually("checkpoints are made", || disk.publishes() >= 3).await;
    let copy = disk.copy();
    let size = copy.size().expect("it has one");
    assert!(size.log_bytes < 300 * 2 * 60, "{size:?}");
    let again = open_with(node_config("eu"), &copy, config).await.expect("it opens");
    assert_eq!((again.counted("kettle"), again.shop.read().tags.len()), (300, 300));
    eu.shop.compact().await.expect("it can be compacted");
    let size = disk.size().expect("it has one");
    assert!(size.log_bytes == 0 && size.checkpoint_bytes > 0, "{size:?}");
    eu.node.shutdown().await.expect("all is stored");
    assert_eq!(open("eu", &disk).await.counted("kettle"), 300);
}

#[tokio::test]
async fn a_disk_of_any_moment_holds_all_that_was_reported() {
    let mut draw = Draw::new(11);
    let config = DomainConfig { checkpoint_bytes: 1_500, chunk_bytes: 200, ..quick() };
    for _ in 0..15 {
        let disk = MemoryStore::new();
        let eu = open_with(node_config("eu"), &disk, config.clone()).await.expect("it opens");
        let mut acknowledged = 0;
        let mut applied = 0;
        for _ in 0..draw.below(60) {
            eu.count("kettle", 1).await;
            applied += 1;
            acknowledged = applied;
        }
        for _ in 0..draw.below(20) {
            drop(eu.shop.apply(|shop| shop.stock().update("kettle", |count| count.add(1))).await);
            applied += 1;
        }
        disk.cut();
        let image = disk.copy();
        let again = open_with(node_config("eu"), &image, config.clone()).await.expect("it opens");
        let counted = again.counted("kettle");
        assert!((acknowledged..=applied).contains(&counted), "{acknowledged} <= {counted} <= {applied}");
    }
}

#[tokio::test]
async fn a_copied_store_that_is_opened_twice_ends_with_what_both_wrote() {
    let disk = MemoryStore::new();
    let eu = open("eu", &disk).await;
    let us = open("us", &MemoryStore::new()).await;
    let wire = connect(&eu.node, &us.node);
    eu.count("kettle", 1).await;
    eventually("they are connected", || us.counted("kettle") == 1).await;
    drop(wire);
    eu.count("kettle", 2).await;
    eu.node.shutdown().await.expect("all is stored");

    let copy = disk.copy();
    let (one, two) = (open("eu", &disk).await, open("eu", &copy).await);
    one.count("kettle", 10).await;
    two.count("kettle", 100).await;
    let _wires = [connect(&one.node, &us.node), connect(&two.node, &us.node)];
    eventually("nothing is lost or doubled", || {
        [&one, &two, &us].iter().all(|region| region.counted("kettle") == 113)
    })
    .await;
    converged(&[&one, &two, &us]).await;
}

#[tokio::test]
async fn a_restored_backup_rejoins_without_harm() {
    let disk = MemoryStore::new();
    let eu = open("eu", &disk).await;
    let us = open("us", &MemoryStore::new()).await;
    let wire = connect(&eu.node, &us.node);
    eu.count("kettle", 1).await;
    eu.shop.write(|shop| shop.tags().add(&7)).await.expect("it is made");
    let backup = disk.copy();
    eu.count("kettle", 10).await;
    eu.shop.write(|shop| shop.tags().remove(&7)).await.expect("it is made");
    eventually("it is known elsewhere", || us.counted("kettle") == 11 && us.shop.read().tags.is_empty())
        .await;
    drop(wire);
    drop(eu);

    let restored = open("eu", &backup).await;
    assert_eq!((restored.counted("kettle"), restored.shop.read().tags.len()), (1, 1));
    restored.count("kettle", 100).await;
    let _wire = connect(&restored.node, &us.node);
    eventually("all is there again", || {
        [&restored, &us].iter().all(|region| region.counted("kettle") == 111)
    })
    .await;
    eventually("what was removed stays so", || restored.shop.read().tags.is_empty()).await;
}

#[tokio::test]
async fn who_wrote_with_a_clock_that_ran_ahead_says_so_and_can_issue_it_again() {
    let disk = MemoryStore::new();
    let ahead_by = Arc::new(AtomicU64::new(3_600_000));
    let ahead = Arc::clone(&ahead_by);
    let clock = Clock::from_fn(move || Clock::system().now_ms() + ahead.load(Ordering::Relaxed));
    let eu = open_with(NodeConfig { clock, ..node_config("eu") }, &disk, quick()).await.expect("it opens");
    let us = open("us", &MemoryStore::new()).await;
    eu.count("kettle", 1).await;
    let restarted = disk.copy();
    let (_, cursor) = eu.shop.feed_start().await.expect("it has a feed");
    ahead_by.store(0, Ordering::Relaxed);
    let _wire = connect(&eu.node, &us.node);
    eu.count("kettle", 1).await;
    eu.shop.reissue_ahead().await.expect("it is issued again");
    eu.count("kettle", 1).await;
    eventually("others take it", || us.counted("kettle") == 3).await;
    // Of concurrent values others may be the latest now, and nobody says which.
    assert_eq!(eu.shop.feed(cursor).next().await, Err(FeedError::Elsewhere { cursor }));
    let (_, cursor) = eu.shop.feed_start().await.expect("it has a feed");
    us.count("kettle", 10).await;
    let batch = eu.shop.feed(cursor).next().await.expect("it is there");
    assert_eq!(batch.commits[0].changes[0].before, Some(3.into()));
    eu.node.shutdown().await.expect("all is stored");
    assert_eq!(open("eu", &disk).await.counted("kettle"), 13);

    // Who was restarted instead says so as well.
    let eu = open("eu", &restarted).await;
    let status = eu.shop.status().await.expect("it runs");
    assert!(status.clock_ahead_ms.is_some_and(|ahead_ms| ahead_ms > 3_500_000), "{status}");
    assert_eq!((eu.counted("kettle"), status.notices.len()), (1, 1));
}

#[tokio::test]
async fn what_was_written_here_is_read_back_whatever_is_accepted_of_others() {
    let disk = MemoryStore::new();
    let limits = Limits { text_bytes: 100, message_bytes: 300, elements: 30, ..Limits::default() };
    let config = DomainConfig { limits, ..quick() };
    let eu = open_with(node_config("eu"), &disk, config.clone()).await.expect("it opens");
    for key in 0..50 {
        let made = eu.shop.write(move |shop| shop.names().update(&key, |name| name.set("x".repeat(1_000))));
        made.await.expect("it is made");
    }
    eu.shop.compact().await.expect("it can be compacted");
    eu.node.shutdown().await.expect("all is stored");
    let again = open_with(node_config("eu"), &disk, config).await.expect("it opens");
    assert_eq!(again.shop.read().names.len(), 50);
}

#[tokio::test]
async fn a_store_of_something_else_is_refused_by_name() {
    let disk = MemoryStore::new();
    let eu = open("eu", &disk).await;
    eu.count("kettle", 1).await;
    let twice = eu.node.open::<Counter>(name("shop"), MemoryStore::new(), quick()).await;
    assert!(matches!(twice, Err(OpenError::Twice { .. })));
    eu.node.shutdown().await.expect("all is stored");
    assert!(matches!(
        eu.node.open::<Counter>(name("b"), MemoryStore::new(), quick()).await,
        Err(OpenError::Stopped)
    ));
    let before = disk.size().expect("it has one");

    let elsewhere = NodeConfig::new(Uuid::from_u128(0xc2), "eu");
    let refused = open_with(elsewhere, &disk, quick()).await;
    assert!(matches!(refused, Err(OpenError::OtherStore { domain, .. }) if domain == "shop"));
    let node = Node::new(node_config("eu"));
    let refused = node.open::<Counter>(name("other"), disk.clone(), quick()).await;
    assert!(matches!(refused, Err(OpenError::OtherStore { .. })));
    let refused = node.open::<Counter>(name("shop"), disk.clone(), quick()).await;
    assert!(matches!(refused, Err(OpenError::Merge { .. })), "{refused:?}");
    assert_eq!(disk.size().expect("it has one"), before, "nothing changed");
    assert!(node.domains().is_empty());

    let mut damaged = MemoryStore::new();
    damaged.append(b"\x01\x02garbage", None).expect("it works");
    let refused = node.open::<Counter>(name("shop"), damaged, quick()).await;
    assert!(matches!(refused, Err(OpenError::Record { index: 0, .. })), "{refused:?}");
}
