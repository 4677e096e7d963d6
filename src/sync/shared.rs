//! What the sessions of an endpoint share: the replica, and what is known of the others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use crate::causal::id::ReplicaId;
use crate::causal::vector::VersionVector;
use crate::clock::Timestamp;
use crate::crdt::Crdt;
use crate::crdt::schema::Schema;
use crate::delta::Delta;
use crate::delta::pending::PendingDelta;
use crate::delta::system::Fork;
use crate::replica::Replica;
use crate::replica::error::MergeError;
use crate::replica::held::Snapshot;
use crate::replica::request::Request;
use crate::sync::concern::Memberships;
use crate::sync::config::{Admission, SyncConfig};
use crate::sync::endpoint::Missing;
use crate::sync::event::SyncEvent;
use crate::sync::frame::{Points, Table};
use crate::sync::outbound::Transfer;
use crate::sync::points::Ledger;
use crate::sync::roster::Epoch;

/// How long the parts of a broken transfer are kept for its peer to return.
const KEPT_MS: u64 = 600_000;

/// So many commits of before the id was given up are remembered.
const MOST_ISSUED: usize = 4096;

/// What all sessions share.
#[derive(Debug)]
pub(crate) struct Shared<S> {
    pub(crate) replica: Replica<S>,
    config: SyncConfig,
    /// What may leave, if there is a store.
    pub(crate) persisted: Option<Snapshot<S>>,
    pub(crate) ledger: Ledger,
    pub(crate) doubt: Option<Doubt>,
    pub(crate) events: VecDeque<SyncEvent>,
    /// What members said that they hold. What they merged and did not yet persist is not in it.
    pub(crate) told: BTreeMap<ReplicaId, VersionVector>,
    /// The shape of the state.
    pub(crate) schema: Schema,
    /// Transfers to peers that are gone for now, and what is gathered of those from them; since when.
    pub(crate) suspended: BTreeMap<ReplicaId, (u64, Transfer<S>)>,
    pub(crate) gathered: BTreeMap<ReplicaId, (u64, PendingDelta<S>)>,
    /// Which membership it was when we last looked, and whether we were in it.
    pub(crate) last_epoch: Epoch,
    pub(crate) was_member: bool,
    /// The memberships so far, for writes to be counted against.
    pub(crate) memberships: Memberships,
    /// The ids that this endpoint had before.
    pub(crate) former: BTreeSet<ReplicaId>,
    /// Who may become a member when it comes.
    pub(crate) invited: BTreeSet<ReplicaId>,
    /// The newest commits that were made before the id was given up: under which id and stamp they are known now.
    issued: BTreeMap<Timestamp, (ReplicaId, Timestamp)>,
    /// For the ids of members that came, who they were by what the transport said.
    pub(crate) principals: BTreeMap<ReplicaId, String>,
    /// Goes up with all that may give a session something to send.
    pub(crate) version: u64,
    /// Goes up with all that may make a parked delta fit.
    pub(crate) merges: u64,
}

/// Our id is in doubt: it is used twice, or we were rolled back.
#[derive(Debug)]
pub(crate) struct Doubt {
    /// What we found at a peer, and never committed.
    pub(crate) stamp: Timestamp,
    /// The commits under our id of which others hold the effect.
    pub(crate) known: Vec<Timestamp>,
    /// Those of which the other copy says that it made them: perhaps nobody else has them.
    pub(crate) claimed: Vec<Timestamp>,
    /// Whether a peer has answered.
    pub(crate) is_answered: bool,
}

/// How many commits a doubt remembers: more than honest peers were ever told of one replica.
const MOST_KNOWN: usize = 65_536;

impl Doubt {
    /// A peer, or the other copy, said what it knows of the commits under our id.
    pub(crate) fn learn(&mut self, points: Vec<Timestamp>, is_claim: bool) {
        let known = if is_claim { &mut self.claimed } else { &mut self.known };
        let room = MOST_KNOWN.saturating_sub(known.len());
        known.extend(points.into_iter().take(room));
        // Most peers were told the same.
        known.sort_unstable();
        known.dedup();
    }
}

impl<S: Crdt> Shared<S> {
    pub(crate) fn new(replica: Replica<S>, config: SyncConfig) -> Self {
        let mut schema = Schema::default();
        S::describe(&mut schema);
        let persisted = config.is_durable.then(|| replica.snapshot());
        Self {
            replica,
            config,
            persisted,
            ledger: Ledger::default(),
            doubt: None,
            events: VecDeque::new(),
            told: BTreeMap::new(),
            schema,
            suspended: BTreeMap::new(),
            gathered: BTreeMap::new(),
            last_epoch: Epoch::default(),
            was_member: false,
            memberships: Memberships::default(),
            former: BTreeSet::new(),
            invited: BTreeSet::new(),
            issued: BTreeMap::new(),
            principals: BTreeMap::new(),
            version: 1,
            merges: 0,
        }
    }

    pub(crate) fn config(&self) -> &SyncConfig {
        &self.config
    }

    /// What others may be told that we hold.
    pub(crate) fn told(&self) -> VersionVector {
        match &self.persisted {
            Some(snapshot) => snapshot.vector(),
            None => self.replica.vector(),
        }
    }

    /// What to ask a peer by, once a gap is found: all that is held here but our own events that are not on disk yet.
    pub(crate) fn request(&self) -> Request {
        let (request, own) = (self.replica.request(), self.replica.id());
        let told = self.told().get(&own);
        let vector = request.vector().iter().map(|(id, stamp)| (id, if id == own { told } else { stamp }));
        request.at(vector.collect())
    }

    /// What to ask a peer by to begin with: what we answer for. What is held of the peer's own id is in it even if that is closed
    /// here: it may be a second copy of a process that had an end long ago.
    pub(crate) fn hello_request(&self, peer: Option<&ReplicaId>) -> Request {
        let mut vector = self.told();
        if let Some(id) = peer {
            vector.raise(*id, self.seen(id));
        }
        self.replica.request().at(vector)
    }

    /// How far the events of an id are held, closed or not, as far as others may be told.
    pub(crate) fn seen(&self, id: &ReplicaId) -> Timestamp {
        match &self.persisted {
            Some(snapshot) => snapshot.seen(id),
            None => self.replica.seen(id),
        }
    }

    pub(crate) fn answer(&self, request: &Request) -> Delta<S> {
        match &self.persisted {
            Some(snapshot) => snapshot.answer(request),
            None => self.replica.answer(request),
        }
    }

    /// The commits between two vectors that the vectors do not name.
    pub(crate) fn points_between(&self, from: &VersionVector, to: &VersionVector) -> Points {
        self.ledger.passed_on(from, to)
    }

    /// What is not held here yet of what a vector covers, ordered by id.
    pub(crate) fn news_in(&self, vector: &VersionVector) -> SmallVec<[Missing; 2]> {
        let missing = vector.iter().map(|(id, want)| Missing { id, have: self.replica.seen(&id), want });
        missing.filter(|missing| missing.have < missing.want).collect()
    }

    /// We are told of commits among what was not held here.
    pub(crate) fn note_points(&mut self, points: &Points, news: &[Missing]) {
        for (id, points) in points {
            let place = news.binary_search_by_key(id, |missing| missing.id);
            if let Some(Missing { have, want, .. }) = place.ok().and_then(|place| news.get(place)) {
                self.ledger.note(*id, points.iter().copied().filter(|point| (*have..*want).contains(point)));
            }
        }
    }

    /// The last commits of what was not held here are held now.
    pub(crate) fn note_last(&mut self, news: &[Missing]) {
        news.iter().for_each(|missing| self.ledger.note(missing.id, [missing.want]));
    }

    /// What others are known to hold, as far as it differs from what we hold; and a hash of all of it.
    pub(crate) fn table(&self, own: &VersionVector) -> Table {
        let differences = |vector: &VersionVector| {
            own.iter()
                .map(|(id, stamp)| (id, stamp, vector.get(&id)))
                .filter(|(_, own, theirs)| own != theirs)
                .map(|(id, _, theirs)| (id, theirs))
                .collect::<Vec<_>>()
        };
        let members = self.replica.members();
        let known = self.replica.known_vectors().into_iter();
        let others = known.filter(|(id, _)| *id != self.replica.id() && members.contains(id));
        others.map(|(id, vector)| (id, differences(&vector))).collect()
    }

    /// What a vector has that is not held here.
    pub(crate) fn missing(&self, vector: &VersionVector) -> Vec<Missing> {
        let wanted = vector.iter().flat_map(|(id, want)| {
            // What was issued again has another name now. Which copy of the id the stamp is of cannot be told: both are
            // asked for.
            let forks = self.replica.system().forks.get(&id);
            let forks = forks.into_iter().flat_map(|forks| forks.iter());
            let again = forks.filter_map(move |(id, fork)| {
                let Fork { after, last, is_kept } = *fork.latest()?;
                (want > after).then_some((*id, if is_kept { want.min(last) } else { last }))
            });
            [(id, want)].into_iter().chain(again)
        });
        let missing = wanted.map(|(id, want)| Missing { id, have: self.replica.seen(&id), want });
        missing.filter(|missing| missing.have < missing.want).collect()
    }

    /// A peer says what it holds. Unless it said so earlier than what it said last, that is what it says now: its vector may
    /// leave out ids that are closed by now, so the two are not joined.
    pub(crate) fn hear(&mut self, id: ReplicaId, vector: &VersionVector) {
        hear(self.told.entry(id).or_default(), vector);
    }

    /// A vector, in the memory of the one that another peer said if the two are the same: nearly always all hold the same.
    pub(crate) fn kept_once(&self, vector: &VersionVector) -> VersionVector {
        self.told.values().find(|told| *told == vector).unwrap_or(vector).clone()
    }

    /// Whether an id may be that of whom the transport names: it was nobody else's so far, or anybody is let in. A transport that
    /// names nobody does not say that it is somebody else.
    pub(crate) fn may_be(&self, id: &ReplicaId, principal: Option<&String>) -> bool {
        let is_anyone = self.config.admission == Admission::Anyone;
        is_anyone || self.principals.get(id).zip(principal).is_none_or(|(known, named)| known == named)
    }

    /// A member came under an id, and the transport says who it is.
    pub(crate) fn note_principal(&mut self, id: ReplicaId, principal: Option<&String>) {
        if let Some(principal) = principal {
            self.principals.entry(id).or_insert_with(|| principal.clone());
        }
    }

    /// Takes note of a commit of our own.
    pub(crate) fn committed(&mut self, stamp: Option<Timestamp>) {
        if let Some(stamp) = stamp {
            self.ledger.note(self.replica.id(), [stamp]);
            self.version += 1;
        }
    }

    /// Under which id and stamp a commit of this endpoint is known; `None` if it is none, as far as is remembered.
    pub(crate) fn issued_as(&self, stamp: Timestamp) -> Option<(ReplicaId, Timestamp)> {
        let own = self.replica.has_committed(stamp).then(|| (self.replica.id(), stamp));
        own.or_else(|| self.issued.get(&stamp).copied())
    }

    /// The id was given up: each of its commits is known as `new` says of its stamp.
    pub(crate) fn note_issued(
        &mut self,
        former: ReplicaId,
        commits: &[Timestamp],
        new: impl Fn(Timestamp) -> (ReplicaId, Timestamp),
    ) {
        self.issued.extend(commits.iter().map(|stamp| (*stamp, (former, *stamp))));
        for known in self.issued.values_mut().filter(|(id, _)| *id == former) {
            *known = new(known.1);
        }
        while self.issued.len() > MOST_ISSUED {
            self.issued.pop_first();
        }
    }

    /// The clock was set back.
    pub(crate) fn rewind(&mut self, now_ms: u64) {
        self.suspended.values_mut().for_each(|(since_ms, _)| *since_ms = now_ms.min(*since_ms));
        self.gathered.values_mut().for_each(|(since_ms, _)| *since_ms = now_ms.min(*since_ms));
    }

    /// Drops what is kept of peers that did not return, and of ids that nobody uses any more.
    pub(crate) fn tidy(&mut self, now_ms: u64, is_connected: impl Fn(&ReplicaId) -> bool) {
        let is_kept = |since_ms: u64| now_ms < since_ms.saturating_add(KEPT_MS);
        self.suspended.retain(|_, (since_ms, _)| is_kept(*since_ms));
        self.gathered.retain(|_, (since_ms, _)| is_kept(*since_ms));
        // What may pend is bounded for all of them together: the oldest goes first.
        let allowed = self.replica.config().limits.transfer_bytes;
        let bytes = |gathered: &BTreeMap<ReplicaId, (u64, PendingDelta<S>)>| {
            gathered.values().map(|(_, pending)| pending.bytes()).sum::<usize>()
        };
        while bytes(&self.gathered) > allowed {
            let oldest = self.gathered.iter().min_by_key(|(_, (since_ms, _))| *since_ms).map(|(id, _)| *id);
            let Some(oldest) = oldest else { break };
            self.gathered.remove(&oldest);
        }
        let (vector, members, own) = (self.replica.vector(), self.replica.members(), self.replica.id());
        let is_used = |id: &ReplicaId| *id == own || is_connected(id) || members.binary_search(id).is_ok();
        self.told.retain(|id, _| is_used(id));
        self.principals.retain(|id, _| members.binary_search(id).is_ok());
        self.ledger.retain(|id| is_used(id) || vector.get(id) > Timestamp::ZERO);
        self.ledger.forget(&self.replica.stable_cut());
    }

    /// A peer, or someone in its name, holds `vector`.
    ///
    /// # Errors
    /// The vector cannot be true. If it has what we never issued, our id is in doubt from now on.
    pub(crate) fn report(
        &mut self,
        now_ms: u64,
        id: ReplicaId,
        vector: &VersionVector,
    ) -> Result<(), MergeError> {
        if let Err(error) = self.replica.report(now_ms, id, vector) {
            self.doubt_if(&error, id == self.replica.id());
            return Err(error);
        }
        Ok(())
    }

    /// Whether this error says that our id is used twice. `is_claim`: by the word of the other copy alone.
    pub(crate) fn doubt_if(&mut self, error: &MergeError, is_claim: bool) {
        if let MergeError::NotIssued { stamp, .. } = error {
            self.doubt_as(*stamp);
            if let Some(doubt) = &mut self.doubt {
                doubt.learn(vec![*stamp], is_claim);
            }
        }
    }

    /// Our id is in doubt, because of a stamp.
    pub(crate) fn doubt_as(&mut self, stamp: Timestamp) {
        if self.doubt.is_none() {
            self.doubt = Some(Doubt { stamp, known: Vec::new(), claimed: Vec::new(), is_answered: false });
            self.version += 1;
        }
    }
}

/// Takes what someone says to hold for what it holds, unless it said so earlier than what it said last.
pub(crate) fn hear(told: &mut VersionVector, vector: &VersionVector) {
    let is_later = vector.iter().any(|(id, stamp)| stamp > told.get(&id));
    let is_earlier =
        told.iter().any(|(id, stamp)| (Timestamp::from_bits(1)..stamp).contains(&vector.get(&id)));
    if is_later || !is_earlier {
        *told = vector.clone();
    }
}

/// A hash of a vector, by which two that are equal are told to be so.
pub(crate) fn hash_of(vector: &VersionVector) -> u64 {
    hash_of_entries(vector.len(), vector.iter())
}

/// A hash of ids.
pub(crate) fn hash_of_ids(ids: &[ReplicaId]) -> u64 {
    let bytes: Vec<u8> = ids.iter().flat_map(|id| *id.as_bytes()).collect();
    xxh3_64(&bytes)
}

fn hash_of_entries(count: usize, entries: impl Iterator<Item = (ReplicaId, Timestamp)>) -> u64 {
    let mut bytes = Vec::with_capacity(count.saturating_mul(24));
    for (id, stamp) in entries {
        bytes.extend_from_slice(id.as_bytes());
        bytes.extend_from_slice(&stamp.bits().to_be_bytes());
    }
    xxh3_64(&bytes)
}

/// A hash of what is known of others.
pub(crate) fn hash_of_table(table: &Table) -> u64 {
    let mut bytes = Vec::new();
    for (id, differences) in table {
        bytes.extend_from_slice(id.as_bytes());
        let hash = hash_of_entries(differences.len(), differences.iter().copied());
        bytes.extend_from_slice(&hash.to_be_bytes());
    }
    xxh3_64(&bytes)
}
