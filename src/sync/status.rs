//! How an endpoint stands with its peers, and who keeps it from forgetting.

use crate::causal::id::ReplicaId;
use crate::clock::Timestamp;
use crate::crdt::Crdt;
use crate::replica::kept::{Kept, KeptFor};
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
    /// The oldest commit that it lacks, of those that this endpoint remembers: now less its milliseconds is how far it lags.
    pub oldest: Option<Timestamp>,
    /// Bytes under way to it.
    pub bytes_under_way: usize,
    /// Bytes that came from it and wait for more: parts of a transfer, and deltas that overtook others.
    pub bytes_pending: usize,
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
    /// What is kept here of the application's state because it is not known to have seen it. Others may not have, either: then
    /// it counts for each of them.
    pub unseen: Kept,
    /// What is kept for it alone: [evicting](Endpoint::evict) it would let go of that.
    pub alone: Kept,
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
                bytes_pending: session.bytes_pending(),
                heard_ms: session.heard_ms(),
                ahead_ms: peer.map_or(0, |peer| peer.ahead_ms),
            }
        };
        self.sessions.iter().map(|(link, session)| (link, &**session)).map(status).collect()
    }

    /// The members that keep this endpoint from forgetting, since when, and what that costs.
    ///
    /// # Cost
    /// Of each of them, of going twice over all that could be forgotten if nobody were waited for. Not proportional to what is
    /// live; but pages of the state in which there is something to forget are copied for the moment.
    ///
    /// # Example
    /// ```
    /// use driftless::{Config, Endpoint, OrSet, Replica, ReplicaId, SyncConfig};
    /// use uuid::Uuid;
    ///
    /// let [mut eu, mut us] = [("eu", 1), ("us", 2)].map(|(region, number)| {
    ///     let replica: Replica<OrSet<u8>> = Replica::new(ReplicaId::from_u128(number), Config::default());
    ///     let member = ReplicaId::from_u128(0xe0 + number);
    ///     Endpoint::new(replica, SyncConfig::new(Uuid::from_u128(7), member, region))
    /// });
    /// # use driftless::LinkId;
    /// # let (link, mut frame) = (LinkId(1), Vec::new());
    /// # eu.link_up(1_000, link, None, 42);
    /// # us.link_up(1_000, link, None, 7);
    /// # loop {
    /// #     if eu.transmit(1_000, &mut frame).is_some() { us.receive(1_000, link, &frame)? }
    /// #     else if us.transmit(1_000, &mut frame).is_some() { eu.receive(1_000, link, &frame)? }
    /// #     else { break }
    /// #     frame.clear();
    /// # }
    /// // ... they have met, and the connection is lost. Then:
    /// eu.write(2_000, |set| set.add(&7))?;
    /// eu.write(2_000, |set| set.remove(&7))?;
    /// eu.tick(3_000);
    /// let [blocking] = &eu.blocking()[..] else { panic!("us lacks that") };
    /// assert_eq!((blocking.member, blocking.since_ms), (ReplicaId::from_u128(0xe2), 3_000));
    /// // That 7 is removed is kept for it alone.
    /// assert_eq!((blocking.alone.rows, blocking.alone.marks), (1, 1));
    /// assert_eq!(blocking.unseen, blocking.alone);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn blocking(&self) -> Vec<Blocking> {
        let own = self.shared.replica.vector();
        let known = self.shared.replica.known_vectors();
        let members = self.members().into_iter();
        let waited_for = members.filter_map(|member| Some((*self.waiting.get(&member.id)?, member)));
        let waited_for: Vec<(u64, Member)> = waited_for.collect();
        let ids: Vec<ReplicaId> = waited_for.iter().map(|(_, member)| member.id).collect();
        let kept = self.shared.replica.kept_for(&ids);
        let blocking = |((since_ms, member), KeptFor { unseen, alone }): ((u64, Member), KeptFor)| {
            let vector = known.iter().find(|(id, _)| *id == member.id).map(|(_, vector)| vector);
            let lacks = |id: &ReplicaId| vector.map_or(Timestamp::ZERO, |vector| vector.get(id));
            let behind = own.iter().filter(|(id, stamp)| *stamp > lacks(id)).count();
            Blocking { member: member.member, id: member.id, since_ms, behind, unseen, alone }
        };
        waited_for.into_iter().zip(kept).map(blocking).collect()
    }
}
