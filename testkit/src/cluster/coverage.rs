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
    /// Transactions whose clock had stepped back since the one before.
    stepped_back,
    /// The same, with undone transactions in between.
    stepped_back_after_undone,
    /// Stamps issued by a clock that was years behind.
    long_ago,
    /// Stamps issued by a clock that stood at zero.
    at_zero,
    /// Stamps that two replicas issued.
    equal_stamps,
    /// Places where what two wrote with one stamp is live.
    ties,
    /// Comparisons of a replica that had seen something of as many as there can be.
    of_all,
    /// Removals beside writes of what they removed.
    removals_beside_writes,
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
    /// Complete snapshots merged by a replica of which the sender had not seen all that it wrote.
    complete_beside_own,
    /// Complete snapshots that told a replica that what it wrote was gone.
    complete_without_own,
    /// Complete snapshots merged by a replica that came later.
    complete_for_joiner,
    /// Deltas merged as values, not as bytes.
    direct,
    /// Transfers in more than one chunk merged.
    chunked,
    /// Transfers that were interrupted, went on and were merged.
    resumed,
    /// Transfers that began anew while they were under way.
    begun_anew,
    /// Transfers in chunks during which the receiver wrote or merged something else.
    interleaved,
    /// Transfers in chunks during which the receiver forgot something.
    forgot_meanwhile,
    /// Transfers in chunks during which another peer's transfer was merged.
    whole_after_another,
    /// Chunks refused because one was missing, or came twice.
    out_of_order,
    /// Chunks refused because they were of another transfer.
    other_transfer,
    /// Messages made from an old snapshot and merged.
    stale,
    /// Messages since what the sender believed the receiver to hold, merged.
    believed,
    /// Gaps of which the sender's belief was the cause.
    believed_too_much,
    /// Messages that arrived after later ones.
    overtaken,
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
    /// Evictions while others were evicted.
    several_absent,
    /// Clusters that fell apart into two, each of which evicted the other and forgot.
    splits,
    /// Replicas admitted again.
    readmitted,
    /// Replicas admitted again before others that were evicted earlier.
    readmitted_in_another_order,
    /// Replicas that were evicted, wrote alone, and sent it later.
    returns,
    /// Replicas that came later.
    joins,
    /// Replicas that came later, and of which some members did not know at once.
    joins_not_known_to_all,
    /// Replicas that came later and wrote before they had merged anything.
    joiner_wrote_first,
    /// Snapshots held and compared later.
    snapshots,
    /// Replicas that started again under new ids.
    restarts,
    /// Ids that were closed.
    closings,
    /// Comparisons of a replica whose vector leaves out closed ids.
    left_out,
    /// Messages that leave out closed ids.
    sent_without,
    /// Messages that name ids for the state's sake alone, although they are closed.
    named_for_the_state,
    /// Transactions under ids that were closed.
    wrote_on,
}
