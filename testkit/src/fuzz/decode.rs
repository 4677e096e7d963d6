//! Any bytes are a message or an error, and change nothing.

use crate::fuzz::bytes::Bytes;
use crate::fuzz::types::of_type;
use crate::fuzz::{delivery, scene};
use crate::subject::Subject;

/// The first byte chooses the type of state, the second who receives and how; the rest is what arrives.
#[inline]
pub fn run(bytes: &[u8]) {
    is_message(bytes);
}

/// As [`run`]. Returns whether the bytes are a message, or all chunks of a transfer.
#[inline]
pub fn is_message(bytes: &[u8]) -> bool {
    let mut bytes = Bytes::new(bytes);
    of_type!(bytes.byte(), is_message_as(bytes))
}

fn is_message_as<S: Subject>(mut bytes: Bytes<'_>) -> bool {
    let how = bytes.byte();
    let receiver = scene::shared_receiver::<S>(how);
    let before = (receiver.vector(), receiver.canonical_bytes());
    let delta = delivery::receive(&receiver, how, bytes);
    if let Some(delta) = &delta {
        assert!(delta.is_complete() || delta.from().is_within(&delta.to()), "{delta:?} leads back");
    }
    assert_eq!((receiver.vector(), receiver.canonical_bytes()), before);
    delta.is_some()
}
