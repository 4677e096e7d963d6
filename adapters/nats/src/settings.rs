//! The peer list that is in force, and how it is read again.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::policy::{Policy, PolicyError, PolicySource};
use crate::server::ServerError;

/// The peer list, or why nobody is let in.
pub(crate) type InForce = Result<Arc<Policy>, PolicyError>;

/// Reads the list anew, and sees whether it was changed by what is in it.
#[derive(Debug)]
pub(crate) struct Loader {
    source: PolicySource,
    text: Option<Vec<u8>>,
    pub(crate) in_force: InForce,
}

/// Why a transport could not start. Nothing was started.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// The peer list is of no use.
    Policy(PolicyError),
    /// A file for the connection to the server cannot be read.
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        kind: std::io::ErrorKind,
    },
    /// The server is there, and cannot be used.
    Server(ServerError),
    /// Caller: a setting is out of its range.
    Setting {
        /// Which, and what it must be.
        what: &'static str,
    },
}

impl Loader {
    pub(crate) fn new(source: PolicySource) -> Result<Self, StartError> {
        let (text, policy) = match &source {
            PolicySource::Given(given) => (None, given.clone()),
            PolicySource::File(path) => {
                let text = read(path).map_err(StartError::Policy)?;
                let policy = parse(&text).map_err(StartError::Policy)?;
                (Some(text), policy)
            }
        };
        Ok(Self { source, text, in_force: Ok(Arc::new(policy)) })
    }

    /// Sets the peer list, which is not read from a file any more.
    pub(crate) fn set_policy(&mut self, policy: Policy) {
        self.source = PolicySource::Given(policy.clone());
        self.text = None;
        self.in_force = Ok(Arc::new(policy));
    }

    /// Reads what was changed. Says whether anything else is in force now.
    pub(crate) fn reload(&mut self) -> (bool, Result<(), PolicyError>) {
        match self.read() {
            Ok(None) => (false, Ok(())),
            Ok(Some(policy)) => {
                self.in_force = Ok(Arc::new(policy));
                (true, Ok(()))
            }
            Err(error) => {
                let is_changed = self.in_force.as_ref().err() != Some(&error);
                self.in_force = Err(error.clone());
                (is_changed, Err(error))
            }
        }
    }

    fn read(&mut self) -> Result<Option<Policy>, PolicyError> {
        let PolicySource::File(path) = &self.source else {
            return Ok(None);
        };
        let text = read(path)?;
        if self.in_force.is_ok() && self.text.as_ref() == Some(&text) {
            return Ok(None);
        }
        let policy = parse(&text)?;
        self.text = Some(text);
        Ok(Some(policy))
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

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(error) => error.fmt(f),
            Self::Unreadable { path, kind } => {
                write!(f, "{} cannot be read: {kind}; nothing was started: give another file", path.display())
            }
            Self::Server(error) => write!(f, "{error}; nothing was started"),
            Self::Setting { what } => write!(f, "the caller set {what}; nothing was started"),
        }
    }
}

impl std::error::Error for StartError {}
