//! What comes of a write, and why it may not be made.

use std::fmt;

use driftless::{RefusedWrite, Timestamp, Token};
use tokio::sync::oneshot;

use crate::health::StoreFailure;

/// A transaction that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written<R> {
    /// What the closure returned.
    pub value: R,
    /// The one stamp of all its events; none if there were none.
    pub stamp: Option<Timestamp>,
    /// What must be held where it is to be read: the write, or, if it changed nothing, what it saw.
    pub token: Token,
}

/// A transaction that was made and may not be on disk yet. Made by [`Domain::apply`](crate::Domain::apply).
#[derive(Debug)]
#[must_use = "whether it is durable is known once `durable` says so"]
pub struct Applied<R> {
    /// What was made. It is lost if the process ends before it is on disk.
    pub written: Written<R>,
    pub(crate) durable: oneshot::Receiver<bool>,
}

impl<R> Applied<R> {
    /// Waits until it is on disk.
    ///
    /// # Errors
    /// [`NotDurable`]: the node stopped before.
    pub async fn durable(self) -> Result<Written<R>, NotDurable> {
        match self.durable.await {
            Ok(true) => Ok(self.written),
            _ => Err(NotDurable { token: Some(self.written.token) }),
        }
    }
}

/// Us: the node stopped before it was known that a write is on disk. It was applied; whether it is there is seen when the
/// store is opened again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotDurable {
    /// By what it is told whether it is there: see [`Domain::reached`](crate::Domain::reached). None if not even that is known.
    pub token: Option<Token>,
}

impl fmt::Display for NotDurable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this node stopped before the write was known to be on disk; \
             it may be there: open the store again, and ask for its token",
        )
    }
}

impl std::error::Error for NotDurable {}

/// Why a write was not made. Nothing changed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Refused {
    /// Caller, or operator: the engine refused it; what to do is said there. While an id is in doubt it is answered without
    /// the caller: try again.
    Write(RefusedWrite),
    /// Disk: nothing can be stored now. Reads go on. Make room or mend it; it is tried again by itself.
    StoreFailing(StoreFailure),
    /// Caller: the closure panicked, and was undone.
    Panicked {
        /// What the panic said.
        message: String,
    },
    /// Caller: the node is shut down.
    Stopped,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(error) => fmt::Display::fmt(error, f),
            Self::StoreFailing(failure) => write!(
                f,
                "the store has failed since {} ms, {} times ({}); nothing changed: mend it, and write again",
                failure.since_ms, failure.attempts, failure.error
            ),
            Self::Panicked { message } => write!(
                f,
                "the caller's closure panicked ({message}), so it was undone; nothing changed: mend it, and write again"
            ),
            Self::Stopped => f.write_str(
                "the caller writes to a node that is shut down; nothing changed: open the store in another node",
            ),
        }
    }
}

impl std::error::Error for Refused {}

/// Why a transaction was not made, or is not known to be on disk.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TransactError<E> {
    /// It could not be made. Nothing changed.
    Refused(Refused),
    /// The closure returned this error, and was undone. Nothing changed.
    Aborted(E),
    /// It was made, and is not known to be on disk.
    NotDurable(NotDurable),
}

impl<E> From<Refused> for TransactError<E> {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl<E: fmt::Display> fmt::Display for TransactError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => fmt::Display::fmt(refused, f),
            Self::Aborted(error) => {
                write!(f, "the caller's closure undid the transaction; nothing changed: {error}")
            }
            Self::NotDurable(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for TransactError<E> {}

/// Why a write that cannot fail of itself was not made, or is not known to be on disk.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum WriteError {
    /// It could not be made. Nothing changed.
    Refused(Refused),
    /// It was made, and is not known to be on disk.
    NotDurable(NotDurable),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => fmt::Display::fmt(refused, f),
            Self::NotDurable(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for WriteError {}

impl From<TransactError<std::convert::Infallible>> for WriteError {
    fn from(error: TransactError<std::convert::Infallible>) -> Self {
        match error {
            TransactError::Refused(refused) => Self::Refused(refused),
            TransactError::NotDurable(error) => Self::NotDurable(error),
            TransactError::Aborted(never) => match never {},
        }
    }
}
