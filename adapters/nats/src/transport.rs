//! The transport: hears beats, keeps links, reads the peer list again, and says how it is doing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::Subscriber;
use driftless_node::RegionName;
use driftless_node::connection::Connection;
use futures_util::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::beat::{MOST_DOMAINS, Said, farewell};
use crate::config::{NatsConfig, Security};
use crate::inbox;
use crate::link::keep_linked;
use crate::observe::Observer;
use crate::policy::{Policy, PolicyError};
use crate::reason::Reason;
use crate::server::{self, Line, ServerError};
use crate::settings::{InForce, Loader, StartError};
use crate::shared::{PeerState, Shared};
use crate::status::{NatsLink, NatsPeer, NatsStatus, Opening};
use crate::subjects::{Subjects, is_token};

/// The least time of silence after which a peer may be taken for gone.
const LEAST_SILENCE: Duration = Duration::from_millis(200);

/// The longest time that makes sense.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// The least room in an inbox.
const LEAST_INBOX_BYTES: u64 = 16 << 10;

/// How many beats of a peer may wait. They are repeated.
const MAILBOX_BEATS: usize = 16;

/// Links over NATS: hears and calls the peers of the list, and hands over the links that are ready.
///
/// When it is dropped all its links are closed. [`shutdown`](Self::shutdown) waits for that.
///
/// # Example
/// Two regions at one server, which has JetStream.
/// ```no_run
/// use driftless_nats::{NatsConfig, Peer, Policy, PolicySource, RegionName, Security, Transport};
/// use driftless_node::connection::{Access, DomainName, Frame, Grants};
/// use tokio::sync::mpsc;
/// use uuid::Uuid;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (eu, us) = (RegionName::new("eu")?, RegionName::new("us")?);
/// let orders = DomainName::new("orders")?;
/// let config = |region: &RegionName, peer: &RegionName| {
///     let grants = Grants::from([(orders.clone(), Access::ReadWrite)]);
///     let policy = PolicySource::Given(Policy::new([(peer.clone(), Peer { grants })]));
///     let servers = vec!["nats://127.0.0.1:4222".to_owned()];
///     let (cluster, domains) = (Uuid::from_u128(0xc1), vec![orders.clone()]);
///     NatsConfig::new(region.clone(), cluster, domains, servers, Security::PlainText, policy)
/// };
/// let (to_us, mut at_us) = mpsc::channel(1);
/// let us_links = Transport::start(config(&us, &eu), to_us).await?;
/// let (to_eu, mut at_eu) = mpsc::channel(1);
/// let eu_links = Transport::start(config(&eu, &us), to_eu).await?;
///
/// // A program hands each connection to its node.
/// let (to, mut from) = (at_eu.recv().await.ok_or("a link")?, at_us.recv().await.ok_or("a link")?);
/// to.outgoing.send(Frame { domain: orders.clone(), bytes: "a frame".into() }).await?;
/// assert_eq!(from.incoming.recv().await.ok_or("a frame")?.bytes, "a frame");
///
/// us_links.set_policy(Policy::default());                 // nobody may link any more
/// assert_eq!(from.incoming.recv().await, None);
/// eu_links.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Transport {
    shared: Arc<Shared>,
    loader: Arc<Mutex<Loader>>,
    stop: watch::Sender<bool>,
    /// What hears and looks at files: it ends with the transport.
    tasks: Mutex<JoinSet<()>>,
    /// What keeps the links: it ends when they have.
    keeper: Mutex<JoinSet<()>>,
}

impl Transport {
    /// Starts. Links that are ready are sent to `links`, each to be given to `Node::attach`; while nobody takes them they wait.
    /// Once its receiver is dropped no link is made any more, and those that are there stay.
    ///
    /// A server that is not there is no error: it is waited for, since a region works without the others.
    ///
    /// # Errors
    /// A file is of no use, the server cannot be used, or a setting is out of its range. Nothing was started.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time.
    pub async fn start(config: NatsConfig, links: mpsc::Sender<Connection>) -> Result<Self, StartError> {
        check(&config)?;
        let loader = Loader::new(config.policy.clone())?;
        let subjects = Subjects::new(&config.prefix, config.cluster, config.region.clone());
        let (line, observer) = (watch::Sender::new(Line::default()), Arc::<Observer>::default());
        let client = server::connect(&config, &subjects, &line, &observer).await?;
        let beats = client.subscribe(subjects.beats()).await;
        let beats = beats
            .map_err(|_| StartError::Setting { what: "names of which no subject of NATS can be made" })?;
        if line.borrow().is_up {
            server::check_version(&client).map_err(StartError::Server)?;
            // The server answers when it has seen to the subscription.
            let jetstream = server::jetstream(&config, &client);
            match server::check_jetstream(&jetstream).await {
                Err(error @ ServerError::NoJetStream { .. }) => return Err(StartError::Server(error)),
                Err(error) => tracing::warn!("{error}; it is tried again and again"),
                Ok(()) => {}
            }
        }
        if config.security == Security::PlainText {
            tracing::warn!("the connection to the server is in plain text, unless the server asks for TLS");
        }
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            config,
            subjects,
            client,
            line,
            sink: links,
            in_force: watch::Sender::new(loader.in_force.clone()),
            stop: stopped,
            observer,
            inbox: tokio::sync::Mutex::default(),
            peers: Mutex::default(),
        });
        report(&loader.in_force);
        let loader = Arc::new(Mutex::new(loader));
        let (mut tasks, mut keeper) = (JoinSet::new(), JoinSet::new());
        tasks.spawn(hear(Arc::clone(&shared), beats));
        tasks.spawn(reload_again_and_again(Arc::clone(&shared), Arc::clone(&loader)));
        keeper.spawn(keep_all_linked(Arc::clone(&shared)));
        Ok(Self { shared, loader, stop, tasks: Mutex::new(tasks), keeper: Mutex::new(keeper) })
    }

    /// Reads the peer list again, now; it is done by itself each [`reload`](crate::Timing::reload), too. Links stay, unless the
    /// list says something else of their peer now.
    ///
    /// # Errors
    /// The list is of no use: all links are closed, and nobody is let in until it is right.
    pub async fn reload(&self) -> Result<(), PolicyError> {
        reload(&self.shared, &self.loader).await
    }

    /// Sets the peer list. A file that was named for it is not read any more.
    pub fn set_policy(&self, policy: Policy) {
        let mut loader = self.loader.lock().unwrap_or_else(PoisonError::into_inner);
        loader.set_policy(policy);
        drop(self.shared.in_force.send_replace(loader.in_force.clone()));
    }

    /// How it is doing.
    pub fn status(&self) -> NatsStatus {
        let in_force = self.shared.in_force.borrow().clone();
        let mut peers: BTreeMap<RegionName, NatsPeer> = BTreeMap::new();
        for (region, _) in in_force.iter().flat_map(|policy| policy.peers()) {
            if *region != self.shared.config.region {
                let opening = Some(Opening::default());
                peers.insert(region.clone(), NatsPeer { region: region.clone(), link: None, opening });
            }
        }
        let states = self.shared.peers.lock().unwrap_or_else(PoisonError::into_inner);
        for (region, state) in states.iter() {
            let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
            let link = state.link.as_ref().map(|link| NatsLink {
                since: link.since,
                received_bytes: load(&link.traffic.received_bytes),
                received_frames: load(&link.traffic.received_frames),
                sent_bytes: load(&link.traffic.sent_bytes),
                sent_frames: load(&link.traffic.sent_frames),
            });
            if link.is_some() || peers.contains_key(region) {
                let opening = link.is_none().then(|| state.opening.clone());
                peers.insert(region.clone(), NatsPeer { region: region.clone(), link, opening });
            }
        }
        drop(states);
        let is_up = self.shared.line.borrow().is_up;
        let info = is_up.then(|| self.shared.client.try_server_info()).flatten();
        NatsStatus {
            server: info.map(|info| info.version),
            policy_error: in_force.err(),
            peers: peers.into_values().collect(),
        }
    }

    /// Closes all links, once what was handed over is sent, and ends. What the server does not take in time is not sent.
    pub async fn shutdown(&self) {
        let take = |tasks: &Mutex<JoinSet<()>>| {
            std::mem::take(&mut *tasks.lock().unwrap_or_else(PoisonError::into_inner))
        };
        let (mut tasks, mut keeper) = (take(&self.tasks), take(&self.keeper));
        tasks.shutdown().await;
        self.stop.send_replace(true);
        // Each link is given one such time for its farewell.
        let farewell = self.shared.config.timing.farewell;
        let _ = timeout(2 * farewell, async { while keeper.join_next().await.is_some() {} }).await;
        keeper.shutdown().await;
        let _ = timeout(farewell, self.shared.client.drain()).await;
    }
}

fn check(config: &NatsConfig) -> Result<(), StartError> {
    let refuse = |what| Err(StartError::Setting { what });
    let (limits, timing) = (&config.limits, &config.timing);
    let mut domains: Vec<_> = config.domains.iter().collect();
    domains.sort_unstable();
    domains.dedup();
    if domains.len() != config.domains.len() || domains.len() > MOST_DOMAINS {
        return refuse("`domains`, which must be at most 255, each once");
    }
    if config.servers.is_empty() {
        return refuse("no server");
    }
    if !is_token(&config.prefix) {
        return refuse("`prefix`, which must be 1 to 64 letters, digits, `-` and `_`");
    }
    if !(1..=5).contains(&config.replicas) {
        return refuse("`replicas`, which must be 1 to 5");
    }
    if [limits.queue_frames, limits.window_messages, limits.window_bytes].contains(&0)
        || limits.frame_bytes == 0
        || limits.inbox_messages == 0
        || limits.fetch_messages == 0
    {
        return refuse("a limit to 0, with which nothing could be done");
    }
    if limits.inbox_bytes < LEAST_INBOX_BYTES {
        return refuse("`inbox_bytes` to less than 16 KiB, in which hardly anything has room");
    }
    if timing.silence < LEAST_SILENCE {
        return refuse("`silence` to less than 200 ms, in which no peer can give a sign of life");
    }
    let times = [timing.connect, timing.answer, timing.gap, timing.backoff_least, timing.reload];
    if times.contains(&Duration::ZERO) || timing.inbox_age < Duration::from_secs(1) {
        return refuse("a time to 0, or `inbox_age` to less than a second, with which nothing could be done");
    }
    let times =
        times.into_iter().chain([timing.keep_alive, timing.silence, timing.farewell, timing.redelivery]);
    if times.chain([timing.backoff_most, timing.settled, timing.inbox_age]).any(|time| time > LONGEST) {
        return refuse("a time to more than a year, which is for ever");
    }
    Ok(())
}

/// Gives each peer the beats that are its own, and refuses the others.
async fn hear(shared: Arc<Shared>, mut beats: Subscriber) {
    while let Some(message) = beats.next().await {
        let sender = shared.subjects.sender(&message.subject).unwrap_or_default();
        let region = RegionName::new(sender);
        let in_force = shared.in_force.borrow().clone();
        let reason = match &region {
            Ok(region) if *region == shared.config.region => Reason::Itself,
            Ok(region) => match shared.listed(&in_force, region) {
                Ok(_) => {
                    // While there is no room it is not heard; it says it again.
                    shared.with_peer(region, |state| {
                        let _ = state.mailbox.try_send(message.payload.clone());
                    });
                    continue;
                }
                Err(reason) => reason,
            },
            Err(_) => Reason::NotListed,
        };
        let is_logged = shared.observer.refused(&reason, sender);
        // While no list is loaded nobody is answered; nor are farewells, lest two refuse each other for ever.
        if let (true, Reason::NotListed, Ok(region), Ok(Said::Beat(beat))) =
            (is_logged, &reason, &region, Said::decode(&message.payload))
        {
            shared.say(region, farewell(beat.ours, reason.farewell())).await;
        }
    }
}

/// Keeps a link to each peer that is listed.
async fn keep_all_linked(shared: Arc<Shared>) {
    let (mut in_force, mut stop) = (shared.in_force.subscribe(), shared.stop.clone());
    let mut links = JoinSet::new();
    loop {
        let now = in_force.borrow_and_update().clone();
        for (region, _) in now.iter().flat_map(|policy| policy.peers()) {
            let mut peers = shared.peers.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that are not listed any more wait until they are again.
            if *region != shared.config.region && !peers.contains_key(region) {
                let (mailbox, said) = mpsc::channel(MAILBOX_BEATS);
                peers.insert(region.clone(), PeerState { mailbox, link: None, opening: Opening::default() });
                links.spawn(keep_linked(Arc::clone(&shared), region.clone(), said));
            }
        }
        if let Ok(policy) = &now {
            let forgotten = tokio::select! {
                _ = stop.wait_for(|is_stopped| *is_stopped) => break,
                forgotten = forget_unlisted(&shared, policy) => forgotten,
            };
            if let Err(error) = forgotten {
                tracing::warn!(
                    "what is left in the inbox of peers that are not listed any more stays: {error}"
                );
            }
        }
        tokio::select! {
            changed = in_force.changed() => if changed.is_err() {
                return;
            },
            _ = stop.wait_for(|is_stopped| *is_stopped) => break,
        }
    }
    while links.join_next().await.is_some() {}
}

/// Takes the place in the inbox from peers that were listed and are not any more.
async fn forget_unlisted(shared: &Shared, policy: &Policy) -> Result<(), ServerError> {
    let mut unlisted = shared.known();
    unlisted.retain(|region| policy.peer(region).is_none());
    if unlisted.is_empty() || !shared.line.borrow().is_up {
        return Ok(());
    }
    let _alone = shared.inbox.lock().await;
    let jetstream = server::jetstream(&shared.config, &shared.client);
    let stream = inbox::stream(&jetstream, &shared.config, &shared.subjects, policy).await?;
    for region in &unlisted {
        inbox::forget(&stream, &shared.subjects, region).await?;
    }
    Ok(())
}

async fn reload_again_and_again(shared: Arc<Shared>, loader: Arc<Mutex<Loader>>) {
    loop {
        sleep(shared.config.timing.reload).await;
        // What is wrong is logged there.
        let _ = reload(&shared, &loader).await;
    }
}

async fn reload(shared: &Arc<Shared>, loader: &Arc<Mutex<Loader>>) -> Result<(), PolicyError> {
    let (sharing, loader) = (Arc::clone(shared), Arc::clone(loader));
    let read = tokio::task::spawn_blocking(move || {
        let mut loader = loader.lock().unwrap_or_else(PoisonError::into_inner);
        let (is_changed, result) = loader.reload();
        if is_changed {
            drop(sharing.in_force.send_replace(loader.in_force.clone()));
        }
        (is_changed, result, loader.in_force.clone())
    });
    let Ok((is_changed, result, in_force)) = read.await else {
        // The runtime ends: nothing was changed.
        return Ok(());
    };
    if is_changed {
        tracing::info!("the peer list was changed");
    }
    report(&in_force);
    result
}

/// Says what an operator must know of what is in force.
fn report(in_force: &InForce) {
    metrics::gauge!("driftless_nats_policy_loaded").set(if in_force.is_ok() { 1.0 } else { 0.0 });
    if let Err(error) = in_force {
        tracing::error!(
            "the peer list cannot be loaded: nobody is let in, and all links are closed: {error}"
        );
    }
}
