//! Numbers from a seed, the same on all platforms: SplitMix64.

use std::ops::RangeInclusive;

/// A source of numbers.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// Numbers for one purpose, named by `purpose`: what is drawn for one purpose never depends on how much was drawn for
    /// others, so a
    /// run in which something is left out is otherwise the same.
    pub(super) fn new(seed: u64, purpose: &[u64]) -> Self {
        let mut random = Self(seed);
        for word in purpose {
            random = Self(random.draw() ^ word.wrapping_mul(0xff51_afd7_ed55_8ccd));
        }
        random
    }

    pub(super) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    pub(super) fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    /// Many small numbers and few large ones: any order of magnitude up to `most` is as likely as any other.
    pub(super) fn of_any_size(&mut self, most: u64) -> u64 {
        let bits = u64::from(u64::BITS - most.leading_zeros());
        let bound = 1 << self.within(0..=bits);
        self.below(bound.min(most + 1))
    }

    pub(super) fn chance(&mut self, permille: u64) -> bool {
        self.below(1_000) < permille
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.draw() as u8
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// One of several by weight.
    pub(super) fn weighted<T: Copy>(&mut self, of: &[(u64, T)]) -> T {
        let mut left = self.below(of.iter().map(|(weight, _)| weight).sum());
        for (weight, choice) in of {
            match left.checked_sub(*weight) {
                Some(less) => left = less,
                None => return *choice,
            }
        }
        unreachable!("what is left is below the sum of the weights")
    }

    pub(super) fn id(&mut self) -> u128 {
        u128::from(self.draw()) << 64 | u128::from(self.draw())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_do_not_disturb_each_other_and_bounds_hold() {
        let draw = |seed, purpose: &[u64]| Random::new(seed, purpose).draw();
        assert_eq!(draw(7, &[1, 2]), draw(7, &[1, 2]));
        let all = [draw(7, &[1, 2]), draw(7, &[2, 1]), draw(7, &[1]), draw(8, &[1, 2]), draw(7, &[])];
        assert!(all.iter().enumerate().all(|(at, number)| !all[..at].contains(number)), "{all:?}");
        let mut random = Random::new(7, &[]);
        let sizes: Vec<_> = (0..2_000).map(|_| random.of_any_size(1_000)).collect();
        assert!(sizes.iter().all(|size| *size <= 1_000));
        assert!(sizes.iter().filter(|size| **size < 10).count() > 300);
        assert!(sizes.iter().any(|size| *size > 900));
        let heavy = (0..1_000).filter(|_| random.weighted(&[(9, true), (1, false), (0, false)])).count();
        assert!((800..1_000).contains(&heavy), "{heavy}");
        assert!((0..100).all(|_| (3..=4).contains(&random.within(3..=4))));
    }
}
