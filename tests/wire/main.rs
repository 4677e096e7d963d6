//! The wire: what is written can be read, what cannot be read is refused with a reason, and nothing else happens.

#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

mod chunks;
mod limits;
mod refusals;
mod requests;
mod round;
mod size;

use driftless::{
    Config, Counter, Crdt, Delta, Flag, LwwRegister, MergeMap, MvRegister, OrSet, Replica, ReplicaId,
};
use uuid::Uuid;

const NOW_MS: u64 = 1_700_000_000_000;

/// State with something of every type, two levels deep.
#[derive(Crdt, Debug)]
struct User {
    name: LwwRegister<String>,
    notes: MvRegister<Vec<u8>>,
    is_active: Flag,
    tags: OrSet<String>,
    visits: Counter,
    devices: MergeMap<u8, Device>,
}

#[derive(Crdt, Debug)]
struct Device {
    label: LwwRegister<Option<String>>,
    uses: Counter,
}

type Users = MergeMap<Uuid, User>;

fn replica<S: Crdt>(id: u128) -> Replica<S> {
    Replica::new(ReplicaId::from_u128(id), Config::default())
}

/// What `to` lacks of `from`, as bytes.
fn message<S: Crdt>(from: &Replica<S>, to: &Replica<S>) -> Vec<u8> {
    from.delta_since(&to.vector()).encode().unwrap()
}

fn merge<S: Crdt>(to: &mut Replica<S>, bytes: &[u8]) {
    let delta: Delta<S> = to.decode(bytes).unwrap();
    to.merge(NOW_MS, delta).unwrap();
}

fn sync<S: Crdt>(from: &Replica<S>, to: &mut Replica<S>) {
    let bytes = message(from, to);
    merge(to, &bytes);
}

/// Three replicas that have written users apart and together, with conflicts and removals.
fn cluster() -> [Replica<Users>; 3] {
    let mut replicas = [replica(0x0a01), replica(0x0b02), replica(0x0c03)];
    for round in 0..3_u64 {
        for at in 0..3 {
            let key = Uuid::from_u128((u128::from(round % 2) << 64) | (at as u128 % 2));
            let write = |users: &mut <Users as Crdt>::Mut<'_>| {
                users.update(&key, |user| {
                    user.name().set(format!("name {round} of {at}"));
                    user.notes().set(vec![at as u8; 10 * at + 1]);
                    user.is_active().enable();
                    user.tags().add(["blue", "green", "red"][at]);
                    user.visits().add(at as i64 + 1).unwrap();
                    for number in 0..20 {
                        user.devices().update(&number, |device| {
                            device.label().set((number % 2 == 0).then(|| "phone".to_owned()));
                            device.uses().add(1).unwrap();
                        });
                    }
                    user.devices().remove(&(at as u8));
                });
                if round == 1 {
                    users.remove(&key);
                }
            };
            replicas[at].write(NOW_MS + round, write).unwrap();
        }
        let [a, b, c] = &mut replicas;
        sync(a, b);
        sync(b, c);
    }
    replicas
}
