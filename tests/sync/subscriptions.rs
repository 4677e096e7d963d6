//! Who follows what changes, from some moment on, misses nothing and is told nothing twice.

use std::collections::BTreeMap;

use driftless::{Change, Config, LwwRegister, MergeMap, SyncEvent};

use crate::net::{DELTA, Fate, Net};

type Names = MergeMap<u8, LwwRegister<i64>>;

/// What a subscriber makes of a snapshot and of all changes after it.
struct Follower(BTreeMap<String, String>);

impl Follower {
    fn new(net: &Net<Names>, at: usize) -> Self {
        let snapshot = net.ends[at].snapshot();
        let read =
            |(key, name): (&u8, &LwwRegister<i64>)| Some((key.to_string(), name.latest()?.to_string()));
        Self(snapshot.iter().filter_map(read).collect())
    }

    /// Each change must go on from what the one before it left.
    fn follow(&mut self, changes: &[Change]) {
        for change in changes {
            let (key, [before, after]) = (
                change.path.to_string(),
                [&change.before, &change.after].map(|value| value.as_ref().map(ToString::to_string)),
            );
            assert_eq!(self.0.get(&key), before.as_ref(), "of {key}, {change:?}");
            match after {
                Some(after) => self.0.insert(key, after),
                None => self.0.remove(&key),
            };
        }
    }
}

/// What was merged since the last call, as a subscriber is told it.
fn merged(net: &mut Net<Names>, at: usize) -> Vec<Change> {
    let changes = std::mem::take(&mut net.events[at]).into_iter().map(|event| match event {
        SyncEvent::Merged { changes, .. } => changes,
        _ => Vec::new(),
    });
    changes.flatten().collect()
}

#[test]
fn b71_who_subscribes_while_a_change_waits_misses_none_and_hears_none_twice() {
    let replicas = Config { changes: true, ..Config::default() };
    let mut net: Net<Names> = Net::with(3, &replicas, |_, _| {});
    net.mesh();
    net.run(3_000);
    net.fate = Box::new(|from, to, bytes| match (from, to, bytes[0]) {
        (0, 2, DELTA) => Fate::Late(150),
        (1, 2, DELTA) => Fate::Twice,
        _ => Fate::Arrives,
    });
    // One more follows from each moment on, most of them while something that came waits for something else.
    let mut followers = Vec::new();
    let mut waited = 0;
    for step in 0..60_u8 {
        let at = usize::from(step % 2);
        net.write(at, |names| match step % 9 {
            7 => drop(names.remove(&(step % 5))),
            _ => names.update(&(step % 5), |name| name.set(i64::from(step))),
        });
        net.run(u64::from(step) * 7 % 60);
        let changes = merged(&mut net, 2);
        followers.iter_mut().for_each(|follower: &mut Follower| follower.follow(&changes));
        followers.push(Follower::new(&net, 2));
        waited += usize::from(net.ends[2].replica().vector() != net.ends[1].replica().vector());
    }
    net.run(5_000);
    let changes = merged(&mut net, 2);
    assert!(waited > 20, "{waited}");
    let end = Follower::new(&net, 2);
    for mut follower in followers {
        follower.follow(&changes);
        assert_eq!(follower.0, end.0);
    }
    assert!(net.is_converged());
}

#[test]
fn b71_who_breaks_off_and_resumes_goes_on_where_it_was() {
    let replicas = Config { changes: true, ..Config::default() };
    let mut net: Net<Names> = Net::with(3, &replicas, |_, _| {});
    net.connect(0, 1);
    net.connect(1, 2);
    net.run(3_000);
    let mut follower = Follower::new(&net, 2);
    merged(&mut net, 2);
    let mut told = 0;
    for step in 0..40_u8 {
        // It breaks off while a write is on its way to who serves it, is there, and is on its way to it.
        net.write(0, |names| names.update(&step, |name| name.set(1)));
        net.run(u64::from(step));
        net.cut(1, 2);
        net.run(u64::from(step % 7) * 5);
        net.connect(1, 2);
        net.run(u64::from(step % 3) * 30);
        let changes = merged(&mut net, 2);
        told += changes.len();
        follower.follow(&changes);
    }
    net.run(5_000);
    let changes = merged(&mut net, 2);
    follower.follow(&changes);
    assert_eq!((told + changes.len(), follower.0.len()), (40, 40), "each of them once");
    assert!(net.is_converged());
}
