//! The start of the issuer: store, peppers, SafeStore, signing keys.
//!
//! Owns the order of the start and the remedies of what can go wrong. An attacker would want an
//! empty store in the place of one that has revocations, or secrets sealed under a pepper that
//! nobody keeps: a store that is missing where there was one is refused, and a pepper is made only
//! with the store that it belongs to. Never serves a request.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::base::clock::{Clock, UnixTime};
use crate::config::files::disk::{Disk, LocalDisk};
use crate::config::model::issuer::{IssuerStartup, PepperFiles, StoreLocation};
use crate::config::{FileReference, Mistake};
use crate::decide::gate::Stored;
use crate::decide::live::Live;
use crate::issue::intent::{Target, Write};
use crate::issue::rows::Id;
use crate::issue::safe_store::{PEPPER_BYTES, Pepper, Peppers};
use crate::issue::signing_key::life::Rotation;
use crate::serve::issuer::keys::{KeysError, KeysFollower, SigningKeys};
use crate::serve::issuer::pepper_file::{self, PepperFileError};
use crate::serve::issuer::vault::{Vault, VaultError, check_complete, known_peppers};
use crate::serve::store::follow::LiveFollower;
use crate::serve::store::sqlite::{self, OpenError, Role};
use crate::serve::store::{Followers, Store, Watch};

/// The log of revocations in `state_dir`.
const REVOCATION_LOG: &str = "revocations.jsonl";

/// Shows that there was a store in `state_dir`, where the peppers are elsewhere.
const MARK: &str = "store.made";

const MARK_TEXT: &str = "gatepost.db was made here: a start without it is refused.\n";

/// An issuer that cannot start: what is wrong, and the remedy.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    /// Files that the configuration names.
    #[error("the configuration has mistakes")]
    Mistakes(Vec<Mistake>),
    /// The store is missing where there was one.
    #[error(
        "{}: the store is missing, but {} belongs to one: restore a backup with `gatepost store \
         restore`, or start with `gatepost run --new-store` if a new, empty store is meant",
        store.display(), witness.display()
    )]
    StoreMissing {
        /// The database.
        store: PathBuf,
        /// The file that shows that there was one.
        witness: PathBuf,
    },
    /// The store.
    #[error("{0}")]
    Open(#[from] OpenError),
    /// The pepper of `state_dir`.
    #[error(transparent)]
    PepperFile(#[from] PepperFileError),
    /// The SafeStore.
    #[error("{0}")]
    Vault(#[from] VaultError),
    /// The signing keys.
    #[error("{0}")]
    Keys(#[from] KeysError),
    /// The system.
    #[error("{0}")]
    System(Box<str>),
}

impl StartError {
    /// Returns whether another configuration or another file is the remedy (exit code 78), not the
    /// state of the system (70).
    pub(crate) const fn is_mistake(&self) -> bool {
        match self {
            Self::Mistakes(_) | Self::StoreMissing { .. } | Self::PepperFile(_) => true,
            Self::Open(error) => error.is_mistake(),
            Self::Vault(error) => error.is_mistake(),
            Self::Keys(_) | Self::System(_) => false,
        }
    }
}

/// The inputs of a start.
#[derive(Debug)]
pub(crate) struct Opening<'a> {
    pub(crate) startup: &'a IssuerStartup,
    pub(crate) rotation: Rotation,
    pub(crate) state_dir: &'a Path,
    pub(crate) insecure_file_modes: bool,
    pub(crate) clock: Clock,
    pub(crate) role: Role,
    pub(crate) watch: Watch,
    /// An empty store is meant.
    pub(crate) new_store: bool,
}

/// A store with its keys, open.
#[derive(Debug)]
pub(crate) struct OpenStore {
    pub(crate) store: Store,
    pub(crate) live: Arc<Live>,
    pub(crate) keys: Arc<SigningKeys>,
    pub(crate) vault: Arc<Vault>,
}

impl OpenStore {
    /// The parts that the gate needs.
    pub(crate) fn stored(&self, startup: &IssuerStartup) -> Stored {
        let stored = Stored::new(&startup.url, Arc::clone(&self.live), self.keys.followed());
        stored.with_imported(self.vault.digest_key().clone())
    }
}

impl Opening<'_> {
    /// Opens everything.
    ///
    /// # Errors
    /// [`StartError`].
    pub(crate) async fn open(&self) -> Result<OpenStore, StartError> {
        let StoreLocation::Sqlite(path) = &self.startup.store;
        if !self.new_store {
            self.refuse_missing(path)?;
        }
        let folder = path.parent().unwrap_or(self.state_dir);
        make_folder(folder)?;
        // Mistakes in configured files come before the store is touched.
        let configured = self.startup.peppers.as_ref();
        let configured = configured.map(|files| self.configured(files)).transpose()?;
        let (live, keys) = (Arc::new(Live::default()), Arc::new(SigningKeys::default()));
        let followers = IssuerFollowers {
            live: LiveFollower::new(Arc::clone(&live)),
            keys: KeysFollower(Arc::clone(&keys)),
        };
        let (clock, watch) = (self.clock, self.watch.clone());
        let clocks = Box::new(move || clock.now());
        let store = sqlite::open_watched(folder, self.role, clocks, Box::new(followers), watch)?;
        let opened = self.unlock(&store, configured, &keys).await;
        match opened.and_then(|vault| self.mark().map(|()| vault)) {
            Ok(vault) => Ok(OpenStore { store, live, keys, vault }),
            Err(error) => {
                store.close().await;
                Err(error)
            }
        }
    }

    async fn unlock(
        &self,
        store: &Store,
        configured: Option<Peppers>,
        keys: &SigningKeys,
    ) -> Result<Arc<Vault>, StartError> {
        let peppers = match configured {
            Some(peppers) => peppers,
            None => {
                let known = known_peppers(store).await?;
                pepper_file::open(self.state_dir, known.is_empty())?
            }
        };
        check_complete(store, &peppers).await?;
        let vault = Arc::new(Vault::open(store, peppers).await?);
        keys.start(store, &vault, &self.rotation).await?;
        Ok(vault)
    }

    /// Leaves a mark beside the store that a lost one is known by.
    fn mark(&self) -> Result<(), StartError> {
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.state_dir.join(MARK);
        let mut options = std::fs::OpenOptions::new();
        let made = options.write(true).create_new(true).mode(0o600).open(&path);
        let written = made.and_then(|mut file| file.write_all(MARK_TEXT.as_bytes()));
        match written {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(StartError::System(format!("{}: {error}", path.display()).into()))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// A store that is missing where its pepper, a revocation or its mark is, was lost.
    fn refuse_missing(&self, store: &Path) -> Result<(), StartError> {
        // An empty file is no store.
        if store.metadata().is_ok_and(|file| file.len() > 0) {
            return Ok(());
        }
        let log = self.state_dir.join(REVOCATION_LOG);
        let is_used = |path: &PathBuf| path.metadata().is_ok_and(|file| file.len() > 0);
        let witnesses = [pepper_file::path(self.state_dir), log, self.state_dir.join(MARK)];
        let witness = witnesses.into_iter().find(is_used);
        let store = store.to_owned();
        witness.map_or(Ok(()), |witness| Err(StartError::StoreMissing { store, witness }))
    }

    fn configured(&self, files: &PepperFiles) -> Result<Peppers, StartError> {
        read_peppers(files, self.insecure_file_modes)
    }
}

/// Reads the configured peppers.
///
/// # Errors
/// Every mistake in their files.
pub(crate) fn read_peppers(
    files: &PepperFiles,
    insecure_file_modes: bool,
) -> Result<Peppers, StartError> {
    let read = files.files.iter().map(|(id, file)| read_pepper(id, file, insecure_file_modes));
    let (mut peppers, mut mistakes) = (Vec::new(), Vec::new());
    for one in read {
        match one {
            Ok(pepper) => peppers.push(pepper),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    if !mistakes.is_empty() {
        return Err(StartError::Mistakes(mistakes));
    }
    let named = files.files.first().map(|(_, file)| file);
    Peppers::new(peppers, &files.active).map_err(|error| match named {
        Some(file) => StartError::Mistakes(vec![file.mistake(error.to_string())]),
        None => StartError::System(error.to_string().into()),
    })
}

fn read_pepper(id: &str, file: &FileReference, insecure: bool) -> Result<Pepper, Mistake> {
    let path = file.path.display();
    let read = LocalDisk.read(&file.path, PEPPER_BYTES + 1);
    let lost = format!("if it is lost: gatepost safe-store forget {id}");
    let content = read.map_err(|error| file.mistake(format!("{path}: {error}; {lost}")))?;
    let is_exposed = content.mode.is_some_and(|mode| mode & 0o077 != 0);
    let may_be = insecure || LocalDisk.is_on_kubernetes_volume(&file.path);
    if is_exposed && !may_be {
        let remedy = format!("{path} can be read by others: set its mode to 0600");
        return Err(file.mistake(remedy));
    }
    Pepper::new(id, &content.bytes).map_err(|error| {
        let made = "make one with `head -c 32 /dev/urandom`";
        file.mistake(format!("{path}: {error}; {made}"))
    })
}

/// The folder of the store, for its owner alone.
fn make_folder(folder: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| {
        StartError::System(format!("state_dir {}: {error}", folder.display()).into())
    })
}

/// Live credentials and signing keys follow one store.
struct IssuerFollowers {
    live: LiveFollower,
    keys: KeysFollower,
}

/// Keys first: a token that is signed with a new key verifies.
impl Followers for IssuerFollowers {
    fn reset(&mut self) {
        self.keys.reset();
        self.live.reset();
    }

    fn loaded(&mut self) {
        self.keys.loaded();
        self.live.loaded();
    }

    fn abandoned(&mut self) {
        self.keys.abandoned();
        self.live.abandoned();
    }

    fn apply(&mut self, writes: &[Write]) {
        self.keys.apply(writes);
        self.live.apply(writes);
    }

    fn load(&mut self, writes: Vec<Write>) {
        self.keys.apply(&writes);
        self.live.load(writes);
    }

    fn uses(&mut self, now: UnixTime) -> Vec<(Id, UnixTime)> {
        self.live.uses(now)
    }

    fn end(&mut self, target: &Target, at: UnixTime) {
        self.keys.end(target);
        self.live.end(target, at);
    }

    fn stored(&mut self, target: &Target) {
        self.live.stored(target);
    }

    fn forget(&mut self, ends: &[Id]) {
        self.live.forget(ends);
    }
}

#[cfg(test)]
mod tests;
