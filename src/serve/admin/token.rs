//! The admin token that a process with an issuer makes where none is configured.
//!
//! Owns the file `admin.token` in `state_dir`, mode 0600, which the commands of its owner find.
//! Applications and plugins share the loopback interface: without it they could make keys. Never
//! replaces a token, and never accepts a file that others can read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::base::secret::Secret;

const FILE: &str = "admin.token";

/// Random bytes of a token.
const BYTES: usize = 32;

/// The shortest accepted token, in characters.
const CHARS_MIN: usize = 16;

/// The longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1024;

/// Reads the token, or makes it.
///
/// # Errors
/// The file cannot be made or read, is readable by others, or has no token.
pub(crate) fn ensure(state_dir: &Path) -> io::Result<Secret<String>> {
    match read(state_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(state_dir),
        made => made.map(|made| made.token),
    }
}

/// A token that was made.
#[derive(Debug)]
pub(crate) struct Made {
    /// The token.
    pub token: Secret<String>,
    /// The user id of the process that made it.
    pub owner: u32,
}

/// Reads the token.
///
/// # Errors
/// As [`ensure`], and that there is none.
pub(crate) fn read(state_dir: &Path) -> io::Result<Made> {
    let path = state_dir.join(FILE);
    let found = fs::metadata(&path)?;
    if found.mode() & 0o077 != 0 {
        return Err(named(&path, "readable by others: chmod 600, or delete it"));
    }
    if found.len() > FILE_BYTES_MAX {
        return Err(named(&path, "not an admin token: delete it"));
    }
    let text = Secret::new(fs::read_to_string(&path)?);
    let token = text.expose().trim_end_matches('\n');
    if token.len() < CHARS_MIN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(named(&path, "not an admin token: delete it"));
    }
    Ok(Made { token: Secret::new(token.to_owned()), owner: found.uid() })
}

/// Written beside and renamed: a reader never sees half of it.
fn make(state_dir: &Path) -> io::Result<Secret<String>> {
    let mut bytes = [0; BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("no randomness"))?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let token = Secret::new(token);
    let path = state_dir.join(FILE);
    let beside = path.with_extension("token.new");
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(format!("{}\n", token.expose()).as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, &path)?;
    Ok(token)
}

fn named(path: &Path, message: &str) -> io::Error {
    io::Error::other(format!("{}: {message}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn contract_admin_a_token_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap_err().kind(), io::ErrorKind::NotFound);
        let token = ensure(folder.path()).unwrap();
        assert_eq!(token.expose().len(), 64);
        assert_eq!(ensure(folder.path()).unwrap().expose(), token.expose());
        let path = folder.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(ensure(folder.path()).unwrap_err().to_string().contains("chmod 600"));
        fs::write(&path, "short\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(ensure(folder.path()).is_err());
    }
}
