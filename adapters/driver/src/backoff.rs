//! How long a transport waits before it tries again.

use std::time::Duration;

/// Waiting times that double up to a limit. Of each, half is fixed and half is random, so that peers that lost each other at the
/// same moment do not come back at the same moment.
///
/// # Example
/// ```
/// use std::time::Duration;
///
/// use driftless_node::Backoff;
///
/// let (least, most) = (Duration::from_millis(100), Duration::from_secs(10));
/// let mut backoff = Backoff::new(least, most, 7);               // a random number
/// assert!(backoff.wait() <= least && backoff.wait() <= 2 * least);
/// backoff.reset();
/// assert!(backoff.wait() <= least && Backoff::nth(least, most, 7, 2) <= 2 * least);
/// ```
#[derive(Debug)]
pub struct Backoff {
    least: Duration,
    most: Duration,
    step: u32,
    random: u64,
}

impl Backoff {
    /// Waiting times from the least to the most, with a seed for what is random of them.
    pub fn new(least: Duration, most: Duration, seed: u64) -> Self {
        Self { least, most: most.max(least), step: 0, random: seed }
    }

    /// The next waiting time.
    pub fn wait(&mut self) -> Duration {
        let doubled = self.least.saturating_mul(1_u32.checked_shl(self.step).unwrap_or(u32::MAX));
        self.step = self.step.saturating_add(1);
        let whole = doubled.min(self.most);
        // 32 random bits, as a part of one half.
        whole / 2 + (whole / 2).mul_f64((self.random() >> 32) as f64 / (1_u64 << 32) as f64)
    }

    /// A waiting time of a row, from 1, where none of the others is known.
    pub fn nth(least: Duration, most: Duration, seed: u64, number: usize) -> Duration {
        let step = u32::try_from(number.saturating_sub(1)).unwrap_or(u32::MAX);
        let seed = seed ^ u64::from(step).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self { step, ..Self::new(least, most, seed) }.wait()
    }

    /// All is well: the next waiting time is the least.
    pub fn reset(&mut self) {
        self.step = 0;
    }

    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_jitter_by_half() {
        let (least, most) = (Duration::from_millis(100), Duration::from_secs(10));
        let mut backoff = Backoff::new(least, most, 7);
        for step in 0..100_u32 {
            let whole = (least * 2_u32.pow(step.min(7))).min(most);
            let wait = backoff.wait();
            assert!(whole / 2 <= wait && wait <= whole, "{step}: {wait:?} of {whole:?}");
        }
        backoff.reset();
        assert!(backoff.wait() <= least);
        for (number, whole) in [(0, least), (1, least), (3, least * 4), (usize::MAX, most)] {
            let wait = Backoff::nth(least, most, 7, number);
            assert!(whole / 2 <= wait && wait <= whole, "{number}: {wait:?} of {whole:?}");
        }

        let waits = |seed| {
            let mut backoff = Backoff::new(least, most, seed);
            (0..20).map(|_| backoff.wait()).collect::<Vec<_>>()
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }
}
