//! The acknowledged entries in their order, and what becomes of them.
//!
//! Owns [`Book`]: what a change makes of the entries, which of them have ended, and the pages of
//! the list. It is what the log on disk says, replayed. Never writes a file.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::revocation::{Entry, EntryId, RevocationSet};
use crate::time::UnixTime;

/// One change, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An entry, new or in the place of the one with its target.
    Put(Arc<Entry>),
    /// The entry of this id is gone.
    Remove(EntryId),
}

/// Entries by age, and as the gate looks them up.
#[derive(Debug, Default)]
pub struct Book {
    set: RevocationSet,
    by_age: BTreeMap<u64, Arc<Entry>>,
    ages: HashMap<EntryId, u64>,
    next: u64,
}

impl Book {
    /// As the gate looks them up.
    #[must_use]
    pub fn set(&self) -> &RevocationSet {
        &self.set
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_age.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    /// The entry of this id.
    #[must_use]
    pub fn find(&self, id: EntryId) -> Option<&Arc<Entry>> {
        self.by_age.get(self.ages.get(&id)?)
    }

    /// Every entry, the oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.by_age.values()
    }

    /// Entries that hold at `now`, the newest first: those older than `after`. `None` when there
    /// is no such entry.
    pub fn page(
        &self,
        after: Option<EntryId>,
        now: UnixTime,
    ) -> Option<impl Iterator<Item = &Arc<Entry>>> {
        let end = match after {
            Some(id) => *self.ages.get(&id)?,
            None => u64::MAX,
        };
        let older = self.by_age.range(..end).rev().map(|(_, entry)| entry);
        Some(older.filter(move |entry| entry.holds(now)))
    }

    /// Does what a change says. An entry that is replaced keeps its age.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Put(entry) => {
                let age = *self.ages.entry(entry.id()).or_insert(self.next);
                self.next = self.next.max(age + 1);
                self.by_age.insert(age, Arc::clone(&entry));
                self.set.put(entry);
            }
            Change::Remove(id) => {
                let age = self.ages.remove(&id);
                if let Some(entry) = age.and_then(|age| self.by_age.remove(&age)) {
                    self.set.remove(entry.target().as_ref());
                }
            }
        }
    }

    /// Forgets what has ended; how many entries that were.
    pub fn sweep(&mut self, now: UnixTime) -> usize {
        let ended = self.entries().filter(|entry| !entry.holds(now));
        let ended: Vec<_> = ended.map(|entry| entry.id()).collect();
        for id in &ended {
            self.apply(Change::Remove(*id));
        }
        ended.len()
    }
}
