//! Why a transaction or a merge was not made.

use std::fmt;

use crate::causal::id::ReplicaId;
use crate::causal::vector::VersionVector;
use crate::clock::{ClockError, Timestamp};
use crate::wire::error::DecodeError;
use crate::wire::limits::Limits;

/// Why a transaction could not be made. To blame: the caller. Nothing changed.
///
/// # Example
/// ```
/// use driftless::{ClockError, Config, Counter, Replica, ReplicaId, WriteError};
///
/// let mut eu: Replica<Counter> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// let now_ns = 1_700_000_000_000_000_000;
/// let refused = eu.write(now_ns, |visits| visits.add(1).is_ok()).unwrap_err();
/// assert_eq!(refused, WriteError::Clock(ClockError::NowTooLarge { now_ms: now_ns }));
/// assert_eq!(eu.state().value(), 0);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError {
    /// No stamp could be issued.
    Clock(ClockError),
    /// A panic was caught inside of the transaction, in the middle of an update. Let it pass through, or do not panic.
    Unwound,
    /// This would be the first event under this id, and what is held names as many ids already as a message can,
    /// [`Limits::MAX_REPLICAS`]. Whoever wrote before can go on writing.
    TooManyReplicas {
        /// How many there would be.
        count: usize,
    },
    /// A replica cannot [close](crate::Replica::close) the id that it writes under. Let another one close it, or this one under
    /// a new id.
    OwnId,
    /// A panic of the application's own types (`Eq`, `Ord`, `Hash` or `Drop` of a key or value) ended a merge or
    /// [`forget`](crate::Replica::forget) half-way. Drop the replica and fetch its state from a peer, under a new id.
    Poisoned,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clock(error) => fmt::Display::fmt(error, f),
            Self::Unwound => f.write_str(
                "the caller's transaction caught a panic in the middle of an update, so it was undone; \
                 nothing changed: let the panic pass through, or do not panic",
            ),
            Self::TooManyReplicas { count } => write!(
                f,
                "the caller's write would make it {count} replica ids, more than the {} that a message can name; \
                 nothing changed: write where it was written before, or the data anew under fewer ids",
                Limits::MAX_REPLICAS
            ),
            Self::OwnId => f.write_str(
                "the caller closes the id that this replica writes under; \
                 nothing changed: close it elsewhere, or here under a new id",
            ),
            Self::Poisoned => f.write_str(POISONED),
        }
    }
}

const POISONED: &str = "the caller's own types panicked and left an earlier merge half done; \
    nothing changed since: drop this replica and fetch its state from a peer, under a new id";

impl std::error::Error for WriteError {}

/// Why a transaction was not made. To blame: the caller. Nothing changed.
///
/// It is shown with the error of the closure, so it names no [`source`](std::error::Error::source): match to get at it.
///
/// # Example
/// ```
/// use driftless::{Config, Counter, Replica, ReplicaId, TransactError};
///
/// let mut eu: Replica<Counter> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// let sold = eu.transact(1_000, |stock| if stock.value() > 0 { stock.add(-1) } else { Ok(()) });
/// match sold {
///     Ok(committed) => assert_eq!(committed.stamp, None),
///     Err(TransactError::Aborted(overflow)) => println!("of the closure: {overflow}"),
///     Err(other) => println!("of the replica: {other}"),
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransactError<E> {
    /// It could not be made.
    Write(WriteError),
    /// The closure returned this error.
    Aborted(E),
}

impl<E> From<WriteError> for TransactError<E> {
    fn from(error: WriteError) -> Self {
        Self::Write(error)
    }
}

impl<E: fmt::Display> fmt::Display for TransactError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(error) => fmt::Display::fmt(error, f),
            Self::Aborted(error) => {
                write!(f, "the caller's closure undid the transaction; nothing changed: {error}")
            }
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for TransactError<E> {}

/// Why a delta was not merged. Nothing changed. Each variant says who is to blame, and what to do next.
///
/// # Example
/// What a session does with each:
/// ```
/// use driftless::{Config, Flag, MergeError, Replica, ReplicaId};
///
/// let mut eu: Replica<Flag> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// let mut us: Replica<Flag> = Replica::new(ReplicaId::from_u128(2), Config::default());
/// eu.write(1_000, |flag| flag.enable())?;
/// let lost = eu.vector();
/// eu.write(1_001, |flag| flag.disable())?;
///
/// match us.merge(1_002, eu.delta_since(&lost)) {
///     Ok(merged) => println!("news: {}", merged.is_news),
///     // The usual one: a message was lost. Ask again from the vector that is held.
///     Err(MergeError::Gap { vector }) => drop(us.merge(1_002, eu.delta_since(&vector))?),
///     // The operator's: clocks, and ids that are used twice.
///     Err(error @ (MergeError::TooFarAhead { .. } | MergeError::NotIssued { .. })) => return Err(error.into()),
///     // The peer's: drop the connection.
///     Err(error) => return Err(error.into()),
/// }
/// assert_eq!(us.digest(), eu.digest());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MergeError {
    /// Bytes: they are no message.
    Decode(DecodeError),
    /// Peer, or a message lost on the way: the delta goes on from more than is held here, or names a replica or a key in a short
    /// form that cannot be told here. Ask for a [delta since](crate::Replica::delta_since) `vector`.
    Gap {
        /// What is held here.
        vector: VersionVector,
    },
    /// Caller: the delta is one chunk of several. Gather them in a [`PendingDelta`](crate::PendingDelta).
    Incomplete,
    /// Peer: a stamp is further ahead of the caller's clock than [`Config::max_ahead_ms`](crate::Config::max_ahead_ms)
    /// allows. One of the two clocks is wrong. Set it right, or ask again later.
    TooFarAhead {
        /// Who issued it.
        id: ReplicaId,
        /// The stamp.
        stamp: Timestamp,
        /// The latest that is accepted, in Unix milliseconds.
        bound_ms: u64,
    },
    /// Caller: the time given is none: it needs more than 48 bits of milliseconds, and would let stamps of any future in. Pass
    /// Unix time in milliseconds.
    Clock(ClockError),
    /// Us, or a copy of us: the peer holds our events up to a stamp at which we made no commit, be it before or after our last.
    /// The id is used twice (a clone of this process, a copied store), or our state is older than what we once sent (a restored
    /// backup). Merge nothing and send nothing under the id any more: ask peers what they hold of it, and go on under a new one
    /// by [`Replica::reissue`](crate::Replica::reissue), which keeps what was written here.
    NotIssued {
        /// The stamp up to which the peer holds events of our id.
        stamp: Timestamp,
        /// The last that we issued.
        own: Timestamp,
    },
    /// Caller: this is no delta of [`rows`](crate::Replica::rows) of a peer that has seen the same, so nothing can be
    /// [repaired](crate::Replica::repair) by it. Exchange deltas, and compare [fingerprints](crate::Replica::fingerprints) once
    /// the vectors are equal.
    Unequal {
        /// What is held.
        vector: VersionVector,
    },
    /// Peer, or the operator: with this delta or report more replicas would be known than a message can name,
    /// [`Limits::MAX_REPLICAS`](crate::Limits::MAX_REPLICAS). Use fewer ids.
    TooManyReplicas {
        /// How many there would be.
        count: usize,
    },
    /// Caller: a panic of the application's own types ended an earlier merge half-way; see [`WriteError::Poisoned`]. Drop the
    /// replica and fetch its state from a peer, under a new id.
    Poisoned,
}

impl fmt::Display for MergeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(error) => fmt::Display::fmt(error, f),
            Self::Gap { vector } => {
                write!(
                    f,
                    "the peer's delta goes on from more than is held here; \
                     nothing changed: ask it for a delta since {vector:?}"
                )
            }
            Self::Incomplete => f.write_str(
                "the caller merges one chunk of several; \
                 nothing changed: gather them in a `PendingDelta`, and merge what it returns",
            ),
            Self::TooFarAhead { id, stamp, bound_ms } => write!(
                f,
                "the peer's stamp {stamp} of replica {id} is later than {bound_ms} ms, the latest that is accepted now; \
                 nothing changed: set right the clock that is wrong, there or here, or ask again later"
            ),
            Self::Clock(error) => fmt::Display::fmt(error, f),
            Self::NotIssued { stamp, own } => write!(
                f,
                "this replica's id has the stamp {stamp} at the peer, which was not issued here, where {own} was the last: \
                 it is used twice, or this state is older than what it once sent; \
                 nothing changed: send nothing more under it, and go on under a new id with `Replica::reissue`"
            ),
            Self::Unequal { vector } => write!(
                f,
                "the caller repairs by a delta that is not of rows of a replica that has seen the same, {vector:?}; \
                 nothing changed: exchange deltas first, and compare again"
            ),
            Self::TooManyReplicas { count } => write!(
                f,
                "the peer's delta or report would make it {count} replica ids, more than the {} that a message can name; \
                 nothing changed: write under fewer ids",
                Limits::MAX_REPLICAS
            ),
            Self::Poisoned => f.write_str(POISONED),
        }
    }
}

impl std::error::Error for MergeError {}

/// Why a replica did not go on under a new id. Nothing changed.
///
/// # Example
/// ```
/// use driftless::{Config, Counter, ReissueError, Replica, ReplicaId, Stamps, Timestamp};
///
/// let mut eu: Replica<Counter> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// let refused = eu.reissue(1_000, eu.id(), Timestamp::ZERO, Stamps::Keep).unwrap_err();
/// assert_eq!(refused, ReissueError::IdInUse { id: eu.id() });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReissueError {
    /// Caller: the id is known here already. Take one that was never used.
    IdInUse {
        /// The id.
        id: ReplicaId,
    },
    /// Caller: no commit was made at this stamp, or all members hold later ones, or it was too long ago to tell. Take what
    /// [`Replica::fork_point`](crate::Replica::fork_point) says.
    NotACommit {
        /// The stamp.
        after: Timestamp,
    },
    /// Caller: the time given is none, or the last of all stamps is taken.
    Clock(ClockError),
    /// Caller: what was counted since the fork point leaves the range of 64 signed bits in some counter. Reset it first.
    CounterOverflow,
    /// The operator: what is held names as many ids already as a message can,
    /// [`Limits::MAX_REPLICAS`](crate::Limits::MAX_REPLICAS). Use fewer ids.
    TooManyReplicas {
        /// How many there would be.
        count: usize,
    },
    /// Caller: a panic of the application's own types ended an earlier merge half-way; see [`WriteError::Poisoned`].
    Poisoned,
}

impl fmt::Display for ReissueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdInUse { id } => write!(
                f,
                "the caller gives an id that is known here, {id}; \
                 nothing changed: give one that was never used"
            ),
            Self::NotACommit { after } => write!(
                f,
                "the caller gives a fork point, {after}, that cannot be told from what came before it; \
                 nothing changed: give the one that `Replica::fork_point` returns"
            ),
            Self::Clock(error) => fmt::Display::fmt(error, f),
            Self::CounterOverflow => f.write_str(
                "the caller counted beyond 64 signed bits between the fork point and now; \
                 nothing changed: reset the counters that are near the ends of the range",
            ),
            Self::TooManyReplicas { count } => write!(
                f,
                "the caller's new id would make it {count} replica ids, more than the {} that a message can name; \
                 nothing changed: write under fewer ids",
                Limits::MAX_REPLICAS
            ),
            Self::Poisoned => f.write_str(POISONED),
        }
    }
}

impl std::error::Error for ReissueError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crdt::counter::CounterOverflow;
    use crate::crdt::document::{DocumentError, Kind};
    use crate::delta::pending::PendingError;
    use crate::wire::error::EncodeError;

    /// An example of each variant of an error, as text. A variant that is not listed does not compile.
    macro_rules! texts {
        ($error:ty: $($pattern:pat => $example:expr,)+) => {{
            let examples: Vec<$error> = vec![$($example),+];
            for example in &examples {
                match example {
                    $($pattern => {})+
                }
            }
            examples.iter().map(ToString::to_string).collect::<Vec<String>>()
        }};
    }

    fn of_bytes() -> Vec<String> {
        use DecodeError::*;
        let mut texts = texts! { DecodeError:
            Truncated { .. } => Truncated { at: 7 },
            Version { .. } => Version { found: 2 },
            Expected { .. } => Expected { what: "an array", at: 7 },
            Stamp { .. } => Stamp { at: 7 },
            Repeated { .. } => Repeated { what: "a key", at: 7 },
            UnknownReplica { .. } => UnknownReplica { at: 7 },
            UnknownKey { .. } => UnknownKey { at: 7 },
            UnknownField { .. } => UnknownField { field: 3, at: 7 },
            Value { .. } => Value { at: 7, reason: "it is no text".into() },
            Trailing { .. } => Trailing { at: 7 },
            Limit { .. } => Limit { limit: "depth", allowed: 64 },
        };
        for limit in ["message_bytes", "memory_bytes", "elements", "siblings", "text_bytes", "replicas"] {
            texts.push(Limit { limit, allowed: 64 }.to_string());
        }
        texts.extend(texts! { EncodeError:
            EncodeError::Value { .. } => EncodeError::Value { reason: "it is secret".into() },
            EncodeError::Replicas { .. } => EncodeError::Replicas { count: 4097 },
        });
        texts
    }

    fn of_writing() -> Vec<String> {
        let overflow = CounterOverflow { value: 5, by: 1 };
        let (asked, found) = (Kind::Set, Kind::Counter);
        let mut texts = texts! { DocumentError:
            DocumentError::EmptyPath => DocumentError::EmptyPath,
            DocumentError::TooDeep { .. } => DocumentError::TooDeep { depth: 49 },
            DocumentError::WrongKind { .. } => DocumentError::WrongKind { asked, found },
            DocumentError::CounterOverflow(_) => DocumentError::CounterOverflow(overflow),
        };
        texts.extend(texts! { ClockError:
            ClockError::NowTooLarge { .. } => ClockError::NowTooLarge { now_ms: 1 << 48 },
            ClockError::Exhausted => ClockError::Exhausted,
        });
        texts.extend(texts! { WriteError:
            WriteError::Clock(_) => WriteError::Clock(ClockError::Exhausted),
            WriteError::Unwound => WriteError::Unwound,
            WriteError::TooManyReplicas { .. } => WriteError::TooManyReplicas { count: 4097 },
            WriteError::OwnId => WriteError::OwnId,
            WriteError::Poisoned => WriteError::Poisoned,
        });
        texts.extend(texts! { TransactError<&str>:
            TransactError::Write(_) => TransactError::Write(WriteError::Unwound),
            TransactError::Aborted(_) => TransactError::Aborted("sold out, order less"),
        });
        texts.push(overflow.to_string());
        texts
    }

    fn of_merging() -> Vec<String> {
        let (id, stamp) = (ReplicaId::from_u128(1), Timestamp::from_bits(9 << 16));
        let vector = VersionVector::from(vec![(id, stamp)]);
        let mut texts = texts! { MergeError:
            MergeError::Decode(_) => MergeError::Decode(DecodeError::Stamp { at: 7 }),
            MergeError::Gap { .. } => MergeError::Gap { vector: vector.clone() },
            MergeError::Incomplete => MergeError::Incomplete,
            MergeError::TooFarAhead { .. } => MergeError::TooFarAhead { id, stamp, bound_ms: 8 },
            MergeError::Clock(_) => MergeError::Clock(ClockError::NowTooLarge { now_ms: 1 << 48 }),
            MergeError::NotIssued { .. } => MergeError::NotIssued { stamp, own: Timestamp::ZERO },
            MergeError::Unequal { .. } => MergeError::Unequal { vector: vector.clone() },
            MergeError::TooManyReplicas { .. } => MergeError::TooManyReplicas { count: 4097 },
            MergeError::Poisoned => MergeError::Poisoned,
        };
        texts.extend(texts! { ReissueError:
            ReissueError::IdInUse { .. } => ReissueError::IdInUse { id },
            ReissueError::NotACommit { .. } => ReissueError::NotACommit { after: stamp },
            ReissueError::Clock(_) => ReissueError::Clock(ClockError::Exhausted),
            ReissueError::CounterOverflow => ReissueError::CounterOverflow,
            ReissueError::TooManyReplicas { .. } => ReissueError::TooManyReplicas { count: 4097 },
            ReissueError::Poisoned => ReissueError::Poisoned,
        });
        texts.extend(texts! { PendingError:
            PendingError::OutOfOrder { .. } => PendingError::OutOfOrder { expected: 1, found: 2 },
            PendingError::OtherTransfer => PendingError::OtherTransfer,
            PendingError::TooLarge { .. } => PendingError::TooLarge { allowed: 350 },
        });
        texts
    }

    #[test]
    fn every_error_says_who_is_to_blame_that_nothing_changed_and_what_to_do() {
        for text in [of_bytes(), of_writing(), of_merging()].concat() {
            let (what, next) = text.split_once("; nothing changed").unwrap_or_else(|| panic!("{text}"));
            let blames = ["the bytes ", "the peer", "the caller", "this replica's id "];
            assert!(blames.iter().any(|blame| what.starts_with(blame)), "who is to blame? {text}");
            let (_, remedy) = next.split_once(": ").unwrap_or_else(|| panic!("what to do? {text}"));
            assert!(remedy.len() > 8 && !text.ends_with('.') && !text.contains("  "), "{text}");
        }
    }

    #[test]
    fn numbers_have_units_or_a_place() {
        for text in [of_bytes(), of_writing(), of_merging()].concat() {
            for number in ["64", "350"] {
                let Some((_, after)) = text.split_once(&format!("of {number} ")) else {
                    continue;
                };
                let units = ["bytes;", "levels;", "elements;", "concurrent values;", "replica ids;"];
                assert!(units.iter().any(|unit| after.starts_with(unit)), "{text}");
            }
            assert!(!text.contains(" 7") || text.contains("at byte 7"), "{text}");
        }
        let ahead = &of_merging()[3];
        assert!(ahead.contains("stamp 9.0") && ahead.contains("later than 8 ms"), "{ahead}");
    }
}
