//! Revoked targets, found by hash.
//!
//! Owns [`RevocationSet`]: a published version never changes, and the next one shares all but one
//! part in 256 with it, so that one more entry among a million costs no copy of the million. Never
//! knows the origin of entries.

use std::array;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use crate::base::clock::UnixTime;
use crate::decide::jwt::VerifiedToken;
use crate::decide::principal::API_KEY_ISSUER;
use crate::decide::revocation::{Entry, Kind, TargetRef};

/// A change copies one of them.
const SHARDS: usize = 256;

/// Bits in which the hashes of two kinds with the same issuer and value differ, in the order of
/// [`Kind::ALL`]: digits of pi.
const KIND_BITS: [u64; 6] = [
    0x243f_6a88_85a3_08d3,
    0x1319_8a2e_0370_7344,
    0xa409_3822_299f_31d0,
    0x082e_fa98_ec4e_6c89,
    0x4528_21e6_38d0_1377,
    0xbe54_66cf_34e9_0c6c,
];

/// The facts of a token that can be revoked.
#[derive(Clone, Copy, Debug)]
pub struct TokenFacts<'a> {
    /// `iss`.
    pub issuer: &'a str,
    /// The configured template that `iss` matches.
    pub template: Option<&'a str>,
    /// `sub`.
    pub subject: &'a str,
    /// `client_id`, else `azp`.
    pub client: Option<&'a str>,
    /// `jti`.
    pub jti: Option<&'a str>,
    /// The id of the key that signed it.
    pub kid: Option<&'a str>,
    /// `iat`.
    pub issued: Option<UnixTime>,
}

impl<'a> TokenFacts<'a> {
    /// Those of a verified token.
    #[must_use]
    pub fn of(token: &'a VerifiedToken) -> Self {
        let principal = token.principal();
        Self {
            issuer: principal.issuer(),
            template: principal.issuer_template(),
            subject: principal.subject(),
            client: principal.client_id(),
            jti: principal.credential_id(),
            kid: token.kid(),
            issued: token.issued(),
        }
    }
}

/// Entries by target.
#[derive(Clone, Debug)]
pub struct RevocationSet {
    shards: Box<[Arc<HashTable<Arc<Entry>>>]>,
    /// In the order of [`Kind::ALL`]: kinds without entries are not looked up.
    counts: [usize; 6],
    /// Targets are partly the callers' choice, so hashes must not be predictable.
    hashing: RandomState,
}

impl Default for RevocationSet {
    fn default() -> Self {
        let empty: Arc<HashTable<Arc<Entry>>> = Arc::default();
        let shards: [_; SHARDS] = array::from_fn(|_| Arc::clone(&empty));
        Self { shards: Box::new(shards), counts: [0; 6], hashing: RandomState::default() }
    }
}

impl RevocationSet {
    /// The first entry that revokes a token.
    #[must_use]
    pub(crate) fn find_token(&self, token: &TokenFacts<'_>, now: UnixTime) -> Option<&Arc<Entry>> {
        if self.is_empty() {
            return None;
        }
        // Issuer and value are hashed once, for all kinds of that value.
        let asked: [(&[Kind], Option<&str>); 5] = [
            (&[Kind::Jti], token.jti),
            (&[Kind::Subject, Kind::IssuedBefore], Some(token.subject)),
            (&[Kind::Client], token.client),
            (&[Kind::Kid], token.kid),
            (&[Kind::IssuedBefore], Some("")),
        ];
        let mut issuers = std::iter::once(token.issuer).chain(token.template);
        issuers.find_map(|issuer| {
            let issuer_hash = self.hashing.hash_one(issuer);
            asked.into_iter().find_map(|(kinds, value)| {
                let value = value?;
                let mut kinds = kinds.iter().filter(|kind| self.count(**kind) > 0).peekable();
                kinds.peek()?;
                let hash = self.value_hash(issuer_hash, value);
                kinds.find_map(|kind| {
                    let entry = self.probe(TargetRef { kind: *kind, issuer, value }, hash)?;
                    entry.hits(token.issued, now).then_some(entry)
                })
            })
        })
    }

    /// The entry that revokes an API key.
    #[must_use]
    pub(crate) fn find_key(&self, id: &str, now: UnixTime) -> Option<&Arc<Entry>> {
        let target = TargetRef { kind: Kind::Key, issuer: API_KEY_ISSUER, value: id };
        self.find(target).filter(|entry| entry.holds(now))
    }

    /// The entry that revokes what the issuer gave to a subject, other than tokens with a time of
    /// issue: keys and personal access tokens of its store.
    #[must_use]
    pub(crate) fn find_subject(
        &self,
        issuer: &str,
        subject: &str,
        now: UnixTime,
    ) -> Option<&Arc<Entry>> {
        let target = TargetRef { kind: Kind::Subject, issuer, value: subject };
        self.find(target).filter(|entry| entry.holds(now))
    }

    /// The entry of a target, ended or not.
    #[must_use]
    pub fn find(&self, target: TargetRef<'_>) -> Option<&Arc<Entry>> {
        if self.count(target.kind) == 0 {
            return None;
        }
        let hash = self.value_hash(self.hashing.hash_one(target.issuer), target.value);
        self.probe(target, hash)
    }

    /// The entry of a target, whose issuer and value have this hash.
    fn probe(&self, target: TargetRef<'_>, hash: u64) -> Option<&Arc<Entry>> {
        let (shard, hash) = place(target.kind, hash);
        self.shards[shard].find(hash, |entry| entry.target.as_ref() == target)
    }

    /// Adds an entry, or replaces the one with its target.
    pub fn put(&mut self, entry: Arc<Entry>) {
        let target = entry.target.as_ref();
        let (shard, hash) = self.place(target);
        let hashing = self.hashing.clone();
        let rehash = |entry: &Arc<Entry>| place_in(&hashing, entry.target.as_ref()).1;
        let shard = Arc::make_mut(&mut self.shards[shard]);
        match shard.find_mut(hash, |other| other.target.as_ref() == target) {
            Some(other) => *other = entry,
            None => {
                self.counts[target.kind as usize] += 1;
                shard.insert_unique(hash, entry, rehash);
            }
        }
    }

    /// Adds an entry; an entry for the same target is merged.
    pub fn add(&mut self, entry: Entry) {
        let merged = self.merge(entry);
        self.put(merged);
    }

    /// The merged entry; the present one itself if the new one adds nothing.
    #[must_use]
    pub(crate) fn merge(&self, entry: Entry) -> Arc<Entry> {
        let Some(before) = self.find(entry.target.as_ref()) else { return Arc::new(entry) };
        let merged = before.merged(&entry);
        if merged == **before { Arc::clone(before) } else { Arc::new(merged) }
    }

    /// Removes the entry of a target.
    pub fn remove(&mut self, target: TargetRef<'_>) {
        let (shard, hash) = self.place(target);
        let shard = Arc::make_mut(&mut self.shards[shard]);
        if let Ok(found) = shard.find_entry(hash, |entry| entry.target.as_ref() == target) {
            found.remove();
            self.counts[target.kind as usize] -= 1;
        }
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts == [0; 6]
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts.iter().sum()
    }

    /// The number of entries of a kind.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        self.counts[kind as usize]
    }

    /// The number of parts that two versions share.
    #[cfg(test)]
    pub(crate) fn shared_with(&self, other: &Self) -> usize {
        self.shards.iter().zip(&other.shards).filter(|(a, b)| Arc::ptr_eq(a, b)).count()
    }

    fn place(&self, target: TargetRef<'_>) -> (usize, u64) {
        place_in(&self.hashing, target)
    }

    fn value_hash(&self, issuer_hash: u64, value: &str) -> u64 {
        value_hash(&self.hashing, issuer_hash, value)
    }
}

fn place_in(hashing: &RandomState, target: TargetRef<'_>) -> (usize, u64) {
    let issuer_hash = hashing.hash_one(target.issuer);
    place(target.kind, value_hash(hashing, issuer_hash, target.value))
}

fn value_hash(hashing: &RandomState, issuer_hash: u64, value: &str) -> u64 {
    let mut hasher = hashing.build_hasher();
    hasher.write_u64(issuer_hash);
    hasher.write(value.as_bytes());
    hasher.finish()
}

/// The shard of a target, and its hash there.
fn place(kind: Kind, hash: u64) -> (usize, u64) {
    let hash = hash ^ KIND_BITS[kind as usize];
    // Bits that the table itself does not look at first.
    (usize::from((hash >> 40) as u8), hash)
}

/// From scratch: in the order they come.
impl FromIterator<Entry> for RevocationSet {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut set = Self::default();
        entries.into_iter().for_each(|entry| set.add(entry));
        set
    }
}
