//! Two replicas of a map of users: one writes, the other is sent what it lacks.
//!
//! ```text
//! cargo run --example quickstart
//! ```

use driftless::{Config, Counter, Crdt, LwwRegister, MergeMap, OrSet, Replica, ReplicaId};

#[derive(Crdt)]
struct User {
    name: LwwRegister<String>,
    tags: OrSet<String>,
    visits: Counter,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut eu: Replica<MergeMap<u64, User>> = Replica::new(ReplicaId::from_u128(1), Config::default());
    let mut us: Replica<MergeMap<u64, User>> = Replica::new(ReplicaId::from_u128(2), Config::default());
    let now_ms = 1_700_000_000_000;

    // One stamp; an error or a panic leaves nothing behind.
    eu.transact(now_ms, |users| {
        users.update(&7, |user| {
            user.name().set("Ada");
            user.tags().add("admin");
            user.visits().add(1)
        })
    })?;

    // What us lacks, and nothing else; merged in any order, any number of times.
    let bytes = eu.delta_since(&us.vector()).encode()?;
    us.merge(now_ms, us.decode(&bytes)?)?;

    let snapshot = us.snapshot();
    let user = snapshot.get(&7).ok_or("user 7 did not arrive")?;
    let (name, tags) = (user.name.latest(), user.tags.iter().collect::<Vec<_>>());
    println!(
        "us merged {} bytes and reads: {name:?}, tags {tags:?}, visits {}",
        bytes.len(),
        user.visits.value()
    );

    assert_eq!(name.map(String::as_str), Some("Ada"));
    assert_eq!(us.digest(), eu.digest());
    Ok(())
}
