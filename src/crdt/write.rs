//! Writing inside a transaction: one stamp for all of it, and a note of what was, to undo it.

use std::ops::Deref;
use std::sync::Arc;

use crate::causal::dot::{Dot, Marks};
use crate::causal::id::ReplicaId;
use crate::causal::origin::Origins;
use crate::clock::Timestamp;
use crate::crdt::change::{Path, Recorder};
use crate::crdt::value::Value;
use crate::crdt::{Before, Crdt};

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
    undo: Vec<Undo>,
    /// The steps of all undo records, one after the other.
    steps: Vec<u32>,
    /// The empty box of the last record of the transaction before: writing the same type again needs no other.
    spare: Option<Before>,
}

#[derive(Debug)]
struct Undo {
    /// Where in [`Txn::steps`] the way to the place begins; it ends where that of the next record begins.
    start: usize,
    before: Before,
    empty: fn(&mut Before),
}

/// Lets go of what a record holds, and keeps its box.
fn empty<B: 'static>(before: &mut Before) {
    if let Some(slot) = before.downcast_mut::<Option<B>>() {
        *slot = None;
    }
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
            undo: Vec::new(),
            steps: Vec::new(),
            spare: None,
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
        self.undo.clear();
        self.steps.clear();
    }

    fn author(&self) -> (ReplicaId, Timestamp) {
        (*self.origins.id(self.dot.origin), self.dot.time)
    }

    /// Takes note of an event, and of how to undo it.
    #[inline]
    pub(crate) fn event(&mut self, path: &Path<'_>, before: impl Send + Sync + 'static) {
        self.events += 1;
        self.undoable(path, before);
    }

    /// Takes note of how to undo something that is no event by itself.
    pub(crate) fn undoable<B: Send + Sync + 'static>(&mut self, path: &Path<'_>, before: B) {
        let start = self.steps.len();
        path.push_steps(&mut self.steps);
        let before: Before = match self.spare.take() {
            Some(mut spare) => match spare.downcast_mut::<Option<B>>() {
                Some(slot) => {
                    *slot = Some(before);
                    spare
                }
                None => Box::new(Some(before)),
            },
            None => Box::new(Some(before)),
        };
        self.undo.push(Undo { start, before, empty: empty::<B> });
    }

    /// Drops the note that was taken last: what it would have undone has been undone otherwise.
    pub(crate) fn forget_last(&mut self) {
        if let Some(undo) = self.undo.pop() {
            self.steps.truncate(undo.start);
        }
    }

    /// Takes note of what reads differently now.
    #[inline]
    pub(crate) fn record(
        &mut self,
        path: &Path<'_>,
        before: Option<Value>,
        after: impl FnOnce() -> Option<Value>,
    ) {
        if !self.recorder.is_on() {
            return;
        }
        let author = self.author();
        self.recorder.record(path, before, after, author);
    }

    /// Undoes all events, the last one first.
    pub(crate) fn roll_back<S: Crdt>(&mut self, state: &mut S) {
        while let Some(Undo { start, before, .. }) = self.undo.pop() {
            state.undo(self.steps.get(start..).unwrap_or_default(), before);
            self.steps.truncate(start);
        }
        self.events = 0;
    }

    /// Lets go of what would have undone the events.
    pub(crate) fn keep(&mut self) {
        self.spare = self.undo.pop().map(|mut undo| {
            (undo.empty)(&mut undo.before);
            undo.before
        });
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
