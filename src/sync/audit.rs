//! Whether two that should hold the same do.

use serde::{Deserialize, Serialize};

use crate::crdt::Crdt;
use crate::sync::error::{LinkId, SyncError};
use crate::sync::frame::Frame;
use crate::sync::shared::Shared;

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Audit {
    /// The vector's hash, and what is held in each bucket.
    Prints(u64, Vec<u64>),
}

/// When what was last compared.
#[derive(Debug, Default)]
pub(crate) struct Auditing {}

impl Auditing {
    pub(crate) fn beat<S: Crdt>(&mut self, _: &Shared<S>, _: u64, _: u64, _: &mut Vec<Frame<'static>>) {}

    pub(crate) fn receive<S: Crdt>(
        &mut self,
        _: &mut Shared<S>,
        _: LinkId,
        _: Audit,
        _: &mut Vec<Frame<'static>>,
    ) -> Result<(), SyncError> {
        Ok(())
    }
}
