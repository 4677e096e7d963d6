//! The identity of a replica.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Identifies one copy of the data that issues stamps. It must never be used by two copies: a restored backup, a clone or
/// a restarted process without durable state takes a new id.
///
/// Ids order by their bytes; that order settles writes of equal time, the same way everywhere. A message can name 4,096
/// ids ([`Limits::MAX_REPLICAS`](crate::Limits::MAX_REPLICAS)); those of replicas that are gone count until they are
/// [closed](crate::Replica::close).
///
/// # Example
/// ```
/// use driftless::ReplicaId;
/// use uuid::Uuid;
///
/// let id = ReplicaId::new(Uuid::from_u128(0xe0));        // `Uuid::new_v4()` in a program
/// assert_eq!(id, ReplicaId::from_u128(0xe0));
/// assert_eq!(id.uuid(), Uuid::from(id));
/// assert_eq!(id.to_string(), "00000000-0000-0000-0000-0000000000e0");
/// assert_eq!("00000000-0000-0000-0000-0000000000e0".parse(), Ok(id));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplicaId(Uuid);

impl ReplicaId {
    /// The id of a UUID. Random ones (version 4) and time-ordered ones (version 7) both serve.
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The id of 128 bits: for tests and for ids that are derived from something else.
    pub const fn from_u128(bits: u128) -> Self {
        Self(Uuid::from_u128(bits))
    }

    /// The UUID of the id.
    pub const fn uuid(&self) -> Uuid {
        self.0
    }

    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl From<Uuid> for ReplicaId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl From<ReplicaId> for Uuid {
    fn from(id: ReplicaId) -> Self {
        id.0
    }
}

impl FromStr for ReplicaId {
    type Err = uuid::Error;

    /// Reads what `Display` writes, and every other form of a UUID.
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
