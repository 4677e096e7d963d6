//! Who writes in the regions, and who looks how long it takes until that is read elsewhere.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use driftless::Token;

use crate::processes::ask::{Answer, NoAnswer, ask};
use crate::processes::folder::DOMAIN;
use crate::processes::ledger::{Change, Ledger, Write};
use crate::random::Random;
use crate::region::Fault;

/// How often it is looked whether a region is back.
const PAUSE: Duration = Duration::from_millis(5);
/// How often a lag is measured, between any two regions.
const PROBE_EVERY: Duration = Duration::from_millis(50);

/// What the threads of this program know of a region.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// Where it is asked; none while it is down.
    address: Mutex<Option<SocketAddr>>,
    /// All that it acknowledged.
    session: Mutex<Token>,
    /// What it acknowledged last, and when.
    last: Mutex<Option<(Token, Instant)>>,
    acknowledged: AtomicUsize,
    /// Writes that were sent and are not answered.
    under_way: AtomicUsize,
    /// What it refused, which it should not.
    refusals: Mutex<Vec<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind it is replaced as a whole, so what a thread that panicked left is as good as any.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        *lock(&self.address)
    }

    pub(crate) fn set_address(&self, address: Option<SocketAddr>) {
        *lock(&self.address) = address;
    }

    /// What must be held where all is to be read that it acknowledged.
    pub(crate) fn session(&self) -> Token {
        lock(&self.session).clone()
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn refusals(&self) -> Vec<String> {
        lock(&self.refusals).clone()
    }

    /// Sends a write. Returns whether it was acknowledged; none if the region is not there, and was sent nothing.
    fn write(&self, address: SocketAddr, request: &Request) -> Option<bool> {
        let Request { method, path, body } = request;
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let answer = ask(address, method, path, body);
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        match answer {
            Ok(Answer { status: 200, body }) => {
                if let Ok(token) = body.trim().parse::<Token>() {
                    lock(&self.session).join(&token);
                    *lock(&self.last) = Some((token, Instant::now()));
                }
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
                Some(true)
            }
            Ok(Answer { status, body }) => {
                lock(&self.refusals).push(format!("{method} {path}: {status} {}", body.trim()));
                Some(false)
            }
            Err(NoAnswer::Lost(_)) => Some(false),
            Err(NoAnswer::NotThere(_)) => None,
        }
    }
}

struct Request {
    method: &'static str,
    path: String,
    body: String,
}

impl Request {
    fn of(writer: &str, number: usize, change: Change) -> Self {
        match change {
            Change::Add { note, count } => Self {
                method: "POST",
                path: format!("/domains/{DOMAIN}/{}", Ledger::note(note)),
                body: format!("tag={}&count={count}", Ledger::tag(writer, number)),
            },
            Change::Text => {
                Self { method: "PUT", path: format!("/domains/{DOMAIN}/{writer}"), body: number.to_string() }
            }
        }
    }
}

/// A user of a region, who writes there and nowhere else, one write after the other.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) name: String,
    pub(crate) random: Random,
    pub(crate) period: Duration,
}

impl Writer {
    /// Writes until it is time.
    pub(crate) fn run(mut self, desk: &Desk, until: Instant) -> Ledger {
        let mut ledger = Ledger { writer: self.name, writes: Vec::new() };
        let mut next = Instant::now();
        while next < until {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            let number = ledger.writes.len();
            let before = self.random.clone();
            let change = Change::next(&mut self.random);
            let request = Request::of(&ledger.writer, number, change);
            match desk.address().and_then(|address| desk.write(address, &request)) {
                Some(is_acknowledged) => {
                    ledger.writes.push(Write { change, is_acknowledged });
                    // What a busy machine kept from being written in time is not made up for.
                    next = (next + self.period).max(Instant::now());
                }
                None => {
                    self.random = before;
                    next = Instant::now() + PAUSE;
                }
            }
        }
        ledger
    }
}

/// Measures, until it is told to end, how long after it was acknowledged in one region a write can be read in another.
pub(crate) fn probe(from: &Desk, to: &Desk, is_over: &AtomicBool) -> Vec<Duration> {
    let mut lags = Vec::new();
    let mut seen = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        thread::sleep(PROBE_EVERY);
        let last = lock(&from.last).clone().filter(|(_, at)| *at > seen);
        let (Some((token, at)), Some(address)) = (last, to.address()) else { continue };
        seen = at;
        if let Ok(true) = is_reached(address, &token) {
            lags.push(at.elapsed());
        }
    }
    lags
}

/// Waits until a region holds what a token asks for, until that time at most.
pub(crate) fn wait_for(address: SocketAddr, token: &Token, until: Instant) -> Result<bool, Fault> {
    loop {
        match is_reached(address, token) {
            Ok(true) => return Ok(true),
            Ok(false) if Instant::now() > until => return Ok(false),
            Ok(false) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether a region holds what a token asks for. It waits for a while until it does.
fn is_reached(address: SocketAddr, token: &Token) -> Result<bool, Fault> {
    let path = format!("/domains/{DOMAIN}/{}/count?token={token}", Ledger::note(0));
    match ask(address, "GET", &path, "") {
        // It is reached, and nobody may have written that note yet.
        Ok(Answer { status: 200 | 404, .. }) => Ok(true),
        Ok(Answer { status: 504, .. }) => Ok(false),
        Ok(Answer { status, body }) => Err(format!("GET {path}: {status} {}", body.trim()).into()),
        Err(NoAnswer::NotThere(error) | NoAnswer::Lost(error)) => Err(format!("GET {path}: {error}").into()),
    }
}
