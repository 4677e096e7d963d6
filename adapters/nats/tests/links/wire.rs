//! A wire between two servers, which can be cut, or fall silent.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How the wire is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Whole,
    /// What comes in is held back, and nobody is told.
    Silent,
    /// What was connected is closed, and so is who connects.
    Cut,
}

/// A wire to an address.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    state: watch::Sender<State>,
}

impl Wire {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, seen) = watch::channel(State::Whole);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *seen.borrow() != State::Cut
                    && let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await
                {
                    tokio::spawn(carry(near, far, seen.clone()));
                }
            }
        });
        Self { address, state }
    }

    pub(crate) fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

async fn carry(mut near: TcpStream, mut far: TcpStream, mut state: watch::Receiver<State>) {
    loop {
        if state.wait_for(|state| *state != State::Silent).await.is_err() || *state.borrow() == State::Cut {
            return;
        }
        tokio::select! {
            biased;
            _ = state.changed() => {}
            // Given up and begun again it may lose what it had read: then the servers say that the stream is broken.
            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
        }
    }
}
