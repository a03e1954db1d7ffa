//! The verification keys of one issuer, found by key id.
//!
//! Owns the choice of a key for a token (RFC 7517 section 5, the contract's "Keys of a JWT").
//! Immutable once read. Never fetches anything, and never tries one key after another.

use std::collections::HashMap;

use crate::decide::jwt::Algorithm;
use crate::decide::jwt::algorithm::KeyKind;
use crate::decide::jwt::key::VerifyingKey;
use crate::decide::jwt::key_file::{self, KeyFileFormat, KeyMistake};

/// The keys of one issuer, each bound to exactly one algorithm.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<VerifyingKey>,
    by_kid: HashMap<Box<str>, usize>,
}

impl KeySet {
    /// Reads a local key file. In a local file every unusable member is a mistake.
    ///
    /// # Errors
    /// Every mistake in the file, at most one for each member.
    pub fn parse(
        bytes: &[u8],
        format: KeyFileFormat,
        algorithms: &[Algorithm],
    ) -> Result<Self, Vec<KeyMistake>> {
        key_file::keys(bytes, format, algorithms).map(Self::new)
    }

    /// Reads a fetched JWK set: the fit keys, and why the others were skipped. Never an empty set.
    ///
    /// # Errors
    /// That it is not a JWK set, or holds no usable key.
    pub fn parse_remote(
        bytes: &[u8],
        algorithms: &[Algorithm],
    ) -> Result<(Self, Vec<KeyMistake>), KeyMistake> {
        key_file::remote_keys(bytes, algorithms).map(|(keys, skipped)| (Self::new(keys), skipped))
    }

    fn new(keys: Vec<VerifyingKey>) -> Self {
        let by_kid = keys
            .iter()
            .enumerate()
            .filter_map(|(index, key)| Some((Box::from(key.kid()?), index)))
            .collect();
        Self { keys, by_kid }
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.keys.iter()
    }

    /// Whether the other set has the same public keys, in whatever order: some key servers shuffle
    /// them, and a set that is the same must not undo what was verified under it.
    #[must_use]
    pub fn has_same_keys(&self, other: &Self) -> bool {
        let has = |set: &Self, key: &VerifyingKey| set.iter().any(|one| one.is_same(key));
        self.len() == other.len()
            && self.iter().all(|key| has(other, key))
            && other.iter().all(|key| has(self, key))
    }

    /// Whether the file these keys came from must not be readable by others.
    #[must_use]
    pub fn holds_secret(&self) -> bool {
        self.keys.iter().any(|key| key.algorithm().key_kind() == KeyKind::Secret)
    }

    /// The one key a token may be verified with. A token with a `kid` gets the key of that `kid`,
    /// or the only key there is if that has none; a token without gets the only key of its
    /// algorithm. What the caller must still check is that the key is bound to that algorithm.
    pub(super) fn choose(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<&VerifyingKey> {
        let Some(kid) = kid else {
            return only(
                self.keys.iter().filter(|key| key.algorithm().is_same_signature(algorithm)),
            );
        };
        match self.by_kid.get(kid) {
            Some(&index) => self.keys.get(index),
            None => only(self.keys.iter()).filter(|key| key.kid().is_none()),
        }
    }
}

fn only<T>(mut from: impl Iterator<Item = T>) -> Option<T> {
    let first = from.next()?;
    from.next().is_none().then_some(first)
}
