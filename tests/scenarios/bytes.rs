//! Bytes: what is written can be read, and the same state is written alike.
