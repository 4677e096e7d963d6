//! An endpoint: a replica, the membership, and a session for each link.

use std::collections::{BTreeMap, BTreeSet};

use crate::causal::id::ReplicaId;
use crate::causal::vector::VersionVector;
use crate::clock::Timestamp;
use crate::crdt::Crdt;
use crate::replica::Replica;
use crate::replica::committed::Committed;
use crate::replica::error::TransactError;
use crate::replica::held::Snapshot;
use crate::sync::access::Access;
use crate::sync::concern::{Concern, ConcernId, Held, Holders, Need};
use crate::sync::config::SyncConfig;
use crate::sync::error::{LinkId, RefusedWrite, SyncError};
use crate::sync::event::SyncEvent;
use crate::sync::frame::{Frame, Hello};
use crate::sync::roster::{Epoch, Member};
use crate::sync::session::{Around, Session, State};
use crate::sync::shared::Shared;
use crate::sync::token::Token;

/// A replica that keeps itself in step with others: the protocol, without I/O.
///
/// The caller owns the connections, the clock and the buffers. It tells the endpoint what happens, and does what it says:
///
/// 1. It calls [`link_up`](Self::link_up), [`link_down`](Self::link_down), [`receive`](Self::receive), [`write`](Self::write) and
///    the others as things happen, and [`tick`](Self::tick) at the [`deadline`](Self::deadline).
/// 2. After each of these calls it sends what [`transmit`](Self::transmit) gives, until it gives nothing more,
/// 3. and looks at what [`next_event`](Self::next_event) gives, until it gives nothing more.
///
/// That is all. Frames may be lost, late, repeated, in any order, or of an older connection: nothing is taken twice, nothing is
/// skipped, and what does not arrive is sent again. A connection that keeps frames in order and loses none, such as TCP, is best.
///
/// # Cost
/// Of a delta that comes in hardly more than of merging it. A heartbeat goes over the members that are not known to hold all that
/// is held here. A session holds a few vectors, and the chunks of a transfer that are under way.
///
/// # Example
/// Two endpoints, and what a program does around them; here frames arrive at once.
/// ```
/// use driftless::{Config, Counter, Endpoint, LinkId, MergeMap, Replica, ReplicaId, SyncConfig, SyncEvent};
/// use uuid::Uuid;
///
/// type Visits = MergeMap<String, Counter>;
/// let cluster = Uuid::from_u128(0xc1);
/// let [mut eu, mut us] = [("eu", 1), ("us", 2)].map(|(region, number)| {
///     let replica: Replica<Visits> = Replica::new(ReplicaId::from_u128(number), Config::default());
///     Endpoint::new(replica, SyncConfig::new(cluster, ReplicaId::from_u128(0xe0 + number), region))
/// });
/// let (now_ms, link) = (1_700_000_000_000, LinkId(1));
/// eu.found(now_ms)?;
/// eu.write(now_ms, |visits| visits.update("home", |count| count.add(1)))?;
/// eu.link_up(now_ms, link, None, 42);                     // the nonces are fresh random numbers
/// us.link_up(now_ms, link, None, 7);
///
/// let mut frame = Vec::new();
/// loop {
///     if eu.transmit(now_ms, &mut frame).is_some() {
///         us.receive(now_ms, link, &frame)?;
///     } else if us.transmit(now_ms, &mut frame).is_some() {
///         eu.receive(now_ms, link, &frame)?;
///     } else {
///         break;
///     }
///     frame.clear();
/// }
/// assert_eq!(us.replica().digest(), eu.replica().digest());
/// assert_eq!((us.members().len(), us.epoch()), (2, eu.epoch()));
/// assert!(matches!(us.next_event(), Some(SyncEvent::Established { .. })));
/// assert_eq!((us.config().region.as_str(), us.peers().len()), ("us", 1));
///
/// // A second later nothing has changed, and one small frame says so.
/// let later_ms = us.deadline().ok_or("it has a link")?;
/// us.tick(later_ms);
/// assert_eq!(us.transmit(later_ms, &mut frame), Some(link));
///
/// us.link_down(later_ms, link);
/// eu.evict(later_ms, ReplicaId::from_u128(0xe2))?;        // it is not waited for any more
/// assert_eq!((eu.members().len(), eu.blocking().len()), (1, 0));
/// eu.admit(later_ms, ReplicaId::from_u128(0xe2))?;        // and may come again
/// us.leave(later_ms)?;                                    // or goes by itself
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Endpoint<S> {
    pub(crate) shared: Shared<S>,
    /// Each in a box: a map has room for eleven where there is one.
    pub(crate) sessions: BTreeMap<LinkId, Box<Session<S>>>,
    /// The session that `transmit` looks at first.
    turn: Option<LinkId>,
    pub(crate) concerns: Vec<Concern>,
    next_concern: u64,
    forget_ms: u64,
    /// The latest time that we were told.
    last_ms: u64,
    /// Since when each member is waited for.
    pub(crate) waiting: BTreeMap<ReplicaId, u64>,
}

/// Of a replica, how far its events are held and how far they would have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The replica.
    pub id: ReplicaId,
    /// The last of its events that is held here.
    pub have: Timestamp,
    /// The one that is asked for.
    pub want: Timestamp,
}

impl<S: Crdt> Endpoint<S> {
    /// An endpoint of a replica under a fresh id, which nobody else ever used.
    pub fn new(replica: Replica<S>, config: SyncConfig) -> Self {
        let mut shared = Shared::new(replica, config);
        // Of what was stored these commits are still known.
        for (id, stamp) in &shared.replica.vector() {
            shared.ledger.note(id, [stamp]);
        }
        let own = shared.replica.commit_points(Timestamp::ZERO, Timestamp::MAX);
        shared.ledger.note(shared.replica.id(), own);
        shared.look_at_roster();
        shared.events.clear();
        Self {
            shared,
            sessions: BTreeMap::new(),
            turn: None,
            concerns: Vec::new(),
            next_concern: 1,
            forget_ms: 0,
            last_ms: 0,
            waiting: BTreeMap::new(),
        }
    }

    /// The replica.
    pub fn replica(&self) -> &Replica<S> {
        &self.shared.replica
    }

    /// How the endpoint is set up.
    pub fn config(&self) -> &SyncConfig {
        self.shared.config()
    }

    /// What is held, for readers and for the store.
    pub fn snapshot(&self) -> Snapshot<S> {
        self.shared.replica.snapshot()
    }

    // ---- writing ----

    /// A transaction, as [`Replica::transact`] makes it; it is on its way to all peers with the frames that come next.
    ///
    /// # Errors
    /// As [`Replica::transact`]; [`RefusedWrite::IdInDoubt`] while the id is in doubt.
    pub fn transact<R, E>(
        &mut self,
        now_ms: u64,
        write: impl FnOnce(&mut S::Mut<'_>) -> Result<R, E>,
    ) -> Result<Committed<R>, RefusedTransaction<E>> {
        self.check_id()?;
        let committed = self.shared.replica.transact(now_ms, write).map_err(|error| match error {
            TransactError::Write(error) => RefusedTransaction::Write(error.into()),
            TransactError::Aborted(error) => RefusedTransaction::Aborted(error),
        })?;
        self.shared.committed(committed.stamp);
        Ok(committed)
    }

    /// A transaction that cannot fail of itself.
    ///
    /// # Errors
    /// As [`transact`](Self::transact).
    pub fn write<R>(
        &mut self,
        now_ms: u64,
        write: impl FnOnce(&mut S::Mut<'_>) -> R,
    ) -> Result<Committed<R>, RefusedWrite> {
        self.check_id()?;
        let committed = self.shared.replica.write(now_ms, write)?;
        self.shared.committed(committed.stamp);
        Ok(committed)
    }

    fn check_id(&self) -> Result<(), RefusedWrite> {
        match self.shared.doubt {
            Some(_) => Err(RefusedWrite::IdInDoubt { id: self.shared.replica.id() }),
            None => Ok(()),
        }
    }

    /// This much is on disk: what may leave, where there is a store.
    ///
    /// # Example
    /// ```
    /// use driftless::{Config, Endpoint, Flag, Replica, ReplicaId, SyncConfig};
    /// use uuid::Uuid;
    ///
    /// let replica: Replica<Flag> = Replica::new(ReplicaId::from_u128(1), Config::default());
    /// let config = SyncConfig::new(Uuid::from_u128(7), ReplicaId::from_u128(0xe1), "eu");
    /// let mut eu = Endpoint::new(replica, SyncConfig { is_durable: true, ..config });
    /// eu.write(1_000, |flag| flag.enable())?;
    /// let snapshot = eu.snapshot();
    /// // ... the program writes it to disk, and waits until it is there; then:
    /// eu.persisted(1_001, snapshot);
    /// # Ok::<(), driftless::RefusedWrite>(())
    /// ```
    pub fn persisted(&mut self, now_ms: u64, snapshot: Snapshot<S>) {
        // What was begun to be written before the id was changed bears names that were given up.
        if self.shared.config().is_durable && snapshot.id == self.shared.replica.id() {
            self.shared.persisted = Some(snapshot);
            self.shared.version += 1;
            self.look_at_concerns(now_ms);
        }
    }

    // ---- tokens ----

    /// The token of a write of this replica.
    pub fn token(&self, stamp: Timestamp) -> Token {
        Token::of(self.shared.replica.id(), stamp)
    }

    /// Whether all is held here that a token asks for. As long as two copies of one process run and nobody has found that out,
    /// the stamps of the one are taken for those of the other.
    ///
    /// # Errors
    /// What is missing, replica by replica.
    ///
    /// # Example
    /// ```
    /// use driftless::{Config, Endpoint, Flag, Replica, ReplicaId, SyncConfig, Token};
    /// use uuid::Uuid;
    ///
    /// let replica: Replica<Flag> = Replica::new(ReplicaId::from_u128(1), Config::default());
    /// let mut eu = Endpoint::new(replica, SyncConfig::new(Uuid::from_u128(7), ReplicaId::from_u128(0xe1), "eu"));
    /// let stamp = eu.transact(1_000, |flag| Ok::<_, ()>(flag.enable())).map_err(|_| "refused")?.stamp.ok_or("no event")?;
    /// let cookie = eu.token(stamp).to_string();
    /// let token: Token = cookie.parse()?;
    /// assert_eq!(eu.reached(&token), Ok(()));
    /// assert_eq!(eu.reached(&Token::from(eu.snapshot().vector())), Ok(()));
    ///
    /// let elsewhere = Token::of(ReplicaId::from_u128(2), stamp);
    /// let missing = eu.reached(&elsewhere).unwrap_err();
    /// assert_eq!((missing[0].id, missing[0].want), (ReplicaId::from_u128(2), stamp));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reached(&self, token: &Token) -> Result<(), Vec<Missing>> {
        let missing: Vec<Missing> = self.shared.missing(token.vector());
        if missing.is_empty() { Ok(()) } else { Err(missing) }
    }

    // ---- links ----

    /// A connection to a peer is there. `principal` is who the transport says it is, if it does; `nonce` is a fresh random
    /// number.
    pub fn link_up(&mut self, now_ms: u64, link: LinkId, principal: Option<String>, nonce: u64) {
        self.look_at_clock(now_ms);
        self.link_down(now_ms, link);
        let session = Session::new(link, principal, nonce, &self.shared, now_ms);
        self.sessions.insert(link, Box::new(session));
    }

    /// Says what the peer at a link may do; without it, all. Best right after [`link_up`](Self::link_up), before anything is
    /// received; if it is another than before, the two greet each other anew. A member cannot be a reader, nor who wrote:
    /// under that id it is refused.
    ///
    /// # Example
    /// ```
    /// use driftless::{Access, Config, Counter, Endpoint, LinkId, Replica, ReplicaId, SyncConfig, SyncEvent};
    /// use uuid::Uuid;
    ///
    /// let [mut eu, mut report] = [1, 2].map(|number| {
    ///     let replica: Replica<Counter> = Replica::new(ReplicaId::from_u128(number), Config::default());
    ///     Endpoint::new(replica, SyncConfig::new(Uuid::from_u128(7), ReplicaId::from_u128(0xe0 + number), "eu"))
    /// });
    /// let (now_ms, link) = (1_000, LinkId(1));
    /// eu.found(now_ms)?;
    /// eu.write(now_ms, |count| count.add(5))?;
    /// report.write(now_ms, |count| count.add(1_000_000))?;     // it may, and it is alone with it
    /// eu.link_up(now_ms, link, None, 42);
    /// eu.grant(now_ms, link, Access::Read);
    /// report.link_up(now_ms, link, None, 43);
    /// let mut frame = Vec::new();
    /// while eu.transmit(now_ms, &mut frame).map(|_| report.receive(now_ms, link, &frame)).transpose()?.is_some()
    ///     || report.transmit(now_ms, &mut frame).map(|_| eu.receive(now_ms, link, &frame)).transpose()?.is_some()
    /// {
    ///     frame.clear();
    /// }
    /// assert_eq!((report.replica().state().value(), eu.replica().state().value()), (1_000_005, 5));
    /// assert_eq!(eu.members().len(), 1);
    /// assert!(std::iter::from_fn(|| eu.next_event()).any(|event| event == SyncEvent::MayNotWrite { link }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn grant(&mut self, now_ms: u64, link: LinkId, access: Access) {
        if let Some(session) = self.sessions.get_mut(&link) {
            session.grant(&self.shared, now_ms, access);
        }
    }

    /// A connection is gone. What is gathered of a transfer is kept, to be gone on with.
    pub fn link_down(&mut self, now_ms: u64, link: LinkId) {
        let Some(mut session) = self.sessions.remove(&link) else {
            return;
        };
        session.report_held(&mut self.shared, now_ms);
        // Of readers there may be any number, each under a fresh id.
        if let Some(peer) = session.peer().map(|peer| peer.id).filter(|_| !session.is_reader()) {
            let shared = &mut self.shared;
            if let Some(transfer) = session.outbound_mut().and_then(|outbound| outbound.suspend()) {
                shared.suspended.insert(peer, (now_ms, transfer));
            }
            let inbound = session.inbound_mut();
            if inbound.gathered().is_some() {
                let fresh = crate::delta::pending::PendingDelta::new(&shared.replica.config().limits);
                shared.gathered.insert(peer, (now_ms, std::mem::replace(&mut inbound.pending, fresh)));
            }
        }
        self.shared.version += 1;
    }

    /// A frame came in on a link: one message of the transport, whole.
    ///
    /// # Errors
    /// [`SyncError`], whose variants say who is to blame. Nothing changed: close the link.
    pub fn receive(&mut self, now_ms: u64, link: LinkId, frame: &[u8]) -> Result<(), SyncError> {
        self.look_at_clock(now_ms);
        // Who comes is looked for at the other links; with all other frames nobody comes.
        let elsewhere = if Frame::is_hello(frame) { self.elsewhere(link) } else { Vec::new() };
        let Some(session) = self.sessions.get_mut(&link) else {
            return Err(SyncError::UnknownLink { link });
        };
        let merges = self.shared.merges;
        let is_known_elsewhere = |hello: &Hello| elsewhere.contains(&hello.id);
        let received = session.receive(&mut self.shared, now_ms, frame, is_known_elsewhere);
        let mut seen = merges;
        // What came may be what others waited for.
        while self.shared.merges != seen {
            seen = self.shared.merges;
            for session in self.sessions.values_mut().filter(|session| session.is_any_parked()) {
                session.take_parked(&mut self.shared, now_ms);
            }
        }
        self.look_at_membership(now_ms);
        self.look_at_concerns(now_ms);
        received
    }

    /// Who is connected by other links as somebody else than the transport of this one says.
    fn elsewhere(&self, link: LinkId) -> Vec<ReplicaId> {
        let principal = self.sessions.get(&link).and_then(|session| session.principal());
        let others = self.sessions.iter().filter(|(other, _)| **other != link).map(|(_, other)| other);
        let others = others.filter(|other| other.principal() != principal && !other.is_reader());
        others.filter_map(|other| Some(other.peer()?.id)).collect()
    }

    /// Does what is due. To be called at the [`deadline`](Self::deadline); at any other time it does no harm.
    pub fn tick(&mut self, now_ms: u64) {
        self.look_at_clock(now_ms);
        for session in self.sessions.values_mut() {
            session.tick(&mut self.shared, now_ms);
        }
        if now_ms >= self.forget_ms {
            self.forget_ms = now_ms.saturating_add(self.shared.config().heartbeat_ms);
            self.forget(now_ms);
        }
        self.look_at_concerns(now_ms);
    }

    /// When [`tick`](Self::tick) is to be called next, in Unix milliseconds. `None`: not before something else happens.
    pub fn deadline(&self) -> Option<u64> {
        let sessions = self.sessions.values().filter_map(|session| session.deadline(&self.shared));
        let concerns = self.concerns.iter().map(|concern| concern.deadline_ms);
        // Who is alone forgets, too, and has to say for whom it waits.
        let is_anyone = !self.sessions.is_empty() || !self.shared.replica.members().is_empty();
        let forgetting = is_anyone.then_some(self.forget_ms);
        sessions.chain(concerns).chain(forgetting).min()
    }

    /// The next frame, appended to `out`, and the link that it goes to. `None`: there is nothing to send for now.
    pub fn transmit(&mut self, now_ms: u64, out: &mut Vec<u8>) -> Option<LinkId> {
        self.look_at_clock(now_ms);
        let connected: Vec<ReplicaId> = self.connected();
        let around = Around::new(&connected);
        // In turns, so that a busy peer does not keep the others waiting.
        let links: Vec<LinkId> = self.sessions.keys().copied().collect();
        let start = self.turn.map_or(0, |turn| links.partition_point(|link| *link <= turn));
        for link in links.iter().cycle().skip(start).take(links.len()) {
            let Some(session) = self.sessions.get_mut(link) else {
                continue;
            };
            if let Ok(true) = session.transmit(&mut self.shared, &around, now_ms, out) {
                self.turn = Some(*link);
                return Some(*link);
            }
        }
        None
    }

    /// What happened. `None`: nothing more for now.
    pub fn next_event(&mut self) -> Option<SyncEvent> {
        self.shared.events.pop_front()
    }

    /// A clock that was set back must not make us wait until it is as late as it was.
    fn look_at_clock(&mut self, now_ms: u64) {
        if now_ms < self.last_ms {
            self.forget_ms = now_ms;
            self.sessions.values_mut().for_each(|session| session.rewind(now_ms));
            self.shared.rewind(now_ms);
        }
        self.last_ms = now_ms;
    }

    /// From whom something comes here: a reader is none, nobody may rely on what it says.
    fn connected(&self) -> Vec<ReplicaId> {
        let open = self.sessions.values();
        let open = open.filter(|session| *session.state() == State::Open && !session.is_reader());
        let mut ids: Vec<ReplicaId> = open.filter_map(|session| session.peer()).map(|peer| peer.id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    // ---- membership ----

    /// The members, ordered.
    pub fn members(&self) -> Vec<Member> {
        self.shared.members()
    }

    /// Which membership it is.
    pub fn epoch(&self) -> Epoch {
        self.shared.epoch()
    }

    /// Makes this endpoint the first member of a cluster. Who connects to a member becomes one by that, and need not call this.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn found(&mut self, now_ms: u64) -> Result<Epoch, RefusedWrite> {
        self.check_id()?;
        self.shared.found(now_ms)?;
        Ok(self.changed())
    }

    /// After a restart: the id that this store wrote under before, which nobody uses any more, is closed, and this endpoint
    /// takes its place among the members. Call it once what was saved is merged. See [`Replica::close`] for what closing does.
    ///
    /// # Example
    /// ```
    /// use driftless::{Config, Endpoint, Flag, Replica, ReplicaId, SyncConfig, VersionVector};
    /// use uuid::Uuid;
    ///
    /// let config = SyncConfig::new(Uuid::from_u128(7), ReplicaId::from_u128(0xe1), "eu");
    /// let (former, fresh) = (ReplicaId::from_u128(1), ReplicaId::from_u128(2));
    /// let mut eu: Endpoint<Flag> = Endpoint::new(Replica::new(former, Config::default()), config.clone());
    /// eu.found(1_000)?;
    /// eu.write(1_000, |flag| flag.enable())?;
    /// let saved = eu.snapshot().delta_since(&VersionVector::new()).encode()?;
    /// drop(eu);
    ///
    /// let mut replica: Replica<Flag> = Replica::new(fresh, Config::default());
    /// replica.merge(2_000, replica.decode(&saved)?)?;
    /// let mut eu = Endpoint::new(replica, config);
    /// eu.succeed(2_000, former)?;
    /// assert_eq!(eu.members()[0].id, fresh);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn succeed(&mut self, now_ms: u64, former: ReplicaId) -> Result<Epoch, RefusedWrite> {
        self.check_id()?;
        self.shared.succeed(now_ms, former)?;
        Ok(self.changed())
    }

    /// Lets a store become a member: at once if it is connected, else when it comes. An evicted one, too; and, where
    /// [members are invited](crate::Admission::Invited), one of which the transport says that it is somebody else than it was
    /// since this endpoint was opened.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn admit(&mut self, now_ms: u64, member: ReplicaId) -> Result<Epoch, RefusedWrite> {
        self.check_id()?;
        self.shared.invite(member);
        self.look_at_membership(now_ms);
        Ok(self.changed())
    }

    /// Makes a member none: what is forgotten does not wait for it any more. When it returns it is sent all that is held, and
    /// what it wrote alone survives.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn evict(&mut self, now_ms: u64, member: ReplicaId) -> Result<Epoch, RefusedWrite> {
        self.check_id()?;
        self.shared.invited.remove(&member);
        self.shared.strike(now_ms, member)?;
        Ok(self.changed())
    }

    /// Leaves the cluster: nobody waits for this endpoint any more.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn leave(&mut self, now_ms: u64) -> Result<Epoch, RefusedWrite> {
        self.evict(now_ms, self.shared.config().member)
    }

    fn changed(&mut self) -> Epoch {
        self.shared.version += 1;
        self.epoch()
    }

    fn look_at_membership(&mut self, now_ms: u64) {
        for session in self.sessions.values_mut() {
            if matches!(session.state(), State::Waiting | State::Open) {
                session.look_at_membership(&mut self.shared, now_ms);
            }
        }
    }

    /// Takes note of what peers are known to hold by their deltas.
    pub(crate) fn report_held(&mut self, now_ms: u64) {
        for session in self.sessions.values_mut() {
            session.report_held(&mut self.shared, now_ms);
        }
    }

    fn forget(&mut self, now_ms: u64) {
        self.shared.keep_place(now_ms);
        self.report_held(now_ms);
        // While the id is in doubt, what others say to hold of it may be the other copy's.
        if self.shared.doubt.is_none() {
            let forgotten = self.shared.replica.forget_within(self.shared.persisted.as_ref());
            self.waiting.retain(|id, _| forgotten.behind.contains(id));
            for id in forgotten.behind {
                self.waiting.entry(id).or_insert(now_ms);
            }
        }
        // Whoever is there would have to say all that it holds once more if that were not known any more: who waits to be let in,
        // too, and who has a wrong clock.
        let peers = self.sessions.values().filter(|session| !session.is_reader());
        let present: BTreeSet<ReplicaId> = peers.filter_map(|session| Some(session.peer()?.id)).collect();
        self.shared.tidy(now_ms, |id| present.contains(id));
    }

    // ---- write concern ----

    /// Waits until as many members hold a write of this replica as asked for, of those that were members when it was made:
    /// [`SyncEvent::Confirmed`] says so, or [`SyncEvent::Unconfirmed`] at the deadline. A write that is not known to be one of
    /// this replica's, such as one of before a restart, is unconfirmed at once. [`Holders`] says who counts.
    ///
    /// # Example
    /// ```
    /// use driftless::{Config, Endpoint, Flag, Held, Need, Replica, ReplicaId, SyncConfig, SyncEvent};
    /// use uuid::Uuid;
    ///
    /// let replica: Replica<Flag> = Replica::new(ReplicaId::from_u128(1), Config::default());
    /// let mut eu = Endpoint::new(replica, SyncConfig::new(Uuid::from_u128(7), ReplicaId::from_u128(0xe1), "eu"));
    /// eu.found(1_000)?;
    /// let stamp = eu.write(1_000, |flag| flag.enable())?.stamp.ok_or("no event")?;
    /// let concern = eu.confirm(1_000, stamp, Need::Members(2), Held::Applied, 1_500);
    /// eu.tick(1_500);                                         // nobody else has come
    /// let unconfirmed = std::iter::from_fn(|| eu.next_event()).find_map(|event| match event {
    ///     SyncEvent::Unconfirmed { concern: of, holders } if of == concern => Some(holders),
    ///     _ => None,
    /// });
    /// assert_eq!(unconfirmed.ok_or("the deadline has passed")?.hold, [ReplicaId::from_u128(0xe1)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn confirm(
        &mut self,
        now_ms: u64,
        stamp: Timestamp,
        need: Need,
        held: Held,
        deadline_ms: u64,
    ) -> ConcernId {
        let id = ConcernId(self.next_concern);
        self.next_concern += 1;
        let (epoch, members) = self.shared.memberships.of(stamp);
        let issued = self.shared.issued_as(stamp);
        let (is_issued, (author, stamp)) =
            (issued.is_some(), issued.unwrap_or((self.shared.replica.id(), stamp)));
        self.concerns.push(Concern { id, author, stamp, need, held, deadline_ms, is_issued, epoch, members });
        self.look_at_concerns(now_ms);
        id
    }

    fn look_at_concerns(&mut self, now_ms: u64) {
        if self.concerns.is_empty() {
            return;
        }
        let epoch = self.epoch();
        let concerns = std::mem::take(&mut self.concerns);
        for concern in concerns {
            let holders = self.holders(&concern, epoch);
            let id = concern.id;
            if concern.is_met(&holders) {
                self.shared.events.push_back(SyncEvent::Confirmed { concern: id, holders });
            } else if now_ms >= concern.deadline_ms || !concern.is_issued {
                self.shared.events.push_back(SyncEvent::Unconfirmed { concern: id, holders });
            } else {
                self.concerns.push(concern);
            }
        }
    }

    fn holders(&self, concern: &Concern, epoch: Epoch) -> Holders {
        let covers = |vector: &VersionVector| vector.get(&concern.author) >= concern.stamp;
        let now = self.members();
        concern.holders(epoch, |member| {
            if member.member == self.shared.config().member {
                return match concern.held {
                    Held::Applied => covers(&self.shared.replica.vector()),
                    Held::Durable => covers(&self.shared.told()),
                };
            }
            // Under the id that it has now, if it was restarted since.
            let id =
                now.iter().find(|other| other.member == member.member).map_or(member.id, |other| other.id);
            let told = self.shared.told.get(&id).is_some_and(covers);
            let confirmed = || {
                if self.shared.doubt.is_some() {
                    // Whoever claims what was never issued here proves nothing by it.
                    return false;
                }
                let sessions =
                    self.sessions.values().filter(|session| session.peer().is_some_and(|peer| peer.id == id));
                sessions.filter_map(|session| session.outbound()).any(|outbound| covers(outbound.confirmed()))
            };
            told || (concern.held == Held::Applied && confirmed())
        })
    }
}

/// Why a transaction was not made. To blame: the caller. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusedTransaction<E> {
    /// It could not be made.
    Write(RefusedWrite),
    /// The closure returned this error.
    Aborted(E),
}

impl<E> From<RefusedWrite> for RefusedTransaction<E> {
    fn from(error: RefusedWrite) -> Self {
        Self::Write(error)
    }
}

impl<E: std::fmt::Display> std::fmt::Display for RefusedTransaction<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Write(error) => std::fmt::Display::fmt(error, f),
            Self::Aborted(error) => {
                write!(f, "the caller's closure undid the transaction; nothing changed: {error}")
            }
        }
    }
}

impl<E: std::fmt::Debug + std::fmt::Display> std::error::Error for RefusedTransaction<E> {}
