//! What goes to an inbox: frames, or parts of them. `docs/nats.md` has it byte by byte.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use uuid::Uuid;

use crate::beat::take_session;
use crate::reason::Farewell;

/// The bytes before a part of a frame.
pub(crate) const HEAD_BYTES: usize = 43;

const VERSION: u8 = 1;
const MORE: u8 = 0;
const LAST: u8 = 1;
const FAREWELL: u8 = 2;

/// Between which two lives of the two sides a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sessions {
    pub(crate) from: Uuid,
    pub(crate) to: Uuid,
}

/// A message in an inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) sessions: Sessions,
    /// From 1, without a gap.
    pub(crate) sequence: u64,
    pub(crate) content: Content,
}

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A part of a frame of one of the sender's domains, by its place.
    Part { index: u8, is_last: bool, bytes: Bytes },
    /// The sender ends the session; all that was to be sent before is.
    Farewell(Farewell),
}

impl Message {
    pub(crate) fn encode(&self) -> Bytes {
        let (kind, tag, content): (u8, u8, &[u8]) = match &self.content {
            Content::Part { index, is_last, bytes } => (if *is_last { LAST } else { MORE }, *index, bytes),
            Content::Farewell(farewell) => (FAREWELL, farewell.code(), &[]),
        };
        let mut bytes = BytesMut::with_capacity(HEAD_BYTES + content.len());
        bytes.put_slice(&[VERSION, kind]);
        bytes.put_slice(self.sessions.from.as_bytes());
        bytes.put_slice(self.sessions.to.as_bytes());
        bytes.put_u64(self.sequence);
        bytes.put_u8(tag);
        bytes.put_slice(content);
        bytes.freeze()
    }

    /// None: these bytes are no message.
    pub(crate) fn decode(payload: &Bytes) -> Option<Self> {
        let mut bytes: &[u8] = payload;
        let (version, kind) = (bytes.try_get_u8().ok()?, bytes.try_get_u8().ok()?);
        let sessions = Sessions { from: take_session(&mut bytes)?, to: take_session(&mut bytes)? };
        let sequence = bytes.try_get_u64().ok()?;
        let tag = bytes.try_get_u8().ok()?;
        let content = match kind {
            MORE | LAST => {
                Content::Part { index: tag, is_last: kind == LAST, bytes: payload.slice(HEAD_BYTES..) }
            }
            FAREWELL => Content::Farewell(Farewell(tag)),
            _ => return None,
        };
        (version == VERSION && sequence > 0).then_some(Self { sessions, sequence, content })
    }
}

/// Puts the parts of a frame together again.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    parts: BytesMut,
    index: Option<u8>,
}

/// What is wrong with a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadPart {
    /// It is of another domain than those before it.
    Mixed,
    /// The frame has more bytes than are taken.
    TooLarge(u64),
}

impl Assembly {
    /// The frame, if it is whole now.
    pub(crate) fn add(
        &mut self,
        index: u8,
        is_last: bool,
        bytes: Bytes,
        most: u32,
    ) -> Result<Option<Bytes>, BadPart> {
        if self.index.is_some_and(|first| first != index) {
            return Err(BadPart::Mixed);
        }
        let length = (self.parts.len() + bytes.len()) as u64;
        if length > u64::from(most) {
            return Err(BadPart::TooLarge(length));
        }
        if is_last && self.index.is_none() {
            // The common case is not copied.
            return Ok(Some(bytes));
        }
        self.parts.put_slice(&bytes);
        self.index = (!is_last).then_some(index);
        Ok(is_last.then(|| std::mem::take(&mut self.parts).freeze()))
    }
}

/// A frame in parts of at most so many bytes, in their order. The last one is told apart. None has no bytes, so a frame without
/// any has no parts.
pub(crate) fn parts(frame: &Bytes, most: usize) -> impl Iterator<Item = (bool, Bytes)> {
    let most = most.max(1);
    (0..frame.len()).step_by(most).map(move |from| {
        let to = frame.len().min(from + most);
        (to == frame.len(), frame.slice(from..to))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(content: Content) -> Message {
        let sessions = Sessions { from: Uuid::from_u128(1), to: Uuid::from_u128(2) };
        Message { sessions, sequence: 3, content }
    }

    #[test]
    fn a_message_comes_back_and_other_bytes_are_none() {
        let part = Content::Part { index: 4, is_last: false, bytes: Bytes::from_static(b"part") };
        for content in [part, Content::Farewell(Farewell(2))] {
            let bytes = message(content.clone()).encode();
            assert_eq!(Message::decode(&bytes), Some(message(content)));
            for length in 0..HEAD_BYTES {
                assert_eq!(Message::decode(&bytes.slice(..length)), None, "{length}");
            }
            for (place, byte) in [(0, 2), (1, 3), (41, 0)] {
                let mut wrong = bytes.to_vec();
                wrong[place] = byte;
                assert_eq!(Message::decode(&wrong.into()), None, "{place}");
            }
        }
    }

    #[test]
    fn a_frame_is_put_together_from_parts_of_any_size() {
        let frame = Bytes::from_iter(0..=255);
        for most in [0, 1, 7, 255, 256, 257] {
            let mut assembly = Assembly::default();
            let mut whole = Vec::new();
            for (is_last, bytes) in parts(&frame, most) {
                whole.extend(assembly.add(3, is_last, bytes, 256).unwrap());
            }
            assert_eq!(whole, std::slice::from_ref(&frame), "{most}");
            // And it is ready for the next one.
            assert_eq!(assembly.add(4, true, frame.clone(), 256), Ok(Some(frame.clone())));
        }
        assert_eq!(parts(&Bytes::new(), 7).count(), 0);
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let bytes = Bytes::from_static(b"12345");
        let mut assembly = Assembly::default();
        assert_eq!(assembly.add(3, false, bytes.clone(), 9), Ok(None));
        assert_eq!(assembly.add(4, false, bytes.clone(), 100), Err(BadPart::Mixed));
        assert_eq!(assembly.add(3, true, bytes.clone(), 9), Err(BadPart::TooLarge(10)));
        assert_eq!(Assembly::default().add(3, true, bytes, 4), Err(BadPart::TooLarge(5)));
    }
}
