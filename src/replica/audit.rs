//! Whether replicas that have seen the same events hold the same: fingerprints, the rows that differ, and their repair.

use std::num::NonZeroU16;

use crate::clock::Timestamp;
use crate::crdt::Crdt;
use crate::crdt::change::{Change, ChangePath, Path, Recorder};
use crate::crdt::prints::{Prints, RowPrint, Wanted};
use crate::crdt::repairing::Repairing;
use crate::delta::system::System;
use crate::delta::{Closed, Delta};
use crate::replica::Replica;
use crate::replica::error::MergeError;
use crate::replica::held::{Held, Snapshot};

/// Hashes of what is live, in buckets of rows: which tell not just whether two replicas differ, as a
/// [`Digest`](crate::Digest) does, but about where.
///
/// A row is in the bucket that a hash of its key says, so it is the same one in all replicas. The fingerprint of a bucket is the
/// sum of hashes of its rows (XXH3 with 64 bits): the order of rows makes no difference. Marks and tombstones are left out, since
/// replicas forget them at different times. Fingerprints find accidents; they do not withstand an attacker.
///
/// # Example
/// ```
/// use std::num::NonZeroU16;
/// use driftless::{Config, Fingerprints, OrSet, Replica, ReplicaId};
///
/// let buckets = NonZeroU16::new(256).expect("it is not zero");
/// let mut eu: Replica<OrSet<u32>> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// let mut us: Replica<OrSet<u32>> = Replica::new(ReplicaId::from_u128(2), Config::default());
/// eu.write(1_000, |set| (0..10_000).for_each(|element| set.add(&element)))?;
/// us.merge(1_001, eu.delta_since(&us.vector()))?;
///
/// // Equal vectors and different fingerprints would prove a fault.
/// let sent: Vec<u64> = eu.fingerprints(buckets).sums().to_vec();
/// assert_eq!(us.fingerprints(buckets), Fingerprints::from(sent));
///
/// us.write(1_002, |set| set.remove(&7))?;
/// let differing: Vec<u16> = us.fingerprints(buckets).differing(&eu.fingerprints(buckets)).collect();
/// assert_eq!(differing.len(), 1);
/// assert!(eu.rows_of(buckets, &differing).iter().any(|row| row.path.to_string() == "7"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprints(Vec<u64>);

impl Fingerprints {
    /// The fingerprint of each bucket, to be sent to a peer. That of an empty one is 0.
    pub fn sums(&self) -> &[u64] {
        &self.0
    }

    /// The buckets that differ. Of fingerprints of different numbers of buckets, each of the others too: compare equal numbers.
    pub fn differing<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u16> + 'a {
        let all = 0..self.0.len().max(other.0.len());
        let differs = |bucket: &usize| self.0.get(*bucket) != other.0.get(*bucket);
        all.filter(differs).map_while(|bucket| u16::try_from(bucket).ok())
    }
}

impl From<Vec<u64>> for Fingerprints {
    /// The fingerprints that a peer sent.
    fn from(sums: Vec<u64>) -> Self {
        Self(sums)
    }
}

/// A repair that was made. Returned by [`Replica::repair`], which has an example.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repaired {
    /// The rows in which something else is live now.
    pub rows: Vec<ChangePath>,
    /// What reads differently now; empty unless [`Config::changes`](crate::Config::changes) is set. Who and when is that of the
    /// newest event that is known of each place.
    pub changes: Vec<Change>,
}

impl<S: Crdt> Held<S> {
    fn fingerprints(&self, buckets: NonZeroU16) -> Fingerprints {
        Fingerprints(Prints::sums(&self.state, &self.origins, buckets))
    }

    fn rows_of(&self, buckets: NonZeroU16, of: &[u16]) -> Vec<RowPrint> {
        Prints::rows(&self.state, &self.origins, buckets, of)
    }

    fn rows(&self, ids: &[u64]) -> Delta<S> {
        let mut wanted = Wanted::new(&self.origins, ids);
        let state = self.state.wanted(&mut wanted, &Path::root()).unwrap_or_else(S::bottom);
        Delta {
            origins: self.origins.clone(),
            from: self.vector.clone(),
            to: self.vector.clone(),
            implied: Vec::new(),
            closed: Closed::These(self.links.implied(&self.vector, |_| true)),
            cut: None,
            system: System::bottom(),
            state,
            chunk: None,
            short: None,
            bytes: 0,
            rows_visited: wanted.visited(),
        }
    }
}

impl<S: Crdt> Replica<S> {
    /// Hashes of what is live, in so many buckets of rows. Replicas that have seen the same events have the same. See
    /// [`Fingerprints`] for an example.
    ///
    /// # Cost
    /// It reads all that is live, once, and orders nothing but what lies within a row. Eight bytes a bucket, and hardly a
    /// moment's memory a row.
    pub fn fingerprints(&self, buckets: NonZeroU16) -> Fingerprints {
        self.held.fingerprints(buckets)
    }

    /// The live rows of some buckets of so many, with their hashes: what to compare with a peer's where
    /// [`fingerprints`](Self::fingerprints) differ.
    ///
    /// # Cost
    /// It hashes all keys, and what is live in the rows of these buckets.
    pub fn rows_of(&self, buckets: NonZeroU16, of: &[u16]) -> Vec<RowPrint> {
        self.held.rows_of(buckets, of)
    }

    /// Some rows whole, by their [ids](RowPrint::id), with all that is remembered of them: for a peer whose vector is the same,
    /// to be [repaired](Self::repair) by. A row of which nothing is held is not in it. It is encoded as any delta.
    ///
    /// # Cost
    /// It hashes all keys.
    #[must_use = "rows do nothing until they are encoded, or a peer is repaired by them"]
    pub fn rows(&self, ids: &[u64]) -> Delta<S> {
        self.held.rows(ids)
    }

    /// Joins rows of a peer that has seen the same events and holds something else all the same: a fault, of memory, say, or of a
    /// value that is not written as it is read. When both have repaired themselves by the rows of the other, at once or one after
    /// the other, they hold the same in those rows.
    ///
    /// What one side has lost comes back from the other. What one remembers to be removed is gone from both. Where one has
    /// something and the other remembers nothing of it, nobody can tell whether one lost it or the other kept what was removed:
    /// it stays. Where they hold different values of one event, nobody can tell which was written: the one with the greater bytes
    /// stays in both.
    ///
    /// # Errors
    /// [`MergeError::Unequal`] if the rows are not of the vector that is held, or are no [`rows`](Self::rows); and as of
    /// [`merge`](Self::merge). Nothing changed.
    ///
    /// # Cost
    /// Proportional to the rows.
    ///
    /// # Example
    /// A byte goes wrong on its way, where no transport notices:
    /// ```
    /// use std::num::NonZeroU16;
    /// use driftless::{Config, LwwRegister, MergeMap, Replica, ReplicaId};
    ///
    /// type Prices = MergeMap<String, LwwRegister<String>>;
    /// let mut eu: Replica<Prices> = Replica::new(ReplicaId::from_u128(1), Config::default());
    /// let mut us: Replica<Prices> = Replica::new(ReplicaId::from_u128(2), Config::default());
    /// eu.write(1_000, |prices| prices.update("kettle", |price| price.set("29 EUR")))?;
    /// let mut bytes = eu.delta_since(&us.vector()).encode()?;
    /// let two = bytes.windows(6).position(|text| text == b"29 EUR").expect("it is there");
    /// bytes[two] = b'9';
    /// us.merge(1_001, us.decode(&bytes)?)?;
    /// assert_eq!(us.vector(), eu.vector());
    ///
    /// let buckets = NonZeroU16::new(256).expect("it is not zero");
    /// let differing: Vec<u16> = eu.fingerprints(buckets).differing(&us.fingerprints(buckets)).collect();
    /// let (ours, theirs) = (eu.rows_of(buckets, &differing), us.rows_of(buckets, &differing));
    /// let ids: Vec<u64> = ours.iter().filter(|row| !theirs.contains(row)).map(|row| row.id).collect();
    ///
    /// let (from_eu, from_us) = (eu.rows(&ids).encode()?, us.rows(&ids).encode()?);
    /// let repaired = eu.repair(1_002, eu.decode(&from_us)?)?;
    /// assert_eq!(repaired.rows[0].to_string(), "\"kettle\"");
    /// assert!(us.repair(1_002, us.decode(&from_eu)?)?.rows.is_empty(), "what us held is greater");
    /// assert_eq!(eu.fingerprints(buckets), us.fingerprints(buckets));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn repair(&mut self, now_ms: u64, rows: Delta<S>) -> Result<Repaired, MergeError> {
        if self.is_poisoned {
            return Err(MergeError::Poisoned);
        }
        if rows.is_chunk() {
            return Err(MergeError::Incomplete);
        }
        Timestamp::new(now_ms, 0).map_err(MergeError::Clock)?;
        let own = self.vector();
        // All is named here, closed ids as well.
        let all = self.held.vector.to_vector(&self.held.origins);
        let ends = [&rows.from, &rows.to].map(|end| end.to_vector(&rows.origins));
        if rows.is_complete() || ends != [all.clone(), all] {
            return Err(MergeError::Unequal { vector: own });
        }
        let remap = self.remap(rows.origins.ids());
        let Held { state, origins, .. } = &mut self.held;
        let recorder = Recorder::new(self.config.changes);
        let mut repairing = Repairing::new(origins, &remap, recorder, self.txn.seed);
        // As in a merge: a panic can only come from the application's own types.
        self.is_poisoned = true;
        let mut incoming = rows.state;
        state.repair(&mut incoming, &mut repairing, &Path::root());
        let repaired = Repaired { changes: repairing.recorder.finish_merge(), rows: repairing.rows };
        self.is_poisoned = false;
        Ok(repaired)
    }
}

impl<S: Crdt> Snapshot<S> {
    /// Hashes of what was live; as [`Replica::fingerprints`], on a reader's thread.
    pub fn fingerprints(&self, buckets: NonZeroU16) -> Fingerprints {
        self.held().fingerprints(buckets)
    }

    /// The rows of some buckets; as [`Replica::rows_of`], on a reader's thread.
    pub fn rows_of(&self, buckets: NonZeroU16, of: &[u16]) -> Vec<RowPrint> {
        self.held().rows_of(buckets, of)
    }

    /// Some rows whole; as [`Replica::rows`], on a reader's thread.
    #[must_use = "rows do nothing until they are encoded, or a peer is repaired by them"]
    pub fn rows(&self, ids: &[u64]) -> Delta<S> {
        self.held().rows(ids)
    }
}
