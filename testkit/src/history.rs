//! Histories of a cluster, as proptest makes and shrinks them.
//!
//! Every list of steps is a legal history: replicas, messages and reports are meant by their number, modulo how many there
//! are, and what a step needs and does not find makes it no step at all.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::Union;

use crate::subject::Fuse;

/// A history of a cluster.
#[derive(Clone, Debug)]
pub struct History {
    /// How many replicas there are at the beginning.
    pub replicas: usize,
    /// How many keys a map may have.
    pub keys: u8,
    /// What happens.
    pub steps: Vec<Step>,
}

/// How a delta travels.
#[derive(Clone, Copy, Debug)]
pub enum Route {
    /// As one message.
    Message,
    /// In chunks of so many bytes.
    Chunks(usize),
    /// As a value, within one process.
    Direct,
}

/// One step of a history.
#[derive(Clone, Debug)]
pub enum Step {
    /// A replica makes a transaction.
    Write {
        /// Who writes.
        at: usize,
        /// By how many milliseconds its clock is wrong: behind, if negative.
        wrong_ms: i64,
        /// For each operation, the numbers that it chooses by.
        ops: Vec<Vec<u8>>,
        /// How it is broken off, and after how many writes.
        fuse: Option<(Fuse, usize)>,
    },
    /// Time passes everywhere.
    Pass {
        /// How much, in milliseconds.
        ms: u64,
    },
    /// A replica sends another what it lacks, and it arrives at once.
    Sync {
        /// Who sends.
        from: usize,
        /// Who receives.
        to: usize,
        /// How.
        route: Route,
    },
    /// A replica makes a message of what another one lacks. It is under way from then on, until it is lost.
    Send {
        /// Who sends.
        from: usize,
        /// For whom it is made.
        to: usize,
        /// How it travels.
        route: Route,
        /// Whether it is made from a snapshot that was taken earlier.
        is_stale: bool,
    },
    /// A message arrives: not always for the first time, nor at the one it was made for.
    Deliver {
        /// Which.
        message: usize,
        /// Who receives it, if not the one it was made for.
        elsewhere: Option<usize>,
        /// Of a message in chunks, how many of those that have not arrived yet.
        chunks: usize,
    },
    /// A message is lost.
    Lose {
        /// Which.
        message: usize,
    },
    /// A replica hears what another one holds.
    Report {
        /// Of whom.
        about: usize,
        /// Who hears it.
        to: usize,
        /// Whether it is an older report.
        is_old: bool,
    },
    /// A replica hears all that another one has heard.
    Relay {
        /// Who has heard it.
        from: usize,
        /// Who hears it.
        to: usize,
    },
    /// Two replicas tell each other what they hold and have heard, and both forget.
    Settle {
        /// The one.
        from: usize,
        /// The other.
        to: usize,
    },
    /// A replica forgets.
    Forget {
        /// Who.
        at: usize,
    },
    /// Others no longer wait for a replica.
    Evict {
        /// Who is evicted.
        who: usize,
        /// Which of the others know: one bit each.
        by: u8,
    },
    /// Others wait for a replica again.
    Readmit {
        /// Who is a member again.
        who: usize,
        /// Which of the others know: one bit each.
        by: u8,
    },
    /// Others no longer wait for a replica, sync with each other but not with it, and forget.
    Absence {
        /// Who is absent.
        who: usize,
    },
    /// A replica is sent a delta in chunks, and writes while they arrive.
    Interrupted {
        /// Who sends.
        from: usize,
        /// Who receives, and writes.
        to: usize,
        /// The size of a chunk.
        bytes: usize,
        /// For each operation, the numbers that it chooses by.
        ops: Vec<Vec<u8>>,
    },
    /// A new replica comes.
    Join,
    /// A reader takes a snapshot, and keeps it.
    Snapshot {
        /// Of whom.
        at: usize,
    },
}

/// What a history is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// Everything there is.
    All,
    /// Replicas never forget, so that the joins can be compared in full.
    NoForgetting,
    /// Mostly writing apart, forgetting, eviction and return.
    Eviction,
}

fn ops() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(vec(any::<u8>(), 1..12), 1..=5)
}

fn fuse() -> impl Strategy<Value = Option<(Fuse, usize)>> {
    let kind = prop_oneof![Just(Fuse::Error), Just(Fuse::Panic), Just(Fuse::CaughtPanic)];
    prop_oneof![7 => Just(None), 1 => (kind, 0..4_usize).prop_map(Some)]
}

fn route() -> impl Strategy<Value = Route> {
    prop_oneof![5 => Just(Route::Message), 1 => Just(Route::Direct), 2 => (1..300_usize).prop_map(Route::Chunks)]
}

/// By how much a clock is wrong: mostly not at all, at times behind, rarely further ahead than anyone accepts.
fn wrong_ms() -> impl Strategy<Value = i64> {
    prop_oneof![20 => Just(0), 5 => -50_i64..0, 1 => Just(90_000)]
}

fn step(theme: Theme) -> impl Strategy<Value = Step> {
    let at = || 0..64_usize;
    let forgets = if theme == Theme::NoForgetting { 0 } else { 1 };
    let evicts = if theme == Theme::Eviction { 3 } else { 1 };
    let by = || prop_oneof![3 => Just(u8::MAX), 1 => any::<u8>()];
    let write = (at(), wrong_ms(), ops(), fuse());
    let write = write.prop_map(|(at, wrong_ms, ops, fuse)| Step::Write { at, wrong_ms, ops, fuse });
    let pass = prop_oneof![9 => 1..40_u64, 1 => Just(100_000)].prop_map(|ms| Step::Pass { ms });
    let sync = (at(), at(), route()).prop_map(|(from, to, route)| Step::Sync { from, to, route });
    let send = (at(), at(), route(), any::<bool>());
    let send = send.prop_map(|(from, to, route, is_stale)| Step::Send { from, to, route, is_stale });
    let elsewhere = prop_oneof![3 => Just(None), 1 => at().prop_map(Some)];
    let deliver = (at(), elsewhere, 1..5_usize);
    let deliver =
        deliver.prop_map(|(message, elsewhere, chunks)| Step::Deliver { message, elsewhere, chunks });
    let report = (at(), at(), any::<bool>());
    let report = report.prop_map(|(about, to, is_old)| Step::Report { about, to, is_old });
    let interrupted = (at(), at(), 1..100_usize, ops());
    let interrupted =
        interrupted.prop_map(|(from, to, bytes, ops)| Step::Interrupted { from, to, bytes, ops });
    let steps = [
        (60, write.boxed()),
        (12, pass.boxed()),
        (30, sync.boxed()),
        (20, send.boxed()),
        (36, deliver.boxed()),
        (2, at().prop_map(|message| Step::Lose { message }).boxed()),
        (8, report.boxed()),
        (6, (at(), at()).prop_map(|(from, to)| Step::Relay { from, to }).boxed()),
        (24 * forgets, (at(), at()).prop_map(|(from, to)| Step::Settle { from, to }).boxed()),
        (12 * forgets, at().prop_map(|at| Step::Forget { at }).boxed()),
        (4 * evicts * forgets, (at(), by()).prop_map(|(who, by)| Step::Evict { who, by }).boxed()),
        (2 * evicts * forgets, (at(), by()).prop_map(|(who, by)| Step::Readmit { who, by }).boxed()),
        (3 * evicts * forgets, at().prop_map(|who| Step::Absence { who }).boxed()),
        (4, interrupted.boxed()),
        (1, Just(Step::Join).boxed()),
        (6, at().prop_map(|at| Step::Snapshot { at }).boxed()),
    ];
    Union::new_weighted(steps.into_iter().filter(|(weight, _)| *weight > 0).collect())
}

/// Histories of at most `steps` steps.
pub fn histories(theme: Theme, steps: usize) -> impl Strategy<Value = History> {
    let keys = prop_oneof![3 => Just(2_u8), 3 => Just(5), 1 => Just(40)];
    let history = (2..=6_usize, keys, vec(step(theme), 0..=steps));
    history.prop_map(|(replicas, keys, steps)| History { replicas, keys, steps })
}
