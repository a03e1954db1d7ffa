//! Reading the files that the configuration names.
//!
//! Owns [`Disk`], so that everything above it can be driven without one, and [`LocalDisk`], the
//! real thing. Never interprets a byte, never writes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
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

/// The source of files.
pub trait Disk {
    /// Reads a whole file of at most `limit` bytes.
    ///
    /// # Errors
    /// An error of the system, a file that is too large, or a path that is not a file.
    fn read(&self, path: &Path, limit: usize) -> io::Result<Content>;

    /// True if a file is on a secret or config map volume of Kubernetes, where `chmod` fails or is
    /// undone.
    fn is_on_kubernetes_volume(&self, _path: &Path) -> bool {
        false
    }

    /// Opens a file of at most `limit` bytes, to be read piece by piece.
    ///
    /// # Errors
    /// As [`Self::read`]; a file that is too large may say so only when it is read.
    fn open(&self, path: &Path, limit: usize) -> io::Result<Box<dyn BufRead>> {
        Ok(Box::new(Cursor::new(self.read(path, limit)?.bytes)))
    }
}

/// The link by which Kubernetes replaces all files of a volume at once.
const KUBERNETES_DATA: &str = "..data";

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalDisk;

impl Disk for LocalDisk {
    fn is_on_kubernetes_volume(&self, path: &Path) -> bool {
        let data = path.parent().map(|folder| folder.join(KUBERNETES_DATA));
        data.is_some_and(|data| data.is_symlink())
    }

    fn read(&self, path: &Path, limit: usize) -> io::Result<Content> {
        let mut file = open_regular(path)?;
        let metadata = file.metadata()?;
        let mut bytes = Vec::new();
        let ceiling = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        Read::by_ref(&mut file).take(ceiling).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            return Err(too_large(limit));
        }
        Ok(Content { bytes, mode: mode(&metadata) })
    }

    fn open(&self, path: &Path, limit: usize) -> io::Result<Box<dyn BufRead>> {
        let file = open_regular(path)?;
        if file.metadata()?.len() > limit as u64 {
            return Err(too_large(limit));
        }
        let left = limit;
        Ok(Box::new(BufReader::with_capacity(PIECE, Bounded { file, limit, left })))
    }
}

/// The size of one read.
const PIECE: usize = 128 << 10;

/// A file that may grow while it is read, but not beyond its limit.
struct Bounded {
    file: File,
    limit: usize,
    left: usize,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.left = self.left.checked_sub(read).ok_or_else(|| too_large(self.limit))?;
        Ok(read)
    }
}

fn open_regular(path: &Path) -> io::Result<File> {
    // A pipe or a device could block for ever or never end.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    File::open(path)
}

fn too_large(limit: usize) -> io::Error {
    io::Error::other(format!("larger than {limit} bytes"))
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

    #[test]
    fn a_file_is_read_piece_by_piece_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, b"12345").unwrap();
        let read = |limit| {
            let mut bytes = Vec::new();
            LocalDisk.open(&path, limit)?.read_to_end(&mut bytes).map(|_| bytes)
        };
        assert_eq!(read(5).unwrap(), b"12345");
        assert!(read(4).is_err());
        assert!(LocalDisk.open(folder.path(), 5).is_err());
        // It grows between opening and reading.
        let mut open = LocalDisk.open(&path, 5).unwrap();
        std::fs::write(&path, b"123456").unwrap();
        assert!(open.read_to_end(&mut Vec::new()).is_err());
    }
}
