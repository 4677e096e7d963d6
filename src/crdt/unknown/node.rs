//! State of which only the [shape](Shape) is known: enough to merge it.

use crate::causal::dot::Marks;
use crate::causal::frontier::Frontier;
use crate::crdt::Crdt;
use crate::crdt::change::Path;
use crate::crdt::counter::Counter;
use crate::crdt::document::Document;
use crate::crdt::flag::Flag;
use crate::crdt::map::MergeMap;
use crate::crdt::merging::Merging;
use crate::crdt::prints::{Prints, Wanted};
use crate::crdt::pruning::Pruning;
use crate::crdt::register::MvRegister;
use crate::crdt::renaming::{Renamer, Step};
use crate::crdt::repairing::Repairing;
use crate::crdt::schema::Schema;
use crate::crdt::set::OrSet;
use crate::crdt::shipping::{Since, Splitter};
use crate::crdt::undo::Before;
use crate::crdt::unknown::UnknownFields;
use crate::crdt::unknown::raw::Raw;
use crate::crdt::unreadable::Unreadable;
use crate::crdt::write::{Sinking, Writer};
use crate::wire::canonical::Canonical;
use crate::wire::decode::Decoder;
use crate::wire::encode::Encoder;
use crate::wire::error::DecodeError;
use crate::wire::events::Events;
use crate::wire::shape::{Leaf, Shape};

macro_rules! nodes {
    ($($kind:ident $type:ty;)+) => {
        /// State that merges as its writers' type does. All that is joined in one place is of one kind: places are told apart by
        /// their shapes.
        #[derive(Debug, Default)]
        pub(crate) enum Node {
            /// Nothing was ever here, so nothing says of which kind it is.
            #[default]
            Nothing,
            $($kind($type),)+
        }

        impl Node {
            /// Makes both of one kind, if one of them is of none. Returns whether there is anything of either.
            fn agree(&mut self, other: &mut Self) -> bool {
                match (&*self, &*other) {
                    (Self::Nothing, Self::Nothing) => return false,
                    $((Self::Nothing, Self::$kind(_)) => *self = Self::$kind(<$type>::bottom()),)+
                    $((Self::$kind(_), Self::Nothing) => *other = Self::$kind(<$type>::bottom()),)+
                    _ => {}
                }
                true
            }

            /// Writes a column of one kind.
            fn encode_column(column: &[&Self], encoder: &mut Encoder) {
                match column.first() {
                    None | Some(Self::Nothing) => {}
                    $(Some(Self::$kind(_)) => {
                        let of_kind = column.iter().filter_map(|node| match node {
                            Self::$kind(state) => Some(state),
                            _ => None,
                        });
                        <$type>::encode(&of_kind.collect::<Vec<_>>(), encoder);
                    })+
                }
            }
        }

        impl Crdt for Node {
            type Mut<'a> = Writer<'a, Self>;

            const SHAPE: Shape = Shape::CLOSED;

            fn describe(schema: &mut Schema) {
                schema.leaf("node");
            }

            fn row_count(&self) -> usize {
                match self {
                    Self::Nothing => 0,
                    $(Self::$kind(state) => state.row_count(),)+
                }
            }

            fn bottom() -> Self {
                Self::Nothing
            }

            fn fork(&self) -> Self {
                match self {
                    Self::Nothing => Self::Nothing,
                    $(Self::$kind(state) => Self::$kind(state.fork()),)+
                }
            }

            fn handle(writer: Writer<'_, Self>) -> Self::Mut<'_> {
                writer
            }

            fn is_live(&self) -> bool {
                match self {
                    Self::Nothing => false,
                    $(Self::$kind(state) => state.is_live(),)+
                }
            }

            fn is_bottom(&self) -> bool {
                match self {
                    Self::Nothing => true,
                    $(Self::$kind(state) => state.is_bottom(),)+
                }
            }

            fn join(&mut self, theirs: &mut Self, merging: &mut Merging<'_>, path: &Path<'_>) {
                if !self.agree(theirs) {
                    return;
                }
                match (self, theirs) {
                    $((Self::$kind(ours), Self::$kind(theirs)) => ours.join(theirs, merging, path),)+
                    (ours, theirs) => unreachable!("{ours:?} joined with {theirs:?}"),
                }
            }

            fn sink(&mut self, sinking: &mut Sinking<'_>, path: &Path<'_>) {
                match self {
                    Self::Nothing => {}
                    $(Self::$kind(state) => state.sink(sinking, path),)+
                }
            }

            fn raise_marks(&self, marks: &mut Marks) {
                match self {
                    Self::Nothing => {}
                    $(Self::$kind(state) => state.raise_marks(marks),)+
                }
            }

            fn since(&self, since: &Since) -> Option<Self> {
                match self {
                    Self::Nothing => None,
                    $(Self::$kind(state) => state.since(since).map(Self::$kind),)+
                }
            }

            fn shows(&self, seen: &Frontier) -> bool {
                match self {
                    Self::Nothing => false,
                    $(Self::$kind(state) => state.shows(seen),)+
                }
            }

            fn prune(&mut self, pruning: &mut Pruning<'_>) -> bool {
                match self {
                    Self::Nothing => false,
                    $(Self::$kind(state) => state.prune(pruning),)+
                }
            }

            fn rename(&mut self, renamer: &mut Renamer<'_>, path: &Path<'_>) {
                match self {
                    Self::Nothing => {}
                    $(Self::$kind(state) => state.rename(renamer, path),)+
                }
            }

            fn lay(&mut self, way: &[Step], seed: u64) {
                match self {
                    Self::Nothing => {}
                    $(Self::$kind(state) => state.lay(way, seed),)+
                }
            }

            fn undo(&mut self, steps: &[u32], before: &mut Before) {
                match self {
                    Self::Nothing => unreachable!("nothing is written where nothing is"),
                    $(Self::$kind(state) => state.undo(steps, before),)+
                }
            }

            fn note_events(&self, events: &mut Events) {
                match self {
                    Self::Nothing => {}
                    $(Self::$kind(state) => state.note_events(events),)+
                }
            }

            fn encode(column: &[&Self], encoder: &mut Encoder) {
                Self::encode_column(column, encoder);
            }

            /// Reads nodes of the shape that the decoder was [told](Decoder::set_nodes).
            fn decode(
                count: usize,
                _: Option<&Self>,
                decoder: &mut Decoder<'_>,
            ) -> Result<Vec<Self>, DecodeError> {
                if count == 0 {
                    return Ok(Vec::new());
                }
                Self::decode_shape(decoder.nodes(), count, decoder)
            }

            fn canonical(&self, canonical: &mut Canonical<'_>) {
                match self {
                    Self::Nothing => {}
                    $(Self::$kind(state) => state.canonical(canonical),)+
                }
            }

            fn prints(&self, prints: &mut Prints<'_>, path: &Path<'_>) {
                match self {
                    Self::Nothing => {}
                    $(Self::$kind(state) => state.prints(prints, path),)+
                }
            }

            fn wanted(&self, wanted: &mut Wanted<'_>, path: &Path<'_>) -> Option<Self> {
                match self {
                    Self::Nothing => None,
                    $(Self::$kind(state) => state.wanted(wanted, path).map(Self::$kind),)+
                }
            }

            fn repair(&mut self, theirs: &mut Self, repairing: &mut Repairing<'_>, path: &Path<'_>) {
                if !self.agree(theirs) {
                    return;
                }
                match (self, theirs) {
                    $((Self::$kind(ours), Self::$kind(theirs)) => ours.repair(theirs, repairing, path),)+
                    (ours, theirs) => unreachable!("{ours:?} repaired by {theirs:?}"),
                }
            }

            /// All of it cannot be read: whoever holds it says so once.
            fn find_unreadable(&self, _: &mut Unreadable, _: &Path<'_>) {}

            fn split(&mut self, splitter: &mut Splitter) -> Self {
                match self {
                    Self::Nothing => Self::Nothing,
                    $(Self::$kind(state) => Self::$kind(state.split(splitter)),)+
                }
            }

            fn append(&mut self, mut next: Self) {
                if !self.agree(&mut next) {
                    return;
                }
                match (self, next) {
                    $((Self::$kind(ours), Self::$kind(next)) => ours.append(next),)+
                    (ours, next) => unreachable!("{ours:?} followed by {next:?}"),
                }
            }
        }
    };
}

nodes! {
    Register MvRegister<Raw>;
    Flag Flag;
    Counter Counter;
    Set OrSet<Raw>;
    Map MergeMap<Raw, Node>;
    Document Document;
    Struct UnknownFields;
}

impl Node {
    /// Reads a column of nodes of a shape.
    pub(super) fn decode_shape(
        shape: Shape,
        count: usize,
        decoder: &mut Decoder<'_>,
    ) -> Result<Vec<Self>, DecodeError> {
        fn column<T: Crdt>(
            count: usize,
            decoder: &mut Decoder<'_>,
            node: impl Fn(T) -> Node,
        ) -> Result<Vec<Node>, DecodeError> {
            Ok(T::decode(count, None, decoder)?.into_iter().map(node).collect())
        }
        if let Some(within) = shape.within() {
            let outer = decoder.set_nodes(within);
            let maps = column(count, decoder, Self::Map);
            decoder.set_nodes(outer);
            return maps;
        }
        match shape.leaf() {
            // They merge alike, and differ in what they show.
            Some(Leaf::Register | Leaf::Values) => column(count, decoder, Self::Register),
            Some(Leaf::Flag) => column(count, decoder, Self::Flag),
            Some(Leaf::Counter) => column(count, decoder, Self::Counter),
            Some(Leaf::Set) => column(count, decoder, Self::Set),
            Some(Leaf::Document) => column(count, decoder, Self::Document),
            Some(Leaf::Struct) => column(count, decoder, Self::Struct),
            None => Err(DecodeError::Expected { what: "what a field is", at: decoder.at() }),
        }
    }
}
