//! Writing and reading documents, and snapshots of them.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};

use crate::DOCUMENTS;
use crate::workload::{CHANGES, fill, key, mix, name, names, now, plain, replica, scattered, write_names};

pub(crate) fn write(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("write");
    group.throughput(Throughput::Elements(CHANGES as u64));
    for (what, batch) in [("driftless, a transaction each", 1), ("driftless, one transaction", CHANGES)] {
        group.bench_function(what, |bencher| {
            let write = |replica: &mut _| fill(replica, 0..CHANGES, batch);
            bencher.iter_batched_ref(|| replica(1), write, BatchSize::LargeInput);
        });
    }
    group.bench_function("plain", |bencher| bencher.iter_with_large_drop(|| plain(CHANGES)));
    group.finish();
}

pub(crate) fn overwrite(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("overwrite");
    group.throughput(Throughput::Elements(CHANGES as u64));
    let mut ours = replica(1);
    fill(&mut ours, 0..DOCUMENTS, 100);
    let mut round = 0;
    group.bench_function("driftless, a transaction each", |bencher| {
        bencher.iter(|| {
            round += 1;
            write_names(&mut ours, round, names(round, DOCUMENTS));
        });
    });
    group.bench_function("driftless, one transaction", |bencher| {
        bencher.iter(|| {
            round += 1;
            let written = ours.write(now(round), |accounts| {
                for number in scattered(round, DOCUMENTS) {
                    accounts.update(&key(number), |account| account.name().set(name(round)));
                }
            });
            written.expect("the time is in range");
        });
    });
    let mut map = plain(DOCUMENTS);
    group.bench_function("plain", |bencher| {
        bencher.iter(|| {
            round += 1;
            for number in scattered(round, DOCUMENTS) {
                map.get_mut(&key(number)).expect("it is there").name = name(round);
            }
        });
    });
    group.finish();
}

pub(crate) fn read(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    group.throughput(Throughput::Elements(CHANGES as u64));
    let mut ours = replica(1);
    fill(&mut ours, 0..DOCUMENTS, 100);
    let map = plain(DOCUMENTS);
    let mut round = 0;
    let mut numbers = || {
        round += 1;
        (0..CHANGES as u64).map(move |read| mix(round << 32 | read) as usize % DOCUMENTS)
    };
    group.bench_function("driftless", |bencher| {
        let balance = |number| ours.state().get(&key(number))?.balance.latest().copied();
        bencher.iter(|| numbers().filter_map(balance).sum::<i64>());
    });
    group.bench_function("plain", |bencher| {
        let balance = |number| map.get(&key(number)).map(|account| account.balance);
        bencher.iter(|| numbers().filter_map(balance).sum::<i64>());
    });
    group.finish();
}

pub(crate) fn snapshot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshot");
    let mut ours = replica(1);
    fill(&mut ours, 0..DOCUMENTS, 100);
    group.bench_function("driftless", |bencher| bencher.iter(|| black_box(ours.snapshot())));
    let mut round = 0;
    group.bench_function("driftless, with the first write to a page after it", |bencher| {
        bencher.iter(|| {
            round += 1;
            let before = ours.snapshot();
            let key = key(mix(round) as usize % DOCUMENTS);
            let written = ours.write(now(0), |accounts| {
                accounts.update(&key, |account| account.balance().set(round as i64));
            });
            written.expect("the time is in range");
            before
        });
    });
    let map = plain(DOCUMENTS);
    group.sample_size(10);
    group.bench_function("plain clone", |bencher| bencher.iter_with_large_drop(|| map.clone()));
    group.finish();
}
