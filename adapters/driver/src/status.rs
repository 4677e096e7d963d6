//! How a node stands: for a status page, for people, and for programs, as JSON say.

use std::fmt;

use driftless::{Blocking, Crdt, LinkState, Member, PeerStatus, ReplicaId, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use crate::connection::Access;
use crate::engine::{Engine, Link};
use crate::health::StoreFailure;

/// How a node stands. `Display` writes it for people.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NodeStatus {
    /// The cluster.
    pub cluster: Uuid,
    /// The region it stands in.
    pub region: String,
    /// Its domains.
    pub domains: Vec<DomainStatus>,
}

/// How a domain stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DomainStatus {
    /// Its name.
    pub name: String,
    /// The member of the cluster that this store is.
    pub member: ReplicaId,
    /// The id that it writes under now.
    pub id: ReplicaId,
    /// How many changes led to the membership.
    pub epoch: u64,
    /// The members.
    pub members: Vec<MemberStatus>,
    /// The links that are up.
    pub links: Vec<LinkStatus>,
    /// Who keeps this store from forgetting.
    pub blocking: Vec<BlockingStatus>,
    /// The store.
    pub store: StoreStatus,
    /// By how many milliseconds what is held is ahead of the clock, if others will not take it.
    pub clock_ahead_ms: Option<u64>,
    /// What happened that an operator may want to know, the latest last.
    pub notices: Vec<Notice>,
}

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MemberStatus {
    /// Which: the same through all its restarts.
    pub member: ReplicaId,
    /// The id that it writes under.
    pub id: ReplicaId,
    /// The region it stands in.
    pub region: String,
}

/// How it stands with a link, and with the peer at its other end.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LinkStatus {
    /// Its number.
    pub link: u64,
    /// Who the transport says is there.
    pub principal: Option<String>,
    /// The member that it is, once it has said so.
    pub member: Option<ReplicaId>,
    /// The region it stands in.
    pub region: Option<String>,
    /// Whether it may write.
    pub may_write: bool,
    /// What passes.
    pub state: String,
    /// How long it has not confirmed something that is held here, in milliseconds; none if it has all.
    pub lag_ms: Option<u64>,
    /// Of how many replicas it lacks something, as far as is known.
    pub lag_replicas: usize,
    /// How many of this store's own commits it may lack, at most.
    pub lag_commits: usize,
    /// Bytes that were sent and not confirmed.
    pub bytes_under_way: usize,
    /// Bytes that wait for the connection to take them.
    pub bytes_waiting: usize,
    /// When a frame of it last came, in Unix milliseconds.
    pub heard_ms: u64,
    /// How far its clock is ahead of ours, in milliseconds.
    pub clock_ahead_ms: i64,
}

/// A member that keeps this store from forgetting.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BlockingStatus {
    /// Which.
    pub member: ReplicaId,
    /// Since when, in Unix milliseconds.
    pub since_ms: u64,
    /// Of how many replicas it is not known to hold all.
    pub behind: usize,
    /// Rows of which nothing else is left, kept since it has not seen them removed.
    pub rows: usize,
    /// The bytes that all takes which is kept since it has not seen it, at least.
    pub bytes: usize,
    /// The bytes of it that are kept for it alone: evicting it would free them.
    pub bytes_alone: usize,
}

/// How a store stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StoreStatus {
    /// Writes and merges that are applied and not on disk.
    pub unstored: u64,
    /// The records of the checkpoint, in bytes.
    pub checkpoint_bytes: u64,
    /// The records after it, in bytes.
    pub log_bytes: u64,
    /// The feed, in bytes.
    pub feed_bytes: u64,
    /// All files of the store, in bytes.
    pub disk_bytes: u64,
    /// Why nothing can be stored now.
    pub failure: Option<StoreFailure>,
    /// The last error, even if all is well since.
    pub last_error: Option<String>,
}

/// Something that an operator may want to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Notice {
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// What.
    pub text: String,
}

impl<S: Crdt> Engine<S> {
    pub(crate) fn status(&self) -> DomainStatus {
        let now_ms = self.clock.now_ms();
        let endpoint = &self.endpoint;
        let mut links: Vec<LinkStatus> =
            endpoint.peers().iter().filter_map(|peer| self.link_status(peer, now_ms)).collect();
        let resting = self.links.iter().filter_map(|(number, link)| {
            let (_, why) = link.refused.as_ref()?;
            Some(empty(number.0, link, format!("refused: {why}")))
        });
        links.extend(resting);
        let size = self.out.health.size();
        DomainStatus {
            name: self.name.as_str().to_owned(),
            member: endpoint.config().member,
            id: endpoint.replica().id(),
            epoch: endpoint.epoch().number,
            members: endpoint.members().into_iter().map(member_status).collect(),
            links,
            blocking: endpoint.blocking().into_iter().map(blocking_status).collect(),
            store: StoreStatus {
                unstored: self.seq - self.durable_seq,
                checkpoint_bytes: size.checkpoint_bytes,
                log_bytes: size.log_bytes,
                feed_bytes: size.feed_bytes,
                disk_bytes: size.disk_bytes,
                failure: self.out.health.failure(),
                last_error: self.out.health.last_error(),
            },
            clock_ahead_ms: self.ahead_ms,
            notices: self.notices.iter().cloned().collect(),
        }
    }

    fn link_status(&self, peer: &PeerStatus, now_ms: u64) -> Option<LinkStatus> {
        let link = self.links.get(&peer.link)?;
        let replica = self.endpoint.replica();
        let before = |stamp: Timestamp| Timestamp::from_bits(stamp.bits().saturating_sub(1));
        let lacks = |oldest: Timestamp| replica.commit_points(before(oldest), Timestamp::MAX).len();
        Some(LinkStatus {
            member: peer.member,
            region: peer.region.clone(),
            lag_ms: peer.oldest.map(|oldest| now_ms.saturating_sub(oldest.millis())),
            lag_replicas: peer.behind,
            lag_commits: peer.oldest.map_or(0, lacks),
            bytes_under_way: peer.bytes_under_way,
            heard_ms: peer.heard_ms,
            clock_ahead_ms: peer.ahead_ms,
            ..empty(peer.link.0, link, state_text(&peer.state))
        })
    }
}

fn empty(number: u64, link: &Link, state: String) -> LinkStatus {
    LinkStatus {
        link: number,
        principal: link.line.principal.clone(),
        member: None,
        region: None,
        may_write: link.access == Access::ReadWrite,
        state,
        lag_ms: None,
        lag_replicas: 0,
        lag_commits: 0,
        bytes_under_way: 0,
        bytes_waiting: link.line.waiting_bytes(),
        heard_ms: 0,
        clock_ahead_ms: 0,
    }
}

fn state_text(state: &LinkState) -> String {
    match state {
        LinkState::Greeting => "greeting".to_owned(),
        LinkState::Waiting => "waiting to be let in".to_owned(),
        LinkState::Open => "open".to_owned(),
        LinkState::ClocksApart { ahead, by_ms } => format!("clocks apart: {ahead} is {by_ms} ms ahead"),
        LinkState::Refused => "refused".to_owned(),
        other => format!("{other:?}"),
    }
}

fn member_status(member: Member) -> MemberStatus {
    MemberStatus { member: member.member, id: member.id, region: member.region }
}

fn blocking_status(blocking: Blocking) -> BlockingStatus {
    BlockingStatus {
        member: blocking.member,
        since_ms: blocking.since_ms,
        behind: blocking.behind,
        rows: blocking.unseen.rows,
        bytes: blocking.unseen.bytes,
        bytes_alone: blocking.alone.bytes,
    }
}

impl fmt::Display for NodeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "region {} of cluster {}", self.region, self.cluster)?;
        self.domains.iter().try_for_each(|domain| write!(f, "\n{domain}"))
    }
}

impl fmt::Display for DomainStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, member, id, epoch, store, .. } = self;
        writeln!(f, "domain {name}: member {member}, writing as {id}, membership {epoch}")?;
        for MemberStatus { member, id, region } in &self.members {
            writeln!(f, "  member {member} in {region}, writing as {id}")?;
        }
        self.links.iter().try_for_each(|link| writeln!(f, "  {link}"))?;
        for BlockingStatus { member, since_ms, behind, rows, bytes, bytes_alone } in &self.blocking {
            writeln!(
                f,
                "  waits for {member} since {since_ms} ms, {behind} replicas behind: \
                 {rows} removed rows and {bytes} bytes are kept, {bytes_alone} bytes for it alone"
            )?;
        }
        if let Some(ahead_ms) = self.clock_ahead_ms {
            writeln!(f, "  what is held is {ahead_ms} ms ahead of the clock")?;
        }
        let StoreStatus { unstored, checkpoint_bytes, log_bytes, feed_bytes, disk_bytes, .. } = store;
        writeln!(
            f,
            "  store: checkpoint {checkpoint_bytes} bytes, log {log_bytes}, feed {feed_bytes}, files {disk_bytes}; \
             {unstored} changes not on disk"
        )?;
        match (&store.failure, &store.last_error) {
            (Some(StoreFailure { error, since_ms, attempts, .. }), _) => {
                writeln!(f, "  the store fails since {since_ms} ms, {attempts} times: {error}")?;
            }
            (None, Some(error)) => writeln!(f, "  the last error of the store, over by now: {error}")?,
            (None, None) => {}
        }
        self.notices.iter().try_for_each(|Notice { at_ms, text }| writeln!(f, "  at {at_ms} ms: {text}"))
    }
}

impl fmt::Display for LinkStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { link, state, lag_replicas, lag_commits, bytes_under_way, bytes_waiting, .. } = self;
        let who = self.principal.as_deref().or(self.region.as_deref()).unwrap_or("somebody");
        write!(f, "link {link} to {who}: {state}")?;
        if let Some(lag_ms) = self.lag_ms {
            write!(
                f,
                ", behind by {lag_ms} ms, {lag_replicas} replicas, up to {lag_commits} commits of ours"
            )?;
        }
        write!(f, ", {bytes_under_way} bytes under way, {bytes_waiting} waiting")?;
        if !self.may_write {
            f.write_str(", reads only")?;
        }
        if self.clock_ahead_ms.unsigned_abs() > 1_000 {
            write!(f, ", its clock is {} ms ahead", self.clock_ahead_ms)?;
        }
        Ok(())
    }
}
