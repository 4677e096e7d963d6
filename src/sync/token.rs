//! What a session of a user has seen or written, to be found again in another region.

use std::fmt;
use std::str::FromStr;

use crate::causal::id::ReplicaId;
use crate::causal::vector::VersionVector;
use crate::clock::Timestamp;

/// What must be held where a user's session goes on: its writes, and what it has read.
///
/// A write's token names that write alone, and means all that its replica had seen, since events arrive with what they were made
/// of. It is text (`Display`, `FromStr`): an id and a stamp, 48 characters, for each replica; carry it in a cookie or a header.
/// [`Endpoint::reached`](crate::Endpoint::reached) says whether a replica holds it all.
///
/// - **Read your writes**: keep the token of each write, read where it is reached.
/// - **Monotonic reads**: [`join`](Self::join) the token of what was read, read next where that is reached.
///
/// Source: Terry et al., *Session Guarantees for Weakly Consistent Replicated Data* (1994).
///
/// # Example
/// ```
/// use driftless::{ReplicaId, Timestamp, Token};
///
/// let (eu, us) = (ReplicaId::from_u128(1), ReplicaId::from_u128(2));
/// let mut session = Token::of(eu, Timestamp::new(1_700_000_000_000, 3)?);
/// assert_eq!(session.to_string(), "00000000000000000000000000000001018bcfe568000003");
/// session.join(&Token::of(us, Timestamp::new(1_700_000_000_007, 0)?));
/// assert_eq!(session.to_string().parse(), Ok(session.clone()));
/// assert_eq!(session.vector().len(), 2);
/// assert!("no token".parse::<Token>().is_err());
/// # Ok::<(), driftless::ClockError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Token(VersionVector);

/// The digits of an id and of a stamp.
const ID_DIGITS: usize = 32;
const STAMP_DIGITS: usize = 16;

impl Token {
    /// The token of a write: of the replica that made it, with its stamp.
    pub fn of(id: ReplicaId, stamp: Timestamp) -> Self {
        Self([(id, stamp)].into_iter().collect())
    }

    /// The vector that must be reached.
    pub fn vector(&self) -> &VersionVector {
        &self.0
    }

    /// Demands what `other` demands, too.
    pub fn join(&mut self, other: &Token) {
        self.0.join(&other.0);
    }
}

impl From<VersionVector> for Token {
    /// The token of what is read at a snapshot with this vector.
    fn from(vector: VersionVector) -> Self {
        Self(vector)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, stamp) in &self.0 {
            write!(f, "{}{:016x}", id.uuid().simple(), stamp.bits())?;
        }
        Ok(())
    }
}

/// Why a text is no token. To blame: whoever sent it. Ask the user's session to begin anew.
///
/// # Example
/// ```
/// use driftless::{Token, TokenError};
///
/// assert_eq!("018b".parse::<Token>(), Err(TokenError { length: 4 }));
/// assert_eq!("".parse::<Token>(), Ok(Token::default()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenError {
    /// How many bytes it has.
    pub length: usize,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the bytes, {} of them, are no token, which has 48 digits of lower-case hexadecimal for each replica; \
             nothing changed: begin the session anew",
            self.length
        )
    }
}

impl std::error::Error for TokenError {}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let error = TokenError { length: text.len() };
        let (entries, []) = text.as_bytes().as_chunks::<{ ID_DIGITS + STAMP_DIGITS }>() else {
            return Err(error);
        };
        let entry = |digits: &[u8; ID_DIGITS + STAMP_DIGITS]| {
            let (id, stamp) = digits.split_at_checked(ID_DIGITS)?;
            let id = u128::from(number(id.get(..16)?)?) << 64 | u128::from(number(id.get(16..)?)?);
            Some((ReplicaId::from_u128(id), Timestamp::from_bits(number(stamp)?)))
        };
        let vector: VersionVector = entries.iter().map(entry).collect::<Option<_>>().ok_or(error)?;
        // The one text of each token: a second one would pass for another session.
        if vector.len() == entries.len() && Self(vector.clone()).to_string() == text {
            Ok(Self(vector))
        } else {
            Err(error)
        }
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(number << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_has_one_text() {
        let token: Token = VersionVector::from(vec![
            (ReplicaId::from_u128(0xfeed << 64 | 7), Timestamp::from_bits(9)),
            (ReplicaId::from_u128(3), Timestamp::MAX),
        ])
        .into();
        let text = token.to_string();
        assert_eq!(text.len(), 96);
        assert_eq!(text.parse(), Ok(token));
        let swapped = format!("{}{}", &text[48..], &text[..48]);
        let twice = format!("{}{}", &text[..48], &text[..48]);
        let zero = "0".repeat(48);
        for wrong in [
            &swapped,
            &twice,
            &zero,
            &text.to_uppercase(),
            &text[1..],
            &text.replace('7', "é"),
            &text.replace('7', "+"),
        ] {
            assert_eq!(wrong.parse::<Token>(), Err(TokenError { length: wrong.len() }), "{wrong}");
        }
    }
}
