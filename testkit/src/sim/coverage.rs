//! What runs met, counted: what never happens is not tested.

use std::ops::AddAssign;

macro_rules! coverage {
    ($($(#[$doc:meta])* $name:ident: $shown:literal,)+) => {
        /// How often each thing happened.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Coverage {
            $($(#[$doc])* pub $name: u64,)+
        }

        impl AddAssign<&Coverage> for Coverage {
            fn add_assign(&mut self, other: &Self) {
                $(self.$name += other.$name;)+
            }
        }

        impl Coverage {
            /// All counts by name.
            pub fn counts(&self) -> Vec<(&'static str, u64)> {
                vec![$(($shown, self.$name)),+]
            }

            /// What never happened.
            pub fn missing(&self) -> Vec<&'static str> {
                self.counts().into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| name).collect()
            }
        }
    };
}

coverage! {
    /// Transactions that were made.
    writes: "writes",
    /// Transactions without an event.
    empty_writes: "writes without an event",
    /// Writes that were refused since the id was in doubt.
    refused_writes: "writes refused: id in doubt",
    /// Times a process was compared with the oracle.
    checks: "comparisons with the oracle",
    /// Different sets of events that a process was compared at.
    states: "states compared",
    /// Merges.
    merges: "merges",
    /// Registers that came to hold concurrent values.
    conflicts: "conflicts",
    /// Frames that were sent.
    frames: "frames sent",
    /// Bytes of them.
    frame_bytes: "bytes sent",
    /// Frames that were lost.
    lost: "frames lost",
    /// Frames that came twice.
    repeats: "frames repeated",
    /// Frames that others overtook.
    held_up: "frames held up",
    /// Frames that a partition held back.
    blocked: "frames into a partition",
    /// Frames that came when their connection was gone.
    late: "frames of older connections",
    /// Frames that came to a process that was down.
    unheard: "frames to nobody",
    /// Deltas that left a gap and were asked for again.
    gaps: "gaps asked for again",
    /// Deltas that held all: snapshots.
    snapshots: "snapshots sent",
    /// Chunks of large deltas.
    chunks: "chunks sent",
    /// Connections that were made.
    connections: "connections",
    /// Connections that broke.
    breaks: "connections broken",
    /// Partitions of both directions.
    partitions: "partitions",
    /// Partitions of one direction.
    asymmetric: "partitions one way",
    /// Times of bad weather.
    storms: "storms",
    /// Ways that were slow for a while.
    slow: "slow links",
    /// Clocks that jumped.
    steps: "clock steps",
    /// Clocks that stood still.
    stuck: "clocks stuck",
    /// Clocks that ran far ahead.
    ahead: "clocks far ahead",
    /// Times that a clock was found to be too far off.
    clocks_apart: "clocks found apart",
    /// Clocks that were found to be right again.
    clocks_right: "clocks found right again",
    /// Futures that were written again with true times.
    futures_reissued: "futures issued again",
    /// Processes that died.
    crashes: "crashes",
    /// Processes that died while something was being written.
    crashes_in_write: "crashes while writing",
    /// Records that were torn.
    torn: "torn writes cut off",
    /// Processes that came back.
    restarts: "restarts",
    /// Processes that came back with an older image.
    restores: "restores of older images",
    /// Processes that came back with nothing.
    wipes: "restarts with nothing",
    /// Disks that were full.
    full: "disks full",
    /// Writes that a full disk refused.
    refused_by_disk: "disk writes refused",
    /// Writes to disks.
    disk_writes: "disk writes",
    /// Images of everything written to disks.
    disk_images: "disk images",
    /// Processes that were copied while they ran.
    clones: "clones",
    /// Processes that went on from where they had been.
    rollbacks: "rollbacks",
    /// Copies and rollbacks that were found out.
    found_out: "ids found in doubt",
    /// Ids that were replaced.
    reidentified: "ids replaced",
    /// Events that were issued again under a new id.
    reissued: "events issued again",
    /// Processes that joined.
    joins: "joins",
    /// Members that left.
    leaves: "leaves",
    /// Members that were evicted.
    evictions: "evictions",
    /// Evicted members that came back.
    returns: "returns",
    /// Halves that evicted each other.
    splits: "halves evicting each other",
    /// Processes that an operator had to let in.
    admissions: "admissions by hand",
    /// Writes that enough others held in time.
    confirmed: "writes confirmed",
    /// Writes that not enough others held in time.
    unconfirmed: "writes unconfirmed in time",
    /// Runs at whose end all that was removed was forgotten.
    forgotten: "runs that forgot all at the end",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_what_is_missing_is_named() {
        let mut all = Coverage { writes: 2, ..Coverage::default() };
        all += &Coverage { writes: 3, gaps: 1, ..Coverage::default() };
        assert_eq!((all.writes, all.gaps), (5, 1));
        let missing = all.missing();
        assert_eq!(missing.len(), all.counts().len() - 2);
        assert!(!missing.contains(&"writes") && missing.contains(&"clones"));
    }
}
