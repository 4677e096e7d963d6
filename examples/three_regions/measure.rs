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

/// A frame that came to a region.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) at_us: u64,
    /// From whom.
    pub(crate) peer: Index,
    pub(crate) bytes: u64,
    /// What the region held before and after it, region by region.
    pub(crate) before: [Timestamp; COUNT],
    pub(crate) to: [Timestamp; COUNT],
    /// Whether it came after a cut, and before anything new or with the first of it.
    pub(crate) is_catch_up: bool,
}

/// What a region kept at one time because others were not known to have seen it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) at_us: u64,
    /// Rows of what was removed.
    pub(crate) rows: usize,
    /// Who was furthest from being known to hold all that is held here, and by how many milliseconds.
    pub(crate) furthest: Option<(Index, u64)>,
}

/// What went from one region to another.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    /// Bytes of frames that brought nothing new.
    pub(crate) other_bytes: u64,
    /// What the frames brought that the receiver did not hold.
    pub(crate) news: Written,
}

impl std::ops::AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.frames += other.frames;
        self.bytes += other.bytes;
        self.other_bytes += other.other_bytes;
        self.news += other.news;
    }
}

impl Traffic {
    /// Bytes for each change that was brought; `None` if there was none.
    pub(crate) fn bytes_per_change(&self) -> Option<f64> {
        per(self.bytes, self.news.changes)
    }

    /// Bytes of keys and values alone for each change.
    pub(crate) fn value_bytes_per_change(&self) -> Option<f64> {
        per(self.news.value_bytes, self.news.changes)
    }
}

fn per(sum: u64, count: u64) -> Option<f64> {
    (count > 0).then(|| sum as f64 / count as f64)
}

/// When a frame came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Load,
    Writing,
    /// After a cut, up to the first that brought anything.
    CatchUp,
    /// When all held the same.
    After,
}

/// How long one write took to get from one region to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lag {
    /// When it was written.
    pub(crate) at_us: u64,
    pub(crate) lag_us: u64,
    /// Whether the first that came after a cut brought it.
    pub(crate) is_catch_up: bool,
}

/// The logs of all regions.
pub(crate) struct Logs<'a> {
    logs: [&'a Log; COUNT],
    begins_us: u64,
    ends_us: u64,
}

impl<'a> Logs<'a> {
    /// The logs of a job in which writing began at one time, and all held the same from another one on.
    pub(crate) fn new(logs: [&'a Log; COUNT], begins_us: u64, ends_us: u64) -> Self {
        Self { logs, begins_us, ends_us }
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

    /// What came from one region to another in a phase.
    pub(crate) fn traffic(&self, from: Index, to: Index, phase: Phase) -> Traffic {
        let mut traffic = Traffic::default();
        let arrivals = self.logs[to].arrivals.iter().filter(|arrival| arrival.peer == from);
        for arrival in arrivals.filter(|arrival| self.phase(arrival) == phase) {
            let is_news = arrival.to != arrival.before;
            traffic += Traffic {
                frames: 1,
                bytes: arrival.bytes,
                other_bytes: if is_news { 0 } else { arrival.bytes },
                news: self.written(&arrival.before, &arrival.to),
            };
        }
        traffic
    }

    fn phase(&self, arrival: &Arrival) -> Phase {
        match arrival.at_us {
            _ if arrival.is_catch_up => Phase::CatchUp,
            at_us if at_us < self.begins_us => Phase::Load,
            at_us if at_us <= self.ends_us => Phase::Writing,
            _ => Phase::After,
        }
    }

    /// How long each write of a region's schedule took to get to another, in the order of the writes.
    pub(crate) fn lags(&self, from: Index, to: Index) -> Vec<Lag> {
        let mut lags = Vec::new();
        for arrival in &self.logs[to].arrivals {
            let brought = self.between(from, arrival.before[from], arrival.to[from]).iter();
            lags.extend(brought.filter(|brought| brought.at_us >= self.begins_us).map(|brought| Lag {
                at_us: brought.at_us,
                lag_us: arrival.at_us.saturating_sub(brought.at_us),
                is_catch_up: arrival.is_catch_up,
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
