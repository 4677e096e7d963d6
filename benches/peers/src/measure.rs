//! Time, live bytes, deflated sizes and medians.
//!
//! Each allocation is counted, while time is measured too: a few nanoseconds each, for all contestants alike.

use std::alloc::System;
use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::DeflateEncoder;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The nanoseconds that `work` took, and what it made.
pub(crate) fn timed<R>(work: impl FnOnce() -> R) -> (f64, R) {
    let start = Instant::now();
    let made = black_box(work());
    (start.elapsed().as_nanos() as f64, made)
}

/// The nanoseconds of one call of `work`, which may be much faster than the clock: it is called for a while.
pub(crate) fn timed_often(mut work: impl FnMut()) -> f64 {
    const LONG_ENOUGH: Duration = Duration::from_micros(200);
    let mut calls = 0_u32;
    let start = Instant::now();
    while start.elapsed() < LONG_ENOUGH {
        work();
        calls += 1;
    }
    start.elapsed().as_nanos() as f64 / f64::from(calls)
}

/// Lets the allocator tidy up what was freed. Some put that off until a large block is asked for, and whoever asks first pays for
/// the many small ones that others freed.
pub(crate) fn settle() {
    drop(black_box(Vec::<u8>::with_capacity(1 << 16)));
}

/// The bytes that are held from now on.
pub(crate) struct Live(Region<'static, System>);

impl Live {
    pub(crate) fn start() -> Self {
        Self(Region::new(ALLOCATOR))
    }

    pub(crate) fn bytes(&self) -> f64 {
        let change = self.0.change();
        change.bytes_allocated as f64 - change.bytes_deallocated as f64
    }
}

/// How long `bytes` are as a raw deflate stream of level 6.
pub(crate) fn deflated(bytes: &[u8]) -> usize {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(bytes).and_then(|()| encoder.finish()).map_or(0, |deflated| deflated.len())
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn what_repeats_deflates() {
        assert!(deflated(&[7; 10_000]) < 100);
    }
}
