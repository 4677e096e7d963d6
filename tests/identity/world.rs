//! Two copies of one replica and two other replicas, beside an oracle that knows from the beginning under which name each event
//! will go down: those of the copy that is found out, made after the copies parted, under its new id.

use driftless::{
    Config, Counter, Crdt, Document, Flag, LwwRegister, MergeError, MergeMap, MvRegister, OrSet,
    ReissueError, Reissued, Replica, ReplicaId, Stamps, Timestamp, VersionVector,
};
use driftless_testkit::oracle::{Live, Oracle};
use driftless_testkit::struct_subject;
use driftless_testkit::subject::{Canonical, Readings, Script, Stop, Subject, readings};

pub(crate) const START_MS: u64 = 1_700_000_000_000;
/// When a replica goes on under a new id with new stamps.
pub(crate) const ANEW_MS: u64 = START_MS + 50_000;
/// How far a clock is ahead that is.
const AHEAD_MS: u64 = 3_600_000;
const KEYS: u8 = 3;

/// The copy that reaches others first, the one that is found out, and two others.
pub(crate) const FIRST: usize = 0;
pub(crate) const SECOND: usize = 1;
pub(crate) const B: usize = 2;
pub(crate) const C: usize = 3;

pub(crate) const A_ID: ReplicaId = ReplicaId::from_u128(7 << 64);
/// Once below and once above the former id, so that ties break either way.
pub(crate) const NEW_IDS: [ReplicaId; 2] = [ReplicaId::from_u128(2 << 64), ReplicaId::from_u128(11 << 64)];
const OTHER_IDS: [ReplicaId; 2] = [ReplicaId::from_u128(5 << 64), ReplicaId::from_u128(9 << 64)];

#[derive(Crdt, Debug)]
pub(crate) struct Profile {
    name: LwwRegister<String>,
    notes: MvRegister<Option<i64>>,
    is_active: Flag,
    tags: OrSet<u8>,
    visits: Counter,
    devices: MergeMap<u8, Device>,
    free: Document,
}

#[derive(Crdt, Debug)]
pub(crate) struct Device {
    label: LwwRegister<i64>,
    uses: Counter,
    parts: MergeMap<u8, Counter>,
}

struct_subject! {
    Profile {
        name: LwwRegister<String>, notes: MvRegister<Option<i64>>, is_active: Flag, tags: OrSet<u8>, visits: Counter,
        devices: MergeMap<u8, Device>, free: Document,
    }
}
struct_subject! { Device { label: LwwRegister<i64>, uses: Counter, parts: MergeMap<u8, Counter> } }

/// Why the second copy goes on under a new id, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// There is another copy; it keeps its stamps.
    Clone,
    /// There is another copy, and the stamps are issued anew.
    CloneAnew,
    /// There is no other copy. Its clock is ahead.
    Ahead,
}

/// A replica, and what the oracle knows of it.
#[derive(Debug)]
pub(crate) struct Side<S> {
    pub(crate) replica: Replica<S>,
    /// What it has seen, by the names that will last.
    saw: VersionVector,
    /// What it has been told of the id that is used twice.
    pub(crate) told: Vec<Timestamp>,
}

#[derive(Debug)]
pub(crate) struct World<S> {
    pub(crate) sides: [Side<S>; 4],
    oracle: Oracle,
    pub(crate) now_ms: u64,
    cause: Cause,
    new_id: ReplicaId,
    /// Up to where the copies are one, once they have parted.
    parted: Option<Timestamp>,
    /// What the second copy committed since.
    commits: usize,
    pub(crate) is_found_out: bool,
    log: Vec<String>,
}

pub(crate) type Outcome = Result<(), String>;

pub(crate) fn text(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Outcome {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?}, not {expected:?}")) }
}

impl<S: Subject> World<S> {
    pub(crate) fn new(cause: Cause, new_id: ReplicaId) -> Self {
        let side = |id| Side {
            replica: Replica::new(id, Config::default()),
            saw: VersionVector::new(),
            told: Vec::new(),
        };
        let mut sides = [A_ID, A_ID, OTHER_IDS[0], OTHER_IDS[1]].map(side);
        for side in &mut sides {
            side.replica.set_members([A_ID, OTHER_IDS[0], OTHER_IDS[1]]);
        }
        Self {
            sides,
            oracle: Oracle::default(),
            now_ms: START_MS,
            cause,
            new_id,
            parted: None,
            commits: 0,
            is_found_out: false,
            log: Vec::new(),
        }
    }

    /// An error with all that led to it.
    pub(crate) fn fault(&self, error: &str) -> String {
        format!("{error}\nafter\n  {}", self.log.join("\n  "))
    }

    fn is_one(&self) -> bool {
        self.parted.is_none()
    }

    /// The copies part.
    pub(crate) fn part(&mut self) {
        self.parted = Some(self.sides[FIRST].replica.vector().get(&A_ID));
        self.log.push("the copies part".to_owned());
    }

    /// The name that an event of a side will have.
    fn name(&self, at: usize, stamp: Timestamp) -> (ReplicaId, Timestamp) {
        if at != SECOND || self.is_one() {
            return (self.sides[at].replica.id(), stamp);
        }
        let is_anew = self.cause != Cause::Clone && !self.is_found_out;
        let anew = Timestamp::from_bits((ANEW_MS << 16) + self.commits as u64);
        (self.new_id, if is_anew { anew } else { stamp })
    }

    /// A transaction. As long as the copies are one, both make it.
    pub(crate) fn write(&mut self, at: usize, ops: &[Vec<u8>]) -> Outcome {
        let is_ahead = at == SECOND && self.cause == Cause::Ahead && !self.is_one() && !self.is_found_out;
        let now_ms = self.now_ms + if is_ahead { AHEAD_MS } else { 0 };
        let mut scratch = self.oracle.clone();
        let last = self.sides[at].replica.clock().last();
        let stamp = Timestamp::from_bits((now_ms << 16).max(last.bits() + 1));
        let (author, named) = self.name(at, stamp);
        let saw = self.sides[at].saw.clone();
        let mut script = Script::new(&mut self.oracle, author, named, saw.clone(), KEYS, None);
        let committed = transact(&mut self.sides[at].replica, now_ms, &mut script, ops)?;
        self.log.push(format!("{at} writes at {stamp}: {}", script.into_log().join(", ")));
        if at == FIRST && self.is_one() {
            let mut script = Script::new(&mut scratch, author, named, saw, KEYS, None);
            let mirrored = transact(&mut self.sides[SECOND].replica, now_ms, &mut script, ops)?;
            equal("what the copy commits", &mirrored, &committed)?;
        }
        if let Some(committed) = committed {
            equal("the stamp", &committed, &stamp)?;
            self.commits += usize::from(at == SECOND && !self.is_found_out);
            self.sides[at].saw.raise(author, named);
            if at == FIRST && self.is_one() {
                self.sides[SECOND].saw.raise(author, named);
            }
        }
        self.check(at)
    }

    /// A delta goes from one to another, with what is told of the id that is used twice.
    pub(crate) fn sync(&mut self, from: usize, to: usize) -> Outcome {
        let from = if from == SECOND && !self.is_found_out { FIRST } else { from };
        let is_copy = to == FIRST || to == SECOND;
        if from == to || (from == FIRST && is_copy && !self.is_found_out) {
            return Ok(());
        }
        let receivers: &[usize] = if is_copy && self.is_one() { &[FIRST, SECOND] } else { &[to] };
        for to in receivers {
            self.sync_one(from, *to)?;
        }
        Ok(())
    }

    fn sync_one(&mut self, from: usize, to: usize) -> Outcome {
        let vector = self.sides[to].replica.vector();
        let held = vector.get(&A_ID);
        let mut told = self.sides[from].told.clone();
        if from == FIRST {
            told.push(held);
            told.extend(self.sides[FIRST].replica.commit_points(held, Timestamp::MAX));
        }
        let bytes = self.sides[from].replica.delta_since(&vector).encode().map_err(text)?;
        let side = &mut self.sides[to];
        let delta = side.replica.decode(&bytes).map_err(text)?;
        side.replica.merge(self.now_ms, delta).map_err(text)?;
        side.told.extend(told);
        side.told.sort_unstable();
        side.told.dedup();
        let saw = self.sides[from].saw.clone();
        self.sides[to].saw.join(&saw);
        self.log.push(format!("{from} to {to}"));
        self.check(to)
    }

    /// Two tell each other what they hold and have heard, and forget.
    pub(crate) fn settle(&mut self, one: usize, other: usize) -> Outcome {
        if one == other || ([one, other].contains(&SECOND) && !self.is_found_out) {
            return Ok(());
        }
        for (from, to) in [(one, other), (other, one)] {
            let known = self.sides[from].replica.known_vectors();
            let is_mirrored = (to == FIRST || to == SECOND) && self.is_one();
            let receivers: &[usize] = if is_mirrored { &[FIRST, SECOND] } else { &[to] };
            for to in receivers {
                for (id, vector) in &known {
                    self.sides[*to].replica.report(self.now_ms, *id, vector).map_err(text)?;
                }
                self.sides[*to].replica.forget();
                self.check(*to)?;
            }
        }
        self.log.push(format!("{one} and {other} forget"));
        Ok(())
    }

    /// The second copy meets one of the others, as a session does: first what that has been told is checked, then its vector,
    /// then
    /// what it sends. It is found out there, or takes what comes.
    pub(crate) fn meet(&mut self, with: usize) -> Outcome {
        let Side { replica: other, told, .. } = &self.sides[with];
        let (vector, told) = (other.vector(), told.clone());
        let bytes = other.delta_since(&self.sides[SECOND].replica.vector()).encode().map_err(text)?;
        let second = &mut self.sides[SECOND].replica;
        let before = (second.vector(), second.canonical_bytes());
        let checked = second.check_commit_points(&told);
        let met = checked.and_then(|()| second.report(self.now_ms, other_id(with), &vector));
        let met = met.and_then(|()| {
            let delta = second.decode(&bytes)?;
            second.merge(self.now_ms, delta)
        });
        match met {
            Ok(_) => {
                let saw = self.sides[with].saw.clone();
                self.sides[SECOND].saw.join(&saw);
                self.log.push(format!("{with} to the second copy"));
                Ok(())
            }
            Err(MergeError::NotIssued { .. }) if self.cause != Cause::Ahead => {
                equal("what a refusal leaves", &(second.vector(), second.canonical_bytes()), &before)?;
                self.go_on(with)
            }
            Err(error) => Err(text(error)),
        }
    }

    /// The second copy goes on under its new id, by what one of the others knows.
    pub(crate) fn go_on(&mut self, by: usize) -> Outcome {
        let mut known = self.sides[by].told.clone();
        known.push(self.sides[by].replica.vector().get(&A_ID));
        let after = self.sides[SECOND].replica.fork_point(&known);
        equal("the fork point", &Some(after), &self.parted)?;
        let reissued = self.reissue(after).map_err(text)?;
        equal("what is issued again", &reissued.commits, &self.commits)?;
        equal("what is uncertain", &reissued.uncertain, &Vec::new())?;
        self.is_found_out = true;
        for side in &mut self.sides {
            side.replica.set_members([A_ID, OTHER_IDS[0], OTHER_IDS[1], self.new_id]);
        }
        self.check(SECOND)
    }

    pub(crate) fn reissue(&mut self, after: Timestamp) -> Result<Reissued, ReissueError> {
        let stamps = if self.cause == Cause::Clone { Stamps::Keep } else { Stamps::Anew };
        if stamps == Stamps::Anew {
            self.now_ms = ANEW_MS;
        }
        self.log.push(format!("the second copy goes on as {} after {after}", self.new_id));
        self.sides[SECOND].replica.reissue(self.now_ms, self.new_id, after, stamps)
    }

    /// All exchange what they hold until there is nothing left, then forget.
    pub(crate) fn converge(&mut self) -> Outcome {
        let mut sides = vec![FIRST, SECOND, B, C];
        if self.cause == Cause::Ahead {
            // There is no other copy: it is the second one as it was before.
            sides.remove(0);
        }
        for _ in 0..2 {
            for from in &sides {
                sides.iter().filter(|to| *to != from).try_for_each(|to| self.sync_one(*from, *to))?;
            }
        }
        let digest = self.sides[SECOND].replica.digest();
        for side in &sides {
            equal("the digest", &self.sides[*side].replica.digest(), &digest)?;
            equal("what was seen", &self.sides[*side].saw, &self.sides[SECOND].saw)?;
        }
        let ids: Vec<_> = sides.iter().map(|side| self.sides[*side].replica.id()).collect();
        sides.iter().for_each(|side| self.sides[*side].replica.set_members(ids.clone()));
        for one in &sides {
            for other in &sides {
                self.settle(*one, *other)?;
            }
        }
        sides.iter().try_for_each(|side| {
            equal("the digest after forgetting", &self.sides[*side].replica.digest(), &digest)
        })
    }

    /// Compares a replica with what the oracle says of what it has seen.
    pub(crate) fn check(&self, at: usize) -> Outcome {
        if at == SECOND && !self.is_found_out && !self.is_one() {
            // Its events have other names yet.
            return Ok(());
        }
        let Side { replica, saw, .. } = &self.sides[at];
        equal("the vector", &replica.vector(), saw)?;
        let live = self.oracle.live(saw);
        let found: Live = Canonical::live::<S>(&replica.canonical_bytes())?;
        for place in live.keys().chain(found.keys()) {
            equal(&format!("what is live of {at} at {place:?}"), &found.get(place), &live.get(place))?;
        }
        let mut read = Readings::new();
        replica.state().read(&mut Vec::new(), &mut read);
        equal("what is read", &read, &readings(&live))
    }
}

fn other_id(at: usize) -> ReplicaId {
    OTHER_IDS[at - B]
}

fn transact<'a, S: Subject>(
    replica: &mut Replica<S>,
    now_ms: u64,
    script: &mut Script<'a>,
    ops: &'a [Vec<u8>],
) -> Result<Option<Timestamp>, String> {
    let done = replica.transact(now_ms, |handle| {
        ops.iter().try_for_each(|choices| {
            script.choose_by(choices);
            S::act(handle, script)
        })
    });
    done.map(|committed| committed.stamp).map_err(|error: driftless::TransactError<Stop>| match error {
        driftless::TransactError::Aborted(Stop::Fault(fault)) => fault,
        _ => "the transaction was not made".to_owned(),
    })
}
