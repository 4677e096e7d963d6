//! Forgetting, and what tells whether two replicas hold the same.

use std::hint::black_box;
use std::num::NonZeroU16;

use criterion::{BatchSize, Criterion, Throughput};

use crate::DOCUMENTS;
use crate::workload::{CHANGES, fill, id, key, now, plain, plain_document, replica, scattered};

pub(crate) fn forget(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("forget among 100,000 documents");
    group.throughput(Throughput::Elements(CHANGES as u64));
    let mut ours = replica(1);
    fill(&mut ours, 0..DOCUMENTS, 100);
    ours.set_members([id(1)]);
    ours.forget();
    let ours = std::cell::RefCell::new(ours);
    group.bench_function("nothing/driftless", |bencher| {
        bencher.iter(|| black_box(ours.borrow_mut().forget()));
    });
    let mut round = 0;
    group.bench_function("1,000 removed/driftless", |bencher| {
        let removed = || {
            round += 1;
            let mut ours = ours.borrow_mut();
            for number in scattered(round, DOCUMENTS) {
                let account = key(number);
                fill(&mut ours, number..number + 1, 1);
                ours.write(now(0), |accounts| accounts.remove(&account)).expect("in range");
            }
        };
        bencher.iter_batched(removed, |()| ours.borrow_mut().forget(), BatchSize::PerIteration);
    });
    let map = std::cell::RefCell::new(plain(DOCUMENTS));
    group.bench_function("1,000 removed/plain removal", |bencher| {
        let restored = || {
            round += 1;
            for number in scattered(round, DOCUMENTS) {
                map.borrow_mut().insert(key(number), plain_document(number));
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

/// What an audit costs who is asked for it, beside the digest of the same documents.
pub(crate) fn fingerprints(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fingerprints of 100,000 documents");
    group.throughput(Throughput::Elements(DOCUMENTS as u64));
    group.sample_size(10);
    let mut ours = replica(1);
    fill(&mut ours, 0..DOCUMENTS, 100);
    let buckets = NonZeroU16::new(256).expect("it is not zero");
    group.bench_function("in 256 buckets", |bencher| bencher.iter(|| ours.fingerprints(buckets)));
    group.bench_function("the digest", |bencher| bencher.iter(|| ours.digest()));
    group.finish();
}

pub(crate) fn digest(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("digest of 10,000 documents");
    let documents = DOCUMENTS / 10;
    group.throughput(Throughput::Elements(documents as u64));
    let mut ours = replica(1);
    fill(&mut ours, 0..documents, 100);
    group.bench_function("driftless", |bencher| bencher.iter(|| ours.digest()));
    let map = plain(documents);
    group.bench_function("plain, ordered and encoded", |bencher| {
        bencher.iter(|| {
            let mut ordered = Vec::from_iter(&map);
            ordered.sort_unstable_by_key(|(key, _)| **key);
            xxhash_rust::xxh3::xxh3_128(&rmp_serde::to_vec(&ordered).expect("serializable"))
        });
    });
    group.finish();
}
