//! What carries frames between the engines and a connection: one line for each connection, a link in each domain.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use driftless::LinkId;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;

use crate::connection::{Access, Connection, DomainName, Frame};
use crate::telemetry::Meters;

/// How long a frame may wait for an engine that has no room, before it is dropped: one domain must not stop the others that
/// share the connection. It is sent again.
const ENGINE_PATIENCE: Duration = Duration::from_millis(250);

/// How long a connection that nobody needs any more may take for what was sent before.
const DRAIN_PATIENCE: Duration = Duration::from_secs(1);

/// What an engine hears of its links.
#[derive(Debug)]
pub(crate) enum FromLink {
    Up { link: LinkId, access: Access, nonce: u64, seat: Seat },
    Down { link: LinkId },
    Frame { link: LinkId, bytes: Bytes, room: OwnedSemaphorePermit },
}

/// The way to an engine. Both the number of frames that wait there and their bytes are bounded, whoever they come from.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    engine: mpsc::Sender<FromLink>,
    room: Arc<Semaphore>,
    room_bytes: u32,
}

impl Gate {
    pub(crate) fn new(engine: mpsc::Sender<FromLink>, room_bytes: usize) -> Self {
        let room_bytes = u32::try_from(room_bytes.clamp(1, Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Self { engine, room: Arc::new(Semaphore::new(room_bytes as usize)), room_bytes }
    }

    /// Puts a frame there at once, if there is room for it. Returns whether there was.
    fn try_frame(&self, link: LinkId, bytes: Bytes) -> bool {
        let room = Arc::clone(&self.room).try_acquire_many_owned(self.size(&bytes));
        room.is_ok_and(|room| self.engine.try_send(FromLink::Frame { link, bytes, room }).is_ok())
    }

    /// Waits for room. Returns whether there is an engine.
    async fn frame(&self, link: LinkId, bytes: Bytes) -> bool {
        let Ok(room) = Arc::clone(&self.room).acquire_many_owned(self.size(&bytes)).await else {
            return false;
        };
        self.engine.send(FromLink::Frame { link, bytes, room }).await.is_ok()
    }

    /// Whether a frame goes alone.
    fn is_all(&self, bytes: &Bytes) -> bool {
        self.size(bytes) == self.room_bytes
    }

    /// What is larger than all that there is takes all of it.
    fn size(&self, bytes: &Bytes) -> u32 {
        u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(self.room_bytes)
    }
}

/// Where the frames of one domain go.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) link: LinkId,
    pub(crate) access: Access,
    pub(crate) nonce: u64,
    pub(crate) gate: Gate,
    /// Whether it had no room when the last frame came.
    pub(crate) is_stuck: bool,
    pub(crate) meters: Meters,
}

/// A connection, as engines see it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) principal: Option<String>,
    outbox: Mutex<Outbox>,
    bell: Notify,
    /// The domains that use it.
    users: AtomicUsize,
    phase: watch::Sender<Phase>,
    most_bytes: usize,
}

/// That a domain uses a line. If no domain does, it is closed once what was sent has gone out.
#[derive(Debug)]
pub(crate) struct Seat(Arc<Line>);

impl Deref for Seat {
    type Target = Line;

    fn deref(&self) -> &Line {
        &self.0
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.0.users.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.enter(Phase::Draining);
        }
    }
}

#[derive(Debug, Default)]
struct Outbox {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// The bytes of the largest frame since it was empty.
    largest: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Open,
    /// What is in the outbox goes out, and nothing else.
    Draining,
    Closed,
}

impl Line {
    pub(crate) fn new(principal: Option<String>, users: usize, most_bytes: usize) -> Self {
        Self {
            principal,
            outbox: Mutex::default(),
            bell: Notify::new(),
            users: AtomicUsize::new(users),
            phase: watch::Sender::new(Phase::Open),
            most_bytes,
        }
    }

    /// Puts a frame where the connection takes it from. Returns whether there was room; else the peer is too slow.
    pub(crate) fn push(&self, frame: Frame) -> bool {
        let mut outbox = self.outbox();
        let bytes = outbox.bytes + frame.bytes.len();
        // It may have been taken already: then its room is free until all else is, too.
        let largest = outbox.largest.max(frame.bytes.len());
        // The largest one is not counted: if it is too large by itself, it would be so again over the next connection.
        if bytes.saturating_sub(largest) > self.most_bytes {
            return false;
        }
        (outbox.bytes, outbox.largest) = (bytes, largest);
        outbox.frames.push_back(frame);
        drop(outbox);
        self.bell.notify_one();
        true
    }

    /// How many bytes wait to be taken by the connection.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.outbox().bytes
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.phase.borrow() == Phase::Closed
    }

    /// It is closed at once, for all domains.
    pub(crate) fn close(&self) {
        self.enter(Phase::Closed);
    }

    fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let is_later = phase > *now;
            *now = phase.max(*now);
            is_later
        });
        self.bell.notify_one();
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pop(&self) -> Option<Frame> {
        let mut outbox = self.outbox();
        let frame = outbox.frames.pop_front()?;
        outbox.bytes -= frame.bytes.len();
        if outbox.frames.is_empty() {
            outbox.largest = 0;
        }
        Some(frame)
    }

    /// Ends when the connection is to be closed.
    async fn ended(&self) -> &'static str {
        let mut phase = self.phase.subscribe();
        let has_begun = phase.wait_for(|phase| *phase >= Phase::Draining).await.map(|phase| *phase);
        if matches!(has_begun, Ok(Phase::Draining)) {
            let is_closed = phase.wait_for(|phase| *phase == Phase::Closed);
            let _ = timeout(DRAIN_PATIENCE, is_closed).await;
        }
        "no domain uses it any more"
    }

    async fn write(&self, outgoing: &mpsc::Sender<Frame>, stall: Duration) -> &'static str {
        loop {
            let Some(frame) = self.pop() else {
                if *self.phase.borrow() != Phase::Open {
                    return "no domain uses it any more";
                }
                self.bell.notified().await;
                continue;
            };
            match timeout(stall, outgoing.send(frame)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return "the transport ended it",
                Err(_) => return "the peer is too slow",
            }
        }
    }
}

/// Carries frames until the connection ends.
pub(crate) async fn carry(
    line: Arc<Line>,
    connection: Connection,
    mut routes: BTreeMap<DomainName, Route>,
    stall: Duration,
) {
    let Connection { mut incoming, outgoing, .. } = connection;
    for Route { link, access, nonce, gate, .. } in routes.values() {
        let seat = Seat(Arc::clone(&line));
        let up = FromLink::Up { link: *link, access: *access, nonce: *nonce, seat };
        let engine = gate.engine.clone();
        // An engine that has no room must not keep the others waiting. If it is gone, the seat is free.
        tokio::spawn(async move { drop(engine.send(up).await) });
    }
    let why = tokio::select! {
        why = read(&line, &mut incoming, &mut routes) => why,
        why = line.write(&outgoing, stall) => why,
        why = line.ended() => why,
    };
    drop((incoming, outgoing));
    line.close();
    let principal = line.principal.as_deref();
    tracing::info!(principal, why, "a connection is closed");
    for Route { link, gate, .. } in routes.values() {
        // Who has no room for it now sees by itself that the line is closed.
        let _ = gate.engine.try_send(FromLink::Down { link: *link });
    }
}

async fn read(
    line: &Line,
    incoming: &mut mpsc::Receiver<Frame>,
    routes: &mut BTreeMap<DomainName, Route>,
) -> &'static str {
    while let Some(Frame { domain, bytes }) = incoming.recv().await {
        let Some(Route { link, gate, meters, is_stuck, .. }) = routes.get_mut(&domain) else {
            Meters::frame_refused();
            tracing::warn!(%domain, principal = line.principal, "a peer sent a frame of a domain that it may not use");
            return "the peer sent a frame of a domain that it may not use";
        };
        meters.frames_received.increment(1);
        meters.bytes_received.increment(bytes.len() as u64);
        *is_stuck = match *is_stuck && !gate.is_all(&bytes) {
            // It is not waited for again before it has taken one, unless only waiting gets the frame through.
            true => !gate.try_frame(*link, bytes),
            false => timeout(ENGINE_PATIENCE, gate.frame(*link, bytes)).await.is_err(),
        };
        if *is_stuck {
            meters.frames_dropped.increment(1);
        }
    }
    "the transport ended it"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_frame_is_not_counted_and_what_waits_is_bounded() {
        let line = Line::new(None, 1, 100);
        let push = |bytes: usize| {
            let domain = DomainName::new("shop").expect("a name");
            line.push(Frame { domain, bytes: vec![0; bytes].into() })
        };
        assert!(push(50) && push(1_000) && push(50), "one of any size, and 100 bytes besides");
        assert!(!push(1) && line.waiting_bytes() == 1_100);
        assert_eq!(
            [line.pop(), line.pop()].map(|frame| frame.map(|frame| frame.bytes.len())),
            [Some(50), Some(1_000)]
        );
        assert!(push(60), "the room of the largest one is free");
        assert_eq!(line.waiting_bytes(), 110);
        assert!(push(990) && !push(1));
        while line.pop().is_some() {}
        assert!(push(100) && push(100) && !push(1), "once it is empty, it begins anew");
    }
}
