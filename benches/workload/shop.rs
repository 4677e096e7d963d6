//! Eight replicas that write the same documents at the same time, tags among them.

use driftless::{Crdt, MergeMap, OrSet, Replica, VersionVector};

use super::{Account, START_MS, address, key, mix, name, now, replica};

/// A document with tags.
#[derive(Crdt)]
pub(crate) struct Product {
    pub(crate) account: Account,
    pub(crate) tags: OrSet<u64>,
}

pub(crate) type Products = MergeMap<uuid::Uuid, Product>;

/// How many tags each document begins with: the numbers below it.
const FIRST_TAGS: u64 = 3;
/// The tag that is added.
const NEW_TAG: u64 = 7;

fn fill(replica: &mut Replica<Products>, documents: usize) {
    let written = replica.write(START_MS, |products| {
        for number in 0..documents {
            products.update(&key(number), |product| {
                product.account().name().set(name(number));
                product.account().address().set(address(number));
                product.account().balance().set(number as i64);
                product.account().active().set(true);
                (0..FIRST_TAGS).for_each(|tag| product.tags().add(&tag));
            });
        }
    });
    written.expect("the time is in range");
}

/// Writes a field of a fifth of the documents, and adds or removes a tag of a twentieth. Eight replicas share five fifths: three
/// of these are written by two replicas.
fn write(replica: &mut Replica<Products>, number: u64, documents: usize) {
    let random = |of: usize| mix(number << 32 | of as u64);
    let written = replica.write(now(number as usize), |products| {
        for document in (number as usize % 5..documents).step_by(5) {
            products.update(&key(document), |product| match random(document) % 2 {
                0 => product.account().name().set(name(number as usize)),
                _ => product.account().balance().set(number as i64),
            });
        }
        for change in 0..documents / 20 {
            let document = random(documents + change) as usize % documents;
            products.update(&key(document), |product| match change % 2 {
                0 => product.tags().add(&NEW_TAG),
                _ => drop(product.tags().remove(&(number % FIRST_TAGS))),
            });
        }
    });
    written.expect("the time is in range");
}

/// Eight replicas that held the same and then wrote, and what all had seen before.
pub(crate) fn regions(documents: usize) -> (Vec<Replica<Products>>, VersionVector) {
    let mut replicas: Vec<Replica<Products>> = (1..=8).map(replica).collect();
    let (first, others) = replicas.split_at_mut(1);
    fill(&mut first[0], documents);
    for other in others {
        other.merge(START_MS, first[0].delta_since(&VersionVector::new())).expect("complete");
    }
    let known = first[0].vector();
    for (replica, number) in replicas.iter_mut().zip(1..) {
        write(replica, number, documents);
    }
    (replicas, known)
}
