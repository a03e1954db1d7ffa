//! Reading the files that the configuration names.
//!
//! Owns [`Disk`], so that everything above it can be driven without one, and [`LocalDisk`], the
//! real thing. Never interprets a byte, never writes.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A file as it was read: its bytes and who may read it.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "it may hold a secret")]
pub struct Content {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The permission bits (`0o644`), where the system has them.
    pub mode: Option<u32>,
}

/// Where files are read from.
pub trait Disk {
    /// Reads a whole file of at most `limit` bytes.
    ///
    /// # Errors
    /// What the system says, or that the file is too large or not a file.
    fn read(&self, path: &Path, limit: usize) -> io::Result<Content>;
}

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalDisk;

impl Disk for LocalDisk {
    fn read(&self, path: &Path, limit: usize) -> io::Result<Content> {
        // A pipe or a device could block for ever or never end.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        let mut bytes = Vec::new();
        let ceiling = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        Read::by_ref(&mut file).take(ceiling).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            return Err(io::Error::other(format!("larger than {limit} bytes")));
        }
        Ok(Content { bytes, mode: mode(&metadata) })
    }
}

#[cfg(unix)]
fn mode(metadata: &std::fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    Some(metadata.permissions().mode() & 0o7777)
}

#[cfg(not(unix))]
fn mode(_: &std::fs::Metadata) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(LocalDisk.read(&path, 5).unwrap().bytes, b"12345");
        assert!(LocalDisk.read(&path, 4).is_err());
        assert!(LocalDisk.read(folder.path(), 5).is_err());
        assert!(LocalDisk.read(&folder.path().join("absent"), 5).is_err());
    }
}
