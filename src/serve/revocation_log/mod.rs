//! The log of revocations: every acknowledged one is on the disk.
//!
//! Owns [`RevocationLog`]: the order of write, sync, publish and answer, and which process may
//! write. An attacker would want an acknowledged revocation to be lost in a crash, or a damaged
//! log to read as an empty one: a change is published only after it was synced, and a log that
//! cannot be read whole refuses the start. Never decides about a request.

mod file;
mod line;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::IntCounter;
use thiserror::Error;

use crate::base::clock::{Monotonic, UnixTime};
use crate::config::Mistake;
use crate::decide::revocation::{Book, Change, Entry, EntryId, Moment, Published, Sweep};
use crate::serve::revocation_log::file::LogFile;

/// The most entries that are kept.
pub(crate) const ENTRIES_MAX: usize = 1_000_000;
/// A file with fewer lines is not compacted.
const LINES_MIN: usize = 1_000;
/// The most entries on one page.
pub(crate) const PAGE_MAX: usize = 1_000;

/// The reasons why a change was not made, or the log not opened.
#[derive(Debug, Error)]
pub(crate) enum LogError {
    /// A line that was synced once no longer reads.
    #[error("{0}")]
    Damaged(Mistake),
    /// There are [`ENTRIES_MAX`] entries.
    #[error(
        "there are {ENTRIES_MAX} revocations; delete some, or revoke by subject or issued_before"
    )]
    Full,
    /// Another process has the log.
    #[error("{}: another process has this state_dir", .0.display())]
    Taken(PathBuf),
    /// The disk.
    #[error("{}: {what}: {error}", path.display())]
    Disk {
        /// Which file.
        path: PathBuf,
        /// The operation that failed.
        what: &'static str,
        /// The error of the system.
        error: io::Error,
    },
}

/// An acknowledged revocation.
#[derive(Clone, Debug)]
pub(crate) struct Acknowledged {
    /// The entry in force for that target.
    pub entry: Arc<Entry>,
    /// False if an earlier entry covers it.
    pub is_news: bool,
}

/// One page of the list.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// The newest first.
    pub entries: Vec<Arc<Entry>>,
    /// True if there are older ones.
    pub more: bool,
}

/// Writes by their result.
#[derive(Clone, Debug)]
pub(crate) struct WriteSeries {
    /// Synced.
    pub ok: IntCounter,
    /// Not synced, and so not acknowledged.
    pub failed: IntCounter,
}

/// One per process.
#[derive(Debug)]
pub(crate) struct RevocationLog {
    folder: PathBuf,
    published: Arc<Published>,
    writes: WriteSeries,
    /// The most entries.
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    book: Book,
    /// Opened at the start if it was there, else with the first entry.
    file: Option<LogFile>,
    /// The number of lines from which the file may be compacted.
    compact_at: usize,
}

impl RevocationLog {
    /// Reads what was acknowledged before, if anything was, and publishes it.
    ///
    /// # Errors
    /// [`LogError`]: doubt about what is revoked refuses the start.
    pub(crate) fn open(
        folder: &Path,
        published: Arc<Published>,
        writes: WriteSeries,
        now: Monotonic,
    ) -> Result<Self, LogError> {
        let (folder, state) = (folder.to_owned(), Mutex::default());
        let log = Self { folder, published, writes, most: ENTRIES_MAX, state };
        if LogFile::exists(&log.folder)? {
            log.open_file(&mut log.lock(), now)?;
        }
        Ok(log)
    }

    /// The file, whether or not it is there yet.
    #[must_use]
    pub(crate) fn path(&self) -> PathBuf {
        LogFile::path_in(&self.folder)
    }

    /// Revokes. When this returns, the entry is on the disk and the next request meets it.
    ///
    /// # Errors
    /// [`LogError`]; nothing was published.
    pub(crate) fn revoke(
        &self,
        entry: Entry,
        moment: &Moment<'_>,
    ) -> Result<Acknowledged, LogError> {
        let mut state = self.lock();
        let state = &mut *state;
        self.counted(|| {
            self.open_file(state, moment.now.monotonic)?;
            let known = state.book.find(entry.id()).map(Arc::clone);
            let merged = state.book.set().merge(entry);
            // Saying it twice changes nothing, and needs no write: the first one was synced.
            if let Some(known) = known.as_ref().filter(|known| Arc::ptr_eq(known, &merged)) {
                return Ok(Acknowledged { entry: Arc::clone(known), is_news: false });
            }
            if known.is_none() && state.book.len() >= self.most {
                self.forget(state, moment, Sweep::ForRoom);
                if state.book.len() >= self.most {
                    return Err(LogError::Full);
                }
            }
            self.write(state, Change::Put(Arc::clone(&merged)), moment)?;
            Ok(Acknowledged { entry: merged, is_news: true })
        })
    }

    /// Takes an entry back: `None` when there is none of this id.
    ///
    /// # Errors
    /// [`LogError`]; nothing was published.
    pub(crate) fn delete(
        &self,
        id: EntryId,
        moment: &Moment<'_>,
    ) -> Result<Option<Arc<Entry>>, LogError> {
        let mut state = self.lock();
        let state = &mut *state;
        let Some(entry) = state.book.find(id).map(Arc::clone) else { return Ok(None) };
        self.counted(|| {
            self.open_file(state, moment.now.monotonic)?;
            self.write(state, Change::Remove(id), moment)?;
            Ok(Some(entry))
        })
    }

    /// Entries that hold, the newest first; `None` when `after` is not one of them.
    #[must_use]
    pub(crate) fn page(&self, after: Option<EntryId>, limit: usize, now: UnixTime) -> Option<Page> {
        let state = self.lock();
        let mut older = state.book.page(after, now)?;
        let entries = older.by_ref().take(limit.min(PAGE_MAX)).map(Arc::clone).collect();
        let more = older.next().is_some();
        Some(Page { entries, more })
    }

    fn counted<T>(&self, act: impl FnOnce() -> Result<T, LogError>) -> Result<T, LogError> {
        let result = act();
        match &result {
            Ok(_) => self.writes.ok.inc(),
            Err(error) => {
                self.writes.failed.inc();
                tracing::error!(%error, "a revocation was not acknowledged");
            }
        }
        result
    }

    /// Write, sync, publish: in this order.
    fn write(
        &self,
        state: &mut State,
        change: Change,
        moment: &Moment<'_>,
    ) -> Result<(), LogError> {
        let State { book, file, compact_at } = state;
        let file = file.as_mut().ok_or_else(|| LogError::Disk {
            path: self.path(),
            what: "cannot be written",
            error: io::Error::other("it is not open"),
        })?;
        file.append(&change, book.entries())?;
        book.apply(change, moment.now.monotonic);
        self.published.store(Arc::new(book.set().clone()));
        if file.lines() >= *compact_at {
            self.forget(state, moment, Sweep::Surely);
        }
        Ok(())
    }

    fn open_file(&self, state: &mut State, now: Monotonic) -> Result<(), LogError> {
        if state.file.is_some() {
            return Ok(());
        }
        // Into a book of its own: half a log is none.
        let mut book = Book::default();
        let file = LogFile::open(&self.folder, |change| book.apply(change, now))?;
        let worth_it = file.lines() > book.len();
        state.book = book;
        state.file = Some(file);
        state.compact_at = LINES_MIN.max(2 * state.book.len());
        if worth_it {
            self.compact(state);
        }
        self.published.store(Arc::new(state.book.set().clone()));
        Ok(())
    }

    /// Forgets what is over, here and on the disk.
    fn forget(&self, state: &mut State, moment: &Moment<'_>, sweep: Sweep) {
        state.book.sweep(moment, sweep);
        self.published.store(Arc::new(state.book.set().clone()));
        self.compact(state);
    }

    /// Writes a new file of what there is. The old one is as good, only longer: failing is no
    /// fault.
    fn compact(&self, state: &mut State) {
        let State { book, file, compact_at } = state;
        *compact_at = LINES_MIN.max(2 * book.len());
        let Some(file) = file else { return };
        match file.rewrite(book.entries()) {
            Ok(()) => tracing::debug!(entries = book.len(), "the log of revocations was rewritten"),
            Err(error) => {
                *compact_at = (*compact_at).max(2 * file.lines());
                tracing::warn!(%error, "the log of revocations could not be rewritten");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The book changes only after a write went through; a panic leaves it as it was.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a log without taking it: for a process that only asks.
///
/// # Errors
/// [`LogError`].
pub(crate) fn peek(folder: &Path) -> Result<Book, LogError> {
    let mut book = Book::default();
    if LogFile::exists(folder)? {
        LogFile::read(folder, |change| book.apply(change, Monotonic::default()))?;
    }
    Ok(book)
}

#[cfg(test)]
mod tests;
