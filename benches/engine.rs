//! Each operation of the engine beside the same work on a plain map of structs. `cargo bench --bench engine`.

#![allow(missing_docs, reason = "criterion's macros make functions without any")]

mod workload;

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use driftless::{Delta, Replica, ReplicaId, VersionVector};
use workload::{Accounts, PlainAccount, START_MS, address, fill, key, mix, name, plain, replica};

const DOCUMENTS: usize = 100_000;
const CHANGES: usize = 1_000;

fn scattered(round: usize, documents: usize) -> impl Iterator<Item = usize> {
    let offset = mix(round as u64) as usize % documents;
    (0..CHANGES).map(move |change| (offset + change * (documents / CHANGES)) % documents)
}

fn write_names(replica: &mut Replica<Accounts>, round: usize, documents: usize) {
    for number in scattered(round, documents) {
        let written = replica.write(START_MS + 1 + round as u64, |accounts| {
            accounts.update(&key(number), |account| account.name().set(name(round)));
        });
        written.expect("the time is in range");
    }
}

/// A delta of changed names.
fn changed(replica: &mut Replica<Accounts>, round: usize, documents: usize) -> Delta<Accounts> {
    let before = replica.vector();
    write_names(replica, round, documents);
    replica.delta_since(&before)
}

fn plain_document(number: usize, name: String) -> PlainAccount {
    PlainAccount { name, address: address(number), balance: number as i64, active: true }
}

fn write(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("write");
    group.throughput(Throughput::Elements(CHANGES as u64));
    let documents = CHANGES;
    group.bench_function("driftless", |bencher| {
        bencher.iter_batched_ref(
            || replica(1),
            |replica| fill(replica, 0..documents, 1),
            BatchSize::LargeInput,
        );
    });
    group.bench_function("plain", |bencher| bencher.iter_with_large_drop(|| plain(documents)));
    group.finish();
}

fn overwrite(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("overwrite");
    group.throughput(Throughput::Elements(CHANGES as u64));
    let mut ours = replica(1);
    fill(&mut ours, 0..DOCUMENTS, 100);
    let mut round = 0;
    group.bench_function("driftless", |bencher| {
        bencher.iter(|| {
            round += 1;
            write_names(&mut ours, round, DOCUMENTS);
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

fn delta_since(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("delta_since, 1,000 changes among");
    for documents in [10_000, 100_000, 1_000_000] {
        let mut ours = replica(1);
        fill(&mut ours, 0..documents, 100);
        let before = ours.vector();
        write_names(&mut ours, 1, documents);
        group.bench_function(BenchmarkId::new("driftless", documents), |bencher| {
            bencher.iter(|| black_box(ours.delta_since(&before)));
        });
        println!("{} bytes", ours.delta_since(&before).encode().expect("serializable").len());
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

fn merge(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merge");
    group.throughput(Throughput::Elements(CHANGES as u64));
    let (mut ours, mut theirs) = (replica(1), replica(2));
    fill(&mut ours, 0..DOCUMENTS, 100);
    theirs.merge(START_MS, ours.delta_since(&VersionVector::new())).expect("complete");
    let mut round = 0;
    group.bench_function("driftless", |bencher| {
        let mut delta = || {
            round += 1;
            changed(&mut ours, round, DOCUMENTS)
        };
        let theirs = std::cell::RefCell::new(&mut theirs);
        bencher.iter_batched(
            &mut delta,
            |delta| theirs.borrow_mut().merge(START_MS * 2, delta).expect("no gap"),
            BatchSize::PerIteration,
        );
    });
    let mut map = plain(DOCUMENTS);
    group.bench_function("plain inserts", |bencher| {
        let mut round = 0;
        let batch = || {
            round += 1;
            let document = |number| (key(number), plain_document(number, name(round)));
            scattered(round, DOCUMENTS).map(document).collect::<Vec<_>>()
        };
        let insert =
            |batch: Vec<_>| batch.into_iter().for_each(|(key, document)| drop(map.insert(key, document)));
        bencher.iter_batched(batch, insert, BatchSize::PerIteration);
    });
    group.finish();
}

fn wire(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire");
    group.throughput(Throughput::Elements(CHANGES as u64));
    let mut ours = replica(1);
    fill(&mut ours, 0..DOCUMENTS, 100);
    let delta = changed(&mut ours, 1, DOCUMENTS);
    let batch: Vec<_> = scattered(1, DOCUMENTS).map(|number| (key(number), name(1))).collect();
    group
        .bench_function("encode/driftless", |bencher| bencher.iter(|| delta.encode().expect("serializable")));
    group.bench_function("encode/plain", |bencher| {
        bencher.iter(|| rmp_serde::to_vec(&batch).expect("serializable"));
    });
    let bytes = delta.encode().expect("serializable");
    group.bench_function("decode/driftless", |bencher| {
        bencher.iter(|| ours.decode(&bytes).expect("a message"))
    });
    let bytes = rmp_serde::to_vec(&batch).expect("serializable");
    group.bench_function("decode/plain", |bencher| {
        bencher.iter(|| rmp_serde::from_slice::<Vec<(uuid::Uuid, String)>>(&bytes).expect("a batch"));
    });
    group.finish();
}

fn snapshot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshot");
    let mut ours = replica(1);
    fill(&mut ours, 0..DOCUMENTS, 100);
    group.bench_function("driftless", |bencher| bencher.iter(|| black_box(ours.snapshot())));
    let map = plain(DOCUMENTS);
    group.sample_size(10);
    group.bench_function("plain clone", |bencher| bencher.iter_with_large_drop(|| map.clone()));
    group.finish();
}

fn prune(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("prune, 1,000 removed documents among 100,000");
    group.throughput(Throughput::Elements(CHANGES as u64));
    let mut ours = replica(1);
    fill(&mut ours, 0..DOCUMENTS, 100);
    ours.set_members([ReplicaId::from_u128(0x5eed << 64 | 1)]);
    let ours = std::cell::RefCell::new(ours);
    let mut round = 0;
    group.bench_function("driftless", |bencher| {
        let removed = || {
            round += 1;
            let mut ours = ours.borrow_mut();
            for number in scattered(round, DOCUMENTS) {
                let account = key(number);
                fill(&mut ours, number..number + 1, 1);
                ours.write(START_MS, |accounts| accounts.remove(&account)).expect("in range");
            }
        };
        bencher.iter_batched(removed, |()| ours.borrow_mut().forget(), BatchSize::PerIteration);
    });
    let map = std::cell::RefCell::new(plain(DOCUMENTS));
    group.bench_function("plain removal", |bencher| {
        let restored = || {
            round += 1;
            for number in scattered(round, DOCUMENTS) {
                map.borrow_mut().insert(key(number), plain_document(number, name(number)));
            }
            round
        };
        let remove = |round| {
            let mut map = map.borrow_mut();
            scattered(round, DOCUMENTS).filter_map(|number| map.remove(&key(number))).count()
        };
        bencher.iter_batched(restored, remove, BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, write, overwrite, delta_since, merge, wire, snapshot, prune);
criterion_main!(benches);
