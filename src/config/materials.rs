//! The files a configuration names: key sets, key files, peppers, the admin token.
//!
//! Owns which version of each file is in use. Every file keeps its last good version: a mistake
//! in one never holds back another, and never takes away what works (the contract, "Reload"). An
//! attacker would want the opposite: a half-written file that empties a key ring or a key set.
//! Never shows the content of a secret file.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use zeroize::Zeroizing;

use crate::api_key::{Digest, KeyEntry, KeyRing, Peppers};
use crate::config::disk::Disk;
use crate::config::key_file::{self, SpannedKey};
use crate::config::mistake::Mistake;
use crate::config::model::{Admin, Dynamic, FileReference, IssuerSource, KeySource};
use crate::config::walk::suggest;
use crate::config::yaml::Budget;
use crate::identity::IdentityHeaderName;
use crate::jwt::{Algorithm, KeyFileFormat, KeyMistake, KeySet};
use crate::secret::Secret;

/// A JWK set of a thousand RSA keys is smaller.
const KEY_SET_BYTES_MAX: usize = 4 << 20;
/// HMAC keys, peppers and tokens are short.
const SECRET_BYTES_MAX: usize = 64 << 10;
/// Anyone who reaches the admin listener may guess; sixteen characters are beyond guessing.
const TOKEN_BYTES_MIN: usize = 16;
/// The most versions that are remembered while loads keep failing; a load that succeeds forgets
/// what it did not use.
const REMEMBERED_MAX: usize = 1_000;

/// What the files of one configuration hold.
#[derive(Clone, Debug)]
pub struct Materials {
    /// The keys of each issuer, in the order of [`Dynamic::issuers`].
    pub key_sets: Vec<Arc<KeySet>>,
    /// All API keys.
    pub key_ring: Arc<KeyRing>,
}

/// The last good version of every file, kept from load to load.
#[derive(Debug, Default)]
pub struct LastGood {
    versions: HashMap<FileUse, Version>,
    ring: Option<BuiltRing>,
    load: u64,
}

/// A file and everything that shapes how it is read: the same file may be read in two ways.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum FileUse {
    KeySet { path: PathBuf, secret: bool, algorithms: Vec<Algorithm> },
    KeyFile { path: PathBuf, peppers: Vec<Box<str>> },
    Pepper { path: PathBuf },
}

/// One good version of a file.
#[derive(Clone, Debug)]
struct Version {
    fingerprint: [u8; 32],
    parsed: Parsed,
    /// The load that used it last.
    used: u64,
}

#[derive(Clone, Debug)]
enum Parsed {
    KeySet(Arc<KeySet>),
    Keys(Arc<Vec<SpannedKey>>),
    Pepper(Arc<Secret<Vec<u8>>>),
}

/// A ring and what it was built from. Building one from a million keys takes a second, so it is
/// used again while nothing of this changes.
#[derive(Debug)]
struct BuiltRing {
    files: Vec<Arc<Vec<SpannedKey>>>,
    peppers: Vec<(Box<str>, Arc<Secret<Vec<u8>>>)>,
    claim_headers: Vec<(Box<str>, IdentityHeaderName)>,
    ring: Arc<KeyRing>,
}

/// Reads every file that `dynamic` names.
///
/// Each file that cannot be used is a mistake, and stands at its last good version; with
/// mistakes and materials both, the materials are good and older than what is on disk. Without
/// materials some file was never good: what runs must stay, and the caller may load again for
/// the configuration that runs, so that the other files' changes still take effect.
pub fn load(
    dynamic: &Dynamic,
    last_good: &mut LastGood,
    disk: &dyn Disk,
) -> (Option<Materials>, Vec<Mistake>) {
    last_good.load += 1;
    let mut loading = Loading { dynamic, disk, last_good, mistakes: Vec::new() };
    let key_sets: Vec<_> = dynamic.issuers.iter().map(|issuer| loading.key_set(issuer)).collect();
    let peppers = loading.peppers();
    let key_ring = loading.key_ring(peppers);
    let key_sets: Option<Vec<_>> = key_sets.into_iter().collect();
    let mut mistakes = loading.mistakes;
    let materials = match (key_sets, key_ring) {
        (Some(key_sets), Some(key_ring)) => Some(Materials { key_sets, key_ring }),
        (None, _) | (_, None) => None,
    };
    last_good.forget(materials.is_some());
    mistakes.sort();
    mistakes.dedup();
    (materials, mistakes)
}

/// Reads the admin listener's token: the file's text less one final newline.
///
/// # Errors
/// The mistake, at the place where the file is named.
pub fn admin_token(
    admin: &Admin,
    insecure_file_modes: bool,
    disk: &dyn Disk,
) -> Result<Option<Secret<String>>, Mistake> {
    let Some(file) = &admin.token_file else { return Ok(None) };
    let (bytes, exposed) = read(file, SECRET_BYTES_MAX, disk)?;
    if let Some(exposed) = exposed.filter(|_| !insecure_file_modes) {
        return Err(exposed);
    }
    let token = without_newline(&bytes);
    let fits = token.len() >= TOKEN_BYTES_MIN && token.iter().all(u8::is_ascii_graphic);
    match std::str::from_utf8(token) {
        Ok(token) if fits => Ok(Some(Secret::new(token.to_owned()))),
        Ok(_) | Err(_) => Err(file.mistake(format!(
            "{} holds no token: at least {TOKEN_BYTES_MIN} visible ASCII characters and nothing else are accepted",
            file.path.display()
        ))),
    }
}

/// One load.
struct Loading<'a> {
    dynamic: &'a Dynamic,
    disk: &'a dyn Disk,
    last_good: &'a mut LastGood,
    mistakes: Vec<Mistake>,
}

/// What a file reads as now.
struct Candidate {
    parsed: Parsed,
    /// The fingerprint of a version that is not remembered yet.
    fresh: Option<[u8; 32]>,
}

/// A key file while all of them are compared.
struct KeyFile<'a> {
    file: &'a FileReference,
    file_use: FileUse,
    keys: Option<Arc<Vec<SpannedKey>>>,
    fresh: Option<[u8; 32]>,
}

impl<'a> Loading<'a> {
    fn key_set(&mut self, issuer: &'a IssuerSource) -> Option<Arc<KeySet>> {
        let algorithms = issuer.settings.algorithms.clone();
        let (file, secret) = match &issuer.keys {
            KeySource::File(file) => (file, false),
            KeySource::SecretFile(file) => (file, true),
        };
        let file_use = FileUse::KeySet { path: file.path.clone(), secret, algorithms };
        let format = if secret { KeyFileFormat::Secret } else { KeyFileFormat::JwksOrPem };
        let algorithms = &issuer.settings.algorithms;
        let candidate = self.candidate(file, &file_use, KEY_SET_BYTES_MAX, secret, |bytes| {
            let keys = KeySet::parse(bytes, format, algorithms)
                .map_err(|mistakes| in_file(&file.path, mistakes))?;
            if keys.is_empty() {
                return Err(vec![file.mistake(format!("{} holds no key", file.path.display()))]);
            }
            Ok(Parsed::KeySet(Arc::new(keys)))
        })?;
        match self.keep(file_use, candidate) {
            Parsed::KeySet(keys) => Some(keys),
            Parsed::Keys(_) | Parsed::Pepper(_) => None,
        }
    }

    fn peppers(&mut self) -> Option<Vec<(Box<str>, Arc<Secret<Vec<u8>>>)>> {
        let mut peppers = Vec::new();
        for (name, file) in &self.dynamic.api_keys.peppers {
            let file_use = FileUse::Pepper { path: file.path.clone() };
            let candidate = self.candidate(file, &file_use, SECRET_BYTES_MAX, true, |bytes| {
                let pepper = without_newline(bytes);
                if pepper.is_empty() {
                    return Err(vec![file.mistake(format!("{} is empty", file.path.display()))]);
                }
                Ok(Parsed::Pepper(Arc::new(Secret::new(pepper.to_vec()))))
            });
            peppers.push(candidate.map(|candidate| (name.clone(), self.keep(file_use, candidate))));
        }
        let pepper = |(name, parsed)| match parsed {
            Parsed::Pepper(pepper) => Some((name, pepper)),
            Parsed::KeySet(_) | Parsed::Keys(_) => None,
        };
        peppers.into_iter().map(|found| found.and_then(pepper)).collect()
    }

    fn key_ring(
        &mut self,
        peppers: Option<Vec<(Box<str>, Arc<Secret<Vec<u8>>>)>>,
    ) -> Option<Arc<KeyRing>> {
        let mut files = self.key_files();
        self.settle(&mut files);
        let keys: Option<Vec<_>> = files.iter().map(|file| file.keys.clone()).collect();
        for file in files {
            if let Some(keys) = file.keys {
                self.keep(
                    file.file_use,
                    Candidate { parsed: Parsed::Keys(keys), fresh: file.fresh },
                );
            }
        }
        let (files, peppers) = (keys?, peppers?);
        let claim_headers = &self.dynamic.api_keys.claim_headers;
        if let Some(built) = &self.last_good.ring
            && same(&built.files, &files, |a, b| Arc::ptr_eq(a, b))
            && same(&built.peppers, &peppers, |a, b| a.0 == b.0 && Arc::ptr_eq(&a.1, &b.1))
            && built.claim_headers == *claim_headers
        {
            return Some(Arc::clone(&built.ring));
        }
        let entries: Vec<KeyEntry> =
            files.iter().flat_map(|keys| keys.iter().map(|key| key.entry.clone())).collect();
        let secrets: Peppers =
            peppers.iter().map(|(name, pepper)| (name.clone(), Secret::clone(pepper))).collect();
        let ring = Arc::new(KeyRing::new(entries, &secrets, claim_headers));
        self.last_good.ring = Some(BuiltRing {
            files,
            peppers,
            claim_headers: claim_headers.clone(),
            ring: Arc::clone(&ring),
        });
        Some(ring)
    }

    fn key_files(&mut self) -> Vec<KeyFile<'a>> {
        let settings = &self.dynamic.api_keys;
        let names: Vec<&str> = settings.peppers.iter().map(|(name, _)| name.as_ref()).collect();
        let peppers: Vec<Box<str>> = names.iter().copied().map(Box::from).collect();
        let mut files = Vec::with_capacity(settings.files.len());
        for file in &settings.files {
            let file_use = FileUse::KeyFile { path: file.path.clone(), peppers: peppers.clone() };
            let limit = Budget::KEY_FILE.bytes;
            let candidate = self.candidate(file, &file_use, limit, false, |bytes| {
                key_file::parse(&file.path, bytes, &names).map(|keys| Parsed::Keys(Arc::new(keys)))
            });
            let (keys, fresh) = match candidate {
                Some(Candidate { parsed: Parsed::Keys(keys), fresh }) => (Some(keys), fresh),
                Some(Candidate { parsed: Parsed::KeySet(_) | Parsed::Pepper(_), .. }) | None => {
                    (None, None)
                }
            };
            files.push(KeyFile { file, file_use, keys, fresh });
        }
        files
    }

    /// Compares the files with each other. A new version that repeats what another file has
    /// falls back to its last good one; one that has none stays out, and so do the materials.
    fn settle(&mut self, files: &mut [KeyFile<'a>]) {
        // Each round but the last takes a new version out, so this ends.
        loop {
            let repeated = self.repeated(files);
            let unknown = self.unknown_limits(files);
            let mut again = false;
            for &index in repeated.iter().chain(&unknown) {
                if files[index].fresh.take().is_some() {
                    files[index].keys = self.remembered_keys(&files[index].file_use);
                    again = true;
                }
            }
            if again {
                continue;
            }
            // Two files that were good apart: only a changed list of files brings them together.
            // A limit that is gone takes no key with it: no route asks for that limit any more.
            for index in repeated {
                files[index].keys = None;
            }
            return;
        }
    }

    /// Files whose ids or digests another file has too, each with its mistakes.
    fn repeated(&mut self, files: &[KeyFile<'a>]) -> BTreeSet<usize> {
        let mut blamed = BTreeSet::new();
        if files.len() < 2 {
            return blamed;
        }
        let mut ids: HashMap<&str, (usize, &SpannedKey)> = HashMap::new();
        let mut digests: HashMap<&Digest, (usize, &SpannedKey)> = HashMap::new();
        for (index, file) in files.iter().enumerate() {
            for key in file.keys.iter().flat_map(|keys| keys.iter()) {
                let same_id = ids.get(&*key.entry.id).copied();
                let same_digest = digests.get(&key.entry.digest).copied();
                for (what, other) in [("id", same_id), ("digest", same_digest)] {
                    let Some((first, other)) = other.filter(|(first, _)| *first != index) else {
                        continue;
                    };
                    // The newer version is at fault, of two new ones the later file.
                    let later = file.fresh.is_some() || files[first].fresh.is_none();
                    let (at, key, from, with) =
                        if later { (index, key, first, other) } else { (first, other, index, key) };
                    blamed.insert(at);
                    self.mistakes.push(in_key_file(files[at].file, key, format!(
                        "key {:?} has the {what} of key {:?} in {}:{}; each must be unique over all key files",
                        key.entry.id, with.entry.id, files[from].file.path.display(), with.line
                    )));
                }
                ids.entry(&key.entry.id).or_insert((index, key));
                digests.entry(&key.entry.digest).or_insert((index, key));
            }
        }
        blamed
    }

    /// Files with keys that have a quota for a limit that does not exist.
    fn unknown_limits(&mut self, files: &[KeyFile<'a>]) -> BTreeSet<usize> {
        let known = &self.dynamic.limits;
        let mut blamed = BTreeSet::new();
        for (index, file) in files.iter().enumerate() {
            for key in file.keys.iter().flat_map(|keys| keys.iter()) {
                for (name, _) in &key.entry.limits {
                    if known.iter().any(|limit| *limit.name == **name) {
                        continue;
                    }
                    blamed.insert(index);
                    let names = known.iter().map(|limit| limit.name.as_ref());
                    let message = format!(
                        "key {:?} has a quota for limit {name:?}, which does not exist; {}",
                        key.entry.id,
                        suggest(name, names)
                    );
                    self.mistakes.push(in_key_file(file.file, key, message));
                }
            }
        }
        blamed
    }

    fn remembered_keys(&self, file_use: &FileUse) -> Option<Arc<Vec<SpannedKey>>> {
        match &self.last_good.versions.get(file_use)?.parsed {
            Parsed::Keys(keys) => Some(Arc::clone(keys)),
            Parsed::KeySet(_) | Parsed::Pepper(_) => None,
        }
    }

    /// Reads a file as it is now; with a mistake in it, as it was when it was last good.
    fn candidate(
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
        // Whoever reads a secret is everyone it vouches for.
        let exposed = exposed.filter(|_| !self.dynamic.insecure_file_modes);
        if private && let Some(exposed) = &exposed {
            self.mistakes.push(exposed.clone());
            return known_as(None);
        }
        let fingerprint = fingerprint(&bytes);
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
            Parsed::Keys(_) | Parsed::Pepper(_) => false,
        });
        if private && let Some(exposed) = exposed {
            self.mistakes.push(exposed);
            return known_as(None);
        }
        candidate
    }

    /// Remembers a version that is in use.
    fn keep(&mut self, file_use: FileUse, candidate: Candidate) -> Parsed {
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
    /// Drops what this load did not use: once it succeeded nothing else runs, and until then only
    /// when there is too much.
    fn forget(&mut self, succeeded: bool) {
        if succeeded || self.versions.len() > REMEMBERED_MAX {
            let load = self.load;
            self.versions.retain(|_, version| version.used == load);
        }
    }
}

/// Reads a file, and says with which mistake it is refused if it is secret: when others can
/// reach it.
fn read(
    file: &FileReference,
    limit: usize,
    disk: &dyn Disk,
) -> Result<(Zeroizing<Vec<u8>>, Option<Mistake>), Mistake> {
    let path = file.path.display();
    let content = disk
        .read(&file.path, limit)
        .map_err(|error| file.mistake(format!("cannot read {path}: {error}")))?;
    let exposed = content.mode.filter(|mode| mode & OTHERS != 0).map(|mode| {
        file.mistake(format!(
            "{path} is a secret that others can read (mode {mode:03o}): run `chmod 600 {path}`, \
             or allow it with insecure_file_modes: true"
        ))
    });
    Ok((Zeroizing::new(content.bytes), exposed))
}

/// Any access for the group or the world.
const OTHERS: u32 = 0o077;

fn fingerprint(bytes: &[u8]) -> [u8; 32] {
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest(&SHA256, bytes).as_ref());
    fingerprint
}

fn without_newline(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b"\n").unwrap_or(bytes)
}

fn same<T>(a: &[T], b: &[T], equal: impl Fn(&T, &T) -> bool) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
}

/// The mistakes of a key set, in its file.
fn in_file(file: &Path, mistakes: Vec<KeyMistake>) -> Vec<Mistake> {
    mistakes
        .into_iter()
        .map(|mistake| Mistake {
            file: file.to_owned(),
            line: mistake.line.unwrap_or(0),
            column: 0,
            path: mistake.place,
            message: mistake.message,
        })
        .collect()
}

fn in_key_file(file: &FileReference, key: &SpannedKey, message: String) -> Mistake {
    Mistake {
        file: file.path.clone(),
        line: key.line,
        column: key.column,
        path: String::new(),
        message,
    }
}
