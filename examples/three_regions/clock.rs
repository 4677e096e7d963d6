//! The job's one clock.
//!
//! The engine reads no clock; this is where its times come from. All three regions run on one machine and read the same
//! steady clock, so that a lag measured in one region against a stamp of another is true to the millisecond.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Counts from the start of the job, and knows what Unix time that was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    unix_us: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), unix_us: unix.as_micros() as u64 }
    }

    /// Microseconds since the job began.
    pub(crate) fn micros(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// The Unix milliseconds that the engine is given.
    pub(crate) fn unix_ms(&self) -> u64 {
        (self.unix_us + self.micros()) / 1000
    }

    /// Sleeps until `micros` since the job began.
    pub(crate) fn sleep_until(&self, micros: u64) {
        let wait = micros.saturating_sub(self.micros());
        if wait > 0 {
            std::thread::sleep(Duration::from_micros(wait));
        }
    }
}
