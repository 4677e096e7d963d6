//! What two endpoints send each other. The bytes are in `docs/wire-format.md`, under "Frames".

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::causal::id::ReplicaId;
use crate::causal::vector::VersionVector;
use crate::clock::Timestamp;
use crate::replica::request::Request;
use crate::sync::error::SyncError;
use crate::wire::column::{read_varint, write_varint};

/// The versions of the protocol that this release speaks, the oldest and the newest.
pub(crate) const VERSIONS: (u16, u16) = (1, 1);

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
    /// What is gathered of transfers that broke off, by their senders: whoever they are, they take up their own.
    pub(crate) pending: Vec<(ReplicaId, Gathered)>,
    /// To whom else the sender is connected.
    pub(crate) peers: Vec<ReplicaId>,
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

/// What the sender of a heartbeat holds, and knows others to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Beat {
    pub(crate) now_ms: u64,
    /// The hash of its vector.
    pub(crate) vector: u64,
    /// The vector itself, if it is another than in the beat before or was asked for.
    pub(crate) news: Option<VersionVector>,
    /// What it knows others to hold, if that is news: what differs from its own vector, replica by replica.
    pub(crate) table: Option<Vec<(ReplicaId, VersionVector)>>,
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
}

/// Why an endpoint does not exchange anything with the sender of a hello.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// The nonce of the hello.
    pub(crate) nonce: u64,
    pub(crate) reason: String,
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

/// A number that the frames of one session bear, so that those of an older connection are told from them.
pub(crate) type Tag = [u8; 4];

impl<'a> Frame<'a> {
    /// Appends the frame to `out`. A hello bears no tag.
    ///
    /// # Errors
    /// [`SyncError::Broken`]: never, since what is written has been read.
    pub(crate) fn write(&self, tag: Tag, out: &mut Vec<u8>) -> Result<(), SyncError> {
        let start = |kind: u8, out: &mut Vec<u8>| {
            out.push(kind);
            out.extend_from_slice(&tag);
        };
        match self {
            Self::Hello(hello) => {
                out.push(HELLO);
                write(hello, out)?;
            }
            Self::Refuse(refusal) => {
                out.push(REFUSE);
                write(refusal, out)?;
            }
            Self::Delta { seq, points, progress, message } => {
                Self::write_delta(*seq, points, *progress, message, tag, out)?;
            }
            Self::Ack { seq, is_merged } => {
                start(ACK, out);
                write_varint(out, *seq);
                out.push(u8::from(*is_merged));
            }
            Self::Gap { request, pending } => {
                start(GAP, out);
                write(&(request, pending), out)?;
            }
            Self::Beat(beat) => {
                start(BEAT, out);
                write(beat, out)?;
            }
            Self::AskPoints { id } => {
                start(ASK_POINTS, out);
                write(id, out)?;
            }
            Self::Points(told) => {
                start(POINTS, out);
                write(told, out)?;
            }
            Self::Audit(audit) => {
                start(AUDIT, out);
                write(audit, out)?;
            }
        }
        Ok(())
    }

    pub(crate) fn write_delta(
        seq: u64,
        points: &Points,
        progress: Progress,
        message: &[u8],
        tag: Tag,
        out: &mut Vec<u8>,
    ) -> Result<(), SyncError> {
        out.push(DELTA);
        out.extend_from_slice(&tag);
        for number in [seq, progress.chunk, progress.rows] {
            write_varint(out, number);
        }
        let mut told = Vec::new();
        if !points.is_empty() {
            write(points, &mut told)?;
        }
        write_varint(out, told.len() as u64);
        out.extend_from_slice(&told);
        out.extend_from_slice(message);
        Ok(())
    }

    /// Reads a frame, and the tag that it bears.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<(Option<Tag>, Self), SyncError> {
        let (kind, rest) = bytes.split_first().ok_or(broken("the kind"))?;
        match *kind {
            HELLO => {
                let hello: Hello = read(rest, "a hello")?;
                if hello.region.len() > REGION_BYTES {
                    return Err(broken("a name of a region of at most 256 bytes"));
                }
                return Ok((None, Self::Hello(Box::new(hello))));
            }
            REFUSE => return Ok((None, Self::Refuse(read(rest, "a refusal")?))),
            _ => {}
        }
        let (tag, body) = rest.split_first_chunk::<4>().ok_or(broken("the tag of the session"))?;
        let frame = match *kind {
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
            AUDIT => Self::Audit(read(body, "an audit")?),
            _ => return Err(broken("a kind of frame that there is")),
        };
        Ok((Some(*tag), frame))
    }

    fn read_delta(body: &'a [u8]) -> Result<Self, SyncError> {
        let mut rest = body;
        let seq = varint(&mut rest, "the number of a delta")?;
        let progress = Progress {
            chunk: varint(&mut rest, "the number of a chunk")?,
            rows: varint(&mut rest, "a number of rows")?,
        };
        let len = usize::try_from(varint(&mut rest, "a length")?).ok();
        let (told, message) =
            len.and_then(|len| rest.split_at_checked(len)).ok_or(broken("commit points"))?;
        let points = if told.is_empty() { Points::new() } else { read(told, "commit points")? };
        Ok(Self::Delta { seq, points, progress, message })
    }
}

fn broken(what: &'static str) -> SyncError {
    SyncError::Broken { what }
}

fn write<T: Serialize>(body: &T, out: &mut Vec<u8>) -> Result<(), SyncError> {
    rmp_serde::encode::write(out, body).map_err(|_| broken("a body that can be written"))
}

/// Reads a body, all of it.
fn read<T: DeserializeOwned + Serialize>(mut body: &[u8], what: &'static str) -> Result<T, SyncError> {
    let read = rmp_serde::from_read(&mut body).map_err(|_| broken(what))?;
    if body.is_empty() { Ok(read) } else { Err(broken(what)) }
}

fn varint(rest: &mut &[u8], what: &'static str) -> Result<u64, SyncError> {
    read_varint(rest).map_err(|_| broken(what))
}
