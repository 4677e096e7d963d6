//! Rows in which replicas exchange what they wrote. After each exchange all that each of them holds is read into a plain map and
//! compared.

use std::collections::BTreeSet;

use hashbrown::{HashMap, HashSet};
use uuid::Uuid;

use crate::contestant::{Contestant, Documents, Tagged};
use crate::data::{Change, Contents, Data, FIRST_TAGS, Field, Fields, Key, Random, TagChange, Value};
use crate::measure::{timed, timed_often};
use crate::report::Report;
use crate::rows::documents::{changes as changes_of, filled, saved, scattered};
use crate::rows::{BATCH, Line, Plan, ROUNDS, Row, Turn};

/// Two replicas that hold the same documents.
struct Two {
    left: Box<dyn Documents>,
    right: Box<dyn Documents>,
}

impl Two {
    fn new(contestant: &dyn Contestant, data: &Data) -> Self {
        let mut left = filled(contestant, 1, data);
        let mut right = contestant.documents(2);
        right.load(&saved(&mut *left));
        left.mark();
        right.mark();
        Self { left, right }
    }

    fn check(&self, expected: &Contents, turn: &mut Turn<'_>) {
        turn.check("the first replica is as expected", self.left.contents() == *expected);
        turn.check("the second replica is as expected", self.right.contents() == *expected);
    }
}

pub(super) fn changes(plan: &Plan, report: &mut Report) {
    let row = Row::Changes;
    let data = Data::new(plan.documents);
    let mut expected = data.contents();
    let mut random = Random::new(4);
    let mut seats = plan.seats(row, report, |contestant| Some(Two::new(contestant, &data)));

    // Single changes come first, before there is any history that a message might have to speak of.
    let edits = changes_of(&data, scattered(data.len(), 4, 1), &mut expected, &mut random);
    for seat in &mut seats {
        seat.turn(row, report, |two, turn| {
            let mut bytes = 0;
            for edit in edits.chunks(1) {
                two.left.mark_for(&two.right.request());
                two.left.overwrite(edit);
                two.left.told(edit);
                let message = two.left.edit();
                bytes += message.len();
                two.right.apply_edit(&message);
            }
            turn.sample(Line::EditBytes, bytes as f64 / edits.len() as f64);
            two.check(&expected, turn);
        });
    }

    for round in 0..ROUNDS {
        let numbers = scattered(data.len(), (data.len() / 100).max(4), random.below(data.len()));
        let changes = changes_of(&data, numbers, &mut expected, &mut random);
        let count = changes.len() as f64;
        for seat in &mut seats {
            seat.turn(row, report, |two, turn| {
                two.left.mark_for(&two.right.request());
                turn.sample(Line::ChangeWrite, timed(|| two.left.overwrite(&changes)).0 / count);
                two.left.told(&changes);
                let (ns, message) = timed(|| two.left.delta());
                turn.sample(Line::ChangeProduce, ns / count);
                if round == 0 {
                    turn.sample(Line::ChangeBytes, message.len() as f64 / count);
                }
                turn.sample(Line::ChangeApply, timed(|| two.right.apply(&message)).0 / count);
                turn.sample(Line::ChangeReplay, timed(|| two.right.apply(&message)).0 / count);
                two.left.mark_for(&two.right.request());
                turn.sample(Line::Nothing, timed_often(|| drop(two.left.delta())));
                two.check(&expected, turn);
            });
        }
    }
}

pub(super) fn pair(plan: &Plan, report: &mut Report) {
    let row = Row::Pair;
    let data = Data::new(plan.documents);
    let mut expected = data.contents();
    let mut random = Random::new(5);
    let mut seats = plan.seats(row, report, |contestant| Some(Two::new(contestant, &data)));
    for round in 0..5 {
        // Different documents: a plain map could not merge two writes of one field.
        let mut tenth =
            |first| changes_of(&data, (first..data.len()).step_by(10), &mut expected, &mut random);
        let (left, right) = (tenth(2 * round), tenth(2 * round + 1));
        let count = (left.len() + right.len()) as f64;
        for seat in &mut seats {
            seat.turn(row, report, |two, turn| {
                let requests = [two.right.request(), two.left.request()];
                let sides = [(&mut two.left, &left), (&mut two.right, &right)];
                for ((replica, changes), request) in sides.into_iter().zip(&requests) {
                    replica.mark_for(request);
                    replica.overwrite(changes);
                    replica.told(changes);
                }
                let (ns, ()) = timed(|| {
                    let (to_right, to_left) = (two.left.delta(), two.right.delta());
                    two.left.apply(&to_left);
                    two.right.apply(&to_right);
                });
                turn.sample(Line::Pair, ns / count);
                two.check(&expected, turn);
            });
        }
    }
}

const REPLICAS: usize = 8;

/// What one of several replicas writes at the same time as the others.
struct Writes<'a> {
    changes: Vec<Change<'a>>,
    tags: Vec<TagChange<'a>>,
}

/// All writes of a round, and what they may lead to.
struct Round<'a> {
    replicas: Vec<Writes<'a>>,
    /// The values of each field that was written. Which of them is read is for the engine to say.
    written: HashMap<(Uuid, &'static str), Vec<Value>>,
    /// A tag that is removed in a round is added by nobody in it or later, so engines cannot differ about it.
    added: HashSet<(Uuid, u64)>,
    removed: HashSet<(Uuid, u64)>,
}

impl<'a> Round<'a> {
    /// Each replica writes one field of each fifth document and changes a tag of each twentieth. Replicas often write the
    /// same field, add or remove the same tag.
    fn new(data: &'a Data, round: usize, random: &mut Random) -> Self {
        let mut this = Self {
            replicas: Vec::new(),
            written: HashMap::new(),
            added: HashSet::new(),
            removed: HashSet::new(),
        };
        for _ in 0..REPLICAS {
            let first = random.below(data.len());
            let numbers = scattered(data.len(), data.len() / 5, first);
            let changes: Vec<_> = numbers.map(|number| change(&data.keys[number], round, random)).collect();
            let tags = tag_changes(data, round, random);
            for Change { key, value } in &changes {
                this.written.entry((key.id, value.field().name())).or_default().push(value.clone());
            }
            for change in &tags {
                let tags = if change.is_added { &mut this.added } else { &mut this.removed };
                tags.insert((change.key.id, change.tag));
            }
            this.replicas.push(Writes { changes, tags });
        }
        this
    }

    /// Whether `after` can be what comes of `before` by these writes.
    fn explains(&self, before: &Contents, after: &Contents) -> bool {
        let explains_fields = |id: &Uuid, before: &Fields, after: &Fields| {
            Field::ALL.iter().all(|field| match self.written.get(&(*id, field.name())) {
                Some(values) => values.contains(&after.value(*field)),
                None => before.value(*field) == after.value(*field),
            })
        };
        let tags = |contents: &Contents| -> BTreeSet<(Uuid, u64)> {
            contents.iter().flat_map(|(id, record)| record.tags.iter().map(|tag| (*id, *tag))).collect()
        };
        let mut expected = tags(before);
        expected.extend(&self.added);
        expected.retain(|tag| !self.removed.contains(tag));
        before.len() == after.len()
            && tags(after) == expected
            && before.iter().all(|(id, record)| {
                after.get(id).is_some_and(|after| explains_fields(id, &record.fields, &after.fields))
            })
    }
}

/// A change that does not depend on what is held, which differs between engines after concurrent writes.
fn change<'a>(key: &'a Key, round: usize, random: &mut Random) -> Change<'a> {
    let nothing = Fields { active: round.is_multiple_of(2), ..Fields::default() };
    Change { key, value: nothing.another(Field::ALL[random.below(4)], random) }
}

/// Half of them add a tag that is new in this round, half remove one of the beginning: each round another, so that it is there.
fn tag_changes<'a>(data: &'a Data, round: usize, random: &mut Random) -> Vec<TagChange<'a>> {
    let count = (data.len() / 20).max(2);
    let mut numbers = HashSet::new();
    while numbers.len() < count {
        numbers.insert(random.below(data.len()));
    }
    let mut numbers: Vec<usize> = numbers.into_iter().collect();
    numbers.sort_unstable();
    let change = |(place, number): (usize, usize)| {
        let is_added = place % 2 == 0;
        let tag = if is_added { 10 + round as u64 } else { FIRST_TAGS[round] };
        TagChange { key: &data.keys[number], tag, is_added }
    };
    numbers.into_iter().enumerate().map(change).collect()
}

/// Replicas with tags, and what they held after the last exchange.
struct Regions {
    replicas: Vec<Box<dyn Tagged>>,
    before: Contents,
}

impl Regions {
    fn new(contestant: &dyn Contestant, data: &Data) -> Option<Self> {
        let mut first = contestant.tagged(1)?;
        for batch in data.documents().chunks(BATCH) {
            first.insert(batch);
        }
        let bytes = saved(&mut *first);
        let mut replicas = vec![first];
        for id in 2..=REPLICAS as u64 {
            let mut replica = contestant.tagged(id)?;
            replica.load(&bytes);
            replicas.push(replica);
        }
        Some(Self { replicas, before: data.contents() })
    }
}

pub(super) fn regions(plan: &Plan, report: &mut Report) {
    let row = Row::Regions;
    let data = Data::tagged((plan.documents / 10).max(100));
    let mut random = Random::new(6);
    let mut seats = plan.seats(row, report, |contestant| Regions::new(contestant, &data));
    for round in 0..FIRST_TAGS.len() {
        let writes = Round::new(&data, round, &mut random);
        for seat in &mut seats {
            seat.turn(row, report, |regions, turn| {
                for (replica, writes) in regions.replicas.iter_mut().zip(&writes.replicas) {
                    replica.mark();
                    replica.overwrite(&writes.changes);
                    replica.told(&writes.changes);
                    replica.tag(&writes.tags);
                }
                let (ns, ()) = timed(|| {
                    let messages: Vec<_> =
                        regions.replicas.iter_mut().map(|replica| replica.delta()).collect();
                    for (receiver, replica) in regions.replicas.iter_mut().enumerate() {
                        let others = messages.iter().enumerate().filter(|(sender, _)| *sender != receiver);
                        others.for_each(|(_, message)| replica.apply(message));
                    }
                });
                turn.sample(Line::Regions, ns / 1e6);
                let after = regions.replicas[0].contents();
                turn.check("what is read was written", writes.explains(&regions.before, &after));
                let others = &regions.replicas[1..];
                turn.check("all replicas agree", others.iter().all(|replica| replica.contents() == after));
                regions.before = after;
            });
        }
    }
}
