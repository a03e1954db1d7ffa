//! The keys of one file, packed.
//!
//! Owns the in-memory form of a million keys: 64 bytes each, the texts end to end, a hash table of
//! positions, and grants shared by all keys with the same ones. A segment is immutable except for
//! the times of last use, so a reload shares those of files that did not change. Knows the names of
//! peppers, never their secrets; never stores a key, never reads a file or the clock.

mod builder;
mod texts;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};

use hashbrown::HashTable;
use http::HeaderValue;
use subtle::ConstantTimeEq;

use crate::base::clock::UnixTime;
use crate::decide::api_key::KeyLimits;
use crate::decide::api_key::state::{KeyState, KeySummary};
use crate::decide::principal::Claims;
use crate::decide::rate_limit::Quota;
use crate::decide::scope::ScopeSet;

pub use builder::{Refused, SegmentBuilder};
use texts::{KeyTexts, TextChunks};

/// The most keys of one segment: more than one machine serves, and far below the limits of the
/// integers in here.
pub const KEYS_MAX: usize = 1 << 24;

/// A random key of this process for all segments: SipHash, so that slots cannot be targeted.
static HASHING: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The hash of a tag, the same in every segment.
#[derive(Clone, Copy, Debug)]
pub struct TagHash(u64);

impl TagHash {
    /// Hashes the bytes of a digest.
    #[must_use]
    pub fn of(tag: &[u8; 32]) -> Self {
        Self(HASHING.hash_one(tag))
    }

    /// For tables of other segments.
    pub(in crate::decide) fn get(self) -> u64 {
        self.0
    }
}

/// The keys of one file, indexed by digest.
#[derive(Default)]
pub struct KeySegment {
    keys: Vec<Key>,
    texts: TextChunks,
    grants: Vec<Arc<Grant>>,
    /// Digest methods, by [`Key::method`], as [`Digest::method`](super::Digest) names them.
    methods: Vec<Option<Box<str>>>,
    /// Positions in `keys`, by [`TagHash`].
    index: HashTable<u32>,
}

/// One key, packed into 64 bytes.
struct Key {
    tag: [u8; 32],
    not_before: Seconds,
    /// [`Seconds::NEVER`] when it does not expire.
    expires: Seconds,
    /// The address of its texts.
    texts: u32,
    /// Position in [`KeySegment::grants`].
    grant: u32,
    /// Its line in the key file.
    line: u32,
    column: u16,
    /// Seconds since the epoch; 0 is never.
    last_use: AtomicU32,
    method: u8,
    enabled: bool,
}

/// Seconds since the epoch in five bytes: enough for 34,000 years.
#[derive(Clone, Copy)]
struct Seconds([u8; 5]);

impl Seconds {
    const NEVER: Self = Self([0xff; 5]);

    fn at(at: UnixTime) -> Self {
        // The year 9999 is the last that can be written, so no instant is lost.
        let capped = at.0.min((1 << 40) - 2);
        let [a, b, c, d, e, ..] = capped.to_le_bytes();
        Self([a, b, c, d, e])
    }

    fn get(self) -> UnixTime {
        let [a, b, c, d, e] = self.0;
        UnixTime(u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]))
    }
}

/// The grant of a key, shared by all keys with the same one.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) scopes: Arc<ScopeSet>,
    /// The scopes as a header: the same bytes for every key.
    pub(super) scopes_value: Option<HeaderValue>,
    pub(super) claims: Arc<Claims>,
    limits: KeyLimits,
}

impl Grant {
    pub(super) fn quota(&self, limit: &str) -> Option<Quota> {
        self.limits.iter().find(|(name, _)| name.as_ref() == limit).map(|(_, quota)| *quota)
    }
}

/// One key of a segment.
#[derive(Clone, Copy)]
pub struct KeyView<'a> {
    segment: &'a KeySegment,
    key: &'a Key,
}

impl KeySegment {
    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns whether there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys in the order of the file.
    pub fn keys(&self) -> impl Iterator<Item = KeyView<'_>> {
        self.keys.iter().map(|key| KeyView { segment: self, key })
    }

    /// The key at a position.
    #[must_use]
    pub fn key(&self, slot: u32) -> Option<KeyView<'_>> {
        self.keys.get(slot as usize).map(|key| KeyView { segment: self, key })
    }

    /// The digests of the keys: the names of peppers, that of SHA-512, and `None` for SHA-256.
    pub(super) fn methods(&self) -> &[Option<Box<str>>] {
        &self.methods
    }

    /// The number of a digest method, if any key here uses it.
    pub(super) fn method(&self, name: Option<&str>) -> Option<u8> {
        let found = self.methods.iter().position(|known| known.as_deref() == name)?;
        u8::try_from(found).ok()
    }

    /// Finds a digest. Response times reveal nothing about the digests in here: positions depend on
    /// a random key, and bytes are compared in constant time.
    pub(super) fn find(&self, hash: TagHash, method: u8, tag: &[u8; 32]) -> Option<KeyView<'_>> {
        let same = |slot: &u32| {
            let key = &self.keys[*slot as usize];
            key.method == method && bool::from(key.tag.ct_eq(tag))
        };
        self.key(*self.index.find(hash.0, same)?)
    }

    /// The key with the same digest as that of another segment.
    #[must_use]
    pub(crate) fn same_digest(&self, other: KeyView<'_>) -> Option<KeyView<'_>> {
        let method = self.method(other.method())?;
        self.find(TagHash::of(&other.key.tag), method, &other.key.tag)
    }

    /// Every key that has a quota for a limit which is not `known`, with the name of the limit.
    pub(crate) fn unknown_limits<'a>(
        &'a self,
        known: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = (KeyView<'a>, &'a str)> {
        let names = |grant: &'a Grant| grant.limits.iter().map(|(name, _)| name.as_ref());
        let grants = self.grants.iter().enumerate();
        let unknown = move |(index, grant): (usize, &'a Arc<Grant>)| {
            let name = names(grant).find(|name| !known(name))?;
            Some((u32::try_from(index).ok()?, name))
        };
        // Usually empty, so that keys are only searched when there is something to find.
        let unknown: Vec<(u32, &str)> = grants.filter_map(unknown).collect();
        let keys = if unknown.is_empty() { &[] } else { self.keys.as_slice() };
        keys.iter().filter_map(move |key| {
            let found = unknown.binary_search_by_key(&key.grant, |(index, _)| *index).ok()?;
            Some((KeyView { segment: self, key }, unknown[found].1))
        })
    }
}

/// Only the number of keys: ids and digests are not for logs.
impl fmt::Debug for KeySegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySegment").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

/// Nothing: see [`KeySegment`].
impl fmt::Debug for KeyView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyView").finish_non_exhaustive()
    }
}

impl<'a> KeyView<'a> {
    /// The key's id.
    #[must_use]
    pub fn id(self) -> &'a str {
        self.texts().id
    }

    /// Its digest.
    fn method(self) -> Option<&'a str> {
        self.segment.methods[usize::from(self.key.method)].as_deref()
    }

    /// Its digest, if that is a bare SHA-256.
    #[must_use]
    pub(crate) fn sha256(self) -> Option<&'a [u8; 32]> {
        self.method().is_none().then_some(&self.key.tag)
    }

    /// A hash of the whole digest, for comparing segments.
    #[must_use]
    pub(crate) fn digest_hash(self) -> u64 {
        HASHING.hash_one((self.method(), &self.key.tag))
    }

    /// Returns whether two keys have the same digest under the same pepper.
    #[must_use]
    pub(crate) fn has_digest_of(self, other: KeyView<'_>) -> bool {
        self.key.tag == other.key.tag && self.method() == other.method()
    }

    /// Its line in the file, from 1.
    #[must_use]
    pub fn line(self) -> u32 {
        self.key.line
    }

    /// Its column in the file, from 1.
    #[must_use]
    pub fn column(self) -> u32 {
        self.key.column.into()
    }

    /// The address of the entry in memory, unique while the segment lives.
    pub(super) fn place(self) -> usize {
        std::ptr::from_ref(self.key).addr()
    }

    /// Id, name and subject.
    pub(super) fn texts(self) -> KeyTexts<'a> {
        self.segment.texts.read(self.key.texts)
    }

    /// Its grant.
    pub(super) fn grant(self) -> &'a Arc<Grant> {
        &self.segment.grants[self.key.grant as usize]
    }

    /// Its state at `now`.
    #[must_use]
    pub fn state(self, now: UnixTime) -> KeyState {
        KeyState::of(self.key.enabled, Some(self.not_before()), self.expires(), now)
    }

    /// Start of its validity; the epoch if unlimited.
    pub(super) fn not_before(self) -> UnixTime {
        self.key.not_before.get()
    }

    /// End of its validity.
    pub(super) fn expires(self) -> Option<UnixTime> {
        (self.key.expires.0 != Seconds::NEVER.0).then(|| self.key.expires.get())
    }

    /// Time of last use.
    #[must_use]
    pub fn last_use(self) -> Option<UnixTime> {
        let seconds = self.key.last_use.load(Ordering::Relaxed);
        (seconds != 0).then(|| UnixTime(seconds.into()))
    }

    /// Records a use. Reads first: otherwise all cores would contend for the cache line of a busy
    /// key, and once a second is enough. A clock that steps back undoes no use.
    pub(super) fn touch(self, now: UnixTime) {
        let seconds = u32::try_from(now.0).unwrap_or(u32::MAX);
        if self.key.last_use.load(Ordering::Relaxed) < seconds {
            self.key.last_use.fetch_max(seconds, Ordering::Relaxed);
        }
    }

    /// The summary for `/status`.
    pub(super) fn summary(self, now: UnixTime) -> KeySummary<'a> {
        let texts = self.texts();
        KeySummary {
            id: texts.id,
            name: texts.name,
            state: self.state(now),
            expires: self.expires(),
            last_use: self.last_use(),
        }
    }
}

#[cfg(test)]
mod tests;
