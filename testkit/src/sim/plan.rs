//! What a seed stands for: the setting, and a list of actions. A run is a function of the seed and of which actions are left out.

use std::collections::BTreeSet;

use crate::sim::network::Weather;
use crate::sim::random::Random;

/// The most processes that there are at once, copies included.
pub(super) const MOST: usize = 8;

/// Who is connected with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// Each with each.
    Mesh,
    /// All with the first.
    Star,
    /// Each with the two beside it.
    Ring,
}

/// What stays as it is during a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// How many processes there are at first.
    pub processes: usize,
    /// How many keys a map has.
    pub keys: u8,
    /// Who is connected with whom.
    pub topology: Topology,
    /// Whether connections keep the order of frames.
    pub is_ordered: bool,
    /// How long frames are under way at most, where nothing is wrong.
    pub most_delay_ms: u64,
    /// How long the faults last.
    pub horizon_ms: u64,
    /// Of a thousand processes, how many have a disk.
    pub durable: u64,
    /// Whether who asks to join waits for an operator.
    pub is_closed: bool,
}

/// In which direction nothing passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// In both.
    Both,
    /// From the group to the others.
    Out,
    /// From the others to the group.
    In,
}

/// A group of slots: bit `n` is slot `n`.
pub type Group = u8;

/// Something that is done to the world. Slots are numbers modulo how many there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A transaction; each list of numbers chooses one thing that it does.
    Write {
        /// Where.
        at: u8,
        /// What.
        ops: Vec<Vec<u8>>,
        /// Whether to wait until others have it: how many, and whether on their disks.
        confirm: Option<(u8, bool)>,
    },
    /// A connection breaks.
    Break {
        /// Between whom.
        between: (u8, u8),
        /// How long there is no other.
        for_ms: u64,
        /// How long it takes each end to notice.
        notice_ms: (u64, u64),
    },
    /// Nothing passes between a group and the others.
    Partition {
        /// The group.
        group: Group,
        /// In which direction.
        direction: Direction,
        /// For how long.
        for_ms: u64,
    },
    /// Frames are lost, repeated, held up.
    Storm {
        /// How many.
        weather: Weather,
        /// For how long.
        for_ms: u64,
    },
    /// A way is slow.
    Slow {
        /// Between whom.
        between: (u8, u8),
        /// Bytes a second.
        bandwidth: u64,
        /// For how long.
        for_ms: u64,
    },
    /// A clock jumps.
    Step {
        /// Whose.
        at: u8,
        /// By how much.
        by_ms: i64,
    },
    /// A clock stands still.
    Stuck {
        /// Whose.
        at: u8,
        /// For how long.
        for_ms: u64,
    },
    /// A clock runs far ahead, further than others accept, and is mended later.
    Ahead {
        /// Whose.
        at: u8,
        /// By how much.
        by_ms: u64,
        /// For how long.
        for_ms: u64,
    },
    /// A process dies and comes back.
    Crash {
        /// Which.
        at: u8,
        /// How much of what was being written is on the disk, of a thousand bytes.
        written: u64,
        /// When it comes back.
        for_ms: u64,
        /// Whether it waits until something is being written.
        in_write: bool,
    },
    /// A process dies, and comes back with an older image of its disk.
    Restore {
        /// Which.
        at: u8,
        /// How many writes older.
        back: u8,
        /// When it comes back.
        for_ms: u64,
    },
    /// A process dies, and comes back with an empty disk.
    Wipe {
        /// Which.
        at: u8,
        /// When it comes back.
        for_ms: u64,
    },
    /// A disk is full.
    Full {
        /// Whose.
        at: u8,
        /// For how long.
        for_ms: u64,
    },
    /// A process is copied while it runs. One of the two has no connections until the others have seen what the other wrote.
    Clone {
        /// Which.
        at: u8,
        /// Whether it is the copy that has connections.
        is_copy_heard: bool,
    },
    /// A process goes on from where it was a while ago.
    Rollback {
        /// Which.
        at: u8,
        /// How long ago.
        by_ms: u64,
    },
    /// A process joins.
    Join,
    /// A member leaves, and does not come back.
    Leave {
        /// Which.
        at: u8,
    },
    /// Somebody is evicted.
    Evict {
        /// Who.
        at: u8,
        /// By whom.
        by: u8,
        /// When it is admitted again.
        for_ms: u64,
    },
    /// Two halves are cut off from each other, and each evicts the other.
    Split {
        /// One half.
        group: Group,
        /// When they meet again, and admit each other.
        for_ms: u64,
    },
}

/// An action and when it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Milliseconds since the beginning.
    pub at_ms: u64,
    /// What is done.
    pub action: Action,
}

/// The setting and the actions of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What all else follows from.
    pub seed: u64,
    /// What stays.
    pub setting: Setting,
    /// What is done, in order of time.
    pub actions: Vec<Planned>,
    /// The numbers of those that are left out.
    pub left_out: BTreeSet<usize>,
}

/// Kinds of actions, to be chosen by weight.
#[derive(Clone, Copy)]
enum Kind {
    Break,
    Partition,
    Storm,
    Slow,
    Step,
    Stuck,
    Ahead,
    Crash,
    Restore,
    Wipe,
    Full,
    Clone,
    Rollback,
    Join,
    Leave,
    Evict,
    Split,
}

const FAULTS: [(u64, Kind); 17] = [
    (14, Kind::Break),
    (12, Kind::Partition),
    (10, Kind::Storm),
    (5, Kind::Slow),
    (6, Kind::Step),
    (4, Kind::Stuck),
    (3, Kind::Ahead),
    (14, Kind::Crash),
    (4, Kind::Restore),
    (2, Kind::Wipe),
    (5, Kind::Full),
    (5, Kind::Clone),
    (5, Kind::Rollback),
    (4, Kind::Join),
    (2, Kind::Leave),
    (4, Kind::Evict),
    (2, Kind::Split),
];

impl Plan {
    /// The plan of a seed.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed, &[10]);
        let setting = Setting {
            processes: random.weighted(&[(2, 2), (4, 3), (4, 4), (2, 5), (1, 6)]),
            keys: random.pick(&[6, 12, 40]),
            topology: random.weighted(&[(4, Topology::Mesh), (2, Topology::Star), (1, Topology::Ring)]),
            is_ordered: random.chance(500),
            most_delay_ms: random.pick(&[5, 40, 300]),
            horizon_ms: random.pick(&[20_000, 60_000, 60_000, 120_000]),
            durable: random.pick(&[0, 700, 1_000, 1_000]),
            is_closed: random.chance(250),
        };
        let mut actions = Vec::new();
        let mut time = Random::new(seed, &[11]);
        let mut at = |latest_ms: u64| time.below(latest_ms);
        for number in 0..random.within(60..=160) {
            let mut random = Random::new(seed, &[12, number]);
            actions.push(Planned { at_ms: at(setting.horizon_ms), action: write(&mut random) });
        }
        // Some kinds of faults, not all: what comes together often must be seen to go wrong together.
        let kinds: Vec<_> = FAULTS.iter().copied().filter(|_| random.chance(600)).collect();
        let faults = if kinds.is_empty() { 0 } else { random.within(0..=24) };
        for number in 0..faults {
            let mut random = Random::new(seed, &[13, number]);
            let kind = random.weighted(&kinds);
            actions.push(Planned { at_ms: at(setting.horizon_ms), action: fault(kind, &mut random) });
        }
        actions.sort_by_key(|planned| planned.at_ms);
        Self { seed, setting, actions, left_out: BTreeSet::new() }
    }

    /// The plan without some of its actions, named by their numbers.
    #[must_use]
    pub fn without(self, left_out: &BTreeSet<usize>) -> Self {
        Self { left_out: left_out.clone(), ..self }
    }
}

fn write(random: &mut Random) -> Action {
    let count = random.weighted(&[(6, 1), (3, 2), (1, 5)]);
    let mut choices = |_| (0..8).map(|_| random.byte()).collect();
    let ops = (0..count).map(&mut choices).collect();
    let confirm = random.chance(60).then(|| (1 + random.below(2) as u8, random.chance(500)));
    Action::Write { at: random.byte(), ops, confirm }
}

fn group(random: &mut Random) -> Group {
    random.within(1..=254) as u8
}

fn fault(kind: Kind, random: &mut Random) -> Action {
    let at = random.byte();
    let between = (random.byte(), random.byte());
    let for_ms = 50 + random.of_any_size(30_000);
    match kind {
        Kind::Break => {
            let notice_ms = (random.of_any_size(3_000), random.of_any_size(3_000));
            Action::Break { between, for_ms: random.of_any_size(10_000), notice_ms }
        }
        Kind::Partition => {
            let direction = random.weighted(&[(2, Direction::Both), (1, Direction::Out), (1, Direction::In)]);
            Action::Partition { group: group(random), direction, for_ms }
        }
        Kind::Storm => {
            let mut part = || random.of_any_size(300);
            let weather = Weather { lost: part(), repeated: part(), held_up: part() };
            Action::Storm { weather, for_ms }
        }
        Kind::Slow => Action::Slow { between, bandwidth: 200 + random.of_any_size(50_000), for_ms },
        Kind::Step => {
            let by_ms = random.of_any_size(25_000) as i64;
            Action::Step { at, by_ms: if random.chance(500) { by_ms } else { -by_ms } }
        }
        Kind::Stuck => Action::Stuck { at, for_ms },
        Kind::Ahead => {
            let by_ms = random.weighted(&[(1, 65_000), (1, 120_000), (2, 3_600_000)]);
            Action::Ahead { at, by_ms, for_ms }
        }
        Kind::Crash => Action::Crash {
            at,
            written: random.weighted(&[(2, 0), (6, random.clone().below(1_000)), (2, 1_000)]),
            for_ms: random.of_any_size(20_000),
            in_write: random.chance(700),
        },
        Kind::Restore => Action::Restore { at, back: 1 + random.of_any_size(20) as u8, for_ms },
        Kind::Wipe => Action::Wipe { at, for_ms },
        Kind::Full => Action::Full { at, for_ms },
        Kind::Clone => Action::Clone { at, is_copy_heard: random.chance(500) },
        Kind::Rollback => Action::Rollback { at, by_ms: 10 + random.of_any_size(20_000) },
        Kind::Join => Action::Join,
        Kind::Leave => Action::Leave { at },
        Kind::Evict => Action::Evict { at, by: random.byte(), for_ms },
        Kind::Split => Action::Split { group: group(random), for_ms: 2_000 + for_ms },
    }
}
