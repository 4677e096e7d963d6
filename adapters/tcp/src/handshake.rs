//! From a TCP connection to a peer that is known and let in.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use driftless_node::RegionName;
use rustls_pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::frame::Reader;
use crate::link::{Link, Stream, close, part};
use crate::policy::{Peer, Policy};
use crate::preface::{Hello, refusal};
use crate::reason::Reason;
use crate::registry::Direction;
use crate::shared::Shared;
use crate::tls::{Proof, Tls};

/// Who came, as far as it is known, and why it was refused.
pub(crate) struct Refused {
    pub(crate) peer: Option<RegionName>,
    pub(crate) reason: Reason,
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self { peer: None, reason }
    }
}

/// Within a time, or too late for what.
async fn within<T>(
    time: Duration,
    what: &'static str,
    future: impl Future<Output = Result<T, Reason>>,
) -> Result<T, Reason> {
    timeout(time, future).await.unwrap_or(Err(Reason::Late { what }))
}

/// A connection that came in.
pub(crate) async fn accept(
    shared: &Arc<Shared>,
    tcp: TcpStream,
    address: SocketAddr,
) -> Result<Link, Refused> {
    let mut settings = shared.settings.subscribe();
    let now = settings.borrow_and_update().clone();
    let policy = Arc::clone(now.policy.as_ref().map_err(|_| Reason::NoPolicy)?);
    // Frames are gathered before they are written.
    tcp.set_nodelay(true).map_err(Reason::from)?;
    let (stream, proof): (Box<dyn Stream>, _) = match &now.tls {
        None => (Box::new(tcp), None),
        Some(tls) => {
            let acceptor = TlsAcceptor::from(Arc::clone(&tls.server));
            let accepted = async { Ok(acceptor.accept(tcp).await?) };
            let stream = within(shared.timing.handshake, "the TLS handshake", accepted).await?;
            let proof = Proof::of(stream.get_ref().1)?;
            (Box::new(stream), Some(proof))
        }
    };
    let mut reader = Reader::new(stream);
    let mut peer = None;
    let welcomed = async {
        let proved = proof.as_ref().map(|proof| prove(shared, &policy, proof)).transpose()?;
        peer = proved.clone();
        let theirs = within(shared.timing.preface, "the preface", reader.hello()).await?;
        let region = proved.unwrap_or_else(|| theirs.region.clone());
        let listed = check(shared, &policy, &region, &theirs)?;
        peer = Some(region.clone());
        let valid_until = proof.as_ref().map(|proof| proof.valid_until);
        let registered = shared.registry.register(&region, Direction::Accepted, address, valid_until)?;
        let ours = shared.hello(&listed.grants);
        let answer = async { Ok(reader.stream().write_all(&ours.encode()).await?) };
        within(shared.timing.preface, "taking the preface", answer).await?;
        within(shared.timing.preface, "taking the preface", async { Ok(reader.stream().flush().await?) })
            .await?;
        Ok((region, listed, ours, theirs, registered))
    };
    match welcomed.await {
        Ok((region, listed, ours, theirs, registered)) => Ok(Link {
            reader,
            principal: principal(shared, proof.as_ref(), &region),
            region,
            direction: Direction::Accepted,
            address,
            proof,
            grants: listed.grants.clone(),
            ours,
            theirs,
            registered,
            settings,
        }),
        Err(reason) => {
            // Strangers that speak something else get no answer.
            if !matches!(reason, Reason::Network { .. } | Reason::Cut | Reason::Broken { .. }) {
                let last = refusal(reason.farewell());
                let _ = timeout(shared.timing.farewell, close(&mut reader, &last)).await;
            }
            Err(Refused { peer, reason })
        }
    }
}

/// A connection to a peer, at the first of its addresses that leads to it.
pub(crate) async fn dial(
    shared: &Arc<Shared>,
    region: &RegionName,
    addresses: &[String],
) -> Result<Link, Reason> {
    let mut last = Reason::Network { kind: std::io::ErrorKind::AddrNotAvailable };
    for address in addresses {
        match dial_at(shared, region, address).await {
            Ok(link) => return Ok(link),
            Err(reason) => last = reason,
        }
    }
    Err(last)
}

async fn dial_at(shared: &Arc<Shared>, region: &RegionName, address: &str) -> Result<Link, Reason> {
    let mut settings = shared.settings.subscribe();
    let now = settings.borrow_and_update().clone();
    let policy = Arc::clone(now.policy.as_ref().map_err(|_| Reason::NoPolicy)?);
    let peer = listed(&policy, region)?;
    let connected = async { Ok(TcpStream::connect(address).await?) };
    let tcp = within(shared.timing.connect, "the connection", connected).await?;
    tcp.set_nodelay(true)?;
    let address = tcp.peer_addr()?;
    let (stream, proof) = secure(shared, now.tls.as_deref(), tcp, &peer.identity).await?;
    if let Some(proof) = &proof {
        let proved = prove(shared, &policy, proof)?;
        if proved != *region {
            return Err(Reason::Impostor { claimed: proved });
        }
    }
    let mut reader = Reader::new(stream);
    let ours = shared.hello(&peer.grants);
    let greeted = async {
        reader.stream().write_all(&ours.encode()).await?;
        reader.stream().flush().await?;
        reader.hello().await
    };
    let theirs = within(shared.timing.preface, "the preface", greeted).await?;
    let valid_until = proof.as_ref().map(|proof| proof.valid_until);
    let registered = check(shared, &policy, region, &theirs)
        .and_then(|_| shared.registry.register(region, Direction::Dialed, address, valid_until));
    match registered {
        Ok(registered) => Ok(Link {
            reader,
            principal: principal(shared, proof.as_ref(), region),
            region: region.clone(),
            direction: Direction::Dialed,
            address,
            proof,
            grants: peer.grants.clone(),
            ours,
            theirs,
            registered,
            settings,
        }),
        Err(reason) => {
            let _ = timeout(shared.timing.farewell, part(&mut reader, reason.farewell())).await;
            Err(reason)
        }
    }
}

async fn secure(
    shared: &Shared,
    tls: Option<&Tls>,
    tcp: TcpStream,
    identity: &str,
) -> Result<(Box<dyn Stream>, Option<Proof>), Reason> {
    let Some(tls) = tls else {
        return Ok((Box::new(tcp), None));
    };
    let name =
        ServerName::try_from(identity.to_owned()).map_err(|error| Reason::Tls { what: error.to_string() })?;
    let connector = TlsConnector::from(Arc::clone(&tls.client));
    let secured = async { Ok(connector.connect(name, tcp).await?) };
    let stream = within(shared.timing.handshake, "the TLS handshake", secured).await?;
    let proof = Proof::of(stream.get_ref().1)?;
    Ok((Box::new(stream), Some(proof)))
}

/// Which peer of the list a certificate is of.
fn prove(shared: &Shared, policy: &Policy, proof: &Proof) -> Result<RegionName, Reason> {
    let is_own = proof.names.iter().any(|name| name.eq_ignore_ascii_case(&shared.identity));
    match policy.named(&proof.names)[..] {
        _ if is_own => Err(Reason::Itself),
        [] => Err(Reason::NotListed { names: proof.names.clone() }),
        [peer] if *peer == shared.region => Err(Reason::Itself),
        [peer] => Ok(peer.clone()),
        ref peers => Err(Reason::Ambiguous { peers: peers.iter().copied().cloned().collect() }),
    }
}

/// Whether what a peer says of itself is what is known of it.
fn check<'a>(
    shared: &Shared,
    policy: &'a Policy,
    region: &RegionName,
    theirs: &Hello,
) -> Result<&'a Peer, Reason> {
    if theirs.cluster != shared.cluster {
        return Err(Reason::OtherCluster);
    }
    if theirs.region != *region {
        return Err(Reason::Impostor { claimed: theirs.region.clone() });
    }
    if *region == shared.region {
        return Err(Reason::Itself);
    }
    listed(policy, region)
}

fn listed<'a>(policy: &'a Policy, region: &RegionName) -> Result<&'a Peer, Reason> {
    policy.peer(region).ok_or_else(|| Reason::NotListed { names: vec![region.to_string()] })
}

fn principal(shared: &Shared, proof: Option<&Proof>, region: &RegionName) -> Option<String> {
    (proof.is_some() || shared.is_name_believed).then(|| region.to_string())
}
