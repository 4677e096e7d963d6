//! Which connections there are, and which of two to the same peer stays.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use driftless_node::RegionName;
use tokio::sync::{mpsc, watch};

use crate::config::Limits;
use crate::reason::Reason;

/// Which side dialed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// This one.
    Dialed,
    /// The peer.
    Accepted,
}

/// The connections that there are.
///
/// Of two to one peer that were dialed by the same side, the newer stays: the older one is dead, and its end was not heard of.
/// Of two that were dialed by both sides, that of the region with the lesser name stays; the other region closes its own. So one
/// is left, and since who has one does not dial, none comes again.
#[derive(Debug)]
pub(crate) struct Registry {
    own: RegionName,
    limits: Limits,
    entries: watch::Sender<BTreeMap<u64, Entry>>,
    next: AtomicU64,
}

/// What is known of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) region: RegionName,
    pub(crate) direction: Direction,
    pub(crate) address: SocketAddr,
    pub(crate) since: SystemTime,
    pub(crate) valid_until: Option<SystemTime>,
    pub(crate) traffic: Arc<Traffic>,
    end: mpsc::Sender<Reason>,
    is_ending: bool,
}

/// What went over a connection.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) received_bytes: AtomicU64,
    pub(crate) received_frames: AtomicU64,
    pub(crate) sent_bytes: AtomicU64,
    pub(crate) sent_frames: AtomicU64,
}

/// A place among the connections, until it is dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    registry: Arc<Registry>,
    number: u64,
    pub(crate) traffic: Arc<Traffic>,
    /// Why the connection shall end.
    pub(crate) end: mpsc::Receiver<Reason>,
}

impl Registry {
    pub(crate) fn new(own: RegionName, limits: Limits) -> Self {
        Self { own, limits, entries: watch::Sender::new(BTreeMap::new()), next: AtomicU64::new(1) }
    }

    /// A place for a connection. Those that give way to it are told so.
    ///
    /// # Errors
    /// There are too many, or this one gives way itself.
    pub(crate) fn register(
        self: &Arc<Self>,
        region: &RegionName,
        direction: Direction,
        address: SocketAddr,
        valid_until: Option<SystemTime>,
    ) -> Result<Registered, Reason> {
        let (sender, end) = mpsc::channel(1);
        let traffic = Arc::new(Traffic::default());
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let entry = Entry {
            region: region.clone(),
            direction,
            address,
            since: SystemTime::now(),
            valid_until,
            traffic: Arc::clone(&traffic),
            end: sender,
            is_ending: false,
        };
        let mut refused = None;
        self.entries.send_if_modified(|entries| {
            refused = self.refuse(entries, &entry);
            if refused.is_some() {
                return false;
            }
            for other in entries.values_mut().filter(|other| other.region == *region) {
                if other.direction == direction || self.is_yielding(other.direction, region) {
                    other.is_ending = true;
                    // If it was told something already, it ends all the same.
                    let _ = other.end.try_send(Reason::Duplicate);
                }
            }
            entries.insert(number, entry);
            true
        });
        match refused {
            Some(reason) => Err(reason),
            None => Ok(Registered { registry: Arc::clone(self), number, traffic, end }),
        }
    }

    fn refuse(&self, entries: &BTreeMap<u64, Entry>, entry: &Entry) -> Option<Reason> {
        let mut same = entries.values().filter(|other| other.region == entry.region);
        if entries.len() >= self.limits.connections {
            Some(Reason::TooMany { what: "connections" })
        } else if same.clone().count() >= self.limits.connections_per_peer {
            Some(Reason::TooMany { what: "connections with this peer" })
        } else if self.is_yielding(entry.direction, &entry.region)
            && same.any(|other| other.direction == Direction::Accepted && !other.is_ending)
        {
            Some(Reason::Duplicate)
        } else {
            None
        }
    }

    /// Whether a connection gives way to one that the other side dialed.
    fn is_yielding(&self, direction: Direction, peer: &RegionName) -> bool {
        direction == Direction::Dialed && self.own > *peer
    }

    /// Waits until there is no connection to a peer.
    pub(crate) async fn disconnected(&self, region: &RegionName) {
        let mut entries = self.entries.subscribe();
        let is_gone = |entries: &BTreeMap<u64, Entry>| !entries.values().any(|entry| entry.region == *region);
        entries.wait_for(is_gone).await.expect("the sender is here");
    }

    /// Waits until there is none at all.
    pub(crate) async fn empty(&self) {
        self.entries.subscribe().wait_for(BTreeMap::is_empty).await.expect("the sender is here");
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.entries.borrow().values().cloned().collect()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.entries.send_modify(|entries| {
            entries.remove(&self.number);
        });
    }
}

/// The connections that came in and are at the handshake.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// A place among them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Handshake {
    handshakes: Arc<Handshakes>,
    address: IpAddr,
}

impl Handshakes {
    pub(crate) fn begin(self: &Arc<Self>, address: IpAddr, limits: &Limits) -> Result<Handshake, Reason> {
        let address = network(address);
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if by_address.values().sum::<usize>() >= limits.handshakes {
            return Err(Reason::TooMany { what: "handshakes" });
        }
        if by_address.get(&address).is_some_and(|count| *count >= limits.handshakes_per_address) {
            return Err(Reason::TooMany { what: "handshakes from one address" });
        }
        *by_address.entry(address).or_default() += 1;
        Ok(Handshake { handshakes: Arc::clone(self), address })
    }
}

/// What one party is likely to have: an IPv4 address, or the 2^64 addresses of an IPv6 network (RFC 4291, section 2.5.4).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut by_address = self.handshakes.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(own: &str) -> Arc<Registry> {
        Arc::new(Registry::new(RegionName::new(own).unwrap(), Limits { connections: 5, ..Limits::default() }))
    }

    fn add(registry: &Arc<Registry>, peer: &str, direction: Direction) -> Result<Registered, Reason> {
        let peer = RegionName::new(peer).unwrap();
        registry.register(&peer, direction, ([127, 0, 0, 1], 1).into(), None)
    }

    #[test]
    fn of_two_that_both_sides_dialed_that_of_the_lesser_stays() {
        for [first, second] in
            [[Direction::Dialed, Direction::Accepted], [Direction::Accepted, Direction::Dialed]]
        {
            let lesser = registry("a");
            let (mut one, mut two) = (add(&lesser, "b", first).unwrap(), add(&lesser, "b", second).unwrap());
            assert!(one.end.try_recv().is_err() && two.end.try_recv().is_err(), "the peer closes its own");
        }
        let greater = registry("b");
        let mut dialed = add(&greater, "a", Direction::Dialed).unwrap();
        let accepted = add(&greater, "a", Direction::Accepted).unwrap();
        assert_eq!(dialed.end.try_recv(), Ok(Reason::Duplicate));
        drop(dialed);
        assert_eq!(add(&greater, "a", Direction::Dialed).err(), Some(Reason::Duplicate));
        drop(accepted);
        assert!(add(&greater, "a", Direction::Dialed).is_ok());
    }

    #[test]
    fn of_two_that_one_side_dialed_the_newer_stays() {
        for direction in [Direction::Dialed, Direction::Accepted] {
            for own in ["a", "c"] {
                let registry = registry(own);
                let mut old = add(&registry, "b", direction).unwrap();
                let mut new = add(&registry, "b", direction).unwrap();
                assert_eq!(old.end.try_recv(), Ok(Reason::Duplicate));
                assert!(new.end.try_recv().is_err());
            }
        }
    }

    #[test]
    fn there_are_no_more_than_are_borne() {
        let registry = registry("a");
        let four: Vec<_> = (0..4).map(|_| add(&registry, "b", Direction::Accepted).unwrap()).collect();
        let too_many = add(&registry, "b", Direction::Accepted).err();
        assert_eq!(too_many, Some(Reason::TooMany { what: "connections with this peer" }));
        let fifth = add(&registry, "c", Direction::Accepted).unwrap();
        let too_many = add(&registry, "d", Direction::Accepted).err();
        assert_eq!(too_many, Some(Reason::TooMany { what: "connections" }));
        drop((four, fifth));
        assert!(registry.entries().is_empty());

        let limits = Limits { handshakes: 3, handshakes_per_address: 2, ..Limits::default() };
        let handshakes = Arc::new(Handshakes::default());
        let [one, two, three] = [1, 2, 3].map(|last| IpAddr::from([10, 0, 0, last]));
        let first = handshakes.begin(one, &limits).unwrap();
        let second = handshakes.begin(one, &limits).unwrap();
        assert!(handshakes.begin(one, &limits).is_err());
        let third = handshakes.begin(two, &limits).unwrap();
        assert!(handshakes.begin(three, &limits).is_err());
        drop((first, second));
        assert!(handshakes.begin(three, &limits).is_ok());
        drop(third);

        // Whoever has one address of a network has all of it.
        let [one, two, elsewhere] =
            ["2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"].map(|text| text.parse().unwrap());
        let held = [handshakes.begin(one, &limits).unwrap(), handshakes.begin(two, &limits).unwrap()];
        assert!(handshakes.begin(one, &limits).is_err());
        assert!(handshakes.begin(elsewhere, &limits).is_ok());
        drop(held);
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        let held = [
            handshakes.begin(mapped, &limits).unwrap(),
            handshakes.begin([10, 0, 0, 1].into(), &limits).unwrap(),
        ];
        assert!(handshakes.begin(mapped, &limits).is_err());
        drop(held);
        assert!(handshakes.by_address.lock().unwrap().is_empty());
    }
}
