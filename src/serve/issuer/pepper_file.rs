//! The pepper that is made at the first start, where none is configured.
//!
//! Owns its file in `state_dir`: 32 random bytes, mode 0600, synced before anything is sealed under
//! it. Never overwrites one, and never makes one for a store that has secrets already.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::issue::safe_store::{PEPPER_BYTES, Pepper, Peppers};
use crate::serve::issuer::vault::fill;

/// The id of the pepper.
const ID: &str = "p1";
const NAME: &str = "pepper-p1.key";

/// The file does not serve: what is wrong, and the remedy.
#[derive(Debug, Error)]
#[error("{}: {message}", path.display())]
pub(crate) struct PepperFileError {
    path: PathBuf,
    message: Box<str>,
}

/// The file.
pub(crate) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(NAME)
}

/// Returns whether the pepper of this id is there.
pub(crate) fn is_there(state_dir: &Path, id: &str) -> bool {
    id == ID && path(state_dir).exists()
}

/// Reads the pepper, or makes it for a store that has none.
///
/// # Errors
/// [`PepperFileError`].
pub(crate) fn open(state_dir: &Path, is_new: bool) -> Result<Peppers, PepperFileError> {
    let path = path(state_dir);
    let wrong = |message: String| {
        let (path, message) = (path.clone(), message.into());
        PepperFileError { path, message }
    };
    let bytes = match read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_new => {
            let made = make(&path).map_err(|error| wrong(error.to_string()))?;
            tracing::info!(
                file = %path.display(),
                "safe_store: pepper made; keep a copy apart from the copies of the store"
            );
            made
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let remedy = "the pepper is missing, and the store has secrets under it: restore the \
                          file, or run `gatepost safe-store forget p1` to give those secrets up";
            return Err(wrong(remedy.to_owned()));
        }
        Err(error) => return Err(wrong(error.to_string())),
    };
    let pepper = Pepper::new(ID, &bytes).map_err(|error| wrong(error.to_string()))?;
    Peppers::new([pepper], ID).map_err(|error| wrong(error.to_string()))
}

fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let found = fs::metadata(path)?;
    if found.mode() & 0o077 != 0 {
        return Err(io::Error::other("can be read by others: set its mode to 0600"));
    }
    if found.len() > PEPPER_BYTES as u64 {
        return Err(io::Error::other("not a pepper: longer than 32 bytes"));
    }
    fs::read(path).map(Zeroizing::new)
}

fn make(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; PEPPER_BYTES]);
    fill(&mut bytes).map_err(io::Error::other)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    // The name as well.
    let folder = path.parent().unwrap_or(path);
    File::open(folder)?.sync_all()?;
    Ok(bytes)
}
