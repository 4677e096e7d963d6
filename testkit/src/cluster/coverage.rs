//! What happened in histories, counted: what never happens is not tested.

use std::ops::AddAssign;

macro_rules! coverage {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// How often each thing happened.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Coverage {
            $($(#[$doc])* pub $name: usize,)+
        }

        impl AddAssign for Coverage {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)+
            }
        }

        impl Coverage {
            /// What never happened.
            pub fn missing(&self) -> Vec<&'static str> {
                [$((self.$name, stringify!($name)),)+].iter().filter(|(n, _)| *n == 0).map(|(_, name)| *name).collect()
            }
        }
    };
}

coverage! {
    /// Transactions made.
    committed,
    /// Transactions without an event.
    without_event,
    /// Transactions that ended with an error.
    aborted,
    /// Transactions that ended with a panic.
    panicked,
    /// Transactions in which a panic was caught, refused for it.
    unwound,
    /// Transactions with a clock that had stepped back.
    stepped_back,
    /// Stamps that two replicas issued.
    equal_stamps,
    /// Merges that brought something.
    merged,
    /// Merges that left concurrent values.
    conflicts,
    /// Merges of what was held already.
    repeats,
    /// Merges refused for a gap.
    gaps,
    /// Merges refused for a stamp too far ahead.
    too_far_ahead,
    /// Complete snapshots merged.
    complete,
    /// Complete snapshots merged by a replica that held what the sender had not seen.
    complete_into_more,
    /// Deltas merged as values, not as bytes.
    direct,
    /// Transfers in more than one chunk merged.
    chunked,
    /// Transfers in chunks during which the receiver wrote or merged something else.
    interleaved,
    /// Messages made from an old snapshot and merged.
    stale,
    /// Messages merged by another one than they were made for.
    misdirected,
    /// Messages lost.
    lost,
    /// Vectors reported.
    reports,
    /// Tables of vectors passed on.
    relays,
    /// Rows forgotten.
    forgotten_rows,
    /// Marks forgotten.
    forgotten_marks,
    /// Replicas evicted.
    evictions,
    /// Replicas that were evicted, wrote alone, and sent it later.
    returns,
    /// Replicas that came later.
    joins,
    /// Snapshots held and compared later.
    snapshots,
}
