//! Nodes converge, whatever happens to servers, links and nodes. Counters say whether anything was lost or doubled.

use std::time::Duration;

use async_nats::jetstream;
use driftless_nats::{Limits, NatsConfig};
use driftless_node::MemoryStore;

use crate::raw::inbox;
use crate::regions::{config, until};
use crate::server::{Server, free_port};
use crate::shops::{Site, all_hold, count_everywhere};
use crate::wire::{State, Wire};

const PAUSE: Duration = Duration::from_millis(2);

const NAMES: [&str; 3] = ["ap", "eu", "us"];

fn of_three(server: &Server, name: &str) -> NatsConfig {
    let peers: Vec<&str> = NAMES.into_iter().filter(|peer| *peer != name).collect();
    config(server, name, &peers)
}

async fn three(server: &Server) -> [Site; 3] {
    let [ap, eu, us] = NAMES.map(|name| Site::open(of_three(server, name), MemoryStore::new()));
    [ap.await, eu.await, us.await]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_converge_through_one_server() {
    let Some(server) = Server::start().await else { return };
    let sites = three(&server).await;
    let all = sites.each_ref();
    count_everywhere(&all, 100, PAUSE).await;
    all_hold(&all, 300).await;
    for site in all {
        assert!(site.links.status().peers.iter().all(|peer| peer.link.is_some()));
    }
    for site in all {
        site.node.shutdown().await.unwrap();
        site.links.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joiner_takes_a_large_snapshot_in_parts() {
    // A chunk of a snapshot has four times as many bytes as a message may have.
    let Some(server) = Server::with("jetstream: enabled\nmax_payload: 65536").await else { return };
    let eu = Site::open(config(&server, "eu", &["us"]), MemoryStore::new()).await;
    for key in 0..200 {
        eu.set(key, format!("{key} ").repeat(15_000)).await;
    }
    eu.count(1).await;
    // The inbox has room for a small part of it at a time.
    let small = Limits { inbox_bytes: 1 << 20, inbox_messages: 8, ..Limits::default() };
    let us = NatsConfig { limits: small, ..config(&server, "us", &["eu"]) };
    let us = Site::open(us, MemoryStore::new()).await;
    all_hold(&[&eu, &us], 1).await;
    assert_eq!(us.shop.read().texts.len(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_again_and_again_loses_and_doubles_nothing() {
    let Some(mut server) = Server::start().await else { return };
    let sites = three(&server).await;
    let all = sites.each_ref();
    count_everywhere(&all, 20, PAUSE).await;
    for round in 0..4 {
        let chaos = async {
            tokio::time::sleep(Duration::from_millis(50 + 30 * round)).await;
            // As an operator does it, and as the power does it.
            if round % 2 == 0 {
                server.stop().await;
            } else {
                server.kill();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            server.run().await;
        };
        tokio::join!(chaos, count_everywhere(&all, 100, PAUSE));
    }
    all_hold(&all, 3 * 420).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgets_all_is_made_use_of_again() {
    let Some(mut server) = Server::start().await else { return };
    let sites = three(&server).await;
    let all = sites.each_ref();
    count_everywhere(&all, 20, PAUSE).await;
    server.kill();
    std::fs::remove_dir_all(server.folder.path().join("jetstream")).unwrap();
    count_everywhere(&all, 20, PAUSE).await;
    server.run().await;
    all_hold(&all, 120).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inboxes_that_are_emptied_now_and_then_lose_nothing() {
    let Some(server) = Server::start().await else { return };
    let sites = three(&server).await;
    let all = sites.each_ref();
    let context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let chaos = async {
        for round in 0..40 {
            tokio::time::sleep(Duration::from_millis(15)).await;
            let inbox = context.get_stream(inbox(NAMES[round % 3])).await.unwrap();
            inbox.purge().await.unwrap();
        }
    };
    tokio::join!(chaos, count_everywhere(&all, 200, PAUSE));
    all_hold(&all, 600).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_and_opened_again_catches_up() {
    let Some(server) = Server::start().await else { return };
    let [mut ap, eu, us] = three(&server).await;
    let mut total = 0;
    for _ in 0..3 {
        count_everywhere(&[&ap, &eu, &us], 20, PAUSE).await;
        let disk = ap.kill();
        count_everywhere(&[&eu, &us], 20, PAUSE).await;
        ap = Site::open(of_three(&server, "ap"), disk).await;
        total += 100;
    }
    all_hold(&[&ap, &eu, &us], total).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inbox_with_hardly_any_room_holds_writers_back_and_loses_nothing() {
    let Some(server) = Server::start().await else { return };
    let tiny = |name| {
        let limits = Limits { inbox_bytes: 20_000, inbox_messages: 3, queue_frames: 2, ..Limits::default() };
        NatsConfig { limits, ..of_three(&server, name) }
    };
    let [ap, eu, us] = NAMES.map(|name| Site::open(tiny(name), MemoryStore::new()));
    let sites = [ap.await, eu.await, us.await];
    let all = sites.each_ref();
    count_everywhere(&all, 100, PAUSE).await;
    all_hold(&all, 300).await;
}

/// Two servers, of which the second is a leaf of the first. Each has a JetStream domain of its own. The wire between can be cut.
async fn hub_and_leaf() -> Option<(Server, Server, Wire)> {
    let port = free_port();
    let wire = Wire::to(port).await;
    // Otherwise a leaf comes to know of another way to the hub.
    let hub = format!(
        "jetstream {{ store_dir: \"FOLDER\", domain: hub }}\nserver_name: hub\n\
         leafnodes {{ listen: \"127.0.0.1:{port}\", advertise: \"{}\" }}",
        wire.address
    );
    let hub = Server::with(&hub).await?;
    let leaf = format!(
        "jetstream {{ store_dir: \"FOLDER\", domain: leaf }}\nserver_name: leaf\n\
         leafnodes {{ reconnect: \"1s\", remotes: [{{ url: \"nats-leaf://{}\" }}] }}",
        wire.address
    );
    Some((hub, Server::with(&leaf).await?, wire))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn regions_at_a_hub_and_at_a_leaf_converge_and_survive_a_cut() {
    let Some((mut hub, leaf, wire)) = hub_and_leaf().await else { return };
    let hasty = |server, name, peer| {
        let mut config = config(server, name, &[peer]);
        config.timing.silence = Duration::from_millis(700);
        Site::open(config, MemoryStore::new())
    };
    let eu = hasty(&hub, "eu", "us").await;
    let us = hasty(&leaf, "us", "eu").await;
    let both = [&eu, &us];
    count_everywhere(&both, 50, PAUSE).await;
    all_hold(&both, 100).await;
    let mut total = 100;
    let is_linked = |site: &Site| site.links.status().peers[0].link.is_some();
    for state in [State::Cut, State::Silent, State::Cut] {
        // In the middle of writing.
        let chaos = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            wire.set(state);
        };
        tokio::join!(chaos, count_everywhere(&both, 50, PAUSE));
        until("both see that the other is gone", || !is_linked(&eu) && !is_linked(&us)).await;
        count_everywhere(&both, 10, PAUSE).await;
        wire.set(State::Whole);
        total += 120;
        all_hold(&both, total).await;
    }
    // The region at the leaf keeps its own server.
    hub.kill();
    count_everywhere(&both, 50, PAUSE).await;
    hub.run().await;
    all_hold(&both, total + 100).await;
    // Each inbox is where its region is.
    let at_leaf = jetstream::new(async_nats::connect(leaf.url()).await.unwrap());
    assert!(at_leaf.get_stream(inbox("us")).await.is_ok() && at_leaf.get_stream(inbox("eu")).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_starts_before_its_server() {
    let Some(mut server) = Server::start().await else { return };
    server.kill();
    let eu = Site::open(config(&server, "eu", &["us"]), MemoryStore::new()).await;
    eu.count(1).await;
    assert_eq!(eu.links.status().server, None);
    server.run().await;
    let us = Site::open(config(&server, "us", &["eu"]), MemoryStore::new()).await;
    all_hold(&[&eu, &us], 1).await;
    until("the server is known", || eu.links.status().server.is_some()).await;
}
