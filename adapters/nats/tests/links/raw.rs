//! A peer made by hand from `docs/nats.md`.

use async_nats::jetstream::{self, Context};
use async_nats::{Client, Subscriber};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::StreamExt;

use crate::regions::{Region, soon};
use crate::server::Server;

/// A peer at a server that speaks as `us` to `eu`.
pub(crate) struct Peer {
    pub(crate) client: Client,
    pub(crate) jetstream: Context,
    beats: Subscriber,
    pub(crate) session: [u8; 16],
    pub(crate) theirs: [u8; 16],
    pub(crate) next: u64,
}

pub(crate) const PREFIX: &str = "driftless.000000000000000000000000000000c1";

/// The stream of a region.
pub(crate) fn inbox(name: &str) -> String {
    format!("driftless_000000000000000000000000000000c1_{name}")
}

pub(crate) fn beat(ours: [u8; 16], yours: [u8; 16], stored: u64, domains: &[&str]) -> Bytes {
    let mut bytes = BytesMut::from(&b"DRIFTNAT\x01\x01\x01"[..]);
    bytes.put_slice(&ours);
    bytes.put_slice(&yours);
    bytes.put_u64(stored);
    bytes.put_u32(20_000);
    bytes.put_u32(16 << 20);
    bytes.put_u32(1 << 20);
    bytes.put_u8(u8::try_from(domains.len()).unwrap());
    for domain in domains {
        bytes.put_u8(u8::try_from(domain.len()).unwrap());
        bytes.put_slice(domain.as_bytes());
    }
    bytes.freeze()
}

impl Peer {
    pub(crate) async fn new(server: &Server) -> Self {
        let client = async_nats::connect(server.url()).await.unwrap();
        let beats = client.subscribe(format!("{PREFIX}.us.eu.beat")).await.unwrap();
        client.flush().await.unwrap();
        let jetstream = jetstream::new(client.clone());
        Self { client, jetstream, beats, session: [7; 16], theirs: [0; 16], next: 1 }
    }

    /// What `eu` says next.
    pub(crate) async fn hears(&mut self) -> Bytes {
        soon("a beat", self.beats.next()).await.unwrap().payload
    }

    pub(crate) async fn says(&self, bytes: Bytes) {
        self.client.publish(format!("{PREFIX}.eu.us.beat"), bytes).await.unwrap();
        self.client.flush().await.unwrap();
    }

    /// Calls `eu` until there is a link, in a new session.
    pub(crate) async fn links(&mut self, domains: &[&str]) {
        // What was said before does not name this session.
        self.session[0] += 1;
        self.next = 1;
        self.says(beat(self.session, [0; 16], 0, domains)).await;
        let mut named = None;
        loop {
            let heard = self.hears().await;
            if heard[8] != 1 {
                continue;
            }
            self.theirs = heard[11..27].try_into().unwrap();
            if heard[27..43] == self.session && named == Some(self.theirs) {
                return;
            }
            named = Some(self.theirs);
            self.says(beat(self.session, self.theirs, 0, domains)).await;
        }
    }

    /// A message, by its kind: 0 a part with more to come, 1 the last one, 2 a farewell.
    pub(crate) fn message(&self, sequence: u64, kind: u8, tag: u8, bytes: &[u8]) -> Bytes {
        let mut message = BytesMut::from(&[1, kind][..]);
        message.put_slice(&self.session);
        message.put_slice(&self.theirs);
        message.put_u64(sequence);
        message.put_u8(tag);
        message.put_slice(bytes);
        message.freeze()
    }

    /// Puts bytes into the inbox of `eu`.
    pub(crate) async fn stores(&self, bytes: Bytes) {
        let sent = self.jetstream.publish(format!("{PREFIX}.eu.us.frames"), bytes).await.unwrap();
        assert_eq!(soon("it is stored", sent.into_future()).await.unwrap().stream, inbox("eu"));
    }

    /// The next frame, of the first domain that was offered.
    pub(crate) async fn sends(&mut self, bytes: &[u8]) {
        self.stores(self.message(self.next, 1, 0, bytes)).await;
        self.next += 1;
    }
}

/// How many messages wait in an inbox.
pub(crate) async fn waiting(context: &Context, name: &str) -> u64 {
    context.get_stream(inbox(name)).await.unwrap().cached_info().state.messages
}

/// Waits until nothing waits in an inbox: all is acknowledged.
pub(crate) async fn empties(context: &Context, name: &str) {
    soon("the inbox is empty", async {
        while waiting(context, name).await > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// `eu`, and `us` made by hand.
pub(crate) async fn eu_and_peer(server: &Server) -> (Region, Peer) {
    let peer = Peer::new(server).await;
    let mut config = crate::regions::config(server, "eu", &["us"]);
    // It gives no sign of life by itself.
    config.timing.silence = std::time::Duration::from_secs(60);
    (Region::start(config).await, peer)
}
