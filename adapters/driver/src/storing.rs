//! The storing thread of a domain: it alone touches the store.
//!
//! The engine leaves the newest snapshot in a mailbox; what was there and not taken yet is replaced. So while the disk works on
//! one append all that is written meanwhile gathers for the next: a group commit of whatever size the disk's speed makes it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use driftless::{Chunks, Crdt, ReplicaId, Snapshot, VersionVector};
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::{Clock, DomainConfig};
use crate::connection::DomainName;
use crate::feed::{Batch, Commit, Cursor, Desk, FeedError, FeedRead, encode};
use crate::health::Health;
use crate::opening::Opened;
use crate::record::{Identity, Writing};
use crate::store::{Place, Store, StoreError};
use crate::telemetry::Meters;

/// How long a store that failed is left alone: so long at first, then twice as long each time, up to the second.
const FIRST_RETRY: Duration = Duration::from_millis(20);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// What is held, to be put on disk.
#[derive(Debug)]
pub(crate) struct Offer<S> {
    pub(crate) snapshot: Snapshot<S>,
    /// How many changes the engine had made by then.
    pub(crate) seq: u64,
    /// How many bytes the frames had that it had merged.
    pub(crate) merged_bytes: u64,
    /// The id that it had.
    pub(crate) id: ReplicaId,
    /// What changed since the offer before it, if there is a feed.
    pub(crate) commits: Vec<Commit>,
    /// Whether something changed that cannot be told change by change.
    pub(crate) is_untold: bool,
    /// Whether there was a value that this release cannot read.
    pub(crate) has_unreadable: bool,
    /// Whether rows changed without an event: what goes on from what is on disk would not hold them.
    pub(crate) is_repaired: bool,
}

impl<S> Offer<S> {
    /// This one after another that was not put on disk.
    fn after(mut self, earlier: Option<Self>) -> Self {
        if let Some(Self { mut commits, is_untold, has_unreadable, is_repaired, .. }) = earlier {
            commits.append(&mut self.commits);
            self.commits = commits;
            self.is_untold |= is_untold;
            self.has_unreadable |= has_unreadable;
            self.is_repaired |= is_repaired;
        }
        self
    }
}

/// What the storing thread tells the engine.
#[derive(Debug)]
pub(crate) enum Stored<S> {
    /// So much is on disk.
    Persisted { snapshot: Snapshot<S>, seq: u64, merged_bytes: u64, id: ReplicaId },
    /// The store began to fail, or works again.
    HealthChanged,
}

/// What else is asked of the storing thread.
#[derive(Debug)]
pub(crate) enum Request<S> {
    Read(FeedRead),
    /// What is on disk, and the cursor after it.
    Start(oneshot::Sender<Result<(Snapshot<S>, Cursor), FeedError>>),
    Compact(oneshot::Sender<Result<(), StoreError>>),
    Backup(PathBuf, oneshot::Sender<Result<(), StoreError>>),
}

/// Where the engine and the handles leave work for the storing thread.
#[derive(Debug)]
pub(crate) struct Mailbox<S> {
    mail: Mutex<Mail<S>>,
    bell: Condvar,
}

#[derive(Debug)]
struct Mail<S> {
    offer: Option<Offer<S>>,
    requests: VecDeque<Request<S>>,
    /// When to end, whatever is not on disk by then.
    stop: Option<Instant>,
    /// Whether nobody reads it any more.
    is_closed: bool,
}

impl<S> Mailbox<S> {
    pub(crate) fn new() -> Self {
        let mail = Mail { offer: None, requests: VecDeque::new(), stop: None, is_closed: false };
        Self { mail: Mutex::new(mail), bell: Condvar::new() }
    }

    pub(crate) fn offer(&self, offer: Offer<S>) {
        let mut mail = self.mail();
        let replaced = mail.offer.take();
        mail.offer = Some(offer.after(replaced));
        drop(mail);
        self.bell.notify_one();
    }

    /// Whether it was taken; else nobody is there any more.
    pub(crate) fn request(&self, request: Request<S>) -> bool {
        let mut mail = self.mail();
        if mail.is_closed {
            return false;
        }
        mail.requests.push_back(request);
        drop(mail);
        self.bell.notify_one();
        true
    }

    /// The thread ends once all that was offered is on disk, or at this time.
    pub(crate) fn stop(&self, at: Instant) {
        self.mail().stop = Some(at);
        self.bell.notify_one();
    }

    fn mail(&self) -> MutexGuard<'_, Mail<S>> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has come, as soon as something has, or at this time.
    fn take(&self, until: Option<Instant>) -> (Option<Offer<S>>, VecDeque<Request<S>>, Option<Instant>) {
        let mut mail = self.mail();
        while mail.offer.is_none() && mail.requests.is_empty() && mail.stop.is_none() {
            let Some(until) = until else {
                mail = self.bell.wait(mail).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            mail = self.bell.wait_timeout(mail, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        (mail.offer.take(), std::mem::take(&mut mail.requests), mail.stop)
    }
}

impl<S: Crdt> Desk for Mailbox<S> {
    fn ask(&self, read: FeedRead) -> bool {
        self.request(Request::Read(read))
    }
}

/// Whoever waits for an answer is not kept waiting when the thread ends, however it does.
struct Closing<'a, S>(&'a Mailbox<S>);

impl<S> Drop for Closing<'_, S> {
    fn drop(&mut self) {
        let mut mail = self.0.mail();
        mail.is_closed = true;
        let requests = std::mem::take(&mut mail.requests);
        drop(mail);
        drop(requests);
    }
}

/// Why something is not on disk.
#[derive(Debug)]
enum Failed {
    Store(StoreError),
    /// A value cannot be written as bytes.
    Encode(String),
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(error) => std::fmt::Display::fmt(error, f),
            Self::Encode(reason) => write!(
                f,
                "a value that was written cannot be serialized: {reason}; what was not reported durable is lost \
                 when this node stops: mend its `Serialize`"
            ),
        }
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What is known of the store, and what is to be put there.
pub(crate) struct Storing<S: Crdt> {
    domain: DomainName,
    store: Box<dyn Store>,
    mailbox: Arc<Mailbox<S>>,
    engine: mpsc::UnboundedSender<Stored<S>>,
    head: watch::Sender<Place>,
    health: Arc<Health>,
    meters: Meters,
    config: DomainConfig,
    clock: Clock,
    identity: Identity,
    /// What is on disk.
    stored: Snapshot<S>,
    stored_vector: VersionVector,
    last: Place,
    checkpoint_bytes: u64,
    log_bytes: u64,
    feed_bytes: u64,
    /// What is not.
    offer: Option<Offer<S>>,
    retry: Option<Retry>,
    staging: Option<Staging<S>>,
    /// When a checkpoint that failed is begun anew.
    staging_after: Option<Retry>,
    measured: Instant,
}

/// When it is tried again, and how long it waited for that.
#[derive(Clone, Copy, Debug)]
struct Retry {
    at: Instant,
    waited: Duration,
}

impl Retry {
    fn after(before: Option<Self>) -> Self {
        let waited = before.map_or(FIRST_RETRY, |retry| (retry.waited * 2).min(LAST_RETRY));
        Self { at: Instant::now() + waited, waited }
    }

    fn is_due(retry: Option<Self>) -> bool {
        retry.is_none_or(|retry| Instant::now() >= retry.at)
    }
}

/// A checkpoint that is being written, piece by piece.
struct Staging<S> {
    chunks: Chunks<S>,
    /// All records up to here are in it.
    upto: Place,
    bytes: u64,
    /// Of records after that.
    log_bytes: u64,
}

/// What the storing thread is made with.
pub(crate) struct Desks<S> {
    pub(crate) mailbox: Arc<Mailbox<S>>,
    pub(crate) engine: mpsc::UnboundedSender<Stored<S>>,
    pub(crate) head: watch::Sender<Place>,
    pub(crate) health: Arc<Health>,
    pub(crate) meters: Meters,
}

impl<S: Crdt> Storing<S> {
    pub(crate) fn new(
        domain: DomainName,
        store: Box<dyn Store>,
        opened: &Opened<S>,
        config: DomainConfig,
        clock: Clock,
        desks: Desks<S>,
    ) -> Result<Self, StoreError> {
        let feed_bytes = store.size()?.feed_bytes;
        let Desks { mailbox, engine, head, health, meters } = desks;
        head.send_replace(opened.last);
        let mut storing = Self {
            domain,
            store,
            mailbox,
            engine,
            head,
            health,
            meters,
            config,
            clock,
            identity: opened.identity.clone(),
            stored: opened.stored.clone(),
            stored_vector: opened.stored.vector(),
            last: opened.last,
            checkpoint_bytes: opened.checkpoint_bytes,
            log_bytes: opened.log_bytes,
            feed_bytes,
            offer: None,
            retry: None,
            staging: None,
            staging_after: None,
            measured: Instant::now(),
        };
        storing.measure();
        Ok(storing)
    }

    /// Works until it is told to stop. Returns why not all is on disk, if it is not.
    pub(crate) fn run(mut self) -> Result<(), String> {
        let mailbox = Arc::clone(&self.mailbox);
        let _closing = Closing(&mailbox);
        loop {
            let (offer, requests, stop) = self.mailbox.take(self.wake());
            if let Some(offer) = offer {
                self.offer = Some(offer.after(self.offer.take()));
            }
            requests.into_iter().for_each(|request| self.serve(request));
            if self.offer.is_some() && (Retry::is_due(self.retry) || stop.is_some()) {
                self.store_offer();
            }
            match stop {
                Some(_) if self.offer.is_none() => return Ok(()),
                Some(at) if Instant::now() >= at => {
                    let failure = self.health.failure();
                    return Err(failure.map_or_else(String::new, |failure| failure.error));
                }
                Some(_) => std::thread::sleep(FIRST_RETRY),
                None => self.go_on_staging(),
            }
        }
    }

    /// When to look again although nothing has come.
    fn wake(&self) -> Option<Instant> {
        let retry = self.offer.as_ref().and(self.retry).map(|retry| retry.at);
        let staging = match &self.staging {
            Some(_) => Some(Instant::now()),
            None if self.is_checkpoint_due() => {
                Some(self.staging_after.map_or_else(Instant::now, |retry| retry.at))
            }
            None => None,
        };
        [retry, staging].into_iter().flatten().min()
    }

    // ---- appending ----

    fn store_offer(&mut self) {
        let Some(offer) = self.offer.take() else { return };
        match self.put(&offer) {
            Ok(()) => {
                let Offer { snapshot, seq, merged_bytes, id, .. } = offer;
                self.stored = snapshot.clone();
                self.stored_vector = snapshot.vector();
                self.tell(Stored::Persisted { snapshot, seq, merged_bytes, id });
                if self.retry.take().is_some() && self.health.recover() {
                    self.meters.store_failing.set(0.0);
                    tracing::info!(domain = %self.domain, "the store works again");
                    self.tell(Stored::HealthChanged);
                }
                self.trim();
                if self.measured.elapsed() >= Duration::from_secs(1) {
                    self.measure();
                }
            }
            Err(failed) => {
                self.offer = Some(offer);
                self.retry = Some(Retry::after(self.retry));
                self.fail(&failed);
                self.tell(Stored::HealthChanged);
            }
        }
    }

    fn fail(&mut self, failed: &Failed) {
        let error = failed.to_string();
        self.meters.store_errors.increment(1);
        self.meters.store_failing.set(1.0);
        tracing::error!(domain = %self.domain, %error, "nothing can be stored");
        self.health.fail(error, self.clock.now_ms());
    }

    fn tell(&self, stored: Stored<S>) {
        // If the engine is gone there is nobody to tell.
        let _ = self.engine.send(stored);
    }

    /// Puts an offer on disk.
    fn put(&mut self, offer: &Offer<S>) -> Result<(), Failed> {
        let goes_on = offer.id == self.identity.id && offer.snapshot.covers(&self.stored_vector);
        if !goes_on || offer.is_repaired {
            return self.replace(offer);
        }
        let delta = offer.snapshot.delta_since(&self.stored_vector);
        if delta.is_empty() && offer.commits.is_empty() && !offer.is_untold {
            return Ok(());
        }
        let message = delta.encode().map_err(|error| Failed::Encode(error.to_string()))?;
        let mut writing = Writing::new();
        let is_untold = offer.is_untold && self.config.feed_bytes.is_some();
        let has_unreadable = offer.has_unreadable && !self.identity.has_unreadable;
        let identity = (is_untold || has_unreadable).then(|| {
            let mut told = Identity { last: self.last, ..self.identity.clone() };
            if is_untold {
                // Whoever has seen the feed up to here cannot go on from there.
                told.feed_floor = Place(self.last.0.saturating_add(1));
            }
            told.has_unreadable |= has_unreadable;
            told
        });
        if let Some(told) = &identity {
            writing = writing.identity(told);
        }
        let record = writing.message(&message).finish();
        let feed = match &offer.commits[..] {
            [] => None,
            commits => Some(encode(commits).map_err(Failed::Encode)?),
        };
        self.append(&record, feed.as_deref())?;
        if let Some(identity) = identity {
            self.identity = identity;
        }
        Ok(())
    }

    fn append(&mut self, record: &[u8], feed: Option<&[u8]>) -> Result<(), StoreError> {
        let begun = Instant::now();
        let place = self.store.append(record, feed)?;
        let feed_bytes = feed.map_or(0, |feed| feed.len() as u64);
        let bytes = record.len() as u64;
        self.meters.appends.increment(1);
        self.meters.append_seconds.record(begun.elapsed());
        self.meters.appended_bytes.increment(bytes + feed_bytes);
        self.last = place;
        self.log_bytes += bytes;
        self.feed_bytes += feed_bytes;
        if let Some(staging) = &mut self.staging {
            staging.log_bytes += bytes;
        }
        self.head.send_replace(place);
        Ok(())
    }

    /// Puts an offer on disk in place of all that is there: what is there bears names that were given up.
    fn replace(&mut self, offer: &Offer<S>) -> Result<(), Failed> {
        self.give_up_staging();
        let mut identity = self.identity.clone();
        identity.begin_run(offer.id, self.last);
        identity.has_unreadable |= offer.has_unreadable;
        if offer.is_untold || !offer.commits.is_empty() {
            // They cannot be put on disk in one step with it: whoever has seen the feed up to here cannot go on from there.
            identity.forget_runs();
        }
        let mut staging = self.begin_staging(&identity, &offer.snapshot)?;
        while self.stage_next(&mut staging)? {}
        self.publish(&staging)?;
        self.identity = identity;
        self.head.send_replace(self.last);
        Ok(())
    }

    // ---- checkpoints ----

    fn is_checkpoint_due(&self) -> bool {
        let due = (self.checkpoint_bytes as f64 * self.config.checkpoint_factor) as u64;
        self.log_bytes > due.max(self.config.checkpoint_bytes)
    }

    /// Writes the next piece of a checkpoint, if one is due.
    fn go_on_staging(&mut self) {
        if self.staging.is_none() && (!self.is_checkpoint_due() || !Retry::is_due(self.staging_after)) {
            return;
        }
        let gone_on = self.stage_one();
        match gone_on {
            Ok(is_published) => {
                if is_published {
                    self.staging_after = None;
                    self.measure();
                }
            }
            Err(failed) => {
                self.give_up_staging();
                self.staging_after = Some(Retry::after(self.staging_after));
                self.meters.store_errors.increment(1);
                let error = failed.to_string();
                tracing::warn!(domain = %self.domain, %error, "a checkpoint could not be written");
                self.health.note(error);
            }
        }
    }

    /// Whether the checkpoint is complete, and published.
    fn stage_one(&mut self) -> Result<bool, Failed> {
        let mut staging = match self.staging.take() {
            Some(staging) => staging,
            None => self.begin_staging(&self.identity.clone(), &self.stored.clone())?,
        };
        if self.stage_next(&mut staging)? {
            self.staging = Some(staging);
            return Ok(false);
        }
        self.publish(&staging)?;
        Ok(true)
    }

    fn begin_staging(
        &mut self,
        identity: &Identity,
        snapshot: &Snapshot<S>,
    ) -> Result<Staging<S>, StoreError> {
        let upto = self.last;
        let record = Writing::new().identity(&Identity { last: upto, ..identity.clone() }).finish();
        self.store.stage(&record)?;
        let chunks = snapshot.delta_since(&VersionVector::new()).into_chunks(self.config.chunk_bytes);
        Ok(Staging { chunks, upto, bytes: record.len() as u64, log_bytes: 0 })
    }

    /// Whether there was another piece.
    fn stage_next(&mut self, staging: &mut Staging<S>) -> Result<bool, Failed> {
        let Some(message) = staging.chunks.next() else { return Ok(false) };
        let message = message.map_err(|error| Failed::Encode(error.to_string()))?;
        let record = Writing::new().message(&message).finish();
        self.store.stage(&record)?;
        staging.bytes += record.len() as u64;
        Ok(true)
    }

    fn publish(&mut self, staging: &Staging<S>) -> Result<(), StoreError> {
        self.store.publish(staging.upto)?;
        (self.checkpoint_bytes, self.log_bytes) = (staging.bytes, staging.log_bytes);
        self.meters.checkpoints.increment(1);
        self.meters.checkpoint_bytes.increment(staging.bytes);
        tracing::debug!(domain = %self.domain, bytes = staging.bytes, "a checkpoint is published");
        Ok(())
    }

    fn give_up_staging(&mut self) {
        self.staging = None;
        if let Err(error) = self.store.abandon() {
            tracing::warn!(domain = %self.domain, %error, "what was staged could not be dropped");
        }
    }

    // ---- the feed ----

    /// Drops the oldest batches of the feed if it has grown too large: an eighth of it more than asked for, so that it is not
    /// done with each append.
    fn trim(&mut self) {
        let Some(kept) = self.config.feed_bytes else { return };
        if self.feed_bytes <= kept.saturating_add(kept / 8) {
            return;
        }
        if let Err(error) = self.trim_to(kept) {
            self.meters.store_errors.increment(1);
            tracing::warn!(domain = %self.domain, %error, "the feed could not be trimmed");
            self.health.note(error.to_string());
        }
    }

    fn trim_to(&mut self, kept: u64) -> Result<(), StoreError> {
        let excess = usize::try_from(self.feed_bytes.saturating_sub(kept)).unwrap_or(usize::MAX);
        let oldest = self.store.feed_after(Place::default(), excess)?;
        let Some((upto, _)) = oldest.last() else { return Ok(()) };
        // First that cursors before it are not complete any more, then the deed.
        let floor = self.identity.feed_floor.max(*upto);
        let identity = Identity { feed_floor: floor, last: self.last, ..self.identity.clone() };
        self.append(&Writing::new().identity(&identity).finish(), None)?;
        self.identity = identity;
        self.store.trim_feed(*upto)?;
        let bytes: usize = oldest.iter().map(|(_, batch)| batch.len()).sum();
        self.feed_bytes = self.feed_bytes.saturating_sub(bytes as u64);
        Ok(())
    }

    fn read_feed(&self, after: Cursor, bytes: usize) -> Result<Vec<Batch>, FeedError> {
        if self.config.feed_bytes.is_none() {
            return Err(FeedError::NotKept);
        }
        self.check(after)?;
        let batches = self.store.feed_after(after.place, bytes);
        let batches = batches.map_err(|error| FeedError::Unreadable { reason: error.to_string() })?;
        let cursor = |place| Cursor { tag: self.tag_at(place), place };
        Ok(batches.into_iter().map(|(place, batch)| (cursor(place), batch)).collect())
    }

    /// Who wrote a place.
    fn tag_at(&self, place: Place) -> ReplicaId {
        let run = self.identity.runs.iter().rev().find(|run| run.after < place);
        run.or(self.identity.runs.first()).map_or(self.identity.id, |run| run.tag)
    }

    /// Refuses a cursor that is not of the past of this store, or after which something is not kept.
    fn check(&self, cursor: Cursor) -> Result<(), FeedError> {
        let Identity { runs, feed_floor, .. } = &self.identity;
        let index = runs.iter().position(|run| run.tag == cursor.tag);
        if index.is_none() && cursor.place < *feed_floor {
            return Err(FeedError::TooOld { cursor });
        }
        let (run, next) = match index.map(|index| (runs.get(index), runs.get(index + 1))) {
            Some((Some(run), next)) => (run, next),
            _ => return Err(FeedError::Elsewhere { cursor }),
        };
        let last = next.map_or(self.last, |next| next.after);
        if cursor.place < run.after || cursor.place > last {
            return Err(FeedError::Elsewhere { cursor });
        }
        if cursor.place < *feed_floor {
            return Err(FeedError::TooOld { cursor });
        }
        Ok(())
    }

    // ---- requests ----

    fn serve(&mut self, request: Request<S>) {
        // Whoever has gone away meanwhile does not need the answer.
        match request {
            Request::Read(FeedRead { after, bytes, reply }) => drop(reply.send(self.read_feed(after, bytes))),
            Request::Start(reply) => {
                let start = match self.config.feed_bytes {
                    Some(_) => {
                        let tag = self.identity.runs.last().map_or(self.identity.id, |run| run.tag);
                        Ok((self.stored.clone(), Cursor { tag, place: self.last }))
                    }
                    None => Err(FeedError::NotKept),
                };
                drop(reply.send(start));
            }
            Request::Compact(reply) if !reply.is_closed() => drop(reply.send(self.compact())),
            Request::Backup(to, reply) if !reply.is_closed() => drop(reply.send(self.store.backup(&to))),
            Request::Compact(_) | Request::Backup(..) => {}
        }
    }

    fn compact(&mut self) -> Result<(), StoreError> {
        loop {
            match self.stage_one() {
                Ok(false) => {}
                Ok(true) => break,
                Err(Failed::Store(error)) => {
                    self.give_up_staging();
                    return Err(error);
                }
                Err(Failed::Encode(_)) => {
                    self.give_up_staging();
                    return Err(StoreError::Unsupported { what: "hold a value that cannot be serialized" });
                }
            }
        }
        let compacted = self.store.compact();
        self.measure();
        compacted
    }

    fn measure(&mut self) {
        self.measured = Instant::now();
        match self.store.size() {
            Ok(size) => self.health.measured(size),
            Err(error) => self.health.note(error.to_string()),
        }
    }
}
