//! What one region knows of another while they are connected, and from where on it sends.
//!
//! Sending is optimistic. What was sent is taken to arrive, without waiting to hear so; and what a third region sends to the
//! peer directly is taken to arrive from there, and is not sent twice. A delta names what it goes on from, so a wrong guess
//! does no harm: the peer keeps the delta until what is missing has come, and if it does not come soon, asks to start again
//! from what it holds. And what the peer does not confirm in time is sent again without being asked for.

use std::collections::{BTreeMap, VecDeque};

use driftless::{Delta, Limits, PendingDelta, ReplicaId, Timestamp, VersionVector};

use crate::link::Outlet;
use crate::model::Airports;

/// How long a peer may seem to lack what was sent to it, or should have been by a third region, before it is sent from here.
/// Twice as long each time that this does not help: a peer that is slow is not helped by more of the same.
const PATIENCE_US: u64 = 2_000_000;

/// How long a delta is kept that goes on from what has not come yet.
pub(crate) const PARKED_US: u64 = 250_000;

/// The connection to a peer.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) outlet: Outlet,
    /// Whether the peer has said what it holds. Before that nothing is sent.
    pub(crate) is_greeted: bool,
    /// What the peer is known to hold.
    confirmed: VersionVector,
    /// That, and what is on its way to it from here.
    shipped: VersionVector,
    authors: BTreeMap<ReplicaId, Author>,
    pub(crate) pending: PendingDelta<Airports>,
    pub(crate) parked: VecDeque<Parked>,
    /// Whether the next delta, in either direction, makes up for a cut.
    pub(crate) catches_up: [bool; 2],
}

/// What came and cannot be merged yet.
#[derive(Debug)]
pub(crate) struct Parked {
    /// When it came, in microseconds since the job began.
    pub(crate) since_us: u64,
    pub(crate) what: Incoming,
}

/// A delta as it came, or put together from its chunks.
#[derive(Debug)]
pub(crate) enum Incoming {
    Message(Vec<u8>),
    Whole(Delta<Airports>),
}

/// A region whose changes are held here.
#[derive(Debug)]
struct Author {
    /// What was held of it when we last looked: the peer should hold this soon.
    stamp: Timestamp,
    /// When that was, and how long it may take.
    since_us: u64,
    patience_us: u64,
    /// Whether its changes may be left to itself to send.
    is_trusted: bool,
}

impl Author {
    fn new(stamp: Timestamp, since_us: u64, is_trusted: bool) -> Self {
        Self { stamp, since_us, patience_us: PATIENCE_US, is_trusted }
    }
}

/// From where on a peer is sent what it lacks.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) vector: VersionVector,
    /// Whose changes are left to themselves to send.
    pub(crate) trusted: Vec<ReplicaId>,
}

impl Session {
    pub(crate) fn new(outlet: Outlet, limits: &Limits, catches_up: bool) -> Self {
        Self {
            outlet,
            is_greeted: false,
            confirmed: VersionVector::new(),
            shipped: VersionVector::new(),
            authors: BTreeMap::new(),
            pending: PendingDelta::new(limits),
            parked: VecDeque::new(),
            catches_up: [catches_up; 2],
        }
    }

    /// The peer said what it holds.
    pub(crate) fn confirm(&mut self, vector: &VersionVector) {
        self.confirmed.join(vector);
        self.shipped.join(vector);
    }

    /// The peer said what it holds, and that anything else which was sent to it has to be sent again, by whomever it came.
    pub(crate) fn restart(&mut self, vector: &VersionVector, own: &VersionVector, now_us: u64) {
        self.confirmed.join(vector);
        self.shipped = self.confirmed.clone();
        let lost = |(author, stamp)| (author, Author::new(stamp, now_us, false));
        self.authors = own.iter().map(lost).collect();
    }

    /// From where on the peer is to be sent what is held here. `can_send` says whether a region is a third one and connected,
    /// as far as can be told from here.
    pub(crate) fn base(
        &mut self,
        own: &VersionVector,
        now_us: u64,
        can_send: impl Fn(&ReplicaId) -> bool,
    ) -> Base {
        let mut trusted = Vec::new();
        for (id, stamp) in own.iter() {
            let can_send = can_send(&id);
            let author = self.authors.entry(id).or_insert(Author::new(stamp, now_us, can_send));
            let is_confirmed = self.confirmed.get(&id) >= author.stamp;
            let is_late = !is_confirmed && now_us > author.since_us + author.patience_us;
            let is_lost = author.is_trusted && !can_send;
            if is_confirmed {
                *author = Author::new(stamp, now_us, can_send);
            } else if is_late {
                author.since_us = now_us;
                author.patience_us *= 2;
            }
            if is_late || is_lost {
                author.is_trusted = false;
                // What went on from it may be waiting for it over there: that is sent again, too.
                self.shipped = self.confirmed.clone();
            }
            if author.is_trusted {
                trusted.push(id);
            }
        }
        let mut vector = self.shipped.clone();
        trusted.iter().for_each(|id| vector.raise(*id, own.get(id)));
        Base { vector, trusted }
    }

    /// A delta that leads to `to` was sent.
    pub(crate) fn ship(&mut self, to: &VersionVector, base: &Base) {
        for (id, stamp) in to.iter().filter(|(id, _)| !base.trusted.contains(id)) {
            self.shipped.raise(id, stamp);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    use crate::clock::Clock;

    const OWN: ReplicaId = ReplicaId::from_u128(1);
    const PEER: ReplicaId = ReplicaId::from_u128(2);
    const THIRD: ReplicaId = ReplicaId::from_u128(3);

    fn session() -> Session {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let stream = TcpStream::connect(address).expect("it listens");
        Session::new(Outlet::new(stream, Clock::start()), &Limits::default(), false)
    }

    fn vector(own: u64, third: u64) -> VersionVector {
        [(OWN, own), (THIRD, third)].into_iter().map(|(id, time)| (id, Timestamp::from_bits(time))).collect()
    }

    fn base(session: &mut Session, own: &VersionVector, now_us: u64, is_connected: bool) -> VersionVector {
        let base = session.base(own, now_us, |id| *id != OWN && *id != PEER && is_connected);
        session.ship(own, &base);
        base.vector
    }

    #[test]
    fn what_a_third_region_sends_is_not_sent_twice() {
        let mut session = session();
        assert_eq!(base(&mut session, &vector(5, 7), 0, true), vector(0, 7));
        assert_eq!(base(&mut session, &vector(6, 8), 10, true), vector(5, 8));
    }

    #[test]
    fn who_seems_to_miss_it_is_sent_it_with_all_that_went_on_from_it() {
        let mut session = session();
        base(&mut session, &vector(5, 7), 0, true);
        session.confirm(&vector(2, 3));
        assert_eq!(base(&mut session, &vector(6, 8), PATIENCE_US, true), vector(5, 8));
        assert_eq!(base(&mut session, &vector(6, 8), PATIENCE_US + 1, true), vector(2, 3));
        // It was sent; until the peer says that it came, the third region is not trusted with more.
        assert_eq!(base(&mut session, &vector(6, 9), PATIENCE_US + 2, true), vector(6, 8));
        session.confirm(&vector(6, 8));
        assert_eq!(base(&mut session, &vector(6, 10), PATIENCE_US + 3, true), vector(6, 10));
    }

    #[test]
    fn what_is_not_confirmed_is_sent_again_and_later_each_time() {
        let mut session = session();
        base(&mut session, &vector(5, 0), 0, true);
        assert_eq!(base(&mut session, &vector(5, 0), PATIENCE_US, true), vector(5, 0));
        assert_eq!(base(&mut session, &vector(5, 0), PATIENCE_US + 1, true), VersionVector::new());
        assert_eq!(base(&mut session, &vector(5, 0), 3 * PATIENCE_US, true), vector(5, 0));
        assert_eq!(base(&mut session, &vector(5, 0), 4 * PATIENCE_US, true), VersionVector::new());
    }

    #[test]
    fn a_third_region_that_is_cut_off_is_not_relied_on() {
        let mut session = session();
        base(&mut session, &vector(5, 7), 0, true);
        assert_eq!(base(&mut session, &vector(5, 7), 10, false), VersionVector::new());
        base(&mut session, &vector(5, 8), 20, true);
        session.confirm(&vector(5, 7));
        base(&mut session, &vector(6, 9), 30, true);
        assert_eq!(base(&mut session, &vector(6, 9), 40, false), vector(5, 7));
    }

    #[test]
    fn after_a_gap_all_is_sent_that_the_peer_does_not_hold() {
        let mut session = session();
        base(&mut session, &vector(5, 7), 0, true);
        session.restart(&vector(1, 2), &vector(5, 7), 10);
        assert_eq!(base(&mut session, &vector(6, 8), 20, true), vector(1, 2));
    }
}
