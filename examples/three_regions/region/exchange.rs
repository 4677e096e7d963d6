//! A region and its endpoint: all that a program has to do so that its replica keeps in step with others.

use driftless::{LinkId, SyncEvent};

use crate::link::{FRAME_HEAD, Outlet};
use crate::measure::Arrival;
use crate::region::{Fault, Region};

/// A connection to a peer.
#[derive(Debug)]
pub(super) struct Connection {
    outlet: Outlet,
    /// Whether what comes by it makes up for a cut: until the first of it is there.
    is_catching_up: bool,
}

impl Region {
    pub(super) fn up(&mut self, link: LinkId, outlet: Outlet) {
        let (now_ms, nonce) = (self.unix_ms(), self.setup.random.next());
        self.endpoint.link_up(now_ms, link, None, nonce);
        // Who has written before this connection may have written while there was none.
        let is_catching_up = self.begins_us.is_some();
        self.connections.insert(link, Connection { outlet, is_catching_up });
    }

    pub(super) fn down(&mut self, link: LinkId) {
        self.endpoint.link_down(self.unix_ms(), link);
        self.connections.remove(&link);
    }

    /// Hands a frame to the endpoint, and takes note of what it brought.
    pub(super) fn receive(&mut self, link: LinkId, frame: &[u8]) -> Result<(), Fault> {
        let now_ms = self.unix_ms();
        let Some(connection) = self.connections.get_mut(&link) else {
            // It was on its way when the link was cut.
            return Ok(());
        };
        let before = self.endpoint.replica().vector();
        self.endpoint.receive(now_ms, link, frame)?;
        let to = self.endpoint.replica().vector();
        let at_us = self.setup.clock.micros();
        let (peer, is_catch_up) = (connection.outlet.peer, connection.is_catching_up);
        if to != before {
            connection.is_catching_up = false;
            self.touch(at_us);
        }
        let bytes = (FRAME_HEAD + frame.len()) as u64;
        let (before, to) = (self.stamps(&before), self.stamps(&to));
        self.log.arrivals.push(Arrival { at_us, peer, bytes, before, to, is_catch_up });
        self.look_at_events()
    }

    /// Sends what there is to send. Not after each write, but now and then, so that what was written meanwhile goes together.
    pub(super) fn flush(&mut self) -> Result<(), Fault> {
        let now_ms = self.unix_ms();
        if self.endpoint.deadline().is_some_and(|deadline_ms| now_ms >= deadline_ms) {
            self.endpoint.tick(now_ms);
        }
        let mut frame = Vec::new();
        while let Some(link) = self.endpoint.transmit(now_ms, &mut frame) {
            let sent = self.connections.get_mut(&link).map(|connection| connection.outlet.send(&frame));
            if matches!(sent, Some(Err(_))) {
                // It is broken: its other end will see that, too.
                self.down(link);
            }
            frame.clear();
        }
        self.look_at_events()
    }

    fn look_at_events(&mut self) -> Result<(), Fault> {
        while let Some(event) = self.endpoint.next_event() {
            match event {
                SyncEvent::Merged { conflicts, .. } => self.log.conflicts += conflicts,
                SyncEvent::Established { .. }
                | SyncEvent::MembersChanged { .. }
                | SyncEvent::Progress { .. } => {}
                // Clocks apart, an id used twice, states of different types: here it is a fault, elsewhere a case for an
                // operator.
                event => return Err(format!("unexpected: {event:?}").into()),
            }
        }
        Ok(())
    }
}
