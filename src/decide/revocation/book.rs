//! The acknowledged entries in their order.
//!
//! Owns [`Book`]: the effect of a change on the entries, which of them may be forgotten, and the
//! pages of the list. It is the log on disk, replayed. An attacker would want a wrong clock, or
//! another `max_lifetime`, to make it forget: an entry goes only after this process has held it for
//! as long as it was made for, and leaves a stand-in where no end was given. Never writes a file.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::{Monotonic, Now, UnixTime};
use crate::decide::jwt::IssuerSettings;
use crate::decide::revocation::{Entry, EntryId, RevocationSet};

/// One change, as it is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds an entry, or replaces the one with its target.
    Put(Arc<Entry>),
    /// Removes the entry of this id.
    Remove(EntryId),
}

/// The facts that decide which entries have ended.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// Both clocks.
    pub now: Now,
    /// The configured issuers.
    pub issuers: &'a [&'a IssuerSettings],
}

/// The certainty required before an entry is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// By the wall clock, and by the steady one.
    Surely,
    /// By the wall clock: without room, a new revocation would be refused.
    ForRoom,
}

/// An entry, and the time since when this process has it.
#[derive(Debug)]
struct Held {
    entry: Arc<Entry>,
    since: Monotonic,
}

/// Entries by age, and as the gate looks them up.
#[derive(Debug, Default)]
pub struct Book {
    set: RevocationSet,
    by_age: BTreeMap<u64, Held>,
    ages: HashMap<EntryId, u64>,
    next: u64,
}

impl Book {
    /// As the gate looks them up.
    #[must_use]
    pub fn set(&self) -> &RevocationSet {
        &self.set
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_age.len()
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    /// The entry of this id.
    #[must_use]
    pub fn find(&self, id: EntryId) -> Option<&Arc<Entry>> {
        self.by_age.get(self.ages.get(&id)?).map(|held| &held.entry)
    }

    /// Every entry, the oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.by_age.values().map(|held| &held.entry)
    }

    /// Entries in force at `now`, the newest first: those older than `after`. `None` when there is
    /// no such entry.
    pub fn page(
        &self,
        after: Option<EntryId>,
        now: UnixTime,
    ) -> Option<impl Iterator<Item = &Arc<Entry>>> {
        let end = match after {
            Some(id) => *self.ages.get(&id)?,
            None => u64::MAX,
        };
        let older = self.by_age.range(..end).rev().map(|(_, held)| &held.entry);
        Some(older.filter(move |entry| entry.holds(now)))
    }

    /// Applies a change at `at`. An entry that is replaced keeps its age.
    pub fn apply(&mut self, change: Change, at: Monotonic) {
        match change {
            Change::Put(entry) => {
                let age = *self.ages.entry(entry.id()).or_insert(self.next);
                self.next = self.next.max(age + 1);
                self.by_age.insert(age, Held { entry: Arc::clone(&entry), since: at });
                self.set.put(entry);
            }
            Change::Remove(id) => {
                let age = self.ages.remove(&id);
                if let Some(held) = age.and_then(|age| self.by_age.remove(&age)) {
                    self.set.remove(held.entry.target().as_ref());
                }
            }
        }
    }

    /// Forgets entries that have ended; returns their number.
    pub fn sweep(&mut self, moment: &Moment<'_>, sweep: Sweep) -> usize {
        let lifetimes = moment.issuers.iter();
        let lifetimes: HashMap<&str, Option<Duration>> =
            lifetimes.map(|one| (&*one.issuer, one.longest_lifetime())).collect();
        let of_tenant = |issuer: &str| {
            let template = moment.issuers.iter().find(|one| one.has_tenant(issuer))?;
            template.longest_lifetime()
        };
        let is_over = |held: &&Held| {
            let issuer = held.entry.target().as_ref().issuer;
            let lifetime = lifetimes.get(issuer).copied().unwrap_or_else(|| of_tenant(issuer));
            held.is_over(lifetime, moment.now, sweep)
        };
        let over = self.by_age.values().filter(is_over);
        let over: Vec<_> = over.map(|held| Arc::clone(&held.entry)).collect();
        for entry in &over {
            if let Some(stand_in) = entry.stand_in() {
                let known = self.set.find(stand_in.target().as_ref());
                let merged = known.map_or_else(|| stand_in.clone(), |known| stand_in.merged(known));
                self.apply(Change::Put(Arc::new(merged)), moment.now.monotonic);
            }
            self.apply(Change::Remove(entry.id()), moment.now.monotonic);
        }
        over.len()
    }
}

impl Held {
    fn is_over(&self, lifetime: Option<Duration>, now: Now, sweep: Sweep) -> bool {
        let Some(over) = self.entry.over(lifetime).filter(|over| *over <= now.unix) else {
            return false;
        };
        let made_for = Duration::from_secs(over.0.saturating_sub(self.entry.revoked().0));
        let had_for = Duration::from_nanos(now.monotonic.0.saturating_sub(self.since.0));
        sweep == Sweep::ForRoom || had_for >= made_for
    }
}
