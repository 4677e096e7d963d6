//! What a map notes of a row beside its content, in four bytes.

use crate::crdt::map::recency::Place;

const IS_LIVE: u32 = 1 << 31;
const HAS_RESIDUE: u32 = 1 << 30;
/// Of a row of a delta.
const IS_KNOWN: u32 = 1 << 29;
/// The greatest place.
pub(super) const PLACE: Place = IS_KNOWN - 1;

/// Where the row's valid entry in the recency log is, and some flags. A row of a delta has no such entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing(u32);

impl Standing {
    /// The place of the row's valid entry in the recency log; zero before it has one.
    #[inline]
    pub(super) fn place(self) -> Place {
        self.0 & PLACE
    }

    #[inline]
    pub(super) fn set_place(&mut self, place: Place) {
        debug_assert!(place <= PLACE, "places are renumbered before they are used up");
        self.0 = self.0 & !PLACE | place;
    }

    /// Whether the value is live, in a replica's state: looking through a row of rows would cost them all.
    #[inline]
    pub(super) fn is_live(self) -> bool {
        self.0 & IS_LIVE != 0
    }

    #[inline]
    pub(super) fn set_live(&mut self, is_live: bool) {
        self.set(IS_LIVE, is_live);
    }

    /// Whether the row is in the list of those that have something to forget.
    #[inline]
    pub(super) fn has_residue(self) -> bool {
        self.0 & HAS_RESIDUE != 0
    }

    #[inline]
    pub(super) fn set_residue(&mut self, has_residue: bool) {
        self.set(HAS_RESIDUE, has_residue);
    }

    /// Of a row of a delta that is to be written: whether the receiver holds a row of this key, as its vector proves.
    #[inline]
    pub(super) fn is_known(self) -> bool {
        self.0 & IS_KNOWN != 0
    }

    #[inline]
    pub(super) fn set_known(&mut self, is_known: bool) {
        self.set(IS_KNOWN, is_known);
    }

    /// Of a row of a delta that was read: the number under which the receiver held the key then.
    #[inline]
    pub(super) fn hint(self) -> Option<u32> {
        self.place().checked_sub(1)
    }

    #[inline]
    pub(super) fn set_hint(&mut self, number: u32) {
        self.set_place(number.saturating_add(1).min(PLACE));
    }

    #[inline]
    fn set(&mut self, flag: u32, is_set: bool) {
        self.0 = if is_set { self.0 | flag } else { self.0 & !flag };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_place_leave_each_other_alone() {
        let mut standing = Standing::default();
        standing.set_live(true);
        standing.set_place(PLACE);
        standing.set_residue(true);
        assert_eq!((standing.is_live(), standing.has_residue(), standing.place()), (true, true, PLACE));
        standing.set_place(1);
        standing.set_live(false);
        assert_eq!((standing.is_live(), standing.has_residue(), standing.place()), (false, true, 1));
        standing.set_residue(false);
        assert_eq!(standing, {
            let mut other = Standing::default();
            other.set_place(1);
            other
        });
    }
}
