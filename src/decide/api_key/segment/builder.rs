//! Construction of a segment, entry by entry.
//!
//! Owns the state that only construction needs: the ids and the grants so far, to be shared.
//! Entries come and go one at a time, so that a million of them are never in memory together.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use hashbrown::HashTable;
use serde_json::Value;
use thiserror::Error;

use super::texts::KeyTexts;
use super::{Grant, HASHING, KEYS_MAX, Key, KeySegment, KeyView, Seconds, TagHash};
use crate::base::header_text;
use crate::decide::api_key::{KeyEntry, KeyLimits};
use crate::decide::principal::Claims;
use crate::decide::scope::ScopeSet;

/// The most grants that are searched for an equal one. Grants beyond that number are seldom
/// repeated.
const SHARED_MAX: usize = 1 << 16;

/// A refused entry.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refused {
    /// A previous key has the id.
    #[error("duplicate id {0:?}: already used by the key in line {1}")]
    Id(Box<str>, u32),
    /// A previous key has the digest.
    #[error("duplicate digest: the same key as {0:?}")]
    Digest(Box<str>),
    /// Too many keys, peppers or texts.
    #[error("too many keys: at most {KEYS_MAX} are accepted in one file")]
    Full,
}

/// A segment under construction.
#[derive(Default)]
#[expect(missing_debug_implementations, reason = "it is never kept")]
pub struct SegmentBuilder {
    segment: KeySegment,
    /// Positions by id.
    ids: HashTable<u32>,
    /// Positions of grants that have scopes only.
    plain: HashMap<Arc<ScopeSet>, u32>,
    /// Positions of all other grants, by their content.
    rich: HashMap<Box<str>, u32>,
}

impl SegmentBuilder {
    /// Reserves room for this many keys: growing would take twice the memory.
    #[must_use]
    pub(crate) fn with_capacity(keys: usize) -> Self {
        let keys = keys.min(KEYS_MAX);
        let mut builder = Self::default();
        builder.segment.keys.reserve_exact(keys);
        builder.segment.index = HashTable::with_capacity(keys);
        builder.ids = HashTable::with_capacity(keys);
        builder
    }

    /// Adds an entry found at this line and column.
    ///
    /// # Errors
    /// [`Refused`]; the segment is unchanged.
    pub fn push(&mut self, entry: KeyEntry, line: u32, column: u32) -> Result<(), Refused> {
        let slot = self.segment.keys.len();
        if slot >= KEYS_MAX {
            return Err(Refused::Full);
        }
        let slot = u32::try_from(slot).map_err(|_| Refused::Full)?;
        if let Some(before) = self.find_id(&entry.id) {
            return Err(Refused::Id(before.id().into(), before.line()));
        }
        let method = self.method(entry.digest.method()).ok_or(Refused::Full)?;
        let tag = *entry.digest.tag();
        let hash = TagHash::of(&tag);
        if let Some(before) = self.segment.find(hash, method, &tag) {
            return Err(Refused::Digest(before.id().into()));
        }
        let default = entry.subject.strip_prefix("key:") == Some(&*entry.id);
        let texts = KeyTexts {
            id: &entry.id,
            name: entry.name.as_deref(),
            subject: (!default).then_some(&*entry.subject),
        };
        let texts = self.segment.texts.push(texts).ok_or(Refused::Full)?;
        let grant = self.grant(entry.scopes, entry.claims, entry.limits).ok_or(Refused::Full)?;
        self.segment.keys.push(Key {
            tag,
            not_before: Seconds::at(entry.not_before.unwrap_or_default()),
            expires: entry.expires.map_or(Seconds::NEVER, Seconds::at),
            texts,
            grant,
            line,
            column: u16::try_from(column).unwrap_or(u16::MAX),
            last_use: AtomicU32::new(0),
            method,
            enabled: entry.enabled,
        });
        self.index(slot, hash, &entry.id);
        Ok(())
    }

    fn index(&mut self, slot: u32, hash: TagHash, id: &str) {
        let segment = &mut self.segment;
        let (keys, texts) = (&segment.keys, &segment.texts);
        let tag_hash = |slot: &u32| TagHash::of(&keys[*slot as usize].tag).0;
        segment.index.insert_unique(hash.0, slot, tag_hash);
        let id_hash = |slot: &u32| HASHING.hash_one(texts.read(keys[*slot as usize].texts).id);
        self.ids.insert_unique(HASHING.hash_one(id), slot, id_hash);
    }

    /// The key that already has an id.
    fn find_id(&self, id: &str) -> Option<KeyView<'_>> {
        let same = |slot: &u32| self.segment.key(*slot).is_some_and(|key| key.id() == id);
        self.segment.key(*self.ids.find(HASHING.hash_one(id), same)?)
    }

    /// The number of a digest method; `None` when there are too many.
    fn method(&mut self, name: Option<&str>) -> Option<u8> {
        if let Some(number) = self.segment.method(name) {
            return Some(number);
        }
        let number = u8::try_from(self.segment.methods.len()).ok()?;
        self.segment.methods.push(name.map(Box::from));
        Some(number)
    }

    fn grant(
        &mut self,
        scopes: Arc<ScopeSet>,
        claims: Arc<Claims>,
        limits: KeyLimits,
    ) -> Option<u32> {
        let next = u32::try_from(self.segment.grants.len()).ok()?;
        let is_plain = claims.as_map().is_empty() && limits.is_empty();
        let says = if is_plain { Box::default() } else { says(&scopes, &claims, &limits) };
        let before = if is_plain { self.plain.get(&scopes) } else { self.rich.get(&says) };
        if let Some(before) = before {
            return Some(*before);
        }
        if is_plain && self.plain.len() < SHARED_MAX {
            self.plain.insert(Arc::clone(&scopes), next);
        } else if !is_plain && self.rich.len() < SHARED_MAX {
            self.rich.insert(says, next);
        }
        let scopes_value =
            (!scopes.is_empty()).then(|| header_text::encode_list(scopes.iter(), b' '));
        let claims = if claims.as_map().is_empty() { Claims::none() } else { claims };
        self.segment.grants.push(Arc::new(Grant { scopes, scopes_value, claims, limits }));
        Some(next)
    }

    /// Finishes the segment.
    #[must_use]
    pub fn finish(mut self) -> KeySegment {
        let segment = &mut self.segment;
        // Shrinking would take twice the memory for a moment, to save that of a few comment lines.
        if segment.keys.capacity() > segment.keys.len() + segment.keys.len() / 16 {
            segment.keys.shrink_to_fit();
        }
        segment.grants.shrink_to_fit();
        segment.texts.shrink();
        self.segment
    }
}

/// The content of a grant, as a key for finding an equal one.
fn says(scopes: &ScopeSet, claims: &Claims, limits: &KeyLimits) -> Box<str> {
    let claims = Value::from(claims.as_map().clone());
    format!("{scopes}\n{claims}\n{limits:?}").into()
}
