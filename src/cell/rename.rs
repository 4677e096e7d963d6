//! Events that go on under another name.

use crate::causal::dot::Dot;
use crate::causal::origin::Origins;
use crate::causal::renaming::Renaming;
use crate::cell::payload::Payload;
use crate::cell::{Cell, Live};
use crate::clock::Timestamp;

impl<T> Cell<T> {
    /// Renames events. Returns whether any of them touched the cell.
    pub(crate) fn rename(&mut self, renaming: &Renaming, origins: &Origins) -> bool {
        let is_touched = match self {
            Self::One { time, origin, .. } => renaming.renames(Dot { origin: *origin, time: *time }),
            Self::Other(many) => {
                many.as_ref().is_some_and(|many| many.seen.time(renaming.former) > renaming.after)
            }
        };
        if !is_touched {
            return false;
        }
        let mut many = self.take_many();
        many.live.iter_mut().for_each(|live| live.dot = renaming.dot(live.dot));
        many.live.sort_by(|a, b| a.dot.order(b.dot, origins));
        renaming.marks(&mut many.seen);
        self.put(many);
        true
    }

    /// Puts a payload beside what is live, of the former id of a renaming: the newest of its events here that kept its name.
    pub(crate) fn put_former(&mut self, time: Timestamp, value: T, renaming: &Renaming, origins: &Origins) {
        let dot = Dot { origin: renaming.former, time };
        let mut many = self.take_many();
        renaming.lower(&mut many.seen, time);
        many.insert(Live { dot, payload: Payload::Typed(value) }, origins);
        self.put(many);
    }
}
