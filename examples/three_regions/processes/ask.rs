//! What a region's process is asked over HTTP, on loopback.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A region waits up to 15 s for what a token asks for; a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// Nothing was asked: the region is not there.
    NotThere(io::Error),
    /// It may have done what it was asked for.
    Lost(io::Error),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Asks, and waits for the answer.
pub(crate) fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> Result<Answer, NoAnswer> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(NoAnswer::NotThere)?;
    exchange(&mut stream, method, path, body).map_err(NoAnswer::Lost)
}

fn exchange(stream: &mut TcpStream, method: &str, path: &str, body: &str) -> io::Result<Answer> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    parse(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the answer is not whole"))
}

/// An answer, if it is whole: a process that is killed leaves half of one.
fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    (length.parse() == Ok(body.len())).then(|| Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_answer_is_none() {
        let whole = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ntoken\n";
        assert_eq!(parse(whole), Some(Answer { status: 200, body: "token\n".to_owned() }));
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]), None, "{end}");
        }
    }

    #[test]
    fn who_is_not_there_was_asked_nothing() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it has one");
        let hangs_up = std::thread::spawn(move || drop(listener.accept()));
        assert!(matches!(ask(address, "PUT", "/", "x"), Err(NoAnswer::Lost(_))));
        hangs_up.join().expect("it ends");
        assert!(matches!(ask(address, "PUT", "/", "x"), Err(NoAnswer::NotThere(_))));
    }
}
