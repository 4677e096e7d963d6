//! The engine of a domain: one thread that owns the endpoint.
//!
//! It takes what comes in turns: some writes, some frames, what the storing thread says. After each turn it sends what there
//! is to send, publishes a snapshot for readers, and offers it to the storing thread. Nothing here waits for the disk.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use driftless::{
    ConcernId, Crdt, Endpoint, Held, Holders, LinkId, Need, RefusedId, RefusedTransaction, RefusedWrite,
    Reissued, ReplicaId, SchemaConflict, Snapshot, SyncError, SyncEvent, Timestamp, Token, Unreadable,
    VersionVector,
};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use crate::config::{Clock, DomainConfig};
use crate::connection::{Access, DomainName, Frame};
use crate::feed::Commit;
use crate::health::Health;
use crate::link::{FromLink, Seat};
use crate::status::Notice;
use crate::storing::{Mailbox, Offer, Stored};
use crate::telemetry::Meters;
use crate::write::{Refused, TransactError, Written};

/// How many writes, and how many frames, are taken in one turn.
const TURN: usize = 128;

/// How long the engine sleeps at most: the clock may be set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// How long a link rests over which nothing can be exchanged.
const REST: Duration = Duration::from_secs(30);

/// How many notices are kept for the status.
const MOST_NOTICES: usize = 32;

/// What the engine is asked for.
pub(crate) type Job<S> = Box<dyn FnOnce(&mut Engine<S>) + Send>;

/// Called once a write is on disk, or when it is given up that it will be: then with `false`.
type WhenDurable = Box<dyn FnOnce(bool) + Send>;

/// What comes to the engine.
pub(crate) struct Inputs<S: Crdt> {
    /// Writes: they wait while too much is not on disk.
    pub(crate) writes: mpsc::Receiver<Job<S>>,
    /// What links bring: it waits likewise.
    pub(crate) links: mpsc::Receiver<FromLink>,
    /// What does not wait.
    pub(crate) control: mpsc::Receiver<Job<S>>,
    pub(crate) stored: mpsc::UnboundedReceiver<Stored<S>>,
    pub(crate) stop: watch::Receiver<bool>,
}

/// Where the engine puts what others look at.
pub(crate) struct Outputs<S> {
    pub(crate) published: watch::Sender<Snapshot<S>>,
    pub(crate) durable: watch::Sender<Snapshot<S>>,
    pub(crate) mailbox: Arc<Mailbox<S>>,
    pub(crate) health: Arc<Health>,
    pub(crate) meters: Meters,
}

/// Why the id is to be changed.
pub(crate) enum Renewal {
    /// It is in doubt.
    InDoubt,
    /// The clock ran ahead.
    ClockAhead(oneshot::Sender<Result<Reissued, RefusedId>>),
}

/// Whether the id is being changed. Meanwhile nothing is written and nothing merged.
enum Mode {
    Running,
    /// What bears the former id goes to disk first, so that it is in the feed together with what it changed.
    Flushing(Renewal),
    /// What bears the new id goes to disk in place of all that is there.
    Renewing {
        id: ReplicaId,
        answer: Option<Answer>,
    },
}

/// Who asked for another id, and what came of it.
type Answer = (oneshot::Sender<Result<Reissued, RefusedId>>, Reissued);

/// A link of this domain.
pub(crate) struct Link {
    pub(crate) line: Seat,
    pub(crate) access: Access,
    /// Why nothing is exchanged, and since when: it is tried again after a while. Other domains of the connection go on.
    pub(crate) refused: Option<(Instant, String)>,
}

/// A write that is not on disk.
struct Unstored {
    seq: u64,
    since: Instant,
    when: WhenDurable,
}

/// Somebody who waits for what a token asks for.
struct Awaited {
    token: Token,
    reply: oneshot::Sender<()>,
}

pub(crate) struct Engine<S: Crdt> {
    pub(crate) endpoint: Endpoint<S>,
    pub(crate) name: DomainName,
    pub(crate) config: DomainConfig,
    pub(crate) clock: Clock,
    pub(crate) out: Outputs<S>,
    pub(crate) links: BTreeMap<LinkId, Link>,
    pub(crate) notices: VecDeque<Notice>,
    /// By how many milliseconds what is held is ahead of the clock, if others will not take it.
    pub(crate) ahead_ms: Option<u64>,
    /// How many changes were made since it was opened, and how many of them are on disk.
    pub(crate) seq: u64,
    pub(crate) durable_seq: u64,
    /// How many bytes the frames had that were merged, and how many of them are on disk.
    merged_bytes: u64,
    durable_bytes: u64,
    mode: Mode,
    unstored: VecDeque<Unstored>,
    /// Called once what was applied in this turn can be read.
    unpublished: Vec<Box<dyn FnOnce() + Send>>,
    awaited: Vec<Awaited>,
    concerns: BTreeMap<ConcernId, oneshot::Sender<Result<Holders, Holders>>>,
    commits: Vec<Commit>,
    is_untold: bool,
    /// Whether there was a value that this release cannot read.
    has_unreadable: bool,
    is_repaired: bool,
    /// What was last offered to the storing thread.
    offered_seq: u64,
    offered_vector: VersionVector,
    measured: Instant,
}

impl<S: Crdt> Engine<S> {
    pub(crate) fn new(
        endpoint: Endpoint<S>,
        name: DomainName,
        config: DomainConfig,
        clock: Clock,
        out: Outputs<S>,
    ) -> Self {
        let now_ms = clock.now_ms();
        let offered_vector = endpoint.replica().vector();
        let mut engine = Self {
            endpoint,
            name,
            config,
            clock,
            out,
            links: BTreeMap::new(),
            notices: VecDeque::new(),
            ahead_ms: None,
            seq: 0,
            durable_seq: 0,
            merged_bytes: 0,
            durable_bytes: 0,
            mode: Mode::Running,
            unstored: VecDeque::new(),
            unpublished: Vec::new(),
            awaited: Vec::new(),
            concerns: BTreeMap::new(),
            commits: Vec::new(),
            is_untold: false,
            has_unreadable: false,
            is_repaired: false,
            offered_seq: 0,
            offered_vector,
            measured: Instant::now(),
        };
        engine.look_at_own_clock(now_ms);
        let unreadable = engine.endpoint.replica().unreadable();
        engine.look_at_unreadable(&unreadable);
        engine
    }

    /// Works until it is told to stop and all that was applied is on disk. Returns whether it is.
    pub(crate) async fn run(&mut self, mut inputs: Inputs<S>, give_up: Duration) -> bool {
        self.settle();
        loop {
            let is_open = self.is_open();
            let sleep = self.sleep();
            let (mut job, mut from_link) = (None, None);
            tokio::select! {
                biased;
                _ = inputs.stop.wait_for(|stop| *stop) => break,
                said = inputs.stored.recv() => match said {
                    Some(said) => self.stored(said),
                    // The storing thread is gone, and nothing more will be stored.
                    None => return false,
                },
                asked = inputs.control.recv() => job = asked,
                asked = inputs.writes.recv(), if is_open => job = asked,
                came = inputs.links.recv(), if is_open => from_link = came,
                () = tokio::time::sleep(sleep) => {}
            }
            if let Some(job) = job {
                job(self);
            }
            if let Some(came) = from_link {
                self.heard(came);
            }
            self.turn(&mut inputs);
            self.settle();
        }
        self.finish(inputs, give_up).await
    }

    /// Takes what is there, some of each kind.
    fn turn(&mut self, inputs: &mut Inputs<S>) {
        while let Ok(said) = inputs.stored.try_recv() {
            self.stored(said);
        }
        for _ in 0..TURN {
            let Ok(job) = inputs.control.try_recv() else { break };
            job(self);
        }
        for _ in 0..TURN {
            if !self.is_open() {
                break;
            }
            let Ok(job) = inputs.writes.try_recv() else { break };
            job(self);
        }
        for _ in 0..TURN {
            if !self.is_open() {
                break;
            }
            let Ok(came) = inputs.links.try_recv() else { break };
            self.heard(came);
        }
        let now_ms = self.clock.now_ms();
        if self.endpoint.deadline().is_some_and(|deadline_ms| now_ms >= deadline_ms) {
            self.endpoint.tick(now_ms);
        }
    }

    /// Makes the writes that were taken already, and waits until all is on disk. Returns whether it is.
    async fn finish(&mut self, mut inputs: Inputs<S>, give_up: Duration) -> bool {
        inputs.writes.close();
        inputs.control.close();
        while let Ok(job) = inputs.writes.try_recv() {
            job(self);
        }
        while let Ok(job) = inputs.control.try_recv() {
            job(self);
        }
        self.offer();
        self.out.mailbox.stop(Instant::now() + give_up);
        while self.durable_seq < self.seq {
            let Some(said) = inputs.stored.recv().await else { break };
            self.stored(said);
        }
        // What became durable just now goes out.
        self.flush_frames(self.clock.now_ms());
        for Unstored { when, .. } in std::mem::take(&mut self.unstored) {
            when(false);
        }
        self.durable_seq >= self.seq
    }

    /// The links are left: a connection that no domain uses is closed once the last frames are out.
    pub(crate) fn leave_links(&mut self) {
        self.links.clear();
        self.out.meters.links.set(0.0);
    }

    /// Whether writes and frames are taken: not while the id is being changed, nor while too much is not on disk. While the
    /// store fails they are taken and refused.
    fn is_open(&self) -> bool {
        let is_running = matches!(self.mode, Mode::Running);
        (is_running && !self.is_full()) || self.out.health.is_failing()
    }

    fn is_full(&self) -> bool {
        let most = self.config.unstored.max(1);
        self.seq.saturating_sub(self.durable_seq) >= most as u64
            || self.unstored.len() >= most
            || self.merged_bytes.saturating_sub(self.durable_bytes) >= self.config.unstored_bytes.max(1)
    }

    fn sleep(&self) -> Duration {
        let deadline_ms = self.endpoint.deadline();
        let left_ms = deadline_ms.map(|deadline_ms| deadline_ms.saturating_sub(self.clock.now_ms()));
        left_ms.map_or(LONGEST_SLEEP, |left_ms| Duration::from_millis(left_ms).min(LONGEST_SLEEP))
    }

    pub(crate) fn notice(&mut self, text: String) {
        tracing::warn!(domain = %self.name, "{text}");
        self.notices.push_back(Notice { at_ms: self.clock.now_ms(), text });
        let surplus = self.notices.len().saturating_sub(MOST_NOTICES);
        self.notices.drain(..surplus);
    }

    // ---- writes ----

    /// Makes a transaction. Once all that it saw is on disk, `when_durable` is called.
    pub(crate) fn transact<R, E>(
        &mut self,
        write: impl FnOnce(&mut S::Mut<'_>) -> Result<R, E>,
    ) -> Result<Written<R>, TransactError<E>> {
        let made = self.make(write);
        match &made {
            Ok(_) => self.out.meters.writes.increment(1),
            Err(_) => self.out.meters.writes_refused.increment(1),
        }
        made
    }

    fn make<R, E>(
        &mut self,
        write: impl FnOnce(&mut S::Mut<'_>) -> Result<R, E>,
    ) -> Result<Written<R>, TransactError<E>> {
        self.check_store()?;
        // The feed is in the order in which it happened.
        self.look_at_events();
        let now_ms = self.clock.now_ms();
        let made = catch_unwind(AssertUnwindSafe(|| self.endpoint.transact(now_ms, write)));
        let committed = match made {
            Ok(Ok(committed)) => committed,
            Ok(Err(RefusedTransaction::Write(error))) => return Err(Refused::Write(error).into()),
            Ok(Err(RefusedTransaction::Aborted(error))) => return Err(TransactError::Aborted(error)),
            Ok(Err(_)) => return Err(Refused::Stopped.into()),
            Err(payload) => return Err(Refused::Panicked { message: panic_text(&*payload) }.into()),
        };
        let token = match committed.stamp {
            Some(stamp) => {
                self.changed(true, committed.changes);
                self.endpoint.token(stamp)
            }
            // It wrote nothing, so what it saw is what it answers for, memberships that were written meanwhile among it.
            None => Token::from(self.count_other_events()),
        };
        Ok(Written { value: committed.value, stamp: committed.stamp, token })
    }

    /// Refuses what cannot be stored now.
    fn check_store(&self) -> Result<(), Refused> {
        let failure = self.out.health.is_failing().then(|| self.out.health.failure()).flatten();
        failure.map_or(Ok(()), |failure| Err(Refused::StoreFailing(failure)))
    }

    fn changed(&mut self, is_local: bool, changes: Vec<driftless::Change>) {
        self.seq += 1;
        if !changes.is_empty() && self.config.feed_bytes.is_some() {
            self.commits.push(Commit { is_local, changes });
        }
    }

    /// Calls once all that was applied by now is on disk.
    pub(crate) fn when_durable(&mut self, when: WhenDurable) {
        if self.durable_seq >= self.seq {
            when(true);
        } else {
            self.unstored.push_back(Unstored { seq: self.seq, since: Instant::now(), when });
        }
    }

    /// Calls once all that was applied by now can be read.
    pub(crate) fn when_published(&mut self, when: Box<dyn FnOnce() + Send>) {
        self.unpublished.push(when);
    }

    /// Something is written that is no transaction of the application's.
    pub(crate) fn administer<R>(
        &mut self,
        act: impl FnOnce(&mut Endpoint<S>, u64) -> Result<R, RefusedWrite>,
    ) -> Result<R, Refused> {
        self.check_store()?;
        let done = act(&mut self.endpoint, self.clock.now_ms()).map_err(Refused::Write)?;
        self.seq += 1;
        Ok(done)
    }

    // ---- reads ----

    /// Replies once what the token asks for is held here.
    pub(crate) fn wait_for(&mut self, token: Token, reply: oneshot::Sender<()>) {
        if self.endpoint.reached(&token).is_ok() {
            let _ = reply.send(());
        } else {
            self.awaited.push(Awaited { token, reply });
        }
    }

    pub(crate) fn confirm(
        &mut self,
        stamp: Timestamp,
        need: Need,
        held: Held,
        timeout: Duration,
        reply: oneshot::Sender<Result<Holders, Holders>>,
    ) {
        let now_ms = self.clock.now_ms();
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let id = self.endpoint.confirm(now_ms, stamp, need, held, now_ms.saturating_add(timeout_ms));
        self.concerns.insert(id, reply);
    }

    // ---- the store ----

    fn stored(&mut self, said: Stored<S>) {
        let Stored::Persisted { snapshot, seq, merged_bytes, id } = said else { return };
        if id != self.endpoint.replica().id() {
            // It bears names that were given up.
            return;
        }
        (self.durable_seq, self.durable_bytes) = (seq, merged_bytes);
        self.endpoint.persisted(self.clock.now_ms(), snapshot.clone());
        self.out.durable.send_replace(snapshot);
        while let Some(Unstored { since, when, .. }) = self.unstored.pop_front_if(|write| write.seq <= seq) {
            self.out.meters.durable_seconds.record(since.elapsed());
            when(true);
        }
        if let Mode::Renewing { id: renewed, answer } = &mut self.mode
            && *renewed == id
        {
            if let Some((reply, reissued)) = answer.take() {
                let _ = reply.send(Ok(reissued));
            }
            self.mode = Mode::Running;
        }
    }

    /// The clock ran ahead and is right again: what was written meanwhile is issued again under a new id.
    pub(crate) fn reissue_ahead(&mut self, reply: oneshot::Sender<Result<Reissued, RefusedId>>) {
        // While the id is being changed for another reason this has to be asked for again.
        if matches!(self.mode, Mode::Running) {
            self.mode = Mode::Flushing(Renewal::ClockAhead(reply));
        }
    }

    /// Goes on under a new id, if that is to be and all that bears the former one is on disk.
    fn renew(&mut self) {
        if self.durable_seq != self.seq {
            return;
        }
        let Mode::Flushing(renewal) = std::mem::replace(&mut self.mode, Mode::Running) else { return };
        let (now_ms, fresh) = (self.clock.now_ms(), ReplicaId::new(Uuid::new_v4()));
        // Of values that were written concurrently another one may be the latest now.
        self.is_untold = true;
        let (renewed, reply) = match renewal {
            Renewal::InDoubt => (self.endpoint.reidentify(now_ms, fresh), None),
            Renewal::ClockAhead(reply) => (self.endpoint.reissue_ahead(now_ms, fresh), Some(reply)),
        };
        match renewed {
            Ok(reissued) => {
                let Reissued { former, commits, .. } = &reissued;
                self.notice(format!(
                    "this store goes on as {fresh}, {former} before; {commits} commits are issued again"
                ));
                self.seq += 1;
                self.mode = Mode::Renewing { id: fresh, answer: reply.map(|reply| (reply, reissued)) };
            }
            Err(error) => {
                self.notice(format!(
                    "this store does not go on under another id: {error}; a restart gives it one"
                ));
                if let Some(reply) = reply {
                    let _ = reply.send(Err(error));
                }
            }
        }
    }

    // ---- links ----

    fn heard(&mut self, came: FromLink) {
        let now_ms = self.clock.now_ms();
        match came {
            FromLink::Up { seat, .. } if seat.is_closed() => {}
            FromLink::Up { link, access, nonce, seat: line } => {
                self.endpoint.link_up(now_ms, link, line.principal.clone(), nonce);
                self.endpoint.grant(now_ms, link, access);
                self.links.insert(link, Link { line, access, refused: None });
                self.out.meters.links.set(self.links.len() as f64);
            }
            FromLink::Down { link } => self.down(now_ms, link),
            FromLink::Frame { link, bytes, room } => {
                self.receive(now_ms, link, &bytes);
                drop(room);
            }
        }
    }

    fn receive(&mut self, now_ms: u64, link: LinkId, bytes: &Bytes) {
        if !matches!(self.mode, Mode::Running) || self.is_full() {
            // The store fails: it is sent again.
            self.out.meters.frames_dropped.increment(1);
            return;
        }
        if self.links.get(&link).is_none_or(|link| link.refused.is_some()) {
            return;
        }
        let received = self.endpoint.receive(now_ms, link, bytes);
        if let Err(error) = received {
            return self.refused(now_ms, link, error);
        }
        // What was merged is counted with all that the frame bore: a stale one costs nothing.
        let before = self.seq;
        self.look_at_events();
        if self.seq != before {
            self.merged_bytes += bytes.len() as u64;
        }
    }

    fn refused(&mut self, now_ms: u64, link: LinkId, error: SyncError) {
        // What it was told last goes out first.
        self.flush_frames(now_ms);
        match error {
            SyncError::Broken { .. } | SyncError::Impostor { .. } | SyncError::Itself { .. } => {
                self.close(link, &error.to_string())
            }
            // It is of this domain: the others of the connection may well go on.
            error => self.rest(link, error.to_string()),
        }
    }

    /// Nothing is exchanged over a link for a while.
    fn rest(&mut self, link: LinkId, why: String) {
        let Some(Link { line, refused, .. }) = self.links.get_mut(&link) else { return };
        let who = line.principal.clone().unwrap_or_else(|| "a peer".to_owned());
        *refused = Some((Instant::now(), why.clone()));
        self.endpoint.link_down(self.clock.now_ms(), link);
        self.notice(format!("nothing is exchanged with {who} for {} s: {why}", REST.as_secs()));
    }

    /// Links that have rested are tried again, and those of connections that are gone are not kept.
    fn look_at_links(&mut self, now_ms: u64) {
        let gone: Vec<LinkId> =
            self.links.iter().filter(|(_, link)| link.line.is_closed()).map(|(number, _)| *number).collect();
        gone.into_iter().for_each(|link| self.down(now_ms, link));
        for (link, Link { line, access, refused }) in &mut self.links {
            if refused.as_ref().is_some_and(|(since, _)| since.elapsed() >= REST) {
                *refused = None;
                self.endpoint.link_up(now_ms, *link, line.principal.clone(), nonce());
                self.endpoint.grant(now_ms, *link, *access);
            }
        }
    }

    fn down(&mut self, now_ms: u64, link: LinkId) {
        self.endpoint.link_down(now_ms, link);
        self.links.remove(&link);
        self.out.meters.links.set(self.links.len() as f64);
    }

    /// The connection of a link is closed, for all domains.
    fn close(&mut self, link: LinkId, why: &str) {
        if let Some(Link { line, .. }) = self.links.remove(&link) {
            self.endpoint.link_down(self.clock.now_ms(), link);
            let who = line.principal.clone().unwrap_or_else(|| "a peer".to_owned());
            self.notice(format!("the connection with {who} is closed: {why}"));
            line.close();
        }
    }

    fn flush_frames(&mut self, now_ms: u64) {
        loop {
            let mut bytes = Vec::new();
            let Some(link) = self.endpoint.transmit(now_ms, &mut bytes) else { return };
            let Some(Link { line, .. }) = self.links.get(&link) else { continue };
            self.out.meters.frames_sent.increment(1);
            self.out.meters.bytes_sent.increment(bytes.len() as u64);
            if !line.push(Frame { domain: self.name.clone(), bytes: bytes.into() }) {
                self.close(link, "it takes what is sent too slowly");
            }
        }
    }

    // ---- after each turn ----

    fn settle(&mut self) {
        let now_ms = self.clock.now_ms();
        // What is sent may be news, and what happens may be answered.
        self.flush_frames(now_ms);
        self.look_at_events();
        self.offer();
        if matches!(self.mode, Mode::Flushing(_)) {
            self.renew();
            self.offer();
        }
        self.flush_frames(now_ms);
        if self.measured.elapsed() >= LONGEST_SLEEP {
            self.awaited.retain(|awaited| !awaited.reply.is_closed());
            self.look_at_own_clock(now_ms);
            self.look_at_links(now_ms);
            self.measure(now_ms);
        }
    }

    /// Publishes what is held, if it is not what it was.
    fn offer(&mut self) {
        let vector = self.count_other_events();
        if self.seq != self.offered_seq {
            self.offer_now(vector);
        }
        self.unpublished.drain(..).for_each(|when| when());
    }

    /// What the cluster says of itself changes by no transaction, and has to be on disk, too.
    fn count_other_events(&mut self) -> VersionVector {
        let vector = self.endpoint.replica().vector();
        if self.seq == self.offered_seq && vector != self.offered_vector {
            self.seq += 1;
        }
        vector
    }

    fn offer_now(&mut self, vector: VersionVector) {
        self.offered_seq = self.seq;
        self.offered_vector = vector;
        let snapshot = self.endpoint.snapshot();
        self.out.published.send_replace(snapshot.clone());
        self.out.mailbox.offer(Offer {
            snapshot,
            seq: self.seq,
            merged_bytes: self.merged_bytes,
            id: self.endpoint.replica().id(),
            commits: std::mem::take(&mut self.commits),
            is_untold: std::mem::take(&mut self.is_untold),
            has_unreadable: self.has_unreadable,
            is_repaired: std::mem::take(&mut self.is_repaired),
        });
        for awaited in std::mem::take(&mut self.awaited) {
            if self.endpoint.reached(&awaited.token).is_ok() {
                let _ = awaited.reply.send(());
            } else if !awaited.reply.is_closed() {
                self.awaited.push(awaited);
            }
        }
    }

    fn look_at_events(&mut self) {
        while let Some(event) = self.endpoint.next_event() {
            self.happened(event);
        }
    }

    fn happened(&mut self, event: SyncEvent) {
        match event {
            SyncEvent::Merged { conflicts, changes, .. } => {
                self.out.meters.merges.increment(1);
                self.out.meters.conflicts.increment(conflicts as u64);
                self.changed(false, changes);
            }
            SyncEvent::Unreadable { found, .. } => {
                self.out.meters.unreadable.increment(found.values as u64);
                self.look_at_unreadable(&found);
            }
            SyncEvent::FieldsApart { link, places } => {
                for SchemaConflict { ours, theirs } in places {
                    tracing::warn!(
                        domain = %self.name, link = link.0, ours, theirs,
                        "a field is something else at the peer: each side reads its own, and passes on the other's"
                    );
                }
            }
            SyncEvent::Established { link, id, member, region } => {
                tracing::info!(domain = %self.name, link = link.0, %id, %member, region, "a peer is there");
            }
            SyncEvent::Confirmed { concern, holders } => self.answer(concern, Ok(holders)),
            SyncEvent::Unconfirmed { concern, holders } => self.answer(concern, Err(holders)),
            SyncEvent::IdInDoubt { id, stamp, .. } => {
                self.notice(format!(
                    "the id {id} is used by a copy of this store, or was rolled back: a peer knows {stamp} of it"
                ));
                // It comes before a clock that ran ahead: what others hold decides what is issued again.
                if !matches!(self.mode, Mode::Renewing { .. }) {
                    self.mode = Mode::Flushing(Renewal::InDoubt);
                }
            }
            SyncEvent::Refused { link, reason, conflict } => {
                let conflict =
                    conflict.map(|conflict| format!(" (here {}, there {})", conflict.ours, conflict.theirs));
                self.rest(link, format!("the peer refuses: {reason}{}", conflict.unwrap_or_default()));
            }
            SyncEvent::CannotTake { link, error } => {
                let now_ms = self.clock.now_ms();
                self.refused(now_ms, link, error);
            }
            SyncEvent::Progress { rows, of, .. } => {
                tracing::debug!(domain = %self.name, rows, of, "a transfer comes in");
            }
            SyncEvent::MembersChanged { epoch } => {
                tracing::info!(domain = %self.name, epoch = epoch.number, "the membership changed");
            }
            SyncEvent::Repaired { rows, .. } => {
                self.notice(format!("{rows} rows that differed from a peer's were joined with them"));
                if rows > 0 {
                    // Nobody says what reads differently.
                    (self.is_untold, self.is_repaired) = (true, true);
                    self.seq += 1;
                }
            }
            SyncEvent::SameMember { id, .. } => {
                self.notice(format!(
                    "{id} is set up as the same member as this store: give it a store of its own"
                ));
            }
            SyncEvent::ClocksApart { ahead, by_ms, .. } => {
                self.notice(format!(
                    "the clock of {ahead} is {by_ms} ms ahead: nothing is exchanged before it is set right"
                ));
            }
            SyncEvent::ClocksRight { .. } => self.notice("the clocks agree again".to_owned()),
            SyncEvent::CannotEncode { error, .. } => {
                self.notice(format!("what is held cannot be sent: {error}"))
            }
            SyncEvent::MayNotWrite { link } => {
                let who = self.links.get(&link).and_then(|link| link.line.principal.clone());
                let who = who.unwrap_or_else(|| "a peer".to_owned());
                self.notice(format!("{who} may only read: what it writes is not taken"));
            }
            SyncEvent::Evicted => self.notice("this store is no member any more".to_owned()),
            SyncEvent::JoinRequest { member, region, principal, .. } => {
                let who = principal.map_or(String::new(), |principal| format!(" ({principal})"));
                self.notice(format!(
                    "{member} in {region}{who} asks to be let in: admit it, or leave it outside"
                ));
            }
            SyncEvent::Diverged { rows, .. } => {
                self.notice(format!("rows differ although all events are the same: {}", rows.join(", ")));
            }
            other => tracing::debug!(domain = %self.name, ?other, "something happened"),
        }
    }

    fn answer(&mut self, concern: ConcernId, holders: Result<Holders, Holders>) {
        if let Some(reply) = self.concerns.remove(&concern) {
            let _ = reply.send(holders);
        }
    }

    /// The clock may have been ahead when something was written, and be right now.
    fn look_at_own_clock(&mut self, now_ms: u64) {
        let last_ms = self.endpoint.replica().clock().last().millis();
        let ahead_ms = last_ms.checked_sub(now_ms).filter(|ahead_ms| *ahead_ms > self.config.max_ahead_ms);
        if let (None, Some(ahead_ms)) = (self.ahead_ms, ahead_ms) {
            self.notice(format!(
                "what is held is {ahead_ms} ms ahead of the clock: others will not take it before then; set the clock right, \
                 or, if it was wrong when that was written, and nothing was restarted since, have it issued again"
            ));
        }
        self.ahead_ms = ahead_ms;
    }

    fn look_at_unreadable(&mut self, found: &Unreadable) {
        if found.is_empty() {
            return;
        }
        // While regions are upgraded one by one there may be very many: what else is to be noticed would be lost among them.
        if std::mem::replace(&mut self.has_unreadable, true) {
            tracing::debug!(domain = %self.name, "{found}");
        } else {
            self.notice(format!("{found}: another release wrote them; they are passed on as they came"));
        }
    }

    fn measure(&mut self, now_ms: u64) {
        self.measured = Instant::now();
        self.out.meters.unstored.set((self.seq - self.durable_seq) as f64);
        let lag = |oldest: Timestamp| now_ms.saturating_sub(oldest.millis());
        let worst = self.endpoint.peers().iter().filter_map(|peer| peer.oldest).map(lag).max();
        self.out.meters.lag_ms.set(worst.unwrap_or(0) as f64);
    }
}

/// What a panic said.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no text".to_owned())
}

/// A fresh random number.
pub(crate) fn nonce() -> u64 {
    let bits = Uuid::new_v4().as_u128();
    (bits >> 64) as u64 ^ bits as u64
}
