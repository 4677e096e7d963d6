//! How the store of a domain does, for everybody to look at without waiting for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::store::StoreSize;

/// A store that does not take what is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StoreFailure {
    /// What it says.
    pub error: String,
    /// Since when, in Unix milliseconds.
    pub since_ms: u64,
    /// How often it was tried.
    pub attempts: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Health {
    is_failing: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    failure: Option<StoreFailure>,
    /// The last error, even if all is well since.
    last_error: Option<String>,
    size: StoreSize,
}

impl Health {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Acquire)
    }

    pub(crate) fn failure(&self) -> Option<StoreFailure> {
        self.known().failure.clone()
    }

    pub(crate) fn last_error(&self) -> Option<String> {
        self.known().last_error.clone()
    }

    pub(crate) fn size(&self) -> StoreSize {
        self.known().size
    }

    pub(crate) fn measured(&self, size: StoreSize) {
        self.known().size = size;
    }

    /// An error that keeps nothing from being stored.
    pub(crate) fn note(&self, error: String) {
        self.known().last_error = Some(error);
    }

    pub(crate) fn fail(&self, error: String, now_ms: u64) {
        let mut known = self.known();
        known.last_error = Some(error.clone());
        let (since_ms, attempts) =
            known.failure.as_ref().map_or((now_ms, 0), |failure| (failure.since_ms, failure.attempts));
        known.failure = Some(StoreFailure { error, since_ms, attempts: attempts + 1 });
        self.is_failing.store(true, Ordering::Release);
    }

    /// Whether it failed before.
    pub(crate) fn recover(&self) -> bool {
        let failure = self.known().failure.take();
        self.is_failing.store(false, Ordering::Release);
        failure.is_some()
    }
}
