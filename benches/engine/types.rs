//! Sets, counters and dynamic documents.

use criterion::{BatchSize, Criterion, Throughput};
use driftless::{Counter, Replica};
use hashbrown::HashSet;
use serde_json::{Map, Value, json};

use crate::workload::sets::{Numbers, add, churn, elements, peers};
use crate::workload::{address, notes, now, replica};

const ELEMENTS: usize = 10_000;
const CHURNED: usize = 1_000;

pub(crate) fn set(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("set");
    group.throughput(Throughput::Elements(ELEMENTS as u64));
    let elements = elements(ELEMENTS);
    group.bench_function("add/driftless", |bencher| {
        bencher.iter_batched_ref(|| replica(1), |set| add(set, &elements), BatchSize::LargeInput);
    });
    group.bench_function("add/plain", |bencher| {
        bencher.iter_with_large_drop(|| elements.iter().copied().collect::<HashSet<u64>>());
    });
    let mut ours: Replica<Numbers> = replica(1);
    add(&mut ours, &elements);
    let plain: HashSet<u64> = elements.iter().copied().collect();
    group.bench_function("contains/driftless", |bencher| {
        bencher.iter(|| elements.iter().filter(|element| ours.state().contains(*element)).count());
    });
    group.bench_function("contains/plain", |bencher| {
        bencher.iter(|| elements.iter().filter(|element| plain.contains(*element)).count());
    });
    group.throughput(Throughput::Elements(2 * CHURNED as u64));
    let (mut peers, mut plain) = (peers(), HashSet::<u64>::new());
    let churned = &elements[..CHURNED];
    let mut round = 0;
    group.bench_function("add and remove, sync, forget/driftless", |bencher| {
        bencher.iter(|| {
            round += 1;
            churn(&mut peers, round, churned);
        });
    });
    group.bench_function("add and remove/plain", |bencher| {
        let add_and_remove = |element: &&u64| plain.insert(**element) && plain.remove(*element);
        let mut add_and_remove = add_and_remove;
        bencher.iter(|| churned.iter().filter(&mut add_and_remove).count());
    });
    group.finish();
}

pub(crate) fn counter(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("counter");
    let mut ours: Replica<Counter> = replica(1);
    let mut round = 0;
    group.bench_function("add/driftless, a transaction", |bencher| {
        bencher.iter(|| {
            round += 1;
            ours.transact(now(round / 1_000), |counter| counter.add(1)).expect("it is far from its end")
        });
    });
    let mut plain = 0_i64;
    group.bench_function("add/plain", |bencher| {
        bencher.iter(|| {
            plain = std::hint::black_box(plain).checked_add(1).expect("it is far from its end");
            plain
        });
    });
    group.finish();
}

pub(crate) fn document(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("document, 1,000 maps");
    group.throughput(Throughput::Elements(notes::MAPS as u64));
    let names = notes::names();
    let mut ours = notes::filled(&names);
    let map = |(number, name): (usize, &String)| {
        let map = json!({ "name": name, "address": address(number), "balance": number, "active": true });
        (name.clone(), map)
    };
    let mut plain = Map::from_iter(names.iter().enumerate().map(map));
    let mut round = 0;
    group.bench_function("set/driftless, one transaction", |bencher| {
        bencher.iter(|| {
            round += 1;
            notes::write(&mut ours, now(round as usize), &names, round);
        });
    });
    group.bench_function("set/plain", |bencher| {
        bencher.iter(|| {
            round += 1;
            names.iter().for_each(|name| plain[name]["balance"] = round.into());
        });
    });
    group.bench_function("get/driftless", |bencher| bencher.iter(|| notes::read(ours.state(), &names)));
    group.bench_function("get/plain", |bencher| {
        let balance =
            |name: &&String| plain.get(*name).and_then(|map| map.get("balance")).is_some_and(Value::is_i64);
        bencher.iter(|| names.iter().filter(balance).count());
    });
    group.finish();
}
