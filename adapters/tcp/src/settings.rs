//! What is in force: the peer list and the certificates, and how they are read again.

use std::fmt;
use std::sync::Arc;

use crate::config::{CertificateFiles, Security};
use crate::policy::{Policy, PolicyError, PolicySource};
use crate::tls::{CertificateError, Pem, Tls};

/// What is in force.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Or why nobody is let in.
    pub(crate) policy: Result<Arc<Policy>, PolicyError>,
    /// None: plain text.
    pub(crate) tls: Option<Arc<Tls>>,
}

/// Reads files anew, and sees whether they were changed by what is in them.
pub(crate) struct Loader {
    policy: PolicySource,
    policy_text: Option<Vec<u8>>,
    certificate: Option<(CertificateFiles, Pem)>,
    identity: String,
    pub(crate) settings: Arc<Settings>,
}

/// What was wrong when the files were read again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReloadError {
    /// The peer list is of no use: all connections are closed, and nobody is let in until it is right.
    pub policy: Option<PolicyError>,
    /// The certificates are of no use: those that were there before stay in force.
    pub certificate: Option<CertificateError>,
}

/// Why a transport could not start. Nothing was started.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// The peer list is of no use.
    Policy(PolicyError),
    /// The certificates are of no use.
    Certificate(CertificateError),
    /// The address cannot be listened at.
    Listen {
        /// Which address.
        address: std::net::SocketAddr,
        /// Why.
        kind: std::io::ErrorKind,
    },
    /// Caller: a setting is out of its range.
    Setting {
        /// Which, and what it must be.
        what: &'static str,
    },
}

impl fmt::Debug for Loader {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader")
            .field("policy", &self.policy)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Loader {
    pub(crate) fn new(policy: PolicySource, security: &Security, identity: &str) -> Result<Self, StartError> {
        let (policy_text, read) = match &policy {
            PolicySource::Given(given) => (None, given.clone()),
            PolicySource::File(path) => {
                let text = read(path).map_err(StartError::Policy)?;
                let policy = parse(&text).map_err(StartError::Policy)?;
                (Some(text), policy)
            }
        };
        let (certificate, tls) = match security {
            Security::PlainText { .. } => (None, None),
            Security::Tls(files) => {
                let pem = Pem::read(files).map_err(StartError::Certificate)?;
                let tls = Tls::new(&pem, files, identity).map_err(StartError::Certificate)?;
                (Some((files.clone(), pem)), Some(Arc::new(tls)))
            }
        };
        let settings = Arc::new(Settings { policy: Ok(Arc::new(read)), tls });
        Ok(Self { policy, policy_text, certificate, identity: identity.to_owned(), settings })
    }

    /// Sets the peer list, which is not read from a file any more.
    pub(crate) fn set_policy(&mut self, policy: Policy) {
        self.policy = PolicySource::Given(policy.clone());
        self.policy_text = None;
        self.settings = Arc::new(Settings { policy: Ok(Arc::new(policy)), ..(*self.settings).clone() });
    }

    /// Reads what was changed. Says whether anything else is in force now.
    pub(crate) fn reload(&mut self) -> (bool, Result<(), ReloadError>) {
        let mut settings = (*self.settings).clone();
        let mut errors = ReloadError::default();
        let mut is_changed = false;
        match self.read_policy() {
            Ok(None) => {}
            Ok(Some(policy)) => {
                settings.policy = Ok(Arc::new(policy));
                is_changed = true;
            }
            Err(error) => {
                is_changed |= settings.policy.as_ref().err() != Some(&error);
                settings.policy = Err(error.clone());
                errors.policy = Some(error);
            }
        }
        match self.read_certificate() {
            Ok(None) => {}
            Ok(Some(tls)) => {
                settings.tls = Some(Arc::new(tls));
                is_changed = true;
            }
            Err(error) => errors.certificate = Some(error),
        }
        if is_changed {
            self.settings = Arc::new(settings);
        }
        let is_well = errors == ReloadError::default();
        (is_changed, if is_well { Ok(()) } else { Err(errors) })
    }

    fn read_policy(&mut self) -> Result<Option<Policy>, PolicyError> {
        let PolicySource::File(path) = &self.policy else {
            return Ok(None);
        };
        let text = read(path)?;
        if self.settings.policy.is_ok() && self.policy_text.as_ref() == Some(&text) {
            return Ok(None);
        }
        let policy = parse(&text)?;
        self.policy_text = Some(text);
        Ok(Some(policy))
    }

    fn read_certificate(&mut self) -> Result<Option<Tls>, CertificateError> {
        let Some((files, old)) = &mut self.certificate else {
            return Ok(None);
        };
        let pem = Pem::read(files)?;
        if pem == *old {
            return Ok(None);
        }
        let tls = Tls::new(&pem, files, &self.identity)?;
        *old = pem;
        Ok(Some(tls))
    }
}

fn read(path: &std::path::Path) -> Result<Vec<u8>, PolicyError> {
    std::fs::read(path).map_err(|error| PolicyError::Unreadable { path: path.to_owned(), kind: error.kind() })
}

fn parse(text: &[u8]) -> Result<Policy, PolicyError> {
    let text = std::str::from_utf8(text)
        .map_err(|_| PolicyError::Malformed { what: "it is not UTF-8".to_owned() })?;
    Policy::parse(text)
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.policy, &self.certificate) {
            (Some(policy), None) => policy.fmt(f),
            (None, Some(certificate)) => certificate.fmt(f),
            (Some(policy), Some(certificate)) => write!(f, "{policy}; and {certificate}"),
            (None, None) => f.write_str("nothing was wrong"),
        }
    }
}

impl std::error::Error for ReloadError {}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(error) => error.fmt(f),
            Self::Certificate(error) => error.fmt(f),
            Self::Listen { address, kind } => {
                write!(
                    f,
                    "{address} cannot be listened at: {kind}; nothing was started: give another address"
                )
            }
            Self::Setting { what } => write!(f, "the caller set {what}; nothing was started"),
        }
    }
}

impl std::error::Error for StartError {}
