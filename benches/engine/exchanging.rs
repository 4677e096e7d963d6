//! Producing and merging deltas, and replicas that converge.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};

use crate::DOCUMENTS;
use crate::workload::exchange::{converge as exchange, pair, tenth, write_tenths};
use crate::workload::shop::regions;
use crate::workload::{
    CHANGES, PlainAccount, PlainAccounts, START_MS, changed, fill, key, name, names, now, plain,
    plain_document, replica, scattered, write_names,
};

pub(crate) fn delta_since(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("delta_since, 1,000 changes among");
    for documents in [10_000, 100_000, 1_000_000] {
        let mut ours = replica(1);
        fill(&mut ours, 0..documents, 100);
        let before = ours.vector();
        write_names(&mut ours, 1, names(1, documents));
        group.bench_function(BenchmarkId::new("driftless", documents), |bencher| {
            bencher.iter(|| black_box(ours.delta_since(&before)));
        });
        println!("{} bytes", ours.delta_since(&before).encode().expect("serializable").len());
        let own = ours.vector();
        group.bench_function(BenchmarkId::new("driftless, nothing new", documents), |bencher| {
            bencher.iter(|| black_box(ours.delta_since(&own)));
        });
    }
    let map = plain(DOCUMENTS);
    group.bench_function(BenchmarkId::new("plain, the rows known", DOCUMENTS), |bencher| {
        bencher.iter(|| {
            let clone = |number| (key(number), map[&key(number)].name.clone());
            black_box(scattered(1, DOCUMENTS).map(clone).collect::<Vec<_>>())
        });
    });
    group.finish();
}

pub(crate) fn merge(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merge");
    group.throughput(Throughput::Elements(CHANGES as u64));
    let [mut ours, mut theirs] = pair(DOCUMENTS);
    let mut round = 0;
    group.bench_function("driftless", |bencher| {
        // From bytes, as it comes from a peer: it shares nothing with what it was made from.
        let delta = || {
            round += 1;
            let message = changed(&mut ours, round, DOCUMENTS).encode().expect("serializable");
            ours.decode(&message).expect("a message")
        };
        let merge = |delta| theirs.merge(START_MS * 2, delta).expect("no gap");
        bencher.iter_batched(delta, merge, BatchSize::PerIteration);
    });
    let mut map = plain(DOCUMENTS);
    group.bench_function("plain inserts", |bencher| {
        let mut round = 0;
        let batch = || {
            round += 1;
            let numbers = scattered(round, DOCUMENTS);
            let named = |number| PlainAccount { name: name(round), ..plain_document(number) };
            numbers.map(|number| (key(number), named(number))).collect::<Vec<_>>()
        };
        let insert =
            |batch: Vec<_>| batch.into_iter().for_each(|(key, document)| drop(map.insert(key, document)));
        bencher.iter_batched(batch, insert, BatchSize::PerIteration);
    });
    group.finish();
}

pub(crate) fn merge_again(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merge again");
    group.throughput(Throughput::Elements(CHANGES as u64));
    let [mut ours, mut theirs] = pair(DOCUMENTS);
    let message = changed(&mut ours, 1, DOCUMENTS).encode().expect("serializable");
    let delta = || ours.decode(&message).expect("a message");
    theirs.merge(now(1), delta()).expect("no gap");
    group.bench_function("driftless", |bencher| {
        let merge = |delta| theirs.merge(now(1), delta).expect("no gap");
        bencher.iter_batched(delta, merge, BatchSize::LargeInput);
    });
    let mut map = plain(DOCUMENTS);
    group.bench_function("plain overwrites", |bencher| {
        bencher.iter_batched(
            || names(1, DOCUMENTS),
            |names| overwrite(&mut map, names),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn overwrite(map: &mut PlainAccounts, names: impl IntoIterator<Item = (uuid::Uuid, String)>) {
    for (key, name) in names {
        map.get_mut(&key).expect("it is there").name = name;
    }
}

pub(crate) fn converge(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("converge");
    group.sample_size(20);
    let documents = DOCUMENTS / 10;
    let mut replicas = pair(documents);
    let mut round = 0;
    let replicas = std::cell::RefCell::new(&mut replicas);
    group.bench_function("two, 10 % each of 10,000 documents/driftless", |bencher| {
        let write = || {
            round += 1;
            let mut replicas = replicas.borrow_mut();
            let known = replicas[0].vector();
            write_tenths(&mut replicas, round, documents);
            (known, round)
        };
        let exchange = |(known, round)| exchange(&mut **replicas.borrow_mut(), &known, now(round));
        bencher.iter_batched(write, exchange, BatchSize::PerIteration);
    });
    let mut maps = [plain(documents), plain(documents)];
    let changes = [0, 1].map(|first| tenth(first, documents).collect::<Vec<_>>());
    group.bench_function("two, 10 % each of 10,000 documents/plain", |bencher| {
        bencher.iter(|| {
            for (map, changes) in maps.iter_mut().zip(&changes) {
                let message = rmp_serde::to_vec(changes).expect("serializable");
                let names: Vec<(uuid::Uuid, String)> = rmp_serde::from_slice(&message).expect("a batch");
                overwrite(map, names);
            }
        });
    });
    group.bench_function(
        "eight with conflicts, 20 % each of 1,000 documents, and tags/driftless",
        |bencher| {
            let exchange = |(replicas, known): &mut (Vec<_>, _)| exchange(replicas, known, now(10));
            bencher.iter_batched_ref(|| regions(1_000), exchange, BatchSize::PerIteration);
        },
    );
    group.finish();
}
