//! Servers that cannot be used, and those that let in only whom they know.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use driftless_nats::{
    Credentials, NatsConfig, Policy, PolicySource, Reason, Security, ServerError, StartError, TlsFiles,
    Transport,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::raw::{PREFIX, Peer, beat, inbox};
use crate::regions::{CLUSTER, Log, Region, config, domain, passes, region};
use crate::server::{Server, free_port};

async fn refused(config: NatsConfig) -> StartError {
    let (sink, _connections) = mpsc::channel(1);
    Transport::start(config, sink).await.expect_err("it cannot be used")
}

/// A server that says which version it is, and answers pings.
async fn of_version(version: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let info = format!(
        "INFO {{\"server_id\":\"X\",\"version\":\"{version}\",\"proto\":1,\"headers\":true,\
         \"max_payload\":1048576,\"jetstream\":true,\"port\":{},\"host\":\"127.0.0.1\"}}\r\n",
        address.port()
    );
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(info.as_bytes()).await.unwrap();
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut bytes).await {
                if bytes[..read].windows(4).any(|four| four == b"PING") {
                    stream.write_all(b"PONG\r\n").await.unwrap();
                }
            }
        }
    });
    format!("nats://{address}")
}

#[tokio::test]
async fn a_server_that_is_too_old_is_refused() {
    for version in ["2.9.10", "1.4.0", "", "nonsense"] {
        let config = NatsConfig::new(
            region("eu"),
            CLUSTER,
            vec![domain("orders")],
            vec![of_version(version).await],
            Security::PlainText,
            PolicySource::Given(Policy::default()),
        );
        let error = refused(config).await;
        let StartError::Server(ServerError::TooOld { found }) = &error else { panic!("{error}") };
        assert_eq!(found, version);
        assert!(error.to_string().contains("must be 2.10 or newer"), "{error}");
    }
}

#[tokio::test]
async fn a_server_without_jetstream_is_refused() {
    let Some(server) = Server::with("").await else { return };
    let error = refused(config(&server, "eu", &["us"])).await;
    assert!(matches!(error, StartError::Server(ServerError::NoJetStream { .. })), "{error}");
    // As is an account that has none.
    let accounts = "jetstream: enabled\naccounts { A { users: [ { user: eu, password: e } ] }, SYS {} }\n\
                    system_account: SYS";
    let server = Server::with(accounts).await.unwrap();
    let credentials = Credentials::Password { user: "eu".to_owned(), password: "e".to_owned() };
    let error = refused(NatsConfig { credentials, ..config(&server, "eu", &["us"]) }).await;
    assert!(matches!(error, StartError::Server(ServerError::NoJetStream { .. })), "{error}");
    // And one where it is not known who this is.
    let error = refused(config(&server, "eu", &["us"])).await;
    assert!(matches!(error, StartError::Server(ServerError::Refused { .. })), "{error}");
}

#[tokio::test]
async fn settings_out_of_range_are_refused() {
    let Some(server) = Server::start().await else { return };
    type Change = fn(&mut NatsConfig);
    let changes: [Change; 12] = [
        // The end of such a time cannot be reckoned.
        |config| config.timing.silence = Duration::MAX,
        |config| config.timing.redelivery = Duration::MAX,
        |config| config.limits.inbox_bytes = 1000,
        |config| config.prefix = "a.b".to_owned(),
        |config| config.prefix = String::new(),
        |config| config.servers = vec![],
        |config| config.servers = vec!["nats://[".to_owned()],
        |config| config.replicas = 0,
        |config| config.limits.inbox_messages = 0,
        |config| config.timing.silence = Duration::from_millis(100),
        |config| config.timing.inbox_age = Duration::ZERO,
        |config| config.domains = vec![domain("orders"), domain("orders")],
    ];
    for (place, change) in changes.into_iter().enumerate() {
        let mut config = config(&server, "eu", &["us"]);
        change(&mut config);
        let error = refused(config).await;
        assert!(matches!(error, StartError::Setting { .. }), "{place}: {error}");
    }
    let files = TlsFiles { authority: Some("/nowhere/ca.pem".into()), ..TlsFiles::default() };
    let error = refused(NatsConfig { security: Security::Tls(files), ..config(&server, "eu", &[]) }).await;
    assert!(matches!(error, StartError::Unreadable { .. }), "{error}");
    let credentials = Credentials::File("/nowhere/eu.creds".into());
    let error = refused(NatsConfig { credentials, ..config(&server, "eu", &[]) }).await;
    assert!(matches!(error, StartError::Unreadable { .. }), "{error}");
    let policy = PolicySource::File("/nowhere/peers.toml".into());
    let error = refused(NatsConfig { policy, ..config(&server, "eu", &[]) }).await;
    assert!(matches!(error, StartError::Policy(_)), "{error}");
}

#[tokio::test]
async fn an_inbox_that_is_set_up_otherwise_is_changed_or_its_setting_is_named() {
    let Some(server) = Server::start().await else { return };
    let peer = Peer::new(&server).await;
    let other = Config {
        name: inbox("eu"),
        subjects: vec![format!("{PREFIX}.eu.*.frames")],
        storage: StorageType::Memory,
        ..Config::default()
    };
    peer.jetstream.create_stream(&other).await.unwrap();
    let mut eu = Region::start(config(&server, "eu", &["us"])).await;
    let reason = eu.fails("us", |reason| matches!(reason, Reason::Unfit(_))).await;
    let Reason::Unfit(ServerError::Inbox { field, wanted, found }) = &reason else { panic!("{reason}") };
    assert_eq!((*field, found.contains('*'), wanted.contains('*')), ("subjects", true, false));
    peer.jetstream.delete_stream(inbox("eu")).await.unwrap();

    // What can be changed is: an operator may have made it, and settings may be others now.
    let name = inbox("us");
    let made = Config {
        name,
        subjects: vec!["x".to_owned()],
        retention: RetentionPolicy::WorkQueue,
        ..Config::default()
    };
    peer.jetstream.create_stream(&made).await.unwrap();
    let mut us = Region::start(config(&server, "us", &["eu"])).await;
    let (at_eu, mut at_us) = (eu.connection().await, us.connection().await);
    passes(&at_eu, &mut at_us, "x").await;
}

#[tokio::test]
async fn an_inbox_that_an_operator_has_made_is_used_where_regions_may_not_make_any() {
    let users = "jetstream: enabled\nauthorization { users: [\n\
                 { user: operator, password: o },\n\
                 { user: eu, password: e, permissions: { publish: { deny: [\n\
                 \"$JS.API.STREAM.CREATE.>\", \"$JS.API.STREAM.UPDATE.>\" ] } } } ] }";
    let Some(server) = Server::with(users).await else { return };
    let login = |user: &str, name: &str, peer: &str| {
        let credentials = Credentials::Password { user: user.to_owned(), password: user[..1].to_owned() };
        let mut config = NatsConfig { credentials, ..config(&server, name, &[peer]) };
        config.timing.answer = Duration::from_millis(500);
        config
    };
    let mut us = Region::start(login("operator", "us", "eu")).await;
    let mut eu = Region::start(login("eu", "eu", "us")).await;
    // There is none, and it may not make one.
    let reason = eu.fails("us", |reason| matches!(reason, Reason::Unfit(_))).await;
    let is_named = matches!(&reason, Reason::Unfit(ServerError::Request { request: "make the inbox", .. }));
    assert!(is_named, "{reason}");
    let options = async_nats::ConnectOptions::with_user_and_password("operator".into(), "o".into());
    let context = async_nats::jetstream::new(options.connect(server.url()).await.unwrap());
    let limits = config(&server, "eu", &[]).limits;
    let inbox = Config {
        name: inbox("eu"),
        subjects: vec![format!("{PREFIX}.eu.us.frames")],
        retention: RetentionPolicy::WorkQueue,
        discard: DiscardPolicy::New,
        discard_new_per_subject: true,
        max_bytes: i64::try_from(limits.inbox_bytes + 512 * u64::from(limits.inbox_messages)).unwrap(),
        max_message_size: i32::try_from(limits.inbox_bytes / u64::from(limits.inbox_messages)).unwrap(),
        max_messages_per_subject: limits.inbox_messages.into(),
        max_age: Duration::from_secs(3600),
        storage: StorageType::File,
        num_replicas: 1,
        ..Config::default()
    };
    context.create_stream(inbox).await.unwrap();
    let (at_eu, mut at_us) = (eu.connection().await, us.connection().await);
    passes(&at_eu, &mut at_us, "x").await;
}

/// One of the configurations that `docs/nats.md` gives, for a server on a port of its own.
fn documented(place: usize) -> String {
    let text = include_str!("../../../../docs/nats.md");
    let block = text.split("```conf\n").nth(1 + place).expect("it is there");
    let (block, _) = block.split_once("```").expect("it ends");
    let block = block.replace("CLUSTER", &CLUSTER.simple().to_string());
    block.replace("\"/var/lib/nats\"", "\"FOLDER\"")
}

#[tokio::test]
async fn with_the_permissions_that_are_written_down_nobody_sends_as_another() {
    let Some(server) = Server::with(&documented(0)).await else { return };
    let login =
        |name: &str| Credentials::Password { user: name.to_owned(), password: format!("{name}-password") };
    let log = Log::new();
    let start = |name: &'static str, peer: &'static str| {
        Region::start(NatsConfig { credentials: login(name), ..config(&server, name, &[peer]) })
    };
    let (mut us, mut eu) = (start("us", "eu").await, start("eu", "us").await);
    let (at_eu, mut at_us) = (eu.connection().await, us.connection().await);
    for number in 0..100 {
        passes(&at_eu, &mut at_us, &number.to_string()).await;
    }
    let text = log.text();
    assert!(!text.contains("the server says"), "nothing that is needed is forbidden: {text}");

    // `us` says that it is `ap`, listens to what is for `eu`, and reads, empties and deletes its inbox: nothing of it is done.
    let options = async_nats::ConnectOptions::with_user_and_password("us".into(), "us-password".into())
        .custom_inbox_prefix(format!("{PREFIX}.us._answers"))
        .request_timeout(Some(Duration::from_millis(300)));
    let client = options.connect(server.url()).await.unwrap();
    let mut listening = client.subscribe(format!("{PREFIX}.eu.>")).await.unwrap();
    client.publish(format!("{PREFIX}.eu.ap.beat"), "x".into()).await.unwrap();
    client.publish(format!("{PREFIX}.us.eu.beat"), "x".into()).await.unwrap();
    let context = async_nats::jetstream::new(client.clone());
    for request in ["STREAM.INFO", "STREAM.PURGE", "STREAM.DELETE"] {
        let subject = format!("$JS.API.{request}.{}", inbox("eu"));
        client.request(subject, "".into()).await.expect_err(request);
    }
    context.get_stream(inbox("us")).await.unwrap();
    passes(&at_eu, &mut at_us, "still").await;
    let overheard =
        tokio::time::timeout(Duration::from_millis(300), futures_util::StreamExt::next(&mut listening));
    assert!(overheard.await.ok().flatten().is_none(), "it hears nothing");
    let said = server.log();
    for forbidden in ["eu.ap.beat", "us.eu.beat", "STREAM.PURGE", "STREAM.DELETE"] {
        let is_refused = |line: &str| line.contains("Violation") && line.contains(forbidden);
        assert!(said.lines().any(is_refused), "{forbidden}: {said}");
    }
}

#[tokio::test]
async fn with_leaf_nodes_as_written_down_nobody_sends_as_another() {
    let port = free_port();
    let hub = documented(1).replace("0.0.0.0:7422", &format!("127.0.0.1:{port}"));
    let Some(hub) = Server::with(&hub).await else { return };
    let leaf = |name: &str| {
        let remote = format!("{name}:{name}-password@127.0.0.1:{port}");
        let leaf = documented(2).replace("eu:eu-password@hub.example.com:7422", &remote);
        format!("server_name: {name}\n{}", leaf.replace("domain: eu", &format!("domain: {name}")))
    };
    let at_eu = Server::with(&leaf("eu")).await.unwrap();
    let at_us = Server::with(&leaf("us")).await.unwrap();
    let mut eu = Region::start(config(&at_eu, "eu", &["us", "ap"])).await;
    let mut us = Region::start(config(&at_us, "us", &["eu"])).await;
    let (mut eu_end, us_end) = (eu.connection().await, us.connection().await);
    for number in 0..50 {
        passes(&us_end, &mut eu_end, &number.to_string()).await;
    }
    // At its own server `us` may say what it likes. It does not come to `eu`, and nor does what is asked of its JetStream.
    let client = async_nats::connect(at_us.url()).await.unwrap();
    client.publish(format!("{PREFIX}.eu.ap.beat"), beat([5; 16], [0; 16], 0, &[])).await.unwrap();
    client.publish(format!("{PREFIX}.eu.ap.frames"), "x".into()).await.unwrap();
    for request in ["$JS.eu.API.STREAM.INFO", "$JS.eu.API.STREAM.DELETE"] {
        let request = client.request(format!("{request}.{}", inbox("eu")), "".into());
        let answer = tokio::time::timeout(Duration::from_secs(1), request).await;
        assert!(!matches!(answer, Ok(Ok(_))), "{answer:?}");
    }
    passes(&us_end, &mut eu_end, "still").await;
    let attempts = eu.peer("ap").opening.unwrap();
    assert_eq!(attempts.last, None, "nobody calls as `ap`");
    let context = async_nats::jetstream::new(async_nats::connect(at_eu.url()).await.unwrap());
    let stream = context.get_stream(inbox("eu")).await.unwrap();
    assert_eq!(stream.consumer_info("ap").await.unwrap().delivered.consumer_sequence, 0);
    drop(hub);
}

#[tokio::test]
async fn links_go_over_tls_and_a_server_that_nobody_vouches_for_is_not_used() {
    let tls = "jetstream: enabled\ntls { cert_file: \"FOLDER/server.pem\", key_file: \"FOLDER/server.key\" }";
    let Some(mut server) = Server::start().await else { return };
    server.kill();
    let [good, bad] = [(); 2].map(|()| rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap());
    let folder = server.folder.path().to_owned();
    let path = |name: &str| folder.join(name);
    std::fs::write(path("server.pem"), good.cert.pem()).unwrap();
    std::fs::write(path("server.key"), good.signing_key.serialize_pem()).unwrap();
    std::fs::write(path("other.pem"), bad.cert.pem()).unwrap();
    server.configure(tls);
    server.run().await;
    let secured = |name: &str, peer: &str, authority: &str| {
        let files = TlsFiles { authority: Some(path(authority)), ..TlsFiles::default() };
        NatsConfig { security: Security::Tls(files), ..config(&server, name, &[peer]) }
    };
    let mut us = Region::start(secured("us", "eu", "server.pem")).await;
    let mut eu = Region::start(secured("eu", "us", "server.pem")).await;
    let (at_eu, mut at_us) = (eu.connection().await, us.connection().await);
    passes(&at_eu, &mut at_us, "x").await;
    // Either it is refused, or it is waited for; it is not talked to.
    let (sink, _connections) = mpsc::channel(1);
    if let Ok(ap) = Transport::start(secured("ap", "us", "other.pem"), sink).await {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(ap.status().server, None);
    }
    // One that cannot do TLS is not talked to in plain text.
    let plain = Server::start().await.unwrap();
    let asked = NatsConfig { servers: vec![plain.url()], ..secured("ap", "us", "server.pem") };
    let (sink, _connections) = mpsc::channel(1);
    if let Ok(ap) = Transport::start(asked, sink).await {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(ap.status().server, None);
    }
}
