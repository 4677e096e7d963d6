//! Regions of this example, in one process.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use driftless_tcp::Policy;
use driftless_tcp::development::make;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const CLUSTER: &str = "6f2a7c1e-41d5-4a5b-9a37-2d1e6cf0a001";

fn files() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/region"))
}

/// What is asked and answered: the status and the body.
async fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// A region in a folder; of each peer its address, if it is dialed, and its domains.
async fn start(
    folder: &Path,
    name: &str,
    domains: &[&str],
    peers: &[(&str, Option<SocketAddr>, &str)],
) -> Running {
    let mut list = String::new();
    for (peer, address, domains) in peers {
        let addresses: Vec<String> = address.iter().map(ToString::to_string).collect();
        writeln!(list, "[peers.{peer}]\naddresses = {addresses:?}\ndomains = {{ {domains} }}").unwrap();
    }
    std::fs::write(folder.join(format!("{name}.peers.toml")), list).unwrap();
    let mut text = format!(
        "region = \"{name}\"\ncluster = \"{CLUSTER}\"\ndata = \"data/{name}\"\nhttp = \"127.0.0.1:0\"\n"
    );
    for domain in domains {
        writeln!(text, "[domains.{domain}]").unwrap();
    }
    write!(text, "[links]\nlisten = \"127.0.0.1:0\"\npeers = \"{name}.peers.toml\"\ncertificates = \".\"\n")
        .unwrap();
    let path = folder.join(format!("{name}.toml"));
    std::fs::write(&path, text).unwrap();
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    Running::start(RegionConfig::read(&path).unwrap(), metrics).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_in_one_region_is_found_in_the_other_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let [eu, us] = ["eu", "us"].map(|name| driftless_tcp::RegionName::new(name).unwrap());
    make(folder, &[eu, us], 1).unwrap();
    let us = start(folder, "us", &["notes"], &[("eu", None, "notes = \"read-write\"")]).await;
    let address = us.region.links.local_address();
    let peers = [("us", address, "notes = \"read-write\"")];
    let eu = start(folder, "eu", &["notes", "private"], &peers).await;

    let (status, token) = ask(eu.http, "PUT", "/domains/notes/greeting", "hällo").await;
    assert_eq!(status, 200);
    let read = format!("/domains/notes/greeting?token={}", token.trim());
    let found = async {
        // The first link may still be on its way.
        loop {
            let found = ask(us.http, "GET", &read, "").await;
            if found.0 != 504 {
                break found;
            }
        }
    };
    assert_eq!(
        tokio::time::timeout(Duration::from_secs(60), found).await.unwrap(),
        (200, "hällo".to_owned())
    );
    assert_eq!(ask(us.http, "GET", "/domains/notes", "").await, (200, "greeting\n".to_owned()));
    let (status, token) =
        ask(us.http, "POST", "/domains/notes/greeting", "tag=polite&count=2&tag=old&count=-5").await;
    assert_eq!(status, 200);
    let there = |part: &str| format!("/domains/notes/greeting/{part}?token={}", token.trim());
    assert_eq!(ask(eu.http, "GET", &there("tags"), "").await, (200, "old\npolite\n".to_owned()));
    assert_eq!(ask(eu.http, "GET", &there("count"), "").await, (200, "-3\n".to_owned()));
    let digests =
        [ask(eu.http, "GET", "/digests/notes", "").await, ask(us.http, "GET", "/digests/notes", "").await];
    assert!(digests[0].0 == 200 && digests[0] == digests[1], "{digests:?}");
    assert_ne!(digests[0], ask(eu.http, "GET", "/digests/private", "").await);
    // What no peer is granted is not there.
    assert_eq!(ask(eu.http, "PUT", "/domains/private/secret", "x").await.0, 200);
    assert_eq!(ask(us.http, "GET", "/domains/private/secret", "").await.0, 404);

    let (status, page) = ask(eu.http, "GET", "/", "").await;
    assert!(status == 200 && page.contains("<h1>Region eu</h1>") && page.contains("notes: "), "{page}");
    let (_, json) = ask(eu.http, "GET", "/status", "").await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["domains"][0]["name"], "notes");
    assert_eq!(json["domains"][0]["links"][0]["principal"], "us");
    assert_eq!(ask(eu.http, "GET", "/metrics", "").await.0, 200);
    for (method, path, status) in [
        ("GET", "/domains/notes/nothing", 404),
        ("DELETE", "/domains/notes/nothing", 404),
        ("GET", "/domains/other/x", 404),
        ("POST", "/domains/notes", 405),
        ("POST", "/domains/notes/greeting/tags", 405),
        ("POST", "/domains/notes/x", 400),
        ("GET", "/domains/notes/x/count", 404),
        ("GET", "/domains/notes/greeting/size", 405),
        ("GET", "/digests/other", 404),
        ("GET", "/domains/notes/greeting?token=x", 400),
        ("GET", "/nowhere", 404),
    ] {
        assert_eq!(ask(eu.http, method, path, "").await.0, status, "{method} {path}");
    }

    eu.stop().await.unwrap();
    let (_, page) = ask(us.http, "GET", "/", "").await;
    assert!(page.contains("<td>eu</td><td><span class=\"bad\">none"), "{page}");
    let eu = start(folder, "eu", &["notes", "private"], &peers).await;
    assert_eq!(ask(eu.http, "GET", "/domains/notes/greeting", "").await, (200, "hällo".to_owned()));
    assert_eq!(ask(eu.http, "DELETE", "/domains/notes/greeting", "").await.0, 200);
    assert_eq!(ask(eu.http, "GET", "/domains/notes/greeting", "").await.0, 404);
    eu.stop().await.unwrap();
    us.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), &[driftless_tcp::RegionName::new("eu").unwrap()], 1).unwrap();
    let eu = start(folder.path(), "eu", &["notes"], &[]).await;
    for request in [
        &b"\x16\x03\x01\x02\x00"[..],
        b"GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"PUT /domains/notes/x HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"PUT /domains/notes/x HTTP/1.1\r\ncontent-length: 2000000\r\n\r\n",
        b"PUT /domains/notes/x HTTP/1.1\r\ncontent-length: 18446744073709551615\r\n\r\n",
        b"PUT /domains/notes/x HTTP/1.1\r\ncontent-length: 1\r\n\r\n\xff",
    ] {
        let mut stream = TcpStream::connect(eu.http).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    assert_eq!(ask(eu.http, "GET", "/domains/notes", "").await, (200, String::new()));
    eu.stop().await.unwrap();
}

#[test]
fn the_files_of_this_folder_are_right() {
    for name in ["eu", "us", "ap"] {
        let config = RegionConfig::read(&files().join(format!("{name}.toml"))).unwrap();
        assert_eq!((config.region.as_str(), config.cluster.to_string().as_str()), (name, CLUSTER));
        let policy = Policy::parse(&std::fs::read_to_string(&config.peers).unwrap()).unwrap();
        for (_, peer) in policy.peers() {
            assert!(peer.grants.keys().all(|domain| config.domains.contains_key(domain)));
            assert!(!peer.grants.contains_key(&DomainName::new("customers_eu").unwrap()));
        }
        assert_eq!(policy.peers().count(), 2);
    }
}

#[test]
fn a_file_that_is_not_understood_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("eu.toml");
    let good = std::fs::read_to_string(files().join("eu.toml")).unwrap();
    for (from, to) in [
        ("region = \"eu\"", "region = \"EU\""),
        ("http = \"127.0.0.1:7480\"", "http = \"0.0.0.0:7480\""),
        ("[domains.notes]", "[domains.Notes]"),
        ("feed_bytes", "feed_byte"),
        ("certificates = \"certificates\"", ""),
        ("# plain_text = true", "plain_text = true"),
        ("data = ", "date = "),
    ] {
        assert!(good.contains(from), "{from}");
        std::fs::write(&path, good.replace(from, to)).unwrap();
        assert!(RegionConfig::read(&path).is_err(), "{to}");
    }
}

#[test]
fn what_is_added_is_read_as_a_form() {
    let parse = |form| note::Addition::parse(form).map(|addition| (addition.tags.join(" "), addition.count));
    assert_eq!(parse("tag=a-1&count=2&tag=b&count=3"), Some(("a-1 b".to_owned(), 5)));
    assert_eq!(parse("count=-1"), Some((String::new(), -1)));
    for wrong in ["", "tag", "tag=", "tag=a+b", "tag=%20", "count=", "count=x", "tag=a&", "text=x"] {
        assert_eq!(parse(wrong), None, "{wrong:?}");
    }
    assert_eq!(parse("count=9223372036854775807&count=1"), None);
}

#[test]
fn the_command_line_is_read() {
    let read = |line: &str| arguments(line.split_whitespace().map(str::to_owned));
    let config = PathBuf::from("eu.toml");
    assert_eq!(read("--config eu.toml"), Ok(Arguments { config: config.clone(), is_until_eof: false }));
    assert_eq!(read("--until-eof --config eu.toml"), Ok(Arguments { config, is_until_eof: true }));
    for wrong in ["", "--config", "--until-eof", "eu.toml", "--config a --config b"] {
        assert!(read(wrong).is_err(), "{wrong:?}");
    }
}
