//! All key files together: one ring, in which every id and digest is unique.
//!
//! Owns which versions of the key files go together. A file that did not change is neither parsed
//! nor packed again, whatever happens to the others. Never drops a key because of another file's
//! mistake.

use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use crate::base::secret::Secret;
use crate::config::key_file::{self, Format};
use crate::config::language::mistake::Mistake;
use crate::config::language::report::MISTAKES_MAX;
use crate::config::language::walk::suggest;
use crate::config::model::FileReference;
use crate::decide::api_key::segment::KeyView;
use crate::decide::api_key::{KeyRing, KeySegment, Peppers};

use super::last_good::{BuiltRing, Candidate, FileUse, Fingerprint, NamedPeppers, Parsed};
use super::stored_keys::twins;
use super::{Loading, in_key_file};

/// A key file while all of them are compared.
struct KeyFile<'a> {
    file: &'a FileReference,
    file_use: FileUse,
    keys: Option<Arc<KeySegment>>,
    fresh: Option<Fingerprint>,
}

/// Two keys of two files that have something in common: the files' positions, and the keys'.
type Clash = [(usize, u32); 2];

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
        let secrets: Peppers =
            peppers.iter().map(|(name, pepper)| (name.clone(), Secret::clone(pepper))).collect();
        let ring = Arc::new(KeyRing::of_segments(files.clone(), &secrets, claim_headers));
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
            let (keys, fresh) = match self.key_file(file, &file_use, &names) {
                Some(Candidate { parsed: Parsed::Keys(keys), fresh }) => (Some(keys), fresh),
                Some(Candidate {
                    parsed:
                        Parsed::KeySet(_)
                        | Parsed::Pepper(_)
                        | Parsed::Authorities(_)
                        | Parsed::Certificate(_)
                        | Parsed::Roots(_)
                        | Parsed::Revocations(_),
                    ..
                })
                | None => (None, None),
            };
            files.push(KeyFile { file, file_use, keys, fresh });
        }
        files
    }

    fn key_file(
        &mut self,
        file: &FileReference,
        file_use: &FileUse,
        peppers: &[&str],
    ) -> Option<Candidate> {
        let path = &file.path;
        let format = Format::of(path);
        let packed = |segment| Parsed::Keys(Arc::new(segment));
        match format {
            Format::Yaml => self.candidate(file, file_use, format.bytes_max(), false, |bytes| {
                let keys = key_file::parse(path, bytes, peppers)?;
                key_file::pack(path, keys).map(packed)
            }),
            Format::JsonLines => {
                self.streamed(file, file_use, format.bytes_max(), |bytes, lines| {
                    let segment = key_file::pack_lines(path, bytes, lines, peppers)?;
                    Ok(segment.map(packed))
                })
            }
        }
    }

    /// Compares the files with each other. A new version that repeats what another file has
    /// falls back to its last good one; one that has none stays out, and so do the materials.
    fn settle(&mut self, files: &mut [KeyFile<'a>]) {
        // Each round but the last takes a new version out, so this ends.
        loop {
            let repeated = self.repeated(files);
            let unknown = self.unknown_limits(files);
            let stored = self.stored_twins(files);
            let mut again = false;
            for &index in repeated.iter().chain(&unknown).chain(&stored) {
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
        if self.are_those_of_the_ring(files) {
            return blamed;
        }
        let same_id = clashes(files, |key, by| by.hash_one(key.id()), |a, b| a.id() == b.id());
        #[expect(
            clippy::redundant_closure_for_method_calls,
            reason = "the method is not general enough in its lifetimes"
        )]
        let same_digest = clashes(files, |key, _| key.digest_hash(), |a, b| a.has_digest_of(b));
        for (what, clashes) in [("id", same_id), ("digest", same_digest)] {
            for [first, second] in clashes {
                // The newer version is at fault, of two new ones the later file.
                let is_later = files[second.0].fresh.is_some() || files[first.0].fresh.is_none();
                let (at, with) = if is_later { (second, first) } else { (first, second) };
                blamed.insert(at.0);
                let (Some(key), Some(other)) = (key_at(files, at), key_at(files, with)) else {
                    continue;
                };
                self.add(in_key_file(files[at.0].file, key, format!(
                    "key {:?} has the {what} of key {:?} in {}:{}; each must be unique over all key files",
                    key.id(), other.id(), files[with.0].file.path.display(), other.line()
                )));
            }
        }
        blamed
    }

    /// True if these are the versions that were compared for the ring in force.
    fn are_those_of_the_ring(&self, files: &[KeyFile<'a>]) -> bool {
        self.last_good.ring.as_ref().is_some_and(|built| {
            let is_same = |(file, built): (&KeyFile<'a>, &Arc<KeySegment>)| {
                file.keys.as_ref().is_some_and(|keys| Arc::ptr_eq(keys, built))
            };
            files.len() == built.files.len() && files.iter().zip(&built.files).all(is_same)
        })
    }

    /// Files with keys that have a quota for a limit that does not exist.
    fn unknown_limits(&mut self, files: &[KeyFile<'a>]) -> BTreeSet<usize> {
        let known = &self.dynamic.limits;
        let is_known = |name: &str| known.iter().any(|limit| *limit.name == *name);
        let mut blamed = BTreeSet::new();
        for (index, file) in files.iter().enumerate() {
            let keys = file.keys.iter().flat_map(|keys| keys.unknown_limits(is_known));
            // A million keys can share a mistake; the report stays short.
            for (key, name) in keys.take(MISTAKES_MAX) {
                blamed.insert(index);
                let names = known.iter().map(|limit| limit.name.as_ref());
                let message = format!(
                    "key {:?} has a quota for limit {name:?}, which does not exist; {}",
                    key.id(),
                    suggest(name, names)
                );
                self.add(in_key_file(file.file, key, message));
            }
        }
        blamed
    }

    /// New versions with keys that the store of the issuer has as well.
    fn stored_twins(&mut self, files: &[KeyFile<'a>]) -> BTreeSet<usize> {
        let Some(stored) = self.last_good.stored.as_ref().map(|live| live.load()) else {
            return BTreeSet::new();
        };
        let mut blamed = BTreeSet::new();
        for (index, file) in files.iter().enumerate().filter(|(_, file)| file.fresh.is_some()) {
            let twins = file.keys.iter().flat_map(|keys| twins(file.file, keys, &stored));
            for mistake in twins.collect::<Vec<_>>() {
                blamed.insert(index);
                self.add(mistake);
            }
        }
        blamed
    }

    fn remembered_keys(&self, file_use: &FileUse) -> Option<Arc<KeySegment>> {
        match &self.last_good.versions.get(file_use)?.parsed {
            Parsed::Keys(keys) => Some(Arc::clone(keys)),
            Parsed::KeySet(_)
            | Parsed::Pepper(_)
            | Parsed::Authorities(_)
            | Parsed::Certificate(_)
            | Parsed::Roots(_)
            | Parsed::Revocations(_) => None,
        }
    }

    fn add(&mut self, mistake: Mistake) {
        if self.mistakes.len() < MISTAKES_MAX {
            self.mistakes.push(mistake);
        }
    }
}

/// The pairs of keys of different files that are the same in some way, the earlier file's first;
/// at most [`MISTAKES_MAX`]. The keys of the largest file are only looked up, so that a small
/// file beside one of a million keys costs little memory.
fn clashes(
    files: &[KeyFile<'_>],
    hash: impl Fn(KeyView<'_>, &RandomState) -> u64,
    same: impl Fn(KeyView<'_>, KeyView<'_>) -> bool,
) -> Vec<Clash> {
    let sizes = files.iter().enumerate().filter_map(|(at, it)| Some((it.keys.as_ref()?.len(), at)));
    let mut order: Vec<(usize, usize)> = sizes.collect();
    order.sort_unstable();
    let Some(((_, largest), smaller)) = order.split_last() else { return Vec::new() };
    let hashing = RandomState::default();
    let known: usize = smaller.iter().map(|(size, _)| size).sum();
    let mut seen: HashTable<(usize, u32)> = HashTable::with_capacity(known);
    let mut clashes = Vec::new();
    for &(_, file) in &order {
        let keys = files[file].keys.iter().flat_map(|keys| keys.keys());
        for (key, slot) in keys.zip(0_u32..) {
            let hash_of = hash(key, &hashing);
            let is_same = |at: &(usize, u32)| key_at(files, *at).is_some_and(|it| same(it, key));
            match seen.find(hash_of, is_same) {
                Some(other) => {
                    let mut clash = [*other, (file, slot)];
                    clash.sort_unstable();
                    clashes.push(clash);
                }
                None if file == *largest => {}
                None => {
                    let rehash =
                        |at: &(usize, u32)| key_at(files, *at).map_or(0, |key| hash(key, &hashing));
                    seen.insert_unique(hash_of, (file, slot), rehash);
                }
            }
            if clashes.len() >= MISTAKES_MAX {
                return clashes;
            }
        }
    }
    clashes
}

fn key_at<'f>(files: &'f [KeyFile<'_>], (file, slot): (usize, u32)) -> Option<KeyView<'f>> {
    files.get(file)?.keys.as_ref()?.key(slot)
}

fn same<T>(a: &[T], b: &[T], equal: impl Fn(&T, &T) -> bool) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
}
