//! What stands at one name of a document.

use crate::causal::dot::Marks;
use crate::causal::frontier::Frontier;
use crate::crdt::Crdt;
use crate::crdt::change::Path;
use crate::crdt::counter::Counter;
use crate::crdt::document::{DocumentError, Kind};
use crate::crdt::flag::Flag;
use crate::crdt::map::MergeMap;
use crate::crdt::merging::Merging;
use crate::crdt::pruning::Pruning;
use crate::crdt::register::{LwwRegister, MvRegister};
use crate::crdt::renaming::{Renamer, Step};
use crate::crdt::repairing::Repairing;
use crate::crdt::schema::Schema;
use crate::crdt::set::OrSet;
use crate::crdt::shipping::{Since, Splitter};
use crate::crdt::undo::Before;
use crate::crdt::unreadable::Unreadable;
use crate::crdt::value::Value;
use crate::crdt::write::{Sinking, Writer};
use crate::wire::canonical::Canonical;
use crate::wire::decode::Decoder;
use crate::wire::encode::Encoder;
use crate::wire::error::DecodeError;
use crate::wire::events::Events;
use crate::wire::shape::Shape;

/// What stands at a name: at most one node of each kind, ordered by kind. Nearly always one.
///
/// Nodes of different kinds do not know of each other, so writing different kinds concurrently merges like writing
/// different fields does.
#[derive(Debug, Default)]
pub(super) struct Field {
    nodes: Vec<Node>,
}

macro_rules! nodes {
    ($($kind:ident $read:ident $type:ty;)+) => {
        /// State of one kind.
        #[derive(Debug)]
        enum Node {
            $($kind($type),)+
        }

        impl Node {
            fn bottom(kind: Kind) -> Self {
                match kind {
                    $(Kind::$kind => Self::$kind(<$type>::bottom()),)+
                }
            }

            fn kind(&self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind,)+
                }
            }

            fn fork(&self) -> Self {
                match self {
                    $(Self::$kind(state) => Self::$kind(state.fork()),)+
                }
            }

            fn is_live(&self) -> bool {
                match self {
                    $(Self::$kind(state) => state.is_live(),)+
                }
            }

            fn is_bottom(&self) -> bool {
                match self {
                    $(Self::$kind(state) => state.is_bottom(),)+
                }
            }

            fn join(&mut self, theirs: &mut Self, merging: &mut Merging<'_>, path: &Path<'_>) {
                match (self, theirs) {
                    $((Self::$kind(ours), Self::$kind(theirs)) => ours.join(theirs, merging, path),)+
                    (ours, theirs) => unreachable!("{} joined with {}", ours.kind(), theirs.kind()),
                }
            }

            fn repair(&mut self, theirs: &mut Self, repairing: &mut Repairing<'_>, path: &Path<'_>) {
                match (self, theirs) {
                    $((Self::$kind(ours), Self::$kind(theirs)) => ours.repair(theirs, repairing, path),)+
                    (ours, theirs) => unreachable!("{} repaired by {}", ours.kind(), theirs.kind()),
                }
            }

            fn find_unreadable(&self, found: &mut Unreadable, path: &Path<'_>) {
                match self {
                    $(Self::$kind(state) => state.find_unreadable(found, path),)+
                }
            }

            fn append(&mut self, next: Self) {
                match (self, next) {
                    $((Self::$kind(ours), Self::$kind(next)) => ours.append(next),)+
                    (ours, next) => unreachable!("{} followed by {}", ours.kind(), next.kind()),
                }
            }

            fn sink(&mut self, sinking: &mut Sinking<'_>, path: &Path<'_>) {
                match self {
                    $(Self::$kind(state) => state.sink(sinking, path),)+
                }
            }

            fn raise_marks(&self, marks: &mut Marks) {
                match self {
                    $(Self::$kind(state) => state.raise_marks(marks),)+
                }
            }

            fn since(&self, since: &Since) -> Option<Self> {
                match self {
                    $(Self::$kind(state) => state.since(since).map(Self::$kind),)+
                }
            }

            fn shows(&self, seen: &Frontier) -> bool {
                match self {
                    $(Self::$kind(state) => state.shows(seen),)+
                }
            }

            fn prune(&mut self, pruning: &mut Pruning<'_>) -> bool {
                match self {
                    $(Self::$kind(state) => state.prune(pruning),)+
                }
            }

            fn rename(&mut self, renamer: &mut Renamer<'_>, path: &Path<'_>) {
                match self {
                    $(Self::$kind(state) => state.rename(renamer, path),)+
                }
            }

            fn lay(&mut self, way: &[Step], seed: u64) {
                match self {
                    $(Self::$kind(state) => state.lay(way, seed),)+
                }
            }

            fn undo(&mut self, steps: &[u32], before: &mut Before) {
                match self {
                    $(Self::$kind(state) => state.undo(steps, before),)+
                }
            }

            fn note_events(&self, events: &mut Events) {
                match self {
                    $(Self::$kind(state) => state.note_events(events),)+
                }
            }

            /// Writes the nodes of each kind as a column.
            fn encode_all(fields: &[&Field], encoder: &mut Encoder) {
                $(let mut $read: Vec<&$type> = Vec::new();)+
                for node in fields.iter().flat_map(|field| &field.nodes).filter(|node| !node.is_bottom()) {
                    match node {
                        $(Self::$kind(state) => $read.push(state),)+
                    }
                }
                $(
                    if !$read.is_empty() {
                        <$type>::encode(&$read, encoder);
                    }
                )+
            }

            /// Reads the nodes of each kind, of fields whose kinds the bitmaps say.
            fn decode_all(
                bitmaps: &[u64],
                fields: &mut [Field],
                decoder: &mut Decoder<'_>,
            ) -> Result<(), DecodeError> {
                $(
                    let has_it = |bitmap: &u64| bitmap >> Kind::$kind.number() & 1 == 1;
                    let count = bitmaps.iter().filter(|bitmap| has_it(bitmap)).count();
                    if count > 0 {
                        let column = <$type>::decode(count, None, decoder)?;
                        let with_it = fields.iter_mut().zip(bitmaps).filter(|(_, bitmap)| has_it(bitmap));
                        for ((field, _), state) in with_it.zip(column) {
                            field.nodes.push(Self::$kind(state));
                        }
                    }
                )+
                Ok(())
            }

            fn canonical(&self, canonical: &mut Canonical<'_>) {
                match self {
                    $(Self::$kind(state) => state.canonical(canonical),)+
                }
            }

            fn split(&mut self, splitter: &mut Splitter) -> Self {
                match self {
                    $(Self::$kind(state) => Self::$kind(state.split(splitter)),)+
                }
            }
        }

        impl Field {
            $(pub(super) fn $read(&self) -> Option<&$type> {
                self.nodes.iter().find_map(|node| match node {
                    Node::$kind(state) if state.is_live() => Some(state),
                    _ => None,
                })
            })+
        }

        impl Writer<'_, Field> {
            $(pub(super) fn $read(&mut self) -> Result<Writer<'_, $type>, DocumentError> {
                let Self { value: field, txn, path } = self;
                match field.open(Kind::$kind)? {
                    Node::$kind(state) => {
                        Ok(Writer { value: state, txn, path: Path::unnamed(path, Kind::$kind.number()) })
                    }
                    other => unreachable!("a {} was opened", other.kind()),
                }
            })+
        }
    };
}

nodes! {
    Register register LwwRegister<Value>;
    Values values MvRegister<Value>;
    Set set OrSet<Value>;
    Counter counter Counter;
    Flag flag Flag;
    Map map MergeMap<String, Field>;
}

impl Kind {
    const ALL: [Self; 6] = [Self::Register, Self::Values, Self::Set, Self::Counter, Self::Flag, Self::Map];

    /// The number of the kind on the wire.
    fn number(self) -> u32 {
        self as u32
    }

    fn of_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| u64::from(kind.number()) == number)
    }
}

impl Field {
    pub(super) fn kinds(&self) -> Vec<Kind> {
        self.nodes.iter().filter(|node| node.is_live()).map(Node::kind).collect()
    }

    /// The node of a kind, to be written; an error if what is live is of other kinds only.
    fn open(&mut self, kind: Kind) -> Result<&mut Node, DocumentError> {
        let mut live = self.nodes.iter().filter(|node| node.is_live()).map(Node::kind);
        if let Some(found) = live.next().filter(|first| *first != kind)
            && !live.any(|other| other == kind)
        {
            return Err(DocumentError::WrongKind { asked: kind, found });
        }
        Ok(self.node(kind))
    }

    /// The node of a kind; added if there is none.
    fn node(&mut self, kind: Kind) -> &mut Node {
        let place = match self.nodes.binary_search_by_key(&kind, Node::kind) {
            Ok(place) => place,
            Err(place) => {
                // One node is nearly always all there will be.
                self.nodes.reserve_exact(1);
                self.nodes.insert(place, Node::bottom(kind));
                place
            }
        };
        &mut self.nodes[place]
    }

    fn to_value(&self) -> Option<Value> {
        self.nodes.iter().filter(|node| node.is_live()).find_map(Node::to_value)
    }
}

impl Node {
    /// What is live, as far as it can be read.
    fn to_value(&self) -> Option<Value> {
        Some(match self {
            Node::Register(register) => register.latest()?.clone(),
            Node::Values(values) if values.all().len() == 0 => return None,
            Node::Values(values) => Value::List(values.distinct().into_iter().cloned().collect()),
            Node::Set(set) => {
                let mut elements: Vec<_> = set.iter().cloned().collect();
                elements.sort_unstable();
                Value::List(elements)
            }
            Node::Counter(counter) => Value::Int(counter.value()),
            Node::Flag(flag) => Value::Bool(flag.is_enabled()),
            Node::Map(map) => map_to_value(map),
        })
    }
}

pub(super) fn map_to_value(map: &MergeMap<String, Field>) -> Value {
    let entries = map.iter().filter_map(|(name, field)| Some((name.clone(), field.to_value()?)));
    Value::Map(entries.collect())
}

/// Writes in the map that a path of names leads to, from `map`.
pub(super) fn within<P: AsRef<str>, R>(
    map: &mut Writer<'_, MergeMap<String, Field>>,
    path: &[P],
    write: impl FnOnce(&mut Writer<'_, MergeMap<String, Field>>) -> Result<R, DocumentError>,
) -> Result<R, DocumentError> {
    match path.split_first() {
        None => write(map),
        Some((name, rest)) => map.update(name.as_ref(), |field| within(&mut field.map()?, rest, write)),
    }
}

impl Crdt for Field {
    type Mut<'a> = Writer<'a, Self>;

    const SHAPE: Shape = Shape::CLOSED;

    fn describe(schema: &mut Schema) {
        schema.leaf("field");
    }

    fn bottom() -> Self {
        Self::default()
    }

    fn fork(&self) -> Self {
        Self { nodes: self.nodes.iter().map(Node::fork).collect() }
    }

    fn handle(writer: Writer<'_, Self>) -> Self::Mut<'_> {
        writer
    }

    fn is_live(&self) -> bool {
        self.nodes.iter().any(Node::is_live)
    }

    fn is_bottom(&self) -> bool {
        self.nodes.iter().all(Node::is_bottom)
    }

    fn join(&mut self, theirs: &mut Self, merging: &mut Merging<'_>, path: &Path<'_>) {
        let absent = self.nodes.iter().map(Node::kind);
        let absent = absent.filter(|kind| theirs.nodes.iter().all(|node| node.kind() != *kind));
        let absent: Vec<Kind> = absent.filter(|_| merging.absence_speaks()).collect();
        for node in &mut theirs.nodes {
            let kind = node.kind();
            self.node(kind).join(node, merging, &Path::unnamed(path, kind.number()));
        }
        for kind in absent {
            self.node(kind).join(&mut Node::bottom(kind), merging, &Path::unnamed(path, kind.number()));
        }
    }

    fn sink(&mut self, sinking: &mut Sinking<'_>, path: &Path<'_>) {
        for node in &mut self.nodes {
            let path = Path::unnamed(path, node.kind().number());
            node.sink(sinking, &path);
        }
    }

    fn raise_marks(&self, marks: &mut Marks) {
        self.nodes.iter().for_each(|node| node.raise_marks(marks));
    }

    fn since(&self, since: &Since) -> Option<Self> {
        let nodes: Vec<_> = self.nodes.iter().filter_map(|node| node.since(since)).collect();
        (!nodes.is_empty()).then_some(Self { nodes })
    }

    fn shows(&self, seen: &Frontier) -> bool {
        self.nodes.iter().any(|node| node.shows(seen))
    }

    fn prune(&mut self, pruning: &mut Pruning<'_>) -> bool {
        let mut has_residue = false;
        self.nodes.retain_mut(|node| {
            has_residue |= node.prune(pruning);
            !node.is_bottom()
        });
        has_residue
    }

    fn rename(&mut self, renamer: &mut Renamer<'_>, path: &Path<'_>) {
        // The node of a counter that was removed since the fork point may have been forgotten, its count then may not.
        let counter = Path::unnamed(path, Kind::Counter.number());
        if renamer.count(counter.place(renamer.hasher)).is_some() {
            self.node(Kind::Counter);
        }
        for node in &mut self.nodes {
            let path = Path::unnamed(path, node.kind().number());
            node.rename(renamer, &path);
        }
    }

    fn lay(&mut self, way: &[Step], seed: u64) {
        let Some((kind, rest)) = way.split_first() else {
            return;
        };
        if let Some(kind) = Kind::ALL.into_iter().find(|of| kind.is_field(of.number())) {
            self.node(kind).lay(rest, seed);
        }
    }

    fn undo(&mut self, steps: &[u32], before: &mut Before) {
        let (kind, rest) = steps.split_first().expect("what is undone in a field has a kind");
        let kind = Kind::of_number(u64::from(*kind)).expect("the kind was written by this field");
        self.node(kind).undo(rest, before);
    }

    fn note_events(&self, events: &mut Events) {
        self.nodes.iter().for_each(|node| node.note_events(events));
    }

    fn encode(column: &[&Self], encoder: &mut Encoder) {
        let kinds = |field: &Self| {
            let nodes = field.nodes.iter().filter(|node| !node.is_bottom());
            nodes.fold(0, |bitmap, node| bitmap | 1 << node.kind().number())
        };
        let bitmaps: Vec<u64> = column.iter().map(|field| kinds(field)).collect();
        encoder.ints(&bitmaps);
        Node::encode_all(column, encoder);
    }

    fn decode(count: usize, _: Option<&Self>, decoder: &mut Decoder<'_>) -> Result<Vec<Self>, DecodeError> {
        let at = decoder.at();
        let bitmaps = decoder.ints(count)?;
        let unknown = bitmaps.iter().map(|bitmap| bitmap >> Kind::ALL.len()).find(|unknown| *unknown > 0);
        if let Some(unknown) = unknown {
            let field = Kind::ALL.len() as u64 + u64::from(unknown.trailing_zeros());
            return Err(DecodeError::UnknownField { field, at });
        }
        let nodes = decoder.sum(bitmaps.iter().map(|bitmap| u64::from(bitmap.count_ones())))?;
        decoder.room::<Node>(nodes)?;
        let with_room = |bitmap: &u64| Self { nodes: Vec::with_capacity(bitmap.count_ones() as usize) };
        let mut column: Vec<_> = bitmaps.iter().map(with_room).collect();
        Node::decode_all(&bitmaps, &mut column, decoder)?;
        Ok(column)
    }

    fn canonical(&self, canonical: &mut Canonical<'_>) {
        let live = self.nodes.iter().filter(|node| node.is_live());
        canonical.uint(live.clone().count() as u64);
        for node in live {
            canonical.uint(u64::from(node.kind().number()));
            node.canonical(canonical);
        }
    }

    fn repair(&mut self, theirs: &mut Self, repairing: &mut Repairing<'_>, path: &Path<'_>) {
        for node in &mut self.nodes {
            let kind = node.kind();
            if repairing.absence_speaks() && theirs.nodes.iter().all(|other| other.kind() != kind) {
                node.repair(&mut Node::bottom(kind), repairing, &Path::unnamed(path, kind.number()));
            }
        }
        for node in &mut theirs.nodes {
            let kind = node.kind();
            self.node(kind).repair(node, repairing, &Path::unnamed(path, kind.number()));
        }
    }

    fn find_unreadable(&self, found: &mut Unreadable, path: &Path<'_>) {
        for node in &self.nodes {
            node.find_unreadable(found, &Path::unnamed(path, node.kind().number()));
        }
    }

    fn split(&mut self, splitter: &mut Splitter) -> Self {
        let mut taken = Self::default();
        for node in &mut self.nodes {
            if !splitter.is_full() && !node.is_bottom() {
                taken.nodes.push(node.split(splitter));
            }
        }
        taken
    }

    fn append(&mut self, next: Self) {
        for node in next.nodes {
            self.node(node.kind()).append(node);
        }
    }
}
