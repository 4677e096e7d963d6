//! Connections: what passes, what does not, and who is closed.

use bytes::Bytes;
use driftless::{Counter, MergeMap, OrSet};
use driftless_node::{Access, AttachError, Connection, Domain, Frame, MemoryStore, Node, NodeConfig};
use tokio::sync::mpsc;

use crate::regions::{
    attach, connect, connect_as, connect_domains, eventually, name, node_config, open, open_with, quick,
};

#[tokio::test]
async fn a_peer_that_takes_nothing_is_closed_and_the_others_go_on() {
    let config = NodeConfig { stall_ms: 100, ..node_config("eu") };
    let eu = open_with(config, &MemoryStore::new(), quick()).await.expect("it opens");
    let us = open("us", &MemoryStore::new()).await;
    let _wire = connect(&eu.node, &us.node);
    // It takes one frame, and no other.
    let (to_node, incoming) = mpsc::channel(1);
    let (outgoing, mut from_node) = mpsc::channel(1);
    let grants = [(name("shop"), Access::ReadWrite)].into_iter().collect();
    let connection = Connection {
        principal: Some("slow".to_owned()),
        grants,
        offered: vec![name("shop")],
        incoming,
        outgoing,
    };
    assert_eq!(eu.node.attach(connection), Ok(vec![name("shop")]));
    tokio::time::timeout(std::time::Duration::from_secs(30), to_node.closed()).await.expect("it is closed");
    while from_node.recv().await.is_some() {}
    eu.count("kettle", 1).await;
    eventually("others go on", || us.counted("kettle") == 1).await;
    eventually("it is forgotten", || eu.node.domains().len() == 1).await;
    let status = eu.shop.status().await.expect("it runs");
    assert_eq!(status.links.len(), 1, "{status}");
}

#[tokio::test]
async fn a_frame_of_a_domain_that_is_not_granted_closes_the_connection() {
    let eu = open("eu", &MemoryStore::new()).await;
    let secret: Domain<Counter> =
        eu.node.open(name("secret"), MemoryStore::new(), quick()).await.expect("it opens");
    let mut far = attach(&eu.node, "us", &["shop"]);
    let first = far.from_node.recv().await.expect("a greeting");
    assert_eq!(first.domain, name("shop"));
    let frame = Frame { domain: name("secret"), bytes: Bytes::from_static(b"hello") };
    far.to_node.send(frame).await.expect("it is open");
    far.to_node.closed().await;
    // Nothing of the other domain ever went out.
    while let Some(frame) = far.from_node.recv().await {
        assert_eq!(frame.domain, name("shop"));
    }
    assert!(secret.status().await.expect("it runs").links.is_empty());

    let (_to_node, incoming) = mpsc::channel(1);
    let (outgoing, _from_node) = mpsc::channel(1);
    let (offered, grants) = (vec![name("shop")], [(name("secret"), Access::ReadWrite)].into_iter().collect());
    let connection = Connection { principal: None, grants, offered, incoming, outgoing };
    assert_eq!(eu.node.attach(connection), Err(AttachError::NothingInCommon));
}

#[tokio::test]
async fn garbage_closes_the_connection_and_harms_nothing() {
    let eu = open("eu", &MemoryStore::new()).await;
    eu.count("kettle", 1).await;
    for garbage in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", &[0xff; 64]] {
        let far = attach(&eu.node, "stranger", &["shop"]);
        let frame = Frame { domain: name("shop"), bytes: Bytes::from_static(garbage) };
        far.to_node.send(frame).await.expect("it is open");
        // A frame that nobody can read is as if it were lost, or ends the connection; never more than that.
        drop(far);
    }
    let us = open("us", &MemoryStore::new()).await;
    let _wire = connect(&eu.node, &us.node);
    eventually("it goes on", || us.counted("kettle") == 1).await;
}

#[tokio::test]
async fn domains_share_a_connection_and_one_that_is_refused_does_not_stop_the_other() {
    type Stock = MergeMap<String, Counter>;
    let (eu, us) = (Node::new(node_config("eu")), Node::new(node_config("us")));
    let names = ["stock", "notes", "private"];
    let stock: Domain<Stock> = eu.open(name("stock"), MemoryStore::new(), quick()).await.expect("it opens");
    let stock_us: Domain<Stock> =
        us.open(name("stock"), MemoryStore::new(), quick()).await.expect("it opens");
    // The two do not agree on what a note is.
    let notes: Domain<OrSet<String>> =
        eu.open(name("notes"), MemoryStore::new(), quick()).await.expect("it opens");
    let notes_us: Domain<Counter> =
        us.open(name("notes"), MemoryStore::new(), quick()).await.expect("it opens");
    let private: Domain<Stock> =
        eu.open(name("private"), MemoryStore::new(), quick()).await.expect("it opens");
    assert_eq!(eu.domains().len(), names.len());
    private.transact(|stock| stock.update("secret", |count| count.add(1))).await.expect("it is made");
    notes.write(|notes| notes.add("mine")).await.expect("it is made");

    let wire = connect_domains(&eu, &us, &names[..2]);
    let written =
        stock.transact(|stock| stock.update("kettle", |count| count.add(1))).await.expect("it is made");
    stock_us.wait_for(&written.token, std::time::Duration::from_secs(30)).await.expect("it comes");
    let mut refused = None;
    for _ in 0..2_000 {
        let status = notes_us.status().await.expect("it runs");
        refused = status.links.iter().find(|link| link.state.starts_with("refused")).cloned();
        if refused.is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(refused.is_some_and(|link| link.state.contains("shape")));
    let again =
        stock_us.transact(|stock| stock.update("kettle", |count| count.add(1))).await.expect("it is made");
    stock.wait_for(&again.token, std::time::Duration::from_secs(30)).await.expect("it goes on");
    assert!(private.status().await.expect("it runs").links.is_empty());
    drop(wire);
}

#[tokio::test]
async fn a_peer_that_may_only_read_reads_and_is_not_read() {
    let (eu, report) = (open("eu", &MemoryStore::new()).await, open("report", &MemoryStore::new()).await);
    eu.shop.found().await.expect("it is made");
    eu.count("kettle", 5).await;
    report.count("kettle", 1_000).await;
    let wire = connect_as(&eu.node, &report.node, Access::Read);
    eventually("it reads", || report.counted("kettle") == 1_005).await;
    eu.count("kettle", 1).await;
    eventually("it goes on reading", || report.counted("kettle") == 1_006).await;
    let mut status = eu.shop.status().await.expect("it runs");
    while status.notices.is_empty() {
        wire.frames_pass(1).await;
        status = eu.shop.status().await.expect("it runs");
    }
    assert!(status.notices[0].text.contains("report may only read"), "{status}");
    assert!(!status.links[0].may_write && status.to_string().contains("reads only"), "{status}");
    assert_eq!((eu.counted("kettle"), status.members.len()), (6, 1));
}

#[tokio::test]
async fn a_connection_that_breaks_is_taken_up_again() {
    let (eu, us) = (open("eu", &MemoryStore::new()).await, open("us", &MemoryStore::new()).await);
    for round in 1..=5 {
        let wire = connect(&eu.node, &us.node);
        eu.count("kettle", 1).await;
        eventually("it comes", || us.counted("kettle") == 2 * round - 1).await;
        drop(wire);
        eu.count("kettle", 1).await;
    }
    let status = us.shop.status().await.expect("it runs");
    assert!(status.links.len() <= 1, "{status}");
}
