//! Frames between the two processes: a length and the bytes, over a loopback socket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use driftless_node::{Frame, Node};

use crate::ledger::{attach, name};

/// Joins a node to the process at the other end. It lasts as long as the socket does.
pub(crate) fn carry(node: &Node, stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let (from_peer, mut to_peer) = attach(node);
    let (mut reading, mut writing) = (stream.try_clone().unwrap(), stream);
    thread::spawn(move || {
        while let Some(frame) = to_peer.blocking_recv() {
            let length = u32::try_from(frame.bytes.len()).unwrap();
            let sent =
                writing.write_all(&length.to_be_bytes()).and_then(|()| writing.write_all(&frame.bytes));
            if sent.is_err() {
                break;
            }
        }
        let _ = writing.shutdown(std::net::Shutdown::Both);
    });
    thread::spawn(move || {
        let mut length = [0; 4];
        while reading.read_exact(&mut length).is_ok() {
            let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
            if reading.read_exact(&mut bytes).is_err() {
                break;
            }
            if from_peer.blocking_send(Frame { domain: name(), bytes: bytes.into() }).is_err() {
                break;
            }
        }
    });
}
