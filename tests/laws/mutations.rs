//! Every mutation inflates, and its delta is worth as much as the mutation.

use driftless::*;
use driftless_testkit::cluster::Cluster;
use driftless_testkit::history::{Clock, Step, Theme, histories};
use driftless_testkit::subject::Subject;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{for_each_type, full, merge, merged, prove, same, same_in_full, whole};

/// For each replica of a history, in turn, before and after it writes.
fn around_a_write<S: Subject>(
    theme: Theme,
    test: impl Fn(&Cluster<S>, &mut Cluster<S>, usize) -> Result<(), String>,
) {
    let ops = vec(vec(any::<u8>(), 1..12), 1..=3);
    prove(30, (histories(theme, 30), ops), |(history, ops)| {
        let before = Cluster::<S>::run(&history)?;
        let mut after = Cluster::<S>::run(&history)?;
        for at in 0..before.nodes.len() {
            after.step(&Step::Write { at: at as u8, clock: Clock::Right, ops: ops.clone(), fuse: None })?;
            test(&before, &mut after, at)?;
        }
        Ok(())
    });
}

fn inflates<S: Subject>() {
    around_a_write::<S>(Theme::All, |before, after, at| {
        let (before, after) = (&before.nodes[at].replica, &mut after.nodes[at].replica);
        if !before.vector().is_within(&after.vector()) {
            return Err(format!("{:?} is not within {:?}", before.vector(), after.vector()));
        }
        if before.vector() == after.vector() {
            return same("a transaction without events", before, after);
        }
        let held = full(after);
        let is_news = merge(after, &whole(before)).map_err(|error| error.to_string())?;
        if is_news || full(after) != held {
            return Err(format!("what was held before is news: {held:#?}, then {:#?}", full(after)));
        }
        Ok(())
    });
}

fn equals<S: Subject>() {
    around_a_write::<S>(Theme::NoForgetting, |before, after, at| {
        let (before, after) = (&before.nodes[at].replica, &after.nodes[at].replica);
        let delta = after.delta_since(&before.vector()).encode().map_err(|error| error.to_string())?;
        same_in_full("the delta of a write and the write", &merged::<S>([&whole(before), &delta]), after)
    });
    around_a_write::<S>(Theme::Eviction, |before, after, at| {
        let (before, after) = (&before.nodes[at].replica, &after.nodes[at].replica);
        let delta = after.delta_since(&before.vector()).encode().map_err(|error| error.to_string())?;
        same("the delta of a write and the write", &merged::<S>([&whole(before), &delta]), after)
    });
}

macro_rules! laws {
    ($($name:ident $type:ty,)+) => {$(
        mod $name {
            use super::*;

            #[test]
            fn every_mutation_inflates() {
                inflates::<$type>();
            }

            #[test]
            fn a_delta_joined_equals_the_mutation() {
                equals::<$type>();
            }
        }
    )+};
}

for_each_type!(laws);
