//! A replica: one copy of the data, which can be written at memory speed and merged with any other.

pub(crate) mod audit;
pub(crate) mod commits;
pub(crate) mod committed;
pub(crate) mod config;
pub(crate) mod error;
pub(crate) mod held;
pub(crate) mod kept;
pub(crate) mod reissue;
pub(crate) mod request;

use std::convert::Infallible;
use std::sync::Arc;

use crate::causal::dot::Dot;
use crate::causal::frontier::Frontier;
use crate::causal::id::ReplicaId;
use crate::causal::membership::Membership;
use crate::causal::origin::Origin;
use crate::causal::vector::VersionVector;
use crate::clock::{HybridClock, Timestamp};
use crate::crdt::Crdt;
use crate::crdt::change::{Path, Recorder};
use crate::crdt::merging::Merging;
use crate::crdt::pruning::{Counting, Pruning};
use crate::crdt::unreadable::Unreadable;
use crate::crdt::write::{Txn, Writer};
use crate::delta::Delta;
use crate::delta::system::{System, SystemMut};
use crate::replica::commits::Commits;
use crate::replica::committed::{Committed, Forgotten, Merged};
use crate::replica::config::Config;
use crate::replica::error::{MergeError, TransactError, WriteError};
use crate::replica::held::{Digest, Held, Snapshot};
use crate::replica::request::Request;
use crate::wire::error::DecodeError;
use crate::wire::limits::Limits;

/// One copy of the data.
///
/// It is written by [transactions](Self::transact), which take one stamp each, and by [merging](Self::merge) what others
/// hold. Both are atomic to readers, who hold [snapshots](Self::snapshot). What a peer lacks is cut by
/// [`delta_since`](Self::delta_since) from the peer's version vector; it costs what changed, not what is stored.
///
/// The replica does no I/O and reads no clock: the time is an argument, `now_ms`, in Unix milliseconds. It may stand still and
/// step back; it should not be far ahead, since others refuse what is ([`Config::max_ahead_ms`]).
///
/// After an error nothing has changed, always.
///
/// # Example
/// ```
/// use driftless::{Config, Counter, Crdt, LwwRegister, MergeMap, OrSet, Replica, ReplicaId};
///
/// #[derive(Crdt)]
/// struct User {
///     name: LwwRegister<String>,
///     tags: OrSet<String>,
///     visits: Counter,
/// }
///
/// let mut eu: Replica<MergeMap<u64, User>> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// let mut us: Replica<MergeMap<u64, User>> = Replica::new(ReplicaId::from_u128(2), Config::default());
/// eu.transact(1_000, |users| {
///     users.update(&7, |user| {
///         user.name().set("Ada");
///         user.tags().add("admin");
///         user.visits().add(1)
///     })
/// })?;
/// us.merge(1_050, eu.delta_since(&us.vector()))?;
/// assert_eq!(us.state().get(&7).and_then(|user| user.name.latest()).map(String::as_str), Some("Ada"));
/// assert_eq!(us.digest(), eu.digest());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Replica<S> {
    id: ReplicaId,
    config: Config,
    clock: HybridClock,
    held: Held<S>,
    membership: Membership,
    commits: Commits,
    txn: Txn,
    /// Set while a merge is under way, and for ever if it did not come to its end.
    is_poisoned: bool,
}

impl<S: Crdt> Replica<S> {
    /// An empty replica that issues stamps under `id`.
    ///
    /// The id must be new: never used by another copy, nor by an earlier run of this one whose state is not held any more. What
    /// an earlier run saved is merged into it, like any other replica's.
    ///
    /// # Example
    /// ```
    /// use driftless::{Config, Counter, Replica, ReplicaId, VersionVector};
    ///
    /// let mut first: Replica<Counter> = Replica::new(ReplicaId::from_u128(1), Config::default());
    /// first.transact(1_000, |visits| visits.add(3))?;
    /// let saved = first.delta_since(&VersionVector::new()).encode()?;
    ///
    /// // After a restart: a new id, and what was saved.
    /// let mut second: Replica<Counter> = Replica::new(ReplicaId::from_u128(2), Config::default());
    /// second.merge(2_000, second.decode(&saved)?)?;
    /// assert_eq!((second.state().value(), second.id()), (3, ReplicaId::from_u128(2)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(id: ReplicaId, config: Config) -> Self {
        let held = Held::new(id);
        let origin = held.origins.get(&id).unwrap_or(Origin::from_index(0));
        let dot = Dot { origin, time: Timestamp::ZERO };
        let seed = config.hash_seed.unwrap_or_else(|| {
            let bits = id.uuid().as_u128();
            (bits >> 64) as u64 ^ bits as u64
        });
        let txn = Txn::new(Arc::clone(&held.origins), dot, seed);
        Self {
            id,
            config,
            clock: HybridClock::default(),
            held,
            membership: Membership::default(),
            commits: Commits::default(),
            txn,
            is_poisoned: false,
        }
    }

    /// The id under which the replica issues stamps.
    pub fn id(&self) -> ReplicaId {
        self.id
    }

    /// How the replica was set up.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What is held now, to read on this thread; [`snapshot`](Self::snapshot) is for others.
    pub fn state(&self) -> &S {
        &self.held.state
    }

    /// What is held of whom: what a peer needs to know to send what is lacking. Ids that were [closed](Self::close) are left out
    /// once all members know it.
    ///
    /// Cost: an entry for each replica that ever wrote.
    pub fn vector(&self) -> VersionVector {
        self.held.vector()
    }

    /// Whether all is held that `vector` covers: what was read elsewhere, say, at a replica that had this vector. It may name
    /// [closed](Self::close) ids that [`vector`](Self::vector) leaves out, and the other way round.
    ///
    /// # Example
    /// ```
    /// use driftless::{Config, Flag, Replica, ReplicaId};
    ///
    /// let mut eu: Replica<Flag> = Replica::new(ReplicaId::from_u128(1), Config::default());
    /// let mut us: Replica<Flag> = Replica::new(ReplicaId::from_u128(2), Config::default());
    /// eu.write(1_000, |flag| flag.enable())?;
    /// let seen = eu.vector();
    /// assert!(!us.covers(&seen));                             // who has read there must not yet read here
    /// us.merge(1_001, eu.delta_since(&us.vector()))?;
    /// assert!(us.covers(&seen));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn covers(&self, vector: &VersionVector) -> bool {
        self.held.covers(vector)
    }

    /// The clock: its last stamp is the greatest issued or merged.
    pub fn clock(&self) -> &HybridClock {
        &self.clock
    }

    /// What is held now, for readers on any thread. It does not change; the replica goes on.
    ///
    /// Cost: constant. While a snapshot is held, the first write to a page of 32 rows copies that page.
    pub fn snapshot(&self) -> Snapshot<S> {
        Snapshot::of(self.held.fork(), self.id)
    }

    /// The digest of what is live. Replicas that have seen the same events have the same.
    ///
    /// # Cost
    /// It reads and orders all that is live.
    ///
    /// # Example
    /// ```
    /// use driftless::{Config, Flag, Replica, ReplicaId};
    ///
    /// let mut eu: Replica<Flag> = Replica::new(ReplicaId::from_u128(1), Config::default());
    /// let mut us: Replica<Flag> = Replica::new(ReplicaId::from_u128(2), Config::default());
    /// eu.write(1_000, |flag| flag.enable())?;
    /// us.merge(1_001, eu.delta_since(&us.vector()))?;
    /// // Equal vectors and different digests would prove a fault.
    /// assert_eq!((us.vector(), us.digest()), (eu.vector(), eu.digest()));
    /// assert_eq!(us.canonical_bytes(), eu.canonical_bytes());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn digest(&self) -> Digest {
        self.held.digest()
    }

    /// What is live, in one canonical order: what the digest is made of. `docs/wire-format.md` describes it.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        self.held.canonical_bytes()
    }

    /// What is held here and lacking at who has seen `vector`.
    ///
    /// It may be made for anyone and at any time; that it was sent is not remembered. If the peer's vector does not reach what
    /// was forgotten here, the delta is [complete](Delta::is_complete): all that is held.
    ///
    /// # Cost
    /// Proportional to what changed since, whatever is stored: [`Delta::rows_visited`] says how much. The delta shares what it
    /// can with the state.
    ///
    /// # Example
    /// ```
    /// use driftless::{Config, OrSet, Replica, ReplicaId};
    ///
    /// let mut eu: Replica<OrSet<u32>> = Replica::new(ReplicaId::from_u128(1), Config::default());
    /// eu.write(1_000, |set| (0..1_000).for_each(|element| set.add(&element)))?;
    /// let before = eu.vector();
    /// eu.write(1_001, |set| set.remove(&7))?;
    /// let delta = eu.delta_since(&before);
    /// assert!(delta.rows_visited() < 100 && delta.encode()?.len() < 100);
    /// assert!(eu.delta_since(&eu.vector()).is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "a delta does nothing until it is encoded or merged"]
    pub fn delta_since(&self, vector: &VersionVector) -> Delta<S> {
        self.held.delta_since(vector, None)
    }

    /// What this replica asks of a peer, to be sent what it lacks. It changes with what is held: make one for each answer.
    pub fn request(&self) -> Request {
        Request::new(self.vector(), self.txn.seed)
    }

    /// What is held here and is lacking at who asks: as [`delta_since`](Self::delta_since) of the request's vector, in a message
    /// that is smaller, and for that replica alone. See [`Request`] for an example.
    #[must_use = "a delta does nothing until it is encoded or merged"]
    pub fn answer(&self, request: &Request) -> Delta<S> {
        self.held.delta_since(request.vector(), request.short())
    }

    /// Writes in one transaction, with one stamp. An error, or a panic, inside of `write` leaves nothing behind.
    ///
    /// A transaction that changes nothing takes no stamp. Of two concurrent transactions that write the same registers, one is
    /// read in all of them: stamps order them whole.
    ///
    /// # Errors
    /// [`TransactError::Aborted`] with the error of `write`; [`TransactError::Write`] if the transaction cannot be made.
    /// Nothing changed.
    ///
    /// # Cost
    /// That of the writes, and of letting go of what they replaced. Nothing grows with the state.
    ///
    /// # Example
    /// ```
    /// use driftless::{Config, Counter, Replica, ReplicaId, TransactError};
    /// let mut eu: Replica<Counter> = Replica::new(ReplicaId::from_u128(1), Config::default());
    /// let refused = eu.transact(1_000, |stock| {
    ///     stock.add(-1).map_err(|error| error.to_string())?;
    ///     if stock.value() < 0 { Err("sold out".to_owned()) } else { Ok(()) }
    /// });
    /// assert_eq!(refused.unwrap_err(), TransactError::Aborted("sold out".to_owned()));
    /// assert_eq!(eu.state().value(), 0);
    /// ```
    pub fn transact<R, E>(
        &mut self,
        now_ms: u64,
        write: impl FnOnce(&mut S::Mut<'_>) -> Result<R, E>,
    ) -> Result<Committed<R>, TransactError<E>> {
        let time = self.begin(now_ms, self.config.changes)?;
        let (value, events) = write_in(&mut self.held.state, &mut self.txn, write)?;
        Ok(self.commit(time, value, events))
    }

    /// What the cluster says of itself, as far as it is held here.
    pub(crate) fn system(&self) -> &System {
        &self.held.system
    }

    /// As [`write`](Self::write), of what the cluster says of itself.
    pub(crate) fn administer<R>(
        &mut self,
        now_ms: u64,
        write: impl FnOnce(&mut SystemMut<'_>) -> R,
    ) -> Result<Committed<R>, WriteError> {
        let time = self.begin(now_ms, false)?;
        let write = |handle: &mut SystemMut<'_>| Ok::<_, Infallible>(write(handle));
        let (value, events) = write_in(&mut self.held.system, &mut self.txn, write).map_err(never_aborted)?;
        let committed = self.commit(time, value, events);
        if committed.stamp.is_some() {
            self.held.relink();
            self.judge_links(false);
        }
        Ok(committed)
    }

    /// Begins a transaction, if one can be made.
    #[inline]
    fn begin(&mut self, now_ms: u64, records: bool) -> Result<Timestamp, WriteError> {
        if self.is_poisoned {
            return Err(WriteError::Poisoned);
        }
        let time = self.clock.peek(now_ms).map_err(WriteError::Clock)?;
        self.check_ids()?;
        self.txn.begin(time, records);
        Ok(time)
    }

    /// Ends a transaction that was kept.
    #[inline]
    fn commit<R>(&mut self, time: Timestamp, value: R, events: usize) -> Committed<R> {
        if events == 0 {
            return Committed { value, stamp: None, changes: Vec::new() };
        }
        self.clock.observe(time);
        self.held.vector.raise(self.txn.dot);
        self.commits.add(time, &mut self.txn.counted, &mut self.txn.ways);
        self.txn.let_go();
        let changes = std::mem::take(&mut self.txn.recorder).finish();
        Committed { value, stamp: Some(time), changes }
    }

    /// Refuses to write under one id more than a message can name: it could not be shipped.
    fn check_ids(&self) -> Result<(), WriteError> {
        if self.held.vector.time(self.txn.dot.origin) > Timestamp::ZERO {
            return Ok(());
        }
        let count = self.held.open_ids() + 1;
        if count > Limits::MAX_REPLICAS { Err(WriteError::TooManyReplicas { count }) } else { Ok(()) }
    }

    /// As [`transact`](Self::transact), for what cannot fail by itself. A `Result` that `write` returns is handed back as it
    /// is and undoes nothing: use [`transact`](Self::transact) where it should.
    ///
    /// # Errors
    /// [`WriteError`] if the transaction cannot be made. Nothing changed.
    ///
    /// # Example
    /// ```
    /// use driftless::{Config, OrSet, Replica, ReplicaId};
    ///
    /// let mut eu: Replica<OrSet<u8>> = Replica::new(ReplicaId::from_u128(1), Config::default());
    /// let first = eu.write(1_000, |set| set.add(&1))?;
    /// let second = eu.write(1_000, |set| set.add(&2))?;       // within one millisecond
    /// assert!(first.stamp < second.stamp);
    /// assert_eq!(eu.write(1_001, |set| set.remove(&9))?.stamp, None);
    /// # Ok::<(), driftless::WriteError>(())
    /// ```
    pub fn write<R>(
        &mut self,
        now_ms: u64,
        write: impl FnOnce(&mut S::Mut<'_>) -> R,
    ) -> Result<Committed<R>, WriteError> {
        self.transact(now_ms, |handle| Ok::<_, Infallible>(write(handle))).map_err(never_aborted)
    }

    /// Closes the id of a replica that is gone: an earlier run of this one, or one that was evicted and will not return. Its data
    /// stays. Once all members know that it is closed, [vectors](Self::vector) and messages leave it out, so ids may come and go
    /// for ever.
    ///
    /// It records up to which stamp the events of `id` are held here, as an event of this replica: who has seen the one holds the
    /// other. That is all it says. If `id` writes on, or if others hold more of it, nothing is lost: then it is named again.
    ///
    /// Returns up to where it was closed; `None`, and nothing is recorded, if nothing is held of it or it is closed there
    /// already.
    ///
    /// # Errors
    /// [`WriteError::OwnId`] if it is the id of this replica; [`WriteError`] if the event cannot be recorded. Nothing changed.
    ///
    /// # Example
    /// A program starts again, under a new id, and merges what its earlier run saved:
    /// ```
    /// use driftless::{Config, Counter, Replica, ReplicaId, VersionVector};
    ///
    /// type Visits = Replica<Counter>;
    /// let [mut first, mut second, mut us] = [1, 2, 9].map(|id| Visits::new(ReplicaId::from_u128(id), Config::default()));
    /// first.transact(1_000, |visits| visits.add(3))?;
    /// let saved = first.delta_since(&VersionVector::new()).encode()?;
    ///
    /// second.merge(2_000, second.decode(&saved)?)?;
    /// assert_eq!(second.close(2_001, first.id())?, Some(first.clock().last()));
    /// assert_eq!(second.close(2_002, first.id())?, None);
    /// assert_eq!(second.vector().len(), 2);
    ///
    /// // All members have heard of it.
    /// second.set_members([second.id(), us.id()]);
    /// us.merge(2_003, second.delta_since(&us.vector()))?;
    /// second.report(2_004, us.id(), &us.vector())?;
    /// assert_eq!(second.vector().iter().map(|(id, _)| id).collect::<Vec<_>>(), [second.id()]);
    /// assert!(us.covers(&second.vector()) && second.covers(&us.vector()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&mut self, now_ms: u64, id: ReplicaId) -> Result<Option<Timestamp>, WriteError> {
        if id == self.id {
            return Err(WriteError::OwnId);
        }
        let last = self.held.time(&id);
        let is_closed = self.system().closings().any(|(closed, _, at)| (*closed, at) == (id, last));
        if last == Timestamp::ZERO || is_closed {
            return Ok(None);
        }
        self.administer(now_ms, |system| system.closed().update(&id, |closed| closed.set(last)))?;
        Ok(Some(last))
    }

    /// Reads a message that a peer's [`Delta::encode`] or [`Delta::into_chunks`] wrote. It is checked against
    /// [`Config::limits`], and against nothing that is held but the vector: merge it soon.
    ///
    /// # Errors
    /// [`MergeError::Decode`] if the bytes are no message; [`MergeError::Gap`] if the sender took this replica to know
    /// another one that it does not. Nothing changed.
    ///
    /// # Cost
    /// Proportional to the bytes; no memory is taken that is not paid for by bytes that are there, see
    /// [`Limits`](crate::Limits).
    ///
    /// # Example
    /// ```
    /// use driftless::{Config, Flag, MergeError, Replica, ReplicaId};
    ///
    /// let mut eu: Replica<Flag> = Replica::new(ReplicaId::from_u128(1), Config::default());
    /// let mut us: Replica<Flag> = Replica::new(ReplicaId::from_u128(2), Config::default());
    /// eu.write(1_000, |flag| flag.enable())?;
    /// let bytes = eu.delta_since(&us.vector()).encode()?;
    /// assert!(matches!(us.decode(&bytes[1..]), Err(MergeError::Decode(_))));
    /// us.merge(1_001, us.decode(&bytes)?)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn decode(&self, bytes: &[u8]) -> Result<Delta<S>, MergeError> {
        self.decode_within(bytes, &self.config.limits)
    }

    /// As [`decode`](Self::decode), within other limits: what this replica's own store holds was written without any, and has to
    /// be read back whatever is accepted of peers.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    ///
    /// # Example
    /// ```
    /// use driftless::{Config, Limits, LwwRegister, Replica, ReplicaId, VersionVector};
    ///
    /// let config = Config { limits: Limits { text_bytes: 4, ..Limits::default() }, ..Config::default() };
    /// let mut eu: Replica<LwwRegister<String>> = Replica::new(ReplicaId::from_u128(1), config.clone());
    /// eu.write(1_000, |note| note.set("longer"))?;
    /// let stored = eu.delta_since(&VersionVector::new()).encode()?;
    ///
    /// let mut again: Replica<LwwRegister<String>> = Replica::new(ReplicaId::from_u128(2), config);
    /// assert!(again.decode(&stored).is_err());
    /// again.merge(2_000, again.decode_within(&stored, &Limits::default())?)?;
    /// assert_eq!(again.state().latest().map(String::as_str), Some("longer"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn decode_within(&self, bytes: &[u8], limits: &Limits) -> Result<Delta<S>, MergeError> {
        let known = self.held.vector.to_vector(&self.held.origins);
        let delta = Delta::decode(bytes, limits, self.txn.seed, &known, &self.held.state);
        delta.map_err(|error| match error {
            // Of a closed id that the peer does not know, and takes a short form not to mean, it must be told.
            DecodeError::UnknownReplica { .. } | DecodeError::UnknownKey { .. } => {
                MergeError::Gap { vector: known.clone() }
            }
            error => MergeError::Decode(error),
        })
    }

    /// Merges what a peer sent. Safe in any order, any number of times, from anyone; readers see all of it or nothing.
    ///
    /// # Errors
    /// [`MergeError`]; nothing changed.
    ///
    /// # Cost
    /// Proportional to the delta. One that is held already costs a comparison of vectors. One that is
    /// [complete](Delta::is_complete) is compared with all that is held.
    ///
    /// # Example
    /// ```
    /// use driftless::{Config, MergeError, OrSet, Replica, ReplicaId};
    ///
    /// let mut eu: Replica<OrSet<u8>> = Replica::new(ReplicaId::from_u128(1), Config::default());
    /// let mut us: Replica<OrSet<u8>> = Replica::new(ReplicaId::from_u128(2), Config::default());
    /// eu.write(1_000, |set| set.add(&1))?;
    /// let between = eu.vector();
    /// eu.write(1_001, |set| set.add(&2))?;
    ///
    /// // The second write alone would leave a gap.
    /// let refused = us.merge(1_002, eu.delta_since(&between)).unwrap_err();
    /// assert_eq!(refused, MergeError::Gap { vector: us.vector() });
    ///
    /// let delta = eu.delta_since(&us.vector());
    /// assert!(us.merge(1_002, delta.clone())?.is_news);
    /// assert!(!us.merge(1_003, delta)?.is_news);               // again: no harm
    ///
    /// // A clock that is an hour ahead.
    /// eu.write(3_600_000, |set| set.add(&3))?;
    /// let refused = us.merge(1_004, eu.delta_since(&us.vector())).unwrap_err();
    /// assert!(matches!(refused, MergeError::TooFarAhead { bound_ms: 61_004, .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn merge(&mut self, now_ms: u64, delta: Delta<S>) -> Result<Merged, MergeError> {
        self.check(now_ms, &delta)?;
        let recorder = Recorder::new(self.config.changes);
        Ok(self.absorb(delta, recorder))
    }

    /// Merges what may be merged.
    fn absorb(&mut self, delta: Delta<S>, recorder: Recorder) -> Merged {
        let to_ours = |frontier: &Frontier, remap: &[Origin]| {
            let mut ours = Frontier::default();
            for dot in frontier.iter() {
                ours.raise(Dot { origin: remap[dot.origin.index()], time: dot.time });
            }
            ours
        };
        let remap = self.remap(delta.origins.ids());
        let to = to_ours(&delta.to, &remap);
        if to.within(&self.held.vector) {
            return Merged::default();
        }
        let Held { state, system, origins, vector, dropped, .. } = &mut self.held;
        let cut = delta.cut.map(|cut| to_ours(&cut, &remap));
        let mut merging = Merging {
            origins,
            remap: &remap,
            ours: vector,
            theirs: cut.is_some().then_some(&to),
            floor: Default::default(),
            fresh: Default::default(),
            residue: false,
            conflicts: 0,
            unreadable: Unreadable::default(),
            is_unknown: false,
            recorder,
            seed: self.txn.seed,
        };
        // A panic here can only come from the application's `Eq`, `Hash`, `Ord` or `Drop` of a key or value.
        self.is_poisoned = true;
        let mut incoming = delta.state;
        state.join(&mut incoming, &mut merging, &Path::root());
        let conflicts = merging.conflicts;
        let unreadable = std::mem::take(&mut merging.unreadable);
        let recorder = std::mem::replace(&mut merging.recorder, Recorder::new(false));
        let mut incoming = delta.system;
        let is_system_news = !incoming.is_bottom();
        if is_system_news || merging.absence_speaks() && !system.is_bottom() {
            system.join(&mut incoming, &mut merging, &Path::root());
        }
        vector.raise_all(&to);
        if let Some(cut) = cut {
            dropped.raise_all(&cut);
        }
        self.is_poisoned = false;
        let newest = to.iter().map(|dot| dot.time).max().unwrap_or_default();
        self.clock.observe(newest);
        if is_system_news {
            self.held.relink();
        }
        let is_settled = self.membership.is_waiting() && self.membership.settle(&self.held.vector);
        if is_settled || is_system_news {
            self.judge_links(false);
        }
        let changes = recorder.finish_merge();
        Merged { is_news: true, conflicts, unreadable, changes, is_system_news }
    }

    /// The values held that this release cannot read; see [`Unreadable`].
    ///
    /// Cost: all that is live is looked at, but for sets, flags and counters.
    pub fn unreadable(&self) -> Unreadable {
        self.held.unreadable()
    }

    /// Asks which closed ids all members know to be closed; of those of whom that was known, only if `again`.
    fn judge_links(&mut self, again: bool) {
        let Held { links, vector, origins, .. } = &mut self.held;
        if links.is_empty() || !again && !links.are_open() {
            return;
        }
        let cut = self.membership.stable_cut(&self.id, vector, links);
        Arc::make_mut(links).judge(again, |by| cut.covers(by));
        let gone = links.implied(vector, |link| link.is_stable);
        self.membership
            .shorten(links, |id| origins.get(id).is_some_and(|id| gone.binary_search(&id).is_ok()));
    }

    /// Whether all is held that `vector` covers, and nothing else.
    pub(crate) fn is_at(&self, vector: &VersionVector) -> bool {
        self.held.is_at(vector)
    }

    /// How far the events of `id` are held, closed or not.
    pub(crate) fn seen(&self, id: &ReplicaId) -> Timestamp {
        self.held.time(id)
    }

    /// What must hold before a delta may touch anything.
    fn check(&self, now_ms: u64, delta: &Delta<S>) -> Result<(), MergeError> {
        if self.is_poisoned {
            return Err(MergeError::Poisoned);
        }
        if delta.is_chunk() {
            return Err(MergeError::Incomplete);
        }
        let Delta { origins, from, to, .. } = delta;
        let named =
            |frontier: &Frontier| frontier.iter().map(|dot| (*origins.id(dot.origin), dot.time)).collect();
        let (from, to): (Vec<_>, Vec<_>) = (named(from), named(to));
        self.check_stamps(now_ms, to.iter().copied())?;
        if to.iter().any(|(id, _)| self.held.time(id) == Timestamp::ZERO) {
            let closed = delta.closed_here();
            let is_new = |id: &ReplicaId| self.held.time(id) == Timestamp::ZERO && !closed.contains(id);
            let count = self.held.open_ids() + to.iter().filter(|(id, _)| is_new(id)).count();
            if count > Limits::MAX_REPLICAS {
                return Err(MergeError::TooManyReplicas { count });
            }
        }
        let own_entry =
            from.iter().find(|(id, _)| *id == self.id).map_or(Timestamp::ZERO, |(_, stamp)| *stamp);
        self.check_own(own_entry)?;
        if !delta.is_complete() && from.iter().any(|(id, stamp)| *stamp > self.held.time(id)) {
            return Err(MergeError::Gap { vector: self.vector() });
        }
        Ok(())
    }

    /// Refuses a vector in which our own entry is none of our commit points.
    fn check_own(&self, stamp: Timestamp) -> Result<(), MergeError> {
        if self.commits.is_foreign(stamp) {
            return Err(MergeError::NotIssued { stamp, own: self.held.time(&self.id) });
        }
        Ok(())
    }

    /// Refuses stamps of the future, stamps of our own that we never issued, and a time that no stamp can have.
    fn check_stamps(
        &self,
        now_ms: u64,
        mut vector: impl Iterator<Item = (ReplicaId, Timestamp)>,
    ) -> Result<(), MergeError> {
        Timestamp::new(now_ms, 0).map_err(MergeError::Clock)?;
        vector.try_for_each(|(id, stamp)| {
            let own = self.held.time(&id);
            if id == self.id {
                self.check_own(stamp)?;
            }
            if stamp <= own {
                return Ok(());
            }
            if id == self.id {
                return Err(MergeError::NotIssued { stamp, own });
            }
            let bound = now_ms.saturating_add(self.config.max_ahead_ms);
            if stamp.millis() > bound {
                return Err(MergeError::TooFarAhead { id, stamp, bound_ms: bound });
            }
            Ok(())
        })
    }

    /// For each id of an incoming message, what stands for it here.
    fn remap(&mut self, ids: &[ReplicaId]) -> Vec<Origin> {
        let known = ids.iter().map(|id| self.held.origins.get(id));
        known.collect::<Option<_>>().unwrap_or_else(|| self.intern(ids))
    }

    fn intern(&mut self, ids: &[ReplicaId]) -> Vec<Origin> {
        let origins = Arc::make_mut(&mut self.held.origins);
        let remap = ids.iter().map(|id| origins.intern(*id)).collect();
        self.txn.origins = Arc::clone(&self.held.origins);
        remap
    }

    /// Sets whose sight forgetting waits for: all replicas that may still send or need what is held here. This replica is
    /// a member whether named or not. Without members nothing is ever forgotten.
    ///
    /// Leaving out one that still has data is safe: when it returns it is sent all that is held, and what it wrote alone
    /// is kept. Membership is the operator's decision, and the same in all replicas sooner or later. See
    /// [`forget`](Self::forget) for an example.
    pub fn set_members(&mut self, members: impl IntoIterator<Item = ReplicaId>) {
        self.membership.set_members(members);
        self.judge_links(true);
    }

    /// The members that were set, ordered.
    pub fn members(&self) -> &[ReplicaId] {
        self.membership.members()
    }

    /// Takes note of what a replica holds: from itself, or passed on by anyone, in any order, with or without data. A report
    /// counts for [`forget`](Self::forget) once all that it covers is held here too.
    ///
    /// A vector under an id that nobody has set as a member is kept as well: membership may come later.
    ///
    /// # Errors
    /// [`MergeError::TooFarAhead`] or [`MergeError::NotIssued`] if the vector cannot be true, [`MergeError::Clock`] if the
    /// time cannot be, [`MergeError::TooManyReplicas`] if the vector, or all reports together, would name more replicas than
    /// can be held. Nothing changed.
    pub fn report(&mut self, now_ms: u64, id: ReplicaId, vector: &VersionVector) -> Result<(), MergeError> {
        self.check_stamps(now_ms, vector.iter())?;
        let mut count = self.membership.reported_with(&id);
        let unknown = |(id, _): &(ReplicaId, Timestamp)| self.held.origins.get(id).is_none();
        let unknown: Vec<ReplicaId> = vector.iter().filter(unknown).map(|(id, _)| id).collect();
        if !unknown.is_empty() {
            // They stay in the table of ids, whatever becomes of the report.
            count = count.max(self.held.origins.len() - self.held.vector.iter().count() + unknown.len());
            count = count.max(self.held.open_ids() + unknown.len());
        }
        if count > Limits::MAX_REPLICAS {
            return Err(MergeError::TooManyReplicas { count });
        }
        if id == self.id {
            return Ok(());
        }
        if !unknown.is_empty() {
            self.intern(&unknown);
        }
        let Held { origins, vector: own, .. } = &self.held;
        let dots = vector.iter().filter_map(|(id, time)| Some(Dot { origin: origins.get(&id)?, time }));
        self.membership.report(id, dots, own);
        self.judge_links(false);
        Ok(())
    }

    /// What each replica is known to hold, this one among them: what to pass on, so that replicas that never meet learn of
    /// each other.
    ///
    /// # Example
    /// ```
    /// use driftless::{Config, Flag, Replica, ReplicaId};
    ///
    /// type Leaf = Replica<Flag>;
    /// let [mut hub, eu, mut us] = [1, 2, 3].map(|id| Leaf::new(ReplicaId::from_u128(id), Config::default()));
    /// hub.report(1_000, eu.id(), &eu.vector())?;
    /// for (id, vector) in hub.known_vectors() {
    ///     us.report(1_001, id, &vector)?;                     // of eu, which us never meets, and of the hub
    /// }
    /// assert_eq!(us.known_vectors().len(), 3);
    /// # Ok::<(), driftless::MergeError>(())
    /// ```
    pub fn known_vectors(&self) -> Vec<(ReplicaId, VersionVector)> {
        let origins = &self.held.origins;
        let others = self.membership.table().map(|(id, dots)| {
            let entries = dots.map(|dot| (*origins.id(dot.origin), dot.time));
            (id, entries.collect::<Vec<_>>().into())
        });
        others.chain([(self.id, self.vector())]).collect()
    }

    /// What is forgotten for one other replica, as it is known to hold it, and goes beyond a vector.
    pub(crate) fn counts_beyond(&self, id: &ReplicaId, vector: &VersionVector) -> VersionVector {
        let Held { origins, links, .. } = &self.held;
        let mut covered = Frontier::default();
        for (id, time) in vector {
            origins.get(&id).into_iter().for_each(|origin| covered.raise(Dot { origin, time }));
        }
        links.resolve(&mut covered);
        let beyond = self.membership.counts_for(id).filter(|dot| !covered.covers(*dot));
        beyond.map(|dot| (*origins.id(dot.origin), dot.time)).collect()
    }

    /// What every member is known to have seen: what lies within is stable, and is forgotten by [`forget`](Self::forget).
    /// Nothing, as long as no members are set.
    pub fn stable_cut(&self) -> VersionVector {
        let Held { vector, links, .. } = &self.held;
        self.held.shortened(&self.membership.stable_cut(&self.id, vector, links))
    }

    /// Drops the marks of what every member has seen overwritten or removed, and the rows of which nothing is left.
    ///
    /// Never by the clock: a member that has not been heard of keeps everything that it has not seen, and is named in the
    /// result.
    ///
    /// # Cost
    /// Proportional to what there is to forget, now or later; not to what is live.
    ///
    /// # Example
    /// ```
    /// use driftless::{Config, OrSet, Replica, ReplicaId};
    ///
    /// let mut eu: Replica<OrSet<u8>> = Replica::new(ReplicaId::from_u128(1), Config::default());
    /// let mut us: Replica<OrSet<u8>> = Replica::new(ReplicaId::from_u128(2), Config::default());
    /// eu.write(1_000, |set| set.add(&7))?;
    /// eu.write(1_001, |set| set.remove(&7))?;
    /// us.merge(1_002, eu.delta_since(&us.vector()))?;
    /// assert_eq!((eu.state().len(), eu.state().rows()), (0, 1));      // that 7 is removed is kept
    ///
    /// eu.set_members([eu.id(), us.id()]);
    /// assert_eq!(eu.members().len(), 2);
    /// assert_eq!(eu.forget().behind, [us.id()]);                      // it has not been heard of
    /// assert!(eu.stable_cut().is_empty());
    ///
    /// eu.report(1_003, us.id(), &us.vector())?;
    /// assert_eq!(eu.stable_cut(), eu.vector());
    /// let forgotten = eu.forget();
    /// assert_eq!((forgotten.rows, forgotten.marks, forgotten.behind), (1, 1, vec![]));
    /// assert_eq!(eu.state().rows(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn forget(&mut self) -> Forgotten {
        self.forget_within(None)
    }

    /// As [`forget`](Self::forget), but only what a snapshot of this replica held as well. What is on disk is continued by what
    /// goes on from there: if marks were dropped that it lacks, all would have to be written anew.
    pub(crate) fn forget_within(&mut self, stored: Option<&Snapshot<S>>) -> Forgotten {
        let Held { state, system, origins, dropped, vector, links } = &mut self.held;
        let mut cut = self.membership.stable_cut(&self.id, vector, links);
        if let Some(stored) = stored {
            // Ids have the numbers there that they have here, as far as it has them.
            cut.meet(&stored.held().vector);
        }
        let behind = self.membership.behind(&self.id, vector, links);
        let mut pruning = Pruning {
            cut: &cut,
            floor: Default::default(),
            counting: Counting::new(&self.membership, origins, &self.id, vector, links),
            dropped: std::mem::take(dropped),
            rows: 0,
            marks: 0,
            weighed: None,
        };
        // As in a merge: a panic can only come from the application's own types.
        self.is_poisoned = true;
        state.prune(&mut pruning);
        let (rows, marks) = (pruning.rows, pruning.marks);
        system.prune(&mut pruning);
        *dropped = pruning.dropped;
        self.is_poisoned = false;
        self.commits.forget(self.held_by_all(&cut));
        Forgotten { rows, marks, behind }
    }

    /// Up to which of its own commits every other member holds them. Where there is no other member that is said of none: what
    /// a copy of this replica has is not known by it.
    pub(crate) fn held_by_all(&self, cut: &Frontier) -> Timestamp {
        let is_alone = self.membership.members().iter().all(|member| *member == self.id);
        if is_alone { Timestamp::ZERO } else { cut.time(self.txn.dot.origin) }
    }
}

/// Writes in a transaction that has begun. Returns what `write` returned, and how many events there were.
#[inline]
fn write_in<C: Crdt, R, E>(
    state: &mut C,
    txn: &mut Txn,
    write: impl FnOnce(&mut C::Mut<'_>) -> Result<R, E>,
) -> Result<(R, usize), TransactError<E>> {
    let undo = RollBack { state, txn };
    let mut handle = C::handle(Writer { value: &mut *undo.state, txn: &mut *undo.txn, path: Path::root() });
    let result = write(&mut handle);
    drop(handle);
    let value = result.map_err(TransactError::Aborted)?;
    if undo.txn.entered > 0 {
        return Err(TransactError::Write(WriteError::Unwound));
    }
    let events = std::mem::take(&mut undo.txn.events);
    undo.txn.keep();
    Ok((value, events))
}

fn never_aborted(error: TransactError<Infallible>) -> WriteError {
    match error {
        TransactError::Write(error) => error,
        TransactError::Aborted(never) => match never {},
    }
}

/// Undoes the transaction in progress when it is dropped before the transaction was kept.
struct RollBack<'a, S: Crdt> {
    state: &'a mut S,
    txn: &'a mut Txn,
}

impl<S: Crdt> Drop for RollBack<'_, S> {
    fn drop(&mut self) {
        self.txn.roll_back(self.state);
    }
}
