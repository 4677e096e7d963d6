//! Random histories of two copies of one replica and two others, up to where the second copy is found out and beyond: what both
//! wrote must be there exactly once.

use std::fmt::Debug;
use std::panic::{self, AssertUnwindSafe};

use driftless::*;
use driftless_testkit::subject::Subject;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};

use crate::world::*;

#[derive(Clone, Debug)]
enum Step {
    Write(usize, Vec<Vec<u8>>),
    Sync(usize, usize),
    Settle(usize, usize),
    /// The second copy meets one of the others.
    Meet(usize),
    Pass(u64),
}

#[derive(Clone, Debug)]
struct History {
    cause: Cause,
    new_id: ReplicaId,
    /// What happens while the copies are one, while nobody knows that they are two, and afterwards.
    parts: [Vec<Step>; 3],
    /// What the first copy writes after they have parted, before the other can write at the same stamp.
    first: Vec<Vec<u8>>,
}

fn ops() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(vec(any::<u8>(), 1..12), 1..=4)
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..4_usize, ops()).prop_map(|(at, ops)| Step::Write(at, ops)),
        6 => (0..4_usize, 0..4_usize).prop_map(|(from, to)| Step::Sync(from, to)),
        2 => (0..4_usize, 0..4_usize).prop_map(|(one, other)| Step::Settle(one, other)),
        2 => (B..=C).prop_map(Step::Meet),
        3 => (1..3_u64).prop_map(Step::Pass),
    ];
    vec(step, 0..most)
}

fn histories() -> impl Strategy<Value = History> {
    let cause = prop_oneof![3 => Just(Cause::Clone), 1 => Just(Cause::CloneAnew), 1 => Just(Cause::Ahead)];
    let new_id = prop_oneof![Just(NEW_IDS[0]), Just(NEW_IDS[1])];
    let parts = (steps(25), steps(25), steps(15)).prop_map(|(one, two, three)| [one, two, three]);
    (cause, new_id, parts, ops()).prop_map(|(cause, new_id, parts, first)| History {
        cause,
        new_id,
        parts,
        first,
    })
}

fn run<S: Subject>(history: &History) -> Outcome {
    let mut world = World::<S>::new(history.cause, history.new_id);
    let ran = run_in(&mut world, history);
    ran.map_err(|error| world.fault(&error))
}

fn run_in<S: Subject>(world: &mut World<S>, history: &History) -> Outcome {
    let [one, two, three] = &history.parts;
    // Nobody has met a second copy yet: both do all that is done.
    let copy = |at: usize| if at == SECOND { FIRST } else { at };
    for step in one {
        match step {
            Step::Write(at, ops) => world.write(copy(*at), ops)?,
            Step::Sync(from, to) => world.sync(copy(*from), copy(*to))?,
            Step::Settle(one, other) => world.settle(copy(*one), copy(*other))?,
            Step::Meet(with) => world.sync(*with, FIRST)?,
            Step::Pass(ms) => world.now_ms += ms,
        }
    }
    if history.cause == Cause::Ahead {
        // The last that others take of it.
        world.sync(FIRST, B)?;
        world.sync(B, C)?;
    }
    world.part();
    world.now_ms += 1;
    let copy = |at: usize| if history.cause == Cause::Ahead { at.max(SECOND) } else { at };
    if history.cause != Cause::Ahead {
        let before = world.sides[FIRST].replica.vector();
        world.write(FIRST, &history.first)?;
        let is_written = |world: &World<S>| world.sides[FIRST].replica.vector() != before;
        for other in (0..=u8::MAX).map(|choice| [vec![choice, 0, choice]]) {
            if !is_written(world) {
                world.write(FIRST, &other)?;
            }
        }
    }
    world.now_ms += 1;
    for step in two {
        match step {
            Step::Write(at, ops) => world.write(copy(*at), ops)?,
            Step::Meet(with) if !world.is_found_out => world.meet(*with)?,
            Step::Sync(from, to) if *from != SECOND && *to != SECOND && copy(*from) == *from => {
                world.sync(*from, copy(*to).max(if copy(*to) == SECOND { B } else { FIRST }))?;
            }
            Step::Settle(one, other) if copy(*one) == *one && copy(*other) == *other => {
                world.settle(*one, *other)?;
            }
            Step::Pass(ms) => world.now_ms += ms,
            _ => {}
        }
    }
    if !world.is_found_out {
        if history.cause != Cause::Ahead {
            world.sync(FIRST, B)?;
            world.meet(B)?;
        }
        if !world.is_found_out {
            world.go_on(B)?;
        }
    }
    for step in three {
        match step {
            Step::Write(at, ops) => world.write(copy(*at), ops)?,
            Step::Sync(from, to) => world.sync(copy(*from), copy(*to))?,
            Step::Settle(one, other) => world.settle(copy(*one), copy(*other))?,
            Step::Meet(with) => world.sync(*with, SECOND)?,
            Step::Pass(ms) => world.now_ms += ms,
        }
    }
    world.converge()
}

fn prove<T: Debug>(cases: u32, strategy: impl Strategy<Value = T>, test: impl Fn(&T) -> Outcome) {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let config = ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 5_000,
        ..ProptestConfig::with_cases(asked.unwrap_or(cases))
    };
    let test = |case: &T| {
        let ran = panic::catch_unwind(AssertUnwindSafe(|| test(case)));
        ran.unwrap_or_else(|_| Err("it panics".to_owned()))
    };
    let proved = TestRunner::new(config).run(&strategy, |case| test(&case).map_err(TestCaseError::fail));
    if let Err(TestError::Fail(_, case)) = proved {
        panic!("{}\nin {case:?}", test(&case).unwrap_err());
    }
    proved.unwrap();
}

macro_rules! types {
    ($($name:ident $type:ty,)+) => {$(
        #[test]
        fn $name() {
            prove(CASES, histories(), run::<$type>);
        }
    )+};
}

const CASES: u32 = 60;

types! {
    b38_what_two_copies_wrote_is_there_once_of_registers LwwRegister<i64>,
    b38_what_two_copies_wrote_is_there_once_of_multi_value_registers MvRegister<i64>,
    b38_what_two_copies_wrote_is_there_once_of_flags Flag,
    b38_what_two_copies_wrote_is_there_once_of_sets OrSet<u8>,
    b37_what_two_copies_counted_counts_once Counter,
    b37_what_two_copies_counted_in_maps_counts_once MergeMap<u8, Counter>,
    b37_what_two_copies_counted_in_maps_of_maps_counts_once MergeMap<u8, MergeMap<u8, Counter>>,
    b38_what_two_copies_wrote_is_there_once_of_maps MergeMap<u8, LwwRegister<i64>>,
    b38_what_two_copies_wrote_is_there_once_of_structs Profile,
    b38_what_two_copies_wrote_is_there_once_of_maps_of_structs MergeMap<u8, Device>,
    b38_what_two_copies_wrote_is_there_once_of_documents Document,
}
