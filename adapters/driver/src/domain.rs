//! A domain: the handle by which an application reads and writes.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use driftless::{
    Crdt, Held, Holders, Member, Missing, Need, RefusedId, RefusedWrite, Reissued, ReplicaId, Snapshot,
    Timestamp, Token,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::connection::DomainName;
use crate::engine::{Engine, Job};
use crate::feed::{Cursor, Desk, Feed, FeedError};
use crate::health::Health;
use crate::link::Gate;
use crate::node::Unstored;
use crate::status::DomainStatus;
use crate::store::{Place, StoreError};
use crate::storing::{Mailbox, Request};
use crate::telemetry::Meters;
use crate::write::{Applied, NotDurable, Refused, TransactError, WriteError, Written};

/// A domain of a [`Node`](crate::Node). A clone costs a reference count.
///
/// - **Reads** take a [snapshot](Self::read): at memory speed, without waiting for writers.
/// - **Writes** are transactions. [`transact`](Self::transact) returns once the write is on disk;
///   [`apply`](Self::apply) once it is applied.
/// - **Changes** are followed by a [`feed`](Self::feed), from any place on, through restarts.
///
/// When the last handle of a node and of its domains is dropped, what was applied is written, and the domain ends;
/// [`Node::shutdown`](crate::Node::shutdown) waits for that.
pub struct Domain<S: Crdt>(Arc<Inner<S>>);

impl<S: Crdt> Clone for Domain<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Crdt> fmt::Debug for Domain<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Domain").field(&self.0.name).finish()
    }
}

/// What became of a domain: nothing yet, or how it ended.
pub(crate) type Ended = Option<Result<(), Unstored>>;

pub(crate) struct Inner<S: Crdt> {
    pub(crate) name: DomainName,
    pub(crate) member: ReplicaId,
    pub(crate) writes: mpsc::Sender<Job<S>>,
    pub(crate) control: mpsc::Sender<Job<S>>,
    pub(crate) gate: Gate,
    pub(crate) published: watch::Receiver<Snapshot<S>>,
    pub(crate) durable: watch::Receiver<Snapshot<S>>,
    pub(crate) mailbox: Arc<Mailbox<S>>,
    pub(crate) head: watch::Receiver<Place>,
    pub(crate) health: Arc<Health>,
    pub(crate) meters: Meters,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) ended: watch::Receiver<Ended>,
}

impl<S: Crdt> Drop for Inner<S> {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Why nobody waits any longer for what a token asks for. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitError {
    /// Peer, or network: it has not come in time. Wait longer, or read where it was written.
    NotReached {
        /// What is missing.
        missing: Vec<Missing>,
    },
    /// Caller: the node is shut down.
    Stopped,
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReached { missing } => {
                f.write_str("the peer's writes have not come in time:")?;
                for Missing { id, have, want } in missing {
                    write!(f, " of {id} {want} is asked for and {have} is held,")?;
                }
                f.write_str(" nothing changed: wait longer, or read where it was written")
            }
            Self::Stopped => f.write_str(
                "the caller waits on a node that is shut down; nothing changed: open the store again",
            ),
        }
    }
}

impl std::error::Error for WaitError {}

/// Why a write is not confirmed. The write stands, and is shipped on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfirmError {
    /// Not as many members are known to hold it by the deadline as were asked for.
    Unconfirmed(Holders),
    /// Caller: the node is shut down.
    Stopped,
}

impl fmt::Display for ConfirmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unconfirmed(Holders { hold, lack, .. }) => write!(
                f,
                "the peers that confirmed the write in time are {} of {} members; it stands: wait longer, or for fewer",
                hold.len(),
                hold.len() + lack.len()
            ),
            Self::Stopped => f.write_str(
                "the caller waits on a node that is shut down; the write stands: open the store again",
            ),
        }
    }
}

impl std::error::Error for ConfirmError {}

/// Why a store does not go on under another id. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReissueError {
    /// The engine refused it; what to do is said there.
    Refused(RefusedId),
    /// Caller: the node is shut down, or the id is being changed already.
    Stopped,
}

impl fmt::Display for ReissueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => fmt::Display::fmt(error, f),
            Self::Stopped => f.write_str(
                "the caller's node is shut down, or changes its id already; nothing changed: look at its status",
            ),
        }
    }
}

impl std::error::Error for ReissueError {}

impl<S: Crdt> Domain<S> {
    pub(crate) fn new(inner: Arc<Inner<S>>) -> Self {
        Self(inner)
    }

    /// The name.
    pub fn name(&self) -> &DomainName {
        &self.0.name
    }

    /// The member of the cluster that this store is: the same through all restarts.
    pub fn member(&self) -> ReplicaId {
        self.0.member
    }

    // ---- reading ----

    /// What is held now, the latest writes included, whether or not they are on disk.
    ///
    /// Cost: a reference count. It never waits for a writer.
    pub fn read(&self) -> Snapshot<S> {
        self.0.published.borrow().clone()
    }

    /// What is on disk now: what is read here no crash takes back.
    pub fn read_durable(&self) -> Snapshot<S> {
        self.0.durable.borrow().clone()
    }

    /// Waits until what is [read](Self::read) is another than it was when this was called.
    ///
    /// # Errors
    /// [`WaitError::Stopped`].
    pub async fn changed(&self) -> Result<Snapshot<S>, WaitError> {
        let mut published = self.0.published.clone();
        published.borrow_and_update();
        published.changed().await.map_err(|_| WaitError::Stopped)?;
        let snapshot = published.borrow_and_update().clone();
        Ok(snapshot)
    }

    /// Whether all is held here that a token asks for.
    ///
    /// # Errors
    /// [`WaitError::NotReached`] with what is missing, replica by replica.
    pub async fn reached(&self, token: &Token) -> Result<Snapshot<S>, WaitError> {
        let snapshot = self.read();
        if snapshot.covers(token.vector()) {
            return Ok(snapshot);
        }
        let token = token.clone();
        let reached = self.ask(move |engine| engine.endpoint.reached(&token)).await;
        match reached.ok_or(WaitError::Stopped)? {
            Ok(()) => Ok(self.read()),
            Err(missing) => Err(WaitError::NotReached { missing }),
        }
    }

    /// Waits until all is held here that a token asks for, and returns what is held then.
    ///
    /// # Errors
    /// [`WaitError`]: it has not come in time.
    pub async fn wait_for(&self, token: &Token, within: Duration) -> Result<Snapshot<S>, WaitError> {
        let snapshot = self.read();
        if snapshot.covers(token.vector()) {
            return Ok(snapshot);
        }
        let (reply, answer) = oneshot::channel();
        let awaited = token.clone();
        let job: Job<S> = Box::new(move |engine| engine.wait_for(awaited, reply));
        let waiting = async {
            self.0.control.send(job).await.map_err(|_| WaitError::Stopped)?;
            answer.await.map_err(|_| WaitError::Stopped)
        };
        match timeout(within, waiting).await {
            Ok(reached) => reached.map(|()| self.read()),
            Err(_) => self.reached(token).await,
        }
    }

    // ---- writing ----

    /// Writes in one transaction, and returns once it is on disk. An error or a panic inside of `write` leaves nothing behind.
    ///
    /// The closure runs on the engine's thread, while nothing else is written: it should compute, and not wait.
    ///
    /// Many writes go to disk at once: have many tasks write, or use [`apply`](Self::apply).
    ///
    /// # Errors
    /// [`TransactError`]: it was refused or aborted, and nothing changed; or it was made, and the node stopped before it was
    /// known to be on disk. If the future is dropped the write may be made or not.
    pub async fn transact<R, E>(
        &self,
        write: impl FnOnce(&mut S::Mut<'_>) -> Result<R, E> + Send + 'static,
    ) -> Result<Written<R>, TransactError<E>>
    where
        R: Send + 'static,
        E: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job<S> = Box::new(move |engine| match engine.transact(write) {
            // Whoever has gone away meanwhile does not need the answer.
            Ok(written) => engine.when_durable(Box::new(move |is_durable| {
                let not_durable = |written: &Written<R>| NotDurable { token: Some(written.token.clone()) };
                drop(reply.send(match is_durable {
                    true => Ok(written),
                    false => Err(TransactError::NotDurable(not_durable(&written))),
                }));
            })),
            Err(error) => drop(reply.send(Err(error))),
        });
        self.bring(job).await?;
        answer.await.unwrap_or(Err(TransactError::NotDurable(NotDurable { token: None })))
    }

    /// As [`transact`](Self::transact), for what cannot fail by itself.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn write<R: Send + 'static>(
        &self,
        write: impl FnOnce(&mut S::Mut<'_>) -> R + Send + 'static,
    ) -> Result<Written<R>, WriteError> {
        Ok(self.transact(move |handle| Ok::<_, Infallible>(write(handle))).await?)
    }

    /// Writes in one transaction, and returns once it is applied: it is read here at once, and leaves the process once it is on
    /// disk. [`Applied::durable`] waits for that.
    ///
    /// # Errors
    /// [`TransactError`].
    pub async fn apply<R, E>(
        &self,
        write: impl FnOnce(&mut S::Mut<'_>) -> Result<R, E> + Send + 'static,
    ) -> Result<Applied<R>, TransactError<E>>
    where
        R: Send + 'static,
        E: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job<S> = Box::new(move |engine| {
            let applied = engine.transact(write).map(|written| {
                let (when, durable) = oneshot::channel();
                engine.when_durable(Box::new(move |is_durable| when.send(is_durable).unwrap_or(())));
                Applied { written, durable }
            });
            // Whoever hears of it reads it.
            engine.when_published(Box::new(move || drop(reply.send(applied))));
        });
        self.bring(job).await?;
        answer.await.unwrap_or(Err(TransactError::NotDurable(NotDurable { token: None })))
    }

    /// Brings a write to the engine; waits while it has no room.
    async fn bring(&self, job: Job<S>) -> Result<(), Refused> {
        if let Some(failure) = self.0.health.is_failing().then(|| self.0.health.failure()).flatten() {
            return Err(Refused::StoreFailing(failure));
        }
        self.0.writes.send(job).await.map_err(|_| Refused::Stopped)
    }

    /// Waits until as many members hold a write of this node as asked for, of those that were members when it was made. A write
    /// of an earlier run is not known any more, and refused at once.
    ///
    /// # Errors
    /// [`ConfirmError`]: not in time, or not known. If it was made, the write stands.
    pub async fn confirm(
        &self,
        stamp: Timestamp,
        need: Need,
        held: Held,
        within: Duration,
    ) -> Result<Holders, ConfirmError> {
        let (reply, answer) = oneshot::channel();
        let job: Job<S> = Box::new(move |engine| engine.confirm(stamp, need, held, within, reply));
        self.0.control.send(job).await.map_err(|_| ConfirmError::Stopped)?;
        answer.await.map_err(|_| ConfirmError::Stopped)?.map_err(ConfirmError::Unconfirmed)
    }

    // ---- changes ----

    /// Follows the changes after a cursor. What it gives is on disk; a change is given once in each life of a cursor that is
    /// kept, and none is left out, whatever is restarted in between.
    ///
    /// It is refused by the first [`Feed::next`] if it cannot be gone on from there.
    pub fn feed(&self, after: Cursor) -> Feed {
        let desk: Arc<dyn Desk> = self.0.mailbox.clone();
        Feed::new(after, desk, self.0.head.clone())
    }

    /// What is on disk, and the cursor after exactly that: where to begin, and to begin anew.
    ///
    /// # Errors
    /// [`FeedError::NotKept`] or [`FeedError::Stopped`].
    pub async fn feed_start(&self) -> Result<(Snapshot<S>, Cursor), FeedError> {
        let (reply, answer) = oneshot::channel();
        if !self.0.mailbox.request(Request::Start(reply)) {
            return Err(FeedError::Stopped);
        }
        answer.await.map_err(|_| FeedError::Stopped)?
    }

    // ---- operating ----

    /// How it stands.
    ///
    /// Cost: of going over all that could be forgotten, once or twice for each member that is waited for; meanwhile nothing is
    /// written. Every few seconds is fine.
    ///
    /// # Errors
    /// [`Refused::Stopped`].
    pub async fn status(&self) -> Result<DomainStatus, Refused> {
        self.ask(|engine| engine.status()).await.ok_or(Refused::Stopped)
    }

    /// The members of the cluster.
    ///
    /// # Errors
    /// [`Refused::Stopped`].
    pub async fn members(&self) -> Result<Vec<Member>, Refused> {
        self.ask(|engine| engine.endpoint.members()).await.ok_or(Refused::Stopped)
    }

    /// Makes this store the first member of a cluster. It is needed only where members are
    /// [invited](driftless::Admission::Invited): else two that meet found it by themselves.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn found(&self) -> Result<(), Refused> {
        self.administer(|endpoint, now_ms| endpoint.found(now_ms).map(drop)).await
    }

    /// Lets a store become a member; an evicted one, too.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn admit(&self, member: ReplicaId) -> Result<(), Refused> {
        self.administer(move |endpoint, now_ms| endpoint.admit(now_ms, member).map(drop)).await
    }

    /// Makes a member none: what is forgotten does not wait for it any more.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn evict(&self, member: ReplicaId) -> Result<(), Refused> {
        self.administer(move |endpoint, now_ms| endpoint.evict(now_ms, member).map(drop)).await
    }

    /// Leaves the cluster: nobody waits for this store any more.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn leave(&self) -> Result<(), Refused> {
        self.administer(|endpoint, now_ms| endpoint.leave(now_ms).map(drop)).await
    }

    /// Goes on under a fresh id, with true times: after the clock ran ahead and was set right, what was written meanwhile bears
    /// stamps that nobody takes. Returns once the store is written under it. What an earlier run of the node wrote keeps its
    /// stamps: others take it once they are as late.
    ///
    /// Of values that were written concurrently another one may be the latest then, so cursors of the [feed](Self::feed) from
    /// before it are refused.
    ///
    /// # Errors
    /// [`ReissueError`].
    pub async fn reissue_ahead(&self) -> Result<Reissued, ReissueError> {
        let (reply, answer) = oneshot::channel();
        let job: Job<S> = Box::new(move |engine| engine.reissue_ahead(reply));
        self.0.control.send(job).await.map_err(|_| ReissueError::Stopped)?;
        answer.await.map_err(|_| ReissueError::Stopped)?.map_err(ReissueError::Refused)
    }

    /// Writes a checkpoint now, and has the store drop from disk what was removed, as far as it can. Meanwhile nothing else
    /// reaches the disk.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn compact(&self) -> Result<(), StoreError> {
        self.ask_store(Request::Compact).await
    }

    /// Writes a copy of what is on disk to a new file or folder. It can be opened like the store itself, under a new id, and
    /// rejoins the others safely. Reads and writes go on; nothing more becomes durable until it is there. The store's own tool
    /// may do it from another process, and holds nothing up: for a large `FileStore`, use that.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn backup(&self, to: impl Into<PathBuf>) -> Result<(), StoreError> {
        let to = to.into();
        self.ask_store(|reply| Request::Backup(to, reply)).await
    }

    async fn ask_store(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<(), StoreError>>) -> Request<S>,
    ) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        let is_taken = self.0.mailbox.request(request(reply));
        let stopped = || StoreError::Unsupported { what: "be used once its node is shut down" };
        if is_taken { answer.await.unwrap_or_else(|_| Err(stopped())) } else { Err(stopped()) }
    }

    async fn administer(
        &self,
        act: impl FnOnce(&mut driftless::Endpoint<S>, u64) -> Result<(), RefusedWrite> + Send + 'static,
    ) -> Result<(), Refused> {
        let (reply, answer) = oneshot::channel();
        let job: Job<S> = Box::new(move |engine| match engine.administer(act) {
            Ok(()) => engine.when_durable(Box::new(move |is_durable| {
                if is_durable {
                    drop(reply.send(Ok(())));
                }
            })),
            Err(refused) => drop(reply.send(Err(refused))),
        });
        self.0.control.send(job).await.map_err(|_| Refused::Stopped)?;
        answer.await.map_err(|_| Refused::Stopped)?
    }

    /// Asks the engine for something, without waiting for the disk. None if it is gone.
    async fn ask<T: Send + 'static>(
        &self,
        what: impl FnOnce(&mut Engine<S>) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let job: Job<S> = Box::new(move |engine| drop(reply.send(what(engine))));
        self.0.control.send(job).await.ok()?;
        answer.await.ok()
    }
}

/// A domain of whatever type, as its node holds it.
pub(crate) trait Hosted: Send + Sync {
    fn stop(&self);
    fn ended(&self) -> watch::Receiver<Ended>;
    fn links(&self) -> (Gate, Meters);
    fn name(&self) -> &DomainName;
    fn status(&self) -> Pin<Box<dyn Future<Output = Result<DomainStatus, Refused>> + Send>>;
}

impl<S: Crdt> Hosted for Domain<S> {
    fn stop(&self) {
        self.0.stop.send_replace(true);
    }

    fn ended(&self) -> watch::Receiver<Ended> {
        self.0.ended.clone()
    }

    fn links(&self) -> (Gate, Meters) {
        (self.0.gate.clone(), self.0.meters.clone())
    }

    fn name(&self) -> &DomainName {
        Domain::name(self)
    }

    fn status(&self) -> Pin<Box<dyn Future<Output = Result<DomainStatus, Refused>> + Send>> {
        let domain = self.clone();
        Box::pin(async move { Domain::status(&domain).await })
    }
}
