//! A session: what passes between two endpoints while one link is up.

mod greeting;
mod receiving;
mod sending;

use crate::causal::id::ReplicaId;
use crate::causal::vector::VersionVector;
use crate::clock::Timestamp;
use crate::crdt::Crdt;
use crate::sync::access::Access;
use crate::sync::audit::Auditing;
use crate::sync::error::LinkId;
use crate::sync::frame::{Frame, Points, Seal};
use crate::sync::inbound::Inbound;
use crate::sync::outbound::Outbound;
use crate::sync::shared::{Shared, hash_of_ids};

/// How many of a peer's own commits it is told of to begin with, for it to see whether they are its own.
const NEWEST_POINTS: usize = 16;

/// How many answers may wait to be sent, but for those to one frame.
const MOST_ANSWERS: usize = 16;

/// One link, and what is known of who is at its other end.
#[derive(Debug)]
pub(crate) struct Session<S> {
    link: LinkId,
    /// Who it is, by what the transport says.
    principal: Option<String>,
    /// What the peer may do, and whether it tried to do more.
    access: Access,
    has_tried: bool,
    nonce: u64,
    state: State,
    peer: Option<Peer>,
    /// The peer's schema, if it is known to be another one, and when the peer was last told of ours.
    schema: Option<Theirs>,
    shown_ms: Option<u64>,
    /// Whether the peer was a member at some time of the session.
    is_enrolled: bool,
    /// Whether the peer knows who is here: nothing of the state goes out before it could say what it holds of our id.
    is_known: bool,
    outbound: Option<Outbound<S>>,
    inbound: Inbound<S>,
    /// What the peer held when it sent the last delta that was merged, until note is taken of it.
    held: VersionVector,
    told: Said,
    audit: Auditing,
    /// When the next hello or heartbeat is due.
    beat_ms: u64,
    /// Answers that the peer waits for.
    answers: Vec<Frame<'static>>,
    /// Whether our own hello has to be sent again, since the peer does not seem to have it.
    is_hello_due: bool,
    /// When the peer was last asked what it was told of our commits.
    asked_ms: Option<u64>,
    /// What `Shared::version` was when there was nothing to send.
    idle_at: u64,
    /// How many rows a transfer that comes in has; one that is resumed, from there on.
    rows: u64,
    /// The commits that it leads over, if its first chunk came by this connection.
    points: Option<Points>,
    /// Up to here the peer says that all commits are its own that we know under its id.
    vouched: Timestamp,
    /// What the peer said that it holds, if it may only read.
    reads: VersionVector,
    /// When the last frame of the peer came.
    heard_ms: u64,
    /// Whose stamps were refused, being of the future.
    ahead: Option<ReplicaId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The peer's hello has not come.
    Greeting,
    /// The peer is no member, and nobody has let it in.
    Waiting,
    Open,
    /// Someone's clock is ahead: nothing is exchanged.
    Apart {
        ahead: ReplicaId,
        by_ms: u64,
    },
    /// One of the two does not want the other.
    Refused,
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) id: ReplicaId,
    pub(crate) member: ReplicaId,
    pub(crate) region: String,
    nonce: u64,
    /// The number of the epoch of the membership that it knew when it came.
    pub(crate) epoch: u64,
    peers: Vec<ReplicaId>,
    /// How far its clock is ahead of ours, in milliseconds.
    pub(crate) ahead_ms: i64,
}

/// Another schema than ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Theirs {
    hash: u64,
    /// Whether it has only more fields, or fewer, so that data can be exchanged.
    is_alike: bool,
}

/// What the peer has been told, so that it is not told again.
#[derive(Debug, Default)]
struct Said {
    vector: u64,
    table: u64,
    peers: Option<u64>,
    /// Whether it has to be told all of it, whatever was told before.
    is_asked: bool,
    /// Whether we have to ask the peer for all of it.
    asks: bool,
}

/// What of the world around it a session looks at when it sends.
pub(crate) struct Around<'a> {
    /// To whom this endpoint is connected.
    connected: &'a [ReplicaId],
    /// A hash of them, by which it is told whether the peer knows.
    hash: u64,
}

impl<'a> Around<'a> {
    pub(crate) fn new(connected: &'a [ReplicaId]) -> Self {
        Self { connected, hash: hash_of_ids(connected) }
    }
}

impl<S: Crdt> Session<S> {
    pub(crate) fn new(
        link: LinkId,
        principal: Option<String>,
        nonce: u64,
        shared: &Shared<S>,
        now_ms: u64,
    ) -> Self {
        Self {
            link,
            principal,
            access: Access::ReadWrite,
            has_tried: false,
            nonce,
            state: State::Greeting,
            peer: None,
            schema: None,
            shown_ms: None,
            is_enrolled: false,
            is_known: false,
            outbound: None,
            inbound: Inbound::new(&shared.replica.config().limits),
            held: VersionVector::new(),
            told: Said::default(),
            audit: Auditing::default(),
            beat_ms: now_ms,
            answers: Vec::new(),
            is_hello_due: true,
            asked_ms: None,
            idle_at: 0,
            rows: 0,
            points: None,
            vouched: Timestamp::ZERO,
            reads: VersionVector::new(),
            heard_ms: now_ms,
            ahead: None,
        }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    pub(crate) fn principal(&self) -> Option<&String> {
        self.principal.as_ref()
    }

    pub(crate) fn outbound(&self) -> Option<&Outbound<S>> {
        self.outbound.as_ref()
    }

    pub(crate) fn outbound_mut(&mut self) -> Option<&mut Outbound<S>> {
        self.outbound.as_mut()
    }

    pub(crate) fn inbound_mut(&mut self) -> &mut Inbound<S> {
        &mut self.inbound
    }

    pub(crate) fn bytes_pending(&self) -> usize {
        self.inbound.bytes()
    }

    pub(crate) fn heard_ms(&self) -> u64 {
        self.heard_ms
    }

    /// Begins anew on the same link: who we are has changed.
    pub(crate) fn restart(&mut self, shared: &Shared<S>, now_ms: u64) {
        let salt = shared.replica.id().uuid().as_u128();
        let nonce = self.nonce.rotate_left(17) ^ (salt >> 64) as u64 ^ salt as u64;
        let (access, schema) = (self.access, self.schema);
        *self = Self::new(self.link, self.principal.take(), nonce, shared, now_ms);
        (self.access, self.schema) = (access, schema);
    }

    /// What the peer may do is another now, and it has to say anew who it is.
    pub(crate) fn grant(&mut self, shared: &Shared<S>, now_ms: u64, access: Access) {
        if std::mem::replace(&mut self.access, access) != access
            && (self.peer.is_some() || self.state == State::Refused)
        {
            self.restart(shared, now_ms);
        }
    }

    /// Whether nothing is taken of the peer.
    pub(crate) fn is_reader(&self) -> bool {
        self.access == Access::Read
    }

    /// The same for both ends, and another one for each pair of nonces.
    fn seal(&self) -> Seal {
        let peer = self.peer.as_ref().map_or(0, |peer| peer.nonce);
        Seal((self.nonce ^ peer).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// When there is something to do although nothing comes.
    pub(crate) fn deadline(&self, shared: &Shared<S>) -> Option<u64> {
        if self.state == State::Refused {
            return None;
        }
        let sending =
            self.outbound.as_ref().filter(|_| self.state == State::Open).and_then(Outbound::deadline);
        let parked = self.inbound.deadline(shared.config());
        [Some(self.beat_ms), sending, parked].into_iter().flatten().min()
    }

    /// The clock was set back: what was due later is due now.
    pub(crate) fn rewind(&mut self, now_ms: u64) {
        self.beat_ms = self.beat_ms.min(now_ms);
        self.heard_ms = self.heard_ms.min(now_ms);
        (self.asked_ms, self.shown_ms) = (None, None);
        self.audit = Auditing::default();
        self.inbound.rewind(now_ms);
        if let Some(outbound) = &mut self.outbound {
            outbound.rewind(now_ms);
        }
        self.idle_at = 0;
    }

    /// Looks after what is due.
    pub(crate) fn tick(&mut self, shared: &mut Shared<S>, now_ms: u64) {
        if self.inbound.deadline(shared.config()).is_some_and(|due_ms| now_ms >= due_ms) {
            self.inbound.give_up(now_ms, shared.merges, shared.config());
        }
        self.idle_at = 0;
    }
}
