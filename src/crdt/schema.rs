//! The shape of a state: which mergeable type stands where.

use std::any::TypeId;

use xxhash_rust::xxh3::xxh3_64;

use crate::wire::shape::Shape;

/// So many places are described, and no more.
const MOST: usize = 4096;

/// What stands before the fields of a struct that keeps those that it does not know.
const OPEN: &str = ".*";

/// The step to the values of a map.
const WITHIN: &str = "[]";

/// The name of a field, and what describes it.
type Described = (&'static str, fn(&mut Schema));

/// The shape of a state, place by place. Two replicas that exchange data must have the same, but for [appended](Comparison)
/// fields; the types of keys and of plain values are not part of it: what a register holds may be of another type for each.
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
        self.below(WITHIN, describe);
    }

    /// The fields of a struct, which is open or not.
    pub fn fields<S: 'static>(&mut self, is_open: bool, fields: &[Described]) {
        let of = TypeId::of::<S>();
        if let Some(place) = self.around.iter().rev().position(|around| *around == of) {
            return self.leaf(&format!("itself, {} up", place.saturating_add(1)));
        }
        self.around.push(of);
        if is_open {
            self.below(OPEN, |schema| schema.leaf("open"));
        }
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
        hash_of(&self.places)
    }
}

/// A hash of a shape.
pub(crate) fn hash_of(places: &[String]) -> u64 {
    xxh3_64(places.join("\n").as_bytes())
}

/// What two shapes come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// The first place at which data of the two cannot be exchanged: what stands there on each side. A struct may have more
    /// fields on one side, after those that both have: nothing is said of them to who does not know them, until they are written.
    pub(crate) conflict: Option<(String, String)>,
    /// Fields of open structs that are something else on each side: each keeps what it cannot read.
    pub(crate) apart: Vec<(String, String)>,
}

/// Compares two shapes, place by place.
pub(crate) fn compare(ours: &[String], theirs: &[String]) -> Comparison {
    let mut comparison = Comparison::default();
    comparison.conflict = comparison.below(ours, theirs, 0);
    comparison
}

impl Comparison {
    /// The first conflict below a path of `above` bytes, with which all these places begin.
    fn below<'a>(
        &mut self,
        mut ours: &'a [String],
        mut theirs: &'a [String],
        above: usize,
    ) -> Option<(String, String)> {
        let is_open =
            |places: &[String]| places.first().is_some_and(|place| step_of(place, above) == Some(OPEN));
        let are_open = is_open(ours) && is_open(theirs);
        while let (Some(one), Some(other)) = (ours.first(), theirs.first()) {
            let conflict = || Some((one.clone(), other.clone()));
            let (step, their_step) = (step_of(one, above), step_of(other, above));
            if !are_open && step != their_step || step.is_none() && one != other {
                return conflict();
            }
            let (Some(step), Some(their_step)) = (step, their_step) else {
                return if step == their_step { None } else { conflict() };
            };
            let [(ours_below, ours_after), (theirs_below, theirs_after)] =
                [(ours, step), (theirs, their_step)].map(|(places, step)| {
                    let are_below = |place: &&String| step_of(place, above) == Some(step);
                    places.split_at(places.iter().take_while(are_below).count())
                });
            let below = above.saturating_add(step.len());
            if are_open && step != OPEN {
                let their_below = above.saturating_add(their_step.len());
                match (shape_of(one, below), shape_of(other, their_below)) {
                    (Some(shape), Some(theirs)) if shape == theirs && step == their_step => {
                        // All below is open, too: there is more to be told, and no conflict.
                        let _ = self.below(ours_below, theirs_below, below);
                    }
                    (Some(_), Some(_)) => self.apart.push((one.clone(), other.clone())),
                    _ => return conflict(),
                }
            } else if let Some(conflict) = self.below(ours_below, theirs_below, below) {
                return Some(conflict);
            }
            (ours, theirs) = (ours_after, theirs_after);
        }
        None
    }
}

/// The shape of the field that a place is in, or is. `None` if it has none that others could merge it by.
fn shape_of(place: &str, above: usize) -> Option<Shape> {
    let mut rest = place.get(above..)?;
    let mut maps = 0_usize;
    while let Some(values) = rest.strip_prefix(WITHIN) {
        (rest, maps) = (values, maps.saturating_add(1));
    }
    let leaf = match rest.strip_prefix(' ') {
        None if rest.starts_with('.') => Shape::OPEN,
        None => return None,
        Some("register") => Shape::REGISTER,
        Some("values") => Shape::VALUES,
        Some("flag") => Shape::FLAG,
        Some("counter") => Shape::COUNTER,
        Some("set") => Shape::SET,
        Some("document") => Shape::DOCUMENT,
        Some(other) if other.starts_with("itself") => Shape::OPEN,
        Some(_) => return None,
    };
    let shape = (0..maps.min(usize::from(u8::MAX))).fold(leaf, |shape, _| shape.map());
    shape.leaf().map(|_| shape)
}

/// The step of a place's path after its first `above` bytes, a field or the values of a map. `None` if the path ends there.
fn step_of(place: &str, above: usize) -> Option<&str> {
    let rest = place.get(above..)?.split(' ').next()?;
    let end = rest.char_indices().skip(1).find(|(_, char)| matches!(char, '.' | '['));
    rest.get(..end.map_or(rest.len(), |(end, _)| end)).filter(|step| !step.is_empty())
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
    use crate::crdt::unknown::UnknownFields;

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

    fn conflict_of<A: Crdt, B: Crdt>() -> Option<[String; 2]> {
        compare(shape::<A>().places(), shape::<B>().places()).conflict.map(|(ours, theirs)| [ours, theirs])
    }

    #[derive(driftless::Crdt)]
    struct Renamed {
        title: LwwRegister<String>,
        finished: Flag,
    }

    #[derive(driftless::Crdt)]
    struct Retyped {
        title: LwwRegister<String>,
        done: Counter,
    }

    #[derive(driftless::Crdt)]
    struct First {
        title: LwwRegister<String>,
    }

    #[derive(driftless::Crdt)]
    struct Nested {
        first: First,
        times: Counter,
    }

    #[derive(driftless::Crdt)]
    struct Grown {
        first: Renamed,
        times: Counter,
        seen: Flag,
    }

    #[derive(driftless::Crdt)]
    struct Turned {
        times: Counter,
        first: First,
    }

    #[test]
    fn two_shapes_are_in_conflict_where_their_types_are() {
        let (ours, theirs) = (shape::<MergeMap<u8, Flag>>(), shape::<MergeMap<u8, Counter>>());
        assert_ne!(ours.hash(), theirs.hash());
        let places = |ours: &str, theirs: &str| Some([ours.to_owned(), theirs.to_owned()]);
        assert_eq!(
            conflict_of::<MergeMap<u8, Flag>, MergeMap<u8, Counter>>(),
            places("[] flag", "[] counter")
        );
        assert_eq!(conflict_of::<Flag, Counter>(), places(". flag", ". counter"));
        assert_eq!(conflict_of::<Flag, First>(), places(". flag", ".title register"));
        assert_eq!(conflict_of::<Flag, MergeMap<u8, Flag>>(), places(". flag", "[] flag"));
        assert_eq!(conflict_of::<Renamed, Task>(), places(".finished flag", ".done flag"));
        assert_eq!(conflict_of::<Retyped, Task>(), places(".done counter", ".done flag"));
        assert_eq!(conflict_of::<Turned, Nested>(), places(".times counter", ".first.title register"));
        assert_eq!(
            conflict_of::<MergeMap<u8, Nested>, MergeMap<u8, Turned>>(),
            places("[].first.title register", "[].times counter")
        );
        assert_eq!(shape::<MergeMap<u64, Flag>>().hash(), ours.hash());
    }

    #[test]
    fn fields_may_be_appended_at_any_depth() {
        assert_eq!(conflict_of::<Task, Task>(), None);
        assert_eq!(conflict_of::<First, Task>(), None);
        assert_eq!(conflict_of::<Task, First>(), None);
        assert_eq!(conflict_of::<MergeMap<u8, Nested>, MergeMap<u8, Grown>>(), None);
        assert_eq!(conflict_of::<MergeMap<u8, Grown>, MergeMap<u8, Nested>>(), None);
    }

    #[derive(driftless::Crdt)]
    struct OpenFirst {
        title: LwwRegister<String>,
        rest: UnknownFields,
    }

    #[derive(driftless::Crdt)]
    struct OpenTask {
        title: LwwRegister<String>,
        done: Flag,
        notes: MergeMap<u8, MvRegister<String>>,
        below: MergeMap<u8, MergeMap<u8, OpenFirst>>,
        first: OpenFirst,
        rest: UnknownFields,
    }

    #[derive(driftless::Crdt)]
    struct OpenOther {
        rest: UnknownFields,
        title: LwwRegister<String>,
        done: MergeMap<u8, OpenTask>,
        notes: MergeMap<u8, LwwRegister<String>>,
        below: MergeMap<u8, OpenFirst>,
        first: MergeMap<u8, OpenOther>,
        more: Document,
    }

    #[derive(driftless::Crdt)]
    struct OpenRenamed {
        title: LwwRegister<String>,
        finished: Flag,
        rest: UnknownFields,
    }

    #[derive(driftless::Crdt)]
    struct OpenNested {
        title: LwwRegister<String>,
        done: Flag,
        notes: MergeMap<u8, MvRegister<String>>,
        below: MergeMap<u8, MergeMap<u8, OpenNested>>,
        first: OpenRenamed,
        rest: UnknownFields,
    }

    #[test]
    fn fields_of_open_structs_may_be_anything_else() {
        assert_eq!(
            shape::<MergeMap<u8, OpenRenamed>>().places(),
            ["[].* open", "[].title register", "[].finished flag"]
        );
        fn apart<A: Crdt, B: Crdt>(expected: &[(&str, &str)]) {
            let expected = expected.iter().map(|(ours, theirs)| (ours.to_string(), theirs.to_string()));
            let expected = Comparison { conflict: None, apart: expected.collect() };
            assert_eq!(compare(shape::<A>().places(), shape::<B>().places()), expected);
        }
        apart::<OpenTask, OpenOther>(&[
            (".done flag", ".done[].* open"),
            (".notes[] values", ".notes[] register"),
            (".below[][].* open", ".below[].* open"),
            (".first.* open", ".first[] itself, 1 up"),
        ]);
        // A name says what a field means, so another name is another thing.
        apart::<MergeMap<u8, OpenTask>, MergeMap<u8, OpenRenamed>>(&[("[].done flag", "[].finished flag")]);
        apart::<OpenTask, OpenFirst>(&[]);
        // What differs deeper within is named there; where a struct is told by another above it, nothing is compared.
        apart::<OpenNested, OpenTask>(&[]);
        apart::<OpenNested, OpenOther>(&[
            (".done flag", ".done[].* open"),
            (".notes[] values", ".notes[] register"),
            (".below[][] itself, 1 up", ".below[].* open"),
            (".first.* open", ".first[] itself, 1 up"),
        ]);
        // Whether a struct is open all must agree on.
        assert_eq!(
            conflict_of::<First, OpenTask>(),
            Some([".title register".to_owned(), ".* open".to_owned()])
        );
    }

    #[test]
    fn shapes_that_nobody_can_tell_apart_are_in_conflict() {
        let places = |field: &str| [".* open".to_owned(), format!(".a{field}")];
        for field in ["[][][][][][][][] flag", " tree", "", " ", "[", "[]", "[] ", "[]flag"] {
            let (ours, theirs) = (places(" flag"), places(field));
            let found = compare(&ours, &theirs);
            assert!(found.conflict.is_some() && found.apart.is_empty(), "{field:?}: {found:?}");
        }
        let found = compare(&places(" flag"), &places("[][][][][][][] flag"));
        assert!(found.conflict.is_none() && found.apart.len() == 1);
    }

    #[test]
    fn places_that_no_state_has_are_compared_all_the_same() {
        let ours = shape::<MergeMap<u64, Task>>();
        for theirs in
            ["", " ", ".", "[", "[]", "[].", "[].title", "[].title ", "[].ti\u{e4} register", "\u{e4}"]
        {
            let theirs = [theirs.to_owned()];
            let first = Some((ours.places()[0].clone(), theirs[0].clone()));
            assert_eq!(compare(ours.places(), &theirs).conflict, first, "{theirs:?}");
        }
        assert_eq!(compare(ours.places(), &[]), Comparison::default());
    }
}
