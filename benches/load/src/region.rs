//! A region: a node with one domain, and links over TCP with TLS.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use driftless::{Counter, Crdt, LwwRegister, MergeMap};
use driftless_node::store::Store;
use driftless_node::{Access, Domain, DomainConfig, DomainName, Grants, Node, NodeConfig};
use driftless_tcp::{
    CertificateFiles, Peer, Policy, PolicySource, RegionName, Security, TcpConfig, Transport,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::Fault;

/// The name of the region that is measured.
pub(crate) const NODE: &str = "node";
const CLUSTER: Uuid = Uuid::from_u128(0x10ad);

/// What is written.
pub(crate) type Docs = MergeMap<u64, Doc>;

/// A document.
#[derive(Debug, Crdt)]
pub(crate) struct Doc {
    pub(crate) text: LwwRegister<String>,
    pub(crate) visits: Counter,
}

/// Whom it is linked to.
pub(crate) struct Links {
    pub(crate) listen: bool,
    /// Those without an address dial.
    pub(crate) peers: Vec<(String, Option<SocketAddr>)>,
}

pub(crate) struct Region {
    node: Node,
    pub(crate) domain: Domain<Docs>,
    pub(crate) links: Transport,
    attaching: JoinHandle<()>,
}

impl Region {
    /// Starts one, with the certificates of a folder.
    pub(crate) async fn start(
        name: &str,
        folder: &Path,
        store: impl Store,
        links: Links,
    ) -> Result<Self, Fault> {
        let node = Node::new(NodeConfig::new(CLUSTER, name));
        let domain_name = DomainName::new("docs")?;
        let domain = node.open(domain_name.clone(), store, DomainConfig::default()).await?;
        let region = RegionName::new(name)?;
        let mut peers = Vec::new();
        for (peer, address) in links.peers {
            let peer = RegionName::new(&peer)?;
            let grants: Grants = [(domain_name.clone(), Access::ReadWrite)].into_iter().collect();
            let addresses = address.iter().map(ToString::to_string).collect();
            peers.push((peer.clone(), Peer { addresses, ..Peer::new(&peer, grants) }));
        }
        let security = Security::Tls(CertificateFiles::in_folder(folder, &region));
        let config = TcpConfig {
            listen: links.listen.then(|| (Ipv4Addr::LOCALHOST, 0).into()),
            seed: Uuid::new_v4().as_u64_pair().0,
            ..TcpConfig::new(
                region,
                CLUSTER,
                node.domains(),
                security,
                PolicySource::Given(Policy::new(peers)?),
            )
        };
        let (sink, mut connections) = mpsc::channel(16);
        let links = Transport::start(config, sink).await?;
        let attaching = tokio::spawn({
            let node = node.clone();
            async move {
                while let Some(connection) = connections.recv().await {
                    if let Err(error) = node.attach(connection) {
                        eprintln!("a connection is not taken: {error}");
                    }
                }
            }
        });
        Ok(Self { node, domain, links, attaching })
    }

    pub(crate) async fn stop(self) -> Result<(), Fault> {
        self.attaching.abort();
        self.node.shutdown().await?;
        self.links.shutdown().await;
        Ok(())
    }
}
