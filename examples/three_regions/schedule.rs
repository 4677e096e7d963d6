//! Who writes what, and when: a pure function of the seed, so that a run can be repeated.
//!
//! The order in which the regions come to know of each other's writes depends on the machine, and with it which of two
//! concurrent writes wins. What is written does not.

use std::collections::VecDeque;

use crate::random::{Random, mix};
use crate::regions::{COUNT, Index};

/// Records that all regions write at once.
const HOT: usize = 20;
/// One write in so many is on a hot record.
const HOT_SHARE: u64 = 5;
/// How many of its own deletions a region leaves alone before it restores the oldest.
const RESTORE_AFTER: usize = 20;

/// What airports are tagged with.
pub(crate) const TAGS: [&str; 8] =
    ["cargo", "customs", "fuel", "ils", "lounge", "military", "night ban", "repair"];

/// An operation on a record. The numbers make the values differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Rename(u16),
    City(u16),
    Survey(u16),
    Move(u16),
    TimeZone(u16),
    AddTag(u16),
    RemoveTag(u16),
    Count(u16),
    Delete,
    Restore,
}

impl Op {
    fn parts(self) -> (u64, u16) {
        match self {
            Self::Rename(n) => (1, n),
            Self::City(n) => (2, n),
            Self::Survey(n) => (3, n),
            Self::Move(n) => (4, n),
            Self::TimeZone(n) => (5, n),
            Self::AddTag(n) => (6, n),
            Self::RemoveTag(n) => (7, n),
            Self::Count(n) => (8, n),
            Self::Delete => (9, 0),
            Self::Restore => (10, 0),
        }
    }
}

/// An operation at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    /// Microseconds after writing begins.
    pub(crate) at_us: u64,
    /// The record, by its place in the data.
    pub(crate) record: usize,
    pub(crate) op: Op,
}

/// What a schedule is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) records: usize,
    pub(crate) seconds: u64,
    /// Writes per second and region.
    pub(crate) rate: u64,
}

impl Plan {
    /// The operations of one region, in the order of their times.
    pub(crate) fn of(&self, region: Index) -> Vec<Planned> {
        let mut random = Random::new(self.seed, region as u64);
        // The hot records are the same for all regions, so they do not come out of a region's own numbers.
        let mut common = Random::new(self.seed, u64::MAX);
        let hot: Vec<usize> = (0..HOT).map(|_| common.below(self.records as u64) as usize).collect();
        let mut tagged: VecDeque<(usize, u16)> = VecDeque::new();
        let mut deleted: VecDeque<usize> = VecDeque::new();
        let period_us = 1_000_000.0 / self.rate as f64;
        let plan = (0..self.seconds * self.rate).map(|place| {
            let within = random.below(1 << 16) as f64 / f64::from(1 << 16);
            let at_us = ((place as f64 + within) * period_us) as u64;
            let record = match random.below(HOT_SHARE) {
                0 => hot[random.below(hot.len() as u64) as usize],
                _ => random.below(self.records as u64) as usize,
            };
            let n = random.below(1 << 16) as u16;
            let (record, op) = match random.below(100) {
                0..14 => (record, Op::Rename(n)),
                14..22 => (record, Op::City(n)),
                22..36 => (record, Op::Survey(n)),
                36..46 => (record, Op::Move(n)),
                46..50 => (record, Op::TimeZone(n)),
                50..65 => {
                    tagged.push_back((record, n));
                    (record, Op::AddTag(n))
                }
                65..75 => match tagged.pop_front() {
                    Some((record, tag)) => (record, Op::RemoveTag(tag)),
                    None => (record, Op::Count(1)),
                },
                75..92 => (record, Op::Count(1 + n % 9)),
                92..96 => {
                    deleted.push_back(record);
                    (record, Op::Delete)
                }
                _ if deleted.len() > RESTORE_AFTER => (deleted.pop_front().unwrap_or(record), Op::Restore),
                _ => (record, Op::Count(1)),
            };
            Planned { at_us, record, op }
        });
        plan.collect()
    }

    /// A digest of the schedules of all regions: equal for equal plans on every machine.
    pub(crate) fn digest(&self) -> u64 {
        let mut digest = 0;
        for region in 0..COUNT {
            for Planned { at_us, record, op } in self.of(region) {
                let (kind, n) = op.parts();
                for part in [region as u64, at_us, record as u64, kind, u64::from(n)] {
                    digest = mix(digest ^ part).wrapping_add(part);
                }
            }
        }
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan { seed: 7, records: 2000, seconds: 2, rate: 1000 };

    #[test]
    fn the_same_seed_gives_the_same_schedule_and_another_one_another() {
        assert_eq!(PLAN.of(1), PLAN.of(1));
        assert_ne!(PLAN.of(0), PLAN.of(1));
        assert_eq!(PLAN.digest(), PLAN.digest());
        assert_ne!(PLAN.digest(), Plan { seed: 8, ..PLAN }.digest());
        assert_ne!(PLAN.digest(), Plan { records: 1999, ..PLAN }.digest());
    }

    #[test]
    fn writes_come_in_order_at_the_rate_asked_for_and_a_fifth_of_them_on_few_records() {
        let plan = PLAN.of(2);
        assert_eq!(plan.len(), 2000);
        assert!(plan.is_sorted_by_key(|planned| planned.at_us));
        assert!(plan.iter().all(|planned| planned.at_us < 2_000_000 && planned.record < 2000));
        let mut writes = std::collections::BTreeMap::new();
        for planned in &plan {
            *writes.entry(planned.record).or_insert(0) += 1;
        }
        let mut counts: Vec<usize> = writes.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let hot: usize = counts.iter().take(HOT).sum();
        assert!((360..520).contains(&hot), "{hot} of 2000 writes are on the {HOT} records written most");
    }
}
