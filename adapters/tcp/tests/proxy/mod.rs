//! A bad network: a TCP proxy that delays, holds, loses, flips and resets, by a seed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the network does. Chances are in a thousand, of each piece that goes through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Up to so many milliseconds pass before a piece goes on.
    pub(crate) delay_ms: u64,
    /// A bit is flipped.
    pub(crate) flips: u64,
    /// The piece is lost, and the stream goes on behind it.
    pub(crate) losses: u64,
    /// The connection is reset.
    pub(crate) resets: u64,
    /// The connection stays open and nothing goes through it any more: it is half-open for ever.
    pub(crate) stalls: u64,
    /// All that is open stalls while this is set; what comes anew is accepted and stalls, too.
    pub(crate) is_silent: bool,
    /// What comes anew is closed at once.
    pub(crate) is_closed: bool,
}

/// A proxy before one address.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) faults: watch::Sender<Faults>,
    pub(crate) accepted: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn start(target: SocketAddr, seed: u64, faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (faults, seen) = watch::channel(faults);
        let accepted = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        let count = Arc::clone(&accepted);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let number = count.fetch_add(1, Ordering::Relaxed);
                if seen.borrow().is_closed {
                    continue;
                }
                connections.spawn(relay(
                    near,
                    target,
                    seed.wrapping_mul(0x9e37).wrapping_add(2 * number),
                    seen.clone(),
                ));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, faults, accepted, _tasks: tasks }
    }

    pub(crate) fn set(&self, faults: Faults) {
        self.faults.send_replace(faults);
    }
}

async fn relay(near: TcpStream, target: SocketAddr, seed: u64, faults: watch::Receiver<Faults>) {
    let Ok(far) = TcpStream::connect(target).await else {
        return;
    };
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    // The first of both that ends takes the other along.
    tokio::select! {
        () = pass(near_in, far_out, Dice(seed), faults.clone()) => {}
        () = pass(far_in, near_out, Dice(seed + 1), faults) => {}
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut dice: Dice,
    mut faults: watch::Receiver<Faults>,
) {
    let mut piece = [0; 4096];
    loop {
        let most = 1 + usize::try_from(dice.below(4096)).unwrap();
        let Ok(length @ 1..) = from.read(&mut piece[..most]).await else {
            return;
        };
        let now = *faults.borrow_and_update();
        if now.is_silent && faults.wait_for(|faults| !faults.is_silent).await.is_err() {
            return;
        }
        if now.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(dice.below(now.delay_ms))).await;
        }
        if dice.hits(now.resets) {
            // Unread bytes make the kernel send a reset.
            return;
        }
        if dice.hits(now.stalls) {
            std::future::pending::<()>().await;
        }
        if dice.hits(now.losses) {
            continue;
        }
        if dice.hits(now.flips) {
            let bit = usize::try_from(dice.below(length as u64 * 8)).unwrap();
            piece[bit / 8] ^= 1 << (bit % 8);
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

/// SplitMix64.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(crate) fn hits(&mut self, in_a_thousand: u64) -> bool {
        self.below(1000) < in_a_thousand
    }
}
