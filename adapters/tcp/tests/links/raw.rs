//! A peer made by hand, from what `docs/tcp.md` says of the bytes.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::regions::{Place, soon};

/// A preface of version 1.
pub(crate) fn preface(cluster: u128, region: &str, domains: &[&str]) -> Vec<u8> {
    let mut body = cluster.to_be_bytes().to_vec();
    let name = |name: &str| [&[u8::try_from(name.len()).unwrap()], name.as_bytes()].concat();
    body.extend(name(region));
    body.extend(60_000_u32.to_be_bytes());
    body.extend((1_u32 << 20).to_be_bytes());
    body.push(u8::try_from(domains.len()).unwrap());
    domains.iter().for_each(|domain| body.extend(name(domain)));
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [b"DRIFTTCP\x01\x01\x01", &length[..], &body].concat()
}

/// A frame of a domain, by its number.
pub(crate) fn frame(index: u8, bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], &[index], bytes].concat()
}

/// TLS as a client with these files.
pub(crate) struct Client {
    pub(crate) certificate: Option<&'static str>,
    pub(crate) protocols: Vec<Vec<u8>>,
}

impl Default for Client {
    fn default() -> Self {
        Self { certificate: Some("us"), protocols: vec![b"driftless/1".to_vec()] }
    }
}

impl Client {
    pub(crate) async fn connect(
        &self,
        place: &Place,
        address: SocketAddr,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        connect_with(self.config(place), address).await
    }

    /// With a memory of sessions, as any client has it.
    pub(crate) fn config(&self, place: &Place) -> Arc<ClientConfig> {
        let read = |file: &str| std::fs::read(place.path(file)).unwrap();
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(&read("ca.pem")) {
            roots.add(authority.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.certificate {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let chain = CertificateDer::pem_slice_iter(&read(&format!("{name}.pem")))
                    .map(|certificate| certificate.unwrap())
                    .collect();
                let key = PrivateKeyDer::from_pem_slice(&read(&format!("{name}.key"))).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = self.protocols.clone();
        Arc::new(config)
    }
}

pub(crate) async fn connect_with(
    config: Arc<ClientConfig>,
    address: SocketAddr,
) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("eu.driftless.internal").unwrap();
    TlsConnector::from(config).connect(name, tcp).await
}

/// TLS as `us`, for those who dial it.
pub(crate) struct Server {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Server {
    pub(crate) async fn start(place: &Place) -> Self {
        let read = |file: &str| std::fs::read(place.path(file)).unwrap();
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(&read("ca.pem")) {
            roots.add(authority.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let chain =
            CertificateDer::pem_slice_iter(&read("us.pem")).map(|certificate| certificate.unwrap()).collect();
        let key = PrivateKeyDer::from_pem_slice(&read("us.key")).unwrap();
        // It hands out tickets, as servers do unless they are told not to.
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = vec![b"driftless/1".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    pub(crate) fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// The next one that dials, with its preface.
    pub(crate) async fn accept(&self) -> (tokio_rustls::server::TlsStream<TcpStream>, Vec<u8>) {
        let (tcp, _) = soon("somebody who dials", self.listener.accept()).await.unwrap();
        let mut stream = self.acceptor.accept(tcp).await.unwrap();
        let preface = take_preface(&mut stream).await;
        (stream, preface)
    }
}

/// What comes until the other side closes.
pub(crate) async fn rest(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is an end, too.
    let _ = soon("the end of the stream", stream.read_to_end(&mut bytes)).await;
    bytes
}

/// A preface that comes, whole.
pub(crate) async fn take_preface(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut head = [0; 13];
    soon("a preface", stream.read_exact(&mut head)).await.unwrap();
    let mut body = vec![0; usize::from(u16::from_be_bytes([head[11], head[12]]))];
    soon("a preface", stream.read_exact(&mut body)).await.unwrap();
    [&head[..], &body].concat()
}

/// Connects as a listed peer with these domains, and takes the other side's preface.
pub(crate) async fn greeted(place: &Place, address: SocketAddr, domains: &[&str]) -> TlsStream<TcpStream> {
    let mut stream = Client::default().connect(place, address).await.unwrap();
    stream.write_all(&preface(0xc1, "us", domains)).await.unwrap();
    assert_eq!(take_preface(&mut stream).await[8], 1, "it is let in");
    stream
}
