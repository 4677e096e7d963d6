//! Ways between processes: what delays, loses, repeats and overtakes frames, and connections that break and come back.

use std::collections::BTreeMap;

use crate::sim::random::Random;

/// What happens to frames under way, of a thousand each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Are lost.
    pub lost: u64,
    /// Arrive twice.
    pub repeated: u64,
    /// Are held up, and overtaken by others.
    pub held_up: u64,
}

/// A connection: a new one at each attempt, between two slots.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) number: u64,
    /// Whether frames come in the order in which they were sent, or not at all.
    is_ordered: bool,
    /// Of what each end sent: how many, when the last arrives, and when the way is free again.
    sent: [u64; 2],
    arrives_ms: [u64; 2],
    free_ms: [u64; 2],
}

/// What connects two slots.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    pub(super) connection: Option<Connection>,
    /// How many there were.
    count: u64,
    /// Before this there is no other.
    pub(super) not_before_ms: u64,
    delay_ms: u64,
    /// Bytes a second; none: as fast as can be.
    pub(super) bandwidth: Option<u64>,
    /// How many partitions stand in the way, from the lower slot to the higher and back.
    blocked: [usize; 2],
}

/// Everything between processes.
#[derive(Clone, Debug)]
pub(super) struct Network {
    seed: u64,
    ways: BTreeMap<(usize, usize), Way>,
    pub(super) weather: Weather,
    /// Whether connections keep the order of frames.
    is_ordered: bool,
    most_delay_ms: u64,
}

/// What became of a frame.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fate {
    /// When it arrives: never, once, or more often.
    pub(super) arrives_ms: Vec<u64>,
    pub(super) is_held_up: bool,
    pub(super) is_blocked: bool,
}

/// The slots in order, and at which end the first of them is.
fn ends(from: usize, to: usize) -> ((usize, usize), usize) {
    if from < to { ((from, to), 0) } else { ((to, from), 1) }
}

impl Network {
    pub(super) fn new(seed: u64, is_ordered: bool, most_delay_ms: u64) -> Self {
        Self { seed, ways: BTreeMap::new(), weather: Weather::default(), is_ordered, most_delay_ms }
    }

    pub(super) fn way(&mut self, one: usize, other: usize) -> &mut Way {
        let (slots, _) = ends(one, other);
        let (seed, most) = (self.seed, self.most_delay_ms);
        self.ways.entry(slots).or_insert_with(|| {
            let mut random = Random::new(seed, &[1, slots.0 as u64, slots.1 as u64]);
            Way { delay_ms: 1 + random.of_any_size(most - 1), ..Way::default() }
        })
    }

    /// Both ends are to be told that a new connection is up. Returns its number, which no other ever has.
    pub(super) fn connect(&mut self, one: usize, other: usize) -> u64 {
        let ((low, high), _) = ends(one, other);
        let is_ordered = self.is_ordered;
        let way = self.way(one, other);
        way.count += 1;
        let number = (low as u64 * 1_000 + high as u64) * 1_000_000 + way.count;
        way.connection =
            Some(Connection { number, is_ordered, sent: [0; 2], arrives_ms: [0; 2], free_ms: [0; 2] });
        number
    }

    /// The connection by which `from` sends to `to`, if it is the one that stands.
    fn standing(&mut self, from: usize, to: usize, number: u64) -> Option<&mut Connection> {
        self.way(from, to).connection.as_mut().filter(|connection| connection.number == number)
    }

    /// Whether a connection of this number stands.
    pub(super) fn is_standing(&mut self, from: usize, to: usize, number: u64) -> bool {
        self.standing(from, to, number).is_some()
    }

    pub(super) fn is_blocked(&mut self, from: usize, to: usize) -> bool {
        let (_, end) = ends(from, to);
        self.way(from, to).blocked[end] > 0
    }

    /// Adds a partition in one direction, or takes it away.
    pub(super) fn block(&mut self, from: usize, to: usize, is_blocked: bool) {
        let (_, end) = ends(from, to);
        let count = &mut self.way(from, to).blocked[end];
        *count = if is_blocked { *count + 1 } else { count.saturating_sub(1) };
    }

    /// All that stands in the way is gone, and the weather is fine.
    pub(super) fn heal(&mut self) {
        self.weather = Weather::default();
        for way in self.ways.values_mut() {
            (way.blocked, way.bandwidth, way.not_before_ms) = ([0; 2], None, 0);
        }
    }

    /// A frame is sent. What becomes of it depends on the seed, the connection and its number on it, and on nothing else
    /// that is random.
    pub(super) fn send(&mut self, now_ms: u64, from: usize, to: usize, number: u64, bytes: usize) -> Fate {
        let (seed, weather) = (self.seed, self.weather);
        let (_, end) = ends(from, to);
        let way = self.way(from, to);
        let (delay_ms, bandwidth, is_blocked) = (way.delay_ms, way.bandwidth, way.blocked[end] > 0);
        let Some(connection) = way.connection.as_mut().filter(|connection| connection.number == number)
        else {
            return Fate::default();
        };
        connection.sent[end] += 1;
        let mut random = Random::new(seed, &[2, number, end as u64, connection.sent[end]]);
        if is_blocked || random.chance(weather.lost) {
            return Fate { is_blocked, ..Fate::default() };
        }
        let start_ms = now_ms.max(connection.free_ms[end]);
        let takes_ms = bandwidth.map_or(0, |bandwidth| bytes as u64 * 1_000 / bandwidth.max(1));
        connection.free_ms[end] = start_ms + takes_ms;
        let mut arrives_ms = start_ms + takes_ms + delay_ms + random.of_any_size(delay_ms);
        let is_held_up = random.chance(weather.held_up);
        if is_held_up {
            arrives_ms += random.within(1..=4 * delay_ms + 200);
        }
        if connection.is_ordered {
            arrives_ms = arrives_ms.max(connection.arrives_ms[end]);
            connection.arrives_ms[end] = arrives_ms;
        }
        let mut fate = Fate { arrives_ms: vec![arrives_ms], is_held_up, is_blocked };
        if random.chance(weather.repeated) {
            fate.arrives_ms.push(arrives_ms + random.of_any_size(3_000));
        }
        fate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_have_a_direction_and_add_up() {
        let mut network = Network::new(1, false, 50);
        let number = network.connect(3, 1);
        network.block(1, 3, true);
        network.block(1, 3, true);
        network.block(1, 3, false);
        assert_eq!((network.is_blocked(1, 3), network.is_blocked(3, 1)), (true, false));
        assert!(network.send(0, 1, 3, number, 10).is_blocked);
        assert_eq!(network.send(0, 3, 1, number, 10).arrives_ms.len(), 1);
        network.heal();
        assert_eq!(network.send(0, 1, 3, number, 10).arrives_ms.len(), 1);
        let other = network.connect(1, 3);
        assert!(other != number && network.send(0, 1, 3, number, 10) == Fate::default());
    }

    #[test]
    fn order_is_kept_where_it_is_asked_for_and_bandwidth_holds_frames_up() {
        for is_ordered in [true, false] {
            let mut network = Network::new(2, is_ordered, 100);
            network.weather.held_up = 300;
            let number = network.connect(0, 1);
            let sent = (0..200).map(|now_ms| network.send(now_ms, 0, 1, number, 10).arrives_ms[0]);
            let arrivals: Vec<_> = sent.collect();
            assert_eq!(arrivals.is_sorted(), is_ordered);
        }
        let mut network = Network::new(3, false, 10);
        let number = network.connect(0, 1);
        network.way(0, 1).bandwidth = Some(1_000);
        let last = (0..10).map(|_| network.send(5, 0, 1, number, 100).arrives_ms[0]).last();
        assert!(last.is_some_and(|last| (1_005..1_100).contains(&last)), "{last:?}");
    }

    #[test]
    fn what_becomes_of_a_frame_is_the_same_each_time_and_bad_weather_shows() {
        let fates = |weather| {
            let mut network = Network::new(4, false, 100);
            network.weather = weather;
            let number = network.connect(0, 1);
            (0..1_000).map(|now_ms| network.send(now_ms, 0, 1, number, 10)).collect::<Vec<_>>()
        };
        let weather = Weather { lost: 200, repeated: 100, held_up: 50 };
        let all = fates(weather);
        assert_eq!(all, fates(weather));
        let arriving = |times| all.iter().filter(|fate| fate.arrives_ms.len() == times).count();
        assert!(
            (150..250).contains(&arriving(0)) && (50..130).contains(&arriving(2)),
            "{} {}",
            arriving(0),
            arriving(2)
        );
        assert!(fates(Weather::default()).iter().all(|fate| fate.arrives_ms.len() == 1 && !fate.is_held_up));
    }
}
