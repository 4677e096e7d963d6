//! Numbers that look random and are the same in each run.

/// A xorshift generator.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % sides
    }

    /// Two different numbers below `sides`.
    pub(crate) fn pair(&mut self, sides: usize) -> (usize, usize) {
        let first = self.roll(sides);
        (first, (first + 1 + self.roll(sides - 1)) % sides)
    }
}
