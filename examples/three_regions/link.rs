//! Links between regions: a TCP connection over loopback for each pair, slowed down to the distance between them.
//!
//! A frame says when it was sent. The receiving end of the link holds it back until the link's delay has passed since then,
//! and only then hands it to the region. When a link is cut the connection is closed and all that is still under way on it
//! is lost, as it would be on a real one; what comes after the cut is a new connection.

use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use crate::clock::Clock;
use crate::mail::Mail;
use crate::regions::{Index, REGIONS};

/// The longest frame that is accepted, its type included.
const MAX_FRAME: usize = 16 << 20;

/// Why a connection ended that was cut.
pub(crate) const CUT: &str = "the link was cut";

/// What the frame's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Who is there, and what it holds; the first frame in each direction.
    Hello = 1,
    /// What changed: the bytes of a delta, or of one chunk of it.
    Delta = 2,
    /// What the sender holds, and what it knows others to hold.
    Heartbeat = 3,
    /// A delta could not be merged: what the sender holds, for the other side to start again from.
    Gap = 4,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Self::Hello, Self::Delta, Self::Heartbeat, Self::Gap].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// The sending end of a link.
#[derive(Debug)]
pub(crate) struct Outlet {
    stream: TcpStream,
    clock: Clock,
}

impl Outlet {
    pub(crate) fn new(stream: TcpStream, clock: Clock) -> Self {
        Self { stream, clock }
    }

    /// Sends a frame: length of type and body (4 bytes), type (1), body. A real distance would not need the time of sending,
    /// 8 bytes in between: they are left out of the bytes returned.
    pub(crate) fn send(&mut self, kind: Kind, body: &[u8]) -> io::Result<u64> {
        let len = u32::try_from(1 + body.len()).ok().filter(|len| *len as usize <= MAX_FRAME);
        let len = len.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the frame is too long"))?;
        let mut frame = Vec::with_capacity(13 + body.len());
        frame.extend_from_slice(&len.to_be_bytes());
        frame.extend_from_slice(&self.clock.micros().to_be_bytes());
        frame.push(kind as u8);
        frame.extend_from_slice(body);
        self.stream.write_all(&frame)?;
        Ok(5 + body.len() as u64)
    }
}

/// Reads a frame, and when it was sent; `None` at the end of the connection.
fn read_frame(from: &mut impl Read) -> io::Result<Option<(u64, Kind, Vec<u8>)>> {
    let broken = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
    let mut head = [0; 4];
    match from.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        done => done?,
    }
    let len = u32::from_be_bytes(head) as usize;
    if !(1..=MAX_FRAME).contains(&len) {
        return broken("a frame of a length that is not allowed");
    }
    let mut sent = [0; 8];
    from.read_exact(&mut sent)?;
    let mut kind = [0];
    from.read_exact(&mut kind)?;
    let Some(kind) = Kind::of(kind[0]) else {
        return broken("a frame of an unknown type");
    };
    let mut body = vec![0; len - 1];
    from.read_exact(&mut body)?;
    Ok(Some((u64::from_be_bytes(sent), kind, body)))
}

/// The link of two regions, which can be opened and cut.
#[derive(Debug)]
pub(crate) struct Link {
    ends: [(Index, Sender<Mail>); 2],
    delay_us: u64,
    clock: Clock,
    listener: TcpListener,
    open: Option<Connection>,
    /// The threads of the connections there were.
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Connection {
    is_alive: Arc<AtomicBool>,
    streams: [TcpStream; 2],
}

impl Link {
    /// A link that is not open yet, on a free port of its own.
    pub(crate) fn new(ends: [(Index, Sender<Mail>); 2], delay_ms: u64, clock: Clock) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        Ok(Self { ends, delay_us: delay_ms * 1000, clock, listener, open: None, threads: Vec::new() })
    }

    pub(crate) fn touches(&self, region: Index) -> bool {
        self.ends.iter().any(|(end, _)| *end == region)
    }

    /// Connects the two ends and tells both regions.
    pub(crate) fn open(&mut self) -> io::Result<()> {
        // A frame of the connection before this one must not come in on it.
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
        let first = TcpStream::connect(self.listener.local_addr()?)?;
        let second = loop {
            let (stream, peer) = self.listener.accept()?;
            // Anyone on this machine may knock at the port; only the other end of our own connection is let in.
            if peer == first.local_addr()? {
                break stream;
            }
        };
        let is_alive = Arc::new(AtomicBool::new(true));
        let streams = [first, second];
        for (end, other) in [(0, 1), (1, 0)] {
            streams[end].set_nodelay(true)?;
            let (region, mail) = &self.ends[end];
            let peer = self.ends[other].0;
            let name = format!("{}<-{}", REGIONS[*region].name, REGIONS[peer].name);
            let (line, arrivals) = channel();
            let stream = streams[end].try_clone()?;
            let line_of = Line {
                peer,
                mail: mail.clone(),
                is_alive: Arc::clone(&is_alive),
                clock: self.clock,
                delay_us: self.delay_us,
            };
            // The region must know of the connection before anything comes in on it.
            let outlet = Outlet::new(streams[end].try_clone()?, self.clock);
            let _ = mail.send(Mail::Up(peer, outlet));
            self.threads.push(thread::Builder::new().name(name.clone()).spawn(move || read(stream, &line))?);
            self.threads.push(thread::Builder::new().name(name).spawn(move || line_of.deliver(&arrivals))?);
        }
        self.open = Some(Connection { is_alive, streams });
        Ok(())
    }

    /// Cuts the connection: both regions are told, and what is under way is lost.
    pub(crate) fn cut(&mut self) {
        let Some(connection) = self.open.take() else {
            return;
        };
        connection.is_alive.store(false, Ordering::SeqCst);
        for stream in &connection.streams {
            // It may be closed already, which is as well.
            let _ = stream.shutdown(Shutdown::Both);
        }
        for ((_, mail), (peer, _)) in self.ends.iter().zip(self.ends.iter().rev()) {
            let _ = mail.send(Mail::Down(*peer, CUT.to_owned()));
        }
    }
}

/// What comes out of the wire: a frame with the time it was sent, or why the connection ended.
type Arrival = Result<(u64, Kind, Vec<u8>), String>;

/// Takes frames off the connection as they come, so that the sender never waits for the distance.
fn read(stream: TcpStream, line: &Sender<Arrival>) {
    let mut stream = BufReader::with_capacity(64 << 10, stream);
    loop {
        let arrival = match read_frame(&mut stream) {
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => Err("the connection was closed".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let is_end = arrival.is_err();
        if line.send(arrival).is_err() || is_end {
            return;
        }
    }
}

/// The distance: where frames are held back until they are due.
struct Line {
    peer: Index,
    mail: Sender<Mail>,
    is_alive: Arc<AtomicBool>,
    clock: Clock,
    delay_us: u64,
}

impl Line {
    /// Frames are sent in order and all take as long, so the first that came is always the first that is due.
    fn deliver(&self, arrivals: &Receiver<Arrival>) {
        for arrival in arrivals {
            let mail = match arrival {
                Ok((sent, kind, body)) => {
                    self.clock.sleep_until(sent + self.delay_us);
                    Mail::Frame(self.peer, kind, body)
                }
                Err(reason) => Mail::Down(self.peer, reason),
            };
            if !self.is_alive.load(Ordering::SeqCst) || self.mail.send(mail).is_err() {
                return;
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.cut();
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_frames_are_refused_before_memory_is_taken_for_them() {
        let read =
            |bytes: &[u8]| read_frame(&mut &*bytes).map(|frame| frame.map(|(_, kind, body)| (kind, body)));
        let mut frame = vec![0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 9, Kind::Gap as u8, 5, 6];
        assert_eq!(read(&frame).ok(), Some(Some((Kind::Gap, vec![5, 6]))));
        assert_eq!(read(&[]).ok(), Some(None));
        assert!(read(&frame[..14]).is_err());
        frame[0] = 255;
        assert!(read(&frame).is_err());
        assert!(read(&[0; 20]).is_err());
    }
}
