//! A delta that comes in by a session, beside the same bytes decoded and merged.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use driftless::Endpoint;

use crate::DOCUMENTS;
use crate::workload::exchange::{connected, pair, talk};
use crate::workload::{Accounts, CHANGES, names, now, write_names};

/// Lets two endpoints hear each other until neither has anything to say. Returns how long the second took to receive deltas.
fn timed(ends: &mut [Endpoint<Accounts>; 2], now_ms: u64) -> Duration {
    let mut spent = Duration::ZERO;
    talk(ends, now_ms, |receive, is_delta| {
        let start = Instant::now();
        receive();
        spent += if is_delta { start.elapsed() } else { Duration::ZERO };
    });
    spent
}

pub(crate) fn receive(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("receive a delta of 1,000 changes");
    group.throughput(Throughput::Elements(CHANGES as u64));
    let mut ends = connected(DOCUMENTS);
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
                spent += timed(&mut ends, now(round));
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
