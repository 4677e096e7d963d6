//! The state is exactly the events within the vector, whatever happens, and equal vectors mean equal canonical bytes: after
//! every step of a history the replica is compared with the oracle, and at the end with all others.

use driftless::*;
use driftless_testkit::cluster::Cluster;
use driftless_testkit::history::{Theme, histories};
use driftless_testkit::subject::Subject;

use crate::{for_each_type, prove};

fn as_the_oracle_says<S: Subject>(theme: Theme, cases: u32, steps: usize) {
    prove(cases, histories(theme, steps), |history| Cluster::<S>::run_to_end(&history).map(drop));
}

macro_rules! laws {
    ($($name:ident $type:ty,)+) => {$(
        mod $name {
            use super::*;

            #[test]
            fn the_state_is_exactly_the_events_within_the_vector() {
                as_the_oracle_says::<$type>(Theme::All, 40, 70);
            }

            #[test]
            fn nothing_removed_comes_back_and_nothing_written_is_lost_by_forgetting_eviction_and_return() {
                as_the_oracle_says::<$type>(Theme::Eviction, 40, 70);
            }
        }
    )+};
}

for_each_type!(laws);
