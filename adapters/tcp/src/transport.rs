//! The transport: listens, dials, reads its files again, and says how it is doing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use driftless_node::RegionName;
use driftless_node::connection::Connection;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::config::{Security, TcpConfig};
use crate::dialer::{dial_all, spawn};
use crate::handshake::accept;
use crate::policy::Policy;
use crate::preface::MOST_DOMAINS;
use crate::reason::Reason;
use crate::registry::Registry;
use crate::settings::{Loader, ReloadError, Settings, StartError};
use crate::shared::Shared;
use crate::status::{TcpConnection, TcpPeer, TcpStatus};

/// How long nothing is accepted after accepting failed, as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The least time of silence after which a peer may be taken for gone.
const LEAST_SILENCE: Duration = Duration::from_millis(200);

/// The longest time that makes sense.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// Our certificate should be replaced when it is valid for less than this.
const WARN_BEFORE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Links over TCP: listens, keeps a connection to each peer that has an address, and hands over those that are ready.
///
/// When it is dropped all its connections are closed. [`shutdown`](Self::shutdown) waits for that.
///
/// # Example
/// Two regions, with certificates made for the occasion.
/// ```
/// use driftless_node::connection::{Access, DomainName, Frame, Grants};
/// use driftless_tcp::{CertificateFiles, Peer, Policy, PolicySource, RegionName, Security, TcpConfig, Transport};
/// use tokio::sync::mpsc;
/// use uuid::Uuid;
///
/// # #[cfg(feature = "development")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let (eu, us) = (RegionName::new("eu")?, RegionName::new("us")?);
/// let orders = DomainName::new("orders")?;
/// driftless_tcp::development::make(folder, &[eu.clone(), us.clone()], 30)?;
/// let grants = Grants::from([(orders.clone(), Access::ReadWrite)]);
/// let config = |region: &RegionName, peer: &RegionName, addresses| {
///     let peers = [(peer.clone(), Peer { addresses, ..Peer::new(peer, grants.clone()) })];
///     let security = Security::Tls(CertificateFiles::in_folder(folder, region));
///     let policy = PolicySource::Given(Policy::new(peers)?);
///     let (cluster, domains) = (Uuid::from_u128(0xc1), vec![orders.clone()]);
///     let config = TcpConfig::new(region.clone(), cluster, domains, security, policy);
///     Ok::<_, Box<dyn std::error::Error>>(TcpConfig { listen: Some("127.0.0.1:0".parse()?), ..config })
/// };
///
/// let (to_us, mut at_us) = mpsc::channel(1);
/// let us_links = Transport::start(config(&us, &eu, vec![])?, to_us).await?;
/// let address = us_links.local_address().ok_or("it listens")?.to_string();
/// let (to_eu, mut at_eu) = mpsc::channel(1);
/// let eu_links = Transport::start(config(&eu, &us, vec![address])?, to_eu).await?;
///
/// // A program hands each connection to its node.
/// let (to, mut from) = (at_eu.recv().await.ok_or("a connection")?, at_us.recv().await.ok_or("a connection")?);
/// assert_eq!((to.principal.as_deref(), from.principal.as_deref()), (Some("us"), Some("eu")));
/// to.outgoing.send(Frame { domain: orders.clone(), bytes: "a frame".into() }).await?;
/// assert_eq!(from.incoming.recv().await.ok_or("a frame")?.bytes, "a frame");
/// assert_eq!(eu_links.status().peers[0].connections.len(), 1);
///
/// us_links.reload().await?;                               // the files were changed
/// us_links.set_policy(Policy::default());                 // nobody may connect any more
/// assert_eq!(from.incoming.recv().await, None);
/// eu_links.shutdown().await;
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "development"))]
/// # fn main() {}
/// ```
#[derive(Debug)]
pub struct Transport {
    shared: Arc<Shared>,
    loader: Arc<Mutex<Loader>>,
    stop: watch::Sender<bool>,
    /// What listens, dials and looks at files: it ends with the transport.
    tasks: Mutex<JoinSet<()>>,
    local_address: Option<SocketAddr>,
}

impl Transport {
    /// Starts. Connections that are ready are sent to `connections`, each to be given to `Node::attach`; while nobody takes them
    /// they wait. Once its receiver is dropped no connection is made any more, and those that are there stay.
    ///
    /// # Errors
    /// A file is of no use, the address is taken, or a setting is out of its range. Nothing was started.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O and time.
    pub async fn start(config: TcpConfig, connections: mpsc::Sender<Connection>) -> Result<Self, StartError> {
        check(&config)?;
        let identity = config.identity.to_ascii_lowercase();
        let loader = Loader::new(config.policy, &config.security, &identity)?;
        let listener = match config.listen {
            None => None,
            Some(address) => {
                let bound = TcpListener::bind(address).await;
                Some(bound.map_err(|error| StartError::Listen { address, kind: error.kind() })?)
            }
        };
        let local_address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            registry: Arc::new(Registry::new(config.region.clone(), config.limits)),
            region: config.region,
            identity,
            cluster: config.cluster,
            domains: config.domains,
            is_name_believed: config.security == Security::PlainText { is_name_believed: true },
            limits: config.limits,
            timing: config.timing,
            seed: config.seed,
            sink: connections,
            handshakes: Arc::default(),
            settings: watch::Sender::new(Arc::clone(&loader.settings)),
            stop: stopped,
            observer: Default::default(),
            dialing: Mutex::default(),
        });
        if matches!(config.security, Security::PlainText { .. }) {
            tracing::warn!("links are in plain text: whoever reaches them reads and writes all");
        }
        report(&shared.settings.borrow());
        let loader = Arc::new(Mutex::new(loader));
        let mut tasks = JoinSet::new();
        if let Some(listener) = listener {
            tasks.spawn(while_wanted(shared.sink.clone(), accept_all(Arc::clone(&shared), listener)));
        }
        tasks.spawn({
            let shared = Arc::clone(&shared);
            async move {
                while_wanted(shared.sink.clone(), dial_all(Arc::clone(&shared))).await;
                shared.dialing.lock().unwrap_or_else(PoisonError::into_inner).clear();
            }
        });
        tasks.spawn(reload_again_and_again(Arc::clone(&shared), Arc::clone(&loader)));
        Ok(Self { shared, loader, stop, tasks: Mutex::new(tasks), local_address })
    }

    /// Where it listens.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.local_address
    }

    /// Reads the peer list and the certificates again, now; it is done by itself each [`reload`](crate::Timing::reload), too.
    ///
    /// New handshakes use the new certificates. Connections stay, unless the peer list says something else of their peer now or
    /// the authorities that are trusted do not vouch for it any more.
    ///
    /// # Errors
    /// What is of no use. A peer list that is none closes all connections, and nobody is let in until it is right.
    pub async fn reload(&self) -> Result<(), ReloadError> {
        reload(&self.shared, &self.loader).await
    }

    /// Sets the peer list. A file that was named for it is not read any more.
    pub fn set_policy(&self, policy: Policy) {
        let mut loader = self.loader.lock().unwrap_or_else(PoisonError::into_inner);
        loader.set_policy(policy);
        self.shared.settings.send_replace(Arc::clone(&loader.settings));
    }

    /// How it is doing.
    pub fn status(&self) -> TcpStatus {
        let settings = self.shared.settings.borrow().clone();
        let mut peers: BTreeMap<RegionName, TcpPeer> = BTreeMap::new();
        let peer =
            |region: &RegionName| TcpPeer { region: region.clone(), connections: vec![], dialing: None };
        let dialing = self.shared.dialing.lock().unwrap_or_else(PoisonError::into_inner);
        for (region, listed) in settings.policy.iter().flat_map(|policy| policy.peers()) {
            if *region != self.shared.region {
                let is_dialed = !listed.addresses.is_empty();
                let dialing = dialing.get(region).filter(|_| is_dialed).cloned();
                peers.insert(region.clone(), TcpPeer { dialing, ..peer(region) });
            }
        }
        drop(dialing);
        for entry in self.shared.registry.entries() {
            let load = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
            let connection = TcpConnection {
                direction: entry.direction,
                address: entry.address,
                since: entry.since,
                certificate_until: entry.valid_until,
                received_bytes: load(&entry.traffic.received_bytes),
                received_frames: load(&entry.traffic.received_frames),
                sent_bytes: load(&entry.traffic.sent_bytes),
                sent_frames: load(&entry.traffic.sent_frames),
            };
            let peer = peers.entry(entry.region.clone()).or_insert_with(|| peer(&entry.region));
            peer.connections.push(connection);
        }
        TcpStatus {
            listening: self.local_address,
            policy_error: settings.policy.as_ref().err().cloned(),
            certificate_until: settings.tls.as_ref().map(|tls| tls.valid_until),
            peers: peers.into_values().collect(),
        }
    }

    /// Closes all connections, once what was handed over is sent, and ends. Peers that do not take it in time do without.
    pub async fn shutdown(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
        self.stop.send_replace(true);
        // Each connection is given one such time for its farewell.
        let _ = timeout(2 * self.shared.timing.farewell, self.shared.registry.empty()).await;
    }
}

fn check(config: &TcpConfig) -> Result<(), StartError> {
    let refuse = |what| Err(StartError::Setting { what });
    let (limits, timing) = (&config.limits, &config.timing);
    let mut domains: Vec<_> = config.domains.iter().collect();
    domains.sort_unstable();
    domains.dedup();
    if domains.len() != config.domains.len() || domains.len() > MOST_DOMAINS {
        return refuse("`domains`, which must be at most 255, each once");
    }
    if [limits.queue_frames, limits.connections, limits.connections_per_peer].contains(&0)
        || [limits.handshakes, limits.handshakes_per_address].contains(&0)
        || limits.frame_bytes == 0
    {
        return refuse("a limit to 0, with which nothing could be done");
    }
    if timing.silence < LEAST_SILENCE {
        return refuse("`silence` to less than 200 ms, in which no peer can give a sign of life");
    }
    let times =
        [timing.connect, timing.handshake, timing.preface, timing.frame, timing.backoff_least, timing.reload];
    if times.contains(&Duration::ZERO) {
        return refuse("a time to 0, with which nothing could be done");
    }
    let times = times.into_iter().chain([timing.keep_alive, timing.silence, timing.farewell]);
    if times.chain([timing.backoff_most, timing.settled]).any(|time| time > LONGEST) {
        return refuse("a time to more than a year, which is for ever");
    }
    Ok(())
}

/// Until nobody takes connections any more.
async fn while_wanted(sink: mpsc::Sender<Connection>, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        () = sink.closed() => {}
    }
}

async fn accept_all(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let (tcp, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                shared.observer.accept_failed(error.kind());
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if shared.settings.borrow().policy.is_err() {
            shared.observer.refused(&Reason::NoPolicy, address, None);
            continue;
        }
        match shared.handshakes.begin(address.ip(), &shared.limits) {
            Ok(handshake) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let mut stop = shared.stop.clone();
                    tokio::select! {
                        () = welcome(&shared, tcp, address) => {}
                        _ = stop.wait_for(|is_stopped| *is_stopped) => {}
                    }
                    drop(handshake);
                });
            }
            Err(reason) => shared.observer.refused(&reason, address, None),
        }
    }
}

async fn welcome(shared: &Arc<Shared>, tcp: TcpStream, address: SocketAddr) {
    match accept(shared, tcp, address).await {
        Ok(link) => spawn(shared, link),
        Err(refused) => shared.observer.refused(&refused.reason, address, refused.peer.as_ref()),
    }
}

async fn reload_again_and_again(shared: Arc<Shared>, loader: Arc<Mutex<Loader>>) {
    loop {
        sleep(shared.timing.reload).await;
        // What is wrong is logged there.
        let _ = reload(&shared, &loader).await;
    }
}

async fn reload(shared: &Arc<Shared>, loader: &Arc<Mutex<Loader>>) -> Result<(), ReloadError> {
    let (shared, loader) = (Arc::clone(shared), Arc::clone(loader));
    let files = tokio::task::spawn_blocking({
        let shared = Arc::clone(&shared);
        move || {
            let mut loader = loader.lock().unwrap_or_else(PoisonError::into_inner);
            let (is_changed, result) = loader.reload();
            if is_changed {
                shared.settings.send_replace(Arc::clone(&loader.settings));
            }
            (is_changed, result, Arc::clone(&loader.settings))
        }
    });
    let Ok((is_changed, result, settings)) = files.await else {
        // The runtime ends: nothing was changed.
        return Ok(());
    };
    if is_changed {
        tracing::info!("the peer list or the certificates were changed");
    }
    report(&settings);
    if let Some(error) = result.as_ref().err().and_then(|errors| errors.certificate.as_ref()) {
        tracing::error!("the certificates cannot be loaded: {error}");
    }
    result
}

/// Says what an operator must know of what is in force.
fn report(settings: &Settings) {
    metrics::gauge!("driftless_tcp_policy_loaded").set(if settings.policy.is_ok() { 1.0 } else { 0.0 });
    if let Err(error) = &settings.policy {
        tracing::error!(
            "the peer list cannot be loaded: nobody is let in, and all links are closed: {error}"
        );
    }
    let Some(valid_until) = settings.tls.as_ref().map(|tls| tls.valid_until) else {
        return;
    };
    let unix = valid_until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    metrics::gauge!("driftless_tcp_certificate_until_seconds").set(unix.as_secs_f64());
    match valid_until.duration_since(SystemTime::now()) {
        Ok(left) if left > WARN_BEFORE => {}
        Ok(left) => {
            let hours = left.as_secs() / 3600;
            tracing::warn!(hours, "this region's certificate is about to expire: put a new one in its place");
        }
        Err(_) => tracing::error!(
            "this region's certificate has expired: no peer lets it in; put a new one in its place"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Security, Timing};
    use crate::policy::{Policy, PolicySource};

    #[test]
    fn settings_with_which_nothing_could_be_done_are_refused() {
        let config = || {
            let security = Security::PlainText { is_name_believed: false };
            let cluster = uuid::Uuid::from_u128(0xc1);
            let region = RegionName::new("eu").unwrap();
            TcpConfig::new(region, cluster, vec![], security, PolicySource::Given(Policy::default()))
        };
        assert!(check(&config()).is_ok());
        let timed = |change: fn(&mut Timing)| {
            let mut config = config();
            change(&mut config.timing);
            check(&config).is_err()
        };
        assert!(timed(|timing| timing.connect = Duration::ZERO));
        assert!(timed(|timing| timing.silence = Duration::from_millis(199)));
        // The end of such a time cannot be reckoned.
        assert!(timed(|timing| timing.silence = Duration::MAX));
        assert!(timed(|timing| timing.keep_alive = Duration::MAX));
        let mut config = config();
        config.limits.frame_bytes = 0;
        assert!(check(&config).is_err());
    }
}
