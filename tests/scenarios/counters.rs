//! Counters that are written apart, reset and removed.
