//! The shape of a state: which mergeable type stands where.

use std::any::TypeId;

use xxhash_rust::xxh3::xxh3_64;

/// So many places are described, and no more.
const MOST: usize = 4096;

/// The name of a field, and what describes it.
type Described = (&'static str, fn(&mut Schema));

/// The shape of a state, place by place. Two replicas that exchange data must have the same; the types of keys and of plain
/// values are not part of it.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Schema {
    path: String,
    places: Vec<String>,
    /// The structs around the current place: one that contains itself is not described again.
    around: Vec<TypeId>,
}

impl Schema {
    /// Nothing stands below here.
    pub(crate) fn leaf(&mut self, kind: &str) {
        if self.places.len() < MOST {
            let path = if self.path.is_empty() { "." } else { &self.path };
            self.places.push(format!("{path} {kind}"));
        }
    }

    /// The values of a map.
    pub(crate) fn values(&mut self, describe: impl FnOnce(&mut Self)) {
        self.below("[]", describe);
    }

    /// The fields of a struct.
    pub fn fields<S: 'static>(&mut self, fields: &[Described]) {
        let of = TypeId::of::<S>();
        if let Some(place) = self.around.iter().rev().position(|around| *around == of) {
            return self.leaf(&format!("itself, {} up", place.saturating_add(1)));
        }
        self.around.push(of);
        for (name, describe) in fields {
            self.below(&format!(".{name}"), describe);
        }
        self.around.pop();
    }

    fn below(&mut self, step: &str, describe: impl FnOnce(&mut Self)) {
        let above = self.path.len();
        self.path.push_str(step);
        describe(self);
        self.path.truncate(above);
    }

    /// Place by place, in the order of the fields.
    pub(crate) fn places(&self) -> &[String] {
        &self.places
    }

    pub(crate) fn hash(&self) -> u64 {
        xxh3_64(self.places.join("\n").as_bytes())
    }
}

/// The first place at which two shapes differ: what stands there on each side.
pub(crate) fn difference(ours: &[String], theirs: &[String]) -> Option<(String, String)> {
    let end = "the end".to_owned();
    let at = (0..ours.len().max(theirs.len())).find(|place| ours.get(*place) != theirs.get(*place))?;
    let shown = |places: &[String]| places.get(at).unwrap_or(&end).clone();
    Some((shown(ours), shown(theirs)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crdt::Crdt;
    use crate::crdt::counter::Counter;
    use crate::crdt::document::Document;
    use crate::crdt::flag::Flag;
    use crate::crdt::map::MergeMap;
    use crate::crdt::register::{LwwRegister, MvRegister};
    use crate::crdt::set::OrSet;

    #[derive(driftless::Crdt)]
    struct Task {
        title: LwwRegister<String>,
        done: Flag,
        below: MergeMap<u8, Task>,
        notes: MergeMap<u8, MvRegister<String>>,
        more: Document,
        tags: OrSet<u8>,
        times: Counter,
    }

    fn shape<S: Crdt>() -> Schema {
        let mut schema = Schema::default();
        S::describe(&mut schema);
        schema
    }

    #[test]
    fn each_place_is_described_once_a_struct_within_itself_too() {
        assert_eq!(
            shape::<MergeMap<u64, Task>>().places(),
            [
                "[].title register",
                "[].done flag",
                "[].below[] itself, 1 up",
                "[].notes[] values",
                "[].more document",
                "[].tags set",
                "[].times counter",
            ]
        );
        assert_eq!(shape::<Counter>().places(), [". counter"]);
    }

    #[test]
    fn two_shapes_differ_where_their_types_do() {
        let (ours, theirs) = (shape::<MergeMap<u8, Flag>>(), shape::<MergeMap<u8, Counter>>());
        assert_ne!(ours.hash(), theirs.hash());
        let expected = ("[] flag".to_owned(), "[] counter".to_owned());
        assert_eq!(difference(ours.places(), theirs.places()), Some(expected));
        assert_eq!(difference(ours.places(), ours.places()), None);
        assert_eq!(shape::<MergeMap<u64, Flag>>().hash(), ours.hash());
    }
}
