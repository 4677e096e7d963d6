//! The state is exactly the events within the vector, whatever happens, and equal vectors mean equal canonical bytes: after
//! every step of a history the replica is compared with the oracle, and at the end with all others.

use driftless::*;
use driftless_testkit::cluster::Cluster;
use driftless_testkit::history::{History, Theme, histories};
use driftless_testkit::subject::Subject;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{for_each_type, prove_histories};

fn as_the_oracle_says<S: Subject>(theme: Theme, cases: u32, steps: usize) {
    prove_histories(cases, histories(theme, steps), |history| Cluster::<S>::run_to_end(history).map(drop));
}

fn as_the_oracle_says_of_bytes<S: Subject>() {
    let bytes = vec(any::<u8>(), 0..400);
    let histories = bytes.prop_map(|bytes| History::from_bytes(&bytes));
    prove_histories(25, histories, |history| Cluster::<S>::run_to_end(history).map(drop));
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

            #[test]
            fn transfers_that_break_off_and_messages_that_come_late_or_elsewhere_leave_no_hole() {
                as_the_oracle_says::<$type>(Theme::Transfers, 25, 70);
            }

            #[test]
            fn equal_stamps_and_clocks_that_step_back_are_told_apart_alike_everywhere() {
                as_the_oracle_says::<$type>(Theme::Clocks, 25, 70);
            }

            #[test]
            fn any_bytes_are_a_history() {
                as_the_oracle_says_of_bytes::<$type>();
            }
        }
    )+};
}

for_each_type!(laws);
