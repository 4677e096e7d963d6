//! What two endpoints send each other. The bytes are in `docs/wire-format.md`, under "Frames".

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::causal::id::ReplicaId;
use crate::causal::vector::VersionVector;
use crate::clock::Timestamp;
use crate::replica::request::Request;
use crate::sync::error::SyncError;
use crate::sync::points::MOST_AT_ONCE;
use crate::wire::column::{self, read_varint, write_varint};
use crate::wire::decode::Decoder;
use crate::wire::limits::Limits;

/// The versions of the protocol that this release speaks, the oldest and the newest.
pub(crate) const VERSIONS: (u16, u16) = (1, 1);

/// What may stand in a body. It is as long as the transport lets it be, and nothing in it is nested deeper than lists in pairs in
/// lists.
const SHAPE: Limits = Limits {
    message_bytes: usize::MAX,
    transfer_bytes: usize::MAX,
    memory_bytes: usize::MAX,
    depth: 16,
    elements: usize::MAX,
    siblings: 0,
    text_bytes: usize::MAX,
    replicas: 0,
};

/// The longest name of a region.
const REGION_BYTES: usize = 256;

/// Who is there, and what it holds. The first frame in each direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) versions: (u16, u16),
    pub(crate) cluster: Uuid,
    /// A hash of the shape of the state.
    pub(crate) schema: u64,
    pub(crate) member: ReplicaId,
    pub(crate) region: String,
    pub(crate) id: ReplicaId,
    pub(crate) now_ms: u64,
    /// Tells this session from those before it.
    pub(crate) nonce: u64,
    /// The nonce of the receiver, if its hello has come; else zero.
    pub(crate) echo: u64,
    pub(crate) request: Request,
    /// The number of the membership's epoch.
    pub(crate) epoch: u64,
    /// What is gathered of transfers that broke off, by their senders: whoever they are, they take up their own.
    pub(crate) pending: Vec<(ReplicaId, Gathered)>,
    /// To whom else the sender is connected.
    pub(crate) peers: Vec<ReplicaId>,
    /// What the receiver, as its id is known here, was said to hold and does not name itself. Nearly always empty; if it does not
    /// hold this, it was rolled back, or is a copy.
    pub(crate) lost: VersionVector,
}

/// What is gathered of a transfer: the index of the chunk that comes next, and the hash of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gathered {
    pub(crate) next: u64,
    pub(crate) last: u64,
}

/// Commit points of replicas, that their events alone may not show.
pub(crate) type Points = Vec<(ReplicaId, Vec<Timestamp>)>;

/// How far a transfer is: rows sent, the ones of this chunk included, of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) chunk: u64,
    pub(crate) rows: u64,
}

/// For each of some replicas what it is known to hold, where that differs from a vector; [`Timestamp::ZERO`] if nothing at all.
/// These are no vectors: who holds nothing of a replica would be said to hold all of it.
pub(crate) type Table = Vec<(ReplicaId, Vec<(ReplicaId, Timestamp)>)>;

/// What the sender of a heartbeat holds, and knows others to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Beat {
    pub(crate) now_ms: u64,
    /// The hash of its vector.
    pub(crate) vector: u64,
    /// The vector itself, if it is another than in the beat before or was asked for.
    pub(crate) news: Option<VersionVector>,
    /// What it knows others to hold, if that is news: what differs from its own vector, replica by replica.
    pub(crate) table: Option<Table>,
    /// To whom else it is connected, if that is news.
    pub(crate) peers: Option<Vec<ReplicaId>>,
    /// Whether the receiver shall say all of that, since what was said before was lost.
    pub(crate) asks: bool,
}

/// What a replica was told of the commits of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) id: ReplicaId,
    pub(crate) points: Vec<Timestamp>,
    /// Whether that is all that is remembered, and not the newest alone.
    pub(crate) is_all: bool,
}

/// Why an endpoint does not exchange anything with the sender of a hello. Without a reason it only tells of a schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// The nonce of the hello.
    pub(crate) nonce: u64,
    /// The nonce of whoever refuses.
    pub(crate) own: u64,
    pub(crate) reason: String,
    /// The shape of the sender's state, place by place, if that is the reason.
    pub(crate) places: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Hello(Box<Hello>),
    /// A message of the wire format: a delta, or a chunk of one.
    Delta {
        seq: u64,
        points: Points,
        progress: Progress,
        message: &'a [u8],
    },
    /// The delta or chunk of this number was taken, and all before it were or need not be.
    Ack {
        seq: u64,
        is_merged: bool,
    },
    /// What came goes on from what has not come: what is held, and what is gathered of a transfer.
    Gap {
        request: Request,
        pending: Option<Gathered>,
    },
    Beat(Box<Beat>),
    /// Which commits of this replica were you told of?
    AskPoints {
        id: ReplicaId,
    },
    Points(Told),
    Refuse(Refusal),
    Audit(crate::sync::audit::Audit),
}

const HELLO: u8 = 1;
const DELTA: u8 = 2;
const ACK: u8 = 3;
const GAP: u8 = 4;
const BEAT: u8 = 5;
const ASK_POINTS: u8 = 6;
const POINTS: u8 = 7;
const REFUSE: u8 = 8;
const AUDIT: u8 = 9;

/// What the hash of a frame begins with, another one for each session: a frame of an older connection is told from those of this
/// one as a broken one is from a whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seal(pub(crate) u64);

impl Seal {
    /// Of frames that belong to no session yet.
    pub(crate) const NONE: Self = Self(0);

    fn check(self, kind: u8, body: &[u8]) -> [u8; 4] {
        let [a, b, c, d, ..] = xxh3_64_with_seed(body, self.0 ^ u64::from(kind)).to_be_bytes();
        [a, b, c, d]
    }
}

/// The bytes before the body: the kind and the check.
const HEAD: usize = 5;

impl<'a> Frame<'a> {
    /// Appends the frame to `out`. A hello and a refusal bear the seal of no session.
    ///
    /// # Errors
    /// [`SyncError::Broken`]: never, since what is written has been read.
    pub(crate) fn write(&self, seal: Seal, out: &mut Vec<u8>) -> Result<(), SyncError> {
        let start = out.len();
        let kind = match self {
            Self::Hello(_) => HELLO,
            Self::Delta { .. } => DELTA,
            Self::Ack { .. } => ACK,
            Self::Gap { .. } => GAP,
            Self::Beat(_) => BEAT,
            Self::AskPoints { .. } => ASK_POINTS,
            Self::Points(_) => POINTS,
            Self::Refuse(_) => REFUSE,
            Self::Audit(_) => AUDIT,
        };
        out.push(kind);
        out.extend_from_slice(&[0; HEAD - 1]);
        match self {
            Self::Hello(hello) => write(hello, out)?,
            Self::Refuse(refusal) => write(refusal, out)?,
            Self::Delta { seq, points, progress, message } => {
                for number in [*seq, progress.chunk, progress.rows] {
                    write_varint(out, number);
                }
                write_points(points, out);
                out.extend_from_slice(message);
            }
            Self::Ack { seq, is_merged } => {
                write_varint(out, *seq);
                out.push(u8::from(*is_merged));
            }
            Self::Gap { request, pending } => write(&(request, pending), out)?,
            Self::Beat(beat) => write(beat, out)?,
            Self::AskPoints { id } => write(id, out)?,
            Self::Points(told) => write(told, out)?,
            Self::Audit(audit) => write(audit, out)?,
        }
        let frame = out.get_mut(start..).unwrap_or_default();
        if let Some((head, body)) = frame.split_first_chunk_mut::<HEAD>() {
            let seal = if matches!(kind, HELLO | REFUSE) { Seal::NONE } else { seal };
            *head = {
                let [a, b, c, d] = seal.check(kind, body);
                [kind, a, b, c, d]
            };
        }
        Ok(())
    }

    /// Whether bytes begin as a hello does.
    pub(crate) fn is_hello(bytes: &[u8]) -> bool {
        bytes.first() == Some(&HELLO)
    }

    /// Reads a frame. `None` if it is not of this session, or not whole: both are as if it had been lost.
    pub(crate) fn read(bytes: &'a [u8], seal: Seal) -> Result<Option<Self>, SyncError> {
        let Some(([kind, check @ ..], body)) = bytes.split_first_chunk::<HEAD>() else {
            return Err(broken("a kind and a check"));
        };
        let is_first = matches!(*kind, HELLO | REFUSE);
        if !(HELLO..=AUDIT).contains(kind) {
            return Err(broken("a kind of frame that there is"));
        }
        let seal = if is_first { Seal::NONE } else { seal };
        if seal.check(*kind, body) != *check {
            return if is_first { Err(broken("a check that is right")) } else { Ok(None) };
        }
        let frame = match *kind {
            HELLO => {
                let hello: Hello = read(body, "a hello")?;
                if hello.region.len() > REGION_BYTES {
                    return Err(broken("a name of a region of at most 256 bytes"));
                }
                Self::Hello(Box::new(hello))
            }
            REFUSE => Self::Refuse(read(body, "a refusal")?),
            DELTA => Self::read_delta(body)?,
            ACK => {
                let mut rest = body;
                let seq = varint(&mut rest, "the number of a delta")?;
                match rest {
                    [is_merged @ (0 | 1)] => Self::Ack { seq, is_merged: *is_merged == 1 },
                    _ => return Err(broken("whether a delta was merged")),
                }
            }
            GAP => {
                let (request, pending) = read(body, "what is held")?;
                Self::Gap { request, pending }
            }
            BEAT => Self::Beat(Box::new(read(body, "a heartbeat")?)),
            ASK_POINTS => Self::AskPoints { id: read(body, "a replica id")? },
            POINTS => Self::Points(read(body, "commit points")?),
            _ => Self::Audit(read(body, "an audit")?),
        };
        Ok(Some(frame))
    }

    fn read_delta(body: &'a [u8]) -> Result<Self, SyncError> {
        let mut rest = body;
        let seq = varint(&mut rest, "the number of a delta")?;
        let progress = Progress {
            chunk: varint(&mut rest, "the number of a chunk")?,
            rows: varint(&mut rest, "a number of rows")?,
        };
        let points = read_points(&mut rest)?;
        Ok(Self::Delta { seq, points, progress, message: rest })
    }
}

/// Writes, of each replica, its id and the steps from each of its commits to the next.
fn write_points(points: &Points, out: &mut Vec<u8>) {
    write_varint(out, points.len() as u64);
    for (id, points) in points {
        out.extend_from_slice(id.as_bytes());
        write_varint(out, points.len() as u64);
        let mut before = 0;
        let steps = points
            .iter()
            .map(|point| point.bits().wrapping_sub(std::mem::replace(&mut before, point.bits())));
        column::write(out, &steps.collect::<Vec<u64>>());
    }
}

fn read_points(rest: &mut &[u8]) -> Result<Points, SyncError> {
    let wrong = broken("commit points");
    let mut points = Points::new();
    // A few bytes must not stand for very many numbers.
    let mut room = MOST_AT_ONCE;
    for _ in 0..varint(rest, "a number of replicas")? {
        let (id, after) = rest.split_first_chunk::<16>().ok_or(wrong.clone())?;
        *rest = after;
        let count = usize::try_from(varint(rest, "a number of commits")?).ok();
        let count = count.filter(|count| *count <= room).ok_or(wrong.clone())?;
        room = room.saturating_sub(count);
        let mut stamp = 0_u64;
        let steps = column::read(rest, count).map_err(|_| wrong.clone())?.into_iter();
        let stamps = steps.map(|step| {
            stamp = stamp.wrapping_add(step);
            Timestamp::from_bits(stamp)
        });
        points.push((ReplicaId::from_bytes(*id), stamps.collect()));
    }
    Ok(points)
}

fn broken(what: &'static str) -> SyncError {
    SyncError::Broken { what }
}

fn write<T: Serialize>(body: &T, out: &mut Vec<u8>) -> Result<(), SyncError> {
    rmp_serde::encode::write(out, body).map_err(|_| broken("a body that can be written"))
}

/// Reads a body, all of it.
fn read<T: DeserializeOwned>(body: &[u8], what: &'static str) -> Result<T, SyncError> {
    // Its shape is looked through before anything is made of it: no length takes memory that the bytes do not fill.
    let mut decoder = Decoder::new(body, &SHAPE).map_err(|_| broken(what))?;
    let read = decoder.value().map_err(|_| broken(what))?;
    decoder.finish().map_err(|_| broken(what))?;
    Ok(read)
}

fn varint(rest: &mut &[u8], what: &'static str) -> Result<u64, SyncError> {
    read_varint(rest).map_err(|_| broken(what))
}
