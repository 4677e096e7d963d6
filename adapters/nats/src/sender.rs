//! Sends the frames of a link to the peer's inbox, in their order.
//!
//! Messages are numbered, and a few may be under way at a time. When one of them is not stored it is sent again until it is, and
//! then all that came after it: so each is in the inbox after those before it, if it is there at all. The receiver passes over
//! what it has had, and what comes too early.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::Subject;
use async_nats::jetstream::context::PublishError;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, Context, ErrorCode};
use bytes::Bytes;
use driftless_node::connection::{DomainName, Frame};
use driftless_node::{Backoff, RegionName};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use crate::config::{Limits, Timing};
use crate::message::{Content, Message, Sessions, parts};
use crate::observe::{self, Counted};
use crate::reason::{Farewell, Reason};
use crate::shared::Traffic;

/// The longest waiting time before a message is sent again.
const MOST_PAUSE: Duration = Duration::from_secs(1);

/// The sending side of a link.
pub(crate) struct Sender<'a> {
    pub(crate) region: &'a RegionName,
    pub(crate) limits: &'a Limits,
    pub(crate) timing: &'a Timing,
    pub(crate) way: Way,
    pub(crate) sessions: Sessions,
    /// The domains that may be sent, each with its place among those that this side offered.
    pub(crate) indexes: BTreeMap<DomainName, u8>,
    /// The most bytes of a frame that the peer takes.
    pub(crate) most: u32,
    /// The most bytes of a part of one.
    pub(crate) part_bytes: usize,
    pub(crate) from_node: mpsc::Receiver<Frame>,
    /// Why to end.
    pub(crate) closing: watch::Receiver<Option<Reason>>,
    /// The last message that is stored.
    pub(crate) stored: &'a AtomicU64,
    pub(crate) traffic: &'a Traffic,
    pub(crate) counted: Counted,
    pub(crate) window: Window,
    pub(crate) backoff: Backoff,
}

/// The way to the peer's inbox.
pub(crate) struct Way {
    pub(crate) jetstream: Context,
    pub(crate) subject: Subject,
    /// The stream that messages shall come to.
    pub(crate) inbox: String,
}

/// The messages that are under way.
#[derive(Default)]
pub(crate) struct Window {
    messages: VecDeque<UnderWay>,
    bytes: usize,
    /// The last number that was given out.
    last: u64,
}

struct UnderWay {
    sequence: u64,
    bytes: Bytes,
    stored: Stored,
}

type Stored = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// Why a message was not stored.
enum Failure {
    /// The inbox is full: its region will make room.
    Full,
    Other(String),
}

impl Way {
    async fn send(&self, bytes: Bytes) -> Stored {
        let message = PublishMessage::build().payload(bytes);
        match self.jetstream.send_publish(self.subject.clone(), message).await {
            Ok(acknowledged) => {
                let inbox = self.inbox.clone();
                Box::pin(async move {
                    let stream = acknowledged.await.map_err(Failure::from)?.stream;
                    if stream == inbox {
                        Ok(())
                    } else {
                        Err(Failure::Other(format!("the stream {stream} took it, and not {inbox}")))
                    }
                })
            }
            Err(error) => Box::pin(std::future::ready(Err(error.into()))),
        }
    }
}

impl Sender<'_> {
    pub(crate) async fn run(mut self) -> Reason {
        loop {
            let has_room = self.has_room();
            let done = tokio::select! {
                biased;
                reason = told(&mut self.closing) => return self.end(reason).await,
                stored = first(&mut self.window.messages), if !self.window.messages.is_empty() => {
                    self.settle(stored).await
                }
                frame = self.from_node.recv(), if has_room => match frame {
                    Some(frame) => self.send(&frame).await,
                    None => return self.end(Reason::ByNode).await,
                },
            };
            if let Err(reason) = done {
                return reason;
            }
        }
    }

    /// Sends what was handed over, and a farewell. The caller sets the time.
    async fn end(mut self, reason: Reason) -> Reason {
        if !reason.is_orderly() {
            return reason;
        }
        self.from_node.close();
        let last = async {
            while let Some(frame) = self.from_node.recv().await {
                self.send(&frame).await?;
            }
            let farewell = match reason.farewell() {
                Farewell(0) => Farewell::BY_NODE,
                farewell => farewell,
            };
            self.put(Content::Farewell(farewell)).await;
            while !self.window.messages.is_empty() {
                let stored = first(&mut self.window.messages).await;
                self.settle(stored).await?;
            }
            Ok::<(), Reason>(())
        };
        // The link ends by the reason that was there first.
        let _ = last.await;
        reason
    }

    fn has_room(&self) -> bool {
        self.window.messages.len() < self.limits.window_messages
            && self.window.bytes < self.limits.window_bytes
    }

    async fn send(&mut self, frame: &Frame) -> Result<(), Reason> {
        let Some(index) = self.indexes.get(&frame.domain).copied() else {
            return Err(Reason::Withheld { domain: frame.domain.clone() });
        };
        let bytes = frame.bytes.len() as u64;
        if bytes > u64::from(self.most) {
            return Err(Reason::TooLarge { bytes, most: self.most });
        }
        for (is_last, bytes) in parts(&frame.bytes, self.part_bytes) {
            while !self.has_room() {
                let stored = first(&mut self.window.messages).await;
                self.settle(stored).await?;
            }
            self.put(Content::Part { index, is_last, bytes }).await;
        }
        self.counted.add(frame.bytes.len());
        self.traffic.sent_frames.fetch_add(1, Ordering::Relaxed);
        self.traffic.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// The next message is under way.
    async fn put(&mut self, content: Content) {
        let sequence = self.window.last + 1;
        let bytes = Message { sessions: self.sessions, sequence, content }.encode();
        let stored = self.way.send(bytes.clone()).await;
        self.window.last = sequence;
        self.window.bytes += bytes.len();
        self.window.messages.push_back(UnderWay { sequence, bytes, stored });
    }

    /// What became of the first message that is under way.
    async fn settle(&mut self, stored: Result<(), Failure>) -> Result<(), Reason> {
        if let Err(failure) = stored {
            self.repeat_first(failure).await?;
            // Those after it may be stored too early, or not at all.
            observe::republished(self.region, self.window.messages.len() - 1);
            for place in 1..self.window.messages.len() {
                let stored = self.way.send(self.window.messages[place].bytes.clone()).await;
                self.window.messages[place].stored = stored;
            }
        }
        if let Some(done) = self.window.messages.pop_front() {
            self.window.bytes -= done.bytes.len();
            self.stored.store(done.sequence, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Sends the first message again, until it is stored.
    async fn repeat_first(&mut self, mut failure: Failure) -> Result<(), Reason> {
        let Some(bytes) = self.window.messages.front().map(|first| first.bytes.clone()) else {
            return Ok(());
        };
        let mut since = Instant::now();
        loop {
            match failure {
                // However long that takes: the node decides when it is too long.
                Failure::Full => since = Instant::now(),
                Failure::Other(what) if since.elapsed() >= self.timing.silence => {
                    return Err(Reason::Unsent { what });
                }
                Failure::Other(what) => {
                    tracing::debug!("a message was not stored, and is sent again: {what}");
                }
            }
            sleep(self.backoff.wait()).await;
            observe::republished(self.region, 1);
            match self.way.send(bytes.clone()).await.await {
                Ok(()) => break,
                Err(error) => failure = error,
            }
        }
        self.backoff.reset();
        Ok(())
    }

    pub(crate) fn backoff(timing: &Timing, seed: u64) -> Backoff {
        Backoff::new(timing.backoff_least.min(MOST_PAUSE), timing.backoff_most.min(MOST_PAUSE), seed)
    }
}

/// Waits for the first message that is under way. May be given up and called again.
async fn first(messages: &mut VecDeque<UnderWay>) -> Result<(), Failure> {
    match messages.front_mut() {
        Some(message) => message.stored.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Waits until the end is told.
async fn told(closing: &mut watch::Receiver<Option<Reason>>) -> Reason {
    let told = closing.wait_for(Option::is_some).await;
    told.ok().and_then(|reason| (*reason).clone()).unwrap_or(Reason::ByNode)
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        let answer = error.source().and_then(|source| source.downcast_ref::<jetstream::Error>());
        match answer.map(jetstream::Error::error_code) {
            Some(ErrorCode::STREAM_STORE_FAILED) => Self::Full,
            _ => Self::Other(error.to_string()),
        }
    }
}
