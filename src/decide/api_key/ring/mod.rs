//! All keys of all files, found by digest.
//!
//! Owns the look-up: one SHA-256, one SHA-512 and one HMAC per pepper, as far as they are in use,
//! then a hash table per file, independent of the number of keys. The tables are hashed with
//! a random key of this process and the digests are compared in constant time, so that response
//! times reveal nothing
//! about which digests exist. The keys themselves are in [`KeySegment`]s, which rings share. A key
//! may have several entries, one for each digest method: a key that one of them refuses is refused.
//! Never stores a key, never reads a file or the clock.

mod principals;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;

use crate::base::clock::UnixTime;
use crate::base::secret::Secret;
use crate::decide::api_key::digest::{self, BARE_KEY_BYTES_MIN, KEY_BYTES_MAX, KeyText};
use crate::decide::api_key::format::{self, Form};
use crate::decide::api_key::segment::{Grant, KeySegment, KeyView, SegmentBuilder, TagHash};
use crate::decide::api_key::state::{KeyState, KeySummary};
use crate::decide::api_key::{KeyEntry, KeyError};
use crate::decide::identity::IdentityHeaderName;
use crate::decide::principal::Principal;
use crate::decide::rate_limit::Quota;

use principals::Principals;

/// Peppers by name: the HMAC keys of `hmac-sha256` digests.
pub type Peppers = HashMap<Box<str>, Secret<Vec<u8>>>;

/// A key that was found and is valid now.
#[derive(Clone, Debug)]
#[must_use]
pub struct VerifiedKey {
    principal: Arc<Principal>,
    /// That of a key file; the store has no quotas.
    grant: Option<Arc<Grant>>,
    /// Ids of further entries of the key, usually none.
    others: Box<[Arc<str>]>,
    /// Its end, if that is near.
    soon: Option<UnixTime>,
}

/// Seconds before the end of a credential in which answers announce it.
const SOON: u64 = 14 * 86_400;

/// An end that is less than 14 days away.
pub(in crate::decide) fn soon(end: UnixTime, now: UnixTime) -> Option<UnixTime> {
    (end.0 < now.0.saturating_add(SOON)).then_some(end)
}

impl VerifiedKey {
    /// A credential of the store, which the caller has found valid.
    pub(in crate::decide) fn stored(principal: Arc<Principal>, soon: Option<UnixTime>) -> Self {
        Self { principal, grant: None, others: Box::default(), soon }
    }

    /// Its end, if that is less than 14 days away.
    #[must_use]
    pub fn expires_soon(&self) -> Option<UnixTime> {
        self.soon
    }

    /// It is of the store alone, in no key file.
    pub(in crate::decide) fn is_stored(&self) -> bool {
        self.grant.is_none()
    }

    /// The same key, which has other entries as well.
    pub(in crate::decide) fn and(mut self, other: &Self) -> Self {
        let others = self.others.iter().cloned().chain(other.ids().map(Arc::from));
        self.others = others.collect();
        self.soon = self.soon.into_iter().chain(other.soon).min();
        self
    }

    /// The principal of the key.
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// The ids of every entry of the key, the decisive one first: revoking any of them revokes the
    /// key.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.principal.credential_id().into_iter().chain(self.others.iter().map(AsRef::as_ref))
    }

    /// The key's own quota for the limit of that name, which replaces the route's.
    #[must_use]
    pub fn quota(&self, limit: &str) -> Option<Quota> {
        self.grant.as_ref()?.quota(limit)
    }
}

/// All keys: immutable except for the times of last use, compiled into a snapshot.
#[derive(Default)]
pub struct KeyRing {
    segments: Box<[Arc<KeySegment>]>,
    methods: Box<[Method]>,
    principals: Principals,
}

/// A digest method that at least one entry uses.
struct Method {
    digesting: Digesting,
    /// Its number in each segment that uses it.
    numbers: Box<[Option<u8>]>,
}

enum Digesting {
    Sha256,
    Sha512,
    Hmac(Box<hmac::Key>),
}

impl KeyRing {
    /// Builds a ring of one segment with these entries. Ids and digests are unique (the
    /// configuration checks that); of two equal ones the first counts.
    #[must_use]
    pub fn new(
        entries: Vec<KeyEntry>,
        peppers: &Peppers,
        claim_headers: &[(Box<str>, IdentityHeaderName)],
    ) -> Self {
        let mut builder = SegmentBuilder::with_capacity(entries.len());
        for entry in entries {
            // Only repeated entries and those beyond the maximum of a key file are refused.
            let _ = builder.push(entry, 0, 0);
        }
        Self::of_segments(vec![Arc::new(builder.finish())], peppers, claim_headers)
    }

    /// Builds a ring of segments in which every id and digest is unique. An entry whose pepper is
    /// not in `peppers` never matches. `claim_headers` are the claims of a key that become headers,
    /// by claim name.
    #[must_use]
    pub fn of_segments(
        segments: Vec<Arc<KeySegment>>,
        peppers: &Peppers,
        claim_headers: &[(Box<str>, IdentityHeaderName)],
    ) -> Self {
        let principals = Principals::new(&segments, claim_headers);
        Self { methods: methods(&segments, peppers), segments: segments.into(), principals }
    }

    /// The keys of each file, in the order of the configuration.
    #[must_use]
    pub fn segments(&self) -> &[Arc<KeySegment>] {
        &self.segments
    }

    /// Verifies a presented key: one hash, and one per pepper in use, independent of the number of
    /// keys. An attacker would try to learn from response times which keys nearly exist: no timing
    /// depends on how much of a digest matches. A key that was imported under two digests has two
    /// entries and is valid if both are; its principal is that of the first.
    ///
    /// # Errors
    /// [`KeyError`]: malformed, unknown, or known and not valid now.
    pub fn verify(&self, presented: &str, now: UnixTime) -> Result<VerifiedKey, KeyError> {
        self.verify_text(&KeyText::new(presented), now)
    }

    /// As [`Self::verify`], with a digest that other tables ask for as well.
    pub(in crate::decide) fn verify_text(
        &self,
        presented: &KeyText<'_>,
        now: UnixTime,
    ) -> Result<VerifiedKey, KeyError> {
        match format::check(presented.text) {
            Form::Bad(_) => return Err(KeyError::Malformed),
            Form::Good(_) | Form::NotOurs => {}
        }
        let mut found = self.find(presented);
        let key = found.next().ok_or(KeyError::Unknown)?;
        let others: Vec<_> = found.collect();
        let all = || std::iter::once(key).chain(others.iter().copied());
        all().try_for_each(|key| check(key, now))?;
        let principal = self.principals.of(key)?;
        all().for_each(|key| key.touch(now));
        Ok(VerifiedKey {
            principal,
            grant: Some(Arc::clone(key.grant())),
            others: others.iter().map(|other| other.id().into()).collect(),
            soon: all().filter_map(KeyView::expires).min().and_then(|end| soon(end, now)),
        })
    }

    /// The id of the entry with this bare SHA-256, if there is one.
    #[must_use]
    pub fn id_of_sha256(&self, digest: &[u8; 32]) -> Option<&str> {
        let hash = TagHash::of(digest);
        let found = self
            .segments
            .iter()
            .find_map(|segment| segment.find(hash, segment.method(None)?, digest));
        found.map(KeyView::id)
    }

    /// The number of keys by state at `now`, in the order of [`KeyState::ALL`]: active, disabled,
    /// expired, not yet valid.
    #[must_use]
    pub fn count(&self, now: UnixTime) -> [usize; 4] {
        let mut counts = [0; 4];
        for key in self.keys() {
            let state = key.state(now);
            for (count, each) in counts.iter_mut().zip(KeyState::ALL) {
                *count += usize::from(state == each);
            }
        }
        counts
    }

    /// The summary of every key, in the order of the files.
    pub fn summaries(&self, now: UnixTime) -> impl Iterator<Item = KeySummary<'_>> {
        self.keys().map(move |key| key.summary(now))
    }

    /// Copies the times of last use from the previous ring. A key is the same if its id and its
    /// digest are. Segments that both rings share need no copying.
    pub fn carry_last_use(&self, old: &Self) {
        let is_in = |segment: &Arc<KeySegment>, ring: &Self| {
            ring.segments.iter().any(|other| Arc::ptr_eq(other, segment))
        };
        let new: Vec<_> = self.segments.iter().filter(|segment| !is_in(segment, old)).collect();
        // A key may have moved to another file, so segments that stay are searched, too.
        for key in old.keys() {
            let Some(used) = key.last_use() else { continue };
            let same = new.iter().find_map(|segment| segment.same_digest(key));
            if let Some(same) = same.filter(|same| same.id() == key.id()) {
                same.touch(used);
            }
        }
    }

    fn keys(&self) -> impl Iterator<Item = KeyView<'_>> {
        self.segments.iter().flat_map(|segment| segment.keys())
    }

    /// Every entry of a presented key: at most one for each digest method.
    fn find<'r>(&'r self, presented: &KeyText<'_>) -> impl Iterator<Item = KeyView<'r>> {
        let methods =
            if presented.text.len() > KEY_BYTES_MAX { &[][..] } else { &self.methods[..] };
        methods.iter().filter_map(move |method| {
            let tag = method.digesting.tag(presented)?;
            let hash = TagHash::of(&tag);
            let segments = self.segments.iter().zip(&method.numbers);
            segments.into_iter().find_map(|(segment, number)| segment.find(hash, (*number)?, &tag))
        })
    }
}

/// Checks that an entry is valid at `now`.
fn check(key: KeyView<'_>, now: UnixTime) -> Result<(), KeyError> {
    let id = || key.id().into();
    match key.state(now) {
        KeyState::Active => Ok(()),
        KeyState::Disabled => Err(KeyError::Disabled { id: id() }),
        KeyState::NotYetValid => Err(KeyError::NotYetValid { id: id(), at: key.not_before() }),
        KeyState::Expired => Err(KeyError::Expired { id: id(), at: key.expires().unwrap_or(now) }),
    }
}

/// Only the number of keys: ids and digests are not for logs.
impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: usize = self.segments.iter().map(|segment| segment.len()).sum();
        f.debug_struct("KeyRing").field("keys", &keys).finish_non_exhaustive()
    }
}

impl Digesting {
    /// The digest of a presented key; `None` when this method must not be tried on it.
    fn tag(&self, presented: &KeyText<'_>) -> Option<[u8; 32]> {
        let text = presented.text;
        match self {
            // A short key could be found from its bare digest by brute force, so it never matches.
            Self::Sha256 | Self::Sha512 if text.len() < BARE_KEY_BYTES_MIN => None,
            Self::Sha256 => Some(presented.sha256()),
            Self::Sha512 => Some(digest::sha512_tag(text)),
            Self::Hmac(pepper) => Some(digest::hmac_tag(text, pepper)),
        }
    }
}

/// Every digest method that a segment uses and that these peppers allow.
fn methods(segments: &[Arc<KeySegment>], peppers: &Peppers) -> Box<[Method]> {
    let mut names: Vec<Option<&str>> = Vec::new();
    for name in segments.iter().flat_map(|segment| segment.methods()) {
        if !names.contains(&name.as_deref()) {
            names.push(name.as_deref());
        }
    }
    let method = |name: Option<&str>| {
        let digesting = match name {
            None => Digesting::Sha256,
            Some(digest::SHA512) => Digesting::Sha512,
            Some(pepper) => {
                let secret = peppers.get(pepper)?.expose();
                Digesting::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret)))
            }
        };
        let numbers = segments.iter().map(|segment| segment.method(name)).collect();
        Some(Method { digesting, numbers })
    };
    names.into_iter().filter_map(method).collect()
}

#[cfg(test)]
mod tests;
