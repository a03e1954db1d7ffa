//! A key file on disk, changed by one command at a time.
//!
//! Owns locking and writing. Commands lock the folder of the key file, not the file: the file is
//! replaced by every write, so a lock on it would be a lock on something that is gone, and a lock
//! file of its own would be left lying about. The new text goes to a temporary file in the same
//! folder, is flushed to the disk and renamed over the old one: a reader sees the old file or
//! the new one, and after a crash at most the temporary file is left, which the next write
//! replaces. Owner, group and mode stay. A symbolic link stays a link; its target is replaced.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::cli::key::Failure;
use crate::config::Mistake;
use crate::config::key_file::edit::{self, Edit, EditError};
use crate::config::key_file::{Format, SpannedKey, parse_any_pepper};

/// The mode of a key file we make. It holds digests only, but short keys can be found from theirs.
const MODE: u32 = 0o600;

/// Reads the keys of a file. No lock is needed: a file is only ever replaced as a whole.
pub(super) fn read(path: &Path) -> Result<Vec<SpannedKey>, Failure> {
    let text = read_text(path, Format::of(path))?.ok_or_else(|| missing(path))?;
    parse(path, &text)
}

/// The treatment of a missing file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is made.
    Create,
    /// It is a mistake.
    Refuse,
}

/// Changes a file under its lock: `change` sees the keys that are there and says which edits to
/// make, in this order, and what to return once they are on the disk. No edits, no write.
pub(super) fn update<T>(
    path: &Path,
    missing_file: Missing,
    change: impl FnOnce(&[SpannedKey]) -> Result<(Vec<Edit>, T), Failure>,
) -> Result<T, Failure> {
    let target = resolve(path)?;
    let folder = Folder::lock(&target)?;
    let old = fs::metadata(&target).ok();
    // The configured name decides, not the name of the file behind a link.
    let format = Format::of(path);
    let mut text = match read_text(&target, format)? {
        Some(text) => text,
        None if missing_file == Missing::Create => edit::empty_file(format).to_owned(),
        None => return Err(missing(path)),
    };
    let mut keys = parse(path, &text)?;
    let (edits, result) = change(&keys)?;
    if edits.is_empty() {
        return Ok(result);
    }
    for edit in &edits {
        text =
            edit::apply(format, &text, &keys, edit).map_err(|error| refuse_edit(path, &error))?;
        keys = parse(path, &text)?;
    }
    let written = folder.replace(&target, text.as_bytes(), old.as_ref());
    written.map_err(|error| fault(path, "cannot be written", &error))?;
    Ok(result)
}

fn parse(path: &Path, text: &str) -> Result<Vec<SpannedKey>, Failure> {
    parse_any_pepper(path, text.as_bytes()).map_err(Failure::Mistakes)
}

/// The text of a file, or nothing if there is no file.
fn read_text(path: &Path, format: Format) -> Result<Option<String>, Failure> {
    let read = || -> io::Result<String> {
        let mut text = String::new();
        // One byte more than is accepted, so that the parser can say that it is too much.
        File::open(path)?.take(format.bytes_max() as u64 + 1).read_to_string(&mut text)?;
        Ok(text)
    };
    match read() {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(mistake(path, format!("cannot be read: {error}"))),
    }
}

/// The file behind all symbolic links.
fn resolve(path: &Path) -> Result<PathBuf, Failure> {
    match fs::canonicalize(path) {
        Ok(target) => return Ok(target),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(mistake(path, format!("cannot be read: {error}"))),
    }
    if fs::symlink_metadata(path).is_ok() {
        return Err(mistake(path, "is a symbolic link to nothing".to_owned()));
    }
    let name = path.file_name().ok_or_else(|| mistake(path, "is not a file name".to_owned()))?;
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    };
    let folder = fs::canonicalize(folder);
    let folder = folder.map_err(|error| mistake(path, format!("has no folder: {error}")))?;
    Ok(folder.join(name))
}

/// The folder of a key file, locked until it is dropped.
struct Folder {
    handle: File,
    path: PathBuf,
}

impl Folder {
    fn lock(target: &Path) -> Result<Self, Failure> {
        let path = target.parent().unwrap_or(Path::new("/")).to_owned();
        let locked = File::open(&path).and_then(|handle| handle.lock().map(|()| handle));
        let handle = locked.map_err(|error| fault(&path, "cannot be locked", &error))?;
        Ok(Self { handle, path })
    }

    /// Puts `bytes` in the place of the file, with the owner and mode of the old one.
    fn replace(&self, target: &Path, bytes: &[u8], old: Option<&fs::Metadata>) -> io::Result<()> {
        let temporary = self.temporary(target);
        let result = write_new(&temporary, bytes, old)
            .and_then(|()| fs::rename(&temporary, target))
            .and_then(|()| self.handle.sync_all());
        if result.is_err() {
            // No process reads it.
            let _ = fs::remove_file(&temporary);
        }
        result
    }

    /// Always the same name: the lock keeps it to one command, and what a crash leaves behind
    /// does not pile up.
    fn temporary(&self, target: &Path) -> PathBuf {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        self.path.join(format!(".{name}.gatepost-new"))
    }
}

fn write_new(path: &Path, bytes: &[u8], old: Option<&fs::Metadata>) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    // A new file, never an existing one.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    if let Some(old) = old {
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            fchown(&file, Some(old.uid()), Some(old.gid())).map_err(|error| {
                let remedy = "run this as the owner of the file";
                io::Error::new(error.kind(), format!("its owner cannot be kept: {remedy}"))
            })?;
        }
        file.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}

fn missing(path: &Path) -> Failure {
    mistake(path, "no such file; `gatepost key create` creates it".to_owned())
}

fn mistake(path: &Path, message: String) -> Failure {
    let path = path.to_owned();
    Failure::Mistakes(vec![Mistake {
        file: path,
        line: 0,
        column: 0,
        path: String::new(),
        message,
    }])
}

fn refuse_edit(path: &Path, error: &EditError) -> Failure {
    let message = format!("{}: {error}", path.display());
    match error {
        EditError::Layout { .. } => Failure::No(message),
        EditError::Verification => Failure::Fault(message),
    }
}

fn fault(path: &Path, what: &str, error: &io::Error) -> Failure {
    Failure::Fault(format!("{}: {what}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_file_name_is_a_file_in_this_folder() {
        let here = std::env::current_dir().and_then(fs::canonicalize).unwrap();
        let name = "there-is-no-such-file.yaml";
        assert_eq!(resolve(Path::new(name)).unwrap(), here.join(name));
        assert_eq!(resolve(Path::new("./src/..").join(name).as_path()).unwrap(), here.join(name));
        for wrong in ["", "/", "..", "no-such-folder/keys.yaml"] {
            let resolved = resolve(Path::new(wrong)).ok();
            assert!(resolved.is_none_or(|path| path.is_dir()), "{wrong:?}");
        }
    }
}
