//! The one cell that all state is made of, and the one join.
//!
//! A cell knows which events touched it (`seen`, the newest of each replica: its marks) and which payloads are not yet
//! superseded or removed (`live`). Concurrent writes stay live beside each other; *reading* resolves them. A register, a
//! set, a counter and a map are ways to read cells.
//!
//! # Invariants
//! 1. Each live dot is its origin's mark: `seen[dot.origin] == dot.time`. A later event of that origin would have ended it.
//! 2. At most one live entry for an origin.
//! 3. Live entries are ordered by (time, full replica id): the last one is what last-writer-wins reads.
//! 4. A cell whose only mark is its only live dot is stored as just that ([`Cell::One`]), unless its payload is kept as it came;
//!    an untouched one as nothing.
//!
//! Source: the optimized add-wins set and dotted causal containers of Almeida, Shoker, Baquero, *Delta State Replicated
//! Data Types* (2018), section 7, with one stamp as the dot and the causal context kept cell by cell.

pub(crate) mod columns;
pub(crate) mod payload;
pub(crate) mod rename;
pub(crate) mod repair;

use std::cmp::Ordering;
use std::slice;

use smallvec::{SmallVec, smallvec};

use crate::causal::dot::{Dot, Marks};
use crate::causal::frontier::Frontier;
use crate::causal::origin::{Origin, Origins};
use crate::cell::payload::{Payload, View};
use crate::clock::Timestamp;
use crate::wire::events::Events;

/// Up to so many live entries are looked through one by one.
const FEW: usize = 4;

/// A payload that is neither superseded nor removed, and the event that wrote it.
#[derive(Clone, Debug)]
pub(crate) struct Live<T> {
    pub(crate) dot: Dot,
    pub(crate) payload: Payload<T>,
}

/// Live payloads and marks.
///
/// The fields of [`Cell::One`] are not a [`Dot`], so that they pack: beside its payload the common cell costs 12 bytes and
/// padding, and the other form hides behind the origin that is never zero.
#[derive(Clone, Debug)]
pub(crate) enum Cell<T> {
    /// One live payload, and no mark but its own.
    One { time: Timestamp, origin: Origin, value: T },
    /// Any other cell; `None` if nothing ever touched it.
    Other(Option<Box<Many<T>>>),
}

/// The general form of a cell.
#[derive(Clone, Debug)]
pub(crate) struct Many<T> {
    live: Lives<T>,
    seen: Marks,
}

/// Live payloads: nearly always one, beside marks of others.
type Lives<T> = SmallVec<[Live<T>; 1]>;

impl<T> Many<T> {
    /// Puts an entry where the order of invariant 3 wants it.
    fn insert(&mut self, entry: Live<T>, origins: &Origins) {
        let before = |other: &Live<T>| older(other.dot, entry.dot, origins);
        let place = self.live.partition_point(before);
        self.live.insert(place, entry);
    }

    /// Drops the marks that the floor of the row remembers.
    ///
    /// A mark as old as the floor is kept if anything newer touched the cell: it may be of a dot that the removal's own
    /// transaction wrote again, which the floor does not kill and the newer event did.
    fn sink_dead(&mut self, floor: &Marks) {
        let live = LiveDots::of(&self.live);
        let is_live = |mark: Dot| live.hold(mark);
        if self.seen.iter().all(|mark| floor.cover(mark)) {
            self.seen.retain(is_live);
        } else {
            self.seen.retain(|mark| floor.time(mark.origin) <= mark.time || is_live(mark));
        }
    }

    /// Joins one live payload whose author's mark it is, and no other mark. Returns what it did, but for residue.
    fn join_one(&mut self, theirs: Live<T>, sight: &Sight<'_>) -> Joined {
        let dot = theirs.dot;
        let is_ended = |other: Dot| other.origin == dot.origin && other.time <= dot.time;
        let mut joined = Joined::default();
        let live_before = self.live.len();
        self.live.retain(|live| live.dot == dot || !(is_ended(live.dot) || sight.known_to_sender(live.dot)));
        joined.changed = self.live.len() != live_before;
        if !sight.ours.covers(dot) && !self.seen.cover(dot) {
            self.insert(theirs, sight.origins);
            joined.changed = true;
            joined.conflict = self.live.len() > 1;
        }
        self.seen.raise(dot);
        if !sight.floor.is_empty() {
            self.sink_dead(sight.floor);
        }
        joined
    }

    /// Joins live payloads and marks. Returns what it did, but for residue.
    fn join(&mut self, theirs: Self, sight: &Sight<'_>) -> Joined {
        let mut joined = Joined::default();
        let live_before = self.live.len();
        let held = LiveDots::of(&theirs.live);
        self.live.retain(|live| {
            held.hold(live.dot) || !(theirs.seen.cover(live.dot) || sight.known_to_sender(live.dot))
        });
        joined.changed = self.live.len() != live_before;
        for live in theirs.live {
            if !sight.ours.covers(live.dot) && !self.seen.cover(live.dot) {
                self.live.push(live);
                joined.changed = true;
                joined.conflict = self.live.len() > 1;
            }
        }
        self.live.sort_by(|a, b| a.dot.order(b.dot, sight.origins));
        self.seen.raise_all(&theirs.seen);
        if !sight.floor.is_empty() {
            self.sink_dead(sight.floor);
        }
        joined
    }

    /// The event of the one live payload, if there is no mark but that.
    fn alone(&self) -> Option<Dot> {
        match &self.live[..] {
            [live] if self.seen.len() == 1 => Some(live.dot),
            _ => None,
        }
    }

    /// Whether the marks are those of the live dots and no others: there is nothing to forget.
    fn is_lean(&self) -> bool {
        !self.live.is_empty() && self.seen.len() == self.live.len()
    }
}

/// Whether `a` comes before `b` in last-writer-wins order.
fn older(a: Dot, b: Dot, origins: &Origins) -> bool {
    a.order(b, origins) == Ordering::Less
}

/// The dots of live entries, to look others up among them: if they are many by search, lest the work grow with the square of
/// what a peer may send.
struct LiveDots<'a, T> {
    live: &'a [Live<T>],
    /// The dots ordered by origin, if they are many.
    by_origin: Vec<Dot>,
}

impl<'a, T> LiveDots<'a, T> {
    fn of(live: &'a [Live<T>]) -> Self {
        let mut by_origin = Vec::new();
        if live.len() > FEW {
            by_origin.extend(live.iter().map(|live| live.dot));
            by_origin.sort_unstable_by_key(|dot| dot.origin);
        }
        Self { live, by_origin }
    }

    fn hold(&self, dot: Dot) -> bool {
        if self.live.len() <= FEW {
            return self.live.iter().any(|live| live.dot == dot);
        }
        let place = self.by_origin.binary_search_by_key(&dot.origin, |other| other.origin);
        place.is_ok_and(|place| self.by_origin[place] == dot)
    }
}

/// The live payloads of a cell that can be read, oldest first. Of its two parts one is empty.
pub(crate) struct LiveIter<'a, T> {
    one: Option<(Dot, &'a T)>,
    many: slice::Iter<'a, Live<T>>,
}

impl<T> Live<T> {
    fn read(&self) -> Option<(Dot, &T)> {
        self.payload.view().value().map(|value| (self.dot, value))
    }
}

impl<'a, T> Iterator for LiveIter<'a, T> {
    type Item = (Dot, &'a T);

    fn next(&mut self) -> Option<Self::Item> {
        self.one.take().or_else(|| self.many.find_map(Live::read))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let many = self.many.clone().filter(|live| live.read().is_some());
        let len = usize::from(self.one.is_some()) + many.count();
        (len, Some(len))
    }
}

impl<T> DoubleEndedIterator for LiveIter<'_, T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.one.take().or_else(|| self.many.by_ref().rev().find_map(Live::read))
    }
}

impl<T> ExactSizeIterator for LiveIter<'_, T> {}

/// What the two sides of a join know, beside what stands in the cells themselves.
pub(crate) struct Sight<'a> {
    /// The receiving replica's table of ids.
    pub(crate) origins: &'a Origins,
    /// For each origin of the incoming message, the receiver's.
    pub(crate) remap: &'a [Origin],
    /// What the receiver has seen of everything.
    pub(crate) ours: &'a Frontier,
    /// What the sender has seen of everything, if it sent all it holds: then, and only then, absence speaks.
    pub(crate) theirs: Option<&'a Frontier>,
    /// What the sender has seen of all that lies within this cell's row, or a row around it.
    pub(crate) floor: &'a Marks,
}

impl Sight<'_> {
    pub(crate) fn remap(&self, dot: Dot) -> Dot {
        Dot { origin: self.remap[dot.origin.index()], time: dot.time }
    }

    /// Whether the sender knows the event, for a reason outside of the cell.
    pub(crate) fn known_to_sender(&self, dot: Dot) -> bool {
        self.floor.cover(dot) || self.theirs.is_some_and(|theirs| theirs.covers(dot))
    }

    /// Whether a cell that the sender does not hold says that what we hold may be dead.
    pub(crate) fn absence_speaks(&self) -> bool {
        self.theirs.is_some() || !self.floor.is_empty()
    }
}

/// What a join did to a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Joined {
    /// Whether the live entries changed.
    pub(crate) changed: bool,
    /// Whether more than one entry is live now, and one of them is new.
    pub(crate) conflict: bool,
    /// Whether the join left marks that can be forgotten one day.
    pub(crate) residue: bool,
}

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self { live: Lives::new(), seen: Marks::default() }
    }
}

impl<T> Default for Cell<T> {
    fn default() -> Self {
        Self::Other(None)
    }
}

impl<T> Cell<T> {
    /// Whether no event ever touched the cell, as far as is remembered.
    pub(crate) fn is_bottom(&self) -> bool {
        matches!(self, Self::Other(None))
    }

    /// Whether a payload is live, whether it can be read or not.
    pub(crate) fn is_live(&self) -> bool {
        match self {
            Self::One { .. } => true,
            Self::Other(many) => many.as_ref().is_some_and(|many| !many.live.is_empty()),
        }
    }

    /// The live payload that last-writer-wins reads, of those that can be read: greatest stamp, then greatest replica id.
    pub(crate) fn latest(&self) -> Option<&T> {
        match self {
            Self::One { value, .. } => Some(value),
            Self::Other(many) => {
                many.as_ref()?.live.iter().rev().find_map(Live::read).map(|(_, value)| value)
            }
        }
    }

    /// The live payloads that can be read, oldest first.
    pub(crate) fn live(&self) -> LiveIter<'_, T> {
        let one = match self {
            Self::One { time, origin, value } => Some((Dot { origin: *origin, time: *time }, value)),
            Self::Other(_) => None,
        };
        LiveIter { one, many: self.entries().iter() }
    }

    /// All live payloads, oldest first.
    pub(crate) fn payloads(&self) -> impl Iterator<Item = (Dot, View<'_, T>)> {
        let one = match self {
            Self::One { time, origin, value } => {
                Some((Dot { origin: *origin, time: *time }, View::Typed(value)))
            }
            Self::Other(_) => None,
        };
        let many = self.entries().iter().map(|live| (live.dot, live.payload.view()));
        one.into_iter().chain(many)
    }

    /// The live entries of the general form.
    fn entries(&self) -> &[Live<T>] {
        match self {
            Self::One { .. } | Self::Other(None) => &[],
            Self::Other(Some(many)) => &many.live,
        }
    }

    /// The live payloads that cannot be read, as they came, oldest first.
    pub(crate) fn unreadable(&self) -> impl Iterator<Item = (Dot, &[u8])> {
        self.entries().iter().filter_map(|live| match &live.payload {
            Payload::AsCame(came) if came.value.is_none() => Some((live.dot, &came.bytes[..])),
            _ => None,
        })
    }

    /// The live entry that `origin` wrote.
    pub(crate) fn entry(&self, origin: Origin) -> Option<(Dot, &T)> {
        self.live().find(|(dot, _)| dot.origin == origin)
    }

    /// The marks: the newest event of each replica that touched the cell.
    pub(crate) fn marks(&self) -> Marks {
        match self {
            Self::One { time, origin, .. } => Marks::of(Dot { origin: *origin, time: *time }),
            Self::Other(many) => many.as_ref().map(|many| many.seen.clone()).unwrap_or_default(),
        }
    }

    pub(crate) fn raise_marks_of(&self, marks: &mut Marks) {
        match self {
            Self::One { time, origin, .. } => marks.raise(Dot { origin: *origin, time: *time }),
            Self::Other(Some(many)) => marks.raise_all(&many.seen),
            Self::Other(None) => {}
        }
    }

    /// Whether an event beyond `since` touched the cell.
    pub(crate) fn is_beyond(&self, since: &Frontier) -> bool {
        match self {
            Self::One { time, origin, .. } => !since.covers(Dot { origin: *origin, time: *time }),
            Self::Other(many) => many.as_ref().is_some_and(|many| !many.seen.within(since)),
        }
    }

    /// Whether a payload is live whose event lies within `seen`.
    pub(crate) fn shows(&self, seen: &Frontier) -> bool {
        self.payloads().any(|(dot, _)| seen.covers(dot))
    }

    /// Whether there are marks that can be forgotten one day.
    pub(crate) fn has_residue(&self) -> bool {
        match self {
            Self::One { .. } | Self::Other(None) => false,
            Self::Other(Some(many)) => !many.is_lean(),
        }
    }

    /// Writes a payload that supersedes all that is live. Returns the cell as it was.
    pub(crate) fn write(&mut self, dot: Dot, value: T) -> Self {
        let written = match self {
            Self::One { origin, .. } if *origin != dot.origin => self.successor(dot, value),
            Self::Other(Some(_)) => self.successor(dot, value),
            _ => Self::One { time: dot.time, origin: dot.origin, value },
        };
        std::mem::replace(self, written)
    }

    /// A cell that holds a payload alone, and remembers all marks of this one.
    fn successor(&self, dot: Dot, value: T) -> Self {
        let mut seen = self.marks();
        seen.raise(dot);
        let mut written = Self::default();
        written.put(Many { live: smallvec![Live { dot, payload: Payload::Typed(value) }], seen });
        written
    }

    /// Removes all that is live; `None`, and no event, if nothing is. Returns the cell as it was.
    pub(crate) fn remove(&mut self, dot: Dot) -> Option<Self> {
        if !self.is_live() {
            return None;
        }
        let mut seen = self.marks();
        seen.raise(dot);
        let removed = Self::Other(Some(Box::new(Many { live: Lives::new(), seen })));
        Some(std::mem::replace(self, removed))
    }

    /// Drops what lies within `floor`, live or marked: the row that holds the cell remembers it instead.
    pub(crate) fn sink(&mut self, floor: &Marks) {
        let mut many = self.take_many();
        many.live.retain(|live| !floor.cover(live.dot));
        many.seen.retain(|mark| !floor.cover(mark));
        self.put(many);
    }

    /// The join: a dot stays live if it is live on both sides, or live on one and unknown to the other.
    ///
    /// Cells come whole, so this is safe at any time, in any order, any number of times, from anyone.
    pub(crate) fn join(&mut self, theirs: Self, sight: &Sight<'_>, fresh: &mut Marks) -> Joined {
        match theirs {
            Self::One { time, origin, value } => {
                let dot = sight.remap(Dot { origin, time });
                if !sight.absence_speaks() && sight.ours.covers(dot) {
                    return Joined::default();
                }
                if !sight.ours.covers(dot) {
                    fresh.raise(dot);
                }
                if let Some(joined) = self.join_successor(dot, sight) {
                    *self = Self::One { time: dot.time, origin: dot.origin, value };
                    return joined;
                }
                let joined = self.general().join_one(Live { dot, payload: Payload::Typed(value) }, sight);
                self.settled(joined)
            }
            Self::Other(Some(mut many)) => {
                let Many { live, seen } = &mut *many;
                seen.remap(|dot| sight.remap(dot));
                if !sight.absence_speaks() && seen.within(sight.ours) {
                    return Joined::default();
                }
                for mark in seen.iter().filter(|mark| !sight.ours.covers(*mark)) {
                    fresh.raise(mark);
                }
                live.iter_mut().for_each(|live| live.dot = sight.remap(live.dot));
                let joined = self.general().join(*many, sight);
                self.settled(joined)
            }
            Self::Other(None) if sight.absence_speaks() && !self.is_bottom() => {
                let joined = self.general().join(Many::default(), sight);
                self.settled(joined)
            }
            Self::Other(None) => Joined::default(),
        }
    }

    /// The two joins that nearly all are, in place: into an untouched cell, and of a successor by the same replica. What was
    /// here is in `theirs` then. Returns whether it was one of them.
    #[inline]
    pub(crate) fn give_way(&mut self, theirs: &mut Self, sight: &Sight<'_>, fresh: &mut Marks) -> bool {
        let Self::One { time, origin, .. } = theirs else {
            return false;
        };
        let dot = sight.remap(Dot { origin: *origin, time: *time });
        if self.join_successor(dot, sight).is_none() {
            return false;
        }
        fresh.raise(dot);
        *origin = dot.origin;
        std::mem::swap(self, theirs);
        true
    }

    /// Whether a payload that comes in alone replaces the cell, and what that does.
    fn join_successor(&self, dot: Dot, sight: &Sight<'_>) -> Option<Joined> {
        if sight.ours.covers(dot) {
            return None;
        }
        let replaces = match self {
            Self::Other(None) => true,
            Self::One { time, origin, .. } => *origin == dot.origin && *time < dot.time,
            Self::Other(Some(_)) => false,
        };
        replaces.then_some(Joined { changed: true, conflict: false, residue: false })
    }

    /// The cell in its general form, in place. It may not be the smallest that holds it: see [`settled`](Self::settled).
    fn general(&mut self) -> &mut Many<T> {
        if !matches!(self, Self::Other(Some(_))) {
            *self = Self::Other(Some(Box::new(self.take_many())));
        }
        match self {
            Self::Other(Some(many)) => many,
            _ => unreachable!("the cell has just got this form"),
        }
    }

    /// Gives the cell the smallest form that holds it, and says whether what a join did left residue.
    fn settled(&mut self, joined: Joined) -> Joined {
        if let Self::Other(Some(many)) = self
            && many.live.len() <= 1
            && many.live.len() == many.seen.len()
        {
            let many = self.take_many();
            self.put(many);
        }
        Joined { residue: self.has_residue(), ..joined }
    }

    /// Forgets the marks, all together, if all of them are within the cut; `dropped` takes note of them. Returns whether
    /// marks are left that can be forgotten later.
    ///
    /// `floor` is that of the rows around, as far as it is not stable. It belongs to them: what ended a marked payload may be
    /// remembered there alone, if who removed the row had forgotten the mark itself.
    pub(crate) fn prune(&mut self, cut: &Frontier, floor: &Marks, dropped: &mut Frontier) -> bool {
        let Self::Other(Some(many)) = self else {
            return false;
        };
        if many.is_lean() {
            return false;
        }
        if !floor.is_empty() || !many.seen.within(cut) {
            return true;
        }
        let mut many = self.take_many();
        for mark in many.seen.iter() {
            dropped.raise(mark);
        }
        many.seen = many.live.iter().map(|live| live.dot).collect();
        self.put(many);
        false
    }

    /// The live payload that `origin` wrote, to be changed.
    pub(crate) fn entry_mut(&mut self, of: Origin) -> Option<&mut T> {
        match self {
            Self::One { origin, value, .. } => (*origin == of).then_some(value),
            Self::Other(many) => {
                let live = many.as_mut()?.live.iter_mut().find(|live| live.dot.origin == of)?;
                match &mut live.payload {
                    Payload::Typed(value) => Some(value),
                    Payload::AsCame(_) => None,
                }
            }
        }
    }

    /// Takes the cell apart, into the general form.
    fn take_many(&mut self) -> Many<T> {
        match std::mem::take(self) {
            Self::One { time, origin, value } => {
                let dot = Dot { origin, time };
                let live = Live { dot, payload: Payload::Typed(value) };
                Many { live: smallvec![live], seen: Marks::of(dot) }
            }
            Self::Other(Some(many)) => *many,
            Self::Other(None) => Many::default(),
        }
    }

    /// Puts the cell together again, in the smallest form that holds it.
    fn put(&mut self, mut many: Many<T>) {
        *self = match many.live.pop() {
            None if many.seen.is_empty() => Self::Other(None),
            Some(Live { dot, payload: Payload::Typed(value) })
                if many.live.is_empty() && many.seen.len() == 1 =>
            {
                Self::One { time: dot.time, origin: dot.origin, value }
            }
            last => {
                many.live.extend(last);
                Self::Other(Some(Box::new(many)))
            }
        };
    }
}

impl<T: Clone> Cell<T> {
    /// Replaces what this dot's replica wrote, and nothing else: each replica counts for itself. Returns the cell as it was.
    pub(crate) fn write_own(&mut self, dot: Dot, value: T, origins: &Origins) -> Self {
        let alone = match self {
            Self::One { origin, .. } => *origin == dot.origin,
            Self::Other(many) => many.is_none(),
        };
        if alone {
            return self.write(dot, value);
        }
        let before = self.clone();
        let mut many = self.take_many();
        many.live.retain(|live| live.dot.origin != dot.origin);
        many.insert(Live { dot, payload: Payload::Typed(value) }, origins);
        many.seen.raise(dot);
        self.put(many);
        before
    }
}

impl<T> Cell<T> {
    /// Takes note of the events that the cell names.
    #[inline]
    pub(crate) fn note_events(&self, events: &mut Events) {
        match self {
            Self::One { time, origin, .. } => events.note(Dot { origin: *origin, time: *time }),
            Self::Other(Some(many)) => many.seen.iter().for_each(|mark| events.note(mark)),
            Self::Other(None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::causal::id::ReplicaId;

    const REPLICAS: usize = 3;

    fn origins() -> Origins {
        let mut origins = Origins::default();
        // The numbers run against the order of the ids: a tie that was settled by number would show.
        for id in (0..REPLICAS).rev() {
            origins.intern(ReplicaId::from_u128(id as u128));
        }
        origins
    }

    fn dot(origin: usize, time: u64) -> Dot {
        Dot { origin: Origin::from_index(origin), time: Timestamp::from_bits(time) }
    }

    /// The join of two cells by what stands in them alone.
    fn join(a: &Cell<u64>, b: &Cell<u64>) -> Cell<u64> {
        let origins = origins();
        let remap: Vec<_> = (0..REPLICAS).map(Origin::from_index).collect();
        let sight = Sight {
            origins: &origins,
            remap: &remap,
            ours: &Frontier::default(),
            theirs: None,
            floor: &Marks::default(),
        };
        let mut joined = a.clone();
        joined.join(b.clone(), &sight, &mut Marks::default());
        joined
    }

    fn shape(cell: &Cell<u64>) -> (Vec<(Dot, u64)>, Marks) {
        (cell.live().map(|(dot, value)| (dot, *value)).collect(), cell.marks())
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write(usize),
        WriteOwn(usize),
        Remove(usize),
        Join(usize, usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let replica = 0..REPLICAS;
        let step = prop_oneof![
            3 => replica.clone().prop_map(Step::Write),
            1 => replica.clone().prop_map(Step::WriteOwn),
            2 => replica.clone().prop_map(Step::Remove),
            3 => (replica.clone(), replica).prop_map(|(from, to)| Step::Join(from, to)),
        ];
        prop::collection::vec(step, 0..24)
    }

    /// The cells of three replicas after a history. Stamps of different replicas are equal now and then.
    fn run(steps: &[Step]) -> [Cell<u64>; REPLICAS] {
        let mut cells: [Cell<u64>; REPLICAS] = Default::default();
        for (time, step) in steps.iter().enumerate() {
            let time = time as u64 / 2 * 2 + 2;
            match *step {
                Step::Write(at) | Step::WriteOwn(at) | Step::Remove(at) => {
                    let origin = Origin::from_index(at);
                    let time = time.max(cells[at].marks().time(origin).bits() + 1);
                    let dot = Dot { origin, time: Timestamp::from_bits(time) };
                    match step {
                        Step::Write(_) => drop(cells[at].write(dot, time)),
                        Step::WriteOwn(_) => drop(cells[at].write_own(dot, time, &origins())),
                        _ => drop(cells[at].remove(dot)),
                    }
                }
                Step::Join(from, to) => cells[to] = join(&cells[to], &cells[from]),
            }
        }
        cells
    }

    proptest! {
        #[test]
        fn join_is_commutative_associative_and_idempotent(steps in steps()) {
            let [a, b, c] = run(&steps);
            prop_assert_eq!(shape(&join(&a, &b)), shape(&join(&b, &a)));
            prop_assert_eq!(shape(&join(&join(&a, &b), &c)), shape(&join(&a, &join(&b, &c))));
            prop_assert_eq!(shape(&join(&a, &a)), shape(&a));
            prop_assert_eq!(shape(&join(&join(&a, &b), &b)), shape(&join(&a, &b)));
        }

        #[test]
        fn live_dots_are_marked_one_an_origin_and_ordered(steps in steps()) {
            let origins = origins();
            for cell in run(&steps) {
                let dots: Vec<_> = cell.live().map(|(dot, _)| dot).collect();
                prop_assert!(dots.is_sorted_by(|a, b| older(*a, *b, &origins)));
                for dot in &dots {
                    prop_assert_eq!(cell.marks().time(dot.origin), dot.time);
                    prop_assert_eq!(dots.iter().filter(|other| other.origin == dot.origin).count(), 1);
                }
                let is_alone = dots.len() == 1 && cell.marks().len() == 1;
                prop_assert_eq!(matches!(cell, Cell::One { .. }), is_alone);
            }
        }
    }

    /// A cell of very many replicas: for each, the time of its mark, and whether that is live.
    fn crowded(marks: &[(u64, bool)]) -> Cell<u64> {
        let dots = marks.iter().enumerate().filter(|(_, (time, _))| *time > 0);
        let dots: Vec<_> = dots.map(|(at, (time, is_live))| (dot(at, *time), *is_live)).collect();
        let mut live: Vec<_> = dots.iter().filter(|(_, is_live)| *is_live).map(|(dot, _)| *dot).collect();
        live.sort_by(|a, b| a.order(*b, &many_origins()));
        let live =
            live.into_iter().map(|dot| Live { dot, payload: Payload::Typed(dot.time.bits()) }).collect();
        let mut cell = Cell::default();
        cell.put(Many { live, seen: dots.into_iter().map(|(dot, _)| dot).collect() });
        cell
    }

    const CROWD: usize = 40;

    fn many_origins() -> Origins {
        let mut origins = Origins::default();
        // Numbers that go up and down the order of the ids.
        for at in 0..CROWD as u128 {
            origins.intern(ReplicaId::from_u128(at * 17 % CROWD as u128));
        }
        origins
    }

    proptest! {
        #[test]
        fn cells_of_many_join_by_the_definition(
            marks in prop::collection::vec((0_u64..6, any::<bool>(), 0_u64..6, any::<bool>()), CROWD),
        ) {
            let a: Vec<_> = marks.iter().map(|(time, is_live, ..)| (*time, *is_live)).collect();
            let b: Vec<_> = marks.iter().map(|(.., time, is_live)| (*time, *is_live)).collect();
            let (mut ours, theirs) = (crowded(&a), crowded(&b));
            let remap: Vec<_> = (0..CROWD).map(Origin::from_index).collect();
            let sight = Sight {
                origins: &many_origins(),
                remap: &remap,
                ours: &Frontier::default(),
                theirs: None,
                floor: &Marks::default(),
            };
            ours.join(theirs, &sight, &mut Marks::default());
            // Live on both sides, or on one and unknown to the other; the marks are the greater ones.
            let joined: Vec<_> = a.iter().zip(&b).map(|((a, a_lives), (b, b_lives))| match a.cmp(b) {
                Ordering::Less => (*b, *b_lives),
                Ordering::Equal => (*a, *a_lives && *b_lives),
                Ordering::Greater => (*a, *a_lives),
            }).collect();
            prop_assert_eq!(shape(&ours), shape(&crowded(&joined)));
        }
    }

    #[test]
    fn t09_a_last_writer_wins_loser_is_kept_so_that_groupings_agree() {
        let mut e = Cell::default();
        e.write(dot(0, 3), 1);
        let mut f = Cell::default();
        f.write(dot(1, 4), 2);
        let mut removed = f.clone();
        removed.remove(dot(2, 5));
        let expected = vec![(dot(0, 3), 1)];
        for joined in [
            join(&join(&e, &f), &removed),
            join(&e, &join(&f, &removed)),
            join(&join(&removed, &e), &f),
            join(&removed, &join(&f, &e)),
        ] {
            assert_eq!(shape(&joined).0, expected);
        }
    }

    #[test]
    fn b24_equal_stamps_are_settled_by_the_full_id_not_by_the_local_number() {
        let (mut a, mut b) = (Cell::default(), Cell::default());
        a.write(dot(0, 7), 10);
        b.write(dot(1, 7), 20);
        // Origin 0 has the greater id here.
        assert_eq!(join(&a, &b).latest(), Some(&10));
        assert_eq!(join(&b, &a).latest(), Some(&10));
    }

    #[test]
    fn marks_are_forgotten_all_together_or_not_at_all() {
        let mut cell = Cell::default();
        cell.write(dot(0, 1), 1);
        cell.remove(dot(1, 2));
        let mut dropped = Frontier::default();
        let cut: Frontier = [1, 1, 9].map(Timestamp::from_bits).into_iter().collect();
        assert!(
            cell.prune(&cut, &Marks::default(), &mut dropped),
            "the removal is not stable: the mark of what it removed stays too"
        );
        assert_eq!(cell.marks().len(), 2);
        let cut: Frontier = [1, 2].map(Timestamp::from_bits).into_iter().collect();
        assert!(!cell.prune(&cut, &Marks::default(), &mut dropped));
        assert!(cell.is_bottom());
        assert!(dropped.covers(dot(0, 1)) && dropped.covers(dot(1, 2)));
    }

    #[test]
    fn b09_what_is_written_after_a_removal_is_live() {
        for remover in [0, 1] {
            let mut cell = Cell::default();
            cell.write(dot(0, 1), 1);
            cell.remove(dot(remover, 2));
            cell.write(dot(remover, 3), 3);
            assert_eq!(cell.latest(), Some(&3));
        }
    }

    #[test]
    fn a_removal_of_nothing_is_no_event() {
        let mut cell: Cell<u64> = Cell::default();
        assert!(cell.remove(dot(0, 1)).is_none());
        assert!(cell.is_bottom());
    }
}
