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

use driftless::LinkId;

use crate::clock::Clock;
use crate::mail::Mail;
use crate::regions::{COUNT, Index, LINKS, REGIONS};

/// The longest frame that is accepted.
const MAX_FRAME: usize = 16 << 20;
/// What a frame costs on the wire beside itself: its length.
pub(crate) const FRAME_HEAD: usize = 4;

/// Why a connection ended that was cut.
pub(crate) const CUT: &str = "the link was cut";

/// The sending end of a link.
#[derive(Debug)]
pub(crate) struct Outlet {
    /// Who is at the other end.
    pub(crate) peer: Index,
    stream: TcpStream,
    clock: Clock,
}

impl Outlet {
    /// Sends a frame: its length (4 bytes), the time of sending (8), itself. A real distance would not need the time.
    pub(crate) fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        let len = u32::try_from(frame.len()).ok().filter(|len| *len as usize <= MAX_FRAME);
        let len = len.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the frame is too long"))?;
        let mut bytes = Vec::with_capacity(FRAME_HEAD + 8 + frame.len());
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(&self.clock.micros().to_be_bytes());
        bytes.extend_from_slice(frame);
        self.stream.write_all(&bytes)
    }
}

/// Reads a frame, and when it was sent; `None` at the end of the connection.
fn read_frame(from: &mut impl Read) -> io::Result<Option<(u64, Vec<u8>)>> {
    let mut head = [0; FRAME_HEAD];
    match from.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        done => done?,
    }
    let len = u32::from_be_bytes(head) as usize;
    if len > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame of a length that is not allowed"));
    }
    let mut sent = [0; 8];
    from.read_exact(&mut sent)?;
    let mut frame = vec![0; len];
    from.read_exact(&mut frame)?;
    Ok(Some((u64::from_be_bytes(sent), frame)))
}

/// The link of two regions, which can be opened and cut.
#[derive(Debug)]
pub(crate) struct Link {
    ends: [(Index, Sender<Mail>); 2],
    delay_us: u64,
    clock: Clock,
    listener: TcpListener,
    /// The number of the connection that comes next. No two connections of the job have the same.
    next: u64,
    open: Option<Connection>,
    /// The threads of the connections there were.
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Connection {
    id: LinkId,
    is_alive: Arc<AtomicBool>,
    streams: [TcpStream; 2],
}

impl Link {
    /// The link of [`LINKS`] at this place, not open yet, on a free port of its own.
    pub(crate) fn new(place: usize, mail: &[Sender<Mail>; COUNT], clock: Clock) -> io::Result<Self> {
        let (a, b, delay_ms) = LINKS[place];
        Ok(Self {
            ends: [a, b].map(|end| (end, mail[end].clone())),
            delay_us: delay_ms * 1000,
            clock,
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
            next: place as u64,
            open: None,
            threads: Vec::new(),
        })
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
        let id = LinkId(self.next);
        self.next += LINKS.len() as u64;
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
                link: id,
                mail: mail.clone(),
                is_alive: Arc::clone(&is_alive),
                clock: self.clock,
                delay_us: self.delay_us,
            };
            // The region must know of the connection before anything comes in on it.
            let outlet = Outlet { peer, stream: streams[end].try_clone()?, clock: self.clock };
            let _ = mail.send(Mail::Up(id, outlet));
            self.threads.push(thread::Builder::new().name(name.clone()).spawn(move || read(stream, &line))?);
            self.threads.push(thread::Builder::new().name(name).spawn(move || line_of.deliver(&arrivals))?);
        }
        self.open = Some(Connection { id, is_alive, streams });
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
        for (_, mail) in &self.ends {
            let _ = mail.send(Mail::Down(connection.id, CUT.to_owned()));
        }
    }
}

/// What comes out of the wire: a frame with the time it was sent, or why the connection ended.
type Arrival = Result<(u64, Vec<u8>), String>;

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
    link: LinkId,
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
                Ok((sent, frame)) => {
                    self.clock.sleep_until(sent + self.delay_us);
                    Mail::Frame(self.link, frame)
                }
                Err(reason) => Mail::Down(self.link, reason),
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
        let read = |bytes: &[u8]| read_frame(&mut &*bytes);
        let mut frame = vec![0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9, 5, 6];
        assert_eq!(read(&frame).ok(), Some(Some((9, vec![5, 6]))));
        assert_eq!(read(&[]).ok(), Some(None));
        assert!(read(&frame[..13]).is_err());
        frame[0] = 255;
        assert_eq!(read(&frame).err().map(|error| error.kind()), Some(io::ErrorKind::InvalidData));
    }
}
