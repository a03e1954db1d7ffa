//! The last good set of each issuer on disk, so that a restart while a key server is down still
//! serves.
//!
//! Owns the folder and the form of its files. What is read is checked by the very same rules as
//! what is fetched, and only counts for the issuer and the place it was fetched for. An attacker who
//! may write there is whoever he likes: a file or folder that others can write is not read.

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
/// The longest `stale_for` that can be configured: a set that is older is of no use to anybody.
const USEFUL_MAX: Duration = Duration::from_secs(30 * 86_400);
/// Entries of the folder that are looked at.
const LOOKED_AT_MAX: usize = 10_000;
/// Writing for the group or the world.
const OTHERS_WRITE: u32 = 0o022;

/// A set that was fetched, and what is needed to ask for it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) body: Arc<[u8]>,
    /// The address of the set.
    pub(super) from: String,
    pub(super) etag: Option<String>,
    /// When it was fetched or confirmed.
    pub(super) fetched: UnixMillis,
}

/// Whose set it is.
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

/// The folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Said once.
    has_failed: AtomicBool,
}

impl Folder {
    /// Made when something is first kept.
    pub(super) fn new(state_dir: &Path) -> Self {
        Self { path: state_dir.join("jwks"), has_failed: AtomicBool::new(false) }
    }

    /// What was kept for a place, if it can be read.
    pub(super) fn load(&self, place: Place<'_>) -> Option<Kept> {
        match self.read(place) {
            Ok(kept) => kept,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let folder = self.path.display();
                tracing::warn!(%error, %folder, issuer = place.issuer, "a kept key set is not used");
                None
            }
        }
    }

    /// Keeps a set. That it cannot is said once: everything goes on without.
    pub(super) fn store(&self, place: Place<'_>, kept: &Kept) {
        match self.write(place, kept) {
            Ok(()) => self.has_failed.store(false, Ordering::Relaxed),
            Err(error) if !self.has_failed.swap(true, Ordering::Relaxed) => {
                let folder = self.path.display();
                tracing::warn!(
                    %error, %folder,
                    "key sets cannot be kept: a restart while a key server is down will not serve its issuer"
                );
            }
            Err(_) => {}
        }
    }

    /// Forgets the set of a place that is no longer configured.
    pub(super) fn forget(&self, place: Place<'_>) {
        let path = self.file(place);
        match fs::remove_file(&path) {
            Ok(()) => {
                tracing::info!(file = %path.display(), issuer = place.issuer, "a kept key set was removed");
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let file = path.display();
                tracing::warn!(%error, %file, "a kept key set could not be removed");
            }
        }
    }

    /// Forgets what issuers left behind that were gone at a start: sets of ours that are not
    /// `wanted`, and too old for any configuration at `now`.
    pub(super) fn prune(&self, wanted: &[Place<'_>], now: UnixMillis) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        let wanted: Vec<PathBuf> = wanted.iter().map(|place| self.file(*place)).collect();
        for entry in entries.take(LOOKED_AT_MAX).flatten() {
            let path = entry.path();
            if wanted.contains(&path) {
                continue;
            }
            // Only what we wrote: it reads as a set, and has the name of what it says.
            let Ok(document) = read_document(&path) else { continue };
            let is_ours = path == self.path.join(name(&document.issuer, &document.location));
            let age = Duration::from_millis(now.0.saturating_sub(document.fetched_unix_ms));
            if is_ours && age > USEFUL_MAX {
                // Next time, then.
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

    /// Beside it, to the disk, then renamed over it: there is never half a file.
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
    Err(io::Error::other("others can write it"))
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
        // Not by its name alone: a file that was moved there is another issuer's.
        let moved = Place { issuer: "https://b.example", ..place };
        fs::copy(folder.file(place), folder.file(moved)).unwrap();
        assert_eq!(folder.load(moved), None);
    }

    #[test]
    fn only_sets_of_ours_that_nobody_can_use_are_pruned() {
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
    fn what_is_broken_on_disk_is_as_if_it_were_not_there() {
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
