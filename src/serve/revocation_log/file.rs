//! The file: appended to and synced, read whole at the start, replaced as a whole.
//!
//! Owns recovery after a crash. A partial append is at the end and was never acknowledged: it is
//! dropped. Any other unreadable line is damage, and refuses the start. A failed write may have
//! reached the disk, so a deletion is written in two steps: it counts once another line follows it,
//! and none follows one that was not acknowledged. A lock beside the file keeps it to one process;
//! the file itself is replaced and cannot be locked.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Mistake;
use crate::decide::revocation::{Change, Entry, EntryId};
use crate::serve::revocation_log::{LogError, line};

const NAME: &str = "revocations.jsonl";
const NEW: &str = "revocations.jsonl.new";
const LOCK: &str = "revocations.lock";
/// A change is far shorter, whatever is in it.
const LINE_BYTES_MAX: u64 = 16 << 10;

/// The log, open and ours.
#[derive(Debug)]
pub(super) struct LogFile {
    folder: PathBuf,
    file: File,
    /// Up to here everything is whole and synced.
    length: u64,
    lines: usize,
    /// Which file it is, whatever has its name by now.
    inode: (u64, u64),
    /// A write failed: what is behind `length` is not known.
    is_broken: bool,
    /// Locked as long as we live.
    _lock: File,
}

/// The result of reading a log.
struct Replayed {
    length: u64,
    lines: usize,
    /// The number of bytes at the end that were never acknowledged.
    torn: u64,
    /// The last line is whole but for its end.
    is_open_ended: bool,
}

impl Replayed {
    /// Cuts off a deletion that nothing follows, so that nothing ever will.
    fn without(self, deletion: Option<(EntryId, u64)>) -> Self {
        let Some((_, bytes)) = deletion else { return self };
        Self {
            length: self.length - bytes,
            lines: self.lines - 1,
            torn: self.torn + bytes,
            is_open_ended: false,
        }
    }
}

impl LogFile {
    pub(super) fn path_in(folder: &Path) -> PathBuf {
        folder.join(NAME)
    }

    pub(super) fn exists(folder: &Path) -> Result<bool, LogError> {
        let path = Self::path_in(folder);
        match fs::symlink_metadata(&path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            // A foreign file has the folder's name: there is no log below it.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
            Err(error) => Err(disk(&path, "cannot be inspected", error)),
        }
    }

    /// Makes what is missing, takes the lock and replays what is there.
    pub(super) fn open(folder: &Path, apply: impl FnMut(Change)) -> Result<Self, LogError> {
        make_folder(folder)?;
        let lock = take_lock(folder)?;
        let path = Self::path_in(folder);
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path);
        let mut file = file.map_err(|error| disk(&path, "cannot be opened", error))?;
        let replayed = replay(&path, &file, apply)?;
        let mended = mend(&path, &mut file, &replayed).and_then(|()| sync_folder(folder));
        mended.map_err(|error| disk(&path, "cannot be mended", error))?;
        let Replayed { length, lines, is_open_ended, .. } = replayed;
        let length = length + u64::from(is_open_ended);
        let folder = folder.to_owned();
        let inode = file.metadata().map(|it| inode(&it));
        let inode = inode.map_err(|error| disk(&path, "cannot be inspected", error))?;
        Ok(Self { folder, file, length, lines, inode, is_broken: false, _lock: lock })
    }

    /// Reads without a lock; an append that is under way looks like one that was cut off.
    pub(super) fn read(folder: &Path, apply: impl FnMut(Change)) -> Result<(), LogError> {
        let path = Self::path_in(folder);
        let file = File::open(&path).map_err(|error| disk(&path, "cannot be opened", error))?;
        replay(&path, &file, apply).map(|_| ())
    }

    #[cfg(test)]
    pub(super) fn handle(&mut self) -> &mut File {
        &mut self.file
    }

    pub(super) fn lines(&self) -> usize {
        self.lines
    }

    /// Writes a change and syncs it. `before` are all entries before it: after a failed
    /// write the content of the disk is unknown, so they are written again.
    pub(super) fn append<'e>(
        &mut self,
        change: &Change,
        before: impl Iterator<Item = &'e Arc<Entry>>,
    ) -> Result<(), LogError> {
        if self.is_broken || !self.is_in_place() {
            self.rewrite(before)?;
        }
        let written = line::write(change).map_err(io::Error::from);
        if let Err(error) = written.and_then(|bytes| self.write(&bytes)) {
            // So that a restart does not find a change that was not acknowledged; if that fails, too,
            // it finds one revocation more, or a deletion that does not count.
            let _ = self.file.set_len(self.length);
            return Err(disk(&Self::path_in(&self.folder), "cannot be written", error));
        }
        match change {
            Change::Remove(id) => self.confirm(*id),
            Change::Put(_) => {}
        }
        Ok(())
    }

    /// Makes a deletion count. If this fails, the deletion is in force all the same: a crash before
    /// the next change may bring the revocation back, which admits no request.
    fn confirm(&mut self, id: EntryId) {
        let confirmation = line::confirmation(id).map_err(io::Error::from);
        if let Err(error) = confirmation.and_then(|bytes| self.write(&bytes)) {
            tracing::warn!(
                %error, %id,
                "a deleted revocation may be in force again after a crash: its deletion could not \
                 be confirmed in the log"
            );
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_data());
        self.is_broken |= written.is_err();
        written?;
        self.length += bytes.len() as u64;
        self.lines += 1;
        Ok(())
    }

    /// Returns whether the next start would find this very file. Cleaning up or restoring the folder
    /// must not lose changes that are acknowledged afterwards.
    fn is_in_place(&self) -> bool {
        let there = fs::metadata(Self::path_in(&self.folder));
        there.is_ok_and(|there| inode(&there) == self.inode)
    }

    /// Puts a new file with these entries in the place of this one.
    pub(super) fn rewrite<'e>(
        &mut self,
        entries: impl Iterator<Item = &'e Arc<Entry>>,
    ) -> Result<(), LogError> {
        let (path, new) = (Self::path_in(&self.folder), self.folder.join(NEW));
        let written = write_new(&new, entries).and_then(|(file, length, lines)| {
            let inode = inode(&file.metadata()?);
            fs::rename(&new, &path)?;
            // From here on this is the log, synced or not.
            (self.file, self.length, self.lines, self.inode) = (file, length, lines, inode);
            self.is_broken = true;
            sync_folder(&self.folder)
        });
        written.map_err(|error| disk(&path, "cannot be rewritten", error))?;
        self.is_broken = false;
        Ok(())
    }
}

fn inode(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn write_new<'e>(
    path: &Path,
    entries: impl Iterator<Item = &'e Arc<Entry>>,
) -> io::Result<(File, u64, usize)> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
    let mut writer = BufWriter::new(file);
    let (mut length, mut lines) = (0, 0);
    for entry in entries {
        let bytes = line::write(&Change::Put(Arc::clone(entry)))?;
        writer.write_all(&bytes)?;
        length += bytes.len() as u64;
        lines += 1;
    }
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok((file, length, lines))
}

/// The folder for the owner alone. One that is there stays as it is.
fn make_folder(folder: &Path) -> Result<(), LogError> {
    if folder.is_dir() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let made = made.and_then(|()| folder.parent().map_or(Ok(()), sync_folder));
    made.map_err(|error| disk(folder, "cannot be made", error))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder == Path::new("") { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}

fn take_lock(folder: &Path) -> Result<File, LogError> {
    let path = folder.join(LOCK);
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|error| disk(&path, "cannot be opened", error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LogError::Taken(path)),
        Err(TryLockError::Error(error)) => Err(disk(&path, "cannot be locked", error)),
    }
}

/// Cuts off what was never acknowledged, and ends a last line that has no end.
fn mend(path: &Path, file: &mut File, replayed: &Replayed) -> io::Result<()> {
    let Replayed { length, torn, is_open_ended, .. } = *replayed;
    if torn > 0 {
        tracing::warn!(
            file = %path.display(), bytes = torn,
            "the last write to the log of revocations was cut off; it was never acknowledged"
        );
        file.set_len(length)?;
        file.seek(SeekFrom::End(0))?;
    }
    if is_open_ended {
        file.write_all(b"\n")?;
    }
    file.sync_all()
}

fn replay(path: &Path, file: &File, mut apply: impl FnMut(Change)) -> Result<Replayed, LogError> {
    let mut reader = BufReader::with_capacity(1 << 18, file);
    let mut replayed = Replayed { length: 0, lines: 0, torn: 0, is_open_ended: false };
    let mut bytes = Vec::new();
    let mut deletion = None;
    loop {
        bytes.clear();
        let read = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes);
        let read = read.map_err(|error| disk(path, "cannot be read", error))?;
        if read == 0 {
            return Ok(replayed.without(deletion));
        }
        let whole = bytes.strip_suffix(b"\n");
        match line::read(whole.unwrap_or(&bytes)) {
            Ok(change) => {
                // Another line follows: it was acknowledged.
                if let Some((id, _)) = deletion.take() {
                    apply(Change::Remove(id));
                }
                match change {
                    Some(Change::Remove(id)) => deletion = Some((id, read as u64)),
                    Some(put @ Change::Put(_)) => apply(put),
                    None => {}
                }
                replayed.is_open_ended = whole.is_none();
                replayed.length += read as u64;
                replayed.lines += 1;
            }
            Err(message) => {
                // A cut-off write has no end, or a hole: a page that did not reach the disk.
                let cut_off = whole.is_none() || bytes.contains(&0);
                let rest =
                    reader.fill_buf().map_err(|error| disk(path, "cannot be read", error))?;
                if cut_off && rest.is_empty() && (read as u64) < LINE_BYTES_MAX {
                    replayed.torn = read as u64;
                    return Ok(replayed.without(deletion));
                }
                return Err(damaged(path, replayed.lines, &message));
            }
        }
    }
}

fn damaged(path: &Path, lines: usize, message: &str) -> LogError {
    LogError::Damaged(Mistake {
        file: path.to_owned(),
        line: lines as u64 + 1,
        column: 1,
        path: String::new(),
        message: format!(
            "is not a revocation ({message}): restore the file, or remove this line if you know \
             what it refused"
        ),
    })
}

fn disk(path: &Path, what: &'static str, error: io::Error) -> LogError {
    LogError::Disk { path: path.to_owned(), what, error }
}
