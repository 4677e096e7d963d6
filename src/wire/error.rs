//! What can be wrong with bytes, and with values that are to become bytes.

use std::fmt;

use crate::wire::limits::Limits;

/// Why bytes are no message. To blame: the bytes, or the peer that sent them. Nothing changed.
///
/// Drop the message. If it came from a peer of the same version over a reliable connection, drop the connection as well:
/// asking again would bring the same bytes. Each variant says where it differs from that. Offsets count bytes from the
/// start of the message.
///
/// # Example
/// ```
/// use driftless::{Config, Counter, DecodeError, MergeError, Replica, ReplicaId};
///
/// let us: Replica<Counter> = Replica::new(ReplicaId::from_u128(2), Config::default());
/// let refused = us.decode(&[0x10]).unwrap_err();
/// assert_eq!(refused, MergeError::Decode(DecodeError::Truncated { at: 1 }));
/// assert_eq!(
///     refused.to_string(),
///     "the bytes end at byte 1, within a message; nothing changed: drop them, and have the message sent again"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end in the middle of something. Have the message sent again.
    Truncated {
        /// Where the missing bytes should begin.
        at: usize,
    },
    /// The message is of a version that this release does not read. Upgrade this side.
    Version {
        /// The version found.
        found: u64,
    },
    /// Something else stands where the format asks for this.
    Expected {
        /// What the format asks for.
        what: &'static str,
        /// Where it should begin.
        at: usize,
    },
    /// A limit of the decoder is exceeded. If the peer is honest, raise the limit on this side; or have the peer cut what it
    /// sends into smaller [chunks](crate::Delta::into_chunks), where the limit is of a message, or overwrite or remove the
    /// value, where it is of a value.
    Limit {
        /// The name of the field of [`Limits`](crate::Limits), which says in which unit.
        limit: &'static str,
        /// Its value.
        allowed: usize,
    },
    /// A stamp lies outside of what the message claims to hold, or is out of range.
    Stamp {
        /// Where it begins.
        at: usize,
    },
    /// Something that may stand only once stands twice.
    Repeated {
        /// What is repeated.
        what: &'static str,
        /// Where the second begins.
        at: usize,
    },
    /// The message names a replica by a short form that this side cannot tell. The sender took it to hold what it does not.
    /// [`Replica::decode`](crate::Replica::decode) reports it as a [gap](crate::MergeError::Gap): ask again from the own
    /// vector.
    UnknownReplica {
        /// Where the table of ids begins.
        at: usize,
    },
    /// The message names a key by a short form that this side cannot tell. The sender took it to hold what it does not, or no
    /// longer does; or two keys have that form. [`Replica::decode`](crate::Replica::decode) reports it as a
    /// [gap](crate::MergeError::Gap): ask again from the own vector, and all keys are named in full.
    UnknownKey {
        /// Where the keys begin.
        at: usize,
    },
    /// A field or kind that this side's type does not have, in a struct without [`UnknownFields`](crate::UnknownFields). The
    /// peer's schema is newer: upgrade this side first.
    UnknownField {
        /// The number of the field.
        field: u64,
        /// Where it begins.
        at: usize,
    },
    /// A key or an element is not of the type that this side's schema gives it, or something that the cluster says of itself is
    /// of a type that this release does not know. Bring both sides to one schema. (A value of a register is kept as it came, and
    /// so are fields of open structs: see [`Unreadable`](crate::Unreadable).)
    Value {
        /// Where the value begins.
        at: usize,
        /// What serde says of it.
        reason: String,
    },
    /// Bytes follow the end of the message. Hand over each message alone.
    Trailing {
        /// Where they begin.
        at: usize,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { at } => write!(
                f,
                "the bytes end at byte {at}, within a message; \
                 nothing changed: drop them, and have the message sent again"
            ),
            Self::Version { found } => write!(
                f,
                "the peer writes wire version {found}, which this release does not read; \
                 nothing changed: upgrade this side"
            ),
            Self::Expected { what, at } => {
                write!(f, "the bytes are no message, which has {what} at byte {at}; {DROP}")
            }
            Self::Limit { limit, allowed } => {
                let (unit, remedy) = match *limit {
                    "depth" => ("levels", OVERWRITE),
                    "siblings" => ("concurrent values", OVERWRITE),
                    "text_bytes" => ("bytes", OVERWRITE),
                    "replicas" => ("replica ids", "write under fewer ids"),
                    "elements" => ("elements", CHUNKS),
                    _ => ("bytes", CHUNKS),
                };
                write!(
                    f,
                    "the peer's message exceeds the limit `{limit}` of {allowed} {unit}; \
                     nothing changed: if the peer is honest, raise the limit on this side, or have it {remedy}"
                )
            }
            Self::Stamp { at } => write!(
                f,
                "the bytes are no message, whose stamp at byte {at} would be within what it claims to hold; {DROP}"
            ),
            Self::Repeated { what, at } => {
                write!(
                    f,
                    "the bytes are no message, in which {what} would not stand again at byte {at}; {DROP}"
                )
            }
            Self::UnknownReplica { at } => write!(
                f,
                "the peer took this replica to know another that it does not, in the table of ids at byte {at}; \
                 nothing changed: ask again from the own vector"
            ),
            Self::UnknownKey { at } => write!(
                f,
                "the peer took this replica to hold a key that it does not, among those at byte {at}; \
                 nothing changed: ask again from the own vector"
            ),
            Self::UnknownField { field, at } => write!(
                f,
                "the peer's schema is newer: at byte {at} it has a field or kind {field}, which this side's has not; \
                 nothing changed: upgrade this side, then ask again"
            ),
            Self::Value { at, reason } => write!(
                f,
                "the peer's data at byte {at} is not of the type of this side's schema ({reason}); \
                 nothing changed: bring both sides to one schema, then ask again"
            ),
            Self::Trailing { at } => write!(
                f,
                "the bytes go on at byte {at}, after the end of the message; \
                 nothing changed: hand over each message alone"
            ),
        }
    }
}

const DROP: &str = "nothing changed: drop it, and the connection if its peer sends such again";

const OVERWRITE: &str = "overwrite or remove what exceeds it";
const CHUNKS: &str = "send smaller chunks";

impl std::error::Error for DecodeError {}

/// Why something could not be written as bytes. To blame: the caller. Nothing changed.
///
/// # Example
/// A value that cannot be written can be set, but not shipped: what is held must first be another.
/// ```
/// use driftless::{Config, EncodeError, LwwRegister, Replica, ReplicaId, VersionVector};
/// use serde::{Deserialize, Serialize, Serializer};
///
/// #[derive(Clone, Deserialize)]
/// struct Secret;
///
/// impl Serialize for Secret {
///     fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
///         Err(serde::ser::Error::custom("not to be told"))
///     }
/// }
///
/// let mut eu: Replica<LwwRegister<Secret>> = Replica::new(ReplicaId::from_u128(1), Config::default());
/// eu.write(1_000, |register| register.set(Secret))?;
/// let refused = eu.delta_since(&VersionVector::new()).encode();
/// assert!(matches!(refused, Err(EncodeError::Value { .. })));
///
/// eu.write(1_001, |register| register.clear())?;
/// assert!(eu.delta_since(&VersionVector::new()).encode().is_ok());
/// # Ok::<(), driftless::WriteError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The `Serialize` implementation of an application's value failed. Mend it, or overwrite or remove the value.
    Value {
        /// What it said.
        reason: String,
    },
    /// There are more replica ids than a message can name: [`Limits::MAX_REPLICAS`](crate::Limits::MAX_REPLICAS).
    ///
    /// A replica does not come to hold more: writing and merging are refused before.
    Replicas {
        /// How many there are.
        count: usize,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { reason } => write!(
                f,
                "the caller's value cannot be serialized ({reason}); \
                 nothing changed: mend its `Serialize`, or overwrite or remove the value"
            ),
            Self::Replicas { count } => write!(
                f,
                "the caller's data is of {count} replica ids, more than the {} that a message can name; \
                 nothing changed: write it anew under fewer ids",
                Limits::MAX_REPLICAS
            ),
        }
    }
}

impl std::error::Error for EncodeError {}
