//! What a row holds beside its key.

use std::hint::cold_path;

use crate::causal::dot::Marks;
use crate::crdt::Crdt;
use crate::crdt::map::standing::Standing;

/// A value, and what a removal of the key has seen, the floor, if one is remembered.
///
/// Few rows have a floor, so its place costs the others nothing: where one is, it takes the place of the value, which stands in
/// memory of its own if there is any. The standing is in both forms, since the mark of the form and it take a word together.
///
/// The mark is as wide as the standing, so that they are written as one: a row that is copied right after it was made would have
/// to wait for a narrower write.
#[derive(Debug)]
#[repr(u32)]
pub(super) enum Body<V> {
    Plain(Standing, V),
    /// Without a value: there is none, as after most removals.
    Floored(Standing, Box<Marks>, Option<Box<V>>),
}

impl<V: Crdt> Clone for Body<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Plain(standing, value) => Self::Plain(*standing, value.fork()),
            Self::Floored(standing, floor, value) => {
                Self::Floored(*standing, floor.clone(), value.as_deref().map(|value| Box::new(value.fork())))
            }
        }
    }
}

impl<V> Body<V> {
    #[inline]
    pub(super) fn standing(&self) -> Standing {
        match self {
            Self::Plain(standing, _) | Self::Floored(standing, ..) => *standing,
        }
    }

    #[inline]
    pub(super) fn standing_mut(&mut self) -> &mut Standing {
        match self {
            Self::Plain(standing, _) | Self::Floored(standing, ..) => standing,
        }
    }

    /// The value; a row that has a floor may be without.
    #[inline]
    pub(super) fn value(&self) -> Option<&V> {
        match self {
            Self::Plain(_, value) => Some(value),
            Self::Floored(_, _, value) => value.as_deref(),
        }
    }

    /// The value, if it is noted to be live: what readers are shown.
    #[inline]
    pub(super) fn readable(&self) -> Option<&V> {
        match self {
            // Branches, and not a choice between two results: that would keep what the caller reads from being fetched early.
            Self::Plain(standing, value) if standing.is_live() => Some(value),
            Self::Floored(standing, _, Some(value)) if standing.is_live() => {
                cold_path();
                Some(value)
            }
            _ => {
                cold_path();
                None
            }
        }
    }

    /// The value, if there is one, for what does nothing to a value of which nothing is left.
    #[inline]
    pub(super) fn held_mut(&mut self) -> Option<&mut V> {
        match self {
            Self::Plain(_, value) => Some(value),
            Self::Floored(_, _, value) => value.as_deref_mut(),
        }
    }

    #[inline]
    pub(super) fn floor(&self) -> Option<&Marks> {
        match self {
            Self::Plain(..) => None,
            Self::Floored(_, floor, _) => Some(floor),
        }
    }

    #[inline]
    pub(super) fn floor_mut(&mut self) -> Option<&mut Marks> {
        match self {
            Self::Plain(..) => None,
            Self::Floored(_, floor, _) => Some(floor),
        }
    }
}

impl<V: Crdt> Body<V> {
    pub(super) fn new(value: V, floor: Option<Box<Marks>>) -> Self {
        match floor {
            None => Self::Plain(Standing::default(), value),
            Some(floor) => Self::Floored(Standing::default(), floor, boxed(value)),
        }
    }

    /// Whether it says nothing at all.
    pub(super) fn is_bottom(&self) -> bool {
        self.floor().is_none() && self.is_void()
    }

    /// Whether nothing is left of the value.
    pub(super) fn is_void(&self) -> bool {
        self.value().is_none_or(V::is_bottom)
    }

    #[inline]
    pub(super) fn is_live(&self) -> bool {
        self.value().is_some_and(V::is_live)
    }

    /// The value, to be written, if need be from bottom on.
    #[inline]
    pub(super) fn value_mut(&mut self) -> &mut V {
        match self {
            Self::Plain(_, value) => value,
            Self::Floored(_, _, value) => {
                cold_path();
                value.get_or_insert_with(|| Box::new(V::bottom()))
            }
        }
    }

    /// Takes the floor away, if there is one.
    #[inline]
    pub(super) fn take_floor(&mut self) -> Option<Box<Marks>> {
        match self {
            Self::Plain(..) => None,
            Self::Floored(..) => self.replace_floor(None),
        }
    }

    pub(super) fn set_floor(&mut self, floor: Option<Box<Marks>>) {
        self.replace_floor(floor);
    }

    /// Joins a floor to the one there is, and [sheds](Self::shed).
    #[inline]
    pub(super) fn raise_floor(&mut self, floor: Option<Box<Marks>>) {
        match (&mut *self, floor) {
            (Self::Plain(..), None) => {}
            (Self::Plain(..), floor) => self.set_floor(floor),
            (Self::Floored(_, own, _), floor) => {
                floor.iter().for_each(|floor| own.raise_all(floor));
                self.shed();
            }
        }
    }

    /// Gives back the memory of a value of which nothing is left.
    #[inline]
    pub(super) fn shed(&mut self) {
        if let Self::Floored(_, _, value) = self {
            value.take_if(|value| value.is_bottom());
        }
    }

    /// Puts another floor in place of the one there is; gives back the memory of a value of which nothing is left.
    fn replace_floor(&mut self, floor: Option<Box<Marks>>) -> Option<Box<Marks>> {
        let standing = self.standing();
        let (value, before) = match std::mem::replace(self, Self::Plain(standing, V::bottom())) {
            Self::Plain(_, value) => (value, None),
            Self::Floored(_, before, value) => (value.map_or_else(V::bottom, |value| *value), Some(before)),
        };
        *self = Self::new(value, floor);
        *self.standing_mut() = standing;
        before
    }
}

/// Memory for a value, if there is anything of it.
fn boxed<V: Crdt>(value: V) -> Option<Box<V>> {
    (!value.is_bottom()).then(|| Box::new(value))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::causal::dot::Dot;
    use crate::causal::origin::{Origin, Origins};
    use crate::clock::Timestamp;
    use crate::crdt::change::Path;
    use crate::crdt::flag::Flag;
    use crate::crdt::write::{Txn, Writer};

    fn dot(origin: usize) -> Dot {
        Dot { origin: Origin::from_index(origin), time: Timestamp::from_bits(1) }
    }

    fn floor(origin: usize) -> Box<Marks> {
        Box::new(Marks::of(dot(origin)))
    }

    fn enabled() -> Flag {
        let mut flag = Flag::bottom();
        let mut txn = Txn::new(Arc::new(Origins::default()), dot(0), 0);
        Writer { value: &mut flag, txn: &mut txn, path: Path::root() }.enable();
        flag
    }

    #[test]
    fn it_goes_from_one_form_to_the_other_with_all_that_it_holds() {
        let mut body = Body::new(enabled(), None);
        body.standing_mut().set_place(7);
        body.raise_floor(None);
        assert!(matches!(body, Body::Plain(..)) && body.take_floor().is_none());
        body.raise_floor(Some(floor(0)));
        body.raise_floor(Some(floor(1)));
        assert_eq!(
            (body.floor().map(Marks::len), body.is_live(), body.standing().place()),
            (Some(2), true, 7)
        );
        assert_eq!(body.take_floor().map(|floor| floor.len()), Some(2));
        assert!(matches!(body, Body::Plain(..)) && body.is_live() && body.standing().place() == 7);
    }

    #[test]
    fn nothing_is_kept_of_a_value_of_which_nothing_is_left() {
        let mut body = Body::new(Flag::bottom(), Some(floor(0)));
        assert!(body.value().is_none() && body.is_void() && !body.is_bottom());
        *body.value_mut() = enabled();
        assert!(body.clone().is_live() && body.readable().is_none(), "what is noted of it comes later");
        *body.value_mut() = Flag::bottom();
        body.raise_floor(None);
        assert!(body.value().is_none());
        body.take_floor();
        assert!(body.is_bottom());
    }

    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_body_costs_a_word_beside_its_value() {
        assert_eq!(size_of::<Option<Body<Flag>>>(), size_of::<Flag>() + 8);
    }
}
