//! Opening a store: what was saved is merged into a replica under a fresh id, which takes the place of the former one.

use std::fmt;

use driftless::{
    Crdt, EncodeError, Endpoint, Limits, MergeError, PendingDelta, Replica, ReplicaId, Snapshot,
};
use uuid::Uuid;

use crate::config::{DomainConfig, NodeConfig};
use crate::connection::DomainName;
use crate::record::{Identity, Part, RecordError, Run, Writing, parts};
use crate::store::{Place, Record, Store, StoreError};

/// How many runs of its processes a store remembers, to tell cursors of its copies from its own.
const MOST_RUNS: usize = 64;

/// What a store may hold, whatever is accepted of peers: it was written here.
const OWN: Limits = Limits {
    message_bytes: usize::MAX,
    transfer_bytes: usize::MAX,
    memory_bytes: usize::MAX,
    depth: 1_000,
    elements: usize::MAX,
    siblings: usize::MAX,
    text_bytes: usize::MAX,
    replicas: Limits::MAX_REPLICAS,
};

/// Why a domain was not opened. Nothing changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The store refused, or is damaged: what to do is said there.
    Store(StoreError),
    /// Bytes: a record cannot be read.
    Record {
        /// Which record, counted from the beginning.
        index: u64,
        /// What is wrong with it.
        error: RecordError,
    },
    /// Bytes, or caller: a record cannot be merged. If the type of the state was changed, open it with the former one.
    Merge {
        /// Which record, counted from the beginning.
        index: u64,
        /// Why.
        error: MergeError,
    },
    /// Bytes: a checkpoint has a gap, or no end.
    Incomplete,
    /// Caller: the store belongs to another cluster or domain.
    OtherStore {
        /// The cluster that it belongs to.
        cluster: Uuid,
        /// The domain that it keeps.
        domain: String,
    },
    /// Caller: what the store holds cannot be written again: a value's `Serialize` fails.
    Encode(EncodeError),
    /// Caller: the node has a domain of this name already.
    Twice {
        /// The name.
        domain: DomainName,
    },
    /// Caller: the node is shut down.
    Stopped,
    /// Us: a thread could not be started, or ended by a panic.
    Thread {
        /// What the system says.
        reason: String,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => fmt::Display::fmt(error, f),
            Self::Record { index, error } => write!(f, "of record {index} of the store: {error}"),
            Self::Merge { index, error } => write!(
                f,
                "the bytes of record {index} of the store cannot be merged ({error}); \
                 nothing changed: open it with the type of state that wrote it, or restore a backup"
            ),
            Self::Incomplete => f.write_str(
                "the bytes of the store hold a part of a checkpoint and not its end; nothing changed: restore a backup",
            ),
            Self::OtherStore { cluster, domain } => write!(
                f,
                "the caller's store belongs to the domain {domain} of the cluster {cluster}; \
                 nothing changed: open the store of this one"
            ),
            Self::Encode(error) => fmt::Display::fmt(error, f),
            Self::Twice { domain } => write!(
                f,
                "the caller has opened the domain {domain} on this node already; nothing changed: use that handle"
            ),
            Self::Stopped => {
                f.write_str("the caller has shut this node down; nothing changed: make another node")
            }
            Self::Thread { reason } => {
                write!(f, "this node could not run a thread ({reason}); nothing changed: try again")
            }
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A domain whose new identity is on disk.
pub(crate) struct Opened<S> {
    pub(crate) endpoint: Endpoint<S>,
    /// What is on disk.
    pub(crate) stored: Snapshot<S>,
    pub(crate) identity: Identity,
    /// The last place.
    pub(crate) last: Place,
    /// The bytes of the checkpoint, and of the records after it.
    pub(crate) checkpoint_bytes: u64,
    pub(crate) log_bytes: u64,
}

/// Reads a store, and makes it ready to be written.
///
/// # Errors
/// [`OpenError`]; in the store nothing changed.
pub(crate) fn open<S: Crdt>(
    store: &mut dyn Store,
    node: &NodeConfig,
    domain: &DomainName,
    config: &DomainConfig,
) -> Result<Opened<S>, OpenError> {
    let fresh = fresh_id(domain);
    let now_ms = node.clock.now_ms();
    let replica: Replica<S> = Replica::new(fresh, config.replica());
    let mut loading = Loading {
        cluster: node.cluster,
        domain,
        replica,
        pending: PendingDelta::new(&OWN),
        identity: None,
        now_ms,
        index: 0,
        last: Place::default(),
        checkpoint_bytes: 0,
        log_bytes: 0,
    };
    let mut failure = None;
    let loaded = store.load(&mut |record| {
        loading.take(&record).map_err(|error| {
            failure = Some(error);
            StoreError::Unsupported { what: "be read on" }
        })
    });
    if let Some(error) = failure {
        return Err(error);
    }
    loaded?;
    if loading.pending.bytes() > 0 {
        return Err(OpenError::Incomplete);
    }
    let Loading { replica, identity: former, mut last, checkpoint_bytes, mut log_bytes, .. } = loading;
    if let Some((_, newest)) = store.feed_range()? {
        last = last.max(newest);
    }
    let mut identity = succeeding(former.as_ref(), node, domain, fresh, last);
    let has_unreadable = !replica.unreadable().is_empty();
    let is_read_anew = std::mem::replace(&mut identity.has_unreadable, has_unreadable) || has_unreadable;
    if config.feed_bytes.is_none() || is_read_anew {
        // What changes from here on is not in the feed; or what changed when another release opened the store is not.
        identity.forget_runs();
    }
    let loaded_vector = replica.vector();
    let mut endpoint = Endpoint::new(replica, config.sync(node, identity.member));
    if let Some(former) = &former
        && let Err(error) = endpoint.succeed(now_ms, former.id)
    {
        // It reads and merges all the same. That the former id is not closed costs its entry in each vector.
        tracing::warn!(%domain, %error, "the former id could not be closed");
    }
    let stored = endpoint.snapshot();
    let message = stored.delta_since(&loaded_vector).encode().map_err(OpenError::Encode)?;
    let record = Writing::new().identity(&identity).message(&message).finish();
    last = store.append(&record, None)?;
    log_bytes += record.len() as u64;
    endpoint.persisted(now_ms, stored.clone());
    Ok(Opened { endpoint, stored, identity, last, checkpoint_bytes, log_bytes })
}

/// An id that nobody else has.
#[cfg(not(test))]
fn fresh_id(_domain: &DomainName) -> ReplicaId {
    ReplicaId::new(Uuid::new_v4())
}

#[cfg(test)]
use crate::copies::fresh_id;

/// The identity of a process that takes the place of another one.
fn succeeding(
    former: Option<&Identity>,
    node: &NodeConfig,
    domain: &DomainName,
    id: ReplicaId,
    last: Place,
) -> Identity {
    let mut identity = former.cloned().unwrap_or_else(|| Identity {
        cluster: node.cluster,
        domain: domain.as_str().to_owned(),
        member: ReplicaId::new(Uuid::new_v4()),
        id,
        opened: 0,
        feed_floor: Place::default(),
        has_unreadable: false,
        last,
        runs: Vec::new(),
    });
    identity.opened += 1;
    identity.begin_run(id, last);
    identity
}

impl Identity {
    /// Cursors of earlier runs are not of the past of this store any more.
    pub(crate) fn forget_runs(&mut self) {
        let before = self.runs.len().saturating_sub(1);
        self.runs.drain(..before);
    }

    /// From here on the store is written under this id.
    pub(crate) fn begin_run(&mut self, id: ReplicaId, last: Place) {
        (self.id, self.last) = (id, last);
        let is_known = self.runs.iter().any(|run| run.tag == id);
        let tag = if is_known { ReplicaId::new(Uuid::new_v4()) } else { id };
        self.runs.push(Run { tag, after: last });
        let floor = self.feed_floor;
        // Cursors before the floor are refused whoever gave them.
        while self.runs.get(1).is_some_and(|next| next.after < floor) || self.runs.len() > MOST_RUNS {
            self.runs.remove(0);
        }
        if let Some(first) = self.runs.first() {
            self.feed_floor = floor.max(first.after);
        }
    }
}

/// A store that is being read.
struct Loading<'a, S> {
    cluster: Uuid,
    domain: &'a DomainName,
    replica: Replica<S>,
    pending: PendingDelta<S>,
    identity: Option<Identity>,
    now_ms: u64,
    index: u64,
    last: Place,
    checkpoint_bytes: u64,
    log_bytes: u64,
}

impl<S: Crdt> Loading<'_, S> {
    fn take(&mut self, record: &Record) -> Result<(), OpenError> {
        let index = self.index;
        self.index += 1;
        let length = record.bytes.len() as u64;
        match record.place {
            Some(place) => {
                self.last = self.last.max(place);
                self.log_bytes += length;
            }
            None => self.checkpoint_bytes += length,
        }
        for part in parts(&record.bytes).map_err(|error| OpenError::Record { index, error })? {
            match part {
                Part::Identity(identity) => {
                    if (identity.cluster, identity.domain.as_str()) != (self.cluster, self.domain.as_str()) {
                        let Identity { cluster, domain, .. } = identity;
                        return Err(OpenError::OtherStore { cluster, domain });
                    }
                    self.last = self.last.max(identity.last);
                    self.identity = Some(identity);
                }
                Part::Message(message) => self.merge(index, message)?,
            }
        }
        Ok(())
    }

    fn merge(&mut self, index: u64, message: &[u8]) -> Result<(), OpenError> {
        let failed = |error| OpenError::Merge { index, error };
        let delta = self.replica.decode_within(message, &OWN).map_err(failed)?;
        let Some(delta) = self.pending.push(delta).map_err(|_| OpenError::Incomplete)? else {
            return Ok(());
        };
        // What the store holds is our own, however far ahead of the clock it is.
        let now_ms = self.now_ms.max(delta.to().newest().millis());
        self.replica.merge(now_ms, delta).map_err(failed)?;
        Ok(())
    }
}
