//! Encoding and decoding, of changes and of all that is held.

use criterion::{Criterion, Throughput};
use driftless::VersionVector;
use uuid::Uuid;

use crate::DOCUMENTS;
use crate::workload::{
    Accounts, CHANGES, PlainAccount, PlainAccounts, changed, fill, names, now, plain, replica,
};

pub(crate) fn delta(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire");
    group.throughput(Throughput::Elements(CHANGES as u64));
    let mut ours = replica(1);
    fill(&mut ours, 0..DOCUMENTS, 100);
    let delta = changed(&mut ours, 1, DOCUMENTS);
    let batch = names(1, DOCUMENTS);
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
        bencher.iter(|| rmp_serde::from_slice::<Vec<(Uuid, String)>>(&bytes).expect("a batch"));
    });
    group.finish();
}

pub(crate) fn full_state(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("full state of 10,000 documents");
    let documents = DOCUMENTS / 10;
    group.throughput(Throughput::Elements(documents as u64));
    group.sample_size(20);
    let mut ours = replica::<Accounts>(1);
    fill(&mut ours, 0..documents, 100);
    let map = plain(documents);
    let encode = || ours.delta_since(&VersionVector::new()).encode().expect("serializable");
    group.bench_function("encode/driftless", |bencher| bencher.iter(encode));
    group.bench_function("encode/plain", |bencher| {
        bencher.iter(|| rmp_serde::to_vec(&Vec::from_iter(&map)).expect("serializable"));
    });
    let bytes = encode();
    group.bench_function("decode/driftless", |bencher| {
        bencher.iter_with_large_drop(|| ours.decode(&bytes).expect("a message"));
    });
    group.bench_function("decode and merge/driftless", |bencher| {
        bencher.iter_with_large_drop(|| {
            let mut theirs = replica::<Accounts>(2);
            let delta = theirs.decode(&bytes).expect("a message");
            theirs.merge(now(0), delta).expect("complete");
            theirs
        });
    });
    let bytes = rmp_serde::to_vec(&Vec::from_iter(&map)).expect("serializable");
    let decode = || rmp_serde::from_slice::<Vec<(Uuid, PlainAccount)>>(&bytes).expect("a batch");
    group.bench_function("decode/plain", |bencher| bencher.iter_with_large_drop(decode));
    group.bench_function("decode and merge/plain", |bencher| {
        bencher.iter_with_large_drop(|| PlainAccounts::from_iter(decode()));
    });
    group.finish();
}
