//! One id used by two copies of a replica, by one that lost what it sent, and by one whose clock ran ahead: it is found out, the
//! replica goes on under a new id, and what its copies wrote is there exactly once.

#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

mod histories;
mod named;
mod points;
mod world;
