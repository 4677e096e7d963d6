//! What the regions measured, put together: what was shipped, and how long each write took to arrive.

use driftless::Timestamp;

use crate::model::Written;
use crate::region::Log;
use crate::regions::{COUNT, Index};

/// A transaction that a region made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transaction {
    /// When it began; all times are in microseconds since the job began.
    pub(crate) at_us: u64,
    pub(crate) stamp: Timestamp,
    pub(crate) written: Written,
}

/// A delta that a region sent.
#[derive(Clone, Debug)]
pub(crate) struct Shipment {
    pub(crate) at_us: u64,
    /// To whom.
    pub(crate) peer: Index,
    /// From where to where it leads, region by region.
    pub(crate) from: [Timestamp; COUNT],
    pub(crate) to: [Timestamp; COUNT],
    pub(crate) bytes: u64,
    /// Whether it was the first after a cut.
    pub(crate) is_catch_up: bool,
}

/// A delta that a region merged.
#[derive(Clone, Debug)]
pub(crate) struct Merge {
    pub(crate) at_us: u64,
    /// From whom.
    pub(crate) peer: Index,
    /// What the region held before, and what the delta led to, region by region.
    pub(crate) before: [Timestamp; COUNT],
    pub(crate) to: [Timestamp; COUNT],
    /// Whether it was the first after a cut.
    pub(crate) is_catch_up: bool,
}

/// What a region forgot at one time.
#[derive(Clone, Debug)]
pub(crate) struct Forgetting {
    pub(crate) at_us: u64,
    pub(crate) rows: usize,
    pub(crate) marks: usize,
    /// Who was not known to hold all that is held here, and by how many milliseconds.
    pub(crate) behind: Vec<(Index, u64)>,
}

/// What went from one region to another.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) deltas: u64,
    pub(crate) bytes: u64,
    /// What the deltas stand for.
    pub(crate) written: Written,
    /// How many of these changes the receiver did not hold yet.
    pub(crate) news: u64,
}

impl std::ops::AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.deltas += other.deltas;
        self.bytes += other.bytes;
        self.written += other.written;
        self.news += other.news;
    }
}

impl Traffic {
    /// Bytes for each change; `None` if there was none.
    pub(crate) fn bytes_per_change(&self) -> Option<f64> {
        per(self.bytes, self.written.changes)
    }

    /// Bytes of keys and values alone for each change.
    pub(crate) fn value_bytes_per_change(&self) -> Option<f64> {
        per(self.written.value_bytes, self.written.changes)
    }
}

fn per(sum: u64, count: u64) -> Option<f64> {
    (count > 0).then(|| sum as f64 / count as f64)
}

/// When shipping happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Load,
    Writing,
    /// The first delta after the cut.
    CatchUp,
}

/// How long one write took to get from one region to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lag {
    /// When it was written.
    pub(crate) at_us: u64,
    pub(crate) lag_us: u64,
    /// Whether the first delta after a cut brought it.
    pub(crate) is_catch_up: bool,
}

/// The logs of all regions.
pub(crate) struct Logs<'a> {
    logs: [&'a Log; COUNT],
    begins_us: u64,
}

impl<'a> Logs<'a> {
    pub(crate) fn new(logs: [&'a Log; COUNT], begins_us: u64) -> Self {
        Self { logs, begins_us }
    }

    /// The transactions of a region after `from`, up to `to`.
    fn between(&self, author: Index, from: Timestamp, to: Timestamp) -> &'a [Transaction] {
        let transactions = &self.logs[author].transactions;
        let place = |stamp| transactions.partition_point(|transaction| transaction.stamp <= stamp);
        let (start, end) = (place(from), place(to));
        transactions.get(start..end).unwrap_or_default()
    }

    fn written(&self, from: &[Timestamp; COUNT], to: &[Timestamp; COUNT]) -> Written {
        let mut written = Written::default();
        for author in 0..COUNT {
            let transactions = self.between(author, from[author], to[author]);
            transactions.iter().for_each(|transaction| written += transaction.written);
        }
        written
    }

    /// What one region sent to another in a phase.
    pub(crate) fn traffic(&self, from: Index, to: Index, phase: Phase) -> Traffic {
        let mut traffic = Traffic::default();
        let shipments = self.logs[from].shipments.iter().filter(|shipment| shipment.peer == to);
        for shipment in shipments.filter(|sent| self.phase(sent.at_us, sent.is_catch_up) == phase) {
            traffic.deltas += 1;
            traffic.bytes += shipment.bytes;
            traffic.written += self.written(&shipment.from, &shipment.to);
        }
        let merges = self.logs[to].merges.iter().filter(|merge| merge.peer == from);
        for merge in merges.filter(|merged| self.phase(merged.at_us, merged.is_catch_up) == phase) {
            traffic.news += self.written(&merge.before, &merge.to).changes;
        }
        traffic
    }

    fn phase(&self, at_us: u64, is_catch_up: bool) -> Phase {
        match is_catch_up {
            true => Phase::CatchUp,
            false if at_us < self.begins_us => Phase::Load,
            false => Phase::Writing,
        }
    }

    /// How long each write of a region's schedule took to get to another, in the order of the writes.
    pub(crate) fn lags(&self, from: Index, to: Index) -> Vec<Lag> {
        let mut lags = Vec::new();
        for merge in &self.logs[to].merges {
            let brought = self.between(from, merge.before[from], merge.to[from]).iter();
            lags.extend(brought.filter(|brought| brought.at_us >= self.begins_us).map(|brought| Lag {
                at_us: brought.at_us,
                lag_us: merge.at_us.saturating_sub(brought.at_us),
                is_catch_up: merge.is_catch_up,
            }));
        }
        lags
    }
}

/// The age of the oldest write that had not arrived at a time.
pub(crate) fn staleness_us(lags: &[Lag], at_us: u64) -> u64 {
    // Writes arrive in the order in which they were made.
    let arrived = lags.partition_point(|lag| lag.at_us + lag.lag_us <= at_us);
    lags.get(arrived).map_or(0, |lag| at_us.saturating_sub(lag.at_us))
}

/// The value below which so many hundredths of all are; 0 of none.
pub(crate) fn percentile(sorted: &[u64], hundredths: usize) -> u64 {
    let place = (sorted.len() * hundredths).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or(0)
}

/// The values, in order.
pub(crate) fn sorted(values: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut values: Vec<u64> = values.into_iter().collect();
    values.sort_unstable();
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_values_themselves() {
        let values = sorted((1..=200).rev());
        assert_eq!(
            (percentile(&values, 50), percentile(&values, 99), percentile(&values, 100)),
            (100, 198, 200)
        );
        assert_eq!((percentile(&[7], 50), percentile(&[], 50)), (7, 0));
    }

    #[test]
    fn staleness_is_the_age_of_the_oldest_write_under_way() {
        let lag = |at_us, lag_us| Lag { at_us, lag_us, is_catch_up: false };
        let lags = [lag(10, 40), lag(20, 40), lag(30, 100)];
        assert_eq!([5, 49, 50, 60, 130].map(|at| staleness_us(&lags, at)), [0, 39, 30, 30, 0]);
    }
}
