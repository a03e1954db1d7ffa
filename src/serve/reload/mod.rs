//! Reloads: from files to a published snapshot, for every trigger on the same path.
//!
//! Owns [`Reloader`], through which SIGHUP, file changes and `POST /reload` go one after the
//! other, and the report of each: one log line, one for each mistake, the metrics. Never changes a
//! published snapshot, and never withholds one because of a mistake in another file.

mod corridor;
mod watch;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::base::clock::{Clock, UnixMillis, UnixTime};
use crate::config::files::disk::LocalDisk;
use crate::config::snapshot::Snapshot;
use crate::config::{Config, Materials, Mistake};
use crate::decide::gate::Stored;
use crate::decide::jwt::KeySet;
use crate::serve::observe::report::ReloadReport;
use crate::serve::published::Published;

pub(crate) use corridor::{Corridor, FetchedKeys, Opened, Sources};
pub(crate) use watch::watch;

impl Sources {
    /// The file system and the environment of the process.
    #[must_use]
    pub(crate) fn of_the_process() -> Self {
        Self { disk: Box::new(LocalDisk), environment: Box::new(|name| std::env::var(name).ok()) }
    }
}

/// Reads a configuration and every file it names, as `run` does, and stops before anything is
/// published.
///
/// # Errors
/// Every mistake in every file.
pub(crate) fn load_for_check(file: &Path) -> Result<(Config, Materials), Vec<Mistake>> {
    let loaded = corridor::load(file, &Sources::of_the_process())?;
    Ok((loaded.config, loaded.materials))
}

/// Reloads of the running process.
#[derive(Debug)]
pub(crate) struct Reloader {
    file: PathBuf,
    /// Reloads go one after the other.
    corridor: Mutex<Corridor>,
    published: Arc<Published>,
    last: ArcSwap<ReloadReport>,
    key_sets: ArcSwap<Vec<LoadedKeySet>>,
}

/// The reloads that log and metrics report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reported {
    /// One that an operator requested.
    Always,
    /// One after a file event: only when it changed something.
    IfNews,
}

/// The keys of an issuer, and the time they came into force.
#[derive(Clone, Debug)]
pub(crate) struct LoadedKeySet {
    /// The keys.
    pub keys: Arc<KeySet>,
    /// Since when.
    pub since: UnixMillis,
}

impl Reloader {
    /// Takes over after the start. `published` holds the snapshot that came with `corridor`.
    #[must_use]
    pub(crate) fn new(corridor: Corridor, published: Arc<Published>) -> Self {
        let snapshot = published.snapshots.load_full();
        let report = ReloadReport {
            time: published.started,
            generation: snapshot.generation,
            published: true,
            mistakes: Vec::new(),
            restart_needed: Vec::new(),
        };
        published.observers.metrics.standing(&report);
        warn_of_insecure(&[], &snapshot);
        warn_of_expired(&snapshot, published.started.seconds());
        warn_of_key_files(&[], &snapshot);
        Self {
            file: corridor.file().to_owned(),
            corridor: Mutex::new(corridor),
            key_sets: ArcSwap::from_pointee(renew_key_sets(&[], &snapshot, published.started)),
            last: ArcSwap::from_pointee(report),
            published,
        }
    }

    /// Reads everything again and publishes changes. Waits for its turn and blocks while files are
    /// read: never called on a thread that serves requests.
    pub(crate) fn reload(&self) -> Arc<ReloadReport> {
        self.walk(Reported::Always)
    }

    /// [`Self::reload`] after a file event: silent if nothing changed.
    fn reload_if_changed(&self) -> Arc<ReloadReport> {
        self.walk(Reported::IfNews)
    }

    fn walk(&self, reported: Reported) -> Arc<ReloadReport> {
        // A panic in an earlier reload left the last good versions unchanged.
        let mut corridor = self.corridor.lock().unwrap_or_else(PoisonError::into_inner);
        let walk = corridor.walk();
        let time = Clock::unix_millis();
        let published = walk.snapshot.is_some();
        if let Some(snapshot) = walk.snapshot {
            self.publish(snapshot, time);
        }
        let report = Arc::new(ReloadReport {
            time,
            generation: self.published.snapshots.load().generation,
            published,
            mistakes: walk.mistakes,
            restart_needed: walk.restart_needed,
        });
        let last = self.last.swap(Arc::clone(&report));
        self.published.observers.metrics.standing(&report);
        if reported == Reported::Always || report.is_news_after(&last) {
            self.published.observers.metrics.reloaded(&report);
            report.log();
        }
        report
    }

    /// Puts fetched keys of an issuer into force, or none because they are too old. Returns whether
    /// anything changed. Waits for its turn as [`Self::reload`] does.
    pub(crate) fn take_remote_keys(&self, fetched: &FetchedKeys) -> bool {
        let mut corridor = self.corridor.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = corridor.take_remote(fetched);
        let changed = snapshot.is_some();
        if let Some(snapshot) = snapshot {
            self.publish(snapshot, Clock::unix_millis());
        }
        changed
    }

    /// Puts the credentials of the store in force, before the listeners open.
    ///
    /// # Errors
    /// The keys that a key file has as well.
    pub(crate) fn follow_store(&self, stored: Stored) -> Result<(), Vec<Mistake>> {
        let mut corridor = self.corridor.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = corridor.follow_store(stored)?;
        self.publish(snapshot, Clock::unix_millis());
        Ok(())
    }

    /// The report of the last reload, or of the start.
    #[must_use]
    pub(crate) fn last(&self) -> Arc<ReloadReport> {
        self.last.load_full()
    }

    /// The key sets in force, in the order of the issuers.
    #[must_use]
    pub(crate) fn key_sets(&self) -> Arc<Vec<LoadedKeySet>> {
        self.key_sets.load_full()
    }

    /// The configuration file.
    #[must_use]
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// The configuration in force, with its observers.
    #[must_use]
    pub(crate) fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// The files whose changes cause a reload.
    fn watched(&self) -> BTreeSet<PathBuf> {
        self.corridor.lock().unwrap_or_else(PoisonError::into_inner).watched().clone()
    }

    fn publish(&self, snapshot: Snapshot, time: UnixMillis) {
        let old = self.published.snapshots.load_full();
        warn_of_insecure(&old.dynamic.insecure, &snapshot);
        warn_of_key_files(&old.materials.key_sets, &snapshot);
        warn_of_expired(&snapshot, time.seconds());
        if !Arc::ptr_eq(&old.gate.keys, &snapshot.gate.keys) {
            snapshot.gate.keys.carry_last_use(&old.gate.keys);
        }
        self.key_sets.store(Arc::new(renew_key_sets(&self.key_sets.load(), &snapshot, time)));
        self.published.publish(snapshot);
    }
}

/// Names each setting that weakens a safe default once, when it comes into force.
fn warn_of_insecure(known: &[String], snapshot: &Snapshot) {
    for setting in snapshot.dynamic.insecure.iter().filter(|setting| !known.contains(setting)) {
        tracing::warn!(setting, "insecure setting enabled");
    }
}

/// Names each certificate that peers refuse, and each authority that verifies nothing any more.
fn warn_of_expired(snapshot: &Snapshot, now: UnixTime) {
    for (certificate, file) in snapshot.materials.expired(now) {
        let file = file.display();
        tracing::warn!(certificate, %file, "certificate expired");
    }
}

/// Names the members of a local key file that are not used or weak, once for each version of the file.
fn warn_of_key_files(known: &[Arc<KeySet>], snapshot: &Snapshot) {
    for warning in snapshot.materials.warnings(&snapshot.dynamic, known) {
        tracing::warn!(%warning, "warning about a key file");
    }
}

/// Unchanged key sets keep their time.
fn renew_key_sets(old: &[LoadedKeySet], new: &Snapshot, now: UnixMillis) -> Vec<LoadedKeySet> {
    let loaded = |keys: &Arc<KeySet>| {
        let before = old.iter().find(|before| Arc::ptr_eq(&before.keys, keys));
        let since = before.map_or(now, |before| before.since);
        LoadedKeySet { keys: Arc::clone(keys), since }
    };
    new.materials.key_sets.iter().map(loaded).collect()
}
