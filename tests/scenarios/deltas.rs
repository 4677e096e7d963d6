//! Deltas and what they claim to have seen.
