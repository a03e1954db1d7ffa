//! The files of the store: database, lock, reserve.
//!
//! Owns who may open them, and the space that is kept back for ends. The lock keeps a file to one
//! `run`; it is beside the database, which SQLite locks by itself. Never reads a row.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::serve::store::sqlite::{OpenError, Role};

/// Kept back for ends: revoking must work on a full disk.
const RESERVE_BYTES: usize = 16 << 20;

/// File systems on other machines, where locks and memory maps of SQLite are unreliable.
const NETWORK: [&str; 12] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ceph",
    "afs",
    "ncpfs",
    "lustre",
    "fuse.sshfs",
    "fuse.glusterfs",
    "fuse.s3fs",
];

/// The open files beside the database.
#[derive(Debug)]
pub(super) struct Files {
    reserve: PathBuf,
    is_kept: bool,
    /// Locked as long as it lives.
    _lock: Option<File>,
}

impl Files {
    /// Checks the place, takes the lock and makes what is missing.
    pub(super) fn open(path: &Path, role: Role) -> Result<Self, OpenError> {
        refuse_network(path)?;
        let lock = match role {
            Role::Run => Some(take_lock(path)?),
            Role::Command => None,
        };
        make_database(path)?;
        let mut files = Self { reserve: beside(path, "reserve"), is_kept: false, _lock: lock };
        if role == Role::Run {
            // On a full disk there is none to keep: ends may still fit, everything else is refused.
            files.keep_reserve();
        } else {
            files.is_kept = files.reserve.exists();
        }
        Ok(files)
    }

    pub(super) fn release_reserve(&mut self) -> bool {
        let was_kept = fs::remove_file(&self.reserve).is_ok();
        self.is_kept = false;
        was_kept
    }

    /// Returns whether space is kept back.
    pub(super) fn keep_reserve(&mut self) -> bool {
        if !self.is_kept {
            self.is_kept = write_reserve(&self.reserve).is_ok();
            if !self.is_kept {
                let _ = fs::remove_file(&self.reserve);
            }
        }
        self.is_kept
    }
}

/// Written, not only sized: a sparse file keeps nothing back.
fn write_reserve(path: &Path) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|it| it.len() == RESERVE_BYTES as u64) {
        return Ok(());
    }
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let piece = [0; 1 << 16];
    for _ in 0..RESERVE_BYTES / piece.len() {
        file.write_all(&piece)?;
    }
    file.sync_all()
}

/// The file with another ending.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    path.with_extension(ending)
}

/// Takes the lock alone: no process runs on the store as long as the file lives.
pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    refuse_network(path)?;
    take_lock(path)
}

fn take_lock(path: &Path) -> Result<File, OpenError> {
    let lock = beside(path, "lock");
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(&lock);
    let file = file.map_err(|error| OpenError::system(&lock, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Taken(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(OpenError::system(&lock, error)),
    }
}

/// Makes the database for its owner alone, before SQLite would make it for everyone; its journal
/// and its shared memory have the same mode.
fn make_database(path: &Path) -> Result<(), OpenError> {
    let system = |error| OpenError::system(path, error);
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Ok(file) => return file.sync_all().map_err(system),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(system(error)),
    }
    check_owner(path)?;
    let found = fs::metadata(path).map_err(system)?;
    if found.mode() & 0o077 != 0 {
        tracing::warn!(file = %path.display(), "others could read the store: mode is now 0600");
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(system)?;
    }
    Ok(())
}

/// Refuses a store of another user: what is made beside it would be in the way of its owner.
pub(super) fn check_owner(path: &Path) -> Result<(), OpenError> {
    let system = |error| OpenError::system(path, error);
    let folder = fs::metadata(path.parent().unwrap_or(path)).map_err(system)?.uid();
    let owner = fs::metadata(path).map_or(folder, |found| found.uid());
    // The owner of a process's folder is its effective user.
    let me = fs::metadata("/proc/self").map_err(system)?.uid();
    let other = [owner, folder].into_iter().find(|owner| *owner != me);
    other.map_or(Ok(()), |owner| Err(OpenError::Owner { path: path.to_owned(), owner, me }))
}

fn refuse_network(path: &Path) -> Result<(), OpenError> {
    // Without /proc nothing is known, and nothing is refused.
    let Ok(mounts) = fs::read_to_string("/proc/self/mountinfo") else { return Ok(()) };
    let folder = path.parent().unwrap_or(path);
    let folder = fs::canonicalize(folder).map_err(|error| OpenError::system(folder, error))?;
    let kind = file_system(&mounts, &folder).unwrap_or_default();
    if !NETWORK.contains(&kind) {
        return Ok(());
    }
    Err(OpenError::Network { path: path.to_owned(), kind: kind.into() })
}

/// The type of the file system that a folder is on (proc(5), mountinfo): of the deepest mount
/// point, the last one mounted there.
fn file_system<'m>(mounts: &'m str, folder: &Path) -> Option<&'m str> {
    let mount = |line: &'m str| {
        let (place, rest) = line.split_once(" - ")?;
        let point = place.split(' ').nth(4)?.replace("\\040", " ");
        let depth = Path::new(&point).components().count();
        folder.starts_with(&point).then_some((depth, rest.split(' ').next()?))
    };
    mounts.lines().filter_map(mount).max_by_key(|(depth, _)| *depth).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:27 / /srv/my\\040data rw - nfs4 host:/x rw,vers=4.2
31 22 0:28 / /srv rw - tmpfs tmpfs rw
32 31 0:29 / /srv/a rw - cifs //host/a rw";

    #[test]
    fn the_deepest_mount_point_counts() {
        for (folder, kind) in [
            ("/", "ext4"),
            ("/srvother", "ext4"),
            ("/srv", "tmpfs"),
            ("/srv/b", "tmpfs"),
            ("/srv/a/b", "cifs"),
            ("/srv/my data", "nfs4"),
        ] {
            assert_eq!(file_system(MOUNTS, Path::new(folder)), Some(kind), "{folder}");
        }
    }

    #[test]
    fn contract_a_file_belongs_to_one_run_and_to_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gatepost.db");
        let first = Files::open(&path, Role::Run).unwrap();
        assert_eq!(Files::open(&path, Role::Run).unwrap_err(), OpenError::Taken(path.clone()));
        assert!(Files::open(&path, Role::Command).is_ok());
        drop(first);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let mut files = Files::open(&path, Role::Run).unwrap();
        for name in ["gatepost.db", "gatepost.lock", "gatepost.reserve"] {
            let mode = fs::metadata(folder.path().join(name)).unwrap().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let length = || fs::metadata(folder.path().join("gatepost.reserve")).map(|it| it.len());
        assert_eq!(length().unwrap(), 16 << 20);
        assert!(files.release_reserve() && !files.release_reserve() && length().is_err());
        assert!(files.keep_reserve() && length().is_ok());
    }
}
