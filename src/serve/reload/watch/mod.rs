//! Noticing that a file changed.
//!
//! Owns the watcher thread. Events of the file system are only a hint that wakes it early; what
//! counts is what the files look like, which it also asks on its own, because events are missing
//! on network file systems, behind some mounts, and when the system has none left to give. Never
//! reads a file: that is the corridor's.

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

/// How often files are looked at without an event: with [`SETTLE`], a change takes effect within
/// a second.
const POLL: Duration = Duration::from_millis(600);

/// How long files must look the same before they are read: editors truncate, then write.
const SETTLE: Duration = Duration::from_millis(100);

/// Between two looks that events ask for in vain.
const CALM: Duration = Duration::from_millis(50);

/// Rounds of settling before files are read anyway: something that writes all the time must not
/// keep a reload away.
const SETTLE_ROUNDS_MAX: usize = 3;

/// Watching, until it is dropped.
#[derive(Debug)]
pub(crate) struct Watching {
    /// Closing this ends the thread.
    _stop: Sender<()>,
}

/// Watches every file that has a say, and reloads when one changes.
///
/// # Errors
/// When no thread can be started. Missing events are not an error: files are looked at anyway.
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
                // Something else happens in the same folder, perhaps an access log.
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

    /// Waits for a hint or for `patience` to pass. Whether to go on.
    fn wait(&self, patience: Duration) -> bool {
        crossbeam_channel::select! {
            recv(self.stopped) -> _ => false,
            recv(self.hints) -> hint => match hint {
                Ok(()) => true,
                // No events to be had: only time passes.
                Err(_) => self.pause(patience),
            },
            default(patience) => true,
        }
    }

    fn pause(&self, patience: Duration) -> bool {
        matches!(self.stopped.recv_timeout(patience), Err(RecvTimeoutError::Timeout))
    }

    /// Waits until the files look the same twice. Whether to go on.
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

    /// Watches these files from now on. One that is new here counts as changed: it was read
    /// before it was looked at.
    fn follow(&mut self, watched: &BTreeSet<PathBuf>) {
        let look = |file: &PathBuf| (file.clone(), self.looks.0.get(file).cloned().flatten());
        self.looks = Looks(watched.iter().map(look).collect());
        self.events.follow(watched);
    }
}

/// What files look like from outside. Follows links: a Kubernetes volume changes by pointing
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
            tracing::warn!(%error, "no file events: changes are found by looking");
        }
        Self { watcher: watcher.ok(), folders: BTreeSet::new() }
    }

    fn follow(&mut self, files: &BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        let folders = folders_of(files);
        for folder in self.folders.difference(&folders) {
            // Gone with its folder, or never had.
            let _ = watcher.unwatch(folder);
        }
        for folder in folders.difference(&self.folders) {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                let folder = folder.display();
                tracing::debug!(%error, %folder, "no events of this folder: it is looked at");
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
