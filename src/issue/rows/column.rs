//! The types of columns.
//!
//! Owns the conversion of each type to and from a [`Value`]. A digest and a sealed secret have a
//! redacted Debug; never holds a secret in the clear.

use std::fmt;

use subtle::ConstantTimeEq;

use crate::base::clock::UnixTime;
use crate::base::sha256::sha256;
use crate::decide::scope::ScopeSet;
use crate::issue::rows::Value;

/// A type that a column can have.
pub trait Column: Sized {
    /// Writes it.
    fn to_value(&self) -> Value;
    /// Reads it; `None` if the value has another type.
    fn of(value: Value) -> Option<Self>;
}

/// The id of a person, an application, a credential or a grant. Not a secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub Box<str>);

impl Id {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Id {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The most secrets of an application that are live, and the least that are compared.
pub const SECRETS_COMPARED: usize = 2;

/// Compared where there is no secret.
const NO_SECRET: SecretDigest = SecretDigest([0; 32]);

/// SHA-256 of a secret that gatepost made.
#[derive(Clone, Copy, Eq)]
pub struct SecretDigest(pub [u8; 32]);

impl SecretDigest {
    /// The digest of a secret.
    #[must_use]
    pub fn of_secret(secret: &str) -> Self {
        Self(sha256(secret.as_bytes()))
    }

    /// Returns whether it is one of `live`. Makes at least `SECRETS_COMPARED` comparisons, so that
    /// an unknown client takes as long as a wrong secret.
    #[must_use]
    pub fn is_one_of(&self, live: &[Self]) -> bool {
        let compared = (0..live.len().max(SECRETS_COMPARED)).map(|at| {
            let is_live = at < live.len();
            (live.get(at).unwrap_or(&NO_SECRET) == self) & is_live
        });
        compared.fold(false, |found, is_equal| found | is_equal)
    }
}

/// In constant time.
impl PartialEq for SecretDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// Nothing of the digest.
impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest(..)")
    }
}

/// A secret as the SafeStore keeps it: a compact JWE.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(pub Box<str>);

/// Nothing of the record.
impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(..)")
    }
}

/// An argon2id hash as a PHC string; empty where a password was deleted with its person.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub Box<str>);

/// Nothing of the hash.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// A list of texts without line breaks: roles, redirect URIs, grant types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words(pub Box<[Box<str>]>);

impl Words {
    /// Returns whether `word` is in the list, byte for byte.
    #[must_use]
    pub fn contains(&self, word: &str) -> bool {
        self.0.iter().any(|one| &**one == word)
    }
}

impl<'a> FromIterator<&'a str> for Words {
    fn from_iter<I: IntoIterator<Item = &'a str>>(words: I) -> Self {
        Self(words.into_iter().map(Box::from).collect())
    }
}

impl<T: Column> Column for Option<T> {
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::to_value)
    }

    fn of(value: Value) -> Option<Self> {
        if value == Value::Null { Some(None) } else { T::of(value).map(Some) }
    }
}

impl Column for Box<str> {
    fn to_value(&self) -> Value {
        Value::Text(self.clone())
    }

    fn of(value: Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text),
            Value::Null | Value::Int(_) | Value::Bytes(_) => None,
        }
    }
}

impl Column for u64 {
    fn to_value(&self) -> Value {
        // Instants and counts: nothing reaches the limit.
        Value::Int(i64::try_from(*self).unwrap_or(i64::MAX))
    }

    fn of(value: Value) -> Option<Self> {
        match value {
            Value::Int(number) => Self::try_from(number).ok(),
            Value::Null | Value::Text(_) | Value::Bytes(_) => None,
        }
    }
}

impl Column for bool {
    fn to_value(&self) -> Value {
        Value::Int(i64::from(*self))
    }

    fn of(value: Value) -> Option<Self> {
        u64::of(value).filter(|number| *number < 2).map(|number| number == 1)
    }
}

impl Column for SecretDigest {
    fn to_value(&self) -> Value {
        Value::Bytes(Box::new(self.0))
    }

    fn of(value: Value) -> Option<Self> {
        match value {
            Value::Bytes(bytes) => (*bytes).try_into().ok().map(Self),
            Value::Null | Value::Int(_) | Value::Text(_) => None,
        }
    }
}

/// Types that are kept as a text or a number.
macro_rules! kept_as {
    ($($type:ty, $inner:ty, |$this:ident| $write:expr, |$read:ident| $parse:expr;)*) => {$(
        impl Column for $type {
            fn to_value(&self) -> Value {
                let $this = self;
                Column::to_value(&$write)
            }

            fn of(value: Value) -> Option<Self> {
                let $read = <$inner as Column>::of(value)?;
                $parse
            }
        }
    )*};
}
pub(super) use kept_as;

kept_as! {
    Id, Box<str>, |id| id.0, |text| Some(Self(text));
    Sealed, Box<str>, |sealed| sealed.0, |text| Some(Self(text));
    PasswordHash, Box<str>, |hash| hash.0, |text| Some(Self(text));
    UnixTime, u64, |at| at.0, |seconds| Some(Self(seconds));
    ScopeSet, Box<str>, |scopes| Box::<str>::from(scopes.to_string()), |text| Self::parse(&text).ok();
    Words, Box<str>, |words| Box::<str>::from(words.0.join("\n")),
        |text| Some(text.lines().collect());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r1115_a_secret_is_compared_with_every_live_one_and_with_as_many_for_no_client() {
        let digest = SecretDigest::of_secret;
        let live = [digest("old"), digest("new")];
        assert!(digest("old").is_one_of(&live) && digest("new").is_one_of(&live));
        assert!(!digest("other").is_one_of(&live));
        assert!(digest("old").is_one_of(&live[..1]) && !digest("new").is_one_of(&live[..1]));
        // The placeholder is no secret.
        assert!(!NO_SECRET.is_one_of(&[]));
        assert!(!NO_SECRET.is_one_of(&live[..1]));
    }
}
