//! Takes the frames of a link from the own inbox, and hands them to the node in their order.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::Stream;
use bytes::Bytes;
use driftless_node::RegionName;
use driftless_node::connection::{DomainName, Frame};
use futures_util::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::config::{Limits, Timing};
use crate::message::{Assembly, BadPart, Content, Message, Sessions};
use crate::observe::{Counted, Dropped, Observer};
use crate::reason::Reason;
use crate::shared::Traffic;

/// How long a request for messages stands at the server.
const REQUEST: Duration = Duration::from_secs(30);

/// How often the server says that it still knows of it.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The receiving side of a link.
pub(crate) struct Receiver<'a> {
    pub(crate) region: &'a RegionName,
    pub(crate) limits: &'a Limits,
    pub(crate) timing: &'a Timing,
    pub(crate) observer: &'a Observer,
    pub(crate) sessions: Sessions,
    /// What the peer offered. Messages name domains by their place.
    pub(crate) theirs: &'a [DomainName],
    /// What this side offered it.
    pub(crate) ours: &'a [DomainName],
    pub(crate) to_node: mpsc::Sender<Frame>,
    /// The last message that the peer knows to be in the inbox.
    pub(crate) stored: watch::Receiver<u64>,
    pub(crate) traffic: &'a Traffic,
    pub(crate) counted: Counted,
    pub(crate) order: Order,
}

/// Which messages have come.
#[derive(Debug, Default)]
pub(crate) struct Order {
    /// The last one that was taken.
    last: u64,
    /// The last one that is known to have been sent.
    sent: u64,
    /// Since when one is missing, or the last time that one came since then.
    missing_since: Option<Instant>,
    assembly: Assembly,
}

impl Receiver<'_> {
    pub(crate) async fn run(mut self, consumer: &PullConsumer) -> Reason {
        let opened = consumer
            .stream()
            .max_messages_per_batch(usize::from(self.limits.fetch_messages))
            .expires(REQUEST)
            .heartbeat(HEARTBEAT)
            .messages()
            .await;
        let reason = match opened {
            Ok(mut messages) => self.read(&mut messages).await,
            Err(error) => Err(Reason::Unread { what: error.to_string() }),
        };
        match reason {
            Ok(never) => match never {},
            Err(reason) => reason,
        }
    }

    async fn read(&mut self, messages: &mut Stream) -> Result<std::convert::Infallible, Reason> {
        loop {
            let late = self.order.missing_since.map(|since| since + self.timing.gap);
            let message = tokio::select! {
                biased;
                () = self.to_node.closed() => return Err(Reason::ByNode),
                message = messages.next() => message,
                () = sleep_until(late.unwrap_or_else(Instant::now)), if late.is_some() => {
                    return Err(Reason::Gap { missing: self.order.last + 1 });
                }
                Ok(()) = self.stored.changed() => {
                    let stored = *self.stored.borrow_and_update();
                    self.order.is_sent(stored);
                    continue;
                }
            };
            let message = match message {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Err(Reason::Unread { what: error.to_string() }),
                None => return Err(Reason::Unread { what: "the server ended it".to_owned() }),
            };
            let taken = self.take(&message.payload).await;
            // One that is handed out again is known by its number. One that is of no use is not handed out again.
            let _ = message.ack().await;
            taken?;
        }
    }

    async fn take(&mut self, payload: &Bytes) -> Result<(), Reason> {
        let dropped = |dropped| {
            self.observer.dropped(dropped, self.region);
            Ok(())
        };
        let Some(Message { sessions, sequence, content }) = Message::decode(payload) else {
            return dropped(Dropped::Garbage);
        };
        if sessions != self.sessions {
            return dropped(Dropped::Stale);
        }
        if let Err(why) = self.order.next(sequence) {
            return dropped(why);
        }
        let (index, is_last, bytes) = match content {
            Content::Farewell(farewell) => return Err(Reason::ByPeer(farewell)),
            Content::Part { index, is_last, bytes } => (index, is_last, bytes),
        };
        let Some(domain) = self.theirs.get(usize::from(index)) else {
            return Err(Reason::UnknownDomain { index });
        };
        if !self.ours.contains(domain) {
            return Err(Reason::NotGranted { domain: domain.clone() });
        }
        let whole = self.order.assembly.add(index, is_last, bytes, self.limits.frame_bytes);
        let bytes = match whole {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(()),
            Err(BadPart::Mixed) => return Err(Reason::Broken { what: "the rest of a frame" }),
            Err(BadPart::TooLarge(bytes)) => {
                return Err(Reason::TooLarge { bytes, most: self.limits.frame_bytes });
            }
        };
        self.counted.add(bytes.len());
        self.traffic.received_frames.fetch_add(1, Ordering::Relaxed);
        self.traffic.received_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        // While the node has no room, nothing more is taken from the inbox.
        let sent = self.to_node.send(Frame { domain: domain.clone(), bytes }).await;
        // That took its time, which was not the sender's.
        self.order.came();
        sent.map_err(|_| Reason::ByNode)
    }
}

impl Order {
    /// Whether a message is the next one. Then it is taken.
    fn next(&mut self, sequence: u64) -> Result<(), Dropped> {
        self.sent = self.sent.max(sequence);
        if sequence <= self.last {
            return Err(Dropped::Seen);
        }
        if sequence - self.last > 1 {
            self.is_sent(sequence);
            return Err(Dropped::Ahead);
        }
        self.last = sequence;
        self.came();
        Ok(())
    }

    /// A message is known to have been sent.
    fn is_sent(&mut self, sequence: u64) {
        self.sent = self.sent.max(sequence);
        if self.sent > self.last {
            self.missing_since.get_or_insert_with(Instant::now);
        }
    }

    fn came(&mut self) {
        self.missing_since = (self.sent > self.last).then(Instant::now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_next_message_is_taken_and_what_is_missing_is_known() {
        let mut order = Order::default();
        assert_eq!([order.next(1), order.next(2)], [Ok(()), Ok(())]);
        assert_eq!([order.next(1), order.next(2)], [Err(Dropped::Seen); 2]);
        assert_eq!(order.missing_since, None);
        assert_eq!(order.next(5), Err(Dropped::Ahead));
        let since = order.missing_since;
        assert!(since.is_some());
        // Another one too early does not give it more time; one that comes in its turn does.
        assert_eq!([order.next(6), order.next(2)], [Err(Dropped::Ahead), Err(Dropped::Seen)]);
        assert_eq!(order.missing_since, since);
        for sequence in 3..=6 {
            assert!(order.missing_since.is_some(), "{sequence}");
            assert_eq!(order.next(sequence), Ok(()));
        }
        assert_eq!(order.missing_since, None);
        // The last one is missed too, since the sender says that it sent it.
        order.is_sent(7);
        assert!(order.missing_since.is_some());
        assert_eq!(order.next(7), Ok(()));
        order.is_sent(7);
        assert_eq!(order.missing_since, None);
    }
}
