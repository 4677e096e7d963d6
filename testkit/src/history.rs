//! Histories of a cluster: what proptest makes and shrinks, and what fuzzing reads off any bytes.
//!
//! Every list of steps is a legal history: replicas, messages and reports are meant by their number, modulo how many there
//! are, and what a step needs and does not find makes it no step at all. So whatever is left out or made smaller, a history
//! stays legal.

mod bytes;
mod generate;
mod shrink;

pub use crate::history::generate::{Theme, histories};
use crate::subject::Fuse;

/// A history of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// How many replicas there are at the beginning.
    pub replicas: u8,
    /// How many keys a map may have.
    pub keys: u8,
    /// What happens.
    pub steps: Vec<Step>,
}

/// For each operation of a transaction, the numbers that it chooses by.
pub type Ops = Vec<Vec<u8>>;

/// How wrong the clock of a replica is while it makes a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Not at all.
    Right,
    /// Behind, by so many milliseconds.
    Behind(u8),
    /// Behind, by years.
    YearsBehind,
    /// As if it had been set to zero.
    AtZero,
    /// Further ahead than anyone accepts.
    TooFarAhead,
}

/// How a delta travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// As one message.
    Message,
    /// In chunks of so many bytes.
    Chunks(u16),
    /// As a value, within one process.
    Direct,
}

/// Since when a delta is sent, and from what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// What the receiver holds, as if it had just asked.
    Asked,
    /// What the sender believes the receiver to hold: as if all that it ever sent there had arrived.
    Believed,
    /// What the receiver holds, but made from a snapshot that was taken earlier.
    Stale,
    /// Nothing: all there is.
    Nothing,
}

/// Which chunks of a message arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Those that come next.
    Next,
    /// The one that came last once more, and those that come next.
    Again,
    /// Those after the next, which is lost.
    ButNext,
    /// Those from the first: the transfer begins anew.
    First,
}

/// What becomes of a transfer that was interrupted half-way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It goes on.
    Resumes,
    /// It begins anew.
    Restarts,
    /// Another one sends what is lacking; then it goes on after all.
    ComesFrom(u8),
    /// A chunk of another transfer of the same sender comes in between.
    IsMixed,
    /// It is lost.
    IsLost,
}

/// Some of the replicas: one bit each.
pub type Group = u8;

/// One step of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A replica makes a transaction.
    Write {
        /// Who writes.
        at: u8,
        /// By what clock.
        clock: Clock,
        /// What it does.
        ops: Ops,
        /// How it is broken off, and after how many writes.
        fuse: Option<(Fuse, u8)>,
    },
    /// Two replicas make transactions with the same stamp, which do nearly the same.
    Twins {
        /// The one.
        at: u8,
        /// The other.
        and: u8,
        /// What they do; the other chooses what comes last in each operation otherwise.
        ops: Ops,
    },
    /// Time passes everywhere.
    Pass {
        /// How much, in milliseconds.
        ms: u32,
    },
    /// A replica sends another what it lacks, and it arrives at once.
    Sync {
        /// Who sends.
        from: u8,
        /// Who receives.
        to: u8,
        /// How.
        route: Route,
    },
    /// A replica makes a message for another one. It is under way from then on, until it is lost.
    Send {
        /// Who sends.
        from: u8,
        /// For whom it is made.
        to: u8,
        /// How it travels.
        route: Route,
        /// Since when, and from what.
        since: Since,
    },
    /// A message arrives: not always for the first time, nor at the one it was made for.
    Deliver {
        /// Which, counted back from the last that was made.
        message: u8,
        /// Who receives it, if not the one it was made for.
        elsewhere: Option<u8>,
        /// Of a message in chunks, which arrive.
        part: Part,
        /// And how many.
        chunks: u8,
    },
    /// A message is lost.
    Lose {
        /// Which, counted back from the last that was made.
        message: u8,
    },
    /// A replica hears what another one holds.
    Report {
        /// Of whom.
        about: u8,
        /// Who hears it.
        to: u8,
        /// Whether it is an older report.
        is_old: bool,
    },
    /// A replica hears all that another one has heard.
    Relay {
        /// Who has heard it.
        from: u8,
        /// Who hears it.
        to: u8,
    },
    /// Two replicas tell each other what they hold and have heard, and both forget.
    Settle {
        /// The one.
        from: u8,
        /// The other.
        to: u8,
    },
    /// A replica forgets.
    Forget {
        /// Who.
        at: u8,
    },
    /// Others no longer wait for some replicas.
    Evict {
        /// Who are evicted.
        who: Group,
        /// Which of the others know.
        by: Group,
    },
    /// Others wait for some replicas again.
    Readmit {
        /// Who are members again.
        who: Group,
        /// Which of the others know.
        by: Group,
    },
    /// Others no longer wait for some replicas, or for none, sync with each other but not with them, and forget.
    Absence {
        /// Who are absent.
        who: Group,
        /// Whether the absent do the same among themselves.
        is_mutual: bool,
    },
    /// A replica is a member again for all, and syncs both ways with one of them.
    Return {
        /// Who.
        who: u8,
        /// With whom it syncs.
        with: u8,
        /// Whether it is sent what it lacks before it sends what it wrote alone.
        is_asking: bool,
    },
    /// A replica is sent a delta in chunks, and writes while they arrive.
    Interrupted {
        /// Who sends.
        from: u8,
        /// Who receives, and writes.
        to: u8,
        /// The size of a chunk.
        bytes: u16,
        /// What it does meanwhile.
        ops: Ops,
        /// Whether it also forgets.
        forgets: bool,
        /// What becomes of the other chunks.
        rest: Rest,
    },
    /// A new replica comes. It takes all others for members.
    Join {
        /// Which of the others take it for a member at once.
        known_by: Group,
    },
    /// A replica starts again: a new one takes its place, with what it held and another id, and closes the former id.
    Restart {
        /// Who.
        who: u8,
        /// Which of the others take the new one for a member at once, in place of the former.
        known_by: Group,
    },
    /// A replica closes the id of another one, which may write on.
    Close {
        /// Who does it.
        at: u8,
        /// Whose id.
        who: u8,
    },
    /// A reader takes a snapshot, and keeps it.
    Snapshot {
        /// Of whom.
        at: u8,
    },
}
