//! Endpoints, the links between them, and what is under way.

use std::collections::BTreeMap;

use driftless::{
    Config, Endpoint, LinkId, Replica, ReplicaId, SyncConfig, SyncError, SyncEvent, Timestamp, VersionVector,
};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::oracle::Oracle;
use crate::subject::{Canonical, Script, Subject};

const START_MS: u64 = 1_700_000_000_000;
/// The most endpoints there can be.
pub(super) const MOST: usize = 3;
/// So many frames can be under way; the oldest are lost.
const MOST_FRAMES: usize = 64;
/// Nobody has more to say at once.
const MOST_AT_ONCE: usize = 2_000;
/// How long an honest network takes at most, in heartbeats.
const PATIENCE: usize = 400;
const HEARTBEAT_MS: u64 = 1_000;

/// One end of a link.
type End = (usize, LinkId);

#[derive(Debug)]
struct Frame {
    from: usize,
    to: End,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Place<S: Subject> {
    endpoint: Endpoint<S>,
    /// What is on disk, if there is a store.
    saved: Option<Vec<u8>>,
    skew_ms: i64,
}

#[derive(Debug)]
pub(super) struct Bench<S: Subject> {
    places: Vec<Place<S>>,
    oracle: Oracle,
    is_honest: bool,
    now_ms: u64,
    /// For each end of a link the other end, and its own nonce.
    links: BTreeMap<End, (End, u64)>,
    next_link: u64,
    next_id: u128,
    frames: Vec<Frame>,
}

impl<S: Subject> Bench<S> {
    /// Endpoints that all know each other's links; those of the bits of `durable` have a store.
    pub(super) fn new(count: usize, durable: u8, is_honest: bool) -> Self {
        let mut bench = Self {
            places: Vec::new(),
            oracle: Oracle::default(),
            is_honest,
            now_ms: START_MS,
            links: BTreeMap::new(),
            next_link: 1,
            next_id: 0,
            frames: Vec::new(),
        };
        for at in 0..count {
            let is_durable = durable >> at & 1 == 1;
            let endpoint = bench.endpoint(at, is_durable, None);
            bench.places.push(Place { endpoint, saved: is_durable.then(Vec::new), skew_ms: 0 });
        }
        for at in 1..count {
            bench.connect(at - 1, at);
        }
        bench
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    fn endpoint(&mut self, at: usize, is_durable: bool, saved: Option<&[u8]>) -> Endpoint<S> {
        self.next_id += 1;
        // Their order has nothing to do with the order in which they come, and some are alike in short form.
        let id = ReplicaId::from_u128((self.next_id * 7 % 5) << 64 | self.next_id);
        let mut replica = Replica::new(id, Config::default());
        if let Some(saved) = saved.filter(|saved| !saved.is_empty()) {
            let delta = replica.decode(saved).expect("what was saved can be read");
            replica.merge(START_MS * 2, delta).expect("what was saved can be merged");
        }
        let member = ReplicaId::from_u128(0xe00 + at as u128);
        let config = SyncConfig {
            is_durable,
            heartbeat_ms: HEARTBEAT_MS,
            chunk_bytes: 120,
            window_bytes: 500,
            audit_ms: 3_000,
            ..SyncConfig::new(Uuid::from_u128(0xc1), member, format!("region-{at}"))
        };
        Endpoint::new(replica, config)
    }

    fn clock(&self, at: usize) -> u64 {
        self.now_ms.saturating_add_signed(self.places[at].skew_ms)
    }

    // ---- what the program around an endpoint does ----

    pub(super) fn write(&mut self, at: usize, choices: &[u8]) {
        let clock = self.clock(at);
        let events = self.oracle.len();
        let Place { endpoint, .. } = &mut self.places[at];
        let stamp = endpoint.replica().clock().peek(clock).unwrap_or(Timestamp::ZERO);
        let (author, saw) = (endpoint.replica().id(), full(endpoint.replica()));
        let mut script = Script::new(&mut self.oracle, author, stamp, saw, 3, None);
        let done = endpoint.transact(clock, |handle| {
            script.choose_by(choices);
            S::act(handle, &mut script)
        });
        drop(script);
        match done {
            Ok(committed) if self.is_honest => {
                assert_eq!(committed.stamp, (self.oracle.len() > events).then_some(stamp));
            }
            Ok(_) => {}
            Err(error) => {
                assert!(!self.is_honest, "{error:?}");
                self.oracle.take_back(events);
            }
        }
        self.pump(at);
    }

    pub(super) fn save(&mut self, at: usize) {
        let clock = self.clock(at);
        let Place { endpoint, saved, .. } = &mut self.places[at];
        let Some(saved) = saved else {
            return;
        };
        let snapshot = endpoint.snapshot();
        *saved = snapshot.delta_since(&VersionVector::new()).encode().expect("the values are plain");
        endpoint.persisted(clock, snapshot);
        self.pump(at);
    }

    /// What is not on disk is lost. Where there is no store nothing crashes: all of it would be.
    pub(super) fn crash(&mut self, at: usize) {
        let Some(saved) = self.places[at].saved.clone() else {
            return;
        };
        let links: Vec<End> = self.links.keys().filter(|end| end.0 == at).copied().collect();
        for end in links {
            self.take_down(end);
        }
        let mut endpoint = self.endpoint(at, true, Some(&saved));
        let clock = self.clock(at);
        let snapshot = endpoint.snapshot();
        endpoint.persisted(clock, snapshot);
        self.places[at].endpoint = endpoint;
    }

    pub(super) fn set_clock(&mut self, at: usize, by_ms: i64) {
        self.places[at].skew_ms = by_ms;
    }

    pub(super) fn tick(&mut self, at: usize) {
        let clock = self.clock(at);
        self.places[at].endpoint.tick(clock);
        self.pump(at);
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        for at in 0..self.len() {
            let clock = self.clock(at);
            if self.places[at].endpoint.deadline().is_some_and(|due| clock >= due) {
                self.tick(at);
            }
        }
    }

    // ---- links ----

    pub(super) fn connect(&mut self, a: usize, b: usize) {
        if a == b {
            return;
        }
        self.cut(a, b);
        let ends = [(a, LinkId(self.next_link)), (b, LinkId(self.next_link + 1))];
        self.next_link += 2;
        for (end, other) in [(ends[0], ends[1]), (ends[1], ends[0])] {
            let nonce = end.1.0.wrapping_mul(0x5DEE_CE66_D1CE_4E5B) | 1;
            let clock = self.clock(end.0);
            self.links.insert(end, (other, nonce));
            self.places[end.0].endpoint.link_up(clock, end.1, None, nonce);
        }
        self.pump(a);
        self.pump(b);
    }

    pub(super) fn cut(&mut self, a: usize, b: usize) {
        let is_between = |end: &End, other: &End| (end.0, other.0) == (a, b);
        let between = self.links.iter().find(|(end, (other, _))| is_between(end, other));
        if let Some(end) = between.map(|(end, _)| *end) {
            self.take_down(end);
        }
    }

    /// Both ends notice. What is under way may still arrive, at the link that comes after.
    fn take_down(&mut self, end: End) {
        let Some((other, _)) = self.links.remove(&end) else {
            return;
        };
        self.links.remove(&other);
        for end in [end, other] {
            let clock = self.clock(end.0);
            self.places[end.0].endpoint.link_down(clock, end.1);
            self.pump(end.0);
        }
    }

    fn link(&self, at: usize, other: usize) -> Option<(End, End)> {
        let mut links = self.links.iter();
        links.find(|(end, (to, _))| (end.0, to.0) == (at, other)).map(|(end, (to, _))| (*end, *to))
    }

    // ---- frames ----

    /// Sends what an endpoint has to send, and looks at what it says.
    fn pump(&mut self, at: usize) {
        let clock = self.clock(at);
        let mut out = Vec::new();
        for count in 0.. {
            assert!(count < MOST_AT_ONCE, "an endpoint sends without end");
            let Some(link) = self.places[at].endpoint.transmit(clock, &mut out) else {
                break;
            };
            let bytes = std::mem::take(&mut out);
            if let Some((to, _)) = self.links.get(&(at, link)) {
                self.frames.push(Frame { from: at, to: *to, bytes });
            }
        }
        assert!(out.is_empty(), "a frame without a link");
        let surplus = self.frames.len().saturating_sub(MOST_FRAMES);
        self.frames.drain(..surplus);
        while let Some(event) = self.places[at].endpoint.next_event() {
            self.look_at(at, &event);
        }
    }

    fn look_at(&mut self, at: usize, event: &SyncEvent) {
        let is_fault = matches!(
            event,
            SyncEvent::Diverged { .. }
                | SyncEvent::Repaired { .. }
                | SyncEvent::IdInDoubt { .. }
                | SyncEvent::SameMember { .. }
                | SyncEvent::CannotEncode { .. }
                | SyncEvent::CannotTake { .. }
                | SyncEvent::Refused { .. }
        );
        assert!(!(self.is_honest && is_fault), "{event:?}");
        if let SyncEvent::IdInDoubt { .. } = event {
            self.next_id += 1;
            let (clock, id) = (self.clock(at), ReplicaId::from_u128(self.next_id << 64));
            // Where it was forged it may be refused.
            let _ = self.places[at].endpoint.reidentify(clock, id);
        }
    }

    fn place(&self, number: u8) -> Option<usize> {
        (!self.frames.is_empty()).then(|| usize::from(number) % self.frames.len())
    }

    /// A frame arrives; if it is of a link that is down, at the one between the two that is up.
    pub(super) fn arrive(&mut self, number: u8, again: bool) {
        let Some(place) = self.place(number) else {
            return;
        };
        let Frame { from, to, bytes } = if again {
            let Frame { from, to, bytes } = &self.frames[place];
            Frame { from: *from, to: *to, bytes: bytes.clone() }
        } else {
            self.frames.remove(place)
        };
        if self.links.contains_key(&to) {
            self.receive(to, &bytes);
            return;
        }
        let clock = self.clock(to.0);
        let late = self.places[to.0].endpoint.receive(clock, to.1, &bytes);
        assert_eq!(late, Err(SyncError::UnknownLink { link: to.1 }));
        if let Some((end, _)) = self.link(to.0, from) {
            self.receive(end, &bytes);
        }
    }

    fn receive(&mut self, to: End, bytes: &[u8]) {
        let clock = self.clock(to.0);
        if let Err(error) = self.places[to.0].endpoint.receive(clock, to.1, bytes) {
            assert!(!error.to_string().is_empty());
            let is_broken = matches!(error, SyncError::Broken { .. });
            assert!(!self.is_honest || is_broken, "{error}");
            // As the caller is told to: the link is closed.
            self.take_down(to);
        }
        self.pump(to.0);
    }

    pub(super) fn lose(&mut self, number: u8) {
        if let Some(place) = self.place(number) {
            self.frames.remove(place);
        }
    }

    pub(super) fn edit(&mut self, number: u8, edit: impl FnOnce(&mut Vec<u8>)) {
        if let Some(place) = self.place(number) {
            edit(&mut self.frames[place].bytes);
        }
    }

    /// Bytes that are no frame but by chance.
    pub(super) fn inject(&mut self, at: usize, from: usize, mut bytes: Vec<u8>) {
        if let Some(kind) = bytes.first_mut().filter(|_| self.is_honest) {
            // A fuzzer can guess the check.
            *kind |= 0x80;
        }
        if let Some((end, _)) = self.link(at, from) {
            self.receive(end, &bytes);
        }
    }

    /// A frame that is like another one, or of another kind, with the check that it must have.
    pub(super) fn forge(
        &mut self,
        at: usize,
        from: usize,
        kind: u8,
        number: u8,
        edit: impl FnOnce(&mut Vec<u8>),
    ) {
        let Some((end, other)) = self.link(at, from).filter(|_| !self.is_honest) else {
            return;
        };
        let frame = self.place(number).map_or(&[][..], |place| &self.frames[place].bytes);
        let kind = if kind == 0 { frame.first().copied().unwrap_or(1) } else { kind % 10 };
        let mut body = frame.get(5..).unwrap_or_default().to_vec();
        edit(&mut body);
        let nonces = [end, other].map(|end| self.links.get(&end).map_or(0, |(_, nonce)| *nonce));
        let seal = match kind {
            1 | 8 => 0,
            _ => (nonces[0] ^ nonces[1]).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
        };
        let check = xxh3_64_with_seed(&body, seal ^ u64::from(kind)).to_be_bytes();
        let bytes = [&[kind], &check[..4], &body].concat();
        self.receive(end, &bytes);
    }

    // ---- the end ----

    /// The network is honest from now on: all converge.
    pub(super) fn end(&mut self) {
        self.frames.clear();
        for at in 0..self.len() {
            self.set_clock(at, 0);
            self.save(at);
        }
        // Whatever ran ahead is past.
        self.now_ms += 200_000;
        for at in 0..self.len() {
            (0..at).for_each(|other| self.connect(other, at));
        }
        for _ in 0..PATIENCE {
            if self.is_converged() {
                break;
            }
            self.beat();
        }
        // An audit, and what is left to forget.
        (0..8).for_each(|_| self.beat());
        if self.is_honest {
            self.compare();
        }
    }

    /// A heartbeat of an honest network.
    fn beat(&mut self) {
        for _ in 0..4 {
            self.pass(HEARTBEAT_MS / 4 + 1);
            for count in 0.. {
                if self.frames.is_empty() {
                    break;
                }
                assert!(count < MOST_AT_ONCE, "frames are answered without end");
                self.arrive(0, false);
            }
            (0..self.len()).for_each(|at| self.save(at));
        }
    }

    fn replicas(&self) -> impl Iterator<Item = &Replica<S>> {
        self.places.iter().map(|place| place.endpoint.replica())
    }

    fn is_converged(&self) -> bool {
        let vector = self.places[0].endpoint.replica().vector();
        // One may leave out a closed id that another names still.
        self.replicas().all(|replica| {
            replica.covers(&vector) && self.places[0].endpoint.replica().covers(&replica.vector())
        })
    }

    fn compare(&self) {
        assert!(self.is_converged(), "all hold the same in the end");
        for replica in self.replicas() {
            let held = replica.canonical_bytes();
            let live = self.oracle.live(&full(replica));
            assert_eq!(Canonical::live::<S>(&held).as_ref(), Ok(&live), "and what was written");
        }
    }
}

/// What a replica holds, with the closed ids that its vector leaves out.
fn full<S: Subject>(replica: &Replica<S>) -> VersionVector {
    replica.delta_since(&VersionVector::new()).to()
}
