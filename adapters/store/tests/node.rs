//! A node on stores in files: what it wrote is there, and a backup that is restored rejoins safely.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use driftless::{Counter, LwwRegister, MergeMap, Value};
use driftless_node::{
    Access, Connection, Domain, DomainConfig, DomainName, Node, NodeConfig, OpenError, StoreError,
};
use driftless_store::{Contents, FileStore};
use tokio::sync::mpsc;
use uuid::Uuid;

type Visits = MergeMap<String, Counter>;

async fn open(region: &str, path: &Path) -> (Node, Domain<Visits>) {
    let node = Node::new(NodeConfig::new(Uuid::from_u128(0xc1), region));
    // A log of more than this is written anew as a checkpoint.
    let config =
        DomainConfig { heartbeat_ms: 20, patience_ms: 100, parking_ms: 20, ..DomainConfig::default() };
    let store = FileStore::open(path).unwrap();
    let domain = node.open(name(), store, config).await.unwrap();
    (node, domain)
}

fn name() -> DomainName {
    DomainName::new("visits").unwrap()
}

fn connect(one: &Node, other: &Node) {
    let (to_other, from_one) = mpsc::channel(64);
    let (to_one, from_other) = mpsc::channel(64);
    for (node, outgoing, incoming) in [(one, to_other, from_other), (other, to_one, from_one)] {
        let grants = [(name(), Access::ReadWrite)].into_iter().collect();
        node.attach(Connection { principal: None, grants, offered: vec![name()], incoming, outgoing })
            .unwrap();
    }
}

async fn add(visits: &Domain<Visits>, page: &str, by: i64) {
    let page = page.to_owned();
    visits.transact(move |visits| visits.update(&page, |count| count.add(by))).await.unwrap();
}

fn value(visits: &Domain<Visits>, page: &str) -> i64 {
    visits.read().get(page).map_or(0, Counter::value)
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it did not come: {what}");
}

fn tool(arguments: &[&str], paths: &[&Path]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_driftless-store")).args(arguments).args(paths).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_rejoins_and_nothing_is_lost_or_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let [eu_path, us_path, copy] = ["eu", "us", "copy"].map(|name| folder.path().join(name));
    let (eu_node, eu) = open("eu", &eu_path).await;
    let (us_node, us) = open("us", &us_path).await;
    connect(&eu_node, &us_node);
    for _ in 0..20 {
        add(&eu, "home", 1).await;
        add(&us, "home", 100).await;
    }
    // While it runs, and writes go on.
    tool(&["backup"], &[&eu_path, &copy]);
    for _ in 0..20 {
        add(&eu, "home", 1).await;
        add(&eu, "news", 1).await;
    }
    eventually("both hold all", || [&eu, &us].map(|visits| value(visits, "home")) == [2_040; 2]).await;
    eventually("both hold all", || value(&us, "news") == 20).await;
    eu_node.shutdown().await.unwrap();
    drop(eu);
    std::fs::remove_file(&eu_path).unwrap();

    // What the region wrote after the backup, it gets back from the other, and what it writes now is new.
    let (eu_node, eu) = open("eu", &copy).await;
    assert!(value(&eu, "home") >= 20 && value(&eu, "news") == 0, "{}", value(&eu, "home"));
    add(&eu, "home", 10_000).await;
    connect(&eu_node, &us_node);
    add(&us, "home", 100_000).await;
    let all = 2_040 + 110_000;
    eventually("both hold all", || [&eu, &us].map(|visits| value(visits, "home")) == [all; 2]).await;
    eventually("both hold all", || value(&eu, "news") == 20).await;
    assert_eq!(eu.read().digest(), us.read().digest());

    // And so it stays.
    for node in [&eu_node, &us_node] {
        node.shutdown().await.unwrap();
    }
    drop((eu, us));
    let (eu_node, eu) = open("eu", &copy).await;
    assert_eq!((value(&eu, "home"), value(&eu, "news")), (all, 20));
    eu_node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_records_of_a_node_are_shown_and_read_by_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("eu");
    let (node, visits) = open("eu", &path).await;
    add(&visits, "home", 3).await;
    add(&visits, "news", 4).await;
    add(&visits, "home", 2).await;
    visits.write(|visits| visits.remove("news")).await.unwrap();

    let shown = tool(&["inspect"], &[&path]);
    let member = format!("member      {}", visits.member().uuid());
    for line in [
        "domain      visits of the cluster 00000000-0000-0000-0000-0000000000c1",
        "opened      1 times",
        &member,
    ] {
        assert!(shown.contains(line), "{line:?} is not in\n{shown}");
    }
    let contents = Contents::open(&path).unwrap();
    let live = contents.live::<Visits>().unwrap();
    let rows: Vec<_> = live.iter().map(|row| (row.path.to_string(), row.after.clone())).collect();
    assert_eq!(rows, [("\"home\"".to_owned(), Some(Value::from(5)))]);
    let mut lines = Vec::new();
    assert_eq!(contents.write_live::<Visits>(&mut lines).unwrap(), 1);
    let line: serde_json::Value = serde_json::from_slice(&lines).unwrap();
    assert_eq!((&line["path"], &line["value"]), (&serde_json::json!(["home"]), &serde_json::json!(5)));
    assert!(contents.live::<LwwRegister<u8>>().is_err(), "it is of another type");

    let second = FileStore::open(&path);
    assert!(matches!(second, Err(StoreError::Locked { .. })));
    node.shutdown().await.unwrap();
    let other = Node::new(NodeConfig::new(Uuid::from_u128(0xc1), "eu"));
    let store = FileStore::open(&path).unwrap();
    let opened =
        other.open::<Visits>(DomainName::new("orders").unwrap(), store, DomainConfig::default()).await;
    assert!(matches!(opened, Err(OpenError::OtherStore { .. })), "it is the store of another domain");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_not_read_with_a_type_that_cannot_read_all_of_them() {
    type Names = MergeMap<u8, LwwRegister<String>>;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("eu");
    let node = Node::new(NodeConfig::new(Uuid::from_u128(0xc1), "eu"));
    let store = FileStore::open(&path).unwrap();
    let domain = DomainName::new("names").unwrap();
    let names = node.open::<Names>(domain, store, DomainConfig::default()).await.unwrap();
    names.write(|names| names.update(&7, |name| name.set("Ada"))).await.unwrap();
    let contents = Contents::open(&path).unwrap();
    assert_eq!(contents.live::<Names>().unwrap().len(), 1);
    let refused = contents.live::<MergeMap<u8, LwwRegister<u32>>>().unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the store holds 1 value that this release cannot read, at 7; \
         nothing changed: read it with the type of state that wrote it"
    );
    node.shutdown().await.unwrap();
}
