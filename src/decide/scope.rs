//! Scopes (RFC 6749 section 3.3).
//!
//! Owns the syntax of scope tokens and set operations on scopes. Never knows the scopes of routes.

use std::fmt;

use thiserror::Error;

/// A text that is not a scope token.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "{0:?} is not a scope token: visible ASCII without space, \" and \\ is accepted (RFC 6749 section 3.3)"
)]
pub struct ScopeError(pub String);

/// A set of scope tokens, sorted and without repeats. Usually a handful, so a sorted slice beats
/// a hash set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ScopeSet(Box<[Box<str>]>);

impl ScopeSet {
    /// Builds a set from tokens, each checked.
    ///
    /// # Errors
    /// [`ScopeError`] with the first text that is not a scope token.
    pub(crate) fn from_tokens<'a>(
        tokens: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ScopeError> {
        let mut set = Vec::new();
        for token in tokens {
            if !is_scope_token(token) {
                return Err(ScopeError(token.to_owned()));
            }
            set.push(Box::from(token));
        }
        set.sort_unstable();
        set.dedup();
        Ok(Self(set.into()))
    }

    /// Reads the wire form, tokens separated by single spaces. Surplus spaces are tolerated,
    /// because issuers differ and an empty token can grant nothing.
    ///
    /// # Errors
    /// [`ScopeError`] with the first text that is not a scope token.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        Self::from_tokens(text.split(' ').filter(|token| !token.is_empty()))
    }

    /// Returns whether `token` is in the set, byte for byte.
    #[must_use]
    pub fn contains(&self, token: &str) -> bool {
        self.0.binary_search_by(|have| have.as_ref().cmp(token)).is_ok()
    }

    /// Returns whether every scope of `wanted` is in this set.
    #[must_use]
    pub(crate) fn contains_all(&self, wanted: &Self) -> bool {
        wanted.iter().all(|token| self.contains(token))
    }

    /// Returns whether at least one scope of `wanted` is in this set.
    #[must_use]
    pub(crate) fn contains_any(&self, wanted: &Self) -> bool {
        wanted.iter().any(|token| self.contains(token))
    }

    /// The scopes in both sets: what is left of a grant under a cap.
    #[must_use]
    pub fn intersection(&self, cap: &Self) -> Self {
        Self(self.0.iter().filter(|token| cap.contains(token)).cloned().collect())
    }

    /// The scopes of either set.
    #[must_use]
    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut all: Vec<_> = self.0.iter().chain(&*other.0).cloned().collect();
        all.sort_unstable();
        all.dedup();
        Self(all.into())
    }

    /// The tokens in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// Returns whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The wire form: tokens separated by single spaces, in order.
impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, token) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(token)?;
        }
        Ok(())
    }
}

/// `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )` (RFC 6749 appendix A.4).
fn is_scope_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_token_is_what_the_rfc_says() {
        assert_eq!(ScopeSet::parse("write read read").unwrap().to_string(), "read write");
        assert!(ScopeSet::parse("").unwrap().is_empty());
        for wrong in ["", "a b", "a\"b", "a\\b", "a\tb", "é", "a\n"] {
            assert!(ScopeSet::from_tokens([wrong]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn membership_is_byte_exact() {
        let set = ScopeSet::parse("orders:read orders").unwrap();
        assert!(set.contains("orders") && set.contains("orders:read"));
        assert!(!set.contains("Orders") && !set.contains("orders:") && !set.contains(""));
        assert!(set.contains_all(&ScopeSet::default()));
        assert!(!set.contains_any(&ScopeSet::default()));
    }
}
