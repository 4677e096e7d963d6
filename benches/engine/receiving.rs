//! A delta that comes in by a session, beside the same bytes decoded and merged.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use driftless::{Endpoint, LinkId, ReplicaId, SyncConfig};
use uuid::Uuid;

use crate::DOCUMENTS;
use crate::workload::exchange::pair;
use crate::workload::{Accounts, CHANGES, names, now, write_names};

/// Lets two endpoints hear each other until neither has anything to say. Returns how long the second took to receive deltas.
fn talk(ends: &mut [Endpoint<Accounts>; 2], now_ms: u64) -> Duration {
    let mut spent = Duration::ZERO;
    let mut frame = Vec::new();
    loop {
        let mut is_quiet = true;
        for from in 0..2 {
            while ends[from].transmit(now_ms, &mut frame).is_some() {
                is_quiet = false;
                let is_delta = from == 0 && frame[0] == 2;
                let start = Instant::now();
                ends[1 - from].receive(now_ms, LinkId(1), &frame).expect("honest");
                spent += if is_delta { start.elapsed() } else { Duration::ZERO };
                frame.clear();
            }
            while ends[from].next_event().is_some() {}
        }
        if is_quiet {
            return spent;
        }
    }
}

fn endpoints() -> [Endpoint<Accounts>; 2] {
    let mut number = 0;
    let mut ends = pair(DOCUMENTS).map(|replica| {
        number += 1;
        let config = SyncConfig::new(Uuid::from_u128(0xc1), ReplicaId::from_u128(number), "here");
        Endpoint::new(replica, config)
    });
    for (nonce, end) in (1..).zip(&mut ends) {
        end.link_up(now(0), LinkId(1), None, nonce);
    }
    talk(&mut ends, now(0));
    ends
}

pub(crate) fn receive(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("receive a delta of 1,000 changes");
    group.throughput(Throughput::Elements(CHANGES as u64));
    let mut ends = endpoints();
    let mut round = 0;
    group.bench_function("by a session", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                round += 1;
                for (key, name) in names(round, DOCUMENTS) {
                    let written = ends[0].write(now(round), |accounts| {
                        accounts.update(&key, |account| account.name().set(name));
                    });
                    written.expect("legal");
                }
                spent += talk(&mut ends, now(round));
            }
            spent
        });
    });
    assert_eq!(ends[0].replica().vector(), ends[1].replica().vector());
    let [mut ours, mut theirs] = pair(DOCUMENTS);
    let mut round = 0;
    group.bench_function("decode and merge", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                round += 1;
                write_names(&mut ours, round, names(round, DOCUMENTS));
                let message = ours.answer(&theirs.request()).encode().expect("serializable");
                let start = Instant::now();
                let delta = theirs.decode(&message).expect("a message");
                theirs.merge(now(round), delta).expect("no gap");
                spent += start.elapsed();
            }
            spent
        });
    });
    group.finish();
}
