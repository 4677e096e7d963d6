//! Frames on a connection, and how they are read as they arrive. `docs/tcp.md` has them byte by byte.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

use crate::config::{Limits, Timing};
use crate::preface::{HEAD_BYTES, Head, Hello};
use crate::reason::{Farewell, Reason};

/// The bytes before a frame: its length and its tag.
const FRAME_HEAD_BYTES: usize = 5;

/// How much room is made for what may come next. No more than this and than what has come is ever held for what has not.
const ROOM_BYTES: usize = 64 << 10;

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A sign of life.
    KeepAlive,
    /// The peer closes the connection.
    Farewell(Farewell),
    /// A frame of one of the peer's domains, by its place.
    Frame(u8, Bytes),
}

/// A frame of a domain.
pub(crate) fn put_frame(out: &mut BytesMut, index: u8, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).expect("the length was held against a limit of 32 bits"));
    out.put_u8(index);
    out.put_slice(bytes);
}

/// A sign of life.
pub(crate) fn put_keep_alive(out: &mut BytesMut) {
    out.put_slice(&[0; FRAME_HEAD_BYTES]);
}

/// The last frame.
pub(crate) fn put_farewell(out: &mut BytesMut, farewell: Farewell) {
    out.put_u32(0);
    // None at all would be a sign of life.
    out.put_u8(if farewell.0 == 0 { Farewell::BY_NODE.0 } else { farewell.0 });
}

/// Reads a connection piece by piece. Each call may be given up and made again: what has come is kept.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    stream: R,
    buffer: BytesMut,
    /// Since when the frame that is not yet whole comes in.
    since: Option<Instant>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self { stream, buffer: BytesMut::new(), since: None }
    }

    /// The stream for other use. What has been read ahead goes along.
    pub(crate) fn map<T>(self, map: impl FnOnce(R) -> T) -> Reader<T> {
        Reader { stream: map(self.stream), buffer: self.buffer, since: self.since }
    }

    pub(crate) fn stream(&mut self) -> &mut R {
        &mut self.stream
    }

    /// The peer's preface. The caller sets the time.
    pub(crate) async fn hello(&mut self) -> Result<Hello, Reason> {
        self.fill(HEAD_BYTES).await?;
        let head = Head::decode(&self.buffer[..HEAD_BYTES])?;
        self.fill(HEAD_BYTES + head.body_bytes).await?;
        self.buffer.advance(HEAD_BYTES);
        head.hello(&self.buffer.split_to(head.body_bytes))
    }

    /// The next frame.
    pub(crate) async fn next(&mut self, limits: &Limits, timing: &Timing) -> Result<Received, Reason> {
        let mut silent = Instant::now() + timing.silence;
        loop {
            if let Some(received) = self.take(limits)? {
                self.since = None;
                return Ok(received);
            }
            let late = match self.buffer.is_empty() {
                true => None,
                false => Some(*self.since.get_or_insert_with(Instant::now) + timing.frame),
            };
            let until = late.map_or(silent, |late| late.min(silent));
            match timeout_at(until, self.more()).await {
                Ok(more) => more?,
                Err(_) if until == silent => return Err(Reason::Silent),
                Err(_) => return Err(Reason::Late { what: "a frame" }),
            }
            silent = Instant::now() + timing.silence;
        }
    }

    /// Reads and throws away, until the peer has closed its side. The caller sets the time.
    pub(crate) async fn drain(&mut self) {
        while self.more().await.is_ok() {
            self.buffer.clear();
        }
    }

    /// A frame, if it is there whole.
    fn take(&mut self, limits: &Limits) -> Result<Option<Received>, Reason> {
        let Some((mut length, tag)) =
            self.buffer.get(..FRAME_HEAD_BYTES).and_then(<[u8]>::split_last_chunk::<1>)
        else {
            return Ok(None);
        };
        let (length, [tag]) = (length.get_u32(), *tag);
        if length > limits.frame_bytes {
            return Err(Reason::TooLarge { bytes: u64::from(length), most: limits.frame_bytes });
        }
        let bytes = usize::try_from(length).map_err(|_| Reason::Broken { what: "a frame" })?;
        if self.buffer.len() - FRAME_HEAD_BYTES < bytes {
            return Ok(None);
        }
        self.buffer.advance(FRAME_HEAD_BYTES);
        Ok(Some(match (bytes, tag) {
            (0, 0) => Received::KeepAlive,
            (0, farewell) => Received::Farewell(Farewell(farewell)),
            (_, index) => Received::Frame(index, self.buffer.split_to(bytes).freeze()),
        }))
    }

    /// Reads until so many bytes are there.
    async fn fill(&mut self, bytes: usize) -> Result<(), Reason> {
        while self.buffer.len() < bytes {
            self.more().await?;
        }
        Ok(())
    }

    /// Reads what is there, or waits for it.
    async fn more(&mut self) -> Result<(), Reason> {
        if self.buffer.capacity() - self.buffer.len() < ROOM_BYTES / 4 {
            self.buffer.reserve(ROOM_BYTES);
        }
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(Reason::Cut),
            _ => Ok(()),
        }
    }
}

/// How often a sign of life is sent, if the peer gives up after so many milliseconds: in time for two to be late.
pub(crate) fn keep_alive_every(timing: &Timing, silence_ms: u32) -> Duration {
    let demanded = Duration::from_millis(u64::from(silence_ms)) / 3;
    timing.keep_alive.min(demanded).max(Duration::from_millis(50))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { frame_bytes: 1 << 20, ..Limits::default() }
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap().block_on(future)
    }

    #[test]
    fn frames_are_read_whatever_pieces_they_come_in() {
        let mut bytes = BytesMut::new();
        put_frame(&mut bytes, 3, b"one");
        put_keep_alive(&mut bytes);
        put_frame(&mut bytes, 0, &[7; 200_000]);
        put_farewell(&mut bytes, Farewell(1));
        put_farewell(&mut bytes, Farewell(0));
        assert_eq!(bytes[..13], *b"\x00\x00\x00\x03\x03one\x00\x00\x00\x00\x00");
        let expected = [
            Received::Frame(3, Bytes::from_static(b"one")),
            Received::KeepAlive,
            Received::Frame(0, Bytes::from(vec![7; 200_000])),
            Received::Farewell(Farewell(1)),
            Received::Farewell(Farewell(2)),
        ];
        for piece in [1, 2, 3, 5, 7, 4096, 1 << 20] {
            block_on(async {
                let (near, mut far) = tokio::io::duplex(piece);
                let bytes = bytes.clone();
                let writing = tokio::spawn(async move {
                    tokio::io::AsyncWriteExt::write_all(&mut far, &bytes).await.unwrap();
                });
                let mut reader = Reader::new(near);
                let (limits, timing) = (limits(), Timing::default());
                for expected in &expected {
                    let received = loop {
                        // Given up again and again, it loses nothing.
                        let next = reader.next(&limits, &timing);
                        tokio::select! { biased; received = next => break received, () = std::future::ready(()) => {} }
                        tokio::task::yield_now().await;
                    };
                    assert_eq!(received.as_ref(), Ok(expected));
                }
                assert_eq!(reader.next(&limits, &timing).await, Err(Reason::Cut));
                writing.await.unwrap();
            });
        }
    }

    #[test]
    fn a_length_is_believed_only_as_far_as_bytes_have_come() {
        block_on(async {
            let (near, mut far) = tokio::io::duplex(1 << 16);
            let mut reader = Reader::new(near);
            tokio::io::AsyncWriteExt::write_all(&mut far, b"\x00\x10\x00\x00\x01abc").await.unwrap();
            let late = reader.next(&limits(), &Timing::default()).await;
            assert_eq!(late, Err(Reason::Silent));
            assert!(reader.buffer.capacity() <= 2 * ROOM_BYTES, "{}", reader.buffer.capacity());
            drop(far);

            let (near, mut far) = tokio::io::duplex(1 << 16);
            let mut reader = Reader::new(near);
            tokio::io::AsyncWriteExt::write_all(&mut far, b"\x00\x10\x00\x01\x01").await.unwrap();
            let refused = reader.next(&limits(), &Timing::default()).await;
            assert_eq!(refused, Err(Reason::TooLarge { bytes: (1 << 20) + 1, most: 1 << 20 }));
        });
    }

    #[test]
    fn a_frame_that_comes_in_drops_is_late() {
        block_on(async {
            let (near, mut far) = tokio::io::duplex(64);
            let mut reader = Reader::new(near);
            let dripping = tokio::spawn(async move {
                for _ in 0..1000 {
                    if tokio::io::AsyncWriteExt::write_all(&mut far, &[0, 1]).await.is_err() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_secs(5)).await;
                }
            });
            let started = Instant::now();
            let late = reader.next(&limits(), &Timing::default()).await;
            assert_eq!(late, Err(Reason::Late { what: "a frame" }));
            assert!(started.elapsed() >= Timing::default().frame);
            drop(reader);
            dripping.await.unwrap();
        });
    }

    #[test]
    fn signs_of_life_come_as_often_as_the_peer_demands_within_reason() {
        let every = |silence_ms| keep_alive_every(&Timing::default(), silence_ms).as_millis();
        assert_eq!([every(60_000), every(3_000), every(0)], [5_000, 1_000, 50]);
    }
}
