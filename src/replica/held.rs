//! What a replica holds, and snapshots of it.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::causal::frontier::Frontier;
use crate::causal::id::ReplicaId;
use crate::causal::link::{Link, Links};
use crate::causal::origin::Origins;
use crate::causal::vector::VersionVector;
use crate::clock::Timestamp;
use crate::crdt::Crdt;
use crate::crdt::change::Path;
use crate::crdt::shipping::Since;
use crate::crdt::unreadable::Unreadable;
use crate::delta::system::System;
use crate::delta::{Closed, Delta};
use crate::replica::request::Request;
use crate::wire::canonical::Canonical;
use crate::wire::hash::KeyHasher;

/// The state, and of whom it holds how much.
#[derive(Debug)]
pub(crate) struct Held<S> {
    pub(crate) state: S,
    /// What the cluster says of itself.
    pub(crate) system: System,
    /// Which closed ids follow from which others: what `system` says of them.
    pub(crate) links: Arc<Links>,
    pub(crate) origins: Arc<Origins>,
    pub(crate) vector: Frontier,
    /// The marks that were dropped: who has not seen them all is sent everything.
    pub(crate) dropped: Frontier,
}

impl<S: Crdt> Held<S> {
    pub(crate) fn new(id: ReplicaId) -> Self {
        let mut origins = Origins::default();
        origins.intern(id);
        Self {
            state: S::bottom(),
            system: System::bottom(),
            links: Arc::default(),
            origins: Arc::new(origins),
            vector: Frontier::default(),
            dropped: Frontier::default(),
        }
    }

    pub(crate) fn fork(&self) -> Self {
        Self {
            state: self.state.fork(),
            system: self.system.fork(),
            links: Arc::clone(&self.links),
            origins: Arc::clone(&self.origins),
            vector: self.vector.clone(),
            dropped: self.dropped.clone(),
        }
    }

    /// What is held of whom, without the closed ids that all members know to be closed.
    pub(crate) fn vector(&self) -> VersionVector {
        self.shortened(&self.vector)
    }

    /// A frontier that names everyone, without the closed ids that all members know to be closed.
    pub(crate) fn shortened(&self, frontier: &Frontier) -> VersionVector {
        let implied = self.links.implied(frontier, |link| link.is_stable && frontier.covers(link.by));
        frontier.to_vector_without(&implied, &self.origins)
    }

    /// How far the events of `id` are held.
    pub(crate) fn time(&self, id: &ReplicaId) -> Timestamp {
        self.origins.get(id).map_or(Timestamp::ZERO, |origin| self.vector.time(origin))
    }

    /// Whether all is held that `vector` covers. The closed ids that it leaves out need not be looked at: who holds what it names
    /// holds them.
    pub(crate) fn covers(&self, vector: &VersionVector) -> bool {
        vector.iter().all(|(id, stamp)| stamp <= self.time(&id))
    }

    /// Whether all is held that `vector` covers, and nothing else.
    pub(crate) fn is_at(&self, vector: &VersionVector) -> bool {
        self.covers(vector) && self.vector.within(&self.resolved(vector, &self.origins))
    }

    /// What `vector` says of the ids of a table that begins as ours does, with the closed ids that it leaves out.
    fn resolved(&self, vector: &VersionVector, origins: &Origins) -> Frontier {
        let mut frontier = Frontier::of(vector, origins);
        self.links.resolve(&mut frontier);
        frontier
    }

    /// How many ids a message must name that tells all to one who holds nothing, beside those that are closed.
    pub(crate) fn open_ids(&self) -> usize {
        let closed = self.links.implied(&self.vector, |_| true);
        self.vector.iter().count().saturating_sub(closed.len())
    }

    /// Reads anew which ids are closed.
    pub(crate) fn relink(&mut self) {
        let links = self.system.closings().filter_map(|(id, by, last)| {
            let closed = self.origins.get(id)?;
            Some(Link { closed, last, by, is_stable: false })
        });
        let links: Vec<Link> = links.collect();
        Arc::make_mut(&mut self.links).replace(links);
    }

    pub(crate) fn unreadable(&self) -> Unreadable {
        let mut found = Unreadable::default();
        self.state.find_unreadable(&mut found, &Path::root());
        found
    }

    pub(crate) fn digest(&self) -> Digest {
        let mut canonical = Canonical::digest(&self.origins);
        self.state.canonical(&mut canonical);
        Digest(canonical.into_digest())
    }

    pub(crate) fn canonical_bytes(&self) -> Vec<u8> {
        let mut canonical = Canonical::bytes(&self.origins);
        self.state.canonical(&mut canonical);
        canonical.into_bytes()
    }

    /// What is lacking at who has seen `vector`. Keys that it must hold are named in its short form, if `short` is that.
    pub(crate) fn delta_since(&self, vector: &VersionVector, short: Option<KeyHasher>) -> Delta<S> {
        let mut origins = Arc::clone(&self.origins);
        for (id, _) in vector.iter().filter(|(id, _)| self.origins.get(id).is_none()) {
            // What the peer alone knows is in the table too, lest a short form be taken for it.
            Arc::make_mut(&mut origins).intern(id);
        }
        let mut from = self.resolved(vector, &origins);
        from.meet(&self.vector);
        let since = Since::new(from, self.vector.clone(), short.is_some());
        let is_covered = self.dropped.within(&since.frontier);
        let is_news = !is_covered || !self.vector.within(&since.frontier);
        let system = match is_news && !self.system.is_bottom() {
            true if is_covered => since.below(|| self.system.since(&since)),
            true => Some(self.system.fork()),
            false => None,
        };
        let state = if !is_covered {
            Some(self.state.fork())
        } else if is_news {
            self.state.since(&since)
        } else {
            None
        };
        let rows_visited = since.visited();
        let from = if is_covered { since.frontier } else { Frontier::default() };
        Delta {
            implied: self.links.implied(&self.vector, |link| from.covers(link.by)),
            closed: Closed::These(self.links.implied(&self.vector, |_| true)),
            system: system.unwrap_or_else(System::bottom),
            origins,
            from,
            to: self.vector.clone(),
            cut: (!is_covered).then(|| self.dropped.clone()),
            state: state.unwrap_or_else(S::bottom),
            chunk: None,
            short,
            bytes: 0,
            rows_visited,
        }
    }
}

/// What a replica held at one moment. It does not change, and it can be read on any thread.
///
/// It reads as the state: `snapshot.get(&key)`. A clone costs a reference count. As long as a snapshot is held, the first write
/// to each page of 32 rows copies that page.
///
/// # Example
/// ```
/// use driftless::{Config, Counter, Replica, ReplicaId, VersionVector};
///
/// let mut eu: Replica<Counter> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// eu.transact(1_000, |visits| visits.add(1))?;
/// let snapshot = eu.snapshot();
/// let reader = std::thread::spawn(move || {
///     let bytes = snapshot.delta_since(&VersionVector::new()).encode();       // serving a peer, say
///     (snapshot.value(), snapshot.vector(), snapshot.digest(), snapshot.canonical_bytes(), bytes)
/// });
/// let before = (eu.vector(), eu.digest(), eu.canonical_bytes());
/// eu.transact(1_001, |visits| visits.add(1))?;
///
/// let (value, vector, digest, bytes, message) = reader.join().expect("it does not panic");
/// assert_eq!((value, (vector, digest, bytes)), (1, before));
/// assert!(message.is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Snapshot<S> {
    held: Arc<Held<S>>,
    /// Whose it is.
    pub(crate) id: ReplicaId,
}

impl<S> Clone for Snapshot<S> {
    fn clone(&self) -> Self {
        Self { held: Arc::clone(&self.held), id: self.id }
    }
}

impl<S> Deref for Snapshot<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.held.state
    }
}

impl<S: Crdt> Snapshot<S> {
    pub(crate) fn of(held: Held<S>, id: ReplicaId) -> Self {
        Self { held: Arc::new(held), id }
    }

    pub(crate) fn held(&self) -> &Held<S> {
        &self.held
    }

    /// What was held of whom; as [`Replica::vector`](crate::Replica::vector).
    pub fn vector(&self) -> VersionVector {
        self.held.vector()
    }

    /// How far the events of `id` were held, closed or not.
    pub(crate) fn seen(&self, id: &ReplicaId) -> Timestamp {
        self.held.time(id)
    }

    /// Whether all was held that `vector` covers; as [`Replica::covers`](crate::Replica::covers).
    pub fn covers(&self, vector: &VersionVector) -> bool {
        self.held.covers(vector)
    }

    /// The values held that this release cannot read; as [`Replica::unreadable`](crate::Replica::unreadable), on a reader's
    /// thread.
    pub fn unreadable(&self) -> Unreadable {
        self.held.unreadable()
    }

    /// The digest of what was live; as [`Replica::digest`](crate::Replica::digest), on a reader's thread.
    pub fn digest(&self) -> Digest {
        self.held.digest()
    }

    /// What was live, in one canonical order: what the digest is made of; as
    /// [`Replica::canonical_bytes`](crate::Replica::canonical_bytes).
    pub fn canonical_bytes(&self) -> Vec<u8> {
        self.held.canonical_bytes()
    }

    /// What was held here and is lacking at who has seen `vector`; as
    /// [`Replica::delta_since`](crate::Replica::delta_since), on a reader's thread.
    #[must_use = "a delta does nothing until it is encoded or merged"]
    pub fn delta_since(&self, vector: &VersionVector) -> Delta<S> {
        self.held.delta_since(vector, None)
    }

    /// What was held here and is lacking at who asks; as [`Replica::answer`](crate::Replica::answer), on a reader's thread.
    #[must_use = "a delta does nothing until it is encoded or merged"]
    pub fn answer(&self, request: &Request) -> Delta<S> {
        self.held.delta_since(request.vector(), request.short())
    }
}

/// A digest of what is live: XXH3, 128 bits, of the canonical bytes. Equal version vectors and different digests prove a
/// fault. It finds accidents; it does not withstand an attacker. It is shown as 32 hexadecimal digits.
///
/// # Example
/// ```
/// use driftless::{Config, Digest, Flag, Replica, ReplicaId};
///
/// let mut eu: Replica<Flag> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// let empty = eu.digest();
/// eu.write(1_000, |flag| flag.enable())?;
/// assert_ne!(eu.digest(), empty);
/// let sent = eu.digest().bits().to_be_bytes();
/// assert_eq!(Digest::from_bits(u128::from_be_bytes(sent)), eu.digest());
/// # Ok::<(), driftless::WriteError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(u128);

impl Digest {
    /// The digest of 128 bits, as a peer sent them.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The 128 bits, to be sent to a peer.
    pub const fn bits(self) -> u128 {
        self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
