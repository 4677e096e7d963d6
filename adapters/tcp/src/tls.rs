//! The certificates of a region, and the two sides of TLS that are made of them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier as ServerVerifier};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::certificate;
use crate::config::CertificateFiles;
use crate::reason::Reason;

/// What both sides say that they speak within TLS, so that no other protocol is taken for this one.
pub(crate) const PROTOCOL: &[u8] = b"driftless/1";

/// The bytes of the files.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pem {
    authority: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// What handshakes are made with.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
    /// Until when our certificate is valid.
    pub(crate) valid_until: SystemTime,
    clients: Arc<dyn ClientCertVerifier>,
    servers: Arc<ServerVerifier>,
}

/// Who the peer has proved to be.
#[derive(Clone, Debug)]
pub(crate) struct Proof {
    chain: Vec<CertificateDer<'static>>,
    /// The domain names of its certificate.
    pub(crate) names: Vec<String>,
    /// Until when it is valid.
    pub(crate) valid_until: SystemTime,
}

/// Why the files of a certificate are of no use. To blame: whoever put them there. Nothing changed: a transport that runs goes on
/// with those that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file cannot be read.
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        kind: io::ErrorKind,
    },
    /// A file holds none of what it should.
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
    },
    /// The certificate is not that of this region.
    OtherName {
        /// What it should bear.
        identity: String,
        /// What it bears.
        names: Vec<String>,
    },
    /// The certificate, its key and the authorities do not go together.
    Unusable {
        /// Why, as the TLS library says it.
        what: String,
    },
}

impl Pem {
    pub(crate) fn read(files: &CertificateFiles) -> Result<Self, CertificateError> {
        let read = |path: &Path| {
            std::fs::read(path)
                .map_err(|error| CertificateError::Unreadable { path: path.to_owned(), kind: error.kind() })
        };
        Ok(Self {
            authority: read(&files.authority)?,
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
        })
    }
}

impl Tls {
    pub(crate) fn new(pem: &Pem, files: &CertificateFiles, identity: &str) -> Result<Self, CertificateError> {
        let malformed = |path: &Path, what| CertificateError::Malformed { path: path.to_owned(), what };
        let unusable = |error: &dyn fmt::Display| CertificateError::Unusable { what: error.to_string() };
        let certificates = |pem: &[u8]| {
            let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
            read.ok().filter(|certificates| !certificates.is_empty())
        };

        let mut roots = RootCertStore::empty();
        let authorities =
            certificates(&pem.authority).ok_or_else(|| malformed(&files.authority, "certificates in PEM"))?;
        for authority in authorities {
            roots.add(authority).map_err(|error| unusable(&error))?;
        }
        let chain = certificates(&pem.certificate)
            .ok_or_else(|| malformed(&files.certificate, "certificates in PEM"))?;
        let key = PrivateKeyDer::from_pem_slice(&pem.key)
            .map_err(|_| malformed(&files.key, "a private key in PEM"))?;
        let own = chain.first().ok_or_else(|| malformed(&files.certificate, "certificates in PEM"))?;
        let names = certificate::names(own).map_err(|error| unusable(&error))?;
        if !names.iter().any(|name| name.eq_ignore_ascii_case(identity)) {
            return Err(CertificateError::OtherName { identity: identity.to_owned(), names });
        }
        let valid_until = certificate::end(own)
            .ok_or_else(|| malformed(&files.certificate, "a certificate with an end of its validity"))?;

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::new(roots);
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(|error| unusable(&error))?;
        let servers = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|error| unusable(&error))?;
        let versions = [&rustls::version::TLS13];
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(|error| unusable(&error))?
            .with_client_cert_verifier(Arc::clone(&clients))
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|error| unusable(&error))?;
        server.alpn_protocols = vec![PROTOCOL.to_vec()];
        // A session that is resumed would bring the certificates of an earlier one, unchecked.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .map_err(|error| unusable(&error))?
            .with_webpki_verifier(Arc::clone(&servers))
            .with_client_auth_cert(chain, key)
            .map_err(|error| unusable(&error))?;
        client.alpn_protocols = vec![PROTOCOL.to_vec()];
        client.resumption = Resumption::disabled();
        Ok(Self { server: Arc::new(server), client: Arc::new(client), valid_until, clients, servers })
    }

    /// Whether a peer that proved who it is would be believed now: a listener's peer if it dialed, else the one that was dialed.
    pub(crate) fn review(&self, proof: &Proof, dialed: Option<&str>) -> Result<(), Reason> {
        let untrusted = |what: String| Reason::Untrusted { what };
        let (own, between) =
            proof.chain.split_first().ok_or_else(|| untrusted("no certificate".to_owned()))?;
        let now = UnixTime::now();
        let believed = match dialed {
            None => self.clients.verify_client_cert(own, between, now).map(|_| ()),
            Some(identity) => {
                let name = ServerName::try_from(identity).map_err(|error| untrusted(error.to_string()))?;
                self.servers.verify_server_cert(own, between, &name, &[], now).map(|_| ())
            }
        };
        believed.map_err(|error| untrusted(error.to_string()))
    }
}

impl Proof {
    /// Of a handshake that is made.
    pub(crate) fn of(connection: &rustls::CommonState) -> Result<Self, Reason> {
        let tls = |what: &str| Reason::Tls { what: what.to_owned() };
        if connection.alpn_protocol() != Some(PROTOCOL) {
            return Err(Reason::OtherProtocol);
        }
        let chain: Vec<_> = connection.peer_certificates().ok_or_else(|| tls("no certificate"))?.to_vec();
        let own = chain.first().ok_or_else(|| tls("no certificate"))?;
        let names = certificate::names(own).map_err(|error| tls(&error.to_string()))?;
        let valid_until = certificate::end(own).ok_or_else(|| tls("a certificate without an end"))?;
        Ok(Self { chain, names, valid_until })
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, kind } => write!(f, "{} cannot be read: {kind}", path.display())?,
            Self::Malformed { path, what } => write!(f, "{} does not hold {what}", path.display())?,
            Self::OtherName { identity, names } => {
                write!(
                    f,
                    "the certificate is not that of this region: it bears {names:?} and not {identity:?}"
                )?;
            }
            Self::Unusable { what } => {
                write!(f, "the certificate, key and authorities are of no use: {what}")?
            }
        }
        f.write_str("; nothing changed: put the right files there")
    }
}

impl std::error::Error for CertificateError {}
