//! From files to a published snapshot, again and again: five doors, one corridor.
//!
//! Owns [`Reloader`], through which SIGHUP, file changes and `POST /reload` go one after the
//! other, and the telling: one log line, one for each mistake, the metrics. Never changes a
//! snapshot that is published, and never keeps one back because of a mistake elsewhere.

mod corridor;
#[cfg(test)]
pub(crate) mod fixture;
mod sighup;
mod watch;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch::{Receiver, Sender};

use crate::base::clock::{Clock, UnixMillis};
use crate::config::files::disk::LocalDisk;
use crate::config::snapshot::Snapshot;
use crate::config::{Config, Materials, Mistake};
use crate::decide::jwt::KeySet;
use crate::serve::observe::report::ReloadReport;
use crate::serve::shared::Shared;

pub use corridor::{Corridor, FetchedKeys, Opened, Sources};
pub use sighup::follow_sighup;
pub use watch::{Watching, watch};

impl Sources {
    /// The file system and the environment of the process.
    #[must_use]
    pub fn of_the_process() -> Self {
        Self { disk: Box::new(LocalDisk), environment: Box::new(|name| std::env::var(name).ok()) }
    }
}

/// Reads a configuration and every file it names, the very path that `run` takes, and stops
/// before anything is published.
///
/// # Errors
/// Every mistake in every file.
pub fn load_for_check(file: &Path) -> Result<(Config, Materials), Vec<Mistake>> {
    let loaded = corridor::load(file, &Sources::of_the_process())?;
    Ok((loaded.config, loaded.materials))
}

/// The corridor of the running process.
#[derive(Debug)]
pub struct Reloader {
    file: PathBuf,
    /// Reloads go one after the other.
    corridor: Mutex<Corridor>,
    shared: Arc<Shared>,
    last: ArcSwap<ReloadReport>,
    key_sets: ArcSwap<Vec<LoadedKeySet>>,
    /// The generation in force, for those who follow what is configured.
    generations: Sender<u64>,
}

/// When a reload is told to log and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Telling {
    /// Somebody asked for it.
    Always,
    /// A file looks different; only if something came of it.
    News,
}

/// Since when the keys of an issuer are in force.
#[derive(Clone, Debug)]
pub struct LoadedKeySet {
    /// The keys.
    pub keys: Arc<KeySet>,
    /// Since when.
    pub since: UnixMillis,
}

impl Reloader {
    /// Takes over after the start. `shared` holds the snapshot that came with `corridor`.
    #[must_use]
    pub fn new(corridor: Corridor, shared: Arc<Shared>) -> Self {
        let snapshot = shared.snapshots.load_full();
        let report = ReloadReport {
            time: shared.started,
            generation: snapshot.generation,
            published: true,
            mistakes: Vec::new(),
            restart_needed: Vec::new(),
        };
        shared.observers.metrics.publish(&snapshot);
        shared.observers.metrics.standing(&report);
        warn_of_insecure(&[], &snapshot);
        warn_of_key_files(&[], &snapshot);
        Self {
            file: corridor.file().to_owned(),
            corridor: Mutex::new(corridor),
            key_sets: ArcSwap::from_pointee(renew_key_sets(&[], &snapshot, shared.started)),
            last: ArcSwap::from_pointee(report),
            generations: Sender::new(snapshot.generation),
            shared,
        }
    }

    /// Reads everything again and publishes what is new. Waits for its turn; blocks for as long
    /// as reading takes, so never on a thread that serves requests.
    pub fn reload(&self) -> Arc<ReloadReport> {
        self.walk(Telling::Always)
    }

    /// The same because a file looks different: not worth a word if that changed nothing.
    fn reload_if_changed(&self) -> Arc<ReloadReport> {
        self.walk(Telling::News)
    }

    fn walk(&self, telling: Telling) -> Arc<ReloadReport> {
        // A panic in an earlier reload left the last good versions as they were.
        let mut corridor = self.corridor.lock().unwrap_or_else(PoisonError::into_inner);
        let walk = corridor.walk();
        let time = Clock::unix_millis();
        let published = walk.snapshot.is_some();
        if let Some(snapshot) = walk.snapshot {
            self.publish(snapshot, time);
        }
        let report = Arc::new(ReloadReport {
            time,
            generation: self.shared.snapshots.load().generation,
            published,
            mistakes: walk.mistakes,
            restart_needed: walk.restart_needed,
        });
        let last = self.last.swap(Arc::clone(&report));
        self.shared.observers.metrics.standing(&report);
        if telling == Telling::Always || report.is_news_after(&last) {
            self.shared.observers.metrics.reloaded(&report);
            report.log();
        }
        report
    }

    /// Takes over keys that were fetched, or that those of an issuer are too old. Whether anything
    /// changed. Waits for its turn as [`Self::reload`] does.
    pub fn take_remote_keys(&self, fetched: &FetchedKeys) -> bool {
        let mut corridor = self.corridor.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = corridor.take_remote(fetched);
        let changed = snapshot.is_some();
        if let Some(snapshot) = snapshot {
            self.publish(snapshot, Clock::unix_millis());
        }
        changed
    }

    /// Tells of each new generation after it came into force.
    #[must_use]
    pub fn generations(&self) -> Receiver<u64> {
        self.generations.subscribe()
    }

    /// What the last reload, or the start, came to.
    #[must_use]
    pub fn last(&self) -> Arc<ReloadReport> {
        self.last.load_full()
    }

    /// The key sets in force, in the order of the issuers.
    #[must_use]
    pub fn key_sets(&self) -> Arc<Vec<LoadedKeySet>> {
        self.key_sets.load_full()
    }

    /// The configuration file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Where everything is that the process shares.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The files a change of which is worth a reload.
    fn watched(&self) -> BTreeSet<PathBuf> {
        self.corridor.lock().unwrap_or_else(PoisonError::into_inner).watched().clone()
    }

    fn publish(&self, snapshot: Snapshot, time: UnixMillis) {
        let old = self.shared.snapshots.load_full();
        warn_of_insecure(&old.dynamic.insecure, &snapshot);
        warn_of_key_files(&old.materials.key_sets, &snapshot);
        if !Arc::ptr_eq(&old.gate.keys, &snapshot.gate.keys) {
            snapshot.gate.keys.carry_last_use(&old.gate.keys);
        }
        self.key_sets.store(Arc::new(renew_key_sets(&self.key_sets.load(), &snapshot, time)));
        let snapshot = Arc::new(snapshot);
        // Metrics first: the first request of a new route finds its series.
        self.shared.observers.metrics.publish(&snapshot);
        let generation = snapshot.generation;
        self.shared.snapshots.store(snapshot);
        self.generations.send_replace(generation);
    }
}

/// Names each setting that weakens a safe default once, when it comes into force.
fn warn_of_insecure(known: &[String], snapshot: &Snapshot) {
    for setting in snapshot.dynamic.insecure.iter().filter(|setting| !known.contains(setting)) {
        tracing::warn!(setting, "weaker than the safe default");
    }
}

/// Names the members of a local key file that are not used or weak, once for each version of the file.
fn warn_of_key_files(known: &[Arc<KeySet>], snapshot: &Snapshot) {
    for warning in snapshot.materials.warnings(&snapshot.dynamic, known) {
        tracing::warn!(%warning, "warning about a key file");
    }
}

/// A key set that was there before keeps its time.
fn renew_key_sets(old: &[LoadedKeySet], new: &Snapshot, now: UnixMillis) -> Vec<LoadedKeySet> {
    let loaded = |keys: &Arc<KeySet>| {
        let before = old.iter().find(|before| Arc::ptr_eq(&before.keys, keys));
        let since = before.map_or(now, |before| before.since);
        LoadedKeySet { keys: Arc::clone(keys), since }
    };
    new.materials.key_sets.iter().map(loaded).collect()
}
