//! A table of many parts, of which a change copies one.
//!
//! Owns [`Shards`]: a published version never changes, and the next one shares all other parts
//! with it. Never knows what its rows are for.

use std::array;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

/// A change copies one of them.
const SHARDS: usize = 256;

/// A row that is found by a part of it.
pub(super) trait Keyed {
    /// The key of the look-up.
    type Key: ?Sized + Hash + PartialEq;

    /// That part.
    fn key(&self) -> &Self::Key;
}

/// Rows by key.
pub(super) struct Shards<R> {
    shards: Box<[Arc<HashTable<Arc<R>>>]>,
    count: usize,
    /// Keys are partly the callers' choice, so hashes must not be predictable.
    hashing: RandomState,
}

/// Shares every part.
impl<R> Clone for Shards<R> {
    fn clone(&self) -> Self {
        let (shards, hashing) = (self.shards.clone(), self.hashing.clone());
        Self { shards, count: self.count, hashing }
    }
}

impl<R> Default for Shards<R> {
    fn default() -> Self {
        let empty: Arc<HashTable<Arc<R>>> = Arc::default();
        let shards: [_; SHARDS] = array::from_fn(|_| Arc::clone(&empty));
        Self { shards: Box::new(shards), count: 0, hashing: RandomState::default() }
    }
}

impl<R: Keyed> Shards<R> {
    pub(super) fn find(&self, key: &R::Key) -> Option<&Arc<R>> {
        if self.count == 0 {
            return None;
        }
        let (shard, hash) = self.place(key);
        self.shards[shard].find(hash, |row| row.key() == key)
    }

    /// Adds a row, or replaces the one with its key.
    pub(super) fn put(&mut self, row: Arc<R>) {
        let (shard, hash) = self.place(row.key());
        let hashing = self.hashing.clone();
        let shard = Arc::make_mut(&mut self.shards[shard]);
        match shard.find_mut(hash, |other| other.key() == row.key()) {
            Some(other) => *other = row,
            None => {
                self.count += 1;
                shard.insert_unique(hash, row, |row| hashing.hash_one(row.key()));
            }
        }
    }

    pub(super) fn remove(&mut self, key: &R::Key) {
        let (shard, hash) = self.place(key);
        if self.shards[shard].find(hash, |row| row.key() == key).is_none() {
            return;
        }
        let shard = Arc::make_mut(&mut self.shards[shard]);
        if let Ok(found) = shard.find_entry(hash, |row| row.key() == key) {
            found.remove();
            self.count -= 1;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &Arc<R>> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    /// The number of parts that two versions share.
    #[cfg(test)]
    pub(super) fn shared_with(&self, other: &Self) -> usize {
        self.shards.iter().zip(&other.shards).filter(|(a, b)| Arc::ptr_eq(a, b)).count()
    }

    fn place(&self, key: &R::Key) -> (usize, u64) {
        let hash = self.hashing.hash_one(key);
        // Bits that the table itself does not look at first.
        (usize::from((hash >> 40) as u8), hash)
    }
}
