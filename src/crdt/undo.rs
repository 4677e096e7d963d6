//! What undoes a transaction: what stood at each place that it wrote, in the order of the writes.

use std::any::{Any, TypeId};

use crate::crdt::Crdt;
use crate::crdt::change::Path;

/// Records and steps that are kept room for from one transaction to the next.
const KEPT: usize = 16;

/// What undoes the events of a transaction.
#[derive(Debug, Default)]
pub(crate) struct UndoLog {
    /// For each record, where in `steps` the way to its place begins; it ends where that of the next record begins.
    starts: Vec<usize>,
    /// The steps of all records, one after the other.
    steps: Vec<u32>,
    before: Before,
}

/// What stood before, for each type of it a stack: the type that wrote it knows which it is, and what was written last is undone
/// first. So a record costs no memory of its own.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Before {
    stacks: Vec<(TypeId, Box<dyn Stack>)>,
}

/// A vector of records of one type.
trait Stack: Any + std::fmt::Debug + Send + Sync {
    /// Drops all records.
    fn clear(&mut self);
}

/// The records of one type.
struct StackOf<B>(Vec<B>);

impl<B> std::fmt::Debug for StackOf<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("StackOf").field(&self.0.len()).finish()
    }
}

impl<B: Send + Sync + 'static> Stack for StackOf<B> {
    fn clear(&mut self) {
        self.0.clear();
        self.0.shrink_to(KEPT);
    }
}

impl Before {
    #[inline]
    fn stack<B: Send + Sync + 'static>(&mut self) -> Option<&mut Vec<B>> {
        let (_, stack) = self.stacks.iter_mut().find(|(of, _)| *of == TypeId::of::<B>())?;
        let stack: &mut dyn Any = &mut **stack;
        stack.downcast_mut::<StackOf<B>>().map(|stack| &mut stack.0)
    }

    #[inline]
    fn push<B: Send + Sync + 'static>(&mut self, before: B) {
        match self.stack() {
            Some(stack) => stack.push(before),
            None => self.stacks.push((TypeId::of::<B>(), Box::new(StackOf(vec![before])))),
        }
    }

    /// Takes back what the type that is being undone noted last.
    pub(crate) fn take<B: Send + Sync + 'static>(&mut self) -> B {
        self.stack().and_then(Vec::pop).expect("a record is taken back once, by the type that made it")
    }
}

impl UndoLog {
    /// Takes note of what stood at the end of a path.
    #[inline]
    pub(crate) fn push<B: Send + Sync + 'static>(&mut self, path: &Path<'_>, before: B) {
        let start = self.steps.len();
        path.push_steps(&mut self.steps);
        self.before.push(before);
        self.starts.push(start);
    }

    /// Undoes all, the last first.
    pub(crate) fn roll_back<S: Crdt>(&mut self, state: &mut S) {
        while let Some(start) = self.starts.pop() {
            state.undo(self.steps.get(start..).unwrap_or_default(), &mut self.before);
            self.steps.truncate(start);
        }
    }

    /// Undoes nothing any more.
    #[inline]
    pub(crate) fn keep(&mut self) {
        self.starts.clear();
    }

    /// Lets go of all.
    pub(crate) fn clear(&mut self) {
        self.starts.clear();
        self.starts.shrink_to(KEPT);
        self.steps.clear();
        self.steps.shrink_to(KEPT);
        self.before.stacks.iter_mut().for_each(|(_, stack)| stack.clear());
    }
}
