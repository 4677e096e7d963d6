//! What one replica asks of another.

use serde::{Deserialize, Serialize};

use crate::causal::vector::VersionVector;
use crate::wire::hash::KeyHasher;

/// What a replica asks of a peer: what it holds, and how it names keys in short form.
///
/// Made by [`Replica::request`](crate::Replica::request), answered by [`Replica::answer`](crate::Replica::answer). Where the
/// vector proves that the replica holds a key, the answer names it in 5 bytes or less instead of in full. The answer is for
/// this replica alone: others, and itself after a restart, may refuse it as a [gap](crate::MergeError::Gap). What is kept or
/// passed on is a [`delta_since`](crate::Replica::delta_since), in which all keys are named in full; so is what answers a
/// request [from](Self::from) a vector alone.
///
/// With serde it is the vector and two numbers. It holds what the replica hashes its keys with: tell it to peers, not to
/// users, who could choose keys that collide.
///
/// # Example
/// ```
/// use driftless::{Config, LwwRegister, MergeError, MergeMap, Replica, ReplicaId, Request};
///
/// type Prices = Replica<MergeMap<String, MergeMap<String, LwwRegister<u64>>>>;
/// let mut eu = Prices::new(ReplicaId::from_u128(1), Config::default());
/// let mut us = Prices::new(ReplicaId::from_u128(2), Config::default());
/// let product = "4006381333931 kettle, stainless steel".to_owned();
/// eu.write(1_000, |prices| prices.update(&product, |price| price.update("EUR", |price| price.set(2_900))))?;
/// us.merge(1_001, eu.delta_since(&us.vector()))?;
/// eu.write(1_002, |prices| prices.update(&product, |price| price.update("USD", |price| price.set(3_200))))?;
///
/// let request = us.request();
/// let short = eu.answer(&request).encode()?;
/// let full = eu.delta_since(request.vector()).encode()?;
/// assert!(short.len() + 30 < full.len());
/// match us.decode(&short) {
///     Ok(delta) => drop(us.merge(1_003, delta)?),
///     // The key was forgotten here since the request was made: ask in another way.
///     Err(MergeError::Gap { vector }) => drop(us.merge(1_003, eu.answer(&Request::from(vector)))?),
///     Err(error) => return Err(error.into()),
/// }
/// assert_eq!(us.digest(), eu.digest());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    vector: VersionVector,
    naming: Option<Naming>,
}

/// How a replica names keys in short form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Naming {
    seed: u64,
    /// Whose hashes differ in this names keys in full.
    probe: u64,
}

impl Request {
    pub(crate) fn new(vector: VersionVector, hash_seed: u64) -> Self {
        let naming = Naming { seed: hash_seed, probe: KeyHasher::new(hash_seed).probe() };
        Self { vector, naming: Some(naming) }
    }

    /// The same of another vector.
    pub(crate) fn at(&self, vector: VersionVector) -> Self {
        Self { vector, naming: self.naming }
    }

    /// What the replica holds.
    pub fn vector(&self) -> &VersionVector {
        &self.vector
    }

    /// What the replica hashes keys with, if it is known here to give the same hashes.
    pub(crate) fn short(&self) -> Option<KeyHasher> {
        let naming = self.naming?;
        let hasher = KeyHasher::new(naming.seed);
        (hasher.probe() == naming.probe).then_some(hasher)
    }
}

impl From<VersionVector> for Request {
    /// A request to be answered with all keys named in full.
    fn from(vector: VersionVector) -> Self {
        Self { vector, naming: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_hashes_otherwise_names_keys_in_full() {
        let mut request = Request::new(VersionVector::new(), 7);
        assert!(request.short().is_some_and(|hasher| hasher.seed() == 7));
        request.naming = request.naming.map(|naming| Naming { probe: naming.probe ^ 1, ..naming });
        assert!(request.short().is_none());
        assert!(Request::from(VersionVector::new()).short().is_none());
    }
}
