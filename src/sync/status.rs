//! How an endpoint stands with its peers, and who keeps it from forgetting.

use crate::causal::id::ReplicaId;
use crate::clock::Timestamp;
use crate::crdt::Crdt;
use crate::sync::endpoint::Endpoint;
use crate::sync::error::LinkId;
use crate::sync::roster::Member;
use crate::sync::session::{Session, State};

/// How it stands with one link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStatus {
    /// The link.
    pub link: LinkId,
    /// Who is there, once it has said so.
    pub peer: Option<ReplicaId>,
    /// The member that it is.
    pub member: Option<ReplicaId>,
    /// The region it stands in.
    pub region: Option<String>,
    /// What passes.
    pub state: LinkState,
    /// Of how many replicas the peer lacks events that are held here, as far as is known.
    pub behind: usize,
    /// The oldest commit that it lacks, of those that this endpoint remembers: now less its milliseconds is how far the peer
    /// lags.
    pub oldest: Option<Timestamp>,
    /// Bytes under way to it.
    pub bytes_under_way: usize,
    /// When a frame of it last came, in Unix milliseconds.
    pub heard_ms: u64,
    /// How far its clock is ahead of ours, in milliseconds.
    pub ahead_ms: i64,
}

/// What passes on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkState {
    /// The peer has not said yet who it is.
    Greeting,
    /// The peer is no member, and nobody has [let it in](crate::Endpoint::admit).
    Waiting,
    /// Data.
    Open,
    /// Nothing but heartbeats: someone's clock is ahead.
    ClocksApart {
        /// Whose.
        ahead: ReplicaId,
        /// By how many milliseconds.
        by_ms: u64,
    },
    /// Nothing: one of the two refused the other.
    Refused,
}

/// A member that keeps this endpoint from forgetting: it is not known to hold all that is held here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Blocking {
    /// The member.
    pub member: ReplicaId,
    /// The id that it writes under.
    pub id: ReplicaId,
    /// Since when it has been waited for without a break, in Unix milliseconds. Who is merely slow is not waited for for long.
    pub since_ms: u64,
    /// Of how many replicas it is not known to hold all events that are held here.
    pub behind: usize,
}

impl<S: Crdt> Endpoint<S> {
    /// How it stands with each link.
    pub fn peers(&self) -> Vec<PeerStatus> {
        let own = self.shared.told();
        let status = |(link, session): (&LinkId, &Session<S>)| {
            let peer = session.peer();
            let lacks: Vec<_> = session.outbound().map_or_else(Vec::new, |outbound| {
                let confirmed = outbound.confirmed();
                own.iter().filter(|(id, stamp)| *stamp > confirmed.get(id)).collect()
            });
            PeerStatus {
                link: *link,
                peer: peer.map(|peer| peer.id),
                member: peer.map(|peer| peer.member),
                region: peer.map(|peer| peer.region.clone()),
                state: match session.state() {
                    State::Greeting => LinkState::Greeting,
                    State::Waiting => LinkState::Waiting,
                    State::Open => LinkState::Open,
                    State::Apart { ahead, by_ms } => LinkState::ClocksApart { ahead: *ahead, by_ms: *by_ms },
                    State::Refused => LinkState::Refused,
                },
                behind: lacks.len(),
                oldest: session.outbound().and_then(|outbound| {
                    let after = |(id, _): &(ReplicaId, Timestamp)| {
                        self.shared.ledger.first_after(id, outbound.confirmed().get(id))
                    };
                    lacks.iter().filter_map(after).min()
                }),
                bytes_under_way: session.outbound().map_or(0, |outbound| outbound.bytes_under_way()),
                heard_ms: session.heard_ms(),
                ahead_ms: peer.map_or(0, |peer| peer.ahead_ms),
            }
        };
        self.sessions.iter().map(status).collect()
    }

    /// The members that keep this endpoint from forgetting, and since when.
    pub fn blocking(&self) -> Vec<Blocking> {
        let own = self.shared.replica.vector();
        let known = self.shared.replica.known_vectors();
        let blocking = |member: Member| {
            let since_ms = *self.waiting.get(&member.id)?;
            let vector = known.iter().find(|(id, _)| *id == member.id).map(|(_, vector)| vector);
            let lacks = |id: &ReplicaId| vector.map_or(Timestamp::ZERO, |vector| vector.get(id));
            let behind = own.iter().filter(|(id, stamp)| *stamp > lacks(id)).count();
            Some(Blocking { member: member.member, id: member.id, since_ms, behind })
        };
        self.members().into_iter().filter_map(blocking).collect()
    }
}
