//! What driftless costs beside a plain `hashbrown::HashMap` of structs: each line is one ratio, both sides measured in turns
//! in the same run. The README's figures are this program's.
//!
//! `cargo bench --bench ratios` for all, `cargo bench --bench ratios -- 1000000` also at a million documents.

mod workload;

use std::alloc::System;
use std::hint::black_box;
use std::time::{Duration, Instant};

use driftless::{Limits, OrSet, PendingDelta, Replica, ReplicaId};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use workload::{
    Accounts, CHANGES, PlainAccount, START_MS, address, changed, fill, key, mix, name, now, plain, replica,
    scattered,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const DOCUMENTS: usize = 100_000;
const ROUNDS: usize = 15;

/// The median time of each side of a round, by turns.
fn compare(
    mut ours: impl FnMut(usize) -> Duration,
    mut plain: impl FnMut(usize) -> Duration,
) -> [Duration; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        let (a, b) = (ours(round), plain(round));
        if round > 0 {
            times[0].push(a);
            times[1].push(b);
        }
    }
    times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    })
}

fn timed<R>(work: impl FnOnce() -> R) -> Duration {
    let start = Instant::now();
    black_box(work());
    start.elapsed()
}

fn row(what: &str, [ours, plain]: [Duration; 2], count: usize, goal: &str) {
    let per = |time: Duration| time.as_nanos() as f64 / count as f64;
    let ratio = ours.as_secs_f64() / plain.as_secs_f64();
    println!("{what:<52} {:>10.1} {:>10.1} {ratio:>7.2} {goal:>9}", per(ours), per(plain));
}

fn writes(documents: usize) {
    let (mut ours, mut map) = (replica(1), plain(documents));
    fill(&mut ours, 0..documents, 100);
    let overwrite_balance = compare(
        |round| {
            timed(|| {
                for number in scattered(round, documents) {
                    ours.write(now(round), |accounts| {
                        accounts.update(&key(number), |account| account.balance().set(round as i64));
                    })
                    .expect("in range");
                }
            })
        },
        |round| {
            timed(|| {
                for number in scattered(round, documents) {
                    map.get_mut(&key(number)).expect("it is there").balance = round as i64;
                }
            })
        },
    );
    row("overwrite an i64 field, a transaction each", overwrite_balance, CHANGES, "<= 3");
    let overwrite_name = compare(
        |round| {
            timed(|| {
                for number in scattered(round, documents) {
                    ours.write(now(round), |accounts| {
                        accounts.update(&key(number), |account| account.name().set(name(round)));
                    })
                    .expect("in range");
                }
            })
        },
        |round| {
            timed(|| {
                for number in scattered(round, documents) {
                    map.get_mut(&key(number)).expect("it is there").name = name(round);
                }
            })
        },
    );
    row("overwrite a text field, a transaction each", overwrite_name, CHANGES, "<= 3");
    let insert = compare(
        |round| {
            let from = documents + round * CHANGES;
            timed(|| fill(&mut ours, from..from + CHANGES, 1))
        },
        |round| {
            let from = documents + round * CHANGES;
            timed(|| {
                for number in from..from + CHANGES {
                    map.insert(
                        key(number),
                        PlainAccount {
                            name: name(number),
                            address: address(number),
                            balance: number as i64,
                            active: true,
                        },
                    );
                }
            })
        },
    );
    row("write a new document of four fields, one each", insert, CHANGES, "");
    let read = compare(
        |round| {
            timed(|| {
                let get = |number| {
                    ours.state().get(&key(number)).and_then(|account| account.balance.latest().copied())
                };
                scattered(round, documents).filter_map(get).sum::<i64>()
            })
        },
        |round| {
            timed(|| {
                let get = |number| map.get(&key(number)).map(|account| account.balance);
                scattered(round, documents).filter_map(get).sum::<i64>()
            })
        },
    );
    row("read a field", read, CHANGES, "");
}

fn merges(documents: usize) {
    let (mut ours, mut theirs, mut map) = (replica(1), replica(2), plain(documents));
    fill(&mut ours, 0..documents, 100);
    theirs.merge(now(0), ours.delta_since(&theirs.vector())).expect("complete");
    let mut bytes = 0;
    let merged = compare(
        |round| {
            let message = changed(&mut ours, round, documents).encode().expect("serializable");
            bytes = message.len();
            let delta = theirs.decode(&message).expect("a message");
            timed(|| theirs.merge(now(round), delta).expect("no gap"))
        },
        |round| {
            let document = |number| PlainAccount {
                name: name(round),
                address: address(number),
                balance: number as i64,
                active: true,
            };
            let batch: Vec<_> =
                scattered(round, documents).map(|number| (key(number), document(number))).collect();
            timed(|| batch.into_iter().for_each(|(key, document)| drop(map.insert(key, document))))
        },
    );
    row("merge 1,000 changed text fields / plain inserts", merged, CHANGES, "<= 3");
    let again = compare(
        |round| {
            let before = ours.vector();
            let message = changed(&mut ours, round, documents).encode().expect("serializable");
            drop(before);
            let delta = theirs.decode(&message).expect("a message");
            theirs.merge(now(round), delta).expect("no gap");
            let repeated = theirs.decode(&message).expect("a message");
            timed(|| theirs.merge(now(round), repeated).expect("held already"))
        },
        |round| {
            let batch: Vec<_> =
                scattered(round, documents).map(|number| (key(number), name(round))).collect();
            timed(|| {
                for (key, name) in batch {
                    map.get_mut(&key).expect("it is there").name = name;
                }
            })
        },
    );
    row("merge the same again / plain overwrites", again, CHANGES, "");
    let plain_batch = |round: usize| -> Vec<(uuid::Uuid, String)> {
        scattered(round, documents).map(|number| (key(number), name(round))).collect()
    };
    let mut plain_bytes = 0;
    let encoded = compare(
        |round| {
            let delta = changed(&mut ours, round, documents);
            timed(|| delta.encode().expect("serializable"))
        },
        |round| {
            let batch = plain_batch(round);
            let mut message = Vec::new();
            let time = timed(|| message = rmp_serde::to_vec(&batch).expect("serializable"));
            plain_bytes = message.len();
            time
        },
    );
    row("encode 1,000 changes / rmp-serde of key and value", encoded, CHANGES, "");
    let decoded = compare(
        |round| {
            let message = changed(&mut ours, round, documents).encode().expect("serializable");
            timed(|| ours.decode(&message).expect("a message"))
        },
        |round| {
            let message = rmp_serde::to_vec(&plain_batch(round)).expect("serializable");
            timed(|| rmp_serde::from_slice::<Vec<(uuid::Uuid, String)>>(&message).expect("a batch"))
        },
    );
    row("decode 1,000 changes / rmp-serde of key and value", decoded, CHANGES, "");
    let metadata = (bytes as f64 - plain_bytes as f64) / CHANGES as f64;
    println!();
    println!(
        "wire: {bytes} B for {CHANGES} changed fields; key and value alone {plain_bytes} B: {metadata:.1} B a field beside them"
    );
}

fn one_change() {
    let mut regions = [replica(1), replica(2), replica(3)];
    for (number, region) in regions.iter_mut().enumerate() {
        fill(region, number..number + 1, 1);
    }
    let [eu, us, ap] = &mut regions;
    for _ in 0..2 {
        us.merge(now(0), eu.delta_since(&us.vector())).expect("no gap");
        ap.merge(now(0), us.delta_since(&ap.vector())).expect("no gap");
        eu.merge(now(0), ap.delta_since(&eu.vector())).expect("no gap");
    }
    for (milliseconds, region) in [(700, &mut *us), (1_400, &mut *ap), (2_100, &mut *eu)] {
        region
            .write(START_MS + milliseconds, |accounts| {
                accounts.update(&key(0), |account| account.balance().set(1));
            })
            .expect("in range");
    }
    us.merge(now(3_000), ap.delta_since(&us.vector())).expect("no gap");
    eu.merge(now(3_000), us.delta_since(&eu.vector())).expect("no gap");
    // As it is in steady state: what the first writes left has been forgotten.
    let members = [us.id(), ap.id(), eu.id()];
    eu.set_members(members);
    for member in &members[..2] {
        let vector = eu.vector();
        eu.report(START_MS + 3_000, *member, &vector).expect("true");
    }
    eu.forget();
    us.merge(now(3_500), eu.delta_since(&us.vector())).expect("no gap");
    let (known, request) = (eu.vector(), us.request());
    eu.write(START_MS + 4_000, |accounts| accounts.update(&key(1), |account| account.name().set(name(7))))
        .expect("in range");
    let bytes = eu.delta_since(&known).encode().expect("serializable").len();
    let answer = eu.answer(&request).encode().expect("serializable").len();
    let value = rmp_serde::to_vec(&name(7)).expect("serializable").len();
    println!(
        "wire: {} B beside its value for one changed field, uuid key included, three regions writing (goal <= 64); {} B \
         in the answer to a request",
        bytes - value,
        answer - value
    );
}

fn snapshots(documents: usize) {
    let mut ours = replica(1);
    fill(&mut ours, 0..documents, 100);
    let mut held = Vec::new();
    let mut first_writes = Vec::new();
    let mut times = Vec::new();
    for round in 0..ROUNDS * 20 {
        let start = Instant::now();
        let snapshot = ours.snapshot();
        times.push(start.elapsed());
        held = vec![snapshot];
        let number = mix(round as u64) as usize % documents;
        first_writes.push(timed(|| {
            ours.write(now(round), |accounts| {
                accounts.update(&key(number), |account| account.balance().set(round as i64));
            })
            .expect("in range")
        }));
    }
    drop(held);
    times.sort_unstable();
    first_writes.sort_unstable();
    println!(
        "snapshot of {documents} documents: {:.2} us (goal <= 2); first write to a page after it: {:.2} us (medians)",
        times[times.len() / 2].as_nanos() as f64 / 1e3,
        first_writes[first_writes.len() / 2].as_nanos() as f64 / 1e3,
    );
}

fn memory(documents: usize) {
    let region = Region::new(ALLOCATOR);
    let held = |region: &Region<'_, System>| {
        let change = region.change();
        change.bytes_allocated as f64 - change.bytes_deallocated as f64
    };
    let map = plain(documents);
    let plain_bytes = held(&region) / documents as f64;
    drop(map);
    let region = Region::new(ALLOCATOR);
    let mut ours = replica(1);
    fill(&mut ours, 0..documents, 100);
    let our_bytes = held(&region) / documents as f64;
    println!(
        "memory of a document of four registers: {our_bytes:.0} B (goal <= 400), plain {plain_bytes:.0} B, of {documents}"
    );
}

fn deltas(sizes: &[usize]) {
    println!();
    println!(
        "{:<28} {:>12} {:>12} {:>12} {:>12}",
        "1,000 changes among", "time us", "rows visited", "bytes", "nothing us"
    );
    for documents in sizes {
        let (mut ours, mut theirs) = (replica(1), replica::<Accounts>(2));
        fill(&mut ours, 0..*documents, 100);
        let mut pending = PendingDelta::new(&Limits { transfer_bytes: usize::MAX, ..Limits::default() });
        for bytes in ours.delta_since(&theirs.vector()).into_chunks(1 << 20) {
            let chunk = theirs.decode(&bytes.expect("serializable")).expect("a message");
            if let Some(delta) = pending.push(chunk).expect("in order") {
                theirs.merge(now(0), delta).expect("complete");
            }
        }
        let known = theirs.vector();
        drop(changed(&mut ours, 1, *documents));
        let (mut times, mut nothing) = (Vec::new(), Vec::new());
        let mut delta = ours.delta_since(&known);
        let own = ours.vector();
        for _ in 0..ROUNDS {
            times.push(timed(|| delta = ours.delta_since(&known)));
            nothing.push(timed(|| ours.delta_since(&own)));
        }
        times.sort_unstable();
        nothing.sort_unstable();
        println!(
            "{documents:<28} {:>12.1} {:>12} {:>12} {:>12.2}",
            times[ROUNDS / 2].as_nanos() as f64 / 1e3,
            delta.rows_visited(),
            delta.encode().expect("serializable").len(),
            nothing[ROUNDS / 2].as_nanos() as f64 / 1e3,
        );
    }
}

fn forgetting() {
    let (eu, us) = (ReplicaId::from_u128(1), ReplicaId::from_u128(2));
    let mut set: Replica<OrSet<u32>> = Replica::new(eu, driftless::Config::default());
    let mut peer: Replica<OrSet<u32>> = Replica::new(us, driftless::Config::default());
    set.set_members([eu, us]);
    peer.set_members([eu, us]);
    let start = Instant::now();
    let mut forgotten = Duration::ZERO;
    for round in 0..1_000_usize {
        for element in 0..500_u32 {
            let element = (element + 500 * (round as u32 % 2)) % 1_000;
            set.write(now(round), |set| set.add(&element)).expect("in range");
            set.write(now(round), |set| set.remove(&element)).expect("in range");
        }
        peer.merge(now(round), set.delta_since(&peer.vector())).expect("no gap");
        set.report(now(round), us, &peer.vector()).expect("true");
        peer.report(now(round), eu, &set.vector()).expect("true");
        forgotten += timed(|| set.forget());
        peer.forget();
    }
    let ours = set.delta_since(&driftless::VersionVector::new()).encode().expect("serializable").len();
    println!(
        "1 M adds and removes over 1,000 elements: {} rows left at the writer, {} at the peer, {ours} B as a message;\n\
         {:.0} ns an add or remove, forgetting {:.0} ns of it",
        set.state().rows(),
        peer.state().rows(),
        start.elapsed().as_nanos() as f64 / 1e6,
        forgotten.as_nanos() as f64 / 1e6,
    );
}

fn main() {
    let large = std::env::args().filter_map(|argument| argument.parse::<usize>().ok()).max();
    let documents = large.unwrap_or(DOCUMENTS);
    println!("{documents} documents of four registers (16 B and 24 B texts, i64, bool), uuid keys;");
    println!("ns an operation, medians of {ROUNDS} rounds of {CHANGES}");
    println!();
    println!("{:<52} {:>10} {:>10} {:>7} {:>9}", "", "driftless", "plain", "ratio", "goal");
    writes(documents);
    merges(documents);
    one_change();
    memory(documents);
    snapshots(documents);
    forgetting();
    let mut sizes = vec![10_000, 100_000];
    sizes.extend(large.filter(|large| *large > DOCUMENTS));
    deltas(&sizes);
}
