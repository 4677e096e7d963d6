//! Stamps and the hybrid logical clock that issues them.
//!
//! A stamp is 64 bits: 48 of Unix milliseconds above 16 of a counter. One stamp is at once an event's identity (with its
//! replica), its place in last-writer-wins order, its position in its author's log and the measure of replication lag.
//!
//! This module reads no clock: the time is an argument of every call that needs it, in Unix milliseconds.
//!
//! Source: Kulkarni et al., *Logical Physical Clocks* (2014), section 4; the encoding in one word is their section 6.2.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of bits of a [`Timestamp`] below its milliseconds.
const COUNTER_BITS: u32 = 16;

/// A hybrid logical timestamp: 48 bits of Unix milliseconds, 16 bits of counter.
///
/// Timestamps order first by time, then by counter. [`Timestamp::ZERO`] stands for "nothing yet" and is never issued.
/// With serde it is its 64 bits; it is shown as `milliseconds.counter`.
///
/// # Example
/// ```
/// use driftless::Timestamp;
///
/// let stamp = Timestamp::new(1_700_000_000_000, 7)?;
/// assert_eq!((stamp.millis(), stamp.counter()), (1_700_000_000_000, 7));
/// assert_eq!(stamp.to_string(), "1700000000000.7");
/// assert_eq!(Timestamp::from_bits(stamp.bits()), stamp);
///
/// assert!(Timestamp::ZERO < stamp && stamp < Timestamp::new(1_700_000_000_001, 0)?);
/// assert_eq!(Timestamp::new(Timestamp::MAX_MILLIS, u16::MAX)?, Timestamp::MAX);
/// assert!(Timestamp::new(Timestamp::MAX_MILLIS + 1, 0).is_err());
/// # Ok::<(), driftless::ClockError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Before every stamp that a clock issues.
    pub const ZERO: Self = Self(0);
    /// The last stamp there is. A clock that has issued it is exhausted.
    pub const MAX: Self = Self(u64::MAX);
    /// The greatest number of Unix milliseconds that a stamp can hold (the year 10889).
    pub const MAX_MILLIS: u64 = (1 << (64 - COUNTER_BITS)) - 1;

    /// The stamp of a time in Unix milliseconds and a counter.
    ///
    /// # Errors
    /// [`ClockError::NowTooLarge`] if `millis` needs more than 48 bits.
    #[inline]
    pub const fn new(millis: u64, counter: u16) -> Result<Self, ClockError> {
        if millis > Self::MAX_MILLIS {
            return Err(ClockError::NowTooLarge { now_ms: millis });
        }
        Ok(Self((millis << COUNTER_BITS) | counter as u64))
    }

    /// The stamp with these 64 bits: milliseconds in the upper 48, the counter in the lower 16.
    #[inline]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The 64 bits of the stamp.
    #[inline]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The Unix milliseconds of the stamp.
    #[inline]
    pub const fn millis(self) -> u64 {
        self.0 >> COUNTER_BITS
    }

    /// The counter of the stamp, which tells apart what happened within one millisecond.
    #[inline]
    pub const fn counter(self) -> u16 {
        (self.0 & 0xFFFF) as u16
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.millis(), self.counter())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Issues stamps, each above all that it issued or observed before, however the wall clock behaves.
///
/// A [`Replica`](crate::Replica) has one of its own. Each call is constant work.
///
/// Source: Kulkarni et al., *Logical Physical Clocks* (2014), section 4.
///
/// # Example
/// ```
/// use driftless::{HybridClock, Timestamp};
///
/// let mut clock = HybridClock::default();
/// let first = clock.tick(1_000)?;
/// let stepped_back = clock.tick(400)?;
/// assert!(stepped_back > first);
/// assert_eq!(clock.last(), stepped_back);
///
/// clock.observe(Timestamp::new(5_000, 0)?);
/// assert_eq!(clock.peek(1_001)?, Timestamp::new(5_000, 1)?);
/// assert_eq!(clock.tick(6_000)?, Timestamp::new(6_000, 0)?);
/// # Ok::<(), driftless::ClockError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HybridClock {
    last: Timestamp,
}

impl HybridClock {
    /// The greatest stamp issued or observed.
    pub fn last(&self) -> Timestamp {
        self.last
    }

    /// The stamp that [`tick`](Self::tick) would issue at `now_ms`, in Unix milliseconds: `max(now << 16, last + 1)`. A
    /// counter that overflows carries into the milliseconds, so more than 65,536 stamps of one millisecond run ahead of it
    /// rather than fail.
    ///
    /// # Errors
    /// [`ClockError::NowTooLarge`] if `now_ms` needs more than 48 bits, [`ClockError::Exhausted`] if no stamp is left.
    #[inline]
    pub fn peek(&self, now_ms: u64) -> Result<Timestamp, ClockError> {
        let now = Timestamp::new(now_ms, 0)?;
        let next = self.last.0.checked_add(1).ok_or(ClockError::Exhausted)?;
        Ok(now.max(Timestamp(next)))
    }

    /// Issues a stamp above all that were issued or observed, at `now_ms` if that is above them.
    ///
    /// # Errors
    /// As [`peek`](Self::peek); the clock is unchanged.
    pub fn tick(&mut self, now_ms: u64) -> Result<Timestamp, ClockError> {
        self.last = self.peek(now_ms)?;
        Ok(self.last)
    }

    /// Raises the clock to `stamp`, if it is below it.
    #[inline]
    pub fn observe(&mut self, stamp: Timestamp) {
        self.last = self.last.max(stamp);
    }
}

/// Why no stamp could be issued. To blame: the caller, who passed the time. Nothing changed.
///
/// # Example
/// ```
/// use driftless::{ClockError, HybridClock, Timestamp};
///
/// let mut clock = HybridClock::default();
/// let now_us = 1_700_000_000_000_000;
/// let refused = clock.tick(now_us).unwrap_err();
/// assert_eq!(refused, ClockError::NowTooLarge { now_ms: now_us });
/// assert!(refused.to_string().ends_with("nothing changed: pass Unix time in milliseconds"));
///
/// clock.observe(Timestamp::MAX);
/// assert_eq!(clock.tick(1_000), Err(ClockError::Exhausted));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClockError {
    /// The time given needs more than 48 bits of milliseconds. Pass Unix time in milliseconds, not micro- or nanoseconds.
    NowTooLarge {
        /// The time given.
        now_ms: u64,
    },
    /// The last of all stamps has been issued or merged, because a time near the end of the range was passed (the year
    /// 10889). The replica can only be read: go on, under a new id, from a peer that has not merged that stamp.
    Exhausted,
}

impl fmt::Display for ClockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NowTooLarge { now_ms } => {
                write!(
                    f,
                    "the caller's time of {now_ms} ms needs more than 48 bits; \
                     nothing changed: pass Unix time in milliseconds"
                )
            }
            Self::Exhausted => f.write_str(
                "the caller once passed a time near the end of the range, so the last stamp is taken; \
                 nothing changed: go on under a new id, from a peer that does not hold that stamp",
            ),
        }
    }
}

impl std::error::Error for ClockError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_order_by_time_then_counter() {
        let stamp = |ms, counter| Timestamp::new(ms, counter).unwrap();
        assert!(stamp(1, 0) < stamp(1, 1));
        assert!(stamp(1, u16::MAX) < stamp(2, 0));
        assert_eq!(stamp(Timestamp::MAX_MILLIS, u16::MAX), Timestamp::MAX);
    }

    #[test]
    fn a_clock_follows_the_wall_until_it_steps_back() {
        let mut clock = HybridClock::default();
        assert_eq!(clock.tick(10).unwrap(), Timestamp::new(10, 0).unwrap());
        assert_eq!(clock.tick(9).unwrap(), Timestamp::new(10, 1).unwrap());
        assert_eq!(clock.tick(11).unwrap(), Timestamp::new(11, 0).unwrap());
    }

    #[test]
    fn zero_is_never_issued() {
        assert!(HybridClock::default().tick(0).unwrap() > Timestamp::ZERO);
    }

    #[test]
    fn a_full_counter_carries_into_the_milliseconds() {
        let mut clock = HybridClock::default();
        clock.observe(Timestamp::new(10, u16::MAX).unwrap());
        assert_eq!(clock.tick(10).unwrap(), Timestamp::new(11, 0).unwrap());
    }

    #[test]
    fn a_time_beyond_48_bits_and_an_exhausted_clock_are_errors_that_change_nothing() {
        let mut clock = HybridClock::default();
        clock.tick(5).unwrap();
        let before = clock.last();
        assert_eq!(clock.tick(1 << 48), Err(ClockError::NowTooLarge { now_ms: 1 << 48 }));
        assert_eq!(clock.last(), before);
        clock.observe(Timestamp::MAX);
        assert_eq!(clock.tick(5), Err(ClockError::Exhausted));
        assert_eq!(clock.last(), Timestamp::MAX);
    }
}
