//! Going on under another id.

use std::fmt;

use crate::causal::id::ReplicaId;
use crate::clock::Timestamp;
use crate::crdt::Crdt;
use crate::delta::system::Fork;
use crate::replica::Replica;
use crate::replica::error::{ReissueError, WriteError};
use crate::replica::reissue::{Reissued, Stamps};
use crate::sync::endpoint::Endpoint;

/// Why an endpoint does not go on under another id. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusedId {
    /// Caller: the id is not in doubt, or no peer has said yet what it was told of it: wait for
    /// [`SyncEvent::IdInDoubt`](crate::SyncEvent::IdInDoubt).
    NotInDoubt,
    /// The replica refused it.
    Reissue(ReissueError),
    /// The id is the new one, but others could not be told of it: no stamp could be issued.
    Write(WriteError),
}

impl fmt::Display for RefusedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInDoubt => f.write_str(
                "the caller's id is not in doubt, or no peer has said what it holds of it; \
                 nothing changed: wait for the event that says so",
            ),
            Self::Reissue(error) => fmt::Display::fmt(error, f),
            Self::Write(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for RefusedId {}

impl<S: Crdt> Endpoint<S> {
    /// Goes on under a fresh id, the answer to [`SyncEvent::IdInDoubt`](crate::SyncEvent::IdInDoubt). What this copy wrote after
    /// the two parted is issued again under it, once: see [`Replica::reissue`]. All sessions begin anew.
    ///
    /// Take the id from the machine's own randomness: a clone has the same generators in memory.
    ///
    /// # Errors
    /// [`RefusedId`]; nothing changed.
    ///
    /// # Example
    /// ```
    /// use driftless::{Config, Endpoint, Flag, RefusedId, Replica, ReplicaId, SyncConfig, SyncEvent};
    /// use uuid::Uuid;
    ///
    /// let replica: Replica<Flag> = Replica::new(ReplicaId::from_u128(1), Config::default());
    /// let mut eu = Endpoint::new(replica, SyncConfig::new(Uuid::from_u128(7), ReplicaId::from_u128(0xe1), "eu"));
    /// let fresh = || ReplicaId::new(Uuid::from_u128(0x5eed));                     // `Uuid::new_v4()` in a program
    /// while let Some(event) = eu.next_event() {
    ///     if let SyncEvent::IdInDoubt { .. } = event {
    ///         eu.reidentify(1_000, fresh())?;
    ///     }
    /// }
    /// assert_eq!(eu.reidentify(1_000, fresh()), Err(RefusedId::NotInDoubt));
    ///
    /// // A clock that ran ahead and is right again.
    /// eu.write(3_600_000, |flag| flag.enable()).map_err(|_| "refused")?;
    /// let reissued = eu.reissue_ahead(2_000, fresh())?;
    /// assert_eq!((reissued.commits, eu.replica().id()), (1, fresh()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reidentify(&mut self, now_ms: u64, new_id: ReplicaId) -> Result<Reissued, RefusedId> {
        let doubt =
            self.shared.doubt.as_ref().filter(|doubt| doubt.is_answered).ok_or(RefusedId::NotInDoubt)?;
        let (known, claimed) = (doubt.known.clone(), doubt.claimed.clone());
        self.report_held(now_ms);
        let replica = &self.shared.replica;
        let held = self.with_reports(&known);
        // What others hold of ours stays ours, also after the two have parted: as long as they hold nothing of the other copy
        // from before it.
        let after = replica.fork_point(&held).max(replica.fork_point(&[held, claimed].concat()));
        self.go_on_as(now_ms, new_id, after, Stamps::Keep, &known)
    }

    /// Goes on under a fresh id, with true times: where the clock ran ahead, and is right again, what was written meanwhile
    /// bears stamps that nobody accepts. All that no peer is known to hold, or can have taken, is issued again. What is ahead by
    /// less than twice [`Config::max_ahead_ms`](crate::Config) somebody may have taken whose own clock is fast: it keeps its
    /// stamps, and is accepted in a while.
    ///
    /// # Errors
    /// [`RefusedId`]; nothing changed.
    pub fn reissue_ahead(&mut self, now_ms: u64, new_id: ReplicaId) -> Result<Reissued, RefusedId> {
        self.report_held(now_ms);
        let replica = &self.shared.replica;
        let most_ms = now_ms.saturating_add(replica.config().max_ahead_ms.saturating_mul(2));
        let points = replica.commit_points(Timestamp::ZERO, Timestamp::MAX);
        let acceptable = points.take_while(|point| point.millis() <= most_ms).last();
        let after = replica.fork_point(&self.with_reports(&[])).max(acceptable.unwrap_or_default());
        self.go_on_as(now_ms, new_id, after, Stamps::Anew, &[])
    }

    /// What peers were told of our commits, and what they are known to hold of them.
    fn with_reports(&self, known: &[Timestamp]) -> Vec<Timestamp> {
        let replica = &self.shared.replica;
        let others = replica.known_vectors().into_iter().filter(|(id, _)| *id != replica.id());
        let held = others.map(|(_, vector)| vector.get(&replica.id()));
        // A reader is nobody's evidence: who may not write may not decide what is issued again, either.
        let members = self.sessions.values().filter(|session| !session.is_reader());
        let outbound = members.filter_map(|session| session.outbound());
        let confirmed = outbound.map(|outbound| outbound.confirmed().get(&replica.id()));
        known.iter().copied().chain(held).chain(confirmed).collect()
    }

    /// Takes its place among the members under the new id, and lets others know what the commits are called now.
    fn tell_of_fork(
        &mut self,
        now_ms: u64,
        reissued: &Reissued,
        after: Timestamp,
        is_kept: bool,
    ) -> Result<(), WriteError> {
        let shared = &mut self.shared;
        let (former, own) = (reissued.former, shared.replica.id());
        if let Some((_, last)) = reissued.stamps {
            let fork = Fork { after, last, is_kept };
            let told = shared.replica.administer(now_ms, |system| {
                system.forks().update(&former, |forks| forks.update(&own, |known| known.set(fork)));
            })?;
            shared.committed(told.stamp);
        }
        // Who left, or was evicted, stays so.
        if shared.is_enlisted() {
            shared.found(now_ms)?;
        }
        Ok(())
    }

    fn go_on_as(
        &mut self,
        now_ms: u64,
        new_id: ReplicaId,
        after: Timestamp,
        stamps: Stamps,
        known: &[Timestamp],
    ) -> Result<Reissued, RefusedId> {
        let former = self.shared.replica.id();
        let commits: Vec<Timestamp> =
            self.shared.replica.commit_points(Timestamp::ZERO, Timestamp::MAX).collect();
        let reissued =
            self.shared.replica.reissue(now_ms, new_id, after, stamps).map_err(RefusedId::Reissue)?;
        let shared = &mut self.shared;
        let last = shared.replica.vector().get(&new_id);
        // With stamps anew, whichever one it has now, it is not later than the last.
        let again = |stamp: Timestamp| match stamps {
            Stamps::Keep => (new_id, stamp),
            Stamps::Anew => (new_id, last),
        };
        shared.doubt = None;
        shared.former.insert(former);
        // Our commits have other names now; those under the former name are the other copy's.
        shared.ledger.replace(former, after, known);
        shared.ledger.note(new_id, shared.replica.commit_points(Timestamp::ZERO, Timestamp::MAX));
        if shared.persisted.is_some() {
            // What is on disk bears the names that were given up: nothing leaves before the new ones are there.
            let config = shared.replica.config().clone();
            shared.persisted = Some(Replica::new(new_id, config).snapshot());
        }
        shared.version += 1;
        if stamps == Stamps::Anew {
            // The stamps to come may be older than those at which memberships began.
            shared.memberships.restart();
        }
        for concern in
            self.concerns.iter_mut().filter(|concern| concern.author == former && concern.stamp > after)
        {
            (concern.author, concern.stamp) = again(concern.stamp);
        }
        self.tell_of_fork(now_ms, &reissued, after, stamps == Stamps::Keep).map_err(RefusedId::Write)?;
        // Vectors may leave out the former id. Who holds what is written under the new one holds all that came before.
        let told = self.shared.replica.vector().get(&new_id);
        self.shared.note_issued(former, &commits, |stamp| match stamp {
            stamp if stamp > after => again(stamp),
            _ if told > Timestamp::ZERO => (new_id, told),
            _ => (former, stamp),
        });
        for session in self.sessions.values_mut() {
            session.restart(&self.shared, now_ms);
        }
        Ok(reissued)
    }
}
