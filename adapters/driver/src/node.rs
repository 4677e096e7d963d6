//! A node: a process with one or more domains, which share connections to other regions.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use driftless::{Crdt, LinkId};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::config::{DomainConfig, NodeConfig};
use crate::connection::{Connection, DomainName};
use crate::domain::{Domain, Ended, Hosted, Inner};
use crate::engine::{Engine, Inputs, Outputs, nonce, panic_text};
use crate::health::Health;
use crate::link::{Gate, Line, Route, carry};
use crate::opening::{OpenError, Opened, open};
use crate::status::NodeStatus;
use crate::store::{Place, Store};
use crate::storing::{Desks, Mailbox, Stored, Storing};
use crate::telemetry::Meters;
use crate::write::Refused;

/// Stacks are as deep as the values that an application nests; of what is not used there is no memory.
const STACK_BYTES: usize = 16 << 20;

/// How many questions may wait for an engine.
const QUESTIONS: usize = 64;

/// How long a shutdown waits for connections to be closed.
const CLOSING: Duration = Duration::from_secs(2);

/// A region's process: its domains, and the connections that they share. A clone costs a reference count.
///
/// # Example
/// ```
/// use driftless::{Counter, MergeMap};
/// use driftless_node::{Domain, DomainConfig, DomainName, MemoryStore, Node, NodeConfig};
/// use uuid::Uuid;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let node = Node::new(NodeConfig::new(Uuid::from_u128(0xc1), "eu-west"));
/// let name = DomainName::new("visits")?;
/// let visits: Domain<MergeMap<String, Counter>> =
///     node.open(name, MemoryStore::new(), DomainConfig::default()).await?;
///
/// let written = visits.transact(|visits| visits.update("home", |count| count.add(1))).await?;
/// assert_eq!(visits.read().get("home").map(|count| count.value()), Some(1));       // and it is in the store
/// println!("a user who goes elsewhere takes this along: {}", written.token);
/// println!("{}", node.status().await?);
/// node.shutdown().await?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Node(Arc<Shared>);

struct Shared {
    config: NodeConfig,
    hosting: Mutex<Hosting>,
    next_link: AtomicU64,
    /// How many there are.
    connections: watch::Sender<usize>,
}

#[derive(Default)]
struct Hosting {
    /// None while it is being opened.
    domains: BTreeMap<DomainName, Option<Arc<dyn Hosted>>>,
    is_stopped: bool,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("config", &self.0.config).field("domains", &self.domains()).finish()
    }
}

/// Why a connection is not taken. It is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttachError {
    /// Peer, or operator: there is no domain that both have and that the peer may use.
    NothingInCommon,
    /// Caller: the node is shut down.
    Stopped,
    /// Caller: this is not called in a tokio runtime.
    NoRuntime,
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingInCommon => {
                "the peer may use none of the domains that both have; \
                 nothing changed: grant it one, or do not connect to it"
            }
            Self::Stopped => {
                "the caller attaches a connection to a node that is shut down; nothing changed: make another node"
            }
            Self::NoRuntime => {
                "the caller attaches a connection outside of a tokio runtime; nothing changed: call it in a task"
            }
        })
    }
}

impl std::error::Error for AttachError {}

/// Of a domain, what is not on disk when its node has stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unstored {
    /// The domain.
    pub domain: DomainName,
    /// Why.
    pub reason: String,
}

/// What is lost by a shutdown: nothing that was reported durable.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownError {
    /// In which domains, and why.
    pub unstored: Vec<Unstored>,
}

impl fmt::Display for ShutdownError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this node is shut down, and not all that was applied is on disk:")?;
        for Unstored { domain, reason } in &self.unstored {
            write!(f, " in {domain}, {reason};")?;
        }
        f.write_str(" what was reported durable is: mend the store, and open it again")
    }
}

impl std::error::Error for ShutdownError {}

impl Node {
    /// A node without domains and connections.
    pub fn new(config: NodeConfig) -> Self {
        Self(Arc::new(Shared {
            config,
            hosting: Mutex::default(),
            next_link: AtomicU64::new(1),
            connections: watch::Sender::new(0),
        }))
    }

    /// How it is set up.
    pub fn config(&self) -> &NodeConfig {
        &self.0.config
    }

    /// Opens a domain: reads what its store holds, and goes on under a fresh id. Connections that are attached later carry it;
    /// open all domains first.
    ///
    /// # Errors
    /// [`OpenError`]: nothing changed.
    ///
    /// # Cost
    /// Of reading and merging all that the store holds.
    pub async fn open<S: Crdt>(
        &self,
        name: DomainName,
        store: impl Store,
        config: DomainConfig,
    ) -> Result<Domain<S>, OpenError> {
        let opening = Opening::reserve(&self.0, name.clone())?;
        let domain = start(&self.0.config, name, Box::new(store), config).await?;
        opening.done(domain.clone())?;
        Ok(domain)
    }

    /// The domains that are open: what a transport offers to peers.
    pub fn domains(&self) -> Vec<DomainName> {
        let hosting = self.hosting();
        let open = hosting.domains.iter().filter(|(_, domain)| domain.is_some());
        open.map(|(name, _)| name.clone()).collect()
    }

    /// Takes a connection to a peer, and exchanges with it the domains that both have and that it is granted. Returns which.
    ///
    /// It is closed, by dropping both of its ends, when the peer sends a frame of any other domain, or is not who it says it
    /// is, or takes nothing for [`stall_ms`](NodeConfig::stall_ms), and when the node stops. Then the transport may connect
    /// again.
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn attach(&self, connection: Connection) -> Result<Vec<DomainName>, AttachError> {
        let runtime = Handle::try_current().map_err(|_| AttachError::NoRuntime)?;
        let hosting = self.hosting();
        if hosting.is_stopped {
            return Err(AttachError::Stopped);
        }
        let offered = |name: &DomainName| connection.offered.contains(name);
        let common = connection.grants.iter().filter(|(name, _)| offered(name));
        let routes = common.filter_map(|(name, access)| {
            let (gate, meters) = hosting.domains.get(name)?.as_ref()?.links();
            let link = LinkId(self.0.next_link.fetch_add(1, Ordering::Relaxed));
            Some((
                name.clone(),
                Route { link, access: *access, nonce: nonce(), gate, is_stuck: false, meters },
            ))
        });
        let routes: BTreeMap<DomainName, Route> = routes.collect();
        drop(hosting);
        if routes.is_empty() {
            return Err(AttachError::NothingInCommon);
        }
        let names: Vec<DomainName> = routes.keys().cloned().collect();
        let config = &self.0.config;
        let line = Arc::new(Line::new(connection.principal.clone(), routes.len(), config.outbox_bytes));
        let stall = Duration::from_millis(config.stall_ms);
        let counted = Counted::new(&self.0.connections);
        tracing::info!(principal = line.principal, domains = names.len(), "a connection is attached");
        runtime.spawn(async move {
            carry(line, connection, routes, stall).await;
            drop(counted);
        });
        Ok(names)
    }

    /// How it stands. See [`Domain::status`] for what that costs.
    ///
    /// # Errors
    /// [`Refused::Stopped`].
    pub async fn status(&self) -> Result<NodeStatus, Refused> {
        let NodeConfig { cluster, region, .. } = &self.0.config;
        let mut domains = Vec::new();
        for domain in self.hosted() {
            domains.push(domain.status().await?);
        }
        Ok(NodeStatus { cluster: *cluster, region: region.clone(), domains })
    }

    /// Stops: nothing more is written, what was applied goes to disk and out to peers that are connected, and connections are
    /// closed. When it returns the stores are closed too, and can be opened again.
    ///
    /// # Errors
    /// [`ShutdownError`]: a store fails, and something that was applied and not reported durable is not on disk. The node is
    /// shut down all the same.
    pub async fn shutdown(&self) -> Result<(), ShutdownError> {
        self.hosting().is_stopped = true;
        let hosted = self.hosted();
        hosted.iter().for_each(|domain| domain.stop());
        let mut unstored = Vec::new();
        for domain in hosted {
            let mut ended = domain.ended();
            let end = ended.wait_for(|ended| ended.is_some()).await.map(|end| end.clone());
            match end {
                Ok(Some(Err(left))) => unstored.push(left),
                Ok(_) => {}
                // Its thread is gone and said nothing.
                Err(_) => unstored.push(Unstored {
                    domain: domain.name().clone(),
                    reason: "its engine ended without a word".to_owned(),
                }),
            }
        }
        let mut connections = self.0.connections.subscribe();
        let _ = timeout(CLOSING, connections.wait_for(|count| *count == 0)).await;
        if unstored.is_empty() { Ok(()) } else { Err(ShutdownError { unstored }) }
    }

    fn hosting(&self) -> MutexGuard<'_, Hosting> {
        hosting(&self.0)
    }

    fn hosted(&self) -> Vec<Arc<dyn Hosted>> {
        self.hosting().domains.values().flatten().cloned().collect()
    }
}

fn hosting(shared: &Shared) -> MutexGuard<'_, Hosting> {
    shared.hosting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection, as long as it is there.
struct Counted(watch::Sender<usize>);

impl Counted {
    fn new(connections: &watch::Sender<usize>) -> Self {
        connections.send_modify(|count| *count += 1);
        Self(connections.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// The name of a domain that is being opened. It is free again if that fails, or whoever waits for it goes away.
struct Opening<'a> {
    shared: &'a Shared,
    name: Option<DomainName>,
}

impl<'a> Opening<'a> {
    fn reserve(shared: &'a Shared, name: DomainName) -> Result<Self, OpenError> {
        let mut hosting = hosting(shared);
        if hosting.is_stopped {
            return Err(OpenError::Stopped);
        }
        if hosting.domains.contains_key(&name) {
            return Err(OpenError::Twice { domain: name });
        }
        hosting.domains.insert(name.clone(), None);
        drop(hosting);
        Ok(Self { shared, name: Some(name) })
    }

    fn done(mut self, domain: impl Hosted + 'static) -> Result<(), OpenError> {
        let mut hosting = hosting(self.shared);
        if hosting.is_stopped {
            drop(hosting);
            return Err(OpenError::Stopped);
        }
        if let Some(name) = self.name.take() {
            hosting.domains.insert(name, Some(Arc::new(domain)));
        }
        Ok(())
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            hosting(self.shared).domains.remove(&name);
        }
    }
}

/// Opens a store on a thread of its own, and starts the engine.
async fn start<S: Crdt>(
    node: &NodeConfig,
    name: DomainName,
    store: Box<dyn Store>,
    config: DomainConfig,
) -> Result<Domain<S>, OpenError> {
    let mailbox = Arc::new(Mailbox::new());
    let health = Arc::new(Health::default());
    let meters = Meters::new(&name);
    let (engine, stored) = mpsc::unbounded_channel();
    let (head, heads) = watch::channel(Place::default());
    let desks = Desks {
        mailbox: Arc::clone(&mailbox),
        engine,
        head,
        health: Arc::clone(&health),
        meters: meters.clone(),
    };
    let (reply, answer) = oneshot::channel();
    let mut unclaimed = Unclaimed(Some(Arc::clone(&mailbox)));
    let storing = spawn(&name, "store", {
        let (node, name, config) = (node.clone(), name.clone(), config.clone());
        move || open_and_store(store, &node, name, config, desks, reply)
    })?;
    let opened = answer.await.map_err(|_| OpenError::Thread { reason: "it panicked".to_owned() })??;
    let Opened { endpoint, stored: snapshot, identity, .. } = opened;

    let (writes, writes_in) = mpsc::channel(config.queue.max(1));
    let (links, links_in) = mpsc::channel(config.queue.max(1));
    let gate = Gate::new(links, config.queue_bytes);
    let (control, control_in) = mpsc::channel(QUESTIONS);
    let (published, readers) = watch::channel(endpoint.snapshot());
    let (durable, durable_readers) = watch::channel(snapshot);
    let (stop, stopped) = watch::channel(false);
    let (ended, endings) = watch::channel(None);
    let out = Outputs {
        published,
        durable,
        mailbox: Arc::clone(&mailbox),
        health: Arc::clone(&health),
        meters: meters.clone(),
    };
    let inputs = Inputs { writes: writes_in, links: links_in, control: control_in, stored, stop: stopped };
    let engine = Engine::new(endpoint, name.clone(), config, node.clock.clone(), out);
    let give_up = Duration::from_millis(node.shutdown_ms);
    spawn(&name, "engine", move || run_engine(engine, inputs, storing, &ended, give_up))?;
    // From here on the engine's thread sees to it.
    unclaimed.0 = None;
    let member = identity.member;
    Ok(Domain::new(Arc::new(Inner {
        name,
        member,
        writes,
        control,
        gate,
        published: readers,
        durable: durable_readers,
        mailbox,
        head: heads,
        health,
        meters,
        stop,
        ended: endings,
    })))
}

/// A storing thread that has no engine yet. Whoever waits for the store to open may go away: then the thread ends.
struct Unclaimed<S>(Option<Arc<Mailbox<S>>>);

impl<S> Drop for Unclaimed<S> {
    fn drop(&mut self) {
        if let Some(mailbox) = self.0.take() {
            mailbox.stop(Instant::now());
        }
    }
}

fn spawn<T: Send + 'static>(
    name: &DomainName,
    what: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, OpenError> {
    let thread = thread::Builder::new().name(format!("{what} {name}")).stack_size(STACK_BYTES);
    thread.spawn(run).map_err(|error| OpenError::Thread { reason: error.to_string() })
}

/// What the storing thread does. Returns why not all is on disk, if it is not.
fn open_and_store<S: Crdt>(
    mut store: Box<dyn Store>,
    node: &NodeConfig,
    name: DomainName,
    config: DomainConfig,
    desks: Desks<S>,
    reply: oneshot::Sender<Result<Opened<S>, OpenError>>,
) -> Result<(), String> {
    let _span = tracing::info_span!("driftless_store", domain = %name).entered();
    let begun = Instant::now();
    let made = open(&mut *store, node, &name, &config).and_then(|opened| {
        let storing = Storing::new(name, store, &opened, config, node.clock.clone(), desks)?;
        Ok((opened, storing))
    });
    match made {
        Ok((opened, storing)) => {
            let bytes = opened.checkpoint_bytes + opened.log_bytes;
            let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(bytes, took_ms, id = %opened.identity.id, opened = opened.identity.opened, "the store is open");
            // If nobody waits for it any more, there will be nothing to store.
            if reply.send(Ok(opened)).is_err() { Ok(()) } else { storing.run() }
        }
        Err(error) => {
            drop(reply.send(Err(error)));
            Ok(())
        }
    }
}

/// What the engine's thread does.
fn run_engine<S: Crdt>(
    mut engine: Engine<S>,
    inputs: Inputs<S>,
    storing: JoinHandle<Result<(), String>>,
    ended: &watch::Sender<Ended>,
    give_up: Duration,
) {
    let domain = engine.name.clone();
    let _span = tracing::info_span!("driftless_engine", %domain).entered();
    let mailbox = Arc::clone(&engine.out.mailbox);
    let run = || {
        let runtime =
            Builder::new_current_thread().enable_time().build().map_err(|error| error.to_string())?;
        Ok::<bool, String>(runtime.block_on(engine.run(inputs, give_up)))
    };
    let ran = catch_unwind(AssertUnwindSafe(run));
    engine.leave_links();
    mailbox.stop(Instant::now());
    let stored = storing.join();
    drop(engine);
    let end = match (ran, stored) {
        (Ok(Ok(true)), Ok(_)) => Ok(()),
        (Err(payload), _) => Err(format!("the engine panicked: {}", panic_text(&*payload))),
        (_, Err(payload)) => Err(format!("the storing thread panicked: {}", panic_text(&*payload))),
        (Ok(Err(reason)), _) | (_, Ok(Err(reason))) => Err(reason),
        (Ok(Ok(false)), Ok(Ok(()))) => Err("the storing thread ended before the engine".to_owned()),
    };
    match &end {
        Ok(()) => tracing::info!("the domain is closed, and all is on disk"),
        Err(reason) => tracing::error!(reason, "the domain is closed, and not all is on disk"),
    }
    ended.send_replace(Some(end.map_err(|reason| Unstored { domain, reason })));
}

/// The messages that the engine hears of the storing thread bear its state.
const _: fn() = || {
    fn is_send<T: Send>() {}
    fn check<S: Crdt>() {
        is_send::<Stored<S>>();
        is_send::<Engine<S>>();
    }
    let _ = check::<driftless::Flag>;
};
