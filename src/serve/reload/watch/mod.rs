//! Detection of changed files.
//!
//! Owns the watcher thread. File events only wake it early; it compares the metadata of the files,
//! also by polling, because events are missing on network file systems, behind some mounts, and when
//! the system is out of watches. Never reads a file: that is the corridor's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use crate::serve::reload::Reloader;

/// Polling interval: with [`SETTLE`], a change takes effect within a second.
const POLL: Duration = Duration::from_millis(600);

/// Time that files must stay the same before they are read: editors truncate, then write.
const SETTLE: Duration = Duration::from_millis(100);

/// Pause after an event that changed none of the files.
const CALM: Duration = Duration::from_millis(50);

/// Rounds of settling before files are read anyway: a process that writes all the time must not
/// prevent a reload.
const SETTLE_ROUNDS_MAX: usize = 3;

/// Watching, until it is dropped.
#[derive(Debug)]
pub(crate) struct Watching {
    /// Closing this ends the thread.
    _stop: Sender<()>,
}

/// Watches every file of the configuration, and reloads when one changes.
///
/// # Errors
/// No thread can be started. Missing events are not an error: files are polled anyway.
pub(crate) fn watch(reloader: Arc<Reloader>) -> io::Result<Watching> {
    let (hint, hints) = bounded(1);
    let (stop, stopped) = bounded(0);
    let events = Events::new(hint);
    let mut thread = WatchThread { looks: Looks::default(), events, hints, stopped };
    thread.follow(&reloader.watched());
    std::thread::Builder::new().name("watch".to_owned()).spawn(move || thread.run(&reloader))?;
    Ok(Watching { _stop: stop })
}

struct WatchThread {
    looks: Looks,
    events: Events,
    hints: Receiver<()>,
    stopped: Receiver<()>,
}

impl WatchThread {
    fn run(&mut self, reloader: &Reloader) {
        while self.wait(POLL) {
            if self.looks == Looks::of(self.looks.files()) {
                // Another file changes in the same folder, perhaps an access log.
                if !self.pause(CALM) {
                    return;
                }
                continue;
            }
            if !self.settle() {
                return;
            }
            // Before reading, so that a change while they are read is seen next time.
            self.looks = Looks::of(self.looks.files());
            reloader.reload_if_changed();
            self.follow(&reloader.watched());
        }
    }

    /// Waits for a hint, at most `patience`. Returns whether to go on.
    fn wait(&self, patience: Duration) -> bool {
        crossbeam_channel::select! {
            recv(self.stopped) -> _ => false,
            recv(self.hints) -> hint => match hint {
                Ok(()) => true,
                // No events: only time passes.
                Err(_) => self.pause(patience),
            },
            default(patience) => true,
        }
    }

    fn pause(&self, patience: Duration) -> bool {
        matches!(self.stopped.recv_timeout(patience), Err(RecvTimeoutError::Timeout))
    }

    /// Waits until the files look the same twice. Returns whether to go on.
    fn settle(&self) -> bool {
        let mut last = Looks::of(self.looks.files());
        for _ in 0..SETTLE_ROUNDS_MAX {
            if !self.pause(SETTLE) {
                return false;
            }
            let now = Looks::of(self.looks.files());
            if now == last {
                break;
            }
            last = now;
        }
        true
    }

    /// Watches these files from now on. A new one counts as changed: it was read before its metadata
    /// was.
    fn follow(&mut self, watched: &BTreeSet<PathBuf>) {
        let look = |file: &PathBuf| (file.clone(), self.looks.0.get(file).cloned().flatten());
        self.looks = Looks(watched.iter().map(look).collect());
        self.events.follow(watched);
    }
}

/// The metadata of files. Follows links: a Kubernetes volume changes by pointing
/// `..data` elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Looks(BTreeMap<PathBuf, Option<Look>>);

/// Device, inode, size, and the times of content and of permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Look {
    identity: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Looks {
    fn of<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Self {
        Self(files.map(|file| (file.clone(), Look::of(file))).collect())
    }

    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.0.keys()
    }
}

impl Look {
    fn of(file: &Path) -> Option<Self> {
        let metadata: Metadata = std::fs::metadata(file).ok()?;
        Some(Self {
            identity: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// Events of the folders the files are in: a rename or a new link is an event of the folder.
struct Events {
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
}

impl Events {
    fn new(hint: Sender<()>) -> Self {
        let wake = move |_: notify::Result<notify::Event>| {
            // Full: the thread is woken already.
            let _ = hint.try_send(());
        };
        let watcher = notify::recommended_watcher(wake);
        if let Err(error) = &watcher {
            tracing::warn!(%error, "file watching unavailable, polling");
        }
        Self { watcher: watcher.ok(), folders: BTreeSet::new() }
    }

    fn follow(&mut self, files: &BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        let folders = folders_of(files);
        for folder in self.folders.difference(&folders) {
            // The watch ended with its folder, or was never set.
            let _ = watcher.unwatch(folder);
        }
        for folder in folders.difference(&self.folders) {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                let folder = folder.display();
                tracing::debug!(%error, %folder, "cannot watch this folder, polling");
            }
        }
        self.folders = folders;
    }
}

/// The folder of each file as it is named, and of what it is a link to.
fn folders_of(files: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    for file in files {
        let target = std::fs::canonicalize(file).ok();
        for path in target.iter().chain([file]) {
            match path.parent() {
                Some(parent) if parent.as_os_str().is_empty() => folders.insert(".".into()),
                Some(parent) => folders.insert(parent.to_owned()),
                None => false,
            };
        }
    }
    folders
}

#[cfg(test)]
mod tests;
