//! Payloads: values, and values that are kept as they came.
//!
//! Releases of an application may differ in the type of a register: another type altogether, one more variant, one more field.
//! What a release cannot say in its own type it keeps and passes on byte by byte, so no release takes anything from another,
//! and all replicas hold the same.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::wire::decode::{Decoder, ValueOrBytes};
use crate::wire::error::DecodeError;

/// What a live entry of a cell holds.
#[derive(Clone, Debug)]
pub(crate) enum Payload<T> {
    /// A value of the type that this release has here.
    Typed(T),
    /// What another release wrote here, of a type that cannot say all of it.
    AsCame(Box<AsCame<T>>),
}

/// A value as it came: in MessagePack, to be passed on and compared as just that.
#[derive(Clone, Debug)]
pub(crate) struct AsCame<T> {
    pub(crate) bytes: Box<[u8]>,
    /// What this release reads of it; `None` if it cannot.
    pub(crate) value: Option<T>,
}

impl<T: Serialize + DeserializeOwned> Payload<T> {
    /// Reads a payload from a message.
    #[inline]
    pub(crate) fn read(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(match decoder.value_or_bytes()? {
            ValueOrBytes::Value(value) => Self::Typed(value),
            ValueOrBytes::Bytes(bytes, value) => {
                decoder.room::<AsCame<T>>(1)?;
                Self::AsCame(Box::new(AsCame { bytes: bytes.into(), value }))
            }
        })
    }
}

impl<T> Payload<T> {
    pub(crate) fn view(&self) -> View<'_, T> {
        match self {
            Self::Typed(value) => View::Typed(value),
            Self::AsCame(came) => View::AsCame(came),
        }
    }
}

/// A payload where it stands: that of the common cell stands there bare.
#[derive(Debug)]
pub(crate) enum View<'a, T> {
    Typed(&'a T),
    AsCame(&'a AsCame<T>),
}

impl<'a, T> View<'a, T> {
    /// What this release reads of it.
    pub(crate) fn value(self) -> Option<&'a T> {
        match self {
            Self::Typed(value) => Some(value),
            Self::AsCame(came) => came.value.as_ref(),
        }
    }
}

impl<'a, T: Serialize> View<'a, T> {
    /// What it is written as. What cannot be written is nothing.
    pub(crate) fn bytes(self) -> Cow<'a, [u8]> {
        match self {
            Self::Typed(value) => Cow::Owned(rmp_serde::to_vec(value).unwrap_or_default()),
            Self::AsCame(came) => Cow::Borrowed(&came.bytes),
        }
    }
}
