//! Which version of each file is in use.
//!
//! Owns the memory of good versions and the step from a file's bytes to the version that counts
//! now. A version is known again by its fingerprint, so that what did not change is neither
//! parsed again nor replaced.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::base::secret::Secret;
use crate::base::sha256::{Sha256, sha256};
use crate::config::files::disk::Disk;
use crate::config::language::mistake::Mistake;
use crate::config::model::FileReference;
use crate::decide::api_key::{KeyRing, KeySegment};
use crate::decide::identity::IdentityHeaderName;
use crate::decide::jwt::{Algorithm, KeySet};
use crate::decide::live::Live;
use crate::decide::revocation::{Entry, RevocationSet};

use super::Loading;
use super::remote::RemoteKeySets;
use super::tls::{Authorities, BuiltTls, OwnCertificate};

/// The most versions that are remembered while loads keep failing; a load that succeeds forgets
/// what it did not use.
const REMEMBERED_MAX: usize = 1_000;

/// The last good version of every file, kept from load to load.
#[derive(Debug, Default)]
pub struct LastGood {
    pub(super) versions: HashMap<FileUse, Version>,
    pub(super) ring: Option<BuiltRing>,
    pub(super) remote: RemoteKeySets,
    pub(super) revoked: Option<BuiltSet>,
    pub(super) tls: BuiltTls,
    pub(super) load: u64,
    /// The keys of the issuer's store, once it is loaded.
    pub(super) stored: Option<Arc<Live>>,
}

impl LastGood {
    /// Compares new versions of key files with these keys from now on.
    pub fn compare_with(&mut self, stored: Arc<Live>) {
        self.stored = Some(stored);
    }
}

/// Peppers by name, in the order of the configuration.
pub(super) type NamedPeppers = Vec<(Box<str>, Arc<Secret<Vec<u8>>>)>;

/// A ring and what it was made of: the same ring serves while nothing of this changes.
#[derive(Debug)]
pub(super) struct BuiltRing {
    pub(super) files: Vec<Arc<KeySegment>>,
    pub(super) peppers: NamedPeppers,
    pub(super) claim_headers: Vec<(Box<str>, IdentityHeaderName)>,
    pub(super) ring: Arc<KeyRing>,
}

/// A set and what it was built from, used again while that is the same.
#[derive(Debug)]
pub(super) struct BuiltSet {
    pub(super) files: Vec<Arc<Vec<Entry>>>,
    pub(super) set: Arc<RevocationSet>,
}

/// A file and everything that shapes how it is read: the same file may be read in two ways.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum FileUse {
    KeySet {
        path: PathBuf,
        secret: bool,
        algorithms: Vec<Algorithm>,
    },
    KeyFile {
        path: PathBuf,
        peppers: Vec<Box<str>>,
    },
    Pepper {
        path: PathBuf,
    },
    ClientSecret {
        path: PathBuf,
    },
    Authorities {
        path: PathBuf,
    },
    Roots {
        path: PathBuf,
    },
    Certificate {
        certificate: PathBuf,
        private_key: PathBuf,
    },
    /// Issuers by name and identifier.
    Revocations {
        path: PathBuf,
        issuers: Vec<(Arc<str>, Arc<str>)>,
    },
}

/// One good version of a file.
#[derive(Clone, Debug)]
pub(super) struct Version {
    fingerprint: Fingerprint,
    pub(super) parsed: Parsed,
    /// The load that used it last.
    used: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Parsed {
    KeySet(Arc<KeySet>),
    Keys(Arc<KeySegment>),
    Pepper(Arc<Secret<Vec<u8>>>),
    Authorities(Arc<Vec<u8>>),
    Certificate(Arc<OwnCertificate>),
    Roots(Arc<Authorities>),
    Revocations(Arc<Vec<Entry>>),
}

/// The SHA-256 of a file. Not shown: that of a short secret is as good as the secret.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(..)")
    }
}

impl Fingerprint {
    fn of(bytes: &[u8]) -> Self {
        Self(sha256(bytes))
    }
}

/// A file that is hashed while it is read.
struct Hashing {
    file: Box<dyn BufRead>,
    hash: Sha256,
}

impl Hashing {
    fn new(file: Box<dyn BufRead>) -> Self {
        Self { file, hash: Sha256::default() }
    }

    /// Reads what is left, and returns the fingerprint and how many lines that were.
    fn survey(mut self) -> io::Result<(Fingerprint, usize)> {
        let mut lines = 1;
        loop {
            let piece = self.fill_buf()?;
            let length = piece.len();
            lines += piece.iter().filter(|&&byte| byte == b'\n').count();
            if length == 0 {
                return Ok((Fingerprint(self.hash.finish()), lines));
            }
            self.consume(length);
        }
    }
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

impl BufRead for Hashing {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.file.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        // It was filled before, so that this reads nothing.
        if let Ok(piece) = self.file.fill_buf() {
            self.hash.update(&piece[..length.min(piece.len())]);
        }
        self.file.consume(length);
    }
}

/// The current content of a file.
pub(super) struct Candidate {
    pub(super) parsed: Parsed,
    /// The fingerprint of a version that is not remembered yet.
    pub(super) fresh: Option<Fingerprint>,
}

impl Loading<'_> {
    /// Reads a file as it is now; with a mistake in it, as it was when it was last good.
    pub(super) fn candidate(
        &mut self,
        file: &FileReference,
        file_use: &FileUse,
        limit: usize,
        private: bool,
        parse: impl FnOnce(&[u8]) -> Result<Parsed, Vec<Mistake>>,
    ) -> Option<Candidate> {
        let known = self.last_good.versions.get(file_use);
        let known_as =
            |fresh| known.map(|version| Candidate { parsed: version.parsed.clone(), fresh });
        let (bytes, exposed) = match read(file, limit, self.disk) {
            Ok(read) => read,
            Err(mistake) => {
                self.mistakes.push(mistake);
                return known_as(None);
            }
        };
        // Anyone who can read a secret can impersonate everyone it authenticates.
        let exposed = exposed.filter(|_| !self.dynamic.insecure_file_modes);
        if private && let Some(exposed) = &exposed {
            self.mistakes.push(exposed.clone());
            return known_as(None);
        }
        let fingerprint = Fingerprint::of(&bytes);
        let candidate = match known {
            Some(version) if version.fingerprint == fingerprint => known_as(None),
            Some(_) | None => match parse(&bytes) {
                Ok(parsed) => Some(Candidate { parsed, fresh: Some(fingerprint) }),
                Err(mistakes) => {
                    self.mistakes.extend(mistakes);
                    return known_as(None);
                }
            },
        };
        // A JWK set is public, unless it turns out to hold HMAC keys.
        let private = candidate.as_ref().is_some_and(|candidate| match &candidate.parsed {
            Parsed::KeySet(keys) => keys.holds_secret(),
            Parsed::Keys(_)
            | Parsed::Pepper(_)
            | Parsed::Authorities(_)
            | Parsed::Certificate(_)
            | Parsed::Roots(_)
            | Parsed::Revocations(_) => false,
        });
        if private && let Some(exposed) = exposed {
            self.mistakes.push(exposed);
            return known_as(None);
        }
        candidate
    }

    /// As [`Self::candidate`], for a public and a private file that go together: they have one
    /// version, and a mistake in one keeps the last good version of both.
    pub(super) fn pair(
        &mut self,
        [public, private]: [&FileReference; 2],
        file_use: &FileUse,
        limit: usize,
        parse: impl FnOnce(&[u8], &[u8]) -> Result<Parsed, Vec<Mistake>>,
    ) -> Option<Candidate> {
        let known = self.last_good.versions.get(file_use);
        let known_as =
            || known.map(|known| Candidate { parsed: known.parsed.clone(), fresh: None });
        let read = |file| read(file, limit, self.disk);
        let (public, private) = match (read(public), read(private)) {
            (Ok((public, _)), Ok((private, exposed))) => {
                if let Some(exposed) = exposed.filter(|_| !self.dynamic.insecure_file_modes) {
                    self.mistakes.push(exposed);
                    return known_as();
                }
                (public, private)
            }
            (public, private) => {
                self.mistakes.extend([public.err(), private.err()].into_iter().flatten());
                return known_as();
            }
        };
        let fingerprint = Fingerprint::of(&[sha256(&public), sha256(&private)].concat());
        if known.is_some_and(|version| version.fingerprint == fingerprint) {
            return known_as();
        }
        match parse(&public, &private) {
            Ok(parsed) => Some(Candidate { parsed, fresh: Some(fingerprint) }),
            Err(mistakes) => {
                self.mistakes.extend(mistakes);
                known_as()
            }
        }
    }

    /// As [`Self::candidate`], for a file that is too large to be in memory: read once to know
    /// whether it changed and how many lines it has, and once more to parse it if it did.
    pub(super) fn streamed(
        &mut self,
        file: &FileReference,
        file_use: &FileUse,
        limit: usize,
        parse: impl FnOnce(&mut dyn BufRead, usize) -> io::Result<Result<Parsed, Vec<Mistake>>>,
    ) -> Option<Candidate> {
        let known = self.last_good.versions.get(file_use);
        let read = || {
            let (now, lines) = Hashing::new(self.disk.open(&file.path, limit)?).survey()?;
            if known.is_some_and(|version| version.fingerprint == now) {
                return Ok(None);
            }
            let mut hashing = Hashing::new(self.disk.open(&file.path, limit)?);
            let parsed = parse(&mut hashing, lines)?;
            // Of what was parsed, should the file have changed meanwhile.
            Ok(Some(parsed.map(|parsed| (parsed, Fingerprint(hashing.hash.finish())))))
        };
        let mistakes = match read() {
            Ok(Some(Ok((parsed, fingerprint)))) => {
                return Some(Candidate { parsed, fresh: Some(fingerprint) });
            }
            Ok(None) => Vec::new(),
            Ok(Some(Err(mistakes))) => mistakes,
            Err(error) => vec![cannot_read(file, &error)],
        };
        self.mistakes.extend(mistakes);
        known.map(|version| Candidate { parsed: version.parsed.clone(), fresh: None })
    }

    /// Remembers a version that is in use.
    pub(super) fn keep(&mut self, file_use: FileUse, candidate: Candidate) -> Parsed {
        let used = self.last_good.load;
        let parsed = candidate.parsed.clone();
        match candidate.fresh {
            Some(fingerprint) => {
                let version = Version { fingerprint, parsed: candidate.parsed, used };
                self.last_good.versions.insert(file_use, version);
            }
            None => {
                if let Some(version) = self.last_good.versions.get_mut(&file_use) {
                    version.used = used;
                }
            }
        }
        parsed
    }
}

impl LastGood {
    /// The key set that a file holds so far; one without keys where it was never good.
    pub(super) fn keys_of(&self, file_use: &FileUse) -> Arc<KeySet> {
        match self.versions.get(file_use).map(|version| &version.parsed) {
            Some(Parsed::KeySet(keys)) => Arc::clone(keys),
            Some(
                Parsed::Keys(_)
                | Parsed::Pepper(_)
                | Parsed::Authorities(_)
                | Parsed::Certificate(_)
                | Parsed::Roots(_)
                | Parsed::Revocations(_),
            )
            | None => self.no_keys(),
        }
    }

    /// Drops what this load did not use: once it succeeded nothing else runs, and until then only
    /// when there is too much.
    pub(super) fn forget(&mut self, succeeded: bool) {
        if succeeded || self.versions.len() > REMEMBERED_MAX {
            let load = self.load;
            self.versions.retain(|_, version| version.used == load);
            self.remote.forget(load);
        }
    }
}

/// Reads a file, and says with which mistake it is refused if it is secret: when others can
/// reach it.
pub(super) fn read(
    file: &FileReference,
    limit: usize,
    disk: &dyn Disk,
) -> Result<(Zeroizing<Vec<u8>>, Option<Mistake>), Mistake> {
    let path = file.path.display();
    let content = disk.read(&file.path, limit).map_err(|error| cannot_read(file, &error))?;
    let exposed = content.mode.filter(|mode| mode & OTHERS != 0).map(|mode| {
        file.mistake(format!(
            "{path} is a secret that others can read (mode {mode:03o}): {}, or allow it with \
             insecure_file_modes: true",
            remedy(disk, &file.path)
        ))
    });
    Ok((Zeroizing::new(content.bytes), exposed))
}

/// The remedy for a file that others can read.
fn remedy(disk: &dyn Disk, path: &Path) -> String {
    if disk.is_on_kubernetes_volume(path) {
        "it is on a Kubernetes volume, so set defaultMode: 0440 on the volume and fsGroup in the \
         securityContext of the pod"
            .to_owned()
    } else {
        format!("run `chmod 600 {}`", path.display())
    }
}

fn cannot_read(file: &FileReference, error: &io::Error) -> Mistake {
    let path = file.path.display();
    let is_key_file = file.named_at.path.starts_with("api_keys.files");
    let remedy = match error.kind() {
        io::ErrorKind::NotFound if is_key_file => {
            format!(": `gatepost key create --file {path} --name NAME` makes it")
        }
        io::ErrorKind::PermissionDenied => {
            ": the user that gatepost runs as needs to read it".to_owned()
        }
        _ => String::new(),
    };
    file.mistake(format!("cannot read {path}: {error}{remedy}"))
}

/// Any access for the world, or writing by the group. Reading by the group is how a service gets a
/// secret that root owns (0640), and what Kubernetes makes of `fsGroup` (0440).
const OTHERS: u32 = 0o027;
