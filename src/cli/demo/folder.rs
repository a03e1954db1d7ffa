//! The private folder of the demo.
//!
//! Owns its mode, the files in it, and its end. Never outlives the process by its own doing.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A folder with mode 0700, removed when dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn create() -> io::Result<Self> {
        let mut name = [0_u8; 8];
        aws_lc_rs::rand::fill(&mut name).map_err(|_| io::Error::other("no random bytes"))?;
        let name = format!("gatepost-demo-{:016x}", u64::from_le_bytes(name));
        let path = std::env::temp_dir().join(name);
        // Not recursive: an existing folder may belong to another user.
        DirBuilder::new().mode(0o700).create(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o700))?;
        Ok(Self(path))
    }

    /// Writes the files with mode 0600, and returns the path of the first.
    pub(super) fn write_all(&self, files: &[(&str, &str)]) -> io::Result<PathBuf> {
        for (name, content) in files {
            let path = self.0.join(name);
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(content.as_bytes())?;
        }
        Ok(self.0.join(files[0].0))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Remains lie in the temporary folder; their keys are worthless without this process.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_folder_is_private_and_goes_away() {
        let folder = Folder::create().unwrap();
        let path = folder.path().to_owned();
        let file = folder.write_all(&[("a", "b")]).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&file)), (0o700, 0o600));
        drop(folder);
        assert!(!path.exists());
    }
}
