//! Endpoints on one bench: links between them, and time, under the test's hand.

use std::collections::{BTreeMap, VecDeque};

use driftless::{
    Config, Crdt, Endpoint, LinkId, Replica, ReplicaId, SyncConfig, SyncError, SyncEvent, VersionVector,
};
use uuid::Uuid;

pub(crate) const START_MS: u64 = 1_700_000_000_000;
pub(crate) const CLUSTER: Uuid = Uuid::from_u128(0xc1);
/// How long a frame is under way.
pub(crate) const DELAY_MS: u64 = 20;
/// The kinds of frames, their first byte.
pub(crate) const DELTA: u8 = 2;
pub(crate) const GAP: u8 = 4;
pub(crate) const BEAT: u8 = 5;

/// An id that is a replica's, of the member with a number.
pub(crate) fn id(number: usize) -> ReplicaId {
    ReplicaId::from_u128(0x100 + number as u128)
}

/// The id of a member.
pub(crate) fn member(number: usize) -> ReplicaId {
    ReplicaId::from_u128(0xe00 + number as u128)
}

/// A frame under way.
#[derive(Debug)]
struct Flight {
    at_ms: u64,
    to: (usize, LinkId),
    bytes: Vec<u8>,
}

/// What the network does to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Arrives,
    Lost,
    Twice,
    Late(u64),
    /// Held back until [`Net::release`].
    Held,
}

/// What decides it.
pub(crate) type Fates = Box<dyn FnMut(usize, usize, &[u8]) -> Fate>;

/// Endpoints and the links between them.
pub(crate) struct Net<S: Crdt> {
    pub(crate) now_ms: u64,
    pub(crate) ends: Vec<Endpoint<S>>,
    /// What each clock is ahead by.
    pub(crate) skew_ms: Vec<i64>,
    pub(crate) events: Vec<Vec<SyncEvent>>,
    /// For each end of a link, the other one.
    links: BTreeMap<(usize, LinkId), (usize, LinkId)>,
    next_link: u64,
    flights: VecDeque<Flight>,
    /// What becomes of the frame of this number, from and to whom it goes, and its bytes.
    pub(crate) fate: Fates,
    /// For each pair, how many frames and bytes were sent.
    pub(crate) sent: BTreeMap<(usize, usize), (u64, u64)>,
    /// Every frame that was sent, by whom and to whom.
    pub(crate) log: Vec<(usize, usize, Vec<u8>)>,
    /// Frames that were held back, by whom and to whom.
    held: Vec<(usize, usize, Vec<u8>)>,
    restarts: usize,
}

impl<S: Crdt> Net<S> {
    pub(crate) fn new(count: usize, set: impl Fn(usize, &mut SyncConfig)) -> Self {
        Self::with(count, &Config::default(), set)
    }

    pub(crate) fn with(count: usize, replicas: &Config, set: impl Fn(usize, &mut SyncConfig)) -> Self {
        let mut net = Self {
            now_ms: START_MS,
            ends: Vec::new(),
            skew_ms: Vec::new(),
            events: Vec::new(),
            links: BTreeMap::new(),
            next_link: 1,
            flights: VecDeque::new(),
            fate: Box::new(|_, _, _| Fate::Arrives),
            sent: BTreeMap::new(),
            log: Vec::new(),
            held: Vec::new(),
            restarts: 0,
        };
        for number in 0..count {
            let mut config = SyncConfig::new(CLUSTER, member(number), format!("region-{number}"));
            set(number, &mut config);
            net.add(Endpoint::new(Replica::new(id(number), replicas.clone()), config));
        }
        net
    }

    pub(crate) fn add(&mut self, end: Endpoint<S>) -> usize {
        self.ends.push(end);
        self.skew_ms.push(0);
        self.events.push(Vec::new());
        self.ends.len() - 1
    }

    /// What the clock of an endpoint says.
    pub(crate) fn clock(&self, at: usize) -> u64 {
        self.now_ms.saturating_add_signed(self.skew_ms[at])
    }

    pub(crate) fn connect(&mut self, a: usize, b: usize) {
        let [to_b, to_a] = [LinkId(self.next_link), LinkId(self.next_link + 1)];
        self.next_link += 2;
        self.links.insert((a, to_b), (b, to_a));
        self.links.insert((b, to_a), (a, to_b));
        let (clock_a, clock_b) = (self.clock(a), self.clock(b));
        self.ends[a].link_up(clock_a, to_b, None, 7919 * to_b.0);
        self.ends[b].link_up(clock_b, to_a, None, 7919 * to_a.0);
        self.pump(a);
        self.pump(b);
    }

    /// Cuts all links between two; what is under way is lost.
    pub(crate) fn cut(&mut self, a: usize, b: usize) {
        let links: Vec<_> = self.links.iter().map(|(from, to)| (*from, *to)).collect();
        for ((from, link), (to, other)) in links {
            if (from, to) == (a, b) || (from, to) == (b, a) {
                self.links.remove(&(from, link));
                let clock = self.clock(from);
                self.ends[from].link_down(clock, link);
                self.flights.retain(|flight| flight.to != (to, other));
            }
        }
        self.pump(a);
        self.pump(b);
    }

    /// Cuts all links of one.
    pub(crate) fn isolate(&mut self, at: usize) {
        for other in (0..self.ends.len()).filter(|other| *other != at) {
            self.cut(at, other);
        }
    }

    /// What one would find in its store, were all that it holds in there.
    pub(crate) fn image(&self, at: usize) -> Vec<u8> {
        self.ends[at].snapshot().delta_since(&VersionVector::new()).encode().expect("it can be encoded")
    }

    /// Puts all that one holds on disk, tells it so, and returns what is on disk.
    pub(crate) fn save(&mut self, at: usize) -> Vec<u8> {
        let (clock, snapshot, image) = (self.clock(at), self.ends[at].snapshot(), self.image(at));
        self.ends[at].persisted(clock, snapshot);
        self.pump(at);
        image
    }

    /// The process of one dies, and its links with it; it starts again under a fresh id with what is on disk.
    pub(crate) fn restart(&mut self, at: usize, image: &[u8]) {
        self.isolate(at);
        let former = self.ends[at].replica().id();
        self.begin_anew(at, Some(image));
        let clock = self.clock(at);
        self.ends[at].succeed(clock, former).expect("it is legal");
    }

    /// All that one holds is lost, and it begins anew under a fresh id. What goes on at the other ends of its links stays.
    pub(crate) fn wipe(&mut self, at: usize) {
        self.begin_anew(at, None);
        let links: Vec<LinkId> =
            self.links.keys().filter(|(from, _)| *from == at).map(|(_, link)| *link).collect();
        let clock = self.clock(at);
        for link in links {
            self.ends[at].link_up(clock, link, None, 104_729 * (self.restarts as u64 + link.0));
        }
        self.pump(at);
    }

    fn begin_anew(&mut self, at: usize, image: Option<&[u8]>) {
        self.restarts += 1;
        let fresh = id(0x1000 * self.restarts + at);
        let (clock, end) = (self.clock(at), &self.ends[at]);
        let mut replica = Replica::new(fresh, end.replica().config().clone());
        if let Some(image) = image {
            let saved = replica.decode(image).expect("it is as it was written");
            replica.merge(clock, saved).expect("it was held once");
        }
        self.ends[at] = Endpoint::new(replica, end.config().clone());
        self.events[at].clear();
    }

    /// Evicts a member at some, as operators on both sides of a partition would.
    pub(crate) fn evict(&mut self, at: &[usize], who: usize) {
        for at in at {
            let clock = self.clock(*at);
            self.ends[*at].evict(clock, member(who)).expect("it is legal");
            self.pump(*at);
        }
    }

    /// Lets what was held back arrive now, on the link there is between the two.
    pub(crate) fn release(&mut self) {
        for (from, to, bytes) in std::mem::take(&mut self.held) {
            self.deliver(from, to, &bytes).expect("frames of honest peers are taken");
        }
    }

    /// Lets bytes arrive on the link from one to another.
    pub(crate) fn deliver(&mut self, from: usize, to: usize, bytes: &[u8]) -> Result<(), SyncError> {
        let mut ends = self.links.iter();
        let link =
            ends.find(|((one, _), (other, _))| (*one, *other) == (from, to)).map(|(_, (_, link))| *link);
        let (link, clock) = (link.expect("they are connected"), self.clock(to));
        let received = self.ends[to].receive(clock, link, bytes);
        self.pump(to);
        received
    }

    /// The link from one to another, as the first one calls it, and its number on the bench.
    pub(crate) fn link(&self, from: usize, to: usize) -> (LinkId, u64) {
        let mut ends = self.links.iter();
        let link =
            ends.find(|((one, _), (other, _))| (*one, *other) == (from, to)).map(|((_, link), _)| *link);
        let link = link.expect("they are connected");
        (link, (link.0 - 1) / 2)
    }

    /// How many frames of a kind were sent from one to another.
    pub(crate) fn logged(&self, kind: u8, from: usize, to: usize) -> usize {
        self.log.iter().filter(|(a, b, bytes)| (*a, *b, bytes[0]) == (from, to, kind)).count()
    }

    /// How many frames of a kind were sent.
    pub(crate) fn logged_by_all(&self, kind: u8) -> usize {
        self.log.iter().filter(|(_, _, bytes)| bytes[0] == kind).count()
    }

    pub(crate) fn mesh(&mut self) {
        for a in 0..self.ends.len() {
            for b in 0..a {
                self.connect(b, a);
            }
        }
    }

    /// Sends what an endpoint has to send, and keeps what it says.
    pub(crate) fn pump(&mut self, at: usize) {
        let clock = self.clock(at);
        let mut out = Vec::new();
        while let Some(link) = self.ends[at].transmit(clock, &mut out) {
            let bytes = std::mem::take(&mut out);
            let Some(&(to, other)) = self.links.get(&(at, link)) else {
                continue;
            };
            let sent = self.sent.entry((at, to)).or_default();
            *sent = (sent.0 + 1, sent.1 + bytes.len() as u64);
            self.log.push((at, to, bytes.clone()));
            let delays: &[u64] = match (self.fate)(at, to, &bytes) {
                Fate::Arrives => &[DELAY_MS],
                Fate::Lost => &[],
                Fate::Twice => &[DELAY_MS, DELAY_MS + 5],
                Fate::Late(by_ms) => &[DELAY_MS + by_ms],
                Fate::Held => {
                    self.held.push((at, to, bytes.clone()));
                    &[]
                }
            };
            for delay in delays {
                self.flights.push_back(Flight {
                    at_ms: self.now_ms + delay,
                    to: (to, other),
                    bytes: bytes.clone(),
                });
            }
        }
        while let Some(event) = self.ends[at].next_event() {
            assert!(
                !matches!(event, SyncEvent::CannotTake { .. }),
                "frames of honest peers are taken: {event:?}"
            );
            self.events[at].push(event);
        }
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, ms: u64) {
        let end_ms = self.now_ms + ms;
        loop {
            let flight_ms = self.flights.iter().map(|flight| flight.at_ms).min();
            let dues = (0..self.ends.len()).filter_map(|at| {
                let due = self.ends[at].deadline()?;
                Some(due.saturating_add_signed(-self.skew_ms[at]).max(self.now_ms + 1))
            });
            let next_ms = dues.chain(flight_ms).min().unwrap_or(end_ms + 1);
            if next_ms > end_ms {
                self.now_ms = end_ms;
                return;
            }
            self.now_ms = self.now_ms.max(next_ms);
            while let Some(place) = self.flights.iter().position(|flight| flight.at_ms <= self.now_ms) {
                let Some(Flight { to: (to, link), bytes, .. }) = self.flights.remove(place) else {
                    break;
                };
                let clock = self.clock(to);
                if self.links.contains_key(&(to, link)) {
                    self.ends[to].receive(clock, link, &bytes).expect("frames of honest peers are taken");
                }
                self.pump(to);
            }
            for at in 0..self.ends.len() {
                let clock = self.clock(at);
                if self.ends[at].deadline().is_some_and(|due| clock >= due) {
                    self.ends[at].tick(clock);
                }
                self.pump(at);
            }
        }
    }

    /// Writes at one of them.
    pub(crate) fn write<R>(&mut self, at: usize, write: impl FnOnce(&mut S::Mut<'_>) -> R) -> R {
        let clock = self.clock(at);
        let committed = self.ends[at].write(clock, write).expect("the write is legal");
        self.pump(at);
        committed.value
    }

    pub(crate) fn is_converged(&self) -> bool {
        self.agree(&(0..self.ends.len()).collect::<Vec<_>>())
    }

    /// Whether some hold the same, and are right in that.
    pub(crate) fn agree(&self, at: &[usize]) -> bool {
        let first = self.ends[at[0]].replica();
        at.iter().map(|at| self.ends[*at].replica()).all(|replica| {
            // One may leave out a closed id that another names still.
            let covers = replica.covers(&first.vector()) && first.covers(&replica.vector());
            covers && replica.digest() == first.digest()
        })
    }

    /// Frames and bytes sent since the last call, by all.
    pub(crate) fn take_sent(&mut self) -> (u64, u64) {
        let sent = std::mem::take(&mut self.sent);
        sent.values().fold((0, 0), |sum, sent| (sum.0 + sent.0, sum.1 + sent.1))
    }
}
