//! Where the regions write what the conductor looks at while they work.

use std::sync::{Mutex, PoisonError};

use driftless::VersionVector;

use crate::regions::{COUNT, Index};

/// How far a region is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub(crate) vector: VersionVector,
    /// When the vector last changed, in microseconds since the job began.
    pub(crate) changed_us: u64,
    /// The records it holds.
    pub(crate) records: usize,
    /// The links over which data passes.
    pub(crate) open: usize,
    /// The members of the cluster, as far as it knows.
    pub(crate) members: usize,
    /// Whether its schedule is done.
    pub(crate) is_written: bool,
    /// Whether it has forgotten all there was, because all regions have seen it.
    pub(crate) is_all_forgotten: bool,
}

/// The state of all regions.
#[derive(Debug, Default)]
pub(crate) struct Board {
    regions: [Mutex<Status>; COUNT],
}

impl Board {
    pub(crate) fn update(&self, region: Index, update: impl FnOnce(&mut Status)) {
        // A status is replaced field by field, so one that was left half-way is as good as any.
        update(&mut self.regions[region].lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn read(&self) -> [Status; COUNT] {
        self.regions.each_ref().map(|status| status.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}
