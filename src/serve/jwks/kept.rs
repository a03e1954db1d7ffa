//! The last good key set of each issuer on disk, so that a process restarted while a key server is
//! down still serves.
//!
//! Owns the folder and the format of its files. A set is checked by the same rules as a fetched
//! one, and only counts for the issuer and the location it was fetched for. An attacker who can
//! write there could impersonate anyone: a file or folder that others can write is not read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock::UnixMillis;
use crate::base::sha256::sha256;
use crate::config::KeyLocation;

/// A body of 1 MiB, escaped.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// The longest `stale_for` that can be configured: an older set is useless.
const USEFUL_MAX: Duration = Duration::from_secs(30 * 86_400);
/// Bound on the entries of the folder that are examined.
const LOOKED_AT_MAX: usize = 10_000;
/// Write permission of the group or of all.
const OTHERS_WRITE: u32 = 0o022;

/// A fetched set, with what a conditional request needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) body: Arc<[u8]>,
    /// The address of the set.
    pub(super) from: String,
    pub(super) etag: Option<String>,
    /// The time it was fetched or confirmed.
    pub(super) fetched: UnixMillis,
}

/// The issuer and location that a set belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) issuer: &'a str,
    pub(super) location: &'a KeyLocation,
}

#[derive(Deserialize, Serialize)]
struct Document {
    issuer: String,
    location: String,
    from: String,
    etag: Option<String>,
    fetched_unix_ms: u64,
    body: String,
}

/// The folder of kept sets.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Logged once.
    has_failed: AtomicBool,
}

impl Folder {
    /// Created when the first set is kept.
    pub(super) fn new(state_dir: &Path) -> Self {
        Self { path: state_dir.join("jwks"), has_failed: AtomicBool::new(false) }
    }

    /// The set kept for a place, if it can be read.
    pub(super) fn load(&self, place: Place<'_>) -> Option<Kept> {
        match self.read(place) {
            Ok(kept) => kept,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let folder = self.path.display();
                tracing::warn!(%error, %folder, issuer = place.issuer, "key set on disk is not used");
                None
            }
        }
    }

    /// Keeps a set. A failure is logged once and has no other effect.
    pub(super) fn store(&self, place: Place<'_>, kept: &Kept) {
        match self.write(place, kept) {
            Ok(()) => self.has_failed.store(false, Ordering::Relaxed),
            Err(error) if !self.has_failed.swap(true, Ordering::Relaxed) => {
                let folder = self.path.display();
                tracing::warn!(
                    %error, %folder,
                    "cannot write key sets to disk: after a restart, an issuer has no keys until its key server answers"
                );
            }
            Err(_) => {}
        }
    }

    /// Removes the set of a place that is no longer configured.
    pub(super) fn forget(&self, place: Place<'_>) {
        let path = self.file(place);
        match fs::remove_file(&path) {
            Ok(()) => {
                tracing::info!(file = %path.display(), issuer = place.issuer, "key set on disk removed");
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let file = path.display();
                tracing::warn!(%error, %file, "cannot remove key set on disk");
            }
        }
    }

    /// Removes the sets of issuers that left the configuration while the process was down: those
    /// not `wanted` and at `now` too old for any configuration.
    pub(super) fn prune(&self, wanted: &[Place<'_>], now: UnixMillis) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        let wanted: Vec<PathBuf> = wanted.iter().map(|place| self.file(*place)).collect();
        for entry in entries.take(LOOKED_AT_MAX).flatten() {
            let path = entry.path();
            if wanted.contains(&path) {
                continue;
            }
            // Only files written here: they parse, and their name matches their content.
            let Ok(document) = read_document(&path) else { continue };
            let is_own = path == self.path.join(name(&document.issuer, &document.location));
            let age = Duration::from_millis(now.0.saturating_sub(document.fetched_unix_ms));
            if is_own && age > USEFUL_MAX {
                // A failure is retried at the next start.
                let _ = fs::remove_file(&path);
            }
        }
    }

    fn read(&self, place: Place<'_>) -> io::Result<Option<Kept>> {
        check_private(&fs::metadata(&self.path)?)?;
        let document = read_document(&self.file(place))?;
        let is_for = document.issuer == place.issuer && document.location == text(place.location);
        Ok(is_for.then(|| Kept {
            body: document.body.into_bytes().into(),
            from: document.from,
            etag: document.etag,
            fetched: UnixMillis(document.fetched_unix_ms),
        }))
    }

    /// Writes a new file, syncs it and renames it: there is never a partial file.
    fn write(&self, place: Place<'_>, kept: &Kept) -> io::Result<()> {
        let body = String::from_utf8(kept.body.to_vec()).map_err(io::Error::other)?;
        let document = Document {
            issuer: place.issuer.to_owned(),
            location: text(place.location),
            from: kept.from.clone(),
            etag: kept.etag.clone(),
            fetched_unix_ms: kept.fetched.0,
            body,
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        let path = self.file(place);
        let fresh = path.with_extension("new");
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(&serde_json::to_vec(&document)?)?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        File::open(&self.path)?.sync_all()
    }

    fn file(&self, place: Place<'_>) -> PathBuf {
        self.path.join(name(place.issuer, &text(place.location)))
    }
}

/// The name of the file for an issuer's set from a location.
fn name(issuer: &str, location: &str) -> String {
    let name = sha256(format!("{issuer}\n{location}").as_bytes());
    let hex: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}.json")
}

fn read_document(path: &Path) -> io::Result<Document> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    check_private(&metadata)?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

fn check_private(metadata: &fs::Metadata) -> io::Result<()> {
    if metadata.mode() & OTHERS_WRITE == 0 {
        return Ok(());
    }
    Err(io::Error::other("writable by group or others"))
}

fn text(location: &KeyLocation) -> String {
    match location {
        KeyLocation::Url(url) => url.uri().to_string(),
        KeyLocation::Discovery => "discovery".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::KeyUrl;

    fn kept() -> Kept {
        Kept {
            body: Arc::from(&b"{\"keys\":[]}"[..]),
            from: "https://a.example/k".to_owned(),
            etag: Some("\"1\"".to_owned()),
            fetched: UnixMillis(1_800_000_000_000),
        }
    }

    fn url(text: &str) -> KeyLocation {
        KeyLocation::Url(KeyUrl::parse(text, false).unwrap())
    }

    #[test]
    fn a_set_is_found_again_for_its_issuer_and_place_alone() {
        let state = tempfile::tempdir().unwrap();
        let folder = Folder::new(&state.path().join("state"));
        let location = url("https://a.example/k");
        let place = Place { issuer: "https://a.example", location: &location };
        assert_eq!(folder.load(place), None);
        folder.store(place, &kept());
        folder.store(place, &kept());
        assert_eq!(folder.load(place), Some(kept()));
        assert_eq!(folder.load(Place { issuer: "https://b.example", ..place }), None);
        let other = url("https://a.example/other");
        assert_eq!(folder.load(Place { location: &other, ..place }), None);
        assert_eq!(folder.load(Place { location: &KeyLocation::Discovery, ..place }), None);
        // Not by its name alone: a moved file belongs to another issuer.
        let moved = Place { issuer: "https://b.example", ..place };
        fs::copy(folder.file(place), folder.file(moved)).unwrap();
        assert_eq!(folder.load(moved), None);
    }

    #[test]
    fn only_own_sets_that_are_useless_are_pruned() {
        let state = tempfile::tempdir().unwrap();
        let folder = Folder::new(&state.path().join("state"));
        folder.prune(&[], UnixMillis(0));
        let place = |issuer: &'static str| Place { issuer, location: &KeyLocation::Discovery };
        let days = |days: u64| UnixMillis(kept().fetched.0 + days * 86_400_000);
        for issuer in ["wanted", "gone"] {
            folder.store(place(issuer), &kept());
        }
        folder.store(place("young"), &Kept { fetched: days(2), ..kept() });
        let stranger = folder.path.join("stranger.json");
        fs::copy(folder.file(place("gone")), &stranger).unwrap();
        fs::write(folder.path.join("notes.txt"), "mine").unwrap();
        let count = || fs::read_dir(&folder.path).unwrap().count();
        folder.prune(&[place("wanted")], days(30));
        assert_eq!(count(), 5, "30 days may be configured");
        folder.prune(&[place("wanted")], days(31));
        assert_eq!(count(), 4);
        assert!(!folder.file(place("gone")).exists() && stranger.exists());
        folder.forget(place("young"));
        folder.forget(place("young"));
        assert_eq!(count(), 3);
        assert_eq!(folder.load(place("wanted")), Some(kept()));
    }

    #[test]
    fn only_the_owner_may_reach_what_is_kept() {
        let state = tempfile::tempdir().unwrap();
        let folder = Folder::new(&state.path().join("state"));
        let place = Place { issuer: "i", location: &KeyLocation::Discovery };
        folder.store(place, &kept());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.path), 0o700);
        assert_eq!(mode(&folder.file(place)), 0o600);
        fs::set_permissions(folder.file(place), fs::Permissions::from_mode(0o620)).unwrap();
        assert_eq!(folder.load(place), None);
        fs::set_permissions(folder.file(place), fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(&folder.path, fs::Permissions::from_mode(0o707)).unwrap();
        assert_eq!(folder.load(place), None);
    }

    #[test]
    fn a_broken_file_is_ignored() {
        let state = tempfile::tempdir().unwrap();
        let folder = Folder::new(state.path());
        let place = Place { issuer: "i", location: &KeyLocation::Discovery };
        folder.store(place, &kept());
        for broken in ["", "{}", "null", "{\"issuer\":\"i\"}"] {
            fs::write(folder.file(place), broken).unwrap();
            assert_eq!(folder.load(place), None, "{broken}");
        }
        folder.store(place, &kept());
        assert_eq!(folder.load(place), Some(kept()));
    }
}
