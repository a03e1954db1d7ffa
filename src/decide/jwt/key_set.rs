//! The verification keys of one issuer, found by key id.
//!
//! Owns the choice of a key for a token (RFC 7517 section 5, the contract's "Keys of a JWT").
//! Immutable once read. Never fetches anything, and never tries one key after another.

use std::collections::HashMap;

use arc_swap::ArcSwap;

use crate::decide::jwt::Algorithm;
use crate::decide::jwt::algorithm::KeyKind;
use crate::decide::jwt::header::Header;
use crate::decide::jwt::key::VerifyingKey;
use crate::decide::jwt::key_file::{self, KeyFileFormat, KeyMistake, Sorted};

/// The keys of one issuer, each bound to exactly one algorithm.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<VerifyingKey>,
    /// One `kid` may name several keys, each of another algorithm.
    by_kid: HashMap<Box<str>, Vec<usize>>,
    skipped: Vec<KeyMistake>,
    weak: Vec<KeyMistake>,
}

/// A set that changes without a new snapshot: that of the issuer in this process.
pub type FollowedKeys = ArcSwap<KeySet>;

impl KeySet {
    /// Reads a local key file, with no keys in force.
    ///
    /// # Errors
    /// As [`Self::renewed`].
    pub fn parse(
        bytes: &[u8],
        format: KeyFileFormat,
        algorithms: &[Algorithm],
    ) -> Result<Self, Vec<KeyMistake>> {
        Self::default().renewed(bytes, format, algorithms)
    }

    /// Reads a local key file that takes the place of this set. Never an empty set; the members
    /// that are not used are in [`Self::skipped`].
    ///
    /// # Errors
    /// That it is no key file, or each of its members where none is usable.
    pub fn renewed(
        &self,
        bytes: &[u8],
        format: KeyFileFormat,
        algorithms: &[Algorithm],
    ) -> Result<Self, Vec<KeyMistake>> {
        key_file::keys(bytes, format, algorithms, self).map(Self::new)
    }

    /// Reads a fetched JWK set, with no keys in force.
    ///
    /// # Errors
    /// As [`Self::refreshed`].
    pub fn parse_remote(bytes: &[u8], algorithms: &[Algorithm]) -> Result<Self, KeyMistake> {
        Self::default().refreshed(bytes, algorithms)
    }

    /// Reads a fetched JWK set that takes the place of this one. Never an empty set; the members
    /// that are not used are in [`Self::skipped`].
    ///
    /// # Errors
    /// That it is not a JWK set, or holds no usable key.
    pub fn refreshed(&self, bytes: &[u8], algorithms: &[Algorithm]) -> Result<Self, KeyMistake> {
        key_file::remote_keys(bytes, algorithms, self).map(Self::new)
    }

    fn new((keys, skipped): Sorted) -> Self {
        let mut by_kid: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        for (index, key) in keys.iter().enumerate() {
            if let Some(kid) = key.kid() {
                by_kid.entry(Box::from(kid)).or_default().push(index);
            }
        }
        let weak = keys.iter().filter(|key| key.has_low_entropy()).map(weak).collect();
        Self { keys, by_kid, skipped, weak }
    }

    /// The members of the file or set that are not used, and secrets that look made up.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = &KeyMistake> {
        self.skipped.iter().chain(&self.weak)
    }

    /// The members of the file or set that are not used, and why.
    #[must_use]
    pub fn skipped(&self) -> &[KeyMistake] {
        &self.skipped
    }

    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.keys.iter()
    }

    /// Returns whether the other set has the same keys, in any order: some key servers shuffle them,
    /// and a set that is the same must not undo what was verified under it.
    #[must_use]
    pub fn has_same_keys(&self, other: &Self) -> bool {
        let has = |set: &Self, key: &VerifyingKey| {
            set.iter().any(|one| one.is_same(key) && one.states_the_same(key))
        };
        self.len() == other.len()
            && self.iter().all(|key| has(other, key))
            && other.iter().all(|key| has(self, key))
    }

    /// Returns whether this very key is in the set, under the same `kid` and algorithm.
    pub(super) fn contains(&self, key: &VerifyingKey) -> bool {
        self.iter().any(|one| one.is_same(key))
    }

    /// Returns whether the file of these keys must not be readable by others.
    #[must_use]
    pub fn holds_secret(&self) -> bool {
        self.keys.iter().any(|key| key.algorithm().key_kind() == KeyKind::Secret)
    }

    /// The one key a token may be verified with. A token with a `kid` gets the key of that `kid`
    /// and its algorithm, a key without `kid` that states the token's thumbprint, or the only key
    /// there is if that has no `kid`. A token without gets the key of its thumbprint, or the only
    /// one of its algorithm. The caller must still check that the key is bound to that algorithm.
    pub(super) fn choose(&self, header: &Header) -> Option<&VerifyingKey> {
        let Some(kid) = &header.kid else {
            return self.by_thumbprint(header, |_| true).or_else(|| self.only_of(header));
        };
        if let Some(named) = self.by_kid.get(&**kid) {
            let mut named = named.iter().filter_map(|&index| self.keys.get(index));
            let first = named.next()?;
            let fits = |key: &&VerifyingKey| is_of(key, header);
            return std::iter::once(first).chain(named).find(fits).or(Some(first));
        }
        let without_kid = |key: &VerifyingKey| key.kid().is_none();
        self.by_thumbprint(header, without_kid)
            .or_else(|| only(self.keys.iter()).filter(|key| without_kid(key)))
    }

    /// The key that states the thumbprint of a token's header; none where two keys do.
    fn by_thumbprint(
        &self,
        header: &Header,
        fits: impl Fn(&VerifyingKey) -> bool,
    ) -> Option<&VerifyingKey> {
        let states = |key: &&VerifyingKey| {
            let stated = key.thumbprints();
            names(&header.x5t_s256, &stated.sha256) || names(&header.x5t, &stated.sha1)
        };
        let keys = self.keys.iter().filter(|key| fits(key) && is_of(key, header));
        only_key(keys.filter(states))
    }

    /// The only key of a token's algorithm; of several, the only one without `kid`, which is in
    /// force only where it was before the others came.
    fn only_of(&self, header: &Header) -> Option<&VerifyingKey> {
        let keys = || self.keys.iter().filter(|key| is_of(key, header));
        let without_kid = || keys().filter(|key| key.kid().is_none() && !key.has_thumbprint());
        only(keys()).or_else(|| only(without_kid()))
    }
}

fn weak(key: &VerifyingKey) -> KeyMistake {
    KeyMistake {
        line: None,
        place: key.kid().unwrap_or_default().to_owned(),
        message:
            "is a secret of low entropy, a phrase or a repetition: generate one with `openssl \
             rand -base64 48`"
                .to_owned(),
    }
}

fn is_of(key: &VerifyingKey, header: &Header) -> bool {
    key.algorithm().is_same_signature(header.algorithm)
}

fn names(named: &Option<String>, stated: &Option<Box<str>>) -> bool {
    named.is_some() && named.as_deref() == stated.as_deref()
}

/// The only key, under however many names it is listed.
fn only_key<'a>(mut keys: impl Iterator<Item = &'a VerifyingKey>) -> Option<&'a VerifyingKey> {
    let first = keys.next()?;
    keys.all(|key| key.has_material_of(first)).then_some(first)
}

fn only<T>(mut from: impl Iterator<Item = T>) -> Option<T> {
    let first = from.next()?;
    from.next().is_none().then_some(first)
}
