//! The name of a region, as transports tell peers apart by it.

use std::fmt;
use std::sync::Arc;

/// The name of a region: 1 to 63 lower case letters, digits and `-`, which neither begins nor ends it.
///
/// It is a label of a domain name, so that a certificate can bear it, and a token of a subject of NATS.
///
/// # Example
/// ```
/// use driftless_node::RegionName;
///
/// let eu = RegionName::new("eu-west")?;
/// assert_eq!(eu.as_str(), "eu-west");
/// assert!(RegionName::new("EU west").is_err());
/// # Ok::<(), driftless_node::BadRegion>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionName(Arc<str>);

impl RegionName {
    /// The most bytes of a name: those of a label of a domain name.
    pub const MOST_BYTES: usize = 63;

    /// A name.
    ///
    /// # Errors
    /// It is none. Nothing changed.
    pub fn new(name: &str) -> Result<Self, BadRegion> {
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_label = (1..=Self::MOST_BYTES).contains(&name.len())
            && name.bytes().all(is_allowed)
            && !name.starts_with('-')
            && !name.ends_with('-');
        if is_label {
            Ok(Self(name.into()))
        } else {
            Err(BadRegion { name: name.chars().take(Self::MOST_BYTES).collect() })
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RegionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The caller, a file, or a peer gave a name that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRegion {
    /// The name, or its beginning.
    pub name: String,
}

impl fmt::Display for BadRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no name of a region; nothing changed: use 1 to 63 lower case letters, digits and `-`, \
             with a letter or digit first and last",
            self.name
        )
    }
}

impl std::error::Error for BadRegion {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_label_of_a_domain_name() {
        let longest = "x".repeat(63);
        for good in ["eu", "a", "eu-west-1", "1", &longest] {
            assert_eq!(RegionName::new(good).map(|name| name.to_string()), Ok(good.to_owned()));
        }
        let too_long = "x".repeat(64);
        for bad in ["", "-eu", "eu-", "Eu", "eu.us", "eu_us", "eu us", "é", "*", &too_long] {
            assert!(RegionName::new(bad).is_err(), "{bad}");
        }
        assert_eq!(RegionName::new(&"é".repeat(100)).map_err(|error| error.name.chars().count()), Err(63));
    }
}
