//! Two endpoints converge through a bad network.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use driftless::{
    Config, Counter, Digest, Endpoint, LinkId, LwwRegister, MergeMap, Replica, ReplicaId, SyncConfig,
};
use driftless_node::connection::{Connection, Frame};
use driftless_tcp::{Security, TcpConfig, Timing};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::proxy::{Dice, Faults, Proxy};
use crate::regions::{Place, Region, domain, quick, soon};

/// What is replicated.
#[derive(Clone, Debug, Default, driftless::Crdt)]
struct Shop {
    stock: MergeMap<u64, Counter>,
    texts: MergeMap<u64, LwwRegister<String>>,
}

/// A frame of a link, or its end.
type Arrival = (u64, Option<Bytes>);

/// A region with an endpoint, and what a node does around it.
struct Node {
    endpoint: Endpoint<Shop>,
    region: Region,
    links: BTreeMap<u64, mpsc::Sender<Frame>>,
    to_here: mpsc::Sender<Arrival>,
    arrivals: mpsc::Receiver<Arrival>,
    dice: Dice,
    next: u64,
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

impl Node {
    fn new(region: Region, number: u128, name: &str) -> Self {
        let config = SyncConfig {
            heartbeat_ms: 100,
            patience_ms: 300,
            parking_ms: 50,
            ..SyncConfig::new(Uuid::from_u128(0xc1), ReplicaId::from_u128(0xe0 + number), name)
        };
        let mut endpoint =
            Endpoint::new(Replica::new(ReplicaId::from_u128(number), Config::default()), config);
        if number == 1 {
            endpoint.found(now_ms()).unwrap();
        }
        let dice = Dice(u64::try_from(number).unwrap());
        let (to_here, arrivals) = mpsc::channel(64);
        Self { endpoint, region, links: BTreeMap::new(), to_here, arrivals, dice, next: 1 }
    }

    /// Writes for a while, then goes on until it is told to stop. What it holds at the end is said each time it changes.
    async fn run(
        mut self,
        writes: u32,
        state: watch::Sender<(u32, Option<Digest>)>,
        mut stop: watch::Receiver<bool>,
    ) -> Endpoint<Shop> {
        let mut written = 0;
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        loop {
            tokio::select! {
                connection = self.region.connections.recv() => self.attach(connection.unwrap()),
                Some((link, bytes)) = self.arrivals.recv() => self.receive(link, bytes),
                _ = ticks.tick() => {
                    if written < writes {
                        self.write();
                        written += 1;
                    }
                    if self.endpoint.deadline().is_some_and(|deadline| deadline <= now_ms()) {
                        self.endpoint.tick(now_ms());
                    }
                }
                _ = stop.wait_for(|is_stopped| *is_stopped) => return self.endpoint,
            }
            let mut bytes = Vec::new();
            while let Some(link) = self.endpoint.transmit(now_ms(), &mut bytes) {
                let frame =
                    Frame { domain: domain("orders"), bytes: Bytes::from(std::mem::take(&mut bytes)) };
                // A peer that is too slow is left.
                if self.links.get(&link.0).is_none_or(|outgoing| outgoing.try_send(frame).is_err()) {
                    self.leave(link.0);
                }
            }
            while self.endpoint.next_event().is_some() {}
            state.send_replace((written, self.endpoint.replica().digest().into()));
        }
    }

    fn attach(&mut self, connection: Connection) {
        let link = self.next;
        self.next += 1;
        let nonce = self.dice.next();
        self.endpoint.link_up(now_ms(), LinkId(link), connection.principal, nonce);
        self.links.insert(link, connection.outgoing);
        let (to, mut incoming) = (self.to_here.clone(), connection.incoming);
        tokio::spawn(async move {
            while let Some(frame) = incoming.recv().await {
                if to.send((link, Some(frame.bytes))).await.is_err() {
                    return;
                }
            }
            let _ = to.send((link, None)).await;
        });
    }

    fn receive(&mut self, link: u64, bytes: Option<Bytes>) {
        let Some(bytes) = bytes else {
            return self.leave(link);
        };
        // What the network did to a frame is no reason to give the connection up; what the peer did is.
        if self.links.contains_key(&link) && self.endpoint.receive(now_ms(), LinkId(link), &bytes).is_err() {
            self.leave(link);
        }
    }

    fn leave(&mut self, link: u64) {
        if self.links.remove(&link).is_some() {
            self.endpoint.link_down(now_ms(), LinkId(link));
        }
    }

    fn write(&mut self) {
        let (key, amount) = (self.dice.below(20), self.dice.below(100));
        let text = "x".repeat(usize::try_from(self.dice.below(5_000)).unwrap());
        let written = self.endpoint.write(now_ms(), |shop| {
            let _ = shop.stock().update(&key, |count| count.add(i64::try_from(amount).unwrap()));
            shop.texts().update(&key, |register| register.set(text));
        });
        written.unwrap();
    }
}

/// Two nodes write through a network that gets worse and worse, then it is well again: they hold the same.
async fn converge(place: &Place, change: impl Fn(TcpConfig) -> TcpConfig, seed: u64, faults: &[Faults]) {
    const WRITES: u32 = 150;
    let timing =
        Timing { silence: Duration::from_millis(1500), handshake: Duration::from_millis(1500), ..quick() };
    let timing = Timing { preface: Duration::from_millis(1500), ..timing };
    let config = |name| change(TcpConfig { timing, seed, ..place.config(name) });
    place.list("us", &[("eu", &[], "orders = \"read-write\"")]);
    let us = Region::start(config("us")).await;
    let proxy = Proxy::start(us.links.local_address().unwrap(), seed, Faults::default()).await;
    place.list("eu", &[("us", &[proxy.address.to_string()], "orders = \"read-write\"")]);
    let eu = Region::start(config("eu")).await;

    let (stop, stopped) = watch::channel(false);
    let (states, tasks): (Vec<_>, Vec<_>) = [Node::new(eu, 1, "eu"), Node::new(us, 2, "us")]
        .into_iter()
        .map(|node| {
            let (state, seen) = watch::channel((0, None));
            (seen, tokio::spawn(node.run(WRITES, state, stopped.clone())))
        })
        .unzip();
    for faults in faults {
        proxy.set(*faults);
        tokio::time::sleep(Duration::from_millis(1200)).await;
    }
    proxy.set(Faults::default());
    let is_same = || {
        let states: Vec<(u32, Option<Digest>)> = states.iter().map(|state| *state.borrow()).collect();
        states[0] == states[1] && states[0].0 == WRITES
    };
    soon("the two converge", async {
        while !is_same() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    stop.send_replace(true);
    let mut endpoints = Vec::new();
    for task in tasks {
        endpoints.push(task.await.unwrap());
    }
    assert_eq!(endpoints[0].members().len(), 2);
    assert_eq!(endpoints[0].replica().digest(), endpoints[1].replica().digest());
}

const BAD: [Faults; 3] = [
    Faults { delay_ms: 20, flips: 0, losses: 0, resets: 10, stalls: 0, is_silent: false, is_closed: false },
    Faults { delay_ms: 5, flips: 20, losses: 20, resets: 5, stalls: 5, is_silent: false, is_closed: false },
    Faults { delay_ms: 0, flips: 0, losses: 0, resets: 50, stalls: 20, is_silent: false, is_closed: false },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_endpoints_converge_through_a_bad_network() {
    converge(&Place::new(), |config| config, 1, &BAD).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_endpoints_converge_through_a_bad_network_in_plain_text() {
    // Nothing but the endpoints' own checks stands between a flipped bit and the state.
    let plain = |config| TcpConfig { security: Security::PlainText { is_name_believed: false }, ..config };
    converge(&Place::new(), plain, 2, &BAD).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_endpoints_converge_after_the_network_was_gone() {
    let gone = Faults { is_silent: true, ..Faults::default() };
    let closed = Faults { is_closed: true, resets: 1000, ..Faults::default() };
    converge(&Place::new(), |config| config, 3, &[Faults::default(), gone, closed]).await;
}
