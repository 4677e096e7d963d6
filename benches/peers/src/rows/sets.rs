//! Rows of sets of whole numbers.

use std::collections::BTreeSet;

use crate::data::Random;
use crate::measure::{Live, timed};
use crate::report::Report;
use crate::rows::{BATCH, Line, Plan, ROUNDS, Row};

pub(super) fn set(plan: &Plan, report: &mut Report) {
    let row = Row::Set;
    let mut random = Random::new(7);
    let elements: Vec<u64> = (0..plan.documents).map(|_| random.next()).collect();
    let mut seats = plan.seats(row, report, |contestant| contestant.elements(1).map(|_| ()));
    for round in 0..ROUNDS {
        for seat in &mut seats {
            let contestant = seat.contestant;
            let elements = &elements[..elements.len().min(contestant.at_most(row))];
            seat.turn(row, report, |(), turn| {
                let live = Live::start();
                let mut set = contestant.elements(1).expect("it takes part");
                let (ns, ()) = timed(|| elements.chunks(BATCH).for_each(|batch| set.add(batch)));
                turn.sample(Line::SetAdd, ns / elements.len() as f64);
                turn.sample(Line::SetMemory, live.bytes() / elements.len() as f64);
                if round == 0 {
                    turn.sizes(Line::SetFull, &set.full(), elements.len());
                    turn.limit(Line::SetAdd, elements.len(), plan.documents);
                    let expected: BTreeSet<u64> = elements.iter().copied().collect();
                    turn.check("holds what was added", set.contents() == expected);
                }
            });
        }
    }
}

pub(super) fn churn(plan: &Plan, report: &mut Report) {
    let row = Row::Churn;
    let elements: Vec<u64> = (0..1_000).collect();
    let all = plan.documents * 10;
    let mut seats = plan.seats(row, report, |contestant| contestant.elements(1).map(|_| ()));
    for seat in &mut seats {
        let contestant = seat.contestant;
        seat.turn(row, report, |(), turn| {
            let times = (all.min(contestant.at_most(row)) / (2 * elements.len())).max(1);
            let operations = times * 2 * elements.len();
            let live = Live::start();
            let mut set = contestant.elements(1).expect("it takes part");
            let (ns, ()) = timed(|| set.churn(&elements, times));
            turn.sample(Line::ChurnOperation, ns / operations as f64);
            turn.sample(Line::ChurnMemory, live.bytes());
            turn.sizes(Line::ChurnFull, &set.full(), 1);
            turn.limit(Line::ChurnOperation, operations, all);
            turn.check("is empty", set.contents().is_empty());
        });
    }
}
