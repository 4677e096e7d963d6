//! Latencies, counted in classes a sixteenth apart, so that millions of them take no more memory than one.

use std::sync::atomic::{AtomicU64, Ordering};

/// Classes for each power of two.
const STEPS: usize = 16;
const CLASSES: usize = 40 * STEPS;

/// What tasks count in.
#[derive(Debug)]
pub(crate) struct Histogram([AtomicU64; CLASSES]);

/// What was counted.
#[derive(Clone, Debug)]
pub(crate) struct Counts(Vec<u64>);

impl Histogram {
    pub(crate) const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; CLASSES])
    }

    pub(crate) fn note(&self, micros: u64) {
        self.0[class(micros)].fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted since it was last taken.
    pub(crate) fn take(&self) -> Counts {
        Counts(self.0.iter().map(|count| count.swap(0, Ordering::Relaxed)).collect())
    }
}

fn class(micros: u64) -> usize {
    let small = micros < STEPS as u64;
    let shift = if small { 0 } else { micros.ilog2() as usize - STEPS.ilog2() as usize };
    (shift * STEPS + (micros >> shift) as usize).min(CLASSES - 1)
}

/// The largest of a class.
fn most(class: usize) -> u64 {
    let shift = (class / STEPS).saturating_sub(1);
    let base = class - shift * STEPS;
    ((base as u64 + 1) << shift) - 1
}

impl Counts {
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// So many hundredths took as long at most.
    pub(crate) fn percentile(&self, hundredths: u64) -> u64 {
        let rank = (self.count() * hundredths).div_ceil(100).max(1);
        let mut sum = 0;
        let found = self.0.iter().position(|count| {
            sum += count;
            sum >= rank
        });
        found.map_or(0, most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_in_order_and_a_sixteenth_wide() {
        for micros in (0..100_000).chain([1 << 30, u64::MAX >> 30]) {
            let most = most(class(micros));
            assert!(most >= micros && most - micros <= micros / STEPS as u64, "{micros}: {most}");
            assert!(class(most) == class(micros) && class(most + 1) == class(micros) + 1, "{micros}");
        }
        class(u64::MAX);
    }

    #[test]
    fn percentiles_are_those_of_what_was_noted() {
        let histogram = Histogram::new();
        (1..=1000).for_each(|micros| histogram.note(micros));
        let counts = histogram.take();
        let [half, most] = [50, 99].map(|hundredths| counts.percentile(hundredths));
        assert!((500..=531).contains(&half) && (990..=1052).contains(&most), "{half} {most}");
        assert_eq!((counts.count(), histogram.take().count(), histogram.take().percentile(50)), (1000, 0, 0));
    }
}
