//! All key files together: one ring, in which every id and digest is unique.
//!
//! Owns which versions of the key files go together. Never drops a key because of another file's
//! mistake.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::api_key::{Digest, KeyEntry, KeyRing, Peppers};
use crate::config::key_file::{self, SpannedKey};
use crate::config::mistake::Mistake;
use crate::config::model::FileReference;
use crate::config::report::MISTAKES_MAX;
use crate::config::walk::suggest;
use crate::config::yaml::Budget;
use crate::identity::IdentityHeaderName;
use crate::secret::Secret;

use super::Loading;
use super::last_good::{Candidate, FileUse, Fingerprint, Parsed};

/// Peppers by name, in the order of the configuration.
pub(super) type NamedPeppers = Vec<(Box<str>, Arc<Secret<Vec<u8>>>)>;

/// A ring and what it was built from. Building one from a million keys takes a second, so it is
/// used again while nothing of this changes.
#[derive(Debug)]
pub(super) struct BuiltRing {
    files: Vec<Arc<Vec<SpannedKey>>>,
    peppers: NamedPeppers,
    claim_headers: Vec<(Box<str>, IdentityHeaderName)>,
    ring: Arc<KeyRing>,
}

/// A key file while all of them are compared.
struct KeyFile<'a> {
    file: &'a FileReference,
    file_use: FileUse,
    keys: Option<Arc<Vec<SpannedKey>>>,
    fresh: Option<Fingerprint>,
}

impl<'a> Loading<'a> {
    /// The ring of all keys, the one of the load before if nothing changed.
    pub(super) fn key_ring(&mut self, peppers: Option<NamedPeppers>) -> Option<Arc<KeyRing>> {
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
            && same(&built.files, &files, Arc::ptr_eq)
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
                Some(Candidate {
                    parsed: Parsed::KeySet(_) | Parsed::Pepper(_) | Parsed::Revocations(_),
                    ..
                })
                | None => (None, None),
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
                    self.add(in_key_file(files[at].file, key, format!(
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
                    self.add(in_key_file(file.file, key, message));
                }
            }
        }
        blamed
    }

    fn remembered_keys(&self, file_use: &FileUse) -> Option<Arc<Vec<SpannedKey>>> {
        match &self.last_good.versions.get(file_use)?.parsed {
            Parsed::Keys(keys) => Some(Arc::clone(keys)),
            Parsed::KeySet(_) | Parsed::Pepper(_) | Parsed::Revocations(_) => None,
        }
    }

    fn add(&mut self, mistake: Mistake) {
        // A million keys can share a mistake; nobody reads a million lines.
        if self.mistakes.len() < MISTAKES_MAX {
            self.mistakes.push(mistake);
        }
    }
}

fn same<T>(a: &[T], b: &[T], equal: impl Fn(&T, &T) -> bool) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
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
