//! What the user sees while the job runs: on standard error, so that the report can be kept by itself.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

const WIDTH: usize = 32;
const REDRAW_EVERY: Duration = Duration::from_millis(100);

/// A bar on a terminal; elsewhere plain lines alone.
#[derive(Debug)]
pub(crate) struct Progress {
    is_terminal: bool,
    drawn: Option<Instant>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { is_terminal: stderr().is_terminal(), drawn: None }
    }

    /// A line that stays.
    pub(crate) fn line(&mut self, text: &str) {
        self.clear();
        // Standard error may be closed; the job goes on.
        let _ = writeln!(stderr(), "{text}");
    }

    /// Draws the bar, at most ten times a second.
    pub(crate) fn bar(&mut self, what: &str, done: u64, all: u64, of: &str) {
        if !self.is_terminal || self.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW_EVERY) {
            return;
        }
        let filled = (done.min(all) * WIDTH as u64).checked_div(all).unwrap_or(0) as usize;
        let bar = format!("{}{}", "#".repeat(filled), ".".repeat(WIDTH - filled));
        let _ = write!(stderr(), "\r\x1b[K{what} [{bar}] {of}");
        let _ = stderr().flush();
        self.drawn = Some(Instant::now());
    }

    fn clear(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
