//! Clocks that are wrong.

/// The clock that one process reads.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock {
    /// By how much it is ahead of the true time.
    ahead_ms: i64,
    /// What it shows while it is stuck.
    stuck_at_ms: Option<u64>,
    /// A clone reads odd milliseconds, and who was cloned even ones: the stamps that both issue differ.
    oddness: Option<u64>,
}

impl Clock {
    /// What it shows.
    pub(super) fn now(&self, true_ms: u64) -> u64 {
        let shown = self.stuck_at_ms.unwrap_or_else(|| true_ms.saturating_add_signed(self.ahead_ms));
        match self.oddness {
            None => shown,
            Some(oddness) => (shown & !1) | oddness,
        }
    }

    /// It is ahead by so much, or behind, whatever it was before.
    pub(super) fn set(&mut self, ahead_ms: i64) {
        self.ahead_ms = ahead_ms;
    }

    /// It jumps.
    pub(super) fn step(&mut self, by_ms: i64) {
        self.ahead_ms += by_ms;
    }

    /// It stands still until it is [moving](Self::move_on) again.
    pub(super) fn stick(&mut self, true_ms: u64) {
        self.stuck_at_ms = Some(self.now(true_ms));
    }

    pub(super) fn move_on(&mut self) {
        self.stuck_at_ms = None;
    }

    /// It shows the true time, and goes on.
    pub(super) fn mend(&mut self) {
        (self.ahead_ms, self.stuck_at_ms) = (0, None);
    }

    pub(super) fn ahead_ms(&self) -> i64 {
        self.ahead_ms
    }

    /// From now on it shows only odd milliseconds, or only even ones.
    pub(super) fn tell_apart(&mut self, is_odd: bool) {
        self.oddness = Some(u64::from(is_odd));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_steps_sticks_and_is_mended() {
        let mut clock = Clock::default();
        clock.set(50);
        clock.step(-70);
        assert_eq!((clock.now(1_000), clock.ahead_ms()), (980, -20));
        clock.stick(1_000);
        assert_eq!((clock.now(5_000), clock.now(6_000)), (980, 980));
        clock.move_on();
        assert_eq!(clock.now(5_000), 4_980);
        clock.tell_apart(true);
        assert_eq!((clock.now(5_000), clock.now(5_001)), (4_981, 4_981));
        clock.mend();
        clock.tell_apart(false);
        assert_eq!((clock.now(5_000), clock.now(5_001)), (5_000, 5_000));
    }
}
