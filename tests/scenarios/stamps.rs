//! Stamps, ties and wrong clocks.
