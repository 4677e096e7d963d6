//! What can be wrong with bytes, and with values that are to become bytes.

use std::fmt;

/// Why bytes are no message. To blame: the bytes, or the peer that sent them. Nothing changed.
///
/// Drop the message. If it came from a peer of the same version over a reliable connection, drop the connection as well:
/// asking again would bring the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end in the middle of something.
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
    /// A limit of the decoder is exceeded. If the peer is honest, raise the limit on this side.
    Limit {
        /// The name of the field of [`Limits`](crate::Limits).
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
    /// The message names a replica by a short form that this side cannot tell. The sender took it to hold what it does not:
    /// answer as to a gap, and ask again from the own vector.
    UnknownReplica {
        /// Where the table of ids begins.
        at: usize,
    },
    /// A field or kind that this side's type does not have. The peer's schema is newer: upgrade this side first.
    UnknownField {
        /// The number of the field.
        field: u64,
        /// Where it begins.
        at: usize,
    },
    /// A value is not of the type that this side's schema gives it.
    Value {
        /// Where the value begins.
        at: usize,
        /// What serde says of it.
        reason: String,
    },
    /// Bytes follow the end of the message.
    Trailing {
        /// Where they begin.
        at: usize,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { at } => write!(f, "the message is cut off at byte {at}"),
            Self::Version { found } => {
                write!(f, "the message is of wire version {found}, which this release does not read: upgrade")
            }
            Self::Expected { what, at } => write!(f, "expected {what} at byte {at}"),
            Self::Limit { limit, allowed } => {
                write!(
                    f,
                    "the message exceeds the limit `{limit}` of {allowed}: raise it if the peer is honest"
                )
            }
            Self::Stamp { at } => {
                write!(f, "the stamp at byte {at} is outside of what the message claims to hold")
            }
            Self::Repeated { what, at } => write!(f, "{what} is repeated at byte {at}"),
            Self::UnknownReplica { at } => {
                write!(
                    f,
                    "the table of ids at byte {at} names a replica unknown here: ask again from the own vector"
                )
            }
            Self::UnknownField { field, at } => {
                write!(f, "field {field} at byte {at} is not of this schema: upgrade this side first")
            }
            Self::Value { at, reason } => write!(f, "the value at byte {at} does not fit its type: {reason}"),
            Self::Trailing { at } => write!(f, "bytes follow the end of the message at byte {at}"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Why something could not be written as bytes. To blame: the caller. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The `Serialize` implementation of an application's value failed.
    Value {
        /// What it said.
        reason: String,
    },
    /// There are more replica ids than a message can name: [`Limits::MAX_REPLICAS`](crate::Limits::MAX_REPLICAS).
    Replicas {
        /// How many there are.
        count: usize,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { reason } => write!(f, "a value cannot be serialized: {reason}"),
            Self::Replicas { count } => {
                write!(f, "{count} replica ids are more than a message can name: retire the closed ones")
            }
        }
    }
}

impl std::error::Error for EncodeError {}
