//! Histories as fuzzing makes them: read off any bytes.

use crate::cluster::MOST;
use crate::history::{Clock, History, Ops, Part, Rest, Route, Since, Step};
use crate::subject::Fuse;

/// The most steps that are read: what a history costs grows with the square of them.
const STEPS: usize = 100;

impl History {
    /// The history that any bytes stand for. Each byte means something, modulo how many things it can mean; what is not
    /// there is zero. So a change of one byte mostly changes one thing.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut bytes = Bytes(bytes);
        let replicas = 2 + bytes.below(MOST as u8 - 1);
        let keys = [2, 5, 40][usize::from(bytes.below(3))];
        let mut steps = Vec::new();
        while !bytes.0.is_empty() && steps.len() < STEPS {
            steps.push(bytes.step());
        }
        Self { replicas, keys, steps }
    }
}

/// Bytes on their way to be read, with zeros behind them.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn below(&mut self, count: u8) -> u8 {
        self.byte() % count
    }

    fn bool(&mut self) -> bool {
        self.below(2) == 1
    }

    fn size(&mut self) -> u16 {
        1 + 2 * u16::from(self.byte())
    }

    fn ops(&mut self) -> Ops {
        (0..=self.below(4)).map(|_| (0..=self.below(10)).map(|_| self.byte()).collect()).collect()
    }

    fn clock(&mut self) -> Clock {
        match self.below(12) {
            0..7 => Clock::Right,
            7 | 8 => Clock::Behind(self.byte()),
            9 => Clock::YearsBehind,
            10 => Clock::AtZero,
            _ => Clock::TooFarAhead,
        }
    }

    fn fuse(&mut self) -> Option<(Fuse, u8)> {
        let fuse = match self.below(16) {
            0..13 => return None,
            13 => Fuse::Error,
            14 => Fuse::Panic,
            _ => Fuse::CaughtPanic,
        };
        Some((fuse, self.below(4)))
    }

    fn route(&mut self) -> Route {
        match self.below(4) {
            0 | 1 => Route::Message,
            2 => Route::Chunks(self.size()),
            _ => Route::Direct,
        }
    }

    fn step(&mut self) -> Step {
        match self.below(24) {
            0..4 => Step::Write { at: self.byte(), clock: self.clock(), ops: self.ops(), fuse: self.fuse() },
            4 => Step::Twins { at: self.byte(), and: self.byte(), ops: self.ops() },
            5 => Step::Pass { ms: [1, 7, 40, 100_000][usize::from(self.below(4))] },
            6..9 => Step::Sync { from: self.byte(), to: self.byte(), route: self.route() },
            9 => Step::Send {
                from: self.byte(),
                to: self.byte(),
                route: self.route(),
                since: [Since::Asked, Since::Believed, Since::Stale, Since::Nothing]
                    [usize::from(self.below(4))],
            },
            10 | 11 => Step::Deliver {
                message: self.byte(),
                elsewhere: self.bool().then(|| self.byte()),
                part: [Part::Next, Part::Again, Part::ButNext, Part::First][usize::from(self.below(4))],
                chunks: 1 + self.below(4),
            },
            12 => Step::Lose { message: self.byte() },
            13 => Step::Report { about: self.byte(), to: self.byte(), is_old: self.bool() },
            14 => Step::Relay { from: self.byte(), to: self.byte() },
            15 | 16 => Step::Settle { from: self.byte(), to: self.byte() },
            17 => Step::Forget { at: self.byte() },
            18 => Step::Evict { who: self.byte(), by: self.byte() },
            19 => Step::Readmit { who: self.byte(), by: self.byte() },
            20 => Step::Absence { who: self.byte(), is_mutual: self.bool() },
            21 => Step::Return { who: self.byte(), with: self.byte(), is_asking: self.bool() },
            22 => Step::Interrupted {
                from: self.byte(),
                to: self.byte(),
                bytes: self.size(),
                ops: self.ops(),
                forgets: self.bool(),
                rest: match self.below(5) {
                    0 => Rest::Resumes,
                    1 => Rest::Restarts,
                    2 => Rest::ComesFrom(self.byte()),
                    3 => Rest::IsMixed,
                    _ => Rest::IsLost,
                },
            },
            _ => match self.below(4) {
                0 => Step::Snapshot { at: self.byte() },
                1 => Step::Join { known_by: self.byte() },
                2 => Step::Restart { who: self.byte(), known_by: self.byte() },
                _ => Step::Close { at: self.byte(), who: self.byte() },
            },
        }
    }
}
