//! A connection that is there: frames go both ways until there is a reason to end it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use driftless_node::RegionName;
use driftless_node::connection::{Connection, DomainName, Frame, Grants};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::frame::{Reader, Received, keep_alive_every, put_farewell, put_frame, put_keep_alive};
use crate::observe;
use crate::preface::Hello;
use crate::reason::{Farewell, Reason};
use crate::registry::{Direction, Registered, Traffic};
use crate::settings::Settings;
use crate::shared::Shared;
use crate::tls::Proof;

/// Both directions of a connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// So many bytes of frames are written at once, if they are there.
const BATCH_BYTES: usize = 64 << 10;

/// How often it is looked at whether the peer's certificates are still good, at least.
const REVIEW_EVERY: Duration = Duration::from_secs(30);

/// A connection whose peer is known and let in.
pub(crate) struct Link {
    pub(crate) reader: Reader<Box<dyn Stream>>,
    pub(crate) region: RegionName,
    pub(crate) direction: Direction,
    pub(crate) address: SocketAddr,
    pub(crate) proof: Option<Proof>,
    pub(crate) principal: Option<String>,
    /// What the peer list says that it may do.
    pub(crate) grants: Grants,
    /// What this side told it.
    pub(crate) ours: Hello,
    /// What it told.
    pub(crate) theirs: Hello,
    pub(crate) registered: Registered,
    /// As they were when it was let in; changes of them wake.
    pub(crate) settings: watch::Receiver<Arc<Settings>>,
}

impl Link {
    /// Hands the connection to the node, and serves it until it ends.
    pub(crate) async fn run(self, shared: Arc<Shared>) -> Reason {
        let (region, direction, address) = (self.region.clone(), self.direction, self.address);
        let both: Vec<&str> = self
            .ours
            .domains
            .iter()
            .filter(|domain| self.theirs.domains.contains(domain))
            .map(DomainName::as_str)
            .collect();
        observe::connected(&region, direction, address, &both);
        let reason = self.serve(&shared).await;
        observe::closed(&reason, &region, direction, address);
        reason
    }

    async fn serve(self, shared: &Shared) -> Reason {
        let Self { reader, region, direction, proof, grants, ours, theirs, .. } = self;
        let (mut registered, mut settings, mut stop) = (self.registered, self.settings, shared.stop.clone());
        let (to_node, incoming) = mpsc::channel(shared.limits.queue_frames);
        let (outgoing, from_node) = mpsc::channel(shared.limits.queue_frames);
        let connection = Connection {
            principal: self.principal,
            grants: grants.clone(),
            offered: theirs.domains.clone(),
            incoming,
            outgoing,
        };
        let reviewed = Reviewed { region: &region, direction, proof: proof.as_ref(), grants: &grants };
        tokio::select! {
            // Who is not let in any more is not handed over: the node may take its time, and meanwhile much may change.
            biased;
            _ = stop.wait_for(|is_stopped| *is_stopped) => return Reason::ShuttingDown,
            reason = reviewed.until_refused(&mut settings) => return reason,
            reason = registered.end.recv() => return reason.unwrap_or(Reason::Duplicate),
            sent = shared.sink.send(connection) => if sent.is_err() {
                return Reason::ByNode;
            },
        }

        let (reading, writing) = split(reader);
        let mut reading = reading;
        let traffic = &*registered.traffic;
        let (close, closing) = watch::channel(None);
        let writer = Writer {
            stream: writing,
            indexes: indexes(&ours, &theirs),
            from_node,
            closing,
            every: keep_alive_every(&shared.timing, theirs.silence_ms),
            most: theirs.frame_bytes,
            traffic,
            counted: Counted::new("driftless_tcp_sent", &region),
        };
        let mut writing = std::pin::pin!(writer.run());
        let mut written = None;
        let reason = tokio::select! {
            biased;
            _ = stop.wait_for(|is_stopped| *is_stopped) => Reason::ShuttingDown,
            reason = reviewed.until_refused(&mut settings) => reason,
            reason = registered.end.recv() => reason.unwrap_or(Reason::Duplicate),
            // Neither of the two keeps the other from its turn.
            reason = async {
                tokio::select! {
                    reason = read(&mut reading, shared, &ours, &theirs, &to_node, traffic, &region) => reason,
                    reason = &mut writing => {
                        written = Some(());
                        reason
                    }
                }
            } => reason,
        };
        // The node hears of it now, whatever the peer does.
        drop(to_node);
        if matches!(reason, Reason::Network { .. } | Reason::Cut) {
            return reason;
        }
        close.send_replace(Some(reason.clone()));
        let farewell = async {
            let write = async {
                if written.is_none() {
                    writing.await;
                }
            };
            // What it still sends is read away: unread bytes would reset the connection, and with it the last frames.
            tokio::join!(write, reading.drain());
        };
        // Who does not take it in time does without.
        let _ = timeout(shared.timing.farewell, farewell).await;
        reason
    }
}

type Reading = Reader<tokio::io::ReadHalf<Box<dyn Stream>>>;
type Writing = tokio::io::WriteHalf<Box<dyn Stream>>;

fn split(reader: Reader<Box<dyn Stream>>) -> (Reading, Writing) {
    let mut half = None;
    let reader = reader.map(|stream| {
        let (read, write) = tokio::io::split(stream);
        half = Some(write);
        read
    });
    (reader, half.expect("the closure was called"))
}

/// The domains that may go over a connection: those that both sides offered. Each has its place in what this side offered.
fn indexes(ours: &Hello, theirs: &Hello) -> BTreeMap<DomainName, u8> {
    let numbered = ours.domains.iter().cloned().zip(0..=u8::MAX);
    numbered.filter(|(domain, _)| theirs.domains.contains(domain)).collect()
}

async fn read(
    reader: &mut Reading,
    shared: &Shared,
    ours: &Hello,
    theirs: &Hello,
    to_node: &mpsc::Sender<Frame>,
    traffic: &Traffic,
    region: &RegionName,
) -> Reason {
    let counted = Counted::new("driftless_tcp_received", region);
    loop {
        let received = tokio::select! {
            biased;
            () = to_node.closed() => return Reason::ByNode,
            received = reader.next(&shared.limits, &shared.timing) => received,
        };
        let (index, bytes) = match received {
            Ok(Received::Frame(index, bytes)) => (index, bytes),
            Ok(Received::KeepAlive) => continue,
            Ok(Received::Farewell(farewell)) => return Reason::ByPeer(farewell),
            Err(reason) => return reason,
        };
        let Some(domain) = theirs.domains.get(usize::from(index)) else {
            return Reason::UnknownDomain { index };
        };
        if !ours.domains.contains(domain) {
            return Reason::NotGranted { domain: domain.clone() };
        }
        counted.add(bytes.len());
        traffic.received_frames.fetch_add(1, Ordering::Relaxed);
        traffic.received_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        // While the node has no room, nothing more is read.
        if to_node.send(Frame { domain: domain.clone(), bytes }).await.is_err() {
            return Reason::ByNode;
        }
    }
}

/// The sending side.
struct Writer<'a> {
    stream: Writing,
    indexes: BTreeMap<DomainName, u8>,
    from_node: mpsc::Receiver<Frame>,
    /// Why to end.
    closing: watch::Receiver<Option<Reason>>,
    /// How often something is sent.
    every: Duration,
    /// The most bytes of a frame that the peer takes.
    most: u32,
    traffic: &'a Traffic,
    counted: Counted,
}

impl Writer<'_> {
    async fn run(mut self) -> Reason {
        let mut buffer = BytesMut::new();
        loop {
            let due = Instant::now() + self.every;
            let ending = tokio::select! {
                biased;
                reason = told(&mut self.closing, |_| true) => Some(reason),
                frame = self.from_node.recv() => match frame {
                    Some(frame) => self.put(&mut buffer, &frame).err(),
                    None => Some(Reason::ByNode),
                },
                () = sleep_until(due) => {
                    put_keep_alive(&mut buffer);
                    None
                }
            };
            if let Some(reason) = ending {
                return self.end(buffer, reason).await;
            }
            let mut ending = None;
            while ending.is_none() && buffer.len() < BATCH_BYTES {
                match self.from_node.try_recv() {
                    Ok(frame) => ending = self.put(&mut buffer, &frame).err(),
                    Err(_) => break,
                }
            }
            let written = tokio::select! {
                biased;
                // What the peer may not have any more is not sent to its end.
                reason = told(&mut self.closing, |reason| !reason.is_orderly()) => return reason,
                written = write(&mut self.stream, &mut buffer) => written,
            };
            match (written, ending) {
                (Err(reason), _) => return reason,
                (Ok(()), Some(reason)) => return self.end(buffer, reason).await,
                (Ok(()), None) => {}
            }
        }
    }

    /// The last frames, and the end of this direction.
    async fn end(mut self, mut buffer: BytesMut, reason: Reason) -> Reason {
        let last = async {
            if reason.is_orderly() {
                self.from_node.close();
                while let Some(frame) = self.from_node.recv().await {
                    self.put(&mut buffer, &frame)?;
                    if buffer.len() >= BATCH_BYTES {
                        write(&mut self.stream, &mut buffer).await?;
                    }
                }
            }
            put_farewell(&mut buffer, reason.farewell());
            write(&mut self.stream, &mut buffer).await?;
            self.stream.shutdown().await?;
            Ok::<(), Reason>(())
        };
        // The connection ends by the reason that was there first.
        let _ = last.await;
        reason
    }

    fn put(&self, buffer: &mut BytesMut, frame: &Frame) -> Result<(), Reason> {
        let Some(index) = self.indexes.get(&frame.domain) else {
            return Err(Reason::Withheld { domain: frame.domain.clone() });
        };
        let bytes = frame.bytes.len();
        if u32::try_from(bytes).is_ok_and(|bytes| bytes <= self.most) {
            // An empty one would be a sign of life, and no endpoint makes one.
            if bytes > 0 {
                put_frame(buffer, *index, &frame.bytes);
            }
            self.counted.add(bytes);
            self.traffic.sent_frames.fetch_add(1, Ordering::Relaxed);
            self.traffic.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            Ok(())
        } else {
            Err(Reason::TooLarge { bytes: bytes as u64, most: self.most })
        }
    }
}

/// Waits until the end is told, for a reason of a kind.
async fn told(closing: &mut watch::Receiver<Option<Reason>>, is_meant: impl Fn(&Reason) -> bool) -> Reason {
    let told = closing.wait_for(|reason| reason.as_ref().is_some_and(&is_meant)).await;
    told.ok().and_then(|reason| (*reason).clone()).unwrap_or(Reason::ByNode)
}

async fn write(stream: &mut Writing, buffer: &mut BytesMut) -> Result<(), Reason> {
    stream.write_all(buffer).await?;
    stream.flush().await?;
    // One large frame does not keep its room for ever.
    if buffer.capacity() > 16 * BATCH_BYTES {
        *buffer = BytesMut::new();
    }
    buffer.clear();
    Ok(())
}

/// What must stay true of a peer that was let in.
struct Reviewed<'a> {
    region: &'a RegionName,
    direction: Direction,
    proof: Option<&'a Proof>,
    grants: &'a Grants,
}

impl Reviewed<'_> {
    async fn until_refused(&self, settings: &mut watch::Receiver<Arc<Settings>>) -> Reason {
        loop {
            let now = settings.borrow_and_update().clone();
            if let Err(reason) = self.review(&now) {
                return reason;
            }
            let until = self.proof.map(|proof| proof.valid_until.duration_since(SystemTime::now()));
            // It may have passed by now: then the next review says so.
            let left = until.map_or(REVIEW_EVERY, |left| left.unwrap_or_default().min(REVIEW_EVERY));
            tokio::select! {
                changed = settings.changed() => if changed.is_err() {
                    return Reason::ShuttingDown;
                },
                // The timer may be early by part of a millisecond.
                () = sleep(left + Duration::from_millis(1)) => {}
            }
        }
    }

    fn review(&self, settings: &Settings) -> Result<(), Reason> {
        let policy = settings.policy.as_ref().map_err(|_| Reason::NoPolicy)?;
        let Some(peer) = policy.peer(self.region) else {
            return Err(Reason::NotListed { names: vec![self.region.to_string()] });
        };
        if peer.grants != *self.grants {
            return Err(Reason::PolicyChanged);
        }
        let (Some(tls), Some(proof)) = (&settings.tls, self.proof) else {
            return Ok(());
        };
        if policy.named(&proof.names)[..] != [self.region] {
            return Err(Reason::PolicyChanged);
        }
        if proof.valid_until <= SystemTime::now() {
            return Err(Reason::Expired);
        }
        tls.review(proof, (self.direction == Direction::Dialed).then_some(&peer.identity))
    }
}

/// Counters of one direction of the connections with a peer.
struct Counted {
    frames: metrics::Counter,
    bytes: metrics::Counter,
}

impl Counted {
    fn new(prefix: &str, region: &RegionName) -> Self {
        let counter =
            |what| metrics::counter!(format!("{prefix}_{what}_total"), "peer" => region.to_string());
        Self { frames: counter("frames"), bytes: counter("bytes") }
    }

    fn add(&self, bytes: usize) {
        self.frames.increment(1);
        self.bytes.increment(bytes as u64);
    }
}

/// Says farewell to a peer before its connection was handed to the node: both sides have said what they are.
pub(crate) async fn part(reader: &mut Reader<Box<dyn Stream>>, farewell: Farewell) {
    let mut buffer = BytesMut::new();
    put_farewell(&mut buffer, farewell);
    close(reader, &buffer).await;
}

/// Sends the last bytes, and waits until the peer has taken them. The caller sets the time.
pub(crate) async fn close(reader: &mut Reader<Box<dyn Stream>>, last: &[u8]) {
    let stream = reader.stream();
    if stream.write_all(last).await.is_ok() && stream.shutdown().await.is_ok() {
        reader.drain().await;
    }
}
