//! Rows of one replica of documents: writing, encoding, loading, reading.

use crate::contestant::{Contestant, Documents};
use crate::data::{Change, Contents, Data, Field, Key, Random};
use crate::measure::{Live, deflated, timed, timed_often};
use crate::report::Report;
use crate::rows::{BATCH, Line, Plan, ROUNDS, Row};

/// Writes all documents.
pub(super) fn fill(replica: &mut dyn Documents, data: &Data) {
    for batch in data.documents().chunks(BATCH) {
        replica.insert(batch);
    }
}

/// A replica that holds all documents.
pub(super) fn filled(contestant: &dyn Contestant, id: u64, data: &Data) -> Box<dyn Documents> {
    let mut replica = contestant.documents(id);
    fill(&mut *replica, data);
    replica
}

/// The form of the whole state that can be loaded.
pub(super) fn saved(replica: &mut dyn Documents) -> Vec<u8> {
    replica.full().swap_remove(0).1
}

/// The documents `numbers`, one field each, by turns; each value differs from the one in `contents`, which takes it.
pub(super) fn changes<'a>(
    data: &'a Data,
    numbers: impl Iterator<Item = usize>,
    contents: &mut Contents,
    random: &mut Random,
) -> Vec<Change<'a>> {
    let change = |(number, field): (usize, &Field)| {
        let key = &data.keys[number];
        let fields = &mut contents.get_mut(&key.id).expect("all documents are in it").fields;
        let value = fields.another(*field, random);
        fields.set(value.clone());
        Change { key, value }
    };
    numbers.zip(Field::ALL.iter().cycle()).map(change).collect()
}

/// `count` documents of `documents` from `first` on, evenly scattered, none twice.
pub(super) fn scattered(documents: usize, count: usize, first: usize) -> impl Iterator<Item = usize> {
    let step = (documents / count).max(1);
    (0..count.min(documents)).map(move |place| (first + place * step) % documents)
}

pub(super) fn first_write(plan: &Plan, report: &mut Report) {
    let row = Row::FirstWrite;
    let data = Data::new(plan.documents);
    let (documents, expected) = (data.documents(), data.contents());
    let mut seats = plan.seats(row, report, |_| Some(()));
    for round in 0..5 {
        for seat in &mut seats {
            let contestant = seat.contestant;
            seat.turn(row, report, |(), turn| {
                let live = Live::start();
                let mut replica = contestant.documents(1);
                let (ns, ()) = timed(|| documents.chunks(BATCH).for_each(|batch| replica.insert(batch)));
                turn.sample(Line::FirstWrite, ns / (4 * data.len()) as f64);
                turn.sample(Line::Memory, live.bytes() / data.len() as f64);
                if round == 0 {
                    turn.check("holds what was written", replica.contents() == expected);
                }
            });
        }
    }
}

pub(super) fn overwrite(plan: &Plan, report: &mut Report) {
    /// A turn first overwrites the documents once unmeasured, so that they are near when it is measured; so are the new values,
    /// which are copied before.
    const PASSES: usize = 4;
    let row = Row::Overwrite;
    let data = Data::new(plan.documents);
    let mut expected = data.contents();
    let mut random = Random::new(2);
    let mut seats = plan.seats(row, report, |contestant| Some(filled(contestant, 1, &data)));
    let numbers = || scattered(data.len(), 1_000, 0);
    for _ in 0..ROUNDS {
        let passes: Vec<_> =
            (0..=PASSES).map(|_| changes(&data, numbers(), &mut expected, &mut random)).collect();
        for seat in &mut seats {
            seat.turn(row, report, |replica, turn| {
                let count = passes[0].len() as f64;
                for (pass, changes) in passes[..PASSES].iter().enumerate() {
                    let changes = changes.clone();
                    let (ns, ()) = timed(|| replica.overwrite(&changes));
                    if pass > 0 {
                        turn.sample(Line::Overwrite, ns / count);
                    }
                }
                let changes = passes[PASSES].clone();
                let singly = || changes.chunks(1).for_each(|change| replica.overwrite(change));
                turn.sample(Line::OverwriteSingly, timed(singly).0 / count);
                turn.check("holds what was written last", replica.contents() == expected);
            });
        }
    }
}

pub(super) fn full(plan: &Plan, report: &mut Report) {
    let row = Row::Full;
    let data = Data::new(plan.documents);
    let raw = data.raw();
    let per = |bytes: usize| bytes as f64 / data.len() as f64;
    report.raw = Some((per(raw.len()), per(deflated(&raw))));
    let mut seats = plan.seats(row, report, |contestant| Some(filled(contestant, 1, &data)));
    for seat in &mut seats {
        seat.turn(row, report, |replica, turn| {
            let forms = replica.full();
            turn.sizes(Line::Full, &forms, data.len());
            turn.sample(Line::FullDeflated, per(deflated(&forms[0].1)));
        });
    }
}

pub(super) fn load(plan: &Plan, report: &mut Report) {
    let row = Row::Load;
    let data = Data::new(plan.documents);
    let expected = data.contents();
    let weight: u64 = expected.values().map(|record| record.fields.weight()).sum();
    let mut seats = plan.seats(row, report, |contestant| Some(saved(&mut *filled(contestant, 1, &data))));
    for round in 0..ROUNDS {
        for seat in &mut seats {
            let contestant = seat.contestant;
            seat.turn(row, report, |bytes, turn| {
                let mut replica = contestant.documents(2);
                let (ns, sum) = timed(|| {
                    replica.load(bytes);
                    replica.touch()
                });
                turn.sample(Line::Load, ns / data.len() as f64);
                turn.check("every field was touched", sum == weight);
                if round == 0 {
                    turn.check("holds what was saved", replica.contents() == expected);
                }
            });
        }
    }
}

pub(super) fn read(plan: &Plan, report: &mut Report) {
    const READS: usize = 10_000;
    let row = Row::Read;
    let data = Data::new(plan.documents);
    let expected = data.contents();
    let mut random = Random::new(3);
    let mut seats = plan.seats(row, report, |contestant| Some(filled(contestant, 1, &data)));
    for _ in 0..ROUNDS {
        let mut pick = || (&data.keys[random.below(data.len())], Field::ALL[random.below(4)]);
        let picks: Vec<(&Key, Field)> = (0..READS).map(|_| pick()).collect();
        let weight: u64 = picks.iter().map(|(key, field)| expected[&key.id].fields.weight_of(*field)).sum();
        for seat in &mut seats {
            seat.turn(row, report, |replica, turn| {
                let (ns, sum) = timed(|| replica.read(&picks));
                turn.sample(Line::Read, ns / READS as f64);
                turn.check("reads what was written", sum == weight);
            });
        }
    }
}

pub(super) fn snapshot(plan: &Plan, report: &mut Report) {
    let row = Row::Snapshot;
    let data = Data::new(plan.documents);
    let mut seats = plan.seats(row, report, |contestant| {
        let mut replica = filled(contestant, 1, &data);
        replica.snapshot().is_some().then_some(replica)
    });
    for _ in 0..ROUNDS {
        for seat in &mut seats {
            seat.turn(row, report, |replica, turn| {
                // What the engine does once for the first of several is not what a snapshot costs; nor is letting go of one.
                let (ns, snapshot) = timed(|| replica.snapshot());
                drop(snapshot);
                let is_quick = ns < 100_000.0;
                let ns = if is_quick { timed_often(|| drop(replica.snapshot())) } else { ns };
                turn.sample(Line::Snapshot, ns / 1e3);
            });
        }
    }
}
