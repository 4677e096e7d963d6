//! Going on under a new id, with what was written and nobody has seen.

use std::sync::Arc;

use crate::causal::frontier::Frontier;
use crate::causal::id::ReplicaId;
use crate::causal::renaming::Renaming;
use crate::clock::{HybridClock, Timestamp};
use crate::crdt::Crdt;
use crate::crdt::change::{Path, Recorder};
use crate::crdt::renaming::Renamer;
use crate::crdt::shipping::Since;
use crate::delta::{Closed, Delta};
use crate::replica::Replica;
use crate::replica::commits::Commits;
use crate::replica::error::{MergeError, ReissueError};
use crate::wire::events::Events;
use crate::wire::limits::Limits;

/// Which stamps the events have that a replica [issues again](Replica::reissue).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamps {
    /// Those that they had: after a clone or a rollback, when the clock was right.
    Keep,
    /// New ones, one for each commit, in order, from the time given on: after the clock ran ahead, and nobody took them.
    Anew,
}

/// What was issued again. Returned by [`Replica::reissue`], which has an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reissued {
    /// The id that the replica had.
    pub former: ReplicaId,
    /// How many commits were issued again; those that were overwritten altogether count as well.
    pub commits: usize,
    /// The first stamp and the last under the new id; `None` if there was nothing to issue again.
    pub stamps: Option<(Timestamp, Timestamp)>,
    /// Those of the former stamps of which it cannot be told that nobody holds them, oldest first: there were so many commits
    /// that no member confirmed that only some are remembered. What counters counted there may count twice. Empty, but for
    /// that.
    pub uncertain: Vec<Timestamp>,
}

impl<S: Crdt> Replica<S> {
    /// The stamps of this replica's own commits after one stamp and up to another: to tell a peer, beside a delta, which stamps
    /// of this id are this copy's. A second copy learns from it up to where the two are one: see
    /// [`fork_point`](Self::fork_point).
    ///
    /// Those that all members hold are forgotten, but for the newest; of more than 65,536 that are not known to be held, some
    /// are.
    pub fn commit_points(
        &self,
        after: Timestamp,
        up_to: Timestamp,
    ) -> impl ExactSizeIterator<Item = Timestamp> + '_ {
        self.commits.between(after, up_to).iter().copied()
    }

    /// Checks stamps of this replica's id that a peer was [told](Self::commit_points) by whoever used it. Best before anything
    /// of that peer is merged: its vector alone does not give a second copy away that made its last commit at the very stamp at
    /// which this one made some.
    ///
    /// # Errors
    /// [`MergeError::NotIssued`] if one of them was not issued here.
    ///
    /// # Example
    /// ```
    /// use driftless::{Config, Flag, MergeError, Replica, ReplicaId, Timestamp};
    ///
    /// let mut eu: Replica<Flag> = Replica::new(ReplicaId::from_u128(1), Config::default());
    /// let stamp = eu.write(1_000, |flag| flag.enable())?.stamp.ok_or("no event")?;
    /// assert_eq!(eu.check_commit_points(&[stamp]), Ok(()));
    /// let foreign = Timestamp::new(999, 0)?;
    /// assert_eq!(eu.check_commit_points(&[foreign]), Err(MergeError::NotIssued { stamp: foreign, own: stamp }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check_commit_points(&self, known: &[Timestamp]) -> Result<(), MergeError> {
        let own = self.held.vector.time(self.txn.dot.origin);
        match known.iter().find(|stamp| self.commits.is_foreign(**stamp)) {
            Some(stamp) => Err(MergeError::NotIssued { stamp: *stamp, own }),
            None => Ok(()),
        }
    }

    /// Whether a stamp is that of a commit of this replica, as far as it remembers.
    pub(crate) fn has_committed(&self, stamp: Timestamp) -> bool {
        self.commits.is_own(stamp)
    }

    /// Up to which of this replica's own commits its id is told from that of another copy: the newest that is among those
    /// `known` at peers, what they hold of this id and what they were [told](Self::commit_points) of it, in any order. What this
    /// replica committed after it nobody has seen. At least what all members hold.
    ///
    /// It lies before the first of `known` that was not issued here. Two copies may well have issued the same stamp for
    /// different commits; after they have parted, equal stamps mean nothing.
    ///
    /// See [`reissue`](Self::reissue) for an example.
    pub fn fork_point(&self, known: &[Timestamp]) -> Timestamp {
        let cut = self.membership.stable_cut(&self.id, &self.held.vector, &self.held.links);
        self.commits.fork_point(known, self.held_by_all(&cut))
    }

    /// Goes on under a new id, after [`NotIssued`](crate::MergeError::NotIssued) or when nobody takes this replica's stamps.
    ///
    /// What it committed up to `after` keeps its name. What it committed later, and nobody has seen, is issued again, once,
    /// under `new_id`: to others it is as if that replica had written it, having seen this one up to `after`. What other copies
    /// issued under the former id is merged beside it like any other replica's. The set-up, the members and what is known of
    /// others stay; the new id is to be made a member everywhere.
    ///
    /// It is exact if no peer holds any of this copy's commits after `after`. If both copies reached different peers before
    /// either was found out, one stamp means two things already, and no renaming undoes that: what is counted may count twice
    /// then where this copy's commits were taken, and where the other's were taken the two may differ until they are
    /// compared row by row.
    ///
    /// # Errors
    /// [`ReissueError`]; nothing changed.
    ///
    /// # Cost
    /// That of merging all that is held into an empty replica, once.
    ///
    /// # Example
    /// ```
    /// use driftless::{Config, Counter, MergeError, Replica, ReplicaId, Stamps, Timestamp};
    ///
    /// // One process, cloned while it ran: a commit is in both copies, and nobody has heard of it.
    /// let id = ReplicaId::from_u128(1);
    /// let copy = || {
    ///     let mut eu: Replica<Counter> = Replica::new(id, Config::default());
    ///     eu.transact(1_000, |visits| visits.add(1)).map(|_| eu)
    /// };
    /// let (mut eu, mut clone) = (copy()?, copy()?);
    /// eu.transact(1_001, |visits| visits.add(10))?;
    /// clone.transact(1_002, |visits| visits.add(100))?;
    ///
    /// // The clone is first to reach us, and tells its commits.
    /// let mut us: Replica<Counter> = Replica::new(ReplicaId::from_u128(2), Config::default());
    /// us.merge(1_003, clone.delta_since(&us.vector()))?;
    /// let told: Vec<Timestamp> = clone.commit_points(Timestamp::ZERO, Timestamp::MAX).collect();
    ///
    /// let refused = eu.merge(1_004, us.delta_since(&eu.vector())).unwrap_err();
    /// assert!(matches!(refused, MergeError::NotIssued { .. }));
    /// let after = eu.fork_point(&told);
    /// let reissued = eu.reissue(1_004, ReplicaId::from_u128(3), after, Stamps::Keep)?;
    /// assert_eq!((reissued.former, reissued.commits), (id, 1));
    ///
    /// eu.merge(1_005, us.delta_since(&eu.vector()))?;
    /// us.merge(1_005, eu.delta_since(&us.vector()))?;
    /// assert_eq!((eu.state().value(), us.state().value()), (111, 111));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reissue(
        &mut self,
        now_ms: u64,
        new_id: ReplicaId,
        after: Timestamp,
        stamps: Stamps,
    ) -> Result<Reissued, ReissueError> {
        if self.is_poisoned {
            return Err(ReissueError::Poisoned);
        }
        if self.held.origins.get(&new_id).is_some() {
            return Err(ReissueError::IdInUse { id: new_id });
        }
        if !self.commits.is_fork_point(after) {
            return Err(ReissueError::NotACommit { after });
        }
        let former = self.stamps_after(after);
        let (stamps, clock) = self.new_stamps(now_ms, after, &former, stamps)?;
        let last = stamps.last().map(|(_, stamp)| *stamp);
        let reissued = Reissued {
            former: self.id,
            commits: stamps.len(),
            stamps: stamps.first().map(|(_, stamp)| *stamp).zip(last),
            uncertain: former.into_iter().filter(|stamp| *stamp < self.commits.complete_from()).collect(),
        };
        let renamed = self.renamed(new_id, after, stamps)?;
        let count = self.held.open_ids() + 1;
        if count > Limits::MAX_REPLICAS {
            return Err(ReissueError::TooManyReplicas { count });
        }
        let mut replica = Self::new(new_id, self.config.clone());
        replica.absorb(renamed, Recorder::new(false));
        replica.clock = clock;
        // The ids have other numbers in the table of the new replica.
        let numbers = replica.remap(self.held.origins.ids());
        replica.membership = std::mem::take(&mut self.membership);
        replica.membership.renumber(|origin| numbers.get(origin.index()).copied());
        replica.judge_links(true);
        // Nobody will hear of less than all of it: to others it is one commit.
        replica.commits = Commits::of(last);
        *self = replica;
        Ok(reissued)
    }

    /// The stamps of the own commits after `after`: those that are remembered, and those of which the state holds events.
    fn stamps_after(&self, after: Timestamp) -> Vec<Timestamp> {
        let mut stamps = self.commits.between(after, Timestamp::MAX).to_vec();
        if after < self.commits.complete_from() {
            let own = self.txn.dot.origin;
            let mut others = self.held.vector.clone();
            others.lower(own, after);
            let since = Since::new(others, self.held.vector.clone(), false);
            let places = (0..).take(self.held.origins.len()).collect();
            let mut events = Events::new(places);
            if let Some(state) = self.held.state.since(&since) {
                state.note_events(&mut events);
            }
            if let Some(system) = self.held.system.since(&since) {
                system.note_events(&mut events);
            }
            stamps.extend(events.stamps_of(own.index() as u32, after));
            stamps.sort_unstable();
            stamps.dedup();
        }
        stamps
    }

    /// What the stamps become, and the clock afterwards.
    fn new_stamps(
        &self,
        now_ms: u64,
        after: Timestamp,
        former: &[Timestamp],
        stamps: Stamps,
    ) -> Result<(Vec<(Timestamp, Timestamp)>, HybridClock), ReissueError> {
        let mut clock = match stamps {
            Stamps::Keep => {
                return Ok((former.iter().map(|stamp| (*stamp, *stamp)).collect(), self.clock.clone()));
            }
            Stamps::Anew => HybridClock::default(),
        };
        let mut kept = self.held.vector.clone();
        kept.lower(self.txn.dot.origin, after);
        kept.iter().for_each(|dot| clock.observe(dot.time));
        let anew = former.iter().map(|stamp| Ok((*stamp, clock.tick(now_ms)?)));
        let anew: Result<Vec<_>, _> = anew.collect();
        Ok((anew.map_err(ReissueError::Clock)?, clock))
    }

    /// All that is held, with the own events after `after` under another id: what a fresh replica of that id is to merge.
    fn renamed(
        &self,
        new_id: ReplicaId,
        after: Timestamp,
        stamps: Vec<(Timestamp, Timestamp)>,
    ) -> Result<Delta<S>, ReissueError> {
        let former = self.txn.dot.origin;
        let mut held = self.held.fork();
        let successor = Arc::make_mut(&mut held.origins).intern(new_id);
        for way in self.commits.ways_after(after) {
            held.state.lay(way, self.txn.seed);
        }
        let mut renamer = Renamer {
            events: Renaming { former, after, successor, stamps },
            origins: &held.origins,
            counts: self.commits.totals_at(after),
            hasher: &self.txn.hasher,
            has_overflown: false,
        };
        held.state.rename(&mut renamer, &Path::root());
        held.system.rename(&mut renamer, &Path::root());
        if renamer.has_overflown {
            return Err(ReissueError::CounterOverflow);
        }
        if let Some((newest, _)) = renamer.events.stamps.last() {
            held.vector.raise(renamer.events.successor(*newest));
        }
        held.vector.lower(former, after);
        // Who was alone has forgotten its own removals at once: also those that others have yet to hear of, by their new name.
        let forgotten = held.dropped.time(former);
        if forgotten > after {
            held.dropped.lower(former, after);
            held.dropped.raise(renamer.events.successor(forgotten));
        }
        Ok(Delta {
            implied: Vec::new(),
            closed: Closed::These(held.links.implied(&held.vector, |_| true)),
            system: held.system,
            origins: held.origins,
            from: Frontier::default(),
            to: held.vector,
            cut: Some(held.dropped),
            state: held.state,
            chunk: None,
            short: None,
            bytes: 0,
            rows_visited: 0,
        })
    }
}
