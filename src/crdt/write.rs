//! Writing inside a transaction: one stamp for all of it, and a note of what was, to undo it.

use std::ops::Deref;
use std::sync::Arc;

use crate::causal::dot::{Dot, Marks};
use crate::causal::id::ReplicaId;
use crate::causal::origin::Origins;
use crate::clock::Timestamp;
use crate::crdt::Crdt;
use crate::crdt::change::{Path, Reading, Recorder};
use crate::crdt::renaming::{Counted, Place, Step};
use crate::crdt::undo::UndoLog;
use crate::crdt::value::Value;
use crate::wire::hash::KeyHasher;

/// What a transaction in progress knows and has done.
#[derive(Debug)]
pub(crate) struct Txn {
    pub(crate) origins: Arc<Origins>,
    /// The one dot of all its events.
    pub(crate) dot: Dot,
    /// How many events there were. None: the transaction takes no stamp.
    pub(crate) events: usize,
    /// Whether what was written last left marks that can be forgotten one day.
    pub(crate) residue: bool,
    /// Updates that were entered and not left: above zero at the end if a panic was caught on the way.
    pub(crate) entered: usize,
    pub(crate) recorder: Recorder,
    /// What keys are hashed with.
    pub(crate) seed: u64,
    /// The same, at hand for the places of counters.
    pub(crate) hasher: KeyHasher,
    /// The own counts that were written or removed, as they were before, and the ways to those whose rows may be gone soon.
    pub(crate) counted: Vec<Counted>,
    pub(crate) ways: Vec<(Place, Vec<Step>)>,
    undo: UndoLog,
}

/// What a transaction knew when it went into a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outer {
    events: usize,
    residue: bool,
}

impl Txn {
    pub(crate) fn new(origins: Arc<Origins>, dot: Dot, seed: u64) -> Self {
        Self {
            origins,
            dot,
            events: 0,
            residue: false,
            entered: 0,
            recorder: Recorder::default(),
            seed,
            hasher: KeyHasher::new(seed),
            counted: Vec::new(),
            ways: Vec::new(),
            undo: UndoLog::default(),
        }
    }

    /// Prepares the next transaction.
    #[inline]
    pub(crate) fn begin(&mut self, time: Timestamp, records: bool) {
        self.dot.time = time;
        self.events = 0;
        self.residue = false;
        self.entered = 0;
        self.recorder = Recorder::new(records);
        self.counted.clear();
        self.ways.clear();
        self.undo.clear();
    }

    fn author(&self) -> (ReplicaId, Timestamp) {
        (*self.origins.id(self.dot.origin), self.dot.time)
    }

    /// Takes note of an event, and of how to undo it.
    #[inline]
    pub(crate) fn event<B: Send + Sync + 'static>(&mut self, path: &Path<'_>, before: impl FnOnce() -> B) {
        self.events += 1;
        if !path.is_undone() {
            self.undo.push(path, before());
        }
    }

    /// Takes note of how to undo something that is no event by itself.
    pub(crate) fn undoable<B: Send + Sync + 'static>(&mut self, path: &Path<'_>, before: B) {
        if !path.is_undone() {
            self.undo.push(path, before);
        }
    }

    /// Takes note of the own count at the end of a path, as it was before this transaction.
    pub(crate) fn note_count(&mut self, path: &Path<'_>, before: Timestamp, total: i64) {
        let place = path.place(&self.hasher);
        self.counted.push(Counted { place, before, total });
    }

    /// Takes note of the way to a counter whose own count is removed, if a later removal of what is around it may drop its row.
    pub(crate) fn note_way(&mut self, path: &Path<'_>) {
        if path.keys() > 1 {
            self.ways.push((path.place(&self.hasher), path.way()));
        }
    }

    /// Goes into a row. Returns what [`leave`](Self::leave) needs to come back.
    #[inline]
    pub(crate) fn enter(&mut self) -> Outer {
        let Self { events, residue, .. } = *self;
        self.entered += 1;
        self.residue = false;
        Outer { events, residue }
    }

    /// Comes out of a row. Returns whether anything was written there, and whether that left residue.
    #[inline]
    pub(crate) fn leave(&mut self, outer: Outer) -> (bool, bool) {
        let residue = self.residue;
        self.entered -= 1;
        self.residue |= outer.residue;
        (self.events > outer.events, residue)
    }

    /// Takes note of what reads differently now.
    #[inline]
    pub(crate) fn record(&mut self, path: &Path<'_>, before: Reading, after: impl FnOnce() -> Option<Value>) {
        if let Reading::Of(_) = before {
            let author = self.author();
            self.recorder.record(path, before, after, author);
        }
    }

    /// Undoes all events, the last one first.
    pub(crate) fn roll_back<S: Crdt>(&mut self, state: &mut S) {
        self.undo.roll_back(state);
        self.events = 0;
    }

    /// Keeps the events: there is nothing to undo any more. What would have undone them is let go of later, by
    /// [`let_go`](Self::let_go).
    #[inline]
    pub(crate) fn keep(&mut self) {
        self.undo.keep();
    }

    /// Lets go of what would have undone the events that were kept. It may panic, as the application's values do when they
    /// are dropped.
    #[inline]
    pub(crate) fn let_go(&mut self) {
        self.undo.clear();
    }
}

/// A removal in this replica, on its way down to all that it has seen.
#[doc(hidden)]
#[derive(Debug)]
pub struct Sinking<'a> {
    /// What the removal has seen.
    pub(crate) floor: &'a Marks,
    pub(crate) txn: &'a mut Txn,
}

/// A handle: borrows a value and the transaction that may write it. Reading goes through: a handle of a register can be asked
/// for the latest value, one of a map for a key, and what the transaction wrote before is read.
///
/// The methods that write are those of the type: see [`LwwRegister`](crate::LwwRegister),
/// [`MvRegister`](crate::MvRegister), [`Flag`](crate::Flag), [`OrSet`](crate::OrSet), [`Counter`](crate::Counter),
/// [`MergeMap`](crate::MergeMap) and [`Document`](crate::Document). A struct with `#[derive(Crdt)]` has a handle of its
/// own, with a method for each field.
///
/// It is named to pass it on: `Writer<'_, MergeMap<..>>`, and for any state `<S as Crdt>::Mut<'_>`.
///
/// # Example
/// ```
/// use driftless::{Config, Crdt, LwwRegister, MergeMap, Replica, ReplicaId, Writer};
///
/// #[derive(Crdt)]
/// struct User {
///     name: LwwRegister<String>,
/// }
///
/// fn rename(user: &mut UserMut<'_>, name: &str) -> bool {
///     let is_new = user.name.latest().map(String::as_str) != Some(name);
///     if is_new {
///         user.name().set(name);
///     }
///     is_new
/// }
///
/// fn rename_all(users: &mut Writer<'_, MergeMap<u64, User>>, name: &str) -> usize {
///     let keys: Vec<u64> = users.keys().copied().collect();
///     keys.iter().filter(|key| users.update(*key, |user| rename(user, name))).count()
/// }
///
/// let mut eu: Replica<MergeMap<u64, User>> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// eu.write(1_000, |users| users.update(&7, |user| rename(user, "Ada")))?;
/// assert_eq!(eu.write(1_001, |users| rename_all(users, "Ada"))?.value, 0);
/// assert_eq!(eu.write(1_002, |users| rename_all(users, "Grace"))?.value, 1);
/// # Ok::<(), driftless::WriteError>(())
/// ```
pub struct Writer<'a, C> {
    pub(crate) value: &'a mut C,
    pub(crate) txn: &'a mut Txn,
    pub(crate) path: Path<'a>,
}

impl<C> std::fmt::Debug for Writer<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("path", &self.path).finish_non_exhaustive()
    }
}

impl<C> Deref for Writer<'_, C> {
    type Target = C;

    fn deref(&self) -> &C {
        self.value
    }
}

impl<'a, C: Crdt> Writer<'a, C> {
    /// A handle of one field of a struct.
    #[doc(hidden)]
    pub fn field<F: Crdt>(
        &mut self,
        step: u32,
        name: &'static str,
        project: impl FnOnce(&mut C) -> &mut F,
    ) -> F::Mut<'_> {
        F::handle(Writer {
            value: project(self.value),
            txn: self.txn,
            path: Path::field(&self.path, step, name),
        })
    }
}
